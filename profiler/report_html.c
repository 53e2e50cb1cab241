/*
 * report_html.c - the report as one HTML file that needs nothing else: tables, plots as SVG inside, no script, no network. It is
 * well-formed XML too, so that it can be checked. Readable printed and on a phone: there a table's row is what it is about, a bar, and below it
 * each figure with its name; pictures scroll in their own box, no smaller than can be read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "profiler/plot.h"
#include "profiler/report.h"

static const char style[] =
        "body{font:15px/1.45 system-ui,sans-serif;color:#222;background:#fff;margin:0 "
        "auto;max-width:76rem;padding:1rem}\n"
        "h1{font-size:1.4rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2rem 0 .4rem}\n"
        ".box{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}\n"
        "th,td{padding:.15rem .6rem;text-align:right;white-space:nowrap;border-bottom:1px solid #e4e4e4}\n"
        "th{color:#555;font-weight:600;border-bottom:2px solid #bbb}\n"
        "th.id,td.id{text-align:left;font-family:ui-monospace,monospace;font-size:.9em}\n"
        "td.bar,td.line{background-repeat:no-repeat;background-size:var(--w) "
        "100%;background-image:linear-gradient(#cfe0f2,#cfe0f2)}\n"
        "td.line{display:none}.again{background:#f3f6ee}span.why{color:#555}span.why::before{content:\": \"}\n"
        ".note{background:#fff3d6;padding:.4rem .7rem}p.small{color:#555;font-size:.9em}\n"
        "figure{margin:1rem 0;overflow-x:auto}figure image{image-rendering:pixelated}figure "
        "svg{width:100%;height:auto}\n"
        "@media screen and (max-width:48rem){\n"
        "figure svg{width:56rem}figure::before{content:\"wider than the screen: scrolls sideways\";color:#555;"
        "font-size:.85em;position:sticky;left:0}\n"
        ".phases th,.phases td{padding:.15rem .25rem;font-size:.85rem}.phases "
        "td.id{white-space:normal}span.why{display:block}span.why::before{content:\"\"}\n"
        ".rows,.rows tbody{display:block}.rows tr:first-child{display:none}\n"
        ".rows tr{display:flex;flex-wrap:wrap;gap:0 .8rem;padding:.4rem 0;border-bottom:1px solid #e4e4e4}\n"
        ".rows td{border:0;padding:0;text-align:left}.rows td.id{white-space:normal;overflow-wrap:anywhere}\n"
        ".rows td.id:empty{display:none}.rows td.bar{background-image:none}.rows "
        "td.line{display:block;flex-basis:100%;height:.3rem}\n"
        ".rows td[data-is]::before{content:attr(data-is) \" \";color:#777}}\n"
        "@media print{body{font-size:10px;max-width:none}.box,figure{overflow:visible}"
        "th,td{padding:.05rem .3rem}\n"
        "h2{break-after:avoid}tr,figure{break-inside:avoid}}\n";

/* Text from traces and guests' symbol tables: nothing in it is markup. */
static void put(FILE *out, const char *text)
{
	char clean[4096];

	report_clean(clean, sizeof(clean), text);
	for (const char *s = clean; *s; s++)
		switch (*s) {
		case '<': fputs("&lt;", out); break;
		case '>': fputs("&gt;", out); break;
		case '&': fputs("&amp;", out); break;
		case '"': fputs("&quot;", out); break;
		default: fputc(*s, out);
		}
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void html_head(FILE *out, const struct report *r)
{
	const struct trace_meta *m = r->meta;

	fprintf(out, "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\"><head><meta "
	             "charset=\"utf-8\"/>\n"
	             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>");
	put(out, base_name(r->path));
	fprintf(out, ": cost</title>\n<style>\n%s</style></head>\n<body>\n<h1>What each fault of ", style);
	put(out, base_name(r->path));
	fprintf(out,
	        " cost</h1>\n<p>%" PRIu64 " instructions, %" PRIu64 " events, %.3f s; model %s, sensitive %s, engine ",
	        m->icount, m->events, (double)m->run_ns / 1e9, report_model_name(m), report_policy_name(m));
	put(out, m->engine);
	fprintf(out, ", host ");
	put(out, m->host);
	fprintf(out,
	        ", digest %016" PRIx64 "</p>\n<p>Paging: %" PRIu64 " TLB fills, %" PRIu64 " flushes, %" PRIu64
	        " view switches.</p>\n",
	        m->digest, m->counters.tlb_fills, m->counters.tlb_flushes, m->counters.view_switches);
	if (r->selection && *r->selection) {
		fprintf(out, "<p class=\"note\">Selected: ");
		put(out, r->selection);
		fprintf(out, ": %" PRIu64 " events of %" PRIu64 "; they cost %.2f %% of the run.</p>\n",
		        r->totals->events, r->total_events, report_selected_share(r));
	}
	if (!r->totals->costs_ok)
		fprintf(out,
		        "<p class=\"note\">Cost columns are absent or damaged: counts are exact, times are not.</p>\n");
	if (!m->complete)
		fprintf(out, "<p class=\"note\">The recorder was stopped before the guest's end.</p>\n");
}

static void html_measuring(FILE *out, const struct report *r)
{
	struct report_measuring m = report_measuring(r);

	if (m.cycles)
		fprintf(out,
		        "<p class=\"small\">Of it, measuring took %.2f %%: %" PRIu64
		        " readings of the cycle counter or more, %" PRIu64 " cycles each.</p>\n",
		        m.share, m.readings, m.each);
}

static void html_phases(FILE *out, const struct report *r)
{
	struct report_phase phases[REPORT_PHASES];
	uint64_t sum = report_phases(r, phases);

	fprintf(out, "<h2>Where the time went</h2>\n<div class=\"box\"><table class=\"phases\">\n<tr><th "
	             "class=\"id\">phase</th><th>cycles</th>"
	             "<th>share</th><th>ms</th></tr>\n");
	for (int i = 0; i < REPORT_PHASES; i++)
		fprintf(out,
		        "<tr><td class=\"id\">%s%s%s</span></td><td>%" PRIu64
		        "</td><td class=\"bar\" style=\"--w:%.1f%%\">%.2f %%</td><td>%.3f"
		        "</td></tr>\n",
		        phases[i].title, phases[i].note ? "<span class=\"why\">" : "<span>",
		        phases[i].note ? phases[i].note : "", phases[i].cycles, report_percent(phases[i].cycles, sum),
		        report_percent(phases[i].cycles, sum), report_us(r, phases[i].cycles) / 1e3);
	fprintf(out,
	        "<tr><th class=\"id\">total</th><th>%" PRIu64
	        "</th><th>100 %%</th><th>%.3f</th></tr>\n</table></div>\n",
	        sum, report_us(r, sum) / 1e3);
	html_measuring(out, r);
}

__attribute__((format(printf, 3, 4))) static void html_figure(FILE *out, const char *is, const char *fmt, ...)
{
	va_list args;

	fprintf(out, "<td data-is=\"%s\">", is);
	va_start(args, fmt);
	vfprintf(out, fmt, args);
	va_end(args);
	fprintf(out, "</td>");
}

static void html_cycles(FILE *out, const struct profile_row *row)
{
	const struct {
		const char *is;
		uint64_t cycles;
	} figures[] = { { "min", row->min }, { "p50", row->p50 }, { "p95", row->p95 },
		        { "p99", row->p99 }, { "max", row->max }, { "mean", row->mean } };

	for (size_t i = 0; i < sizeof(figures) / sizeof(*figures); i++)
		html_figure(out, figures[i].is, "%" PRIu64, figures[i].cycles);
}

static void html_row(FILE *out, const struct report *r, const struct profile_table *t, const struct profile_row *row)
{
	struct profile_id id;
	double share = report_percent(row->total, t->total);

	profile_row_id(t, row, &id);
	fprintf(out, "<tr>");
	for (int c = 0; c < PROFILE_COLUMNS && t->columns[c]; c++) {
		fprintf(out, "<td class=\"id\">");
		put(out, id.text[c]);
		fprintf(out, "</td>");
	}
	fprintf(out, "<td class=\"line\" style=\"--w:%.1f%%\"></td>", share);
	html_figure(out, "count", "%" PRIu64, row->count);
	html_figure(out, "of all", "%.2f %%", report_percent(row->count, t->count));
	fprintf(out, "<td class=\"bar\" data-is=\"time\" style=\"--w:%.1f%%\">%.2f %%</td>", share, share);
	html_cycles(out, row);
	html_figure(out, "total us", "%.1f", report_us(r, row->total));
	if (t->grouped) {
		html_figure(out, "groups", "%" PRIu64, row->groups);
		html_figure(out, "saved us", "%.1f", report_us(r, row->saved));
	}
	for (int k = 0; t->again && k < AGAIN_MAX; k++)
		fprintf(out, "<td class=\"again\" data-is=\"again %s\">%" PRIu64 "</td>", profile_again_names[k],
		        row->again[k]);
	fprintf(out, "</tr>\n");
}

static void html_table(FILE *out, const struct report *r, const struct profile_table *t)
{
	fprintf(out, "<h2>By %s</h2>\n<div class=\"box\"><table class=\"rows\">\n<tr>", t->name);
	for (int c = 0; c < PROFILE_COLUMNS && t->columns[c]; c++)
		fprintf(out, "<th class=\"id\">%s</th>", t->columns[c]);
	fprintf(out,
	        "<td "
	        "class=\"line\"></td><th>count</th><th></th><th>time</th><th>min</th><th>p50</th><th>p95</th><th>p99</"
	        "th><th>max</"
	        "th><th>mean</th>"
	        "<th>total us</th>%s%s</tr>\n",
	        t->grouped ? "<th>groups</th><th>saved us</th>" : "",
	        t->again ? "<th class=\"again\">min</th><th class=\"again\">median</th><th class=\"again\">low</th><th "
	                   "class=\"again\">high</th>"
	                 : "");
	for (size_t i = 0; i < t->row_count; i++)
		html_row(out, r, t, &t->rows[i]);
	fprintf(out, "</table></div>\n");
	if (t->rows_left_out)
		fprintf(out, "<p class=\"small\">and %zu more rows</p>\n", t->rows_left_out);
	if (t->grouped)
		fprintf(out,
		        "<p>One exit for each group: %" PRIu64
		        " exits fewer (%.1f %%); getting to the VMM for those is %.2f %% of the "
		        "time outside the guest.</p>\n",
		        t->followers, report_percent(t->followers, t->count), report_percent(t->saved, r->totals->cost));
}

/* gnuplot calls parts of every picture by the same names: here several pictures are one document, so the names get a number. */
static void put_svg(FILE *out, const char *svg, int number)
{
	static const char *const refs[] = { " id=\"", " id='", "href='#", "href=\"#", "url(#" };
	const char *s = strstr(svg, "<svg");

	while (s && *s) {
		size_t len = 0;

		for (size_t i = 0; i < sizeof(refs) / sizeof(*refs) && !len; i++)
			if (!strncmp(s, refs[i], strlen(refs[i])))
				len = strlen(refs[i]);
		if (len) {
			fprintf(out, "%.*sp%d-", (int)len, s, number);
			s += len;
		} else {
			fputc(*s++, out);
		}
	}
}

static char *read_whole(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;

	if (!f)
		return NULL;
	if (getdelim(&text, &size, 0, f) < 0) {
		free(text);
		text = NULL;
	}
	fclose(f);
	return text;
}

static void remove_plot(const char *dir, const char *path)
{
	char beside[4200];

	unlink(path);
	snprintf(beside, sizeof(beside), "%s.dat", path);
	unlink(beside);
	snprintf(beside, sizeof(beside), "%s.gp", path);
	unlink(beside);
	rmdir(dir);
}

struct pictures {
	FILE *out;
	const struct report *report;
	int number;
};

/* A picture made in a folder of its own that is gone afterwards. Without gnuplot the report says so and goes on. */
static void html_plot(struct pictures *p, enum plot_kind kind, const struct profile_table *t)
{
	char dir[] = "/tmp/ringside-plot.XXXXXX", path[64];
	struct vm_error err = { "" };
	char *svg = NULL;

	if (!mkdtemp(dir))
		return;
	snprintf(path, sizeof(path), "%s/plot.svg", dir);
	if (!plot(path, kind, p->report, t, &err))
		svg = read_whole(path);
	remove_plot(dir, path);
	if (svg) {
		fprintf(p->out, "<figure>");
		put_svg(p->out, svg, p->number++);
		fprintf(p->out, "</figure>\n");
	} else {
		fprintf(p->out, "<p class=\"note\">No plot: ");
		put(p->out, err.text);
		fprintf(p->out, "</p>\n");
	}
	free(svg);
}

/* What no table says. */
static void html_overview(struct pictures *p)
{
	const struct report *r = p->report;

	if (!r->totals->events)
		return;
	if (r->grids[GRID_INSN]) {
		fprintf(p->out, "<h2>When</h2>\n");
		html_plot(p, PLOT_TIME, NULL);
	}
	if (r->grids[GRID_SITE])
		html_plot(p, PLOT_HEAT, NULL);
	if (r->samples && r->totals->cost) {
		fprintf(p->out, "<h2>How costs are spread</h2>\n");
		html_plot(p, PLOT_SPREAD, NULL);
	}
}

static void html_again(FILE *out, const struct report *r)
{
	const struct samples_info *a = r->again;

	if (r->again_note && *r->again_note) {
		fprintf(out, "<p class=\"note\">What was measured again is left out: ");
		put(out, r->again_note);
		fprintf(out, "</p>\n");
	}
	if (!a)
		return;
	fprintf(out, "<p>Last four columns, shaded: measured again %" PRIu64 " times by replay (engine ", a->runs);
	put(out, a->engine);
	fprintf(out, ", ");
	put(out, a->host);
	fprintf(out,
	        "); of each event the minimum, the median and the median's 95 %% interval%s, averaged over the row's "
	        "events; without "
	        "devices and log. A replay that reads the clock takes %.1f %% more processor time than one that does "
	        "not.</p>\n",
	        a->runs < REPORT_AGAIN_ENOUGH ? " (here the range: the samples are few)" : "", report_again_overhead(a));
}

int report_html(FILE *out, const struct report *r)
{
	struct pictures pictures = { .out = out, .report = r };

	html_head(out, r);
	html_phases(out, r);
	html_again(out, r);
	html_overview(&pictures);
	for (size_t i = 0; i < r->table_count; i++) {
		if (r->tables[i].row_count && r->tables[i].total)
			html_plot(&pictures, PLOT_COST, &r->tables[i]);
		html_table(out, r, &r->tables[i]);
	}
	fprintf(out, "<p class=\"small\">Costs are cycles of the recording host outside the guest; counts are exact. "
	             "pN is the smallest "
	             "cost that N %% of a row's events do not exceed.</p>\n</body></html>\n");
	return fflush(out) || ferror(out) ? -EIO : 0;
}
