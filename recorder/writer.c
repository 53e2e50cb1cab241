/*
 * writer.c - events from the vCPU's thread into the file, by way of a ring and a packing thread.
 *
 *   vCPU thread                                   packing thread
 *   writer_event()  copies the event into slot[n]
 *   writer_cost()   adds its cost, publishes it     waits for a good many, or commit_ms
 *        |                                          encodes slots [tail, tail + n), frees them
 *        +--------> ring of slots --------------->  compresses, commits chunk + costs + console + summary at once
 *
 * Before all that the packing thread stores checkpoint 0 (first.h), while the guest runs already.
 *
 * Invariants
 *  1. Only the vCPU thread moves `head`, only the packing thread moves `tail`; tail <= head <= tail + RING.
 *  2. A slot below head is complete, its cost included: an event is published by its cost, or without one by the event
 *     after it.
 *  3. Whatever a commit holds is a prefix of the run: event chunk, cost chunk, console bytes up to the chunk's last
 *     icount, and the summary that counts them are one transaction. So a reader never sees one without the others.
 *  4. After a failure nothing more is written; what was committed stays as it is.
 *
 * A guest that does little would make many small chunks, ten a second, each with its own dictionary and half a page
 * of waste. So the last chunk stays open: each commit writes it anew under its key with what has come since, until it
 * is full. The encoder only ever appends, so this costs the packing and compression of the open chunk, on the packing
 * thread.
 *
 * What a commit holds depends on the host's clock; nothing in the digest does (digest.h).
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "recorder/checkpoints.h"
#include "recorder/codec.h"
#include "recorder/db.h"
#include "recorder/digest.h"
#include "recorder/first.h"
#include "recorder/trace.h"
#include "vmm/bug.h"
#include "vmm/reserve.h"

/* Slots, a power of two: two chunks' worth, for the packing thread to fall behind by while it compresses and commits, and while events come faster than it packs.
 * All of it is passed through, and fetched from memory again where it exceeds the processor's cache: no more than that. */
#define RING (2 * TRACE_CHUNK_EVENTS)
#define RING_KICK (RING / 4)  /* slots waiting that the packing thread is woken for */
#define GIVE_BACK 1024        /* slots at a time, while there are more to encode */
#define BLOBS_MAX (64u << 20) /* blob bytes on their way at most */
#define COMMIT_MS 100

struct slot {
	struct event ev;
	struct event_cost cost;
};

struct console {
	struct console_record *record;
	size_t count, room;
	struct bytes data;
};

/* The last chunk: its events are in the codec, its costs in the writer's array. */
struct open_chunk {
	uint64_t seq; /* of its first event: its key */
	uint32_t count;
	uint32_t added; /* of them since the last commit */
	size_t blob_bytes;
	size_t event_len, cost_len; /* of its values in the file; 0: not there yet */
};

/* Each part has cache lines of its own: what one thread writes at every event the other must not read meanwhile. */
struct trace_writer {
	/* nobody writes them while both threads run */
	_Alignas(64) struct slot *ring;
	struct held *held;
	struct first *first;
	struct checkpoints *checkpoints; /* NULL: no others are stored; its functions say whose they are */

	/* vCPU thread */
	_Alignas(64) uint64_t written; /* slots filled, published or not */
	uint64_t tail_seen;            /* tail as last read */
	uint64_t kicked;               /* head when the packing thread was last woken */
	uint64_t last_icount;

	/* shared */
	_Alignas(64) _Atomic uint64_t head;
	_Atomic bool failed;
	_Alignas(64) _Atomic uint64_t tail;
	_Atomic uint64_t blob_bytes; /* in the ring */
	_Atomic uint64_t base_bytes; /* of checkpoint 0's pages */
	_Atomic uint64_t stat_events, stat_bytes, stat_chunks, stat_commits, stat_pack_ns;
	pthread_mutex_t lock; /* the three below, console, stopping */
	pthread_cond_t work, room;
	struct console console;
	bool stopping;
	int status; /* first failure */
	struct vm_error error;

	/* packing thread (and create, close, when it does not run) */
	_Alignas(64) pthread_t thread;
	bool running;
	bool begun; /* checkpoint 0 is in the file */
	struct db *db;
	struct codec *codec;
	struct digest *digest;
	struct trace_meta meta;      /* of what is packed */
	struct trace_meta committed; /* of what is in the file */
	uint64_t commits, console_batches;
	unsigned commit_ms;
	uint64_t commit_due_ns; /* since start */
	struct timespec start;
	struct open_chunk chunk;
	struct event_cost *costs;
	struct bytes event_value, cost_value, console_value, summary_value;
};

static uint64_t elapsed_ns(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)(now.tv_sec - since->tv_sec) * 1000000000ull + (uint64_t)now.tv_nsec - (uint64_t)since->tv_nsec;
}

static void fail_writer(struct trace_writer *w, int status, const struct vm_error *why)
{
	pthread_mutex_lock(&w->lock);
	if (!w->status) {
		w->status = status;
		w->error = *why;
	}
	atomic_store(&w->failed, true);
	if (w->checkpoints)
		checkpoints_give_up(w->checkpoints);
	pthread_cond_broadcast(&w->room);
	pthread_mutex_unlock(&w->lock);
}

/* ---- vCPU thread ------------------------------------------------------------------------------------------- */

static void kick(struct trace_writer *w)
{
	w->kicked = w->written;
	pthread_mutex_lock(&w->lock);
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
}

static bool has_room(struct trace_writer *w)
{
	w->tail_seen = atomic_load(&w->tail);
	return w->written - w->tail_seen < RING && atomic_load(&w->blob_bytes) < BLOBS_MAX;
}

/* The packing thread is a whole ring behind. */
static void wait_for_room(struct trace_writer *w)
{
	pthread_mutex_lock(&w->lock);
	while (!has_room(w) && !atomic_load(&w->failed)) {
		pthread_cond_signal(&w->work);
		pthread_cond_wait(&w->room, &w->lock);
	}
	pthread_mutex_unlock(&w->lock);
}

/* Blobs are rare: string I/O, input, markers, the end. */
static bool take_blob(struct trace_writer *w, struct event *ev)
{
	struct vm_error why;
	void *copy = ev->blob_len <= TRACE_BLOB_MAX ? malloc(ev->blob_len) : NULL;

	if (!copy) {
		vm_fail(&why, -ENOMEM, "event %llu: no room for its blob of %u bytes", (unsigned long long)w->written,
		        ev->blob_len);
		fail_writer(w, -ENOMEM, &why);
		return false;
	}
	memcpy(copy, ev->blob, ev->blob_len);
	ev->blob = copy;
	if (atomic_fetch_add(&w->blob_bytes, ev->blob_len) + ev->blob_len >= BLOBS_MAX)
		w->tail_seen = w->written - RING; /* look before the next event */
	return true;
}

static bool out_of_order(struct trace_writer *w, const struct event *ev)
{
	struct vm_error why;

	vm_fail(&why, -EINVAL, "event %llu: icount %llu comes after %llu", (unsigned long long)w->written,
	        (unsigned long long)ev->icount, (unsigned long long)w->last_icount);
	fail_writer(w, -EINVAL, &why);
	return false;
}

/* The event before, if nothing was said of its cost. */
static inline void publish_without_cost(struct trace_writer *w)
{
	if (likely(atomic_load_explicit(&w->head, memory_order_relaxed) == w->written))
		return;
	w->ring[(w->written - 1) % RING].cost = (struct event_cost){ { 0 } };
	atomic_store_explicit(&w->head, w->written, memory_order_release);
}

/* One by one: each was stored by itself a moment ago, and a wider load would have to wait until those stores are done. */
static void copy_cost(struct event_cost *to, const struct event_cost *from)
{
#pragma GCC unroll 16
	for (unsigned i = 0; i < PH_MAX; i++) {
		uint32_t cycles = from->cycles[i];

		__asm__("" : "+r"(cycles)); /* the compiler, too, is to leave them single */
		to->cycles[i] = cycles;
	}
}

/* To be written to: the packing thread's processor has it, from a ring's round ago. (__builtin_prefetch() fetches it for reading only, unless the compiler is told
 * of processors that can do better; those that cannot take this for a no-op, SDM vol. 2B PREFETCHW.) */
static void prefetch_slot(const struct slot *slot)
{
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)slot));
	__asm__ volatile("prefetchw %0" : : "m"(*((const char *)slot + sizeof(*slot) / 2)));
}

static bool writer_event(void *self, const struct event *ev)
{
	struct trace_writer *w = self;
	uint64_t n = w->written;
	struct slot *slot = &w->ring[n % RING];

	publish_without_cost(w);
	if (unlikely(n - w->tail_seen >= RING))
		wait_for_room(w);
	if (unlikely(atomic_load_explicit(&w->failed, memory_order_relaxed)))
		return false;
	if (unlikely(ev->icount < w->last_icount))
		return out_of_order(w, ev);
	w->last_icount = ev->icount;
	slot->ev = *ev;
	if (unlikely(ev->blob_len) && !take_blob(w, &slot->ev))
		return false;
	w->written = n + 1;
	prefetch_slot(&w->ring[(n + 2) % RING]);
	if (unlikely(ev->kind == EV_CHECKPOINT) && w->checkpoints &&
	    checkpoints_take(w->checkpoints, n + 1, ev->icount,
	                     atomic_load_explicit(&w->base_bytes, memory_order_relaxed) +
	                             atomic_load_explicit(&w->stat_bytes, memory_order_relaxed)))
		kick(w);
	if (unlikely(n - w->kicked >= RING_KICK))
		kick(w);
	return true;
}

static void writer_cost(void *self, const struct event_cost *cost)
{
	struct trace_writer *w = self;

	if (unlikely(atomic_load_explicit(&w->head, memory_order_relaxed) == w->written))
		return; /* the event was refused */
	copy_cost(&w->ring[(w->written - 1) % RING].cost, cost);
	atomic_store_explicit(&w->head, w->written, memory_order_release);
}

void trace_writer_observer(struct trace_writer *w, struct vm_observer *out)
{
	*out = (struct vm_observer){ .self = w, .event = writer_event, .cost = writer_cost };
}

static bool console_room(struct console *c, size_t len)
{
	struct console_record *record;
	size_t room = c->room ? 2 * c->room : 256;

	if (!bytes_reserve(&c->data, len))
		return false;
	if (c->count < c->room)
		return true;
	record = realloc(c->record, room * sizeof(*record));
	if (!record)
		return false;
	c->record = record;
	c->room = room;
	return true;
}

static bool console_add(struct console *c, enum vm_stream stream, uint64_t icount, const uint8_t *bytes, size_t len)
{
	struct console_record *last;

	if (!console_room(c, len))
		return false;
	bytes_append(&c->data, bytes, len);
	last = c->count ? &c->record[c->count - 1] : NULL;
	if (last && last->stream == stream && last->icount == icount && last->length + len <= CONSOLE_BATCH_MAX)
		last->length += (uint32_t)len;
	else
		c->record[c->count++] =
		        (struct console_record){ .icount = icount, .length = (uint32_t)len, .stream = stream };
	return true;
}

void trace_writer_console(struct trace_writer *w, enum vm_stream stream, const uint8_t *bytes, size_t len)
{
	struct vm_error why;
	bool ok = true;

	pthread_mutex_lock(&w->lock);
	while (ok && len) {
		size_t part = len < CONSOLE_BATCH_MAX ? len : CONSOLE_BATCH_MAX;

		ok = console_add(&w->console, stream, w->last_icount, bytes, part);
		bytes += part;
		len -= part;
	}
	pthread_mutex_unlock(&w->lock);
	if (ok)
		return;
	vm_fail(&why, -ENOMEM, "out of memory for the guest's console output");
	fail_writer(w, -ENOMEM, &why);
}

void trace_writer_get_stats(const struct trace_writer *w, struct trace_writer_stats *out)
{
	*out = (struct trace_writer_stats){
		.events = atomic_load_explicit(&w->stat_events, memory_order_relaxed),
		.bytes = atomic_load_explicit(&w->stat_bytes, memory_order_relaxed),
		.chunks = atomic_load_explicit(&w->stat_chunks, memory_order_relaxed),
		.commits = atomic_load_explicit(&w->stat_commits, memory_order_relaxed),
		.pack_ns = atomic_load_explicit(&w->stat_pack_ns, memory_order_relaxed),
	};
	if (w->checkpoints)
		checkpoints_stats(w->checkpoints, &out->checkpoints, &out->checkpoint_bytes);
}

/* ---- Packing thread ---------------------------------------------------------------------------------------- */

struct batch {
	struct db_put put[4];
	size_t count;
	uint8_t seq_key[SEQ_KEY_BYTES], console_key[SEQ_KEY_BYTES];
};

static void batch_add(struct batch *b, enum db_table table, const void *key, size_t key_len, const struct bytes *value,
                      bool append)
{
	b->put[b->count++] = (struct db_put){ .table = table,
		                              .append = append,
		                              .key = key,
		                              .key_len = key_len,
		                              .value = value->data,
		                              .value_len = value->len };
}

static int out_of_memory(struct vm_error *err)
{
	return vm_fail(err, -ENOMEM, "out of memory while packing the trace");
}

static bool chunk_is_full(const struct open_chunk *c)
{
	return c->count == TRACE_CHUNK_EVENTS || c->blob_bytes > TRACE_CHUNK_BLOB_MAX - TRACE_BLOB_MAX;
}

/* Moves one event into the open chunk. */
static int encode_slot(struct trace_writer *w, struct slot *slot, struct vm_error *err)
{
	struct open_chunk *c = &w->chunk;

	if (!c->count)
		codec_events_begin(w->codec, slot->ev.icount, w->meta.config.ns_per_insn, w->meta.config.ns_per_fault);
	digest_event(w->digest, &slot->ev);
	if (codec_events_add(w->codec, &slot->ev))
		return out_of_memory(err);
	w->costs[c->count++] = slot->cost;
	c->added++;
	w->meta.icount = slot->ev.icount;
	w->meta.complete = slot->ev.kind == EV_END;
	if (slot->ev.blob_len) {
		c->blob_bytes += slot->ev.blob_len;
		atomic_fetch_sub(&w->blob_bytes, slot->ev.blob_len);
		free((void *)(uintptr_t)slot->ev.blob);
	}
	return 0;
}

/* Encodes the ring's slots from tail on, until the open chunk is full, and gives them back. */
static int encode_slots(struct trace_writer *w, struct vm_error *err)
{
	uint64_t tail = atomic_load(&w->tail), head = atomic_load_explicit(&w->head, memory_order_acquire);
	uint32_t n = 0;
	int rc = 0;

	if (chunk_is_full(&w->chunk))
		w->chunk = (struct open_chunk){ .seq = w->chunk.seq + w->chunk.count };
	while (tail + n < head && !chunk_is_full(&w->chunk)) {
		rc = encode_slot(w, &w->ring[(tail + n) % RING], err);
		if (rc)
			break;
		n++;
		if (n % GIVE_BACK == 0)
			atomic_store_explicit(&w->tail, tail + n, memory_order_release);
	}
	atomic_store(&w->tail, tail + n);
	pthread_mutex_lock(&w->lock);
	pthread_cond_signal(&w->room);
	pthread_mutex_unlock(&w->lock);
	return rc;
}

/* The open chunk as it is now. */
static int pack_chunk(struct trace_writer *w, struct batch *b, struct vm_error *err)
{
	struct open_chunk *c = &w->chunk;
	bool first = !c->event_len;

	w->event_value.len = w->cost_value.len = 0;
	if (codec_events_finish(w->codec, c->seq, w->meta.icount, &w->event_value) ||
	    codec_pack_costs(w->codec, c->seq, w->costs, c->count, &w->cost_value))
		return out_of_memory(err);
	w->meta.events += c->added;
	w->meta.event_bytes += w->event_value.len - c->event_len;
	w->meta.cost_bytes += w->cost_value.len - c->cost_len;
	c->event_len = w->event_value.len;
	c->cost_len = w->cost_value.len;
	c->added = 0;
	seq_key(b->seq_key, c->seq);
	batch_add(b, DB_EVENTS, b->seq_key, SEQ_KEY_BYTES, &w->event_value, first);
	batch_add(b, DB_COSTS, b->seq_key, SEQ_KEY_BYTES, &w->cost_value, first);
	if (first)
		atomic_fetch_add_explicit(&w->stat_chunks, 1, memory_order_relaxed);
	return 0;
}

static uint64_t waiting(struct trace_writer *w)
{
	return atomic_load(&w->head) - atomic_load(&w->tail);
}

/* The first records of the console, up to the last icount that is packed and up to a batch's size; all of them at the
 * end. */
static size_t console_ready(struct trace_writer *w, size_t *bytes)
{
	const struct console *c = &w->console;
	bool all = w->stopping && !waiting(w);
	size_t n;

	*bytes = 0;
	for (n = 0; n < c->count && n < CONSOLE_BATCH_MAX; n++) {
		if (!all && c->record[n].icount > w->meta.icount)
			break;
		if (*bytes + c->record[n].length > CONSOLE_BATCH_MAX)
			break;
		*bytes += c->record[n].length;
	}
	return n;
}

static int pack_console(struct trace_writer *w, struct batch *b, struct vm_error *err)
{
	struct console *c = &w->console;
	size_t count, bytes;
	int rc = 0;

	pthread_mutex_lock(&w->lock);
	count = console_ready(w, &bytes);
	if (count) {
		w->console_value.len = 0;
		rc = codec_pack_console(w->codec, w->console_batches, c->record, count, c->data.data, &w->console_value);
		memmove(c->record, c->record + count, (c->count - count) * sizeof(*c->record));
		memmove(c->data.data, c->data.data + bytes, c->data.len - bytes);
		c->count -= count;
		c->data.len -= bytes;
	}
	pthread_mutex_unlock(&w->lock);
	if (rc)
		return out_of_memory(err);
	if (!count)
		return 0;
	seq_key(b->console_key, w->console_batches++);
	batch_add(b, DB_CONSOLE, b->console_key, SEQ_KEY_BYTES, &w->console_value, true);
	w->meta.console_bytes += bytes;
	return 0;
}

static int commit_with_summary(struct trace_writer *w, struct batch *b, struct vm_error *err)
{
	struct summary_extra extra = { .commits = ++w->commits };
	int rc;

	w->meta.digest = digest_value(w->digest);
	w->meta.run_ns = elapsed_ns(&w->start);
	w->meta.pack_ns = atomic_load_explicit(&w->stat_pack_ns, memory_order_relaxed);
	w->summary_value.len = 0;
	if (codec_pack_summary(w->codec, &w->meta, &extra, &w->summary_value))
		return out_of_memory(err);
	batch_add(b, DB_META, KEY_SUMMARY, sizeof(KEY_SUMMARY) - 1, &w->summary_value, false);
	rc = db_commit(w->db, b->put, b->count, err);
	if (rc)
		return rc;
	w->committed = w->meta;
	atomic_store_explicit(&w->stat_events, w->meta.events, memory_order_relaxed);
	atomic_store_explicit(&w->stat_bytes, w->meta.event_bytes + w->meta.cost_bytes, memory_order_relaxed);
	atomic_store_explicit(&w->stat_commits, w->commits, memory_order_relaxed);
	return 0;
}

/* The open chunk and what belongs to it. *any: there was something. */
static int commit_open(struct trace_writer *w, bool *any, struct vm_error *err)
{
	struct batch b = { .count = 0 };
	int rc = w->chunk.added ? pack_chunk(w, &b, err) : 0;

	if (!rc)
		rc = pack_console(w, &b, err);
	*any = b.count;
	if (!rc && b.count)
		rc = commit_with_summary(w, &b, err);
	w->commit_due_ns = elapsed_ns(&w->start) + w->commit_ms * 1000000ull;
	return rc;
}

/* What waits in the ring goes first, then one part of a checkpoint: the ring must not fill meanwhile. *more: there may be
 * more to do. */
static int pack_once(struct trace_writer *w, bool due, bool *more, struct vm_error *err)
{
	bool committed = false, stored = false, full;
	int rc = encode_slots(w, err);

	full = chunk_is_full(&w->chunk);
	if (!rc && (due || full || elapsed_ns(&w->start) >= w->commit_due_ns))
		rc = commit_open(w, &committed, err);
	if (!rc && w->checkpoints)
		rc = checkpoints_store(w->checkpoints, w->db, w->codec, w->meta.events, &stored, err);
	*more = !rc && (full || stored || (due && committed));
	return rc;
}

static uint64_t thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static struct timespec moment_after(const struct timespec *start, uint64_t ns)
{
	struct timespec t = *start;

	ns += (uint64_t)t.tv_nsec;
	t.tv_sec += (time_t)(ns / 1000000000);
	t.tv_nsec = (long)(ns % 1000000000);
	return t;
}

static bool has_work(struct trace_writer *w)
{
	return waiting(w) >= RING_KICK || atomic_load(&w->blob_bytes) >= BLOBS_MAX / 2 ||
	       (w->checkpoints && checkpoints_waiting(w->checkpoints));
}

/* Until there is work, or it is time to commit, or the run is over; false then. */
static bool wait_for_work(struct trace_writer *w)
{
	struct timespec until = moment_after(&w->start, w->commit_due_ns);
	bool go_on;
	int rc = 0;

	pthread_mutex_lock(&w->lock);
	while (!rc && !w->stopping && !has_work(w))
		rc = pthread_cond_timedwait(&w->work, &w->lock, &until);
	go_on = !w->stopping;
	pthread_mutex_unlock(&w->lock);
	return go_on;
}

static int store_first(struct trace_writer *w, struct vm_error *err)
{
	uint8_t key[SEQ_KEY_BYTES];
	struct bytes value = { 0 };
	struct batch b = { .count = 0 };
	uint64_t bytes;
	int rc = first_store(w->first, w->db, w->codec, w->digest, w->checkpoints, &value, &bytes, err);

	if (!rc) {
		atomic_store(&w->base_bytes, bytes);
		seq_key(key, 0);
		batch_add(&b, DB_CHECKPOINTS, key, sizeof(key), &value, false);
		rc = commit_with_summary(w, &b, err);
	}
	w->begun = !rc;
	bytes_free(&value);
	return rc;
}

static void *pack_thread(void *self)
{
	struct trace_writer *w = self;
	struct vm_error err;
	bool go_on = true, more;
	int rc = store_first(w, &err);

	while (go_on && !rc) {
		go_on = wait_for_work(w);
		do
			rc = pack_once(w, !go_on, &more, &err);
		while (more);
		db_begin_sync(w->db);
		atomic_store_explicit(&w->stat_pack_ns, thread_ns(), memory_order_relaxed);
	}
	if (rc) {
		held_give_up(w->held);
		fail_writer(w, rc, &err);
	}
	return NULL;
}

static int start_thread(struct trace_writer *w, struct vm_error *err)
{
	sigset_t all, old;
	int rc;

	/* signals are for the caller's threads: they may end the run in order */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&w->thread, NULL, pack_thread, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return vm_fail(err, -rc, "cannot start the packing thread: %s", strerror(rc));
	w->running = true;
	return 0;
}

/* ---- Creating ---------------------------------------------------------------------------------------------- */

static int store_header(struct trace_writer *w, struct vm_error *err)
{
	struct bytes format = { 0 }, header = { 0 };
	struct batch b = { .count = 0 };
	int rc;

	digest_header(w->digest, &w->meta);
	rc = codec_pack_format(w->meta.writer, &format) || codec_pack_header(w->codec, &w->meta, &header)
	             ? out_of_memory(err)
	             : 0;
	if (!rc) {
		batch_add(&b, DB_META, KEY_FORMAT, sizeof(KEY_FORMAT) - 1, &format, false);
		batch_add(&b, DB_META, KEY_HEADER, sizeof(KEY_HEADER) - 1, &header, false);
		rc = commit_with_summary(w, &b, err);
	}
	bytes_free(&format);
	bytes_free(&header);
	return rc;
}

static void free_ring(struct trace_writer *w)
{
	uint64_t n;

	if (!w->ring)
		return;
	for (n = atomic_load(&w->tail); n < w->written; n++)
		if (w->ring[n % RING].ev.blob_len)
			free((void *)(uintptr_t)w->ring[n % RING].ev.blob);
	release(w->ring, RING * sizeof(*w->ring));
}

static void free_writer(struct trace_writer *w)
{
	free_ring(w);
	codec_destroy(w->codec);
	digest_destroy(w->digest);
	checkpoints_destroy(w->checkpoints);
	first_destroy(w->first);
	held_destroy(w->held);
	free(w->costs);
	free(w->console.record);
	bytes_free(&w->console.data);
	bytes_free(&w->event_value);
	bytes_free(&w->cost_value);
	bytes_free(&w->console_value);
	bytes_free(&w->summary_value);
	pthread_cond_destroy(&w->room);
	pthread_cond_destroy(&w->work);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static struct trace_writer *new_writer(void)
{
	struct trace_writer *w = aligned_alloc(64, sizeof(*w));
	pthread_condattr_t attr;

	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->work, &attr);
	pthread_cond_init(&w->room, &attr);
	pthread_condattr_destroy(&attr);
	w->ring = reserve(RING * sizeof(*w->ring));
	w->costs = malloc(TRACE_CHUNK_EVENTS * sizeof(*w->costs));
	w->codec = codec_create();
	w->digest = digest_create();
	if (w->ring && w->costs && w->codec && w->digest)
		return w;
	free_writer(w);
	return NULL;
}

/* The header part of the caller's meta, and nothing else of it. */
static void take_header(struct trace_meta *to, const struct trace_meta *from)
{
	*to = *from;
	to->format_version = TRACE_FORMAT_VERSION;
	to->complete = to->has_final = false;
	to->events = to->icount = to->digest = to->event_bytes = to->cost_bytes = to->run_ns = to->pack_ns =
	        to->console_bytes = 0;
	to->final_registers = to->final_memory = 0;
	to->counters = (struct vm_counters){ 0 };
}

/* What the packing thread stores first is as of now. */
static int take_first(struct trace_writer *w, struct vm *vm, const struct trace_writer_options *o, struct vm_error *err)
{
	int rc = held_create(&w->held, vm);

	rc = rc ? rc : first_take(&w->first, vm, w->held);
	if (!rc && o->checkpoint_budget >= 0)
		rc = checkpoints_create(&w->checkpoints, vm, w->held, o->checkpoint_budget, o->checkpoint_spacing);
	if (rc)
		return out_of_memory(err);
	if (w->checkpoints)
		checkpoints_begin(w->checkpoints);
	return 0;
}

int trace_writer_create(struct trace_writer **out, const char *path, const struct trace_meta *meta, struct vm *vm,
                        const struct trace_writer_options *options, struct vm_error *err)
{
	const struct trace_writer_options defaults = { 0 }, *o = options ? options : &defaults;
	struct trace_writer *w;
	int rc;

	*out = NULL;
	if (meta->config.memory != vm_ram_size(vm) || meta->file_count > TRACE_MAX_FILES)
		return vm_fail(err, -EINVAL, "the trace's header does not describe this machine");
	w = new_writer();
	if (!w)
		return vm_fail(err, -ENOMEM, "out of memory");
	take_header(&w->meta, meta);
	w->commit_ms = o->commit_ms ? o->commit_ms : COMMIT_MS;
	clock_gettime(CLOCK_MONOTONIC, &w->start);
	rc = db_create(&w->db, path, o->overwrite, o->map_size, err);
	rc = rc ? rc : store_header(w, err);
	rc = rc ? rc : take_first(w, vm, o, err);
	clock_gettime(CLOCK_MONOTONIC, &w->start);
	w->commit_due_ns = w->commit_ms * 1000000ull;
	rc = rc ? rc : start_thread(w, err);
	if (rc) {
		if (w->db)
			db_discard(w->db);
		free_writer(w);
		return rc;
	}
	*out = w;
	return 0;
}

/* ---- Closing ----------------------------------------------------------------------------------------------- */

static void stop_thread(struct trace_writer *w)
{
	if (!w->running)
		return;
	publish_without_cost(w);
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	w->running = false;
}

/*
 * The last summary is committed twice: then both of the database's meta pages show the complete trace, and damage to
 * the newer one cannot make a reader fall back to an older state in silence.
 */
static int commit_final(struct trace_writer *w, struct vm *vm, struct vm_error *err)
{
	struct batch b;
	int rc = 0, i;

	if (vm) {
		vm_get_counters(vm, &w->meta.counters);
		w->meta.final_registers = vm_register_digest(vm);
		w->meta.final_memory = vm_memory_digest(vm);
		w->meta.has_final = true;
	}
	for (i = 0; !rc && i < 2; i++) {
		b.count = 0;
		rc = commit_with_summary(w, &b, err);
	}
	return rc ? rc : db_sync(w->db, err);
}

int trace_writer_close(struct trace_writer *w, struct vm *vm, struct trace_meta *meta_out, struct vm_error *err)
{
	struct vm_error why = { "" };
	int rc;

	if (!w)
		return 0;
	stop_thread(w);
	rc = w->status;
	if (rc)
		why = w->error;
	else
		rc = commit_final(w, vm, &why);
	if (meta_out)
		*meta_out = w->committed;
	if (rc && w->begun)
		vm_fail(err, rc, "%.*s; what was recorded up to event %llu can be replayed", (int)sizeof(why.text) - 80,
		        why.text, (unsigned long long)atomic_load(&w->stat_events));
	else if (rc)
		vm_fail(err, rc, "%s", why.text);
	(w->begun ? db_close : db_discard)(w->db);
	free_writer(w);
	return rc;
}
