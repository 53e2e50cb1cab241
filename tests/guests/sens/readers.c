/*
 * readers.c - what shows privileged state without a fault: RPL in CS and SS, table registers, the machine status word.
 */
#include "sens.h"

static u8 out[64] ALIGNED(16);

static void run(struct ctx *c, unsigned cpl, u32 code)
{
	memset(out, 0xee, sizeof(out));
	ctx_init(c, cpl, code);
	c->ebx = (u32)out;
	cpu_run(c);
	FINE(c);
}

static u32 out32(unsigned at)
{
	return *(u32 *)(out + at);
}

static u32 out16(unsigned at)
{
	return *(u16 *)(out + at);
}

static void selectors(unsigned cpl)
{
	struct ctx c;

	test("cpl%u mov of segment registers", cpl);
	run(&c, cpl, CODE("mov %cs, %eax; mov %ss, %ecx; mov %ds, %edx; mov %es, %esi; mov %fs, %edi"));
	EQ(c.eax, sel_code(cpl));
	EQ(c.ecx, sel_data(cpl));
	EQ(c.edx, sel_data(cpl));
	EQ(c.esi, sel_data(cpl));
	EQ(c.edi, sel_data(cpl));
	test("cpl%u mov of segment registers, 16 bits and memory", cpl);
	run(&c, cpl, CODE("mov %cs, %ax; mov %ss, %cx; mov %cs, (%ebx); mov %ss, 4(%ebx); mov %gs, 8(%ebx)"));
	EQ(c.eax, 0xaaaa0000 | sel_code(cpl));
	EQ(c.ecx, 0xcccc0000 | sel_data(cpl));
	EQ(out32(0), 0xeeee0000 | sel_code(cpl));
	EQ(out32(4), 0xeeee0000 | sel_data(cpl));
	EQ(out32(8), 0xeeee0000 | sel_data(cpl));
	test("cpl%u push of segment registers", cpl);
	run(&c,
	    cpl, CODE("push %cs; pop %eax; push %ss; pop %ecx; push %ds; pop %edx; data16 push %cs; pop %si; push %gs; pop %edi"));
	EQ(c.eax & 0xffff, sel_code(cpl));
	EQ(c.ecx & 0xffff, sel_data(cpl));
	EQ(c.edx & 0xffff, sel_data(cpl));
	EQ(c.esi, 0x51510000 | sel_code(cpl));
	EQ(c.edi & 0xffff, sel_data(cpl));
	test("cpl%u near call keeps CS, far call pushes it", cpl);
	run(&c, cpl,
	    CODE("mov %cs, %eax; push %eax; push $1f; mov %esp, %ecx; lcall *(%ecx); jmp 2f; 1: mov 4(%esp), %edx; mov "
	         "%cs, %esi; lret; 2: add $8, %esp"));
	EQ(c.edx & 0xffff, sel_code(cpl));
	EQ(c.esi, sel_code(cpl));
	EQ(c.cs, sel_code(cpl));
	EQ(c.esp, stack_top(cpl));
}

static void tables(unsigned cpl)
{
	struct ctx c;
	u32 cr0 = get_cr0();

	test("cpl%u sgdt and sidt", cpl);
	run(&c, cpl, CODE("sgdt (%ebx); sidt 8(%ebx)"));
	EQ(out16(0), sizeof(gdt) - 1);
	EQ(out32(2), (u32)gdt);
	EQ(out16(6), 0xeeee);
	EQ(out16(8), sizeof(idt) - 1);
	EQ(out32(10), (u32)idt);
	test("cpl%u sldt and str", cpl);
	gdt_set(SEL_LDT, desc((u32)gdt, 7, A_P | A_LDT));
	asm_volatile("lldt %w0" : : "r"(SEL_LDT));
	run(&c, cpl, CODE("sldt %eax; str %ecx; sldt (%ebx); str 4(%ebx); str %dx; sldt %si"));
	EQ(c.eax, SEL_LDT);
	EQ(c.ecx, SEL_TSS);
	EQ(out32(0), 0xeeee0000 | SEL_LDT);
	EQ(out32(4), 0xeeee0000 | SEL_TSS);
	EQ(c.edx, 0xdddd0000 | SEL_TSS);
	EQ(c.esi, 0x51510000 | SEL_LDT);
	asm_volatile("lldt %w0" : : "r"(0));
	for (unsigned i = 0; i < 3; i++) {
		u32 want = i == 0 ? cr0 : i == 1 ? cr0 | CR0_TS : cr0 ^ CR0_MP;

		test("cpl%u smsw of %x", cpl, want & 0xffff);
		set_cr0(want);
		run(&c, cpl, CODE("smsw %eax; smsw %cx; smsw (%ebx)"));
		EQ(c.eax & 0xffff, want & 0xffff);
		EQ(c.ecx, 0xcccc0000 | (want & 0xffff));
		EQ(out32(0), 0xeeee0000 | (want & 0xffff));
	}
	set_cr0(cr0);
}

void sens_readers(unsigned cpl)
{
	selectors(cpl);
	tables(cpl);
}
