/*
 * history_gate.c - see history_gate.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/alike.h"
#include "tools/history_gate.h"
#include "tools/tool.h"

#define COUNT_MIN 20 /* of fewer events a median says nothing */

struct changes {
	size_t more, fewer;
};

/* Against the newest of the old: one is enough. */
static struct changes gate_counts(const struct history_run *before, const struct history_run *now)
{
	struct changes c = { 0, 0 };

	for (size_t i = 0; i < now->row_count; i++) {
		const struct history_row *old = history_row_find(before, now->rows[i].name);
		uint64_t was = old ? old->count : 0;

		if (was == now->rows[i].count)
			continue;
		printf("%-48s count %10" PRIu64 " -> %-10" PRIu64 " %s\n", now->rows[i].name, was, now->rows[i].count,
		       now->rows[i].count > was ? "more" : "fewer");
		c.more += now->rows[i].count > was;
		c.fewer += now->rows[i].count < was;
	}
	for (size_t i = 0; i < before->row_count; i++)
		if (!history_row_find(now, before->rows[i].name)) {
			printf("%-48s count %10" PRIu64 " -> 0          gone\n", before->rows[i].name,
			       before->rows[i].count);
			c.fewer++;
		}
	return c;
}

/* Rows that all runs have costs of. */
struct costs {
	size_t olds, news, rows; /* runs of each */
	const char **name;
	double *median, *quartile;            /* rows times runs, the old first */
	double *p;                            /* of each row */
	double factor[2 * HISTORY_GATE_RUNS]; /* of each run */
	const struct history_run *run[2 * HISTORY_GATE_RUNS];
};

static size_t take_runs(struct costs *c, const struct history_run *const *runs, size_t count)
{
	size_t before = c->olds + c->news, n = 0;

	for (size_t i = 0; i < count; i++)
		if (runs[i]->costs_ok)
			c->run[before + n++] = runs[i];
	return n;
}

/* The row's medians and lower quartiles in all runs; false where one has too few. */
static bool row_costs(const struct costs *c, const char *name, double *median, double *quartile)
{
	for (size_t i = 0; i < c->olds + c->news; i++) {
		const struct history_row *row = history_row_find(c->run[i], name);

		if (!row || row->count < COUNT_MIN)
			return false;
		median[i] = row->p50;
		quartile[i] = row->p25;
	}
	return true;
}

static int take_rows(struct costs *c, struct alike *alike)
{
	const struct history_run *like = c->run[c->olds];
	size_t runs = c->olds + c->news;
	int rc = 0;

	c->name = calloc(like->row_count + 1, sizeof(*c->name));
	c->median = calloc((like->row_count + 1) * runs, sizeof(*c->median));
	c->quartile = calloc((like->row_count + 1) * runs, sizeof(*c->quartile));
	c->p = calloc(like->row_count + 1, sizeof(*c->p));
	if (!c->name || !c->median || !c->quartile || !c->p)
		return -1;
	for (size_t i = 0; !rc && i < like->row_count; i++) {
		double *median = c->median + c->rows * runs;

		if (!row_costs(c, like->rows[i].name, median, c->quartile + c->rows * runs))
			continue;
		c->name[c->rows++] = like->rows[i].name;
		rc = alike_add(alike, median);
	}
	return rc;
}

static double middle(const double *values, size_t n)
{
	double copy[HISTORY_GATE_RUNS];

	memcpy(copy, values, n * sizeof(*copy));
	return n ? stats_median(copy, n) : 0;
}

/* Are the new runs dearer by as much as matters? The runs' factors are taken out of the figures. */
static bool dearer(const struct costs *c, double *figure, double effect)
{
	for (size_t i = 0; i < c->olds + c->news; i++)
		figure[i] /= c->factor[i];
	return middle(figure + c->olds, c->news) >= middle(figure, c->olds) * (1 + effect);
}

/* A run that an older release added has no quartiles. */
static bool all_there(const double *figure, size_t n)
{
	while (n && figure[n - 1] > 0)
		n--;
	return !n;
}

/* Chance alone, for each row: 1 where the new runs are not dearer, in the lower quartile as well (compare_rows.c: a busy host makes some events dearer). */
static void test_rows(struct costs *c, double effect)
{
	size_t runs = c->olds + c->news;

	for (size_t r = 0; r < c->rows; r++) {
		double *median = c->median + r * runs, *quartile = c->quartile + r * runs;
		bool moved = dearer(c, median, effect);
		struct mann_whitney mw = stats_mann_whitney_exact(median, c->olds, median + c->olds, c->news);

		if (all_there(quartile, runs))
			moved &= dearer(c, quartile, effect);
		c->p[r] = moved && mw.superiority > 0.5 ? mw.p : 1;
	}
}

static size_t print_slower(const struct costs *c, double alpha)
{
	bool enough = stats_chance_apart(c->olds, c->news) * (double)c->rows < alpha;
	size_t slower = 0;

	for (size_t r = 0; r < c->rows; r++) {
		const double *median = c->median + r * (c->olds + c->news);

		if (c->p[r] >= alpha)
			continue;
		printf("%-48s p50 %12.0f -> %-10.0f slower\n", c->name[r], middle(median, c->olds),
		       middle(median + c->olds, c->news));
		slower++;
	}
	if (!enough)
		printf("NOTE  %zu runs against %zu: for %zu rows too few to tell a busier host from a slower handler, "
		       "so costs decide nothing\n",
		       c->news, c->olds, c->rows);
	return slower;
}

static int find_costs(struct costs *c, const struct history_gate *g, struct alike *alike)
{
	size_t used;
	int rc;

	c->olds = take_runs(c, g->old, g->old_count);
	c->news = take_runs(c, g->now, g->now_count);
	if (!c->olds || !c->news)
		return 0;
	alike->runs = c->olds + c->news;
	rc = take_rows(c, alike);
	rc = rc ? rc : alike_factors(alike, c->factor, &used);
	if (rc)
		return rc;
	test_rows(c, g->effect);
	if (used)
		printf("all rows together: p50 %+.1f %%, most likely the host's; taken out\n",
		       (middle(c->factor + c->olds, c->news) / middle(c->factor, c->olds) - 1) * 100);
	return stats_correct(c->p, c->rows, CORRECT_HOLM);
}

static int gate_costs(const struct history_gate *g, size_t *slower)
{
	struct costs c = { .rows = 0 };
	struct alike alike = { .runs = 0 };
	int rc = find_costs(&c, g, &alike);

	*slower = rc ? 0 : print_slower(&c, g->alpha);
	alike_free(&alike);
	free(c.name);
	free(c.median);
	free(c.quartile);
	free(c.p);
	return rc;
}

int history_gate_run(const struct history_gate *g)
{
	struct changes counts = gate_counts(g->old[0], g->now[0]);
	size_t slower;
	bool worse;

	if (gate_costs(g, &slower))
		return tool_error(TOOL_HOST, "out of memory");
	worse = counts.more || slower;
	printf("%s: counts %zu more, %zu fewer; costs %zu slower, against the last %zu runs on this host\n",
	       worse ? "regressed" : "equal", counts.more, counts.fewer, slower, g->old_count);
	return worse ? TOOL_GUEST_FAILED : TOOL_OK;
}
