/*
 * envelope.h - what every value in a trace is wrapped in: length, compression, checksum.
 *
 *     0  u32  length of the payload when unpacked
 *     4  u8   coding: 0 plain, 1 zstd
 *     5  u8   content (enum content): a value under a wrong key or table is refused
 *     6  u16  bytes of caller's header between envelope and payload
 *     8  u64  XXH3-64 over key, the eight bytes above, the caller's header and the payload as stored
 *    16       caller's header (readable without unpacking), then the payload
 *
 * All little-endian. The checksum is verified before anything is unpacked. Called by the trace writer and reader.
 */
#ifndef RINGSIDE_RECORDER_ENVELOPE_H
#define RINGSIDE_RECORDER_ENVELOPE_H

#include "vmm/vm.h"

#define ENVELOPE_BYTES 16
#define ENVELOPE_RAW_MAX (64u << 20) /* longest unpacked payload */
#define ENVELOPE_HEAD_MAX 64

enum content {
	CONTENT_HEADER = 1,
	CONTENT_SUMMARY,
	CONTENT_CHECKPOINT,
	CONTENT_PAGES,
	CONTENT_EVENTS,
	CONTENT_COSTS,
	CONTENT_CONSOLE,
	CONTENT_RESUME,
	CONTENT_PACK,
	CONTENT_SAMPLES,
};

/* A growing byte buffer; zero-initialise, free with bytes_free. */
struct bytes {
	uint8_t *data;
	size_t len, room;
};
/* Make room for `more` bytes after len; false when memory is out. */
bool bytes_reserve(struct bytes *b, size_t more);
bool bytes_append(struct bytes *b, const void *data, size_t len);
void bytes_free(struct bytes *b);

/* Compression contexts, kept because making them is dear. */
struct envelope;
struct envelope *envelope_create(void); /* NULL: out of memory */
void envelope_destroy(struct envelope *e);

struct envelope_in {
	enum content content;
	const void *key;
	size_t key_len;
	const void *head; /* caller's header */
	size_t head_len;
	const void *payload;
	size_t payload_len;
	bool compress; /* stored plain all the same where that is shorter */
	bool sections; /* payload is a protobuf message: begin a compression block with each longer field */
};
/* Appends the sealed value to `out`. 0 or -ENOMEM, -E2BIG. */
int envelope_seal(struct envelope *e, const struct envelope_in *in, struct bytes *out);

struct envelope_out {
	const void *head; /* points into the value */
	size_t head_len;
	struct bytes payload; /* reused between calls; the caller frees it */
};
/* Verify and unpack. `raw_max` bounds the unpacked length. 0, -ENOMEM or -EBADMSG; *why gets a few words. */
int envelope_open(struct envelope *e, enum content content, const void *key, size_t key_len, const void *value,
                  size_t value_len, size_t raw_max, struct envelope_out *out, const char **why);
/* The caller's header without verification, for building an index: NULL when the value cannot be of that content. */
const void *envelope_peek(enum content content, const void *value, size_t value_len, size_t head_len);

#endif
