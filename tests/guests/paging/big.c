/*
 * big.c - 4 MiB pages: address, rights, accessed and dirty bits in the directory; CR4.PSE off makes PS mean nothing.
 */
#include "paging.h"

enum { BIG = 0x50000000, BIG_FRAME = 0x00800000 };

void paging_big(void)
{
	u32 *pde = &page_dir[BIG >> 22], code = CODE("mov (%esi), %eax"), write = CODE("mov %eax, (%esi)");
	static u32 table[1024] ALIGNED(4096);
	struct ctx c;

	test("4 MiB page");
	set_cr4(get_cr4() | CR4_PSE);
	*pde = BIG_FRAME | P_PS | ALL;
	invlpg(BIG);
	*(volatile u32 *)(BIG_FRAME + 0x3ffffc) = 0x11223344;
	*(volatile u32 *)(BIG_FRAME + 0x123000) = 0x55667788;
	EQ(*(volatile u32 *)(BIG + 0x3ffffc), 0x11223344);
	EQ(*pde & (P_A | P_D), P_A);
	EQ(*(volatile u32 *)(BIG + 0x123000), 0x55667788);
	*(volatile u32 *)(BIG + 0x200000) = 0x99aabbcc;
	EQ(*(volatile u32 *)(BIG_FRAME + 0x200000), 0x99aabbcc);
	EQ(*pde & (P_A | P_D), P_A | P_D);
	test("4 MiB page, rights");
	*pde = BIG_FRAME | P_PS | P_P | P_U;
	invlpg(BIG);
	ctx_init(&c, 3, write);
	c.esi = BIG + 0x234567;
	cpu_run(&c);
	FAULT(&c, PF, PF_P | PF_W | PF_U, write);
	EQ(c.cr2, BIG + 0x234567);
	EQ(*pde & P_D, 0);
	*pde = BIG_FRAME | P_PS | P_P | P_W;
	invlpg(BIG);
	ctx_init(&c, 3, code);
	c.esi = BIG + 0x234567;
	cpu_run(&c);
	FAULT(&c, PF, PF_P | PF_U, code);
	ctx_init(&c, 1, code);
	c.esi = BIG;
	cpu_run(&c);
	FINE(&c);
	test("INVLPG anywhere in a 4 MiB page invalidates it all");
	*pde = BIG_FRAME | P_PS | ALL;
	invlpg(BIG);
	(void)*(volatile u32 *)(BIG + 0x123000);
	(void)*(volatile u32 *)(BIG + 0x3ff000);
	*pde = (BIG_FRAME + 0x400000) | P_PS | ALL;
	invlpg(BIG + 0x200000);
	*(volatile u32 *)(BIG_FRAME + 0x400000 + 0x123000) = 0xfeedf00d;
	EQ(*(volatile u32 *)(BIG + 0x123000), 0xfeedf00d);
	*pde = BIG_FRAME | P_PS | ALL;
	set_cr3((u32)page_dir);
	EQ(*(volatile u32 *)(BIG + 0x123000), 0x55667788);
	test("code in a 4 MiB page");
	memcpy((void *)(BIG_FRAME + 0x1000), (void *)(u32)CODE("mov $0x77, %eax"), 7);
	run_at(&c, 3, BIG + 0x1000);
	FINE(&c);
	EQ(c.eax, 0x77);
	test("without PSE the PS bit is ignored");
	table[0x123] = BIG_FRAME | ALL;
	*pde = (u32)table | P_PS | ALL;
	*(volatile u32 *)BIG_FRAME = 0x0badcafe;
	set_cr4(get_cr4() & ~CR4_PSE);
	set_cr3((u32)page_dir);
	ctx_init(&c, 0, code);
	c.esi = BIG + 0x123000;
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, 0x0badcafe);
	*pde = 0;
	set_cr3((u32)page_dir);
	test("two small pages of one frame after a big one");
	set_entry(BIG, BIG_FRAME | ALL);
	EQ(*(volatile u32 *)BIG, 0x0badcafe);
	*pde = 0;
	set_cr3((u32)page_dir);
}
