/*
 * tool.h - what the subcommands share: exit statuses, errors, numbers on the command line, progress.
 *
 * tools/ parses and prints, nothing else. Results go to stdout; errors go to stderr as `ringside: what: why`.
 */
#ifndef RINGSIDE_TOOLS_TOOL_H
#define RINGSIDE_TOOLS_TOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/vm.h"

#define RINGSIDE_VERSION "0.1.0"

enum tool_status {
	TOOL_OK = 0,
	TOOL_GUEST_FAILED = 1,
	TOOL_USAGE = 2,
	TOOL_BAD_INPUT = 3, /* guest, trace, file */
	TOOL_DIVERGED = 4,
	TOOL_HOST = 5,
	TOOL_INTERRUPTED = 130 /* by SIGINT, as a shell says it */
};

/* Prints `ringside: ...` and returns status. */
int tool_error(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints err and returns the status that a negative errno means: 5 where the host failed, 3 where the input is to blame. */
int tool_fail(int code, const struct vm_error *err);

/* "64M", "0x1000", "2G": K, M, G are powers of 1024. False when it is no number or does not fit. */
bool tool_parse_size(const char *text, uint64_t *out);
/* "100000000", "100M", "2G": here K, M, G are powers of 1000, because instructions are counted, not bytes. */
bool tool_parse_count(const char *text, uint64_t *out);

struct trace_reader;
/* A trace that is to be run again. Where that may not go well, being on another maker's processor, stderr says so. */
int tool_open_replay(struct trace_reader **out, const char *path, struct vm_error *err);

/* What a stopped guest means for our exit status. */
int tool_stop_status(const struct vm_stop *stop);

/* A line that is rewritten on stderr, on a terminal only. Otherwise all of it does nothing. */
struct progress {
	const char *what;
	bool on;
	uint64_t next_ns;
};
void progress_begin(struct progress *p, const char *what);
void progress_show(void *self, double done); /* self is a struct progress */
/* Is it time to? Then `text` is the line. */
bool progress_due(const struct progress *p);
void progress_text(struct progress *p, const char *text);
void progress_end(struct progress *p);

uint64_t host_now_ns(void);
uint64_t host_cpu_ns(void); /* processor time of this thread */
/* Both clocks at one moment. */
struct host_moment {
	uint64_t cycles, ns;
};
struct host_moment host_moment(void);
/* Rate of the cycle counter, measured from `since` to now: at least 5 ms, which it waits for; 0 when there is none. */
uint64_t host_tsc_hz(const struct host_moment *since);
void host_cpu_name(char *out, size_t size);

#endif
