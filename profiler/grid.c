/*
 * grid.c - see grid.h. Rows in a hash table; a part is a column.
 */
#include "profiler/grid.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/profile.h"

#define ROWS_MAX 65536u
#define SLOTS (2u * ROWS_MAX)

struct grid {
	enum grid_by by;
	uint64_t icount;
	uint64_t sums[GRID_PARTS];
	struct grid_row **rows; /* apart from each other: they are looked at by order of size in the end */
	size_t count, room;
	uint32_t slots[SLOTS]; /* row + 1 */
};

int grid_create(struct grid **out, enum grid_by by, uint64_t icount, struct vm_error *err)
{
	struct grid *g = calloc(1, sizeof(*g));

	*out = g;
	if (!g)
		return vm_fail(err, -ENOMEM, "profile: out of memory");
	g->by = by;
	g->icount = icount;
	return 0;
}

void grid_destroy(struct grid *g)
{
	for (size_t i = 0; g && i < g->count; i++)
		free(g->rows[i]);
	if (g)
		free(g->rows);
	free(g);
}

static uint32_t *find_slot(struct grid *g, const struct grid_row *key)
{
	uint64_t h = (key->rip ^ (uint64_t)key->op << 40 ^ (uint64_t)key->kind << 56 ^ (uint64_t)key->user << 39) *
	             0x9e3779b97f4a7c15ull;
	uint32_t at = (uint32_t)(h >> 32) % SLOTS;

	for (; g->slots[at]; at = (at + 1) % SLOTS) {
		const struct grid_row *row = g->rows[g->slots[at] - 1];

		if (row->rip == key->rip && row->op == key->op && row->kind == key->kind && row->user == key->user)
			break;
	}
	return &g->slots[at];
}

/* 0, or -ENOMEM; *out NULL: there are too many. */
static int find_row(struct grid *g, const struct grid_row *key, struct grid_row **out)
{
	uint32_t *slot = find_slot(g, key);

	*out = *slot ? g->rows[*slot - 1] : NULL;
	if (*out || g->count == ROWS_MAX)
		return 0;
	if (g->count == g->room) {
		size_t room = g->room ? 2 * g->room : 64;
		struct grid_row **rows = realloc(g->rows, room * sizeof(struct grid_row *));

		if (!rows)
			return -ENOMEM;
		g->rows = rows;
		g->room = room;
	}
	*out = malloc(sizeof(**out));
	if (!*out)
		return -ENOMEM;
	**out = *key;
	g->rows[g->count++] = *out;
	*slot = (uint32_t)g->count;
	return 0;
}

int grid_add(struct grid *g, const struct event *ev)
{
	struct grid_row key = { .op = ev->op, .kind = ev->kind }, *row;
	size_t part = (size_t)((unsigned __int128)ev->icount * GRID_PARTS / ((unsigned __int128)g->icount + 1));
	int rc;

	if (part >= GRID_PARTS)
		part = GRID_PARTS - 1; /* icounts are a trace's */
	if (g->by == GRID_SITE) {
		if (!profile_synchronous(ev))
			return 0;
		key.rip = ev->rip;
		key.user = ev->vcpl == 3;
	}
	rc = find_row(g, &key, &row);
	if (rc)
		return rc;
	g->sums[part]++;
	if (row) {
		row->count[part]++;
		row->total++;
	}
	return 0;
}

static int compare_rows(const void *a, const void *b)
{
	const struct grid_row *x = *(struct grid_row *const *)a, *y = *(struct grid_row *const *)b;

	if (x->total != y->total)
		return x->total < y->total ? 1 : -1;
	return x->rip != y->rip ? (x->rip > y->rip) - (x->rip < y->rip) : (int)x->op - (int)y->op;
}

size_t grid_top(struct grid *g, const struct grid_row **out, size_t limit)
{
	struct grid_row **sorted = malloc((g->count + 1) * sizeof(struct grid_row *));
	size_t n = sorted ? g->count : 0;

	if (n)
		memcpy(sorted, g->rows, n * sizeof(struct grid_row *));
	if (n)
		qsort(sorted, n, sizeof(struct grid_row *), compare_rows);
	if (n > limit)
		n = limit;
	for (size_t i = 0; i < n; i++)
		out[i] = sorted[i];
	free(sorted);
	return n;
}

const uint64_t *grid_sums(const struct grid *g)
{
	return g->sums;
}

double grid_part_end(const struct grid *g, size_t part)
{
	return (double)(g->icount + 1) * (double)(part + 1) / GRID_PARTS;
}
