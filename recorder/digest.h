/*
 * digest.h - the trace digest: one number that two recordings of the same deterministic run have in common.
 *
 * It is XXH3-64 over a canonical little-endian serialisation of, in order: the deterministic part of the header,
 * checkpoint 0, and every event. It knows nothing of chunks: those are cut by the host's clock. Left out are the
 * writer, the engine (a trace from one replays on another), file names, dates, the host, costs, console bytes (they
 * follow from the events). Called by the writer as it packs and by trace_reader_check.
 */
#ifndef RINGSIDE_RECORDER_DIGEST_H
#define RINGSIDE_RECORDER_DIGEST_H

#include "recorder/trace.h"

struct digest;
struct digest *digest_create(void); /* NULL: out of memory */
void digest_destroy(struct digest *d);

void digest_header(struct digest *d, const struct trace_meta *meta);
/* Checkpoint 0: its registers, then each page that is not all zero, ascending. (How pages were grouped into runs does
 * not matter.) */
void digest_state(struct digest *d, const uint8_t *state, size_t state_len);
void digest_page(struct digest *d, uint64_t number, const uint8_t *page);
#define DIGEST_PAGE_BYTES 4096
void digest_event(struct digest *d, const struct event *ev);
/* The digest of everything so far; more may follow. */
uint64_t digest_value(struct digest *d);

#endif
