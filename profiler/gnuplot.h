/*
 * gnuplot.h - a picture in the making: a data file, a script, gnuplot.
 *
 * PATH ends in .png or .svg; beside it stay PATH.dat and PATH.gp, from which gnuplot makes it again, so that a person can change the picture
 * without the trace. PATH "-" is the terminal: the picture is drawn with letters on stdout, and nothing stays.
 */
#ifndef RINGSIDE_PROFILER_GNUPLOT_H
#define RINGSIDE_PROFILER_GNUPLOT_H

#include <stdio.h>

#include "vmm/vm.h"

struct gnuplot {
	const char *path;
	bool text;       /* on the terminal */
	char base[4096]; /* what .dat and .gp are added to */
	FILE *data,
	        *script; /* write to these between gnuplot_begin and gnuplot_end; the script's variable `data` is the data file's name */
	char dir[40]; /* of its own, where nothing stays; "" otherwise */
};

/* Is this the name of a picture? */
bool gnuplot_takes(const char *path);
/* width and height in pixels; a terminal has its own. -EINVAL for a name that is none. After success gnuplot_end must be called. */
int gnuplot_begin(struct gnuplot *g, const char *path, unsigned width, size_t height, struct vm_error *err);
/* Close, draw. -ENOENT when gnuplot is not installed, -EIO when it failed. */
int gnuplot_end(struct gnuplot *g, struct vm_error *err);

/* A string in the script, and one in the data file: quotes inside are no matter. */
void gnuplot_quote(FILE *script, const char *text);
void gnuplot_label(FILE *data, const char *text);

#endif
