/*
 * iret.c - IRET in the guest's own terms (virtual view): SDM vol. 2, IRET, Operation.
 *
 *     real mode                          pop IP, CS, FLAGS
 *     V86, IOPL 3                        the same, IOPL stays;  IOPL < 3: #GP(0)
 *     protected, NT = 1                  back to the task whose TSS links here
 *     protected, CPL 0, VM in the image  to V86: pop nine doublewords
 *     protected, RPL of CS = CPL         same ring
 *     protected, RPL of CS > CPL         outer ring: pop SS:ESP too
 */
#include "vmm/cpu/far_internal.h"
#include "vmm/cpu/mem.h"

/* EFLAGS from the image as far as `cpl` may. A 16-bit image changes the lower half only; RF never survives one. */
static void pop_flags(struct vcpu *c, uint32_t image, unsigned opsize, uint32_t rights)
{
	uint32_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT | rights;
	uint32_t now = vcpu_get_eflags(c) & ~FL_RF;

	if (opsize == 4)
		mask |= FL_RF | FL_AC | FL_ID;
	vcpu_set_eflags(c, (now & ~mask) | (image & mask));
}

static uint32_t protected_rights(const struct vcpu *c)
{
	if (c->cpl == 0)
		return FL_IF | FL_IOPL;
	return c->cpl <= (c->eflags & FL_IOPL) >> FL_IOPL_SHIFT ? FL_IF : 0;
}

static void iret_vm86(struct vcpu *c, unsigned opsize)
{
	uint32_t flags;

	if (!vcpu_real_mode(c) && (c->eflags & FL_IOPL) != FL_IOPL)
		vcpu_raise_error(c, VEC_GP, 0);
	flags = stack_peek(c, 2, opsize, 0);
	vm86_far_ret(c, opsize, opsize);
	pop_flags(c, flags, opsize, vcpu_real_mode(c) ? FL_IF | FL_IOPL : FL_IF);
}

static void load_vm86_segments(struct vcpu *c, const uint16_t sel[SEG_COUNT])
{
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_load_vm86(c, i, sel[i]);
}

static void iret_to_vm86(struct vcpu *c, const struct return_frame *r, uint32_t flags)
{
	uint16_t sel[SEG_COUNT];
	uint32_t esp = stack_peek(c, 3, 4, 0);

	sel[SEG_CS] = r->cs;
	sel[SEG_SS] = (uint16_t)stack_peek(c, 4, 4, 0);
	sel[SEG_ES] = (uint16_t)stack_peek(c, 5, 4, 0);
	sel[SEG_DS] = (uint16_t)stack_peek(c, 6, 4, 0);
	sel[SEG_FS] = (uint16_t)stack_peek(c, 7, 4, 0);
	sel[SEG_GS] = (uint16_t)stack_peek(c, 8, 4, 0);
	if (r->eip > 0xffff)
		vcpu_raise_error(c, VEC_GP, 0);
	c->cpl = 3;
	vcpu_set_eflags(c, (flags & (FL_WRITABLE | FL_RF | FL_VM)) | FL_FIXED);
	load_vm86_segments(c, sel);
	c->gpr[R_SP] = esp;
	c->rip = r->eip;
}

static void iret_same_ring(struct vcpu *c, const struct return_frame *r, struct descriptor *d, unsigned opsize)
{
	if (r->eip > d->limit)
		vcpu_raise_error(c, VEC_GP, 0);
	descriptor_set_accessed(c, d);
	far_set_code(c, r->cs, d, c->cpl);
	c->rip = r->eip;
	stack_release(c, 3 * opsize);
}

static void iret_protected(struct vcpu *c, unsigned opsize)
{
	struct return_frame r = { .eip = stack_peek(c, 0, opsize, 0), .cs = (uint16_t)stack_peek(c, 1, opsize, 0) };
	uint32_t flags = stack_peek(c, 2, opsize, 0);
	uint32_t rights = protected_rights(c);
	struct descriptor d;

	if (opsize == 4 && (flags & FL_VM) && c->cpl == 0) {
		iret_to_vm86(c, &r, flags);
		return;
	}
	return_read_code(c, r.cs, &d);
	if ((r.cs & SEL_RPL) > c->cpl) {
		r.esp = stack_peek(c, 3, opsize, 0);
		r.ss = (uint16_t)stack_peek(c, 4, opsize, 0);
		return_outer(c, &r, &d, 0);
	} else {
		iret_same_ring(c, &r, &d, opsize);
	}
	pop_flags(c, flags, opsize, rights);
}

void far_iret(struct vcpu *c, unsigned opsize, uint32_t next_eip)
{
	cpu_sync_context(c);
	if (far_vm86(c))
		iret_vm86(c, opsize);
	else if (c->eflags & FL_NT)
		task_switch(c, (uint16_t)mem_sys_read(c, (uint32_t)c->tr.base, 2), TASK_IRET, next_eip, false, 0);
	else
		iret_protected(c, opsize);
}
