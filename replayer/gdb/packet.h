/*
 * packet.h - the framing of gdb's remote protocol: bytes in, packets out, and back. Knows no packet's meaning, no socket.
 *
 *            '$'              '#'         hex         hex: right sum, or no-ack mode
 *     IDLE -------> BODY ------------> SUM1 ----> SUM2 ------------------------------> GDB_RX_PACKET, IDLE
 *      | 0x03        ^  '}': ESCAPE                 \ wrong sum, ack mode: '-' is sent, IDLE
 *      v             '-- '$': a new packet begins
 *   GDB_RX_INTERRUPT
 *
 * A body longer than GDB_PACKET_MAX is counted, summed and forgotten: GDB_RX_OVERSIZE at its end. Anything else outside packets is
 * skipped. Replies are never run-length encoded. Called by stub.c.
 */
#ifndef RINGSIDE_REPLAYER_GDB_PACKET_H
#define RINGSIDE_REPLAYER_GDB_PACKET_H

#include "replayer/gdb/text.h"

#define GDB_PACKET_MAX 16384u /* bytes of a body, in either direction, framing not counted */

enum gdb_rx {
	GDB_RX_NOTHING,
	GDB_RX_PACKET,    /* link->body, link->len */
	GDB_RX_OVERSIZE,  /* a packet came that was too long */
	GDB_RX_INTERRUPT, /* 0x03 between packets */
};

struct gdb_link { /* zero-initialise; gdb_link_free() */
	enum { LINK_IDLE, LINK_BODY, LINK_ESCAPE, LINK_SUM1, LINK_SUM2 } state;
	bool no_ack;                   /* neither side acknowledges; set after the reply that agrees to it */
	uint8_t sum, wanted;           /* of the packet that arrives */
	bool bad_sum;                  /* its sum is not even hexadecimal */
	size_t len;                    /* may pass GDB_PACKET_MAX: then only counted */
	char body[GDB_PACKET_MAX + 1]; /* unescaped, NUL-terminated */
	struct gdb_text out;           /* what the peer is to get */
	struct gdb_text last;          /* the last packet, framed, for when it did not arrive */
};

/* The value of a hexadecimal digit, or -1. */
int gdb_hex_digit(int c);

void gdb_link_free(struct gdb_link *l);
enum gdb_rx gdb_link_byte(struct gdb_link *l, uint8_t byte);
/* Frame and queue a packet. `binary` escapes what must not appear in a body; otherwise the caller vouches for its text. */
void gdb_link_send(struct gdb_link *l, const void *body, size_t len, bool binary);

#endif
