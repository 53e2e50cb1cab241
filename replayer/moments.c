/*
 * moments.c - see moments.h.
 *
 * A version is an int64: >= 0 the trace's number of contents (0: zeros), below 0 a page made by a run, -(index + 1) in
 * made[]; UNKNOWN where a page was written and nobody knows with what.
 *
 * Invariants
 *  1. now[page] is the version the VM's page has, unless the VM's own books say that it was written since sync().
 *  2. made[i].refs counts now[] and the lists of all saved moments.
 */
#include "replayer/moments.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/bug.h"
#include "vmm/digest.h"
#include "vmm/snapshot.h"

#define PAGE_BYTES 4096u
#define UNKNOWN INT64_MAX

struct made {
	uint8_t *bytes; /* NULL: free, and refs is the next free index plus one */
	uint32_t refs;
};

struct saved {
	struct vm_moment at;
	uint64_t seq;
	uint8_t state[SNAPSHOT_MAX], progress[PROGRESS_MAX];
	size_t state_len, progress_len;
	uint64_t *words; /* translations */
	size_t word_count;
	int64_t *version; /* of each page */
};

struct moments {
	struct trace_reader *reader;
	struct vm *vm;
	uint64_t pages;
	int64_t *now, *target; /* target: scratch */
	uint64_t *written;     /* scratch */
	struct made *made;
	size_t made_count, made_room;
	uint32_t free_made; /* index plus one */
	uint64_t bytes;
	struct trace_state *state;   /* of each checkpoint in the trace; those with `state` set are loaded */
	uint8_t fresh[PROGRESS_MAX]; /* progress of a new VM, for checkpoints that have none */
	size_t fresh_len;
};

/* ---- versions ----------------------------------------------------------------------------------------------- */

static void ref(struct moments *m, int64_t version)
{
	if (version < 0)
		m->made[-version - 1].refs++;
}

static void unref(struct moments *m, int64_t version)
{
	struct made *v;

	if (version >= 0)
		return;
	v = &m->made[-version - 1];
	if (--v->refs)
		return;
	free(v->bytes);
	v->bytes = NULL;
	v->refs = m->free_made;
	m->free_made = (uint32_t)-version;
	m->bytes -= PAGE_BYTES;
}

/* A version with these contents, with one reference; UNKNOWN when memory is out. */
static int64_t make(struct moments *m, const uint8_t *bytes)
{
	uint8_t *copy = malloc(PAGE_BYTES);
	size_t i;

	if (copy && !m->free_made && m->made_count == m->made_room) {
		size_t room = m->made_room ? 2 * m->made_room : 1024;
		struct made *made = realloc(m->made, room * sizeof(*made));

		if (made) {
			m->made = made;
			m->made_room = room;
		}
	}
	if (!copy || (!m->free_made && m->made_count == m->made_room)) {
		free(copy);
		return UNKNOWN;
	}
	i = m->free_made ? m->free_made - 1 : m->made_count++;
	if (m->free_made)
		m->free_made = m->made[i].refs;
	memcpy(copy, bytes, PAGE_BYTES);
	m->made[i] = (struct made){ .bytes = copy, .refs = 1 };
	m->bytes += PAGE_BYTES;
	return -(int64_t)i - 1;
}

/* Give every written page its version. False: out of memory, and some are UNKNOWN. */
static bool sync(struct moments *m)
{
	size_t n = vm_take_written(m->vm, m->written);
	bool ok = true;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *bytes = vm_ram(m->vm) + m->written[i] * PAGE_BYTES;
		int64_t *now = &m->now[m->written[i]];

		if (*now < 0 && !memcmp(m->made[-*now - 1].bytes, bytes, PAGE_BYTES))
			continue; /* touched and the same */
		unref(m, *now);
		*now = all_zero(bytes, PAGE_BYTES) ? 0 : make(m, bytes);
		ok &= *now != UNKNOWN;
	}
	return ok;
}

/* ---- life --------------------------------------------------------------------------------------------------- */

void moments_destroy(struct moments *m)
{
	if (!m)
		return;
	for (size_t i = 0; m->state && i < trace_checkpoint_count(m->reader); i++)
		trace_state_free(&m->state[i]);
	for (size_t i = 0; i < m->made_count; i++)
		free(m->made[i].bytes);
	free(m->made);
	free(m->state);
	free(m->now);
	free(m->target);
	free(m->written);
	free(m);
}

int moments_create(struct moments **out, struct trace_reader *reader, struct vm *vm, struct vm_error *err)
{
	struct moments *m = calloc(1, sizeof(*m));

	*out = NULL;
	if (!m)
		return vm_fail(err, -ENOMEM, "out of memory");
	m->reader = reader;
	m->vm = vm;
	m->pages = vm_ram_size(vm) / PAGE_BYTES;
	m->now = calloc(m->pages, sizeof(*m->now)); /* RAM is zeros, and so is version 0 */
	m->target = calloc(m->pages, sizeof(*m->target));
	m->written = malloc(m->pages * sizeof(*m->written));
	m->state = calloc(trace_checkpoint_count(reader), sizeof(*m->state));
	m->fresh_len = vm_progress_save(vm, m->fresh);
	if (m->now && m->target && m->written && m->state) {
		*out = m;
		return 0;
	}
	moments_destroy(m);
	return vm_fail(err, -ENOMEM, "out of memory");
}

struct vm_moment saved_at(const struct saved *s)
{
	return s->at;
}

uint64_t saved_seq(const struct saved *s)
{
	return s->seq;
}

uint64_t moments_bytes(const struct moments *m)
{
	return m->bytes;
}

static uint64_t own_bytes(const struct moments *m, const struct saved *s)
{
	return sizeof(*s) + m->pages * sizeof(*s->version) + s->word_count * sizeof(*s->words);
}

void moments_drop(struct moments *m, struct saved *s)
{
	if (!s)
		return;
	m->bytes -= own_bytes(m, s);
	for (uint64_t page = 0; page < m->pages; page++)
		unref(m, s->version[page]);
	free(s->version);
	free(s->words);
	free(s);
}

static bool save_translations(struct saved *s, const struct vm *vm)
{
	size_t count = vm_translations_save(vm, NULL, 0);

	s->words = malloc((count + 1) * sizeof(*s->words));
	s->word_count = count;
	if (s->words)
		vm_translations_save(vm, s->words, count);
	return s->words;
}

struct saved *moments_save(struct moments *m, uint64_t seq)
{
	struct saved *s = sync(m) ? calloc(1, sizeof(*s)) : NULL;

	if (!s)
		return NULL;
	s->version = malloc(m->pages * sizeof(*s->version));
	if (!s->version || !save_translations(s, m->vm)) {
		free(s->version);
		free(s);
		return NULL;
	}
	s->at = vm_moment(m->vm);
	s->seq = seq;
	s->state_len = vm_snapshot_save(m->vm, s->state);
	s->progress_len = vm_progress_save(m->vm, s->progress);
	memcpy(s->version, m->now, m->pages * sizeof(*s->version));
	for (uint64_t page = 0; page < m->pages; page++)
		ref(m, s->version[page]);
	m->bytes += own_bytes(m, s);
	return s;
}

/* ---- putting back ------------------------------------------------------------------------------------------- */

static int put_page(struct moments *m, uint64_t page, int64_t version, struct vm_error *err)
{
	uint8_t bytes[PAGE_BYTES];
	int rc;

	if (version < 0) {
		vm_write_page(m->vm, page, m->made[-version - 1].bytes);
		return 0;
	}
	rc = trace_page_load(m->reader, version, bytes, err);
	if (!rc)
		vm_write_page(m->vm, page, bytes);
	return rc;
}

/* RAM becomes what `version` says. */
static int put_pages(struct moments *m, const int64_t *version, struct vm_error *err)
{
	size_t n = vm_take_written(m->vm, m->written);
	int rc = 0;

	for (size_t i = 0; i < n; i++) {
		unref(m, m->now[m->written[i]]);
		m->now[m->written[i]] = UNKNOWN;
	}
	for (uint64_t page = 0; !rc && page < m->pages; page++) {
		if (m->now[page] == version[page])
			continue;
		rc = put_page(m, page, version[page], err);
		if (rc)
			break;
		unref(m, m->now[page]);
		m->now[page] = version[page];
		ref(m, version[page]);
	}
	if (!rc) {
		vm_take_written(m->vm, m->written); /* by us, just now */
		return 0;
	}
	return rc;
}

int moments_restore(struct moments *m, const struct saved *s, struct vm_error *err)
{
	int rc = put_pages(m, s->version, err);

	rc = rc ? rc : vm_snapshot_load_kept(m->vm, s->state, s->state_len, err);
	rc = rc ? rc : vm_progress_load(m->vm, s->progress, s->progress_len, err);
	if (!rc)
		vm_translations_load(m->vm, s->words, s->word_count);
	return rc;
}

/* Each page's contents at a checkpoint of the trace, into m->target. */
static int find_target(struct moments *m, size_t number, struct vm_error *err)
{
	memset(m->target, 0, m->pages * sizeof(*m->target));
	for (size_t i = 0; i <= number; i++) {
		struct trace_state *s = &m->state[i];
		int rc = s->state ? 0 : trace_state_load(m->reader, i, s, err);

		if (rc)
			return rc;
		for (size_t p = 0; p < s->pages; p++)
			m->target[s->page[p]] = s->content[p];
	}
	return 0;
}

int moments_restore_trace(struct moments *m, size_t number, uint64_t *seq, struct vm_error *err)
{
	const struct trace_state *s = &m->state[number];
	struct vm_error why;
	int rc = find_target(m, number, err);

	rc = rc ? rc : put_pages(m, m->target, err);
	if (rc)
		return rc;
	rc = vm_snapshot_load_kept(m->vm, s->state, s->state_len, &why);
	if (!rc && s->progress)
		rc = vm_progress_load(m->vm, s->progress, s->progress_len, &why);
	else if (!rc)
		rc = vm_progress_load(m->vm, m->fresh, m->fresh_len, &why);
	if (rc)
		return vm_fail(err, rc, "the checkpoint at event %llu: %s", (unsigned long long)s->seq, why.text);
	*seq = s->seq;
	return 0;
}
