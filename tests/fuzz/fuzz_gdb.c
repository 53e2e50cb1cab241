/*
 * fuzz_gdb.c - the gdb stub against any bytes, in front of a small VM that does not move.
 *
 * First byte, bit 0: bytes as they are, or each line of input becomes a well-framed packet, which random bytes would hardly ever be. Bit 1: a recording, or
 * a live guest, whose registers and memory are then written and whose monitor commands are asked. Afterwards what was answered must be framed itself:
 * that is checked with the stub's own reader.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "replayer/gdb/live.h"
#include "replayer/gdb/packet.h"
#include "replayer/gdb/stub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vm *the_vm(void *self)
{
	return *(struct vm **)self;
}

/* Stops of all kinds, in turn. */
static void resume(void *self, enum gdb_motion motion, const struct gdb_point *points, unsigned count,
                   struct gdb_stop *stop)
{
	static unsigned turn;

	(void)self;
	stop->why = (enum gdb_stop_why)(turn++ % (GDB_STOP_EXITED + 1));
	stop->point = count ? (unsigned)motion % count : 0;
	stop->lin = count ? points[stop->point].lin : 0;
	if (stop->why == GDB_STOP_STEPPED && turn % 2)
		stop->why = GDB_STOP_POINT; /* so that a range is left */
	if (stop->why == GDB_STOP_FAILED)
		strcpy(stop->message, "failed\n");
}

static void monitor(void *self, const char *line, struct gdb_text *out)
{
	(void)self;
	for (int i = 0; i < 40; i++)
		gdb_text_put(out, "%s\n", line);
}

static struct vm *make_vm(void)
{
	struct vm_config config;
	struct vm_error err;
	struct vm *vm;

	vm_config_init(&config);
	config.memory = VM_MEMORY_MIN;
	if (vm_create(&vm, &config, &err))
		abort();
	return vm;
}

static void feed_packet(struct gdb_stub *stub, const uint8_t *line, size_t len)
{
	struct gdb_link frame = { 0 };

	gdb_link_send(&frame, line, len, true);
	for (size_t i = 0; i < frame.out.len; i++)
		gdb_stub_byte(stub, (uint8_t)frame.out.data[i]);
	gdb_link_free(&frame);
}

static void feed_lines(struct gdb_stub *stub, const uint8_t *data, size_t size)
{
	for (size_t at = 0; at < size;) {
		const uint8_t *end = memchr(data + at, '\n', size - at);
		size_t len = end ? (size_t)(end - (data + at)) : size - at;

		feed_packet(stub, data + at, len);
		at += len + 1;
	}
}

/* Every answer is whole and its sum right: nothing makes the reader ask for it again. */
static void check_answers(const struct gdb_text *out)
{
	static struct gdb_link reader;

	reader.state = LINK_IDLE;
	for (size_t i = 0; !out->full && i < out->len; i++)
		gdb_link_byte(&reader, (uint8_t)out->data[i]);
	if (reader.state != LINK_IDLE || (reader.out.data && strchr(reader.out.data, '-')))
		abort();
	gdb_text_reset(&reader.out);
	gdb_text_reset(&reader.last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vm *vm;
	static struct live *live;
	struct gdb_target target = {
		.self = &vm, .reversible = true, .refusal = "no", .vm = the_vm, .resume = resume, .monitor = monitor
	};
	struct gdb_stub *stub = gdb_stub_create(&(struct gdb_stub_options){ .target = &target });
	struct vm_error err;

	if (!vm)
		vm = make_vm();
	if (!live && live_open(&live, vm, &(struct live_options){ 0 }, &err))
		abort();
	if (size && data[0] & 2) {
		target = *live_target(live);
		target.resume = resume;
	}
	if (!stub)
		abort();
	if (size && data[0] & 1)
		feed_lines(stub, data + 1, size - 1);
	else
		for (size_t i = 1; i < size; i++)
			gdb_stub_byte(stub, data[i]);
	check_answers(gdb_stub_output(stub));
	gdb_stub_destroy(stub);
	return 0;
}
