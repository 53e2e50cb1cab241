/*
 * ram.h - guest RAM, and what the VMM knows of each page of it: whether engines hold code decoded from it, and whether it was
 * written since the last memory digest.
 *
 * Every write to RAM goes through the TLB's write tag (mmu.h), ram_write(), or ram_mark_written(). The rest of the VMM never
 * keeps a pointer into RAM across guest instructions.
 */
#ifndef RINGSIDE_VMM_MEM_RAM_H
#define RINGSIDE_VMM_MEM_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096u
#define PAGE_MASK (~(uint64_t)(PAGE_SIZE - 1))

/* A write sets all; each is cleared by the one who asks for it. */
#define RAM_DIRTY_DIGEST 1u   /* written since the last ram_digest() */
#define RAM_DIRTY_SAVED 2u    /* written since the last ram_take_written() */
#define RAM_DIRTY_COMPARED 4u /* the same, by who compares two machines */
#define RAM_DIRTY_ALL (RAM_DIRTY_DIGEST | RAM_DIRTY_SAVED | RAM_DIRTY_COMPARED)

/* Called before bytes [gpa, gpa + len) of one page, which hold decoded code, are written. */
typedef void ram_code_written_fn(void *self, uint64_t gpa, unsigned len);

struct ram {
	uint8_t *host; /* size bytes, page aligned */
	int fd; /* the file it is a shared mapping of, so that a page can be mapped again elsewhere; -1: it is none */
	uint64_t size; /* multiple of PAGE_SIZE */
	uint64_t pages;
	uint64_t *code; /* a page's code bitmap: bit i = its 64-byte chunk i holds decoded code */
	uint8_t *dirty; /* RAM_DIRTY_* bits: who has not yet heard that a page was written */
	/* NULL, or called before a write to a page whose RAM_DIRTY_SAVED is clear */
	void (*before_write)(void *self, uint64_t page);
	void *before_write_self;
	uint64_t *page_hash; /* a page's contribution to the digest */
	uint64_t digest;
	ram_code_written_fn *code_written;
	void *code_written_self;
	void (*cleaned)(void *self); /* bits of `dirty` were cleared: write tags must go. The MMU's, set by mmu_init() */
	void *cleaned_self;
};

/* 0x000a0000..0x000bffff is VGA's, not RAM, although host memory exists there. */
static inline bool ram_has(const struct ram *r, uint64_t gpa)
{
	return gpa < r->size && (gpa < 0xa0000 || gpa >= 0xc0000);
}

/* The page, which is RAM, is about to be written. */
static inline void ram_mark_dirty(struct ram *r, uint64_t page)
{
	if (r->before_write && !(r->dirty[page] & RAM_DIRTY_SAVED))
		r->before_write(r->before_write_self, page);
	r->dirty[page] = RAM_DIRTY_ALL;
}

int ram_init(struct ram *r, uint64_t size); /* zeroed; -ENOMEM, -EINVAL for a size that is 0 or no multiple of PAGE_SIZE */
void ram_free(struct ram *r);
/* Physical access by devices, loaders, page walks. Any range is safe: what is not RAM reads as all ones and drops writes.
 * Writes mark pages dirty and report code. */
void ram_read(const struct ram *r, uint64_t gpa, void *buf, size_t len);
void ram_write(struct ram *r, uint64_t gpa, const void *buf, size_t len);
/* Bytes [gpa, gpa+len) within one page now hold decoded code. Returns true when the page held none before (write tags must go). */
bool ram_mark_code(struct ram *r, uint64_t gpa, unsigned len);
void ram_clear_code(struct ram *r, uint64_t page_gpa);
/* Does any byte of [gpa, gpa+len), within one page of RAM, lie in a chunk that holds decoded code? */
bool ram_holds_code(const struct ram *r, uint64_t gpa, unsigned len);
/* Digest over (page number, content) of all pages, order-independent sum; recomputes dirty pages only and clears dirty.
 * A page of zeros contributes 0. */
uint64_t ram_digest(struct ram *r);
/* Somebody may have written anywhere. Pages without memory of the host are zeros still, and would get some if they were read: they stay clean. */
void ram_mark_all_dirty(struct ram *r);
/* The numbers of the pages written since the last call for this bit (RAM_DIRTY_*), ascending, into `page`, which has room for all pages;
 * returns how many. */
size_t ram_take_written(struct ram *r, uint8_t bit, uint64_t *page);
/* The numbers of the pages that may hold anything but zeros, found without reading them: a page that nobody touched costs nothing. As above. */
size_t ram_used(const struct ram *r, uint64_t *page);

#endif
