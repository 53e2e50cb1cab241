/*
 * plot_internal.h - what the files that draw pictures share. Nobody else includes it.
 */
#ifndef RINGSIDE_PROFILER_PLOT_INTERNAL_H
#define RINGSIDE_PROFILER_PLOT_INTERNAL_H

#include "profiler/plot.h"

#define PLOT_WIDTH 1200

int plot_time(const char *path, const struct report *r, struct vm_error *err);
int plot_heat(const char *path, const struct report *r, struct vm_error *err);

/* "boot.trace: what" */
void plot_title(const struct report *r, const char *what, char *out, size_t size);
/* A row's id columns that say something. */
void plot_row_label(const struct profile_table *t, const struct profile_row *row, char *out, size_t size);

#endif
