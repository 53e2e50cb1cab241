/*
 * foreign.c - foreign TRACE MAKER [EVENT]: rewrites a trace's header to say that the recording host's processor was by MAKER; "" takes it out. With EVENT,
 * one of the trace's first chunk, the first fault from there on is also said to have happened elsewhere: then what this host does diverges from the trace,
 * as it may from one of a host whose flags differ.
 *
 * For tests/check/24-maker.sh, which has no such host.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/codec.h"
#include "recorder/db.h"

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "foreign: %s\n", what);
	exit(1);
}

static struct trace_meta read_meta(const char *path)
{
	struct trace_reader *reader;
	struct trace_meta meta;
	struct vm_error err;

	if (trace_reader_open(&reader, path, &err))
		fail(err.text);
	meta = *trace_reader_meta(reader);
	trace_reader_close(reader);
	return meta;
}

/* The trace's first events, the first fault from number `at` on being at another address. */
static void change_events(struct codec *c, const char *path, const struct trace_meta *meta, uint64_t at, struct bytes *out)
{
	struct event *events = calloc(TRACE_CHUNK_EVENTS, sizeof(*events));
	uint8_t key[SEQ_KEY_BYTES] = { 0 };
	struct chunk_head head;
	const char *why = "the first chunk is not there";
	const void *value;
	struct vm_error err;
	struct db *db;
	size_t len;
	void *blob;

	if (db_open(&db, path, &err))
		fail(err.text);
	if (!events || db_get(db, DB_EVENTS, key, sizeof(key), &value, &len, NULL) <= 0 ||
	    codec_unpack_events(c, 0, value, len, events, &head, &blob, &why))
		fail(why);
	while (at < head.count && events[at].kind != EV_FAULT)
		at++;
	if (at >= head.count)
		fail("no fault so late in the first chunk");
	events[at].rip ^= 1;
	codec_events_begin(c, head.first_icount, meta->config.ns_per_insn, meta->config.ns_per_fault);
	for (uint32_t i = 0; i < head.count; i++)
		if (codec_events_add(c, &events[i]))
			fail("out of memory");
	if (codec_events_finish(c, 0, head.last_icount, out))
		fail("out of memory");
	db_close(db);
	free(events);
	free(blob);
}

static void store(const char *path, const struct bytes *header, const struct bytes *events)
{
	uint8_t key[SEQ_KEY_BYTES] = { 0 };
	const struct db_put puts[] = {
		{ DB_META, false, KEY_HEADER, sizeof(KEY_HEADER) - 1, header->data, header->len },
		{ DB_EVENTS, false, key, sizeof(key), events->data, events->len },
	};
	struct vm_error err;
	struct db *db;

	if (db_extend(&db, path, &err) || db_commit(db, puts, events->len ? 2 : 1, &err))
		fail(err.text);
	db_close(db);
}

int main(int argc, char **argv)
{
	struct codec *c = codec_create();
	struct bytes header = { 0 }, events = { 0 };
	struct trace_meta meta;

	if (argc < 3 || strlen(argv[2]) >= sizeof(meta.host_maker))
		fail("TRACE MAKER [EVENT]");
	meta = read_meta(argv[1]);
	strcpy(meta.host_maker, argv[2]);
	if (!c || codec_pack_header(c, &meta, &header))
		fail("out of memory");
	if (argc > 3)
		change_events(c, argv[1], &meta, strtoull(argv[3], NULL, 0), &events);
	store(argv[1], &header, &events);
	bytes_free(&header);
	bytes_free(&events);
	codec_destroy(c);
	return 0;
}
