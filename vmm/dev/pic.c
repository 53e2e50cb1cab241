/*
 * pic.c - the 8259A (Intel 231468), twice, and the edge/level control registers of the PIIX (Intel 290550, 0x4d0).
 *
 * Invariants
 *  1. irr holds an edge-triggered request from the rise of the line until it is acknowledged or the line falls; for a
 *     level-triggered input irr is the line.
 *  2. intr and the master's input 2 are recomputed by update() after every change; nothing else writes them.
 *  3. The slave's INT falls during its INTA cycle, so that a second request makes a new edge at the master.
 *
 * The cascade is wired: ICW3 is accepted but cannot rewire it. ICW1's LTIM is ignored, as in the PIIX: ELCR replaces
 * it.
 * Must never: know who raises a line, or what time it is.
 */
#include "vmm/dev/pic.h"

#include <string.h>

#include "vmm/dev/bus.h"

enum { MASTER, SLAVE };
enum { CASCADE = 2, SPURIOUS = 7 };
enum { PORT_MASTER = 0x20, PORT_SLAVE = 0xa0, PORT_ELCR = 0x4d0 };

/* ICW1, ICW4, OCW3: 231468, "Initialization Command Words", "Operation Command Words" */
enum { ICW1_IC4 = 0x01, ICW1_SNGL = 0x02, ICW1_SELECT = 0x10 };
enum { ICW4_AEOI = 0x02, ICW4_SFNM = 0x10 };
enum { OCW3_RIS = 0x01, OCW3_RR = 0x02, OCW3_POLL = 0x04, OCW3_SELECT = 0x08, OCW3_SMM = 0x20, OCW3_ESMM = 0x40 };
/* OCW2 bits 7..5 */
enum {
	OCW2_ROTATE_AEOI_CLEAR,
	OCW2_EOI,
	OCW2_NOP,
	OCW2_SPECIFIC_EOI,
	OCW2_ROTATE_AEOI_SET,
	OCW2_ROTATE_EOI,
	OCW2_SET_PRIORITY,
	OCW2_ROTATE_SPECIFIC_EOI
};

/* Timer, keyboard, cascade; clock, coprocessor: edge triggered for ever. */
static const uint8_t elcr_writable[2] = { 0xf8, 0xde };

static void chip_set_line(struct pic_chip *c, unsigned input, bool level)
{
	uint8_t bit = (uint8_t)(1u << input);

	if (!level) {
		c->line &= (uint8_t)~bit;
		c->irr &= (uint8_t)~bit;
		return;
	}
	if (!(c->line & bit) || (c->elcr & bit))
		c->irr |= bit;
	c->line |= bit;
}

/* The rank of the input with highest priority in the set, 0..7; 8 when it is empty. */
static unsigned first_rank(const struct pic_chip *c, uint8_t set)
{
	unsigned highest = (c->lowest + 1) & 7;
	unsigned ranked = (set >> highest | set << (8 - highest)) & 0xff;

	return (unsigned)__builtin_ctz(ranked | 0x100);
}

static int input_of_rank(const struct pic_chip *c, unsigned rank)
{
	return (int)((c->lowest + 1 + rank) & 7);
}

/* The input to be served next, or -1: the first requesting one above all those in service. */
static int chip_request(const struct pic_chip *c, bool master)
{
	uint8_t want = c->irr & (uint8_t)~c->imr, busy = c->isr;
	unsigned rank;

	if (c->special_mask)
		busy &= (uint8_t)~c->imr;
	if (c->nested && master)
		busy &= (uint8_t) ~(1u << CASCADE);
	rank = first_rank(c, want);
	return rank < first_rank(c, busy) ? input_of_rank(c, rank) : -1;
}

static void chip_ack(struct pic_chip *c, unsigned input)
{
	uint8_t bit = (uint8_t)(1u << input);

	if (!(c->elcr & bit))
		c->irr &= (uint8_t)~bit;
	if (!c->auto_eoi)
		c->isr |= bit;
	else if (c->rotate_auto_eoi)
		c->lowest = (uint8_t)input;
}

static void update(struct pic *pic)
{
	chip_set_line(&pic->chip[MASTER], CASCADE, chip_request(&pic->chip[SLAVE], false) >= 0);
	pic->intr = chip_request(&pic->chip[MASTER], true) >= 0;
}

static void slave_acked(struct pic *pic)
{
	chip_set_line(&pic->chip[MASTER], CASCADE, false);
}

void pic_set_irq(struct pic *pic, unsigned irq, bool level)
{
	chip_set_line(&pic->chip[irq >> 3 & 1], irq & 7, level);
	update(pic);
}

static uint8_t ack_slave(struct pic *pic)
{
	int input = chip_request(&pic->chip[SLAVE], false);

	if (input < 0)
		return (uint8_t)(pic->chip[SLAVE].base + SPURIOUS);
	chip_ack(&pic->chip[SLAVE], (unsigned)input);
	slave_acked(pic);
	return (uint8_t)(pic->chip[SLAVE].base + input);
}

uint8_t pic_ack(struct pic *pic)
{
	struct pic_chip *m = &pic->chip[MASTER];
	int input = chip_request(m, true);
	uint8_t vector;

	if (input < 0)
		return (uint8_t)(m->base + SPURIOUS);
	vector = (uint8_t)(m->base + input);
	chip_ack(m, (unsigned)input);
	if (input == CASCADE && !m->single)
		vector = ack_slave(pic);
	update(pic);
	return vector;
}

bool pic_would_deliver(const struct pic *pic, unsigned irq)
{
	struct pic copy = *pic;

	pic_set_irq(&copy, irq, false);
	pic_set_irq(&copy, irq, true);
	return copy.intr;
}

static void icw1(struct pic_chip *c, uint8_t value)
{
	c->icw_next = 2;
	c->icw4_needed = value & ICW1_IC4;
	c->single = value & ICW1_SNGL;
	c->irr = c->line & c->elcr; /* an edge must come anew */
	c->isr = 0;
	c->imr = 0;
	c->lowest = 7;
	c->special_mask = c->read_isr = c->poll = false;
	c->auto_eoi = c->rotate_auto_eoi = c->nested = false;
}

static void icw2_to_4(struct pic_chip *c, uint8_t value)
{
	switch (c->icw_next) {
	case 2:
		c->base = value & 0xf8;
		c->icw_next = !c->single ? 3 : c->icw4_needed ? 4 : 0;
		break;
	case 3: c->icw_next = c->icw4_needed ? 4 : 0; break;
	default:
		c->auto_eoi = value & ICW4_AEOI;
		c->nested = value & ICW4_SFNM;
		c->icw_next = 0;
	}
}

/* The in-service input of highest priority, or -1. In special mask mode the masked ones do not count. */
static int highest_in_service(const struct pic_chip *c)
{
	uint8_t isr = c->isr & (uint8_t)(c->special_mask ? ~c->imr : 0xff);

	return isr ? input_of_rank(c, first_rank(c, isr)) : -1;
}

static void end_of_interrupt(struct pic_chip *c, int input, bool rotate)
{
	if (input < 0)
		return;
	c->isr &= (uint8_t) ~(1u << input);
	if (rotate)
		c->lowest = (uint8_t)input;
}

static void ocw2(struct pic_chip *c, uint8_t value)
{
	uint8_t level = value & 7;

	switch (value >> 5) {
	case OCW2_ROTATE_AEOI_CLEAR: c->rotate_auto_eoi = false; break;
	case OCW2_ROTATE_AEOI_SET: c->rotate_auto_eoi = true; break;
	case OCW2_EOI: end_of_interrupt(c, highest_in_service(c), false); break;
	case OCW2_ROTATE_EOI: end_of_interrupt(c, highest_in_service(c), true); break;
	case OCW2_SPECIFIC_EOI: end_of_interrupt(c, level, false); break;
	case OCW2_ROTATE_SPECIFIC_EOI: end_of_interrupt(c, level, true); break;
	case OCW2_SET_PRIORITY: c->lowest = level; break;
	case OCW2_NOP: break;
	}
}

static void ocw3(struct pic_chip *c, uint8_t value)
{
	if (value & OCW3_POLL)
		c->poll = true;
	if (value & OCW3_RR)
		c->read_isr = value & OCW3_RIS;
	if (value & OCW3_ESMM)
		c->special_mask = value & OCW3_SMM;
}

static void chip_write(struct pic_chip *c, bool odd, uint8_t value)
{
	if (odd && c->icw_next)
		icw2_to_4(c, value);
	else if (odd)
		c->imr = value;
	else if (value & ICW1_SELECT)
		icw1(c, value);
	else if (value & OCW3_SELECT)
		ocw3(c, value);
	else
		ocw2(c, value);
}

/* The poll command: this read is the acknowledge. Bit 7 says that there was a request. */
static uint8_t poll_read(struct pic *pic, unsigned which)
{
	struct pic_chip *c = &pic->chip[which];
	int input = chip_request(c, which == MASTER);

	c->poll = false;
	if (input < 0)
		return 0;
	chip_ack(c, (unsigned)input);
	if (which == SLAVE)
		slave_acked(pic);
	update(pic);
	return (uint8_t)(0x80 | input);
}

static unsigned chip_of(uint16_t port)
{
	return (port & 0xfffe) == PORT_MASTER ? MASTER : SLAVE;
}

static uint32_t pic_read(void *self, uint16_t port, unsigned size)
{
	struct pic *pic = self;
	const struct pic_chip *c = &pic->chip[chip_of(port)];

	(void)size;
	if (c->poll)
		return poll_read(pic, chip_of(port));
	if (port & 1)
		return c->imr;
	return c->read_isr ? c->isr : c->irr;
}

static void pic_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	struct pic *pic = self;

	(void)size;
	chip_write(&pic->chip[chip_of(port)], port & 1, (uint8_t)value);
	update(pic);
}

static uint32_t elcr_read(void *self, uint16_t port, unsigned size)
{
	const struct pic *pic = self;

	(void)size;
	return pic->chip[port & 1].elcr;
}

static void elcr_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	struct pic *pic = self;
	struct pic_chip *c = &pic->chip[port & 1];

	(void)size;
	c->elcr = (uint8_t)value & elcr_writable[port & 1];
	c->irr = (c->irr & (uint8_t)~c->elcr) | (c->line & c->elcr);
	update(pic);
}

void pic_init(struct pic *pic)
{
	memset(pic, 0, sizeof(*pic));
	for (unsigned i = 0; i < 2; i++) {
		pic->chip[i].imr = 0xff;
		pic->chip[i].lowest = 7;
	}
	pic->chip[MASTER].base = 0x08;
	pic->chip[SLAVE].base = 0x70;
}

void pic_attach(struct pic *pic, struct bus *bus)
{
	struct bus_ports r = { .width = 1, .self = pic, .read = pic_read, .write = pic_write };

	r.first = PORT_MASTER;
	r.last = PORT_MASTER + 1;
	bus_add_ports(bus, &r);
	r.first = PORT_SLAVE;
	r.last = PORT_SLAVE + 1;
	bus_add_ports(bus, &r);
	r.read = elcr_read;
	r.write = elcr_write;
	r.first = PORT_ELCR;
	r.last = PORT_ELCR + 1;
	bus_add_ports(bus, &r);
}
