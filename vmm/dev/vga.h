/*
 * vga.h - a colour text screen: its memory, and registers enough for a guest that looks for a VGA to find one.
 *
 * Nothing is drawn. Text memory is 0xb8000..0xbffff; the graphics windows below it are empty.
 */
#ifndef RINGSIDE_VMM_DEV_VGA_H
#define RINGSIDE_VMM_DEV_VGA_H

#include <stdbool.h>
#include <stdint.h>

struct bus;
struct clock;

#define VGA_TEXT_BASE 0xb8000u
#define VGA_TEXT_SIZE 0x8000u

struct vga_state {
	uint8_t text[VGA_TEXT_SIZE];
	uint8_t attribute[32], sequencer[8], graphics[16], crtc[32], palette[768];
	uint8_t attribute_index, sequencer_index, graphics_index, crtc_index;
	uint8_t misc, enable, dac_mask;
	bool attribute_data; /* the next write to 0x3c0 is data */
	bool dac_reading;
	uint16_t dac_at; /* byte of the palette */
};

struct vga {
	struct vga_state s;
	const struct clock *clock;
};

/* 80 by 25 text, blank. clock (for retrace) is borrowed. */
void vga_init(struct vga *vga, const struct clock *clock);
void vga_attach(struct vga *vga, struct bus *bus);

#endif
