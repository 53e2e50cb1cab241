/*
 * session.c - see session.h.
 *
 * The VM runs in one go; a person's wish to end it enters as the machine's would, as a stop at an exact icount, so that a recording
 * ends with a proper end event.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "replayer/golive.h"
#include "tools/guest_files.h"
#include "tools/session.h"
#include "tools/tool.h"
#include "vmm/cpu/vcpu.h"
#include "vmm/debug.h"

/* How many instructions may pass before an interrupt is heard: about 10 ms. */
#define LISTEN_EVERY 500000

/* ---- the plug ---------------------------------------------------------------------------------------------- */

/* From here on the host's counters are this layer's. Returns the one before, for going back. */
static enum perf_layer enter(struct session *s, enum perf_layer layer)
{
	return s->perf ? perf_enter(s->perf, layer) : layer;
}

static uint32_t session_pio_read(void *self, uint16_t port, unsigned size)
{
	struct session *s = self;
	enum perf_layer before = enter(s, PERF_DEVICE);
	uint32_t value = s->devices.pio_read(s->devices.self, port, size);

	enter(s, before);
	return value;
}

static void session_pio_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	struct session *s = self;
	enum perf_layer before = enter(s, PERF_DEVICE);

	s->devices.pio_write(s->devices.self, port, size, value);
	enter(s, before);
}

static uint64_t session_mmio_read(void *self, uint64_t gpa, unsigned size)
{
	struct session *s = self;
	enum perf_layer before = enter(s, PERF_DEVICE);
	uint64_t value = s->devices.mmio_read(s->devices.self, gpa, size);

	enter(s, before);
	return value;
}

static void session_mmio_write(void *self, uint64_t gpa, unsigned size, uint64_t value)
{
	struct session *s = self;
	enum perf_layer before = enter(s, PERF_DEVICE);

	s->devices.mmio_write(s->devices.self, gpa, size, value);
	enter(s, before);
}

static uint64_t session_tsc(void *self)
{
	struct session *s = self;

	return s->devices.tsc(s->devices.self);
}

/* Speed since the line before, and how far it is. */
static void show_progress(struct session *s, uint64_t icount)
{
	uint64_t now = host_now_ns(), ns = now - s->shown_ns;
	struct trace_writer_stats stats = { 0 };
	char text[160], trace[80] = "";

	if (s->writer) {
		trace_writer_get_stats(s->writer, &stats);
		snprintf(trace, sizeof(trace), ", %" PRIu64 " events, trace %.1f MiB", stats.events,
		         (double)stats.bytes / 1048576);
	}
	snprintf(text, sizeof(text), "%.1f M instructions a second, icount %" PRIu64 "%s",
	         ns ? (double)(icount - s->shown_icount) * 1e3 / (double)ns : 0, icount, trace);
	progress_text(&s->progress, text);
	s->shown_ns = now;
	s->shown_icount = icount;
}

/* By the icount alone: where a string I/O instruction is cut must not depend on when else there was a poll. */
static uint64_t next_listen(uint64_t icount)
{
	return (icount / LISTEN_EVERY + 1) * LISTEN_EVERY;
}

static void session_poll(void *self, const struct vm_now *now, struct vm_turn *turn)
{
	struct session *s = self;
	enum perf_layer before;

	if (now->icount >= s->flush_at) {
		console_flush(s->console);
		s->flush_at = now->icount + LISTEN_EVERY;
		if (progress_due(&s->progress))
			show_progress(s, now->icount);
	}
	if (s->top)
		top_tick(s->top, now->icount);
	before = enter(s, PERF_DEVICE);
	s->devices.poll(s->devices.self, now, turn);
	enter(s, before);
	if (s->mark[0] && turn->stop == STOP_NONE) {
		strcpy(s->told_mark, s->mark);
		s->mark[0] = 0;
		turn->marker = s->told_mark;
	}
	if (turn->deadline > next_listen(now->icount))
		turn->deadline = next_listen(now->icount);
	if ((s->quit || console_interrupted(s->console)) && turn->stop == STOP_NONE) {
		turn->stop = STOP_INTERRUPTED;
		turn->stop_message = "the user ended the run";
	}
}

static bool session_idle(void *self, const struct vm_now *now)
{
	struct session *s = self;

	console_flush(s->console);
	if (s->pausable)
		vm_pause(s->vm);
	/* an interrupt may be what woke it: the next poll tells */
	return s->devices.idle(s->devices.self, now) || console_interrupted(s->console);
}

static size_t session_save(void *self, uint8_t *buf, size_t room)
{
	struct session *s = self;

	return s->devices.save(s->devices.self, buf, room);
}

static void session_console(void *self, enum vm_stream stream, const uint8_t *bytes, size_t len)
{
	struct session *s = self;

	if (s->silent)
		return;
	console_write(s->console, bytes, len);
	for (size_t i = 0; s->marks && stream == STREAM_SERIAL && i < len; i++) {
		const char *mark = lines_put(s->marks, bytes[i]);

		if (mark && *mark)
			snprintf(s->mark, sizeof(s->mark), "%s", mark);
	}
	if (s->listener)
		s->listener(s->listener_self, stream, bytes, len);
}

/* ---- opening ------------------------------------------------------------------------------------------------- */

static int open_machine(struct session *s, const struct machine_options *m, const struct vm_config *config,
                        struct vm_error *err)
{
	struct machine_config mc = {
		.clock = vm_clock(s->vm),
		.memory = config->memory,
		.rtc_epoch = 946684800, /* 2000-01-01: the guest's clock starts the same in every run */
		.console = session_console,
		.console_self = s,
		.serial_fd = console_input_fd(s->console),
		.pace = m->clock && !strcmp(m->clock, "host"),
		.idle_max_ns = m->idle_max_ns,
	};
	int rc = machine_create(&s->machine, &mc, err);

	if (rc)
		return rc;
	machine_input(s->machine, &s->devices);
	s->input = (struct vm_input){ .self = s,
		                      .pio_read = session_pio_read,
		                      .pio_write = session_pio_write,
		                      .mmio_read = session_mmio_read,
		                      .mmio_write = session_mmio_write,
		                      .tsc = session_tsc,
		                      .poll = session_poll,
		                      .idle = session_idle,
		                      .save = session_save };
	vm_plug(s->vm, &s->input, NULL);
	return 0;
}

int session_open(struct session *s, const struct machine_options *m, const struct vm_config *config, const char *guest)
{
	const char *serial = m->serial ? m->serial : m->debugged ? "none" : "stdio";
	struct vm_error err;
	int rc;

	memset(s, 0, sizeof(*s));
	s->opened = host_moment();
	s->in_lockstep = tool_lockstep(&m->engine, &s->lockstep);
	if (m->mark && lines_open(&s->marks, m->mark, &err))
		return tool_error(TOOL_USAGE, "--mark %s", err.text);
	rc = vm_create(&s->vm, config, &err);
	if (rc)
		return tool_fail(rc, &err);
	rc = guest_files_load(s->vm, m, guest, s->files, &s->file_count, &err);
	if (rc)
		return tool_error(rc == -ENOMEM ? TOOL_HOST : TOOL_BAD_INPUT, "%s", err.text);
	rc = console_open(&s->console, serial, !m->debugged, &err);
	if (!rc)
		rc = open_machine(s, m, config, &err);
	return rc ? tool_error(TOOL_HOST, "%s", err.text) : OPTIONS_GO;
}

/* What a person has to know before the guest goes on. */
static void tell_cut(const struct golive_result *r, const char *trace)
{
	fprintf(stderr,
	        "ringside: %s: live from icount %" PRIu64 ", event %" PRIu64 "; cut off: the trace's %" PRIu64
	        " events after that",
	        trace, r->icount, r->event, r->events_left);
	if (r->inputs_left)
		fprintf(stderr,
		        ", with %" PRIu64 " inputs from outside (%" PRIu64
		        " bytes of console), which do not come again\n",
		        r->inputs_left, r->input_bytes_left);
	else
		fprintf(stderr, "; there is no input from outside among them\n");
}

int session_open_at(struct session *s, const struct machine_options *m, const struct vm_config *config,
                    struct trace_reader *reader, uint64_t icount, const char *trace)
{
	const struct trace_meta *meta = trace_reader_meta(reader);
	struct golive_result result;
	struct vm_error err;
	int rc;

	memset(s, 0, sizeof(*s));
	s->opened = host_moment();
	if (m->mark && lines_open(&s->marks, m->mark, &err))
		return tool_error(TOOL_USAGE, "--mark %s", err.text);
	s->in_lockstep = tool_lockstep(&m->engine, &s->lockstep);
	s->file_count = meta->file_count;
	memcpy(s->files, meta->files, sizeof(s->files));
	rc = vm_create(&s->vm, config, &err);
	if (!rc)
		rc = console_open(&s->console, m->serial ? m->serial : "stdio", true, &err);
	if (!rc)
		rc = open_machine(s, m, config, &err);
	if (rc)
		return tool_fail(rc, &err);
	s->silent = true;
	rc = golive(reader, icount, s->vm, s->machine, &result, &err);
	s->silent = false;
	if (rc)
		return tool_error(rc == -ERANGE ? TOOL_USAGE : TOOL_BAD_INPUT, "%s: %s", trace, err.text);
	vm_plug(s->vm, &s->input, NULL);
	tell_cut(&result, trace);
	return OPTIONS_GO;
}

void session_close(struct session *s)
{
	lines_close(s->marks);
	machine_destroy(s->machine);
	vm_destroy(s->vm);
	console_close(s->console);
}

/* ---- watching -------------------------------------------------------------------------------------------------- */

static bool watched_event(void *self, const struct event *ev)
{
	struct session *s = self;
	enum perf_layer before = enter(s, PERF_LOG);
	bool go_on = s->watched.event(s->watched.self, ev);

	if (s->top)
		top_event(s->top, ev);
	enter(s, before);
	return go_on;
}

static void watched_cost(void *self, const struct event_cost *cost)
{
	struct session *s = self;

	s->watched.cost(s->watched.self, cost);
	if (s->top)
		top_cost(s->top, cost);
}

static void watched_guest(void *self, bool runs)
{
	enter(self, runs ? PERF_GUEST : PERF_VMM);
}

/* Around the observer where somebody wants to see it at work; itself otherwise. */
static const struct vm_observer *watch(struct session *s, const struct vm_observer *observer)
{
	if (!s->top && !s->perf)
		return observer;
	s->watched = observer ? *observer : (struct vm_observer){ 0 };
	s->observer = (struct vm_observer){ .self = s,
		                            .event = s->watched.event ? watched_event : NULL,
		                            .cost = s->watched.cost ? watched_cost : NULL,
		                            .guest = s->perf ? watched_guest : NULL };
	return &s->observer;
}

/* Not where the guest's own lines go to the same terminal. */
static void begin_progress(struct session *s)
{
	progress_begin(&s->progress, s->writer ? "recording:" : "running:");
	s->progress.on &= !s->top && !console_on_stdout(s->console);
	s->shown_ns = host_now_ns();
	s->shown_icount = vm_vcpu(s->vm)->icount;
}

/* 1: the engines differ. */
static int run_lockstep(struct session *s, const struct vm_observer *observer, struct session_result *result,
                        struct vm_error *err)
{
	const struct lockstep_difference *d;
	struct lockstep *l;
	int rc = lockstep_create(&l, s->vm, &s->input, observer, &s->lockstep, err);

	if (rc)
		return rc;
	rc = lockstep_run(l, UINT64_MAX, &result->stop, err);
	d = lockstep_difference(l);
	if (!rc && d->found) {
		tool_tell_difference(d, vm_config(s->vm)->engine);
		rc = 1;
	}
	result->comparisons = lockstep_comparisons(l);
	lockstep_destroy(l);
	return rc;
}

int session_run(struct session *s, const struct vm_observer *observer, bool with_perf, struct session_result *result)
{
	struct vm_error err;
	uint64_t start, cpu;
	int rc;

	memset(result, 0, sizeof(*result));
	s->perf = with_perf ? &result->perf : NULL;
	observer = watch(s, observer);
	vm_plug(s->vm, &s->input, observer);
	result->has_perf = with_perf;
	if (with_perf)
		perf_start(&result->perf);
	begin_progress(s);
	start = host_now_ns();
	cpu = host_cpu_ns();
	rc = s->in_lockstep ? run_lockstep(s, observer, result, &err) : vm_run(s->vm, UINT64_MAX, &result->stop, &err);
	result->wall_ns = host_now_ns() - start;
	result->cpu_ns = host_cpu_ns() - cpu;
	progress_end(&s->progress);
	if (with_perf)
		perf_stop(&result->perf);
	s->perf = NULL;
	if (s->top)
		top_draw(s->top, vm_vcpu(s->vm)->icount);
	vm_get_counters(s->vm, &result->counters);
	return rc < 0 ? tool_fail(rc, &err) : rc ? TOOL_DIVERGED : OPTIONS_GO;
}
