/*
 * test_dev_machine.c - the whole machine through its vm_input: bus, ends, interrupts, idling, outside input, noise.
 */
#include "tests/unit/dev_rig.h"

#include <time.h>
#include <unistd.h>

static uint64_t read_port(struct machine_rig *r, uint16_t port, unsigned size)
{
	return r->in.pio_read(r->in.self, port, size);
}

static void write_port(struct machine_rig *r, uint16_t port, unsigned size, uint32_t value)
{
	r->in.pio_write(r->in.self, port, size, value);
}

static void test_nothing_there(void **state)
{
	struct machine_rig r;

	(void)state;
	machine_rig_open(&r, -1, false);
	assert_int_equal(read_port(&r, 0x1234, 1), 0xff);
	assert_int_equal(read_port(&r, 0x1234, 2), 0xffff);
	assert_int_equal(read_port(&r, 0x1234, 4), 0xffffffff);
	assert_int_equal(read_port(&r, 0xffff, 4), 0xffffffff);
	write_port(&r, 0xffff, 4, 0);
	assert_int_equal(r.in.mmio_read(r.in.self, 0xa0000, 4), 0xffffffff);
	assert_int_equal(r.in.mmio_read(r.in.self, 0xb7fff, 1), 0xff);
	assert_int_equal(r.in.mmio_read(r.in.self, 0xfee00000, 4), 0xffffffff);
	assert_int_equal(r.in.mmio_read(r.in.self, UINT64_MAX, 8), UINT64_MAX);
	r.in.mmio_write(r.in.self, UINT64_MAX, 8, 0);
	machine_rig_close(&r);
}

static void test_wide_accesses_split(void **state)
{
	struct machine_rig r;

	(void)state;
	machine_rig_open(&r, -1, false);
	write_port(&r, 0x3d4, 2, 0x5a0f); /* index 0x0f, data 0x5a */
	assert_int_equal(read_port(&r, 0x3d4, 2), 0x5a0f);
	assert_int_equal(read_port(&r, 0x3ff, 2), 0xff00); /* scratch, and nothing behind it */
	assert_int_equal(read_port(&r, 0x20, 4), 0xffffff00 | read_port(&r, 0x20, 1));
	machine_rig_close(&r);
}

static void test_text_memory(void **state)
{
	struct machine_rig r;

	(void)state;
	machine_rig_open(&r, -1, false);
	assert_int_equal(r.in.mmio_read(r.in.self, 0xb8000, 4), 0x07200720);
	r.in.mmio_write(r.in.self, 0xb8ffe, 4, 0x11223344);
	assert_int_equal(r.in.mmio_read(r.in.self, 0xb8ffe, 4), 0x11223344);
	assert_int_equal(r.in.mmio_read(r.in.self, 0xb9000, 2), 0x1122);
	r.in.mmio_write(r.in.self, 0xbfffc, 8, 0x8877665544332211);
	assert_int_equal(r.in.mmio_read(r.in.self, 0xbfffc, 8), 0xffffffff44332211);
	assert_int_equal(r.in.mmio_read(r.in.self, 0xb7ffe, 4), 0x0720ffff);
	machine_rig_close(&r);
}

static void test_vga_registers(void **state)
{
	struct machine_rig r;
	bool retrace = false, shown = false;

	(void)state;
	machine_rig_open(&r, -1, false);
	assert_int_equal(machine_rig_in(&r, 0x3cc), 0x67);
	machine_rig_out(&r, 0x3d4, 0x00);
	machine_rig_out(&r, 0x3d5, 0x12);
	assert_int_equal(machine_rig_in(&r, 0x3d5), 0x5f); /* protected */
	machine_rig_in(&r, 0x3da);
	machine_rig_out(&r, 0x3c0, 0x10);
	machine_rig_out(&r, 0x3c0, 0x55);
	machine_rig_out(&r, 0x3c0, 0x10);
	assert_int_equal(machine_rig_in(&r, 0x3c1), 0x55);
	for (r.clock.icount_now = 0; r.clock.icount_now < 15 * MS; r.clock.icount_now += 10000) {
		retrace |= machine_rig_in(&r, 0x3da) & 8;
		shown |= !(machine_rig_in(&r, 0x3da) & 1);
	}
	assert_true(retrace && shown);
	machine_rig_close(&r);
}

struct end {
	uint16_t port;
	uint8_t size;
	uint32_t value;
	uint16_t then_port; /* a second write, unless 0 */
	uint32_t then_value;
	enum vm_stop_reason reason;
	uint64_t code;
};

static const struct end ends[] = {
	{ 0xf4, 1, 0, 0, 0, STOP_DEBUG_EXIT, 1 },
	{ 0xf4, 4, 0x10, 0, 0, STOP_DEBUG_EXIT, 0x21 },
	{ 0xf4, 4, 0xffffffff, 0, 0, STOP_DEBUG_EXIT, 0x1ffffffff },
	{ 0x604, 2, 0x2000, 0, 0, STOP_POWEROFF, 0 },
	{ 0x605, 1, 0x20, 0, 0, STOP_POWEROFF, 0 },
	{ 0x92, 1, 0x01, 0, 0, STOP_RESET, 0 },
	{ 0xcf9, 1, 0x02, 0xcf9, 0x06, STOP_RESET, 0 },
	{ 0x64, 1, 0xfe, 0, 0, STOP_RESET, 0 },
	{ 0x64, 1, 0xd1, 0x60, 0x02, STOP_RESET, 0 },
	/* and these do not end it */
	{ 0xcf8, 4, 0x80000600, 0, 0, STOP_NONE, 0 },
	{ 0xcf8, 2, 0xffff, 0, 0, STOP_NONE, 0 },
	{ 0x92, 1, 0x02, 0, 0, STOP_NONE, 0 },
	{ 0x64, 1, 0xff, 0, 0, STOP_NONE, 0 },
	{ 0x64, 1, 0xd1, 0x60, 0x01, STOP_NONE, 0 },
	{ 0x604, 2, 0x1c00, 0, 0, STOP_NONE, 0 },
	{ 0xcf9, 1, 0x02, 0, 0, STOP_NONE, 0 },
};

static void test_ends(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		const struct end *e = &ends[i];
		struct machine_rig r;
		struct vm_turn turn;

		machine_rig_open(&r, -1, false);
		machine_rig_poll(&r, false);
		write_port(&r, e->port, e->size, e->value);
		if (e->then_port)
			write_port(&r, e->then_port, 1, e->then_value);
		turn = machine_rig_poll(&r, false);
		assert_int_equal(turn.stop, e->reason);
		assert_int_equal(turn.stop_code, e->code);
		if (e->reason != STOP_NONE)
			assert_true(strncmp(turn.stop_message, "the guest ", 10) == 0);
		machine_rig_close(&r);
	}
}

static void test_a20_is_wired_on(void **state)
{
	struct machine_rig r;

	(void)state;
	machine_rig_open(&r, -1, false);
	machine_rig_out(&r, 0x92, 0x00);
	assert_int_equal(machine_rig_in(&r, 0x92) & 0x02, 0x02);
	machine_rig_out(&r, 0x64, 0xd1);
	machine_rig_out(&r, 0x60, 0xdd);
	machine_rig_out(&r, 0x64, 0xd0);
	assert_int_equal(machine_rig_in(&r, 0x60) & 0x02, 0x02);
	machine_rig_close(&r);
}

static uint8_t kbc_answer(struct machine_rig *r, uint8_t command)
{
	machine_rig_out(r, 0x64, command);
	assert_int_equal(machine_rig_in(r, 0x64) & 0x03, 0x01);
	return machine_rig_in(r, 0x60);
}

/* The steps by which Linux looks for a controller, a mouse port and a keyboard. */
static void test_i8042_probing(void **state)
{
	struct machine_rig r;

	(void)state;
	machine_rig_open(&r, -1, false);
	machine_rig_pic(&r, 0xfd, 0xff);
	assert_int_equal(machine_rig_in(&r, 0x64) & 0x01, 0);
	assert_int_equal(machine_rig_in(&r, 0x64) & 0x10, 0x10); /* not locked */
	assert_int_equal(kbc_answer(&r, 0xaa), 0x55);
	assert_int_equal(kbc_answer(&r, 0xab), 0x00);
	machine_rig_out(&r, 0x64, 0x60);
	machine_rig_out(&r, 0x60, 0x74); /* interrupt off */
	assert_int_equal(kbc_answer(&r, 0x20), 0x74);
	machine_rig_out(&r, 0x64, 0xd3);
	machine_rig_out(&r, 0x60, 0x5a);
	assert_int_equal(machine_rig_in(&r, 0x64) & 0x21, 0x01); /* an answer, but not the auxiliary port's */
	machine_rig_in(&r, 0x60);
	assert_int_equal(kbc_answer(&r, 0xa9), 0x01); /* that one's line is stuck */
	assert_int_equal(machine_rig_poll(&r, true).vector, -1);
	machine_rig_out(&r, 0x64, 0x60);
	machine_rig_out(&r, 0x60, 0x65);
	machine_rig_out(&r, 0x60, 0xf2); /* keyboard, who are you? */
	assert_int_equal(machine_rig_poll(&r, true).vector, 0x21);
	assert_int_equal(machine_rig_in(&r, 0x64) & 0x41, 0x41); /* timeout */
	assert_int_equal(machine_rig_in(&r, 0x60), 0xfe);
	assert_int_equal(machine_rig_in(&r, 0x64) & 0x41, 0x00);
	machine_rig_close(&r);
}

static void test_consoles(void **state)
{
	struct machine_rig r;

	(void)state;
	machine_rig_open(&r, -1, false);
	machine_rig_out(&r, 0x3f8, 'A');
	machine_rig_out(&r, 0xe9, 'B');
	machine_rig_out(&r, 0x3f8, 'C');
	assert_string_equal(r.serial, "AC");
	assert_string_equal(r.debug, "B");
	assert_int_equal(machine_rig_in(&r, 0xe9), 0xe9);
	machine_rig_out(&r, 0x80, 0x42);
	assert_int_equal(machine_rig_in(&r, 0x80), 0x42);
	machine_rig_close(&r);
}

static void program_timer(struct machine_rig *r, unsigned divisor)
{
	machine_rig_out(r, 0x43, 0x34);
	machine_rig_out(r, 0x40, (uint8_t)divisor);
	machine_rig_out(r, 0x40, (uint8_t)(divisor >> 8));
}

/* The interrupt comes at the first instruction at or after the edge, and the deadline says which. */
static void test_timer_interrupts(void **state)
{
	struct machine_rig r;

	(void)state;
	machine_rig_open(&r, -1, false);
	r.clock.ns_per_insn = 7;
	machine_rig_pic(&r, 0xfe, 0xff);
	program_timer(&r, 1193);
	for (uint64_t n = 1; n < 500; n++) {
		uint64_t due = ((1 + 1193 * n) * SECOND + 1193181) / 1193182, icount = (due + 6) / 7;
		struct vm_turn turn = machine_rig_poll(&r, true);

		assert_int_equal(turn.vector, -1);
		assert_int_equal(turn.deadline, icount);
		r.clock.icount_now = icount - 1;
		assert_int_equal(machine_rig_poll(&r, true).vector, -1);
		r.clock.icount_now = icount;
		assert_int_equal(machine_rig_poll(&r, false).vector, -1);
		assert_int_equal(machine_rig_poll(&r, true).vector, 0x20);
		assert_int_equal(machine_rig_poll(&r, true).vector, -1);
		assert_int_equal(machine_rig_poll(&r, true).deadline,
		                 UINT64_MAX); /* in service: no edge would come through */
		machine_rig_out(&r, 0x20, 0x20);
	}
	machine_rig_close(&r);
}

/* Faults move time too: the deadline follows. */
static void test_deadline_follows_faults(void **state)
{
	struct machine_rig r;
	uint64_t due = (1194 * SECOND + 1193181) / 1193182;

	(void)state;
	machine_rig_open(&r, -1, false);
	r.clock.ns_per_fault = 1000;
	machine_rig_pic(&r, 0xfe, 0xff);
	program_timer(&r, 1193);
	assert_int_equal(machine_rig_poll(&r, true).deadline, due);
	r.clock.faults = 10;
	assert_int_equal(machine_rig_poll(&r, true).deadline, due - 10000);
	machine_rig_close(&r);
}

static void test_idle_jumps_to_the_timer(void **state)
{
	struct machine_rig r;

	(void)state;
	machine_rig_open(&r, -1, false);
	machine_rig_pic(&r, 0xfe, 0xff);
	program_timer(&r, 1193);
	for (uint64_t n = 1; n < 100; n++) {
		uint64_t due = ((1 + 1193 * n) * SECOND + 1193181) / 1193182;

		assert_int_equal(machine_rig_poll(&r, true).vector, -1);
		assert_true(machine_rig_idle(&r));
		assert_int_equal(clock_now(&r.clock), due);
		assert_int_equal(machine_rig_poll(&r, true).vector, 0x20);
		machine_rig_out(&r, 0x20, 0x20);
	}
	machine_rig_close(&r);
}

static void test_idle_jumps_to_the_alarm(void **state)
{
	struct machine_rig r;

	(void)state;
	machine_rig_open(&r, -1, false);
	machine_rig_pic(&r, 0xfb, 0xfe);
	for (uint8_t i = 1; i < 6; i += 2) { /* alarm at 01:01:01 */
		machine_rig_out(&r, 0x70, i);
		machine_rig_out(&r, 0x71, 0x01);
	}
	machine_rig_out(&r, 0x70, 0x0b);
	machine_rig_out(&r, 0x71, 0x22);
	assert_true(machine_rig_idle(&r));
	assert_int_equal(clock_now(&r.clock), 3661 * SECOND);
	assert_int_equal(machine_rig_poll(&r, true).vector, 0x28);
	machine_rig_close(&r);
}

/* Masked, in service, or one-shot and gone: nothing can come, and idle says so instead of spinning. */
static void test_idle_knows_when_nothing_comes(void **state)
{
	struct machine_rig r;

	(void)state;
	machine_rig_open(&r, -1, false);
	assert_false(machine_rig_idle(&r));
	machine_rig_pic(&r, 0xfe, 0xff);
	assert_true(machine_rig_idle(&r));
	assert_int_equal(machine_rig_poll(&r, true).vector, 0x20);
	assert_false(machine_rig_idle(&r)); /* no EOI */
	machine_rig_out(&r, 0x20, 0x20);
	assert_true(machine_rig_idle(&r));
	assert_int_equal(machine_rig_poll(&r, true).vector, 0x20);
	machine_rig_out(&r, 0x20, 0x20);
	machine_rig_out(&r, 0x43, 0x30); /* mode 0: once */
	machine_rig_out(&r, 0x40, 0x10);
	machine_rig_out(&r, 0x40, 0x00);
	assert_true(machine_rig_idle(&r));
	assert_int_equal(machine_rig_poll(&r, true).vector, 0x20);
	machine_rig_out(&r, 0x20, 0x20);
	assert_false(machine_rig_idle(&r));
	machine_rig_close(&r);
}

/* A guest that sleeps from alarm to alarm for ever comes to an end. */
static void test_idle_ends_with_time(void **state)
{
	struct machine_rig r;

	(void)state;
	machine_rig_open(&r, -1, false);
	machine_rig_pic(&r, 0xfb, 0xfe);
	machine_rig_out(&r, 0x70, 0x0b);
	machine_rig_out(&r, 0x71, 0x22);
	for (unsigned days = 0; machine_rig_idle(&r); days++) {
		assert_in_range(days, 0, 60000);
		assert_int_equal(machine_rig_poll(&r, true).vector, 0x28);
		machine_rig_out(&r, 0x70, 0x0c);
		machine_rig_in(&r, 0x71);
		machine_rig_out(&r, 0xa0, 0x20);
		machine_rig_out(&r, 0x20, 0x20);
	}
	machine_rig_close(&r);
}

static void listen(struct machine_rig *r)
{
	machine_rig_pic(r, 0xef, 0xff);
	machine_rig_out(r, 0x3fa, 0x01);
	machine_rig_out(r, 0x3f9, 0x01);
	machine_rig_out(r, 0x3fc, 0x0b);
}

static void test_serial_input(void **state)
{
	struct machine_rig r;
	struct vm_turn turn;
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(write(fd[1], "hello, this is more than a fifo holds", 37), 37);
	machine_rig_open(&r, fd[0], false);
	assert_null(machine_rig_poll(&r, true).input); /* the guest does not listen yet */
	listen(&r);
	turn = machine_rig_poll(&r, true);
	assert_int_equal(turn.input_len, 16);
	assert_memory_equal(turn.input, "hello, this is m", 16);
	assert_int_equal(turn.vector, -1);
	turn = machine_rig_poll(&r, true);
	assert_null(turn.input);
	assert_int_equal(turn.vector, 0x24);
	for (const char *c = "hello, this is m"; *c; c++)
		assert_int_equal(machine_rig_in(&r, 0x3f8), *c);
	machine_rig_out(&r, 0x20, 0x20);
	turn = machine_rig_poll(&r, true);
	assert_null(turn.input); /* at most one look each virtual millisecond */
	assert_int_equal(turn.deadline, MS);
	r.clock.icount_now = MS;
	turn = machine_rig_poll(&r, true);
	assert_int_equal(turn.input_len, 16);
	assert_int_equal(machine_rig_poll(&r, true).vector, 0x24);
	for (int i = 0; i < 16; i++)
		machine_rig_in(&r, 0x3f8);
	machine_rig_out(&r, 0x20, 0x20);
	close(fd[1]);
	assert_true(machine_rig_idle(&r));         /* waits for input, which is there */
	assert_int_equal(clock_now(&r.clock), MS); /* and takes no virtual time */
	turn = machine_rig_poll(&r, true);
	assert_memory_equal(turn.input, "holds", 5);
	while (machine_rig_in(&r, 0x3fd) & 1)
		machine_rig_in(&r, 0x3f8);
	machine_rig_poll(&r, false);
	assert_true(machine_rig_idle(&r));
	assert_null(machine_rig_poll(&r, false).input); /* the end */
	assert_false(machine_rig_idle(&r));
	close(fd[0]);
	machine_rig_close(&r);
}

/* A closed descriptor is the end of input, not a loop. */
static void test_serial_of_no_file(void **state)
{
	struct machine_rig r;

	(void)state;
	machine_rig_open(&r, 1000, false);
	listen(&r);
	assert_null(machine_rig_poll(&r, true).input);
	assert_false(machine_rig_idle(&r));
	machine_rig_close(&r);
}

static uint64_t wall(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void test_pacing(void **state)
{
	struct machine_rig r;
	uint64_t start = wall();

	(void)state;
	machine_rig_open(&r, -1, true);
	machine_rig_pic(&r, 0xfe, 0xff);
	program_timer(&r, 11932);
	machine_rig_poll(&r, true);
	for (int i = 0; i < 3; i++) {
		while (machine_rig_poll(&r, true).vector < 0)
			assert_true(machine_rig_idle(&r));
		machine_rig_out(&r, 0x20, 0x20);
		assert_true(wall() - start >= clock_now(&r.clock));
	}
	assert_true(clock_now(&r.clock) >= 30 * MS);
	r.clock.icount_now += 20 * MS; /* a busy guest is held back as well */
	machine_rig_poll(&r, false);
	assert_true(wall() - start >= clock_now(&r.clock));
	machine_rig_close(&r);
}

static void test_bad_epoch(void **state)
{
	struct clock clock = { .ns_per_insn = 1 };
	struct machine_config config = { .clock = &clock, .serial_fd = -1, .rtc_epoch = -1 };
	struct machine *m;
	struct vm_error err;

	(void)state;
	assert_true(machine_create(&m, &config, &err) < 0);
	assert_null(m);
	assert_non_null(strstr(err.text, "1970"));
	machine_destroy(NULL);
}

/* ---- noise ---- */

static const uint16_t busy_ports[] = {
	0x20,  0x21,  0xa0,  0xa1,  0x4d0, 0x4d1, 0x40,  0x41,  0x42,  0x43,  0x61,  0x70,  0x71,  0x60,  0x64, 0x3f8,
	0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x3c0, 0x3c4, 0x3c8, 0x3c9, 0x3d4, 0x3d5, 0x3da, 0x92, 0xcf9,
};

static uint64_t mix(uint64_t hash, uint64_t value)
{
	return (hash ^ value) * 0x100000001b3ull;
}

static uint64_t noisy_access(struct machine_rig *r, uint64_t dice)
{
	uint16_t port = dice & 1 ? busy_ports[dice >> 8 & 31] : (uint16_t)(dice >> 8);
	unsigned size = 1u << (dice >> 28 & 3) % 3;
	uint64_t gpa = dice & 0x10 ? 0xb7ff0 + (dice >> 32 & 0xffff) : dice >> 16;

	switch (dice >> 1 & 7) {
	case 0: return r->in.mmio_read(r->in.self, gpa, 1u << (dice >> 28 & 3));
	case 1: r->in.mmio_write(r->in.self, gpa, 1u << (dice >> 28 & 3), dice * 0x9e3779b97f4a7c15); return 0;
	case 2:
	case 3:
	case 4: return r->in.pio_read(r->in.self, port, size);
	default: r->in.pio_write(r->in.self, port, size, (uint32_t)(dice >> 32)); return 0;
	}
}

/* A machine that noise has ended is followed by a new one, some of whose interrupts are open. */
static void noise_open(struct machine_rig *r)
{
	machine_rig_open(r, -1, false);
	r->clock.ns_per_insn = 3;
	machine_rig_pic(r, 0xea, 0xfe);
}

/* Any accesses at any times; a digest of all that the guest could see. looks: poll more often than need be. */
static uint64_t noise(uint64_t seed, unsigned steps, bool looks, unsigned *vectors)
{
	struct machine_rig r;
	uint64_t hash = 0;

	noise_open(&r);
	for (unsigned i = 0; i < steps; i++) {
		uint64_t dice = rig_random(&seed), span = rig_random(&seed) % (1ull << (dice >> 50) % 34);
		struct vm_turn turn;

		hash = mix(hash, noisy_access(&r, dice));
		turn = machine_rig_poll(&r, false);
		assert_true(turn.deadline >= r.clock.icount_now);
		if (looks)
			for (unsigned n = 0; n < 3; n++) {
				r.clock.icount_now += span / 4;
				machine_rig_poll(&r, false);
			}
		r.clock.icount_now += looks ? span - span / 4 * 3 : span;
		turn = machine_rig_poll(&r, dice >> 60 & 1);
		hash = mix(mix(hash, (uint64_t)turn.vector), turn.stop);
		*vectors += turn.vector >= 0;
		if (turn.stop != STOP_NONE) {
			machine_rig_close(&r);
			noise_open(&r);
		}
		if (dice >> 61 == 0 && turn.vector < 0)
			hash = mix(hash, machine_rig_idle(&r));
		hash = mix(hash, clock_now(&r.clock));
	}
	hash = mix(mix(hash, r.serial_len), r.debug_len);
	machine_rig_close(&r);
	return hash;
}

static void test_noise_is_harmless_and_repeatable(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		unsigned vectors = 0;
		uint64_t hash = noise(seed * 0x9e3779b9, 20000, false, &vectors);

		assert_true(vectors > 100);
		assert_int_equal(noise(seed * 0x9e3779b9, 20000, false, &vectors), hash);
		assert_int_equal(noise(seed * 0x9e3779b9, 20000, true, &vectors), hash); /* looking changes nothing */
		assert_int_not_equal(noise(seed * 0x9e3779b9 + 1, 20000, false, &vectors), hash);
	}
}

/* Time that wraps, in a machine configured absurdly, harms nobody. */
static void test_noise_at_the_end_of_time(void **state)
{
	uint64_t seed = 17;
	struct machine_rig r;

	(void)state;
	noise_open(&r);
	r.clock.ns_per_insn = 1ull << 40;
	for (int i = 0; i < 300000; i++) {
		uint64_t dice = rig_random(&seed);
		struct vm_turn turn;

		noisy_access(&r, dice);
		r.clock.icount_now += dice >> 40 & 0xfffff;
		turn = machine_rig_poll(&r, dice & 1);
		if (turn.vector < 0 && (dice & 6) == 6)
			machine_rig_idle(&r);
		if (turn.stop != STOP_NONE) {
			machine_rig_close(&r);
			noise_open(&r);
			r.clock.ns_per_insn = 1ull << 40;
		}
	}
	machine_rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_there),
		cmocka_unit_test(test_wide_accesses_split),
		cmocka_unit_test(test_text_memory),
		cmocka_unit_test(test_vga_registers),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_a20_is_wired_on),
		cmocka_unit_test(test_i8042_probing),
		cmocka_unit_test(test_consoles),
		cmocka_unit_test(test_timer_interrupts),
		cmocka_unit_test(test_deadline_follows_faults),
		cmocka_unit_test(test_idle_jumps_to_the_timer),
		cmocka_unit_test(test_idle_jumps_to_the_alarm),
		cmocka_unit_test(test_idle_knows_when_nothing_comes),
		cmocka_unit_test(test_idle_ends_with_time),
		cmocka_unit_test(test_serial_input),
		cmocka_unit_test(test_serial_of_no_file),
		cmocka_unit_test(test_pacing),
		cmocka_unit_test(test_bad_epoch),
		cmocka_unit_test(test_noise_is_harmless_and_repeatable),
		cmocka_unit_test(test_noise_at_the_end_of_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
