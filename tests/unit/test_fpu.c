/*
 * test_fpu.c - what the host processor cannot judge of x87, MMX and SSE: when an instruction is not available, pending exceptions, environment formats
 * of the modes, last instruction and operand pointers, and the error bound of the approximations over all their arguments.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/cpu/segment.h"
#include "vmm/engine/engine.h"
#include "vmm/engine/fpu.h"
#include "vmm/ring/ring.h"

#define MEMORY (1u << 20)
#define CODE 0x2000u
#define DATA 0x8000u
#define FLAT_CODE 0xc09b
#define FLAT_DATA 0xc093
#define NO_FAULT 0x100u

struct machine {
	struct vcpu c;
	struct ram ram;
	struct engine *engine;
};

static int setup(void **state)
{
	struct machine *t = aligned_alloc(64, (sizeof(*t) + 63) & ~63ul);

	if (!t)
		return -1;
	memset(t, 0, sizeof(*t));
	t->c.ring0_becomes = 1;
	assert_int_equal(ram_init(&t->ram, MEMORY), 0);
	assert_int_equal(mmu_init(&t->c.mmu, &t->ram, false), 0);
	assert_int_equal(engine_interp_create(&t->engine, &t->c), 0);
	vcpu_reset(&t->c);
	t->c.cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct machine *t = *state;

	engine_destroy(t->engine);
	mmu_free(&t->c.mmu);
	ram_free(&t->ram);
	free(t);
	return 0;
}

static void protected_mode(struct vcpu *c, uint32_t cr0)
{
	c->cr0 = CR0_PE | CR0_ET | cr0;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_set(&c->seg[i], 0x10, 0, 0xffffffff, FLAT_DATA, FLAT_DATA);
	segment_set(&c->seg[SEG_CS], 0x08, 0, 0xffffffff, FLAT_CODE, FLAT_CODE);
	mmu_set_paging(&c->mmu, c->cr0, c->cr3, c->cr4, false);
}

/* Segments at 0x1000 (code) and 0x7000 (data), so that linear and offset differ. */
static void real_mode(struct vcpu *c)
{
	c->cr0 = CR0_ET | CR0_NE;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_set(&c->seg[i], 0x700, 0x7000, 0xffff, 0x93, 0x93);
	segment_set(&c->seg[SEG_CS], 0x100, 0x1000, 0xffff, 0x93, 0x93);
	mmu_set_paging(&c->mmu, c->cr0, c->cr3, c->cr4, false);
}

/* Run the bytes at CODE to the INT3 put behind them. The vector of the fault that came instead, or NO_FAULT. */
static unsigned run(struct machine *t, const void *bytes, size_t n)
{
	struct vcpu *c = &t->c;
	uint8_t int3 = 0xcc;

	ram_write(&t->ram, CODE, bytes, n);
	ram_write(&t->ram, CODE + n, &int3, 1);
	c->rip = CODE - (uint32_t)c->seg[SEG_CS].base;
	ring_enter(c);
	engine_run(t->engine, c->icount + 1000);
	ring_leave(c);
	assert_false(c->fpu.live);
	if (c->exit.reason == EXIT_EXCEPTION)
		return c->exit.vector;
	assert_int_equal(c->exit.reason, EXIT_SOFTINT);
	return NO_FAULT;
}
#define RUN(t, bytes) run(t, bytes, sizeof(bytes) - 1)

#define FNINIT "\xdb\xe3"
#define FLD1 "\xd9\xe8"
#define FLDZ "\xd9\xee"
#define FDIVP "\xde\xf9"
#define FWAIT "\x9b"
#define FNSTSW_AX "\xdf\xe0"
#define FNCLEX "\xdb\xe2"
#define FLDCW "\xd9\x2d\x00\x80\x00\x00"    /* [DATA] */
#define FADD_M64 "\xdc\x05\x10\x80\x00\x00" /* [DATA + 16] */
#define FNSTENV "\xd9\x35\x40\x80\x00\x00"  /* [DATA + 64] */
#define FNSTENV_16 "\x66\xd9\x35\x40\x80\x00\x00"
#define FXSAVE "\x0f\xae\x05\x00\x81\x00\x00" /* [DATA + 256] */
#define PADDB "\x0f\xfc\xc1"
#define EMMS "\x0f\x77"
#define ADDPS "\x0f\x58\xc1"
#define PADDB_XMM "\x66\x0f\xfc\xc1"
#define MOVNTI "\x0f\xc3\x05\x00\x80\x00\x00"
#define SFENCE "\x0f\xae\xf8"
#define STMXCSR "\x0f\xae\x1d\x00\x80\x00\x00"

static void test_availability(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		uint32_t cr0, cr4;
		unsigned vector;
	} cases[] = {
#define CASE(bytes, cr0, cr4, vector) { bytes, sizeof(bytes) - 1, cr0, cr4, vector }
#define SSE CR4_OSFXSR
		CASE(FLD1, 0, 0, NO_FAULT),
		CASE(FLD1, CR0_TS, 0, VEC_NM),
		CASE(FLD1, CR0_EM, 0, VEC_NM),
		CASE(FNSTSW_AX, CR0_TS, 0, VEC_NM),
		CASE(FNINIT, CR0_EM, 0, VEC_NM),
		CASE(FXSAVE, CR0_TS, SSE, VEC_NM),
		CASE(FXSAVE, CR0_EM, SSE, VEC_NM),
		CASE(FXSAVE, 0, 0, NO_FAULT),
		CASE(FWAIT, CR0_TS, 0, NO_FAULT),
		CASE(FWAIT, CR0_MP, 0, NO_FAULT),
		CASE(FWAIT, CR0_MP | CR0_TS, 0, VEC_NM),
		CASE(FWAIT, CR0_EM, 0, NO_FAULT),
		CASE(PADDB, 0, 0, NO_FAULT),
		CASE(PADDB, CR0_EM, 0, VEC_UD),
		CASE(PADDB, CR0_TS, 0, VEC_NM),
		CASE(PADDB, CR0_EM | CR0_TS, 0, VEC_UD),
		CASE(EMMS, CR0_EM, 0, VEC_UD),
		CASE(EMMS, CR0_TS, 0, VEC_NM),
		CASE(ADDPS, 0, SSE, NO_FAULT),
		CASE(ADDPS, 0, 0, VEC_UD),
		CASE(ADDPS, CR0_TS, SSE, VEC_NM),
		CASE(ADDPS, CR0_EM, SSE, VEC_UD),
		CASE(ADDPS, CR0_TS, 0, VEC_UD),
		CASE(PADDB_XMM, 0, 0, VEC_UD),
		CASE(STMXCSR, 0, 0, VEC_UD),
		CASE(STMXCSR, CR0_TS, SSE, VEC_NM),
		CASE(MOVNTI, CR0_EM | CR0_TS, 0, NO_FAULT),
		CASE(SFENCE, CR0_EM | CR0_TS, 0, NO_FAULT),
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct machine *t = *state;

		protected_mode(&t->c, cases[i].cr0);
		t->c.cr4 = cases[i].cr4;
		if (run(t, cases[i].bytes, cases[i].len) != cases[i].vector)
			fail_msg("case %u: got reason %d vector %u, expected %u", i, (int)t->c.exit.reason,
			         t->c.exit.vector, cases[i].vector);
	}
}

static void put16(struct machine *t, uint32_t at, uint16_t v)
{
	ram_write(&t->ram, at, &v, sizeof(v));
}

static uint32_t get32(struct machine *t, uint32_t at)
{
	uint32_t v;

	ram_read(&t->ram, at, &v, sizeof(v));
	return v;
}

static uint16_t get16(struct machine *t, uint32_t at)
{
	return (uint16_t)get32(t, at);
}

/* 1 / 0 with #Z unmasked: nothing happens until the next waiting instruction. */
static void test_pending(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	protected_mode(c, CR0_NE);
	put16(t, DATA, 0x037b);
	assert_int_equal(RUN(t, FNINIT FLDCW FLD1 FLDZ FDIVP FNSTSW_AX), NO_FAULT);
	assert_int_equal(c->gpr[R_AX] & 0xffff, 0x8084 | 6 << 11); /* B, ES, ZE; two on the stack: no pop */
	assert_int_equal(RUN(t, FWAIT), VEC_MF);
	assert_int_equal(c->rip, CODE);
	assert_int_equal(RUN(t, FLD1), VEC_MF);
	assert_int_equal(RUN(t, PADDB), VEC_MF);
	assert_int_equal(RUN(t, ADDPS), NO_FAULT);
	assert_int_equal(RUN(t, FXSAVE), NO_FAULT);
	c->cr0 &= ~CR0_NE; /* IGNNE#: on it goes */
	assert_int_equal(RUN(t, FWAIT FLD1), NO_FAULT);
	c->cr0 |= CR0_NE;
	assert_int_equal(RUN(t, FNCLEX FWAIT FLD1), NO_FAULT);
}

/* Exceptions flagged while masked become pending when FLDCW unmasks them, and FNSTENV masks them again. */
static void test_unmask(void **state)
{
	struct machine *t = *state;

	protected_mode(&t->c, CR0_NE);
	put16(t, DATA, 0x037b);
	assert_int_equal(RUN(t, FNINIT FLD1 FLDZ FDIVP FLDCW), NO_FAULT);
	assert_int_equal(RUN(t, FWAIT), VEC_MF);
	assert_int_equal(RUN(t, FNSTENV FWAIT), NO_FAULT);
	assert_int_equal(get16(t, DATA + 64), 0x037b);
	assert_int_equal(get16(t, DATA + 68) & 0x8084, 0x8084);
}

static void test_environment_protected(void **state)
{
	struct machine *t = *state;
	uint32_t env = DATA + 64;

	protected_mode(&t->c, CR0_NE);
	assert_int_equal(RUN(t, FNINIT FLD1 FADD_M64 FNSTENV), NO_FAULT);
	assert_int_equal(get32(t, env), 0xffff037f);
	assert_int_equal(get32(t, env + 8), 0xffff3fff);
	assert_int_equal(get32(t, env + 12), CODE + 4);
	assert_int_equal(get32(t, env + 16), 0x04050008); /* FOP DC 05, CS as the guest knows it: RPL 0 */
	assert_int_equal(get32(t, env + 20), DATA + 16);
	assert_int_equal(get32(t, env + 24), 0xffff0010);
	assert_int_equal(RUN(t, FNSTENV_16), NO_FAULT);
	assert_int_equal(get16(t, env + 6), CODE + 4);
	assert_int_equal(get16(t, env + 8), 0x0008);
	assert_int_equal(get16(t, env + 10), DATA + 16);
	assert_int_equal(get16(t, env + 12), 0x0010);
}

static void test_environment_real(void **state)
{
	struct machine *t = *state;
	uint32_t env = 0x7000 + 0x40;

	real_mode(&t->c);
	assert_int_equal(RUN(t, FNINIT FLD1 "\xdc\x06\x10\x00"
	                                    "\xd9\x36\x40\x00"),
	                 NO_FAULT); /* FADD [16], FNSTENV [64] */
	assert_int_equal(get16(t, env), 0x037f);
	assert_int_equal(get16(t, env + 4), 0x3fff);
	assert_int_equal(get16(t, env + 6), CODE + 4);
	assert_int_equal(get16(t, env + 8), 0x0406);
	assert_int_equal(get16(t, env + 10), 0x7010);
	assert_int_equal(get16(t, env + 12), 0);
	assert_int_equal(RUN(t, "\x66\xd9\x36\x40\x00"), NO_FAULT);
	assert_int_equal(get32(t, env + 12), 0xffff0000 | (CODE + 4));
	assert_int_equal(get32(t, env + 16), 0x0406);
	assert_int_equal(get32(t, env + 20), 0xffff7010);
}

/* What FNSTENV saved, FLDENV brings back, pointers too. */
static void test_environment_round_trip(void **state)
{
	struct machine *t = *state;
	uint8_t before[512];

	protected_mode(&t->c, CR0_NE);
	assert_int_equal(RUN(t, FNINIT FLD1 FLDZ FADD_M64 FNSTENV), NO_FAULT);
	memcpy(before, t->c.fpu.fx, sizeof(before));
	assert_int_equal(RUN(t, FNINIT "\xd9\x25\x40\x80\x00\x00"), NO_FAULT);
	assert_memory_equal(before, t->c.fpu.fx, FX_END);
}

/* No byte of the image comes from the VMM. */
static void test_image_is_the_guests(void **state)
{
	struct machine *t = *state;

	protected_mode(&t->c, CR0_NE);
	assert_int_equal(RUN(t, FNINIT FLD1 FLD1 FXSAVE), NO_FAULT);
	assert_int_equal(get32(t, DATA + 256 + FX_FIP), CODE + 4);
	assert_int_equal(get32(t, DATA + 256 + FX_FCS), 8);
	assert_int_equal(get32(t, DATA + 256 + FX_FDP), 0);
	assert_int_equal(get32(t, DATA + 256 + FX_MXCSR), MXCSR_DEFAULT);
	assert_int_equal(get32(t, DATA + 256 + FX_MXCSR_MASK), 0xffff);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(get32(t, DATA + 256 + FX_ST + 16 * i + 12), 0);
}

static void test_simd_exception(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	protected_mode(c, CR0_NE);
	FX32(c, FX_MXCSR) = 0x1d80; /* #Z unmasked */
	memset(c->fpu.fx + FX_XMM, 0, 32);
	for (unsigned i = 0; i < 4; i++)
		FX32(c, FX_XMM + 4 * i) = 0x3f800000;
	c->cr4 |= CR4_OSXMMEXCPT;
	assert_int_equal(RUN(t, "\x0f\x5e\xc1"), VEC_XM); /* DIVPS xmm0, xmm1 */
	assert_int_equal(FX32(c, FX_MXCSR), 0x1d84);
	assert_int_equal(FX32(c, FX_XMM), 0x3f800000);
	c->cr4 &= ~CR4_OSXMMEXCPT;
	assert_int_equal(RUN(t, "\x0f\x5e\xc1"), VEC_UD);
	c->cr4 |= CR4_OSXMMEXCPT;
}

static float as_float(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* Every 61st argument of the 2^32, and all exponents; SDM vol. 2: relative error at most 1.5 * 2^-12. */
static void test_approximations(void **state)
{
	const double bound = 1.5 * 0x1p-12;

	(void)state;
	for (uint64_t bits = 0x00800000; bits < 0x7f800000; bits += 61) {
		double x = (double)as_float((uint32_t)bits), r = (double)as_float(approx_rcp((uint32_t)bits));

		if (r != 0 ? fabs(r * x - 1) > bound : x < 0x1p126)
			fail_msg("1 / %a = %a", x, r);
		assert_int_equal(approx_rcp((uint32_t)bits | 0x80000000u), approx_rcp((uint32_t)bits) | 0x80000000u);
		r = (double)as_float(approx_rsqrt((uint32_t)bits));
		if (fabs(r * sqrt(x) - 1) > bound)
			fail_msg("1 / sqrt(%a) = %a", x, r);
	}
}

static void test_approximation_specials(void **state)
{
	static const uint32_t cases[][3] = {
		/* argument, rcp, rsqrt */
		{ 0x00000000, 0x7f800000, 0x7f800000 }, { 0x80000000, 0xff800000, 0xff800000 },
		{ 0x00000001, 0x7f800000, 0x7f800000 }, { 0x807fffff, 0xff800000, 0xff800000 },
		{ 0x7f800000, 0x00000000, 0x00000000 }, { 0xff800000, 0x80000000, 0xffc00000 },
		{ 0x7f800001, 0x7fc00001, 0x7fc00001 }, { 0xffc12345, 0xffc12345, 0xffc12345 },
		{ 0x7f000000, 0x00000000, 0x1fb504f3 }, { 0xbf800000, 0xbf800000, 0xffc00000 },
		{ 0x3f800000, 0x3f800000, 0x3f800000 }, { 0x40800000, 0x3e800000, 0x3f000000 },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(approx_rcp(cases[i][0]), cases[i][1]);
		assert_int_equal(approx_rsqrt(cases[i][0]), cases[i][2]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_availability, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pending, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unmask, setup, teardown),
		cmocka_unit_test_setup_teardown(test_environment_protected, setup, teardown),
		cmocka_unit_test_setup_teardown(test_environment_real, setup, teardown),
		cmocka_unit_test_setup_teardown(test_environment_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_image_is_the_guests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_simd_exception, setup, teardown),
		cmocka_unit_test(test_approximations),
		cmocka_unit_test(test_approximation_specials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
