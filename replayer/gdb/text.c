/*
 * text.c - see text.h.
 */
#include "replayer/gdb/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gdb_text_free(struct gdb_text *t)
{
	free(t->data);
	*t = (struct gdb_text){ 0 };
}

void gdb_text_reset(struct gdb_text *t)
{
	t->len = 0;
	t->full = false;
	if (t->data)
		t->data[0] = 0;
}

static bool make_room(struct gdb_text *t, size_t more)
{
	size_t room = t->room ? t->room : 256;
	char *data;

	if (more > GDB_TEXT_MAX || t->len + more > GDB_TEXT_MAX)
		t->full = true;
	if (t->full)
		return false;
	if (t->len + more + 1 <= t->room)
		return true;
	while (room < t->len + more + 1)
		room *= 2;
	data = realloc(t->data, room);
	if (!data) {
		t->full = true;
		return false;
	}
	t->data = data;
	t->room = room;
	return true;
}

void gdb_text_add(struct gdb_text *t, const void *bytes, size_t len)
{
	if (!make_room(t, len))
		return;
	memcpy(t->data + t->len, bytes, len);
	t->len += len;
	t->data[t->len] = 0;
}

void gdb_text_put(struct gdb_text *t, const char *fmt, ...)
{
	char line[1024];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (n > 0)
		gdb_text_add(t, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

void gdb_text_hex(struct gdb_text *t, const void *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = bytes;

	for (size_t i = 0; i < len; i++)
		gdb_text_add(t, (char[2]){ digits[p[i] >> 4], digits[p[i] & 15] }, 2);
}

void gdb_text_drop(struct gdb_text *t, size_t len)
{
	if (!len)
		return;
	memmove(t->data, t->data + len, t->len - len);
	t->len -= len;
	t->data[t->len] = 0;
}
