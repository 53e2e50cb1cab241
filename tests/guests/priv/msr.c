/*
 * msr.c - model-specific registers, the time stamp counter, CPUID; SYSENTER and SYSEXIT.
 */
#include "guest.h"
#include "priv.h"

enum { MSR_TSC = 0x10, MSR_CS = 0x174, MSR_ESP = 0x175, MSR_EIP = 0x176 };

static void registers(void)
{
	struct ctx c;
	u32 read = CODE("rdmsr"), write = CODE("wrmsr");

	test("sysenter MSRs hold what is written");
	wrmsr(MSR_ESP, 0x12345678);
	wrmsr(MSR_EIP, 0x9abcdef0);
	wrmsr(MSR_CS, SEL_C0);
	EQ(rdmsr(MSR_ESP), 0x12345678);
	EQ(rdmsr(MSR_EIP), 0x9abcdef0);
	EQ(rdmsr(MSR_CS), SEL_C0);
	test("unknown MSR");
	known("tcg", "unknown MSRs read as 0");
	ctx_init(&c, 0, read);
	c.ecx = 0x12345678;
	cpu_run(&c);
	FAULT(&c, GP, 0, read);
	EQ(c.edx, 0xdddddddd);
	ctx_init(&c, 0, write);
	c.ecx = 0x12345678;
	cpu_run(&c);
	FAULT(&c, GP, 0, write);
}

static void time_stamp(void)
{
	struct ctx c;
	u32 code = CODE("rdtsc");
	u64 first, second;

	test("tsc goes up");
	first = rdtsc();
	second = rdtsc();
	TRUE(second > first);
	test("wrmsr to the tsc");
	wrmsr(MSR_TSC, 0);
	first = rdtsc();
	TRUE(first < 1u << 30);
	EQ(rdmsr(MSR_TSC) >> 32, 0);
	for (unsigned cpl = 0; cpl < 4; cpl++) {
		test("cpl%u rdtsc", cpl);
		run_at(&c, cpl, code);
		FINE(&c);
		TRUE(c.eax != 0xaaaaaaaa || c.edx != 0xdddddddd);
		test("cpl%u rdtsc with CR4.TSD", cpl);
		set_cr4(get_cr4() | CR4_TSD);
		run_at(&c, cpl, code);
		set_cr4(get_cr4() & ~CR4_TSD);
		if (cpl == 0)
			FINE(&c);
		else
			FAULT(&c, GP, 0, code);
	}
}

static void identification(void)
{
	struct ctx first, c;
	u32 code = CODE("cpuid");

	for (u32 leaf = 0; leaf < 2; leaf++) {
		for (unsigned cpl = 0; cpl < 4; cpl++) {
			test("cpl%u cpuid %u", cpl, leaf);
			ctx_init(&c, cpl, code);
			c.eax = leaf;
			cpu_run(&c);
			FINE(&c);
			if (cpl == 0)
				first = c;
			EQ(c.eax, first.eax);
			EQ(c.ebx, first.ebx);
			EQ(c.ecx, first.ecx);
			EQ(c.edx, first.edx);
		}
	}
	test("cpuid shows a P6 with what this suite uses");
	EQ(first.eax >> 8 & 0xf, 6);
	/* FPU DE PSE TSC MSR CX8 SEP PGE CMOV MMX FXSR SSE */
	EQ(first.edx & 0x0380a93d, 0x0380a93d);
}

static u32 enter_target(void)
{
	return CODE("mov %ss, %eax; mov %cs, %ebx; mov %esp, %edx; pushf; pop %edi");
}

static void sysenter(void)
{
	struct ctx c;
	u32 code = CODE("sysenter");

	wrmsr(MSR_ESP, stack_top(0) - 64);
	wrmsr(MSR_EIP, enter_target());
	for (unsigned cpl = 0; cpl < 4; cpl++) {
		test("cpl%u sysenter", cpl);
		wrmsr(MSR_CS, SEL_C0);
		ctx_init(&c, cpl, code);
		c.eflags = F_FIXED | F_IF | F_CF | F_DF;
		cpu_run(&c);
		FINE(&c);
		EQ(c.cs, SEL_C0);
		EQ(c.ss, SEL_D0);
		EQ(c.eax & 0xffff, SEL_D0);
		EQ(c.ebx & 0xffff, SEL_C0);
		EQ(c.edx, stack_top(0) - 64);
		EQ(c.edi & (F_IF | F_CF | F_DF | F_VM), F_CF | F_DF);
		EQ(c.ds, sel_data(cpl));
		test("cpl%u sysenter with a null code segment", cpl);
		wrmsr(MSR_CS, 0);
		run_at(&c, cpl, code);
		FAULT(&c, GP, 0, code);
		EQ(c.cs, sel_code(cpl));
	}
	test("sysenter drops RPL bits of the MSR");
	wrmsr(MSR_CS, SEL_C0 | 3);
	run_at(&c, 3, code);
	FINE(&c);
	EQ(c.cs, SEL_C0);
	EQ(c.ss, SEL_D0);
}

static void sysexit(void)
{
	struct ctx c;
	u32 code = CODE("sysexit");

	test("sysexit");
	wrmsr(MSR_CS, SEL_C0);
	ctx_init(&c, 0, code);
	c.edx = CODE("mov %cs, %eax; mov %ss, %ebx");
	c.ecx = stack_top(3) - 32;
	c.eflags = F_FIXED | F_CF | F_IF;
	cpu_run(&c);
	FINE(&c);
	EQ(c.cs, SEL_C3 | 3);
	EQ(c.ss, SEL_D3 | 3);
	EQ(c.eax & 0xffff, SEL_C3 | 3);
	EQ(c.ebx & 0xffff, SEL_D3 | 3);
	EQ(c.esp, stack_top(3) - 32);
	EQ(c.eflags & (F_IF | F_CF), F_IF | F_CF);
	test("sysexit with a null code segment");
	wrmsr(MSR_CS, 0);
	run_at(&c, 0, code);
	FAULT(&c, GP, 0, code);
}

void priv_msr(void)
{
	registers();
	time_stamp();
	identification();
	sysenter();
	sysexit();
}
