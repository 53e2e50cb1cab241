/*
 * feed.h - a trace into profiles: one pass over the events, telling each profile what is known of an event beside itself (the guest's
 * process, the event before, the marker), and leaving out what the user did not ask for.
 *
 * Markers are EV_MARKER events, writes to a port that the user names, and lines of the guest's console that match: so a trace can be cut where its guest printed something, whether or
 * not anybody thought of it when recording.
 */
#ifndef RINGSIDE_PROFILER_FEED_H
#define RINGSIDE_PROFILER_FEED_H

#include "profiler/profile.h"
#include "recorder/samples.h"

#define FEED_NEAR_DEFAULT 4
#define FEED_BUCKETS_DEFAULT 20
#define FEED_BUCKETS_MAX 1000
#define FEED_SEGMENTS_MAX 10000 /* what comes after belongs to the last */

/* Everything may be 0 or NULL, and is borrowed until feed_close. */
struct feed_options {
	uint64_t near;         /* instructions between two events that are close; 0 = FEED_NEAR_DEFAULT */
	uint32_t buckets;      /* of time; 0 = FEED_BUCKETS_DEFAULT */
	const char *mark_port; /* in hexadecimal: each write to it is a marker */
	const char *mark;      /* console lines that are markers: POSIX extended regular expression */
	const char *from_mark,
	        *to_mark; /* only what is between: the first marker or line that matches, and the next that does */
	struct samples *samples; /* of the trace */
	char **filters; /* "insn=in,out", "port=3f8-3ff": events that are one of these in each of the filters; see feed_filter_names */
};
extern const char feed_filter_names[];

struct feed;

/* -EINVAL for options that mean nothing. On error *out is NULL. Free with feed_close (NULL is fine). The reader must stay open. */
int feed_open(struct feed **out, struct trace_reader *reader, const struct feed_options *options, struct vm_error *err);
void feed_close(struct feed *f);

/* Told of every event that was not left out. Return nonzero to stop: it is passed back. */
typedef int feed_fn(void *self, const struct event *ev, const struct event_cost *cost, const struct profile_context *x);
struct feed_sinks {
	struct profile *const *profiles; /* each gets every selected event */
	size_t count;
	feed_fn *each; /* may be NULL */
	void *self;
	void (*progress)(void *self, double done); /* may be NULL */
	void *progress_self;
};
/* Once. -ENOENT when --from-mark matched nothing. */
int feed_run(struct feed *f, const struct feed_sinks *sinks, struct vm_error *err);

/* After feed_run: events there were, and what was asked for in words ("" for all of them). */
uint64_t feed_total(const struct feed *f);
const char *feed_selection(const struct feed *f);
bool feed_samples_bad(const struct feed *f); /* some events' samples are missing or damaged */
/* Markers met, in order. segment 0 is what was before the first. */
uint32_t feed_segments(const struct feed *f);
const char *feed_segment_name(void *feed, uint32_t segment);
uint64_t feed_segment_icount(const struct feed *f, uint32_t segment);
const char *feed_bucket_name(void *feed, uint32_t bucket); /* "12.5M - 15.0M" */

#endif
