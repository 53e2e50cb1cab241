/*
 * report_stacks.c - the profile for the tools that draw stacks and calls: folded stacks (flamegraph.pl, speedscope) and callgrind
 * (callgrind_annotate, KCachegrind).
 *
 * Both want every place apart, so the report's first two tables are by site and by instruction, whole; the second has what no instruction
 * caused. A stack is run, VMM, function, instruction, phase; where a replay has looked at the guest's frame pointers (replayer/callers.h) the first
 * table is by caller, and the functions that called come before. The values add up to the run.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/report.h"

enum { SITE_ADDRESS, SITE_SYMBOL, SITE_INSN, SITE_KIND };
enum { INSN_INSN, INSN_KIND };
enum { CALLER_FUNCTION };

static bool asynchronous(const char *kind)
{
	for (int k = 1; k < EV_KIND_MAX; k++)
		if (!strcmp(kind, event_kind_name((enum event_kind)k)))
			return !profile_synchronous(&(struct event){ .kind = (uint8_t)k });
	return false;
}

/* "name+0x12" -> "name": the function. */
static void function_of(const char *symbol, char *out, size_t size)
{
	const char *plus = strrchr(symbol, '+');

	if (!*symbol)
		snprintf(out, size, "[no symbol]");
	else
		snprintf(out, size, "%.*s", plus ? (int)(plus - symbol) : (int)strlen(symbol), symbol);
	for (char *s = out; *s; s++)
		if (*s == ';')
			*s = ',';
}

/* ---- folded ------------------------------------------------------------------------------------------------------ */

/* Outermost first, each with a ';' after it. */
static void folded_callers(const struct profile_table *t, const struct profile_row *row, char *out, size_t size)
{
	uint32_t addresses[64];
	size_t n = t->by == BY_CALLER ? profile_row_callers(t, row, addresses, 64) : 0, used = 0;

	out[0] = 0;
	while (n-- > 0 && used + PROFILE_COLUMN_SIZE < size) {
		uint64_t offset;
		long index = t->symbols ? symbols_find(t->symbols, addresses[n], &offset) : -1;

		used += index < 0 ? (size_t)snprintf(out + used, size - used, "%08x;", addresses[n])
		                  : (size_t)snprintf(out + used, size - used, "%.80s;", symbols_name(t->symbols, index));
	}
}

static void folded_row(FILE *out, const char *function, const char *what, const struct profile_row *row)
{
	for (int ph = PH_OWN; ph < PH_MAX; ph++)
		if (row->phases[ph])
			fprintf(out, "run;VMM;%s;%s;%s %" PRIu64 "\n", function, what,
			        event_phase_name((enum event_phase)ph), row->phases[ph]);
}

int report_folded(FILE *out, const struct report *r)
{
	struct report_phase phases[REPORT_PHASES];
	struct profile_id id;
	char function[PROFILE_COLUMN_SIZE], what[2 * PROFILE_COLUMN_SIZE], stack[64 * PROFILE_COLUMN_SIZE];
	bool callers = r->tables[0].by == BY_CALLER;
	size_t used;

	report_phases(r, phases);
	for (int ph = 0; ph < REPORT_PHASES; ph++)
		if (ph == PH_GUEST || ((ph < PH_OWN || ph == PH_MAX) && phases[ph].cycles))
			fprintf(out, "run;%s %" PRIu64 "\n", phases[ph].title, phases[ph].cycles);
	for (size_t i = 0; i < r->tables[0].row_count; i++) {
		profile_row_id(&r->tables[0], &r->tables[0].rows[i], &id);
		function_of(id.text[callers ? CALLER_FUNCTION : SITE_SYMBOL], function, sizeof(function));
		snprintf(what, sizeof(what), "%s %s", id.text[SITE_INSN], id.text[SITE_KIND]);
		folded_callers(&r->tables[0], &r->tables[0].rows[i], stack, sizeof(stack));
		used = strlen(stack);
		snprintf(stack + used, sizeof(stack) - used, "%s", function);
		folded_row(out, stack, what, &r->tables[0].rows[i]);
	}
	for (size_t i = 0; i < r->tables[1].row_count; i++) {
		profile_row_id(&r->tables[1], &r->tables[1].rows[i], &id);
		if (asynchronous(id.text[INSN_KIND]))
			folded_row(out, "[from outside]", id.text[INSN_KIND], &r->tables[1].rows[i]);
	}
	return fflush(out) || ferror(out) ? -EIO : 0;
}

/* ---- callgrind --------------------------------------------------------------------------------------------------- */

static void callgrind_line(FILE *out, const char *function, const char *address, const struct profile_row *row)
{
	fprintf(out, "fn=%s\n0x%s %" PRIu64 " %" PRIu64, function, address, row->total, row->count);
	for (int ph = PH_OWN; ph < PH_MAX; ph++)
		fprintf(out, " %" PRIu64, row->phases[ph]);
	fputc('\n', out);
}

static void callgrind_head(FILE *out, const struct report *r)
{
	const struct profile_totals *t = r->totals;
	char clean[4096];

	report_clean(clean, sizeof(clean), r->path);
	fprintf(out, "# callgrind format\nversion: 1\ncreator: ringside\ncmd: %s\npositions: instr\nevents: Cycles Count",
	        clean);
	for (int ph = PH_OWN; ph < PH_MAX; ph++)
		fprintf(out, " %s", event_phase_name((enum event_phase)ph));
	fprintf(out, "\nsummary: %" PRIu64 " %" PRIu64, t->cost, t->events);
	for (int ph = PH_OWN; ph < PH_MAX; ph++)
		fprintf(out, " %" PRIu64, t->phases[ph]);
	fprintf(out, "\n\nob=guest\nfl=guest\n");
}

int report_callgrind(FILE *out, const struct report *r)
{
	char function[PROFILE_COLUMN_SIZE];
	struct profile_id id;

	callgrind_head(out, r);
	for (size_t i = 0; i < r->tables[0].row_count; i++) {
		profile_row_id(&r->tables[0], &r->tables[0].rows[i], &id);
		function_of(id.text[SITE_SYMBOL], function, sizeof(function));
		callgrind_line(out, function, id.text[SITE_ADDRESS], &r->tables[0].rows[i]);
	}
	for (size_t i = 0; i < r->tables[1].row_count; i++) {
		profile_row_id(&r->tables[1], &r->tables[1].rows[i], &id);
		snprintf(function, sizeof(function), "[%.40s]", id.text[INSN_KIND]);
		if (asynchronous(id.text[INSN_KIND]))
			callgrind_line(out, function, "0", &r->tables[1].rows[i]);
	}
	return fflush(out) || ferror(out) ? -EIO : 0;
}
