/*
 * timeline.c - see timeline.h.
 *
 * Going somewhere is: the latest start at or before it (the present, a saved moment, a checkpoint of the trace), then a run. On
 * the way moments are saved at distances from the goal that shrink by eight, so that whoever then goes back a little finds
 * one near:
 *
 *     start ------------------ goal-16M ------ goal-2M -- goal-256K - goal-32K -goal-4K goal
 *
 * Searching backward is searching forward from each start before the present in turn, the latest first, for the last
 * match before the present; long stretches are saved in between while they are searched.
 *
 * Invariants
 *  1. saved[] ascends. Everything in it, and every checkpoint of the trace, is a state of this one run: the order of
 *     moments is the order of time.
 *  2. Between calls the VM has no debug points, and is at `at` unless `lost`.
 */
#include "replayer/timeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replayer/input.h"
#include "replayer/moments.h"
#include "vmm/cpu/vcpu.h"

#define MEMORY_DEFAULT (256ull << 20)
#define SAVED_MAX 96
#define SLICE 2000000ull /* instructions between two questions whether to go on: some milliseconds */
#define NEAR 4096ull     /* distance of the nearest moment saved before a goal */
#define NEAR_RATIO 8
#define NEAR_STEPS 5
#define SEARCH_STRIDE 64000000ull /* between moments saved while searching */
#define WORTH_RESTORING 200000ull /* running this far is cheaper than putting a start back */

struct timeline {
	struct trace_reader *reader;
	struct timeline_options options;
	struct vm *vm;
	struct replay_input *input;
	struct vm_input plug;
	struct vm_observer observer;
	struct moments *moments;
	struct saved *saved[SAVED_MAX];
	unsigned count;
	struct vm_moment at;
	bool lost;         /* the VM is nowhere: a restore failed, or the run diverged */
	bool has_diverged; /* ever */
	bool ended;        /* the VM stands behind the last event */
	uint64_t begin, end;
	uint64_t from; /* icount at which the present run began, for progress */
};

/* How a run ended. */
enum run_end { RUN_REACHED, RUN_HIT, RUN_END, RUN_INTERRUPTED, RUN_DIVERGED };

/* ---- life --------------------------------------------------------------------------------------------------- */

void timeline_close(struct timeline *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < t->count; i++)
		moments_drop(t->moments, t->saved[i]);
	moments_destroy(t->moments);
	vm_destroy(t->vm);
	replay_input_destroy(t->input);
	free(t);
}

static int set_up(struct timeline *t, struct vm_error *err)
{
	struct vm_config config = trace_reader_meta(t->reader)->config;
	struct replay_input_options input = { 0 };
	int rc;

	config.engine = t->options.engine;
	config.trap = TRAP_CALL;
	rc = vm_create(&t->vm, &config, err);
	if (rc)
		return rc;
	input.clock = vm_clock(t->vm);
	input.tsc_offset = &vm_vcpu(t->vm)->tsc_offset;
	rc = replay_input_create(&t->input, t->reader, &input, err);
	if (rc)
		return rc;
	replay_input_plugs(t->input, &t->plug, &t->observer);
	vm_plug(t->vm, &t->plug, &t->observer);
	return moments_create(&t->moments, t->reader, t->vm, err);
}

static int restore_trace(struct timeline *t, size_t number, struct vm_error *err);

int timeline_open(struct timeline **out, struct trace_reader *reader, const struct timeline_options *options,
                  struct vm_error *err)
{
	struct timeline *t = calloc(1, sizeof(*t));
	int rc;

	*out = NULL;
	if (!t)
		return vm_fail(err, -ENOMEM, "out of memory");
	t->reader = reader;
	t->options = *options;
	if (!t->options.memory_checkpoints)
		t->options.memory_checkpoints = MEMORY_DEFAULT;
	rc = set_up(t, err);
	rc = rc ? rc : restore_trace(t, 0, err);
	if (!rc) {
		t->begin = t->at.icount;
		t->end = trace_reader_meta(reader)->icount;
		if (t->end < t->begin)
			t->end = t->begin;
	}
	if (rc) {
		timeline_close(t);
		return rc;
	}
	*out = t;
	return 0;
}

struct vm *timeline_vm(struct timeline *t)
{
	return t->vm;
}

struct trace_reader *timeline_reader(struct timeline *t)
{
	return t->reader;
}

uint64_t timeline_icount(const struct timeline *t)
{
	return t->at.icount;
}

struct vm_moment timeline_moment(const struct timeline *t)
{
	return t->at;
}

uint64_t timeline_begin(const struct timeline *t)
{
	return t->begin;
}

uint64_t timeline_end(const struct timeline *t)
{
	return t->end;
}

uint64_t timeline_event(const struct timeline *t)
{
	return replay_input_seq(t->input);
}

const struct replay_divergence *timeline_divergence(const struct timeline *t)
{
	return replay_input_divergence(t->input);
}

bool timeline_has_diverged(const struct timeline *t)
{
	return t->has_diverged;
}

void timeline_memory(const struct timeline *t, unsigned *count, uint64_t *bytes)
{
	*count = t->count;
	*bytes = moments_bytes(t->moments);
}

/* ---- saved moments ------------------------------------------------------------------------------------------ */

/* Number of saved moments before or, when `or_at`, at this moment. */
static unsigned saved_before(const struct timeline *t, struct vm_moment m, bool or_at)
{
	unsigned n = 0;

	while (n < t->count && vm_moment_compare(saved_at(t->saved[n]), m) < (or_at ? 1 : 0))
		n++;
	return n;
}

static void forget(struct timeline *t, unsigned i)
{
	moments_drop(t->moments, t->saved[i]);
	memmove(&t->saved[i], &t->saved[i + 1], (--t->count - i) * sizeof(t->saved[0]));
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* The moment whose loss would cost least: a small gap, far from the present. */
static unsigned least_useful(const struct timeline *t)
{
	unsigned worst = 0;
	double least = 0;

	for (unsigned i = 0; i < t->count; i++) {
		uint64_t here = saved_at(t->saved[i]).icount;
		uint64_t before = i ? saved_at(t->saved[i - 1]).icount : t->begin;
		uint64_t after = i + 1 < t->count ? saved_at(t->saved[i + 1]).icount : t->end;
		double use = ((double)(after - before) + 1) / ((double)distance(here, t->at.icount) + NEAR);

		if (!i || use < least) {
			least = use;
			worst = i;
		}
	}
	return worst;
}

/* Save the present moment, if it is not yet, and make room. Failing costs time later, nothing else. */
static void save_here(struct timeline *t)
{
	unsigned n = saved_before(t, t->at, true);
	struct saved *s;

	if (t->ended || (n && !vm_moment_compare(saved_at(t->saved[n - 1]), t->at)))
		return;
	if (t->count == SAVED_MAX) {
		forget(t, least_useful(t));
		n = saved_before(t, t->at, true);
	}
	s = moments_save(t->moments, timeline_event(t));
	if (!s)
		return;
	memmove(&t->saved[n + 1], &t->saved[n], (t->count++ - n) * sizeof(t->saved[0]));
	t->saved[n] = s;
	while (t->count > 1 && moments_bytes(t->moments) > t->options.memory_checkpoints)
		forget(t, least_useful(t));
}

static int diverged(struct timeline *t, struct vm_error *err)
{
	t->lost = t->has_diverged = true;
	return replay_input_fail(t->input, err);
}

/* ---- starts ------------------------------------------------------------------------------------------------- */

static int arrive(struct timeline *t, uint64_t seq, struct vm_error *err)
{
	int rc = replay_input_seek(t->input, seq, err);

	if (rc)
		return rc;
	t->lost = t->ended = false;
	t->at = vm_moment(t->vm);
	return 0;
}

/* A checkpoint of the trace lies before what is asynchronous at its icount: a run of no length delivers that. */
static int settle(struct timeline *t, struct vm_error *err)
{
	struct vm_moment here = { .icount = t->at.icount };
	struct vm_stop stop;
	int rc = vm_run_to(t->vm, &here, &stop, err);

	rc = rc ? rc : replay_input_status(t->input, err);
	if (!rc && timeline_divergence(t)->diverged)
		rc = diverged(t, err);
	t->lost = rc;
	t->ended = stop.reason != STOP_NONE;
	t->at = vm_moment(t->vm);
	return rc;
}

static int restore_trace(struct timeline *t, size_t number, struct vm_error *err)
{
	uint64_t seq;
	int rc;

	t->lost = true;
	rc = moments_restore_trace(t->moments, number, &seq, err);
	rc = rc ? rc : arrive(t, seq, err);
	return rc ? rc : settle(t, err);
}

static int restore_saved(struct timeline *t, const struct saved *s, struct vm_error *err)
{
	int rc;

	t->lost = true;
	rc = moments_restore(t->moments, s, err);
	return rc ? rc : arrive(t, saved_seq(s), err);
}

/* A place to run from. */
struct start {
	struct vm_moment at;
	const struct saved *saved; /* NULL: the trace's */
	size_t number;
};

/* The latest start before, or at, a moment. A checkpoint of the trace comes before all that happens at its icount, so it serves
 * every moment there. */
static struct start start_before(const struct timeline *t, struct vm_moment m, bool or_at)
{
	unsigned n = saved_before(t, m, or_at);
	struct trace_checkpoint info;
	struct start s = { .number = trace_checkpoint_before(t->reader, m.icount) };

	trace_checkpoint_info(t->reader, s.number, &info);
	while (!or_at && s.number && info.icount >= m.icount) /* which moment it leads to is not known before it is there */
		trace_checkpoint_info(t->reader, --s.number, &info);
	s.at = (struct vm_moment){ .icount = s.number ? info.icount : t->begin };
	if (n && vm_moment_compare(saved_at(t->saved[n - 1]), s.at) >= 0) {
		s.saved = t->saved[n - 1];
		s.at = saved_at(s.saved);
	}
	return s;
}

static int go_to_start(struct timeline *t, const struct start *s, struct vm_error *err)
{
	return s->saved ? restore_saved(t, s->saved, err) : restore_trace(t, s->number, err);
}

/* ---- running ------------------------------------------------------------------------------------------------ */

static void tell_progress(struct timeline *t, uint64_t goal)
{
	if (t->options.progress && goal > t->from)
		t->options.progress(t->options.self, (double)(t->at.icount - t->from) / (double)(goal - t->from));
}

/* Run forward to a moment; stops at debug hits. */
static int run_to(struct timeline *t, struct vm_moment goal, enum run_end *end, struct vm_error *err)
{
	struct vm_stop stop;

	*end = RUN_REACHED;
	while (!t->ended && vm_moment_compare(t->at, goal) < 0) {
		struct vm_moment until = goal;
		int rc;

		if (goal.icount - t->at.icount > SLICE)
			until = (struct vm_moment){ .icount = t->at.icount + SLICE };
		rc = vm_run_to(t->vm, &until, &stop, err);
		rc = rc ? rc : replay_input_status(t->input, err);
		if (rc) {
			t->lost = true;
			return rc;
		}
		t->at = vm_moment(t->vm);
		if (timeline_divergence(t)->diverged) {
			*end = RUN_DIVERGED;
			t->lost = t->has_diverged = true;
			return 0;
		}
		t->ended = stop.reason != STOP_NONE;
		if (vm_debug_pending(t->vm)) {
			*end = RUN_HIT;
			return 0;
		}
		tell_progress(t, goal.icount);
		if (vm_moment_compare(t->at, goal) < 0 && t->options.interrupted &&
		    t->options.interrupted(t->options.self)) {
			*end = RUN_INTERRUPTED;
			return 0;
		}
	}
	if (t->ended)
		*end = RUN_END;
	return 0;
}

/* As run_to() without points, saving moments nearer and nearer to the goal. */
static int run_densely(struct timeline *t, struct vm_moment goal, enum run_end *end, struct vm_error *err)
{
	uint64_t near = NEAR;
	int rc = 0;

	for (unsigned i = 1; i < NEAR_STEPS; i++)
		near *= NEAR_RATIO;
	*end = RUN_REACHED;
	for (; near >= NEAR; near /= NEAR_RATIO) {
		if (goal.icount < near || goal.icount - near < t->at.icount + near / 2)
			continue;
		rc = run_to(t, (struct vm_moment){ .icount = goal.icount - near }, end, err);
		if (rc || *end != RUN_REACHED)
			return rc;
		save_here(t);
	}
	return run_to(t, goal, end, err);
}

/* Is there a reason to leave the present for another start on the way to a goal? */
static bool present_serves(const struct timeline *t, struct vm_moment goal, const struct start *s)
{
	if (t->lost || t->ended || vm_moment_compare(t->at, goal) > 0)
		return false;
	return t->at.icount + WORTH_RESTORING >= s->at.icount;
}

/* To a moment at or after `begin`; *end is RUN_REACHED, RUN_END, RUN_INTERRUPTED or RUN_DIVERGED. */
static int go_to(struct timeline *t, struct vm_moment goal, enum run_end *end, struct vm_error *err)
{
	struct start s = start_before(t, goal, true);
	int rc = 0;

	*end = t->ended && !t->lost ? RUN_END : RUN_REACHED;
	if (!t->lost && !vm_moment_compare(t->at, goal))
		return 0;
	if (!present_serves(t, goal, &s))
		rc = go_to_start(t, &s, err);
	t->from = t->at.icount;
	return rc ? rc : run_densely(t, goal, end, err);
}

static int go_exactly(struct timeline *t, struct vm_moment goal, struct vm_error *err)
{
	enum run_end end;
	int rc = go_to(t, goal, &end, err);

	if (rc)
		return rc;
	if (end == RUN_DIVERGED)
		return diverged(t, err);
	return end == RUN_INTERRUPTED ? vm_fail(err, -EINTR, "interrupted") : 0;
}

int timeline_seek_moment(struct timeline *t, struct vm_moment moment, struct vm_error *err)
{
	if (moment.icount < t->begin || moment.icount > t->end)
		return vm_fail(err, -ERANGE, "icount %llu is not in the trace, which has %llu to %llu",
		               (unsigned long long)moment.icount, (unsigned long long)t->begin,
		               (unsigned long long)t->end);
	return go_exactly(t, moment, err);
}

int timeline_seek(struct timeline *t, uint64_t icount, struct vm_error *err)
{
	return timeline_seek_moment(t, (struct vm_moment){ .icount = icount }, err);
}

/* ---- steps -------------------------------------------------------------------------------------------------- */

static struct vm_moment next_moment(struct vm_moment m)
{
	return (struct vm_moment){ .icount = m.icount, .turn = m.turn + 1 };
}

/* To the latest moment before `goal`, from the present, which is before it. */
static int last_before(struct timeline *t, struct vm_moment goal, enum run_end *end, struct vm_error *err)
{
	struct vm_moment last = t->at;
	struct saved *here = NULL;
	int rc = 0;

	*end = RUN_REACHED;
	here = moments_save(t->moments, timeline_event(t));
	if (!here)
		return vm_fail(err, -ENOMEM, "out of memory");
	while (!rc && *end == RUN_REACHED) {
		rc = run_to(t, next_moment(t->at), end, err);
		if (rc || t->ended || vm_moment_compare(t->at, goal) >= 0)
			break;
		last = t->at;
	}
	if (!rc && (*end == RUN_REACHED || *end == RUN_END)) {
		rc = restore_saved(t, here, err);
		rc = rc ? rc : run_to(t, last, end, err);
	}
	moments_drop(t->moments, here);
	return rc;
}

/* To the latest moment before `goal`; *end is RUN_END when there is none. */
static int go_before(struct timeline *t, struct vm_moment goal, enum run_end *end, struct vm_error *err)
{
	uint64_t back = goal.turn ? 0 : 1;

	for (;;) {
		uint64_t icount = goal.icount - t->begin > back ? goal.icount - back : t->begin;
		int rc = go_to(t, (struct vm_moment){ .icount = icount }, end, err);

		if (rc || *end == RUN_INTERRUPTED || *end == RUN_DIVERGED)
			return rc;
		if (!t->ended && vm_moment_compare(t->at, goal) < 0)
			return last_before(t, goal, end, err);
		if (icount == t->begin) {
			*end = RUN_END;
			return 0;
		}
		back = back ? 2 * back : 1; /* what was there is no moment: within an I/O string instruction */
	}
}

static void fill_stop(const struct timeline *t, enum timeline_why why, struct timeline_stop *stop)
{
	*stop = (struct timeline_stop){ .why = why, .icount = t->at.icount };
}

static enum timeline_why why_of(enum run_end end)
{
	static const enum timeline_why why[] = {
		[RUN_REACHED] = TIMELINE_REACHED,         [RUN_HIT] = TIMELINE_BREAK,         [RUN_END] = TIMELINE_END,
		[RUN_INTERRUPTED] = TIMELINE_INTERRUPTED, [RUN_DIVERGED] = TIMELINE_DIVERGED,
	};

	return why[end];
}

/* After a failure the VM may be nowhere. */
static int find_present(struct timeline *t, struct vm_error *err)
{
	return t->lost ? restore_trace(t, 0, err) : 0;
}

int timeline_step(struct timeline *t, uint64_t count, struct timeline_stop *stop, struct vm_error *err)
{
	enum run_end end = t->ended ? RUN_END : RUN_REACHED;
	int rc = find_present(t, err);

	t->from = t->at.icount;
	for (uint64_t i = 0; !rc && i < count && end == RUN_REACHED; i++) {
		rc = run_to(t, next_moment(t->at), &end, err);
		if (end == RUN_INTERRUPTED && i + 1 == count)
			end = RUN_REACHED;
	}
	fill_stop(t, why_of(end), stop);
	return rc;
}

/* Go back about `count` moments and count those from there to where it began; then as many forward as were too many. *done gets how many
 * it went back, 0 when this is no way to go. */
static int leap_back(struct timeline *t, uint64_t count, uint64_t *done, enum run_end *end, struct vm_error *err)
{
	struct vm_moment from = t->at;
	struct saved *there = NULL;
	uint64_t total = 0, n;
	int rc = go_to(t, (struct vm_moment){ .icount = from.icount - t->begin > count ? from.icount - count : t->begin },
	               end, err);

	*done = 0;
	if (rc || *end != RUN_REACHED || vm_moment_compare(t->at, from) >= 0)
		return rc;
	there = moments_save(t->moments, timeline_event(t));
	if (!there)
		return vm_fail(err, -ENOMEM, "out of memory");
	for (; !rc && *end == RUN_REACHED && vm_moment_compare(t->at, from) < 0; total++)
		rc = run_to(t, next_moment(t->at), end, err);
	if (!rc && (*end == RUN_REACHED || *end == RUN_END)) {
		rc = restore_saved(t, there, err);
		*end = RUN_REACHED;
		for (n = total; !rc && *end == RUN_REACHED && n > count; n--)
			rc = run_to(t, next_moment(t->at), end, err);
		*done = total < count ? total : count;
	}
	moments_drop(t->moments, there);
	return rc;
}

#define LEAP 16 /* moments worth a leap */

int timeline_step_back(struct timeline *t, uint64_t count, struct timeline_stop *stop, struct vm_error *err)
{
	enum run_end end = RUN_REACHED;
	int rc = find_present(t, err);

	while (!rc && count && end == RUN_REACHED) {
		uint64_t done = 1;

		if (count < LEAP || t->at.icount == t->begin)
			rc = go_before(t, t->at, &end, err);
		else
			rc = leap_back(t, count, &done, &end, err);
		if (!rc && !done && end == RUN_REACHED) {
			done = 1;
			rc = go_before(t, t->at, &end, err);
		}
		count -= done;
	}
	fill_stop(t, end == RUN_END ? TIMELINE_BEGIN : why_of(end), stop);
	return rc;
}

int timeline_seek_event(struct timeline *t, uint64_t seq, struct vm_error *err)
{
	struct trace_cursor *c;
	struct event ev;
	enum run_end end = RUN_REACHED;
	int rc;

	if (seq >= trace_reader_meta(t->reader)->events)
		return vm_fail(err, -ERANGE, "event %llu is not in the trace, which has %llu", (unsigned long long)seq,
		               (unsigned long long)trace_reader_meta(t->reader)->events);
	rc = trace_cursor_open(&c, t->reader, err);
	if (rc)
		return rc;
	rc = trace_cursor_seek(c, seq, err);
	rc = rc ? rc : trace_cursor_next(c, &ev, NULL, err);
	trace_cursor_close(c);
	if (rc < 0)
		return rc;
	rc = timeline_seek(t, ev.icount, err);
	while (!rc && end == RUN_REACHED && timeline_event(t) < seq)
		rc = run_to(t, next_moment(t->at), &end, err);
	return !rc && end == RUN_DIVERGED ? diverged(t, err) : rc;
}

/* ---- conditions --------------------------------------------------------------------------------------------- */

static int set_watches(struct timeline *t, const struct timeline_watch *watches, unsigned count, struct vm_error *err)
{
	struct vm_debug_point point[TIMELINE_WATCHES_MAX] = { 0 };

	if (count > TIMELINE_WATCHES_MAX)
		return vm_fail(err, -EINVAL, "%u conditions are too many: %u at most", count, TIMELINE_WATCHES_MAX);
	for (unsigned i = 0; i < count; i++) {
		const struct timeline_watch *w = &watches[i];

		if (w->lin > UINT32_MAX)
			return vm_fail(err, -EINVAL, "%llx is beyond the guest's 32-bit addresses",
			               (unsigned long long)w->lin);
		point[i] = (struct vm_debug_point){
			.exec = w->kind == WATCH_EXEC,
			.read = w->kind == WATCH_READ || w->kind == WATCH_ACCESS,
			.write = w->kind == WATCH_WRITE || w->kind == WATCH_ACCESS,
			.any_space = w->any_space,
			.lin = (uint32_t)w->lin,
			.len = w->len,
			.cr3 = (uint32_t)w->cr3,
		};
	}
	return vm_debug_set(t->vm, point, count, err);
}

static void clear_watches(struct timeline *t)
{
	vm_debug_set(t->vm, NULL, 0, NULL);
}

static void fill_match(const struct timeline *t, const struct timeline_watch *watches, const struct vm_debug_hit *hit,
                       uint64_t when, struct timeline_stop *stop)
{
	fill_stop(t, watches[hit->point].kind == WATCH_EXEC ? TIMELINE_BREAK : TIMELINE_WATCH, stop);
	stop->watch = hit->point;
	stop->lin = hit->lin;
	stop->by_change = hit->by_change;
	stop->changed_at = hit->by_change ? when : 0;
}

int timeline_forward(struct timeline *t, uint64_t limit, const struct timeline_watch *watches, unsigned count,
                     struct timeline_stop *stop, struct vm_error *err)
{
	struct vm_moment goal = { .icount = limit };
	struct vm_debug_hit hit;
	enum run_end end;
	int rc = find_present(t, err);

	rc = rc ? rc : set_watches(t, watches, count, err);
	if (rc)
		return rc;
	vm_debug_pass(t->vm);
	t->from = t->at.icount;
	rc = run_to(t, goal, &end, err);
	if (!rc && end == RUN_HIT && vm_debug_take(t->vm, &hit))
		fill_match(t, watches, &hit, t->at.icount, stop);
	else
		fill_stop(t, why_of(end), stop);
	clear_watches(t);
	return rc;
}

/* ---- backward ----------------------------------------------------------------------------------------------- */

/* A match: for an instruction where it is about to be executed, for data where the one that touched is complete. */
struct match {
	bool found;
	struct vm_moment at;
	struct vm_debug_hit hit;
};

/* The last match from the present up to `goal`, where an instruction's own match does not count. The VM stays at the end. Saves moments. */
static int scan(struct timeline *t, struct vm_moment goal, const struct timeline_watch *watches, struct match *last,
                enum run_end *end, struct vm_error *err)
{
	int rc;

	*end = RUN_REACHED;
	while (*end == RUN_REACHED && !t->ended && vm_moment_compare(t->at, goal) < 0) {
		struct vm_moment part = goal;
		struct vm_debug_hit hit;

		if (goal.icount - t->at.icount > SEARCH_STRIDE + SEARCH_STRIDE / 2)
			part = (struct vm_moment){ .icount = t->at.icount + SEARCH_STRIDE };
		while (!(rc = run_to(t, part, end, err)) && *end == RUN_HIT && vm_debug_take(t->vm, &hit)) {
			bool exec = watches[hit.point].kind == WATCH_EXEC;

			if (vm_moment_compare(t->at, goal) < (exec ? 0 : 1))
				*last = (struct match){ .found = true, .at = t->at, .hit = hit };
			if (exec)
				vm_debug_pass(t->vm);
		}
		if (rc)
			return rc;
		if (*end == RUN_REACHED && part.icount != goal.icount)
			save_here(t);
	}
	if (*end == RUN_END)
		*end = RUN_REACHED; /* the goal was the end */
	return 0;
}

/* Moments just before the present, so that what is near is found soon. */
static int save_before(struct timeline *t, struct vm_moment from, enum run_end *end, struct vm_error *err)
{
	struct start s = start_before(t, from, false);

	*end = RUN_REACHED;
	if (from.icount - s.at.icount <= 2 * NEAR)
		return 0;
	return go_to(t, (struct vm_moment){ .icount = from.icount - 1 }, end, err);
}

/* From the latest start before `until`, or `floor`, look up to `until`. *from gets where the stretch begins. */
static int scan_stretch(struct timeline *t, struct vm_moment floor, struct vm_moment until,
                        const struct timeline_watch *watches, unsigned count, struct vm_moment *from,
                        struct match *last, enum run_end *end, struct vm_error *err)
{
	struct start s = start_before(t, until, false);
	int rc = go_to_start(t, &s, err);

	*end = RUN_REACHED;
	t->from = t->at.icount;
	if (!rc && vm_moment_compare(t->at, floor) < 0)
		rc = run_to(t, floor, end, err);
	*from = t->at;
	if (rc || *end != RUN_REACHED)
		return rc;
	rc = set_watches(t, watches, count, err);
	rc = rc ? rc : scan(t, until, watches, last, end, err);
	clear_watches(t);
	return rc;
}

/* To where a match is told: before the instruction. */
static int go_to_match(struct timeline *t, const struct timeline_watch *watches, const struct match *m,
                       enum run_end *end, struct timeline_stop *stop, struct vm_error *err)
{
	int rc = watches[m->hit.point].kind == WATCH_EXEC ? go_to(t, m->at, end, err) : go_before(t, m->at, end, err);

	fill_match(t, watches, &m->hit, m->at.icount, stop);
	if (*end == RUN_DIVERGED || *end == RUN_INTERRUPTED)
		fill_stop(t, why_of(*end), stop);
	return rc;
}

int timeline_backward(struct timeline *t, uint64_t limit, const struct timeline_watch *watches, unsigned count,
                      struct timeline_stop *stop, struct vm_error *err)
{
	struct vm_moment floor = { .icount = limit > t->begin ? limit : t->begin }, until = t->at, from;
	struct match last = { .found = false };
	enum run_end end;
	int rc = find_present(t, err);

	if (!rc && until.icount > floor.icount)
		rc = save_before(t, until, &end, err);
	else
		end = RUN_REACHED;
	while (!rc && end == RUN_REACHED && vm_moment_compare(until, floor) > 0) {
		rc = scan_stretch(t, floor, until, watches, count, &from, &last, &end, err);
		if (!rc && end == RUN_REACHED && last.found)
			return go_to_match(t, watches, &last, &end, stop, err);
		if (!rc && end == RUN_REACHED)
			until = from;
		if (until.icount == floor.icount)
			break; /* its first moment may have another turn than the floor */
	}
	if (!rc && end == RUN_REACHED)
		rc = go_to(t, floor, &end, err);
	else if (!rc && end == RUN_INTERRUPTED)
		rc = go_to(t, until, &end, err);
	fill_stop(t,
	          end != RUN_REACHED && end != RUN_END ? why_of(end)
	          : floor.icount == t->begin           ? TIMELINE_BEGIN
	                                               : TIMELINE_REACHED,
	          stop);
	return rc;
}
