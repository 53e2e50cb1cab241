/*
 * report_pb.c - the profile as one protobuf message (schemas/profile.proto), to be kept and compared later.
 *
 * The message tree is built from one arena that lives for the call: nothing of it is freed piece by piece.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/report.h"
#include "schemas/profile.pb-c.h"

/* Blocks in a list; `failed` is looked at once, at the end. */
struct arena {
	struct block *blocks;
	bool failed;
};

struct block {
	struct block *next;
	max_align_t bytes[];
};

/* Zeroed. NULL after a failure, which `failed` remembers. */
static void *arena_get(struct arena *a, size_t size)
{
	struct block *b = calloc(1, sizeof(*b) + size);

	if (!b) {
		a->failed = true;
		return NULL;
	}
	b->next = a->blocks;
	a->blocks = b;
	return b->bytes;
}

static void arena_free(struct arena *a)
{
	while (a->blocks) {
		struct block *next = a->blocks->next;

		free(a->blocks);
		a->blocks = next;
	}
}

/* protobuf strings must be UTF-8: ASCII is. */
static char *arena_text(struct arena *a, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = arena_get(a, size);

	if (copy)
		report_clean(copy, size, text);
	return copy;
}

static Profile__Row *pb_row(struct arena *a, const struct profile_table *t, const struct profile_row *row, size_t columns)
{
	Profile__Row *m = arena_get(a, sizeof(*m));
	struct profile_id id;

	if (!m)
		return NULL;
	profile__row__init(m);
	m->n_id = columns;
	m->id = arena_get(a, columns * sizeof(*m->id));
	m->n_phases = PH_MAX - PH_OWN;
	m->phases = arena_get(a, m->n_phases * sizeof(*m->phases));
	m->n_again = t->again ? AGAIN_MAX : 0;
	m->again = arena_get(a, m->n_again * sizeof(*m->again));
	if (a->failed)
		return NULL;
	profile_row_id(t, row, &id);
	for (size_t c = 0; c < columns; c++)
		m->id[c] = arena_text(a, id.text[c]);
	m->count = row->count;
	m->total = row->total;
	m->min = row->min;
	m->p50 = row->p50;
	m->p95 = row->p95;
	m->p99 = row->p99;
	m->max = row->max;
	memcpy(m->again, row->again, m->n_again * sizeof(*m->again));
	memcpy(m->phases, &row->phases[PH_OWN], m->n_phases * sizeof(*m->phases));
	return m;
}

static Profile__Table *pb_table(struct arena *a, const struct profile_table *t)
{
	Profile__Table *m = arena_get(a, sizeof(*m));

	if (!m)
		return NULL;
	profile__table__init(m);
	m->by = arena_text(a, t->name);
	while (m->n_column < PROFILE_COLUMNS && t->columns[m->n_column])
		m->n_column++;
	m->column = arena_get(a, m->n_column * sizeof(*m->column));
	m->count = t->count;
	m->total = t->total;
	m->rows_left_out = t->rows_left_out;
	m->n_row = t->row_count;
	m->row = arena_get(a, t->row_count * sizeof(*m->row));
	for (size_t c = 0; !a->failed && c < m->n_column; c++)
		m->column[c] = arena_text(a, t->columns[c]);
	for (size_t i = 0; !a->failed && i < t->row_count; i++)
		m->row[i] = pb_row(a, t, &t->rows[i], m->n_column);
	return m;
}

static void pb_phases(struct arena *a, const struct report *r, Profile__Profile *m)
{
	struct report_phase phases[REPORT_PHASES];

	report_phases(r, phases);
	m->n_phase = REPORT_PHASES;
	m->phase = arena_get(a, REPORT_PHASES * sizeof(*m->phase));
	for (int i = 0; !a->failed && i < REPORT_PHASES; i++) {
		Profile__Phase *phase = arena_get(a, sizeof(*phase));

		if (!phase)
			return;
		profile__phase__init(phase);
		phase->name = arena_text(a, phases[i].key);
		phase->cycles = phases[i].cycles;
		m->phase[i] = phase;
	}
}

static void pb_profile(struct arena *a, const struct report *r, Profile__Profile *m)
{
	const struct trace_meta *meta = r->meta;

	m->version = 1;
	m->writer = arena_text(a, meta->writer);
	m->trace_digest = meta->digest;
	m->cpu_model = arena_text(a, meta->cpu_model);
	m->engine = arena_text(a, meta->engine);
	m->model = arena_text(a, report_model_name(meta));
	m->sensitive = arena_text(a, report_policy_name(meta));
	m->events = meta->events;
	m->icount = meta->icount;
	m->complete = meta->complete;
	m->tsc_hz = meta->tsc_hz;
	m->run_ns = meta->run_ns;
	m->pack_ns = meta->pack_ns;
	m->costs_ok = r->totals->costs_ok;
	pb_phases(a, r, m);
	m->n_table = r->table_count;
	m->table = arena_get(a, r->table_count * sizeof(*m->table));
	for (size_t i = 0; !a->failed && i < r->table_count; i++)
		m->table[i] = pb_table(a, &r->tables[i]);
}

int report_pb(FILE *out, const struct report *r)
{
	Profile__Profile m = PROFILE__PROFILE__INIT;
	struct arena a = { 0 };
	uint8_t *bytes = NULL;
	size_t len = 0;

	pb_profile(&a, r, &m);
	if (!a.failed) {
		len = profile__profile__get_packed_size(&m);
		bytes = malloc(len);
	}
	if (bytes) {
		profile__profile__pack(&m, bytes);
		fwrite(bytes, 1, len, out);
	}
	arena_free(&a);
	if (!bytes)
		return -ENOMEM;
	free(bytes);
	return fflush(out) || ferror(out) ? -EIO : 0;
}
