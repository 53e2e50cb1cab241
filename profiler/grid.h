/*
 * grid.h - what happened when: events by what they were and by part of the run, for pictures.
 *
 * Beside a profile in the same pass (feed.h): a profile keeps what an event was and when it was apart.
 */
#ifndef RINGSIDE_PROFILER_GRID_H
#define RINGSIDE_PROFILER_GRID_H

#include "vmm/event.h"
#include "vmm/vm.h"

#define GRID_PARTS 240 /* of the run, by icount */

enum grid_by {
	GRID_INSN, /* instruction and kind, all events */
	GRID_SITE, /* address, of what instructions did */
};

struct grid_row {
	uint64_t rip; /* GRID_INSN: 0 */
	uint16_t op;
	uint8_t kind;
	bool user; /* GRID_SITE: in ring 3 */
	uint64_t total;
	uint32_t count[GRID_PARTS];
};

struct grid;

/* icount: of the whole run. On error *out is NULL. Free with grid_destroy (NULL is fine). */
int grid_create(struct grid **out, enum grid_by by, uint64_t icount, struct vm_error *err);
void grid_destroy(struct grid *g);
/* 0 or -ENOMEM. What an event was beyond the 65536th site is counted in no row. */
int grid_add(struct grid *g, const struct event *ev);

/* At most `limit` rows, most events first; valid until the next grid_add. Returns how many. */
size_t grid_top(struct grid *g, const struct grid_row **out, size_t limit);
/* All events of a part. */
const uint64_t *grid_sums(const struct grid *g);
/* Instructions to the end of the part. */
double grid_part_end(const struct grid *g, size_t part);

#endif
