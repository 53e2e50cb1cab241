/*
 * transfers.c - far JMP, CALL and RET and IRET seen from each CPL: to code segments of every DPL, conforming or not, by every RPL.
 */
#include "sens.h"

enum { SLOT = 0x100 };

/* May code at cpl transfer directly to a segment of this DPL? */
static bool direct_ok(unsigned cpl, unsigned dpl, unsigned rpl, bool conforming)
{
	return conforming ? dpl <= cpl : dpl == cpl && rpl <= cpl;
}

static void jump_and_call(unsigned cpl, unsigned dpl, unsigned rpl, bool conforming)
{
	u32 jump = CODE("ljmp *(%ebx)"), call = CODE("lcall *(%ebx)"), target[2], stack;
	bool ok = direct_ok(cpl, dpl, rpl, conforming);
	struct ctx c;

	gdt_set(SLOT, desc(0, 0xfffff, A_FLAT_CODE(dpl) | (conforming ? A_CONF : 0)));
	target[0] = CODE("mov %cs, %eax; mov %esp, %ecx; mov (%esp), %edx; mov 4(%esp), %esi");
	target[1] = SLOT | rpl;
	for (unsigned i = 0; i < 2; i++) {
		u32 code = i ? call : jump;

		ctx_init(&c, cpl, code);
		stack = c.esp;
		c.ebx = (u32)target;
		cpu_run(&c);
		if (!ok) {
			FAULT(&c, GP, SLOT, code);
			EQ(c.cs, sel_code(cpl));
			EQ(c.esp, stack);
			continue;
		}
		FINE(&c);
		EQ(c.eax, SLOT | cpl);
		EQ(c.cs, SLOT | cpl);
		EQ(c.ecx, stack - (i ? 8 : 0));
		if (i) {
			EQ(c.edx, code + 2);
			EQ(c.esi & 0xffff, sel_code(cpl));
		}
	}
}

/* RETF and IRET to a segment of this DPL by a selector of this RPL. */
static void returns(unsigned cpl, unsigned dpl, unsigned rpl, bool conforming)
{
	u32 ret = CODE("lret"), iret = CODE("iret");
	bool outer = rpl > cpl, ok = rpl >= cpl && (conforming ? dpl <= rpl : dpl == rpl);
	u32 target = CODE("mov %cs, %eax; mov %ss, %ebx; mov %ds, %ecx; mov %es, %edx");
	struct ctx c;

	gdt_set(SLOT, desc(0, 0xfffff, A_FLAT_CODE(dpl) | (conforming ? A_CONF : 0)));
	for (unsigned i = 0; i < 2; i++) {
		u32 code = i ? iret : ret, *frame;

		ctx_init(&c, cpl, code);
		c.es = SEL_D3 | 3;
		c.esp -= 64;
		frame = (u32 *)c.esp;
		*frame++ = target;
		*frame++ = 0xabcd0000 | SLOT | rpl;
		if (i)
			*frame++ = F_FIXED | F_CF;
		*frame++ = stack_top(rpl);
		*frame++ = sel_data(rpl);
		cpu_run(&c);
		if (!ok) {
			FAULT(&c, GP, SLOT, code);
			EQ(c.cs, sel_code(cpl));
			continue;
		}
		FINE(&c);
		EQ(c.cs, SLOT | rpl);
		EQ(c.eax, SLOT | rpl);
		EQ(c.ebx, sel_data(rpl));
		EQ(c.esp, outer ? stack_top(rpl) : stack_top(cpl) - 64 + (i ? 12 : 8));
		/* a data segment of the inner level is taken away, one of level 3 stays */
		EQ(c.ecx, outer ? 0 : sel_data(cpl));
		EQ(c.edx, SEL_D3 | 3);
		if (i)
			EQ(c.eflags & F_CF, F_CF);
	}
}

static void not_code(unsigned cpl)
{
	static const u32 attributes[] = { A_P | A_DATA | A_RW | A_DPL(3), A_P | A_LDT | A_DPL(3),
		                          A_P | A_INT32 | A_DPL(3), A_DPL(3) };
	u32 jump = CODE("ljmp *(%ebx)"), call = CODE("lcall *(%ebx)"), target[2];
	struct ctx c;

	target[0] = CODE("nop");
	for (unsigned i = 0; i <= COUNT(attributes); i++) {
		bool null = i == COUNT(attributes);

		test("cpl%u far transfer to what is not code, %u", cpl, i);
		target[1] = null ? cpl : SLOT | cpl;
		gdt_set(SLOT, desc(0, 0xfffff, null ? 0 : attributes[i]));
		ctx_init(&c, cpl, jump);
		c.ebx = (u32)target;
		cpu_run(&c);
		FAULT(&c, GP, null ? 0 : SLOT, jump);
		ctx_init(&c, cpl, call);
		c.ebx = (u32)target;
		cpu_run(&c);
		FAULT(&c, GP, null ? 0 : SLOT, call);
	}
	test("cpl%u far transfer to absent code", cpl);
	target[1] = SLOT | cpl;
	gdt_set(SLOT, desc(0, 0xfffff, A_FLAT_CODE(cpl) & ~A_P));
	ctx_init(&c, cpl, jump);
	c.ebx = (u32)target;
	cpu_run(&c);
	FAULT(&c, NP, SLOT, jump);
	test("cpl%u far transfer beyond the segment's limit", cpl);
	known("tcg", "JMP beyond the limit gives the selector as error code");
	gdt_set(SLOT, desc(0, 0xfff, A_FLAT_CODE(cpl) & ~A_G));
	ctx_init(&c, cpl, jump);
	c.ebx = (u32)target;
	cpu_run(&c);
	FAULT(&c, GP, 0, jump);
	ctx_init(&c, cpl, call);
	c.ebx = (u32)target;
	cpu_run(&c);
	FAULT(&c, GP, 0, call);
	EQ(c.esp, stack_top(cpl));
}

void sens_transfers(unsigned cpl)
{
	for (unsigned conforming = 0; conforming < 2; conforming++) {
		for (unsigned dpl = 0; dpl < 4; dpl++) {
			for (unsigned rpl = 0; rpl < 4; rpl++) {
				test("cpl%u far jmp, call to DPL %u RPL %u%s", cpl, dpl, rpl,
				     conforming ? " conforming" : "");
				jump_and_call(cpl, dpl, rpl, conforming);
				test("cpl%u retf, iret to DPL %u RPL %u%s", cpl, dpl, rpl,
				     conforming ? " conforming" : "");
				returns(cpl, dpl, rpl, conforming);
			}
		}
	}
	not_code(cpl);
}
