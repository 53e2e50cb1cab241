/*
 * moments.h - checkpoints in memory: a VM's state at moments it passed, put back cheaply.
 *
 * Page contents have versions. Those that the trace holds are named by its numbers (recorder/trace.h) and cost nothing; those
 * that a run made are copied once, when a moment is saved, and shared by all moments that have them. Putting back touches only
 * pages that differ, and keeps the decoded code of all others.
 *
 * One per VM: it asks the VM which pages were written (vm_take_written), so nobody else may. Called by timeline.c.
 */
#ifndef RINGSIDE_REPLAYER_MOMENTS_H
#define RINGSIDE_REPLAYER_MOMENTS_H

#include "recorder/trace.h"
#include "vmm/debug.h"

struct moments;
struct saved; /* one moment */

/* vm: fresh, made from the trace's configuration; nothing was restored yet. All borrowed. */
int moments_create(struct moments **out, struct trace_reader *reader, struct vm *vm, struct vm_error *err);
void moments_destroy(struct moments *m); /* what was saved is dropped before; NULL is fine */

/* The VM's present moment. seq: of the next event. NULL: out of memory. Free with moments_drop. */
struct saved *moments_save(struct moments *m, uint64_t seq);
void moments_drop(struct moments *m, struct saved *s);
struct vm_moment saved_at(const struct saved *s);
uint64_t saved_seq(const struct saved *s);
/* Bytes that everything saved takes now. */
uint64_t moments_bytes(const struct moments *m);

/* After either the VM is there, and the caller moves its input to the event. On failure it is nowhere: only another restore helps. */
int moments_restore(struct moments *m, const struct saved *s, struct vm_error *err);
int moments_restore_trace(struct moments *m, size_t number, uint64_t *seq, struct vm_error *err);

#endif
