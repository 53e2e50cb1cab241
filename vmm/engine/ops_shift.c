/*
 * ops_shift.c - ROL, ROR, RCL, RCR, SHL, SHR, SAR, SHLD, SHRD.
 *
 * The manual leaves OF undefined for counts other than 1, AF after shifts, and everything for counts beyond the
 * operand. All of it is what the host's instruction gives: each function here executes it, and rotates in the guest's
 * form: on some processors ROL and ROR of a register by a count in the instruction leave OF alone, and compute it for
 * the same count in CL or of memory. A masked count of 0 changes nothing, but memory is written (and may fault) all the
 * same, as on every processor looked at. Bound by interp_bind_int().
 */
#include "vmm/engine/ops.h"

/*
 * The host's flags going into a shift are the guest's as far as one could keep them: CF and AF. The others are always
 * written when the count is not 0. Rotates may keep all but CF; SF, ZF, AF, PF of theirs never leave c->lf.
 */
static inline uint32_t shift_flags_in(const struct vcpu *c)
{
	return ((c->lf.aux >> 23) & HOST_CF) | ((c->lf.aux << 9) & HOST_AF);
}

/* CF and OF from the host's flags. */
static inline void take_cf_of(struct vcpu *c, uint32_t ax)
{
	c->lf.aux = (c->lf.aux & 0x3fffffffu) | (aux_from_host(ax) & 0xc0000000u);
}

#define EACH_COUNT ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"

/* By CL. By a count in the instruction: 16 bytes of code for each, and no flag changes on the way there. */
#define ROTATE(name, bits, place, insn)                                                                                \
	static inline uint32_t name(struct vcpu *c, uint32_t value, unsigned count)                                    \
	{                                                                                                              \
		uint32_t ax = host_flags(c);                                                                           \
		UINT(bits) v = (UINT(bits))value;                                                                      \
		if (!count)                                                                                            \
			return value;                                                                                  \
		__asm__(HOST_FLAGS_IN insn HOST_FLAGS_OUT : "+a"(ax), [v] "+" place(v) : "c"(count) : "cc");           \
		take_cf_of(c, ax);                                                                                     \
		return v;                                                                                              \
	}
#define ROTATE_IMM(name, bits, place, insn)                                                                            \
	static inline uint32_t name(struct vcpu *c, uint32_t value, unsigned count)                                    \
	{                                                                                                              \
		uint32_t ax = host_flags(c);                                                                           \
		UINT(bits) v = (UINT(bits))value;                                                                      \
		uint64_t to;                                                                                           \
		if (!count)                                                                                            \
			return value;                                                                                  \
		__asm__(HOST_FLAGS_IN "leaq 1f(%%rip), %[to]\n\tleaq (%[to], %[offset]), %[to]\n\tjmp *%[to]\n\t"      \
		                      ".balign 16\n1:\t" EACH_COUNT insn                                               \
		                      "\n\tjmp 2f\n\t.balign 16\n\t.endr\n2:" HOST_FLAGS_OUT                           \
		        : "+a"(ax), [v] "+" place(v), [to] "=&r"(to)                                                   \
		        : [offset] "r"((uint64_t)count * 16)                                                           \
		        : "cc");                                                                                       \
		take_cf_of(c, ax);                                                                                     \
		return v;                                                                                              \
	}
#define ROTATE_FORMS(op, bits, insn)                                                                                   \
	ROTATE(op##bits##_r_by_cl, bits, "q", insn " %%cl, %[v]")                                                      \
	ROTATE(op##bits##_m_by_cl, bits, "m", insn " %%cl, %[v]")                                                      \
	ROTATE_IMM(op##bits##_r_by_imm, bits, "&q", insn " $\\i, %[v]")                                                \
	ROTATE_IMM(op##bits##_m_by_imm, bits, "m", insn " $\\i, %[v]")

#define SHIFT(op, bits, insn)                                                                                          \
	static inline uint32_t op##bits(struct vcpu *c, uint32_t value, unsigned count)                                \
	{                                                                                                              \
		uint32_t ax = shift_flags_in(c);                                                                       \
		UINT(bits) v = (UINT(bits))value;                                                                      \
		if (!count)                                                                                            \
			return value;                                                                                  \
		__asm__("sahf\n\t" insn " %%cl, %[v]" HOST_FLAGS_OUT : "+a"(ax), [v] "+q"(v) : "c"(count) : "cc");     \
		flags_set_lazy(c, bits, v, 0);                                                                         \
		c->lf.aux = aux_from_host(ax);                                                                         \
		return v;                                                                                              \
	}
/* A shift sets the same flags in all its forms. */
#define SHIFT_FORMS(op, bits, insn)                                                                                    \
	SHIFT(op, bits, insn)                                                                                          \
	SHIFT_FORM(op, bits, _r_by_cl)                                                                                 \
	SHIFT_FORM(op, bits, _m_by_cl) SHIFT_FORM(op, bits, _r_by_imm) SHIFT_FORM(op, bits, _m_by_imm)
#define SHIFT_FORM(op, bits, form)                                                                                     \
	static inline uint32_t op##bits##form(struct vcpu *c, uint32_t v, unsigned count)                              \
	{                                                                                                              \
		return op##bits(c, v, count);                                                                          \
	}
#define SIZES(forms, op) forms(op, 8, #op "b") forms(op, 16, #op "w") forms(op, 32, #op "l")
SIZES(ROTATE_FORMS, rol)
SIZES(ROTATE_FORMS, ror)
SIZES(ROTATE_FORMS, rcl)
SIZES(ROTATE_FORMS, rcr)
SIZES(SHIFT_FORMS, shl)
SIZES(SHIFT_FORMS, shr)
SIZES(SHIFT_FORMS, sar)

#define COUNT_IMM (ip->imm & 31)
#define COUNT_CL (GPR8(c, 8 * R_CX) & 31u)

#define SHIFT_HANDLERS(op, bits)                                                                                       \
	INSN(op##bits##_ri)                                                                                            \
	{                                                                                                              \
		REG(bits, ip->rm) = (UINT(bits))op##bits##_r_by_imm(c, REG(bits, ip->rm), COUNT_IMM);                  \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(op##bits##_r)                                                                                             \
	{                                                                                                              \
		REG(bits, ip->rm) = (UINT(bits))op##bits##_r_by_cl(c, REG(bits, ip->rm), COUNT_CL);                    \
		NEXT;                                                                                                  \
	}                                                                                                              \
	MODIFIER(op##bits##_mi, bits, op##bits##_m_by_imm(c, v, COUNT_IMM))                                            \
	MODIFIER(op##bits##_m, bits, op##bits##_m_by_cl(c, v, COUNT_CL))
#define SHIFT_HANDLER_SIZES(op) SHIFT_HANDLERS(op, 8) SHIFT_HANDLERS(op, 16) SHIFT_HANDLERS(op, 32)
SHIFT_HANDLER_SIZES(rol)
SHIFT_HANDLER_SIZES(ror)
SHIFT_HANDLER_SIZES(rcl)
SHIFT_HANDLER_SIZES(rcr)
SHIFT_HANDLER_SIZES(shl)
SHIFT_HANDLER_SIZES(shr)
SHIFT_HANDLER_SIZES(sar)

/* IF_CL needs no row of its own: the count is CL in the forms without an immediate. */
#define SHIFT_SLOTS(n)                                                                                                 \
	{                                                                                                              \
		[SLOT_RI] = n##_ri, [SLOT_R] = n##_r, SLOTS_MI(n), SLOTS_M(n)                                          \
	}
#define SHIFT_ROW(op)                                                                                                  \
	{                                                                                                              \
		SHIFT_SLOTS(op##8), SHIFT_SLOTS(op##16), SHIFT_SLOTS(op##32)                                           \
	}
static row shift_rows[] = {
	[OP_ROL - OP_ROL] = SHIFT_ROW(rol), [OP_ROR - OP_ROL] = SHIFT_ROW(ror), [OP_RCL - OP_ROL] = SHIFT_ROW(rcl),
	[OP_RCR - OP_ROL] = SHIFT_ROW(rcr), [OP_SHL - OP_ROL] = SHIFT_ROW(shl), [OP_SHR - OP_ROL] = SHIFT_ROW(shr),
	[OP_SAR - OP_ROL] = SHIFT_ROW(sar),
};

/* ---- SHLD, SHRD ---- */

#define DOUBLE(name, bits, insn)                                                                                       \
	static inline uint32_t name##bits(struct vcpu *c, uint32_t v, uint32_t src, unsigned count)                    \
	{                                                                                                              \
		uint32_t ax = shift_flags_in(c);                                                                       \
		if (!count)                                                                                            \
			return v;                                                                                      \
		__asm__("sahf\n\t" insn HOST_FLAGS_OUT : "+a"(ax), [v] "+r"(v) : "c"(count), [src] "r"(src) : "cc");   \
		flags_set_lazy(c, bits, v, 0);                                                                         \
		c->lf.aux = aux_from_host(ax);                                                                         \
		return v;                                                                                              \
	}                                                                                                              \
	DOUBLE_HANDLERS(name, bits, imm, COUNT_IMM)                                                                    \
	DOUBLE_HANDLERS(name, bits, cl, COUNT_CL)
#define DOUBLE_HANDLERS(name, bits, by, COUNT)                                                                         \
	INSN(name##bits##_##by##_rr)                                                                                   \
	{                                                                                                              \
		REG(bits, ip->rm) = (UINT(bits))name##bits(c, REG(bits, ip->rm), REG(bits, ip->reg), COUNT);           \
		NEXT;                                                                                                  \
	}                                                                                                              \
	MODIFIER(name##bits##_##by##_mr, bits, name##bits(c, v, REG(bits, ip->reg), COUNT))
DOUBLE(shld, 16, "shldw %%cl, %w[src], %w[v]")
DOUBLE(shld, 32, "shldl %%cl, %k[src], %k[v]")
DOUBLE(shrd, 16, "shrdw %%cl, %w[src], %w[v]")
DOUBLE(shrd, 32, "shrdl %%cl, %k[src], %k[v]")

#define DOUBLE_SLOTS(n)                                                                                                \
	{                                                                                                              \
		[SLOT_RR] = n##_rr, SLOTS_MR(n)                                                                        \
	}
#define DOUBLE_ROW(op, by)                                                                                             \
	{                                                                                                              \
		[SIZE_16] = DOUBLE_SLOTS(op##16_##by), [SIZE_32] = DOUBLE_SLOTS(op##32_##by)                           \
	}
static row double_rows[2][2] = {
	{ DOUBLE_ROW(shld, imm), DOUBLE_ROW(shld, cl) },
	{ DOUBLE_ROW(shrd, imm), DOUBLE_ROW(shrd, cl) },
};

insn_fn *bind_shift(const struct insn *in, unsigned mode)
{
	unsigned size = insn_size(in), slot = insn_slot(in);

	(void)mode;
	if (in->op >= OP_ROL && in->op <= OP_SAR)
		return shift_rows[in->op - OP_ROL][size][slot];
	if (in->op == OP_SHLD || in->op == OP_SHRD)
		return double_rows[in->op == OP_SHRD][(in->flags & IF_CL) != 0][size][slot];
	return NULL;
}
