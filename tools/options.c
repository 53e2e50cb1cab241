/*
 * options.c - see options.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/options.h"
#include "tools/tool.h"

enum { OPTION_HELP = 'h' };

const struct poptOption options_help_table[] = {
	{ "help", 'h', POPT_ARG_NONE, NULL, OPTION_HELP, "Show this help", NULL },
	POPT_TABLEEND,
};

static int print_help(poptContext context, const struct usage *usage)
{
	poptPrintHelp(context, stdout, 0);
	printf("\n%s\n", usage->about);
	if (usage->examples)
		printf("\nExamples:\n%s\n", usage->examples);
	return TOOL_OK;
}

static int count_args(const char **args)
{
	int n = 0;

	while (args && args[n])
		n++;
	return n;
}

static int usage_error(const char *command, const char *what, const char *why)
{
	return tool_error(TOOL_USAGE, "%s: %s; `%s -h` explains", what, why, command);
}

int options_parse(struct options *o, int argc, const char **argv, const struct poptOption *table,
                  const struct usage *usage)
{
	char other[128];
	int rc;

	memset(o, 0, sizeof(*o));
	o->table = table;
	argv[0] = usage->command;
	o->context = poptGetContext("ringside", argc, argv, table, 0);
	if (!o->context)
		return tool_error(TOOL_HOST, "out of memory");
	snprintf(other, sizeof(other), "[OPTION...] %s", usage->arguments);
	poptSetOtherOptionHelp(o->context, other);
	while ((rc = poptGetNextOpt(o->context)) > 0)
		if (rc == OPTION_HELP)
			return print_help(o->context, usage);
	if (rc < -1)
		return usage_error(argv[0], poptBadOption(o->context, POPT_BADOPTION_NOALIAS), poptStrerror(rc));
	o->args = poptGetArgs(o->context);
	o->arg_count = count_args(o->args);
	if (o->arg_count < usage->min_args)
		return usage_error(argv[0], usage->arguments, "an argument is missing");
	if (o->arg_count > usage->max_args)
		return usage_error(argv[0], o->args[usage->max_args], "one argument too many");
	return OPTIONS_GO;
}

/* popt hands out copies: give back what the table's entries point at. */
static void free_table(const struct poptOption *table)
{
	for (; table->longName || table->shortName || table->arg; table++) {
		switch (table->argInfo & POPT_ARG_MASK) {
		case POPT_ARG_INCLUDE_TABLE: free_table(table->arg); break;
		case POPT_ARG_STRING: free(*(char **)table->arg); break;
		case POPT_ARG_ARGV:
			for (char **s = *(char ***)table->arg; s && *s; s++)
				free(*s);
			free(*(char ***)table->arg);
			break;
		default: break;
		}
	}
}

void options_close(struct options *o)
{
	poptFreeContext(o->context);
	free_table(o->table);
}

int options_choice(const char *text, const char *first, const char *second)
{
	if (!text || !strcmp(text, first))
		return 0;
	return strcmp(text, second) ? -1 : 1;
}

void machine_options_table(struct machine_options *m, struct poptOption table[MACHINE_OPTIONS_ROOM])
{
	const struct poptOption machine[] = {
		{ "initrd", 0, POPT_ARG_STRING, &m->initrd, 0, "Initial RAM disk of a Linux guest", "FILE" },
		{ "append", 0, POPT_ARG_STRING, &m->append, 0, "The guest's command line", "STRING" },
		{ "module", 0, POPT_ARG_ARGV, &m->modules, 0, "Multiboot module with its arguments; may be repeated",
		  "\"FILE [ARGS]\"" },
		{ "memory", 0, POPT_ARG_STRING, &m->memory, 0, "Guest RAM, 2M to 3G (256M)", "SIZE" },
		{ "model", 0, POPT_ARG_STRING, &m->model, 0, "Real rings of the guest's rings 0, 1, 3 (0/1/3)",
		  "0/1/3|0/3/3" },
		{ "sensitive", 0, POPT_ARG_STRING, &m->sensitive, 0,
		  "Catch sensitive instructions, or let them lie (catch)", "catch|leak" },
		ENGINE_OPTIONS(m->engine, "translate"),
		{ "trap", 0, POPT_ARG_STRING, &m->trap, 0,
		  "Translated code's privileged instructions call the VMM, or fault on the host's processor (call)",
		  "call|fault" },
		{ "clock", 0, POPT_ARG_STRING, &m->clock, 0,
		  "Virtual time runs free, or no faster than the host's (icount)", "icount|host" },
		{ "serial", 0, POPT_ARG_STRING, &m->serial, 0, "The guest's console (stdio; Ctrl-A x ends)",
		  "stdio|file:F|none" },
		{ "limit", 0, POPT_ARG_STRING, &m->limit, 0, "Stop after so many guest instructions", "N[K|M|G]" },
		{ "mark", 0, POPT_ARG_STRING, &m->mark, 0, "A console line like this is a marker in the trace", "REGEX" },
		{ "perf", 0, POPT_ARG_NONE, &m->perf, 0, "Count host events (cycles, misses, faults) and report them",
		  NULL },
		{ "format", 0, POPT_ARG_STRING, &m->format, 0, "Form of the closing line on stderr (text)", "text|json" },
		OPTIONS_END,
	};

	_Static_assert(sizeof(machine) / sizeof(*machine) <= MACHINE_OPTIONS_ROOM, "room for all machine options");
	memset(m, 0, sizeof(*m));
	memcpy(table, machine, sizeof(machine));
}

static int bad_value(const char *option, const char *value, const char *want)
{
	return tool_error(TOOL_USAGE, "--%s %s: must be %s", option, value, want);
}

int machine_options_config(const struct machine_options *m, struct vm_config *config)
{
	int model = options_choice(m->model, "0/1/3", "0/3/3");
	int policy = options_choice(m->sensitive, "catch", "leak");
	int trap = options_choice(m->trap, "call", "fault");

	vm_config_init(config);
	if (m->memory && (!tool_parse_size(m->memory, &config->memory) || config->memory < VM_MEMORY_MIN ||
	                  config->memory > VM_MEMORY_MAX || config->memory % 4096))
		return bad_value("memory", m->memory, "a multiple of 4K between 2M and 3G");
	if (model < 0)
		return bad_value("model", m->model, "0/1/3 or 0/3/3");
	if (policy < 0)
		return bad_value("sensitive", m->sensitive, "catch or leak");
	if (tool_check_engine(&m->engine) != OPTIONS_GO)
		return TOOL_USAGE;
	if (trap < 0)
		return bad_value("trap", m->trap, "call or fault");
	if (options_choice(m->clock, "icount", "host") < 0)
		return bad_value("clock", m->clock, "icount or host");
	if (options_choice(m->format, "text", "json") < 0)
		return bad_value("format", m->format, "text or json");
	if (m->limit && !tool_parse_count(m->limit, &config->limit))
		return bad_value("limit", m->limit, "a number of instructions");
	if (m->serial && strcmp(m->serial, "stdio") && strcmp(m->serial, "none") && strncmp(m->serial, "file:", 5))
		return bad_value("serial", m->serial, "stdio, file:NAME or none");
	config->model = (enum ring_model)model;
	config->policy = (enum sensitive_policy)policy;
	config->engine = tool_engine(&m->engine, ENGINE_TRANSLATE);
	config->trap = (enum trap_kind)trap;
	if (trap == TRAP_FAULT && config->engine != ENGINE_TRANSLATE)
		return tool_error(TOOL_USAGE, "--trap fault: only translated code can fault: needs --engine translate");
	return OPTIONS_GO;
}
