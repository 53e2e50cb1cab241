/*
 * timeline.h - move through a trace in both directions: any icount is the nearest checkpoint before it, then a run.
 *
 * A timeline owns a VM that replays a trace, and checkpoints of its own in memory beside those that the trace holds. Positions are icounts; at
 * one icount there may be several moments (an interrupt is delivered without an instruction): a position is the moment after
 * everything asynchronous at that icount happened and before its instruction runs.
 */
#ifndef RINGSIDE_REPLAYER_TIMELINE_H
#define RINGSIDE_REPLAYER_TIMELINE_H

#include "replayer/replay.h"

struct timeline;

struct timeline_options {
	uint64_t memory_checkpoints;  /* bytes that checkpoints in memory may take; 0 = default 256 MiB */
	enum engine_kind engine;
	void (*progress)(void *self, double done); /* long seeks; may be NULL */
	bool (*interrupted)(void *self);           /* asked every few ms; true ends a run early; may be NULL */
	void *self;
};

int timeline_open(struct timeline **out, struct trace_reader *reader, const struct timeline_options *options, struct vm_error *err);
void timeline_close(struct timeline *t);

/* The VM at the present position. Do not run it directly. */
struct vm *timeline_vm(struct timeline *t);
struct trace_reader *timeline_reader(struct timeline *t);
uint64_t timeline_icount(const struct timeline *t);
uint64_t timeline_begin(const struct timeline *t);
uint64_t timeline_end(const struct timeline *t);      /* icount of the last event */
uint64_t timeline_event(const struct timeline *t);    /* number of the next event */

/* Exactly to an icount in [begin, end]. -ERANGE with a message outside. */
int timeline_seek(struct timeline *t, uint64_t icount, struct vm_error *err);

/* Stop conditions, in the guest's linear addresses. */
enum watch_kind { WATCH_EXEC, WATCH_WRITE, WATCH_READ, WATCH_ACCESS };
struct timeline_watch {
	enum watch_kind kind;
	uint64_t lin;
	uint32_t len;       /* bytes, 1..4096; 1 for WATCH_EXEC */
	bool any_space;     /* otherwise only while CR3 == cr3 */
	uint64_t cr3;
};

enum timeline_why {
	TIMELINE_REACHED,     /* the limit icount */
	TIMELINE_BREAK,       /* before the instruction of a WATCH_EXEC */
	TIMELINE_WATCH,       /* forward: after the instruction that touched; backward: before it */
	TIMELINE_BEGIN, TIMELINE_END, TIMELINE_INTERRUPTED,
	TIMELINE_DIVERGED
};
struct timeline_stop {
	enum timeline_why why;
	unsigned watch;       /* index of the condition that matched */
	uint64_t lin;         /* address touched */
	uint64_t icount;
};

/* Forward until a condition matches or `limit` is reached. A condition that matches at the present position (exec) is passed over. */
int timeline_forward(struct timeline *t, uint64_t limit, const struct timeline_watch *watches, unsigned count,
                     struct timeline_stop *stop, struct vm_error *err);
/* Backward to the latest match before the present position, or to `limit`. */
int timeline_backward(struct timeline *t, uint64_t limit, const struct timeline_watch *watches, unsigned count,
                      struct timeline_stop *stop, struct vm_error *err);

#endif
