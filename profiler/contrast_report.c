/*
 * contrast_report.c - a contrast as text, JSON and a picture (see contrast.h).
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "profiler/contrast_internal.h"
#include "profiler/gnuplot.h"
#include "profiler/report.h"
#include "profiler/stats.h"

static const char *const by_names[] = { [CONTRAST_MODEL] = "model", [CONTRAST_TRAP] = "trap", [CONTRAST_ENGINE] = "engine" };

/* ---- lines that are one number a way ---- */

enum { FIGURES = 11 + PH_MAX };
struct figure {
	const char *key, *title;
	double value[CONTRAST_WAYS];
	bool ms; /* else a count */
};

static struct figure *add_figure(struct figure *f, size_t *n, const char *key, const char *title, bool ms)
{
	f[*n] = (struct figure){ .key = key, .title = title, .ms = ms };
	return &f[(*n)++];
}

static void fill_counts(const struct contrast *c, struct figure *f, size_t *n)
{
	struct figure *events = add_figure(f, n, "events", "events", false);
	struct figure *faults = add_figure(f, n, "faults", "emulated", false);
	struct figure *reflects = add_figure(f, n, "reflects", "reflected", false);
	struct figure *hard = add_figure(f, n, "hardfaults", "real faults of the host", false);
	struct figure *fills = add_figure(f, n, "tlb_fills", "TLB fills", false);
	struct figure *flushes = add_figure(f, n, "tlb_flushes", "TLB flushes", false);
	struct figure *views = add_figure(f, n, "view_switches", "view switches", false);

	for (unsigned w = 0; w < c->ways; w++) {
		const struct vm_counters *k = &c->way[w].meta.counters;

		events->value[w] = (double)c->totals[w].events / c->rounds;
		faults->value[w] = (double)k->faults;
		reflects->value[w] = (double)contrast_reflects(c, w);
		hard->value[w] = (double)c->way[w].hardfaults;
		fills->value[w] = (double)k->tlb_fills;
		flushes->value[w] = (double)k->tlb_flushes;
		views->value[w] = (double)k->view_switches;
	}
}

static double least(const double *ms, unsigned n)
{
	double value = ms[0];

	for (unsigned i = 1; i < n; i++)
		value = ms[i] < value ? ms[i] : value;
	return value;
}

static double median(const double *ms, unsigned n)
{
	double sorted[CONTRAST_ROUNDS_MAX];

	memcpy(sorted, ms, n * sizeof(*sorted));
	return stats_median(sorted, n);
}

static void fill_times(const struct contrast *c, struct figure *f, size_t *n)
{
	struct figure *cpu = add_figure(f, n, "median_cpu_ms", "processor time, median", true);
	struct figure *cpu_least = add_figure(f, n, "min_cpu_ms", "processor time, least", true);
	struct figure *wall = add_figure(f, n, "median_ms", "time, median", true);
	struct figure *wall_least = add_figure(f, n, "min_ms", "time, least", true);

	for (unsigned w = 0; w < c->ways; w++) {
		cpu->value[w] = median(c->way[w].cpu_ms, c->rounds);
		cpu_least->value[w] = least(c->way[w].cpu_ms, c->rounds);
		wall->value[w] = median(c->way[w].ms, c->rounds);
		wall_least->value[w] = least(c->way[w].ms, c->rounds);
	}
}

static size_t fill_figures(const struct contrast *c, struct figure f[FIGURES])
{
	size_t n = 0;

	fill_times(c, f, &n);
	fill_counts(c, f, &n);
	for (int ph = 0; ph < PH_MAX; ph++) {
		struct figure *phase = add_figure(f, &n, event_phase_name((enum event_phase)ph),
		                                  report_phase_title((enum event_phase)ph), true);

		for (unsigned w = 0; w < c->ways; w++)
			phase->value[w] = contrast_phase_ms(c, w, (enum event_phase)ph);
	}
	return n;
}

/* ---- text ---- */

static void text_figures(FILE *out, const struct contrast *c)
{
	struct figure f[FIGURES];
	size_t n = fill_figures(c, f);

	fprintf(out, "%-30s", "");
	for (unsigned w = 0; w < c->ways; w++)
		fprintf(out, " %16s", c->way[w].name);
	fputc('\n', out);
	for (size_t i = 0; i < n; i++) {
		fprintf(out, "%-30s", f[i].title);
		for (unsigned w = 0; w < c->ways; w++)
			fprintf(out, f[i].ms ? " %13.3f ms" : " %16.0f", f[i].value[w]);
		fputc('\n', out);
	}
}

static double ratio(const struct contrast *c, const struct contrast_row *row)
{
	uint32_t before = row->p50[c->ways - 2];

	return before ? (double)row->p50[c->ways - 1] / before : 0;
}

static void text_rows(FILE *out, const struct contrast *c, size_t limit)
{
	size_t n = limit && limit < c->row_count ? limit : c->row_count;

	fprintf(out,
	        "\nMedian cost of an event to the VMM, in cycles; the last column is %s against %s.\n%-14s %-10s %9s",
	        c->way[c->ways - 1].name, c->way[c->ways - 2].name, "INSN", "KIND", "COUNT");
	for (unsigned w = 0; w < c->ways; w++)
		fprintf(out, " %10s", c->way[w].name);
	fprintf(out, " %10s %7s\n", "PRICE", "RATIO");
	for (size_t i = 0; i < n; i++) {
		const struct contrast_row *row = &c->rows[i];

		fprintf(out, "%-14s %-10s %9" PRIu64, row->insn, row->kind, row->count[c->ways - 1]);
		for (unsigned w = 0; w < c->ways; w++)
			fprintf(out, " %10u", row->p50[w]);
		fprintf(out, " %+10" PRId64 " %6.2fx\n", (int64_t)row->p50[c->ways - 1] - row->p50[c->ways - 2],
		        ratio(c, row));
	}
	if (n < c->row_count)
		fprintf(out, "and %zu more rows (--rows 0 shows all)\n", c->row_count - n);
}

int contrast_text(FILE *out, const struct contrast *c, size_t limit)
{
	fprintf(out,
	        "%s: by %s, %u round%s each, interleaved; times are of recording it, layers the mean of the rounds\n",
	        c->guest, by_names[c->by], c->rounds, c->rounds == 1 ? "" : "s");
	if (c->by != CONTRAST_MODEL)
		fprintf(out, "digest %016" PRIx64 "%s\n", c->way[0].meta.digest,
		        c->same_digest ? ", the same in all: they did the same" : "; NOT the same in all");
	report_host_costs(out, &c->way[c->ways - 1].meta);
	fputc('\n', out);
	text_figures(out, c);
	text_rows(out, c, limit);
	fprintf(out, "\n%s\n", c->sentence);
	return fflush(out) || ferror(out) ? -EIO : 0;
}

/* ---- JSON ---- */

static void add_ways(cJSON *object, const char *name, const struct contrast *c, const double *values)
{
	cJSON *member = cJSON_AddObjectToObject(object, name);

	for (unsigned w = 0; w < c->ways; w++)
		cJSON_AddNumberToObject(member, c->way[w].name, values[w]);
}

static void json_rows(cJSON *root, const struct contrast *c, size_t limit)
{
	cJSON *list = cJSON_AddArrayToObject(root, "rows");
	size_t n = limit && limit < c->row_count ? limit : c->row_count;

	for (size_t i = 0; i < n; i++) {
		const struct contrast_row *row = &c->rows[i];
		double values[4][CONTRAST_WAYS];
		cJSON *item = cJSON_CreateObject();

		for (unsigned w = 0; w < c->ways; w++) {
			values[0][w] = (double)row->count[w];
			values[1][w] = row->min[w];
			values[2][w] = row->p50[w];
			values[3][w] = (double)row->mean[w];
		}
		cJSON_AddItemToArray(list, item);
		cJSON_AddStringToObject(item, "insn", row->insn);
		cJSON_AddStringToObject(item, "kind", row->kind);
		add_ways(item, "count", c, values[0]);
		add_ways(item, "min", c, values[1]);
		add_ways(item, "p50", c, values[2]);
		add_ways(item, "mean", c, values[3]);
	}
}

int contrast_json(FILE *out, const struct contrast *c, size_t limit)
{
	struct figure f[FIGURES];
	size_t n = fill_figures(c, f);
	cJSON *root = cJSON_CreateObject(), *figures;
	char digest[20];

	cJSON_AddStringToObject(root, "format", "ringside-contrast");
	cJSON_AddNumberToObject(root, "version", 1);
	cJSON_AddStringToObject(root, "guest", c->guest);
	cJSON_AddStringToObject(root, "by", by_names[c->by]);
	cJSON_AddNumberToObject(root, "rounds", c->rounds);
	cJSON_AddBoolToObject(root, "same_digest", c->same_digest);
	snprintf(digest, sizeof(digest), "%016" PRIx64, c->way[0].meta.digest);
	cJSON_AddStringToObject(root, "digest", digest);
	cJSON_AddNumberToObject(root, "tsc_hz", (double)c->way[0].meta.tsc_hz);
	figures = cJSON_AddObjectToObject(root, "figures");
	for (size_t i = 0; i < n; i++)
		add_ways(figures, f[i].key, c, f[i].value);
	json_rows(root, c, limit);
	cJSON_AddStringToObject(root, "sentence", c->sentence);
	return report_put_json(out, root);
}

/* ---- picture ---- */

#define PLOT_ROWS 20

int contrast_plot(const char *path, const struct contrast *c, struct vm_error *err)
{
	static const char *const colors[CONTRAST_WAYS] = { "#b5b5b5", "#3b6ea5", "#b8322a" };
	size_t n = c->row_count < PLOT_ROWS ? c->row_count : PLOT_ROWS;
	struct gnuplot g;
	int rc = n ? gnuplot_begin(&g, path, 1200, 150 + 34 * n, err)
	           : vm_fail(err, -EINVAL, "%s: there is nothing to plot", path);

	if (rc)
		return rc;
	fprintf(g.data, "# y label then the median cost in each way, cycles\n");
	for (size_t i = 0; i < n; i++) {
		char label[2 * PROFILE_COLUMN_SIZE + 2];

		snprintf(label, sizeof(label), "%s  %s", c->rows[i].insn, c->rows[i].kind);
		fprintf(g.data, "%zu ", n - i);
		gnuplot_label(g.data, label);
		for (unsigned w = 0; w < c->ways; w++)
			fprintf(g.data, " %u", c->rows[i].p50[w] ? c->rows[i].p50[w] : 1);
		fputc('\n', g.data);
	}
	fprintf(g.script,
	        "set title 'median cost of an event, by %s'\nset logscale x\nset format x '%%.0s%%c'\n"
	        "set xlabel 'cycles'\nset yrange [0.4:%zu.6]\nset key outside top right horizontal\n%splot ",
	        by_names[c->by], n, g.text ? "" : "set grid xtics ytics lc '#dddddd' lt 1\nset border 1 lc '#888888'\n");
	for (unsigned w = 0; w < c->ways; w++) {
		fprintf(g.script, "%s using %u:1:ytic(2) with points pt 7 ps 1.3 lc '%s' title ", w ? ", ''" : "data",
		        w + 3, colors[w]);
		gnuplot_quote(g.script, c->way[w].name);
	}
	fputc('\n', g.script);
	return gnuplot_end(&g, err);
}
