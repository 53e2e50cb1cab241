/*
 * sens - instructions that read or write privileged state but do not fault when deprivileged: at CPL 0, 1, 2 and 3 the guest must see its own world.
 */
#include "sens.h"

GUEST("sens");

static void all(bool descriptors)
{
	for (unsigned cpl = 0; cpl < 4; cpl++) {
		sens_flags(cpl);
		sens_readers(cpl);
		if (descriptors)
			sens_descriptors(cpl); /* thousands of them: once is enough */
		sens_transfers(cpl);
	}
}

void guest_main(void)
{
	all(true);
	paging_identity();
	paging_on();
	all(false);
}
