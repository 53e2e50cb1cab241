/*
 * rtc.h - the MC146818 clock and its CMOS memory, ports 0x70 and 0x71, IRQ8.
 *
 * Its time is a fixed epoch plus virtual time: a run is reproducible whatever the date. Nothing ticks: time, flags
 * and deadlines are computed from vns when looked at.
 */
#ifndef RINGSIDE_VMM_DEV_RTC_H
#define RINGSIDE_VMM_DEV_RTC_H

#include <stdbool.h>
#include <stdint.h>

struct bus;
struct clock;
struct pic;

#define RTC_IRQ 8
#define RTC_NEVER UINT64_MAX
#define RTC_EPOCH_MAX 253402300799 /* 9999-12-31 23:59:59 UTC */

struct rtc_state {
	uint8_t index;
	uint8_t ram[128];  /* registers A..D and CMOS; the time registers only while time stands still */
	uint8_t day_shift; /* day of week counter minus the calendar's, mod 7: the chip counts them apart */
	int64_t base_secs; /* seconds since 1970 at base_vns, without the divider's fraction */
	uint64_t base_vns;
	uint64_t base_phase; /* ns the divider chain was into a second at base_vns, < 10^9 */
	uint64_t vns;        /* flags are up to date until here */
};

struct rtc {
	struct rtc_state s;
	const struct clock *clock;
	struct pic *pic;
};

/* memory: bytes of RAM, for the CMOS sizes. epoch: 0..RTC_EPOCH_MAX. clock and pic are borrowed. */
void rtc_init(struct rtc *rtc, const struct clock *clock, struct pic *pic, uint64_t memory, int64_t epoch);
void rtc_attach(struct rtc *rtc, struct bus *bus);

/* Raise the flags, and IRQ8, that came due until vns. */
void rtc_advance(struct rtc *rtc, uint64_t vns);
/* The vns at which IRQ8 rises next after the last rtc_advance(); RTC_NEVER. */
uint64_t rtc_deadline(const struct rtc *rtc);

#endif
