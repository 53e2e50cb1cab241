/*
 * cmd_replay.c - `ringside replay`: run a trace again, verify every event, say how it went.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/report.h"
#include "profiler/symbols.h"
#include "replayer/measure.h"
#include "replayer/replay.h"
#include "tools/commands.h"
#include "tools/console.h"
#include "tools/engine.h"
#include "tools/event_text.h"
#include "tools/options.h"
#include "tools/tool.h"

struct replay_cli {
	char *to, *serial, *format, *symbols, *trap, *measure;
	struct engine_options engine;
	uint64_t to_icount;
	int seek;
	struct console *console;
	struct symbols *names;
	struct progress progress;
};

static const struct usage usage = {
	.command = "ringside replay",
	.arguments = "TRACE",
	.about = "Runs a trace again without guest files and without devices, compares every event with the recording, "
	         "and stops at\n"
	         "the first that differs (status 4). The result goes to stdout, or to stderr when the guest's console "
	         "is there.",
	.examples = "  ringside replay ringside.trace\n"
	            "  ringside replay --serial stdio ringside.trace\n"
	            "  ringside replay --to 100M --format json ringside.trace\n"
	            "  ringside replay --measure 20 ringside.trace && ringside profile ringside.trace",
	.min_args = 1,
	.max_args = 1,
};

static void on_console(void *self, enum vm_stream stream, const uint8_t *bytes, size_t len)
{
	struct replay_cli *cli = self;

	(void)stream;
	console_write(cli->console, bytes, len);
}

static void on_progress(void *self, double done)
{
	struct replay_cli *cli = self;

	progress_show(&cli->progress, done);
}

static void print_event(const char *what, const struct event *ev, uint64_t seq, const struct symbols *names)
{
	struct event bare = *ev;

	bare.blob = NULL; /* a divergence does not carry blobs */
	bare.blob_len = 0;
	fprintf(stderr, "  %-9s", what);
	if (ev->kind)
		event_text(stderr, seq, &bare, NULL, names);
	else
		fprintf(stderr, "nothing\n");
}

static void print_divergence(const char *path, const struct replay_divergence *d, const struct symbols *names)
{
	tool_error(0, "%s: diverged at event %" PRIu64 ", icount %" PRIu64 ": %s", path, d->seq, d->icount, d->what);
	for (unsigned i = 0; i < d->last_count; i++)
		print_event("before", &d->last[i], d->seq - d->last_count + i, names);
	print_event("expected", &d->expected, d->seq, names);
	print_event("got", &d->got, d->seq, names);
	if (*d->cause)
		fprintf(stderr, "  likely cause: %s\n", d->cause);
}

static double mips(const struct replay_result *r)
{
	return r->run_ns ? (double)(r->icount - r->skipped_icount) * 1e3 / (double)r->run_ns : 0;
}

static void print_text(FILE *out, const char *path, const struct replay_result *r)
{
	fprintf(out,
	        "ringside: replayed %s: %" PRIu64 " events verified, %" PRIu64 " instructions, %.3f s, %.1f MIPS: %s\n",
	        path, r->events, r->icount, (double)r->run_ns / 1e9, mips(r),
	        r->truncated                  ? "the trace ends here, its recorder was stopped before the guest's end"
	        : r->divergence.diverged      ? "DIVERGED"
	        : r->difference.found         ? "THE ENGINES DIFFER"
	        : r->stop.reason == STOP_NONE ? "stopped where asked"
	                                      : vm_stop_name(r->stop.reason));
}

static void print_json(FILE *out, const char *path, const struct replay_result *r)
{
	(void)path;
	fprintf(out,
	        "{\"format\":\"ringside-replay\",\"version\":1,\"verdict\":\"%s\",\"reason\":\"%s\",\"code\":%" PRIu64
	        ",\"events\":%" PRIu64 ",\"icount\":%" PRIu64 ",\"run_ns\":%" PRIu64 ",\"mips\":%.2f",
	        r->divergence.diverged ? "diverged"
	        : r->difference.found  ? "engines differ"
	        : r->truncated         ? "truncated"
	                               : "equal",
	        vm_stop_name(r->stop.reason), r->stop.code, r->events, r->icount, r->run_ns, mips(r));
	if (r->divergence.diverged)
		fprintf(out, ",\"diverged_at\":%" PRIu64, r->divergence.seq);
	fputs("}\n", out);
}

static int report(const struct replay_cli *cli, const char *path, const struct replay_result *r)
{
	FILE *out = console_on_stdout(cli->console) ? stderr : stdout;
	bool json = options_choice(cli->format, "text", "json") == 1;

	if (r->divergence.diverged)
		print_divergence(path, &r->divergence, cli->names);
	(json ? print_json : print_text)(out, path, r);
	if (r->difference.found)
		tool_tell_difference(&r->difference, r->engine);
	return r->divergence.diverged || r->difference.found ? TOOL_DIVERGED : TOOL_OK;
}

static int replay_trace(struct replay_cli *cli, const char *path)
{
	enum engine_kind engine;
	struct lockstep_options lockstep;
	const struct replay_options options = {
		.to = cli->to_icount,
		.seek = cli->seek,
		.console = on_console,
		.progress = on_progress,
		.self = cli,
		.engine = &engine,
		.hardfaults = options_choice(cli->trap, "call", "fault") == 1,
		.lockstep = tool_lockstep(&cli->engine, &lockstep) ? &lockstep : NULL,
	};
	struct trace_reader *reader;
	struct replay_result result;
	struct replay *replay;
	struct vm_error err;
	int rc = tool_open_replay(&reader, path, &err);

	if (rc)
		return tool_fail(rc, &err);
	engine = tool_engine(&cli->engine, trace_reader_meta(reader)->config.engine);
	progress_begin(&cli->progress, "replaying");
	cli->progress.on &= !console_on_stdout(cli->console);
	rc = replay_create(&replay, reader, &options, &err);
	if (!rc) {
		rc = replay_run(replay, &result, &err);
		replay_destroy(replay);
	}
	progress_end(&cli->progress);
	trace_reader_close(reader);
	return rc ? tool_fail(rc, &err) : report(cli, path, &result);
}

/* ---- --measure ------------------------------------------------------------------------------------------------ */

static void print_measured(const char *path, const struct measure_result *r)
{
	printf("ringside: measured %s: %" PRIu64 " events %" PRIu64
	       " times, %.3f s a run, %.3f s without reading a clock"
	       " (%+.1f %%): samples are %s\n",
	       path, r->info.events, r->info.runs, (double)r->info.timed_ns / 1e9, (double)r->info.plain_ns / 1e9,
	       report_again_overhead(&r->info), r->inside ? "in the trace" : "beside it");
	if (!r->inside)
		fprintf(stderr, "ringside: not in the trace, but in %s" SAMPLES_SUFFIX ": %s\n", path, r->why.text);
}

static void print_measured_json(const struct measure_result *r)
{
	printf("{\"format\":\"ringside-measure\",\"version\":1,\"events\":%" PRIu64 ",\"runs\":%" PRIu64
	       ",\"timed_ns\":%" PRIu64 ",\"plain_ns\":%" PRIu64 ",\"overhead_percent\":%.2f,\"clock_cycles\":%" PRIu64
	       ",\"inside\":%s}\n",
	       r->info.events, r->info.runs, r->info.timed_ns, r->info.plain_ns, report_again_overhead(&r->info),
	       r->info.clock_cycles, r->inside ? "true" : "false");
}

static int measure_trace(struct replay_cli *cli, const char *path)
{
	enum engine_kind engine = cli->engine.engine ? tool_engine(&cli->engine, ENGINE_TRANSLATE) : ENGINE_TRANSLATE;
	const struct host_moment begin = host_moment();
	struct measure_options options = {
		.engine = cli->engine.engine ? &engine : NULL,
		.hardfaults = options_choice(cli->trap, "call", "fault") == 1,
		.progress = on_progress,
		.self = cli,
		.tsc_hz = host_tsc_hz(&begin),
	};
	struct measure_result result;
	struct trace_reader *reader;
	struct vm_error err;
	uint64_t runs;
	char host[128];
	int rc;

	if (!tool_parse_count(cli->measure, &runs) || !runs || runs > SAMPLES_RUNS_MAX)
		return tool_error(TOOL_USAGE, "--measure %s: must be 1 to %d runs", cli->measure, SAMPLES_RUNS_MAX);
	if (tool_lockstep(&cli->engine, &(struct lockstep_options){ 0 }))
		return tool_error(TOOL_USAGE, "--measure: with one engine, not --engine lockstep");
	if (cli->to || cli->seek || cli->serial)
		return tool_error(TOOL_USAGE,
		                  "--measure: runs the whole trace and shows nothing: without --to, --seek, --serial");
	host_cpu_name(host, sizeof(host));
	options.runs = (unsigned)runs;
	options.host = host;
	rc = tool_open_replay(&reader, path, &err);
	if (rc)
		return tool_fail(rc, &err);
	progress_begin(&cli->progress, "measuring");
	rc = measure(reader, &options, &result, &err);
	progress_end(&cli->progress);
	if (rc)
		return tool_fail(rc, &err);
	if (result.run.divergence.diverged) {
		print_divergence(path, &result.run.divergence, cli->names);
		return TOOL_DIVERGED;
	}
	if (options_choice(cli->format, "text", "json") == 1)
		print_measured_json(&result);
	else
		print_measured(path, &result);
	return TOOL_OK;
}

static int run_replay(struct replay_cli *cli, const char *path)
{
	const char *serial = cli->serial ? cli->serial : "none";
	struct vm_error err;
	int rc;

	cli->to_icount = UINT64_MAX;
	if (cli->to && !tool_parse_count(cli->to, &cli->to_icount))
		return tool_error(TOOL_USAGE, "--to %s: must be an icount", cli->to);
	if (tool_check_engine(&cli->engine) != OPTIONS_GO)
		return TOOL_USAGE;
	if (options_choice(cli->trap, "call", "fault") < 0)
		return tool_error(TOOL_USAGE, "--trap %s: must be call or fault", cli->trap);
	if (options_choice(cli->format, "text", "json") < 0)
		return tool_error(TOOL_USAGE, "--format %s: must be text or json", cli->format);
	if (strcmp(serial, "stdio") && strcmp(serial, "none") && strncmp(serial, "file:", 5))
		return tool_error(TOOL_USAGE, "--serial %s: must be stdio, file:NAME or none", serial);
	rc = cli->symbols ? symbols_open(&cli->names, cli->symbols, &err) : 0;
	if (rc)
		return tool_fail(rc, &err);
	if (cli->measure)
		return measure_trace(cli, path);
	rc = console_open(&cli->console, serial, false, &err);
	if (rc)
		return tool_error(TOOL_HOST, "%s", err.text);
	return replay_trace(cli, path);
}

int cmd_replay(int argc, const char **argv)
{
	struct replay_cli cli = { 0 };
	const struct poptOption table[] = {
		{ "to", 0, POPT_ARG_STRING, &cli.to, 0, "Stop at this icount", "ICOUNT" },
		{ "seek", 0, POPT_ARG_NONE, &cli.seek, 0,
		  "With --to: begin at the nearest checkpoint, verify from there on", NULL },
		{ "serial", 0, POPT_ARG_STRING, &cli.serial, 0, "Where the guest's console goes (none)",
		  "stdio|file:F|none" },
		{ "format", 0, POPT_ARG_STRING, &cli.format, 0, "Form of the result (text)", "text|json" },
		ENGINE_OPTIONS(cli.engine, "what recorded"),
		{ "trap", 0, POPT_ARG_STRING, &cli.trap, 0,
		  "Translated code's privileged instructions call the VMM, or fault (call)", "call|fault" },
		{ "measure", 0, POPT_ARG_STRING, &cli.measure, 0,
		  "Time every event so many times more and keep the samples in the trace, or beside it where it is "
		  "read-only; the profile then gives minima, medians and their confidence",
		  "N" },
		{ "symbols", 0, POPT_ARG_STRING, &cli.symbols, 0, "Names for a divergence: an ELF file or a System.map",
		  "FILE" },
		OPTIONS_END,
	};
	struct options options;
	int status = options_parse(&options, argc, argv, table, &usage);

	if (status == OPTIONS_GO)
		status = run_replay(&cli, options.args[0]);
	console_close(cli.console);
	symbols_close(cli.names);
	options_close(&options);
	return status;
}
