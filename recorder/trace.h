/*
 * trace.h - a trace: one LMDB file that holds everything a replay needs and nothing from outside.
 *
 * Writer and reader of the format live side by side in this folder; schemas/trace.proto states its validity rules.
 * A trace is untrusted input: every reader function may return -EBADMSG with a message naming the database and key.
 * Named databases: meta, events, costs, checkpoints, pages, console (see recorder/FORMAT.md).
 */
#ifndef RINGSIDE_RECORDER_TRACE_H
#define RINGSIDE_RECORDER_TRACE_H

#include "vmm/event.h"
#include "vmm/vm.h"

#define TRACE_FORMAT_VERSION 4
#define TRACE_FORMAT_OLDEST 1 /* that can still be read */

struct trace_meta_file { /* an input file of the recording: told, not needed */
	char role[16];   /* kernel, initrd, module */
	char name[256];  /* base name */
	uint64_t bytes;
	uint64_t hash; /* XXH3-64 */
};

#define TRACE_MAX_FILES 16

/* What the recording host charges for something, measured before the first instruction: cycles of its time stamp counter. */
struct trace_host_cost {
	char name[32]; /* "fault_round_trip" */
	uint64_t min, median, p95, samples;
};
#define TRACE_MAX_HOST_COSTS 16

/* The header, committed before the first instruction; and the summary, rewritten at each commit. */
struct trace_meta {
	uint32_t format_version;
	char writer[64]; /* program and version that wrote it */
	char engine[16]; /* "interp" */
	char cpu_model[32];
	struct vm_config config;
	char command_line[4096]; /* guest's */
	uint32_t file_count;
	struct trace_meta_file files[TRACE_MAX_FILES];
	int64_t created; /* seconds since 1970 UTC; not part of the digest */
	char host[128];  /* host processor; not part of the digest */
	/* Who made it, "" unknown; printable. Not part of the digest: see maker.h for what depends on it all the same. */
	char host_maker[16];
	uint64_t tsc_hz; /* host cycle counter's frequency, 0 unknown; for cost columns */
	uint32_t host_cost_count;
	struct trace_host_cost host_costs[TRACE_MAX_HOST_COSTS]; /* not part of the digest */

	/* summary, valid up to the last commit */
	bool complete;        /* an EV_END was committed */
	uint64_t events;      /* committed events */
	uint64_t icount;      /* icount of the last committed event */
	uint64_t digest;      /* XXH3-64 chain over all deterministic columns of all committed chunks and the header's
	                                 deterministic part: equal for two recordings of the same deterministic run */
	uint64_t event_bytes; /* stored bytes of event chunks (compressed, headers included) */
	uint64_t cost_bytes;
	uint64_t run_ns; /* host wall time of the run so far */
	uint64_t console_bytes;
	uint64_t pack_ns;            /* host processor time of the packing thread so far: beside run_ns, not in it */
	struct vm_counters counters; /* at the end of the run */
	bool has_final;              /* the two below are set */
	uint64_t final_registers, final_memory; /* the guest's digests after the last event */
};

/* ---- Writer ------------------------------------------------------------------------------------------------ */

/*
 * A checkpoint that a run can go on from is stored at an EV_CHECKPOINT when so many instructions, or events that take as long to replay, have passed since the
 * one before: two seconds of the interpreter's time, so that no icount is further than that from a checkpoint. A dear one waits up to three times as long.
 */
#define TRACE_CHECKPOINT_SPACING 400000000ull
#define TRACE_CHECKPOINT_PERCENT 20
#define TRACE_CHECKPOINT_FLOOR (48ull << 20)
#define TRACE_CHECKPOINT_LEAST (1ull << 20) /* granted under any budget but none: a young trace has no percents yet */

struct trace_writer;

struct trace_writer_options {
	bool overwrite;     /* an existing file is replaced; otherwise -EEXIST */
	uint64_t map_size;  /* initial LMDB map in bytes; grows by itself; 0 = default */
	unsigned commit_ms; /* commit at least this often; 0 = default 100 */
	/* Percent by which checkpoints may make the trace grow; 0 = default: TRACE_CHECKPOINT_PERCENT, or TRACE_CHECKPOINT_FLOOR
	 * bytes where that is more; negative: none are stored. */
	int checkpoint_budget;
	uint64_t checkpoint_spacing; /* instructions between them; 0 = default TRACE_CHECKPOINT_SPACING */
};

/* Create the file, store header and the VM's present memory and registers as checkpoint 0, commit, start the packing thread.
 * The writer reads meta's header part only. */
int trace_writer_create(struct trace_writer **out, const char *path, const struct trace_meta *meta, struct vm *vm,
                        const struct trace_writer_options *options, struct vm_error *err);
/* The observer to plug into the VM. Appends to an in-memory chunk; blocks only when the packing thread is a bounded amount behind.
 * event() returns false once the writer has failed (disk full): the VM then stops and trace_writer_close tells why. */
void trace_writer_observer(struct trace_writer *w, struct vm_observer *out);
/* Console bytes, stamped with the icount of the last event appended so far. */
void trace_writer_console(struct trace_writer *w, enum vm_stream stream, const uint8_t *bytes, size_t len);
/* So far, for progress display; callable from the vCPU thread at any time, cheap. */
struct trace_writer_stats {
	uint64_t events, bytes, chunks, commits;
	uint64_t pack_ns;                       /* CPU time of the packing thread */
	uint64_t checkpoints, checkpoint_bytes; /* stored after the first, and what they took */
};
void trace_writer_get_stats(const struct trace_writer *w, struct trace_writer_stats *out);
/* Flush, commit, free, also after a failure: then returns that failure; what was committed before stays replayable.
 * vm may be NULL; otherwise final counters and digests are stored. meta_out (may be NULL) gets the final summary. */
int trace_writer_close(struct trace_writer *w, struct vm *vm, struct trace_meta *meta_out, struct vm_error *err);

/* ---- Reader ------------------------------------------------------------------------------------------------ */

struct trace_reader;

/* Checks that it is a trace, and its version, before anything else is looked at. Never writes to the file. */
int trace_reader_open(struct trace_reader **out, const char *path, struct vm_error *err);
void trace_reader_close(struct trace_reader *r);
const struct trace_meta *trace_reader_meta(const struct trace_reader *r);
const char *trace_reader_path(const struct trace_reader *r); /* as it was opened */
struct db *trace_reader_db(struct trace_reader *r);          /* for this folder's files */

/*
 * Checkpoints that a run can go on from, ascending. Number 0 is the state before the first instruction; old traces have
 * no others. Each lists the pages that may differ from the one before it, by the numbers of their contents: equal
 * numbers are equal contents; 0 is the page of zeros.
 */
struct trace_checkpoint {
	uint64_t seq;    /* number of the next event */
	uint64_t icount; /* not verified before the state is loaded */
};
size_t trace_checkpoint_count(const struct trace_reader *r);
void trace_checkpoint_info(const struct trace_reader *r, size_t number, struct trace_checkpoint *out);
/* The last checkpoint at or before this icount. */
size_t trace_checkpoint_before(const struct trace_reader *r, uint64_t icount);
/* Stored bytes of all checkpoints after the first. */
uint64_t trace_checkpoint_bytes(const struct trace_reader *r);

struct trace_state {
	uint64_t seq, icount;
	uint8_t *state, *progress, *devices; /* progress (in number 0) and devices may be absent: NULL, 0 */
	size_t state_len, progress_len, devices_len;
	uint64_t *page; /* ascending, below the number of pages of RAM */
	int64_t *content;
	size_t pages;
};
/* On success free with trace_state_free. */
int trace_state_load(struct trace_reader *r, size_t number, struct trace_state *out, struct vm_error *err);
void trace_state_free(struct trace_state *s);
/* 4096 bytes of page contents by number; any number may be asked for. Neighbours are cheap. */
int trace_page_load(struct trace_reader *r, int64_t content, uint8_t *page, struct vm_error *err);
/* Set up a freshly created VM (made with meta->config) from a checkpoint. devices (may be NULL) gets a copy of the
 * devices' state, for free(); NULL when there is none. */
int trace_reader_restore_at(struct trace_reader *r, size_t number, struct vm *vm, uint8_t **devices,
                            size_t *devices_len, struct vm_error *err);

/* Set up a freshly created VM (made with meta->config) from checkpoint 0: RAM and registers. */
int trace_reader_restore(struct trace_reader *r, struct vm *vm, struct vm_error *err);

/* Sequential reading with random access: a cursor. */
struct trace_cursor;
int trace_cursor_open(struct trace_cursor **out, struct trace_reader *r, struct vm_error *err);
void trace_cursor_close(struct trace_cursor *c);
/* The next event: 1 and *ev filled (blob borrowed until the next call), 0 at the end of the trace, or a negative errno.
 * cost may be NULL; when the trace's cost columns are absent or damaged it is zeroed and trace_cursor_costs_ok() is false. */
int trace_cursor_next(struct trace_cursor *c, struct event *ev, struct event_cost *cost, struct vm_error *err);
/* The event that trace_cursor_next would return, without moving; borrowed until the cursor moves. And past it. */
int trace_cursor_peek(struct trace_cursor *c, const struct event **ev, struct vm_error *err);
void trace_cursor_pass(struct trace_cursor *c);
/* icount at or before which the next asynchronous event (interrupt, input, marker, DMA, checkpoint, end) at or after the cursor
 * may come: exact when it lies in the present chunk, otherwise the chunk's last icount. UINT64_MAX at the end of the trace. */
uint64_t trace_cursor_async_icount(struct trace_cursor *c);
/* There is no string I/O (INS, OUTS) from the cursor to the chunk's end. False at the end of the trace. */
bool trace_cursor_no_strings(struct trace_cursor *c);
/* Move to event `seq` (0-based), or to the first event with icount >= icount. */
int trace_cursor_seek(struct trace_cursor *c, uint64_t seq, struct vm_error *err);
int trace_cursor_seek_icount(struct trace_cursor *c, uint64_t icount, struct vm_error *err);
/* Number of the event that trace_cursor_next would return. */
uint64_t trace_cursor_seq(const struct trace_cursor *c);
bool trace_cursor_costs_ok(const struct trace_cursor *c);

/* Walk console output in order; return nonzero from fn to stop (passed back). */
int trace_console_each(struct trace_reader *r,
                       int (*fn)(void *self, enum vm_stream stream, uint64_t icount, const uint8_t *bytes, size_t len),
                       void *self, struct vm_error *err);

/* Read everything there is, verify checksums, digests, order and references: 0 or the first error. progress may be NULL (0..1). */
int trace_reader_check(struct trace_reader *r, void (*progress)(void *self, double done), void *self,
                       struct vm_error *err);

#endif
