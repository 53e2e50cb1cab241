/*
 * report.h - a profile as text, JSON, CSV or protobuf. The figures are the same in all four; profiler/JSON.md says what each means.
 */
#ifndef RINGSIDE_PROFILER_REPORT_H
#define RINGSIDE_PROFILER_REPORT_H

#include <stdio.h>

#include "profiler/grid.h"
#include "profiler/profile.h"
#include "recorder/samples.h"

/* Everything is borrowed. */
struct report {
	const char *path; /* the trace's, as given */
	const struct trace_meta *meta;
	const struct profile_totals *totals;
	const char *selection;            /* what was asked for, in words; "" or NULL: everything */
	uint64_t total_events;            /* in the trace; 0: as many as selected */
	const struct samples_info *again; /* what was measured again; NULL: nothing was */
	const char *again_note;           /* why not all that is there can be used; "" or NULL: it can */
	const struct profile_table *tables;
	size_t table_count;
	/* for pictures; what is NULL is not drawn */
	const struct profile_samples *samples; /* of the first table */
	struct grid *grids[2];                 /* by enum grid_by */
	const struct report_mark *marks;
	size_t mark_count;
	const struct symbols *symbols;
};

/* A moment of the run with a name. */
struct report_mark {
	uint64_t icount;
	const char *text;
};

/* A 95 % interval of a median needs that many samples; of fewer, low and high are the range. */
#define REPORT_AGAIN_ENOUGH 6
/* Percent of a replay's processor time that reading the clock took. */
double report_again_overhead(const struct samples_info *again);

/* One line of the account of a run's time. The lines add up to the run. */
struct report_phase {
	const char *key;   /* event_phase_name(), or "rest" */
	const char *title; /* for people */
	uint64_t cycles;
	const char *note; /* why there is nothing to show, for people; NULL: there is */
};
#define REPORT_PHASES (PH_MAX + 1)

const char *report_phase_title(enum event_phase phase);
/* The account, what no phase claims last. Returns the sum: the run in cycles, or that of the phases where the cycle counter's rate is not known. */
uint64_t report_phases(const struct report *r, struct report_phase out[REPORT_PHASES]);
/*
 * What measuring itself took of the run, within the phases: how often the cycle counter was read, at least, and what the recording host charges for that.
 * cycles is 0 where that is not known, or nobody measured.
 */
struct report_measuring {
	uint64_t readings, each, cycles;
	double share; /* of the run, in percent */
};
struct report_measuring report_measuring(const struct report *r);
/* What the selected events cost of the whole run, in percent. */
double report_selected_share(const struct report *r);
/* Microseconds; 0 when tsc_hz is 0. */
double report_us(const struct report *r, uint64_t cycles);
/* part / whole in percent, 0 of nothing. */
double report_percent(uint64_t part, uint64_t whole);
/* A line of what the recording host charged for what; nothing where that was not measured. */
void report_host_costs(FILE *out, const struct trace_meta *meta);
const char *report_model_name(const struct trace_meta *meta);  /* "0/1/3" */
const char *report_policy_name(const struct trace_meta *meta); /* "catch" */
/* A string from a trace, fit for a terminal and for JSON: what is not printable ASCII becomes '?'. */
void report_clean(char *out, size_t size, const char *text);

/* All return 0 or a negative errno: the output could not be written. */
int report_text(FILE *out, const struct report *r);
int report_json(FILE *out, const struct report *r);
int report_csv(FILE *out, const struct report *r);
int report_pb(FILE *out, const struct report *r);
int report_html(FILE *out, const struct report *r);
/* tables: by site and by instruction, without limit. */
int report_folded(FILE *out, const struct report *r);
int report_callgrind(FILE *out, const struct report *r);

/* For the other JSON reports: prints root and a newline, and frees root whatever comes of it. 0, -ENOMEM or -EIO. */
struct cJSON;
int report_put_json(FILE *out, struct cJSON *root);
/* A member with a string from a trace, cleaned. */
void report_add_text(struct cJSON *object, const char *name, const char *text);

#endif
