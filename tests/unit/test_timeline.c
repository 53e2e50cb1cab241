/*
 * test_timeline.c - moving through traces of the guests, at random places, held against runs that only go forward one moment at a time.
 *
 * The traces are recorded here, from the guests in $BUILD/guests, with checkpoints close together. Each test prints the guest and the seed
 * when it fails. The places are the same each time; SEED=N or SEED=random looks at others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replayer/input.h"
#include "replayer/timeline.h"
#include "vmm/cpu/vcpu.h"
#include "vmm/dev/machine.h"
#include "vmm/load/load.h"
#include "vmm/snapshot.h"
#include "vmm/vm_internal.h"

#define MEMORY (32ull << 20)
#define LIMIT 60000000ull
#define SPACING 1000000ull

static const char *const guests[] = { "demo", "exc",   "tasks", "paging", "smc",   "rep",
	                              "step", "timer", "v86",   "real",   "gates", "serial" };
#define GUESTS (sizeof(guests) / sizeof(guests[0]))
/* The first of them once more, changed at random places as a debugger would. */
#define CHANGED 4

struct subject {
	const char *name;
	char path[256];
	struct trace_reader *reader;
};

static struct subject subject[GUESTS + CHANGED];
static unsigned subjects;
static uint64_t seed, state_of_random;

static uint64_t random64(void)
{
	state_of_random ^= state_of_random << 13;
	state_of_random ^= state_of_random >> 7;
	state_of_random ^= state_of_random << 17;
	return state_of_random;
}

static uint64_t below(uint64_t n)
{
	return n ? random64() % n : 0;
}

#define CHECK(s, condition)                                                                                            \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			fail_msg("%s, SEED=%llu: %s", (s)->name, (unsigned long long)seed, #condition);                \
	} while (0)
#define OK(s, call)                                                                                                    \
	do {                                                                                                           \
		if (call)                                                                                              \
			fail_msg("%s, SEED=%llu: %s: %s", (s)->name, (unsigned long long)seed, #call, err.text);       \
	} while (0)

/* ---- recording ---------------------------------------------------------------------------------------------- */

/* A few bytes of low memory, where guests are, or a register that is not always vital. */
static void change_something(struct vm *vm)
{
	uint8_t state[SNAPSHOT_MAX], bytes[4] = { (uint8_t)random64(), (uint8_t)random64(), 0, 0xff };
	struct vm_change change = { .bytes = bytes, .len = 1 + (uint32_t)below(4) };
	struct vm_error err;

	change.gpa = 0x100000 + (below(2) ? below(0x8000) : below(0x100000)) / 4 * 4;
	if (!below(3)) {
		change = (struct vm_change){ .registers = true, .bytes = state };
		change.len = (uint32_t)vm_snapshot_save(vm, state);
		state[4 + 8 * below(3)] ^= 1u << below(8); /* eax, ecx, edx come first */
	}
	if (vm_change(vm, &change, &err))
		fail_msg("a change is refused: %s", err.text);
}

/* To the end, or, when `changes`, with a change every now and then until it ends. */
static void run_guest(struct vm *vm, bool changes)
{
	struct vm_stop stop = { .reason = STOP_NONE };
	struct vm_error err;

	while (stop.reason == STOP_NONE) {
		uint64_t until = changes ? vm_vcpu(vm)->icount + 1 + below(below(4) ? 100000 : 20) : UINT64_MAX;

		assert_int_equal(vm_run(vm, until, &stop, &err), 0);
		if (stop.reason == STOP_NONE)
			change_something(vm);
	}
}

static bool record(const char *guest, const char *path, uint64_t interval, bool changes)
{
	const char *build = getenv("BUILD");
	struct trace_writer_options options = { .overwrite = true, .checkpoint_spacing = interval };
	struct machine_config mc = { .memory = MEMORY, .rtc_epoch = 946684800, .serial_fd = -1 };
	struct guest_image image = { 0 };
	struct vm_observer observer;
	struct trace_writer *writer;
	struct trace_meta meta = { .format_version = TRACE_FORMAT_VERSION };
	struct machine *machine;
	struct vm_input input;
	struct vm_error err;
	uint8_t *kernel;
	struct vm *vm;
	char elf[300];

	snprintf(elf, sizeof(elf), "%s/guests/%s.elf", build ? build : "build", guest);
	if (guest_file_read("guest", elf, 64 << 20, &kernel, &image.kernel_len, &err))
		return false;
	image.kernel = kernel;
	vm_config_init(&meta.config);
	meta.config.memory = MEMORY;
	meta.config.limit = changes ? 4000000 : LIMIT; /* a broken guest may never end */
	meta.config.checkpoint_interval = interval;
	assert_int_equal(vm_create(&vm, &meta.config, &err), 0);
	assert_int_equal(guest_load(vm_vcpu(vm), &image, NULL, &err), 0);
	free(kernel);
	mc.clock = vm_clock(vm);
	assert_int_equal(machine_create(&machine, &mc, &err), 0);
	machine_input(machine, &input);
	vm_plug(vm, &input, NULL);
	assert_int_equal(trace_writer_create(&writer, path, &meta, vm, &options, &err), 0);
	trace_writer_observer(writer, &observer);
	vm_plug(vm, &input, &observer);
	run_guest(vm, changes);
	assert_int_equal(trace_writer_close(writer, vm, NULL, &err), 0);
	machine_destroy(machine);
	vm_destroy(vm);
	return true;
}

static int group_setup(void **unused)
{
	const char *text = getenv("SEED");
	struct vm_error err;

	(void)unused;
	seed = !text ? 1 : strcmp(text, "random") ? strtoull(text, NULL, 0) : (uint64_t)getpid() * 2654435761u;
	state_of_random = seed * 0x9e3779b97f4a7c15ull | 1;
	for (unsigned i = 0; i < GUESTS + CHANGED; i++) {
		struct subject *s = &subject[subjects];
		bool changes = i >= GUESTS;

		s->name = guests[i % GUESTS];
		snprintf(s->path, sizeof(s->path), "/tmp/test_timeline.%d.%s%s", (int)getpid(), s->name,
		         changes ? ".changed" : "");
		if (!record(s->name, s->path, SPACING, changes))
			continue;
		if (trace_reader_open(&s->reader, s->path, &err)) {
			fprintf(stderr, "%s\n", err.text);
			return -1;
		}
		subjects++;
	}
	return 0;
}

static int group_teardown(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < subjects; i++) {
		trace_reader_close(subject[i].reader);
		unlink(subject[i].path);
	}
	return 0;
}

static void need_guests(void)
{
	if (!subjects) {
		print_message("no guests are built\n");
		skip();
	}
}

static struct timeline *open_timeline(struct subject *s)
{
	const struct timeline_options options = { .memory_checkpoints = 24 << 20,
		                                  .engine = below(2) ? ENGINE_TRANSLATE : ENGINE_INTERP };
	struct vm_error err;
	struct timeline *t;

	OK(s, timeline_open(&t, s->reader, &options, &err));
	if (below(2))
		engine_set_hot(timeline_vm(t)->engine, 0); /* all that can be is translated */
	return t;
}

struct digests {
	uint64_t registers, memory;
	struct vm_moment at;
};

static struct digests digests(struct vm *vm)
{
	return (struct digests){ .registers = vm_register_digest(vm), .memory = vm_memory_digest(vm), .at = vm_moment(vm) };
}

static bool same(struct digests a, struct digests b)
{
	if (vm_moment_compare(a.at, b.at))
		print_message("at %llu.%u and at %llu.%u\n", (unsigned long long)a.at.icount, a.at.turn,
		              (unsigned long long)b.at.icount, b.at.turn);
	return a.registers == b.registers && a.memory == b.memory && !vm_moment_compare(a.at, b.at);
}

/* A place in the trace; half of them near an event, where things happen. */
static uint64_t somewhere(struct subject *s)
{
	const struct trace_meta *meta = trace_reader_meta(s->reader);
	struct trace_cursor *c;
	struct event ev = { 0 };
	struct vm_error err;
	uint64_t at;

	if (below(2))
		return below(meta->icount + 1);
	OK(s, trace_cursor_open(&c, s->reader, &err));
	OK(s, trace_cursor_seek(c, below(meta->events), &err));
	trace_cursor_next(c, &ev, NULL, &err);
	trace_cursor_close(c);
	at = ev.icount + below(6);
	at = at > 3 ? at - 3 : 0;
	return at < meta->icount ? at : meta->icount;
}

/* ---- seeks -------------------------------------------------------------------------------------------------- */

#define PLACES 24

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* A replay from the beginning that stops at each place. */
static void run_through(struct subject *s, const uint64_t *places, struct digests *out)
{
	const struct trace_meta *meta = trace_reader_meta(s->reader);
	struct replay_input_options options = { 0 };
	struct vm_observer observer;
	struct replay_input *in;
	struct vm_input plug;
	struct vm_error err;
	struct vm_stop stop;
	struct vm *vm;

	OK(s, vm_create(&vm, &meta->config, &err));
	OK(s, trace_reader_restore(s->reader, vm, &err));
	options.clock = vm_clock(vm);
	options.tsc_offset = &vm_vcpu(vm)->tsc_offset;
	OK(s, replay_input_create(&in, s->reader, &options, &err));
	replay_input_plugs(in, &plug, &observer);
	vm_plug(vm, &plug, &observer);
	for (unsigned i = 0; i < PLACES; i++) {
		OK(s, vm_run(vm, places[i], &stop, &err));
		CHECK(s, !replay_input_divergence(in)->diverged);
		out[i] = digests(vm);
	}
	vm_destroy(vm);
	replay_input_destroy(in);
}

static void seek_equals_run(void **unused)
{
	(void)unused;
	need_guests();
	for (unsigned g = 0; g < subjects; g++) {
		struct subject *s = &subject[g];
		struct digests expected[PLACES];
		uint64_t places[PLACES];
		struct vm_error err;
		struct timeline *t;

		for (unsigned i = 0; i < PLACES; i++)
			places[i] = somewhere(s);
		places[0] = 0;
		places[1] = trace_reader_meta(s->reader)->icount;
		places[2] = SPACING < places[1] ? SPACING : places[1];
		qsort(places, PLACES, sizeof(places[0]), ascending);
		run_through(s, places, expected);
		t = open_timeline(s);
		for (unsigned i = 0; i < 2 * PLACES; i++) {
			unsigned n = (unsigned)below(PLACES);

			OK(s, timeline_seek(t, places[n], &err));
			CHECK(s, same(digests(timeline_vm(t)), expected[n]));
		}
		CHECK(s, timeline_seek(t, trace_reader_meta(s->reader)->icount + 1, &err) == -ERANGE);
		timeline_close(t);
	}
}

/* ---- steps -------------------------------------------------------------------------------------------------- */

static void steps_there_and_back(void **unused)
{
	(void)unused;
	need_guests();
	for (unsigned g = 0; g < subjects; g++) {
		struct subject *s = &subject[g];
		struct timeline *t = open_timeline(s);
		struct timeline_stop stop;
		struct vm_error err;

		for (unsigned i = 0; i < 12; i++) {
			uint64_t n = 1 + below(below(2) ? 8 : 300);
			struct digests before, after;

			OK(s, timeline_seek(t, somewhere(s), &err));
			before = digests(timeline_vm(t));
			OK(s, timeline_step(t, n, &stop, &err));
			if (stop.why != TIMELINE_REACHED)
				continue;
			after = digests(timeline_vm(t));
			CHECK(s, vm_moment_compare(after.at, before.at) > 0);
			OK(s, timeline_step_back(t, n, &stop, &err));
			CHECK(s, stop.why == TIMELINE_REACHED && same(digests(timeline_vm(t)), before));
			OK(s, timeline_step(t, n, &stop, &err));
			CHECK(s, same(digests(timeline_vm(t)), after));
		}
		OK(s, timeline_seek(t, timeline_begin(t), &err));
		OK(s, timeline_step_back(t, 1, &stop, &err));
		CHECK(s, stop.why == TIMELINE_BEGIN);
		OK(s, timeline_seek(t, timeline_end(t), &err));
		OK(s, timeline_step(t, 10, &stop, &err));
		CHECK(s, stop.why == TIMELINE_END);
		OK(s, timeline_step_back(t, 3, &stop, &err));
		CHECK(s, stop.why == TIMELINE_REACHED);
		timeline_close(t);
	}
}

/* ---- searches ----------------------------------------------------------------------------------------------- */

#define WINDOW 3000

/* What a search must find, by single moments. */
struct brute {
	bool found;
	struct digests answer; /* where a backward search must stop */
	struct vm_moment hit;  /* where a forward search must stop, for the first match */
};

static uint32_t code_address(struct vm *vm)
{
	struct vcpu *c = vm_vcpu(vm);

	return (uint32_t)(c->seg[SEG_CS].base + c->rip);
}

static struct vm_debug_point point_of(const struct timeline_watch *w)
{
	return (struct vm_debug_point){ .read = w->kind != WATCH_WRITE,
		                        .write = w->kind != WATCH_READ,
		                        .any_space = w->any_space,
		                        .lin = (uint32_t)w->lin,
		                        .len = w->len,
		                        .cr3 = (uint32_t)w->cr3 };
}

/* From the present, up to `until`: the last match. */
static struct brute by_steps(struct subject *s, struct timeline *t, struct vm_moment until,
                             const struct timeline_watch *w)
{
	struct vm_debug_point point = point_of(w);
	struct brute b = { .found = false };
	struct timeline_stop stop;
	struct vm_error err;

	while (vm_moment_compare(timeline_moment(t), until) < 0) {
		struct digests here = digests(timeline_vm(t));
		struct vm_debug_hit hit;
		bool match = w->kind == WATCH_EXEC && code_address(timeline_vm(t)) == w->lin &&
		             (w->any_space || vm_vcpu(timeline_vm(t))->cr3 == w->cr3);

		if (w->kind != WATCH_EXEC)
			OK(s, vm_debug_set(timeline_vm(t), &point, 1, &err));
		OK(s, timeline_step(t, 1, &stop, &err));
		match |= vm_debug_take(timeline_vm(t), &hit);
		OK(s, vm_debug_set(timeline_vm(t), NULL, 0, &err));
		if (match) {
			b.answer = here;
			b.found = true;
		}
		if (stop.why == TIMELINE_END)
			break;
	}
	return b;
}

/* A condition that has a chance to match: an address that the next instructions execute, or one near their stack or index registers. */
static struct timeline_watch some_watch(struct subject *s, struct timeline *t)
{
	static const enum watch_kind kinds[] = { WATCH_EXEC, WATCH_WRITE, WATCH_WRITE, WATCH_READ, WATCH_ACCESS };
	struct timeline_watch w = { .kind = kinds[below(5)], .len = 1u << below(4), .any_space = below(2) };
	struct vcpu *c = vm_vcpu(timeline_vm(t));
	static const unsigned bases[] = { R_SP, R_SP, R_BP, R_DI, R_SI, R_BX, R_AX };
	unsigned base = bases[below(7)];
	struct timeline_stop stop;
	struct vm_error err;

	OK(s, timeline_step(t, below(200), &stop, &err));
	w.cr3 = c->cr3;
	if (w.kind == WATCH_EXEC) {
		w.len = 1;
		w.lin = code_address(timeline_vm(t));
		return w;
	}
	w.lin = (uint32_t)(c->seg[base == R_SP || base == R_BP ? SEG_SS : SEG_DS].base + c->gpr[base] + below(32) - 16);
	return w;
}

static void backward_equals_brute_force(void **unused)
{
	unsigned found = 0;

	(void)unused;
	need_guests();
	for (unsigned g = 0; g < subjects; g++) {
		struct subject *s = &subject[g];
		struct timeline *t = open_timeline(s);

		for (unsigned i = 0; i < 25; i++) {
			uint64_t begin = somewhere(s);
			struct timeline_watch w;
			struct timeline_stop stop;
			struct vm_moment until;
			struct vm_error err;
			struct brute b;

			OK(s, timeline_seek(t, begin, &err));
			begin = timeline_icount(t);
			w = some_watch(s, t);
			OK(s, timeline_seek(t, begin, &err));
			OK(s, timeline_step(t, WINDOW, &stop, &err));
			until = timeline_moment(t);
			OK(s, timeline_seek(t, begin, &err));
			b = by_steps(s, t, until, &w);
			OK(s, timeline_seek_moment(t, until, &err));
			OK(s, timeline_backward(t, begin, &w, 1, &stop, &err));
			found += b.found;
			if (getenv("TALK"))
				print_message("%s: kind %d lin %x len %u cr3 %llx any %d: begin %llu until %llu.%u\n",
				              s->name, w.kind, (unsigned)w.lin, w.len, (unsigned long long)w.cr3,
				              w.any_space, (unsigned long long)begin, (unsigned long long)until.icount,
				              until.turn);
			if (b.found) {
				CHECK(s, stop.why == (w.kind == WATCH_EXEC ? TIMELINE_BREAK : TIMELINE_WATCH));
				CHECK(s, same(digests(timeline_vm(t)), b.answer));
			} else {
				CHECK(s, stop.why == TIMELINE_REACHED || stop.why == TIMELINE_BEGIN);
			}
		}
		timeline_close(t);
	}
	print_message("%u of %u searches found something\n", found, 25 * subjects);
	assert_true(found > 5 * subjects);
}

/* Forward matches, one after the other, are those that single moments show; and backward from the last gives them again. */
static void forward_equals_brute_force(void **unused)
{
	(void)unused;
	need_guests();
	for (unsigned g = 0; g < subjects; g++) {
		struct subject *s = &subject[g];
		struct timeline *t = open_timeline(s);

		for (unsigned i = 0; i < 12; i++) {
			uint64_t begin = somewhere(s);
			struct timeline_stop stop = { .why = TIMELINE_REACHED };
			struct vm_moment until;
			struct timeline_watch w;
			struct vm_error err;
			struct digests at;
			struct brute b;
			unsigned hits = 0;

			OK(s, timeline_seek(t, begin, &err));
			begin = timeline_icount(t);
			w = some_watch(s, t);
			w.kind = WATCH_EXEC;
			w.len = 1;
			w.lin = code_address(timeline_vm(t));
			OK(s, timeline_seek(t, begin, &err));
			OK(s, timeline_step(t, WINDOW, &stop, &err));
			OK(s, timeline_seek(t, timeline_icount(t), &err));
			until = timeline_moment(t);
			OK(s, timeline_seek(t, begin, &err));
			b = by_steps(s, t, until, &w);
			OK(s, timeline_seek(t, begin, &err));
			at = digests(timeline_vm(t));
			if (getenv("TALK"))
				print_message("%s: forward lin %x cr3 %llx any %d: begin %llu until %llu.%u\n", s->name,
				              (unsigned)w.lin, (unsigned long long)w.cr3, w.any_space,
				              (unsigned long long)begin, (unsigned long long)until.icount, until.turn);
			do {
				OK(s, timeline_forward(t, until.icount, &w, 1, &stop, &err));
				if (stop.why == TIMELINE_BREAK && vm_moment_compare(timeline_moment(t), until) < 0) {
					at = digests(timeline_vm(t));
					CHECK(s, code_address(timeline_vm(t)) == w.lin);
					hits++;
				}
			} while (stop.why == TIMELINE_BREAK);
			if (hits)
				CHECK(s, b.found && same(at, b.answer));
		}
		timeline_close(t);
	}
}

/* ---- changes by a debugger --------------------------------------------------------------------------------- */

/* The next one of memory from somewhere on; 0 none. */
static int some_change(struct subject *s, struct event *ev)
{
	struct trace_cursor *c;
	struct vm_error err;
	int rc;

	OK(s, trace_cursor_open(&c, s->reader, &err));
	OK(s, trace_cursor_seek(c, below(trace_reader_meta(s->reader)->events), &err));
	do
		rc = trace_cursor_next(c, ev, NULL, &err);
	while (rc == 1 && (ev->kind != EV_CHANGE || ev->value));
	trace_cursor_close(c);
	return rc;
}

/* A watchpoint sees a change in both directions, and tells it from what the guest does. */
static void find_change(struct subject *s, struct timeline *t, const struct event *ev)
{
	struct timeline_watch w = { .kind = WATCH_WRITE, .lin = ev->addr, .len = ev->blob_len, .any_space = true };
	struct timeline_stop stop;
	struct vm_moment there;
	struct vm_error err;

	there = timeline_moment(t);
	OK(s, timeline_backward(t, timeline_begin(t), &w, 1, &stop, &err));
	CHECK(s, stop.why == TIMELINE_WATCH && stop.by_change && stop.changed_at == ev->icount);
	CHECK(s, stop.lin == w.lin && vm_moment_compare(timeline_moment(t), there) < 0);
	OK(s, timeline_forward(t, UINT64_MAX, &w, 1, &stop, &err));
	CHECK(s, stop.why == TIMELINE_WATCH && stop.by_change && stop.changed_at == ev->icount);
	CHECK(s, !vm_moment_compare(timeline_moment(t), there));
}

static void changes_are_found(void **unused)
{
	unsigned found = 0;

	(void)unused;
	need_guests();
	for (unsigned g = GUESTS; g < subjects; g++) {
		struct subject *s = &subject[g];
		struct timeline *t = open_timeline(s);
		struct vm_error err;
		struct event ev;
		uint64_t gpa;

		for (unsigned i = 0; i < 12 && some_change(s, &ev) == 1; i++) {
			OK(s, timeline_seek(t, ev.icount, &err));
			if (mmu_peek(&timeline_vm(t)->vcpu.mmu, ev.addr, &gpa) || gpa != ev.addr)
				continue; /* only addresses that are physical ones are looked at here */
			find_change(s, t, &ev);
			found++;
		}
		timeline_close(t);
	}
	assert_true(subjects <= GUESTS || found > 0);
}

/* ---- checkpoints change nothing ----------------------------------------------------------------------------- */

static void any_interval_gives_the_same_states(void **unused)
{
	static const uint64_t intervals[] = { 0, 77777, 5000000 };
	struct subject *s = &subject[0];
	struct digests expected[PLACES], got[PLACES];
	uint64_t places[PLACES];
	struct vm_error err;

	(void)unused;
	need_guests();
	for (unsigned i = 0; i < PLACES; i++)
		places[i] = somewhere(s);
	qsort(places, PLACES, sizeof(places[0]), ascending);
	run_through(s, places, expected);
	for (unsigned k = 0; k < 3; k++) {
		struct subject other = { .name = s->name };

		snprintf(other.path, sizeof(other.path), "/tmp/test_timeline.%d.other", (int)getpid());
		assert_true(record(s->name, other.path, intervals[k], false));
		OK(s, trace_reader_open(&other.reader, other.path, &err));
		OK(s, trace_reader_check(other.reader, NULL, NULL, &err));
		run_through(&other, places, got);
		for (unsigned i = 0; i < PLACES; i++)
			CHECK(s, same(expected[i], got[i]));
		trace_reader_close(other.reader);
		unlink(other.path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seek_equals_run),
		cmocka_unit_test(steps_there_and_back),
		cmocka_unit_test(backward_equals_brute_force),
		cmocka_unit_test(forward_equals_brute_force),
		cmocka_unit_test(changes_are_found),
		cmocka_unit_test(any_interval_gives_the_same_states),
	};

	return cmocka_run_group_tests_name("timeline", tests, group_setup, group_teardown);
}
