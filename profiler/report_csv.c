/*
 * report_csv.c - the profile's tables as CSV (RFC 4180 quoting): a line of names, a line a row, an empty line between tables.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "profiler/report.h"

static void csv_text(FILE *out, const char *text)
{
	if (!strpbrk(text, ",\"\r\n")) {
		fputs(text, out);
		return;
	}
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

static void csv_table(FILE *out, const struct profile_table *t)
{
	for (int c = 0; c < PROFILE_COLUMNS && t->columns[c]; c++)
		fprintf(out, "%s,", t->columns[c]);
	fprintf(out, "count,count_share,time_share,min,p50,p95,p99,max,mean,total");
	for (int ph = PH_OWN; ph < PH_MAX; ph++)
		fprintf(out, ",%s", event_phase_name((enum event_phase)ph));
	if (t->grouped)
		fputs(",groups,followers,saved", out);
	for (int k = 0; t->again && k < AGAIN_MAX; k++)
		fprintf(out, ",again_%s", profile_again_names[k]);
	fputc('\n', out);
	for (size_t i = 0; i < t->row_count; i++) {
		const struct profile_row *row = &t->rows[i];
		struct profile_id id;

		profile_row_id(t, row, &id);
		for (int c = 0; c < PROFILE_COLUMNS && t->columns[c]; c++) {
			csv_text(out, id.text[c]);
			fputc(',', out);
		}
		fprintf(out, "%" PRIu64 ",%.4f,%.4f,%u,%u,%u,%u,%u,%" PRIu64 ",%" PRIu64, row->count,
		        report_percent(row->count, t->count), report_percent(row->total, t->total), row->min, row->p50,
		        row->p95, row->p99, row->max, row->mean, row->total);
		for (int ph = PH_OWN; ph < PH_MAX; ph++)
			fprintf(out, ",%" PRIu64, row->phases[ph]);
		if (t->grouped)
			fprintf(out, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64, row->groups, row->followers, row->saved);
		for (int k = 0; t->again && k < AGAIN_MAX; k++)
			fprintf(out, ",%" PRIu64, row->again[k]);
		fputc('\n', out);
	}
}

int report_csv(FILE *out, const struct report *r)
{
	for (size_t i = 0; i < r->table_count; i++) {
		if (i)
			fputc('\n', out);
		csv_table(out, &r->tables[i]);
	}
	return fflush(out) || ferror(out) ? -EIO : 0;
}
