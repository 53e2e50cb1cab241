/*
 * test_dev_rtc.c - the MC146818: time against the C library's calendar, formats, UIP, the three interrupts, CMOS.
 */
#include "tests/unit/dev_rig.h"

#include <time.h>

#include "vmm/dev/rtc.h"

struct rtc_rig {
	struct rig r;
	struct rtc rtc;
};

enum { SEC = 0, SEC_ALARM, MIN, MIN_ALARM, HOUR, HOUR_ALARM, WDAY, MDAY, MON, YEAR, A, B, C, D, CENTURY = 0x32 };

static void open_rig(struct rtc_rig *t, int64_t epoch)
{
	rig_init(&t->r);
	rtc_init(&t->rtc, &t->r.clock, &t->r.pic, 64ull << 20, epoch);
	rtc_attach(&t->rtc, &t->r.bus);
}

static uint8_t get(struct rtc_rig *t, uint8_t reg)
{
	out8(&t->r, 0x70, reg);
	return in8(&t->r, 0x71);
}

static void put(struct rtc_rig *t, uint8_t reg, uint8_t value)
{
	out8(&t->r, 0x70, reg);
	out8(&t->r, 0x71, value);
}

static unsigned bcd(uint8_t v)
{
	return (v >> 4) * 10u + (v & 15);
}

static void check_time(struct rtc_rig *t, time_t expect)
{
	struct tm tm;

	gmtime_r(&expect, &tm);
	assert_int_equal(bcd(get(t, SEC)), tm.tm_sec);
	assert_int_equal(bcd(get(t, MIN)), tm.tm_min);
	assert_int_equal(bcd(get(t, HOUR)), tm.tm_hour);
	assert_int_equal(bcd(get(t, WDAY)), tm.tm_wday + 1);
	assert_int_equal(bcd(get(t, MDAY)), tm.tm_mday);
	assert_int_equal(bcd(get(t, MON)), tm.tm_mon + 1);
	assert_int_equal(bcd(get(t, CENTURY)) * 100 + bcd(get(t, YEAR)), tm.tm_year + 1900);
}

static void test_calendar(void **state)
{
	static const int64_t edges[] = { 0, 951782399, 951782400, 951868800, 4107542399, 4107542400, RTC_EPOCH_MAX };
	uint64_t seed = 5;

	(void)state;
	for (unsigned i = 0; i < 7; i++) {
		struct rtc_rig t;

		open_rig(&t, edges[i]);
		check_time(&t, edges[i]);
	}
	for (int i = 0; i < 20000; i++) {
		struct rtc_rig t;
		int64_t epoch = (int64_t)(rig_random(&seed) % 250000000000);
		uint64_t vns = rig_random(&seed) >> 4;

		open_rig(&t, epoch);
		rig_at(&t.r, vns);
		check_time(&t, epoch + (int64_t)(vns / SECOND));
	}
}

static void test_second_ends_exactly(void **state)
{
	struct rtc_rig t;

	(void)state;
	open_rig(&t, 946684799); /* 1999-12-31 23:59:59 */
	rig_at(&t.r, SECOND - 1);
	assert_int_equal(get(&t, YEAR), 0x99);
	assert_int_equal(get(&t, CENTURY), 0x19);
	rig_at(&t.r, SECOND);
	assert_int_equal(get(&t, YEAR), 0x00);
	assert_int_equal(get(&t, CENTURY), 0x20);
	assert_int_equal(get(&t, HOUR), 0x00);
}

static void test_formats(void **state)
{
	struct rtc_rig t;

	(void)state;
	open_rig(&t, 23 * 3600 + 45 * 60 + 12);
	assert_int_equal(get(&t, HOUR), 0x23);
	put(&t, B, 0x00); /* 12 hours */
	assert_int_equal(get(&t, HOUR), 0x91);
	put(&t, B, 0x04); /* and binary */
	assert_int_equal(get(&t, HOUR), 0x8b);
	assert_int_equal(get(&t, MIN), 45);
	put(&t, B, 0x06);
	assert_int_equal(get(&t, HOUR), 23);
	put(&t, B, 0x00);
	put(&t, HOUR, 0x12); /* 12 AM */
	put(&t, B, 0x02);
	assert_int_equal(get(&t, HOUR), 0x00);
	put(&t, B, 0x00);
	put(&t, HOUR, 0x92); /* 12 PM */
	put(&t, B, 0x02);
	assert_int_equal(get(&t, HOUR), 0x12);
}

/* UIP for the 244 us before the update, and for these alone. */
static void test_uip(void **state)
{
	struct rtc_rig t;

	(void)state;
	open_rig(&t, 0);
	assert_int_equal(get(&t, A), 0x26);
	rig_at(&t.r, SECOND - 244142);
	assert_int_equal(get(&t, A), 0x26);
	rig_at(&t.r, SECOND - 244141);
	assert_int_equal(get(&t, A), 0xa6);
	rig_at(&t.r, SECOND - 1);
	assert_int_equal(get(&t, A), 0xa6);
	assert_int_equal(get(&t, SEC), 0);
	rig_at(&t.r, SECOND);
	assert_int_equal(get(&t, A), 0x26);
	assert_int_equal(get(&t, SEC), 1);
	put(&t, B, 0x82);
	rig_at(&t.r, 2 * SECOND - 1);
	assert_int_equal(get(&t, A), 0x26); /* no updates while SET */
}

static void test_set_time(void **state)
{
	struct rtc_rig t;

	(void)state;
	open_rig(&t, 0);
	put(&t, B, 0x82);
	rig_at(&t.r, 5 * SECOND + 300 * MS);
	assert_int_equal(get(&t, SEC), 0); /* time stands */
	put(&t, CENTURY, 0x20);
	put(&t, YEAR, 0x24);
	put(&t, MON, 0x02);
	put(&t, MDAY, 0x28);
	put(&t, WDAY, 0x04);
	put(&t, HOUR, 0x23);
	put(&t, MIN, 0x59);
	put(&t, SEC, 0x59);
	put(&t, B, 0x02);
	check_time(&t, 1709164799);
	rig_at(&t.r, 6 * SECOND - 1);
	check_time(&t, 1709164799);
	rig_at(&t.r, 6 * SECOND); /* the divider ran on */
	check_time(&t, 1709164800);
	put(&t, WDAY, 0x07); /* counted apart from the date */
	rig_at(&t.r, 6 * SECOND + 86400 * SECOND);
	assert_int_equal(get(&t, WDAY), 0x01);
	assert_int_equal(get(&t, MON), 0x03);
	assert_int_equal(get(&t, MDAY), 0x01);
}

/* As Linux sets the clock: half a second from the divider's release to the next second. */
static void test_divider_reset(void **state)
{
	struct rtc_rig t;

	(void)state;
	open_rig(&t, 100);
	rig_at(&t.r, 123456789);
	put(&t, A, 0x76);
	rig_at(&t.r, 9 * SECOND);
	assert_int_equal(get(&t, SEC), 0x40);
	put(&t, A, 0x26);
	rig_at(&t.r, 9 * SECOND + 500 * MS - 1);
	assert_int_equal(get(&t, SEC), 0x40);
	rig_at(&t.r, 9 * SECOND + 500 * MS);
	assert_int_equal(get(&t, SEC), 0x41);
}

static void test_hostile_times(void **state)
{
	struct rtc_rig t;
	uint64_t seed = 3;

	(void)state;
	open_rig(&t, 0);
	for (int i = 0; i < 200000; i++) {
		uint64_t dice = rig_random(&seed);

		put(&t, dice & 1 ? dice >> 8 & 15 : dice >> 8 & 127, (uint8_t)(dice >> 16));
		rig_at(&t.r, t.r.clock.icount_now + (dice >> 24) % (1ull << (dice >> 60) * 3));
		rtc_advance(&t.rtc, t.r.clock.icount_now);
		assert_true(rtc_deadline(&t.rtc) > t.r.clock.icount_now);
		get(&t, dice >> 40 & 127);
	}
}

static void test_periodic(void **state)
{
	struct rtc_rig t;

	(void)state;
	open_rig(&t, 0);
	put(&t, B, 0x42);
	get(&t, C);
	for (uint64_t n = 1; n < 5000; n++) { /* 1024 Hz */
		uint64_t due = (n * SECOND + 1023) / 1024;

		assert_int_equal(rtc_deadline(&t.rtc), due);
		rtc_advance(&t.rtc, due - 1);
		assert_false(rig_line(&t.r, 8));
		rtc_advance(&t.rtc, due);
		assert_true(rig_line(&t.r, 8));
		assert_int_equal(rtc_deadline(&t.rtc), RTC_NEVER); /* high until register C is read */
		rig_at(&t.r, due);
		assert_int_equal(get(&t, C) & 0xc0, 0xc0);
		assert_false(rig_line(&t.r, 8));
		assert_int_equal(get(&t, C), 0);
	}
}

static void test_periodic_rates(void **state)
{
	static const unsigned hz[16] = { 0, 256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2 };

	(void)state;
	for (unsigned rate = 0; rate < 16; rate++) {
		struct rtc_rig t;

		open_rig(&t, 0);
		put(&t, A, (uint8_t)(0x20 | rate));
		put(&t, B, 0x42);
		assert_int_equal(rtc_deadline(&t.rtc), rate ? (SECOND + hz[rate] - 1) / hz[rate] : RTC_NEVER);
	}
}

/* Flags rise without being enabled; enabling one then interrupts. */
static void test_update_ended(void **state)
{
	struct rtc_rig t;

	(void)state;
	open_rig(&t, 0);
	put(&t, A, 0x20);
	rig_at(&t.r, SECOND);
	assert_int_equal(get(&t, C), 0x10);
	rig_at(&t.r, 2 * SECOND + 5);
	put(&t, B, 0x12);
	assert_true(rig_line(&t.r, 8));
	assert_int_equal(get(&t, C), 0x90);
	assert_int_equal(rtc_deadline(&t.rtc), 3 * SECOND);
	put(&t, B, 0x92); /* SET clears UIE */
	assert_int_equal(get(&t, B), 0x82);
	assert_int_equal(rtc_deadline(&t.rtc), RTC_NEVER);
}

static void test_alarm(void **state)
{
	struct rtc_rig t;

	(void)state;
	open_rig(&t, 946684800);
	put(&t, HOUR_ALARM, 0x12);
	put(&t, MIN_ALARM, 0x34);
	put(&t, SEC_ALARM, 0x56);
	put(&t, B, 0x22);
	get(&t, C);
	assert_int_equal(rtc_deadline(&t.rtc), (12 * 3600 + 34 * 60 + 56) * SECOND);
	rtc_advance(&t.rtc, (12 * 3600 + 34 * 60 + 56) * SECOND - 1);
	assert_false(rig_line(&t.r, 8));
	rtc_advance(&t.rtc, (12 * 3600 + 34 * 60 + 56) * SECOND);
	assert_true(rig_line(&t.r, 8));
	rig_at(&t.r, (12 * 3600 + 34 * 60 + 56) * SECOND);
	assert_int_equal(get(&t, C) & 0xa0, 0xa0);
	assert_int_equal(rtc_deadline(&t.rtc), (86400 + 12 * 3600 + 34 * 60 + 56) * SECOND); /* tomorrow */
	put(&t, HOUR_ALARM, 0x99);                                                           /* no hour */
	assert_int_equal(rtc_deadline(&t.rtc), RTC_NEVER);
}

static bool alarm_field_matches(uint8_t reg, unsigned v)
{
	return reg >= 0xc0 || bcd(reg) == v;
}

/* Against looking at every second. */
static void test_alarm_brute_force(void **state)
{
	uint64_t seed = 11;

	(void)state;
	for (int run = 0; run < 300; run++) {
		struct rtc_rig t;
		uint64_t start = rig_random(&seed) % 86400, s = start;
		unsigned h = (unsigned)(rig_random(&seed) % 24), m = (unsigned)(rig_random(&seed) % 60);
		uint8_t alarm[3] = { (uint8_t)(h / 10 << 4 | h % 10), (uint8_t)(m / 10 << 4 | m % 10), 0x17 };

		for (unsigned i = 0; i < 3; i++)
			if (rig_random(&seed) & 0x100)
				alarm[i] = 0xff;
		open_rig(&t, (int64_t)start);
		put(&t, HOUR_ALARM, alarm[0]);
		put(&t, MIN_ALARM, alarm[1]);
		put(&t, SEC_ALARM, alarm[2]);
		put(&t, B, 0x22);
		do {
			s++;
		} while (!(alarm_field_matches(alarm[0], (unsigned)(s / 3600 % 24)) &&
		           alarm_field_matches(alarm[1], (unsigned)(s / 60 % 60)) &&
		           alarm_field_matches(alarm[2], (unsigned)(s % 60))));
		assert_int_equal(rtc_deadline(&t.rtc), (s - start) * SECOND);
		rtc_advance(&t.rtc, (s - start) * SECOND - 1);
		assert_false(rig_line(&t.r, 8));
		rtc_advance(&t.rtc, (s - start) * SECOND + 12345);
		assert_true(rig_line(&t.r, 8));
	}
}

static void test_cmos(void **state)
{
	struct rtc_rig t;
	unsigned sum = 0;

	(void)state;
	open_rig(&t, 0);
	assert_int_equal(get(&t, D), 0x80);
	put(&t, D, 0x12);
	assert_int_equal(get(&t, D), 0x80);
	assert_int_equal(get(&t, 0x15) | get(&t, 0x16) << 8, 640);
	assert_int_equal(get(&t, 0x17) | get(&t, 0x18) << 8, 63 << 10);
	assert_int_equal(get(&t, 0x30) | get(&t, 0x31) << 8, 63 << 10);
	assert_int_equal(get(&t, 0x34) | get(&t, 0x35) << 8, 48 << 4);
	for (uint8_t i = 0x10; i <= 0x2d; i++)
		sum += get(&t, i);
	assert_int_equal(get(&t, 0x2e) << 8 | get(&t, 0x2f), sum);
	put(&t, 0xc0, 0x77); /* the NMI bit is not part of the index */
	assert_int_equal(get(&t, 0x40), 0x77);
	rtc_init(&t.rtc, &t.r.clock, &t.r.pic, 3ull << 30, 0);
	assert_int_equal(get(&t, 0x17) | get(&t, 0x18) << 8, 0xffff);
	assert_int_equal(get(&t, 0x34) | get(&t, 0x35) << 8, (3072 - 16) << 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calendar),       cmocka_unit_test(test_second_ends_exactly),
		cmocka_unit_test(test_formats),        cmocka_unit_test(test_uip),
		cmocka_unit_test(test_set_time),       cmocka_unit_test(test_divider_reset),
		cmocka_unit_test(test_hostile_times),  cmocka_unit_test(test_periodic),
		cmocka_unit_test(test_periodic_rates), cmocka_unit_test(test_update_ended),
		cmocka_unit_test(test_alarm),          cmocka_unit_test(test_alarm_brute_force),
		cmocka_unit_test(test_cmos),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
