/*
 * window.h - guest linear memory where the host's own instructions reach it: host address = base + linear address.
 *
 * 4 GiB of the host's address space stand for the guest's. A page of it is open, mapped to the page of guest RAM that its translation leads to, or shut:
 * then an access faults on the host (SIGSEGV). It never permits more than the translation does in the context the window is for. It is a cache, which only
 * who runs translated code fills; the MMU shuts what it takes a translation, or the right to write, away from. Beyond either end everything is shut.
 *
 * Opening costs a system call and, for who finds the page shut, a signal: some thousand host cycles. It is for pages that are used much more often than that.
 */
#ifndef RINGSIDE_VMM_MEM_WINDOW_H
#define RINGSIDE_VMM_MEM_WINDOW_H

#include "vmm/mem/ram.h"

#define WINDOW_SIZE (1ull << 32)
#define WINDOW_GUARD (1ull << 16) /* shut on either side: no operand reaches further */

enum window_state { WINDOW_SHUT, WINDOW_READ, WINDOW_WRITE /* and read */ };

struct window {
	uint8_t *base;  /* NULL: there is no window */
	uint8_t *state; /* enum window_state, by linear page */
	const struct ram *ram;
	uint32_t *page;  /* those that were opened since everything was shut, some of them more than once */
	uint32_t opened; /* so many */
	uint64_t openings;
};

/* All shut. -ENOMEM; -ENOTSUP: RAM cannot be mapped twice here */
int window_create(struct window *w, const struct ram *ram);
void window_destroy(struct window *w);
/* The page of lin to the page of gpa, which is RAM. False when the host refuses: the page stays shut. */
bool window_open(struct window *w, uint64_t lin, uint64_t gpa, bool writable);
void window_shut_page(struct window *w, uint64_t lin); /* which is open */
void window_shut_all(struct window *w);

static inline enum window_state window_of(const struct window *w, uint64_t lin)
{
	return w->base ? (enum window_state)w->state[(uint32_t)lin >> PAGE_SHIFT] : WINDOW_SHUT;
}

#endif
