/*
 * cmd_profile.c - `ringside profile`: parse, aggregate (profiler/profile.h), print.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "profiler/plot.h"
#include "profiler/report.h"
#include "tools/commands.h"
#include "tools/groupings.h"
#include "tools/options.h"
#include "tools/tool.h"

struct profile_options {
	char *by, *format, *sort, *limit, *symbols;
	char **plots;
};

/* What the words on the command line mean. */
struct profile_plan {
	enum profile_by by[BY_MAX];
	size_t by_count;
	const struct profile_sort *sort;
	uint64_t limit;
	int (*report)(FILE *out, const struct report *r);
};

static const struct usage profile_usage = {
	.command = "ringside profile",
	.arguments = "TRACE",
	.about = "Says what each event of a recording cost the VMM: how often, how dear, where. Counts are exact; "
	         "costs are\n"
	         "cycles of the recording host. Where the time of the whole run went comes first, then a table a "
	         "grouping:\n"
	         "insn, site, symbol, port (and MMIO page), vector.",
	.examples = "  ringside profile ringside.trace\n"
	            "  ringside profile --by site,port --sort count --limit 0 ringside.trace\n"
	            "  ringside profile --by symbol --symbols System.map ringside.trace\n"
	            "  ringside profile --format json ringside.trace | jq '.tables[0].rows[0]'\n"
	            "  ringside profile --plot cost.png --plot cost.svg ringside.trace",
	.min_args = 1,
	.max_args = 1,
};

static const struct {
	const char *name;
	int (*report)(FILE *out, const struct report *r);
} formats[] = { { "text", report_text }, { "json", report_json }, { "csv", report_csv }, { "pb", report_pb } };

static int make_plan(const struct profile_options *o, struct profile_plan *plan)
{
	const char *format = o->format ? o->format : "text";

	memset(plan, 0, sizeof(*plan));
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
		if (!strcmp(format, formats[i].name))
			plan->report = formats[i].report;
	if (!plan->report)
		return tool_error(TOOL_USAGE, "--format %s: must be text, json, csv or pb", format);
	if (plan->report == report_pb && isatty(STDOUT_FILENO))
		return tool_error(TOOL_USAGE, "--format pb: is binary; send it to a file");
	plan->sort = profile_sort_find(o->sort ? o->sort : "time");
	if (!plan->sort)
		return tool_error(TOOL_USAGE, "--sort %s: must be one of %s", o->sort, profile_sort_names);
	plan->limit = 20;
	if (o->limit && !tool_parse_count(o->limit, &plan->limit))
		return tool_error(TOOL_USAGE, "--limit %s: must be a number of rows, 0 for all", o->limit);
	for (char **plot = o->plots; plot && *plot; plot++) {
		size_t len = strlen(*plot);

		if (len < 5 || (strcmp(*plot + len - 4, ".png") && strcmp(*plot + len - 4, ".svg")))
			return tool_error(TOOL_USAGE, "--plot %s: must end in .png or .svg", *plot);
	}
	return tool_parse_by(o->by ? o->by : "insn", plan->by, &plan->by_count);
}

static int print_report(const struct profile_plan *plan, const struct report *r, char **plots)
{
	struct vm_error err = { "" };
	int rc = plan->report(stdout, r);

	if (rc)
		return tool_error(TOOL_HOST, "stdout: %s", strerror(-rc));
	for (; plots && *plots; plots++) {
		rc = plot_table(*plots, r, &r->tables[0], &err);
		if (rc)
			return tool_error(TOOL_HOST, "%s", err.text);
	}
	return TOOL_OK;
}

/* r: path and meta are set. */
static int report_profile(struct profile *p, const struct profile_plan *plan, const struct symbols *symbols,
                          struct report r, char **plots)
{
	struct profile_table tables[BY_MAX];
	struct profile_totals totals;
	struct vm_error err;
	int status = TOOL_OK;

	profile_totals(p, &totals);
	r.totals = &totals;
	r.tables = tables;
	while (status == TOOL_OK && r.table_count < plan->by_count) {
		int rc = profile_table(p, plan->by[r.table_count], plan->sort, plan->limit, symbols,
		                       &tables[r.table_count], &err);

		if (rc)
			status = tool_fail(rc, &err);
		else
			r.table_count++;
	}
	if (status == TOOL_OK)
		status = print_report(plan, &r, plots);
	while (r.table_count)
		profile_table_free(&tables[--r.table_count]);
	return status;
}

static int profile_trace(const char *path, const struct profile_plan *plan, const struct symbols *symbols, char **plots)
{
	struct report r = { .path = path };
	struct trace_reader *reader;
	struct profile *p = NULL;
	struct progress progress;
	struct vm_error err;
	int status, rc = trace_reader_open(&reader, path, &err);

	if (rc)
		return tool_fail(rc, &err);
	r.meta = trace_reader_meta(reader);
	rc = profile_create(&p, &err);
	if (!rc) {
		progress_begin(&progress, "reading");
		rc = profile_read(p, reader, progress_show, &progress, &err);
		progress_end(&progress);
	}
	status = rc ? tool_fail(rc, &err) : report_profile(p, plan, symbols, r, plots);
	profile_destroy(p);
	trace_reader_close(reader);
	return status;
}

static int run_profile(const struct profile_options *o, const char *path)
{
	struct symbols *symbols = NULL;
	struct profile_plan plan;
	struct vm_error err;
	int status = make_plan(o, &plan);
	int rc;

	if (status != OPTIONS_GO)
		return status;
	rc = o->symbols ? symbols_open(&symbols, o->symbols, &err) : 0;
	status = rc ? tool_fail(rc, &err) : profile_trace(path, &plan, symbols, o->plots);
	symbols_close(symbols);
	return status;
}

int cmd_profile(int argc, const char **argv)
{
	struct profile_options o = { 0 };
	const struct poptOption table[] = {
		{ "by", 0, POPT_ARG_STRING, &o.by, 0, "Groupings: insn, site, symbol, port, vector, or all (insn)",
		  "LIST" },
		{ "format", 0, POPT_ARG_STRING, &o.format, 0, "Form of the report (text)", "text|json|csv|pb" },
		{ "sort", 0, POPT_ARG_STRING, &o.sort, 0, "time, count, mean, p50, p95, p99, max, id (time)", "KEY" },
		{ "limit", 0, POPT_ARG_STRING, &o.limit, 0, "Rows of a table, 0 for all (20)", "N" },
		{ "symbols", 0, POPT_ARG_STRING, &o.symbols, 0,
		  "Names of the guest's addresses: an ELF file or a System.map", "FILE" },
		{ "plot", 0, POPT_ARG_ARGV, &o.plots, 0, "Draw the first table; may be repeated", "FILE.png|FILE.svg" },
		OPTIONS_END,
	};
	struct options options;
	int status = options_parse(&options, argc, argv, table, &profile_usage);

	if (status == OPTIONS_GO)
		status = run_profile(&o, options.args[0]);
	options_close(&options);
	return status;
}
