/*
 * commands.h - the subcommands. argv[0] is the subcommand's name; the result is the exit status.
 */
#ifndef RINGSIDE_TOOLS_COMMANDS_H
#define RINGSIDE_TOOLS_COMMANDS_H

struct command {
	const char *name;
	int (*run)(int argc, const char **argv);
	const char *summary;
};

int cmd_run(int argc, const char **argv);
int cmd_record(int argc, const char **argv);
int cmd_replay(int argc, const char **argv);
int cmd_debug(int argc, const char **argv);
int cmd_profile(int argc, const char **argv);
int cmd_compare(int argc, const char **argv);
int cmd_calibrate(int argc, const char **argv);
int cmd_contrast(int argc, const char **argv);
int cmd_symbols(int argc, const char **argv);
int cmd_history(int argc, const char **argv);
int cmd_trace(int argc, const char **argv);

/* Finds argv[0] in the table (its last entry has no name) and runs it; prints the table for -h, --help and none. `name` is the program's. */
int command_dispatch(const struct command *table, const char *name, const char *about, int argc, const char **argv);

#endif
