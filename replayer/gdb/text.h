/*
 * text.h - bytes that grow, up to a bound: replies, monitor output, what waits to be sent.
 *
 * What would pass the bound, or finds no memory, is dropped and `full` is set: nobody has to check each addition.
 */
#ifndef RINGSIDE_REPLAYER_GDB_TEXT_H
#define RINGSIDE_REPLAYER_GDB_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GDB_TEXT_MAX (1u << 20)

struct gdb_text {   /* zero-initialise */
	char *data; /* NUL-terminated once anything was added */
	size_t len, room;
	bool full;
};

void gdb_text_free(struct gdb_text *t);
void gdb_text_reset(struct gdb_text *t);
void gdb_text_add(struct gdb_text *t, const void *bytes, size_t len);
void gdb_text_put(struct gdb_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void gdb_text_hex(struct gdb_text *t, const void *bytes, size_t len);
/* The first `len` bytes are done with. */
void gdb_text_drop(struct gdb_text *t, size_t len);

#endif
