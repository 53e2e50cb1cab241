/*
 * sysctl.c - system control ports: the PS/2 port A (0x92), the PIIX reset control (0xcf9), the ACPI PM1a control as
 * QEMU places it (0x604), and three conventions of emulators: 0xf4, 0xe9 and 0x80.
 *
 * The A20 line is wired on: a guest may ask for it off, reads that it is on, and its addresses do not wrap at 1 MiB.
 *
 * Must never: end the machine itself; it notes the wish, and the machine's next poll tells the VM.
 */
#include "vmm/dev/sysctl.h"

#include <stdio.h>
#include <string.h>

#include "vmm/dev/bus.h"

enum { PORT_POST = 0x80, PORT_A = 0x92, PORT_DEBUG = 0xe9, PORT_EXIT = 0xf4, PORT_PM1A = 0x604, PORT_RESET = 0xcf9 };
enum { P92_FAST_RESET = 0x01, P92_A20 = 0x02 };
enum { RESET_CPU = 0x04, RESET_WRITABLE = 0x0e };  /* 290550, "RC - reset control register" */
enum { PM1_SCI_EN = 0x0001, PM1_SLP_EN = 0x2000 }; /* ACPI 6.4, 4.8.3.2.1 */

void sysctl_stop(struct sysctl *sysctl, enum vm_stop_reason reason, uint64_t code, const char *message)
{
	struct sysctl_state *s = &sysctl->s;

	if (s->stop != STOP_NONE)
		return;
	s->stop = reason;
	s->stop_code = code;
	snprintf(s->stop_message, sizeof(s->stop_message), "%s", message);
}

static uint32_t port_92_read(void *self, uint16_t port, unsigned size)
{
	const struct sysctl *c = self;

	(void)port;
	(void)size;
	return c->s.port_92 | P92_A20;
}

static void port_92_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	struct sysctl *c = self;

	(void)port;
	(void)size;
	if (value & ~c->s.port_92 & P92_FAST_RESET)
		sysctl_stop(c, STOP_RESET, 0, "the guest asked for a reset through port 0x92");
	c->s.port_92 = (uint8_t)value;
}

static uint32_t reset_read(void *self, uint16_t port, unsigned size)
{
	const struct sysctl *c = self;

	(void)port;
	(void)size;
	return c->s.reset_control;
}

/* The bit's rise resets; the other bits say how thoroughly, which is all the same here. */
static void reset_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	struct sysctl *c = self;

	(void)port;
	(void)size;
	if (value & ~c->s.reset_control & RESET_CPU)
		sysctl_stop(c, STOP_RESET, 0, "the guest asked for a reset through port 0xcf9");
	c->s.reset_control = value & RESET_WRITABLE;
}

static uint32_t power_read(void *self, uint16_t port, unsigned size)
{
	const struct sysctl *c = self;
	uint16_t value = c->s.power_control | PM1_SCI_EN;

	(void)size;
	return port & 1 ? value >> 8 : value;
}

static void power_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	struct sysctl *c = self;
	uint16_t full = (uint16_t)value;

	if (size == 1 && (port & 1))
		full = (uint16_t)((c->s.power_control & 0xff) | value << 8);
	else if (size == 1)
		full = (uint16_t)((c->s.power_control & 0xff00) | (value & 0xff));
	if (full & PM1_SLP_EN)
		sysctl_stop(c, STOP_POWEROFF, 0, "the guest switched the machine off");
	c->s.power_control = full & (uint16_t)~PM1_SLP_EN;
}

static uint32_t exit_read(void *self, uint16_t port, unsigned size)
{
	(void)self;
	(void)port;
	(void)size;
	return 0;
}

static void exit_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	char message[96];
	uint64_t code = (uint64_t)value << 1 | 1;

	(void)port;
	(void)size;
	snprintf(message, sizeof(message), "the guest wrote %u to the debug exit port: code %llu", value,
	         (unsigned long long)code);
	sysctl_stop(self, STOP_DEBUG_EXIT, code, message);
}

static uint32_t debug_read(void *self, uint16_t port, unsigned size)
{
	(void)self;
	(void)size;
	return port; /* how a guest finds the console */
}

static void debug_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	struct sysctl *c = self;

	(void)port;
	(void)size;
	c->debug(c->debug_self, (uint8_t)value);
}

static uint32_t post_read(void *self, uint16_t port, unsigned size)
{
	const struct sysctl *c = self;

	(void)port;
	(void)size;
	return c->s.post_code;
}

static void post_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	struct sysctl *c = self;

	(void)port;
	(void)size;
	c->s.post_code = (uint8_t)value;
}

/* 0xcf9 is alone: a guest that writes PCI configuration addresses to 0xcf8, 32 bits wide, must not reset itself. */
static const struct bus_ports ranges[] = {
	{ PORT_POST, PORT_POST, 1, false, NULL, post_read, post_write },
	{ PORT_A, PORT_A, 1, false, NULL, port_92_read, port_92_write },
	{ PORT_DEBUG, PORT_DEBUG, 1, false, NULL, debug_read, debug_write },
	{ PORT_EXIT, PORT_EXIT + 3, 4, false, NULL, exit_read, exit_write },
	{ PORT_PM1A, PORT_PM1A + 1, 2, false, NULL, power_read, power_write },
	{ PORT_RESET, PORT_RESET, 1, true, NULL, reset_read, reset_write },
};

void sysctl_init(struct sysctl *sysctl, void (*debug)(void *self, uint8_t byte), void *debug_self)
{
	memset(sysctl, 0, sizeof(*sysctl));
	sysctl->debug = debug;
	sysctl->debug_self = debug_self;
}

void sysctl_attach(struct sysctl *sysctl, struct bus *bus)
{
	for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		struct bus_ports r = ranges[i];

		r.self = sysctl;
		bus_add_ports(bus, &r);
	}
}
