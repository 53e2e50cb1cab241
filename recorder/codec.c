/*
 * codec.c - see codec.h. Pack: fill a message whose arrays are borrowed, pack it into scratch, seal it. Unpack: open
 * the envelope, look at the message's shape (wire.h), unpack, check every number, hand over.
 */
#include "recorder/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/wire.h"
#include "schemas/trace.pb-c.h"
#include "vmm/bug.h"
#include "vmm/digest.h"
#include "vmm/snapshot.h"

#define FORMAT_MAGIC "ringside"
#define HEADER_RAW_MAX 65536
#define CHUNK_RAW_MAX (32u << 20)
#define CHUNK_HEAD_BYTES 24
#define PLANES (PH_MAX * 4)
#define OLD_PLANES 24 /* formats 1 and 2 */

struct codec {
	struct envelope *envelope;
	struct model *model;
	struct bytes scratch; /* packed message */
	struct envelope_out opened;
	uint8_t *planes; /* PLANES * TRACE_CHUNK_EVENTS */
};

struct codec *codec_create(void)
{
	struct codec *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->envelope = envelope_create();
	c->model = model_create();
	c->planes = malloc((size_t)PLANES * TRACE_CHUNK_EVENTS);
	if (c->envelope && c->model && c->planes)
		return c;
	codec_destroy(c);
	return NULL;
}

void codec_destroy(struct codec *c)
{
	if (!c)
		return;
	envelope_destroy(c->envelope);
	model_destroy(c->model);
	free(c->planes);
	bytes_free(&c->scratch);
	bytes_free(&c->opened.payload);
	free(c);
}

void seq_key(uint8_t key[SEQ_KEY_BYTES], uint64_t seq)
{
	seq = __builtin_bswap64(seq);
	memcpy(key, &seq, sizeof(seq));
}

uint64_t seq_of_key(const uint8_t key[SEQ_KEY_BYTES])
{
	uint64_t seq;

	memcpy(&seq, key, sizeof(seq));
	return __builtin_bswap64(seq);
}

static int bad(const char **why, const char *text)
{
	*why = text;
	return -EBADMSG;
}

/* ---- Messages in envelopes --------------------------------------------------------------------------------- */

struct place {
	enum content content;
	const void *key;
	size_t key_len;
};

static int seal(struct codec *c, struct place at, const void *head, size_t head_len, const ProtobufCMessage *message,
                bool packed, struct bytes *out)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	struct envelope_in in = { .content = at.content,
		                  .key = at.key,
		                  .key_len = at.key_len,
		                  .head = head,
		                  .head_len = head_len,
		                  .payload_len = len,
		                  .compress = packed,
		                  .sections = packed };

	c->scratch.len = 0;
	if (!bytes_reserve(&c->scratch, len + 1))
		return -ENOMEM;
	protobuf_c_message_pack(message, c->scratch.data);
	in.payload = c->scratch.data;
	return envelope_seal(c->envelope, &in, out);
}

struct message_type {
	const ProtobufCMessageDescriptor *descriptor;
	const uint8_t *shape;
	unsigned fields;
	size_t raw_max;
};

/* *out is freed with protobuf_c_message_free_unpacked(). */
static int open_message(struct codec *c, struct place at, const void *value, size_t len,
                        const struct message_type *type, void *out, const char **why)
{
	ProtobufCMessage *message;
	int rc;

	rc = envelope_open(c->envelope, at.content, at.key, at.key_len, value, len, type->raw_max, &c->opened, why);
	if (rc)
		return rc;
	if (!wire_has_shape(c->opened.payload.data, c->opened.payload.len, type->shape, type->fields))
		return bad(why, "not a well-formed message");
	message = protobuf_c_message_unpack(type->descriptor, NULL, c->opened.payload.len, c->opened.payload.data);
	if (!message)
		return bad(why, "the message does not unpack");
	memcpy(out, &message, sizeof(message));
	return 0;
}

static void free_message(void *message)
{
	protobuf_c_message_free_unpacked(message, NULL);
}

static ProtobufCBinaryData text(const char *s)
{
	return (ProtobufCBinaryData){ .len = strlen(s), .data = (uint8_t *)(uintptr_t)s };
}

/* A text that fits, without NUL bytes. */
static bool get_text(char *out, size_t size, const ProtobufCBinaryData *in)
{
	if (in->len >= size || (in->len && memchr(in->data, 0, in->len)))
		return false;
	memset(out, 0, size);
	if (in->len)
		memcpy(out, in->data, in->len);
	return true;
}

/* The same for what is shown as it is. */
static bool get_printable(char *out, size_t size, const ProtobufCBinaryData *in)
{
	for (size_t i = 0; i < in->len; i++)
		if (in->data[i] < ' ' || in->data[i] > '~')
			return false;
	return get_text(out, size, in);
}

/* ---- meta["format"] ---------------------------------------------------------------------------------------- */

int codec_pack_format(const char *writer, struct bytes *out)
{
	const uint32_t numbers[2] = { TRACE_FORMAT_VERSION, 0 };

	if (bytes_append(out, FORMAT_MAGIC, 8) && bytes_append(out, numbers, 8) &&
	    bytes_append(out, writer, strlen(writer)))
		return 0;
	return -ENOMEM;
}

int codec_unpack_format(const void *value, size_t len, uint32_t *version, char *writer, size_t size, const char **why)
{
	const uint8_t *v = value;
	size_t i;

	if (len < 16 || memcmp(v, FORMAT_MAGIC, 8))
		return bad(why, "wrong magic");
	memcpy(version, v + 8, 4);
	for (i = 0; i + 1 < size && i < len - 16; i++)
		writer[i] = v[16 + i] >= 0x20 && v[16 + i] < 0x7f ? (char)v[16 + i] : '?';
	writer[i] = 0;
	return 0;
}

/* ---- meta["header"] ---------------------------------------------------------------------------------------- */

static const struct place header_place = { CONTENT_HEADER, KEY_HEADER, sizeof(KEY_HEADER) - 1 };
static const uint8_t header_shape[] = { WIRE_SCALAR,   WIRE_BYTES,  WIRE_BYTES, WIRE_BYTES,  WIRE_BYTES,    WIRE_BYTES,
	                                WIRE_REPEATED, WIRE_SCALAR, WIRE_BYTES, WIRE_SCALAR, WIRE_REPEATED, WIRE_BYTES };

int codec_pack_header(struct codec *c, const struct trace_meta *meta, struct bytes *out)
{
	Trace__InputFile files[TRACE_MAX_FILES], *file_list[TRACE_MAX_FILES];
	Trace__HostCost costs[TRACE_MAX_HOST_COSTS], *cost_list[TRACE_MAX_HOST_COSTS];
	Trace__Config config = TRACE__CONFIG__INIT;
	Trace__Header h = TRACE__HEADER__INIT;
	uint32_t i;

	BUG_ON(meta->file_count > TRACE_MAX_FILES || meta->host_cost_count > TRACE_MAX_HOST_COSTS);
	config.memory = meta->config.memory;
	config.model = meta->config.model;
	config.policy = meta->config.policy;
	config.engine = meta->config.engine;
	config.trap = meta->config.trap;
	config.ns_per_insn = meta->config.ns_per_insn;
	config.ns_per_fault = meta->config.ns_per_fault;
	config.checkpoint_interval = meta->config.checkpoint_interval;
	config.limit = meta->config.limit;
	for (i = 0; i < meta->file_count; i++) {
		trace__input_file__init(&files[i]);
		files[i].role = text(meta->files[i].role);
		files[i].name = text(meta->files[i].name);
		files[i].bytes = meta->files[i].bytes;
		files[i].hash = meta->files[i].hash;
		file_list[i] = &files[i];
	}
	for (i = 0; i < meta->host_cost_count; i++) {
		const struct trace_host_cost *from = &meta->host_costs[i];

		trace__host_cost__init(&costs[i]);
		costs[i].name = text(from->name);
		costs[i].min = from->min;
		costs[i].median = from->median;
		costs[i].p95 = from->p95;
		costs[i].samples = from->samples;
		cost_list[i] = &costs[i];
	}
	h.n_host_costs = meta->host_cost_count;
	h.host_costs = cost_list;
	h.format_version = TRACE_FORMAT_VERSION;
	h.writer = text(meta->writer);
	h.engine = text(meta->engine);
	h.cpu_model = text(meta->cpu_model);
	h.config = &config;
	h.command_line = text(meta->command_line);
	h.n_files = meta->file_count;
	h.files = file_list;
	h.created = meta->created;
	h.host = text(meta->host);
	h.host_maker = text(meta->host_maker);
	h.tsc_hz = meta->tsc_hz;
	return seal(c, header_place, NULL, 0, &h.base, false, out);
}

static int take_config(const Trace__Config *in, struct vm_config *out, const char **why)
{
	if (!in || in->memory % PAGE_BYTES || in->memory < VM_MEMORY_MIN || in->memory > VM_MEMORY_MAX)
		return bad(why, "memory size out of range");
	if (in->model > MODEL_0_3_3 || in->policy > POLICY_LEAK || in->engine > ENGINE_TRANSLATE ||
	    in->trap > TRAP_FAULT || !in->ns_per_insn)
		return bad(why, "machine configuration out of range");
	out->memory = in->memory;
	out->model = (enum ring_model)in->model;
	out->policy = (enum sensitive_policy)in->policy;
	out->engine = (enum engine_kind)in->engine;
	out->trap = (enum trap_kind)in->trap;
	out->ns_per_insn = in->ns_per_insn;
	out->ns_per_fault = in->ns_per_fault;
	out->checkpoint_interval = in->checkpoint_interval;
	out->limit = in->limit;
	return 0;
}

static bool take_host_costs(const Trace__Header *h, struct trace_meta *meta)
{
	if (h->n_host_costs > TRACE_MAX_HOST_COSTS)
		return false;
	meta->host_cost_count = (uint32_t)h->n_host_costs;
	for (size_t i = 0; i < h->n_host_costs; i++) {
		const Trace__HostCost *from = h->host_costs[i];
		struct trace_host_cost *to = &meta->host_costs[i];

		if (!get_text(to->name, sizeof(to->name), &from->name))
			return false;
		to->min = from->min;
		to->median = from->median;
		to->p95 = from->p95;
		to->samples = from->samples;
	}
	return true;
}

static int take_header(const Trace__Header *h, struct trace_meta *meta, const char **why)
{
	size_t i;

	if (h->format_version < TRACE_FORMAT_OLDEST || h->format_version > TRACE_FORMAT_VERSION)
		return bad(why, "format version out of range");
	if (!get_text(meta->writer, sizeof(meta->writer), &h->writer) ||
	    !get_text(meta->engine, sizeof(meta->engine), &h->engine) ||
	    !get_text(meta->cpu_model, sizeof(meta->cpu_model), &h->cpu_model) ||
	    !get_text(meta->command_line, sizeof(meta->command_line), &h->command_line) ||
	    !get_text(meta->host, sizeof(meta->host), &h->host) || h->n_files > TRACE_MAX_FILES)
		return bad(why, "a text is too long or there are too many files");
	if (!get_printable(meta->host_maker, sizeof(meta->host_maker), &h->host_maker))
		return bad(why, "the maker of the host's processor is no name");
	for (i = 0; i < h->n_files; i++) {
		struct trace_meta_file *f = &meta->files[i];

		if (!get_text(f->role, sizeof(f->role), &h->files[i]->role) ||
		    !get_text(f->name, sizeof(f->name), &h->files[i]->name))
			return bad(why, "a file's role or name is too long");
		f->bytes = h->files[i]->bytes;
		f->hash = h->files[i]->hash;
	}
	meta->file_count = (uint32_t)h->n_files;
	if (!take_host_costs(h, meta))
		return bad(why, "the host's costs are out of range");
	meta->format_version = h->format_version;
	meta->created = h->created;
	meta->tsc_hz = h->tsc_hz;
	return take_config(h->config, &meta->config, why);
}

int codec_unpack_header(struct codec *c, const void *value, size_t len, struct trace_meta *meta, const char **why)
{
	static const struct message_type type = { &trace__header__descriptor, header_shape, sizeof(header_shape),
		                                  HEADER_RAW_MAX };
	Trace__Header *h;
	int rc;

	rc = open_message(c, header_place, value, len, &type, &h, why);
	if (rc)
		return rc;
	rc = take_header(h, meta, why);
	free_message(h);
	return rc;
}

/* ---- meta["summary"] --------------------------------------------------------------------------------------- */

static const struct place summary_place = { CONTENT_SUMMARY, KEY_SUMMARY, sizeof(KEY_SUMMARY) - 1 };
static const uint8_t summary_shape[] = { WIRE_SCALAR, WIRE_SCALAR, WIRE_SCALAR, WIRE_SCALAR, WIRE_SCALAR,
	                                 WIRE_SCALAR, WIRE_SCALAR, WIRE_SCALAR, WIRE_BYTES,  WIRE_SCALAR,
	                                 WIRE_SCALAR, WIRE_SCALAR, WIRE_SCALAR, WIRE_SCALAR };
#define COUNTERS 8

int codec_pack_summary(struct codec *c, const struct trace_meta *meta, const struct summary_extra *extra,
                       struct bytes *out)
{
	const struct vm_counters *k = &meta->counters;
	uint64_t counters[COUNTERS] = { k->icount,        k->faults,         k->tlb_fills,         k->tlb_flushes,
		                        k->view_switches, k->traces_decoded, k->smc_invalidations, k->leaks };
	Trace__Summary s = TRACE__SUMMARY__INIT;

	s.complete = meta->complete;
	s.events = meta->events;
	s.icount = meta->icount;
	s.digest = meta->digest;
	s.event_bytes = meta->event_bytes;
	s.cost_bytes = meta->cost_bytes;
	s.run_ns = meta->run_ns;
	s.console_bytes = meta->console_bytes;
	s.n_counters = COUNTERS;
	s.counters = counters;
	s.has_final = meta->has_final;
	s.final_registers = meta->final_registers;
	s.final_memory = meta->final_memory;
	s.commits = extra->commits;
	s.pack_ns = meta->pack_ns;
	return seal(c, summary_place, NULL, 0, &s.base, false, out);
}

static void take_summary(const Trace__Summary *s, struct trace_meta *meta, struct summary_extra *extra)
{
	const uint64_t *k = s->counters;

	meta->complete = s->complete;
	meta->events = s->events;
	meta->icount = s->icount;
	meta->digest = s->digest;
	meta->event_bytes = s->event_bytes;
	meta->cost_bytes = s->cost_bytes;
	meta->run_ns = s->run_ns;
	meta->console_bytes = s->console_bytes;
	meta->counters = (struct vm_counters){ .icount = k[0],
		                               .faults = k[1],
		                               .tlb_fills = k[2],
		                               .tlb_flushes = k[3],
		                               .view_switches = k[4],
		                               .traces_decoded = k[5],
		                               .smc_invalidations = k[6],
		                               .leaks = k[7] };
	meta->has_final = s->has_final;
	meta->final_registers = s->final_registers;
	meta->final_memory = s->final_memory;
	extra->commits = s->commits;
	meta->pack_ns = s->pack_ns;
}

int codec_unpack_summary(struct codec *c, const void *value, size_t len, struct trace_meta *meta,
                         struct summary_extra *extra, const char **why)
{
	static const struct message_type type = { &trace__summary__descriptor, summary_shape, sizeof(summary_shape),
		                                  HEADER_RAW_MAX };
	Trace__Summary *s;
	int rc;

	rc = open_message(c, summary_place, value, len, &type, &s, why);
	if (rc)
		return rc;
	if (s->n_counters == COUNTERS)
		take_summary(s, meta, extra);
	else
		rc = bad(why, "wrong number of counters");
	free_message(s);
	return rc;
}

/* ---- checkpoints and pages --------------------------------------------------------------------------------- */

static const uint8_t checkpoint_shape[] = { WIRE_SCALAR, WIRE_BYTES, WIRE_BYTES, WIRE_BYTES, WIRE_BYTES };

struct run_columns {
	uint64_t *gap;
	uint32_t *count;
	uint8_t *hash;
};

static bool run_columns_init(struct run_columns *k, const struct checkpoint *cp)
{
	uint64_t end = 0;
	size_t i;

	k->gap = malloc(cp->runs * sizeof(*k->gap) + 1);
	k->count = malloc(cp->runs * sizeof(*k->count) + 1);
	k->hash = malloc(cp->runs * RUN_HASH_BYTES + 1);
	if (!k->gap || !k->count || !k->hash)
		return false;
	for (i = 0; i < cp->runs; i++) {
		k->gap[i] = cp->run[i].first - end;
		k->count[i] = cp->run[i].count;
		memcpy(k->hash + i * RUN_HASH_BYTES, cp->run[i].hash, RUN_HASH_BYTES);
		end = cp->run[i].first + cp->run[i].count;
	}
	return true;
}

int codec_pack_checkpoint(struct codec *c, uint64_t seq, const struct checkpoint *cp, struct bytes *out)
{
	Trace__Checkpoint m = TRACE__CHECKPOINT__INIT;
	struct run_columns k = { NULL, NULL, NULL };
	uint8_t key[SEQ_KEY_BYTES];
	int rc = -ENOMEM;

	if (run_columns_init(&k, cp)) {
		seq_key(key, seq);
		m.icount = cp->icount;
		m.state = (ProtobufCBinaryData){ cp->state_len, cp->state };
		m.n_gap = m.n_count = cp->runs;
		m.gap = k.gap;
		m.count = k.count;
		m.hash = (ProtobufCBinaryData){ cp->runs * RUN_HASH_BYTES, k.hash };
		rc = seal(c, (struct place){ CONTENT_CHECKPOINT, key, sizeof(key) }, NULL, 0, &m.base, true, out);
	}
	free(k.gap);
	free(k.count);
	free(k.hash);
	return rc;
}

static int take_runs(const Trace__Checkpoint *m, uint64_t page_count, struct page_run *run, const char **why)
{
	uint64_t end = 0;
	size_t i;

	for (i = 0; i < m->n_gap; i++) {
		if (!m->count[i] || m->count[i] > RUN_PAGES_MAX || m->gap[i] > page_count - end ||
		    m->count[i] > page_count - end - m->gap[i])
			return bad(why, "a run of pages is out of range");
		run[i].first = end + m->gap[i];
		run[i].count = m->count[i];
		memcpy(run[i].hash, m->hash.data + i * RUN_HASH_BYTES, RUN_HASH_BYTES);
		end = run[i].first + run[i].count;
	}
	return 0;
}

static int take_checkpoint(Trace__Checkpoint *m, uint64_t page_count, struct checkpoint *out, const char **why)
{
	if (!m->state.len || m->state.len > SNAPSHOT_MAX)
		return bad(why, "state of an impossible length");
	if (m->n_gap != m->n_count || m->n_gap > page_count || m->hash.len != m->n_gap * RUN_HASH_BYTES)
		return bad(why, "runs of pages and hashes do not match");
	*out = (struct checkpoint){ .icount = m->icount, .runs = m->n_gap };
	out->run = malloc((m->n_gap + 1) * sizeof(*out->run));
	if (!out->run)
		return -ENOMEM;
	if (take_runs(m, page_count, out->run, why)) {
		free(out->run);
		return -EBADMSG;
	}
	out->state = m->state.data; /* changes hands */
	out->state_len = m->state.len;
	m->state = (ProtobufCBinaryData){ 0, NULL };
	return 0;
}

int codec_unpack_checkpoint(struct codec *c, uint64_t seq, const void *value, size_t len, uint64_t page_count,
                            struct checkpoint *out, const char **why)
{
	struct message_type type = { &trace__checkpoint__descriptor, checkpoint_shape, sizeof(checkpoint_shape), 0 };
	Trace__Checkpoint *m;
	uint8_t key[SEQ_KEY_BYTES];
	int rc;

	seq_key(key, seq);
	type.raw_max = SNAPSHOT_MAX + 64 + page_count * (RUN_HASH_BYTES + 4);
	rc = open_message(c, (struct place){ CONTENT_CHECKPOINT, key, sizeof(key) }, value, len, &type, &m, why);
	if (rc)
		return rc;
	rc = take_checkpoint(m, page_count, out, why);
	free_message(m);
	return rc;
}

void checkpoint_free(struct checkpoint *cp)
{
	free(cp->state);
	free(cp->run);
	*cp = (struct checkpoint){ 0 };
}

/* ---- resume and packs -------------------------------------------------------------------------------------- */

static const uint8_t resume_shape[] = { WIRE_SCALAR, WIRE_BYTES, WIRE_BYTES, WIRE_BYTES, WIRE_BYTES, WIRE_BYTES };

static void page_distances(uint64_t *page, int64_t *content, size_t count)
{
	size_t i;

	for (i = count; i-- > 1;) {
		page[i] -= page[i - 1];
		content[i] -= content[i - 1] + 1;
	}
}

/* The inverse, of numbers that may be hostile. */
static bool page_sums(uint64_t *page, int64_t *content, size_t count, uint64_t page_count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (page[i] >= page_count || (i && !page[i]))
			return false;
		page[i] += i ? page[i - 1] : 0;
		if (page[i] >= page_count || content[i] < -PAGE_CONTENT_MAX - 1ll || content[i] > PAGE_CONTENT_MAX)
			return false;
		content[i] += i ? content[i - 1] + 1 : 0;
		if (content[i] < 0 || content[i] > PAGE_CONTENT_MAX)
			return false;
	}
	return true;
}

int codec_pack_resume(struct codec *c, uint64_t seq, const struct resume *r, struct bytes *out)
{
	Trace__Resume m = TRACE__RESUME__INIT;
	uint8_t key[SEQ_KEY_BYTES];
	int rc;

	seq_key(key, seq);
	m.icount = r->icount;
	m.state = (ProtobufCBinaryData){ r->state_len, r->state };
	m.progress = (ProtobufCBinaryData){ r->progress_len, r->progress };
	m.devices = (ProtobufCBinaryData){ r->devices_len, r->devices };
	m.n_page = m.n_content = r->pages;
	m.page = r->page;
	m.content = r->content;
	page_distances(r->page, r->content, r->pages);
	rc = seal(c, (struct place){ CONTENT_RESUME, key, sizeof(key) }, &r->icount, sizeof(r->icount), &m.base, true,
	          out);
	BUG_ON(!page_sums(r->page, r->content, r->pages, UINT64_MAX));
	return rc;
}

static int take_resume(Trace__Resume *m, uint64_t seq, uint64_t page_count, struct resume *out, const char **why)
{
	if (!m->state.len || m->state.len > SNAPSHOT_MAX || !m->progress.len || m->progress.len > PROGRESS_MAX ||
	    m->devices.len > VM_INPUT_STATE_MAX)
		return bad(why, "state of an impossible length");
	if (m->n_page > page_count || m->n_content != m->n_page || (!seq && m->n_page))
		return bad(why, "pages and contents do not match");
	if (!page_sums(m->page, m->content, m->n_page, page_count))
		return bad(why, "a page number is out of range");
	/* the arrays change hands */
	*out = (struct resume){ .icount = m->icount,
		                .state = m->state.data,
		                .state_len = m->state.len,
		                .progress = m->progress.data,
		                .progress_len = m->progress.len,
		                .devices = m->devices.data,
		                .devices_len = m->devices.len,
		                .page = m->page,
		                .content = m->content,
		                .pages = m->n_page };
	m->state = m->progress = m->devices = (ProtobufCBinaryData){ 0, NULL };
	m->n_page = m->n_content = 0;
	m->page = NULL;
	m->content = NULL;
	return 0;
}

int codec_unpack_resume(struct codec *c, uint64_t seq, const void *value, size_t len, uint64_t page_count,
                        struct resume *out, const char **why)
{
	struct message_type type = { &trace__resume__descriptor, resume_shape, sizeof(resume_shape), 0 };
	Trace__Resume *m;
	uint8_t key[SEQ_KEY_BYTES];
	uint64_t icount;
	int rc;

	seq_key(key, seq);
	type.raw_max = SNAPSHOT_MAX + PROGRESS_MAX + VM_INPUT_STATE_MAX + 96 + page_count * 10;
	rc = open_message(c, (struct place){ CONTENT_RESUME, key, sizeof(key) }, value, len, &type, &m, why);
	if (rc)
		return rc;
	if (!codec_peek_resume(value, len, &icount) || icount != m->icount)
		rc = bad(why, "the header's icount is another");
	else
		rc = take_resume(m, seq, page_count, out, why);
	free_message(m);
	return rc;
}

bool codec_peek_resume(const void *value, size_t len, uint64_t *icount)
{
	const void *head = envelope_peek(CONTENT_RESUME, value, len, sizeof(*icount));

	if (head)
		memcpy(icount, head, sizeof(*icount));
	return head;
}

void resume_free(struct resume *r)
{
	free(r->state);
	free(r->progress);
	free(r->devices);
	free(r->page);
	free(r->content);
	*r = (struct resume){ 0 };
}

int codec_pack_pages(struct codec *c, uint64_t first, const uint8_t *pages, uint32_t count, struct bytes *out)
{
	uint8_t key[SEQ_KEY_BYTES];
	struct envelope_in in = { .content = CONTENT_PACK,
		                  .key = key,
		                  .key_len = sizeof(key),
		                  .head = &count,
		                  .head_len = sizeof(count),
		                  .payload = pages,
		                  .payload_len = (size_t)count * PAGE_BYTES,
		                  .compress = true };

	seq_key(key, first);
	return envelope_seal(c->envelope, &in, out);
}

int codec_unpack_pages(struct codec *c, uint64_t first, const void *value, size_t len, uint8_t *pages, uint32_t count,
                       const char **why)
{
	size_t bytes = (size_t)count * PAGE_BYTES;
	uint8_t key[SEQ_KEY_BYTES];
	int rc;

	seq_key(key, first);
	rc = envelope_open(c->envelope, CONTENT_PACK, key, sizeof(key), value, len, bytes, &c->opened, why);
	if (rc)
		return rc;
	if (c->opened.payload.len != bytes)
		return bad(why, "not as many pages as the header says");
	memcpy(pages, c->opened.payload.data, bytes);
	return 0;
}

bool codec_peek_pages(const void *value, size_t len, uint32_t *count)
{
	const void *head = envelope_peek(CONTENT_PACK, value, len, sizeof(*count));

	if (head)
		memcpy(count, head, sizeof(*count));
	return head && *count >= 1 && *count <= PACK_PAGES_MAX;
}

/* ---- runs of pages ----------------------------------------------------------------------------------------- */

void run_hash(const uint8_t *pages, uint32_t count, uint8_t hash[RUN_HASH_BYTES])
{
	struct digest128 d = digest128(pages, (size_t)count * PAGE_BYTES);

	memcpy(hash, d.bytes, RUN_HASH_BYTES);
}

int codec_pack_run(struct codec *c, const struct page_run *run, const uint8_t *pages, struct bytes *out)
{
	struct envelope_in in = { .content = CONTENT_PAGES,
		                  .key = run->hash,
		                  .key_len = RUN_HASH_BYTES,
		                  .payload = pages,
		                  .payload_len = (size_t)run->count * PAGE_BYTES,
		                  .compress = true };

	return envelope_seal(c->envelope, &in, out);
}

int codec_unpack_run(struct codec *c, const struct page_run *run, const void *value, size_t len, uint8_t *pages,
                     const char **why)
{
	size_t bytes = (size_t)run->count * PAGE_BYTES;
	uint8_t actual[RUN_HASH_BYTES];
	int rc;

	rc = envelope_open(c->envelope, CONTENT_PAGES, run->hash, RUN_HASH_BYTES, value, len, bytes, &c->opened, why);
	if (rc)
		return rc;
	if (c->opened.payload.len != bytes)
		return bad(why, "not as long as the checkpoint says");
	run_hash(c->opened.payload.data, run->count, actual);
	if (memcmp(actual, run->hash, RUN_HASH_BYTES))
		return bad(why, "contents do not have the hash that is their key");
	memcpy(pages, c->opened.payload.data, bytes);
	return 0;
}

/* ---- events ------------------------------------------------------------------------------------------------ */

static const uint8_t events_shape[] = { WIRE_SCALAR, WIRE_SCALAR, WIRE_SCALAR, WIRE_SCALAR, WIRE_BYTES,
	                                WIRE_BYTES,  WIRE_BYTES,  WIRE_BYTES,  WIRE_BYTES,  WIRE_BYTES,
	                                WIRE_BYTES,  WIRE_BYTES,  WIRE_BYTES,  WIRE_BYTES };

void codec_events_begin(struct codec *c, uint64_t first_icount, uint64_t clock_per_insn, uint64_t clock_per_fault)
{
	columns_begin(c->model, first_icount, clock_per_insn, clock_per_fault);
}

int codec_events_add(struct codec *c, const struct event *ev)
{
	return columns_add(c->model, ev);
}

int codec_events_finish(struct codec *c, uint64_t seq, uint64_t last_icount, struct bytes *out)
{
	Trace__EventChunk m = TRACE__EVENT_CHUNK__INIT;
	uint8_t key[SEQ_KEY_BYTES], head[CHUNK_HEAD_BYTES] = { 0 };
	struct columns k;

	columns_end(c->model, &k);
	m.count = k.count;
	m.first_icount = k.first_icount;
	m.clock_per_insn = k.clock_per_insn;
	m.clock_per_fault = k.clock_per_fault;
	m.n_tuple = k.tuples;
	m.tuple = k.tuple;
	m.n_site_tuple = m.n_site_rip = k.sites;
	m.site_tuple = k.site_tuple;
	m.site_rip = k.site_rip;
	m.n_step = k.count;
	m.step = k.step;
	m.n_icount = k.icounts;
	m.icount = k.icount;
	m.n_addr = k.addrs;
	m.addr = k.addr;
	m.n_value = k.values;
	m.value = k.value;
	m.n_error = k.errors;
	m.error = k.error;
	m.n_blob_len = k.blob_lens;
	m.blob_len = k.blob_len;
	m.blob = (ProtobufCBinaryData){ k.blob_bytes, k.blob };
	seq_key(key, seq);
	memcpy(head, &k.count, 4);
	memcpy(head + 8, &k.first_icount, 8);
	memcpy(head + 16, &last_icount, 8);
	return seal(c, (struct place){ CONTENT_EVENTS, key, sizeof(key) }, head, sizeof(head), &m.base, true, out);
}

static void take_chunk_head(const uint8_t *head, struct chunk_head *out)
{
	memcpy(&out->count, head, 4);
	memcpy(&out->first_icount, head + 8, 8);
	memcpy(&out->last_icount, head + 16, 8);
}

bool codec_peek_events(const void *value, size_t len, struct chunk_head *out)
{
	const uint8_t *head = envelope_peek(CONTENT_EVENTS, value, len, CHUNK_HEAD_BYTES);

	if (head)
		take_chunk_head(head, out);
	return head != NULL;
}

static int take_events(struct codec *c, Trace__EventChunk *m, struct event *events, const struct chunk_head *head,
                       void **blob, const char **why)
{
	struct columns k = {
		.count = m->count,
		.first_icount = m->first_icount,
		.clock_per_insn = m->clock_per_insn,
		.clock_per_fault = m->clock_per_fault,
		.tuple = m->tuple,
		.tuples = m->n_tuple,
		.site_tuple = m->site_tuple,
		.site_rip = m->site_rip,
		.sites = m->n_site_rip,
		.step = m->step,
		.icount = m->icount,
		.icounts = m->n_icount,
		.addr = m->addr,
		.addrs = m->n_addr,
		.value = m->value,
		.values = m->n_value,
		.error = m->error,
		.errors = m->n_error,
		.blob_len = m->blob_len,
		.blob_lens = m->n_blob_len,
		.blob = m->blob.data,
		.blob_bytes = m->blob.len,
	};

	if (m->n_site_tuple != m->n_site_rip || m->n_step != m->count)
		return bad(why, "columns of different lengths");
	if (columns_decode(c->model, &k, events, why))
		return -EBADMSG;
	if (head->count != m->count || head->first_icount != m->first_icount ||
	    events[0].icount != head->first_icount || events[m->count - 1].icount != head->last_icount)
		return bad(why, "the chunk contradicts its header");
	*blob = m->blob.data; /* changes hands */
	m->blob = (ProtobufCBinaryData){ 0, NULL };
	return 0;
}

int codec_unpack_events(struct codec *c, uint64_t seq, const void *value, size_t len, struct event *events,
                        struct chunk_head *head, void **blob, const char **why)
{
	static const struct message_type type = { &trace__event_chunk__descriptor, events_shape, sizeof(events_shape),
		                                  CHUNK_RAW_MAX };
	Trace__EventChunk *m;
	uint8_t key[SEQ_KEY_BYTES];
	int rc;

	*blob = NULL;
	seq_key(key, seq);
	rc = open_message(c, (struct place){ CONTENT_EVENTS, key, sizeof(key) }, value, len, &type, &m, why);
	if (rc)
		return rc;
	if (c->opened.head_len == CHUNK_HEAD_BYTES) {
		take_chunk_head(c->opened.head, head);
		rc = take_events(c, m, events, head, blob, why);
	} else {
		rc = bad(why, "no chunk header");
	}
	free_message(m);
	return rc;
}

/* ---- costs ------------------------------------------------------------------------------------------------- */

static const uint8_t costs_shape[] = { WIRE_SCALAR, WIRE_REPEATED };

#define FILL_EVENTS 256 /* a part of the costs that stays in the processor's nearest cache for all phases */

/* Costs [from, to) into the four planes of one phase; returns what bits there are in any of them. */
static uint32_t fill_planes(uint8_t *plane, const struct event_cost *costs, uint32_t from, uint32_t to, unsigned phase)
{
	uint32_t any = 0;

	for (uint32_t i = from; i < to; i++) {
		uint32_t cycles = costs[i].cycles[phase];

		any |= cycles;
		for (unsigned byte = 0; byte < 4; byte++)
			plane[byte * TRACE_CHUNK_EVENTS + i] = (uint8_t)(cycles >> (8 * byte));
	}
	return any;
}

static void fill_all_planes(struct codec *c, const struct event_cost *costs, uint32_t count, uint32_t any[PH_MAX])
{
	memset(any, 0, PH_MAX * sizeof(*any));
	for (uint32_t from = 0; from < count; from += FILL_EVENTS) {
		uint32_t to = count - from > FILL_EVENTS ? from + FILL_EVENTS : count;

		for (unsigned phase = 0; phase < PH_MAX; phase++)
			any[phase] |=
			        fill_planes(c->planes + (size_t)phase * 4 * TRACE_CHUNK_EVENTS, costs, from, to, phase);
	}
}

int codec_pack_costs(struct codec *c, uint64_t seq, const struct event_cost *costs, uint32_t count, struct bytes *out)
{
	ProtobufCBinaryData planes[PLANES];
	Trace__CostChunk m = TRACE__COST_CHUNK__INIT;
	uint8_t key[SEQ_KEY_BYTES];
	uint32_t any[PH_MAX];
	unsigned i;

	BUG_ON(!count || count > TRACE_CHUNK_EVENTS);
	fill_all_planes(c, costs, count, any);
	for (i = 0; i < PLANES; i++) {
		planes[i].data = c->planes + (size_t)i * TRACE_CHUNK_EVENTS;
		planes[i].len = any[i / 4] >> (8 * (i % 4)) & 0xff ? count : 0;
	}
	m.count = count;
	m.n_plane = PLANES;
	m.plane = planes;
	seq_key(key, seq);
	return seal(c, (struct place){ CONTENT_COSTS, key, sizeof(key) }, NULL, 0, &m.base, true, out);
}

/* Formats 1 and 2 had fewer phases, in another order. */
static unsigned phase_of_plane(unsigned plane, size_t planes)
{
	static const uint8_t old[OLD_PLANES / 4] = { PH_GUEST, PH_ENTRY, PH_DECODE, PH_EMULATE, PH_DEVICE, PH_LOG };

	return planes == OLD_PLANES ? old[plane / 4] : plane / 4;
}

static int take_costs(const Trace__CostChunk *m, struct event_cost *costs, uint32_t count, const char **why)
{
	unsigned i;
	uint32_t n;

	if (m->count != count || (m->n_plane != PLANES && m->n_plane != OLD_PLANES))
		return bad(why, "counts do not match the event chunk");
	for (i = 0; i < m->n_plane; i++)
		if (m->plane[i].len && m->plane[i].len != count)
			return bad(why, "planes of different lengths");
	memset(costs, 0, count * sizeof(*costs));
	for (i = 0; i < m->n_plane; i++)
		for (n = 0; n < m->plane[i].len; n++)
			costs[n].cycles[phase_of_plane(i, m->n_plane)] |= (uint32_t)m->plane[i].data[n] << (8 * (i % 4));
	return 0;
}

int codec_unpack_costs(struct codec *c, uint64_t seq, const void *value, size_t len, struct event_cost *costs,
                       uint32_t count, const char **why)
{
	static const struct message_type type = { &trace__cost_chunk__descriptor, costs_shape, sizeof(costs_shape),
		                                  CHUNK_RAW_MAX };
	Trace__CostChunk *m;
	uint8_t key[SEQ_KEY_BYTES];
	int rc;

	seq_key(key, seq);
	rc = open_message(c, (struct place){ CONTENT_COSTS, key, sizeof(key) }, value, len, &type, &m, why);
	if (rc)
		return rc;
	rc = take_costs(m, costs, count, why);
	free_message(m);
	return rc;
}

/* ---- console ----------------------------------------------------------------------------------------------- */

static const uint8_t console_shape[] = { WIRE_BYTES, WIRE_BYTES, WIRE_BYTES, WIRE_BYTES };

static void distances(uint64_t *v, size_t count)
{
	size_t i;

	for (i = count; i-- > 1;)
		v[i] -= v[i - 1];
}

int codec_pack_console(struct codec *c, uint64_t number, const struct console_record *records, size_t count,
                       const uint8_t *data, struct bytes *out)
{
	Trace__ConsoleBatch m = TRACE__CONSOLE_BATCH__INIT;
	uint64_t *icount = malloc(count * sizeof(*icount) + 1);
	uint32_t *stream = malloc(count * sizeof(*stream) + 1), *length = malloc(count * sizeof(*length) + 1);
	uint8_t key[SEQ_KEY_BYTES];
	size_t i, bytes = 0;
	int rc = -ENOMEM;

	if (icount && stream && length) {
		for (i = 0; i < count; i++) {
			icount[i] = records[i].icount;
			stream[i] = records[i].stream;
			length[i] = records[i].length;
			bytes += records[i].length;
		}
		distances(icount, count);
		m.n_stream = m.n_icount = m.n_length = count;
		m.stream = stream;
		m.icount = icount;
		m.length = length;
		m.data = (ProtobufCBinaryData){ bytes, (uint8_t *)(uintptr_t)data };
		seq_key(key, number);
		rc = seal(c, (struct place){ CONTENT_CONSOLE, key, sizeof(key) }, NULL, 0, &m.base, true, out);
	}
	free(icount);
	free(stream);
	free(length);
	return rc;
}

static int check_console(const Trace__ConsoleBatch *m, const char **why)
{
	size_t i, bytes = 0;

	if (m->n_stream != m->n_icount || m->n_length != m->n_icount || !m->n_icount)
		return bad(why, "columns of different lengths");
	for (i = 0; i < m->n_icount; i++) {
		if (m->stream[i] > STREAM_DEBUG || !m->length[i] || m->length[i] > CONSOLE_BATCH_MAX)
			return bad(why, "stream or length out of range");
		bytes += m->length[i];
		if (i && m->icount[i] > UINT64_MAX - m->icount[i - 1])
			return bad(why, "icount overflows");
		if (i)
			m->icount[i] += m->icount[i - 1];
	}
	return bytes == m->data.len ? 0 : bad(why, "lengths do not add up");
}

int codec_each_console(struct codec *c, uint64_t number, const void *value, size_t len, console_fn *fn, void *self,
                       int *stop, const char **why)
{
	static const struct message_type type = { &trace__console_batch__descriptor, console_shape,
		                                  sizeof(console_shape), CHUNK_RAW_MAX };
	Trace__ConsoleBatch *m;
	uint8_t key[SEQ_KEY_BYTES];
	const uint8_t *data;
	size_t i;
	int rc;

	*stop = 0;
	seq_key(key, number);
	rc = open_message(c, (struct place){ CONTENT_CONSOLE, key, sizeof(key) }, value, len, &type, &m, why);
	if (rc)
		return rc;
	rc = check_console(m, why);
	data = m->data.data;
	for (i = 0; !rc && !*stop && i < m->n_icount; i++) {
		*stop = fn(self, (enum vm_stream)m->stream[i], m->icount[i], data, m->length[i]);
		data += m->length[i];
	}
	free_message(m);
	return rc;
}
