/*
 * interp.c - the interpreter: the oracle every other engine is measured against.
 *
 * The run loop finds the trace at CS:RIP and calls its first handler; handlers call each other to the trace's end. Anything that cannot go on
 * (a fault, an exit) jumps back here, where the precise state is worked out:
 *
 *     rip    = trace's rip + ip->off          icount = trace's icount + (ip - trace's first)
 *
 * A budget that ends inside a trace is met exactly by running a copy cut short. Single-step, RF and debug registers run one instruction
 * at a time. A write to a page that holds decoded code stops before it is done; the instruction is then run alone,
 * from a copy, so that it may destroy its own trace.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cpu/watch.h"
#include "vmm/engine/cache.h"
#include "vmm/engine/hardfault.h"
#include "vmm/engine/ops.h"
#include "vmm/engine/xlate.h"

#define DR6_BS (1u << 14)

struct engine {
	struct vcpu *c;
	struct cache cache;
	struct trace_scratch cut;
	struct xlate *xlate; /* NULL: the interpreter alone */
	bool one_block;      /* the budget ends with the first block */
};

int engine_translate_create(struct engine **out, struct vcpu *c)
{
	struct engine *e;
	int rc = engine_interp_create(&e, c);

	*out = NULL;
	if (rc)
		return rc;
	rc = xlate_create(&e->xlate, &e->cache);
	if (rc) {
		engine_destroy(e);
		return rc;
	}
	*out = e;
	return 0;
}

bool engine_can_translate(void)
{
	return xlate_possible();
}

int engine_interp_create(struct engine **out, struct vcpu *c)
{
	struct engine *e = calloc(1, sizeof(*e));
	int rc;

	*out = NULL;
	if (!e)
		return -ENOMEM;
	e->c = c;
	rc = cache_init(&e->cache, c);
	if (rc) {
		free(e);
		return rc;
	}
	c->mmu.ram->code_written = cache_code_written;
	c->mmu.ram->code_written_self = &e->cache;
	*out = e;
	return 0;
}

int engine_set_hardfaults(struct engine *e)
{
	return e->xlate ? xlate_set_hard(e->xlate) : -ENOTSUP;
}

void engine_destroy(struct engine *e)
{
	if (!e)
		return;
	e->c->mmu.ram->code_written = NULL;
	xlate_destroy(e->xlate);
	cache_free(&e->cache);
	free(e);
}

void engine_set_hot(struct engine *e, unsigned executions)
{
	if (e->xlate)
		xlate_set_hot(e->xlate, executions);
}

void engine_set_block_max(struct engine *e, unsigned insns)
{
	BUG_ON(insns < 1 || insns > TRACE_MAX_INSNS);
	e->cache.max_insns = insns;
	cache_flush(&e->cache);
}

void engine_set_code_room(struct engine *e, uint32_t bytes)
{
	if (e->xlate)
		xlate_set_code_room(e->xlate, bytes);
}

void engine_always_window(struct engine *e)
{
	if (e->xlate)
		xlate_always_window(e->xlate);
	cache_flush(&e->cache);
}

void engine_leave_out(struct engine *e, uint32_t eip)
{
	if (e->xlate)
		xlate_leave_out(e->xlate, eip);
}

void engine_flush(struct engine *e)
{
	cache_flush(&e->cache);
}

static struct hardfaults *hard_table(const struct engine *e)
{
	return e->xlate ? xlate_hardfaults(e->xlate) : NULL;
}

void engine_get_counters(const struct engine *e, struct engine_counters *out)
{
	out->traces_decoded = e->cache.decoded;
	out->smc_invalidations = e->cache.invalidations;
	out->blocks_translated = e->xlate ? xlate_blocks(e->xlate) : 0;
	out->code_flushes = e->xlate ? xlate_flushes(e->xlate) : 0;
	out->window_pages = e->c->mmu.window.openings;
	out->hardfaults = hard_table(e) ? hard_table(e)->taken : 0;
}

/* The first n instructions of t, as a trace of their own. */
static struct trace *cut_trace(struct engine *e, const struct trace *t, unsigned n)
{
	struct trace *cut = &e->cut.t;

	*cut = (struct trace){ .gpa = NO_PAGE, .gpa2 = NO_PAGE, .mode = t->mode, .n = (uint16_t)n, .insns = e->cut.room };
	memcpy(cut->insns, t->insns, n * sizeof(struct insn));
	cut->bytes = (uint16_t)(t->insns[n - 1].off + t->insns[n - 1].len);
	cut->changes_mode = n == t->n && t->changes_mode;
	cut->insns[n] = (struct insn){ .fn = interp_trace_end, .off = (uint8_t)cut->bytes };
	return cut;
}

/* CS.D and SS.B follow the segments; the rest of the key is fixed from ring_enter to ring_leave. */
static void refresh_mode(struct vcpu *c)
{
	c->mode = (uint8_t)((c->mode & ~(MODE_CS32 | MODE_SS32)) | (c->seg[SEG_CS].attr & SEG_DB ? MODE_CS32 : 0) |
	                    (c->seg[SEG_SS].attr & SEG_DB ? MODE_SS32 : 0));
}

static inline void run_trace(struct vcpu *c, struct trace *t)
{
	c->trace = t;
	t->insns[0].fn(c, t->insns);
	c->icount += t->n;
	if (unlikely(t->changes_mode))
		refresh_mode(c);
}

static inline bool wants_single_steps(const struct vcpu *c)
{
	return (c->eflags & (FL_TF | FL_RF)) || (c->dr[7] & DR7_ENABLES);
}

/* Instruction breakpoints (SDM vol. 3B 17.2.4): DR6 bits of those that match. */
static uint32_t code_breakpoints(const struct vcpu *c)
{
	uint32_t lin = (uint32_t)(c->seg[SEG_CS].base + c->rip), hit = 0;

	for (unsigned i = 0; i < 4; i++) {
		bool enabled = (c->dr[7] >> (2 * i)) & 3, on_exec = ((c->dr[7] >> (16 + 4 * i)) & 3) == 0;

		if (enabled && on_exec && c->dr[i] == lin)
			hit |= 1u << i;
	}
	return hit;
}

static void run_one(struct engine *e)
{
	struct vcpu *c = e->c;
	uint64_t end = c->icount_end;

	c->icount_end = c->icount + 1;
	run_trace(c, cut_trace(e, cache_lookup(&e->cache), 1));
	c->icount_end = end;
}

static void debug_exit(struct vcpu *c, bool trap)
{
	c->exit = (struct vm_exit){ .reason = EXIT_EXCEPTION, .vector = VEC_DB, .trap = trap };
}

/* One instruction with everything that looks at single instructions. True when it led to an exit. */
static bool run_watched(struct engine *e)
{
	struct vcpu *c = e->c;
	bool tf = c->eflags & FL_TF;
	uint64_t start = c->rip;
	const struct insn *done;

	c->ip = NULL;
	if ((c->dr[7] & DR7_ENABLES) && !(c->eflags & FL_RF)) {
		c->db_pending = code_breakpoints(c);
		if (c->db_pending) {
			debug_exit(c, false);
			return true;
		}
	}
	c->db_pending = 0;
	run_one(e);
	done = e->cut.t.insns;
	if (done->op != OP_IRET && !(c->rip == start && (done->flags & (IF_REP | IF_REPNE))))
		c->eflags &= ~FL_RF; /* RF holds until the instruction is complete, a repeated one at its last iteration */
	if (c->inhibit_icount == c->icount)
		return false; /* after a load of SS debug traps wait for one instruction */
	if (tf)
		c->db_pending |= DR6_BS;
	if (!c->db_pending)
		return false;
	debug_exit(c, true);
	return true;
}

/* The budget ends where the block that begins with t does. */
static void end_with_block(struct engine *e, struct trace *t)
{
	struct vcpu *c = e->c;
	unsigned n = e->xlate ? xlate_length(e->xlate, t) : t->n;

	if (n < c->icount_end - c->icount)
		c->icount_end = c->icount + n;
}

static void run_until_exit(struct engine *e)
{
	struct vcpu *c = e->c;

	while (c->icount < c->icount_end) {
		enum watch_verdict verdict = unlikely(c->watch) ? watch_ask(c) : WATCH_GO_ON;
		struct trace *t;

		if (unlikely(verdict == WATCH_STOP)) {
			c->exit.reason = EXIT_DEBUG;
			return;
		}
		if (unlikely(wants_single_steps(c))) {
			if (run_watched(e))
				return;
			continue;
		}
		if (unlikely(verdict == WATCH_ALONE)) {
			run_one(e);
			continue;
		}
		t = cache_lookup(&e->cache);
		if (unlikely(e->one_block))
			end_with_block(e, t);
		if (unlikely(t->n > c->icount_end - c->icount))
			t = cut_trace(e, t, (unsigned)(c->icount_end - c->icount));
		else if (e->xlate && xlate_run(e->xlate, t)) {
			refresh_mode(c);
			continue;
		}
		run_trace(c, t);
	}
	c->exit.reason = EXIT_BUDGET;
}

/* Hooks see the present instruction; c->ip is kept for it by every handler that can reach one. */
uint64_t engine_icount(const struct vcpu *c)
{
	return c->ip ? c->icount + (uint64_t)(c->ip - c->trace->insns) : c->icount;
}

void engine_sync(struct vcpu *c)
{
	fpu_sync(c);
}

/* Precise state after a jump out of a handler. */
static void settle(struct vcpu *c)
{
	if (!c->ip)
		return;
	c->icount = engine_icount(c);
	c->rip = (uint32_t)(c->rip + c->ip->off);
	c->ip = NULL;
}

static void leave_engine(struct vcpu *c)
{
	c->mmu.stepping = false;
	c->unwind = NULL;
	c->ip = NULL;
	fpu_sync(c);
}

static void step(struct engine *e, bool touch_all);

void engine_run(struct engine *e, uint64_t icount_end)
{
	struct hardfaults *const outer = hardfault_enter(hard_table(e));
	struct vcpu *c = e->c;
	jmp_buf landing;
	bool unwound;

	BUG_ON(!c->real_view || c->cpl == 0);
	c->unwind = &landing;
	c->icount_end = icount_end;
	c->ip = NULL;
	unwound = _setjmp(landing);
	if (!unwound)
		run_until_exit(e);
	hardfault_leave(outer);
	if (unwound) {
		settle(c);
		if (c->exit.reason == EXIT_WATCH) {
			leave_engine(c);
			c->watch->open = true;
			step(e, false);
			c->watch->open = false;
		}
		if (c->exit.reason == EXIT_CODE_WRITE) {
			leave_engine(c);
			c->meter.exit_at = 0; /* it goes on */
			engine_step(e);
			return;
		}
	}
	leave_engine(c);
}

void engine_run_block(struct engine *e, uint64_t icount_end)
{
	e->one_block = true;
	engine_run(e, icount_end);
	e->one_block = false;
}

/* One instruction alone. touch_all: MMIO and code may be touched. */
static void step(struct engine *e, bool touch_all)
{
	struct vcpu *c = e->c;
	jmp_buf landing;

	BUG_ON(!c->real_view || c->cpl == 0);
	c->unwind = &landing;
	c->icount_end = c->icount + 1;
	c->mmu.stepping = touch_all;
	c->ip = NULL;
	if (_setjmp(landing)) {
		settle(c);
	} else {
		c->exit.reason = EXIT_BUDGET;
		if (wants_single_steps(c))
			run_watched(e);
		else
			run_one(e);
	}
	leave_engine(c);
}

void engine_step(struct engine *e)
{
	step(e, true);
}

bool engine_fetch(struct vcpu *c, struct insn *out)
{
	uint32_t lin = (uint32_t)(c->seg[SEG_CS].base + c->rip);
	uint8_t bytes[15];
	unsigned have = 0;
	uint64_t gpa;

	while (have < sizeof(bytes) && mmu_peek(&c->mmu, (uint32_t)(lin + have), &gpa) == 0) {
		unsigned n = PAGE_SIZE - ((lin + have) & (PAGE_SIZE - 1));

		if (n > sizeof(bytes) - have)
			n = (unsigned)sizeof(bytes) - have;
		ram_read(c->mmu.ram, gpa, bytes + have, n);
		have += n;
	}
	return have && insn_decode(out, bytes, have, c->mode, 0) > 0;
}
