/*
 * stub.h - gdb's remote protocol as a state machine of bytes: what gdb sends goes in, what it is to get comes out, a target is moved.
 *
 * It never touches a socket, never blocks by itself (resuming the target takes as long as it takes), and trusts no byte: every number, length and address
 * is bounded. Called by server.c and by the fuzzer.
 */
#ifndef RINGSIDE_REPLAYER_GDB_STUB_H
#define RINGSIDE_REPLAYER_GDB_STUB_H

#include "replayer/gdb/target.h"

struct gdb_stub;

enum gdb_closing { GDB_OPEN, GDB_DETACHED, GDB_KILLED };

struct gdb_stub_options {
	const struct gdb_target *target; /* borrowed */
	void (*flush)(void *self);       /* before the target runs: send what is queued. May be NULL */
	void (*notice)(void *self,
	               const char *text); /* something a person should read that the protocol has no place for. May be NULL */
	void *self;
};

/* NULL when out of memory. */
struct gdb_stub *gdb_stub_create(const struct gdb_stub_options *options);
void gdb_stub_destroy(struct gdb_stub *s);

void gdb_stub_byte(struct gdb_stub *s, uint8_t byte);
/* What is to be sent; drop (text.h) what was. `full` means that the peer asks for more than it takes: give it up. */
struct gdb_text *gdb_stub_output(struct gdb_stub *s);
enum gdb_closing gdb_stub_closing(const struct gdb_stub *s);
/* Text for gdb's own terminal; only while the target runs. */
void gdb_stub_say(struct gdb_stub *s, const char *text, size_t len);
/* Is a packet half-arrived? Then 0x03 is not an interrupt. */
bool gdb_stub_in_packet(const struct gdb_stub *s);

#endif
