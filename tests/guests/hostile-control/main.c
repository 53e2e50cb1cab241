/*
 * hostile-control - control, debug and model-specific registers and EFLAGS with random bits; IRET, SYSENTER and SYSEXIT with random frames and targets.
 */
#include "guest.h"

GUEST("hostile-control");

enum { ROUNDS = 5000 };

static bool in_run;

/* Breakpoints and general detect hit the runtime too. */
static bool back(struct trap_frame *f)
{
	f->eflags = (f->eflags & ~F_TF) | F_RF;
	return !in_run;
}

void guest_main(void)
{
	const u32 codes[] = {
		CODE("mov %eax, %cr0"),
		CODE("mov %eax, %cr4"),
		CODE("mov %eax, %cr2"),
		CODE("mov %eax, %dr0; mov %ebx, %dr1"),
		CODE("mov %eax, %dr6"),
		CODE("mov %eax, %dr7; mov %ebx, (%esp)"),
		CODE("wrmsr"),
		CODE("rdmsr"),
		CODE("lmsw %ax"),
		CODE("push %eax; popf; nop; nop"),
		CODE("push %eax; popf; int3"),
		CODE("cpuid"),
		CODE("rdpmc"),
		CODE("sysenter"),
		CODE("sysexit"),
		CODE("iret"),
		CODE("lret"),
		CODE("clts; fld1; fwait"),
		CODE("mov %eax, %cr3"),
		CODE("invlpg (%eax)"),
		CODE("ldmxcsr (%esp); sqrtps %xmm0, %xmm1"),
		CODE("fldcw (%esp); fld1; fldz; fdivrp; fwait"),
	};
	u32 cr0 = get_cr0(), cr4 = get_cr4(), vectors[256] = { 0 };

	test("hostile: control registers with random bits");
	rnd_seed(0x5eed0007);
	on_trap(DB, back);
	double_fault_ends_run = true;
	fill_with_int3(); /* random IRET frames lead everywhere */
	for (u32 i = 0; i < ROUNDS; i++) {
		struct ctx c;

		set_cr4(cr4 | CR4_OSFXSR);
		ctx_init(&c, rnd() % 3 ? 0 : rnd() % 4, codes[rnd() % COUNT(codes)]);
		c.esp -= 512;
		for (unsigned j = 0; j < 16; j++)
			((volatile u32 *)c.esp)[j] = rnd() % 2 ? rnd() : rnd() % 16 * 8 + rnd() % 4;
		/* one bit, few bits, or many; PG and PE of CR0 as they are, or nothing would come back from here */
		c.eax = rnd() & rnd();
		if (rnd() % 2)
			c.eax &= rnd() & rnd();
		if (c.eip == codes[0])
			c.eax = (c.eax & ~CR0_PG) | CR0_PE;
		c.ecx = rnd() % 2 ? 0x170 + rnd() % 16 : rnd() % 0x300;
		c.edx = c.eip == codes[14] ? rnd() : 0;
		if (c.eip == codes[13]) {
			wrmsr(0x174, rnd() % 64);
			wrmsr(0x175, stack_top(0) - rnd() % 1024);
			wrmsr(0x176, CODE("nop"));
		}
		c.eflags |= F_IF;
		watchdog();
		in_run = true;
		cpu_run(&c);
		in_run = false;
		pic_mask(0xffff);
		set_cr0(cr0);
		set_dr7(0);
		set_dr6(0xffff0ff0);
		vectors[c.vector & 0xff]++;
	}
	set_cr4(cr4);
	wrmsr(0x174, 0);
	print("#GP %u #UD %u #DB %u #NM %u fine %u\n", vectors[GP], vectors[UD], vectors[DB], vectors[NM], vectors[DONE]);
	TRUE(vectors[GP] > 100);
	test("hostile: sysenter to nowhere with paging on and nothing mapped");
	wrmsr(0x174, SEL_C0);
	wrmsr(0x175, 0xa0004);
	wrmsr(0x176, 0xffffffff);
	set_cr3(0x00800000);
	set_cr0(get_cr0() | CR0_PG);
	finish();
}
