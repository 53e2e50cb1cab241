/*
 * bug.h - our own mistakes stop the program, in release builds too: a VMM that goes on in a state it does not
 * understand would write a trace that nobody can trust.
 */
#ifndef RINGSIDE_VMM_BUG_H
#define RINGSIDE_VMM_BUG_H

#include <stdio.h>
#include <stdlib.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define BUG_ON(cond)                                                                                                   \
	do {                                                                                                           \
		if (unlikely(cond)) {                                                                                  \
			fprintf(stderr, "ringside: BUG: %s:%d: %s\n", __FILE__, __LINE__, #cond);                      \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#endif
