/*
 * debug.h - look at a run from outside: breakpoints and watchpoints that the guest cannot notice, and moments finer than an icount.
 *
 * At one icount a guest may pass several moments: an instruction that faults retires nothing, and its handler begins at the same icount. A
 * moment is therefore an icount and a number of deliveries (exceptions, interrupts) since it was reached. vm_run() and vm_run_to() stop at
 * moments only: everything asynchronous has been delivered, the next instruction has not been tried.
 *
 * vm_change() is the one thing here that a guest does notice: it is outside input like any other, an event, and a replay makes it again.
 *
 * Called by the replayer's timeline and by debuggers of live guests.
 */
#ifndef RINGSIDE_VMM_DEBUG_H
#define RINGSIDE_VMM_DEBUG_H

#include "vmm/vm.h"

struct vm_moment {
	uint64_t icount;
	uint32_t turn; /* deliveries at this icount */
};

static inline int vm_moment_compare(struct vm_moment a, struct vm_moment b)
{
	if (a.icount != b.icount)
		return a.icount < b.icount ? -1 : 1;
	return a.turn < b.turn ? -1 : a.turn > b.turn;
}

/* Where the VM stands. */
struct vm_moment vm_moment(const struct vm *vm);

/* Guest linear addresses. Each iteration of a repeated string instruction counts as an instruction, for breakpoints too. */
#define VM_DEBUG_POINTS_MAX 64
#define VM_DEBUG_LEN_MAX 4096u
struct vm_debug_point {
	bool exec;        /* stop before the instruction at lin; otherwise after one that touched [lin, lin + len) */
	bool read, write; /* of data points: which accesses, the processor's own (interrupt frames, task switches) included */
	bool any_space;    /* otherwise only while CR3 == cr3 */
	uint32_t lin, len; /* len 1..VM_DEBUG_LEN_MAX; data only */
	uint32_t cr3;
};
/* Replaces all points; count 0 removes them. -EINVAL with a message. */
int vm_debug_set(struct vm *vm, const struct vm_debug_point *points, unsigned count, struct vm_error *err);
/* Pass over exec points of the instruction that runs next: go on from a breakpoint. */
void vm_debug_pass(struct vm *vm);

/* As vm_run(), to a moment. An I/O string instruction is one event of many iterations: a moment within it is passed. Also stops at a hit:
 * then stop->reason is STOP_NONE and vm_debug_take() tells it, once. A hit left untaken stops the next run at once. */
int vm_run_to(struct vm *vm, const struct vm_moment *until, struct vm_stop *stop, struct vm_error *err);
/* For an input's idle(): the run ends once more than it would, though the guest is still halted, so that whoever runs it may look at the world. What
 * is changed then is replayed at the same icount. */
void vm_pause(struct vm *vm);
/* To the end of what the engine does in one go, a block or a decoded trace, or of an event; not beyond icount `until`, which is in the future. */
int vm_run_block(struct vm *vm, uint64_t until, struct vm_stop *stop, struct vm_error *err);
/* Blocks of 1..32 instructions at most from now on, and whatever can be translated is, at once. For whoever looks at the engine itself. */
void vm_set_blocks(struct vm *vm, unsigned max_insns);
/* For tests of such: the translator makes a mistake, it leaves out the instruction at this address. */
void vm_leave_out(struct vm *vm, uint32_t eip);

struct vm_debug_hit {
	unsigned point;
	uint32_t lin;   /* first watched byte that was touched, or the instruction's address */
	bool by_change; /* touched by vm_change(), not by the guest */
};
/* A hit waits to be taken. */
bool vm_debug_pending(const struct vm *vm);
bool vm_debug_take(struct vm *vm, struct vm_debug_hit *hit);

/* Change the guest at the present moment and tell the observer (EV_CHANGE). Memory: 1..VM_DEBUG_LEN_MAX bytes of RAM, within a page. Registers: anything
 * but time, icount and halt flag, which must be those of the present; empties the TLB. -EINVAL or -EBADMSG with a message, and nothing is changed. */
int vm_change(struct vm *vm, const struct vm_change *change, struct vm_error *err);

#endif
