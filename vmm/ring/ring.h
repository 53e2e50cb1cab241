/*
 * ring.h - virtual state <-> real state.
 *
 * ring_enter() and ring_leave(), and their light forms, are the only functions that convert. In the real view CPL 0 is c->ring0_becomes, CS and SS carry that
 * RPL, descriptors' DPL 0 is that DPL, system descriptors are not present, EFLAGS has IF = 1, IOPL = 0, and VM = 1 for real mode. CPL 1, 2, 3 are unchanged.
 */
#ifndef RINGSIDE_VMM_RING_RING_H
#define RINGSIDE_VMM_RING_RING_H

#include "vmm/cpu/vcpu.h"

#define FL_HIDDEN (FL_IF | FL_IOPL | FL_VM) /* the guest's own are in virt.eflags, in the real view */

void ring_enter(struct vcpu *c);
void ring_leave(struct vcpu *c);

/* The same two for an instruction that neither looks at selectors, attributes or the present bits of segment registers, nor changes one, the CPL or the mode
 * (emul_is_light()): segment registers stay as the real view has them. */
static inline void ring_leave_lightly(struct vcpu *c)
{
	c->eflags = (c->eflags & ~FL_HIDDEN) | c->virt.eflags;
	c->cpl = c->virt.cpl;
	c->real_view = false;
}

static inline void ring_enter_lightly(struct vcpu *c, uint8_t real_cpl)
{
	c->virt.eflags = c->eflags & FL_HIDDEN;
	c->eflags = (c->eflags & ~FL_HIDDEN) | FL_IF;
	c->cpl = real_cpl;
	c->real_view = true;
}

/* What the real descriptor table shows in place of the guest's descriptor, to code at virtual CPL `vcpl`. attr as in struct segment.
 * System descriptors lose their present bit. */
uint16_t ring_filter_attr(const struct vcpu *c, uint16_t guest_attr);

/* The audit table: why each instruction is in its class. */
struct ring_rule {
	enum op op;
	const char *why;
};
extern const struct ring_rule ring_rules[];
extern const unsigned ring_rule_count;

#endif
