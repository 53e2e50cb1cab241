/*
 * test_profile.c - percentiles are the nearest rank's, tables add up to the totals, groupings and orders are what they say.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "profiler/profile.h"
#include "profiler/report.h"
#include "vmm/decode/insn.h"

static struct profile *new_profile(void)
{
	struct profile *p;

	assert_int_equal(profile_create(&p, NULL), 0);
	return p;
}

static void add(struct profile *p, const struct event *ev, uint32_t emulate, uint32_t log)
{
	struct event_cost cost = { .cycles = { [PH_GUEST] = 1000, [PH_EMULATE] = emulate, [PH_LOG] = log } };

	assert_int_equal(profile_add(p, ev, &cost), 0);
}

static struct profile_table table(struct profile *p, enum profile_by by, const char *sort, size_t limit,
                                  const struct symbols *symbols)
{
	struct profile_table t;

	assert_int_equal(profile_table(p, by, profile_sort_find(sort), limit, symbols, &t, NULL), 0);
	return t;
}

static const char *id(const struct profile_table *t, size_t row, int column)
{
	static struct profile_id text;

	profile_row_id(t, &t->rows[row], &text);
	return text.text[column];
}

static const struct event hlt = { .kind = EV_FAULT, .op = OP_HLT, .rip = 0xc0100010 };
static const struct event in = { .kind = EV_PIO, .op = OP_IN, .rip = 0xc0100020, .addr = 0x3fd };
static const struct event out = { .kind = EV_PIO, .op = OP_OUT, .rip = 0xc0100030, .addr = 0x3f8, .flags = EVF_WRITE };
static const struct event irq = { .kind = EV_INTERRUPT, .rip = 0xc0100040, .value = 0x20 };
static const struct event pf = {
	.kind = EV_EXCEPTION, .op = OP_MOV, .rip = 0x8048000, .value = 14, .addr = 0x1234, .vcpl = 3
};

/* 1..100 in a scrambled order: the n-th percentile is n. */
static void percentiles_are_nearest_rank(void **state)
{
	struct profile *p = new_profile();
	struct profile_table t;

	(void)state;
	for (uint32_t i = 0; i < 100; i++)
		add(p, &hlt, i * 37 % 100 + 1, 0);
	t = table(p, BY_INSN, "time", 0, NULL);
	assert_int_equal(t.row_count, 1);
	assert_int_equal(t.rows[0].min, 1);
	assert_int_equal(t.rows[0].p50, 50);
	assert_int_equal(t.rows[0].p95, 95);
	assert_int_equal(t.rows[0].p99, 99);
	assert_int_equal(t.rows[0].max, 100);
	assert_int_equal(t.rows[0].total, 5050);
	assert_int_equal(t.rows[0].mean, 50);
	profile_table_free(&t);
	profile_destroy(p);
}

static void one_sample_is_all_percentiles(void **state)
{
	struct profile *p = new_profile();
	struct profile_table t;

	(void)state;
	add(p, &hlt, 7, 1);
	t = table(p, BY_INSN, "time", 0, NULL);
	assert_int_equal(t.rows[0].min, 8);
	assert_int_equal(t.rows[0].p50, 8);
	assert_int_equal(t.rows[0].p99, 8);
	assert_int_equal(t.rows[0].max, 8);
	profile_table_free(&t);
	profile_destroy(p);
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Against a sort, with costs of every magnitude, two rows interleaved. */
static void percentiles_agree_with_a_sort(void **state)
{
	enum { N = 5000 };
	struct profile *p = new_profile();
	uint32_t *costs = calloc(N, sizeof(*costs));
	struct profile_table t;
	uint32_t seed = 1;

	(void)state;
	for (int i = 0; i < N; i++) {
		seed = seed * 1664525u + 1013904223u;
		costs[i] = seed >> (seed >> 8 & 31);
		add(p, &hlt, costs[i], 0);
		add(p, &in, seed, 0);
	}
	qsort(costs, N, sizeof(*costs), compare_u32);
	t = table(p, BY_INSN, "id", 0, NULL);
	assert_int_equal(t.row_count, 2);
	assert_string_equal(id(&t, 0, 0), "hlt");
	assert_int_equal(t.rows[0].min, costs[0]);
	assert_int_equal(t.rows[0].p50, costs[N / 2 - 1]);
	assert_int_equal(t.rows[0].p95, costs[N * 95 / 100 - 1]);
	assert_int_equal(t.rows[0].p99, costs[N * 99 / 100 - 1]);
	assert_int_equal(t.rows[0].max, costs[N - 1]);
	free(costs);
	profile_table_free(&t);
	profile_destroy(p);
}

/* Every event is in one row of a table that takes all, and the rows add up to the totals, also under a limit. */
static void tables_add_up(void **state)
{
	const struct event *const events[] = { &hlt, &in, &out, &irq, &pf };
	struct profile *p = new_profile();
	struct profile_totals totals;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		add(p, events[i % 5], i * 3, i);
	profile_totals(p, &totals);
	assert_int_equal(totals.events, 1000);
	assert_int_equal(totals.kinds[EV_PIO], 400);
	assert_int_equal(totals.phases[PH_GUEST], 1000000);
	assert_int_equal(totals.phases[PH_EMULATE] + totals.phases[PH_LOG], totals.cost);
	for (size_t limit = 0; limit < 6; limit++) {
		struct profile_table t = table(p, BY_INSN, "count", limit, NULL);
		uint64_t sum = 0, phases = 0;

		assert_int_equal(t.count, totals.events);
		assert_int_equal(t.total, totals.cost);
		assert_int_equal(t.row_count + t.rows_left_out, 5);
		for (size_t i = 0; i < t.row_count; i++) {
			sum += t.rows[i].total;
			phases += t.rows[i].phases[PH_EMULATE] + t.rows[i].phases[PH_LOG];
		}
		assert_int_equal(sum, phases);
		assert_true(limit ? sum <= t.total : sum == t.total);
		profile_table_free(&t);
	}
	profile_destroy(p);
}

static void groupings_take_what_they_name(void **state)
{
	struct profile *p = new_profile();
	struct profile_table t;

	(void)state;
	add(p, &hlt, 1, 0);
	add(p, &in, 2, 0);
	add(p, &out, 3, 0);
	add(p, &irq, 4, 0);
	add(p, &pf, 5, 0);
	t = table(p, BY_PORT, "id", 0, NULL);
	assert_int_equal(t.row_count, 2);
	assert_string_equal(id(&t, 0, 0), "3f8");
	assert_string_equal(id(&t, 0, 1), "write");
	assert_string_equal(id(&t, 1, 2), "uart line status");
	profile_table_free(&t);
	t = table(p, BY_VECTOR, "id", 0, NULL);
	assert_int_equal(t.row_count, 2);
	assert_string_equal(id(&t, 0, 0), "0e");
	assert_string_equal(id(&t, 1, 0), "20");
	profile_table_free(&t);
	t = table(p, BY_SITE, "id", 0, NULL);
	assert_int_equal(t.row_count, 4); /* the interrupt is not the site's doing */
	assert_string_equal(id(&t, 0, 0), "08048000");
	assert_string_equal(id(&t, 0, 1), "[user]");
	profile_table_free(&t);
	profile_destroy(p);
}

static void orders_are_descending(void **state)
{
	struct profile *p = new_profile();
	struct profile_table t;

	(void)state;
	for (int i = 0; i < 10; i++)
		add(p, &hlt, 10, 0);
	add(p, &in, 50, 0);
	add(p, &out, 60, 0);
	t = table(p, BY_INSN, "count", 0, NULL);
	assert_string_equal(id(&t, 0, 0), "hlt");
	profile_table_free(&t);
	t = table(p, BY_INSN, "mean", 0, NULL);
	assert_string_equal(id(&t, 0, 0), "out");
	assert_string_equal(id(&t, 2, 0), "hlt");
	profile_table_free(&t);
	assert_null(profile_sort_find("nothing"));
	assert_int_equal(profile_by_find("port"), BY_PORT);
	assert_int_equal(profile_by_find("nothing"), -1);
	profile_destroy(p);
}

static void nothing_makes_empty_tables(void **state)
{
	(void)state;
	for (int by = 0; by < BY_MAX; by++) {
		struct profile_table t;
		struct profile *p;

		assert_int_equal(profile_create_facet(&p, profile_by_facet((enum profile_by)by), NULL), 0);
		t = table(p, (enum profile_by)by, "time", 0, NULL);
		assert_int_equal(t.row_count, 0);
		assert_int_equal(t.count, 0);
		profile_table_free(&t);
		profile_destroy(p);
	}
}

static int open_symbols(struct symbols **s, const char *text)
{
	char path[] = "/tmp/ringside-symbols-XXXXXX";
	int fd = mkstemp(path), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	r = symbols_open(s, path, NULL);
	unlink(path);
	return r;
}

static void symbols_name_sites(void **state)
{
	struct profile *p = new_profile();
	struct profile_table t;
	struct symbols *s;
	uint64_t offset;

	(void)state;
	assert_int_equal(
	        open_symbols(&s,
	                     "c0100000 T _stext\nc0100018 t default_idle\nc0100025 D data\nc0100028 T io_out\t[mod]\n"),
	        0);
	assert_int_equal(symbols_count(s), 3);
	assert_int_equal(symbols_find(s, 0xc00fffff, &offset), -1);
	assert_int_equal(symbols_find(s, 0xf0000000, &offset), -1);
	assert_string_equal(symbols_name(s, symbols_find(s, 0xc0100027, &offset)), "default_idle");
	assert_int_equal(offset, 0xf);
	add(p, &hlt, 1, 0);
	add(p, &in, 2, 0);
	add(p, &out, 4, 0);
	add(p, &pf, 8, 0);
	t = table(p, BY_SYMBOL, "time", 0, s);
	assert_int_equal(t.row_count, 4);
	assert_string_equal(id(&t, 0, 0), "[user]");
	assert_string_equal(id(&t, 1, 0), "io_out");
	assert_string_equal(id(&t, 2, 0), "default_idle");
	assert_string_equal(id(&t, 3, 0), "_stext");
	profile_table_free(&t);
	symbols_close(s);
	profile_destroy(p);
}

static void bad_symbols_are_refused(void **state)
{
	struct symbols *s;

	(void)state;
	assert_int_equal(open_symbols(&s, ""), -EBADMSG);
	assert_int_equal(open_symbols(&s, "no map at all\n"), -EBADMSG);
	assert_int_equal(open_symbols(&s, "\177ELF and then nothing"), -EBADMSG);
	assert_int_equal(open_symbols(&s, "c0100000 D only_data\n"), -EBADMSG);
	assert_int_equal(symbols_open(&s, "/nonexistent", NULL), -ENOENT);
	assert_null(s);
}

/* The account of the run's time closes: phases and the rest are the run. */
static void phases_add_up_to_the_run(void **state)
{
	static struct trace_meta meta = { .tsc_hz = 2000000000, .run_ns = 1000000 };
	struct report_phase phases[REPORT_PHASES];
	struct profile *p = new_profile();
	struct profile_totals totals;
	struct report r = { .path = "x", .meta = &meta, .totals = &totals };
	uint64_t sum = 0;

	(void)state;
	for (int i = 0; i < 100; i++)
		add(p, &hlt, 300, 200);
	profile_totals(p, &totals);
	assert_int_equal(report_phases(&r, phases), 2000000);
	for (int i = 0; i < REPORT_PHASES; i++)
		sum += phases[i].cycles;
	assert_int_equal(sum, 2000000);
	assert_int_equal(phases[REPORT_PHASES - 1].cycles, 2000000 - 100 * 1500);
	meta.tsc_hz = 0;
	assert_int_equal(report_phases(&r, phases), 100 * 1500);
	profile_destroy(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(percentiles_are_nearest_rank),  cmocka_unit_test(one_sample_is_all_percentiles),
		cmocka_unit_test(percentiles_agree_with_a_sort), cmocka_unit_test(tables_add_up),
		cmocka_unit_test(groupings_take_what_they_name), cmocka_unit_test(orders_are_descending),
		cmocka_unit_test(nothing_makes_empty_tables),    cmocka_unit_test(symbols_name_sites),
		cmocka_unit_test(bad_symbols_are_refused),       cmocka_unit_test(phases_add_up_to_the_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
