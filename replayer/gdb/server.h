/*
 * server.h - one debugger at a time over a Unix socket or TCP, in front of a stub.
 *
 * TCP listens on 127.0.0.1 unless another address is asked for by name: whoever connects can read all of the guest. A second client is told so and
 * disconnected. When a client goes away, by detaching or by dropping its connection, its breakpoints go too and the next one may come.
 */
#ifndef RINGSIDE_REPLAYER_GDB_SERVER_H
#define RINGSIDE_REPLAYER_GDB_SERVER_H

#include "replayer/gdb/stub.h"

struct gdb_server;

struct gdb_server_options {
	const char *socket_path;                      /* a Unix socket, made here and removed at the end; NULL: TCP */
	const char *address;                          /* numeric IPv4; NULL: 127.0.0.1 */
	uint16_t port;                                /* 0: any that is free */
	int wake_fd;                                  /* readable: end. -1 none */
	bool end_on_detach;                           /* a client that detaches ends it too */
	void (*notice)(void *self, const char *text); /* one line for a person; may be NULL */
	void *self;
};

int gdb_server_open(struct gdb_server **out, const struct gdb_server_options *options, struct vm_error *err);
void gdb_server_close(struct gdb_server *s);
/* What gdb's `target remote` takes: a path or host:port. */
const char *gdb_server_address(const struct gdb_server *s);
/* Serve until wake_fd is readable or a client kills the target: 0, or a negative errno. */
int gdb_server_run(struct gdb_server *s, const struct gdb_target *target, struct vm_error *err);
/* How the last client went. */
bool gdb_server_detached(const struct gdb_server *s);
/* From within the target's resume: text for the client's terminal. False when there is no client. */
bool gdb_server_say(struct gdb_server *s, const char *text, size_t len);
/* For the target while it runs: did the client ask to stop, or go away, or is it time to end? Cheap enough for every few ms. */
bool gdb_server_interrupted(struct gdb_server *s);

#endif
