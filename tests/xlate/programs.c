/*
 * programs.c - random programs through the interpreter and through the translator: after every stretch of a budget both must agree on everything.
 *
 *     programs [--seed N] [--count N] [--budgets N] [--room BYTES] [--windows] [--verbose]
 *
 * Each program runs three times: interpreted at one go, translated at one go, and translated in stretches of random budgets (with the interpreter following, so that
 * states in between are compared too). Registers, flags, x87 and SSE state, instruction counts, how it ended, memory and page tables are compared. The translator is told to
 * translate everything before it runs.
 *
 * With --budgets each program runs instead in stretches of 1, of 2, ... of N instructions: whatever the length, the translator must be in the state that the
 * interpreter, stepped one by one, had at that count.
 *
 * With --windows the code goes through the window (vmm/mem/window.h) from the first. With --room translated code has so little room that it goes again and again. Before all that: memory is never writable and executable at once, and data
 * beside code does not make code be translated again.
 *
 * Last line: a line of counts. A failure prints the seed, the program and the difference.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/xlate/gen.h"
#include "vmm/cpu/far.h"
#include "vmm/cpu/mem.h"
#include "vmm/cpu/segment.h"
#include "vmm/digest.h"
#include "vmm/engine/engine.h"
#include "vmm/ring/ring.h"

#define MEMORY 0x600000u
#define PD 0x1000u
#define PT 0x2000u
#define TWIN                                                                                                           \
	0x3000u /* the second page of code, in every other load of a program, so that what was translated across its beginning finds another page there */
#define PTE_USER 0x07u
#define PTE_READ 0x05u

struct machine {
	struct vcpu c;
	struct ram ram;
	struct engine *engine;
	unsigned loads;
};

struct test {
	struct machine *interp, *xlate;
	struct program p;
	uint64_t seed;
	unsigned long insns, exits[32];
	bool verbose;
};

static void put32(struct ram *ram, uint64_t gpa, uint32_t v)
{
	ram_write(ram, gpa, &v, sizeof(v));
}

static struct machine *machine_create(bool translate)
{
	struct machine *m = aligned_alloc(64, (sizeof(*m) + 63) & ~63ul);
	struct vcpu *c;

	if (!m)
		exit(5);
	memset(m, 0, sizeof(*m));
	c = &m->c;
	if (ram_init(&m->ram, MEMORY) || mmu_init(&c->mmu, &m->ram, false) ||
	    (translate ? engine_translate_create(&m->engine, c) : engine_interp_create(&m->engine, c))) {
		printf("the translator does not run here\n");
		exit(77);
	}
	engine_set_hot(m->engine, 0);
	c->ring0_becomes = 1;
	vcpu_reset(c);
	c->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_ET | CR0_WP | CR0_MP;
	c->cr3 = PD;
	c->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
	return m;
}

/* Where it is already, what was translated from it stays. */
static void load_code(struct machine *m, uint32_t gpa, const uint8_t *page)
{
	if (memcmp(m->ram.host + gpa, page, PAGE_SIZE) != 0)
		ram_write(&m->ram, gpa, page, PAGE_SIZE);
}

/* Pages of code and data at 4 MiB and above are where their linear addresses say, but for the twin. */
static void load_memory(struct machine *m, const struct program *p)
{
	static uint8_t page[PAGE_SIZE], code[XP_CODE_SIZE];
	uint32_t second = ++m->loads % 2 ? XP_CODE + PAGE_SIZE : TWIN;
	uint64_t state = p->data_seed;

	put32(&m->ram, PD + 4, PT | PTE_USER);
	put32(&m->ram, PT + (XP_CODE >> 12 & 1023) * 4, XP_CODE | PTE_USER);
	put32(&m->ram, PT + ((XP_CODE >> 12 & 1023) + 1) * 4, second | PTE_USER);
	for (uint32_t a = XP_DATA; a < XP_DATA + XP_DATA_SIZE; a += PAGE_SIZE)
		put32(&m->ram, PT + (a >> 12 & 1023) * 4, a | (a == XP_DATA + 0x2000 ? PTE_READ : PTE_USER));
	memset(code, 0xcc, sizeof(code));
	memcpy(code + (p->start - XP_CODE), p->code, p->len);
	load_code(m, XP_CODE, code);
	load_code(m, second, code + PAGE_SIZE);
	for (uint32_t a = XP_DATA; a < XP_DATA + XP_DATA_SIZE; a += PAGE_SIZE) {
		for (unsigned i = 0; i < PAGE_SIZE; i += 8) {
			uint64_t v = random_next(&state);

			memcpy(page + i, &v, 8);
		}
		ram_write(&m->ram, a, page, PAGE_SIZE);
	}
	mmu_set_paging(&m->c.mmu, m->c.cr0, m->c.cr3, m->c.cr4, true);
}

static void load_state(struct machine *m, const struct program *p)
{
	struct vcpu *c = &m->c;

	for (unsigned i = 0; i < 8; i++)
		c->gpr[i] = p->gpr[i];
	c->rip = p->start;
	c->cpl = 3;
	c->icount = 0;
	c->inhibit_icount = UINT64_MAX;
	vcpu_set_eflags(c, p->eflags | FL_FIXED | FL_IF);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_set(&c->seg[i], 0x23, 0, 0xffffffff, 0xc0f3, 0xc0f3);
	segment_set(&c->seg[SEG_CS], 0x1b, 0, 0xffffffff, 0xc0fb, 0xc0fb);
	segment_set(&c->seg[SEG_FS], 0x33, p->fs_base, 0xffffffff, 0xc0f3, 0xc0f3);
	segment_set(&c->seg[SEG_GS], 0x3b, 0, p->gs_limit, 0xc0f3, 0xc0f3);
	memcpy(c->fpu.fx, p->fx, sizeof(c->fpu.fx));
	c->cr2 = 0;
	load_memory(m, p);
}

static void run(struct machine *m, uint64_t until)
{
	struct vcpu *c = &m->c;

	memset(&c->exit, 0, sizeof(c->exit));
	ring_enter(c);
	do
		engine_run(m->engine, until);
	while (c->exit.reason == EXIT_BUDGET && c->icount < until);
	ring_leave(c);
}

static int differ(const char *what, unsigned long a, unsigned long b)
{
	if (a != b)
		printf("    %s: interpreter %#lx, translator %#lx\n", what, a, b);
	return a != b;
}

static bool same_state(const struct machine *mi, const struct machine *mx)
{
	static const char *const names[8] = { "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi" };
	const struct vcpu *a = &mi->c, *b = &mx->c;
	int bad = 0;

	for (unsigned i = 0; i < 8; i++)
		bad |= differ(names[i], a->gpr[i], b->gpr[i]);
	bad |= differ("eip", a->rip, b->rip) | differ("eflags", vcpu_get_eflags(a), vcpu_get_eflags(b));
	bad |= differ("icount", a->icount, b->icount) | differ("exit", a->exit.reason, b->exit.reason);
	bad |= differ("inhibit", a->inhibit_icount, b->inhibit_icount);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		bad |= differ("selector", a->seg[i].sel, b->seg[i].sel);
	if (a->exit.reason == EXIT_EXCEPTION && b->exit.reason == EXIT_EXCEPTION)
		bad |= differ("vector", a->exit.vector, b->exit.vector) |
		       differ("error", a->exit.error, b->exit.error) | differ("cr2", a->exit.cr2, b->exit.cr2);
	for (unsigned i = 0; i < 288; i += 4) {
		uint32_t x, y;
		char name[16];

		memcpy(&x, a->fpu.fx + i, 4);
		memcpy(&y, b->fpu.fx + i, 4);
		if (x == y)
			continue;
		snprintf(name, sizeof(name), "fx+%u", i);
		bad |= differ(name, x, y);
	}
	return !bad;
}

static bool same_memory(const struct machine *mi, const struct machine *mx, uint32_t at, uint32_t len)
{
	const uint8_t *a = mi->ram.host + at, *b = mx->ram.host + at;

	if (!memcmp(a, b, len))
		return true;
	for (uint32_t i = 0; i < len; i++) {
		if (a[i] != b[i]) {
			printf("    memory at %#x: interpreter %#x, translator %#x\n", at + i, a[i], b[i]);
			return false;
		}
	}
	return false;
}

static bool same_all(const struct machine *mi, const struct machine *mx)
{
	return same_state(mi, mx) && same_memory(mi, mx, XP_DATA, XP_DATA_SIZE) &&
	       same_memory(mi, mx, XP_CODE, XP_CODE_SIZE) && same_memory(mi, mx, PD, 3 * PAGE_SIZE);
}

static void show(const struct test *t)
{
	uint32_t off = 0;

	while (off < t->p.len) {
		struct insn in;
		char text[128];
		unsigned left = t->p.len - off < 15 ? t->p.len - off : 15;

		if (insn_decode(&in, t->p.code + off, left, MODE_CS32 | MODE_SS32 | MODE_USER, 0) == 0)
			break;
		insn_format(text, sizeof(text), t->p.code + off, left, MODE_CS32 | MODE_SS32, t->p.start + off);
		printf("    %#x  %s\n", t->p.start + off, text);
		off += in.len;
	}
}

static bool failed(const struct test *t, const char *how)
{
	printf("FAILED: seed %llu, %s\n", (unsigned long long)t->seed, how);
	show(t);
	return false;
}

static bool run_program(struct test *t)
{
	uint64_t state = t->seed ^ 0x123456789abcdefull, at = 0;

	program_make(&t->p, t->seed);
	if (t->verbose)
		show(t);
	load_state(t->interp, &t->p);
	load_state(t->xlate, &t->p);
	run(t->interp, t->p.insns);
	run(t->xlate, t->p.insns);
	t->insns += t->interp->c.icount;
	t->exits[t->interp->c.exit.reason == EXIT_EXCEPTION ? t->interp->c.exit.vector : 20 + t->interp->c.exit.reason]++;
	if (!same_all(t->interp, t->xlate))
		return failed(t, "at one go");
	load_state(t->interp, &t->p);
	load_state(t->xlate, &t->p);
	while (at < t->p.insns) {
		at += 1 + random_next(&state) % (random_next(&state) % 16 ? 7 : 300);
		run(t->interp, at);
		run(t->xlate, at);
		if (!same_state(t->interp, t->xlate))
			return failed(t, "in stretches");
		if (t->interp->c.exit.reason != EXIT_BUDGET)
			break;
	}
	if (!same_all(t->interp, t->xlate))
		return failed(t, "in stretches");
	return true;
}

/* What the interpreter had after so many instructions. */
struct moment {
	uint64_t icount;
	uint64_t digest;
	unsigned exit;
};
enum { MOMENTS = 256 };

static struct moment moment(const struct machine *m)
{
	const struct vcpu *c = &m->c;
	uint64_t state[11] = { c->rip, vcpu_get_eflags(c), c->inhibit_icount };

	memcpy(state + 3, c->gpr, 8 * sizeof(uint64_t));
	return (struct moment){ c->icount, digest64(state, sizeof(state), digest64(c->fpu.fx, 288, 0)), c->exit.reason };
}

static bool same_moment(const struct moment *a, const struct moment *b)
{
	return a->icount == b->icount && a->digest == b->digest && a->exit == b->exit;
}

static bool run_stretches(struct test *t, const struct moment *want, unsigned length)
{
	load_state(t->xlate, &t->p);
	for (uint64_t at = length; at < MOMENTS; at += length) {
		struct moment got;

		run(t->xlate, at);
		got = moment(t->xlate);
		if (!same_moment(&got, &want[at])) {
			printf("    in stretches of %u, after %llu instructions\n", length, (unsigned long long)at);
			return failed(t, "budgets");
		}
		if (got.exit != EXIT_BUDGET)
			return true;
	}
	return true;
}

static bool run_budgets(struct test *t, unsigned longest)
{
	struct moment want[MOMENTS];

	program_make(&t->p, t->seed);
	load_state(t->interp, &t->p);
	want[0] = (struct moment){ .exit = EXIT_BUDGET };
	for (unsigned i = 1; i < MOMENTS; i++) {
		if (want[i - 1].exit == EXIT_BUDGET)
			run(t->interp, i);
		want[i] = moment(t->interp);
	}
	t->insns += t->interp->c.icount * longest;
	for (unsigned length = 1; length <= longest; length++) {
		if (!run_stretches(t, want, length))
			return false;
	}
	return true;
}

/* Writable xor executable: every mapping of this process, the translator's two views of code among them. */
static bool maps_are_sane(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned executable = 0;
	bool both = false;
	char line[512], rights[8];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*s %7s", rights) != 1)
			continue;
		both |= strchr(rights, 'w') && strchr(rights, 'x');
		executable += !strcmp(rights, "r-xs");
	}
	if (f)
		fclose(f);
	if (both || !executable)
		printf("FAILED: a mapping is writable and executable, or there is no code\n");
	return !both && executable;
}

/* A loop that counts in memory on its own page: translated once or twice, however often it runs. */
static bool data_beside_code(struct test *t)
{
	static const uint8_t code[] = {
		0xb9, 0x10, 0x27, 0,    0,          /* mov $10000, %ecx */
		0xff, 0x05, 0,    0x08, 0x40, 0,    /* incl XP_CODE + 0x800 */
		0x49, 0x75, 0xf7,                   /* dec %ecx; jnz */
		0xa1, 0,    0x08, 0x40, 0,    0xcc, /* mov XP_CODE + 0x800, %eax; int3 */
	};
	struct engine_counters before, after;

	program_make(&t->p, 1);
	memcpy(t->p.code, code, sizeof(code));
	t->p.len = sizeof(code);
	t->p.start = XP_CODE;
	load_state(t->xlate, &t->p);
	engine_get_counters(t->xlate->engine, &before);
	run(t->xlate, 100000);
	engine_get_counters(t->xlate->engine, &after);
	if (t->xlate->c.icount == 30002 && t->xlate->c.gpr[R_AX] == 0xcccccccc + 10000u &&
	    after.blocks_translated - before.blocks_translated <= 4 &&
	    after.smc_invalidations - before.smc_invalidations == 0)
		return true;
	printf("FAILED: data beside code: %llu instructions, eax %#llx, %llu blocks, %llu invalidations\n",
	       (unsigned long long)t->xlate->c.icount, (unsigned long long)t->xlate->c.gpr[R_AX],
	       (unsigned long long)(after.blocks_translated - before.blocks_translated),
	       (unsigned long long)(after.smc_invalidations - before.smc_invalidations));
	return false;
}

int main(int argc, char **argv)
{
	uint64_t seed = 1, count = 100000, budgets = 0, room = 0, passed = 0, bad = 0;
	struct engine_counters counters;
	static struct test t;
	bool windows = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--seed") && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--count") && i + 1 < argc)
			count = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--budgets") && i + 1 < argc)
			budgets = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--room") && i + 1 < argc)
			room = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--windows"))
			windows = true;
		else if (!strcmp(argv[i], "--verbose"))
			t.verbose = true;
		else
			return 2;
	}
	t.interp = machine_create(false);
	t.xlate = machine_create(true);
	if (!maps_are_sane() || !data_beside_code(&t))
		bad++;
	t.xlate->loads = t.interp->loads;
	if (windows)
		engine_always_window(t.xlate->engine);
	if (room)
		engine_set_code_room(t.xlate->engine, (uint32_t)room);
	for (uint64_t i = 0; i < count && bad < 10; i++) {
		t.seed = seed + i;
		if (budgets ? run_budgets(&t, (unsigned)budgets) : run_program(&t))
			passed++;
		else
			bad++;
	}
	engine_get_counters(t.xlate->engine, &counters);
	printf("%lu instructions, %llu blocks translated, %llu invalidations, %llu times all code gone; ended by",
	       t.insns, (unsigned long long)counters.blocks_translated, (unsigned long long)counters.smc_invalidations,
	       (unsigned long long)counters.code_flushes);
	if (windows && counters.window_pages < count / 10) {
		printf("\nFAILED: the window was hardly used");
		bad++;
	}
	if (room && counters.code_flushes < count / 100) {
		printf("\nFAILED: the code's room was never full");
		bad++;
	}
	for (unsigned i = 0; i < 32; i++) {
		if (t.exits[i])
			printf(" %s%u: %lu", i < 20 ? "vector " : "exit ", i < 20 ? i : i - 20, t.exits[i]);
	}
	printf("\n%llu passed, %llu failed\n", (unsigned long long)passed, (unsigned long long)bad);
	return bad != 0;
}
