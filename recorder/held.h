/*
 * held.h - pages of the guest's memory as they were at a moment, for the packing thread to read while the guest goes on.
 *
 * Nothing is copied when they are held. The packing thread reads them out of the guest's memory, one by one; a page that the guest is about to write before
 * its turn came is copied first, by the vCPU's thread.
 *
 * Called by first.c and checkpoints.c.
 */
#ifndef RINGSIDE_RECORDER_HELD_H
#define RINGSIDE_RECORDER_HELD_H

#include "vmm/vm.h"

struct held;

/* The VM is borrowed until destroy, and asked to tell of first writes (vm_before_write). -ENOMEM. */
int held_create(struct held **out, struct vm *vm);
void held_destroy(struct held *h); /* NULL is fine */

/* vCPU's thread: this page as it is now. It must not be held already, and not have been written since vm_take_written(). */
void held_add(struct held *h, uint64_t page);
/* Packing thread, once for each page that is held: its bytes to `to`, and it is held no more. False: there was no memory to keep them. */
bool held_fetch(struct held *h, uint64_t page, uint8_t *to);
/* Packing thread: it will not fetch any more. */
void held_give_up(struct held *h);

#endif
