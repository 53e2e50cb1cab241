/*
 * probe.c - see probe.h. Called by trap/ and vm.c for every event.
 */
#include "vmm/probe.h"

#include <x86intrin.h>

#include "vmm/bug.h"

/* From here on it is the next event's. */
static void begin_next(struct probe *p, uint64_t now)
{
	p->last_end = p->classified = now;
	p->engine = p->guest = p->fault = p->callout = p->engine_inside = p->device_acc = 0;
	p->told = *p->meter;
	p->classified_inside = meter_inside(p->meter);
}

void probe_init(struct probe *p, const struct vm_observer *observer, struct meter *meter)
{
	*p = (struct probe){ .observer = observer, .meter = meter };
	p->timed = observer && observer->event && observer->cost;
	meter->on = p->timed;
	if (p->timed)
		begin_next(p, __rdtsc());
}

static void tell_guest(const struct probe *p, bool runs)
{
	if (p->observer && p->observer->guest)
		p->observer->guest(p->observer->self, runs);
}

static void stamp_begin(struct probe *p, uint64_t now)
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

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static void stamp_end(struct probe *p, uint64_t now)
{
	const struct meter *m = p->meter;
	uint64_t end, inside;

	end = m->exit_at ? m->exit_at : now;
	inside = meter_inside(m) - p->run_inside;
	p->engine += now - p->run_start;
	p->engine_inside += inside;
	p->fault += m->fault;
	p->callout += now - end;
	p->guest += less(end - p->run_start, inside + m->fault);
	p->classified = now;
	p->classified_inside = p->run_inside + inside;
}

void probe_guest_end(struct probe *p)
{
	if (p->timed)
		stamp_end(p, __rdtsc());
	tell_guest(p, false);
}

void probe_guest_pause(struct probe *p)
{
	if (p->timed)
		stamp_end(p, p->meter->exit_at ? p->meter->exit_at : __rdtsc());
	tell_guest(p, false);
}

void probe_classified(struct probe *p)
{
	if (!p->timed)
		return;
	p->classified = __rdtsc();
	p->classified_inside = meter_inside(p->meter);
}

static inline uint32_t saturate(uint64_t cycles, bool wide)
{
	return wide && cycles > UINT32_MAX ? UINT32_MAX : (uint32_t)cycles;
}

static bool is_delivery(const struct event *ev)
{
	return ev->kind == EV_EXCEPTION || ev->kind == EV_INTERRUPT;
}

/* wide: a phase may have more cycles than fit. */
static inline void fill_cost(const struct probe *p, const struct event *ev, uint64_t emulated, uint64_t logged,
                             bool wide, struct event_cost *out)
{
	const struct meter *m = p->meter;
	uint64_t inside = meter_inside(m), before = p->classified_inside - meter_inside(&p->told);
	uint64_t own = less(emulated - p->classified, inside - p->classified_inside + p->device_acc);
	uint64_t between = less(p->classified - p->last_end, p->engine);

	*out = (struct event_cost){
		.cycles = {
			[PH_GUEST] = saturate(p->guest, wide),
			[PH_DECODE] = saturate(m->decode - p->told.decode, wide),
			[PH_TLB] = saturate(m->tlb - p->told.tlb, wide),
			[PH_VIEW] = saturate(m->view - p->told.view, wide),
			[PH_FAULT] = saturate(p->fault, wide),
			[PH_CALLOUT] = saturate(p->callout, wide),
			[PH_ENTRY] = saturate(less(between, before - p->engine_inside), wide),
			[PH_DEVICE] = saturate(p->device_acc, wide),
			[PH_LOG] = saturate(logged - emulated, wide),
		},
	};
	out->cycles[is_delivery(ev) ? PH_REFLECT : PH_EMULATE] = saturate(own, wide);
}

static void tell_cost(struct probe *p, const struct event *ev, uint64_t emulated, uint64_t logged)
{
	struct event_cost cost;

	if (likely(logged - p->last_end <= UINT32_MAX)) /* and so is each part of it */
		fill_cost(p, ev, emulated, logged, false, &cost);
	else
		fill_cost(p, ev, emulated, logged, true, &cost);
	p->observer->cost(p->observer->self, &cost);
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
	logged = __rdtsc();
	tell_cost(p, ev, emulated, logged);
	begin_next(p, logged);
}
