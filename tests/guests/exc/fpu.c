/*
 * fpu.c - the FPU's own exceptions: not available (#NM), x87 error (#MF), SSE error (#XM), and #UD where CR0 and CR4 say so.
 */
#include "exc.h"

static u8 memory[512] ALIGNED(16);

struct item {
	const char *name;
	u32 code;
	u32 cr0_set, cr0_clear, cr4_set, cr4_clear;
	u32 vector;
};

static void check_item(const struct item *item, unsigned cpl)
{
	u32 cr0 = get_cr0(), cr4 = get_cr4();
	struct ctx c;

	test("cpl%u %s", cpl, item->name);
	set_cr4((cr4 | item->cr4_set) & ~item->cr4_clear);
	set_cr0((cr0 | item->cr0_set) & ~item->cr0_clear);
	ctx_init(&c, cpl, item->code);
	c.esi = (u32)memory;
	cpu_run(&c);
	set_cr0(cr0);
	set_cr4(cr4);
	if (item->vector == DONE)
		FINE(&c);
	else
		FAULT(&c, item->vector, NO_ERROR, item->code);
}

static void available(unsigned cpl)
{
	const struct item items[] = {
		{ "fld1 with TS", CODE("fld1"), CR0_TS, CR0_EM, 0, 0, NM },
		{ "fninit with EM", CODE("fninit"), CR0_EM, CR0_TS, 0, 0, NM },
		{ "fnstsw with TS", CODE("fnstsw %ax"), CR0_TS, CR0_EM, 0, 0, NM },
		{ "fwait with TS and MP", CODE("fwait"), CR0_TS | CR0_MP, CR0_EM, 0, 0, NM },
		{ "fwait with TS alone", CODE("fwait"), CR0_TS, CR0_EM | CR0_MP, 0, 0, DONE },
		{ "fwait with EM", CODE("fwait"), CR0_EM, CR0_TS, 0, 0, DONE },
		{ "movd mmx with TS", CODE("movd %eax, %mm0"), CR0_TS, CR0_EM, 0, 0, NM },
		{ "movd mmx with EM", CODE("movd %eax, %mm0"), CR0_EM, CR0_TS, 0, 0, UD },
		{ "emms", CODE("emms"), 0, CR0_EM | CR0_TS, 0, 0, DONE },
		{ "fxsave with TS", CODE("fxsave (%esi)"), CR0_TS, CR0_EM, 0, 0, NM },
		{ "fxsave with EM", CODE("fxsave (%esi)"), CR0_EM, CR0_TS, 0, 0, NM },
		{ "movaps with TS", CODE("movaps %xmm0, %xmm1"), CR0_TS, CR0_EM, CR4_OSFXSR, 0, NM },
		{ "movaps with EM", CODE("movaps %xmm0, %xmm1"), CR0_EM, CR0_TS, CR4_OSFXSR, 0, UD },
		{ "movaps without OSFXSR", CODE("movaps %xmm0, %xmm1"), 0, CR0_EM | CR0_TS, 0, CR4_OSFXSR, UD },
		{ "movaps", CODE("movaps %xmm0, %xmm1"), 0, CR0_EM | CR0_TS, CR4_OSFXSR, 0, DONE },
		{ "prefetch with TS and EM", CODE("prefetcht0 (%esi)"), CR0_TS | CR0_EM, 0, 0, 0, DONE },
		{ "sfence with TS and EM", CODE("sfence"), CR0_TS | CR0_EM, 0, 0, 0, DONE },
	};

	for (unsigned i = 0; i < COUNT(items); i++)
		check_item(&items[i], cpl);
}

/* An unmasked x87 exception is reported by the next waiting instruction. */
static void x87_error(unsigned cpl)
{
	const struct {
		const char *name;
		u32 code;
		u32 offset;
		u32 status;
	} items[] = {
		/* fninit 2, fldcw 3, then */
		{ "division by zero", CODE("fninit; fldcw 2(%esi); fldz; fld1; fdiv %st(1), %st; fwait"), 11, 4 },
		{ "invalid operation", CODE("fninit; fldcw 2(%esi); fldz; fdiv %st, %st; fld1"), 9, 1 },
		{ "stack underflow", CODE("fninit; fldcw 2(%esi); fadd %st(1), %st; fwait"), 7, 0x41 },
		{ "control instructions do not report",
		  CODE("fninit; fldcw 2(%esi); fldz; fld1; fdiv %st(1), %st; fnstsw %ax; fnstcw 4(%esi); nop; fwait"),
		  17, 4 },
	};
	u32 cr0 = get_cr0();
	struct ctx c;

	set_cr0((cr0 | CR0_NE | CR0_MP) & ~(CR0_EM | CR0_TS));
	*(u16 *)(memory + 2) = 0x340; /* all unmasked */
	for (unsigned i = 0; i < COUNT(items); i++) {
		u16 status;

		test("cpl%u x87 %s", cpl, items[i].name);
		known("tcg", "some x87 exceptions are not raised");
		ctx_init(&c, cpl, items[i].code);
		c.esi = (u32)memory;
		cpu_run(&c);
		FAULT(&c, MF, NO_ERROR, items[i].code + items[i].offset);
		asm_volatile("fnstsw %0" : "=m"(status));
		EQ(status & 0x80ff, 0x8080 | items[i].status);
		asm_volatile("fnclex; fninit");
	}
	test("cpl%u masked x87 exceptions are silent", cpl);
	run_at(&c, cpl, CODE("fninit; fldz; fld1; fdiv %st(1), %st; fwait; fnstsw %ax; fninit"));
	FINE(&c);
	EQ(c.eax & 0x80ff, 4);
	set_cr0(cr0);
}

static void sse_error(unsigned cpl)
{
	static const u32 one = 0x3f800000, unmasked = 0x1f80 & ~(1u << 9), masked = 0x1f80; /* ZM */
	u32 code = CODE("divss %xmm1, %xmm0"), cr0 = get_cr0(), cr4 = get_cr4(), mxcsr;
	struct ctx c;

	set_cr0(cr0 & ~(CR0_EM | CR0_TS));
	for (unsigned os = 0; os < 2; os++) {
		test("cpl%u divss by zero unmasked, OSXMMEXCPT %u", cpl, os);
		known("tcg", "SSE exceptions are not raised");
		set_cr4((cr4 | CR4_OSFXSR | CR4_OSXMMEXCPT) & ~(os ? 0 : CR4_OSXMMEXCPT));
		asm_volatile("ldmxcsr %0; movss %1, %%xmm0; xorps %%xmm1, %%xmm1" : : "m"(unmasked), "m"(one));
		run_at(&c, cpl, code);
		FAULT(&c, os ? XM : UD, NO_ERROR, code);
		asm_volatile("stmxcsr %0" : "=m"(mxcsr));
		EQ(mxcsr, unmasked | 4);
		asm_volatile("movss %%xmm0, %0" : "=m"(mxcsr));
		EQ(mxcsr, one);
		asm_volatile("ldmxcsr %0" : : "m"(masked));
	}
	test("cpl%u unaligned movaps", cpl);
	code = CODE("movaps (%esi), %xmm0");
	ctx_init(&c, cpl, code);
	c.esi = (u32)memory + 8;
	cpu_run(&c);
	FAULT(&c, GP, 0, code);
	test("cpl%u ldmxcsr of reserved bits", cpl);
	known("tcg", "not checked");
	code = CODE("ldmxcsr (%esi)");
	*(u32 *)memory = 0x80001f80;
	ctx_init(&c, cpl, code);
	c.esi = (u32)memory;
	cpu_run(&c);
	FAULT(&c, GP, 0, code);
	set_cr4(cr4);
	set_cr0(cr0);
}

void exc_fpu(unsigned cpl)
{
	available(cpl);
	asm_volatile("clts; fninit");
	x87_error(cpl);
	sse_error(cpl);
}
