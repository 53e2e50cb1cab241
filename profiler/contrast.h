/*
 * contrast.h - one guest, run in several ways: what each costs, side by side.
 *
 * Where compare.h asks whether something got worse, this answers what a choice costs: ring 1 or ring 3, a call or a real fault, interpreter or translator.
 * Each way was recorded `rounds` times, interleaved; one profile takes all recordings of a way, so minima and medians are over all of them, and
 * counts are of one recording.
 */
#ifndef RINGSIDE_PROFILER_CONTRAST_H
#define RINGSIDE_PROFILER_CONTRAST_H

#include <stdio.h>

#include "profiler/profile.h"

enum contrast_by { CONTRAST_MODEL, CONTRAST_TRAP, CONTRAST_ENGINE };
#define CONTRAST_WAYS 3
#define CONTRAST_ROUNDS_MAX 100

struct contrast_way {
	const char *name;
	struct profile *profile;        /* FACET_SITE; all rounds */
	struct trace_meta meta;         /* of the last round */
	double ms[CONTRAST_ROUNDS_MAX]; /* of the host's clock */
	double cpu_ms[CONTRAST_ROUNDS_MAX]; /* of the vCPU thread's processor time: what other work on the host disturbs least */
	uint64_t hardfaults;
};

struct contrast_row {
	char insn[PROFILE_COLUMN_SIZE], kind[PROFILE_COLUMN_SIZE];
	/* by way; counts are of one recording; cycles */
	uint64_t count[CONTRAST_WAYS], mean[CONTRAST_WAYS];
	uint32_t min[CONTRAST_WAYS], p50[CONTRAST_WAYS];
};

struct contrast {
	enum contrast_by by;
	const char *guest;
	unsigned ways, rounds;
	struct contrast_way way[CONTRAST_WAYS];
	/* filled by contrast_make(): */
	struct contrast_row *rows; /* dearest first, in the last way */
	size_t row_count;
	struct profile_totals totals[CONTRAST_WAYS]; /* over all rounds */
	bool same_digest;                            /* the guest did the same in all of them */
	char sentence[1024];                         /* the answer */
};

int contrast_make(struct contrast *c, struct vm_error *err);
void contrast_free(struct contrast *c); /* what contrast_make() made, and the profiles */

/* limit: rows, 0 all. All return 0 or a negative errno. */
int contrast_text(FILE *out, const struct contrast *c, size_t limit);
int contrast_json(FILE *out, const struct contrast *c, size_t limit);
/* The median cost of each instruction, in each way (gnuplot.h). */
int contrast_plot(const char *path, const struct contrast *c, struct vm_error *err);

#endif
