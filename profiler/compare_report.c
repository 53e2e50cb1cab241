/*
 * compare_report.c - a comparison as text for a terminal, Markdown for a pull request, JSON for a program (profiler/JSON.md).
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "profiler/compare.h"
#include "profiler/report.h"

#define JSON_VERSION 1

static const char *const side_names[2] = { "base", "new" };

static bool count_changed(const struct compare_row *row)
{
	return row->count[0] != row->count[1];
}

static bool cost_changed(const struct compare_row *row)
{
	return row->cost == COST_SLOWER || row->cost == COST_FASTER;
}

/* "+12.3 %" */
static const char *percent(double change, char out[32])
{
	snprintf(out, 32, "%+.1f%%", change * 100);
	return out;
}

static const char *count_change(const struct compare_row *row, char out[64])
{
	char relative[32];

	if (!row->count[0])
		snprintf(out, 64, "+%" PRIu64 " (new)", row->count[1]);
	else if (!row->count[1])
		snprintf(out, 64, "-%" PRIu64 " (gone)", row->count[0]);
	else
		snprintf(out, 64, "%+" PRId64 " (%s)", (int64_t)(row->count[1] - row->count[0]),
		         percent((double)row->count[1] / (double)row->count[0] - 1, relative));
	return out;
}

/* "546 +- 12": the half width of the median's interval */
static const char *median(const struct compare_row *row, int side, char out[48])
{
	uint32_t high = row->ci[side].high - row->p50[side], low = row->p50[side] - row->ci[side].low;

	snprintf(out, 48, "%u +- %u", row->p50[side], high > low ? high : low);
	return out;
}

static const char *correction_name(enum stats_correction c)
{
	return c == CORRECT_HOLM ? "Holm" : c == CORRECT_BH ? "Benjamini-Hochberg" : "none";
}

/* " all rows together slower", where that is so and counts */
static const char *together(const struct compare *c)
{
	if (!c->confirmed || c->options->ignore_alike)
		return "";
	return c->alike.cost == COST_SLOWER   ? ", and all rows together slower"
	       : c->alike.cost == COST_FASTER ? ", and all rows together faster"
	                                      : "";
}

/* One sentence. */
static void summary(const struct compare *c, char *out, size_t size)
{
	if (c->verdict == VERDICT_INCOMPARABLE)
		snprintf(out, size, "incomparable");
	else
		snprintf(out, size, "%s: counts %zu more, %zu fewer; costs %zu slower, %zu faster, of %zu compared%s%s",
		         compare_verdict_name(c->verdict), c->counts_more, c->counts_fewer, c->slower, c->faster,
		         c->tested, together(c),
		         c->confirmed || !c->costs_compared ? "" : " (too few recordings for a verdict)");
}

/* A line about what the rows of a recording have in common; false when there is nothing to say. */
static bool alike_line(const struct compare *c, char *out, size_t size)
{
	const struct compare_alike *a = &c->alike;
	double least = a->factor[0][0], most = least;
	char change[32];

	for (int s = 0; s < 2; s++)
		for (size_t i = 0; i < c->side[s]->run_count; i++) {
			least = a->factor[s][i] < least ? a->factor[s][i] : least;
			most = a->factor[s][i] > most ? a->factor[s][i] : most;
		}
	if (a->rows)
		snprintf(out, size,
		         "all rows alike: recordings cost %.2f to %.2f times the middling one, which is taken out; new "
		         "against base %s, p %.4f: %s%s",
		         least, most, percent(a->change, change), a->p, compare_cost_name(c, a->cost),
		         c->options->ignore_alike ? " (ignored)" : "");
	return a->rows;
}

/* Should this row's cost be shown? *left counts down for those that did not change. */
static bool show_cost(const struct compare_row *row, size_t limit, size_t *shown)
{
	if (row->cost == COST_NONE)
		return false;
	return cost_changed(row) || !limit || (*shown)++ < limit;
}

/* ---- text ---------------------------------------------------------------------------------------------------- */

static void text_side(FILE *out, const struct compare *c, int s)
{
	const struct compare_side *side = c->side[s];
	const struct trace_meta *m = side->runs[0].meta;

	fprintf(out, "%-5s %s", side_names[s], side->runs[0].path);
	if (side->run_count > 1)
		fprintf(out, " and %zu more", side->run_count - 1);
	fprintf(out, "\n      %" PRIu64 " events, %" PRIu64 " instructions, %s, model %s, digest %016" PRIx64 "\n",
	        m->events, m->icount, m->engine, report_model_name(m), m->digest);
}

static void text_counts(FILE *out, const struct compare *c)
{
	size_t changed = c->counts_more + c->counts_fewer;
	char change[64];

	fprintf(out, "\nCOUNTS  exact: ");
	if (!changed) {
		fprintf(out, "all %zu rows are equal%s\n", c->row_count,
		        c->same_digest ? ", and so are all events (one digest)" : "");
		return;
	}
	fprintf(out, "%zu of %zu rows changed\n%-8s %-44s %12s %12s  %s\n", changed, c->row_count, "BY", "ROW", "BASE",
	        "NEW", "CHANGE");
	for (size_t i = 0; i < c->row_count; i++)
		if (count_changed(&c->rows[i]))
			fprintf(out, "%-8s %-44s %12" PRIu64 " %12" PRIu64 "  %s\n", c->rows[i].by, c->rows[i].name,
			        c->rows[i].count[0], c->rows[i].count[1], count_change(&c->rows[i], change));
}

static void text_cost(FILE *out, const struct compare *c, const struct compare_row *row)
{
	char base[48], new_[48], change[32], p[32] = "";

	if (row->cost != COST_FEW)
		snprintf(p, sizeof(p), "%.4f", row->p);
	fprintf(out, "%-8s %-44s %10zu %16s %16s %8s %7s  %s\n", row->by, row->name, row->samples[0],
	        median(row, 0, base), median(row, 1, new_), percent(row->change, change), p,
	        compare_cost_name(c, row->cost));
}

static void text_costs(FILE *out, const struct compare *c, size_t limit)
{
	const struct compare_options *o = c->options;
	size_t shown = 0;
	char line[256];

	fprintf(out, "\nCOSTS   cycles; Mann-Whitney at %g over %zu rows (correction: %s), and %g %% or more\n",
	        o->alpha, c->tested, correction_name(o->correction), o->effect * 100);
	if (alike_line(c, line, sizeof(line)))
		fprintf(out, "        %s\n", line);
	fprintf(out, "%-8s %-44s %10s %16s %16s %8s %7s\n", "BY", "ROW", "SAMPLES", "BASE P50", "NEW P50", "CHANGE", "P");
	for (size_t i = 0; i < c->row_count; i++)
		if (show_cost(&c->rows[i], limit, &shown))
			text_cost(out, c, &c->rows[i]);
	if (limit && shown > limit)
		fprintf(out, "and %zu more rows whose cost did not change (--limit 0 shows all)\n", shown - limit);
}

int compare_text(FILE *out, const struct compare *c, size_t limit)
{
	char line[256];

	text_side(out, c, 0);
	text_side(out, c, 1);
	for (size_t i = 0; i < c->note_count; i++)
		fprintf(out, "NOTE  %s\n", c->notes[i]);
	if (c->verdict != VERDICT_INCOMPARABLE) {
		text_counts(out, c);
		if (c->costs_compared)
			text_costs(out, c, limit);
	}
	summary(c, line, sizeof(line));
	fprintf(out, "\n%s\n", line);
	return fflush(out) || ferror(out) ? -EIO : 0;
}

/* ---- Markdown ------------------------------------------------------------------------------------------------ */

/* Names come from guests' symbol tables: nothing in them may be markup. */
static void md_name(FILE *out, const char *text)
{
	fputc('`', out);
	for (; *text; text++)
		fputc(*text == '`' || *text == '|' ? '\'' : *text, out);
	fputc('`', out);
}

static void md_counts(FILE *out, const struct compare *c)
{
	char change[64];

	if (!(c->counts_more + c->counts_fewer)) {
		fprintf(out, "\nCounts: all %zu rows are equal.\n", c->row_count);
		return;
	}
	fprintf(out, "\n| counts by | row | base | new | change |\n| --- | --- | ---: | ---: | ---: |\n");
	for (size_t i = 0; i < c->row_count; i++) {
		const struct compare_row *row = &c->rows[i];

		if (!count_changed(row))
			continue;
		fprintf(out, "| %s | ", row->by);
		md_name(out, row->name);
		fprintf(out, " | %" PRIu64 " | %" PRIu64 " | %s |\n", row->count[0], row->count[1],
		        count_change(row, change));
	}
}

static void md_costs(FILE *out, const struct compare *c, size_t limit)
{
	char base[48], new_[48], change[32], line[256];
	size_t shown = 0;

	if (alike_line(c, line, sizeof(line)))
		fprintf(out, "\nCosts, %s\n", line);
	fprintf(out, "\n| cycles by | row | base p50 | new p50 | change | p | |\n"
	             "| --- | --- | ---: | ---: | ---: | ---: | --- |\n");
	for (size_t i = 0; i < c->row_count; i++) {
		const struct compare_row *row = &c->rows[i];

		if (!show_cost(row, limit, &shown))
			continue;
		fprintf(out, "| %s | ", row->by);
		md_name(out, row->name);
		fprintf(out, " | %s | %s | %s | %.4f | %s |\n", median(row, 0, base), median(row, 1, new_),
		        percent(row->change, change), row->p,
		        row->cost == COST_SLOWER && c->confirmed ? "**slower**" : compare_cost_name(c, row->cost));
	}
}

int compare_markdown(FILE *out, const struct compare *c, size_t limit)
{
	char line[256];

	summary(c, line, sizeof(line));
	fprintf(out, "**Cost of the guest's faults:** %s\n", line);
	if (c->note_count)
		fputc('\n', out);
	for (size_t i = 0; i < c->note_count; i++)
		fprintf(out, "- %s\n", c->notes[i]);
	if (c->verdict != VERDICT_INCOMPARABLE) {
		md_counts(out, c);
		if (c->costs_compared)
			md_costs(out, c, limit);
	}
	return fflush(out) || ferror(out) ? -EIO : 0;
}

/* ---- JSON ---------------------------------------------------------------------------------------------------- */

static void json_side(cJSON *root, const struct compare *c, int s)
{
	const struct compare_side *side = c->side[s];
	const struct trace_meta *m = side->runs[0].meta;
	cJSON *object = cJSON_AddObjectToObject(root, side_names[s]);
	cJSON *paths = cJSON_AddArrayToObject(object, "traces");
	char digest[20], clean[4096];

	for (size_t i = 0; i < side->run_count; i++) {
		report_clean(clean, sizeof(clean), side->runs[i].path);
		cJSON_AddItemToArray(paths, cJSON_CreateString(clean));
	}
	snprintf(digest, sizeof(digest), "%016" PRIx64, m->digest);
	cJSON_AddStringToObject(object, "digest", digest);
	report_add_text(object, "writer", m->writer);
	report_add_text(object, "engine", m->engine);
	report_add_text(object, "host", m->host);
	cJSON_AddStringToObject(object, "model", report_model_name(m));
	cJSON_AddNumberToObject(object, "events", (double)m->events);
	cJSON_AddNumberToObject(object, "icount", (double)m->icount);
}

static void json_options(cJSON *root, const struct compare *c)
{
	cJSON *object = cJSON_AddObjectToObject(root, "options");

	cJSON_AddNumberToObject(object, "alpha", c->options->alpha);
	cJSON_AddNumberToObject(object, "effect", c->options->effect);
	cJSON_AddStringToObject(object, "correction", correction_name(c->options->correction));
	cJSON_AddNumberToObject(object, "min_samples", (double)c->options->min_samples);
}

static cJSON *json_row(cJSON *list, const struct compare_row *row)
{
	cJSON *object = cJSON_CreateObject();

	cJSON_AddItemToArray(list, object);
	cJSON_AddStringToObject(object, "by", row->by);
	report_add_text(object, "row", row->name);
	return object;
}

static void json_counts(cJSON *root, const struct compare *c)
{
	cJSON *list = cJSON_AddArrayToObject(root, "counts");

	for (size_t i = 0; i < c->row_count; i++)
		if (count_changed(&c->rows[i])) {
			cJSON *row = json_row(list, &c->rows[i]);

			cJSON_AddNumberToObject(row, "base", (double)c->rows[i].count[0]);
			cJSON_AddNumberToObject(row, "new", (double)c->rows[i].count[1]);
		}
}

static void json_alike(cJSON *root, const struct compare *c)
{
	cJSON *object;

	if (!c->alike.rows)
		return;
	object = cJSON_AddObjectToObject(root, "alike");
	for (int s = 0; s < 2; s++)
		cJSON_AddItemToObject(object, side_names[s],
		                      cJSON_CreateDoubleArray(c->alike.factor[s], (int)c->side[s]->run_count));
	cJSON_AddNumberToObject(object, "change", c->alike.change);
	cJSON_AddNumberToObject(object, "p", c->alike.p);
	cJSON_AddStringToObject(object, "verdict", compare_cost_name(c, c->alike.cost));
	cJSON_AddBoolToObject(object, "ignored", c->options->ignore_alike);
}

static void json_costs(cJSON *root, const struct compare *c, size_t limit)
{
	cJSON *list = cJSON_AddArrayToObject(root, "costs");
	size_t shown = 0;

	for (size_t i = 0; i < c->row_count; i++) {
		const struct compare_row *from = &c->rows[i];
		cJSON *row;

		if (!show_cost(from, limit, &shown))
			continue;
		row = json_row(list, from);
		for (int s = 0; s < 2; s++) {
			cJSON *side = cJSON_AddObjectToObject(row, side_names[s]);

			cJSON_AddNumberToObject(side, "samples", (double)from->samples[s]);
			cJSON_AddNumberToObject(side, "p50", from->p50[s]);
			cJSON_AddNumberToObject(side, "low", from->ci[s].low);
			cJSON_AddNumberToObject(side, "high", from->ci[s].high);
		}
		cJSON_AddNumberToObject(row, "change", from->change);
		cJSON_AddNumberToObject(row, "p", from->p);
		cJSON_AddNumberToObject(row, "superiority", from->superiority);
		cJSON_AddStringToObject(row, "verdict", compare_cost_name(c, from->cost));
	}
}

int compare_json(FILE *out, const struct compare *c, size_t limit)
{
	cJSON *root = cJSON_CreateObject(), *notes;

	cJSON_AddStringToObject(root, "format", "ringside-compare");
	cJSON_AddNumberToObject(root, "version", JSON_VERSION);
	cJSON_AddStringToObject(root, "verdict", compare_verdict_name(c->verdict));
	json_side(root, c, 0);
	json_side(root, c, 1);
	json_options(root, c);
	notes = cJSON_AddArrayToObject(root, "notes");
	for (size_t i = 0; i < c->note_count; i++) {
		char clean[256];

		report_clean(clean, sizeof(clean), c->notes[i]);
		cJSON_AddItemToArray(notes, cJSON_CreateString(clean));
	}
	cJSON_AddBoolToObject(root, "same_digest", c->same_digest);
	cJSON_AddBoolToObject(root, "costs_compared", c->costs_compared);
	cJSON_AddBoolToObject(root, "costs_confirmed", c->confirmed);
	cJSON_AddNumberToObject(root, "rows", (double)c->row_count);
	json_counts(root, c);
	json_alike(root, c);
	json_costs(root, c, limit);
	return report_put_json(out, root);
}
