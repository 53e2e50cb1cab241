/*
 * measure.c - see measure.h.
 */
#include "replayer/measure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#include "replayer/callers.h"

#define PLAIN_RUNS 3 /* without a clock */

struct measurement {
	const struct measure_options *options;
	struct trace_reader *reader;
	struct samples_writer *writer;
	uint64_t events, costs; /* in the trace; told in this run */
	uint32_t *cost;         /* of this run: packing them is not part of it */
	struct replay *replay;  /* the present one */
	struct callers *callers;
	unsigned done; /* runs of all kinds */
	uint64_t timed[SAMPLES_RUNS_MAX], plain[PLAIN_RUNS];
	unsigned timed_count, plain_count;
};

static void on_cost(void *self, const struct event_cost *cost)
{
	struct measurement *m = self;

	if (m->costs < m->events)
		m->cost[m->costs] = samples_repeatable(cost);
	m->costs++;
}

static void on_progress(void *self, double done)
{
	struct measurement *m = self;

	if (m->options->progress)
		m->options->progress(m->options->self, (m->done + done) / (m->options->runs + PLAIN_RUNS + 1));
}

/* Of this thread, ns. */
static uint64_t processor_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t median(uint64_t *values, unsigned n)
{
	qsort(values, n, sizeof(*values), compare_u64);
	return values[n / 2];
}

/* The least that two reads with nothing between them are apart. */
static uint64_t clock_cycles(void)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 10000; i++) {
		uint64_t a = __rdtsc(), b = __rdtsc();

		least = b - a < least ? b - a : least;
	}
	return least;
}

static int one_run(struct measurement *m, bool timed, struct replay_result *result, struct vm_error *err)
{
	const struct replay_options options = { .to = UINT64_MAX,
		                                .progress = on_progress,
		                                .cost = timed ? on_cost : NULL,
		                                .self = m,
		                                .engine = m->options->engine,
		                                .hardfaults = m->options->hardfaults };
	struct replay *replay;
	uint64_t begin;
	int rc = replay_create(&replay, m->reader, &options, err);

	if (rc)
		return rc;
	m->costs = 0;
	begin = processor_time();
	rc = replay_run(replay, result, err);
	begin = processor_time() - begin;
	replay_destroy(replay);
	m->done++;
	if (rc || result->divergence.diverged)
		return rc;
	if (!timed) {
		m->plain[m->plain_count++] = begin;
		return 0;
	}
	m->timed[m->timed_count++] = begin;
	if (m->costs < m->events)
		return vm_fail(err, -EBADMSG, "the replay tells of %llu events, the trace has %llu",
		               (unsigned long long)m->costs, (unsigned long long)m->events);
	samples_begin(m->writer, SAMPLES_RUN + m->timed_count - 1);
	for (uint64_t i = 0; i < m->events; i++)
		samples_add(m->writer, m->cost[i]);
	return samples_end(m->writer, err);
}

static void on_event(void *self, const struct event *ev)
{
	struct measurement *m = self;

	callers_add(m->callers, replay_vm(m->replay), ev);
}

static int keep_callers(struct measurement *m, struct vm_error *err)
{
	int rc;

	samples_begin(m->writer, SAMPLES_CALLERS);
	for (uint64_t i = 0; i < m->events; i++)
		samples_add(m->writer, i < callers_events(m->callers) ? callers_of(m->callers, i) : 0);
	rc = samples_end(m->writer, err);
	samples_begin(m->writer, SAMPLES_NODES);
	for (uint32_t n = 0; n < callers_nodes(m->callers); n++) {
		samples_add(m->writer, callers_parent(m->callers, n));
		samples_add(m->writer, callers_address(m->callers, n));
	}
	return rc ? rc : samples_end(m->writer, err);
}

/* A run of its own: looking at stacks takes time. */
static int callers_run(struct measurement *m, struct replay_result *result, struct vm_error *err)
{
	const struct replay_options options = {
		.to = UINT64_MAX, .progress = on_progress, .event = on_event, .self = m, .engine = m->options->engine
	};
	int rc;

	m->callers = callers_create(m->events);
	if (!m->callers)
		return vm_fail(err, -ENOMEM, "out of memory");
	rc = replay_create(&m->replay, m->reader, &options, err);
	if (rc)
		return rc;
	rc = replay_run(m->replay, result, err);
	replay_destroy(m->replay);
	m->done++;
	return rc || result->divergence.diverged ? rc : keep_callers(m, err);
}

/* The runs without a clock are spread over the others: a host's speed drifts. */
static int all_runs(struct measurement *m, struct replay_result *result, struct vm_error *err)
{
	unsigned runs = m->options->runs;
	int rc = 0;

	result->divergence.diverged = false;
	while (!rc && !result->divergence.diverged && (m->timed_count < runs || m->plain_count < PLAIN_RUNS))
		rc = one_run(m,
		             m->timed_count * PLAIN_RUNS >= m->plain_count * runs && m->plain_count < PLAIN_RUNS
		                     ? false
		                     : m->timed_count < runs,
		             result, err);
	return rc;
}

static void fill_info(struct measurement *m, struct samples_info *info)
{
	const struct trace_meta *meta = trace_reader_meta(m->reader);

	memset(info, 0, sizeof(*info));
	info->digest = meta->digest;
	info->events = meta->events;
	info->runs = m->timed_count;
	info->tsc_hz = m->options->tsc_hz;
	info->timed_ns = median(m->timed, m->timed_count);
	info->plain_ns = median(m->plain, m->plain_count);
	info->clock_cycles = clock_cycles();
	info->nodes = callers_nodes(m->callers);
	snprintf(info->host, sizeof(info->host), "%s", m->options->host);
	snprintf(info->engine, sizeof(info->engine), "%s%s",
	         m->options->engine ? vm_engine_name(*m->options->engine) : meta->engine,
	         m->options->hardfaults ? " fault" : "");
}

int measure(struct trace_reader *reader, const struct measure_options *options, struct measure_result *result,
            struct vm_error *err)
{
	struct measurement m = { .options = options, .reader = reader, .events = trace_reader_meta(reader)->events };
	int rc;

	memset(result, 0, sizeof(*result));
	m.cost = malloc((m.events + 1) * sizeof(*m.cost));
	rc = m.cost ? 0 : vm_fail(err, -ENOMEM, "out of memory");
	rc = rc ? rc : samples_create(&m.writer, trace_reader_path(reader), err);
	rc = rc ? rc : all_runs(&m, &result->run, err);
	if (!rc && !result->run.divergence.diverged)
		rc = callers_run(&m, &result->run, err);
	if (!rc && !result->run.divergence.diverged)
		fill_info(&m, &result->info);
	trace_reader_close(m.reader);
	free(m.cost);
	callers_destroy(m.callers);
	if (rc || result->run.divergence.diverged) {
		samples_discard(m.writer);
		return rc;
	}
	return samples_finish(m.writer, &result->info, &result->inside, &result->why, err);
}
