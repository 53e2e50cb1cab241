/*
 * plot.c - data file, script, gnuplot (see plot.h).
 *
 * Two panels share their rows, dearest at the top: left each row's share of the time outside the guest, right how its cost is spread, on a logarithmic
 * scale. The data file and the script stay, so that a person can change the picture without the trace.
 */
#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "profiler/plot.h"

extern char **environ;

#define PLOT_ROWS 16
#define PLOT_WIDTH 1200
#define ROW_HEIGHT 30

static const struct {
	const char *ending, *terminal;
} formats[] = {
	{ ".png", "pngcairo noenhanced font 'DejaVu Sans,11'" },
	{ ".svg", "svg noenhanced font 'DejaVu Sans,13' background '#ffffff'" },
};

static const char *terminal_of(const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		size_t ending = strlen(formats[i].ending);

		if (len > ending && !strcmp(path + len - ending, formats[i].ending))
			return formats[i].terminal;
	}
	return NULL;
}

/* Open PATH + suffix for writing. */
static FILE *open_beside(const char *path, const char *suffix, struct vm_error *err)
{
	char name[4096];
	FILE *f;

	if (snprintf(name, sizeof(name), "%s%s", path, suffix) >= (int)sizeof(name)) {
		vm_fail(err, -ENAMETOOLONG, "%s: name too long", path);
		return NULL;
	}
	f = fopen(name, "w");
	if (!f)
		vm_fail(err, -errno, "%s: %s", name, strerror(errno));
	return f;
}

static int close_checked(FILE *f, const char *path, struct vm_error *err)
{
	bool bad = ferror(f);

	if (fclose(f) || bad)
		return vm_fail(err, -EIO, "%s: could not be written", path);
	return 0;
}

static size_t plotted_rows(const struct profile_table *t)
{
	return t->row_count < PLOT_ROWS ? t->row_count : PLOT_ROWS;
}

/* "in (pio)": the id columns that say something. */
static void row_label(const struct profile_table *t, const struct profile_row *row, char *out, size_t size)
{
	struct profile_id id;
	size_t used = 0;

	profile_row_id(t, row, &id);
	out[0] = 0;
	for (int c = 0; c < PROFILE_COLUMNS && used < size; c++)
		if (id.text[c][0] && strcmp(id.text[c], "-"))
			used += (size_t)snprintf(out + used, size - used, "%s%s", used ? "  " : "", id.text[c]);
	for (char *s = out; *s; s++)
		if (*s == '"' || *s == '\\')
			*s = '\'';
}

static int write_data(const char *path, const struct profile_table *t, struct vm_error *err)
{
	size_t rows = plotted_rows(t);
	FILE *f = open_beside(path, ".dat", err);
	char label[64];

	if (!f)
		return -EIO;
	fprintf(f, "# y label time_share count min p50 p95 p99 max (cycles)\n");
	for (size_t i = 0; i < rows; i++) {
		const struct profile_row *row = &t->rows[i];

		row_label(t, row, label, sizeof(label));
		fprintf(f, "%zu \"%s\" %.4f %" PRIu64 " %u %u %u %u %u\n", rows - i, label,
		        report_percent(row->total, t->total), row->count, row->min ? row->min : 1,
		        row->p50 ? row->p50 : 1, row->p95 ? row->p95 : 1, row->p99 ? row->p99 : 1,
		        row->max ? row->max : 1);
	}
	return close_checked(f, path, err);
}

/* A gnuplot string: single quotes, doubled inside. */
static void quoted(FILE *f, const char *text)
{
	fputc('\'', f);
	for (; *text; text++) {
		if (*text == '\'')
			fputc('\'', f);
		fputc(*text, f);
	}
	fputc('\'', f);
}

static void script_head(FILE *f, const char *path, const struct report *r, const struct profile_table *t, size_t rows)
{
	const char *base = strrchr(r->path, '/');
	char title[256], clean[128];

	report_clean(clean, sizeof(clean), base ? base + 1 : r->path);
	snprintf(title, sizeof(title), "%s: what each event cost, by %s", clean, t->name);
	fprintf(f, "set terminal %s size %d,%zu\nset output ", terminal_of(path), PLOT_WIDTH, 190 + ROW_HEIGHT * rows);
	quoted(f, path);
	fprintf(f, "\ndata = ");
	quoted(f, path);
	fprintf(f, ".'.dat'\nset multiplot title ");
	quoted(f, title);
	fprintf(f,
	        " font ',15'\n"
	        "set label 1 '%" PRIu64 " events; model %s, sensitive %s; time is host cycles outside the guest'"
	        " at screen 0.5, screen 1 offset 0,-2.6 center textcolor '#666666'\n",
	        t->count, report_model_name(r->meta), report_policy_name(r->meta));
}

/* In percent; never 0, so that there is an axis. */
static double widest_share(const struct profile_table *t)
{
	uint64_t widest = 0;

	for (size_t i = 0; i < plotted_rows(t); i++)
		widest = t->rows[i].total > widest ? t->rows[i].total : widest;
	return widest ? report_percent(widest, t->total) : 1;
}

static int write_script(const char *path, const struct report *r, const struct profile_table *t, struct vm_error *err)
{
	size_t rows = plotted_rows(t);
	FILE *f = open_beside(path, ".gp", err);

	if (!f)
		return -EIO;
	script_head(f, path, r, t, rows);
	fprintf(f,
	        "set tmargin at screen 1 - 85.0 / %zu\n"
	        "set bmargin at screen 75.0 / %zu\n"
	        "set border 1 lc '#888888'\nset tics nomirror scale 0.5 textcolor '#333333'\n"
	        "set grid xtics lc '#dddddd' lt 1\nset yrange [0.4:%zu.6]\n"
	        "set style fill solid 1.0 noborder\nunset key\n"
	        "set lmargin at screen 0.22\nset rmargin at screen 0.56\n"
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
	        190 + ROW_HEIGHT * rows, 190 + ROW_HEIGHT * rows, rows, widest_share(t) * 1.4, 190 + ROW_HEIGHT * rows);
	return close_checked(f, path, err);
}

static int run_gnuplot(const char *path, struct vm_error *err)
{
	char script[4096];
	char *argv[] = { (char *)"gnuplot", script, NULL };
	int status, r;
	pid_t pid;

	snprintf(script, sizeof(script), "%s.gp", path);
	r = posix_spawnp(&pid, "gnuplot", NULL, NULL, argv, environ);
	if (r)
		return vm_fail(err, -r, "gnuplot: %s; install it, or run it on %s later", strerror(r), script);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return vm_fail(err, -errno, "gnuplot: %s", strerror(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return vm_fail(err, -EIO, "gnuplot failed on %s", script);
	return 0;
}

int plot_table(const char *path, const struct report *r, const struct profile_table *t, struct vm_error *err)
{
	int rc;

	if (!terminal_of(path))
		return vm_fail(err, -EINVAL, "%s: a plot ends in .png or .svg", path);
	if (!t->row_count)
		return vm_fail(err, -EINVAL, "%s: there is nothing to plot by %s", path, t->name);
	rc = write_data(path, t, err);
	if (!rc)
		rc = write_script(path, r, t, err);
	return rc ? rc : run_gnuplot(path, err);
}

/* ---- a series ------------------------------------------------------------------------------------------------ */

#define SERIES_LABELS 30 /* on the axis; of more, every n-th */

static int write_series(const char *path, const struct plot_series *s, struct vm_error *err)
{
	size_t each = s->count / SERIES_LABELS + 1;
	FILE *f = open_beside(path, ".dat", err);

	if (!f)
		return -EIO;
	fprintf(f, "# run p50 label after_the_step\n");
	for (size_t i = 0; i < s->count; i++) {
		char label[32];

		snprintf(label, sizeof(label), "%s", i % each ? "" : s->labels[i]);
		for (char *c = label; *c; c++)
			if (*c == '"' || *c == '\\')
				*c = '\'';
		fprintf(f, "%zu %.0f \"%s\" %d\n", i, s->values[i], label, s->step && i >= s->step);
	}
	return close_checked(f, path, err);
}

static int script_series(const char *path, const struct plot_series *s, struct vm_error *err)
{
	FILE *f = open_beside(path, ".gp", err);

	if (!f)
		return -EIO;
	fprintf(f, "set terminal %s size %d,420\nset output ", terminal_of(path), PLOT_WIDTH);
	quoted(f, path);
	fprintf(f, "\ndata = ");
	quoted(f, path);
	fprintf(f, ".'.dat'\nset title ");
	quoted(f, s->title);
	fprintf(f, "\nset border 3 lc '#888888'\nset tics nomirror scale 0.5 textcolor '#333333'\n"
	           "set grid ytics lc '#dddddd' lt 1\nset xtics rotate by -40\nset ylabel 'p50, cycles'\n"
	           "set yrange [0:*]\nset offsets 0.5, 0.5, graph 0.1, 0\nunset key\n");
	if (s->step)
		fprintf(f, "set arrow 1 from %zu - 0.5, graph 0 to %zu - 0.5, graph 1 nohead lw 1.5 dt 2 lc '#b8322a'\n",
		        s->step, s->step);
	fprintf(f, "plot data using 1:2 with lines lc '#a9c4e0', \\\n"
	           "     '' using 1:($4 > 0.5 ? NaN : $2):xtic(3) with points pt 7 lc '#3b6ea5', \\\n"
	           "     '' using 1:($4 > 0.5 ? $2 : NaN) with points pt 7 lc '#b8322a'\n");
	return close_checked(f, path, err);
}

int plot_series(const char *path, const struct plot_series *series, struct vm_error *err)
{
	int rc;

	if (!terminal_of(path))
		return vm_fail(err, -EINVAL, "%s: a plot ends in .png or .svg", path);
	rc = write_series(path, series, err);
	rc = rc ? rc : script_series(path, series, err);
	return rc ? rc : run_gnuplot(path, err);
}
