/*
 * replay.h - run a trace again: the trace is both the VM's input and the yardstick of its observer.
 *
 * No device runs here and no guest file is read. What `in`, MMIO, rdtsc return, when interrupts come, is what the trace says; every event
 * the vCPU produces must be the trace's next one, in every deterministic column.
 */
#ifndef RINGSIDE_REPLAYER_REPLAY_H
#define RINGSIDE_REPLAYER_REPLAY_H

#include "recorder/maker.h"
#include "recorder/trace.h"
#include "replayer/lockstep.h"

struct replay;

struct replay_options {
	uint64_t to; /* stop at this icount; UINT64_MAX = to the end */
	bool seek;   /* begin at the checkpoint before `to` instead of at the beginning */
	/* Console bytes as they are reached. May be NULL. */
	void (*console)(void *self, enum vm_stream stream, const uint8_t *bytes, size_t len);
	/* Called about every `progress` interval of events with 0..1. May be NULL. */
	void (*progress)(void *self, double done);
	/* What each event cost in this run, in order. May be NULL: then no clock is read. */
	void (*cost)(void *self, const struct event_cost *cost);
	/* Each event that was verified, the VM being where it happened. May be NULL. */
	void (*event)(void *self, const struct event *ev);
	void *self;
	const enum engine_kind *engine;          /* NULL: the one that recorded */
	const struct lockstep_options *lockstep; /* beside the other engine; NULL: alone */
	bool hardfaults;                         /* privileged instructions really fault, in translated code */
};

struct replay_divergence {
	bool diverged;
	uint64_t seq;                /* number of the event where it differed */
	uint64_t icount;             /* of the VM */
	struct event expected, got;  /* kind 0 where there is none; blobs NULL */
	char what[256];              /* one line: which column, expected and got */
	char cause[MAKER_DOUBT_MAX]; /* likely, on one line; "" when none is known */
	struct event last[8];        /* the events verified before, oldest first */
	unsigned last_count;
};

struct replay_result {
	struct vm_stop stop;
	uint64_t events;                         /* verified */
	uint64_t skipped_events, skipped_icount; /* before the checkpoint where it began */
	uint64_t icount;
	uint64_t run_ns; /* host wall time */
	bool truncated;  /* the recorder was stopped before the guest's end: replayed to the last commit */
	struct replay_divergence divergence;
	enum engine_kind engine;
	uint64_t comparisons; /* of a lockstep */
	struct lockstep_difference difference;
};

/* The reader is borrowed and must outlive the replay. On error *out is NULL. */
int replay_create(struct replay **out, struct trace_reader *reader, const struct replay_options *options,
                  struct vm_error *err);
/* 0 also when it diverged: look at result->divergence. Negative errno for a broken trace or host failure. */
int replay_run(struct replay *r, struct replay_result *result, struct vm_error *err);
struct vm *replay_vm(struct replay *r);
void replay_destroy(struct replay *r);

#endif
