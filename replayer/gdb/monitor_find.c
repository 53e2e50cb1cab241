/*
 * monitor_find.c - questions whose answer is a moment: who last wrote this, when did it run, when did it become that.
 *
 * The answer is where the debugger then stands. Without an answer it stands where it stood.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "replayer/gdb/debugger_internal.h"

#define LEN_DEFAULT 4
#define LEN_MAX 4096
#define ALIASES_MAX 32

static void tell_why_not(struct monitor_call *m, const struct timeline_stop *stop)
{
	static const char *const why[] = {
		[TIMELINE_BEGIN] = "no: not since the beginning of the trace",
		[TIMELINE_REACHED] = "no: not since the beginning of the trace",
		[TIMELINE_END] = "no: not before the end of the trace",
		[TIMELINE_INTERRUPTED] = "interrupted",
		[TIMELINE_DIVERGED] = "the replay diverged from its trace; `ringside replay` tells the difference",
	};

	gdb_text_put(m->out, "%s\n", why[stop->why]);
	if (stop->why == TIMELINE_DIVERGED) {
		const char *cause = timeline_divergence(m->d->timeline)->cause;

		if (*cause)
			gdb_text_put(m->out, "likely cause: %s\n", cause);
	}
}

static bool is_hit(const struct timeline_stop *stop)
{
	return stop->why == TIMELINE_BREAK || stop->why == TIMELINE_WATCH;
}

/* Back to where the question was asked. */
static void give_up(struct monitor_call *m, const struct timeline_stop *stop, struct vm_moment origin)
{
	if (stop)
		tell_why_not(m, stop);
	monitor_return(m, origin);
}

static bool run(struct monitor_call *m, bool back, const struct timeline_watch *watch, unsigned count,
                struct timeline_stop *stop)
{
	struct timeline *t = m->d->timeline;
	struct vm_error err = { "" };
	int rc = back ? timeline_backward(t, timeline_begin(t), watch, count, stop, &err)
	              : timeline_forward(t, UINT64_MAX, watch, count, stop, &err);

	if (rc)
		gdb_text_put(m->out, "%s\n", err.text);
	return !rc;
}

/* ---- values ------------------------------------------------------------------------------------------------ */

static bool read_value(struct debugger *d, uint32_t lin, unsigned len, uint64_t *out)
{
	*out = 0;
	return debugger_read(d, lin, out, len) == len;
}

static void tell_value(struct monitor_call *m, const char *what, uint32_t lin, unsigned len)
{
	uint64_t value;

	if (len > 8)
		return;
	if (read_value(m->d, lin, len, &value))
		gdb_text_put(m->out, "%s 0x%0*" PRIx64 "\n", what, (int)(2 * len), value);
	else
		gdb_text_put(m->out, "%s nothing: it is not mapped\n", what);
}

static bool take_len(struct monitor_call *m, int at, uint64_t max, uint32_t *len)
{
	uint64_t value = LEN_DEFAULT;

	if (m->argc > at && !monitor_number(m, "length", m->argv[at], max, &value))
		return false;
	*len = (uint32_t)value;
	if (!value)
		gdb_text_put(m->out, "length 0: must be 1 to %" PRIu64 "\n", max);
	return value > 0;
}

/* ---- last-write -------------------------------------------------------------------------------------------- */

static uint32_t read_entry(struct debugger *d, uint32_t table, unsigned index)
{
	uint32_t entry;

	ram_read(debugger_vcpu(d)->mmu.ram, (table & ~0xfffu) + 4 * index, &entry, sizeof(entry));
	return entry;
}

/* The linear pages that the present page tables map to one physical page. SDM vol. 3A 4.3. */
static unsigned find_aliases(struct debugger *d, uint32_t frame, uint32_t page[ALIASES_MAX])
{
	const struct vcpu *c = debugger_vcpu(d);
	unsigned n = 0;

	if (!(c->cr0 & CR0_PG)) {
		page[0] = frame;
		return 1;
	}
	for (unsigned i = 0; i < 1024; i++) {
		uint32_t pde = read_entry(d, c->cr3, i), table[1024];

		if (!(pde & 1))
			continue;
		if ((pde & 0x80) && (c->cr4 & CR4_PSE)) {
			if ((pde & 0xffc00000u) == (frame & 0xffc00000u) && n < ALIASES_MAX)
				page[n++] = i << 22 | (frame & 0x3ff000u);
			continue;
		}
		ram_read(c->mmu.ram, pde & ~0xfffu, table, sizeof(table));
		for (unsigned k = 0; k < 1024 && n < ALIASES_MAX; k++)
			if ((table[k] & 1) && (table[k] & ~0xfffu) == frame)
				page[n++] = i << 22 | k << 12;
	}
	return n;
}

/* One watch for each linear address of the physical bytes; they lie in one page. */
static unsigned watch_physical(struct monitor_call *m, uint32_t gpa, uint32_t len,
                               struct timeline_watch watch[ALIASES_MAX + 1])
{
	uint32_t page[ALIASES_MAX + 1];
	unsigned n = find_aliases(m->d, gpa & ~0xfffu, page);
	bool identity = false;

	gdb_text_put(m->out, "physical %08x is now mapped at", gpa);
	for (unsigned i = 0; i < n; i++) {
		gdb_text_put(m->out, " %08x", page[i] | (gpa & 0xfff));
		identity |= page[i] == (gpa & ~0xfffu);
	}
	gdb_text_put(m->out, "%s; writes through other addresses are not seen\n", n ? "" : " no address");
	if (!identity)
		page[n++] = gpa & ~0xfffu; /* while paging was off */
	for (unsigned i = 0; i < n; i++)
		watch[i] = (struct timeline_watch){
			.kind = WATCH_WRITE, .lin = page[i] | (gpa & 0xfff), .len = len, .any_space = true
		};
	return n;
}

static bool maps_to(struct debugger *d, uint64_t lin, uint32_t gpa)
{
	uint64_t is;

	return !mmu_peek(&debugger_vcpu(d)->mmu, lin, &is) && (is & ~0xfffull) == (gpa & ~0xfffu);
}

/* What was changed before the first instruction has no moment before it. The VM stands at the beginning. */
static bool changed_at_begin(struct monitor_call *m, uint64_t gpa, uint32_t len)
{
	uint64_t begin = timeline_begin(m->d->timeline);
	struct trace_cursor *cursor;
	struct vm_error err = { "" };
	struct event ev;
	bool found = false;

	if (trace_cursor_open(&cursor, m->d->reader, &err))
		return false;
	while (!found && trace_cursor_next(cursor, &ev, NULL, &err) == 1 && ev.icount == begin)
		found = ev.kind == EV_CHANGE && !ev.value && ev.addr < gpa + len && gpa < ev.addr + ev.blob_len;
	trace_cursor_close(cursor);
	return found;
}

static bool written_at_begin(struct monitor_call *m, const struct timeline_stop *stop, uint32_t addr, uint32_t len,
                             bool phys)
{
	uint64_t gpa = addr;

	if (stop->why != TIMELINE_BEGIN || (!phys && mmu_peek(&debugger_vcpu(m->d)->mmu, addr, &gpa)) ||
	    !changed_at_begin(m, gpa, len))
		return false;
	gdb_text_put(m->out, "written by the debugger before the first instruction, while this was recorded\n");
	return true;
}

static void tell_write(struct monitor_call *m, const struct timeline_stop *stop, uint32_t lin, uint32_t len)
{
	const struct vcpu *c = debugger_vcpu(m->d);

	if (stop->by_change)
		gdb_text_put(m->out, "written by the debugger at icount %" PRIu64 ", while this was recorded",
		             stop->changed_at);
	else
		gdb_text_put(m->out, "written at icount %" PRIu64 " by the instruction at %04x:%08x, CPL %u",
		             stop->icount, c->seg[SEG_CS].sel, (uint32_t)c->rip, c->cpl);
	if ((uint32_t)stop->lin != lin)
		gdb_text_put(m->out, ", first byte %08x", (uint32_t)stop->lin);
	gdb_text_put(m->out, "; now just before it\n");
	tell_value(m, "before, it held", lin, len);
}

void monitor_last_write(struct monitor_call *m)
{
	bool phys = m->argc > 2 && !strcmp(m->argv[m->argc - 1], "phys");
	struct vm_moment origin = timeline_moment(m->d->timeline);
	struct timeline_watch watch[ALIASES_MAX + 1];
	struct timeline_stop stop = { .why = TIMELINE_BEGIN };
	unsigned count = 1;
	uint32_t addr, len;

	m->argc -= phys;
	if (m->argc > 3) {
		gdb_text_put(m->out, "last-write '%.40s': after the length only `phys` may come\n", m->argv[3]);
		return;
	}
	if (!monitor_address(m, m->argv[1], &addr) || !take_len(m, 2, LEN_MAX, &len))
		return;
	if (phys && (addr & 0xfff) + len > PAGE_SIZE) {
		gdb_text_put(m->out, "physical bytes must lie in one page\n");
		return;
	}
	if (phys)
		count = watch_physical(m, addr, len, watch);
	else
		watch[0] = debugger_watch(m->d, WATCH_WRITE, addr, len);
	do {
		if (!run(m, true, watch, count, &stop)) {
			give_up(m, NULL, origin);
			return;
		}
	} while (is_hit(&stop) && phys && !maps_to(m->d, stop.lin, addr));
	if (is_hit(&stop))
		tell_write(m, &stop, (uint32_t)watch[stop.watch].lin, len);
	else if (!written_at_begin(m, &stop, addr, len, phys))
		give_up(m, &stop, origin);
}

void monitor_last_exec(struct monitor_call *m)
{
	struct vm_moment origin = timeline_moment(m->d->timeline);
	struct timeline_watch watch;
	struct timeline_stop stop;
	uint32_t addr;

	if (!monitor_address(m, m->argv[1], &addr))
		return;
	watch = debugger_watch(m->d, WATCH_EXEC, addr, 1);
	if (!run(m, true, &watch, 1, &stop))
		give_up(m, NULL, origin);
	else if (is_hit(&stop))
		monitor_tell_place(m);
	else
		give_up(m, &stop, origin);
}

/* ---- values over time -------------------------------------------------------------------------------------- */

struct wanted {
	uint32_t addr, len;
	uint64_t value;
	struct timeline_watch watch;
};

static bool take_wanted(struct monitor_call *m, struct wanted *w)
{
	if (!monitor_address(m, m->argv[1], &w->addr) ||
	    !monitor_number(m, "value", m->argv[2], UINT64_MAX, &w->value) || !take_len(m, 3, 8, &w->len))
		return false;
	if (w->len < 8 && w->value >> 8 * w->len) {
		gdb_text_put(m->out, "value %s does not fit %u bytes\n", m->argv[2], w->len);
		return false;
	}
	w->watch = debugger_watch(m->d, WATCH_WRITE, w->addr, w->len);
	return true;
}

static bool holds(struct monitor_call *m, const struct wanted *w)
{
	uint64_t value;

	return read_value(m->d, w->addr, w->len, &value) && value == w->value;
}

void monitor_first_value(struct monitor_call *m)
{
	struct timeline *t = m->d->timeline;
	struct vm_moment origin = timeline_moment(t);
	struct timeline_stop stop = { .why = TIMELINE_BREAK };
	struct vm_error err = { "" };
	struct wanted w;

	if (!take_wanted(m, &w))
		return;
	if (timeline_seek(t, timeline_begin(t), &err)) {
		gdb_text_put(m->out, "%s\n", err.text);
		return;
	}
	while (!holds(m, &w) && is_hit(&stop))
		if (!run(m, false, &w.watch, 1, &stop)) {
			give_up(m, NULL, origin);
			return;
		}
	if (!holds(m, &w)) {
		give_up(m, &stop, origin);
		return;
	}
	if (timeline_icount(t) == timeline_begin(t))
		gdb_text_put(m->out, "it held that from the beginning\n");
	else
		gdb_text_put(m->out, "first held after icount %" PRIu64 "; now just after the write\n",
		             timeline_icount(t));
	monitor_tell_place(m);
}

void monitor_became(struct monitor_call *m)
{
	struct vm_moment origin = timeline_moment(m->d->timeline);
	struct timeline_stop stop;
	bool held, holds_now;
	struct wanted w;

	if (!take_wanted(m, &w))
		return;
	holds_now = holds(m, &w);
	do {
		held = holds_now;
		if (!run(m, true, &w.watch, 1, &stop)) {
			give_up(m, NULL, origin);
			return;
		}
		holds_now = holds(m, &w);
	} while (is_hit(&stop) && !(held && !holds_now));
	if (is_hit(&stop))
		tell_write(m, &stop, w.addr, w.len);
	else
		give_up(m, &stop, origin);
}
