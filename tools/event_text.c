/*
 * event_text.c - see event_text.h. Events come from traces: any field may hold any value, blobs any bytes. The line itself is
 * recorder/print.h's; here come the symbol, the costs, and JSON.
 */
#include <inttypes.h>

#include "recorder/print.h"
#include "tools/event_text.h"
#include "vmm/decode/insn.h"
#include "vmm/vm.h"

static const char *kind_name(const struct event *ev)
{
	const char *name = event_kind_name((enum event_kind)ev->kind);

	return name ? name : "invalid";
}

static const char *insn_name(const struct event *ev)
{
	const char *name = ev->op == OP_NONE ? NULL : op_name((enum op)ev->op);

	return name ? name : "-";
}

static const char *end_name(const struct event *ev)
{
	const char *name = vm_stop_name((enum vm_stop_reason)ev->value);

	return ev->value < STOP_REASON_MAX && name ? name : "invalid";
}

void event_text(FILE *out, uint64_t seq, const struct event *ev, const struct event_cost *cost,
                const struct symbols *symbols)
{
	char line[EVENT_LINE_MAX];
	uint64_t offset;
	long symbol = symbols && ev->vcpl != 3 ? symbols_find(symbols, ev->rip, &offset) : -1;

	event_line(line, sizeof(line), seq, ev);
	fputs(line, out);
	if (symbol >= 0)
		fprintf(out, " <%s+0x%" PRIx64 ">", symbols_name(symbols, symbol), offset);
	for (int ph = 0; cost && ph < PH_MAX; ph++)
		fprintf(out, " %s=%u", event_phase_name((enum event_phase)ph), cost->cycles[ph]);
	fputc('\n', out);
}

static void json_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

void event_json(FILE *out, uint64_t seq, const struct event *ev, const struct event_cost *cost,
                const struct symbols *symbols)
{
	const uint8_t *bytes = ev->blob;
	uint64_t offset;
	long symbol = symbols && ev->vcpl != 3 ? symbols_find(symbols, ev->rip, &offset) : -1;

	/* 64-bit operands are hexadecimal strings: JSON's numbers end at 2^53 */
	fprintf(out,
	        "{\"seq\":%" PRIu64 ",\"icount\":%" PRIu64 ",\"kind\":\"%s\",\"insn\":\"%s\",\"rip\":\"%" PRIx64 "\"",
	        seq, ev->icount, kind_name(ev), insn_name(ev), ev->rip);
	fprintf(out,
	        ",\"vcpl\":%u,\"rcpl\":%u,\"size\":%u,\"flags\":%u,\"addr\":\"%" PRIx64 "\",\"value\":\"%" PRIx64
	        "\",\"error\":%u",
	        ev->vcpl, ev->rcpl, ev->size, ev->flags, ev->addr, ev->value, ev->error);
	if (ev->kind == EV_END)
		fprintf(out, ",\"reason\":\"%s\"", end_name(ev));
	if (ev->blob_len) {
		fputs(",\"blob\":\"", out);
		for (uint32_t i = 0; i < ev->blob_len; i++)
			fprintf(out, "%02x", bytes[i]);
		fputc('"', out);
	}
	if (symbol >= 0) {
		fputs(",\"symbol\":", out);
		json_string(out, symbols_name(symbols, symbol));
		fprintf(out, ",\"offset\":%" PRIu64, offset);
	}
	if (cost) {
		fputs(",\"cost\":{", out);
		for (int ph = 0; ph < PH_MAX; ph++)
			fprintf(out, "%s\"%s\":%u", ph ? "," : "", event_phase_name((enum event_phase)ph),
			        cost->cycles[ph]);
		fputc('}', out);
	}
	fputs("}\n", out);
}
