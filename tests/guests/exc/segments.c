/*
 * segments.c - limits and rights of segments on use: every kind of segment, access size and kind around the limit, with the stack's #SS; code limits.
 */
#include "exc.h"

enum { SLOT = 0x100, LIMIT = 0xfff };

static u8 arena[0x20000] ALIGNED(4096);

enum kind { READ, WRITE, MODIFY };

struct seg {
	const char *name;
	u32 attr; /* without DPL */
	bool readable, writable, down;
	u32 top; /* expand-down: highest offset */
};

static const struct seg segs[] = {
	{ "read-only data", A_P | A_DATA, true, false, false, 0 },
	{ "data", A_P | A_DATA | A_RW | A_DB, true, true, false, 0 },
	{ "expand-down data, 16 bits", A_P | A_DATA | A_RW | A_EXPAND, true, true, true, 0xffff },
	{ "expand-down data, 32 bits", A_P | A_DATA | A_RW | A_EXPAND | A_DB, true, true, true, 0xffffffff },
	{ "readable code", A_P | A_CODE | A_RW | A_DB, true, false, false, 0 },
};

struct access {
	const char *name;
	u32 code;
	u32 size;
	enum kind kind;
};

static bool inside(const struct seg *s, u32 offset, u32 size)
{
	u64 last = (u64)offset + size - 1;

	if (s->down)
		return offset > LIMIT && last <= s->top;
	return last <= LIMIT;
}

static bool allowed(const struct seg *s, const struct access *a, u32 offset)
{
	bool right = a->kind == READ ? s->readable : a->kind == WRITE ? s->writable : s->readable && s->writable;

	return right && inside(s, offset, a->size);
}

static void data_access(const struct seg *s, const struct access *a)
{
	static const u32 offsets[] = { 0,          1,          LIMIT - 16, LIMIT - 15, LIMIT - 14, LIMIT - 9, LIMIT - 8,
		                       LIMIT - 7,  LIMIT - 6,  LIMIT - 3,  LIMIT - 2,  LIMIT - 1,  LIMIT,     LIMIT + 1,
		                       LIMIT + 2,  0xfff0,     0xfffc,     0xfffd,     0xfffe,     0xffff,    0x10000,
		                       0xffffff00, 0xfffffff0, 0xfffffffc, 0xfffffffd, 0xfffffffe, 0xffffffff };
	struct ctx c;

	test("%s, %s", s->name, a->name);
	known("tcg", "segments are not checked on use");
	gdt_set(SLOT, desc((u32)arena + 0x1000, LIMIT, s->attr | A_DPL(3)));
	for (unsigned i = 0; i < COUNT(offsets); i++) {
		ctx_init(&c, i & 1 ? 3 : 0, a->code);
		c.fs = SLOT | 3;
		c.esi = offsets[i];
		cpu_run(&c);
		if (allowed(s, a, offsets[i]))
			FINE(&c);
		else
			FAULT(&c, GP, 0, a->code);
	}
}

static void data_accesses(void)
{
	const struct access accesses[] = {
		{ "byte read", CODE("mov %fs:(%esi), %al"), 1, READ },
		{ "byte write", CODE("mov %al, %fs:(%esi)"), 1, WRITE },
		{ "byte add", CODE("addb $1, %fs:(%esi)"), 1, MODIFY },
		{ "word read", CODE("mov %fs:(%esi), %ax"), 2, READ },
		{ "word write", CODE("mov %ax, %fs:(%esi)"), 2, WRITE },
		{ "dword read", CODE("mov %fs:(%esi), %eax"), 4, READ },
		{ "dword write", CODE("mov %eax, %fs:(%esi)"), 4, WRITE },
		{ "dword xchg", CODE("xchg %eax, %fs:(%esi)"), 4, MODIFY },
		{ "dword cmp", CODE("cmpl $0, %fs:(%esi)"), 4, READ },
		{ "lodsl", CODE("fs lodsl"), 4, READ },
		{ "qword fild", CODE("fildll %fs:(%esi); fstp %st"), 8, READ },
		{ "qword fistp", CODE("fldz; fistpll %fs:(%esi)") + 2, 8, WRITE },
		{ "tbyte fld", CODE("fldt %fs:(%esi); fstp %st"), 10, READ },
		{ "cmpxchg8b", CODE("cmpxchg8b %fs:(%esi)"), 8, MODIFY },
		{ "far pointer", CODE("lgs %fs:(%esi), %ecx"), 6, READ },
		{ "movups", CODE("movups %fs:(%esi), %xmm0"), 16, READ },
	};

	set_cr0(get_cr0() & ~(CR0_EM | CR0_TS));
	set_cr4(get_cr4() | CR4_OSFXSR);
	for (unsigned i = 0; i < COUNT(segs); i++) {
		for (unsigned j = 0; j < COUNT(accesses); j++) {
			memset(arena, 0, sizeof(arena)); /* the far pointer is null then */
			asm_volatile("fninit; fldz");
			data_access(&segs[i], &accesses[j]);
		}
	}
	set_cr4(get_cr4() & ~CR4_OSFXSR);
}

struct push {
	const char *name;
	u32 code;
	u32 bytes;
};

/* Pushes around both ends of a small stack at CPL 3. */
static void stack_limits(void)
{
	const struct push pushes[] = {
		{ "push", CODE("push %eax"), 4 },
		{ "push word", CODE("push %ax"), 2 },
		{ "pusha", CODE("pusha"), 32 },
		{ "call", CODE("call 1f; 1:"), 4 },
		{ "pushf", CODE("pushf"), 4 },
		{ "enter", CODE("enter $0, $0"), 4 },
		{ "push memory", CODE("pushl %fs:(%edx)"), 4 },
		{ "far call", CODE("push %cs; add $4, %esp; lcall $0x1b, $1f; 1:") + 4, 8 },
	};
	static const u32 tops[] = { 0,  1,         2,     3,         4,         7,         8,         31,    32,
		                    33, LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + 2, LIMIT + 4, LIMIT + 5, 0x8000 };
	struct ctx c;

	gdt_set(SLOT, desc((u32)arena, LIMIT, A_P | A_DATA | A_RW | A_DB | A_DPL(3)));
	for (unsigned i = 0; i < COUNT(pushes); i++) {
		test("stack limit, %s", pushes[i].name);
		known("tcg", "segments are not checked on use");
		for (unsigned j = 0; j < COUNT(tops); j++) {
			bool fits = tops[j] >= pushes[i].bytes && tops[j] <= LIMIT + 1;

			ctx_init(&c, 3, pushes[i].code);
			c.ss = SLOT | 3;
			c.esp = tops[j];
			c.edx = (u32)arena;
			cpu_run(&c);
			if (fits) {
				FINE(&c);
				EQ(c.esp, tops[j] - pushes[i].bytes);
			} else {
				FAULT(&c, SS, 0, pushes[i].code);
				EQ(c.esp, tops[j]);
				EQ(c.ebp, 0xb9b9b9b9);
			}
		}
	}
	test("stack limit, pop and ebp");
	known("tcg", "segments are not checked on use");
	{
		u32 pop = CODE("pop %eax"), read = CODE("mov (%ebp), %eax"), leave = CODE("leave");

		ctx_init(&c, 3, pop);
		c.ss = SLOT | 3;
		c.esp = LIMIT - 2;
		cpu_run(&c);
		FAULT(&c, SS, 0, pop);
		EQ(c.esp, LIMIT - 2);
		ctx_init(&c, 3, read);
		c.ss = SLOT | 3;
		c.ebp = LIMIT - 2;
		cpu_run(&c);
		FAULT(&c, SS, 0, read);
		ctx_init(&c, 3, leave);
		c.ss = SLOT | 3;
		c.esp = 0x100;
		c.ebp = LIMIT - 2;
		cpu_run(&c);
		FAULT(&c, SS, 0, leave);
		EQ(c.esp, 0x100);
		EQ(c.ebp, LIMIT - 2);
	}
}

/* A 16-bit stack wraps at 64 KiB and leaves the upper half of ESP alone (IRET to it does too: the code sets ESP itself). */
static void stack16(void)
{
	struct ctx c;

	test("16-bit stack");
	gdt_set(SLOT, desc((u32)arena, 0xffff, A_P | A_DATA | A_RW | A_DPL(3)));
	ctx_init(&c, 3, CODE("mov $0xabcd0004, %esp; push %eax; push %ebx; pop %ecx; call 1f; 1: pop %edx"));
	c.ss = SLOT | 3;
	c.eax = 0x12345678;
	c.ebx = 0x9abcdef0;
	cpu_run(&c);
	FINE(&c);
	EQ(c.esp, 0xabcd0000);
	EQ(c.ecx, 0x9abcdef0);
	EQ(*(u32 *)arena, 0x12345678);
	EQ(*(u32 *)(arena + 0xfffc), c.edx);
	test("16-bit stack, pusha and enter");
	ctx_init(&c, 3, CODE("mov $0xabcd0010, %esp; enter $16, $0; pusha"));
	c.ss = SLOT | 3;
	c.eax = 0x77777777;
	cpu_run(&c);
	FINE(&c);
	EQ(c.esp, 0xabcdffdc);
	EQ(*(u32 *)(arena + 0xfff8), 0x77777777);
}

static void code_limits(void)
{
	u32 run_off = CODE("nop; nop; nop"), jump = CODE("nop; jmp 1f; .skip 16; 1: nop"),
	    straddle = CODE("nop; mov $0x12345678, %eax");
	u32 call = CODE("call *%edx"), ret = CODE("ret"), stack;
	struct ctx c;

	test("code limit, running off the end");
	known("tcg", "segments are not checked on use");
	gdt_set(SLOT, desc(0, run_off + 1, (A_FLAT_CODE(3) & ~A_G)));
	for (unsigned i = 0; i < 3; i++) {
		u32 limit = (i == 0 ? run_off : i == 1 ? jump : straddle) + 2;

		/* byte-granular limits reach 1 MiB: base the segment so that the code is near its start */
		gdt_set(SLOT, desc(0x100000, limit - 0x100000, A_FLAT_CODE(3) & ~A_G));
		ctx_init(&c, 3, limit - 2 - 0x100000);
		c.cs = SLOT | 3;
		cpu_run(&c);
		FAULT(&c, GP, 0, limit - 2 - 0x100000 + (i == 0 ? 3 : 1));
	}
	test("code limit, call and ret");
	if (cannot("tcg", "segments are not checked on use"))
		return;
	gdt_set(SLOT, desc(0x100000, call + 1 - 0x100000, A_FLAT_CODE(3) & ~A_G));
	ctx_init(&c, 3, call - 0x100000);
	c.cs = SLOT | 3;
	c.edx = 0xffff0000;
	stack = c.esp;
	cpu_run(&c);
	FAULT(&c, GP, 0, call - 0x100000);
	EQ(c.esp, stack);
	gdt_set(SLOT, desc(0x100000, ret - 0x100000, A_FLAT_CODE(3) & ~A_G));
	ctx_init(&c, 3, ret - 0x100000);
	c.cs = SLOT | 3;
	c.esp -= 16;
	stack = c.esp;
	*(u32 *)stack = 0x80000000;
	cpu_run(&c);
	FAULT(&c, GP, 0, ret - 0x100000);
	EQ(c.esp, stack);
}

static void code_as_data(void)
{
	u32 target;
	struct ctx c;

	test("writing to and reading from CS");
	known("tcg", "segments are not checked on use");
	target = CODE("mov %eax, %cs:(%esi)");
	ctx_init(&c, 3, target);
	c.esi = (u32)arena;
	cpu_run(&c);
	FAULT(&c, GP, 0, target);
	target = CODE("mov %cs:(%esi), %eax");
	*(u32 *)arena = 0x13572468;
	ctx_init(&c, 3, target);
	c.esi = (u32)arena;
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, 0x13572468);
	test("reading execute-only code");
	known("tcg", "segments are not checked on use");
	gdt_set(SLOT, desc(0, 0xfffff, A_FLAT_CODE(3) & ~A_RW));
	ctx_init(&c, 3, target);
	c.cs = SLOT | 3;
	c.esi = (u32)arena;
	cpu_run(&c);
	FAULT(&c, GP, 0, target);
}

/* base + offset is taken modulo 4 GiB. */
static void wrap(void)
{
	struct ctx c;

	test("linear addresses wrap at 4 GiB");
	gdt_set(SLOT, desc((u32)arena + 0x1000, 0xfffff, A_FLAT_DATA(3)));
	*(u32 *)(arena + 0xff0) = 0xcafef00d;
	ctx_init(&c, 3, CODE("mov %fs:(%esi), %eax"));
	c.fs = SLOT | 3;
	c.esi = -0x10;
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, 0xcafef00d);
	test("effective addresses wrap at 32 and 16 bits");
	ctx_init(&c, 3, CODE("mov 0x20(%esi,%edi,8), %eax; addr16 mov %fs:0xf000(%bx,%si), %ecx"));
	c.fs = SLOT | 3;
	c.esi = (u32)arena + 0xff0;
	c.edi = -4;
	c.ebx = 0x12340000u | 0x1000;
	*(u32 *)(arena + 0x1000 + ((c.esi + 0x1000 + 0xf000) & 0xffff)) = 0xfeedbeef;
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, 0xcafef00d);
	EQ(c.ecx, 0xfeedbeef);
}

void exc_segments(void)
{
	data_accesses();
	stack_limits();
	stack16();
	code_limits();
	code_as_data();
	wrap();
}
