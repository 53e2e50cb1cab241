/*
 * plot.h - a table as a picture, drawn by gnuplot.
 */
#ifndef RINGSIDE_PROFILER_PLOT_H
#define RINGSIDE_PROFILER_PLOT_H

#include "profiler/report.h"

/* Writes PATH (its ending, .png or .svg, chooses the format), and beside it PATH.dat and PATH.gp, from which gnuplot makes it again.
 * -EINVAL for another ending or an empty table, -ENOENT when gnuplot is not installed, -EIO when it failed. */
int plot_table(const char *path, const struct report *r, const struct profile_table *t, struct vm_error *err);

#endif
