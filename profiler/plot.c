/*
 * plot.c - a table, a series, a comparison as pictures (see plot.h).
 *
 * A table is two panels that share their rows, dearest at the top: left each row's share of the time outside the guest, right how its cost is spread, on
 * a logarithmic scale. On a terminal there is room for the left one.
 */
#include "profiler/plot.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/gnuplot.h"
#include "profiler/plot_internal.h"

#define PLOT_ROWS 16
#define ROW_HEIGHT 30
#define LABEL_MAX 52   /* characters of a row's name, with the 0 at its end */
#define LABEL_CHAR 7.6 /* how wide one is, about */

static const char *const kind_names[PLOT_KINDS] = { "cost", "spread", "time", "heat" };
const char plot_kind_names[] = "cost, spread, time, heat";

bool plot_parse(const char *word, enum plot_kind *kind, const char **path)
{
	const char *equals = strchr(word, '='), *slash = strchr(word, '/');

	*kind = PLOT_COST;
	*path = word;
	if (!equals || (slash && slash < equals))
		return gnuplot_takes(word);
	for (int k = 0; k < PLOT_KINDS; k++)
		if (strlen(kind_names[k]) == (size_t)(equals - word) &&
		    !strncmp(kind_names[k], word, strlen(kind_names[k]))) {
			*kind = (enum plot_kind)k;
			*path = equals + 1;
			return gnuplot_takes(*path);
		}
	return false;
}

void plot_title(const struct report *r, const char *what, char *out, size_t size)
{
	const char *base = strrchr(r->path, '/');
	char clean[128];

	report_clean(clean, sizeof(clean), base ? base + 1 : r->path);
	snprintf(out, size, "%s: %s", clean, what);
}

static size_t plotted_rows(const struct profile_table *t)
{
	return t->row_count < PLOT_ROWS ? t->row_count : PLOT_ROWS;
}

/* The address of a site whose symbol comes next says nothing more. */
static bool says_nothing(const struct profile_table *t, const struct profile_id *id, int c)
{
	return !id->text[c][0] || !strcmp(id->text[c], "-") ||
	       (t->by == BY_SITE && c + 1 < PROFILE_COLUMNS && !strcmp(t->columns[c], "site") && id->text[c + 1][0]);
}

/* "in (pio)": the id columns that say something. */
void plot_row_label(const struct profile_table *t, const struct profile_row *row, char *out, size_t size)
{
	struct profile_id id;
	size_t used = 0;

	profile_row_id(t, row, &id);
	out[0] = 0;
	for (int c = 0; c < PROFILE_COLUMNS && used < size; c++)
		if (!says_nothing(t, &id, c))
			used += (size_t)snprintf(out + used, size - used, "%s%s", used ? "  " : "", id.text[c]);
}

/* A logarithmic axis has no 0. */
static uint32_t at_least_1(uint32_t n)
{
	return n ? n : 1;
}

/* Returns the length of the longest label. */
static size_t table_data(FILE *f, const struct profile_table *t)
{
	size_t rows = plotted_rows(t), longest = 0;
	char label[LABEL_MAX];

	fprintf(f, "# y label time_share count min p50 p95 p99 max (cycles)\n");
	for (size_t i = 0; i < rows; i++) {
		const struct profile_row *row = &t->rows[i];

		plot_row_label(t, row, label, sizeof(label));
		longest = strlen(label) > longest ? strlen(label) : longest;
		fprintf(f, "%zu ", rows - i);
		gnuplot_label(f, label);
		fprintf(f, " %.4f %" PRIu64 " %u %u %u %u %u\n", report_percent(row->total, t->total), row->count,
		        at_least_1(row->min), at_least_1(row->p50), at_least_1(row->p95), at_least_1(row->p99),
		        at_least_1(row->max));
	}
	return longest;
}

/* In percent; never 0, so that there is an axis. */
static double widest_share(const struct profile_table *t)
{
	uint64_t widest = 0;

	for (size_t i = 0; i < plotted_rows(t); i++)
		widest = t->rows[i].total > widest ? t->rows[i].total : widest;
	return widest ? report_percent(widest, t->total) : 1;
}

static void table_script_text(FILE *f, const char *title, const struct profile_table *t)
{
	fprintf(f, "set title ");
	gnuplot_quote(f, title);
	fprintf(f,
	        "\nunset key\nset border 1\nset tics nomirror\nset yrange [0.4:%zu.6]\nset xrange [0:%.4f]\n"
	        "set xlabel 'share of time, %% (number of events)'\n"
	        "plot data using (0):1:3:(0):ytic(2) with vectors nohead, \\\n"
	        "     '' using 3:1:(sprintf(' %%.1f%%%% (%%d)', $3, $4)) with labels left\n",
	        plotted_rows(t), widest_share(t) * 1.5);
}

/* Room for the longest label, as a part of the picture's width. */
static double label_room(size_t longest)
{
	double room = ((double)longest * LABEL_CHAR + 20) / PLOT_WIDTH;

	return room < 0.15 ? 0.15 : room;
}

static void table_script(FILE *f, const char *title, const struct report *r, const struct profile_table *t,
                         size_t height, size_t longest)
{
	size_t rows = plotted_rows(t);

	fprintf(f, "set multiplot title ");
	gnuplot_quote(f, title);
	fprintf(f,
	        " font ',15'\n"
	        "set label 1 '%" PRIu64 " events; model %s, sensitive %s; time is host cycles outside the guest'"
	        " at screen 0.5, screen 1 offset 0,-2.6 center textcolor '#666666'\n",
	        t->count, report_model_name(r->meta), report_policy_name(r->meta));
	fprintf(f,
	        "set tmargin at screen 1 - 85.0 / %zu\n"
	        "set bmargin at screen 75.0 / %zu\n"
	        "set border 1 lc '#888888'\nset tics nomirror scale 0.5 textcolor '#333333'\n"
	        "set grid xtics lc '#dddddd' lt 1\nset yrange [0.4:%zu.6]\n"
	        "set style fill solid 1.0 noborder\nunset key\n"
	        "set lmargin at screen %.3f\nset rmargin at screen 0.56\n"
	        "set xlabel 'share of time, %% (number of events)' textcolor '#333333'\nset xrange [0:%.4f]\n"
	        "plot data using (0):1:(0):3:($1-0.36):($1+0.36):ytic(2) with boxxyerror lc '#3b6ea5', \\\n"
	        "     '' using 3:1:(sprintf(' %%.1f%%%%  (%%d)', $3, $4)) with labels left textcolor '#333333'\n"
	        "unset label 1\nset lmargin at screen 0.60\nset rmargin at screen 0.97\n"
	        "set ytics scale 0\nset format y ''\nset logscale x\nset format x '%%.0s%%c'\nset xrange [*:*]\n"
	        "set xlabel 'cost of one event, cycles' textcolor '#333333'\n"
	        "set key at screen 0.97, screen 1 - 60.0 / %zu right vertical maxrows 1 width -2 samplen 1 textcolor "
	        "'#333333'\n"
	        "plot data using 5:1:($9-$5):(0) with vectors nohead lw 1 lc '#cccccc' title 'min - max', \\\n"
	        "     '' using 6:1:($8-$6):(0) with vectors nohead lw 4 lc '#a9c4e0' notitle, \\\n"
	        "     '' using 6:1 with points pt 7 ps 1.1 lc '#3b6ea5' title 'p50', \\\n"
	        "     '' using 7:1 with points pt 7 ps 1.0 lc '#e08e0b' title 'p95', \\\n"
	        "     '' using 8:1 with points pt 7 ps 0.9 lc '#b8322a' title 'p99'\n"
	        "unset multiplot\n",
	        height, height, rows, label_room(longest), widest_share(t) * 1.4, height);
}

static int plot_cost(const char *path, const struct report *r, const struct profile_table *t, struct vm_error *err)
{
	size_t height = 190 + ROW_HEIGHT * plotted_rows(t);
	struct gnuplot g;
	char title[256], what[64];
	size_t longest;
	int rc;

	if (!t->row_count)
		return vm_fail(err, -EINVAL, "%s: there is nothing to plot by %s", path, t->name);
	rc = gnuplot_begin(&g, path, PLOT_WIDTH, height, err);
	if (rc)
		return rc;
	snprintf(what, sizeof(what), "what each event cost, by %s", t->name);
	plot_title(r, what, title, sizeof(title));
	longest = table_data(g.data, t);
	if (g.text)
		table_script_text(g.script, title, t);
	else
		table_script(g.script, title, r, t, height, longest);
	return gnuplot_end(&g, err);
}

/* ---- how costs are spread --------------------------------------------------------------------------------------- */

#define SPREAD_ROWS 12
#define SPREAD_PER_OCTAVE 6
#define SPREAD_BINS (32 * SPREAD_PER_OCTAVE + 1)

/* How often each factor of 2^(1/6) was met, the most frequent being 1. A block a row. */
static void spread_row(FILE *f, const uint32_t *cost, size_t n)
{
	size_t bins[SPREAD_BINS] = { 0 }, most = 1, first = SPREAD_BINS, last = 0;

	for (size_t i = 0; i < n; i++) {
		size_t bin = (size_t)(log2((double)at_least_1(cost[i])) * SPREAD_PER_OCTAVE + 0.5);

		most = ++bins[bin] > most ? bins[bin] : most;
		first = bin < first ? bin : first;
		last = bin > last ? bin : last;
	}
	for (size_t bin = first; bin <= last; bin++)
		fprintf(f, "%.1f %.5f\n", exp2((double)bin / SPREAD_PER_OCTAVE), (double)bins[bin] / (double)most);
}

static size_t spread_data(FILE *f, const struct report *r)
{
	size_t rows = r->tables[0].row_count < SPREAD_ROWS ? r->tables[0].row_count : SPREAD_ROWS;

	fprintf(f, "# a block a row: cycles, how many events compared with the most frequent\n");
	for (size_t i = 0; i < rows; i++) {
		size_t order = r->tables[0].rows[i].order;

		spread_row(f, r->samples->cost + r->samples->first[order],
		           r->samples->first[order + 1] - r->samples->first[order]);
		fprintf(f, "\n\n");
	}
	return rows;
}

static int plot_spread(const char *path, const struct report *r, struct vm_error *err)
{
	char title[256], what[64], label[64];
	struct gnuplot g;
	size_t rows;
	int rc = r->tables[0].row_count
	                 ? 0
	                 : vm_fail(err, -EINVAL, "%s: there is nothing to plot by %s", path, r->tables[0].name);

	rc = rc ? rc : gnuplot_begin(&g, path, PLOT_WIDTH, 140 + 44 * SPREAD_ROWS, err);
	if (rc)
		return rc;
	rows = spread_data(g.data, r);
	snprintf(what, sizeof(what), "how the cost of each %s is spread", r->tables[0].name);
	plot_title(r, what, title, sizeof(title));
	fprintf(g.script, "set title ");
	gnuplot_quote(g.script, title);
	fprintf(g.script,
	        "\nset logscale x\nset format x '%%.0s%%c'\nset xlabel 'cost of one event, cycles'\nunset key\n"
	        "set border 1 lc '#888888'\nset tics nomirror scale 0.5 textcolor '#333333'\n"
	        "set style fill solid 0.8 noborder\nset ytics (");
	for (size_t i = 0; i < rows; i++) {
		plot_row_label(r->tables, &r->tables[0].rows[i], label, sizeof(label));
		fprintf(g.script, i ? ", " : "");
		gnuplot_quote(g.script, label);
		fprintf(g.script, " %zu", rows - i);
	}
	fprintf(g.script, ")\n%sset yrange [0.8:%zu]\nplot for [i=0:%zu] data index i using 1:(%zu - i + 0.9 * $2):(%zu - i) with %s\n",
	        g.text ? "" : "set grid xtics lc '#dddddd' lt 1\n", rows + 1, rows - 1, rows, rows,
	        g.text ? "lines" : "filledcurves lc '#3b6ea5'");
	return gnuplot_end(&g, err);
}

int plot(const char *path, enum plot_kind kind, const struct report *r, const struct profile_table *table,
         struct vm_error *err)
{
	switch (kind) {
	case PLOT_SPREAD: return plot_spread(path, r, err);
	case PLOT_TIME: return plot_time(path, r, err);
	case PLOT_HEAT: return plot_heat(path, r, err);
	default: return plot_cost(path, r, table, err);
	}
}

/* ---- a series ------------------------------------------------------------------------------------------------ */

#define SERIES_LABELS 30 /* on the axis; of more, every n-th */

static void series_data(FILE *f, const struct plot_series *s)
{
	size_t each = s->count / SERIES_LABELS + 1;

	fprintf(f, "# run p50 label after_the_step\n");
	for (size_t i = 0; i < s->count; i++) {
		char label[32];

		snprintf(label, sizeof(label), "%s", i % each ? "" : s->labels[i]);
		fprintf(f, "%zu %.0f ", i, s->values[i]);
		gnuplot_label(f, label);
		fprintf(f, " %d\n", s->step && i >= s->step);
	}
}

int plot_series(const char *path, const struct plot_series *s, struct vm_error *err)
{
	bool up = s->step && s->values[s->count - 1] > s->values[0];
	const char *color = up ? "#b8322a" : "#3f8f4f"; /* of what got worse, and better */
	struct gnuplot g;
	int rc = gnuplot_begin(&g, path, PLOT_WIDTH, 420, err);

	if (rc)
		return rc;
	series_data(g.data, s);
	fprintf(g.script, "set title ");
	gnuplot_quote(g.script, s->title);
	fprintf(g.script, "\nset border 3 lc '#888888'\nset tics nomirror scale 0.5 textcolor '#333333'\n"
	                  "set grid ytics lc '#dddddd' lt 1\nset xtics rotate by -40\nset ylabel 'p50, cycles'\n"
	                  "set yrange [0:*]\nset offsets 0.5, 0.5, graph 0.1, 0\nunset key\n");
	if (s->step)
		fprintf(g.script,
		        "set arrow 1 from %zu - 0.5, graph 0 to %zu - 0.5, graph 1 nohead lw 1.5 dt 2 lc '%s'\n",
		        s->step, s->step, color);
	fprintf(g.script,
	        "plot data using 1:2 with lines lc '#a9c4e0', \\\n"
	        "     '' using 1:($4 > 0.5 ? NaN : $2):xtic(3) with points pt 7 lc '#3b6ea5', \\\n"
	        "     '' using 1:($4 > 0.5 ? $2 : NaN) with points pt 7 lc '%s'\n",
	        color);
	return gnuplot_end(&g, err);
}

/* ---- a comparison ---------------------------------------------------------------------------------------------- */

#define COMPARE_ROWS 24

/* Rows whose costs were compared: those that changed first, by how much; then the dearest. */
static int compare_changes(const void *a, const void *b)
{
	const struct compare_row *x = *(const struct compare_row *const *)a, *y = *(const struct compare_row *const *)b;
	bool told_x = x->cost >= COST_FASTER, told_y = y->cost >= COST_FASTER;

	if (told_x != told_y)
		return told_x ? -1 : 1;
	if (told_x && fabs(x->change) != fabs(y->change))
		return fabs(x->change) < fabs(y->change) ? 1 : -1;
	return (x > y) - (x < y);
}

static size_t pick_changes(const struct compare *c, const struct compare_row **out)
{
	size_t n = 0;

	for (size_t i = 0; i < c->row_count; i++)
		if (c->rows[i].cost >= COST_UNSURE)
			out[n++] = &c->rows[i];
	qsort(out, n, sizeof(const struct compare_row *), compare_changes);
	return n < COMPARE_ROWS ? n : COMPARE_ROWS;
}

static void compare_data(FILE *f, const struct compare *c, const struct compare_row *const *rows, size_t n)
{
	fprintf(f, "# y label change_percent verdict (0 cannot be told, 1 faster, 2 slower) base_p50 new_p50\n");
	for (size_t i = 0; i < n; i++) {
		char label[COMPARE_NAME_SIZE + 32];

		snprintf(label, sizeof(label), "%.40s  %s", rows[i]->name, rows[i]->by);
		fprintf(f, "%zu ", n - i);
		gnuplot_label(f, label);
		fprintf(f, " %.2f %d %u %u\n", rows[i]->change * 100,
		        rows[i]->cost == COST_SLOWER   ? 2
		        : rows[i]->cost == COST_FASTER ? 1
		                                       : 0,
		        rows[i]->p50[0], rows[i]->p50[1]);
	}
	(void)c;
}

static void compare_script(const struct gnuplot *g, const struct compare *c, size_t n)
{
	fprintf(g->script, "set title 'median cost, new against base: %s%s'\n", compare_verdict_name(c->verdict),
	        c->confirmed ? "" : " (costs are not confirmed: too few recordings)");
	fprintf(g->script, "set border 1 lc '#888888'\nset tics nomirror scale 0.5 textcolor '#333333'\n"
	                   "set grid xtics lc '#dddddd' lt 1\nset style fill solid 1.0 noborder\n"
	                   "set xlabel 'change of the median, %%'\n");
	fprintf(g->script, "set xzeroaxis\nset arrow 1 from 0, graph 0 to 0, graph 1 nohead lc '#666666'\nset yrange [0.4:%zu.6]\n",
	        n);
	if (g->text) {
		fprintf(g->script, "unset key\nplot data using (0):1:3:(0):ytic(2) with vectors nohead\n");
		return;
	}
	fprintf(g->script, "set key outside top right horizontal\n");
	fprintf(g->script,
	        "plot data using ($4 == 0 ? 0 : NaN):1:(0):3:($1-0.36):($1+0.36):ytic(2) with boxxyerror lc '#b5b5b5' "
	        "title "
	        "'cannot be told', \\\n"
	        "     '' using ($4 == 1 ? 0 : NaN):1:(0):3:($1-0.36):($1+0.36):ytic(2) with boxxyerror lc '#3f8f4f' "
	        "title 'faster', "
	        "\\\n"
	        "     '' using ($4 == 2 ? 0 : NaN):1:(0):3:($1-0.36):($1+0.36):ytic(2) with boxxyerror lc '#b8322a' "
	        "title 'slower', "
	        "\\\n"
	        "     '' using (0):1:(sprintf($3 < 0 ? ' %%d -> %%d' : '%%d -> %%d ', $5, $6)) with labels left offset "
	        "0.5,0 textcolor '#555555' notitle\n");
}

int plot_compare(const char *path, const struct compare *c, struct vm_error *err)
{
	const struct compare_row **rows = calloc(c->row_count + 1, sizeof(const struct compare_row *));
	size_t n = rows ? pick_changes(c, rows) : 0;
	struct gnuplot g;
	int rc = rows ? 0 : vm_fail(err, -ENOMEM, "out of memory");

	if (!rc && !n)
		rc = vm_fail(err, -EINVAL, "%s: there are no costs to plot", path);
	rc = rc ? rc : gnuplot_begin(&g, path, PLOT_WIDTH, 150 + ROW_HEIGHT * n, err);
	if (!rc) {
		compare_data(g.data, c, rows, n);
		compare_script(&g, c, n);
		rc = gnuplot_end(&g, err);
	}
	free(rows);
	return rc;
}
