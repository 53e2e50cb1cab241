/*
 * fpu_sse.c - SSE and SSE2 floating point: the host's own instruction under the guest's MXCSR. Bound through fpu_bind_sse().
 *
 * Each instruction runs between two LDMXCSR, in one asm statement: with the guest's rounding, DAZ and FTZ, all exceptions masked and no flags set
 * before. So the host never faults, and what MXCSR shows afterwards is what this instruction raised. When the guest has
 * not masked all of that, the result is dropped and mx_unmasked() works out which flags the architecture shows (SDM vol. 1 11.5.2 to 11.5.4).
 * RCP and RSQRT are computed in fpu_approx.c.
 */
#include "vmm/engine/fpu.h"

#define BEFORE_RESULT (FSW_IE | FSW_DE | FSW_ZE) /* exceptions found before the computation */
#define RANGE (FSW_OE | FSW_UE)

static const uint32_t host_mxcsr = MXCSR_DEFAULT;

struct mx {
	uint32_t in, out;
};

static inline struct mx mx_guest(struct vcpu *c)
{
	return (struct mx){ .in = (FX32(c, FX_MXCSR) & MXCSR_VALID & ~MXCSR_FLAGS) | MXCSR_MASKS };
}

/* Not all that was raised is masked, or the run could not tell because underflow or overflow is not. */
static void mx_unmasked(struct vcpu *c, uint32_t raised, const struct float_insn *in, __m128i a, __m128i b)
{
	uint32_t mxcsr = FX32(c, FX_MXCSR), masks = mxcsr >> MXCSR_MASK_SHIFT;

	if (raised & ~masks & BEFORE_RESULT) {
		raised &= BEFORE_RESULT;
	} else if (in->op != FLOAT_NONE && (~masks & RANGE)) {
		fpu_sync(c);
		raised = (raised & BEFORE_RESULT) | sse_rounding_flags(in, a, b, mxcsr);
	}
	FX32(c, FX_MXCSR) |= raised;
	if (raised & ~masks)
		vcpu_raise(c, c->cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD);
}

/* Must come before anything is written. An instruction that can get out of range is looked at again unless that is masked. */
static inline void mx_finish(struct vcpu *c, const struct mx *m, const struct float_insn *in, __m128i a, __m128i b)
{
	uint32_t mxcsr = FX32(c, FX_MXCSR), masks = mxcsr >> MXCSR_MASK_SHIFT, raised = m->out & MXCSR_FLAGS;

	if (likely(!(raised & ~masks) && (in->op == FLOAT_NONE || (masks & RANGE) == RANGE)))
		FX32(c, FX_MXCSR) = mxcsr | raised;
	else
		mx_unmasked(c, raised, in, a, b);
}

static const struct float_insn in_range = { FLOAT_NONE, FLOAT_SINGLE, 0 };

static inline void mx_finish_in_range(struct vcpu *c, const struct mx *m)
{
	mx_finish(c, m, &in_range, _mm_setzero_si128(), _mm_setzero_si128());
}

#define UNDER_GUEST(insn) "ldmxcsr %[in]\n\t" insn "\n\tstmxcsr %[out]\n\tldmxcsr %[host]"
#define MX_OUT(m) [out] "=m"((m)->out)
#define MX_IN(m) [in] "m"((m)->in), [host] "m"(host_mxcsr)

/* a = op(a, b) */
#define COMPUTE(name)                                                                                                  \
	static inline __m128i compute_##name(struct mx *m, __m128i a, __m128i b)                                       \
	{                                                                                                              \
		__asm__ volatile(UNDER_GUEST(#name " %[b], %[a]") : [a] "+x"(a), MX_OUT(m) : [b] "x"(b), MX_IN(m));    \
		return a;                                                                                              \
	}

/* ---- two XMM operands ---- */

#define SSE(name, load, op, kind, count)                                                                               \
	COMPUTE(name)                                                                                                  \
	static const struct float_insn insn_##name = { op, kind, count };                                              \
	INSN(name##_rr)                                                                                                \
	{                                                                                                              \
		struct mx m = mx_guest(c);                                                                             \
		__m128i a, b, r;                                                                                       \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		a = xmm(c, ip->rm)->v;                                                                                 \
		b = xmm(c, ip->reg)->v;                                                                                \
		r = compute_##name(&m, a, b);                                                                          \
		mx_finish(c, &m, &insn_##name, a, b);                                                                  \
		xmm(c, ip->rm)->v = r;                                                                                 \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(name##_rm)                                                                                                \
	{                                                                                                              \
		struct mx m = mx_guest(c);                                                                             \
		__m128i a, b, r;                                                                                       \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		b = load(c, ip);                                                                                       \
		a = xmm(c, ip->reg)->v;                                                                                \
		r = compute_##name(&m, a, b);                                                                          \
		mx_finish(c, &m, &insn_##name, a, b);                                                                  \
		xmm(c, ip->reg)->v = r;                                                                                \
		NEXT;                                                                                                  \
	}

#define SSE_ALL(name, op)                                                                                              \
	SSE(name##ps, load16_aligned, op, FLOAT_SINGLE, 4)                                                             \
	SSE(name##ss, load4, op, FLOAT_SINGLE, 1)                                                                      \
	SSE(name##pd, load16_aligned, op, FLOAT_DOUBLE, 2)                                                             \
	SSE(name##sd, load8, op, FLOAT_DOUBLE, 1)
#define SSE_IN_RANGE(name, load) SSE(name, load, FLOAT_NONE, FLOAT_SINGLE, 0)

SSE_ALL(add, FLOAT_ADD)
SSE_ALL(sub, FLOAT_SUB)
SSE_ALL(mul, FLOAT_MUL)
SSE_ALL(div, FLOAT_DIV)
SSE_ALL(min, FLOAT_NONE)
SSE_ALL(max, FLOAT_NONE)
SSE_ALL(sqrt, FLOAT_NONE)
SSE(cvtsd2ss, load8, FLOAT_NARROW, FLOAT_SINGLE, 1)
SSE(cvtpd2ps, load16_aligned, FLOAT_NARROW, FLOAT_SINGLE, 2)
SSE_IN_RANGE(cvtss2sd, load4)
SSE_IN_RANGE(cvtps2pd, load8)
SSE_IN_RANGE(cvtdq2ps, load16_aligned)
SSE_IN_RANGE(cvtdq2pd, load8)
SSE_IN_RANGE(cvtps2dq, load16_aligned)
SSE_IN_RANGE(cvttps2dq, load16_aligned)
SSE_IN_RANGE(cvtpd2dq, load16_aligned)
SSE_IN_RANGE(cvttpd2dq, load16_aligned)

/* ---- comparisons to masks: the predicate is an immediate, so there is one instruction for each ---- */

#define COMPARE_CASE(suffix, n)                                                                                        \
	case n:                                                                                                        \
		__asm__ volatile(UNDER_GUEST("cmp" #suffix " $" #n ", %[b], %[a]")                                     \
		                 : [a] "+x"(a), MX_OUT(m)                                                              \
		                 : [b] "x"(b), MX_IN(m));                                                              \
		break

#define COMPARE(suffix, load)                                                                                          \
	static __m128i compare_##suffix(struct mx *m, __m128i a, __m128i b, unsigned predicate)                        \
	{                                                                                                              \
		switch (predicate & 7) {                                                                               \
			COMPARE_CASE(suffix, 0);                                                                       \
			COMPARE_CASE(suffix, 1);                                                                       \
			COMPARE_CASE(suffix, 2);                                                                       \
			COMPARE_CASE(suffix, 3);                                                                       \
			COMPARE_CASE(suffix, 4);                                                                       \
			COMPARE_CASE(suffix, 5);                                                                       \
			COMPARE_CASE(suffix, 6);                                                                       \
			COMPARE_CASE(suffix, 7);                                                                       \
		}                                                                                                      \
		return a;                                                                                              \
	}                                                                                                              \
	INSN(cmp##suffix##_rr)                                                                                         \
	{                                                                                                              \
		struct mx m = mx_guest(c);                                                                             \
		__m128i r;                                                                                             \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		r = compare_##suffix(&m, xmm(c, ip->rm)->v, xmm(c, ip->reg)->v, ip->imm);                              \
		mx_finish_in_range(c, &m);                                                                             \
		xmm(c, ip->rm)->v = r;                                                                                 \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(cmp##suffix##_rm)                                                                                         \
	{                                                                                                              \
		struct mx m = mx_guest(c);                                                                             \
		__m128i b, r;                                                                                          \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		b = load(c, ip);                                                                                       \
		r = compare_##suffix(&m, xmm(c, ip->reg)->v, b, ip->imm);                                              \
		mx_finish_in_range(c, &m);                                                                             \
		xmm(c, ip->reg)->v = r;                                                                                \
		NEXT;                                                                                                  \
	}
COMPARE(ps, load16_aligned)
COMPARE(ss, load4)
COMPARE(pd, load16_aligned)
COMPARE(sd, load8)

/* ---- comparisons to EFLAGS: OF, SF and AF become 0 ---- */

#define COMPARE_FLAGS(name, load)                                                                                      \
	static inline uint32_t flags_##name(struct mx *m, __m128i a, __m128i b)                                        \
	{                                                                                                              \
		bool zf, pf, cf;                                                                                       \
                                                                                                                       \
		__asm__ volatile(UNDER_GUEST(#name " %[b], %[a]")                                                      \
		                 : "=@ccz"(zf), "=@ccp"(pf), "=@ccc"(cf), MX_OUT(m)                                    \
		                 : [a] "x"(a), [b] "x"(b), MX_IN(m));                                                  \
		return (zf ? FL_ZF : 0) | (pf ? FL_PF : 0) | (cf ? FL_CF : 0);                                         \
	}                                                                                                              \
	INSN(name##_rr)                                                                                                \
	{                                                                                                              \
		struct mx m = mx_guest(c);                                                                             \
		uint32_t flags;                                                                                        \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		flags = flags_##name(&m, xmm(c, ip->rm)->v, xmm(c, ip->reg)->v);                                       \
		mx_finish_in_range(c, &m);                                                                             \
		flags_set_arith(c, flags);                                                                             \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(name##_rm)                                                                                                \
	{                                                                                                              \
		struct mx m = mx_guest(c);                                                                             \
		uint32_t flags;                                                                                        \
		__m128i b;                                                                                             \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		b = load(c, ip);                                                                                       \
		flags = flags_##name(&m, xmm(c, ip->reg)->v, b);                                                       \
		mx_finish_in_range(c, &m);                                                                             \
		flags_set_arith(c, flags);                                                                             \
		NEXT;                                                                                                  \
	}
COMPARE_FLAGS(comiss, load4)
COMPARE_FLAGS(ucomiss, load4)
COMPARE_FLAGS(comisd, load8)
COMPARE_FLAGS(ucomisd, load8)

/* ---- conversions from and to general registers ---- */

#define FROM_GPR(name)                                                                                                 \
	static inline __m128i convert_##name(struct mx *m, __m128i a, uint32_t b)                                      \
	{                                                                                                              \
		__asm__ volatile(UNDER_GUEST(#name " %[b], %[a]") : [a] "+x"(a), MX_OUT(m) : [b] "r"(b), MX_IN(m));    \
		return a;                                                                                              \
	}                                                                                                              \
	INSN(name##_rr)                                                                                                \
	{                                                                                                              \
		struct mx m = mx_guest(c);                                                                             \
		__m128i r;                                                                                             \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		r = convert_##name(&m, xmm(c, ip->rm)->v, GPR32(c, ip->reg));                                          \
		mx_finish_in_range(c, &m);                                                                             \
		xmm(c, ip->rm)->v = r;                                                                                 \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(name##_rm)                                                                                                \
	{                                                                                                              \
		struct mx m = mx_guest(c);                                                                             \
		uint32_t b;                                                                                            \
		__m128i r;                                                                                             \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		b = mem_read32(c, ip->seg, insn_ea(c, ip));                                                            \
		r = convert_##name(&m, xmm(c, ip->reg)->v, b);                                                         \
		mx_finish_in_range(c, &m);                                                                             \
		xmm(c, ip->reg)->v = r;                                                                                \
		NEXT;                                                                                                  \
	}
FROM_GPR(cvtsi2ss)
FROM_GPR(cvtsi2sd)

#define TO_GPR(name, load)                                                                                             \
	static inline uint32_t convert_##name(struct mx *m, __m128i b)                                                 \
	{                                                                                                              \
		uint32_t r;                                                                                            \
                                                                                                                       \
		__asm__ volatile(UNDER_GUEST(#name " %[b], %[r]") : [r] "=r"(r), MX_OUT(m) : [b] "x"(b), MX_IN(m));    \
		return r;                                                                                              \
	}                                                                                                              \
	INSN(name##_rr)                                                                                                \
	{                                                                                                              \
		struct mx m = mx_guest(c);                                                                             \
		uint32_t r;                                                                                            \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		r = convert_##name(&m, xmm(c, ip->reg)->v);                                                            \
		mx_finish_in_range(c, &m);                                                                             \
		GPR32(c, ip->rm) = r;                                                                                  \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(name##_rm)                                                                                                \
	{                                                                                                              \
		struct mx m = mx_guest(c);                                                                             \
		uint32_t r;                                                                                            \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		r = convert_##name(&m, load(c, ip));                                                                   \
		mx_finish_in_range(c, &m);                                                                             \
		GPR32(c, ip->reg) = r;                                                                                 \
		NEXT;                                                                                                  \
	}
TO_GPR(cvtss2si, load4)
TO_GPR(cvttss2si, load4)
TO_GPR(cvtsd2si, load8)
TO_GPR(cvttsd2si, load8)

/* ---- conversions from and to MMX registers: the XMM instruction on the low half, whose high half is zero and so raises nothing. The switch to MMX
 * state happens even if an unmasked exception then keeps the result back, as on the host. ---- */

/* CVTPI2PS keeps the destination's high half; CVTPI2PD has none to keep. */
static inline __m128i convert_cvtpi2ps(struct mx *m, __m128i a, __m128i b)
{
	__m128i r = compute_cvtdq2ps(m, _mm_setzero_si128(), b);

	return _mm_castpd_si128(_mm_move_sd(_mm_castsi128_pd(a), _mm_castsi128_pd(r)));
}

static inline __m128i convert_cvtpi2pd(struct mx *m, __m128i a, __m128i b)
{
	return compute_cvtdq2pd(m, a, b);
}

#define FROM_MMX(name)                                                                                                 \
	INSN(name##_rr)                                                                                                \
	{                                                                                                              \
		struct mx m = mx_guest(c);                                                                             \
		__m128i r;                                                                                             \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		x87_check_pending(c);                                                                                  \
		r = convert_##name(&m, xmm(c, ip->rm)->v, low64(mmx_peek(c, ip->reg)));                                \
		mmx_enter(c);                                                                                          \
		mx_finish_in_range(c, &m);                                                                             \
		xmm(c, ip->rm)->v = r;                                                                                 \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(name##_rm)                                                                                                \
	{                                                                                                              \
		struct mx m = mx_guest(c);                                                                             \
		__m128i b, r;                                                                                          \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		b = load8(c, ip);                                                                                      \
		r = convert_##name(&m, xmm(c, ip->reg)->v, b);                                                         \
		mx_finish_in_range(c, &m);                                                                             \
		xmm(c, ip->reg)->v = r;                                                                                \
		NEXT;                                                                                                  \
	}
FROM_MMX(cvtpi2ps)
FROM_MMX(cvtpi2pd)

#define TO_MMX(name, insn, select, load)                                                                               \
	INSN(name##_rr)                                                                                                \
	{                                                                                                              \
		struct mx m = mx_guest(c);                                                                             \
		__m128i r;                                                                                             \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		x87_check_pending(c);                                                                                  \
		r = compute_##insn(&m, _mm_setzero_si128(), select(xmm(c, ip->reg)->v));                               \
		mmx_enter(c);                                                                                          \
		mx_finish_in_range(c, &m);                                                                             \
		mmx_write(c, ip->rm, to64(r));                                                                         \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(name##_rm)                                                                                                \
	{                                                                                                              \
		struct mx m = mx_guest(c);                                                                             \
		__m128i r;                                                                                             \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		x87_check_pending(c);                                                                                  \
		r = compute_##insn(&m, _mm_setzero_si128(), load(c, ip));                                              \
		mmx_enter(c);                                                                                          \
		mx_finish_in_range(c, &m);                                                                             \
		mmx_write(c, ip->reg, to64(r));                                                                        \
		NEXT;                                                                                                  \
	}
TO_MMX(cvtps2pi, cvtps2dq, _mm_move_epi64, load8)
TO_MMX(cvttps2pi, cvttps2dq, _mm_move_epi64, load8)
TO_MMX(cvtpd2pi, cvtpd2dq, , load16_aligned)
TO_MMX(cvttpd2pi, cvttpd2dq, , load16_aligned)

/* ---- approximations ---- */

#define APPROXIMATE(name, n, element, load)                                                                            \
	INSN(name##_rr)                                                                                                \
	{                                                                                                              \
		union vec b;                                                                                           \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		b = *xmm(c, ip->reg);                                                                                  \
		for (unsigned i = 0; i < (n); i++)                                                                     \
			xmm(c, ip->rm)->l[i] = element(b.l[i]);                                                        \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(name##_rm)                                                                                                \
	{                                                                                                              \
		union vec b;                                                                                           \
                                                                                                                       \
		BEGIN;                                                                                                 \
		sse_check(c);                                                                                          \
		b.v = load(c, ip);                                                                                     \
		for (unsigned i = 0; i < (n); i++)                                                                     \
			xmm(c, ip->reg)->l[i] = element(b.l[i]);                                                       \
		NEXT;                                                                                                  \
	}
APPROXIMATE(rcpps, 4, approx_rcp, load16_aligned)
APPROXIMATE(rcpss, 1, approx_rcp, load4)
APPROXIMATE(rsqrtps, 4, approx_rsqrt, load16_aligned)
APPROXIMATE(rsqrtss, 1, approx_rsqrt, load4)

/* ---- binding ---- */

#define ROW(op, name)                                                                                                  \
	{                                                                                                              \
		OP_##op, name##_rr, name##_rm                                                                          \
	}
#define ROWS(op, name) ROW(op##PS, name##ps), ROW(op##SS, name##ss), ROW(op##PD, name##pd), ROW(op##SD, name##sd)

static const struct {
	uint16_t op;
	insn_fn *rr, *rm;
} sse_ops[] = {
	ROWS(ADD, add),
	ROWS(SUB, sub),
	ROWS(MUL, mul),
	ROWS(DIV, div),
	ROWS(MIN, min),
	ROWS(MAX, max),
	ROWS(SQRT, sqrt),
	ROW(CVTSS2SD, cvtss2sd),
	ROW(CVTSD2SS, cvtsd2ss),
	ROW(CVTPS2PD, cvtps2pd),
	ROW(CVTPD2PS, cvtpd2ps),
	ROW(CVTDQ2PS, cvtdq2ps),
	ROW(CVTDQ2PD, cvtdq2pd),
	ROW(CVTPS2DQ, cvtps2dq),
	ROW(CVTTPS2DQ, cvttps2dq),
	ROW(CVTPD2DQ, cvtpd2dq),
	ROW(CVTTPD2DQ, cvttpd2dq),
	ROW(CMPPS, cmpps),
	ROW(CMPSS, cmpss),
	ROW(CMPPD, cmppd),
	ROW(CMPSD_SSE, cmpsd),
	ROW(COMISS, comiss),
	ROW(UCOMISS, ucomiss),
	ROW(COMISD, comisd),
	ROW(UCOMISD, ucomisd),
	ROW(CVTSI2SS, cvtsi2ss),
	ROW(CVTSI2SD, cvtsi2sd),
	ROW(CVTSS2SI, cvtss2si),
	ROW(CVTTSS2SI, cvttss2si),
	ROW(CVTSD2SI, cvtsd2si),
	ROW(CVTTSD2SI, cvttsd2si),
	ROW(CVTPI2PS, cvtpi2ps),
	ROW(CVTPI2PD, cvtpi2pd),
	ROW(CVTPS2PI, cvtps2pi),
	ROW(CVTTPS2PI, cvttps2pi),
	ROW(CVTPD2PI, cvtpd2pi),
	ROW(CVTTPD2PI, cvttpd2pi),
	ROW(RCPPS, rcpps),
	ROW(RCPSS, rcpss),
	ROW(RSQRTPS, rsqrtps),
	ROW(RSQRTSS, rsqrtss),
};

insn_fn *fpu_bind_sse(const struct insn *in)
{
	for (unsigned i = 0; i < sizeof(sse_ops) / sizeof(*sse_ops); i++)
		if (sse_ops[i].op == in->op)
			return in->form == FORM_RR ? sse_ops[i].rr : in->form == FORM_RM ? sse_ops[i].rm : NULL;
	return NULL;
}
