/*
 * contrast.c - see contrast.h. The three ways to show it are in contrast_report.c.
 */
#include "profiler/contrast.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/contrast_internal.h"
#include "profiler/stats.h"

/* ---- rows ---- */

static struct contrast_row *row_of(struct contrast *c, const struct profile_id *id)
{
	for (size_t i = 0; i < c->row_count; i++)
		if (!strcmp(c->rows[i].insn, id->text[0]) && !strcmp(c->rows[i].kind, id->text[1]))
			return &c->rows[i];
	return NULL;
}

static struct contrast_row *add_row(struct contrast *c, const struct profile_id *id)
{
	struct contrast_row *rows = realloc(c->rows, (c->row_count + 1) * sizeof(*rows)), *row;

	if (!rows)
		return NULL;
	c->rows = rows;
	row = &rows[c->row_count++];
	memset(row, 0, sizeof(*row));
	memcpy(row->insn, id->text[0], sizeof(row->insn));
	memcpy(row->kind, id->text[1], sizeof(row->kind));
	return row;
}

static int add_way(struct contrast *c, unsigned w, struct vm_error *err)
{
	struct profile_table t;
	struct profile_id id;
	int rc = profile_table(c->way[w].profile, BY_INSN, profile_sort_find("time"), 0, NULL, &t, err);

	for (size_t i = 0; !rc && i < t.row_count; i++) {
		const struct profile_row *from = &t.rows[i];
		struct contrast_row *to;

		profile_row_id(&t, from, &id);
		to = row_of(c, &id);
		to = to ? to : add_row(c, &id);
		if (!to) {
			rc = vm_fail(err, -ENOMEM, "out of memory");
			break;
		}
		to->count[w] = from->count / c->rounds;
		to->mean[w] = from->mean;
		to->min[w] = from->min;
		to->p50[w] = from->p50;
	}
	profile_table_free(&t);
	return rc;
}

/* ---- figures ---- */

double contrast_ms(const struct contrast *c, unsigned w)
{
	double sorted[CONTRAST_ROUNDS_MAX];

	memcpy(sorted, c->way[w].cpu_ms, c->rounds * sizeof(*sorted));
	return stats_median(sorted, c->rounds);
}

static double mean_ms(const struct contrast *c, unsigned w)
{
	double sum = 0;

	for (unsigned i = 0; i < c->rounds; i++)
		sum += c->way[w].ms[i];
	return sum / c->rounds;
}

/* Of one round. */
double contrast_phase_ms(const struct contrast *c, unsigned w, enum event_phase phase)
{
	uint64_t hz = c->way[w].meta.tsc_hz;

	return hz ? (double)c->totals[w].phases[phase] * 1e3 / (double)hz / c->rounds : 0;
}

uint64_t contrast_reflects(const struct contrast *c, unsigned w)
{
	return (c->totals[w].kinds[EV_EXCEPTION] + c->totals[w].kinds[EV_INTERRUPT]) / c->rounds;
}

/* All rounds of one way were faster than all of the other. */
static bool apart(const struct contrast *c, unsigned a, unsigned b)
{
	double low[2] = { c->way[a].cpu_ms[0], c->way[b].cpu_ms[0] }, high[2] = { low[0], low[1] };

	for (unsigned i = 0; i < c->rounds; i++)
		for (unsigned s = 0; s < 2; s++) {
			double ms = c->way[s ? b : a].cpu_ms[i];

			low[s] = ms < low[s] ? ms : low[s];
			high[s] = ms > high[s] ? ms : high[s];
		}
	return c->rounds > 1 && (high[0] < low[1] || high[1] < low[0]);
}

static double faults_ms(const struct contrast *c, unsigned w)
{
	double sum = 0;

	for (int ph = PH_OWN; ph < PH_MAX; ph++)
		sum += contrast_phase_ms(c, w, (enum event_phase)ph);
	return sum;
}

/* ---- the answer ---- */

static void answer_model(struct contrast *c)
{
	double one = contrast_ms(c, 0), three = contrast_ms(c, 1);
	double views = contrast_phase_ms(c, 1, PH_VIEW);
	double fills = contrast_phase_ms(c, 1, PH_TLB) - contrast_phase_ms(c, 0, PH_TLB);
	uint64_t switches = c->way[1].meta.counters.view_switches;
	char time[200];

	if (apart(c, 0, 1))
		snprintf(time, sizeof(time),
		         "On this guest ring 1 %s %.1f ms of ring 3's %.1f ms of processor time (%.1f %%)",
		         three > one ? "saves" : "costs", three > one ? three - one : one - three, three,
		         100 * (three > one ? three - one : one - three) / three);
	else
		snprintf(time,
		         sizeof(time), "What ring 1 buys on this guest is less than these %u rounds differ by (%.1f ms of processor time against %.1f ms)",
		         c->rounds, one, three);
	snprintf(c->sentence, sizeof(c->sentence),
	         "%s: model 0/3/3 switched its view of memory %" PRIu64
	         " times, which took %.2f ms, and spent %.2f ms %s on "
	         "filling its TLB; ring 1 needs no switch, because paging itself keeps ring 3 out of supervisor pages.",
	         time, switches, views, fills < 0 ? -fills : fills, fills < 0 ? "less" : "more");
}

/* Sum over the rows of what a fault adds to a call, weighted by how often. */
static double price_cycles(const struct contrast *c, unsigned call, unsigned fault, uint64_t *count)
{
	double sum = 0;

	*count = 0;
	for (size_t i = 0; i < c->row_count; i++) {
		const struct contrast_row *row = &c->rows[i];

		if (strcmp(row->kind, "fault") && strcmp(row->kind, "pio"))
			continue;
		sum += ((double)row->p50[fault] - (double)row->p50[call]) * (double)row->count[fault];
		*count += row->count[fault];
	}
	return sum;
}

static void answer_trap(struct contrast *c)
{
	enum { INTERP, CALL, FAULT };
	uint64_t count;
	double price = price_cycles(c, CALL, FAULT, &count), each = count ? price / (double)count : 0;
	uint64_t hz = c->way[FAULT].meta.tsc_hz;

	snprintf(c->sentence, sizeof(c->sentence),
	         "The price of trap-and-emulate on this host: a privileged instruction that really faults costs %.0f "
	         "cycles (%.2f us) more than one "
	         "that calls, at the median; over this guest's %" PRIu64
	         " that is %.1f ms. In the mean of the rounds events took %.1f ms of %.1f ms with calls and "
	         "%.1f ms of %.1f ms with faults, of which the processor's fault and the signal %.1f ms.",
	         each, hz ? each * 1e6 / (double)hz : 0, count, hz ? price * 1e3 / (double)hz : 0, faults_ms(c, CALL),
	         mean_ms(c, CALL), faults_ms(c, FAULT), mean_ms(c, FAULT), contrast_phase_ms(c, FAULT, PH_FAULT));
}

static void answer_engine(struct contrast *c)
{
	double interp = contrast_ms(c, 0), translate = contrast_ms(c, 1);

	snprintf(c->sentence, sizeof(c->sentence),
	         "The translator runs this guest in %.1f ms of processor time, the interpreter in %.1f ms: %.2f times "
	         "as long. Decoding "
	         "and translating took "
	         "%.1f ms and %.1f ms of it.",
	         translate, interp, translate > 0 ? interp / translate : 0, contrast_phase_ms(c, 1, PH_DECODE),
	         contrast_phase_ms(c, 0, PH_DECODE));
}

int contrast_make(struct contrast *c, struct vm_error *err)
{
	static void (*const answers[])(struct contrast *) = {
		[CONTRAST_MODEL] = answer_model,
		[CONTRAST_TRAP] = answer_trap,
		[CONTRAST_ENGINE] = answer_engine,
	};
	int rc = 0;

	c->same_digest = true;
	for (unsigned i = 0; !rc && i < c->ways; i++) {
		unsigned w = c->ways - 1 - i; /* the last way's order counts */

		profile_totals(c->way[w].profile, &c->totals[w]);
		c->same_digest &= c->way[w].meta.digest == c->way[0].meta.digest;
		rc = add_way(c, w, err);
	}
	if (!rc)
		answers[c->by](c);
	return rc;
}

void contrast_free(struct contrast *c)
{
	free(c->rows);
	for (unsigned w = 0; w < CONTRAST_WAYS; w++)
		profile_destroy(c->way[w].profile);
}
