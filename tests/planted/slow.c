/*
 * slow.c - linked into a ringside of its own (rules.mk): RDTSC's handler is dearer by as many dependent multiplications as RINGSIDE_SLOW says, some four
 * cycles each. For tests/check/23-planted.sh: a comparison must find exactly that. They are waited for, or a processor that works ahead would be done with
 * the handler before them, and the next event would pay.
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
	__asm__ volatile("lfence" : : "r"(product));
	__real_emul_rdtsc(x);
}
