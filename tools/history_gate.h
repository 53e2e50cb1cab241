/*
 * history_gate.h - `ringside history gate`: recordings against the last runs of a store.
 *
 * As in a comparison (profiler/compare.h) counts are exact, and for costs the recording is the unit: what all its rows have in common is taken out, and then an
 * exact rank test, corrected for the number of rows, has to say that the new ones are dearer. What is taken out decides nothing: the store's runs are of other
 * days.
 */
#ifndef RINGSIDE_TOOLS_HISTORY_GATE_H
#define RINGSIDE_TOOLS_HISTORY_GATE_H

#include "profiler/history.h"
#include "profiler/stats.h"

#define HISTORY_GATE_RUNS STATS_EXACT_SIDE /* of each at most */

struct history_gate {
	const struct history_run *old[HISTORY_GATE_RUNS], *now[HISTORY_GATE_RUNS]; /* borrowed; the newest of old first */
	size_t old_count, now_count;                                               /* 1 or more */
	double alpha;                                                              /* level of the corrected test */
	double effect; /* least change that matters, as a fraction */
};

/* Prints what changed, and a verdict. TOOL_OK, TOOL_GUEST_FAILED where it is a regression, TOOL_HOST. */
int history_gate_run(const struct history_gate *g);

#endif
