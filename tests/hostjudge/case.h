/*
 * case.h - what the judge (64-bit) and its helper (32-bit) share: one test case, before and after, in memory both map.
 *
 * The helper and the guest see the same linear addresses: a code page full of INT3, and two data pages with nothing mapped around them.
 * Only fixed-width types: the layout is the same in both worlds.
 */
#ifndef RINGSIDE_TESTS_HOSTJUDGE_CASE_H
#define RINGSIDE_TESTS_HOSTJUDGE_CASE_H

#include <stdint.h>

#define HJ_CODE 0x00400000u
#define HJ_CODE_SIZE 0x1000u
#define HJ_DATA 0x00500000u
#define HJ_DATA_SIZE 0x2000u
/* The helper itself lives above this: no case may touch what is not below. */
#define HJ_SAFE_END 0x6f000000u
#define HJ_SHARED 0x78000000u
#define HJ_BATCH 128u
#define HJ_CODE_MAX 128u /* bytes of a case's instructions */

enum { HJ_ES, HJ_CS, HJ_SS, HJ_DS, HJ_FS, HJ_GS, HJ_SREGS }; /* as in vmm/decode/insn.h */

/* Which segment a case puts into a segment register. */
enum hj_segment {
	HJ_SEG_FLAT,
	HJ_SEG_BASED,    /* base HJ_DATA, limit HJ_DATA_SIZE - 1 */
	HJ_SEG_DOWN,     /* expand-down, base HJ_DATA, offsets from 0x1000 on */
	HJ_SEG_READONLY, /* base 0, 4 GiB, not writable */
	HJ_SEGMENTS
};

struct hj_state {
	uint8_t fx[512] __attribute__((aligned(16))); /* FXSAVE image */
	uint32_t gpr[8];
	uint32_t eip, eflags;
	uint32_t segment[HJ_SREGS]; /* enum hj_segment; input only */
	uint32_t pad[4];
	uint8_t data[HJ_DATA_SIZE];
};

struct hj_case {
	struct hj_state in, out;
	uint8_t code[HJ_CODE_MAX];
	uint32_t len;
	uint32_t branches; /* may go on elsewhere than behind itself */
	/* how it ended: INT3 after the instruction is vector 3 */
	uint32_t signal, vector, error, cr2;
	uint32_t pad[2];
};

struct hj_shared {
	uint32_t count;                 /* cases in this batch; 0: end */
	uint32_t ready;                 /* set by the helper before its first batch */
	uint16_t selector[HJ_SEGMENTS]; /* as the host's kernel gave them */
	uint16_t cs_selector;
	uint16_t pad[3];
	struct hj_case cases[HJ_BATCH];
};

/* Linear address of the segment register's base in this state. */
static inline uint32_t hj_segment_base(const struct hj_state *s, unsigned seg)
{
	unsigned kind = s->segment[seg];

	return kind == HJ_SEG_BASED || kind == HJ_SEG_DOWN ? HJ_DATA : 0;
}

#endif
