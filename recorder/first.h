/*
 * first.h - checkpoint 0: registers and all of memory as the recording began. Noted on the vCPU's thread, which goes on at once; stored on the packing
 * thread, before any event.
 *
 * Called by writer.c only.
 */
#ifndef RINGSIDE_RECORDER_FIRST_H
#define RINGSIDE_RECORDER_FIRST_H

#include "recorder/checkpoints.h"
#include "recorder/digest.h"
#include "recorder/held.h"

struct first;

/* vCPU's thread, before anything runs: holds the pages that may not be zero. -ENOMEM. */
int first_take(struct first **out, struct vm *vm, struct held *held);
void first_destroy(struct first *f); /* NULL is fine */

/* Packing thread, once: the pages are stored and digested, and their contents known to `k` (may be NULL). *value becomes the packed checkpoint, which the
 * caller puts; *bytes what the pages took. */
int first_store(struct first *f, struct db *db, struct codec *codec, struct digest *digest, struct checkpoints *k,
                struct bytes *value, uint64_t *bytes, struct vm_error *err);

#endif
