/*
 * monitor_irq.c - why an external interrupt came. No device runs in a replay, so what is known of them is what the guest said to their ports, and what
 * came in from outside: both are events. One pass over the events up to the present moment.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "recorder/print.h"
#include "replayer/gdb/debugger_internal.h"

#define KEPT 3 /* accesses to a device that are shown */

static const struct device {
	const char *name;
	unsigned irq;
	uint16_t first, last; /* ports */
} devices[] = {
	{ "interval timer (8254)", 0, 0x40, 0x43 }, { "keyboard controller", 1, 0x60, 0x64 },
	{ "serial port COM2", 3, 0x2f8, 0x2ff },    { "serial port COM1", 4, 0x3f8, 0x3ff },
	{ "real-time clock", 8, 0x70, 0x71 },
};
#define DEVICES (sizeof(devices) / sizeof(*devices))

struct noted {
	struct event ev; /* blob NULL */
	uint64_t seq;
};

/* 8259A data sheet: ICW1 at the even port has bit 4, ICW2 is the base, OCW1 at the odd port is the mask. */
struct pic_words {
	uint8_t base, mask;
	uint8_t next; /* the ICW expected at the odd port: 2, 3, 4; 0 = operating */
	bool single, wants_icw4;
	bool known;
};

struct history {
	struct pic_words pic[2];
	struct noted write[DEVICES][KEPT]; /* the latest first */
	struct noted input;
	struct noted interrupt;
};

static void note(struct noted *list, unsigned room, const struct event *ev, uint64_t seq)
{
	memmove(list + 1, list, (room - 1) * sizeof(*list));
	list[0] = (struct noted){ .ev = *ev, .seq = seq };
	list[0].ev.blob = NULL;
}

static void pic_write(struct pic_words *p, bool odd, uint8_t value)
{
	uint8_t after2 = p->single ? p->wants_icw4 ? 4 : 0 : 3, after3 = p->wants_icw4 ? 4 : 0;

	if (!odd) {
		if (value & 0x10)
			*p = (struct pic_words){ .next = 2, .single = value & 2, .wants_icw4 = value & 1, .known = true };
		return;
	}
	if (!p->next)
		p->mask = value;
	if (p->next == 2)
		p->base = value & 0xf8;
	p->next = p->next == 2 ? after2 : p->next == 3 ? after3 : 0;
}

static void note_port_write(struct history *h, const struct event *ev, uint64_t seq)
{
	uint64_t port = ev->addr;

	if ((port & ~0x81ull) == 0x20)
		pic_write(&h->pic[port >> 7 & 1], port & 1, (uint8_t)ev->value);
	for (unsigned i = 0; i < DEVICES; i++)
		if (port >= devices[i].first && port <= devices[i].last)
			note(h->write[i], KEPT, ev, seq);
}

static void note_event(struct history *h, const struct event *ev, uint64_t seq)
{
	if (ev->kind == EV_PIO && (ev->flags & EVF_WRITE))
		note_port_write(h, ev, seq);
	else if (ev->kind == EV_INPUT)
		note(&h->input, 1, ev, seq);
}

/* Fills `now` with all that happened before the present moment and `then` with what had before the last interrupt. */
static bool read_history(struct monitor_call *m, struct history *now, struct history *then)
{
	uint64_t here = timeline_event(m->d->timeline);
	struct trace_cursor *cursor;
	struct vm_error err = { "" };
	struct event ev;
	int rc = trace_cursor_open(&cursor, m->d->reader, &err);

	memset(now, 0, sizeof(*now));
	memset(then, 0, sizeof(*then));
	if (rc) {
		gdb_text_put(m->out, "%s\n", err.text);
		return false;
	}
	for (uint64_t seq = 0; seq < here && (rc = trace_cursor_next(cursor, &ev, NULL, &err)) == 1; seq++) {
		note_event(now, &ev, seq);
		if (ev.kind == EV_INTERRUPT) {
			note(&now->interrupt, 1, &ev, seq);
			*then = *now;
		}
		if (seq % LISTEN_EVENTS == 0 && debugger_interrupted(m->d)) {
			rc = vm_fail(&err, -EINTR, "interrupted");
			break;
		}
	}
	trace_cursor_close(cursor);
	if (rc < 0)
		gdb_text_put(m->out, "%s\n", err.text);
	return rc >= 0;
}

static void tell_noted(struct monitor_call *m, const struct noted *n)
{
	char line[EVENT_LINE_MAX];

	event_line(line, sizeof(line), n->seq, &n->ev);
	gdb_text_put(m->out, "  %s\n", line);
}

/* The input line of a vector, or -1. */
static int irq_of(const struct history *h, uint64_t vector)
{
	for (unsigned i = 0; i < 2; i++)
		if (h->pic[i].known && vector >= h->pic[i].base && vector < h->pic[i].base + 8u)
			return (int)(vector - h->pic[i].base + 8 * i);
	return -1;
}

static void tell_device(struct monitor_call *m, const struct history *h, int irq)
{
	for (unsigned i = 0; i < DEVICES; i++) {
		if ((int)devices[i].irq != irq)
			continue;
		gdb_text_put(m->out, "It is the %s's line. What the guest wrote to it before, latest first:\n",
		             devices[i].name);
		for (unsigned k = 0; k < KEPT && h->write[i][k].ev.kind; k++)
			tell_noted(m, &h->write[i][k]);
		if (!h->write[i][0].ev.kind)
			gdb_text_put(m->out, "  nothing\n");
		if (irq == 4 && h->input.ev.kind) {
			gdb_text_put(m->out, "The last input from outside before:\n");
			tell_noted(m, &h->input);
		}
		return;
	}
	gdb_text_put(m->out, "No device of this machine is known to use that line%s.\n",
	             (irq & 7) == 7 ? "; input 7 is also the spurious interrupt" : "");
}

void monitor_why_interrupt(struct monitor_call *m)
{
	struct history now, then;
	const struct event *ev = &then.interrupt.ev;
	int irq;

	if (!read_history(m, &now, &then))
		return;
	if (!then.interrupt.ev.kind) {
		gdb_text_put(m->out, "no external interrupt came before this moment\n");
		return;
	}
	gdb_text_put(m->out,
	             "The last external interrupt before this moment: event %" PRIu64 ", %" PRIu64
	             " instructions ago\n",
	             then.interrupt.seq, timeline_icount(m->d->timeline) - ev->icount);
	tell_noted(m, &then.interrupt);
	irq = irq_of(&then, ev->value);
	if (irq < 0) {
		gdb_text_put(m->out, "Vector 0x%" PRIx64 " is not in the range of either interrupt controller.\n",
		             ev->value);
		return;
	}
	gdb_text_put(m->out, "Vector 0x%" PRIx64 " is IRQ %d: the guest set the %s controller's base to 0x%x.\n",
	             ev->value, irq, irq < 8 ? "first" : "second", then.pic[irq / 8].base);
	tell_device(m, &then, irq);
}

void monitor_pic(struct monitor_call *m)
{
	struct history now, then;

	if (!read_history(m, &now, &then))
		return;
	gdb_text_put(m->out,
	             "No device runs in a replay; this is what the guest wrote to the controllers up to now.\n");
	for (unsigned i = 0; i < 2; i++) {
		const struct pic_words *p = &now.pic[i];

		if (!p->known)
			gdb_text_put(m->out, "controller %u: not programmed yet\n", i + 1);
		else
			gdb_text_put(m->out, "controller %u: vectors 0x%02x to 0x%02x, mask %02x (%s)\n", i + 1, p->base,
			             p->base + 7u, p->mask, p->next ? "being initialized" : "a 1 is a line held back");
	}
}
