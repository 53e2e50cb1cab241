/*
 * print.c - see print.h. A table says how each kind shows its operands.
 */
#include "recorder/print.h"

#include <stdarg.h>
#include <stdio.h>

#include "vmm/decode/insn.h"

struct line {
	char *buf;
	size_t size, len;
};

static void __attribute__((format(printf, 2, 3))) put(struct line *l, const char *fmt, ...)
{
	va_list args;
	int n;

	if (l->len + 1 >= l->size)
		return;
	va_start(args, fmt);
	n = vsnprintf(l->buf + l->len, l->size - l->len, fmt, args);
	va_end(args);
	if (n < 0)
		return;
	l->len += (size_t)n < l->size - l->len ? (size_t)n : l->size - l->len - 1;
}

static bool printable(unsigned char c)
{
	return (c >= 0x20 && c < 0x7f) || c == '\n' || c == '\r' || c == '\t' || c == 0x1b;
}

static void put_text(struct line *l, const unsigned char *p, size_t len)
{
	size_t i;

	put(l, " \"");
	for (i = 0; i < len; i++) {
		if (p[i] == '"' || p[i] == '\\')
			put(l, "\\%c", p[i]);
		else if (p[i] >= 0x20 && p[i] < 0x7f)
			put(l, "%c", p[i]);
		else
			put(l, "\\x%02x", p[i]);
	}
	put(l, "\"");
}

static void put_hex(struct line *l, const unsigned char *p, size_t len)
{
	size_t i;

	put(l, " ");
	for (i = 0; i < len; i++)
		put(l, "%02x", p[i]);
}

static void put_blob(struct line *l, const struct event *ev)
{
	size_t len = ev->blob_len < EVENT_LINE_BLOB_MAX ? ev->blob_len : EVENT_LINE_BLOB_MAX, i;
	const unsigned char *p = ev->blob;

	if (!ev->blob_len)
		return;
	put(l, " bytes=%u", ev->blob_len);
	if (!p)
		return;
	for (i = 0; i < len && printable(p[i]); i++)
		;
	if (i == len)
		put_text(l, p, len);
	else
		put_hex(l, p, len);
	if (len < ev->blob_len)
		put(l, "...");
}

static void put_size(struct line *l, const struct event *ev)
{
	if (ev->size)
		put(l, " size=%u", ev->size);
}

static void put_error(struct line *l, const struct event *ev)
{
	if (ev->error)
		put(l, " error=0x%x", ev->error);
}

static void show_plain(struct line *l, const struct event *ev)
{
	put_size(l, ev);
	put(l, " addr=0x%llx value=0x%llx", (unsigned long long)ev->addr, (unsigned long long)ev->value);
	put_error(l, ev);
}

static void show_access(struct line *l, const struct event *ev)
{
	put(l, " %s size=%u %s=0x%llx", ev->flags & EVF_WRITE ? "write" : "read", ev->size,
	    ev->kind == EV_PIO ? "port" : "gpa", (unsigned long long)ev->addr);
	put(l, ev->blob_len ? " count=%llu" : " value=0x%llx", (unsigned long long)ev->value);
	put_error(l, ev);
}

static void show_exception(struct line *l, const struct event *ev)
{
	static const char *const names[32] = { "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", NULL,
		                               "#TS", "#NP", "#SS", "#GP", "#PF", NULL,  "#MF", "#AC", "#MC", "#XM" };

	put(l, " vector=%llu", (unsigned long long)ev->value);
	if (ev->flags & EVF_SOFT)
		put(l, " soft");
	else if (ev->value < 32 && names[ev->value])
		put(l, " %s", names[ev->value]);
	if (ev->flags & EVF_HAS_ERROR)
		put(l, " error=0x%x", ev->error);
	else
		put_error(l, ev);
	if (ev->addr || (ev->value == 14 && !(ev->flags & EVF_SOFT)))
		put(l, " cr2=0x%llx", (unsigned long long)ev->addr);
}

static void show_interrupt(struct line *l, const struct event *ev)
{
	put(l, " vector=%llu", (unsigned long long)ev->value);
	if (ev->addr)
		put(l, " idle_ns=%llu", (unsigned long long)ev->addr);
	put_error(l, ev);
}

static void show_bytes(struct line *l, const struct event *ev)
{
	if (ev->addr)
		put(l, " addr=0x%llx", (unsigned long long)ev->addr);
	if (ev->value)
		put(l, " value=0x%llx", (unsigned long long)ev->value);
	put_error(l, ev);
}

static void show_checkpoint(struct line *l, const struct event *ev)
{
	put(l, " registers=%016llx memory=%016llx", (unsigned long long)ev->addr, (unsigned long long)ev->value);
}

static void show_end(struct line *l, const struct event *ev)
{
	const char *reason = ev->value < STOP_REASON_MAX ? vm_stop_name((enum vm_stop_reason)ev->value) : NULL;

	put(l, " reason=\"%s\" code=%llu", reason ? reason : "?", (unsigned long long)ev->addr);
}

static void show_change(struct line *l, const struct event *ev)
{
	if (ev->value)
		put(l, " registers");
	else
		put(l, " memory=0x%llx", (unsigned long long)ev->addr);
}

typedef void show_fn(struct line *l, const struct event *ev);

static show_fn *const show[EV_KIND_MAX] = {
	[EV_FAULT] = show_plain,
	[EV_SENSITIVE] = show_plain,
	[EV_PIO] = show_access,
	[EV_MMIO] = show_access,
	[EV_EXCEPTION] = show_exception,
	[EV_INTERRUPT] = show_interrupt,
	[EV_DMA] = show_bytes,
	[EV_INPUT] = show_bytes,
	[EV_MARKER] = show_bytes,
	[EV_CHECKPOINT] = show_checkpoint,
	[EV_END] = show_end,
	[EV_LEAK] = show_plain,
	[EV_CHANGE] = show_change,
};

static void put_op(struct line *l, const struct event *ev)
{
	const char *name = ev->op && ev->op < OP_MAX ? op_name((enum op)ev->op) : NULL;

	if (name)
		put(l, " %-12s", name);
	else if (ev->op)
		put(l, " op%-10u", ev->op);
	else
		put(l, " %-12s", "-");
}

size_t event_line(char *buf, size_t size, uint64_t seq, const struct event *ev)
{
	const char *kind = event_kind_name((enum event_kind)ev->kind);
	struct line l = { buf, size, 0 };

	if (!size)
		return 0;
	buf[0] = 0;
	put(&l, "%10llu %14llu %08llx %u/%u", (unsigned long long)seq, (unsigned long long)ev->icount,
	    (unsigned long long)ev->rip, ev->vcpl, ev->rcpl);
	if (kind)
		put(&l, " %-10s", kind);
	else
		put(&l, " kind%-6u", ev->kind);
	put_op(&l, ev);
	(kind ? show[ev->kind] : show_plain)(&l, ev);
	put_blob(&l, ev);
	return l.len;
}
