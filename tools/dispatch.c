/*
 * dispatch.c - from a word to a subcommand (see commands.h).
 */
#include <stdio.h>
#include <string.h>

#include "tools/commands.h"
#include "tools/tool.h"

static void print_table(FILE *out, const struct command *table, const char *name, const char *about)
{
	fprintf(out, "Usage: %s COMMAND [OPTION...] [ARGUMENT...]\n\n%s\n\nCommands (`%s COMMAND -h` explains each):\n",
	        name, about, name);
	for (; table->name; table++)
		fprintf(out, "  %-9s %s\n", table->name, table->summary);
	fprintf(out, "\nExit status: 0 done (or equal), 1 the guest failed or a regression, 2 usage, 3 bad input, 4 "
	             "divergence or\n"
	             "incomparable, 5 host failure, 130 interrupted; a guest that ends by the debug exit port chooses "
	             "its own.\n");
}

int command_dispatch(const struct command *table, const char *name, const char *about, int argc, const char **argv)
{
	if (argc < 1) {
		print_table(stderr, table, name, about);
		return TOOL_USAGE;
	}
	if (!strcmp(argv[0], "-h") || !strcmp(argv[0], "--help") || !strcmp(argv[0], "help")) {
		print_table(stdout, table, name, about);
		return TOOL_OK;
	}
	for (const struct command *c = table; c->name; c++)
		if (!strcmp(argv[0], c->name))
			return c->run(argc, argv);
	return tool_error(TOOL_USAGE, "%s: no such command; `%s -h` lists them", argv[0], name);
}
