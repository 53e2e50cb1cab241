/*
 * codebuf.c - see codebuf.h.
 */
#include "vmm/engine/codebuf.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define HOST_PAGE 4096u

/* The second view lies below 4 GiB, so its place is taken first. */
static void *map_again(void *view, size_t size)
{
	void *place = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_32BIT, -1, 0);
	void *again;

	if (place == MAP_FAILED)
		return place;
	again = mremap(view, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, place);
	if (again != MAP_FAILED && !mprotect(again, size, PROT_READ | PROT_EXEC))
		return again;
	munmap(place, size);
	return MAP_FAILED;
}

/* Anonymous memory, not a memfd: a limit on the size of files is none on code. */
int codebuf_create(struct codebuf *b, size_t size)
{
	void *w, *x = MAP_FAILED;

	memset(b, 0, sizeof(*b));
	b->size = size;
	w = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w != MAP_FAILED) {
		b->write = w;
		x = map_again(w, size);
	}
	if (x == MAP_FAILED) {
		int rc = -errno;

		codebuf_destroy(b);
		return rc;
	}
	b->exec = x;
	return 0;
}

void codebuf_destroy(struct codebuf *b)
{
	if (b->write)
		munmap(b->write, b->size);
	if (b->exec)
		munmap((void *)(uintptr_t)b->exec, b->size);
	memset(b, 0, sizeof(*b));
}

void codebuf_discard(struct codebuf *b, size_t from)
{
	from = (from + HOST_PAGE - 1) & ~(size_t)(HOST_PAGE - 1);
	if (from < b->size)
		madvise(b->write + from, b->size - from, MADV_REMOVE);
}
