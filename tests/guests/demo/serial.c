/*
 * serial.c - the console: COM1, with a ring buffer that the transmitter's interrupt drains 16 bytes at a time.
 */
#include <stdarg.h>

#include "kernel.h"

enum {
	COM1 = 0x3f8,
	THR = COM1,
	IER = COM1 + 1,
	IIR = COM1 + 2,
	FCR = COM1 + 2,
	LCR = COM1 + 3,
	MCR = COM1 + 4,
	LSR = COM1 + 5
};
enum { FIFO = 16, LSR_THRE = 0x20, LSR_TEMT = 0x40, IER_THRI = 0x02, RING = 4096 };

static char ring[RING];
static unsigned head, tail; /* free running: head - tail bytes wait */

void serial_init(void)
{
	outb(IER, 0);
	outb(LCR, 0x80); /* divisor latch: 115200 baud */
	outb(THR, 1);
	outb(IER, 0);
	outb(LCR, 0x03); /* 8N1 */
	outb(FCR, 0xc7);
	outb(MCR, 0x0b); /* OUT2 lets interrupts through */
}

static void fill_fifo(void)
{
	for (unsigned n = 0; n < FIFO && tail != head; n++)
		outb(THR, ring[tail++ % RING]);
	outb(IER, tail == head ? 0 : IER_THRI);
}

void serial_irq(void)
{
	while (!(inb(IIR) & 1))
		if (inb(LSR) & LSR_THRE)
			fill_fifo();
}

static void put(char c)
{
	if (head - tail == RING) {
		while (!(inb(LSR) & LSR_THRE))
			;
		fill_fifo();
	}
	ring[head++ % RING] = c;
}

void serial_write(const char *s, size_t len)
{
	uint32_t flags = irq_save();

	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\n')
			put('\r');
		put(s[i]);
	}
	outb(IER, IER_THRI); /* an empty transmitter interrupts at once */
	irq_restore(flags);
}

void serial_flush(void)
{
	uint32_t flags = irq_save();

	while (tail != head)
		if (inb(LSR) & LSR_THRE)
			fill_fifo();
	while (!(inb(LSR) & LSR_TEMT))
		;
	irq_restore(flags);
}

static void number(uint32_t value, unsigned base)
{
	char text[12];
	unsigned at = sizeof(text);

	do {
		text[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	serial_write(text + at, sizeof(text) - at);
}

static void string(const char *s)
{
	size_t len = 0;

	while (s[len])
		len++;
	serial_write(s, len);
}

void print(const char *fmt, ...)
{
	va_list args;
	uint32_t flags = irq_save();

	va_start(args, fmt);
	for (; *fmt; fmt++) {
		if (*fmt != '%')
			serial_write(fmt, 1);
		else if (*++fmt == 's')
			string(va_arg(args, const char *));
		else
			number(va_arg(args, uint32_t), *fmt == 'x' ? 16 : 10);
	}
	va_end(args);
	irq_restore(flags);
}
