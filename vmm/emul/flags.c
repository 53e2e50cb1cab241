/*
 * flags.c - PUSHF, POPF, CLI, STI, IRET: the instructions that show or change IF and IOPL (SDM vol. 2, each one's Operation).
 *
 *                 real mode     protected                          V86
 *   PUSHF, POPF   free          free; POPF silently limited        IOPL 3, else #GP(0)
 *   CLI, STI      free          CPL <= IOPL, else #GP(0)           IOPL 3, else #GP(0)
 *   POPF may set  all           IF: CPL <= IOPL; IOPL: CPL 0       all but IOPL
 */
#include "vmm/emul/handlers.h"

#include "vmm/cpu/far.h"

static unsigned iopl(const struct vcpu *c)
{
	return (c->eflags & FL_IOPL) >> FL_IOPL_SHIFT;
}

/* Has the guest I/O privilege? cpl is 0 in real mode and 3 in V86, so one comparison serves all modes. */
static bool has_iopl(const struct vcpu *c)
{
	return vcpu_real_mode(c) || c->cpl <= iopl(c);
}

static void require_iopl_vm86(struct vcpu *c)
{
	if (vcpu_vm86(c) && iopl(c) != 3)
		vcpu_raise_error(c, VEC_GP, 0);
}

void emul_pushf(struct emul_ctx *x)
{
	uint32_t image = vcpu_get_eflags(x->c) & ~(FL_VM | FL_RF);

	require_iopl_vm86(x->c);
	emul_push(x->c, image, x->in->opsize);
	x->ev->value = x->in->opsize == 2 ? image & 0xffff : image;
	emul_advance(x);
}

static uint32_t popf_mask(const struct vcpu *c, unsigned opsize)
{
	uint32_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT | (opsize == 4 ? FL_AC | FL_ID : 0);

	if (has_iopl(c))
		mask |= FL_IF;
	if (c->cpl == 0)
		mask |= FL_IOPL;
	return mask;
}

void emul_popf(struct emul_ctx *x)
{
	struct vcpu *c = x->c;
	uint32_t image, mask;

	require_iopl_vm86(c);
	image = emul_pop_peek(c, x->in->opsize);
	mask = popf_mask(c, x->in->opsize);
	emul_pop_done(c, x->in->opsize, stack_mask(c));
	vcpu_set_eflags(c, (vcpu_get_eflags(c) & ~(mask | FL_RF)) | (image & mask));
	x->ev->value = image;
	emul_advance(x);
}

static void require_iopl(struct vcpu *c)
{
	if (!has_iopl(c))
		vcpu_raise_error(c, VEC_GP, 0);
}

void emul_cli(struct emul_ctx *x)
{
	require_iopl(x->c);
	x->c->eflags &= ~FL_IF;
	x->ev->value = 0;
	emul_advance(x);
}

/* Only a change of IF opens the shadow: STI with IF set does not hold interrupts back. */
void emul_sti(struct emul_ctx *x)
{
	require_iopl(x->c);
	if (!(x->c->eflags & FL_IF))
		emul_shadow(x);
	x->c->eflags |= FL_IF;
	x->ev->value = 1;
	emul_advance(x);
}

void emul_iret(struct emul_ctx *x)
{
	far_iret(x->c, x->in->opsize, emul_next_eip(x));
	x->ev->addr = x->c->seg[SEG_CS].sel;
	x->ev->value = (uint32_t)x->c->rip;
}
