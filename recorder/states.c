/*
 * states.c - see states.h.
 *
 * Numbers of contents (schemas/trace.proto, Resume) are turned into a group of pages and a place in it:
 *
 *     0 | 1 ...... base pages of checkpoint 0, by its runs | ...... packs ...... |
 *
 * base_first[i] is the number of run i's first page; packs carry theirs as key.
 */
#include "recorder/states.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/bug.h"

#define GROUPS_KEPT 32
#define GROUP_PAGES 64

_Static_assert(RUN_PAGES_MAX <= GROUP_PAGES && PACK_PAGES_MAX <= GROUP_PAGES, "a group has room for either");

struct state_ref {
	uint64_t seq, icount;
	const void *value;
	size_t len;
};

struct pack_ref {
	uint64_t first;
	uint32_t count;
	const void *value;
	size_t len;
};

struct group {
	size_t number; /* run i of checkpoint 0, or base runs + pack i; SIZE_MAX none */
	uint8_t *pages;
};

struct states {
	struct db *db;
	struct codec *codec;
	const char *path;
	const struct trace_meta *meta;
	struct state_ref *state; /* [0] is the beginning, whose value may be NULL */
	size_t states, state_room;
	struct pack_ref *pack;
	size_t packs, pack_room;
	bool loaded; /* base and base_first */
	struct checkpoint base;
	uint64_t *base_first;
	uint64_t base_pages;
	struct group group[GROUPS_KEPT];
	unsigned oldest;
};

static int bad(const struct states *s, struct vm_error *err, enum db_table table, uint64_t key, const char *why)
{
	return vm_fail(err, -EBADMSG, "%s: %s[%llu]: %s", s->path, db_table_name(table), (unsigned long long)key, why);
}

static int no_memory(const struct states *s, struct vm_error *err)
{
	return vm_fail(err, -ENOMEM, "%s: out of memory", s->path);
}

static int unpacked(const struct states *s, struct vm_error *err, int rc, enum db_table table, uint64_t key,
                    const char *why)
{
	if (rc == -ENOMEM)
		return no_memory(s, err);
	return rc ? bad(s, err, table, key, why) : 0;
}

/* ---- index -------------------------------------------------------------------------------------------------- */

struct walk {
	struct states *s;
	struct vm_error *err;
};

static bool grow(void **array, size_t *room, size_t count, size_t size)
{
	size_t more = *room ? 2 * *room : 64;
	void *bigger;

	if (count < *room)
		return true;
	bigger = realloc(*array, more * size);
	if (!bigger)
		return false;
	*array = bigger;
	*room = more;
	return true;
}

static bool add_state(struct states *s, const struct state_ref *ref)
{
	void *array = s->state;
	bool ok = grow(&array, &s->state_room, s->states, sizeof(*s->state));

	s->state = array;
	if (ok)
		s->state[s->states++] = *ref;
	return ok;
}

static int index_state(void *self, const uint8_t *key, size_t key_len, const void *value, size_t len)
{
	struct walk *w = self;
	struct states *s = w->s;
	struct state_ref ref = { .value = value, .len = len }, *last = &s->state[s->states - 1];

	if (key_len != SEQ_KEY_BYTES)
		return bad(s, w->err, DB_RESUME, last->seq, "the key after it has a wrong length");
	ref.seq = seq_of_key(key);
	if (!codec_peek_resume(value, len, &ref.icount))
		return bad(s, w->err, DB_RESUME, ref.seq, "not a checkpoint");
	if (ref.seq > s->meta->events || (ref.seq && (ref.icount > s->meta->icount || ref.icount < last->icount)))
		return bad(s, w->err, DB_RESUME, ref.seq, "lies outside the trace, or before the one before it");
	if (!ref.seq) {
		*last = ref;
		return 0;
	}
	return add_state(s, &ref) ? 0 : no_memory(s, w->err);
}

static int index_pack(void *self, const uint8_t *key, size_t key_len, const void *value, size_t len)
{
	struct walk *w = self;
	struct states *s = w->s;
	struct pack_ref ref = { .value = value, .len = len };
	void *array = s->pack;
	bool ok;

	if (key_len != SEQ_KEY_BYTES)
		return bad(s, w->err, DB_PACKS, 0, "a key has a wrong length");
	ref.first = seq_of_key(key);
	if (!codec_peek_pages(value, len, &ref.count) || ref.first < 1 || ref.first > PAGE_CONTENT_MAX)
		return bad(s, w->err, DB_PACKS, ref.first, "not a group of pages");
	if (s->packs && ref.first != s->pack[s->packs - 1].first + s->pack[s->packs - 1].count)
		return bad(s, w->err, DB_PACKS, ref.first, "the one before it is missing");
	ok = grow(&array, &s->pack_room, s->packs, sizeof(*s->pack));
	s->pack = array;
	if (!ok)
		return no_memory(s, w->err);
	s->pack[s->packs++] = ref;
	return 0;
}

void states_close(struct states *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < GROUPS_KEPT; i++)
		free(s->group[i].pages);
	checkpoint_free(&s->base);
	free(s->base_first);
	free(s->state);
	free(s->pack);
	free(s);
}

int states_open(struct states **out, struct db *db, struct codec *codec, const char *path,
                const struct trace_meta *meta, struct vm_error *err)
{
	struct states *s = calloc(1, sizeof(*s));
	struct walk w = { .s = s, .err = err };
	int rc;

	*out = NULL;
	if (!s)
		return vm_fail(err, -ENOMEM, "%s: out of memory", path);
	s->db = db;
	s->codec = codec;
	s->path = path;
	s->meta = meta;
	for (unsigned i = 0; i < GROUPS_KEPT; i++)
		s->group[i].number = SIZE_MAX;
	rc = add_state(s, &(struct state_ref){ 0 }) ? 0 : no_memory(s, err);
	rc = rc ? rc : db_each(db, DB_RESUME, index_state, &w, err);
	rc = rc ? rc : db_each(db, DB_PACKS, index_pack, &w, err);
	if (rc) {
		states_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

size_t states_count(const struct states *s)
{
	return s->states;
}

void states_info(const struct states *s, size_t number, struct trace_checkpoint *out)
{
	BUG_ON(number >= s->states);
	*out = (struct trace_checkpoint){ .seq = s->state[number].seq, .icount = s->state[number].icount };
}

size_t states_before(const struct states *s, uint64_t icount)
{
	size_t low = 0, high = s->states;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (s->state[middle].icount <= icount)
			low = middle;
		else
			high = middle;
	}
	return low;
}

uint64_t states_bytes(const struct states *s)
{
	uint64_t bytes = 0;

	for (size_t i = 1; i < s->states; i++)
		bytes += s->state[i].len;
	for (size_t i = 0; i < s->packs; i++)
		bytes += s->pack[i].len;
	return bytes;
}

/* ---- checkpoint 0 ------------------------------------------------------------------------------------------- */

static int number_base(struct states *s, struct vm_error *err)
{
	uint64_t next = 1;

	s->base_first = calloc(s->base.runs + 1, sizeof(*s->base_first));
	if (!s->base_first)
		return no_memory(s, err);
	for (size_t i = 0; i < s->base.runs; i++) {
		s->base_first[i] = next;
		next += s->base.run[i].count;
	}
	s->base_pages = next - 1;
	if (s->packs && s->pack[0].first != next)
		return bad(s, err, DB_PACKS, s->pack[0].first, "does not go on where checkpoint 0 ends");
	s->loaded = true;
	return 0;
}

static int load_base(struct states *s, struct vm_error *err)
{
	uint8_t key[SEQ_KEY_BYTES];
	const char *why = NULL;
	const void *value;
	size_t len;
	int rc;

	if (s->loaded)
		return 0;
	checkpoint_free(&s->base); /* of an attempt that failed */
	free(s->base_first);
	s->base_first = NULL;
	seq_key(key, 0);
	rc = db_get(s->db, DB_CHECKPOINTS, key, sizeof(key), &value, &len, err);
	if (rc < 0)
		return rc;
	if (!rc)
		return bad(s, err, DB_CHECKPOINTS, 0, "is not there: the recorder was stopped as the run began");
	rc = codec_unpack_checkpoint(s->codec, 0, value, len, s->meta->config.memory / PAGE_BYTES, &s->base, &why);
	rc = unpacked(s, err, rc, DB_CHECKPOINTS, 0, why);
	return rc ? rc : number_base(s, err);
}

/* ---- pages -------------------------------------------------------------------------------------------------- */

static int unpack_run(struct states *s, size_t i, uint8_t *pages, struct vm_error *err)
{
	const struct page_run *run = &s->base.run[i];
	const char *why = NULL;
	const void *value;
	size_t len;
	int rc = db_get(s->db, DB_PAGES, run->hash, RUN_HASH_BYTES, &value, &len, err);

	if (rc < 0)
		return rc;
	if (!rc)
		return bad(s, err, DB_CHECKPOINTS, 0, "refers to pages that are not there");
	rc = codec_unpack_run(s->codec, run, value, len, pages, &why);
	return unpacked(s, err, rc, DB_CHECKPOINTS, 0, why);
}

static int unpack_pack(struct states *s, size_t i, uint8_t *pages, struct vm_error *err)
{
	const struct pack_ref *p = &s->pack[i];
	const char *why = NULL;
	int rc = codec_unpack_pages(s->codec, p->first, p->value, p->len, pages, p->count, &why);

	return unpacked(s, err, rc, DB_PACKS, p->first, why);
}

/* A group's pages, kept until GROUPS_KEPT others were asked for. */
static int get_group(struct states *s, size_t number, const uint8_t **pages, struct vm_error *err)
{
	struct group *g;
	int rc;

	for (unsigned i = 0; i < GROUPS_KEPT; i++) {
		if (s->group[i].number == number) {
			*pages = s->group[i].pages;
			return 0;
		}
	}
	g = &s->group[s->oldest];
	s->oldest = (s->oldest + 1) % GROUPS_KEPT;
	g->number = SIZE_MAX;
	if (!g->pages)
		g->pages = malloc((size_t)GROUP_PAGES * PAGE_BYTES);
	if (!g->pages)
		return no_memory(s, err);
	rc = number < s->base.runs ? unpack_run(s, number, g->pages, err)
	                           : unpack_pack(s, number - s->base.runs, g->pages, err);
	if (rc)
		return rc;
	g->number = number;
	*pages = g->pages;
	return 0;
}

/* The last of `count` ascending numbers, `stride` bytes apart, that is at most `content`; the first is. */
static size_t last_at_most(const uint64_t *first, size_t count, size_t stride, uint64_t content)
{
	size_t low = 0, high = count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		uint64_t v = *(const uint64_t *)((const uint8_t *)first + middle * stride);

		if (v <= content)
			low = middle;
		else
			high = middle;
	}
	return low;
}

int states_page(struct states *s, int64_t content, uint8_t *page, struct vm_error *err)
{
	const uint8_t *pages;
	uint64_t first;
	size_t i;
	int rc = load_base(s, err);

	if (rc)
		return rc;
	if (!content) {
		memset(page, 0, PAGE_BYTES);
		return 0;
	}
	if (content < 0)
		return vm_fail(err, -EBADMSG, "%s: page contents %lld are not there", s->path, (long long)content);
	if ((uint64_t)content <= s->base_pages) {
		i = last_at_most(s->base_first, s->base.runs, sizeof(*s->base_first), (uint64_t)content);
		first = s->base_first[i];
		rc = get_group(s, i, &pages, err);
	} else {
		i = s->packs ? last_at_most(&s->pack[0].first, s->packs, sizeof(*s->pack), (uint64_t)content) : 0;
		if (!s->packs || (uint64_t)content - s->pack[i].first >= s->pack[i].count)
			return vm_fail(err, -EBADMSG, "%s: packs: page contents %lld are not there", s->path,
			               (long long)content);
		first = s->pack[i].first;
		rc = get_group(s, s->base.runs + i, &pages, err);
	}
	if (!rc)
		memcpy(page, pages + ((uint64_t)content - first) * PAGE_BYTES, PAGE_BYTES);
	return rc;
}

/* ---- states ------------------------------------------------------------------------------------------------- */

/* The pages and registers of number 0 are checkpoint 0's; resume[0], if there is one, adds the rest. */
static int load_first(struct states *s, struct trace_state *out, struct vm_error *err)
{
	int rc = load_base(s, err);
	size_t n = 0;

	if (rc)
		return rc;
	out->icount = s->base.icount;
	out->state = malloc(s->base.state_len);
	out->page = malloc((s->base_pages + 1) * sizeof(*out->page));
	out->content = malloc((s->base_pages + 1) * sizeof(*out->content));
	if (!out->state || !out->page || !out->content)
		return no_memory(s, err);
	memcpy(out->state, s->base.state, s->base.state_len);
	out->state_len = s->base.state_len;
	for (size_t i = 0; i < s->base.runs; i++) {
		for (uint32_t j = 0; j < s->base.run[i].count; j++, n++) {
			out->page[n] = s->base.run[i].first + j;
			out->content[n] = (int64_t)n + 1;
		}
	}
	out->pages = n;
	return 0;
}

static int load_later(struct states *s, size_t number, struct resume *r, struct vm_error *err)
{
	const struct state_ref *ref = &s->state[number];
	const char *why = NULL;
	int rc = codec_unpack_resume(s->codec, ref->seq, ref->value, ref->len, s->meta->config.memory / PAGE_BYTES, r,
	                             &why);

	return unpacked(s, err, rc, DB_RESUME, ref->seq, why);
}

int states_load(struct states *s, size_t number, struct trace_state *out, struct vm_error *err)
{
	struct resume r = { 0 };
	int rc = 0;

	BUG_ON(number >= s->states);
	*out = (struct trace_state){ .seq = s->state[number].seq };
	if (s->state[number].value)
		rc = load_later(s, number, &r, err);
	if (!rc && !number)
		rc = load_first(s, out, err);
	if (!rc && number) {
		out->icount = r.icount;
		out->state = r.state;
		out->state_len = r.state_len;
		out->page = r.page;
		out->content = r.content;
		out->pages = r.pages;
		r.state = NULL;
		r.page = NULL;
		r.content = NULL;
	}
	if (!rc) {
		out->progress = r.progress;
		out->progress_len = r.progress_len;
		out->devices = r.devices;
		out->devices_len = r.devices_len;
		r.progress = r.devices = NULL;
	}
	resume_free(&r);
	if (rc)
		trace_state_free(out);
	return rc;
}

void trace_state_free(struct trace_state *s)
{
	free(s->state);
	free(s->progress);
	free(s->devices);
	free(s->page);
	free(s->content);
	*s = (struct trace_state){ 0 };
}
