/*
 * ring.c - the enter/leave pair. See ring.h.
 *
 *            virtual view                           real view
 *   real mode                      -> V86: VM = 1, CPL 3, IOPL 0, IF 1
 *   virtual-8086                   -> V86: the same; the guest's IOPL is kept aside
 *   protected, CPL 0               -> CPL 1 (0/1/3) or 3 (0/3/3); CS and SS carry that RPL, DPL 0 shows as that DPL
 *   protected, CPL 1, 2, 3         -> unchanged
 *   IF, IOPL, VM                   -> 1, 0, as above; the guest's own in virt.eflags
 *
 * Selectors of CS and SS are the only ones that change: a data segment register keeps the RPL that the guest loaded.
 */
#include "vmm/ring/ring.h"

#include "vmm/cpu/mem.h"

#define RPL 3u

uint16_t ring_filter_attr(const struct vcpu *c, uint16_t guest_attr)
{
	unsigned vcpl = c->real_view ? c->virt.cpl : c->cpl;

	if (!(guest_attr & SEG_S))
		return (uint16_t)(guest_attr & ~SEG_P);
	if (vcpl == 0 && !(guest_attr & SEG_DPL))
		return (uint16_t)(guest_attr | c->ring0_becomes << SEG_DPL_SHIFT);
	return guest_attr;
}

/* Which sensitive instructions the decoder has to catch for this guest state. */
static unsigned catch_bits(const struct vcpu *c, unsigned vcpl, uint32_t vflags)
{
	unsigned bits = MODE_CATCH_ANY;

	if (c->leak_policy)
		return 0;
	if (vcpl < 3 || (vflags & FL_IOPL) || !(vflags & FL_IF))
		bits |= MODE_CATCH_FLAGS;
	if (vcpl == 0)
		bits |= MODE_CATCH_CPL0;
	return bits;
}

/* Paging sees the guest's kernel as supervisor: in model 0/1/3 because the real CPL is not 3, in model 0/3/3 because the kernel's
 * view of memory is in force. */
static void choose_view(struct vcpu *c, unsigned vcpl)
{
	enum mmu_context context = vcpl == 3 ? MMU_USER : MMU_SUPERVISOR;

	BUG_ON(c->real_view && !c->mmu.split_views && !(c->eflags & FL_VM) && (context == MMU_USER) != (c->cpl == 3));
	if (c->mmu.context != context)
		mmu_set_context(&c->mmu, context);
}

void ring_enter(struct vcpu *c)
{
	unsigned vcpl = c->cpl;
	uint32_t vflags = c->eflags & FL_HIDDEN;
	bool vm = vcpu_real_mode(c) || (vflags & FL_VM);
	unsigned catches = catch_bits(c, vcpl, vflags);

	BUG_ON(c->real_view);
	c->virt.cpl = (uint8_t)vcpl;
	c->virt.eflags = vflags;
	c->eflags = (c->eflags & ~FL_HIDDEN) | FL_IF | (vm ? FL_VM : 0);
	c->cpl = vm ? 3 : vcpl == 0 ? c->ring0_becomes : (uint8_t)vcpl;
	c->real_view = true; /* ring_filter_attr() goes by virt.cpl from here on */
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		struct segment *s = &c->seg[i];

		s->guest_sel = s->sel;
		if (!vm && s->attr)
			s->attr = ring_filter_attr(c, s->guest_attr);
	}
	if (!vm && vcpl == 0) {
		c->seg[SEG_CS].sel |= c->ring0_becomes;
		if (c->seg[SEG_SS].attr)
			c->seg[SEG_SS].sel |= c->ring0_becomes;
	}
	c->mode = (uint8_t)((c->seg[SEG_CS].attr & SEG_DB ? MODE_CS32 : 0) |
	                    (c->seg[SEG_SS].attr & SEG_DB ? MODE_SS32 : 0) | (vm ? MODE_VM : 0) |
	                    (vcpl == 3 ? MODE_USER : 0) | catches);
	choose_view(c, vcpl);
	vcpu_update_align(c);
}

void ring_leave(struct vcpu *c)
{
	bool vm = c->eflags & FL_VM;
	unsigned vcpl = c->virt.cpl;

	BUG_ON(!c->real_view);
	c->eflags = (c->eflags & ~FL_HIDDEN) | c->virt.eflags;
	c->cpl = (uint8_t)vcpl;
	if (!vm) {
		for (unsigned i = 0; i < SEG_COUNT; i++)
			c->seg[i].attr = c->seg[i].guest_attr;
		if (vcpl == 0) {
			c->seg[SEG_CS].sel &= (uint16_t)~RPL;
			if (c->seg[SEG_SS].attr)
				c->seg[SEG_SS].sel &= (uint16_t)~RPL;
		}
	}
	c->real_view = false;
	vcpu_update_align(c);
}
