/*
 * session.h - a live guest, as `run` and `record` have it: VM, machine, console, and the wish of a person to end it.
 */
#ifndef RINGSIDE_TOOLS_SESSION_H
#define RINGSIDE_TOOLS_SESSION_H

#include "profiler/lines.h"
#include "recorder/trace.h"
#include "tools/console.h"
#include "tools/options.h"
#include "tools/perf.h"
#include "tools/tool.h"
#include "tools/top.h"
#include "vmm/dev/machine.h"

struct session {
	struct vm *vm;
	struct machine *machine;
	struct console *console;
	struct vm_input devices;           /* the machine's plug */
	struct vm_input input;             /* the same, but asked often enough that an interrupt is heard */
	struct lines *marks;               /* console lines that are markers; NULL: none are */
	char mark[LINE_MAX_KEPT + 1];      /* one that has not been told yet; "" none */
	char told_mark[LINE_MAX_KEPT + 1]; /* lent to the VM */
	uint64_t flush_at;                 /* icount at which a line that is not finished is shown */
	/* told of the guest's console bytes beside the console itself; may be NULL */
	void (*listener)(void *self, enum vm_stream stream, const uint8_t *bytes, size_t len);
	void *listener_self;
	struct top *top;                      /* borrowed: shown while it runs; NULL: nothing is */
	struct perf *perf;                    /* counts while it runs, by layer; NULL: nothing does */
	struct vm_observer observer, watched; /* ours, around the one that was asked for */
	const struct trace_writer *writer;    /* of a recording, for progress; NULL without */
	struct host_moment opened;            /* loading a guest takes long enough to measure the cycle counter by */
	struct progress progress;
	uint64_t shown_ns, shown_icount; /* when the line of progress was written */
	bool quit;                       /* the run is to end at its present moment */
	bool pausable;                   /* runs also end, once and again, while the guest waits (vm_pause()) */
	bool in_lockstep;
	struct lockstep_options lockstep;
	bool silent; /* what devices print is not new: they are brought to a moment of a trace */
	/* input files, for a trace's header */
	struct trace_meta_file files[TRACE_MAX_FILES];
	uint32_t file_count;
};

struct session_result {
	struct vm_stop stop;
	struct vm_counters counters;
	uint64_t comparisons;     /* of a lockstep that found no difference */
	uint64_t wall_ns, cpu_ns; /* of the host, the second of this thread: what other work on the host disturbs least */
	struct perf perf;
	bool has_perf;
};

/* Create everything, load the guest. OPTIONS_GO or an exit status; session_close() in either case. The session must not move in memory. */
int session_open(struct session *s, const struct machine_options *m, const struct vm_config *config, const char *guest);
/* The same, at an icount of a trace instead of a guest's beginning. config: the trace's, with the limit and engine of the new run. Says on
 * stderr where it is and what is cut off. */
int session_open_at(struct session *s, const struct machine_options *m, const struct vm_config *config,
                    struct trace_reader *reader, uint64_t icount, const char *trace);
void session_close(struct session *s);
/* Run to the guest's end. OPTIONS_GO or an exit status: TOOL_DIVERGED when the engines of a lockstep differ, which was told. observer may be NULL. */
int session_run(struct session *s, const struct vm_observer *observer, bool with_perf, struct session_result *result);

/* The closing line on stderr: how it ended, how much, how fast. trace_path and meta are NULL without a recording. */
struct session_summary {
	const struct session_result *result;
	const char *trace_path;
	const struct trace_meta *meta;
	bool paused; /* a debugger held it: its time means nothing */
};
void session_print(const struct session_summary *s, bool json);

#endif
