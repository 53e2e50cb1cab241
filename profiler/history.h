/*
 * history.h - what runs cost over time: a store of summaries, one a recording, by label (a commit, a build).
 *
 * A store is a database file of the kind traces are (recorder/db.h), small enough to be read whole, and written anew beside the old one at
 * each addition: so it is never half written, and two additions at once do not lose one.
 * Runs are of one series when they did the same work (the guest by name, and the machine) on the same host.
 */
#ifndef RINGSIDE_PROFILER_HISTORY_H
#define RINGSIDE_PROFILER_HISTORY_H

#include "profiler/profile.h"

#define HISTORY_TEXT 128
#define HISTORY_ROW_NAME 200
#define HISTORY_RUNS_MAX 100000

struct history_row {
	char name[HISTORY_ROW_NAME]; /* "insn out pio" */
	uint64_t count;
	double p25, p50; /* cycles; p25 is 0 where an older release added the run */
};

struct history_run {
	char label[HISTORY_TEXT], workload[HISTORY_TEXT], host[HISTORY_TEXT];
	int64_t date; /* of the recording, seconds since 1970 */
	uint64_t events, icount, cost;
	bool costs_ok;
	struct history_row *rows; /* ascending by name */
	size_t row_count;
};

struct history {
	struct history_run *runs; /* in the order of addition */
	size_t count;
};

/* -ENOENT when there is no store, -EBADMSG when the file is none. On success free with history_close. */
int history_open(struct history *out, const char *path, struct vm_error *err);
void history_close(struct history *h);
/* Appends; creates the store where there is none. Waits for others that do the same. */
int history_add(const char *path, const struct history_run *runs, size_t count, struct vm_error *err);

/* A run's summary from its profile (FACET_SITE; changed: sorted). workload NULL: made from the trace's header. Free the rows with history_run_free. */
int history_run_make(struct history_run *out, const struct trace_meta *meta, struct profile *p, const char *label,
                     const char *workload, struct vm_error *err);
void history_run_free(struct history_run *run);
const struct history_row *history_row_find(const struct history_run *run, const char *name);
bool history_same_series(const struct history_run *a, const struct history_run *b);

#endif
