/*
 * perf.h - the host's own counters over a run (perf_event_open), of this thread: the vCPU's.
 *
 * Each line says where its figure comes from: a hardware counter, the kernel's software counter, getrusage, or that it is not to be had and why.
 */
#ifndef RINGSIDE_TOOLS_PERF_H
#define RINGSIDE_TOOLS_PERF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define PERF_COUNTERS 7

struct perf_counter {
	const char *name;   /* "cycles" */
	const char *source; /* "hardware", "software", "getrusage"; NULL: not available */
	char why[96];       /* when it is not available */
	uint64_t value;
	int fd;
};

struct perf {
	struct perf_counter counters[PERF_COUNTERS];
	bool user_only; /* the kernel's own share is not counted (perf_event_paranoid) */
};

void perf_start(struct perf *p);
/* Read and close. */
void perf_stop(struct perf *p);
void perf_print(FILE *out, const struct perf *p);

#endif
