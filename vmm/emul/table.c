/*
 * table.c - the registers of the descriptor tables and the task: LGDT, LIDT, LLDT, LTR, SGDT, SIDT, SLDT, STR (SDM vol. 2).
 *
 * They never reach the processor underneath: its tables are the VMM's.
 */
#include "vmm/emul/handlers.h"

#include <string.h>

#include "vmm/cpu/far_internal.h"

#define BASE_24_BITS 0x00ffffffu

/* A 16-bit LGDT or LIDT takes 24 bits of base. */
static void load_table(struct emul_ctx *x, struct table_reg *t)
{
	uint8_t bytes[6];
	uint16_t limit;
	uint32_t base;

	emul_require_cpl0(x->c);
	mem_read_bytes(x->c, x->in->seg, insn_ea(x->c, x->in), bytes, sizeof(bytes));
	memcpy(&limit, bytes, 2);
	memcpy(&base, bytes + 2, 4);
	if (x->in->opsize == 2)
		base &= BASE_24_BITS;
	*t = (struct table_reg){ .base = base, .limit = limit };
	x->ev->addr = base;
	x->ev->value = limit;
	emul_advance(x);
}

/* All 32 bits of base, whatever the operand size. */
static void store_table(struct emul_ctx *x, const struct table_reg *t)
{
	uint8_t bytes[6];

	memcpy(bytes, &t->limit, 2);
	memcpy(bytes + 2, &t->base, 4);
	mem_write_bytes(x->c, x->in->seg, insn_ea(x->c, x->in), bytes, sizeof(bytes));
	x->ev->addr = t->base;
	x->ev->value = t->limit;
	emul_advance(x);
}

void emul_lgdt(struct emul_ctx *x)
{
	load_table(x, &x->c->gdtr);
}

void emul_lidt(struct emul_ctx *x)
{
	load_table(x, &x->c->idtr);
}

void emul_sgdt(struct emul_ctx *x)
{
	store_table(x, &x->c->gdtr);
}

void emul_sidt(struct emul_ctx *x)
{
	store_table(x, &x->c->idtr);
}

/* The descriptor of an LDT or TSS: in the GDT, of one of the types in the set, present. */
static void read_system(struct vcpu *c, uint16_t sel, uint16_t types, struct descriptor *d)
{
	if ((sel & SEL_LDT) || !descriptor_read(c, sel, d) || (d->attr & SEG_S) || !(types >> (d->attr & SEG_TYPE) & 1))
		vcpu_raise_error(c, VEC_GP, sel_error(sel));
	if (!(d->attr & SEG_P))
		vcpu_raise_error(c, VEC_NP, sel_error(sel));
}

void emul_lldt(struct emul_ctx *x)
{
	struct vcpu *c = x->c;
	struct descriptor d = { 0 };
	uint16_t sel;

	emul_require_protected(c);
	emul_require_cpl0(c);
	sel = emul_read_rm16(x);
	if (sel & ~SEL_RPL)
		read_system(c, sel, 1u << SYS_LDT, &d);
	segment_set(&c->ldtr, sel, d.base, d.limit, d.attr, d.attr);
	x->ev->value = sel;
	emul_advance(x);
}

void emul_ltr(struct emul_ctx *x)
{
	struct vcpu *c = x->c;
	struct descriptor d = { 0 };
	uint16_t sel;

	emul_require_protected(c);
	emul_require_cpl0(c);
	sel = emul_read_rm16(x);
	if (!(sel & ~SEL_RPL))
		vcpu_raise_error(c, VEC_GP, 0);
	read_system(c, sel, 1u << SYS_TSS16 | 1u << SYS_TSS32, &d);
	d.attr |= SYS_BUSY;
	mem_sys_write(c, d.lin + 5, 1, (uint8_t)d.attr);
	segment_set(&c->tr, sel, d.base, d.limit, d.attr, d.attr);
	x->ev->value = sel;
	emul_advance(x);
}

static void store_selector(struct emul_ctx *x, const struct segment *s)
{
	emul_require_protected(x->c);
	emul_write_rm(x, s->sel);
	x->ev->value = s->sel;
	emul_advance(x);
}

void emul_sldt(struct emul_ctx *x)
{
	store_selector(x, &x->c->ldtr);
}

void emul_str(struct emul_ctx *x)
{
	store_selector(x, &x->c->tr);
}
