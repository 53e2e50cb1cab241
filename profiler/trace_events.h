/*
 * trace_events.h - events on a time line, in the trace-event JSON that Perfetto (ui.perfetto.dev) and chrome://tracing open: each event a slice on
 * the host's time, with what it was about and its phases; markers as instants.
 */
#ifndef RINGSIDE_PROFILER_TRACE_EVENTS_H
#define RINGSIDE_PROFILER_TRACE_EVENTS_H

#include <stdio.h>

#include "profiler/feed.h"

struct trace_events {
	FILE *out;
	const struct trace_meta *meta;
	const struct symbols *symbols; /* may be NULL */
	uint64_t limit;                /* slices; 0 = all */
	uint64_t written, left_out;
};

void trace_events_begin(struct trace_events *t);
int trace_events_add(void *self, const struct event *ev, const struct event_cost *cost, const struct profile_context *x);
/* 0, or -EIO: the output could not be written. */
int trace_events_end(struct trace_events *t);

#endif
