/*
 * cmd_record.c - `ringside record`: a run with the trace writer plugged in as observer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/commands.h"
#include "tools/session.h"
#include "tools/tool.h"
#include "vmm/emul/emul.h"

#define DEFAULT_TRACE "ringside.trace"

struct record_options {
	struct machine_options machine;
	char *output;
	int force;
	char *budget; /* of checkpoints, percent */
	char *from;   /* TRACE@ICOUNT */
};

static const struct usage usage = {
	.command = "ringside record",
	.arguments = "GUEST | --from TRACE@ICOUNT",
	.about = "Runs a guest as `ringside run` does and writes every fault, device access, interrupt and input to a "
	         "trace (" DEFAULT_TRACE ").\n"
	         "The trace needs nothing else: no guest files, no devices. However the recording ends, what was "
	         "committed (at least\n"
	         "every 100 ms) can be replayed. Two recordings of a guest without outside input have the same digest.",
	.examples = "  ringside record build/guests/demo.elf\n"
	            "  ringside record -o boot.trace --initrd initrd.gz --append 'console=ttyS0' vmlinuz\n"
	            "  ringside record -o boot.trace --force --format json --serial none kernel.elf\n"
	            "  ringside record -o other.trace --from boot.trace@120M",
	.min_args = 0,
	.max_args = 1,
};

static void fill_meta(struct trace_meta *meta, const struct session *s, const struct machine_options *m,
                      const struct vm_config *config)
{
	memset(meta, 0, sizeof(*meta));
	meta->format_version = TRACE_FORMAT_VERSION;
	snprintf(meta->writer, sizeof(meta->writer), "ringside %s", RINGSIDE_VERSION);
	snprintf(meta->engine, sizeof(meta->engine), "%s", vm_engine_name(config->engine));
	snprintf(meta->cpu_model, sizeof(meta->cpu_model), "%s", CPU_MODEL_NAME);
	meta->config = *config;
	snprintf(meta->command_line, sizeof(meta->command_line), "%s", m->append ? m->append : "");
	meta->file_count = s->file_count;
	memcpy(meta->files, s->files, sizeof(meta->files));
	meta->created = time(NULL);
	host_cpu_name(meta->host, sizeof(meta->host));
	meta->tsc_hz = host_tsc_hz();
}

static void on_console(void *self, enum vm_stream stream, const uint8_t *bytes, size_t len)
{
	trace_writer_console(self, stream, bytes, len);
}

/* Of the writer's option: 0 is its default, none is negative. */
static bool parse_budget(const char *text, int *budget)
{
	uint64_t percent;

	*budget = 0;
	if (!text)
		return true;
	if (!tool_parse_count(text, &percent) || percent > 1000)
		return false;
	*budget = percent ? (int)percent : -1;
	return true;
}

static int open_writer(struct trace_writer **out, const struct record_options *o, const char *path, struct session *s,
                       const struct vm_config *config)
{
	struct trace_writer_options options = { .overwrite = o->force };
	struct trace_meta meta;
	struct vm_error err;
	int rc;

	if (!parse_budget(o->budget, &options.checkpoint_budget))
		return tool_error(TOOL_USAGE, "--checkpoint-budget %s: must be a percentage, 0 to 1000", o->budget);
	fill_meta(&meta, s, &o->machine, config);
	rc = trace_writer_create(out, path, &meta, s->vm, &options, &err);
	if (rc == -EEXIST)
		return tool_error(TOOL_USAGE, "%s: exists already; --force replaces it, -o names another", path);
	return rc ? tool_error(TOOL_HOST, "%s", err.text) : OPTIONS_GO;
}

/* Run with the writer plugged in, and close the trace whatever happened. */
static int run_recorded(const struct record_options *o, struct session *s, struct trace_writer *writer, const char *path)
{
	struct session_summary summary = { .trace_path = path };
	struct session_result result;
	struct vm_observer observer;
	struct trace_meta meta;
	struct vm_error err;
	int status, rc;

	trace_writer_observer(writer, &observer);
	s->listener = on_console;
	s->listener_self = writer;
	status = session_run(s, &observer, o->machine.perf, &result);
	rc = trace_writer_close(writer, s->vm, &meta, &err);
	s->listener = NULL;
	if (rc)
		return tool_error(TOOL_HOST, "%s", err.text);
	if (status != OPTIONS_GO)
		return status;
	summary.result = &result;
	summary.meta = &meta;
	/* raw terminals need their line ends back before a person reads on */
	console_close(s->console);
	s->console = NULL;
	session_print(&summary, options_choice(o->machine.format, "text", "json") == 1);
	return tool_stop_status(&result.stop);
}

static int record_guest(const struct record_options *o, const char *guest)
{
	const char *path = o->output ? o->output : DEFAULT_TRACE;
	struct trace_writer *writer;
	struct session session;
	struct vm_config config;
	int status = machine_options_config(&o->machine, &config);

	if (status != OPTIONS_GO)
		return status;
	status = session_open(&session, &o->machine, &config, guest);
	if (status == OPTIONS_GO)
		status = open_writer(&writer, o, path, &session, &config);
	if (status == OPTIONS_GO)
		status = run_recorded(o, &session, writer, path);
	session_close(&session);
	return status;
}

static int record_one(const struct record_options *o, const struct options *options)
{
	if (options->arg_count != 1)
		return tool_error(
		        TOOL_USAGE,
		        "ringside record: GUEST: an argument is missing, or --from; `ringside record -h` explains");
	return record_guest(o, options->args[0]);
}

/* The new trace describes the old one's machine; what it is now called on to do is this command's. */
static int open_writer_at(struct trace_writer **out, const struct record_options *o, const char *path,
                          struct session *s, const struct vm_config *config, const struct trace_meta *old)
{
	struct record_options same = *o;

	same.machine.append = (char *)(uintptr_t)old->command_line;
	return open_writer(out, &same, path, s, config);
}

static int record_live(const struct record_options *o, struct trace_reader *reader, uint64_t icount, const char *trace)
{
	const struct trace_meta *old = trace_reader_meta(reader);
	const char *path = o->output ? o->output : DEFAULT_TRACE;
	struct vm_config asked, config = old->config;
	struct trace_writer *writer;
	struct session session;
	int status = machine_options_config(&o->machine, &asked);

	if (status != OPTIONS_GO)
		return status;
	config.limit = asked.limit;
	config.engine = asked.engine;
	config.trap = asked.trap;
	status = session_open_at(&session, &o->machine, &config, reader, icount, trace);
	if (status == OPTIONS_GO)
		status = open_writer_at(&writer, o, path, &session, &config, old);
	if (status == OPTIONS_GO)
		status = run_recorded(o, &session, writer, path);
	session_close(&session);
	return status;
}

static bool describes_machine(const struct machine_options *m)
{
	return m->initrd || m->append || m->modules || m->memory || m->model || m->sensitive;
}

static int record_from(const struct record_options *o, int arg_count)
{
	char *at = strrchr(o->from, '@');
	struct trace_reader *reader;
	struct vm_error err;
	uint64_t icount;
	int status, rc;

	if (!at || at == o->from || !tool_parse_count(at + 1, &icount))
		return tool_error(TOOL_USAGE, "--from %s: must be TRACE@ICOUNT", o->from);
	if (arg_count || describes_machine(&o->machine))
		return tool_error(TOOL_USAGE, "--from: the trace says what machine it is and what runs on it; no "
		                              "GUEST, and no option that describes them");
	*at = 0;
	rc = trace_reader_open(&reader, o->from, &err);
	if (rc)
		return tool_fail(rc, &err);
	status = record_live(o, reader, icount, o->from);
	trace_reader_close(reader);
	return status;
}

int cmd_record(int argc, const char **argv)
{
	struct poptOption machine[MACHINE_OPTIONS_ROOM];
	struct record_options o = { 0 };
	const struct poptOption table[] = {
		{ NULL, 'o', POPT_ARG_STRING, &o.output, 0, "The trace to write (" DEFAULT_TRACE ")", "TRACE" },
		{ "force", 'f', POPT_ARG_NONE, &o.force, 0, "Replace an existing trace", NULL },
		{ "checkpoint-budget", 0, POPT_ARG_STRING, &o.budget, 0,
		  "Let checkpoints make the trace grow by so much at most; 0: none (20, or 64 MiB where that is more)",
		  "PERCENT" },
		{ "from", 0, POPT_ARG_STRING, &o.from, 0, "Instead of a guest: go on live from this icount of a trace",
		  "TRACE@ICOUNT" },
		{ NULL, 0, POPT_ARG_INCLUDE_TABLE, machine, 0, "The machine:", NULL },
		POPT_TABLEEND,
	};
	struct options options;
	int status;

	machine_options_table(&o.machine, machine);
	status = options_parse(&options, argc, argv, table, &usage);
	if (status == OPTIONS_GO)
		status = o.from ? record_from(&o, options.arg_count) : record_one(&o, &options);
	options_close(&options);
	return status;
}
