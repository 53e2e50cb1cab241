/*
 * lines.h - console bytes to lines that match a regular expression: how a guest's own words become markers.
 */
#ifndef RINGSIDE_PROFILER_LINES_H
#define RINGSIDE_PROFILER_LINES_H

#include <stdint.h>

#include "vmm/vm.h"

#define LINE_MAX_KEPT 200 /* of a longer line the beginning counts */

struct lines;

/* pattern: POSIX extended; -EINVAL with the reason when it is none. Free with lines_close (NULL is fine). */
int lines_open(struct lines **out, const char *pattern, struct vm_error *err);
void lines_close(struct lines *l);
/* The line that this byte ends, without its end and without what cannot be printed, when it matches; NULL otherwise. Valid until the next call. */
const char *lines_put(struct lines *l, uint8_t byte);
bool lines_match(const struct lines *l, const char *text);

#endif
