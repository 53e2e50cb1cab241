/*
 * test_trace_codec.c - values of a trace: what is packed comes back, and what was tampered with is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include <errno.h>

#include "recorder/codec.h"
#include "recorder/print.h"
#include "recorder/wire.h"
#include "tests/unit/synthetic.h"

typedef struct event make_fn(struct synthetic *s);

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Packs `count` events under key `seq`. */
static void pack(struct codec *c, struct synthetic *s, make_fn *make, uint32_t count, uint64_t seq, struct bytes *out)
{
	uint64_t last = 0;
	uint32_t i;

	for (i = 0; i < count; i++) {
		struct event ev = make(s);

		if (!i)
			codec_events_begin(c, ev.icount, 1, 1000);
		assert_int_equal(codec_events_add(c, &ev), 0);
		last = ev.icount;
	}
	assert_int_equal(codec_events_finish(c, seq, last, out), 0);
}

static void round_trip(make_fn *make, uint32_t count, uint64_t seed)
{
	struct event *events = calloc(TRACE_CHUNK_EVENTS, sizeof(*events));
	struct codec *c = codec_create();
	struct bytes value = { 0 };
	struct synthetic s;
	struct chunk_head head;
	const char *why = "";
	void *blob;
	uint32_t i;

	synthetic_init(&s, seed, UINT64_MAX);
	pack(c, &s, make, count, 77, &value);
	assert_true(codec_peek_events(value.data, value.len, &head));
	assert_int_equal(head.count, count);
	assert_int_equal(codec_unpack_events(c, 77, value.data, value.len, events, &head, &blob, &why), 0);
	synthetic_init(&s, seed, UINT64_MAX);
	for (i = 0; i < count; i++) {
		struct event want = make(&s);

		if (!synthetic_same(&want, &events[i])) {
			char line[EVENT_LINE_MAX];

			event_line(line, sizeof(line), i, &want);
			print_error("seed %llu want %s\n", (unsigned long long)seed, line);
			event_line(line, sizeof(line), i, &events[i]);
			fail_msg("got  %s", line);
		}
	}
	free(blob);
	bytes_free(&value);
	codec_destroy(c);
	free(events);
}

static void test_round_trip(void **state)
{
	static const uint32_t counts[] = { 1, 2, 3, 100, 5000, TRACE_CHUNK_EVENTS };
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		round_trip(synthetic_next, counts[i], i + 1);
		round_trip(synthetic_noise, counts[i] < 10000 ? counts[i] : 10000, i + 1);
	}
}

static void test_size_and_speed(void **state)
{
	struct event *events = calloc(TRACE_CHUNK_EVENTS, sizeof(*events));
	static const uint32_t counts[] = { 4000, TRACE_CHUNK_EVENTS };
	struct codec *c = codec_create();
	unsigned i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct bytes value = { 0 };
		struct synthetic s;
		struct chunk_head head;
		const char *why;
		void *blob;
		double begin, packed, unpacked;

		synthetic_init(&s, 42, UINT64_MAX);
		begin = seconds();
		pack(c, &s, synthetic_next, counts[i], 0, &value);
		packed = seconds();
		assert_int_equal(codec_unpack_events(c, 0, value.data, value.len, events, &head, &blob, &why), 0);
		unpacked = seconds();
		free(blob);
		print_message("chunk of %u: %.2f bytes an event, pack %.0f ns, unpack %.0f ns an event\n", counts[i],
		              (double)value.len / counts[i], (packed - begin) * 1e9 / counts[i],
		              (unpacked - packed) * 1e9 / counts[i]);
		assert_true((double)value.len / counts[i] <= 8);
		bytes_free(&value);
	}
	codec_destroy(c);
	free(events);
}

static void test_every_flip_is_noticed(void **state)
{
	struct event *events = calloc(TRACE_CHUNK_EVENTS, sizeof(*events));
	struct codec *c = codec_create();
	struct bytes value = { 0 };
	struct synthetic s;
	struct chunk_head head;
	const char *why = "";
	void *blob;
	size_t i;

	(void)state;
	synthetic_init(&s, 3, UINT64_MAX);
	pack(c, &s, synthetic_next, 2000, 5, &value);
	for (i = 0; i < value.len; i++) {
		value.data[i] ^= (uint8_t)(1u << (i % 8));
		assert_int_equal(codec_unpack_events(c, 5, value.data, value.len, events, &head, &blob, &why), -EBADMSG);
		value.data[i] ^= (uint8_t)(1u << (i % 8));
	}
	for (i = 0; i < value.len; i += 1 + i / 50)
		assert_int_equal(codec_unpack_events(c, 5, value.data, i, events, &head, &blob, &why), -EBADMSG);
	/* the right bytes under the wrong key, or as something else */
	assert_int_equal(codec_unpack_events(c, 6, value.data, value.len, events, &head, &blob, &why), -EBADMSG);
	assert_int_equal(codec_unpack_costs(c, 5, value.data, value.len, NULL, 2000, &why), -EBADMSG);
	bytes_free(&value);
	codec_destroy(c);
	free(events);
}

/* A checksum keeps accidents out, not people: columns with any contents must be survived. */
static void test_hostile_columns(void **state)
{
	struct model *m = model_create(), *d = model_create();
	struct event *events = calloc(TRACE_CHUNK_EVENTS, sizeof(*events));
	struct synthetic s;
	unsigned round, accepted = 0, i;

	(void)state;
	synthetic_init(&s, 9, UINT64_MAX);
	for (round = 0; round < 3000; round++) {
		struct columns k;
		const char *why = NULL;
		unsigned hits = 1 + (unsigned)(synthetic_random(&s) % 3);
		size_t tuples, sites;

		columns_begin(m, s.icount, 1, 1000);
		for (i = 0; i < 60; i++) {
			struct event ev = synthetic_random(&s) % 2 ? synthetic_next(&s) : synthetic_noise(&s);

			assert_int_equal(columns_add(m, &ev), 0);
		}
		columns_end(m, &k);
		tuples = k.tuples;
		sites = k.sites;
		while (hits--) {
			uint64_t r = synthetic_random(&s), wild = synthetic_random(&s) >> (synthetic_random(&s) % 64);

			switch (r % 12) {
			case 0: k.tuple[(r >> 8) % tuples] = wild; break;
			case 1: k.site_tuple[(r >> 8) % sites] = (uint32_t)wild; break;
			case 2: k.site_rip[(r >> 8) % sites] = (int64_t)wild; break;
			case 3: k.step[(r >> 8) % k.count] = (uint32_t)wild; break;
			case 4: k.icount[(r >> 8) % k.count] = (int64_t)wild; break;
			case 5: k.value[(r >> 8) % k.count] = (int64_t)wild; break;
			case 6: k.sites = wild % 100; break;
			case 7: k.tuples = wild % 60; break;
			case 8: k.blob_lens = wild % 60; break;
			case 9: k.blob_len[(r >> 8) % 60] = (uint32_t)wild; break;
			case 10: k.blob_bytes = k.blob_bytes ? wild % k.blob_bytes : 0; break;
			default: k.step[(r >> 8) % k.count] = (uint32_t)(r >> 8) % 5;
			}
		}
		if (!columns_decode(d, &k, events, &why))
			accepted++;
		else
			assert_non_null(why);
	}
	assert_true(accepted < 3000);
	model_destroy(m);
	model_destroy(d);
	free(events);
}

static void test_costs(void **state)
{
	enum { N = 5000 };
	struct event_cost *costs = calloc(N, sizeof(*costs)), *back = calloc(N, sizeof(*back));
	struct codec *c = codec_create();
	struct bytes value = { 0 };
	struct synthetic s;
	const char *why = "";
	unsigned i;

	(void)state;
	synthetic_init(&s, 1, UINT64_MAX);
	for (i = 0; i < N; i++)
		costs[i] = synthetic_cost(&s);
	costs[17].cycles[PH_LOG] = UINT32_MAX;
	assert_int_equal(codec_pack_costs(c, 3, costs, N, &value), 0);
	assert_int_equal(codec_unpack_costs(c, 3, value.data, value.len, back, N, &why), 0);
	assert_memory_equal(costs, back, N * sizeof(*costs));
	assert_int_equal(codec_unpack_costs(c, 3, value.data, value.len, back, N - 1, &why), -EBADMSG);
	assert_int_equal(codec_unpack_costs(c, 4, value.data, value.len, back, N, &why), -EBADMSG);
	print_message("costs: %.2f bytes an event\n", (double)value.len / N);
	bytes_free(&value);
	codec_destroy(c);
	free(costs);
	free(back);
}

/* Formats 1 and 2 had six phases, in another order: guest, entry, decode, emulate, device, log. */
static void test_old_costs(void **state)
{
	static const enum event_phase order[6] = { PH_GUEST, PH_ENTRY, PH_DECODE, PH_EMULATE, PH_DEVICE, PH_LOG };
	uint8_t payload[2 + 24 * 3] = { 0x08, 1 }, key[SEQ_KEY_BYTES] = { 0 }; /* count 1 */
	const struct envelope_in in = { .content = CONTENT_COSTS,
		                        .key = key,
		                        .key_len = sizeof(key),
		                        .payload = payload,
		                        .payload_len = sizeof(payload) };
	struct envelope *envelope = envelope_create();
	struct codec *c = codec_create();
	struct bytes value = { 0 };
	struct event_cost cost;
	const char *why = "";

	(void)state;
	for (unsigned i = 0; i < 24; i++)
		memcpy(payload + 2 + 3 * i, (uint8_t[]){ 0x12, 1, (uint8_t)(i + 1) }, 3); /* a plane of one byte */
	assert_int_equal(envelope_seal(envelope, &in, &value), 0);
	assert_int_equal(codec_unpack_costs(c, 0, value.data, value.len, &cost, 1, &why), 0);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(cost.cycles[order[i]], 0x04030201u + 0x04040404u * i);
	assert_int_equal(cost.cycles[PH_FAULT] | cost.cycles[PH_CALLOUT] | cost.cycles[PH_REFLECT] |
	                         cost.cycles[PH_TLB] | cost.cycles[PH_VIEW],
	                 0);
	bytes_free(&value);
	codec_destroy(c);
	envelope_destroy(envelope);
}

static struct trace_meta some_meta(void)
{
	struct trace_meta meta = { .writer = "ringside 0.1",
		                   .engine = "interp",
		                   .cpu_model = "p6",
		                   .command_line = "console=ttyS0",
		                   .file_count = 2,
		                   .created = -5,
		                   .host = "some processor",
		                   .host_maker = "GenuineExample!",
		                   .tsc_hz = 3000000000ull };

	vm_config_init(&meta.config);
	meta.config.memory = VM_MEMORY_MIN;
	strcpy(meta.files[0].role, "kernel");
	strcpy(meta.files[0].name, "vmlinuz");
	meta.files[0].hash = UINT64_MAX;
	strcpy(meta.files[1].role, "initrd");
	meta.format_version = TRACE_FORMAT_VERSION;
	meta.config.engine = ENGINE_TRANSLATE;
	meta.config.trap = TRAP_FAULT;
	meta.host_cost_count = 2;
	meta.host_costs[0] = (struct trace_host_cost){ "system_call", 500, 512, 700, 60 };
	meta.host_costs[1] = (struct trace_host_cost){ "fault_round_trip", 7000, UINT64_MAX, 9000, 1 };
	return meta;
}

static void test_header_and_summary(void **state)
{
	struct trace_meta meta = some_meta(), back = { 0 };
	struct summary_extra extra = { .commits = 9 }, extra_back = { 0 };
	struct codec *c = codec_create();
	struct bytes header = { 0 }, summary = { 0 };
	const char *why = "";

	(void)state;
	meta.complete = meta.has_final = true;
	meta.events = 1234567890123ull;
	meta.digest = meta.final_memory = UINT64_MAX;
	meta.counters.leaks = 3;
	meta.counters.tlb_fills = 1ull << 40;
	assert_int_equal(codec_pack_header(c, &meta, &header), 0);
	assert_int_equal(codec_pack_summary(c, &meta, &extra, &summary), 0);
	assert_int_equal(codec_unpack_header(c, header.data, header.len, &back, &why), 0);
	assert_int_equal(codec_unpack_summary(c, summary.data, summary.len, &back, &extra_back, &why), 0);
	assert_memory_equal(&meta, &back, sizeof(meta));
	assert_int_equal(extra_back.commits, 9);
	assert_int_equal(codec_unpack_header(c, summary.data, summary.len, &back, &why), -EBADMSG);

	header.len = 0;
	meta.config.memory = 12345;
	assert_int_equal(codec_pack_header(c, &meta, &header), 0);
	assert_int_equal(codec_unpack_header(c, header.data, header.len, &back, &why), -EBADMSG);
	bytes_free(&header);
	bytes_free(&summary);
	codec_destroy(c);
}

/* A header's message with its last field, which is the maker, made `longer`, under another format version. */
static void forge_header(const struct bytes *header, uint8_t version, unsigned longer, struct bytes *out)
{
	struct envelope_in in = { .content = CONTENT_HEADER, .key = KEY_HEADER, .key_len = sizeof(KEY_HEADER) - 1 };
	struct envelope *envelope = envelope_create();
	struct envelope_out opened = { 0 };
	const char *why = "";
	uint8_t *length;

	assert_int_equal(envelope_open(envelope, in.content, in.key, in.key_len, header->data, header->len, 65536,
	                               &opened, &why),
	                 0);
	assert_int_equal(opened.payload.data[0], 0x08);
	opened.payload.data[1] = version;
	if (longer) {
		length = opened.payload.data + opened.payload.len - 1 - strlen("GenuineExample!");
		assert_int_equal(*length, strlen("GenuineExample!"));
		*length = (uint8_t)(*length + longer);
		assert_true(bytes_append(&opened.payload, "!!!!", longer));
	}
	in.payload = opened.payload.data;
	in.payload_len = opened.payload.len;
	out->len = 0;
	assert_int_equal(envelope_seal(envelope, &in, out), 0);
	bytes_free(&opened.payload);
	envelope_destroy(envelope);
}

/* What is named must fit, and be fit to be shown. */
static void test_header_maker(void **state)
{
	struct trace_meta meta = some_meta(), back = { 0 };
	struct codec *c = codec_create();
	struct bytes header = { 0 }, forged = { 0 };
	const char *why = "";

	(void)state;
	assert_int_equal(codec_pack_header(c, &meta, &header), 0);
	assert_int_equal(codec_unpack_header(c, header.data, header.len, &back, &why), 0);
	assert_string_equal(back.host_maker, "GenuineExample!");
	forge_header(&header, TRACE_FORMAT_VERSION, 0, &forged);
	assert_int_equal(codec_unpack_header(c, forged.data, forged.len, &back, &why), 0);
	forge_header(&header, TRACE_FORMAT_VERSION, 1, &forged);
	assert_int_equal(codec_unpack_header(c, forged.data, forged.len, &back, &why), -EBADMSG);
	assert_non_null(strstr(why, "maker"));

	strcpy(meta.host_maker, "Gen\033[2J");
	header.len = 0;
	assert_int_equal(codec_pack_header(c, &meta, &header), 0);
	assert_int_equal(codec_unpack_header(c, header.data, header.len, &back, &why), -EBADMSG);
	assert_non_null(strstr(why, "maker"));
	bytes_free(&header);
	bytes_free(&forged);
	codec_destroy(c);
}

/* Traces before format 4 name none: the field is not there at all. */
static void test_header_without_maker(void **state)
{
	struct trace_meta meta = some_meta(), back;
	struct codec *c = codec_create();
	struct bytes header = { 0 }, old = { 0 };
	const char *why = "";
	size_t with_maker;

	(void)state;
	assert_int_equal(codec_pack_header(c, &meta, &header), 0);
	with_maker = header.len;
	*meta.host_maker = 0;
	header.len = 0;
	assert_int_equal(codec_pack_header(c, &meta, &header), 0);
	assert_int_equal(header.len, with_maker - 2 - strlen("GenuineExample!"));
	forge_header(&header, 3, 0, &old);
	memset(&back, 0xff, sizeof(back));
	assert_int_equal(codec_unpack_header(c, old.data, old.len, &back, &why), 0);
	assert_int_equal(back.format_version, 3);
	assert_string_equal(back.host_maker, "");
	assert_string_equal(back.host, meta.host);
	bytes_free(&header);
	bytes_free(&old);
	codec_destroy(c);
}

static void test_checkpoint_and_pages(void **state)
{
	static uint8_t pages[2 * PAGE_BYTES], back[2 * PAGE_BYTES];
	uint8_t bytes[8] = "state..";
	struct page_run runs[3] = { { 0, 1, { 1 } }, { 7, 64, { 2 } }, { 500, 12, { 3 } } }, run = { 9, 2, { 0 } };
	struct checkpoint cp = { .icount = 5, .state = bytes, .state_len = 8, .run = runs, .runs = 3 }, got;
	struct codec *c = codec_create();
	struct bytes value = { 0 }, packed = { 0 };
	const char *why = "";
	unsigned i;

	(void)state;
	assert_int_equal(codec_pack_checkpoint(c, 0, &cp, &value), 0);
	assert_int_equal(codec_unpack_checkpoint(c, 0, value.data, value.len, 512, &got, &why), 0);
	assert_int_equal(got.runs, 3);
	for (i = 0; i < 3; i++) {
		assert_int_equal(got.run[i].first, runs[i].first);
		assert_int_equal(got.run[i].count, runs[i].count);
		assert_memory_equal(got.run[i].hash, runs[i].hash, RUN_HASH_BYTES);
	}
	assert_memory_equal(got.state, bytes, 8);
	checkpoint_free(&got);
	/* a page that the machine does not have */
	assert_int_equal(codec_unpack_checkpoint(c, 0, value.data, value.len, 511, &got, &why), -EBADMSG);

	memset(pages, 0xaa, sizeof(pages));
	run_hash(pages, 2, run.hash);
	assert_int_equal(codec_pack_run(c, &run, pages, &packed), 0);
	assert_true(packed.len < 100);
	assert_int_equal(codec_unpack_run(c, &run, packed.data, packed.len, back, &why), 0);
	assert_memory_equal(pages, back, sizeof(pages));
	run.count = 1;
	assert_int_equal(codec_unpack_run(c, &run, packed.data, packed.len, back, &why), -EBADMSG);
	run.count = 3;
	assert_int_equal(codec_unpack_run(c, &run, packed.data, packed.len, back, &why), -EBADMSG);
	/* right checksum, wrong contents for the key */
	run.count = 2;
	packed.len = 0;
	pages[0] = 1;
	assert_int_equal(codec_pack_run(c, &run, pages, &packed), 0);
	assert_int_equal(codec_unpack_run(c, &run, packed.data, packed.len, back, &why), -EBADMSG);
	bytes_free(&value);
	bytes_free(&packed);
	codec_destroy(c);
}

static void test_wire_shape(void **state)
{
	static const uint8_t shape[] = { WIRE_SCALAR, WIRE_BYTES, WIRE_REPEATED };
	static const struct {
		uint8_t bytes[12];
		size_t len;
		bool ok;
	} cases[] = {
		{ { 0 }, 0, true },
		{ { 0x08, 5, 0x12, 1, 9 }, 5, true },
		{ { 0x08, 5, 0x08, 5 }, 4, false }, /* a scalar twice */
		{ { 0x12, 0, 0x08, 5 }, 4, false }, /* out of order */
		{ { 0x10, 5 }, 2, false },          /* a column that is not packed */
		{ { 0x1a, 0, 0x1a, 0 }, 4, true },
		{ { 0x22, 0 }, 2, false },    /* unknown field */
		{ { 0x12, 9, 1 }, 3, false }, /* longer than the message */
		{ { 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, 11, false },
		{ { 0x0b }, 1, false }, /* a group */
	};
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(wire_has_shape(cases[i].bytes, cases[i].len, shape, 3), cases[i].ok);
}

static void test_print(void **state)
{
	char line[EVENT_LINE_MAX], tiny[8];
	struct synthetic s;
	struct event ev = { .kind = EV_EXCEPTION,
		            .op = OP_MOV,
		            .icount = 100,
		            .rip = 0x8048000,
		            .value = 14,
		            .addr = 0x1234,
		            .error = 6,
		            .flags = EVF_HAS_ERROR,
		            .vcpl = 3,
		            .rcpl = 3 };
	unsigned i;

	(void)state;
	event_line(line, sizeof(line), 7, &ev);
	assert_non_null(strstr(line, "exception"));
	assert_non_null(strstr(line, "#PF error=0x6 cr2=0x1234"));
	assert_int_equal(event_line(tiny, sizeof(tiny), 7, &ev), sizeof(tiny) - 1);
	synthetic_init(&s, 4, UINT64_MAX);
	for (i = 0; i < 10000; i++) {
		ev = synthetic_noise(&s);
		ev.kind = (uint8_t)synthetic_random(&s);
		ev.op = (uint16_t)synthetic_random(&s);
		assert_true(event_line(line, sizeof(line), i, &ev) < sizeof(line));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_size_and_speed),
		cmocka_unit_test(test_every_flip_is_noticed),
		cmocka_unit_test(test_hostile_columns),
		cmocka_unit_test(test_costs),
		cmocka_unit_test(test_old_costs),
		cmocka_unit_test(test_header_and_summary),
		cmocka_unit_test(test_header_maker),
		cmocka_unit_test(test_header_without_maker),
		cmocka_unit_test(test_checkpoint_and_pages),
		cmocka_unit_test(test_wire_shape),
		cmocka_unit_test(test_print),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
