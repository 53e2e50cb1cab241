/*
 * machine.h - the PC around the vCPU: every device of a live run, wired to one port and MMIO bus, behind one vm_input.
 *
 * A replay does not have a machine; its vm_input is the trace.
 */
#ifndef RINGSIDE_VMM_DEV_MACHINE_H
#define RINGSIDE_VMM_DEV_MACHINE_H

#include "vmm/vm.h"

struct machine;

struct machine_config {
	struct clock *clock; /* of the VM this machine belongs to; borrowed; idle_ns is advanced by idle */
	uint64_t memory;     /* bytes of RAM, for CMOS */
	int64_t rtc_epoch;   /* seconds since 1970-01-01 UTC at vns 0: fixed, so that a run is reproducible */
	/* Bytes the guest sent to the serial port (STREAM_SERIAL) or the debug port 0xe9 (STREAM_DEBUG). May be NULL. */
	void (*console)(void *self, enum vm_stream stream, const uint8_t *bytes, size_t len);
	void *console_self;
	int serial_fd; /* read console input from here, without blocking; -1 none */
	bool pace;     /* throttle virtual time to the host's wall clock (--clock host) */
	uint64_t idle_max_ns; /* idle waits so long at a time at most, and may then have to be called again; 0: as long as it takes */
};

/* On error *out is NULL. Free with machine_destroy (NULL is fine). */
int machine_create(struct machine **out, const struct machine_config *config, struct vm_error *err);
void machine_destroy(struct machine *m);

/* Fills the plug; its self is the machine, which must outlive the VM's use of it. (idle adds to clock->idle_ns.) */
void machine_input(struct machine *m, struct vm_input *out);

/*
 * The devices' state as bytes, versioned; what is the host's (files, pacing) is not in it. A load checks every field that a device relies on:
 * -EBADMSG with a message, and the machine is unchanged. The clock's own state is the VM's (snapshot.h): load that first.
 */
#define MACHINE_STATE_MAX (64u << 10)
size_t machine_save(const struct machine *m, uint8_t buf[MACHINE_STATE_MAX]);
int machine_load(struct machine *m, const uint8_t *buf, size_t len, struct vm_error *err);

/* The vCPU takes the interrupt that is pending at the present moment: its vector, or -1 when none is. */
int machine_acknowledge(struct machine *m);
/* Bytes came in over the serial line at the present moment, told and not read from serial_fd: a trace's input is given to devices this way. */
void machine_receive(struct machine *m, const uint8_t *bytes, size_t len);

#endif
