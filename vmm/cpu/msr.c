/*
 * msr.c - which model-specific registers the processor model has (SDM vol. 4, 2.20 and 2.22), and what is in them. See msr.h.
 *
 * What CPUID does not announce is not there: no local APIC, no MTRR, no machine check, no performance counters. An unknown register is
 * #GP(0), as on hardware: kernels probe with that in mind. Called by emul/msr.c only.
 */
#include "vmm/cpu/msr.h"

#include <stddef.h>

enum msr_kind { MSR_VCPU, MSR_FIXED, MSR_READ_ONLY };

struct msr {
	uint32_t number;
	enum msr_kind kind;
	size_t member;  /* MSR_VCPU: where in struct vcpu */
	uint64_t mask;  /* MSR_VCPU: bits that exist; others are dropped */
	uint64_t value; /* MSR_FIXED (writes accepted, without effect) and MSR_READ_ONLY */
};

#define MISC_ENABLE_BTS_UNAVAILABLE (1u << 11)
#define MISC_ENABLE_PEBS_UNAVAILABLE (1u << 12)

static const struct msr msrs[] = {
	{ 0x17, MSR_READ_ONLY, 0, 0, 0 }, /* IA32_PLATFORM_ID: microcode loaders look */
	{ 0x8b, MSR_FIXED, 0, 0, 0 }, /* IA32_BIOS_SIGN_ID: no microcode update; written with 0 before CPUID by who looks */
	{ 0x174, MSR_VCPU, offsetof(struct vcpu, msr_sysenter_cs), 0xffffffffu, 0 },
	{ 0x175, MSR_VCPU, offsetof(struct vcpu, msr_sysenter_esp), 0xffffffffu, 0 },
	{ 0x176, MSR_VCPU, offsetof(struct vcpu, msr_sysenter_eip), 0xffffffffu, 0 },
	{ 0x1a0, MSR_FIXED, 0, 0, MISC_ENABLE_BTS_UNAVAILABLE | MISC_ENABLE_PEBS_UNAVAILABLE }, /* IA32_MISC_ENABLE */
};

static const struct msr *find(uint32_t number)
{
	for (size_t i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
		if (msrs[i].number == number)
			return &msrs[i];
	return NULL;
}

bool msr_read(const struct vcpu *c, uint32_t number, uint64_t *value)
{
	const struct msr *m = find(number);

	if (m)
		*value = m->kind == MSR_VCPU ? *(const uint64_t *)((const char *)c + m->member) : m->value;
	return m != NULL;
}

bool msr_write(struct vcpu *c, uint32_t number, uint64_t value)
{
	const struct msr *m = find(number);

	if (!m || m->kind == MSR_READ_ONLY)
		return false;
	if (m->kind == MSR_VCPU)
		*(uint64_t *)((char *)c + m->member) = value & m->mask;
	return true;
}
