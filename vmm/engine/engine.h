/*
 * engine.h - run guest instructions in the real view until something needs the VMM.
 *
 * One entry: run this vCPU for at most N instructions, say why it stopped. Nothing outside this folder assumes that the processor is software.
 * The engine fills vcpu->exit and leaves rip, icount, flags and FPU state exact.
 */
#ifndef RINGSIDE_VMM_ENGINE_ENGINE_H
#define RINGSIDE_VMM_ENGINE_ENGINE_H

#include "vmm/cpu/vcpu.h"

struct engine;

int engine_interp_create(struct engine **out, struct vcpu *c); /* -ENOMEM */
/* The interpreter with a translator for what is hot. -ENOTSUP: the host's processor lacks BMI2 */
int engine_translate_create(struct engine **out, struct vcpu *c);
bool engine_can_translate(void);
/* Translate what was interpreted so often (0..255); for tests. Nothing where there is no translator. */
void engine_set_hot(struct engine *e, unsigned executions);
/* Privileged instructions of translated code really fault on the host's processor (hardfault.h). Before the first run. -ENOMEM; -ENOTSUP: no translator */
int engine_set_hardfaults(struct engine *e);
/* Traces and blocks of 1..32 instructions at most from now on. Decoded code goes. */
void engine_set_block_max(struct engine *e, unsigned insns);
/* Room for translated code, 20 KiB to 16 MiB: when it is full all of it goes. For tests. Nothing where there is no translator. */
void engine_set_code_room(struct engine *e, uint32_t bytes);
/* User code goes through the window (vmm/mem/window.h) from the first, and is often translated anew: for tests. Decoded code goes. Nothing where there is no translator. */
void engine_always_window(struct engine *e);
/* A mistake for tests: translated code leaves out the instruction at this EIP. */
void engine_leave_out(struct engine *e, uint32_t eip);
void engine_destroy(struct engine *e);

/* Real view only. Runs until vcpu->icount reaches icount_end, or an exit. vcpu->exit says which. */
void engine_run(struct engine *e, uint64_t icount_end);
/* The same, to the end of the first block at the latest. */
void engine_run_block(struct engine *e, uint64_t icount_end);
/* Exactly one instruction (one iteration of a rep string), with MMIO and code-page writes allowed: hooks are called.
 * EXIT_BUDGET when it retired. */
void engine_step(struct engine *e);
/* In the middle of a run, for vcpu_hooks.emulate: x87 state becomes exact, and the host's unit free for whatever others do. */
void engine_sync(struct vcpu *c);
/* icount of the instruction being executed: for hooks, which are called in the middle of a run. */
uint64_t engine_icount(const struct vcpu *c);
/* All decoded code is stale (memory was replaced from outside). */
void engine_flush(struct engine *e);
/* Decode the instruction at rip (present view) through the guest's page tables, without running it. Returns false and raises nothing
 * when it cannot be fetched. For classifying exits and for the profiler's disassembly. */
bool engine_fetch(struct vcpu *c, struct insn *out);

struct engine_counters {
	uint64_t traces_decoded, smc_invalidations, blocks_translated, code_flushes, hardfaults, window_pages;
};
void engine_get_counters(const struct engine *e, struct engine_counters *out);

#endif
