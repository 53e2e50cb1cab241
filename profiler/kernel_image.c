/*
 * kernel_image.c - the kernel inside a bzImage (Documentation/arch/x86/boot.rst: payload_offset and payload_length since protocol 2.08), unpacked.
 *
 * The only file that includes liblzma and zlib.
 */
#include <errno.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "profiler/symbol_table.h"

#define UNPACKED_MAX (256u << 20)
#define FIRST_ROOM (32u << 20)
#define LZMA_MEMORY_MAX (256u << 20)

enum {
	SETUP_SECTS = 0x1f1,
	MAGIC = 0x202,
	VERSION = 0x206,
	PAYLOAD_OFFSET = 0x248,
	PAYLOAD_LENGTH = 0x24c,
	HEADER_END = 0x250
};

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)(p[0] | p[1] << 8 | p[2] << 16) | (uint32_t)p[3] << 24;
}

bool kernel_image_is(const uint8_t *file, size_t len)
{
	return len >= HEADER_END && !memcmp(file + MAGIC, "HdrS", 4);
}

struct unpacked {
	uint8_t *data;
	size_t len, room;
};

/* False when it is at its bound, or there is no memory. */
static bool more_room(struct unpacked *u)
{
	size_t room = u->room ? u->room * 2 : FIRST_ROOM;
	uint8_t *data = room <= UNPACKED_MAX ? realloc(u->data, room) : NULL;

	if (!data)
		return false;
	u->data = data;
	u->room = room;
	return true;
}

static bool unpack_xz(const uint8_t *in, size_t len, struct unpacked *u)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_ret rc = lzma_stream_decoder(&s, LZMA_MEMORY_MAX, 0);

	s.next_in = in;
	s.avail_in = len;
	while (rc == LZMA_OK) {
		if (u->len == u->room && !more_room(u))
			break;
		s.next_out = u->data + u->len;
		s.avail_out = u->room - u->len;
		rc = lzma_code(&s, s.avail_in ? LZMA_RUN : LZMA_FINISH);
		u->len = u->room - s.avail_out;
	}
	lzma_end(&s);
	return rc == LZMA_STREAM_END;
}

static bool unpack_gzip(const uint8_t *in, size_t len, struct unpacked *u)
{
	z_stream s = { .next_in = (uint8_t *)(uintptr_t)in, .avail_in = (uInt)len };
	int rc = inflateInit2(&s, 15 + 16); /* a gzip header is required */

	while (rc == Z_OK) {
		if (u->len == u->room && !more_room(u))
			break;
		s.next_out = u->data + u->len;
		s.avail_out = (uInt)(u->room - u->len);
		rc = inflate(&s, Z_NO_FLUSH);
		u->len = u->room - s.avail_out;
	}
	inflateEnd(&s);
	return rc == Z_STREAM_END;
}

static bool unpack_zstd(const uint8_t *in, size_t len, struct unpacked *u)
{
	ZSTD_DStream *s = ZSTD_createDStream();
	ZSTD_inBuffer input = { .src = in, .size = len };
	size_t rc = 1;

	while (s && rc && !ZSTD_isError(rc)) {
		ZSTD_outBuffer output = { 0 };
		size_t before = input.pos;

		if (u->len == u->room && !more_room(u))
			break;
		output = (ZSTD_outBuffer){ .dst = u->data + u->len, .size = u->room - u->len };
		rc = ZSTD_decompressStream(s, &output, &input);
		u->len += output.pos;
		if (!output.pos && input.pos == before)
			break; /* it ends too early */
	}
	ZSTD_freeDStream(s);
	return s && !rc;
}

static const struct packer {
	const char *name;
	const char *magic;
	size_t magic_len;
	bool (*unpack)(const uint8_t *in, size_t len, struct unpacked *u); /* NULL: known, but not read */
} packers[] = {
	{ "xz", "\xfd\x37zXZ\0", 6, unpack_xz },
	{ "gzip", "\x1f\x8b\x08", 3, unpack_gzip },
	{ "zstd", "\x28\xb5\x2f\xfd", 4, unpack_zstd },
	{ "bzip2", "BZh", 3, NULL },
	{ "lzma", "\x5d\0\0", 3, NULL },
	{ "lzo", "\x89LZO", 4, NULL },
	{ "lz4", "\x02\x21\x4c\x18", 4, NULL },
};

int kernel_image_unpack(const uint8_t *file, size_t len, uint8_t **out, size_t *out_len, struct vm_error *err)
{
	uint64_t setup, offset, size;
	struct unpacked u = { 0 };

	*out = NULL;
	if (!kernel_image_is(file, len) || (file[VERSION] | file[VERSION + 1] << 8) < 0x208)
		return vm_fail(err, -EBADMSG, "not a bzImage of boot protocol 2.08 or later");
	setup = 512 * (1 + (file[SETUP_SECTS] ? file[SETUP_SECTS] : 4u));
	offset = setup + get32(file + PAYLOAD_OFFSET);
	size = get32(file + PAYLOAD_LENGTH);
	if (offset > len || size > len - offset)
		return vm_fail(err, -EBADMSG, "the bzImage is cut short: its payload would end after the file");
	for (size_t i = 0; i < sizeof(packers) / sizeof(*packers); i++) {
		const struct packer *p = &packers[i];

		if (size < p->magic_len || memcmp(file + offset, p->magic, p->magic_len))
			continue;
		if (!p->unpack)
			return vm_fail(err, -EBADMSG,
			               "the kernel is packed by %s, which is not understood; xz, gzip and zstd are",
			               p->name);
		if (!p->unpack(file + offset, (size_t)size, &u)) {
			free(u.data);
			return vm_fail(err, -EBADMSG,
			               "the kernel does not unpack: its %s data is damaged, or more than %u MiB",
			               p->name, UNPACKED_MAX >> 20);
		}
		*out = u.data;
		*out_len = u.len;
		return 0;
	}
	return vm_fail(err, -EBADMSG, "the kernel's payload is packed in an unknown way");
}
