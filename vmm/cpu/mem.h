/*
 * mem.h - guest memory as instructions see it: segment, then page, then RAM or MMIO. Used by engines and emulators alike.
 *
 * The inline part is the fast case: segment limit by one compare, TLB by one compare. Everything else is in mem.c:
 * limits of odd segments, page walks, page crossers, MMIO, code pages, watchpoints. Faults do not return (vcpu_raise*).
 * Offsets are 32 bits; callers mask 16-bit addresses before. Linear addresses wrap at 4 GiB.
 */
#ifndef RINGSIDE_VMM_CPU_MEM_H
#define RINGSIDE_VMM_CPU_MEM_H

#include <string.h>

#include "vmm/cpu/vcpu.h"

/* Slow paths; `seg` decides #SS or #GP. size 1, 2, 4, 8, 16. Little-endian values up to 8 bytes. */
uint64_t mem_read_slow(struct vcpu *c, unsigned seg, uint32_t off, unsigned size);
void mem_write_slow(struct vcpu *c, unsigned seg, uint32_t off, unsigned size, uint64_t value);
/* Faults as a write of `size` at seg:off would, and does nothing else (sets accessed and dirty bits). */
void mem_check_write(struct vcpu *c, unsigned seg, uint32_t off, unsigned size);
void mem_check_read(struct vcpu *c, unsigned seg, uint32_t off, unsigned size);
/* Any length up to 512; faults before anything is transferred (both pages are checked first). */
void mem_read_bytes(struct vcpu *c, unsigned seg, uint32_t off, void *buf, unsigned len);
void mem_write_bytes(struct vcpu *c, unsigned seg, uint32_t off, const void *buf, unsigned len);

/* Implicit supervisor accesses by linear address (descriptor tables, TSS), whatever the CPL: SDM vol. 3A 4.6. May raise #PF. */
uint64_t mem_sys_read(struct vcpu *c, uint32_t lin, unsigned size);
void mem_sys_write(struct vcpu *c, uint32_t lin, unsigned size, uint64_t value);
/* #PF now if any byte of [lin, lin+len) cannot be accessed by the system; len <= 8192. */
void mem_sys_check(struct vcpu *c, uint32_t lin, unsigned len, bool write);

/* After DR0..DR3, DR7 or all state changed: tell the MMU which pages data breakpoints watch. */
void vcpu_update_watch(struct vcpu *c);

/* After CPL, EFLAGS.AC or CR0.AM changed: with alignment checking on, the fast table is hidden and the slow path checks. Called by
 * vcpu_set_eflags(), and by whoever changes one of the three in another way. It is the guest's CPL that counts, in both views. */
static inline void vcpu_update_align(struct vcpu *c)
{
	bool on = (c->eflags & FL_AC) && (c->cr0 & CR0_AM) && (c->real_view ? c->virt.cpl : c->cpl) == 3;

	if (unlikely(on != c->mmu.all_slow))
		mmu_set_all_slow(&c->mmu, on);
}

static inline uint32_t mem_linear(const struct vcpu *c, unsigned seg, uint32_t off)
{
	return (uint32_t)(c->seg[seg].base + off);
}

#define MEM_ACCESSORS(bits, type)                                                                                      \
	static inline type mem_read##bits(struct vcpu *c, unsigned seg, uint32_t off)                                  \
	{                                                                                                              \
		if (likely((uint64_t)off + sizeof(type) <= c->seg[seg].rlimit)) {                                      \
			const type *p = mmu_fast_read(&c->mmu, mem_linear(c, seg, off), sizeof(type));                 \
			type v;                                                                                        \
			if (likely(p != NULL)) {                                                                       \
				memcpy(&v, p, sizeof(v));                                                              \
				return v;                                                                              \
			}                                                                                              \
		}                                                                                                      \
		return (type)mem_read_slow(c, seg, off, sizeof(type));                                                 \
	}                                                                                                              \
	static inline void mem_write##bits(struct vcpu *c, unsigned seg, uint32_t off, type v)                         \
	{                                                                                                              \
		if (likely((uint64_t)off + sizeof(type) <= c->seg[seg].wlimit)) {                                      \
			type *p = mmu_fast_write(&c->mmu, mem_linear(c, seg, off), sizeof(type));                      \
			if (likely(p != NULL)) {                                                                       \
				memcpy(p, &v, sizeof(v));                                                              \
				return;                                                                                \
			}                                                                                              \
		}                                                                                                      \
		mem_write_slow(c, seg, off, sizeof(type), v);                                                          \
	}                                                                                                              \
	/* Host pointer for a read-modify-write, or NULL: then mem_check_write, mem_read, mem_write. */                \
	static inline void *mem_rmw##bits(struct vcpu *c, unsigned seg, uint32_t off)                                  \
	{                                                                                                              \
		const struct segment *s = &c->seg[seg];                                                                \
		if (unlikely((uint64_t)off + sizeof(type) > (s->rlimit < s->wlimit ? s->rlimit : s->wlimit)))          \
			return NULL;                                                                                   \
		return mmu_fast_write(&c->mmu, mem_linear(c, seg, off), sizeof(type));                                 \
	}
MEM_ACCESSORS(8, uint8_t)
MEM_ACCESSORS(16, uint16_t)
MEM_ACCESSORS(32, uint32_t)
MEM_ACCESSORS(64, uint64_t)
#undef MEM_ACCESSORS

/* Effective address of an instruction's memory operand: the offset in insn->seg. */
static inline uint32_t insn_ea(const struct vcpu *c, const struct insn *ip)
{
	uint32_t ea = ip->disp + GPR32(c, ip->base) + (GPR32(c, ip->index) << ip->scale);

	return likely(ip->asize == 4) ? ea : ea & 0xffff;
}

/* Stack, by the width of SS (present view). */
static inline uint32_t stack_mask(const struct vcpu *c)
{
	return c->seg[SEG_SS].attr & SEG_DB ? 0xffffffffu : 0xffffu;
}

#endif
