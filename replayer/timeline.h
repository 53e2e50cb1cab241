/*
 * timeline.h - move through a trace in both directions: any icount is the nearest checkpoint before it, then a run.
 *
 * A timeline owns a VM that replays a trace, and checkpoints of its own in memory beside those that the trace holds.
 * Positions are icounts; at one icount there may be several moments (an exception is delivered without an
 * instruction): see vmm/debug.h. timeline_seek() goes to the first moment of an icount: everything asynchronous at it
 * has happened, its instruction has not been tried.
 *
 * A repeated I/O string instruction is one event: an icount within it is not a moment, and a seek to it ends after
 * the event.
 */
#ifndef RINGSIDE_REPLAYER_TIMELINE_H
#define RINGSIDE_REPLAYER_TIMELINE_H

#include "replayer/replay.h"
#include "vmm/debug.h"

struct timeline;

struct timeline_options {
	uint64_t memory_checkpoints; /* bytes that checkpoints in memory may take; 0 = default 256 MiB */
	enum engine_kind engine;
	void (*progress)(void *self, double done); /* long seeks; may be NULL */
	bool (*interrupted)(void *self);           /* asked every few ms; true ends a run early; may be NULL */
	void *self;
};

int timeline_open(struct timeline **out, struct trace_reader *reader, const struct timeline_options *options,
                  struct vm_error *err);
void timeline_close(struct timeline *t);

/* The VM at the present position. Do not run it directly, and do not change it. */
struct vm *timeline_vm(struct timeline *t);
struct trace_reader *timeline_reader(struct timeline *t);
uint64_t timeline_icount(const struct timeline *t);
struct vm_moment timeline_moment(const struct timeline *t);
uint64_t timeline_begin(const struct timeline *t);
uint64_t timeline_end(const struct timeline *t);   /* icount of the last event */
uint64_t timeline_event(const struct timeline *t); /* number of the next event */
/* Where the run differed from the trace, after TIMELINE_DIVERGED or a seek that said so. */
const struct replay_divergence *timeline_divergence(const struct timeline *t);
bool timeline_has_diverged(const struct timeline *t); /* ever */

/* Exactly to an icount in [begin, end]. -ERANGE with a message outside, -EINTR when interrupted (then somewhere before it),
 * -EBADMSG for a broken or diverging trace. After another failure than -ERANGE and -EINTR the next call starts from a checkpoint. */
int timeline_seek(struct timeline *t, uint64_t icount, struct vm_error *err);
int timeline_seek_moment(struct timeline *t, struct vm_moment moment, struct vm_error *err);
/* To the last moment before event `seq` happens; for an asynchronous event, which has no moment before it, the first after. */
int timeline_seek_event(struct timeline *t, uint64_t seq, struct vm_error *err);

/* Stop conditions, in the guest's linear addresses. */
enum watch_kind { WATCH_EXEC, WATCH_WRITE, WATCH_READ, WATCH_ACCESS };
struct timeline_watch {
	enum watch_kind kind;
	uint64_t lin;
	uint32_t len;   /* bytes, 1..4096; 1 for WATCH_EXEC */
	bool any_space; /* otherwise only while CR3 == cr3 */
	uint64_t cr3;
};
#define TIMELINE_WATCHES_MAX VM_DEBUG_POINTS_MAX

enum timeline_why {
	TIMELINE_REACHED, /* the limit icount */
	TIMELINE_BREAK,   /* before the instruction of a WATCH_EXEC */
	TIMELINE_WATCH,   /* forward: after the instruction that touched; backward: before it */
	TIMELINE_BEGIN,
	TIMELINE_END,
	TIMELINE_INTERRUPTED,
	TIMELINE_DIVERGED
};
struct timeline_stop {
	enum timeline_why why;
	unsigned watch; /* index of the condition that matched */
	uint64_t lin;   /* address touched */
	uint64_t icount;
	bool by_change;      /* TIMELINE_WATCH: a person wrote there in a debugger, while this was recorded */
	uint64_t changed_at; /* and the icount of that */
};

/* Forward until a condition matches or `limit` is reached. A condition that matches at the present position (exec) is passed over. */
int timeline_forward(struct timeline *t, uint64_t limit, const struct timeline_watch *watches, unsigned count,
                     struct timeline_stop *stop, struct vm_error *err);
/* Backward to the latest match before the present position, or to `limit`. Interrupted: where the search had got to; no match lies
 * between there and where it began. */
int timeline_backward(struct timeline *t, uint64_t limit, const struct timeline_watch *watches, unsigned count,
                      struct timeline_stop *stop, struct vm_error *err);

/* By moments: one instruction, one iteration of a repeated one, or one delivery of an exception. Stops early at begin and end. */
int timeline_step(struct timeline *t, uint64_t count, struct timeline_stop *stop, struct vm_error *err);
int timeline_step_back(struct timeline *t, uint64_t count, struct timeline_stop *stop, struct vm_error *err);

/* Checkpoints in memory now. */
void timeline_memory(const struct timeline *t, unsigned *count, uint64_t *bytes);

#endif
