/*
 * packet.c - see packet.h.
 */
#include "replayer/gdb/packet.h"

#include <string.h>

#define ESCAPE_XOR 0x20

void gdb_link_free(struct gdb_link *l)
{
	gdb_text_free(&l->out);
	gdb_text_free(&l->last);
}

int gdb_hex_digit(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static void begin(struct gdb_link *l)
{
	l->state = LINK_BODY;
	l->len = 0;
	l->sum = 0;
	l->bad_sum = false;
}

static void keep(struct gdb_link *l, uint8_t byte)
{
	if (l->len < GDB_PACKET_MAX)
		l->body[l->len] = (char)byte;
	if (l->len <= GDB_PACKET_MAX)
		l->len++;
}

static enum gdb_rx outside(struct gdb_link *l, uint8_t byte)
{
	if (byte == '$')
		begin(l);
	else if (byte == '-' && !l->no_ack)
		gdb_text_add(&l->out, l->last.data ? l->last.data : "", l->last.len);
	return byte == 0x03 ? GDB_RX_INTERRUPT : GDB_RX_NOTHING;
}

static void inside(struct gdb_link *l, uint8_t byte)
{
	if (byte == '$') {
		begin(l);
		return;
	}
	if (byte == '#') {
		l->state = LINK_SUM1;
		return;
	}
	l->sum = (uint8_t)(l->sum + byte);
	if (l->state == LINK_ESCAPE) {
		l->state = LINK_BODY;
		keep(l, byte ^ ESCAPE_XOR);
	} else if (byte == '}') {
		l->state = LINK_ESCAPE;
	} else {
		keep(l, byte);
	}
}

static enum gdb_rx complete(struct gdb_link *l)
{
	bool oversize = l->len > GDB_PACKET_MAX;

	l->state = LINK_IDLE;
	if (!l->no_ack) {
		bool good = !l->bad_sum && l->sum == l->wanted;

		gdb_text_add(&l->out, good ? "+" : "-", 1);
		if (!good)
			return GDB_RX_NOTHING;
	}
	l->len = oversize ? 0 : l->len;
	l->body[l->len] = 0;
	return oversize ? GDB_RX_OVERSIZE : GDB_RX_PACKET;
}

enum gdb_rx gdb_link_byte(struct gdb_link *l, uint8_t byte)
{
	int digit = gdb_hex_digit(byte);

	switch (l->state) {
	case LINK_IDLE: return outside(l, byte);
	case LINK_BODY:
	case LINK_ESCAPE: inside(l, byte); return GDB_RX_NOTHING;
	case LINK_SUM1:
		l->bad_sum = digit < 0;
		l->wanted = (uint8_t)((unsigned)digit << 4);
		l->state = LINK_SUM2;
		return GDB_RX_NOTHING;
	case LINK_SUM2:
		l->bad_sum |= digit < 0;
		l->wanted |= (uint8_t)(digit & 15);
		return complete(l);
	}
	return GDB_RX_NOTHING;
}

static bool must_escape(char c)
{
	return c == '}' || c == '$' || c == '#' || c == '*';
}

void gdb_link_send(struct gdb_link *l, const void *body, size_t len, bool binary)
{
	static const char digits[] = "0123456789abcdef";
	const char *p = body;
	uint8_t sum = 0;

	gdb_text_reset(&l->last);
	gdb_text_add(&l->last, "$", 1);
	for (size_t i = 0; i < len; i++) {
		bool escape = binary && must_escape(p[i]);
		char c = escape ? (char)(p[i] ^ ESCAPE_XOR) : p[i];

		if (escape)
			gdb_text_add(&l->last, "}", 1);
		gdb_text_add(&l->last, &c, 1);
		sum = (uint8_t)(sum + (uint8_t)c + (escape ? '}' : 0));
	}
	gdb_text_add(&l->last, (char[3]){ '#', digits[sum >> 4], digits[sum & 15] }, 3);
	gdb_text_add(&l->out, l->last.data, l->last.len);
}
