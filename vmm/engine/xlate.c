/*
 * xlate.c - the translator: blocks of host code, how they are found, chained, entered and left.
 *
 * A block begins with a trace (cache.h) that was interpreted HOT times, and goes on with what usually runs next on the same page: along jumps, behind
 * conditional ones, through short functions. Guest registers and flags are the host's own (xlate_gen.h), so most instructions are re-encoded with nothing but
 * their memory operand changed. A block of
 *
 *     c0100000: mov eax, [ebx+8]      c0100003: add eax, ecx      c0100005: jz c0100020      c0100007: inc esi      c0100008: jmp c0100000
 *
 * becomes
 *
 *     head:  lea r11, [r11+5]               charge five instructions
 *            shrx rcx, r11, r15             0 only when that is more than the budget has left
 *            jrcxz  over                    -> state as before the block, back to the run loop, which cuts the tail to size
 *            lea r8d, [rbx+8]               effective address
 *            rorx r9d, r8d, 2               page number, with the bits that must be 0 in an aligned address above it:
 *            shrx r9d, r9d, r14d            misaligned indexes a part of the table that is always 0
 *            mov rcx, [r15+r9*8+FLAT_READ]  what to add to get the host address; 0: the slow way
 *            jrcxz  slow                    -> misaligned inside a page: back here with rcx; else the interpreter's handler, then after the access
 *            mov eax, [rcx+r8]
 *            add eax, r12d
 *            jz exit
 *            inc esi
 *            jmp head                       a jump within the page, patched when its target was translated
 *     exit:  lea r11, [r11-2]               two of the five did not run
 *            jmp c0100020's code
 *
 * Nothing between the instructions of the guest changes the host's arithmetic flags: LEA, MOV, SHRX, RORX, PEXT and JRCXZ do not. Accesses near each other share a
 * check: xlate_mem.c. What a JRCXZ leads to lies in another part of the buffer, so that what runs lies close together.
 *
 * User code that is worth it does without checks: `mov eax, gs:[ebx+8]`, where GS is the window (vmm/mem/window.h) and the host's MMU does the rest. It faults
 * where the window is shut, and goes on as the slow way does, once the window is opened or the handler has run. A fault costs much, so worth it are the
 * pages of code in which time slices of the run end often, until they cause too many faults (sample(), charge()).
 *
 * Invariants
 *  1. Code is found by (physical page, linear page, mode) and offset, so constants may be linear addresses. FLAT_JUMP has the page's table of entries while
 *     the page's translation lasts, in the mode that is in force (see enter_mode()); nothing but that reaches another page's code.
 *  2. Blocks jump directly to blocks of the same page only. A page's code goes all at once (cache_code_written), and no translated code runs at
 *     that moment: so no jump needs to be undone. Code memory is used again only after a flush of everything.
 *  3. Translated code runs only with a flat 32-bit CS, SS, DS and ES. FS and GS are looked at by each access.
 *  4. Whatever is not inline is the interpreter's handler, called with the state as for a trace of one instruction: registers, lazy flags, rip and
 *     icount in the vcpu. So a handler may leave by vcpu_raise() as from any trace.
 *  5. An inline instruction changes nothing before all of its checks have passed; a failing check leaves the whole instruction to its handler.
 *  6. Single steps, the guest's breakpoints, alignment checks: never here, the run loop interprets. Where a debugger's breakpoints may be (watch_cuts())
 *     no block begins nor goes on, so every way there leads back to the run loop, which asks. Watched pages are not in the tables: an access to one is
 *     slow, and its handler leaves as it does from any trace.
 *  7. A careful block has no shared checks. It takes over in the middle of a block whose shared check failed, and leads back to the others.
 *  8. A call puts its way back on the stack of translated code (struct calls) only if the guest's return is to take it; a call that the block goes
 *     through puts nothing there, and its return is in the block. The stack is good while no translation goes: check_calls() before code goes on.
 *  9. A block whose first instruction lies across the page's end looks first whether the next page's table of entries is the one of the page it was made from
 *     (gen_cross()), and dies when that is written to.
 * 10. An instruction that goes through the window changes nothing before its last access to memory, so it can be run again from its beginning, by its own
 *     code or by the handler.
 * 11. Progress: whoever goes back to the run loop without having run an instruction declines the next trace, which is then interpreted.
 *
 * Called by interp.c.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/cpu/watch.h"
#include "vmm/engine/codebuf.h"
#include "vmm/engine/fpu.h"
#include "vmm/engine/hardfault.h"
#include "vmm/engine/ops.h"
#include "vmm/engine/xlate_gen.h"

#define HOT 16
#define CODE_SIZE (48ull << 20)
#define COLD_START (20u << 20)                    /* from here on, in the buffer: what blocks seldom run */
#define BLOCK_ROOM (BLOCK_MAX_INSNS * 192u + 256) /* no block is longer */
#define SITES (1u << 19)
#define SITE_ROOM BLOCK_MAX_INSNS
#define PAGES 4096u /* code pages, each with 16 KiB of entries */
#define PAGE_HASH 4096u
#define FULL_SEGMENT (1ull << 32)
#define CAREFUL 0x80u /* with a page's mode: its careful blocks; no MODE_* key has this bit */
_Static_assert(CAREFUL == MODE_KEYS, "no key of the mode");

/* Slices that end in a page before its code goes through the window, and what a window fault costs, in slices: one takes some 50 microseconds, of which the window
 * saves a third; a fault takes 25. */
enum { FIRST_SAMPLES = 32, CREDIT_MAX = 512, FAULT_COST = 1 };

struct page {
	uint64_t gpa;
	uint32_t lin;
	uint8_t mode;
	bool windowed;                    /* blocks go through the window */
	uint16_t samples, samples_wanted; /* slices that ended here, and how many make it worth that */
	int32_t credit;                   /* slices that its window faults may still cost */
	/* Of the block that is an instruction across the page's end: its code (0: there is none), offset, where its head is to jump when it dies, the page that
	 * the instruction ends on, and how often that was another one. The other page knows whose instruction that is. */
	uint32_t cross_code, cross_at, cross_dead;
	struct page *second, *first;
	unsigned cross_losses;
	struct page *hash_next; /* same hash of gpa */
	uint32_t *entries;      /* code address by offset, 0 none */
};

struct xlate {
	/* generated code knows the places of these */
	uint8_t *flat;  /* r15 */
	uint64_t span;  /* r10 */
	int64_t budget; /* r11 */
	uint32_t flags; /* as LAHF and SETO leave AX */

	struct vcpu *c;
	struct cache *cache;
	struct codebuf buf;
	struct trace_scratch alone;
	struct site *sites; /* [0] is never used */
	uint32_t site_count;
	struct page *pages;
	uint32_t page_count;
	uint32_t *entries;
	struct page *hash[PAGE_HASH];
	uint32_t thunk[THUNKS];
	uint32_t enter, leave;
	uint32_t code_start, code_at, cold_at; /* offsets into the buffer */
	struct low *low;
	struct frame *frame; /* in low */
	struct calls *calls; /* in low, of the present context */
	uint64_t slice_end;  /* icount up to which a budget was given */
	uint64_t sample_at; /* icount at which a slice ends, and whoever runs is noted: however often the run loop is entered meanwhile */
	uint16_t jump_mode[2]; /* mode whose entries FLAT_JUMP has, by context; 0x100: none */
	unsigned hot;
	bool hard; /* privileged instructions really fault */
	enum xlate_windows windows;
	struct hardfaults faults;
	uint32_t code_end; /* offset beyond which no block reaches */
	uint64_t left_out; /* EIP; none is so great: UINT64_MAX */
	bool decline;      /* the trace at rip is to be interpreted once */
	uint64_t blocks, flushes;
	struct gen gen; /* of the block being translated */
};

typedef void enter_fn(struct vcpu *c, struct xlate *x, uint32_t code);

/* ---- pages ---- */

static unsigned page_hash(uint64_t gpa)
{
	return (gpa >> PAGE_SHIFT) % PAGE_HASH;
}

static struct page *find_page(struct xlate *x, uint64_t gpa, uint32_t lin, uint8_t mode)
{
	struct page *p = x->hash[page_hash(gpa)];

	while (p && !(p->gpa == gpa && p->lin == lin && p->mode == mode))
		p = p->hash_next;
	return p;
}

static struct page *make_page(struct xlate *x, uint64_t gpa, uint32_t lin, uint8_t mode)
{
	struct page **bucket = &x->hash[page_hash(gpa)];
	struct page *p = &x->pages[x->page_count];

	*p = (struct page){
		.gpa = gpa,
		.lin = lin,
		.mode = mode,
		.windowed = x->windows == WINDOWS_ALWAYS && (mode & MODE_USER) && x->c->mmu.window.base,
		.samples_wanted = FIRST_SAMPLES,
		.credit = CREDIT_MAX,
		.hash_next = *bucket,
		.entries = x->entries + (size_t)x->page_count * PAGE_SIZE,
	};
	x->page_count++;
	*bucket = p;
	return p;
}

/* The word that makes [word + 4 * linear address] the entry. */
static uint64_t page_word(const struct page *p)
{
	return (uintptr_t)p->entries - 4ull * p->lin;
}

static uint32_t entry_at(uint64_t word, uint32_t lin)
{
	return word ? *(const uint32_t *)(uintptr_t)(word + 4ull * lin) : 0;
}

static void aim_patch(struct xlate *x, uint32_t jump, uint32_t code)
{
	uint32_t rel = code - (jump + 4);

	memcpy(x->buf.write + (jump - (uint32_t)(uintptr_t)x->buf.exec), &rel, sizeof(rel));
}

/* Whoever comes to a block goes elsewhere from now on. */
static void behead(struct xlate *x, uint32_t code, uint32_t to)
{
	x->buf.write[code - (uint32_t)(uintptr_t)x->buf.exec] = 0xe9; /* jmp */
	aim_patch(x, code + 1, to);
}

static void forget_crossing(struct page *p)
{
	if (!p->cross_code)
		return;
	p->entries[p->cross_at] = 0;
	p->cross_code = 0;
	p->second->first = NULL;
	p->second = NULL;
}

/* The instruction across p's end is not what it was. */
static void kill_crossing(struct xlate *x, struct page *p)
{
	behead(x, p->cross_code, p->cross_dead);
	forget_crossing(p);
}

static void page_written(void *self, uint64_t gpa)
{
	struct xlate *x = self;

	for (struct page *p = x->hash[page_hash(gpa)]; p; p = p->hash_next) {
		if (p->gpa != gpa)
			continue;
		forget_crossing(p);
		p->cross_losses = 0;
		memset(p->entries, 0, PAGE_SIZE * sizeof(*p->entries));
		if (p->first)
			kill_crossing(x, p->first);
	}
}

static void drop_jumps(struct xlate *x)
{
	mmu_flat_drop_jumps(&x->c->mmu, MMU_SUPERVISOR);
	mmu_flat_drop_jumps(&x->c->mmu, MMU_USER);
}

static uint64_t calls_bottom(const struct calls *k)
{
	return (uintptr_t)k->words + CALLS_SIZE - CALL_SIZE;
}

/* No call may be returned from as if nothing had happened. */
static void reset_calls(struct xlate *x)
{
	struct calls *k = x->calls;

	k->words[CALLS_SIZE / 8 - 2] = x->thunk[THUNK_RETURN + x->c->mmu.context];
	k->generation = cache_generation(x->cache);
	k->mode = x->c->mode;
	x->frame->calls_sp = calls_bottom(k);
}

/* Before translated code goes on: it makes at most SLICE calls before it asks again. */
static void check_calls(struct xlate *x)
{
	enum { MARGIN = 1 << 16 }; /* signals of the host, and what else it may need a stack for */
	const struct calls *k = x->calls;

	if (unlikely(k->generation != cache_generation(x->cache) || k->mode != x->c->mode ||
	             x->frame->calls_sp - (uintptr_t)k->words < SLICE * CALL_SIZE + MARGIN))
		reset_calls(x);
}

/* The calls that were made in this context when it last ran. */
static void choose_calls(struct xlate *x)
{
	struct calls *k = &x->low->calls[x->c->mmu.context];

	if (x->calls == k)
		return;
	x->calls->sp = x->frame->calls_sp;
	x->frame->calls_sp = k->sp;
	x->calls = k;
}

/* Everything goes. Not from inside a block: its code stays readable, but must not be resumed. */
static void flush(void *self)
{
	struct xlate *x = self;

	drop_jumps(x);
	x->low->calls[0].generation = x->low->calls[1].generation = 0; /* no generation is */
	memset(x->hash, 0, sizeof(x->hash));
	madvise(x->entries, (size_t)x->page_count * PAGE_SIZE * sizeof(*x->entries), MADV_DONTNEED);
	x->page_count = 0;
	x->site_count = 1;
	x->code_at = x->code_start;
	x->cold_at = COLD_START;
	x->faults.count = 0;
	x->flushes++;
}

/* ---- when translated code may run ---- */

static bool covers_all(const struct segment *s, bool write)
{
	return s->base == 0 && s->rlimit == FULL_SEGMENT && (!write || s->wlimit == FULL_SEGMENT);
}

static bool flat(const struct vcpu *c)
{
	return covers_all(&c->seg[SEG_CS], false) && covers_all(&c->seg[SEG_SS], true) &&
	       covers_all(&c->seg[SEG_DS], true) && covers_all(&c->seg[SEG_ES], true);
}

static bool may_run(const struct vcpu *c)
{
	return (c->mode & (MODE_CS32 | MODE_SS32 | MODE_VM)) == (MODE_CS32 | MODE_SS32) && !c->mmu.all_slow && flat(c);
}

static void describe(const struct segment *s, uint64_t *ok, uint64_t *base)
{
	*ok = s->rlimit == FULL_SEGMENT && s->wlimit == FULL_SEGMENT && !(s->base & 15);
	*base = s->base;
}

static void describe_segments(const struct vcpu *c, struct frame *f)
{
	describe(&c->seg[SEG_FS], &f->fs_ok, &f->fs_base);
	describe(&c->seg[SEG_GS], &f->gs_ok, &f->gs_base);
}

/* What inline code asks about the rest of the state, after anything else ran. */
static void describe_state(struct vcpu *c, struct frame *f)
{
	f->forwards = !(c->eflags & FL_DF);
	f->x87_ok = c->fpu.live && x87_all_masked(c) && !(c->cr0 & (CR0_EM | CR0_TS));
	f->sse_ok = !(c->cr0 & (CR0_EM | CR0_TS)) && (c->cr4 & CR4_OSFXSR);
}

/* Last instruction and operand pointers of what ran inline, as the interpreter's handlers note them. */
static void note_x87(struct xlate *x)
{
	struct frame *f = x->frame;
	struct vcpu *c = x->c;
	const struct site *s = &x->sites[f->x87_last];
	unsigned seg;

	if (likely(!f->x87_last))
		return;
	FX16(c, FX_FOP) = s->in.imm2;
	FX32(c, FX_FIP) = s->rip;
	FX16(c, FX_FCS) = c->seg[SEG_CS].guest_sel;
	f->x87_last = 0;
	if (!f->x87_last_mem)
		return;
	seg = x->sites[f->x87_last_mem].in.seg;
	FX32(c, FX_FDP) = f->x87_last_ea;
	FX16(c, FX_FDS) = seg == SEG_CS || seg == SEG_SS ? c->seg[seg].guest_sel : c->seg[seg].sel;
	f->x87_last_mem = 0;
}

static void enter_mode(struct xlate *x)
{
	struct vcpu *c = x->c;

	if (likely(x->jump_mode[c->mmu.context] == c->mode))
		return;
	mmu_flat_drop_jumps(&c->mmu, c->mmu.context);
	x->jump_mode[c->mmu.context] = c->mode;
}

/* ---- translation ---- */

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
		.left = (uint16_t)(g->n - g->k),
		.class = (uint16_t)op_class(in->op),
		.owed = g->owed,
	};
	s->in.off = 0;
	return g->site;
}

enum { TO_THUNK = 10 };

/* With the address of what comes behind it in rcx. No call: the processor would expect a return. */
static void emit_to_thunk(struct emit *e, uint32_t thunk)
{
	emit_mov_imm(e, RCX, emit_here(e) + TO_THUNK);
	emit_jmp(e, thunk);
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

static void gen_refund(struct gen *g, unsigned insns)
{
	if (insns)
		emit_rm(&g->e, 8, 0x8d, R11, at_base(R11, -(int32_t)insns));
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
		return;
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

enum { REACH = 127, GOTO_ROOM = 40 };

static bool is_fpu(const struct insn *in)
{
	return in->op >= OP_FPU_BASE;
}

/* REP MOVS, REP STOS */
static bool repeats(const struct insn *in)
{
	return (in->op == OP_MOVS || in->op == OP_STOS) && in->flags & (IF_REP | IF_REPNE);
}

/* No instruction's code is longer. */
static unsigned insn_room(const struct insn *in)
{
	bool divides = in->op == OP_DIV || in->op == OP_IDIV;
	bool twice = (in->flags & IF_MEM) && (in->seg >= SEG_FS || in->op == OP_PUSH);

	if (in->op == OP_CALL)
		return 180;
	if (repeats(in))
		return 290;
	return is_fpu(in) || (in->op >= OP_MOVS && in->op <= OP_SCAS) || in->flags & IF_ENDS || twice || divides ? 140
	                                                                                                         : 80;
}

void gen_keep_reach(struct gen *g, unsigned room)
{
	if (!g->surveying && g->hopped < g->pendings && g->e.at - g->pending[g->hopped].jump + room + 4 > REACH)
		gen_hops_aside(g);
}

static bool same_page(const struct gen *g, uint32_t target)
{
	return (target ^ g->rip) >> PAGE_SHIFT == 0;
}

struct lookup {
	uint32_t no_page, no_entry, known;
};

/* rcx becomes the code of r8d, and is used before emit_absent(). */
static struct lookup emit_lookup(struct emit *e, unsigned ctx)
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
static void emit_absent(struct emit *e, const struct lookup *l, uint32_t absent)
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
static void gen_exit(struct gen *g, struct goto_stub *s)
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

static void gen_link(struct gen *g, const struct goto_stub *s)
{
	if (!s->jump)
		return;
	emit_aim32(&g->hot, s->jump, emit_here(&g->e));
	emit_to_thunk(&g->e, g->thunk[THUNK_LINK]);
	emit_u32(&g->e, s->target);
	emit_u32(&g->e, g->hot.code + s->jump);
}

/* Before a block: where its budget is too small, and in the last 4 bytes its number of instructions. */
enum { HEAD_ROOM = 16, HEAD_HOP = 9, JUMP_LENGTH = 5 };

static void gen_head(struct gen *g)
{
	struct emit *e = &g->e;
	uint32_t at;

	emit_rm(e, 8, 0x8d, R11, at_base(R11, (int32_t)g->n));
	emit_shrx(e, true, RCX, R11, SHIFT_12);
	at = emit_jrcxz(e);
	e->bytes[at] = (uint8_t)(0x100 - (at + 1 + HEAD_HOP));
}

/* What that leads to: a jump before the block. */
static void gen_over(struct gen *g)
{
	struct emit hop = { .bytes = g->hot.bytes - HEAD_HOP, .code = g->hot.code - HEAD_HOP, .size = JUMP_LENGTH };

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

/* Where the head of a block that crosses leads once that is dead. */
static void gen_dead(struct gen *g)
{
	g->dead = emit_here(&g->e);
	emit_to_thunk(&g->e, g->thunk[THUNK_LINK]);
	emit_u32(&g->e, g->rip);
	emit_u32(&g->e, g->code + 1);
}

/* What seldom runs goes elsewhere, so that what does lies close together. */
static void gen_end(struct gen *g)
{
	gen_hops(g);
	for (unsigned i = 0; i < g->stubs; i++)
		gen_exit(g, &g->stub[i]);
	g->hot = g->e;
	g->e = g->cold;
	gen_over(g);
	for (unsigned i = 0; i < g->pendings; i++) {
		emit_aim32(&g->hot, g->pending[i].hop, emit_here(&g->e));
		gen_cold(g, &g->pending[i]);
	}
	for (unsigned i = 0; i < g->fars; i++) {
		emit_aim32(&g->hot, g->far[i].hop, emit_here(&g->e));
		gen_cold(g, &g->far[i]);
	}
	for (unsigned i = 0; i < g->stubs; i++)
		gen_link(g, &g->stub[i]);
	for (unsigned i = 0; i < g->touches; i++)
		gen_touch(g, &g->touch[i]);
	if (g->crosses)
		gen_dead(g);
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
	unsigned ctx = (unsigned)g->context;
	uint32_t next = (g->rip >> PAGE_SHIFT) + 1, same;

	emit_rm(e, 4, 0x8b, RCX, at_base(R15, FLAT_AT(ctx, FLAT_JUMP(ctx) + (uint64_t)next * 8)));
	emit_rm(e, 4, 0x8d, RCX, at_base(RCX, (int32_t)-g->second));
	same = emit_jrcxz(e);
	gen_pend_far(g, (struct pending){ .kind = PENDING_CROSS, .left = (uint8_t)g->n, .hop = emit_jmp_near(e) });
	emit_land8(e, same);
}

/* May ESP be other than r13 while it runs? */
static bool may_owe(const struct insn *in)
{
	bool reg_but_sp = in->form == FORM_R && host(in->rm) != GUEST_SP;

	if (in->opsize != 4)
		return false;
	return (in->op == OP_PUSH && (in->form == FORM_I || reg_but_sp)) || (in->op == OP_POP && reg_but_sp) ||
	       in->op == OP_RET;
}

/* What was seen to hold; a handler may change it. */
static void forget_known(struct gen *g)
{
	g->x87_known = g->sse_known = g->segment_known[0] = g->segment_known[1] = false;
}

/* Each instruction in turn. The survey does the same, and emits nothing. */
static void gen_steps(struct gen *g)
{
	bool inlined;
	uint32_t start;

	forget_known(g);
	g->owed = 0;
	for (g->k = 0; g->k < g->n; g->k++) {
		const struct insn *in = g->step[g->k].in;

		g->at = g->step[g->k].rip;
		g->site = 0;
		g->touching = false;
		if (!may_owe(in))
			gen_settle(g);
		gen_keep_reach(g, insn_room(in));
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
	if (!(last->in->flags & IF_ENDS)) {
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
		g->step[g->n++] = (struct step){ &t->insns[i], rip + t->insns[i].off };
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

/* The trace at rip, when it is in the page of the block t begins and has run. */
static struct trace *known_trace(const struct gen *g, const struct trace *t, uint32_t rip)
{
	struct trace *next;

	if (!same_page(g, rip) || watch_cuts(g->x->c, rip))
		return NULL;
	next = cache_known(g->x->cache, (t->gpa & PAGE_MASK) | (rip & (PAGE_SIZE - 1)), g->x->hot == 0 ? rip : 0);
	return next && g->n + next->n <= block_max(g) && !in_block(g, rip) && !g->entries[rip & (PAGE_SIZE - 1)] ? next
	                                                                                                         : NULL;
}

/* Of the two ways a Jcc can go: the one that ran more, the next instruction when they ran the same. */
static uint32_t likely_way(const struct gen *g, const struct trace *t, uint32_t next, uint32_t target)
{
	const struct trace *a = known_trace(g, t, next), *b = known_trace(g, t, target);

	return b && (!a || b->hits > a->hits) ? target : next;
}

/* Is the function at `target` so short that the block can go through it, to `next` behind the jump? Its return has to be in the block too. */
static bool passes_through(const struct gen *g, const struct trace *t, uint32_t target, uint32_t next)
{
	const struct trace *callee = known_trace(g, t, target), *after = known_trace(g, t, next);
	const struct insn *last = callee ? &callee->insns[callee->n - 1] : NULL;

	return callee && after && last->op == OP_RET && last->opsize == 4 && g->n + callee->n + after->n <= block_max(g);
}

/* A short loop is a block of its own: a jump back from the middle of a longer one would have to give back what was charged for the rest. */
static bool closes_loop(const struct gen *g, const struct insn *in, uint32_t next)
{
	enum { SHORT = 24 };

	return in->op >= OP_JO && in->op <= OP_JNLE && next + in->imm == g->rip && g->n <= SHORT;
}

/* A block is a trace, and those that usually run after it, as long as they are on the same page. */
static void choose_steps(struct gen *g, const struct trace *t)
{
	uint32_t rip = g->rip, returns = 0;
	const struct trace *run = t;

	while (run) {
		const struct step *last;
		const struct insn *in;

		add_trace(g, run, rip);
		last = &g->step[g->n - 1];
		in = last->in;
		rip = last->rip + in->len;
		if (in->flags & IF_ENDS && in->opsize != 4 && !repeats(in))
			return;
		if (closes_loop(g, in, rip))
			return;
		if (in->op >= OP_JO && in->op <= OP_JNLE) {
			rip = likely_way(g, t, rip, rip + in->imm);
		} else if (in->op == OP_JMP && in->form == FORM_I) {
			rip += in->imm;
		} else if (in->op == OP_CALL && in->form == FORM_I && passes_through(g, t, rip + in->imm, rip)) {
			returns = rip;
			rip += in->imm;
		} else if (in->op == OP_RET && returns) {
			rip = returns;
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
	       x->site_count + SITE_ROOM <= SITES && x->page_count + 3 <= PAGES &&
	       hardfault_has_room(&x->faults, BLOCK_MAX_INSNS);
}

static struct page *page_of(struct xlate *x, uint64_t gpa, uint32_t lin, uint8_t mode)
{
	struct page *p = find_page(x, gpa, lin, mode);

	return p ? p : make_page(x, gpa, lin, mode);
}

enum { CROSS_LOSSES_MAX = 100 };

/* One instruction each; none at the end of the address space; none where the next page keeps changing. */
static bool may_cross(const struct page *p, const struct page *second)
{
	return !p->cross_code && !second->first && second->lin && (uint32_t)page_word(second) &&
	       p->cross_losses < CROSS_LOSSES_MAX;
}

/* Translate t at the vCPU's rip. 0 when it cannot be now. */
static uint32_t make_code(struct xlate *x, const struct trace *t, bool careful)
{
	struct vcpu *c = x->c;
	uint32_t rip = (uint32_t)c->rip, lin = rip & (uint32_t)PAGE_MASK;
	struct gen *g = &x->gen;
	struct page *p, *second = NULL;

	if (!has_room(x)) {
		flush(x);
		return 0;
	}
	p = page_of(x, t->gpa & PAGE_MASK, lin, c->mode);
	g->x = x;
	g->thunk = x->thunk;
	g->frame = (uint32_t)(uintptr_t)x->frame;
	g->rip = rip;
	g->context = c->mmu.context;
	g->careful = careful;
	g->windowed = p->windowed && !careful;
	g->crosses = t->gpa2 != NO_PAGE;
	if (g->crosses) {
		second = page_of(x, t->gpa2, lin + PAGE_SIZE, c->mode);
		if (!may_cross(p, second))
			return 0;
		g->second = (uint32_t)page_word(second);
		mmu_flat_set_jump(&c->mmu, second->lin, page_word(second));
	}
	g->entries = p->entries;
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
	x->code_at += HEAD_ROOM + ((g->hot.at + 15) & ~15u);
	x->cold_at += g->e.at;
	x->blocks++;
	if (careful) {
		page_of(x, t->gpa & PAGE_MASK, lin, c->mode | CAREFUL)->entries[rip & (PAGE_SIZE - 1)] = g->code;
	} else {
		p->entries[rip & (PAGE_SIZE - 1)] = g->code;
		mmu_flat_set_jump(&c->mmu, lin, page_word(p));
	}
	if (g->crosses) {
		p->cross_code = g->code;
		p->cross_at = rip & (PAGE_SIZE - 1);
		p->cross_dead = g->dead;
		p->second = second;
		second->first = p;
	}
	return g->code;
}

static uint32_t translate(struct xlate *x, const struct trace *t, bool careful)
{
	struct meter *m = &x->c->meter;
	uint64_t begin = meter_now(m);
	uint32_t code = make_code(x, t, careful);

	m->decode += meter_now(m) - begin;
	return code;
}

/* ---- from one block to the next ---- */

/* Has it an instruction that is meant to fault, so that it is to be translated at once? */
static bool faults_in(const struct trace *t)
{
	uint8_t code[HARDFAULT_CODE_MAX];

	for (unsigned i = 0; i < t->n; i++) {
		if (hardfault_code(&t->insns[i], code))
			return true;
	}
	return false;
}

/* Code for the trace at rip, when it has some or has become worth it. */
static uint32_t code_for(struct xlate *x, struct trace *t)
{
	struct vcpu *c = x->c;
	uint32_t rip = (uint32_t)c->rip, code;
	uint64_t word = *mmu_flat_word(&c->mmu, FLAT_JUMP((unsigned)c->mmu.context), rip);
	struct page *p;

	code = entry_at(word, rip);
	if (code)
		return code;
	if (t->gpa == NO_PAGE || watch_cuts(c, rip))
		return 0;
	if (!word) { /* the page's translation was gone for a while */
		p = find_page(x, t->gpa & PAGE_MASK, rip & (uint32_t)PAGE_MASK, c->mode);
		if (p) {
			mmu_flat_set_jump(&c->mmu, rip & PAGE_MASK, page_word(p));
			code = p->entries[rip & (PAGE_SIZE - 1)];
			if (code)
				return code;
		}
	}
	if (t->hits < (x->hard && faults_in(t) ? 0 : x->hot)) {
		t->hits++;
		return 0;
	}
	return translate(x, t, false);
}

static uint32_t load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Instructions of a block. */
static uint32_t length_of(uint32_t code)
{
	return load32((const uint8_t *)(uintptr_t)(code - sizeof(uint32_t)));
}

/* Does the budget cover the block? The run loop interprets when not. */
static bool affordable(const struct vcpu *c, uint32_t code)
{
	return length_of(code) <= c->icount_end - c->icount;
}

static void set_budget(struct xlate *x)
{
	struct vcpu *c = x->c;

	if (c->icount >= x->sample_at || x->sample_at - c->icount > SLICE)
		x->sample_at = c->icount + SLICE;
	x->slice_end = c->icount_end < x->sample_at ? c->icount_end : x->sample_at;
	x->budget = (int64_t)(c->icount - x->slice_end) - 1;
}

/* icount when `left` instructions of a charged block are still to run. */
static uint64_t icount_before(const struct xlate *x, int64_t budget, unsigned left)
{
	return x->slice_end + (uint64_t)(budget + 1) - left;
}

/* Into a block, or 0 when there is none or too little budget for it. */
static uint32_t resume_at(struct xlate *x, uint32_t code)
{
	struct vcpu *c = x->c;

	if (!code || !affordable(c, code))
		return 0;
	check_calls(x);
	set_budget(x);
	x->flags = host_flags(c);
	describe_state(c, x->frame);
	return code;
}

/* State is precise in the vcpu: where to go on, or 0 for the run loop. May raise a fetch's fault. */
static uint32_t go_on(struct xlate *x)
{
	struct vcpu *c = x->c;

	if (c->icount >= c->icount_end)
		return 0;
	return resume_at(x, code_for(x, cache_lookup(x->cache)));
}

static uint32_t run_site(struct xlate *x, uint32_t index, int64_t budget)
{
	struct vcpu *c = x->c;
	const struct site *s = &x->sites[index];
	struct insn *in = x->alone.room;
	uint32_t generation = cache_generation(x->cache);

	set_flags_from_host(c, x->flags);
	note_x87(x);
	c->gpr[R_SP] = (uint32_t)(c->gpr[R_SP] + s->owed);
	c->rip = s->rip;
	c->icount = icount_before(x, budget, s->left);
	c->trace = &x->alone.t;
	in[0] = s->in;
	in[1].off = in[0].len;
	if (unlikely(s->class != CLASS_NONE))
		meter_exit(&c->meter);
	in[0].fn(c, in);
	c->ip = NULL;
	c->icount++;
	if (unlikely(s->class != CLASS_NONE)) {
		c->meter.exit_at = 0; /* it goes on after all */
		if (in[0].flags & IF_ENDS)
			return 0;
		if (!flat(c))
			return 0;
		describe_segments(c, x->frame);
	}
	if (in[0].flags & IF_ENDS)
		return go_on(x);
	if (unlikely(generation != cache_generation(x->cache)))
		return 0;
	describe_state(c, x->frame);
	if (unlikely(is_fpu(in) && !(in[0].op >= OP_MOVD ? x->frame->sse_ok : x->frame->x87_ok)))
		return 0; /* what follows in the block may rely on it */
	c->gpr[R_SP] = (uint32_t)(c->gpr[R_SP] - s->still_owed);
	x->budget = budget;
	x->flags = host_flags(c);
	return s->resume;
}

/* What thunks call. `data` is behind the jump, r8 and budget are registers. Returns code to go on at, or 0 to leave. */

static uint32_t on_callout(struct xlate *x, const uint8_t *data, uint32_t r8, int64_t budget)
{
	(void)r8;
	return run_site(x, load32(data), budget);
}

static uint32_t on_fault(struct xlate *x, const uint8_t *data, uint32_t r8, int64_t budget)
{
	struct meter *m = &x->c->meter;

	meter_exit(m);
	m->fault = m->exit_at - (m->on ? x->frame->stamp : 0);
	return on_callout(x, data, r8, budget);
}

static uint32_t on_memory(struct xlate *x, const uint8_t *data, uint32_t r8, int64_t budget)
{
	(void)r8;
	return run_site(x, load32(data + JUMP_LENGTH), budget);
}

/* ---- the window ---- */

/* The page of translated code that rip is in, now. */
static struct page *present_page(struct xlate *x, uint32_t rip)
{
	uint64_t word = *mmu_flat_word(&x->c->mmu, FLAT_JUMP((unsigned)x->c->mmu.context), rip);

	if (!word)
		return NULL;
	return &x->pages[(word + 4ull * (rip & PAGE_MASK) - (uintptr_t)x->entries) / (PAGE_SIZE * sizeof(*x->entries))];
}

enum { RESTART_ROOM = 2 * TO_THUNK + 8 };

static bool can_restart(const struct xlate *x)
{
	return x->cold_at + PAGE_SIZE * RESTART_ROOM <= x->buf.size;
}

/* The page's blocks are translated anew when they next run: what begins one leads to the run loop, and is aimed then. */
static void restart_blocks(struct xlate *x, struct page *p)
{
	for (uint32_t i = 0; i < PAGE_SIZE; i++) {
		uint32_t code = p->entries[i];
		struct emit stub = {
			.bytes = x->buf.write + x->cold_at,
			.code = (uint32_t)(uintptr_t)x->buf.exec + x->cold_at,
			.size = RESTART_ROOM,
		};

		if (!code)
			continue;
		emit_to_thunk(&stub, x->thunk[THUNK_LINK]);
		emit_u32(&stub, p->lin + i);
		emit_u32(&stub, code + 1);
		x->cold_at += stub.at;
		behead(x, code, stub.code);
		p->entries[i] = 0;
	}
	forget_crossing(p);
}

/* A slice ended in user code at rip: is it worth a window? */
static void sample(struct xlate *x, uint32_t rip)
{
	struct page *p = x->windows == WINDOWS_NEVER || !x->c->mmu.window.base || x->c->mmu.context != MMU_USER
	                         ? NULL
	                         : present_page(x, rip);

	if (!p)
		return;
	if (p->windowed) {
		if (p->credit < CREDIT_MAX)
			p->credit++;
		return;
	}
	if (++p->samples < p->samples_wanted)
		return;
	if (!can_restart(x)) {
		flush(x);
		return;
	}
	p->windowed = true;
	p->credit = CREDIT_MAX;
	restart_blocks(x, p);
}

/* A window fault of the code at rip: one too many? Under WINDOWS_ALWAYS the page has its blocks made anew then, as windowed as before. */
static void charge(struct xlate *x, uint32_t rip)
{
	struct page *p = present_page(x, rip);

	if (!p || !p->windowed)
		return;
	p->credit -= FAULT_COST;
	if (p->credit >= 0 || !can_restart(x))
		return;
	p->windowed = x->windows == WINDOWS_ALWAYS;
	p->credit = 2 * FAULT_COST;
	p->samples = 0;
	if (p->samples_wanted < UINT16_MAX / 4)
		p->samples_wanted *= 4;
	restart_blocks(x, p);
}

/* An access found its page shut. It is opened as far as it may be; what that does not permit the handler does. */
static uint32_t on_window(struct xlate *x, const uint8_t *data, uint32_t r8, int64_t budget)
{
	struct mmu *m = &x->c->mmu;
	uint32_t site = load32(data), code;
	uint64_t address = x->faults.address;
	bool write = x->faults.write;

	(void)r8;
	charge(x, x->sites[site].rip);
	if (address < WINDOW_SIZE && mmu_window_open(m, address, write)) {
		x->budget = budget;
		return load32(data + 4);
	}
	code = run_site(x, site, budget);
	if (address < WINDOW_SIZE && m->context == MMU_USER)
		mmu_window_open(m, address, write);
	return code;
}

static uint32_t on_head(struct xlate *x, const uint8_t *data, uint32_t r8, int64_t budget)
{
	struct vcpu *c = x->c;

	(void)r8;
	set_flags_from_host(c, x->flags);
	note_x87(x);
	c->rip = load32(data);
	c->icount = icount_before(x, budget, load32(data + 4));
	if (c->icount_end - c->icount >= load32(data + 4)) {
		sample(x, (uint32_t)c->rip); /* only the slice is used up */
		x->sample_at = 0;
		return go_on(x);
	}
	x->decline = true; /* a block from here may be covered that only leads to this one again */
	return 0;
}

static uint32_t on_miss(struct xlate *x, const uint8_t *data, uint32_t r8, int64_t budget)
{
	struct vcpu *c = x->c;

	(void)data;
	set_flags_from_host(c, x->flags);
	note_x87(x);
	c->rip = r8;
	c->icount = icount_before(x, budget, 0);
	return go_on(x);
}

/* The careful block at rip, when there is one or it has become worth it. */
static uint32_t careful_code(struct xlate *x, struct trace *t)
{
	struct vcpu *c = x->c;
	uint32_t rip = (uint32_t)c->rip, code;
	struct page *p;

	if (t->gpa == NO_PAGE || t->gpa2 != NO_PAGE || watch_cuts(c, rip))
		return 0;
	p = find_page(x, t->gpa & PAGE_MASK, rip & (uint32_t)PAGE_MASK, c->mode | CAREFUL);
	code = p ? p->entries[rip & (PAGE_SIZE - 1)] : 0;
	if (code)
		return code;
	if (t->careful_hits < x->hot) {
		t->careful_hits++;
		return 0;
	}
	return translate(x, t, true);
}

/* A span is not what a block wants of it: a page is not in the table yet, or the span is on two, or may not be written to. */
static uint32_t on_careful(struct xlate *x, const uint8_t *data, uint32_t r8, int64_t budget)
{
	struct vcpu *c = x->c;
	uint32_t jump = (uint32_t)(uintptr_t)data - TO_THUNK - 4, flushes = (uint32_t)x->flushes, code, entered;

	(void)r8;
	set_flags_from_host(c, x->flags);
	note_x87(x);
	c->rip = x->sites[load32(data)].rip;
	c->icount = icount_before(x, budget, 0);
	code = careful_code(x, cache_lookup(x->cache));
	entered = resume_at(x, code);
	if (code && flushes == (uint32_t)x->flushes)
		aim_patch(x, jump, code);
	x->decline = !entered;
	return entered;
}

/* The next page's translation was gone for a while, or it is another page now. */
static uint32_t on_cross(struct xlate *x, const uint8_t *data, uint32_t r8, int64_t budget)
{
	struct vcpu *c = x->c;
	const struct trace *t;
	struct page *p;

	(void)r8;
	set_flags_from_host(c, x->flags);
	note_x87(x);
	c->rip = load32(data);
	c->icount = icount_before(x, budget, 0);
	t = cache_lookup(x->cache);
	p = present_page(x, (uint32_t)c->rip);
	x->decline = true; /* unless the block can go on */
	if (!p || !p->cross_code || p->cross_at != (c->rip & (PAGE_SIZE - 1)) || t->gpa2 == NO_PAGE)
		return 0;
	if (t->gpa2 != p->second->gpa) {
		p->cross_losses++;
		kill_crossing(x, p);
		return 0;
	}
	mmu_flat_set_jump(&c->mmu, p->second->lin, page_word(p->second));
	x->decline = false;
	return resume_at(x, p->cross_code);
}

static uint32_t on_link(struct xlate *x, const uint8_t *data, uint32_t r8, int64_t budget)
{
	uint32_t target = load32(data), jump = load32(data + 4), flushes, code;

	(void)r8;
	flushes = (uint32_t)x->flushes;
	code = on_miss(x, data, target, budget);
	if (code && flushes == (uint32_t)x->flushes)
		aim_patch(x, jump, code);
	return code;
}

/* ---- thunks ---- */

typedef uint32_t handler_fn(struct xlate *x, const uint8_t *data, uint32_t r8, int64_t budget);

static const uint8_t guest_regs[8] = { RAX, GUEST_CX, RDX, RBX, GUEST_SP, RBP, RSI, RDI };

static int32_t gpr_offset(unsigned i)
{
	return (int32_t)(offsetof(struct vcpu, gpr) + 8 * i);
}

/* rdi: vcpu, rsi: xlate, ecx: code */
static void gen_reload(struct emit *e)
{
	emit_rm(e, 8, 0x8b, RAX, at_base(RSI, offsetof(struct xlate, frame)));
	emit_rm(e, 8, 0x8b, RSP, at_base(RAX, offsetof(struct frame, calls_sp)));
	emit_rm(e, 8, 0x8b, R15, at_base(RSI, offsetof(struct xlate, flat)));
	emit_rm(e, 8, 0x8b, R11, at_base(RSI, offsetof(struct xlate, budget)));
	emit_rm(e, 8, 0x8b, SPAN_HOME, at_base(RSI, offsetof(struct xlate, span)));
	emit_mov_imm(e, SHIFT_10, 10);
	emit_rm(e, 4, 0x8b, RAX, at_base(RSI, offsetof(struct xlate, flags)));
	emit_bytes(e, "\x04\x7f\x9e", 3); /* add al, 0x7f; sahf */
	for (unsigned i = 0; i < 8; i++)  /* EDI last: it is the vcpu */
		emit_rm(e, 4, 0x8b, guest_regs[i], at_base(RDI, gpr_offset(i)));
	emit_jmp_reg(e, RCX);
}

static const uint8_t saved_regs[6] = { RBX, RBP, R12, R13, R14, R15 };

/* void enter(vcpu, xlate, code); returns where reload begins */
static uint32_t gen_enter(struct emit *e)
{
	uint32_t reload;

	for (unsigned i = 0; i < 6; i++) {
		if (saved_regs[i] >= R8)
			emit_u8(e, 0x41);
		emit_u8(e, 0x50 | (saved_regs[i] & 7));
	}
	emit_bytes(e, "\x48\x83\xec\x08", 4); /* sub rsp, 8: aligned for whom thunks call */
	emit_rm(e, 8, 0x8b, RAX, at_base(RSI, offsetof(struct xlate, frame)));
	emit_rm(e, 8, 0x89, RSP, at_base(RAX, offsetof(struct frame, host_sp)));
	emit_mov(e, RCX, RDX);
	reload = emit_here(e);
	gen_reload(e);
	return reload;
}

static void gen_leave(struct emit *e)
{
	emit_bytes(e, "\x48\x83\xc4\x08", 4); /* add rsp, 8 */
	for (unsigned i = 6; i-- > 0;) {
		if (saved_regs[i] >= R8)
			emit_u8(e, 0x41);
		emit_u8(e, 0x58 | (saved_regs[i] & 7));
	}
	emit_u8(e, 0xc3);
}

static uint32_t gen_thunk(struct emit *e, handler_fn *fn, uint32_t frame, uint32_t reload, uint32_t leave)
{
	struct operand c = at_index(NO_REG, NO_REG, 0, (int32_t)(frame + offsetof(struct frame, c)));
	struct operand x = at_index(NO_REG, NO_REG, 0, (int32_t)(frame + offsetof(struct frame, x)));
	struct operand host_sp = at_index(NO_REG, NO_REG, 0, (int32_t)(frame + offsetof(struct frame, host_sp)));
	struct operand calls_sp = at_index(NO_REG, NO_REG, 0, (int32_t)(frame + offsetof(struct frame, calls_sp)));
	uint32_t start = emit_here(e);

	emit_rm(e, 8, 0x89, RSP, calls_sp);
	emit_rm(e, 8, 0x8b, RSP, host_sp);
	emit_rm(e, 8, 0x8b, R9, c);
	for (unsigned i = 0; i < 8; i++)
		emit_rm(e, 4, 0x89, guest_regs[i], at_base(R9, gpr_offset(i)));
	emit_bytes(e, "\x0f\x90\xc0\x9f", 4); /* seto al; lahf */
	emit_bytes(e, "\x0f\xb7\xc0", 3);     /* movzx eax, ax */
	emit_rm(e, 8, 0x8b, RDI, x);
	emit_rm(e, 4, 0x89, RAX, at_base(RDI, offsetof(struct xlate, flags)));
	emit_rm(e, 8, 0x89, SPAN_HOME, at_base(RDI, offsetof(struct xlate, span)));
	emit_rr(e, 8, 0x8b, RSI, RCX);
	emit_mov(e, RDX, R8);
	emit_rr(e, 8, 0x8b, RCX, R11);
	emit_bytes(e, "\x48\xb8", 2); /* mov rax, imm64 */
	emit_u64(e, (uintptr_t)fn);
	emit_bytes(e, "\xff\xd0", 2);         /* call rax */
	emit_bytes(e, "\x89\xc1\x85\xc0", 4); /* mov ecx, eax; test eax, eax */
	emit_aim32(e, emit_jcc(e, 4), leave);
	emit_rm(e, 8, 0x8b, RDI, c);
	emit_rm(e, 8, 0x8b, RSI, x);
	emit_jmp(e, reload);
	return start;
}

/* Called with a misaligned or unknown address in r8d: returns with rcx as the table would have it when the access stays in its page; else
 * goes on as THUNK_MEMORY. mask = page of the last byte - page of the first - 1: all ones, or 0. */
static uint32_t gen_check_thunk(struct emit *e, unsigned ctx, uint64_t part, unsigned size, uint32_t memory)
{
	uint32_t start = emit_here(e), bad;

	emit_shrx(e, false, R9, R8, SHIFT_12);
	emit_rm(e, 8, 0x8b, RCX, at_index(R15, R9, 3, FLAT_AT(ctx, part)));
	emit_bytes(e, "\x49\xf7\xd1", 3); /* not r9 */
	emit_bytes(e, "\x41\x50", 2);     /* push r8 */
	emit_rm(e, 8, 0x8d, R8, at_base(R8, (int32_t)size - 1));
	emit_shrx(e, true, R8, R8, SHIFT_12);
	emit_rm(e, 8, 0x8d, R9, at_index(R9, R8, 0, 0));
	emit_bytes(e, "\x41\x58", 2); /* pop r8 */
	emit_pext(e, RCX, RCX, R9);
	bad = emit_jrcxz(e);
	emit_u8(e, 0xc3);
	emit_land8(e, bad);
	emit_u8(e, 0x59); /* pop rcx */
	emit_jmp(e, memory);
	return start;
}

/* The guest returned to r8d, which the calls did not foresee: they are given up. */
static uint32_t gen_return_thunk(struct xlate *x, struct emit *e, unsigned ctx)
{
	uint32_t start = emit_here(e);
	struct lookup l;

	emit_mov_imm(e, RSP, (uint32_t)calls_bottom(&x->low->calls[ctx]));
	l = emit_lookup(e, ctx);
	emit_jmp_reg(e, RCX);
	emit_absent(e, &l, x->thunk[THUNK_ABSENT]);
	return start;
}

static void gen_thunks(struct xlate *x)
{
	static handler_fn *const handlers[THUNK_ABSENT] = {
		[THUNK_CALLOUT] = on_callout, [THUNK_FAULT] = on_fault, [THUNK_MEMORY] = on_memory,
		[THUNK_WINDOW] = on_window,   [THUNK_CROSS] = on_cross, [THUNK_HEAD] = on_head,
		[THUNK_CAREFUL] = on_careful, [THUNK_LINK] = on_link,   [THUNK_MISS] = on_miss,
	};
	struct emit e = { .bytes = x->buf.write, .code = (uint32_t)(uintptr_t)x->buf.exec, .size = 16384 };
	uint32_t reload;

	emit_u32(&e, 0xcccccccc); /* no code at offset 0 */
	x->leave = emit_here(&e);
	gen_leave(&e);
	x->enter = emit_here(&e);
	reload = gen_enter(&e);
	for (unsigned i = 0; i < THUNK_ABSENT; i++)
		x->thunk[i] = gen_thunk(&e, handlers[i], (uint32_t)(uintptr_t)x->frame, reload, x->leave);
	x->thunk[THUNK_ABSENT] = emit_here(&e);
	emit_to_thunk(&e, x->thunk[THUNK_MISS]);
	for (unsigned ctx = 0; ctx < 2; ctx++)
		x->thunk[THUNK_RETURN + ctx] = gen_return_thunk(x, &e, ctx);
	for (unsigned i = 0; i < 16; i++) {
		unsigned ctx = i >> 3, write = (i >> 2) & 1, size = 2u << (i & 3);
		uint64_t part = write ? FLAT_WRITE(ctx) : FLAT_READ(ctx);

		x->thunk[THUNK_FIRST_CHECK + i] = gen_check_thunk(&e, ctx, part, size, x->thunk[THUNK_MEMORY]);
	}
	BUG_ON(e.full);
	x->code_start = x->code_at = (e.at + 63) & ~63u;
	x->cold_at = COLD_START;
}

/* ---- face ---- */

unsigned xlate_length(struct xlate *x, struct trace *t)
{
	uint32_t code;

	if (!may_run(x->c) || x->decline)
		return t->n;
	enter_mode(x);
	code = code_for(x, t);
	return code ? length_of(code) : t->n;
}

bool xlate_run(struct xlate *x, struct trace *t)
{
	struct vcpu *c = x->c;
	uint32_t code;

	if (!may_run(c))
		return false;
	if (unlikely(x->decline)) {
		x->decline = false;
		return false;
	}
	enter_mode(x);
	code = code_for(x, t);
	if (!code || !affordable(c, code))
		return false;
	x->flat = c->mmu.flat + FLAT_BIAS + FLAT_READ((unsigned)c->mmu.context);
	choose_calls(x);
	check_calls(x);
	set_budget(x);
	x->flags = host_flags(c);
	describe_segments(c, x->frame);
	describe_state(c, x->frame);
	((enter_fn *)(uintptr_t)x->enter)(c, x, code);
	return true;
}

void xlate_leave_out(struct xlate *x, uint32_t eip)
{
	x->left_out = eip;
}

void xlate_set_hot(struct xlate *x, unsigned executions)
{
	x->hot = executions;
}

int xlate_set_hard(struct xlate *x)
{
	int rc = x->faults.place ? 0 : hardfault_create(&x->faults);

	x->hard = !rc;
	return rc;
}

void xlate_set_windows(struct xlate *x, enum xlate_windows when)
{
	x->windows = when;
}

/* A host that cannot have one is served by checks alone. */
static int create_window(struct xlate *x)
{
	struct window *w = &x->c->mmu.window;
	int rc = mmu_window_create(&x->c->mmu);

	if (rc)
		return rc == -ENOTSUP ? 0 : rc;
	rc = hardfault_create(&x->faults);
	x->faults.window = w->base;
	return rc;
}

struct hardfaults *xlate_hardfaults(struct xlate *x)
{
	return x->faults.place ? &x->faults : NULL;
}

void xlate_set_code_room(struct xlate *x, uint32_t bytes)
{
	BUG_ON(bytes < BLOCK_ROOM || bytes > COLD_START - x->code_start);
	x->code_end = x->code_start + bytes;
}

uint64_t xlate_flushes(const struct xlate *x)
{
	return x->flushes;
}

uint64_t xlate_blocks(const struct xlate *x)
{
	return x->blocks;
}

static void *reserve(size_t bytes, int flags)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void release(void *p, size_t bytes)
{
	if (p)
		munmap(p, bytes);
}

bool xlate_possible(void)
{
	return __builtin_cpu_supports("bmi2");
}

int xlate_create(struct xlate **out, struct cache *cache)
{
	struct xlate *x;
	int rc;

	*out = NULL;
	if (!xlate_possible())
		return -ENOTSUP;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->c = cache->c;
	x->cache = cache;
	x->jump_mode[0] = x->jump_mode[1] = 0x100;
	x->hot = HOT;
	x->code_end = COLD_START;
	x->left_out = UINT64_MAX;
	x->site_count = 1;
	x->alone.t = (struct trace){ .gpa = NO_PAGE, .gpa2 = NO_PAGE, .n = 1, .insns = x->alone.room };
	x->alone.room[1].fn = interp_trace_end;
	x->sites = reserve(SITES * sizeof(*x->sites), 0);
	x->pages = reserve(PAGES * sizeof(*x->pages), 0);
	x->entries = reserve((size_t)PAGES * PAGE_SIZE * sizeof(*x->entries), 0);
	x->low = reserve(sizeof(*x->low), MAP_32BIT);
	rc = x->sites && x->pages && x->entries && x->low ? codebuf_create(&x->buf, CODE_SIZE) : -ENOMEM;
	if (!rc)
		rc = mmu_flat_create(&x->c->mmu);
	if (!rc)
		rc = create_window(x);
	if (rc) {
		xlate_destroy(x);
		return rc;
	}
	x->frame = &x->low->frame;
	x->calls = x->low->calls;
	x->frame->c = x->c;
	x->frame->x = x;
	gen_thunks(x);
	cache->dropped = page_written;
	cache->flushed = flush;
	cache->dropped_self = x;
	*out = x;
	return 0;
}

void xlate_destroy(struct xlate *x)
{
	if (!x)
		return;
	x->cache->dropped = NULL;
	x->cache->flushed = NULL;
	codebuf_destroy(&x->buf);
	hardfault_destroy(&x->faults);
	release(x->low, sizeof(*x->low));
	release(x->sites, SITES * sizeof(*x->sites));
	release(x->pages, PAGES * sizeof(*x->pages));
	release(x->entries, (size_t)PAGES * PAGE_SIZE * sizeof(*x->entries));
	free(x);
}
