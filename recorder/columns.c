/*
 * columns.c - predict, subtract; predict, add.
 *
 * Encoder and decoder do the same steps in the same order; every array below is part of the format. For each event:
 *
 *  1. Which site? A site is a tuple (kind, op, mode, size, flags) at a rip. Guessed from the two sites before (step 0),
 *     then from the one before (step 1). Otherwise it is a new one (step 2) or known by number (step 3 + n). Code that
 *     runs twice is step 0.
 *  2. How far on is icount? Guessed per (site before, site): straight-line code takes as long each time.
 *  3. addr, value, error: guessed per site.
 *
 * A guess is one of five, whichever has been nearest lately at this place (score: decaying sum of the bits it was off):
 *     zero; the last value; the last value plus the last difference; the virtual clock, for what RDTSC and timers
 *     return; and what followed the last value the time before, for values that go round.
 * The clock guess is the last value guessed by clock, plus what icount and the emulated faults since are worth
 * (vmm/clock.h). Only idle time escapes it.
 */
#include "recorder/columns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/bug.h"
#include "vmm/decode/insn.h"

enum guess { GUESS_ZERO, GUESS_LAST, GUESS_STRIDE, GUESS_CLOCK, GUESS_PAIR, GUESSES };

struct predictor {
	uint64_t last, stride;
	uint16_t score[GUESSES];
};

#define PAIR_BITS 12
#define PATH_BITS 14
#define MOVE_BITS 12
#define INDEX_BITS 16 /* twice TRACE_CHUNK_EVENTS, so the site index is never full */
#define NO_SITE TRACE_CHUNK_EVENTS

struct site {
	uint64_t rip;
	uint32_t tuple;
	uint32_t next; /* site that followed last time, plus one; 0 none */
	struct predictor addr, value, error;
};

struct model {
	/* predictor state, the same on both sides */
	struct site site[TRACE_CHUNK_EVENTS + 1]; /* the last is "before the first event" */
	uint32_t sites;
	uint32_t path[1 << PATH_BITS];         /* (site, site) -> next site, plus one */
	struct predictor move[1 << MOVE_BITS]; /* (site, site) -> icount */
	uint64_t move_pair[1 << PAIR_BITS], addr_pair[1 << PAIR_BITS], value_pair[1 << PAIR_BITS],
	        error_pair[1 << PAIR_BITS];
	uint32_t before, before2; /* the last two sites */
	uint64_t icount;
	uint64_t clock_per_insn, clock_per_fault;
	uint64_t faults;
	uint64_t clock_value, clock_icount, clock_faults;

	/* encoding only */
	uint64_t first_icount;
	uint32_t count;
	uint32_t index[1 << INDEX_BITS]; /* hash of (tuple, rip) -> site, plus one */
	uint64_t tuple[TRACE_CHUNK_EVENTS];
	uint32_t tuples;
	uint32_t site_tuple[TRACE_CHUNK_EVENTS];
	int64_t site_rip[TRACE_CHUNK_EVENTS];
	uint32_t step[TRACE_CHUNK_EVENTS];
	int64_t d_icount[TRACE_CHUNK_EVENTS], d_addr[TRACE_CHUNK_EVENTS], d_value[TRACE_CHUNK_EVENTS],
	        d_error[TRACE_CHUNK_EVENTS];
	int64_t any_icount, any_addr, any_value, any_error; /* or of the column */
	uint32_t blob_len[TRACE_CHUNK_EVENTS];
	uint32_t blob_lens;
	uint8_t *blob;
	size_t blob_bytes, blob_room;
};

struct model *model_create(void)
{
	return calloc(1, sizeof(struct model));
}

void model_destroy(struct model *m)
{
	if (!m)
		return;
	free(m->blob);
	free(m);
}

static inline uint32_t mix(uint64_t a, uint64_t b, unsigned bits)
{
	return (uint32_t)(((a + 1) * 0x9e3779b97f4a7c15ull ^ (b + 0x7f4a7c15) * 0xd6e8feb86659fd93ull) >> (64 - bits));
}

static inline unsigned bits_off(uint64_t a, uint64_t b)
{
	uint64_t d = a - b;

	d = (d << 1) ^ (uint64_t)((int64_t)d >> 63);
	return d ? 64 - (unsigned)__builtin_clzll(d) : 0;
}

static void reset(struct model *m, uint64_t first_icount, uint64_t per_insn, uint64_t per_fault)
{
	memset(m->path, 0, sizeof(m->path));
	memset(m->move, 0, sizeof(m->move));
	memset(m->move_pair, 0, sizeof(m->move_pair));
	memset(m->addr_pair, 0, sizeof(m->addr_pair));
	memset(m->value_pair, 0, sizeof(m->value_pair));
	memset(m->error_pair, 0, sizeof(m->error_pair));
	m->sites = 0;
	m->before = m->before2 = NO_SITE;
	m->site[NO_SITE].next = 0;
	m->icount = first_icount;
	m->clock_per_insn = per_insn;
	m->clock_per_fault = per_fault;
	m->faults = 0;
	m->clock_value = m->clock_icount = m->clock_faults = 0;
}

/* ---- Guessing ---------------------------------------------------------------------------------------------- */

struct guesses {
	uint64_t of[GUESSES];
	enum guess best;
	uint64_t *pair;
};

static inline uint64_t clock_guess(const struct model *m)
{
	return m->clock_value + (m->icount - m->clock_icount) * m->clock_per_insn +
	       (m->faults - m->clock_faults) * m->clock_per_fault;
}

static inline uint64_t guess(const struct predictor *p, uint64_t *pairs, uint32_t place, uint64_t clock,
                             struct guesses *g)
{
	unsigned i;

	g->pair = &pairs[mix(place, p->last, PAIR_BITS)];
	g->of[GUESS_ZERO] = 0;
	g->of[GUESS_LAST] = p->last;
	g->of[GUESS_STRIDE] = p->last + p->stride;
	g->of[GUESS_CLOCK] = clock;
	g->of[GUESS_PAIR] = *g->pair;
	g->best = GUESS_ZERO;
	for (i = 1; i < GUESSES; i++)
		if (p->score[i] < p->score[g->best])
			g->best = (enum guess)i;
	return g->of[g->best];
}

static inline void learn(struct predictor *p, const struct guesses *g, uint64_t actual)
{
	unsigned i;

	for (i = 0; i < GUESSES; i++)
		p->score[i] = (uint16_t)(p->score[i] - (p->score[i] >> 2) + bits_off(actual, g->of[i]));
	*g->pair = actual;
	p->stride = actual - p->last;
	p->last = actual;
}

static inline void learn_clock(struct model *m, const struct guesses *g, uint64_t actual)
{
	if (g->best != GUESS_CLOCK)
		return;
	m->clock_value = actual;
	m->clock_icount = m->icount;
	m->clock_faults = m->faults;
}

static inline void new_site(struct model *m, uint64_t rip, uint32_t tuple)
{
	struct site *s = &m->site[m->sites++];

	memset(s, 0, sizeof(*s));
	s->rip = rip;
	s->tuple = tuple;
}

static inline uint32_t *path_slot(struct model *m)
{
	return &m->path[mix(m->before, m->before2, PATH_BITS)];
}

static inline void went_to(struct model *m, uint32_t *path, uint32_t site)
{
	*path = site + 1;
	m->site[m->before].next = site + 1;
	m->before2 = m->before;
	m->before = site;
}

/* The kinds that advance the virtual clock's fault count: whatever the VMM emulates or reflects. A guess, as far as
 * the format goes. */
static inline bool is_fault(unsigned kind)
{
	const unsigned kinds = 1u << EV_FAULT | 1u << EV_SENSITIVE | 1u << EV_PIO | 1u << EV_MMIO | 1u << EV_EXCEPTION |
	                       1u << EV_INTERRUPT;

	return kinds >> kind & 1;
}

static const uint64_t no_clock; /* for columns that have nothing to do with time: the guess is the same as "zero" */

/* ---- Encoding ---------------------------------------------------------------------------------------------- */

enum {
	TUPLE_KIND = 16,
	TUPLE_VCPL = 24,
	TUPLE_RCPL = 32,
	TUPLE_SIZE = 40,
	TUPLE_FLAGS = 48,
	TUPLE_BLOB = 56,
	TUPLE_END = 57
};

static uint64_t tuple_of(const struct event *ev)
{
	return ev->op | (uint64_t)ev->kind << TUPLE_KIND | (uint64_t)ev->vcpl << TUPLE_VCPL |
	       (uint64_t)ev->rcpl << TUPLE_RCPL | (uint64_t)ev->size << TUPLE_SIZE |
	       (uint64_t)ev->flags << TUPLE_FLAGS | (uint64_t) !!ev->blob_len << TUPLE_BLOB;
}

void columns_begin(struct model *m, uint64_t first_icount, uint64_t clock_per_insn, uint64_t clock_per_fault)
{
	reset(m, first_icount, clock_per_insn, clock_per_fault);
	memset(m->index, 0, sizeof(m->index));
	m->first_icount = first_icount;
	m->count = m->tuples = m->blob_lens = 0;
	m->any_icount = m->any_addr = m->any_value = m->any_error = 0;
	m->blob_bytes = 0;
}

/* There are a few dozen tuples; only new sites look. */
static uint32_t find_tuple(struct model *m, uint64_t tuple)
{
	uint32_t i;

	for (i = m->tuples; i-- > 0;)
		if (m->tuple[i] == tuple)
			return i;
	m->tuple[m->tuples] = tuple;
	return m->tuples++;
}

static uint32_t find_site(struct model *m, uint64_t tuple, uint64_t rip)
{
	uint32_t slot = mix(tuple, rip, INDEX_BITS), site;

	for (; m->index[slot]; slot = (slot + 1) & ((1u << INDEX_BITS) - 1)) {
		site = m->index[slot] - 1;
		if (m->site[site].rip == rip && m->tuple[m->site[site].tuple] == tuple)
			return site;
	}
	site = m->sites;
	m->index[slot] = site + 1;
	m->site_tuple[site] = find_tuple(m, tuple);
	m->site_rip[site] = (int64_t)(rip - (site ? m->site[site - 1].rip : 0));
	new_site(m, rip, m->site_tuple[site]);
	return site;
}

static uint32_t encode_step(struct model *m, const struct event *ev)
{
	uint32_t known = m->sites, before = m->before, *path = path_slot(m), site = find_site(m, tuple_of(ev), ev->rip),
	         step;

	if (*path == site + 1)
		step = 0;
	else if (m->site[before].next == site + 1)
		step = 1;
	else
		step = site == known ? 2 : site + 3;
	went_to(m, path, site);
	return step;
}

static int add_blob(struct model *m, const struct event *ev)
{
	BUG_ON(ev->blob_len > TRACE_BLOB_MAX);
	if (m->blob_room - m->blob_bytes < ev->blob_len) {
		size_t room = 2 * (m->blob_bytes + ev->blob_len);
		uint8_t *blob = realloc(m->blob, room);

		if (!blob)
			return -ENOMEM;
		m->blob = blob;
		m->blob_room = room;
	}
	memcpy(m->blob + m->blob_bytes, ev->blob, ev->blob_len);
	m->blob_bytes += ev->blob_len;
	m->blob_len[m->blob_lens++] = ev->blob_len;
	return 0;
}

static inline int64_t encode_number(struct predictor *p, uint64_t *pairs, uint32_t place, uint64_t actual)
{
	struct guesses g;
	uint64_t off = actual - guess(p, pairs, place, no_clock, &g);

	learn(p, &g, actual);
	return (int64_t)off;
}

int columns_add(struct model *m, const struct event *ev)
{
	uint32_t n = m->count, before = m->before, site;
	struct guesses g;
	struct site *s;

	BUG_ON(n >= TRACE_CHUNK_EVENTS || ev->icount < m->icount);
	if (ev->blob_len && add_blob(m, ev))
		return -ENOMEM;
	m->step[n] = encode_step(m, ev);
	site = m->before;
	s = &m->site[site];
	m->d_icount[n] =
	        encode_number(&m->move[mix(before, site, MOVE_BITS)], m->move_pair, site, ev->icount - m->icount);
	m->icount = ev->icount;
	m->d_addr[n] = encode_number(&s->addr, m->addr_pair, site, ev->addr);
	m->d_error[n] = (int64_t)(int32_t)encode_number(&s->error, m->error_pair, site, ev->error);
	m->d_value[n] = (int64_t)(ev->value - guess(&s->value, m->value_pair, site, clock_guess(m), &g));
	learn(&s->value, &g, ev->value);
	learn_clock(m, &g, ev->value);
	m->faults += is_fault(ev->kind);
	m->any_icount |= m->d_icount[n];
	m->any_addr |= m->d_addr[n];
	m->any_value |= m->d_value[n];
	m->any_error |= m->d_error[n];
	m->count = n + 1;
	return 0;
}

void columns_end(struct model *m, struct columns *out)
{
	*out = (struct columns){
		.count = m->count,
		.first_icount = m->first_icount,
		.clock_per_insn = m->clock_per_insn,
		.clock_per_fault = m->clock_per_fault,
		.tuple = m->tuple,
		.tuples = m->tuples,
		.site_tuple = m->site_tuple,
		.site_rip = m->site_rip,
		.sites = m->sites,
		.step = m->step,
		.icount = m->d_icount,
		.icounts = m->any_icount ? m->count : 0,
		.addr = m->d_addr,
		.addrs = m->any_addr ? m->count : 0,
		.value = m->d_value,
		.values = m->any_value ? m->count : 0,
		.error = m->d_error,
		.errors = m->any_error ? m->count : 0,
		.blob_len = m->blob_len,
		.blob_lens = m->blob_lens,
		.blob = m->blob,
		.blob_bytes = m->blob_bytes,
	};
}

/* ---- Decoding ---------------------------------------------------------------------------------------------- */

static int bad(const char **why, const char *text)
{
	*why = text;
	return -EBADMSG;
}

static int fill_from_tuple(uint64_t t, struct event *ev, const char **why)
{
	ev->op = (uint16_t)t;
	ev->kind = (uint8_t)(t >> TUPLE_KIND);
	ev->vcpl = (uint8_t)(t >> TUPLE_VCPL);
	ev->rcpl = (uint8_t)(t >> TUPLE_RCPL);
	ev->size = (uint8_t)(t >> TUPLE_SIZE);
	ev->flags = (uint8_t)(t >> TUPLE_FLAGS);
	if (t >> TUPLE_END || !ev->kind || ev->kind >= EV_KIND_MAX || ev->op >= OP_MAX || ev->vcpl > 3 ||
	    ev->rcpl > 3 || ev->size > 64 || (ev->flags & ~(EVF_WRITE | EVF_HAS_ERROR | EVF_SOFT)))
		return bad(why, "an event's kind, instruction, ring, size or flags are out of range");
	return 0;
}

static int check_columns(const struct columns *in, const char **why)
{
	size_t i, n = in->count;
	struct event ev;

	if (!n || n > TRACE_CHUNK_EVENTS)
		return bad(why, "event count out of range");
	if ((in->icounts && in->icounts != n) || (in->addrs && in->addrs != n) || (in->values && in->values != n) ||
	    (in->errors && in->errors != n))
		return bad(why, "columns of different lengths");
	if (in->sites > n || in->tuples > in->sites || in->blob_lens > n || in->blob_bytes > TRACE_CHUNK_BLOB_MAX)
		return bad(why, "more sites, tuples or blobs than events");
	for (i = 0; i < in->tuples; i++)
		if (fill_from_tuple(in->tuple[i], &ev, why))
			return -EBADMSG;
	for (i = 0; i < in->sites; i++)
		if (in->site_tuple[i] >= in->tuples)
			return bad(why, "a site refers to a tuple that is not there");
	return 0;
}

/* The site's number, or -EBADMSG. */
static int64_t decode_step(struct model *m, const struct columns *in, uint32_t step, const char **why)
{
	uint32_t *path = path_slot(m), site;

	if (step < 2) {
		uint32_t next = step ? m->site[m->before].next : *path;

		if (!next)
			return bad(why, "a step to where nothing was before");
		site = next - 1;
	} else if (step == 2) {
		site = m->sites;
		if (site >= in->sites)
			return bad(why, "a new site that is not there");
		new_site(m, (uint64_t)in->site_rip[site] + (site ? m->site[site - 1].rip : 0), in->site_tuple[site]);
	} else {
		site = step - 3;
		if (site >= m->sites)
			return bad(why, "a step to a site that is not there");
	}
	went_to(m, path, site);
	return site;
}

static inline uint64_t decode_number(struct predictor *p, uint64_t *pairs, uint32_t place, int64_t off)
{
	struct guesses g;
	uint64_t actual = guess(p, pairs, place, no_clock, &g) + (uint64_t)off;

	learn(p, &g, actual);
	return actual;
}

static inline uint64_t decode_value(struct model *m, struct site *s, uint32_t site, int64_t off)
{
	struct guesses g;
	uint64_t actual = guess(&s->value, m->value_pair, site, clock_guess(m), &g) + (uint64_t)off;

	learn(&s->value, &g, actual);
	learn_clock(m, &g, actual);
	return actual;
}

static inline uint32_t decode_error(struct predictor *p, uint64_t *pairs, uint32_t place, int64_t off)
{
	struct guesses g;
	uint32_t actual = (uint32_t)(guess(p, pairs, place, no_clock, &g) + (uint64_t)off);

	learn(p, &g, actual);
	return actual;
}

struct blob_reader {
	size_t next_len, at;
};

static int decode_blob(const struct columns *in, struct blob_reader *b, struct event *ev, const char **why)
{
	uint32_t len;

	if (b->next_len >= in->blob_lens)
		return bad(why, "a blob without a length");
	len = in->blob_len[b->next_len++];
	if (!len || len > TRACE_BLOB_MAX || len > in->blob_bytes - b->at)
		return bad(why, "a blob's length is out of range");
	ev->blob = in->blob + b->at;
	ev->blob_len = len;
	b->at += len;
	return 0;
}

int columns_decode(struct model *m, const struct columns *in, struct event *events, const char **why)
{
	struct blob_reader blobs = { 0, 0 };
	uint32_t n;

	if (check_columns(in, why))
		return -EBADMSG;
	reset(m, in->first_icount, in->clock_per_insn, in->clock_per_fault);
	for (n = 0; n < in->count; n++) {
		struct event *ev = &events[n];
		uint32_t before = m->before;
		uint64_t move, tuple;
		struct site *s;
		int64_t site;

		site = decode_step(m, in, in->step[n], why);
		if (site < 0)
			return -EBADMSG;
		s = &m->site[site];
		tuple = in->tuple[s->tuple];
		memset(ev, 0, sizeof(*ev));
		fill_from_tuple(tuple, ev, why);
		ev->rip = s->rip;
		move = decode_number(&m->move[mix(before, (uint32_t)site, MOVE_BITS)], m->move_pair, (uint32_t)site,
		                     in->icounts ? in->icount[n] : 0);
		if (move > UINT64_MAX - m->icount)
			return bad(why, "icount overflows");
		ev->icount = m->icount += move;
		ev->addr = decode_number(&s->addr, m->addr_pair, (uint32_t)site, in->addrs ? in->addr[n] : 0);
		ev->error = decode_error(&s->error, m->error_pair, (uint32_t)site, in->errors ? in->error[n] : 0);
		ev->value = decode_value(m, s, (uint32_t)site, in->values ? in->value[n] : 0);
		m->faults += is_fault(ev->kind);
		if (tuple >> TUPLE_BLOB && decode_blob(in, &blobs, ev, why))
			return -EBADMSG;
	}
	if (m->sites != in->sites || blobs.next_len != in->blob_lens || blobs.at != in->blob_bytes)
		return bad(why, "sites or blobs are left over");
	return 0;
}
