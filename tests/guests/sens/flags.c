/*
 * flags.c - PUSHF shows the guest's own IF and IOPL; POPF and IRET change them by the rules of its own CPL.
 */
#include "sens.h"

enum { PLAIN = F_CF | F_PF | F_AF | F_ZF | F_SF | F_DF | F_OF | F_NT | F_AC | F_ID };

static void pushf(unsigned cpl, u32 flags)
{
	struct ctx c;

	ctx_init(&c, cpl, CODE("pushf; pop %eax; pushfw; pop %bx"));
	c.eflags = flags;
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, flags);
	EQ(c.ebx & 0xffff, flags & 0xffff);
	EQ(c.eflags, flags);
}

/* What EFLAGS is after `value` was popped at this CPL over `old`. */
static u32 popped(unsigned cpl, u32 old, u32 value, u32 plain)
{
	u32 may = plain;

	if (cpl == 0)
		may |= F_IOPL;
	if (cpl <= (old >> 12 & 3))
		may |= F_IF;
	return (old & ~may) | (value & may) | F_FIXED;
}

static void popf(unsigned cpl, u32 old, u32 value)
{
	struct ctx c;

	ctx_init(&c, cpl, CODE("push %eax; popf; pushf; pop %ebx"));
	c.eflags = old;
	c.eax = value;
	cpu_run(&c);
	FINE(&c);
	EQ(c.ebx, popped(cpl, old, value, PLAIN));
	EQ(c.eflags, popped(cpl, old, value, PLAIN));
	ctx_init(&c, cpl, CODE("push %ax; popfw; pushf; pop %ebx"));
	c.eflags = old;
	c.eax = value;
	cpu_run(&c);
	FINE(&c);
	EQ(c.ebx, popped(cpl, old, value & 0xffff, PLAIN & 0xffff));
}

/* IRET to the same level pops EIP, CS and EFLAGS. */
static void iret_same(unsigned cpl, u32 old, u32 value)
{
	struct ctx c;

	ctx_init(&c, cpl, CODE("push %eax; push %cs; push $1f; iret; 1: pushf; pop %ebx"));
	c.eflags = old & ~F_NT;
	c.eax = value & ~F_NT;
	cpu_run(&c);
	FINE(&c);
	EQ(c.ebx, popped(cpl, old & ~F_NT, value & ~F_NT, PLAIN));
	EQ(c.cs, sel_code(cpl));
	EQ(c.esp, stack_top(cpl));
}

void sens_flags(unsigned cpl)
{
	static const u32 values[] = { 0,      F_CF | F_SF, PLAIN & ~F_NT, F_IF,        F_IF | F_IOPL,
		                      F_IOPL, 0x1000,      F_IF | 0x2000, F_AC | F_IF, F_ID | F_NT };

	for (unsigned i = 0; i < COUNT(values); i++) {
		if (values[i] & F_NT)
			continue; /* would make the IRET that gets there a task switch */
		test("cpl%u pushf with %x", cpl, values[i]);
		pushf(cpl, values[i] | F_FIXED);
	}
	for (unsigned iopl = 0; iopl < 4; iopl++) {
		for (unsigned interrupt = 0; interrupt < 2; interrupt++) {
			u32 old = F_FIXED | iopl << 12 | (interrupt ? F_IF : 0);

			test("cpl%u iopl%u if%u popf", cpl, iopl, interrupt);
			for (unsigned i = 0; i < COUNT(values); i++)
				popf(cpl, old, values[i]);
			test("cpl%u iopl%u if%u popf of VM, RF and reserved bits", cpl, iopl, interrupt);
			popf(cpl, old, 0xffc3002a | (old & (F_IF | F_IOPL)));
			test("cpl%u iopl%u if%u iret", cpl, iopl, interrupt);
			for (unsigned i = 0; i < COUNT(values); i++)
				iret_same(cpl, old, values[i]);
		}
	}
}
