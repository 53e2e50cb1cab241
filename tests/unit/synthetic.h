/*
 * synthetic.h - an event stream like a booting kernel's, made up, and the same for the same seed: for tests of the
 * trace.
 */
#ifndef RINGSIDE_TESTS_SYNTHETIC_H
#define RINGSIDE_TESTS_SYNTHETIC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "vmm/decode/insn.h"
#include "vmm/event.h"
#include "vmm/vm.h"

struct synthetic {
	uint64_t random;
	uint64_t icount, faults, idle_ns;
	uint64_t end; /* number of the event that is EV_END; UINT64_MAX never */
	uint64_t made;
	unsigned scene, step, steps, process;
	uint32_t fault_rip, fault_addr, call_rip;
	uint8_t blob[512];
};

static inline uint64_t synthetic_random(struct synthetic *s)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return s->random;
}

static inline void synthetic_init(struct synthetic *s, uint64_t seed, uint64_t end)
{
	memset(s, 0, sizeof(*s));
	s->random = seed * 0x9e3779b97f4a7c15ull + 1;
	s->end = end;
}

static inline struct event synthetic_make(struct synthetic *s, unsigned kind, unsigned op, uint32_t rip, unsigned insns)
{
	struct event ev = { .kind = (uint8_t)kind, .op = (uint16_t)op, .rip = rip, .rcpl = 1, .size = 4 };

	s->icount += insns;
	ev.icount = s->icount;
	return ev;
}

static inline struct event synthetic_console(struct synthetic *s)
{
	struct event ev;

	if (s->step % 3 != 2) {
		ev = synthetic_make(s, EV_PIO, OP_IN, 0xc0301200, s->step % 3 ? 3 : 40);
		ev.addr = 0x3fd;
		ev.value = s->step % 3 ? 0x60 : 0x40;
	} else {
		ev = synthetic_make(s, EV_PIO, OP_OUT, 0xc0301240, 9);
		ev.addr = 0x3f8;
		ev.value = "the quick brown fox jumps over the lazy dog 0123456789\n"[synthetic_random(s) % 55];
		ev.flags = EVF_WRITE;
	}
	ev.size = 1;
	return ev;
}

static inline struct event synthetic_delay(struct synthetic *s)
{
	struct event ev = synthetic_make(s, EV_FAULT, OP_RDTSC, 0xc0104460, 11);

	ev.value = s->icount + s->faults * 1000 + s->idle_ns;
	ev.size = 0;
	return ev;
}

static inline struct event synthetic_page_fault(struct synthetic *s)
{
	struct event ev;

	if (s->step % 4 == 0) {
		s->fault_rip = 0x8048000 + (uint32_t)(synthetic_random(s) % 0x8000);
		s->fault_addr = 0x80a0000 + (uint32_t)(synthetic_random(s) % 0x40000);
		ev = synthetic_make(s, EV_EXCEPTION, OP_MOV, s->fault_rip, (unsigned)(synthetic_random(s) % 3000));
		ev.value = 14;
		ev.error = synthetic_random(s) % 2 ? 6 : 4;
		ev.flags = EVF_HAS_ERROR;
		ev.vcpl = ev.rcpl = 3;
		ev.addr = s->fault_addr;
	} else if (s->step % 4 == 1) {
		ev = synthetic_make(s, EV_FAULT, OP_MOV_R_CR, 0xc0500010, 12);
		ev.addr = 2;
		ev.value = s->fault_addr;
	} else if (s->step % 4 == 2) {
		ev = synthetic_make(s, EV_FAULT, OP_STI, 0xc0110204, 30);
	} else {
		ev = synthetic_make(s, EV_FAULT, OP_IRET, 0xc0500090, 400 + (unsigned)(synthetic_random(s) % 64));
		ev.addr = 0x73;
		ev.value = s->fault_rip;
	}
	return ev;
}

static inline struct event synthetic_system_call(struct synthetic *s)
{
	static const struct {
		uint16_t op;
		uint16_t insns;
		uint32_t rip;
	} path[] = {
		{ OP_STI, 14, 0xc0500204 },
		{ OP_CLI, 250, 0xc0500260 },
		{ OP_IRET, 22, 0xc0500290 },
	};
	unsigned step = s->step % 4;
	struct event ev;

	if (!step) {
		s->call_rip = 0xb7710000 + (uint32_t)(synthetic_random(s) % 24) * 0x34;
		ev = synthetic_make(s, EV_EXCEPTION, OP_INT, s->call_rip, (unsigned)(synthetic_random(s) % 500));
		ev.value = 0x80;
		ev.flags = EVF_SOFT;
		ev.vcpl = ev.rcpl = 3;
		return ev;
	}
	ev = synthetic_make(s, EV_FAULT, path[step - 1].op, path[step - 1].rip, path[step - 1].insns);
	if (step == 3) {
		ev.addr = 0x73;
		ev.value = s->call_rip + 2;
	}
	return ev;
}

static inline struct event synthetic_tick(struct synthetic *s)
{
	struct event ev;

	if (s->step == 0) {
		s->idle_ns += synthetic_random(s) % 1000000;
		ev = synthetic_make(s, EV_INTERRUPT, OP_NONE, 0xc0100000 + (uint32_t)(synthetic_random(s) % 0x100000),
		                    (unsigned)(synthetic_random(s) % 5000));
		ev.addr = s->idle_ns;
		ev.value = 0x30;
		ev.size = 0;
		return ev;
	}
	if (s->step == 1) {
		ev = synthetic_make(s, EV_PIO, OP_OUT, 0xc0108810, 31);
		ev.addr = 0x20;
		ev.value = 0x60;
		ev.flags = EVF_WRITE;
		ev.size = 1;
		return ev;
	}
	if (s->step == 2) {
		s->process = (s->process + 1) % 7;
		ev = synthetic_make(s, EV_FAULT, OP_MOV_CR, 0xc0107720, 600);
		ev.addr = 3;
		ev.value = 0x1f00000 + 0x3000 * s->process;
		return ev;
	}
	ev = synthetic_make(s, EV_FAULT, OP_IRET, 0xc0500390, 90);
	ev.value = 0xc0100000;
	return ev;
}

static inline struct event synthetic_disk(struct synthetic *s)
{
	struct event ev = synthetic_make(s, EV_PIO, OP_INS, 0xc0401000, 50);
	size_t i;

	for (i = 0; i < sizeof(s->blob); i += 8) {
		uint64_t word = synthetic_random(s) & 0x0f0f0f0f0f0f0f0full;

		memcpy(s->blob + i, &word, sizeof(word));
	}
	ev.addr = 0x1f0;
	ev.size = 2;
	ev.value = sizeof(s->blob) / 2;
	ev.blob = s->blob;
	ev.blob_len = sizeof(s->blob);
	s->icount += ev.value - 1;
	return ev;
}

/* The next event. Its blob is valid until the next call. */
static inline struct event synthetic_next(struct synthetic *s)
{
	static struct event (*const scenes[])(struct synthetic *) = { synthetic_console,    synthetic_delay,
		                                                      synthetic_page_fault, synthetic_system_call,
		                                                      synthetic_tick,       synthetic_disk };
	static const unsigned lengths[] = { 120, 60, 4, 4, 4, 1 };
	static const unsigned weights[] = { 4, 8, 40, 100, 20, 1 };
	struct event ev;

	if (s->made == s->end) {
		ev = synthetic_make(s, EV_END, OP_NONE, 0xc0100000, 1);
		ev.value = STOP_POWEROFF;
		ev.blob = "the guest switched the machine off";
		ev.blob_len = (uint32_t)strlen(ev.blob);
		s->made++;
		return ev;
	}
	if (s->step == s->steps) {
		unsigned dice = (unsigned)(synthetic_random(s) % 173);

		for (s->scene = 0; dice >= weights[s->scene]; s->scene++)
			dice -= weights[s->scene];
		s->step = 0;
		s->steps = lengths[s->scene];
	}
	ev = scenes[s->scene](s);
	s->step++;
	s->made++;
	s->icount += ev.kind != EV_EXCEPTION && ev.kind != EV_INTERRUPT;
	s->faults++;
	return ev;
}

/* Anything at all that the format can hold. */
static inline struct event synthetic_noise(struct synthetic *s)
{
	struct event ev = { .kind = (uint8_t)(1 + synthetic_random(s) % (EV_END - 1)),
		            .op = (uint16_t)(synthetic_random(s) % OP_MAX) };

	s->icount += synthetic_random(s) >> (24 + synthetic_random(s) % 40);
	ev.icount = s->icount;
	ev.rip = synthetic_random(s) >> (synthetic_random(s) % 64);
	ev.addr = synthetic_random(s) >> (synthetic_random(s) % 64);
	ev.value = synthetic_random(s) >> (synthetic_random(s) % 64);
	ev.error = (uint32_t)(synthetic_random(s) >> (synthetic_random(s) % 64));
	ev.vcpl = synthetic_random(s) % 4;
	ev.rcpl = synthetic_random(s) % 4;
	ev.size = synthetic_random(s) % 16;
	ev.flags = synthetic_random(s) % 8;
	if (synthetic_random(s) % 4 == 0) {
		ev.blob_len = 1 + (uint32_t)(synthetic_random(s) % sizeof(s->blob));
		ev.blob = s->blob;
		s->blob[synthetic_random(s) % sizeof(s->blob)] = (uint8_t)synthetic_random(s);
	}
	return ev;
}

/* A plausible cost: skewed, noisy. */
static inline struct event_cost synthetic_cost(struct synthetic *s)
{
	struct event_cost cost;
	unsigned i;

	for (i = 0; i < PH_MAX; i++)
		cost.cycles[i] = 40 * (i + 1) + (uint32_t)(synthetic_random(s) % 32);
	cost.cycles[PH_DECODE] = cost.cycles[PH_VIEW] = cost.cycles[PH_FAULT] = cost.cycles[PH_REFLECT] = 0;
	if (synthetic_random(s) % 16)
		cost.cycles[PH_TLB] = 0;
	cost.cycles[PH_GUEST] += (uint32_t)(synthetic_random(s) % 4096);
	return cost;
}

static inline bool synthetic_same(const struct event *a, const struct event *b)
{
	return a->icount == b->icount && a->rip == b->rip && a->addr == b->addr && a->value == b->value &&
	       a->error == b->error && a->op == b->op && a->kind == b->kind && a->vcpl == b->vcpl &&
	       a->rcpl == b->rcpl && a->size == b->size && a->flags == b->flags && a->blob_len == b->blob_len &&
	       (!a->blob_len || !memcmp(a->blob, b->blob, a->blob_len));
}

#endif
