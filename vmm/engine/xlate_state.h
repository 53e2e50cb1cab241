/*
 * xlate_state.h - the translator's own books: pages of translated code, the buffer, and what it knows of the vCPU. xlate.c says how it all works.
 *
 * Called by xlate*.c only.
 */
#ifndef RINGSIDE_VMM_ENGINE_XLATE_STATE_H
#define RINGSIDE_VMM_ENGINE_XLATE_STATE_H

#include "vmm/engine/codebuf.h"
#include "vmm/engine/hardfault.h"
#include "vmm/engine/xlate_gen.h"

#define HOT 16
#define CODE_SIZE (48ull << 20)
#define COLD_START (20u << 20)                    /* from here on, in the buffer: what blocks seldom run */
#define BLOCK_ROOM (BLOCK_MAX_INSNS * 192u + 256) /* no block is longer */
#define SITES (1u << 19)
#define SITE_ROOM BLOCK_MAX_INSNS
#define PAGE_HASH 4096u
#define DEPENDENTS (1u << 18)
#define LOSSES_MAX 100u /* where a page's code keeps changing, no other page's blocks have it */
#define FULL_SEGMENT (1ull << 32)
#define CAREFUL 0x80u /* with a page's mode: its careful blocks; no MODE_* key has this bit */
_Static_assert(CAREFUL == MODE_KEYS, "no key of the mode");

/* Slices that end in a page before its code goes through the window, and the window faults that one more slice pays for: a slice takes some 100 microseconds, of
 * which the window saves half; a fault takes 25. */
enum { FIRST_SAMPLES = 8, CREDIT_MAX = 512, SLICE_CREDIT = 2 };

struct page {
	uint64_t gpa;
	uint32_t lin;
	uint8_t mode;
	bool windowed;                    /* blocks go through the window */
	uint16_t samples, samples_wanted; /* slices that ended here, and how many make it worth that */
	int32_t credit;                   /* window faults that are still paid for */
	uint32_t dependents;              /* index of the first, 0 none */
	unsigned losses;                  /* how often those died, or an instruction across its end did */
	struct page *hash_next;           /* same hash of gpa */
	uint32_t *entries;                /* code address by offset, 0 none */
};

/* A block of another page (`owner`, at the offset `at`) that has code of this one or jumps into it. Its head is to jump to `dead` when this page is written to. */
struct dependent {
	struct page *owner;
	uint32_t code, at, dead;
	uint32_t next; /* index */
};

struct xlate {
	/* generated code knows the places of these */
	uint8_t *flat;  /* r15 */
	uint64_t span;  /* r10 */
	int64_t budget; /* r11 */
	uint32_t flags; /* as LAHF and SETO leave AX */

	struct vcpu *c;
	struct cache *cache;
	struct codebuf buf;
	struct trace_scratch alone;
	struct site *sites; /* [0] is never used */
	uint32_t site_count;
	struct page *pages;
	uint32_t page_count;
	struct dependent *dependents; /* [0] is never used */
	uint32_t dependent_count;
	uint32_t *entries;
	struct page *hash[PAGE_HASH];
	uint32_t thunk[THUNKS];
	uint32_t enter, leave;
	uint32_t code_start, code_at, cold_at; /* offsets into the buffer */
	struct low *low;
	struct frame *frame; /* in low */
	struct calls *calls; /* in low, of the present context */
	uint64_t slice_end;  /* icount up to which a budget was given */
	uint64_t sample_at; /* icount at which a slice ends, and whoever runs is noted: however often the run loop is entered meanwhile */
	uint16_t jump_mode[2]; /* mode whose entries FLAT_JUMP has, by context; 0x100: none */
	unsigned hot;
	bool hard; /* privileged instructions really fault */
	bool always_window;
	struct hardfaults faults;
	uint32_t code_end; /* offset beyond which no block reaches */
	uint64_t left_out; /* EIP; none is so great: UINT64_MAX */
	bool decline;      /* the trace at rip is to be interpreted once */
	uint64_t blocks, flushes;
	struct gen gen; /* of the block being translated */
};

/* Where the stack of calls begins. */
static inline uint64_t calls_bottom(const struct calls *k)
{
	return (uintptr_t)k->words + CALLS_SIZE - CALL_SIZE;
}

/* ---- xlate_page.c ---- */

struct page *page_find(struct xlate *x, uint64_t gpa, uint32_t lin, uint8_t mode);
struct page *page_get(struct xlate *x, uint64_t gpa, uint32_t lin, uint8_t mode); /* found or made: there is room */
struct page *page_present(struct xlate *x, uint32_t rip); /* the page that rip is in, now; or NULL */
/* The word that makes [word + 4 * linear address] the entry; and the entry, 0 none. */
uint64_t page_word(const struct page *p);
uint32_t page_code(uint64_t word, uint32_t lin);
/* It is the page at its linear address, from now on, until page_gone() (mmu.jump_gone); and the word that is not 0 meanwhile. */
void page_appear(struct xlate *x, const struct page *p);
void page_gone(void *self, uint64_t word, uint64_t lin);
uint32_t *page_presence(const struct xlate *x, const struct page *p);
/* The page's blocks are translated anew when they next run. There must be room for that. */
bool page_can_restart(const struct xlate *x);
void page_restart(struct xlate *x, struct page *p);
void page_add_dependent(struct xlate *x, struct page *p, struct dependent d); /* d.next is chosen here; there must be room */
bool page_has_dependent(const struct xlate *x, const struct page *p, uint32_t code);
void block_kill(struct xlate *x, const struct dependent *d);
void page_written(void *self, uint64_t gpa);                  /* cache.dropped */
void code_aim(struct xlate *x, uint32_t jump, uint32_t code); /* of a jump, where its 32-bit displacement is */
/* Everything goes (cache.flushed). Not from inside a block: its code stays readable, but must not be resumed. */
void code_flush(void *self);

/* ---- xlate_block.c ---- */

/* Translate t at the vCPU's rip. 0 when it cannot be now. */
uint32_t translate(struct xlate *x, const struct trace *t, bool careful);

/* ---- xlate_thunk.c ---- */

/* What thunks call. `data` is behind the jump, r8 and budget are registers. Returns code to go on at, or 0 to leave. */
typedef uint32_t handler_fn(struct xlate *x, const uint8_t *data, uint32_t r8, int64_t budget);
void gen_thunks(struct xlate *x, handler_fn *const handlers[THUNK_ABSENT]); /* the buffer's first code */

#endif
