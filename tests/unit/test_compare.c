/*
 * test_compare.c - the statistics agree with their definitions; a planted slow handler and a planted extra fault are found, exactly those; an unchanged
 * build on a noisy host is not flagged; what is not comparable is refused.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "profiler/compare.h"
#include "profiler/profile_internal.h"
#include "vmm/decode/insn.h"

static uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static bool near(double a, double b, double by)
{
	return fabs(a - b) <= by;
}

/* ---- statistics ---------------------------------------------------------------------------------------------- */

static void mann_whitney_of_separate_samples(void **state)
{
	static const uint32_t a[] = { 1, 2, 3, 4, 5 }, b[] = { 6, 7, 8, 9, 10 };
	struct mann_whitney up = stats_mann_whitney(a, 5, b, 5), down = stats_mann_whitney(b, 5, a, 5);

	(void)state;
	assert_true(near(up.z, 12 / sqrt(25 * 11 / 12.0), 1e-9));
	assert_true(near(up.p, 0.012186, 1e-5));
	assert_true(up.superiority == 1);
	assert_true(near(down.z, -up.z, 1e-12) && near(down.p, up.p, 1e-12));
	assert_true(down.superiority == 0);
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Against the definitions: U counted pair by pair, ties counted value by value. */
static void mann_whitney_by_definition(void **state)
{
	uint32_t a[60], b[80];
	uint64_t seed = 7;

	(void)state;
	for (int round = 0; round < 50; round++) {
		double u = 0, ties = 0, variance;
		struct mann_whitney mw;

		for (int i = 0; i < 60; i++)
			a[i] = (uint32_t)(random_next(&seed) % 40);
		for (int i = 0; i < 80; i++)
			b[i] = (uint32_t)(random_next(&seed) % 40 + (uint64_t)round / 10);
		qsort(a, 60, sizeof(*a), compare_u32);
		qsort(b, 80, sizeof(*b), compare_u32);
		for (int i = 0; i < 60; i++)
			for (int j = 0; j < 80; j++)
				u += b[j] > a[i] ? 1 : b[j] == a[i] ? 0.5 : 0;
		for (uint32_t value = 0; value < 50; value++) {
			double t = 0;

			for (int i = 0; i < 80; i++)
				t += (i < 60 && a[i] == value) + (b[i] == value);
			ties += t * t * t - t;
		}
		variance = 60.0 * 80 / 12 * (141 - ties / (140.0 * 139));
		mw = stats_mann_whitney(a, 60, b, 80);
		assert_true(near(mw.superiority, u / 4800, 1e-9));
		assert_true(near(fabs(mw.z), fmax(fabs(u - 2400) - 0.5, 0) / sqrt(variance), 1e-9));
	}
}

/* Against the definition: all ways to draw n of n + m values, counted one by one. */
static void exact_by_definition(void **state)
{
	double value[11];
	uint64_t seed = 11;

	(void)state;
	for (int round = 0; round < 200; round++) {
		size_t n = 1 + random_next(&seed) % 5, m = 1 + random_next(&seed) % 6, as_far = 0, all = 0;
		struct mann_whitney mw;
		double won = 0;

		for (size_t i = 0; i < n + m; i++)
			value[i] = (double)(random_next(&seed) >> 11);
		for (size_t i = 0; i < n; i++)
			for (size_t j = n; j < n + m; j++)
				won += value[j] > value[i];
		for (unsigned draw = 0; draw < 1u << (n + m); draw++) {
			double u = 0;

			if ((size_t)__builtin_popcount(draw) != n)
				continue;
			for (size_t i = 0; i < n + m; i++)
				for (size_t j = 0; j < n + m; j++)
					u += (draw >> i & 1) && !(draw >> j & 1) && value[j] > value[i];
			as_far += won * 2 > (double)(n * m) ? u >= won : u <= won;
			all++;
		}
		mw = stats_mann_whitney_exact(value, n, value + n, m);
		assert_true(near(mw.p, (double)as_far / (double)all, 1e-9));
		assert_true(near(mw.superiority, won / (double)(n * m), 1e-9));
	}
}

/* Where numbers are too many to count: the normal distribution is near, and the extreme is one order of all. */
static void exact_of_many(void **state)
{
	double a[STATS_EXACT_SIDE], b[STATS_EXACT_SIDE];
	uint32_t x[STATS_EXACT_SIDE], y[STATS_EXACT_SIDE];
	struct mann_whitney exact, approximate;

	(void)state;
	for (uint32_t i = 0; i < STATS_EXACT_SIDE; i++) {
		a[i] = x[i] = 10 * i;
		b[i] = y[i] = 10 * i + 115;
	}
	exact = stats_mann_whitney_exact(a, STATS_EXACT_SIDE, b, STATS_EXACT_SIDE);
	approximate = stats_mann_whitney(x, STATS_EXACT_SIDE, y, STATS_EXACT_SIDE);
	assert_true(near(exact.p, approximate.p / 2, 0.001));
	for (uint32_t i = 0; i < STATS_EXACT_SIDE; i++)
		b[i] += 10000;
	exact = stats_mann_whitney_exact(a, STATS_EXACT_SIDE, b, STATS_EXACT_SIDE);
	assert_true(near(exact.p / stats_chance_apart(STATS_EXACT_SIDE, STATS_EXACT_SIDE), 1, 1e-6));
	assert_true(stats_mann_whitney_exact(a, 5, a, 5).p > 0.5); /* all tied */
	assert_true(stats_mann_whitney_exact(a, 0, b, 5).p == 1);
}

static void nothing_to_say_about_nothing(void **state)
{
	static const uint32_t same[] = { 5, 5, 5, 5 };

	(void)state;
	assert_true(stats_mann_whitney(same, 4, same, 4).p == 1);
	assert_true(stats_mann_whitney(same, 0, same, 4).p == 1);
	assert_true(stats_mann_whitney(same, 4, same, 0).p == 1);
}

/* Where there is no difference, the test says so at about its level. */
static void level_is_kept(void **state)
{
	uint32_t a[200], b[150];
	uint64_t seed = 99;
	int rejected = 0;

	(void)state;
	for (int round = 0; round < 4000; round++) {
		for (int i = 0; i < 200; i++)
			a[i] = (uint32_t)(random_next(&seed) >> 40) >> (random_next(&seed) % 12);
		for (int i = 0; i < 150; i++)
			b[i] = (uint32_t)(random_next(&seed) >> 40) >> (random_next(&seed) % 12);
		qsort(a, 200, sizeof(*a), compare_u32);
		qsort(b, 150, sizeof(*b), compare_u32);
		rejected += stats_mann_whitney(a, 200, b, 150).p < 0.01;
	}
	assert_in_range(rejected, 15, 70); /* 40 expected, standard deviation 6.3 */
}

static void corrections(void **state)
{
	static const double raw[4] = { 0.01, 0.04, 0.03, 0.005 };
	static const double holm[4] = { 0.03, 0.06, 0.06, 0.02 }, bh[4] = { 0.02, 0.04, 0.04, 0.02 };
	double p[4];

	(void)state;
	memcpy(p, raw, sizeof(p));
	assert_int_equal(stats_correct(p, 4, CORRECT_HOLM), 0);
	for (int i = 0; i < 4; i++)
		assert_true(near(p[i], holm[i], 1e-12));
	memcpy(p, raw, sizeof(p));
	assert_int_equal(stats_correct(p, 4, CORRECT_BH), 0);
	for (int i = 0; i < 4; i++)
		assert_true(near(p[i], bh[i], 1e-12));
	memcpy(p, raw, sizeof(p));
	assert_int_equal(stats_correct(p, 4, CORRECT_NONE), 0);
	assert_memory_equal(p, raw, sizeof(p));
}

/* The interval covers the true median about as often as it says. */
static void median_interval_covers(void **state)
{
	uint32_t a[101];
	uint64_t seed = 5;
	int covered = 0;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct interval ci;

		for (int i = 0; i < 101; i++)
			a[i] = (uint32_t)(random_next(&seed) >> 20) % 1000001;
		qsort(a, 101, sizeof(*a), compare_u32);
		ci = stats_median_interval(a, 101);
		covered += ci.low <= 500000 && 500000 <= ci.high;
	}
	assert_in_range(covered, 1870, 2000);
	assert_int_equal(stats_median_interval(a, 1).low, a[0]);
	assert_int_equal(stats_median_interval(a, 1).high, a[0]);
}

/* Of few values as many are left out as the binomial distribution allows. */
static void median_interval_of_few_is_exact(void **state)
{
	static const struct {
		size_t n;
		uint32_t low, high;
	} known[] = { { 5, 0, 4 }, { 6, 0, 5 }, { 8, 0, 7 }, { 9, 1, 7 }, { 10, 1, 8 }, { 20, 5, 14 }, { 50, 17, 32 } };
	uint32_t a[50];

	(void)state;
	for (uint32_t i = 0; i < 50; i++)
		a[i] = i;
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		struct interval ci = stats_median_interval(a, known[i].n);

		assert_int_equal(ci.low, known[i].low);
		assert_int_equal(ci.high, known[i].high);
	}
}

static void steps(void **state)
{
	double series[STATS_SERIES_MAX + 100];
	uint64_t seed = 3;

	(void)state;
	for (size_t i = 0; i < STATS_SERIES_MAX + 100; i++)
		series[i] = 1000 + (double)(random_next(&seed) % 50);
	assert_int_equal(stats_step(series, 40, 5, 0.01, 0.05), 0);
	assert_int_equal(stats_step(series, STATS_SERIES_MAX + 100, 5, 0.01, 0.05), 0);
	for (size_t i = 25; i < STATS_SERIES_MAX + 100; i++)
		series[i] += 200;
	assert_int_equal(stats_step(series, 40, 5, 0.01, 0.05), 25);
	assert_int_equal(stats_step(series, 40, 5, 0.01, 0.5), 0); /* too small to matter */
	assert_int_equal(stats_step(series, 9, 5, 0.01, 0.05), 0); /* too short to tell */
	for (size_t i = 500; i < STATS_SERIES_MAX + 100; i++)
		series[i] += 500;
	assert_int_equal(stats_step(series, STATS_SERIES_MAX + 100, 5, 0.01, 0.05), 500);
}

/* ---- comparisons --------------------------------------------------------------------------------------------- */

/* A made-up guest: each row is an instruction at a site, executed so often, with its usual cost. */
struct line {
	uint16_t op;
	uint8_t kind;
	uint32_t count, cost;
};
#define LINES 12
static const struct line usual[LINES] = {
	{ OP_HLT, EV_FAULT, 300, 900 },  { OP_CLI, EV_FAULT, 4000, 150 },      { OP_STI, EV_FAULT, 4000, 180 },
	{ OP_IN, EV_PIO, 2500, 500 },    { OP_OUT, EV_PIO, 3000, 700 },        { OP_RDTSC, EV_FAULT, 800, 160 },
	{ OP_CPUID, EV_FAULT, 40, 400 }, { OP_LGDT, EV_FAULT, 2, 2000 },       { OP_PUSHF, EV_SENSITIVE, 2000, 120 },
	{ OP_CLTS, EV_FAULT, 90, 200 },  { OP_POPF, EV_SENSITIVE, 2000, 300 }, { OP_INVLPG, EV_FAULT, 500, 350 },
};

/* One recording: costs with noise, spikes, ties as of a coarse counter, and a host that is now slower, now up to twice as fast. */
static struct profile *record(const struct line *lines, uint32_t slower, uint64_t *seed)
{
	uint32_t host = slower + 60 + (uint32_t)(random_next(seed) % 61);
	struct profile *p;

	assert_int_equal(profile_create(&p, NULL), 0);
	for (size_t i = 0; i < LINES; i++) {
		struct event ev = { .kind = lines[i].kind, .op = lines[i].op, .rip = 0xc0100000 + i * 16 };

		for (uint32_t n = 0; n < lines[i].count; n++) {
			uint32_t cost = lines[i].cost + (uint32_t)(random_next(seed) % (lines[i].cost / 2));
			struct event_cost c = { .cycles = { [PH_EMULATE] = 0 } };

			if (random_next(seed) % 50 == 0)
				cost += (uint32_t)(random_next(seed) % 100000);
			c.cycles[PH_EMULATE] = cost * host / 100 / 26 * 26;
			assert_int_equal(profile_add(p, &ev, &c), 0);
		}
	}
	return p;
}

struct fixture {
	struct trace_meta meta[2];
	struct compare_side side[2];
	struct compare_options options;
	enum profile_by by;
	uint32_t slower; /* percent by which all of new's costs are */
	struct compare result;
};

static void open_fixture(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	for (int s = 0; s < 2; s++) {
		struct trace_meta *m = &f->meta[s];

		strcpy(m->host, "a host");
		strcpy(m->engine, "interp");
		m->tsc_hz = s ? 2600000000 : 2601000000;
		m->complete = true;
		m->file_count = 1;
		strcpy(m->files[0].role, "kernel");
		m->files[0].hash = 1;
	}
	compare_options_init(&f->options);
	f->by = BY_INSN;
	f->options.by = &f->by;
	f->options.by_count = 1;
}

static void add_runs(struct fixture *f, int s, const struct line *lines, size_t runs, uint64_t *seed)
{
	while (runs--) {
		struct compare_run *run = &f->side[s].runs[f->side[s].run_count++];

		*run = (struct compare_run){ .path = s ? "new" : "base", .meta = &f->meta[s] };
		run->profile = record(lines, s ? f->slower : 0, seed);
	}
}

static void compare(struct fixture *f)
{
	assert_int_equal(compare_sides(&f->result, &f->side[0], &f->side[1], &f->options, NULL), 0);
}

static void close_fixture(struct fixture *f)
{
	compare_free(&f->result);
	for (int s = 0; s < 2; s++)
		for (size_t i = 0; i < f->side[s].run_count; i++)
			profile_destroy(f->side[s].runs[i].profile);
}

static const struct compare_row *row(const struct fixture *f, const char *name)
{
	for (size_t i = 0; i < f->result.row_count; i++)
		if (!strcmp(f->result.rows[i].name, name))
			return &f->result.rows[i];
	fail_msg("no row %s", name);
	return NULL;
}

/* 50 comparisons of a build with itself: at the level 0.01 none is expected to be flagged, and two would be too many. */
static void unchanged_is_not_flagged(void **state)
{
	uint64_t seed = 12345;
	int flagged = 0;

	(void)state;
	for (int round = 0; round < 50; round++) {
		struct fixture f;

		open_fixture(&f);
		add_runs(&f, 0, usual, 7, &seed);
		add_runs(&f, 1, usual, 7, &seed);
		compare(&f);
		assert_true(f.result.confirmed);
		flagged += f.result.verdict != VERDICT_EQUAL;
		close_fixture(&f);
	}
	assert_in_range(flagged, 0, 1);
}

/* 20 % dearer, on a host whose own speed varies by a factor of two. */
static void slow_handler_is_found(void **state)
{
	struct line planted[LINES];
	uint64_t seed = 777;

	(void)state;
	memcpy(planted, usual, sizeof(usual));
	planted[4].cost = planted[4].cost * 12 / 10;
	for (int round = 0; round < 10; round++) {
		struct fixture f;

		open_fixture(&f);
		add_runs(&f, 0, usual, 7, &seed);
		add_runs(&f, 1, planted, 7, &seed);
		compare(&f);
		assert_int_equal(f.result.verdict, VERDICT_REGRESSED);
		assert_int_equal(f.result.slower, 1);
		assert_int_equal(row(&f, "out pio")->cost, COST_SLOWER);
		assert_string_equal(compare_cost_name(&f.result, row(&f, "out pio")->cost), "slower");
		assert_int_equal(f.result.counts_more + f.result.counts_fewer, 0);
		assert_int_equal(row(&f, "lgdt fault")->cost, COST_FEW);
		close_fixture(&f);
		open_fixture(&f);
		add_runs(&f, 0, planted, 7, &seed);
		add_runs(&f, 1, usual, 7, &seed);
		compare(&f);
		assert_int_equal(f.result.verdict, VERDICT_IMPROVED);
		assert_int_equal(row(&f, "out pio")->cost, COST_FASTER);
		close_fixture(&f);
	}
}

/* What all events share became dearer: no single row did, and the whole is a regression that can be ignored. */
static void a_shift_of_all_rows_is_told_apart(void **state)
{
	uint64_t seed = 21;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	f.slower = 100;
	add_runs(&f, 0, usual, 7, &seed);
	add_runs(&f, 1, usual, 7, &seed);
	compare(&f);
	assert_int_equal(f.result.verdict, VERDICT_REGRESSED);
	assert_int_equal(f.result.slower, 0);
	assert_int_equal(f.result.alike.cost, COST_SLOWER);
	assert_true(f.result.alike.change > 0.5 && f.result.alike.change < 2);
	assert_int_equal(f.result.alike.rows, f.result.tested);
	f.options.ignore_alike = true;
	compare_free(&f.result);
	compare(&f);
	assert_int_equal(f.result.verdict, VERDICT_EQUAL);
	/* believed as they are, all rows are slower */
	f.options.quiet_host = true;
	compare_free(&f.result);
	compare(&f);
	assert_int_equal(f.result.verdict, VERDICT_REGRESSED);
	assert_int_equal(f.result.slower, f.result.tested);
	close_fixture(&f);
}

/* Six of each could not show a change of one of eleven rows, however large, and say so; seven can. */
static void as_many_recordings_as_rows_take(void **state)
{
	uint64_t seed = 22;

	(void)state;
	for (size_t runs = 6; runs <= 7; runs++) {
		struct fixture f;

		open_fixture(&f);
		add_runs(&f, 0, usual, runs, &seed);
		add_runs(&f, 1, usual, runs, &seed);
		compare(&f);
		assert_int_equal(f.result.tested, 11);
		assert_int_equal(f.result.confirmed, runs == 7);
		if (runs == 6)
			assert_non_null(strstr(f.result.notes[0], "it takes 7 of each side for 11 rows at 0.01"));
		close_fixture(&f);
	}
}

/* One recording of each side shows a difference but decides nothing, unless the host is said to be quiet. */
static void one_recording_decides_nothing(void **state)
{
	struct line planted[LINES];
	uint64_t seed = 4;
	struct fixture f;

	(void)state;
	memcpy(planted, usual, sizeof(usual));
	planted[4].cost *= 3;
	open_fixture(&f);
	add_runs(&f, 0, usual, 1, &seed);
	add_runs(&f, 1, planted, 1, &seed);
	compare(&f);
	assert_int_equal(f.result.verdict, VERDICT_EQUAL);
	assert_string_equal(compare_cost_name(&f.result, row(&f, "out pio")->cost), "slower?");
	assert_true(f.result.note_count > 0);
	f.options.quiet_host = true;
	compare_free(&f.result);
	compare(&f);
	assert_int_equal(f.result.verdict, VERDICT_REGRESSED);
	close_fixture(&f);
}

static void extra_fault_is_found_exactly(void **state)
{
	struct line planted[LINES];
	uint64_t seed = 31;
	struct fixture f;

	(void)state;
	memcpy(planted, usual, sizeof(usual));
	planted[7].count++;
	open_fixture(&f);
	add_runs(&f, 0, usual, 1, &seed);
	add_runs(&f, 1, planted, 1, &seed);
	compare(&f);
	assert_int_equal(f.result.verdict, VERDICT_REGRESSED);
	assert_int_equal(f.result.counts_more, 1);
	assert_int_equal(f.result.counts_fewer, 0);
	assert_int_equal(row(&f, "lgdt fault")->count[0], 2);
	assert_int_equal(row(&f, "lgdt fault")->count[1], 3);
	f.options.gate = GATE_NONE;
	compare_free(&f.result);
	compare(&f);
	assert_int_equal(f.result.verdict, VERDICT_EQUAL);
	close_fixture(&f);
	/* a fault fewer is no regression, unless any change is one; a row that is gone is listed */
	planted[7].count = 0;
	open_fixture(&f);
	add_runs(&f, 0, usual, 1, &seed);
	add_runs(&f, 1, planted, 1, &seed);
	compare(&f);
	assert_int_equal(f.result.verdict, VERDICT_IMPROVED);
	assert_int_equal(row(&f, "lgdt fault")->count[1], 0);
	f.options.gate = GATE_ANY;
	compare_free(&f.result);
	compare(&f);
	assert_int_equal(f.result.verdict, VERDICT_REGRESSED);
	close_fixture(&f);
}

/* What makes two traces incomparable, each alone; and that it can be allowed. */
static void change_meta(struct trace_meta *m, int bit)
{
	switch (bit) {
	case COMPARE_GUEST: m->files[0].hash++; break;
	case COMPARE_APPEND: strcpy(m->command_line, "quiet"); break;
	case COMPARE_MODEL: m->config.model = MODEL_0_3_3; break;
	case COMPARE_SENSITIVE: m->config.policy = POLICY_LEAK; break;
	case COMPARE_MACHINE: m->config.memory += 4096; break;
	case COMPARE_COMPLETE: m->complete = false; break;
	case COMPARE_HOST: m->tsc_hz *= 2; break;
	case COMPARE_ENGINE: strcpy(m->engine, "other"); break;
	default: fail();
	}
}

static void incomparable_is_refused(void **state)
{
	uint64_t seed = 8;

	(void)state;
	for (int bit = COMPARE_GUEST; bit <= COMPARE_ENGINE; bit <<= 1) {
		bool only_costs = bit == COMPARE_HOST || bit == COMPARE_ENGINE;
		struct fixture f;

		open_fixture(&f);
		change_meta(&f.meta[1], bit);
		add_runs(&f, 0, usual, 1, &seed);
		add_runs(&f, 1, usual, 1, &seed);
		compare(&f);
		assert_int_equal(f.result.verdict, only_costs ? VERDICT_EQUAL : VERDICT_INCOMPARABLE);
		assert_false(only_costs && f.result.costs_compared);
		assert_true(f.result.note_count > 0);
		f.options.allow = bit;
		compare_free(&f.result);
		compare(&f);
		assert_int_equal(f.result.verdict, VERDICT_EQUAL);
		assert_true(f.result.costs_compared);
		close_fixture(&f);
	}
	assert_int_equal(compare_allow_parse("guest,host"), COMPARE_GUEST | COMPARE_HOST);
	assert_int_equal(compare_allow_parse("gues"), -1);
	assert_int_equal(compare_allow_parse(""), -1);
	assert_true((compare_allow_parse("all") & COMPARE_ENGINE) != 0);
}

/* Two recordings of one side that are not of one run. */
static void a_side_must_be_one_run(void **state)
{
	struct trace_meta other;
	uint64_t seed = 8;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	add_runs(&f, 0, usual, 2, &seed);
	add_runs(&f, 1, usual, 1, &seed);
	other = f.meta[0];
	other.digest = 1;
	f.side[0].runs[1].meta = &other;
	compare(&f);
	assert_int_equal(f.result.verdict, VERDICT_INCOMPARABLE);
	close_fixture(&f);
}

static void absent_costs_are_said(void **state)
{
	uint64_t seed = 8;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	add_runs(&f, 0, usual, 1, &seed);
	add_runs(&f, 1, usual, 1, &seed);
	f.side[1].runs[0].profile->costs_ok = false;
	compare(&f);
	assert_int_equal(f.result.verdict, VERDICT_EQUAL);
	assert_false(f.result.costs_compared);
	assert_non_null(strstr(f.result.notes[0], "cost columns"));
	close_fixture(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mann_whitney_of_separate_samples),
		cmocka_unit_test(mann_whitney_by_definition),
		cmocka_unit_test(exact_by_definition),
		cmocka_unit_test(exact_of_many),
		cmocka_unit_test(nothing_to_say_about_nothing),
		cmocka_unit_test(level_is_kept),
		cmocka_unit_test(corrections),
		cmocka_unit_test(median_interval_covers),
		cmocka_unit_test(median_interval_of_few_is_exact),
		cmocka_unit_test(steps),
		cmocka_unit_test(unchanged_is_not_flagged),
		cmocka_unit_test(slow_handler_is_found),
		cmocka_unit_test(a_shift_of_all_rows_is_told_apart),
		cmocka_unit_test(as_many_recordings_as_rows_take),
		cmocka_unit_test(one_recording_decides_nothing),
		cmocka_unit_test(extra_fault_is_found_exactly),
		cmocka_unit_test(incomparable_is_refused),
		cmocka_unit_test(a_side_must_be_one_run),
		cmocka_unit_test(absent_costs_are_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
