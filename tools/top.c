/*
 * top.c - see top.h. A cell for each kind and instruction there can be: nothing is looked up while the guest runs.
 */
#include "tools/top.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/tool.h"
#include "vmm/decode/insn.h"

#define ROWS 16
#define TERMINAL_NS 500000000ull
#define PIPE_NS 2000000000ull

struct cell {
	uint64_t count, cycles, drawn; /* drawn: count when it was last shown */
	uint16_t op;
	uint8_t kind;
};

struct top {
	struct cell cells[EV_KIND_MAX][OP_MAX], *last;
	uint64_t events, outside, guest; /* cycles outside the guest, and in it */
	uint64_t begin, drawn;
	uint64_t drawn_icount, drawn_events;
	bool terminal;
};

struct top *top_create(void)
{
	struct top *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	for (unsigned kind = 0; kind < EV_KIND_MAX; kind++)
		for (unsigned op = 0; op < OP_MAX; op++)
			t->cells[kind][op] = (struct cell){ .op = (uint16_t)op, .kind = (uint8_t)kind };
	t->last = &t->cells[0][0];
	t->terminal = isatty(STDERR_FILENO);
	t->begin = t->drawn = host_now_ns();
	return t;
}

void top_destroy(struct top *t)
{
	free(t);
}

void top_event(struct top *t, const struct event *ev)
{
	t->last = &t->cells[ev->kind][ev->op];
	t->last->count++;
	t->events++;
}

void top_cost(struct top *t, const struct event_cost *cost)
{
	uint64_t sum = 0;

	for (int ph = 0; ph < PH_OWN; ph++)
		t->guest += cost->cycles[ph];
	for (int ph = PH_OWN; ph < PH_MAX; ph++)
		sum += cost->cycles[ph];
	t->last->cycles += sum;
	t->outside += sum;
}

static int dearer(const void *a, const void *b)
{
	const struct cell *x = *(struct cell *const *)a, *y = *(struct cell *const *)b;

	if (x->cycles != y->cycles)
		return x->cycles < y->cycles ? 1 : -1;
	return x->count < y->count ? 1 : x->count > y->count ? -1 : 0;
}

static size_t used_cells(struct top *t, struct cell **out)
{
	size_t n = 0;

	for (unsigned kind = 0; kind < EV_KIND_MAX; kind++)
		for (unsigned op = 0; op < OP_MAX; op++)
			if (t->cells[kind][op].count)
				out[n++] = &t->cells[kind][op];
	qsort(out, n, sizeof(struct cell *), dearer);
	return n;
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void draw_head(struct top *t, uint64_t icount, double seconds, double since)
{
	fprintf(stderr,
	        "%sringside: %.1f s, %" PRIu64 " instructions (%.1f million a second), %" PRIu64
	        " events (%.0f a second), %.1f %% of the time outside the guest\n",
	        t->terminal ? "\033[H\033[J" : "", seconds, icount, (double)(icount - t->drawn_icount) / since / 1e6,
	        t->events, (double)(t->events - t->drawn_events) / since, percent(t->outside, t->outside + t->guest));
	fprintf(stderr, "%-16s %-10s %12s %10s %7s %8s\n", "INSN", "KIND", "COUNT", "A SECOND", "TIME%", "MEAN");
}

void top_draw(struct top *t, uint64_t icount)
{
	struct cell **cells = malloc(EV_KIND_MAX * OP_MAX * sizeof(struct cell *));
	uint64_t now = host_now_ns();
	double since = (double)(now - t->drawn) / 1e9;
	size_t n = cells ? used_cells(t, cells) : 0;

	since = since > 0.001 ? since : 0.001;
	draw_head(t, icount, (double)(now - t->begin) / 1e9, since);
	for (size_t i = 0; i < n; i++) {
		struct cell *c = cells[i];
		const char *op = c->op == OP_NONE ? NULL : op_name((enum op)c->op);

		if (i < ROWS)
			fprintf(stderr, "%-16s %-10s %12" PRIu64 " %10.0f %6.2f%% %8" PRIu64 "\n", op ? op : "-",
			        event_kind_name((enum event_kind)c->kind), c->count,
			        (double)(c->count - c->drawn) / since, percent(c->cycles, t->outside),
			        c->cycles / c->count);
		c->drawn = c->count;
	}
	if (n > ROWS)
		fprintf(stderr, "and %zu more\n", n - ROWS);
	free(cells);
	t->drawn = now;
	t->drawn_icount = icount;
	t->drawn_events = t->events;
}

void top_tick(struct top *t, uint64_t icount)
{
	if (host_now_ns() - t->drawn >= (t->terminal ? TERMINAL_NS : PIPE_NS))
		top_draw(t, icount);
}
