/*
 * reader.c - open a trace, restore checkpoint 0, walk events, check everything.
 *
 * The file has passed dbcheck, so its structure is sound; its contents are still a stranger's. The index of chunks is
 * built from the chunks' own headers at opening and checked for gaps; a chunk's checksum is verified, and its columns
 * bounded, when it is decoded.
 *
 * A cursor that has moved from one chunk to the next decodes the one after in a thread of its own ("ahead"), so that
 * a replay does not wait for it:
 *
 *     IDLE --request--> WANTED --thread takes it--> (decoding) --> READY --taken or dropped--> IDLE
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/codec.h"
#include "recorder/db.h"
#include "recorder/digest.h"
#include "recorder/states.h"
#include "recorder/trace.h"
#include "vmm/bug.h"
#include "vmm/decode/insn.h"
#include "vmm/digest.h"
#include "vmm/snapshot.h"

#define EVENTS_LIMIT (1ull << 56)

struct chunk_ref {
	uint64_t seq, first_icount, last_icount;
	uint32_t count;
	const void *value, *cost; /* borrowed from the database; cost may be NULL */
	size_t value_len, cost_len;
};

struct trace_reader {
	struct db *db;
	struct codec *codec;
	char *path;
	uint32_t version; /* as meta[format] says */
	struct trace_meta meta;
	struct summary_extra extra;
	struct chunk_ref *chunk;
	size_t chunks, chunk_room;
	struct states *states;
};

static int bad_value(const struct trace_reader *r, struct vm_error *err, enum db_table table, const char *key,
                     const char *why)
{
	return vm_fail(err, -EBADMSG, "%s: %s[%s]: %s", r->path, db_table_name(table), key, why);
}

static int bad_seq(const struct trace_reader *r, struct vm_error *err, enum db_table table, uint64_t seq, const char *why)
{
	char key[24];

	snprintf(key, sizeof(key), "%llu", (unsigned long long)seq);
	return bad_value(r, err, table, key, why);
}

/* An unpack function's result as ours. */
static int unpacked(const struct trace_reader *r, struct vm_error *err, int rc, enum db_table table, const char *key,
                    const char *why)
{
	if (rc == -ENOMEM)
		return vm_fail(err, rc, "%s: out of memory", r->path);
	return rc ? bad_value(r, err, table, key, why) : 0;
}

struct db *trace_reader_db(struct trace_reader *r)
{
	return r->db;
}

const char *trace_reader_path(const struct trace_reader *r)
{
	return r->path;
}

/* ---- Opening ----------------------------------------------------------------------------------------------- */

static int get_meta(struct trace_reader *r, const char *key, const void **value, size_t *len, struct vm_error *err)
{
	int rc = db_get(r->db, DB_META, key, strlen(key), value, len, err);

	if (!rc)
		return bad_value(r, err, DB_META, key, "is not there");
	return rc < 0 ? rc : 0;
}

/* Before anything else is looked at: is it a trace, and one that this program reads? */
static int check_version(struct trace_reader *r, struct vm_error *err)
{
	const char *why = NULL;
	const void *value;
	uint32_t version;
	char writer[64];
	size_t len;
	int rc;

	rc = db_get(r->db, DB_META, KEY_FORMAT, sizeof(KEY_FORMAT) - 1, &value, &len, err);
	if (rc < 0)
		return rc;
	if (!rc || codec_unpack_format(value, len, &version, writer, sizeof(writer), &why))
		return vm_fail(err, -EBADMSG, "%s: a database, but not a trace (%s)", r->path,
		               rc ? why : "meta[format] is not there");
	if (version < TRACE_FORMAT_OLDEST || version > TRACE_FORMAT_VERSION)
		return vm_fail(err, -EPROTONOSUPPORT,
		               "%s: trace format %u, written by %s; this program reads formats %u to %u", r->path,
		               version, writer, TRACE_FORMAT_OLDEST, TRACE_FORMAT_VERSION);
	r->version = version;
	return 0;
}

static int read_meta(struct trace_reader *r, struct vm_error *err)
{
	const char *why = NULL;
	const void *value;
	size_t len;
	int rc;

	rc = get_meta(r, KEY_HEADER, &value, &len, err);
	if (!rc)
		rc = unpacked(r, err, codec_unpack_header(r->codec, value, len, &r->meta, &why), DB_META, KEY_HEADER,
		              why);
	if (!rc && r->meta.format_version != r->version)
		rc = bad_value(r, err, DB_META, KEY_HEADER, "contradicts the format version");
	if (!rc)
		rc = get_meta(r, KEY_SUMMARY, &value, &len, err);
	if (!rc)
		rc = unpacked(r, err, codec_unpack_summary(r->codec, value, len, &r->meta, &r->extra, &why), DB_META,
		              KEY_SUMMARY, why);
	if (!rc && r->meta.events > EVENTS_LIMIT)
		rc = bad_value(r, err, DB_META, KEY_SUMMARY, "event count out of range");
	return rc;
}

struct index_walk {
	struct trace_reader *r;
	struct vm_error *err;
	uint64_t seq, icount, bytes;
	size_t cost_at; /* next chunk that a cost may belong to */
};

static bool index_room(struct trace_reader *r)
{
	size_t room = r->chunk_room ? 2 * r->chunk_room : 64;
	struct chunk_ref *chunk;

	if (r->chunks < r->chunk_room)
		return true;
	chunk = realloc(r->chunk, room * sizeof(*chunk));
	if (!chunk)
		return false;
	r->chunk = chunk;
	r->chunk_room = room;
	return true;
}

static int index_chunk(void *self, const uint8_t *key, size_t key_len, const void *value, size_t len)
{
	struct index_walk *w = self;
	struct trace_reader *r = w->r;
	struct chunk_head head;

	if (key_len != SEQ_KEY_BYTES)
		return bad_seq(r, w->err, DB_EVENTS, w->seq, "the key after it has a wrong length");
	if (seq_of_key(key) != w->seq)
		return bad_seq(r, w->err, DB_EVENTS, w->seq, "chunk is missing");
	if (!codec_peek_events(value, len, &head))
		return bad_seq(r, w->err, DB_EVENTS, w->seq, "not an event chunk");
	if (!head.count || head.count > TRACE_CHUNK_EVENTS || head.count > r->meta.events - w->seq)
		return bad_seq(r, w->err, DB_EVENTS, w->seq, "event count out of range");
	if (head.first_icount < w->icount || head.last_icount < head.first_icount)
		return bad_seq(r, w->err, DB_EVENTS, w->seq, "icount goes backwards");
	if (!index_room(r))
		return vm_fail(w->err, -ENOMEM, "%s: out of memory", r->path);
	r->chunk[r->chunks++] = (struct chunk_ref){ .seq = w->seq,
		                                    .first_icount = head.first_icount,
		                                    .last_icount = head.last_icount,
		                                    .count = head.count,
		                                    .value = value,
		                                    .value_len = len };
	w->seq += head.count;
	w->icount = head.last_icount;
	w->bytes += len;
	return 0;
}

/* Costs may be missing or damaged: a replay does not need them. Keys come in order, so does the index. */
static int index_cost(void *self, const uint8_t *key, size_t key_len, const void *value, size_t len)
{
	struct index_walk *w = self;
	struct trace_reader *r = w->r;
	uint64_t seq = key_len == SEQ_KEY_BYTES ? seq_of_key(key) : UINT64_MAX;

	while (w->cost_at < r->chunks && r->chunk[w->cost_at].seq < seq)
		w->cost_at++;
	if (w->cost_at < r->chunks && r->chunk[w->cost_at].seq == seq) {
		r->chunk[w->cost_at].cost = value;
		r->chunk[w->cost_at].cost_len = len;
	}
	return 0;
}

static int build_index(struct trace_reader *r, struct vm_error *err)
{
	struct index_walk w = { .r = r, .err = err };
	int rc = db_each(r->db, DB_EVENTS, index_chunk, &w, err);

	if (rc)
		return rc;
	if (w.seq != r->meta.events || (r->chunks && w.icount != r->meta.icount))
		return bad_value(r, err, DB_META, KEY_SUMMARY, "does not match the event chunks");
	return db_each(r->db, DB_COSTS, index_cost, &w, err);
}

void trace_reader_close(struct trace_reader *r)
{
	if (!r)
		return;
	states_close(r->states);
	db_close(r->db);
	codec_destroy(r->codec);
	free(r->chunk);
	free(r->path);
	free(r);
}

int trace_reader_open(struct trace_reader **out, const char *path, struct vm_error *err)
{
	struct trace_reader *r = calloc(1, sizeof(*r));
	int rc = 0;

	*out = NULL;
	if (!r)
		return vm_fail(err, -ENOMEM, "out of memory");
	r->path = strdup(path);
	r->codec = codec_create();
	if (!r->path || !r->codec)
		rc = vm_fail(err, -ENOMEM, "out of memory");
	rc = rc ? rc : db_open(&r->db, path, err);
	rc = rc ? rc : check_version(r, err);
	rc = rc ? rc : read_meta(r, err);
	rc = rc ? rc : build_index(r, err);
	rc = rc ? rc : states_open(&r->states, r->db, r->codec, r->path, &r->meta, err);
	if (rc) {
		trace_reader_close(r);
		return rc;
	}
	*out = r;
	return 0;
}

const struct trace_meta *trace_reader_meta(const struct trace_reader *r)
{
	return &r->meta;
}

/* ---- Checkpoint 0 ------------------------------------------------------------------------------------------ */

static int load_checkpoint(struct trace_reader *r, struct checkpoint *cp, struct vm_error *err)
{
	uint8_t key[SEQ_KEY_BYTES];
	const char *why = NULL;
	const void *value;
	size_t len;
	int rc;

	seq_key(key, 0);
	rc = db_get(r->db, DB_CHECKPOINTS, key, sizeof(key), &value, &len, err);
	if (rc < 0)
		return rc;
	if (!rc)
		return bad_seq(r, err, DB_CHECKPOINTS, 0, "is not there: the recorder was stopped as the run began");
	rc = codec_unpack_checkpoint(r->codec, 0, value, len, r->meta.config.memory / PAGE_BYTES, cp, &why);
	return unpacked(r, err, rc, DB_CHECKPOINTS, "0", why);
}

static int load_run(struct trace_reader *r, const struct page_run *run, uint8_t *pages, struct vm_error *err)
{
	char name[2 * RUN_HASH_BYTES + 1];
	const char *why = NULL;
	const void *value;
	size_t len;
	int rc, i;

	for (i = 0; i < RUN_HASH_BYTES; i++)
		snprintf(name + 2 * i, 3, "%02x", run->hash[i]);
	rc = db_get(r->db, DB_PAGES, run->hash, RUN_HASH_BYTES, &value, &len, err);
	if (rc < 0)
		return rc;
	if (!rc)
		return bad_value(r, err, DB_PAGES, name, "is referred to but not there");
	return unpacked(r, err, codec_unpack_run(r->codec, run, value, len, pages, &why), DB_PAGES, name, why);
}

/* ---- Checkpoints that a run can go on from ----------------------------------------------------------------- */

size_t trace_checkpoint_count(const struct trace_reader *r)
{
	return states_count(r->states);
}

void trace_checkpoint_info(const struct trace_reader *r, size_t number, struct trace_checkpoint *out)
{
	states_info(r->states, number, out);
}

size_t trace_checkpoint_before(const struct trace_reader *r, uint64_t icount)
{
	return states_before(r->states, icount);
}

uint64_t trace_checkpoint_bytes(const struct trace_reader *r)
{
	return states_bytes(r->states);
}

int trace_state_load(struct trace_reader *r, size_t number, struct trace_state *out, struct vm_error *err)
{
	return states_load(r->states, number, out, err);
}

int trace_page_load(struct trace_reader *r, int64_t content, uint8_t *page, struct vm_error *err)
{
	return states_page(r->states, content, page, err);
}

/* What every page of RAM holds at a checkpoint, by number; the state of the last one applied goes to *last. */
static int contents_at(struct trace_reader *r, size_t number, int64_t *content, struct trace_state *last,
                       struct vm_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i <= number; i++) {
		trace_state_free(last);
		rc = trace_state_load(r, i, last, err);
		for (size_t p = 0; !rc && p < last->pages; p++)
			content[last->page[p]] = last->content[p];
	}
	return rc;
}

static int restore_state(struct trace_reader *r, const struct trace_state *s, struct vm *vm, struct vm_error *err)
{
	struct vm_error why;
	int rc = vm_snapshot_load(vm, s->state, s->state_len, &why);

	if (!rc && s->progress)
		rc = vm_progress_load(vm, s->progress, s->progress_len, &why);
	return rc ? vm_fail(err, rc, "%s: the checkpoint at event %llu: %s", r->path, (unsigned long long)s->seq, why.text)
	          : 0;
}

int trace_reader_restore_at(struct trace_reader *r, size_t number, struct vm *vm, uint8_t **devices,
                            size_t *devices_len, struct vm_error *err)
{
	uint64_t page, pages = r->meta.config.memory / PAGE_BYTES;
	struct trace_state s = { 0 };
	int64_t *content;
	int rc;

	if (vm_ram_size(vm) != r->meta.config.memory)
		return vm_fail(err, -EINVAL, "%s: the machine's memory is not the trace's", r->path);
	content = calloc(pages, sizeof(*content));
	if (!content)
		return vm_fail(err, -ENOMEM, "%s: out of memory", r->path);
	rc = contents_at(r, number, content, &s, err);
	for (page = 0; !rc && page < pages; page++)
		if (content[page])
			rc = trace_page_load(r, content[page], vm_ram(vm) + page * PAGE_BYTES, err);
	rc = rc ? rc : restore_state(r, &s, vm, err);
	if (!rc && devices) {
		*devices = s.devices;
		*devices_len = s.devices_len;
		s.devices = NULL;
	}
	trace_state_free(&s);
	free(content);
	return rc;
}

int trace_reader_restore(struct trace_reader *r, struct vm *vm, struct vm_error *err)
{
	return trace_reader_restore_at(r, 0, vm, NULL, NULL, err);
}

/* ---- Decoded chunks ---------------------------------------------------------------------------------------- */

/* A chunk's events, and which of them are asynchronous. */
struct decoded {
	size_t number; /* of the chunk; SIZE_MAX none */
	uint32_t count;
	struct event *event;
	uint32_t *async;
	uint32_t asyncs;
	uint32_t strings_end; /* behind the last one that is string I/O */
	void *blob;
};

static bool decoded_init(struct decoded *d)
{
	d->number = SIZE_MAX;
	d->event = malloc(TRACE_CHUNK_EVENTS * sizeof(*d->event));
	d->async = malloc(TRACE_CHUNK_EVENTS * sizeof(*d->async));
	return d->event && d->async;
}

static void decoded_free(struct decoded *d)
{
	free(d->event);
	free(d->async);
	free(d->blob);
}

static bool is_async(unsigned kind)
{
	const unsigned kinds = 1u << EV_INTERRUPT | 1u << EV_DMA | 1u << EV_INPUT | 1u << EV_MARKER |
	                       1u << EV_CHECKPOINT | 1u << EV_END | 1u << EV_CHANGE;

	return kinds >> kind & 1;
}

static int decode(const struct trace_reader *r, struct codec *codec, size_t number, struct decoded *d,
                  struct vm_error *err)
{
	const struct chunk_ref *ref = &r->chunk[number];
	const char *why = NULL;
	struct chunk_head head;
	uint32_t i;
	int rc;

	free(d->blob);
	d->number = SIZE_MAX;
	rc = codec_unpack_events(codec, ref->seq, ref->value, ref->value_len, d->event, &head, &d->blob, &why);
	if (rc == -ENOMEM)
		return vm_fail(err, rc, "%s: out of memory", r->path);
	if (rc)
		return bad_seq(r, err, DB_EVENTS, ref->seq, why);
	d->number = number;
	d->count = head.count;
	d->asyncs = d->strings_end = 0;
	for (i = 0; i < d->count; i++) {
		if (is_async(d->event[i].kind))
			d->async[d->asyncs++] = i;
		if (op_is_string_io(d->event[i].op))
			d->strings_end = i + 1;
	}
	return 0;
}

/* ---- Decoding ahead ---------------------------------------------------------------------------------------- */

enum ahead_state { AHEAD_IDLE, AHEAD_WANTED, AHEAD_READY };

struct ahead {
	const struct trace_reader *r;
	struct codec *codec;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t change;
	bool started, quit;
	enum ahead_state state;
	size_t number;
	struct decoded chunk;
	int status;
	struct vm_error error;
};

static void *ahead_thread(void *self)
{
	struct ahead *a = self;

	pthread_mutex_lock(&a->lock);
	for (;;) {
		while (!a->quit && a->state != AHEAD_WANTED)
			pthread_cond_wait(&a->change, &a->lock);
		if (a->quit)
			break;
		pthread_mutex_unlock(&a->lock);
		a->status = decode(a->r, a->codec, a->number, &a->chunk, &a->error);
		pthread_mutex_lock(&a->lock);
		a->state = AHEAD_READY;
		pthread_cond_broadcast(&a->change);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* Without a thread (none to be had) everything is decoded when it is needed. */
static void ahead_start(struct ahead *a)
{
	sigset_t all, old;

	a->codec = codec_create();
	if (!a->codec || !decoded_init(&a->chunk))
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	a->started = !pthread_create(&a->thread, NULL, ahead_thread, a);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void ahead_stop(struct ahead *a)
{
	if (a->started) {
		pthread_mutex_lock(&a->lock);
		a->quit = true;
		pthread_cond_broadcast(&a->change);
		pthread_mutex_unlock(&a->lock);
		pthread_join(a->thread, NULL);
	}
	codec_destroy(a->codec);
	decoded_free(&a->chunk);
	pthread_mutex_destroy(&a->lock);
	pthread_cond_destroy(&a->change);
}

static void ahead_request(struct ahead *a, size_t number)
{
	if (!a->codec)
		ahead_start(a);
	if (!a->started || number >= a->r->chunks)
		return;
	pthread_mutex_lock(&a->lock);
	if (a->state == AHEAD_IDLE) {
		a->state = AHEAD_WANTED;
		a->number = number;
		pthread_cond_broadcast(&a->change);
	}
	pthread_mutex_unlock(&a->lock);
}

/* Wait for what was requested, if anything. True when it was `number` and is sound: then it was swapped into *d. */
static bool ahead_take(struct ahead *a, size_t number, struct decoded *d)
{
	bool hit = false;

	if (!a->started)
		return false;
	pthread_mutex_lock(&a->lock);
	while (a->state == AHEAD_WANTED)
		pthread_cond_wait(&a->change, &a->lock);
	if (a->state == AHEAD_READY && a->number == number && !a->status) {
		struct decoded old = *d;

		*d = a->chunk;
		a->chunk = old;
		hit = true;
	}
	a->state = AHEAD_IDLE;
	pthread_mutex_unlock(&a->lock);
	return hit;
}

/* ---- Cursor ------------------------------------------------------------------------------------------------ */

struct trace_cursor {
	struct trace_reader *r;
	size_t chunk;       /* number of the chunk the cursor is in; r->chunks at the end */
	uint32_t pos;       /* in that chunk */
	uint32_t async;     /* index into the chunk's async list: first one at or after pos, when loaded */
	struct decoded now; /* now.number == chunk when loaded */
	struct codec *codec;
	struct event_cost *cost;
	size_t cost_chunk; /* whose costs are in `cost`; SIZE_MAX none */
	bool costs_ok;
	struct ahead ahead;
};

void trace_cursor_close(struct trace_cursor *c)
{
	if (!c)
		return;
	ahead_stop(&c->ahead);
	decoded_free(&c->now);
	codec_destroy(c->codec);
	free(c->cost);
	free(c);
}

int trace_cursor_open(struct trace_cursor **out, struct trace_reader *r, struct vm_error *err)
{
	struct trace_cursor *c = calloc(1, sizeof(*c));

	*out = NULL;
	if (!c)
		return vm_fail(err, -ENOMEM, "%s: out of memory", r->path);
	c->r = r;
	c->costs_ok = true;
	c->cost_chunk = SIZE_MAX;
	c->ahead.r = r;
	c->ahead.chunk.number = SIZE_MAX;
	pthread_mutex_init(&c->ahead.lock, NULL);
	pthread_cond_init(&c->ahead.change, NULL);
	c->codec = codec_create();
	if (decoded_init(&c->now) && c->codec) {
		*out = c;
		return 0;
	}
	trace_cursor_close(c);
	return vm_fail(err, -ENOMEM, "%s: out of memory", r->path);
}

/* Have the chunk the cursor is in decoded. */
static int load(struct trace_cursor *c, struct vm_error *err)
{
	bool sequential = c->now.number != SIZE_MAX && c->chunk == c->now.number + 1;
	int rc;

	if (c->now.number == c->chunk)
		return 0;
	if (!ahead_take(&c->ahead, c->chunk, &c->now)) {
		rc = decode(c->r, c->codec, c->chunk, &c->now, err);
		if (rc)
			return rc;
	}
	c->async = 0;
	if (sequential)
		ahead_request(&c->ahead, c->chunk + 1);
	return 0;
}

/* 1: c->now.event[c->pos] is the next event; 0: end. */
static int at_event(struct trace_cursor *c, struct vm_error *err)
{
	int rc;

	if (c->chunk < c->r->chunks && c->pos == c->r->chunk[c->chunk].count) {
		c->chunk++;
		c->pos = 0;
	}
	if (c->chunk >= c->r->chunks)
		return 0;
	rc = load(c, err);
	return rc ? rc : 1;
}

static void get_cost(struct trace_cursor *c, struct event_cost *cost)
{
	const struct chunk_ref *ref = &c->r->chunk[c->chunk];
	const char *why;

	if (c->cost_chunk != c->chunk) {
		if (!c->cost)
			c->cost = malloc(TRACE_CHUNK_EVENTS * sizeof(*c->cost));
		c->cost_chunk = c->chunk;
		if (!c->cost || !ref->cost ||
		    codec_unpack_costs(c->codec, ref->seq, ref->cost, ref->cost_len, c->cost, ref->count, &why)) {
			c->costs_ok = false;
			if (c->cost)
				memset(c->cost, 0, ref->count * sizeof(*c->cost));
		}
	}
	*cost = c->cost ? c->cost[c->pos] : (struct event_cost){ { 0 } };
}

int trace_cursor_next(struct trace_cursor *c, struct event *ev, struct event_cost *cost, struct vm_error *err)
{
	int rc = at_event(c, err);

	if (rc <= 0)
		return rc;
	*ev = c->now.event[c->pos];
	if (cost)
		get_cost(c, cost);
	c->pos++;
	return 1;
}

#define PEEK_AHEAD 3 /* events: another processor has decoded them */

int trace_cursor_peek(struct trace_cursor *c, const struct event **ev, struct vm_error *err)
{
	int rc = at_event(c, err);

	if (rc <= 0)
		return rc;
	*ev = &c->now.event[c->pos];
	__builtin_prefetch(*ev + PEEK_AHEAD);
	return 1;
}

void trace_cursor_pass(struct trace_cursor *c)
{
	if (at_event(c, NULL) > 0)
		c->pos++;
}

uint64_t trace_cursor_async_icount(struct trace_cursor *c)
{
	struct decoded *d = &c->now;

	if (at_event(c, NULL) <= 0)
		return c->chunk < c->r->chunks ? c->r->chunk[c->chunk].first_icount : UINT64_MAX;
	while (c->async < d->asyncs && d->async[c->async] < c->pos)
		c->async++;
	return c->async < d->asyncs ? d->event[d->async[c->async]].icount : c->r->chunk[c->chunk].last_icount;
}

bool trace_cursor_no_strings(struct trace_cursor *c)
{
	return at_event(c, NULL) > 0 && c->pos >= c->now.strings_end;
}

/* The first chunk for which `key(chunk) >= at` does not hold is before the one returned: the last chunk that begins
 * at or before. */
static size_t find_chunk_by_seq(const struct trace_reader *r, uint64_t seq)
{
	size_t low = 0, high = r->chunks;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (r->chunk[middle].seq <= seq)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* The first chunk that ends at or after this icount; r->chunks when none does. */
static size_t find_chunk_by_icount(const struct trace_reader *r, uint64_t icount)
{
	size_t low = 0, high = r->chunks;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (r->chunk[middle].last_icount < icount)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int go_to(struct trace_cursor *c, size_t chunk, uint32_t pos, struct vm_error *err)
{
	c->chunk = chunk;
	c->pos = pos;
	c->async = 0;
	return chunk < c->r->chunks ? load(c, err) : 0;
}

int trace_cursor_seek(struct trace_cursor *c, uint64_t seq, struct vm_error *err)
{
	size_t chunk;

	if (seq >= c->r->meta.events)
		return go_to(c, c->r->chunks, 0, err);
	chunk = find_chunk_by_seq(c->r, seq);
	return go_to(c, chunk, (uint32_t)(seq - c->r->chunk[chunk].seq), err);
}

int trace_cursor_seek_icount(struct trace_cursor *c, uint64_t icount, struct vm_error *err)
{
	uint32_t low = 0, high;
	int rc;

	rc = go_to(c, find_chunk_by_icount(c->r, icount), 0, err);
	if (rc || c->chunk == c->r->chunks)
		return rc;
	high = c->now.count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (c->now.event[middle].icount < icount)
			low = middle + 1;
		else
			high = middle;
	}
	c->pos = low;
	return 0;
}

uint64_t trace_cursor_seq(const struct trace_cursor *c)
{
	return c->chunk < c->r->chunks ? c->r->chunk[c->chunk].seq + c->pos : c->r->meta.events;
}

bool trace_cursor_costs_ok(const struct trace_cursor *c)
{
	return c->costs_ok;
}

/* ---- Console ----------------------------------------------------------------------------------------------- */

struct console_walk {
	struct trace_reader *r;
	struct vm_error *err;
	console_fn *fn;
	void *self;
	uint64_t number, bytes, icount;
	bool broken;
};

static int console_record(void *self, enum vm_stream stream, uint64_t icount, const uint8_t *bytes, size_t len)
{
	struct console_walk *w = self;

	if (icount < w->icount || len > w->r->meta.console_bytes - w->bytes) {
		w->broken = true;
		return bad_seq(w->r, w->err, DB_CONSOLE, w->number,
		               "icount goes backwards, or more bytes than the summary says");
	}
	w->icount = icount;
	w->bytes += len;
	return w->fn(w->self, stream, icount, bytes, len);
}

static int console_batch(void *self, const uint8_t *key, size_t key_len, const void *value, size_t len)
{
	struct console_walk *w = self;
	const char *why = NULL;
	int rc, stop;

	if (key_len != SEQ_KEY_BYTES || seq_of_key(key) != w->number)
		return bad_seq(w->r, w->err, DB_CONSOLE, w->number, "is missing");
	rc = codec_each_console(w->r->codec, w->number, value, len, console_record, w, &stop, &why);
	if (rc == -ENOMEM)
		return vm_fail(w->err, rc, "%s: out of memory", w->r->path);
	if (rc)
		return bad_seq(w->r, w->err, DB_CONSOLE, w->number, why);
	w->number++;
	return stop;
}

int trace_console_each(struct trace_reader *r,
                       int (*fn)(void *self, enum vm_stream stream, uint64_t icount, const uint8_t *bytes, size_t len),
                       void *self, struct vm_error *err)
{
	struct console_walk w = { .r = r, .err = err, .fn = fn, .self = self };
	int rc = db_each(r->db, DB_CONSOLE, console_batch, &w, err);

	if (rc)
		return rc;
	if (w.bytes != r->meta.console_bytes)
		return bad_seq(r, err, DB_CONSOLE, w.number, "is missing: fewer bytes than the summary says");
	return 0;
}

/* ---- Checking everything ----------------------------------------------------------------------------------- */

static int check_pages(struct trace_reader *r, struct digest *d, struct vm_error *err)
{
	uint8_t *pages = malloc(RUN_PAGES_MAX * PAGE_BYTES);
	struct checkpoint cp = { 0 };
	uint32_t page;
	size_t i;
	int rc;

	rc = pages ? load_checkpoint(r, &cp, err) : vm_fail(err, -ENOMEM, "%s: out of memory", r->path);
	if (!rc)
		digest_state(d, cp.state, cp.state_len);
	for (i = 0; !rc && i < cp.runs; i++) {
		rc = load_run(r, &cp.run[i], pages, err);
		for (page = 0; !rc && page < cp.run[i].count; page++)
			digest_page(d, cp.run[i].first + page, pages + (size_t)page * PAGE_BYTES);
	}
	checkpoint_free(&cp);
	free(pages);
	return rc;
}

static int check_one_event(const struct trace_reader *r, const struct trace_cursor *c, const struct event *ev,
                           uint64_t *icount, struct vm_error *err)
{
	uint64_t seq = trace_cursor_seq(c) - 1;

	if (ev->icount < *icount)
		return vm_fail(err, -EBADMSG, "%s: event %llu: icount goes backwards", r->path, (unsigned long long)seq);
	*icount = ev->icount;
	if (ev->kind == EV_END && (seq + 1 != r->meta.events || !r->meta.complete))
		return vm_fail(err, -EBADMSG, "%s: event %llu: an end that is not the last event of a complete trace",
		               r->path, (unsigned long long)seq);
	if (ev->kind != EV_END && seq + 1 == r->meta.events && r->meta.complete)
		return vm_fail(err, -EBADMSG, "%s: a complete trace does not finish with an end event", r->path);
	return 0;
}

static int check_events(struct trace_reader *r, struct digest *d, void (*progress)(void *self, double done), void *self,
                        struct vm_error *err)
{
	struct trace_cursor *c;
	struct event_cost cost;
	struct event ev;
	uint64_t icount = 0;
	int rc, end;

	rc = trace_cursor_open(&c, r, err);
	if (rc)
		return rc;
	while (!rc && (end = trace_cursor_next(c, &ev, &cost, err))) {
		if (end < 0) {
			rc = end;
			break;
		}
		digest_event(d, &ev);
		rc = check_one_event(r, c, &ev, &icount, err);
		if (!rc && !trace_cursor_costs_ok(c))
			rc = bad_seq(r, err, DB_COSTS, r->chunk[c->chunk].seq, "missing or damaged");
		if (progress && trace_cursor_seq(c) % TRACE_CHUNK_EVENTS == 0)
			progress(self, (double)trace_cursor_seq(c) / (double)r->meta.events);
	}
	trace_cursor_close(c);
	return rc;
}

static int skip_record(void *self, enum vm_stream stream, uint64_t icount, const uint8_t *bytes, size_t len)
{
	(void)self;
	(void)stream;
	(void)icount;
	(void)bytes;
	(void)len;
	return 0;
}

/* The checkpoints against the digests in the events before them: registers, and memory page by page. */
struct memory_sum {
	uint64_t *part; /* each page's part of the digest */
	uint64_t sum;
};

static uint64_t page_part(uint64_t number, const uint8_t *page)
{
	static const uint8_t zero[PAGE_BYTES];

	return memcmp(page, zero, PAGE_BYTES) ? digest64(page, PAGE_BYTES, number) : 0;
}

static int sum_pages(struct trace_reader *r, const struct trace_state *s, struct memory_sum *m, struct vm_error *err)
{
	uint8_t page[PAGE_BYTES];
	int rc = 0;

	for (size_t i = 0; !rc && i < s->pages; i++) {
		uint64_t part, number = s->page[i];

		rc = trace_page_load(r, s->content[i], page, err);
		if (rc)
			break;
		part = page_part(number, page);
		m->sum += part - m->part[number];
		m->part[number] = part;
	}
	return rc;
}

static int check_state_event(struct trace_reader *r, struct trace_cursor *c, const struct trace_state *s,
                             const struct memory_sum *m, struct vm_error *err)
{
	struct event ev = { 0 };
	int rc = trace_cursor_seek(c, s->seq - 1, err);

	rc = rc ? rc : trace_cursor_next(c, &ev, NULL, err);
	if (rc < 0)
		return rc;
	if (!rc || ev.kind != EV_CHECKPOINT || ev.icount != s->icount)
		return bad_seq(r, err, DB_RESUME, s->seq, "does not follow a checkpoint event");
	if (ev.addr != digest64(s->state, s->state_len, 0))
		return bad_seq(r, err, DB_RESUME, s->seq, "the registers are not those of the event before it");
	if (ev.value != m->sum)
		return bad_seq(r, err, DB_RESUME, s->seq, "the memory is not that of the event before it");
	return 0;
}

static int check_states(struct trace_reader *r, struct vm_error *err)
{
	struct memory_sum m = { .part = calloc(r->meta.config.memory / PAGE_BYTES, sizeof(*m.part)) };
	struct trace_cursor *c = NULL;
	int rc = m.part ? trace_cursor_open(&c, r, err) : vm_fail(err, -ENOMEM, "%s: out of memory", r->path);

	for (size_t i = 0; !rc && i < trace_checkpoint_count(r); i++) {
		struct trace_state s;

		rc = trace_state_load(r, i, &s, err);
		if (rc)
			break;
		rc = sum_pages(r, &s, &m, err);
		if (!rc && i)
			rc = check_state_event(r, c, &s, &m, err);
		trace_state_free(&s);
	}
	trace_cursor_close(c);
	free(m.part);
	return rc;
}

/* Nothing beyond what is referred to: one cost chunk an event chunk, as many bytes as the summary says. */
static int check_totals(struct trace_reader *r, struct vm_error *err)
{
	uint64_t events = 0, costs = 0;
	size_t i;

	for (i = 0; i < r->chunks; i++) {
		events += r->chunk[i].value_len;
		costs += r->chunk[i].cost_len;
	}
	if (events != r->meta.event_bytes || costs != r->meta.cost_bytes)
		return bad_value(r, err, DB_META, KEY_SUMMARY, "stated sizes do not match the chunks");
	return 0;
}

int trace_reader_check(struct trace_reader *r, void (*progress)(void *self, double done), void *self, struct vm_error *err)
{
	struct digest *d = digest_create();
	int rc;

	if (!d)
		return vm_fail(err, -ENOMEM, "%s: out of memory", r->path);
	digest_header(d, &r->meta);
	rc = check_pages(r, d, err);
	rc = rc ? rc : check_events(r, d, progress, self, err);
	rc = rc ? rc : trace_console_each(r, skip_record, NULL, err);
	rc = rc ? rc : check_totals(r, err);
	rc = rc ? rc : check_states(r, err);
	if (!rc && digest_value(d) != r->meta.digest)
		rc = bad_value(r, err, DB_META, KEY_SUMMARY, "the digest is not that of the events");
	digest_destroy(d);
	if (!rc && progress)
		progress(self, 1.0);
	return rc;
}
