/*
 * gnuplot.c - see gnuplot.h.
 */
#include "profiler/gnuplot.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

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

bool gnuplot_takes(const char *path)
{
	return !strcmp(path, "-") || terminal_of(path);
}

void gnuplot_quote(FILE *script, const char *text)
{
	fputc('\'', script);
	for (; *text; text++) {
		if (*text == '\'')
			fputc('\'', script);
		fputc(*text, script);
	}
	fputc('\'', script);
}

void gnuplot_label(FILE *data, const char *text)
{
	fputc('"', data);
	for (; *text; text++)
		fputc(*text == '"' || *text == '\\' ? '\'' : *text, data);
	fputc('"', data);
}

/* "%s%s" in full, or false. */
static bool join(char *out, size_t size, const char *a, const char *b)
{
	return snprintf(out, size, "%s%s", a, b) < (int)size;
}

static FILE *open_beside(const struct gnuplot *g, const char *suffix, struct vm_error *err)
{
	char name[4096 + 8];
	FILE *f;

	if (!join(name, sizeof(name), g->base, suffix)) {
		vm_fail(err, -ENAMETOOLONG, "%s: name too long", g->path);
		return NULL;
	}
	f = fopen(name, "w");
	if (!f)
		vm_fail(err, -errno, "%s: %s", name, strerror(errno));
	return f;
}

static void remove_beside(const struct gnuplot *g, const char *suffix)
{
	char name[4096 + 8];

	if (join(name, sizeof(name), g->base, suffix))
		unlink(name);
}

/* Columns and lines of the terminal; of a pipe, what fits a mail. */
static void terminal_size(unsigned *columns, unsigned *lines)
{
	struct winsize w;

	*columns = 100;
	*lines = 30;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || w.ws_col < 40 || w.ws_row < 12)
		return;
	*columns = w.ws_col - 1u;
	*lines = w.ws_row - 2u;
}

static void script_terminal(struct gnuplot *g, unsigned width, size_t height)
{
	unsigned columns, lines;

	if (g->text) {
		terminal_size(&columns, &lines);
		fprintf(g->script, "set terminal dumb noenhanced mono size %u,%u\n", columns, lines);
	} else {
		fprintf(g->script, "set terminal %s size %u,%zu\nset output ", terminal_of(g->path), width, height);
		gnuplot_quote(g->script, g->path);
	}
	fprintf(g->script, "\ndata = ");
	gnuplot_quote(g->script, g->base);
	fprintf(g->script, ".'.dat'\n");
}

static void clean_up(struct gnuplot *g)
{
	if (!g->dir[0])
		return;
	remove_beside(g, ".dat");
	remove_beside(g, ".gp");
	rmdir(g->dir);
}

int gnuplot_begin(struct gnuplot *g, const char *path, unsigned width, size_t height, struct vm_error *err)
{
	memset(g, 0, sizeof(*g));
	g->path = path;
	g->text = !strcmp(path, "-");
	if (!gnuplot_takes(path))
		return vm_fail(err, -EINVAL, "%s: a plot ends in .png or .svg, or is - for the terminal", path);
	if (!g->text && !join(g->base, sizeof(g->base), path, ""))
		return vm_fail(err, -ENAMETOOLONG, "%s: name too long", path);
	if (g->text) {
		strcpy(g->dir, "/tmp/ringside-plot.XXXXXX");
		if (!mkdtemp(g->dir)) {
			g->dir[0] = 0;
			return vm_fail(err, -errno, "/tmp: %s", strerror(errno));
		}
		join(g->base, sizeof(g->base), g->dir, "/plot");
	}
	g->data = open_beside(g, ".dat", err);
	g->script = g->data ? open_beside(g, ".gp", err) : NULL;
	if (!g->script) {
		if (g->data)
			fclose(g->data);
		clean_up(g);
		return -EIO;
	}
	script_terminal(g, width, height);
	return 0;
}

static int run(const struct gnuplot *g, struct vm_error *err)
{
	char script[4096 + 8];
	char *argv[] = { (char *)"gnuplot", script, NULL };
	int status, r;
	pid_t pid;

	join(script, sizeof(script), g->base, ".gp");
	fflush(stdout);
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

int gnuplot_end(struct gnuplot *g, struct vm_error *err)
{
	bool bad = ferror(g->data) || ferror(g->script);
	int rc;

	bad |= fclose(g->data) != 0;
	bad |= fclose(g->script) != 0;
	rc = bad ? vm_fail(err, -EIO, "%s: could not be written", g->path) : run(g, err);
	clean_up(g);
	return rc;
}
