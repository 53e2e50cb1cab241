/*
 * wrong.c - call gates that must fault: rights, presence, types, targets, stacks; with nothing changed.
 */
#include "gates.h"

enum { GATE = 0x100, CODE_SEG = 0x110, BAD = 0x120 };

struct item {
	const char *name;
	u64 gate;
	u32 vector, error;
};

static void calls(void)
{
	const struct item items[] = {
		{ "gate of DPL 2", gate(SEL_C0, 0x1000, A_P | A_DPL(2) | A_CALL32), GP, GATE },
		{ "absent gate", gate(SEL_C0, 0x1000, A_DPL(3) | A_CALL32), NP, GATE },
		{ "null target", gate(0, 0x1000, A_P | A_DPL(3) | A_CALL32), GP, 0 },
		{ "target beyond the GDT", gate(0xfff8, 0x1000, A_P | A_DPL(3) | A_CALL32), GP, 0xfff8 },
		{ "data target", gate(SEL_D3, 0x1000, A_P | A_DPL(3) | A_CALL32), GP, SEL_D3 },
		{ "absent target", gate(BAD, 0x1000, A_P | A_DPL(3) | A_CALL32), NP, BAD },
		{ "interrupt gate", gate(SEL_C0, 0x1000, A_P | A_DPL(3) | A_INT32), GP, GATE },
		{ "LDT descriptor", gate(SEL_C0, 0x1000, A_P | A_DPL(3) | A_LDT), GP, GATE },
		{ "nothing", 0, GP, GATE },
	};
	u32 call = CODE("lcall $0x103, $0"), jump = CODE("ljmp $0x103, $0");
	struct ctx c;

	gdt_set(BAD, desc(0, 0xfffff, A_FLAT_CODE(3) & ~A_P));
	for (unsigned i = 0; i < COUNT(items); i++) {
		test("call and jmp through %s", items[i].name);
		if (items[i].error == BAD)
			known("tcg", "JMP gives #GP");
		gdt_set(GATE, items[i].gate);
		run_at(&c, 3, call);
		FAULT(&c, items[i].vector, items[i].error, call);
		EQ(c.esp, stack_top(3));
		run_at(&c, 3, jump);
		FAULT(&c, items[i].vector, items[i].error, jump);
	}
	test("selector's RPL above the gate's DPL");
	gdt_set(GATE, gate(SEL_C0, CODE("nop"), A_P | A_DPL(0) | A_CALL32));
	run_at(&c, 0, call); /* RPL 3 */
	FAULT(&c, GP, GATE, call);
	test("gate to an outer level");
	gdt_set(GATE, gate(SEL_C3, 0x1000, A_P | A_DPL(3) | A_CALL32));
	run_at(&c, 1, call);
	FAULT(&c, GP, SEL_C3, call);
}

/* JMP may use a gate, but stays at its level. */
static void jumps(void)
{
	u32 jump = CODE("ljmp $0x103, $0");
	struct ctx c;

	for (unsigned cpl = 0; cpl < 4; cpl++) {
		test("jmp through a gate to the same level %u", cpl);
		gdt_set(GATE, gate(sel_code(cpl) & ~3, CODE("mov %cs, %eax; mov %esp, %ebx"), A_P | A_DPL(3) | A_CALL32));
		run_at(&c, cpl, jump);
		FINE(&c);
		EQ(c.eax, sel_code(cpl));
		EQ(c.ebx, stack_top(cpl));
		if (cpl == 0)
			continue;
		test("jmp from level %u through a gate to level 0", cpl);
		gdt_set(GATE, gate(SEL_C0, CODE("nop"), A_P | A_DPL(3) | A_CALL32));
		run_at(&c, cpl, jump);
		FAULT(&c, GP, SEL_C0, jump);
		test("jmp from level %u through a gate to conforming code", cpl);
		gdt_set(CODE_SEG, desc(0, 0xfffff, A_FLAT_CODE(0) | A_CONF));
		gdt_set(GATE, gate(CODE_SEG, CODE("mov %cs, %eax"), A_P | A_DPL(3) | A_CALL32));
		run_at(&c, cpl, jump);
		FINE(&c);
		EQ(c.eax, CODE_SEG | cpl);
	}
}

static void stacks(void)
{
	static const struct {
		const char *name;
		u16 ss;
		u32 esp;
		u32 vector, error;
	} items[] = {
		{ "null", 0, 0x1000, TS, 0 },
		{ "of the wrong level", SEL_D2 | 1, 0x1000, TS, SEL_D2 },
		{ "absent", BAD | 1, 0x1000, SS, BAD },
		{ "too small for the frame", (BAD + 8) | 1, 12, SS, BAD + 8 },
		{ "too small for the parameters", (BAD + 8) | 1, 20, SS, BAD + 8 },
	};
	u32 call = CODE("lcall $0x103, $0"), esp = main_tss.t.esp1;
	u16 ss = main_tss.t.ss1;
	struct ctx c;

	gdt_set(GATE, gate(SEL_C1, 0x1000, A_P | A_DPL(3) | A_CALL32 | GATE_COUNT(2)));
	gdt_set(BAD, desc(0, 0xfffff, A_FLAT_DATA(1) & ~A_P));
	gdt_set(BAD + 8, desc(stack_top(1) - 0x1000, 0xfff, A_P | A_DATA | A_RW | A_DB | A_DPL(1)));
	for (unsigned i = 0; i < COUNT(items); i++) {
		test("call gate whose stack is %s", items[i].name);
		if (items[i].esp < 0x100 && cannot("tcg", "segments are not checked on use"))
			continue;
		if (items[i].vector == SS)
			known("tcg", "gives #TS");
		main_tss.t.ss1 = items[i].ss;
		main_tss.t.esp1 = items[i].esp;
		run_at(&c, 3, call);
		FAULT(&c, items[i].vector, items[i].error, call);
		EQ(c.esp, stack_top(3));
		EQ(c.cs, SEL_C3 | 3);
	}
	main_tss.t.ss1 = ss;
	main_tss.t.esp1 = esp;
	test("offset beyond the target's limit");
	known("tcg", "the offset is not checked after the stack switch");
	gdt_set(BAD, desc(0, 0xfff, A_FLAT_CODE(1) & ~A_G));
	gdt_set(GATE, gate(BAD, 0x2000, A_P | A_DPL(3) | A_CALL32));
	if (!cannot("tcg", "the offset is not checked")) {
		run_at(&c, 3, call);
		FAULT(&c, GP, 0, call);
	}
}

/* RETF and IRET whose frame names a bad outer stack. */
static void returns(void)
{
	static const struct {
		const char *name;
		u16 ss;
		u32 vector, error;
	} items[] = {
		{ "null", 3, GP, 0 },
		{ "of RPL 0", SEL_D3, GP, SEL_D3 },
		{ "of DPL 2", SEL_D2 | 3, GP, SEL_D2 },
		{ "code", SEL_C3 | 3, GP, SEL_C3 },
		{ "not writable", BAD | 3, GP, BAD },
		{ "absent", (BAD + 8) | 3, SS, BAD + 8 },
	};
	u32 codes[2] = { CODE("lret"), CODE("iret") };
	struct ctx c;

	gdt_set(BAD, desc(0, 0xfffff, A_FLAT_DATA(3) & ~A_RW));
	gdt_set(BAD + 8, desc(0, 0xfffff, A_FLAT_DATA(3) & ~A_P));
	for (unsigned way = 0; way < 2; way++) {
		for (unsigned i = 0; i < COUNT(items); i++) {
			u32 *frame;

			test("%s to a stack that is %s", way ? "iret" : "retf", items[i].name);
			ctx_init(&c, 0, codes[way]);
			c.esp -= 64;
			frame = (u32 *)c.esp;
			*frame++ = 0x1000;
			*frame++ = SEL_C3 | 3;
			if (way)
				*frame++ = F_FIXED;
			*frame++ = stack_top(3);
			*frame++ = items[i].ss;
			cpu_run(&c);
			if (items[i].vector == SS && c.vector == NP)
				c.vector = SS; /* the manual names both */
			FAULT(&c, items[i].vector, items[i].error, codes[way]);
			EQ(c.cs, SEL_C0);
			EQ(c.esp, stack_top(0) - 64);
		}
	}
}

void gates_wrong(void)
{
	calls();
	jumps();
	stacks();
	returns();
}
