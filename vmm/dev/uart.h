/*
 * uart.h - a 16550A on COM1 (ports 0x3f8..0x3ff, IRQ4) with a terminal at the other end of the wire.
 *
 * Sending takes no time: the byte is out when the guest's write ends. The terminal honours RTS: it sends nothing to a
 * guest that does not listen (uart_listening()), so that input typed or piped in early is not lost in a boot.
 */
#ifndef RINGSIDE_VMM_DEV_UART_H
#define RINGSIDE_VMM_DEV_UART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bus;
struct pic;

#define UART_FIFO 16
#define UART_IRQ 4

struct uart_state {
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t msr_delta; /* MSR bits 0..3 */
	bool overrun;
	bool thr_empty_pending; /* the THRE interrupt, until IIR is read or a byte is written */
	uint8_t idle_polls;     /* reads of LSR in a row with nothing else between, saturating */
	uint8_t fifo[UART_FIFO];
	uint8_t head, count; /* without FIFO mode at most 1 byte is held */
};

struct uart {
	struct uart_state s;
	struct pic *pic;
	void (*send)(void *self, uint8_t byte); /* a byte left on the wire */
	void *send_self;
};

/* pic and send_self are borrowed. */
void uart_init(struct uart *uart, struct pic *pic, void (*send)(void *self, uint8_t byte), void *send_self);
void uart_attach(struct uart *uart, struct bus *bus);

/* The guest asks for input: by RTS, by the receive interrupt, or by polling LSR and nothing else. */
bool uart_listening(const struct uart *uart);
/* Bytes that can be received now without overrun; 0 in loopback. */
unsigned uart_room(const struct uart *uart);
/* The wire brings bytes; those beyond uart_room() are lost as an overrun. */
void uart_receive(struct uart *uart, const uint8_t *bytes, size_t len);
/* Would a byte received now make IRQ4 rise? */
bool uart_can_wake(const struct uart *uart);

#endif
