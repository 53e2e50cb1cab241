/*
 * elsewhere.c - a loop whose functions are on another page: that page's code is changed, by others and by the loop itself, its memory is exchanged for
 * other memory, and taken away.
 */
#include "smc.h"

enum { ROUNDS = 200, THUNK = 0x10, COUNT_ONE = 0x20, PASS_ON = 0x30, ADD = 0x40, SKIP = 0x60 };

static u8 here[4096] ALIGNED(4096);
static u8 there[2][4096] ALIGNED(4096); /* the second takes the first's place */
static u8 written[4096] ALIGNED(4096);  /* by the loop: code that is there again and again may be treated differently */

/* mov (%esp), %ebx; ret - add $step, %edx; ret - jmp back - incl (%esp); ret */
static void make_functions(u8 *page, u32 at, u32 back, u32 step)
{
	static const u8 thunk[] = { 0x8b, 0x1c, 0x24, 0xc3 }, skip[] = { 0xff, 0x04, 0x24, 0xc3 };
	u32 rel = back - (at + PASS_ON + 5);
	u8 count[] = { 0x83, 0xc2, (u8)step, 0xc3 };

	memcpy(page + THUNK, thunk, sizeof(thunk));
	memcpy(page + COUNT_ONE, count, sizeof(count));
	page[PASS_ON] = 0xe9;
	memcpy(page + PASS_ON + 1, &rel, 4);
	memcpy(page + SKIP, skip, sizeof(skip));
}

static u8 *to(u8 *at, unsigned opcode, u32 target)
{
	u32 rel = target - ((u32)at + 5);

	*at = (u8)opcode;
	memcpy(at + 1, &rel, 4);
	return at + 5;
}

static u8 *put(u8 *at, const char *bytes, unsigned n)
{
	memcpy(at, bytes, n);
	return at + n;
}

/* esi: what the thunk was ever wrong by; edx: how often the function was called, ebp: the sum of what was written into one, eax: 0 */
static void make_loop(void)
{
	static const u8 add[] = { 0x83, 0xc5, 0, 0xc3 }; /* add $0, %ebp; ret */
	u32 other = (u32)there[0], returned;
	u8 *at = here + 0x100, *again = at, *back;

	at = to(at, 0xe8, other + THUNK);
	returned = (u32)at;
	at = put(at, "\x81\xeb", 2); /* sub $returned, %ebx */
	memcpy(at, &returned, 4);
	at = put(at + 4, "\x09\xde", 2); /* or %ebx, %esi */
	at = to(at, 0xe8, other + COUNT_ONE);
	at = put(at, "\x88\x0d", 2); /* mov %cl, operand of ADD */
	memcpy(at, &(u32){ (u32)written + ADD + 2 }, 4);
	at = to(at + 4, 0xe8, (u32)written + ADD);
	at = to(at, 0xe8, other + SKIP);
	at = put(at, "\x40", 1); /* inc %eax: skipped */
	at = to(at, 0xe9, other + PASS_ON);
	back = at;
	at = put(at, "\x49\x0f\x85", 3); /* dec %ecx; jnz again */
	memcpy(at, &(u32){ (u32)again - ((u32)at + 4) }, 4);
	put(at + 4, "\xcd\x70", 2);
	memcpy(written + ADD, add, sizeof(add));
	make_functions(there[0], other, (u32)back, 1);
	make_functions(there[1], other, (u32)back, 2);
}

static void start(struct ctx *c, unsigned cpl)
{
	ctx_init(c, cpl, (u32)here + 0x100);
	c->eax = c->edx = c->ebp = c->esi = 0;
	c->ecx = ROUNDS;
}

static void run_loop(unsigned cpl, u32 step, u32 wrong)
{
	struct ctx c;
	u32 sum = 0;

	for (u32 i = 1; i <= ROUNDS; i++)
		sum += (u32)(signed char)i;
	start(&c, cpl);
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, 0);
	EQ(c.edx, step * ROUNDS);
	EQ(c.ebp, sum);
	EQ(c.esi, wrong);
	EQ(c.esp, stack_top(cpl));
}

static void exchange(unsigned which, bool present)
{
	*pte((u32)there[0]) = (u32)there[which] | (present ? 7 : 0);
	invlpg((u32)there[0]);
}

static void taken_away(unsigned cpl)
{
	struct ctx c;

	exchange(0, false);
	start(&c, cpl);
	cpu_run(&c);
	FAULT(&c, PF, cpl == 3 ? PF_U : 0, (u32)there[0] + THUNK);
	EQ(c.cr2, (u32)there[0] + THUNK);
	EQ(c.ecx, ROUNDS);
	EQ(c.esp, stack_top(cpl) - 4);
	exchange(0, true);
}

void code_elsewhere(bool paged)
{
	static const u8 none[] = { 0x31, 0xdb, 0xc3 }; /* xor %ebx, %ebx; ret */

	for (unsigned cpl = 0; cpl < 4; cpl += 3) {
		test("functions on another page, CPL %u%s", cpl, paged ? ", paged" : "");
		make_loop();
		for (u32 i = 0; i < 4; i++)
			run_loop(cpl, 1, 0);
		test("one of them becomes another, CPL %u%s", cpl, paged ? ", paged" : "");
		memcpy(there[0] + THUNK, none, sizeof(none));
		run_loop(cpl, 1, -((u32)here + 0x105));
		make_loop();
		run_loop(cpl, 1, 0);
		if (!paged)
			continue;
		test("their page becomes another, CPL %u", cpl);
		for (u32 i = 0; i < 4; i++) {
			exchange(1, true);
			run_loop(cpl, 2, 0);
			exchange(0, true);
			run_loop(cpl, 1, 0);
		}
		test("their page is taken away, CPL %u", cpl);
		taken_away(cpl);
		run_loop(cpl, 1, 0);
	}
}
