/*
 * cmd_compare.c - `ringside compare`: read two sides, compare (profiler/compare.h), print; the exit status is the gate.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/compare.h"
#include "profiler/gnuplot.h"
#include "profiler/plot.h"
#include "tools/commands.h"
#include "tools/groupings.h"
#include "tools/options.h"
#include "tools/tool.h"

struct compare_cli {
	char *by, *format, *limit, *alpha, *effect, *correct, *samples, *counts, *allow, *alike, *symbols,
	        *base_symbols, *plot;
	int quiet_host;
	char **more[2]; /* further traces of each side */
};

/* Traces and names that are open. */
struct compare_inputs {
	struct compare_side side[2];
	struct trace_reader *readers[2][COMPARE_RUNS_MAX];
	struct symbols *symbols[2];
};

static const struct usage compare_usage = {
	.command = "ringside compare",
	.arguments = "BASE NEW",
	.about =
	        "Says whether the guest faults more in NEW than in BASE, and whether a fault became dearer. Counts are "
	        "exact: every\n"
	        "change is listed. Costs are compared row by row with a rank test, corrected for the number of rows, "
	        "and "
	        "a change\n"
	        "must also be large enough to matter; `~` stands where nothing can be said.\n"
	        "One recording of each side cannot tell a slower handler from a busier host, so its costs decide "
	        "nothing: give eight\n"
	        "of each (--base, --new), taken in turn. What all rows of a recording have in common is taken out of "
	        "it, and compared\n"
	        "apart; where base is of another day that is most likely the host, and --alike ignore leaves it out.\n"
	        "Status: 0 equal or improved, 1 regressed, 4 incomparable.",
	.examples =
	        "  ringside compare before.trace after.trace\n"
	        "  ringside compare --base b2.trace --base b3.trace --new n2.trace --new n3.trace b1.trace n1.trace\n"
	        "  ringside compare --allow guest --by symbol --base-symbols System.map.old --symbols System.map "
	        "old.trace new.trace\n"
	        "  ringside compare --format markdown --counts any before.trace after.trace\n"
	        "  ringside compare --plot changes.svg before.trace after.trace",
	.min_args = 2,
	.max_args = 2,
};

static const struct {
	const char *name;
	int (*report)(FILE *out, const struct compare *c, size_t limit);
} formats[] = { { "text", compare_text }, { "json", compare_json }, { "markdown", compare_markdown } };

typedef int report_fn(FILE *out, const struct compare *c, size_t limit);

static report_fn *find_format(const char *name)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
		if (!strcmp(name, formats[i].name))
			return formats[i].report;
	return NULL;
}

/* Index of the word, 0 when text is NULL, -1 when it is none of them. */
static int word_of(const char *text, const char *const *words, int count)
{
	for (int i = 0; text && i < count; i++)
		if (!strcmp(text, words[i]))
			return i;
	return text ? -1 : 0;
}

/* A fraction between 0 and 1, neither included. */
static bool parse_fraction(const char *text, double scale, double *out)
{
	char *end;
	double value;

	if (!text)
		return true;
	value = strtod(text, &end) * scale;
	if (end == text || *end || !(value > 0 && value < 1))
		return false;
	*out = value;
	return true;
}

static int parse_options(const struct compare_cli *cli, struct compare_options *o)
{
	static const char *const corrections[] = { "holm", "bh", "none" }, *const gates[] = { "more", "any", "ignore" };
	static const char *const alikes[] = { "compare", "ignore" };
	int correction = word_of(cli->correct, corrections, 3), gate = word_of(cli->counts, gates, 3);
	int alike = word_of(cli->alike, alikes, 2);
	uint64_t samples = o->min_samples;

	if (!parse_fraction(cli->alpha, 1, &o->alpha))
		return tool_error(TOOL_USAGE, "--alpha %s: must lie between 0 and 1", cli->alpha);
	if (!parse_fraction(cli->effect, 0.01, &o->effect))
		return tool_error(TOOL_USAGE, "--effect %s: must be a percentage between 0 and 100", cli->effect);
	if (correction < 0)
		return tool_error(TOOL_USAGE, "--correct %s: must be holm, bh or none", cli->correct);
	if (gate < 0)
		return tool_error(TOOL_USAGE, "--counts %s: must be more, any or ignore", cli->counts);
	if (cli->samples && (!tool_parse_count(cli->samples, &samples) || !samples))
		return tool_error(TOOL_USAGE, "--samples %s: must be a number above 0", cli->samples);
	if (alike < 0)
		return tool_error(TOOL_USAGE, "--alike %s: must be compare or ignore", cli->alike);
	o->allow = cli->allow ? compare_allow_parse(cli->allow) : 0;
	if (o->allow < 0)
		return tool_error(TOOL_USAGE, "--allow %s: must be a list of %s", cli->allow, compare_allow_names);
	o->quiet_host = cli->quiet_host;
	o->ignore_alike = alike == 1;
	o->correction = (enum stats_correction)correction;
	o->gate = (enum compare_gate)gate;
	o->min_samples = samples;
	return OPTIONS_GO;
}

static int read_run(struct compare_inputs *in, int s, const char *path)
{
	struct compare_side *side = &in->side[s];
	struct compare_run *run = &side->runs[side->run_count];
	struct trace_reader **reader = &in->readers[s][side->run_count];
	struct progress progress;
	struct vm_error err;
	int rc;

	if (side->run_count == COMPARE_RUNS_MAX)
		return tool_error(TOOL_USAGE, "more than %d traces of a side", COMPARE_RUNS_MAX);
	rc = trace_reader_open(reader, path, &err);
	if (rc)
		return tool_fail(rc, &err);
	side->run_count++;
	run->path = path;
	run->meta = trace_reader_meta(*reader);
	rc = profile_create(&run->profile, &err);
	if (!rc) {
		progress_begin(&progress, path);
		rc = profile_read(run->profile, *reader, progress_show, &progress, &err);
		progress_end(&progress);
	}
	return rc ? tool_fail(rc, &err) : OPTIONS_GO;
}

static int read_side(struct compare_inputs *in, int s, const char *first, char **more)
{
	int status = read_run(in, s, first);

	for (; status == OPTIONS_GO && more && *more; more++)
		status = read_run(in, s, *more);
	return status;
}

static void close_inputs(struct compare_inputs *in)
{
	for (int s = 0; s < 2; s++) {
		for (size_t i = 0; i < in->side[s].run_count; i++) {
			profile_destroy(in->side[s].runs[i].profile);
			trace_reader_close(in->readers[s][i]);
		}
		symbols_close(in->symbols[s]);
	}
}

static int open_names(struct compare_inputs *in, const struct compare_cli *cli)
{
	const char *files[2] = { cli->base_symbols ? cli->base_symbols : cli->symbols, cli->symbols };
	struct vm_error err;

	for (int s = 0; s < 2; s++) {
		int rc = files[s] ? symbols_open(&in->symbols[s], files[s], &err) : 0;

		if (rc)
			return tool_fail(rc, &err);
	}
	return OPTIONS_GO;
}

static int print_verdict(const struct compare *c, report_fn *report, size_t limit)
{
	static const int statuses[] = {
		[VERDICT_EQUAL] = TOOL_OK, [VERDICT_IMPROVED] = TOOL_OK, [VERDICT_REGRESSED] = TOOL_GUEST_FAILED, [VERDICT_INCOMPARABLE] = TOOL_DIVERGED
	};
	int rc = report(stdout, c, limit);

	if (rc)
		return tool_error(TOOL_HOST, "stdout: %s", strerror(-rc));
	if (c->verdict == VERDICT_INCOMPARABLE)
		tool_error(0, "%s, %s: incomparable: %s; --allow lifts it", c->side[0]->runs[0].path,
		           c->side[1]->runs[0].path, c->note_count ? c->notes[0] : "");
	return statuses[c->verdict];
}

/* The picture comes with the verdict: where there is nothing to draw that is said, and the verdict counts. */
static int draw(const struct compare *c, const char *path, int status)
{
	struct vm_error err;
	int rc = path ? plot_compare(path, c, &err) : 0;

	if (rc)
		tool_error(0, "%s", err.text);
	return rc && rc != -EINVAL ? TOOL_HOST : status;
}

static int compare_inputs(struct compare_inputs *in, struct compare_options *o, report_fn *report, size_t limit,
                          const char *plot_path)
{
	struct compare result;
	struct vm_error err;
	int status, rc;

	o->symbols[0] = in->symbols[0];
	o->symbols[1] = in->symbols[1];
	rc = compare_sides(&result, &in->side[0], &in->side[1], o, &err);
	if (rc)
		return tool_fail(rc, &err);
	status = draw(&result, plot_path, print_verdict(&result, report, limit));
	compare_free(&result);
	return status;
}

/* A comparison looks at what each event was, not at what it followed or when. */
static int parse_groupings(const char *list, enum profile_by by[BY_MAX], size_t *count)
{
	int status = tool_parse_by(list, by, count);
	size_t kept = 0;

	for (size_t i = 0; status == OPTIONS_GO && i < *count; i++) {
		if (profile_by_facet(by[i]) == FACET_SITE)
			by[kept++] = by[i];
		else if (strcmp(list, "all"))
			return tool_error(TOOL_USAGE,
			                  "--by %s: is not compared; insn, site, symbol, port, vector, operand are",
			                  profile_by_name(by[i]));
	}
	*count = kept;
	return status;
}

static int run_compare(const struct compare_cli *cli, const char **args)
{
	report_fn *report = find_format(cli->format ? cli->format : "text");
	struct compare_inputs in = { 0 };
	enum profile_by by[BY_MAX];
	struct compare_options o;
	uint64_t limit = 20;
	int status;

	compare_options_init(&o);
	o.by = by;
	if (!report)
		return tool_error(TOOL_USAGE, "--format %s: must be text, json or markdown", cli->format);
	if (cli->limit && !tool_parse_count(cli->limit, &limit))
		return tool_error(TOOL_USAGE, "--limit %s: must be a number of rows, 0 for all", cli->limit);
	if (cli->plot && !gnuplot_takes(cli->plot))
		return tool_error(TOOL_USAGE, "--plot %s: must end in .png or .svg, or be - for the terminal", cli->plot);
	status = parse_options(cli, &o);
	if (status == OPTIONS_GO)
		status = parse_groupings(cli->by ? cli->by : "insn,port,vector", by, &o.by_count);
	if (status != OPTIONS_GO)
		return status;
	status = open_names(&in, cli);
	if (status == OPTIONS_GO)
		status = read_side(&in, 0, args[0], cli->more[0]);
	if (status == OPTIONS_GO)
		status = read_side(&in, 1, args[1], cli->more[1]);
	if (status == OPTIONS_GO)
		status = compare_inputs(&in, &o, report, limit, cli->plot);
	close_inputs(&in);
	return status;
}

int cmd_compare(int argc, const char **argv)
{
	struct compare_cli cli = { 0 };
	const struct poptOption table[] = {
		{ "base", 0, POPT_ARG_ARGV, &cli.more[0], 0, "A further recording of the base; may be repeated", "TRACE" },
		{ "new", 0, POPT_ARG_ARGV, &cli.more[1], 0, "A further recording of the new; may be repeated", "TRACE" },
		{ "by", 0, POPT_ARG_STRING, &cli.by, 0, "Groupings, as of profile (insn,port,vector)", "LIST" },
		{ "alpha", 0, POPT_ARG_STRING, &cli.alpha, 0, "Level of the test (0.01)", "A" },
		{ "effect", 0, POPT_ARG_STRING, &cli.effect, 0, "Least change of a cost that matters (5)", "PERCENT" },
		{ "correct", 0, POPT_ARG_STRING, &cli.correct, 0, "Correction for many rows (holm)", "holm|bh|none" },
		{ "quiet-host", 0, POPT_ARG_NONE, &cli.quiet_host, 0,
		  "Believe costs as they are, and from few recordings: nothing else ran", NULL },
		{ "alike", 0, POPT_ARG_STRING, &cli.alike, 0, "A shift of all rows together (compare)", "compare|ignore" },
		{ "samples", 0, POPT_ARG_STRING, &cli.samples, 0, "Fewer of a row and side say nothing (20)", "N" },
		{ "counts", 0, POPT_ARG_STRING, &cli.counts, 0, "Which changed counts are a regression (more)",
		  "more|any|ignore" },
		{ "allow", 0, POPT_ARG_STRING, &cli.allow, 0,
		  "What may differ: guest, append, model, machine, complete, sensitive, host, engine, all", "LIST" },
		{ "symbols", 0, POPT_ARG_STRING, &cli.symbols, 0, "Names: an ELF file or a System.map", "FILE" },
		{ "base-symbols", 0, POPT_ARG_STRING, &cli.base_symbols, 0, "The base's, where they are others", "FILE" },
		{ "format", 0, POPT_ARG_STRING, &cli.format, 0, "Form of the report (text)", "text|json|markdown" },
		{ "plot", 0, POPT_ARG_STRING, &cli.plot, 0, "Draw how the medians changed; - is the terminal",
		  "FILE.png|FILE.svg|-" },
		{ "limit", 0, POPT_ARG_STRING, &cli.limit, 0, "Unchanged rows to show, 0 for all (20)", "N" },
		OPTIONS_END,
	};
	struct options options;
	int status = options_parse(&options, argc, argv, table, &compare_usage);

	if (status == OPTIONS_GO)
		status = run_compare(&cli, options.args);
	options_close(&options);
	return status;
}
