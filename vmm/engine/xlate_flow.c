/*
 * xlate_flow.c - how translated code goes from one block to another: jumps within a page and to others, calls and returns, and to the thunks.
 *
 * Called by xlate_block.c and xlate_insn.c, and xlate_thunk.c for lookups.
 */
#include <stddef.h>

#include "vmm/engine/xlate_state.h"

/* With the address of what comes behind it in rcx. No call: the processor would expect a return. */
void emit_to_thunk(struct emit *e, uint32_t thunk)
{
	emit_mov_imm(e, RCX, emit_here(e) + TO_THUNK);
	emit_jmp(e, thunk);
}

void emit_to_link(struct emit *e, uint32_t link, uint32_t target, uint32_t jump)
{
	emit_to_thunk(e, link);
	emit_u32(e, target);
	emit_u32(e, jump);
}

void gen_refund(struct gen *g, unsigned insns)
{
	if (insns)
		emit_rm(&g->e, 8, 0x8d, R11, at_base(R11, -(int32_t)insns));
}

struct lookup emit_lookup(struct emit *e, unsigned ctx)
{
	struct lookup l;

	emit_shrx(e, false, R9, R8, SHIFT_12);
	emit_rm(e, 8, 0x8b, RCX, at_index(R15, R9, 3, FLAT_AT(ctx, FLAT_JUMP(ctx))));
	l.no_page = emit_jrcxz(e);
	emit_rm(e, 4, 0x8b, RCX, at_index(RCX, R8, 2, 0));
	l.no_entry = emit_jrcxz(e);
	l.known = emit_here(e);
	return l;
}

/* When there is none: the code is `absent`, which calls for it. */
void emit_absent(struct emit *e, const struct lookup *l, uint32_t absent)
{
	emit_land8(e, l->no_page);
	emit_land8(e, l->no_entry);
	emit_mov_imm(e, RCX, absent);
	emit_jmp(e, l->known);
}

void gen_lookup(struct gen *g)
{
	struct lookup l = emit_lookup(&g->e, (unsigned)g->context);

	emit_jmp_reg(&g->e, RCX);
	emit_absent(&g->e, &l, g->thunk[THUNK_ABSENT]);
}

/* ---- other pages ---- */

/* The page that the address is on as far as anybody knows now: whether it is will be looked at each time. */
static struct page *page_expected(struct gen *g, uint32_t rip)
{
	struct xlate *x = g->x;
	struct page *p = page_present(x, rip);
	uint64_t gpa;

	if (p || mmu_peek(&x->c->mmu, rip, &gpa) || !ram_has(x->c->mmu.ram, gpa))
		return p;
	return page_get(x, gpa & PAGE_MASK, rip & (uint32_t)PAGE_MASK, x->c->mode);
}

struct foreign *foreign_add(struct gen *g, struct page *p)
{
	struct foreign *f = &g->foreign[g->foreigns];

	if (!p || p->losses >= LOSSES_MAX)
		return NULL;
	*f = (struct foreign){
		.page = p,
		.entries = p->entries,
		.lin = p->lin,
		.presence = (uint32_t)(uintptr_t)page_presence(g->x, p),
	};
	g->foreigns++;
	return f;
}

struct foreign *foreign_at(struct gen *g, uint32_t rip)
{
	if (g->careful || same_page(g, rip))
		return NULL;
	for (unsigned i = 0; i < g->foreigns; i++) {
		if (g->foreign[i].lin == (rip & (uint32_t)PAGE_MASK))
			return &g->foreign[i];
	}
	return g->foreigns < FOREIGN_MAX ? foreign_add(g, page_expected(g, rip)) : NULL;
}

/* Elsewhere, as the pending's kind says, when the page is another one or its translation was gone. */
static void gen_expect(struct gen *g, struct foreign *f, struct pending elsewhere)
{
	struct emit *e = &g->e;
	uint32_t gone, over;

	f->used = true;
	emit_rm(e, 4, 0x8b, RCX, presence(f));
	gone = emit_jrcxz(e);
	if (!g->ending) {
		elsewhere.jump = gone;
		gen_pend(g, elsewhere);
		return;
	}
	over = emit_jmp_short(e);
	emit_land8(e, gone);
	elsewhere.hop = emit_jmp_near(e);
	elsewhere.aside = g->aside;
	gen_pend_far(g, elsewhere);
	emit_land8(e, over);
}

static void gen_expect_goto(struct gen *g, struct foreign *f, uint32_t target)
{
	gen_expect(g, f, (struct pending){ .kind = PENDING_GOTO, .target = target });
}

void gen_enter_page(struct gen *g, uint32_t rip)
{
	struct foreign *f = foreign_at(g, rip);

	if (!f || f->present)
		return;
	gen_expect(g, f,
	           (struct pending){
	                   .kind = PENDING_GOTO, .target = rip, .left = (uint8_t)(g->n - g->k), .owed = g->owed });
	f->present = true;
}

/* The way to another page's code is looked up. */
static void gen_goto_far(struct gen *g, uint32_t target)
{
	struct emit *e = &g->e;
	uint32_t no_page, no_entry;

	emit_mov_imm(e, R8, target);
	emit_rm(e, 8, 0x8b, RCX,
	        at_base(R15, FLAT_AT(g->context, FLAT_JUMP((unsigned)g->context) + (target >> PAGE_SHIFT) * 8)));
	no_page = emit_jrcxz(e);
	emit_rm(e, 4, 0x8b, RCX, at_index(RCX, R8, 2, 0));
	no_entry = emit_jrcxz(e);
	emit_jmp_reg(e, RCX);
	emit_land8(e, no_page);
	emit_land8(e, no_entry);
	emit_to_thunk(e, g->thunk[THUNK_MISS]);
}

/* What there is, for a target on the own page or on one that is present. */
static uint32_t code_at(struct gen *g, uint32_t target)
{
	const struct foreign *f = foreign_at(g, target);

	if (target == g->rip && !g->careful)
		return g->code;
	return (f ? f->entries : g->entries)[target & (PAGE_SIZE - 1)];
}

static void aim(struct gen *g, uint32_t jump, uint32_t target, unsigned refund, bool near)
{
	bool rare = refund && g->step[g->k].rare;
	uint32_t code = near && !refund ? code_at(g, target) : 0;

	if (g->surveying)
		return;
	if (code)
		emit_aim32(&g->e, jump, code);
	else
		g->stub[g->stubs++] = (struct goto_stub){ jump, target, refund, near, rare };
}

void gen_goto(struct gen *g, uint32_t target)
{
	struct foreign *f = foreign_at(g, target);

	if (!f && !same_page(g, target)) {
		gen_goto_far(g, target);
		return;
	}
	if (f && !f->present)
		gen_expect_goto(g, f, target);
	aim(g, emit_jmp_near(&g->e), target, 0, true);
}

void gen_goto_if(struct gen *g, unsigned cc, uint32_t target)
{
	const struct foreign *f = foreign_at(g, target);

	aim(g, emit_jcc(&g->e, cc), target, g->n - g->k - 1, same_page(g, target) || (f && f->present));
}

/* Where the host's return leads, with the guest's address in r8d. */
static void gen_landing(struct gen *g, uint32_t next)
{
	struct emit *e = &g->e;
	uint32_t same;

	emit_rm(e, 4, 0x8d, RCX, at_base(R8, -(int32_t)next));
	same = emit_jrcxz(e);
	emit_jmp(e, g->thunk[THUNK_RETURN + g->context]);
	emit_land8(e, same);
	gen_keep_reach(g, GOTO_ROOM);
	gen_goto(g, next);
}

void gen_call_to(struct gen *g, uint32_t target, uint32_t next)
{
	struct foreign *f = foreign_at(g, target);
	struct pending *elsewhere = NULL;

	if (f && !f->present) {
		gen_expect(g, f, (struct pending){ .kind = PENDING_CALL, .target = target });
		elsewhere = g->surveying ? NULL : &g->pending[g->pendings - 1];
	}
	aim(g, emit_call_near(&g->e), target, 0, f || same_page(g, target));
	if (elsewhere)
		elsewhere->back = emit_here(&g->e);
	gen_landing(g, next);
}

void gen_call_lookup(struct gen *g, uint32_t next)
{
	struct lookup l;

	l = emit_lookup(&g->e, (unsigned)g->context);
	emit_call_reg(&g->e, RCX);
	gen_landing(g, next);
	emit_absent(&g->e, &l, g->thunk[THUNK_ABSENT]);
}

void gen_pending_goto(struct gen *g, const struct pending *p)
{
	struct emit *e = &g->e;
	struct lookup l;

	if (p->owed)
		emit_rm(e, 4, 0x8d, GUEST_SP, at_base(GUEST_SP, p->owed));
	gen_refund(g, p->left);
	if (p->kind == PENDING_GOTO) {
		gen_goto_far(g, p->target);
		return;
	}
	if (p->kind == PENDING_RETURN) {
		gen_lookup(g);
		return;
	}
	emit_mov_imm(e, R8, p->target);
	l = emit_lookup(e, (unsigned)g->context);
	emit_call_reg(e, RCX);
	emit_jmp(e, p->back);
	emit_absent(e, &l, g->thunk[THUNK_ABSENT]);
}

void gen_return(struct gen *g)
{
	emit_u8(&g->e, 0xc3); /* ret */
}

/* The way out of the block; the jump to code that is to be asked for, or 0. */
static uint32_t gen_way_out(struct gen *g, const struct goto_stub *s)
{
	struct foreign *f = foreign_at(g, s->target);
	uint32_t code;

	gen_refund(g, s->refund);
	if (!s->near && !f && !same_page(g, s->target)) {
		gen_goto_far(g, s->target);
		return 0;
	}
	if (!s->near)
		gen_expect_goto(g, f, s->target);
	code = code_at(g, s->target);
	if (!code)
		return emit_jmp_near(&g->e);
	emit_jmp(&g->e, code);
	return 0;
}

/* Where a jump out of the block leads, close to the block if it is taken often. What is left is a jump to code that is to be asked for, or none. */
void gen_exit(struct gen *g, struct goto_stub *s)
{
	if (!s->refund && s->near)
		return; /* the jump itself is aimed */
	emit_land32(&g->e, s->jump);
	s->jump = gen_way_out(g, s);
}

/* All of it, out of the way. */
void gen_rare_exit(struct gen *g, const struct goto_stub *s)
{
	uint32_t jump;

	emit_aim32(&g->hot, s->jump, emit_here(&g->e));
	jump = gen_way_out(g, s);
	if (jump)
		emit_to_link(&g->e, g->thunk[THUNK_LINK], s->target, g->e.code + jump);
}

void gen_link(struct gen *g, const struct goto_stub *s)
{
	if (!s->jump || s->rare)
		return;
	emit_aim32(&g->hot, s->jump, emit_here(&g->e));
	emit_to_link(&g->e, g->thunk[THUNK_LINK], s->target, g->hot.code + s->jump);
}
