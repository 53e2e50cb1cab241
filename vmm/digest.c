/*
 * digest.c - see digest.h. The library's functions that choose the widest vectors the host has.
 */
#include "vmm/digest.h"

#include <string.h>
#include <xxh_x86dispatch.h>

uint64_t digest64(const void *data, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, len, seed);
}

struct digest128 digest128(const void *data, size_t len)
{
	XXH128_canonical_t canonical;
	struct digest128 out;

	XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, len));
	memcpy(out.bytes, canonical.digest, sizeof(out.bytes));
	return out;
}

bool all_zero(const void *data, size_t len)
{
	uint64_t head;

	memcpy(&head, data, sizeof(head));
	return head == 0 && memcmp(data, (const uint8_t *)data + sizeof(head), len - sizeof(head)) == 0;
}
