/*
 * mmu.h - linear to physical: the page walk, and a TLB that behaves as if infinite.
 *
 * Two levels. `fast` is a small direct-mapped table the engines look at inline, one for each context (supervisor, user). Behind
 * it `store` remembers every translation since the architecture last said it goes, so that accessed and dirty bits do not
 * depend on the size of `fast`, nor on which engine ran. A fast entry's read, write and exec tags are set only for what needs no further look:
 *
 *   - read:  RAM page, readable in this context, no watch on it, of the guest's debug registers or of a debugger
 *   - write: as read, writable, PTE dirty bit set, ram.dirty full, holds no decoded code
 *   - exec:  RAM page, executable in this context
 *
 * Everything else goes through the slow functions: walk, MMIO, code pages, page crossers, watchpoints.
 * A permission failure against a stored translation walks again before it faults (SDM vol. 3A 4.10.4.3 allows either).
 */
#ifndef RINGSIDE_VMM_MEM_MMU_H
#define RINGSIDE_VMM_MEM_MMU_H

#include "vmm/mem/ram.h"
#include "vmm/mem/window.h"
#include "vmm/meter.h"

#define TLB_FAST_BITS 10
#define TLB_FAST_SIZE (1u << TLB_FAST_BITS)
#define TLB_NO_TAG 1ull /* no page address has bit 0 set */

enum mmu_context { MMU_SUPERVISOR = 0, MMU_USER = 1 };
enum mmu_access { MMU_READ = 0, MMU_WRITE = 1, MMU_EXEC = 2 };

struct tlb_entry {                  /* 32 bytes */
	uint64_t read, write, exec; /* linear page address, or TLB_NO_TAG */
	uintptr_t addend;           /* host address = linear address + addend */
};

struct tlb_store;
struct flat_journal;

/*
 * The flat table: for an engine that has the host's instructions look translations up, one word for each linear page and kind of access, all
 * in one mapping the host commits as it is touched. A word is 0, or
 *
 *   FLAT_READ, FLAT_WRITE   what to add to a linear address of that page to get the host address; set where a fast entry has the tag
 *   FLAT_SPAN_READ, _WRITE  the same for a range of addresses, found by the sum of the page numbers of its first and last byte: the sum is odd, and the
 *                           word 0, unless both are on one page. Never set for the first and the last page of the address space, so that no
 *                           range that wraps around, nor a base register on the other side of the wrap, is found
 *   FLAT_JUMP               the engine's own (mmu_flat_set_jump); goes with the page's translation
 *
 * Only the first 2^20 words of a READ or WRITE part are ever set: an index with alignment bits above bit 20 finds 0, which makes
 * one load test alignment too. Exists only after mmu_flat_create(); every word is dropped when the store drops the translation.
 */
#define FLAT_PART (128ull << 20) /* bytes of a READ or WRITE part: up to 4 alignment bits */
#define FLAT_READ(ctx) ((ctx)*2 * FLAT_PART)
#define FLAT_WRITE(ctx) (((ctx)*2 + 1) * FLAT_PART)
#define FLAT_JUMP(ctx) (4 * FLAT_PART + (ctx) * (8ull << 20))
#define FLAT_SPAN_PART (16ull << 20)
#define FLAT_SPAN_READ(ctx) (FLAT_JUMP(2) + (ctx)*2 * FLAT_SPAN_PART)
#define FLAT_SPAN_WRITE(ctx) (FLAT_JUMP(2) + ((ctx)*2 + 1) * FLAT_SPAN_PART)
#define FLAT_SIZE (FLAT_JUMP(2) + 4 * FLAT_SPAN_PART)

#define MMU_DEBUG_PAGES 128

struct mmu {
	struct tlb_entry *tlb; /* = fast[context], or an empty table while all_slow: what engines index; only mmu.c writes it */
	struct tlb_entry fast[2][TLB_FAST_SIZE];
	enum mmu_context context;
	uint8_t *flat; /* NULL unless mmu_flat_create() was called */
	struct flat_journal *journal;
	/* a FLAT_JUMP word was dropped or replaced: mmu_flat_set_jump()'s value and page; may be NULL */
	void (*jump_gone)(void *self, uint64_t value, uint64_t lin);
	void *jump_gone_self;
	struct window window; /* for MMU_USER: pages that the flat table has; none unless mmu_window_create() was called */
	bool split_views;     /* model 0/3/3: supervisor and user are separate views; a crossing empties `fast` */
	bool stepping;        /* slow path may touch MMIO and code pages (set for one instruction at a time) */
	bool all_slow;        /* every access takes the slow path (alignment checking) */
	struct ram *ram;
	struct tlb_store *store;
	uint32_t generation; /* changes whenever a linear -> physical mapping or context may have changed: jump caches compare it */
	uint64_t fills, flushes, view_switches;
	struct meter *meter; /* times them; may be NULL */
	/* guest's paging registers, copied here by mmu_set_paging() */
	uint32_t cr0, cr3, cr4;
	/* debug register watch: pages whose tags are never set; see mmu_set_watch() */
	uint32_t watch_page[4];
	unsigned watch_count;
	/* the same for a debugger outside the guest; see mmu_set_debug_watch() */
	uint32_t debug_page[MMU_DEBUG_PAGES];
	unsigned debug_count;
};

struct mmu_fault {
	uint32_t error; /* page-fault error code: P, W, U, RSVD of SDM vol. 3A 4.7; U by context */
	uint64_t cr2;
};

int mmu_init(struct mmu *m, struct ram *ram, bool split_views); /* -ENOMEM */
void mmu_free(struct mmu *m);

/* New CR0, CR3, CR4 values: keeps or flushes translations as the architecture says (SDM vol. 3A 4.10.4.1): a CR3 load keeps global
 * pages when CR4.PGE; changes of CR0.PG, CR0.WP, CR4.PGE, CR4.PSE flush all. `cr3_loaded`: a MOV to CR3 happened, even with an equal value. */
void mmu_set_paging(struct mmu *m, uint32_t cr0, uint32_t cr3, uint32_t cr4, bool cr3_loaded);
void mmu_flush_all(struct mmu *m);                             /* global pages too; counts one flush */
void mmu_invlpg(struct mmu *m, uint64_t lin);                  /* the page containing lin, all of a 4 MiB page */
void mmu_set_context(struct mmu *m, enum mmu_context context); /* counts a view switch when it changes and split_views */
/* Debug watches: count linear page addresses whose accesses must all take the slow path. Empties fast. */
void mmu_set_watch(struct mmu *m, const uint32_t *pages, unsigned count);
/* The debugger's own, at most MMU_DEBUG_PAGES. */
void mmu_set_debug_watch(struct mmu *m, const uint32_t *pages, unsigned count);
/* While on, engines see an empty fast table. Cheap both ways. */
void mmu_set_all_slow(struct mmu *m, bool on);
/* A page began to hold code: no fast write tag may point at it. */
void mmu_forget_writes(struct mmu *m, uint64_t page_gpa);

/* Translate one access that does not cross a page, in `context`, setting accessed/dirty bits and filling store and that context's fast.
 * Returns 0 and *gpa, or -1 and *fault. Identity when CR0.PG = 0. The gpa may lie outside RAM. MMU_WRITE marks the page dirty: the
 * caller is about to write. A walk that faults changes nothing. A walk that sets a bit in a page table which holds decoded code calls
 * ram.code_written: not while a trace runs (see mmu_translate_running). Generation changes when the walk replaced another translation. */
int mmu_translate(struct mmu *m, uint64_t lin, enum mmu_access access, enum mmu_context context, uint64_t *gpa,
                  struct mmu_fault *fault);
/* The same for accesses by a running trace: MMU_HITS_CODE and nothing changed when an accessed or dirty bit would overwrite decoded code, or
 * the walk would replace another translation, perhaps that of the trace's own page: the next instruction must see either. */
#define MMU_HITS_CODE (-2)
int mmu_translate_running(struct mmu *m, uint64_t lin, enum mmu_access access, enum mmu_context context, uint64_t *gpa,
                          struct mmu_fault *fault);
/* Everything the TLB remembers, a word each: a run that goes on from a saved moment must set accessed and dirty bits where the first
 * one did. Save writes at most `room` words and returns how many there are. Load flushes first, and wants what save gave. */
size_t mmu_save_translations(const struct mmu *m, uint64_t *words, size_t room);
void mmu_load_translations(struct mmu *m, const uint64_t *words, size_t count);
/* Would mmu_translate() fault? No side effects. Returns 0, or -1 and *fault. */
int mmu_probe(const struct mmu *m, uint64_t lin, enum mmu_access access, enum mmu_context context,
              struct mmu_fault *fault);
/* The same without side effects, for debuggers: permissions ignored. Returns 0 or -1. */
int mmu_peek(const struct mmu *m, uint64_t lin, uint64_t *gpa);

int mmu_flat_create(struct mmu *m);   /* -ENOMEM */
int mmu_window_create(struct mmu *m); /* after mmu_flat_create(); -ENOMEM, -ENOTSUP */
/* Open lin's page in the window, as far as the flat table permits; false when that is not even reading, or not the writing that is wanted. */
bool mmu_window_open(struct mmu *m, uint64_t lin, bool write);
/* Remember `value`, not 0, for the page of lin in the present context until its translation goes. False when it has none. */
bool mmu_flat_set_jump(struct mmu *m, uint64_t lin, uint64_t value);
/* Forget all of them: of one context. */
void mmu_flat_drop_jumps(struct mmu *m, enum mmu_context context);

static inline uint64_t *mmu_flat_word(const struct mmu *m, uint64_t part, uint64_t lin)
{
	return (uint64_t *)(void *)(m->flat + part) + ((uint32_t)lin >> PAGE_SHIFT);
}

static inline uint64_t *mmu_flat_span(const struct mmu *m, uint64_t part, uint64_t lin)
{
	return (uint64_t *)(void *)(m->flat + part) + 2 * ((uint32_t)lin >> PAGE_SHIFT);
}

static inline unsigned mmu_index(uint64_t lin)
{
	return (lin >> PAGE_SHIFT) & (TLB_FAST_SIZE - 1);
}

/* Host pointer for [lin, lin+size) when the fast table answers, else NULL. size: 1..16, compile-time constant. */
static inline void *mmu_fast_read(struct mmu *m, uint64_t lin, unsigned size)
{
	struct tlb_entry *e = &m->tlb[mmu_index(lin)];

	return __builtin_expect(e->read == ((lin + size - 1) & PAGE_MASK), 1) ? (void *)(lin + e->addend) : NULL;
}

static inline void *mmu_fast_write(struct mmu *m, uint64_t lin, unsigned size)
{
	struct tlb_entry *e = &m->tlb[mmu_index(lin)];

	return __builtin_expect(e->write == ((lin + size - 1) & PAGE_MASK), 1) ? (void *)(lin + e->addend) : NULL;
}

#endif
