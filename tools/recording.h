/*
 * recording.h - a session with the trace writer as observer: what `record` and `debug --live` share.
 */
#ifndef RINGSIDE_TOOLS_RECORDING_H
#define RINGSIDE_TOOLS_RECORDING_H

#include "tools/session.h"

#define RECORDING_TRACE "ringside.trace" /* where none is named */

struct recording_options {
	const struct machine_options *machine;
	const char *path;         /* NULL: RECORDING_TRACE */
	bool force;               /* replace an existing one */
	const char *budget;       /* of checkpoints, percent, as the option has it; may be NULL */
	const char *command_line; /* of the guest; NULL: the machine's --append */
	bool top;                 /* show what it spends its time on, while it runs */
};

struct recording {
	const char *path;
	struct session *session;
	struct trace_writer *writer;
	struct vm_observer observer;
	struct top *top; /* NULL: not shown */
	/* told of the guest's console as well; may be NULL */
	void (*console)(void *self, const uint8_t *bytes, size_t len);
	void *self;
};

/* Creates the trace and plugs it into the session's VM. OPTIONS_GO, or an exit status after telling the mistake. */
int recording_open(struct recording *r, const struct recording_options *o, struct session *s,
                   const struct vm_config *config);
/* Runs the session to its end, closes the trace whatever happened, prints the closing lines. An exit status. */
int recording_finish(struct recording *r, const struct machine_options *machine);

#endif
