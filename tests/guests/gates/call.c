/*
 * call.c - far calls through call gates from every level to every level that they may reach: what is pushed, what is copied, and the far return.
 */
#include "gates.h"

enum { GATE = 0x100, CODE_SEG = 0x110, PARAMETERS = 5 };

/* Stack of an inner level as TSS says it. */
static u32 inner_stack(unsigned cpl)
{
	return cpl == 1 ? main_tss.t.esp1 : cpl == 2 ? main_tss.t.esp2 : main_tss.t.esp0;
}

struct crossing {
	unsigned from, to;
	bool conforming;
	unsigned bits; /* of the gate: 16 or 32 */
	unsigned count;
};

static unsigned level_after(const struct crossing *x)
{
	return x->conforming ? x->from : x->to;
}

/* The target: shows CS, SS, ESP, EFLAGS, then ends; what is on the stack is looked at afterwards. */
static void call(const struct crossing *x)
{
	unsigned level = level_after(x);
	bool switches = level < x->from;
	u32 width = x->bits / 8, code = CODE("lcall $0x103, $0"), target, sp;
	const u8 *stack;
	struct ctx c;

	target = CODE("mov %cs, %eax; mov %ss, %ebx; mov %esp, %ecx; pushf; pop %edx");
	gdt_set(CODE_SEG, desc(x->bits == 16 ? target : 0, 0xfffff, A_FLAT_CODE(x->to) | (x->conforming ? A_CONF : 0)));
	gdt_set(GATE, gate(CODE_SEG | 3, x->bits == 16 ? 0 : target,
	                   A_P | A_DPL(3) | (x->bits == 16 ? A_CALL16 : A_CALL32) | GATE_COUNT(x->count)));
	ctx_init(&c, x->from, code);
	for (u32 i = 0; i < 40; i++)
		((u8 *)c.esp)[i] = 0x40 + i;
	c.eflags = F_FIXED | F_IF | F_CF | F_DF;
	sp = c.esp;
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, CODE_SEG | level);
	EQ(c.cs, CODE_SEG | level);
	EQ(c.edx, F_FIXED | F_IF | F_CF | F_DF);
	EQ(c.ds, sel_data(x->from));
	if (!switches) {
		EQ(c.ebx, sel_data(x->from));
		EQ(c.ecx, sp - 2 * width);
		stack = (const u8 *)c.ecx;
		EQ(x->bits == 16 ? *(u16 *)stack : *(u32 *)stack, x->bits == 16 ? (code + 7) & 0xffff : code + 7);
		EQ(*(u16 *)(stack + width), sel_code(x->from));
		return;
	}
	EQ(c.ebx, sel_data(level));
	EQ(c.ecx, inner_stack(level) - (4 + x->count) * width);
	stack = (const u8 *)c.ecx;
	EQ(x->bits == 16 ? *(u16 *)stack : *(u32 *)stack, x->bits == 16 ? (code + 7) & 0xffff : code + 7);
	EQ(*(u16 *)(stack + width), sel_code(x->from));
	TRUE(memcmp(stack + 2 * width, (void *)sp, x->count * width) == 0);
	stack += (2 + x->count) * width;
	EQ(x->bits == 16 ? *(u16 *)stack : *(u32 *)stack, x->bits == 16 ? sp & 0xffff : sp);
	EQ(*(u16 *)(stack + width), sel_data(x->from));
}

/* There and back: the far return releases the parameters on both stacks. */
static void call_and_return(unsigned from, unsigned to)
{
	struct ctx c;

	gdt_set(CODE_SEG, desc(0, 0xfffff, A_FLAT_CODE(to)));
	gdt_set(GATE, gate(CODE_SEG, CODE("mov %cs, %eax; mov 8(%esp), %ebx; mov 12(%esp), %ecx; lret $8"),
	                   A_P | A_DPL(3) | A_CALL32 | GATE_COUNT(2)));
	gdt_set(CODE_SEG + 8, desc(0, 0xfffff, A_FLAT_DATA(to)));
	ctx_init(&c,
	         from, CODE("mov %esp, %esi; push $0x1111; push $0x2222; lcall $0x100, $0; mov %cs, %edx; mov %ss, %edi; mov %esp, %ebp"));
	c.es = SEL_D3 | 3;
	c.eflags = F_FIXED | F_CF | F_IOPL;
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, CODE_SEG | to);
	EQ(c.ebx, 0x2222);
	EQ(c.ecx, 0x1111);
	EQ(c.edx, sel_code(from));
	EQ(c.edi, sel_data(from));
	EQ(c.ebp, c.esi);
	EQ(c.esp, stack_top(from));
	EQ(c.es, SEL_D3 | 3);
	EQ(c.eflags, F_FIXED | F_CF | F_IOPL);
}

/* On return to an outer level, data segments that it may not have are made null: each kind once. */
static void nulled_segments(void)
{
	struct ctx c;

	test("return to an outer level takes data segments away");
	gdt_set(CODE_SEG, desc(0, 0xfffff, A_FLAT_CODE(0)));
	gdt_set(CODE_SEG + 8, desc(0, 0xfffff, A_FLAT_CODE(0) | A_CONF)); /* conforming code may stay */
	/* DS: level 0 data, ES: level 3 data, FS: conforming code of level 0, GS: level 2 data */
	gdt_set(GATE, gate(CODE_SEG,
	                   CODE("mov $0x10, %ax; mov %eax, %ds; mov $0x23, %ax; mov %eax, %es; mov $0x118, %ax; mov "
	                        "%eax, %fs;"
	                        "mov $0x40, %ax; mov %eax, %gs; lret"),
	                   A_P | A_DPL(3) | A_CALL32));
	ctx_init(&c, 3, CODE("lcall $0x100, $0; mov %ds, %eax; mov %es, %ebx; mov %fs, %ecx; mov %gs, %edx"));
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, 0);
	EQ(c.ebx, SEL_D3 | 3);
	EQ(c.ecx, CODE_SEG + 8);
	EQ(c.edx, 0);
	test("the same return by iret");
	gdt_set(GATE,
	        gate(CODE_SEG,
	             CODE("mov $0x10, %ax; mov %eax, %ds; mov $0x23, %ax; mov %eax, %es; mov $0x118, %ax; mov %eax, "
	                  "%fs;"
	                  "mov $0x40, %ax; mov %eax, %gs; pop %edi; push (%esp); movl $0x1b, (%esp); pushf; popl "
	                  "-4(%esp);"
	                  "push $2; xchg 4(%esp), %edi; pop %ebp; pop %ebp; push %ebp; push $2; push $0x1b; push %edi; "
	                  "mov (%esp), %esi; add $16, %esp; push $0x23; push %ebx; push $2; push $0x1b; push %edx; "
	                  "iret"),
	             A_P | A_DPL(3) | A_CALL32));
	ctx_init(&c,
	         3, CODE("mov %esp, %ebx; mov $1f, %edx; lcall $0x100, $0; 1: mov %ds, %eax; mov %es, %ebx; mov %fs, %ecx; mov %gs, %edx"));
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, 0);
	EQ(c.ebx, SEL_D3 | 3);
	EQ(c.ecx, CODE_SEG + 8);
	EQ(c.edx, 0);
	EQ(c.esp, stack_top(3));
}

void gates_call(void)
{
	static const u8 counts[] = { 0, 1, PARAMETERS, 10 };
	struct crossing x;

	for (x.from = 0; x.from < 4; x.from++) {
		for (x.to = 0; x.to <= x.from; x.to++) {
			for (unsigned conforming = 0; conforming < 2; conforming++) {
				x.conforming = conforming;
				for (unsigned i = 0; i < 2 * COUNT(counts); i++) {
					x.bits = i & 1 ? 16 : 32;
					x.count = counts[i / 2];
					if (level_after(&x) == 0 && x.from != 0 && x.count > 5 && x.bits == 32)
						continue; /* the runtime's own stack: enough */
					test("%u-bit call gate %u -> %u%s, %u parameters", x.bits, x.from, x.to,
					     conforming ? " conforming" : "", x.count);
					if (conforming && x.to < x.from)
						known("tcg", "RPL of CS is the segment's DPL");
					call(&x);
				}
			}
			if (x.to < x.from) {
				test("call gate %u -> %u and back", x.from, x.to);
				call_and_return(x.from, x.to);
			}
		}
	}
	nulled_segments();
}
