/*
 * cmd_trace.c - `ringside trace info|dump|check`: the format's first-class reader.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "profiler/report.h"
#include "tools/commands.h"
#include "tools/event_text.h"
#include "tools/options.h"
#include "tools/tool.h"

/* ---- info ------------------------------------------------------------------------------------------------------ */

static void utc(int64_t seconds, char out[32])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(out, 32, "%" PRId64, seconds);
}

static double bytes_per_event(const struct trace_meta *m)
{
	return m->events ? (double)m->event_bytes / (double)m->events : 0;
}

/* One "key  value" line with a string from the trace. */
static void info_line(const char *key, const char *text)
{
	char clean[4096];

	report_clean(clean, sizeof(clean), text);
	printf("%-14s %s\n", key, clean);
}

static double mips(const struct trace_meta *m)
{
	return m->run_ns ? (double)m->icount * 1e3 / (double)m->run_ns : 0;
}

/* Cycles by phase over all events; as far as a damaged trace can be read. */
struct spent {
	uint64_t cycles[PH_MAX], total;
};

static struct spent sum_costs(struct trace_reader *reader)
{
	struct spent s = { .total = 0 };
	struct trace_cursor *cursor;
	struct event_cost cost;
	struct event ev;
	struct vm_error err;

	if (trace_cursor_open(&cursor, reader, &err))
		return s;
	while (trace_cursor_next(cursor, &ev, &cost, &err) > 0) {
		for (unsigned i = 0; i < PH_MAX; i++) {
			s.cycles[i] += cost.cycles[i];
			s.total += cost.cycles[i];
		}
	}
	trace_cursor_close(cursor);
	return s;
}

static void info_spent(const struct spent *s)
{
	const char *separator = "";

	printf("%-14s ", "time went to");
	for (unsigned i = 0; i < PH_MAX; i++) {
		if (!s->cycles[i])
			continue;
		printf("%s%s %.1f %%", separator, event_phase_name((enum event_phase)i),
		       100.0 * (double)s->cycles[i] / (double)s->total);
		separator = ", ";
	}
	printf("%s\n", s->total ? "" : "unknown: the trace has no costs");
}

static void json_spent(cJSON *root, const struct spent *s)
{
	cJSON *phases = cJSON_AddObjectToObject(root, "phase_cycles");

	for (unsigned i = 0; i < PH_MAX; i++)
		cJSON_AddNumberToObject(phases, event_phase_name((enum event_phase)i), (double)s->cycles[i]);
}

static void info_host(const struct trace_meta *m)
{
	char host[sizeof(m->host) + sizeof(m->host_maker) + 4];

	snprintf(host, sizeof(host), "%s (%s)", m->host, m->host_maker);
	info_line("host", *m->host_maker ? host : m->host);
}

static void info_text(const char *path, const struct trace_meta *m, const struct spent *spent)
{
	char created[32];

	utc(m->created, created);
	info_line("trace", path);
	printf("%-14s %u\n", "format", m->format_version);
	info_line("writer", m->writer);
	info_line("recorded", created);
	info_host(m);
	printf("%-14s %s, trap %s\n", "engine", m->engine, vm_trap_name(m->config.trap));
	info_line("processor", m->cpu_model);
	printf("%-14s model %s, sensitive %s, %" PRIu64 " MiB\n", "machine", report_model_name(m),
	       report_policy_name(m), m->config.memory >> 20);
	printf("%-14s %" PRIu64 " ns an instruction, %" PRIu64 " ns a fault\n", "time", m->config.ns_per_insn,
	       m->config.ns_per_fault);
	info_line("command line", m->command_line);
	for (uint32_t i = 0; i < m->file_count; i++) {
		char file[512];

		snprintf(file, sizeof(file), "%s, %" PRIu64 " bytes, xxh3 %016" PRIx64, m->files[i].name,
		         m->files[i].bytes, m->files[i].hash);
		info_line(m->files[i].role, file);
	}
	printf("%-14s %s\n", "complete",
	       m->complete ? "yes" : "no: the recorder was stopped before the guest's end; replays to its last commit");
	printf("%-14s %" PRIu64 "\n%-14s %" PRIu64 "\n", "instructions", m->icount, "events", m->events);
	printf("%-14s %.3f s, %.1f million instructions a second; packing beside it %.3f s\n", "run",
	       (double)m->run_ns / 1e9, mips(m), (double)m->pack_ns / 1e9);
	info_spent(spent);
	printf("%-14s events %" PRIu64 " (%.2f an event), costs %" PRIu64 ", console %" PRIu64 "\n", "bytes",
	       m->event_bytes, bytes_per_event(m), m->cost_bytes, m->console_bytes);
	printf("%-14s %" PRIu64 " faults, %" PRIu64 " tlb fills, %" PRIu64 " flushes, %" PRIu64
	       " view switches, %" PRIu64 " leaks\n",
	       "counters", m->counters.faults, m->counters.tlb_fills, m->counters.tlb_flushes,
	       m->counters.view_switches, m->counters.leaks);
	printf("%-14s %016" PRIx64 "\n", "digest", m->digest);
}

static void json_hex(cJSON *o, const char *name, uint64_t value)
{
	char hex[20];

	snprintf(hex, sizeof(hex), "%016" PRIx64, value);
	cJSON_AddStringToObject(o, name, hex);
}

static void json_files(cJSON *root, const struct trace_meta *m)
{
	cJSON *files = cJSON_AddArrayToObject(root, "files");

	for (uint32_t i = 0; i < m->file_count; i++) {
		cJSON *file = cJSON_CreateObject();

		cJSON_AddItemToArray(files, file);
		report_add_text(file, "role", m->files[i].role);
		report_add_text(file, "name", m->files[i].name);
		cJSON_AddNumberToObject(file, "bytes", (double)m->files[i].bytes);
		json_hex(file, "xxh3", m->files[i].hash);
	}
}

static void json_numbers(cJSON *root, const struct trace_meta *m)
{
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "format_version", m->format_version },
		{ "created", (uint64_t)m->created },
		{ "memory", m->config.memory },
		{ "ns_per_insn", m->config.ns_per_insn },
		{ "ns_per_fault", m->config.ns_per_fault },
		{ "checkpoint_interval", m->config.checkpoint_interval },
		{ "tsc_hz", m->tsc_hz },
		{ "events", m->events },
		{ "icount", m->icount },
		{ "run_ns", m->run_ns },
		{ "pack_ns", m->pack_ns },
		{ "event_bytes", m->event_bytes },
		{ "cost_bytes", m->cost_bytes },
		{ "console_bytes", m->console_bytes },
		{ "faults", m->counters.faults },
		{ "tlb_fills", m->counters.tlb_fills },
		{ "tlb_flushes", m->counters.tlb_flushes },
		{ "view_switches", m->counters.view_switches },
		{ "leaks", m->counters.leaks },
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		cJSON_AddNumberToObject(root, numbers[i].name, (double)numbers[i].value);
}

static void info_json(const char *path, const struct trace_meta *m, const struct spent *spent)
{
	cJSON *root = cJSON_CreateObject();
	char *text;

	cJSON_AddStringToObject(root, "format", "ringside-trace-info");
	cJSON_AddNumberToObject(root, "version", 1);
	report_add_text(root, "path", path);
	report_add_text(root, "writer", m->writer);
	report_add_text(root, "engine", m->engine);
	cJSON_AddStringToObject(root, "trap", vm_trap_name(m->config.trap));
	report_add_text(root, "cpu_model", m->cpu_model);
	cJSON_AddStringToObject(root, "model", report_model_name(m));
	cJSON_AddStringToObject(root, "sensitive", report_policy_name(m));
	report_add_text(root, "command_line", m->command_line);
	report_add_text(root, "host", m->host);
	report_add_text(root, "host_maker", m->host_maker);
	cJSON_AddBoolToObject(root, "complete", m->complete);
	json_hex(root, "digest", m->digest);
	json_numbers(root, m);
	cJSON_AddNumberToObject(root, "mips", mips(m));
	json_spent(root, spent);
	json_files(root, m);
	text = cJSON_Print(root);
	puts(text ? text : "{}");
	free(text);
	cJSON_Delete(root);
}

static int cmd_info(int argc, const char **argv)
{
	static const struct usage usage = {
		.command = "ringside trace info",
		.arguments = "TRACE",
		.about = "Prints what a trace says of itself: who recorded what, on which machine, how much, whether "
		         "it is complete.",
		.examples = "  ringside trace info ringside.trace\n  ringside trace info --format json ringside.trace "
		            "| jq .digest",
		.min_args = 1,
		.max_args = 1,
	};
	char *format = NULL;
	const struct poptOption table[] = {
		{ "format", 0, POPT_ARG_STRING, &format, 0, "Form (text)", "text|json" },
		OPTIONS_END,
	};
	struct trace_reader *reader;
	struct options options;
	struct vm_error err;
	int status = options_parse(&options, argc, argv, table, &usage);

	if (status == OPTIONS_GO && options_choice(format, "text", "json") < 0)
		status = tool_error(TOOL_USAGE, "--format %s: must be text or json", format);
	if (status == OPTIONS_GO) {
		int rc = trace_reader_open(&reader, options.args[0], &err);

		if (rc) {
			status = tool_fail(rc, &err);
		} else {
			const struct spent spent = sum_costs(reader);

			(options_choice(format, "text", "json") ? info_json : info_text)(options.args[0],
			                                                                 trace_reader_meta(reader),
			                                                                 &spent);
			trace_reader_close(reader);
			status = TOOL_OK;
		}
	}
	options_close(&options);
	return status;
}

/* ---- dump ------------------------------------------------------------------------------------------------------ */

struct dump_options {
	char *kind, *from, *to, *symbols, *format;
	int json, costs;
};

struct dump_plan {
	uint64_t from, to; /* icount, both included */
	unsigned kinds;    /* bit of each kind that is wanted */
	bool json, costs;
};

static int parse_kinds(const char *list, unsigned *kinds)
{
	char copy[256], *save, *word;

	*kinds = list ? 0 : ~0u;
	if (!list)
		return OPTIONS_GO;
	snprintf(copy, sizeof(copy), "%s", list);
	for (word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		int kind = 1;

		while (kind < EV_KIND_MAX && strcmp(event_kind_name((enum event_kind)kind), word))
			kind++;
		if (kind == EV_KIND_MAX)
			return tool_error(TOOL_USAGE, "--kind %s: there is no event kind of that name", word);
		*kinds |= 1u << kind;
	}
	return OPTIONS_GO;
}

static int dump_plan(const struct dump_options *o, struct dump_plan *plan)
{
	plan->to = UINT64_MAX;
	plan->from = 0;
	plan->costs = o->costs;
	plan->json = o->json || options_choice(o->format, "text", "json") == 1;
	if (options_choice(o->format, "text", "json") < 0)
		return tool_error(TOOL_USAGE, "--format %s: must be text or json", o->format);
	if (o->from && !tool_parse_count(o->from, &plan->from))
		return tool_error(TOOL_USAGE, "--from %s: must be an icount", o->from);
	if (o->to && !tool_parse_count(o->to, &plan->to))
		return tool_error(TOOL_USAGE, "--to %s: must be an icount", o->to);
	return parse_kinds(o->kind, &plan->kinds);
}

static int dump_events(struct trace_cursor *cursor, const struct dump_plan *plan, const struct symbols *symbols,
                       struct vm_error *err)
{
	struct event_cost cost;
	struct event ev;
	int rc = plan->from ? trace_cursor_seek_icount(cursor, plan->from, err) : 0;

	while (!rc) {
		uint64_t seq = trace_cursor_seq(cursor);

		rc = trace_cursor_next(cursor, &ev, &cost, err);
		if (rc <= 0 || ev.icount > plan->to)
			return rc < 0 ? rc : 0;
		rc = 0;
		if (ev.kind < 32 && plan->kinds >> ev.kind & 1)
			(plan->json ? event_json : event_text)(stdout, seq, &ev, plan->costs ? &cost : NULL, symbols);
		if (ferror(stdout))
			return vm_fail(err, -EIO, "stdout: %s", strerror(errno));
	}
	return rc;
}

static int dump_trace(const char *path, const struct dump_plan *plan, const struct symbols *symbols)
{
	struct trace_reader *reader;
	struct trace_cursor *cursor;
	struct vm_error err;
	int rc = trace_reader_open(&reader, path, &err);

	if (rc)
		return tool_fail(rc, &err);
	rc = trace_cursor_open(&cursor, reader, &err);
	if (!rc) {
		rc = dump_events(cursor, plan, symbols, &err);
		trace_cursor_close(cursor);
	}
	trace_reader_close(reader);
	return rc ? tool_fail(rc, &err) : TOOL_OK;
}

static int run_dump(const struct dump_options *o, const char *path)
{
	struct symbols *symbols = NULL;
	struct dump_plan plan;
	struct vm_error err;
	int rc, status = dump_plan(o, &plan);

	if (status != OPTIONS_GO)
		return status;
	rc = o->symbols ? symbols_open(&symbols, o->symbols, &err) : 0;
	status = rc ? tool_fail(rc, &err) : dump_trace(path, &plan, symbols);
	symbols_close(symbols);
	return status;
}

static int cmd_dump(int argc, const char **argv)
{
	static const struct usage usage = {
		.command = "ringside trace dump",
		.arguments = "TRACE",
		.about = "Prints every event, one a line: number, icount, guest EIP, virtual/real CPL, kind, "
		         "instruction, operand size,\n"
		         "operands. Kinds: fault, sensitive, pio, mmio, exception, interrupt, dma, input, marker, "
		         "checkpoint, end, leak, change.",
		.examples =
		        "  ringside trace dump ringside.trace | head\n"
		        "  ringside trace dump --kind exception,interrupt --from 1000000 --to 2000000 ringside.trace\n"
		        "  ringside trace dump --json --costs ringside.trace | jq 'select(.kind == \"pio\")'",
		.min_args = 1,
		.max_args = 1,
	};
	struct dump_options o = { 0 };
	const struct poptOption table[] = {
		{ "kind", 0, POPT_ARG_STRING, &o.kind, 0, "Only events of these kinds", "LIST" },
		{ "from", 0, POPT_ARG_STRING, &o.from, 0, "Only events at this icount or later", "ICOUNT" },
		{ "to", 0, POPT_ARG_STRING, &o.to, 0, "Only events at this icount or earlier", "ICOUNT" },
		{ "costs", 0, POPT_ARG_NONE, &o.costs, 0, "The host's cycles by phase too", NULL },
		{ "symbols", 0, POPT_ARG_STRING, &o.symbols, 0,
		  "Names of the guest's addresses: an ELF file or a System.map", "FILE" },
		{ "format", 0, POPT_ARG_STRING, &o.format, 0, "Form (text); json is one object a line", "text|json" },
		{ "json", 0, POPT_ARG_NONE, &o.json, 0, "The same as --format json", NULL },
		OPTIONS_END,
	};
	struct options options;
	int status = options_parse(&options, argc, argv, table, &usage);

	if (status == OPTIONS_GO)
		status = run_dump(&o, options.args[0]);
	options_close(&options);
	return status;
}

/* ---- check ----------------------------------------------------------------------------------------------------- */

static int check_trace(const char *path)
{
	struct trace_reader *reader;
	struct progress progress;
	struct vm_error err;
	int rc = trace_reader_open(&reader, path, &err);

	if (rc)
		return tool_fail(rc, &err);
	progress_begin(&progress, "checking");
	rc = trace_reader_check(reader, progress_show, &progress, &err);
	progress_end(&progress);
	if (!rc) {
		const struct trace_meta *m = trace_reader_meta(reader);

		printf("%s: %" PRIu64 " events up to icount %" PRIu64 ", digest %016" PRIx64 ", %s\n", path, m->events,
		       m->icount, m->digest,
		       m->complete ? "complete" : "not complete: the recorder was stopped before the guest's end");
	}
	trace_reader_close(reader);
	return rc ? tool_fail(rc, &err) : TOOL_OK;
}

static int cmd_check(int argc, const char **argv)
{
	static const struct usage usage = {
		.command = "ringside trace check",
		.arguments = "TRACE",
		.about = "Reads all there is and verifies checksums, order, references and the digest. Says the first "
		         "thing that is wrong.",
		.examples = "  ringside trace check ringside.trace",
		.min_args = 1,
		.max_args = 1,
	};
	const struct poptOption table[] = { OPTIONS_END };
	struct options options;
	int status = options_parse(&options, argc, argv, table, &usage);

	if (status == OPTIONS_GO)
		status = check_trace(options.args[0]);
	options_close(&options);
	return status;
}

int cmd_trace(int argc, const char **argv)
{
	static const struct command table[] = {
		{ "info", cmd_info, "what a trace says of itself" },
		{ "dump", cmd_dump, "every event, one a line" },
		{ "check", cmd_check, "verify all of it" },
		{ NULL, NULL, NULL },
	};

	return command_dispatch(table, "ringside trace", "Looks into a trace.", argc - 1, argv + 1);
}
