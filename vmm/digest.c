/*
 * digest.c - the only file that includes the hash library. Inlined, so that nothing has to be linked and the compiler may
 * use what it knows of the lengths.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string.h>

#include "vmm/digest.h"

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
