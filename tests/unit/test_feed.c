/*
 * test_feed.c - cost columns that are absent, damaged or were never measured: the profile says so, and every count stays exact. Costs that were
 * measured again come back to the cycle, or not at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "profiler/compare.h"
#include "profiler/feed.h"
#include "profiler/report.h"
#include "recorder/db.h"
#include "tests/unit/synthetic.h"

#define EVENTS 3000

static char dir[64], whole[96], changed[96];

static void write_trace(const char *path, bool with_costs)
{
	struct trace_meta meta = { .config.memory = VM_MEMORY_MIN };
	struct synthetic s, noise;
	struct trace_writer *w;
	struct vm_observer o;
	struct vm *vm;

	strcpy(meta.writer, "test");
	strcpy(meta.engine, "interp");
	vm_config_init(&meta.config);
	meta.config.memory = VM_MEMORY_MIN;
	assert_int_equal(vm_create(&vm, &meta.config, NULL), 0);
	assert_int_equal(trace_writer_create(&w, path, &meta, vm, NULL, NULL), 0);
	trace_writer_observer(w, &o);
	synthetic_init(&s, 1, EVENTS - 1);
	synthetic_init(&noise, 2, UINT64_MAX);
	for (int i = 0; i < EVENTS; i++) {
		struct event ev = synthetic_next(&s);
		struct event_cost cost = synthetic_cost(&noise);

		assert_true(o.event(o.self, &ev));
		if (with_costs)
			o.cost(o.self, &cost);
	}
	assert_int_equal(trace_writer_close(w, vm, NULL, NULL), 0);
	vm_destroy(vm);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_feed_XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(whole, sizeof(whole), "%s/whole", dir);
	snprintf(changed, sizeof(changed), "%s/changed", dir);
	write_trace(whole, true);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* A copy of the trace, record by record, with its costs left out or with a byte of each changed. */
struct copy {
	struct db *to;
	enum db_table table, damaged; /* DB_TABLES: none */
};

static int copy_record(void *self, const uint8_t *key, size_t key_len, const void *value, size_t value_len)
{
	struct copy *c = self;
	uint8_t *bytes = malloc(value_len + 1);
	struct db_put put = { c->table, false, key, key_len, bytes, value_len };

	assert_non_null(bytes);
	memcpy(bytes, value, value_len);
	if (c->table == c->damaged)
		bytes[value_len / 2] ^= 0x40;
	assert_int_equal(db_commit(c->to, &put, 1, NULL), 0);
	free(bytes);
	return 0;
}

static void copy_trace(bool with_costs, enum db_table damaged)
{
	struct copy c = { .damaged = damaged };
	struct db *from;

	assert_int_equal(db_open(&from, whole, NULL), 0);
	assert_int_equal(db_create(&c.to, changed, true, 0, NULL), 0);
	for (c.table = 0; c.table < DB_TABLES; c.table++)
		if (c.table != DB_COSTS || with_costs)
			assert_int_equal(db_each(from, c.table, copy_record, &c, NULL), 0);
	db_close(c.to);
	db_close(from);
}

static struct trace_reader *read_profile(const char *path, struct profile **p)
{
	const struct feed_options options = { .near = 0 };
	struct feed_sinks sinks = { .profiles = p, .count = 1 };
	struct trace_reader *r;
	struct feed *feed;

	assert_int_equal(trace_reader_open(&r, path, NULL), 0);
	assert_int_equal(profile_create(p, NULL), 0);
	assert_int_equal(feed_open(&feed, r, &options, NULL), 0);
	assert_int_equal(feed_run(feed, &sinks, NULL), 0);
	assert_int_equal(feed_total(feed), EVENTS);
	feed_close(feed);
	return r;
}

/* The text report has its note; counts are those of the whole trace. */
static void assert_said(const char *path)
{
	struct compare_options o;
	const enum profile_by by[] = { BY_INSN, BY_SITE, BY_PORT, BY_VECTOR };
	struct compare_side side[2] = { { .run_count = 1 }, { .run_count = 1 } };
	struct trace_reader *r[2];
	struct profile_totals totals;
	struct profile *p[2];
	struct compare result;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	struct report report = { .path = path, .totals = &totals };

	r[0] = read_profile(whole, &p[0]);
	r[1] = read_profile(path, &p[1]);
	profile_totals(p[0], &totals);
	assert_true(totals.costs_ok);
	profile_totals(p[1], &totals);
	assert_false(totals.costs_ok);
	report.meta = trace_reader_meta(r[1]);
	assert_int_equal(report_text(out, &report), 0);
	fclose(out);
	assert_non_null(strstr(text, "cost columns are absent or damaged"));
	free(text);
	compare_options_init(&o);
	o.by = by;
	o.by_count = 4;
	for (int s = 0; s < 2; s++)
		side[s].runs[0] = (struct compare_run){ s ? path : whole, trace_reader_meta(r[s]), p[s] };
	assert_int_equal(compare_sides(&result, &side[0], &side[1], &o, NULL), 0);
	assert_int_equal(result.verdict, VERDICT_EQUAL);
	assert_int_equal(result.counts_more + result.counts_fewer, 0);
	assert_true(result.row_count > 20);
	assert_false(result.costs_compared);
	compare_free(&result);
	for (int s = 0; s < 2; s++) {
		profile_destroy(p[s]);
		trace_reader_close(r[s]);
	}
}

static void absent_costs(void **state)
{
	(void)state;
	copy_trace(false, DB_TABLES);
	assert_said(changed);
}

static void damaged_costs(void **state)
{
	(void)state;
	copy_trace(true, DB_COSTS);
	assert_said(changed);
}

static void costs_never_measured(void **state)
{
	(void)state;
	write_trace(changed, false);
	assert_said(changed);
}

/* ---- measured again -------------------------------------------------------------------------------------------- */

#define RUNS 9u

/* Of the event in the run: its median is 1000 + seq, one run is far too long. */
static uint32_t sample_of(uint64_t seq, unsigned run)
{
	return run == seq % RUNS ? 4000000000u : (uint32_t)(1000 + seq + (run + RUNS - (seq + 1) % RUNS) % RUNS) - 4;
}

static bool measure_again(const char *trace, struct vm_error *why)
{
	struct samples_info info = { .runs = RUNS, .events = EVENTS, .timed_ns = 110, .plain_ns = 100 };
	struct samples_writer *w;
	struct trace_reader *r;
	bool inside;

	assert_int_equal(trace_reader_open(&r, trace, NULL), 0);
	info.digest = trace_reader_meta(r)->digest;
	assert_int_equal(samples_create(&w, trace, NULL), 0);
	for (unsigned run = 0; run < RUNS; run++) {
		samples_begin(w, SAMPLES_RUN + run);
		for (uint64_t seq = 0; seq < EVENTS; seq++)
			samples_add(w, sample_of(seq, run));
		assert_int_equal(samples_end(w, NULL), 0);
	}
	if (!why)
		trace_reader_close(r);
	assert_int_equal(samples_finish(w, &info, &inside, why, NULL), 0);
	if (why)
		trace_reader_close(r);
	return inside;
}

/* 1 when there are samples, all of them right. */
static int look_again(const char *trace, struct vm_error *note)
{
	struct trace_reader *r;
	struct samples *s;
	int found;

	assert_int_equal(trace_reader_open(&r, trace, NULL), 0);
	found = samples_open(&s, r, note);
	for (uint64_t seq = 0; found > 0 && seq < EVENTS; seq++) {
		const uint32_t *sample = samples_at(s, seq);

		if (!sample) {
			found = -1;
			break;
		}
		for (unsigned run = 0; run < RUNS; run++)
			assert_int_equal(sample[run], sample_of(seq, run));
	}
	samples_close(s);
	trace_reader_close(r);
	return found;
}

static void samples_are_kept_inside(void **state)
{
	struct trace_reader *before, *after;
	struct vm_error note;
	char beside[128];

	(void)state;
	snprintf(beside, sizeof(beside), "%s" SAMPLES_SUFFIX, whole);
	assert_int_equal(look_again(whole, &note), 0);
	assert_int_equal(note.text[0], 0);
	assert_int_equal(trace_reader_open(&before, whole, NULL), 0);
	trace_reader_close(before);
	for (int twice = 0; twice < 2; twice++) {
		assert_true(measure_again(whole, NULL));
		assert_int_equal(look_again(whole, &note), 1);
		assert_int_not_equal(access(beside, F_OK), 0);
	}
	assert_int_equal(trace_reader_open(&after, whole, NULL), 0);
	assert_int_equal(trace_reader_check(after, NULL, NULL, NULL), 0);
	trace_reader_close(after);
}

/* While somebody reads the trace it cannot be written to. */
static void samples_are_kept_beside(void **state)
{
	struct vm_error why, note;
	char beside[128];

	(void)state;
	snprintf(beside, sizeof(beside), "%s" SAMPLES_SUFFIX, whole);
	assert_false(measure_again(whole, &why));
	assert_non_null(strstr(why.text, "being used"));
	assert_int_equal(access(beside, F_OK), 0);
	assert_int_equal(look_again(whole, &note), 1);
	/* of another trace */
	write_trace(changed, false);
	snprintf(note.text, sizeof(note.text), "mv %s %s" SAMPLES_SUFFIX, beside, changed);
	assert_int_equal(system(note.text), 0);
	assert_int_equal(look_again(changed, &note), 1); /* the digest is not of costs: it is the same run */
}

static void damaged_samples_are_said(void **state)
{
	struct vm_error note;

	(void)state;
	assert_true(measure_again(whole, NULL));
	copy_trace(true, DB_SAMPLES);
	assert_int_equal(look_again(changed, &note), 0);
	assert_non_null(strstr(note.text, "samples[info]"));
}

/* Of each row the mean over its events, to the cycle. */
static void medians_are_exact(void **state)
{
	const struct feed_options plain = { .near = 0 };
	struct feed_options options = plain;
	struct profile_table t;
	struct trace_reader *r;
	struct vm_error err;
	struct profile *p;
	struct feed *feed;

	(void)state;
	assert_true(measure_again(whole, NULL));
	assert_int_equal(trace_reader_open(&r, whole, NULL), 0);
	assert_int_equal(samples_open(&options.samples, r, &err), 1);
	assert_int_equal(profile_create_facet(&p, FACET_PART, NULL), 0);
	assert_int_equal(feed_open(&feed, r, &options, NULL), 0);
	assert_int_equal(feed_run(feed, &(struct feed_sinks){ .profiles = &p, .count = 1 }, NULL), 0);
	assert_false(feed_samples_bad(feed));
	assert_int_equal(profile_table(p, BY_MARKER, profile_sort_find("id"), 0, NULL, &t, NULL), 0);
	assert_int_equal(t.row_count, 1);
	assert_true(t.again);
	/* of each event 996 + seq to 1003 + seq, and the one that is too long: nine, of which the fifth is the median and one may be left out at each end */
	assert_int_equal(t.rows[0].again[AGAIN_MIN], 996 + (EVENTS - 1) / 2);
	assert_int_equal(t.rows[0].again[AGAIN_LOW], 997 + (EVENTS - 1) / 2);
	assert_int_equal(t.rows[0].again[AGAIN_MEDIAN], 1000 + (EVENTS - 1) / 2);
	assert_int_equal(t.rows[0].again[AGAIN_HIGH], 1003 + (EVENTS - 1) / 2);
	profile_table_free(&t);
	profile_destroy(p);
	feed_close(feed);
	samples_close(options.samples);
	trace_reader_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(absent_costs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damaged_costs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(costs_never_measured, set_up, tear_down),
		cmocka_unit_test_setup_teardown(samples_are_kept_inside, set_up, tear_down),
		cmocka_unit_test_setup_teardown(samples_are_kept_beside, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damaged_samples_are_said, set_up, tear_down),
		cmocka_unit_test_setup_teardown(medians_are_exact, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
