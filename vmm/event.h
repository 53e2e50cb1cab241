/*
 * event.h - the one thing that is logged.
 *
 * An event is something that happened to the vCPU at the border between guest and VMM: an emulated fault,
 * a port access, an interrupt. The VMM tells every event to its observer (vm.h), stamped with the icount;
 * the recorder stores events, the replayer compares them, the profiler costs them.
 *
 * Everything in struct event is deterministic: two runs of the same guest with the same outside input produce
 * the same bytes here. Everything in struct event_cost comes from the host's clock and differs each time. The two never mix.
 */
#ifndef RINGSIDE_VMM_EVENT_H
#define RINGSIDE_VMM_EVENT_H

#include <stddef.h>
#include <stdint.h>

/* Values are stored in traces: append only, never renumber. */
enum event_kind {
	EV_FAULT = 1, /* privileged instruction stopped by the real CPL, emulated */
	EV_SENSITIVE, /* sensitive instruction that would not fault, caught by the decoder */
	EV_PIO,       /* port access; OP_IN/OUT: one value; OP_INS/OUTS: value = element count, blob = the data */
	EV_MMIO,      /* access to guest-physical memory that is not RAM */
	EV_EXCEPTION, /* exception or software interrupt delivered through the guest's IDT (or IVT) */
	EV_INTERRUPT, /* external interrupt delivered through the guest's IDT (or IVT): value = vector, addr = virtual ns skipped by HLT so far */
	EV_DMA,       /* a device wrote guest memory: addr = gpa, blob = the data */
	EV_INPUT,     /* outside input (console): blob = the bytes, addr = channel */
	EV_MARKER,    /* guest marker: blob = its text */
	EV_CHECKPOINT, /* digests: addr = registers, value = memory */
	EV_END,        /* the run is over: value = enum vm_stop_reason, addr = exit code, blob = message */
	EV_LEAK,       /* policy `leak`: a sensitive instruction ran bare and the guest saw or wrote a lie */
	EV_CHANGE, /* a person changed the guest in a debugger: blob = bytes written at gpa addr, or, when value = 1, all registers */
	EV_KIND_MAX
};

/* event.flags */
enum {
	EVF_WRITE = 1 << 0,     /* EV_PIO, EV_MMIO: guest to device */
	EVF_HAS_ERROR = 1 << 1, /* EV_EXCEPTION: error is meaningful */
	EVF_SOFT = 1 << 2,      /* EV_EXCEPTION: by INT n, INT3, INTO or INT1, not by a fault */
};

struct event {
	uint64_t icount; /* guest instructions retired before the event's own instruction completed */
	uint64_t rip; /* guest instruction pointer (offset in CS) of the instruction, or of the next one for async kinds */
	uint64_t addr;    /* operand 1: port, gpa, CR/DR/MSR number, CR2 for #PF; 0 where none */
	uint64_t value;   /* operand 2 or result: data, new register value, vector, TSC */
	uint32_t error;   /* EV_EXCEPTION: error code; otherwise a kind's third operand, or 0 */
	uint16_t op;      /* enum op of the instruction (decode/insn.h), 0 = OP_NONE where no instruction is to blame */
	uint8_t kind;     /* enum event_kind */
	uint8_t vcpl;     /* virtual CPL 0..3 */
	uint8_t rcpl;     /* real CPL 1..3 */
	uint8_t size;     /* operand size in bytes, 0 where none */
	uint8_t flags;    /* EVF_* */
	const void *blob; /* borrowed: valid only during the observer call */
	uint32_t blob_len; /* bytes */
};

/*
 * Where the host's time went, in cycles of the host's time stamp counter. The phases before PH_OWN are what passed between the end of the
 * previous event and the exit that led to this one; the others are this event's own, what it cost. Summed over a run they add
 * up to the run (the tail after the last event is in EV_END's guest phase).
 */
enum event_phase {
	PH_GUEST,          /* guest instructions */
	PH_DECODE,         /* decoding them, and translating them */
	PH_TLB,            /* walks of the guest's page tables, and fills; an event's own accesses to memory too */
	PH_VIEW,           /* switches between the views of memory of model 0/3/3 */
	PH_OWN,            /* ---- from here on the event's own ---- */
	PH_FAULT = PH_OWN, /* the host processor's fault, its kernel, the signal there and back (TRAP_FAULT) */
	PH_CALLOUT,        /* from the instruction, or its fault, out of the engine and into the virtual view */
	PH_ENTRY,          /* before that: asking the input whether anything is due, and into the real view */
	PH_EMULATE,        /* the handler */
	PH_REFLECT,        /* delivery through the guest's own interrupt table */
	PH_DEVICE,         /* the device's part of the handler */
	PH_LOG, /* telling the observer; of light emulations most are taken to take what a few did (probe.h) */
	PH_MAX
};

struct event_cost {
	uint32_t cycles[PH_MAX]; /* saturating */
};

/* Stable lower-case names for reports and JSON; "?" is never returned for a valid value, NULL for an invalid one. */
const char *event_kind_name(enum event_kind kind);
const char *event_phase_name(enum event_phase phase);

#endif
