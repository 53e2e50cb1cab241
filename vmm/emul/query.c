/*
 * query.c - what the guest may ask about its own tables and processor: LAR, LSL, VERR, VERW, CPUID.
 *
 * They never fault for what they find, only say so in ZF. The descriptors are the guest's own, unfiltered, judged by its own CPL.
 */
#include "vmm/emul/handlers.h"

#include "vmm/cpu/far_internal.h"

#define LAR_BITS 0x00ffff00u /* SDM vol. 2, LAR; bits 16..19, undefined there, are the limit's on processors */

/* Set of system descriptor types (SDM vol. 2, tables 3-53 and 3-59). */
#define LSL_TYPES (1u << SYS_TSS16 | 1u << SYS_LDT | 1u << SYS_TSS16_BUSY | 1u << SYS_TSS32 | 1u << SYS_TSS32_BUSY)
#define LAR_TYPES (LSL_TYPES | 1u << SYS_CALL16 | 1u << SYS_TASK_GATE | 1u << SYS_CALL32)

static void set_zf(struct vcpu *c, bool on)
{
	flags_set_arith(c, (flags_arith(c) & ~FL_ZF) | (on ? FL_ZF : 0));
}

/* Could the guest load or call this descriptor as far as privilege goes? */
static bool visible(const struct vcpu *c, uint16_t sel, uint16_t attr)
{
	return attr_conforming(attr) || (attr_dpl(attr) >= c->cpl && attr_dpl(attr) >= (sel & SEL_RPL));
}

static bool look(struct vcpu *c, uint16_t sel, uint32_t system_types, struct descriptor *d)
{
	if (!(sel & ~SEL_RPL) || !descriptor_read(c, sel, d) || !visible(c, sel, d->attr))
		return false;
	return (d->attr & SEG_S) || (system_types >> (d->attr & SEG_TYPE) & 1);
}

/* LAR and LSL have a destination: between registers it is rm, from memory it is reg (decode/insn.h). */
static uint16_t source_selector(struct emul_ctx *x)
{
	return x->in->form == FORM_RR ? GPR16(x->c, x->in->reg) : emul_read_rm16(x);
}

static void finish(struct emul_ctx *x, uint16_t sel, bool ok, uint32_t result)
{
	uint8_t dst = x->in->form == FORM_RR ? x->in->rm : x->in->reg;

	set_zf(x->c, ok);
	if (ok && x->in->opsize == 4)
		GPR32(x->c, dst) = result;
	else if (ok)
		GPR16(x->c, dst) = (uint16_t)result;
	x->ev->addr = sel;
	x->ev->value = ok ? result : 0;
	emul_advance(x);
}

void emul_lar(struct emul_ctx *x)
{
	struct descriptor d;
	uint16_t sel;
	bool ok;

	emul_require_protected(x->c);
	sel = source_selector(x);
	ok = look(x->c, sel, LAR_TYPES, &d);
	finish(x, sel, ok, ok ? d.hi & LAR_BITS : 0);
}

void emul_lsl(struct emul_ctx *x)
{
	struct descriptor d;
	uint16_t sel;
	bool ok;

	emul_require_protected(x->c);
	sel = source_selector(x);
	ok = look(x->c, sel, LSL_TYPES, &d);
	finish(x, sel, ok, ok ? d.limit : 0);
}

static void verify(struct emul_ctx *x, bool write)
{
	struct descriptor d;
	uint16_t sel;
	bool ok;

	emul_require_protected(x->c);
	sel = emul_read_rm16(x);
	ok = look(x->c, sel, 0, &d);
	if (ok && attr_is_code(d.attr))
		ok = !write && (d.attr & SEG_WRITABLE);
	else if (ok && write)
		ok = d.attr & SEG_WRITABLE;
	set_zf(x->c, ok);
	x->ev->addr = sel;
	x->ev->value = ok;
	emul_advance(x);
}

void emul_verr(struct emul_ctx *x)
{
	verify(x, false);
}

void emul_verw(struct emul_ctx *x)
{
	verify(x, true);
}

void emul_cpuid(struct emul_ctx *x)
{
	struct vcpu *c = x->c;
	uint32_t leaf = (uint32_t)c->gpr[R_AX], out[4];

	cpuid_model(leaf, out);
	c->gpr[R_AX] = out[0];
	c->gpr[R_BX] = out[1];
	c->gpr[R_CX] = out[2];
	c->gpr[R_DX] = out[3];
	x->ev->addr = leaf;
	x->ev->value = out[0];
	emul_advance(x);
}
