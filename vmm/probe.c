/*
 * probe.c - see probe.h. Called by trap/ and vm.c for every event.
 */
#include "vmm/probe.h"

#include <x86intrin.h>

void probe_init(struct probe *p, const struct vm_observer *observer)
{
	*p = (struct probe){ .observer = observer, .timed = observer && observer->event && observer->cost };
	if (p->timed)
		p->last_end = p->classified = __rdtsc();
}

void probe_guest_begin(struct probe *p)
{
	if (p->timed)
		p->run_start = __rdtsc();
}

void probe_guest_end(struct probe *p)
{
	if (p->timed)
		p->guest_acc += __rdtsc() - p->run_start;
}

void probe_classified(struct probe *p)
{
	if (p->timed)
		p->classified = __rdtsc();
}

static uint32_t saturate(uint64_t begin, uint64_t end, uint64_t less)
{
	uint64_t d = end > begin + less ? end - begin - less : 0;

	return d > UINT32_MAX ? UINT32_MAX : (uint32_t)d;
}

void probe_event(struct probe *p, const struct event *ev)
{
	struct event_cost cost;
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
	cost.cycles[PH_GUEST] = saturate(0, p->guest_acc, 0);
	cost.cycles[PH_ENTRY] = saturate(p->last_end, p->classified, p->guest_acc);
	cost.cycles[PH_DECODE] = 0; /* the engine decodes when it builds a trace: in the guest's phase */
	cost.cycles[PH_EMULATE] = saturate(p->classified, emulated, p->device_acc);
	cost.cycles[PH_DEVICE] = saturate(0, p->device_acc, 0);
	cost.cycles[PH_LOG] = saturate(emulated, logged, 0);
	p->observer->cost(p->observer->self, &cost);
	p->last_end = p->classified = logged;
	p->guest_acc = p->device_acc = 0;
}
