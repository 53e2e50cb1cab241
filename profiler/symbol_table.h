/*
 * symbol_table.h - a kernel's symbols on their way from where they are hidden (System.map, kallsyms in a kernel image) into an ELF file.
 *
 * All sources are untrusted: sizes and counts are bounded, names are cleaned of what no name contains.
 */
#ifndef RINGSIDE_PROFILER_SYMBOL_TABLE_H
#define RINGSIDE_PROFILER_SYMBOL_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/vm.h"

#define SYMBOL_TABLE_MAX 1000000u
#define SYMBOL_TEXT_MAX 500u

struct kernel_symbol {
	uint32_t addr;
	uint32_t name; /* offset into names */
	char type;     /* as nm has it: T, t, D, ... */
};

struct symbol_table { /* zero-initialise; symbol_table_free() */
	struct kernel_symbol *list;
	size_t count, room;
	char *names;
	size_t names_len, names_room;
};

void symbol_table_free(struct symbol_table *t);
/* -ENOMEM, or -EBADMSG when there are too many. Characters that are not visible become '?'. */
int symbol_table_add(struct symbol_table *t, uint32_t addr, char type, const char *name, size_t len);

/* Lines of "address type name", as System.map and /proc/kallsyms have them. -EBADMSG with a message. */
int symbol_table_read_map(struct symbol_table *t, const uint8_t *text, size_t len, struct vm_error *err);

/* The tables that CONFIG_KALLSYMS puts into a 32-bit kernel, found by their form in its uncompressed image. */
int symbol_table_read_kallsyms(struct symbol_table *t, const uint8_t *image, size_t len, struct vm_error *err);

/* The uncompressed kernel inside a bzImage; *out is to be freed. gzip, xz and zstd are understood. */
int kernel_image_unpack(const uint8_t *file, size_t len, uint8_t **out, size_t *out_len, struct vm_error *err);
bool kernel_image_is(const uint8_t *file, size_t len);

/* Write an ELF file for i386 that has these symbols, in sections made for them, and nothing else. `shift` is added to every address. */
int symbol_table_write_elf(struct symbol_table *t, const char *path, uint32_t shift, struct vm_error *err);

#endif
