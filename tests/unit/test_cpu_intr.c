/*
 * test_cpu_intr.c - delivery through IVT and IDT: the frame on each stack, flags, error codes of every refusal, and the EXT bit.
 */
#include "cpu_fixture.h"

#define VECTOR 0x40

static void gate_at(struct machine *t, unsigned vector, unsigned type, unsigned dpl, uint16_t sel, uint32_t off)
{
	put_gate(t, IDT + vector * 8, type, dpl, sel, off, 0);
}

static struct intr external(void)
{
	return (struct intr){ .vector = VECTOR, .type = INTR_EXTERNAL, .next_eip = 0x5000 };
}

static struct intr software(void)
{
	return (struct intr){ .vector = VECTOR, .type = INTR_SOFT, .next_eip = 0x5002 };
}

static struct intr page_fault(void)
{
	return (struct intr){ .vector = VEC_PF, .type = INTR_EXCEPTION, .has_error = true, .error = 6, .next_eip = 0x5000 };
}

static void deliver(struct machine *t, struct intr in)
{
	intr_deliver(&t->c, &in);
}

static void same_ring(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	vcpu_set_eflags(c, FL_IF | FL_TF | FL_NT | FL_RF | FL_AC | FL_CF);
	gate_at(t, VECTOR, 14, 0, CODE0 | 3, 0x12345678);
	WORKS(t, deliver(t, external()));
	assert_int_equal(c->rip, 0x12345678);
	assert_int_equal(c->seg[SEG_CS].sel, CODE0);
	assert_int_equal(esp(t), 0x7000 - 12);
	assert_int_equal(stacked(t, 0), 0x5000);
	assert_int_equal(stacked(t, 1), CODE0);
	assert_int_equal(stacked(t, 2), FL_FIXED | FL_IF | FL_TF | FL_NT | FL_RF | FL_AC | FL_CF);
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_AC | FL_CF);
	assert_int_equal(access_byte(t, CODE0), 0x9b);
}

static void trap_gate_and_error_code(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	vcpu_set_eflags(c, FL_IF);
	gate_at(t, VEC_PF, 15, 0, CODE0, 0x100);
	WORKS(t, deliver(t, page_fault()));
	assert_int_equal(stacked(t, 0), 6);
	assert_int_equal(stacked(t, 1), 0x5000);
	assert_int_equal(stacked(t, 3), FL_FIXED | FL_IF | FL_RF); /* a fault sets RF in the image */
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_IF);
}

static void resume_flag(void **state)
{
	static const uint8_t faults[] = { 0, 5, 6, 7, 10, 11, 12, 13, 14, 16, 17, 19 };
	struct machine *t = *state;

	for (unsigned v = 0; v < 48; v++) {
		struct intr in = { .vector = (uint8_t)v, .type = INTR_EXCEPTION, .next_eip = 0x5000 };
		bool fault = memchr(faults, (int)v, sizeof(faults));

		gate_at(t, v, 14, 0, CODE0, 0x12345679);
		deliver(t, in);
		assert_int_equal(stacked(t, 2) & FL_RF, fault ? FL_RF : 0);
		assert_int_equal(t->c.rip, 0x12345679);
		in.type = INTR_EXTERNAL;
		deliver(t, in);
		assert_int_equal(stacked(t, 2) & FL_RF, 0);
	}
}

static void gates_of_16_bits(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	gate_at(t, VEC_PF, 6, 0, CODE0, 0x12345678);
	WORKS(t, deliver(t, page_fault()));
	assert_int_equal(c->rip, 0x5678);
	assert_int_equal(esp(t), 0x7000 - 8);
	assert_int_equal(get(t, esp(t), 2), 6);
	assert_int_equal(get(t, esp(t) + 4, 2), CODE0);
}

static void inner_ring(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	set_ring(t, 3);
	vcpu_set_eflags(c, FL_IF | FL_IOPL);
	gate_at(t, VEC_PF, 14, 0, CODE0, 0x100);
	WORKS(t, deliver(t, page_fault()));
	assert_int_equal(c->cpl, 0);
	assert_int_equal(esp(t), STACK0 - 24);
	assert_int_equal(stacked(t, 0), 6);
	assert_int_equal(stacked(t, 2), CODE3 | 3);
	assert_int_equal(stacked(t, 4), STACK3);
	assert_int_equal(stacked(t, 5), DATA3 | 3);
	assert_int_equal(c->seg[SEG_SS].sel, DATA0);
	assert_int_equal(c->seg[SEG_DS].sel, DATA3 | 3); /* data segments stay */
	c->gpr[R_SP] += 4;
	WORKS(t, far_iret(c, 4, 0));
	assert_int_equal(c->cpl, 3);
	assert_int_equal(esp(t), STACK3);
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_IF | FL_IOPL | FL_RF);
}

static void conforming_handler(void **state)
{
	struct machine *t = *state;

	set_ring(t, 3);
	gate_at(t, VECTOR, 14, 3, CONF0, 0x100);
	WORKS(t, deliver(t, software()));
	assert_int_equal(t->c.cpl, 3);
	assert_int_equal(t->c.seg[SEG_CS].sel, CONF0 | 3);
	assert_int_equal(esp(t), STACK3 - 12);
}

static void from_vm86(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	set_vm86(t, 3);
	gate_at(t, VECTOR, 14, 3, CODE0, 0x100);
	WORKS(t, deliver(t, software()));
	assert_int_equal(c->cpl, 0);
	assert_int_equal(esp(t), STACK0 - 36);
	assert_int_equal(stacked(t, 1), 0x1000);
	assert_int_equal(stacked(t, 2), FL_FIXED | FL_VM | FL_IF | FL_IOPL);
	assert_int_equal(stacked(t, 3), 0x100);
	assert_int_equal(stacked(t, 4), 0x3000);
	assert_int_equal(stacked(t, 5), 0x2000 + SEG_ES);
	assert_int_equal(stacked(t, 8), 0x2000 + SEG_GS);
	assert_int_equal(c->seg[SEG_DS].attr, 0);
	assert_int_equal(c->seg[SEG_GS].sel, 0);
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_IOPL);
	WORKS(t, far_iret(c, 4, 0));
	assert_int_equal(c->seg[SEG_DS].sel, 0x2000 + SEG_DS);
	gate_at(t, VECTOR, 14, 3, CODE1, 0x100);
	FAULTS(t, VEC_GP, CODE1, deliver(t, software())); /* only ring 0 */
	FAULTS(t, VEC_GP, CODE1 | 1, deliver(t, external()));
	gate_at(t, VECTOR, 14, 3, CONF0, 0x100);
	FAULTS(t, VEC_GP, CONF0, deliver(t, software()));
}

static void refusals(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	c->idtr.limit = VECTOR * 8 + 6;
	FAULTS(t, VEC_GP, VECTOR * 8 + 3, deliver(t, external()));
	FAULTS(t, VEC_GP, VECTOR * 8 + 2, deliver(t, software())); /* the program's own doing: no EXT */
	c->idtr.limit++;
	gate_at(t, VECTOR, 14, 0, SMALL0, 0xfff);
	WORKS(t, deliver(t, external())); /* gate and offset just inside */
	set_ring(t, 0);
	c->idtr.limit = 0x7ff;
	gate_at(t, VECTOR, 12, 0, CODE0, 0);
	FAULTS(t, VEC_GP, VECTOR * 8 + 3, deliver(t, external())); /* call gate */
	gate_at(t, VECTOR, 14, 0, CODE0, 0);
	put(t, IDT + VECTOR * 8 + 5, 1, 14);
	FAULTS(t, VEC_NP, VECTOR * 8 + 3, deliver(t, external()));
	gate_at(t, VECTOR, 14, 0, 0, 0);
	FAULTS(t, VEC_GP, 1, deliver(t, external()));
	FAULTS(t, VEC_GP, 0, deliver(t, software()));
	gate_at(t, VECTOR, 14, 0, OUTSIDE, 0);
	FAULTS(t, VEC_GP, OUTSIDE | 1, deliver(t, external()));
	gate_at(t, VECTOR, 14, 0, DATA0, 0);
	FAULTS(t, VEC_GP, DATA0 | 1, deliver(t, external()));
	gate_at(t, VECTOR, 14, 0, CODE3, 0);
	FAULTS(t, VEC_GP, CODE3 | 1, deliver(t, external())); /* outwards */
	gate_at(t, VECTOR, 14, 0, CODE_NP, 0);
	FAULTS(t, VEC_NP, CODE_NP | 1, deliver(t, external()));
	gate_at(t, VECTOR, 14, 0, SMALL0, 0x1000);
	FAULTS(t, VEC_GP, 1, deliver(t, external()));
	FAULTS(t, VEC_GP, 0, deliver(t, software()));
}

static void gate_privilege(void **state)
{
	struct machine *t = *state;
	struct intr int1 = { .vector = VECTOR, .type = INTR_PRIV_SOFT, .next_eip = 0x5001 };

	set_ring(t, 3);
	gate_at(t, VECTOR, 14, 0, CODE0, 0x100);
	FAULTS(t, VEC_GP, VECTOR * 8 + 2, deliver(t, software()));
	WORKS(t, deliver(t, int1)); /* INT1 is not checked */
	set_ring(t, 3);
	WORKS(t, deliver(t, external()));
}

static void bad_stacks(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	gate_at(t, VECTOR, 14, 3, CODE0, 0x100);
	gate_at(t, VECTOR + 1, 14, 3, CODE1, 0x100);
	segment_set(&c->seg[SEG_SS], DATA0, 0, 0x6fff, 0x4093, 0x4093);
	c->gpr[R_SP] = 0x7008;
	FAULTS(t, VEC_SS, 1, deliver(t, external()));
	FAULTS(t, VEC_SS, 0, deliver(t, software()));
	set_ring(t, 3);
	c->tr.limit = 8;
	FAULTS(t, VEC_TS, TSSA | 1, deliver(t, external()));
	c->tr.limit = 0xff;
	put(t, TSS_A + 8, 2, DATA3 | 3);
	FAULTS(t, VEC_TS, DATA3 | 1, deliver(t, external()));
	put(t, TSS_A + 8, 2, 0);
	FAULTS(t, VEC_TS, 1, deliver(t, external()));
	put(t, TSS_A + 8, 2, DATA_NP);
	FAULTS(t, VEC_SS, DATA_NP | 1, deliver(t, external()));
	put(t, TSS_A + 16, 2, DATA_TINY1 | 1);
	put(t, TSS_A + 12, 4, 0x10);
	struct intr in = external();
	in.vector = VECTOR + 1;
	FAULTS(t, VEC_SS, DATA_TINY1 | 1, deliver(t, in));
}

static void stack_expand_down(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	gate_at(t, VECTOR, 14, 3, CODE0, 0x100);
	WORKS(t, segment_load(c, SEG_SS, DATA_DOWN0));
	c->gpr[R_SP] = 0x800c;
	WORKS(t, deliver(t, external())); /* lowest byte 0x8000 */
	c->gpr[R_SP] = 0x800b;
	FAULTS(t, VEC_SS, 1, deliver(t, external()));
}

static void page_faults_leave_nothing(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	gate_at(t, VECTOR, 14, 3, CODE0, 0x100);
	set_ring(t, 3);
	set_paging(t);
	set_page(t, STACK0 - 0x1000, 0);
	FAULTS(t, VEC_PF, 2, deliver(t, external()));
	assert_int_equal(c->exit.cr2, STACK0 - 20);
	put(t, TSS_A + 4, 4, STACK0 + 8); /* the frame crosses into a present page */
	set_page(t, STACK0, 7);
	FAULTS(t, VEC_PF, 2, deliver(t, external()));
	set_page(t, IDT, 0);
	FAULTS(t, VEC_PF, 0, deliver(t, external()));
	assert_int_equal(c->exit.cr2, IDT + VECTOR * 8);
}

static void real_mode(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	set_real(t);
	vcpu_set_eflags(c, FL_IF | FL_TF | FL_CF | FL_IOPL);
	put(t, VECTOR * 4, 4, 0x12340056);
	WORKS(t, deliver(t, software()));
	assert_int_equal(c->seg[SEG_CS].base, 0x12340);
	assert_int_equal(c->rip, 0x56);
	assert_int_equal(esp(t), 0xfa);
	assert_int_equal(get(t, 0x300fa, 4), 0x10005002);
	assert_int_equal(get(t, 0x300fe, 2), FL_FIXED | FL_IF | FL_TF | FL_CF | FL_IOPL);
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_CF | FL_IOPL);
	c->idtr.limit = VECTOR * 4 + 2;
	FAULTS(t, VEC_GP, 0, deliver(t, software()));
	c->idtr.limit++;
	put(t, VECTOR * 4, 4, 0x12340057);
	WORKS(t, deliver(t, software()));
	assert_int_equal(c->rip, 0x57);
	c->idtr.limit = 0x3ff;
	c->gpr[R_SP] = 3;
	FAULTS(t, VEC_SS, 0, deliver(t, software())); /* a word at ffff */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(same_ring),         TEST(trap_gate_and_error_code),
		TEST(resume_flag),       TEST(gates_of_16_bits),
		TEST(inner_ring),        TEST(conforming_handler),
		TEST(from_vm86),         TEST(refusals),
		TEST(gate_privilege),    TEST(bad_stacks),
		TEST(stack_expand_down), TEST(page_faults_leave_nothing),
		TEST(real_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
