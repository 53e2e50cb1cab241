/*
 * engine.h - what --engine says, and what this host can do of it.
 */
#ifndef RINGSIDE_TOOLS_ENGINE_H
#define RINGSIDE_TOOLS_ENGINE_H

#include "replayer/lockstep.h"

#define ENGINE_WORDS "translate|interp|lockstep"

/* What --engine, --compare-every and --plant-mistake take. */
struct engine_options {
	char *engine;
	char *every;
	char *plant; /* for tests, see lockstep.h */
};
/* For a command's table, with `o` the struct. `what`: the default, in words. */
#define ENGINE_OPTIONS(o, what)                                                                                        \
	{ "engine", 0, POPT_ARG_STRING, &(o).engine, 0, "What runs guest instructions (" what ")", ENGINE_WORDS },     \
	        { "compare-every", 0, POPT_ARG_STRING,                                                                 \
		  &(o).every,      0, "With --engine lockstep: how often both engines' states are compared (1000)",    \
		  "N|block" },                                                                                         \
	{                                                                                                              \
		"plant-mistake", 0, POPT_ARG_STRING | POPT_ARGFLAG_DOC_HIDDEN, &(o).plant, 0, "", "EIP"                \
	}

/* OPTIONS_GO, or the exit status after telling what is wrong. */
int tool_check_engine(const struct engine_options *o);
/* o was checked. The engine that runs, `otherwise` where none is named; of a lockstep, the first. Where the host's processor has not what the
 * translator needs, it is the interpreter, and stderr says so: once a command. */
enum engine_kind tool_engine(const struct engine_options *o, enum engine_kind otherwise);
/* o was checked. True for a lockstep. */
bool tool_lockstep(const struct engine_options *o, struct lockstep_options *out);
/* On stderr: where and in what two engines differ. `first` ran beside the other one. */
void tool_tell_difference(const struct lockstep_difference *d, enum engine_kind first);

#endif
