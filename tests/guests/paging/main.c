/*
 * paging - rights, error codes, accessed and dirty bits, 4 MiB pages, invalidation, straddling accesses, the processor's own accesses, self-mapped tables.
 */
#include "paging.h"

GUEST("paging");

void guest_main(void)
{
	paging_identity();
	paging_on();
	paging_rights();
	paging_big();
	paging_tlb();
	paging_straddle();
	paging_implicit();
	test("paging off and on");
	set_entry(PAGE_A, FRAME_A | ALL);
	*(volatile u32 *)PAGE_A = 0x12345678;
	paging_off();
	EQ(*(volatile u32 *)FRAME_A, 0x12345678);
	paging_on();
	EQ(*(volatile u32 *)PAGE_A, 0x12345678);
}
