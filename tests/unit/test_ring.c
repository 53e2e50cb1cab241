/*
 * test_ring.c - the enter/leave pair: leaving undoes entering for every guest state, and the real view keeps what DESIGN promises:
 * never CPL 0, IF on, IOPL 0, no DPL 0 visible to the guest's ring 0, no system descriptor present.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/cpu/segment.h"
#include "vmm/ring/ring.h"
#include "vmm/snapshot.h"
#include "vmm/vm.h"

static struct vm *make_vm(enum ring_model model, enum sensitive_policy policy)
{
	struct vm_config config;
	struct vm *vm;

	vm_config_init(&config);
	config.memory = VM_MEMORY_MIN;
	config.model = model;
	config.policy = policy;
	assert_int_equal(vm_create(&vm, &config, NULL), 0);
	return vm;
}

static void set_protected(struct vcpu *c, unsigned cpl, uint32_t eflags)
{
	uint16_t dpl = (uint16_t)(cpl << SEG_DPL_SHIFT);

	c->cr0 |= CR0_PE;
	c->cpl = (uint8_t)cpl;
	vcpu_set_eflags(c, eflags | FL_FIXED);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_set(&c->seg[i], (uint16_t)(0x10 | cpl), 0, 0xffffffff, (uint16_t)(0xc093 | dpl),
		            (uint16_t)(0xc093 | dpl));
	segment_set(&c->seg[SEG_CS], (uint16_t)(8 | cpl), 0, 0xffffffff, (uint16_t)(0xc09b | dpl),
	            (uint16_t)(0xc09b | dpl));
	segment_set(&c->seg[SEG_GS], 0, 0, 0, 0, 0);
}

static void check_real_view(const struct vcpu *c, unsigned ring0_becomes)
{
	assert_int_not_equal(c->cpl, 0);
	assert_true(c->eflags & FL_IF);
	assert_int_equal(c->eflags & FL_IOPL, 0);
	if (c->eflags & FL_VM) {
		assert_int_equal(c->cpl, 3);
		return;
	}
	assert_int_equal(c->seg[SEG_CS].sel & 3, c->cpl);
	assert_int_equal(c->seg[SEG_SS].sel & 3, c->cpl);
	if (c->virt.cpl == 0) {
		assert_int_equal(c->cpl, ring0_becomes);
		for (unsigned i = 0; i < SEG_COUNT; i++)
			if (c->seg[i].attr)
				assert_int_equal((c->seg[i].attr & SEG_DPL) >> SEG_DPL_SHIFT, ring0_becomes);
	}
}

static void test_round_trip(void **state)
{
	static const uint32_t flags[] = {
		0, FL_IF, FL_IF | FL_IOPL, FL_IOPL, FL_IF | FL_NT | FL_DF | FL_CF, FL_TF | FL_AC
	};

	(void)state;
	for (unsigned model = 0; model < 2; model++) {
		struct vm *vm = make_vm((enum ring_model)model, POLICY_CATCH);
		struct vcpu *c = vm_vcpu(vm);

		for (unsigned cpl = 0; cpl < 4; cpl++) {
			for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
				uint64_t before;

				set_protected(c, cpl, flags[i]);
				before = vm_register_digest(vm);
				ring_enter(c);
				check_real_view(c, model ? 3 : 1);
				ring_leave(c);
				assert_int_equal(vm_register_digest(vm), before);
			}
		}
		vm_destroy(vm);
	}
}

static void test_real_mode_is_v86(void **state)
{
	struct vm *vm = make_vm(MODEL_0_1_3, POLICY_CATCH);
	struct vcpu *c = vm_vcpu(vm);
	uint64_t before = vm_register_digest(vm);

	(void)state;
	ring_enter(c);
	assert_true(c->eflags & FL_VM);
	check_real_view(c, 1);
	assert_true(c->mode & MODE_VM);
	assert_false(c->mode & MODE_USER); /* no paging in real mode: nothing to protect */
	ring_leave(c);
	assert_int_equal(vm_register_digest(vm), before);
	vm_destroy(vm);
}

static void test_catch_bits(void **state)
{
	struct vm *vm = make_vm(MODEL_0_1_3, POLICY_CATCH);
	struct vcpu *c = vm_vcpu(vm);
	const struct {
		unsigned cpl;
		uint32_t eflags;
		unsigned want;
	} cases[] = {
		{ 0, FL_IF, MODE_CATCH_ANY | MODE_CATCH_FLAGS | MODE_CATCH_CPL0 },
		{ 1, FL_IF, MODE_CATCH_ANY | MODE_CATCH_FLAGS },
		{ 3, FL_IF, MODE_CATCH_ANY },
		{ 3, 0, MODE_CATCH_ANY | MODE_CATCH_FLAGS },
		{ 3, FL_IF | FL_IOPL, MODE_CATCH_ANY | MODE_CATCH_FLAGS },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		set_protected(c, cases[i].cpl, cases[i].eflags);
		ring_enter(c);
		assert_int_equal(c->mode & (MODE_CATCH_ANY | MODE_CATCH_FLAGS | MODE_CATCH_CPL0), cases[i].want);
		ring_leave(c);
	}
	vm_destroy(vm);
	vm = make_vm(MODEL_0_1_3, POLICY_LEAK);
	set_protected(vm_vcpu(vm), 0, FL_IF);
	ring_enter(vm_vcpu(vm));
	assert_int_equal(vm_vcpu(vm)->mode & (MODE_CATCH_ANY | MODE_CATCH_FLAGS | MODE_CATCH_CPL0), 0);
	ring_leave(vm_vcpu(vm));
	vm_destroy(vm);
}

static void test_filter(void **state)
{
	struct vm *vm = make_vm(MODEL_0_1_3, POLICY_CATCH);
	struct vcpu *c = vm_vcpu(vm);

	(void)state;
	set_protected(c, 0, FL_IF);
	assert_int_equal(ring_filter_attr(c, 0xc093), 0xc0b3);    /* DPL 0 data shows DPL 1 */
	assert_int_equal(ring_filter_attr(c, 0xc0f3), 0xc0f3);    /* DPL 3 stays */
	assert_int_equal(ring_filter_attr(c, 0x008b) & SEG_P, 0); /* a busy TSS is not there */
	assert_int_equal(ring_filter_attr(c, 0x00ec) & SEG_P, 0); /* nor a call gate */
	set_protected(c, 1, FL_IF);
	assert_int_equal(ring_filter_attr(c, 0xc093), 0xc093); /* the guest's ring 1 does not get at ring 0's */
	vm_destroy(vm);
}

/* Every instruction whose class is not harmless has its reason in the table, once. */
static void test_table_is_complete(void **state)
{
	(void)state;
	for (unsigned op = 1; op < OP_MAX; op++) {
		unsigned rules = 0;

		for (unsigned i = 0; i < ring_rule_count; i++)
			rules += ring_rules[i].op == op;
		if (op_name(op))
			assert_int_equal(rules, op_class(op) != CLASS_NONE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),        cmocka_unit_test(test_real_mode_is_v86),
		cmocka_unit_test(test_catch_bits),        cmocka_unit_test(test_filter),
		cmocka_unit_test(test_table_is_complete),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
