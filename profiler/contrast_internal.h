/*
 * contrast_internal.h - figures that contrast.c makes and contrast_report.c shows. Nobody else includes it.
 */
#ifndef RINGSIDE_PROFILER_CONTRAST_INTERNAL_H
#define RINGSIDE_PROFILER_CONTRAST_INTERNAL_H

#include "profiler/contrast.h"

/* By way; of one round. */
double contrast_ms(const struct contrast *c, unsigned w); /* of processor time, the median */
double contrast_phase_ms(const struct contrast *c, unsigned w, enum event_phase phase);
uint64_t contrast_reflects(const struct contrast *c, unsigned w);

#endif
