/*
 * hostile-idle - sleeps with interrupts off: nothing can ever wake it, and the VMM must say so instead of waiting.
 */
#include "guest.h"

GUEST("hostile-idle");

void guest_main(void)
{
	print("good night\n");
	for (;;)
		asm_volatile("cli; hlt");
}
