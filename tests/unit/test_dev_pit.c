/*
 * test_dev_pit.c - the 8254: each mode against the data sheet's waveforms, and against a model clocked tick by tick.
 */
#include "tests/unit/dev_rig.h"
#include "vmm/dev/pit.h"

struct pit_rig {
	struct rig r;
	struct pit pit;
};

static void open_rig(struct pit_rig *p)
{
	rig_init(&p->r);
	pit_init(&p->pit, &p->r.clock, &p->r.pic);
	pit_attach(&p->pit, &p->r.bus);
}

static void at_tick(struct pit_rig *p, uint64_t tick)
{
	rig_at(&p->r, pit_vns_of(tick));
}

/* The count by a latch command. */
static unsigned count_of(struct pit_rig *p, unsigned channel)
{
	unsigned low;

	out8(&p->r, 0x43, (uint8_t)(channel << 6));
	low = in8(&p->r, (uint16_t)(0x40 + channel));
	return low | in8(&p->r, (uint16_t)(0x40 + channel)) << 8;
}

static void program(struct pit_rig *p, unsigned channel, unsigned mode, unsigned count)
{
	out8(&p->r, 0x43, (uint8_t)(channel << 6 | 0x30 | mode << 1));
	out8(&p->r, (uint16_t)(0x40 + channel), (uint8_t)count);
	out8(&p->r, (uint16_t)(0x40 + channel), (uint8_t)(count >> 8));
}

static bool out_2(struct pit_rig *p)
{
	return in8(&p->r, 0x61) & 0x20;
}

static void gate_2(struct pit_rig *p, bool on)
{
	out8(&p->r, 0x61, on);
}

static void test_ticks(void **state)
{
	uint64_t seed = 42;

	(void)state;
	assert_int_equal(pit_tick_at(0), 0);
	assert_int_equal(pit_tick_at(SECOND), 1193182);
	assert_int_equal(pit_tick_at(SECOND - 1), 1193181);
	assert_int_equal(pit_vns_of(1193182), SECOND);
	assert_int_equal(pit_vns_of(1), 839); /* 838.095 ns */
	for (int i = 0; i < 100000; i++) {
		uint64_t vns = rig_random(&seed) >> (2 + rig_random(&seed) % 50), tick = pit_tick_at(vns);

		assert_int_equal(tick, (uint64_t)((unsigned __int128)vns * 1193182 / SECOND));
		assert_true(pit_vns_of(tick) <= vns && pit_vns_of(tick + 1) > vns);
		assert_int_equal(pit_tick_at(pit_vns_of(tick)), tick);
	}
}

/* 1193 ticks are 999847 ns: the n-th interrupt is at tick 1 + 1193 n, whatever n. */
static void test_irq0_deadlines(void **state)
{
	struct pit_rig p;

	(void)state;
	open_rig(&p);
	program(&p, 0, 2, 1193);
	for (uint64_t n = 1; n < 3000000; n = n < 1000 ? n + 1 : n * 2) {
		uint64_t due = ((1 + 1193 * n) * SECOND + 1193181) / 1193182;

		pit_advance(&p.pit, pit_vns_of(1 + 1193 * n - 3));
		assert_true(rig_line(&p.r, 0));
		assert_int_equal(pit_deadline(&p.pit), due);
		pit_advance(&p.pit, due - 1);
		assert_false(rig_line(&p.r, 0)); /* low for the last tick */
		pit_advance(&p.pit, due);
		assert_true(rig_line(&p.r, 0));
		assert_int_equal(p.r.pic.chip[0].irr & 1, 1);
	}
}

/* However many rounds pass unseen, they are an edge. */
static void test_missed_rounds_are_an_edge(void **state)
{
	struct pit_rig p;

	(void)state;
	open_rig(&p);
	program(&p, 0, 2, 100);
	out8(&p.r, 0x21, 0x00);
	pit_advance(&p.pit, pit_vns_of(150));
	assert_int_equal(pic_ack(&p.r.pic), 0x08);
	out8(&p.r, 0x20, 0x20);
	pit_advance(&p.pit, pit_vns_of(190));
	assert_false(pic_pending(&p.r.pic));
	pit_advance(&p.pit, pit_vns_of(100 * 1000000ull + 50));
	assert_true(pic_pending(&p.r.pic));
}

static void test_initial_state(void **state)
{
	struct pit_rig p;

	(void)state;
	open_rig(&p);
	assert_int_equal(pit_deadline(&p.pit), pit_vns_of(1 + 65536)); /* 18.2 Hz */
	assert_int_equal(in8(&p.r, 0x43), 0xff);
}

/* Data sheet, figure "Mode 2", "Mode 3": counts and output from the load on. */
static void check_wave(unsigned mode, unsigned count, const uint8_t *counts, const uint8_t *outs, unsigned n)
{
	struct pit_rig p;

	open_rig(&p);
	gate_2(&p, true);
	program(&p, 2, mode, count);
	assert_int_equal(out_2(&p), mode != 0);
	for (unsigned i = 0; i < n; i++) {
		at_tick(&p, 1 + i);
		assert_int_equal(count_of(&p, 2), counts[i]);
		assert_int_equal(out_2(&p), outs[i]);
	}
}

static void test_waves(void **state)
{
	static const uint8_t mode_2[2][8] = { { 3, 2, 1, 3, 2, 1, 3, 2 }, { 1, 1, 0, 1, 1, 0, 1, 1 } };
	static const uint8_t even[2][8] = { { 4, 2, 4, 2, 4, 2, 4, 2 }, { 1, 1, 0, 0, 1, 1, 0, 0 } };
	static const uint8_t odd[2][10] = { { 4, 2, 0, 4, 2, 4, 2, 0, 4, 2 }, { 1, 1, 1, 0, 0, 1, 1, 1, 0, 0 } };
	static const uint8_t mode_0[2][6] = { { 4, 3, 2, 1, 0, 0xff }, { 0, 0, 0, 0, 1, 1 } };
	static const uint8_t mode_4[2][6] = { { 3, 2, 1, 0, 0xff, 0xfe }, { 1, 1, 1, 0, 1, 1 } };

	(void)state;
	check_wave(2, 3, mode_2[0], mode_2[1], 8);
	check_wave(6, 3, mode_2[0], mode_2[1], 8); /* bit 2 does not count */
	check_wave(3, 4, even[0], even[1], 8);
	check_wave(3, 5, odd[0], odd[1], 10);
	check_wave(0, 4, mode_0[0], mode_0[1], 5);
	check_wave(4, 3, mode_4[0], mode_4[1], 4);
}

static void test_count_wraps(void **state)
{
	struct pit_rig p;

	(void)state;
	open_rig(&p);
	gate_2(&p, true);
	program(&p, 2, 0, 4);
	at_tick(&p, 6);
	assert_int_equal(count_of(&p, 2), 0xffff);
	assert_true(out_2(&p));
	at_tick(&p, 6 + 65536);
	assert_int_equal(count_of(&p, 2), 0xffff);
	assert_true(out_2(&p));
	program(&p, 2, 0, 0); /* 0 is 65536 */
	at_tick(&p, 6 + 65536 + 1 + 65535);
	assert_false(out_2(&p));
	at_tick(&p, 6 + 65536 + 1 + 65536);
	assert_true(out_2(&p));
}

/* The Linux calibration: mode 0 on channel 2, gated by port 0x61. */
static void test_gate_holds_mode_0(void **state)
{
	struct pit_rig p;

	(void)state;
	open_rig(&p);
	gate_2(&p, false);
	program(&p, 2, 0, 10);
	at_tick(&p, 50);
	assert_int_equal(count_of(&p, 2), 10);
	gate_2(&p, true);
	at_tick(&p, 54);
	assert_int_equal(count_of(&p, 2), 6);
	gate_2(&p, false);
	at_tick(&p, 100);
	assert_int_equal(count_of(&p, 2), 6);
	assert_false(out_2(&p));
	gate_2(&p, true);
	at_tick(&p, 105);
	assert_false(out_2(&p));
	at_tick(&p, 106);
	assert_true(out_2(&p));
}

static void test_triggered_modes(void **state)
{
	struct pit_rig p;

	(void)state;
	open_rig(&p);
	program(&p, 2, 1, 4);
	at_tick(&p, 20);
	assert_true(out_2(&p)); /* waits for the gate */
	gate_2(&p, true);
	at_tick(&p, 21);
	assert_false(out_2(&p));
	at_tick(&p, 24);
	gate_2(&p, false);
	gate_2(&p, true); /* retrigger */
	at_tick(&p, 28);
	assert_false(out_2(&p));
	at_tick(&p, 29);
	assert_true(out_2(&p));

	gate_2(&p, false);
	program(&p, 2, 5, 3);
	gate_2(&p, true);
	at_tick(&p, 32);
	assert_true(out_2(&p));
	at_tick(&p, 33);
	assert_false(out_2(&p)); /* N + 1 after the trigger, for one tick */
	at_tick(&p, 34);
	assert_true(out_2(&p));
}

static void test_new_count_waits_for_the_round(void **state)
{
	struct pit_rig p;

	(void)state;
	open_rig(&p);
	gate_2(&p, true);
	program(&p, 2, 2, 10);
	at_tick(&p, 5);
	out8(&p.r, 0x42, 4);
	out8(&p.r, 0x42, 0);
	at_tick(&p, 10);
	assert_int_equal(count_of(&p, 2), 1);
	at_tick(&p, 11);
	assert_int_equal(count_of(&p, 2), 4);
	at_tick(&p, 15);
	assert_int_equal(count_of(&p, 2), 4);
}

static void test_access_and_latches(void **state)
{
	struct pit_rig p;

	(void)state;
	open_rig(&p);
	gate_2(&p, true);
	program(&p, 2, 2, 0x1234);
	at_tick(&p, 1);
	out8(&p.r, 0x43, 0x80);
	at_tick(&p, 0x100);
	out8(&p.r, 0x43, 0x80); /* ignored: the first latch is not read yet */
	assert_int_equal(in8(&p.r, 0x42), 0x34);
	assert_int_equal(in8(&p.r, 0x42), 0x12);
	assert_int_equal(in8(&p.r, 0x42), 0x35); /* the running count now: 0x1234 - 0xff */
	assert_int_equal(in8(&p.r, 0x42), 0x11);
	out8(&p.r, 0x43, 0xa4); /* high byte only */
	out8(&p.r, 0x42, 0x20);
	at_tick(&p, 0x101);
	assert_int_equal(in8(&p.r, 0x42), 0x20);
	assert_int_equal(in8(&p.r, 0x42), 0x20);
	out8(&p.r, 0x43, 0x94); /* low byte only */
	out8(&p.r, 0x42, 0x20);
	at_tick(&p, 0x103);
	assert_int_equal(in8(&p.r, 0x42), 0x1f);
}

static void test_read_back(void **state)
{
	struct pit_rig p;

	(void)state;
	open_rig(&p);
	out8(&p.r, 0x43, 0xb6);
	out8(&p.r, 0x43, 0xe8);                                /* status of channel 2 */
	assert_int_equal(in8(&p.r, 0x42), 0x80 | 0x40 | 0x36); /* out high, null count, both bytes, mode 3 */
	out8(&p.r, 0x42, 100);
	out8(&p.r, 0x42, 0);
	gate_2(&p, true);
	at_tick(&p, 2);
	out8(&p.r, 0x43, 0xc8); /* count and status: the status comes first */
	at_tick(&p, 9);
	assert_int_equal(in8(&p.r, 0x42), 0x80 | 0x36);
	assert_int_equal(in8(&p.r, 0x42), 98);
	assert_int_equal(in8(&p.r, 0x42), 0);
	at_tick(&p, 11);
	out8(&p.r, 0x43, 0xee); /* status of all three */
	assert_int_equal(in8(&p.r, 0x40), 0x80 | 0x36);
	assert_int_equal(in8(&p.r, 0x41), 0x80 | 0x34);
	assert_int_equal(in8(&p.r, 0x42), 0x80 | 0x36);
}

static void test_bcd(void **state)
{
	struct pit_rig p;

	(void)state;
	open_rig(&p);
	gate_2(&p, true);
	out8(&p.r, 0x43, 0xb5); /* mode 2, BCD */
	out8(&p.r, 0x42, 0x00);
	out8(&p.r, 0x42, 0x10);
	at_tick(&p, 1);
	assert_int_equal(count_of(&p, 2), 0x1000);
	at_tick(&p, 2);
	assert_int_equal(count_of(&p, 2), 0x0999);
	at_tick(&p, 1 + 999);
	assert_int_equal(count_of(&p, 2), 0x0001);
	out8(&p.r, 0x43, 0xb1); /* mode 0, BCD, 0 is 10000 */
	out8(&p.r, 0x42, 0x00);
	out8(&p.r, 0x42, 0x00);
	at_tick(&p, 1001);
	assert_int_equal(count_of(&p, 2), 0x0000);
	at_tick(&p, 1002);
	assert_int_equal(count_of(&p, 2), 0x9999);
	at_tick(&p, 1001 + 10000);
	assert_true(out_2(&p));
}

static void test_port_61(void **state)
{
	struct pit_rig p;
	unsigned toggles = 0;
	uint8_t last;

	(void)state;
	open_rig(&p);
	out8(&p.r, 0x61, 0xff);
	last = in8(&p.r, 0x61);
	assert_int_equal(last & 0xcf, 0x0f);
	for (uint64_t us = 0; us <= 1509; us++) { /* 15.085 us each */
		rig_at(&p.r, us * 1000);
		toggles += (in8(&p.r, 0x61) ^ last) >> 4 & 1;
		last = in8(&p.r, 0x61);
	}
	assert_int_equal(toggles, 100);
}

/* ---- a channel clocked tick by tick, in the data sheet's words ---- */

struct model {
	unsigned mode, reload, current, ce, half;
	bool out, gate, load_next, loaded, armed, low_written;
	unsigned low;
};

static unsigned modulus(void)
{
	return 65536;
}

static void model_control(struct model *m, unsigned mode)
{
	m->mode = mode;
	m->out = mode != 0;
	m->reload = 0;
	m->load_next = m->loaded = m->armed = m->low_written = false;
}

static void model_write(struct model *m, uint8_t byte)
{
	if (m->mode == 0) {
		m->loaded = m->load_next = false;
		m->out = false;
	}
	m->low_written = !m->low_written;
	if (m->low_written) {
		m->low = byte;
		return;
	}
	m->reload = m->low | (unsigned)byte << 8;
	if (!m->reload)
		m->reload = modulus();
	if (m->mode == 0 || m->mode == 4)
		m->load_next = true;
	else if ((m->mode == 2 || m->mode == 3) && (!m->loaded || !m->gate))
		m->load_next = true;
}

static void model_gate(struct model *m, bool gate)
{
	bool rise = gate && !m->gate;

	m->gate = gate;
	if (rise && m->reload && (m->mode == 1 || m->mode == 5 || m->mode == 2 || m->mode == 3))
		m->load_next = true;
	if (!gate && (m->mode == 2 || m->mode == 3))
		m->out = true;
}

static void model_load(struct model *m)
{
	m->current = (m->mode == 2 || m->mode == 3) && m->reload < 2 ? 2 : m->reload;
	m->ce = m->mode == 3 ? m->current & ~1u : m->current;
	m->half = 0;
	m->loaded = m->armed = true;
	m->out = m->mode != 0 && m->mode != 1;
	m->load_next = false;
}

static void model_down(struct model *m)
{
	m->ce = m->ce ? m->ce - 1 : modulus() - 1;
}

static void model_clock_3(struct model *m)
{
	unsigned length = m->out ? (m->current + 1) / 2 : m->current / 2;
	bool was = m->out;

	m->ce -= 2;
	if (++m->half < length)
		return;
	model_load(m);
	m->out = !was;
}

static void model_clock(struct model *m)
{
	if (m->load_next) {
		model_load(m);
		return;
	}
	if (!m->loaded || (!m->gate && m->mode != 1 && m->mode != 5))
		return;
	if (m->mode == 3) {
		model_clock_3(m);
		return;
	}
	if (m->mode == 2 && m->ce == 1) {
		model_load(m);
		return;
	}
	model_down(m);
	if (m->mode == 2)
		m->out = m->ce != 1;
	else if (m->mode < 2)
		m->out = m->out || m->ce == 0;
	else {
		m->out = !(m->armed && m->ce == 0);
		m->armed = m->armed && m->out;
	}
}

/* The same random accesses to both. */
static void test_against_clocked_model(void **state)
{
	uint64_t seed = 20240607;

	(void)state;
	for (int run = 0; run < 2000; run++) {
		struct pit_rig p;
		struct model m = { .mode = 0 };
		uint64_t tick = 5;

		open_rig(&p);
		at_tick(&p, tick);
		model_control(&m, (unsigned)run % 6);
		out8(&p.r, 0x43, (uint8_t)(0xb0 | m.mode << 1));
		for (int step = 0; step < 60; step++) {
			uint64_t dice = rig_random(&seed);
			uint8_t byte = (uint8_t)(m.low_written ? 0 : dice >> 8 & 15);

			if (dice % 4 == 0) {
				model_write(&m, byte);
				out8(&p.r, 0x42, byte);
			} else if (dice % 4 == 1) {
				model_gate(&m, dice >> 8 & 1);
				gate_2(&p, dice >> 8 & 1);
			}
			assert_int_equal(out_2(&p), m.out);
			for (uint64_t n = dice >> 20 & 7; n; n--, tick++)
				model_clock(&m);
			at_tick(&p, tick);
			assert_int_equal(out_2(&p), m.out);
			if (m.loaded)
				assert_int_equal(count_of(&p, 2), m.ce % modulus());
		}
	}
}

/* IRQ0's state in the PIC does not depend on how often anybody looks. */
static void test_looks_do_not_matter(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (int run = 0; run < 1000; run++) {
		struct pit_rig a, b;
		uint64_t tick = 0;

		open_rig(&a);
		open_rig(&b);
		for (int step = 0; step < 40; step++) {
			uint64_t dice = rig_random(&seed), until = tick + (dice >> 8 & 31);
			uint64_t due = pit_deadline(&a.pit);

			for (; tick < until; tick++)
				pit_advance(&a.pit, pit_vns_of(tick + 1));
			pit_advance(&b.pit, pit_vns_of(tick));
			assert_int_equal(rig_line(&a.r, 0), rig_line(&b.r, 0));
			assert_int_equal(a.r.pic.chip[0].irr, b.r.pic.chip[0].irr);
			if (dice & 1)
				assert_true(due <= pit_deadline(&a.pit));
			at_tick(&a, tick);
			at_tick(&b, tick);
			out8(&a.r, dice & 2 ? 0x40 : 0x43,
			     (uint8_t)(dice & 2 ? dice >> 16 & 15 : 0x10 | (dice >> 16 & 14)));
			out8(&b.r, dice & 2 ? 0x40 : 0x43,
			     (uint8_t)(dice & 2 ? dice >> 16 & 15 : 0x10 | (dice >> 16 & 14)));
		}
	}
}

/* The deadline is the first rise: never late, never early. */
static void test_deadline_is_the_rise(void **state)
{
	uint64_t seed = 99;

	(void)state;
	for (int run = 0; run < 3000; run++) {
		struct pit_rig p;
		uint64_t tick = 3;
		bool level, rose = false;

		open_rig(&p);
		at_tick(&p, tick);
		out8(&p.r, 0x43, (uint8_t)(0x10 | (run % 6) << 1));
		out8(&p.r, 0x40, (uint8_t)(rig_random(&seed) % 20 + 1));
		tick += rig_random(&seed) % 30;
		at_tick(&p, tick);
		out8(&p.r, 0x40, (uint8_t)(rig_random(&seed) % 20 + 1));
		level = rig_line(&p.r, 0);
		for (unsigned i = 0; i < 64 && !rose; i++, level = rig_line(&p.r, 0)) {
			uint64_t due = pit_deadline(&p.pit);

			pit_advance(&p.pit, pit_vns_of(++tick));
			rose = !level && rig_line(&p.r, 0);
			assert_int_equal(rose, due == pit_vns_of(tick));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ticks),
		cmocka_unit_test(test_irq0_deadlines),
		cmocka_unit_test(test_missed_rounds_are_an_edge),
		cmocka_unit_test(test_initial_state),
		cmocka_unit_test(test_waves),
		cmocka_unit_test(test_count_wraps),
		cmocka_unit_test(test_gate_holds_mode_0),
		cmocka_unit_test(test_triggered_modes),
		cmocka_unit_test(test_new_count_waits_for_the_round),
		cmocka_unit_test(test_access_and_latches),
		cmocka_unit_test(test_read_back),
		cmocka_unit_test(test_bcd),
		cmocka_unit_test(test_port_61),
		cmocka_unit_test(test_against_clocked_model),
		cmocka_unit_test(test_looks_do_not_matter),
		cmocka_unit_test(test_deadline_is_the_rise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
