/*
 * intr.c - deliver one exception or interrupt through the guest's IVT or IDT (virtual view): SDM vol. 2, INT n, Operation; vol. 3A 6.12.
 *
 *     real mode                              IVT: push FLAGS, CS, IP
 *     task gate                              task.c
 *     handler DPL = CPL, or conforming       push EFLAGS, CS, EIP on the present stack
 *     handler DPL < CPL                      stack from the TSS; push SS, ESP first
 *     from V86 (handler DPL 0)               push GS, FS, DS, ES before that, and null them
 *
 * Called by trap/ (reflect), which makes double faults of what is raised here. Must leave the vCPU as it was when it raises, but after a
 * task switch's point of no return.
 */
#include "vmm/cpu/far_internal.h"
#include "vmm/cpu/mem.h"

struct gate {
	uint16_t cs;
	uint32_t eip;
	unsigned type, dpl;
	bool present;
};

/* Was it something else than the program's own INT n, INT3 or INTO? */
static uint32_t ext_bit(const struct intr *in)
{
	return in->type == INTR_SOFT ? 0 : ERR_EXT;
}

/* The pushed RF is 1 for faults, so that an instruction breakpoint does not fire again on return (SDM vol. 3B 17.3.1.1). #DB, #DF, #MC
 * are not such faults. */
static uint32_t pushed_flags(const struct vcpu *c, const struct intr *in)
{
	static const uint32_t faults = 1u << VEC_DE | 1u << VEC_BR | 1u << VEC_UD | 1u << VEC_NM | 1u << VEC_TS |
	                               1u << VEC_NP | 1u << VEC_SS | 1u << VEC_GP | 1u << VEC_PF | 1u << VEC_MF |
	                               1u << VEC_AC | 1u << VEC_XM;
	bool fault = in->type == INTR_EXCEPTION && in->vector < 32 && (faults >> in->vector & 1);

	return vcpu_get_eflags(c) | (fault ? FL_RF : 0);
}

static void deliver_real(struct vcpu *c, const struct intr *in)
{
	struct frame f = { .size = 2 };
	struct stack st;
	uint32_t target;

	if (in->vector * 4u + 3 > c->idtr.limit)
		vcpu_raise_error(c, VEC_GP, 0);
	target = (uint32_t)mem_sys_read(c, c->idtr.base + in->vector * 4u, 4);
	stack_current(c, &st);
	frame_add(&f, vcpu_get_eflags(c));
	frame_add(&f, c->seg[SEG_CS].sel);
	frame_add(&f, in->next_eip);
	stack_push(c, &st, &f, 0);
	stack_commit(c, &st);
	c->eflags &= ~(FL_IF | FL_TF | FL_AC | FL_RF);
	vcpu_update_align(c);
	segment_load_vm86(c, SEG_CS, (uint16_t)(target >> 16));
	c->rip = target & 0xffff;
}

static void read_gate(struct vcpu *c, const struct intr *in, struct gate *g)
{
	uint32_t error = in->vector * 8u + ERR_IDT + ext_bit(in);
	uint64_t raw;
	uint32_t lo, hi;

	if (in->vector * 8u + 7 > c->idtr.limit)
		vcpu_raise_error(c, VEC_GP, error);
	raw = mem_sys_read(c, c->idtr.base + in->vector * 8u, 8);
	lo = (uint32_t)raw;
	hi = (uint32_t)(raw >> 32);
	g->type = hi >> 8 & 0x1f;
	g->dpl = hi >> 13 & 3;
	g->cs = (uint16_t)(lo >> 16);
	g->eip = (lo & 0xffff) | (g->type & SYS_32 ? hi & 0xffff0000u : 0);
	if (g->type != SYS_TASK_GATE && (g->type & ~(SYS_32 | 1u)) != SYS_INTR16)
		vcpu_raise_error(c, VEC_GP, error);
	if (in->type == INTR_SOFT && g->dpl < c->cpl)
		vcpu_raise_error(c, VEC_GP, error);
	if (!(hi & SEG_P << 8))
		vcpu_raise_error(c, VEC_NP, error);
}

/* The handler's code segment. True when it runs in an inner ring. */
static bool read_handler(struct vcpu *c, const struct gate *g, uint32_t ext, struct descriptor *d)
{
	unsigned dpl;
	bool inner;

	far_read_descriptor(c, g->cs, VEC_GP, ext, d);
	dpl = attr_dpl(d->attr);
	if (!attr_is_code(d->attr) || dpl > c->cpl)
		vcpu_raise_error(c, VEC_GP, sel_error(g->cs) | ext);
	if (!(d->attr & SEG_P))
		vcpu_raise_error(c, VEC_NP, sel_error(g->cs) | ext);
	inner = !attr_conforming(d->attr) && dpl < c->cpl;
	if (vcpu_vm86(c) && (!inner || dpl != 0))
		vcpu_raise_error(c, VEC_GP, sel_error(g->cs) | ext);
	return inner;
}

static void add_outer_frame(const struct vcpu *c, struct frame *f)
{
	static const uint8_t vm86[] = { SEG_GS, SEG_FS, SEG_DS, SEG_ES };

	for (unsigned i = 0; vcpu_vm86(c) && i < sizeof(vm86); i++)
		frame_add(f, c->seg[vm86[i]].sel);
	frame_add(f, c->seg[SEG_SS].sel);
	frame_add(f, (uint32_t)c->gpr[R_SP]);
}

/* What becomes of EFLAGS and, out of V86, of the data segments. Trap gates leave IF. */
static void enter_handler(struct vcpu *c, const struct gate *g)
{
	static const uint8_t vm86[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

	for (unsigned i = 0; vcpu_vm86(c) && i < sizeof(vm86); i++)
		segment_set(&c->seg[vm86[i]], 0, 0, 0, 0, 0);
	c->eflags &= ~(FL_TF | FL_VM | FL_RF | FL_NT);
	if (!(g->type & 1))
		c->eflags &= ~FL_IF;
	c->rip = g->eip;
}

static void deliver_gate(struct vcpu *c, const struct intr *in, const struct gate *g)
{
	uint32_t ext = ext_bit(in);
	struct frame f = { .size = g->type & SYS_32 ? 4 : 2 };
	struct descriptor d;
	struct stack st;
	bool inner = read_handler(c, g, ext, &d);
	unsigned cpl = inner ? attr_dpl(d.attr) : c->cpl;

	if (inner) {
		stack_inner(c, cpl, ext, &st);
		add_outer_frame(c, &f);
	} else {
		stack_current(c, &st);
	}
	if (g->eip > d.limit)
		vcpu_raise_error(c, VEC_GP, ext);
	frame_add(&f, pushed_flags(c, in));
	frame_add(&f, c->seg[SEG_CS].sel);
	frame_add(&f, in->next_eip);
	if (in->has_error)
		frame_add(&f, in->error);
	descriptor_set_accessed(c, &d);
	stack_push(c, &st, &f, (inner ? sel_error(st.ss.sel) : 0) | ext);
	enter_handler(c, g);
	stack_commit(c, &st);
	far_set_code(c, g->cs, &d, cpl);
}

void intr_deliver(struct vcpu *c, const struct intr *in)
{
	struct gate g;

	BUG_ON(c->real_view);
	cpu_sync_context(c);
	if (vcpu_real_mode(c)) {
		deliver_real(c, in);
		return;
	}
	read_gate(c, in, &g);
	if (g.type == SYS_TASK_GATE)
		task_switch_intr(c, g.cs, in, pushed_flags(c, in), ext_bit(in));
	else
		deliver_gate(c, in, &g);
}
