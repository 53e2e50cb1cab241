/*
 * report_json.c - the profile as JSON. The form is documented in profiler/JSON.md and stable: members are added, never changed.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/report.h"

#define JSON_VERSION 1

static void add_u64(cJSON *object, const char *name, uint64_t value)
{
	cJSON_AddNumberToObject(object, name, (double)value);
}

void report_add_text(struct cJSON *object, const char *name, const char *text)
{
	char clean[4096];

	report_clean(clean, sizeof(clean), text);
	cJSON_AddStringToObject(object, name, clean);
}

static void add_host_costs(cJSON *trace, const struct trace_meta *m)
{
	cJSON *list = cJSON_AddArrayToObject(trace, "host_costs");

	for (uint32_t i = 0; i < m->host_cost_count; i++) {
		cJSON *item = cJSON_CreateObject();

		cJSON_AddItemToArray(list, item);
		report_add_text(item, "name", m->host_costs[i].name);
		add_u64(item, "min", m->host_costs[i].min);
		add_u64(item, "median", m->host_costs[i].median);
		add_u64(item, "p95", m->host_costs[i].p95);
		add_u64(item, "samples", m->host_costs[i].samples);
	}
}

static void add_trace(cJSON *root, const struct report *r)
{
	cJSON *trace = cJSON_AddObjectToObject(root, "trace");
	const struct trace_meta *m = r->meta;
	char digest[20];

	snprintf(digest, sizeof(digest), "%016llx", (unsigned long long)m->digest);
	report_add_text(trace, "path", r->path);
	cJSON_AddStringToObject(trace, "digest", digest);
	report_add_text(trace, "writer", m->writer);
	report_add_text(trace, "engine", m->engine);
	cJSON_AddStringToObject(trace, "trap", vm_trap_name(m->config.trap));
	report_add_text(trace, "cpu_model", m->cpu_model);
	cJSON_AddStringToObject(trace, "model", report_model_name(m));
	cJSON_AddStringToObject(trace, "sensitive", report_policy_name(m));
	add_u64(trace, "memory", m->config.memory);
	report_add_text(trace, "command_line", m->command_line);
	cJSON_AddBoolToObject(trace, "complete", m->complete);
	add_u64(trace, "events", m->events);
	add_u64(trace, "icount", m->icount);
	add_u64(trace, "run_ns", m->run_ns);
	add_u64(trace, "pack_ns", m->pack_ns);
	add_u64(trace, "tsc_hz", m->tsc_hz);
	report_add_text(trace, "host", m->host);
	add_host_costs(trace, m);
}

static void add_counters(cJSON *root, const struct vm_counters *c)
{
	cJSON *counters = cJSON_AddObjectToObject(root, "counters");

	add_u64(counters, "faults", c->faults);
	add_u64(counters, "tlb_fills", c->tlb_fills);
	add_u64(counters, "tlb_flushes", c->tlb_flushes);
	add_u64(counters, "view_switches", c->view_switches);
	add_u64(counters, "traces_decoded", c->traces_decoded);
	add_u64(counters, "smc_invalidations", c->smc_invalidations);
	add_u64(counters, "leaks", c->leaks);
}

static void add_kinds(cJSON *root, const struct profile_totals *t)
{
	cJSON *kinds = cJSON_AddObjectToObject(root, "kinds");

	for (int kind = 1; kind < EV_KIND_MAX; kind++)
		add_u64(kinds, event_kind_name((enum event_kind)kind), t->kinds[kind]);
}

static void add_measuring(cJSON *root, const struct report *r)
{
	struct report_measuring m = report_measuring(r);
	cJSON *object;

	if (!m.cycles)
		return;
	object = cJSON_AddObjectToObject(root, "measuring");
	add_u64(object, "readings", m.readings);
	add_u64(object, "each", m.each);
	add_u64(object, "cycles", m.cycles);
	cJSON_AddNumberToObject(object, "share", m.share);
}

static void add_phases(cJSON *root, const struct report *r)
{
	cJSON *list = cJSON_AddArrayToObject(root, "phases");
	struct report_phase phases[REPORT_PHASES];
	uint64_t sum = report_phases(r, phases);

	for (int i = 0; i < REPORT_PHASES; i++) {
		cJSON *phase = cJSON_CreateObject();

		cJSON_AddItemToArray(list, phase);
		cJSON_AddStringToObject(phase, "phase", phases[i].key);
		add_u64(phase, "cycles", phases[i].cycles);
		cJSON_AddBoolToObject(phase, "event", i >= PH_OWN && i < PH_MAX);
		if (phases[i].note)
			cJSON_AddStringToObject(phase, "note", phases[i].note);
		cJSON_AddNumberToObject(phase, "share", report_percent(phases[i].cycles, sum));
		if (r->meta->tsc_hz)
			cJSON_AddNumberToObject(phase, "us", report_us(r, phases[i].cycles));
	}
	add_u64(root, "run_cycles", sum);
	add_measuring(root, r);
}

static cJSON *json_row(const struct report *r, const struct profile_table *t, const struct profile_row *row)
{
	cJSON *object = cJSON_CreateObject();
	struct profile_id id;
	cJSON *phases;

	profile_row_id(t, row, &id);
	for (int c = 0; c < PROFILE_COLUMNS && t->columns[c]; c++)
		report_add_text(object, t->columns[c], id.text[c]);
	add_u64(object, "count", row->count);
	cJSON_AddNumberToObject(object, "count_share", report_percent(row->count, t->count));
	cJSON_AddNumberToObject(object, "time_share", report_percent(row->total, t->total));
	add_u64(object, "min", row->min);
	add_u64(object, "p50", row->p50);
	add_u64(object, "p95", row->p95);
	add_u64(object, "p99", row->p99);
	add_u64(object, "max", row->max);
	add_u64(object, "mean", row->mean);
	add_u64(object, "total", row->total);
	if (r->meta->tsc_hz)
		cJSON_AddNumberToObject(object, "total_us", report_us(r, row->total));
	if (t->grouped) {
		add_u64(object, "groups", row->groups);
		add_u64(object, "followers", row->followers);
		add_u64(object, "saved", row->saved);
	}
	if (t->again) {
		cJSON *again = cJSON_AddObjectToObject(object, "again");

		for (int k = 0; k < AGAIN_MAX; k++)
			add_u64(again, profile_again_names[k], row->again[k]);
	}
	phases = cJSON_AddObjectToObject(object, "phases");
	for (int ph = PH_OWN; ph < PH_MAX; ph++)
		add_u64(phases, event_phase_name((enum event_phase)ph), row->phases[ph]);
	return object;
}

static void add_table(cJSON *list, const struct report *r, const struct profile_table *t)
{
	cJSON *table = cJSON_CreateObject();
	cJSON *rows;

	cJSON_AddItemToArray(list, table);
	cJSON_AddStringToObject(table, "by", t->name);
	add_u64(table, "count", t->count);
	add_u64(table, "total", t->total);
	add_u64(table, "rows_left_out", t->rows_left_out);
	if (t->grouped) {
		add_u64(table, "groups", t->groups);
		add_u64(table, "followers", t->followers);
		add_u64(table, "saved", t->saved);
	}
	rows = cJSON_AddArrayToObject(table, "rows");
	for (size_t i = 0; i < t->row_count; i++)
		cJSON_AddItemToArray(rows, json_row(r, t, &t->rows[i]));
}

static void add_again(cJSON *root, const struct samples_info *a)
{
	cJSON *again = cJSON_AddObjectToObject(root, "again");

	add_u64(again, "runs", a->runs);
	report_add_text(again, "engine", a->engine);
	report_add_text(again, "host", a->host);
	add_u64(again, "tsc_hz", a->tsc_hz);
	add_u64(again, "timed_ns", a->timed_ns);
	add_u64(again, "plain_ns", a->plain_ns);
	cJSON_AddNumberToObject(again, "overhead_percent", report_again_overhead(a));
	add_u64(again, "clock_cycles", a->clock_cycles);
}

int report_put_json(FILE *out, struct cJSON *root)
{
	char *text = cJSON_Print(root);

	cJSON_Delete(root);
	if (!text)
		return -ENOMEM;
	fprintf(out, "%s\n", text);
	free(text);
	return fflush(out) || ferror(out) ? -EIO : 0;
}

int report_json(FILE *out, const struct report *r)
{
	cJSON *root = cJSON_CreateObject();
	cJSON *tables;

	cJSON_AddStringToObject(root, "format", "ringside-profile");
	add_u64(root, "version", JSON_VERSION);
	add_trace(root, r);
	add_counters(root, &r->meta->counters);
	report_add_text(root, "selection", r->selection ? r->selection : "");
	add_u64(root, "selected_events", r->totals->events);
	add_u64(root, "selected_cost", r->totals->cost);
	cJSON_AddNumberToObject(root, "selected_share", report_selected_share(r));
	add_kinds(root, r->totals);
	cJSON_AddBoolToObject(root, "costs_ok", r->totals->costs_ok);
	if (r->again)
		add_again(root, r->again);
	if (r->again_note && *r->again_note)
		report_add_text(root, "again_note", r->again_note);
	add_phases(root, r);
	tables = cJSON_AddArrayToObject(root, "tables");
	for (size_t i = 0; i < r->table_count; i++)
		add_table(tables, r, &r->tables[i]);
	return report_put_json(out, root);
}
