/*
 * levels.c - outside CPL 0 every privileged instruction is #GP(0) with nothing done, whatever its operand would have done.
 */
#include "guest.h"
#include "priv.h"

struct item {
	const char *name;
	u32 code;
};

static void check_item(const struct item *item, unsigned cpl)
{
	struct ctx c;
	u32 cr0 = get_cr0(), cr3 = get_cr3(), cr4 = get_cr4(), dr7 = get_dr7();

	test("cpl%u %s", cpl, item->name);
	ctx_init(&c, cpl, item->code);
	c.eax = 0x11223344;
	c.ebx = 0xf0000000; /* an operand there must not even be looked at */
	c.ecx = 0x174;
	c.edx = 0x55667788;
	c.eflags = F_FIXED | F_CF | F_SF | F_IOPL;
	cpu_run(&c);
	FAULT(&c, GP, 0, item->code);
	EQ(c.cs, sel_code(cpl));
	EQ(c.ss, sel_data(cpl));
	EQ(c.esp, stack_top(cpl));
	EQ(c.eflags & ~F_RF, F_FIXED | F_CF | F_SF | F_IOPL);
	EQ(c.eax, 0x11223344);
	EQ(c.ecx, 0x174);
	EQ(c.edx, 0x55667788);
	EQ(c.handler_cs, SEL_C0);
	EQ(get_cr0(), cr0);
	EQ(get_cr3(), cr3);
	EQ(get_cr4(), cr4);
	EQ(get_dr7(), dr7);
}

void priv_levels(void)
{
	const struct item items[] = {
		{ "hlt", CODE("hlt") },
		{ "clts", CODE("clts") },
		{ "lmsw r", CODE("lmsw %ax") },
		{ "lmsw m", CODE("lmsw (%ebx)") },
		{ "mov cr0,r", CODE("mov %eax, %cr0") },
		{ "mov r,cr0", CODE("mov %cr0, %eax") },
		{ "mov cr2,r", CODE("mov %eax, %cr2") },
		{ "mov r,cr2", CODE("mov %cr2, %eax") },
		{ "mov cr3,r", CODE("mov %eax, %cr3") },
		{ "mov r,cr3", CODE("mov %cr3, %eax") },
		{ "mov cr4,r", CODE("mov %eax, %cr4") },
		{ "mov r,cr4", CODE("mov %cr4, %eax") },
		{ "mov dr0,r", CODE("mov %eax, %dr0") },
		{ "mov r,dr0", CODE("mov %dr0, %eax") },
		{ "mov r,dr6", CODE("mov %dr6, %eax") },
		{ "mov dr7,r", CODE("mov %eax, %dr7") },
		{ "mov r,dr7", CODE("mov %dr7, %eax") },
		{ "lgdt", CODE("lgdt (%ebx)") },
		{ "lidt", CODE("lidt (%ebx)") },
		{ "lldt r", CODE("lldt %ax") },
		{ "lldt m", CODE("lldt (%ebx)") },
		{ "ltr r", CODE("ltr %ax") },
		{ "ltr m", CODE("ltr (%ebx)") },
		{ "invd", CODE("invd") },
		{ "wbinvd", CODE("wbinvd") },
		{ "invlpg", CODE("invlpg (%ebx)") },
		{ "rdmsr", CODE("rdmsr") },
		{ "wrmsr", CODE("wrmsr") },
		{ "sysexit", CODE("sysexit") },
	};

	wrmsr(0x174, SEL_C0);
	for (unsigned cpl = 1; cpl <= 3; cpl++)
		for (unsigned i = 0; i < COUNT(items); i++)
			check_item(&items[i], cpl);
	test("sysenter msr survived");
	EQ(rdmsr(0x174), SEL_C0);
	wrmsr(0x174, 0);
}
