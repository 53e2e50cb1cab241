/*
 * snapshot.c - see snapshot.h. One table says what the state is; saving, loading and digests follow it.
 */
#include "vmm/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cpu/mem.h"
#include "vmm/cpu/segment.h"
#include "vmm/vm_internal.h"

#define SNAPSHOT_MAGIC 0x31505352u /* "RSP1" */
#define MXCSR_RESERVED 0xffff0000u

struct field {
	uint32_t offset, size;
};
#define VCPU_FIELD(member)                                                                                             \
	{                                                                                                              \
		offsetof(struct vm, vcpu.member), sizeof(((struct vm *)0)->vcpu.member)                                \
	}
#define VM_FIELD(member)                                                                                               \
	{                                                                                                              \
		offsetof(struct vm, member), sizeof(((struct vm *)0)->member)                                          \
	}

/* Plain integers, little-endian hosts only (x86). Flags and segments have their own code. */
static const struct field fields[] = {
	VM_FIELD(clock.faults),
	VM_FIELD(clock.idle_ns),
	VM_FIELD(halted),
	VCPU_FIELD(icount),
	VCPU_FIELD(rip),
	VCPU_FIELD(cpl),
	VCPU_FIELD(cr0),
	VCPU_FIELD(cr2),
	VCPU_FIELD(cr3),
	VCPU_FIELD(cr4),
	VCPU_FIELD(dr),
	VCPU_FIELD(gdtr.base),
	VCPU_FIELD(gdtr.limit),
	VCPU_FIELD(idtr.base),
	VCPU_FIELD(idtr.limit),
	VCPU_FIELD(msr_sysenter_cs),
	VCPU_FIELD(msr_sysenter_esp),
	VCPU_FIELD(msr_sysenter_eip),
	VCPU_FIELD(tsc_offset),
	VCPU_FIELD(inhibit_icount),
	VCPU_FIELD(fpu.fx),
};
#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))
#define GPR_COUNT 8
#define SEGMENT_COUNT (SEG_COUNT + 2)

struct flat_segment {
	uint32_t base, limit;
	uint16_t sel, attr;
};

static struct segment *segment_at(struct vcpu *c, unsigned i)
{
	return i < SEG_COUNT ? &c->seg[i] : i == SEG_COUNT ? &c->ldtr : &c->tr;
}

static uint8_t *put(uint8_t *p, const void *data, size_t len)
{
	memcpy(p, data, len);
	return p + len;
}

size_t vm_snapshot_save(struct vm *vm, uint8_t buf[SNAPSHOT_MAX])
{
	uint32_t magic = SNAPSHOT_MAGIC, flags = vcpu_get_eflags(&vm->vcpu);
	uint8_t *p = buf;

	BUG_ON(vm->vcpu.real_view);
	p = put(p, &magic, sizeof(magic));
	p = put(p, vm->vcpu.gpr, GPR_COUNT * sizeof(uint64_t));
	p = put(p, &flags, sizeof(flags));
	for (unsigned i = 0; i < SEGMENT_COUNT; i++) {
		const struct segment *s = segment_at(&vm->vcpu, i);
		struct flat_segment f = { (uint32_t)s->base, s->limit, s->sel, s->guest_attr };

		p = put(p, &f, sizeof(f));
	}
	for (size_t i = 0; i < FIELD_COUNT; i++)
		p = put(p, (const uint8_t *)vm + fields[i].offset, fields[i].size);
	return (size_t)(p - buf);
}

static size_t snapshot_size(void)
{
	size_t n = sizeof(uint32_t) * 2 + GPR_COUNT * sizeof(uint64_t) + SEGMENT_COUNT * sizeof(struct flat_segment);

	for (size_t i = 0; i < FIELD_COUNT; i++)
		n += fields[i].size;
	return n;
}

static const uint8_t *get(const uint8_t *p, void *data, size_t len)
{
	memcpy(data, p, len);
	return p + len;
}

struct loaded {
	uint64_t gpr[GPR_COUNT];
	uint32_t flags;
	struct flat_segment seg[SEGMENT_COUNT];
};

/* What a run could not bear: the rest is any guest's to choose. */
static const char *objection(const struct loaded *l, const struct vm *trial)
{
	const struct vcpu *c = &trial->vcpu;
	uint32_t mxcsr;

	memcpy(&mxcsr, c->fpu.fx + 24, sizeof(mxcsr));
	for (unsigned i = 0; i < GPR_COUNT; i++)
		if (l->gpr[i] >> 32)
			return "a general register is wider than 32 bits";
	if (c->rip >> 32)
		return "rip is wider than 32 bits";
	if (c->cpl > 3)
		return "CPL is above 3";
	if ((c->cr0 & ~CR0_VALID) || (c->cr4 & ~CR4_VALID) || ((c->cr0 & CR0_PG) && !(c->cr0 & CR0_PE)))
		return "a control register has reserved bits set";
	if (!(c->cr0 & CR0_PE) && c->cpl)
		return "real mode with CPL above 0";
	if ((l->flags & ~(FL_WRITABLE | FL_FIXED | FL_RF | FL_VM)) || !(l->flags & FL_FIXED))
		return "EFLAGS has reserved bits set";
	if ((l->flags & FL_VM) && c->cpl != 3)
		return "virtual-8086 mode with CPL below 3";
	if (mxcsr & MXCSR_RESERVED)
		return "MXCSR has reserved bits set";
	if (*((const uint8_t *)trial + offsetof(struct vm, halted)) > 1)
		return "the halt flag is not a flag";
	return NULL;
}

int vm_snapshot_load_kept(struct vm *vm, const uint8_t *buf, size_t len, struct vm_error *err)
{
	struct loaded l;
	struct vm *trial;
	const char *why;
	uint32_t magic;
	const uint8_t *p = buf;

	if (len != snapshot_size())
		return vm_fail(err, -EBADMSG, "registers: %zu bytes where %zu are expected", len, snapshot_size());
	p = get(p, &magic, sizeof(magic));
	if (magic != SNAPSHOT_MAGIC)
		return vm_fail(err, -EBADMSG, "registers: unknown layout %08x", magic);
	p = get(p, l.gpr, sizeof(l.gpr));
	p = get(p, &l.flags, sizeof(l.flags));
	p = get(p, l.seg, sizeof(l.seg));
	if (posix_memalign((void **)&trial, 64, sizeof(*trial)))
		return vm_fail(err, -ENOMEM, "registers: out of memory");
	for (size_t i = 0; i < FIELD_COUNT; i++)
		p = get(p, (uint8_t *)trial + fields[i].offset, fields[i].size);
	why = objection(&l, trial);
	if (!why)
		for (size_t i = 0; i < FIELD_COUNT; i++)
			memcpy((uint8_t *)vm + fields[i].offset, (uint8_t *)trial + fields[i].offset, fields[i].size);
	free(trial);
	if (why)
		return vm_fail(err, -EBADMSG, "registers: %s", why);
	memcpy(vm->vcpu.gpr, l.gpr, sizeof(l.gpr));
	vcpu_set_eflags(&vm->vcpu, l.flags);
	for (unsigned i = 0; i < SEGMENT_COUNT; i++)
		segment_set(segment_at(&vm->vcpu, i), l.seg[i].sel, l.seg[i].base, l.seg[i].limit, l.seg[i].attr,
		            l.seg[i].attr);
	mmu_set_paging(&vm->vcpu.mmu, vm->vcpu.cr0, vm->vcpu.cr3, vm->vcpu.cr4, true);
	mmu_flush_all(&vm->vcpu.mmu);
	vcpu_update_watch(&vm->vcpu);
	if (vm->config.checkpoint_interval)
		vm->next_checkpoint =
		        (vm->vcpu.icount / vm->config.checkpoint_interval + 1) * vm->config.checkpoint_interval;
	vm->stop = (struct vm_stop){ .reason = STOP_NONE };
	vm->ended = vm->probe.stopped = false;
	vm->watchlist.noted.valid = vm->watchlist.hit.valid = vm->watchlist.passing = false;
	return 0;
}

int vm_snapshot_load(struct vm *vm, const uint8_t *buf, size_t len, struct vm_error *err)
{
	int rc = vm_snapshot_load_kept(vm, buf, len, err);

	if (rc)
		return rc;
	engine_flush(vm->engine);
	ram_mark_all_dirty(&vm->ram); /* whoever sets registers from outside has set memory as well */
	vm->real_cpl = 3;             /* as in a new VM */
	vm->exceptions_here = 0;
	return 0;
}

/* ---- checkpoints that a run goes on from ---- */

#define PROGRESS_MAGIC 0x31475052u /* "RPG1" */

struct progress {
	uint32_t magic;
	uint32_t exceptions_here;
	uint64_t exception_icount;
	uint32_t real_cpl;
	uint32_t zero;
};

size_t vm_progress_save(const struct vm *vm, uint8_t buf[PROGRESS_MAX])
{
	const struct progress p = {
		.magic = PROGRESS_MAGIC,
		.exceptions_here = vm->exceptions_here,
		.exception_icount = vm->exception_icount,
		.real_cpl = vm->real_cpl,
	};

	_Static_assert(sizeof(p) == 24 && sizeof(p) <= PROGRESS_MAX, "no padding");
	memcpy(buf, &p, sizeof(p));
	return sizeof(p);
}

int vm_progress_load(struct vm *vm, const uint8_t *buf, size_t len, struct vm_error *err)
{
	struct progress p;

	if (len != sizeof(p))
		return vm_fail(err, -EBADMSG, "progress: %zu bytes where %zu are expected", len, sizeof(p));
	memcpy(&p, buf, sizeof(p));
	if (p.magic != PROGRESS_MAGIC)
		return vm_fail(err, -EBADMSG, "progress: unknown layout %08x", p.magic);
	if (p.real_cpl < 1 || p.real_cpl > 3)
		return vm_fail(err, -EBADMSG, "progress: a real CPL of %u", p.real_cpl);
	vm->exceptions_here = p.exceptions_here;
	vm->exception_icount = p.exception_icount;
	vm->real_cpl = (uint8_t)p.real_cpl;
	return 0;
}

size_t vm_translations_save(const struct vm *vm, uint64_t *words, size_t room)
{
	return mmu_save_translations(&vm->vcpu.mmu, words, room);
}

void vm_translations_load(struct vm *vm, const uint64_t *words, size_t count)
{
	mmu_load_translations(&vm->vcpu.mmu, words, count);
}

size_t vm_take_written(struct vm *vm, uint64_t *page)
{
	return ram_take_written(&vm->ram, RAM_DIRTY_SAVED, page);
}

void vm_before_write(struct vm *vm, void (*fn)(void *self, uint64_t page), void *self)
{
	vm->ram.before_write = fn;
	vm->ram.before_write_self = self;
}

size_t vm_take_compared(struct vm *vm, uint64_t *page)
{
	return ram_take_written(&vm->ram, RAM_DIRTY_COMPARED, page);
}

size_t vm_used_pages(const struct vm *vm, uint64_t *page)
{
	return ram_used(&vm->ram, page);
}

void vm_write_page(struct vm *vm, uint64_t page, const uint8_t *bytes)
{
	BUG_ON(page >= vm->ram.pages);
	ram_write(&vm->ram, page << PAGE_SHIFT, bytes, PAGE_SIZE);
}

size_t vm_devices_save(struct vm *vm, uint8_t *buf, size_t room)
{
	return vm->input && vm->input->save ? vm->input->save(vm->input->self, buf, room) : 0;
}
