/*
 * compare_internal.h - what compare.c (may they be compared, the verdict) and compare_rows.c (rows and their figures) share. Nobody else includes it.
 */
#ifndef RINGSIDE_PROFILER_COMPARE_INTERNAL_H
#define RINGSIDE_PROFILER_COMPARE_INTERNAL_H

#include "profiler/compare.h"

/* What each recording's costs have in common; before compare_by. -ENOMEM. */
int compare_alike(struct compare *c, struct vm_error *err);
/* The rows of one grouping, with everything but the corrected p; cost is a candidate. -ENOMEM. */
int compare_by(struct compare *c, enum profile_by by, struct vm_error *err);
/* A row more at the end, nothing in it. -ENOMEM. */
int compare_row_add(struct compare *c, struct compare_row **out);

#endif
