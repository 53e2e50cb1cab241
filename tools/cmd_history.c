/*
 * cmd_history.c - `ringside history`: a store of runs (profiler/history.h): add, list, steps, plot, gate.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "profiler/history.h"
#include "profiler/plot.h"
#include "profiler/stats.h"
#include "tools/commands.h"
#include "tools/history_gate.h"
#include "tools/options.h"
#include "tools/tool.h"

#define TRACES_MAX HISTORY_GATE_RUNS
#define ALPHA 0.01
#define STEP_SIDE 5 /* runs on each side of a step */

struct history_cli {
	char *label, *workload, *host, *row, *output, *last, *effect, *format;
};

/* ---- runs from traces ---------------------------------------------------------------------------------------------- */

static int read_trace(struct history_run *out, const char *path, const struct history_cli *cli)
{
	struct trace_reader *reader;
	struct profile *p = NULL;
	struct vm_error err;
	int rc = trace_reader_open(&reader, path, &err);

	if (rc)
		return tool_fail(rc, &err);
	rc = profile_create(&p, &err);
	rc = rc ? rc : profile_read(p, reader, NULL, NULL, &err);
	if (!rc && !trace_reader_meta(reader)->complete)
		rc = vm_fail(&err, -EBADMSG, "%s: the recorder was stopped before the guest's end", path);
	rc = rc ? rc
	        : history_run_make(out, trace_reader_meta(reader), p, cli->label ? cli->label : "", cli->workload, &err);
	profile_destroy(p);
	trace_reader_close(reader);
	return rc ? tool_fail(rc, &err) : OPTIONS_GO;
}

struct runs {
	struct history_run list[TRACES_MAX];
	size_t count;
};

static int read_traces(struct runs *out, const char **paths, const struct history_cli *cli)
{
	int status = OPTIONS_GO;

	for (out->count = 0; status == OPTIONS_GO && *paths; paths++) {
		status = read_trace(&out->list[out->count], *paths, cli);
		out->count += status == OPTIONS_GO;
	}
	return status;
}

static void free_runs(struct runs *r)
{
	while (r->count)
		history_run_free(&r->list[--r->count]);
}

static int do_add(const struct history_cli *cli, const char **args)
{
	struct runs runs;
	struct vm_error err;
	int status, rc;

	if (!cli->label)
		return tool_error(TOOL_USAGE,
		                  "history add: --label is missing: what these runs are of, a commit for example");
	status = read_traces(&runs, args + 1, cli);
	if (status == OPTIONS_GO) {
		rc = history_add(args[0], runs.list, runs.count, &err);
		status = rc ? tool_fail(rc, &err) : TOOL_OK;
	}
	free_runs(&runs);
	return status;
}

/* ---- series ------------------------------------------------------------------------------------------------------ */

/* Does the user want this run? */
static bool wanted(const struct history_cli *cli, const struct history_run *run)
{
	return (!cli->workload || !strcmp(cli->workload, run->workload)) &&
	       (!cli->host || strstr(run->host, cli->host)) && (!cli->label || !strcmp(cli->label, run->label));
}

struct series {
	const struct history_run **runs;
	double *values;
	size_t count;
};

/* The row's medians over the runs of the same series as `like`. */
static int make_series(struct series *s, const struct history *h, const struct history_run *like, const char *row)
{
	s->count = 0;
	s->runs = calloc(h->count + 1, sizeof(*s->runs));
	s->values = calloc(h->count + 1, sizeof(*s->values));
	if (!s->runs || !s->values)
		return tool_error(TOOL_HOST, "out of memory");
	for (size_t i = 0; i < h->count; i++) {
		const struct history_row *found = history_row_find(&h->runs[i], row);

		if (!found || !h->runs[i].costs_ok || !history_same_series(&h->runs[i], like))
			continue;
		s->runs[s->count] = &h->runs[i];
		s->values[s->count++] = found->p50;
	}
	return OPTIONS_GO;
}

static void free_series(struct series *s)
{
	free(s->runs);
	free(s->values);
}

/* The last run that the user wants: it says which series. */
static const struct history_run *last_wanted(const struct history *h, const struct history_cli *cli)
{
	for (size_t i = h->count; i-- > 0;)
		if (wanted(cli, &h->runs[i]))
			return &h->runs[i];
	return NULL;
}

/* ---- list -------------------------------------------------------------------------------------------------------- */

/* Text was cleaned of what cannot be printed when it was read; quotes are left. */
static void json_member(const char *name, const char *text)
{
	printf("\"%s\":\"", name);
	for (; *text; text++)
		printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
	printf("\",");
}

static void list_run(const struct history_run *run, bool json)
{
	time_t at = (time_t)run->date;
	char date[32] = "";
	struct tm tm;

	if (gmtime_r(&at, &tm))
		strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (!json) {
		printf("%-20s  %-24s  %-32s %12" PRIu64 " %14" PRIu64 " %16" PRIu64 "  %s\n", date, run->label,
		       run->workload, run->events, run->icount, run->cost, run->host);
		return;
	}
	putchar('{');
	json_member("label", run->label);
	json_member("workload", run->workload);
	json_member("host", run->host);
	json_member("date", date);
	printf("\"events\":%" PRIu64 ",\"icount\":%" PRIu64 ",\"cost\":%" PRIu64 "}\n", run->events, run->icount,
	       run->cost);
}

static int do_list(const struct history *h, const struct history_cli *cli)
{
	bool json = options_choice(cli->format, "text", "json") == 1;

	if (!json)
		printf("%-20s  %-24s  %-32s %12s %14s %16s  %s\n", "DATE", "LABEL", "WORKLOAD", "EVENTS",
		       "INSTRUCTIONS", "COST, CYCLES", "HOST");
	for (size_t i = 0; i < h->count; i++)
		if (wanted(cli, &h->runs[i]))
			list_run(&h->runs[i], json);
	return TOOL_OK;
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static double effect_of(const struct history_cli *cli)
{
	return cli->effect ? strtod(cli->effect, NULL) / 100 : 0.05;
}

static double median_of(const double *values, size_t n)
{
	double copy[STATS_SERIES_MAX];

	if (n > STATS_SERIES_MAX) {
		values += n - STATS_SERIES_MAX;
		n = STATS_SERIES_MAX;
	}
	memcpy(copy, values, n * sizeof(*copy));
	return stats_median(copy, n);
}

static void print_steps(const struct series *s, const char *row, double effect)
{
	size_t at = stats_step(s->values, s->count, STEP_SIDE, ALPHA, effect);
	double before, after;

	if (!at)
		return;
	before = median_of(s->values, at);
	after = median_of(s->values + at, s->count - at);
	printf("%-48s %10.0f -> %-10.0f %+6.1f%%  since %s (run %zu of %zu)\n", row, before, after,
	       before > 0 ? (after / before - 1) * 100 : 0, s->runs[at]->label, at + 1, s->count);
}

static int do_steps(const struct history *h, const struct history_cli *cli)
{
	const struct history_run *last = last_wanted(h, cli);
	int status = OPTIONS_GO;

	for (size_t i = 0; last && status == OPTIONS_GO && i < last->row_count; i++) {
		struct series s;

		if (cli->row && strcmp(cli->row, last->rows[i].name))
			continue;
		status = make_series(&s, h, last, last->rows[i].name);
		if (status == OPTIONS_GO)
			print_steps(&s, last->rows[i].name, effect_of(cli));
		free_series(&s);
	}
	return status == OPTIONS_GO ? TOOL_OK : status;
}

/* ---- plot -------------------------------------------------------------------------------------------------------- */

static int plot_it(const struct series *s, const struct history_cli *cli)
{
	const char **labels = calloc(s->count + 1, sizeof(*labels));
	struct plot_series plot = { .title = cli->row, .values = s->values, .count = s->count, .labels = labels };
	struct vm_error err;
	int rc;

	if (!labels)
		return tool_error(TOOL_HOST, "out of memory");
	for (size_t i = 0; i < s->count; i++)
		labels[i] = s->runs[i]->label;
	plot.step = stats_step(s->values, s->count, STEP_SIDE, ALPHA, effect_of(cli));
	rc = plot_series(cli->output, &plot, &err);
	free(labels);
	return rc ? tool_error(rc == -EINVAL ? TOOL_USAGE : TOOL_HOST, "%s", err.text) : TOOL_OK;
}

static int do_plot(const struct history *h, const struct history_cli *cli)
{
	const struct history_run *last = last_wanted(h, cli);
	struct series s;
	int status;

	if (!cli->row || !cli->output)
		return tool_error(TOOL_USAGE,
		                  "history plot: --row and --output are needed, as in --row 'insn out pio'");
	if (!last || !history_row_find(last, cli->row))
		return tool_error(TOOL_BAD_INPUT, "history plot: the last run has no row '%s'", cli->row);
	status = make_series(&s, h, last, cli->row);
	if (status == OPTIONS_GO)
		status = plot_it(&s, cli);
	free_series(&s);
	return status;
}

/* ---- gate -------------------------------------------------------------------------------------------------------- */

/* The last n runs of the store that are of the same series as `like`. */
static size_t last_runs(const struct history *h, const struct history_run *like, size_t n, const struct history_run **out)
{
	size_t found = 0;

	for (size_t i = h->count; i-- > 0 && found < n;)
		if (history_same_series(&h->runs[i], like))
			out[found++] = &h->runs[i];
	return found;
}

static int do_gate(const struct history *h, const struct history_cli *cli, const char **args)
{
	struct history_gate g = { .alpha = ALPHA, .effect = effect_of(cli) };
	uint64_t last = 10;
	struct runs runs;
	int status;

	if (cli->last && (!tool_parse_count(cli->last, &last) || !last || last > HISTORY_GATE_RUNS))
		return tool_error(TOOL_USAGE, "--last %s: must be 1 to %d", cli->last, HISTORY_GATE_RUNS);
	status = read_traces(&runs, args + 1, cli);
	if (status == OPTIONS_GO) {
		g.old_count = last_runs(h, &runs.list[0], last, g.old);
		for (; g.now_count < runs.count; g.now_count++)
			g.now[g.now_count] = &runs.list[g.now_count];
		status = g.old_count ? history_gate_run(&g)
		                     : tool_error(TOOL_DIVERGED, "%s: no run of '%s' on this host to compare with",
		                                  args[0], runs.list[0].workload);
	}
	free_runs(&runs);
	return status;
}

/* ---- commands ---------------------------------------------------------------------------------------------------- */

static const struct usage usages[] = {
	{ "ringside history add", "STORE TRACE...", "Adds recordings to a store, which is made where there is none.",
	  "  ringside history add --label $(git rev-parse --short HEAD) runs.db a.trace b.trace c.trace", 2,
	  TRACES_MAX + 1 },
	{ "ringside history list", "STORE", "Prints the runs of a store.",
	  "  ringside history list runs.db\n  ringside history list --format json --label v1.2 runs.db | jq .cost", 1, 1 },
	{ "ringside history steps", "STORE",
	  "Prints rows whose cost changed its level some time, and since when: among the runs of the same work on the "
	  "same "
	  "host as\nthe last run.",
	  "  ringside history steps runs.db", 1, 1 },
	{ "ringside history plot", "STORE", "Draws the median cost of a row over the runs, with its step.",
	  "  ringside history plot --row 'insn out pio' --output out.svg runs.db", 1, 1 },
	{ "ringside history gate", "STORE TRACE...",
	  "Compares recordings with the last runs of the same work on the same host. Status: 0 equal or better, 1 "
	  "regressed, 4 nothing to\ncompare with. Counts are compared with the last run. What all costs of a recording "
	  "have in common is taken out as the host's, and a row\nis slower if an exact rank test over the recordings "
	  "says so, corrected for the rows: that takes five against ten runs, or more.",
	  "  ringside history gate --last 20 runs.db new1.trace new2.trace new3.trace new4.trace new5.trace", 2,
	  TRACES_MAX + 1 },
};
enum { DO_ADD, DO_LIST, DO_STEPS, DO_PLOT, DO_GATE };

static int run_on_store(int what, const struct history_cli *cli, const char **args)
{
	struct history h;
	struct vm_error err;
	int status, rc;

	if (cli->effect && !(strtod(cli->effect, NULL) > 0))
		return tool_error(TOOL_USAGE, "--effect %s: must be a percentage above 0", cli->effect);
	if (options_choice(cli->format, "text", "json") < 0)
		return tool_error(TOOL_USAGE, "--format %s: must be text or json", cli->format);
	if (what == DO_ADD)
		return do_add(cli, args);
	rc = history_open(&h, args[0], &err);
	if (rc)
		return tool_fail(rc, &err);
	status = what == DO_LIST    ? do_list(&h, cli)
	         : what == DO_STEPS ? do_steps(&h, cli)
	         : what == DO_PLOT  ? do_plot(&h, cli)
	                            : do_gate(&h, cli, args);
	history_close(&h);
	return status;
}

static int history_command(int what, int argc, const char **argv)
{
	struct history_cli cli = { 0 };
	const struct poptOption table[] = {
		{ "label", 0, POPT_ARG_STRING, &cli.label, 0, "What the runs are of: a commit, a build", "TEXT" },
		{ "workload", 0, POPT_ARG_STRING, &cli.workload, 0, "What they did (the guest's name and its machine)",
		  "TEXT" },
		{ "host", 0, POPT_ARG_STRING, &cli.host, 0, "list, steps, plot: only hosts with this in their name",
		  "TEXT" },
		{ "row", 0, POPT_ARG_STRING, &cli.row, 0, "steps, plot: of this row, as 'insn out pio'", "ROW" },
		{ "output", 'o', POPT_ARG_STRING, &cli.output, 0, "plot: the picture; - is the terminal",
		  "FILE.png|FILE.svg|-" },
		{ "last", 0, POPT_ARG_STRING, &cli.last, 0, "gate: how many runs to compare with (10)", "N" },
		{ "effect", 0, POPT_ARG_STRING, &cli.effect, 0, "steps, plot, gate: least change that matters (5)",
		  "PERCENT" },
		{ "format", 0, POPT_ARG_STRING, &cli.format, 0, "list: json is one object a line (text)", "text|json" },
		OPTIONS_END,
	};
	struct options options;
	int status = options_parse(&options, argc, argv, table, &usages[what]);

	if (status == OPTIONS_GO)
		status = run_on_store(what, &cli, options.args);
	options_close(&options);
	return status;
}

static int cmd_add(int argc, const char **argv)
{
	return history_command(DO_ADD, argc, argv);
}

static int cmd_list(int argc, const char **argv)
{
	return history_command(DO_LIST, argc, argv);
}

static int cmd_steps(int argc, const char **argv)
{
	return history_command(DO_STEPS, argc, argv);
}

static int cmd_plot(int argc, const char **argv)
{
	return history_command(DO_PLOT, argc, argv);
}

static int cmd_gate(int argc, const char **argv)
{
	return history_command(DO_GATE, argc, argv);
}

int cmd_history(int argc, const char **argv)
{
	static const struct command table[] = {
		{ "add", cmd_add, "add recordings to a store" },
		{ "list", cmd_list, "the runs of a store" },
		{ "steps", cmd_steps, "which cost changed, and since when" },
		{ "plot", cmd_plot, "a row's cost over the runs" },
		{ "gate", cmd_gate, "compare recordings with the last runs: fails on a regression" },
		{ NULL, NULL, NULL },
	};

	return command_dispatch(table, "ringside history", "Keeps what runs cost, by label.", argc - 1, argv + 1);
}
