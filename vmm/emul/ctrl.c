/*
 * ctrl.c - control and debug registers: MOV CR, MOV DR, CLTS, LMSW, SMSW (SDM vol. 2; vol. 3A 2.5; vol. 3B 17.2).
 *
 * The registers hold the guest's own values always. What the machine underneath must learn of them, it learns here: paging, alignment checking,
 * watchpoints. Segment registers are left alone when PE changes: that is how "unreal" mode comes about.
 */
#include "vmm/emul/handlers.h"

#define DR6_FIXED 0xffff0ff0u
#define DR6_WRITABLE 0x0000e00fu
#define DR6_BD (1u << 13)
#define DR7_FIXED 0x00000400u
#define DR7_WRITABLE 0xffff23ffu
#define DR7_GD (1u << 13)
#define MSW_WRITABLE (CR0_PE | CR0_MP | CR0_EM | CR0_TS)

static void paging_changed(struct vcpu *c, bool cr3_loaded)
{
	mmu_set_paging(&c->mmu, c->cr0, c->cr3, c->cr4, cr3_loaded);
}

/* Reserved bits are ignored, ET reads as 1 (SDM vol. 3A 2.5). */
static void write_cr0(struct vcpu *c, uint32_t value)
{
	if ((value & CR0_PG) && !(value & CR0_PE))
		vcpu_raise_error(c, VEC_GP, 0);
	if ((value & CR0_NW) && !(value & CR0_CD))
		vcpu_raise_error(c, VEC_GP, 0);
	c->cr0 = (value & CR0_VALID) | CR0_ET;
	paging_changed(c, false);
	vcpu_update_align(c);
}

static void write_cr2(struct vcpu *c, uint32_t value)
{
	c->cr2 = value;
}

static void write_cr3(struct vcpu *c, uint32_t value)
{
	c->cr3 = value;
	paging_changed(c, true);
}

static void write_cr4(struct vcpu *c, uint32_t value)
{
	if (value & ~CR4_VALID)
		vcpu_raise_error(c, VEC_GP, 0);
	c->cr4 = value;
	paging_changed(c, false);
}

typedef void write_cr_fn(struct vcpu *c, uint32_t value);
static write_cr_fn *const cr_writers[8] = { [0] = write_cr0, [2] = write_cr2, [3] = write_cr3, [4] = write_cr4 };

static void require_cr(struct vcpu *c, unsigned number)
{
	if (number > 7 || !cr_writers[number])
		vcpu_raise(c, VEC_UD);
	emul_require_cpl0(c);
}

void emul_mov_cr(struct emul_ctx *x)
{
	uint32_t value = GPR32(x->c, x->in->rm);

	require_cr(x->c, x->in->reg);
	cr_writers[x->in->reg](x->c, value);
	x->ev->addr = x->in->reg;
	x->ev->value = value;
	emul_advance(x);
}

void emul_mov_r_cr(struct emul_ctx *x)
{
	struct vcpu *c = x->c;
	const uint32_t values[8] = { [0] = c->cr0, [2] = c->cr2, [3] = c->cr3, [4] = c->cr4 };

	require_cr(c, x->in->reg);
	GPR32(c, x->in->rm) = values[x->in->reg];
	x->ev->addr = x->in->reg;
	x->ev->value = values[x->in->reg];
	emul_advance(x);
}

/* DR4 and DR5 are other names of DR6 and DR7, unless CR4.DE. DR7.GD guards them all. Returns the register's own number. */
static unsigned require_dr(struct vcpu *c, unsigned number)
{
	bool alias = number == 4 || number == 5;

	if (number > 7 || (alias && (c->cr4 & CR4_DE)))
		vcpu_raise(c, VEC_UD);
	emul_require_cpl0(c);
	if (c->dr[7] & DR7_GD) {
		c->dr[6] |= DR6_BD;
		vcpu_raise(c, VEC_DB);
	}
	return alias ? number + 2 : number;
}

void emul_mov_dr(struct emul_ctx *x)
{
	struct vcpu *c = x->c;
	uint32_t value = GPR32(c, x->in->rm);
	unsigned n = require_dr(c, x->in->reg);

	x->ev->addr = n;
	x->ev->value = value;
	if (n == 6)
		value = (value & DR6_WRITABLE) | DR6_FIXED;
	if (n == 7)
		value = (value & DR7_WRITABLE) | DR7_FIXED;
	c->dr[n] = value;
	vcpu_update_watch(c);
	emul_advance(x);
}

void emul_mov_r_dr(struct emul_ctx *x)
{
	unsigned n = require_dr(x->c, x->in->reg);

	GPR32(x->c, x->in->rm) = x->c->dr[n];
	x->ev->addr = n;
	x->ev->value = x->c->dr[n];
	emul_advance(x);
}

void emul_clts(struct emul_ctx *x)
{
	emul_require_cpl0(x->c);
	x->c->cr0 &= ~CR0_TS;
	paging_changed(x->c, false);
	x->ev->value = x->c->cr0;
	emul_advance(x);
}

/* LMSW sets PE but never clears it. */
void emul_lmsw(struct emul_ctx *x)
{
	struct vcpu *c = x->c;
	uint16_t value;

	emul_require_cpl0(c);
	value = emul_read_rm16(x);
	write_cr0(c, (c->cr0 & (~MSW_WRITABLE | CR0_PE)) | (value & MSW_WRITABLE));
	x->ev->value = value;
	emul_advance(x);
}

void emul_smsw(struct emul_ctx *x)
{
	emul_write_rm(x, x->c->cr0);
	x->ev->value = x->in->opsize == 4 ? x->c->cr0 : x->c->cr0 & 0xffff;
	emul_advance(x);
}
