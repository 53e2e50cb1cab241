/*
 * profile.h - what a trace says about cost: how often, where, how dear.
 *
 * An aggregation takes events one by one (from a trace through its cursor, or by hand) and keeps two things: a cell for each different
 * (kind, opcode, site, detail), and for every event eight bytes, its cell and its cost. So percentiles are exact, and ten million events
 * take 80 MB, twice that while they are sorted. Tables are then made from the cells: every table is one grouping of the same events.
 *
 * What is more than the event itself (the process, the event before, the time) is told by who feeds it (feed.h), and kept only by a profile of
 * that facet: a cell for each combination of everything would be a cell an event. A facet holds what changes together.
 *
 * It never runs a guest and never asks a clock: the same trace gives the same report.
 *
 * The cost of an event is what the VMM spent on it, in cycles of the recording host's time stamp counter: all phases from PH_OWN on.
 */
#ifndef RINGSIDE_PROFILER_PROFILE_H
#define RINGSIDE_PROFILER_PROFILE_H

#include "profiler/symbols.h"
#include "recorder/samples.h"
#include "recorder/trace.h"

struct profile;

/* What a profile tells events apart by. A grouping is made from a profile of its own facet. */
enum profile_facet {
	FACET_SITE, /* kind, opcode, address, and what it was about: port, vector, control register, MSR, leaf */
	FACET_CHAIN, /* the site, the one before when that was close, and the one at which the chain of close events began */
	FACET_PART, /* the guest's address space, kernel or user; equal parts of the run, by icount; the last marker */
	FACET_CALLER, /* the site and who called */
	FACET_MAX
};

/* What an event cost when it was measured again (recorder/samples.h), in cycles of the host that did it: over its samples the minimum,
 * the median, and the median's 95 % confidence interval by order statistics. As an array so that sums are made in a loop. */
enum profile_again { AGAIN_MIN, AGAIN_MEDIAN, AGAIN_LOW, AGAIN_HIGH, AGAIN_MAX };
extern const char *const profile_again_names[AGAIN_MAX];

/* What is known of an event beside itself. */
struct profile_context {
	uint64_t process;         /* the last value written to CR3; UINT64_MAX before the first */
	const struct event *prev; /* the synchronous event just before, when it was close; NULL otherwise */
	uint64_t head_rip; /* the first of the chain of close events that this one is in: itself when it is alone */
	uint16_t head_op;
	uint8_t head_kind;
	uint64_t length;       /* how manieth of the chain: 1, 2, ... */
	uint64_t cycles;       /* of the host, over all events before */
	uint32_t bucket;       /* of time */
	uint32_t segment;      /* between markers: 0 before the first, ... */
	uint32_t caller;       /* node of the tree of callers; 0 nobody */
	const uint32_t *again; /* AGAIN_MAX numbers; NULL: was not measured again */
};

/* FACET_SITE. On error *out is NULL. Free with profile_destroy (NULL is fine). */
int profile_create(struct profile **out, struct vm_error *err);
int profile_create_facet(struct profile **out, enum profile_facet facet, struct vm_error *err);
void profile_destroy(struct profile *p);

/* Take one event. Not after the first profile_table(). -ENOMEM, -E2BIG beyond 2^32 - 1 events. */
int profile_add(struct profile *p, const struct event *ev, const struct event_cost *cost);
/* The same, for a profile of any facet. */
int profile_add_context(struct profile *p, const struct event *ev, const struct event_cost *cost,
                        const struct profile_context *context);
/* What the VMM did because of the instruction at rip, not because of the outside or of itself. */
bool profile_synchronous(const struct event *ev);
/* Cost columns were missing or damaged for some of the events. */
void profile_costs_bad(struct profile *p);
/* For messages: what FACET_PART's buckets and segments are called. Borrowed; each gives a string that is valid until its next call. NULL:
 * numbers. */
void profile_name_parts(struct profile *p, const char *(*bucket)(void *self, uint32_t n),
                        const char *(*segment)(void *self, uint32_t n), void *self);
/* By site: what stands at an address, as text; false where that cannot be told. Borrowed; NULL: mnemonics alone. */
typedef bool profile_code_fn(void *self, uint64_t address, const char *expected, char *out, size_t size);
void profile_code(struct profile *p, profile_code_fn *code, void *self);
/* The tree that contexts' `caller` are nodes of. Borrowed: until the last table was looked at. */
void profile_callers(struct profile *p, const struct samples *callers);
/* Take a whole trace. progress may be NULL (0..1). */
int profile_read(struct profile *p, struct trace_reader *r, void (*progress)(void *self, double done), void *self,
                 struct vm_error *err);

/* Sums over all events, in cycles. */
struct profile_totals {
	uint64_t events;
	uint64_t kinds[EV_KIND_MAX]; /* events of each kind */
	uint64_t phases[PH_MAX];
	uint64_t cost; /* all phases from PH_OWN on: what 100 % means in a table */
	bool costs_ok; /* the trace had cost columns for every event */
};
void profile_totals(const struct profile *p, struct profile_totals *out);

/* The groupings. */
enum profile_by {
	BY_INSN,
	BY_SITE,
	BY_SYMBOL,
	BY_PORT,
	BY_DEVICE,
	BY_VECTOR,
	BY_OPERAND,
	BY_PROCESS,
	BY_PAIR,
	BY_PAIRSITE,
	BY_CLUSTER,
	BY_TIME,
	BY_MARKER,
	BY_CALLER,
	BY_MAX
};
enum profile_facet profile_by_facet(enum profile_by by);
#define PROFILE_COLUMNS 4
#define PROFILE_COLUMN_SIZE 96

struct profile_row {
	uint32_t cell, order;                  /* for profile_row_id() and the sort */
	uint32_t min, p25, p50, p95, p99, max; /* nearest rank: the smallest cost that at least p % do not exceed */
	uint64_t count;
	uint64_t total, mean;    /* cycles */
	uint64_t phases[PH_MAX]; /* the same, apart; those before PH_OWN are 0 */
	/* pairs and clusters: how many of two events or more; the events in them after the first; the cycles those spent in getting
	 * to the VMM and finding out why (entry, decode), which one exit for all would save */
	uint64_t groups, followers, saved;
	uint64_t again[AGAIN_MAX]; /* means over the row's events */
};

/* Valid as long as the profile and the symbols it was made from. */
struct profile_table {
	const struct profile *profile;
	const struct symbols *symbols;
	enum profile_by by;
	const char *name;                     /* "insn", ... */
	const char *columns[PROFILE_COLUMNS]; /* names of the id columns, NULL after the last */
	struct profile_row *rows;             /* sorted; at most `limit` */
	size_t row_count;
	size_t rows_left_out;              /* by the limit */
	uint64_t count, total;             /* over all rows, those left out too */
	bool grouped;                      /* the next three mean something */
	uint64_t groups, followers, saved; /* the same */
	bool again;                        /* so do the rows' `again`: every event was measured again */
};

/* Sorted by key, largest first ("id": by what the rows are). NULL when there is no such key or grouping of that name. */
struct profile_sort;
const struct profile_sort *profile_sort_find(const char *name);
extern const char profile_sort_names[]; /* for messages: "time, count, ..." */
int profile_by_find(const char *name);  /* enum profile_by or -1 */
const char *profile_by_name(enum profile_by by);
extern const char profile_by_names[];

/* symbols may be NULL; limit 0 = all rows. Free with profile_table_free. */
int profile_table(struct profile *p, enum profile_by by, const struct profile_sort *sort, size_t limit,
                  const struct symbols *symbols, struct profile_table *out, struct vm_error *err);
void profile_table_free(struct profile_table *t);

/*
 * The costs behind a grouping's rows. The row whose `order` is n has cost[first[n]] to cost[first[n + 1] - 1], ascending.
 * Free with profile_samples_free.
 */
struct profile_samples {
	uint32_t *cost;
	size_t *first;
};
int profile_samples(struct profile *p, enum profile_by by, const struct symbols *symbols, struct profile_samples *out,
                    struct vm_error *err);
void profile_samples_free(struct profile_samples *s);

/* What a row is: one string for each of the table's id columns, the others empty. */
struct profile_id {
	char text[PROFILE_COLUMNS][PROFILE_COLUMN_SIZE];
};
/* Of a row by caller: the return addresses, innermost first; how many. */
size_t profile_row_callers(const struct profile_table *t, const struct profile_row *row, uint32_t *addresses,
                           size_t room);
/* All events at one address for which the same functions had been called from the same places: finer than any table. */
struct profile_path {
	uint64_t address;
	bool user;
	uint64_t count;
	uint64_t phases[PH_MAX];
	const uint32_t *callers; /* return addresses, innermost first */
	size_t caller_count;
};
#define PROFILE_PATH_MAX 64 /* callers; those further out are left out */
/* Of a profile by caller, what profile_synchronous() is. Return nonzero to stop: it is passed back. */
typedef int profile_path_fn(void *self, const struct profile_path *path);
int profile_each_path(const struct profile *p, profile_path_fn *fn, void *self);
void profile_row_id(const struct profile_table *t, const struct profile_row *row, struct profile_id *out);

#endif
