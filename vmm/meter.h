/*
 * meter.h - what the inside of an engine run has to say about where the host's time goes.
 *
 * The probe (probe.h) stamps the border between guest and VMM; the meter is read by it and written by those on the far side: the MMU, the decoder, the
 * translator. Sums grow from one event to the next; all are cycles of the host's time stamp counter. While `on` is false nobody reads a clock.
 */
#ifndef RINGSIDE_VMM_METER_H
#define RINGSIDE_VMM_METER_H

#include <stdbool.h>
#include <stdint.h>
#include <x86intrin.h>

struct meter {
	bool on;
	uint64_t decode;  /* making traces and translations, without the TLB fills of it */
	uint64_t tlb;     /* walking tables and filling the fast TLB */
	uint64_t view;    /* from one view of memory to the other, in model 0/3/3 */
	uint64_t exit_at; /* when the engine, in its present run, turned to its exit; 0: it did not say */
	uint64_t fault; /* before that, from the instruction on: the host processor's fault and the signal; 0: there was none */
};

static inline uint64_t meter_now(const struct meter *m)
{
	return m->on ? __rdtsc() : 0;
}

/* The engine leaves the guest here, unless it said so before. */
static inline void meter_exit(struct meter *m)
{
	if (m->on && !m->exit_at)
		m->exit_at = __rdtsc();
}

/* What is neither the guest's nor an event's. */
static inline uint64_t meter_inside(const struct meter *m)
{
	return m->decode + m->tlb + m->view;
}

static inline void meter_restart(struct meter *m)
{
	m->decode = m->tlb = m->view = 0;
}

#endif
