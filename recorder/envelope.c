/*
 * envelope.c - seal and open values. See envelope.h for the layout.
 *
 * Columns have very different statistics, and zstd keeps one set of entropy tables a block: so the compressor is told
 * to begin a new block where a longer field of the message begins ("sections"). The result is one ordinary zstd
 * frame.
 */
#include "recorder/envelope.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxh_x86dispatch.h>
#include <zstd.h>

#include "recorder/wire.h"
#include "vmm/bug.h"

#define ZSTD_LEVEL 1
#define COSTS_HASH_LOG 10 /* costs repeat little: a table of 4 KiB packs them as small, in three quarters of the time */
#define SECTION_MIN 1024  /* shorter fields share a block with what follows */

enum { CODING_PLAIN = 0, CODING_ZSTD = 1 };

struct envelope {
	ZSTD_CCtx *pack;
	ZSTD_DCtx *unpack;
	XXH3_state_t *hash;
};

bool bytes_reserve(struct bytes *b, size_t more)
{
	size_t room = b->room ? b->room : 4096;
	uint8_t *data;

	if (b->room - b->len >= more)
		return true;
	while (room - b->len < more)
		room *= 2;
	data = realloc(b->data, room);
	if (!data)
		return false;
	b->data = data;
	b->room = room;
	return true;
}

bool bytes_append(struct bytes *b, const void *data, size_t len)
{
	if (!bytes_reserve(b, len))
		return false;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	return true;
}

void bytes_free(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){ 0 };
}

struct envelope *envelope_create(void)
{
	struct envelope *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->pack = ZSTD_createCCtx();
	e->unpack = ZSTD_createDCtx();
	e->hash = XXH3_createState();
	if (e->pack && e->unpack && e->hash)
		return e;
	envelope_destroy(e);
	return NULL;
}

void envelope_destroy(struct envelope *e)
{
	if (!e)
		return;
	ZSTD_freeCCtx(e->pack);
	ZSTD_freeDCtx(e->unpack);
	XXH3_freeState(e->hash);
	free(e);
}

static uint64_t checksum(struct envelope *e, const void *key, size_t key_len, const uint8_t *value, size_t value_len)
{
	XXH3_64bits_reset(e->hash);
	XXH3_64bits_update(e->hash, key, key_len);
	XXH3_64bits_update(e->hash, value, 8);
	XXH3_64bits_update(e->hash, value + ENVELOPE_BYTES, value_len - ENVELOPE_BYTES);
	return XXH3_64bits_digest(e->hash);
}

/* Feeds payload[from..to) and ends the block (or the frame). Returns false when the output has no room. */
static bool feed(struct envelope *e, ZSTD_outBuffer *out, const uint8_t *payload, size_t from, size_t to, bool last)
{
	ZSTD_inBuffer in = { payload + from, to - from, 0 };
	size_t left;

	do {
		left = ZSTD_compressStream2(e->pack, out, &in, last ? ZSTD_e_end : ZSTD_e_flush);
		if (ZSTD_isError(left) || (left && out->pos == out->size))
			return false;
	} while (left);
	return true;
}

/* Returns the packed length, or 0 when packing does not pay. */
static size_t compress(struct envelope *e, const struct envelope_in *in, uint8_t *to, size_t room)
{
	ZSTD_outBuffer out = { to, room, 0 };
	const uint8_t *payload = in->payload;
	struct wire_field field;
	size_t from = 0, at = 0;

	ZSTD_CCtx_reset(e->pack, ZSTD_reset_session_only);
	ZSTD_CCtx_setParameter(e->pack, ZSTD_c_compressionLevel, ZSTD_LEVEL);
	ZSTD_CCtx_setParameter(e->pack, ZSTD_c_hashLog, in->content == CONTENT_COSTS ? COSTS_HASH_LOG : 0);
	ZSTD_CCtx_setPledgedSrcSize(e->pack, in->payload_len);
	while (in->sections && wire_next(payload, in->payload_len, &at, &field)) {
		if (at - field.data < SECTION_MIN)
			continue;
		if (field.data > from && !feed(e, &out, payload, from, field.data, false))
			return 0;
		if (!feed(e, &out, payload, field.data, at, false))
			return 0;
		from = at;
	}
	if (!feed(e, &out, payload, from, in->payload_len, true))
		return 0;
	return out.pos < in->payload_len ? out.pos : 0;
}

int envelope_seal(struct envelope *e, const struct envelope_in *in, struct bytes *out)
{
	uint8_t *value, coding = CODING_PLAIN;
	size_t head = ENVELOPE_BYTES + in->head_len, packed = 0;
	uint32_t raw_len = (uint32_t)in->payload_len;
	uint16_t head_len = (uint16_t)in->head_len;
	uint64_t sum;

	BUG_ON(in->head_len > ENVELOPE_HEAD_MAX);
	if (in->payload_len > ENVELOPE_RAW_MAX)
		return -E2BIG;
	/* room for the plain form: what packs to more is stored plain */
	if (!bytes_reserve(out, head + in->payload_len))
		return -ENOMEM;
	value = out->data + out->len;
	if (in->compress && in->payload_len)
		packed = compress(e, in, value + head, in->payload_len);
	if (packed)
		coding = CODING_ZSTD;
	else if (in->payload_len)
		memcpy(value + head, in->payload, in->payload_len);
	memcpy(value, &raw_len, 4);
	value[4] = coding;
	value[5] = (uint8_t)in->content;
	memcpy(value + 6, &head_len, 2);
	if (in->head_len)
		memcpy(value + ENVELOPE_BYTES, in->head, in->head_len);
	head += packed ? packed : in->payload_len;
	sum = checksum(e, in->key, in->key_len, value, head);
	memcpy(value + 8, &sum, 8);
	out->len += head;
	return 0;
}

static int bad(const char **why, const char *text)
{
	*why = text;
	return -EBADMSG;
}

const void *envelope_peek(enum content content, const void *value, size_t value_len, size_t head_len)
{
	const uint8_t *v = value;
	uint16_t stated;

	if (value_len < ENVELOPE_BYTES + head_len || v[5] != content)
		return NULL;
	memcpy(&stated, v + 6, 2);
	return stated == head_len ? v + ENVELOPE_BYTES : NULL;
}

int envelope_open(struct envelope *e, enum content content, const void *key, size_t key_len, const void *value,
                  size_t value_len, size_t raw_max, struct envelope_out *out, const char **why)
{
	const uint8_t *v = value, *payload;
	uint16_t head_len;
	uint32_t raw_len;
	uint64_t sum;
	size_t len;

	if (value_len < ENVELOPE_BYTES)
		return bad(why, "shorter than its header");
	memcpy(&raw_len, v, 4);
	memcpy(&head_len, v + 6, 2);
	memcpy(&sum, v + 8, 8);
	if (v[5] != content)
		return bad(why, "holds something else than its key says");
	if (head_len > ENVELOPE_HEAD_MAX || value_len < ENVELOPE_BYTES + (size_t)head_len)
		return bad(why, "header length out of range");
	if (sum != checksum(e, key, key_len, v, value_len))
		return bad(why, "checksum mismatch");
	if (raw_len > raw_max || raw_len > ENVELOPE_RAW_MAX)
		return bad(why, "states an unpacked length that is out of range");
	out->head = v + ENVELOPE_BYTES;
	out->head_len = head_len;
	payload = v + ENVELOPE_BYTES + head_len;
	len = value_len - ENVELOPE_BYTES - head_len;
	out->payload.len = 0;
	if (!bytes_reserve(&out->payload, raw_len ? raw_len : 1))
		return -ENOMEM;
	if (v[4] == CODING_PLAIN) {
		if (len != raw_len)
			return bad(why, "length mismatch");
		memcpy(out->payload.data, payload, len);
	} else if (v[4] == CODING_ZSTD) {
		if (ZSTD_decompressDCtx(e->unpack, out->payload.data, raw_len, payload, len) != raw_len)
			return bad(why, "does not unpack to its stated length");
	} else {
		return bad(why, "unknown coding");
	}
	out->payload.len = raw_len;
	return 0;
}
