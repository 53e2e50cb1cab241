/*
 * vm.h - a virtual machine: guest RAM, one vCPU, an engine, and two plugs.
 *
 * Whatever a VM needs from outside (what a port answers, the time, when an interrupt comes) it asks its `vm_input`;
 * whatever happens it tells its `vm_observer`. A live run plugs in devices (dev/machine.h) as input and nothing as observer, a
 * recording adds the recorder as observer, a replay plugs the trace into both.
 *
 * Errors: functions returning int give 0 or a negative errno and, for a host failure or bad input, a message in `err`
 * (see struct vm_error). Guest misbehaviour never fails a call: it ends the run with a reason.
 * Threads: a VM belongs to the thread that calls it.
 */
#ifndef RINGSIDE_VMM_VM_H
#define RINGSIDE_VMM_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/clock.h"
#include "vmm/event.h"

struct vm;
struct vcpu;

/* A message for a person: what failed, why, what to do. Always NUL-terminated. */
struct vm_error {
	char text[512];
};
/* Formats into err (which may be NULL) and returns code, so that `return vm_fail(err, -EINVAL, ...)` reads well. */
int vm_fail(struct vm_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

enum ring_model { MODEL_0_1_3 = 0, MODEL_0_3_3 = 1 };
enum sensitive_policy { POLICY_CATCH = 0, POLICY_LEAK = 1 };
enum engine_kind { ENGINE_INTERP = 0, ENGINE_TRANSLATE = 1 };
/* How translated code stops at a privileged instruction: by calling the VMM, or by a real fault of the host's processor. What happens next is the same. */
enum trap_kind { TRAP_CALL = 0, TRAP_FAULT = 1 };

/* What a guest's behaviour depends on. All of it goes into a trace's header. Zero-initialise, then vm_config_init(). */
struct vm_config {
	uint64_t memory; /* guest RAM in bytes: a multiple of 4096, VM_MEMORY_MIN..VM_MEMORY_MAX */
	enum ring_model model;
	enum sensitive_policy policy;
	enum engine_kind engine;
	enum trap_kind trap;          /* TRAP_FAULT: ENGINE_TRANSLATE only */
	uint64_t ns_per_insn;         /* virtual nanoseconds an instruction takes */
	uint64_t ns_per_fault;        /* virtual nanoseconds an emulated fault takes on top */
	uint64_t checkpoint_interval; /* icount between checkpoints (each flushes the TLB); 0 = none */
	uint64_t limit;               /* stop at this icount; UINT64_MAX = no limit */
};
#define VM_MEMORY_MIN (2ull << 20)
#define VM_MEMORY_MAX (3ull << 30)
#define VM_MEMORY_DEFAULT (256ull << 20)
void vm_config_init(struct vm_config *config); /* the documented defaults; the fastest engine that this host can do */

/* Why a run ended. Values are stored in traces: append only. */
enum vm_stop_reason {
	STOP_NONE = 0,
	STOP_POWEROFF,     /* the guest switched the machine off */
	STOP_RESET,        /* the guest asked for a reset (0xcf9, 8042, port 0x92) */
	STOP_TRIPLE_FAULT, /* exception while delivering a double fault: a reset on hardware */
	STOP_DEBUG_EXIT,   /* port 0xf4: code is the guest's exit code */
	STOP_LIMIT,        /* config.limit reached */
	STOP_IDLE,         /* HLT and nothing that could ever wake it */
	STOP_GUEST_ERROR,  /* the guest did what this VMM refuses; message says what */
	STOP_OBSERVER,     /* the observer asked to stop (divergence) */
	STOP_TRACE_END,    /* replay: the trace has no more events (recorder was killed) */
	STOP_INTERRUPTED,  /* a person ended the run, between two instructions */
	STOP_REASON_MAX
};
const char *vm_stop_name(enum vm_stop_reason reason);
const char *vm_engine_name(enum engine_kind engine); /* as --engine takes it */
const char *vm_trap_name(enum trap_kind trap);       /* as --trap takes it */
/* Can this host's processor do it? Otherwise vm_create() fails with -ENOTSUP. */
bool vm_engine_supported(enum engine_kind engine);

struct vm_stop {
	enum vm_stop_reason reason;
	uint64_t code;     /* STOP_DEBUG_EXIT: the value to exit with */
	char message[256]; /* one sentence for a person */
};

/* The moment an input is asked about. */
struct vm_now {
	uint64_t icount;
	uint64_t vns;       /* virtual time, ns */
	bool can_interrupt; /* virtual IF set and no interrupt shadow: a vector would be delivered now */
};

/* What a person changes in a debugger. */
struct vm_change {
	bool registers; /* bytes are a snapshot (snapshot.h) of the registers, after; otherwise what is written at gpa */
	uint64_t gpa;
	const void *bytes;
	uint32_t len;
};

/* What the outside has to say at a moment. */
struct vm_turn {
	uint64_t deadline;        /* absolute icount at which to be asked again at the latest; UINT64_MAX = never */
	uint64_t quiet_until;     /* virtual time, ns; see poll */
	int vector;               /* 0..255: deliver this external interrupt now; -1 none. Only when can_interrupt */
	enum vm_stop_reason stop; /* not STOP_NONE: end the run here */
	uint64_t stop_code;
	const char *stop_message; /* may be NULL; borrowed */
	const void *input;        /* outside input that entered at this moment, to be logged; borrowed; NULL none */
	uint32_t input_len;
	const char *marker;             /* a marker that fired at this moment, to be logged; borrowed; NULL none */
	const struct vm_change *change; /* one that was made at this moment; borrowed; NULL none */
};

/*
 * The plug for everything that comes from outside the vCPU. All functions are required. `self` is passed back.
 * Sizes are 1, 2 or 4 bytes (MMIO also 8). Values are zero-extended.
 */
struct vm_input {
	void *self;
	uint32_t (*pio_read)(void *self, uint16_t port, unsigned size);
	void (*pio_write)(void *self, uint16_t port, unsigned size, uint32_t value);
	uint64_t (*mmio_read)(void *self, uint64_t gpa, unsigned size);
	void (*mmio_write)(void *self, uint64_t gpa, unsigned size, uint64_t value);
	uint64_t (*tsc)(void *self); /* the time stamp counter before the guest's own offset */
	/* Asked before the first instruction, whenever the deadline is reached, after each event that the VM emulated, and
	 * again after each turn that brought something, until a turn brings nothing. Before a turn's quiet_until (0: at once) it need not be asked after an event
	 * that touched no device, unless the guest can be interrupted and could not when last asked. */
	void (*poll)(void *self, const struct vm_now *now, struct vm_turn *turn);
	/* HLT with virtual IF set and no interrupt pending: pass virtual time to the next thing that can happen.
	 * Returns false when nothing ever can. */
	bool (*idle)(void *self, const struct vm_now *now);
	/* The devices' own state, for a checkpoint from which a run can go on live: writes at most `room` bytes, returns the length; 0 when
	 * there is none to save. NULL: no devices. */
	size_t (*save)(void *self, uint8_t *buf, size_t room);
};
#define VM_INPUT_STATE_MAX (256u << 10)

enum vm_stream { STREAM_SERIAL = 0, STREAM_DEBUG = 1 };

/* The plug for whoever wants to know. NULL members are skipped; a VM without an observer makes no events. */
struct vm_observer {
	void *self;
	/* Called in order. Return false to end the run with STOP_OBSERVER (after this event). ev is borrowed. */
	bool (*event)(void *self, const struct event *ev);
	/* Called after event() for the same event, unless NULL: then no host clocks are read. */
	void (*cost)(void *self, const struct event_cost *cost);
	/* The guest runs from here on (true), or the VMM does. For whoever counts on the host what either takes. */
	void (*guest)(void *self, bool runs);
};

/* RAM is allocated zeroed. On error *out is NULL. Free with vm_destroy (NULL is fine). */
int vm_create(struct vm **out, const struct vm_config *config, struct vm_error *err);
void vm_destroy(struct vm *vm);

/* input and observer must outlive the VM's use of them; observer may be NULL. */
void vm_plug(struct vm *vm, const struct vm_input *input, const struct vm_observer *observer);

/* Run until the guest ends or `until` icount is reached (then stop->reason is STOP_NONE). May be called again. */
int vm_run(struct vm *vm, uint64_t until, struct vm_stop *stop, struct vm_error *err);

struct vcpu *vm_vcpu(struct vm *vm);
struct clock *vm_clock(struct vm *vm);
const struct vm_config *vm_config(const struct vm *vm);
/* Guest RAM, config.memory bytes, gpa 0 first. */
uint8_t *vm_ram(struct vm *vm);
uint64_t vm_ram_size(const struct vm *vm);

/* Digest of the architectural state, in the guest's view (virtual state). Same for every engine. */
uint64_t vm_register_digest(struct vm *vm);
/* Digest of RAM contents; incremental over the pages written since the last call. */
uint64_t vm_memory_digest(struct vm *vm);

/* Counters that are not events: the hidden faults of shadow paging, and work done. */
struct vm_counters {
	uint64_t icount, faults, tlb_fills, tlb_flushes, view_switches, traces_decoded, smc_invalidations, leaks;
	uint64_t hardfaults; /* that the host's processor raised in the guest's place (TRAP_FAULT); not in traces */
};
void vm_get_counters(const struct vm *vm, struct vm_counters *out);

#endif
