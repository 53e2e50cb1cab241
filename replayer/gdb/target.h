/*
 * target.h - what the stub debugs: a VM, and the ways it can be moved. A trace (debugger.c) is one, a live guest (live.c) another; tests have their own.
 *
 * Registers and memory are read from the VM as it stands; only `resume` moves it, only the `write` functions change it.
 */
#ifndef RINGSIDE_REPLAYER_GDB_TARGET_H
#define RINGSIDE_REPLAYER_GDB_TARGET_H

#include "replayer/gdb/text.h"
#include "vmm/vm.h"

#define GDB_POINTS_MAX 64

enum gdb_motion { GDB_STEP, GDB_CONTINUE, GDB_BACK_STEP, GDB_BACK_CONTINUE };
enum gdb_point_kind { GDB_SW_BREAK, GDB_HW_BREAK, GDB_WATCH_WRITE, GDB_WATCH_READ, GDB_WATCH_ACCESS, GDB_POINT_KINDS };

struct gdb_point { /* linear addresses */
	enum gdb_point_kind kind;
	uint32_t lin;
	uint32_t len; /* 1..4096; breakpoints: 1 */
};

enum gdb_stop_why {
	GDB_STOP_STEPPED,
	GDB_STOP_POINT,
	GDB_STOP_BEGIN,
	GDB_STOP_END,
	GDB_STOP_INTERRUPTED,
	GDB_STOP_FAILED,
	GDB_STOP_EXITED /* there is nothing left to debug */
};
struct gdb_stop {
	enum gdb_stop_why why;
	unsigned point;    /* GDB_STOP_POINT: index */
	uint32_t lin;      /* and the address that was touched */
	uint8_t code;      /* GDB_STOP_EXITED */
	char message[512]; /* for a person; empty: nothing to say */
};

struct gdb_target {
	void *self;
	bool reversible;
	const char *refusal; /* why nothing can be written; NULL: it can */
	/* Without a refusal: whole, or not at all with a message. */
	int (*write_memory)(void *self, uint32_t lin, const uint8_t *bytes, size_t len, struct vm_error *err);
	int (*write_register)(void *self, unsigned number, const uint8_t *value, size_t len, struct vm_error *err);
	struct vm *(*vm)(void *self);
	/* Cannot fail otherwise than by GDB_STOP_FAILED. Breakpoints at the present position are passed over. */
	void (*resume)(void *self, enum gdb_motion motion, const struct gdb_point *points, unsigned count,
	               struct gdb_stop *stop);
	/* Does the client want to stop? Asked between steps that follow each other without it. May be NULL. */
	bool (*interrupted)(void *self);
	/* A `monitor` command line; what it has to say goes to `out`. */
	void (*monitor)(void *self, const char *line, struct gdb_text *out);
};

#endif
