/*
 * monitor_machine.c - the guest's page walk and descriptor tables, decoded (SDM vol. 3A 3.4.5, 3.5, 4.3, 6.11), and physical memory.
 */
#include <inttypes.h>
#include <string.h>

#include "replayer/gdb/debugger_internal.h"

#define XP_DEFAULT 64
#define XP_MAX 65536

/* ---- pagewalk ---------------------------------------------------------------------------------------------- */

static void tell_entry(struct monitor_call *m, const char *name, uint32_t at, uint32_t entry, bool leaf)
{
	gdb_text_put(m->out, "%s at physical %08x: %08x", name, at, entry);
	if (!(entry & 1)) {
		gdb_text_put(m->out, ", not present\n");
		return;
	}
	gdb_text_put(m->out, ": %s %08x, %s, %s%s%s%s%s%s\n", leaf ? "page" : "table",
	             entry & (leaf && (entry & 0x80) ? 0xffc00000u : ~0xfffu), entry & 4 ? "user" : "supervisor",
	             entry & 2 ? "writable" : "read-only", entry & 0x20 ? ", accessed" : "",
	             leaf && (entry & 0x40) ? ", dirty" : "", leaf && (entry & 0x100) ? ", global" : "",
	             entry & 8 ? ", write-through" : "", entry & 0x10 ? ", cache off" : "");
}

static uint32_t physical32(struct monitor_call *m, uint32_t gpa)
{
	uint32_t value;

	ram_read(debugger_vcpu(m->d)->mmu.ram, gpa, &value, sizeof(value));
	return value;
}

void monitor_pagewalk(struct monitor_call *m)
{
	const struct vcpu *c = debugger_vcpu(m->d);
	uint32_t lin, at, entry;
	uint64_t gpa;

	if (!monitor_address(m, m->argv[1], &lin))
		return;
	if (!(c->cr0 & CR0_PG)) {
		gdb_text_put(m->out, "paging is off: linear %08x is physical %08x\n", lin, lin);
		return;
	}
	gdb_text_put(m->out, "CR3 %08x, CR0.WP %u, CR4.PSE %u\n", c->cr3, !!(c->cr0 & CR0_WP), !!(c->cr4 & CR4_PSE));
	at = (c->cr3 & ~0xfffu) + 4 * (lin >> 22);
	entry = physical32(m, at);
	if ((entry & 0x81) == 0x81 && (c->cr4 & CR4_PSE)) {
		tell_entry(m, "PDE (4 MiB page)", at, entry, true);
	} else {
		tell_entry(m, "PDE", at, entry, false);
		if (entry & 1) {
			at = (entry & ~0xfffu) + 4 * (lin >> 12 & 1023);
			entry = physical32(m, at) & ~0x80u; /* bit 7 is PAT here */
			tell_entry(m, "PTE", at, entry, true);
		}
	}
	if (mmu_peek(&c->mmu, lin, &gpa))
		gdb_text_put(m->out, "linear %08x is not mapped\n", lin);
	else
		gdb_text_put(m->out, "linear %08x is physical %08x%s\n", lin, (uint32_t)gpa,
		             !(entry & 1)               ? " (by a translation the TLB still holds)"
		             : ram_has(c->mmu.ram, gpa) ? ""
		                                        : ", which is not RAM");
}

/* ---- descriptors ------------------------------------------------------------------------------------------- */

static const char *const system_types[16] = {
	"reserved",
	"16-bit TSS, available",
	"LDT",
	"16-bit TSS, busy",
	"16-bit call gate",
	"task gate",
	"16-bit interrupt gate",
	"16-bit trap gate",
	"reserved",
	"TSS, available",
	"reserved",
	"TSS, busy",
	"call gate",
	"reserved",
	"interrupt gate",
	"trap gate",
};

static void tell_descriptor(struct monitor_call *m, unsigned selector, uint64_t d)
{
	uint32_t low = (uint32_t)d, high = (uint32_t)(d >> 32);
	uint32_t base = (low >> 16) | (high & 0xff) << 16 | (high & 0xff000000u);
	uint32_t limit = (low & 0xffff) | (high & 0xf0000);
	unsigned type = high >> 8 & 15;

	if (high & 0x800000)
		limit = limit << 12 | 0xfff;
	gdb_text_put(m->out, "%04x  base %08x limit %08x DPL %u ", selector, base, limit, high >> 13 & 3);
	if (!(high & 0x1000))
		gdb_text_put(m->out, "%s", system_types[type]);
	else if (type & 8)
		gdb_text_put(m->out, "%s code%s%s%s", high & 0x400000 ? "32-bit" : "16-bit",
		             type & 4 ? ", conforming" : "", type & 2 ? ", readable" : "", type & 1 ? ", accessed" : "");
	else
		gdb_text_put(m->out, "%s data%s%s%s", high & 0x400000 ? "32-bit" : "16-bit",
		             type & 4 ? ", expand down" : "", type & 2 ? ", writable" : "", type & 1 ? ", accessed" : "");
	gdb_text_put(m->out, "%s\n", high & 0x8000 ? "" : ", not present");
}

static bool wants_all(struct monitor_call *m)
{
	return m->argc > 1 && !strcmp(m->argv[1], "all");
}

static void tell_table(struct monitor_call *m, uint32_t base, uint32_t limit, unsigned ti)
{
	for (uint32_t at = 0; at + 7 <= limit && at < 0x10000; at += 8) {
		uint64_t d;

		if (debugger_read(m->d, base + at, &d, 8) != 8) {
			gdb_text_put(m->out, "%04x  not mapped\n", at | ti);
			return;
		}
		if (d || wants_all(m))
			tell_descriptor(m, at | ti, d);
	}
}

void monitor_gdt(struct monitor_call *m)
{
	const struct vcpu *c = debugger_vcpu(m->d);

	gdb_text_put(m->out, "GDT at %08x, limit %04x\n", c->gdtr.base, c->gdtr.limit);
	tell_table(m, c->gdtr.base, c->gdtr.limit, 0);
}

void monitor_ldt(struct monitor_call *m)
{
	const struct vcpu *c = debugger_vcpu(m->d);

	if (!(c->ldtr.sel & ~3u)) {
		gdb_text_put(m->out, "no LDT: LDTR is %04x\n", c->ldtr.sel);
		return;
	}
	gdb_text_put(m->out, "LDT %04x at %08x, limit %08x\n", c->ldtr.sel, (uint32_t)c->ldtr.base, c->ldtr.limit);
	tell_table(m, (uint32_t)c->ldtr.base, c->ldtr.limit, 4);
}

static void tell_gate(struct monitor_call *m, unsigned vector, uint64_t d)
{
	uint32_t low = (uint32_t)d, high = (uint32_t)(d >> 32);

	gdb_text_put(m->out, "%02x  %04x:%08x DPL %u %s%s\n", vector, low >> 16, (low & 0xffff) | (high & 0xffff0000u),
	             high >> 13 & 3, high & 0x1000 ? "not a gate" : system_types[high >> 8 & 15],
	             high & 0x8000 ? "" : ", not present");
}

static void tell_vectors(struct monitor_call *m, const struct vcpu *c)
{
	for (unsigned i = 0; i < 256 && 4 * i + 3 <= c->idtr.limit; i++) {
		uint32_t v;

		if (debugger_read(m->d, c->idtr.base + 4 * i, &v, 4) == 4 && (v || wants_all(m)))
			gdb_text_put(m->out, "%02x  %04x:%04x\n", i, v >> 16, v & 0xffff);
	}
}

void monitor_idt(struct monitor_call *m)
{
	const struct vcpu *c = debugger_vcpu(m->d);

	gdb_text_put(m->out, "%s at %08x, limit %04x\n", vcpu_real_mode(c) ? "interrupt vectors" : "IDT", c->idtr.base,
	             c->idtr.limit);
	if (vcpu_real_mode(c)) {
		tell_vectors(m, c);
		return;
	}
	for (unsigned i = 0; i < 256 && 8 * i + 7 <= c->idtr.limit; i++) {
		uint64_t d;

		if (debugger_read(m->d, c->idtr.base + 8 * i, &d, 8) != 8) {
			gdb_text_put(m->out, "%02x  not mapped\n", i);
			return;
		}
		if ((d >> 47 & 1) || wants_all(m))
			tell_gate(m, i, d);
	}
}

/* ---- physical memory --------------------------------------------------------------------------------------- */

void monitor_xp(struct monitor_call *m)
{
	struct ram *ram = debugger_vcpu(m->d)->mmu.ram;
	uint64_t len = XP_DEFAULT;
	uint32_t gpa;

	if (!monitor_address(m, m->argv[1], &gpa) ||
	    (m->argc > 2 && !monitor_number(m, "length", m->argv[2], XP_MAX, &len)))
		return;
	for (uint64_t at = 0; at < len; at += 16) {
		gdb_text_put(m->out, "%08" PRIx64 ":", gpa + at);
		for (uint64_t i = at; i < at + 16 && i < len; i++) {
			uint8_t byte;

			if (!ram_has(ram, gpa + i)) {
				gdb_text_put(m->out, " not RAM\n");
				return;
			}
			ram_read(ram, gpa + i, &byte, 1);
			gdb_text_put(m->out, " %02x", byte);
		}
		gdb_text_put(m->out, "\n");
	}
}
