/*
 * codebuf.h - memory for generated code, mapped twice: once to write, once to execute, never both through one mapping.
 *
 * The executable view lies below 2 GiB, so that code addresses have 32 bits. Called by xlate.c.
 */
#ifndef RINGSIDE_VMM_ENGINE_CODEBUF_H
#define RINGSIDE_VMM_ENGINE_CODEBUF_H

#include <stddef.h>
#include <stdint.h>

struct codebuf {
	uint8_t *write;
	const uint8_t *exec;
	size_t size;
};

int codebuf_create(struct codebuf *b, size_t size); /* negative errno; size: multiple of the page size */
void codebuf_destroy(struct codebuf *b);
/* Contents from `from` on are not needed: give their memory back. from: any offset. */
void codebuf_discard(struct codebuf *b, size_t from);

#endif
