/*
 * test_hardfault.c - real faults: each privileged instruction faults where it stands on this host and is sent on; several VMs nest and run on several
 * threads; a SIGSEGV of any other origin still ends the process.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/cpu/segment.h"
#include "vmm/engine/codebuf.h"
#include "vmm/engine/hardfault.h"
#include "vmm/ring/ring.h"
#include "vmm/vm.h"

#define CODE_ROOM 4096

static const struct hardfault_rule *rule_of(enum op op)
{
	for (unsigned i = 0; i < hardfault_rule_count; i++)
		if (hardfault_rules[i].op == op)
			return &hardfault_rules[i];
	return NULL;
}

static void test_every_instruction_has_a_rule(void **state)
{
	(void)state;
	assert_int_equal(hardfault_rule_count, ring_rule_count);
	for (unsigned i = 0; i < ring_rule_count; i++)
		assert_non_null(rule_of(ring_rules[i].op));
	for (unsigned op = 0; op < OP_MAX; op++) {
		const struct hardfault_rule *rule = rule_of((enum op)op);
		bool codes = rule && (rule->kind == HARDFAULT_SELF || rule->kind == HARDFAULT_STAND_IN);
		struct insn in = { .op = (uint16_t)op, .opsize = 4 };
		uint8_t code[HARDFAULT_CODE_MAX];

		assert_int_equal(hardfault_code(&in, code) != 0, codes);
	}
}

/* ---- a piece of code: the instruction, UD2, and at the landing a RET ---- */

struct piece {
	struct codebuf buf;
	struct hardfaults faults;
};

static void open_piece(struct piece *p)
{
	assert_int_equal(codebuf_create(&p->buf, CODE_ROOM), 0);
	assert_int_equal(hardfault_create(&p->faults), 0);
}

static void close_piece(struct piece *p)
{
	hardfault_destroy(&p->faults);
	codebuf_destroy(&p->buf);
}

static void put_insn(struct piece *p, const struct insn *in)
{
	uint32_t code = (uint32_t)(uintptr_t)p->buf.exec;
	unsigned len = hardfault_code(in, p->buf.write);

	assert_true(len > 0 && len <= HARDFAULT_CODE_MAX);
	memcpy(p->buf.write + len, "\x0f\x0b\xc3", 3);
	p->faults.count = 0;
	hardfault_add(&p->faults,
	              (struct hardfault_place){ .at = code, .landing = code + len + 2, .len = (uint16_t)len });
}

static void call_piece(const struct piece *p)
{
	((void (*)(void))(uintptr_t)p->buf.exec)();
}

static void run_insn(struct piece *p, const struct insn *in)
{
	uint64_t taken = p->faults.taken;
	struct hardfaults *outer;

	put_insn(p, in);
	outer = hardfault_enter(&p->faults);
	call_piece(p);
	hardfault_leave(outer);
	assert_int_equal(p->faults.taken, taken + 1);
}

static void test_each_faults(void **state)
{
	struct piece p;

	(void)state;
	open_piece(&p);
	for (unsigned op = 0; op < OP_FPU_BASE; op++) {
		uint8_t code[HARDFAULT_CODE_MAX];
		struct insn in = { .op = (uint16_t)op, .opsize = 4 };

		if (!hardfault_code(&in, code))
			continue;
		run_insn(&p, &in);
		for (unsigned size = 1; size <= 4; size *= 2) {
			in.opsize = (uint8_t)size;
			in.imm = 0x80;
			in.flags = IF_DX;
			run_insn(&p, &in);
			in.flags = 0;
			run_insn(&p, &in);
		}
		for (unsigned number = 0; number < 8; number++) {
			bool control = op == OP_MOV_CR || op == OP_MOV_R_CR, debug = op == OP_MOV_DR || op == OP_MOV_R_DR;

			in.reg = (uint8_t)number;
			if (debug || (control && number <= 4 && number != 1))
				run_insn(&p, &in);
		}
	}
	close_piece(&p);
}

static void test_nested(void **state)
{
	const struct insn hlt = { .op = OP_HLT };
	struct hardfaults *nobody, *outer;
	struct piece a, b;

	(void)state;
	open_piece(&a);
	open_piece(&b);
	put_insn(&a, &hlt);
	nobody = hardfault_enter(&a.faults);
	assert_null(nobody);
	run_insn(&b, &hlt);
	call_piece(&a);
	outer = hardfault_enter(NULL);
	assert_ptr_equal(outer, &a.faults);
	hardfault_leave(outer);
	call_piece(&a);
	hardfault_leave(nobody);
	assert_int_equal(a.faults.taken, 2);
	assert_int_equal(b.faults.taken, 1);
	close_piece(&a);
	close_piece(&b);
}

/* ---- whole VMs on threads of their own ---- */

static uint64_t no_tsc(void *self)
{
	(void)self;
	return 1;
}

static void never(void *self, const struct vm_now *now, struct vm_turn *turn)
{
	(void)self;
	(void)now;
	*turn = (struct vm_turn){ .deadline = UINT64_MAX, .vector = -1 };
}

/* 32-bit code at CPL 0: counts RDTSCs in ECX until it is 0. */
static const uint8_t program[] = { 0x0f, 0x31, 0x49, 0x75, 0xfb, 0xeb, 0xfe };
enum { ROUNDS = 3000, PROGRAM_AT = 0x1000 };

static void *run_vm(void *result)
{
	const struct vm_input input = { .tsc = no_tsc, .poll = never };
	struct vm_config config;
	struct vm_counters counters;
	struct vm_stop stop;
	struct vcpu *c;
	struct vm *vm;

	vm_config_init(&config);
	config.memory = VM_MEMORY_MIN;
	config.engine = ENGINE_TRANSLATE;
	config.trap = TRAP_FAULT;
	config.limit = 3 * ROUNDS + 10;
	if (vm_create(&vm, &config, NULL))
		return NULL;
	memcpy(vm_ram(vm) + PROGRAM_AT, program, sizeof(program));
	c = vm_vcpu(vm);
	c->cr0 |= CR0_PE;
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		uint16_t attr = i == SEG_CS ? 0xc09b : 0xc093;

		segment_set(&c->seg[i], 0x10, 0, 0xffffffff, attr, attr);
	}
	c->rip = PROGRAM_AT;
	c->gpr[R_CX] = ROUNDS;
	vm_plug(vm, &input, NULL);
	vm_run(vm, UINT64_MAX, &stop, NULL);
	vm_get_counters(vm, &counters);
	*(uint64_t *)result = counters.faults == ROUNDS && c->gpr[R_CX] == 0 ? counters.hardfaults : 0;
	vm_destroy(vm);
	return result;
}

static void test_threads(void **state)
{
	uint64_t faults[4] = { 0 };
	pthread_t thread[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, run_vm, &faults[i]), 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		assert_int_equal(faults[i], ROUNDS);
	}
}

static void test_interpreter_has_none(void **state)
{
	struct vm_config config;
	struct vm_error err;
	struct vm *vm;

	(void)state;
	vm_config_init(&config);
	config.engine = ENGINE_INTERP;
	config.trap = TRAP_FAULT;
	assert_int_equal(vm_create(&vm, &config, &err), -EINVAL);
	assert_non_null(strstr(err.text, "trap:"));
}

/* ---- what is not such a fault ---- */

static void elsewhere(void)
{
	__asm__ volatile("hlt");
}

static void bad_pointer(void)
{
	volatile uintptr_t address = 16; /* the compiler must not know; not null, which sanitizers look for */

	*(volatile char *)address = 1;
}

static void sent(void)
{
	raise(SIGSEGV);
}

/* How a child ends that does `what` inside of a table with one fault in it. */
static int ends(void (*what)(void))
{
	const struct insn hlt = { .op = OP_HLT };
	int status = 0;
	pid_t child = fork();

	if (!child) {
		struct rlimit none = { 0, 0 };
		struct piece p;

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGSEGV, SIG_DFL);
		open_piece(&p);
		put_insn(&p, &hlt);
		hardfault_enter(&p.faults);
		call_piece(&p);
		what();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void test_others_still_kill(void **state)
{
	void (*const causes[])(void) = { elsewhere, bad_pointer, sent };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		int status = ends(causes[i]);

		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSEGV);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_others_still_kill), /* first: the children install the handler anew */
		cmocka_unit_test(test_every_instruction_has_a_rule),
		cmocka_unit_test(test_each_faults),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_interpreter_has_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
