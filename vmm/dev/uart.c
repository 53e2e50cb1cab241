/*
 * uart.c - the 16550A (National PC16550D).
 *
 * Interrupts by priority: line status, received data (or character timeout), transmitter empty, modem status. The
 * line to IRQ4 goes through the gate that PCs drive with OUT2. The receive timeout passes at once: bytes below the
 * FIFO's trigger level are announced as a timeout immediately.
 *
 * Invariants
 *  1. The transmitter is always empty: LSR's THRE and TEMT are always set.
 *  2. drive_irq() is called after every change; nothing else drives IRQ4.
 *
 * Must never: lose a byte the wire brought within uart_room(), send in loopback.
 */
#include "vmm/dev/uart.h"

#include <string.h>

#include "vmm/dev/bus.h"
#include "vmm/dev/pic.h"

enum { PORT_COM1 = 0x3f8 };
/* Registers: PC16550D, table II */
enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };
enum { IER_RX = 0x01, IER_THRE = 0x02, IER_LINE = 0x04, IER_MODEM = 0x08, IER_WRITABLE = 0x0f };
enum {
	IIR_MODEM = 0x00,
	IIR_NONE = 0x01,
	IIR_THRE = 0x02,
	IIR_RX = 0x04,
	IIR_LINE = 0x06,
	IIR_TIMEOUT = 0x0c,
	IIR_FIFO = 0xc0
};
enum { FCR_ENABLE = 0x01, FCR_CLEAR_RX = 0x02, FCR_KEPT = 0xc9 };
enum { LCR_DLAB = 0x80 };
enum { MCR_DTR = 0x01, MCR_RTS = 0x02, MCR_OUT1 = 0x04, MCR_OUT2 = 0x08, MCR_LOOP = 0x10, MCR_WRITABLE = 0x1f };
enum { LSR_DATA = 0x01, LSR_OVERRUN = 0x02, LSR_THRE = 0x20, LSR_TEMT = 0x40 };
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80, MSR_DRI_TRAILING = 0x04 };

/* Reads of LSR in a row after which the guest is taken to wait for input: sending never takes more than a few. */
#define LISTENING_POLLS 64

static const uint8_t trigger_levels[4] = { 1, 4, 8, 14 };

static unsigned capacity(const struct uart_state *s)
{
	return s->fcr & FCR_ENABLE ? UART_FIFO : 1;
}

static uint8_t receive_cause(const struct uart_state *s)
{
	if (!(s->ier & IER_RX) || !s->count)
		return IIR_NONE;
	if (!(s->fcr & FCR_ENABLE) || s->count >= trigger_levels[s->fcr >> 6])
		return IIR_RX;
	return IIR_TIMEOUT;
}

static uint8_t cause(const struct uart_state *s)
{
	if ((s->ier & IER_LINE) && s->overrun)
		return IIR_LINE;
	if (receive_cause(s) != IIR_NONE)
		return receive_cause(s);
	if ((s->ier & IER_THRE) && s->thr_empty_pending)
		return IIR_THRE;
	if ((s->ier & IER_MODEM) && s->msr_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

/* In loopback the chip's outputs are inactive, OUT2 too. */
static bool irq_gate(const struct uart_state *s)
{
	return (s->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;
}

static void drive_irq(struct uart *uart)
{
	pic_set_irq(uart->pic, UART_IRQ, irq_gate(&uart->s) && cause(&uart->s) != IIR_NONE);
}

/* Full: with a FIFO the new byte is lost, without one the old. */
static void push(struct uart_state *s, uint8_t byte)
{
	if (s->count < capacity(s)) {
		s->fifo[(s->head + s->count++) % UART_FIFO] = byte;
		return;
	}
	s->overrun = true;
	if (!(s->fcr & FCR_ENABLE))
		s->fifo[s->head] = byte;
}

static uint8_t pop(struct uart_state *s)
{
	uint8_t byte = s->fifo[s->head];

	if (!s->count)
		return 0;
	s->head = (s->head + 1) % UART_FIFO;
	s->count--;
	return byte;
}

static void clear_fifo(struct uart_state *s)
{
	s->head = s->count = 0;
}

/* Modem lines: the terminal's are all active; in loopback they are the chip's own outputs. */
static uint8_t modem_lines(const struct uart_state *s)
{
	static const uint8_t wired[][2] = {
		{ MCR_RTS, MSR_CTS },
		{ MCR_DTR, MSR_DSR },
		{ MCR_OUT1, MSR_RI },
		{ MCR_OUT2, MSR_DCD },
	};
	uint8_t lines = 0;

	if (!(s->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	for (unsigned i = 0; i < 4; i++)
		if (s->mcr & wired[i][0])
			lines |= wired[i][1];
	return lines;
}

static void write_mcr(struct uart_state *s, uint8_t value)
{
	uint8_t before = modem_lines(s), changed;

	s->mcr = value & MCR_WRITABLE;
	changed = (uint8_t)(before ^ modem_lines(s)) >> 4;
	if (!(before & MSR_RI)) /* RI tells of its end only */
		changed &= (uint8_t)~MSR_DRI_TRAILING;
	s->msr_delta |= changed;
}

static void write_ier(struct uart_state *s, uint8_t value)
{
	if ((value & IER_THRE) && !(s->ier & IER_THRE))
		s->thr_empty_pending = true;
	s->ier = value & IER_WRITABLE;
}

static void write_fcr(struct uart_state *s, uint8_t value)
{
	bool toggled = (s->fcr ^ value) & FCR_ENABLE;

	if (toggled || ((value & FCR_ENABLE) && (value & FCR_CLEAR_RX)))
		clear_fifo(s);
	s->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
}

/* The holding register fills, its interrupt goes, and at once it is empty again: an edge for the PIC. */
static void transmit(struct uart *uart, uint8_t byte)
{
	uart->s.thr_empty_pending = false;
	drive_irq(uart);
	uart->s.thr_empty_pending = true;
	if (uart->s.mcr & MCR_LOOP)
		push(&uart->s, byte);
	else
		uart->send(uart->send_self, byte);
}

static void uart_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	struct uart *uart = self;
	struct uart_state *s = &uart->s;
	uint8_t v = (uint8_t)value;
	bool dlab = s->lcr & LCR_DLAB;

	(void)size;
	s->idle_polls = 0;
	switch (port - PORT_COM1) {
	case REG_DATA:
		if (dlab)
			s->dll = v;
		else
			transmit(uart, v);
		break;
	case REG_IER:
		if (dlab)
			s->dlm = v;
		else
			write_ier(s, v);
		break;
	case REG_IIR_FCR: write_fcr(s, v); break;
	case REG_LCR: s->lcr = v; break;
	case REG_MCR: write_mcr(s, v); break;
	case REG_SCR: s->scr = v; break;
	default: break; /* LSR and MSR: factory test only */
	}
	drive_irq(uart);
}

static uint8_t read_iir(struct uart_state *s)
{
	uint8_t id = cause(s);

	if (id == IIR_THRE)
		s->thr_empty_pending = false;
	return (uint8_t)(id | (s->fcr & FCR_ENABLE ? IIR_FIFO : 0));
}

static uint8_t read_lsr(struct uart_state *s)
{
	uint8_t lsr = (uint8_t)(LSR_THRE | LSR_TEMT | (s->count ? LSR_DATA : 0) | (s->overrun ? LSR_OVERRUN : 0));

	s->overrun = false;
	return lsr;
}

static uint8_t read_msr(struct uart_state *s)
{
	uint8_t msr = modem_lines(s) | s->msr_delta;

	s->msr_delta = 0;
	return msr;
}

static uint8_t read_register(struct uart_state *s, unsigned reg)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA: return dlab ? s->dll : pop(s);
	case REG_IER: return dlab ? s->dlm : s->ier;
	case REG_IIR_FCR: return read_iir(s);
	case REG_LCR: return s->lcr;
	case REG_MCR: return s->mcr;
	case REG_LSR: return read_lsr(s);
	case REG_MSR: return read_msr(s);
	default: return s->scr;
	}
}

static void count_polls(struct uart_state *s, unsigned reg)
{
	if (reg != REG_LSR)
		s->idle_polls = 0;
	else if (s->idle_polls < LISTENING_POLLS)
		s->idle_polls++;
}

static uint32_t uart_read(void *self, uint16_t port, unsigned size)
{
	struct uart *uart = self;
	uint8_t value;

	(void)size;
	count_polls(&uart->s, port - PORT_COM1);
	value = read_register(&uart->s, port - PORT_COM1);
	drive_irq(uart);
	return value;
}

bool uart_listening(const struct uart *uart)
{
	const struct uart_state *s = &uart->s;

	return (s->mcr & MCR_RTS) || (s->ier & IER_RX) || s->idle_polls >= LISTENING_POLLS;
}

unsigned uart_room(const struct uart *uart)
{
	const struct uart_state *s = &uart->s;

	return s->mcr & MCR_LOOP || s->count >= capacity(s) ? 0 : capacity(s) - s->count;
}

void uart_receive(struct uart *uart, const uint8_t *bytes, size_t len)
{
	if (uart->s.mcr & MCR_LOOP)
		return;
	for (size_t i = 0; i < len; i++)
		push(&uart->s, bytes[i]);
	drive_irq(uart);
}

bool uart_can_wake(const struct uart *uart)
{
	const struct uart_state *s = &uart->s;

	return irq_gate(s) && (s->ier & IER_RX) && uart_room(uart) && cause(s) == IIR_NONE;
}

void uart_init(struct uart *uart, struct pic *pic, void (*send)(void *self, uint8_t byte), void *send_self)
{
	memset(uart, 0, sizeof(*uart));
	uart->pic = pic;
	uart->send = send;
	uart->send_self = send_self;
	uart->s.dll = 12; /* 9600 baud, as a BIOS leaves it */
	uart->s.lcr = 0x03;
}

void uart_attach(struct uart *uart, struct bus *bus)
{
	struct bus_ports r = { .first = PORT_COM1, .last = PORT_COM1 + 7, .width = 1, .self = uart };

	r.read = uart_read;
	r.write = uart_write;
	bus_add_ports(bus, &r);
}
