/*
 * profile_internal.h - what profile.c (aggregation) and group.c (tables) share. Nobody else includes it.
 */
#ifndef RINGSIDE_PROFILER_PROFILE_INTERNAL_H
#define RINGSIDE_PROFILER_PROFILE_INTERNAL_H

#include "profiler/profile.h"

/* All events with the same key. */
struct cell {
	uint64_t rip;
	uint64_t other; /* by facet: operand, process, address of the site before or of the chain's first, bucket, segment */
	uint32_t detail; /* port, page of MMIO, vector; 0 for other kinds */
	uint16_t op, other_op;
	uint8_t kind, other_kind;
	uint8_t flags;           /* CELL_* */
	uint64_t count;          /* events */
	uint64_t phases[PH_MAX]; /* sums */
};
enum {
	CELL_WRITE = 1 << 0,
	CELL_USER = 1 << 1,
	CELL_SOFT = 1 << 2,
	CELL_FOLLOWS = 1 << 3, /* pair, cluster: not the first */
	CELL_SECOND = 1 << 4,  /* cluster: the second, so that clusters can be counted */
};

struct sample {
	uint32_t cell;
	uint32_t cost;
};

struct profile {
	struct cell *cells;
	size_t cell_count, cell_room;
	uint32_t *slots;   /* open-addressing index of cells: cell + 1, 0 = free */
	size_t slot_count; /* a power of two */
	struct sample *samples;
	size_t sample_count, sample_room;
	enum profile_facet facet;
	const char *(*part_name)(void *self, uint32_t n);
	void *part_self;
	bool sorted; /* samples are in ascending order of cost */
	struct profile_totals totals;
};

/* Bring samples into ascending order of cost (once). */
int profile_sort_samples(struct profile *p);

#endif
