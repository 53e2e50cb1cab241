/*
 * sens - instructions that read or write privileged state but do not fault when deprivileged: at CPL 0, 1, 2 and 3 the guest must see its own world.
 */
#include "sens.h"

GUEST("sens");

static void all(void)
{
	for (unsigned cpl = 0; cpl < 4; cpl++) {
		sens_flags(cpl);
		sens_readers(cpl);
		sens_descriptors(cpl);
		sens_transfers(cpl);
	}
}

void guest_main(void)
{
	all();
	paging_identity();
	paging_on();
	all();
}
