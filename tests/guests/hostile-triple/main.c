/*
 * hostile-triple - the shortest way to a triple fault, which is a reset.
 */
#include "guest.h"

GUEST("hostile-triple");

void guest_main(void)
{
	struct table_ptr nothing = { 0, 0 };

	print("triple fault\n");
	asm_volatile("lidt %0; int3" : : "m"(nothing));
	finish();
}
