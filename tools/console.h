/*
 * console.h - the guest's console on the host: where its bytes go, where its input comes from, and how a person ends a run.
 *
 * One thread of its own watches stdin and the signals SIGINT and SIGTERM, which are blocked everywhere else: a run ends between two guest
 * instructions, never in the middle of a commit. On a terminal the keyboard is raw while the guest runs (Ctrl-C is the guest's), Ctrl-A x ends
 * the run and Ctrl-A Ctrl-A sends one.
 */
#ifndef RINGSIDE_TOOLS_CONSOLE_H
#define RINGSIDE_TOOLS_CONSOLE_H

#include <stdbool.h>

#include "vmm/vm.h"

struct console;

/* where: "stdio", "none" or "file:NAME". live: a guest runs, so read stdin when `where` is stdio, and watch for the wish to end; otherwise this is
 * only a place for bytes. On error *out is NULL. */
int console_open(struct console **out, const char *where, bool live, struct vm_error *err);
/* Restores the terminal. NULL is fine. */
void console_close(struct console *c);
/* Guest bytes out. Serial port and debug port share the place. Whole lines are written at once, what is less is held until console_flush(). */
void console_write(struct console *c, const uint8_t *bytes, size_t len);
void console_flush(struct console *c);
/* What the guest may read, non-blocking; it reaches its end when stdin does. -1 when there is no input. */
int console_input_fd(const struct console *c);
/* A person asked to end the run. Any thread. */
bool console_interrupted(const struct console *c);
/* Readable from when a person asked to end the run; -1 when that is not watched for. */
int console_end_fd(const struct console *c);
/* The guest's bytes go to our stdout. */
bool console_on_stdout(const struct console *c);

#endif
