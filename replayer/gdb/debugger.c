/*
 * debugger.c - see debugger.h: the four motions of the stub in terms of a timeline.
 *
 * A step is to the next moment (vmm/debug.h): one instruction, one iteration of a repeated one, or one delivery of an exception, after which the
 * handler's first instruction comes next. An interrupt that is due is delivered as part of the step that reaches its icount.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replayer/gdb/debugger_internal.h"
#include "replayer/gdb/monitor.h"

struct vcpu *debugger_vcpu(struct debugger *d)
{
	return vm_vcpu(d->vm);
}

struct space debugger_space(const struct debugger *d, uint32_t lin)
{
	for (unsigned i = 0; i < d->own_spaces; i++)
		if (d->own_space[i].lin == lin)
			return d->own_space[i].space;
	return d->space;
}

struct timeline_watch debugger_watch(const struct debugger *d, enum watch_kind kind, uint32_t lin, uint32_t len)
{
	struct space space = debugger_space(d, lin);

	return (struct timeline_watch){ .kind = kind, .lin = lin, .len = len, .any_space = space.any, .cr3 = space.cr3 };
}

bool debugger_interrupted(struct debugger *d)
{
	return d->options.interrupted && d->options.interrupted(d->options.self);
}

size_t debugger_read(struct debugger *d, uint64_t lin, void *out, size_t len)
{
	struct mmu *mmu = &debugger_vcpu(d)->mmu;
	size_t done = 0;

	while (done < len && lin + done <= UINT32_MAX) {
		size_t part = PAGE_SIZE - ((lin + done) & (PAGE_SIZE - 1));
		uint64_t gpa;

		if (mmu_peek(mmu, lin + done, &gpa) || !ram_has(mmu->ram, gpa))
			break;
		part = part < len - done ? part : len - done;
		ram_read(mmu->ram, gpa, (uint8_t *)out + done, part);
		done += part;
	}
	return done;
}

/* ---- moving ------------------------------------------------------------------------------------------------ */

struct watches {
	struct timeline_watch watch[GDB_POINTS_MAX + 1]; /* data first */
	unsigned index[GDB_POINTS_MAX + 1];              /* which of gdb's points each is */
	unsigned data, all;
};

static void add_watches(const struct debugger *d, const struct gdb_point *points, unsigned count, bool exec,
                        struct watches *w)
{
	static const enum watch_kind kinds[GDB_POINT_KINDS] = { WATCH_EXEC, WATCH_EXEC, WATCH_WRITE, WATCH_READ,
		                                                WATCH_ACCESS };

	for (unsigned i = 0; i < count && w->all < GDB_POINTS_MAX; i++) {
		enum watch_kind kind = kinds[points[i].kind];

		if ((kind == WATCH_EXEC) != exec)
			continue;
		w->watch[w->all] = debugger_watch(d, kind, points[i].lin, points[i].len);
		w->index[w->all++] = i;
	}
}

static void to_watches(const struct debugger *d, const struct gdb_point *points, unsigned count, struct watches *w)
{
	w->all = 0;
	add_watches(d, points, count, false, w);
	w->data = w->all;
	add_watches(d, points, count, true, w);
}

static void tell_stop(struct debugger *d, const struct timeline_stop *from, const unsigned *index, struct gdb_stop *to)
{
	static const enum gdb_stop_why why[] = {
		[TIMELINE_REACHED] = GDB_STOP_STEPPED, [TIMELINE_BREAK] = GDB_STOP_POINT,
		[TIMELINE_WATCH] = GDB_STOP_POINT,     [TIMELINE_BEGIN] = GDB_STOP_BEGIN,
		[TIMELINE_END] = GDB_STOP_END,         [TIMELINE_INTERRUPTED] = GDB_STOP_INTERRUPTED,
		[TIMELINE_DIVERGED] = GDB_STOP_FAILED,
	};

	to->why = why[from->why];
	if (to->why == GDB_STOP_POINT) {
		to->point = index[from->watch];
		to->lin = (uint32_t)from->lin;
	}
	if (from->by_change)
		snprintf(to->message, sizeof(to->message), "ringside: written by the debugger at icount %" PRIu64 "\n",
		         from->changed_at);
	if (from->why == TIMELINE_DIVERGED) {
		const char *cause = timeline_divergence(d->timeline)->cause;

		snprintf(to->message, sizeof(to->message),
		         "ringside: the replay diverged from its trace at icount %" PRIu64
		         "; `ringside replay` tells the difference\n%s%s%s",
		         from->icount, *cause ? "ringside: likely cause: " : "", cause, *cause ? "\n" : "");
	}
}

/*
 * One moment, with data points. A timeline's step does not look at points, its runs do but think in icounts: the step is what counts, and the run tells
 * whether a point was touched on the very same way.
 */
static int step_watching(struct debugger *d, bool back, const struct timeline_watch *watch, unsigned n,
                         struct timeline_stop *stop, struct vm_error *err)
{
	struct timeline *t = d->timeline;
	struct vm_moment from = timeline_moment(t), hit;
	struct timeline_stop touched = { .why = TIMELINE_REACHED };
	int rc = 0;

	if (back && from.icount > timeline_begin(t))
		rc = timeline_backward(t, from.icount - 1, watch, n, &touched, err);
	else if (!back)
		rc = timeline_forward(t, from.icount + 1, watch, n, &touched, err);
	hit = timeline_moment(t);
	rc = rc ? rc : timeline_seek_moment(t, from, err);
	rc = rc ? rc : back ? timeline_step_back(t, 1, stop, err) : timeline_step(t, 1, stop, err);
	if (!rc && touched.why == TIMELINE_WATCH && !vm_moment_compare(hit, timeline_moment(t)))
		*stop = touched;
	return rc;
}

/* One step, and over what it leads into where that is wanted. */
static int step(struct debugger *d, bool back, struct watches *w, struct timeline_stop *stop, struct vm_error *err)
{
	const struct context from = debugger_context(d);
	struct timeline *t = d->timeline;
	int rc;

	if (w->data)
		rc = step_watching(d, back, w->watch, w->data, stop, err);
	else
		rc = back ? timeline_step_back(t, 1, stop, err) : timeline_step(t, 1, stop, err);
	if (rc || !d->over_handlers || w->all == GDB_POINTS_MAX)
		return rc;
	return back ? handlers_over_back(d, &from, w->watch, w->all, stop, err)
	            : handlers_over(d, &from, w->watch, w->all, stop, err);
}

static int move(struct debugger *d, enum gdb_motion motion, struct watches *w, struct timeline_stop *stop,
                struct vm_error *err)
{
	struct timeline *t = d->timeline;

	switch (motion) {
	case GDB_STEP:
	case GDB_BACK_STEP: return step(d, motion == GDB_BACK_STEP, w, stop, err);
	case GDB_CONTINUE: return timeline_forward(t, UINT64_MAX, w->watch, w->all, stop, err);
	case GDB_BACK_CONTINUE: return timeline_backward(t, timeline_begin(t), w->watch, w->all, stop, err);
	}
	return 0;
}

static void resume(void *self, enum gdb_motion motion, const struct gdb_point *points, unsigned count,
                   struct gdb_stop *stop)
{
	struct debugger *d = self;
	struct timeline_stop from = { .why = TIMELINE_REACHED };
	struct vm_error err = { "" };
	struct watches w;

	to_watches(d, points, count, &w);
	if (move(d, motion, &w, &from, &err)) {
		stop->why = GDB_STOP_FAILED;
		snprintf(stop->message, sizeof(stop->message), "ringside: %.500s\n", err.text);
		return;
	}
	/* backward to the limit, which was the begin */
	if (motion == GDB_BACK_CONTINUE && from.why == TIMELINE_REACHED)
		from.why = TIMELINE_BEGIN;
	tell_stop(d, &from, w.index, stop);
}

static struct vm *target_vm(void *self)
{
	struct debugger *d = self;

	return d->vm;
}

static bool target_interrupted(void *self)
{
	return debugger_interrupted(self);
}

static void target_monitor(void *self, const char *line, struct gdb_text *out)
{
	monitor_command(self, line, out);
}

/* ---- life -------------------------------------------------------------------------------------------------- */

int debugger_open(struct debugger **out, struct trace_reader *reader, const struct debugger_options *options,
                  struct vm_error *err)
{
	struct timeline_options timeline = {
		.memory_checkpoints = options->memory_checkpoints,
		.engine = ENGINE_TRANSLATE, /* any engine replays any trace; this one is fast */
		.interrupted = options->interrupted,
		.self = options->self,
	};
	struct debugger *d = calloc(1, sizeof(*d));
	int rc;

	*out = NULL;
	if (!d)
		return vm_fail(err, -ENOMEM, "out of memory");
	d->options = *options;
	d->space.any = true;
	d->reader = reader;
	d->target = (struct gdb_target){
		.self = d,
		.reversible = true,
		.refusal = "this is a recording, its memory and registers cannot be changed",
		.vm = target_vm,
		.resume = resume,
		.interrupted = target_interrupted,
		.monitor = target_monitor,
	};
	rc = timeline_open(&d->timeline, reader, &timeline, err);
	if (rc == -ENOTSUP) { /* not on this host's processor */
		timeline.engine = ENGINE_INTERP;
		rc = timeline_open(&d->timeline, reader, &timeline, err);
	}
	if (rc) {
		free(d);
		return rc;
	}
	d->vm = timeline_vm(d->timeline);
	*out = d;
	return 0;
}

void debugger_close(struct debugger *d)
{
	if (!d)
		return;
	timeline_close(d->timeline);
	free(d);
}

const struct gdb_target *debugger_target(struct debugger *d)
{
	return &d->target;
}

bool debugger_diverged(const struct debugger *d)
{
	return timeline_has_diverged(d->timeline);
}
