/*
 * test_symbol_table.c - a kernel's symbols out of a System.map and out of made-up kernel images of both layouts of kallsyms, packed in each way; and the
 * ELF file they become, as symbols.h reads it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "profiler/symbol_table.h"
#include "profiler/symbols.h"

#define BASE 0xc1000000u
#define SYMBOLS 700u
#define IMAGE_MAX (1u << 20)

struct image {
	uint8_t *bytes;
	size_t len;
};

static void put(struct image *im, const void *bytes, size_t len)
{
	assert_true(im->len + len <= IMAGE_MAX);
	memcpy(im->bytes + im->len, bytes, len);
	im->len += len;
}

static void put32(struct image *im, uint32_t v)
{
	put(im, &v, 4);
}

static void align(struct image *im)
{
	while (im->len % 4)
		put(im, "", 1);
}

static size_t name_of(unsigned i, char out[300])
{
	if (i == 5) { /* long enough for two bytes of length */
		memset(out, 'x', 200);
		out[200] = 0;
		return 200;
	}
	return (size_t)sprintf(out, "symbol_%u", i);
}

static uint32_t offset_of(unsigned i)
{
	return 16 * i;
}

/* Token 1 stands for "symbol_", all others for themselves, as far as they can; NUL for something harmless. */
static void put_tokens(struct image *im)
{
	uint16_t index[256];
	size_t start = im->len;

	for (unsigned i = 0; i < 256; i++) {
		index[i] = (uint16_t)(im->len - start);
		if (i == 1)
			put(im, "symbol_", 8);
		else
			put(im, (char[2]){ i ? (char)i : '?', 0 }, 2);
	}
	align(im);
	put(im, index, sizeof(index));
	align(im);
}

static void put_names(struct image *im, uint32_t markers[8])
{
	size_t start = im->len;
	char name[300];

	for (unsigned i = 0; i < SYMBOLS; i++) {
		size_t n = name_of(i, name);
		uint8_t byte;

		if (i % 256 == 0)
			markers[i / 256] = (uint32_t)(im->len - start);
		if (n == 200) {
			put(im, (uint8_t[2]){ 0x80 | (201 & 0x7f), 201 >> 7 }, 2);
			put(im, "T", 1);
			put(im, name, n);
			continue;
		}
		byte = (uint8_t)(2 + n - 7);
		put(im, &byte, 1);
		put(im, i % 3 ? "T\1" : "d\1", 2);
		put(im, name + 7, n - 7);
	}
	align(im);
}

static struct image make_image(bool newer)
{
	struct image im = { .bytes = calloc(1, IMAGE_MAX) };
	uint32_t markers[8];

	assert_non_null(im.bytes);
	put(&im, "\177ELF and a kernel around it....", 32);
	for (unsigned i = 0; i < 1000; i++)
		put32(&im, 0x12345678u * i);
	if (!newer) {
		for (unsigned i = 0; i < SYMBOLS; i++)
			put32(&im, offset_of(i));
		put32(&im, BASE);
	}
	put32(&im, SYMBOLS);
	put_names(&im, markers);
	for (unsigned i = 0; i * 256 < SYMBOLS; i++)
		put32(&im, markers[i]);
	for (unsigned i = 0; newer && i < SYMBOLS; i++)
		put(&im, (uint8_t[3]){ (uint8_t)(i * 7), (uint8_t)(i * 13), 1 }, 3);
	align(&im);
	put_tokens(&im);
	if (newer) {
		for (unsigned i = 0; i < SYMBOLS; i++)
			put32(&im, offset_of(i));
		put32(&im, BASE);
	}
	put(&im, "and more", 8);
	return im;
}

static void check_table(const struct symbol_table *t)
{
	char name[300];

	assert_int_equal(t->count, SYMBOLS);
	for (unsigned i = 0; i < SYMBOLS; i++) {
		name_of(i, name);
		assert_string_equal(t->names + t->list[i].name, name);
		assert_int_equal(t->list[i].addr, BASE + offset_of(i));
		assert_int_equal(t->list[i].type, i == 5 || i % 3 ? 'T' : 'd');
	}
}

static void kallsyms(void **state)
{
	(void)state;
	for (int newer = 0; newer < 2; newer++) {
		struct image im = make_image(newer);
		struct symbol_table t = { 0 };
		struct vm_error err = { "" };

		symbol_table_read_kallsyms(&t, im.bytes, im.len, &err);
		assert_string_equal(err.text, "");
		check_table(&t);
		symbol_table_free(&t);
		free(im.bytes);
	}
}

/* Whatever is missing or wrong is an error or other symbols, never a crash. */
static void damaged_kallsyms(void **state)
{
	(void)state;
	for (int newer = 0; newer < 2; newer++) {
		struct image im = make_image(newer);
		struct vm_error err;
		uint32_t seed = 1;

		for (size_t len = 0; len < im.len; len += 97) {
			struct symbol_table t = { 0 };
			uint8_t *copy = malloc(len + 1); /* so that a sanitizer sees the end */

			assert_non_null(copy);
			memcpy(copy, im.bytes, len);
			symbol_table_read_kallsyms(&t, copy, len, &err);
			symbol_table_free(&t);
			free(copy);
		}
		for (unsigned i = 0; i < 300; i++) {
			struct symbol_table t = { 0 };
			size_t at = (seed = seed * 1103515245 + 12345) % im.len;

			im.bytes[at] ^= (uint8_t)(1u << seed % 8);
			symbol_table_read_kallsyms(&t, im.bytes, im.len, &err);
			symbol_table_free(&t);
		}
		free(im.bytes);
	}
}

/* ---- bzImage ----------------------------------------------------------------------------------------------- */

static size_t pack_xz(const struct image *im, uint8_t *out, size_t room)
{
	size_t n = 0;

	assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, im->bytes, im->len, out, &n, room), LZMA_OK);
	return n;
}

static size_t pack_gzip(const struct image *im, uint8_t *out, size_t room)
{
	z_stream s = { .next_in = im->bytes, .avail_in = (uInt)im->len, .next_out = out, .avail_out = (uInt)room };

	assert_int_equal(deflateInit2(&s, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&s, Z_FINISH), Z_STREAM_END);
	deflateEnd(&s);
	return room - s.avail_out;
}

static size_t pack_zstd(const struct image *im, uint8_t *out, size_t room)
{
	size_t n = ZSTD_compress(out, room, im->bytes, im->len, 1);

	assert_false(ZSTD_isError(n));
	return n;
}

/* Four bytes of size follow the payload, as the kernel's build leaves them. */
static struct image make_bzimage(const struct image *kernel,
                                 size_t (*pack)(const struct image *im, uint8_t *out, size_t room))
{
	struct image im = { .bytes = calloc(1, IMAGE_MAX), .len = 1024 };
	uint32_t size = (uint32_t)kernel->len, payload;

	assert_non_null(im.bytes);
	im.bytes[0x1f1] = 1;
	memcpy(im.bytes + 0x202, "HdrS\x0f\x02", 6);
	payload = (uint32_t)pack(kernel, im.bytes + 1024 + 64, IMAGE_MAX - 2048);
	im.len += 64 + payload;
	put32(&im, size);
	payload += 4;
	memcpy(im.bytes + 0x248, &(uint32_t){ 64 }, 4);
	memcpy(im.bytes + 0x24c, &payload, 4);
	return im;
}

static void packed_kernels(void **state)
{
	size_t (*const packs[])(const struct image *im, uint8_t *out, size_t room) = { pack_xz, pack_gzip, pack_zstd };
	struct image kernel = make_image(false);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct image im = make_bzimage(&kernel, packs[i]);
		struct vm_error err = { "" };
		uint8_t *out;
		size_t len;

		assert_true(kernel_image_is(im.bytes, im.len));
		assert_int_equal(kernel_image_unpack(im.bytes, im.len, &out, &len, &err), 0);
		assert_int_equal(len, kernel.len);
		assert_memory_equal(out, kernel.bytes, len);
		free(out);
		assert_true(kernel_image_unpack(im.bytes, im.len - 100, &out, &len, &err) < 0); /* cut short */
		im.bytes[1024 + 64 + 40] ^= 0xff;
		assert_true(kernel_image_unpack(im.bytes, im.len, &out, &len, &err) < 0 || len != kernel.len ||
		            memcmp(out, kernel.bytes, len));
		free(out);
		im.bytes[1024 + 64] ^= 0xff;
		assert_true(kernel_image_unpack(im.bytes, im.len, &out, &len, &err) < 0);
		free(im.bytes);
	}
	free(kernel.bytes);
}

/* ---- System.map and ELF ------------------------------------------------------------------------------------ */

static int read_map(struct symbol_table *t, const char *text)
{
	struct vm_error err;

	return symbol_table_read_map(t, (const uint8_t *)text, strlen(text), &err);
}

static void system_map(void **state)
{
	struct symbol_table t = { 0 };

	(void)state;
	assert_int_equal(
	        read_map(&t, "c0100000 T _text\nc0100010 t local [module]\r\nffffffffffffffff B big\nc0200000 D data"),
	        0);
	assert_int_equal(t.count, 3);
	assert_string_equal(t.names + t.list[1].name, "local");
	symbol_table_free(&t);
	assert_true(read_map(&t, "") < 0);
	assert_true(read_map(&t, "hello\n") < 0);
	assert_true(read_map(&t, "ffffffffffffffff B The real System.map is elsewhere\n") < 0);
	assert_true(read_map(&t, "123456789012345678901234567890 T x\n") < 0);
	symbol_table_free(&t);
}

static void elf_file(void **state)
{
	char path[] = "/tmp/ringside-symbols-XXXXXX";
	int fd = mkstemp(path);
	struct symbol_table t = { 0 };
	struct symbols *s;
	struct vm_error err = { "" };
	uint64_t offset;
	long i;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(
	        read_map(
	                &t,
	                "c0200000 D data\nc0100010 t second\nc0100000 T _text\nc0300000 T init\n00000010 A absolute\n"),
	        0);
	assert_int_equal(symbol_table_write_elf(&t, path, 0x1000000, &err), 0);
	assert_int_equal(symbols_open(&s, path, &err), 0);
	assert_int_equal(symbols_count(s), 3); /* code only */
	i = symbols_find(s, 0xc1100014, &offset);
	assert_true(i >= 0);
	assert_string_equal(symbols_name(s, i), "second");
	assert_int_equal(offset, 4);
	symbols_close(s);
	symbol_table_free(&t);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kallsyms),   cmocka_unit_test(damaged_kallsyms), cmocka_unit_test(packed_kernels),
		cmocka_unit_test(system_map), cmocka_unit_test(elf_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
