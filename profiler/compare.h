/*
 * compare.h - two sides of a change, each one or more traces: did the guest fault more, did a fault become dearer?
 *
 * Counts come from deterministic columns, so they are compared for equality: any difference is a fact. Costs come from a host's clock and
 * are compared row by row with a rank test, corrected for the number of rows, and a difference also has to be large enough to matter. What
 * can be told neither way is said to be so.
 *
 * A side may have several traces: recordings of the same deterministic run (their digests are equal). A whole recording is faster or slower than the
 * next, by what else its host was doing, and no number of samples inside one recording tells that from a slower handler. So the recording is the unit: what all
 * its rows have in common is taken out of it, and then the recordings' medians of a row are compared, by Mann-Whitney's test without approximation. Chance alone puts all of n
 * recordings above all of m others once in binomial(n + m, n) times; corrected for r rows that must be less than alpha, which takes seven of each
 * side for up to 33 rows at alpha 0.01, eight for up to 127. With fewer, a difference is shown with a question mark, by the test over all events, and is no
 * verdict, unless the host is said to be quiet: then recordings are believed as they are.
 *
 * alpha is how often an unchanged build is called slower (and how often it is called faster), at most, if its recordings were taken in turn with the base's.
 */
#ifndef RINGSIDE_PROFILER_COMPARE_H
#define RINGSIDE_PROFILER_COMPARE_H

#include <stdio.h>

#include "profiler/profile.h"
#include "profiler/stats.h"

#define COMPARE_RUNS_MAX 64

/* One trace, read. Everything is borrowed; the profile is changed (sorted). */
struct compare_run {
	const char *path;
	const struct trace_meta *meta;
	struct profile *profile;
};

struct compare_side {
	struct compare_run runs[COMPARE_RUNS_MAX];
	size_t run_count; /* 1 or more */
};

/* What must be equal for two traces to be comparable. */
enum {
	COMPARE_GUEST = 1 << 0,     /* contents of kernel, initrd, modules */
	COMPARE_APPEND = 1 << 1,    /* the guest's command line */
	COMPARE_MODEL = 1 << 2,     /* ring model */
	COMPARE_SENSITIVE = 1 << 3, /* policy for sensitive instructions */
	COMPARE_MACHINE = 1 << 4,   /* memory, processor model, virtual time, checkpoints, limit */
	COMPARE_COMPLETE = 1 << 5,  /* both recordings reached the guest's end */
	COMPARE_HOST = 1 << 6,      /* the recording host: without it counts are compared, costs are not */
	COMPARE_ENGINE = 1 << 7,    /* the same */
};
/* "guest,host" -> bits, all on "all"; -1 for a word that is none. */
int compare_allow_parse(const char *list);
extern const char compare_allow_names[];

enum compare_gate { GATE_MORE, GATE_ANY, GATE_NONE }; /* which changes of counts are a regression */

struct compare_options {
	double alpha;  /* level of the corrected test, 0 < alpha < 1 */
	double effect; /* least change of the median that matters, as a fraction */
	enum stats_correction correction;
	bool quiet_host;    /* few recordings are enough, and their costs are as they are */
	bool ignore_alike;  /* a shift of all rows together decides nothing: the base was recorded on another day */
	size_t min_samples; /* per row and side: with fewer nothing is said about its cost */
	enum compare_gate gate;
	int allow; /* COMPARE_*: may differ */
	const enum profile_by *by;
	size_t by_count;
	const struct symbols *symbols[2]; /* of each side; may be NULL */
};
void compare_options_init(struct compare_options *o); /* alpha 0.01, effect 0.05, Holm, 20 samples, GATE_MORE; by is not set */

enum compare_cost {
	COST_NONE,   /* the row is on one side only, or no costs are compared */
	COST_FEW,    /* too few samples */
	COST_UNSURE, /* no difference that can be told, or one too small to matter */
	COST_FASTER,
	COST_SLOWER,
};

#define COMPARE_NAME_SIZE 256
struct compare_row {
	const char *by; /* "insn", ..., or "counter" */
	char name[COMPARE_NAME_SIZE];
	uint64_t count[2];     /* of one run */
	size_t samples[2];     /* of all runs of the side */
	uint32_t p50[2];       /* over them, each divided by its recording's factor; 0 without samples */
	struct interval ci[2]; /* 95 %, of the median */
	double change;         /* of p50, as a fraction of the base's */
	double p; /* what counts, corrected: that of the recordings when confirmed, that of the events otherwise */
	double p_events, p_runs,
	        superiority; /* over events two-sided, over recordings in the direction they lie; not corrected */
	enum compare_cost cost;
};

/* What the rows of a recording have in common. */
struct compare_alike {
	size_t rows; /* that say so; 0: too few of them, or a quiet host, and all factors are 1 */
	double factor[2][COMPARE_RUNS_MAX]; /* a recording's costs, of the middling recording's */
	double change, p;                   /* of the sides' medians of it, as a fraction; as of a row */
	enum compare_cost cost;
};

enum compare_verdict { VERDICT_EQUAL, VERDICT_IMPROVED, VERDICT_REGRESSED, VERDICT_INCOMPARABLE };
struct compare;
const char *compare_verdict_name(enum compare_verdict v);
/* "slower", "slower?" where it is not confirmed, "~", ... */
const char *compare_cost_name(const struct compare *c, enum compare_cost cost);

#define COMPARE_NOTES_MAX 24
struct compare {
	const struct compare_side *side[2]; /* base, new */
	const struct compare_options *options;
	enum compare_verdict verdict;
	char notes[COMPARE_NOTES_MAX][200]; /* why incomparable, or what to be careful about */
	size_t note_count;
	bool costs_compared;
	bool confirmed; /* there are enough recordings for a verdict on costs */
	bool same_digest;
	struct compare_alike alike;
	struct compare_row *rows; /* in the order of the groupings, each dearest (in base) first */
	size_t row_count;
	size_t counts_more, counts_fewer, slower, faster, few, tested; /* rows */
};

/* On success free with compare_free. -ENOMEM. */
int compare_sides(struct compare *out, const struct compare_side *base, const struct compare_side *new_,
                  const struct compare_options *options, struct vm_error *err);
void compare_free(struct compare *c);

/* 0 or a negative errno: the output could not be written. limit: of rows whose cost did not change (0 = all). */
int compare_text(FILE *out, const struct compare *c, size_t limit);
int compare_json(FILE *out, const struct compare *c, size_t limit);
int compare_markdown(FILE *out, const struct compare *c, size_t limit);

#endif
