/*
 * test_cpu_task.c - hardware task switches: what is saved and loaded, busy bits, NT and back links, each refusal before and after the
 * point of no return; and the I/O permission bitmap.
 */
#include "cpu_fixture.h"

#define VECTOR 0x40
#define TASK_GATE 5

/* A complete 32-bit TSS in ring 0 or 3. */
static void put_tss32(struct machine *t, uint32_t at, unsigned cpl)
{
	uint16_t code = cpl ? CODE3 | 3 : CODE0, data = cpl ? DATA3 | 3 : DATA0;

	put(t, at + 4, 4, STACK0);
	put(t, at + 8, 4, DATA0);
	put(t, at + 0x1c, 4, PAGE_DIR);
	put(t, at + 0x20, 4, 0x6000);
	put(t, at + 0x24, 4, FL_IF);
	for (unsigned i = 0; i < 8; i++)
		put(t, at + 0x28 + 4 * i, 4, 0x11110000 + i);
	put(t, at + 0x28 + 4 * R_SP, 4, STACK_B);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		put(t, at + 0x48 + 4 * i, 4, i == SEG_CS ? code : data);
	put(t, at + 0x60, 4, 0);
	put(t, at + 0x64, 4, 0x680000);
}

static void put_tss16(struct machine *t, uint32_t at)
{
	put(t, at + 14, 2, 0x6000);
	put(t, at + 16, 2, FL_CF);
	for (unsigned i = 0; i < 8; i++)
		put(t, at + 18 + 2 * i, 2, 0x2220 + i);
	for (unsigned i = 0; i < 4; i++)
		put(t, at + 34 + 2 * i, 2, i == SEG_CS ? CODE0 : DATA0);
	put(t, at + 42, 2, 0);
}

static int setup_tasks(void **state)
{
	struct machine *t;

	if (setup(state))
		return -1;
	t = *state;
	put_tss32(t, TSS_B, 0);
	put_tss16(t, TSS_C);
	for (unsigned i = 0; i < 8; i++)
		t->c.gpr[i] = 0xaaaa0000 + i;
	t->c.gpr[R_SP] = 0x7000;
	return 0;
}

static void jmp_to_task(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	vcpu_set_eflags(c, FL_IF | FL_CF);
	c->dr[7] |= 0x3;
	WORKS(t, far_jmp(c, TSSB, 0, 4, 0x5007));
	assert_int_equal(get(t, TSS_A + 0x20, 4), 0x5007);
	assert_int_equal(get(t, TSS_A + 0x24, 4), FL_FIXED | FL_IF | FL_CF);
	assert_int_equal(get(t, TSS_A + 0x28 + 4 * R_DI, 4), 0xaaaa0007);
	assert_int_equal(get(t, TSS_A + 0x4c, 4), CODE0);
	assert_int_equal(access_byte(t, TSSA), 0x89);
	assert_int_equal(access_byte(t, TSSB), 0x8b);
	assert_int_equal(c->tr.sel, TSSB);
	assert_int_equal(c->tr.attr, 0x8b);
	assert_int_equal(c->rip, 0x6000);
	assert_int_equal(c->gpr[R_BP], 0x11110005);
	assert_int_equal(c->seg[SEG_GS].sel, DATA0);
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_IF);
	assert_true(c->cr0 & CR0_TS);
	assert_int_equal(c->dr[7] & 0xff, 2); /* local breakpoints go, global ones stay */
	assert_int_equal(c->cr3, 0);          /* paging is off */
}

static void call_and_return(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	set_paging(t);
	put_gate(t, GDT + GATE, TASK_GATE, 0, TSSB, 0, 0);
	put(t, TSS_A + 0x1c, 4, PAGE_DIR | 0x18);
	WORKS(t, far_call(c, GATE, 0, 4, 0x5007));
	assert_int_equal(get(t, TSS_B, 2), TSSA);
	assert_int_equal(access_byte(t, TSSA), 0x8b);
	assert_int_equal(access_byte(t, TSSB), 0x8b);
	assert_int_equal(c->cr3, PAGE_DIR);
	assert_true(c->eflags & FL_NT);
	WORKS(t, far_iret(c, 4, 0x6001));
	assert_int_equal(c->tr.sel, TSSA);
	assert_int_equal(c->rip, 0x5007);
	assert_int_equal(c->gpr[R_BX], 0xaaaa0003);
	assert_int_equal(access_byte(t, TSSB), 0x89);
	assert_int_equal(get(t, TSS_B + 0x24, 4), FL_FIXED | FL_IF); /* NT cleared in the image */
	assert_int_equal(get(t, TSS_B + 0x20, 4), 0x6001);
	assert_int_equal(c->cr3, PAGE_DIR | 0x18);
}

static void task_of_16_bits(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	WORKS(t, far_call(c, TSSC, 0, 4, 0x5007));
	assert_int_equal(c->gpr[R_AX], 0xffff2220);
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_CF | FL_NT);
	assert_int_equal(c->seg[SEG_FS].attr, 0);
	assert_int_equal(get(t, TSS_C, 2), TSSA);
	c->gpr[R_SI] = 0x12345678;
	WORKS(t, far_iret(c, 4, 0x6002));
	assert_int_equal(get(t, TSS_C + 14, 2), 0x6002);
	assert_int_equal(get(t, TSS_C + 18 + 2 * R_SI, 2), 0x5678);
	assert_int_equal(get(t, TSS_C + 16, 2), FL_FIXED | FL_CF);
	assert_int_equal(c->gpr[R_SI], 0xaaaa0006);
}

static void to_ring_3(void **state)
{
	struct machine *t = *state;

	put_tss32(t, TSS_B, 3);
	WORKS(t, far_jmp(&t->c, TSSB, 0, 4, 0));
	assert_int_equal(t->c.cpl, 3);
	assert_int_equal(t->c.seg[SEG_SS].sel, DATA3 | 3);
}

static void to_vm86(void **state)
{
	struct machine *t = *state;

	put(t, TSS_B + 0x24, 4, FL_VM | FL_IF);
	put(t, TSS_B + 0x4c, 4, 0x1000);
	WORKS(t, far_jmp(&t->c, TSSB, 0, 4, 0));
	assert_int_equal(t->c.cpl, 3);
	assert_int_equal(t->c.seg[SEG_CS].base, 0x10000);
	assert_int_equal(t->c.seg[SEG_DS].base, DATA0 << 4);
}

static void refused_before(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	FAULTS(t, VEC_GP, TSSA, far_jmp(c, TSSA, 0, 4, 0)); /* busy */
	FAULTS(t, VEC_GP, TSSB, far_jmp(c, TSSB | 3, 0, 4, 0));
	put_descriptor(t, GDT + TSSB, TSS_B, 0x66, 0x89);
	FAULTS(t, VEC_TS, TSSB, far_jmp(c, TSSB, 0, 4, 0));
	put_descriptor(t, GDT + TSSC, TSS_C, 0x2a, 0x81);
	FAULTS(t, VEC_TS, TSSC, far_jmp(c, TSSC, 0, 4, 0));
	put_descriptor(t, GDT + TSSB, TSS_B, 0x67, 0x09);
	FAULTS(t, VEC_NP, TSSB, far_jmp(c, TSSB, 0, 4, 0));
	put_gate(t, GDT + GATE, TASK_GATE, 0, 0x0c, 0, 0); /* LDT selector */
	FAULTS(t, VEC_GP, 0x0c, far_jmp(c, GATE, 0, 4, 0));
	put_gate(t, GDT + GATE, TASK_GATE, 0, CODE0, 0, 0);
	FAULTS(t, VEC_GP, CODE0, far_call(c, GATE, 0, 4, 0));
	c->eflags |= FL_NT;
	put(t, TSS_A, 2, TSSC); /* linked, but not busy */
	FAULTS(t, VEC_TS, TSSC, far_iret(c, 4, 0));
	put(t, TSS_A, 2, 0);
	FAULTS(t, VEC_TS, 0, far_iret(c, 4, 0));
	set_ring(t, 3);
	c->eflags &= ~FL_NT;
	FAULTS(t, VEC_GP, TSSC, far_call(c, TSSC | 3, 0, 4, 0)); /* DPL 0 */
}

static void refused_by_paging(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	set_paging(t);
	put_descriptor(t, GDT + TSSB, 0xcff0, 0x67, 0x89);
	set_page(t, 0xd000, 0);
	FAULTS(t, VEC_PF, 0, far_jmp(c, TSSB, 0, 4, 0));
	assert_int_equal(access_byte(t, TSSA), 0x8b);
	assert_int_equal(access_byte(t, TSSB), 0x89);
	set_page(t, 0xc000, 5);
	set_page(t, 0xd000, 7);
	FAULTS(t, VEC_PF, 3, far_call(c, TSSB, 0, 4, 0)); /* the back link cannot be written */
	c->tr.base = 0xe000;
	set_page(t, 0xe000, 0);
	FAULTS(t, VEC_PF, 2, far_jmp(c, TSSB, 0, 4, 0));
	c->tr.base = TSS_A;
	set_page(t, 0xc000, 7);
	set_page(t, GDT, 5); /* busy bits cannot be written */
	FAULTS(t, VEC_PF, 3, far_jmp(c, TSSB, 0, 4, 0));
	assert_int_equal(c->exit.cr2, GDT + TSSA + 5);
	FAULTS(t, VEC_PF, 3, far_call(c, TSSB, 0, 4, 0));
	assert_int_equal(c->exit.cr2, GDT + TSSB + 5);
}

/* Beyond the point of no return the fault is the new task's. */
struct bad_field {
	unsigned field;
	uint16_t sel;
	unsigned vector;
	uint32_t error;
};

static void check_bad_field(struct machine *t, const struct bad_field *b)
{
	put(t, TSS_B + b->field, 2, b->sel);
	FAULTS_ANYHOW(t, b->vector, b->error, far_call(&t->c, TSSB, 0, 4, 0x5007));
	assert_int_equal(t->c.tr.sel, TSSB);
	assert_int_equal(t->c.rip, 0x6000);
	assert_int_equal(get(t, TSS_A + 0x20, 4), 0x5007);
	assert_true(t->c.eflags & FL_NT);
}

static void refused_after(void **state)
{
	static const struct bad_field rows[] = {
		{ 0x60, TSSC, VEC_TS, TSSC },
		{ 0x60, 0x0c, VEC_TS, 0x0c },
		{ 0x4c, 0, VEC_TS, 0 },
		{ 0x4c, DATA0, VEC_TS, DATA0 },
		{ 0x4c, CODE3, VEC_TS, CODE3 },
		{ 0x4c, CODE_NP, VEC_NP, CODE_NP },
		{ 0x50, 0, VEC_TS, 0 },
		{ 0x50, DATA3 | 3, VEC_TS, DATA3 },
		{ 0x50, DATA_NP, VEC_SS, DATA_NP },
		{ 0x54, OUTSIDE, VEC_TS, OUTSIDE },
		{ 0x54, DATA_NP, VEC_NP, DATA_NP },
		{ 0x48, EXECONLY0, VEC_TS, EXECONLY0 },
		{ 0x5c, DATA0 | 1, VEC_TS, DATA0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		teardown(state);
		setup_tasks(state);
		check_bad_field(*state, &rows[i]);
	}
}

static void eip_at_the_limit(void **state)
{
	struct machine *t = *state;

	put(t, TSS_B + 0x20, 4, 0xfff);
	put(t, TSS_B + 0x4c, 2, SMALL0);
	WORKS(t, far_jmp(&t->c, TSSB, 0, 4, 0));
}

static void eip_outside(void **state)
{
	struct machine *t = *state;

	put(t, TSS_B + 0x4c, 2, SMALL0);
	FAULTS_ANYHOW(t, VEC_GP, 0, far_jmp(&t->c, TSSB, 0, 4, 0));
}

static void by_interrupt(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;
	struct intr in = {
		.vector = VEC_GP, .type = INTR_EXCEPTION, .has_error = true, .error = 0x1234, .next_eip = 0x5000
	};

	put_gate(t, IDT + VEC_GP * 8, TASK_GATE, 0, TSSB, 0, 0);
	WORKS(t, intr_deliver(c, &in));
	assert_int_equal(c->tr.sel, TSSB);
	assert_int_equal(esp(t), STACK_B - 4);
	assert_int_equal(stacked(t, 0), 0x1234);
	assert_int_equal(get(t, TSS_A + 0x24, 4), FL_FIXED | FL_RF);
	assert_int_equal(get(t, TSS_A + 0x20, 4), 0x5000);
	put_gate(t, IDT + VEC_GP * 8, TASK_GATE, 0, TSSB, 0, 0);
	FAULTS(t, VEC_GP, TSSB | 1, intr_deliver(c, &in)); /* busy; EXT */
	put(t, TSS_C + 38, 2, DATA_NP);
	put_gate(t, IDT + VEC_GP * 8, TASK_GATE, 0, TSSC, 0, 0);
	FAULTS_ANYHOW(t, VEC_SS, DATA_NP | 1, intr_deliver(c, &in));
}

static void trap_bit(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;
	struct intr in = { .vector = VECTOR, .type = INTR_EXTERNAL, .next_eip = 0x5000 };

	put(t, TSS_B + 0x64, 1, 1);
	WORKS(t, far_call(c, TSSB, 0, 4, 0));
	assert_int_equal(c->db_pending, 1u << 15);
	c->db_pending = 0;
	WORKS(t, far_iret(c, 4, 0));
	assert_int_equal(c->db_pending, 0);
	put_gate(t, IDT + VECTOR * 8, TASK_GATE, 0, TSSB, 0, 0);
	FAULTS_ANYHOW(t, VEC_DB, NO_ERROR, intr_deliver(c, &in));
	assert_int_equal(c->tr.sel, TSSB);
	assert_true(c->dr[6] & (1u << 15));
}

static void io_bitmap(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	c->tr.limit = 0x68 + 0x10;           /* ports 0..0x7f, one byte beyond */
	put(t, TSS_A + 0x68 + 0xc, 1, 0xfe); /* 0x60 open */
	put(t, TSS_A + 0x68 + 0xd, 1, 0xf0); /* 0x68..0x6b open */
	put(t, TSS_A + 0x68 + 0xf, 1, 0);
	assert_true(io_permitted(c, 0x3f8, 4)); /* CPL 0 */
	set_ring(t, 3);
	assert_true(io_permitted(c, 0x60, 1));
	assert_false(io_permitted(c, 0x60, 2));
	assert_true(io_permitted(c, 0x68, 4));
	assert_false(io_permitted(c, 0x69, 4));
	assert_true(io_permitted(c, 0x7f, 1));
	assert_false(io_permitted(c, 0x80, 1)); /* beyond the limit */
	c->eflags |= FL_IOPL;
	assert_true(io_permitted(c, 0x80, 1));
	set_vm86(t, 3);
	assert_false(io_permitted(c, 0x80, 1)); /* V86: the bitmap counts whatever IOPL */
	assert_true(io_permitted(c, 0x60, 1));
	c->tr.attr = 0x83;
	assert_false(io_permitted(c, 0x60, 1)); /* 16-bit TSS */
}

#define TASK_TEST(name) cmocka_unit_test_setup_teardown(name, setup_tasks, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TASK_TEST(jmp_to_task),       TASK_TEST(call_and_return), TASK_TEST(task_of_16_bits),
		TASK_TEST(to_ring_3),         TASK_TEST(to_vm86),         TASK_TEST(refused_before),
		TASK_TEST(refused_by_paging), TASK_TEST(refused_after),   TASK_TEST(eip_at_the_limit),
		TASK_TEST(eip_outside),       TASK_TEST(by_interrupt),    TASK_TEST(trap_bit),
		TASK_TEST(io_bitmap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
