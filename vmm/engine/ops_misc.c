/*
 * ops_misc.c - what fits no other family: decimal arithmetic, BOUND, ARPL, CLD, STD, NOP and the hints, CLFLUSH, UD;
 * and interp_bind_int(), which asks each family.
 *
 * Decimal arithmetic, SALC and BOUND do not exist in the host's 64-bit mode, so they are done in software here.
 */
#include "vmm/engine/ops.h"

#define AL GPR8(c, 0)
#define AH GPR8(c, 1)
#define AX GPR16(c, 0)

/*
 * The flags that the manual leaves undefined (OF, SF, ZF, PF of AAA and AAS; OF of DAA and DAS; OF, AF, CF of AAD)
 * are those of the addition or subtraction inside, of AX in AAA and AAS before AL is masked, else of AL. So do AMD's
 * processors; Intel's clear OF and take the rest from the final AL. AAM clears OF, AF and CF on all.
 */
static void set_decimal_flags(struct vcpu *c, int32_t r, bool af, bool cf, bool of)
{
	c->lf.result = (uint32_t)r;
	c->lf.aux = (af ? 8u : 0) | (cf ? 1u << 31 : 0) | (cf != of ? 1u << 30 : 0);
}

static bool add_overflows(uint8_t a, uint8_t b)
{
	return (~(a ^ b) & (a ^ (a + b))) & 0x80;
}

static bool sub_overflows(uint8_t a, uint8_t b)
{
	return ((a ^ b) & (a ^ (a - b))) & 0x80;
}

INSN(aaa)
{
	bool adjust = (AL & 15) > 9 || flag_af(c);
	uint16_t old = AX;

	if (adjust)
		AX = (uint16_t)(AX + 0x106);
	set_decimal_flags(c, (int16_t)AX, adjust, adjust, ~old & AX & 0x8000);
	AL &= 15;
	NEXT;
}

INSN(aas)
{
	bool adjust = (AL & 15) > 9 || flag_af(c);
	uint16_t old = AX;

	if (adjust)
		AX = (uint16_t)(AX - 0x106);
	set_decimal_flags(c, (int16_t)AX, adjust, adjust, old & ~AX & 0x8000);
	AL &= 15;
	NEXT;
}

INSN(daa)
{
	bool low = (AL & 15) > 9 || flag_af(c), high = AL > 0x99 || flag_cf(c);
	uint8_t old = AL, by = (uint8_t)((low ? 6 : 0) + (high ? 0x60 : 0));

	AL = (uint8_t)(old + by);
	set_decimal_flags(c, (int8_t)AL, low, high, add_overflows(old, by));
	NEXT;
}

INSN(das)
{
	bool low = (AL & 15) > 9 || flag_af(c), high = AL > 0x99 || flag_cf(c);
	uint8_t old = AL, by = (uint8_t)((low ? 6 : 0) + (high ? 0x60 : 0));

	AL = (uint8_t)(old - by);
	set_decimal_flags(c, (int8_t)AL, low, high || (low && old < 6), sub_overflows(old, by));
	NEXT;
}

INSN(aam)
{
	uint8_t old = AL, base = (uint8_t)ip->imm;

	BEGIN;
	if (!base)
		vcpu_raise(c, VEC_DE);
	AH = old / base;
	AL = old % base;
	set_decimal_flags(c, (int8_t)AL, false, false, false);
	NEXT;
}

INSN(aad)
{
	uint8_t old = AL, by = (uint8_t)(AH * (uint8_t)ip->imm), r = (uint8_t)(old + by);

	set_decimal_flags(c, (int8_t)r, (old ^ by ^ r) & 16, r < old, add_overflows(old, by));
	AX = r;
	NEXT;
}

INSN(salc)
{
	AL = flag_cf(c) ? 0xff : 0;
	NEXT;
}

#define BOUND(bits, type)                                                                                              \
	INSN(bound##bits)                                                                                              \
	{                                                                                                              \
		type index = (type)REG(bits, ip->reg), low, high;                                                      \
		uint32_t ea = insn_ea(c, ip);                                                                          \
		BEGIN;                                                                                                 \
		low = (type)mem_read##bits(c, ip->seg, ea);                                                            \
		high = (type)mem_read##bits(c, ip->seg, ea + bits / 8);                                                \
		if (index < low || index > high)                                                                       \
			vcpu_raise(c, VEC_BR);                                                                         \
		NEXT;                                                                                                  \
	}
BOUND(16, int16_t)
BOUND(32, int32_t)

/* The destination's RPL becomes the source's if it was below. Memory is written only then: read-only pages show it. */
static bool adjust_rpl(uint16_t *dst, uint16_t src)
{
	bool below = (*dst & 3) < (src & 3);

	if (below)
		*dst = (uint16_t)((*dst & ~3) | (src & 3));
	return below;
}

static void set_zf(struct vcpu *c, bool zf)
{
	flags_set_arith(c, (flags_arith(c) & ~FL_ZF) | (zf ? FL_ZF : 0));
}

INSN(arpl_rr)
{
	uint16_t dst = GPR16(c, ip->rm);

	set_zf(c, adjust_rpl(&dst, GPR16(c, ip->reg)));
	GPR16(c, ip->rm) = dst;
	NEXT;
}

INSN(arpl_mr)
{
	uint32_t ea = insn_ea(c, ip);
	uint16_t dst;
	bool zf;

	BEGIN;
	dst = mem_read16(c, ip->seg, ea);
	zf = adjust_rpl(&dst, GPR16(c, ip->reg));
	if (zf)
		mem_write16(c, ip->seg, ea, dst);
	set_zf(c, zf);
	NEXT;
}

INSN(cld)
{
	c->eflags &= ~FL_DF;
	NEXT;
}
INSN(std)
{
	c->eflags |= FL_DF;
	NEXT;
}
INSN(nop)
{
	NEXT;
}

/* Has nothing to flush, but faults like a load (SDM vol. 2). */
INSN(clflush)
{
	BEGIN;
	mem_check_read(c, ip->seg, insn_ea(c, ip), 1);
	NEXT;
}

INSN(ud)
{
	BEGIN;
	vcpu_raise(c, VEC_UD);
}

insn_fn *bind_misc(const struct insn *in, unsigned mode)
{
	static insn_fn *const handlers[OP_FPU_BASE] = {
		[OP_AAA] = aaa, [OP_AAS] = aas,   [OP_DAA] = daa,      [OP_DAS] = das,   [OP_AAM] = aam,
		[OP_AAD] = aad, [OP_SALC] = salc, [OP_CLD] = cld,      [OP_STD] = std,   [OP_CLFLUSH] = clflush,
		[OP_UD] = ud,   [OP_NOP] = nop,   [OP_PREFETCH] = nop, [OP_FENCE] = nop,
	};

	(void)mode;
	if (in->op >= OP_FPU_BASE)
		return NULL;
	if (in->op == OP_BOUND)
		return in->opsize == 4 ? bound32 : bound16;
	if (in->op == OP_ARPL)
		return in->form == FORM_RR ? arpl_rr : arpl_mr;
	return handlers[in->op];
}

insn_fn *interp_bind_int(const struct insn *in, unsigned mode)
{
	static insn_fn *(*const families[])(const struct insn *, unsigned) = {
		bind_mov, bind_alu,    bind_branch, bind_stack,  bind_shift,
		bind_bit, bind_muldiv, bind_string, bind_system, bind_misc,
	};

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		insn_fn *fn = families[i](in, mode);

		if (fn)
			return fn;
	}
	return NULL;
}
