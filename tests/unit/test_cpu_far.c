/*
 * test_cpu_far.c - segment loads, far JMP, CALL, RET and IRET: who may go where, with which error code, and what lies on the stack then.
 */
#include "cpu_fixture.h"

static void load_data_segments(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	WORKS(t, segment_load(c, SEG_DS, DATA0));
	assert_int_equal(c->seg[SEG_DS].limit, 0xffffffff);
	assert_int_equal(c->seg[SEG_DS].rlimit, 1ull << 32);
	assert_int_equal(access_byte(t, DATA0), 0x93);
	WORKS(t, segment_load(c, SEG_ES, 3));
	assert_int_equal(c->seg[SEG_ES].attr, 0);
	assert_int_equal(c->seg[SEG_ES].rlimit, 0);
	assert_int_equal(c->seg[SEG_ES].sel, 3);
	WORKS(t, segment_load(c, SEG_ES, CODE0)); /* readable code */
	assert_int_equal(c->seg[SEG_ES].wlimit, 0);
	assert_int_equal(c->seg[SEG_ES].rlimit, 1ull << 32);
	WORKS(t, segment_load(c, SEG_ES, DATA_DOWN0));
	assert_int_equal(c->seg[SEG_ES].rlimit, 0);
	FAULTS(t, VEC_GP, EXECONLY0, segment_load(c, SEG_DS, EXECONLY0));
	FAULTS(t, VEC_GP, OUTSIDE, segment_load(c, SEG_DS, OUTSIDE));
	FAULTS(t, VEC_GP, 4, segment_load(c, SEG_DS, 7)); /* no LDT */
	FAULTS(t, VEC_GP, TSSB, segment_load(c, SEG_DS, TSSB));
	FAULTS(t, VEC_NP, DATA_NP, segment_load(c, SEG_FS, DATA_NP));
	FAULTS(t, VEC_GP, DATA0, segment_load(c, SEG_DS, DATA0 | 1)); /* RPL above DPL */
	set_ring(t, 3);
	FAULTS(t, VEC_GP, DATA0, segment_load(c, SEG_DS, DATA0));
	WORKS(t, segment_load(c, SEG_DS, CONF0)); /* conforming: any CPL */
	WORKS(t, segment_load(c, SEG_GS, DATA3)); /* RPL 0 is fine */
}

static void load_stack_segments(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	WORKS(t, segment_load(c, SEG_SS, DATA0));
	FAULTS(t, VEC_GP, 0, segment_load(c, SEG_SS, 0));
	FAULTS(t, VEC_GP, DATA3, segment_load(c, SEG_SS, DATA3));
	FAULTS(t, VEC_GP, DATA0, segment_load(c, SEG_SS, DATA0 | 1));
	FAULTS(t, VEC_GP, CODE0, segment_load(c, SEG_SS, CODE0));
	FAULTS(t, VEC_SS, DATA_NP, segment_load(c, SEG_SS, DATA_NP));
	set_ring(t, 3);
	FAULTS(t, VEC_GP, READONLY3, segment_load(c, SEG_SS, READONLY3 | 3));
	WORKS(t, segment_load(c, SEG_SS, DATA3 | 3));
}

static void load_local_descriptors(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	segment_set(&c->ldtr, LDTSEL, LDT, 0x1f, 0x82, 0x82);
	put_descriptor(t, LDT + 0x18, 0x12345678, 0x10, 0x4092);
	WORKS(t, segment_load(c, SEG_DS, 0x1c));
	assert_int_equal(c->seg[SEG_DS].base, 0x12345678);
	assert_int_equal(c->seg[SEG_DS].limit, 0x10);
	assert_int_equal(c->seg[SEG_DS].wlimit, 0x11);
	FAULTS(t, VEC_GP, 0x24, segment_load(c, SEG_DS, 0x24));
	c->ldtr.attr = 0; /* a null LDTR has no limit to speak of */
	FAULTS(t, VEC_GP, 0x1c, segment_load(c, SEG_DS, 0x1c));
}

static void load_real_and_vm86(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	c->cr0 &= ~CR0_PE; /* "unreal": the limit of protected mode stays */
	WORKS(t, segment_load(c, SEG_DS, 0xffff));
	assert_int_equal(c->seg[SEG_DS].base, 0xffff0);
	assert_int_equal(c->seg[SEG_DS].limit, 0xffffffff);
	WORKS(t, segment_load_vm86(c, SEG_CS, 0x1234));
	assert_int_equal(c->seg[SEG_CS].wlimit, 1ull << 32);
	c->cr0 |= CR0_PE;
	c->eflags |= FL_VM;
	WORKS(t, segment_load(c, SEG_DS, 0x1000));
	assert_int_equal(c->seg[SEG_DS].limit, 0xffff);
	assert_int_equal(c->seg[SEG_DS].attr, 0xf3);
}

/* The filtered table lets RPL 1 pass at real CPL 1; the guest's processor would not. */
static void load_in_real_view(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	ring_enter(c);
	WORKS(t, segment_load(c, SEG_DS, DATA0));
	assert_int_equal(c->seg[SEG_DS].attr & SEG_DPL, 1 << SEG_DPL_SHIFT);
	assert_int_equal(c->seg[SEG_DS].guest_attr & SEG_DPL, 0);
	FAULTS(t, VEC_GP, DATA0, segment_load(c, SEG_DS, DATA0 | 1));
	FAULTS(t, VEC_GP, DATA0, segment_load(c, SEG_SS, DATA0));
	FAULTS(t, VEC_GP, DATA0, segment_load(c, SEG_SS, DATA0 | 1));
	FAULTS(t, VEC_GP, TSSB, segment_load(c, SEG_DS, TSSB));
	c->leak_policy = true;
	WORKS(t, segment_load(c, SEG_DS, DATA0 | 1));
	WORKS(t, segment_load(c, SEG_SS, DATA0 | 1));
	ring_leave(c);
	assert_int_equal(c->seg[SEG_SS].sel, DATA0);
	assert_int_equal(c->seg[SEG_DS].attr & SEG_DPL, 0);
}

static void jmp_direct(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	WORKS(t, far_jmp(c, CODE0, 0x12345678, 4, 0));
	assert_int_equal(c->rip, 0x12345678);
	WORKS(t, far_jmp(c, CODE0, 0x12345678, 2, 0));
	assert_int_equal(c->rip, 0x5678);
	WORKS(t, far_jmp(c, CODE16, 0xffff, 4, 0));
	assert_int_equal(c->seg[SEG_CS].base, 0x20000);
	assert_int_equal(access_byte(t, CODE16), 0x9b);
	FAULTS(t, VEC_GP, 0, far_jmp(c, CODE16, 0x10000, 4, 0));
	FAULTS(t, VEC_GP, 0, far_jmp(c, 3, 0, 4, 0));
	FAULTS(t, VEC_GP, OUTSIDE, far_jmp(c, OUTSIDE, 0, 4, 0));
	FAULTS(t, VEC_GP, DATA0, far_jmp(c, DATA0, 0, 4, 0));
	FAULTS(t, VEC_GP, CODE3, far_jmp(c, CODE3, 0, 4, 0));
	FAULTS(t, VEC_GP, CODE0, far_jmp(c, CODE0 | 1, 0, 4, 0));
	FAULTS(t, VEC_NP, CODE_NP, far_jmp(c, CODE_NP, 0, 4, 0));
	FAULTS(t, VEC_GP, CONF3, far_jmp(c, CONF3, 0, 4, 0)); /* conforming outwards */
	FAULTS(t, VEC_GP, LDTSEL, far_jmp(c, LDTSEL, 0, 4, 0));
	FAULTS(t, VEC_GP, 0, far_call(c, 3, 0, 4, 0));
	WORKS(t, far_jmp(c, CONF0, 0x100, 4, 0));
	set_ring(t, 3);
	WORKS(t, far_jmp(c, CONF0, 0x100, 4, 0));
	assert_int_equal(c->seg[SEG_CS].sel, CONF0 | 3);
	assert_int_equal(c->cpl, 3);
	WORKS(t, far_jmp(c, CODE3, 0x100, 4, 0)); /* RPL 0: becomes the CPL */
	assert_int_equal(c->seg[SEG_CS].sel, CODE3 | 3);
	FAULTS(t, VEC_GP, CODE0, far_jmp(c, CODE0, 0, 4, 0));
}

static void call_direct(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	WORKS(t, far_call(c, CODE0, 0x6000, 4, 0x5007));
	assert_int_equal(esp(t), 0x7000 - 8);
	assert_int_equal(stacked(t, 0), 0x5007);
	assert_int_equal(stacked(t, 1), CODE0);
	WORKS(t, far_ret(c, 4, 4));
	assert_int_equal(c->rip, 0x5007);
	assert_int_equal(esp(t), 0x7004);
	WORKS(t, far_call(c, CODE0, 0x6000, 2, 0x15007));
	assert_int_equal(stacked(t, 0), CODE0 << 16 | 0x5007);
	segment_set(&c->seg[SEG_SS], DATA0, 0, 0x6fff, 0x4093, 0x4093);
	c->gpr[R_SP] = 0x7004;
	FAULTS(t, VEC_SS, 0, far_call(c, CODE0, 0x6000, 4, 0x5007)); /* half of the frame is outside */
	segment_set(&c->seg[SEG_SS], DATA16, 0, 0xffff, 0x93, 0x93);
	c->gpr[R_SP] = 0xabcd0004;
	WORKS(t, far_call(c, CODE0, 0x6000, 4, 0x5007)); /* wraps in a 16-bit stack */
	assert_int_equal(esp(t), 0xabcdfffc);
	assert_int_equal(get(t, 0, 4), CODE0);
	assert_int_equal(get(t, 0xfffc, 4), 0x5007);
}

static void call_on_absent_stack_page(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	set_paging(t);
	set_page(t, 0x6000, 0);
	c->gpr[R_SP] = 0x7004;
	FAULTS(t, VEC_PF, 2, far_call(c, CODE0, 0x6000, 4, 0x5007));
	assert_int_equal(c->exit.cr2, 0x6ffc);
}

/* The paging view follows the CPL, whatever was in force before. */
static void call_on_supervisor_stack_page(void **state)
{
	struct machine *t = *state;

	set_ring(t, 3);
	set_paging(t);
	set_page(t, STACK3 - 0x1000, 3);
	mmu_set_context(&t->c.mmu, MMU_SUPERVISOR);
	FAULTS(t, VEC_PF, 7, far_call(&t->c, CODE3 | 3, 0x6000, 4, 0x5007));
}

/* One inside, one outside. */
static void code_limits(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;
	uint32_t low = FL_FIXED;

	put_gate(t, GDT + GATE, 12, 0, SMALL0, 0xfff, 0);
	WORKS(t, far_jmp(c, GATE, 0, 4, 0));
	WORKS(t, far_call(c, GATE, 0, 4, 0));
	put_gate(t, GDT + GATE, 12, 0, SMALL0, 0x1000, 0);
	FAULTS(t, VEC_GP, 0, far_call(c, GATE, 0, 4, 0));
	put(t, esp(t), 4, 0xfff);
	put(t, esp(t) + 4, 4, SMALL0);
	put(t, esp(t) + 8, 4, low);
	WORKS(t, far_iret(c, 4, 0));
	c->gpr[R_SP] -= 12;
	WORKS(t, far_ret(c, 4, 0));
	c->gpr[R_SP] -= 8;
	put(t, esp(t), 4, 0x1000);
	FAULTS(t, VEC_GP, 0, far_ret(c, 4, 0));
	FAULTS(t, VEC_GP, 0, far_iret(c, 4, 0));
	put_descriptor(t, GDT + GATE, 0, 0xfff, 0x40fa);
	put(t, esp(t) + 4, 4, GATE | 3);
	put(t, esp(t) + 8, 4, STACK3);
	put(t, esp(t) + 12, 4, DATA3 | 3);
	FAULTS(t, VEC_GP, 0, far_ret(c, 4, 0));
	put(t, esp(t), 4, 0xfff);
	WORKS(t, far_ret(c, 4, 0));
}

static void gate_same_ring(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	put_gate(t, GDT + GATE, 12, 0, CODE0 | 3, 0x87654321, 0);
	WORKS(t, far_call(c, GATE, 0xdead, 2, 0x5007));
	assert_int_equal(c->rip, 0x87654321);
	assert_int_equal(c->seg[SEG_CS].sel, CODE0);
	assert_int_equal(stacked(t, 0), 0x5007);
	assert_int_equal(esp(t), 0x7000 - 8);
	put_gate(t, GDT + GATE, 4, 0, CODE0, 0x87654321, 0);
	WORKS(t, far_jmp(c, GATE, 0, 4, 0));
	assert_int_equal(c->rip, 0x4321);
	put_gate(t, GDT + GATE, 12, 0, CODE3, 0, 0);
	FAULTS(t, VEC_GP, CODE3, far_call(c, GATE, 0, 4, 0));
	put_gate(t, GDT + GATE, 12, 0, 0, 0, 0);
	FAULTS(t, VEC_GP, 0, far_call(c, GATE, 0, 4, 0));
	put_gate(t, GDT + GATE, 12, 0, DATA0, 0, 0);
	FAULTS(t, VEC_GP, DATA0, far_call(c, GATE, 0, 4, 0));
	put_gate(t, GDT + GATE, 12, 0, CODE_NP, 0, 0);
	FAULTS(t, VEC_NP, CODE_NP, far_call(c, GATE, 0, 4, 0));
	put_gate(t, GDT + GATE, 12, 0, SMALL0, 0x1000, 0);
	FAULTS(t, VEC_GP, 0, far_jmp(c, GATE, 0, 4, 0));
	put_gate(t, GDT + GATE, 14, 0, CODE0, 0, 0);
	FAULTS(t, VEC_GP, GATE, far_call(c, GATE, 0, 4, 0));     /* an interrupt gate is none */
	FAULTS(t, VEC_GP, GATE, far_call(c, GATE | 1, 0, 4, 0)); /* RPL above DPL */
	put_gate(t, GDT + GATE, 12, 0, CODE0, 0, 0);
	put(t, GDT + GATE + 5, 1, 12);
	FAULTS(t, VEC_NP, GATE, far_call(c, GATE, 0, 4, 0));
}

static void gate_inner_with_parameters(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	set_ring(t, 3);
	put_gate(t, GDT + GATE, 12, 3, CODE0, 0x6000, 3);
	c->gpr[R_SP] = STACK3 - 12;
	put(t, STACK3 - 12, 4, 0x11);
	put(t, STACK3 - 8, 4, 0x22);
	put(t, STACK3 - 4, 4, 0x33);
	WORKS(t, far_call(c, GATE | 3, 0, 4, 0x5007));
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->seg[SEG_CS].sel, CODE0);
	assert_int_equal(c->seg[SEG_SS].sel, DATA0);
	assert_int_equal(esp(t), STACK0 - 7 * 4);
	assert_int_equal(stacked(t, 0), 0x5007);
	assert_int_equal(stacked(t, 1), CODE3 | 3);
	assert_int_equal(stacked(t, 2), 0x11);
	assert_int_equal(stacked(t, 4), 0x33);
	assert_int_equal(stacked(t, 5), STACK3 - 12);
	assert_int_equal(stacked(t, 6), DATA3 | 3);
	segment_set(&c->seg[SEG_ES], DATA0, 0, 0xffffffff, 0xc093, 0xc093);
	segment_set(&c->seg[SEG_FS], CONF0, 0, 0xffffffff, 0xc09f, 0xc09f);
	WORKS(t, far_ret(c, 4, 12));
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->rip, 0x5007);
	assert_int_equal(esp(t), STACK3);
	assert_int_equal(c->seg[SEG_ES].attr, 0); /* DPL 0 data does not leave ring 0 */
	assert_int_not_equal(c->seg[SEG_FS].attr, 0);
	assert_int_equal(c->seg[SEG_DS].sel, DATA3 | 3);
}

static void gate_to_conforming_code(void **state)
{
	struct machine *t = *state;

	set_ring(t, 3);
	put_gate(t, GDT + GATE, 12, 3, CONF0, 0x6000, 2);
	WORKS(t, far_call(&t->c, GATE | 3, 0, 4, 0x5007));
	assert_int_equal(t->c.cpl, 3);
	assert_int_equal(esp(t), STACK3 - 8); /* the same stack: nothing copied */
	put_gate(t, GDT + GATE, 14, 3, CONF0, 0x6000, 2);
	FAULTS(t, VEC_GP, GATE, far_call(&t->c, GATE | 3, 0, 4, 0x5007)); /* type alone refuses */
}

static void gate_inner_16_bit(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	set_ring(t, 3);
	put_gate(t, GDT + GATE, 4, 3, CODE0, 0x6000, 1);
	put(t, STACK3, 2, 0x77aa);
	WORKS(t, far_call(c, GATE | 3, 0, 4, 0x5007));
	assert_int_equal(esp(t), STACK0 - 10);
	assert_int_equal(get(t, esp(t), 2), 0x5007);
	assert_int_equal(get(t, esp(t) + 2, 2), CODE3 | 3);
	assert_int_equal(get(t, esp(t) + 4, 2), 0x77aa);
	assert_int_equal(get(t, esp(t) + 6, 2), STACK3 & 0xffff);
	assert_int_equal(get(t, esp(t) + 8, 2), DATA3 | 3);
}

static void gate_inner_bad_stack(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	set_ring(t, 3);
	put_gate(t, GDT + GATE, 12, 3, CODE1, 0x6000, 2);
	c->tr.limit = 0x10;
	FAULTS(t, VEC_TS, TSSA, far_call(c, GATE | 3, 0, 4, 0));
	c->tr.limit = 0xff;
	put(t, TSS_A + 16, 2, 0);
	FAULTS(t, VEC_TS, 0, far_call(c, GATE | 3, 0, 4, 0));
	put(t, TSS_A + 16, 2, DATA1); /* RPL 0 */
	FAULTS(t, VEC_TS, DATA1, far_call(c, GATE | 3, 0, 4, 0));
	put(t, TSS_A + 16, 2, DATA0 | 1);
	FAULTS(t, VEC_TS, DATA0, far_call(c, GATE | 3, 0, 4, 0));
	put(t, TSS_A + 16, 2, OUTSIDE | 1);
	FAULTS(t, VEC_TS, OUTSIDE, far_call(c, GATE | 3, 0, 4, 0));
	put(t, GDT + DATA1 + 5, 1, 0x32);
	put(t, TSS_A + 16, 2, DATA1 | 1);
	FAULTS(t, VEC_SS, DATA1, far_call(c, GATE | 3, 0, 4, 0));
	put(t, TSS_A + 16, 2, DATA_TINY1 | 1);
	put(t, TSS_A + 12, 4, 0x10); /* 16 bytes: no room for 24 */
	FAULTS(t, VEC_SS, DATA_TINY1, far_call(c, GATE | 3, 0, 4, 0));
	put_gate(t, GDT + GATE, 12, 0, CODE0, 0x6000, 0);
	FAULTS(t, VEC_GP, GATE, far_call(c, GATE | 3, 0, 4, 0)); /* gate's DPL */
	put_gate(t, GDT + GATE, 12, 3, CODE0, 0x6000, 0);
	FAULTS(t, VEC_GP, CODE0, far_jmp(c, GATE | 3, 0, 4, 0)); /* JMP does not go inwards */
}

static void gate_inner_absent_stack_page(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	set_ring(t, 3);
	set_paging(t);
	set_page(t, STACK0 - 0x1000, 4 | 1); /* read-only: ring 0 with WP */
	put_gate(t, GDT + GATE, 12, 3, CODE0, 0x6000, 0);
	FAULTS(t, VEC_PF, 3, far_call(c, GATE | 3, 0, 4, 0));
	set_page(t, STACK0 - 0x1000, 3); /* supervisor page: fine for the inner ring */
	WORKS(t, far_call(c, GATE | 3, 0, 4, 0));
}

static void push_frame(struct machine *t, unsigned n, const uint32_t *values)
{
	for (unsigned i = 0; i < n; i++)
		put(t, esp(t) + 4 * i, 4, values[i]);
}

#define FRAME(t, ...) push_frame(t, sizeof((uint32_t[]){ __VA_ARGS__ }) / 4, (const uint32_t[]){ __VA_ARGS__ })

static void ret_checks(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	FRAME(t, 0x6000, 0);
	FAULTS(t, VEC_GP, 0, far_ret(c, 4, 0));
	FRAME(t, 0x6000, DATA0);
	FAULTS(t, VEC_GP, DATA0, far_ret(c, 4, 0));
	FRAME(t, 0x6000, CODE0 | 3); /* DPL is not RPL */
	FAULTS(t, VEC_GP, CODE0, far_ret(c, 4, 0));
	FRAME(t, 0x6000, CONF3); /* conforming, but DPL above RPL */
	FAULTS(t, VEC_GP, CONF3, far_ret(c, 4, 0));
	FRAME(t, 0x6000, CODE_NP);
	FAULTS(t, VEC_NP, CODE_NP, far_ret(c, 4, 0));
	FRAME(t, 0x1000, SMALL0);
	FAULTS(t, VEC_GP, 0, far_ret(c, 4, 0));
	FRAME(t, 0x6000, CODE3 | 3, STACK3, 0);
	FAULTS(t, VEC_GP, 0, far_ret(c, 4, 0));
	FRAME(t, 0x6000, CODE3 | 3, STACK3, DATA0);
	FAULTS(t, VEC_GP, DATA0, far_ret(c, 4, 0));
	FRAME(t, 0x6000, CODE3 | 3, STACK3, READONLY3 | 3);
	FAULTS(t, VEC_GP, READONLY3, far_ret(c, 4, 0));
	put(t, GDT + DATA3 + 5, 1, 0x72);
	FRAME(t, 0x6000, CODE3 | 3, STACK3, DATA3 | 3);
	FAULTS(t, VEC_SS, DATA3, far_ret(c, 4, 0));
	FRAME(t, 0x6000, CONF0 | 3, STACK3, DATA3 | 3); /* conforming DPL 0 may run in ring 3 */
	put(t, GDT + DATA3 + 5, 1, 0xf2);
	WORKS(t, far_ret(c, 4, 0));
	assert_int_equal(c->cpl, 3);
	FRAME(t, 0x6000, CODE0);
	FAULTS(t, VEC_GP, CODE0, far_ret(c, 4, 0)); /* inwards */
}

static void ret_limits(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	segment_set(&c->seg[SEG_SS], DATA0, 0, 0x7003, 0x4093, 0x4093);
	FRAME(t, 0x6000, CODE0);
	FAULTS(t, VEC_SS, 0, far_ret(c, 4, 0));
	segment_set(&c->seg[SEG_SS], DATA0, 0, 0x700b, 0x4093, 0x4093);
	FRAME(t, 0x6000, CODE3 | 3, STACK3, DATA3 | 3);
	FAULTS(t, VEC_SS, 0, far_ret(c, 4, 0));
}

static void iret_rings(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	FRAME(t, 0x6000, CODE0, FL_IF | FL_IOPL | FL_CF | FL_RF | FL_ID | FL_AC);
	WORKS(t, far_iret(c, 4, 0));
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_IF | FL_IOPL | FL_CF | FL_RF | FL_ID | FL_AC);
	assert_int_equal(esp(t), 0x700c);
	FRAME(t, 0x6000, CODE3 | 3, FL_IF | FL_FIXED, STACK3, DATA3 | 3);
	WORKS(t, far_iret(c, 4, 0));
	assert_int_equal(c->cpl, 3);
	assert_int_equal(esp(t), STACK3);
	assert_int_equal(c->seg[SEG_DS].attr, 0);
	FRAME(t, 0x6004, CODE3 | 3, FL_IOPL | FL_VM); /* ring 3, IOPL 0: neither IF, IOPL nor VM */
	WORKS(t, far_iret(c, 4, 0));
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_IF);
	c->eflags |= FL_IOPL;
	FRAME(t, 0x6004, CODE3 | 3, 0);
	WORKS(t, far_iret(c, 4, 0)); /* IOPL 3: IF, but not IOPL */
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_IOPL);
}

static void iret_16_bit(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	put(t, 0x7000, 2, 0x6000);
	put(t, 0x7002, 2, CODE0);
	put(t, 0x7004, 2, FL_CF | FL_IF);
	vcpu_set_eflags(c, FL_ID | FL_RF | FL_ZF);
	WORKS(t, far_iret(c, 2, 0));
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_ID | FL_CF | FL_IF);
	assert_int_equal(esp(t), 0x7006);
}

/* A 16-bit stack gets SP only. */
static void iret_to_small_stack(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	put_descriptor(t, GDT + DATA3, 0, 0xffff, 0x00f2);
	c->gpr[R_SP] = 0x00017000;
	segment_set(&c->seg[SEG_SS], DATA0, 0, 0xffffffff, 0xc093, 0xc093);
	FRAME(t, 0x6000, CODE3 | 3, FL_IF, 0xabcd4321, DATA3 | 3);
	WORKS(t, far_iret(c, 4, 0));
	assert_int_equal(esp(t), 0x00014321);
}

static void iret_vm86_and_back(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	FRAME(t, 0x1234, 0x1000, FL_VM | FL_IF | FL_IOPL, 0x200, 0x3000, 0x2000, 0x2001, 0x2002, 0x2003);
	WORKS(t, far_iret(c, 4, 0));
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->seg[SEG_CS].base, 0x10000);
	assert_int_equal(c->seg[SEG_GS].sel, 0x2003);
	assert_int_equal(c->seg[SEG_SS].limit, 0xffff);
	assert_int_equal(esp(t), 0x200);
	assert_int_equal(c->rip, 0x1234);
	put(t, 0x30200, 2, 0x99);
	put(t, 0x30202, 2, 0x1100);
	put(t, 0x30204, 2, FL_CF);
	WORKS(t, far_iret(c, 2, 0));
	assert_int_equal(c->seg[SEG_CS].base, 0x11000);
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_VM | FL_IOPL | FL_CF);
	c->eflags &= ~FL_IOPL;
	FAULTS(t, VEC_GP, 0, far_iret(c, 2, 0));
	set_ring(t, 0);
	vcpu_set_eflags(c, 0);
	FRAME(t, 0xffff, 0x1000, FL_VM, 0x200, 0x3000, 0x2000, 0x2001, 0x2002, 0x2003);
	WORKS(t, far_iret(c, 4, 0));
	set_ring(t, 0);
	vcpu_set_eflags(c, 0);
	FRAME(t, 0x10000, 0x1000, FL_VM, 0x200, 0x3000, 0x2000, 0x2001, 0x2002, 0x2003);
	FAULTS(t, VEC_GP, 0, far_iret(c, 4, 0));
}

static void real_mode_transfers(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	set_real(t);
	WORKS(t, far_call(c, 0x1100, 0x22, 2, 0x5003));
	assert_int_equal(c->seg[SEG_CS].base, 0x11000);
	assert_int_equal(get(t, 0x300fc, 4), 0x10005003);
	WORKS(t, far_ret(c, 2, 0));
	assert_int_equal(c->rip, 0x5003);
	FAULTS(t, VEC_GP, 0, far_jmp(c, 0x1100, 0x10000, 4, 0));
	FAULTS(t, VEC_GP, 0, far_call(c, 0x1100, 0x10000, 4, 0));
	WORKS(t, far_call(c, 0x1100, 0xffff, 4, 0));
	c->gpr[R_SP] = 0x100;
	put(t, 0x30100, 2, 0x10);
	put(t, 0x30102, 2, 0x1200);
	put(t, 0x30104, 2, FL_IOPL | FL_ZF);
	WORKS(t, far_iret(c, 2, 0));
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_IOPL | FL_ZF);
	assert_int_equal(esp(t), 0x106);
	c->gpr[R_SP] = 0xffff;
	FAULTS(t, VEC_SS, 0, far_ret(c, 2, 0));
}

static void native_transfers(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	ring_enter(c);
	WORKS(t, far_call_native(c, CODE0, 0x6000, 4, 0x5007));
	assert_int_equal(c->seg[SEG_CS].sel, CODE0 | 1);
	assert_int_equal(stacked(t, 1), CODE0 | 1); /* the lie of ring 1 */
	WORKS(t, far_ret_native(c, 4, 0));
	assert_int_equal(c->rip, 0x5007);
	FRAME(t, 0x6000, CODE0, 0);
	FAULTS(t, VEC_GP, CODE0, far_ret_native(c, 4, 0)); /* RPL 0 */
	FAULTS(t, VEC_GP, CODE0, far_iret_native(c, 4));
	FRAME(t, 0x6000, CODE3 | 3, 0, STACK3, DATA3 | 3);
	FAULTS(t, VEC_GP, CODE3, far_iret_native(c, 4));
	put_gate(t, GDT + GATE, 12, 3, CODE0, 0x6000, 0);
	FAULTS(t, VEC_NP, GATE, far_call_native(c, GATE, 0, 4, 0));
	FAULTS(t, VEC_GP, TSSB, far_jmp_native(c, TSSB, 0, 4)); /* DPL 0 below real CPL 1 */
	FAULTS(t, VEC_GP, 0, far_jmp_native(c, 0, 0, 4));
	FAULTS(t, VEC_NP, CODE_NP, far_jmp_native(c, CODE_NP, 0, 4));
	FAULTS(t, VEC_GP, 0, far_jmp_native(c, SMALL0, 0x1000, 4));
	FAULTS(t, VEC_GP, CONF3, far_jmp_native(c, CONF3, 0, 4));
	FAULTS(t, VEC_GP, CODE1, far_jmp_native(c, CODE1, 0, 4)); /* DPL 1 is not the guest's ring 0 */
	WORKS(t, far_jmp_native(c, SMALL0, 0xfff, 4));
	WORKS(t, far_jmp_native(c, CONF0, 0x100, 4));
	FRAME(t, 0x6000, CODE0 | 1);
	WORKS(t, far_ret_native(c, 4, 8));
	assert_int_equal(esp(t), 0x7010);
	c->eflags |= FL_NT;
	FAULTS(t, VEC_GP, 0, far_iret_native(c, 4));
	c->eflags &= ~FL_NT;
	WORKS(t, far_jmp_native(c, CODE0, 0x100, 4));
	ring_leave(c);
	assert_int_equal(c->seg[SEG_CS].sel, CODE0);
	assert_int_equal(c->seg[SEG_CS].attr, 0xc09b);
}

/* Model 0/3/3: the guest's kernel runs at real CPL 3, but its return to ring 3 is none to the same ring. */
static void native_in_ring_3(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	c->ring0_becomes = 3;
	c->mmu.split_views = true;
	c->leak_policy = true;
	ring_enter(c);
	FRAME(t, 0x6000, CODE3 | 3, 0, STACK3, DATA3 | 3);
	FAULTS(t, VEC_GP, CODE3, far_iret_native(c, 4));
	FAULTS(t, VEC_GP, CODE3, far_ret_native(c, 4, 0));
	FAULTS(t, VEC_GP, CODE3, far_jmp_native(c, CODE3 | 3, 0, 4));
	ring_leave(c);
	set_ring(t, 3);
	ring_enter(c);
	FRAME(t, 0x6000, CODE3 | 3, FL_IOPL | FL_CF | FL_ID | FL_RF);
	WORKS(t, far_iret_native(c, 4));
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_IF | FL_CF | FL_ID | FL_RF);
	c->gpr[R_SP] -= 12;
	put(t, esp(t), 2, 0x6000);
	put(t, esp(t) + 2, 2, CODE3 | 3);
	put(t, esp(t) + 4, 2, FL_CF);
	WORKS(t, far_iret_native(c, 2));
	c->eflags &= ~FL_ID;
	assert_int_equal(c->rip, 0x6000);
	ring_leave(c);
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_CF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(load_data_segments),
		TEST(load_stack_segments),
		TEST(load_local_descriptors),
		TEST(load_real_and_vm86),
		TEST(load_in_real_view),
		TEST(jmp_direct),
		TEST(call_direct),
		TEST(call_on_absent_stack_page),
		TEST(call_on_supervisor_stack_page),
		TEST(code_limits),
		TEST(gate_to_conforming_code),
		TEST(gate_same_ring),
		TEST(gate_inner_with_parameters),
		TEST(gate_inner_16_bit),
		TEST(gate_inner_bad_stack),
		TEST(gate_inner_absent_stack_page),
		TEST(ret_checks),
		TEST(ret_limits),
		TEST(iret_rings),
		TEST(iret_16_bit),
		TEST(iret_to_small_stack),
		TEST(iret_vm86_and_back),
		TEST(real_mode_transfers),
		TEST(native_transfers),
		TEST(native_in_ring_3),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
