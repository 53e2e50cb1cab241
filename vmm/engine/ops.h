/*
 * ops.h - what the integer handler files (ops_*.c) share, and nobody else includes.
 *
 * Every handler that touches memory exists three times: `_s` for the common address [base + disp32], `_g` for any
 * address, both with the TLB's fast answer only, and `_slow` with everything that can happen. The fast ones call
 * nothing but the next handler, so they need no stack frame; they cannot fault, so they leave c->ip alone. Whatever
 * is not fast tail-calls `_slow`, which starts over.
 */
#ifndef RINGSIDE_VMM_ENGINE_OPS_H
#define RINGSIDE_VMM_ENGINE_OPS_H

#include "vmm/engine/cache.h"

#define DR7_ENABLES 0xffu /* any breakpoint is */

/* Does it always leave the engine, for the VMM to emulate it? `in` is bound. */
bool interp_is_emulated(const struct insn *in);

/* Which handler of a row: form, and shape of the address. */
enum slot {
	SLOT_RR,
	SLOT_RI,
	SLOT_R,
	SLOT_I,
	SLOT_NONE,
	SLOT_RM_S,
	SLOT_RM_G,
	SLOT_MR_S,
	SLOT_MR_G,
	SLOT_MI_S,
	SLOT_MI_G,
	SLOT_M_S,
	SLOT_M_G,
	SLOTS
};
enum { SIZE_8, SIZE_16, SIZE_32, SIZES };

typedef insn_fn *const row[SIZES][SLOTS];

static inline unsigned insn_slot(const struct insn *in)
{
	static const uint8_t slots[] = {
		[FORM_NONE] = SLOT_NONE, [FORM_RR] = SLOT_RR,   [FORM_RI] = SLOT_RI,
		[FORM_R] = SLOT_R,       [FORM_I] = SLOT_I,     [FORM_RM] = SLOT_RM_S,
		[FORM_MR] = SLOT_MR_S,   [FORM_MI] = SLOT_MI_S, [FORM_M] = SLOT_M_S,
	};
	bool general = (in->flags & IF_MEM) && (in->asize != 4 || in->index != GPR_ZERO);

	return slots[in->form] + general;
}

static inline unsigned insn_size(const struct insn *in)
{
	return in->opsize == 4 ? SIZE_32 : in->opsize == 2 ? SIZE_16 : SIZE_8;
}

/* Rows of a table, by what handlers a family stamps. */
#define SLOTS_RM(n) [SLOT_RM_S] = n##_rm_s, [SLOT_RM_G] = n##_rm_g
#define SLOTS_MR(n) [SLOT_MR_S] = n##_mr_s, [SLOT_MR_G] = n##_mr_g
#define SLOTS_MI(n) [SLOT_MI_S] = n##_mi_s, [SLOT_MI_G] = n##_mi_g
#define SLOTS_M(n) [SLOT_M_S] = n##_m_s, [SLOT_M_G] = n##_m_g

/* Unaligned access to guest bytes and registers by width. */
#define UINT(bits) uint##bits##_t
#define REG(bits, offset) GPR##bits(c, offset)

#define LOAD_STORE(bits)                                                                                               \
	static inline uint##bits##_t ld##bits(const void *p)                                                           \
	{                                                                                                              \
		uint##bits##_t v;                                                                                      \
		memcpy(&v, p, sizeof(v));                                                                              \
		return v;                                                                                              \
	}                                                                                                              \
	static inline void st##bits(void *p, uint##bits##_t v)                                                         \
	{                                                                                                              \
		memcpy(p, &v, sizeof(v));                                                                              \
	}                                                                                                              \
	/* Host pointer when segment and TLB answer at once, else NULL. */                                             \
	static inline const void *fast_read##bits(struct vcpu *c, unsigned seg, uint32_t off)                          \
	{                                                                                                              \
		if (unlikely((uint64_t)off + sizeof(uint##bits##_t) > c->seg[seg].rlimit))                             \
			return NULL;                                                                                   \
		return mmu_fast_read(&c->mmu, mem_linear(c, seg, off), sizeof(uint##bits##_t));                        \
	}                                                                                                              \
	static inline void *fast_write##bits(struct vcpu *c, unsigned seg, uint32_t off)                               \
	{                                                                                                              \
		if (unlikely((uint64_t)off + sizeof(uint##bits##_t) > c->seg[seg].wlimit))                             \
			return NULL;                                                                                   \
		return mmu_fast_write(&c->mmu, mem_linear(c, seg, off), sizeof(uint##bits##_t));                       \
	}
LOAD_STORE(8)
LOAD_STORE(16)
LOAD_STORE(32)
LOAD_STORE(64)
#undef LOAD_STORE

/* [base + disp32]: index absent, 32-bit addressing. */
static inline uint32_t ea_s(const struct vcpu *c, const struct insn *ip)
{
	return ip->disp + GPR32(c, ip->base);
}

static inline uint32_t ea_g(const struct vcpu *c, const struct insn *ip)
{
	return insn_ea(c, ip);
}

/* Reads memory into v, then BODY. */
#define READER(name, bits, BODY)                                                                                       \
	static __attribute__((noinline)) void name##_slow(struct vcpu *c, const struct insn *ip)                       \
	{                                                                                                              \
		UINT(bits) v;                                                                                          \
		BEGIN;                                                                                                 \
		v = mem_read##bits(c, ip->seg, insn_ea(c, ip));                                                        \
		BODY;                                                                                                  \
		NEXT;                                                                                                  \
	}                                                                                                              \
	READER_FAST(name, bits, s, BODY)                                                                               \
	READER_FAST(name, bits, g, BODY)
#define READER_FAST(name, bits, shape, BODY)                                                                           \
	INSN(name##_##shape)                                                                                           \
	{                                                                                                              \
		const void *p = fast_read##bits(c, ip->seg, ea_##shape(c, ip));                                        \
		UINT(bits) v;                                                                                          \
		if (unlikely(!p))                                                                                      \
			return name##_slow(c, ip);                                                                     \
		v = ld##bits(p);                                                                                       \
		BODY;                                                                                                  \
		NEXT;                                                                                                  \
	}

/* Writes VALUE to memory. */
#define WRITER(name, bits, VALUE)                                                                                      \
	static __attribute__((noinline)) void name##_slow(struct vcpu *c, const struct insn *ip)                       \
	{                                                                                                              \
		BEGIN;                                                                                                 \
		mem_write##bits(c, ip->seg, insn_ea(c, ip), (UINT(bits))(VALUE));                                      \
		NEXT;                                                                                                  \
	}                                                                                                              \
	WRITER_FAST(name, bits, s, VALUE)                                                                              \
	WRITER_FAST(name, bits, g, VALUE)
#define WRITER_FAST(name, bits, shape, VALUE)                                                                          \
	INSN(name##_##shape)                                                                                           \
	{                                                                                                              \
		void *p = fast_write##bits(c, ip->seg, ea_##shape(c, ip));                                             \
		if (unlikely(!p))                                                                                      \
			return name##_slow(c, ip);                                                                     \
		st##bits(p, (UINT(bits))(VALUE));                                                                      \
		NEXT;                                                                                                  \
	}

/*
 * Memory v becomes VALUE, which may set flags. In the slow case the write may still jump out (MMIO, code pages),
 * so the flags are put in place only after it.
 */
#define MODIFIER(name, bits, VALUE)                                                                                    \
	static __attribute__((noinline)) void name##_slow(struct vcpu *c, const struct insn *ip)                       \
	{                                                                                                              \
		struct lazy_flags before = c->lf, after;                                                               \
		uint32_t ea = insn_ea(c, ip);                                                                          \
		UINT(bits) v, n;                                                                                       \
		BEGIN;                                                                                                 \
		mem_check_write(c, ip->seg, ea, bits / 8);                                                             \
		v = mem_read##bits(c, ip->seg, ea);                                                                    \
		n = (UINT(bits))(VALUE);                                                                               \
		after = c->lf;                                                                                         \
		c->lf = before;                                                                                        \
		mem_write##bits(c, ip->seg, ea, n);                                                                    \
		c->lf = after;                                                                                         \
		NEXT;                                                                                                  \
	}                                                                                                              \
	MODIFIER_FAST(name, bits, s, VALUE)                                                                            \
	MODIFIER_FAST(name, bits, g, VALUE)
#define MODIFIER_FAST(name, bits, shape, VALUE)                                                                        \
	INSN(name##_##shape)                                                                                           \
	{                                                                                                              \
		void *p = mem_rmw##bits(c, ip->seg, ea_##shape(c, ip));                                                \
		UINT(bits) v;                                                                                          \
		if (unlikely(!p))                                                                                      \
			return name##_slow(c, ip);                                                                     \
		v = ld##bits(p);                                                                                       \
		st##bits(p, (UINT(bits))(VALUE));                                                                      \
		NEXT;                                                                                                  \
	}

/*
 * Flags to and from the host's own instructions, as LAHF and SETO leave them in AX: AH = SF ZF 0 AF 0 PF 1 CF, AL = OF.
 * HOST_FLAGS_IN and _OUT are the assembler text around an instruction, with that word in EAX.
 */
#define HOST_FLAGS_IN "addb $0x7f, %%al\n\tsahf\n\t"
#define HOST_FLAGS_OUT "\n\tseto %%al\n\tlahf"
#define HOST_CF (1u << 8)
#define HOST_PF (1u << 10)
#define HOST_AF (1u << 12)
#define HOST_ZF (1u << 14)
#define HOST_SF (1u << 15)

static inline uint32_t host_flags(const struct vcpu *c)
{
	return (uint32_t)flag_of(c) | (uint32_t)flag_cf(c) << 8 | (uint32_t)flag_pf(c) << 10 |
	       (uint32_t)flag_af(c) << 12 | (uint32_t)flag_zf(c) << 14 | (uint32_t)flag_sf(c) << 15;
}

/* CF, OF, AF as lazy_flags.aux has them. */
static inline uint32_t aux_from_host(uint32_t ax)
{
	return (((ax << 23) & 0x80000000u) | ((ax >> 9) & 8)) ^ (((ax << 30) ^ (ax << 22)) & 0x40000000u);
}

static inline void set_flags_from_host(struct vcpu *c, uint32_t ax)
{
	uint32_t zf = (ax >> 14) & 1, pf = (ax >> 10) & 1, sf = (ax >> 15) & 1;

	c->lf.result = zf ^ 1; /* 0 has even parity, 1 odd */
	c->lf.aux = aux_from_host(ax) | sf << 16 | (pf ^ zf) << LF_PDB_SHIFT;
}

/* New CF, the other flags as they are. */
static inline void set_cf(struct vcpu *c, bool cf)
{
	uint32_t change = (c->lf.aux >> 31) ^ cf;

	c->lf.aux ^= change << 31 | change << 30; /* OF is 31 ^ 30 */
}

/* Conditions of Jcc, SETcc, CMOVcc in the order of their encoding; X(name, expression). */
/* clang-format off */
#define CONDITIONS(X)                                                  \
	X(o, flag_of(c))                                               \
	X(no, !flag_of(c))                                             \
	X(b, flag_cf(c))                                               \
	X(nb, !flag_cf(c))                                             \
	X(z, flag_zf(c))                                               \
	X(nz, !flag_zf(c))                                             \
	X(be, flag_cf(c) || flag_zf(c))                                \
	X(nbe, !(flag_cf(c) || flag_zf(c)))                            \
	X(s, flag_sf(c))                                               \
	X(ns, !flag_sf(c))                                             \
	X(p, flag_pf(c))                                               \
	X(np, !flag_pf(c))                                             \
	X(l, flag_sf(c) != flag_of(c))                                 \
	X(nl, flag_sf(c) == flag_of(c))                                \
	X(le, flag_zf(c) || flag_sf(c) != flag_of(c))                  \
	X(nle, !flag_zf(c) && flag_sf(c) == flag_of(c))
/* clang-format on */

/* Stack pointer, by the width of SS. */
static inline uint32_t stack_pointer(const struct vcpu *c)
{
	return GPR32(c, 8 * R_SP) & stack_mask(c);
}

static inline void set_stack_pointer(struct vcpu *c, uint32_t sp)
{
	uint32_t mask = stack_mask(c);

	GPR32(c, 8 * R_SP) = (GPR32(c, 8 * R_SP) & ~mask) | (sp & mask);
}

/* One value on or off the stack; size 2 or 4. The stack pointer moves last, so a fault leaves it. */
static inline void stack_write(struct vcpu *c, uint32_t sp, unsigned size, uint32_t value)
{
	if (size == 4)
		mem_write32(c, SEG_SS, sp & stack_mask(c), value);
	else
		mem_write16(c, SEG_SS, sp & stack_mask(c), (uint16_t)value);
}

static inline uint32_t stack_read(struct vcpu *c, uint32_t sp, unsigned size)
{
	return size == 4 ? mem_read32(c, SEG_SS, sp & stack_mask(c)) : mem_read16(c, SEG_SS, sp & stack_mask(c));
}

/* icount at the start of the present instruction. */
static inline uint64_t present_icount(const struct vcpu *c, const struct insn *ip)
{
	return c->icount + (uint64_t)(ip - c->trace->insns);
}

/* Leave the engine before this instruction, with a copy of it. */
_Noreturn void interp_exit(struct vcpu *c, const struct insn *ip, enum exit_reason reason);

/* Each family's handlers; NULL for what is not its own. */
insn_fn *bind_mov(const struct insn *in, unsigned mode);
insn_fn *bind_alu(const struct insn *in, unsigned mode);
insn_fn *bind_shift(const struct insn *in, unsigned mode);
insn_fn *bind_muldiv(const struct insn *in, unsigned mode);
insn_fn *bind_bit(const struct insn *in, unsigned mode);
insn_fn *bind_branch(const struct insn *in, unsigned mode);
insn_fn *bind_stack(const struct insn *in, unsigned mode);
insn_fn *bind_string(const struct insn *in, unsigned mode);
insn_fn *bind_misc(const struct insn *in, unsigned mode);
insn_fn *bind_system(const struct insn *in, unsigned mode);

#endif
