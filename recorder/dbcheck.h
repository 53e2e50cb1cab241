/*
 * dbcheck.h - is this file safe to hand to LMDB?
 *
 * LMDB trusts its file: a wrong page number or offset makes it read outside its map and crash. Traces come from
 * strangers, so every page that can be reached is checked here before LMDB sees the file. Called by db_open only.
 */
#ifndef RINGSIDE_RECORDER_DBCHECK_H
#define RINGSIDE_RECORDER_DBCHECK_H

#include "vmm/vm.h"

/* 0, or -EBADMSG with the reason. `map_size` gets how much address space the database needs. */
int dbcheck_image(const uint8_t *image, uint64_t size, uint64_t *map_size, struct vm_error *err);
/* The same for an open file of `size` bytes; also -errno when it cannot be mapped. */
int dbcheck_file(int fd, uint64_t size, uint64_t *map_size, struct vm_error *err);

/* True when the first page carries the database's magic number: enough to tell a database from anything else. */
bool dbcheck_looks_like(const uint8_t *head, size_t len);
#define DBCHECK_HEAD 32 /* bytes that takes */

#endif
