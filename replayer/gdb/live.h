/*
 * live.h - a running guest as something to debug: the stub's target on top of a VM that is being recorded, or just run.
 *
 * Forward only. Breakpoints and watchpoints leave no trace in the guest. What the debugger writes is outside input: an event of the recording
 * (EV_CHANGE), so that the recording replays with it. Of the `monitor` commands those answer that need no past.
 *
 * Called by tools/cmd_debug.c.
 */
#ifndef RINGSIDE_REPLAYER_GDB_LIVE_H
#define RINGSIDE_REPLAYER_GDB_LIVE_H

#include "replayer/gdb/target.h"

struct live;

struct live_options {
	bool (*interrupted)(void *self); /* asked every few ms while the guest runs; may be NULL */
	void (*pause)(void *self);       /* the guest has just stopped running; may be NULL */
	void *self;
};

/* The VM is borrowed, loaded and plugged; nobody else runs it until live_close(). On error *out is NULL. */
int live_open(struct live **out, struct vm *vm, const struct live_options *options, struct vm_error *err);
void live_close(struct live *l);
const struct gdb_target *live_target(struct live *l);

#endif
