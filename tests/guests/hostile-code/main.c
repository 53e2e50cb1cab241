/*
 * hostile-code - random bytes as code: at level 3 and in virtual-8086 mode thousands of times, with a timer to end what does not end; then at level 0, where
 * anything may happen.
 */
#include "guest.h"

GUEST("hostile-code");

enum { PROGRAMS = 3000, SIZE = 64 };

static u8 program[2 * 4096] ALIGNED(4096);

/* Bytes that are often whole instructions with memory operands near the registers. */
static void fill(u8 *at, u32 size)
{
	static const u8 common[] = { 0x0f, 0x66, 0x67, 0xf2, 0xf3, 0xd8, 0xd9, 0xdd, 0xdf, 0x8e,
		                     0xff, 0xf6, 0xc7, 0x64, 0x2e, 0x36, 0xcd, 0xcf, 0xe2, 0xeb };

	for (u32 i = 0; i < size; i++)
		at[i] = rnd() % 4 ? rnd() : common[rnd() % COUNT(common)];
}

static void random_registers(struct ctx *c)
{
	u32 *registers[] = { &c->eax, &c->ebx, &c->ecx, &c->edx, &c->esi, &c->edi, &c->ebp };

	for (unsigned i = 0; i < COUNT(registers); i++)
		*registers[i] = rnd() % 3 == 0 ? rnd() : rnd() % 2 ? 0x00800000 + rnd() % 0x10000 : rnd() % 256;
}

void guest_main(void)
{
	u32 vectors[256] = { 0 };
	struct ctx c;

	test("hostile: random code at level 3");
	rnd_seed(0x5eed0008);
	set_cr4(get_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
	paging_identity();
	/* the program's stack, some memory and the code are the user's; all else is the kernel's */
	for (u32 address = 0; address < 16u << 20; address += 4096)
		if (address < 0x00800000 || address >= 0x00900000)
			*pte(address) &= ~P_U;
	*pte((u32)program) |= P_U;
	*pte((u32)program + 4096) |= P_U;
	paging_on();
	double_fault_ends_run = true;
	for (u32 i = 0; i < PROGRAMS; i++) {
		u8 *at = program + (rnd() % 2 ? 4096 - SIZE / 2 : rnd() % 1024);

		fill(at, SIZE);
		at[SIZE] = 0xcd;
		at[SIZE + 1] = DONE;
		asm_volatile("fninit");
		watchdog();
		ctx_init(&c, 3, (u32)at);
		random_registers(&c);
		c.esp = 0x00880000;
		c.eflags = F_FIXED | F_IF | (rnd() & (F_CF | F_DF | F_AC | (rnd() % 8 ? 0 : F_TF)));
		cpu_run(&c);
		pic_mask(0xffff);
		vectors[c.vector & 0xff]++;
	}
	print("level 3: #UD %u #GP %u #PF %u done %u time %u\n", vectors[UD], vectors[GP], vectors[PF], vectors[DONE],
	      vectors[IRQ0]);
	TRUE(vectors[UD] && vectors[GP] && vectors[PF]);
	test("hostile: random code in virtual-8086 mode");
	memset(vectors, 0, sizeof(vectors));
	for (u32 address = 0x20000; address < 0x90000; address += 4096)
		*pte(address) |= P_U;
	set_cr3((u32)page_dir);
	for (u32 i = 0; i < PROGRAMS; i++) {
		fill((u8 *)0x20000, SIZE);
		asm_volatile("fninit");
		watchdog();
		ctx_init(&c, 3, 0);
		random_registers(&c);
		c.cs = 0x2000;
		c.ds = 0x3000 + rnd() % 0x1000;
		c.es = rnd();
		c.fs = rnd();
		c.gs = 0x4000;
		c.ss = 0x7000;
		c.esp = rnd() % 0x10000;
		c.eflags = F_FIXED | F_VM | F_IF | (rnd() % 2 ? F_IOPL : 0);
		cpu_run(&c);
		pic_mask(0xffff);
		vectors[c.vector & 0xff]++;
		if (c.eflags & F_IOPL && !(c.eflags & F_IF) && c.vector == IRQ0)
			break;
	}
	print("v86: #UD %u #GP %u #PF %u time %u\n", vectors[UD], vectors[GP], vectors[PF], vectors[IRQ0]);
	test("hostile: random code at level 0");
	for (u32 i = 0; i < 2000; i++) {
		u8 *at = program + 256;

		fill(at, SIZE);
		at[SIZE] = 0xcd;
		at[SIZE + 1] = DONE;
		watchdog();
		ctx_init(&c, 0, (u32)at);
		random_registers(&c);
		c.eflags |= F_IF;
		cpu_run(&c);
	}
	print("survived\n");
}
