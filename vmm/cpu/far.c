/*
 * far.c - far JMP, CALL and RET in the guest's own terms (virtual view): SDM vol. 2, those instructions' Operation.
 *
 * Rule: judge everything, write the stack, then change registers. Whatever raises comes before the first change. Called by the emulators (emul/seg.c); the V86
 * parts also by far_native.c.
 *
 *   far_jmp, far_call   -> code segment here; call gate, task gate, TSS in gate.c
 *   far_ret             -> same ring or outer ring
 */
#include "vmm/cpu/far_internal.h"
#include "vmm/cpu/mem.h"

void cpu_sync_context(struct vcpu *c)
{
	enum mmu_context context = c->cpl == 3 ? MMU_USER : MMU_SUPERVISOR;

	if (!c->real_view && c->mmu.context != context)
		mmu_set_context(&c->mmu, context);
}

void far_read_descriptor(struct vcpu *c, uint16_t sel, unsigned vector, uint32_t ext, struct descriptor *d)
{
	if (!(sel & ~SEL_RPL))
		vcpu_raise_error(c, vector, ext);
	if (!descriptor_read(c, sel, d))
		vcpu_raise_error(c, vector, sel_error(sel) | ext);
}

void far_set_code(struct vcpu *c, uint16_t sel, const struct descriptor *d, unsigned cpl)
{
	segment_set(&c->seg[SEG_CS], (uint16_t)((sel & ~SEL_RPL) | cpl), d->base, d->limit, d->attr, d->attr);
	c->cpl = (uint8_t)cpl;
	vcpu_update_align(c);
}

void vm86_far_jmp(struct vcpu *c, uint16_t sel, uint32_t off)
{
	if (off > c->seg[SEG_CS].limit)
		vcpu_raise_error(c, VEC_GP, 0);
	segment_load_vm86(c, SEG_CS, sel);
	c->rip = off;
}

void far_push_return(struct vcpu *c, unsigned size, uint32_t next_eip)
{
	struct frame f = { .size = size };
	struct stack st;

	stack_current(c, &st);
	frame_add(&f, c->seg[SEG_CS].sel);
	frame_add(&f, next_eip);
	stack_push(c, &st, &f, 0);
	stack_commit(c, &st);
}

void vm86_far_call(struct vcpu *c, uint16_t sel, uint32_t off, unsigned opsize, uint32_t next_eip)
{
	if (off > c->seg[SEG_CS].limit)
		vcpu_raise_error(c, VEC_GP, 0);
	far_push_return(c, opsize, next_eip);
	vm86_far_jmp(c, sel, off);
}

void vm86_far_ret(struct vcpu *c, unsigned opsize, unsigned release)
{
	uint32_t eip = stack_peek(c, 0, opsize, 0);
	uint16_t sel = (uint16_t)stack_peek(c, 1, opsize, 0);

	vm86_far_jmp(c, sel, eip);
	stack_release(c, 2 * opsize + release);
}

/* A code segment as the direct target of a far JMP or CALL. */
static void judge_direct(struct vcpu *c, uint16_t sel, const struct descriptor *d, uint32_t off)
{
	unsigned dpl = attr_dpl(d->attr);
	bool allowed = attr_conforming(d->attr) ? dpl <= c->cpl : dpl == c->cpl && (sel & SEL_RPL) <= c->cpl;

	if (!attr_is_code(d->attr) || !allowed)
		vcpu_raise_error(c, VEC_GP, sel_error(sel));
	if (!(d->attr & SEG_P))
		vcpu_raise_error(c, VEC_NP, sel_error(sel));
	if (off > d->limit)
		vcpu_raise_error(c, VEC_GP, 0);
}

void far_jmp(struct vcpu *c, uint16_t sel, uint32_t off, unsigned opsize, uint32_t next_eip)
{
	struct descriptor d;

	off &= offset_mask(opsize);
	if (far_vm86(c)) {
		vm86_far_jmp(c, sel, off);
		return;
	}
	far_read_descriptor(c, sel, VEC_GP, 0, &d);
	if (!(d.attr & SEG_S)) {
		gate_transfer(c, sel, &d, false, next_eip);
		return;
	}
	judge_direct(c, sel, &d, off);
	descriptor_set_accessed(c, &d);
	far_set_code(c, sel, &d, c->cpl);
	c->rip = off;
}

void far_call(struct vcpu *c, uint16_t sel, uint32_t off, unsigned opsize, uint32_t next_eip)
{
	struct descriptor d;

	off &= offset_mask(opsize);
	cpu_sync_context(c);
	if (far_vm86(c)) {
		vm86_far_call(c, sel, off, opsize, next_eip);
		return;
	}
	far_read_descriptor(c, sel, VEC_GP, 0, &d);
	if (!(d.attr & SEG_S)) {
		gate_transfer(c, sel, &d, true, next_eip);
		return;
	}
	judge_direct(c, sel, &d, off);
	descriptor_set_accessed(c, &d);
	far_push_return(c, opsize, next_eip);
	far_set_code(c, sel, &d, c->cpl);
	c->rip = off;
}

void return_read_code(struct vcpu *c, uint16_t sel, struct descriptor *d)
{
	unsigned rpl = sel & SEL_RPL;
	bool allowed;

	far_read_descriptor(c, sel, VEC_GP, 0, d);
	allowed = attr_conforming(d->attr) ? attr_dpl(d->attr) <= rpl : attr_dpl(d->attr) == rpl;
	if (!attr_is_code(d->attr) || rpl < c->cpl || !allowed)
		vcpu_raise_error(c, VEC_GP, sel_error(sel));
	if (!(d->attr & SEG_P))
		vcpu_raise_error(c, VEC_NP, sel_error(sel));
}

/* Data segments that the outer ring could not have loaded itself (SDM vol. 3A 5.8.6). */
static void null_inner_segments(struct vcpu *c)
{
	static const uint8_t regs[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

	for (unsigned i = 0; i < sizeof(regs); i++) {
		struct segment *s = &c->seg[regs[i]];

		if (s->attr && !attr_conforming(s->attr) && attr_dpl(s->attr) < c->cpl)
			segment_set(s, 0, 0, 0, 0, 0);
	}
}

void return_outer(struct vcpu *c, const struct return_frame *r, struct descriptor *cs, unsigned release)
{
	unsigned rpl = r->cs & SEL_RPL;
	struct descriptor ss;
	unsigned vector;
	uint32_t mask;

	far_read_descriptor(c, r->ss, VEC_GP, 0, &ss);
	vector = segment_judge(SEG_SS, ss.attr, r->ss, rpl);
	if (vector)
		vcpu_raise_error(c, vector, sel_error(r->ss));
	if (r->eip > cs->limit)
		vcpu_raise_error(c, VEC_GP, 0);
	descriptor_set_accessed(c, cs);
	descriptor_set_accessed(c, &ss);
	far_set_code(c, r->cs, cs, rpl);
	segment_set(&c->seg[SEG_SS], r->ss, ss.base, ss.limit, ss.attr, ss.attr);
	mask = stack_mask(c); /* a 16-bit stack gets SP only; the upper half of the inner ESP shines through, as on hardware */
	c->gpr[R_SP] = ((uint32_t)c->gpr[R_SP] & ~mask) | ((r->esp + release) & mask);
	c->rip = r->eip;
	null_inner_segments(c);
}

void far_ret(struct vcpu *c, unsigned opsize, unsigned release)
{
	struct return_frame r;
	struct descriptor d;

	cpu_sync_context(c);
	if (far_vm86(c)) {
		vm86_far_ret(c, opsize, release);
		return;
	}
	r.eip = stack_peek(c, 0, opsize, 0);
	r.cs = (uint16_t)stack_peek(c, 1, opsize, 0);
	return_read_code(c, r.cs, &d);
	if ((r.cs & SEL_RPL) > c->cpl) {
		r.esp = stack_peek(c, 2, opsize, release);
		r.ss = (uint16_t)stack_peek(c, 3, opsize, release);
		return_outer(c, &r, &d, release);
		return;
	}
	if (r.eip > d.limit)
		vcpu_raise_error(c, VEC_GP, 0);
	descriptor_set_accessed(c, &d);
	far_set_code(c, r.cs, &d, c->cpl);
	c->rip = r.eip;
	stack_release(c, 2 * opsize + release);
}
