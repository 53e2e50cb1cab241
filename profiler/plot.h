/*
 * plot.h - a table as a picture, drawn by gnuplot.
 */
#ifndef RINGSIDE_PROFILER_PLOT_H
#define RINGSIDE_PROFILER_PLOT_H

#include "profiler/report.h"

/* Writes PATH (its ending, .png or .svg, chooses the format), and beside it PATH.dat and PATH.gp, from which gnuplot makes it again.
 * -EINVAL for another ending or an empty table, -ENOENT when gnuplot is not installed, -EIO when it failed. */
int plot_table(const char *path, const struct report *r, const struct profile_table *t, struct vm_error *err);

/* A figure over runs: a point each, in order, with what it is called; step: index of the first value of a new level, 0 none. Borrowed. */
struct plot_series {
	const char *title;
	const double *values;
	const char *const *labels;
	size_t count, step;
};
/* As above. */
int plot_series(const char *path, const struct plot_series *series, struct vm_error *err);

#endif
