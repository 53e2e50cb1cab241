/*
 * samples.h - costs that were measured again: for each event of a trace one number a run, in host cycles.
 *
 * A replay does the same faults in the same order as often as one likes. What it can repeat of an event's cost is getting to the VMM, finding out
 * why, and emulating; it has no devices and writes no log. A sample is the sum of those phases.
 *
 * With them goes who called: for each event the chain of callers that the guest's frame pointers gave in the replay, as a node of a tree. A node is a
 * return address and the node of the frame that it returns to; node 0 is the root, nobody.
 *
 * Samples live in the trace's own database `samples`, or, where the trace cannot be written, in a database of that shape beside it: NAME.samples.
 * They are made beside it in either case and moved in at the end: the trace is being read meanwhile. A replay never looks at them.
 */
#ifndef RINGSIDE_RECORDER_SAMPLES_H
#define RINGSIDE_RECORDER_SAMPLES_H

#include "recorder/trace.h"

#define SAMPLES_RUNS_MAX 100
#define SAMPLES_SUFFIX ".samples"

/* Stored as it is: no padding, little-endian. Texts end in NUL. */
struct samples_info {
	uint64_t digest, events; /* of the trace */
	uint64_t runs;           /* samples an event: 1..SAMPLES_RUNS_MAX */
	uint64_t tsc_hz;         /* of the host that measured; 0 unknown */
	/* Processor time of a replay, median, ns: with stamps and without. Their difference is what measuring costs. */
	uint64_t timed_ns, plain_ns;
	uint64_t clock_cycles; /* one read of the cycle counter */
	uint64_t nodes;        /* of the tree of callers, the root among them; 0: callers were not asked for */
	char host[128], engine[24];
};

/* What a sample counts of an event's cost. */
uint32_t samples_repeatable(const struct event_cost *cost);

/* ---- Writing: a stream at a time, all of it */
enum {
	SAMPLES_RUN,                        /* + n: what each event cost in run n, in order */
	SAMPLES_CALLERS = SAMPLES_RUNS_MAX, /* each event's node */
	SAMPLES_NODES,                      /* of each node, the root first: its parent, its return address */
};
#define SAMPLES_NODES_MAX (1u << 20)
struct samples_writer;
/* Replaces NAME.samples. Negative errno where that cannot be made. On error *out is NULL. */
int samples_create(struct samples_writer **out, const char *trace, struct vm_error *err);
void samples_begin(struct samples_writer *w, uint32_t stream);
/* A failure is kept and told by samples_end. */
void samples_add(struct samples_writer *w, uint32_t value);
int samples_end(struct samples_writer *w, struct vm_error *err);
/* Nobody may have the trace open. Frees the writer. *inside: they are in the trace now; otherwise they stay beside it, and why says why. */
int samples_finish(struct samples_writer *w, const struct samples_info *info, bool *inside, struct vm_error *why,
                   struct vm_error *err);
/* Throws away what was made. NULL is fine. */
void samples_discard(struct samples_writer *w);

/* ---- Reading */
struct samples;
/* 1 and *out when the trace has samples, 0 when it has none (then err says so if some were there that are not its or damaged: otherwise err->text
 * is empty), negative errno for a host failure. The reader must stay open. */
int samples_open(struct samples **out, struct trace_reader *r, struct vm_error *err);
void samples_close(struct samples *s); /* NULL is fine */
const struct samples_info *samples_info(const struct samples *s);
/* Of event seq, one a run, in the order of runs; NULL when they are missing or damaged. Valid until the next call. Ascending seqs are cheap. */
const uint32_t *samples_at(struct samples *s, uint64_t seq);
/* Who called at event seq: a node, 0 for nobody or where that is missing or damaged. */
uint32_t samples_caller(struct samples *s, uint64_t seq);
/* Of a node that samples_caller gave: its return address; *parent: the node that it returns to. 0 for the root. */
uint32_t samples_node(const struct samples *s, uint32_t node, uint32_t *parent);

#endif
