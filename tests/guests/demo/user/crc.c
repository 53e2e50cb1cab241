/*
 * crc.c - user program: CRC-32 (the Ethernet one) over pseudo-random blocks, a system call by SYSENTER after each; and
 * their sum in floating point, to be a second user of the FPU.
 */
#include "user.h"

enum { BLOCK = 4096, BLOCKS = 200 };
#define EXPECTED 0xdc1c9ce3u

static uint32_t table[256];
static uint8_t block[BLOCK];

static void make_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
		table[i] = crc;
	}
}

static void fill(uint32_t *seed)
{
	for (unsigned i = 0; i < BLOCK; i++) {
		*seed = *seed * 1664525u + 1013904223u;
		block[i] = *seed >> 24;
	}
}

void crc_main(void)
{
	uint32_t crc = ~0u, seed = 1, sum = 0;
	double total = 0;
	struct line l = { 0 };

	make_table();
	for (unsigned n = 0; n < BLOCKS; n++) {
		fill(&seed);
		for (unsigned i = 0; i < BLOCK; i++)
			crc = table[(crc ^ block[i]) & 0xff] ^ crc >> 8;
		for (unsigned i = 0; i < BLOCK; i++) {
			total += block[i] / 4.0;
			sum += block[i];
		}
		call_sysenter(n % 8 ? SYS_TICKS : SYS_YIELD, 0, 0);
	}
	crc = ~crc;
	line_text(&l, "[crc] ");
	line_number(&l, BLOCK * BLOCKS, 10);
	line_text(&l, " bytes have CRC-32 ");
	line_number(&l, crc, 16);
	line_text(&l, "\n");
	call_sysenter(SYS_WRITE, (uint32_t)l.text, l.len);
	call_sysenter(SYS_EXIT, crc != EXPECTED || total * 4.0 != sum, 0);
	__builtin_unreachable();
}
