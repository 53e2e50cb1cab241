/*
 * profile_internal.h - what profile.c (aggregation) and group.c (tables) share. Nobody else includes it.
 */
#ifndef RINGSIDE_PROFILER_PROFILE_INTERNAL_H
#define RINGSIDE_PROFILER_PROFILE_INTERNAL_H

#include "profiler/profile.h"

/* What a profile's facet tells events apart by. Compared and hashed as bytes: there is no padding, what a facet does not use is 0. */
struct cell_key {
	uint64_t rip; /* FACET_PART: bucket */
	uint64_t other; /* FACET_SITE: operand; FACET_CHAIN: address of the event before; FACET_PART: process; FACET_CALLER: node */
	uint64_t head;   /* FACET_CHAIN: address at which the chain began; FACET_PART: segment */
	uint32_t detail; /* port, page of MMIO, vector; 0 for other kinds */
	uint16_t op, other_op, head_op;
	uint8_t kind, other_kind, head_kind;
	uint8_t flags; /* CELL_* */
	uint8_t unused[2];
};
_Static_assert(sizeof(struct cell_key) == 40, "no padding");

/* All events with the same key. */
struct cell {
	struct cell_key key;
	uint64_t count;          /* events */
	uint64_t phases[PH_MAX]; /* sums */
	uint64_t again[AGAIN_MAX];
	uint32_t next; /* the cell of the event after the last of these: mostly that of the next one too */
};
enum {
	CELL_WRITE = 1 << 0,
	CELL_USER = 1 << 1,
	CELL_SOFT = 1 << 2,
	CELL_FOLLOWS = 1 << 3, /* FACET_CHAIN: not the first */
	CELL_SECOND = 1 << 4,  /* FACET_CHAIN: the second, so that chains can be counted */
};

struct sample {
	uint32_t cell;
	uint32_t cost;
};

struct profile {
	struct cell *cells;
	size_t cell_count, cell_room;
	uint32_t last;     /* the present event's */
	uint32_t *slots;   /* open-addressing index of cells: cell + 1, 0 = free */
	size_t slot_count; /* a power of two */
	struct sample *samples;
	size_t sample_count, sample_room;
	enum profile_facet facet;
	const char *(*bucket_name)(void *self, uint32_t n), *(*segment_name)(void *self, uint32_t n);
	void *names_self;
	const struct samples *callers;
	profile_code_fn *code;
	void *code_self;
	bool sorted; /* samples are in ascending order of cost */
	bool costs_ok;
	uint64_t kinds[EV_KIND_MAX];
	uint64_t between[PH_OWN]; /* sums of the phases that are no event's own */
	uint64_t again;           /* events that were measured again */
};

/* Bring samples into ascending order of cost (once). */
int profile_sort_samples(struct profile *p);

#endif
