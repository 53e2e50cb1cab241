/*
 * handlers.c - steps that go over the handlers of interrupts, exceptions and software interrupts instead of into them.
 *
 * A step after which something was delivered goes on to where the handler returns to: the address and the stack pointer that the processor pushed, at the
 * same privilege level and in the same address space; if it never does, a breakpoint or the end of history ends the step. A step back that comes to the
 * IRET of a handler goes on to the moment before the delivery that pushed this very return; it is looked up in the trace. What cannot be told for sure
 * (task gates, 16-bit frames) is stepped into as ever. Called by debugger.c.
 */
#include <errno.h>

#include "replayer/gdb/debugger_internal.h"

#define FRAME_WORDS 6        /* error code, EIP, CS, EFLAGS, ESP, SS. SDM vol. 3A 6.12.1 */
#define INSN_MAX 15          /* bytes */
#define EVENTS_AT_A_TIME 512 /* looked at, from the latest stretch to earlier ones */
#define EVENTS_MAX 200000    /* so far back */
#define CANDIDATES_MAX 64    /* deliveries that may be the one, and are looked at */
#define EFLAGS_IMPOSSIBLE 0xffc08028u
#define EFLAGS_ALWAYS 2u

struct context debugger_context(struct debugger *d)
{
	const struct vcpu *c = debugger_vcpu(d);

	return (struct context){
		.at = timeline_moment(d->timeline),
		.event = timeline_event(d->timeline),
		.eip = (uint32_t)c->rip,
		.esp = (uint32_t)c->gpr[R_SP],
		.cs_base = (uint32_t)c->seg[SEG_CS].base,
		.cr3 = c->cr3,
		.cs = c->seg[SEG_CS].sel,
		.cpl = c->cpl,
	};
}

static bool is_here(struct debugger *d, const struct context *to)
{
	struct context now = debugger_context(d);

	return now.eip == to->eip && now.esp == to->esp && now.cpl == to->cpl && now.cs == to->cs;
}

/* At the first instruction of a handler: where it returns to. `from` is what ran before, whose segments and address space that has. */
static bool read_frame(struct debugger *d, const struct context *from, struct context *to)
{
	const struct vcpu *c = debugger_vcpu(d);
	uint32_t esp = (uint32_t)c->gpr[R_SP], words[FRAME_WORDS] = { 0 };

	debugger_read(d, (uint32_t)(c->seg[SEG_SS].base + esp), words, sizeof(words));
	for (unsigned k = 0; k < 2; k++) {
		const uint32_t *w = &words[k];

		if ((w[1] & 0xffff) != from->cs || (w[2] & EFLAGS_IMPOSSIBLE) || !(w[2] & EFLAGS_ALWAYS))
			continue;
		*to = *from;
		to->eip = w[0];
		to->esp = c->cpl < from->cpl ? w[3] : esp + 4 * (k + 3);
		return true;
	}
	return false;
}

/* ---- forward ----------------------------------------------------------------------------------------------- */

/* The handler's end, or what is met before. */
static int run_over(struct debugger *d, const struct context *to, struct timeline_watch *watch, unsigned n,
                    struct timeline_stop *stop, struct vm_error *err)
{
	int rc;

	watch[n] = (struct timeline_watch){
		.kind = WATCH_EXEC, .lin = (uint32_t)(to->cs_base + to->eip), .len = 1, .cr3 = to->cr3
	};
	do
		rc = timeline_forward(d->timeline, UINT64_MAX, watch, n + 1, stop, err);
	while (!rc && stop->why == TIMELINE_BREAK && stop->watch == n && !is_here(d, to));
	if (!rc && stop->why == TIMELINE_BREAK && stop->watch == n)
		stop->why = TIMELINE_REACHED;
	return rc;
}

/* Was anything delivered since? */
static bool delivered(struct debugger *d, const struct context *from, struct vm_error *err)
{
	uint64_t now = timeline_event(d->timeline);
	struct trace_cursor *cursor;
	struct event ev;
	bool found = false;

	if (now == from->event || trace_cursor_open(&cursor, d->reader, err))
		return false;
	if (!trace_cursor_seek(cursor, from->event, err))
		while (!found && trace_cursor_seq(cursor) < now && trace_cursor_next(cursor, &ev, NULL, err) == 1)
			found = ev.kind == EV_EXCEPTION || ev.kind == EV_INTERRUPT;
	trace_cursor_close(cursor);
	return found;
}

/* A run passes over a point where it begins. */
static bool stands_on(struct debugger *d, const struct timeline_watch *watch, unsigned n)
{
	uint32_t lin = (uint32_t)(debugger_vcpu(d)->seg[SEG_CS].base + debugger_vcpu(d)->rip);

	while (n && !(watch[n - 1].kind == WATCH_EXEC && watch[n - 1].lin == lin))
		n--;
	return n;
}

int handlers_over(struct debugger *d, const struct context *from, struct timeline_watch *watch, unsigned n,
                  struct timeline_stop *stop, struct vm_error *err)
{
	struct context to;

	if (stop->why != TIMELINE_REACHED || !delivered(d, from, err) || stands_on(d, watch, n) ||
	    !read_frame(d, from, &to))
		return 0;
	return run_over(d, &to, watch, n, stop, err);
}

/* ---- backward ---------------------------------------------------------------------------------------------- */

static bool at_iret(struct debugger *d)
{
	uint8_t code[2] = { 0 };

	debugger_read(d, (uint32_t)(debugger_vcpu(d)->seg[SEG_CS].base + debugger_vcpu(d)->rip), code, sizeof(code));
	return code[0] == 0xcf;
}

static bool may_return_to(const struct event *ev, const struct context *to)
{
	return (ev->kind == EV_EXCEPTION || ev->kind == EV_INTERRUPT) && ev->vcpl == to->cpl && to->eip >= ev->rip &&
	       to->eip - ev->rip <= INSN_MAX;
}

/* The latest event before `before` that may have been delivered from there: 1, 0, or negative errno. */
static int find_delivery(struct trace_cursor *cursor, const struct context *to, uint64_t *before, struct vm_error *err)
{
	uint64_t limit = *before > EVENTS_MAX ? *before - EVENTS_MAX : 0;
	struct event ev;

	for (uint64_t end = *before; end > limit;) {
		uint64_t begin = end > EVENTS_AT_A_TIME ? end - EVENTS_AT_A_TIME : 0, found = end;
		int rc = trace_cursor_seek(cursor, begin, err);

		for (uint64_t seq = begin; !rc && seq < end; seq++) {
			rc = trace_cursor_next(cursor, &ev, NULL, err) == 1 ? 0 : -1;
			if (!rc && may_return_to(&ev, to))
				found = seq;
		}
		if (rc)
			return rc;
		if (found < end) {
			*before = found;
			return 1;
		}
		end = begin;
	}
	return 0;
}

/* Is this the delivery whose handler returned there? Then the VM is at the moment before it. */
static int check_delivery(struct debugger *d, uint64_t seq, const struct context *to, bool *is, struct vm_error *err)
{
	struct timeline *t = d->timeline;
	struct timeline_stop stop;
	struct context returns;
	int rc = timeline_seek_event(t, seq, err);

	if (!rc && timeline_event(t) <= seq)
		rc = timeline_step(t, 1, &stop, err);
	*is = !rc && read_frame(d, to, &returns) && returns.eip == to->eip && returns.esp == to->esp;
	return rc ? rc : *is ? timeline_step_back(t, 1, &stop, err) : 0;
}

/* To the moment before the delivery whose handler ends at the present IRET. */
static int go_before_delivery(struct debugger *d, const struct context *to, bool *found, struct vm_error *err)
{
	uint64_t seq = timeline_event(d->timeline);
	struct trace_cursor *cursor;
	int rc = trace_cursor_open(&cursor, d->reader, err);

	*found = false;
	if (rc)
		return rc;
	for (unsigned i = 0; i < CANDIDATES_MAX && !*found && !debugger_interrupted(d); i++) {
		rc = find_delivery(cursor, to, &seq, err);
		rc = rc == 1 ? check_delivery(d, seq, to, found, err) : rc < 0 ? rc : -ENOENT;
		if (rc)
			break;
	}
	trace_cursor_close(cursor);
	return rc == -ENOENT ? 0 : rc;
}

int handlers_over_back(struct debugger *d, const struct context *from, const struct timeline_watch *watch, unsigned n,
                       struct timeline_stop *stop, struct vm_error *err)
{
	struct timeline *t = d->timeline;
	struct vm_moment there = timeline_moment(t);
	struct timeline_stop met = { .why = TIMELINE_REACHED };
	bool found = false, again;
	int rc = 0;

	if (stop->why != TIMELINE_REACHED || !at_iret(d))
		return 0;
	do { /* what was pending came before the first instruction, and returned to the same */
		rc = go_before_delivery(d, from, &again, err);
		if (rc)
			return rc;
		if (again)
			there = timeline_moment(t);
		found |= again;
	} while (again && at_iret(d));
	if (found && n) {
		rc = timeline_seek_moment(t, from->at, err);
		rc = rc ? rc : timeline_backward(t, there.icount, watch, n, &met, err);
		if (!rc && met.why != TIMELINE_REACHED && met.why != TIMELINE_BEGIN &&
		    vm_moment_compare(timeline_moment(t), there) > 0) {
			*stop = met;
			return 0;
		}
	}
	rc = rc ? rc : timeline_seek_moment(t, there, err);
	stop->icount = there.icount;
	return rc;
}
