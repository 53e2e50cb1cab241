/*
 * mmu.c - the page walk, and the TLB that behaves as if infinite (mmu.h says what that means).
 *
 * The store is one word for each linear page, in a mapping the host commits as it is touched, and one word for each
 * 4 MiB page:
 *
 *      63         32 31        12 11            0
 *     | generation  | frame      | W U D G, PTE's bits |
 *
 * A word counts only while its generation is the store's present one: there are two, for local and for global
 * translations, so that a flush is an increment. `fast` has to be emptied by hand; bitmaps of the filled and of the
 * local entries make that cost what was filled.
 *
 * Invariants
 *  1. A fast entry's tags all name the same page, and the entry is what the store and the RAM's books say, or less.
 *  2. A write tag exists only where ram.dirty is set and the page holds no code. So ram_digest() and
 *     mmu_forget_writes() take tags away.
 *  3. The walk changes nothing (neither accessed bits, nor store) unless it succeeds.
 *  4. Whatever takes away or replaces a translation changes `generation`. Adding one does not, nor does a context
 *     switch: engines key by mode.
 *
 * Called by cpu/mem.c and the engines; page tables are the guest's and may lie anywhere, say anything.
 */
#include "vmm/mem/mmu.h"

#include <errno.h>
#include <string.h>

#include "vmm/bug.h"
#include "vmm/reserve.h"

/* Page directory and page table entries, SDM vol. 3A tables 4-4 to 4-6 */
#define PTE_P (1u << 0)
#define PTE_W (1u << 1)
#define PTE_U (1u << 2)
#define PTE_A (1u << 5)
#define PTE_D (1u << 6)
#define PDE_PS (1u << 7)
#define PTE_G (1u << 8)
#define PTE_G_SHIFT 8
#define PDE_BIG_RESERVED 0x003fe000u /* bits 13..21: this model has no PSE-36 */
#define FRAME_MASK 0xfffff000u
#define BIG_FRAME_MASK 0xffc00000u
#define BIG_SHIFT 22

/* Page-fault error code, SDM vol. 3A 4.7 */
#define PF_P (1u << 0)
#define PF_W (1u << 1)
#define PF_U (1u << 2)
#define PF_RSVD (1u << 3)

/* Control bits this file judges by; cpu/vcpu.h has them all but lies above. */
#define CR0_WP_BIT (1u << 16)
#define CR0_PG_BIT (1u << 31)
#define CR4_PSE_BIT (1u << 4)
#define CR4_PGE_BIT (1u << 7)

#define STORE_PAGES (1u << 20)
#define STORE_BIGS (1u << 10)
#define STORE_GROUP 512u
#define FAST_WORDS (TLB_FAST_SIZE / 64)

struct tlb_store {
	uint64_t page[STORE_PAGES];
	uint64_t big[STORE_BIGS];
	uint32_t gen[2];                /* [0] local, [1] global translations; never 0, which marks empty words */
	uint64_t filled[2][FAST_WORDS]; /* fast entries with any tag, by context */
	uint64_t local[2][FAST_WORDS];  /* those which a flush of local translations takes */
	uint8_t used[STORE_PAGES / STORE_GROUP]; /* a group of page[] was ever written to */
};

/* Does not belong to any page: what engines see while all_slow. Nobody writes through mmu.tlb. */
static const struct tlb_entry empty_table[TLB_FAST_SIZE] = {
	[0 ... TLB_FAST_SIZE - 1] = { TLB_NO_TAG, TLB_NO_TAG, TLB_NO_TAG, 0 },
};

/* ---- the flat table ---- */

#define JOURNAL_MAX (1u << 16)

/* Pages with a word set, so that a flush costs what was filled: local ones and global ones of each context. */
struct flat_journal {
	uint32_t count[2][2];
	uint32_t page[2][2][JOURNAL_MAX];
};

static void shut(struct mmu *m, uint64_t lin)
{
	if (window_of(&m->window, lin) != WINDOW_SHUT)
		window_shut_page(&m->window, lin);
}

static void flat_clear_jump(struct mmu *m, unsigned ctx, uint64_t lin)
{
	uint64_t *word = mmu_flat_word(m, FLAT_JUMP(ctx), lin), value = *word;

	if (!value)
		return;
	*word = 0;
	if (m->jump_gone)
		m->jump_gone(m->jump_gone_self, value, lin & PAGE_MASK);
}

static void flat_clear(struct mmu *m, unsigned ctx, uint64_t lin)
{
	uint64_t *words[] = {
		mmu_flat_word(m, FLAT_READ(ctx), lin),
		mmu_flat_word(m, FLAT_WRITE(ctx), lin),
		mmu_flat_span(m, FLAT_SPAN_READ(ctx), lin),
		mmu_flat_span(m, FLAT_SPAN_WRITE(ctx), lin),
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (*words[i])
			*words[i] = 0;
	}
	flat_clear_jump(m, ctx, lin);
	if (ctx == MMU_USER)
		shut(m, lin);
}

static void flat_drop_list(struct mmu *m, unsigned ctx, unsigned global)
{
	uint32_t n;

	if (!m->flat)
		return;
	if (ctx == MMU_USER)
		window_shut_all(&m->window);
	n = m->journal->count[ctx][global];
	for (uint32_t i = 0; i < n; i++)
		flat_clear(m, ctx, (uint64_t)m->journal->page[ctx][global][i] << PAGE_SHIFT);
	m->journal->count[ctx][global] = 0;
}

static void flat_drop_all(struct mmu *m, unsigned ctx)
{
	flat_drop_list(m, ctx, 0);
	flat_drop_list(m, ctx, 1);
}

static void flat_drop_pages(struct mmu *m, uint64_t lin, unsigned pages)
{
	if (!m->flat)
		return;
	for (unsigned i = 0; i < pages; i++) {
		flat_clear(m, MMU_SUPERVISOR, lin + (uint64_t)i * PAGE_SIZE);
		flat_clear(m, MMU_USER, lin + (uint64_t)i * PAGE_SIZE);
	}
}

/* Before a word of the page is set. A page whose words are all 0 may be in the journal already: that is harmless. */
static void flat_note(struct mmu *m, unsigned ctx, uint64_t lin, unsigned global)
{
	uint32_t *count = &m->journal->count[ctx][global];

	if (*mmu_flat_word(m, FLAT_READ(ctx), lin) || *mmu_flat_word(m, FLAT_WRITE(ctx), lin) ||
	    *mmu_flat_word(m, FLAT_JUMP(ctx), lin))
		return;
	if (*count == JOURNAL_MAX)
		flat_drop_list(m, ctx, global);
	m->journal->page[ctx][global][(*count)++] = (uint32_t)lin >> PAGE_SHIFT;
}

static void flat_fill(struct mmu *m, uint64_t lin, const struct tlb_entry *e, unsigned ctx, unsigned global)
{
	uint64_t read = e->read != TLB_NO_TAG ? e->addend : 0, write = e->write != TLB_NO_TAG ? e->addend : 0;

	if (!m->flat)
		return;
	flat_note(m, ctx, lin, global);
	if (ctx == MMU_USER && (!read || !write))
		shut(m, lin);
	*mmu_flat_word(m, FLAT_READ(ctx), lin) = read;
	*mmu_flat_word(m, FLAT_WRITE(ctx), lin) = write;
	if ((uint32_t)lin >> PAGE_SHIFT == 0 || (uint32_t)lin >> PAGE_SHIFT == STORE_PAGES - 1)
		return;
	*mmu_flat_span(m, FLAT_SPAN_READ(ctx), lin) = read;
	*mmu_flat_span(m, FLAT_SPAN_WRITE(ctx), lin) = write;
}

typedef bool page_test(uint64_t host_page, uint64_t what);

/* Take write words away from the pages that a test, if any, picks. */
static void flat_forget_writes(struct mmu *m, page_test *test, uint64_t what)
{
	if (!m->flat)
		return;
	if (!test)
		window_shut_all(&m->window);
	for (unsigned list = 0; list < 4; list++) {
		unsigned ctx = list / 2;

		for (uint32_t i = 0; i < m->journal->count[ctx][list % 2]; i++) {
			uint64_t lin = (uint64_t)m->journal->page[ctx][list % 2][i] << PAGE_SHIFT;
			uint64_t *word = mmu_flat_word(m, FLAT_WRITE(ctx), lin);

			if (*word && (!test || test(*word + lin, what))) {
				*word = *mmu_flat_span(m, FLAT_SPAN_WRITE(ctx), lin) = 0;
				if (ctx == MMU_USER)
					shut(m, lin);
			}
		}
	}
}

static bool same_page(uint64_t host_page, uint64_t what)
{
	return host_page == what;
}

/* ---- the fast tables ---- */

static void choose_table(struct mmu *m)
{
	m->tlb = m->all_slow ? (struct tlb_entry *)(uintptr_t)empty_table : m->fast[m->context];
}

static void drop_entry(struct mmu *m, unsigned ctx, unsigned i)
{
	struct tlb_entry *e = &m->fast[ctx][i];

	e->read = e->write = e->exec = TLB_NO_TAG;
	m->store->filled[ctx][i / 64] &= ~(1ull << (i % 64));
	m->store->local[ctx][i / 64] &= ~(1ull << (i % 64));
}

typedef bool entry_test(const struct tlb_entry *e, uint64_t what);

/* Drop the filled entries of a bitmap (filled or local) that a test, if any, picks. */
static void drop_entries(struct mmu *m, unsigned ctx, const uint64_t *bitmap, entry_test *test, uint64_t what)
{
	for (unsigned w = 0; w < FAST_WORDS; w++) {
		for (uint64_t bits = bitmap[w]; bits; bits &= bits - 1) {
			unsigned i = w * 64 + (unsigned)__builtin_ctzll(bits);

			if (!test || test(&m->fast[ctx][i], what))
				drop_entry(m, ctx, i);
		}
	}
}

static void drop_all(struct mmu *m, unsigned ctx)
{
	flat_drop_all(m, ctx);
	drop_entries(m, ctx, m->store->filled[ctx], NULL, 0);
}

static uint64_t entry_page(const struct tlb_entry *e)
{
	return e->exec != TLB_NO_TAG ? e->exec : e->read != TLB_NO_TAG ? e->read : e->write;
}

static bool entry_in_big_page(const struct tlb_entry *e, uint64_t lin)
{
	return entry_page(e) >> BIG_SHIFT == lin >> BIG_SHIFT;
}

static void drop_big_page(struct mmu *m, uint64_t lin)
{
	flat_drop_pages(m, lin & BIG_FRAME_MASK, 1u << (BIG_SHIFT - PAGE_SHIFT));
	for (unsigned ctx = 0; ctx < 2; ctx++)
		drop_entries(m, ctx, m->store->filled[ctx], entry_in_big_page, lin);
}

static void drop_page(struct mmu *m, uint64_t lin)
{
	flat_drop_pages(m, lin, 1);
	for (unsigned ctx = 0; ctx < 2; ctx++) {
		if (entry_page(&m->fast[ctx][mmu_index(lin)]) == (lin & PAGE_MASK))
			drop_entry(m, ctx, mmu_index(lin));
	}
}

static bool watched(const struct mmu *m, uint64_t lin)
{
	for (unsigned i = 0; i < m->watch_count; i++) {
		if (m->watch_page[i] == (lin & PAGE_MASK))
			return true;
	}
	for (unsigned i = 0; i < m->debug_count; i++) {
		if (m->debug_page[i] == (lin & PAGE_MASK))
			return true;
	}
	return false;
}

/* `entry`: a store word, or what would be one (paging off). The access was permitted in ctx. */
static void fill_fast(struct mmu *m, uint64_t lin, uint64_t entry, enum mmu_context ctx)
{
	unsigned i = mmu_index(lin);
	struct tlb_entry *e = &m->fast[ctx][i];
	uint64_t tag = lin & PAGE_MASK, gpa = entry & FRAME_MASK, bit = 1ull << (i % 64);
	bool watch = (m->watch_count || m->debug_count) && watched(m, lin);
	bool writable = (entry & PTE_D) && ((entry & PTE_W) || (ctx == MMU_SUPERVISOR && !(m->cr0 & CR0_WP_BIT)));

	if (!ram_has(m->ram, gpa))
		return; /* what the entry holds is another page's: the store never changes without drop_page() */
	e->addend = (uintptr_t)m->ram->host + gpa - tag;
	e->read = watch ? TLB_NO_TAG : tag;
	e->exec = tag;
	e->write = !watch && writable && m->ram->dirty[gpa >> PAGE_SHIFT] == RAM_DIRTY_ALL &&
	                           !m->ram->code[gpa >> PAGE_SHIFT]
	                   ? tag
	                   : TLB_NO_TAG;
	flat_fill(m, lin, e, ctx, entry & PTE_G ? 1 : 0);
	m->store->filled[ctx][i / 64] |= bit;
	if (entry & PTE_G)
		m->store->local[ctx][i / 64] &= ~bit;
	else
		m->store->local[ctx][i / 64] |= bit;
}

static void forget_all_writes(void *self)
{
	struct mmu *m = self;

	flat_forget_writes(m, NULL, 0);
	for (unsigned ctx = 0; ctx < 2; ctx++) {
		for (unsigned w = 0; w < FAST_WORDS; w++) {
			for (uint64_t bits = m->store->filled[ctx][w]; bits; bits &= bits - 1)
				m->fast[ctx][w * 64 + (unsigned)__builtin_ctzll(bits)].write = TLB_NO_TAG;
		}
	}
}

void mmu_forget_writes(struct mmu *m, uint64_t page_gpa)
{
	uintptr_t host = (uintptr_t)m->ram->host + (page_gpa & PAGE_MASK);

	flat_forget_writes(m, same_page, host);
	for (unsigned ctx = 0; ctx < 2; ctx++) {
		for (unsigned w = 0; w < FAST_WORDS; w++) {
			for (uint64_t bits = m->store->filled[ctx][w]; bits; bits &= bits - 1) {
				struct tlb_entry *e = &m->fast[ctx][w * 64 + (unsigned)__builtin_ctzll(bits)];

				if (e->write + e->addend == host) /* NO_TAG is odd, host pages are not */
					e->write = TLB_NO_TAG;
			}
		}
	}
}

/* ---- the store ---- */

static bool word_valid(const struct tlb_store *s, uint64_t word)
{
	return word >> 32 == s->gen[(word >> PTE_G_SHIFT) & 1];
}

/* The stored translation of lin as a page's word, or 0. */
static uint64_t store_find(const struct tlb_store *s, uint64_t lin)
{
	uint64_t word = s->page[(uint32_t)lin >> PAGE_SHIFT];

	if (likely(word_valid(s, word)))
		return word;
	word = s->big[(uint32_t)lin >> BIG_SHIFT];
	return word_valid(s, word) ? word | (lin & FRAME_MASK & ~BIG_FRAME_MASK) : 0;
}

static void erase_kind(uint64_t *words, unsigned count, unsigned global)
{
	for (unsigned i = 0; i < count; i++) {
		if (((words[i] >> PTE_G_SHIFT) & 1) == global)
			words[i] = 0;
	}
}

/* All local, or all global, translations go. When numbers run out their words are erased, so that old ones never count
 * again. */
static void store_age(struct tlb_store *s, unsigned global)
{
	if (unlikely(s->gen[global] == UINT32_MAX)) {
		erase_kind(s->page, STORE_PAGES, global);
		erase_kind(s->big, STORE_BIGS, global);
		s->gen[global] = 0;
	}
	s->gen[global]++;
}

/* Does `new` take something away that someone may have cached from `old`? */
static bool store_replaces(uint64_t old, uint64_t new)
{
	return old && ((old ^ new) & FRAME_MASK || (old & ~new &(PTE_W | PTE_U | PTE_D)));
}

/* Would storing it take something away? The instruction after must then be fetched anew. */
static bool walk_replaces(const struct mmu *m, uint64_t lin, uint32_t word, bool big)
{
	const struct tlb_store *s = m->store;
	uint64_t slot = s->big[(uint32_t)lin >> BIG_SHIFT];

	if (store_replaces(store_find(s, lin), big ? word | (lin & FRAME_MASK & ~BIG_FRAME_MASK) : word))
		return true;
	return big && word_valid(s, slot) && store_replaces(slot, word);
}

/* A walk's result becomes the stored translation. word: frame and bits, without a generation. */
static uint64_t store_put(struct mmu *m, uint64_t lin, uint32_t word, bool big)
{
	struct tlb_store *s = m->store;
	uint64_t full = (uint64_t)s->gen[(word >> PTE_G_SHIFT) & 1] << 32 | word;
	uint64_t *slot_big = &s->big[(uint32_t)lin >> BIG_SHIFT];
	uint64_t page_word = big ? full | (lin & FRAME_MASK & ~BIG_FRAME_MASK) : full;
	uint64_t old = store_find(s, lin);
	bool replaces = store_replaces(old, page_word);

	if (big) {
		replaces = replaces || (word_valid(s, *slot_big) && store_replaces(*slot_big, full));
		*slot_big = full;
		s->page[(uint32_t)lin >> PAGE_SHIFT] = 0;
		if (replaces)
			drop_big_page(m, lin);
	} else {
		s->page[(uint32_t)lin >> PAGE_SHIFT] = full;
		s->used[((uint32_t)lin >> PAGE_SHIFT) / STORE_GROUP] = 1;
		if (replaces)
			drop_page(m, lin);
	}
	if (old && ((old ^ page_word) & PTE_G)) /* it is in the wrong journal */
		flat_drop_pages(m, lin & BIG_FRAME_MASK, 1u << (BIG_SHIFT - PAGE_SHIFT));
	m->generation += replaces;
	m->fills++;
	return page_word;
}

/* ---- the walk ---- */

struct walk {
	uint64_t pde_gpa, pte_gpa; /* pte_gpa: unused for a 4 MiB page */
	uint32_t pde, pte;
	bool big;
	uint32_t word; /* out: frame of the (big) page, W U G combined, D of the last level */
};

static uint32_t load_entry(const struct mmu *m, uint64_t gpa)
{
	uint32_t v;

	if (unlikely(!ram_has(m->ram, gpa)))
		return ~0u;
	memcpy(&v, m->ram->host + gpa, sizeof(v));
	return v;
}

static bool permits(const struct mmu *m, uint32_t bits, enum mmu_access access, enum mmu_context ctx)
{
	if (ctx == MMU_USER && !(bits & PTE_U))
		return false;
	if (access != MMU_WRITE || (bits & PTE_W))
		return true;
	return ctx == MMU_SUPERVISOR && !(m->cr0 & CR0_WP_BIT);
}

static int walk_fault(struct mmu_fault *fault, uint64_t lin, enum mmu_access access, enum mmu_context ctx, uint32_t why)
{
	fault->error = why | (access == MMU_WRITE ? PF_W : 0) | (ctx == MMU_USER ? PF_U : 0);
	fault->cr2 = (uint32_t)lin;
	return -1;
}

/* Reads the tables; changes nothing. Returns 0, or -1 with PF_P and PF_RSVD bits in *why. */
static int walk_read(const struct mmu *m, uint64_t lin, struct walk *k, uint32_t *why)
{
	uint32_t global = m->cr4 & CR4_PGE_BIT ? PTE_G : 0;

	*why = 0;
	k->pde_gpa = (m->cr3 & FRAME_MASK) + ((uint32_t)lin >> BIG_SHIFT) * 4;
	k->pde = load_entry(m, k->pde_gpa);
	if (!(k->pde & PTE_P))
		return -1;
	k->big = (k->pde & PDE_PS) && (m->cr4 & CR4_PSE_BIT);
	if (k->big) {
		*why = PF_P | PF_RSVD;
		if (k->pde & PDE_BIG_RESERVED)
			return -1;
		k->word = (k->pde & (BIG_FRAME_MASK | PTE_W | PTE_U | PTE_D)) | (k->pde & global);
		return 0;
	}
	k->pte_gpa = (k->pde & FRAME_MASK) + (((uint32_t)lin >> PAGE_SHIFT) & 1023) * 4;
	k->pte = load_entry(m, k->pte_gpa);
	if (!(k->pte & PTE_P))
		return -1;
	k->word = (k->pte & (FRAME_MASK | PTE_D)) | (k->pde & k->pte & (PTE_W | PTE_U)) | (k->pte & global);
	return 0;
}

static bool needs_bits(uint32_t entry, uint32_t bits)
{
	return (entry & bits) != bits;
}

/* Would marking overwrite decoded code? */
static bool walk_hits_code(const struct mmu *m, const struct walk *k, uint32_t leaf_bits)
{
	if (needs_bits(k->pde, k->big ? leaf_bits : PTE_A) && ram_holds_code(m->ram, k->pde_gpa, 4))
		return true;
	return !k->big && needs_bits(k->pte, leaf_bits) && ram_holds_code(m->ram, k->pte_gpa, 4);
}

static void mark_entry(struct mmu *m, uint64_t gpa, uint32_t bits)
{
	uint32_t v = load_entry(m, gpa); /* again: a table may be its own directory, and its entry marked a moment ago */

	if (!needs_bits(v, bits))
		return;
	v |= bits;
	ram_write(m->ram, gpa, &v, sizeof(v));
}

static void walk_mark(struct mmu *m, const struct walk *k, uint32_t leaf_bits)
{
	mark_entry(m, k->pde_gpa, k->big ? leaf_bits : PTE_A);
	if (!k->big)
		mark_entry(m, k->pte_gpa, leaf_bits);
}

/* Does a stored or identity word do for this access, without a walk? */
static bool word_serves(const struct mmu *m, uint64_t word, enum mmu_access access, enum mmu_context ctx)
{
	return word && permits(m, (uint32_t)word, access, ctx) && (access != MMU_WRITE || (word & PTE_D));
}

static bool paging(const struct mmu *m)
{
	return (m->cr0 & CR0_PG_BIT) != 0;
}

/* Paging off: every page is its own frame, writable, dirty, and no flush concerns it but that of all. */
static uint64_t identity_word(uint64_t lin)
{
	return (lin & FRAME_MASK) | PTE_W | PTE_U | PTE_D | PTE_G;
}

static int translate(struct mmu *m, uint64_t lin, enum mmu_access access, enum mmu_context ctx, uint64_t *gpa,
                     struct mmu_fault *fault, bool running)
{
	uint64_t word = paging(m) ? store_find(m->store, lin) : identity_word(lin);

	if (!word_serves(m, word, access, ctx)) {
		uint32_t leaf_bits = access == MMU_WRITE ? PTE_A | PTE_D : PTE_A, why;
		struct walk k;

		if (walk_read(m, lin, &k, &why))
			return walk_fault(fault, lin, access, ctx, why);
		if (!permits(m, k.word, access, ctx))
			return walk_fault(fault, lin, access, ctx, PF_P);
		if (running && unlikely(walk_hits_code(m, &k, leaf_bits) ||
		                        walk_replaces(m, lin, k.word | (leaf_bits & PTE_D), k.big)))
			return MMU_HITS_CODE;
		walk_mark(m, &k, leaf_bits);
		word = store_put(m, lin, k.word | (leaf_bits & PTE_D), k.big);
	}
	*gpa = (word & FRAME_MASK) | (lin & ~PAGE_MASK);
	if (access == MMU_WRITE && ram_has(m->ram, *gpa))
		ram_mark_dirty(m->ram, *gpa >> PAGE_SHIFT);
	fill_fast(m, lin, word, ctx);
	return 0;
}

/* The flat table has pages that the small one has not: then there is no walk, nor anything else worth two readings of the clock. */
static bool flat_knows(const struct mmu *m, uint64_t lin, enum mmu_access access, enum mmu_context ctx)
{
	return m->flat && access != MMU_EXEC &&
	       *mmu_flat_word(m, access == MMU_WRITE ? FLAT_WRITE(ctx) : FLAT_READ(ctx), lin);
}

static int translate_timed(struct mmu *m, uint64_t lin, enum mmu_access access, enum mmu_context ctx, uint64_t *gpa,
                           struct mmu_fault *fault, bool running)
{
	uint64_t begin;
	int rc;

	if (!m->meter || !m->meter->on || flat_knows(m, lin, access, ctx))
		return translate(m, lin, access, ctx, gpa, fault, running);
	begin = __rdtsc();
	rc = translate(m, lin, access, ctx, gpa, fault, running);
	m->meter->tlb += __rdtsc() - begin;
	return rc;
}

int mmu_translate(struct mmu *m, uint64_t lin, enum mmu_access access, enum mmu_context context, uint64_t *gpa,
                  struct mmu_fault *fault)
{
	return translate_timed(m, lin, access, context, gpa, fault, false);
}

int mmu_translate_running(struct mmu *m, uint64_t lin, enum mmu_access access, enum mmu_context context, uint64_t *gpa,
                          struct mmu_fault *fault)
{
	return translate_timed(m, lin, access, context, gpa, fault, true);
}

int mmu_probe(const struct mmu *m, uint64_t lin, enum mmu_access access, enum mmu_context context, struct mmu_fault *fault)
{
	struct walk k;
	uint32_t why;

	if (!paging(m) || word_serves(m, store_find(m->store, lin), access, context))
		return 0;
	if (walk_read(m, lin, &k, &why))
		return walk_fault(fault, lin, access, context, why);
	return permits(m, k.word, access, context) ? 0 : walk_fault(fault, lin, access, context, PF_P);
}

int mmu_peek(const struct mmu *m, uint64_t lin, uint64_t *gpa)
{
	uint64_t word = paging(m) ? store_find(m->store, lin) : identity_word(lin);

	if (!word) {
		struct walk k;
		uint32_t why;

		if (walk_read(m, lin, &k, &why))
			return -1;
		word = k.word | (k.big ? lin & FRAME_MASK & ~BIG_FRAME_MASK : 0);
	}
	*gpa = (word & FRAME_MASK) | (lin & ~PAGE_MASK);
	return 0;
}

/* ---- what the architecture says goes ---- */

static void flush_local(struct mmu *m)
{
	store_age(m->store, 0);
	for (unsigned ctx = 0; ctx < 2; ctx++) {
		flat_drop_list(m, ctx, 0);
		drop_entries(m, ctx, m->store->local[ctx], NULL, 0);
	}
	m->generation++;
	m->flushes++;
}

void mmu_flush_all(struct mmu *m)
{
	store_age(m->store, 0);
	store_age(m->store, 1);
	drop_all(m, MMU_SUPERVISOR);
	drop_all(m, MMU_USER);
	m->generation++;
	m->flushes++;
}

void mmu_set_paging(struct mmu *m, uint32_t cr0, uint32_t cr3, uint32_t cr4, bool cr3_loaded)
{
	bool all = ((m->cr0 ^ cr0) & (CR0_PG_BIT | CR0_WP_BIT)) || ((m->cr4 ^ cr4) & (CR4_PGE_BIT | CR4_PSE_BIT));
	bool local = (cr3_loaded || m->cr3 != cr3) && (cr0 & CR0_PG_BIT);

	m->cr0 = cr0;
	m->cr3 = cr3;
	m->cr4 = cr4;
	if (all)
		mmu_flush_all(m);
	else if (local)
		flush_local(m); /* without CR4.PGE there are no global translations */
}

void mmu_invlpg(struct mmu *m, uint64_t lin)
{
	struct tlb_store *s = m->store;
	uint64_t *big = &s->big[(uint32_t)lin >> BIG_SHIFT];

	s->page[(uint32_t)lin >> PAGE_SHIFT] = 0;
	drop_page(m, (uint32_t)lin);
	if (word_valid(s, *big)) {
		*big = 0;
		drop_big_page(m, (uint32_t)lin);
	}
	m->generation++;
}

void mmu_set_context(struct mmu *m, enum mmu_context context)
{
	if (m->context == context)
		return;
	m->context = context;
	if (m->split_views) {
		uint64_t begin = m->meter ? meter_now(m->meter) : 0;

		drop_all(m, context);
		m->view_switches++;
		if (m->meter)
			m->meter->view += meter_now(m->meter) - begin;
	}
	choose_table(m);
}

void mmu_set_all_slow(struct mmu *m, bool on)
{
	m->all_slow = on;
	choose_table(m);
}

void mmu_set_watch(struct mmu *m, const uint32_t *pages, unsigned count)
{
	BUG_ON(count > 4);
	m->watch_count = count;
	for (unsigned i = 0; i < count; i++)
		m->watch_page[i] = pages[i] & FRAME_MASK;
	drop_all(m, MMU_SUPERVISOR);
	drop_all(m, MMU_USER);
}

void mmu_set_debug_watch(struct mmu *m, const uint32_t *pages, unsigned count)
{
	BUG_ON(count > MMU_DEBUG_PAGES);
	m->debug_count = count;
	for (unsigned i = 0; i < count; i++)
		m->debug_page[i] = pages[i] & FRAME_MASK;
	drop_all(m, MMU_SUPERVISOR);
	drop_all(m, MMU_USER);
}

/* ---- moments ---- */

/* A word of a saved translation: its place, and the stored word without its generation. */
#define SAVED_BIG (1ull << 63)

static void save_word(uint64_t *words, size_t room, size_t *n, uint64_t place, uint64_t word)
{
	if (*n < room)
		words[*n] = place << 32 | (uint32_t)word;
	(*n)++;
}

size_t mmu_save_translations(const struct mmu *m, uint64_t *words, size_t room)
{
	const struct tlb_store *s = m->store;
	size_t n = 0;

	for (unsigned group = 0; group < STORE_PAGES / STORE_GROUP; group++) {
		for (unsigned i = 0; s->used[group] && i < STORE_GROUP; i++) {
			if (word_valid(s, s->page[group * STORE_GROUP + i]))
				save_word(words, room, &n, group * STORE_GROUP + i, s->page[group * STORE_GROUP + i]);
		}
	}
	for (unsigned i = 0; i < STORE_BIGS; i++) {
		if (word_valid(s, s->big[i]))
			save_word(words, room, &n, SAVED_BIG >> 32 | i, s->big[i]);
	}
	return n;
}

void mmu_load_translations(struct mmu *m, const uint64_t *words, size_t count)
{
	struct tlb_store *s = m->store;

	mmu_flush_all(m);
	for (size_t i = 0; i < count; i++) {
		uint32_t word = (uint32_t)words[i], place = (uint32_t)(words[i] >> 32) & (STORE_PAGES - 1);
		uint64_t full = (uint64_t)s->gen[(word >> PTE_G_SHIFT) & 1] << 32 | word;

		if (words[i] & SAVED_BIG) {
			s->big[place % STORE_BIGS] = full;
		} else {
			s->page[place] = full;
			s->used[place / STORE_GROUP] = 1;
		}
	}
}

int mmu_init(struct mmu *m, struct ram *ram, bool split_views)
{
	memset(m, 0, sizeof(*m));
	m->store = reserve(sizeof(*m->store));
	if (!m->store)
		return -ENOMEM;
	m->store->gen[0] = m->store->gen[1] = 1;
	memcpy(m->fast[MMU_SUPERVISOR], empty_table, sizeof(empty_table));
	memcpy(m->fast[MMU_USER], empty_table, sizeof(empty_table));
	m->ram = ram;
	m->split_views = split_views;
	m->generation = 1;
	choose_table(m);
	ram->cleaned = forget_all_writes;
	ram->cleaned_self = m;
	return 0;
}

int mmu_flat_create(struct mmu *m)
{
	m->journal = reserve(sizeof(*m->journal));
	m->flat = m->journal ? reserve(FLAT_SIZE) : NULL;
	if (!m->flat)
		return -ENOMEM; /* mmu_free() takes the rest */
	drop_all(m, MMU_SUPERVISOR);
	drop_all(m, MMU_USER);
	return 0;
}

int mmu_window_create(struct mmu *m)
{
	return window_create(&m->window, m->ram);
}

bool mmu_window_open(struct mmu *m, uint64_t lin, bool write)
{
	uint64_t read_word = *mmu_flat_word(m, FLAT_READ(MMU_USER), lin), page = lin & PAGE_MASK;
	bool writable = *mmu_flat_word(m, FLAT_WRITE(MMU_USER), lin) != 0;

	if (!m->window.base || !read_word || (write && !writable))
		return false;
	return window_open(&m->window, page, read_word + page - (uintptr_t)m->ram->host, writable);
}

bool mmu_flat_set_jump(struct mmu *m, uint64_t lin, uint64_t value)
{
	uint64_t word = paging(m) ? store_find(m->store, lin) : identity_word(lin);

	if (!word)
		return false;
	flat_note(m, m->context, lin, word & PTE_G ? 1 : 0);
	flat_clear_jump(m, m->context, lin);
	*mmu_flat_word(m, FLAT_JUMP(m->context), lin) = value;
	return true;
}

void mmu_flat_drop_jumps(struct mmu *m, enum mmu_context context)
{
	for (unsigned global = 0; global < 2; global++) {
		for (uint32_t i = 0; i < m->journal->count[context][global]; i++)
			flat_clear_jump(m, context, (uint64_t)m->journal->page[context][global][i] << PAGE_SHIFT);
	}
}

void mmu_free(struct mmu *m)
{
	window_destroy(&m->window);
	release(m->flat, FLAT_SIZE);
	release(m->journal, sizeof(*m->journal));
	release(m->store, sizeof(*m->store));
	if (m->ram)
		m->ram->cleaned = NULL;
	memset(m, 0, sizeof(*m));
}
