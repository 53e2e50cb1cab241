/*
 * misc.c - HLT, INVD, WBINVD, INVLPG. CPL 0 only. There are no caches to write back: memory is always coherent.
 */
#include "vmm/emul/handlers.h"

void emul_hlt(struct emul_ctx *x)
{
	emul_require_cpl0(x->c);
	x->halt = true;
	emul_advance(x);
}

void emul_cache(struct emul_ctx *x)
{
	emul_require_cpl0(x->c);
	emul_advance(x);
}

/* The address is translated by the segment base only: no limit, no type (SDM vol. 2, INVLPG). */
void emul_invlpg(struct emul_ctx *x)
{
	uint32_t lin = mem_linear(x->c, x->in->seg, insn_ea(x->c, x->in));

	emul_require_cpl0(x->c);
	mmu_invlpg(&x->c->mmu, lin);
	x->ev->addr = lin;
	emul_advance(x);
}
