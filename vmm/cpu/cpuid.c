/*
 * cpuid.c - the processor that guests see: "ringside-p6", never the host's (declared in emul/emul.h).
 *
 * Family 6, model 9, stepping 5, which kernels know as a Pentium M, with what this VMM implements and nothing else: no VME, PAE, APIC, MTRR, PAT,
 * machine check or ACPI thermal control. A guest's behaviour depends on these values, so a change is a new model, not an edit.
 */
#include "vmm/emul/emul.h"

#include <string.h>

#define SIGNATURE 0x00000695u
#define CLFLUSH_LINE (8u << 8) /* in units of 8 bytes */

/* CPUID.1 EDX, SDM vol. 2 table 3-11 */
#define FEATURE_FPU (1u << 0)
#define FEATURE_DE (1u << 2)
#define FEATURE_PSE (1u << 3)
#define FEATURE_TSC (1u << 4)
#define FEATURE_MSR (1u << 5)
#define FEATURE_CX8 (1u << 8)
#define FEATURE_SEP (1u << 11)
#define FEATURE_PGE (1u << 13)
#define FEATURE_CMOV (1u << 15)
#define FEATURE_CLFSH (1u << 19)
#define FEATURE_MMX (1u << 23)
#define FEATURE_FXSR (1u << 24)
#define FEATURE_SSE (1u << 25)
#define FEATURE_SSE2 (1u << 26)
#define FEATURES                                                                                                       \
	(FEATURE_FPU | FEATURE_DE | FEATURE_PSE | FEATURE_TSC | FEATURE_MSR | FEATURE_CX8 | FEATURE_SEP |              \
	 FEATURE_PGE | FEATURE_CMOV | FEATURE_CLFSH | FEATURE_MMX | FEATURE_FXSR | FEATURE_SSE | FEATURE_SSE2)

#define BASIC_MAX 2u
#define EXTENDED 0x80000000u
#define EXTENDED_MAX 0x80000004u
#define BRAND_FIRST 0x80000002u

static const char brand[48] = "Ringside P6 deprivileged processor";

/* Leaf 2: 32 KiB L1 instruction and data caches, 1 MiB L2, 128-entry TLBs (SDM vol. 2 table 3-12). */
static const uint32_t basic[BASIC_MAX + 1][4] = {
	{ BASIC_MAX, 0x756e6547, 0x6c65746e, 0x49656e69 }, /* "GenuineIntel" in EBX, EDX, ECX */
	{ SIGNATURE, CLFLUSH_LINE, 0, FEATURES },
	{ 0x02b3b001, 0x000000f0, 0, 0x2c043087 },
};

void cpuid_model(uint32_t leaf, uint32_t out[4])
{
	memset(out, 0, 4 * sizeof(out[0]));
	if (leaf >= BRAND_FIRST && leaf <= EXTENDED_MAX)
		memcpy(out, brand + (leaf - BRAND_FIRST) * 16, 16);
	else if (leaf == EXTENDED)
		out[0] = EXTENDED_MAX;
	else if (leaf != EXTENDED + 1) /* a leaf that does not exist shows the highest basic one */
		memcpy(out, basic[leaf <= BASIC_MAX ? leaf : BASIC_MAX], sizeof(basic[0]));
}
