/*
 * broken - one check of this guest is wrong: it must end as failed, or the other guests prove nothing.
 */
#include "guest.h"

GUEST("broken");

void guest_main(void)
{
	u32 two = 2;

	test("right check");
	EQ(two, 2);
	test("broken check");
	EQ(two, 1);
}
