/*
 * codec.h - every value of a trace, packed and unpacked: message (schemas/trace.proto) in envelope (envelope.h) under
 * its key.
 *
 * The only file that knows protobuf. Pack functions append to a byte buffer and fail with -ENOMEM or -E2BIG only.
 * Unpack functions treat their bytes as hostile: 0, -ENOMEM, or -EBADMSG with a few words in *why (which database and
 * key, the caller knows). A codec belongs to one thread at a time.
 */
#ifndef RINGSIDE_RECORDER_CODEC_H
#define RINGSIDE_RECORDER_CODEC_H

#include "recorder/columns.h"
#include "recorder/envelope.h"
#include "recorder/trace.h"

#define KEY_HEADER "header"
#define KEY_SUMMARY "summary"
#define KEY_FORMAT "format"
#define SEQ_KEY_BYTES 8
#define PAGE_BYTES 4096
#define RUN_HASH_BYTES 16
#define RUN_PAGES_MAX 64

struct codec;
struct codec *codec_create(void); /* NULL: out of memory */
void codec_destroy(struct codec *c);

/* Keys of events, costs, checkpoints, console: big-endian. */
void seq_key(uint8_t key[SEQ_KEY_BYTES], uint64_t seq);
uint64_t seq_of_key(const uint8_t key[SEQ_KEY_BYTES]);

/* meta["format"]: the one value that every version reads the same way. No envelope: "ringside", u32 version, u32 0,
 * writer's name. */
int codec_pack_format(const char *writer, struct bytes *out);
/* `writer` gets the name, cut to size. */
int codec_unpack_format(const void *value, size_t len, uint32_t *version, char *writer, size_t size, const char **why);

int codec_pack_header(struct codec *c, const struct trace_meta *meta, struct bytes *out);
int codec_unpack_header(struct codec *c, const void *value, size_t len, struct trace_meta *meta, const char **why);

/* What the summary holds beyond struct trace_meta. */
struct summary_extra {
	uint64_t commits;
};
int codec_pack_summary(struct codec *c, const struct trace_meta *meta, const struct summary_extra *extra,
                       struct bytes *out);
int codec_unpack_summary(struct codec *c, const void *value, size_t len, struct trace_meta *meta,
                         struct summary_extra *extra, const char **why);

/* Consecutive guest pages, stored together under the hash of their contents. */
struct page_run {
	uint64_t first; /* page number */
	uint32_t count; /* 1..RUN_PAGES_MAX */
	uint8_t hash[RUN_HASH_BYTES];
};

struct checkpoint {
	uint64_t icount;
	uint8_t *state;
	size_t state_len;
	struct page_run *run; /* ascending, not overlapping; all other pages are zero */
	size_t runs;
};
int codec_pack_checkpoint(struct codec *c, uint64_t seq, const struct checkpoint *cp, struct bytes *out);
/* On success the caller frees with checkpoint_free. page_count: pages of guest RAM. */
int codec_unpack_checkpoint(struct codec *c, uint64_t seq, const void *value, size_t len, uint64_t page_count,
                            struct checkpoint *out, const char **why);
void checkpoint_free(struct checkpoint *cp);

/* What resume[seq] holds. codec_unpack_resume() allocates the arrays: free with resume_free. */
#define PAGE_CONTENT_MAX INT32_MAX
struct resume {
	uint64_t icount;
	uint8_t *state, *progress, *devices;
	size_t state_len, progress_len, devices_len;
	uint64_t *page;   /* guest pages, ascending */
	int64_t *content; /* numbers of their contents, 0..PAGE_CONTENT_MAX */
	size_t pages;
};
int codec_pack_resume(struct codec *c, uint64_t seq, const struct resume *r, struct bytes *out);
int codec_unpack_resume(struct codec *c, uint64_t seq, const void *value, size_t len, uint64_t page_count,
                        struct resume *out, const char **why);
void resume_free(struct resume *r);
/* The icount, not verified, for building an index. */
bool codec_peek_resume(const void *value, size_t len, uint64_t *icount);

#define PACK_PAGES_MAX 64
int codec_pack_pages(struct codec *c, uint64_t first, const uint8_t *pages, uint32_t count, struct bytes *out);
/* `pages` has room for count, which codec_peek_pages() gave: 1..PACK_PAGES_MAX. */
int codec_unpack_pages(struct codec *c, uint64_t first, const void *value, size_t len, uint8_t *pages, uint32_t count,
                       const char **why);
bool codec_peek_pages(const void *value, size_t len, uint32_t *count);

void run_hash(const uint8_t *pages, uint32_t count, uint8_t hash[RUN_HASH_BYTES]);
int codec_pack_run(struct codec *c, const struct page_run *run, const uint8_t *pages, struct bytes *out);
/* Checks length and hash of the contents before they are copied to `pages`, which has room for run->count. */
int codec_unpack_run(struct codec *c, const struct page_run *run, const void *value, size_t len, uint8_t *pages,
                     const char **why);

/* Readable without unpacking. */
struct chunk_head {
	uint32_t count;
	uint64_t first_icount, last_icount;
};
/* begin, add, ..., finish: one chunk. Add and finish again: the same chunk, longer. */
void codec_events_begin(struct codec *c, uint64_t first_icount, uint64_t clock_per_insn, uint64_t clock_per_fault);
int codec_events_add(struct codec *c, const struct event *ev);
int codec_events_finish(struct codec *c, uint64_t seq, uint64_t last_icount, struct bytes *out);
bool codec_peek_events(const void *value, size_t len, struct chunk_head *out);
/* `events` has room for TRACE_CHUNK_EVENTS. *blob gets what the events' blobs point into: free it after use. */
int codec_unpack_events(struct codec *c, uint64_t seq, const void *value, size_t len, struct event *events,
                        struct chunk_head *head, void **blob, const char **why);

int codec_pack_costs(struct codec *c, uint64_t seq, const struct event_cost *costs, uint32_t count, struct bytes *out);
int codec_unpack_costs(struct codec *c, uint64_t seq, const void *value, size_t len, struct event_cost *costs,
                       uint32_t count, const char **why);

struct console_record {
	uint64_t icount;
	uint32_t length;
	uint32_t stream; /* enum vm_stream */
};
#define CONSOLE_BATCH_MAX (1u << 20) /* most records or bytes in a batch */
int codec_pack_console(struct codec *c, uint64_t number, const struct console_record *records, size_t count,
                       const uint8_t *data, struct bytes *out);
typedef int console_fn(void *self, enum vm_stream stream, uint64_t icount, const uint8_t *bytes, size_t len);
/* Calls fn for each record; *stop gets fn's first nonzero return, which ends the walk. */
int codec_each_console(struct codec *c, uint64_t number, const void *value, size_t len, console_fn *fn, void *self,
                       int *stop, const char **why);

#endif
