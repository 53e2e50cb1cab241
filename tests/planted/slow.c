/*
 * slow.c - linked into a ringside of its own (rules.mk): RDTSC's handler is dearer by as many dependent multiplications as RINGSIDE_SLOW says, some four
 * cycles each. For tests/check/23-planted.sh: a comparison must find exactly that.
 */
#include <stdlib.h>

#include "vmm/emul/handlers.h"

emul_fn __real_emul_rdtsc, __wrap_emul_rdtsc;

void __wrap_emul_rdtsc(struct emul_ctx *x)
{
	const char *asked = getenv("RINGSIDE_SLOW");
	unsigned long product = 3;

	for (unsigned long n = asked ? strtoul(asked, NULL, 10) : 0; n; n--)
		__asm__ volatile("imul %0, %0" : "+r"(product));
	__real_emul_rdtsc(x);
}
