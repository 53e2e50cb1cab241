/*
 * cache.h - decoded traces: where the interpreter keeps what it decoded, and how it finds it again.
 *
 * A trace is found by physical address and mode (MODE_* key), so an address-space switch loses nothing; a jump cache by linear address
 * stands in front. Memory comes from one arena: an invalidated trace is only unlinked, and when the arena is full everything goes at once.
 *
 * Invariants
 *  1. Every byte a live trace was decoded from lies in a 64-byte chunk whose bit is set in ram.code, so no engine can write it
 *     unnoticed.
 *  2. A live trace is in the hash table and in the list of each page it has bytes on (two for an instruction that crosses).
 *  3. A jump-cache entry is good only while its generation equals cache_generation(): any flush, mapping change or
 *     invalidation changes that.
 *  4. No trace is freed while it runs: the cache is emptied only in cache_build(), between traces.
 */
#ifndef RINGSIDE_VMM_ENGINE_CACHE_H
#define RINGSIDE_VMM_ENGINE_CACHE_H

#include "vmm/engine/interp.h"

#define TRACE_MAX_INSNS 32
#define TRACE_MAX_BYTES 240 /* insn.off has 8 bits, and the last instruction may be 15 long */
#define NO_PAGE UINT64_MAX

struct trace {
	uint64_t gpa;  /* of the first byte; NO_PAGE when dead or never cached */
	uint64_t gpa2; /* page address of the second page of a crossing instruction, else NO_PAGE */
	struct trace *hash_next;
	struct trace *page_next[2];
	uint16_t n; /* instructions */
	uint16_t bytes;
	uint8_t mode;
	bool changes_mode;    /* its last instruction may change the MODE_* key */
	uint8_t hits;         /* the translator's: how often it was interpreted, */
	uint8_t careful_hits; /* and because a block would not run */
	struct insn *insns;   /* n and the pseudo instruction that ends them */
};

/* A trace outside the arena, for partial runs, single steps and code that cannot be cached. */
struct trace_scratch {
	struct trace t;
	struct insn room[TRACE_MAX_INSNS + 1];
};

#define JUMP_CACHE_SIZE 4096u

struct jump_entry {
	uint64_t lin;
	uint32_t generation;
	uint32_t mode;
	struct trace *t;
};

struct cache {
	struct vcpu *c;
	struct jump_entry jump[JUMP_CACHE_SIZE];
	uint32_t epoch;     /* counts invalidations */
	unsigned max_insns; /* of a trace, 1..TRACE_MAX_INSNS */
	struct trace **hash;
	struct trace **pages; /* per RAM page: list of traces */
	uint8_t *arena;
	size_t used;
	struct trace_scratch odd; /* the trace of code that cannot be cached */
	uint64_t decoded, invalidations;
	/* for who keeps something made from traces: a page's traces died; all did. May be NULL */
	void (*dropped)(void *self, uint64_t page_gpa);
	void (*flushed)(void *self);
	void *dropped_self;
};

int cache_init(struct cache *k, struct vcpu *c); /* -ENOMEM */
void cache_free(struct cache *k);
void cache_flush(struct cache *k);
/* ram.code_written: the page's traces die. */
void cache_code_written(void *self, uint64_t gpa, unsigned len);

/* The trace at the vCPU's CS:RIP, from the hash or newly decoded; raises #PF or #GP when it cannot be fetched. */
struct trace *cache_find(struct cache *k);

/* The live trace on one page at a physical address in the present mode, or NULL. lin: where it would be decoded from if there is none; 0 not. */
struct trace *cache_known(struct cache *k, uint64_t gpa, uint32_t lin);

/* The page's traces have not been hit. */
void cache_cool(struct cache *k, uint64_t gpa);

static inline uint32_t cache_generation(const struct cache *k)
{
	return k->epoch + k->c->mmu.generation; /* both only grow */
}

static inline struct trace *cache_lookup(struct cache *k)
{
	struct vcpu *c = k->c;
	uint32_t lin = (uint32_t)(c->seg[SEG_CS].base + c->rip);
	struct jump_entry *j = &k->jump[(lin ^ (lin >> 12)) & (JUMP_CACHE_SIZE - 1)];

	if (likely(j->lin == lin && j->mode == c->mode && j->generation == cache_generation(k) &&
	           c->rip + j->t->bytes - 1 <= c->seg[SEG_CS].limit))
		return j->t;
	return cache_find(k);
}

/* Pseudo instruction after a trace's last: falls through to what follows. */
void interp_trace_end(struct vcpu *c, const struct insn *ip);

#endif
