/*
 * clock.h - virtual time is a function of work done, never of the host:
 *
 *     vns = icount * ns_per_insn + faults * ns_per_fault + idle_ns
 *
 * The TSC, PIT, RTC and every timer derive from vns. The virtual TSC runs at CLOCK_TSC_HZ.
 */
#ifndef RINGSIDE_VMM_CLOCK_H
#define RINGSIDE_VMM_CLOCK_H

#include <stdint.h>

#define CLOCK_TSC_HZ 1000000000ull /* 1 tick = 1 virtual ns */

struct clock {
	uint64_t ns_per_insn; /* >= 1 */
	uint64_t ns_per_fault;
	uint64_t faults;     /* emulated faults so far */
	uint64_t idle_ns;    /* virtual time skipped by HLT */
	uint64_t icount_now; /* icount of the moment, kept current by the VM before each call into an input */
};

static inline uint64_t clock_vns(const struct clock *c, uint64_t icount)
{
	return icount * c->ns_per_insn + c->faults * c->ns_per_fault + c->idle_ns;
}

/* Virtual time of the moment, for an input that is called without being told. */
static inline uint64_t clock_now(const struct clock *c)
{
	return clock_vns(c, c->icount_now);
}

/* The first icount at which vns is reached if no fault happens before; `icount` itself when it is already past. */
static inline uint64_t clock_icount_at(const struct clock *c, uint64_t icount, uint64_t vns)
{
	uint64_t now = clock_vns(c, icount);

	if (vns <= now)
		return icount;
	if (c->ns_per_insn == 1) /* asked for after each emulated fault, and a division takes its time */
		return icount + (vns - now);
	return icount + (vns - now + c->ns_per_insn - 1) / c->ns_per_insn;
}

#endif
