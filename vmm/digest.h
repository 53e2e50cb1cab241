/*
 * digest.h - hashes of bytes: the only door to the hash library.
 *
 * Digests are stored in traces, so the functions never change: digest64 is XXH3-64 with a seed, digest128 XXH3-128 with seed 0, in
 * canonical (big-endian) byte order. They find accidents, not forgers. No function keeps state; anybody may call them.
 */
#ifndef RINGSIDE_VMM_DIGEST_H
#define RINGSIDE_VMM_DIGEST_H

#include <stddef.h>
#include <stdint.h>

struct digest128 {
	uint8_t bytes[16];
};

/* data may be NULL when len is 0 */
uint64_t digest64(const void *data, size_t len, uint64_t seed);
struct digest128 digest128(const void *data, size_t len);

#endif
