/*
 * sysenter.c - SYSENTER and SYSEXIT (SDM vol. 2). No descriptor is read: CS and SS become flat segments by definition, their selectors
 * follow from IA32_SYSENTER_CS.
 */
#include "vmm/emul/handlers.h"

#define FLAT_CODE (SEG_P | SEG_S | SEG_CODE | SEG_WRITABLE | SEG_ACCESSED | SEG_DB | SEG_G)
#define FLAT_DATA (SEG_P | SEG_S | SEG_WRITABLE | SEG_ACCESSED | SEG_DB | SEG_G)
#define SEL_NULL_MASK 0xfffcu

static void set_flat(struct vcpu *c, uint16_t cs, uint16_t ss, unsigned cpl)
{
	uint16_t dpl = (uint16_t)(cpl << SEG_DPL_SHIFT);

	segment_set(&c->seg[SEG_CS], cs, 0, 0xffffffffu, FLAT_CODE | dpl, FLAT_CODE | dpl);
	segment_set(&c->seg[SEG_SS], ss, 0, 0xffffffffu, FLAT_DATA | dpl, FLAT_DATA | dpl);
	c->cpl = (uint8_t)cpl;
	vcpu_update_align(c);
}

static void require_enabled(struct vcpu *c)
{
	if (vcpu_real_mode(c) || !(c->msr_sysenter_cs & SEL_NULL_MASK))
		vcpu_raise_error(c, VEC_GP, 0);
}

static void set_event(struct emul_ctx *x)
{
	x->ev->addr = x->c->seg[SEG_CS].sel;
	x->ev->value = (uint32_t)x->c->rip;
}

void emul_sysenter(struct emul_ctx *x)
{
	struct vcpu *c = x->c;
	uint16_t cs = (uint16_t)c->msr_sysenter_cs & SEL_NULL_MASK;

	require_enabled(c);
	c->eflags &= ~(FL_VM | FL_IF | FL_RF);
	set_flat(c, cs, (uint16_t)(cs + 8), 0);
	c->gpr[R_SP] = (uint32_t)c->msr_sysenter_esp;
	c->rip = (uint32_t)c->msr_sysenter_eip;
	set_event(x);
}

void emul_sysexit(struct emul_ctx *x)
{
	struct vcpu *c = x->c;
	uint16_t cs = (uint16_t)c->msr_sysenter_cs & SEL_NULL_MASK;

	require_enabled(c);
	emul_require_cpl0(c);
	set_flat(c, (uint16_t)(cs + 16) | 3, (uint16_t)(cs + 24) | 3, 3);
	c->gpr[R_SP] = (uint32_t)c->gpr[R_CX];
	c->rip = (uint32_t)c->gpr[R_DX];
	set_event(x);
}
