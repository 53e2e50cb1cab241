/*
 * test_trace_file.c - a trace as a file: written, killed, full, cut, flipped, forged; and read again, or refused with
 * a reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "recorder/codec.h"
#include "recorder/db.h"
#include "recorder/dbcheck.h"
#include "recorder/trace.h"
#include "tests/unit/synthetic.h"
#include "vmm/snapshot.h"

struct fixture {
	char dir[64], path[128];
	struct vm *vm;
	struct trace_meta meta;
};

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void nap(unsigned us)
{
	const struct timespec t = { 0, (long)us * 1000 };

	nanosleep(&t, NULL);
}

static const char *in_dir(const struct fixture *f, const char *name)
{
	static char path[4][192];
	static unsigned turn;

	snprintf(path[++turn % 4], sizeof(path[0]), "%s/%s", f->dir, name);
	return path[turn % 4];
}

/* A machine with a little in its memory: two equal pages, one at the very end, one of zeros that was written. */
static struct vm *make_vm(void)
{
	uint8_t page[3 * PAGE_BYTES] = { 0 };
	struct vm_config config;
	struct vm_error err;
	struct vm *vm;
	unsigned i;

	vm_config_init(&config);
	config.memory = VM_MEMORY_MIN;
	assert_int_equal(vm_create(&vm, &config, &err), 0);
	vm_write_page(vm, 0x50, page);
	page[PAGE_BYTES - 1] = 1;
	vm_write_page(vm, VM_MEMORY_MIN / PAGE_BYTES - 1, page);
	for (i = 0; i < 3 * PAGE_BYTES; i++)
		page[i] = (uint8_t)(i * i >> 7);
	for (i = 0; i < 3; i++)
		vm_write_page(vm, 0x100 + i, page + i * PAGE_BYTES);
	memset(page, 0x55, PAGE_BYTES);
	vm_write_page(vm, 0x8, page);
	vm_write_page(vm, 0xc, page);
	return vm;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/test_trace_XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/trace", f->dir);
	f->vm = make_vm();
	strcpy(f->meta.writer, "test 1.0");
	strcpy(f->meta.engine, "interp");
	strcpy(f->meta.command_line, "quiet");
	f->meta.config = *vm_config(f->vm);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[128];

	vm_destroy(f->vm);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	free(f);
	return system(command);
}

/* ---- Helpers ----------------------------------------------------------------------------------------------- */

static struct trace_writer *create(struct fixture *f, const char *path, const struct trace_writer_options *options)
{
	struct trace_writer *w;
	struct vm_error err = { "" };

	if (trace_writer_create(&w, path, &f->meta, f->vm, options, &err))
		fail_msg("create: %s", err.text);
	return w;
}

static bool append(struct trace_writer *w, struct synthetic *s, uint64_t events, bool costs)
{
	struct event_cost cost = { { 0 } };
	struct synthetic noise;
	struct vm_observer o;

	trace_writer_observer(w, &o);
	synthetic_init(&noise, (uint64_t)(seconds() * 1e9), UINT64_MAX);
	while (events--) {
		struct event ev = synthetic_next(s);

		if (ev.kind == EV_PIO && ev.addr == 0x3f8) {
			uint8_t byte = (uint8_t)ev.value;

			trace_writer_console(w, STREAM_SERIAL, &byte, 1);
		}
		if (!o.event(o.self, &ev))
			return false;
		if (!costs)
			continue;
		cost = synthetic_cost(&noise);
		o.cost(o.self, &cost);
	}
	return true;
}

static struct trace_meta close_writer(struct trace_writer *w, struct vm *vm)
{
	struct vm_error err = { "" };
	struct trace_meta meta;

	if (trace_writer_close(w, vm, &meta, &err))
		fail_msg("close: %s", err.text);
	return meta;
}

/* A complete trace of `events` events, the last being the end. */
static struct trace_meta write_trace(struct fixture *f, const char *path, uint64_t seed, uint64_t events,
                                     const struct trace_writer_options *options)
{
	struct trace_writer *w = create(f, path, options);
	struct synthetic s;

	synthetic_init(&s, seed, events - 1);
	assert_true(append(w, &s, events, true));
	return close_writer(w, f->vm);
}

static struct trace_reader *open_reader(const char *path)
{
	struct vm_error err = { "" };
	struct trace_reader *r;

	if (trace_reader_open(&r, path, &err))
		fail_msg("open: %s", err.text);
	return r;
}

static void assert_sound(struct trace_reader *r)
{
	struct vm_error err = { "" };

	if (trace_reader_check(r, NULL, NULL, &err))
		fail_msg("check: %s", err.text);
}

/* All events of the trace are the stream's first ones. */
static void assert_prefix(struct trace_reader *r, uint64_t seed, uint64_t end)
{
	struct trace_cursor *c;
	struct event_cost cost;
	struct synthetic s;
	struct event ev;
	uint64_t n = 0;

	synthetic_init(&s, seed, end);
	assert_int_equal(trace_cursor_open(&c, r, NULL), 0);
	while (trace_cursor_next(c, &ev, &cost, NULL) == 1) {
		struct event want = synthetic_next(&s);

		if (!synthetic_same(&want, &ev))
			fail_msg("event %llu differs", (unsigned long long)n);
		n++;
		assert_int_equal(trace_cursor_seq(c), n);
	}
	assert_int_equal(n, trace_reader_meta(r)->events);
	assert_true(trace_cursor_costs_ok(c));
	trace_cursor_close(c);
}

static int open_status(const char *path, struct vm_error *err)
{
	struct trace_reader *r;
	int rc = trace_reader_open(&r, path, err);

	trace_reader_close(r);
	return rc;
}

static void assert_refused(const char *path, int rc, const char *words)
{
	struct vm_error err = { "" };

	assert_int_equal(open_status(path, &err), rc);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" does not say \"%s\"", err.text, words);
}

static void put_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	close(fd);
}

static uint8_t *get_file(const char *path, size_t *len)
{
	struct stat st;
	uint8_t *data;
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	*len = (size_t)st.st_size;
	data = malloc(*len + 1);
	assert_int_equal(read(fd, data, *len), (ssize_t)*len);
	close(fd);
	return data;
}

/* ---- Tests ------------------------------------------------------------------------------------------------- */

struct collected {
	char text[1 << 20];
	size_t len;
};

static int collect(void *self, enum vm_stream stream, uint64_t icount, const uint8_t *bytes, size_t len)
{
	struct collected *c = self;

	(void)icount;
	assert_int_equal(stream, STREAM_SERIAL);
	assert_true(c->len + len <= sizeof(c->text));
	memcpy(c->text + c->len, bytes, len);
	c->len += len;
	return 0;
}

static void assert_console(struct trace_reader *r, uint64_t seed, uint64_t events)
{
	struct collected *c = calloc(1, sizeof(*c));
	struct synthetic s;
	size_t n = 0;

	assert_int_equal(trace_console_each(r, collect, c, NULL), 0);
	synthetic_init(&s, seed, events - 1);
	while (events--) {
		struct event ev = synthetic_next(&s);

		if (ev.kind == EV_PIO && ev.addr == 0x3f8)
			assert_int_equal(c->text[n++], (char)ev.value);
	}
	assert_int_equal(n, c->len);
	assert_int_equal(trace_reader_meta(r)->console_bytes, n);
	free(c);
}

static void test_million_events(void **state)
{
	enum { N = 1000000 };
	struct fixture *f = *state;
	struct trace_writer_stats stats;
	struct trace_writer *w;
	struct trace_meta meta;
	struct trace_reader *r;
	struct trace_cursor *c;
	struct synthetic s;
	struct event ev;
	double begin, end;

	w = create(f, f->path, NULL);
	synthetic_init(&s, 1, N - 1);
	assert_true(append(w, &s, N, true));
	trace_writer_get_stats(w, &stats);
	meta = close_writer(w, f->vm);
	assert_true(meta.complete);
	assert_int_equal(meta.events, N);
	print_message("%.2f bytes an event (events %.2f, costs %.2f)\n", (double)(meta.event_bytes + meta.cost_bytes) / N,
	              (double)meta.event_bytes / N, (double)meta.cost_bytes / N);
	assert_true((double)(meta.event_bytes + meta.cost_bytes) / N <= 8);

	r = open_reader(f->path);
	assert_memory_equal(&meta, trace_reader_meta(r), sizeof(meta));
	assert_sound(r);
	assert_prefix(r, 1, N - 1);
	assert_console(r, 1, N);
	assert_int_equal(trace_cursor_open(&c, r, NULL), 0);
	begin = seconds();
	while (trace_cursor_next(c, &ev, NULL, NULL) == 1)
		;
	end = seconds();
	print_message("read %.1f million events a second\n", N / (end - begin) / 1e6);
	trace_cursor_close(c);
	trace_reader_close(r);
}

/* What the vCPU thread pays: events made beforehand, appended with their costs in bursts that the ring holds. */
static void test_append_cost(void **state)
{
	enum { N = 30000, ROUNDS = 30 };
	struct fixture *f = *state;
	struct event *events = calloc(N, sizeof(*events));
	struct event_cost cost = { { 1000, 200, 0, 300, 100, 50 } };
	struct trace_writer *w = create(f, f->path, NULL);
	struct trace_writer_stats stats;
	double best = 1;
	struct synthetic s;
	struct vm_observer o;
	unsigned round, i;

	trace_writer_observer(w, &o);
	synthetic_init(&s, 1, UINT64_MAX);
	for (round = 0; round < ROUNDS; round++) {
		double begin, took;

		for (i = 0; i < N; i++) {
			events[i] = synthetic_next(&s);
			events[i].blob_len = 0;
		}
		begin = seconds();
		for (i = 0; i < N; i++) {
			o.event(o.self, &events[i]);
			o.cost(o.self, &cost);
		}
		took = (seconds() - begin) / N;
		best = took < best ? took : best;
		nap(20000);
	}
	trace_writer_get_stats(w, &stats);
	print_message("append: %.1f ns an event; packing thread: %.0f ns an event\n", best * 1e9,
	              (double)stats.pack_ns / (N * ROUNDS));
	assert_true(best < 1e-5);
	close_writer(w, NULL);
	free(events);
}

static void test_digest_does_not_depend_on_chunks(void **state)
{
	enum { N = 100000 };
	struct fixture *f = *state;
	static const struct trace_writer_options fine = { .commit_ms = 1 },
	                                         coarse = { .commit_ms = 10000, .map_size = 1 };
	struct trace_meta a, b, c, d;
	struct trace_writer *w;
	struct synthetic s;
	unsigned i;

	a = write_trace(f, in_dir(f, "a"), 5, N, &coarse);
	w = create(f, in_dir(f, "b"), &fine);
	synthetic_init(&s, 5, N - 1);
	for (i = 0; i < 100; i++) {
		assert_true(append(w, &s, N / 100, i % 2));
		nap(1500);
	}
	b = close_writer(w, f->vm);
	assert_int_equal(a.digest, b.digest);
	assert_int_equal(a.events, b.events);
	/* however often it was committed, what is stored of the events is the same to the byte */
	assert_int_equal(a.event_bytes, b.event_bytes);
	assert_int_not_equal(a.cost_bytes, b.cost_bytes);
	c = write_trace(f, in_dir(f, "c"), 6, N, &coarse);
	assert_int_not_equal(a.digest, c.digest);
	/* what is told but does not matter */
	f->meta.created = 17;
	strcpy(f->meta.host, "another");
	strcpy(f->meta.host_maker, "Foreign");
	d = write_trace(f, in_dir(f, "d"), 5, N, NULL);
	assert_int_equal(a.digest, d.digest);
	/* what matters though no event says so */
	strcpy(f->meta.command_line, "loud");
	d = write_trace(f, in_dir(f, "e"), 5, N, NULL);
	assert_int_not_equal(a.digest, d.digest);
}

static void test_restore(void **state)
{
	struct fixture *f = *state;
	struct vm *fresh;
	struct trace_reader *r;
	struct vm_config other;
	struct vm_error err = { "" };

	write_trace(f, f->path, 1, 10, NULL);
	r = open_reader(f->path);
	assert_int_equal(vm_create(&fresh, &trace_reader_meta(r)->config, &err), 0);
	assert_int_equal(trace_reader_restore(r, fresh, &err), 0);
	assert_memory_equal(vm_ram(f->vm), vm_ram(fresh), VM_MEMORY_MIN);
	assert_int_equal(vm_register_digest(fresh), vm_register_digest(f->vm));
	vm_destroy(fresh);
	other = trace_reader_meta(r)->config;
	other.memory *= 2;
	assert_int_equal(vm_create(&fresh, &other, &err), 0);
	assert_int_equal(trace_reader_restore(r, fresh, &err), -EINVAL);
	vm_destroy(fresh);
	trace_reader_close(r);
}

static void test_cursor(void **state)
{
	enum { N = 150000 };
	struct fixture *f = *state;
	struct event *all = calloc(N, sizeof(*all)), ev;
	const struct event *peek;
	struct trace_reader *r;
	struct trace_cursor *c;
	struct synthetic s;
	uint64_t n;
	unsigned i;

	write_trace(f, f->path, 8, N, NULL);
	synthetic_init(&s, 8, N - 1);
	for (n = 0; n < N; n++)
		all[n] = synthetic_next(&s);
	r = open_reader(f->path);
	assert_int_equal(trace_cursor_open(&c, r, NULL), 0);
	for (i = 0; i < 200; i++) {
		uint64_t at = i == 0 ? N - 1 : i == 1 ? 0 : synthetic_random(&s) % N, first, async, k;

		assert_int_equal(trace_cursor_seek(c, at, NULL), 0);
		assert_int_equal(trace_cursor_seq(c), at);
		assert_int_equal(trace_cursor_peek(c, &peek, NULL), 1);
		assert_int_equal(peek->rip, all[at].rip);
		/* no string I/O to the chunk's end, where it says so; some, where not */
		for (k = at; k < N && k / TRACE_CHUNK_EVENTS == at / TRACE_CHUNK_EVENTS && !op_is_string_io(all[k].op);
		     k++)
			;
		assert_int_equal(trace_cursor_no_strings(c), k == N || k / TRACE_CHUNK_EVENTS != at / TRACE_CHUNK_EVENTS);
		assert_int_equal(trace_cursor_next(c, &ev, NULL, NULL), 1);
		assert_int_equal(ev.icount, all[at].icount);
		assert_int_equal(ev.rip, all[at].rip);
		assert_int_equal(trace_cursor_seek_icount(c, all[at].icount, NULL), 0);
		first = trace_cursor_seq(c);
		assert_true(first <= at && all[first].icount == all[at].icount &&
		            (!first || all[first - 1].icount < all[at].icount));
		/* nothing asynchronous lies before what the cursor says, and it does not say too little */
		async = trace_cursor_async_icount(c);
		assert_true(async >= all[first].icount);
		for (k = first; k < N && all[k].icount < async; k++)
			assert_true(all[k].kind != EV_INTERRUPT && all[k].kind != EV_END);
	}
	assert_int_equal(trace_cursor_seek(c, N, NULL), 0);
	assert_int_equal(trace_cursor_next(c, &ev, NULL, NULL), 0);
	assert_int_equal(trace_cursor_async_icount(c), UINT64_MAX);
	assert_int_equal(trace_cursor_seek_icount(c, UINT64_MAX, NULL), 0);
	assert_int_equal(trace_cursor_next(c, &ev, NULL, NULL), 0);
	trace_cursor_close(c);
	trace_reader_close(r);
	free(all);
}

/* Writes events for ever, now fast, now slow. */
static void __attribute__((noreturn)) victim(struct fixture *f, int ready, unsigned seed)
{
	const struct trace_writer_options options = { .commit_ms = 5, .overwrite = true, .map_size = 1 };
	struct trace_writer *w;
	struct synthetic s;
	struct vm_error err;

	if (trace_writer_create(&w, f->path, &f->meta, f->vm, &options, &err) || write(ready, "x", 1) != 1)
		_exit(1);
	synthetic_init(&s, seed, UINT64_MAX);
	for (;;) {
		append(w, &s, 1 + s.made % 5000, true);
		if (seed % 2)
			nap(500);
	}
}

static void test_killed_at_any_moment(void **state)
{
	struct fixture *f = *state;
	unsigned round, readable = 0, early = 0;
	uint64_t events = 0;

	for (round = 0; round < 40; round++) {
		struct trace_reader *r;
		struct vm_error err = { "" };
		int ready[2], rc;
		pid_t child;
		char byte;

		assert_int_equal(pipe(ready), 0);
		unlink(f->path); /* or an early kill leaves the trace of the round before */
		child = fork();
		assert_true(child >= 0);
		if (!child)
			victim(f, ready[1], round);
		/* the first while the header and the memory are written, the others while events are */
		if (round >= 10)
			assert_int_equal(read(ready[0], &byte, 1), 1);
		nap(round < 10 ? 200 + 400 * round : 2500 * round);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		close(ready[0]);
		close(ready[1]);
		rc = trace_reader_open(&r, f->path, &err);
		if (rc) {
			/* killed before the header was there */
			assert_true(rc == -ENOENT || rc == -EBADMSG);
			early++;
			continue;
		}
		rc = trace_reader_check(r, NULL, NULL, &err);
		if (rc && !trace_reader_meta(r)->events && strstr(err.text, "as the run began")) {
			early++;
		} else {
			if (rc)
				fail_msg("round %u: %s", round, err.text);
			assert_false(trace_reader_meta(r)->complete);
			assert_prefix(r, round, UINT64_MAX);
			events += trace_reader_meta(r)->events;
			readable++;
		}
		trace_reader_close(r);
	}
	print_message("40 kills: %u readable with %llu events, %u before checkpoint 0\n", readable,
	              (unsigned long long)events, early);
	assert_true(readable >= 20);
}

/* The timer commits what a slow guest has done, although it does nothing more. */
static void test_slow_guest_is_committed(void **state)
{
	struct fixture *f = *state;
	struct trace_reader *r;
	int ready[2];
	pid_t child;
	char byte;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (!child) {
		struct trace_writer *w = create(f, f->path, NULL);
		struct synthetic s;

		synthetic_init(&s, 2, UINT64_MAX);
		append(w, &s, 123, true);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	nap(400000);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	r = open_reader(f->path);
	assert_int_equal(trace_reader_meta(r)->events, 123);
	assert_sound(r);
	assert_prefix(r, 2, UINT64_MAX);
	trace_reader_close(r);
	/* a new recording takes over what the killed one left behind, lock file included */
	write_trace(f, f->path, 1, 10, &(struct trace_writer_options){ .overwrite = true });
	assert_int_equal(access(in_dir(f, "trace-lock"), F_OK), -1);
}

static void test_file_size_limit(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, limit;
	struct trace_reader *r;
	struct trace_writer *w;
	struct vm_error err = { "" };
	struct trace_meta meta;
	struct synthetic s;
	int rc;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 1 << 20;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	w = create(f, f->path, &(struct trace_writer_options){ .commit_ms = 5 });
	synthetic_init(&s, 3, UINT64_MAX);
	assert_false(append(w, &s, 20000000, true));
	rc = trace_writer_close(w, f->vm, &meta, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	print_message("%s\n", err.text);
	assert_int_equal(rc, -EFBIG);
	assert_non_null(strstr(err.text, "can be replayed"));
	r = open_reader(f->path);
	assert_true(trace_reader_meta(r)->events > 1000);
	assert_int_equal(trace_reader_meta(r)->events, meta.events);
	assert_sound(r);
	assert_prefix(r, 3, UINT64_MAX);
	trace_reader_close(r);

	/* so small that not even the initial memory fits: an error, and nothing is left behind */
	limit.rlim_cur = 8192;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	rc = trace_writer_create(&w, in_dir(f, "tiny"), &f->meta, f->vm, NULL, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_true(rc < 0);
	assert_int_equal(access(in_dir(f, "tiny"), F_OK), -1);
	assert_int_equal(access(in_dir(f, "tiny-lock"), F_OK), -1);
}

static void mount_small(const char *path)
{
	assert_int_equal(mkdir(path, 0755), 0);
	if (!mount("none", path, "tmpfs", 0, "size=1m"))
		return;
	print_message("cannot mount a small tmpfs (%s): skipped\n", strerror(errno));
	skip();
}

/* Of a trace whose first checkpoint does not fit nothing can be replayed: nothing is left, and nothing promised. */
static void test_no_room_to_begin(void **state)
{
	struct fixture *f = *state;
	struct vm_error err = { "" };
	uint8_t page[PAGE_BYTES];
	struct trace_writer *w;
	struct synthetic s;
	char path[192];

	snprintf(path, sizeof(path), "%s", in_dir(f, "tiny"));
	mount_small(path);
	synthetic_init(&s, 5, UINT64_MAX);
	for (uint64_t n = 0; n < 512; n++) {
		for (size_t i = 0; i < sizeof(page); i++)
			page[i] = (uint8_t)synthetic_random(&s);
		vm_write_page(f->vm, n, page);
	}
	w = create(f, in_dir(f, "tiny/trace"), NULL);
	append(w, &s, 1000, true);
	assert_int_equal(trace_writer_close(w, f->vm, NULL, &err), -ENOSPC);
	print_message("%s\n", err.text);
	assert_null(strstr(err.text, "can be replayed"));
	assert_int_equal(access(in_dir(f, "tiny/trace"), F_OK), -1);
	assert_int_equal(umount(path), 0);
}

static void test_full_disk(void **state)
{
	struct fixture *f = *state;
	struct trace_reader *r;
	struct trace_writer *w;
	struct vm_error err = { "" };
	struct synthetic s;
	char path[192];
	int rc;

	snprintf(path, sizeof(path), "%s", in_dir(f, "small"));
	mount_small(path);
	w = create(f, in_dir(f, "small/trace"), &(struct trace_writer_options){ .commit_ms = 5 });
	synthetic_init(&s, 4, UINT64_MAX);
	assert_false(append(w, &s, 20000000, true));
	rc = trace_writer_close(w, f->vm, NULL, &err);
	print_message("%s\n", err.text);
	assert_int_equal(rc, -ENOSPC);
	r = open_reader(in_dir(f, "small/trace"));
	assert_true(trace_reader_meta(r)->events > 1000);
	assert_sound(r);
	assert_prefix(r, 4, UINT64_MAX);
	trace_reader_close(r);
	assert_int_equal(umount(path), 0);
}

/* Everything a reader can see of a trace, in one number; 0 when something is refused. */
static uint64_t essence(const char *path, struct vm *vm, struct vm_error *err)
{
	struct trace_reader *r;
	struct vm *fresh;
	uint64_t sum = 0;

	if (trace_reader_open(&r, path, err))
		return 0;
	if (!trace_reader_check(r, NULL, NULL, err) && !vm_create(&fresh, &trace_reader_meta(r)->config, err)) {
		const struct trace_meta *m = trace_reader_meta(r);

		if (!trace_reader_restore(r, fresh, err) && !memcmp(vm_ram(vm), vm_ram(fresh), VM_MEMORY_MIN))
			sum = m->digest ^ m->events << 32 ^ m->run_ns ^ m->complete ^ m->final_memory ^
			      m->counters.tlb_fills;
		vm_destroy(fresh);
	}
	trace_reader_close(r);
	return sum;
}

/* A bit flipped anywhere: refused with a reason, or no difference. Never a crash, never other data. */
static void test_flipped_bits(void **state)
{
	enum { ROUNDS = 4000 };
	struct fixture *f = *state;
	unsigned round, refused = 0;
	struct synthetic s;
	struct vm_error err;
	uint64_t good;
	uint8_t *data;
	size_t len;
	int fd;

	write_trace(f, f->path, 7, 4000, &(struct trace_writer_options){ .commit_ms = 1 });
	data = get_file(f->path, &len);
	good = essence(f->path, f->vm, &err);
	assert_int_not_equal(good, 0);
	synthetic_init(&s, 99, UINT64_MAX);
	fd = open(f->path, O_RDWR);
	for (round = 0; round < ROUNDS; round++) {
		/* every byte of the meta pages' heads, then anywhere, half of it near the beginnings of pages */
		size_t at = round < 320 ? (round % 160) + 4096 * (round / 160) : synthetic_random(&s) % len;
		uint8_t byte;
		uint64_t got;

		if (round >= 320 && synthetic_random(&s) % 2)
			at = (at & ~(size_t)4095) + at % 64;
		if (at >= len)
			continue;
		byte = data[at] ^ (uint8_t)(1u << (synthetic_random(&s) % 8));
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
		err.text[0] = 0;
		got = essence(f->path, f->vm, &err);
		if (got && got != good)
			fail_msg("byte %zu flipped: other data was read", at);
		if (!got && !err.text[0])
			fail_msg("byte %zu flipped: refused without a reason", at);
		refused += !got;
		assert_int_equal(pwrite(fd, &data[at], 1, (off_t)at), 1);
	}
	close(fd);
	print_message("%d flips in %zu bytes: %u refused, the others harmless\n", ROUNDS, len, refused);
	assert_int_equal(essence(f->path, f->vm, &err), good);
	free(data);
}

static void test_truncated(void **state)
{
	struct fixture *f = *state;
	struct vm_error err = { "" };
	uint64_t good;
	uint8_t *data;
	size_t len, at;

	write_trace(f, f->path, 7, 4000, NULL);
	data = get_file(f->path, &len);
	good = essence(f->path, f->vm, &err);
	for (at = 0; at < len; at += 1 + at / 40 + at % 97) {
		uint64_t got;

		put_file(f->path, data, at);
		got = essence(f->path, f->vm, &err);
		assert_true(!got || got == good);
	}
	/* and said in plain words */
	put_file(f->path, data, len / 2);
	assert_refused(f->path, -EBADMSG, "truncated");
	free(data);
}

/* Bytes of whole regions replaced: what a fuzzer does, briefly, in each run of the tests. */
static void test_scribbled(void **state)
{
	struct fixture *f = *state;
	struct vm_error err = { "" };
	struct synthetic s;
	unsigned round;
	uint64_t good;
	uint8_t *data;
	size_t len;

	write_trace(f, f->path, 7, 4000, NULL);
	data = get_file(f->path, &len);
	good = essence(f->path, f->vm, &err);
	synthetic_init(&s, 5, UINT64_MAX);
	for (round = 0; round < 1500; round++) {
		size_t pages = len / 4096, at = (synthetic_random(&s) % pages) * 4096, n = 1 + synthetic_random(&s) % 24;
		uint8_t *copy = malloc(len);
		uint64_t got;

		memcpy(copy, data, len);
		if (round % 3 == 0) /* another page in its place */
			memcpy(copy + at, data + (synthetic_random(&s) % pages) * 4096, 4096);
		else
			while (n--)
				copy[at + synthetic_random(&s) % (round % 3 == 1 ? 32 : 4096)] =
				        (uint8_t)synthetic_random(&s);
		put_file(f->path, copy, len);
		free(copy);
		got = essence(f->path, f->vm, &err);
		assert_true(!got || got == good);
	}
	free(data);
}

/* What the ring's slots held a round ago is not the cost of an event that has none. */
static void test_events_without_costs(void **state)
{
	enum { ROUND = 4 * TRACE_CHUNK_EVENTS, LAST = 100 };
	struct fixture *f = *state;
	struct trace_writer *w = create(f, f->path, NULL);
	struct trace_reader *r;
	struct trace_cursor *c;
	struct event_cost cost;
	struct event ev;
	struct synthetic s;
	uint64_t n = 0;

	synthetic_init(&s, 7, ROUND + LAST - 1);
	assert_true(append(w, &s, ROUND, true));
	assert_true(append(w, &s, LAST, false));
	close_writer(w, f->vm);
	r = open_reader(f->path);
	assert_int_equal(trace_cursor_open(&c, r, NULL), 0);
	while (trace_cursor_next(c, &ev, &cost, NULL) == 1)
		assert_true((cost.cycles[PH_LOG] == 0) == (n++ >= ROUND));
	assert_int_equal(n, ROUND + LAST);
	trace_cursor_close(c);
	trace_reader_close(r);
}

static void test_costs_may_be_damaged(void **state)
{
	struct fixture *f = *state;
	struct trace_reader *r;
	struct trace_cursor *c;
	struct event_cost cost;
	struct event ev;
	struct vm_error err = { "" };
	const void *value;
	uint8_t key[SEQ_KEY_BYTES] = { 0 }, *data, *found;
	struct db *db;
	size_t len, value_len;
	uint64_t n = 0;

	write_trace(f, f->path, 7, 4000, &(struct trace_writer_options){ .commit_ms = 10000 });
	assert_int_equal(db_open(&db, f->path, &err), 0);
	assert_int_equal(db_get(db, DB_COSTS, key, sizeof(key), &value, &value_len, &err), 1);
	data = get_file(f->path, &len);
	found = memmem(data, len, value, value_len);
	assert_non_null(found);
	db_close(db);
	found[value_len / 2] ^= 1;
	put_file(f->path, data, len);
	free(data);
	r = open_reader(f->path);
	assert_int_equal(trace_cursor_open(&c, r, &err), 0);
	while (trace_cursor_next(c, &ev, &cost, &err) == 1) {
		assert_int_equal(cost.cycles[PH_EMULATE], 0);
		n++;
	}
	assert_int_equal(n, 4000);
	assert_false(trace_cursor_costs_ok(c));
	trace_cursor_close(c);
	assert_int_equal(trace_reader_check(r, NULL, NULL, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "costs[0]"));
	trace_reader_close(r);
}

static void test_not_a_trace(void **state)
{
	struct fixture *f = *state;
	static const char text[] = "#!/bin/sh\nexit 0\n";
	struct vm_error err;
	uint8_t *noise = malloc(100000);
	struct synthetic s;
	struct db *db;
	unsigned i;

	synthetic_init(&s, 1, UINT64_MAX);
	for (i = 0; i < 100000; i++)
		noise[i] = (uint8_t)synthetic_random(&s);
	put_file(f->path, text, sizeof(text) - 1);
	assert_refused(f->path, -EBADMSG, "not a trace");
	put_file(f->path, noise, 100000);
	assert_refused(f->path, -EBADMSG, "not a trace");
	put_file(f->path, "", 0);
	assert_refused(f->path, -EBADMSG, "empty");
	assert_refused(f->dir, -EISDIR, "directory");
	assert_refused(in_dir(f, "nowhere"), -ENOENT, "No such file");
	assert_refused("/dev/null", -EBADMSG, "not a regular file");
	assert_int_equal(mkfifo(in_dir(f, "fifo"), 0644), 0);
	assert_refused(in_dir(f, "fifo"), -EBADMSG, "not a regular file");
	/* a database of somebody else's */
	assert_int_equal(db_create(&db, in_dir(f, "other"), false, 0, &err), 0);
	db_close(db);
	assert_refused(in_dir(f, "other"), -EBADMSG, "not a trace");
	free(noise);
}

static void test_versions(void **state)
{
	struct fixture *f = *state;
	uint8_t format[] = "ringside\x07\0\0\0\0\0\0\0ringside 9.9";
	struct db_put put = { .table = DB_META,
		              .key = KEY_FORMAT,
		              .key_len = sizeof(KEY_FORMAT) - 1,
		              .value = format,
		              .value_len = sizeof(format) - 1 };
	struct vm_error err;
	struct db *db;

	assert_int_equal(db_create(&db, f->path, false, 0, &err), 0);
	assert_int_equal(db_commit(db, &put, 1, &err), 0);
	db_close(db);
	assert_refused(f->path, -EPROTONOSUPPORT,
	               "trace format 7, written by ringside 9.9; this program reads formats 1 to 4");
}

/* Valid pieces put together wrongly: names the database and key. */
static void test_forged(void **state)
{
	struct fixture *f = *state;
	struct codec *c = codec_create();
	struct bytes format = { 0 }, header = { 0 }, summary = { 0 }, chunk = { 0 };
	struct summary_extra extra = { 1 };
	struct trace_meta meta = f->meta;
	uint8_t key[SEQ_KEY_BYTES];
	struct vm_error err;
	unsigned i;

	codec_pack_format("forger", &format);
	codec_pack_header(c, &meta, &header);
	codec_events_begin(c, 5, 1, 1000);
	codec_events_add(c, &(struct event){ .kind = EV_FAULT, .op = OP_HLT, .icount = 5, .rcpl = 1 });
	codec_events_finish(c, 0, 5, &chunk);
	meta.events = 1;
	meta.icount = 5;
	codec_pack_summary(c, &meta, &extra, &summary);
	for (i = 0; i < 5; i++) {
		struct db_put puts[4] = {
			{ DB_META, false, KEY_FORMAT, 6, format.data, format.len },
			{ DB_META, false, KEY_HEADER, 6, header.data, header.len },
			{ DB_META, false, KEY_SUMMARY, 7, summary.data, summary.len },
			{ DB_EVENTS, false, key, sizeof(key), chunk.data, chunk.len },
		};
		static const struct {
			unsigned count;
			uint64_t seq;
			const char *words;
		} cases[] = {
			{ 4, 0, "checkpoints[0]: is not there" }, /* opens, but there is nothing to run */
			{ 4, 1, "events[0]: chunk is missing" },  { 3, 0, "meta[summary]: does not match" },
			{ 2, 0, "meta[summary]: is not there" },  { 1, 0, "meta[header]: is not there" },
		};
		struct trace_reader *r;
		struct db *db;
		int rc;

		seq_key(key, cases[i].seq);
		assert_int_equal(db_create(&db, f->path, true, 0, &err), 0);
		assert_int_equal(db_commit(db, puts, cases[i].count, &err), 0);
		db_close(db);
		rc = trace_reader_open(&r, f->path, &err);
		if (!rc)
			rc = trace_reader_check(r, NULL, NULL, &err);
		trace_reader_close(r);
		assert_int_equal(rc, -EBADMSG);
		if (!strstr(err.text, cases[i].words))
			fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].words);
	}
	bytes_free(&format);
	bytes_free(&header);
	bytes_free(&summary);
	bytes_free(&chunk);
	codec_destroy(c);
}

static void test_overwriting(void **state)
{
	static const struct trace_writer_options over = { .overwrite = true };
	struct fixture *f = *state;
	struct trace_writer *w, *second;
	struct trace_reader *r;
	struct vm_error err;

	write_trace(f, f->path, 1, 100, NULL);
	assert_int_equal(trace_writer_create(&w, f->path, &f->meta, f->vm, NULL, &err), -EEXIST);
	/* a file that is no trace is nobody's to lose */
	put_file(in_dir(f, "kernel"), "precious", 8);
	assert_int_equal(trace_writer_create(&w, in_dir(f, "kernel"), &f->meta, f->vm, &over, &err), -EEXIST);
	assert_int_equal(access(in_dir(f, "kernel"), F_OK), 0);
	assert_int_equal(trace_writer_create(&w, f->dir, &f->meta, f->vm, &over, &err), -EEXIST);
	assert_int_equal(trace_writer_create(&w, in_dir(f, "no/where"), &f->meta, f->vm, &over, &err), -ENOENT);
	/* one that is being read or written stays */
	r = open_reader(f->path);
	assert_int_equal(trace_writer_create(&w, f->path, &f->meta, f->vm, &over, &err), -EBUSY);
	trace_reader_close(r);
	w = create(f, f->path, &over);
	assert_int_equal(trace_writer_create(&second, f->path, &f->meta, f->vm, &over, &err), -EBUSY);
	assert_refused(f->path, -EBUSY, "being recorded");
	close_writer(w, NULL);
	r = open_reader(f->path);
	assert_int_equal(trace_reader_meta(r)->events, 0);
	assert_false(trace_reader_meta(r)->complete);
	assert_sound(r);
	trace_reader_close(r);
}

static void test_reading_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct stat before, after;
	struct vm_error err;
	uint8_t *data, *again;
	size_t len, len_again;

	write_trace(f, f->path, 1, 1000, NULL);
	assert_int_equal(chmod(f->path, 0444), 0);
	assert_int_equal(chmod(f->dir, 0555), 0);
	data = get_file(f->path, &len);
	assert_int_equal(stat(f->path, &before), 0);
	assert_int_not_equal(essence(f->path, f->vm, &err), 0);
	assert_int_equal(stat(f->path, &after), 0);
	again = get_file(f->path, &len_again);
	assert_int_equal(len, len_again);
	assert_memory_equal(data, again, len);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	assert_int_equal(access(in_dir(f, "trace-lock"), F_OK), -1);
	assert_int_equal(chmod(f->dir, 0755), 0);
	free(data);
	free(again);
}

/* Stock LMDB tools work on it, and what they copy is a trace. */
static void test_stock_tools(void **state)
{
	struct fixture *f = *state;
	struct vm_error err = { "" };
	char command[1024];
	uint64_t good;

	if (system("command -v mdb_stat >/dev/null && command -v mdb_copy >/dev/null")) {
		print_message("mdb_stat and mdb_copy are not installed: skipped\n");
		skip();
	}
	write_trace(f, f->path, 1, 100000, &(struct trace_writer_options){ .commit_ms = 2 });
	good = essence(f->path, f->vm, &err);
	snprintf(command, sizeof(command),
	         "mdb_stat -naef %s >/dev/null && mdb_copy -n %s %s/copy && mdb_copy -n -c %s %s/compact", f->path,
	         f->path, f->dir, f->path, f->dir);
	assert_int_equal(system(command), 0);
	if (essence(in_dir(f, "copy"), f->vm, &err) != good || essence(in_dir(f, "compact"), f->vm, &err) != good)
		fail_msg("a copy is not the trace: %s", err.text);
}

static void test_big_blobs(void **state)
{
	enum { N = 200 };
	struct fixture *f = *state;
	struct trace_writer *w = create(f, f->path, NULL);
	uint8_t *blob = malloc(TRACE_BLOB_MAX);
	struct trace_reader *r;
	struct trace_cursor *c;
	struct vm_observer o;
	struct event ev = { .kind = EV_INPUT, .rcpl = 1, .blob = blob };
	struct vm_error err;
	unsigned i;

	trace_writer_observer(w, &o);
	for (i = 0; i < N; i++) {
		memset(blob, (int)i, TRACE_BLOB_MAX);
		ev.icount = i;
		ev.blob_len = i % 3 ? TRACE_BLOB_MAX : 1;
		assert_true(o.event(o.self, &ev));
	}
	close_writer(w, NULL);
	r = open_reader(f->path);
	assert_sound(r);
	assert_int_equal(trace_cursor_open(&c, r, &err), 0);
	for (i = 0; i < N; i++) {
		assert_int_equal(trace_cursor_next(c, &ev, NULL, &err), 1);
		assert_int_equal(ev.blob_len, i % 3 ? TRACE_BLOB_MAX : 1);
		assert_int_equal(((const uint8_t *)ev.blob)[ev.blob_len - 1], i);
	}
	trace_cursor_close(c);
	trace_reader_close(r);
	free(blob);
}

/* Our own mistakes end the recording with a word; the file stays good. */
static void test_nonsense_from_the_vm(void **state)
{
	struct fixture *f = *state;
	struct trace_writer *w = create(f, f->path, NULL);
	struct event ev = { .kind = EV_FAULT, .icount = 100, .rcpl = 1 };
	struct trace_reader *r;
	struct vm_observer o;
	struct vm_error err = { "" };

	trace_writer_observer(w, &o);
	assert_true(o.event(o.self, &ev));
	ev.icount = 99;
	assert_false(o.event(o.self, &ev));
	assert_int_equal(trace_writer_close(w, NULL, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "icount 99 comes after 100"));
	r = open_reader(f->path);
	assert_sound(r);
	trace_reader_close(r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_million_events),
		TEST(test_append_cost),
		TEST(test_digest_does_not_depend_on_chunks),
		TEST(test_restore),
		TEST(test_cursor),
		TEST(test_killed_at_any_moment),
		TEST(test_slow_guest_is_committed),
		TEST(test_file_size_limit),
		TEST(test_full_disk),
		TEST(test_no_room_to_begin),
		TEST(test_flipped_bits),
		TEST(test_truncated),
		TEST(test_scribbled),
		TEST(test_events_without_costs),
		TEST(test_costs_may_be_damaged),
		TEST(test_not_a_trace),
		TEST(test_versions),
		TEST(test_forged),
		TEST(test_overwriting),
		TEST(test_reading_changes_nothing),
		TEST(test_stock_tools),
		TEST(test_big_blobs),
		TEST(test_nonsense_from_the_vm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
