/*
 * measure.h - the same faults again: a trace is replayed several times, and what each event cost is kept (recorder/samples.h).
 *
 * Some of the runs are made without reading a clock, in turn with the others: so what measuring costs is itself measured.
 */
#ifndef RINGSIDE_REPLAYER_MEASURE_H
#define RINGSIDE_REPLAYER_MEASURE_H

#include "recorder/samples.h"
#include "replayer/replay.h"

struct measure_options {
	unsigned runs;                             /* 1..SAMPLES_RUNS_MAX */
	const enum engine_kind *engine;            /* NULL: the one that recorded */
	bool hardfaults;                           /* as in replay.h */
	const char *host;                          /* the processor's name */
	uint64_t tsc_hz;                           /* 0 unknown */
	void (*progress)(void *self, double done); /* may be NULL */
	void *self;
};

struct measure_result {
	struct samples_info info;
	bool inside; /* the samples are in the trace; otherwise beside it, and why says why */
	struct vm_error why;
	struct replay_result run; /* the last one: when it diverged, nothing is kept */
};

/* Takes the reader over: it is closed in any case, samples being kept where nobody has the trace open. 0 also when a run diverged: look at
 * result->run.divergence. */
int measure(struct trace_reader *reader, const struct measure_options *options, struct measure_result *result,
            struct vm_error *err);

#endif
