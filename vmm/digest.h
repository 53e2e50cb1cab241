/*
 * digest.h - hashes of bytes. Whoever hashes a stream goes to the library itself (recorder/digest.c, envelope.c).
 *
 * Digests are stored in traces, so the functions never change: digest64 is XXH3-64 with a seed, digest128 XXH3-128 with seed 0, in
 * canonical (big-endian) byte order. They find accidents, not forgers. No function keeps state; anybody may call them.
 */
#ifndef RINGSIDE_VMM_DIGEST_H
#define RINGSIDE_VMM_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct digest128 {
	uint8_t bytes[16];
};

/* data may be NULL when len is 0 */
uint64_t digest64(const void *data, size_t len, uint64_t seed);
struct digest128 digest128(const void *data, size_t len);
/* Nothing but zeros? len >= 8 */
bool all_zero(const void *data, size_t len);

#endif
