/*
 * xlate_block.c - one block: which instructions it has, its code around theirs (xlate_insn.c, xlate_flow.c), and what lies aside because it seldom runs.
 *
 * Called by xlate.c.
 */
#include <string.h>

#include "vmm/cpu/watch.h"
#include "vmm/engine/ops.h"
#include "vmm/engine/xlate_state.h"

uint32_t gen_site(struct gen *g)
{
	struct xlate *x = g->x;
	const struct insn *in = g->step[g->k].in;
	struct site *s;

	if (g->site)
		return g->site;
	if (g->surveying)
		return g->site = 1;
	g->site = x->site_count++;
	s = &x->sites[g->site];
	*s = (struct site){
		.in = *in,
		.rip = g->at,
		.block = g->rip,
		.left = (uint16_t)(g->n - g->k),
		.class = (uint16_t)op_class(in->op),
		.emulated = interp_is_emulated(in),
		.owed = g->owed,
	};
	s->in.off = 0;
	return g->site;
}

void gen_pend(struct gen *g, struct pending p)
{
	if (g->surveying)
		return;
	BUG_ON(g->pendings == PENDING_MAX);
	g->pending[g->pendings++] = p;
}

void gen_pend_far(struct gen *g, struct pending p)
{
	if (g->surveying)
		return;
	BUG_ON(g->fars == PENDING_MAX);
	g->far[g->fars++] = p;
}

void gen_require(struct gen *g, size_t frame_offset)
{
	emit_rm(&g->e, 8, 0x8b, RCX, at_frame(g, frame_offset));
	gen_pend(g, (struct pending){ .kind = PENDING_SITE, .site = gen_site(g), .jump = emit_jrcxz(&g->e) });
}

/* What a JRCXZ leads to. Out of the way of the block; ends with a jump or never returns. */
static void gen_cold(struct gen *g, const struct pending *p)
{
	struct emit *e = &g->e;

	switch (p->kind) {
	case PENDING_ACCESS:
		if (p->address != R8)
			emit_mov(e, R8, p->address);
		if (p->size == 1)
			emit_to_thunk(e, g->thunk[THUNK_MEMORY]);
		else
			emit_call(e, g->thunk[THUNK_FIRST_CHECK + (unsigned)g->context * 8 + p->write * 4u +
			                      (unsigned)__builtin_ctz(p->size) - 1]);
		emit_jmp(e, p->back);
		emit_u32(e, p->site);
		return;
	case PENDING_CROSS:
		gen_refund(g, p->left);
		emit_to_thunk(e, g->thunk[THUNK_CROSS]);
		emit_u32(e, g->rip);
		emit_u32(e, g->code);
		emit_u32(e, g->dead);
		return;
	case PENDING_GOTO:
	case PENDING_CALL:
	case PENDING_RETURN: gen_pending_goto(g, p); return;
	case PENDING_CAREFUL:
		gen_refund(g, p->left);
		emit_jmp_near(e); /* just below, until there is a careful block to go to */
		emit_to_thunk(e, g->thunk[THUNK_CAREFUL]);
		emit_u32(e, p->site);
		return;
	case PENDING_DIVIDE: /* flags are in ecx, eax in the frame */
		emit_mov(e, RAX, RCX);
		emit_bytes(e, "\x04\x7f\x9e", 3); /* add al, 0x7f; sahf */
		emit_rm(e, 4, 0x8b, RAX, at_frame(g, offsetof(struct frame, tmp)));
		/* fall through */
	default: emit_to_thunk(e, g->thunk[THUNK_CALLOUT]); emit_u32(e, p->site);
	}
}

/* Pending JRCXZs get a 32-bit jump in their reach. */
static void gen_hops(struct gen *g)
{
	for (; g->hopped < g->pendings; g->hopped++) {
		struct pending *p = &g->pending[g->hopped];

		emit_land8(&g->e, p->jump);
		p->hop = emit_jmp_near(&g->e);
	}
}

static void gen_hops_aside(struct gen *g)
{
	uint32_t over = emit_jmp_short(&g->e);

	gen_hops(g);
	emit_land8(&g->e, over);
}

enum { REACH = 127 };

/* REP MOVS, REP STOS */
static bool repeats(const struct insn *in)
{
	return (in->op == OP_MOVS || in->op == OP_STOS) && in->flags & (IF_REP | IF_REPNE);
}

/* No instruction's code is longer. */
static unsigned insn_room(const struct insn *in)
{
	bool divides = in->op == OP_DIV || in->op == OP_IDIV;
	bool twice = in->op == OP_PUSH_SREG || ((in->flags & IF_MEM) && (in->seg >= SEG_FS || in->op == OP_PUSH));

	if (in->op == OP_CALL)
		return 180;
	if (repeats(in))
		return 330;
	if (stays_in_block(in))
		return 200;
	return is_fpu(in) || (in->op >= OP_MOVS && in->op <= OP_SCAS) || in->flags & IF_ENDS || twice || divides ? 140
	                                                                                                         : 80;
}

void gen_keep_reach(struct gen *g, unsigned room)
{
	if (!g->surveying && g->hopped < g->pendings && g->e.at - g->pending[g->hopped].jump + room + 4 > REACH)
		gen_hops_aside(g);
}

static void gen_head(struct gen *g)
{
	struct emit *e = &g->e;
	uint32_t at;

	emit_rm(e, 8, 0x8d, R11, at_base(R11, (int32_t)g->n));
	emit_shrx(e, true, RCX, R11, SHIFT_12);
	at = emit_jrcxz(e);
	e->bytes[at] = (uint8_t)(0x100 - (at + 1 + HEAD_ROOM));
}

/* What that leads to: a jump before the block. */
static void gen_over(struct gen *g)
{
	struct emit hop = { .bytes = g->hot.bytes - HEAD_ROOM, .code = g->hot.code - HEAD_ROOM, .size = JUMP_LENGTH };

	emit_jmp(&hop, emit_here(&g->e));
	emit_to_thunk(&g->e, g->thunk[THUNK_HEAD]);
	emit_u32(&g->e, g->rip);
	emit_u32(&g->e, g->n);
}

/* Where the host may fault. A landing that is not there yet tells the thunk which instruction it was. */
static void gen_touch(struct gen *g, const struct touch *t)
{
	uint32_t at = g->hot.code + t->at;

	hardfault_add(&g->x->faults, (struct hardfault_place){
	                                     .at = at,
	                                     .len = (uint16_t)t->len,
	                                     .landing = t->landing ? t->landing : emit_here(&g->e),
	                                     .access = !t->landing,
	                             });
	if (t->landing)
		return;
	emit_to_thunk(&g->e, g->thunk[THUNK_WINDOW]);
	emit_u32(&g->e, t->site);
	emit_u32(&g->e, at);
}

/* Where the head of a block leads once that has died with another page's code. */
static void gen_dead(struct gen *g)
{
	g->dead = 0;
	for (unsigned i = 0; i < g->foreigns && !g->dead; i++)
		g->dead = g->foreign[i].used;
	if (!g->dead)
		return;
	g->dead = emit_here(&g->e);
	emit_to_link(&g->e, g->thunk[THUNK_LINK], g->rip, g->code + 1);
}

/* What seldom runs goes elsewhere, so that what does lies close together. */
static void gen_end(struct gen *g)
{
	gen_hops(g);
	g->ending = true;
	for (unsigned i = 0; i < g->stubs; i++) {
		if (!g->stub[i].rare)
			gen_exit(g, &g->stub[i]);
	}
	g->hot = g->e;
	g->e = g->cold;
	g->aside = true;
	for (unsigned i = 0; i < g->stubs; i++) {
		if (g->stub[i].rare)
			gen_rare_exit(g, &g->stub[i]);
	}
	gen_over(g);
	gen_dead(g);
	for (unsigned i = 0; i < g->pendings; i++) {
		emit_aim32(&g->hot, g->pending[i].hop, emit_here(&g->e));
		gen_cold(g, &g->pending[i]);
	}
	for (unsigned i = 0; i < g->fars; i++) {
		emit_aim32(g->far[i].aside ? &g->e : &g->hot, g->far[i].hop, emit_here(&g->e));
		gen_cold(g, &g->far[i]);
	}
	for (unsigned i = 0; i < g->stubs; i++)
		gen_link(g, &g->stub[i]);
	for (unsigned i = 0; i < g->touches; i++)
		gen_touch(g, &g->touch[i]);
}

/* When. The flags are not changed: the guest's live in them. */
static void gen_stamp(struct gen *g)
{
	struct emit *e = &g->e;

	emit_mov(e, R8, RAX);
	emit_mov(e, R9, RDX);
	emit_bytes(e, "\x0f\x31", 2); /* rdtsc */
	emit_rm(e, 4, 0x89, RAX, at_frame(g, offsetof(struct frame, stamp)));
	emit_rm(e, 4, 0x89, RDX, at_frame(g, offsetof(struct frame, stamp) + 4));
	emit_mov(e, RAX, R8);
	emit_mov(e, RDX, R9);
}

/* The host's processor stops the instruction; a call-out begins where the signal's handler sends the thread. */
static bool gen_hardfault(struct gen *g, const struct insn *in)
{
	struct xlate *x = g->x;
	struct emit *e = &g->e;
	uint8_t code[HARDFAULT_CODE_MAX];
	unsigned len = x->hard ? hardfault_code(in, code) : 0;
	uint32_t at, site;

	if (!len)
		return false;
	site = gen_site(g);
	gen_stamp(g);
	at = e->at;
	emit_bytes(e, (const char *)code, len);
	emit_bytes(e, "\x0f\x0b", 2); /* ud2 */
	g->touch[g->touches++] = (struct touch){ .at = at, .len = len, .site = site, .landing = emit_here(e) };
	emit_to_thunk(e, g->thunk[THUNK_FAULT]);
	emit_u32(e, site);
	return true;
}

static void gen_callout(struct gen *g)
{
	uint32_t site;

	if (gen_hardfault(g, g->step[g->k].in))
		return;
	site = gen_site(g);
	emit_to_thunk(&g->e, g->thunk[THUNK_CALLOUT]);
	emit_u32(&g->e, site);
}

/* An instruction across the page's end is what it was when the next page's code is that of the same page of memory, and that was not written to since: then the
 * block would be dead. */
static void gen_cross(struct gen *g)
{
	struct emit *e = &g->e;
	struct foreign *second = &g->foreign[0];

	emit_rm(e, 4, 0x8b, RCX, presence(second));
	gen_pend(g, (struct pending){ .kind = PENDING_CROSS, .left = (uint8_t)g->n, .jump = emit_jrcxz(e) });
	second->used = true;
}

static bool names_sp(const struct insn *in)
{
	return host(in->reg) == GUEST_SP || host(in->rm) == GUEST_SP;
}

/* What looks at no registers but its operands, and does not leave the block. */
static bool is_plain(enum op op)
{
	switch (op) {
	case OP_MOV:
	case OP_MOVZX:
	case OP_MOVSX:
	case OP_LEA:
	case OP_TEST:
	case OP_INC:
	case OP_DEC:
	case OP_NOT:
	case OP_NEG:
	case OP_IMUL2:
	case OP_IMUL3: return true;
	default:
		return (op >= OP_ADD && op <= OP_CMP) || (op >= OP_ROL && op <= OP_SAR) ||
		       (op >= OP_SETO && op <= OP_SETNLE) || (op >= OP_CMOVO && op <= OP_CMOVNLE);
	}
}

/* May ESP be other than r13 while it runs? */
static bool may_owe(const struct insn *in)
{
	switch (in->op) {
	case OP_PUSH: return in->opsize == 4 && !(in->form == FORM_R && names_sp(in));
	case OP_POP: return in->opsize == 4 && in->form == FORM_R && !names_sp(in);
	case OP_CALL: return in->opsize == 4 && in->form == FORM_I;
	case OP_RET: return in->opsize == 4;
	default: return is_plain(in->op) && !names_sp(in);
	}
}

/* What was seen to hold; a handler may change it. */
static void forget_known(struct gen *g)
{
	g->x87_known = g->sse_known = g->segment_known[0] = g->segment_known[1] = false;
	for (unsigned i = 0; i < g->foreigns; i++)
		g->foreign[i].present = false;
}

/* Each instruction in turn. The survey does the same, and emits nothing. */
static void gen_steps(struct gen *g)
{
	bool inlined;
	uint32_t start;

	forget_known(g);
	if (g->crosses)
		g->foreign[0].present = true;
	g->owed = 0;
	for (g->k = 0; g->k < g->n; g->k++) {
		const struct insn *in = g->step[g->k].in;

		g->at = g->step[g->k].rip;
		g->site = 0;
		g->touching = false;
		if (!may_owe(in))
			gen_settle(g);
		gen_keep_reach(g, insn_room(in) + ENTER_ROOM);
		gen_enter_page(g, g->at);
		start = g->e.at;
		inlined = g->at == g->x->left_out || gen_insn(g, in);
		if (!inlined)
			forget_known(g);
		if (g->surveying) {
			survey_insn(g, in, inlined);
			continue;
		}
		if (!inlined)
			gen_callout(g);
		else if (g->touching)
			g->touch[g->touches++] = (struct touch){ .at = start, .len = g->e.at - start, .site = g->site };
		BUG_ON(g->e.at - start > insn_room(in));
		if (g->site) {
			g->x->sites[g->site].resume = emit_here(&g->e);
			g->x->sites[g->site].still_owed = g->owed;
		}
	}
}

static void survey(struct gen *g)
{
	struct emit e = g->e;

	if (g->careful || g->windowed)
		return;
	g->e.full = true; /* swallows everything */
	survey_begin(g);
	gen_steps(g);
	survey_end(g);
	g->e = e;
}

static void gen_block(struct gen *g)
{
	const struct step *last = &g->step[g->n - 1];

	survey(g);
	gen_head(g);
	if (g->crosses)
		gen_cross(g);
	gen_steps(g);
	if (!(last->in->flags & IF_ENDS) || stays_in_block(last->in)) {
		gen_settle(g);
		gen_keep_reach(g, GOTO_ROOM);
		gen_goto(g, last->rip + last->in->len);
	}
	gen_end(g);
}

/* ---- which instructions make a block ---- */

static void add_trace(struct gen *g, const struct trace *t, uint32_t rip)
{
	for (unsigned i = 0; i < t->n; i++)
		g->step[g->n++] = (struct step){ .in = &t->insns[i], .rip = rip + t->insns[i].off };
}

static bool in_block(const struct gen *g, uint32_t rip)
{
	for (unsigned i = 0; i < g->n; i++) {
		if (g->step[i].rip == rip)
			return true;
	}
	return false;
}

/* Instructions of a block. engine_set_block_max() means blocks, too. */
static unsigned block_max(const struct gen *g)
{
	unsigned max = g->x->cache->max_insns;

	return max < TRACE_MAX_INSNS ? max : BLOCK_MAX_INSNS;
}

/* The trace at rip when it has run and may be in the block that begins with t. */
static struct trace *trace_at(struct gen *g, const struct trace *t, uint32_t rip)
{
	const struct foreign *f = foreign_at(g, rip);
	uint64_t page = f ? f->page->gpa : t->gpa & PAGE_MASK;
	struct trace *next;

	if ((!f && !same_page(g, rip)) || watch_cuts(g->x->c, rip))
		return NULL;
	next = cache_known(g->x->cache, page | (rip & (PAGE_SIZE - 1)), g->x->hot == 0 ? rip : 0);
	return next && g->n + next->n <= block_max(g) && !in_block(g, rip) ? next : NULL;
}

/* Is there code for it already, in which the block can end? */
static bool has_code(struct gen *g, uint32_t rip)
{
	const struct foreign *f = foreign_at(g, rip);

	return (f ? f->entries : g->entries)[rip & (PAGE_SIZE - 1)] != 0;
}

static struct trace *known_trace(struct gen *g, const struct trace *t, uint32_t rip)
{
	struct trace *next = trace_at(g, t, rip);

	return next && !has_code(g, rip) ? next : NULL;
}

/* How often code at the address was seen to run after t, of the times that t did. What has code already does. */
static unsigned weight(struct gen *g, const struct trace *t, uint32_t rip)
{
	const struct trace *next;

	if (rip == g->rip)
		return t->hits;
	next = trace_at(g, t, rip);
	return next ? next->hits : 0;
}

/* Of the two ways a Jcc can go: the one that ran more, the next instruction when they ran the same. The other one may be rare. */
static uint32_t likely_way(struct gen *g, const struct trace *t, uint32_t next, uint32_t target, bool *rare)
{
	enum { RARE = 8 };
	unsigned a = weight(g, t, next), b = weight(g, t, target);

	*rare = a > b ? b * RARE < a : a * RARE < b;
	return b > a ? target : next;
}

/* Is the function at `target` so short that the block can go through it? Its return has to be in the block too. */
static bool passes_through(struct gen *g, const struct trace *t, uint32_t target)
{
	enum { SHORT = 8 };
	const struct trace *callee = trace_at(g, t, target);
	const struct insn *last = callee ? &callee->insns[callee->n - 1] : NULL;

	return callee && last->op == OP_RET && last->opsize == 4 && (callee->n <= SHORT || !has_code(g, target));
}

/* MOV r32, [ESP]; RET: how position-independent code learns its address. */
static bool is_thunk(const struct trace *t)
{
	const struct insn *mov = &t->insns[0], *ret = &t->insns[1];

	return t->n == 2 && mov->op == OP_MOV && mov->form == FORM_RM && mov->opsize == 4 && mov->asize == 4 &&
	       mov->seg == SEG_SS && host(mov->base) == GUEST_SP && mov->index == GPR_ZERO && !mov->disp &&
	       host(mov->reg) != GUEST_SP && ret->op == OP_RET && ret->opsize == 4 && !ret->imm;
}

enum { SHORT_LOOP = 24 };

/* A short loop is a block of its own: a jump back from the middle of a longer one would have to give back what was charged for the rest. */
static bool closes_loop(const struct gen *g, const struct insn *in, uint32_t next)
{
	return in->op >= OP_JO && in->op <= OP_JNLE && next + in->imm == g->rip && g->n <= SHORT_LOOP;
}

/* A very short one is there several times: it would be charged for more often than it does anything. */
static void unroll(struct gen *g)
{
	unsigned n = g->n;

	while (!g->crosses && g->n + n <= SHORT_LOOP && g->n + n <= block_max(g)) {
		memcpy(&g->step[g->n], g->step, n * sizeof(*g->step));
		g->n += n;
	}
}

/* A block is a trace, and those that usually run after it, as long as they are on the same page. */
static void choose_steps(struct gen *g, const struct trace *t)
{
	uint32_t rip = g->rip, returns = 0;
	const struct trace *run = t;

	while (run) {
		struct step *last;
		const struct insn *in;

		add_trace(g, run, rip);
		last = &g->step[g->n - 1];
		if (returns && is_thunk(run)) {
			last[-1].thunk = last->thunk = true;
			last[-1].returns = returns;
		}
		in = last->in;
		rip = last->rip + in->len;
		if (stays_in_block(in)) {
			run = known_trace(g, t, rip);
			continue;
		}
		if (in->flags & IF_ENDS && in->opsize != 4 && !repeats(in))
			return;
		if (closes_loop(g, in, rip)) {
			unroll(g);
			return;
		}
		if (in->op >= OP_JO && in->op <= OP_JNLE) {
			rip = likely_way(g, t, rip, rip + in->imm, &last->rare);
		} else if (in->op == OP_JMP && in->form == FORM_I) {
			rip += in->imm;
		} else if (in->op == OP_CALL && in->form == FORM_I && passes_through(g, t, rip + in->imm)) {
			returns = rip;
			run = trace_at(g, t, rip += in->imm);
			continue;
		} else if (in->op == OP_RET && returns) {
			rip = last->returns = returns;
			returns = 0;
		} else if (in->flags & IF_ENDS && !repeats(in)) {
			return;
		}
		run = known_trace(g, t, rip);
	}
}

static bool has_room(const struct xlate *x)
{
	return x->code_at + BLOCK_ROOM <= x->code_end && x->cold_at + BLOCK_ROOM <= x->buf.size &&
	       x->site_count + SITE_ROOM <= SITES && x->page_count + 2 + FOREIGN_MAX <= PAGES &&
	       x->dependent_count + FOREIGN_MAX <= DEPENDENTS && hardfault_has_room(&x->faults, BLOCK_MAX_INSNS);
}

static uint32_t make_code(struct xlate *x, const struct trace *t, bool careful)
{
	struct vcpu *c = x->c;
	uint32_t rip = (uint32_t)c->rip, lin = rip & (uint32_t)PAGE_MASK;
	struct gen *g = &x->gen;
	struct page *p, *second = NULL;

	if (!has_room(x)) {
		code_flush(x);
		return 0;
	}
	p = page_get(x, t->gpa & PAGE_MASK, lin, c->mode);
	g->x = x;
	g->thunk = x->thunk;
	g->frame = (uint32_t)(uintptr_t)x->frame;
	g->rip = rip;
	g->context = c->mmu.context;
	g->careful = careful;
	g->windowed = p->windowed && !careful;
	g->crosses = t->gpa2 != NO_PAGE;
	g->foreigns = 0;
	if (g->crosses) {
		second = page_get(x, t->gpa2, lin + PAGE_SIZE, c->mode);
		if (p->losses >= LOSSES_MAX || !second->lin ||
		    !foreign_add(g, second)) /* none at the end of the address space */
			return 0;
		page_appear(x, second);
	}
	g->entries = p->entries;
	g->ending = g->aside = false;
	g->n = g->pendings = g->hopped = g->fars = g->stubs = g->accesses = g->touches = 0;
	g->e = (struct emit){
		.bytes = x->buf.write + x->code_at + HEAD_ROOM,
		.code = (uint32_t)(uintptr_t)x->buf.exec + x->code_at + HEAD_ROOM,
		.size = BLOCK_ROOM - HEAD_ROOM,
	};
	g->cold = (struct emit){
		.bytes = x->buf.write + x->cold_at,
		.code = (uint32_t)(uintptr_t)x->buf.exec + x->cold_at,
		.size = BLOCK_ROOM,
	};
	g->code = g->e.code;
	choose_steps(g, t);
	memcpy(g->e.bytes - sizeof(uint32_t), &g->n, sizeof(uint32_t));
	gen_block(g);
	BUG_ON(g->e.full || g->hot.full);
	x->code_at += HEAD_ROOM + g->hot.at;
	x->cold_at += g->e.at;
	x->blocks++;
	if (careful) {
		page_get(x, t->gpa & PAGE_MASK, lin, c->mode | CAREFUL)->entries[rip & (PAGE_SIZE - 1)] = g->code;
	} else {
		p->entries[rip & (PAGE_SIZE - 1)] = g->code;
		page_appear(x, p);
	}
	for (unsigned i = 0; i < g->foreigns; i++) {
		if (g->foreign[i].used)
			page_add_dependent(x, g->foreign[i].page,
			                   (struct dependent){ .owner = p,
			                                       .code = g->code,
			                                       .at = rip & (PAGE_SIZE - 1),
			                                       .dead = g->dead });
	}
	return g->code;
}

uint32_t translate(struct xlate *x, const struct trace *t, bool careful)
{
	struct meter *m = &x->c->meter;
	uint64_t begin = meter_now(m);
	uint32_t code = make_code(x, t, careful);

	m->decode += meter_now(m) - begin;
	return code;
}
