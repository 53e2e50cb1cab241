/*
 * rtc.c - the MC146818A (Motorola), with the PC's century byte and CMOS layout.
 *
 * The divider chain is a count of nanoseconds, chain = base_phase + (vns - base_vns); a second ends at each multiple
 * of 10^9 of it, a tick of the 32768 Hz oscillator at each 10^9/32768. Time = base_secs + chain / 10^9.
 *
 * Invariants
 *  1. rebase() comes before any change to registers A, B or the time: base_* then describe the moment.
 *  2. While time stands (SET, or the divider held) ram[] holds the time registers; otherwise base_* do.
 *  3. Register C's flags are right up to s.vns, whether or not their interrupts are enabled.
 *
 * The update cycle takes no time: UIP is set for the 244 us before it, which is what a reader needs to know.
 * Must never: loop over seconds; a guest may sleep for years.
 */
#include "vmm/dev/rtc.h"

#include <string.h>

#include "vmm/clock.h"
#include "vmm/dev/bus.h"
#include "vmm/dev/pic.h"

#define NS_PER_S 1000000000ull
#define OSCILLATOR_HZ 32768u
#define UIP_NS 244141u           /* 8 ticks of the oscillator */
#define RELEASE_PHASE 500000000u /* a released divider ends its first second after 500 ms */
#define DAY 86400

enum { PORT_INDEX = 0x70, PORT_DATA = 0x71 };
enum {
	SECONDS,
	SECONDS_ALARM,
	MINUTES,
	MINUTES_ALARM,
	HOURS,
	HOURS_ALARM,
	WEEKDAY,
	MONTHDAY,
	MONTH,
	YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D,
	CENTURY = 0x32
};
enum { A_UIP = 0x80, A_DIVIDER = 0x70, A_DIVIDER_LAST_RUNNING = 0x20, A_RATE = 0x0f };
enum { B_24H = 0x02, B_BINARY = 0x04, B_UIE = 0x10, B_AIE = 0x20, B_PIE = 0x40, B_SET = 0x80 };
enum { C_UF = 0x10, C_AF = 0x20, C_PF = 0x40, C_IRQF = 0x80, C_FLAGS = 0x70 };
enum { D_VALID = 0x80, HOUR_PM = 0x80, ALARM_ANY = 0xc0 };

/* ---- calendar ---- */

struct date {
	int64_t year;
	unsigned month, day; /* from 1 */
	unsigned hour, minute, second;
	unsigned weekday; /* 1 = Sunday */
};

static bool leap(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static const uint16_t days_before[13] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365 };

static unsigned day_of_year(int64_t year, unsigned month)
{
	return days_before[month - 1] + (month > 2 && leap(year));
}

/* Days from 1970-01-01 to the first of January; year >= 0. */
static int64_t days_to_year(int64_t year)
{
	int64_t y = year - 1;

	if (year == 0)
		return -719528;
	return year * 365 + y / 4 - y / 100 + y / 400 - 719527;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static struct date date_of(int64_t secs)
{
	int64_t days = floor_div(secs, DAY), in_day = secs - days * DAY;
	struct date d = {
		.year = 1970 + days * 400 / 146097,
		.hour = (unsigned)(in_day / 3600),
		.minute = (unsigned)(in_day / 60 % 60),
		.second = (unsigned)(in_day % 60),
		.weekday = (unsigned)(((days + 4) % 7 + 7) % 7) + 1,
		.month = 12,
	};

	while (days_to_year(d.year) > days) /* the estimate is off by one at most */
		d.year--;
	while (days_to_year(d.year + 1) <= days)
		d.year++;
	days -= days_to_year(d.year);
	while (day_of_year(d.year, d.month) > days)
		d.month--;
	d.day = (unsigned)(days - day_of_year(d.year, d.month)) + 1;
	return d;
}

static int64_t secs_of(const struct date *d)
{
	int64_t days = days_to_year(d->year) + day_of_year(d->year, d->month) + d->day - 1;

	return days * DAY + d->hour * 3600 + d->minute * 60 + d->second;
}

/* ---- registers and numbers ---- */

static uint8_t encode(const struct rtc_state *s, unsigned v)
{
	return (uint8_t)(s->ram[REG_B] & B_BINARY ? v : v / 10 % 10 << 4 | v % 10);
}

static unsigned decode(const struct rtc_state *s, uint8_t v)
{
	return s->ram[REG_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

static uint8_t encode_hour(const struct rtc_state *s, unsigned hour)
{
	if (s->ram[REG_B] & B_24H)
		return encode(s, hour);
	return (uint8_t)(encode(s, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0));
}

static unsigned decode_hour(const struct rtc_state *s, uint8_t v)
{
	if (s->ram[REG_B] & B_24H)
		return decode(s, v);
	return decode(s, v & (uint8_t)~HOUR_PM) % 12 + (v & HOUR_PM ? 12 : 0);
}

static bool time_register(unsigned index)
{
	return index == CENTURY ||
	       (index <= YEAR && index != SECONDS_ALARM && index != MINUTES_ALARM && index != HOURS_ALARM);
}

static void registers_from(struct rtc_state *s, int64_t secs)
{
	struct date d = date_of(secs);

	s->ram[SECONDS] = encode(s, d.second);
	s->ram[MINUTES] = encode(s, d.minute);
	s->ram[HOURS] = encode_hour(s, d.hour);
	s->ram[WEEKDAY] = encode(s, (d.weekday - 1 + s->day_shift) % 7 + 1);
	s->ram[MONTHDAY] = encode(s, d.day);
	s->ram[MONTH] = encode(s, d.month);
	s->ram[YEAR] = encode(s, (unsigned)(d.year % 100));
	s->ram[CENTURY] = encode(s, (unsigned)(d.year / 100 % 100));
}

static unsigned clamp(unsigned v, unsigned low, unsigned high)
{
	return v < low ? low : v > high ? high : v;
}

/* What the guest wrote need not be a date: each field is brought into its range; the 31st of June is the 1st of July. */
static int64_t secs_from_registers(struct rtc_state *s)
{
	struct date d = {
		.year = clamp(decode(s, s->ram[CENTURY]), 0, 99) * 100 + clamp(decode(s, s->ram[YEAR]), 0, 99),
		.month = clamp(decode(s, s->ram[MONTH]), 1, 12),
		.day = clamp(decode(s, s->ram[MONTHDAY]), 1, 31),
		.hour = clamp(decode_hour(s, s->ram[HOURS]), 0, 23),
		.minute = clamp(decode(s, s->ram[MINUTES]), 0, 59),
		.second = clamp(decode(s, s->ram[SECONDS]), 0, 59),
	};
	int64_t secs = secs_of(&d);
	unsigned weekday = clamp(decode(s, s->ram[WEEKDAY]), 1, 7);

	s->day_shift = (uint8_t)((weekday + 7 - date_of(secs).weekday) % 7);
	return secs;
}

/* ---- the divider chain ---- */

static bool divider_runs(const struct rtc_state *s)
{
	return (s->ram[REG_A] & A_DIVIDER) <= A_DIVIDER_LAST_RUNNING;
}

static bool time_runs(const struct rtc_state *s)
{
	return divider_runs(s) && !(s->ram[REG_B] & B_SET);
}

static uint64_t chain_at(const struct rtc_state *s, uint64_t vns)
{
	return s->base_phase + (divider_runs(s) ? vns - s->base_vns : 0);
}

static int64_t secs_at(const struct rtc_state *s, uint64_t vns)
{
	return s->base_secs + (time_runs(s) ? (int64_t)(chain_at(s, vns) / NS_PER_S) : 0);
}

static uint64_t oscillator_ticks(uint64_t chain)
{
	return chain / NS_PER_S * OSCILLATOR_HZ + chain % NS_PER_S * OSCILLATOR_HZ / NS_PER_S;
}

static uint64_t chain_of_ticks(uint64_t ticks)
{
	return ticks / OSCILLATOR_HZ * NS_PER_S + (ticks % OSCILLATOR_HZ * NS_PER_S + OSCILLATOR_HZ - 1) / OSCILLATOR_HZ;
}

/* Ticks between periodic interrupts; 0 = none. Table 5 of the manual. */
static uint32_t periodic_ticks(const struct rtc_state *s)
{
	unsigned rate = s->ram[REG_A] & A_RATE;

	return !rate ? 0 : 1u << (rate < 3 ? rate + 6 : rate - 1);
}

static void rebase(struct rtc_state *s)
{
	s->base_secs = secs_at(s, s->vns);
	s->base_phase = chain_at(s, s->vns) % NS_PER_S;
	s->base_vns = s->vns;
}

/* ---- alarm ---- */

/* The values an alarm register stands for: from `low`, `values` of them; none when it holds no time. */
struct alarm_field {
	unsigned low, values;
};

static struct alarm_field alarm_field(uint8_t reg, unsigned decoded, unsigned limit)
{
	if ((reg & ALARM_ANY) == ALARM_ANY)
		return (struct alarm_field){ 0, limit };
	return (struct alarm_field){ decoded, decoded < limit };
}

static bool holds(struct alarm_field f, unsigned v)
{
	return v - f.low < f.values;
}

/* The first of the field's values that is not below v; false when there is none. */
static bool first_from(struct alarm_field f, unsigned v, unsigned *first)
{
	*first = v < f.low ? f.low : v;
	return holds(f, *first);
}

/* The first second of the day, not before t, that matches; false when there is none. */
static bool match_in_day(const struct alarm_field f[3], unsigned t, unsigned *match)
{
	unsigned h = t / 3600, m = t / 60 % 60, s;

	if (holds(f[0], h) && holds(f[1], m) && first_from(f[2], t % 60, &s)) {
		*match = h * 3600 + m * 60 + s;
		return true;
	}
	if (holds(f[0], h) && first_from(f[1], m + 1, &m)) {
		*match = h * 3600 + m * 60 + f[2].low;
		return true;
	}
	if (!first_from(f[0], h + 1, &h))
		return false;
	*match = h * 3600 + f[1].low * 60 + f[2].low;
	return true;
}

/* The first second after `secs` at which the alarm goes; INT64_MAX when the registers hold no time of day. */
static int64_t next_alarm(const struct rtc_state *s, int64_t secs)
{
	const struct alarm_field f[3] = {
		alarm_field(s->ram[HOURS_ALARM], decode_hour(s, s->ram[HOURS_ALARM]), 24),
		alarm_field(s->ram[MINUTES_ALARM], decode(s, s->ram[MINUTES_ALARM]), 60),
		alarm_field(s->ram[SECONDS_ALARM], decode(s, s->ram[SECONDS_ALARM]), 60),
	};
	int64_t day = floor_div(secs + 1, DAY);
	unsigned match;

	if (!f[0].values || !f[1].values || !f[2].values)
		return INT64_MAX;
	if (match_in_day(f, (unsigned)(secs + 1 - day * DAY), &match))
		return day * DAY + match;
	return (day + 1) * DAY + f[0].low * 3600 + f[1].low * 60 + f[2].low;
}

/* ---- flags and IRQ8 ---- */

static void drive_irq(struct rtc *rtc)
{
	struct rtc_state *s = &rtc->s;
	bool irq = s->ram[REG_C] & s->ram[REG_B] & C_FLAGS; /* enables and flags are in the same places */

	s->ram[REG_C] = (uint8_t)((s->ram[REG_C] & C_FLAGS) | (irq ? C_IRQF : 0));
	pic_set_irq(rtc->pic, RTC_IRQ, irq);
}

static uint8_t flags_between(const struct rtc_state *s, uint64_t from, uint64_t to)
{
	uint64_t a = chain_at(s, from), b = chain_at(s, to);
	uint32_t period = periodic_ticks(s);
	uint8_t flags = 0;

	if (period && oscillator_ticks(a) / period != oscillator_ticks(b) / period)
		flags |= C_PF;
	if (!time_runs(s) || a / NS_PER_S == b / NS_PER_S)
		return flags;
	flags |= C_UF;
	if (!(s->ram[REG_C] & C_AF) && next_alarm(s, secs_at(s, from)) <= secs_at(s, to))
		flags |= C_AF;
	return flags;
}

void rtc_advance(struct rtc *rtc, uint64_t vns)
{
	struct rtc_state *s = &rtc->s;
	uint8_t flags;

	if (vns <= s->vns)
		return;
	flags = flags_between(s, s->vns, vns);
	s->vns = vns;
	if (!(flags & ~s->ram[REG_C]))
		return;
	s->ram[REG_C] |= flags;
	drive_irq(rtc);
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t alarm_chain(const struct rtc_state *s)
{
	int64_t at = next_alarm(s, secs_at(s, s->vns));

	return at == INT64_MAX ? RTC_NEVER : (uint64_t)(at - s->base_secs) * NS_PER_S;
}

uint64_t rtc_deadline(const struct rtc *rtc)
{
	const struct rtc_state *s = &rtc->s;
	uint64_t chain = chain_at(s, s->vns), next = RTC_NEVER;
	uint32_t period = periodic_ticks(s);

	if ((s->ram[REG_C] & C_IRQF) || !divider_runs(s))
		return RTC_NEVER;
	if ((s->ram[REG_B] & B_PIE) && period)
		next = chain_of_ticks((oscillator_ticks(chain) / period + 1) * period);
	if ((s->ram[REG_B] & B_UIE) && time_runs(s))
		next = min64(next, (chain / NS_PER_S + 1) * NS_PER_S);
	if ((s->ram[REG_B] & B_AIE) && time_runs(s))
		next = min64(next, alarm_chain(s));
	return next == RTC_NEVER ? RTC_NEVER : s->base_vns + (next - s->base_phase);
}

/* ---- the guest's accesses ---- */

static void write_a(struct rtc_state *s, uint8_t value)
{
	bool ran = divider_runs(s), time_ran = time_runs(s);

	if (time_ran)
		registers_from(s, s->base_secs);
	s->ram[REG_A] = value & (uint8_t)~A_UIP;
	if (divider_runs(s) && !ran)
		s->base_phase = RELEASE_PHASE;
	if (time_runs(s) && !time_ran)
		s->base_secs = secs_from_registers(s);
}

/* Setting SET aborts an update and clears UIE, as the manual has it. */
static void write_b(struct rtc_state *s, uint8_t value)
{
	bool time_ran = time_runs(s);

	if (time_ran)
		registers_from(s, s->base_secs);
	s->ram[REG_B] = value & B_SET ? value & (uint8_t)~B_UIE : value;
	if (time_runs(s) && !time_ran)
		s->base_secs = secs_from_registers(s);
}

static void write_time(struct rtc_state *s, unsigned index, uint8_t value)
{
	if (time_runs(s))
		registers_from(s, s->base_secs);
	s->ram[index] = value;
	if (time_runs(s))
		s->base_secs = secs_from_registers(s);
}

static void write_data(struct rtc *rtc, uint8_t value)
{
	struct rtc_state *s = &rtc->s;
	unsigned index = s->index;

	rebase(s);
	if (time_register(index))
		write_time(s, index, value);
	else if (index == REG_A)
		write_a(s, value);
	else if (index == REG_B)
		write_b(s, value);
	else if (index != REG_C && index != REG_D)
		s->ram[index] = value;
	drive_irq(rtc);
}

static uint8_t read_c(struct rtc *rtc)
{
	uint8_t value = rtc->s.ram[REG_C];

	rtc->s.ram[REG_C] = 0;
	drive_irq(rtc);
	return value;
}

static bool update_in_progress(const struct rtc_state *s)
{
	return time_runs(s) && NS_PER_S - chain_at(s, s->vns) % NS_PER_S <= UIP_NS;
}

static uint8_t read_data(struct rtc *rtc)
{
	struct rtc_state *s = &rtc->s;

	if (time_register(s->index) && time_runs(s))
		registers_from(s, secs_at(s, s->vns));
	if (s->index == REG_A)
		return s->ram[REG_A] | (update_in_progress(s) ? A_UIP : 0);
	if (s->index == REG_C)
		return read_c(rtc);
	return s->ram[s->index];
}

static uint32_t rtc_read(void *self, uint16_t port, unsigned size)
{
	struct rtc *rtc = self;

	(void)size;
	if (port == PORT_INDEX)
		return 0xff; /* write only */
	rtc_advance(rtc, clock_now(rtc->clock));
	return read_data(rtc);
}

static void rtc_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	struct rtc *rtc = self;

	(void)size;
	if (port == PORT_INDEX) {
		rtc->s.index = value & 0x7f; /* bit 7 gates NMI, and nothing here makes one */
		return;
	}
	rtc_advance(rtc, clock_now(rtc->clock));
	write_data(rtc, (uint8_t)value);
}

/* ---- CMOS: the places an AT BIOS and SeaBIOS keep things at ---- */

static void cmos_put16(struct rtc_state *s, unsigned low, uint64_t value)
{
	if (value > 0xffff)
		value = 0xffff;
	s->ram[low] = (uint8_t)value;
	s->ram[low + 1] = (uint8_t)(value >> 8);
}

static void cmos_fill(struct rtc_state *s, uint64_t memory)
{
	const uint64_t mib = 1 << 20;
	uint64_t extended = memory > mib ? (memory - mib) >> 10 : 0;
	unsigned sum = 0;

	s->ram[0x14] = 0x02;           /* equipment: a coprocessor */
	cmos_put16(s, 0x15, 640);      /* KiB below 640 KiB */
	cmos_put16(s, 0x17, extended); /* KiB above 1 MiB */
	cmos_put16(s, 0x30, extended);
	cmos_put16(s, 0x34, memory > 16 * mib ? (memory - 16 * mib) >> 16 : 0); /* 64 KiB above 16 MiB */
	for (unsigned i = 0x10; i <= 0x2d; i++)
		sum += s->ram[i];
	s->ram[0x2e] = (uint8_t)(sum >> 8);
	s->ram[0x2f] = (uint8_t)sum;
}

void rtc_init(struct rtc *rtc, const struct clock *clock, struct pic *pic, uint64_t memory, int64_t epoch)
{
	memset(rtc, 0, sizeof(*rtc));
	rtc->clock = clock;
	rtc->pic = pic;
	rtc->s.base_secs = epoch;
	rtc->s.ram[REG_A] = 0x26; /* 32768 Hz, 1024 Hz periodic */
	rtc->s.ram[REG_B] = B_24H;
	rtc->s.ram[REG_D] = D_VALID;
	cmos_fill(&rtc->s, memory);
}

void rtc_attach(struct rtc *rtc, struct bus *bus)
{
	struct bus_ports r = { .first = PORT_INDEX, .last = PORT_DATA, .width = 1, .self = rtc };

	r.read = rtc_read;
	r.write = rtc_write;
	bus_add_ports(bus, &r);
}
