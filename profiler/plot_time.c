/*
 * plot_time.c - pictures whose axis is the run: events by instruction as layers, sites as rows of a map. Markers stand across both.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "profiler/gnuplot.h"
#include "profiler/plot_internal.h"
#include "vmm/decode/insn.h"

#define TIME_HEIGHT 560
#define LAYERS 8
#define HEAT_ROWS 36
#define MARKS_MAX 40 /* more names than that across the run cannot be read */
#define MARK_LINES 400
#define MARK_CHARS 30

static void insn_label(const struct grid_row *row, char *out, size_t size)
{
	const char *op = row->op == OP_NONE ? NULL : op_name((enum op)row->op);
	const char *kind = event_kind_name((enum event_kind)row->kind);

	snprintf(out, size, "%s%s%s", op ? op : "", op ? " " : "", kind ? kind : "unknown");
}

static void site_label(const struct grid_row *row, const struct symbols *symbols, char *out, size_t size)
{
	const char *op = row->op == OP_NONE ? NULL : op_name((enum op)row->op);
	uint64_t offset;
	long index = symbols && !row->user ? symbols_find(symbols, row->rip, &offset) : -1;

	if (index < 0)
		snprintf(out, size, "%s%08llx  %s", row->user ? "user " : "", (unsigned long long)row->rip,
		         op ? op : "-");
	else
		snprintf(out, size, "%.40s+0x%llx  %s", symbols_name(symbols, index), (unsigned long long)offset,
		         op ? op : "-");
}

/* Without the time that a kernel begins its lines with. */
static void mark_label(const char *text, char out[MARK_CHARS + 1])
{
	const char *bracket = *text == '[' ? strchr(text, ']') : NULL;

	text = bracket ? bracket + 1 : text;
	report_clean(out, MARK_CHARS + 1, text + strspn(text, " "));
}

/* Every marker is a line across; those far enough from the one before have their names too. */
static void script_marks(const struct gnuplot *g, const struct report *r, const struct grid *grid, const char *color)
{
	double room = grid_part_end(grid, GRID_PARTS - 1) / MARKS_MAX, last = -room;
	char label[MARK_CHARS + 1];

	for (size_t i = 0; i < r->mark_count && i < MARK_LINES; i++) {
		double at = (double)r->marks[i].icount, x = at / 1e6;

		fprintf(g->script, "set arrow from %.4f, graph 0 to %.4f, graph 1 nohead front dt 3 lc '%s'\n", x, x,
		        color);
		if (g->text || at < last + room)
			continue;
		last = at;
		mark_label(r->marks[i].text, label);
		fprintf(g->script, "set label ");
		gnuplot_quote(g->script, label);
		fprintf(g->script,
		        " at %.4f, graph 1 rotate by 35 left offset 0,0.4 front font ',10' textcolor '#555555'\n", x);
	}
}

static void script_axis(const struct gnuplot *g, const struct report *r, const struct grid *grid, size_t height,
                        const char *what)
{
	char title[256];

	plot_title(r, what, title, sizeof(title));
	if (r->mark_count && !g->text) {
		fprintf(g->script, "set tmargin at screen 1 - 170.0 / %zu\nset label ", height);
		gnuplot_quote(g->script, title);
		fprintf(g->script, " at screen 0.5, screen 1 - 20.0 / %zu center font ',14'\n", height);
	} else {
		fprintf(g->script, "set title ");
		gnuplot_quote(g->script, title);
		fprintf(g->script, "\n");
	}
	fprintf(g->script,
	        "set xlabel 'million guest instructions'\nset xrange [0:%.4f]\nset border 3 lc '#888888'\n"
	        "set tics nomirror out scale 0.5 textcolor '#333333'\n",
	        grid_part_end(grid, GRID_PARTS - 1) / 1e6);
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

static void time_data(FILE *f, const struct grid *grid, const struct grid_row *const *rows, size_t n)
{
	const uint64_t *sums = grid_sums(grid);

	fprintf(f, "# million instructions, events of all layers up to this one: all, then each but the first less, "
	           "...\n");
	for (size_t part = 0; part < GRID_PARTS; part++) {
		uint64_t sum = sums[part];

		fprintf(f, "%.4f %" PRIu64, (grid_part_end(grid, part) - grid_part_end(grid, 0) / 2) / 1e6, sum);
		for (size_t i = 0; i < n; i++) {
			sum -= rows[i]->count[part];
			fprintf(f, " %" PRIu64, sum);
		}
		fputc('\n', f);
	}
}

static void time_script(const struct gnuplot *g, const struct grid_row *const *rows, size_t n)
{
	static const char *const colors[LAYERS] = { "#3b6ea5", "#e08e0b", "#3f8f4f", "#b8322a",
		                                    "#7d5ba6", "#4ba3a0", "#a9c4e0", "#c9a66b" };
	char label[64];

	fprintf(g->script, "set ylabel 'events in a %dth of the run'\nset yrange [0:*]\n", GRID_PARTS);
	if (g->text) {
		fprintf(g->script, "unset key\nplot data using 1:2 with impulses\n");
		return;
	}
	fprintf(g->script, "set key outside right top Left reverse samplen 1 textcolor '#333333'\nset style fill solid "
	                   "1.0 noborder\n");
	for (size_t i = 0; i < n; i++) {
		insn_label(rows[i], label, sizeof(label));
		fprintf(g->script, "%s using 1:%zu:%zu with filledcurves lc '%s' title ",
		        i ? ", \\\n     ''" : "plot data", i + 2, i + 3, colors[i]);
		gnuplot_quote(g->script, label);
	}
	fprintf(g->script, ", \\\n     '' using 1:%zu with filledcurves x1 lc '#cccccc' title 'all others'\n", n + 2);
}

int plot_time(const char *path, const struct report *r, struct vm_error *err)
{
	const struct grid_row *rows[LAYERS];
	size_t n = r->grids[GRID_INSN] ? grid_top(r->grids[GRID_INSN], rows, LAYERS) : 0;
	struct gnuplot g;
	int rc = n ? 0 : vm_fail(err, -EINVAL, "%s: there are no events to plot", path);

	rc = rc ? rc : gnuplot_begin(&g, path, PLOT_WIDTH, TIME_HEIGHT, err);
	if (rc)
		return rc;
	time_data(g.data, r->grids[GRID_INSN], rows, n);
	script_axis(&g, r, r->grids[GRID_INSN], TIME_HEIGHT, "events over the run");
	script_marks(&g, r, r->grids[GRID_INSN], "#444444");
	time_script(&g, rows, n);
	return gnuplot_end(&g, err);
}

/* ---- the map ------------------------------------------------------------------------------------------------------- */

static void heat_data(FILE *f, const struct grid_row *const *rows, size_t n)
{
	fprintf(f, "# a line a site, the one with the most events last: events in each part of the run\n");
	for (size_t i = n; i-- > 0;) {
		for (size_t part = 0; part < GRID_PARTS; part++)
			fprintf(f, "%u ", rows[i]->count[part]);
		fputc('\n', f);
	}
}

static void heat_script(const struct gnuplot *g, const struct report *r, const struct grid_row *const *rows, size_t n)
{
	double width = grid_part_end(r->grids[GRID_SITE], 0) / 1e6;
	char label[96];

	fprintf(g->script,
	        "set yrange [-0.5:%zu.5]\nset logscale cb\nset cblabel 'events in a %dth of the run'\nset border 1\n"
	        "set palette defined (0 '#e3edf7', 1 '#6f9fcf', 2 '#e08e0b', 3 '#b8322a')\nset ytics scale 0 font ',9' "
	        "(",
	        n - 1, GRID_PARTS);
	for (size_t i = 0; i < n; i++) {
		site_label(rows[i], r->symbols, label, sizeof(label));
		fprintf(g->script, i ? ", " : "");
		gnuplot_quote(g->script, label);
		fprintf(g->script, " %zu", n - 1 - i);
	}
	fprintf(g->script,
	        ")\nunset key\nplot data matrix using (($1 + 0.5) * %.6f):2:($3 > 0 ? $3 : NaN) with image\n", width);
}

int plot_heat(const char *path, const struct report *r, struct vm_error *err)
{
	const struct grid_row *rows[HEAT_ROWS];
	size_t n = r->grids[GRID_SITE] ? grid_top(r->grids[GRID_SITE], rows, HEAT_ROWS) : 0;
	size_t height = 240 + 18 * n;
	struct gnuplot g;
	int rc = n ? 0 : vm_fail(err, -EINVAL, "%s: there are no events to plot", path);

	if (!rc && !strcmp(path, "-"))
		rc = vm_fail(err, -EINVAL, "a map needs colours: write it to a .png or .svg");
	rc = rc ? rc : gnuplot_begin(&g, path, PLOT_WIDTH, height, err);
	if (rc)
		return rc;
	heat_data(g.data, rows, n);
	script_axis(&g, r, r->grids[GRID_SITE], height, "where and when: the sites with the most events");
	script_marks(&g, r, r->grids[GRID_SITE], "#888888");
	heat_script(&g, r, rows, n);
	return gnuplot_end(&g, err);
}
