/*
 * cmd_record.c - `ringside record`: a run with the trace writer plugged in as observer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/recording.h"
#include "tools/tool.h"

struct record_options {
	struct machine_options machine;
	char *output;
	int force, top;
	char *budget; /* of checkpoints, percent */
	char *from;   /* TRACE@ICOUNT */
};

static const struct usage usage = {
	.command = "ringside record",
	.arguments = "GUEST | --from TRACE@ICOUNT",
	.about = "Runs a guest as `ringside run` does and writes every fault, device access, interrupt and input to a "
	         "trace (" RECORDING_TRACE ").\n"
	         "The trace needs nothing else: no guest files, no devices. However the recording ends, what was "
	         "committed (at least\n"
	         "every 100 ms) can be replayed. Two recordings of a guest without outside input have the same digest.",
	.examples = "  ringside record build/guests/demo.elf\n"
	            "  ringside record -o boot.trace --initrd initrd.gz --append 'console=ttyS0' vmlinuz\n"
	            "  ringside record -o boot.trace --force --format json --serial none kernel.elf\n"
	            "  ringside record --top --serial file:console -o boot.trace --initrd initrd.gz vmlinuz\n"
	            "  ringside record -o other.trace --from boot.trace@120M",
	.min_args = 0,
	.max_args = 1,
};

/* A picture that is drawn anew and a guest's console cannot share a screen. */
static int check_top(const struct record_options *o)
{
	const char *serial = o->machine.serial ? o->machine.serial : "stdio";

	if (o->top && !strcmp(serial, "stdio") && isatty(STDOUT_FILENO))
		return tool_error(TOOL_USAGE,
		                  "--top: the guest's console is on this screen; --serial file:F or --serial none");
	return OPTIONS_GO;
}

static int record_guest(const struct record_options *o, const char *guest)
{
	const struct recording_options options = {
		.machine = &o->machine, .path = o->output, .force = o->force, .budget = o->budget, .top = o->top
	};
	struct recording recording;
	struct session session;
	struct vm_config config;
	int status = machine_options_config(&o->machine, &config);

	if (status == OPTIONS_GO)
		status = check_top(o);
	if (status != OPTIONS_GO)
		return status;
	status = session_open(&session, &o->machine, &config, guest);
	if (status == OPTIONS_GO)
		status = recording_open(&recording, &options, &session, &config);
	if (status == OPTIONS_GO)
		status = recording_finish(&recording, &o->machine);
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
static int record_live(const struct record_options *o, struct trace_reader *reader, uint64_t icount, const char *trace)
{
	const struct trace_meta *old = trace_reader_meta(reader);
	const struct recording_options options = { .machine = &o->machine,
		                                   .path = o->output,
		                                   .force = o->force,
		                                   .budget = o->budget,
		                                   .top = o->top,
		                                   .command_line = old->command_line };
	struct vm_config asked, config = old->config;
	struct recording recording;
	struct session session;
	int status = machine_options_config(&o->machine, &asked);

	if (status == OPTIONS_GO)
		status = check_top(o);
	if (status != OPTIONS_GO)
		return status;
	config.limit = asked.limit;
	config.engine = asked.engine;
	config.trap = asked.trap;
	status = session_open_at(&session, &o->machine, &config, reader, icount, trace);
	if (status == OPTIONS_GO)
		status = recording_open(&recording, &options, &session, &config);
	if (status == OPTIONS_GO)
		status = recording_finish(&recording, &o->machine);
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
	rc = tool_open_replay(&reader, o->from, &err);
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
		{ NULL, 'o', POPT_ARG_STRING, &o.output, 0, "The trace to write (" RECORDING_TRACE ")", "TRACE" },
		{ "force", 'f', POPT_ARG_NONE, &o.force, 0, "Replace an existing trace", NULL },
		{ "checkpoint-budget", 0, POPT_ARG_STRING, &o.budget, 0,
		  "Let checkpoints make the trace grow by so much at most; 0: none (20, or 48 MiB where that is more)",
		  "PERCENT" },
		{ "top", 0, POPT_ARG_NONE, &o.top, 0,
		  "Show on stderr what it spends its time on, while it runs; the guest's console must be elsewhere",
		  NULL },
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
