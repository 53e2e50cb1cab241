/*
 * dev_rig.h - what the device tests share: a clock to set, and a bus or a whole machine to poke.
 */
#ifndef RINGSIDE_TESTS_UNIT_DEV_RIG_H
#define RINGSIDE_TESTS_UNIT_DEV_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/dev/bus.h"
#include "vmm/dev/machine.h"
#include "vmm/dev/pic.h"

#define MS 1000000ull
#define SECOND 1000000000ull

/* One device under test, its PIC, and time: 1 instruction = 1 ns. */
struct rig {
	struct clock clock;
	struct pic pic;
	struct bus bus;
};

static inline void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->clock.ns_per_insn = 1;
	pic_init(&r->pic);
	pic_attach(&r->pic, &r->bus);
}

static inline void rig_at(struct rig *r, uint64_t vns)
{
	r->clock.icount_now = vns;
}

static inline uint8_t in8(struct rig *r, uint16_t port)
{
	return (uint8_t)bus_port_read(&r->bus, port, 1);
}

static inline void out8(struct rig *r, uint16_t port, uint8_t value)
{
	bus_port_write(&r->bus, port, 1, value);
}

/* The line at the PIC's input. */
static inline bool rig_line(const struct rig *r, unsigned irq)
{
	return r->pic.chip[irq >> 3].line >> (irq & 7) & 1;
}

/* A machine, driven as a VM drives it. */
struct machine_rig {
	struct clock clock;
	struct machine *machine;
	struct vm_input in;
	char serial[256], debug[256];
	size_t serial_len, debug_len;
};

static inline void machine_rig_console(void *self, enum vm_stream stream, const uint8_t *bytes, size_t len)
{
	struct machine_rig *r = self;
	char *to = stream == STREAM_SERIAL ? r->serial : r->debug;
	size_t *at = stream == STREAM_SERIAL ? &r->serial_len : &r->debug_len;

	for (size_t i = 0; i < len; i++)
		to[(*at)++ % 255] = (char)bytes[i];
}

static inline void machine_rig_open(struct machine_rig *r, int serial_fd, bool pace)
{
	struct machine_config config = {
		.clock = &r->clock,
		.memory = 64ull << 20,
		.rtc_epoch = 946684800, /* 2000-01-01 */
		.console = machine_rig_console,
		.console_self = r,
		.serial_fd = serial_fd,
		.pace = pace,
	};
	struct vm_error err;

	memset(r, 0, sizeof(*r));
	r->clock.ns_per_insn = 1;
	assert_int_equal(machine_create(&r->machine, &config, &err), 0);
	machine_input(r->machine, &r->in);
}

static inline void machine_rig_close(struct machine_rig *r)
{
	machine_destroy(r->machine);
}

static inline struct vm_now machine_rig_now(struct machine_rig *r, bool can_interrupt)
{
	return (struct vm_now){
		.icount = r->clock.icount_now,
		.vns = clock_now(&r->clock),
		.can_interrupt = can_interrupt,
	};
}

static inline struct vm_turn machine_rig_poll(struct machine_rig *r, bool can_interrupt)
{
	struct vm_now now = machine_rig_now(r, can_interrupt);
	struct vm_turn turn;

	r->in.poll(r->in.self, &now, &turn);
	return turn;
}

static inline bool machine_rig_idle(struct machine_rig *r)
{
	struct vm_now now = machine_rig_now(r, true);

	return r->in.idle(r->in.self, &now);
}

static inline void machine_rig_out(struct machine_rig *r, uint16_t port, uint8_t value)
{
	r->in.pio_write(r->in.self, port, 1, value);
}

static inline uint8_t machine_rig_in(struct machine_rig *r, uint16_t port)
{
	return (uint8_t)r->in.pio_read(r->in.self, port, 1);
}

/* Both PICs at vectors 0x20 and 0x28, with these masks. */
static inline void machine_rig_pic(struct machine_rig *r, uint8_t master_mask, uint8_t slave_mask)
{
	static const uint8_t words[][2] = {
		{ 0x20, 0x11 }, { 0xa0, 0x11 }, { 0x21, 0x20 }, { 0xa1, 0x28 },
		{ 0x21, 0x04 }, { 0xa1, 0x02 }, { 0x21, 0x01 }, { 0xa1, 0x01 },
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		machine_rig_out(r, words[i][0], words[i][1]);
	machine_rig_out(r, 0x21, master_mask);
	machine_rig_out(r, 0xa1, slave_mask);
}

/* xorshift: the same numbers for the same seed everywhere. */
static inline uint64_t rig_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
