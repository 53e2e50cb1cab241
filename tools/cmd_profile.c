/*
 * cmd_profile.c - `ringside profile`: parse, aggregate (profiler/profile.h), print.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "profiler/feed.h"
#include "profiler/plot.h"
#include "profiler/report.h"
#include "profiler/trace_events.h"
#include "tools/code.h"
#include "tools/commands.h"
#include "tools/groupings.h"
#include "tools/options.h"
#include "tools/tool.h"

struct profile_options {
	char *by, *format, *sort, *limit, *symbols, *near, *buckets, *mark, *mark_port, *from_mark, *to_mark;
	char **plots, **filters;
	int disassemble;
};

/* What the words on the command line mean. */
struct profile_plan {
	enum profile_by by[BY_MAX];
	size_t by_count;
	const struct profile_sort *sort;
	bool own_order; /* the user did not say: what has an order of its own keeps it */
	uint64_t limit;
	struct feed_options feed;
	int (*report)(FILE *out, const struct report *r);
	char **plots;
	bool disassemble;
	bool wants[PLOT_KINDS]; /* pictures, in files or in the report */
};

/* What pictures are made from, beside the tables. */
struct profile_pictures {
	struct grid *grids[2];
	struct profile_samples samples;
	struct report_mark *marks;
	size_t mark_count;
};

/* What a viewer opens without complaint; some 50 MB. */
#define TRACE_EVENTS_LIMIT 200000

static const struct usage profile_usage = {
	.command = "ringside profile",
	.arguments = "TRACE",
	.about = "Says what each event of a recording cost the VMM: how often, how dear, where. Counts are exact; "
	         "costs are\n"
	         "cycles of the recording host. Where the time of the whole run went comes first, then a table a "
	         "grouping:\n"
	         "insn, site, symbol, port (and MMIO page), device, vector, operand (control register, MSR, leaf, "
	         "...), process "
	         "(CR3),\n"
	         "pair and pairsite (an event and the one close before it), cluster (where a chain of close events "
	         "begins), time,\n"
	         "marker. A marker is a line of the guest's console that --mark matched, here or when recording.",
	.examples =
	        "  ringside profile ringside.trace\n"
	        "  ringside profile --by site,port --sort count --limit 0 ringside.trace\n"
	        "  ringside profile --by symbol --symbols System.map ringside.trace\n"
	        "  ringside profile --format json ringside.trace | jq '.tables[0].rows[0]'\n"
	        "  ringside profile --by pair,cluster --sort saved ringside.trace\n"
	        "  ringside profile --by marker --mark '^login:|^init' ringside.trace\n"
	        "  ringside profile --filter port=3f8-3ff --by port,symbol --symbols System.map ringside.trace\n"
	        "  ringside profile --from-mark 'Run /init' --filter insn=in,out --by port ringside.trace\n"
	        "  ringside profile --format html --symbols System.map ringside.trace >cost.html\n"
	        "  ringside profile --format folded --symbols System.map ringside.trace | flamegraph.pl >cost.svg\n"
	        "  ringside profile --format callgrind ringside.trace >callgrind.out && callgrind_annotate "
	        "callgrind.out\n"
	        "  ringside profile --format trace-event --from-mark '/init' ringside.trace >perfetto.json\n"
	        "  ringside profile --plot cost.png --plot time=when.svg --plot heat=where.svg --symbols System.map "
	        "ringside.trace\n"
	        "  ringside profile --by symbol --plot - ringside.trace",
	.min_args = 1,
	.max_args = 1,
};

static const struct format {
	const char *name;
	int (*report)(FILE *out, const struct report *r); /* NULL: events themselves, one by one */
	const char *by;                                   /* tables, when the user does not say */
	bool whole;                                       /* it is these tables, and all their rows */
} formats[] = {
	{ "text", report_text, "insn", false },
	{ "json", report_json, "insn", false },
	{ "csv", report_csv, "insn", false },
	{ "pb", report_pb, "insn", false },
	{ "html", report_html, "insn,operand,site,symbol,device,port,vector,pair,cluster,process,time,marker", false },
	{ "folded", report_folded, "site,insn", true },
	{ "callgrind", report_callgrind, "site,insn", true },
	{ "trace-event", NULL, "insn", true },
};
static const char format_names[] = "text, json, csv, pb, html, folded, callgrind, trace-event";

static int feed_plan(const struct profile_options *o, struct feed_options *feed)
{
	uint64_t buckets = 0;

	if (o->near && (!tool_parse_count(o->near, &feed->near) || !feed->near))
		return tool_error(TOOL_USAGE, "--near %s: must be a number of instructions", o->near);
	if (o->buckets && (!tool_parse_count(o->buckets, &buckets) || !buckets || buckets > FEED_BUCKETS_MAX))
		return tool_error(TOOL_USAGE, "--buckets %s: must be 1 to %d", o->buckets, FEED_BUCKETS_MAX);
	feed->buckets = (uint32_t)buckets;
	feed->mark = o->mark;
	feed->mark_port = o->mark_port;
	feed->from_mark = o->from_mark;
	feed->to_mark = o->to_mark;
	feed->filters = o->filters;
	return OPTIONS_GO;
}

static int plots_plan(const struct profile_options *o, struct profile_plan *plan)
{
	bool html = plan->report == report_html;

	plan->plots = o->plots;
	for (char **word = o->plots; word && *word; word++) {
		enum plot_kind kind;
		const char *path;

		if (!plot_parse(*word, &kind, &path))
			return tool_error(
			        TOOL_USAGE,
			        "--plot %s: must end in .png or .svg, or be - for the terminal; before it may "
			        "stand one of %s, as in time=FILE.svg",
			        *word, plot_kind_names);
		plan->wants[kind] = true;
	}
	plan->wants[PLOT_TIME] |= html;
	plan->wants[PLOT_HEAT] |= html;
	plan->wants[PLOT_SPREAD] |= html;
	return OPTIONS_GO;
}

static int make_plan(const struct profile_options *o, struct profile_plan *plan)
{
	const char *name = o->format ? o->format : "text";
	const struct format *format = NULL;

	memset(plan, 0, sizeof(*plan));
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
		if (!strcmp(name, formats[i].name))
			format = &formats[i];
	if (!format)
		return tool_error(TOOL_USAGE, "--format %s: must be one of %s", name, format_names);
	if (format->whole && o->by)
		return tool_error(TOOL_USAGE, "--format %s: has no tables; leave out --by", name);
	plan->report = format->report;
	if (plan->report == report_pb && isatty(STDOUT_FILENO))
		return tool_error(TOOL_USAGE, "--format pb: is binary; send it to a file");
	plan->sort = profile_sort_find(o->sort ? o->sort : "time");
	plan->own_order = !o->sort;
	plan->disassemble = o->disassemble;
	if (!plan->sort)
		return tool_error(TOOL_USAGE, "--sort %s: must be one of %s", o->sort, profile_sort_names);
	plan->limit = !format->report ? TRACE_EVENTS_LIMIT : format->whole ? 0 : 20;
	if (o->limit && !tool_parse_count(o->limit, &plan->limit))
		return tool_error(TOOL_USAGE, "--limit %s: must be a number of rows, 0 for all", o->limit);
	if (format->report && format->whole)
		plan->limit = 0;
	if (plots_plan(o, plan) != OPTIONS_GO)
		return TOOL_USAGE;
	if (feed_plan(o, &plan->feed) != OPTIONS_GO)
		return TOOL_USAGE;
	return tool_parse_by(o->by ? o->by : format->by, plan->by, &plan->by_count);
}

static int print_report(const struct profile_plan *plan, const struct report *r)
{
	struct vm_error err = { "" };
	int rc = plan->report(stdout, r);

	if (rc)
		return tool_error(TOOL_HOST, "stdout: %s", strerror(-rc));
	for (char **word = plan->plots; word && *word; word++) {
		enum plot_kind kind;
		const char *path;

		plot_parse(*word, &kind, &path);
		rc = plot(path, kind, r, &r->tables[0], &err);
		if (rc)
			return tool_error(rc == -EINVAL ? TOOL_USAGE : TOOL_HOST, "%s", err.text);
	}
	return TOOL_OK;
}

/* ---- pictures ------------------------------------------------------------------------------------------------------ */

static int pictures_create(struct profile_pictures *p, const struct profile_plan *plan, uint64_t icount,
                           struct vm_error *err)
{
	int rc = plan->wants[PLOT_TIME] ? grid_create(&p->grids[GRID_INSN], GRID_INSN, icount, err) : 0;

	return rc ? rc : plan->wants[PLOT_HEAT] ? grid_create(&p->grids[GRID_SITE], GRID_SITE, icount, err) : 0;
}

static void pictures_destroy(struct profile_pictures *p)
{
	grid_destroy(p->grids[GRID_INSN]);
	grid_destroy(p->grids[GRID_SITE]);
	profile_samples_free(&p->samples);
	free(p->marks);
}

static int pictures_event(void *self, const struct event *ev, const struct event_cost *cost,
                          const struct profile_context *x)
{
	struct profile_pictures *p = self;
	int rc = p->grids[GRID_INSN] ? grid_add(p->grids[GRID_INSN], ev) : 0;

	(void)cost;
	(void)x;
	return rc ? rc : p->grids[GRID_SITE] ? grid_add(p->grids[GRID_SITE], ev) : 0;
}

static int pictures_marks(struct profile_pictures *p, struct feed *feed)
{
	uint32_t count = feed_segments(feed);

	p->marks = calloc(count + 1u, sizeof(*p->marks));
	if (!p->marks)
		return -ENOMEM;
	for (uint32_t i = 1; i < count; i++)
		p->marks[p->mark_count++] =
		        (struct report_mark){ feed_segment_icount(feed, i), feed_segment_name(feed, i) };
	return 0;
}

/* Lends the report what pictures take. */
static void pictures_lend(const struct profile_pictures *p, struct report *r)
{
	memcpy(r->grids, p->grids, sizeof(r->grids));
	r->marks = p->marks;
	r->mark_count = p->mark_count;
	r->samples = p->samples.cost ? &p->samples : NULL;
}

/* One profile a facet that some table needs, all filled in one pass. */
struct profile_set {
	struct profile *list[FACET_MAX], *of[FACET_MAX];
	size_t count;
};

static int set_create(struct profile_set *set, const struct profile_plan *plan, struct vm_error *err)
{
	memset(set, 0, sizeof(*set));
	for (size_t i = 0; i < plan->by_count; i++) {
		enum profile_facet facet = profile_by_facet(plan->by[i]);
		int rc = set->of[facet] ? 0 : profile_create_facet(&set->list[set->count], facet, err);

		if (rc)
			return rc;
		if (!set->of[facet])
			set->of[facet] = set->list[set->count++];
	}
	return 0;
}

static void set_destroy(struct profile_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		profile_destroy(set->list[i]);
}

static void set_names(const struct profile_set *set, struct feed *feed, const struct samples *samples, struct code *code)
{
	if (set->of[FACET_SITE] && code)
		profile_code(set->of[FACET_SITE], code_text, code);
	if (set->of[FACET_CALLER])
		profile_callers(set->of[FACET_CALLER], samples);
	if (set->of[FACET_PART])
		profile_name_parts(set->of[FACET_PART], feed_bucket_name, feed_segment_name, feed);
}

static const struct profile_sort *table_sort(const struct profile_plan *plan, enum profile_by by)
{
	bool ordered = by == BY_TIME || by == BY_MARKER;

	return plan->own_order && ordered ? profile_sort_find("id") : plan->sort;
}

/* r: path, meta and selection are set. */
static int report_profile(const struct profile_set *set, const struct profile_plan *plan, const struct symbols *symbols,
                          struct report r, struct profile_pictures *pictures)
{
	struct profile_table tables[BY_MAX];
	struct profile_totals totals;
	struct vm_error err;
	int status = TOOL_OK;

	profile_totals(set->list[0], &totals);
	r.totals = &totals;
	r.tables = tables;
	while (status == TOOL_OK && r.table_count < plan->by_count) {
		enum profile_by by = plan->by[r.table_count];
		int rc = profile_table(set->of[profile_by_facet(by)], by, table_sort(plan, by), plan->limit, symbols,
		                       &tables[r.table_count], &err);

		if (rc)
			status = tool_fail(rc, &err);
		else
			r.table_count++;
	}
	if (status == TOOL_OK && plan->wants[PLOT_SPREAD] && r.table_count) {
		int rc = profile_samples(set->of[profile_by_facet(plan->by[0])], plan->by[0], symbols,
		                         &pictures->samples, &err);

		status = rc ? tool_fail(rc, &err) : TOOL_OK;
	}
	pictures_lend(pictures, &r);
	r.symbols = symbols;
	if (status == TOOL_OK)
		status = print_report(plan, &r);
	while (r.table_count)
		profile_table_free(&tables[--r.table_count]);
	return status;
}

static int read_set(const struct profile_set *set, struct feed *feed, struct profile_pictures *pictures,
                    struct vm_error *err)
{
	struct progress progress;
	const struct feed_sinks sinks = { .profiles = set->list,
		                          .count = set->count,
		                          .each = pictures->grids[GRID_INSN] || pictures->grids[GRID_SITE] ? pictures_event
		                                                                                           : NULL,
		                          .self = pictures,
		                          .progress = progress_show,
		                          .progress_self = &progress };
	int rc;

	progress_begin(&progress, "reading");
	rc = feed_run(feed, &sinks, err);
	progress_end(&progress);
	return rc;
}

/* What is there and can be used. */
static void note_samples(struct report *r, const struct samples *samples, const struct feed *feed, struct vm_error *note)
{
	if (samples && feed_samples_bad(feed))
		vm_fail(note, -EBADMSG, "samples of some events are missing or damaged");
	else if (samples)
		r->again = samples_info(samples);
	r->again_note = note->text;
}

/* Events themselves go straight from the trace to stdout. */
static int stream_events(struct feed *feed, const struct trace_meta *meta, const struct profile_plan *plan,
                         const struct symbols *symbols)
{
	struct trace_events events = { .out = stdout, .meta = meta, .symbols = symbols, .limit = plan->limit };
	const struct feed_sinks sinks = { .each = trace_events_add, .self = &events };
	struct vm_error err;
	int rc;

	trace_events_begin(&events);
	rc = feed_run(feed, &sinks, &err);
	if (rc)
		return tool_fail(rc, &err);
	if (trace_events_end(&events))
		return tool_error(TOOL_HOST, "stdout: %s", strerror(EIO));
	if (events.left_out)
		fprintf(stderr, "ringside: %llu events left out after the first %llu (--limit 0 writes all)\n",
		        (unsigned long long)events.left_out, (unsigned long long)events.written);
	return TOOL_OK;
}

/* Stacks take who called where that is known; a table of it is an error where it is not. */
static int plan_callers(struct profile_plan *plan, const struct samples *samples, const char *path)
{
	bool known = samples && samples_info(samples)->nodes;

	if (known && (plan->report == report_folded || plan->report == report_callgrind))
		plan->by[0] = BY_CALLER;
	for (size_t i = 0; i < plan->by_count && !known; i++)
		if (plan->by[i] == BY_CALLER)
			return tool_error(
			        TOOL_USAGE,
			        "--by caller: %s does not say who called; `ringside replay --measure 1 %s` finds out",
			        path, path);
	return OPTIONS_GO;
}

static int profile_reader(struct report r, struct trace_reader *reader, const struct profile_plan *asked,
                          const struct symbols *symbols)
{
	struct profile_pictures pictures = { .mark_count = 0 };
	struct code *code = NULL;
	struct profile_set set = { .count = 0 };
	struct feed *feed;
	struct feed_options options = asked->feed;
	struct profile_plan own = *asked;
	const struct profile_plan *plan = &own;
	struct samples *samples = NULL;
	struct vm_error err, note;
	int status, rc = samples_open(&samples, reader, &note);

	if (rc < 0)
		return tool_fail(rc, &note);
	status = plan_callers(&own, samples, r.path);
	if (status != OPTIONS_GO) {
		samples_close(samples);
		return status;
	}
	options.samples = samples;
	rc = feed_open(&feed, reader, &options, &err);
	if (rc)
		samples_close(samples);
	if (rc)
		return rc == -EINVAL ? tool_error(TOOL_USAGE, "%s", err.text) : tool_fail(rc, &err);
	if (!plan->report) {
		status = stream_events(feed, r.meta, plan, symbols);
		feed_close(feed);
		samples_close(samples);
		return status;
	}
	rc = plan->disassemble ? code_open(&code, reader, &err) : 0;
	rc = rc ? rc : set_create(&set, plan, &err);
	rc = rc ? rc : pictures_create(&pictures, plan, r.meta->icount, &err);
	rc = rc ? rc : read_set(&set, feed, &pictures, &err);
	if (!rc && pictures_marks(&pictures, feed))
		rc = vm_fail(&err, -ENOMEM, "profile: out of memory");
	if (rc) {
		status = tool_fail(rc, &err);
	} else {
		set_names(&set, feed, samples, code);
		r.selection = feed_selection(feed);
		r.total_events = feed_total(feed);
		note_samples(&r, samples, feed, &note);
		status = report_profile(&set, plan, symbols, r, &pictures);
	}
	set_destroy(&set);
	pictures_destroy(&pictures);
	code_close(code);
	feed_close(feed);
	samples_close(samples);
	return status;
}

static int profile_trace(const char *path, const struct profile_plan *plan, const struct symbols *symbols)
{
	struct report r = { .path = path };
	struct trace_reader *reader;
	struct vm_error err;
	int status, rc = trace_reader_open(&reader, path, &err);

	if (rc)
		return tool_fail(rc, &err);
	r.meta = trace_reader_meta(reader);
	status = profile_reader(r, reader, plan, symbols);
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
	status = rc ? tool_fail(rc, &err) : profile_trace(path, &plan, symbols);
	symbols_close(symbols);
	return status;
}

int cmd_profile(int argc, const char **argv)
{
	struct profile_options o = { 0 };
	const struct poptOption table[] = {
		{ "by", 0, POPT_ARG_STRING, &o.by, 0,
		  "Groupings: insn, site, symbol, port, device, vector, operand, process, pair, pairsite, cluster, "
		  "time, "
		  "marker, "
		  "caller (once replay --measure has looked), or all but that (insn)",
		  "LIST" },
		{ "format", 0, POPT_ARG_STRING, &o.format, 0, "Form of the report (text)",
		  "text|json|csv|pb|html|folded|callgrind|trace-event" },
		{ "sort", 0, POPT_ARG_STRING, &o.sort, 0,
		  "time, count, mean, p50, p95, p99, max, saved, again, id (time)", "KEY" },
		{ "filter", 0, POPT_ARG_ARGV, &o.filters,
		  0, "Only events that are one of these; KEY: insn, kind, port, vector, cpl, site, process; may be repeated",
		  "KEY=VALUE[,VALUE|LOW-HIGH]" },
		{ "from-mark", 0, POPT_ARG_STRING, &o.from_mark, 0,
		  "Only after the first marker or console line like this", "REGEX" },
		{ "to-mark", 0, POPT_ARG_STRING, &o.to_mark, 0, "Only until the next marker or console line like this",
		  "REGEX" },
		{ "mark", 0, POPT_ARG_STRING, &o.mark, 0, "Console lines that are markers, besides those recorded",
		  "REGEX" },
		{ "disassemble", 0, POPT_ARG_NONE, &o.disassemble, 0,
		  "By site: the instruction as it stands in the kernel's memory at the trace's last checkpoint", NULL },
		{ "mark-port", 0, POPT_ARG_STRING, &o.mark_port, 0,
		  "Each write of the guest to this port is a marker too", "HEX" },
		{ "near", 0, POPT_ARG_STRING, &o.near, 0, "Instructions between events that are close (4)", "N" },
		{ "buckets", 0, POPT_ARG_STRING, &o.buckets, 0, "Parts of the run for --by time (20)", "N" },
		{ "limit", 0, POPT_ARG_STRING, &o.limit, 0,
		  "Rows of a table, 0 for all (20); of trace-event, slices (200000)", "N" },
		{ "symbols", 0, POPT_ARG_STRING, &o.symbols, 0,
		  "Names of the guest's addresses: an ELF file or a System.map", "FILE" },
		{ "plot", 0, POPT_ARG_ARGV, &o.plots, 0,
		  "Draw, after the report; - is the terminal. cost: the first table's rows (the default); spread: the "
		  "distribution of each; time: events over the run with its markers; heat: sites over the run. May be "
		  "repeated",
		  "[KIND=]FILE.png|FILE.svg|-" },
		OPTIONS_END,
	};
	struct options options;
	int status = options_parse(&options, argc, argv, table, &profile_usage);

	if (status == OPTIONS_GO)
		status = run_profile(&o, options.args[0]);
	options_close(&options);
	return status;
}
