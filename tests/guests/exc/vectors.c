/*
 * vectors.c - exceptions of single instructions: a table of code, vector, error code, where the pushed EIP points.
 */
#include "exc.h"

struct item {
	const char *name;
	u32 code;
	u32 vector, error;
	int eip;            /* pushed EIP - code */
	const char *bad_on; /* emulator that does not do this */
};

static u8 memory[64] ALIGNED(16);
static u32 bounds[2] = { 10, 20 };

static bool is_trap(u32 vector)
{
	return vector == BP || vector == OF || vector == DB;
}

static void check_item(const struct item *item, unsigned cpl, u32 flags)
{
	struct ctx c;

	test("cpl%u %s flags %x", cpl, item->name, flags);
	if (item->bad_on)
		known(item->bad_on, "not checked");
	ctx_init(&c, cpl, item->code);
	c.eax = 0x80000000;
	c.edx = 0xffffffff;
	c.ebx = 0;
	c.ecx = 21;
	c.esi = (u32)memory + 1;
	c.edi = (u32)bounds;
	c.eflags = flags | F_FIXED;
	memset(memory, 0x5a, sizeof(memory));
	cpu_run(&c);
	FAULT(&c, item->vector, item->error, item->code + item->eip);
	EQ(c.cs, sel_code(cpl));
	EQ(c.ss, sel_data(cpl));
	EQ(c.esp, stack_top(cpl));
	EQ(c.eax, 0x80000000);
	EQ(c.edx, 0xffffffff);
	EQ(c.ecx, 21);
	EQ(memory[1], 0x5a);
	if (item->vector == UD || item->vector == GP || is_trap(item->vector)) /* elsewhere arithmetic flags are undefined */
		EQ(c.eflags & ~F_RF, flags | F_FIXED);
}

/* RF in the pushed image is set for faults, clear for traps (SDM vol. 3B 17.3.1.1). */
static void resume_flag(unsigned cpl)
{
	struct ctx c;
	u32 code = CODE("ud2");

	test("cpl%u RF is pushed set by a fault", cpl);
	known("tcg", "RF is not set in the pushed image");
	run_at(&c, cpl, code);
	FAULT(&c, UD, NO_ERROR, code);
	EQ(c.eflags & F_RF, F_RF);
	test("cpl%u RF is pushed clear by INT n and INT3", cpl);
	run_at(&c, cpl, CODE("nop"));
	EQ(c.eflags & F_RF, 0);
	run_at(&c, cpl, CODE("int3"));
	EQ(c.vector, BP);
	EQ(c.eflags & F_RF, 0);
}

static void not_taken(unsigned cpl)
{
	struct ctx c;

	test("cpl%u into, bound, div that do not trap", cpl);
	ctx_init(&c,
	         cpl, CODE("into; bound %ecx, (%edi); mov $10, %ecx; bound %ecx, (%edi); mov $7, %eax; xor %edx, %edx; mov $2, %ecx; div %ecx"));
	c.ecx = 20;
	c.edi = (u32)bounds;
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, 3);
	EQ(c.edx, 1);
}

/* Alignment is checked at CPL 3 with CR0.AM and EFLAGS.AC only. */
static void alignment(unsigned cpl)
{
	const struct {
		const char *name;
		u32 code;
		u32 offset;
		bool aligned;
	} items[] = {
		{ "word read at 1", CODE("mov (%esi), %ax"), 1, false },
		{ "word read at 2", CODE("mov (%esi), %ax"), 2, true },
		{ "dword read at 2", CODE("mov (%esi), %eax"), 2, false },
		{ "dword read at 4", CODE("mov (%esi), %eax"), 4, true },
		{ "byte read at 3", CODE("mov (%esi), %al"), 3, true },
		{ "dword write at 1", CODE("mov %eax, (%esi)"), 1, false },
		{ "dword rmw at 3", CODE("addl $1, (%esi)"), 3, false },
		{ "qword fild at 4", CODE("fildll (%esi); fstp %st"), 4, false },
		{ "qword fild at 8", CODE("fildll (%esi); fstp %st"), 8, true },
		{ "cmpxchg8b at 4", CODE("cmpxchg8b (%esi)"), 4, false },
		{ "movsw from 1", CODE("movsw"), 1, false },
		{ "far pointer at 2", CODE("lfs (%esi), %eax"), 2, false },
	};
	u32 cr0 = get_cr0();
	struct ctx c;

	for (unsigned i = 0; i < COUNT(items); i++) {
		for (unsigned on = 0; on < 4; on++) {
			bool faults = on == 3 && cpl == 3 && !items[i].aligned;

			test("cpl%u %s AM %u AC %u", cpl, items[i].name, on & 1, on >> 1);
			if (faults)
				known("tcg", "alignment is not checked");
			set_cr0(on & 1 ? cr0 | CR0_AM : cr0 & ~CR0_AM);
			memset(memory, 0, sizeof(memory));
			ctx_init(&c, cpl, items[i].code);
			c.esi = (u32)memory + items[i].offset;
			c.edi = (u32)memory + 32;
			c.eflags = F_FIXED | (on & 2 ? F_AC : 0);
			cpu_run(&c);
			if (faults)
				FAULT(&c, AC, 0, items[i].code);
			else
				FINE(&c);
		}
	}
	set_cr0(cr0);
}

void exc_vectors(unsigned cpl)
{
	const struct item items[] = {
		{ "div by 0", CODE("divl %ebx"), DE, NO_ERROR, 0, NULL },
		{ "div overflow", CODE("divl %ecx"), DE, NO_ERROR, 0, NULL },
		{ "divb by 0", CODE("divb %bl"), DE, NO_ERROR, 0, NULL },
		{ "idiv by 0", CODE("idivl %ebx"), DE, NO_ERROR, 0, NULL },
		{ "idiv of the most negative by -1", CODE("idivl %edx"), DE, NO_ERROR, 0, NULL },
		{ "idivw overflow", CODE("idivw %dx"), DE, NO_ERROR, 0, NULL },
		{ "aam 0", CODE(".byte 0xd4, 0"), DE, NO_ERROR, 0, NULL },
		{ "div by memory 0", CODE("movl $0, -64(%esp); divl -64(%esp)"), DE, NO_ERROR, 8, NULL },
		{ "int1", CODE(".byte 0xf1"), DB, NO_ERROR, 1, "tcg" },
		{ "int3", CODE("int3"), BP, NO_ERROR, 1, NULL },
		{ "int $3", CODE(".byte 0xcd, 3"), BP, NO_ERROR, 2, NULL },
		{ "bound below", CODE("bound %ebx, (%edi)"), BR, NO_ERROR, 0, NULL },
		{ "bound above", CODE("bound %ecx, (%edi)"), BR, NO_ERROR, 0, NULL },
		{ "boundw", CODE("bound %dx, (%edi)"), BR, NO_ERROR, 0, NULL },
		{ "ud2", CODE("ud2"), UD, NO_ERROR, 0, NULL },
		{ "ud2 after a prefix", CODE("data16 ud2"), UD, NO_ERROR, 0, NULL },
		{ "lock nop", CODE(".byte 0xf0, 0x90"), UD, NO_ERROR, 0, NULL },
		{ "lock add to register", CODE(".byte 0xf0, 0x01, 0xd8"), UD, NO_ERROR, 0, NULL },
		{ "lock mov", CODE(".byte 0xf0, 0x89, 0x06"), UD, NO_ERROR, 0, "tcg" },
		{ "mov to cs", CODE(".byte 0x8e, 0xc8"), UD, NO_ERROR, 0, NULL },
		{ "mov to segment 6", CODE(".byte 0x8e, 0xf0"), UD, NO_ERROR, 0, NULL },
		{ "lea of a register", CODE(".byte 0x8d, 0xc0"), UD, NO_ERROR, 0, NULL },
		{ "les of a register", CODE(".byte 0xc4, 0xc0"), UD, NO_ERROR, 0, "tcg" },
		{ "bound of a register", CODE(".byte 0x62, 0xc0"), UD, NO_ERROR, 0, NULL },
		{ "cmpxchg8b of a register", CODE(".byte 0x0f, 0xc7, 0xc8"), UD, NO_ERROR, 0, NULL },
		{ "0f 0b after 15 bytes of prefix",
		  CODE(".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66, 0x90"), GP, 0,
		  0, NULL },
		{ "jmp far of a register", CODE(".byte 0xff, 0xe8"), UD, NO_ERROR, 0, "tcg" },
		{ "lgdt of a register", CODE(".byte 0x0f, 0x01, 0xd0"), UD, NO_ERROR, 0, NULL },
		{ "sidt of a register", CODE(".byte 0x0f, 0x01, 0xcf"), UD, NO_ERROR, 0, NULL },
		{ "int 8, not open to rings", CODE("int $8"), GP, 8 * 8 + 2, 0, NULL },
		{ "mov of an absent data segment", CODE("mov $0x100, %di; mov %edi, %es"), NP, 0x100, 4, NULL },
		{ "mov of a bad selector", CODE("mov $0x7fb, %di; mov %edi, %es"), GP, 0x7f8, 4, NULL },
		{ "mov of a selector in no LDT", CODE("mov $0x0f, %di; mov %edi, %es"), GP, 0x0c, 4, NULL },
	};

	gdt_set(0x100, desc(0, 0xfffff, A_FLAT_DATA(3) & ~A_P));
	gdt[0x7f8 >> 3] = 0;
	for (unsigned i = 0; i < COUNT(items); i++) {
		if (cpl == 0 && items[i].vector == GP && items[i].error == 8 * 8 + 2)
			continue; /* CPL 0 may; see exc_delivery */
		check_item(&items[i], cpl, 0);
		check_item(&items[i], cpl, F_CF | F_SF | F_DF);
	}
	test("cpl%u into", cpl);
	{
		u32 code = CODE("into");
		struct ctx c;

		ctx_init(&c, cpl, code);
		c.eflags = F_FIXED | F_OF;
		cpu_run(&c);
		FAULT(&c, OF, NO_ERROR, code + 1);
		EQ(c.eflags, F_FIXED | F_OF);
	}
	resume_flag(cpl);
	not_taken(cpl);
	alignment(cpl);
}
