/*
 * plot.h - what a trace says, as pictures (gnuplot.h says where they go and what stays beside them).
 *
 * All return -EINVAL for a name that is no picture's or where there is nothing to draw, -ENOENT when gnuplot is not installed, -EIO when it failed.
 */
#ifndef RINGSIDE_PROFILER_PLOT_H
#define RINGSIDE_PROFILER_PLOT_H

#include "profiler/compare.h"
#include "profiler/grid.h"
#include "profiler/report.h"

enum plot_kind {
	PLOT_COST,   /* a table's rows: share of the time, and how the costs of each are spread */
	PLOT_SPREAD, /* the distribution of each row's costs */
	PLOT_TIME,   /* events over the run by instruction, with the markers */
	PLOT_HEAT,   /* sites over the run */
	PLOT_KINDS
};
/* "time=FILE" -> kind and FILE; a FILE alone is PLOT_COST. False for what is neither. */
bool plot_parse(const char *word, enum plot_kind *kind, const char **path);
extern const char plot_kind_names[];

/* table: one of the report's; for PLOT_SPREAD the first. */
int plot(const char *path, enum plot_kind kind, const struct report *r, const struct profile_table *table,
         struct vm_error *err);

/* A figure over runs: a point each, in order, with what it is called; step: index of the first value of a new level, 0 none. Borrowed. */
struct plot_series {
	const char *title;
	const double *values;
	const char *const *labels;
	size_t count, step;
};
int plot_series(const char *path, const struct plot_series *series, struct vm_error *err);

/* How the medians changed, row by row. */
int plot_compare(const char *path, const struct compare *c, struct vm_error *err);

#endif
