/*
 * test_replay_input.c - the trace as a VM's plugs, without a VM: it answers as recorded, hands over what is
 * asynchronous at its icount and no other, and names the first difference.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "recorder/maker.h"
#include "recorder/trace.h"
#include "replayer/input.h"
#include "vmm/decode/insn.h"

struct fixture {
	char path[64];
	struct trace_reader *reader;
	struct replay_input *in;
	struct vm_input input;
	struct vm_observer observer;
	struct clock clock;
	uint64_t tsc_offset;
};

static const struct event story[] = {
	{ .kind = EV_PIO, .op = OP_IN, .icount = 10, .rip = 0x100, .addr = 0x3fd, .value = 0x60, .size = 1, .rcpl = 1 },
	{ .kind = EV_FAULT, .op = OP_RDTSC, .icount = 20, .rip = 0x200, .value = 5000, .rcpl = 1 },
	{ .kind = EV_INTERRUPT, .icount = 30, .rip = 0x300, .value = 0x20, .addr = 777, .rcpl = 1 },
	{ .kind = EV_PIO,
	  .op = OP_INS,
	  .icount = 40,
	  .rip = 0x400,
	  .addr = 0x1f0,
	  .value = 3,
	  .size = 2,
	  .rcpl = 1,
	  .blob = "abcdef",
	  .blob_len = 6 },
	{ .kind = EV_MMIO,
	  .op = OP_MOV,
	  .icount = 50,
	  .rip = 0x500,
	  .addr = 0xb8000,
	  .value = 0x1122334455667788,
	  .size = 8,
	  .rcpl = 1 },
	{ .kind = EV_EXCEPTION,
	  .op = OP_MOV,
	  .icount = 60,
	  .rip = 0x600,
	  .addr = 0x1234,
	  .value = 14,
	  .error = 2,
	  .rcpl = 1,
	  .flags = EVF_HAS_ERROR },
	{ .kind = EV_INPUT, .icount = 60, .rip = 0x700, .rcpl = 1, .blob = "key", .blob_len = 3 },
	{ .kind = EV_MARKER, .icount = 60, .rip = 0x700, .rcpl = 1, .blob = "login:", .blob_len = 6 },
	{ .kind = EV_FAULT, .op = OP_HLT, .icount = 70, .rip = 0x800, .rcpl = 1 },
	{ .kind = EV_END,
	  .icount = 71,
	  .rip = 0x801,
	  .value = STOP_DEBUG_EXIT,
	  .addr = 35,
	  .rcpl = 1,
	  .blob = "bye",
	  .blob_len = 3 },
};
#define EVENTS (sizeof(story) / sizeof(story[0]))

static void write_story(const char *path, size_t events, const char *maker)
{
	struct trace_meta meta = { .writer = "test" };
	struct trace_writer *w;
	struct vm_observer o;
	struct vm_error err;
	struct vm *vm;
	size_t i;

	strcpy(meta.host_maker, maker);
	vm_config_init(&meta.config);
	meta.config.memory = VM_MEMORY_MIN;
	assert_int_equal(vm_create(&vm, &meta.config, &err), 0);
	assert_int_equal(trace_writer_create(&w, path, &meta, vm, NULL, &err), 0);
	trace_writer_observer(w, &o);
	for (i = 0; i < events; i++)
		assert_true(o.event(o.self, &story[i]));
	assert_int_equal(trace_writer_close(w, NULL, NULL, &err), 0);
	vm_destroy(vm);
}

static struct fixture *start_by(size_t events, const char *maker)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct replay_input_options options = { .clock = &f->clock, .tsc_offset = &f->tsc_offset };
	int fd;

	strcpy(f->path, "/tmp/test_replay_XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	close(fd);
	unlink(f->path);
	f->clock = (struct clock){ .ns_per_insn = 1, .ns_per_fault = 10 };
	write_story(f->path, events, maker);
	assert_int_equal(trace_reader_open(&f->reader, f->path, NULL), 0);
	assert_int_equal(replay_input_create(&f->in, f->reader, &options, NULL), 0);
	replay_input_plugs(f->in, &f->input, &f->observer);
	return f;
}

static struct fixture *start(size_t events)
{
	return start_by(events, "");
}

static int set_up(void **state)
{
	*state = start(EVENTS);
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	replay_input_destroy(f->in);
	trace_reader_close(f->reader);
	unlink(f->path);
	free(f);
	return 0;
}

static struct vm_turn ask(struct fixture *f, uint64_t icount, bool can_interrupt)
{
	struct vm_now now = { .icount = icount, .can_interrupt = can_interrupt };
	struct vm_turn turn;

	f->input.poll(f->input.self, &now, &turn);
	return turn;
}

static bool quiet(const struct vm_turn *t)
{
	return t->vector < 0 && !t->stop && !t->input && !t->marker;
}

static bool tell(struct fixture *f, size_t n)
{
	return f->observer.event(f->observer.self, &story[n]);
}

static void skip_to(struct fixture *f, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		assert_true(tell(f, i));
}

static void test_the_whole_story(void **state)
{
	struct fixture *f = *state;
	const struct vm_now halted = { .icount = 71, .can_interrupt = true };
	struct vm_turn t;

	t = ask(f, 0, true);
	assert_true(quiet(&t) && t.deadline == 30);
	assert_int_equal(f->input.pio_read(f->input.self, 0x3fd, 1), 0x60);
	assert_true(tell(f, 0));
	f->tsc_offset = 1000;
	assert_int_equal(f->input.tsc(f->input.self), 4000);
	assert_true(tell(f, 1));

	/* the interrupt: at its icount, when it can be taken, and with it the recording's idle time */
	t = ask(f, 29, true);
	assert_true(quiet(&t) && t.deadline == 30);
	t = ask(f, 30, false);
	assert_true(quiet(&t) && t.deadline == 31);
	t = ask(f, 30, true);
	assert_int_equal(t.vector, 0x20);
	assert_int_equal(f->clock.idle_ns, 777);
	assert_true(tell(f, 2));

	/* string input: cut where it was cut, served piece by piece */
	t = ask(f, 31, true);
	assert_true(quiet(&t) && t.deadline == 43);
	assert_int_equal(f->input.pio_read(f->input.self, 0x1f0, 2), 'a' | 'b' << 8);
	assert_int_equal(f->input.pio_read(f->input.self, 0x1f0, 2), 'c' | 'd' << 8);
	assert_int_equal(f->input.pio_read(f->input.self, 0x1f0, 2), 'e' | 'f' << 8);
	assert_int_equal(f->input.pio_read(f->input.self, 0x1f0, 2), 0xffff);
	assert_true(tell(f, 3));
	assert_int_equal(f->input.mmio_read(f->input.self, 0xb8000, 8), 0x1122334455667788);
	assert_true(tell(f, 4));
	f->clock.icount_now = 55;
	assert_int_equal(f->input.tsc(f->input.self), 55 + 777);

	/* asynchronous things at the icount of a synchronous one wait for it */
	t = ask(f, 60, true);
	assert_true(quiet(&t) && t.deadline == 61);
	assert_true(tell(f, 5));
	t = ask(f, 60, true);
	assert_int_equal(t.input_len, 3);
	assert_memory_equal(t.input, "key", 3);
	assert_true(tell(f, 6));
	t = ask(f, 60, true);
	assert_string_equal(t.marker, "login:");
	assert_true(tell(f, 7));
	assert_true(tell(f, 8));

	assert_false(f->input.idle(f->input.self, &halted));
	t = ask(f, 71, true);
	assert_int_equal(t.stop, STOP_DEBUG_EXIT);
	assert_int_equal(t.stop_code, 35);
	assert_string_equal(t.stop_message, "bye");
	assert_true(tell(f, 9));
	assert_true(replay_input_done(f->in));
	assert_int_equal(replay_input_seq(f->in), EVENTS);
	assert_false(replay_input_divergence(f->in)->diverged);
}

/* Every column of every event counts. */
static void test_each_column_is_compared(void **state)
{
	static const char *const names[] = { "kind",  "icount", "rip",  "op",   "addr", "value",
		                             "error", "size",   "vcpl", "rcpl", "flags" };
	unsigned column;
	size_t n;

	(void)state;
	for (n = 0; n < EVENTS; n++) {
		for (column = 0; column < 11; column++) {
			struct fixture *f = start(EVENTS);
			const struct replay_divergence *d;
			struct event ev = story[n];
			void *fixture = f;

			skip_to(f, n);
			ev.kind ^= column == 0;
			ev.icount += column == 1;
			ev.rip += column == 2;
			ev.op += column == 3;
			ev.addr ^= column == 4 ? 1ull << 63 : 0;
			ev.value += column == 5;
			ev.error += column == 6;
			ev.size += column == 7;
			ev.vcpl += column == 8;
			ev.rcpl += column == 9;
			ev.flags ^= column == 10;
			assert_false(f->observer.event(f->observer.self, &ev));
			d = replay_input_divergence(f->in);
			assert_true(d->diverged);
			assert_int_equal(d->seq, n);
			assert_int_equal(d->expected.rip, story[n].rip);
			assert_int_equal(d->got.rip, ev.rip);
			assert_int_equal(d->last_count, n < 8 ? n : 8);
			if (n)
				assert_int_equal(d->last[d->last_count - 1].rip, story[n - 1].rip);
			if (!strstr(d->what, names[column]))
				fail_msg("\"%s\" does not name %s", d->what, names[column]);
			assert_int_equal(ask(f, ev.icount, true).stop, STOP_OBSERVER);
			tear_down(&fixture);
		}
	}
}

static void test_blob_is_compared(void **state)
{
	struct fixture *f = *state;
	struct event ev = story[3];

	skip_to(f, 3);
	ev.blob = "abcdeX";
	assert_false(f->observer.event(f->observer.self, &ev));
	assert_non_null(strstr(replay_input_divergence(f->in)->what, "byte 5"));
}

static void test_wrong_accesses_get_ones(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(f->input.pio_read(f->input.self, 0x3fc, 1), 0xff);
	assert_int_equal(f->input.pio_read(f->input.self, 0x3fd, 2), 0xffff);
	assert_int_equal(f->input.pio_read(f->input.self, 0x3fd, 4), 0xffffffff);
	assert_int_equal(f->input.mmio_read(f->input.self, 0x3fd, 8), UINT64_MAX);
	assert_false(replay_input_divergence(f->in)->diverged);
}

/* A guest that loops without doing what it did before is noticed at the latest at the next deadline. */
static void test_running_past_an_event(void **state)
{
	struct fixture *f = *state;
	struct vm_turn t = ask(f, 11, true);

	assert_int_equal(t.stop, STOP_OBSERVER);
	assert_true(replay_input_divergence(f->in)->diverged);
	assert_int_equal(replay_input_divergence(f->in)->got.kind, 0);
	assert_non_null(strstr(replay_input_divergence(f->in)->what, "past icount 10"));
}

static void test_halting_for_nothing(void **state)
{
	struct fixture *f = *state;
	const struct vm_now now = { .icount = 5, .can_interrupt = true };

	assert_true(f->input.idle(f->input.self, &now));
	assert_true(replay_input_divergence(f->in)->diverged);
	assert_int_equal(ask(f, 5, true).stop, STOP_OBSERVER);
}

static void test_going_on_after_the_end(void **state)
{
	struct fixture *f = *state;

	skip_to(f, EVENTS);
	assert_false(f->observer.event(f->observer.self, &story[8]));
	assert_non_null(strstr(replay_input_divergence(f->in)->what, "no more events"));
	assert_false(replay_input_done(f->in));
}

static void test_truncated_trace(void **state)
{
	struct fixture *f = start(5);
	const struct vm_now now = { .icount = 51 };
	void *fixture = f;

	(void)state;
	skip_to(f, 5);
	assert_true(f->input.idle(f->input.self, &now));
	assert_int_equal(ask(f, 51, true).stop, STOP_TRACE_END);
	assert_true(replay_input_done(f->in));
	tear_down(&fixture);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* A divergence on another maker's processor says that this may be why; on the same maker's, or where none is named, it does not. */
static void test_likely_cause(void **state)
{
	char here[sizeof(((struct trace_meta *)0)->host_maker)], words[64];
	const char *const makers[] = { "Foreign", here, "" };
	const struct replay_divergence *d;
	struct vm_error err;

	(void)state;
	host_cpu_maker(here, sizeof(here));
	assert_string_not_equal(here, "");
	snprintf(words, sizeof(words), "recorded on Foreign, this host is %s:", here);
	for (unsigned i = 0; i < 3; i++) {
		struct fixture *f = start_by(EVENTS, makers[i]);
		void *fixture = f;

		assert_string_equal(trace_reader_meta(f->reader)->host_maker, makers[i]);
		/* also after a seek, which forgets the divergence before */
		for (unsigned n = 0; n < 2; n++) {
			assert_int_equal(replay_input_seek(f->in, n, NULL), 0);
			assert_false(tell(f, n + 1));
			d = replay_input_divergence(f->in);
			assert_true(d->diverged);
			assert_int_equal(replay_input_fail(f->in, &err), -EBADMSG);
			assert_non_null(strstr(err.text, d->what));
			if (i) {
				assert_string_equal(d->cause, "");
				assert_null(strstr(err.text, "cause"));
			} else {
				assert_memory_equal(d->cause, words, strlen(words));
				assert_non_null(strstr(err.text, d->cause));
			}
		}
		tear_down(&fixture);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_whole_story),          cmocka_unit_test(test_each_column_is_compared),
		TEST(test_blob_is_compared),         TEST(test_wrong_accesses_get_ones),
		TEST(test_running_past_an_event),    TEST(test_halting_for_nothing),
		TEST(test_going_on_after_the_end),   cmocka_unit_test(test_truncated_trace),
		cmocka_unit_test(test_likely_cause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
