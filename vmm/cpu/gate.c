/*
 * gate.c - far JMP and CALL through a call gate, a task gate or straight to a TSS (SDM vol. 3A 5.8.3 to 5.8.5, 7.3). Virtual view.
 *
 * A call gate may lead to an inner ring: the new stack comes from the TSS, parameters are copied across. Called by far.c.
 */
#include "vmm/cpu/far_internal.h"
#include "vmm/cpu/mem.h"

struct call_gate {
	uint16_t cs;
	uint32_t eip;
	unsigned size;   /* of what is pushed and copied: 2 or 4 */
	unsigned params; /* elements to copy to an inner stack */
};

static struct call_gate gate_decode(const struct descriptor *d)
{
	bool wide = d->attr & SYS_32;

	return (struct call_gate){
		.cs = (uint16_t)(d->lo >> 16),
		.eip = (d->lo & 0xffff) | (wide ? d->hi & 0xffff0000u : 0),
		.size = wide ? 4 : 2,
		.params = d->hi & 0x1f,
	};
}

/* The code segment a gate leads to. Its selector's RPL does not matter. */
static void read_target(struct vcpu *c, const struct call_gate *g, bool call, struct descriptor *d)
{
	unsigned dpl;

	far_read_descriptor(c, g->cs, VEC_GP, 0, d);
	dpl = attr_dpl(d->attr);
	if (!attr_is_code(d->attr) || dpl > c->cpl || (!call && !attr_conforming(d->attr) && dpl != c->cpl))
		vcpu_raise_error(c, VEC_GP, sel_error(g->cs));
	if (!(d->attr & SEG_P))
		vcpu_raise_error(c, VEC_NP, sel_error(g->cs));
}

/* What lies on the old stack goes below the old SS:ESP on the new one. */
static void add_outer_frame(struct vcpu *c, const struct call_gate *g, struct frame *f)
{
	frame_add(f, c->seg[SEG_SS].sel);
	frame_add(f, (uint32_t)c->gpr[R_SP]);
	for (unsigned i = g->params; i > 0; i--)
		frame_add(f, stack_peek(c, i - 1, g->size, 0));
}

static void call_through(struct vcpu *c, const struct call_gate *g, struct descriptor *d, uint32_t next_eip)
{
	bool inner = !attr_conforming(d->attr) && attr_dpl(d->attr) < c->cpl;
	unsigned cpl = inner ? attr_dpl(d->attr) : c->cpl;
	struct frame f = { .size = g->size };
	struct stack st;

	if (inner) {
		stack_inner(c, cpl, 0, &st);
		add_outer_frame(c, g, &f);
	} else {
		stack_current(c, &st);
	}
	if (g->eip > d->limit)
		vcpu_raise_error(c, VEC_GP, 0);
	frame_add(&f, c->seg[SEG_CS].sel);
	frame_add(&f, next_eip);
	descriptor_set_accessed(c, d);
	stack_push(c, &st, &f, inner ? sel_error(st.ss.sel) : 0);
	stack_commit(c, &st);
	far_set_code(c, g->cs, d, cpl);
	c->rip = g->eip;
}

static void jmp_through(struct vcpu *c, const struct call_gate *g, struct descriptor *d)
{
	if (g->eip > d->limit)
		vcpu_raise_error(c, VEC_GP, 0);
	descriptor_set_accessed(c, d);
	far_set_code(c, g->cs, d, c->cpl);
	c->rip = g->eip;
}

static void through_call_gate(struct vcpu *c, const struct descriptor *gate, bool call, uint32_t next_eip)
{
	struct call_gate g = gate_decode(gate);
	struct descriptor d;

	read_target(c, &g, call, &d);
	if (call)
		call_through(c, &g, &d, next_eip);
	else
		jmp_through(c, &g, &d);
}

void gate_transfer(struct vcpu *c, uint16_t sel, const struct descriptor *d, bool call, uint32_t next_eip)
{
	static const uint16_t known =
	        1u << SYS_CALL16 | 1u << SYS_CALL32 | 1u << SYS_TASK_GATE | 1u << SYS_TSS16 | 1u << SYS_TSS32;
	unsigned type = d->attr & SEG_TYPE, dpl = attr_dpl(d->attr);
	enum task_source source = call ? TASK_CALL : TASK_JMP;

	if (!(known >> type & 1) || dpl < c->cpl || dpl < (sel & SEL_RPL))
		vcpu_raise_error(c, VEC_GP, sel_error(sel));
	if (!(d->attr & SEG_P))
		vcpu_raise_error(c, VEC_NP, sel_error(sel));
	if (type == SYS_CALL16 || type == SYS_CALL32)
		through_call_gate(c, d, call, next_eip);
	else
		task_switch(c, type == SYS_TASK_GATE ? (uint16_t)(d->lo >> 16) : sel, source, next_eip, false, 0);
}
