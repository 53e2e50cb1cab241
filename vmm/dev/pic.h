/*
 * pic.h - two 8259A interrupt controllers, cascaded through IRQ2 as in every PC/AT, with the ELCR of the PCI
 * chipsets.
 *
 * Devices drive their lines with pic_set_irq(); the machine asks pic_pending() and, when the vCPU takes the
 * interrupt, pic_ack(). The state is plain: it may be copied.
 */
#ifndef RINGSIDE_VMM_DEV_PIC_H
#define RINGSIDE_VMM_DEV_PIC_H

#include <stdbool.h>
#include <stdint.h>

struct bus;

struct pic_chip {
	uint8_t line; /* levels at the inputs */
	uint8_t irr, isr, imr;
	uint8_t elcr;     /* 1 = level triggered */
	uint8_t base;     /* vector of input 0 */
	uint8_t lowest;   /* input of lowest priority; the next one up has the highest */
	uint8_t icw_next; /* initialization word expected at the odd port: 2, 3, 4; 0 = operating */
	bool icw4_needed, single;
	bool auto_eoi, rotate_auto_eoi, special_mask, nested; /* nested: special fully nested mode */
	bool read_isr, poll;
};

struct pic {
	struct pic_chip chip[2]; /* master, slave */
	bool intr;               /* level of the master's INT output */
};

/* As a BIOS leaves them, vectors 0x08 and 0x70, but with every input masked. */
void pic_init(struct pic *pic);
void pic_attach(struct pic *pic, struct bus *bus);

void pic_set_irq(struct pic *pic, unsigned irq, bool level);

static inline bool pic_pending(const struct pic *pic)
{
	return pic->intr;
}

/* The INTA cycles: returns the vector. With nothing pending it is the spurious one, input 7. */
uint8_t pic_ack(struct pic *pic);

/* Would INT be high if `irq` rose now? False when it is masked, or held back by one in service. */
bool pic_would_deliver(const struct pic *pic, unsigned irq);

#endif
