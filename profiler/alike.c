/*
 * alike.c - see alike.h.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/alike.h"
#include "profiler/stats.h"

int alike_add(struct alike *a, const double *medians)
{
	double *grown, *row, *sorted, middle;

	for (size_t i = 0; i < a->runs; i++)
		if (!(medians[i] > 0))
			return 0;
	/* a row more than there is, to sort in */
	grown = realloc(a->distance, (a->rows + 2) * a->runs * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	a->distance = grown;
	row = grown + a->rows++ * a->runs;
	sorted = row + a->runs;
	for (size_t i = 0; i < a->runs; i++)
		row[i] = sorted[i] = log(medians[i]);
	middle = stats_median(sorted, a->runs);
	for (size_t i = 0; i < a->runs; i++)
		row[i] -= middle;
	return 0;
}

/* The median over rows. */
static double common(const struct alike *a, size_t run, double *room)
{
	for (size_t r = 0; r < a->rows; r++)
		room[r] = a->distance[r * a->runs + run];
	return stats_median(room, a->rows);
}

int alike_factors(const struct alike *a, double *factor, size_t *used)
{
	double *room = malloc((a->rows + 1) * sizeof(*room));

	if (!room)
		return -ENOMEM;
	*used = a->rows < ALIKE_ROWS_MIN ? 0 : a->rows;
	for (size_t i = 0; i < a->runs; i++)
		factor[i] = *used ? exp(common(a, i, room)) : 1;
	free(room);
	return 0;
}

void alike_free(struct alike *a)
{
	free(a->distance);
	a->distance = NULL;
	a->rows = 0;
}
