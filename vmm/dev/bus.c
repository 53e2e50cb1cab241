/*
 * bus.c - finds the device behind a port or an address. Called by the machine for each access of the guest.
 *
 * Must never: hand a device a port outside its range or a size it does not take; nothing here may depend on anything
 * but the access itself.
 */
#include "vmm/dev/bus.h"

#include <stddef.h>

#include "vmm/bug.h"

void bus_add_ports(struct bus *bus, const struct bus_ports *range)
{
	BUG_ON(bus->n_ports == BUS_PORTS_MAX || range->first > range->last);
	bus->ports[bus->n_ports++] = *range;
	for (unsigned port = range->first; port <= range->last; port++) {
		BUG_ON(bus->port_owner[port]);
		bus->port_owner[port] = bus->n_ports;
	}
}

void bus_add_memory(struct bus *bus, const struct bus_memory *range)
{
	BUG_ON(bus->n_memory == BUS_MEMORY_MAX || range->first > range->last);
	for (unsigned i = 0; i < bus->n_memory; i++)
		BUG_ON(range->first <= bus->memory[i].last && bus->memory[i].first <= range->last);
	bus->memory[bus->n_memory++] = *range;
}

static const struct bus_ports *port_owner(const struct bus *bus, uint16_t port)
{
	return bus->port_owner[port] ? &bus->ports[bus->port_owner[port] - 1] : NULL;
}

/* The device takes the access as it is. */
static bool takes_whole(const struct bus_ports *r, uint16_t port, unsigned size)
{
	return r && size <= r->width && port + size - 1 <= r->last;
}

static uint32_t low_bytes(uint32_t value, unsigned size)
{
	return size >= 4 ? value : value & ((1u << 8 * size) - 1);
}

uint32_t bus_port_read(struct bus *bus, uint16_t port, unsigned size)
{
	const struct bus_ports *r = port_owner(bus, port);
	uint32_t value = 0;

	BUG_ON(size < 1 || size > 4);
	if (takes_whole(r, port, size))
		return low_bytes(r->read(r->self, port, size), size);
	for (unsigned i = 0; i < size; i++) {
		uint32_t byte = 0xff;
		uint16_t at = (uint16_t)(port + i);

		r = port_owner(bus, at);
		if (r && !r->alone)
			byte = r->read(r->self, at, 1) & 0xff;
		value |= byte << 8 * i;
	}
	return value;
}

void bus_port_write(struct bus *bus, uint16_t port, unsigned size, uint32_t value)
{
	const struct bus_ports *r = port_owner(bus, port);

	BUG_ON(size < 1 || size > 4);
	if (takes_whole(r, port, size)) {
		r->write(r->self, port, size, low_bytes(value, size));
		return;
	}
	for (unsigned i = 0; i < size; i++) {
		uint16_t at = (uint16_t)(port + i);

		r = port_owner(bus, at);
		if (r && !r->alone)
			r->write(r->self, at, 1, value >> 8 * i & 0xff);
	}
}

static const struct bus_memory *memory_owner(const struct bus *bus, uint64_t gpa)
{
	for (unsigned i = 0; i < bus->n_memory; i++)
		if (gpa >= bus->memory[i].first && gpa <= bus->memory[i].last)
			return &bus->memory[i];
	return NULL;
}

uint64_t bus_memory_read(struct bus *bus, uint64_t gpa, unsigned size)
{
	uint64_t value = 0;

	BUG_ON(size < 1 || size > 8);
	for (unsigned i = 0; i < size; i++) {
		const struct bus_memory *r = memory_owner(bus, gpa + i);
		uint64_t byte = r ? r->read(r->self, gpa + i) : 0xff;

		value |= byte << 8 * i;
	}
	return value;
}

void bus_memory_write(struct bus *bus, uint64_t gpa, unsigned size, uint64_t value)
{
	BUG_ON(size < 1 || size > 8);
	for (unsigned i = 0; i < size; i++) {
		const struct bus_memory *r = memory_owner(bus, gpa + i);

		if (r)
			r->write(r->self, gpa + i, (uint8_t)(value >> 8 * i));
	}
}
