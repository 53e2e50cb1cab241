/*
 * input.c - see input.h.
 *
 * Invariants
 *  1. `next` is the first event that was not verified; it is only replaced by advance(), after it was verified.
 *  2. Nothing here decides that the run is right but compare(); the answers given before are guesses that compare() will
 *     judge. An access that the trace does not expect is answered with all ones, and its event then differs.
 *  3. poll's deadline is always in the future, and never beyond the last icount of `next`'s chunk: a guest that runs past
 *     an event without producing it is noticed.
 *
 * Idle time: EV_INTERRUPT carries in `addr` how much virtual time HLT has skipped so far. Setting the clock from it
 * keeps virtual time, and so every digest, the same as in the recording, without a device that could tell.
 */
#include "replayer/input.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/decode/insn.h"

struct replay_input {
	struct replay_source source;
	struct trace_cursor *cursor; /* what it is made of; NULL when it is somebody else's */
	struct replay_input_options options;
	const struct event *next; /* borrowed from the source */
	int state;                /* 1: next is valid; 0: the trace is at its end; negative: it is broken */
	struct vm_error error;
	uint64_t seq;         /* number of next */
	uint64_t first;       /* number of the first event since the last seek */
	uint32_t blob_at;     /* bytes of next's blob that string I/O has taken */
	struct event last[8]; /* ring of verified events */
	struct replay_divergence divergence;
	char cause[MAKER_DOUBT_MAX];                           /* of a divergence, "" none is known */
	struct vm_change change;                               /* lent to the VM */
	char text[sizeof(((struct vm_stop *)0)->message) + 1]; /* marker or message, as a C string */
};

static void look(struct replay_input *in)
{
	in->state = in->source.peek(in->source.self, &in->next, &in->error);
	in->blob_at = 0;
}

int replay_input_create_on(struct replay_input **out, const struct replay_source *source,
                           const struct replay_input_options *options, struct vm_error *err)
{
	struct replay_input *in = calloc(1, sizeof(*in));

	*out = in;
	if (!in)
		return vm_fail(err, -ENOMEM, "out of memory");
	in->options = *options;
	in->source = *source;
	in->seq = source->seq(source->self);
	look(in);
	return 0;
}

static int cursor_peek(void *self, const struct event **ev, struct vm_error *err)
{
	return trace_cursor_peek(self, ev, err);
}

/* A trace that is broken here says so at the next look. */
static void cursor_pass(void *self)
{
	trace_cursor_pass(self);
}

static uint64_t cursor_seq(void *self)
{
	return trace_cursor_seq(self);
}

static uint64_t cursor_async_icount(void *self)
{
	return trace_cursor_async_icount(self);
}

static bool cursor_no_strings(void *self)
{
	return trace_cursor_no_strings(self);
}

int replay_input_create(struct replay_input **out, struct trace_reader *reader,
                        const struct replay_input_options *options, struct vm_error *err)
{
	struct replay_source source = { .peek = cursor_peek,
		                        .pass = cursor_pass,
		                        .seq = cursor_seq,
		                        .async_icount = cursor_async_icount,
		                        .no_strings = cursor_no_strings };
	struct trace_cursor *cursor;
	int rc;

	*out = NULL;
	rc = trace_cursor_open(&cursor, reader, err);
	if (rc)
		return rc;
	source.self = cursor;
	rc = replay_input_create_on(out, &source, options, err);
	if (rc) {
		trace_cursor_close(cursor);
		return rc;
	}
	(*out)->cursor = cursor;
	maker_doubt(trace_reader_meta(reader), (*out)->cause);
	return 0;
}

int replay_input_seek(struct replay_input *in, uint64_t seq, struct vm_error *err)
{
	int rc = trace_cursor_seek(in->cursor, seq, err);

	if (rc)
		return rc;
	in->divergence = (struct replay_divergence){ .diverged = false };
	in->first = in->seq = trace_cursor_seq(in->cursor);
	look(in);
	return replay_input_status(in, err);
}

void replay_input_destroy(struct replay_input *in)
{
	if (!in)
		return;
	if (in->cursor)
		trace_cursor_close(in->cursor);
	free(in);
}

uint64_t replay_input_seq(const struct replay_input *in)
{
	return in->seq;
}

bool replay_input_done(const struct replay_input *in)
{
	return !in->state && !in->divergence.diverged;
}

const struct replay_divergence *replay_input_divergence(const struct replay_input *in)
{
	return &in->divergence;
}

int replay_input_status(const struct replay_input *in, struct vm_error *err)
{
	return in->state < 0 ? vm_fail(err, in->state, "%s", in->error.text) : 0;
}

/* ---- Divergence -------------------------------------------------------------------------------------------- */

int replay_input_fail(const struct replay_input *in, struct vm_error *err)
{
	const struct replay_divergence *d = &in->divergence;

	return vm_fail(err, -EBADMSG, "the run diverges from the trace at event %llu, icount %llu: %s%s%s",
	               (unsigned long long)d->seq, (unsigned long long)d->icount, d->what,
	               *d->cause ? "; likely cause: " : "", d->cause);
}

static struct event without_blob(const struct event *ev)
{
	struct event copy = *ev;

	copy.blob = NULL;
	return copy;
}

static void diverge(struct replay_input *in, const struct event *got, uint64_t icount, const char *fmt, va_list args)
{
	struct replay_divergence *d = &in->divergence;
	unsigned i;

	if (d->diverged)
		return;
	d->diverged = true;
	d->seq = in->seq;
	d->icount = icount;
	if (in->state > 0)
		d->expected = without_blob(in->next);
	if (got)
		d->got = without_blob(got);
	vsnprintf(d->what, sizeof(d->what), fmt, args);
	strcpy(d->cause, in->cause);
	d->last_count = in->seq - in->first < 8 ? (unsigned)(in->seq - in->first) : 8;
	for (i = 0; i < d->last_count; i++)
		d->last[i] = in->last[(in->seq - d->last_count + i) % 8];
}

static void __attribute__((format(printf, 4, 5)))
differs(struct replay_input *in, const struct event *got, uint64_t icount, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	diverge(in, got, icount, fmt, args);
	va_end(args);
}

void replay_input_diverge(struct replay_input *in, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	diverge(in, NULL, in->seq > in->first ? in->last[(in->seq - 1) % 8].icount : 0, fmt, args);
	va_end(args);
}

/* ---- Observer: is it the event the trace says? ------------------------------------------------------------- */

struct column {
	const char *name;
	size_t offset, size;
	bool hex;
};

#define COLUMN(member, is_hex)                                                                                         \
	{                                                                                                              \
#member, offsetof(struct event, member), sizeof(((struct event *)0)->member), is_hex                   \
	}
static const struct column columns[] = {
	COLUMN(kind, false), COLUMN(icount, false), COLUMN(rip, true),   COLUMN(op, false),
	COLUMN(addr, true),  COLUMN(value, true),   COLUMN(error, true), COLUMN(size, false),
	COLUMN(vcpl, false), COLUMN(rcpl, false),   COLUMN(flags, true), COLUMN(blob_len, false),
};

static uint64_t column_value(const struct event *ev, const struct column *c)
{
	uint64_t v = 0;

	memcpy(&v, (const uint8_t *)ev + c->offset, c->size); /* little-endian hosts only (x86) */
	return v;
}

static void name_value(char *buf, size_t size, const struct column *c, uint64_t v)
{
	const char *name = NULL;

	if (c->offset == offsetof(struct event, kind))
		name = event_kind_name((enum event_kind)v);
	if (c->offset == offsetof(struct event, op))
		name = v ? op_name((enum op)v) : "none";
	if (name)
		snprintf(buf, size, "%s", name);
	else
		snprintf(buf, size, c->hex ? "0x%llx" : "%llu", (unsigned long long)v);
}

static bool same(const struct event *a, const struct event *b)
{
	return a->icount == b->icount && a->rip == b->rip && a->addr == b->addr && a->value == b->value &&
	       a->error == b->error && a->op == b->op && a->kind == b->kind && a->vcpl == b->vcpl &&
	       a->rcpl == b->rcpl && a->size == b->size && a->flags == b->flags && a->blob_len == b->blob_len &&
	       (!a->blob_len || !memcmp(a->blob, b->blob, a->blob_len));
}

static void tell_difference(struct replay_input *in, const struct event *got)
{
	const struct event *want = in->next;
	char expected[64], actual[64];
	size_t i;

	for (i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		const struct column *c = &columns[i];

		if (column_value(want, c) == column_value(got, c))
			continue;
		name_value(expected, sizeof(expected), c, column_value(want, c));
		name_value(actual, sizeof(actual), c, column_value(got, c));
		differs(in, got, got->icount, "%s: expected %s, got %s", c->name, expected, actual);
		return;
	}
	for (i = 0; i < want->blob_len; i++)
		if (((const uint8_t *)want->blob)[i] != ((const uint8_t *)got->blob)[i])
			break;
	differs(in, got, got->icount, "byte %zu of the data: expected 0x%02x, got 0x%02x", i,
	        ((const uint8_t *)want->blob)[i], ((const uint8_t *)got->blob)[i]);
}

static bool compare(void *self, const struct event *got)
{
	struct replay_input *in = self;

	if (in->state < 0 || in->divergence.diverged)
		return false;
	if (!in->state) {
		differs(in, got, got->icount, "the trace has no more events, the guest goes on with %s",
		        event_kind_name((enum event_kind)got->kind));
		return false;
	}
	if (!same(in->next, got)) {
		tell_difference(in, got);
		return false;
	}
	in->last[in->seq % 8] = without_blob(got);
	if (in->options.verified)
		in->options.verified(in->options.self, in->next, in->seq);
	in->source.pass(in->source.self);
	in->seq++;
	look(in);
	return in->state >= 0;
}

/* ---- Input: what the devices said -------------------------------------------------------------------------- */

static uint64_t all_ones(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (1ull << (8 * size)) - 1;
}

static bool next_is_read(const struct replay_input *in, enum event_kind kind, uint64_t addr, unsigned size)
{
	return in->state > 0 && in->next->kind == kind && !(in->next->flags & EVF_WRITE) && in->next->addr == addr &&
	       in->next->size == size;
}

/* One element of a string input. */
static uint32_t take_element(struct replay_input *in, unsigned size)
{
	uint32_t value = 0;

	if (size > sizeof(value) || in->next->blob_len - in->blob_at < size)
		return (uint32_t)all_ones(size);
	memcpy(&value, (const uint8_t *)in->next->blob + in->blob_at, size);
	in->blob_at += size;
	return value;
}

static uint32_t pio_read(void *self, uint16_t port, unsigned size)
{
	struct replay_input *in = self;

	if (!next_is_read(in, EV_PIO, port, size))
		return (uint32_t)all_ones(size);
	return in->next->blob_len ? take_element(in, size) : (uint32_t)in->next->value;
}

static uint64_t mmio_read(void *self, uint64_t gpa, unsigned size)
{
	struct replay_input *in = self;

	return next_is_read(in, EV_MMIO, gpa, size) ? in->next->value : all_ones(size);
}

static void pio_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	(void)self;
	(void)port;
	(void)size;
	(void)value;
}

static void mmio_write(void *self, uint64_t gpa, unsigned size, uint64_t value)
{
	(void)self;
	(void)gpa;
	(void)size;
	(void)value;
}

#define MSR_TSC 0x10

/* RDTSC's event, and RDMSR's, has what the guest saw. Whoever else asks (WRMSR) gets the clock, which agrees with the
 * recording's. */
static uint64_t tsc(void *self)
{
	struct replay_input *in = self;

	if (in->state > 0 && (in->next->op == OP_RDTSC || (in->next->op == OP_RDMSR && in->next->addr == MSR_TSC)))
		return in->next->value - *in->options.tsc_offset;
	return clock_now(in->options.clock);
}

static const char *as_text(struct replay_input *in)
{
	size_t len = in->next->blob_len < sizeof(in->text) ? in->next->blob_len : sizeof(in->text) - 1;

	if (len)
		memcpy(in->text, in->next->blob, len);
	in->text[len] = 0;
	return in->text;
}

static bool give_interrupt(struct replay_input *in, const struct vm_now *now, struct vm_turn *turn)
{
	if (!now->can_interrupt || in->next->value > 255)
		return false;
	in->options.clock->idle_ns = in->next->addr;
	turn->vector = (int)in->next->value;
	return true;
}

/* A reason that the vCPU finds by itself must be found by it again; the others come from outside. */
static bool give_end(struct replay_input *in, struct vm_turn *turn)
{
	if (in->next->value == STOP_NONE || in->next->value >= STOP_REASON_MAX ||
	    in->next->value == STOP_TRIPLE_FAULT || in->next->value == STOP_GUEST_ERROR)
		return false;
	turn->stop = (enum vm_stop_reason)in->next->value;
	turn->stop_code = in->next->addr;
	turn->stop_message = as_text(in);
	return true;
}

/* What the trace has for this moment, if anything. */
static bool give(struct replay_input *in, const struct vm_now *now, struct vm_turn *turn)
{
	switch (in->next->kind) {
	case EV_INTERRUPT: return give_interrupt(in, now, turn);
	case EV_INPUT:
		turn->input = in->next->blob_len ? in->next->blob : "";
		turn->input_len = in->next->blob_len;
		return true;
	case EV_MARKER: turn->marker = as_text(in); return true;
	case EV_CHANGE:
		in->change = (struct vm_change){ .registers = in->next->value == 1,
			                         .gpa = in->next->addr,
			                         .bytes = in->next->blob,
			                         .len = in->next->blob_len };
		turn->change = &in->change;
		return true;
	case EV_END: return give_end(in, turn);
	default: return false; /* the vCPU's own to produce */
	}
}

static uint64_t deadline(struct replay_input *in, uint64_t icount)
{
	uint64_t at = in->source.async_icount(in->source.self), end;

	/* string I/O is cut where the budget ends: the same budget as in the recording gives the same pieces */
	if (op_is_string_io(in->next->op)) {
		end = in->next->icount + in->next->value;
		at = end < at ? end : at;
	}
	return at > icount ? at : icount + 1;
}

static void poll(void *self, const struct vm_now *now, struct vm_turn *turn)
{
	struct replay_input *in = self;

	*turn = (struct vm_turn){ .deadline = UINT64_MAX, .vector = -1 };
	if (!in->state && in->source.grows)
		look(in);
	if (in->state > 0 && !in->divergence.diverged && in->next->icount < now->icount)
		differs(in, NULL, now->icount, "the guest is past icount %llu without the event the trace has there",
		        (unsigned long long)in->next->icount);
	if (in->state < 0 || in->divergence.diverged) {
		turn->stop = STOP_OBSERVER;
		return;
	}
	if (!in->state && in->source.grows)
		return;
	if (!in->state) {
		turn->stop = STOP_TRACE_END;
		turn->stop_message = "the trace ends here: the recorder was stopped before the guest";
		return;
	}
	if (in->next->icount == now->icount && give(in, now, turn))
		return;
	turn->deadline = deadline(in, now->icount);
	/* before that it need not ask: only string I/O has a deadline of its own */
	if (in->source.no_strings && in->source.no_strings(in->source.self))
		turn->quiet_until = UINT64_MAX;
}

/* True: something wakes the guest at this icount, and poll will say what. */
static bool idle(void *self, const struct vm_now *now)
{
	struct replay_input *in = self;

	if (in->state <= 0 || in->divergence.diverged)
		return true; /* poll will stop the run */
	if (in->next->icount != now->icount)
		differs(in, NULL, now->icount, "the guest halts, and nothing in the trace wakes it");
	else if (in->next->kind == EV_END)
		return false;
	return true;
}

void replay_input_plugs(struct replay_input *in, struct vm_input *input, struct vm_observer *observer)
{
	*input = (struct vm_input){ .self = in,
		                    .pio_read = pio_read,
		                    .pio_write = pio_write,
		                    .mmio_read = mmio_read,
		                    .mmio_write = mmio_write,
		                    .tsc = tsc,
		                    .poll = poll,
		                    .idle = idle };
	*observer = (struct vm_observer){ .self = in, .event = compare };
}
