/*
 * feed.c - see feed.h.
 *
 * A console byte is stamped with the icount of the event before the port write that made it. So a line's marker takes effect after
 * the first event beyond the stamp, the write of the line's end; a marker that was recorded comes as an event at that very place.
 */
#include "profiler/feed.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/lines.h"
#include "profiler/stats.h"
#include "vmm/decode/insn.h"

enum filter_key {
	FILTER_INSN,
	FILTER_KIND,
	FILTER_PORT,
	FILTER_VECTOR,
	FILTER_CPL,
	FILTER_SITE,
	FILTER_PROCESS,
	FILTER_MAX
};
static const char *const filter_names[FILTER_MAX] = { "insn", "kind", "port", "vector", "cpl", "site", "process" };
const char feed_filter_names[] = "insn, kind, port, vector, cpl, site, process";

#define FILTERS 16
#define FILTER_VALUES 16

struct filter {
	enum filter_key key;
	struct {
		uint64_t low, high;
	} values[FILTER_VALUES];
	size_t count;
};

struct mark {
	uint64_t icount;
	char text[LINE_MAX_KEPT + 1];
};

struct feed {
	struct trace_reader *reader;
	uint64_t near, icount; /* of the whole run */
	uint32_t buckets;
	struct filter filters[FILTERS];
	size_t filter_count;
	struct lines *mark, *from, *to; /* also put together the console's lines */
	/* from the console, ascending */
	struct mark *marks;
	size_t mark_count, mark_room, mark_next;
	/* the segments there have been */
	struct mark *segments;
	uint32_t segment_count, segment_room;
	bool segment_fresh; /* nothing has happened in the last one */
	/* the place in the run */
	struct profile_context now;
	struct event prev;
	bool has_prev, begun, ended;
	uint64_t total, mark_port; /* UINT64_MAX: none */
	struct samples *samples;
	uint32_t again[AGAIN_MAX]; /* of the present event */
	bool again_bad;
	char selection[512], name[64];
};

/* ---- options --------------------------------------------------------------------------------------------------- */

static bool op_by_name(const char *word, uint64_t *out)
{
	for (int op = 0; op < OP_MAX; op++) {
		const char *name = op_name((enum op)op);

		if (name && !strcmp(name, word)) {
			*out = (uint64_t)op;
			return true;
		}
	}
	return false;
}

static bool kind_by_name(const char *word, uint64_t *out)
{
	for (int kind = 1; kind < EV_KIND_MAX; kind++)
		if (!strcmp(event_kind_name((enum event_kind)kind), word)) {
			*out = (uint64_t)kind;
			return true;
		}
	return false;
}

/* Up to `stop`. Numbers that reports print in hexadecimal are read so. */
static bool hex_number(const char *word, char stop, uint64_t *out, const char **end)
{
	char *after;

	errno = 0;
	*out = strtoull(word, &after, 16);
	*end = after;
	return isxdigit((unsigned char)*word) && !errno && (*after == stop || !*after);
}

static bool filter_value(enum filter_key key, const char *word, uint64_t *low, uint64_t *high)
{
	const char *end;
	bool ok = key == FILTER_INSN   ? op_by_name(word, low)
	          : key == FILTER_KIND ? kind_by_name(word, low)
	                               : hex_number(word, '-', low, &end);

	*high = *low;
	if (!ok || key == FILTER_INSN || key == FILTER_KIND || !*end)
		return ok;
	return hex_number(end + 1, 0, high, &end) && !*end && *high >= *low;
}

static int parse_filter(struct filter *f, const char *text, struct vm_error *err)
{
	size_t len = strcspn(text, "=");
	char copy[256], *save, *word;

	for (f->key = 0; f->key < FILTER_MAX; f->key++)
		if (strlen(filter_names[f->key]) == len && !memcmp(filter_names[f->key], text, len))
			break;
	if (f->key == FILTER_MAX || text[len] != '=' || strlen(text + len + 1) >= sizeof(copy))
		return vm_fail(err, -EINVAL, "%s: must be KEY=VALUE[,VALUE...], KEY one of %s", text, feed_filter_names);
	strcpy(copy, text + len + 1);
	for (word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save))
		if (f->count == FILTER_VALUES ||
		    !filter_value(f->key, word, &f->values[f->count].low, &f->values[f->count].high) || !++f->count)
			return vm_fail(err, -EINVAL, "%s: %s is no %s%s", text, word, filter_names[f->key],
			               f->count == FILTER_VALUES ? ", or one too many" : "");
	return f->count ? 0 : vm_fail(err, -EINVAL, "%s: a value is missing", text);
}

__attribute__((format(printf, 2, 3))) static void select_(struct feed *f, const char *fmt, ...)
{
	size_t used = strlen(f->selection);
	va_list args;

	if (used)
		used += (size_t)snprintf(f->selection + used, sizeof(f->selection) - used, "; ");
	if (used >= sizeof(f->selection))
		return;
	va_start(args, fmt);
	vsnprintf(f->selection + used, sizeof(f->selection) - used, fmt, args);
	va_end(args);
}

static int parse_filters(struct feed *f, char **filters, struct vm_error *err)
{
	for (; filters && *filters; filters++) {
		int rc = f->filter_count < FILTERS ? 0 : vm_fail(err, -EINVAL, "%s: too many filters", *filters);

		rc = rc ? rc : parse_filter(&f->filters[f->filter_count++], *filters, err);
		if (rc)
			return rc;
		select_(f, "%s", *filters);
	}
	return 0;
}

static int parse_port(struct feed *f, const char *text, struct vm_error *err)
{
	const char *end;

	f->mark_port = UINT64_MAX;
	if (text && (!hex_number(text, 0, &f->mark_port, &end) || f->mark_port > 0xffff))
		return vm_fail(err, -EINVAL, "%s: is no port (hexadecimal, up to ffff)", text);
	return 0;
}

static int open_pattern(struct lines **out, const char *pattern, struct vm_error *err)
{
	return pattern ? lines_open(out, pattern, err) : 0;
}

static int open_patterns(struct feed *f, const struct feed_options *o, struct vm_error *err)
{
	int rc = open_pattern(&f->mark, o->mark, err);

	rc = rc ? rc : open_pattern(&f->from, o->from_mark, err);
	rc = rc ? rc : open_pattern(&f->to, o->to_mark, err);
	if (rc)
		return rc;
	f->begun = !f->from;
	if (o->from_mark)
		select_(f, "from the marker '%s'", o->from_mark);
	if (o->to_mark)
		select_(f, "to the marker '%s'", o->to_mark);
	return 0;
}

/* ---- markers --------------------------------------------------------------------------------------------------- */

static int push_mark(struct mark **list, size_t *count, size_t *room, uint64_t icount, const char *text)
{
	if (*count == *room) {
		size_t more = *room ? *room * 2 : 64;
		struct mark *grown = realloc(*list, more * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		*list = grown;
		*room = more;
	}
	(*list)[*count].icount = icount;
	snprintf((*list)[*count].text, sizeof((*list)[*count].text), "%s", text);
	++*count;
	return 0;
}

static int on_console(void *self, enum vm_stream stream, uint64_t icount, const uint8_t *bytes, size_t len)
{
	struct feed *f = self;

	if (stream != STREAM_SERIAL)
		return 0;
	for (size_t i = 0; i < len; i++) {
		const char *mark = f->mark ? lines_put(f->mark, bytes[i]) : NULL;
		const char *from = f->from ? lines_put(f->from, bytes[i]) : NULL;
		const char *to = f->to ? lines_put(f->to, bytes[i]) : NULL;
		const char *text = mark ? mark : from ? from : to;

		if (text && f->mark_count < FEED_SEGMENTS_MAX &&
		    push_mark(&f->marks, &f->mark_count, &f->mark_room, icount, text))
			return -ENOMEM;
	}
	return 0;
}

/* A marker was passed: a segment begins. */
static int begin_segment(struct feed *f, uint64_t icount, const char *text)
{
	size_t count = f->segment_count, room = f->segment_room;

	if (f->segment_fresh && f->segment_count > 1 && !strcmp(f->segments[count - 1].text, text))
		return 0; /* the line and the event that was recorded because of it */
	if (f->begun && f->to && lines_match(f->to, text))
		f->ended = true;
	if (!f->begun && lines_match(f->from, text))
		f->begun = true;
	f->segment_fresh = true;
	if (count > FEED_SEGMENTS_MAX)
		return 0;
	if (push_mark(&f->segments, &count, &room, icount, text))
		return -ENOMEM;
	f->segment_count = (uint32_t)count;
	f->segment_room = (uint32_t)room;
	f->now.segment = f->segment_count - 1;
	return 0;
}

/* Blobs are a trace's: any bytes. */
static int marker_event(struct feed *f, const struct event *ev)
{
	char text[LINE_MAX_KEPT + 1];
	size_t len = ev->blob_len < LINE_MAX_KEPT ? ev->blob_len : LINE_MAX_KEPT;

	for (size_t i = 0; i < len; i++) {
		char c = ((const char *)ev->blob)[i];

		text[i] = c >= ' ' && c <= '~' ? c : '?';
	}
	text[len] = 0;
	return begin_segment(f, ev->icount, text);
}

static int port_marker(struct feed *f, const struct event *ev)
{
	char text[64];

	if (ev->kind != EV_PIO || !(ev->flags & EVF_WRITE) || ev->addr != f->mark_port)
		return 0;
	snprintf(text, sizeof(text), "port %03x: %" PRIx64, (unsigned)ev->addr, ev->value);
	return begin_segment(f, ev->icount, text);
}

/* The lines that this event, already told, has ended. */
static int pass_marks(struct feed *f, const struct event *ev)
{
	int rc = 0;

	while (!rc && f->mark_next < f->mark_count && f->marks[f->mark_next].icount < ev->icount) {
		rc = begin_segment(f, ev->icount, f->marks[f->mark_next].text);
		f->mark_next++;
	}
	return rc;
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

int feed_open(struct feed **out, struct trace_reader *reader, const struct feed_options *o, struct vm_error *err)
{
	struct feed *f = calloc(1, sizeof(*f));
	size_t count = 0, room = 0;
	int rc;

	*out = NULL;
	if (!f)
		return vm_fail(err, -ENOMEM, "profile: out of memory");
	f->reader = reader;
	f->icount = trace_reader_meta(reader)->icount;
	f->near = o->near ? o->near : FEED_NEAR_DEFAULT;
	f->buckets = o->buckets ? o->buckets : FEED_BUCKETS_DEFAULT;
	f->now.process = UINT64_MAX;
	f->samples = o->samples;
	rc = parse_filters(f, o->filters, err);
	rc = rc ? rc : parse_port(f, o->mark_port, err);
	rc = rc ? rc : open_patterns(f, o, err);
	if (!rc && (f->mark || f->from || f->to))
		rc = trace_console_each(reader, on_console, f, err);
	if (!rc && push_mark(&f->segments, &count, &room, 0, "(start)"))
		rc = vm_fail(err, -ENOMEM, "profile: out of memory");
	f->segment_count = (uint32_t)count;
	f->segment_room = (uint32_t)room;
	if (!rc) {
		*out = f;
		return 0;
	}
	feed_close(f);
	return rc;
}

void feed_close(struct feed *f)
{
	if (!f)
		return;
	lines_close(f->mark);
	lines_close(f->from);
	lines_close(f->to);
	free(f->marks);
	free(f->segments);
	free(f);
}

/* ---- the pass ---------------------------------------------------------------------------------------------------- */

static void link_chain(struct feed *f, const struct event *ev)
{
	bool near = f->has_prev && profile_synchronous(ev) && ev->icount - f->prev.icount <= f->near;

	f->now.prev = near ? &f->prev : NULL;
	f->now.length = near ? f->now.length + 1 : 1;
	if (near)
		return;
	f->now.head_rip = ev->rip;
	f->now.head_op = ev->op;
	f->now.head_kind = ev->kind;
}

static void before_event(struct feed *f, const struct event *ev)
{
	link_chain(f, ev);
	f->now.bucket = f->icount ? (uint32_t)((unsigned __int128)ev->icount * f->buckets / (f->icount + 1)) : 0;
	if (f->now.bucket >= f->buckets)
		f->now.bucket = f->buckets - 1; /* icounts are a trace's */
}

static int after_event(struct feed *f, const struct event *ev, const struct event_cost *cost)
{
	int rc;

	for (int ph = 0; ph < PH_MAX; ph++)
		f->now.cycles += cost->cycles[ph];
	f->has_prev = profile_synchronous(ev);
	f->prev = *ev;
	f->prev.blob = NULL;
	f->prev.blob_len = 0;
	f->segment_fresh &= ev->kind == EV_MARKER;
	if (ev->op == OP_MOV_CR && ev->kind == EV_FAULT && ev->addr == 3)
		f->now.process = ev->value & ~0xfffull;
	rc = pass_marks(f, ev);
	rc = rc ? rc : port_marker(f, ev);
	return rc ? rc : ev->kind == EV_MARKER ? marker_event(f, ev) : 0;
}

/* What the event is in this respect; UINT64_MAX: it is nothing. */
static uint64_t filter_field(const struct feed *f, enum filter_key key, const struct event *ev)
{
	switch (key) {
	case FILTER_INSN: return ev->op;
	case FILTER_KIND: return ev->kind;
	case FILTER_PORT: return ev->kind == EV_PIO ? (uint16_t)ev->addr : UINT64_MAX;
	case FILTER_VECTOR:
		return ev->kind == EV_EXCEPTION || ev->kind == EV_INTERRUPT ? (uint8_t)ev->value : UINT64_MAX;
	case FILTER_CPL: return ev->vcpl;
	case FILTER_SITE: return ev->rip;
	case FILTER_PROCESS: return f->now.process;
	default: return UINT64_MAX;
	}
}

static bool filter_takes(const struct feed *f, const struct filter *filter, const struct event *ev)
{
	uint64_t field = filter_field(f, filter->key, ev);

	for (size_t i = 0; i < filter->count; i++)
		if (filter->values[i].low <= field && field <= filter->values[i].high)
			return true;
	return false;
}

static bool selected(const struct feed *f, const struct event *ev)
{
	if (!f->begun || f->ended)
		return false;
	for (size_t i = 0; i < f->filter_count; i++)
		if (!filter_takes(f, &f->filters[i], ev))
			return false;
	return true;
}

static int tell(struct feed *f, const struct feed_sinks *s, const struct event *ev, const struct event_cost *cost)
{
	for (size_t i = 0; i < s->count; i++) {
		int rc = profile_add_context(s->profiles[i], ev, cost, &f->now);

		if (rc)
			return rc;
	}
	return s->each ? s->each(s->self, ev, cost, &f->now) : 0;
}

/* Few numbers, mostly alike. */
static void sort_few(uint32_t *v, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		uint32_t x = v[i];
		size_t at = i;

		for (; at && v[at - 1] > x; at--)
			v[at] = v[at - 1];
		v[at] = x;
	}
}

static void look_up_samples(struct feed *f)
{
	const uint32_t *samples = f->samples ? samples_at(f->samples, f->total) : NULL;
	size_t n = f->samples ? samples_info(f->samples)->runs : 0;
	uint32_t sorted[SAMPLES_RUNS_MAX];
	struct interval interval;

	f->now.again = NULL;
	f->again_bad |= f->samples && !samples;
	f->now.caller = f->samples ? samples_caller(f->samples, f->total) : 0;
	if (!samples || n > SAMPLES_RUNS_MAX)
		return;
	memcpy(sorted, samples, n * sizeof(*sorted));
	sort_few(sorted, n);
	interval = stats_median_interval(sorted, n);
	f->again[AGAIN_MIN] = sorted[0];
	f->again[AGAIN_MEDIAN] = stats_percentile(sorted, n, 50);
	f->again[AGAIN_LOW] = interval.low;
	f->again[AGAIN_HIGH] = interval.high;
	f->now.again = f->again;
}

static int feed_event(struct feed *f, const struct feed_sinks *s, const struct event *ev, const struct event_cost *cost)
{
	int rc;

	before_event(f, ev);
	rc = 0;
	if (selected(f, ev)) {
		look_up_samples(f);
		rc = tell(f, s, ev, cost);
	}
	f->total++;
	return rc ? rc : after_event(f, ev, cost);
}

int feed_run(struct feed *f, const struct feed_sinks *sinks, struct vm_error *err)
{
	uint64_t events = trace_reader_meta(f->reader)->events;
	struct trace_cursor *cursor;
	struct event_cost cost;
	struct event ev;
	int rc = trace_cursor_open(&cursor, f->reader, err);

	if (rc)
		return rc;
	while ((rc = trace_cursor_next(cursor, &ev, &cost, err)) > 0) {
		rc = feed_event(f, sinks, &ev, &cost);
		if (rc) {
			rc = vm_fail(err, rc, "profile: %s after %" PRIu64 " events", strerror(-rc), f->total);
			break;
		}
		if (sinks->progress && f->total % 65536 == 0 && events)
			sinks->progress(sinks->progress_self, (double)f->total / (double)events);
	}
	for (size_t i = 0; i < sinks->count && !trace_cursor_costs_ok(cursor); i++)
		profile_costs_bad(sinks->profiles[i]);
	trace_cursor_close(cursor);
	if (!rc && !f->begun)
		return vm_fail(err, -ENOENT, "no marker and no line of the console matches: nothing is %s", f->selection);
	return rc;
}

/* ---- names --------------------------------------------------------------------------------------------------------- */

uint64_t feed_total(const struct feed *f)
{
	return f->total;
}

bool feed_samples_bad(const struct feed *f)
{
	return f->again_bad;
}

const char *feed_selection(const struct feed *f)
{
	return f->selection;
}

uint32_t feed_segments(const struct feed *f)
{
	return f->segment_count;
}

const char *feed_segment_name(void *feed, uint32_t segment)
{
	const struct feed *f = feed;

	return segment < f->segment_count ? f->segments[segment].text : "";
}

uint64_t feed_segment_icount(const struct feed *f, uint32_t segment)
{
	return segment < f->segment_count ? f->segments[segment].icount : 0;
}

const char *feed_bucket_name(void *feed, uint32_t bucket)
{
	struct feed *f = feed;
	double width = (double)(f->icount + 1) / f->buckets / 1e6;

	snprintf(f->name, sizeof(f->name), "%.2fM - %.2fM", bucket * width, (bucket + 1) * width);
	return f->name;
}
