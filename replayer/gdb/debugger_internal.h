/*
 * debugger_internal.h - struct debugger, for the files that make it up: debugger.c, live.c, monitor*.c.
 */
#ifndef RINGSIDE_REPLAYER_GDB_DEBUGGER_INTERNAL_H
#define RINGSIDE_REPLAYER_GDB_DEBUGGER_INTERNAL_H

#include "replayer/gdb/debugger.h"
#include "vmm/cpu/vcpu.h"

#define BOOKMARKS_MAX 256
#define BOOKMARK_NAME 48

struct bookmark {
	char name[BOOKMARK_NAME];
	struct vm_moment at;
};

/* Where breakpoints and watchpoints count. */
struct space {
	bool any;
	uint32_t cr3; /* otherwise only while CR3 is this */
};

/* Where the guest stands, as far as a handler that returns there goes. */
struct context {
	struct vm_moment at;
	uint64_t event; /* the next one */
	uint32_t eip, esp, cs_base, cr3;
	uint16_t cs;
	uint8_t cpl;
};

#define SPACES_MAX GDB_POINTS_MAX
struct debugger {
	struct debugger_options options;
	struct gdb_target target;
	struct vm *vm; /* at the present moment */
	/* NULL both: a live guest, which has no past */
	struct trace_reader *reader;
	struct timeline *timeline;
	struct space space; /* of all points but these */
	struct {
		uint32_t lin;
		struct space space;
	} own_space[SPACES_MAX];
	unsigned own_spaces;
	bool over_handlers; /* steps go over the handlers of interrupts and exceptions, not into them */
	struct bookmark bookmark[BOOKMARKS_MAX];
	unsigned bookmarks;
};

struct vcpu *debugger_vcpu(struct debugger *d);
/* The address space that the user chose for a point. */
struct space debugger_space(const struct debugger *d, uint32_t lin);
/* A point in it. */
struct timeline_watch debugger_watch(const struct debugger *d, enum watch_kind kind, uint32_t lin, uint32_t len);
/* Does the user want to stop waiting? To be asked every LISTEN_EVENTS events. */
bool debugger_interrupted(struct debugger *d);
#define LISTEN_EVENTS 65536
/* Reads guest memory as far as it is mapped; returns how much. */
size_t debugger_read(struct debugger *d, uint64_t lin, void *out, size_t len);

/* After a step from `from` that may have led into a handler: on to where it returns to, or to a point that is met before. There is room for one more. */
int handlers_over(struct debugger *d, const struct context *from, struct timeline_watch *watch, unsigned n,
                  struct timeline_stop *stop, struct vm_error *err);
/* After a step back from `from` that may have led to the end of a handler: on to the moment before it, or to a point that is met before. */
int handlers_over_back(struct debugger *d, const struct context *from, const struct timeline_watch *watch, unsigned n,
                       struct timeline_stop *stop, struct vm_error *err);
struct context debugger_context(struct debugger *d);

/* ---- monitor commands: monitor.c dispatches, the others implement --------------------------------------------- */

#define ARGS_MAX 8
struct monitor_call {
	struct debugger *d;
	struct gdb_text *out;
	int argc;
	const char *argv[ARGS_MAX]; /* [0] is the command */
};

typedef void monitor_fn(struct monitor_call *m);
monitor_fn monitor_last_write, monitor_last_exec, monitor_first_value, monitor_became; /* monitor_find.c */
monitor_fn monitor_pagewalk, monitor_gdt, monitor_idt, monitor_ldt, monitor_xp;        /* monitor_machine.c */
monitor_fn monitor_why_interrupt, monitor_pic;                                         /* monitor_irq.c */

/* Decimal or 0x hexadecimal, the whole word. Tells the mistake and returns false otherwise. */
bool monitor_number(struct monitor_call *m, const char *what, const char *word, uint64_t max, uint64_t *out);
/* An address: hexadecimal with or without 0x, or a register by $name. */
bool monitor_address(struct monitor_call *m, const char *word, uint32_t *out);
/* "icount N, event M of K, ..." */
void monitor_tell_place(struct monitor_call *m);
/* Go back to where a question was asked. */
void monitor_return(struct monitor_call *m, struct vm_moment origin);

#endif
