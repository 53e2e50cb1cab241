/*
 * seg.c - segment registers and far transfers in the guest's terms: MOV, PUSH, POP of segment registers, LES and kin, far CALL, JMP, RET.
 *
 * The checks are in cpu/segment.c and cpu/far.c; here are operands and the event.
 */
#include "vmm/emul/handlers.h"

#include <string.h>

#include "vmm/cpu/far.h"

/* No interrupt between MOV or POP to SS and the instruction after it (SDM vol. 3A 6.8.3). LSS, which loads ESP too, needs no shadow. */
static void load(struct emul_ctx *x, unsigned seg, uint16_t sel)
{
	x->ev->value = sel;
	segment_load(x->c, seg, sel);
	if (seg == SEG_SS && x->in->op != OP_LSS)
		emul_shadow(x);
}

void emul_mov_sreg(struct emul_ctx *x)
{
	load(x, x->in->reg, emul_read_rm16(x));
	emul_advance(x);
}

void emul_mov_r_sreg(struct emul_ctx *x)
{
	uint16_t sel = x->c->seg[x->in->reg].sel;

	emul_write_rm(x, sel);
	x->ev->value = sel;
	emul_advance(x);
}

void emul_push_sreg(struct emul_ctx *x)
{
	uint16_t sel = x->c->seg[x->in->reg].sel;

	emul_push(x->c, sel, x->in->opsize);
	x->ev->value = sel;
	emul_advance(x);
}

void emul_pop_sreg(struct emul_ctx *x)
{
	uint32_t mask = stack_mask(x->c);

	load(x, x->in->reg, (uint16_t)emul_pop_peek(x->c, x->in->opsize));
	emul_pop_done(x->c, x->in->opsize, mask);
	emul_advance(x);
}

static unsigned pointer_segment(enum op op)
{
	switch (op) {
	case OP_LES: return SEG_ES;
	case OP_LDS: return SEG_DS;
	case OP_LSS: return SEG_SS;
	case OP_LFS: return SEG_FS;
	default: return SEG_GS;
	}
}

struct far_pointer {
	uint16_t sel;
	uint32_t off;
};

static struct far_pointer read_pointer(struct emul_ctx *x)
{
	struct far_pointer p = { .off = 0 };
	uint8_t bytes[6];

	mem_read_bytes(x->c, x->in->seg, insn_ea(x->c, x->in), bytes, x->in->opsize + 2u);
	memcpy(&p.off, bytes, x->in->opsize); /* little-endian host */
	memcpy(&p.sel, bytes + x->in->opsize, sizeof(p.sel));
	return p;
}

/* LES, LDS, LSS, LFS, LGS. */
void emul_load_pointer(struct emul_ctx *x)
{
	struct far_pointer p = read_pointer(x);

	load(x, pointer_segment(x->in->op), p.sel);
	if (x->in->opsize == 2)
		GPR16(x->c, x->in->reg) = (uint16_t)p.off;
	else
		GPR32(x->c, x->in->reg) = p.off;
	x->ev->addr = p.off;
	emul_advance(x);
}

static struct far_pointer target(struct emul_ctx *x)
{
	if (x->in->flags & IF_MEM)
		return read_pointer(x);
	return (struct far_pointer){ .sel = x->in->imm2, .off = x->in->imm };
}

static void set_target(struct emul_ctx *x, uint16_t sel, uint32_t off)
{
	x->ev->addr = sel;
	x->ev->value = off;
}

void emul_call_far(struct emul_ctx *x)
{
	struct far_pointer p = target(x);

	set_target(x, p.sel, p.off);
	far_call(x->c, p.sel, p.off, x->in->opsize, emul_next_eip(x));
}

void emul_jmp_far(struct emul_ctx *x)
{
	struct far_pointer p = target(x);

	set_target(x, p.sel, p.off);
	far_jmp(x->c, p.sel, p.off, x->in->opsize, emul_next_eip(x));
}

void emul_ret_far(struct emul_ctx *x)
{
	far_ret(x->c, x->in->opsize, x->in->imm & 0xffff);
	set_target(x, x->c->seg[SEG_CS].sel, (uint32_t)x->c->rip);
}
