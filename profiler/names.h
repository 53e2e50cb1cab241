/*
 * names.h - what a PC's ports, MMIO pages and vectors are called. For people: nothing depends on a name.
 */
#ifndef RINGSIDE_PROFILER_NAMES_H
#define RINGSIDE_PROFILER_NAMES_H

#include <stdint.h>

/* "" where there is nothing to say. */
const char *port_name(uint16_t port);
const char *mmio_name(uint32_t page);
/* What the ports or the page belong to, "other" where nobody knows. */
const char *port_device(uint16_t port);
const char *mmio_device(uint32_t page);
const char *exception_name(uint8_t vector);

#endif
