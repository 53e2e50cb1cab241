/*
 * xlate_flow.c - how translated code goes from one block to another: jumps within a page and to others, calls and returns, and to the thunks.
 *
 * Called by xlate_block.c and xlate_insn.c, and xlate_thunk.c for lookups.
 */
#include <stddef.h>

#include "vmm/engine/xlate_gen.h"

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

/* Jump to another page's code: its translation is looked up each time. */
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

/* Code for guest code of the same page, if there is some. */
static uint32_t code_at(const struct gen *g, uint32_t target)
{
	return target == g->rip && !g->careful ? g->code : g->entries[target & (PAGE_SIZE - 1)];
}

static void aim(struct gen *g, uint32_t jump, uint32_t target, unsigned refund)
{
	uint32_t code = same_page(g, target) && !refund ? code_at(g, target) : 0;

	if (g->surveying)
		return;
	if (code)
		emit_aim32(&g->e, jump, code);
	else
		g->stub[g->stubs++] = (struct goto_stub){ jump, target, refund };
}

void gen_goto(struct gen *g, uint32_t target)
{
	if (same_page(g, target))
		aim(g, emit_jmp_near(&g->e), target, 0);
	else
		gen_goto_far(g, target);
}

void gen_goto_if(struct gen *g, unsigned cc, uint32_t target)
{
	aim(g, emit_jcc(&g->e, cc), target, g->n - g->k - 1);
}

/* 32 bits, sign-extended: the word beside the host's return address */
static void gen_push_expected(struct gen *g, uint32_t next)
{
	emit_u8(&g->e, 0x68); /* push imm32 */
	emit_u32(&g->e, -next);
}

/* Where the guest's return leads, behind the host's call. */
static void gen_landing(struct gen *g, uint32_t next)
{
	emit_rm(&g->e, 8, 0x8d, RSP, at_base(RSP, 8));
	gen_keep_reach(g, GOTO_ROOM);
	gen_goto(g, next);
}

void gen_call_to(struct gen *g, uint32_t target, uint32_t next)
{
	gen_push_expected(g, next);
	aim(g, emit_call_near(&g->e), target, 0);
	gen_landing(g, next);
}

void gen_call_lookup(struct gen *g, uint32_t next)
{
	struct lookup l;

	gen_push_expected(g, next);
	l = emit_lookup(&g->e, (unsigned)g->context);
	emit_call_reg(&g->e, RCX);
	gen_landing(g, next);
	emit_absent(&g->e, &l, g->thunk[THUNK_ABSENT]);
}

void gen_return(struct gen *g)
{
	struct emit *e = &g->e;
	uint32_t foreseen;

	emit_rm(e, 4, 0x8b, RCX, at_base(RSP, 8));
	emit_rm(e, 4, 0x8d, RCX, at_index(RCX, R8, 0, 0));
	foreseen = emit_jrcxz(e);
	emit_jmp(e, g->thunk[THUNK_RETURN + g->context]);
	emit_land8(e, foreseen);
	emit_u8(e, 0xc3); /* ret */
}

/* Where a jump out of the block leads, close to the block: most are taken often. What is left is a jump to code that is to be asked for, or none. */
void gen_exit(struct gen *g, struct goto_stub *s)
{
	uint32_t code;

	if (!s->refund && same_page(g, s->target))
		return; /* the jump itself is aimed */
	emit_land32(&g->e, s->jump);
	s->jump = 0;
	if (s->refund)
		gen_refund(g, s->refund);
	if (!same_page(g, s->target)) {
		gen_goto_far(g, s->target);
		return;
	}
	code = code_at(g, s->target);
	if (code)
		emit_jmp(&g->e, code);
	else
		s->jump = emit_jmp_near(&g->e);
}

void gen_link(struct gen *g, const struct goto_stub *s)
{
	if (!s->jump)
		return;
	emit_aim32(&g->hot, s->jump, emit_here(&g->e));
	emit_to_link(&g->e, g->thunk[THUNK_LINK], s->target, g->hot.code + s->jump);
}
