/*
 * report.c - what the report formats share (see report.h), and the text report.
 *
 * The text is for a person at a terminal: an account of where the time went that adds up, then one table a grouping.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "profiler/report.h"

static const char *const phase_titles[PH_MAX] = {
	[PH_GUEST] = "guest instructions",
	[PH_DECODE] = "decode and translate",
	[PH_TLB] = "TLB fills",
	[PH_VIEW] = "view switches",
	[PH_FAULT] = "hardware fault, signal",
	[PH_CALLOUT] = "call-out",
	[PH_ENTRY] = "fault entry",
	[PH_EMULATE] = "emulate",
	[PH_REFLECT] = "reflect",
	[PH_DEVICE] = "device",
	[PH_LOG] = "log: event append",
};

const char *report_phase_title(enum event_phase phase)
{
	return phase_titles[phase];
}

/* Why a phase has nothing to show; NULL: it has. */
static const char *phase_note(const struct report *r, enum event_phase phase)
{
	const struct trace_meta *m = r->meta;
	bool late =
	        phase == PH_DECODE || phase == PH_TLB || phase == PH_VIEW || phase == PH_CALLOUT || phase == PH_REFLECT;

	if (m->format_version < 3 && late)
		return "not measured by the recorder, a part of others";
	if (phase == PH_FAULT && m->config.trap == TRAP_CALL)
		return "none: trap call";
	if (phase == PH_VIEW && m->config.model == MODEL_0_1_3)
		return "none: model 0/1/3 has one view";
	return NULL;
}

static bool report_selected(const struct report *r)
{
	return r->selection && *r->selection;
}

uint64_t report_phases(const struct report *r, struct report_phase out[REPORT_PHASES])
{
	uint64_t run = (uint64_t)((unsigned __int128)r->meta->run_ns * r->meta->tsc_hz / 1000000000u);
	uint64_t sum = 0;

	for (int ph = 0; ph < PH_MAX; ph++) {
		out[ph].key = event_phase_name((enum event_phase)ph);
		out[ph].title = phase_titles[ph];
		out[ph].note = phase_note(r, (enum event_phase)ph);
		out[ph].cycles = r->totals->phases[ph];
		sum += r->totals->phases[ph];
	}
	/* before the first event and after the last, and what the recorder did outside its own stamps */
	out[PH_MAX] =
	        (struct report_phase){ "rest", report_selected(r) ? "the rest of the run" : "start, end, not stamped",
		                       run > sum ? run - sum : 0, NULL };
	return sum + out[PH_MAX].cycles;
}

/* Readings by the probe and the meter (vmm/probe.h): an event's, at least, one more pair around each access to a device and each TLB fill. */
#define READINGS_EVENT 2
#define READINGS_PAIR 2

struct report_measuring report_measuring(const struct report *r)
{
	const struct trace_meta *m = r->meta;
	struct report_phase phases[REPORT_PHASES];
	struct report_measuring out = { 0 };

	for (uint32_t i = 0; i < m->host_cost_count; i++)
		if (!strcmp(m->host_costs[i].name, "counter_read"))
			out.each = m->host_costs[i].median;
	if (!out.each || !r->totals->costs_ok)
		return (struct report_measuring){ 0 };
	out.readings = READINGS_EVENT * m->events + READINGS_PAIR * m->counters.tlb_fills +
	               READINGS_PAIR * (r->totals->kinds[EV_PIO] + r->totals->kinds[EV_MMIO]);
	out.cycles = out.readings * out.each;
	out.share = report_percent(out.cycles, report_phases(r, phases));
	return out;
}

double report_selected_share(const struct report *r)
{
	struct report_phase phases[REPORT_PHASES];

	return report_percent(r->totals->cost, report_phases(r, phases));
}

double report_us(const struct report *r, uint64_t cycles)
{
	return r->meta->tsc_hz ? (double)cycles * 1e6 / (double)r->meta->tsc_hz : 0;
}

double report_percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

double report_again_overhead(const struct samples_info *again)
{
	return again->plain_ns ? ((double)again->timed_ns / (double)again->plain_ns - 1) * 100 : 0;
}

const char *report_model_name(const struct trace_meta *meta)
{
	return meta->config.model == MODEL_0_3_3 ? "0/3/3" : "0/1/3";
}

const char *report_policy_name(const struct trace_meta *meta)
{
	return meta->config.policy == POLICY_LEAK ? "leak" : "catch";
}

void report_clean(char *out, size_t size, const char *text)
{
	size_t i;

	for (i = 0; i + 1 < size && text[i]; i++)
		out[i] = isascii((unsigned char)text[i]) && isprint((unsigned char)text[i]) ? text[i] : '?';
	out[i] = 0;
}

/* ---- text ---------------------------------------------------------------------------------------------------- */

/* 1234567 -> "1,234,567" */
static const char *grouped(uint64_t n, char buf[32])
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
	char *out = buf;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*out++ = ',';
		*out++ = digits[i];
	}
	*out = 0;
	return buf;
}

/* "fault_round_trip" as people write it. */
static void host_cost_name(const struct trace_host_cost *cost, char *out, size_t size)
{
	report_clean(out, size, cost->name);
	for (; *out; out++)
		if (*out == '_')
			*out = ' ';
}

/* What to hold the figures below against. */
void report_host_costs(FILE *out, const struct trace_meta *m)
{
	char name[32];

	for (uint32_t i = 0; i < m->host_cost_count; i++) {
		host_cost_name(&m->host_costs[i], name, sizeof(name));
		fprintf(out, "%s%s %" PRIu64, i ? ", " : "  host      ", name, m->host_costs[i].median);
	}
	if (m->host_cost_count)
		fprintf(out, " cycles (medians when it was recorded)\n");
}

static void text_head(FILE *out, const struct report *r)
{
	const struct trace_meta *m = r->meta;
	double seconds = (double)m->run_ns / 1e9;
	char a[32], b[32], line[160];

	report_clean(line, sizeof(line), m->command_line);
	fprintf(out, "%s%s\n", r->path, m->complete ? "" : "  (the recorder was stopped before the guest's end)");
	fprintf(out, "  guest     model %s, sensitive %s, %" PRIu64 " MiB%s%s\n", report_model_name(m),
	        report_policy_name(m), m->config.memory >> 20, *line ? ", " : "", line);
	fprintf(out, "  run       %s instructions, %s events, %.3f s", grouped(m->icount, a),
	        grouped(r->total_events ? r->total_events : r->totals->events, b), seconds);
	if (m->run_ns)
		fprintf(out, ", %.1f million instructions a second", (double)m->icount / 1e3 / ((double)m->run_ns / 1e6));
	fprintf(out, "\n  paging    %s tlb fills,", grouped(m->counters.tlb_fills, a));
	fprintf(out, " %s flushes, %s view switches\n", grouped(m->counters.tlb_flushes, a),
	        grouped(m->counters.view_switches, b));
	report_host_costs(out, m);
	if (m->counters.leaks)
		fprintf(out, "  leaks     %s: the guest saw or wrote a lie\n", grouped(m->counters.leaks, a));
	if (report_selected(r)) {
		report_clean(line, sizeof(line), r->selection);
		fprintf(out, "  SELECTED  %s: %s events of", line, grouped(r->totals->events, a));
		fprintf(out, " %s;", grouped(r->total_events, b));
		fprintf(out, " they cost %s cycles outside the guest, %.2f%% of the run\n", grouped(r->totals->cost, a),
		        report_selected_share(r));
	}
	if (!r->totals->costs_ok)
		fprintf(out, "  NOTE      cost columns are absent or damaged: counts are exact, times are not\n");
}

static void text_measuring(FILE *out, const struct report *r)
{
	struct report_measuring m = report_measuring(r);

	if (!m.cycles)
		return;
	fprintf(out, "%-26s %20" PRIu64 " %7.2f%%", "of it, measuring", m.cycles, m.share);
	if (r->meta->tsc_hz)
		fprintf(out, " %14.3f", report_us(r, m.cycles) / 1e3);
	fprintf(out, "  %" PRIu64 " readings of the cycle counter or more, %" PRIu64 " cycles each\n", m.readings,
	        m.each);
}

/* Beside the run, on another processor: not part of the sum. */
static void text_packing(FILE *out, const struct report *r)
{
	if (r->meta->pack_ns)
		fprintf(out, "beside it, pack and commit %19s %8s %14.3f\n", "", "", (double)r->meta->pack_ns / 1e6);
}

static void text_phases(FILE *out, const struct report *r)
{
	struct report_phase phases[REPORT_PHASES];
	uint64_t sum = report_phases(r, phases);
	bool us = r->meta->tsc_hz != 0;

	fprintf(out, "\n%-26s %20s %8s", "WHERE THE TIME WENT", "CYCLES", "SHARE");
	fprintf(out, us ? " %14s\n" : "\n", "ms");
	for (int i = 0; i < REPORT_PHASES; i++) {
		fprintf(out, "%-26s %20" PRIu64 " %7.2f%%", phases[i].title, phases[i].cycles,
		        report_percent(phases[i].cycles, sum));
		if (us)
			fprintf(out, " %14.3f", report_us(r, phases[i].cycles) / 1e3);
		if (phases[i].note)
			fprintf(out, "  %s", phases[i].note);
		fputc('\n', out);
	}
	fprintf(out, "%-26s %20" PRIu64 " %7.2f%%", "total", sum, 100.0);
	fprintf(out, us ? " %14.3f\n" : "\n", report_us(r, sum) / 1e3);
	text_measuring(out, r);
	text_packing(out, r);
}

/* Widths of the id columns: as wide as their widest value. */
static void id_widths(const struct profile_table *t, int width[PROFILE_COLUMNS])
{
	struct profile_id id;

	for (int c = 0; c < PROFILE_COLUMNS; c++)
		width[c] = t->columns[c] ? (int)strlen(t->columns[c]) : 0;
	for (size_t i = 0; i < t->row_count; i++) {
		profile_row_id(t, &t->rows[i], &id);
		for (int c = 0; c < PROFILE_COLUMNS; c++) {
			int len = (int)strlen(id.text[c]);

			if (len > width[c])
				width[c] = len;
		}
	}
}

static void text_table_head(FILE *out, const struct report *r, const struct profile_table *t,
                            const int width[PROFILE_COLUMNS])
{
	fputc('\n', out);
	for (int c = 0; c < PROFILE_COLUMNS && t->columns[c]; c++) {
		char name[32];

		snprintf(name, sizeof(name), "%s", t->columns[c]);
		for (char *s = name; *s; s++)
			*s = (char)toupper((unsigned char)*s);
		fprintf(out, "%-*s ", width[c], name);
	}
	fprintf(out, "%10s %7s %7s %8s %8s %8s %8s %10s %8s %12s", "COUNT", "COUNT%", "TIME%", "MIN", "P50", "P95",
	        "P99", "MAX", "MEAN", r->meta->tsc_hz ? "TOTAL us" : "TOTAL");
	if (t->grouped)
		fprintf(out, " %10s %12s", "GROUPS", r->meta->tsc_hz ? "SAVED us" : "SAVED");
	fprintf(out, t->again ? " | %8s %8s %8s %8s\n" : "\n", "MIN", "MEDIAN", "LOW", "HIGH");
}

static void text_cycles(FILE *out, const struct report *r, uint64_t cycles)
{
	if (r->meta->tsc_hz)
		fprintf(out, "%12.1f", report_us(r, cycles));
	else
		fprintf(out, "%12" PRIu64, cycles);
}

/* What handling neighbours in one exit would bring. */
static void text_saving(FILE *out, const struct report *r, const struct profile_table *t)
{
	struct report_phase phases[REPORT_PHASES];

	fprintf(out,
	        "one exit for each group: %" PRIu64 " exits fewer (%.1f %%), getting to the VMM for those: %" PRIu64
	        " cycles, %.2f %% of the time outside the guest, %.2f %% of the run\n",
	        t->followers, report_percent(t->followers, t->count), t->saved,
	        report_percent(t->saved, r->totals->cost), report_percent(t->saved, report_phases(r, phases)));
}

static void text_table(FILE *out, const struct report *r, const struct profile_table *t)
{
	int width[PROFILE_COLUMNS];
	uint64_t count = 0, total = 0;
	struct profile_id id;

	id_widths(t, width);
	text_table_head(out, r, t, width);
	for (size_t i = 0; i < t->row_count; i++) {
		const struct profile_row *row = &t->rows[i];

		profile_row_id(t, row, &id);
		for (int c = 0; c < PROFILE_COLUMNS && t->columns[c]; c++)
			fprintf(out, "%-*s ", width[c], id.text[c]);
		fprintf(out, "%10" PRIu64 " %6.2f%% %6.2f%% %8u %8u %8u %8u %10u %8" PRIu64 " ", row->count,
		        report_percent(row->count, t->count), report_percent(row->total, t->total), row->min, row->p50,
		        row->p95, row->p99, row->max, row->mean);
		text_cycles(out, r, row->total);
		if (t->grouped) {
			fprintf(out, " %10" PRIu64 " ", row->groups);
			text_cycles(out, r, row->saved);
		}
		if (t->again)
			fputs(" |", out);
		for (int k = 0; t->again && k < AGAIN_MAX; k++)
			fprintf(out, " %8" PRIu64, row->again[k]);
		fputc('\n', out);
		count += row->count;
		total += row->total;
	}
	if (t->rows_left_out)
		fprintf(out, "and %zu more rows: %" PRIu64 " events, %.2f%% of time (--limit 0 shows all)\n",
		        t->rows_left_out, t->count - count, report_percent(t->total - total, t->total));
	if (t->grouped)
		text_saving(out, r, t);
	if (!t->row_count)
		fprintf(out, "(no such events)\n");
}

/* What the columns behind the bar are, and what measuring itself costs. */
static void text_again(FILE *out, const struct report *r)
{
	const struct samples_info *a = r->again;

	if (r->again_note && *r->again_note)
		fprintf(out, "NOTE: what was measured again is left out: %s\n", r->again_note);
	if (!a)
		return;
	fprintf(out,
	        "Behind the bar: measured again %" PRIu64
	        " times by replay (engine %s, %s). Of each event the minimum, the median and\n"
	        "the median's 95 %% interval over its samples, averaged over the row's events; without devices "
	        "and log.\n",
	        a->runs, a->engine, a->host);
	if (a->runs < REPORT_AGAIN_ENOUGH)
		fprintf(out, "With fewer than %d samples LOW and HIGH are their range.\n", REPORT_AGAIN_ENOUGH);
	fprintf(out,
	        "Measuring costs: a replay that reads the clock takes %.1f %% more processor time (%.3f s, %.3f s "
	        "without); one read is %" PRIu64 " cycles.\n",
	        report_again_overhead(a), (double)a->timed_ns / 1e9, (double)a->plain_ns / 1e9, a->clock_cycles);
}

int report_text(FILE *out, const struct report *r)
{
	text_head(out, r);
	text_phases(out, r);
	fprintf(out, "\nBelow: cost of an event to the VMM, in cycles%s; TIME%% is of the time outside the guest.\n",
	        r->meta->tsc_hz ? "" : " (the recording host's cycle rate is not known)");
	text_again(out, r);
	for (size_t i = 0; i < r->table_count; i++)
		text_table(out, r, &r->tables[i]);
	return fflush(out) || ferror(out) ? -EIO : 0;
}
