/*
 * reserve.h - address space for tables that may become big: the host gives memory, zeroed, as they are touched.
 *
 * What is reserved is never handed to free(); release() takes it back. Memory that is only read stays the host's page of zeros, and a first write after that costs
 * two faults and interrupts every processor that runs a thread of this process: who is going to write should not look first.
 */
#ifndef RINGSIDE_VMM_RESERVE_H
#define RINGSIDE_VMM_RESERVE_H

#include <stddef.h>

/* bytes > 0. NULL: the host has no more address space. */
void *reserve(size_t bytes);
/* Below 2 GiB of the host's address space, where 32 bits reach it. */
void *reserve_low(size_t bytes);
/* p may be NULL; bytes as reserved. */
void release(void *p, size_t bytes);

#endif
