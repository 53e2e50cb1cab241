/*
 * groupings.h - `--by insn,port`: what the commands that make tables share.
 */
#ifndef RINGSIDE_TOOLS_GROUPINGS_H
#define RINGSIDE_TOOLS_GROUPINGS_H

#include "profiler/profile.h"

/* Fills by[0..*count - 1] from a list of names, or for "all" with every grouping that each trace has. OPTIONS_GO (tools/options.h), or the exit status
 * after telling the mistake. */
int tool_parse_by(const char *list, enum profile_by by[BY_MAX], size_t *count);

#endif
