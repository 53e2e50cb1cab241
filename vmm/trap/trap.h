/*
 * trap.h - what to do about an exit: emulate, reflect, or run one MMIO instruction.
 */
#ifndef RINGSIDE_VMM_TRAP_TRAP_H
#define RINGSIDE_VMM_TRAP_TRAP_H

#include "vmm/cpu/far.h"
#include "vmm/vm_internal.h"

/* Virtual view; vcpu.exit holds the engine's exit. */
void trap_handle(struct vm *vm);
/* Emulate in the middle of an engine run, in the virtual view. An exception of the guest's unwinds to the end of the run: then trap_unwound(). */
void trap_emulate_inside(struct vm *vm, const struct insn *in);
void trap_unwound(struct vm *vm, const struct insn *in);
/* The #DB that TF, a data breakpoint or a task owes after an instruction that was emulated: vcpu.db_pending. */
void trap_debug(struct vm *vm);
/* Hooks for the engine's slow paths. */
void trap_init_hooks(struct vm *vm);

/* Deliver through the guest's IDT, with double and triple faults; tells EV_EXCEPTION or EV_INTERRUPT. `op` is the instruction to blame.
 * True when what was delivered is `in` itself, not a fault that came of trying. */
bool reflect(struct vm *vm, const struct intr *in, uint64_t cr2, enum op op);

/* An event of this moment with the common fields filled. */
struct event trap_event(const struct vm *vm, enum event_kind kind, enum op op);

#endif
