/*
 * straddle.c - accesses and instructions that lie in two pages, one of which is missing or may not be written: CR2 names the byte, and nothing is done.
 */
#include "paging.h"

static void set_pages(u32 a, u32 b)
{
	set_entry(PAGE_A, a ? FRAME_A | a : 0);
	set_entry(PAGE_B, b ? FRAME_B | b : 0);
}

static void data(void)
{
	const struct {
		const char *name;
		u32 code;
		u32 size;
		bool write;
	} items[] = {
		{ "word read", CODE("mov (%esi), %ax"), 2, false },
		{ "dword read", CODE("mov (%esi), %eax"), 4, false },
		{ "qword read", CODE("fildll (%esi); fstp %st"), 8, false },
		{ "tbyte read", CODE("fldt (%esi); fstp %st"), 10, false },
		{ "far pointer", CODE("lgs (%esi), %ecx"), 6, false },
		{ "bound", CODE("xor %ebx, %ebx; bound %ebx, (%esi)") + 2, 8, false },
		{ "word write", CODE("mov %ax, (%esi)"), 2, true },
		{ "dword write", CODE("mov %eax, (%esi)"), 4, true },
		{ "dword add", CODE("addl $1, (%esi)"), 4, true },
		{ "cmpxchg8b", CODE("cmpxchg8b (%esi)"), 8, true },
		{ "qword write", CODE("fistpll (%esi)"), 8, true },
		{ "movsd", CODE("movsl"), 4, true },
	};
	struct ctx c;

	asm_volatile("clts");
	for (unsigned i = 0; i < COUNT(items); i++) {
		bool parts = items[i].size == 6; /* which part of a far pointer is read first is not defined */

		for (u32 before = 1; before < items[i].size; before++) {
			u32 address = PAGE_B - before, error = items[i].write ? PF_W | PF_U : PF_U;

			test("%s, %u bytes before the boundary", items[i].name, before);
			if (items[i].write)
				known("tcg", "a read-modify-write may fault as a read");
			for (unsigned missing = 0; missing < 4; missing++) {
				asm_volatile("fninit; fld1");
				set_pages(ALL, ALL);
				memset((void *)(PAGE_B - 16), 0x00, 32);
				set_pages(missing & 1 ? 0 : ALL, missing & 2 ? 0 : ALL);
				ctx_init(&c, 3, items[i].code);
				c.esi = address;
				c.ebx = 0;
				if (i == COUNT(items) - 1) { /* movsd: source in ESI */
					c.edi = address;
					c.esi = stack_top(3);
				}
				c.eax = 0;
				cpu_run(&c);
				if (!missing) {
					FINE(&c);
				} else {
					FAULT(&c, PF, error, items[i].code);
					if (!parts)
						EQ(c.cr2, missing & 1 ? address : PAGE_B);
					TRUE(c.cr2 >= (missing & 1 ? address : PAGE_B) && c.cr2 < address + items[i].size);
				}
				EQ(c.esp, stack_top(3));
			}
			if (!items[i].write)
				continue;
			test("%s, %u bytes before a read-only page", items[i].name, before);
			asm_volatile("fninit; fld1");
			set_pages(ALL, P_P | P_U);
			memset((void *)(FRAME_A + 0x1000 - 16), 0x5a, 16);
			ctx_init(&c, 3, items[i].code);
			c.esi = address;
			if (i == COUNT(items) - 1) {
				c.edi = address;
				c.esi = stack_top(3);
			}
			cpu_run(&c);
			FAULT(&c, PF, PF_P | PF_W | PF_U, items[i].code);
			EQ(c.cr2, PAGE_B);
			EQ(*(volatile u8 *)(FRAME_A + 0xfff), 0x5a); /* nothing of it was written */
			EQ(*(volatile u8 *)(FRAME_A + 0x1000 - before), 0x5a);
		}
	}
	asm_volatile("fninit");
}

static void stack(void)
{
	u32 pushes[] = { CODE("push %eax"), CODE("call 1f; 1:"), CODE("pushf"), CODE("pusha"), CODE("enter $0, $0") };
	u32 pop = CODE("pop %eax");
	struct ctx c;

	for (unsigned i = 0; i < COUNT(pushes); i++) {
		test("push %u over the boundary into a missing page", i);
		set_pages(0, ALL);
		ctx_init(&c, 3, pushes[i]);
		c.esp = PAGE_B + 2;
		cpu_run(&c);
		EQ(c.vector, PF);
		EQ(c.error, PF_W | PF_U);
		EQ(c.eip, pushes[i]);
		EQ(c.esp, PAGE_B + 2);
		EQ(c.ebp, 0xb9b9b9b9);
		TRUE(c.cr2 < PAGE_B && c.cr2 >= PAGE_B - 32);
	}
	test("pop over the boundary into a missing page");
	set_pages(ALL, 0);
	ctx_init(&c, 3, pop);
	c.esp = PAGE_B - 1;
	cpu_run(&c);
	FAULT(&c, PF, PF_U, pop);
	EQ(c.cr2, PAGE_B);
	EQ(c.esp, PAGE_B - 1);
	EQ(c.eax, 0xaaaaaaaa);
}

/* mov $0x12345678, %eax; int $0x70, at every distance from the boundary */
static void instructions(void)
{
	static const u8 code[] = { 0xb8, 0x78, 0x56, 0x34, 0x12, 0xcd, 0x70 };
	struct ctx c;

	for (u32 before = 1; before < 7; before++) {
		u32 at = PAGE_B - before;

		test("instruction %u bytes before the boundary", before);
		known("bochs", "keeps instructions that lie in two pages");
		set_pages(ALL, ALL);
		memcpy((void *)at, code, sizeof(code));
		run_at(&c, 3, at);
		FINE(&c);
		EQ(c.eax, 0x12345678);
		set_pages(ALL, 0);
		run_at(&c, 3, at);
		EQ(c.vector, PF);
		EQ(c.error, PF_U);
		EQ(c.cr2, PAGE_B);
		EQ(c.eip, before < 5 ? at : at + 5);
		EQ(c.eax, before < 5 ? 0xaaaaaaaa : 0x12345678);
		set_pages(0, ALL);
		run_at(&c, 0, at);
		FAULT(&c, PF, 0, at);
		EQ(c.cr2, at);
	}
	test("jump that lands one byte before a missing page");
	set_pages(ALL, 0);
	*(volatile u8 *)(PAGE_B - 1) = 0x90;
	run_at(&c, 3, PAGE_B - 1);
	FAULT(&c, PF, PF_U, PAGE_B);
	EQ(c.cr2, PAGE_B);
}

/* A segment whose base makes an access run over the top of the linear address space. */
static void wrap(void)
{
	u32 top = 0xfffff000;
	struct ctx c;

	test("an access over 4 GiB goes on at linear 0");
	map_page(top, FRAME_A | ALL);
	invlpg(top);
	*(volatile u16 *)(FRAME_A + 0xffe) = 0x1234;
	gdt_set(0x100, desc(0x1000, 0xfffff, A_FLAT_DATA(3)));
	ctx_init(&c, 3, CODE("mov %fs:(%esi), %eax; mov %fs:1(%esi), %ebx; mov %fs:2(%esi), %ecx"));
	c.fs = 0x103;
	c.esi = 0xffffe000 + 0xffe;
	cpu_run(&c);
	FINE(&c);
	{
		u32 first;

		asm_volatile("mov 0, %0" : "=r"(first));
		EQ(c.eax, 0x1234 | first << 16);
		EQ(c.ebx, 0x12 | first << 8);
		EQ(c.ecx, first);
	}
	map_page(top, 0);
	invlpg(top);
}

void paging_straddle(void)
{
	data();
	stack();
	instructions();
	wrap();
}
