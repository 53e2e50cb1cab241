/*
 * trap.c - the other side of the VMM's interrupt table: every exit of the engine arrives here, in the virtual view.
 *
 *     exit          what                                                  then
 *     EXCEPTION     the instruction is privileged for the real CPL        emulate: EV_FAULT, EV_PIO
 *                   anything else                                         reflect: EV_EXCEPTION
 *     SENSITIVE     caught by the decoder                                 emulate: EV_SENSITIVE
 *     SOFTINT       INT n and kin                                         reflect: EV_EXCEPTION, soft
 *     MMIO          memory that is not RAM                                one engine step with the hooks open: EV_MMIO
 *
 * An emulator may find that the guest has no right to the instruction: it raises the guest's exception, which is reflected like any other. Then the
 * instruction does not count as emulated.
 */
#include "vmm/trap/trap.h"

#include <string.h>
#include <x86intrin.h>

#include "vmm/ring/ring.h"

#define DR6_BS (1u << 14)

static uint32_t next_eip(const struct vcpu *c, const struct insn *in)
{
	return (uint32_t)(c->rip + in->len);
}

static void reflect_exit(struct vm *vm)
{
	struct vcpu *c = &vm->vcpu;
	const struct vm_exit *x = &c->exit;
	struct intr in = {
		.vector = x->vector,
		.type = INTR_EXCEPTION,
		.has_error = x->has_error,
		.error = x->error,
		.next_eip = (uint32_t)c->rip,
	};

	reflect(vm, &in, x->cr2, x->has_insn ? x->insn.op : OP_NONE);
}

void trap_debug(struct vm *vm)
{
	vm->vcpu.exit = (struct vm_exit){ .reason = EXIT_EXCEPTION, .vector = VEC_DB, .trap = true };
	reflect_exit(vm);
}

static uint64_t rep_budget(const struct vm *vm)
{
	const struct vcpu *c = &vm->vcpu;

	return vm->budget_end > c->icount && c->inhibit_icount != c->icount ? vm->budget_end - c->icount : 1;
}

/* After a load of SS debug traps wait for one instruction (SDM vol. 3A 6.8.3). */
static bool loads_ss(const struct insn *in)
{
	return (in->op == OP_MOV_SREG || in->op == OP_POP_SREG) && in->reg == SEG_SS;
}

static void tell_deferred(struct vm *vm, const struct event *ins)
{
	vm->deferring = false;
	for (unsigned i = 0; i < vm->deferred_count; i++) {
		struct event ev = *ins;

		ev.kind = EV_MMIO;
		ev.flags = EVF_WRITE;
		ev.addr = vm->deferred[i].gpa;
		ev.value = vm->deferred[i].value;
		ev.size = vm->deferred[i].size;
		ev.blob = NULL;
		ev.blob_len = 0;
		probe_event(&vm->probe, &ev);
	}
	vm->deferred_count = 0;
}

static struct emul_ctx begin_emulation(struct vm *vm, const struct insn *in, struct event *ev)
{
	struct vcpu *c = &vm->vcpu;

	ev->size = in->opsize;
	vm->clock.icount_now = c->icount;
	c->db_pending = 0;
	vm->deferring = in->op == OP_INS;
	return (struct emul_ctx){
		.c = c,
		.in = in,
		.input = vm->input,
		.ev = ev,
		.blob = vm->blob,
		.timed = vm->probe.timed,
		.iterations = 1,
		.max_iterations = rep_budget(vm),
		.finished = true,
	};
}

static void finish_emulation(struct vm *vm, struct emul_ctx *x)
{
	struct vcpu *c = &vm->vcpu;

	c->icount += x->iterations;
	vm->clock.faults++;
	vm->halted = x->halt;
	vm->probe.device_acc += x->device_cycles;
	if (x->in->op != OP_IRET && x->finished)
		c->eflags &= ~FL_RF;
	probe_event(&vm->probe, x->ev);
	if (vm->deferring)
		tell_deferred(vm, x->ev);
}

void trap_unwound(struct vm *vm, const struct insn *in)
{
	vm->deferring = false; /* a fault leaves nothing written */
	vm->vcpu.exit.has_insn = true;
	vm->vcpu.exit.insn = *in;
	reflect_exit(vm);
}

static void emulate(struct vm *vm, enum event_kind kind)
{
	struct vcpu *c = &vm->vcpu;
	struct insn insn = c->exit.insn;
	struct event ev = trap_event(vm, kind, insn.op);
	struct emul_ctx x = begin_emulation(vm, &insn, &ev);
	bool tf = c->eflags & FL_TF;
	jmp_buf landing;

	c->unwind = &landing;
	if (!_setjmp(landing)) {
		emul_run(&x);
		c->unwind = NULL;
		finish_emulation(vm, &x);
		if (tf)
			c->db_pending |= DR6_BS;
		if (c->db_pending && !loads_ss(&insn))
			trap_debug(vm);
		return;
	}
	c->unwind = NULL;
	trap_unwound(vm, &insn);
}

void trap_emulate_inside(struct vm *vm, const struct insn *in)
{
	struct event ev = trap_event(vm, op_is_sensitive(in->op) ? EV_SENSITIVE : EV_FAULT, in->op);
	struct emul_ctx x = begin_emulation(vm, in, &ev);

	emul_run(&x);
	finish_emulation(vm, &x);
}

/* INT n, INT3, INTO, INT1: through the guest's IDT, or IVT, as software interrupts. */
static void software_interrupt(struct vm *vm)
{
	struct vcpu *c = &vm->vcpu;
	const struct insn *insn = &c->exit.insn;
	struct intr in = { .type = insn->op == OP_INT1 ? INTR_PRIV_SOFT : INTR_SOFT, .next_eip = next_eip(c, insn) };

	switch (insn->op) {
	case OP_INT: in.vector = (uint8_t)insn->imm; break;
	case OP_INT3: in.vector = VEC_BP; break;
	case OP_INTO: in.vector = VEC_OF; break;
	default: in.vector = VEC_DB;
	}
	if (reflect(vm, &in, 0, insn->op))
		c->icount++;
}

/* #GP of INT n in virtual-8086 or real mode: the real IOPL is 0; the guest's decides. */
static void vm86_interrupt(struct vm *vm)
{
	struct vcpu *c = &vm->vcpu;

	if (vcpu_real_mode(c) || (c->eflags & FL_IOPL) == FL_IOPL)
		software_interrupt(vm);
	else
		reflect_exit(vm);
}

static bool descriptor_fault(unsigned vector)
{
	return vector == VEC_GP || vector == VEC_NP || vector == VEC_SS || vector == VEC_TS;
}

static void handle_exception(struct vm *vm)
{
	const struct vm_exit *x = &vm->vcpu.exit;
	enum op_class class = x->has_insn ? op_class(x->insn.op) : CLASS_NONE;

	if (!descriptor_fault(x->vector) || x->trap) {
		reflect_exit(vm);
		return;
	}
	switch (class) {
	case CLASS_SOFTINT: vm86_interrupt(vm); break;
	case CLASS_NONE: reflect_exit(vm); break;
	default: emulate(vm, EV_FAULT);
	}
}

static void leave_engine(struct vm *vm)
{
	vm->real_cpl = vm->vcpu.cpl;
	ring_leave(&vm->vcpu);
}

static void step_mmio(struct vm *vm)
{
	struct vcpu *c = &vm->vcpu;

	ring_enter(c);
	engine_step(vm->engine);
	leave_engine(vm);
	vm->clock.faults++;
	if (c->exit.reason == EXIT_BUDGET)
		return;
	probe_classified(&vm->probe);
	trap_handle(vm);
}

void trap_handle(struct vm *vm)
{
	switch (vm->vcpu.exit.reason) {
	case EXIT_EXCEPTION: handle_exception(vm); break;
	case EXIT_SENSITIVE: emulate(vm, EV_SENSITIVE); break;
	case EXIT_SOFTINT: software_interrupt(vm); break;
	case EXIT_MMIO: step_mmio(vm); break;
	default: break;
	}
}

/* The instruction an engine hook was called from; its rip is exact only by way of ip. */
static struct event hook_event(const struct vm *vm, enum event_kind kind)
{
	const struct vcpu *c = &vm->vcpu;
	struct event ev = trap_event(vm, kind, c->ip ? c->ip->op : OP_NONE);

	if (c->real_view && c->ip) {
		ev.icount = engine_icount(c);
		ev.rip = (uint32_t)(c->rip + c->ip->off);
		ev.rcpl = c->cpl;
	}
	return ev;
}

static void mmio_event(struct vm *vm, uint64_t gpa, unsigned size, uint64_t value, uint8_t flags, uint64_t cycles)
{
	struct event ev = hook_event(vm, EV_MMIO);

	ev.addr = gpa;
	ev.value = value;
	ev.size = (uint8_t)size;
	ev.flags = flags;
	vm->probe.device_acc += cycles;
	probe_event(&vm->probe, &ev);
}

static uint64_t hook_mmio_read(void *self, uint64_t gpa, unsigned size)
{
	struct vm *vm = self;
	uint64_t begin = vm->probe.timed ? __rdtsc() : 0, value;

	vm->clock.icount_now = vm->vcpu.icount;
	value = vm->input->mmio_read(vm->input->self, gpa, size);
	mmio_event(vm, gpa, size, value, 0, vm->probe.timed ? __rdtsc() - begin : 0);
	return value;
}

static void hook_mmio_write(void *self, uint64_t gpa, unsigned size, uint64_t value)
{
	struct vm *vm = self;
	uint64_t begin = vm->probe.timed ? __rdtsc() : 0;

	vm->clock.icount_now = vm->vcpu.icount;
	vm->input->mmio_write(vm->input->self, gpa, size, value);
	if (vm->deferring) {
		BUG_ON(vm->deferred_count == EMUL_BLOB_MAX);
		vm->deferred[vm->deferred_count++] = (struct deferred_mmio){ gpa, value, (uint8_t)size };
		return;
	}
	mmio_event(vm, gpa, size, value, EVF_WRITE, vm->probe.timed ? __rdtsc() - begin : 0);
}

/* Called from inside engine_run(): the guest's clock stops meanwhile. */
static void hook_leak(void *self, const struct insn *ip)
{
	struct vm *vm = self;
	struct vcpu *c = &vm->vcpu;
	struct event ev;

	c->leaks++;
	probe_guest_end(&vm->probe);
	c->ip = ip;
	ev = hook_event(vm, EV_LEAK);
	probe_event(&vm->probe, &ev);
	probe_guest_begin(&vm->probe);
}

void trap_init_hooks(struct vm *vm)
{
	vm->vcpu.hooks = (struct vcpu_hooks){
		.self = vm,
		.mmio_read = hook_mmio_read,
		.mmio_write = hook_mmio_write,
		.leak = hook_leak,
	};
}
