/*
 * maker.c - see maker.h.
 */
#include "recorder/maker.h"

#include <cpuid.h>
#include <stdio.h>
#include <string.h>

#define VENDOR_LEAF 0 /* SDM vol. 2A, CPUID: the vendor's name is in EBX, EDX, ECX */
#define VENDOR_BYTES 12

void host_cpu_maker(char *out, size_t size)
{
	char vendor[VENDOR_BYTES + 1] = "";
	unsigned eax, ebx, ecx, edx;

	if (__get_cpuid(VENDOR_LEAF, &eax, &ebx, &ecx, &edx)) {
		memcpy(vendor, &ebx, 4);
		memcpy(vendor + 4, &edx, 4);
		memcpy(vendor + 8, &ecx, 4);
	}
	for (char *c = vendor; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	snprintf(out, size, "%s", vendor);
}

bool maker_doubt(const struct trace_meta *meta, char doubt[MAKER_DOUBT_MAX])
{
	const char *recorded = meta->host_maker;
	char here[sizeof(meta->host_maker)];

	host_cpu_maker(here, sizeof(here));
	*doubt = 0;
	if (!*recorded || !*here || !strcmp(recorded, here))
		return false;
	snprintf(doubt, MAKER_DOUBT_MAX,
	         "recorded on %s, this host is %s: flags that the manuals leave undefined are the host's; a host of %s "
	         "replays it exactly",
	         recorded, here, recorded);
	return true;
}
