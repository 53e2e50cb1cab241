/*
 * handlers.h - what the handler files of emul/ share, and the handlers that emul.c puts in its table.
 *
 * A handler runs in the virtual view. It does what the guest's own processor would have done: checks the guest's right first, then
 * whatever can fault, then changes state, then advances rip. It sets the event's operands as it learns them; ev->kind
 * is already what the caller says (EV_FAULT or EV_SENSITIVE), port accesses make it EV_PIO.
 */
#ifndef RINGSIDE_VMM_EMUL_HANDLERS_H
#define RINGSIDE_VMM_EMUL_HANDLERS_H

#include "vmm/cpu/flags.h"
#include "vmm/cpu/mem.h"
#include "vmm/cpu/segment.h"
#include "vmm/emul/emul.h"

typedef void emul_fn(struct emul_ctx *x);

/* flags.c */
emul_fn emul_pushf, emul_popf, emul_cli, emul_sti, emul_iret;
/* io.c */
emul_fn emul_in, emul_out, emul_ins, emul_outs;
/* ctrl.c */
emul_fn emul_mov_cr, emul_mov_r_cr, emul_mov_dr, emul_mov_r_dr, emul_clts, emul_lmsw, emul_smsw;
/* table.c */
emul_fn emul_lgdt, emul_lidt, emul_lldt, emul_ltr, emul_sgdt, emul_sidt, emul_sldt, emul_str;
/* seg.c */
emul_fn emul_mov_sreg, emul_mov_r_sreg, emul_push_sreg, emul_pop_sreg, emul_load_pointer;
emul_fn emul_call_far, emul_jmp_far, emul_ret_far;
/* query.c */
emul_fn emul_lar, emul_lsl, emul_verr, emul_verw, emul_cpuid;
/* msr.c */
emul_fn emul_rdmsr, emul_wrmsr, emul_rdtsc, emul_rdpmc;
/* misc.c */
emul_fn emul_hlt, emul_cache, emul_invlpg;
/* sysenter.c */
emul_fn emul_sysenter, emul_sysexit;

static inline uint32_t emul_next_eip(const struct emul_ctx *x)
{
	return (uint32_t)(x->c->rip + x->in->len);
}

static inline void emul_advance(struct emul_ctx *x)
{
	x->c->rip = emul_next_eip(x);
}

/* #GP(0) unless CPL 0. Real mode is CPL 0, V86 is CPL 3. */
static inline void emul_require_cpl0(struct vcpu *c)
{
	if (c->cpl != 0)
		vcpu_raise_error(c, VEC_GP, 0);
}

/* Not recognised in real and virtual-8086 mode. */
static inline void emul_require_protected(struct vcpu *c)
{
	if (vcpu_real_mode(c) || vcpu_vm86(c))
		vcpu_raise(c, VEC_UD);
}

/* No external interrupt before the instruction after this one has completed. */
static inline void emul_shadow(struct emul_ctx *x)
{
	x->c->inhibit_icount = x->ev->icount + 1;
}

/* Destination or source operand r/m of 16 bits, whichever form. */
static inline uint16_t emul_read_rm16(struct emul_ctx *x)
{
	return x->in->flags & IF_MEM ? mem_read16(x->c, x->in->seg, insn_ea(x->c, x->in)) : GPR16(x->c, x->in->rm);
}

/* Memory gets 16 bits; a register as many as the operand size. */
static inline void emul_write_rm(struct emul_ctx *x, uint32_t value)
{
	if (x->in->flags & IF_MEM)
		mem_write16(x->c, x->in->seg, insn_ea(x->c, x->in), (uint16_t)value);
	else if (x->in->opsize == 4)
		GPR32(x->c, x->in->rm) = value;
	else
		GPR16(x->c, x->in->rm) = (uint16_t)value;
}

/* Push and pop on the present stack, size 2 or 4. A pop does not move the stack pointer before its caller is sure: see emul_pop_done. */
static inline void emul_push(struct vcpu *c, uint32_t value, unsigned size)
{
	uint32_t mask = stack_mask(c), esp = (uint32_t)c->gpr[R_SP], off = (esp - size) & mask;

	if (size == 2)
		mem_write16(c, SEG_SS, off, (uint16_t)value);
	else
		mem_write32(c, SEG_SS, off, value);
	c->gpr[R_SP] = (esp & ~mask) | off;
}

static inline uint32_t emul_pop_peek(struct vcpu *c, unsigned size)
{
	uint32_t off = (uint32_t)c->gpr[R_SP] & stack_mask(c);

	return size == 2 ? mem_read16(c, SEG_SS, off) : mem_read32(c, SEG_SS, off);
}

/* `mask` is the stack mask the value was popped with: POP SS changes it. */
static inline void emul_pop_done(struct vcpu *c, unsigned size, uint32_t mask)
{
	uint32_t esp = (uint32_t)c->gpr[R_SP];

	c->gpr[R_SP] = (esp & ~mask) | ((esp + size) & mask);
}

#endif
