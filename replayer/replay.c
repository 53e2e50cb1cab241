/*
 * replay.c - see replay.h. Makes a VM from the trace's header and checkpoint 0, plugs the trace into it (input.c),
 * runs it, and reproduces the console.
 */
#include "replayer/replay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "replayer/input.h"
#include "vmm/cpu/vcpu.h"

#define PROGRESS_EVENTS 65536

struct console_part {
	uint64_t icount;
	size_t at, len;
	enum vm_stream stream;
};

/* All of the recorded console: the guest's output is small beside its events. */
struct console {
	struct console_part *part;
	size_t parts, room;
	uint8_t *bytes;
	size_t len, bytes_room;
	size_t told; /* parts handed out */
};

struct replay {
	struct trace_reader *reader;
	struct replay_options options;
	struct vm *vm;
	struct replay_input *input;
	struct lockstep *lockstep; /* NULL: alone */
	struct vm_input plug;
	struct vm_observer observer, yardstick; /* the trace's, within ours where costs are asked for */
	struct console console;
	uint64_t run_ns;
	struct trace_checkpoint start;
};

/* ---- Console ----------------------------------------------------------------------------------------------- */

static bool grow(void **array, size_t *room, size_t need, size_t size)
{
	size_t more = *room ? *room : 1024;
	void *bigger;

	if (need <= *room)
		return true;
	while (more < need)
		more *= 2;
	bigger = realloc(*array, more * size);
	if (!bigger)
		return false;
	*array = bigger;
	*room = more;
	return true;
}

static int keep_console(void *self, enum vm_stream stream, uint64_t icount, const uint8_t *bytes, size_t len)
{
	struct console *c = self;
	void *part = c->part, *data = c->bytes;
	bool ok = grow(&part, &c->room, c->parts + 1, sizeof(*c->part)) && grow(&data, &c->bytes_room, c->len + len, 1);

	c->part = part;
	c->bytes = data;
	if (!ok)
		return -ENOMEM;
	memcpy(c->bytes + c->len, bytes, len);
	c->part[c->parts++] = (struct console_part){ .icount = icount, .at = c->len, .len = len, .stream = stream };
	c->len += len;
	return 0;
}

static void tell_console(struct replay *r, uint64_t icount)
{
	struct console *c = &r->console;

	while (c->told < c->parts && c->part[c->told].icount <= icount) {
		const struct console_part *p = &c->part[c->told++];

		r->options.console(r->options.self, p->stream, c->bytes + p->at, p->len);
	}
}

/* ---- Life -------------------------------------------------------------------------------------------------- */

static void verified(void *self, const struct event *ev, uint64_t seq)
{
	struct replay *r = self;
	uint64_t events = trace_reader_meta(r->reader)->events;

	if (r->console.told < r->console.parts)
		tell_console(r, ev->icount);
	if (r->options.event)
		r->options.event(r->options.self, ev);
	if (r->options.progress && (seq + 1) % PROGRESS_EVENTS == 0)
		r->options.progress(r->options.self, (double)(seq + 1) / (double)events);
}

static bool timed_event(void *self, const struct event *ev)
{
	struct replay *r = self;

	return r->yardstick.event(r->yardstick.self, ev);
}

static void timed_cost(void *self, const struct event_cost *cost)
{
	struct replay *r = self;

	r->options.cost(r->options.self, cost);
}

void replay_destroy(struct replay *r)
{
	if (!r)
		return;
	lockstep_destroy(r->lockstep);
	vm_destroy(r->vm);
	replay_input_destroy(r->input);
	free(r->console.part);
	free(r->console.bytes);
	free(r);
}

/* What was printed before the checkpoint is not told again. */
static int restore(struct replay *r, struct vm_error *err)
{
	size_t number = r->options.seek ? trace_checkpoint_before(r->reader, r->options.to) : 0;
	struct console *c = &r->console;
	int rc = trace_reader_restore_at(r->reader, number, r->vm, NULL, NULL, err);

	trace_checkpoint_info(r->reader, number, &r->start);
	while (number && c->told < c->parts && c->part[c->told].icount < r->start.icount)
		c->told++;
	return rc;
}

static int set_up(struct replay *r, struct vm_error *err)
{
	const struct trace_meta *meta = trace_reader_meta(r->reader);
	struct replay_input_options options = { .verified = verified, .self = r };
	struct vm_config config;
	int rc;

	if (r->options.console) {
		rc = trace_console_each(r->reader, keep_console, &r->console, err);
		if (rc)
			return rc == -ENOMEM ? vm_fail(err, rc, "out of memory") : rc;
	}
	config = meta->config;
	if (r->options.engine)
		config.engine = *r->options.engine;
	config.trap = r->options.hardfaults && config.engine == ENGINE_TRANSLATE ? TRAP_FAULT : TRAP_CALL;
	rc = vm_create(&r->vm, &config, err);
	rc = rc ? rc : restore(r, err);
	if (rc)
		return rc;
	options.clock = vm_clock(r->vm);
	options.tsc_offset = &vm_vcpu(r->vm)->tsc_offset;
	rc = replay_input_create(&r->input, r->reader, &options, err);
	if (rc)
		return rc;
	rc = replay_input_seek(r->input, r->start.seq, err);
	if (rc)
		return rc;
	replay_input_plugs(r->input, &r->plug, &r->observer);
	r->yardstick = r->observer;
	if (r->options.cost)
		r->observer = (struct vm_observer){ .self = r, .event = timed_event, .cost = timed_cost };
	vm_plug(r->vm, &r->plug, &r->observer);
	return r->options.lockstep
	               ? lockstep_create(&r->lockstep, r->vm, &r->plug, &r->observer, r->options.lockstep, err)
	               : 0;
}

int replay_create(struct replay **out, struct trace_reader *reader, const struct replay_options *options,
                  struct vm_error *err)
{
	struct replay *r = calloc(1, sizeof(*r));
	int rc;

	*out = NULL;
	if (!r)
		return vm_fail(err, -ENOMEM, "out of memory");
	r->reader = reader;
	r->options = *options;
	rc = set_up(r, err);
	if (rc) {
		replay_destroy(r);
		return rc;
	}
	*out = r;
	return 0;
}

struct vm *replay_vm(struct replay *r)
{
	return r->vm;
}

/* ---- Running ----------------------------------------------------------------------------------------------- */

/* After the last event the guest must also be what it was. */
static void compare_final_state(struct replay *r)
{
	const struct trace_meta *meta = trace_reader_meta(r->reader);
	uint64_t registers, memory;

	if (!meta->complete || !meta->has_final || !replay_input_done(r->input))
		return;
	registers = vm_register_digest(r->vm);
	memory = vm_memory_digest(r->vm);
	if (registers != meta->final_registers)
		replay_input_diverge(r->input, "registers after the last event: expected digest %016llx, got %016llx",
		                     (unsigned long long)meta->final_registers, (unsigned long long)registers);
	else if (memory != meta->final_memory)
		replay_input_diverge(r->input, "memory after the last event: expected digest %016llx, got %016llx",
		                     (unsigned long long)meta->final_memory, (unsigned long long)memory);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

int replay_run(struct replay *r, struct replay_result *result, struct vm_error *err)
{
	uint64_t begin = now_ns();
	int rc;

	memset(result, 0, sizeof(*result));
	rc = r->lockstep ? lockstep_run(r->lockstep, r->options.to, &result->stop, err)
	                 : vm_run(r->vm, r->options.to, &result->stop, err);
	r->run_ns += now_ns() - begin;
	if (rc)
		return rc;
	rc = replay_input_status(r->input, err);
	if (rc)
		return rc;
	if (r->lockstep) {
		result->comparisons = lockstep_comparisons(r->lockstep);
		result->difference = *lockstep_difference(r->lockstep);
	}
	if (!result->difference.found)
		compare_final_state(r);
	/* what was printed after the last event that was committed */
	if (replay_input_done(r->input) && r->options.console)
		tell_console(r, UINT64_MAX);
	result->events = replay_input_seq(r->input) - r->start.seq;
	result->skipped_events = r->start.seq;
	result->skipped_icount = r->start.icount;
	result->icount = vm_vcpu(r->vm)->icount;
	result->engine = vm_config(r->vm)->engine;
	result->run_ns = r->run_ns;
	result->truncated = !trace_reader_meta(r->reader)->complete;
	result->divergence = *replay_input_divergence(r->input);
	return 0;
}
