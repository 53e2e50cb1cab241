/*
 * report_stacks.c - the profile for the tools that draw stacks and calls: folded stacks (flamegraph.pl, speedscope) and callgrind
 * (callgrind_annotate, KCachegrind).
 *
 * Both want every place apart, so the report's first two tables are by site and by instruction, whole; the second has what no instruction
 * caused. Where a replay has looked at the guest's frame pointers (replayer/callers.h) the first table is by caller.
 *
 * A stack is run, VMM, function, instruction, phase; the functions that called come before. The values add up to the run.
 *
 * For callgrind each address has its own cost, and with callers each call has the cost of all that happened within it. A function's own cost and that of its
 * calls add up to what it costs with everything it called, so a function must not be its own caller: one that calls itself is taken as one, and where it
 * comes again further in it is another, as in callgrind itself: name'2.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
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

/* A function: its symbol's index, and how manieth it is of that in a stack, from outside. */
#define FUNCTION_NONE UINT32_MAX       /* no symbol */
#define FUNCTION_USER (UINT32_MAX - 1) /* ring 3, whoever it is */
struct function {
	uint32_t symbol, level;
};

/* What happened at an address of a function; or, with a callee, in calls from there. */
struct spot {
	struct function function, callee;
	uint32_t address, entry; /* entry: where the callee begins */
	uint32_t call;
	uint32_t unused;
	uint64_t count, phases[PH_MAX];
};

struct spots {
	const struct symbols *symbols;
	struct spot *at;
	size_t count, room;
};

static int compare_spots(const void *a, const void *b)
{
	return memcmp(a, b, offsetof(struct spot, count));
}

/* Sort, and add up what is the same. */
static void spots_merge(struct spots *s)
{
	size_t kept = 0;

	if (s->count)
		qsort(s->at, s->count, sizeof(*s->at), compare_spots);
	for (size_t i = 0; i < s->count; i++) {
		struct spot *last;

		if (!kept || compare_spots(&s->at[kept - 1], &s->at[i])) {
			s->at[kept++] = s->at[i];
			continue;
		}
		last = &s->at[kept - 1];
		last->count += s->at[i].count;
		for (int ph = PH_OWN; ph < PH_MAX; ph++)
			last->phases[ph] += s->at[i].phases[ph];
	}
	s->count = kept;
}

/* There are many more stacks than places: full is merged first, and grows only if that leaves it more than half full. */
static int spots_add(struct spots *s, const struct spot *spot)
{
	if (s->count == s->room)
		spots_merge(s);
	if (s->count * 2 >= s->room) {
		size_t room = s->room ? s->room * 2 : 4096;
		struct spot *grown = realloc(s->at, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		s->at = grown;
		s->room = room;
	}
	s->at[s->count++] = *spot;
	return 0;
}

/* One function of a stack, and where it was: at a call, the innermost at the event. */
struct frame {
	struct function function;
	uint32_t address, entry;
};

static struct frame frame_at(const struct symbols *symbols, uint64_t address)
{
	uint64_t offset = 0;
	long index = symbols ? symbols_find(symbols, address, &offset) : -1;

	return (struct frame){ .function = { index < 0 ? FUNCTION_NONE : (uint32_t)index, 1 },
		               .address = (uint32_t)address,
		               .entry = index < 0 ? 0 : (uint32_t)(address - offset) };
}

/* Take one more function in; the one before goes if it is the same. */
static size_t push_frame(struct frame *frames, size_t n, struct frame frame)
{
	if (n && frames[n - 1].function.symbol == frame.function.symbol) {
		frames[n - 1].address = frame.address;
		return n;
	}
	for (size_t i = 0; i < n; i++)
		frame.function.level += frames[i].function.symbol == frame.function.symbol;
	frames[n] = frame;
	return n + 1;
}

static size_t frames_of(const struct symbols *symbols, const struct profile_path *path, struct frame *frames)
{
	struct frame own = frame_at(symbols, path->address);
	size_t n = 0;

	for (size_t i = path->caller_count; i-- > 0;)
		n = push_frame(frames, n, frame_at(symbols, path->callers[i]));
	if (path->user)
		own.function.symbol = FUNCTION_USER;
	return push_frame(frames, n, own);
}

static int add_path(void *self, const struct profile_path *path)
{
	struct spots *spots = self;
	struct frame frames[PROFILE_PATH_MAX + 1];
	size_t n = frames_of(spots->symbols, path, frames);
	int rc = 0;

	for (size_t i = 0; !rc && i < n; i++) {
		struct spot spot = { .function = frames[i].function, .address = frames[i].address, .count = path->count };

		if (i + 1 < n) {
			spot.call = 1;
			spot.callee = frames[i + 1].function;
			spot.entry = frames[i + 1].entry;
		}
		memcpy(spot.phases, path->phases, sizeof(spot.phases));
		rc = spots_add(spots, &spot);
	}
	return rc;
}

static void put_function(FILE *out, const char *key, const struct symbols *symbols, struct function f)
{
	char name[PROFILE_COLUMN_SIZE];

	if (f.symbol == FUNCTION_USER)
		snprintf(name, sizeof(name), "[user]");
	else if (f.symbol == FUNCTION_NONE)
		snprintf(name, sizeof(name), "[no symbol]");
	else
		function_of(symbols_name(symbols, f.symbol), name, sizeof(name));
	fprintf(out, f.level > 1 ? "%s=%s'%u\n" : "%s=%s\n", key, name, f.level);
}

static void callgrind_costs(FILE *out, uint64_t count, const uint64_t *phases)
{
	uint64_t total = 0;

	for (int ph = PH_OWN; ph < PH_MAX; ph++)
		total += phases[ph];
	fprintf(out, " %" PRIu64 " %" PRIu64, total, count);
	for (int ph = PH_OWN; ph < PH_MAX; ph++)
		fprintf(out, " %" PRIu64, phases[ph]);
	fputc('\n', out);
}

static void callgrind_spots(FILE *out, const struct spots *s)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct spot *spot = &s->at[i];

		if (!i || memcmp(&spot->function, &spot[-1].function, sizeof(spot->function)))
			put_function(out, "fn", s->symbols, spot->function);
		if (spot->call) {
			put_function(out, "cfn", s->symbols, spot->callee);
			fprintf(out, "calls=%" PRIu64 " 0x%08x\n", spot->count, spot->entry);
		}
		fprintf(out, "0x%08x", spot->address);
		callgrind_costs(out, spot->count, spot->phases);
	}
}

static int callgrind_paths(FILE *out, const struct profile_table *t)
{
	struct spots spots = { .symbols = t->symbols };
	int rc = profile_each_path(t->profile, add_path, &spots);

	if (!rc) {
		spots_merge(&spots);
		callgrind_spots(out, &spots);
	}
	free(spots.at);
	return rc;
}

static void callgrind_line(FILE *out, const char *function, const char *address, const struct profile_row *row)
{
	fprintf(out, "fn=%s\n0x%s", function, address);
	callgrind_costs(out, row->count, row->phases);
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
	fprintf(out, "\nsummary:");
	callgrind_costs(out, t->events, t->phases);
	fprintf(out, "\nob=guest\nfl=guest\n");
}

static void callgrind_sites(FILE *out, const struct profile_table *t)
{
	char function[PROFILE_COLUMN_SIZE];
	struct profile_id id;

	for (size_t i = 0; i < t->row_count; i++) {
		profile_row_id(t, &t->rows[i], &id);
		function_of(id.text[SITE_SYMBOL], function, sizeof(function));
		callgrind_line(out, function, id.text[SITE_ADDRESS], &t->rows[i]);
	}
}

int report_callgrind(FILE *out, const struct report *r)
{
	char function[PROFILE_COLUMN_SIZE];
	struct profile_id id;
	int rc = 0;

	callgrind_head(out, r);
	if (r->tables[0].by == BY_CALLER)
		rc = callgrind_paths(out, &r->tables[0]);
	else
		callgrind_sites(out, &r->tables[0]);
	for (size_t i = 0; i < r->tables[1].row_count; i++) {
		profile_row_id(&r->tables[1], &r->tables[1].rows[i], &id);
		snprintf(function, sizeof(function), "[%.40s]", id.text[INSN_KIND]);
		if (asynchronous(id.text[INSN_KIND]))
			callgrind_line(out, function, "0", &r->tables[1].rows[i]);
	}
	if (rc)
		return rc;
	return fflush(out) || ferror(out) ? -EIO : 0;
}
