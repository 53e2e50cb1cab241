/*
 * pit.c - the 8254 (Intel 231164), computed and not clocked.
 *
 * A channel that runs is (mode, count N, start): with e = ticks since start,
 *
 *     mode   counter                        output
 *     0      N - e, wrapping                low until e = N, then high
 *     1      N - e, wrapping                low until e = N, then high; start is the gate's rise
 *     2      N - e mod N                    low for the last tick of each N
 *     3      counts down by 2 twice a round high for the first (N + 1) / 2 of each N
 *     4      N - e, wrapping                low for the one tick e = N
 *     5      as 4; start is the gate's rise
 *
 * A load takes effect one tick after the write or the gate's rise, or (modes 2, 3) when the running round ends:
 * `load_at`.
 *
 * Invariants
 *  1. settle() has been called for the tick before anything looks at a channel: load_at > tick.
 *  2. e = now - start is right modulo 2^64 even where start lies before tick 0 (mode 3 loaded for its low half).
 *  3. A count of 1 in modes 2 and 3, which the manual forbids, works as 2: no round is shorter than two ticks.
 *
 * Must never: loop over ticks or rounds; a guest may let hours pass between two accesses.
 */
#include "vmm/dev/pit.h"

#include <string.h>

#include "vmm/clock.h"
#include "vmm/dev/bus.h"
#include "vmm/dev/pic.h"

#define NS_PER_S 1000000000ull
#define REFRESH_TICKS 18 /* port 0x61 bit 4 toggles every 15.085 us */

enum { PORT_CHANNEL_0 = 0x40, PORT_CONTROL = 0x43, PORT_SYSTEM = 0x61 };
enum { IRQ_TIMER = 0 };
/* Control word: 231164, "Control Word Format", "Read-Back Command Format" */
enum { READ_BACK = 3, READ_BACK_NO_COUNT = 0x20, READ_BACK_NO_STATUS = 0x10, STATUS_OUT = 0x80, STATUS_NULL = 0x40 };
enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };
/* Port 0x61, read: ISA system control port B */
enum { P61_GATE_2 = 0x01, P61_WRITABLE = 0x0f, P61_REFRESH = 0x10, P61_OUT_2 = 0x20 };

uint64_t pit_tick_at(uint64_t vns)
{
	return vns / NS_PER_S * PIT_HZ + vns % NS_PER_S * PIT_HZ / NS_PER_S;
}

uint64_t pit_vns_of(uint64_t tick)
{
	return tick / PIT_HZ * NS_PER_S + (tick % PIT_HZ * NS_PER_S + PIT_HZ - 1) / PIT_HZ;
}

/* ---- one channel as a function of the tick ---- */

static bool periodic(const struct pit_channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

static bool triggered(const struct pit_channel *c)
{
	return c->mode == 1 || c->mode == 5;
}

static uint64_t elapsed(const struct pit_channel *c, uint64_t tick)
{
	return (c->stopped ? c->stopped_at : tick) - c->start;
}

/* Mode 3: ticks of the high half. */
static uint32_t high_half(uint32_t count)
{
	return (count + 1) / 2;
}

static bool out(const struct pit_channel *c, uint64_t tick)
{
	uint64_t e = elapsed(c, tick);

	if (!c->running)
		return c->mode != 0;
	switch (c->mode) {
	case 0:
	case 1: return e >= c->count;
	case 2: return c->stopped || e % c->count != c->count - 1;
	case 3: return c->stopped || e % c->count < high_half(c->count);
	default: return e != c->count;
	}
}

static uint32_t counter_mode_3(const struct pit_channel *c, uint64_t e)
{
	uint32_t into = (uint32_t)(e % c->count);

	if (into >= high_half(c->count))
		into -= high_half(c->count);
	return (c->count & ~1u) - 2 * into;
}

/* As a number, 0..65535 or 0..9999: the full count shows as 0. */
static uint32_t counter(const struct pit_channel *c, uint64_t tick)
{
	uint32_t modulus = c->bcd ? 10000 : 65536;
	uint64_t e = elapsed(c, tick);

	if (!c->running)
		return c->held;
	if (c->mode == 3)
		return counter_mode_3(c, e) % modulus;
	if (c->mode == 2)
		return (c->count - (uint32_t)(e % c->count)) % modulus;
	return (c->count + modulus - (uint32_t)(e % modulus)) % modulus;
}

/* The next tick at which the output differs, no load being due before; PIT_NEVER. */
static uint64_t next_change(const struct pit_channel *c, uint64_t tick)
{
	uint64_t e = elapsed(c, tick);

	if (!c->running || c->stopped)
		return PIT_NEVER;
	if (periodic(c)) {
		uint32_t high = c->mode == 2 ? c->count - 1 : high_half(c->count);
		uint64_t into = e % c->count;

		return tick + (into < high ? high : c->count) - into;
	}
	if (e < c->count)
		return tick + (c->count - e);
	return c->mode >= 4 && e == c->count ? tick + 1 : PIT_NEVER;
}

/* Take a load that is due. */
static void settle(struct pit_channel *c, uint64_t tick)
{
	if (c->load_at > tick)
		return;
	c->count = periodic(c) && c->reload < 2 ? 2 : c->reload;
	c->start = c->load_at;
	if (c->load_low)
		c->start -= high_half(c->count);
	c->load_at = PIT_NEVER;
	c->load_low = false;
	c->running = true;
	c->null_count = false;
	c->stopped = !c->gate && !triggered(c);
	c->stopped_at = c->start;
}

/* The next rise of the output after tick; PIT_NEVER. */
static uint64_t next_rise(const struct pit_channel *channel, uint64_t tick)
{
	struct pit_channel c = *channel;

	for (int i = 0; i < 4; i++) { /* at most: fall, load, fall, rise */
		uint64_t at = next_change(&c, tick);
		bool was = out(&c, tick);

		if (c.load_at <= at && c.load_at != PIT_NEVER) {
			at = c.load_at;
			was = out(&c, at - 1);
			settle(&c, at);
		}
		if (at == PIT_NEVER || (!was && out(&c, at)))
			return at;
		tick = at;
	}
	return tick;
}

/* ---- what the guest does to a channel ---- */

static uint64_t now_tick(const struct pit *pit)
{
	uint64_t tick = pit_tick_at(clock_now(pit->clock));

	return tick > pit->s.tick ? tick : pit->s.tick;
}

static void load_after_write(struct pit_channel *c, uint64_t tick)
{
	if (triggered(c))
		return; /* waits for the gate */
	if (!periodic(c) || !c->running || c->stopped) {
		c->load_at = tick + 1;
		return;
	}
	if (c->load_at != PIT_NEVER)
		return; /* the earlier write's moment stands */
	if (c->mode == 3) {
		c->load_at = next_change(c, tick);
		c->load_low = out(c, tick);
		return;
	}
	c->load_at = tick + c->count - elapsed(c, tick) % c->count;
}

static uint32_t from_bcd(uint32_t v)
{
	return (v >> 12 & 15) * 1000 + (v >> 8 & 15) * 100 + (v >> 4 & 15) * 10 + (v & 15);
}

static uint32_t to_bcd(uint32_t v)
{
	return v / 1000 % 10 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10;
}

static void stop_mode_0(struct pit_channel *c, uint64_t tick)
{
	c->held = counter(c, tick);
	c->running = false;
	c->load_at = PIT_NEVER;
}

static void write_count(struct pit_channel *c, uint64_t tick, uint32_t value)
{
	uint32_t modulus = c->bcd ? 10000 : 65536;

	/* Digits above 9 carry, which the manual leaves undefined: the count stays within the counter. */
	c->reload = (c->bcd ? from_bcd(value) : value) % modulus;
	if (!c->reload)
		c->reload = modulus;
	c->null_count = true;
	if (c->mode == 0)
		stop_mode_0(c, tick);
	load_after_write(c, tick);
}

static void write_byte(struct pit_channel *c, uint64_t tick, uint8_t value)
{
	if (c->access == ACCESS_LOW) {
		write_count(c, tick, value);
	} else if (c->access == ACCESS_HIGH) {
		write_count(c, tick, (uint32_t)value << 8);
	} else if (!c->write_high) {
		c->low_byte = value;
		c->write_high = true;
		if (c->mode == 0)
			stop_mode_0(c, tick);
	} else {
		c->write_high = false;
		write_count(c, tick, (uint32_t)value << 8 | c->low_byte);
	}
}

static void latch_count(struct pit_channel *c, uint64_t tick)
{
	uint32_t v = counter(c, tick);

	if (c->count_latched)
		return;
	c->latch = (uint16_t)(c->bcd ? to_bcd(v) : v);
	c->count_latched = true;
}

static void latch_status(struct pit_channel *c, uint64_t tick)
{
	if (c->status_latched)
		return;
	c->status = (uint8_t)((out(c, tick) ? STATUS_OUT : 0) | (c->null_count ? STATUS_NULL : 0) | c->access << 4 |
	                      c->mode << 1 | c->bcd);
	c->status_latched = true;
}

static uint8_t read_byte(struct pit_channel *c, uint64_t tick)
{
	uint32_t v = counter(c, tick);
	bool high = c->access == ACCESS_HIGH || (c->access == ACCESS_BOTH && c->read_high);

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	v = c->count_latched ? c->latch : c->bcd ? to_bcd(v) : v;
	if (c->access == ACCESS_BOTH)
		c->read_high = !c->read_high;
	if (c->access != ACCESS_BOTH || high)
		c->count_latched = false;
	return (uint8_t)(high ? v >> 8 : v);
}

static void set_mode(struct pit_channel *c, uint64_t tick, uint8_t control)
{
	uint8_t mode = control >> 1 & 7;

	c->held = counter(c, tick);
	c->access = control >> 4 & 3;
	c->mode = mode > 5 ? mode - 4 : mode;
	c->bcd = control & 1;
	c->held %= c->bcd ? 10000 : 65536;
	c->write_high = c->read_high = false;
	c->count_latched = c->status_latched = false;
	c->null_count = true;
	c->running = c->stopped = c->load_low = false;
	c->reload = 0;
	c->load_at = PIT_NEVER;
}

static void gate_rise(struct pit_channel *c, uint64_t tick)
{
	if (triggered(c) || periodic(c)) {
		if (c->reload)
			c->load_at = tick + 1;
		c->load_low = false;
	} else if (c->stopped) {
		c->start += tick - c->stopped_at;
		c->stopped = false;
	}
}

static void gate_fall(struct pit_channel *c, uint64_t tick)
{
	if (triggered(c) || !c->running || c->stopped)
		return;
	c->stopped = true;
	c->stopped_at = tick;
	if (periodic(c)) {
		c->load_at = PIT_NEVER; /* the next rise loads */
		c->load_low = false;
	}
}

static void set_gate(struct pit_channel *c, uint64_t tick, bool gate)
{
	if (gate == c->gate)
		return;
	c->gate = gate;
	(gate ? gate_rise : gate_fall)(c, tick);
}

/* ---- the chip ---- */

void pit_advance(struct pit *pit, uint64_t vns)
{
	struct pit_channel *c = &pit->s.channel[0];
	uint64_t from = pit->s.tick, to = pit_tick_at(vns);
	bool changed = false;

	if (to <= from)
		return;
	if (c->load_at <= to) {
		uint64_t at = c->load_at;
		bool was = out(c, at - 1);

		changed = next_change(c, from) < at;
		settle(c, at);
		changed |= out(c, at) != was;
		from = at;
	}
	changed |= next_change(c, from) <= to;
	if (changed) /* however often: the line was low for a moment */
		pic_set_irq(pit->pic, IRQ_TIMER, false);
	pic_set_irq(pit->pic, IRQ_TIMER, out(c, to));
	pit->s.tick = to;
}

uint64_t pit_deadline(const struct pit *pit)
{
	uint64_t tick = next_rise(&pit->s.channel[0], pit->s.tick);

	return tick == PIT_NEVER ? PIT_NEVER : pit_vns_of(tick);
}

/* Bring everything to the moment of an access. */
static uint64_t sync(struct pit *pit)
{
	uint64_t tick;

	pit_advance(pit, clock_now(pit->clock));
	tick = now_tick(pit);
	for (unsigned i = 0; i < 3; i++)
		settle(&pit->s.channel[i], tick);
	return tick;
}

static void read_back(struct pit *pit, uint64_t tick, uint8_t control)
{
	for (unsigned i = 0; i < 3; i++) {
		if (!(control & 2u << i))
			continue;
		if (!(control & READ_BACK_NO_COUNT))
			latch_count(&pit->s.channel[i], tick);
		if (!(control & READ_BACK_NO_STATUS))
			latch_status(&pit->s.channel[i], tick);
	}
}

static void control_write(struct pit *pit, uint64_t tick, uint8_t control)
{
	unsigned which = control >> 6;

	if (which == READ_BACK)
		read_back(pit, tick, control);
	else if ((control >> 4 & 3) == ACCESS_LATCH)
		latch_count(&pit->s.channel[which], tick);
	else
		set_mode(&pit->s.channel[which], tick, control);
}

static void pit_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	struct pit *pit = self;
	uint64_t tick = sync(pit);

	(void)size;
	if (port == PORT_CONTROL)
		control_write(pit, tick, (uint8_t)value);
	else
		write_byte(&pit->s.channel[port - PORT_CHANNEL_0], tick, (uint8_t)value);
	pic_set_irq(pit->pic, IRQ_TIMER, out(&pit->s.channel[0], tick));
}

static uint32_t pit_read(void *self, uint16_t port, unsigned size)
{
	struct pit *pit = self;
	uint64_t tick = sync(pit);

	(void)size;
	if (port == PORT_CONTROL)
		return 0xff;
	return read_byte(&pit->s.channel[port - PORT_CHANNEL_0], tick);
}

static uint32_t system_read(void *self, uint16_t port, unsigned size)
{
	struct pit *pit = self;
	uint64_t tick = sync(pit);

	(void)port;
	(void)size;
	return pit->s.port_61 | (tick / REFRESH_TICKS & 1 ? P61_REFRESH : 0) |
	       (out(&pit->s.channel[2], tick) ? P61_OUT_2 : 0);
}

static void system_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	struct pit *pit = self;
	uint64_t tick = sync(pit);

	(void)port;
	(void)size;
	pit->s.port_61 = value & P61_WRITABLE;
	set_gate(&pit->s.channel[2], tick, value & P61_GATE_2);
}

void pit_init(struct pit *pit, const struct clock *clock, struct pic *pic)
{
	memset(pit, 0, sizeof(*pit));
	pit->clock = clock;
	pit->pic = pic;
	for (unsigned i = 0; i < 3; i++) {
		struct pit_channel *c = &pit->s.channel[i];

		c->access = ACCESS_BOTH;
		c->mode = i == 1 ? 2 : 3;
		c->gate = i != 2;
		c->load_at = PIT_NEVER;
		c->null_count = true;
	}
	write_count(&pit->s.channel[0], 0, 0);
	write_count(&pit->s.channel[1], 0, REFRESH_TICKS);
	pic_set_irq(pic, IRQ_TIMER, true);
}

void pit_attach(struct pit *pit, struct bus *bus)
{
	struct bus_ports r = { .first = PORT_CHANNEL_0, .last = PORT_CONTROL, .width = 1, .self = pit };

	r.read = pit_read;
	r.write = pit_write;
	bus_add_ports(bus, &r);
	r.first = r.last = PORT_SYSTEM;
	r.read = system_read;
	r.write = system_write;
	bus_add_ports(bus, &r);
}
