/*
 * xlate_priv.c - CLI, STI, PUSHF and POPF of the guest's kernel, inline: they are most of what it runs that is privileged or sensitive.
 *
 * Only while nobody observes (vcpu.unseen.allowed): there is no event, but virtual time goes on as for any other emulated fault. So each of them
 *  - first moves the budget's end nearer, by the instructions that the fault's time stands for; what does not leave enough for the rest of the block is the VMM's;
 *  - counts itself. What they did becomes precise in settle_unseen() (xlate.c), before any other code looks.
 *
 * frame.flags has the guest's EFLAGS but for IF and the arithmetic flags, frame.flag_if has IF. An STI that opens to interrupts, and a POPF that
 * changes more than arithmetic flags, are the VMM's unless it said that no interrupt waits, or always. The guest's CPL is 0 here: no right has to be checked.
 *
 * Called by xlate_insn.c.
 */
#include <stddef.h>

#include "vmm/engine/ops.h"
#include "vmm/engine/xlate_state.h"

enum { POPF_KEEPS = FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_AC | FL_ID };

static unsigned cost(const struct gen *g)
{
	return g->x->c->unseen.cost;
}

/* A check: does the budget cover the fault, and what is left of the block? */
static void gen_afford(struct gen *g)
{
	struct emit *e = &g->e;

	emit_rm(e, 8, 0x8d, RCX, at_base(R11, (int32_t)cost(g)));
	emit_shrx(e, true, RCX, RCX, SHIFT_12);
	gen_pend(g, (struct pending){ .kind = PENDING_SITE, .site = gen_site(g), .jump = emit_jrcxz(e) });
}

/* After all checks. rcx becomes how many there were. */
static void gen_count(struct gen *g)
{
	struct emit *e = &g->e;
	struct operand count = at_frame(g, offsetof(struct frame, unseen));

	emit_rm(e, 8, 0x8d, R11, at_base(R11, (int32_t)cost(g)));
	emit_rm(e, 8, 0x8b, RCX, count);
	emit_rm(e, 8, 0x8d, RCX, at_base(RCX, 1));
	emit_rm(e, 8, 0x89, RCX, count);
}

static void gen_set_if(struct gen *g, uint32_t value)
{
	emit_rm(&g->e, 4, 0xc7, 0, at_frame(g, offsetof(struct frame, flag_if)));
	emit_u32(&g->e, value);
}

static void gen_cli(struct gen *g)
{
	gen_afford(g);
	gen_count(g);
	gen_set_if(g, 0);
}

/* The one that sets IF opens the shadow: settle_unseen() has to know where. */
static void gen_sti(struct gen *g)
{
	struct emit *e = &g->e;
	uint32_t closed, over;

	gen_require(g, offsetof(struct frame, none_waits));
	gen_afford(g);
	gen_count(g);
	emit_rm(e, 4, 0x8b, R8, at_frame(g, offsetof(struct frame, flag_if)));
	emit_rm(e, 8, 0x8b, R9, at_frame(g, offsetof(struct frame, unseen)));
	emit_mov(e, RCX, R8);
	closed = emit_jrcxz(e);
	over = emit_jmp_short(e);
	emit_land8(e, closed);
	emit_rm(e, 8, 0x89, R9, at_frame(g, offsetof(struct frame, sti_unseen)));
	emit_rm(e, 8, 0x8d, RCX, at_base(R11, -(int32_t)(g->n - g->k)));
	emit_rm(e, 8, 0x89, RCX, at_frame(g, offsetof(struct frame, sti_budget)));
	gen_set_if(g, FL_IF);
	emit_land8(e, over);
}

static void gen_pushf(struct gen *g)
{
	struct emit *e = &g->e;
	struct operand slot, tmp = at_frame(g, offsetof(struct frame, tmp));

	gen_afford(g);
	emit_mov(e, R9, RAX);
	emit_bytes(e, "\x0f\x90\xc0\x9f", 4);                          /* seto al; lahf */
	emit_bytes(e, "\x0f\xb6\xcc\x44\x0f\xb6\xc0\x04\x7f\x9e", 10); /* movzx ecx, ah; movzx r8d, al; add al, 0x7f; sahf */
	emit_mov(e, RAX, R9);
	emit_rorx(e, R8, R8, 32 - 11);
	emit_rm(e, 4, 0x8d, RCX, at_index(RCX, R8, 0, 0));
	emit_rm(e, 4, 0x8b, R8, at_frame(g, offsetof(struct frame, flags)));
	emit_rm(e, 4, 0x8b, R9, at_frame(g, offsetof(struct frame, flag_if)));
	emit_rm(e, 4, 0x8d, R8, at_index(R8, R9, 0, 0));
	emit_rm(e, 4, 0x8d, RCX, at_index(RCX, R8, 0, -(int32_t)FL_FIXED)); /* LAHF has it, too */
	emit_rm(e, 4, 0x89, RCX, tmp);
	gen_keep_reach(g, 80);
	slot = gen_stack(g, R_SP, -4, true);
	emit_rm(e, 4, 0x8b, R9, tmp);
	emit_rm(e, 4, 0x89, R9, slot);
	emit_rm(e, 4, 0x8d, GUEST_SP, at_base(GUEST_SP, -4));
	gen_count(g);
}

/* Once the image was read nothing can fault: flags need not be kept for the VMM, which replaces them all. */
static void gen_popf(struct gen *g)
{
	struct emit *e = &g->e;

	gen_afford(g);
	emit_rm(e, 4, 0x8b, R8, gen_stack(g, R_SP, 0, false));
	emit_rm(e, 4, 0x8b, RCX, at_frame(g, offsetof(struct frame, flags)));
	emit_rm(e, 4, 0x03, RCX, at_frame(g, offsetof(struct frame, flag_if)));
	emit_rr(e, 4, 0x33, RCX, R8);
	emit_bytes(e, "\xf7\xc1", 2); /* test ecx, imm32 */
	emit_u32(e, POPF_KEEPS);
	gen_pend_far(g, (struct pending){ .kind = PENDING_SITE, .site = gen_site(g), .hop = emit_jcc(e, 5) });
	gen_keep_reach(g, 90);
	gen_count(g);
	emit_mov(e, R9, RAX);
	emit_bytes(e, "\x41\x0f\xb6\xc0\xc1\xe0\x08", 7);                  /* movzx eax, r8b; shl eax, 8 */
	emit_bytes(e, "\x41\xc1\xe8\x0b\x41\x83\xe0\x01\x44\x09\xc0", 11); /* shr r8d, 11; and r8d, 1; or eax, r8d */
	emit_bytes(e, "\x04\x7f\x9e", 3);                                  /* add al, 0x7f; sahf */
	emit_mov(e, RAX, R9);
	emit_rm(e, 4, 0x8d, GUEST_SP, at_base(GUEST_SP, 4));
}

bool gen_privileged(struct gen *g, const struct insn *in)
{
	const struct vcpu *c = g->x->c;

	if (!c->unseen.allowed || g->x->hard || !(c->mode & MODE_CATCH_CPL0) || !stays_in_block(in))
		return false;
	switch (in->op) {
	case OP_CLI: gen_cli(g); return true;
	case OP_STI: gen_sti(g); return true;
	case OP_PUSHF:
		if (in->opsize != 4)
			return false;
		gen_pushf(g);
		return true;
	case OP_POPF:
		if (in->opsize != 4)
			return false;
		gen_popf(g);
		return true;
	default: return false;
	}
}
