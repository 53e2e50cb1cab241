/*
 * alike.h - what all rows of a recording have in common: how dear it is as a whole, beside the others.
 *
 * A recording as a whole is dearer or cheaper than the next: its host's processor is shared, clocked up and down, has warm or cold caches. On a host of a
 * cloud the same build's recordings differed by up to 80 %, nearly all of it common to all rows. So a recording's factor is the median, over rows, of how far
 * its median of the row is from the row's middling recording. Divided by it, costs tell one handler from the others ten times as sharply.
 */
#ifndef RINGSIDE_PROFILER_ALIKE_H
#define RINGSIDE_PROFILER_ALIKE_H

#include <stddef.h>

#define ALIKE_ROWS_MIN 5 /* of fewer rows one that changed is a large part of what they have in common */

/* Set runs, the rest 0; give to alike_free. */
struct alike {
	size_t runs, rows;
	double *distance; /* rows times runs: logarithms */
};

/* One row's median in each of the runs, in any unit. Left out if one is not above 0. -ENOMEM. */
int alike_add(struct alike *a, const double *medians);
/* Of each run. All are 1, and *used 0, where there were fewer than ALIKE_ROWS_MIN rows. -ENOMEM. */
int alike_factors(const struct alike *a, double *factor, size_t *used);
void alike_free(struct alike *a);

#endif
