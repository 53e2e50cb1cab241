/*
 * descriptors.c - LAR, LSL, VERR, VERW and segment loads over every descriptor type, DPL, RPL and CPL. What must come out is computed by the
 * rules of the manual (SDM vol. 2, each instruction's page), written here a second time.
 */
#include "sens.h"

enum { SLOT = 0x100, LIMIT = 0x000a7 };

struct case_ {
	u32 type; /* S and type: 0..31 */
	u32 dpl, rpl, cpl;
	bool present;
};

static u32 max(u32 a, u32 b)
{
	return a > b ? a : b;
}

static bool is_segment(u32 type)
{
	return type & 0x10;
}
static bool is_code(u32 type)
{
	return (type & 0x18) == 0x18;
}
static bool is_conforming(u32 type)
{
	return (type & 0x1c) == 0x1c;
}
static bool is_writable(u32 type)
{
	return (type & 0x1a) == 0x12;
}
static bool is_readable(u32 type)
{
	return is_segment(type) && (!is_code(type) || (type & 2));
}

static bool level_ok(const struct case_ *k)
{
	return is_conforming(k->type) || k->dpl >= max(k->cpl, k->rpl);
}

static bool lar_ok(const struct case_ *k)
{
	return level_ok(k) && (is_segment(k->type) || (0x1a3e >> k->type & 1)); /* 1..5, 9, 11, 12 */
}

static bool lsl_ok(const struct case_ *k)
{
	return level_ok(k) && (is_segment(k->type) || (0x0a0e >> k->type & 1)); /* 1..3, 9, 11 */
}

static void set_slot(const struct case_ *k)
{
	/* expand-down data is given room from 4 KiB up */
	bool down = (k->type & 0x1c) == 0x14;

	gdt_set(SLOT, desc(0, down ? 0 : 0xfff00 | LIMIT, k->type | A_DPL(k->dpl) | (k->present ? A_P : 0) | A_G | A_DB));
}

static u32 high_dword(void)
{
	return gdt[SLOT >> 3] >> 32;
}

static void readers(const struct case_ *k)
{
	bool lar = lar_ok(k), lsl = lsl_ok(k), down = (k->type & 0x1c) == 0x14;
	struct ctx c;

	ctx_init(&c, k->cpl,
	         CODE("mov %eax, %esi; xor %ecx, %ecx; lar %eax, %ebx; setz %cl; lsl %eax, %edx; setz %ch; verr %si; "
	              "setz %al; verw %si; setz %ah"));
	c.eax = SLOT | k->rpl;
	cpu_run(&c);
	FINE(&c);
	EQ(c.ecx & 0xff, lar);
	if (lar)
		EQ(c.ebx & 0xf0ff00, high_dword() & 0xf0ff00);
	else
		EQ(c.ebx, 0xbbbbbbbb);
	EQ(c.ecx >> 8 & 0xff, lsl);
	EQ(c.edx, !lsl ? 0xdddddddd : down ? 0xfff : (0xfff00u | LIMIT) << 12 | 0xfff);
	EQ(c.eax & 0xff, level_ok(k) && is_readable(k->type));
	EQ(c.eax >> 8 & 0xff, level_ok(k) && is_writable(k->type));
}

/* The vector that loading this into DS raises; DONE: none. */
static u32 load_data(const struct case_ *k)
{
	if (!is_readable(k->type) || !level_ok(k))
		return GP;
	return k->present ? DONE : NP;
}

static u32 load_stack(const struct case_ *k)
{
	if (k->rpl != k->cpl || !is_writable(k->type) || k->dpl != k->cpl)
		return GP;
	return k->present ? DONE : SS;
}

static void loads(const struct case_ *k)
{
	u32 code = CODE("mov %ax, %es; mov %es, %ebx"), stack = CODE("mov %ax, %ss; mov %ss, %ebx; mov %cx, %ss"), want;
	struct ctx c;

	ctx_init(&c, k->cpl, code);
	c.eax = SLOT | k->rpl;
	cpu_run(&c);
	want = load_data(k);
	if (want == DONE) {
		FINE(&c);
		EQ(c.ebx, SLOT | k->rpl);
		EQ(high_dword() >> 8 & 1, 1); /* accessed */
	} else {
		FAULT(&c, want, SLOT, code);
		EQ(c.es, sel_data(k->cpl));
		EQ(high_dword() >> 8 & 0x1f, k->type);
	}
	set_slot(k);
	ctx_init(&c, k->cpl, stack);
	c.eax = SLOT | k->rpl;
	c.ecx = sel_data(k->cpl);
	cpu_run(&c);
	want = load_stack(k);
	if (want == DONE) {
		FINE(&c);
		EQ(c.ebx, SLOT | k->rpl);
		EQ(high_dword() >> 8 & 1, 1);
	} else {
		FAULT(&c, want, SLOT, stack);
		EQ(c.ss, sel_data(k->cpl));
	}
}

static void null_selectors(unsigned cpl)
{
	u32 stack = CODE("mov %ax, %ss"), use = CODE("mov (%ebx), %ecx");
	struct ctx c;

	test("cpl%u null selectors", cpl);
	for (u32 rpl = 0; rpl < 4; rpl++) {
		ctx_init(&c, cpl,
		         CODE("mov %ax, %ds; mov %ax, %es; mov %ax, %fs; mov %ax, %gs; mov %ds, %ebx; mov %gs, %ecx"));
		c.eax = rpl;
		cpu_run(&c);
		FINE(&c);
		EQ(c.ebx, rpl);
		EQ(c.ecx, rpl);
		ctx_init(&c, cpl, stack);
		c.eax = rpl;
		cpu_run(&c);
		FAULT(&c, GP, 0, stack);
		ctx_init(&c,
		         cpl, CODE("lar %eax, %ebx; setz %cl; lsl %eax, %ebx; setz %ch; verr %ax; setz %dl; verw %ax; setz %dh"));
		c.eax = rpl;
		cpu_run(&c);
		EQ(c.ecx & 0xffff, 0);
		EQ(c.edx & 0xffff, 0);
	}
	test("cpl%u use of a null segment", cpl);
	known("tcg", "segments are not checked on use");
	ctx_init(&c, cpl, use);
	c.ds = 0;
	c.ebx = stack_top(0);
	cpu_run(&c);
	FAULT(&c, GP, 0, use);
}

/* The other ways to load a segment register follow the same rules. */
static void other_loads(unsigned cpl)
{
	const struct {
		const char *name;
		u32 code;
		u32 offset; /* of the faulting instruction */
		bool stack;
	} ways[] = {
		{ "pop %ds", CODE("push %eax; pop %ds; mov %ds, %ebx"), 1, false },
		{ "pop %es", CODE("push %eax; pop %es; mov %es, %ebx"), 1, false },
		{ "pop %fs", CODE("push %eax; pop %fs; mov %fs, %ebx"), 1, false },
		{ "pop %gs", CODE("push %eax; pop %gs; mov %gs, %ebx"), 1, false },
		{ "lds", CODE("lds (%edx), %esi; mov %ds, %ebx"), 0, false },
		{ "les", CODE("les (%edx), %esi; mov %es, %ebx"), 0, false },
		{ "lfs", CODE("lfs (%edx), %esi; mov %fs, %ebx"), 0, false },
		{ "lgs", CODE("lgs (%edx), %esi; mov %gs, %ebx"), 0, false },
		{ "pop %ss", CODE("push %eax; pop %ss; mov %ss, %ebx"), 1, true },
		{ "lss", CODE("lss (%edx), %esp; mov %ss, %ebx"), 0, true },
	};
	struct ctx c;

	for (unsigned i = 0; i < COUNT(ways); i++) {
		for (unsigned dpl = 0; dpl < 4; dpl++) {
			u32 pointer[2] = { stack_top(cpl) - 64, SLOT | cpl };
			bool ok = ways[i].stack ? dpl == cpl : dpl >= cpl;

			test("cpl%u %s of DPL %u", cpl, ways[i].name, dpl);
			gdt_set(SLOT, desc(0, 0xfffff, A_FLAT_DATA(dpl)));
			ctx_init(&c, cpl, ways[i].code);
			c.eax = SLOT | cpl;
			c.edx = (u32)pointer;
			cpu_run(&c);
			if (ok) {
				FINE(&c);
				EQ(c.ebx, SLOT | cpl);
			} else {
				FAULT(&c, GP, SLOT, ways[i].code + ways[i].offset);
				EQ(c.esi, 0x51515151);
				EQ(c.esp, stack_top(cpl) - (ways[i].offset ? 4 : 0));
			}
		}
	}
}

static void arpl(unsigned cpl)
{
	struct ctx c;

	test("cpl%u arpl", cpl);
	for (u32 a = 0; a < 4; a++) {
		for (u32 b = 0; b < 4; b++) {
			ctx_init(&c, cpl, CODE("arpl %bx, %ax; setz %cl"));
			c.eax = 0x12340040 | a;
			c.ebx = 0x50 | b;
			cpu_run(&c);
			FINE(&c);
			EQ(c.eax, 0x12340040 | max(a, b));
			EQ(c.ecx & 0xff, a < b);
		}
	}
}

void sens_descriptors(unsigned cpl)
{
	struct case_ k = { .cpl = cpl };

	for (k.type = 0; k.type < 32; k.type++) {
		test("cpl%u lar, lsl, verr, verw, loads of type %x", cpl, k.type);
		for (k.dpl = 0; k.dpl < 4; k.dpl++) {
			for (k.rpl = 0; k.rpl < 4; k.rpl++) {
				for (unsigned present = 0; present < 2; present++) {
					k.present = present;
					set_slot(&k);
					readers(&k);
					loads(&k);
				}
			}
		}
	}
	null_selectors(cpl);
	other_loads(cpl);
	arpl(cpl);
}
