/*
 * samples.c - see samples.h.
 *
 * A value is a block of one stream: of up to BLOCK numbers first all lowest bytes, then the next higher, ..., in an envelope. Its key is the number of the
 * block's first event, then the stream: a reader that goes through the events finds all runs of a block together. The key "info" comes last: without it
 * there are no samples.
 */
#include "recorder/samples.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recorder/db.h"
#include "recorder/envelope.h"

#define BLOCK 32768u
#define KEY_INFO "info"
#define KEY_BYTES 12
#define MOVE_BYTES (16u << 20) /* a transaction of a move is not longer */
#define MOVE_PUTS 256

_Static_assert(sizeof(struct samples_info) == 8 * 8 + 128 + 24, "stored as it is");

static void block_key(uint8_t key[KEY_BYTES], uint64_t seq, uint32_t run)
{
	for (int i = 0; i < 8; i++)
		key[i] = (uint8_t)(seq >> (56 - 8 * i));
	for (int i = 0; i < 4; i++)
		key[8 + i] = (uint8_t)(run >> (24 - 8 * i));
}

uint32_t samples_repeatable(const struct event_cost *cost)
{
	uint64_t sum = 0;

	for (int ph = PH_OWN; ph < PH_MAX; ph++)
		if (ph != PH_DEVICE && ph != PH_LOG)
			sum += cost->cycles[ph];
	return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

/* ---- Writing ----------------------------------------------------------------------------------------------- */

struct samples_writer {
	struct db *db;
	struct envelope *envelope;
	char trace[4096], path[4096 + sizeof(SAMPLES_SUFFIX)];
	uint32_t value[BLOCK], count, stream;
	uint8_t planes[4 * BLOCK];
	uint64_t seq; /* of the block's first event */
	int failed;
	struct vm_error why;
};

static void writer_free(struct samples_writer *w)
{
	if (!w)
		return;
	envelope_destroy(w->envelope);
	free(w);
}

int samples_create(struct samples_writer **out, const char *trace, struct vm_error *err)
{
	struct samples_writer *w = calloc(1, sizeof(*w));
	int rc = -ENOMEM;

	*out = NULL;
	if (w)
		w->envelope = envelope_create();
	if (!w || !w->envelope) {
		writer_free(w);
		return vm_fail(err, -ENOMEM, "out of memory");
	}
	if (strlen(trace) < sizeof(w->trace)) {
		strcpy(w->trace, trace);
		snprintf(w->path, sizeof(w->path), "%s" SAMPLES_SUFFIX, trace);
		rc = db_create(&w->db, w->path, true, 0, err);
	} else {
		rc = vm_fail(err, -ENAMETOOLONG, "the trace's path is too long");
	}
	if (rc) {
		writer_free(w);
		return rc;
	}
	*out = w;
	return 0;
}

static int put_sealed(struct samples_writer *w, const void *key, size_t key_len, const void *payload, size_t len,
                      struct vm_error *err)
{
	const struct envelope_in in = { .content = CONTENT_SAMPLES,
		                        .key = key,
		                        .key_len = key_len,
		                        .payload = payload,
		                        .payload_len = len,
		                        .compress = true };
	struct bytes value = { 0 };
	int rc = envelope_seal(w->envelope, &in, &value);

	if (rc) {
		rc = vm_fail(err, rc, "%s: %s", w->path, strerror(-rc));
	} else {
		const struct db_put put = { DB_SAMPLES, false, key, key_len, value.data, value.len };

		rc = db_commit(w->db, &put, 1, err);
	}
	bytes_free(&value);
	return rc;
}

static void flush(struct samples_writer *w)
{
	uint8_t key[KEY_BYTES];

	if (!w->count || w->failed)
		return;
	for (unsigned byte = 0; byte < 4; byte++)
		for (uint32_t i = 0; i < w->count; i++)
			w->planes[byte * w->count + i] = (uint8_t)(w->value[i] >> (8 * byte));
	block_key(key, w->seq, w->stream);
	w->failed = put_sealed(w, key, sizeof(key), w->planes, 4u * w->count, &w->why);
	w->seq += w->count;
	w->count = 0;
}

void samples_begin(struct samples_writer *w, uint32_t stream)
{
	w->stream = stream;
	w->seq = 0;
	w->count = 0;
}

void samples_add(struct samples_writer *w, uint32_t value)
{
	w->value[w->count++] = value;
	if (w->count == BLOCK) {
		flush(w);
		w->count = 0;
	}
}

int samples_end(struct samples_writer *w, struct vm_error *err)
{
	flush(w);
	return w->failed ? vm_fail(err, w->failed, "%s", w->why.text) : 0;
}

void samples_discard(struct samples_writer *w)
{
	if (!w)
		return;
	db_discard(w->db);
	writer_free(w);
}

struct move {
	struct db *to;
	struct db_put puts[MOVE_PUTS];
	size_t count, bytes;
	struct vm_error *err;
};

static int move_flush(struct move *m)
{
	int rc = m->count ? db_commit(m->to, m->puts, m->count, m->err) : 0;

	m->count = m->bytes = 0;
	return rc;
}

/* Values stay where they are until the source is closed. "info" sorts after all numbers of events that there are. */
static int move_one(void *self, const uint8_t *key, size_t key_len, const void *value, size_t value_len)
{
	struct move *m = self;

	m->puts[m->count++] = (struct db_put){ DB_SAMPLES, false, key, key_len, value, value_len };
	m->bytes += value_len;
	return m->count == MOVE_PUTS || m->bytes >= MOVE_BYTES ? move_flush(m) : 0;
}

static int move_into(const char *trace, const char *path, struct vm_error *err)
{
	struct move m = { .err = err };
	struct db *from;
	int rc = db_open(&from, path, err);

	if (rc)
		return rc;
	rc = db_extend(&m.to, trace, err);
	if (!rc) {
		rc = db_empty(m.to, DB_SAMPLES, err);
		rc = rc ? rc : db_each(from, DB_SAMPLES, move_one, &m, err);
		rc = rc ? rc : move_flush(&m);
		rc = rc ? rc : db_sync(m.to, err);
		db_close(m.to);
	}
	db_close(from);
	return rc;
}

int samples_finish(struct samples_writer *w, const struct samples_info *info, bool *inside, struct vm_error *why,
                   struct vm_error *err)
{
	int rc = put_sealed(w, KEY_INFO, sizeof(KEY_INFO) - 1, info, sizeof(*info), err);

	*inside = false;
	rc = rc ? rc : db_sync(w->db, err);
	if (rc) {
		samples_discard(w);
		return rc;
	}
	db_close(w->db);
	*inside = !move_into(w->trace, w->path, why);
	if (*inside)
		unlink(w->path);
	writer_free(w);
	return 0;
}

/* ---- Reading ----------------------------------------------------------------------------------------------- */

struct samples {
	struct db *db, *own; /* own: the database beside the trace */
	struct envelope *envelope;
	struct envelope_out opened;
	struct samples_info info;
	uint64_t block; /* whose samples these are; UINT64_MAX none */
	bool block_ok;
	uint32_t *cost;   /* BLOCK rows of info.runs */
	uint32_t *caller; /* BLOCK */
	uint32_t *node;   /* pairs: parent, address */
};

static bool text_ends(const char *text, size_t size)
{
	return memchr(text, 0, size) != NULL;
}

/* 1, 0 none, -EBADMSG. */
static int read_info(struct samples *s, const struct trace_meta *meta, struct vm_error *err)
{
	const char *why = "";
	const void *value;
	size_t len;
	int rc = db_get(s->db, DB_SAMPLES, KEY_INFO, sizeof(KEY_INFO) - 1, &value, &len, err);

	if (rc <= 0)
		return rc;
	rc = envelope_open(s->envelope, CONTENT_SAMPLES, KEY_INFO, sizeof(KEY_INFO) - 1, value, len, sizeof(s->info),
	                   &s->opened, &why);
	if (rc || s->opened.payload.len != sizeof(s->info))
		return vm_fail(err, -EBADMSG, "samples[info]: %s", rc ? why : "of another length");
	memcpy(&s->info, s->opened.payload.data, sizeof(s->info));
	if (!s->info.runs || s->info.runs > SAMPLES_RUNS_MAX || !text_ends(s->info.host, sizeof(s->info.host)) ||
	    !text_ends(s->info.engine, sizeof(s->info.engine)) || s->info.nodes > SAMPLES_NODES_MAX)
		return vm_fail(err, -EBADMSG, "samples[info]: out of range");
	if (s->info.digest != meta->digest || s->info.events != meta->events)
		return vm_fail(err, -EBADMSG, "samples[info]: they are of another trace");
	return 1;
}

static int find_info(struct samples *s, struct trace_reader *r, struct vm_error *err)
{
	char path[4096 + sizeof(SAMPLES_SUFFIX)];
	int rc;

	s->db = trace_reader_db(r);
	rc = read_info(s, trace_reader_meta(r), err);
	if (rc > 0)
		return rc;
	snprintf(path, sizeof(path), "%s" SAMPLES_SUFFIX, trace_reader_path(r));
	if (access(path, F_OK))
		return rc;
	rc = db_open(&s->own, path, err);
	s->db = s->own;
	return rc ? rc : read_info(s, trace_reader_meta(r), err);
}

/* One block of a stream into out[0], out[step], ... */
static bool load_stream(struct samples *s, uint64_t first, uint32_t count, uint32_t stream, uint32_t *out, size_t step)
{
	uint8_t key[KEY_BYTES];
	const uint8_t *plane;
	const char *why;
	const void *value;
	size_t len;

	block_key(key, first, stream);
	if (db_get(s->db, DB_SAMPLES, key, sizeof(key), &value, &len, NULL) <= 0 ||
	    envelope_open(s->envelope, CONTENT_SAMPLES, key, sizeof(key), value, len, 4u * BLOCK, &s->opened, &why) ||
	    s->opened.payload.len != 4u * count)
		return false;
	plane = s->opened.payload.data;
	for (uint32_t i = 0; i < count; i++)
		out[i * step] = (uint32_t)plane[i] | (uint32_t)plane[count + i] << 8 |
		                (uint32_t)plane[2 * count + i] << 16 | (uint32_t)plane[3 * count + i] << 24;
	return true;
}

/* The tree must be one: whatever a node returns to was there before it. Without that there are no callers. */
static int load_nodes(struct samples *s)
{
	uint64_t numbers = 2 * s->info.nodes;
	bool good = s->info.nodes > 0;

	s->caller = malloc(sizeof(*s->caller) * BLOCK);
	s->node = malloc(sizeof(*s->node) * (numbers + 1));
	if (!s->caller || !s->node)
		return -ENOMEM;
	for (uint64_t at = 0; good && at < numbers; at += BLOCK)
		good = load_stream(s, at, numbers - at < BLOCK ? (uint32_t)(numbers - at) : BLOCK, SAMPLES_NODES,
		                   s->node + at, 1);
	for (uint64_t n = 1; good && n < s->info.nodes; n++)
		good = s->node[2 * n] < n;
	if (!good)
		s->info.nodes = 0;
	return 0;
}

int samples_open(struct samples **out, struct trace_reader *r, struct vm_error *err)
{
	struct samples *s = calloc(1, sizeof(*s));
	int rc = -ENOMEM;

	*out = NULL;
	err->text[0] = 0;
	if (s)
		s->envelope = envelope_create();
	if (s && s->envelope)
		rc = find_info(s, r, err);
	if (rc > 0) {
		s->block = UINT64_MAX;
		s->cost = malloc(sizeof(*s->cost) * BLOCK * s->info.runs);
		rc = s->cost && !load_nodes(s) ? rc : -ENOMEM;
	}
	if (rc > 0) {
		*out = s;
		return rc;
	}
	samples_close(s);
	return rc == -ENOMEM ? vm_fail(err, rc, "out of memory") : 0;
}

void samples_close(struct samples *s)
{
	if (!s)
		return;
	db_close(s->own);
	bytes_free(&s->opened.payload);
	envelope_destroy(s->envelope);
	free(s->cost);
	free(s->caller);
	free(s->node);
	free(s);
}

const struct samples_info *samples_info(const struct samples *s)
{
	return &s->info;
}

static void load_block(struct samples *s, uint64_t first)
{
	uint64_t left = s->info.events - first;
	uint32_t count = left < BLOCK ? (uint32_t)left : BLOCK;

	s->block = first;
	s->block_ok = true;
	for (uint32_t run = 0; run < s->info.runs && s->block_ok; run++)
		s->block_ok = load_stream(s, first, count, SAMPLES_RUN + run, s->cost + run, s->info.runs);
	if (!s->info.nodes || !load_stream(s, first, count, SAMPLES_CALLERS, s->caller, 1))
		memset(s->caller, 0, count * sizeof(*s->caller));
}

const uint32_t *samples_at(struct samples *s, uint64_t seq)
{
	uint64_t first = seq - seq % BLOCK;

	if (seq >= s->info.events)
		return NULL;
	if (s->block != first)
		load_block(s, first);
	return s->block_ok ? s->cost + (seq - first) * s->info.runs : NULL;
}

uint32_t samples_caller(struct samples *s, uint64_t seq)
{
	uint64_t first = seq - seq % BLOCK;
	uint32_t node;

	if (seq >= s->info.events)
		return 0;
	if (s->block != first)
		load_block(s, first);
	node = s->caller[seq - first];
	return node < s->info.nodes ? node : 0;
}

uint32_t samples_node(const struct samples *s, uint32_t node, uint32_t *parent)
{
	*parent = node ? s->node[2u * node] : 0;
	return node ? s->node[2u * node + 1] : 0;
}
