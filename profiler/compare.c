/*
 * compare.c - from two sides to a verdict (see compare.h).
 *
 * In this order: may they be compared at all; the rows of both sides with what is found of each (compare_rows.c); which of it chance alone does not give; the verdict.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/compare_internal.h"

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

const char *compare_cost_name(const struct compare *c, enum compare_cost cost)
{
	static const char *const names[2][5] = { { "", "too few", "~", "faster?", "slower?" },
		                                 { "", "too few", "~", "faster", "slower" } };

	return names[c->confirmed][cost];
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
	return ok && !(diff & ~ONLY_COSTS & ~c->options->allow);
}

static int add_counter(struct compare *c, const char *name, uint64_t base, uint64_t new_)
{
	struct compare_row *row;
	int rc = compare_row_add(c, &row);

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

/* ---- what chance alone does not give -------------------------------------------------------------------------- */

static bool was_tested(const struct compare_row *row)
{
	return row->cost >= COST_UNSURE;
}

static bool runs_suffice(const struct compare *c, size_t n, size_t m, size_t hypotheses)
{
	double times = c->options->correction == CORRECT_NONE ? 1 : (double)hypotheses;

	return stats_chance_apart(n, m) * times < c->options->alpha;
}

/* Could these recordings show anything, however clear it is? */
static bool enough_runs(struct compare *c, size_t hypotheses)
{
	size_t n = c->side[0]->run_count, m = c->side[1]->run_count, need = 1;

	if (c->options->quiet_host || runs_suffice(c, n, m, hypotheses))
		return true;
	while (!runs_suffice(c, need, need, hypotheses))
		need++;
	note(c,
	     "%zu and %zu recordings: a busier host cannot be told from a slower handler, so costs decide nothing; it "
	     "takes %zu of each side for %zu rows at %g",
	     n, m, need, c->tested, c->options->alpha);
	return false;
}

/* What has been tested, in one order, the shift of all rows last: as many as *n. */
static void take_p(struct compare *c, double *p, size_t *n)
{
	*n = 0;
	for (size_t i = 0; i < c->row_count; i++) {
		struct compare_row *row = &c->rows[i];

		if (was_tested(row))
			p[(*n)++] = c->confirmed && !c->options->quiet_host ? row->p_runs : row->p_events;
	}
	if (c->alike.rows)
		p[(*n)++] = c->alike.p;
}

static void judge(const struct compare *c, double p, double *out, enum compare_cost *cost)
{
	*out = p;
	if (p >= c->options->alpha)
		*cost = COST_UNSURE;
}

static void give_p(struct compare *c, const double *p)
{
	size_t n = 0;

	for (size_t i = 0; i < c->row_count; i++)
		if (was_tested(&c->rows[i]))
			judge(c, p[n++], &c->rows[i].p, &c->rows[i].cost);
	if (c->alike.rows)
		judge(c, p[n], &c->alike.p, &c->alike.cost);
}

static int correct_all(struct compare *c, struct vm_error *err)
{
	double *p = calloc(c->row_count + 2, sizeof(*p));
	size_t n = 0;
	int rc = p ? 0 : -ENOMEM;

	for (size_t i = 0; i < c->row_count; i++)
		c->tested += was_tested(&c->rows[i]);
	if (!rc) {
		c->confirmed = c->costs_compared && enough_runs(c, c->tested + (c->alike.rows > 0));
		take_p(c, p, &n);
		rc = stats_correct(p, n, c->options->correction);
	}
	if (!rc)
		give_p(c, p);
	free(p);
	return rc ? vm_fail(err, rc, "compare: out of memory") : 0;
}

/* ---- verdict --------------------------------------------------------------------------------------------------- */

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

/* Is there a row of that cost, or are all of them? */
static bool costs_are(const struct compare *c, enum compare_cost cost, size_t rows)
{
	return c->confirmed && (rows || (c->alike.cost == cost && !c->options->ignore_alike));
}

static enum compare_verdict decide(const struct compare *c)
{
	bool worse = c->options->gate == GATE_MORE  ? c->counts_more > 0
	             : c->options->gate == GATE_ANY ? c->counts_more + c->counts_fewer > 0
	                                            : false;

	if (worse || costs_are(c, COST_SLOWER, c->slower))
		return VERDICT_REGRESSED;
	return c->counts_fewer || costs_are(c, COST_FASTER, c->faster) ? VERDICT_IMPROVED : VERDICT_EQUAL;
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
	rc = compare_alike(out, err);
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
