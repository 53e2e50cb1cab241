/*
 * debug.c - see debug.h. Keeps a VM's watchlist (cpu/watch.h); the engines and cpu/mem.c look at it.
 */
#include "vmm/debug.h"

#include <errno.h>
#include <string.h>

#include "vmm/snapshot.h"
#include "vmm/trap/trap.h"
#include "vmm/vm_internal.h"

struct vm_moment vm_moment(const struct vm *vm)
{
	return (struct vm_moment){ .icount = vm->vcpu.icount, .turn = vm_turns_here(vm) };
}

static int check_point(const struct vm_debug_point *p, struct vm_error *err)
{
	if (p->exec ? p->read || p->write : !p->read && !p->write)
		return vm_fail(err, -EINVAL, "debug: a point is for execution, or for reads, writes or both");
	if (!p->exec && (p->len < 1 || p->len > VM_DEBUG_LEN_MAX))
		return vm_fail(err, -EINVAL, "debug: %u bytes cannot be watched: 1 to %u can", p->len, VM_DEBUG_LEN_MAX);
	return 0;
}

static struct watch_point to_watch(const struct vm_debug_point *p)
{
	return (struct watch_point){
		.lin = p->lin,
		.len = p->exec ? 1 : p->len,
		.on = (uint8_t)(p->exec ? WATCH_ON_EXEC : (p->read ? WATCH_ON_READ : 0) | (p->write ? WATCH_ON_WRITE : 0)),
		.any_space = p->any_space,
		.cr3 = p->cr3,
	};
}

/* Traces end before the point's instruction from now on. True when those that exist may not. */
static bool cut_at(struct watchlist *w, uint32_t lin)
{
	uint64_t *word = &w->cuts[(lin & (PAGE_SIZE - 1)) / 64], bit = 1ull << (lin % 64);
	bool is_new = !(*word & bit);

	*word |= bit;
	return is_new;
}

static unsigned data_pages(const struct watchlist *w, uint32_t pages[MMU_DEBUG_PAGES])
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->count; i++) {
		uint32_t first = w->point[i].lin & (uint32_t)PAGE_MASK,
		         last = (w->point[i].lin + w->point[i].len - 1) & (uint32_t)PAGE_MASK;

		if (w->point[i].on & WATCH_ON_EXEC)
			continue;
		pages[n++] = first;
		if (last != first)
			pages[n++] = last;
	}
	return n;
}

int vm_debug_set(struct vm *vm, const struct vm_debug_point *points, unsigned count, struct vm_error *err)
{
	struct watchlist *w = &vm->watchlist;
	uint32_t pages[MMU_DEBUG_PAGES] = { 0 };
	bool flush = false;
	int rc = 0;

	_Static_assert(VM_DEBUG_POINTS_MAX == WATCH_POINTS_MAX && 2 * WATCH_POINTS_MAX <= MMU_DEBUG_PAGES,
	               "room for every point");
	_Static_assert(VM_DEBUG_LEN_MAX <= PAGE_SIZE, "a point lies on two pages at most");
	if (count > VM_DEBUG_POINTS_MAX)
		return vm_fail(err, -EINVAL, "debug: %u points are too many: %u at most", count, VM_DEBUG_POINTS_MAX);
	for (unsigned i = 0; !rc && i < count; i++)
		rc = check_point(&points[i], err);
	if (rc)
		return rc;
	w->count = count;
	w->has_exec = w->has_data = w->passing = false;
	w->noted.valid = w->hit.valid = false;
	for (unsigned i = 0; i < count; i++) {
		w->point[i] = to_watch(&points[i]);
		w->has_exec |= points[i].exec;
		w->has_data |= !points[i].exec;
		if (points[i].exec)
			flush |= cut_at(w, points[i].lin);
	}
	if (flush) {
		vm->vcpu.cuts = w->cuts;
		engine_flush(vm->engine);
	}
	if (w->has_data || vm->vcpu.mmu.debug_count)
		mmu_set_debug_watch(&vm->vcpu.mmu, pages, data_pages(w, pages));
	vm->vcpu.watch = count ? w : NULL;
	return 0;
}

void vm_debug_pass(struct vm *vm)
{
	vm->watchlist.passing = true;
}

void vm_pause(struct vm *vm)
{
	vm->pause = true;
}

bool vm_debug_pending(const struct vm *vm)
{
	return vm->watchlist.hit.valid;
}

bool vm_debug_take(struct vm *vm, struct vm_debug_hit *hit)
{
	struct watch_note *n = &vm->watchlist.hit;

	if (!n->valid)
		return false;
	*hit = (struct vm_debug_hit){ .point = n->point, .lin = n->lin, .by_change = n->by_change };
	n->valid = false;
	return true;
}

/* ---- changes ---- */

static int change_memory(struct vm *vm, const struct vm_change *g, struct vm_error *err)
{
	if (!g->len || g->len > PAGE_SIZE - (g->gpa & (PAGE_SIZE - 1)) || !ram_has(&vm->ram, g->gpa))
		return vm_fail(err, -EINVAL,
		               "debug: %u bytes at physical %llx cannot be written: they are not in one page of RAM",
		               g->len, (unsigned long long)g->gpa);
	ram_write(&vm->ram, g->gpa, g->bytes, g->len);
	watch_changed(&vm->vcpu, g->gpa, g->len);
	return 0;
}

/* What no debugger may move: it would be another moment. While the guest is halted idle time passes without one. */
static bool same_time(const struct vm *vm, uint64_t icount, const struct clock *clock, bool halted)
{
	return vm->vcpu.icount == icount && vm->clock.faults == clock->faults && vm->halted == halted &&
	       (halted || vm->clock.idle_ns == clock->idle_ns);
}

static int change_registers(struct vm *vm, const struct vm_change *g, struct vm_error *err)
{
	const struct watchlist kept = vm->watchlist;
	const struct clock clock = vm->clock;
	uint64_t icount = vm->vcpu.icount;
	bool halted = vm->halted;
	uint8_t before[SNAPSHOT_MAX];
	size_t len = vm_snapshot_save(vm, before);
	int rc = vm_snapshot_load_kept(vm, g->bytes, g->len, err);

	if (!rc && !same_time(vm, icount, &clock, halted)) {
		BUG_ON(vm_snapshot_load_kept(vm, before, len, err));
		rc = vm_fail(err, -EBADMSG, "debug: registers of another moment");
	}
	vm->watchlist = kept; /* what was hit, was */
	return rc;
}

/* The CPL beneath, by the state alone: what ran last may have been another mode. */
static uint8_t real_cpl(const struct vcpu *c)
{
	if (vcpu_real_mode(c) || vcpu_vm86(c))
		return 3;
	return c->cpl ? c->cpl : c->ring0_becomes;
}

int vm_change(struct vm *vm, const struct vm_change *change, struct vm_error *err)
{
	struct event ev = trap_event(vm, EV_CHANGE, OP_NONE);
	int rc;

	ev.rcpl = real_cpl(&vm->vcpu);
	ev.addr = change->registers ? 0 : change->gpa;
	ev.value = change->registers;
	ev.blob = change->bytes;
	ev.blob_len = change->len;
	rc = change->registers ? change_registers(vm, change, err) : change_memory(vm, change, err);
	if (!rc)
		probe_event(&vm->probe, &ev);
	return rc;
}
