/*
 * options.h - option parsing by popt: one way for all subcommands.
 *
 * A command describes its options in a table whose entries store strings and flags; what they mean is checked by the command. -h is everywhere.
 */
#ifndef RINGSIDE_TOOLS_OPTIONS_H
#define RINGSIDE_TOOLS_OPTIONS_H

#include <popt.h>

#include "tools/engine.h"

struct usage {
	const char *command;   /* "ringside trace info" */
	const char *arguments; /* after the options: "GUEST" */
	const char *about;     /* one paragraph */
	const char *examples;  /* lines, each indented by two */
	int min_args, max_args;
};

struct options {
	poptContext context;
	const struct poptOption *table;
	const char **args; /* positional, NULL-terminated; borrowed */
	int arg_count;
};

/* The end of every table: -h. */
extern const struct poptOption options_help_table[];
#define OPTIONS_END { NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)options_help_table, 0, "Help:", NULL }, POPT_TABLEEND

/* Parse argv; argv[0] becomes usage->command. OPTIONS_GO: go on; otherwise the exit status: -h was answered, or the mistake was told.
 * options_close() in either case. */
#define OPTIONS_GO (-1)
int options_parse(struct options *o, int argc, const char **argv, const struct poptOption *table,
                  const struct usage *usage);
/* Frees everything, also the strings that were stored through the table. */
void options_close(struct options *o);

/* The options that `run` and `record` share: what machine it is and what runs on it. */
struct machine_options {
	char *initrd, *append, *memory, *model, *sensitive, *trap, *clock, *serial, *limit, *format, *mark;
	char **modules;
	struct engine_options engine;
	int perf;
	uint64_t idle_max_ns; /* no option: see vmm/dev/machine.h, and session.h `pausable` */
	bool debugged; /* no option: a debugger has keyboard and signals, and shows the console unless --serial says where */
};
#define MACHINE_OPTIONS_ROOM 22
/* Fills `table` so that it stores into `m`. Include it with POPT_ARG_INCLUDE_TABLE. */
void machine_options_table(struct machine_options *m, struct poptOption table[MACHINE_OPTIONS_ROOM]);
/* OPTIONS_GO, or the exit status after telling the mistake. */
int machine_options_config(const struct machine_options *m, struct vm_config *config);
/* One word out of a list of two; -1 when it is neither. NULL is the first. */
int options_choice(const char *text, const char *first, const char *second);

#endif
