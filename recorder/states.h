/*
 * states.h - the reader's side of checkpoints that a run can go on from: where they are, and what their pages hold.
 *
 * An index is built when the trace is opened and checked for gaps and order; everything else is verified when it is
 * loaded. Unpacked groups of pages are kept for a while: a restore asks for neighbours. Called by reader.c only.
 */
#ifndef RINGSIDE_RECORDER_STATES_H
#define RINGSIDE_RECORDER_STATES_H

#include "recorder/codec.h"
#include "recorder/db.h"

struct states;

/* All borrowed: they must outlive the states. */
int states_open(struct states **out, struct db *db, struct codec *codec, const char *path,
                const struct trace_meta *meta, struct vm_error *err);
void states_close(struct states *s); /* NULL is fine */

/* As the functions of trace.h that they stand behind. */
size_t states_count(const struct states *s);
void states_info(const struct states *s, size_t number, struct trace_checkpoint *out);
size_t states_before(const struct states *s, uint64_t icount);
uint64_t states_bytes(const struct states *s);
int states_load(struct states *s, size_t number, struct trace_state *out, struct vm_error *err);
int states_page(struct states *s, int64_t content, uint8_t *page, struct vm_error *err);

#endif
