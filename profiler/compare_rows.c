/*
 * compare_rows.c - the rows of two sides, matched by what they are called, and what is found of each: counts, costs, how likely chance alone is.
 *
 * What all rows of a recording have in common (alike.h) is taken out of its samples first. It is itself compared (struct compare_alike): a path that all events
 * share may have become dearer too.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/alike.h"
#include "profiler/compare_internal.h"

/* ---- both sides' rows -------------------------------------------------------------------------------------------- */

/* A row of one side, with where its samples are. */
struct half {
	char name[COMPARE_NAME_SIZE];
	uint64_t count, total;
	uint32_t order;
};

/* One grouping of one side: the first run's rows by name, and every run's samples. */
struct grouped {
	struct half *halves;
	size_t count;
	struct profile_samples samples[COMPARE_RUNS_MAX];
};

static int compare_halves(const void *a, const void *b)
{
	return strcmp(((const struct half *)a)->name, ((const struct half *)b)->name);
}

static void half_name(const struct profile_table *t, const struct profile_row *row, struct half *out)
{
	struct profile_id id;
	size_t used = 0;

	profile_row_id(t, row, &id);
	for (int i = 0; i < PROFILE_COLUMNS && used < sizeof(out->name); i++)
		if (id.text[i][0])
			used += (size_t)snprintf(out->name + used, sizeof(out->name) - used, "%s%s", used ? " " : "",
			                         id.text[i]);
}

static void grouped_free(struct grouped *g)
{
	for (size_t i = 0; i < COMPARE_RUNS_MAX; i++)
		profile_samples_free(&g->samples[i]);
	free(g->halves);
}

/* Runs of one side have the same events, so the same rows in the same order: the first one's names serve all. */
static int group_side(const struct compare *c, int side, enum profile_by by, struct grouped *out, struct vm_error *err)
{
	const struct compare_side *s = c->side[side];
	const struct symbols *symbols = c->options->symbols[side];
	struct profile_table t;
	int rc = profile_table(s->runs[0].profile, by, profile_sort_find("id"), 0, symbols, &t, err);

	if (rc)
		return rc;
	out->halves = calloc(t.row_count + 1, sizeof(*out->halves));
	if (!out->halves)
		rc = vm_fail(err, -ENOMEM, "compare: out of memory");
	for (size_t i = 0; !rc && i < t.row_count; i++) {
		half_name(&t, &t.rows[i], &out->halves[i]);
		out->halves[i].count = t.rows[i].count;
		out->halves[i].total = t.rows[i].total;
		out->halves[i].order = t.rows[i].order;
	}
	out->count = t.row_count;
	for (size_t i = 0; !rc && c->costs_compared && i < s->run_count; i++)
		rc = profile_samples(s->runs[i].profile, by, symbols, &out->samples[i], err);
	profile_table_free(&t);
	if (!rc)
		qsort(out->halves, out->count, sizeof(*out->halves), compare_halves);
	return rc;
}

/* Called for each row, half[s] NULL where a side has no such row. Nonzero stops: it is passed back. */
typedef int pair_fn(void *self, const struct half *const half[2], const struct grouped g[2]);

/* Both sides are in the order of names: walk them together. */
static int each_pair(const struct grouped g[2], pair_fn *fn, void *self)
{
	size_t i = 0, j = 0;
	int rc = 0;

	while (!rc && (i < g[0].count || j < g[1].count)) {
		int order = i == g[0].count   ? 1
		            : j == g[1].count ? -1
		                              : compare_halves(&g[0].halves[i], &g[1].halves[j]);
		const struct half *const half[2] = { order <= 0 ? &g[0].halves[i] : NULL,
			                             order >= 0 ? &g[1].halves[j] : NULL };

		rc = fn(self, half, g);
		i += order <= 0;
		j += order >= 0;
	}
	return rc;
}

static int group_and_walk(const struct compare *c, enum profile_by by, pair_fn *fn, void *self, struct vm_error *err)
{
	struct grouped g[2];
	int rc;

	memset(g, 0, sizeof(g));
	rc = group_side(c, 0, by, &g[0], err);
	rc = rc ? rc : group_side(c, 1, by, &g[1], err);
	if (!rc) {
		rc = each_pair(g, fn, self);
		if (rc)
			vm_fail(err, rc, "compare: out of memory");
	}
	grouped_free(&g[0]);
	grouped_free(&g[1]);
	return rc;
}

/* One recording's samples of a row, ascending. */
static const uint32_t *run_samples(const struct grouped *g, size_t run, uint32_t order, size_t *n)
{
	const struct profile_samples *s = &g->samples[run];

	*n = s->first[order + 1] - s->first[order];
	return s->cost + s->first[order];
}

static size_t side_samples(const struct compare *c, int side, const struct grouped *g, uint32_t order)
{
	size_t sum = 0, n;

	for (size_t i = 0; i < c->side[side]->run_count; i++) {
		run_samples(g, i, order, &n);
		sum += n;
	}
	return sum;
}

static bool few(const struct compare *c, const struct half *const half[2], const struct grouped g[2])
{
	return side_samples(c, 0, &g[0], half[0]->order) < c->options->min_samples ||
	       side_samples(c, 1, &g[1], half[1]->order) < c->options->min_samples;
}

/* ---- what a recording's rows have in common ---------------------------------------------------------------------- */

struct rows_alike {
	const struct compare *c;
	struct alike alike; /* base's recordings first */
};

static int add_medians(void *self, const struct half *const half[2], const struct grouped g[2])
{
	struct rows_alike *rows = self;
	double medians[2 * COMPARE_RUNS_MAX];
	size_t used = 0;

	if (!half[0] || !half[1] || few(rows->c, half, g))
		return 0;
	for (int s = 0; s < 2; s++)
		for (size_t i = 0; i < rows->c->side[s]->run_count; i++) {
			size_t n;
			const uint32_t *cost = run_samples(&g[s], i, half[s]->order, &n);

			medians[used++] = n ? stats_percentile(cost, n, 50) : 0;
		}
	return alike_add(&rows->alike, medians);
}

static int find_factors(struct compare *c, const struct alike *alike)
{
	size_t n = c->side[0]->run_count, m = c->side[1]->run_count;
	double factor[2 * COMPARE_RUNS_MAX];
	int rc = alike_factors(alike, factor, &c->alike.rows);

	if (rc)
		return rc;
	memcpy(c->alike.factor[0], factor, n * sizeof(*factor));
	memcpy(c->alike.factor[1], factor + n, m * sizeof(*factor));
	return 0;
}

/* Have the two sides' factors moved? A candidate: p is not corrected. */
static void test_factors(struct compare *c)
{
	struct compare_alike *alike = &c->alike;
	double middle[2], copy[COMPARE_RUNS_MAX];
	struct mann_whitney mw = stats_mann_whitney_exact(alike->factor[0], c->side[0]->run_count, alike->factor[1],
	                                                  c->side[1]->run_count);

	for (int s = 0; s < 2; s++) {
		memcpy(copy, alike->factor[s], sizeof(copy));
		middle[s] = stats_median(copy, c->side[s]->run_count);
	}
	alike->change = middle[1] / middle[0] - 1;
	alike->p = mw.p;
	alike->cost = COST_UNSURE;
	if (mw.superiority > 0.5 && alike->change >= c->options->effect)
		alike->cost = COST_SLOWER;
	if (mw.superiority < 0.5 && -alike->change >= c->options->effect)
		alike->cost = COST_FASTER;
}

int compare_alike(struct compare *c, struct vm_error *err)
{
	struct rows_alike rows = { c, { .runs = c->side[0]->run_count + c->side[1]->run_count } };
	int rc;

	for (int s = 0; s < 2; s++)
		for (size_t i = 0; i < COMPARE_RUNS_MAX; i++)
			c->alike.factor[s][i] = 1;
	if (!c->costs_compared || c->options->quiet_host || !c->options->by_count)
		return 0;
	rc = group_and_walk(c, c->options->by[0], add_medians, &rows, err);
	if (!rc) {
		rc = find_factors(c, &rows.alike);
		if (rc)
			vm_fail(err, rc, "compare: out of memory");
	}
	if (!rc && c->alike.rows)
		test_factors(c);
	alike_free(&rows.alike);
	return rc;
}

/* ---- one row's costs --------------------------------------------------------------------------------------------- */

/* All runs' samples of a row, ascending, without what each run's rows have in common. */
struct pool {
	uint32_t *cost;
	size_t count, runs;
	double median[COMPARE_RUNS_MAX], quartile[COMPARE_RUNS_MAX]; /* of the single runs */
};

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int pool_fill(struct pool *out, const struct compare *c, int side, const struct grouped *g, uint32_t order)
{
	memset(out, 0, sizeof(*out));
	out->runs = c->side[side]->run_count;
	out->cost = malloc((side_samples(c, side, g, order) + 1) * sizeof(*out->cost));
	if (!out->cost)
		return -ENOMEM;
	for (size_t i = 0; i < out->runs; i++) {
		size_t n;
		const uint32_t *from = run_samples(g, i, order, &n);
		uint32_t *to = out->cost + out->count;
		double factor = c->alike.factor[side][i];

		for (size_t k = 0; k < n; k++)
			to[k] = (uint32_t)fmin(from[k] / factor + 0.5, UINT32_MAX);
		out->count += n;
		out->median[i] = n ? stats_percentile(from, n, 50) / factor : 0;
		out->quartile[i] = n ? stats_percentile(from, n, 25) / factor : 0;
	}
	if (out->runs > 1)
		qsort(out->cost, out->count, sizeof(*out->cost), compare_u32);
	return 0;
}

static double middle_of(const double *values, size_t n)
{
	double copy[COMPARE_RUNS_MAX];

	memcpy(copy, values, n * sizeof(*copy));
	return stats_median(copy, n);
}

/*
 * 1 where b is dearer by as much as matters, -1 where it is cheaper, 0 otherwise. A change must show in the lower quartile as well: a busy host makes some
 * events dearer, a slower handler all of them.
 */
static int shift(const struct pool *a, const struct pool *b, double effect)
{
	double a50 = middle_of(a->median, a->runs), b50 = middle_of(b->median, b->runs);
	double a25 = middle_of(a->quartile, a->runs), b25 = middle_of(b->quartile, b->runs);

	if (b50 > a50 && b50 - a50 >= effect * a50 && b25 - a25 >= effect * a25)
		return 1;
	return b50 < a50 && a50 - b50 >= effect * a50 && a25 - b25 >= effect * a25 ? -1 : 0;
}

/* Before the correction; row->cost is COST_SLOWER or COST_FASTER where it is a candidate. */
static void test_row(const struct compare *c, struct compare_row *row, const struct pool pool[2])
{
	struct mann_whitney events, runs;
	int moved;

	for (int s = 0; s < 2; s++) {
		row->samples[s] = pool[s].count;
		row->p50[s] = stats_percentile(pool[s].cost, pool[s].count, 50);
		row->ci[s] = stats_median_interval(pool[s].cost, pool[s].count);
	}
	row->change = row->p50[0] ? (double)row->p50[1] / row->p50[0] - 1 : 0;
	if (pool[0].count < c->options->min_samples || pool[1].count < c->options->min_samples) {
		row->cost = COST_FEW;
		return;
	}
	events = stats_mann_whitney(pool[0].cost, pool[0].count, pool[1].cost, pool[1].count);
	runs = stats_mann_whitney_exact(pool[0].median, pool[0].runs, pool[1].median, pool[1].runs);
	row->p_events = events.p;
	row->p_runs = runs.p;
	row->superiority = events.superiority;
	row->cost = COST_UNSURE;
	moved = shift(&pool[0], &pool[1], c->options->effect);
	if (moved > 0 && events.superiority > 0.5 && runs.superiority > 0.5)
		row->cost = COST_SLOWER;
	if (moved < 0 && events.superiority < 0.5 && runs.superiority < 0.5)
		row->cost = COST_FASTER;
}

static int cost_row(const struct compare *c, struct compare_row *row, const struct half *const half[2],
                    const struct grouped g[2])
{
	struct pool pool[2] = { { 0 } };
	int rc = 0;

	for (int s = 0; !rc && s < 2; s++)
		rc = pool_fill(&pool[s], c, s, &g[s], half[s]->order);
	if (!rc)
		test_row(c, row, pool);
	free(pool[0].cost);
	free(pool[1].cost);
	return rc;
}

int compare_row_add(struct compare *c, struct compare_row **out)
{
	struct compare_row *rows = realloc(c->rows, (c->row_count + 1) * sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	c->rows = rows;
	*out = &rows[c->row_count++];
	**out = (struct compare_row){ .p = 1, .p_events = 1, .p_runs = 1, .superiority = 0.5 };
	return 0;
}

struct grouping {
	struct compare *c;
	const char *by;
};

static int add_pair(void *self, const struct half *const half[2], const struct grouped g[2])
{
	struct grouping *grouping = self;
	struct compare_row *row;
	int rc = compare_row_add(grouping->c, &row);

	if (rc)
		return rc;
	row->by = grouping->by;
	memcpy(row->name, (half[0] ? half[0] : half[1])->name, sizeof(row->name));
	for (int s = 0; s < 2; s++)
		row->count[s] = half[s] ? half[s]->count : 0;
	return half[0] && half[1] && grouping->c->costs_compared ? cost_row(grouping->c, row, half, g) : 0;
}

int compare_by(struct compare *c, enum profile_by by, struct vm_error *err)
{
	struct grouping grouping = { c, profile_by_name(by) };

	return group_and_walk(c, by, add_pair, &grouping, err);
}
