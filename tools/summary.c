/*
 * summary.c - the closing line of a live run, as text or JSON (see session.h).
 */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/session.h"

static double mips(const struct session_result *r)
{
	return r->wall_ns ? (double)r->counters.icount * 1e3 / (double)r->wall_ns : 0;
}

static void print_text(const struct session_summary *s)
{
	const struct session_result *r = s->result;
	char code[32] = "";

	if (r->stop.reason == STOP_DEBUG_EXIT)
		snprintf(code, sizeof(code), " %" PRIu64, r->stop.code);
	fprintf(stderr, "ringside: %s%s%s%s; %" PRIu64 " instructions, %" PRIu64 " faults", vm_stop_name(r->stop.reason),
	        code, *r->stop.message ? ": " : "", r->stop.message, r->counters.icount, r->counters.faults);
	if (s->paused)
		fprintf(stderr, "\n");
	else
		fprintf(stderr, ", %.3f s, %.1f MIPS\n", (double)r->wall_ns / 1e9, mips(r));
	if (s->meta)
		fprintf(stderr, "ringside: %s: %" PRIu64 " events, %.2f bytes an event, digest %016" PRIx64 "\n",
		        s->trace_path, s->meta->events,
		        s->meta->events ? (double)s->meta->event_bytes / (double)s->meta->events : 0, s->meta->digest);
	if (r->comparisons)
		fprintf(stderr, "ringside: lockstep: the engines agreed in %" PRIu64 " comparisons\n", r->comparisons);
	if (r->has_perf) {
		fprintf(stderr, "ringside: host counters of the vCPU's thread, by layer:\n");
		perf_print(stderr, &r->perf);
	}
}

static void json_counters(cJSON *root, const struct vm_counters *c)
{
	cJSON_AddNumberToObject(root, "icount", (double)c->icount);
	cJSON_AddNumberToObject(root, "faults", (double)c->faults);
	cJSON_AddNumberToObject(root, "tlb_fills", (double)c->tlb_fills);
	cJSON_AddNumberToObject(root, "tlb_flushes", (double)c->tlb_flushes);
	cJSON_AddNumberToObject(root, "view_switches", (double)c->view_switches);
	cJSON_AddNumberToObject(root, "leaks", (double)c->leaks);
	cJSON_AddNumberToObject(root, "hardfaults", (double)c->hardfaults);
}

static void json_perf(cJSON *root, const struct perf *p)
{
	cJSON *list = cJSON_AddArrayToObject(root, "perf");

	for (int i = 0; i < PERF_COUNTERS; i++) {
		const struct perf_counter *c = &p->counters[i];
		cJSON *item = cJSON_CreateObject();

		cJSON_AddItemToArray(list, item);
		cJSON_AddStringToObject(item, "name", c->name);
		cJSON_AddStringToObject(item, "source", c->source ? c->source : "unavailable");
		if (!c->source) {
			cJSON_AddStringToObject(item, "why", c->why);
			continue;
		}
		cJSON_AddNumberToObject(item, "value", (double)c->value);
		for (int k = 0; k < PERF_LAYERS; k++)
			cJSON_AddNumberToObject(item, perf_layer_names[k], (double)c->layer[k]);
		cJSON_AddBoolToObject(item, "user_read", c->user_read);
	}
	cJSON_AddNumberToObject(root, "perf_reads", (double)p->reads);
	cJSON_AddNumberToObject(root, "perf_read_ns", (double)p->read_ns);
}

static void json_trace(cJSON *root, const struct session_summary *s)
{
	cJSON *trace = cJSON_AddObjectToObject(root, "trace");
	char digest[20];

	snprintf(digest, sizeof(digest), "%016" PRIx64, s->meta->digest);
	cJSON_AddStringToObject(trace, "path", s->trace_path);
	cJSON_AddNumberToObject(trace, "events", (double)s->meta->events);
	cJSON_AddNumberToObject(trace, "event_bytes", (double)s->meta->event_bytes);
	cJSON_AddNumberToObject(trace, "cost_bytes", (double)s->meta->cost_bytes);
	cJSON_AddBoolToObject(trace, "complete", s->meta->complete);
	cJSON_AddNumberToObject(trace, "pack_ns", (double)s->meta->pack_ns);
	cJSON_AddStringToObject(trace, "digest", digest);
}

static void print_json(const struct session_summary *s)
{
	const struct session_result *r = s->result;
	cJSON *root = cJSON_CreateObject();
	char *text;

	cJSON_AddStringToObject(root, "format", "ringside-run");
	cJSON_AddNumberToObject(root, "version", 1);
	cJSON_AddStringToObject(root, "reason", vm_stop_name(r->stop.reason));
	cJSON_AddStringToObject(root, "message", r->stop.message);
	cJSON_AddNumberToObject(root, "code", (double)r->stop.code);
	cJSON_AddNumberToObject(root, "wall_ns", (double)r->wall_ns);
	cJSON_AddNumberToObject(root, "cpu_ns", (double)r->cpu_ns);
	cJSON_AddNumberToObject(root, "mips", mips(r));
	json_counters(root, &r->counters);
	if (r->comparisons)
		cJSON_AddNumberToObject(root, "comparisons", (double)r->comparisons);
	if (s->meta)
		json_trace(root, s);
	if (r->has_perf)
		json_perf(root, &r->perf);
	text = cJSON_PrintUnformatted(root);
	fprintf(stderr, "%s\n", text ? text : "{}");
	free(text);
	cJSON_Delete(root);
}

void session_print(const struct session_summary *s, bool json)
{
	(json ? print_json : print_text)(s);
}
