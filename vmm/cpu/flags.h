/*
 * flags.h - readers and writers of the lazy arithmetic flags (struct lazy_flags in vcpu.h), once for all engines and emulators.
 */
#ifndef RINGSIDE_VMM_CPU_FLAGS_H
#define RINGSIDE_VMM_CPU_FLAGS_H

#include "vmm/cpu/vcpu.h"

static inline bool flag_cf(const struct vcpu *c)
{
	return c->lf.aux >> 31;
}

static inline bool flag_zf(const struct vcpu *c)
{
	return c->lf.result == 0;
}

static inline bool flag_sf(const struct vcpu *c)
{
	return (c->lf.result >> 31) ^ ((c->lf.aux >> 16) & 1);
}

static inline bool flag_of(const struct vcpu *c)
{
	return ((c->lf.aux + (1u << 30)) >> 31) & 1; /* bit 31 ^ bit 30 */
}

static inline bool flag_af(const struct vcpu *c)
{
	return (c->lf.aux >> 3) & 1;
}

static inline bool flag_pf(const struct vcpu *c)
{
	return !__builtin_parity((c->lf.result ^ (c->lf.aux >> LF_PDB_SHIFT)) & 0xff);
}

static inline uint32_t flags_arith(const struct vcpu *c)
{
	return (flag_cf(c) ? FL_CF : 0) | (flag_pf(c) ? FL_PF : 0) | (flag_af(c) ? FL_AF : 0) |
	       (flag_zf(c) ? FL_ZF : 0) | (flag_sf(c) ? FL_SF : 0) | (flag_of(c) ? FL_OF : 0);
}

/* Any combination, also those no operation gives (ZF with SF, odd parity of zero). */
static inline void flags_set_arith(struct vcpu *c, uint32_t fl)
{
	uint32_t result = fl & FL_ZF ? 0 : 1; /* SF of result = 0, parity even for 0, odd for 1 */
	bool pf_of_result = result == 0;
	uint32_t aux = 0;

	if (fl & FL_CF)
		aux |= 1u << 31;
	if (((fl & FL_OF) != 0) != ((fl & FL_CF) != 0))
		aux |= 1u << 30;
	if (fl & FL_AF)
		aux |= 1u << 3;
	if (fl & FL_SF)
		aux |= LF_SFD;
	if (((fl & FL_PF) != 0) != pf_of_result)
		aux |= 1u << LF_PDB_SHIFT;
	c->lf.result = result;
	c->lf.aux = aux;
}

/* After an operation of `bits` (8, 16, 32): result r (any upper bits), carries out of each bit in `carries`. */
static inline void flags_set_lazy(struct vcpu *c, unsigned bits, uint32_t r, uint32_t carries)
{
	c->lf.result = bits == 32 ? r : bits == 16 ? (uint32_t)(int16_t)r : (uint32_t)(int8_t)r;
	c->lf.aux = ((carries << (32 - bits)) & 0xc0000000u) | (carries & 8);
}

static inline uint32_t carries_add(uint32_t a, uint32_t b, uint32_t r)
{
	return (a & b) | ((a | b) & ~r);
}

static inline uint32_t carries_sub(uint32_t a, uint32_t b, uint32_t r)
{
	return (~a & b) | ((~a ^ b) & r);
}

#endif
