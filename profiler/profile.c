/*
 * profile.c - events in, cells and samples out (see profile.h).
 *
 * Called once an event, ten million times: one hash look-up and one append. Percentiles need no memory of their own: the samples are
 * sorted once by cost (radix), and a table then finds the ranks of all its groups in one walk over them (group.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/profile_internal.h"
#include "vmm/bug.h"
#include "vmm/decode/insn.h"

const char *const profile_again_names[AGAIN_MAX] = { "min", "median", "low", "high" };

int profile_create_facet(struct profile **out, enum profile_facet facet, struct vm_error *err)
{
	struct profile *p = calloc(1, sizeof(*p));

	*out = p;
	if (!p)
		return vm_fail(err, -ENOMEM, "profile: out of memory");
	p->costs_ok = true;
	p->facet = facet;
	return 0;
}

int profile_create(struct profile **out, struct vm_error *err)
{
	return profile_create_facet(out, FACET_SITE, err);
}

void profile_costs_bad(struct profile *p)
{
	p->costs_ok = false;
}

void profile_name_parts(struct profile *p, const char *(*bucket)(void *self, uint32_t n),
                        const char *(*segment)(void *self, uint32_t n), void *self)
{
	p->bucket_name = bucket;
	p->segment_name = segment;
	p->names_self = self;
}

void profile_code(struct profile *p, profile_code_fn *code, void *self)
{
	p->code = code;
	p->code_self = self;
}

void profile_callers(struct profile *p, const struct samples *callers)
{
	p->callers = callers;
}

void profile_destroy(struct profile *p)
{
	if (!p)
		return;
	free(p->cells);
	free(p->slots);
	free(p->samples);
	free(p);
}

bool profile_synchronous(const struct event *ev)
{
	switch (ev->kind) {
	case EV_INTERRUPT:
	case EV_DMA:
	case EV_INPUT:
	case EV_MARKER:
	case EV_CHECKPOINT:
	case EV_CHANGE:
	case EV_END: return false;
	default: return true;
	}
}

/* What tells two events of a kind at one site apart. */
static uint32_t event_detail(const struct event *ev)
{
	switch (ev->kind) {
	case EV_PIO: return (uint16_t)ev->addr;
	case EV_MMIO: return (uint32_t)(ev->addr >> 12);
	case EV_EXCEPTION:
	case EV_INTERRUPT: return (uint8_t)ev->value;
	default: return 0;
	}
}

/* What an instruction was about, where that takes few values; -1 otherwise. */
static uint64_t event_operand(const struct event *ev)
{
	switch (ev->kind) {
	case EV_PIO:
	case EV_MMIO:
	case EV_EXCEPTION:
	case EV_INTERRUPT: return event_detail(ev);
	default: break;
	}
	switch (ev->op) {
	case OP_MOV_CR:
	case OP_MOV_R_CR:
	case OP_MOV_DR:
	case OP_MOV_R_DR:
	case OP_RDMSR:
	case OP_WRMSR:
	case OP_CPUID: return (uint32_t)ev->addr;
	default: return UINT64_MAX;
	}
}

static uint8_t user_flag(const struct event *ev)
{
	return ev->vcpl == 3 ? CELL_USER : 0;
}

static void site_key(struct cell_key *key, const struct event *ev)
{
	key->rip = ev->rip;
	key->other = event_operand(ev);
	key->detail = event_detail(ev);
	key->op = ev->op;
	key->kind = ev->kind;
	key->flags = (uint8_t)((ev->flags & EVF_WRITE ? CELL_WRITE : 0) | (ev->flags & EVF_SOFT ? CELL_SOFT : 0) |
	                       user_flag(ev));
}

static void chain_key(struct cell_key *key, const struct event *ev, const struct profile_context *x)
{
	key->head = x->head_rip;
	key->head_op = x->head_op;
	key->head_kind = x->head_kind;
	if (!x->prev)
		return;
	key->rip = ev->rip;
	key->op = ev->op;
	key->kind = ev->kind;
	key->other = x->prev->rip;
	key->other_op = x->prev->op;
	key->other_kind = x->prev->kind;
	key->flags = (uint8_t)(CELL_FOLLOWS | (x->length == 2 ? CELL_SECOND : 0) | user_flag(ev));
}

static void part_key(struct cell_key *key, const struct event *ev, const struct profile_context *x)
{
	key->rip = x->bucket;
	key->other = x->process;
	key->head = x->segment;
	key->flags = user_flag(ev);
}

static bool key_equal(const struct cell_key *a, const struct cell_key *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static size_t key_hash(const struct cell_key *key)
{
	static const uint64_t odd[] = { 0x9e3779b97f4a7c15ull, 0xff51afd7ed558ccdull, 0xc4ceb9fe1a85ec53ull,
		                        0xc2b2ae3d27d4eb4full, 0x165667b19e3779f9ull };
	uint64_t words[sizeof(*key) / 8], h = 0;

	memcpy(words, key, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		h ^= words[i] * odd[i];
	return (size_t)(h ^ h >> 29);
}

/* The slot that holds the key's cell, or the free one where it belongs. */
static uint32_t *cell_slot(const struct profile *p, const struct cell_key *key)
{
	size_t i = key_hash(key);

	for (;; i++) {
		uint32_t *slot = &p->slots[i & (p->slot_count - 1)];

		if (!*slot || key_equal(&p->cells[*slot - 1].key, key))
			return slot;
	}
}

static int cells_grow(struct profile *p)
{
	size_t room = p->cell_room ? p->cell_room * 2 : 1024;
	struct cell *cells = realloc(p->cells, room * sizeof(*cells));
	uint32_t *slots;

	if (!cells)
		return -ENOMEM;
	p->cells = cells;
	slots = calloc(room * 2, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(p->slots);
	p->slots = slots;
	p->slot_count = room * 2;
	p->cell_room = room;
	for (size_t i = 0; i < p->cell_count; i++)
		*cell_slot(p, &p->cells[i].key) = (uint32_t)i + 1;
	return 0;
}

/* Number of the key's cell, made when it is new. */
static int cell_look_up(struct profile *p, const struct cell_key *key, uint32_t *out)
{
	uint32_t *slot;

	if (p->cell_count == p->cell_room) {
		int r = cells_grow(p);

		if (r)
			return r;
	}
	slot = cell_slot(p, key);
	if (!*slot) {
		memset(&p->cells[p->cell_count], 0, sizeof(*p->cells));
		p->cells[p->cell_count].key = *key;
		*slot = (uint32_t)++p->cell_count;
	}
	*out = *slot - 1;
	return 0;
}

/* The same, guessing first: programs go in circles. */
static int cell_find(struct profile *p, const struct cell_key *key, uint32_t *out)
{
	int r;

	if (p->cell_count) {
		*out = p->cells[p->last].next;
		if (key_equal(&p->cells[*out].key, key)) {
			p->last = *out;
			return 0;
		}
	}
	r = cell_look_up(p, key, out);
	if (r)
		return r;
	p->cells[p->last].next = *out;
	p->last = *out;
	return 0;
}

static int sample_add(struct profile *p, uint32_t cell, uint32_t cost)
{
	if (p->sample_count == p->sample_room) {
		size_t room = p->sample_room ? p->sample_room + p->sample_room / 2 : 4096;
		struct sample *samples;

		if (p->sample_count >= UINT32_MAX - 1)
			return -E2BIG;
		samples = realloc(p->samples, room * sizeof(*samples));
		if (!samples)
			return -ENOMEM;
		p->samples = samples;
		p->sample_room = room;
	}
	p->samples[p->sample_count++] = (struct sample){ cell, cost };
	return 0;
}

int profile_add_context(struct profile *p, const struct event *ev, const struct event_cost *cost,
                        const struct profile_context *context)
{
	struct cell_key key = { 0 };
	uint64_t sum = 0;
	struct cell *cell;
	uint32_t number;
	int r;

	BUG_ON(p->sorted);
	switch (p->facet) {
	case FACET_CHAIN: chain_key(&key, ev, context); break;
	case FACET_PART: part_key(&key, ev, context); break;
	case FACET_CALLER:
		site_key(&key, ev);
		key.other = context->caller;
		break;
	default: site_key(&key, ev); break;
	}
	r = cell_find(p, &key, &number);
	if (r)
		return r;
	cell = &p->cells[number];
	cell->count++;
	for (int ph = PH_OWN; ph < PH_MAX; ph++) {
		cell->phases[ph] += cost->cycles[ph];
		sum += cost->cycles[ph];
	}
	if (context && context->again) {
		for (int i = 0; i < AGAIN_MAX; i++)
			cell->again[i] += context->again[i];
		p->again++;
	}
	for (int ph = 0; ph < PH_OWN; ph++)
		p->between[ph] += cost->cycles[ph];
	p->kinds[ev->kind < EV_KIND_MAX ? ev->kind : 0]++;
	return sample_add(p, number, sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX);
}

int profile_add(struct profile *p, const struct event *ev, const struct event_cost *cost)
{
	BUG_ON(p->facet != FACET_SITE);
	return profile_add_context(p, ev, cost, NULL);
}

int profile_read(struct profile *p, struct trace_reader *r, void (*progress)(void *self, double done), void *self,
                 struct vm_error *err)
{
	uint64_t events = trace_reader_meta(r)->events;
	struct trace_cursor *cursor;
	struct event_cost cost;
	struct event ev;
	int rc = trace_cursor_open(&cursor, r, err);

	if (rc)
		return rc;
	while ((rc = trace_cursor_next(cursor, &ev, &cost, err)) > 0) {
		rc = profile_add(p, &ev, &cost);
		if (rc) {
			rc = vm_fail(err, rc, "profile: %s after %llu events", strerror(-rc),
			             (unsigned long long)p->sample_count);
			break;
		}
		if (progress && p->sample_count % 65536 == 0 && events)
			progress(self, (double)p->sample_count / (double)events);
	}
	p->costs_ok &= trace_cursor_costs_ok(cursor);
	trace_cursor_close(cursor);
	return rc;
}

void profile_totals(const struct profile *p, struct profile_totals *out)
{
	*out = (struct profile_totals){ .events = p->sample_count, .costs_ok = p->costs_ok };
	memcpy(out->kinds, p->kinds, sizeof(out->kinds));
	memcpy(out->phases, p->between, sizeof(p->between));
	for (size_t i = 0; i < p->cell_count; i++)
		for (int ph = PH_OWN; ph < PH_MAX; ph++) {
			out->phases[ph] += p->cells[i].phases[ph];
			out->cost += p->cells[i].phases[ph];
		}
	/* a recording that nobody measured */
	if (out->events && !out->cost && !out->phases[PH_GUEST])
		out->costs_ok = false;
}

#define RADIX_BITS 16 /* nearly all costs differ in the lower half alone */

/* One stable pass of a radix sort by the digit at `shift`. at: a number a digit. */
static void radix_pass(const struct sample *from, struct sample *to, size_t count, unsigned shift, uint32_t *at)
{
	uint32_t sum = 0;

	memset(at, 0, sizeof(*at) << RADIX_BITS);
	for (size_t i = 0; i < count; i++)
		at[(uint16_t)(from[i].cost >> shift)]++;
	for (size_t b = 0; b < 1u << RADIX_BITS; b++) {
		uint32_t n = at[b];

		at[b] = sum;
		sum += n;
	}
	for (size_t i = 0; i < count; i++)
		to[at[(uint16_t)(from[i].cost >> shift)]++] = from[i];
}

int profile_sort_samples(struct profile *p)
{
	struct sample *other;
	uint32_t *at;

	if (p->sorted || !p->sample_count) {
		p->sorted = true;
		return 0;
	}
	other = malloc(p->sample_count * sizeof(*other));
	at = malloc(sizeof(*at) << RADIX_BITS);
	if (other && at) {
		radix_pass(p->samples, other, p->sample_count, 0, at);
		radix_pass(other, p->samples, p->sample_count, RADIX_BITS, at);
		p->sorted = true;
	}
	free(other);
	free(at);
	return p->sorted ? 0 : -ENOMEM;
}
