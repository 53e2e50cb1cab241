/*
 * state_diff.c - see state_diff.h. One table names the fields.
 */
#include "replayer/state_diff.h"

#include <stdio.h>
#include <string.h>

#include "vmm/cpu/vcpu.h"

struct field {
	const char *name;
	size_t offset, size;
};

#define FIELD(name, member)                                                                                            \
	{                                                                                                              \
		name, offsetof(struct vcpu, member), sizeof(((struct vcpu *)0)->member)                                \
	}
#define SEGMENT(name, member)                                                                                          \
	FIELD(name, member.sel), FIELD(name ".base", member.base), FIELD(name ".limit", member.limit),                 \
	        FIELD(name ".attr", member.guest_attr)

/* What vm_snapshot_save() has, but for EFLAGS, the FPU and the VM's own, which are below. */
static const struct field fields[] = {
	FIELD("icount", icount),
	FIELD("eip", rip),
	FIELD("eax", gpr[0]),
	FIELD("ecx", gpr[1]),
	FIELD("edx", gpr[2]),
	FIELD("ebx", gpr[3]),
	FIELD("esp", gpr[4]),
	FIELD("ebp", gpr[5]),
	FIELD("esi", gpr[6]),
	FIELD("edi", gpr[7]),
	FIELD("cpl", cpl),
	SEGMENT("es", seg[0]),
	SEGMENT("cs", seg[1]),
	SEGMENT("ss", seg[2]),
	SEGMENT("ds", seg[3]),
	SEGMENT("fs", seg[4]),
	SEGMENT("gs", seg[5]),
	SEGMENT("ldtr", ldtr),
	SEGMENT("tr", tr),
	FIELD("cr0", cr0),
	FIELD("cr2", cr2),
	FIELD("cr3", cr3),
	FIELD("cr4", cr4),
	FIELD("dr0", dr[0]),
	FIELD("dr1", dr[1]),
	FIELD("dr2", dr[2]),
	FIELD("dr3", dr[3]),
	FIELD("dr6", dr[6]),
	FIELD("dr7", dr[7]),
	FIELD("gdtr.base", gdtr.base),
	FIELD("gdtr.limit", gdtr.limit),
	FIELD("idtr.base", idtr.base),
	FIELD("idtr.limit", idtr.limit),
	FIELD("sysenter cs", msr_sysenter_cs),
	FIELD("sysenter esp", msr_sysenter_esp),
	FIELD("sysenter eip", msr_sysenter_eip),
	FIELD("tsc offset", tsc_offset),
	FIELD("interrupt shadow", inhibit_icount),
};

static void add(struct state_diff *d, const char *name, uint64_t first, uint64_t second)
{
	if (first == second)
		return;
	if (d->count == STATE_DIFF_MAX) {
		d->more = true;
		return;
	}
	snprintf(d->field[d->count].name, sizeof(d->field[0].name), "%s", name);
	d->field[d->count].first = first;
	d->field[d->count].second = second;
	d->count++;
}

static uint64_t value(const void *at, size_t size)
{
	uint64_t v = 0;

	memcpy(&v, at, size); /* little-endian hosts only (x86) */
	return v;
}

/* The FXSAVE area: SDM vol. 1 table 10-2. */
static const struct field fpu_fields[] = {
	{ "fcw", 0, 2 },     { "fsw", 2, 2 },     { "x87 tags", 4, 1 }, { "x87 opcode", 6, 2 }, { "x87 ip", 8, 4 },
	{ "x87 cs", 12, 2 }, { "x87 dp", 16, 4 }, { "x87 ds", 20, 2 },  { "mxcsr", 24, 4 },
};

enum { FX_ST = 32, FX_XMM = 160, FX_SLOT = 16, FX_HALF = 8 };

static void diff_slots(struct state_diff *d, const uint8_t *a, const uint8_t *b, unsigned from, const char *name)
{
	for (unsigned i = 0; i < 8 * FX_SLOT; i += FX_HALF) {
		char text[24];

		snprintf(text, sizeof(text), "%s%u%s", name, i / FX_SLOT, i % FX_SLOT ? " high" : "");
		add(d, text, value(a + from + i, FX_HALF), value(b + from + i, FX_HALF));
	}
}

static void diff_fpu(struct state_diff *d, const struct vcpu *a, const struct vcpu *b)
{
	for (size_t i = 0; i < sizeof(fpu_fields) / sizeof(*fpu_fields); i++) {
		const struct field *f = &fpu_fields[i];

		add(d, f->name, value(a->fpu.fx + f->offset, f->size), value(b->fpu.fx + f->offset, f->size));
	}
	diff_slots(d, a->fpu.fx, b->fpu.fx, FX_ST, "st");
	diff_slots(d, a->fpu.fx, b->fpu.fx, FX_XMM, "xmm");
}

void state_diff_registers(struct state_diff *d, struct vm *first, struct vm *second)
{
	const struct vcpu *a = vm_vcpu(first), *b = vm_vcpu(second);

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		const struct field *f = &fields[i];

		add(d, f->name, value((const uint8_t *)a + f->offset, f->size),
		    value((const uint8_t *)b + f->offset, f->size));
	}
	add(d, "eflags", vcpu_get_eflags(a), vcpu_get_eflags(b));
	diff_fpu(d, a, b);
	add(d, "faults", vm_clock(first)->faults, vm_clock(second)->faults);
	add(d, "idle ns", vm_clock(first)->idle_ns, vm_clock(second)->idle_ns);
}

void state_diff_page(struct state_diff *d, struct vm *first, struct vm *second, uint64_t page)
{
	const uint8_t *a = vm_ram(first) + (page << PAGE_SHIFT), *b = vm_ram(second) + (page << PAGE_SHIFT);

	for (unsigned i = 0; i < PAGE_SIZE; i += 4) {
		char name[24];

		snprintf(name, sizeof(name), "memory %08llx", (unsigned long long)(page << PAGE_SHIFT) + i);
		add(d, name, value(a + i, 4), value(b + i, 4));
	}
}
