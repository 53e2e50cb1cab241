/*
 * fpu_unmasked.c - which flags an SSE instruction shows when overflow or underflow is not masked.
 *
 * A masked run cannot tell: masked overflow is always inexact, and masked tiny results are rounded where denormals end. Unmasked, a result is rounded as
 * if exponents had no bounds; it overflows or is tiny by that, and is inexact only if that rounding was (SDM vol. 1 4.9.1.4 to 4.9.1.6).
 * The host's x87 unit has such exponents, for all purposes here: 15 bits, with significands cut to 24 or 53 bits by its precision control.
 *
 * Called by fpu_sse.c, rarely; the guest's x87 state must not be live.
 */
#include "vmm/engine/fpu.h"

#define PC_SHIFT 8 /* x87 control word: precision and rounding control */
#define RC_SHIFT 10
#define MXCSR_RC_SHIFT 13

struct format {
	unsigned precision;             /* x87 precision control */
	int min_exponent, max_exponent; /* of normal numbers */
};

static const struct format formats[] = { [FLOAT_SINGLE] = { 0, -126, 127 }, [FLOAT_DOUBLE] = { 2, -1022, 1023 } };

/* a op b, rounded to the precision and with any exponent. */
struct rounded {
	int exponent;
	bool finite, zero, inexact;
	bool fits; /* representable in the format, denormals included, without a further rounding */
};

/* The assembler's names are those of AT&T: FSUBRP and FDIVRP here are a - b and a / b. */
#define COMPUTE(insn, store)                                                                                           \
	__asm__ volatile("fninit\n\tfldcw %[fcw]\n\tfldl %[a]\n\tfldl %[b]\n\tfnclex\n\t" insn                         \
	                 "\n\tfnstsw %[op_fsw]\n\tfld %%st(0)\n\tfstpt %[st]\n\tfnclex\n\t" store                      \
	                 "\n\tfnstsw %[store_fsw]\n\tfninit"                                                           \
	                 : [op_fsw] "=m"(op_fsw), [store_fsw] "=m"(store_fsw), [st] "=m"(st), [out] "=m"(out)          \
	                 : [fcw] "m"(fcw), [a] "m"(a), [b] "m"(b))
#define COMPUTE_BOTH(insn)                                                                                             \
	do {                                                                                                           \
		if (kind == FLOAT_SINGLE)                                                                              \
			COMPUTE(insn, "fstps %[out]");                                                                 \
		else                                                                                                   \
			COMPUTE(insn, "fstpl %[out]");                                                                 \
	} while (0)

static struct rounded compute(enum float_op op, enum float_kind kind, double a, double b, unsigned rounding)
{
	uint16_t fcw = (uint16_t)(FCW_FIXED | FCW_MASKS | formats[kind].precision << PC_SHIFT | rounding << RC_SHIFT);
	uint16_t op_fsw, store_fsw, sign_exponent;
	uint64_t significand, out;
	uint8_t st[16];

	switch (op) {
	case FLOAT_ADD: COMPUTE_BOTH("faddp"); break;
	case FLOAT_SUB: COMPUTE_BOTH("fsubrp"); break;
	case FLOAT_MUL: COMPUTE_BOTH("fmulp"); break;
	case FLOAT_DIV: COMPUTE_BOTH("fdivrp"); break;
	default: BUG_ON("not an operation that can overflow");
	}
	memcpy(&significand, st, 8);
	memcpy(&sign_exponent, st + 8, 2);
	return (struct rounded){
		.exponent = (sign_exponent & 0x7fff) - 0x3fff,
		.finite = (sign_exponent & 0x7fff) != 0x7fff,
		.zero = significand == 0,
		.inexact = op_fsw & FSW_PE,
		.fits = !(store_fsw & FSW_EXCEPTIONS & ~FSW_UE),
	};
}

static unsigned element_flags(enum float_op op, enum float_kind kind, double a, double b, uint32_t mxcsr)
{
	const struct format *f = &formats[kind];
	struct rounded r = compute(op, kind, a, b, mxcsr >> MXCSR_RC_SHIFT & 3);
	uint32_t masks = mxcsr >> MXCSR_MASK_SHIFT;
	unsigned inexact = r.inexact ? FSW_PE : 0;

	if (!r.finite || r.zero)
		return 0; /* of infinities and NaNs, or exactly zero */
	if (r.exponent > f->max_exponent)
		return FSW_OE | (masks & FSW_OE ? FSW_PE : inexact);
	if (r.exponent >= f->min_exponent)
		return inexact;
	if (!(masks & FSW_UE))
		return FSW_UE | inexact;
	if (mxcsr & MXCSR_FTZ)
		return FSW_UE | FSW_PE;
	return r.inexact || !r.fits ? FSW_UE | FSW_PE : 0;
}

/* DAZ: what the instruction saw. */
static double element(union vec v, enum float_kind kind, unsigned i, uint32_t mxcsr)
{
	bool single = kind == FLOAT_SINGLE;
	bool denormal = single ? !(v.l[i] & 0x7f800000u) : !(v.q[i] & 0x7ff0000000000000ull);

	if (denormal && (mxcsr & MXCSR_DAZ))
		return 0;
	return single ? (double)v.f[i] : v.d[i];
}

unsigned sse_rounding_flags(const struct float_insn *in, __m128i a, __m128i b, uint32_t mxcsr)
{
	union vec va = { .v = a }, vb = { .v = b };
	unsigned flags = 0;

	for (unsigned i = 0; i < in->count; i++) {
		enum float_kind from = in->op == FLOAT_NARROW ? FLOAT_DOUBLE : in->kind;
		double y = element(vb, from, i, mxcsr);

		if (in->op == FLOAT_NARROW)
			flags |= element_flags(FLOAT_MUL, FLOAT_SINGLE, y, 1.0, mxcsr);
		else
			flags |= element_flags(in->op, in->kind, element(va, from, i, mxcsr), y, mxcsr);
	}
	return flags;
}
