/*
 * sysctl.h - the ports by which a guest ends the machine or talks to whoever debugs it: 0x92 and 0xcf9 (reset), 0x604
 * (power off), 0xf4 (exit with a code), 0xe9 (debug console), 0x80 (POST code).
 *
 * Also the place where any device asks for the end: sysctl_stop().
 */
#ifndef RINGSIDE_VMM_DEV_SYSCTL_H
#define RINGSIDE_VMM_DEV_SYSCTL_H

#include <stdint.h>

#include "vmm/vm.h"

struct bus;

struct sysctl_state {
	uint8_t port_92, reset_control, post_code;
	uint16_t power_control;
	uint32_t stop; /* enum vm_stop_reason; STOP_NONE while the machine runs */
	uint64_t stop_code;
	char stop_message[128];
};

struct sysctl {
	struct sysctl_state s;
	void (*debug)(void *self, uint8_t byte); /* a byte was written to the debug console */
	void *debug_self;
};

/* debug_self is borrowed. */
void sysctl_init(struct sysctl *sysctl, void (*debug)(void *self, uint8_t byte), void *debug_self);
void sysctl_attach(struct sysctl *sysctl, struct bus *bus);

/* The machine is to end; the first reason stands. message: one sentence. */
void sysctl_stop(struct sysctl *sysctl, enum vm_stop_reason reason, uint64_t code, const char *message);

#endif
