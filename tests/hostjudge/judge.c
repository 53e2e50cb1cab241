/*
 * judge.c - the host processor as judge of the interpreter, and of the translator.
 *
 * Every case is one user-mode instruction, or a few, with registers, flags, x87, MMX and XMM state and two pages of memory. The helper (helper.c) runs it natively as 32-bit
 * code; the interpreter runs it on a vCPU in the same place: CPL 3, paging on, the same linear addresses and selectors. Everything must come out the same:
 * registers, flags (also those the manual calls undefined), memory, FPU state, the exception with its error code and CR2.
 *
 * Not compared with the host: last instruction and operand pointers of the x87 (makers differ; checked against what the instruction was), and the values of
 * RCPPS and RSQRTPS, which need only lie within the architecture's error bound.
 *
 * usage: judge [-p] [-e ENGINE] [-n CASES] [-s SEED] [-i INDEX] [-o OP] [-m MAX] [-v]
 *   -p  small programs only                      -e  interp, or translate: then everything is translated at once
 *   -i  run the one case INDEX of the seed       -o  only forms of this instruction
 *   -m  stop after MAX mismatches                -v  print every case's instruction
 * exit status: 0 all agree, 1 mismatches, 2 usage, 77 the host cannot run 32-bit code
 */
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/hostjudge/gen.h"
#include "vmm/cpu/flags.h"
#include "vmm/cpu/segment.h"
#include "vmm/engine/engine.h"
#include "vmm/ring/ring.h"

#define MEMORY (8u << 20)
#define PD 0x1000u
#define PT 0x2000u
#define PTE_USER 7u /* present, writable, user */
#define FLAGS_COMPARED (FL_ARITH | FL_DF)
#define PF_FETCH 0x10u /* set only by processors with NX */
#define EXIT_SKIP 77
#define OPS_SHOWN 30
#define STEP_BUDGET 1000u

struct options {
	uint64_t cases, seed, index;
	bool one, verbose, programs, translate;
	const char *only;
	unsigned max;
};

struct judge {
	struct vcpu c;
	struct ram ram;
	struct engine *engine;
	struct hj_shared *shared;
	int to_helper, from_helper;
	struct gen *gen;
	const struct options *opt;
	struct insn insns[HJ_BATCH];
	enum gen_class classes[HJ_BATCH];
	uint64_t count[GEN_CLASSES], bad[GEN_CLASSES];
	uint64_t bad_ops[OP_MAX];
	unsigned shown;
};

/* ---- the native side ---- */

static void skip(const char *why)
{
	printf("%s\n", why);
	exit(EXIT_SKIP);
}

static void helper_exec(const char *path, const int in[2], const int out[2], int fd)
{
	int low = fcntl(in[0], F_DUPFD, 10), out_low = fcntl(out[1], F_DUPFD, 10), fd_low = fcntl(fd, F_DUPFD, 10);

	dup2(low, 3);
	dup2(out_low, 4);
	dup2(fd_low, 5);
	for (int i = 6; i < 64; i++)
		close(i);
	execl(path, path, (char *)NULL);
	_exit(127);
}

/* True when the helper answered. */
static bool helper_wait(struct judge *j)
{
	char c;

	return read(j->from_helper, &c, 1) == 1;
}

static void helper_start(struct judge *j, const char *path)
{
	int in[2], out[2], fd = memfd_create("hostjudge", MFD_CLOEXEC);
	pid_t pid;

	if (fd < 0 || ftruncate(fd, sizeof(*j->shared)) || pipe(in) || pipe(out)) {
		perror("judge: shared memory");
		exit(5);
	}
	j->shared = mmap(NULL, sizeof(*j->shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (j->shared == MAP_FAILED) {
		perror("judge: shared memory");
		exit(5);
	}
	signal(SIGPIPE, SIG_IGN);
	pid = fork();
	if (pid == 0)
		helper_exec(path, in, out, fd);
	close(in[0]);
	close(out[1]);
	close(fd);
	j->to_helper = in[1];
	j->from_helper = out[0];
	if (!helper_wait(j) || !j->shared->ready)
		skip("this host does not run 32-bit programs");
}

static void helper_run(struct judge *j, unsigned count)
{
	char c = 0;

	j->shared->count = count;
	if (write(j->to_helper, &c, 1) != 1 || (count && !helper_wait(j))) {
		fprintf(stderr, "judge: the helper died in a batch of seed %llu\n", (unsigned long long)j->opt->seed);
		exit(5);
	}
}

/* ---- the interpreter's side ---- */

static void put32(struct ram *ram, uint64_t gpa, uint32_t v)
{
	ram_write(ram, gpa, &v, sizeof(v));
}

static void map_page(struct judge *j, uint32_t linear)
{
	put32(&j->ram, PT + (linear >> 12 & 1023) * 4, linear | PTE_USER);
}

static void machine_init(struct judge *j)
{
	struct vcpu *c = &j->c;
	uint8_t int3[HJ_CODE_SIZE];

	if (ram_init(&j->ram, MEMORY) || mmu_init(&c->mmu, &j->ram, false) ||
	    (j->opt->translate ? engine_translate_create(&j->engine, c) : engine_interp_create(&j->engine, c))) {
		fprintf(stderr, "judge: no memory, or no such engine on this host\n");
		exit(5);
	}
	engine_set_hot(j->engine, 0);
	c->ring0_becomes = 1;
	vcpu_reset(c);
	put32(&j->ram, PD + (HJ_CODE >> 22) * 4, PT | PTE_USER);
	map_page(j, HJ_CODE);
	for (uint32_t a = 0; a < HJ_DATA_SIZE; a += PAGE_SIZE)
		map_page(j, HJ_DATA + a);
	memset(int3, 0xcc, sizeof(int3));
	ram_write(&j->ram, HJ_CODE, int3, sizeof(int3));
	c->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_ET | CR0_WP | CR0_MP;
	c->cr3 = PD;
	c->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
	mmu_set_paging(&c->mmu, c->cr0, c->cr3, c->cr4, true);
}

static void load_segment(struct judge *j, unsigned seg, enum hj_segment kind)
{
	static const struct {
		uint32_t base, limit;
		uint16_t attr;
	} segments[HJ_SEGMENTS] = {
		[HJ_SEG_FLAT] = { 0, 0xffffffff, 0xc0f3 },
		[HJ_SEG_BASED] = { HJ_DATA, HJ_DATA_SIZE - 1, 0x40f3 },
		[HJ_SEG_DOWN] = { HJ_DATA, 0xfff, 0x40f7 },
		[HJ_SEG_READONLY] = { 0, 0xffffffff, 0xc0f1 },
	};

	segment_set(&j->c.seg[seg], j->shared->selector[kind], segments[kind].base, segments[kind].limit,
	            segments[kind].attr, segments[kind].attr);
}

static void load_state(struct judge *j, const struct hj_case *k)
{
	struct vcpu *c = &j->c;
	const struct hj_state *s = &k->in;

	for (unsigned i = 0; i < 8; i++)
		c->gpr[i] = s->gpr[i];
	c->rip = s->eip;
	c->cpl = 3;
	vcpu_set_eflags(c, s->eflags | FL_FIXED | FL_IF);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		load_segment(j, i, (enum hj_segment)s->segment[i]);
	segment_set(&c->seg[SEG_CS], j->shared->cs_selector, 0, 0xffffffff, 0xc0fb, 0xc0fb);
	memcpy(c->fpu.fx, s->fx, sizeof(c->fpu.fx));
	ram_write(&j->ram, HJ_DATA, s->data, HJ_DATA_SIZE);
	ram_write(&j->ram, s->eip, k->code, k->len);
	c->cr2 = 0;
}

/* Until the INT3 behind the instruction, or a fault. Odd cases are stepped, which is another path through the engine and memory. */
static void run_case(struct judge *j, const struct hj_case *k, uint64_t index)
{
	uint8_t int3[HJ_CODE_MAX];
	struct vcpu *c = &j->c;

	load_state(j, k);
	ring_enter(c);
	if (index & 1) {
		for (unsigned i = 0; i < STEP_BUDGET; i++) {
			engine_step(j->engine);
			if (c->exit.reason != EXIT_BUDGET)
				break;
		}
	} else {
		engine_run(j->engine, c->icount + STEP_BUDGET);
	}
	ring_leave(c);
	memset(int3, 0xcc, sizeof(int3));
	ram_write(&j->ram, k->in.eip, int3, k->len);
}

static unsigned ended_by(const struct vcpu *c)
{
	if (c->exit.reason == EXIT_EXCEPTION)
		return c->exit.vector;
	return c->exit.reason == EXIT_SOFTINT && c->exit.insn.op == OP_INT3 ? VEC_BP : 0x100u + c->exit.reason;
}

/* ---- the verdict ---- */

struct verdict {
	char text[4096];
	size_t used;
};

static __attribute__((format(printf, 2, 3))) void differ(struct verdict *v, const char *format, ...)
{
	va_list args;

	if (v->used >= sizeof(v->text) - 200)
		return;
	va_start(args, format);
	v->used += (size_t)vsnprintf(v->text + v->used, sizeof(v->text) - v->used, format, args);
	va_end(args);
}

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static void differ_bytes(struct verdict *v, const char *what, unsigned at, const uint8_t *expected, const uint8_t *got,
                         unsigned n)
{
	differ(v, "  %s %u: expected ", what, at);
	for (unsigned i = n; i-- > 0;)
		differ(v, "%02x", expected[i]);
	differ(v, ", got ");
	for (unsigned i = n; i-- > 0;)
		differ(v, "%02x", got[i]);
	differ(v, "\n");
}

static bool is_memory_fault(unsigned vector)
{
	return vector == VEC_PF || vector == VEC_GP || vector == VEC_SS;
}

/* Several operands, or one of many parts: processors differ in which they look at first, so in the fault when more than one has one. */
static bool any_fault_will_do(const struct insn *in, unsigned expected, unsigned got)
{
	switch (in->op) {
	case OP_FNSTENV:
	case OP_FLDENV:
	case OP_FNSAVE:
	case OP_FRSTOR:
	case OP_FXSAVE:
	case OP_FXRSTOR:
	case OP_FLD:
	case OP_FSTP:
	case OP_FBLD:
	case OP_FBSTP:
	case OP_MASKMOVQ:
	case OP_MASKMOVDQU:
	case OP_CMPS: return is_memory_fault(expected) && is_memory_fault(got);
	case OP_BOUND: return (is_memory_fault(expected) || expected == VEC_BR) && is_memory_fault(got);
	default: return false;
	}
}

/* Flags of FSW whose exceptions FCW does not mask, as the host left them: bits 0 to 5. */
static unsigned unmasked_numeric(const struct hj_case *k)
{
	return get16(k->out.fx + 2) & ~get16(k->out.fx) & 0x3f;
}

/* A store with an unmasked numeric exception to where nothing can be stored: some processors find the one first, which
 * stores nothing, some the other: neither the end nor the x87 state can be compared. */
static bool numeric_came_first(const struct judge *j, const struct hj_case *k, const struct insn *in)
{
	switch (in->op) {
	case OP_FST:
	case OP_FSTP:
	case OP_FIST:
	case OP_FISTP:
	case OP_FBSTP: return k->vector == VEC_BP && is_memory_fault(ended_by(&j->c)) && unmasked_numeric(k);
	default: return false;
	}
}

static void compare_end(struct judge *j, const struct hj_case *k, const struct insn *in, struct verdict *v)
{
	const struct vcpu *c = &j->c;
	unsigned got = ended_by(c), expected = k->signal == SIGALRM ? 0xff : k->vector;
	uint32_t eip = k->out.eip - (expected == VEC_BP);

	if (eip != (uint32_t)c->rip)
		differ(v, "  eip: expected %08x, got %08x\n", eip, (uint32_t)c->rip);
	if (any_fault_will_do(in, expected, got))
		return;
	if (expected != got)
		differ(v, "  ended by vector: expected %#x (signal %u, error %#x, cr2 %08x), got %#x\n", expected,
		       k->signal, k->error, k->cr2, got);
	else if (c->exit.reason == EXIT_EXCEPTION && c->exit.has_error && c->exit.error != (k->error & ~PF_FETCH))
		differ(v, "  error code: expected %#x, got %#x\n", k->error, c->exit.error);
	if (expected == VEC_PF && got == VEC_PF && (uint32_t)c->exit.cr2 != k->cr2)
		differ(v, "  cr2: expected %08x, got %08x\n", k->cr2, (uint32_t)c->exit.cr2);
}

/*
 * Flags in which processors of different makers differ, and are allowed to: undefined ones of AAA, AAS, DAA and DAS; all
 * of a repeated CMPS or SCAS that faults, which Intel's put back to what they were at first; and those of FCOMI with an
 * unmasked #IA, which AMD's set and Intel's leave alone (SDM vol. 2).
 */
static uint32_t flags_by_maker(const struct hj_case *k, const struct insn *in)
{
	switch (in->op) {
	case OP_AAA:
	case OP_AAS: return FL_OF | FL_SF | FL_ZF | FL_PF;
	case OP_DAA:
	case OP_DAS: return FL_OF;
	case OP_CMPS:
	case OP_SCAS: return k->vector == VEC_BP ? 0 : FLAGS_COMPARED;
	case OP_FCOMI:
	case OP_FCOMIP:
	case OP_FUCOMI:
	case OP_FUCOMIP: return unmasked_numeric(k) & 1 ? FLAGS_COMPARED : 0;
	default: return 0;
	}
}

static void compare_integer(struct judge *j, const struct hj_case *k, const struct insn *in, struct verdict *v)
{
	static const char *const names[8] = { "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi" };
	const struct vcpu *c = &j->c;
	uint32_t flags = vcpu_get_eflags(c), compared = FLAGS_COMPARED & ~flags_by_maker(k, in);

	for (unsigned i = 0; i < 8; i++)
		if (c->gpr[i] != k->out.gpr[i])
			differ(v, "  %s: expected %08x, got %08llx\n", names[i], k->out.gpr[i],
			       (unsigned long long)c->gpr[i]);
	if ((flags ^ k->out.eflags) & compared)
		differ(v, "  eflags: expected %03x, got %03x (differ in %03x)\n", k->out.eflags & FLAGS_COMPARED,
		       flags & FLAGS_COMPARED, (flags ^ k->out.eflags) & compared);
}

/* Both lie within 1.5 * 2^-12 of the truth; specials are equal. */
static bool approximations_agree(uint32_t a, uint32_t b)
{
	float x, y;

	memcpy(&x, &a, 4);
	memcpy(&y, &b, 4);
	if (a == b)
		return true;
	if (!isnormal(x) || !isnormal(y)) /* around the limit where results are flushed */
		return (a & 0x7fffffff) < 0x00801000 && (b & 0x7fffffff) < 0x00801000 && !((a ^ b) >> 31);
	return fabs((double)x / (double)y - 1) <= 3 * 0x1p-12;
}

static bool is_approximation(const struct insn *in)
{
	return in->op == OP_RCPPS || in->op == OP_RCPSS || in->op == OP_RSQRTPS || in->op == OP_RSQRTSS;
}

static bool xmm_agrees(const struct insn *in, unsigned r, const uint8_t *expected, const uint8_t *got)
{
	unsigned dst = (in->form == FORM_RR ? in->rm : in->reg) / 16;

	if (!is_approximation(in) || r != dst)
		return !memcmp(expected, got, 16);
	for (unsigned i = 0; i < 16; i += 4)
		if (!approximations_agree(get32(expected + i), get32(got + i)))
			return false;
	return true;
}

static bool is_mmx_store(const struct insn *in)
{
	return in->op == OP_MASKMOVQ || in->op == OP_MOVNTQ || in->op == OP_MOVQ || in->op == OP_MOVD;
}

static void compare_fpu(struct judge *j, const struct hj_case *k, const struct insn *in, struct verdict *v)
{
	const uint8_t *got = j->c.fpu.fx, *expected = k->out.fx;

	if (is_mmx_store(in) && k->vector != VEC_BP)
		return; /* some processors have gone over to MMX state when it faults */
	if (get16(got) != get16(expected))
		differ(v, "  fcw: expected %04x, got %04x\n", get16(expected), get16(got));
	if (get16(got + 2) != get16(expected + 2))
		differ(v, "  fsw: expected %04x, got %04x\n", get16(expected + 2), get16(got + 2));
	if (got[4] != expected[4])
		differ(v, "  ftw: expected %02x, got %02x\n", expected[4], got[4]);
	if (get32(got + 24) != get32(expected + 24))
		differ(v, "  mxcsr: expected %04x, got %04x\n", get32(expected + 24), get32(got + 24));
	for (unsigned i = 0; i < 8; i++)
		if (memcmp(got + 32 + 16 * i, expected + 32 + 16 * i, 10))
			differ_bytes(v, "st", i, expected + 32 + 16 * i, got + 32 + 16 * i, 10);
	for (unsigned i = 0; i < 8; i++)
		if (!xmm_agrees(in, i, expected + 160 + 16 * i, got + 160 + 16 * i))
			differ_bytes(v, "xmm", i, expected + 160 + 16 * i, got + 160 + 16 * i, 16);
}

static bool is_control(unsigned op)
{
	return op == OP_FNINIT || op == OP_FNCLEX || op == OP_FLDCW || op == OP_FNSTCW || op == OP_FNSTSW ||
	       op == OP_FNSTENV || op == OP_FLDENV || op == OP_FNSAVE || op == OP_FRSTOR || op >= OP_FWAIT;
}

/* FIP, FCS and FOP of an instruction that went through; FDP and FDS when it had an operand. */
static void check_pointers(struct judge *j, const struct hj_case *k, const struct insn *in, struct verdict *v)
{
	const uint8_t *fx = j->c.fpu.fx;
	bool memory = in->flags & IF_MEM;

	if (in->op < OP_FLD || in->op > OP_FSETPM287_NOP || is_control(in->op) || ended_by(&j->c) != VEC_BP)
		return;
	if (get32(fx + 8) != k->in.eip || get16(fx + 12) != j->shared->cs_selector || get16(fx + 6) != (in->imm2 & 0x7ff))
		differ(v, "  fip %04x:%08x, fop %03x\n", get16(fx + 12), get32(fx + 8), get16(fx + 6));
	if (memory &&
	    get16(fx + 20) != (in->seg == SEG_CS ? j->shared->cs_selector : j->shared->selector[k->in.segment[in->seg]]))
		differ(v, "  fds %04x\n", get16(fx + 20));
}

/* Where an instruction stores the pointers, take ours; and the mask of MXCSR bits, which is the model's. */
static void forgive_pointers(const struct hj_case *k, const struct insn *in, const uint8_t *got, uint8_t *expected)
{
	uint32_t base = hj_segment_base(&k->in, in->seg), ea = in->disp, at;
	unsigned from, to;

	if (in->op == OP_FNSTENV || in->op == OP_FNSAVE) {
		from = in->opsize == 28 || in->opsize == 108 ? 12 : 6;
		to = from / 3 * 7;
	} else if (in->op == OP_FXSAVE) {
		from = 6;
		to = 32;
	} else {
		return;
	}
	ea += in->base == GPR_ZERO ? 0 : k->in.gpr[in->base / 8];
	ea += in->index == GPR_ZERO ? 0 : k->in.gpr[in->index / 8] << in->scale;
	at = base + (in->asize == 4 ? ea : ea & 0xffff) - HJ_DATA;
	if (at <= HJ_DATA_SIZE - to)
		memcpy(expected + at + from, got + at + from, to - from);
}

/* The upper half of a segment register pushed with 32 bits: 0 here, and left as it was on some processors (SDM vol. 2, PUSH). */
static void forgive_upper_half(const struct hj_case *k, const struct insn *in, const uint8_t *got, uint8_t *expected)
{
	uint32_t at = hj_segment_base(&k->in, SEG_SS) + k->out.gpr[4] + 2 - HJ_DATA;

	if (in->op == OP_PUSH_SREG && in->opsize == 4 && at <= HJ_DATA_SIZE - 2 && get16(got + at) == 0 &&
	    get16(expected + at) == get16(k->in.data + at))
		memcpy(expected + at, got + at, 2);
}

static bool stores_in_parts(const struct insn *in)
{
	return in->op == OP_ENTER || in->op == OP_FBSTP || (in->op == OP_FSTP && in->opsize == 10);
}

static void compare_memory(struct judge *j, struct hj_case *k, const struct insn *in, struct verdict *v)
{
	const uint8_t *got = j->ram.host + HJ_DATA;
	unsigned shown = 0;

	if (stores_in_parts(in) && k->vector != VEC_BP)
		return; /* processors differ in how far it got before it faulted */
	forgive_pointers(k, in, got, k->out.data);
	forgive_upper_half(k, in, got, k->out.data);
	if (!memcmp(got, k->out.data, HJ_DATA_SIZE))
		return;
	for (unsigned i = 0; i < HJ_DATA_SIZE && shown < 16; i += 4)
		if (memcmp(got + i, k->out.data + i, 4) && ++shown)
			differ(v, "  [%08x]: was %08x, expected %08x, got %08x\n", HJ_DATA + i, get32(k->in.data + i),
			       get32(k->out.data + i), get32(got + i));
}

static void show_state(const struct hj_state *s)
{
	printf("  in: eax %08x ecx %08x edx %08x ebx %08x esp %08x ebp %08x esi %08x edi %08x eip %08x eflags %03x\n",
	       s->gpr[0], s->gpr[1], s->gpr[2], s->gpr[3], s->gpr[4], s->gpr[5], s->gpr[6], s->gpr[7], s->eip, s->eflags);
	printf("      segments es %u ss %u ds %u gs %u (0 flat, 1 based, 2 expand-down, 3 read-only)\n",
	       s->segment[HJ_ES], s->segment[HJ_SS], s->segment[HJ_DS], s->segment[HJ_GS]);
}

static void show_fpu(const struct hj_state *s, enum gen_class class)
{
	if (class == GEN_X87 || class == GEN_MMX || class == GEN_SEQUENCE) {
		printf("      fcw %04x fsw %04x ftw %02x\n", get16(s->fx), get16(s->fx + 2), s->fx[4]);
		for (unsigned i = 0; i < 8; i++)
			printf("      st%u %04x.%08x%08x\n", i, get16(s->fx + 40 + 16 * i), get32(s->fx + 36 + 16 * i),
			       get32(s->fx + 32 + 16 * i));
	}
	if (class == GEN_SSE || class == GEN_SSE_FLOAT || class == GEN_SEQUENCE) {
		printf("      mxcsr %04x\n", get32(s->fx + 24));
		for (unsigned i = 0; i < 8; i++)
			printf("      xmm%u %08x %08x %08x %08x\n", i, get32(s->fx + 172 + 16 * i),
			       get32(s->fx + 168 + 16 * i), get32(s->fx + 164 + 16 * i), get32(s->fx + 160 + 16 * i));
	}
}

/* What the memory operand held. */
static void show_operand(const struct judge *j, const struct hj_case *k, const struct insn *in)
{
	uint32_t base = k->in.segment[in->seg] == HJ_SEG_BASED || k->in.segment[in->seg] == HJ_SEG_DOWN ? HJ_DATA : 0;
	uint32_t ea = in->disp, linear;

	(void)j;
	if (!(in->flags & IF_MEM))
		return;
	ea += in->base == GPR_ZERO ? 0 : k->in.gpr[in->base / 8];
	ea += in->index == GPR_ZERO ? 0 : k->in.gpr[in->index / 8] << in->scale;
	linear = base + (in->asize == 4 ? ea : ea & 0xffff);
	printf("      operand at %08x:", linear);
	for (unsigned i = 0; i < 16 && linear - HJ_DATA + i < HJ_DATA_SIZE; i++)
		printf(" %02x", k->in.data[linear - HJ_DATA + i]);
	printf("\n");
}

/* All instructions of the case, one behind the other. */
static void disassemble(const struct hj_case *k, char *text, size_t size)
{
	size_t used = 0;

	for (unsigned at = 0; at < k->len && used + 100 < size;) {
		uint8_t bytes[16] = { 0 };
		struct insn in;

		memcpy(bytes, k->code + at, k->len - at < 15 ? k->len - at : 15);
		insn_decode(&in, bytes, 15, GEN_MODE, 0);
		insn_format(text + used, size - used, bytes, 15, GEN_MODE, k->in.eip + at);
		used += strlen(text + used);
		at += in.op == OP_UD ? k->len : in.len;
		if (at < k->len)
			used += (size_t)snprintf(text + used, size - used, "; ");
	}
}

static void report(struct judge *j, const struct hj_case *k, const struct insn *in, enum gen_class class,
                   uint64_t index, const char *text)
{
	char assembly[1024];

	if (j->shown++ >= j->opt->max)
		return;
	disassemble(k, assembly, sizeof(assembly));
	printf("MISMATCH case %llu (%s): %s   bytes", (unsigned long long)index, gen_class_names[class], assembly);
	for (unsigned i = 0; i < k->len; i++)
		printf(" %02x", k->code[i]);
	printf("\n");
	show_state(&k->in);
	show_fpu(&k->in, class);
	show_operand(j, k, in);
	printf("%s  to repeat: build/hostjudge/judge%s%s -s %llu -i %llu%s%s\n", text, j->opt->programs ? " -p" : "",
	       j->opt->translate ? " -e translate" : "", (unsigned long long)j->opt->seed, (unsigned long long)index,
	       j->opt->only ? " -o " : "", j->opt->only ? j->opt->only : "");
}

static void judge_case(struct judge *j, unsigned n, uint64_t index)
{
	struct hj_case *k = &j->shared->cases[n];
	const struct insn *in = &j->insns[n];
	struct verdict v = { .used = 0 };
	bool comparable;

	run_case(j, k, index);
	comparable = !numeric_came_first(j, k, in);
	if (comparable)
		compare_end(j, k, in, &v);
	compare_integer(j, k, in, &v);
	if (comparable)
		compare_fpu(j, k, in, &v);
	check_pointers(j, k, in, &v);
	compare_memory(j, k, in, &v);
	j->count[j->classes[n]]++;
	if (j->opt->verbose) {
		char assembly[1024];

		disassemble(k, assembly, sizeof(assembly));
		printf("%llu %s: vector %u\n", (unsigned long long)index, assembly, k->vector);
	}
	if (!v.used)
		return;
	j->bad[j->classes[n]]++;
	j->bad_ops[in->op]++;
	report(j, k, in, j->classes[n], index, v.text);
}

/* ---- the program ---- */

static void run_all(struct judge *j)
{
	uint64_t first = j->opt->one ? j->opt->index : 0, end = j->opt->one ? first + 1 : j->opt->cases;

	for (uint64_t at = first; at < end; at += HJ_BATCH) {
		unsigned n = end - at < HJ_BATCH ? (unsigned)(end - at) : HJ_BATCH;

		for (unsigned i = 0; i < n; i++)
			j->classes[i] = gen_case(j->gen, j->opt->seed, at + i, &j->shared->cases[i], &j->insns[i]);
		helper_run(j, n);
		for (unsigned i = 0; i < n; i++)
			judge_case(j, i, at + i);
	}
	helper_run(j, 0);
}

static uint64_t summarise(const struct judge *j)
{
	uint64_t total = 0, bad = 0;
	unsigned shown = 0;

	for (unsigned i = 0; i < GEN_CLASSES; i++) {
		printf("%-12s %9llu cases, %llu mismatches\n", gen_class_names[i], (unsigned long long)j->count[i],
		       (unsigned long long)j->bad[i]);
		total += j->count[i];
		bad += j->bad[i];
	}
	for (unsigned i = 0; i < OP_MAX; i++)
		if (j->bad_ops[i] && shown++ < OPS_SHOWN)
			printf("  %-12s %llu\n", i == OP_NONE ? "(sequence)" : op_name((enum op)i),
			       (unsigned long long)j->bad_ops[i]);
	if (bad)
		printf("to repeat: build/hostjudge/judge%s%s -s %llu -n %llu\n", j->opt->programs ? " -p" : "",
		       j->opt->translate ? " -e translate" : "", (unsigned long long)j->opt->seed,
		       (unsigned long long)j->opt->cases);
	printf("%u instruction forms, seed %llu\n", gen_entries(j->gen), (unsigned long long)j->opt->seed);
	printf("%llu passed, %llu failed\n", (unsigned long long)(total - bad), (unsigned long long)bad);
	return bad;
}

static bool parse(int argc, char **argv, struct options *o)
{
	int c;

	*o = (struct options){ .cases = 400000, .seed = 1, .max = 20 };
	while ((c = getopt(argc, argv, "pe:n:s:i:o:m:v")) != -1) {
		switch (c) {
		case 'p': o->programs = true; break;
		case 'e': o->translate = !strcmp(optarg, "translate"); break;
		case 'n': o->cases = strtoull(optarg, NULL, 0); break;
		case 's': o->seed = strtoull(optarg, NULL, 0); break;
		case 'i':
			o->index = strtoull(optarg, NULL, 0);
			o->one = true;
			break;
		case 'o': o->only = optarg; break;
		case 'm': o->max = (unsigned)strtoul(optarg, NULL, 0); break;
		case 'v': o->verbose = true; break;
		default: return false;
		}
	}
	return optind == argc;
}

int main(int argc, char **argv)
{
	struct options opt;
	struct judge *j;
	char helper[4096];
	uint64_t bad;

	if (!parse(argc, argv, &opt)) {
		fprintf(stderr,
		        "usage: judge [-p] [-e ENGINE] [-n CASES] [-s SEED] [-i INDEX] [-o OP] [-m MAX] [-v]\n");
		return 2;
	}
	j = aligned_alloc(64, (sizeof(*j) + 63) & ~63ul);
	if (!j)
		return 5;
	memset(j, 0, sizeof(*j));
	j->opt = &opt;
	j->gen = gen_create(opt.only);
	if (!j->gen) {
		fprintf(stderr, "judge: no instruction form is called '%s'\n", opt.only ? opt.only : "");
		return 2;
	}
	if (opt.programs)
		gen_only_sequences(j->gen);
	snprintf(helper, sizeof(helper), "%.*shelper",
	         strrchr(argv[0], '/') ? (int)(strrchr(argv[0], '/') - argv[0] + 1) : 0, argv[0]);
	helper_start(j, helper);
	machine_init(j);
	run_all(j);
	bad = summarise(j);
	engine_destroy(j->engine);
	mmu_free(&j->c.mmu);
	ram_free(&j->ram);
	gen_free(j->gen);
	free(j);
	return bad ? 1 : 0;
}
