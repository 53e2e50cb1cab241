/*
 * fpu.h - what the fpu_*.c files share: the register image, the checks every instruction makes, and the host's x87 unit as cache.
 *
 * c->fpu.fx (FXSAVE layout, SDM vol. 1 table 10-2) is where the guest's state lives. The host's own x87 unit may hold a newer copy of a part of it:
 *
 *     c->fpu.live   x87 registers, tags, TOP, status flags   control word, FIP, FDP, FOP   MMX   XMM, MXCSR
 *     false         fx                                       fx                            fx    fx
 *     true          the host's unit                          fx                            -     fx
 *
 * Invariants
 *  1. While live, the host's control word is the guest's with all exceptions masked, and the host's status word has ES clear. So nothing between
 *     two handlers can raise #MF in the VMM, which has no floating point of its own on that unit.
 *  2. The guest's ES and B bits are never stored as state: they follow from flags and masks (x87_pending). The image in fx shows them as a read would.
 *  3. MMX instructions work on fx (not live), with TOP = 0, so that MMi is ST(i)'s slot.
 *  4. Host addresses never reach fx: FIP, FCS, FDP, FDS and FOP are tracked here, not taken from the host's.
 */
#ifndef RINGSIDE_VMM_ENGINE_FPU_H
#define RINGSIDE_VMM_ENGINE_FPU_H

#include <emmintrin.h>
#include <string.h>

#include "vmm/engine/interp.h"

/* FXSAVE image, SDM vol. 1 table 10-2 (32-bit format) */
enum {
	FX_FCW = 0,
	FX_FSW = 2,
	FX_FTW = 4,
	FX_FOP = 6,
	FX_FIP = 8,
	FX_FCS = 12,
	FX_FDP = 16,
	FX_FDS = 20,
	FX_MXCSR = 24,
	FX_MXCSR_MASK = 28,
	FX_ST = 32,
	FX_XMM = 160,
	FX_END = 288,
	FX_SIZE = 512
};
#define FX16(c, offset) (*(alias16_t *)(void *)((c)->fpu.fx + (offset)))
#define FX32(c, offset) (*(alias32_t *)(void *)((c)->fpu.fx + (offset)))

/* x87 status and control word, SDM vol. 1 8.1.3, 8.1.5 */
#define FSW_EXCEPTIONS 0x003fu
#define FSW_SF 0x0040u
#define FSW_ES 0x0080u
#define FSW_TOP 0x3800u
#define FSW_TOP_SHIFT 11
#define FSW_B 0x8000u
#define FSW_IE 0x01u
#define FSW_DE 0x02u
#define FSW_ZE 0x04u
#define FSW_OE 0x08u
#define FSW_UE 0x10u
#define FSW_PE 0x20u
#define FCW_MASKS 0x003fu
#define FCW_DEFAULT 0x037fu
#define FCW_WRITABLE 0x1f3fu
#define FCW_FIXED 0x0040u /* reads as 1 on every P6 and later */

/* MXCSR, SDM vol. 1 10.2.3 */
#define MXCSR_FLAGS 0x003fu /* the same bits as FSW_EXCEPTIONS */
#define MXCSR_DAZ 0x0040u
#define MXCSR_MASKS 0x1f80u
#define MXCSR_MASK_SHIFT 7
#define MXCSR_FTZ 0x8000u
#define MXCSR_DEFAULT 0x1f80u
#define MXCSR_VALID 0xffffu

union vec {
	__m128i v;
	__m128 f;
	__m128d d;
	uint64_t q[2];
	int64_t sq[2];
	uint32_t l[4];
	int32_t sl[4];
	uint16_t w[8];
	uint8_t b[16];
} __attribute__((may_alias));

/* ---- fpu_state.c ---- */

/* Bring the x87 state into the host's unit. */
void x87_load(struct vcpu *c);
/* Around an instruction that may raise an exception the guest has not masked: between the two the host's unit has the guest's own masks, so that
 * the host does to registers, TOP and flags what the architecture says for unmasked exceptions. Nothing but that one instruction may run there: the
 * next waiting one would fault. x87_remask() returns the exceptions that were raised unmasked. */
void x87_unmask(struct vcpu *c);
unsigned x87_remask(struct vcpu *c);
/* Guest's status word, ES and B included, wherever the state is. */
unsigned x87_status(struct vcpu *c);
/* Renumber the image's ST slots for another TOP: the registers stay, their names change. Not live. */
void x87_set_top(struct vcpu *c, unsigned top);
/* MMX state in fx, TOP = 0, all registers valid: what every MMX instruction but EMMS does. */
void mmx_switch(struct vcpu *c);
insn_fn *fpu_bind_state(const struct insn *in); /* FXSAVE, FLDENV, FNINIT, ... by op */

/* ---- fpu_x87.c, fpu_vec.c, fpu_sse.c ---- */
insn_fn *fpu_bind_x87(const struct insn *in);
insn_fn *fpu_bind_vec(const struct insn *in); /* MMX, XMM: integer and moves */
insn_fn *fpu_bind_sse(const struct insn *in); /* SSE, SSE2: floating point */

/* ---- fpu_approx.c: RCPSS and RSQRTSS on one element ---- */
uint32_t approx_rcp(uint32_t x);
uint32_t approx_rsqrt(uint32_t x);

/* ---- fpu_unmasked.c ---- */

enum float_op { FLOAT_NONE /* never over- or underflows */, FLOAT_ADD, FLOAT_SUB, FLOAT_MUL, FLOAT_DIV, FLOAT_NARROW };
enum float_kind { FLOAT_SINGLE, FLOAT_DOUBLE };

/* What a floating-point instruction does to its lowest `count` elements; kind is the result's. */
struct float_insn {
	enum float_op op;
	enum float_kind kind;
	unsigned count;
};

/* OE, UE and PE of a op b under mxcsr's masks, where those differ from what a run with all exceptions masked shows. Not live. */
unsigned sse_rounding_flags(const struct float_insn *in, __m128i a, __m128i b, uint32_t mxcsr);

/* ---- checks, in the order of the architecture ---- */

static inline bool x87_all_masked(const struct vcpu *c)
{
	return (FX16(c, FX_FCW) & FCW_MASKS) == FCW_MASKS;
}

/* #MF for an unmasked exception still pending. With CR0.NE = 0 a real processor would assert FERR# and wait for IRQ 13; that wire is not there
 * in this machine (IGNNE# counts as asserted), so the instruction goes on. */
static inline void x87_check_pending(struct vcpu *c)
{
	if (unlikely(!x87_all_masked(c)) && (x87_status(c) & FSW_ES) && (c->cr0 & CR0_NE))
		vcpu_raise(c, VEC_MF);
}

static inline void x87_check_nm(struct vcpu *c)
{
	if (unlikely(c->cr0 & (CR0_EM | CR0_TS)))
		vcpu_raise(c, VEC_NM);
}

static inline void x87_check(struct vcpu *c)
{
	x87_check_nm(c);
	x87_check_pending(c);
}

static inline void mmx_check(struct vcpu *c)
{
	if (unlikely(c->cr0 & (CR0_EM | CR0_TS)))
		vcpu_raise(c, c->cr0 & CR0_EM ? VEC_UD : VEC_NM);
	x87_check_pending(c);
}

static inline void sse_check(struct vcpu *c)
{
	if (unlikely((c->cr0 & CR0_EM) || !(c->cr4 & CR4_OSFXSR)))
		vcpu_raise(c, VEC_UD);
	if (unlikely(c->cr0 & CR0_TS))
		vcpu_raise(c, VEC_NM);
}

/* ---- registers ---- */

/* XMM register by the decoder's offset, 16 * index. */
static inline union vec *xmm(struct vcpu *c, unsigned offset)
{
	return (union vec *)(void *)(c->fpu.fx + FX_XMM + offset);
}

/* MMX register by the decoder's offset, 8 * index. Only after mmx_enter(). */
static inline alias64_t *mmx(struct vcpu *c, unsigned offset)
{
	return (alias64_t *)(void *)(c->fpu.fx + FX_ST + 2 * offset);
}

/* The value of an MMX register before the switch to MMX state, for what may still fault. Puts the state into fx, changes nothing of it. */
static inline uint64_t mmx_peek(struct vcpu *c, unsigned offset)
{
	if (unlikely(c->fpu.live))
		fpu_sync(c);
	return *mmx(c, (offset - (FX16(c, FX_FSW) >> FSW_TOP_SHIFT) * 8) & 56);
}

static inline void mmx_enter(struct vcpu *c)
{
	if (unlikely(c->fpu.live || (FX16(c, FX_FSW) & FSW_TOP) || c->fpu.fx[FX_FTW] != 0xff))
		mmx_switch(c);
}

/* A write to an MMX register sets sign and exponent to ones (SDM vol. 1 9.6.2). */
static inline void mmx_write(struct vcpu *c, unsigned offset, uint64_t v)
{
	alias64_t *p = mmx(c, offset);

	p[0] = v;
	p[1] = 0xffff;
}

/* ---- memory operands ---- */

static inline bool misaligned16(const struct vcpu *c, const struct insn *ip, uint32_t ea)
{
	return mem_linear(c, ip->seg, ea) & 15;
}

static inline __m128i load16(struct vcpu *c, unsigned seg, uint32_t ea)
{
	union vec v;

	if (likely((uint64_t)ea + 16 <= c->seg[seg].rlimit)) {
		const void *p = mmu_fast_read(&c->mmu, mem_linear(c, seg, ea), 16);

		if (likely(p != NULL))
			return _mm_loadu_si128(p);
	}
	mem_read_bytes(c, seg, ea, &v, 16);
	return v.v;
}

static inline void store16(struct vcpu *c, unsigned seg, uint32_t ea, __m128i v)
{
	union vec u = { .v = v };

	if (likely((uint64_t)ea + 16 <= c->seg[seg].wlimit)) {
		void *p = mmu_fast_write(&c->mmu, mem_linear(c, seg, ea), 16);

		if (likely(p != NULL)) {
			_mm_storeu_si128(p, v);
			return;
		}
	}
	mem_write_bytes(c, seg, ea, &u, 16);
}

static inline __m128i load16_aligned(struct vcpu *c, const struct insn *ip)
{
	uint32_t ea = insn_ea(c, ip);

	if (unlikely(misaligned16(c, ip, ea)))
		vcpu_raise_error(c, VEC_GP, 0);
	return load16(c, ip->seg, ea);
}

static inline void store16_aligned(struct vcpu *c, const struct insn *ip, __m128i v)
{
	uint32_t ea = insn_ea(c, ip);

	if (unlikely(misaligned16(c, ip, ea)))
		vcpu_raise_error(c, VEC_GP, 0);
	store16(c, ip->seg, ea, v);
}

static inline __m128i load8(struct vcpu *c, const struct insn *ip)
{
	return _mm_cvtsi64_si128((long long)mem_read64(c, ip->seg, insn_ea(c, ip)));
}

static inline __m128i load4(struct vcpu *c, const struct insn *ip)
{
	return _mm_cvtsi32_si128((int)mem_read32(c, ip->seg, insn_ea(c, ip)));
}

static inline __m128i low64(uint64_t v)
{
	return _mm_cvtsi64_si128((long long)v);
}

static inline uint64_t to64(__m128i v)
{
	return (uint64_t)_mm_cvtsi128_si64(v);
}

#endif
