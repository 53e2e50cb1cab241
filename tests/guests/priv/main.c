/*
 * priv - each privileged instruction: at CPL 0 what the guest then sees, at CPL 1 to 3 the fault; IOPL and the I/O permission bitmap.
 */
#include "guest.h"
#include "priv.h"

GUEST("priv");

static void all(void)
{
	priv_levels();
	priv_control();
	priv_tables();
	priv_msr();
	priv_io();
}

void guest_main(void)
{
	all();
	paging_identity();
	paging_on();
	all();
	test("paging stayed on");
	EQ(get_cr0() & CR0_PG, CR0_PG);
	EQ(get_cr3(), (u32)page_dir);
}
