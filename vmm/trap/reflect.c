/*
 * reflect.c - hand an exception, software interrupt or external interrupt to the guest through its own IDT.
 *
 * Delivery may itself fault. What then is delivered follows SDM vol. 3A table 6-5:
 *
 *     first \ second   benign       contributory   page fault
 *     benign           second       second         second
 *     contributory     second       #DF            second
 *     page fault       second       #DF            #DF
 *     #DF              second       shutdown       shutdown
 */
#include "vmm/trap/trap.h"

#include <string.h>

enum severity { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

#define MAX_NESTING 8 /* #DF and shutdown come long before */
#define MAX_EXCEPTIONS_WITHOUT_PROGRESS 1000000u

static enum severity severity_of(const struct intr *in)
{
	static const uint32_t contributory = 1u << VEC_DE | 1u << VEC_TS | 1u << VEC_NP | 1u << VEC_SS | 1u << VEC_GP;

	if (in->type != INTR_EXCEPTION)
		return BENIGN;
	if (in->vector == VEC_DF)
		return DOUBLE_FAULT;
	if (in->vector == VEC_PF)
		return PAGE_FAULT;
	return in->vector < 32 && (contributory >> in->vector & 1) ? CONTRIBUTORY : BENIGN;
}

/* The exception that a fault during delivery makes of the two; false for shutdown. */
static bool combine(const struct intr *first, struct intr *second)
{
	enum severity a = severity_of(first), b = severity_of(second);

	if (b == BENIGN || a == BENIGN || (a == CONTRIBUTORY && b == PAGE_FAULT))
		return true;
	if (a == DOUBLE_FAULT)
		return false;
	second->vector = VEC_DF;
	second->has_error = true;
	second->error = 0;
	return true;
}

struct event trap_event(const struct vm *vm, enum event_kind kind, enum op op)
{
	const struct vcpu *c = &vm->vcpu;

	return (struct event){
		.icount = c->icount,
		.rip = c->rip,
		.op = (uint16_t)op,
		.kind = (uint8_t)kind,
		.vcpl = c->real_view ? c->virt.cpl : c->cpl,
		.rcpl = vm->real_cpl,
	};
}

/* State that belongs to the vector itself, set when it is taken. */
static void set_fault_registers(struct vcpu *c, const struct intr *in, uint64_t cr2)
{
	if (in->type != INTR_EXCEPTION)
		return;
	if (in->vector == VEC_PF)
		c->cr2 = (uint32_t)cr2;
	if (in->vector == VEC_DB) {
		c->dr[6] |= c->db_pending;
		c->dr[7] &= ~(1u << 13); /* GD is cleared on entry, SDM vol. 3B 17.2.4 */
		c->db_pending = 0;
	}
}

/* One attempt; false when it raised, and then *in and *cr2 are the new exception. */
static bool attempt(struct vm *vm, struct intr *in, uint64_t *cr2)
{
	struct vcpu *c = &vm->vcpu;
	jmp_buf landing;

	c->unwind = &landing;
	c->ip = NULL;
	set_fault_registers(c, in, *cr2);
	if (!_setjmp(landing)) {
		intr_deliver(c, in);
		c->unwind = NULL;
		return true;
	}
	c->unwind = NULL;
	*in = (struct intr){
		.vector = c->exit.vector,
		.type = INTR_EXCEPTION,
		.has_error = c->exit.has_error,
		.error = c->exit.error,
		.next_eip = (uint32_t)c->rip,
	};
	*cr2 = c->exit.cr2;
	return false;
}

/* A guest whose exception handler's first instruction faults again, for ever, retires nothing: neither its clock nor a limit would end it. */
static void count_without_progress(struct vm *vm)
{
	if (vm->exception_icount != vm->vcpu.icount) {
		vm->exception_icount = vm->vcpu.icount;
		vm->exceptions_here = 0;
	}
	if (++vm->exceptions_here >= MAX_EXCEPTIONS_WITHOUT_PROGRESS)
		vm_stop_with(vm, STOP_GUEST_ERROR, "%u exceptions in a row without one instruction retired, at %04x:%08x",
		             MAX_EXCEPTIONS_WITHOUT_PROGRESS, vm->vcpu.seg[SEG_CS].sel, (unsigned)vm->vcpu.rip);
}

bool reflect(struct vm *vm, const struct intr *first, uint64_t cr2, enum op op)
{
	struct event ev = trap_event(vm, first->type == INTR_EXTERNAL ? EV_INTERRUPT : EV_EXCEPTION, op);
	struct intr in = *first;

	watch_commit(&vm->vcpu);
	vm->clock.faults++;
	count_without_progress(vm);
	for (unsigned i = 0; i < MAX_NESTING; i++) {
		struct intr previous = in;

		if (attempt(vm, &in, &cr2)) {
			ev.value = in.vector;
			if (in.type == INTR_EXTERNAL)
				ev.addr = vm->clock.idle_ns;
			else if (in.type == INTR_EXCEPTION && in.vector == VEC_PF)
				ev.addr = cr2;
			ev.error = in.has_error ? in.error : 0;
			if (in.type != INTR_EXTERNAL)
				ev.kind = EV_EXCEPTION;
			ev.flags = (uint8_t)((in.has_error ? EVF_HAS_ERROR : 0) |
			                     (in.type == INTR_SOFT || in.type == INTR_PRIV_SOFT ? EVF_SOFT : 0));
			probe_event(&vm->probe, &ev);
			return i == 0;
		}
		/* it came, though its delivery faulted: a replay must bring it again */
		if (previous.type == INTR_EXTERNAL) {
			struct event came = ev;

			came.value = previous.vector;
			came.addr = vm->clock.idle_ns;
			probe_event(&vm->probe, &came);
		}
		if (!combine(&previous, &in))
			break;
	}
	vm_stop_with(vm, STOP_TRIPLE_FAULT, "triple fault at %04x:%08x (vector %u could not be delivered)",
	             vm->vcpu.seg[SEG_CS].sel, (unsigned)vm->vcpu.rip, first->vector);
	return false;
}
