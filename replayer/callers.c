/*
 * callers.c - see callers.h.
 *
 * A frame is what `push %ebp; mov %esp, %ebp` makes: at EBP the caller's EBP, above it the return address. Frames of one chain lie higher and higher on
 * one stack. Linux's entry code leaves a frame pointer with its lowest bit set: there the chain ends.
 */
#include "replayer/callers.h"

#include <stdlib.h>
#include <string.h>

#include "recorder/samples.h"
#include "vmm/cpu/vcpu.h"

#define DEPTH 32
#define FRAME_MAX 16384u /* bytes: no stack of a kernel is longer */
#define SLOTS (2u * SAMPLES_NODES_MAX)

struct node {
	uint32_t parent, address;
};

struct callers {
	struct node *node;
	uint32_t nodes, room;
	uint32_t *slots; /* node; 0 is free: the root is found by nobody */
	uint32_t *of;
	uint64_t events, count;
};

struct callers *callers_create(uint64_t events)
{
	struct callers *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->events = events;
	c->room = 1024;
	c->node = calloc(c->room, sizeof(*c->node));
	c->slots = calloc(SLOTS, sizeof(*c->slots));
	c->of = calloc(events + 1, sizeof(*c->of));
	c->nodes = 1;
	if (c->node && c->slots && c->of)
		return c;
	callers_destroy(c);
	return NULL;
}

void callers_destroy(struct callers *c)
{
	if (!c)
		return;
	free(c->node);
	free(c->slots);
	free(c->of);
	free(c);
}

/* The child, made when it is new; the parent itself when there can be no more. */
static uint32_t child_of(struct callers *c, uint32_t parent, uint32_t address)
{
	uint64_t h = ((uint64_t)parent << 32 | address) * 0x9e3779b97f4a7c15ull;
	uint32_t at = (uint32_t)(h >> 32) % SLOTS;

	for (; c->slots[at]; at = (at + 1) % SLOTS)
		if (c->node[c->slots[at]].parent == parent && c->node[c->slots[at]].address == address)
			return c->slots[at];
	if (c->nodes == SAMPLES_NODES_MAX)
		return parent;
	if (c->nodes == c->room) {
		struct node *node = realloc(c->node, 2ul * c->room * sizeof(*node));

		if (!node)
			return parent;
		c->node = node;
		c->room *= 2;
	}
	c->node[c->nodes] = (struct node){ parent, address };
	c->slots[at] = c->nodes;
	return c->nodes++;
}

static bool read_frame(struct vcpu *v, uint32_t at, uint32_t frame[2])
{
	uint64_t gpa;

	/* a frame does not cross a page: it is 8 bytes at a multiple of 4, and one that does is given up */
	if ((at & 4095) > 4096 - 8 || mmu_peek(&v->mmu, at, &gpa) || !ram_has(v->mmu.ram, gpa))
		return false;
	ram_read(v->mmu.ram, gpa, frame, 8);
	return true;
}

static unsigned walk(struct vcpu *v, uint32_t addresses[DEPTH])
{
	uint32_t at = (uint32_t)v->gpr[R_BP], esp = (uint32_t)v->gpr[R_SP], frame[2];
	unsigned depth = 0;

	if (at < esp || at - esp > FRAME_MAX)
		return 0;
	while (depth < DEPTH && !(at & 3) && read_frame(v, at, frame) && frame[1]) {
		addresses[depth++] = frame[1];
		if (frame[0] <= at || frame[0] - at > FRAME_MAX)
			break;
		at = frame[0];
	}
	return depth;
}

static bool has_chain(const struct event *ev)
{
	return ev->vcpl != 3 &&
	       (ev->kind == EV_FAULT || ev->kind == EV_SENSITIVE || ev->kind == EV_PIO || ev->kind == EV_MMIO);
}

void callers_add(struct callers *c, struct vm *vm, const struct event *ev)
{
	uint32_t addresses[DEPTH], node = 0;
	unsigned depth = has_chain(ev) ? walk(vm_vcpu(vm), addresses) : 0;

	if (c->count == c->events)
		return;
	while (depth)
		node = child_of(c, node, addresses[--depth]);
	c->of[c->count++] = node;
}

uint64_t callers_events(const struct callers *c)
{
	return c->count;
}

uint32_t callers_of(const struct callers *c, uint64_t event)
{
	return c->of[event];
}

uint32_t callers_nodes(const struct callers *c)
{
	return c->nodes;
}

uint32_t callers_parent(const struct callers *c, uint32_t node)
{
	return c->node[node].parent;
}

uint32_t callers_address(const struct callers *c, uint32_t node)
{
	return c->node[node].address;
}
