/*
 * machine_internal.h - struct machine, for the two files that make it up: machine.c (answers) and machine_state.c (saving, loading).
 */
#ifndef RINGSIDE_VMM_DEV_MACHINE_INTERNAL_H
#define RINGSIDE_VMM_DEV_MACHINE_INTERNAL_H

#include "vmm/dev/bus.h"
#include "vmm/dev/i8042.h"
#include "vmm/dev/machine.h"
#include "vmm/dev/pic.h"
#include "vmm/dev/pit.h"
#include "vmm/dev/rtc.h"
#include "vmm/dev/sysctl.h"
#include "vmm/dev/uart.h"
#include "vmm/dev/vga.h"

#define VNS_END (1ull << 62) /* 146 years: sleeping guests stop here, so that no sum of times overflows */

struct machine {
	struct machine_config config;
	struct bus bus;
	struct pic pic;
	struct pit pit;
	struct uart uart;
	struct rtc rtc;
	struct i8042 i8042;
	struct sysctl sysctl;
	struct vga vga;

	uint64_t quiet_until;
	uint64_t serial_due; /* vns of the next look at the serial input */
	bool serial_ended;
	uint8_t input[UART_FIFO];

	uint64_t pace_due;  /* vns of the next look at the host's clock */
	uint64_t wall_zero; /* the host's time at vns 0, ns, modulo 2^64 */
	bool wall_known;
};

#endif
