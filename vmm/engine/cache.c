/*
 * cache.c - building, finding and invalidating traces. See cache.h for the invariants. Called by interp.c only.
 */
#include "vmm/engine/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cpu/watch.h"
#include "vmm/reserve.h"

#define HASH_BITS 16
#define ARENA_SIZE (96ull << 20)
#define HEAD_ROOM ((sizeof(struct trace) + 31) & ~31ull)
#define TRACE_ROOM (HEAD_ROOM + (TRACE_MAX_INSNS + 1) * sizeof(struct insn))

static unsigned hash_of(uint64_t gpa, unsigned mode)
{
	return (unsigned)(((gpa ^ ((uint64_t)mode << 40)) * 0x9e3779b97f4a7c15ull) >> (64 - HASH_BITS));
}

int cache_init(struct cache *k, struct vcpu *c)
{
	k->c = c;
	k->odd.t.insns = k->odd.room;
	k->max_insns = TRACE_MAX_INSNS;
	k->hash = calloc(1u << HASH_BITS, sizeof(*k->hash));
	k->pages = calloc(c->mmu.ram->pages, sizeof(*k->pages));
	k->arena = reserve(ARENA_SIZE);
	if (!k->hash || !k->pages || !k->arena) {
		cache_free(k);
		return -ENOMEM;
	}
	cache_flush(k);
	return 0;
}

void cache_free(struct cache *k)
{
	free(k->hash);
	free(k->pages);
	release(k->arena, ARENA_SIZE);
}

void cache_flush(struct cache *k)
{
	const struct ram *ram = k->c->mmu.ram;

	if (k->used) { /* otherwise all of it is zero, and untouched */
		memset(k->hash, 0, sizeof(*k->hash) << HASH_BITS);
		memset(k->pages, 0, ram->pages * sizeof(*k->pages));
		memset(ram->code, 0, ram->pages * sizeof(*ram->code));
	}
	for (unsigned i = 0; i < JUMP_CACHE_SIZE; i++)
		k->jump[i].lin = UINT64_MAX;
	k->used = 0;
	k->epoch++;
	if (k->flushed)
		k->flushed(k->dropped_self);
}

static void unhash(struct cache *k, struct trace *t)
{
	struct trace **p = &k->hash[hash_of(t->gpa, t->mode)];

	while (*p != t)
		p = &(*p)->hash_next;
	*p = t->hash_next;
}

/* The one after t in a page's list. */
static struct trace *next_of_page(const struct trace *t, uint64_t page)
{
	bool first = t->gpa2 == NO_PAGE || t->gpa2 != page << PAGE_SHIFT;

	return t->page_next[first ? 0 : 1];
}

void cache_code_written(void *self, uint64_t gpa, unsigned len)
{
	struct cache *k = self;
	uint64_t page = gpa >> PAGE_SHIFT;
	struct trace *next;

	(void)len; /* a page's code goes as a whole; data beside code is told apart by ram.code before this is called */
	for (struct trace *t = k->pages[page]; t; t = next) {
		next = next_of_page(t, page);
		if (t->gpa != NO_PAGE) {
			unhash(k, t);
			t->gpa = NO_PAGE;
		}
	}
	k->pages[page] = NULL;
	if (k->dropped)
		k->dropped(k->dropped_self, page << PAGE_SHIFT);
	ram_clear_code(k->c->mmu.ram, page << PAGE_SHIFT);
	k->epoch++;
	k->invalidations++;
}

void interp_trace_end(struct vcpu *c, const struct insn *ip)
{
	c->rip = (uint32_t)(c->rip + ip->off);
}

static void insn_too_long(struct vcpu *c, const struct insn *ip)
{
	BEGIN;
	vcpu_raise_error(c, VEC_GP, 0);
}

static void insn_undefined(struct vcpu *c, const struct insn *ip)
{
	BEGIN;
	vcpu_raise(c, VEC_UD);
}

static void bind(struct insn *in, unsigned mode)
{
	in->fn = interp_bind_int(in, mode);
	if (!in->fn)
		in->fn = interp_bind_fpu(in, mode);
	if (!in->fn)
		in->fn = insn_undefined;
}

static bool may_change_mode(const struct insn *in)
{
	enum op_class class = op_class(in->op);

	return class == CLASS_SEG || class == CLASS_SENS_CPL0 || class == CLASS_SENS_FLAGS;
}

/* Physical address of an instruction byte; raises #PF. */
static uint64_t fetch_gpa(struct vcpu *c, uint32_t lin)
{
	struct tlb_entry *e = &c->mmu.tlb[mmu_index(lin)];
	struct mmu_fault fault;
	uint64_t gpa;

	if (e->exec == (lin & PAGE_MASK))
		return (uint64_t)((uint8_t *)(lin + e->addend) - c->mmu.ram->host);
	if (mmu_translate(&c->mmu, lin, MMU_EXEC, c->mmu.context, &gpa, &fault) < 0)
		vcpu_raise_pf(c, &fault);
	return gpa;
}

/* Decode from bytes into t until something ends it. Returns false when the first instruction needs more than avail bytes. */
static bool decode_into(struct vcpu *c, struct trace *t, unsigned max_insns, const uint8_t *bytes, unsigned avail)
{
	unsigned off = 0, n = 0;
	uint8_t flags = 0;

	while (n < max_insns && off < TRACE_MAX_BYTES && !(flags & IF_ENDS)) {
		struct insn *in = &t->insns[n];
		unsigned left = avail - off < 15 ? avail - off : 15;
		int len = left ? insn_decode(in, bytes + off, left, c->mode, off) : 0;

		if (len == 0) {
			if (n == 0)
				return false;
			break;
		}
		if (n && watch_cuts(c, (uint32_t)(c->seg[SEG_CS].base + c->rip + off)))
			break; /* a breakpoint is looked for where traces begin */
		if (c->rip + off + in->len - 1 > c->seg[SEG_CS].limit) {
			if (n == 0)
				vcpu_raise_error(c, VEC_GP, 0);
			break;
		}
		bind(in, c->mode);
		if (len == -2)
			in->fn = insn_too_long;
		flags = in->flags | (len < 0 ? IF_ENDS : 0);
		off += in->len;
		n++;
	}
	t->n = (uint16_t)n;
	t->bytes = (uint16_t)off;
	t->mode = c->mode;
	t->changes_mode = may_change_mode(&t->insns[n - 1]);
	t->gpa = t->gpa2 = NO_PAGE;
	t->hits = t->careful_hits = 0;
	t->insns[n] = (struct insn){ .fn = interp_trace_end, .off = (uint8_t)off };
	return true;
}

/* The bytes of an instruction that crosses a page, as the two pages hold them now. What is not RAM reads as all ones. */
static unsigned fetch_crossing(struct vcpu *c, uint32_t lin, uint64_t gpa, uint8_t bytes[16], uint64_t *gpa2)
{
	unsigned here = PAGE_SIZE - (lin & (PAGE_SIZE - 1));

	ram_read(c->mmu.ram, gpa, bytes, here);
	*gpa2 = fetch_gpa(c, lin + here);
	ram_read(c->mmu.ram, *gpa2, bytes + here, 15 - here);
	return 15;
}

static void link_trace(struct cache *k, struct trace *t, uint64_t gpa, uint64_t gpa2, unsigned here)
{
	struct ram *ram = k->c->mmu.ram;
	struct trace **bucket = &k->hash[hash_of(gpa, t->mode)];
	struct trace **page = &k->pages[gpa >> PAGE_SHIFT];

	t->gpa = gpa;
	t->gpa2 = gpa2;
	t->hash_next = *bucket;
	*bucket = t;
	t->page_next[0] = *page;
	*page = t;
	if (ram_mark_code(ram, gpa, here))
		mmu_forget_writes(&k->c->mmu, gpa & PAGE_MASK);
	if (gpa2 == NO_PAGE)
		return;
	page = &k->pages[gpa2 >> PAGE_SHIFT];
	t->page_next[1] = *page;
	*page = t;
	if (ram_mark_code(ram, gpa2, t->bytes - here))
		mmu_forget_writes(&k->c->mmu, gpa2);
}

static struct trace *build(struct cache *k, uint32_t lin, uint64_t gpa)
{
	struct vcpu *c = k->c;
	struct ram *ram = c->mmu.ram;
	unsigned here = PAGE_SIZE - (lin & (PAGE_SIZE - 1));
	uint64_t gpa2 = NO_PAGE;
	struct trace *t;
	uint8_t bytes[16];

	k->decoded++;
	if (!ram_has(ram, gpa)) {
		memset(bytes, 0xff, sizeof(bytes));
		BUG_ON(!decode_into(c, &k->odd.t, k->max_insns, bytes, 15));
		return &k->odd.t;
	}
	if (k->used + TRACE_ROOM > ARENA_SIZE)
		cache_flush(k);
	t = (struct trace *)(k->arena + k->used);
	t->insns = (struct insn *)(k->arena + k->used + HEAD_ROOM);
	if (!decode_into(c, t, k->max_insns, ram->host + gpa, here)) {
		fetch_crossing(c, lin, gpa, bytes, &gpa2);
		BUG_ON(!decode_into(c, t, k->max_insns, bytes, 15));
		t->n = 1; /* what follows is on the second page: found by its own address */
		t->bytes = t->insns[0].len;
		t->changes_mode = may_change_mode(&t->insns[0]);
		t->insns[1] = (struct insn){ .fn = interp_trace_end, .off = t->insns[0].len };
		if (!ram_has(ram, gpa2) || gpa2 == (gpa & PAGE_MASK)) {
			memcpy(k->odd.room, t->insns, 2 * sizeof(struct insn));
			t->insns = k->odd.room;
			k->odd.t = *t;
			return &k->odd.t;
		}
	} else {
		here = t->bytes;
	}
	k->used += (HEAD_ROOM + (t->n + 1u) * sizeof(struct insn) + 63) & ~63ull;
	link_trace(k, t, gpa, gpa2, here);
	return t;
}

static struct trace *build_timed(struct cache *k, uint32_t lin, uint64_t gpa)
{
	struct meter *m = &k->c->meter;
	uint64_t begin = meter_now(m), fills = m->tlb;
	struct trace *t = build(k, lin, gpa);

	m->decode += meter_now(m) - begin - (m->tlb - fills);
	return t;
}

struct trace *cache_find(struct cache *k)
{
	struct vcpu *c = k->c;
	uint32_t lin = (uint32_t)(c->seg[SEG_CS].base + c->rip);
	struct trace *t;
	uint64_t gpa;

	c->ip = NULL; /* a fault from here on has no instruction */
	if (c->rip > c->seg[SEG_CS].limit)
		vcpu_raise_error(c, VEC_GP, 0);
	gpa = fetch_gpa(c, lin);
	for (t = k->hash[hash_of(gpa, c->mode)]; t; t = t->hash_next) {
		if (t->gpa != gpa || t->mode != c->mode || c->rip + t->bytes - 1 > c->seg[SEG_CS].limit)
			continue;
		if (t->gpa2 == NO_PAGE || t->gpa2 == fetch_gpa(c, (lin | (PAGE_SIZE - 1)) + 1))
			break;
	}
	if (!t || t->gpa == NO_PAGE) /* finding the second page may have set an accessed bit in this very code */
		t = build_timed(k, lin, gpa);
	if (t->gpa != NO_PAGE && t->gpa2 == NO_PAGE)
		k->jump[(lin ^ (lin >> 12)) & (JUMP_CACHE_SIZE - 1)] =
		        (struct jump_entry){ .lin = lin, .generation = cache_generation(k), .mode = c->mode, .t = t };
	return t;
}

void cache_cool(struct cache *k, uint64_t gpa)
{
	for (struct trace *t = k->pages[gpa >> PAGE_SHIFT]; t; t = next_of_page(t, gpa >> PAGE_SHIFT))
		t->hits = 0;
}

struct trace *cache_known(struct cache *k, uint64_t gpa, uint32_t lin)
{
	struct vcpu *c = k->c;
	uint64_t rip = c->rip;
	struct trace *t = k->hash[hash_of(gpa, c->mode)];

	while (t && !(t->gpa == gpa && t->mode == c->mode && t->gpa2 == NO_PAGE))
		t = t->hash_next;
	if (t || !lin || k->used + TRACE_ROOM > ARENA_SIZE || (gpa & (PAGE_SIZE - 1)) > PAGE_SIZE - 16)
		return t;
	c->rip = lin; /* CS is flat */
	t = build(k, lin, gpa);
	c->rip = rip;
	return t;
}
