/*
 * pit.h - the 8254 timer: channel 0 on IRQ0, channel 1 of old for DRAM refresh, channel 2 for the speaker, and port
 * 0x61 that gates it.
 *
 * Nothing ticks. A count is a function of the tick at which it was loaded and the tick of now, and a tick is a
 * function of virtual time: tick(vns) = floor(vns * 1193182 / 10^9), in exact integers, so that no error adds up.
 */
#ifndef RINGSIDE_VMM_DEV_PIT_H
#define RINGSIDE_VMM_DEV_PIT_H

#include <stdbool.h>
#include <stdint.h>

struct bus;
struct clock;
struct pic;

#define PIT_HZ 1193182u
#define PIT_NEVER UINT64_MAX

/* Whole ticks passed at vns, and the first vns at which a tick has passed. vns < 2^63 for an exact answer. */
uint64_t pit_tick_at(uint64_t vns);
uint64_t pit_vns_of(uint64_t tick);

struct pit_channel {
	uint8_t mode;   /* 0..5 */
	uint8_t access; /* 1 low byte, 2 high byte, 3 low then high */
	bool bcd, gate;
	bool write_high; /* access 3: the high byte is written next */
	bool read_high;  /* access 3: the high byte is read next */
	bool count_latched, status_latched;
	bool null_count;  /* a count was written that the counter has not taken yet */
	bool running;     /* the counter was loaded since the control word */
	bool stopped;     /* the gate holds the counter, since stopped_at */
	bool load_low;    /* mode 3: the pending load begins a low half */
	uint8_t low_byte; /* access 3: first byte written */
	uint8_t status;
	uint16_t latch;
	uint32_t reload; /* the count register, 1..65536; 0 = not written since the control word */
	uint32_t count;  /* what was loaded at `start` */
	uint32_t held;   /* what the counter shows while not running */
	uint64_t start, stopped_at;
	uint64_t load_at; /* the tick at which the counter takes `reload`; PIT_NEVER */
};

struct pit_state {
	struct pit_channel channel[3];
	uint64_t tick;   /* channel 0's output is told to the PIC up to here */
	uint8_t port_61; /* bits 0..3 as written */
};

struct pit {
	struct pit_state s;
	const struct clock *clock;
	struct pic *pic;
};

/* As a BIOS leaves it: channel 0 at 18.2 Hz, channel 1 refreshing. clock and pic are borrowed. */
void pit_init(struct pit *pit, const struct clock *clock, struct pic *pic);
void pit_attach(struct pit *pit, struct bus *bus);

/* Drive IRQ0 as channel 0 did until vns. */
void pit_advance(struct pit *pit, uint64_t vns);

/* The vns of the next rise of channel 0's output after the last pit_advance(); PIT_NEVER. */
uint64_t pit_deadline(const struct pit *pit);

#endif
