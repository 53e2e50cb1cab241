/*
 * monitor.c - see monitor.h. One table of commands; here are those that go places: where, goto, bookmarks, events, space.
 *
 * A command that moves leaves gdb with registers it read before: the commands that `ringside debug` gives to gdb make it read them again.
 */
#include "replayer/gdb/monitor.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/print.h"
#include "replayer/gdb/debugger_internal.h"
#include "replayer/gdb/regs.h"

#define EVENTS_DEFAULT 10
#define EVENTS_MAX 1000

static monitor_fn digest, where, go_to, bookmark, bookmarks, delete_bookmark, events, space, handlers, help;

static const struct monitor_entry {
	const char *name, *arguments;
	int min, max;          /* arguments */
	enum { PAST, ANY } of; /* a recording alone, or a running guest too */
	monitor_fn *run;
	const char *about;
} table[] = {
	{ "where", "", 0, 0, ANY, where, "the present moment: icount, event, virtual time, privilege level" },
	{ "goto", "ICOUNT | event N | marker TEXT | console-line N | bookmark NAME | begin | end", 1, 2, PAST, go_to,
	  "go there" },
	{ "bookmark", "NAME", 1, 1, PAST, bookmark, "remember the present moment" },
	{ "bookmarks", "", 0, 0, PAST, bookmarks, "list them" },
	{ "delete", "NAME", 1, 1, PAST, delete_bookmark, "forget a bookmark" },
	{ "events", "[N]", 0, 1, PAST, events, "N events around the present moment (10)" },
	{ "last-write", "ADDR [LEN] [phys]", 1, 3, PAST, monitor_last_write,
	  "go back to the instruction that last wrote there" },
	{ "last-exec", "ADDR", 1, 1, PAST, monitor_last_exec, "go back to when the instruction there was last executed" },
	{ "first-value", "ADDR VALUE [LEN]", 2, 3, PAST, monitor_first_value,
	  "go to the first moment of all at which memory there became VALUE" },
	{ "became", "ADDR VALUE [LEN]", 2, 3, PAST, monitor_became,
	  "go back to the instruction by which memory there last became VALUE" },
	{ "why-interrupt", "", 0, 0, PAST, monitor_why_interrupt,
	  "the last external interrupt, and what was done to the device behind it" },
	{ "pagewalk", "ADDR", 1, 1, ANY, monitor_pagewalk, "how a linear address is translated" },
	{ "gdt", "[all]", 0, 1, ANY, monitor_gdt, "the global descriptor table; all: empty entries too" },
	{ "ldt", "[all]", 0, 1, ANY, monitor_ldt, "the local descriptor table" },
	{ "idt", "[all]", 0, 1, ANY, monitor_idt, "the interrupt table; all: absent gates too" },
	{ "pic", "", 0, 0, PAST, monitor_pic, "how the guest last programmed the interrupt controllers" },
	{ "xp", "ADDR [BYTES]", 1, 2, ANY, monitor_xp, "physical memory" },
	{ "digest", "", 0, 0, ANY, digest, "one number for all registers, one for all memory" },
	{ "space", "any | this | CR3 [ADDR]", 0, 2, ANY, space,
	  "the address space in which breakpoints and questions count (any); with ADDR: those at this address alone" },
	{ "handlers", "into | over", 0, 1, PAST,
	  handlers, "where steps lead that are interrupted: into handlers of interrupts and exceptions, or on to where those return to (into)" },
	{ "help", "[COMMAND]", 0, 1, ANY, help, "this" },
};

#define COMMANDS (sizeof(table) / sizeof(*table))

/* ---- words ------------------------------------------------------------------------------------------------- */

bool monitor_number(struct monitor_call *m, const char *what, const char *word, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(word, &end, 0);
	if (isdigit((unsigned char)*word) && !*end && !errno && *out <= max)
		return true;
	gdb_text_put(m->out, "%s '%.40s': must be a number, 0 to %" PRIu64 "\n", what, word, max);
	return false;
}

bool monitor_address(struct monitor_call *m, const char *word, uint32_t *out)
{
	static const char *const names[] = { "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi" };
	const struct vcpu *c = debugger_vcpu(m->d);
	unsigned long long value;
	char *end;

	for (unsigned i = 0; *word == '$' && i < 8; i++)
		if (!strcmp(word + 1, names[i])) {
			*out = (uint32_t)c->gpr[i];
			return true;
		}
	if (!strcmp(word, "$eip") || !strcmp(word, "$pc")) {
		*out = (uint32_t)(c->seg[SEG_CS].base + c->rip);
		return true;
	}
	errno = 0;
	value = strtoull(word, &end, 16);
	*out = (uint32_t)value;
	if (isxdigit((unsigned char)*word) && !*end && !errno && value <= UINT32_MAX)
		return true;
	gdb_text_put(m->out, "address '%.40s': must be hexadecimal, or a register as $esp\n", word);
	return false;
}

/* ---- where and goto ---------------------------------------------------------------------------------------- */

void monitor_tell_place(struct monitor_call *m)
{
	struct timeline *t = m->d->timeline;
	const struct vcpu *c = debugger_vcpu(m->d);
	uint64_t vns = clock_vns(vm_clock(m->d->vm), c->icount);

	gdb_text_put(m->out, "icount %" PRIu64, c->icount);
	if (t)
		gdb_text_put(m->out, " of %" PRIu64 ", event %" PRIu64 " of %" PRIu64, timeline_end(t),
		             timeline_event(t), trace_reader_meta(m->d->reader)->events);
	gdb_text_put(m->out, ", virtual time %" PRIu64 ".%09" PRIu64 " s\n", vns / 1000000000, vns % 1000000000);
	if (vm_moment(m->d->vm).turn)
		gdb_text_put(m->out, "exceptions and interrupts delivered since this icount was reached: %u\n",
		             vm_moment(m->d->vm).turn);
	gdb_text_put(m->out, "%04x:%08x, CPL %u (really %u), %s, interrupts %s, CR3 %08x\n", c->seg[SEG_CS].sel,
	             (uint32_t)c->rip, c->cpl, gdb_real_cpl(c),
	             vcpu_real_mode(c) ? "real mode"
	             : vcpu_vm86(c)    ? "virtual-8086 mode"
	                               : "protected mode",
	             c->eflags & FL_IF ? "on" : "off", c->cr3);
}

/* Equal at the same moment of every replay; different almost surely otherwise. */
static void digest(struct monitor_call *m)
{
	struct vm *vm = m->d->vm;

	gdb_text_put(m->out, "registers %016" PRIx64 " memory %016" PRIx64 "\n", vm_register_digest(vm),
	             vm_memory_digest(vm));
}

static void where(struct monitor_call *m)
{
	monitor_tell_place(m);
}

/* After a seek: where that is, or why not. */
static void arrived(struct monitor_call *m, int rc, const struct vm_error *err)
{
	if (rc)
		gdb_text_put(m->out, "%s\n", err->text);
	else
		monitor_tell_place(m);
}

static void go(struct monitor_call *m, uint64_t icount)
{
	struct vm_error err = { "" };
	int rc = timeline_seek(m->d->timeline, icount, &err);

	arrived(m, rc, &err);
}

void monitor_return(struct monitor_call *m, struct vm_moment origin)
{
	struct vm_error err = { "" };

	if (timeline_seek_moment(m->d->timeline, origin, &err))
		gdb_text_put(m->out, "%s\n", err.text);
}

/* The first event whose text contains `text`: 1 and its number; 0 when there is none; negative errno, told. */
static int find_marker(struct monitor_call *m, const char *text, uint64_t *seq)
{
	struct trace_cursor *cursor;
	struct vm_error err = { "" };
	struct event ev;
	int rc = trace_cursor_open(&cursor, m->d->reader, &err);

	if (rc) {
		gdb_text_put(m->out, "%s\n", err.text);
		return rc;
	}
	while ((rc = trace_cursor_next(cursor, &ev, NULL, &err)) == 1) {
		if (ev.kind == EV_MARKER && ev.blob && memmem(ev.blob, ev.blob_len, text, strlen(text)))
			break;
		if (trace_cursor_seq(cursor) % LISTEN_EVENTS == 0 && debugger_interrupted(m->d)) {
			rc = vm_fail(&err, -EINTR, "interrupted");
			break;
		}
	}
	*seq = rc == 1 ? trace_cursor_seq(cursor) - 1 : 0;
	trace_cursor_close(cursor);
	if (rc < 0)
		gdb_text_put(m->out, "%s\n", err.text);
	return rc;
}

static void go_to_event(struct monitor_call *m, uint64_t seq)
{
	struct vm_error err = { "" };
	int rc = timeline_seek_event(m->d->timeline, seq, &err);

	arrived(m, rc, &err);
}

static void go_event(struct monitor_call *m, const char *word)
{
	uint64_t count = trace_reader_meta(m->d->reader)->events, seq;

	if (monitor_number(m, "event", word, count ? count - 1 : 0, &seq))
		go_to_event(m, seq);
}

static void go_marker(struct monitor_call *m, const char *word)
{
	uint64_t seq;
	int rc = find_marker(m, word, &seq);

	if (rc == 1)
		go_to_event(m, seq);
	else if (!rc)
		gdb_text_put(m->out, "marker '%.80s': the trace has none that contains this\n", word);
}

struct console_search {
	uint64_t line, wanted; /* the first line is 1 */
	uint64_t icount;
};

static int console_part(void *self, enum vm_stream stream, uint64_t icount, const uint8_t *bytes, size_t len)
{
	struct console_search *s = self;

	(void)stream;
	for (size_t i = 0; i < len; i++) {
		if (s->line == s->wanted) {
			s->icount = icount;
			return 1;
		}
		s->line += bytes[i] == '\n';
	}
	return 0;
}

static void go_console_line(struct monitor_call *m, const char *word)
{
	struct console_search s = { .line = 1 };
	struct vm_error err = { "" };
	int rc;

	if (!monitor_number(m, "console-line", word, UINT32_MAX, &s.wanted))
		return;
	rc = s.wanted ? trace_console_each(m->d->reader, console_part, &s, &err) : 0;
	if (rc < 0)
		gdb_text_put(m->out, "%s\n", err.text);
	else if (!rc)
		gdb_text_put(m->out, "console-line %" PRIu64 ": the console has lines 1 to %" PRIu64 "\n", s.wanted,
		             s.line);
	else
		go(m, s.icount);
}

static struct bookmark *find_bookmark(struct debugger *d, const char *name)
{
	for (unsigned i = 0; i < d->bookmarks; i++)
		if (!strcmp(d->bookmark[i].name, name))
			return &d->bookmark[i];
	return NULL;
}

static void go_bookmark(struct monitor_call *m, const char *word)
{
	const struct bookmark *b = find_bookmark(m->d, word);

	if (b) {
		struct vm_error err = { "" };
		int rc = timeline_seek_moment(m->d->timeline, b->at, &err);

		arrived(m, rc, &err);
	} else {
		gdb_text_put(m->out, "bookmark '%.48s': there is none of that name; `monitor bookmarks` lists them\n",
		             word);
	}
}

static void go_to(struct monitor_call *m)
{
	static const struct {
		const char *name;
		void (*run)(struct monitor_call *m, const char *word);
	} places[] = { { "event", go_event },
		       { "marker", go_marker },
		       { "console-line", go_console_line },
		       { "bookmark", go_bookmark } };
	struct timeline *t = m->d->timeline;
	uint64_t icount;

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		if (!strcmp(m->argv[1], places[i].name)) {
			if (m->argc == 3)
				places[i].run(m, m->argv[2]);
			else
				gdb_text_put(m->out, "goto %s: which?\n", places[i].name);
			return;
		}
	if (m->argc == 3)
		gdb_text_put(m->out,
		             "goto '%.40s': must be an icount, event, marker, console-line, bookmark, begin or end\n",
		             m->argv[1]);
	else if (!strcmp(m->argv[1], "begin"))
		go(m, timeline_begin(t));
	else if (!strcmp(m->argv[1], "end"))
		go(m, timeline_end(t));
	else if (monitor_number(m, "icount", m->argv[1], timeline_end(t), &icount))
		go(m, icount);
}

/* ---- bookmarks --------------------------------------------------------------------------------------------- */

static void bookmark(struct monitor_call *m)
{
	struct debugger *d = m->d;
	struct bookmark *b = find_bookmark(d, m->argv[1]);

	if (strlen(m->argv[1]) >= BOOKMARK_NAME) {
		gdb_text_put(m->out, "bookmark: a name has at most %d letters\n", BOOKMARK_NAME - 1);
		return;
	}
	if (!b && d->bookmarks == BOOKMARKS_MAX) {
		gdb_text_put(m->out, "bookmark: %d are all there can be; delete one\n", BOOKMARKS_MAX);
		return;
	}
	if (!b)
		b = &d->bookmark[d->bookmarks++];
	snprintf(b->name, sizeof(b->name), "%s", m->argv[1]);
	b->at = timeline_moment(d->timeline);
	gdb_text_put(m->out, "bookmark %s at icount %" PRIu64 "\n", b->name, b->at.icount);
}

static void bookmarks(struct monitor_call *m)
{
	if (!m->d->bookmarks)
		gdb_text_put(m->out, "no bookmarks\n");
	for (unsigned i = 0; i < m->d->bookmarks; i++)
		gdb_text_put(m->out, "%15" PRIu64 "  %s\n", m->d->bookmark[i].at.icount, m->d->bookmark[i].name);
}

static void delete_bookmark(struct monitor_call *m)
{
	struct bookmark *b = find_bookmark(m->d, m->argv[1]);

	if (!b) {
		gdb_text_put(m->out, "bookmark '%.48s': there is none of that name\n", m->argv[1]);
		return;
	}
	*b = m->d->bookmark[--m->d->bookmarks];
}

/* ---- events ------------------------------------------------------------------------------------------------ */

static void print_events(struct monitor_call *m, struct trace_cursor *cursor, uint64_t from, uint64_t count, uint64_t here)
{
	struct vm_error err = { "" };
	char line[EVENT_LINE_MAX];
	struct event ev;
	int rc = trace_cursor_seek(cursor, from, &err);

	gdb_text_put(m->out, "  %s\n", EVENT_LINE_HEADING);
	for (uint64_t seq = from; !rc && seq < from + count && (rc = trace_cursor_next(cursor, &ev, NULL, &err)) == 1;
	     seq++, rc = 0) {
		event_line(line, sizeof(line), seq, &ev);
		gdb_text_put(m->out, "%s%s\n", seq == here ? "=>" : "  ", line);
	}
	if (rc < 0)
		gdb_text_put(m->out, "%s\n", err.text);
}

static void events(struct monitor_call *m)
{
	uint64_t count = EVENTS_DEFAULT, here = timeline_event(m->d->timeline);
	struct trace_cursor *cursor;
	struct vm_error err;

	if (m->argc > 1 && !monitor_number(m, "events", m->argv[1], EVENTS_MAX, &count))
		return;
	if (trace_cursor_open(&cursor, m->d->reader, &err)) {
		gdb_text_put(m->out, "%s\n", err.text);
		return;
	}
	print_events(m, cursor, here > count / 2 ? here - count / 2 : 0, count, here);
	trace_cursor_close(cursor);
}

/* ---- address space ----------------------------------------------------------------------------------------- */

/* One point's own, at its address. */
static void set_own_space(struct monitor_call *m, uint32_t lin, struct space space)
{
	struct debugger *d = m->d;
	unsigned i = 0;

	while (i < d->own_spaces && d->own_space[i].lin != lin)
		i++;
	if (i == SPACES_MAX) {
		gdb_text_put(m->out, "space: %d addresses are all that can have one\n", SPACES_MAX);
		return;
	}
	d->own_spaces += i == d->own_spaces;
	d->own_space[i].lin = lin;
	d->own_space[i].space = space;
}

static void tell_space(struct monitor_call *m, struct space space)
{
	if (space.any)
		gdb_text_put(m->out, "in any address space\n");
	else
		gdb_text_put(m->out, "while CR3 is %08x\n", space.cr3);
}

static void tell_spaces(struct monitor_call *m)
{
	const struct debugger *d = m->d;

	gdb_text_put(m->out, "breakpoints, watchpoints and questions count ");
	tell_space(m, d->space);
	for (unsigned i = 0; i < d->own_spaces; i++) {
		gdb_text_put(m->out, "  those at %08x ", d->own_space[i].lin);
		tell_space(m, d->own_space[i].space);
	}
}

static void space(struct monitor_call *m)
{
	struct space space = { .cr3 = debugger_vcpu(m->d)->cr3 };
	uint32_t lin;

	if (m->argc > 1) {
		space.any = !strcmp(m->argv[1], "any");
		if (!space.any && strcmp(m->argv[1], "this") && !monitor_address(m, m->argv[1], &space.cr3))
			return;
		if (m->argc > 2 && !monitor_address(m, m->argv[2], &lin))
			return;
		if (m->argc > 2) {
			set_own_space(m, lin, space);
		} else {
			m->d->space = space;
			m->d->own_spaces = 0;
		}
	}
	tell_spaces(m);
}

/* ---- handlers ---------------------------------------------------------------------------------------------- */

static void handlers(struct monitor_call *m)
{
	bool over = m->argc > 1 && !strcmp(m->argv[1], "over");

	if (m->argc > 1 && !over && strcmp(m->argv[1], "into")) {
		gdb_text_put(m->out, "handlers '%.40s': must be into or over\n", m->argv[1]);
		return;
	}
	if (m->argc > 1)
		m->d->over_handlers = over;
	gdb_text_put(m->out, "steps lead %s handlers of interrupts and exceptions\n",
	             m->d->over_handlers ? "over" : "into");
}

/* ---- dispatch ---------------------------------------------------------------------------------------------- */

static bool answers(const struct debugger *d, const struct monitor_entry *e)
{
	return d->timeline || e->of == ANY;
}

static void help(struct monitor_call *m)
{
	bool found = false;

	for (size_t i = 0; i < COMMANDS; i++) {
		if ((m->argc > 1 && strcmp(m->argv[1], table[i].name)) || !answers(m->d, &table[i]))
			continue;
		found = true;
		gdb_text_put(m->out, "monitor %s %s\n    %s\n", table[i].name, table[i].arguments, table[i].about);
	}
	if (!found)
		gdb_text_put(m->out, "no command is called '%.40s'\n", m->argv[1]);
	else if (m->argc == 1)
		gdb_text_put(m->out,
		             "Addresses are hexadecimal and linear; icounts, events and values decimal or 0x.\n");
}

static const struct monitor_entry *find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(table[i].name, name))
			return &table[i];
	return NULL;
}

void monitor_command(struct debugger *d, const char *line, struct gdb_text *out)
{
	struct monitor_call m = { .d = d, .out = out };
	const struct monitor_entry *c;
	char copy[512], *save, *word;

	snprintf(copy, sizeof(copy), "%s", line);
	for (word = strtok_r(copy, " \t", &save); word && m.argc < ARGS_MAX; word = strtok_r(NULL, " \t", &save))
		m.argv[m.argc++] = word;
	if (!m.argc)
		m.argv[m.argc++] = "help";
	c = find_command(m.argv[0]);
	if (!c)
		gdb_text_put(out, "no command is called '%.40s'; `monitor help` lists them\n", m.argv[0]);
	else if (!answers(d, c))
		gdb_text_put(out,
		             "%s: a running guest has no past: end the session, then `ringside debug` its recording\n",
		             c->name);
	else if (m.argc - 1 < c->min || m.argc - 1 > c->max)
		gdb_text_put(out, "usage: monitor %s %s\n    %s\n", c->name, c->arguments, c->about);
	else
		c->run(&m);
}
