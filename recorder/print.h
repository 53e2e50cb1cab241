/*
 * print.h - one event, one line of text: for `ringside trace dump` and for the report of a divergence.
 */
#ifndef RINGSIDE_RECORDER_PRINT_H
#define RINGSIDE_RECORDER_PRINT_H

#include "vmm/event.h"
#include "vmm/vm.h"

#define EVENT_LINE_MAX 512
#define EVENT_LINE_BLOB_MAX 48 /* bytes of a blob that are shown */

/* The columns' names, aligned with event_line's output. */
#define EVENT_LINE_HEADING "     event         icount      rip v/r kind       instruction  operands"

/*
 * No newline. Returns the length, which is less than size (the line is cut to fit). Any event may be given, valid or
 * not: unknown kinds and instructions are shown as numbers. Blobs that are text are shown escaped in quotes, others
 * in hex.
 */
size_t event_line(char *buf, size_t size, uint64_t seq, const struct event *ev);

#endif
