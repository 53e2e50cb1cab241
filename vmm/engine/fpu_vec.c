/*
 * fpu_vec.c - MMX and SSE/SSE2 instructions that compute with integers or only move bits: none of them looks at MXCSR.
 * Bound through fpu_bind_vec().
 *
 * One expression an instruction, on XMM values a (destination) and b (source). An MMX operand is the low half of such a value, so most expressions
 * serve both register files; those that do not (packs and high unpacks) have a second one. Each gives up to four handlers: MMX and XMM, source
 * in a register or in memory.
 *
 * The order within a handler is the architecture's: availability, then the memory operand, then the switch to MMX state, then the result.
 */
#include "vmm/engine/fpu.h"

/* ---- handler templates ---- */

#define MMX_RR(name, expr)                                                                                             \
	INSN(name##_mmx_rr)                                                                                            \
	{                                                                                                              \
		__m128i a, b;                                                                                          \
                                                                                                                       \
		BEGIN;                                                                                                 \
		mmx_check(c);                                                                                          \
		mmx_enter(c);                                                                                          \
		a = low64(*mmx(c, ip->rm));                                                                            \
		b = low64(*mmx(c, ip->reg));                                                                           \
		(void)a;                                                                                               \
		mmx_write(c, ip->rm, to64(expr));                                                                      \
		NEXT;                                                                                                  \
	}

#define MMX_RM(name, expr, load)                                                                                       \
	INSN(name##_mmx_rm)                                                                                            \
	{                                                                                                              \
		__m128i a, b;                                                                                          \
                                                                                                                       \
		BEGIN;                                                                                                 \
		mmx_check(c);                                                                                          \
		b = load(c, ip);                                                                                       \
		mmx_enter(c);                                                                                          \
		a = low64(*mmx(c, ip->reg));                                                                           \
		(void)a;                                                                                               \
		mmx_write(c, ip->reg, to64(expr));                                                                     \
		NEXT;                                                                                                  \
	}

#define XMM_RR(name, expr)                                                                                             \
	INSN(name##_xmm_rr)                                                                                            \
	{                                                                                                              \
		__m128i a, b;                                                                                          \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		a = xmm(c, ip->rm)->v;                                                                                 \
		b = xmm(c, ip->reg)->v;                                                                                \
		(void)a;                                                                                               \
		xmm(c, ip->rm)->v = (expr);                                                                            \
		NEXT;                                                                                                  \
	}

#define XMM_RM(name, expr, load)                                                                                       \
	INSN(name##_xmm_rm)                                                                                            \
	{                                                                                                              \
		__m128i a, b;                                                                                          \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		b = load(c, ip);                                                                                       \
		a = xmm(c, ip->reg)->v;                                                                                \
		(void)a;                                                                                               \
		xmm(c, ip->reg)->v = (expr);                                                                           \
		NEXT;                                                                                                  \
	}

/* Shift count in an immediate. */
#define SHIFT_RI(name, expr)                                                                                           \
	INSN(name##_mmx_ri)                                                                                            \
	{                                                                                                              \
		__m128i a, b = _mm_cvtsi32_si128((int)(ip->imm & 0xff));                                               \
                                                                                                                       \
		BEGIN;                                                                                                 \
		mmx_check(c);                                                                                          \
		mmx_enter(c);                                                                                          \
		a = low64(*mmx(c, ip->rm));                                                                            \
		mmx_write(c, ip->rm, to64(expr));                                                                      \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(name##_xmm_ri)                                                                                            \
	{                                                                                                              \
		__m128i a, b = _mm_cvtsi32_si128((int)(ip->imm & 0xff));                                               \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		a = xmm(c, ip->rm)->v;                                                                                 \
		xmm(c, ip->rm)->v = (expr);                                                                            \
		NEXT;                                                                                                  \
	}

#define XMM_BOTH(name, expr) XMM_RR(name, expr) XMM_RM(name, expr, load16_aligned)
#define MMX_BOTH(name, expr) MMX_RR(name, expr) MMX_RM(name, expr, load8)
#define BOTH(name, expr) MMX_BOTH(name, expr) XMM_BOTH(name, expr)
#define BOTH2(name, mmx_expr, xmm_expr) MMX_BOTH(name, mmx_expr) XMM_BOTH(name, xmm_expr)
/* Low unpacks read only half of an MMX operand in memory. */
#define BOTH_HALF(name, expr) MMX_RR(name, expr) MMX_RM(name, expr, load4) XMM_BOTH(name, expr)
#define SHIFT(name, expr) BOTH(name, expr) SHIFT_RI(name, expr)

/* ---- integer arithmetic ---- */

#define JOINED _mm_unpacklo_epi64(a, b)
#define HIGH(v) _mm_unpackhi_epi64(v, v)

BOTH2(packsswb, _mm_packs_epi16(JOINED, JOINED), _mm_packs_epi16(a, b))
BOTH2(packssdw, _mm_packs_epi32(JOINED, JOINED), _mm_packs_epi32(a, b))
BOTH2(packuswb, _mm_packus_epi16(JOINED, JOINED), _mm_packus_epi16(a, b))
BOTH_HALF(punpcklbw, _mm_unpacklo_epi8(a, b))
BOTH_HALF(punpcklwd, _mm_unpacklo_epi16(a, b))
BOTH_HALF(punpckldq, _mm_unpacklo_epi32(a, b))
BOTH2(punpckhbw, HIGH(_mm_unpacklo_epi8(a, b)), _mm_unpackhi_epi8(a, b))
BOTH2(punpckhwd, HIGH(_mm_unpacklo_epi16(a, b)), _mm_unpackhi_epi16(a, b))
BOTH2(punpckhdq, HIGH(_mm_unpacklo_epi32(a, b)), _mm_unpackhi_epi32(a, b))
XMM_BOTH(punpcklqdq, _mm_unpacklo_epi64(a, b))
XMM_BOTH(punpckhqdq, _mm_unpackhi_epi64(a, b))
BOTH(paddb, _mm_add_epi8(a, b))
BOTH(paddw, _mm_add_epi16(a, b))
BOTH(paddd, _mm_add_epi32(a, b))
BOTH(paddq, _mm_add_epi64(a, b))
BOTH(paddsb, _mm_adds_epi8(a, b))
BOTH(paddsw, _mm_adds_epi16(a, b))
BOTH(paddusb, _mm_adds_epu8(a, b))
BOTH(paddusw, _mm_adds_epu16(a, b))
BOTH(psubb, _mm_sub_epi8(a, b))
BOTH(psubw, _mm_sub_epi16(a, b))
BOTH(psubd, _mm_sub_epi32(a, b))
BOTH(psubq, _mm_sub_epi64(a, b))
BOTH(psubsb, _mm_subs_epi8(a, b))
BOTH(psubsw, _mm_subs_epi16(a, b))
BOTH(psubusb, _mm_subs_epu8(a, b))
BOTH(psubusw, _mm_subs_epu16(a, b))
BOTH(pmullw, _mm_mullo_epi16(a, b))
BOTH(pmulhw, _mm_mulhi_epi16(a, b))
BOTH(pmulhuw, _mm_mulhi_epu16(a, b))
BOTH(pmuludq, _mm_mul_epu32(a, b))
BOTH(pmaddwd, _mm_madd_epi16(a, b))
BOTH(pavgb, _mm_avg_epu8(a, b))
BOTH(pavgw, _mm_avg_epu16(a, b))
BOTH(psadbw, _mm_sad_epu8(a, b))
BOTH(pminub, _mm_min_epu8(a, b))
BOTH(pmaxub, _mm_max_epu8(a, b))
BOTH(pminsw, _mm_min_epi16(a, b))
BOTH(pmaxsw, _mm_max_epi16(a, b))
BOTH(pcmpeqb, _mm_cmpeq_epi8(a, b))
BOTH(pcmpeqw, _mm_cmpeq_epi16(a, b))
BOTH(pcmpeqd, _mm_cmpeq_epi32(a, b))
BOTH(pcmpgtb, _mm_cmpgt_epi8(a, b))
BOTH(pcmpgtw, _mm_cmpgt_epi16(a, b))
BOTH(pcmpgtd, _mm_cmpgt_epi32(a, b))
BOTH(pand, _mm_and_si128(a, b))
BOTH(pandn, _mm_andnot_si128(a, b))
BOTH(por, _mm_or_si128(a, b))
BOTH(pxor, _mm_xor_si128(a, b))
SHIFT(psllw, _mm_sll_epi16(a, b))
SHIFT(pslld, _mm_sll_epi32(a, b))
SHIFT(psllq, _mm_sll_epi64(a, b))
SHIFT(psrlw, _mm_srl_epi16(a, b))
SHIFT(psrld, _mm_srl_epi32(a, b))
SHIFT(psrlq, _mm_srl_epi64(a, b))
SHIFT(psraw, _mm_sra_epi16(a, b))
SHIFT(psrad, _mm_sra_epi32(a, b))

/* ---- shuffles ---- */

/* Move bytes up by n (down when negative), zeros come in. */
static __m128i shift_bytes(__m128i a, int n)
{
	union vec in = { .v = a }, out = { .q = { 0, 0 } };

	for (int i = 0; i < 16; i++)
		if (i - n >= 0 && i - n < 16)
			out.b[i] = in.b[i - n];
	return out.v;
}

INSN(pslldq_ri)
{
	union vec *x = xmm(c, ip->rm);

	BEGIN;
	sse_check(c);
	x->v = shift_bytes(x->v, (int)(ip->imm & 0xff));
	NEXT;
}

INSN(psrldq_ri)
{
	union vec *x = xmm(c, ip->rm);

	BEGIN;
	sse_check(c);
	x->v = shift_bytes(x->v, -(int)(ip->imm & 0xff));
	NEXT;
}

static inline __m128i shuffle32(__m128i lo, __m128i hi, unsigned order)
{
	union vec l = { .v = lo }, h = { .v = hi };
	union vec r = { .l = { l.l[order & 3], l.l[order >> 2 & 3], h.l[order >> 4 & 3], h.l[order >> 6 & 3] } };

	return r.v;
}

static inline __m128i shuffle64(__m128i lo, __m128i hi, unsigned order)
{
	union vec l = { .v = lo }, h = { .v = hi }, r = { .q = { l.q[order & 1], h.q[order >> 1 & 1] } };

	return r.v;
}

/* The four words from `first` on. */
static inline __m128i shuffle16(__m128i v, unsigned first, unsigned order)
{
	union vec in = { .v = v }, out = in;

	for (unsigned i = 0; i < 4; i++)
		out.w[first + i] = in.w[first + (order >> (2 * i) & 3)];
	return out.v;
}

MMX_BOTH(pshufw, shuffle16(b, 0, ip->imm))
XMM_BOTH(pshuflw, shuffle16(b, 0, ip->imm))
XMM_BOTH(pshufhw, shuffle16(b, 4, ip->imm))
XMM_BOTH(pshufd, shuffle32(b, b, ip->imm))
XMM_BOTH(shufps, shuffle32(a, b, ip->imm))
XMM_BOTH(shufpd, shuffle64(a, b, ip->imm))
XMM_BOTH(unpcklps, _mm_unpacklo_epi32(a, b))
XMM_BOTH(unpckhps, _mm_unpackhi_epi32(a, b))

/* ---- moves between XMM registers and memory ---- */

#define XMM_MR(name, store)                                                                                            \
	INSN(name##_xmm_mr)                                                                                            \
	{                                                                                                              \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		store(c, ip, xmm(c, ip->reg)->v);                                                                      \
		NEXT;                                                                                                  \
	}

static inline void store8(struct vcpu *c, const struct insn *ip, __m128i v)
{
	mem_write64(c, ip->seg, insn_ea(c, ip), to64(v));
}

static inline void store8_high(struct vcpu *c, const struct insn *ip, __m128i v)
{
	store8(c, ip, HIGH(v));
}

static inline void store4(struct vcpu *c, const struct insn *ip, __m128i v)
{
	mem_write32(c, ip->seg, insn_ea(c, ip), (uint32_t)_mm_cvtsi128_si32(v));
}

static inline __m128i load16_any(struct vcpu *c, const struct insn *ip)
{
	return load16(c, ip->seg, insn_ea(c, ip));
}

static inline void store16_any(struct vcpu *c, const struct insn *ip, __m128i v)
{
	store16(c, ip->seg, insn_ea(c, ip), v);
}

static inline __m128i low_of(__m128i low, __m128i high)
{
	return _mm_castpd_si128(_mm_move_sd(_mm_castsi128_pd(high), _mm_castsi128_pd(low)));
}

static inline __m128i low32_of(__m128i low, __m128i high)
{
	return _mm_castps_si128(_mm_move_ss(_mm_castsi128_ps(high), _mm_castsi128_ps(low)));
}

XMM_RR(move16, b) /* MOVAPS, MOVUPS, MOVDQA, ...: a register move is the same for all */
XMM_RM(move16a, b, load16_aligned)
XMM_MR(move16a, store16_aligned)
XMM_RM(move16u, b, load16_any)
XMM_MR(move16u, store16_any)
XMM_RR(movq, _mm_move_epi64(b))
XMM_RM(movq, b, load8)
XMM_MR(movq, store8)
XMM_RR(movsd, low_of(b, a))
XMM_RM(movsd, b, load8)
XMM_RR(movss, low32_of(b, a))
XMM_RM(movss, b, load4)
XMM_MR(movss, store4)
XMM_RM(movlps, low_of(b, a), load8)
XMM_RM(movhps, _mm_unpacklo_epi64(a, b), load8)
XMM_MR(movhps, store8_high)
XMM_RR(movlhps, _mm_unpacklo_epi64(a, b))
XMM_RR(movhlps, low_of(HIGH(b), a))

/* ---- moves of MMX registers, and between the files ---- */

MMX_RR(movq, b)
MMX_RM(movq, b, load8)

INSN(movq_mmx_mr)
{
	BEGIN;
	mmx_check(c);
	mem_write64(c, ip->seg, insn_ea(c, ip), mmx_peek(c, ip->reg));
	mmx_enter(c);
	NEXT;
}

MMX_RM(movd, b, load4)

INSN(movd_mmx_mr)
{
	BEGIN;
	mmx_check(c);
	mem_write32(c, ip->seg, insn_ea(c, ip), (uint32_t)mmx_peek(c, ip->reg));
	mmx_enter(c);
	NEXT;
}

INSN(movd_mmx_gpr)
{
	BEGIN;
	mmx_check(c);
	mmx_enter(c);
	mmx_write(c, ip->rm, GPR32(c, ip->reg));
	NEXT;
}

INSN(movd_gpr_mmx)
{
	BEGIN;
	mmx_check(c);
	mmx_enter(c);
	GPR32(c, ip->rm) = (uint32_t)*mmx(c, ip->reg);
	NEXT;
}

INSN(movd_xmm_gpr)
{
	BEGIN;
	sse_check(c);
	xmm(c, ip->rm)->v = _mm_cvtsi32_si128((int)GPR32(c, ip->reg));
	NEXT;
}

INSN(movd_gpr_xmm)
{
	BEGIN;
	sse_check(c);
	GPR32(c, ip->rm) = xmm(c, ip->reg)->l[0];
	NEXT;
}

INSN(movq2dq_rr)
{
	BEGIN;
	sse_check(c);
	x87_check_pending(c);
	mmx_enter(c);
	xmm(c, ip->rm)->v = low64(*mmx(c, ip->reg));
	NEXT;
}

INSN(movdq2q_rr)
{
	BEGIN;
	sse_check(c);
	x87_check_pending(c);
	mmx_enter(c);
	mmx_write(c, ip->rm, xmm(c, ip->reg)->q[0]);
	NEXT;
}

/* An integer store; no x87 or SSE state takes part, so nothing is checked. */
INSN(movnti_mr)
{
	BEGIN;
	mem_write32(c, ip->seg, insn_ea(c, ip), GPR32(c, ip->reg));
	NEXT;
}

/* ---- words, masks ---- */

INSN(pextrw_mmx)
{
	BEGIN;
	mmx_check(c);
	mmx_enter(c);
	GPR32(c, ip->rm) = (uint16_t)(*mmx(c, ip->reg) >> (16 * (ip->imm & 3)));
	NEXT;
}

INSN(pextrw_xmm)
{
	BEGIN;
	sse_check(c);
	GPR32(c, ip->rm) = xmm(c, ip->reg)->w[ip->imm & 7];
	NEXT;
}

static inline void insert_mmx(struct vcpu *c, const struct insn *ip, unsigned reg, uint16_t w)
{
	unsigned shift = 16 * (ip->imm & 3);

	mmx_enter(c);
	mmx_write(c, reg, (*mmx(c, reg) & ~(0xffffull << shift)) | (uint64_t)w << shift);
}

INSN(pinsrw_mmx_rr)
{
	BEGIN;
	mmx_check(c);
	insert_mmx(c, ip, ip->rm, GPR16(c, ip->reg));
	NEXT;
}

INSN(pinsrw_mmx_rm)
{
	BEGIN;
	mmx_check(c);
	insert_mmx(c, ip, ip->reg, mem_read16(c, ip->seg, insn_ea(c, ip)));
	NEXT;
}

INSN(pinsrw_xmm_rr)
{
	BEGIN;
	sse_check(c);
	xmm(c, ip->rm)->w[ip->imm & 7] = GPR16(c, ip->reg);
	NEXT;
}

INSN(pinsrw_xmm_rm)
{
	BEGIN;
	sse_check(c);
	xmm(c, ip->reg)->w[ip->imm & 7] = mem_read16(c, ip->seg, insn_ea(c, ip));
	NEXT;
}

INSN(pmovmskb_mmx)
{
	BEGIN;
	mmx_check(c);
	mmx_enter(c);
	GPR32(c, ip->rm) = (uint32_t)_mm_movemask_epi8(low64(*mmx(c, ip->reg)));
	NEXT;
}

INSN(pmovmskb_xmm)
{
	BEGIN;
	sse_check(c);
	GPR32(c, ip->rm) = (uint32_t)_mm_movemask_epi8(xmm(c, ip->reg)->v);
	NEXT;
}

INSN(movmskps_xmm)
{
	BEGIN;
	sse_check(c);
	GPR32(c, ip->rm) = (uint32_t)_mm_movemask_ps(xmm(c, ip->reg)->f);
	NEXT;
}

INSN(movmskpd_xmm)
{
	BEGIN;
	sse_check(c);
	GPR32(c, ip->rm) = (uint32_t)_mm_movemask_pd(xmm(c, ip->reg)->d);
	NEXT;
}

/* ---- byte-masked stores to [EDI]: bytes that are masked out are not touched, not even for faults ---- */

static void masked_store(struct vcpu *c, const struct insn *ip, const union vec *v, unsigned mask, unsigned n)
{
	uint32_t wrap = ip->asize == 4 ? ~0u : 0xffffu, edi = GPR32(c, R_DI * 8) & wrap;

	for (unsigned i = 0; i < n; i++)
		if (mask >> i & 1)
			mem_check_write(c, ip->seg, edi + i, 1);
	for (unsigned i = 0; i < n; i++)
		if (mask >> i & 1)
			mem_write8(c, ip->seg, edi + i, v->b[i]);
}

INSN(maskmovq_rr)
{
	union vec v;

	BEGIN;
	mmx_check(c);
	v.v = low64(mmx_peek(c, ip->rm));
	masked_store(c, ip, &v, (unsigned)_mm_movemask_epi8(low64(mmx_peek(c, ip->reg))), 8);
	mmx_enter(c);
	NEXT;
}

INSN(maskmovdqu_rr)
{
	union vec v;

	BEGIN;
	sse_check(c);
	v = *xmm(c, ip->rm);
	masked_store(c, ip, &v, (unsigned)_mm_movemask_epi8(xmm(c, ip->reg)->v), 16);
	NEXT;
}

/* ---- binding ---- */

/* Handlers of one op: by register file, and by where the source is. */
struct vec_op {
	insn_fn *mmx_rr, *mmx_rm, *mmx_mr, *mmx_ri;
	insn_fn *xmm_rr, *xmm_rm, *xmm_mr, *xmm_ri;
};

#define ROW(op) [OP_##op - OP_FPU_BASE]
#define ROW_MMX(name) .mmx_rr = name##_mmx_rr, .mmx_rm = name##_mmx_rm
#define ROW_XMM(name) .xmm_rr = name##_xmm_rr, .xmm_rm = name##_xmm_rm
#define ROW_BOTH(op, name) ROW(op) = { ROW_MMX(name), ROW_XMM(name) }
#define ROW_SHIFT(op, name) ROW(op) = { ROW_MMX(name), ROW_XMM(name), .mmx_ri = name##_mmx_ri, .xmm_ri = name##_xmm_ri }
#define ROW_X(op, name) ROW(op) = { ROW_XMM(name) }
#define ROW_ALIGNED(op) ROW(op) = { .xmm_rr = move16_xmm_rr, .xmm_rm = move16a_xmm_rm, .xmm_mr = move16a_xmm_mr }
#define ROW_UNALIGNED(op) ROW(op) = { .xmm_rr = move16_xmm_rr, .xmm_rm = move16u_xmm_rm, .xmm_mr = move16u_xmm_mr }

static const struct vec_op vec_ops[OP_MAX - OP_FPU_BASE] = {
	ROW_BOTH(PACKSSWB, packsswb),
	ROW_BOTH(PACKSSDW, packssdw),
	ROW_BOTH(PACKUSWB, packuswb),
	ROW_BOTH(PUNPCKLBW, punpcklbw),
	ROW_BOTH(PUNPCKLWD, punpcklwd),
	ROW_BOTH(PUNPCKLDQ, punpckldq),
	ROW_BOTH(PUNPCKHBW, punpckhbw),
	ROW_BOTH(PUNPCKHWD, punpckhwd),
	ROW_BOTH(PUNPCKHDQ, punpckhdq),
	ROW_X(PUNPCKLQDQ, punpcklqdq),
	ROW_X(PUNPCKHQDQ, punpckhqdq),
	ROW_BOTH(PADDB, paddb),
	ROW_BOTH(PADDW, paddw),
	ROW_BOTH(PADDD, paddd),
	ROW_BOTH(PADDQ, paddq),
	ROW_BOTH(PADDSB, paddsb),
	ROW_BOTH(PADDSW, paddsw),
	ROW_BOTH(PADDUSB, paddusb),
	ROW_BOTH(PADDUSW, paddusw),
	ROW_BOTH(PSUBB, psubb),
	ROW_BOTH(PSUBW, psubw),
	ROW_BOTH(PSUBD, psubd),
	ROW_BOTH(PSUBQ, psubq),
	ROW_BOTH(PSUBSB, psubsb),
	ROW_BOTH(PSUBSW, psubsw),
	ROW_BOTH(PSUBUSB, psubusb),
	ROW_BOTH(PSUBUSW, psubusw),
	ROW_BOTH(PMULLW, pmullw),
	ROW_BOTH(PMULHW, pmulhw),
	ROW_BOTH(PMULHUW, pmulhuw),
	ROW_BOTH(PMULUDQ, pmuludq),
	ROW_BOTH(PMADDWD, pmaddwd),
	ROW_BOTH(PAVGB, pavgb),
	ROW_BOTH(PAVGW, pavgw),
	ROW_BOTH(PSADBW, psadbw),
	ROW_BOTH(PMINUB, pminub),
	ROW_BOTH(PMAXUB, pmaxub),
	ROW_BOTH(PMINSW, pminsw),
	ROW_BOTH(PMAXSW, pmaxsw),
	ROW_BOTH(PCMPEQB, pcmpeqb),
	ROW_BOTH(PCMPEQW, pcmpeqw),
	ROW_BOTH(PCMPEQD, pcmpeqd),
	ROW_BOTH(PCMPGTB, pcmpgtb),
	ROW_BOTH(PCMPGTW, pcmpgtw),
	ROW_BOTH(PCMPGTD, pcmpgtd),
	ROW_BOTH(PAND, pand),
	ROW_BOTH(PANDN, pandn),
	ROW_BOTH(POR, por),
	ROW_BOTH(PXOR, pxor),
	ROW_X(ANDPS, pand),
	ROW_X(ANDNPS, pandn),
	ROW_X(ORPS, por),
	ROW_X(XORPS, pxor),
	ROW_X(ANDPD, pand),
	ROW_X(ANDNPD, pandn),
	ROW_X(ORPD, por),
	ROW_X(XORPD, pxor),
	ROW_SHIFT(PSLLW, psllw),
	ROW_SHIFT(PSLLD, pslld),
	ROW_SHIFT(PSLLQ, psllq),
	ROW(PSLLDQ) = { .xmm_ri = pslldq_ri },
	ROW_SHIFT(PSRLW, psrlw),
	ROW_SHIFT(PSRLD, psrld),
	ROW_SHIFT(PSRLQ, psrlq),
	ROW(PSRLDQ) = { .xmm_ri = psrldq_ri },
	ROW_SHIFT(PSRAW, psraw),
	ROW_SHIFT(PSRAD, psrad),
	ROW(PSHUFW) = { ROW_MMX(pshufw) },
	ROW_X(PSHUFLW, pshuflw),
	ROW_X(PSHUFHW, pshufhw),
	ROW_X(PSHUFD, pshufd),
	ROW_X(SHUFPS, shufps),
	ROW_X(SHUFPD, shufpd),
	ROW_X(UNPCKLPS, unpcklps),
	ROW_X(UNPCKHPS, unpckhps),
	ROW_X(UNPCKLPD, punpcklqdq),
	ROW_X(UNPCKHPD, punpckhqdq),
	ROW_ALIGNED(MOVAPS),
	ROW_ALIGNED(MOVAPD),
	ROW_ALIGNED(MOVDQA),
	ROW_ALIGNED(MOVNTPS),
	ROW_ALIGNED(MOVNTPD),
	ROW_ALIGNED(MOVNTDQ),
	ROW_UNALIGNED(MOVUPS),
	ROW_UNALIGNED(MOVUPD),
	ROW_UNALIGNED(MOVDQU),
	ROW(MOVQ) = { ROW_MMX(movq), ROW_XMM(movq), .mmx_mr = movq_mmx_mr, .xmm_mr = movq_xmm_mr },
	ROW(MOVD) = { .mmx_rm = movd_mmx_rm, .mmx_mr = movd_mmx_mr, .xmm_rm = movss_xmm_rm, .xmm_mr = movss_xmm_mr },
	ROW(MOVNTQ) = { .mmx_mr = movq_mmx_mr },
	ROW(MOVSD_SSE) = { ROW_XMM(movsd), .xmm_mr = movq_xmm_mr },
	ROW(MOVSS) = { ROW_XMM(movss), .xmm_mr = movss_xmm_mr },
	ROW(MOVLPS) = { .xmm_rm = movlps_xmm_rm, .xmm_mr = movq_xmm_mr },
	ROW(MOVLPD) = { .xmm_rm = movlps_xmm_rm, .xmm_mr = movq_xmm_mr },
	ROW(MOVHPS) = { .xmm_rm = movhps_xmm_rm, .xmm_mr = movhps_xmm_mr },
	ROW(MOVHPD) = { .xmm_rm = movhps_xmm_rm, .xmm_mr = movhps_xmm_mr },
	ROW(MOVLHPS) = { .xmm_rr = movlhps_xmm_rr },
	ROW(MOVHLPS) = { .xmm_rr = movhlps_xmm_rr },
	ROW(MASKMOVQ) = { .mmx_rr = maskmovq_rr },
	ROW(MASKMOVDQU) = { .xmm_rr = maskmovdqu_rr },
};

/* Ops whose operands are of two kinds. */
static const struct {
	uint16_t op;
	uint8_t kind, form;
	insn_fn *fn;
} mixed_ops[] = {
	{ OP_MOVD, VEC_KIND(VEC_MMX, VEC_GPR), FORM_RR, movd_mmx_gpr },
	{ OP_MOVD, VEC_KIND(VEC_GPR, VEC_MMX), FORM_RR, movd_gpr_mmx },
	{ OP_MOVD, VEC_KIND(VEC_XMM, VEC_GPR), FORM_RR, movd_xmm_gpr },
	{ OP_MOVD, VEC_KIND(VEC_GPR, VEC_XMM), FORM_RR, movd_gpr_xmm },
	{ OP_MOVQ2DQ, VEC_KIND(VEC_XMM, VEC_MMX), FORM_RR, movq2dq_rr },
	{ OP_MOVDQ2Q, VEC_KIND(VEC_MMX, VEC_XMM), FORM_RR, movdq2q_rr },
	{ OP_PEXTRW, VEC_KIND(VEC_GPR, VEC_MMX), FORM_RR, pextrw_mmx },
	{ OP_PEXTRW, VEC_KIND(VEC_GPR, VEC_XMM), FORM_RR, pextrw_xmm },
	{ OP_PINSRW, VEC_KIND(VEC_MMX, VEC_GPR), FORM_RR, pinsrw_mmx_rr },
	{ OP_PINSRW, VEC_KIND(VEC_XMM, VEC_GPR), FORM_RR, pinsrw_xmm_rr },
	{ OP_PINSRW, VEC_KIND(VEC_MMX, VEC_NONE), FORM_RM, pinsrw_mmx_rm },
	{ OP_PINSRW, VEC_KIND(VEC_XMM, VEC_NONE), FORM_RM, pinsrw_xmm_rm },
	{ OP_PMOVMSKB, VEC_KIND(VEC_GPR, VEC_MMX), FORM_RR, pmovmskb_mmx },
	{ OP_PMOVMSKB, VEC_KIND(VEC_GPR, VEC_XMM), FORM_RR, pmovmskb_xmm },
	{ OP_MOVMSKPS, VEC_KIND(VEC_GPR, VEC_XMM), FORM_RR, movmskps_xmm },
	{ OP_MOVMSKPD, VEC_KIND(VEC_GPR, VEC_XMM), FORM_RR, movmskpd_xmm },
	{ OP_MOVNTI, VEC_KIND(VEC_NONE, VEC_GPR), FORM_MR, movnti_mr },
};

static insn_fn *bind_uniform(const struct vec_op *o, unsigned kind, unsigned form)
{
	switch (form << 8 | kind) {
	case FORM_RR << 8 | VEC_KIND(VEC_MMX, VEC_MMX): return o->mmx_rr;
	case FORM_RM << 8 | VEC_KIND(VEC_MMX, VEC_NONE): return o->mmx_rm;
	case FORM_MR << 8 | VEC_KIND(VEC_NONE, VEC_MMX): return o->mmx_mr;
	case FORM_RI << 8 | VEC_KIND(VEC_MMX, VEC_NONE): return o->mmx_ri;
	case FORM_RR << 8 | VEC_KIND(VEC_XMM, VEC_XMM): return o->xmm_rr;
	case FORM_RM << 8 | VEC_KIND(VEC_XMM, VEC_NONE): return o->xmm_rm;
	case FORM_MR << 8 | VEC_KIND(VEC_NONE, VEC_XMM): return o->xmm_mr;
	case FORM_RI << 8 | VEC_KIND(VEC_XMM, VEC_NONE): return o->xmm_ri;
	default: return NULL;
	}
}

insn_fn *fpu_bind_vec(const struct insn *in)
{
	insn_fn *fn;

	if (in->op <= OP_FPU_BASE || in->op >= OP_MAX)
		return NULL;
	fn = bind_uniform(&vec_ops[in->op - OP_FPU_BASE], in->imm2, in->form);
	for (unsigned i = 0; !fn && i < sizeof(mixed_ops) / sizeof(*mixed_ops); i++)
		if (mixed_ops[i].op == in->op && mixed_ops[i].kind == in->imm2 && mixed_ops[i].form == in->form)
			fn = mixed_ops[i].fn;
	return fn;
}
