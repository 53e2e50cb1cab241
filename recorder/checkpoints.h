/*
 * checkpoints.h - the writer's side of checkpoints that a run can go on from: taken on the vCPU's thread, stored on the
 * packing thread.
 *
 * The vCPU's thread holds the pages written since the checkpoint before (held.h), and goes on. The packing thread fetches them, finds out
 * which contents are new (by hash: each is stored once in a trace), packs them, and at last stores the list. What a checkpoint may cost is
 * decided before it is taken; pages of one that was not are owed to the next.
 *
 * Called by writer.c only.
 */
#ifndef RINGSIDE_RECORDER_CHECKPOINTS_H
#define RINGSIDE_RECORDER_CHECKPOINTS_H

#include "recorder/codec.h"
#include "recorder/db.h"
#include "recorder/held.h"

struct checkpoints;

/* budget, spacing: as in trace_writer_options; the budget is not negative. The VM and `held` are borrowed until destroy. -ENOMEM. */
int checkpoints_create(struct checkpoints **out, struct vm *vm, struct held *held, int budget, uint64_t spacing);
void checkpoints_destroy(struct checkpoints *k); /* NULL is fine */

/* vCPU's thread, before anything runs: what a run needs to go on from checkpoint 0, besides what first.c stores. */
void checkpoints_begin(struct checkpoints *k);
/* Packing thread, before anything else: the contents of checkpoint 0's next page. False: out of memory. */
bool checkpoints_know(struct checkpoints *k, const uint8_t *page);

/* vCPU's thread, at an EV_CHECKPOINT, told already. `seq`: number of the event after it. `trace_bytes`: the trace's size without
 * checkpoints. None is taken while one is being stored. True: there is work for the packing thread. */
bool checkpoints_take(struct checkpoints *k, uint64_t seq, uint64_t icount, uint64_t trace_bytes);

/* Packing thread: some pages more. `events`: how many are committed; a checkpoint waits until those before it are. *more: something was stored. */
int checkpoints_store(struct checkpoints *k, struct db *db, struct codec *codec, uint64_t events, bool *more,
                      struct vm_error *err);
/* Packing thread: pages wait to be stored. */
bool checkpoints_waiting(const struct checkpoints *k);
/* Any thread: nobody will store any more. */
void checkpoints_give_up(struct checkpoints *k);
/* Any thread. */
void checkpoints_stats(const struct checkpoints *k, uint64_t *count, uint64_t *bytes);

#endif
