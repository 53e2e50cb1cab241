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

int profile_create_facet(struct profile **out, enum profile_facet facet, struct vm_error *err)
{
	struct profile *p = calloc(1, sizeof(*p));

	*out = p;
	if (!p)
		return vm_fail(err, -ENOMEM, "profile: out of memory");
	p->totals.costs_ok = true;
	p->facet = facet;
	return 0;
}

int profile_create(struct profile **out, struct vm_error *err)
{
	return profile_create_facet(out, FACET_SITE, err);
}

void profile_costs_bad(struct profile *p)
{
	p->totals.costs_ok = false;
}

void profile_name_parts(struct profile *p, const char *(*name)(void *self, uint32_t n), void *self)
{
	p->part_name = name;
	p->part_self = self;
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

static struct cell site_key(const struct event *ev)
{
	struct cell key = { .rip = ev->rip, .detail = event_detail(ev), .op = ev->op, .kind = ev->kind };

	key.flags = (ev->flags & EVF_WRITE ? CELL_WRITE : 0) | (ev->flags & EVF_SOFT ? CELL_SOFT : 0) |
	            (ev->vcpl == 3 ? CELL_USER : 0);
	return key;
}

static struct cell operand_key(const struct event *ev)
{
	struct cell key = { .other = event_operand(ev), .op = ev->op, .kind = ev->kind };

	key.flags = ev->kind == EV_PIO || ev->kind == EV_MMIO ? (ev->flags & EVF_WRITE ? CELL_WRITE : 0) : 0;
	return key;
}

static struct cell pair_key(const struct event *ev, const struct profile_context *x)
{
	struct cell key = { .rip = ev->rip, .op = ev->op, .kind = ev->kind };

	if (!x->prev)
		return (struct cell){ 0 };
	key.other = x->prev->rip;
	key.other_op = x->prev->op;
	key.other_kind = x->prev->kind;
	key.flags = CELL_FOLLOWS | (ev->vcpl == 3 ? CELL_USER : 0);
	return key;
}

static struct cell cluster_key(const struct event *ev, const struct profile_context *x)
{
	struct cell key = { .rip = x->head_rip, .op = x->head_op, .kind = x->head_kind };

	(void)ev;
	key.flags = (x->length > 1 ? CELL_FOLLOWS : 0) | (x->length == 2 ? CELL_SECOND : 0);
	return key;
}

static struct cell event_key(const struct profile *p, const struct event *ev, const struct profile_context *x)
{
	switch (p->facet) {
	case FACET_OPERAND: return operand_key(ev);
	case FACET_PROCESS: return (struct cell){ .other = x->process, .flags = ev->vcpl == 3 ? CELL_USER : 0 };
	case FACET_PAIR: return pair_key(ev, x);
	case FACET_CLUSTER: return cluster_key(ev, x);
	case FACET_TIME: return (struct cell){ .other = x->bucket };
	case FACET_MARKER: return (struct cell){ .other = x->segment };
	default: return site_key(ev);
	}
}

static bool cell_equal(const struct cell *a, const struct cell *b)
{
	return a->rip == b->rip && a->detail == b->detail && a->op == b->op && a->kind == b->kind &&
	       a->flags == b->flags && a->other == b->other && a->other_op == b->other_op &&
	       a->other_kind == b->other_kind;
}

static size_t cell_hash(const struct cell *c)
{
	uint64_t h = c->rip * 0x9e3779b97f4a7c15ull;

	h ^= ((uint64_t)c->detail << 32 | (uint32_t)c->op << 16 | c->kind << 8 | c->flags) * 0xc2b2ae3d27d4eb4full;
	h ^= c->other * 0xff51afd7ed558ccdull ^ ((uint64_t)c->other_op << 8 | c->other_kind) * 0xc4ceb9fe1a85ec53ull;
	return (size_t)(h ^ h >> 29);
}

/* The slot that holds the key's cell, or the free one where it belongs. */
static uint32_t *cell_slot(const struct profile *p, const struct cell *key)
{
	size_t i = cell_hash(key);

	for (;; i++) {
		uint32_t *slot = &p->slots[i & (p->slot_count - 1)];

		if (!*slot || cell_equal(&p->cells[*slot - 1], key))
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
		*cell_slot(p, &p->cells[i]) = (uint32_t)i + 1;
	return 0;
}

/* Number of the key's cell, made when it is new. */
static int cell_find(struct profile *p, const struct cell *key, uint32_t *out)
{
	uint32_t *slot;

	if (p->cell_count == p->cell_room) {
		int r = cells_grow(p);

		if (r)
			return r;
	}
	slot = cell_slot(p, key);
	if (!*slot) {
		p->cells[p->cell_count] = *key;
		*slot = (uint32_t)++p->cell_count;
	}
	*out = *slot - 1;
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
	struct cell key = event_key(p, ev, context);
	uint64_t sum = 0;
	uint32_t cell;
	int r;

	BUG_ON(p->sorted);
	r = cell_find(p, &key, &cell);
	if (r)
		return r;
	p->cells[cell].count++;
	p->totals.phases[PH_GUEST] += cost->cycles[PH_GUEST];
	for (int ph = PH_GUEST + 1; ph < PH_MAX; ph++) {
		p->cells[cell].phases[ph] += cost->cycles[ph];
		p->totals.phases[ph] += cost->cycles[ph];
		sum += cost->cycles[ph];
	}
	p->totals.events++;
	p->totals.kinds[ev->kind < EV_KIND_MAX ? ev->kind : 0]++;
	p->totals.cost += sum;
	return sample_add(p, cell, sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX);
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
			             (unsigned long long)p->totals.events);
			break;
		}
		if (progress && p->totals.events % 65536 == 0 && events)
			progress(self, (double)p->totals.events / (double)events);
	}
	p->totals.costs_ok &= trace_cursor_costs_ok(cursor);
	trace_cursor_close(cursor);
	return rc;
}

void profile_totals(const struct profile *p, struct profile_totals *out)
{
	*out = p->totals;
	/* a recording that nobody measured */
	if (out->events && !out->cost && !out->phases[PH_GUEST])
		out->costs_ok = false;
}

/* One stable pass of a radix sort by the byte at `shift`. */
static void radix_pass(const struct sample *from, struct sample *to, size_t count, unsigned shift)
{
	size_t at[256] = { 0 };
	size_t sum = 0;

	for (size_t i = 0; i < count; i++)
		at[from[i].cost >> shift & 255]++;
	for (unsigned b = 0; b < 256; b++) {
		size_t n = at[b];

		at[b] = sum;
		sum += n;
	}
	for (size_t i = 0; i < count; i++)
		to[at[from[i].cost >> shift & 255]++] = from[i];
}

int profile_sort_samples(struct profile *p)
{
	struct sample *other;

	if (p->sorted || !p->sample_count) {
		p->sorted = true;
		return 0;
	}
	other = malloc(p->sample_count * sizeof(*other));
	if (!other)
		return -ENOMEM;
	for (unsigned shift = 0; shift < 32; shift += 16) {
		radix_pass(p->samples, other, p->sample_count, shift);
		radix_pass(other, p->samples, p->sample_count, shift + 8);
	}
	free(other);
	p->sorted = true;
	return 0;
}
