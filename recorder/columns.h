/*
 * columns.h - events as columns of small numbers.
 *
 * An event stream is very repetitive: the same few instructions at the same few places, in the same order. Both sides
 * of the format run the same predictors over it; what is stored is how far each prediction was off, which is mostly
 * zero. Compression proper (zstd) comes after. Called by codec.c, which packs the columns into a message; knows
 * nothing of protobuf.
 */
#ifndef RINGSIDE_RECORDER_COLUMNS_H
#define RINGSIDE_RECORDER_COLUMNS_H

#include "vmm/event.h"
#include "vmm/vm.h"

#define TRACE_CHUNK_EVENTS 32768u       /* most events in a chunk */
#define TRACE_BLOB_MAX (1u << 20)       /* longest blob of one event */
#define TRACE_CHUNK_BLOB_MAX (8u << 20) /* most blob bytes in a chunk */

/* The predictors' memory, for one chunk at a time. */
struct model;
struct model *model_create(void); /* NULL: out of memory */
void model_destroy(struct model *m);

/* See message EventChunk in schemas/trace.proto. A column of per-event numbers has `count` entries, or none: all
 * zero. */
struct columns {
	uint32_t count;
	uint64_t first_icount;
	uint64_t clock_per_insn, clock_per_fault;
	uint64_t *tuple;
	size_t tuples;
	uint32_t *site_tuple;
	int64_t *site_rip;
	size_t sites;
	uint32_t *step;
	int64_t *icount, *addr, *value, *error;
	size_t icounts, addrs, values, errors;
	uint32_t *blob_len;
	size_t blob_lens;
	uint8_t *blob;
	size_t blob_bytes;
};

/* Encoding: begin, add each event in order (icount never decreasing, blobs within the limits), end. `end` gives
 * borrowed arrays that stay valid until the next call; more events may be added after it. -ENOMEM from add. */
void columns_begin(struct model *m, uint64_t first_icount, uint64_t clock_per_insn, uint64_t clock_per_fault);
int columns_add(struct model *m, const struct event *ev);
void columns_end(struct model *m, struct columns *out);

/* Decoding, of numbers that may be hostile: `events` has room for in->count, which is 1..TRACE_CHUNK_EVENTS; all
 * arrays of `in` have the stated lengths. Blobs point into in->blob. 0, or -EBADMSG and *why. */
int columns_decode(struct model *m, const struct columns *in, struct event *events, const char **why);

#endif
