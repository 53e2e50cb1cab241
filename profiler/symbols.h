/*
 * symbols.h - guest addresses to names, from an ELF file's symbol table or a System.map. Recognised by content.
 *
 * Both are untrusted: what does not parse is an error that names the file, names are cleaned of control characters.
 */
#ifndef RINGSIDE_PROFILER_SYMBOLS_H
#define RINGSIDE_PROFILER_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/vm.h"

struct symbols;

/* On error *out is NULL: -ENOENT and the like, -EBADMSG for a file that is neither or has no symbols. Free with symbols_close. */
int symbols_open(struct symbols **out, const char *path, struct vm_error *err);
void symbols_close(struct symbols *s);
size_t symbols_count(const struct symbols *s);

/* The symbol that starts at or nearest before addr: its index, or -1 when there is none or it is more than 1 MiB away.
 * *offset is the distance. */
long symbols_find(const struct symbols *s, uint64_t addr, uint64_t *offset);
/* Borrowed; valid for an index that symbols_find gave. */
const char *symbols_name(const struct symbols *s, long index);

#endif
