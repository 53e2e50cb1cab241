/*
 * event_text.h - one event on one line, for people and as JSON: what `trace dump` prints and a divergence report quotes.
 */
#ifndef RINGSIDE_TOOLS_EVENT_TEXT_H
#define RINGSIDE_TOOLS_EVENT_TEXT_H

#include <stdio.h>

#include "profiler/symbols.h"
#include "vmm/event.h"

/* symbols and cost may be NULL. */
void event_text(FILE *out, uint64_t seq, const struct event *ev, const struct event_cost *cost,
                const struct symbols *symbols);
void event_json(FILE *out, uint64_t seq, const struct event *ev, const struct event_cost *cost,
                const struct symbols *symbols);

#endif
