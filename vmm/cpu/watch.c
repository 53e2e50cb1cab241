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
