/*
 * fpu_approx.c - RCPSS and RSQRTSS: the two SSE instructions whose results differ between makers of processors.
 *
 * A trace must replay on any host, so the results are defined here and not by the host: the single-precision number nearest to the true value
 * (of 1/x and 1/sqrt(x) computed in double precision), which is far inside the architecture's bound of 1.5 * 2^-12. Division, square root and conversion are exact IEEE 754 operations
 * on every host. Special cases are those of SDM vol. 2, RCPPS and RSQRTPS. Neither looks at MXCSR nor sets flags there.
 * Called by fpu_sse.c.
 */
#include "vmm/engine/fpu.h"

#define F32_SIGN 0x80000000u
#define F32_INF 0x7f800000u
#define F32_QUIET 0x00400000u
#define F32_MIN_NORMAL 0x00800000u
#define F32_INDEFINITE 0xffc00000u

static inline float as_float(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static inline uint32_t as_bits(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

uint32_t approx_rcp(uint32_t x)
{
	uint32_t sign = x & F32_SIGN, magnitude = x & ~F32_SIGN, r;

	if (magnitude > F32_INF)
		return x | F32_QUIET;
	if (magnitude == F32_INF)
		return sign;
	if (magnitude < F32_MIN_NORMAL)
		return sign | F32_INF;
	r = as_bits((float)(1.0 / (double)as_float(magnitude)));
	return sign | (r < F32_MIN_NORMAL ? 0 : r); /* tiny results are flushed */
}

uint32_t approx_rsqrt(uint32_t x)
{
	uint32_t sign = x & F32_SIGN, magnitude = x & ~F32_SIGN;

	if (magnitude > F32_INF)
		return x | F32_QUIET;
	if (magnitude < F32_MIN_NORMAL)
		return sign | F32_INF;
	if (sign)
		return F32_INDEFINITE;
	if (magnitude == F32_INF)
		return 0;
	return as_bits(
	        (float)(1.0 / _mm_cvtsd_f64(_mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd((double)as_float(magnitude))))));
}
