/*
 * control.c - control and debug registers at CPL 0: what is written is seen, and what the manual refuses is refused with nothing changed.
 */
#include "guest.h"
#include "priv.h"

static void cr0_bits(void)
{
	static const u32 bits[] = { CR0_MP, CR0_EM, CR0_TS, CR0_NE, CR0_WP, CR0_AM };
	u32 old = get_cr0(), msw;

	for (unsigned i = 0; i < COUNT(bits); i++) {
		test("cr0 bit %x", bits[i]);
		set_cr0(old ^ bits[i]);
		EQ(get_cr0(), old ^ bits[i]);
		asm_volatile("smsw %0" : "=r"(msw));
		EQ(msw & 0xffff, (old ^ bits[i]) & 0xffff);
		set_cr0(old);
		EQ(get_cr0(), old);
	}
	test("cr0 ET is fixed");
	set_cr0(old & ~CR0_ET);
	EQ(get_cr0() & CR0_ET, CR0_ET);
	test("clts");
	set_cr0(old | CR0_TS);
	asm_volatile("clts");
	EQ(get_cr0(), old & ~CR0_TS);
	set_cr0(old);
}

static void lmsw(void)
{
	u32 old = get_cr0();
	u16 m = 0xfffe;

	test("lmsw changes only MP, EM, TS");
	asm_volatile("lmsw %0" : : "m"(m));
	EQ(get_cr0(), old | 0xe);
	m = 0;
	asm_volatile("lmsw %0" : : "m"(m));
	EQ(get_cr0(), old & ~0xe);
	test("lmsw does not clear PE");
	asm_volatile("lmsw %w0" : : "r"(0));
	EQ(get_cr0() & CR0_PE, CR0_PE);
	set_cr0(old);
}

static void refused_cr0(const char *name, u32 set, u32 clear)
{
	struct ctx c;
	u32 old = get_cr0(), code = CODE("mov %eax, %cr0");

	test("%s", name);
	if (cannot("tcg", "CR0 consistency is not checked"))
		return;
	ctx_init(&c, 0, code);
	c.eax = (old | set) & ~clear;
	cpu_run(&c);
	FAULT(&c, GP, 0, code);
	EQ(get_cr0(), old);
}

static void cr2_cr3(void)
{
	u32 old = get_cr3();

	test("cr2 holds 32 bits");
	set_cr2(0xdeadbeef);
	EQ(get_cr2(), 0xdeadbeef);
	set_cr2(0);
	EQ(get_cr2(), 0);
	test("cr3");
	if (!(get_cr0() & CR0_PG)) {
		set_cr3(0x00345000);
		EQ(get_cr3(), 0x00345000);
	}
	set_cr3(old | P_PWT | P_PCD);
	EQ(get_cr3(), old | P_PWT | P_PCD);
	set_cr3(old);
	EQ(get_cr3(), old);
}

static void cr4_bits(void)
{
	static const u32 bits[] = { CR4_TSD, CR4_DE, CR4_PSE, CR4_PGE, CR4_PCE, CR4_OSFXSR, CR4_OSXMMEXCPT };
	struct ctx c;
	u32 old = get_cr4(), code = CODE("mov %eax, %cr4");

	for (unsigned i = 0; i < COUNT(bits); i++) {
		test("cr4 bit %x", bits[i]);
		set_cr4(old ^ bits[i]);
		EQ(get_cr4(), old ^ bits[i]);
		set_cr4(old);
		EQ(get_cr4(), old);
	}
	for (unsigned bit = 12; bit < 32; bit += 19) {
		test("cr4 reserved bit %u", bit);
		if (cannot("tcg", "reserved bits are not checked"))
			continue;
		ctx_init(&c, 0, code);
		c.eax = old | 1u << bit;
		cpu_run(&c);
		FAULT(&c, GP, 0, code);
		EQ(get_cr4(), old);
		set_cr4(old);
	}
}

static void undefined_registers(void)
{
	const struct {
		const char *name;
		u32 code;
	} items[] = {
		{ "mov cr1", CODE(".byte 0x0f, 0x20, 0xc8") },
		{ "mov to cr1", CODE(".byte 0x0f, 0x22, 0xc8") },
		{ "mov cr5", CODE(".byte 0x0f, 0x20, 0xe8") },
		{ "mov to cr7", CODE(".byte 0x0f, 0x22, 0xf8") },
	};
	struct ctx c;

	for (unsigned i = 0; i < COUNT(items); i++) {
		test("%s is undefined", items[i].name);
		run_at(&c, 0, items[i].code);
		FAULT(&c, UD, NO_ERROR, items[i].code);
	}
}

static void debug_registers(void)
{
	struct ctx c;
	u32 code, value;

	test("dr0..dr3 hold what is written");
	asm_volatile("mov %0, %%dr0; mov %1, %%dr1; mov %2, %%dr2; mov %3, %%dr3"
	             :
	             : "r"(0x11111111), "r"(0x22222222), "r"(0x33333333), "r"(0x44444444));
	asm_volatile("mov %%dr0, %0" : "=r"(value));
	EQ(value, 0x11111111);
	asm_volatile("mov %%dr1, %0" : "=r"(value));
	EQ(value, 0x22222222);
	asm_volatile("mov %%dr2, %0" : "=r"(value));
	EQ(value, 0x33333333);
	asm_volatile("mov %%dr3, %0" : "=r"(value));
	EQ(value, 0x44444444);
	test("dr6 fixed bits");
	known("tcg", "DR6 bit 12 can be set");
	set_dr6(0);
	EQ(get_dr6(), 0xffff0ff0);
	set_dr6(0xffffffff);
	EQ(get_dr6(), 0xffffefff);
	set_dr6(0xffff0ff0);
	test("dr7 fixed bits");
	set_dr7(0);
	EQ(get_dr7(), 0x400);
	test("dr4 and dr5 are dr6 and dr7 without CR4.DE");
	asm_volatile(".byte 0x0f, 0x21, 0xe0" : "=a"(value)); /* mov %dr4, %eax */
	EQ(value, 0xffff0ff0);
	asm_volatile(".byte 0x0f, 0x21, 0xe8" : "=a"(value)); /* mov %dr5, %eax */
	EQ(value, 0x400);
	test("dr4 and dr5 are undefined with CR4.DE");
	set_cr4(get_cr4() | CR4_DE);
	code = CODE(".byte 0x0f, 0x21, 0xe0");
	run_at(&c, 0, code);
	FAULT(&c, UD, NO_ERROR, code);
	code = CODE(".byte 0x0f, 0x23, 0xe8");
	run_at(&c, 0, code);
	FAULT(&c, UD, NO_ERROR, code);
	set_cr4(get_cr4() & ~CR4_DE);
}

static void interrupt_flag(void)
{
	test("cli and sti at CPL 0");
	sti();
	EQ(get_eflags() & F_IF, F_IF);
	cli();
	EQ(get_eflags() & F_IF, 0);
	test("popf at CPL 0 sets IF and IOPL");
	set_eflags(F_FIXED | F_IF | F_IOPL);
	EQ(get_eflags() & (F_IF | F_IOPL), F_IF | F_IOPL);
	set_eflags(F_FIXED);
	EQ(get_eflags() & (F_IF | F_IOPL), 0);
}

static void caches(void)
{
	struct ctx c;

	test("wbinvd, invd, invlpg at CPL 0");
	ctx_init(&c, 0, CODE("wbinvd; invlpg (%ebx); invlpg 0x1000; wbinvd"));
	c.ebx = 0xf0000000;
	cpu_run(&c);
	FINE(&c);
}

void priv_control(void)
{
	cr0_bits();
	lmsw();
	refused_cr0("cr0 PG without PE", CR0_PG, CR0_PE);
	refused_cr0("cr0 NW without CD", 0x20000000, 0x40000000);
	cr2_cr3();
	cr4_bits();
	undefined_registers();
	debug_registers();
	interrupt_flag();
	caches();
}
