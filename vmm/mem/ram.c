/*
 * ram.c - guest RAM and the books about its pages.
 *
 * RAM is one mapping of a file in memory, reserved but not committed, with an inaccessible page on either side: an address
 * computed wrongly next to it stops the program and does not reach the VMM's own memory. The books are mappings of
 * the same kind, so that a big guest which touches little costs little.
 *
 * Never trusts an address: ram_read() and ram_write() serve devices and page walks, whose addresses are the guest's.
 */
#include "vmm/mem/ram.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/bug.h"
#include "vmm/digest.h"
#include "vmm/reserve.h"

#define CHUNK_SHIFT 6 /* the code bitmap's grain: 64 chunks of 64 bytes in a page */

static uint8_t *reserve_guarded(uint64_t size)
{
	uint8_t *p = mmap(NULL, size + 2 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (mprotect(p + PAGE_SIZE, size, PROT_READ | PROT_WRITE)) {
		munmap(p, size + 2 * PAGE_SIZE);
		return NULL;
	}
	return p + PAGE_SIZE;
}

/* Put a file in place of anonymous memory: a host that has none to give is no reason to stop. A process with a limit on the size of files would be killed
 * for trying. */
static int back_with_file(uint8_t *at, uint64_t size)
{
	struct rlimit limit;
	int fd;

	if (getrlimit(RLIMIT_FSIZE, &limit) || limit.rlim_cur < size)
		return -1;
	fd = memfd_create("guest RAM", MFD_CLOEXEC);
	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)size) ||
	    mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0) == MAP_FAILED) {
		close(fd);
		return -1;
	}
	return fd;
}

int ram_init(struct ram *r, uint64_t size)
{
	memset(r, 0, sizeof(*r));
	if (size == 0 || size % PAGE_SIZE || size > SIZE_MAX / 2)
		return -EINVAL;
	r->fd = -1;
	r->size = size;
	r->pages = size >> PAGE_SHIFT;
	r->host = reserve_guarded(size);
	r->code = reserve(r->pages * sizeof(*r->code));
	r->dirty = reserve(r->pages);
	r->page_hash = reserve(r->pages * sizeof(*r->page_hash));
	if (!r->host || !r->code || !r->dirty || !r->page_hash) {
		ram_free(r);
		return -ENOMEM;
	}
	r->fd = back_with_file(r->host, size);
	return 0;
}

void ram_free(struct ram *r)
{
	if (r->host)
		munmap(r->host - PAGE_SIZE, r->size + 2 * PAGE_SIZE);
	if (r->host && r->fd >= 0)
		close(r->fd);
	release(r->code, r->pages * sizeof(*r->code));
	release(r->dirty, r->pages);
	release(r->page_hash, r->pages * sizeof(*r->page_hash));
	memset(r, 0, sizeof(*r));
}

/* Length of the part of [gpa, gpa+len) that lies in gpa's page. */
static size_t page_part(uint64_t gpa, size_t len)
{
	size_t room = PAGE_SIZE - (gpa & ~PAGE_MASK);

	return len < room ? len : room;
}

void ram_read(const struct ram *r, uint64_t gpa, void *buf, size_t len)
{
	uint8_t *out = buf;

	while (len) {
		size_t n = page_part(gpa, len);

		if (ram_has(r, gpa))
			memcpy(out, r->host + gpa, n);
		else
			memset(out, 0xff, n);
		out += n;
		len -= n;
		if (gpa + n < gpa) { /* the end of the 64-bit address space is not the beginning of RAM */
			memset(out, 0xff, len);
			return;
		}
		gpa += n;
	}
}

void ram_write(struct ram *r, uint64_t gpa, const void *buf, size_t len)
{
	const uint8_t *in = buf;

	while (len) {
		size_t n = page_part(gpa, len);

		if (ram_has(r, gpa)) {
			if (unlikely(ram_holds_code(r, gpa, n)) && r->code_written)
				r->code_written(r->code_written_self, gpa, n);
			ram_mark_dirty(r, gpa >> PAGE_SHIFT);
			memcpy(r->host + gpa, in, n);
		}
		in += n;
		len -= n;
		if (gpa + n < gpa)
			return;
		gpa += n;
	}
}

/* Bits of the chunks that [gpa, gpa+len) touches in its page. */
static uint64_t chunk_mask(uint64_t gpa, unsigned len)
{
	unsigned first = (gpa & ~PAGE_MASK) >> CHUNK_SHIFT;
	unsigned last = ((gpa & ~PAGE_MASK) + len - 1) >> CHUNK_SHIFT;

	return (~0ull >> (63 - (last - first))) << first;
}

static void check_in_page(uint64_t gpa, unsigned len)
{
	BUG_ON(len == 0 || (gpa & ~PAGE_MASK) + len > PAGE_SIZE);
}

bool ram_holds_code(const struct ram *r, uint64_t gpa, unsigned len)
{
	uint64_t code;

	if (!ram_has(r, gpa))
		return false;
	code = r->code[gpa >> PAGE_SHIFT];
	if (likely(code == 0))
		return false;
	check_in_page(gpa, len);
	return (code & chunk_mask(gpa, len)) != 0;
}

bool ram_mark_code(struct ram *r, uint64_t gpa, unsigned len)
{
	uint64_t *code, before;

	check_in_page(gpa, len);
	if (!ram_has(r, gpa))
		return false;
	code = &r->code[gpa >> PAGE_SHIFT];
	before = *code;
	*code |= chunk_mask(gpa, len);
	return before == 0;
}

void ram_clear_code(struct ram *r, uint64_t page_gpa)
{
	if (ram_has(r, page_gpa))
		r->code[page_gpa >> PAGE_SHIFT] = 0;
}

static uint64_t page_contribution(const struct ram *r, uint64_t page)
{
	const uint8_t *p = r->host + (page << PAGE_SHIFT);

	return all_zero(p, PAGE_SIZE) ? 0 : digest64(p, PAGE_SIZE, page);
}

/* The first page from `page` on with this dirty bit; r->pages. Most of a big memory is clean: eight pages a look. */
static uint64_t next_dirty(const struct ram *r, uint64_t page, uint8_t bit)
{
	for (; page < r->pages; page++) {
		uint64_t word;

		if ((page & 7) == 0 && page + 8 <= r->pages) {
			memcpy(&word, r->dirty + page, sizeof(word));
			if (!(word & (bit * 0x0101010101010101ull))) {
				page += 7;
				continue;
			}
		}
		if (r->dirty[page] & bit)
			return page;
	}
	return r->pages;
}

uint64_t ram_digest(struct ram *r)
{
	for (uint64_t page = 0; (page = next_dirty(r, page, RAM_DIRTY_DIGEST)) < r->pages; page++) {
		uint64_t hash;

		r->dirty[page] &= (uint8_t)~RAM_DIRTY_DIGEST;
		hash = page_contribution(r, page);
		r->digest += hash - r->page_hash[page];
		r->page_hash[page] = hash;
	}
	if (r->cleaned)
		r->cleaned(r->cleaned_self);
	return r->digest;
}

/* The next run of pages that the host has given memory to: *end is behind it. r->pages: there is none. */
static uint64_t next_touched(const struct ram *r, uint64_t page, uint64_t *end)
{
	off_t data, hole;

	*end = r->pages;
	if (r->fd < 0 || page >= r->pages)
		return page;
	data = lseek(r->fd, (off_t)(page << PAGE_SHIFT), SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? r->pages : page;
	hole = lseek(r->fd, data, SEEK_HOLE);
	if (hole > data)
		*end = ((uint64_t)hole + PAGE_SIZE - 1) >> PAGE_SHIFT;
	return (uint64_t)data >> PAGE_SHIFT;
}

void ram_mark_all_dirty(struct ram *r)
{
	uint64_t end;

	for (uint64_t page = 0; (page = next_touched(r, page, &end)) < r->pages; page = end)
		memset(r->dirty + page, RAM_DIRTY_ALL, end - page);
}

size_t ram_take_written(struct ram *r, uint8_t bit, uint64_t *page)
{
	size_t n = 0;

	for (uint64_t at = 0; (at = next_dirty(r, at, bit)) < r->pages; at++) {
		r->dirty[at] &= (uint8_t)~bit;
		page[n++] = at;
	}
	if (r->cleaned)
		r->cleaned(r->cleaned_self);
	return n;
}

/* A page that was not written since the digest is what the digest took it for: zeros contribute nothing. */
size_t ram_used(const struct ram *r, uint64_t *page)
{
	size_t n = 0;

	for (uint64_t at = 0; at < r->pages; at++)
		if (r->dirty[at] & RAM_DIRTY_DIGEST || r->page_hash[at])
			page[n++] = at;
	return n;
}
