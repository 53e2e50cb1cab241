/*
 * live.c - see live.h.
 *
 *     RUNNING --- the guest ends ---> ENDED --- resumed again ---> EXITED
 *
 * In ENDED everything can still be looked at, which is what one wants of a guest that crashed; nothing can be changed any more, because the recording has
 * its last event.
 */
#include "replayer/gdb/live.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replayer/gdb/debugger_internal.h"
#include "replayer/gdb/monitor.h"
#include "replayer/gdb/regs.h"
#include "vmm/snapshot.h"

#define SLICE 2000000ull /* instructions between two questions whether to go on: some milliseconds */

struct live {
	struct debugger debugger; /* without a past: for monitor commands and address spaces */
	struct live_options options;
	struct gdb_target target;
	bool ended;
	struct vm_stop end;
};

/* ---- running ----------------------------------------------------------------------------------------------- */

static int set_points(struct live *l, const struct gdb_point *points, unsigned count, bool exec, unsigned *index,
                      struct vm_error *err)
{
	struct vm_debug_point point[VM_DEBUG_POINTS_MAX] = { 0 };
	unsigned n = 0;

	for (unsigned i = 0; i < count && n < VM_DEBUG_POINTS_MAX; i++) {
		struct space space = debugger_space(&l->debugger, points[i].lin);
		bool breaks = points[i].kind <= GDB_HW_BREAK;

		if (breaks && !exec)
			continue;
		index[n] = i;
		point[n++] = (struct vm_debug_point){
			.exec = breaks,
			.read = points[i].kind == GDB_WATCH_READ || points[i].kind == GDB_WATCH_ACCESS,
			.write = points[i].kind == GDB_WATCH_WRITE || points[i].kind == GDB_WATCH_ACCESS,
			.any_space = space.any,
			.lin = points[i].lin,
			.len = points[i].len,
			.cr3 = space.cr3,
		};
	}
	return vm_debug_set(l->debugger.vm, point, n, err);
}

static void tell_end(struct live *l, struct gdb_stop *stop)
{
	stop->why = GDB_STOP_STEPPED;
	snprintf(stop->message, sizeof(stop->message),
	         "ringside: the guest has ended: %s%s%.120s, at icount %" PRIu64
	         "; it can be looked at, and going on ends the session\n",
	         vm_stop_name(l->end.reason), *l->end.message ? ": " : "", l->end.message,
	         vm_vcpu(l->debugger.vm)->icount);
}

static bool reached(const struct live *l, const struct vm_moment *goal)
{
	return goal && vm_moment_compare(vm_moment(l->debugger.vm), *goal) >= 0;
}

/* To a moment, or on and on. */
static int run(struct live *l, const struct vm_moment *goal, const unsigned *index, struct gdb_stop *stop,
               struct vm_error *err)
{
	struct vm *vm = l->debugger.vm;
	struct vm_debug_hit hit;

	stop->why = GDB_STOP_STEPPED;
	do {
		struct vm_moment until = { .icount = vm_vcpu(vm)->icount + SLICE };
		int rc = vm_run_to(vm, goal ? goal : &until, &l->end, err);

		if (rc)
			return rc;
		if (l->end.reason != STOP_NONE) {
			l->ended = true;
			tell_end(l, stop);
			return 0;
		}
		if (vm_debug_take(vm, &hit)) {
			stop->why = GDB_STOP_POINT;
			stop->point = index[hit.point];
			stop->lin = hit.lin;
			return 0;
		}
	} while (!reached(l, goal) && !debugger_interrupted(&l->debugger));
	if (!reached(l, goal))
		stop->why = GDB_STOP_INTERRUPTED;
	return 0;
}

static void exited(const struct live *l, struct gdb_stop *stop)
{
	stop->why = GDB_STOP_EXITED;
	stop->code = l->end.reason == STOP_DEBUG_EXIT ? (uint8_t)l->end.code : 0;
}

static void resume(void *self, enum gdb_motion motion, const struct gdb_point *points, unsigned count,
                   struct gdb_stop *stop)
{
	struct live *l = self;
	struct vm_moment next = vm_moment(l->debugger.vm);
	unsigned index[GDB_POINTS_MAX] = { 0 };
	struct vm_error err = { "" };
	int rc;

	if (l->ended) {
		exited(l, stop);
		return;
	}
	next.turn++;
	rc = set_points(l, points, count, motion == GDB_CONTINUE, index, &err);
	vm_debug_pass(l->debugger.vm);
	rc = rc ? rc : run(l, motion == GDB_STEP ? &next : NULL, index, stop, &err);
	vm_debug_set(l->debugger.vm, NULL, 0, NULL);
	if (l->options.pause)
		l->options.pause(l->options.self);
	if (rc) {
		stop->why = GDB_STOP_FAILED;
		snprintf(stop->message, sizeof(stop->message), "ringside: %.200s\n", err.text);
	}
}

/* ---- changes ----------------------------------------------------------------------------------------------- */

static int must_live(const struct live *l, struct vm_error *err)
{
	return l->ended ? vm_fail(err, -EPERM, "the guest has ended, it cannot be changed any more") : 0;
}

/* Pages are all looked up before the first is written: a part would be a surprise. */
static int write_memory(void *self, uint32_t lin, const uint8_t *bytes, size_t len, struct vm_error *err)
{
	struct live *l = self;
	struct mmu *mmu = &debugger_vcpu(&l->debugger)->mmu;
	int rc = must_live(l, err);

	for (int pass = 0; !rc && pass < 2; pass++) {
		for (size_t done = 0, part; !rc && done < len; done += part) {
			uint64_t at = lin + done;
			struct vm_change change = { .bytes = bytes + done };

			part = PAGE_SIZE - (at & (PAGE_SIZE - 1));
			part = part < len - done ? part : len - done;
			change.len = (uint32_t)part;
			if (mmu_peek(mmu, at, &change.gpa) || !ram_has(mmu->ram, change.gpa))
				return vm_fail(err, -EFAULT, "no memory is mapped at 0x%" PRIx64, at);
			if (pass)
				rc = vm_change(l->debugger.vm, &change, err);
		}
	}
	return rc;
}

/* The registers as they would be, without touching those that are. */
static int registers_after(struct live *l, unsigned number, const uint8_t *value, size_t len, uint8_t *state,
                           size_t *size, struct vm_error *err)
{
	static const char *const why[] = {
		[GDB_REG_NONE] = "there is no such register",
		[GDB_REG_LENGTH] = "this register has another size",
		[GDB_REG_FIXED] = "this register cannot be changed here",
	};
	struct vcpu *c = debugger_vcpu(&l->debugger), *kept = aligned_alloc(64, (sizeof(*c) + 63) / 64 * 64);
	enum gdb_reg_change did;

	if (!kept)
		return vm_fail(err, -ENOMEM, "out of memory");
	*kept = *c;
	did = gdb_regs_write(c, number, value, len);
	*size = vm_snapshot_save(l->debugger.vm, state);
	*c = *kept;
	free(kept);
	if (did == GDB_REG_DONE)
		return 0;
	return vm_fail(err, -EINVAL, "%s%s%s", gdb_regs_name(number) ? gdb_regs_name(number) : "",
	               gdb_regs_name(number) ? ": " : "", why[did]);
}

static int write_register(void *self, unsigned number, const uint8_t *value, size_t len, struct vm_error *err)
{
	struct live *l = self;
	uint8_t before[SNAPSHOT_MAX], after[SNAPSHOT_MAX];
	size_t size = vm_snapshot_save(l->debugger.vm, before);
	struct vm_change change = { .registers = true, .bytes = after };
	int rc = must_live(l, err);

	rc = rc ? rc : registers_after(l, number, value, len, after, &size, err);
	if (rc || !memcmp(before, after, size))
		return rc;
	change.len = (uint32_t)size;
	return vm_change(l->debugger.vm, &change, err);
}

/* ---- life -------------------------------------------------------------------------------------------------- */

static struct vm *target_vm(void *self)
{
	struct live *l = self;

	return l->debugger.vm;
}

static bool target_interrupted(void *self)
{
	struct live *l = self;

	return debugger_interrupted(&l->debugger);
}

static void target_monitor(void *self, const char *line, struct gdb_text *out)
{
	struct live *l = self;

	monitor_command(&l->debugger, line, out);
}

int live_open(struct live **out, struct vm *vm, const struct live_options *options, struct vm_error *err)
{
	struct live *l = calloc(1, sizeof(*l));

	*out = l;
	if (!l)
		return vm_fail(err, -ENOMEM, "out of memory");
	l->options = *options;
	l->debugger.vm = vm;
	l->debugger.space.any = true;
	l->debugger.options = (struct debugger_options){ .interrupted = options->interrupted, .self = options->self };
	l->target = (struct gdb_target){
		.self = l,
		.vm = target_vm,
		.resume = resume,
		.write_memory = write_memory,
		.write_register = write_register,
		.interrupted = target_interrupted,
		.monitor = target_monitor,
	};
	return 0;
}

void live_close(struct live *l)
{
	free(l);
}

const struct gdb_target *live_target(struct live *l)
{
	return &l->target;
}
