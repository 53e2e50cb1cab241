/*
 * codebuf.c - see codebuf.h.
 */
#include "vmm/engine/codebuf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HOST_PAGE 4096u

static int map_views(struct codebuf *b, int fd)
{
	void *w, *x;

	w = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (w == MAP_FAILED)
		return -errno;
	b->write = w;
	x = mmap(NULL, b->size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_32BIT, fd, 0);
	if (x == MAP_FAILED)
		return -errno;
	b->exec = x;
	return 0;
}

int codebuf_create(struct codebuf *b, size_t size)
{
	int fd, rc;

	memset(b, 0, sizeof(*b));
	b->size = size;
	fd = memfd_create("ringside-code", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = ftruncate(fd, (off_t)size) ? -errno : map_views(b, fd);
	close(fd);
	if (rc)
		codebuf_destroy(b);
	return rc;
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
