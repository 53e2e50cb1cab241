/*
 * segment.c - descriptors, and what a segment register takes from them.
 *
 * Engines call it for MOV, POP and Lxx to a segment register (real view), emulators and far transfers for everything else (virtual view). It must
 * never load a register half: all that can fault is judged before anything is written, but for the accessed bit, which the architecture lets
 * a processor set early.
 *
 * In the real view a load is judged twice: by the filtered descriptor and the real CPL, as the processor underneath would, and by
 * the guest's own descriptor and CPL. DPL 0 shown as DPL 1 (or 3) makes the real processor accept selectors with RPL 1 (to 3) that
 * the guest's processor would refuse. Where only the guest's rules say no, the load faults, so that the emulator gives the guest its
 * exception; policy `leak` lets it pass and tells.
 */
#include "vmm/cpu/segment.h"

#include "vmm/cpu/far_internal.h"
#include "vmm/cpu/mem.h"
#include "vmm/ring/ring.h"

#define ATTR_REAL (SEG_P | SEG_S | SEG_WRITABLE | SEG_ACCESSED)
#define ATTR_VM86 (ATTR_REAL | SEG_DPL)
#define LIMIT_64K 0xffffu

void segment_derive(struct segment *s)
{
	uint64_t end = (uint64_t)s->limit + 1;
	bool readable = (s->attr & SEG_S) && (s->attr & SEG_CODE ? s->attr & SEG_WRITABLE : !(s->attr & SEG_EXPAND));
	bool writable = readable && !(s->attr & SEG_CODE) && (s->attr & SEG_WRITABLE);

	s->rlimit = readable ? end : 0;
	s->wlimit = writable ? end : 0;
}

void segment_set(struct segment *s, uint16_t sel, uint32_t base, uint32_t limit, uint16_t attr, uint16_t guest_attr)
{
	s->base = base;
	s->limit = limit;
	s->sel = sel;
	s->guest_sel = sel;
	s->attr = attr;
	s->guest_attr = guest_attr;
	segment_derive(s);
}

static void descriptor_decode(struct descriptor *d)
{
	d->base = d->lo >> 16 | (d->hi & 0xff) << 16 | (d->hi & 0xff000000u);
	d->limit = (d->lo & 0xffff) | (d->hi & 0xf0000u);
	d->attr = (d->hi >> 8) & 0xf0ff;
	if (d->attr & SEG_G)
		d->limit = d->limit << 12 | 0xfff;
}

bool descriptor_read(struct vcpu *c, uint16_t sel, struct descriptor *d)
{
	bool local = sel & SEL_LDT;
	uint32_t base = local ? (uint32_t)c->ldtr.base : c->gdtr.base;
	uint32_t limit = local ? c->ldtr.limit : c->gdtr.limit;
	uint64_t raw;

	if ((local && !c->ldtr.attr) || (sel | 7u) > limit)
		return false;
	d->lin = base + (sel & ~7u);
	raw = mem_sys_read(c, d->lin, 8);
	d->lo = (uint32_t)raw;
	d->hi = (uint32_t)(raw >> 32);
	descriptor_decode(d);
	return true;
}

void descriptor_set_accessed(struct vcpu *c, struct descriptor *d)
{
	if (d->attr & SEG_ACCESSED)
		return;
	d->hi |= SEG_ACCESSED << 8;
	d->attr |= SEG_ACCESSED;
	mem_sys_write(c, d->lin + 5, 1, (uint8_t)d->attr);
}

/* The exception a load of this descriptor raises at this CPL, 0 for none (SDM vol. 2, MOV). */
static unsigned judge_stack(uint16_t attr, uint16_t sel, unsigned cpl)
{
	bool writable_data = (attr & (SEG_S | SEG_CODE | SEG_WRITABLE)) == (SEG_S | SEG_WRITABLE);

	if ((sel & SEL_RPL) != cpl || !writable_data || (attr & SEG_DPL) >> SEG_DPL_SHIFT != cpl)
		return VEC_GP;
	return attr & SEG_P ? 0 : VEC_SS;
}

static unsigned judge_data(uint16_t attr, uint16_t sel, unsigned cpl)
{
	unsigned dpl = (attr & SEG_DPL) >> SEG_DPL_SHIFT;
	bool code = attr & SEG_CODE;

	if (!(attr & SEG_S) || (code && !(attr & SEG_WRITABLE)))
		return VEC_GP;
	if (!(code && (attr & SEG_EXPAND)) && ((sel & SEL_RPL) > dpl || cpl > dpl))
		return VEC_GP;
	return attr & SEG_P ? 0 : VEC_NP;
}

unsigned segment_judge(unsigned seg, uint16_t attr, uint16_t sel, unsigned cpl)
{
	return seg == SEG_SS ? judge_stack(attr, sel, cpl) : judge_data(attr, sel, cpl);
}

/* Real view: both rules, see the top of the file. */
static unsigned judge_real_view(struct vcpu *c, unsigned seg, uint16_t guest_attr, uint16_t sel)
{
	unsigned vector = segment_judge(seg, ring_filter_attr(c, guest_attr), sel, c->cpl);
	unsigned guests;

	if (vector)
		return vector;
	guests = segment_judge(seg, guest_attr, sel, c->virt.cpl);
	if (!guests || !c->leak_policy)
		return guests;
	if (c->hooks.leak)
		c->hooks.leak(c->hooks.self, c->ip);
	return 0;
}

static void load_protected(struct vcpu *c, unsigned seg, uint16_t sel)
{
	struct descriptor d;
	unsigned vector;

	if (!descriptor_read(c, sel, &d))
		vcpu_raise_error(c, VEC_GP, sel & ~SEL_RPL);
	vector = c->real_view ? judge_real_view(c, seg, d.attr, sel) : segment_judge(seg, d.attr, sel, c->cpl);
	if (vector)
		vcpu_raise_error(c, vector, sel & ~SEL_RPL);
	descriptor_set_accessed(c, &d);
	segment_set(&c->seg[seg], sel, d.base, d.limit, c->real_view ? ring_filter_attr(c, d.attr) : d.attr, d.attr);
}

void segment_load(struct vcpu *c, unsigned seg, uint16_t sel)
{
	if (vcpu_real_mode(c) || vcpu_vm86(c)) {
		segment_load_vm86(c, seg, sel);
	} else if (sel & ~SEL_RPL) {
		load_protected(c, seg, sel);
	} else {
		if (seg == SEG_SS)
			vcpu_raise_error(c, VEC_GP, 0);
		segment_set(&c->seg[seg], sel, 0, 0, 0, 0);
	}
}

/* Real mode keeps the limit and size that protected mode left ("unreal" mode), but any segment becomes readable and writable. */
void segment_load_vm86(struct vcpu *c, unsigned seg, uint16_t sel)
{
	struct segment *s = &c->seg[seg];
	uint32_t limit = s->limit;
	uint16_t attr;

	if (!vcpu_real_mode(c)) {
		attr = ATTR_VM86;
		limit = LIMIT_64K;
	} else {
		attr = (s->attr & (SEG_DB | SEG_G)) | ATTR_REAL;
		if (!s->attr)
			limit = LIMIT_64K;
	}
	segment_set(s, sel, (uint32_t)sel << 4, limit, attr, attr);
}
