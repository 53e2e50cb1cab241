/*
 * bus.h - which device answers at which port and at which guest-physical address.
 *
 * Devices register their ranges once, when the machine is made. Nothing answers elsewhere: reads give all ones,
 * writes are dropped, as on a PC whose data lines float high.
 *
 * As on ISA, an access wider than the device takes is split into bytes, lowest address first; each byte goes to
 * whatever is at its own port.
 */
#ifndef RINGSIDE_VMM_DEV_BUS_H
#define RINGSIDE_VMM_DEV_BUS_H

#include <stdbool.h>
#include <stdint.h>

struct bus_ports {
	uint16_t first, last; /* inclusive */
	uint8_t width;        /* widest access taken whole: 1, 2 or 4 bytes; narrower ones are passed as they are */
	bool alone;           /* a byte split off a wider access does not reach it */
	void *self;
	uint32_t (*read)(void *self, uint16_t port, unsigned size);
	void (*write)(void *self, uint16_t port, unsigned size, uint32_t value);
};

struct bus_memory {
	uint64_t first, last; /* inclusive guest-physical addresses */
	void *self;
	uint8_t (*read)(void *self, uint64_t gpa);
	void (*write)(void *self, uint64_t gpa, uint8_t value);
};

#define BUS_PORTS_MAX 64
#define BUS_MEMORY_MAX 8

/* Zero-initialise. Borrowed: the devices' `self` must outlive the bus. */
struct bus {
	struct bus_ports ports[BUS_PORTS_MAX];
	struct bus_memory memory[BUS_MEMORY_MAX];
	uint8_t n_ports, n_memory;
	uint8_t port_owner[65536]; /* index into ports, plus one; 0 = nobody */
};

/* Ranges must not overlap; too many or overlapping ones are our own bug. */
void bus_add_ports(struct bus *bus, const struct bus_ports *range);
void bus_add_memory(struct bus *bus, const struct bus_memory *range);

/* Ports: size 1, 2 or 4. Memory: size 1..8. Any address will do. */
uint32_t bus_port_read(struct bus *bus, uint16_t port, unsigned size);
void bus_port_write(struct bus *bus, uint16_t port, unsigned size, uint32_t value);
uint64_t bus_memory_read(struct bus *bus, uint64_t gpa, unsigned size);
void bus_memory_write(struct bus *bus, uint64_t gpa, unsigned size, uint64_t value);

#endif
