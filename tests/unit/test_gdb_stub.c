/*
 * test_gdb_stub.c - the remote protocol without gdb and without a socket: framing, acknowledgements, every packet's answer, hostile numbers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replayer/gdb/live.h"
#include "replayer/gdb/packet.h"
#include "replayer/gdb/regs.h"
#include "replayer/gdb/stub.h"

struct fixture {
	struct vm *vm;
	struct gdb_target target;
	struct gdb_stub *stub;
	enum gdb_motion motion; /* of the last resume */
	unsigned moves, points;
	struct gdb_point point[GDB_POINTS_MAX];
	struct gdb_stop stop; /* what resume says */
	char line[512];       /* last monitor command */
	unsigned notices;
	char answer[8 * GDB_PACKET_MAX];
};

static struct vm *fixture_vm(void *self)
{
	return ((struct fixture *)self)->vm;
}

static void fixture_resume(void *self, enum gdb_motion motion, const struct gdb_point *points, unsigned count,
                           struct gdb_stop *stop)
{
	struct fixture *f = self;

	f->motion = motion;
	f->moves++;
	f->points = count;
	memcpy(f->point, points, count * sizeof(*points));
	*stop = f->stop;
}

static void fixture_monitor(void *self, const char *line, struct gdb_text *out)
{
	struct fixture *f = self;

	snprintf(f->line, sizeof(f->line), "%s", line);
	gdb_text_put(out, "said %s", line);
}

static void fixture_notice(void *self, const char *text)
{
	(void)text;
	((struct fixture *)self)->notices++;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct vm_config config;
	struct vm_error err;

	vm_config_init(&config);
	config.memory = VM_MEMORY_MIN;
	if (!f || vm_create(&f->vm, &config, &err))
		return -1;
	f->target = (struct gdb_target){ .self = f,
		                         .reversible = true,
		                         .refusal = "no writes here",
		                         .vm = fixture_vm,
		                         .resume = fixture_resume,
		                         .monitor = fixture_monitor };
	f->stub =
	        gdb_stub_create(&(struct gdb_stub_options){ .target = &f->target, .notice = fixture_notice, .self = f });
	*state = f;
	return f->stub ? 0 : -1;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	gdb_stub_destroy(f->stub);
	vm_destroy(f->vm);
	free(f);
	return 0;
}

/* Bytes as they are; the answer as it is. */
static const char *raw(struct fixture *f, const char *bytes)
{
	struct gdb_text *out = gdb_stub_output(f->stub);

	for (; *bytes; bytes++)
		gdb_stub_byte(f->stub, (uint8_t)*bytes);
	snprintf(f->answer, sizeof(f->answer), "%s", out->data ? out->data : "");
	gdb_text_reset(out);
	return f->answer;
}

/* A packet; the answer's body, without the acknowledgement and the frame. */
static const char *ask(struct fixture *f, const char *body)
{
	struct gdb_link frame = { 0 };
	char *text, *end;

	gdb_link_send(&frame, body, strlen(body), false);
	raw(f, frame.out.data);
	gdb_link_free(&frame);
	text = f->answer + (f->answer[0] == '+');
	end = strrchr(text, '#');
	if (end)
		*end = 0;
	return *text == '$' ? text + 1 : text;
}

static void expect(struct fixture *f, const char *body, const char *answer)
{
	assert_string_equal(ask(f, body), answer);
}

/* ---- framing ----------------------------------------------------------------------------------------------- */

static void framing(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(raw(f, "$qC#b4"), "+$QC1#c5");
	assert_string_equal(raw(f, "$qC#b5"), "-");                      /* wrong sum */
	assert_string_equal(raw(f, "$qC#zz"), "-");                      /* no sum */
	assert_string_equal(raw(f, "-"), "$QC1#c5");                     /* once more, please */
	assert_string_equal(raw(f, "junk\x03+++$qC#B4"), "+$QC1#c5");    /* between packets anything */
	assert_string_equal(raw(f, "$half a packet$qC#b4"), "+$QC1#c5"); /* a new one begins */
	assert_string_equal(raw(f, "$}QC#11"), "+$QC1#c5");              /* an escaped q: Q is q ^ 0x20 */
}

static void escapes(void **state)
{
	struct gdb_link *l = calloc(1, sizeof(*l)), *in = calloc(1, sizeof(*in));
	const char all[] = "a}b$c#d*e\x03";

	(void)state;
	assert_non_null(l);
	assert_non_null(in);
	gdb_link_send(l, all, sizeof(all), true);
	for (size_t i = 0; i + 1 < l->out.len; i++)
		assert_int_equal(gdb_link_byte(in, (uint8_t)l->out.data[i]), GDB_RX_NOTHING);
	assert_int_equal(gdb_link_byte(in, (uint8_t)l->out.data[l->out.len - 1]), GDB_RX_PACKET);
	assert_int_equal(in->len, sizeof(all));
	assert_memory_equal(in->body, all, sizeof(all));
	gdb_link_free(l);
	gdb_link_free(in);
	free(l);
	free(in);
}

static void no_ack(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(raw(f, "$QStartNoAckMode#b0"), "+$OK#9a");
	assert_string_equal(raw(f, "+$qC#b4"), "$QC1#c5");
	assert_string_equal(raw(f, "$qC#00"), "$QC1#c5"); /* sums are not looked at */
	assert_string_equal(raw(f, "-"), "");
}

static void oversize(void **state)
{
	struct fixture *f = *state;
	size_t len = 3 * GDB_PACKET_MAX;
	char *body = malloc(len + 1);

	assert_non_null(body);
	memset(body, 'm', len);
	body[len] = 0;
	assert_non_null(strstr(ask(f, body), "E."));
	body[GDB_PACKET_MAX] = 0; /* fits, and is nonsense */
	expect(f, body, "E22");
	expect(f, "qC", "QC1");
	free(body);
}

/* ---- packets ----------------------------------------------------------------------------------------------- */

static void queries(void **state)
{
	struct fixture *f = *state;

	assert_non_null(strstr(ask(f, "qSupported:swbreak+;hwbreak+"), "ReverseStep+;ReverseContinue+"));
	f->target.reversible = false;
	assert_null(strstr(ask(f, "qSupported"), "Reverse"));
	expect(f, "bs", "");
	f->target.reversible = true;
	expect(f, "vMustReplyEmpty", "");
	expect(f, "nonsense", "");
	expect(f, "", "");
	expect(f, "qCRC:0,10", "");
	expect(f, "qAttached", "1");
	expect(f, "qfThreadInfo", "m1");
	expect(f, "qsThreadInfo", "l");
	expect(f, "Hg0", "OK");
	expect(f, "vCont?", "vCont;c;C;s;S;r");
}

static void description(void **state)
{
	struct fixture *f = *state;
	struct gdb_text whole = { 0 }, all = { 0 };
	const char *part;
	char request[64];

	gdb_regs_describe(&all);
	do {
		snprintf(request, sizeof(request), "qXfer:features:read:target.xml:%zx,%x", whole.len, 1000);
		part = ask(f, request);
		for (const char *p = part + 1; *p; p++) {
			char c = *p == '}' ? (char)(*++p ^ 0x20) : *p;

			gdb_text_add(&whole, &c, 1);
		}
	} while (*part == 'm');
	assert_int_equal(*part, 'l');
	assert_string_equal(whole.data, all.data);
	assert_non_null(strstr(all.data, "org.ringside.system"));
	expect(f, "qXfer:features:read:target.xml:ffffffffffffffff,10", "E22");
	expect(f, "qXfer:features:read:target.xml:0", "E22");
	expect(f, "qXfer:features:read:other.xml:0,10", "");
	gdb_text_free(&whole);
	gdb_text_free(&all);
}

static void registers(void **state)
{
	struct fixture *f = *state;
	char request[32];

	vm_vcpu(f->vm)->gpr[R_CX] = 0x12345678;
	vm_vcpu(f->vm)->icount = 0x1122334455667788;
	expect(f, "p1", "78563412");
	expect(f, "p29", "8877665544332211"); /* the first of our own */
	assert_memory_equal(ask(f, "g") + 8, "78563412", 8);
	snprintf(request, sizeof(request), "p%x", gdb_regs_count());
	expect(f, request, "E22");
	expect(f, "pffffffffffffffff", "E22");
	expect(f, "p11111111111111111111", "E22");
	expect(f, "p", "E22");
	expect(f, "P1=00000000", "E.no writes here");
	expect(f, "G00", "E.no writes here");
	assert_int_equal(vm_vcpu(f->vm)->gpr[R_CX], 0x12345678);
	assert_int_equal(f->notices, 1); /* said once */
}

static void memory(void **state)
{
	struct fixture *f = *state;

	memcpy(vm_ram(f->vm) + 0x1000, "\x01\x02\xab\xff", 4);
	expect(f, "m1000,4", "0102abff");
	expect(f, "m1000,0", "");
	assert_int_equal(strlen(ask(f, "m1000,ffffffffffffffff")), GDB_PACKET_MAX);
	assert_int_equal(strlen(ask(f, "m1ffff8,100")), 16); /* up to the end of RAM */
	expect(f, "m200000,4", "E14");
	expect(f, "ma0000,4", "E14"); /* not RAM */
	expect(f, "mffffffffffffffff,4", "E14");
	expect(f, "mfffffffffffffffff,4", "E22");
	expect(f, "m,4", "E22");
	expect(f, "m10", "E22");
	expect(f, "M1000,1:00", "E.no writes here");
	expect(f, "X1000,0:", "");
	assert_int_equal(vm_ram(f->vm)[0x1000], 1);
}

/* The same packets where nothing is refused. */
static void writes(void **state)
{
	struct fixture *f = *state;
	struct vcpu *c = vm_vcpu(f->vm);
	struct vm_error err;
	struct live *live;
	char request[64], all[8192], *at;

	assert_int_equal(live_open(&live, f->vm, &(struct live_options){ 0 }, &err), 0);
	f->target = *live_target(live);
	expect(f, "P1=78563412", "OK");
	assert_int_equal(c->gpr[R_CX], 0x12345678);
	expect(f, "P8=00010000", "OK");
	assert_int_equal(c->rip, 0x100);
	expect(f, "P9=ffffffff", "E.eflags: this register cannot be changed here"); /* VM86 is another mode */
	expect(f, "P9=d7000000", "OK");
	assert_int_equal(vcpu_get_eflags(c), 0xd7);
	expect(f, "Pc=34120000", "OK"); /* ds, in real mode */
	assert_int_equal(c->seg[SEG_DS].base, 0x12340);
	expect(f, "P10=0102030405060708090a", "OK");
	expect(f, "p10", "0102030405060708090a");
	expect(f, "P20=000102030405060708090a0b0c0d0e0f", "OK");
	expect(f, "p20", "000102030405060708090a0b0c0d0e0f");
	expect(f, "P28=ffffffff", "E.registers: MXCSR has reserved bits set");
	expect(f, "P28=801f0000", "OK");
	expect(f, "P29=0000000000000000", "OK"); /* icount, as it is */
	expect(f, "P29=0100000000000000", "E.icount: this register cannot be changed here");
	expect(f, "P1=00", "E.ecx: this register has another size");
	expect(f, "P1=zz563412", "E22");
	expect(f, "P1", "E22");
	expect(f, "P1=", "E.ecx: this register has another size");
	snprintf(request, sizeof(request), "P%x=00000000", gdb_regs_count());
	expect(f, request, "E22");
	snprintf(request, sizeof(request), "P1=%050d", 0);
	expect(f, request, "E22");
	/* all of them, as they were read, with another edx; a part of them; half a register */
	snprintf(all, sizeof(all), "G%s", ask(f, "g"));
	at = all + 1 + 16;
	memcpy(at, "efbeadde", 8);
	expect(f, all, "OK");
	assert_int_equal(c->gpr[R_DX], 0xdeadbeef);
	expect(f, "G01000000", "OK");
	assert_int_equal(c->gpr[R_AX], 1);
	expect(f, "G0100", "E22");

	expect(f, "M1ffe,4:0a0b0c0d", "OK"); /* across a page */
	assert_memory_equal(vm_ram(f->vm) + 0x1ffe, "\x0a\x0b\x0c\x0d", 4);
	expect(f, "X1000,3:a}\x03z", "OK");
	assert_memory_equal(vm_ram(f->vm) + 0x1000, "a#z", 3);
	expect(f, "X1000,0:", "OK");
	expect(f, "X1000,2:a", "E22");
	expect(f, "M1000,2:00", "E22");
	expect(f, "M1000,1:0000", "E22");
	expect(f, "M9ffff,2:0102", "E.no memory is mapped at 0xa0000");
	assert_int_equal(vm_ram(f->vm)[0x9ffff], 0); /* not half of it */
	expect(f, "Mffffffff,2:0102", "E14");
	expect(f, "M1000,ffffffff:00", "E22");
	live_close(live);
}

static void points(void **state)
{
	struct fixture *f = *state;
	char request[64];

	expect(f, "Z0,1000,1", "OK");
	expect(f, "Z0,1000,1", "OK"); /* the same */
	expect(f, "Z2,2000,8", "OK");
	expect(f, "Z5,0,1", "E22");
	expect(f, "Z2,2000,0", "E22");
	expect(f, "Z2,2000,1001", "E22");
	expect(f, "Z2,100000000,4", "E22");
	expect(f, "Z2,2000", "E22");
	expect(f, "z3,7777,4", "OK"); /* was not there: fine */
	f->stop = (struct gdb_stop){ .why = GDB_STOP_POINT, .point = 1, .lin = 0x2004 };
	assert_non_null(strstr(ask(f, "vCont;c"), "thread:1;watch:2004;"));
	assert_int_equal(f->motion, GDB_CONTINUE);
	assert_int_equal(f->points, 2);
	vm_vcpu(f->vm)->seg[SEG_CS].base = 0;
	f->stop.point = 0;
	assert_non_null(strstr(ask(f, "bc"), "swbreak:;"));
	assert_int_equal(f->motion, GDB_BACK_CONTINUE);
	/* gdb's $pc is not the address of its breakpoint: the signal alone stops it */
	vm_vcpu(f->vm)->seg[SEG_CS].base = 0x100;
	assert_null(strstr(ask(f, "bc"), "swbreak"));
	f->stop.point = 1;
	assert_non_null(strstr(ask(f, "bc"), "watch:2004;"));
	vm_vcpu(f->vm)->seg[SEG_CS].base = 0;
	expect(f, "z0,1000,1", "OK");
	f->stop = (struct gdb_stop){ .why = GDB_STOP_STEPPED };
	ask(f, "s");
	assert_int_equal(f->points, 1);
	for (unsigned i = 1; i < GDB_POINTS_MAX; i++) {
		snprintf(request, sizeof(request), "Z1,%x,1", i);
		expect(f, request, "OK");
	}
	assert_non_null(strstr(ask(f, "Z1,ffff,1"), "E.too many"));
}

static void stops(void **state)
{
	struct fixture *f = *state;

	f->stop.why = GDB_STOP_BEGIN;
	assert_non_null(strstr(ask(f, "bs"), "replaylog:begin;"));
	assert_int_equal(f->motion, GDB_BACK_STEP);
	f->stop.why = GDB_STOP_END;
	assert_non_null(strstr(ask(f, "c"), "replaylog:end;"));
	assert_non_null(strstr(ask(f, "?"), "replaylog:end;"));
	f->stop.why = GDB_STOP_INTERRUPTED;
	assert_memory_equal(ask(f, "vCont;c:1"), "T02", 3);
	f->stop.why = GDB_STOP_FAILED;
	strcpy(f->stop.message, "x");
	assert_memory_equal(ask(f, "s"), "O78#", 4);
	f->stop = (struct gdb_stop){ .why = GDB_STOP_STEPPED };
	f->moves = 0;
	vm_vcpu(f->vm)->rip = 0x100;
	ask(f, "vCont;r0,10:1");
	assert_int_equal(f->moves, 1); /* out of the range at once */
	expect(f, "vCont;r0", "E22");
	expect(f, "vCont;x", "E22");
	expect(f, "s100", "E.no writes here");
	expect(f, "bx", "");
	assert_int_equal(f->moves, 1);
}

static void monitor(void **state)
{
	struct fixture *f = *state;
	char request[2048] = "qRcmd,";

	assert_memory_equal(ask(f, "qRcmd,6869"), "O73616964206869#", 16); /* "said hi" */
	assert_string_equal(f->line, "hi");
	expect(f, "qRcmd,686", "E22");
	for (int i = 0; i < 500; i++)
		strcat(request, "41");
	ask(f, request);
	assert_int_equal(strlen(f->line), 500);
}

static void goodbye(void **state)
{
	struct fixture *f = *state;

	expect(f, "D", "OK");
	assert_int_equal(gdb_stub_closing(f->stub), GDB_DETACHED);
	assert_string_equal(raw(f, "$qC#b4"), "");
}

static void kill_it(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(raw(f, "$k#6b"), "+");
	assert_int_equal(gdb_stub_closing(f->stub), GDB_KILLED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(framing, set_up, tear_down),
		cmocka_unit_test(escapes),
		cmocka_unit_test_setup_teardown(no_ack, set_up, tear_down),
		cmocka_unit_test_setup_teardown(oversize, set_up, tear_down),
		cmocka_unit_test_setup_teardown(queries, set_up, tear_down),
		cmocka_unit_test_setup_teardown(description, set_up, tear_down),
		cmocka_unit_test_setup_teardown(registers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(writes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(points, set_up, tear_down),
		cmocka_unit_test_setup_teardown(stops, set_up, tear_down),
		cmocka_unit_test_setup_teardown(monitor, set_up, tear_down),
		cmocka_unit_test_setup_teardown(goodbye, set_up, tear_down),
		cmocka_unit_test_setup_teardown(kill_it, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
