/*
 * probe.h - telling the observer what happened, and where the host's time went meanwhile.
 *
 * The stamps form a small state machine on the vCPU's thread:
 *
 *     last_end --- input, ring_enter --- engine runs, ring_leave --- classified --- emulate (+ device) --- probe_event --- last_end
 *                  entry                 guest ... [fault] exit_at callout
 *
 * The phases of consecutive events leave no gap. What the meter counts (decoding, TLB fills, view switches) is taken out of whatever it happened in.
 * No clock is read unless the observer wants costs.
 *
 * Three readings of the clock can take as long as a light emulation. So telling of one is timed now and then only, and taken to be as long between; what it
 * took more, or less, is in the guest phases of the events after it, and never in an emulation.
 */
#ifndef RINGSIDE_VMM_PROBE_H
#define RINGSIDE_VMM_PROBE_H

#include "vmm/meter.h"
#include "vmm/vm.h"

struct probe {
	const struct vm_observer *observer;
	bool timed;
	bool stopped;         /* the observer asked to end the run */
	bool light;           /* what is emulated was begun by probe_guest_pause() */
	uint8_t untimed;      /* light events since one whose telling was timed */
	uint64_t tell_cycles; /* what that takes */
	uint64_t ahead;       /* by which guesses of it were too long, and the guest phases told so far */
	uint64_t last_end;    /* cycles when the previous event was done */
	uint64_t run_start;   /* cycles when the engine was entered */
	uint64_t classified;  /* cycles when the present exit was classified */
	uint64_t device_acc;  /* device cycles since classified */
	/* since last_end: */
	uint64_t engine, guest;                 /* cycles in the engine, and those of them that were the guest's own */
	uint64_t fault, callout;                /* others of them */
	uint64_t engine_inside;                 /* what the meter counted meanwhile */
	struct meter *meter;                    /* restarted at last_end */
	uint64_t run_inside, classified_inside; /* what it had counted when the engine was entered, and at classified */
};

/* meter: what the vCPU and its engine fill. */
void probe_init(struct probe *p, const struct vm_observer *observer, struct meter *meter);
void probe_guest_begin(struct probe *p); /* the engine is entered */
void probe_guest_end(struct probe *p); /* it is left, for the virtual view: what follows is emulation, or another run */
/* The same two around what is emulated in the middle of an engine run. They read no clock that was read a moment ago: the call-out is part of the emulation,
 * and the guest goes on where the event ended. probe_guest_resume() is for where an event was told and nothing but going on followed. */
void probe_guest_pause(struct probe *p);
void probe_guest_resume(struct probe *p);
void probe_classified(struct probe *p); /* what follows is emulation, and no engine has just been left */
void probe_event(struct probe *p, const struct event *ev);

static inline bool probe_wanted(const struct probe *p)
{
	return p->observer && p->observer->event;
}

#endif
