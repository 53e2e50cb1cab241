/*
 * state_diff.h - in which fields two vCPUs, or two memories, differ: for a person to read.
 *
 * Called by lockstep.c. Both vCPUs in the virtual view.
 */
#ifndef RINGSIDE_REPLAYER_STATE_DIFF_H
#define RINGSIDE_REPLAYER_STATE_DIFF_H

#include "vmm/vm.h"

#define STATE_DIFF_MAX 16

struct state_diff {
	unsigned count; /* at most STATE_DIFF_MAX are kept */
	bool more;
	struct {
		char name[24];
		uint64_t first, second;
	} field[STATE_DIFF_MAX];
};

/* Both add to what *d has. */
void state_diff_registers(struct state_diff *d, struct vm *first, struct vm *second);
void state_diff_page(struct state_diff *d, struct vm *first, struct vm *second, uint64_t page);

#endif
