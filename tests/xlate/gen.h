/*
 * gen.h - makes random programs for the translator's test. A program is a function of its seed.
 */
#ifndef RINGSIDE_TESTS_XLATE_GEN_H
#define RINGSIDE_TESTS_XLATE_GEN_H

#include <stdint.h>

/* Linear addresses, all user pages. */
#define XP_CODE 0x00400000u /* two pages: a program begins on the first and may run into the second */
#define XP_DATA 0x00500000u /* three pages, the third read-only; nothing is mapped around them */
#define XP_CODE_SIZE 0x2000u
#define XP_DATA_SIZE 0x3000u
#define XP_MAX 1024u /* bytes of a program */

struct program {
	uint8_t code[XP_MAX];
	uint32_t len, start; /* start: linear address of code[0] */
	uint32_t gpr[8];
	uint32_t eflags;
	uint8_t fx[512] __attribute__((aligned(16)));
	uint32_t fs_base, gs_limit;
	uint64_t data_seed;
	uint32_t insns; /* budget */
};

void program_make(struct program *p, uint64_t seed);
uint64_t random_next(uint64_t *state);

#endif
