/*
 * probe.c - see probe.h. Called by trap/ and vm.c for every event.
 */
#include "vmm/probe.h"

#include <x86intrin.h>

#include "vmm/bug.h"

#define TELL_UNTIMED 15 /* light events, from one whose telling is timed to the next */
#define TELL_GROWTH 64  /* cycles: a pause of the host is not taken for what is usual */

/* From here on it is the next event's. */
static inline void begin_next(struct probe *p, uint64_t now)
{
	p->last_end = p->classified = now;
	p->engine = p->guest = p->fault = p->callout = p->engine_inside = p->device_acc = 0;
	p->classified_inside = 0;
	if (unlikely(meter_inside(p->meter)))
		meter_restart(p->meter);
}

void probe_init(struct probe *p, const struct vm_observer *observer, struct meter *meter)
{
	*p = (struct probe){ .observer = observer, .meter = meter, .untimed = TELL_UNTIMED };
	p->timed = observer && observer->event && observer->cost;
	meter->on = p->timed;
	if (p->timed)
		begin_next(p, __rdtsc());
}

static inline void tell_guest(const struct probe *p, bool runs)
{
	if (p->observer && p->observer->guest)
		p->observer->guest(p->observer->self, runs);
}

static inline void stamp_begin(struct probe *p, uint64_t now)
{
	p->meter->exit_at = p->meter->fault = 0;
	p->run_inside = meter_inside(p->meter);
	p->run_start = now;
}

void probe_guest_begin(struct probe *p)
{
	tell_guest(p, true);
	if (p->timed)
		stamp_begin(p, __rdtsc());
}

void probe_guest_resume(struct probe *p)
{
	tell_guest(p, true);
	if (p->timed)
		stamp_begin(p, p->last_end);
}

static inline uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static inline void stamp_end(struct probe *p, uint64_t end, uint64_t now)
{
	const struct meter *m = p->meter;
	uint64_t inside = meter_inside(m) - p->run_inside, guest = less(end - p->run_start, inside + m->fault);

	p->engine += now - p->run_start;
	p->engine_inside += inside;
	p->fault += m->fault;
	p->callout += now - end;
	if (unlikely(p->ahead)) {
		uint64_t back = p->ahead < guest ? p->ahead : guest;

		p->ahead -= back;
		guest -= back;
	}
	p->guest += guest;
	p->classified = now;
	p->classified_inside = meter_inside(m);
}

void probe_guest_end(struct probe *p)
{
	if (p->timed) {
		uint64_t now = __rdtsc();

		stamp_end(p, p->meter->exit_at ? p->meter->exit_at : now, now);
		p->light = false;
	}
	tell_guest(p, false);
}

void probe_guest_pause(struct probe *p)
{
	if (p->timed) {
		uint64_t now = p->meter->exit_at ? p->meter->exit_at : __rdtsc();

		if (unlikely(now < p->run_start)) { /* which was a guess: the guest will have run so much less, the emulation takes what it takes */
			p->ahead += p->run_start - now;
			p->run_start = p->last_end = now;
		}
		stamp_end(p, now, now);
		p->light = true;
	}
	tell_guest(p, false);
}

void probe_classified(struct probe *p)
{
	if (!p->timed)
		return;
	p->classified = __rdtsc();
	p->classified_inside = meter_inside(p->meter);
	p->light = false;
}

static inline uint32_t saturate(uint64_t cycles)
{
	return cycles > UINT32_MAX ? UINT32_MAX : (uint32_t)cycles;
}

static bool is_delivery(const struct event *ev)
{
	return ev->kind == EV_EXCEPTION || ev->kind == EV_INTERRUPT;
}

static void tell_cost(struct probe *p, const struct event *ev, uint64_t emulated, uint64_t logged)
{
	const struct meter *m = p->meter;
	uint64_t own = less(emulated - p->classified, meter_inside(m) - p->classified_inside + p->device_acc);
	uint64_t between = less(p->classified - p->last_end, p->engine);
	struct event_cost cost = {
		.cycles = {
			[PH_GUEST] = saturate(p->guest),
			[PH_FAULT] = saturate(p->fault),
			[PH_CALLOUT] = saturate(p->callout),
			[PH_ENTRY] = saturate(less(between, p->classified_inside - p->engine_inside)),
			[PH_DEVICE] = saturate(p->device_acc),
			[PH_LOG] = saturate(logged - emulated),
		},
	};

	if (unlikely(meter_inside(m))) {
		cost.cycles[PH_DECODE] = saturate(m->decode);
		cost.cycles[PH_TLB] = saturate(m->tlb);
		cost.cycles[PH_VIEW] = saturate(m->view);
	}
	cost.cycles[is_delivery(ev) ? PH_REFLECT : PH_EMULATE] = saturate(own);
	p->observer->cost(p->observer->self, &cost);
}

/* When the observer has been told, which began at `emulated`. */
static uint64_t told_at(struct probe *p, uint64_t emulated)
{
	uint64_t now, took, most = 2 * p->tell_cycles + TELL_GROWTH;

	if (!p->light)
		return __rdtsc();
	if (p->untimed++ < TELL_UNTIMED)
		return emulated + p->tell_cycles;
	now = __rdtsc();
	took = now - emulated;
	p->untimed = 0;
	p->tell_cycles = took < most ? (p->tell_cycles + took) / 2 : most;
	return now;
}

void probe_event(struct probe *p, const struct event *ev)
{
	uint64_t emulated = 0, logged;

	if (!probe_wanted(p))
		return;
	if (p->timed)
		emulated = __rdtsc();
	if (!p->observer->event(p->observer->self, ev))
		p->stopped = true;
	if (!p->timed)
		return;
	logged = told_at(p, emulated);
	tell_cost(p, ev, emulated, logged);
	begin_next(p, logged);
}
