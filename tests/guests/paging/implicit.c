/*
 * implicit.c - the processor's own accesses (descriptor tables, TSS, stacks of inner rings) are supervisor accesses at any CPL; self-mapped page tables; aliases.
 */
#include "paging.h"

enum { VECTOR = 0x71, SLOT = 0x7f8 }; /* the last slot of the GDT */

static void tables(void)
{
	u32 load = CODE("mov %ax, %fs"), soft = CODE("int $0x71");
	struct table_ptr high = { sizeof(gdt) - 1, PAGE_A + 0x900 };
	struct ctx c;

	test("descriptor tables in supervisor pages serve level 3");
	memcpy((void *)(FRAME_A + 0x900), gdt, 0x700);
	memcpy((void *)FRAME_B, (u8 *)gdt + 0x700, sizeof(gdt) - 0x700);
	*(volatile u64 *)(FRAME_B + SLOT - 0x700) = desc(0, 0xfffff, A_FLAT_DATA(3));
	set_entry(PAGE_A, FRAME_A | P_P | P_W);
	set_entry(PAGE_B, FRAME_B | P_P | P_W);
	asm_volatile("lgdt %0" : : "m"(high));
	ctx_init(&c, 3, load);
	c.eax = SLOT | 3;
	cpu_run(&c);
	FINE(&c);
	EQ(*(volatile u64 *)(FRAME_B + SLOT - 0x700) >> 40 & 1, 1); /* accessed */
	test("a descriptor in a missing page: #PF of a supervisor");
	set_entry(PAGE_B, 0);
	ctx_init(&c, 3, load);
	c.eax = SLOT | 3;
	cpu_run(&c);
	FAULT(&c, PF, 0, load);
	EQ(c.cr2, PAGE_B + SLOT - 0x700);
	EQ(c.fs, SEL_D3 | 3);
	test("setting accessed in a read-only page with WP");
	*(volatile u64 *)(FRAME_B + SLOT - 0x700) = desc(0, 0xfffff, A_FLAT_DATA(3));
	set_entry(PAGE_B, FRAME_B | P_P);
	set_cr0(get_cr0() | CR0_WP);
	ctx_init(&c, 3, load);
	c.eax = SLOT | 3;
	cpu_run(&c);
	FAULT(&c, PF, PF_P | PF_W, load);
	set_cr0(get_cr0() & ~CR0_WP);
	load_tables();
	test("an IDT entry in a missing page");
	{
		struct table_ptr table = { 0x7ff, PAGE_B - 0x300 }; /* vectors below 0x60 are in the first page */

		memcpy((void *)(FRAME_A + 0xd00), idt, 0x300);
		set_entry(PAGE_A, FRAME_A | P_P | P_W);
		set_entry(PAGE_B, 0);
		asm_volatile("lidt %0" : : "m"(table));
		run_at(&c, 3, soft);
		FAULT(&c, PF, 0, soft);
		EQ(c.cr2, PAGE_B - 0x300 + VECTOR * 8);
		load_tables();
	}
	test("a TSS whose ring-1 stack pointer is in a missing page");
	{
		/* link, ESP0 and SS0 before the boundary */
		*(volatile u32 *)(FRAME_A + 0x1000 - 4) = SEL_D0;
		set_entry(PAGE_A, FRAME_A | P_P | P_W);
		set_entry(PAGE_B, FRAME_B | P_P | P_W);
		memset((void *)FRAME_B, 0, 128);
		gdt_set(SEL_TSS, desc(PAGE_B - 12, 0x67, A_P | A_TSS32));
		asm_volatile("ltr %w0" : : "r"(SEL_TSS));
		set_entry(PAGE_B, 0);
		idt_set(VECTOR, gate(SEL_C1, 0x1000, A_P | A_INT32 | A_DPL(3)));
		ctx_init(&c, 3, soft);
		/* cpu_run() puts its stack into main_tss, not here */
		*(volatile u32 *)(FRAME_A + 0x1000 - 8) = stack_top(0) - 0x800;
		cpu_run(&c);
		FAULT(&c, PF, 0, soft);
		TRUE(c.cr2 == PAGE_B || c.cr2 == PAGE_B + 4); /* ESP1 or SS1, whichever is read first */
		EQ(c.cs, SEL_C3 | 3);
		idt_default(VECTOR);
		load_tables();
	}
	test("page-fault frames go to the stack of ring 0, in a supervisor page");
	set_entry(PAGE_A, FRAME_A | P_P | P_W);
	run_at(&c, 3, CODE("mov 0x40000000, %eax"));
	FAULT(&c, PF, PF_P | PF_U, c.eip);
	EQ(c.cr2, PAGE_A);
}

static void self_map(void)
{
	u32 *window = (u32 *)0xffc00000, *dir = (u32 *)0xfffff000;

	test("page tables seen through themselves");
	set_entry(PAGE_A, FRAME_A | ALL);
	page_dir[1023] = (u32)page_dir | P_P | P_W;
	set_cr3((u32)page_dir);
	EQ(dir[1023] & ~0x60u, (u32)page_dir | P_P | P_W);
	EQ(dir[PAGE_A >> 22] & ~0xfffu, page_dir[PAGE_A >> 22] & ~0xfffu);
	EQ(window[PAGE_A >> 12] & ~0x60u, FRAME_A | ALL);
	*(volatile u32 *)FRAME_A = 0xaaaa0001;
	*(volatile u32 *)FRAME_B = 0xbbbb0002;
	window[PAGE_A >> 12] = FRAME_B | ALL;
	invlpg(PAGE_A);
	EQ(*(volatile u32 *)PAGE_A, 0xbbbb0002);
	test("a walk sets accessed in an entry that is itself read through the window");
	window[PAGE_A >> 12] = FRAME_A | ALL;
	invlpg(PAGE_A);
	EQ(window[PAGE_A >> 12] & (P_A | P_D), 0);
	*(volatile u32 *)PAGE_A = 5;
	EQ(window[PAGE_A >> 12] & (P_A | P_D), P_A | P_D);
	EQ(*(volatile u32 *)FRAME_A, 5);
	page_dir[1023] = 0;
	set_cr3((u32)page_dir);
}

static void aliases(void)
{
	test("two pages of one frame");
	set_entry(PAGE_A, FRAME_A | ALL);
	set_entry(PAGE_B, FRAME_A | ALL);
	for (u32 i = 0; i < 4; i++) {
		*(volatile u32 *)(PAGE_A + 0x10) = 0x1000 + i;
		EQ(*(volatile u32 *)(PAGE_B + 0x10), 0x1000 + i);
		*(volatile u32 *)(PAGE_B + 0x10) = 0x2000 + i;
		EQ(*(volatile u32 *)(PAGE_A + 0x10), 0x2000 + i);
	}
	EQ(*entry_of(PAGE_A) & P_D, P_D);
	EQ(*entry_of(PAGE_B) & P_D, P_D);
}

void paging_implicit(void)
{
	tables();
	self_map();
	aliases();
}
