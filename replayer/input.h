/*
 * input.h - the trace as a VM's two plugs: it answers what the devices answered, and compares what the vCPU does.
 *
 * The next event of the trace is both: an access asks it for its value, the observer then checks that the access was
 * the one it describes. Asynchronous events (interrupts, input, markers, the end) are handed over by poll at exactly
 * their icount. Called by replay.c, which plugs it in. Knows nothing of how the VM works beyond vmm/vm.h.
 */
#ifndef RINGSIDE_REPLAYER_INPUT_H
#define RINGSIDE_REPLAYER_INPUT_H

#include "recorder/trace.h"
#include "replayer/replay.h"

struct replay_input;

/* Where the events come from. */
struct replay_source {
	void *self;
	/* The next event: 1 and *ev, borrowed until it is passed; 0 at the end, or a negative errno. */
	int (*peek)(void *self, const struct event **ev, struct vm_error *err);
	void (*pass)(void *self);
	uint64_t (*seq)(void *self); /* number of the next event */
	/* At or before which the next asynchronous event may come; UINT64_MAX: none is known of. */
	uint64_t (*async_icount)(void *self);
	bool (*no_strings)(void *self); /* there is no string I/O before; NULL: there may be */
	bool grows;                     /* its end is not the run's: there may be more when it is asked again */
};

/* `verified` is called after each event that matched; may be NULL. clock: the VM's, kept in step with the
 * recording's; tsc_offset: the guest's own, for turning what RDTSC showed back into what the input said. Both are
 * borrowed and must outlive the input. */
struct replay_input_options {
	struct clock *clock;
	const uint64_t *tsc_offset;
	void (*verified)(void *self, const struct event *ev, uint64_t seq);
	void *self;
};
int replay_input_create(struct replay_input **out, struct trace_reader *reader,
                        const struct replay_input_options *options, struct vm_error *err);
/* The same with events that come from elsewhere. It cannot seek. */
int replay_input_create_on(struct replay_input **out, const struct replay_source *source,
                           const struct replay_input_options *options, struct vm_error *err);
void replay_input_destroy(struct replay_input *in);
/* Go on from event `seq`, the VM having been restored to there; forgets a divergence. Negative errno for a broken trace. */
int replay_input_seek(struct replay_input *in, uint64_t seq, struct vm_error *err);

void replay_input_plugs(struct replay_input *in, struct vm_input *input, struct vm_observer *observer);

/* Events verified so far. */
uint64_t replay_input_seq(const struct replay_input *in);
/* All events of the trace were verified. */
bool replay_input_done(const struct replay_input *in);
const struct replay_divergence *replay_input_divergence(const struct replay_input *in);
/* It diverged: -EBADMSG, and where, in what, and the likely cause in err. */
int replay_input_fail(const struct replay_input *in, struct vm_error *err);
/* Report a difference that is not in an event (the final digests). */
void replay_input_diverge(struct replay_input *in, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The trace itself is broken: its negative errno, and the message in err; otherwise 0. */
int replay_input_status(const struct replay_input *in, struct vm_error *err);

#endif
