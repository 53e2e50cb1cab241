/*
 * far_internal.h - what the far transfer files of cpu/ share: selectors, system descriptor types, and stack frames that are
 * checked as a whole before any of them is written.
 */
#ifndef RINGSIDE_VMM_CPU_FAR_INTERNAL_H
#define RINGSIDE_VMM_CPU_FAR_INTERNAL_H

#include "vmm/cpu/far.h"
#include "vmm/cpu/segment.h"

#define SEL_RPL 3u
#define SEL_LDT 4u
#define ERR_EXT                                                                                                        \
	1u /* error code: the fault arose while something not of the program's doing was delivered (SDM vol. 3A 6.13) */
#define ERR_IDT 2u

/* System descriptor types, SDM vol. 3A table 3-2. Bit 3 tells the 32-bit ones. */
enum {
	SYS_TSS16 = 1,
	SYS_LDT = 2,
	SYS_TSS16_BUSY = 3,
	SYS_CALL16 = 4,
	SYS_TASK_GATE = 5,
	SYS_INTR16 = 6,
	SYS_TRAP16 = 7,
	SYS_TSS32 = 9,
	SYS_TSS32_BUSY = 11,
	SYS_CALL32 = 12,
	SYS_INTR32 = 14,
	SYS_TRAP32 = 15,
	SYS_BUSY = 2,
	SYS_32 = 8,
};

/* Segments are sel << 4; either view (in the real view, real mode runs with VM set). */
static inline bool far_vm86(const struct vcpu *c)
{
	return vcpu_real_mode(c) || vcpu_vm86(c);
}

static inline unsigned attr_dpl(uint16_t attr)
{
	return (attr & SEG_DPL) >> SEG_DPL_SHIFT;
}

static inline bool attr_is_code(uint16_t attr)
{
	return (attr & (SEG_S | SEG_CODE)) == (SEG_S | SEG_CODE);
}

static inline bool attr_conforming(uint16_t attr)
{
	return (attr & (SEG_S | SEG_CODE | SEG_EXPAND)) == (SEG_S | SEG_CODE | SEG_EXPAND);
}

static inline uint32_t offset_mask(unsigned opsize)
{
	return opsize == 2 ? 0xffffu : 0xffffffffu;
}

/* A selector's part of an error code. */
static inline uint32_t sel_error(uint16_t sel)
{
	return sel & ~SEL_RPL & 0xffffu;
}

/* A stack that is in force, or that is going to be. */
struct stack {
	struct segment ss;
	uint32_t esp;
	bool inner; /* of a ring being entered: written with supervisor rights by linear address, SS is not loaded yet */
};

/* What will be pushed, first push first. Room for the longest: a call gate with 31 parameters, SS, ESP, CS, EIP. */
struct frame {
	uint32_t value[36];
	unsigned count;
	unsigned size; /* of an element: 2 or 4 */
};

static inline void frame_add(struct frame *f, uint32_t value)
{
	BUG_ON(f->count >= sizeof(f->value) / sizeof(f->value[0]));
	f->value[f->count++] = value;
}

void stack_current(const struct vcpu *c, struct stack *st);
/* The stack of inner ring `cpl` from the TSS, judged and marked accessed: #TS, #SS with `ext` in the error code. */
void stack_inner(struct vcpu *c, unsigned cpl, uint32_t ext, struct stack *st);
/* Checks limit (#SS(ss_error)) and pages of the whole frame, then writes it and moves st->esp. No register changes. */
void stack_push(struct vcpu *c, struct stack *st, const struct frame *f, uint32_t ss_error);
/* Makes st the vCPU's stack: ESP, and SS when inner. Cannot fail. */
void stack_commit(struct vcpu *c, const struct stack *st);
/* Element i of `size` bytes above the current stack pointer plus `skip` bytes. */
uint32_t stack_peek(struct vcpu *c, unsigned i, unsigned size, unsigned skip);
/* ESP or SP += bytes, by the size of SS. */
void stack_release(struct vcpu *c, uint32_t bytes);

/* The paging view that belongs to the present CPL; the emulators' accesses go through it. Virtual view. */
void cpu_sync_context(struct vcpu *c);
/* Reads a descriptor a transfer names: null raises vector(ext), outside the table vector(sel + ext). */
void far_read_descriptor(struct vcpu *c, uint16_t sel, unsigned vector, uint32_t ext, struct descriptor *d);
/* CS from a judged descriptor, RPL = cpl, which becomes the CPL. Cannot fail. Virtual view. */
void far_set_code(struct vcpu *c, uint16_t sel, const struct descriptor *d, unsigned cpl);

/* Pushes CS and the return offset on the present stack; either view. */
void far_push_return(struct vcpu *c, unsigned size, uint32_t next_eip);

/* Real mode and V86, either view. */
void vm86_far_jmp(struct vcpu *c, uint16_t sel, uint32_t off);
void vm86_far_call(struct vcpu *c, uint16_t sel, uint32_t off, unsigned opsize, uint32_t next_eip);
void vm86_far_ret(struct vcpu *c, unsigned opsize, unsigned release);

/* A far JMP or CALL that named a system descriptor: call gate, task gate, TSS. */
void gate_transfer(struct vcpu *c, uint16_t sel, const struct descriptor *d, bool call, uint32_t next_eip);

/* Returns (RET, IRET). Code descriptor judged as the target of a return at the present CPL; marks it accessed. */
void return_read_code(struct vcpu *c, uint16_t sel, struct descriptor *d);
struct return_frame {
	uint16_t cs, ss;
	uint32_t eip, esp;
};
/* To an outer ring: judges SS, then commits CS, SS, ESP (+ release), EIP, CPL and nulls what that ring must not see. */
void return_outer(struct vcpu *c, const struct return_frame *r, struct descriptor *cs, unsigned release);

/* The stack slot in the current TSS; #TS(TR + ext). */
void tss_stack_ext(struct vcpu *c, unsigned cpl, uint32_t ext, uint16_t *ss, uint32_t *esp);
/* task_switch() for an interrupt through a task gate: `eflags_saved` goes to the old TSS. */
void task_switch_intr(struct vcpu *c, uint16_t tss_sel, const struct intr *in, uint32_t eflags_saved, uint32_t ext);

#endif
