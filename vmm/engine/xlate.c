/*
 * xlate.c - the translator: blocks of host code, how they are found, chained, entered and left.
 *
 * A block begins with a trace (cache.h) that was interpreted HOT times, and goes on with what was seen to run next: along jumps, behind conditional ones,
 * through short functions, over the ends of pages. Guest registers and flags are the host's own (xlate_gen.h), so most instructions are re-encoded with nothing but
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
 * Had it been `jmp c0105000`, on another page:
 *
 *            mov ecx, [presence of c0105]   0 unless that page's code is what the jump was made for
 *            jrcxz  elsewhere               -> its entry is looked up
 *            jmp c0105000's code
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
 *     the page's translation lasts, in the mode that is in force (see enter_mode()); nothing goes to another page's code without a look at that.
 *  2. A page's code goes all at once (cache_code_written), and no translated code runs at that moment: so no jump within the page needs to be undone. A block
 *     that jumps directly into another page, or has instructions of it, first looks whether FLAT_JUMP has that page's table
 *     (gen_enter_page()), and dies with that page's code too: its head then leads elsewhere (struct dependent). Code memory is used again only after
 *     a flush of everything.
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
 *  9. A block whose first instruction lies across the page's end has the next page's instructions from its head on: it looks there (gen_cross()).
 * 10. An instruction that goes through the window changes nothing before its last access to memory, so it can be run again from its beginning, by its own
 *     code or by the handler.
 * 11. Progress: whoever goes back to the run loop without having run an instruction declines the next trace, which is then interpreted.
 * 12. What the VMM emulates it emulates in the middle of the run (emulate_site()). After one that changes nothing that code relies on its block goes on, if the
 *     budget still covers it; after any other, code is looked up in whatever is in force by then.
 *
 * Called by interp.c.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cpu/watch.h"
#include "vmm/engine/fpu.h"
#include "vmm/engine/ops.h"
#include "vmm/engine/xlate_state.h"
#include "vmm/reserve.h"
#include "vmm/ring/ring.h"

/* ---- the stack of calls ---- */

/* No call may be returned from as if nothing had happened. */
static void reset_calls(struct xlate *x)
{
	struct calls *k = x->calls;

	*(uint64_t *)(uintptr_t)calls_bottom(k) = x->thunk[THUNK_RETURN + x->c->mmu.context];
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

static void describe(const struct frame *f, const struct segment *s, uint64_t *ok, uint64_t *base, uint64_t *window)
{
	*ok = s->rlimit == FULL_SEGMENT && s->wlimit == FULL_SEGMENT && !(s->base & 15);
	*base = s->base;
	*window = *ok ? f->window + s->base : f->window - WINDOW_GUARD / 2;
}

static void describe_segments(const struct vcpu *c, struct frame *f)
{
	describe(f, &c->seg[SEG_FS], &f->fs_ok, &f->fs_base, &f->fs_window);
	describe(f, &c->seg[SEG_GS], &f->gs_ok, &f->gs_base, &f->gs_window);
}

/* What inline code asks about the rest of the state, after anything else ran. */
static void describe_state(struct vcpu *c, struct frame *f)
{
	f->forwards = !(c->eflags & FL_DF);
	f->flags = (c->eflags & ~(uint32_t)(FL_HIDDEN | FL_RF)) | (c->virt.eflags & FL_IOPL);
	f->flag_if = c->virt.eflags & FL_IF;
	f->none_waits = c->unseen.none_waits;
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

/* How often a trace is interpreted first. Which ways the page's code goes is worth knowing well once it goes through the window. */
static unsigned hot_here(struct xlate *x, uint32_t rip)
{
	const struct page *p = page_present(x, rip);

	return p && p->windowed ? 4 * x->hot : x->hot;
}

/* Code for the trace at rip, when it has some or has become worth it. */
static uint32_t code_for(struct xlate *x, struct trace *t)
{
	struct vcpu *c = x->c;
	uint32_t rip = (uint32_t)c->rip, code;
	uint64_t word = *mmu_flat_word(&c->mmu, FLAT_JUMP((unsigned)c->mmu.context), rip);
	struct page *p;

	code = page_code(word, rip);
	if (code)
		return code;
	if (t->gpa == NO_PAGE || watch_cuts(c, rip))
		return 0;
	if (!word) { /* the page's translation was gone for a while */
		p = page_find(x, t->gpa & PAGE_MASK, rip & (uint32_t)PAGE_MASK, c->mode);
		if (p) {
			page_appear(x, p);
			code = p->entries[rip & (PAGE_SIZE - 1)];
			if (code)
				return code;
		}
	}
	if (t->hits < (x->hard && faults_in(t) ? 0 : hot_here(x, rip))) {
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

/* What ran inline of privileged instructions (xlate_priv.c) becomes the vcpu's. */
static void settle_unseen(struct xlate *x)
{
	struct frame *f = x->frame;
	struct vcpu *c = x->c;
	uint64_t nearer = f->unseen * c->unseen.cost;

	if (likely(!f->unseen))
		return;
	if (f->sti_unseen)
		c->inhibit_icount = x->slice_end - f->sti_unseen * c->unseen.cost + f->sti_budget + 2;
	c->virt.eflags = (c->virt.eflags & ~FL_IF) | f->flag_if;
	c->unseen.count += f->unseen;
	c->icount_end -= nearer;
	x->slice_end -= nearer;
	f->unseen = f->sti_unseen = 0;
}

/* Translated code stops before the instruction at rip, of whose charged block `left` are still to run. */
static void stop_at(struct xlate *x, uint32_t rip, int64_t budget, unsigned left)
{
	struct vcpu *c = x->c;

	set_flags_from_host(c, x->flags);
	note_x87(x);
	settle_unseen(x);
	c->rip = rip;
	c->icount = x->slice_end + (uint64_t)(budget + 1) - left;
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

/* Does what an instruction's code asked about hold? What follows in the block may rely on it. */
static bool relied_on(const struct frame *f, const struct insn *in)
{
	if (is_fpu(in))
		return in->op >= OP_MOVD ? f->sse_ok : f->x87_ok;
	if ((in->flags & IF_MEM) && in->seg >= SEG_FS)
		return in->seg == SEG_FS ? f->fs_ok : f->gs_ok;
	return true;
}

/* Into what the mode and the context in force have. */
static void enter_context(struct xlate *x)
{
	enter_mode(x);
	x->flat = x->c->mmu.flat + FLAT_BIAS + FLAT_READ((unsigned)x->c->mmu.context);
	choose_calls(x);
	describe_segments(x->c, x->frame);
}

/* The budget may end sooner than was thought: does it cover what is left of the block? */
static bool still_affordable(struct xlate *x, int64_t *budget)
{
	if (x->c->icount_end < x->slice_end) {
		*budget += (int64_t)(x->slice_end - x->c->icount_end);
		x->slice_end = x->c->icount_end;
	}
	return *budget < 0;
}

static bool may_go_on(const struct vcpu *c)
{
	return c->icount < c->icount_end && !(c->eflags & (FL_TF | FL_RF)) && !(c->dr[7] & DR7_ENABLES) && may_run(c);
}

/* The VMM emulates the instruction without the run's end, if it can. False: nothing was done. Otherwise where to go on, as run_site() says. */
static bool emulate_site(struct xlate *x, const struct site *s, int64_t budget, uint32_t *code)
{
	uint32_t generation = cache_generation(x->cache);
	struct vcpu *c = x->c;
	enum emulated how;

	c->ip = NULL;
	how = c->hooks.emulate ? c->hooks.emulate(c->hooks.self, &s->in) : EMULATED_NOT;
	*code = 0;
	if (how == EMULATED_NOT)
		return false;
	if (!may_go_on(c))
		return true;
	if (how == EMULATED_FULLY) {
		enter_context(x);
		*code = go_on(x);
	} else if (generation == cache_generation(x->cache) && still_affordable(x, &budget)) {
		describe_state(c, x->frame);
		c->gpr[R_SP] = (uint32_t)(c->gpr[R_SP] - s->still_owed);
		x->budget = budget;
		x->flags = host_flags(c);
		*code = s->resume;
	}
	return true;
}

static uint32_t run_site(struct xlate *x, uint32_t index, int64_t budget)
{
	struct vcpu *c = x->c;
	const struct site *s = &x->sites[index];
	struct insn *in = x->alone.room;
	uint32_t generation = cache_generation(x->cache), code;

	stop_at(x, s->rip, budget, s->left);
	c->gpr[R_SP] = (uint32_t)(c->gpr[R_SP] + s->owed);
	if (unlikely(s->class != CLASS_NONE))
		meter_exit(&c->meter);
	if (s->emulated && emulate_site(x, s, budget, &code))
		return code;
	c->trace = &x->alone.t;
	in[0] = s->in;
	in[1].off = in[0].len;
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
	if (unlikely(!relied_on(x->frame, in)))
		return 0;
	c->gpr[R_SP] = (uint32_t)(c->gpr[R_SP] - s->still_owed);
	x->budget = budget;
	x->flags = host_flags(c);
	return s->resume;
}

/* ---- what thunks call ---- */

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

/* A slice ended in user code at rip: is it worth a window? */
static void sample(struct xlate *x, uint32_t rip)
{
	const struct mmu *m = &x->c->mmu;
	struct page *p = m->window.base && m->context == MMU_USER ? page_present(x, rip) : NULL;

	if (!p)
		return;
	if (p->windowed) {
		if (p->credit < CREDIT_MAX)
			p->credit += SLICE_CREDIT;
		return;
	}
	if (++p->samples < p->samples_wanted)
		return;
	if (!page_can_restart(x)) {
		code_flush(x);
		return;
	}
	p->windowed = true;
	p->credit = CREDIT_MAX;
	cache_cool(x->cache, p->gpa);
	page_restart(x, p);
}

/* A window fault of the code at rip: one too many? Under xlate_always_window() the page has its blocks made anew then, as windowed as before. */
static void charge(struct xlate *x, uint32_t rip)
{
	struct page *p = page_present(x, rip);

	if (!p || !p->windowed)
		return;
	if (--p->credit >= 0 || !page_can_restart(x))
		return;
	p->windowed = x->always_window;
	p->credit = SLICE_CREDIT;
	p->samples = 0;
	if (p->samples_wanted < UINT16_MAX / 4)
		p->samples_wanted *= 4;
	page_restart(x, p);
}

/* An access found its page shut. It is opened as far as it may be; what that does not permit the handler does. */
static uint32_t on_window(struct xlate *x, const uint8_t *data, uint32_t r8, int64_t budget)
{
	struct mmu *m = &x->c->mmu;
	uint32_t site = load32(data), code;
	uint64_t address = x->faults.address;
	bool write = x->faults.write;

	(void)r8;
	charge(x, x->sites[site].block);
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
	stop_at(x, load32(data), budget, load32(data + 4));
	if (c->icount_end - c->icount >= load32(data + 4)) { /* only the slice is used up */
		if (c->icount + load32(data + 4) > x->sample_at) {
			sample(x, (uint32_t)c->rip);
			x->sample_at = 0;
		}
		return go_on(x);
	}
	x->decline = true; /* a block from here may be covered that only leads to this one again */
	return 0;
}

static uint32_t on_miss(struct xlate *x, const uint8_t *data, uint32_t r8, int64_t budget)
{
	(void)data;
	stop_at(x, r8, budget, 0);
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
	p = page_find(x, t->gpa & PAGE_MASK, rip & (uint32_t)PAGE_MASK, c->mode | CAREFUL);
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
	uint32_t jump = (uint32_t)(uintptr_t)data - TO_THUNK - 4, flushes = (uint32_t)x->flushes, code, entered;

	(void)r8;
	stop_at(x, x->sites[load32(data)].rip, budget, 0);
	code = careful_code(x, cache_lookup(x->cache));
	entered = resume_at(x, code);
	if (code && flushes == (uint32_t)x->flushes)
		code_aim(x, jump, code);
	x->decline = !entered;
	return entered;
}

/* The next page's translation was gone for a while, or it is another page now. */
static uint32_t on_cross(struct xlate *x, const uint8_t *data, uint32_t r8, int64_t budget)
{
	struct vcpu *c = x->c;
	uint32_t rip = load32(data), code = load32(data + 4), dead = load32(data + 8),
	         next = (rip & (uint32_t)PAGE_MASK) + PAGE_SIZE;
	const struct trace *t;
	struct page *p, *second;

	(void)r8;
	stop_at(x, rip, budget, 0);
	t = cache_lookup(x->cache);
	p = page_present(x, rip);
	second = t->gpa2 == NO_PAGE ? NULL : page_find(x, t->gpa2, next, c->mode);
	if (second && page_has_dependent(x, second, code)) {
		page_appear(x, second);
		return resume_at(x, code);
	}
	x->decline = true;
	if (!p || p->entries[rip & (PAGE_SIZE - 1)] != code)
		return 0;
	p->losses++;
	block_kill(x, &(struct dependent){ .owner = p, .code = code, .at = rip & (PAGE_SIZE - 1), .dead = dead });
	return 0;
}

static uint32_t on_link(struct xlate *x, const uint8_t *data, uint32_t r8, int64_t budget)
{
	uint32_t target = load32(data), jump = load32(data + 4), flushes, code;

	(void)r8;
	flushes = (uint32_t)x->flushes;
	code = on_miss(x, data, target, budget);
	if (code && flushes == (uint32_t)x->flushes)
		code_aim(x, jump, code);
	return code;
}

static handler_fn *const handlers[THUNK_ABSENT] = {
	[THUNK_CALLOUT] = on_callout, [THUNK_FAULT] = on_fault, [THUNK_MEMORY] = on_memory,
	[THUNK_WINDOW] = on_window,   [THUNK_CROSS] = on_cross, [THUNK_HEAD] = on_head,
	[THUNK_CAREFUL] = on_careful, [THUNK_LINK] = on_link,   [THUNK_MISS] = on_miss,
};

/* ---- face ---- */

typedef void enter_fn(struct vcpu *c, struct xlate *x, uint32_t code);

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
	enter_context(x);
	check_calls(x);
	set_budget(x);
	x->flags = host_flags(c);
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

void xlate_always_window(struct xlate *x)
{
	x->always_window = true;
}

/* A host that cannot have one is served by checks alone; so is a guest whose every way into its kernel would shut it. */
static int create_window(struct xlate *x)
{
	struct window *w = &x->c->mmu.window;
	int rc = x->c->mmu.split_views ? -ENOTSUP : mmu_window_create(&x->c->mmu);

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
	x->site_count = x->dependent_count = 1;
	x->alone.t = (struct trace){ .gpa = NO_PAGE, .gpa2 = NO_PAGE, .n = 1, .insns = x->alone.room };
	x->alone.room[1].fn = interp_trace_end;
	x->sites = reserve(SITES * sizeof(*x->sites));
	x->pages = reserve(PAGES * sizeof(*x->pages));
	x->dependents = reserve(DEPENDENTS * sizeof(*x->dependents));
	x->entries = reserve((size_t)PAGES * PAGE_SIZE * sizeof(*x->entries));
	x->low = reserve_low(sizeof(*x->low));
	rc = x->sites && x->pages && x->dependents && x->entries && x->low ? codebuf_create(&x->buf, CODE_SIZE) : -ENOMEM;
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
	x->frame->window = (uintptr_t)x->c->mmu.window.base;
	x->frame->c = x->c;
	x->frame->x = x;
	gen_thunks(x, handlers);
	x->c->mmu.jump_gone = page_gone;
	x->c->mmu.jump_gone_self = x;
	cache->dropped = page_written;
	cache->flushed = code_flush;
	cache->dropped_self = x;
	*out = x;
	return 0;
}

void xlate_destroy(struct xlate *x)
{
	if (!x)
		return;
	x->c->mmu.jump_gone = NULL;
	x->cache->dropped = NULL;
	x->cache->flushed = NULL;
	codebuf_destroy(&x->buf);
	hardfault_destroy(&x->faults);
	release(x->low, sizeof(*x->low));
	release(x->sites, SITES * sizeof(*x->sites));
	release(x->pages, PAGES * sizeof(*x->pages));
	release(x->dependents, DEPENDENTS * sizeof(*x->dependents));
	release(x->entries, (size_t)PAGES * PAGE_SIZE * sizeof(*x->entries));
	free(x);
}
