/*
 * fuzz_trace.c - the trace reader against any bytes.
 *
 * The first byte chooses: a chunk's value, other values under their keys, columns' messages under a right checksum
 * (which random bytes would never have), or a whole file: structure check, open, walk, check.
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
#include "recorder/samples.h"
#include "recorder/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print_all(const struct event *events, uint32_t count)
{
	char line[EVENT_LINE_MAX];
	uint32_t i;

	for (i = 0; i < count && i < 64; i++)
		event_line(line, sizeof(line), i, &events[i]);
}

/* Made once: they are big, and meant to be used again. */
struct tools {
	struct codec *codec;
	struct envelope *envelope;
	struct event *events;
	struct event_cost *costs;
};

static const struct tools *get_tools(void)
{
	static struct tools t;

	if (!t.codec) {
		t.codec = codec_create();
		t.envelope = envelope_create();
		t.events = malloc(TRACE_CHUNK_EVENTS * sizeof(*t.events));
		t.costs = malloc(TRACE_CHUNK_EVENTS * sizeof(*t.costs));
	}
	if (!t.codec || !t.envelope || !t.events || !t.costs)
		abort();
	return &t;
}

static void one_chunk(const uint8_t *data, size_t size)
{
	const struct tools *t = get_tools();
	struct chunk_head head;
	const char *why;
	void *blob;

	if (!codec_unpack_events(t->codec, 0, data, size, t->events, &head, &blob, &why))
		print_all(t->events, head.count);
	free(blob);
}

/* Seals the payload as `in` says and gives the value to whoever unpacks such. */
static void unpack_forged(const struct envelope_in *in)
{
	const struct tools *t = get_tools();
	struct summary_extra extra;
	struct trace_meta meta = { 0 };
	struct bytes value = { 0 };
	struct checkpoint cp;
	struct chunk_head head;
	const char *why;
	void *blob = NULL;

	if (envelope_seal(t->envelope, in, &value))
		return;
	if (in->content == CONTENT_EVENTS &&
	    !codec_unpack_events(t->codec, 0, value.data, value.len, t->events, &head, &blob, &why))
		print_all(t->events, head.count);
	if (in->content == CONTENT_COSTS)
		codec_unpack_costs(t->codec, 0, value.data, value.len, t->costs, (uint32_t)in->payload_len, &why);
	if (in->content == CONTENT_CHECKPOINT &&
	    !codec_unpack_checkpoint(t->codec, 0, value.data, value.len, 512, &cp, &why))
		checkpoint_free(&cp);
	if (in->content == CONTENT_HEADER)
		codec_unpack_header(t->codec, value.data, value.len, &meta, &why);
	if (in->content == CONTENT_SUMMARY)
		codec_unpack_summary(t->codec, value.data, value.len, &meta, &extra, &why);
	free(blob);
	bytes_free(&value);
}

/* The checksum made right: what a forger would do. */
static void forged_value(const uint8_t *data, size_t size)
{
	static const struct {
		enum content content;
		const char *key;
		size_t key_len, head_len;
	} kinds[] = {
		{ CONTENT_EVENTS, "\0\0\0\0\0\0\0", 8, 24 },    { CONTENT_COSTS, "\0\0\0\0\0\0\0", 8, 0 },
		{ CONTENT_CHECKPOINT, "\0\0\0\0\0\0\0", 8, 0 }, { CONTENT_HEADER, KEY_HEADER, 6, 0 },
		{ CONTENT_SUMMARY, KEY_SUMMARY, 7, 0 },
	};
	unsigned i = data[0] % 5;

	if (size < 1 + kinds[i].head_len || size - 1 - kinds[i].head_len > TRACE_CHUNK_EVENTS)
		return;
	unpack_forged(&(struct envelope_in){ .content = kinds[i].content,
	                                     .key = kinds[i].key,
	                                     .key_len = kinds[i].key_len,
	                                     .head = data + 1,
	                                     .head_len = kinds[i].head_len,
	                                     .payload = data + 1 + kinds[i].head_len,
	                                     .payload_len = size - 1 - kinds[i].head_len });
}

static int ignore(void *self, enum vm_stream stream, uint64_t icount, const uint8_t *bytes, size_t len)
{
	(void)self;
	(void)stream;
	(void)icount;
	return len && bytes[0] == 0xff;
}

/* What was measured again, and every chain of callers to its root. */
static void read_samples(struct trace_reader *r)
{
	uint64_t events = trace_reader_meta(r)->events;
	struct samples *s;
	struct vm_error err;

	if (samples_open(&s, r, &err) <= 0)
		return;
	for (uint64_t seq = 0; seq < events && seq < 100000; seq++) {
		uint32_t node = samples_caller(s, seq);

		samples_at(s, seq);
		while (node)
			samples_node(s, node, &node);
	}
	samples_close(s);
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
			read_samples(r);
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
