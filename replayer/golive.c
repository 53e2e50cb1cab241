/*
 * golive.c - see golive.h. The tracker is an input that asks the trace, and tells the devices.
 */
#include "replayer/golive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replayer/input.h"
#include "vmm/cpu/vcpu.h"
#include "vmm/snapshot.h"

struct tracker {
	struct vm *vm;
	struct machine *machine;
	struct vm_input trace, devices;
	char differs[160]; /* the first answer of the devices that is not the trace's; "" none */
};

static void compare(struct tracker *k, const char *what, uint64_t at, unsigned size, uint64_t trace, uint64_t devices)
{
	uint64_t mask = size >= 8 ? UINT64_MAX : (1ull << 8 * size) - 1;

	if (((trace ^ devices) & mask) == 0 || *k->differs)
		return;
	snprintf(k->differs, sizeof(k->differs), "%s %llx, icount %llu: the trace has %llx, the devices say %llx", what,
	         (unsigned long long)at, (unsigned long long)vm_clock(k->vm)->icount_now,
	         (unsigned long long)(trace & mask), (unsigned long long)(devices & mask));
}

static uint32_t track_pio_read(void *self, uint16_t port, unsigned size)
{
	struct tracker *k = self;
	uint32_t value = k->trace.pio_read(k->trace.self, port, size);

	compare(k, "port", port, size, value, k->devices.pio_read(k->devices.self, port, size));
	return value;
}

static void track_pio_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	struct tracker *k = self;

	k->trace.pio_write(k->trace.self, port, size, value);
	k->devices.pio_write(k->devices.self, port, size, value);
}

static uint64_t track_mmio_read(void *self, uint64_t gpa, unsigned size)
{
	struct tracker *k = self;
	uint64_t value = k->trace.mmio_read(k->trace.self, gpa, size);

	compare(k, "memory", gpa, size, value, k->devices.mmio_read(k->devices.self, gpa, size));
	return value;
}

static void track_mmio_write(void *self, uint64_t gpa, unsigned size, uint64_t value)
{
	struct tracker *k = self;

	k->trace.mmio_write(k->trace.self, gpa, size, value);
	k->devices.mmio_write(k->devices.self, gpa, size, value);
}

static uint64_t track_tsc(void *self)
{
	struct tracker *k = self;

	return k->trace.tsc(k->trace.self);
}

/* The trace says what happens; the devices make it happen to them as well. */
static void track_poll(void *self, const struct vm_now *now, struct vm_turn *turn)
{
	struct tracker *k = self;

	k->trace.poll(k->trace.self, now, turn);
	if (turn->stop != STOP_NONE)
		return;
	if (turn->input)
		machine_receive(k->machine, turn->input, turn->input_len);
	if (turn->vector >= 0) /* time that HLT skipped is in the clock since a moment ago */
		compare(k, "interrupt at event time", now->vns, 2, (uint64_t)turn->vector,
		        (uint64_t)machine_acknowledge(k->machine));
}

static bool track_idle(void *self, const struct vm_now *now)
{
	struct tracker *k = self;

	return k->trace.idle(k->trace.self, now);
}

static int restore(struct trace_reader *r, uint64_t icount, struct tracker *k, uint64_t *seq, struct vm_error *err)
{
	size_t number = trace_checkpoint_before(r, icount), len = 0;
	struct trace_checkpoint info;
	uint8_t *devices = NULL;
	int rc = trace_reader_restore_at(r, number, k->vm, &devices, &len, err);

	trace_checkpoint_info(r, number, &info);
	*seq = info.seq;
	if (rc)
		return rc;
	if (devices)
		rc = machine_load(k->machine, devices, len, err);
	else if (vm_vcpu(k->vm)->icount) /* at icount 0 devices are as they were made */
		rc = vm_fail(err, -ENOTSUP, "the trace has no devices' state: it can be replayed, but not run on live");
	free(devices);
	return rc;
}

static int run(uint64_t icount, struct tracker *k, struct replay_input *in, struct vm_error *err)
{
	const struct vm_input input = { .self = k,
		                        .pio_read = track_pio_read,
		                        .pio_write = track_pio_write,
		                        .mmio_read = track_mmio_read,
		                        .mmio_write = track_mmio_write,
		                        .tsc = track_tsc,
		                        .poll = track_poll,
		                        .idle = track_idle };
	struct vm_observer observer;
	struct vm_stop stop;
	int rc;

	replay_input_plugs(in, &k->trace, &observer);
	vm_plug(k->vm, &input, &observer);
	rc = vm_run(k->vm, icount, &stop, err);
	vm_plug(k->vm, NULL, NULL);
	rc = rc ? rc : replay_input_status(in, err);
	if (rc)
		return rc;
	if (replay_input_divergence(in)->diverged)
		return replay_input_fail(in, err);
	if (*k->differs)
		return vm_fail(err, -EBADMSG, "these are not the devices of the recording: %s", k->differs);
	if (stop.reason != STOP_NONE)
		return vm_fail(err, -ERANGE, "the guest has ended at icount %llu: there is nothing to go on with",
		               (unsigned long long)icount);
	return 0;
}

/* A trace that begins here begins with an empty TLB and nothing in progress; so must the run that it records. */
static int begin_anew(struct vm *vm, struct vm_error *err)
{
	uint8_t state[SNAPSHOT_MAX];
	size_t len = vm_snapshot_save(vm, state);

	return vm_snapshot_load(vm, state, len, err);
}

static int count_left(struct trace_reader *r, uint64_t seq, struct golive_result *out, struct vm_error *err)
{
	struct trace_cursor *c;
	struct event ev;
	int rc = trace_cursor_open(&c, r, err);

	if (rc)
		return rc;
	rc = trace_cursor_seek(c, seq, err);
	out->event = seq;
	while (!rc && (rc = trace_cursor_next(c, &ev, NULL, err)) > 0) {
		rc = 0;
		out->events_left++;
		out->inputs_left += ev.kind == EV_INPUT;
		out->input_bytes_left += ev.kind == EV_INPUT ? ev.blob_len : 0;
	}
	trace_cursor_close(c);
	return rc;
}

int golive(struct trace_reader *reader, uint64_t icount, struct vm *vm, struct machine *machine,
           struct golive_result *out, struct vm_error *err)
{
	struct replay_input_options options = { .clock = vm_clock(vm), .tsc_offset = &vm_vcpu(vm)->tsc_offset };
	struct tracker k = { .vm = vm, .machine = machine };
	struct replay_input *in = NULL;
	uint64_t seq;
	int rc;

	*out = (struct golive_result){ 0 };
	if (icount > trace_reader_meta(reader)->icount)
		return vm_fail(err, -ERANGE, "icount %llu is beyond the trace's last, %llu", (unsigned long long)icount,
		               (unsigned long long)trace_reader_meta(reader)->icount);
	machine_input(machine, &k.devices);
	rc = restore(reader, icount, &k, &seq, err);
	rc = rc ? rc : replay_input_create(&in, reader, &options, err);
	rc = rc ? rc : replay_input_seek(in, seq, err);
	rc = rc ? rc : run(icount, &k, in, err);
	rc = rc ? rc : count_left(reader, replay_input_seq(in), out, err);
	rc = rc ? rc : begin_anew(vm, err);
	out->icount = vm_vcpu(vm)->icount;
	replay_input_destroy(in);
	return rc;
}
