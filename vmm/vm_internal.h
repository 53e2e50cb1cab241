/*
 * vm_internal.h - struct vm, for vmm/'s own files that glue the parts together (vm.c, snapshot.c, trap/).
 */
#ifndef RINGSIDE_VMM_VM_INTERNAL_H
#define RINGSIDE_VMM_VM_INTERNAL_H

#include "vmm/cpu/vcpu.h"
#include "vmm/cpu/watch.h"
#include "vmm/emul/emul.h"
#include "vmm/engine/engine.h"
#include "vmm/probe.h"
#include "vmm/vm.h"

/* MMIO writes of an INS, told after the INS itself: a replay needs the port's data first. Each writes at least one of its bytes. */
struct deferred_mmio {
	uint64_t gpa, value;
	uint8_t size;
};

struct vm {
	struct vcpu vcpu;
	struct ram ram;
	struct engine *engine;
	struct vm_config config;
	struct clock clock;
	const struct vm_input *input;
	struct vm_observer observer; /* copy of what was plugged */
	struct probe probe;
	struct vm_stop stop;      /* reason set: the run is over */
	bool ended;               /* EV_END was told */
	bool halted;              /* HLT: waits for an interrupt */
	bool pause;               /* the next time it waits, the run ends instead */
	uint64_t next_checkpoint; /* icount */
	uint64_t budget_end;      /* icount the present engine run may reach */
	uint64_t block_end;       /* not 0: the engine runs one block at a time, not beyond this icount */
	uint64_t run_end;         /* icount at which the present engine run has to come back, whatever the input says */
	uint64_t quiet_until, ask_at; /* what the input said when it was last asked */
	bool turn_waits;              /* it was asked in the middle of an engine run, and brought this: */
	struct vm_turn waiting;
	bool left; /* the engine run ends with an instruction that was emulated in its middle, not with one of the guest's own */
	const struct insn *emulated; /* is being, in the middle of an engine run; NULL none. How: */
	bool lightly;
	uint64_t exception_icount; /* icount of the latest reflected exception, and how many there were at it */
	uint32_t exceptions_here;
	uint8_t real_cpl;           /* CPL in the real view at the last exit, for events */
	struct watchlist watchlist; /* a debugger's; the vCPU points at it while it has points */
	uint8_t blob[EMUL_BLOB_MAX];
	bool deferring;
	unsigned deferred_count;
	struct deferred_mmio deferred[EMUL_BLOB_MAX];
};

/* Deliveries so far at this icount: tells apart the moments between two retired instructions. */
static inline uint32_t vm_turns_here(const struct vm *vm)
{
	return vm->exception_icount == vm->vcpu.icount ? vm->exceptions_here : 0;
}

/* First reason wins. */
void vm_stop_with(struct vm *vm, enum vm_stop_reason reason, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
