/*
 * calibrate.h - the host's own constants: what a fault, a system call, a read of a counter cost here, whatever runs as a guest.
 *
 * They are what to hold a report's figures against, so recordings carry them (trace.h, host_costs) and profiles quote them.
 */
#ifndef RINGSIDE_TOOLS_CALIBRATE_H
#define RINGSIDE_TOOLS_CALIBRATE_H

#include "recorder/trace.h"

#define CALIBRATE_SAMPLES_MAX 1000000u
#define CALIBRATE_BRIEF 60 /* samples: about a millisecond in all */

/* Of `samples` measurements, in cycles of the time stamp counter. */
struct calibrated {
	const char *key, *title;
	const char *why; /* it cannot be measured on this host; NULL: it was */
	uint32_t samples, min, p25, median, p75, p95, max;
};

#define CALIBRATED_MAX 10
struct calibration {
	struct calibrated list[CALIBRATED_MAX];
	unsigned count;
};

/* What not everybody wants measured: a process that faults meets signals, and opening and closing a counter can take the kernel 25 ms. */
enum { CALIBRATE_FAULTS = 1, CALIBRATE_PERF = 2, CALIBRATE_ALL = CALIBRATE_FAULTS | CALIBRATE_PERF };

/* samples: 1..CALIBRATE_SAMPLES_MAX of each. what: CALIBRATE_* bits. 0 or -ENOMEM. */
int calibrate(struct calibration *out, unsigned samples, unsigned what);
/* A fault of one instruction, from it to its handler and back (vmm/engine/hardfault.h). False when it stays a call-out. */
bool calibrate_fault(struct calibrated *out, unsigned op, unsigned samples);
/* For a trace's header: those that could be measured. */
void calibrate_meta(struct trace_meta *meta, unsigned samples, unsigned what);

#endif
