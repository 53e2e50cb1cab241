/*
 * lockstep.h - two engines side by side on one guest: whatever a VM does, a second one does again on the other engine, at once.
 *
 * The first VM is anybody's: live, recorded, or a replay. What it tells its observer is, to the second, what a trace is to a replay: the answers of its
 * devices, when interrupts come, and what it must do itself. After every stretch of instructions both must have the same registers, flags, segments,
 * FPU state, memory and virtual time.
 *
 * Where they do not, both are put back to where they last agreed and go on a block at a time, first in blocks of one instruction, until they differ again:
 * that block is to blame. A difference that only longer stretches show is told as that.
 */
#ifndef RINGSIDE_REPLAYER_LOCKSTEP_H
#define RINGSIDE_REPLAYER_LOCKSTEP_H

#include "replayer/state_diff.h"

struct lockstep;

struct lockstep_options {
	uint64_t every; /* instructions from one comparison to the next; 0: every block of the first VM's engine */
	/* A mistake of the translator, for tests: it leaves out the instruction at this EIP, which is no branch. */
	bool plants;
	uint32_t plant;
};

/* An instruction of those between the last agreement and the difference. */
struct lockstep_insn {
	uint64_t rip;
	char text[96];
};
#define LOCKSTEP_INSNS_MAX 32

struct lockstep_difference {
	bool found;
	bool located;      /* seen again a block at a time: `insn` is that block */
	uint64_t from, to; /* icounts: both agreed at `from`, and differ at `to` */
	uint64_t space;    /* CR3 at `from` */
	char event[256];   /* when they differ in what they told: in what */
	struct state_diff state;
	struct lockstep_insn insn[LOCKSTEP_INSNS_MAX];
	unsigned insns;
};

/* vm: with an empty TLB, as it is when made or restored. input, observer (may be NULL): its plugs, plugged in by this. All are borrowed. The
 * second VM takes as much memory again. On error *out is NULL. */
int lockstep_create(struct lockstep **out, struct vm *vm, const struct vm_input *input,
                    const struct vm_observer *observer, const struct lockstep_options *options, struct vm_error *err);
void lockstep_destroy(struct lockstep *l);
/* As vm_run() of the first VM; ends at a difference too, then *stop says STOP_OBSERVER, and the VM must not run on. */
int lockstep_run(struct lockstep *l, uint64_t until, struct vm_stop *stop, struct vm_error *err);
const struct lockstep_difference *lockstep_difference(const struct lockstep *l);
/* How often both were compared and equal. */
uint64_t lockstep_comparisons(const struct lockstep *l);
/* The engine beside the VM's own. */
enum engine_kind lockstep_other(enum engine_kind engine);

#endif
