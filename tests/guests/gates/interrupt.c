/*
 * interrupt.c - INT n through interrupt and trap gates of 16 and 32 bits, to handlers at every level, conforming too; then IRET.
 */
#include "gates.h"

enum { VECTOR = 0x71, CODE_SEG = 0x110 };

static u32 inner_stack(unsigned cpl)
{
	return cpl == 1 ? main_tss.t.esp1 : cpl == 2 ? main_tss.t.esp2 : main_tss.t.esp0;
}

struct way {
	unsigned from, to;
	bool conforming, trap;
	unsigned bits;
};

static void software_interrupt(const struct way *w)
{
	static const u32 attributes[2][2] = { { A_INT32, A_TRAP32 }, { A_INT16, A_TRAP16 } };
	unsigned level = w->conforming ? w->from : w->to;
	u32 width = w->bits / 8, code = CODE("int $0x71"), flags = F_FIXED | F_IF | F_CF | F_AC | F_IOPL, target;
	const u8 *stack;
	struct ctx c;

	target = CODE("mov %cs, %eax; mov %ss, %ebx; mov %esp, %ecx; pushf; pop %edx");
	gdt_set(CODE_SEG, desc(w->bits == 16 ? target : 0, 0xfffff, A_FLAT_CODE(w->to) | (w->conforming ? A_CONF : 0)));
	idt_set(VECTOR, gate(CODE_SEG, w->bits == 16 ? 0 : target, A_P | A_DPL(3) | attributes[w->bits == 16][w->trap]));
	ctx_init(&c, w->from, code);
	c.eflags = flags;
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, CODE_SEG | level);
	EQ(c.ebx, sel_data(level));
	EQ(c.edx, w->trap ? flags : flags & ~F_IF);
	EQ(c.ecx, level < w->from ? inner_stack(level) - 5 * width : stack_top(w->from) - 3 * width);
	stack = (const u8 *)c.ecx;
	if (w->bits == 16) {
		const u16 *f = (const u16 *)stack;

		EQ(f[0], (code + 2) & 0xffff);
		EQ(f[1], sel_code(w->from));
		EQ(f[2], flags & 0xffff);
		if (level < w->from) {
			EQ(f[3], stack_top(w->from) & 0xffff);
			EQ(f[4], sel_data(w->from));
		}
	} else {
		const u32 *f = (const u32 *)stack;

		EQ(f[0], code + 2);
		EQ(f[1] & 0xffff, sel_code(w->from));
		EQ(f[2], flags);
		if (level < w->from) {
			EQ(f[3], stack_top(w->from));
			EQ(f[4] & 0xffff, sel_data(w->from));
		}
	}
}

static void there_and_back(unsigned from, unsigned to)
{
	struct ctx c;

	test("int %u -> %u and iret", from, to);
	gdt_set(CODE_SEG, desc(0, 0xfffff, A_FLAT_CODE(to)));
	idt_set(VECTOR, gate(CODE_SEG, CODE("mov %cs, %eax; orl $1, 8(%esp); iret"), A_P | A_DPL(3) | A_INT32));
	ctx_init(&c, from, CODE("int $0x71; mov %cs, %ebx; mov %ss, %ecx; mov %esp, %edx"));
	c.eflags = F_FIXED | F_IF;
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, CODE_SEG | to);
	EQ(c.ebx, sel_code(from));
	EQ(c.ecx, sel_data(from));
	EQ(c.edx, stack_top(from));
	EQ(c.eflags,
	   F_FIXED | F_CF | (to == 0 ? F_IF : 0)); /* a handler of level 1 to 3 may not set IF again, IOPL being 0 */
}

/* IRET of 16 bits to an outer level. */
static void iret16(void)
{
	static u16 frame[5];
	struct ctx c;
	u32 code = CODE("nop");

	test("16-bit iret to level 3");
	gdt_set(CODE_SEG, desc(code, 0xffff, A_FLAT_CODE(3)));
	frame[0] = 0;
	frame[1] = CODE_SEG | 3;
	frame[2] = F_FIXED | F_CF;
	frame[3] = 0x1234;
	frame[4] = SEL_D3 | 3;
	ctx_init(&c, 0, CODE("mov %ebx, %esp; iretw"));
	c.ebx = (u32)frame;
	c.eflags = F_FIXED | F_AC | F_ID;
	cpu_run(&c);
	FINE(&c);
	EQ(c.cs, CODE_SEG | 3);
	EQ(c.esp & 0xffff, 0x1234);
	EQ(c.eflags, F_FIXED | F_CF | F_AC | F_ID);
}

void gates_interrupt(void)
{
	struct way w;

	for (unsigned i = 0; i < 8; i++) {
		w.conforming = i & 1;
		w.trap = i & 2;
		w.bits = i & 4 ? 16 : 32;
		for (w.from = 0; w.from < 4; w.from++) {
			for (w.to = 0; w.to <= w.from; w.to++) {
				test("%u-bit %s gate %u -> %u%s", w.bits, w.trap ? "trap" : "interrupt", w.from, w.to,
				     w.conforming ? " conforming" : "");
				software_interrupt(&w);
			}
		}
	}
	for (unsigned from = 0; from < 4; from++)
		for (unsigned to = 0; to <= from; to++)
			there_and_back(from, to);
	iret16();
	idt_default(VECTOR);
}
