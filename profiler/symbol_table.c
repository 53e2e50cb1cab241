/*
 * symbol_table.c - see symbol_table.h: the table itself, and System.map.
 */
#include "profiler/symbol_table.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void symbol_table_free(struct symbol_table *t)
{
	free(t->list);
	free(t->names);
	*t = (struct symbol_table){ 0 };
}

static bool grow(void **array, size_t *room, size_t need, size_t size)
{
	size_t more = *room ? *room : 4096;
	void *bigger;

	if (need <= *room)
		return true;
	while (more < need)
		more *= 2;
	bigger = realloc(*array, more * size);
	if (!bigger)
		return false;
	*array = bigger;
	*room = more;
	return true;
}

int symbol_table_add(struct symbol_table *t, uint32_t addr, char type, const char *name, size_t len)
{
	void *list = t->list, *names = t->names;
	bool ok;

	if (t->count == SYMBOL_TABLE_MAX)
		return -EBADMSG;
	len = len < SYMBOL_TEXT_MAX ? len : SYMBOL_TEXT_MAX;
	ok = grow(&list, &t->room, t->count + 1, sizeof(*t->list));
	t->list = list;
	ok = ok && grow(&names, &t->names_room, t->names_len + len + 1, 1);
	t->names = names;
	if (!ok)
		return -ENOMEM;
	t->list[t->count++] = (struct kernel_symbol){ .addr = addr, .name = (uint32_t)t->names_len, .type = type };
	for (size_t i = 0; i < len; i++)
		t->names[t->names_len++] = isgraph((unsigned char)name[i]) ? name[i] : '?';
	t->names[t->names_len++] = 0;
	return 0;
}

/* "c0100000 T _stext", in /proc/kallsyms with a module in brackets behind it. False when it is not that. */
static bool map_line(const char *line, uint64_t *addr, char *type, const char **name, size_t *len)
{
	char *end;

	errno = 0;
	*addr = strtoull(line, &end, 16);
	if (errno || end == line || *end != ' ' || !isalpha((unsigned char)end[1]) || end[2] != ' ' ||
	    !isgraph((unsigned char)end[3]))
		return false;
	*type = end[1];
	*name = end + 3;
	*len = strcspn(end + 3, " \t\r");
	return true;
}

int symbol_table_read_map(struct symbol_table *t, const uint8_t *text, size_t len, struct vm_error *err)
{
	size_t number = 1;

	for (size_t at = 0; at < len; number++) {
		const uint8_t *end = memchr(text + at, '\n', len - at);
		size_t n = end ? (size_t)(end - (text + at)) : len - at, name_len;
		char line[1024], type;
		const char *name;
		uint64_t addr;
		int rc;

		if (n >= sizeof(line))
			return vm_fail(err, -EBADMSG, "line %zu: too long for a System.map", number);
		memcpy(line, text + at, n);
		line[n] = 0;
		at += n + 1;
		if (!map_line(line, &addr, &type, &name, &name_len))
			return vm_fail(err, -EBADMSG, "line %zu: not \"address type name\"", number);
		if (addr > UINT32_MAX)
			continue;
		rc = symbol_table_add(t, (uint32_t)addr, type, name, name_len);
		if (rc)
			return vm_fail(err, rc, rc == -ENOMEM ? "out of memory" : "more than %u symbols",
			               SYMBOL_TABLE_MAX);
	}
	if (!t->count)
		return vm_fail(err, -EBADMSG,
		               "no symbols of a 32-bit kernel; Debian's own System.map is only a note where the real "
		               "one is: give the "
		               "kernel image instead");
	return 0;
}
