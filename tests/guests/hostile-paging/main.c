/*
 * hostile-paging - page tables that point outside RAM, into device memory, at themselves, at each other, with random bits; CR3 anywhere.
 */
#include "guest.h"

GUEST("hostile-paging");

enum { ROUNDS = 4000 };

static u32 table[1024] ALIGNED(4096);

static u32 random_frame(void)
{
	switch (rnd() % 6) {
	case 0: return (u32)page_dir;
	case 1: return (u32)table;
	case 2: return 0xa0000 + (rnd() & 0x1f000);
	case 3: return rnd() & ~0xfffu; /* mostly outside RAM */
	case 4: return 0xfffff000;
	default: return 0x00800000 + (rnd() & 0x3ff000);
	}
}

/* An entry, in a directory when `directory`. This program itself, and the tables, are only shown read-only: with CR0.WP nobody spoils them by accident. */
static u32 random_entry(bool directory)
{
	u32 entry = random_frame() | (rnd() & 0xfff), base;

	if (directory && rnd() % 4)
		entry &= ~P_PS;
	base = directory && (entry & P_PS) ? entry & 0xffc00000 : entry & ~0xfffu;
	return base < 0x00800000 && base != 0xa0000 ? entry & ~P_W : entry;
}

static void paged_rounds(void)
{
	const u32 codes[] = { CODE("mov (%esi), %eax; mov %eax, (%edi)"),
		              CODE("addl $1, (%esi); xchg %eax, (%edi)"),
		              CODE("mov %esi, %esp; push %eax; pop %ebx"),
		              CODE("rep movsb"),
		              CODE("rep stosl"),
		              CODE("jmp *%esi"),
		              CODE("cmpxchg8b (%esi); fildll (%edi)"),
		              CODE("lock btsl %ebx, (%esi)") };
	u32 faults = 0, others = 0;

	for (u32 i = 0; i < ROUNDS; i++) {
		struct ctx c;

		/* the first 16 MiB stay mapped; all else is wild */
		for (unsigned j = 0; j < 4; j++) {
			page_dir[4 + rnd() % 1020] = random_entry(true);
			table[rnd() % 1024] = random_entry(false);
		}
		set_cr3((u32)page_dir);
		watchdog();
		ctx_init(&c, rnd() % 4, codes[rnd() % COUNT(codes)]);
		c.esi = rnd();
		c.edi = rnd() % 2 ? rnd() : stack_top(3) - 1024;
		c.ecx = c.edi < 0x01000000 ? rnd() % 200 : rnd() % 5000;
		if (rnd() % 4 == 0)
			c.esi |= 0xfff; /* two pages */
		/* nothing of the identity map may be overwritten but a small arena, or this would not be a loop for long */
		if (c.esi < 0x01000000)
			c.esi |= 0x40000000;
		if (c.edi < 0x01000000 && c.edi != stack_top(3) - 1024)
			c.edi |= 0x40000000;
		c.eflags |= F_IF;
		cpu_run(&c);
		pic_mask(0xffff);
		if (c.vector == PF)
			faults++;
		else
			others++;
	}
	print("page faults %u, others %u\n", faults, others);
	TRUE(faults > ROUNDS / 10);
}

void guest_main(void)
{
	test("hostile: wild page tables");
	rnd_seed(0x5eed0002);
	asm_volatile("fninit");
	set_cr4(get_cr4() | CR4_PSE | CR4_PGE);
	paging_identity();
	paging_on();
	main_tss.t.cr3 = get_cr3();
	double_fault_ends_run = true;
	set_cr0(get_cr0() | CR0_WP);
	paged_rounds();
	test("hostile: CR3 outside RAM, in device memory, at the top");
	/* Whatever comes after the load is fetched through it: each could be the end. The directory copied there has no chance to be kept. */
	for (u32 i = 0; i < 1024; i++)
		((volatile u32 *)0xa0000)[i] = page_dir[i];
	set_cr3(0xa0000);
	set_cr3((u32)page_dir);
	asm_volatile("mov %0, %%cr3; mov %1, %%cr3" : : "r"(0xfffff000), "r"(page_dir) : "memory");
	asm_volatile("mov %0, %%cr3; nop; nop" : : "r"(0x80000000) : "memory");
}
