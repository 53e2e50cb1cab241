/*
 * segment.h - descriptors and segment registers.
 *
 * segment_set() is the one place that derives rlimit and wlimit. In the virtual view loads see the guest's own descriptors; in the
 * real view they see them through ring_filter_attr(), as a real processor would through the VMM's tables.
 */
#ifndef RINGSIDE_VMM_CPU_SEGMENT_H
#define RINGSIDE_VMM_CPU_SEGMENT_H

#include "vmm/cpu/vcpu.h"

struct descriptor {
	uint32_t lo, hi; /* raw */
	uint32_t lin;    /* where it was read from, for setting accessed and busy bits */
	uint32_t base, limit;
	uint16_t attr; /* guest's own */
};

/* Fill a segment register: attr and guest_attr given separately; derives rlimit, wlimit. attr 0 = null segment. */
void segment_set(struct segment *s, uint16_t sel, uint32_t base, uint32_t limit, uint16_t attr, uint16_t guest_attr);
/* Recompute rlimit, wlimit after base, limit or attr changed. */
void segment_derive(struct segment *s);

/* Read the descriptor that `sel` names from the guest's GDT or LDT. False when it lies outside the table's limit (or null LDT). May raise #PF. */
bool descriptor_read(struct vcpu *c, uint16_t sel, struct descriptor *d);
void descriptor_set_accessed(struct vcpu *c, struct descriptor *d);

/* The exception that loading `seg` (not CS) with a descriptor of this attr raises at `cpl`: VEC_GP, VEC_SS, VEC_NP; 0 for none. */
unsigned segment_judge(unsigned seg, uint16_t attr, uint16_t sel, unsigned cpl);

/* MOV/POP/Lxx to ES, SS, DS, FS, GS in the present view: protected mode with all checks of SDM vol. 2 (MOV), raises #GP, #SS, #NP; or VM86/real mode. Not CS. */
void segment_load(struct vcpu *c, unsigned seg, uint16_t sel);
/* The same for virtual-8086 and real mode only: base = sel << 4; V86 also resets limit and attributes. */
void segment_load_vm86(struct vcpu *c, unsigned seg, uint16_t sel);

#endif
