/*
 * engine.h - what --engine says, and what this host can do of it.
 */
#ifndef RINGSIDE_TOOLS_ENGINE_H
#define RINGSIDE_TOOLS_ENGINE_H

#include "vmm/vm.h"

#define ENGINE_WORDS "translate|interp"

/* OPTIONS_GO, or the exit status after telling that it is no engine's name. NULL is one. */
int tool_check_engine(const char *text);
/* text was checked; NULL is `otherwise`. Where the host's processor has not what the translator needs, it is the interpreter, and
 * stderr says so: once a command. */
enum engine_kind tool_engine(const char *text, enum engine_kind otherwise);

#endif
