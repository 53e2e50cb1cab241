/*
 * ops_bit.c - BT, BTS, BTR, BTC, BSF, BSR.
 *
 * The host's instruction is executed with the guest's flags loaded: all flags but CF (BT...) or ZF (BSF, BSR) are
 * undefined by the manual, and so is BSF's and BSR's destination when the source is 0 (every processor leaves it).
 * Bound by interp_bind_int().
 */
#include "vmm/engine/ops.h"

#define BIT_TEST(name, bits, insn)                                                                                     \
	static inline uint32_t name##bits(struct vcpu *c, uint32_t v, uint32_t bit)                                    \
	{                                                                                                              \
		uint32_t ax = host_flags(c);                                                                           \
		__asm__(HOST_FLAGS_IN insn HOST_FLAGS_OUT : "+a"(ax), [v] "+r"(v) : [bit] "r"(bit) : "cc");            \
		set_flags_from_host(c, ax);                                                                            \
		return v;                                                                                              \
	}
#define BIT_TEST_SIZES(name) BIT_TEST(name, 16, #name "w %w[bit], %w[v]") BIT_TEST(name, 32, #name "l %k[bit], %k[v]")
BIT_TEST_SIZES(bt)
BIT_TEST_SIZES(bts)
BIT_TEST_SIZES(btr)
BIT_TEST_SIZES(btc)

/* With the bit number in a register, memory is a bit string: the operand that holds the bit, before or behind the
 * address. */
static inline uint32_t bit_string_ea16(const struct vcpu *c, const struct insn *ip)
{
	uint32_t ea = insn_ea(c, ip) + (uint32_t)((int16_t)GPR16(c, ip->reg) >> 4) * 2;

	return ip->asize == 4 ? ea : ea & 0xffff;
}

static inline uint32_t bit_string_ea32(const struct vcpu *c, const struct insn *ip)
{
	uint32_t ea = insn_ea(c, ip) + (uint32_t)((int32_t)GPR32(c, ip->reg) >> 5) * 4;

	return ip->asize == 4 ? ea : ea & 0xffff;
}

#define BT_HANDLERS(bits)                                                                                              \
	INSN(bt##bits##_rr)                                                                                            \
	{                                                                                                              \
		bt##bits(c, REG(bits, ip->rm), REG(bits, ip->reg));                                                    \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(bt##bits##_ri)                                                                                            \
	{                                                                                                              \
		bt##bits(c, REG(bits, ip->rm), ip->imm);                                                               \
		NEXT;                                                                                                  \
	}                                                                                                              \
	READER(bt##bits##_mi, bits, bt##bits(c, v, ip->imm))                                                           \
	INSN(bt##bits##_mr)                                                                                            \
	{                                                                                                              \
		BEGIN;                                                                                                 \
		bt##bits(c, mem_read##bits(c, ip->seg, bit_string_ea##bits(c, ip)), REG(bits, ip->reg));               \
		NEXT;                                                                                                  \
	}
BT_HANDLERS(16)
BT_HANDLERS(32)

#define BIT_CHANGE(op, bits)                                                                                           \
	INSN(op##bits##_rr)                                                                                            \
	{                                                                                                              \
		REG(bits, ip->rm) = (UINT(bits))op##bits(c, REG(bits, ip->rm), REG(bits, ip->reg));                    \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(op##bits##_ri)                                                                                            \
	{                                                                                                              \
		REG(bits, ip->rm) = (UINT(bits))op##bits(c, REG(bits, ip->rm), ip->imm);                               \
		NEXT;                                                                                                  \
	}                                                                                                              \
	MODIFIER(op##bits##_mi, bits, op##bits(c, v, ip->imm))                                                         \
	INSN(op##bits##_mr)                                                                                            \
	{                                                                                                              \
		struct lazy_flags before = c->lf, after;                                                               \
		uint32_t ea = bit_string_ea##bits(c, ip);                                                              \
		UINT(bits) n;                                                                                          \
		BEGIN;                                                                                                 \
		mem_check_write(c, ip->seg, ea, bits / 8);                                                             \
		n = (UINT(bits))op##bits(c, mem_read##bits(c, ip->seg, ea), REG(bits, ip->reg));                       \
		after = c->lf;                                                                                         \
		c->lf = before;                                                                                        \
		mem_write##bits(c, ip->seg, ea, n);                                                                    \
		c->lf = after;                                                                                         \
		NEXT;                                                                                                  \
	}
BIT_CHANGE(bts, 16)
BIT_CHANGE(bts, 32)
BIT_CHANGE(btr, 16)
BIT_CHANGE(btr, 32)
BIT_CHANGE(btc, 16)
BIT_CHANGE(btc, 32)

#define BIT_SLOTS(n)                                                                                                   \
	{                                                                                                              \
		[SLOT_RR] = n##_rr, [SLOT_RI] = n##_ri, SLOTS_MI(n), [SLOT_MR_S] = n##_mr, [SLOT_MR_G] = n##_mr        \
	}
#define BIT_ROW(op)                                                                                                    \
	{                                                                                                              \
		[SIZE_16] = BIT_SLOTS(op##16), [SIZE_32] = BIT_SLOTS(op##32)                                           \
	}
static row bit_rows[] = {
	[OP_BT - OP_BT] = BIT_ROW(bt),
	[OP_BTS - OP_BT] = BIT_ROW(bts),
	[OP_BTR - OP_BT] = BIT_ROW(btr),
	[OP_BTC - OP_BT] = BIT_ROW(btc),
};

#define SCAN(name, bits, insn)                                                                                         \
	static inline uint32_t name##bits(struct vcpu *c, uint32_t dst, uint32_t src)                                  \
	{                                                                                                              \
		uint32_t ax = host_flags(c);                                                                           \
		__asm__(HOST_FLAGS_IN insn HOST_FLAGS_OUT : "+a"(ax), [d] "+r"(dst) : [s] "r"(src) : "cc");            \
		set_flags_from_host(c, ax);                                                                            \
		return dst;                                                                                            \
	}                                                                                                              \
	INSN(name##bits##_rr)                                                                                          \
	{                                                                                                              \
		REG(bits, ip->rm) = (UINT(bits))name##bits(c, REG(bits, ip->rm), REG(bits, ip->reg));                  \
		NEXT;                                                                                                  \
	}                                                                                                              \
	READER(name##bits##_rm, bits, REG(bits, ip->reg) = (UINT(bits))name##bits(c, REG(bits, ip->reg), v))
SCAN(bsf, 16, "bsfw %w[s], %w[d]")
SCAN(bsf, 32, "bsfl %k[s], %k[d]")
SCAN(bsr, 16, "bsrw %w[s], %w[d]")
SCAN(bsr, 32, "bsrl %k[s], %k[d]")

#define SCAN_SLOTS(n)                                                                                                  \
	{                                                                                                              \
		[SLOT_RR] = n##_rr, SLOTS_RM(n)                                                                        \
	}
static row bsf_row = { [SIZE_16] = SCAN_SLOTS(bsf16), [SIZE_32] = SCAN_SLOTS(bsf32) };
static row bsr_row = { [SIZE_16] = SCAN_SLOTS(bsr16), [SIZE_32] = SCAN_SLOTS(bsr32) };

insn_fn *bind_bit(const struct insn *in, unsigned mode)
{
	unsigned size = insn_size(in), slot = insn_slot(in);

	(void)mode;
	if (in->op >= OP_BT && in->op <= OP_BTC)
		return bit_rows[in->op - OP_BT][size][slot];
	if (in->op == OP_BSF)
		return bsf_row[size][slot];
	if (in->op == OP_BSR)
		return bsr_row[size][slot];
	return NULL;
}
