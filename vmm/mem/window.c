/*
 * window.c - see window.h. Pages are mapped one by one from the file that guest RAM is (ram.h).
 *
 * Called by mmu.c, which owns the window.
 */
#include "vmm/mem/window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/bug.h"
#include "vmm/reserve.h"

#define PAGES (WINDOW_SIZE >> PAGE_SHIFT)
#define OPEN_MAX 16384u /* the host permits 65,530 mappings in all (vm.max_map_count) */

/* Address space that nobody may touch; at NULL: anywhere. NULL: the host refuses. */
static void *map_shut(void *at, size_t bytes)
{
	void *p = mmap(at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED : 0), -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int window_create(struct window *w, const struct ram *ram)
{
	uint8_t *p;

	memset(w, 0, sizeof(*w));
	if (ram->fd < 0)
		return -ENOTSUP;
	p = map_shut(NULL, WINDOW_SIZE + 2 * WINDOW_GUARD);
	if (!p)
		return -ENOMEM;
	w->base = p + WINDOW_GUARD;
	w->ram = ram;
	w->state = reserve(PAGES);
	w->page = malloc(OPEN_MAX * sizeof(*w->page));
	if (w->state && w->page)
		return 0;
	window_destroy(w);
	return -ENOMEM;
}

void window_destroy(struct window *w)
{
	if (w->base)
		munmap(w->base - WINDOW_GUARD, WINDOW_SIZE + 2 * WINDOW_GUARD);
	release(w->state, PAGES);
	free(w->page);
	memset(w, 0, sizeof(*w));
}

bool window_open(struct window *w, uint64_t lin, uint64_t gpa, bool writable)
{
	uint32_t page = (uint32_t)lin >> PAGE_SHIFT;
	uint8_t *at = w->base + ((uint64_t)page << PAGE_SHIFT);

	BUG_ON(!ram_has(w->ram, gpa));
	if (w->opened >= OPEN_MAX)
		window_shut_all(w);
	if (mmap(at, PAGE_SIZE, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED | MAP_FIXED | MAP_POPULATE,
	         w->ram->fd, (off_t)(gpa & PAGE_MASK)) == MAP_FAILED)
		return false;
	w->state[page] = writable ? WINDOW_WRITE : WINDOW_READ;
	w->page[w->opened++] = page;
	w->openings++;
	return true;
}

/* Without it the guest would go on with a translation that is gone. */
static void shut(uint8_t *at, uint64_t bytes)
{
	BUG_ON(!map_shut(at, bytes));
}

void window_shut_page(struct window *w, uint64_t lin)
{
	uint32_t page = (uint32_t)lin >> PAGE_SHIFT;

	shut(w->base + ((uint64_t)page << PAGE_SHIFT), PAGE_SIZE);
	w->state[page] = WINDOW_SHUT;
}

void window_shut_all(struct window *w)
{
	if (!w->base || !w->opened)
		return;
	shut(w->base, WINDOW_SIZE);
	while (w->opened)
		w->state[w->page[--w->opened]] = WINDOW_SHUT;
}
