/*
 * tables.c - LGDT, LIDT, LLDT, LTR and their readers at CPL 0: real values, checks, and effects.
 */
#include "guest.h"
#include "priv.h"

static u64 other_gdt[GDT_SLOTS] ALIGNED(16);
static struct tss other_tss;

static void gdt_idt(void)
{
	struct table_ptr g, i, saved_g, saved_i, zero = { 0, 0 };

	test("sgdt and sidt give what was loaded");
	asm_volatile("sgdt %0; sidt %1" : "=m"(saved_g), "=m"(saved_i));
	EQ(saved_g.base, (u32)gdt);
	EQ(saved_g.limit, sizeof(gdt) - 1);
	EQ(saved_i.base, (u32)idt);
	EQ(saved_i.limit, sizeof(idt) - 1);
	test("lgdt: another table");
	memcpy(other_gdt, gdt, sizeof(gdt));
	g = (struct table_ptr){ 0x1ff, (u32)other_gdt };
	asm_volatile("lgdt %0" : : "m"(g));
	asm_volatile("sgdt %0" : "=m"(g));
	EQ(g.base, (u32)other_gdt);
	EQ(g.limit, 0x1ff);
	other_gdt[SEL_FREE >> 3] = desc(0, 0x1234, A_P | A_DATA | A_RW);
	asm_volatile("lsl %1, %0" : "=r"(g.base) : "r"(SEL_FREE));
	EQ(g.base, 0x1234);
	asm_volatile("lgdt %0" : : "m"(saved_g));
	test("lgdt with 16-bit operand takes 24 bits of base");
	g = (struct table_ptr){ sizeof(gdt) - 1, (u32)gdt | 0xab000000 };
	asm_volatile("data16 lgdt %0" : : "m"(g));
	asm_volatile("sgdt %0" : "=m"(g));
	EQ(g.base, (u32)gdt);
	test("lidt with limit 0 and back");
	asm_volatile("lidt %0" : : "m"(zero));
	asm_volatile("sidt %0" : "=m"(i));
	EQ(i.base, 0);
	EQ(i.limit, 0);
	asm_volatile("lidt %0; lgdt %1" : : "m"(saved_i), "m"(saved_g));
	asm_volatile("sidt %0" : "=m"(i));
	EQ(i.base, (u32)idt);
}

static void gdt_limit(void)
{
	struct table_ptr saved, cut = { SEL_FREE + 7 - 8, (u32)gdt };
	struct ctx c;
	u32 code = CODE("mov %ax, %fs");

	test("selector beyond the GDT's limit");
	gdt_set(SEL_FREE, desc(0, 0xfffff, A_FLAT_DATA(0)));
	asm_volatile("sgdt %0" : "=m"(saved));
	asm_volatile("lgdt %0" : : "m"(cut));
	ctx_init(&c, 0, code);
	c.eax = SEL_FREE;
	cpu_run(&c);
	FAULT(&c, GP, SEL_FREE, code);
	cut.limit += 7;
	asm_volatile("lgdt %0" : : "m"(cut));
	ctx_init(&c, 0, code);
	c.eax = SEL_FREE;
	cpu_run(&c);
	FAULT(&c, GP, SEL_FREE, code);
	cut.limit++;
	asm_volatile("lgdt %0" : : "m"(cut));
	ctx_init(&c, 0, code);
	c.eax = SEL_FREE;
	cpu_run(&c);
	FINE(&c);
	asm_volatile("lgdt %0" : : "m"(saved));
}

static void lldt_case(const char *name, u16 sel, u32 vector, u32 error)
{
	struct ctx c;
	u32 code = CODE("lldt %ax");
	u16 ldt;

	test("lldt %s", name);
	ctx_init(&c, 0, code);
	c.eax = sel;
	cpu_run(&c);
	if (vector == DONE) {
		FINE(&c);
		asm_volatile("sldt %0" : "=m"(ldt));
		EQ(ldt, sel);
	} else {
		FAULT(&c, vector, error, code);
	}
}

static void ldt(void)
{
	static u64 table[4] ALIGNED(8);
	u32 limit;

	table[1] = desc(0, 0x4321, A_P | A_DATA | A_RW);
	gdt_set(SEL_LDT, desc((u32)table, sizeof(table) - 1, A_P | A_LDT));
	lldt_case("good", SEL_LDT, DONE, 0);
	test("ldt descriptor is used");
	limit = 0;
	asm_volatile("lsl %1, %0" : "+r"(limit) : "r"(0x0c));
	EQ(limit, 0x4321);
	lldt_case("null", 0, DONE, 0);
	lldt_case("data segment", SEL_D0, GP, SEL_D0);
	lldt_case("selector in the LDT", SEL_LDT | 4, GP, SEL_LDT | 4);
	lldt_case("beyond the limit", 0xfff8, GP, 0xfff8);
	gdt_set(SEL_LDT, desc((u32)table, sizeof(table) - 1, A_LDT));
	lldt_case("not present", SEL_LDT, NP, SEL_LDT);
	test("ldt selectors without an LDT");
	asm_volatile("lldt %w0" : : "r"(0));
	limit = 77;
	asm_volatile("lsl %1, %0" : "+r"(limit) : "r"(0x0c) : "cc");
	EQ(limit, 77);
}

static void ltr_case(const char *name, u16 sel, u32 vector, u32 error)
{
	struct ctx c;
	u32 code = CODE("ltr %ax");
	u16 tr;

	test("ltr %s", name);
	ctx_init(&c, 0, code);
	c.eax = sel;
	cpu_run(&c);
	asm_volatile("str %0" : "=m"(tr));
	if (vector == DONE) {
		FINE(&c);
		EQ(tr, sel);
	} else {
		FAULT(&c, vector, error, code);
		EQ(tr, SEL_TSS);
	}
}

static void tr(void)
{
	test("ltr marked the descriptor busy");
	EQ(gdt[SEL_TSS >> 3] >> 40 & 0xff, A_P | A_BUSY32);
	test("ltr null");
	if (!cannot("tcg", "a null task register is allowed"))
		ltr_case("null", 0, GP, 0);
	ltr_case("busy", SEL_TSS, GP, SEL_TSS);
	ltr_case("data segment", SEL_D0, GP, SEL_D0);
	ltr_case("selector in the LDT", SEL_FREE | 4, GP, SEL_FREE | 4);
	ltr_case("beyond the limit", 0xfff8, GP, 0xfff8);
	gdt_set(SEL_FREE, desc((u32)&other_tss, sizeof(other_tss) - 1, A_TSS32));
	ltr_case("not present", SEL_FREE, NP, SEL_FREE);
	/* A good one: interrupts from outer rings then use its stack, so it is a copy. */
	memcpy(&other_tss, &main_tss.t, sizeof(other_tss));
	gdt_set(SEL_FREE, desc((u32)&other_tss, sizeof(other_tss) - 1, A_P | A_TSS32));
	ltr_case("good", SEL_FREE, DONE, 0);
	test("ltr of another marks only that busy");
	EQ(gdt[SEL_FREE >> 3] >> 40 & 0xff, A_P | A_BUSY32);
	EQ(gdt[SEL_TSS >> 3] >> 40 & 0xff, A_P | A_BUSY32);
	load_tables();
}

void priv_tables(void)
{
	gdt_idt();
	gdt_limit();
	ldt();
	tr();
}
