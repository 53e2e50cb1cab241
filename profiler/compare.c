/*
 * compare.c - from two sides to a verdict (see compare.h).
 *
 * In this order: may they be compared at all; the rows of both sides, matched by what they are called; counts; costs; the verdict.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/compare.h"

static const struct {
	const char *name;
	int bit;
} allowed[] = {
	{ "guest", COMPARE_GUEST },     { "append", COMPARE_APPEND },     { "model", COMPARE_MODEL },
	{ "machine", COMPARE_MACHINE }, { "complete", COMPARE_COMPLETE }, { "sensitive", COMPARE_SENSITIVE },
	{ "host", COMPARE_HOST },       { "engine", COMPARE_ENGINE },     { "all", ~0 },
};
const char compare_allow_names[] = "guest, append, model, machine, complete, sensitive, host, engine, all";

static int allow_word(const char *word, size_t len)
{
	for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++)
		if (strlen(allowed[i].name) == len && !memcmp(allowed[i].name, word, len))
			return allowed[i].bit & 0xffff;
	return -1;
}

int compare_allow_parse(const char *list)
{
	int bits = 0;

	for (;;) {
		size_t len = strcspn(list, ",");
		int bit = allow_word(list, len);

		if (bit < 0)
			return -1;
		bits |= bit;
		if (!list[len])
			return bits;
		list += len + 1;
	}
}

void compare_options_init(struct compare_options *o)
{
	*o = (struct compare_options){ .alpha = 0.01, .effect = 0.05, .correction = CORRECT_HOLM, .min_samples = 20 };
}

const char *compare_verdict_name(enum compare_verdict v)
{
	static const char *const names[] = { "equal", "improved", "regressed", "incomparable" };

	return names[v];
}

const char *compare_cost_name(const struct compare *c, const struct compare_row *row)
{
	static const char *const names[2][5] = { { "", "too few", "~", "faster?", "slower?" },
		                                 { "", "too few", "~", "faster", "slower" } };

	return names[c->confirmed][row->cost];
}

__attribute__((format(printf, 2, 3))) static void note(struct compare *c, const char *fmt, ...)
{
	va_list args;

	if (c->note_count == COMPARE_NOTES_MAX)
		return;
	va_start(args, fmt);
	vsnprintf(c->notes[c->note_count++], sizeof(c->notes[0]), fmt, args);
	va_end(args);
}

/* ---- may they be compared ------------------------------------------------------------------------------------ */

static bool same_files(const struct trace_meta *a, const struct trace_meta *b)
{
	if (a->file_count != b->file_count)
		return false;
	for (uint32_t i = 0; i < a->file_count; i++)
		if (strcmp(a->files[i].role, b->files[i].role) || a->files[i].bytes != b->files[i].bytes ||
		    a->files[i].hash != b->files[i].hash)
			return false;
	return true;
}

static bool same_machine(const struct trace_meta *a, const struct trace_meta *b)
{
	const struct vm_config *x = &a->config, *y = &b->config;

	return x->memory == y->memory && !strcmp(a->cpu_model, b->cpu_model) && x->ns_per_insn == y->ns_per_insn &&
	       x->ns_per_fault == y->ns_per_fault && x->checkpoint_interval == y->checkpoint_interval &&
	       x->limit == y->limit;
}

/* The cycle counter's rate is measured anew in each recording: allow it some error. */
static bool same_host(const struct trace_meta *a, const struct trace_meta *b)
{
	double x = (double)a->tsc_hz, y = (double)b->tsc_hz;

	return !strcmp(a->host, b->host) && fabs(x - y) <= 0.02 * (x > y ? x : y);
}

/* COMPARE_* bits in which two traces differ. */
static int differences(const struct trace_meta *a, const struct trace_meta *b)
{
	return (same_files(a, b) ? 0 : COMPARE_GUEST) | (strcmp(a->command_line, b->command_line) ? COMPARE_APPEND : 0) |
	       (a->config.model != b->config.model ? COMPARE_MODEL : 0) |
	       (a->config.policy != b->config.policy ? COMPARE_SENSITIVE : 0) |
	       (same_machine(a, b) ? 0 : COMPARE_MACHINE) | (a->complete && b->complete ? 0 : COMPARE_COMPLETE) |
	       (same_host(a, b) ? 0 : COMPARE_HOST) | (strcmp(a->engine, b->engine) ? COMPARE_ENGINE : 0);
}

static const struct {
	int bit;
	const char *text;
} difference_texts[] = {
	{ COMPARE_GUEST, "the guests' files differ" },
	{ COMPARE_APPEND, "the guests' command lines differ" },
	{ COMPARE_MODEL, "the ring models differ" },
	{ COMPARE_SENSITIVE, "the policies for sensitive instructions differ" },
	{ COMPARE_MACHINE, "the machines differ (memory, processor model, virtual time, checkpoints or limit)" },
	{ COMPARE_COMPLETE, "a recording was stopped before its guest's end" },
	{ COMPARE_HOST, "the recording hosts differ" },
	{ COMPARE_ENGINE, "the engines differ" },
};

#define ONLY_COSTS (COMPARE_HOST | COMPARE_ENGINE)

static void note_differences(struct compare *c, int diff)
{
	for (size_t i = 0; i < sizeof(difference_texts) / sizeof(*difference_texts); i++) {
		int bit = difference_texts[i].bit;
		const char *so =
		        bit & ~c->options->allow ? bit & ONLY_COSTS ? ": costs are not compared" : "" : " (allowed)";

		if (diff & bit)
			note(c, "%s%s", difference_texts[i].text, so);
	}
}

static bool costs_present(const struct compare_side *s)
{
	for (size_t i = 0; i < s->run_count; i++) {
		struct profile_totals t;

		profile_totals(s->runs[i].profile, &t);
		if (!t.costs_ok)
			return false;
	}
	return true;
}

/* Traces of one side must be recordings of one run. */
static bool side_agrees(struct compare *c, const struct compare_side *s, const char *name)
{
	for (size_t i = 1; i < s->run_count; i++)
		if (s->runs[i].meta->digest != s->runs[0].meta->digest) {
			note(c, "%s: %s is not a recording of the same run as %s (another digest)", name,
			     s->runs[i].path, s->runs[0].path);
			return false;
		}
	return true;
}

static bool enough_runs(struct compare *c)
{
	size_t n = c->side[0]->run_count, m = c->side[1]->run_count;
	size_t need = 1;

	if (c->options->quiet_host || stats_chance_apart(n, m) < c->options->alpha)
		return true;
	while (stats_chance_apart(need, need) >= c->options->alpha)
		need++;
	note(c,
	     "%zu and %zu recordings: a busier host cannot be told from a slower handler, so costs decide nothing; it "
	     "takes "
	     "%zu of each side at %g",
	     n, m, need, c->options->alpha);
	return false;
}

static bool comparable(struct compare *c)
{
	const struct trace_meta *a = c->side[0]->runs[0].meta, *b = c->side[1]->runs[0].meta;
	int diff = 0;
	bool ok = side_agrees(c, c->side[0], "base");

	ok &= side_agrees(c, c->side[1], "new");
	for (int s = 0; s < 2; s++)
		for (size_t i = 0; i < c->side[s]->run_count; i++)
			diff |= differences(a, c->side[s]->runs[i].meta);
	note_differences(c, diff);
	c->same_digest = a->digest == b->digest;
	c->costs_compared = !(diff & ONLY_COSTS & ~c->options->allow);
	for (int s = 0; s < 2; s++)
		if (!costs_present(c->side[s])) {
			note(c, "%s: cost columns are absent or damaged: costs are not compared", s ? "new" : "base");
			c->costs_compared = false;
		}
	c->confirmed = c->costs_compared && enough_runs(c);
	return ok && !(diff & ~ONLY_COSTS & ~c->options->allow);
}

/* ---- rows ---------------------------------------------------------------------------------------------------- */

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
static int group_side(struct compare *c, int side, enum profile_by by, struct grouped *out, struct vm_error *err)
{
	const struct compare_side *s = c->side[side];
	const struct symbols *symbols = c->options->symbols[side];
	struct profile_table t;
	int rc = profile_table(s->runs[0].profile, by, profile_sort_find("id"), 0, symbols, &t, err);

	memset(out, 0, sizeof(*out));
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

/* All runs' samples of a row, ascending. */
struct pool {
	uint32_t *cost;
	size_t count;
	uint32_t least, most; /* medians of the single runs */
};

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int pool_fill(struct pool *out, const struct grouped *g, size_t runs, uint32_t order)
{
	size_t room = 0;

	memset(out, 0, sizeof(*out));
	out->least = UINT32_MAX;
	for (size_t i = 0; i < runs; i++)
		room += g->samples[i].first[order + 1] - g->samples[i].first[order];
	out->cost = malloc((room + 1) * sizeof(*out->cost));
	if (!out->cost)
		return -ENOMEM;
	for (size_t i = 0; i < runs; i++) {
		const uint32_t *from = g->samples[i].cost + g->samples[i].first[order];
		size_t n = g->samples[i].first[order + 1] - g->samples[i].first[order];
		uint32_t median = n ? stats_percentile(from, n, 50) : 0;

		memcpy(out->cost + out->count, from, n * sizeof(*from));
		out->count += n;
		out->least = median < out->least ? median : out->least;
		out->most = median > out->most ? median : out->most;
	}
	if (runs > 1)
		qsort(out->cost, out->count, sizeof(*out->cost), compare_u32);
	return 0;
}

/* A change must show in the lower quartile as well: a busy host makes some events dearer, a slower handler all of them. */
static bool shifted(const struct pool *a, const struct pool *b, double effect)
{
	double a50 = stats_percentile(a->cost, a->count, 50), b50 = stats_percentile(b->cost, b->count, 50);
	double a25 = stats_percentile(a->cost, a->count, 25), b25 = stats_percentile(b->cost, b->count, 25);

	return (b50 - a50 >= effect * a50 && b25 - a25 >= effect * a25) ||
	       (a50 - b50 >= effect * a50 && a25 - b25 >= effect * a25);
}

/* Before the correction; row->cost is COST_SLOWER or COST_FASTER where it is a candidate. */
static void test_row(const struct compare *c, struct compare_row *row, const struct pool pool[2])
{
	struct mann_whitney mw;

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
	mw = stats_mann_whitney(pool[0].cost, pool[0].count, pool[1].cost, pool[1].count);
	row->p = mw.p;
	row->superiority = mw.superiority;
	row->cost = COST_UNSURE;
	if (!shifted(&pool[0], &pool[1], c->options->effect))
		return;
	if (mw.z > 0 && row->change > 0 && pool[1].least > pool[0].most)
		row->cost = COST_SLOWER;
	if (mw.z < 0 && row->change < 0 && pool[1].most < pool[0].least)
		row->cost = COST_FASTER;
}

static int cost_row(const struct compare *c, struct compare_row *row, const struct half *const half[2],
                    const struct grouped g[2])
{
	struct pool pool[2] = { { 0 } };
	int rc = 0;

	for (int s = 0; !rc && s < 2; s++)
		rc = pool_fill(&pool[s], &g[s], c->side[s]->run_count, half[s]->order);
	if (!rc)
		test_row(c, row, pool);
	free(pool[0].cost);
	free(pool[1].cost);
	return rc;
}

static int row_add(struct compare *c, struct compare_row **out)
{
	struct compare_row *rows = realloc(c->rows, (c->row_count + 1) * sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	c->rows = rows;
	*out = &rows[c->row_count++];
	**out = (struct compare_row){ .p = 1, .superiority = 0.5 };
	return 0;
}

/* half[s] is NULL where a side has no such row. */
static int add_pair(struct compare *c, const char *by, const struct half *const half[2], const struct grouped g[2])
{
	struct compare_row *row;
	int rc = row_add(c, &row);

	if (rc)
		return rc;
	row->by = by;
	memcpy(row->name, (half[0] ? half[0] : half[1])->name, sizeof(row->name));
	for (int s = 0; s < 2; s++)
		row->count[s] = half[s] ? half[s]->count : 0;
	return half[0] && half[1] && c->costs_compared ? cost_row(c, row, half, g) : 0;
}

/* Both sides are in the order of names: walk them together. */
static int merge(struct compare *c, const char *by, const struct grouped g[2])
{
	size_t i = 0, j = 0;
	int rc = 0;

	while (!rc && (i < g[0].count || j < g[1].count)) {
		int order = i == g[0].count   ? 1
		            : j == g[1].count ? -1
		                              : compare_halves(&g[0].halves[i], &g[1].halves[j]);
		const struct half *const half[2] = { order <= 0 ? &g[0].halves[i] : NULL,
			                             order >= 0 ? &g[1].halves[j] : NULL };

		rc = add_pair(c, by, half, g);
		i += order <= 0;
		j += order >= 0;
	}
	return rc;
}

static int compare_by(struct compare *c, enum profile_by by, struct vm_error *err)
{
	struct grouped g[2];
	int rc = group_side(c, 0, by, &g[0], err);

	memset(&g[1], 0, sizeof(g[1]));
	rc = rc ? rc : group_side(c, 1, by, &g[1], err);
	if (!rc) {
		rc = merge(c, profile_by_name(by), g);
		if (rc)
			vm_fail(err, rc, "compare: out of memory");
	}
	grouped_free(&g[0]);
	grouped_free(&g[1]);
	return rc;
}

static int add_counter(struct compare *c, const char *name, uint64_t base, uint64_t new_)
{
	struct compare_row *row;
	int rc = row_add(c, &row);

	if (rc)
		return rc;
	row->by = "counter";
	snprintf(row->name, sizeof(row->name), "%s", name);
	row->count[0] = base;
	row->count[1] = new_;
	return 0;
}

/* The hidden faults of shadow paging: they are no events, but as deterministic as those. */
static int compare_counters(struct compare *c, struct vm_error *err)
{
	const struct vm_counters *a = &c->side[0]->runs[0].meta->counters, *b = &c->side[1]->runs[0].meta->counters;
	int rc = add_counter(c, "tlb fills", a->tlb_fills, b->tlb_fills);

	rc = rc ? rc : add_counter(c, "tlb flushes", a->tlb_flushes, b->tlb_flushes);
	rc = rc ? rc : add_counter(c, "view switches", a->view_switches, b->view_switches);
	rc = rc ? rc : add_counter(c, "leaks", a->leaks, b->leaks);
	return rc ? vm_fail(err, rc, "compare: out of memory") : 0;
}

/* ---- verdict --------------------------------------------------------------------------------------------------- */

static bool was_tested(const struct compare_row *row)
{
	return row->cost >= COST_UNSURE;
}

static int correct_all(struct compare *c, struct vm_error *err)
{
	double *p = calloc(c->row_count + 1, sizeof(*p));
	size_t n = 0;
	int rc = p ? 0 : -ENOMEM;

	for (size_t i = 0; !rc && i < c->row_count; i++)
		if (was_tested(&c->rows[i]))
			p[n++] = c->rows[i].p;
	rc = rc ? rc : stats_correct(p, n, c->options->correction);
	c->tested = n;
	n = 0;
	for (size_t i = 0; !rc && i < c->row_count; i++) {
		struct compare_row *row = &c->rows[i];

		if (!was_tested(row))
			continue;
		row->p = p[n++];
		if (row->p >= c->options->alpha)
			row->cost = COST_UNSURE;
	}
	free(p);
	return rc ? vm_fail(err, rc, "compare: out of memory") : 0;
}

static void count_up(struct compare *c)
{
	for (size_t i = 0; i < c->row_count; i++) {
		const struct compare_row *row = &c->rows[i];

		c->counts_more += row->count[1] > row->count[0];
		c->counts_fewer += row->count[1] < row->count[0];
		c->slower += row->cost == COST_SLOWER;
		c->faster += row->cost == COST_FASTER;
		c->few += row->cost == COST_FEW;
	}
	if (c->few)
		note(c, "%zu rows have fewer than %zu samples on a side: nothing is said about their cost", c->few,
		     c->options->min_samples);
}

static enum compare_verdict decide(const struct compare *c)
{
	bool worse = c->options->gate == GATE_MORE  ? c->counts_more > 0
	             : c->options->gate == GATE_ANY ? c->counts_more + c->counts_fewer > 0
	                                            : false;

	if (worse || (c->slower && c->confirmed))
		return VERDICT_REGRESSED;
	return c->counts_fewer || (c->faster && c->confirmed) ? VERDICT_IMPROVED : VERDICT_EQUAL;
}

/* Within a grouping, what happens most comes first. */
static int compare_rows(const void *a, const void *b)
{
	const struct compare_row *x = a, *y = b;
	double cx = (double)x->p50[0] * (double)x->count[0], cy = (double)y->p50[0] * (double)y->count[0];
	int r = strcmp(x->by, y->by);

	if (r)
		return r;
	if (cx != cy)
		return cx > cy ? -1 : 1;
	return strcmp(x->name, y->name);
}

int compare_sides(struct compare *out, const struct compare_side *base, const struct compare_side *new_,
                  const struct compare_options *options, struct vm_error *err)
{
	int rc = 0;

	memset(out, 0, sizeof(*out));
	out->side[0] = base;
	out->side[1] = new_;
	out->options = options;
	out->verdict = VERDICT_INCOMPARABLE;
	if (!comparable(out))
		return 0;
	for (size_t i = 0; !rc && i < options->by_count; i++)
		rc = compare_by(out, options->by[i], err);
	rc = rc ? rc : compare_counters(out, err);
	rc = rc ? rc : correct_all(out, err);
	if (rc) {
		compare_free(out);
		return rc;
	}
	qsort(out->rows, out->row_count, sizeof(*out->rows), compare_rows);
	count_up(out);
	out->verdict = decide(out);
	return 0;
}

void compare_free(struct compare *c)
{
	free(c->rows);
	c->rows = NULL;
	c->row_count = 0;
}
