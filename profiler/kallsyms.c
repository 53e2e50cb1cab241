/*
 * kallsyms.c - the symbols that a kernel carries for its own backtraces (scripts/kallsyms.c of Linux lays them out).
 *
 * Nothing points at them from outside, but their form is distinctive:
 *
 *     [offsets: num x 4, relative to][base: 4] [num: 4] [names] [markers] [token table] [token index: 256 x 2]      up to Linux 6.3
 *                                              [num: 4] [names] [markers] [sequence: num x 3] [token table] [token index] [offsets][base]   later
 *
 *   - the token table is 256 NUL-terminated strings; a token for a character that is used alone is that character: "0", "1", ... "9" are
 *     found one after another. The token index says where each starts, which proves the find.
 *   - a name is a length (one byte, or two when bit 7 is set) and so many tokens; expanded, its first letter is the symbol's type.
 *   - markers hold the offset into names of every 256th.
 *   - each part begins at a multiple of 4; before names lies their number.
 *
 * So: token table, from there back over the markers to the names, and to the number that agrees with both.
 */
#include <errno.h>
#include <string.h>

#include "profiler/symbol_table.h"

#define TOKENS 256
#define TOKENS_MAX 8192u /* bytes of the first 48 */
#define TOKEN_MAX 64u
#define EXPANDED_MAX 512
#define MARKER_EVERY 256u
#define WORK_MAX 100000000u /* steps of search: an image made to mislead must not take for ever */

struct kallsyms {
	const uint8_t *image;
	size_t len;
	size_t token_table, token_end; /* offsets into the image */
	uint16_t token_index[TOKENS];
	size_t index_end;
	size_t names, markers, marker_count;
	uint32_t num;
	uint32_t work;
};

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)(p[0] | p[1] << 8 | p[2] << 16) | (uint32_t)p[3] << 24;
}

static size_t align4(size_t at)
{
	return (at + 3) & ~(size_t)3;
}

/* ---- tokens ------------------------------------------------------------------------------------------------ */

/* Does a table of 256 strings start here, with its index behind it? */
static bool token_table_at(struct kallsyms *k, size_t start)
{
	size_t at = start, index;

	for (unsigned i = 0; i < TOKENS; i++) {
		const uint8_t *end = at < k->len ? memchr(k->image + at, 0, k->len - at) : NULL;

		if (!end || end == k->image + at || at - start > UINT16_MAX)
			return false;
		k->token_index[i] = (uint16_t)(at - start);
		at = (size_t)(end - k->image) + 1;
	}
	index = align4(at);
	if (index + 2 * TOKENS > k->len)
		return false;
	for (unsigned i = 0; i < TOKENS; i++)
		if ((k->image[index + 2 * i] | k->image[index + 2 * i + 1] << 8) != k->token_index[i])
			return false;
	k->token_table = start;
	k->token_end = at;
	k->index_end = align4(index + 2 * TOKENS);
	return true;
}

/* The table's start, from where token '0' is: before that lie 48 tokens, each with its NUL, and before them may lie anything. */
static bool token_table_around(struct kallsyms *k, size_t zero)
{
	size_t end = zero; /* of token 0 */

	for (unsigned nuls = 0; nuls < '0'; nuls += !k->image[end])
		if (end-- == 0 || zero - end > TOKENS_MAX)
			return false;
	for (size_t at = end & ~(size_t)3; at + TOKEN_MAX > end; at -= 4) {
		if (at < end && token_table_at(k, at))
			return true;
		if (at < 4)
			break;
	}
	return false;
}

static bool find_tokens(struct kallsyms *k)
{
	static const char digits[] = "0\0001\0002\0003\0004\0005\0006\0007\0008\0009";
	size_t from = 0;

	while (from < k->len) {
		const uint8_t *p = memmem(k->image + from, k->len - from, digits, sizeof(digits));
		size_t at;

		if (!p)
			return false;
		at = (size_t)(p - k->image);
		if (at && !p[-1] && token_table_around(k, at))
			return true;
		from = at + 1;
	}
	return false;
}

/* ---- names ------------------------------------------------------------------------------------------------- */

/* The compressed name at `at`: where its tokens are and how many; false at the end of what there may be. */
static bool name_at(const struct kallsyms *k, size_t at, size_t end, size_t *tokens, size_t *count)
{
	if (at >= end)
		return false;
	*count = k->image[at++];
	if (*count & 0x80) {
		if (at >= end)
			return false;
		*count = (*count & 0x7f) | (size_t)k->image[at++] << 7;
	}
	*tokens = at;
	return *count > 0 && *count <= end - at;
}

/* Do `num` names starting here agree with the markers and end where the markers begin? */
static bool names_at(struct kallsyms *k, size_t names, uint32_t num)
{
	size_t at = names;

	for (uint32_t i = 0; i < num && k->work < WORK_MAX; i++, k->work++) {
		size_t tokens, count;

		if (i % MARKER_EVERY == 0 && get32(k->image + k->markers + 4 * (i / MARKER_EVERY)) != at - names)
			return false;
		if (!name_at(k, at, k->markers, &tokens, &count))
			return false;
		at = tokens + count;
	}
	return align4(at) == k->markers && k->work < WORK_MAX;
}

/* Names of `num` symbols somewhere before the markers, with their number in front. */
static bool find_names(struct kallsyms *k)
{
	size_t last = get32(k->image + k->markers + 4 * (k->marker_count - 1));
	size_t at, tail = MARKER_EVERY * (size_t)EXPANDED_MAX;

	if (last + 8 > k->markers)
		return false;
	for (at = (k->markers - last) & ~(size_t)3; at >= 8 && k->markers - last - at < tail && k->work < WORK_MAX;
	     at -= 4, k->work++) {
		uint32_t num = get32(k->image + at - 4);

		if (num > SYMBOL_TABLE_MAX || !num || (num - 1) / MARKER_EVERY != k->marker_count - 1)
			num = get32(k->image + at - 8); /* some kernels align names to more */
		if (num > SYMBOL_TABLE_MAX || !num || (num - 1) / MARKER_EVERY != k->marker_count - 1)
			continue;
		if (names_at(k, at, num)) {
			k->names = at;
			k->num = num;
			return true;
		}
	}
	return false;
}

/* Markers end where `end` is: walk back while they fall, to the 0 that is the first. */
static bool find_markers(struct kallsyms *k, size_t end)
{
	uint32_t above = UINT32_MAX;

	k->marker_count = 0;
	for (size_t at = end; at >= 4 && k->marker_count <= SYMBOL_TABLE_MAX / MARKER_EVERY; at -= 4, k->work++) {
		uint32_t value = get32(k->image + at - 4);

		if (value >= above)
			return false;
		above = value;
		k->marker_count++;
		if (!value) {
			k->markers = at - 4;
			return find_names(k);
		}
	}
	return false;
}

/* From Linux 6.2 on a list of 3 bytes a symbol lies between markers and tokens: its length is not known until the number is. */
static bool find_behind_sequence(struct kallsyms *k)
{
	for (size_t gap = 4; gap < k->token_table && gap <= align4(3 * (size_t)SYMBOL_TABLE_MAX) && k->work < WORK_MAX;
	     gap += 4) {
		size_t at = k->token_table - gap;

		/* the last marker is an offset, and more than the one before */
		if (at < 8 || get32(k->image + at - 4) <= get32(k->image + at - 8) || get32(k->image + at - 4) > k->len)
			continue;
		if (find_markers(k, at) && align4(3 * (size_t)k->num) == gap)
			return true;
	}
	return false;
}

/* ---- addresses --------------------------------------------------------------------------------------------- */

static bool rises(const struct kallsyms *k, size_t offsets)
{
	for (uint32_t i = 1; i < k->num; i++)
		if (get32(k->image + offsets + 4 * (size_t)i) < get32(k->image + offsets + 4 * (size_t)i - 4))
			return false;
	return true;
}

/* Where the addresses are, and what to add to them. */
static bool find_addresses(const struct kallsyms *k, size_t *offsets, uint32_t *base)
{
	size_t size = 4 * (size_t)k->num;

	for (size_t gap = 4; gap <= 8; gap += 4) { /* `num`, perhaps padded */
		if (k->names < size + gap + 4)
			continue;
		*offsets = k->names - gap - 4 - size;
		*base = get32(k->image + k->names - gap - 4);
		if (get32(k->image + *offsets) == 0 && *base && rises(k, *offsets))
			return true;
		*offsets += 4;
		*base = 0;
		if (rises(k, *offsets) && get32(k->image + *offsets + size - 4))
			return true; /* absolute, without a base */
	}
	*offsets = k->index_end;
	if (*offsets + size + 4 > k->len)
		return false;
	*base = get32(k->image + *offsets + size);
	return *base && rises(k, *offsets);
}

/* ---- out --------------------------------------------------------------------------------------------------- */

static size_t expand(const struct kallsyms *k, size_t tokens, size_t count, char out[EXPANDED_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		for (const uint8_t *p = k->image + k->token_table + k->token_index[k->image[tokens + i]];
		     *p && n < EXPANDED_MAX; p++)
			out[n++] = (char)*p;
	return n;
}

static int add_all(const struct kallsyms *k, size_t offsets, uint32_t base, struct symbol_table *t)
{
	size_t at = k->names, tokens, count;
	char name[EXPANDED_MAX];
	int rc = 0;

	for (uint32_t i = 0; !rc && i < k->num && name_at(k, at, k->markers, &tokens, &count); i++) {
		size_t n = expand(k, tokens, count, name);

		if (n > 1)
			rc = symbol_table_add(t, base + get32(k->image + offsets + 4 * (size_t)i), name[0], name + 1,
			                      n - 1);
		at = tokens + count;
	}
	return rc;
}

int symbol_table_read_kallsyms(struct symbol_table *t, const uint8_t *image, size_t len, struct vm_error *err)
{
	struct kallsyms k = { .image = image, .len = len };
	size_t offsets;
	uint32_t base;
	int rc;

	if (!find_tokens(&k))
		return vm_fail(err, -EBADMSG, "the kernel carries no kallsyms: it was built without CONFIG_KALLSYMS");
	if (!find_markers(&k, k.token_table) && !find_behind_sequence(&k))
		return vm_fail(err, -EBADMSG, "the kernel's kallsyms are laid out in a way that is not known");
	if (!find_addresses(&k, &offsets, &base))
		return vm_fail(err, -EBADMSG, "the kernel's kallsyms have no addresses of a 32-bit kernel");
	rc = add_all(&k, offsets, base, t);
	return rc ? vm_fail(err, rc, "out of memory") : 0;
}
