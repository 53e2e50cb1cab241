/*
 * gates - call, interrupt and trap gates of 16 and 32 bits; conforming code; stack switches with parameters; returns to outer rings; all descriptor checks.
 */
#include "gates.h"

GUEST("gates");

static void all(void)
{
	gates_call();
	gates_wrong();
	gates_interrupt();
}

void guest_main(void)
{
	all();
	paging_identity();
	paging_on();
	all();
}
