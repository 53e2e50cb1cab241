/*
 * vga.c - VGA registers (IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem") as far as text mode and
 * probing need them: what is written reads back, retrace comes and goes with virtual time.
 *
 * Must never: index beyond a register file; index registers are masked to their file when used.
 */
#include "vmm/dev/vga.h"

#include <string.h>

#include "vmm/clock.h"
#include "vmm/dev/bus.h"

enum { PORT_FIRST = 0x3c0, PORT_LAST = 0x3df };
enum {
	REG_ATTRIBUTE = 0x3c0,
	REG_ATTRIBUTE_READ = 0x3c1,
	REG_STATUS_0_MISC = 0x3c2,
	REG_ENABLE = 0x3c3,
	REG_SEQUENCER = 0x3c4,
	REG_SEQUENCER_DATA = 0x3c5,
	REG_DAC_MASK = 0x3c6,
	REG_DAC_READ = 0x3c7,
	REG_DAC_WRITE = 0x3c8,
	REG_DAC_DATA = 0x3c9,
	REG_FEATURE = 0x3ca,
	REG_MISC_READ = 0x3cc,
	REG_GRAPHICS = 0x3ce,
	REG_GRAPHICS_DATA = 0x3cf,
	REG_CRTC = 0x3d4,
	REG_CRTC_DATA = 0x3d5,
	REG_STATUS_1 = 0x3da
};
enum { ATTRIBUTES = 21, SEQUENCERS = 5, GRAPHICS = 9, CRTCS = 25, PALETTE = 768 };
enum {
	ATTRIBUTE_PALETTE_ON = 0x20,
	CRTC_PROTECT_AT = 0x11,
	CRTC_PROTECT = 0x80,
	CRTC_OVERFLOW = 7,
	CRTC_OVERFLOW_FREE = 0x10
};
enum { STATUS_BLANK = 0x01, STATUS_RETRACE = 0x08 };

/* 720x400 at 70 Hz: 449 lines of 31777 ns, of which 400 show; the vertical retrace is lines 412 and 413. */
enum { LINE_NS = 31777, LINE_SHOWN_NS = 25422, LINES = 449, LINES_SHOWN = 400, RETRACE_FIRST = 412, RETRACE_LINES = 2 };

/* Mode 3, as a BIOS sets it. */
static const uint8_t mode_3_crtc[CRTCS] = {
	0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
	0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
};
static const uint8_t mode_3_sequencer[SEQUENCERS] = { 0x03, 0x00, 0x03, 0x00, 0x02 };
static const uint8_t mode_3_graphics[GRAPHICS] = { 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff };
static const uint8_t mode_3_attribute[ATTRIBUTES] = {
	0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
	0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00,
};
enum { MODE_3_MISC = 0x67 };

static uint8_t text_read(void *self, uint64_t gpa)
{
	const struct vga *vga = self;

	return vga->s.text[(gpa - VGA_TEXT_BASE) % VGA_TEXT_SIZE];
}

static void text_write(void *self, uint64_t gpa, uint8_t value)
{
	struct vga *vga = self;

	vga->s.text[(gpa - VGA_TEXT_BASE) % VGA_TEXT_SIZE] = value;
}

static uint8_t status_1(struct vga *vga)
{
	uint64_t at = clock_now(vga->clock) % ((uint64_t)LINE_NS * LINES), line = at / LINE_NS;

	vga->s.attribute_data = false;
	if (line >= RETRACE_FIRST && line < RETRACE_FIRST + RETRACE_LINES)
		return STATUS_BLANK | STATUS_RETRACE;
	return line >= LINES_SHOWN || at % LINE_NS >= LINE_SHOWN_NS ? STATUS_BLANK : 0;
}

static uint8_t dac_next(struct vga_state *s, bool write, uint8_t value)
{
	uint8_t *at = &s->palette[s->dac_at];

	s->dac_at = (s->dac_at + 1) % PALETTE;
	if (write)
		*at = value & 0x3f;
	return *at;
}

static void write_attribute(struct vga_state *s, uint8_t value)
{
	unsigned index = s->attribute_index & 0x1f;

	if (!s->attribute_data)
		s->attribute_index = value & 0x3f;
	else if (index < ATTRIBUTES)
		s->attribute[index] = value;
	s->attribute_data = !s->attribute_data;
}

/* Registers 0..7 are protected by bit 7 of register 0x11, but for one bit of the overflow register. */
static void write_crtc(struct vga_state *s, uint8_t value)
{
	unsigned index = s->crtc_index;

	if (index >= CRTCS)
		return;
	if (index > CRTC_OVERFLOW || !(s->crtc[CRTC_PROTECT_AT] & CRTC_PROTECT))
		s->crtc[index] = value;
	else if (index == CRTC_OVERFLOW)
		s->crtc[index] = (uint8_t)((s->crtc[index] & ~CRTC_OVERFLOW_FREE) | (value & CRTC_OVERFLOW_FREE));
}

static void write_dac_index(struct vga_state *s, uint8_t value, bool reading)
{
	s->dac_at = (uint16_t)(value * 3);
	s->dac_reading = reading;
}

static void vga_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	struct vga_state *s = &((struct vga *)self)->s;
	uint8_t v = (uint8_t)value;

	(void)size;
	switch (port) {
	case REG_ATTRIBUTE: write_attribute(s, v); break;
	case REG_STATUS_0_MISC: s->misc = v; break;
	case REG_ENABLE: s->enable = v & 1; break;
	case REG_SEQUENCER: s->sequencer_index = v & 7; break;
	case REG_SEQUENCER_DATA: s->sequencer[s->sequencer_index] = v; break;
	case REG_DAC_MASK: s->dac_mask = v; break;
	case REG_DAC_READ: write_dac_index(s, v, true); break;
	case REG_DAC_WRITE: write_dac_index(s, v, false); break;
	case REG_DAC_DATA: dac_next(s, true, v); break;
	case REG_GRAPHICS: s->graphics_index = v & 15; break;
	case REG_GRAPHICS_DATA: s->graphics[s->graphics_index] = v; break;
	case REG_CRTC: s->crtc_index = v & 31; break;
	case REG_CRTC_DATA: write_crtc(s, v); break;
	default: break;
	}
}

static uint32_t vga_read(void *self, uint16_t port, unsigned size)
{
	struct vga *vga = self;
	struct vga_state *s = &vga->s;

	(void)size;
	switch (port) {
	case REG_ATTRIBUTE: return s->attribute_index;
	case REG_ATTRIBUTE_READ: return s->attribute[s->attribute_index & 0x1f];
	case REG_STATUS_0_MISC: return 0;
	case REG_ENABLE: return s->enable;
	case REG_SEQUENCER: return s->sequencer_index;
	case REG_SEQUENCER_DATA: return s->sequencer[s->sequencer_index];
	case REG_DAC_MASK: return s->dac_mask;
	case REG_DAC_READ: return s->dac_reading ? 3 : 0;
	case REG_DAC_WRITE: return s->dac_at / 3;
	case REG_DAC_DATA: return dac_next(s, false, 0);
	case REG_FEATURE: return 0;
	case REG_MISC_READ: return s->misc;
	case REG_GRAPHICS: return s->graphics_index;
	case REG_GRAPHICS_DATA: return s->graphics[s->graphics_index];
	case REG_CRTC: return s->crtc_index;
	case REG_CRTC_DATA: return s->crtc_index < CRTCS ? s->crtc[s->crtc_index] : 0xff;
	case REG_STATUS_1: return status_1(vga);
	default: return 0xff;
	}
}

void vga_init(struct vga *vga, const struct clock *clock)
{
	struct vga_state *s = &vga->s;

	memset(vga, 0, sizeof(*vga));
	vga->clock = clock;
	for (unsigned i = 0; i < VGA_TEXT_SIZE; i += 2) {
		s->text[i] = ' ';
		s->text[i + 1] = 0x07;
	}
	memcpy(s->crtc, mode_3_crtc, sizeof(mode_3_crtc));
	memcpy(s->sequencer, mode_3_sequencer, sizeof(mode_3_sequencer));
	memcpy(s->graphics, mode_3_graphics, sizeof(mode_3_graphics));
	memcpy(s->attribute, mode_3_attribute, sizeof(mode_3_attribute));
	s->attribute_index = ATTRIBUTE_PALETTE_ON;
	s->misc = MODE_3_MISC;
	s->enable = 1;
	s->dac_mask = 0xff;
}

void vga_attach(struct vga *vga, struct bus *bus)
{
	struct bus_ports ports = { .first = PORT_FIRST, .last = PORT_LAST, .width = 1, .self = vga };
	struct bus_memory text = { .first = VGA_TEXT_BASE, .last = VGA_TEXT_BASE + VGA_TEXT_SIZE - 1, .self = vga };

	ports.read = vga_read;
	ports.write = vga_write;
	bus_add_ports(bus, &ports);
	text.read = text_read;
	text.write = text_write;
	bus_add_memory(bus, &text);
}
