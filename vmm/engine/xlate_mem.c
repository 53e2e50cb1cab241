/*
 * xlate_mem.c - memory operands of translated code: addresses, checks, and which checks are shared.
 *
 * A check of its own costs an access five instructions (xlate.c shows them). Most accesses of a block are close to each other, though, off ESP, EBP or a
 * pointer to a structure. So a block is emitted twice: the first pass (the survey) emits nothing, notes each access as an offset from a value that a
 * register had when nobody knew more about it, and follows how MOV, LEA, ADD, PUSH and the like move that value along. Accesses off the same value make a span:
 * the first of them checks that the whole span lies in one page that permits all of it, and keeps what to add to its addresses. The others use that:
 *
 *     lea r8d, [r13-8]                 push eax         the block's span off ESP: from 8 below to 27 above
 *     lea r9d, [r13+27]
 *     shrx r8d, r8d, r15d              pages of the first and last byte
 *     shrx r9d, r9d, r15d
 *     lea r9, [r8+r9]                  even when they are the same
 *     mov rcx, [r15+r9*8+FLAT_SPAN_WRITE]
 *     jrcxz careful                    -> another block from here on, each of whose accesses is checked alone
 *     mov r10, rcx
 *     mov [rcx+r13-4], eax
 *     lea r13d, [r13-4]
 *     mov [r10+r13-4], edx             push edx
 *     lea r13d, [r13-4]
 *     mov ebx, [r10+r13+20]            mov ebx, [esp+20]
 *
 * Invariants
 *  1. Both passes ask for the same accesses in the same order.
 *  2. The check of a span is the first of its instruction: an earlier one could leave the instruction to its handler, and come back behind it.
 *  3. A span is good to the block's end: only what a handler does can take a translation away, and run_site() does not come back to the block then.
 *  4. register + displacement is used with 64 bits where the guest computes with 32. They differ only for addresses in the first or last page, where no span is.
 *
 * Called by xlate.c and xlate_insn.c.
 */
#include <stddef.h>
#include <string.h>

#include "vmm/engine/fpu.h"
#include "vmm/engine/xlate_gen.h"

enum { NEAR = 0xfff, SPAN_MAX = 1024, SHUT = WINDOW_GUARD / 2, OPERAND_MAX = 16 };

bool segment_known(const struct insn *in, bool write)
{
	return in->asize == 4 && in->seg < SEG_COUNT && !(write && in->seg == SEG_CS);
}

struct operand guest_operand(const struct gen *g, const struct insn *in)
{
	uint32_t owed = host(in->base) == GUEST_SP ? (uint32_t)g->owed : 0;

	return at_index(host(in->base), host(in->index), in->scale, (int32_t)(in->disp + owed));
}

unsigned gen_ea(struct gen *g, const struct insn *in)
{
	unsigned base = host(in->base), index = host(in->index);

	if (index == NO_REG && base == NO_REG) {
		emit_mov_imm(&g->e, R8, in->disp);
		return R8;
	}
	if (index == NO_REG && !in->disp && !(base == GUEST_SP && g->owed))
		return base;
	emit_rm(&g->e, 4, 0x8d, R8, guest_operand(g, in));
	return R8;
}

/* ---- one access ---- */

/* Page of the address as the flat table's index, in r9: with alignment bits above the page number. */
static void gen_index(struct gen *g, unsigned address, unsigned size)
{
	struct emit *e = &g->e;

	switch (size) {
	case 1: emit_shrx(e, false, R9, address, SHIFT_12); return;
	case 2:
		emit_rorx(e, R9, address, 1);
		emit_rm(e, 8, 0x8d, R9, at_index(R9, R9, 0, 0));
		break;
	case 4:
		emit_rorx(e, R9, address, 2);
		emit_shrx(e, false, R9, R9, SHIFT_10);
		return;
	case 8:
		emit_rorx(e, R9, address, 3);
		emit_rm(e, 8, 0x8d, R9, at_index(NO_REG, R9, 3, 0));
		break;
	default:
		emit_rorx(e, R9, address, 4);
		emit_rm(e, 8, 0x8d, R9, at_index(NO_REG, R9, 3, 0));
		emit_rm(e, 8, 0x8d, R9, at_index(R9, R9, 0, 0));
	}
	emit_shrx(e, true, R9, R9, SHIFT_12);
}

/* rcx becomes what to add to `address`. */
static void gen_check(struct gen *g, unsigned address, unsigned size, bool write, bool through_segment)
{
	unsigned ctx = (unsigned)g->context;
	struct pending p = {
		.kind = through_segment ? PENDING_SITE : PENDING_ACCESS,
		.size = (uint8_t)size,
		.write = write,
		.address = (uint8_t)address,
		.site = gen_site(g),
	};

	gen_index(g, address, size);
	emit_rm(&g->e, 8, 0x8b, RCX, at_index(R15, R9, 3, FLAT_AT(ctx, write ? FLAT_WRITE(ctx) : FLAT_READ(ctx))));
	p.jump = emit_jrcxz(&g->e);
	p.back = emit_here(&g->e);
	gen_pend(g, p);
}

/* The present instruction may fault on the host. */
static void gen_touch_window(struct gen *g)
{
	gen_site(g);
	g->touching = true;
}

/* One memory, one address: the host's caches are slow to see that two addresses are the same. */
struct operand gen_through_window(struct gen *g, struct operand m)
{
	gen_touch_window(g);
	return in_window(m);
}

struct operand gen_at(struct gen *g, unsigned address, unsigned size, bool write, bool through_segment)
{
	if (g->windowed)
		return gen_through_window(g, at_base(address, 0));
	gen_check(g, address, size, write, through_segment);
	return at_index(RCX, address, 0, 0);
}

struct operand gen_pin(struct gen *g, unsigned reg, struct operand m)
{
	bool window = m.window;

	m.window = false;
	emit_rm(&g->e, window ? 4 : 8, 0x8d, reg, m);
	m = at_base(reg, 0);
	m.window = window;
	return m;
}

static struct operand segment_word(const struct gen *g, const struct insn *in, size_t fs, size_t gs)
{
	return at_frame(g, in->seg == SEG_FS ? fs : gs);
}

/* FS and GS: leave the instruction unless the segment is whole and aligned. */
static void gen_require_segment(struct gen *g, const struct insn *in)
{
	bool *known = &g->segment_known[in->seg - SEG_FS];

	if (*known)
		return;
	*known = true;
	emit_rm(&g->e, 8, 0x8b, RCX, segment_word(g, in, offsetof(struct frame, fs_ok), offsetof(struct frame, gs_ok)));
	gen_pend(g, (struct pending){ .kind = PENDING_SITE, .site = gen_site(g), .jump = emit_jrcxz(&g->e) });
}

/* Through FS or GS. Through the window only at an offset that is seen not to wrap around the segment's end. */
static struct operand gen_in_segment(struct gen *g, const struct insn *in, unsigned size, bool write)
{
	struct operand base = segment_word(g, in, offsetof(struct frame, fs_base), offsetof(struct frame, gs_base));
	unsigned address;

	if (g->windowed && in->base == GPR_ZERO && in->index == GPR_ZERO && in->disp <= -size &&
	    (int32_t)in->disp >= -SHUT && (int32_t)in->disp < SHUT - OPERAND_MAX) {
		emit_rm(&g->e, 8, 0x8b, R8,
		        segment_word(g, in, offsetof(struct frame, fs_window), offsetof(struct frame, gs_window)));
		gen_touch_window(g);
		return at_base(R8, (int32_t)in->disp);
	}
	address = gen_ea(g, in);
	gen_require_segment(g, in);
	emit_rm(&g->e, 8, 0x8b, R9, base);
	emit_rm(&g->e, 4, 0x8d, R8, at_index(R9, address, 0, 0));
	gen_check(g, R8, size, write, true);
	return g->windowed ? gen_through_window(g, at_base(R8, 0)) : at_index(RCX, R8, 0, 0);
}

/* ---- spans ---- */

static void gen_page(struct gen *g, unsigned dst, unsigned reg, int32_t disp)
{
	if (disp) {
		emit_rm(&g->e, 4, 0x8d, dst, at_base(reg, disp));
		reg = dst;
	}
	emit_shrx(&g->e, false, dst, reg, SHIFT_12);
}

static struct operand span_home(const struct gen *g, unsigned home)
{
	return at_frame(g, offsetof(struct frame, span) + 8 * home);
}

/* delta: of the register, from the value that the span's offsets count from */
static void gen_open_span(struct gen *g, struct span *s, unsigned reg, int32_t delta)
{
	struct emit *e = &g->e;
	unsigned ctx = (unsigned)g->context;

	gen_page(g, R8, reg, s->low - delta);
	gen_page(g, R9, reg, s->high - delta);
	emit_rm(e, 8, 0x8d, R9, at_index(R8, R9, 0, 0));
	emit_rm(e, 8, 0x8b, RCX,
	        at_index(R15, R9, 3, FLAT_AT(ctx, s->write ? FLAT_SPAN_WRITE(ctx) : FLAT_SPAN_READ(ctx))));
	gen_pend(g, (struct pending){
	                    .kind = PENDING_CAREFUL,
	                    .site = gen_site(g),
	                    .left = (uint8_t)(g->n - g->k),
	                    .jump = emit_jrcxz(e),
	            });
	if (s->home)
		emit_rm(e, 8, 0x89, RCX, span_home(g, s->home));
	else
		emit_rr(e, 8, 0x8b, SPAN_HOME, RCX);
	s->open = true;
}

/* An access at a register and a displacement, in a span: where it is. False when it is to be checked alone. */
static bool gen_in_span(struct gen *g, unsigned gpr, uint32_t disp, unsigned size, bool write, struct operand *m)
{
	unsigned reg = host(gpr * 8), base = RCX;
	struct access *a = &g->access[g->accesses];
	struct span *s;

	if (g->careful || (int32_t)disp < -NEAR || (int32_t)disp > NEAR)
		return false;
	BUG_ON(g->accesses == sizeof(g->access) / sizeof(*g->access));
	g->accesses++;
	if (g->surveying) {
		*a = (struct access){
			.k = (uint8_t)g->k,
			.size = (uint8_t)size,
			.write = write,
			.may_open = !g->site,
			.group = g->value[gpr].group,
			.offset = (int32_t)(g->value[gpr].delta + disp),
		};
		return false;
	}
	BUG_ON(a->k != g->k || a->size != size || a->write != write);
	if (a->span == NO_SPAN)
		return false;
	s = &g->span[a->span];
	BUG_ON(!s->open && g->site);
	if (!s->open)
		gen_open_span(g, s, reg, (int32_t)((uint32_t)a->offset - disp));
	else if (s->home)
		emit_rm(&g->e, 8, 0x8b, RCX, span_home(g, s->home));
	else
		base = SPAN_HOME;
	*m = at_index(base, reg, 0, (int32_t)disp);
	return true;
}

struct operand gen_memory(struct gen *g, const struct insn *in, unsigned size, bool write)
{
	struct operand m;

	if (in->seg >= SEG_FS)
		return gen_in_segment(g, in, size, write);
	if (g->windowed)
		return gen_through_window(g, guest_operand(g, in));
	if (in->index == GPR_ZERO && in->base != GPR_ZERO && gen_in_span(g, in->base >> 3, in->disp, size, write, &m))
		return m;
	return gen_at(g, gen_ea(g, in), size, write, false);
}

struct operand gen_stack(struct gen *g, unsigned reg, int32_t disp, bool write)
{
	unsigned address = host(reg * 8);
	struct operand m;

	if (g->windowed)
		return gen_through_window(g, at_base(address, disp + (reg == R_SP ? g->owed : 0)));
	if (gen_in_span(g, reg, (uint32_t)disp, 4, write, &m))
		return m;
	if (disp) {
		emit_rm(&g->e, 4, 0x8d, R8, at_base(address, disp));
		address = R8;
	}
	return gen_at(g, address, 4, write, false);
}

void gen_settle(struct gen *g)
{
	if (g->owed)
		emit_rm(&g->e, 4, 0x8d, GUEST_SP, at_base(GUEST_SP, g->owed));
	g->owed = 0;
}

/* ---- the survey ---- */

static void forget(struct gen *g, unsigned gpr)
{
	g->value[gpr] = (struct value){ .group = g->groups++ };
}

static void forget_all(struct gen *g)
{
	for (unsigned i = 0; i < 8; i++)
		forget(g, i);
}

static void move(struct gen *g, unsigned gpr, unsigned from, uint32_t by)
{
	g->value[gpr] = g->value[from];
	g->value[gpr].delta += by;
}

void survey_begin(struct gen *g)
{
	g->surveying = true;
	g->groups = 0;
	g->accesses = 0;
	forget_all(g);
}

static unsigned reg_of(unsigned offset)
{
	return (offset >> 3) & 7;
}

/* The register operand that is written, if the destination is one. */
static bool destination(const struct insn *in, unsigned *gpr)
{
	switch (in->form) {
	case FORM_RR:
	case FORM_RI:
	case FORM_R: *gpr = reg_of(in->rm); return true;
	case FORM_RM: *gpr = reg_of(in->reg); return true;
	default: return false;
	}
}

static void forget_destination(struct gen *g, const struct insn *in)
{
	unsigned gpr;

	if (destination(in, &gpr))
		forget(g, gpr);
}

static void survey_mov(struct gen *g, const struct insn *in)
{
	if (in->form == FORM_RR && in->opsize == 4)
		move(g, reg_of(in->rm), reg_of(in->reg), 0);
	else
		forget_destination(g, in);
}

static void survey_lea(struct gen *g, const struct insn *in)
{
	if (in->opsize == 4 && in->index == GPR_ZERO && in->base != GPR_ZERO)
		move(g, reg_of(in->reg), reg_of(in->base), in->disp);
	else
		forget_destination(g, in);
}

static void survey_add(struct gen *g, const struct insn *in)
{
	if (in->form == FORM_RI && in->opsize == 4)
		move(g, reg_of(in->rm), reg_of(in->rm), in->op == OP_SUB ? -in->imm : in->imm);
	else
		forget_destination(g, in);
}

static void survey_step(struct gen *g, const struct insn *in, uint32_t by)
{
	if (in->form == FORM_R && in->opsize == 4)
		move(g, reg_of(in->rm), reg_of(in->rm), by);
	else
		forget_destination(g, in);
}

static void survey_pop(struct gen *g, const struct insn *in)
{
	move(g, R_SP, R_SP, 4);
	forget(g, reg_of(in->rm));
}

static void survey_leave(struct gen *g)
{
	move(g, R_SP, R_BP, 4);
	forget(g, R_BP);
}

/* Both operands, and what the instruction names implicitly. */
static void forget_operands(struct gen *g, const struct insn *in)
{
	forget(g, reg_of(in->rm));
	forget(g, reg_of(in->reg));
	forget(g, R_AX);
	forget(g, R_DX);
}

static bool changes_no_register(enum op op)
{
	switch (op) {
	case OP_CMP:
	case OP_TEST:
	case OP_BT:
	case OP_SAHF:
	case OP_CLC:
	case OP_STC:
	case OP_CMC:
	case OP_CLD:
	case OP_CLI:
	case OP_STI:
	case OP_NOP:
	case OP_PREFETCH:
	case OP_FENCE:
	case OP_JMP: return true;
	default: return op >= OP_JO && op <= OP_JNLE;
	}
}

static bool changes_destination(enum op op)
{
	switch (op) {
	case OP_MOVZX:
	case OP_MOVSX:
	case OP_NEG:
	case OP_NOT:
	case OP_IMUL2:
	case OP_IMUL3:
	case OP_SHLD:
	case OP_SHRD:
	case OP_BTS:
	case OP_BTR:
	case OP_BTC:
	case OP_BSF:
	case OP_BSR:
	case OP_BSWAP: return true;
	default:
		return (op >= OP_ADD && op <= OP_XOR) || (op >= OP_ROL && op <= OP_SAR) ||
		       (op >= OP_CMOVO && op <= OP_CMOVNLE) || (op >= OP_SETO && op <= OP_SETNLE);
	}
}

/* What became of the registers. Whatever is not known to leave one alone changes it. */
void survey_insn(struct gen *g, const struct insn *in, bool inlined)
{
	if (!inlined) {
		forget_all(g);
		return;
	}
	switch (in->op) {
	case OP_MOV: survey_mov(g, in); return;
	case OP_LEA: survey_lea(g, in); return;
	case OP_ADD:
	case OP_SUB: survey_add(g, in); return;
	case OP_INC: survey_step(g, in, 1); return;
	case OP_DEC: survey_step(g, in, -1u); return;
	case OP_PUSH:
	case OP_PUSH_SREG:
	case OP_PUSHF:
	case OP_CALL: move(g, R_SP, R_SP, -4u); return;
	case OP_POP: survey_pop(g, in); return;
	case OP_POPF: move(g, R_SP, R_SP, 4); return;
	case OP_RET: move(g, R_SP, R_SP, 4 + in->imm); return;
	case OP_LEAVE: survey_leave(g); return;
	case OP_MUL:
	case OP_IMUL:
	case OP_DIV:
	case OP_IDIV:
	case OP_XCHG:
	case OP_XADD:
	case OP_CMPXCHG:
	case OP_CBW:
	case OP_CWD:
	case OP_LAHF:
	case OP_FNSTSW:
	case OP_MOVD:
	case OP_PMOVMSKB: forget_operands(g, in); return;
	default: break;
	}
	if (changes_no_register(in->op) || (in->op >= OP_FPU_BASE))
		return;
	if (changes_destination(in->op))
		forget_destination(g, in);
	else
		forget_all(g);
}

static int32_t lower(int32_t a, int32_t b)
{
	return a < b ? a : b;
}

static int32_t higher(int32_t a, int32_t b)
{
	return a > b ? a : b;
}

/* Into the span of its group, unless that grows too long. */
static bool join(struct span *s, const struct access *a)
{
	int32_t low = lower(s->low, a->offset), high = higher(s->high, (int32_t)((uint32_t)a->offset + a->size - 1));

	if ((int64_t)high - low >= SPAN_MAX)
		return false;
	*s = (struct span){ low, high, (uint8_t)(s->count + 1), s->write | a->write, 0, false };
	return true;
}

/* r10 to the span that is used most; the frame's words to the next. */
static void give_homes(struct gen *g, unsigned spans)
{
	for (unsigned home = 0; home < SPANS; home++) {
		struct span *best = NULL;

		for (unsigned i = 0; i < spans; i++) {
			struct span *s = &g->span[i];

			if (s->count >= 2 && s->home == NO_SPAN && (!best || s->count > best->count))
				best = s;
		}
		if (!best)
			return;
		best->home = (uint8_t)home;
	}
}

void survey_end(struct gen *g)
{
	uint8_t of_group[8 * (BLOCK_MAX_INSNS + 2)];
	unsigned spans = 0;

	memset(of_group, NO_SPAN, sizeof(of_group));
	BUG_ON(g->groups > sizeof(of_group));
	for (unsigned i = 0; i < g->accesses; i++) {
		struct access *a = &g->access[i];
		uint8_t *span = &of_group[a->group];

		a->span = NO_SPAN;
		if (*span == NO_SPAN && !a->may_open)
			continue;
		if (*span == NO_SPAN) {
			g->span[spans] = (struct span){ .low = a->offset, .high = a->offset };
			*span = (uint8_t)spans++;
		}
		if (join(&g->span[*span], a))
			a->span = *span;
	}
	for (unsigned i = 0; i < spans; i++)
		g->span[i].home = NO_SPAN;
	give_homes(g, spans);
	for (unsigned i = 0; i < g->accesses; i++) {
		if (g->access[i].span != NO_SPAN && g->span[g->access[i].span].home == NO_SPAN)
			g->access[i].span = NO_SPAN;
	}
	g->surveying = false;
	g->accesses = 0;
}
