/*
 * tlb.c - invalidation, only what the architecture promises: a changed entry is in force after INVLPG, a CR3 load (unless global), a change of CR4.PGE, PSE or
 * CR0.PG; an entry that was not present is never remembered.
 */
#include "paging.h"

static u32 other_dir[1024] ALIGNED(4096);

static u32 value_at(u32 address)
{
	return *(volatile u32 *)address;
}

/* Fills the translation of PAGE_A to FRAME_A, then changes the entry to FRAME_B. */
static void change(u32 bits)
{
	set_entry(PAGE_A, FRAME_A | ALL | bits);
	EQ(value_at(PAGE_A), 0xaaaa0001);
	*entry_of(PAGE_A) = FRAME_B | ALL | bits;
}

static void invalidations(void)
{
	*(volatile u32 *)FRAME_A = 0xaaaa0001;
	*(volatile u32 *)FRAME_B = 0xbbbb0002;
	test("INVLPG");
	change(0);
	invlpg(PAGE_A + 0x777);
	EQ(value_at(PAGE_A), 0xbbbb0002);
	test("CR3 load");
	change(0);
	set_cr3(get_cr3());
	EQ(value_at(PAGE_A), 0xbbbb0002);
	test("CR0.PG off and on");
	change(0);
	paging_off();
	paging_on();
	EQ(value_at(PAGE_A), 0xbbbb0002);
	test("INVLPG of a global page");
	set_cr4(get_cr4() | CR4_PGE);
	change(P_G);
	invlpg(PAGE_A);
	EQ(value_at(PAGE_A), 0xbbbb0002);
	test("CR4.PGE off flushes global pages");
	change(P_G);
	set_cr4(get_cr4() & ~CR4_PGE);
	EQ(value_at(PAGE_A), 0xbbbb0002);
	test("CR4.PGE on flushes everything");
	change(0);
	set_cr4(get_cr4() | CR4_PGE);
	EQ(value_at(PAGE_A), 0xbbbb0002);
	test("with PGE a CR3 load still flushes pages that are not global");
	change(0);
	set_cr3(get_cr3());
	EQ(value_at(PAGE_A), 0xbbbb0002);
	set_cr4(get_cr4() & ~CR4_PGE);
	test("G means nothing without PGE");
	change(P_G);
	set_cr3(get_cr3());
	EQ(value_at(PAGE_A), 0xbbbb0002);
	test("task switch with another CR3");
	memcpy(other_dir, page_dir, sizeof(other_dir));
	change(0);
	{
		static struct tss task ALIGNED(16);
		struct ctx c;

		task = (struct tss){ .cr3 = (u32)other_dir,
			             .eip = CODE("mov 0x40000000, %eax; mov %cr3, %ebx"),
			             .eflags = F_FIXED,
			             .esp = stack_top(1),
			             .cs = SEL_C0,
			             .ss = SEL_D0,
			             .ds = SEL_D0,
			             .iomap = 0xffff };
		gdt_set(0x100, desc((u32)&task, sizeof(task) - 1, A_P | A_TSS32));
		run_at(&c, 0, CODE("ljmp $0x100, $0"));
		EQ(c.eax, 0xbbbb0002);
		EQ(c.ebx, (u32)other_dir);
		set_cr3((u32)page_dir);
		load_tables();
	}
}

static void appearing(void)
{
	u32 code = CODE("mov (%esi), %eax");
	struct ctx c;

	test("a page that appears needs no invalidation");
	set_entry(PAGE_A, 0);
	ctx_init(&c, 3, code);
	c.esi = PAGE_A;
	cpu_run(&c);
	FAULT(&c, PF, PF_U, code);
	*entry_of(PAGE_A) = FRAME_A | ALL;
	c.esi = PAGE_A;
	c.eip = code;
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, 0xaaaa0001);
	test("a page that goes away faults after INVLPG");
	set_entry(PAGE_A, 0);
	ctx_init(&c, 0, code);
	c.esi = PAGE_A;
	cpu_run(&c);
	FAULT(&c, PF, 0, code);
	test("write protection is in force after INVLPG");
	code = CODE("mov %eax, (%esi)");
	set_entry(PAGE_A, FRAME_A | ALL);
	*(volatile u32 *)PAGE_A = 0xaaaa0001;
	set_entry(PAGE_A, FRAME_A | P_P | P_U);
	ctx_init(&c, 3, code);
	c.esi = PAGE_A;
	cpu_run(&c);
	FAULT(&c, PF, PF_P | PF_W | PF_U, code);
	test("CR0.WP is in force at once");
	set_cr0(get_cr0() & ~CR0_WP);
	ctx_init(&c, 0, code);
	c.esi = PAGE_A;
	cpu_run(&c);
	FINE(&c);
	set_cr0(get_cr0() | CR0_WP);
	ctx_init(&c, 0, code);
	c.esi = PAGE_A;
	cpu_run(&c);
	FAULT(&c, PF, PF_P | PF_W, code);
	set_cr0(get_cr0() & ~CR0_WP);
	test("code moves with its page");
	memcpy((void *)FRAME_A, (void *)(u32)CODE("mov $1, %eax"), 7);
	memcpy((void *)FRAME_B, (void *)(u32)CODE("mov $2, %eax"), 7);
	for (u32 i = 0; i < 6; i++) {
		set_entry(PAGE_A, (i & 1 ? FRAME_B : FRAME_A) | ALL);
		run_at(&c, i & 2 ? 3 : 0, PAGE_A);
		FINE(&c);
		EQ(c.eax, 1 + (i & 1));
	}
}

/* Address spaces that differ in one page; many switches. */
static void spaces(void)
{
	static u32 table[1024] ALIGNED(4096);
	u32 bad = 0;

	test("two address spaces");
	*(volatile u32 *)FRAME_A = 0xaaaa0001;
	*(volatile u32 *)FRAME_B = 0xbbbb0002;
	set_entry(PAGE_A, FRAME_A | ALL);
	memcpy(other_dir, page_dir, sizeof(other_dir));
	table[0] = FRAME_B | ALL;
	other_dir[PAGE_A >> 22] = (u32)table | ALL;
	for (u32 i = 0; i < 1000; i++) {
		set_cr3((u32)(i & 1 ? other_dir : page_dir));
		bad += value_at(PAGE_A) != (i & 1 ? 0xbbbb0002 : 0xaaaa0001);
	}
	EQ(bad, 0);
	set_cr3((u32)page_dir);
}

void paging_tlb(void)
{
	invalidations();
	appearing();
	spaces();
}
