/*
 * fuzz_trace.c - the trace reader against any bytes.
 *
 * The first byte chooses: a chunk's value, other values under their keys, columns' messages under a right checksum (which
 * random bytes would never have), or a whole file: structure check, open, walk, check.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "recorder/codec.h"
#include "recorder/dbcheck.h"
#include "recorder/print.h"
#include "recorder/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print_all(const struct event *events, uint32_t count)
{
	char line[EVENT_LINE_MAX];
	uint32_t i;

	for (i = 0; i < count && i < 64; i++)
		event_line(line, sizeof(line), i, &events[i]);
}

static void one_chunk(const uint8_t *data, size_t size)
{
	struct event *events = malloc(TRACE_CHUNK_EVENTS * sizeof(*events));
	struct codec *c = codec_create();
	struct chunk_head head;
	const char *why;
	void *blob;

	if (!codec_unpack_events(c, 0, data, size, events, &head, &blob, &why))
		print_all(events, head.count);
	free(blob);
	codec_destroy(c);
	free(events);
}

/* The checksum made right: what a forger would do. */
static void forged_value(const uint8_t *data, size_t size)
{
	static const enum content contents[] = { CONTENT_EVENTS, CONTENT_COSTS, CONTENT_CONSOLE, CONTENT_CHECKPOINT };
	struct envelope_in in = { .content = contents[data[0] % 4], .key_len = SEQ_KEY_BYTES };
	struct event_cost *costs = malloc(TRACE_CHUNK_EVENTS * sizeof(*costs));
	struct event *events = malloc(TRACE_CHUNK_EVENTS * sizeof(*events));
	struct envelope *e = envelope_create();
	struct codec *c = codec_create();
	uint8_t key[SEQ_KEY_BYTES] = { 0 };
	struct trace_meta meta = { 0 };
	struct summary_extra extra;
	struct bytes value = { 0 };
	struct checkpoint cp;
	struct chunk_head head;
	const char *why;
	void *blob = NULL;

	in.key = key;
	in.head_len = in.content == CONTENT_EVENTS ? 24 : 0;
	if (size >= 1 + in.head_len) {
		in.head = data + 1;
		in.payload = data + 1 + in.head_len;
		in.payload_len = size - 1 - in.head_len;
		if (!envelope_seal(e, &in, &value)) {
			if (!codec_unpack_events(c, 0, value.data, value.len, events, &head, &blob, &why))
				print_all(events, head.count);
			codec_unpack_costs(c, 0, value.data, value.len, costs, 1 + data[0] / 4, &why);
			if (!codec_unpack_checkpoint(c, 0, value.data, value.len, 512, &cp, &why))
				checkpoint_free(&cp);
		}
		in.content = data[0] & 0x80 ? CONTENT_HEADER : CONTENT_SUMMARY;
		in.key = data[0] & 0x80 ? KEY_HEADER : KEY_SUMMARY;
		in.key_len = strlen(in.key);
		in.head_len = 0;
		value.len = 0;
		if (!envelope_seal(e, &in, &value)) {
			codec_unpack_header(c, value.data, value.len, &meta, &why);
			codec_unpack_summary(c, value.data, value.len, &meta, &extra, &why);
		}
	}
	free(blob);
	bytes_free(&value);
	codec_destroy(c);
	envelope_destroy(e);
	free(events);
	free(costs);
}

static int ignore(void *self, enum vm_stream stream, uint64_t icount, const uint8_t *bytes, size_t len)
{
	(void)self;
	(void)stream;
	(void)icount;
	return len && bytes[0] == 0xff;
}

static void whole_file(const uint8_t *data, size_t size)
{
	int fd = memfd_create("trace", MFD_CLOEXEC);
	struct trace_reader *r;
	struct vm_error err;
	uint64_t map_size;
	char path[64];

	if (fd < 0)
		abort();
	if (write(fd, data, size) == (ssize_t)size) {
		dbcheck_image(data, size, &map_size, &err);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (!trace_reader_open(&r, path, &err)) {
			trace_reader_check(r, NULL, NULL, &err);
			trace_console_each(r, ignore, NULL, &err);
			trace_reader_close(r);
		}
	}
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	if (dbcheck_looks_like(data, size))
		whole_file(data, size); /* so that a trace as it is can be a seed */
	else if (data[0] % 4 == 0)
		whole_file(data + 1, size - 1);
	else if (data[0] % 4 == 1)
		one_chunk(data + 1, size - 1);
	else
		forged_value(data + 1, size - 1);
	return 0;
}
