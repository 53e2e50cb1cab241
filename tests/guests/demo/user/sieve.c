/*
 * sieve.c - user program: counts primes by Eratosthenes' sieve, in memory that is paged in as it is touched. System calls by INT 0x80.
 */
#include "user.h"

enum { LIMIT = 300000, PRIMES_BELOW_LIMIT = 25997 };

static uint8_t composite[LIMIT];

static uint32_t count_primes(void)
{
	uint32_t count = 0;

	for (uint32_t i = 2; i < LIMIT; i++) {
		if (composite[i])
			continue;
		count++;
		for (uint32_t j = i * 2; j < LIMIT; j += i)
			composite[j] = 1;
	}
	return count;
}

void sieve_main(void)
{
	uint32_t count = 0;

	for (unsigned round = 0; round < 2; round++) {
		struct line l = { 0 };

		for (uint32_t i = 0; i < LIMIT; i++)
			composite[i] = 0;
		count = count_primes();
		line_text(&l, "[sieve] ");
		line_number(&l, count, 10);
		line_text(&l, " primes below ");
		line_number(&l, LIMIT, 10);
		line_text(&l, "\n");
		call_int80(SYS_WRITE, (uint32_t)l.text, l.len);
		call_int80(SYS_SLEEP, 5, 0);
	}
	call_int80(SYS_EXIT, count != PRIMES_BELOW_LIMIT, 0);
	__builtin_unreachable();
}
