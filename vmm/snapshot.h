/*
 * snapshot.h - the vCPU's architectural state as a flat, versioned, host-independent byte string.
 *
 * It is the guest's view (virtual state): no selector with RPL 1, no real IF. Every engine and both ring models give
 * the same bytes for the same guest state. Used for checkpoint 0 and for register digests.
 */
#ifndef RINGSIDE_VMM_SNAPSHOT_H
#define RINGSIDE_VMM_SNAPSHOT_H

#include "vmm/vm.h"

#define SNAPSHOT_MAX 4096

/* Writes at most SNAPSHOT_MAX bytes into buf; returns the length. Little-endian, fixed layout, includes icount and clock. */
size_t vm_snapshot_save(struct vm *vm, uint8_t buf[SNAPSHOT_MAX]);
/* Checks every field before use: -EBADMSG with a message on anything out of range, and the VM unchanged. Flushes the TLB. */
int vm_snapshot_load(struct vm *vm, const uint8_t *buf, size_t len, struct vm_error *err);

/*
 * Checkpoints that a run goes on from. Beside the architectural state above they need
 *  - what else the VMM keeps between two instructions and a run's events show (vm_progress_*);
 *  - the translations that the TLB remembers, unless it was just flushed, as it is at an EV_CHECKPOINT (vm_translations_*);
 *  - memory: pages written since the last checkpoint (vm_take_written), put back by vm_write_page;
 *  - the devices' own state, when a run is to go on live (vm_devices_save).
 * All of it belongs to moments (debug.h) only.
 */
#define PROGRESS_MAX 64

size_t vm_progress_save(const struct vm *vm, uint8_t buf[PROGRESS_MAX]);
/* After vm_snapshot_load*(). -EBADMSG with a message on anything out of range. */
int vm_progress_load(struct vm *vm, const uint8_t *buf, size_t len, struct vm_error *err);

/* As vm_snapshot_load(), for a VM whose memory was only ever changed by running and by vm_write_page(): decoded code stays. */
int vm_snapshot_load_kept(struct vm *vm, const uint8_t *buf, size_t len, struct vm_error *err);

/* Writes at most `room` words, returns how many there are. Load wants what save gave: not for bytes from outside. */
size_t vm_translations_save(const struct vm *vm, uint64_t *words, size_t room);
void vm_translations_load(struct vm *vm, const uint64_t *words, size_t count);

/* Numbers of the 4096-byte pages written since the last call, ascending; `page` has room for all pages of RAM. For one caller a VM: whoever
 * makes checkpoints. The second is the same for whoever compares two VMs. */
size_t vm_take_written(struct vm *vm, uint64_t *page);
size_t vm_take_compared(struct vm *vm, uint64_t *page);
/* fn (NULL: no more) is told of the first write to a page after vm_take_written(), before it is done, on the thread that runs the VM. */
void vm_before_write(struct vm *vm, void (*fn)(void *self, uint64_t page), void *self);
/* Numbers of the pages that may hold anything but zeros; the same room. What was written through vm_ram() is among them after
 * vm_snapshot_load() only. */
size_t vm_used_pages(const struct vm *vm, uint64_t *page);
void vm_write_page(struct vm *vm, uint64_t page, const uint8_t *bytes);

/* What the plugged devices save (struct vm_input, save); 0 without any. */
size_t vm_devices_save(struct vm *vm, uint8_t *buf, size_t room);

#endif
