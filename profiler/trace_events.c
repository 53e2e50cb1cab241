/*
 * trace_events.c - see trace_events.h. One pass, nothing kept: a trace of any length can be written.
 */
#include "profiler/trace_events.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "profiler/report.h"
#include "vmm/decode/insn.h"

/* Where the cycle counter's rate is not known, a cycle is shown as a nanosecond. */
static double us(const struct trace_events *t, uint64_t cycles)
{
	return t->meta->tsc_hz ? (double)cycles * 1e6 / (double)t->meta->tsc_hz : (double)cycles / 1e3;
}

static void text(FILE *out, const char *s, size_t len)
{
	fputc('"', out);
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '"' || s[i] == '\\')
			fputc('\\', out);
		fputc(s[i] >= ' ' && s[i] <= '~' ? s[i] : '?', out);
	}
	fputc('"', out);
}

void trace_events_begin(struct trace_events *t)
{
	fprintf(t->out,
	        "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"
	        "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"tid\":1,\"args\":{\"name\":\"ringside\"}},\n"
	        "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":1,\"args\":{\"name\":\"vCPU, outside the "
	        "guest\"}}");
}

static void put_place(const struct trace_events *t, const struct event *ev)
{
	uint64_t offset;
	long symbol = t->symbols && ev->vcpl != 3 ? symbols_find(t->symbols, ev->rip, &offset) : -1;
	const char *name;

	if (symbol < 0)
		return;
	name = symbols_name(t->symbols, symbol);
	fprintf(t->out, ",\"symbol\":");
	text(t->out, name, strlen(name));
}

int trace_events_add(void *self, const struct event *ev, const struct event_cost *cost, const struct profile_context *x)
{
	struct trace_events *t = self;
	const char *insn = ev->op == OP_NONE ? NULL : op_name((enum op)ev->op);
	const char *kind = event_kind_name((enum event_kind)ev->kind);
	uint64_t begin = x->cycles, own = 0;

	if (t->limit && t->written == t->limit) {
		t->left_out++;
		return 0;
	}
	t->written++;
	for (int ph = 0; ph < PH_OWN; ph++)
		begin += cost->cycles[ph];
	for (int ph = PH_OWN; ph < PH_MAX; ph++)
		own += cost->cycles[ph];
	if (ev->kind == EV_MARKER) {
		fprintf(t->out, ",\n{\"name\":");
		text(t->out, ev->blob, ev->blob_len);
		fprintf(t->out, ",\"cat\":\"marker\",\"ph\":\"i\",\"s\":\"g\",\"ts\":%.4f,\"pid\":1,\"tid\":1,\"args\":{\"icount\":%" PRIu64 "}}",
		        us(t, begin), ev->icount);
		return 0;
	}
	fprintf(t->out,
	        ",\n{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"X\",\"ts\":%.4f,\"dur\":%.4f,\"pid\":1,\"tid\":1,\"args\":"
	        "{"
	        "\"icount\":%" PRIu64 ",\"rip\":\"%" PRIx64 "\",\"cpl\":%u,\"addr\":\"%" PRIx64
	        "\",\"value\":\"%" PRIx64 "\"",
	        insn && ev->kind != EV_EXCEPTION ? insn : kind, kind, us(t, begin), us(t, own), ev->icount, ev->rip,
	        ev->vcpl, ev->addr, ev->value);
	put_place(t, ev);
	for (int ph = PH_OWN; ph < PH_MAX; ph++)
		fprintf(t->out, ",\"%s\":%u", event_phase_name((enum event_phase)ph), cost->cycles[ph]);
	fputs("}}", t->out);
	return ferror(t->out) ? -EIO : 0;
}

int trace_events_end(struct trace_events *t)
{
	fprintf(t->out, "\n],\"otherData\":{\"digest\":\"%016" PRIx64 "\",\"left_out\":\"%" PRIu64 "\"}}\n",
	        t->meta->digest, t->left_out);
	return fflush(t->out) || ferror(t->out) ? -EIO : 0;
}
