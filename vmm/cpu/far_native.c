/*
 * far_native.c - far transfers as the processor underneath would do them (real view), through the filtered descriptor table.
 *
 * Engines call these for code that the decoder did not catch: user code, and, under policy `leak`, deprivileged kernel code. Only transfers that
 * stay in their ring succeed. Everything else raises what a real processor raises there, and trap/ has the emulator decide in the
 * guest's own terms: system descriptors are not present in the filtered table (#NP), RPL 0 is below the real CPL (#GP).
 *
 * Two cases a real processor would let pass must not: in model 0/3/3 the guest's kernel really runs at CPL 3, so its IRET or RETF to ring 3 would be a
 * return to the same ring; and under `leak` ring 1 may return to ring 3. Both change the virtual CPL behind the VMM's back. They raise
 * #GP(selector) instead and are emulated: a transfer succeeds here only if the guest's own descriptor agrees with the virtual CPL.
 */
#include "vmm/cpu/far_internal.h"
#include "vmm/cpu/mem.h"
#include "vmm/ring/ring.h"

static void raise_system(struct vcpu *c, uint16_t sel, const struct descriptor *d)
{
	unsigned dpl = attr_dpl(d->attr);

	vcpu_raise_error(c, dpl < c->cpl || dpl < (sel & SEL_RPL) ? VEC_GP : VEC_NP, sel_error(sel));
}

/* Reads and judges a code segment that may be entered without changing ring; attr is the filtered one. */
static uint16_t read_same_ring(struct vcpu *c, uint16_t sel, bool ret, struct descriptor *d)
{
	unsigned rpl = sel & SEL_RPL, dpl, guest_dpl;
	bool conforming, allowed;
	uint16_t shown;

	far_read_descriptor(c, sel, VEC_GP, 0, d);
	if (!(d->attr & SEG_S) && !ret)
		raise_system(c, sel, d);
	shown = ring_filter_attr(c, d->attr);
	conforming = attr_conforming(d->attr);
	dpl = attr_dpl(shown);
	guest_dpl = attr_dpl(d->attr);
	allowed = conforming ? dpl <= c->cpl && guest_dpl <= c->virt.cpl
	                     : dpl == c->cpl && guest_dpl == c->virt.cpl && rpl <= c->cpl;
	if (!attr_is_code(d->attr) || !allowed || (ret && rpl != c->cpl))
		vcpu_raise_error(c, VEC_GP, sel_error(sel));
	if (!(d->attr & SEG_P))
		vcpu_raise_error(c, VEC_NP, sel_error(sel));
	return shown;
}

static void judge_offset(struct vcpu *c, const struct descriptor *d, uint32_t off)
{
	if (off > d->limit)
		vcpu_raise_error(c, VEC_GP, 0);
}

/* CS keeps the real CPL in its RPL, the guest's own aside. */
static void enter(struct vcpu *c, uint16_t sel, const struct descriptor *d, uint16_t shown, uint32_t off)
{
	struct segment *cs = &c->seg[SEG_CS];

	segment_set(cs, (uint16_t)((sel & ~SEL_RPL) | c->cpl), d->base, d->limit, shown | SEG_ACCESSED, d->attr);
	cs->guest_sel = (uint16_t)((sel & ~SEL_RPL) | c->virt.cpl);
	c->rip = off;
}

void far_jmp_native(struct vcpu *c, uint16_t sel, uint32_t off, unsigned opsize)
{
	struct descriptor d;
	uint16_t shown;

	off &= offset_mask(opsize);
	if (vcpu_vm86(c)) {
		vm86_far_jmp(c, sel, off);
		return;
	}
	shown = read_same_ring(c, sel, false, &d);
	judge_offset(c, &d, off);
	descriptor_set_accessed(c, &d);
	enter(c, sel, &d, shown, off);
}

void far_call_native(struct vcpu *c, uint16_t sel, uint32_t off, unsigned opsize, uint32_t next_eip)
{
	struct descriptor d;
	uint16_t shown;

	off &= offset_mask(opsize);
	if (vcpu_vm86(c)) {
		vm86_far_call(c, sel, off, opsize, next_eip);
		return;
	}
	shown = read_same_ring(c, sel, false, &d);
	judge_offset(c, &d, off);
	descriptor_set_accessed(c, &d);
	far_push_return(c, opsize, next_eip);
	enter(c, sel, &d, shown, off);
}

/* Pops CS:EIP; `bytes` leave the stack. */
static void return_native(struct vcpu *c, unsigned opsize, uint32_t bytes)
{
	uint32_t off = stack_peek(c, 0, opsize, 0);
	uint16_t sel = (uint16_t)stack_peek(c, 1, opsize, 0);
	struct descriptor d;
	uint16_t shown = read_same_ring(c, sel, true, &d);

	judge_offset(c, &d, off);
	descriptor_set_accessed(c, &d);
	enter(c, sel, &d, shown, off);
	stack_release(c, bytes);
}

void far_ret_native(struct vcpu *c, unsigned opsize, unsigned release)
{
	if (vcpu_vm86(c))
		vm86_far_ret(c, opsize, release);
	else
		return_native(c, opsize, 2 * opsize + release);
}

/* The real IOPL is 0 and the real CPL is not: IF and IOPL stay. In V86 IRET faults for want of IOPL 3; with NT set the VMM's TSS links nowhere. */
void far_iret_native(struct vcpu *c, unsigned opsize)
{
	uint32_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT | (opsize == 4 ? FL_RF | FL_AC | FL_ID : 0);
	uint32_t flags;

	if (vcpu_vm86(c) || (c->eflags & FL_NT))
		vcpu_raise_error(c, VEC_GP, 0);
	flags = stack_peek(c, 2, opsize, 0);
	return_native(c, opsize, 3 * opsize);
	vcpu_set_eflags(c, (vcpu_get_eflags(c) & ~(mask | FL_RF)) | (flags & mask));
}
