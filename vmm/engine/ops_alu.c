/*
 * ops_alu.c - binary arithmetic and logic: ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT, XADD,
 * CMPXCHG, CMPXCHG8B, and CLC, STC, CMC.
 *
 * Flags are left lazily, as cpu/flags.h says: the result, and the carries out of each bit. AF after AND, OR, XOR and
 * TEST is undefined by the manual; every processor since the 486 clears it. Bound by interp_bind_int().
 */
#include "vmm/engine/ops.h"

/* ---- what each operation computes; operands need be right in their low bits only ---- */

#define ALU_FUNCTIONS(bits)                                                                                            \
	static inline uint32_t add##bits(struct vcpu *c, uint32_t a, uint32_t b)                                       \
	{                                                                                                              \
		uint32_t r = a + b;                                                                                    \
		flags_set_lazy(c, bits, r, carries_add(a, b, r));                                                      \
		return r;                                                                                              \
	}                                                                                                              \
	static inline uint32_t adc##bits(struct vcpu *c, uint32_t a, uint32_t b)                                       \
	{                                                                                                              \
		uint32_t r = a + b + flag_cf(c);                                                                       \
		flags_set_lazy(c, bits, r, carries_add(a, b, r));                                                      \
		return r;                                                                                              \
	}                                                                                                              \
	static inline uint32_t sub##bits(struct vcpu *c, uint32_t a, uint32_t b)                                       \
	{                                                                                                              \
		uint32_t r = a - b;                                                                                    \
		flags_set_lazy(c, bits, r, carries_sub(a, b, r));                                                      \
		return r;                                                                                              \
	}                                                                                                              \
	static inline uint32_t sbb##bits(struct vcpu *c, uint32_t a, uint32_t b)                                       \
	{                                                                                                              \
		uint32_t r = a - b - flag_cf(c);                                                                       \
		flags_set_lazy(c, bits, r, carries_sub(a, b, r));                                                      \
		return r;                                                                                              \
	}                                                                                                              \
	static inline uint32_t logic##bits(struct vcpu *c, uint32_t r)                                                 \
	{                                                                                                              \
		flags_set_lazy(c, bits, r, 0);                                                                         \
		return r;                                                                                              \
	}                                                                                                              \
	static inline uint32_t and##bits(struct vcpu *c, uint32_t a, uint32_t b)                                       \
	{                                                                                                              \
		return logic##bits(c, a & b);                                                                          \
	}                                                                                                              \
	static inline uint32_t or ##bits(struct vcpu *c, uint32_t a, uint32_t b)                                       \
	{                                                                                                              \
		return logic##bits(c, a | b);                                                                          \
	}                                                                                                              \
	static inline uint32_t xor ##bits(struct vcpu *c, uint32_t a, uint32_t b)                                      \
	{                                                                                                              \
		return logic##bits(c, a ^ b);                                                                          \
	}                                                                                                              \
	/* INC and DEC keep CF. aux gets it in bits 31 and 30; OF is their difference. */                              \
	static inline uint32_t step##bits(struct vcpu *c, uint32_t a, uint32_t r, uint32_t overflow)                   \
	{                                                                                                              \
		uint32_t cf = (uint32_t)((int32_t)(c->lf.aux & 0x80000000u) >> 1);                                     \
		flags_set_lazy(c, bits, r, 0);                                                                         \
		c->lf.aux = (cf ^ ((overflow >> (bits - 1)) & 1) << 30) | (((a ^ r) >> 1) & 8);                        \
		return r;                                                                                              \
	}                                                                                                              \
	static inline uint32_t inc##bits(struct vcpu *c, uint32_t a)                                                   \
	{                                                                                                              \
		return step##bits(c, a, a + 1, ~a & (a + 1));                                                          \
	}                                                                                                              \
	static inline uint32_t dec##bits(struct vcpu *c, uint32_t a)                                                   \
	{                                                                                                              \
		return step##bits(c, a, a - 1, a & ~(a - 1));                                                          \
	}                                                                                                              \
	static inline uint32_t neg##bits(struct vcpu *c, uint32_t a)                                                   \
	{                                                                                                              \
		return sub##bits(c, 0, a);                                                                             \
	}                                                                                                              \
	static inline uint32_t flip##bits(struct vcpu *c, uint32_t a)                                                  \
	{                                                                                                              \
		(void)c;                                                                                               \
		return ~a;                                                                                             \
	}
ALU_FUNCTIONS(8)
ALU_FUNCTIONS(16)
ALU_FUNCTIONS(32)

/* ---- two operands, result kept ---- */

#define BINARY(op, bits)                                                                                               \
	INSN(op##bits##_rr)                                                                                            \
	{                                                                                                              \
		REG(bits, ip->rm) = (UINT(bits))op##bits(c, REG(bits, ip->rm), REG(bits, ip->reg));                    \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(op##bits##_ri)                                                                                            \
	{                                                                                                              \
		REG(bits, ip->rm) = (UINT(bits))op##bits(c, REG(bits, ip->rm), (UINT(bits))ip->imm);                   \
		NEXT;                                                                                                  \
	}                                                                                                              \
	READER(op##bits##_rm, bits, REG(bits, ip->reg) = (UINT(bits))op##bits(c, REG(bits, ip->reg), v))               \
	MODIFIER(op##bits##_mr, bits, op##bits(c, v, REG(bits, ip->reg)))                                              \
	MODIFIER(op##bits##_mi, bits, op##bits(c, v, (UINT(bits))ip->imm))
#define BINARY_SIZES(op) BINARY(op, 8) BINARY(op, 16) BINARY(op, 32)
BINARY_SIZES(add)
BINARY_SIZES(or)
BINARY_SIZES(adc)
BINARY_SIZES(sbb)
BINARY_SIZES(and)
BINARY_SIZES(sub)
BINARY_SIZES(xor)

/* ---- two operands, flags only; TEST has no RM form of its own, memory comes first there ---- */

#define COMPARE(name, op, bits)                                                                                        \
	INSN(name##bits##_rr)                                                                                          \
	{                                                                                                              \
		op##bits(c, REG(bits, ip->rm), REG(bits, ip->reg));                                                    \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(name##bits##_ri)                                                                                          \
	{                                                                                                              \
		op##bits(c, REG(bits, ip->rm), (UINT(bits))ip->imm);                                                   \
		NEXT;                                                                                                  \
	}                                                                                                              \
	READER(name##bits##_rm, bits, op##bits(c, REG(bits, ip->reg), v))                                              \
	READER(name##bits##_mr, bits, op##bits(c, v, REG(bits, ip->reg)))                                              \
	READER(name##bits##_mi, bits, op##bits(c, v, (UINT(bits))ip->imm))
#define COMPARE_SIZES(name, op) COMPARE(name, op, 8) COMPARE(name, op, 16) COMPARE(name, op, 32)
COMPARE_SIZES(cmp, sub)
COMPARE_SIZES(test, and)

#define BINARY_SLOTS(n)                                                                                                \
	{                                                                                                              \
		[SLOT_RR] = n##_rr, [SLOT_RI] = n##_ri, SLOTS_RM(n), SLOTS_MR(n), SLOTS_MI(n)                          \
	}
#define BINARY_ROW(op)                                                                                                 \
	{                                                                                                              \
		BINARY_SLOTS(op##8), BINARY_SLOTS(op##16), BINARY_SLOTS(op##32)                                        \
	}
static row binary_rows[] = {
	[OP_ADD - OP_ADD] = BINARY_ROW(add), [OP_OR - OP_ADD] = BINARY_ROW(or),   [OP_ADC - OP_ADD] = BINARY_ROW(adc),
	[OP_SBB - OP_ADD] = BINARY_ROW(sbb), [OP_AND - OP_ADD] = BINARY_ROW(and), [OP_SUB - OP_ADD] = BINARY_ROW(sub),
	[OP_XOR - OP_ADD] = BINARY_ROW(xor), [OP_CMP - OP_ADD] = BINARY_ROW(cmp), [OP_TEST - OP_ADD] = BINARY_ROW(test),
};

/* ---- one operand ---- */

#define UNARY(op, bits)                                                                                                \
	INSN(op##bits##_r)                                                                                             \
	{                                                                                                              \
		REG(bits, ip->rm) = (UINT(bits))op##bits(c, REG(bits, ip->rm));                                        \
		NEXT;                                                                                                  \
	}                                                                                                              \
	MODIFIER(op##bits##_m, bits, op##bits(c, v))
#define UNARY_SIZES(op) UNARY(op, 8) UNARY(op, 16) UNARY(op, 32)
UNARY_SIZES(inc)
UNARY_SIZES(dec)
UNARY_SIZES(neg)
UNARY_SIZES(flip)

#define UNARY_SLOTS(n)                                                                                                 \
	{                                                                                                              \
		[SLOT_R] = n##_r, SLOTS_M(n)                                                                           \
	}
#define UNARY_ROW(op)                                                                                                  \
	{                                                                                                              \
		UNARY_SLOTS(op##8), UNARY_SLOTS(op##16), UNARY_SLOTS(op##32)                                           \
	}
static row unary_rows[] = {
	[OP_INC - OP_INC] = UNARY_ROW(inc),
	[OP_DEC - OP_INC] = UNARY_ROW(dec),
	[OP_NEG - OP_INC] = UNARY_ROW(neg),
	[OP_NOT - OP_INC] = UNARY_ROW(flip),
};

/* ---- XADD, CMPXCHG: memory is written in any case, so it faults in any case ---- */

#define EXCHANGING(bits)                                                                                               \
	INSN(xadd##bits##_rr)                                                                                          \
	{                                                                                                              \
		UINT(bits) v = REG(bits, ip->rm), sum = (UINT(bits))add##bits(c, v, REG(bits, ip->reg));               \
		REG(bits, ip->reg) = v;                                                                                \
		REG(bits, ip->rm) = sum;                                                                               \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(xadd##bits##_m)                                                                                           \
	{                                                                                                              \
		uint32_t ea = insn_ea(c, ip);                                                                          \
		UINT(bits) v;                                                                                          \
		BEGIN;                                                                                                 \
		mem_check_write(c, ip->seg, ea, bits / 8);                                                             \
		v = mem_read##bits(c, ip->seg, ea);                                                                    \
		mem_write##bits(c, ip->seg, ea, (UINT(bits))(v + REG(bits, ip->reg)));                                 \
		add##bits(c, v, REG(bits, ip->reg));                                                                   \
		REG(bits, ip->reg) = v;                                                                                \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(cmpxchg##bits##_rr)                                                                                       \
	{                                                                                                              \
		UINT(bits) v = REG(bits, ip->rm), a = REG(bits, 0), src = REG(bits, ip->reg);                          \
		sub##bits(c, a, v);                                                                                    \
		REG(bits, a == v ? ip->rm : 0) = a == v ? src : v;                                                     \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(cmpxchg##bits##_m)                                                                                        \
	{                                                                                                              \
		uint32_t ea = insn_ea(c, ip);                                                                          \
		UINT(bits) v, a = REG(bits, 0);                                                                        \
		BEGIN;                                                                                                 \
		mem_check_write(c, ip->seg, ea, bits / 8);                                                             \
		v = mem_read##bits(c, ip->seg, ea);                                                                    \
		mem_write##bits(c, ip->seg, ea, a == v ? REG(bits, ip->reg) : v);                                      \
		sub##bits(c, a, v);                                                                                    \
		if (a != v)                                                                                            \
			REG(bits, 0) = v;                                                                              \
		NEXT;                                                                                                  \
	}
EXCHANGING(8)
EXCHANGING(16)
EXCHANGING(32)
#define EXCHANGING_SLOTS(n)                                                                                            \
	{                                                                                                              \
		[SLOT_RR] = n##_rr, [SLOT_MR_S] = n##_m, [SLOT_MR_G] = n##_m                                           \
	}
#define EXCHANGING_ROW(op)                                                                                             \
	{                                                                                                              \
		EXCHANGING_SLOTS(op##8), EXCHANGING_SLOTS(op##16), EXCHANGING_SLOTS(op##32)                            \
	}
static row xadd_row = EXCHANGING_ROW(xadd);
static row cmpxchg_row = EXCHANGING_ROW(cmpxchg);

INSN(cmpxchg8b)
{
	uint32_t ea = insn_ea(c, ip), fl = flags_arith(c) & ~FL_ZF;
	uint64_t want = (uint64_t)GPR32(c, 8 * R_DX) << 32 | GPR32(c, 0), v;

	BEGIN;
	mem_check_write(c, ip->seg, ea, 8);
	v = mem_read64(c, ip->seg, ea);
	mem_write64(c, ip->seg, ea, v == want ? (uint64_t)GPR32(c, 8 * R_CX) << 32 | GPR32(c, 8 * R_BX) : v);
	flags_set_arith(c, v == want ? fl | FL_ZF : fl);
	GPR32(c, 0) = (uint32_t)v; /* when equal, what was there already */
	GPR32(c, 8 * R_DX) = (uint32_t)(v >> 32);
	NEXT;
}

INSN(clc)
{
	set_cf(c, false);
	NEXT;
}
INSN(stc)
{
	set_cf(c, true);
	NEXT;
}
INSN(cmc)
{
	set_cf(c, !flag_cf(c));
	NEXT;
}

insn_fn *bind_alu(const struct insn *in, unsigned mode)
{
	unsigned size = insn_size(in), slot = insn_slot(in);

	(void)mode;
	if (in->op >= OP_ADD && in->op <= OP_TEST)
		return binary_rows[in->op - OP_ADD][size][slot];
	if (in->op >= OP_INC && in->op <= OP_NOT)
		return unary_rows[in->op - OP_INC][size][slot];
	switch (in->op) {
	case OP_XADD: return xadd_row[size][slot];
	case OP_CMPXCHG: return cmpxchg_row[size][slot];
	case OP_CMPXCHG8B: return cmpxchg8b;
	case OP_CLC: return clc;
	case OP_STC: return stc;
	case OP_CMC: return cmc;
	default: return NULL;
	}
}
