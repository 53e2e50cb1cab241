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

#endif
