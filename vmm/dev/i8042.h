/*
 * i8042.h - the keyboard controller, ports 0x60 and 0x64, IRQ1, with nothing plugged in.
 *
 * It is there for its reset line and because operating systems probe it. It answers each command at once, and for the
 * missing keyboard reports what the real one does: a transmit timeout.
 */
#ifndef RINGSIDE_VMM_DEV_I8042_H
#define RINGSIDE_VMM_DEV_I8042_H

#include <stdint.h>

struct bus;
struct pic;
struct sysctl;

#define I8042_IRQ 1

struct i8042_state {
	uint8_t ram[32]; /* 0 is the command byte */
	uint8_t status, output;
	uint8_t command; /* waits for its data byte; 0 = none */
};

struct i8042 {
	struct i8042_state s;
	struct pic *pic;
	struct sysctl *sysctl;
};

/* pic and sysctl (told of resets) are borrowed. */
void i8042_init(struct i8042 *kbc, struct pic *pic, struct sysctl *sysctl);
void i8042_attach(struct i8042 *kbc, struct bus *bus);

#endif
