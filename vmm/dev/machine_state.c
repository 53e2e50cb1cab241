/*
 * machine_state.c - the devices' state as bytes, for checkpoints.
 *
 *     u32 magic    u32 version    for each device in the order of parts[]: u32 length, the bytes of its state struct
 *
 * Each device keeps what it is in one plain struct; the bytes are those of an x86 host. Whoever changes such a struct is stopped by the sizes
 * below and raises STATE_VERSION: a trace with other devices than this program's then says so and still replays, but cannot go live.
 *
 * A load is of a stranger's bytes: rules[] bounds every member that a device divides by, indexes with, loops over, or that is a bool (another
 * value than 0 or 1 in one is undefined). Whatever else a guest could have written there itself is let through.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/bug.h"
#include "vmm/dev/machine_internal.h"

#define STATE_MAGIC 0x314d5352u /* "RSM1" */
#define STATE_VERSION 1u
#define TICK_END (1ull << 62)
#define SECS_FIRST (-62167219200ll) /* the year 0 */

_Static_assert(sizeof(struct pic_chip) == 16 && sizeof(struct pic) == 33, "raise STATE_VERSION");
_Static_assert(sizeof(struct pit_state) == 184, "raise STATE_VERSION");
_Static_assert(sizeof(struct rtc_state) == 168, "raise STATE_VERSION");
_Static_assert(sizeof(struct uart_state) == 29, "raise STATE_VERSION");
_Static_assert(sizeof(struct i8042_state) == 35, "raise STATE_VERSION");
_Static_assert(sizeof(struct sysctl_state) == 152, "raise STATE_VERSION");
_Static_assert(sizeof(struct vga_state) == VGA_TEXT_SIZE + 868, "raise STATE_VERSION");

struct part {
	const char *name;
	size_t offset, size; /* in struct machine */
};

#define PART(label, member)                                                                                            \
	{                                                                                                              \
		label, offsetof(struct machine, member), sizeof(((struct machine *)0)->member)                         \
	}
static const struct part parts[] = {
	PART("pic", pic),       PART("pit", pit.s),       PART("rtc", rtc.s), PART("uart", uart.s),
	PART("i8042", i8042.s), PART("sysctl", sysctl.s), PART("vga", vga.s), PART("machine", serial_due),
};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

/* Unsigned little-endian members of 1, 2, 4 or 8 bytes. */
struct rule {
	size_t offset, size;
	uint64_t min, max;
};

#define RULE(member, low, high)                                                                                        \
	{                                                                                                              \
		offsetof(struct machine, member), sizeof(((struct machine *)0)->member), low, high                     \
	}
#define FLAG(member) RULE(member, 0, 1)
#define PIC_RULES(n)                                                                                                   \
	RULE(pic.chip[n].icw_next, 0, 4), RULE(pic.chip[n].lowest, 0, 7), FLAG(pic.chip[n].icw4_needed),               \
	        FLAG(pic.chip[n].single), FLAG(pic.chip[n].auto_eoi), FLAG(pic.chip[n].rotate_auto_eoi),               \
	        FLAG(pic.chip[n].special_mask), FLAG(pic.chip[n].nested), FLAG(pic.chip[n].read_isr),                  \
	        FLAG(pic.chip[n].poll)
#define PIT_RULES(n)                                                                                                   \
	RULE(pit.s.channel[n].mode, 0, 5), RULE(pit.s.channel[n].access, 1, 3), FLAG(pit.s.channel[n].bcd),            \
	        FLAG(pit.s.channel[n].gate), FLAG(pit.s.channel[n].write_high), FLAG(pit.s.channel[n].read_high),      \
	        FLAG(pit.s.channel[n].count_latched), FLAG(pit.s.channel[n].status_latched),                           \
	        FLAG(pit.s.channel[n].null_count), FLAG(pit.s.channel[n].running), FLAG(pit.s.channel[n].stopped),     \
	        FLAG(pit.s.channel[n].load_low), RULE(pit.s.channel[n].reload, 0, 65536),                              \
	        RULE(pit.s.channel[n].count, 0, 65536), RULE(pit.s.channel[n].held, 0, 65535)
static const struct rule rules[] = {
	PIC_RULES(0),
	PIC_RULES(1),
	FLAG(pic.intr),
	PIT_RULES(0),
	PIT_RULES(1),
	PIT_RULES(2),
	RULE(pit.s.tick, 0, TICK_END),
	RULE(rtc.s.index, 0, 127),
	RULE(rtc.s.day_shift, 0, 6),
	RULE(rtc.s.base_vns, 0, VNS_END),
	RULE(rtc.s.base_phase, 0, 999999999),
	RULE(rtc.s.vns, 0, VNS_END),
	FLAG(uart.s.overrun),
	FLAG(uart.s.thr_empty_pending),
	RULE(uart.s.head, 0, UART_FIFO - 1),
	RULE(uart.s.count, 0, UART_FIFO),
	RULE(sysctl.s.stop, 0, STOP_REASON_MAX - 1),
	FLAG(vga.s.attribute_data),
	FLAG(vga.s.dac_reading),
	RULE(vga.s.dac_at, 0, 767),
};

static uint64_t member(const uint8_t *machine, const struct rule *r)
{
	uint64_t v = 0;

	memcpy(&v, machine + r->offset, r->size);
	return v;
}

static bool keeps_rules(const uint8_t *machine)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		uint64_t v = member(machine, &rules[i]);

		if (v < rules[i].min || v > rules[i].max)
			return false;
	}
	return true;
}

/* What relates members to each other. Bools are bools by now. */
static bool consistent(const struct machine *m)
{
	for (unsigned i = 0; i < 3; i++) {
		const struct pit_channel *c = &m->pit.s.channel[i];
		bool periodic = c->mode == 2 || c->mode == 3;

		if (c->running && c->count < (periodic ? 2u : 1u))
			return false;
		if (c->load_at != PIT_NEVER && (!c->reload || c->load_at > TICK_END))
			return false;
		if (c->start > TICK_END && c->start < UINT64_MAX - 65536) /* a low half may have begun before tick 0 */
			return false;
		if (c->stopped_at > TICK_END && c->stopped_at < UINT64_MAX - 65536)
			return false;
		if (c->bcd && (c->reload > 10000 || (c->running && c->count > 10000) || c->held > 9999))
			return false;
	}
	if (m->rtc.s.base_vns > m->rtc.s.vns || m->rtc.s.base_secs < SECS_FIRST || m->rtc.s.base_secs > RTC_EPOCH_MAX)
		return false;
	return memchr(m->sysctl.s.stop_message, 0, sizeof(m->sysctl.s.stop_message)) != NULL;
}

size_t machine_save(const struct machine *m, uint8_t buf[MACHINE_STATE_MAX])
{
	const uint32_t head[2] = { STATE_MAGIC, STATE_VERSION };
	uint8_t *p = buf;

	memcpy(p, head, sizeof(head));
	p += sizeof(head);
	for (size_t i = 0; i < PARTS; i++) {
		uint32_t size = (uint32_t)parts[i].size;

		BUG_ON((size_t)(p - buf) + sizeof(size) + size > MACHINE_STATE_MAX);
		memcpy(p, &size, sizeof(size));
		memcpy(p + sizeof(size), (const uint8_t *)m + parts[i].offset, size);
		p += sizeof(size) + size;
	}
	return (size_t)(p - buf);
}

/* Copies the parts into `trial`, a machine that nobody uses. */
static int unpack(struct machine *trial, const uint8_t *buf, size_t len, struct vm_error *err)
{
	uint32_t head[2], size;
	size_t at = sizeof(head);

	if (len < sizeof(head))
		return vm_fail(err, -EBADMSG, "devices: too short");
	memcpy(head, buf, sizeof(head));
	if (head[0] != STATE_MAGIC || head[1] != STATE_VERSION)
		return vm_fail(err, -EBADMSG, "devices: state of version %u, this program's devices have %u", head[1],
		               STATE_VERSION);
	for (size_t i = 0; i < PARTS; i++, at += size) {
		if (len - at < sizeof(size))
			return vm_fail(err, -EBADMSG, "devices: the state ends before %s", parts[i].name);
		memcpy(&size, buf + at, sizeof(size));
		at += sizeof(size);
		if (size != parts[i].size || len - at < size)
			return vm_fail(err, -EBADMSG, "devices: %s has a wrong length", parts[i].name);
		memcpy((uint8_t *)trial + parts[i].offset, buf + at, size);
	}
	return at == len ? 0 : vm_fail(err, -EBADMSG, "devices: bytes are left over");
}

int machine_load(struct machine *m, const uint8_t *buf, size_t len, struct vm_error *err)
{
	struct machine *trial = calloc(1, sizeof(*trial));
	int rc;

	if (!trial)
		return vm_fail(err, -ENOMEM, "devices: out of memory");
	rc = unpack(trial, buf, len, err);
	if (!rc && (!keeps_rules((const uint8_t *)trial) || !consistent(trial)))
		rc = vm_fail(err, -EBADMSG, "devices: a member is out of range");
	for (size_t i = 0; !rc && i < PARTS; i++)
		memcpy((uint8_t *)m + parts[i].offset, (const uint8_t *)trial + parts[i].offset, parts[i].size);
	if (!rc)
		m->quiet_until = 0;
	free(trial);
	return rc;
}
