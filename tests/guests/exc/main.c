/*
 * exc - every exception, with its vector, error code, pushed state, and nothing of the instruction done; from every CPL.
 */
#include "exc.h"

GUEST("exc");

void guest_main(void)
{
	for (unsigned cpl = 0; cpl < 4; cpl++) {
		exc_vectors(cpl);
		exc_fpu(cpl);
	}
	exc_segments();
	exc_delivery();
	paging_identity();
	paging_on();
	for (unsigned cpl = 0; cpl < 4; cpl++)
		exc_vectors(cpl);
	exc_delivery();
}
