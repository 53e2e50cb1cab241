/*
 * i8042.c - the AT keyboard controller: an 8042 without auxiliary port, so that systems look for no mouse.
 *
 * The A20 line is wired on: the commands that would drop it are accepted, and the output port reads it as set.
 *
 * One byte of output buffer; an answer replaces what the guest did not fetch. IRQ1 is the buffer's full flag, where
 * the command byte enables it. Must never: leave the guest waiting, for every command that has an answer has it at
 * once.
 */
#include "vmm/dev/i8042.h"

#include <string.h>

#include "vmm/dev/bus.h"
#include "vmm/dev/pic.h"
#include "vmm/dev/sysctl.h"

enum { PORT_BUFFER = 0x60, PORT_COMMAND = 0x64 };
/* Status register, command byte: IBM PS/2 Hardware Interface Technical Reference, "Keyboard/Auxiliary Controller" */
enum {
	STATUS_FULL = 0x01,
	STATUS_SYSTEM = 0x04,
	STATUS_COMMAND = 0x08,
	STATUS_UNLOCKED = 0x10,
	STATUS_TIMEOUT = 0x40,
	STATUS_OF_OUTPUT = STATUS_FULL | STATUS_TIMEOUT
};
enum { CTR_IRQ1 = 0x01, CTR_SYSTEM = 0x04, CTR_KEYBOARD_OFF = 0x10, CTR_AUX_OFF = 0x20, CTR_TRANSLATE = 0x40 };
enum { OUTPUT_NO_RESET = 0x01, OUTPUT_A20 = 0x02, OUTPUT_FULL = 0x10, OUTPUT_CLOCKS = 0xc0 };
enum { INPUT_UNLOCKED = 0x80, SELF_TEST_PASSED = 0x55, LINE_OK = 0x00, LINE_STUCK = 0x01, NO_DEVICE = 0xfe };
enum {
	CMD_READ_RAM = 0x20,
	CMD_WRITE_RAM = 0x60,
	CMD_TEST_AUX = 0xa9,
	CMD_SELF_TEST = 0xaa,
	CMD_TEST_KEYBOARD = 0xab,
	CMD_KEYBOARD_OFF = 0xad,
	CMD_KEYBOARD_ON = 0xae,
	CMD_READ_INPUT = 0xc0,
	CMD_READ_OUTPUT = 0xd0,
	CMD_WRITE_OUTPUT = 0xd1,
	CMD_FAKE_KEYBOARD = 0xd2,
	CMD_FAKE_AUX = 0xd3,
	CMD_WRITE_AUX = 0xd4,
	CMD_READ_TEST = 0xe0,
	CMD_PULSE = 0xf0,
};

static void drive_irq(struct i8042 *kbc)
{
	pic_set_irq(kbc->pic, I8042_IRQ, (kbc->s.status & STATUS_FULL) && (kbc->s.ram[0] & CTR_IRQ1));
}

/* A byte for the guest; the line falls in between, so that each byte is an edge. */
static void answer(struct i8042 *kbc, uint8_t byte, uint8_t status)
{
	kbc->s.status &= (uint8_t)~STATUS_OF_OUTPUT;
	drive_irq(kbc);
	kbc->s.output = byte;
	kbc->s.status |= STATUS_FULL | status;
	drive_irq(kbc);
}

static void reset(struct i8042 *kbc)
{
	sysctl_stop(kbc->sysctl, STOP_RESET, 0, "the guest asked for a reset through the keyboard controller");
}

static void self_test(struct i8042 *kbc)
{
	kbc->s.ram[0] |= CTR_SYSTEM | CTR_KEYBOARD_OFF | CTR_AUX_OFF;
	kbc->s.status |= STATUS_SYSTEM;
	answer(kbc, SELF_TEST_PASSED, 0);
}

static uint8_t output_port(const struct i8042 *kbc)
{
	return OUTPUT_NO_RESET | OUTPUT_A20 | OUTPUT_CLOCKS | (kbc->s.status & STATUS_FULL ? OUTPUT_FULL : 0);
}

static void write_ram(struct i8042 *kbc, unsigned at, uint8_t value)
{
	kbc->s.ram[at] = value;
	if (at != 0)
		return;
	kbc->s.status = (uint8_t)((kbc->s.status & ~STATUS_SYSTEM) | (value & CTR_SYSTEM));
	drive_irq(kbc);
}

static void command(struct i8042 *kbc, uint8_t c)
{
	kbc->s.command = 0;
	kbc->s.status |= STATUS_COMMAND;
	if (c >= CMD_PULSE) { /* bits 0..3 clear: lines of the output port to pulse; 0 is reset */
		if (!(c & OUTPUT_NO_RESET))
			reset(kbc);
		return;
	}
	if ((c & 0xe0) == CMD_READ_RAM) {
		answer(kbc, kbc->s.ram[c & 0x1f], 0);
		return;
	}
	if ((c & 0xe0) == CMD_WRITE_RAM) {
		kbc->s.command = c;
		return;
	}
	switch (c) {
	case CMD_TEST_AUX: answer(kbc, LINE_STUCK, 0); break;
	case CMD_SELF_TEST: self_test(kbc); break;
	case CMD_TEST_KEYBOARD: answer(kbc, LINE_OK, 0); break;
	case CMD_KEYBOARD_OFF: kbc->s.ram[0] |= CTR_KEYBOARD_OFF; break;
	case CMD_KEYBOARD_ON: kbc->s.ram[0] &= (uint8_t)~CTR_KEYBOARD_OFF; break;
	case CMD_READ_INPUT: answer(kbc, INPUT_UNLOCKED, 0); break;
	case CMD_READ_OUTPUT: answer(kbc, output_port(kbc), 0); break;
	case CMD_READ_TEST: answer(kbc, 0, 0); break;
	case CMD_WRITE_OUTPUT:
	case CMD_FAKE_KEYBOARD:
	case CMD_FAKE_AUX:
	case CMD_WRITE_AUX: kbc->s.command = c; break;
	default: break; /* the auxiliary port's and the A20 commands, and those nobody knows */
	}
}

/* The attempt switches the keyboard on, as the real controller does, and fails. */
static void to_keyboard(struct i8042 *kbc)
{
	kbc->s.ram[0] &= (uint8_t)~CTR_KEYBOARD_OFF;
	answer(kbc, NO_DEVICE, STATUS_TIMEOUT);
}

static void data(struct i8042 *kbc, uint8_t value)
{
	uint8_t c = kbc->s.command;

	kbc->s.command = 0;
	kbc->s.status &= (uint8_t)~STATUS_COMMAND;
	if ((c & 0xe0) == CMD_WRITE_RAM) {
		write_ram(kbc, c & 0x1f, value);
		return;
	}
	switch (c) {
	case CMD_WRITE_OUTPUT:
		if (!(value & OUTPUT_NO_RESET))
			reset(kbc);
		break;
	case CMD_FAKE_KEYBOARD: answer(kbc, value, 0); break;
	case 0: to_keyboard(kbc); break;
	default: /* the auxiliary port's: no device there, and no byte to be had back from it */
		answer(kbc, NO_DEVICE, STATUS_TIMEOUT);
	}
}

static uint32_t i8042_read(void *self, uint16_t port, unsigned size)
{
	struct i8042 *kbc = self;

	(void)size;
	if (port == PORT_COMMAND)
		return kbc->s.status;
	kbc->s.status &= (uint8_t)~STATUS_OF_OUTPUT;
	drive_irq(kbc);
	return kbc->s.output;
}

static void i8042_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	(void)size;
	(port == PORT_COMMAND ? command : data)(self, (uint8_t)value);
}

void i8042_init(struct i8042 *kbc, struct pic *pic, struct sysctl *sysctl)
{
	memset(kbc, 0, sizeof(*kbc));
	kbc->pic = pic;
	kbc->sysctl = sysctl;
	kbc->s.ram[0] = CTR_IRQ1 | CTR_SYSTEM | CTR_AUX_OFF | CTR_TRANSLATE; /* as a BIOS leaves it */
	kbc->s.status = STATUS_SYSTEM | STATUS_UNLOCKED;
}

void i8042_attach(struct i8042 *kbc, struct bus *bus)
{
	struct bus_ports r = { .first = PORT_BUFFER, .last = PORT_BUFFER, .width = 1, .self = kbc };

	r.read = i8042_read;
	r.write = i8042_write;
	bus_add_ports(bus, &r);
	r.first = r.last = PORT_COMMAND;
	bus_add_ports(bus, &r);
}
