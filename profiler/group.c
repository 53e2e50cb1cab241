/*
 * group.c - tables out of cells: which cells make a row, what the row is called, and its percentiles.
 *
 * A grouping is three functions: does it take the cell, the cell's 128-bit key, the row's strings. Cells with the same key are one row.
 * With the samples in ascending order of cost, one walk over them meets the samples of each row in ascending order too: the n-th one met
 * is the row's n-th smallest.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/names.h"
#include "profiler/profile_internal.h"
#include "vmm/bug.h"
#include "vmm/decode/insn.h"

#define CHAIN_SHOWN 5 /* callers in a table; stacks have all */

struct group_key {
	uint64_t high, low;
};

struct grouping {
	const char *name;
	enum profile_facet facet;
	const char *columns[PROFILE_COLUMNS];
	bool (*takes)(const struct cell_key *c);
	struct group_key (*key)(const struct cell_key *c, const struct symbols *symbols);
	void (*describe)(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id);
};

static const char *cell_kind(const struct cell_key *c)
{
	const char *name = event_kind_name((enum event_kind)c->kind);

	return name ? name : "unknown";
}

/* The instruction, or "-" where none is to blame. */
static const char *cell_insn(const struct cell_key *c)
{
	const char *name = c->op == OP_NONE ? NULL : op_name((enum op)c->op);

	return name ? name : "-";
}

__attribute__((format(printf, 3, 4))) static void set(struct profile_id *id, int column, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(id->text[column], PROFILE_COLUMN_SIZE, fmt, args);
	va_end(args);
}

static bool takes_all(const struct cell_key *c)
{
	(void)c;
	return true;
}

static bool takes_synchronous(const struct cell_key *c)
{
	return profile_synchronous(&(struct event){ .kind = c->kind });
}

static bool takes_device(const struct cell_key *c)
{
	return c->kind == EV_PIO || c->kind == EV_MMIO;
}

static bool takes_vector(const struct cell_key *c)
{
	return c->kind == EV_EXCEPTION || c->kind == EV_INTERRUPT;
}

static struct group_key key_insn(const struct cell_key *c, const struct symbols *symbols)
{
	(void)symbols;
	return (struct group_key){ c->kind, c->op };
}

static void describe_insn(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id)
{
	(void)symbols;
	set(id, 0, "%s", cell_insn(c));
	set(id, 1, "%s", cell_kind(c));
}

/* "name+0x12", "user" or "" */
static void describe_symbol_offset(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id,
                                   int column)
{
	uint64_t offset;
	long index;

	if (c->flags & CELL_USER) {
		set(id, column, "[user]");
		return;
	}
	index = symbols ? symbols_find(symbols, c->rip, &offset) : -1;
	if (index < 0)
		return;
	set(id, column, "%.80s+0x%llx", symbols_name(symbols, index), (unsigned long long)offset);
}

static struct group_key key_site(const struct cell_key *c, const struct symbols *symbols)
{
	(void)symbols;
	return (struct group_key){ c->rip, (uint64_t)(c->flags & CELL_USER) << 32 | (uint32_t)c->kind << 16 | c->op };
}

static void describe_site(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id)
{
	set(id, 0, "%08llx", (unsigned long long)c->rip);
	describe_symbol_offset(c, symbols, id, 1);
	set(id, 2, "%s", cell_insn(c));
	set(id, 3, "%s", cell_kind(c));
}

enum { SYMBOL_NONE = 0, SYMBOL_USER = 1, SYMBOL_FIRST = 2 };

static struct group_key key_symbol(const struct cell_key *c, const struct symbols *symbols)
{
	uint64_t offset;
	long index;

	if (c->flags & CELL_USER)
		return (struct group_key){ 0, SYMBOL_USER };
	index = symbols ? symbols_find(symbols, c->rip, &offset) : -1;
	return (struct group_key){ 0, index < 0 ? SYMBOL_NONE : SYMBOL_FIRST + (uint64_t)index };
}

static void describe_symbol(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id)
{
	uint64_t key = key_symbol(c, symbols).low;

	if (key >= SYMBOL_FIRST)
		set(id, 0, "%s", symbols_name(symbols, (long)(key - SYMBOL_FIRST)));
	else
		set(id, 0, "%s", key == SYMBOL_USER ? "[user]" : "[no symbol]");
}

static struct group_key key_port(const struct cell_key *c, const struct symbols *symbols)
{
	(void)symbols;
	return (struct group_key){ c->kind, (uint64_t)c->detail << 8 | (c->flags & CELL_WRITE) };
}

static void describe_port(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id)
{
	bool mmio = c->kind == EV_MMIO;

	(void)symbols;
	set(id, 0, mmio ? "%08llx" : "%03llx", (unsigned long long)c->detail << (mmio ? 12 : 0));
	set(id, 1, "%s", c->flags & CELL_WRITE ? "write" : "read");
	set(id, 2, "%s", mmio ? mmio_name(c->detail) : port_name((uint16_t)c->detail));
	set(id, 3, "%s", cell_kind(c));
}

#define MSR_TSC 0x10

static bool reads_time(const struct cell_key *c)
{
	return c->op == OP_RDTSC || ((c->op == OP_RDMSR || c->op == OP_WRMSR) && c->other == MSR_TSC);
}

/* Time comes from outside as a device's answer does. */
static bool takes_outside(const struct cell_key *c)
{
	return takes_device(c) || (c->kind == EV_FAULT && reads_time(c));
}

static const char *cell_device(const struct cell_key *c)
{
	if (!takes_device(c))
		return "time stamp counter";
	return c->kind == EV_MMIO ? mmio_device(c->detail) : port_device((uint16_t)c->detail);
}

/* By what it is called: sixteen letters tell all of them apart. */
static struct group_key key_device(const struct cell_key *c, const struct symbols *symbols)
{
	struct group_key key = { 0, 0 };
	const char *name = cell_device(c);

	(void)symbols;
	for (unsigned i = 0; i < 16 && name[i]; i++)
		*(i < 8 ? &key.high : &key.low) |= (uint64_t)(uint8_t)name[i] << (56 - 8 * (i % 8));
	return key;
}

static void describe_device(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id)
{
	(void)symbols;
	set(id, 0, "%s", cell_device(c));
}

static struct group_key key_vector(const struct cell_key *c, const struct symbols *symbols)
{
	(void)symbols;
	return (struct group_key){ c->kind, (uint64_t)c->detail << 8 | (c->flags & CELL_SOFT) };
}

static void describe_vector(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id)
{
	bool soft = c->flags & CELL_SOFT;

	(void)symbols;
	set(id, 0, "%02x", c->detail);
	set(id, 1, "%s", c->kind == EV_INTERRUPT ? "" : soft ? "int n" : exception_name((uint8_t)c->detail));
	set(id, 2, "%s", cell_kind(c));
}

/* ---- the other facets: a cell is what a row is, or nearly --------------------------------------------------------- */

static struct group_key key_operand(const struct cell_key *c, const struct symbols *symbols)
{
	(void)symbols;
	return (struct group_key){ (uint64_t)c->kind << 32 | (uint32_t)c->op << 8 | (c->flags & CELL_WRITE), c->other };
}

static void describe_operand(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id)
{
	unsigned long long n = c->other;

	(void)symbols;
	set(id, 0, "%s", cell_insn(c));
	set(id, 3, "%s", cell_kind(c));
	if (c->other == UINT64_MAX)
		return;
	switch (c->kind) {
	case EV_PIO:
		set(id, 1, "port %03llx", n);
		set(id, 2, "%s", port_name((uint16_t)n));
		return;
	case EV_MMIO:
		set(id, 1, "page %08llx", n << 12);
		set(id, 2, "%s", mmio_name((uint32_t)n));
		return;
	case EV_EXCEPTION:
	case EV_INTERRUPT:
		set(id, 1, "vector %02llx", n);
		set(id, 2, "%s", c->kind == EV_EXCEPTION ? exception_name((uint8_t)n) : "");
		return;
	default: break;
	}
	set(id, 1,
	    c->op == OP_CPUID                            ? "leaf %llx"
	    : c->op == OP_RDMSR || c->op == OP_WRMSR     ? "msr %llx"
	    : c->op == OP_MOV_DR || c->op == OP_MOV_R_DR ? "dr%llx"
	                                                 : "cr%llx",
	    n);
}

static struct group_key key_process(const struct cell_key *c, const struct symbols *symbols)
{
	(void)symbols;
	return (struct group_key){ c->other, c->flags & CELL_USER };
}

static void describe_process(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id)
{
	(void)symbols;
	if (c->other == UINT64_MAX)
		set(id, 0, "-");
	else
		set(id, 0, "%08llx", (unsigned long long)c->other);
	set(id, 1, "%s", c->flags & CELL_USER ? "user" : "kernel");
}

static struct cell_key first_of(const struct cell_key *c)
{
	return (struct cell_key){ .rip = c->other, .op = c->other_op, .kind = c->other_kind };
}

static struct cell_key head_of(const struct cell_key *c)
{
	return (struct cell_key){ .rip = c->head, .op = c->head_op, .kind = c->head_kind };
}

static struct group_key key_pair(const struct cell_key *c, const struct symbols *symbols)
{
	(void)symbols;
	if (!(c->flags & CELL_FOLLOWS))
		return (struct group_key){ 0, 0 };
	return (struct group_key){ (uint64_t)c->other_kind << 16 | c->other_op, (uint64_t)c->kind << 16 | c->op };
}

static void describe_pair(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id)
{
	struct cell_key first = first_of(c);

	(void)symbols;
	if (!(c->flags & CELL_FOLLOWS)) {
		set(id, 0, "(not close)");
		return;
	}
	set(id, 0, "%s %s", cell_insn(&first), cell_kind(&first));
	set(id, 1, "%s %s", cell_insn(c), cell_kind(c));
}

static struct group_key key_pair_site(const struct cell_key *c, const struct symbols *symbols)
{
	(void)symbols;
	return (struct group_key){ c->other, c->rip };
}

/* "hlt default_idle+0x12", or the address where there is no symbol */
static void describe_place(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id, int column)
{
	uint64_t offset;
	long index = symbols && !(c->flags & CELL_USER) ? symbols_find(symbols, c->rip, &offset) : -1;

	if (index < 0)
		set(id, column, "%s %08llx", cell_insn(c), (unsigned long long)c->rip);
	else
		set(id, column, "%s %.64s+0x%llx", cell_insn(c), symbols_name(symbols, index),
		    (unsigned long long)offset);
}

static void describe_pair_site(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id)
{
	struct cell_key first = first_of(c);

	if (!(c->flags & CELL_FOLLOWS)) {
		set(id, 0, "(not close)");
		return;
	}
	describe_place(&first, symbols, id, 0);
	describe_place(c, symbols, id, 1);
}

static struct group_key key_cluster(const struct cell_key *c, const struct symbols *symbols)
{
	(void)symbols;
	return (struct group_key){ c->head, (uint64_t)c->head_kind << 16 | c->head_op };
}

static void describe_cluster(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id)
{
	struct cell_key head = head_of(c);

	describe_site(&head, symbols, id);
}

static struct group_key key_time(const struct cell_key *c, const struct symbols *symbols)
{
	(void)symbols;
	return (struct group_key){ 0, c->rip };
}

static void describe_time(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id)
{
	(void)symbols;
	set(id, 0, "%llu", (unsigned long long)c->rip);
}

static struct group_key key_marker(const struct cell_key *c, const struct symbols *symbols)
{
	(void)symbols;
	return (struct group_key){ 0, c->head };
}

static void describe_marker(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id)
{
	(void)symbols;
	set(id, 0, "%llu", (unsigned long long)c->head);
}

/* ---- callers: what a row is takes more than the cell --------------------------------------------------------------- */

static uint64_t symbol_number(const struct symbols *symbols, uint64_t address)
{
	uint64_t offset;
	long index = symbols ? symbols_find(symbols, address, &offset) : -1;

	return index < 0 ? address : (uint64_t)index + (1ull << 33);
}

/* The same functions all the way up, wherever in them the calls were. */
static struct group_key key_callers(const struct profile *p, const struct cell_key *c, const struct symbols *symbols)
{
	uint64_t up = symbol_number(symbols, c->rip);
	uint32_t node = (uint32_t)c->other;

	while (node) {
		uint32_t parent, address = samples_node(p->callers, node, &parent);

		up = (up ^ symbol_number(symbols, address)) * 0x9e3779b97f4a7c15ull;
		node = parent;
	}
	return (struct group_key){ up, (uint64_t)(c->flags & CELL_USER) << 32 | (uint32_t)c->kind << 16 | c->op };
}

static void describe_function(const struct symbols *symbols, uint64_t address, char *out, size_t size)
{
	uint64_t offset;
	long index = symbols ? symbols_find(symbols, address, &offset) : -1;

	if (index < 0)
		snprintf(out, size, "%08llx", (unsigned long long)address);
	else
		snprintf(out, size, "%.64s", symbols_name(symbols, index));
}

static void describe_caller(const struct cell_key *c, const struct symbols *symbols, struct profile_id *id)
{
	if (c->flags & CELL_USER)
		set(id, 0, "[user]");
	else
		describe_function(symbols, c->rip, id->text[0], PROFILE_COLUMN_SIZE);
	set(id, 2, "%s", cell_insn(c));
	set(id, 3, "%s", cell_kind(c));
}

static const struct grouping groupings[BY_MAX] = {
	[BY_INSN] = { "insn", FACET_SITE, { "insn", "kind" }, takes_all, key_insn, describe_insn },
	[BY_SITE] = { "site", FACET_SITE, { "site", "symbol", "insn", "kind" }, takes_synchronous, key_site, describe_site },
	[BY_SYMBOL] = { "symbol", FACET_SITE, { "symbol" }, takes_synchronous, key_symbol, describe_symbol },
	[BY_PORT] = { "port", FACET_SITE, { "port", "direction", "name", "kind" }, takes_device, key_port, describe_port },
	[BY_DEVICE] = { "device", FACET_SITE, { "device" }, takes_outside, key_device, describe_device },
	[BY_VECTOR] = { "vector", FACET_SITE, { "vector", "name", "kind" }, takes_vector, key_vector, describe_vector },
	[BY_OPERAND] = { "operand", FACET_SITE, { "insn", "operand", "name", "kind" }, takes_all, key_operand, describe_operand },
	[BY_PROCESS] = { "process", FACET_PART, { "cr3", "mode" }, takes_all, key_process, describe_process },
	[BY_PAIR] = { "pair", FACET_CHAIN, { "first", "second" }, takes_all, key_pair, describe_pair },
	[BY_PAIRSITE] = { "pairsite", FACET_CHAIN, { "first", "second" }, takes_all, key_pair_site, describe_pair_site },
	[BY_CLUSTER] = { "cluster", FACET_CHAIN, { "site", "symbol", "insn", "kind" }, takes_all, key_cluster, describe_cluster },
	[BY_TIME] = { "time", FACET_PART, { "part", "icount" }, takes_all, key_time, describe_time },
	[BY_CALLER] = { "caller",
	                FACET_CALLER,
	                { "function", "called from", "insn", "kind" },
	                takes_synchronous,
	                key_site,
	                describe_caller },
	[BY_MARKER] = { "marker", FACET_PART, { "part", "after" }, takes_all, key_marker, describe_marker },
};
const char profile_by_names[] =
        "insn, site, symbol, port, device, vector, operand, process, pair, pairsite, cluster, time, marker, caller";

enum profile_facet profile_by_facet(enum profile_by by)
{
	return groupings[by].facet;
}

int profile_by_find(const char *name)
{
	for (int by = 0; by < BY_MAX; by++)
		if (!strcmp(groupings[by].name, name))
			return by;
	return -1;
}

const char *profile_by_name(enum profile_by by)
{
	return groupings[by].name;
}

static size_t cell_callers(const struct profile *p, const struct cell *c, uint32_t *addresses, size_t room)
{
	uint32_t node = p->callers ? (uint32_t)c->key.other : 0;
	size_t n = 0;

	while (node && n < room)
		addresses[n++] = samples_node(p->callers, node, &node);
	return n;
}

size_t profile_row_callers(const struct profile_table *t, const struct profile_row *row, uint32_t *addresses, size_t room)
{
	return cell_callers(t->profile, &t->profile->cells[row->cell], addresses, room);
}

int profile_each_path(const struct profile *p, profile_path_fn *fn, void *self)
{
	int rc = 0;

	BUG_ON(p->facet != FACET_CALLER);
	for (size_t i = 0; !rc && i < p->cell_count; i++) {
		const struct cell *c = &p->cells[i];
		uint32_t callers[PROFILE_PATH_MAX];
		struct profile_path path = {
			.address = c->key.rip, .user = c->key.flags & CELL_USER, .count = c->count, .callers = callers
		};

		if (!takes_synchronous(&c->key))
			continue;
		memcpy(path.phases, c->phases, sizeof(path.phases));
		path.caller_count = cell_callers(p, c, callers, PROFILE_PATH_MAX);
		rc = fn(self, &path);
	}
	return rc;
}

/* "a < b < c", as far as there is room. */
static void describe_chain(const struct profile_table *t, const struct profile_row *row, char *out, size_t size)
{
	uint32_t addresses[CHAIN_SHOWN];
	size_t n = profile_row_callers(t, row, addresses, CHAIN_SHOWN), used = 0;
	char name[72];

	for (size_t i = 0; i < n; i++) {
		describe_function(t->symbols, addresses[i], name, sizeof(name));
		if (used + strlen(name) + 4 >= size)
			break;
		used += (size_t)snprintf(out + used, size - used, "%s%s", i ? " < " : "", name);
	}
}

void profile_row_id(const struct profile_table *t, const struct profile_row *row, struct profile_id *out)
{
	const struct profile *p = t->profile;
	const struct cell_key *c = &p->cells[row->cell].key;

	memset(out, 0, sizeof(*out));
	groupings[t->by].describe(c, t->symbols, out);
	if (t->by == BY_SITE && p->code && !(c->flags & CELL_USER)) {
		char text[PROFILE_COLUMN_SIZE];

		if (p->code(p->code_self, c->rip, cell_insn(c), text, sizeof(text)))
			set(out, 2, "%s", text);
	}
	if (t->by == BY_CALLER)
		describe_chain(t, row, out->text[1], PROFILE_COLUMN_SIZE);
	if (t->by == BY_TIME && p->bucket_name)
		set(out, 1, "%s", p->bucket_name(p->names_self, (uint32_t)c->rip));
	if (t->by == BY_MARKER && p->segment_name)
		set(out, 1, "%s", p->segment_name(p->names_self, (uint32_t)c->head));
}

/* ---- order ------------------------------------------------------------------------------------------------- */

static int compare_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

/* Rows are made in the order of their keys, and stay so where the figures are equal: a report is reproducible. */
static int order_id(const void *a, const void *b)
{
	const struct profile_row *x = a, *y = b;

	return compare_u64(x->order, y->order);
}

/* Descending in the figure. */
#define ORDER(fn, figure)                                                                                              \
	static int fn(const void *a, const void *b)                                                                    \
	{                                                                                                              \
		const struct profile_row *x = a, *y = b;                                                               \
		int r = compare_u64(y->figure, x->figure);                                                             \
                                                                                                                       \
		return r ? r : order_id(a, b);                                                                         \
	}

ORDER(order_time, total)
ORDER(order_count, count)
ORDER(order_mean, mean)
ORDER(order_p50, p50)
ORDER(order_p95, p95)
ORDER(order_p99, p99)
ORDER(order_max, max)
ORDER(order_saved, saved)
ORDER(order_again, again[AGAIN_MEDIAN])

struct profile_sort {
	const char *name;
	int (*compare)(const void *a, const void *b);
};

static const struct profile_sort sorts[] = {
	{ "time", order_time },   { "count", order_count }, { "mean", order_mean }, { "p50", order_p50 },
	{ "p95", order_p95 },     { "p99", order_p99 },     { "max", order_max },   { "saved", order_saved },
	{ "again", order_again }, { "id", order_id },
};
const char profile_sort_names[] = "time, count, mean, p50, p95, p99, max, saved, again, id";

const struct profile_sort *profile_sort_find(const char *name)
{
	for (size_t i = 0; i < sizeof(sorts) / sizeof(*sorts); i++)
		if (!strcmp(sorts[i].name, name))
			return &sorts[i];
	return NULL;
}

/* ---- rows -------------------------------------------------------------------------------------------------- */

#define NO_ROW UINT32_MAX

struct keyed_cell {
	struct group_key key;
	uint32_t cell;
};

static int compare_keyed(const void *a, const void *b)
{
	const struct keyed_cell *x = a, *y = b;
	int r = compare_u64(x->key.high, y->key.high);

	r = r ? r : compare_u64(x->key.low, y->key.low);
	return r ? r : compare_u64(x->cell, y->cell);
}

static void add_followers(struct profile_row *row, bool chains, const struct cell *c)
{
	if (!(c->key.flags & CELL_FOLLOWS))
		return;
	row->groups += !chains || c->key.flags & CELL_SECOND ? c->count : 0;
	row->followers += c->count;
	row->saved += c->phases[PH_FAULT] + c->phases[PH_CALLOUT] + c->phases[PH_ENTRY];
}

/* row_of[cell] = its row's number or NO_ROW; Returns the number of rows, or -ENOMEM. */
static long make_rows(const struct profile *p, const struct grouping *g, const struct symbols *symbols,
                      uint32_t *row_of, struct profile_row **out)
{
	struct keyed_cell *keyed = calloc(p->cell_count + 1, sizeof(*keyed));
	struct profile_row *rows;
	size_t count = 0;
	long n = 0;

	if (!keyed)
		return -ENOMEM;
	for (uint32_t i = 0; i < p->cell_count; i++) {
		row_of[i] = NO_ROW;
		if (g->takes(&p->cells[i].key))
			keyed[count++] = (struct keyed_cell){ p->facet == FACET_CALLER && p->callers
				                                      ? key_callers(p, &p->cells[i].key, symbols)
				                                      : g->key(&p->cells[i].key, symbols),
				                              i };
	}
	qsort(keyed, count, sizeof(*keyed), compare_keyed);
	for (size_t i = 0; i < count; i++) {
		n += !i || memcmp(&keyed[i].key, &keyed[i - 1].key, sizeof(keyed->key));
		row_of[keyed[i].cell] = (uint32_t)n - 1;
	}
	rows = calloc((size_t)n + 1, sizeof(*rows));
	for (size_t i = 0; rows && i < count; i++) {
		const struct cell *c = &p->cells[keyed[i].cell];
		struct profile_row *row = &rows[row_of[keyed[i].cell]];

		if (!i || row_of[keyed[i].cell] != row_of[keyed[i - 1].cell])
			row->cell = keyed[i].cell;
		row->order = row_of[keyed[i].cell];
		row->count += c->count;
		for (int ph = PH_OWN; ph < PH_MAX; ph++)
			row->phases[ph] += c->phases[ph];
		for (int k = 0; k < AGAIN_MAX; k++)
			row->again[k] += c->again[k];
		if (p->facet == FACET_CHAIN)
			add_followers(row, g->key == key_cluster, c);
	}
	free(keyed);
	*out = rows;
	return rows ? n : -ENOMEM;
}

/* Nearest rank of a percentile among n samples: 1..n. */
static uint64_t rank(unsigned percent, uint64_t n)
{
	return (n * percent + 99) / 100;
}

/* Samples of a row come in ascending order; most are nobody's percentile. */
struct row_walk {
	uint64_t seen, stop; /* samples met, and the number of the next that is looked at */
};

/* The present sample is the seen-th smallest of its row, and that is one of 1, the ranks and the last. */
static void row_take(struct profile_row *row, uint32_t cost, struct row_walk *w)
{
	const uint64_t ranks[] = { rank(25, row->count), rank(50, row->count), rank(95, row->count),
		                   rank(99, row->count), row->count };
	uint32_t *const figures[] = { &row->p25, &row->p50, &row->p95, &row->p99, &row->max };

	if (w->seen == 1)
		row->min = cost;
	for (int i = 4; i >= 0; i--) {
		if (w->seen == ranks[i])
			*figures[i] = cost;
		if (w->seen < ranks[i])
			w->stop = ranks[i];
	}
}

static int fill_figures(const struct profile *p, const uint32_t *row_of, struct profile_row *rows, size_t row_count)
{
	struct row_walk *walk;

	BUG_ON(row_count >= NO_ROW);
	walk = calloc(row_count + 1, sizeof(*walk));
	if (!walk)
		return -ENOMEM;
	for (size_t i = 0; i < row_count; i++)
		walk[i].stop = 1;
	for (size_t i = 0; i < p->sample_count; i++) {
		uint32_t row = row_of[p->samples[i].cell];

		if (row != NO_ROW && ++walk[row].seen == walk[row].stop)
			row_take(&rows[row], p->samples[i].cost, &walk[row]);
	}
	free(walk);
	for (size_t i = 0; i < row_count; i++) {
		for (int ph = PH_OWN; ph < PH_MAX; ph++)
			rows[i].total += rows[i].phases[ph];
		rows[i].mean = rows[i].total / rows[i].count;
		for (int k = 0; k < AGAIN_MAX; k++)
			rows[i].again[k] /= rows[i].count;
	}
	return 0;
}

static int table_fill(struct profile *p, const struct grouping *g, const struct symbols *symbols,
                      struct profile_table *out)
{
	uint32_t *row_of = calloc(p->cell_count + 1, sizeof(*row_of));
	int r = row_of ? profile_sort_samples(p) : -ENOMEM;
	long n;

	if (r)
		goto out;
	n = make_rows(p, g, symbols, row_of, &out->rows);
	r = n < 0 ? (int)n : 0;
	if (r)
		goto out;
	out->row_count = (size_t)n;
	r = fill_figures(p, row_of, out->rows, out->row_count);
out:
	free(row_of);
	return r;
}

int profile_table(struct profile *p, enum profile_by by, const struct profile_sort *sort, size_t limit,
                  const struct symbols *symbols, struct profile_table *out, struct vm_error *err)
{
	const struct grouping *g = &groupings[by];
	int r;

	BUG_ON(g->facet != p->facet);
	memset(out, 0, sizeof(*out));
	out->profile = p;
	out->symbols = symbols;
	out->by = by;
	out->name = g->name;
	out->grouped = g->facet == FACET_CHAIN;
	out->again = p->sample_count && p->again == p->sample_count;
	memcpy(out->columns, g->columns, sizeof(out->columns));
	r = table_fill(p, g, symbols, out);
	if (r) {
		profile_table_free(out);
		return vm_fail(err, r, "profile: %s", strerror(-r));
	}
	for (size_t i = 0; i < out->row_count; i++) {
		out->count += out->rows[i].count;
		out->total += out->rows[i].total;
		out->groups += out->rows[i].groups;
		out->followers += out->rows[i].followers;
		out->saved += out->rows[i].saved;
	}
	qsort(out->rows, out->row_count, sizeof(*out->rows), sort->compare);
	if (limit && out->row_count > limit) {
		out->rows_left_out = out->row_count - limit;
		out->row_count = limit;
	}
	return 0;
}

void profile_table_free(struct profile_table *t)
{
	free(t->rows);
	t->rows = NULL;
	t->row_count = 0;
}

/* ---- samples ----------------------------------------------------------------------------------------------- */

static int samples_fill(const struct profile *p, const uint32_t *row_of, size_t rows, struct profile_samples *out)
{
	size_t *first = calloc(rows + 2, sizeof(*first));

	out->first = first;
	out->cost = malloc((p->sample_count + 1) * sizeof(*out->cost));
	if (!first || !out->cost)
		return -ENOMEM;
	/* first[n + 1] is where the next cost of row n goes; when all are placed it is the beginning of row n + 1 */
	for (size_t i = 0; i < p->sample_count; i++)
		if (row_of[p->samples[i].cell] != NO_ROW)
			first[row_of[p->samples[i].cell] + 1]++;
	for (size_t i = 1, sum = 0; i <= rows; i++) {
		size_t n = first[i];

		first[i] = sum;
		sum += n;
	}
	for (size_t i = 0; i < p->sample_count; i++) {
		uint32_t row = row_of[p->samples[i].cell];

		if (row != NO_ROW)
			out->cost[first[row + 1]++] = p->samples[i].cost;
	}
	return 0;
}

int profile_samples(struct profile *p, enum profile_by by, const struct symbols *symbols, struct profile_samples *out,
                    struct vm_error *err)
{
	uint32_t *row_of = calloc(p->cell_count + 1, sizeof(*row_of));
	struct profile_row *rows = NULL;
	int r;
	long n;

	BUG_ON(groupings[by].facet != p->facet);
	r = row_of ? profile_sort_samples(p) : -ENOMEM;
	memset(out, 0, sizeof(*out));
	n = r ? r : make_rows(p, &groupings[by], symbols, row_of, &rows);
	r = n < 0 ? (int)n : samples_fill(p, row_of, (size_t)n, out);
	free(rows);
	free(row_of);
	if (!r)
		return 0;
	profile_samples_free(out);
	return vm_fail(err, r, "profile: %s", strerror(-r));
}

void profile_samples_free(struct profile_samples *s)
{
	free(s->cost);
	free(s->first);
	memset(s, 0, sizeof(*s));
}
