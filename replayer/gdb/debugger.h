/*
 * debugger.h - a trace as something to debug: the stub's target on top of a timeline, and what `monitor` commands need.
 *
 * Called by tools/cmd_debug.c.
 */
#ifndef RINGSIDE_REPLAYER_GDB_DEBUGGER_H
#define RINGSIDE_REPLAYER_GDB_DEBUGGER_H

#include "replayer/gdb/target.h"
#include "replayer/timeline.h"

struct debugger;

struct debugger_options {
	uint64_t memory_checkpoints;     /* see timeline.h */
	bool (*interrupted)(void *self); /* asked while the VM runs; may be NULL */
	void *self;
};

/* The reader is borrowed. On error *out is NULL. */
int debugger_open(struct debugger **out, struct trace_reader *reader, const struct debugger_options *options,
                  struct vm_error *err);
void debugger_close(struct debugger *d);
const struct gdb_target *debugger_target(struct debugger *d);
/* The replay did something its trace does not say. */
bool debugger_diverged(const struct debugger *d);

#endif
