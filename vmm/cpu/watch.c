/*
 * watch.c - see watch.h.
 */
#include "vmm/cpu/watch.h"

static bool in_space(const struct vcpu *c, const struct watch_point *p)
{
	return p->any_space || p->cr3 == c->cr3;
}

enum watch_verdict watch_ask(struct vcpu *c)
{
	struct watchlist *w = c->watch;
	uint32_t lin = (uint32_t)(c->seg[SEG_CS].base + c->rip);
	bool passing = w->passing;

	w->passing = false;
	if (!w->has_exec || !watch_cuts(c, lin))
		return WATCH_GO_ON;
	for (unsigned i = 0; i < w->count; i++) {
		const struct watch_point *p = &w->point[i];

		if (!(p->on & WATCH_ON_EXEC) || p->lin != lin || !in_space(c, p))
			continue;
		if (passing)
			return WATCH_ALONE;
		if (!w->hit.valid)
			w->hit = (struct watch_note){ .valid = true, .point = i, .lin = lin };
		return WATCH_STOP;
	}
	return WATCH_GO_ON;
}

/* The first data point that the access touches; -1 none. Differences are modulo 4 GiB. */
static int find(const struct vcpu *c, uint32_t lin, unsigned len, bool write)
{
	const struct watchlist *w = c->watch;
	uint8_t on = write ? WATCH_ON_WRITE : WATCH_ON_READ;

	for (unsigned i = 0; w->has_data && i < w->count; i++) {
		const struct watch_point *p = &w->point[i];

		if ((p->on & on) && (p->lin - lin < len || lin - p->lin < p->len) && in_space(c, p))
			return (int)i;
	}
	return -1;
}

/* The first byte of a point, within a page, that lies in changed memory. */
static bool shows(const struct vcpu *c, uint64_t lin, uint32_t point_len, uint64_t gpa, uint32_t len, uint32_t *touched)
{
	uint64_t at;

	if (mmu_peek(&c->mmu, lin, &at) || at >= gpa + len || gpa >= at + point_len)
		return false;
	*touched = (uint32_t)(gpa > at ? lin + (gpa - at) : lin);
	return true;
}

static bool point_shows(const struct vcpu *c, const struct watch_point *p, uint64_t gpa, uint32_t len, uint32_t *touched)
{
	uint32_t first = PAGE_SIZE - (p->lin & (PAGE_SIZE - 1));

	if (first >= p->len)
		return shows(c, p->lin, p->len, gpa, len, touched);
	return shows(c, p->lin, first, gpa, len, touched) ||
	       shows(c, (uint32_t)(p->lin + first), p->len - first, gpa, len, touched);
}

void watch_changed(struct vcpu *c, uint64_t gpa, uint32_t len)
{
	struct watchlist *w = c->watch;
	uint32_t lin;

	for (unsigned i = 0; w && w->has_data && i < w->count; i++)
		if ((w->point[i].on & WATCH_ON_WRITE) && in_space(c, &w->point[i]) &&
		    point_shows(c, &w->point[i], gpa, len, &lin)) {
			w->hit = (struct watch_note){ .valid = true, .point = i, .lin = lin, .by_change = true };
			return;
		}
}

bool watch_wants(const struct vcpu *c, uint32_t lin, unsigned len, bool write)
{
	return find(c, lin, len, write) >= 0;
}

void watch_note_slow(struct vcpu *c, uint32_t lin, unsigned len, bool write)
{
	struct watchlist *w = c->watch;
	int i = find(c, lin, len, write);

	if (i < 0 || w->noted.valid)
		return;
	w->noted = (struct watch_note){ .valid = true, .point = (unsigned)i };
	w->noted.lin = w->point[i].lin - lin < len ? w->point[i].lin : lin;
}
