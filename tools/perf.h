/*
 * perf.h - the host's own counters over a run (perf_event_open), of this thread: the vCPU's, apart for each layer that it is in.
 *
 * Each counter says where its figure comes from: a hardware unit (read in user space where the kernel allows it), the kernel's software counter,
 * getrusage, or that it is not to be had and why. Hardware and software counters are a group each: what is in a group is read at one moment.
 * Reading at every change of layer costs; how often it was done and what one takes is told with the figures.
 */
#ifndef RINGSIDE_TOOLS_PERF_H
#define RINGSIDE_TOOLS_PERF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define PERF_COUNTERS 7

enum perf_layer {
	PERF_GUEST,  /* the engine: guest instructions, and what it does for them */
	PERF_VMM,    /* classify, emulate, reflect */
	PERF_DEVICE, /* device models */
	PERF_LOG,    /* the observer: appending to the trace */
	PERF_LAYERS
};
extern const char *const perf_layer_names[PERF_LAYERS];

struct perf_event_mmap_page;

struct perf_counter {
	const char *name;   /* "cycles" */
	const char *source; /* "hardware", "software", "getrusage"; NULL: not available */
	char why[96];       /* when it is not available */
	uint64_t value;     /* over all layers */
	uint64_t layer[PERF_LAYERS];
	/* while it runs */
	int fd;
	bool user_read; /* by RDPMC, without a system call */
	uint64_t last;
	struct perf_event_mmap_page *page;
};

struct perf {
	struct perf_counter counters[PERF_COUNTERS];
	bool user_only; /* the kernel's own share is not counted (perf_event_paranoid) */
	enum perf_layer now;
	uint64_t reads;   /* changes of layer */
	uint64_t read_ns; /* what one took, on average */
};

/* A counter of this thread: type and config as of perf_event_open(2), group -1 or the leader's descriptor, flags PERF_OPEN_*. A descriptor or -1 with errno. */
enum {
	PERF_OPEN_USER = 1 << 0,  /* without the kernel's own share */
	PERF_OPEN_GROUP = 1 << 1, /* reads give the whole group */
};
int perf_open(uint32_t type, uint64_t config, int group, unsigned flags);

/* The first layer is PERF_VMM. */
void perf_start(struct perf *p);
/* From here on it is this layer's; returns the one before. */
enum perf_layer perf_enter(struct perf *p, enum perf_layer layer);
/* Read and close. */
void perf_stop(struct perf *p);
void perf_print(FILE *out, const struct perf *p);

#endif
