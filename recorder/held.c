/*
 * held.c - see held.h.
 *
 * Invariants
 *  1. hold[page] says who may copy a page, and only who turned HELD into COPYING does.
 *  2. A page that is HELD has not been written since it was held: vm_before_write() tells of the first write.
 */
#include "recorder/held.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/codec.h"
#include "vmm/snapshot.h"

/* Of a page: it is not held; in the guest's memory still; somebody is copying it; in copy[page]. */
enum hold { HOLD_NOT, HELD, COPYING, COPIED };

struct held {
	struct vm *vm;
	uint64_t pages; /* of RAM */
	_Atomic bool given_up;
	_Atomic uint8_t *hold; /* enum hold, by page */
	uint8_t **copy;        /* by page; malloc'd */
};

void held_destroy(struct held *h)
{
	if (!h)
		return;
	vm_before_write(h->vm, NULL, NULL);
	for (uint64_t page = 0; h->hold && page < h->pages; page++)
		if (h->hold[page] == COPIED)
			free(h->copy[page]);
	free(h->copy);
	free((void *)h->hold);
	free(h);
}

static uint8_t hold_of(const struct held *h, uint64_t page)
{
	return atomic_load_explicit(&h->hold[page], memory_order_acquire);
}

static void set_hold(struct held *h, uint64_t page, enum hold hold)
{
	atomic_store_explicit(&h->hold[page], (uint8_t)hold, memory_order_release);
}

/* HELD: it is the caller's to copy now. Otherwise what the page is when nobody is copying it. */
static enum hold begin_copy(struct held *h, uint64_t page)
{
	uint8_t hold = hold_of(h, page);

	while (hold == HELD || hold == COPYING) {
		hold = HELD;
		if (atomic_compare_exchange_weak(&h->hold[page], &hold, COPYING))
			return HELD;
	}
	return (enum hold)hold;
}

static const uint8_t *in_ram(const struct held *h, uint64_t page)
{
	return vm_ram(h->vm) + page * PAGE_BYTES;
}

static void save_page(void *self, uint64_t page)
{
	struct held *h = self;

	if (hold_of(h, page) == HOLD_NOT || atomic_load(&h->given_up) || begin_copy(h, page) != HELD)
		return;
	h->copy[page] = malloc(PAGE_BYTES);
	if (h->copy[page])
		memcpy(h->copy[page], in_ram(h, page), PAGE_BYTES);
	set_hold(h, page, COPIED);
}

int held_create(struct held **out, struct vm *vm)
{
	struct held *h = calloc(1, sizeof(*h));

	*out = NULL;
	if (!h)
		return -ENOMEM;
	h->vm = vm;
	h->pages = vm_ram_size(vm) / PAGE_BYTES;
	h->hold = calloc(h->pages, sizeof(*h->hold));
	h->copy = calloc(h->pages, sizeof(*h->copy));
	if (!h->hold || !h->copy) {
		held_destroy(h);
		return -ENOMEM;
	}
	vm_before_write(vm, save_page, h);
	*out = h;
	return 0;
}

void held_add(struct held *h, uint64_t page)
{
	set_hold(h, page, HELD);
}

bool held_fetch(struct held *h, uint64_t page, uint8_t *to)
{
	uint8_t *copy;

	if (begin_copy(h, page) == HELD) {
		memcpy(to, in_ram(h, page), PAGE_BYTES);
		set_hold(h, page, HOLD_NOT);
		return true;
	}
	copy = h->copy[page];
	h->copy[page] = NULL;
	set_hold(h, page, HOLD_NOT);
	if (!copy)
		return false;
	memcpy(to, copy, PAGE_BYTES);
	free(copy);
	return true;
}

void held_give_up(struct held *h)
{
	atomic_store(&h->given_up, true);
}
