/*
 * top.h - what a recording spends its time on, while it runs: a table on stderr, drawn anew twice a second on a terminal, appended every two seconds elsewhere.
 *
 * Counts and cycles are what the trace gets; the profile of the trace says the same later, and more.
 */
#ifndef RINGSIDE_TOOLS_TOP_H
#define RINGSIDE_TOOLS_TOP_H

#include <stdint.h>

#include "vmm/event.h"

struct top;

struct top *top_create(void);    /* NULL: out of memory */
void top_destroy(struct top *t); /* NULL is fine */
void top_event(struct top *t, const struct event *ev);
/* Of the event told last. */
void top_cost(struct top *t, const struct event_cost *cost);
/* Draw, if it is time to. */
void top_tick(struct top *t, uint64_t icount);
/* Draw, whatever the time. */
void top_draw(struct top *t, uint64_t icount);

#endif
