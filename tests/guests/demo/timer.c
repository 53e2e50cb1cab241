/*
 * timer.c - the two interrupt controllers and the interval timer.
 */
#include "kernel.h"

enum { PIC1 = 0x20, PIC2 = 0xa0, PIT_CH0 = 0x40, PIT_MODE = 0x43, PIT_HZ = 1193182 };

void pic_init(void)
{
	outb(PIC1, 0x11); /* ICW1: edge triggered, cascade, ICW4 follows */
	outb(PIC2, 0x11);
	outb(PIC1 + 1, 32); /* ICW2: vectors */
	outb(PIC2 + 1, 40);
	outb(PIC1 + 1, 4); /* ICW3: the slave is on line 2 */
	outb(PIC2 + 1, 2);
	outb(PIC1 + 1, 1); /* ICW4: 8086 mode */
	outb(PIC2 + 1, 1);
	outb(PIC1 + 1, 0xff & ~(1u << 0 | 1u << 4)); /* timer and COM1 */
	outb(PIC2 + 1, 0xff);
}

void pic_eoi(unsigned irq)
{
	if (irq >= 8)
		outb(PIC2, 0x20);
	outb(PIC1, 0x20);
}

void timer_init(unsigned hz)
{
	unsigned divisor = PIT_HZ / hz;

	outb(PIT_MODE, 0x34); /* channel 0, low then high byte, rate generator */
	outb(PIT_CH0, divisor & 0xff);
	outb(PIT_CH0, divisor >> 8);
}
