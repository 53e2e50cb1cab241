/*
 * ops_muldiv.c - MUL, IMUL, DIV, IDIV.
 *
 * The flags these leave undefined are the host's: the host's instruction is executed with the guest's flags loaded,
 * because some processors keep what others compute. #DE is found out before, never by the host. Bound by
 * interp_bind_int().
 */
#include "vmm/engine/ops.h"

/* ---- one-operand multiplication: accumulator times v into accumulator and DX ---- */

#define MULTIPLY8(name, insn)                                                                                          \
	static inline void name##8(struct vcpu * c, uint32_t v)                                                        \
	{                                                                                                              \
		uint32_t ax = host_flags(c), a = GPR16(c, 0);                                                          \
		__asm__(HOST_FLAGS_IN "movl %k[a], %%eax\n\t" insn " %b[v]\n\tmovl %%eax, %k[a]" HOST_FLAGS_OUT        \
		        : "+a"(ax), [a] "+&r"(a)                                                                       \
		        : [v] "q"(v)                                                                                   \
		        : "cc");                                                                                       \
		GPR16(c, 0) = (uint16_t)a;                                                                             \
		set_flags_from_host(c, ax);                                                                            \
	}
#define MULTIPLY(name, bits, insn)                                                                                     \
	static inline void name##bits(struct vcpu *c, uint32_t v)                                                      \
	{                                                                                                              \
		uint32_t ax = host_flags(c), a = REG(bits, 0), d = REG(bits, 8 * R_DX);                                \
		__asm__(HOST_FLAGS_IN "movl %k[a], %%eax\n\t" insn "\n\tmovl %%eax, %k[a]" HOST_FLAGS_OUT              \
		        : "+a"(ax), [a] "+&r"(a), "+&d"(d)                                                             \
		        : [v] "r"(v)                                                                                   \
		        : "cc");                                                                                       \
		REG(bits, 0) = (UINT(bits))a;                                                                          \
		REG(bits, 8 * R_DX) = (UINT(bits))d;                                                                   \
		set_flags_from_host(c, ax);                                                                            \
	}
MULTIPLY8(mul, "mulb")
MULTIPLY8(imul, "imulb")
MULTIPLY(mul, 16, "mulw %w[v]")
MULTIPLY(imul, 16, "imulw %w[v]")
MULTIPLY(mul, 32, "mull %k[v]")
MULTIPLY(imul, 32, "imull %k[v]")

/* ---- two and three operands ---- */

#define MULTIPLY2(bits, insn)                                                                                          \
	static inline uint32_t product##bits(struct vcpu *c, uint32_t a, uint32_t b)                                   \
	{                                                                                                              \
		uint32_t ax = host_flags(c);                                                                           \
		__asm__(HOST_FLAGS_IN insn HOST_FLAGS_OUT : "+a"(ax), [a] "+r"(a) : [b] "r"(b) : "cc");                \
		set_flags_from_host(c, ax);                                                                            \
		return a;                                                                                              \
	}                                                                                                              \
	INSN(imul2_##bits##_rr)                                                                                        \
	{                                                                                                              \
		REG(bits, ip->rm) = (UINT(bits))product##bits(c, REG(bits, ip->rm), REG(bits, ip->reg));               \
		NEXT;                                                                                                  \
	}                                                                                                              \
	READER(imul2_##bits##_rm, bits, REG(bits, ip->reg) = (UINT(bits))product##bits(c, REG(bits, ip->reg), v))      \
	INSN(imul3_##bits##_rr)                                                                                        \
	{                                                                                                              \
		REG(bits, ip->rm) = (UINT(bits))product##bits(c, REG(bits, ip->reg), ip->imm);                         \
		NEXT;                                                                                                  \
	}                                                                                                              \
	READER(imul3_##bits##_rm, bits, REG(bits, ip->reg) = (UINT(bits))product##bits(c, v, ip->imm))
MULTIPLY2(16, "imulw %w[b], %w[a]")
MULTIPLY2(32, "imull %k[b], %k[a]")

#define IMUL_SLOTS(n)                                                                                                  \
	{                                                                                                              \
		[SLOT_RR] = n##_rr, SLOTS_RM(n)                                                                        \
	}
static row imul2_row = { [SIZE_16] = IMUL_SLOTS(imul2_16), [SIZE_32] = IMUL_SLOTS(imul2_32) };
static row imul3_row = { [SIZE_16] = IMUL_SLOTS(imul3_16), [SIZE_32] = IMUL_SLOTS(imul3_32) };

/* ---- division: false when the quotient does not fit, which includes division by 0 ---- */

static inline bool unsigned_fits(uint64_t n, uint32_t d, unsigned bits)
{
	return d && n >> bits < d;
}

static inline bool signed_fits(int64_t n, int32_t d, unsigned bits)
{
	int64_t limit = (int64_t)1 << (bits - 1), q;

	if (d == 0 || (n == INT64_MIN && d == -1))
		return false;
	q = n / d;
	return q >= -limit && q < limit;
}

static inline bool div8_fits(const struct vcpu *c, uint32_t v)
{
	return unsigned_fits(GPR16(c, 0), v, 8);
}

static inline bool idiv8_fits(const struct vcpu *c, uint32_t v)
{
	return signed_fits((int16_t)GPR16(c, 0), (int8_t)v, 8);
}

static inline bool div16_fits(const struct vcpu *c, uint32_t v)
{
	return unsigned_fits((uint32_t)GPR16(c, 8 * R_DX) << 16 | GPR16(c, 0), v, 16);
}

static inline bool idiv16_fits(const struct vcpu *c, uint32_t v)
{
	return signed_fits((int32_t)((uint32_t)GPR16(c, 8 * R_DX) << 16 | GPR16(c, 0)), (int16_t)v, 16);
}

static inline bool div32_fits(const struct vcpu *c, uint32_t v)
{
	return GPR32(c, 8 * R_DX) < v;
}

static inline bool idiv32_fits(const struct vcpu *c, uint32_t v)
{
	return signed_fits((int64_t)((uint64_t)GPR32(c, 8 * R_DX) << 32 | GPR32(c, 0)), (int32_t)v, 32);
}

/* The host divides as it multiplies: same registers, same flags. */
MULTIPLY8(div, "divb")
MULTIPLY8(idiv, "idivb")
MULTIPLY(div, 16, "divw %w[v]")
MULTIPLY(idiv, 16, "idivw %w[v]")
MULTIPLY(div, 32, "divl %k[v]")
MULTIPLY(idiv, 32, "idivl %k[v]")

static __attribute__((noinline, cold)) void divide_error(struct vcpu *c, const struct insn *ip)
{
	BEGIN;
	vcpu_raise(c, VEC_DE);
}

#define ACCUMULATING(op, bits)                                                                                         \
	INSN(op##bits##_r)                                                                                             \
	{                                                                                                              \
		op##bits(c, REG(bits, ip->rm));                                                                        \
		NEXT;                                                                                                  \
	}                                                                                                              \
	READER(op##bits##_m, bits, op##bits(c, v))
#define DIVIDING(op, bits)                                                                                             \
	INSN(op##bits##_r)                                                                                             \
	{                                                                                                              \
		if (unlikely(!op##bits##_fits(c, REG(bits, ip->rm))))                                                  \
			return divide_error(c, ip);                                                                    \
		op##bits(c, REG(bits, ip->rm));                                                                        \
		NEXT;                                                                                                  \
	}                                                                                                              \
	READER(op##bits##_m, bits, if (unlikely(!op##bits##_fits(c, v))) return divide_error(c, ip); op##bits(c, v))
ACCUMULATING(mul, 8)
ACCUMULATING(mul, 16)
ACCUMULATING(mul, 32)
ACCUMULATING(imul, 8)
ACCUMULATING(imul, 16)
ACCUMULATING(imul, 32)
DIVIDING(div, 8)
DIVIDING(div, 16)
DIVIDING(div, 32)
DIVIDING(idiv, 8)
DIVIDING(idiv, 16)
DIVIDING(idiv, 32)

#define UNARY_SLOTS(n)                                                                                                 \
	{                                                                                                              \
		[SLOT_R] = n##_r, SLOTS_M(n)                                                                           \
	}
#define UNARY_ROW(op)                                                                                                  \
	{                                                                                                              \
		UNARY_SLOTS(op##8), UNARY_SLOTS(op##16), UNARY_SLOTS(op##32)                                           \
	}
static row mul_row = UNARY_ROW(mul);
static row imul_row = UNARY_ROW(imul);
static row div_row = UNARY_ROW(div);
static row idiv_row = UNARY_ROW(idiv);

insn_fn *bind_muldiv(const struct insn *in, unsigned mode)
{
	unsigned size = insn_size(in), slot = insn_slot(in);

	(void)mode;
	switch (in->op) {
	case OP_MUL: return mul_row[size][slot];
	case OP_IMUL: return imul_row[size][slot];
	case OP_IMUL2: return imul2_row[size][slot];
	case OP_IMUL3: return imul3_row[size][slot];
	case OP_DIV: return div_row[size][slot];
	case OP_IDIV: return idiv_row[size][slot];
	default: return NULL;
	}
}
