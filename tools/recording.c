/*
 * recording.c - see recording.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "recorder/maker.h"
#include "tools/calibrate.h"
#include "tools/recording.h"
#include "tools/tool.h"
#include "vmm/emul/emul.h"

/* Faults where the recording has them, the counters where it reads them. */
static unsigned calibrated(const struct recording_options *o, const struct vm_config *config)
{
	return (config->trap == TRAP_FAULT ? CALIBRATE_FAULTS : 0) | (o->machine->perf ? CALIBRATE_PERF : 0);
}

static void fill_meta(struct trace_meta *meta, const struct session *s, const struct recording_options *o,
                      const struct vm_config *config)
{
	const char *command_line = o->command_line ? o->command_line : o->machine->append;

	memset(meta, 0, sizeof(*meta));
	meta->format_version = TRACE_FORMAT_VERSION;
	snprintf(meta->writer, sizeof(meta->writer), "ringside %s", RINGSIDE_VERSION);
	snprintf(meta->engine, sizeof(meta->engine), "%s", vm_engine_name(config->engine));
	snprintf(meta->cpu_model, sizeof(meta->cpu_model), "%s", CPU_MODEL_NAME);
	meta->config = *config;
	snprintf(meta->command_line, sizeof(meta->command_line), "%s", command_line ? command_line : "");
	meta->file_count = s->file_count;
	memcpy(meta->files, s->files, sizeof(meta->files));
	meta->created = time(NULL);
	host_cpu_name(meta->host, sizeof(meta->host));
	host_cpu_maker(meta->host_maker, sizeof(meta->host_maker));
	calibrate_meta(meta, CALIBRATE_BRIEF, calibrated(o, config));
	meta->tsc_hz = host_tsc_hz(&s->opened);
}

static void on_console(void *self, enum vm_stream stream, const uint8_t *bytes, size_t len)
{
	struct recording *r = self;

	trace_writer_console(r->writer, stream, bytes, len);
	if (r->console)
		r->console(r->self, bytes, len);
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

int recording_open(struct recording *r, const struct recording_options *o, struct session *s,
                   const struct vm_config *config)
{
	struct trace_writer_options options = { .overwrite = o->force };
	struct trace_meta meta;
	struct vm_error err;
	int rc;

	*r = (struct recording){ .path = o->path ? o->path : RECORDING_TRACE, .session = s };
	if (!parse_budget(o->budget, &options.checkpoint_budget))
		return tool_error(TOOL_USAGE, "--checkpoint-budget %s: must be a percentage, 0 to 1000", o->budget);
	fill_meta(&meta, s, o, config);
	rc = trace_writer_create(&r->writer, r->path, &meta, s->vm, &options, &err);
	if (rc == -EEXIST)
		return tool_error(TOOL_USAGE, "%s: exists already; --force replaces it, -o names another", r->path);
	if (rc)
		return tool_error(TOOL_HOST, "%s", err.text);
	r->top = o->top ? top_create() : NULL;
	trace_writer_observer(r->writer, &r->observer);
	vm_plug(s->vm, &s->input, &r->observer);
	s->listener = on_console;
	s->listener_self = r;
	return OPTIONS_GO;
}

int recording_finish(struct recording *r, const struct machine_options *machine)
{
	struct session_summary summary = { .trace_path = r->path, .paused = machine->debugged };
	struct session *s = r->session;
	struct session_result result;
	struct trace_meta meta;
	struct vm_error err;
	int status, rc;

	s->top = r->top;
	s->writer = r->writer;
	status = session_run(s, &r->observer, machine->perf, &result);
	rc = trace_writer_close(r->writer, s->vm, &meta, &err);
	s->listener = NULL;
	s->writer = NULL;
	s->top = NULL;
	top_destroy(r->top);
	if (rc)
		return tool_error(TOOL_HOST, "%s", err.text);
	if (status != OPTIONS_GO)
		return status;
	summary.result = &result;
	summary.meta = &meta;
	/* raw terminals need their line ends back before a person reads on */
	console_close(s->console);
	s->console = NULL;
	session_print(&summary, options_choice(machine->format, "text", "json") == 1);
	return tool_stop_status(&result.stop);
}
