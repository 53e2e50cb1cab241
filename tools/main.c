/*
 * main.c - the `ringside` command: one table of subcommands.
 */
#include <stdio.h>
#include <string.h>

#include "tools/commands.h"
#include "tools/tool.h"

static int cmd_version(int argc, const char **argv);

static const struct command commands[] = {
	{ "run", cmd_run, "run a guest kernel, deprivileged" },
	{ "record", cmd_record, "run it and write every fault and input to a trace" },
	{ "replay", cmd_replay, "run a trace again and verify every event" },
	{ "debug", cmd_debug, "debug a trace in gdb, forward and backward" },
	{ "profile", cmd_profile, "say what each event of a trace cost, and where" },
	{ "compare", cmd_compare, "compare two recordings: a regression gate" },
	{ "calibrate", cmd_calibrate, "measure what this host charges for faults, system calls, counters" },
	{ "contrast", cmd_contrast, "run one guest in several ways: what ring 1, real faults, translation cost" },
	{ "symbols", cmd_symbols, "make a symbol file for gdb from a kernel image or System.map" },
	{ "history", cmd_history, "what runs cost over time: a store, steps, a gate" },
	{ "trace", cmd_trace, "info, dump, check: look into a trace" },
	{ "version", cmd_version, "print the version" },
	{ NULL, NULL, NULL },
};

static int cmd_version(int argc, const char **argv)
{
	(void)argv;
	if (argc > 1)
		return tool_error(TOOL_USAGE, "version: takes no arguments");
	printf("ringside %s\n", RINGSIDE_VERSION);
	return TOOL_OK;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--version"))
		argv[1] += 2;
	return command_dispatch(commands, "ringside", "Record-and-replay virtualization with the guest kernel in ring 1.",
	                        argc - 1, (const char **)argv + 1);
}
