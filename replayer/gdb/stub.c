/*
 * stub.c - see stub.h. One table of packets, one function each. A handler fills s->reply; empty means "not supported", as the protocol has it.
 *
 * What goes backwards: `bs` and `bc`. gdb builds reverse-step, reverse-next and reverse-finish from them and from breakpoints.
 */
#include "replayer/gdb/stub.h"

#include <stdlib.h>
#include <string.h>

#include "replayer/gdb/packet.h"
#include "replayer/gdb/regs.h"
#include "vmm/mem/ram.h"

#define MEMORY_MAX (GDB_PACKET_MAX / 2)
#define POINT_LEN_MAX 4096u
#define LISTEN_STEPS 256
#define SIGNAL_INT 2
#define SIGNAL_TRAP 5
#define E_BAD "E22"    /* the packet makes no sense */
#define E_MEMORY "E14" /* nothing is mapped there */

struct gdb_stub {
	struct gdb_stub_options options;
	const struct gdb_target *target;
	struct gdb_link link;
	struct gdb_text reply;
	bool binary;         /* the reply has to be escaped */
	bool silent;         /* no reply at all */
	bool agree_no_ack;   /* after this reply */
	bool refused_before; /* a write was refused and a person was told */
	enum gdb_closing closing;
	struct gdb_stop stop; /* the last one, for `?` */
	struct gdb_point point[GDB_POINTS_MAX];
	unsigned points;
	char *description;
	size_t description_len;
};

/* ---- small parsing ----------------------------------------------------------------------------------------- */

/* A hexadecimal number that fits 64 bits; false when there is none. */
static bool take_hex(const char **p, uint64_t *out)
{
	unsigned digits = 0;

	for (*out = 0; gdb_hex_digit(**p) >= 0; ++*p) {
		if (++digits > 16)
			return false;
		*out = *out << 4 | (uint64_t)gdb_hex_digit(**p);
	}
	return digits > 0;
}

static bool take_char(const char **p, char c)
{
	if (**p != c)
		return false;
	++*p;
	return true;
}

static void say(struct gdb_stub *s, const char *text)
{
	gdb_text_put(&s->reply, "%s", text);
}

/* ---- memory and registers ---------------------------------------------------------------------------------- */

static struct vcpu *vcpu_of(struct gdb_stub *s)
{
	return vm_vcpu(s->target->vm(s->target->self));
}

static void add_register(struct gdb_stub *s, unsigned number)
{
	uint8_t value[GDB_REG_MAX];

	gdb_text_hex(&s->reply, value, gdb_regs_read(vcpu_of(s), number, value));
}

static void read_registers(struct gdb_stub *s, const char *args)
{
	(void)args;
	for (unsigned i = 0; i < gdb_regs_count(); i++)
		add_register(s, i);
}

static void read_register(struct gdb_stub *s, const char *args)
{
	uint64_t number;

	if (!take_hex(&args, &number) || number >= gdb_regs_count())
		say(s, E_BAD);
	else
		add_register(s, (unsigned)number);
}

/* The protocol shows an error's text for some packets only, so a person is told once besides. */
static void refuse_write(struct gdb_stub *s, const char *args)
{
	(void)args;
	gdb_text_put(&s->reply, "E.%s", s->target->refusal);
	if (!s->refused_before && s->options.notice)
		s->options.notice(s->options.self, s->target->refusal);
	s->refused_before = true;
}

static void refuse(struct gdb_stub *s, const char *why)
{
	gdb_text_put(&s->reply, "E.%s", why);
}

/* Hexadecimal bytes to the end of the packet; false when that is not what it has. */
static bool take_bytes(const char *args, uint8_t *out, size_t len)
{
	for (; len; len--, args += 2) {
		if (gdb_hex_digit(args[0]) < 0 || gdb_hex_digit(args[1]) < 0)
			return false;
		*out++ = (uint8_t)(gdb_hex_digit(args[0]) << 4 | gdb_hex_digit(args[1]));
	}
	return !*args;
}

static bool write_register(struct gdb_stub *s, unsigned number, const uint8_t *value, size_t len)
{
	struct vm_error err = { "" };

	if (!s->target->write_register(s->target->self, number, value, len, &err))
		return true;
	refuse(s, err.text);
	return false;
}

static void write_one_register(struct gdb_stub *s, const char *args)
{
	uint8_t value[GDB_REG_MAX];
	uint64_t number;
	size_t len;

	if (s->target->refusal) {
		refuse_write(s, args);
		return;
	}
	if (!take_hex(&args, &number) || number >= gdb_regs_count() || !take_char(&args, '=') ||
	    (len = strlen(args) / 2) > sizeof(value) || !take_bytes(args, value, len))
		say(s, E_BAD);
	else if (write_register(s, (unsigned)number, value, len))
		say(s, "OK");
}

/* All of them, as `g` gives them; those that are left out stay. */
static void write_registers(struct gdb_stub *s, const char *args)
{
	uint8_t value[GDB_REG_MAX], now[GDB_REG_MAX];

	if (s->target->refusal) {
		refuse_write(s, args);
		return;
	}
	for (unsigned i = 0; *args && i < gdb_regs_count(); i++) {
		size_t len = gdb_regs_read(vcpu_of(s), i, now);

		for (size_t k = 0; k < len; k++, args += 2) {
			if (gdb_hex_digit(args[0]) < 0 || gdb_hex_digit(args[1]) < 0) {
				say(s, E_BAD);
				return;
			}
			value[k] = (uint8_t)(gdb_hex_digit(args[0]) << 4 | gdb_hex_digit(args[1]));
		}
		if (!write_register(s, i, value, len))
			return;
	}
	say(s, *args ? E_BAD : "OK");
}

static void write_bytes(struct gdb_stub *s, uint64_t lin, const uint8_t *bytes, size_t len)
{
	struct vm_error err = { "" };

	if (lin + len > 1ull << 32)
		say(s, E_MEMORY);
	else if (len && s->target->write_memory(s->target->self, (uint32_t)lin, bytes, len, &err))
		refuse(s, err.text);
	else
		say(s, "OK");
}

/* "ADDR,LENGTH:" */
static bool take_place(const char **args, uint64_t *lin, uint64_t *len)
{
	return take_hex(args, lin) && take_char(args, ',') && take_hex(args, len) && take_char(args, ':') &&
	       *lin <= UINT32_MAX && *len <= MEMORY_MAX;
}

static void write_memory(struct gdb_stub *s, const char *args)
{
	uint8_t bytes[MEMORY_MAX];
	uint64_t lin, len;

	if (s->target->refusal)
		refuse_write(s, args);
	else if (!take_place(&args, &lin, &len) || !take_bytes(args, bytes, (size_t)len))
		say(s, E_BAD);
	else
		write_bytes(s, lin, bytes, (size_t)len);
}

/* As much as is mapped without a gap. */
static size_t read_memory(struct gdb_stub *s, uint64_t lin, uint8_t *out, size_t len)
{
	struct vcpu *c = vcpu_of(s);
	size_t done = 0;

	while (done < len && lin + done <= UINT32_MAX) {
		size_t part = PAGE_SIZE - ((lin + done) & (PAGE_SIZE - 1));
		uint64_t gpa;

		if (mmu_peek(&c->mmu, lin + done, &gpa) || !ram_has(c->mmu.ram, gpa))
			break;
		part = part < len - done ? part : len - done;
		ram_read(c->mmu.ram, gpa, out + done, part);
		done += part;
	}
	return done;
}

static void memory_packet(struct gdb_stub *s, const char *args, bool binary)
{
	uint8_t bytes[MEMORY_MAX];
	uint64_t lin, len;
	size_t got;

	if (!take_hex(&args, &lin) || !take_char(&args, ',') || !take_hex(&args, &len) || *args) {
		say(s, E_BAD);
		return;
	}
	len = len < (binary ? MEMORY_MAX - 1 : MEMORY_MAX) ? len : (binary ? MEMORY_MAX - 1 : MEMORY_MAX);
	got = read_memory(s, lin, bytes, (size_t)len);
	if (!got && len) {
		say(s, E_MEMORY);
	} else if (binary) {
		s->binary = true;
		gdb_text_add(&s->reply, "b", 1);
		gdb_text_add(&s->reply, bytes, got);
	} else {
		gdb_text_hex(&s->reply, bytes, got);
	}
}

static void read_memory_hex(struct gdb_stub *s, const char *args)
{
	memory_packet(s, args, false);
}

static void read_memory_binary(struct gdb_stub *s, const char *args)
{
	memory_packet(s, args, true);
}

/* An X of length 0 asks whether X is known: not on a recording, so that gdb uses M, which is refused in words. */
static void write_binary(struct gdb_stub *s, const char *args)
{
	const char *end = s->link.body + s->link.len;
	uint64_t lin, len;

	if (s->target->refusal)
		return;
	if (!take_place(&args, &lin, &len) || (uint64_t)(end - args) != len)
		say(s, E_BAD);
	else
		write_bytes(s, lin, (const uint8_t *)args, (size_t)len);
}

/* ---- breakpoints and watchpoints --------------------------------------------------------------------------- */

static bool parse_point(const char *args, struct gdb_point *p)
{
	uint64_t kind, lin, len;

	if (!take_hex(&args, &kind) || kind >= GDB_POINT_KINDS || !take_char(&args, ',') || !take_hex(&args, &lin) ||
	    lin > UINT32_MAX || !take_char(&args, ',') || !take_hex(&args, &len) || (*args && *args != ';'))
		return false;
	if (kind <= GDB_HW_BREAK)
		len = 1;
	*p = (struct gdb_point){ .kind = (enum gdb_point_kind)kind, .lin = (uint32_t)lin, .len = (uint32_t)len };
	return len >= 1 && len <= POINT_LEN_MAX;
}

static struct gdb_point *find_point(struct gdb_stub *s, const struct gdb_point *p)
{
	for (unsigned i = 0; i < s->points; i++)
		if (s->point[i].kind == p->kind && s->point[i].lin == p->lin && s->point[i].len == p->len)
			return &s->point[i];
	return NULL;
}

static void insert_point(struct gdb_stub *s, const char *args)
{
	struct gdb_point p;

	if (!parse_point(args, &p)) {
		say(s, E_BAD);
		return;
	}
	if (!find_point(s, &p)) {
		if (s->points == GDB_POINTS_MAX) {
			say(s, "E.too many breakpoints and watchpoints, 64 at most");
			return;
		}
		s->point[s->points++] = p;
	}
	say(s, "OK");
}

static void remove_point(struct gdb_stub *s, const char *args)
{
	struct gdb_point p, *at;

	if (!parse_point(args, &p)) {
		say(s, E_BAD);
		return;
	}
	at = find_point(s, &p);
	if (at)
		*at = s->point[--s->points];
	say(s, "OK");
}

/* ---- moving ------------------------------------------------------------------------------------------------ */

static void console_text(struct gdb_stub *s, const char *text, size_t len)
{
	while (len) {
		size_t part = len < GDB_PACKET_MAX / 2 - 1 ? len : GDB_PACKET_MAX / 2 - 1;
		struct gdb_text packet = { 0 };

		gdb_text_add(&packet, "O", 1);
		gdb_text_hex(&packet, text, part);
		if (!packet.full)
			gdb_link_send(&s->link, packet.data, packet.len, false);
		gdb_text_free(&packet);
		text += part;
		len -= part;
	}
}

/* gdb takes a breakpoint reported where its $pc knows of none for one that was removed meanwhile, and goes on without a word: in a segment that begins
 * elsewhere than at 0, where $pc is not the linear address, it is not told the reason and stops for the signal alone. */
static bool pc_is_linear(struct gdb_stub *s)
{
	return vcpu_of(s)->seg[SEG_CS].base == 0;
}

static void add_stop_reason(struct gdb_stub *s, const struct gdb_stop *stop)
{
	static const char *const names[GDB_POINT_KINDS] = { "swbreak", "hwbreak", "watch", "rwatch", "awatch" };

	if (stop->why == GDB_STOP_BEGIN || stop->why == GDB_STOP_END)
		gdb_text_put(&s->reply, "replaylog:%s;", stop->why == GDB_STOP_BEGIN ? "begin" : "end");
	if (stop->why != GDB_STOP_POINT || stop->point >= s->points)
		return;
	const struct gdb_point *point = &s->point[stop->point];
	if (point->kind < GDB_WATCH_WRITE && !pc_is_linear(s))
		return;
	gdb_text_put(&s->reply, "%s:", names[point->kind]);
	if (point->kind >= GDB_WATCH_WRITE)
		gdb_text_put(&s->reply, "%x", stop->lin);
	gdb_text_put(&s->reply, ";");
}

static void stop_reply(struct gdb_stub *s)
{
	static const unsigned sent_along[] = { GDB_REG_EBP, GDB_REG_ESP, GDB_REG_EIP };

	if (s->stop.why == GDB_STOP_EXITED) {
		gdb_text_put(&s->reply, "W%02x", s->stop.code);
		return;
	}
	gdb_text_put(&s->reply, "T%02x", s->stop.why == GDB_STOP_INTERRUPTED ? SIGNAL_INT : SIGNAL_TRAP);
	for (unsigned i = 0; i < 3; i++) {
		gdb_text_put(&s->reply, "%02x:", sent_along[i]);
		add_register(s, sent_along[i]);
		gdb_text_put(&s->reply, ";");
	}
	gdb_text_put(&s->reply, "thread:1;");
	add_stop_reason(s, &s->stop);
}

static void tell_stop(struct gdb_stub *s)
{
	s->stop.message[sizeof(s->stop.message) - 1] = 0;
	console_text(s, s->stop.message, strlen(s->stop.message));
	stop_reply(s);
}

static void resume(struct gdb_stub *s, enum gdb_motion motion)
{
	if (s->options.flush)
		s->options.flush(s->options.self);
	memset(&s->stop, 0, sizeof(s->stop));
	s->target->resume(s->target->self, motion, s->point, s->points, &s->stop);
	tell_stop(s);
}

static void why_stopped(struct gdb_stub *s, const char *args)
{
	(void)args;
	stop_reply(s);
}

/* The processor goes on where it is, or at an address: that cannot be given to a recording. */
static void resume_at(struct gdb_stub *s, const char *args, enum gdb_motion motion)
{
	uint8_t value[4];
	uint64_t eip;

	if (*args && s->target->refusal) {
		refuse_write(s, args);
		return;
	}
	if (!*args) {
		resume(s, motion);
		return;
	}
	if (!take_hex(&args, &eip) || *args || eip > UINT32_MAX) {
		say(s, E_BAD);
		return;
	}
	for (unsigned i = 0; i < 4; i++)
		value[i] = (uint8_t)(eip >> 8 * i);
	if (write_register(s, GDB_REG_EIP, value, sizeof(value)))
		resume(s, motion);
}

static void step(struct gdb_stub *s, const char *args)
{
	resume_at(s, args, GDB_STEP);
}

static void cont(struct gdb_stub *s, const char *args)
{
	resume_at(s, args, GDB_CONTINUE);
}

/* With a signal, which a processor does not know. */
static void step_signal(struct gdb_stub *s, const char *args)
{
	(void)args;
	resume(s, GDB_STEP);
}

static void cont_signal(struct gdb_stub *s, const char *args)
{
	(void)args;
	resume(s, GDB_CONTINUE);
}

static void backward(struct gdb_stub *s, const char *args)
{
	if (!s->target->reversible)
		return;
	if (!strcmp(args, "s"))
		resume(s, GDB_BACK_STEP);
	else if (!strcmp(args, "c"))
		resume(s, GDB_BACK_CONTINUE);
}

/* Steps while the instruction pointer stays in [start, end): one packet for a source line. */
static void step_range(struct gdb_stub *s, const char *args)
{
	uint64_t start, end, eip, steps = 0;

	if (!take_hex(&args, &start) || !take_char(&args, ',') || !take_hex(&args, &end)) {
		say(s, E_BAD);
		return;
	}
	if (s->options.flush)
		s->options.flush(s->options.self);
	do {
		memset(&s->stop, 0, sizeof(s->stop));
		s->target->resume(s->target->self, GDB_STEP, s->point, s->points, &s->stop);
		eip = vcpu_of(s)->rip;
		if (++steps % LISTEN_STEPS == 0 && s->target->interrupted && s->target->interrupted(s->target->self))
			s->stop.why = GDB_STOP_INTERRUPTED;
	} while (s->stop.why == GDB_STOP_STEPPED && eip >= start && eip < end);
	tell_stop(s);
}

/* One thread: the first action is the one. */
static void v_cont(struct gdb_stub *s, const char *args)
{
	switch (*args) {
	case 'c':
	case 'C': resume(s, GDB_CONTINUE); break;
	case 's':
	case 'S': resume(s, GDB_STEP); break;
	case 'r': step_range(s, args + 1); break;
	default: say(s, E_BAD);
	}
}

/* ---- queries ----------------------------------------------------------------------------------------------- */

static void supported(struct gdb_stub *s, const char *args)
{
	(void)args;
	gdb_text_put(
	        &s->reply,
	        "PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;swbreak+;hwbreak+;vContSupported+;multiprocess-",
	        GDB_PACKET_MAX);
	if (s->target->reversible)
		say(s, ";ReverseStep+;ReverseContinue+");
}

static void no_ack(struct gdb_stub *s, const char *args)
{
	(void)args;
	say(s, "OK");
	s->agree_no_ack = true;
}

static void features(struct gdb_stub *s, const char *args)
{
	uint64_t at, len;

	if (!take_hex(&args, &at) || !take_char(&args, ',') || !take_hex(&args, &len) || *args ||
	    at > s->description_len) {
		say(s, E_BAD);
		return;
	}
	len = len < MEMORY_MAX ? len : MEMORY_MAX; /* room to escape each byte */
	s->binary = true;
	gdb_text_add(&s->reply, s->description_len - at > len ? "m" : "l", 1);
	gdb_text_add(&s->reply, s->description + at,
	             s->description_len - at > len ? (size_t)len : s->description_len - (size_t)at);
}

static void monitor(struct gdb_stub *s, const char *args)
{
	struct gdb_text out = { 0 };
	char line[512];
	size_t n = 0;

	for (; n < sizeof(line) - 1 && gdb_hex_digit(args[0]) >= 0 && gdb_hex_digit(args[1]) >= 0; args += 2)
		line[n++] = (char)(gdb_hex_digit(args[0]) << 4 | gdb_hex_digit(args[1]));
	line[n] = 0;
	if (*args) {
		say(s, E_BAD);
		return;
	}
	if (s->options.flush)
		s->options.flush(s->options.self);
	s->target->monitor(s->target->self, line, &out);
	console_text(s, out.data ? out.data : "", out.len);
	gdb_text_free(&out);
	say(s, "OK");
}

static void thread_extra(struct gdb_stub *s, const char *args)
{
	static const char text[] = "the vCPU";

	(void)args;
	gdb_text_hex(&s->reply, text, sizeof(text) - 1);
}

static void detach(struct gdb_stub *s, const char *args)
{
	(void)args;
	s->closing = GDB_DETACHED;
	say(s, "OK");
}

static void kill_request(struct gdb_stub *s, const char *args)
{
	(void)args;
	s->closing = GDB_KILLED;
	s->silent = true;
}

static void v_kill(struct gdb_stub *s, const char *args)
{
	(void)args;
	s->closing = GDB_KILLED;
	say(s, "OK");
}

/* ---- the table --------------------------------------------------------------------------------------------- */

static const struct command {
	const char *prefix;
	void (*run)(struct gdb_stub *s, const char *args); /* args: what follows the prefix */
	const char *fixed;                                 /* or always this reply */
} commands[] = {
	{ "?", why_stopped, NULL },
	{ "g", read_registers, NULL },
	{ "p", read_register, NULL },
	{ "G", write_registers, NULL },
	{ "P", write_one_register, NULL },
	{ "m", read_memory_hex, NULL },
	{ "x", read_memory_binary, NULL },
	{ "M", write_memory, NULL },
	{ "X", write_binary, NULL },
	{ "Z", insert_point, NULL },
	{ "z", remove_point, NULL },
	{ "s", step, NULL },
	{ "c", cont, NULL },
	{ "S", step_signal, NULL },
	{ "C", cont_signal, NULL },
	{ "b", backward, NULL },
	{ "vCont?", NULL, "vCont;c;C;s;S;r" },
	{ "vCont;", v_cont, NULL },
	{ "vKill", v_kill, NULL },
	{ "qSupported", supported, NULL },
	{ "QStartNoAckMode", no_ack, NULL },
	{ "qXfer:features:read:target.xml:", features, NULL },
	{ "qRcmd,", monitor, NULL },
	{ "qAttached", NULL, "1" },
	{ "qCRC", NULL, "" },
	{ "qC", NULL, "QC1" },
	{ "qfThreadInfo", NULL, "m1" },
	{ "qsThreadInfo", NULL, "l" },
	{ "qThreadExtraInfo", thread_extra, NULL },
	{ "qSymbol::", NULL, "OK" },
	{ "H", NULL, "OK" },
	{ "T", NULL, "OK" },
	{ "D", detach, NULL },
	{ "k", kill_request, NULL },
};

static void dispatch(struct gdb_stub *s, const char *body)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		size_t n = strlen(commands[i].prefix);

		if (strncmp(body, commands[i].prefix, n))
			continue;
		if (commands[i].run)
			commands[i].run(s, body + n);
		else
			say(s, commands[i].fixed);
		return;
	}
}

static void answer(struct gdb_stub *s, const char *body)
{
	gdb_text_reset(&s->reply);
	s->binary = s->silent = false;
	if (body)
		dispatch(s, body);
	else
		say(s, "E.the packet is longer than PacketSize");
	if (!s->silent)
		gdb_link_send(&s->link, s->reply.data ? s->reply.data : "", s->reply.len, s->binary);
	if (s->agree_no_ack)
		s->link.no_ack = true;
}

/* ---- from outside ------------------------------------------------------------------------------------------ */

struct gdb_stub *gdb_stub_create(const struct gdb_stub_options *options)
{
	struct gdb_stub *s = calloc(1, sizeof(*s));
	struct gdb_text description = { 0 };

	if (!s)
		return NULL;
	s->options = *options;
	s->target = options->target;
	gdb_regs_describe(&description);
	s->description = description.data;
	s->description_len = description.len;
	if (description.full) {
		gdb_stub_destroy(s);
		return NULL;
	}
	return s;
}

void gdb_stub_destroy(struct gdb_stub *s)
{
	if (!s)
		return;
	gdb_link_free(&s->link);
	gdb_text_free(&s->reply);
	free(s->description);
	free(s);
}

void gdb_stub_byte(struct gdb_stub *s, uint8_t byte)
{
	if (s->closing != GDB_OPEN)
		return;
	switch (gdb_link_byte(&s->link, byte)) {
	case GDB_RX_PACKET: answer(s, s->link.body); break;
	case GDB_RX_OVERSIZE: answer(s, NULL); break;
	case GDB_RX_INTERRUPT: /* nothing runs: it came too late */
	case GDB_RX_NOTHING: break;
	}
}

void gdb_stub_say(struct gdb_stub *s, const char *text, size_t len)
{
	console_text(s, text, len);
}

struct gdb_text *gdb_stub_output(struct gdb_stub *s)
{
	return &s->link.out;
}

enum gdb_closing gdb_stub_closing(const struct gdb_stub *s)
{
	return s->closing;
}

bool gdb_stub_in_packet(const struct gdb_stub *s)
{
	return s->link.state != LINK_IDLE;
}
