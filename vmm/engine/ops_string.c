/*
 * ops_string.c - MOVS, CMPS, STOS, LODS, SCAS, alone and repeated.
 *
 * A repeated one is the last instruction of its trace and counts one instruction an iteration. Its state (ESI, EDI,
 * ECX) is in place after every iteration, and so is the count: c->icount has grown by the iterations that are done
 * whenever the next one starts, so a fault, a budget or an interrupt between two of them finds everything exact. The
 * run loop itself adds the trace's length, with that the last iteration. When the budget ends first, rip stays on the
 * instruction.
 *
 * MOVS and STOS upwards go a page at a time where that is the same thing. Bound by interp_bind_int(); INS and OUTS
 * never get here.
 */
#include "vmm/engine/ops.h"

static inline uint32_t index_reg(const struct vcpu *c, const struct insn *ip, unsigned reg)
{
	return ip->asize == 4 ? GPR32(c, 8 * reg) : GPR16(c, 8 * reg);
}

static inline void add_index(struct vcpu *c, const struct insn *ip, unsigned reg, uint32_t by)
{
	if (ip->asize == 4)
		GPR32(c, 8 * reg) += by;
	else
		GPR16(c, 8 * reg) = (uint16_t)(GPR16(c, 8 * reg) + by);
}

static inline uint32_t step_of(const struct vcpu *c, unsigned size)
{
	return c->eflags & FL_DF ? -(uint32_t)size : size;
}

/* ---- one iteration; everything that can fault comes first ---- */

#define STRINGS(bits)                                                                                                  \
	static void movs##bits##_once(struct vcpu *c, const struct insn *ip)                                           \
	{                                                                                                              \
		uint32_t from = index_reg(c, ip, R_SI), to = index_reg(c, ip, R_DI), by = step_of(c, bits / 8);        \
		const void *src = fast_read##bits(c, ip->seg, from);                                                   \
		void *dst = fast_write##bits(c, SEG_ES, to);                                                           \
		if (likely(src && dst)) {                                                                              \
			st##bits(dst, ld##bits(src));                                                                  \
		} else {                                                                                               \
			mem_check_read(c, ip->seg, from, bits / 8);                                                    \
			mem_check_write(c, SEG_ES, to, bits / 8);                                                      \
			mem_write##bits(c, SEG_ES, to, mem_read##bits(c, ip->seg, from));                              \
		}                                                                                                      \
		add_index(c, ip, R_SI, by);                                                                            \
		add_index(c, ip, R_DI, by);                                                                            \
	}                                                                                                              \
	static void stos##bits##_once(struct vcpu *c, const struct insn *ip)                                           \
	{                                                                                                              \
		mem_write##bits(c, SEG_ES, index_reg(c, ip, R_DI), REG(bits, 0));                                      \
		add_index(c, ip, R_DI, step_of(c, bits / 8));                                                          \
	}                                                                                                              \
	static void lods##bits##_once(struct vcpu *c, const struct insn *ip)                                           \
	{                                                                                                              \
		REG(bits, 0) = mem_read##bits(c, ip->seg, index_reg(c, ip, R_SI));                                     \
		add_index(c, ip, R_SI, step_of(c, bits / 8));                                                          \
	}                                                                                                              \
	static inline void compare##bits(struct vcpu *c, uint32_t a, uint32_t b)                                       \
	{                                                                                                              \
		flags_set_lazy(c, bits, a - b, carries_sub(a, b, a - b));                                              \
	}                                                                                                              \
	static void scas##bits##_once(struct vcpu *c, const struct insn *ip)                                           \
	{                                                                                                              \
		compare##bits(c, REG(bits, 0), mem_read##bits(c, SEG_ES, index_reg(c, ip, R_DI)));                     \
		add_index(c, ip, R_DI, step_of(c, bits / 8));                                                          \
	}                                                                                                              \
	static void cmps##bits##_once(struct vcpu *c, const struct insn *ip)                                           \
	{                                                                                                              \
		uint32_t a_at = index_reg(c, ip, R_SI), b_at = index_reg(c, ip, R_DI), by = step_of(c, bits / 8);      \
		UINT(bits) b;                                                                                          \
		if (unlikely(c->mmu.stepping)) { /* a device must be read once */                                      \
			mem_check_read(c, SEG_ES, b_at, bits / 8);                                                     \
			mem_check_read(c, ip->seg, a_at, bits / 8);                                                    \
		}                                                                                                      \
		b = mem_read##bits(c, SEG_ES, b_at);                                                                   \
		compare##bits(c, mem_read##bits(c, ip->seg, a_at), b);                                                 \
		add_index(c, ip, R_SI, by);                                                                            \
		add_index(c, ip, R_DI, by);                                                                            \
	}
STRINGS(8)
STRINGS(16)
STRINGS(32)

/* ---- many iterations at once: how many, 0 when it takes the long way ---- */

/* Elements of `size` from seg:off that stay on its page, in its segment (whose end is `limit`), and below the end of
 * the index register. */
static uint32_t run_length(const struct vcpu *c, const struct insn *ip, unsigned seg, uint32_t off, uint64_t limit)
{
	uint32_t page = PAGE_SIZE - (mem_linear(c, seg, off) & (PAGE_SIZE - 1));
	uint64_t room = limit - off;

	if (ip->asize == 2 && room > 0x10000 - off)
		room = 0x10000 - off;
	return (room < page ? (uint32_t)room : page) / ip->opsize;
}

static void fill(uint8_t *dst, uint32_t value, unsigned size, uint32_t n)
{
	if (size == 1) {
		memset(dst, (int)value, n);
		return;
	}
	for (uint32_t i = 0; i < n; i++, dst += size) {
		if (size == 2)
			st16(dst, (uint16_t)value);
		else
			st32(dst, value);
	}
}

/* Forwards, element after element: what overlaps behind the source repeats itself, as it does on hardware. */
static void copy(uint8_t *dst, const uint8_t *src, unsigned size, uint32_t n)
{
	if (dst <= src || dst >= src + (size_t)n * size) {
		memmove(dst, src, (size_t)n * size);
		return;
	}
	for (uint32_t i = 0; i < n; i++, dst += size, src += size) {
		if (size == 1)
			*dst = *src;
		else if (size == 2)
			st16(dst, ld16(src));
		else
			st32(dst, ld32(src));
	}
}

static uint32_t stos_run(struct vcpu *c, const struct insn *ip, uint32_t max)
{
	uint32_t to = index_reg(c, ip, R_DI), n;
	uint8_t *dst = fast_write8(c, SEG_ES, to);

	if (!dst)
		return 0;
	n = run_length(c, ip, SEG_ES, to, c->seg[SEG_ES].wlimit);
	if (n > max)
		n = max;
	fill(dst, GPR32(c, 0), ip->opsize, n);
	add_index(c, ip, R_DI, n * ip->opsize);
	return n;
}

static uint32_t movs_run(struct vcpu *c, const struct insn *ip, uint32_t max)
{
	uint32_t from = index_reg(c, ip, R_SI), to = index_reg(c, ip, R_DI), n, m;
	const uint8_t *src = fast_read8(c, ip->seg, from);
	uint8_t *dst = fast_write8(c, SEG_ES, to);

	if (!src || !dst)
		return 0;
	n = run_length(c, ip, SEG_ES, to, c->seg[SEG_ES].wlimit);
	m = run_length(c, ip, ip->seg, from, c->seg[ip->seg].rlimit);
	if (n > m)
		n = m;
	if (n > max)
		n = max;
	copy(dst, src, ip->opsize, n);
	add_index(c, ip, R_SI, n * ip->opsize);
	add_index(c, ip, R_DI, n * ip->opsize);
	return n;
}

/* ---- repetition ---- */

typedef void once_fn(struct vcpu *c, const struct insn *ip);
typedef uint32_t run_fn(struct vcpu *c, const struct insn *ip, uint32_t max);

/* `run` may be NULL. `until`: 0 always to the end, else ends when ZF is not this prefix's (IF_REP: equal, IF_REPNE:
 * not equal). */
static inline void repeat(struct vcpu *c, const struct insn *ip, once_fn *once, run_fn *run, unsigned until)
{
	uint32_t count = index_reg(c, ip, R_CX);
	uint64_t budget = c->icount_end - present_icount(c, ip);

	BEGIN;
	if (!count)
		END(NEXT_RIP(c, ip));
	for (;;) {
		uint32_t n = 0;

		if (run && !(c->eflags & FL_DF))
			n = run(c, ip, count < budget ? count : (uint32_t)budget);
		if (!n) {
			once(c, ip);
			n = 1;
		}
		add_index(c, ip, R_CX, -n);
		count -= n;
		budget -= n;
		c->icount += n - 1;
		if (!count || (until && flag_zf(c) != (until == IF_REP)))
			END(NEXT_RIP(c, ip));
		if (!budget)
			END(c->rip + ip->off);
		c->icount++;
	}
}

#define REPEATED(bits)                                                                                                 \
	INSN(movs##bits)                                                                                               \
	{                                                                                                              \
		BEGIN;                                                                                                 \
		movs##bits##_once(c, ip);                                                                              \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(stos##bits)                                                                                               \
	{                                                                                                              \
		BEGIN;                                                                                                 \
		stos##bits##_once(c, ip);                                                                              \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(lods##bits)                                                                                               \
	{                                                                                                              \
		BEGIN;                                                                                                 \
		lods##bits##_once(c, ip);                                                                              \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(scas##bits)                                                                                               \
	{                                                                                                              \
		BEGIN;                                                                                                 \
		scas##bits##_once(c, ip);                                                                              \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(cmps##bits)                                                                                               \
	{                                                                                                              \
		BEGIN;                                                                                                 \
		cmps##bits##_once(c, ip);                                                                              \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(rep_movs##bits)                                                                                           \
	{                                                                                                              \
		repeat(c, ip, movs##bits##_once, movs_run, 0);                                                         \
	}                                                                                                              \
	INSN(rep_stos##bits)                                                                                           \
	{                                                                                                              \
		repeat(c, ip, stos##bits##_once, stos_run, 0);                                                         \
	}                                                                                                              \
	INSN(rep_lods##bits)                                                                                           \
	{                                                                                                              \
		repeat(c, ip, lods##bits##_once, NULL, 0);                                                             \
	}                                                                                                              \
	INSN(repe_scas##bits)                                                                                          \
	{                                                                                                              \
		repeat(c, ip, scas##bits##_once, NULL, IF_REP);                                                        \
	}                                                                                                              \
	INSN(repe_cmps##bits)                                                                                          \
	{                                                                                                              \
		repeat(c, ip, cmps##bits##_once, NULL, IF_REP);                                                        \
	}                                                                                                              \
	INSN(repne_scas##bits)                                                                                         \
	{                                                                                                              \
		repeat(c, ip, scas##bits##_once, NULL, IF_REPNE);                                                      \
	}                                                                                                              \
	INSN(repne_cmps##bits)                                                                                         \
	{                                                                                                              \
		repeat(c, ip, cmps##bits##_once, NULL, IF_REPNE);                                                      \
	}
REPEATED(8)
REPEATED(16)
REPEATED(32)

/* By repetition: none, REP or REPE, REPNE (which is REP to those that do not compare). */
#define SIZES_OF(n)                                                                                                    \
	{                                                                                                              \
		n##8, n##16, n##32                                                                                     \
	}
static insn_fn *const strings[][3][SIZES] = {
	[OP_MOVS - OP_MOVS] = { SIZES_OF(movs), SIZES_OF(rep_movs), SIZES_OF(rep_movs) },
	[OP_CMPS - OP_MOVS] = { SIZES_OF(cmps), SIZES_OF(repe_cmps), SIZES_OF(repne_cmps) },
	[OP_STOS - OP_MOVS] = { SIZES_OF(stos), SIZES_OF(rep_stos), SIZES_OF(rep_stos) },
	[OP_LODS - OP_MOVS] = { SIZES_OF(lods), SIZES_OF(rep_lods), SIZES_OF(rep_lods) },
	[OP_SCAS - OP_MOVS] = { SIZES_OF(scas), SIZES_OF(repe_scas), SIZES_OF(repne_scas) },
};

insn_fn *bind_string(const struct insn *in, unsigned mode)
{
	unsigned repetition = in->flags & IF_REPNE ? 2 : in->flags & IF_REP ? 1 : 0;

	(void)mode;
	if (in->op < OP_MOVS || in->op > OP_SCAS)
		return NULL;
	return strings[in->op - OP_MOVS][repetition][insn_size(in)];
}
