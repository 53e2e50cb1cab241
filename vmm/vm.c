/*
 * vm.c - a virtual machine's life and its run loop.
 *
 * The loop, once around:
 *
 *     checkpoint due?  ->  ask the input (poll)  ->  interrupt, stop, input, marker?  ->  halted: idle
 *          ^                                                                                 |
 *          +------------  trap_handle  <-  ring_leave  <-  engine_run  <-  ring_enter  <-----+
 *
 * Everything asynchronous happens at the top, at an icount that the loop knows exactly; so a replay that answers the same things at the same
 * icounts runs the same run.
 */
#include "vmm/vm_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/debug.h"
#include "vmm/digest.h"
#include "vmm/ring/ring.h"
#include "vmm/snapshot.h"
#include "vmm/trap/trap.h"

#define NS_PER_INSN_DEFAULT 1
#define NS_PER_FAULT_DEFAULT 1000
#define CHECKPOINT_INTERVAL_DEFAULT 100000000ull
#define NS_MAX 1000000ull

void vm_config_init(struct vm_config *config)
{
	*config = (struct vm_config){
		.memory = VM_MEMORY_DEFAULT,
		.engine = engine_can_translate() ? ENGINE_TRANSLATE : ENGINE_INTERP,
		.ns_per_insn = NS_PER_INSN_DEFAULT,
		.ns_per_fault = NS_PER_FAULT_DEFAULT,
		.checkpoint_interval = CHECKPOINT_INTERVAL_DEFAULT,
		.limit = UINT64_MAX,
	};
}

static int check_config(const struct vm_config *g, struct vm_error *err)
{
	if (g->memory < VM_MEMORY_MIN || g->memory > VM_MEMORY_MAX || g->memory % PAGE_SIZE)
		return vm_fail(err, -EINVAL, "memory: %llu bytes is not a multiple of 4096 between %llu and %llu",
		               (unsigned long long)g->memory, VM_MEMORY_MIN, VM_MEMORY_MAX);
	if (g->ns_per_insn < 1 || g->ns_per_insn > NS_MAX || g->ns_per_fault > NS_MAX)
		return vm_fail(err, -EINVAL, "clock: nanoseconds an instruction must be 1..%llu, a fault 0..%llu",
		               NS_MAX, NS_MAX);
	if (g->model != MODEL_0_1_3 && g->model != MODEL_0_3_3)
		return vm_fail(err, -EINVAL, "model: %d is neither 0/1/3 nor 0/3/3", (int)g->model);
	if (g->policy != POLICY_CATCH && g->policy != POLICY_LEAK)
		return vm_fail(err, -EINVAL, "sensitive: %d is neither catch nor leak", (int)g->policy);
	if (g->engine != ENGINE_INTERP && g->engine != ENGINE_TRANSLATE)
		return vm_fail(err, -EINVAL, "engine: %d is not known", (int)g->engine);
	if (g->trap != TRAP_CALL && (g->trap != TRAP_FAULT || g->engine != ENGINE_TRANSLATE))
		return vm_fail(err, -EINVAL, "trap: only the translator's code can fault on the host's processor");
	if (!vm_engine_supported(g->engine))
		return vm_fail(err, -ENOTSUP,
		               "engine: the translator needs a processor with BMI2; --engine interp runs here");
	return 0;
}

bool vm_engine_supported(enum engine_kind engine)
{
	return engine != ENGINE_TRANSLATE || engine_can_translate();
}

static enum emulated emulate_inside(void *self, const struct insn *in);

static void init_vcpu(struct vm *vm)
{
	struct vcpu *c = &vm->vcpu;

	c->ring0_becomes = vm->config.model == MODEL_0_1_3 ? 1 : 3;
	c->mmu.meter = &c->meter;
	c->leak_policy = vm->config.policy == POLICY_LEAK;
	vm->real_cpl = 3; /* real mode runs as virtual-8086 */
	trap_init_hooks(vm);
	c->hooks.emulate = emulate_inside;
	vcpu_reset(c);
}

int vm_create(struct vm **out, const struct vm_config *config, struct vm_error *err)
{
	struct vm *vm;
	int rc = check_config(config, err);

	*out = NULL;
	if (rc)
		return rc;
	if (posix_memalign((void **)&vm, 64, sizeof(*vm)))
		return vm_fail(err, -ENOMEM, "vm: out of memory");
	memset(vm, 0, sizeof(*vm));
	vm->config = *config;
	vm->clock = (struct clock){ .ns_per_insn = config->ns_per_insn, .ns_per_fault = config->ns_per_fault };
	vm->next_checkpoint = config->checkpoint_interval ? config->checkpoint_interval : UINT64_MAX;
	rc = ram_init(&vm->ram, config->memory);
	if (!rc)
		rc = mmu_init(&vm->vcpu.mmu, &vm->ram, config->model == MODEL_0_3_3);
	if (!rc)
		rc = config->engine == ENGINE_TRANSLATE ? engine_translate_create(&vm->engine, &vm->vcpu)
		                                        : engine_interp_create(&vm->engine, &vm->vcpu);
	if (!rc && config->trap == TRAP_FAULT)
		rc = engine_set_hardfaults(vm->engine);
	if (rc) {
		vm_destroy(vm);
		return vm_fail(err, rc, "vm: cannot get %llu MiB of memory for the guest",
		               (unsigned long long)(config->memory >> 20));
	}
	init_vcpu(vm);
	*out = vm;
	return 0;
}

void vm_destroy(struct vm *vm)
{
	if (!vm)
		return;
	engine_destroy(vm->engine);
	mmu_free(&vm->vcpu.mmu);
	ram_free(&vm->ram);
	free(vm);
}

/* What nobody observes the engine may emulate by itself: in its code, which goes when that changes. */
static void allow_unseen(struct vm *vm)
{
	const struct clock *k = &vm->clock;
	struct vcpu *c = &vm->vcpu;
	uint64_t cost = k->ns_per_fault / k->ns_per_insn;
	bool allowed = !vm->probe.observer && k->ns_per_fault % k->ns_per_insn == 0 && cost < UNSEEN_COST_MAX;

	if (allowed == c->unseen.allowed)
		return;
	c->unseen.allowed = allowed;
	c->unseen.cost = (uint16_t)cost;
	engine_flush(vm->engine);
}

void vm_plug(struct vm *vm, const struct vm_input *input, const struct vm_observer *observer)
{
	vm->input = input;
	vm->observer = observer ? *observer : (struct vm_observer){ 0 };
	probe_init(&vm->probe, observer ? &vm->observer : NULL, &vm->vcpu.meter);
	allow_unseen(vm);
}

struct vcpu *vm_vcpu(struct vm *vm)
{
	return &vm->vcpu;
}

struct clock *vm_clock(struct vm *vm)
{
	return &vm->clock;
}

const struct vm_config *vm_config(const struct vm *vm)
{
	return &vm->config;
}

uint8_t *vm_ram(struct vm *vm)
{
	return vm->ram.host;
}

uint64_t vm_ram_size(const struct vm *vm)
{
	return vm->ram.size;
}

uint64_t vm_register_digest(struct vm *vm)
{
	uint8_t buf[SNAPSHOT_MAX];
	size_t len = vm_snapshot_save(vm, buf);

	return digest64(buf, len, 0);
}

uint64_t vm_memory_digest(struct vm *vm)
{
	return ram_digest(&vm->ram);
}

void vm_get_counters(const struct vm *vm, struct vm_counters *out)
{
	struct engine_counters e;

	engine_get_counters(vm->engine, &e);
	*out = (struct vm_counters){
		.icount = vm->vcpu.icount,
		.faults = vm->clock.faults,
		.tlb_fills = vm->vcpu.mmu.fills,
		.tlb_flushes = vm->vcpu.mmu.flushes,
		.view_switches = vm->vcpu.mmu.view_switches,
		.traces_decoded = e.traces_decoded,
		.smc_invalidations = e.smc_invalidations,
		.leaks = vm->vcpu.leaks,
		.hardfaults = e.hardfaults,
	};
}

void vm_stop_with(struct vm *vm, enum vm_stop_reason reason, const char *fmt, ...)
{
	va_list ap;

	if (vm->stop.reason != STOP_NONE)
		return;
	vm->stop.reason = reason;
	va_start(ap, fmt);
	vsnprintf(vm->stop.message, sizeof(vm->stop.message), fmt, ap);
	va_end(ap);
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static bool can_interrupt(const struct vcpu *c)
{
	return (c->eflags & FL_IF) && c->inhibit_icount != c->icount;
}

static void tell_blob(struct vm *vm, enum event_kind kind, const void *blob, uint32_t len)
{
	struct event ev = trap_event(vm, kind, OP_NONE);

	ev.blob = blob;
	ev.blob_len = len;
	probe_event(&vm->probe, &ev);
}

/* Every so often a digest of everything: the run, live, recorded and replayed, flushes its TLB here. */
static void checkpoint(struct vm *vm)
{
	struct event ev = trap_event(vm, EV_CHECKPOINT, OP_NONE);

	mmu_flush_all(&vm->vcpu.mmu);
	vm->next_checkpoint += vm->config.checkpoint_interval;
	if (!probe_wanted(&vm->probe))
		return;
	probe_classified(&vm->probe);
	ev.addr = vm_register_digest(vm);
	ev.value = vm_memory_digest(vm);
	probe_event(&vm->probe, &ev);
}

static void external_interrupt(struct vm *vm, int vector)
{
	struct intr in = {
		.vector = (uint8_t)vector,
		.type = INTR_EXTERNAL,
		.next_eip = (uint32_t)vm->vcpu.rip,
	};

	vm->halted = false;
	probe_classified(&vm->probe);
	reflect(vm, &in, 0, OP_NONE);
}

/* Act on what the input brought. True when it brought something: then it is asked again. */
static bool take_turn(struct vm *vm, const struct vm_turn *turn)
{
	struct vm_error err;

	if (turn->stop != STOP_NONE) {
		vm->stop.code = turn->stop_code;
		vm_stop_with(vm, turn->stop, "%s", turn->stop_message ? turn->stop_message : "");
		return true;
	}
	if (turn->input)
		tell_blob(vm, EV_INPUT, turn->input, turn->input_len);
	if (turn->marker)
		tell_blob(vm, EV_MARKER, turn->marker, (uint32_t)strlen(turn->marker));
	if (turn->change && vm_change(vm, turn->change, &err))
		vm_stop_with(vm, STOP_GUEST_ERROR, "%.200s", err.text);
	if (turn->vector >= 0)
		external_interrupt(vm, turn->vector);
	return turn->input || turn->marker || turn->change || turn->vector >= 0;
}

static void idle(struct vm *vm, const struct vm_now *now)
{
	if (!(vm->vcpu.eflags & FL_IF))
		vm_stop_with(vm, STOP_IDLE, "the guest halted with interrupts off: nothing can wake it");
	else if (!vm->input->idle(vm->input->self, now))
		vm_stop_with(vm, STOP_IDLE, "the guest halted and no device is set to interrupt it: nothing can wake it");
}

static struct vm_now now_of(const struct vm *vm)
{
	const struct vcpu *c = &vm->vcpu;

	return (struct vm_now){
		.icount = c->icount,
		.vns = clock_vns(&vm->clock, c->icount),
		.can_interrupt = can_interrupt(c),
	};
}

static bool brings_something(const struct vm_turn *t)
{
	return t->stop != STOP_NONE || t->input || t->marker || t->change || t->vector >= 0;
}

static struct vm_turn ask(struct vm *vm, const struct vm_now *now)
{
	struct vm_turn t = { .deadline = UINT64_MAX, .vector = -1 };

	vm->clock.icount_now = now->icount;
	vm->input->poll(vm->input->self, now, &t);
	vm->quiet_until = t.quiet_until;
	vm->ask_at = t.deadline;
	vm->vcpu.unseen.none_waits = now->can_interrupt && !brings_something(&t);
	return t;
}

/* How far the guest may run. `deadline` is the input's and the guest's: emulators split their work there, so it must not depend on where a run is asked to stop. In an
 * interrupt shadow it is one instruction, if there may be an interrupt then. */
static uint64_t budget(struct vm *vm, uint64_t deadline)
{
	const struct vcpu *c = &vm->vcpu;

	vm->budget_end = min64(deadline, min64(vm->config.limit, vm->next_checkpoint));
	return c->inhibit_icount == c->icount && !c->unseen.none_waits ? c->icount + 1 : vm->budget_end;
}

/* ---- in the middle of an engine run ---- */

static void leave_run(struct vm *vm)
{
	vm->left = true;
	vm->vcpu.icount_end = vm->vcpu.icount;
}

/* May the input have something to say after an event? */
static bool may_say(const struct vm *vm, const struct vm_now *now, bool touched_device)
{
	return touched_device || now->vns >= vm->quiet_until || now->icount >= vm->ask_at ||
	       (now->can_interrupt && !vm->vcpu.unseen.none_waits);
}

/* What the input said, at the present virtual time. */
static uint64_t present_deadline(const struct vm *vm)
{
	if (vm->quiet_until == 0 || vm->quiet_until == UINT64_MAX)
		return vm->ask_at;
	return min64(vm->ask_at, clock_icount_at(&vm->clock, vm->vcpu.icount, vm->quiet_until));
}

/* What the engine emulated by itself took time, too: the deadline, up to which string I/O is one event, is nearer. */
static void take_unseen(struct vm *vm)
{
	if (!vm->vcpu.unseen.count)
		return;
	vm->clock.faults += vm->vcpu.unseen.count;
	vm->vcpu.unseen.count = 0;
	budget(vm, present_deadline(vm));
}

/* What turn() does between an event and the next run, without one's end and the other's beginning as long as nothing comes of it. Virtual view. True when it asked
 * the input, which takes time. */
static bool go_on_inside(struct vm *vm, bool touched_device)
{
	struct vcpu *c = &vm->vcpu;
	struct vm_now now = now_of(vm);
	bool asks;

	if (now.icount >= vm->run_end || vm->halted || vm->probe.stopped || c->db_pending) {
		leave_run(vm);
		return false;
	}
	asks = may_say(vm, &now, touched_device);
	if (asks) {
		engine_sync(c);
		vm->waiting = ask(vm, &now);
		vm->turn_waits = brings_something(&vm->waiting);
		if (vm->turn_waits) {
			leave_run(vm);
			return true;
		}
	}
	c->icount_end = min64(vm->run_end, budget(vm, present_deadline(vm)));
	return asks;
}

static bool touches_device(enum op op)
{
	enum op_class class = op_class(op);

	return class == CLASS_IO || op == OP_RDMSR || op == OP_WRMSR;
}

static void emulate_lightly(struct vm *vm, const struct insn *in)
{
	struct vcpu *c = &vm->vcpu;
	bool asked;

	vm->lightly = true;
	ring_leave_lightly(c);
	probe_guest_pause(&vm->probe);
	trap_emulate_inside(vm, in);
	asked = go_on_inside(vm, false);
	ring_enter_lightly(c, vm->real_cpl);
	if (vm->left)
		return;
	if (asked)
		probe_guest_begin(&vm->probe);
	else
		probe_guest_resume(&vm->probe);
}

static void emulate_fully(struct vm *vm, const struct insn *in)
{
	struct vcpu *c = &vm->vcpu;
	bool device = touches_device(in->op);

	vm->lightly = false;
	if (vm->probe.observer || device)
		engine_sync(c);
	ring_leave(c);
	probe_guest_end(&vm->probe);
	trap_emulate_inside(vm, in);
	go_on_inside(vm, device);
	ring_enter(c);
	if (!vm->left)
		probe_guest_begin(&vm->probe);
}

/* vcpu_hooks.emulate. An observer finds registers, flags, CPL and memory as between two runs of the engine; after a light one segment registers have the real
 * view's selectors and attributes, and x87 state may be in the host's unit. */
static enum emulated emulate_inside(void *self, const struct insn *in)
{
	struct vm *vm = self;
	bool light = emul_is_light(in->op);

	if (vm->block_end || vm->vcpu.watch)
		return EMULATED_NOT;
	take_unseen(vm);
	vm->real_cpl = vm->vcpu.cpl;
	vm->emulated = in;
	if (light)
		emulate_lightly(vm, in);
	else
		emulate_fully(vm, in);
	vm->emulated = NULL;
	return light ? EMULATED_LIGHTLY : EMULATED_FULLY;
}

/* The engine run ended with an exception that emulate_inside() raised. */
static void unwound(struct vm *vm)
{
	const struct insn *in = vm->emulated;
	struct vcpu *c = &vm->vcpu;

	vm->emulated = NULL;
	if (vm->lightly) {
		ring_enter_lightly(c, vm->real_cpl);
		ring_leave(c);
	}
	trap_unwound(vm, in);
}

/* ---- the run loop ---- */

static void run_guest(struct vm *vm, uint64_t deadline, uint64_t until)
{
	struct vcpu *c = &vm->vcpu;
	uint64_t begin = c->icount, end;

	vm->run_end = min64(until, min64(vm->config.limit, vm->next_checkpoint));
	vm->left = false;
	end = budget(vm, deadline);
	ring_enter(c);
	probe_guest_begin(&vm->probe);
	if (vm->block_end)
		engine_run_block(vm->engine, min64(end, vm->block_end));
	else
		engine_run(vm->engine, min64(end, until));
	take_unseen(vm);
	if (vm->emulated) {
		unwound(vm);
		return;
	}
	if (vm->left) {
		ring_leave(c);
		if (c->db_pending)
			trap_debug(vm);
		return;
	}
	if (c->icount != begin || c->exit.reason != EXIT_DEBUG) /* that a breakpoint was looked for leaves no trace */
		vm->real_cpl = c->cpl;
	ring_leave(c);
	probe_guest_end(&vm->probe);
	if (c->exit.reason != EXIT_BUDGET)
		trap_handle(vm);
}

static bool reached(const struct vm *vm, const struct vm_moment *until)
{
	uint64_t icount = vm->vcpu.icount;

	return icount > until->icount || (icount == until->icount && vm_turns_here(vm) >= until->turn);
}

/* Once around the loop. True: the VM is at a moment (debug.h) where the run is to stop. */
static bool turn(struct vm *vm, const struct vm_moment *until)
{
	struct vcpu *c = &vm->vcpu;
	struct vm_now now = now_of(vm);
	struct vm_turn t;

	watch_commit(c);
	if (c->icount == vm->next_checkpoint)
		checkpoint(vm);
	t = vm->turn_waits ? vm->waiting : ask(vm, &now);
	vm->turn_waits = false;
	if (take_turn(vm, &t))
		return false;
	if (c->icount >= vm->config.limit) {
		vm_stop_with(vm, STOP_LIMIT, "the limit of %llu instructions is reached",
		             (unsigned long long)vm->config.limit);
		return false;
	}
	if (vm->halted) {
		if (vm->pause) {
			vm->pause = false;
			return true;
		}
		idle(vm, &now);
		return false;
	}
	if ((c->watch && c->watch->hit.valid) || reached(vm, until))
		return true;
	run_guest(vm, t.deadline, until->icount > c->icount ? until->icount : c->icount + 1);
	return false;
}

static void tell_end(struct vm *vm)
{
	struct event ev = trap_event(vm, EV_END, OP_NONE);

	vm->ended = true;
	ev.value = vm->stop.reason;
	ev.addr = vm->stop.code;
	ev.blob = vm->stop.message;
	ev.blob_len = (uint32_t)strlen(vm->stop.message);
	probe_event(&vm->probe, &ev);
}

int vm_run_to(struct vm *vm, const struct vm_moment *until, struct vm_stop *stop, struct vm_error *err)
{
	bool paused = false;

	if (!vm->input)
		return vm_fail(err, -EINVAL, "vm: nothing is plugged in as input");
	vm->pause = false;
	while (vm->stop.reason == STOP_NONE && !paused) {
		paused = turn(vm, until);
		if (vm->probe.stopped)
			vm_stop_with(vm, STOP_OBSERVER, "stopped by the observer");
	}
	if (vm->stop.reason != STOP_NONE && vm->stop.reason != STOP_OBSERVER && vm->stop.reason != STOP_TRACE_END &&
	    !vm->ended)
		tell_end(vm);
	*stop = vm->stop;
	return 0;
}

int vm_run_block(struct vm *vm, uint64_t until, struct vm_stop *stop, struct vm_error *err)
{
	const struct vm_moment next = { vm->vcpu.icount, vm_turns_here(vm) + 1 };
	int rc;

	vm->block_end = until;
	rc = vm_run_to(vm, &next, stop, err);
	vm->block_end = 0;
	return rc;
}

void vm_set_blocks(struct vm *vm, unsigned max_insns)
{
	engine_set_block_max(vm->engine, max_insns);
	engine_set_hot(vm->engine, 0);
}

void vm_leave_out(struct vm *vm, uint32_t eip)
{
	engine_leave_out(vm->engine, eip);
}

int vm_run(struct vm *vm, uint64_t until, struct vm_stop *stop, struct vm_error *err)
{
	return vm_run_to(vm, &(struct vm_moment){ .icount = until }, stop, err);
}
