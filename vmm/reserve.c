/*
 * reserve.c - see reserve.h.
 */
#include "vmm/reserve.h"

#include <sys/mman.h>

static void *map(size_t bytes, int flags)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void *reserve(size_t bytes)
{
	return map(bytes, 0);
}

void *reserve_low(size_t bytes)
{
	return map(bytes, MAP_32BIT);
}

void release(void *p, size_t bytes)
{
	if (p)
		munmap(p, bytes);
}
