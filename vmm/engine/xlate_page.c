/*
 * xlate_page.c - pages of translated code: how they are found, when their blocks go, and how a block that must not run any more is led elsewhere.
 *
 * Called by xlate.c and xlate_block.c.
 */
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/engine/xlate_state.h"

static unsigned page_hash(uint64_t gpa)
{
	return (gpa >> PAGE_SHIFT) % PAGE_HASH;
}

struct page *page_find(struct xlate *x, uint64_t gpa, uint32_t lin, uint8_t mode)
{
	struct page *p = x->hash[page_hash(gpa)];

	while (p && !(p->gpa == gpa && p->lin == lin && p->mode == mode))
		p = p->hash_next;
	return p;
}

static struct page *make_page(struct xlate *x, uint64_t gpa, uint32_t lin, uint8_t mode)
{
	struct page **bucket = &x->hash[page_hash(gpa)];
	struct page *p = &x->pages[x->page_count];

	*p = (struct page){
		.gpa = gpa,
		.lin = lin,
		.mode = mode,
		.windowed = x->always_window && (mode & MODE_USER) && x->c->mmu.window.base,
		.samples_wanted = FIRST_SAMPLES,
		.credit = CREDIT_MAX,
		.hash_next = *bucket,
		.entries = x->entries + (size_t)x->page_count * PAGE_SIZE,
	};
	for (unsigned i = 0; i < PAGE_SIZE; i += PAGE_SIZE / sizeof(*p->entries)) /* code reads them first (reserve.h) */
		((volatile uint32_t *)p->entries)[i] = 0;
	x->page_count++;
	*bucket = p;
	return p;
}

uint64_t page_word(const struct page *p)
{
	return (uintptr_t)p->entries - 4ull * p->lin;
}

uint32_t page_code(uint64_t word, uint32_t lin)
{
	return word ? *(const uint32_t *)(uintptr_t)(word + 4ull * lin) : 0;
}

void code_aim(struct xlate *x, uint32_t jump, uint32_t code)
{
	uint32_t rel = code - (jump + 4);

	memcpy(x->buf.write + (jump - (uint32_t)(uintptr_t)x->buf.exec), &rel, sizeof(rel));
}

/* Whoever comes to a block goes elsewhere from now on. */
static void behead(struct xlate *x, uint32_t code, uint32_t to)
{
	x->buf.write[code - (uint32_t)(uintptr_t)x->buf.exec] = 0xe9; /* jmp */
	code_aim(x, code + 1, to);
}

void page_add_dependent(struct xlate *x, struct page *p, struct dependent d)
{
	uint32_t i = x->dependent_count++;

	BUG_ON(i >= DEPENDENTS);
	d.next = p->dependents;
	x->dependents[i] = d;
	p->dependents = i;
}

bool page_has_dependent(const struct xlate *x, const struct page *p, uint32_t code)
{
	uint32_t i = p->dependents;

	while (i && x->dependents[i].code != code)
		i = x->dependents[i].next;
	return i != 0;
}

void block_kill(struct xlate *x, const struct dependent *d)
{
	uint32_t *entry = &d->owner->entries[d->at];

	behead(x, d->code, d->dead);
	if (*entry == d->code)
		*entry = 0;
}

void page_written(void *self, uint64_t gpa)
{
	struct xlate *x = self;

	for (struct page *p = x->hash[page_hash(gpa)]; p; p = p->hash_next) {
		if (p->gpa != gpa)
			continue;
		memset(p->entries, 0, PAGE_SIZE * sizeof(*p->entries));
		p->losses += p->dependents != 0;
		for (uint32_t i = p->dependents; i; i = x->dependents[i].next)
			block_kill(x, &x->dependents[i]);
		p->dependents = 0;
	}
}

static void drop_jumps(struct xlate *x)
{
	mmu_flat_drop_jumps(&x->c->mmu, MMU_SUPERVISOR);
	mmu_flat_drop_jumps(&x->c->mmu, MMU_USER);
}

struct page *page_get(struct xlate *x, uint64_t gpa, uint32_t lin, uint8_t mode)
{
	struct page *p = page_find(x, gpa, lin, mode);

	return p ? p : make_page(x, gpa, lin, mode);
}

static uint32_t index_of_word(const struct xlate *x, uint64_t word, uint64_t lin)
{
	return (uint32_t)((word + 4 * lin - (uintptr_t)x->entries) / (PAGE_SIZE * sizeof(*x->entries)));
}

struct page *page_present(struct xlate *x, uint32_t rip)
{
	uint64_t word = *mmu_flat_word(&x->c->mmu, FLAT_JUMP((unsigned)x->c->mmu.context), rip);

	return word ? &x->pages[index_of_word(x, word, rip & (uint32_t)PAGE_MASK)] : NULL;
}

uint32_t *page_presence(const struct xlate *x, const struct page *p)
{
	return &x->low->present[p - x->pages];
}

void page_appear(struct xlate *x, const struct page *p)
{
	*page_presence(x, p) = mmu_flat_set_jump(&x->c->mmu, p->lin, page_word(p));
}

void page_gone(void *self, uint64_t word, uint64_t lin)
{
	struct xlate *x = self;

	x->low->present[index_of_word(x, word, lin)] = 0;
}

bool page_can_restart(const struct xlate *x)
{
	return x->cold_at + PAGE_SIZE * TO_LINK <= x->buf.size;
}

/* What begins a block leads to the run loop, and is aimed when there is another. */
void page_restart(struct xlate *x, struct page *p)
{
	for (uint32_t i = 0; i < PAGE_SIZE; i++) {
		uint32_t code = p->entries[i];
		struct emit stub = {
			.bytes = x->buf.write + x->cold_at,
			.code = (uint32_t)(uintptr_t)x->buf.exec + x->cold_at,
			.size = TO_LINK,
		};

		if (!code)
			continue;
		emit_to_link(&stub, x->thunk[THUNK_LINK], p->lin + i, code + 1);
		x->cold_at += stub.at;
		behead(x, code, stub.code);
		p->entries[i] = 0;
	}
}

void code_flush(void *self)
{
	struct xlate *x = self;

	drop_jumps(x);
	x->low->calls[0].generation = x->low->calls[1].generation = 0; /* no generation is */
	memset(x->hash, 0, sizeof(x->hash));
	madvise(x->entries, (size_t)x->page_count * PAGE_SIZE * sizeof(*x->entries), MADV_DONTNEED);
	x->page_count = 0;
	x->site_count = x->dependent_count = 1;
	x->code_at = x->code_start;
	x->cold_at = COLD_START;
	x->faults.count = 0;
	x->flushes++;
}
