/*
 * monitor.h - gdb's `monitor` commands on a trace: questions about time and machine, answered in words.
 */
#ifndef RINGSIDE_REPLAYER_GDB_MONITOR_H
#define RINGSIDE_REPLAYER_GDB_MONITOR_H

#include "replayer/gdb/text.h"

struct debugger;

void monitor_command(struct debugger *d, const char *line, struct gdb_text *out);

#endif
