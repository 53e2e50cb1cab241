/*
 * callers.h - who called, at each event of a replay: the guest's frame pointers, walked without the guest noticing, as a tree of return addresses.
 *
 * A kernel that was built without frame pointers gives short or no chains; nothing that is found is trusted. Ring 3 and what came from outside
 * have no chain.
 */
#ifndef RINGSIDE_REPLAYER_CALLERS_H
#define RINGSIDE_REPLAYER_CALLERS_H

#include "vmm/vm.h"

struct callers;

/* events: how many there will be. NULL: out of memory. Free with callers_destroy (NULL is fine). */
struct callers *callers_create(uint64_t events);
void callers_destroy(struct callers *c);
/* The next event, the VM being where it happened. */
void callers_add(struct callers *c, struct vm *vm, const struct event *ev);

/* How many events were added, and the node of each: the tree's, which has `nodes`. */
uint64_t callers_events(const struct callers *c);
uint32_t callers_of(const struct callers *c, uint64_t event);
uint32_t callers_nodes(const struct callers *c);
uint32_t callers_parent(const struct callers *c, uint32_t node);
uint32_t callers_address(const struct callers *c, uint32_t node);

#endif
