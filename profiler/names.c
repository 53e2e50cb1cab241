/*
 * names.c - tables of the PC's conventional port, memory and vector numbers (see names.h).
 */
#include <stddef.h>

#include "profiler/names.h"

struct port_range {
	uint16_t first, last;
	const char *name;
};

/* The first match counts, so that a register can be told from its device. */
static const struct port_range ports[] = {
	{ 0x20, 0x20, "pic1 command" },
	{ 0x21, 0x21, "pic1 mask" },
	{ 0x40, 0x40, "pit counter 0" },
	{ 0x41, 0x41, "pit counter 1" },
	{ 0x42, 0x42, "pit counter 2" },
	{ 0x43, 0x43, "pit mode" },
	{ 0x60, 0x60, "8042 data" },
	{ 0x61, 0x61, "speaker gate" },
	{ 0x64, 0x64, "8042 command" },
	{ 0x70, 0x70, "cmos index" },
	{ 0x71, 0x71, "cmos data" },
	{ 0x80, 0x80, "post / delay" },
	{ 0x81, 0x8f, "dma page" },
	{ 0x92, 0x92, "fast a20 / reset" },
	{ 0xa0, 0xa0, "pic2 command" },
	{ 0xa1, 0xa1, "pic2 mask" },
	{ 0x00, 0x0f, "dma 1" },
	{ 0xc0, 0xdf, "dma 2" },
	{ 0xe9, 0xe9, "debug console" },
	{ 0xed, 0xed, "delay" },
	{ 0xf0, 0xf1, "fpu error" },
	{ 0xf4, 0xf4, "debug exit" },
	{ 0x170, 0x177, "ide 2" },
	{ 0x1f0, 0x1f7, "ide 1" },
	{ 0x278, 0x27f, "parallel 2" },
	{ 0x2e8, 0x2ef, "uart 4" },
	{ 0x2f8, 0x2ff, "uart 2" },
	{ 0x378, 0x37f, "parallel 1" },
	{ 0x3b0, 0x3df, "vga" },
	{ 0x3e8, 0x3ef, "uart 3" },
	{ 0x3f8, 0x3f8, "uart data" },
	{ 0x3f9, 0x3f9, "uart interrupt enable" },
	{ 0x3fa, 0x3fa, "uart interrupt id / fifo" },
	{ 0x3fb, 0x3fb, "uart line control" },
	{ 0x3fc, 0x3fc, "uart modem control" },
	{ 0x3fd, 0x3fd, "uart line status" },
	{ 0x3fe, 0x3fe, "uart modem status" },
	{ 0x3ff, 0x3ff, "uart scratch" },
	{ 0x3f0, 0x3f7, "floppy" },
	{ 0x4d0, 0x4d1, "pic edge / level" },
	{ 0x600, 0x605, "acpi power" },
	{ 0xcf9, 0xcf9, "reset control" },
	{ 0xcf8, 0xcfb, "pci address" },
	{ 0xcfc, 0xcff, "pci data" },
};

const char *port_name(uint16_t port)
{
	for (size_t i = 0; i < sizeof(ports) / sizeof(*ports); i++)
		if (port >= ports[i].first && port <= ports[i].last)
			return ports[i].name;
	return "";
}

/* Whole devices; those that a PC has in several places come several times. */
static const struct port_range devices[] = {
	{ 0x20, 0x21, "8259 interrupt controllers" },
	{ 0xa0, 0xa1, "8259 interrupt controllers" },
	{ 0x4d0, 0x4d1, "8259 interrupt controllers" },
	{ 0x40, 0x43, "8254 timer" },
	{ 0x61, 0x61, "8254 timer" },
	{ 0x60, 0x60, "8042 keyboard controller" },
	{ 0x64, 0x64, "8042 keyboard controller" },
	{ 0x70, 0x71, "clock chip" },
	{ 0x80, 0x80, "delay ports" },
	{ 0xed, 0xed, "delay ports" },
	{ 0x00, 0x0f, "8237 dma" },
	{ 0x81, 0x8f, "8237 dma" },
	{ 0xc0, 0xdf, "8237 dma" },
	{ 0x92, 0x92, "system control" },
	{ 0xf0, 0xf1, "fpu error" },
	{ 0x600, 0x605, "system control" },
	{ 0xcf9, 0xcf9, "system control" },
	{ 0xf4, 0xf4, "debug exit" },
	{ 0xe9, 0xe9, "debug console" },
	{ 0x3f8, 0x3ff, "serial console" },
	{ 0x2e8, 0x2ef, "uarts 2 to 4" },
	{ 0x2f8, 0x2ff, "uarts 2 to 4" },
	{ 0x3e8, 0x3ef, "uarts 2 to 4" },
	{ 0x3b0, 0x3df, "vga" },
	{ 0x170, 0x177, "ide" },
	{ 0x1f0, 0x1f7, "ide" },
	{ 0x3f0, 0x3f7, "floppy" },
	{ 0x278, 0x27f, "parallel" },
	{ 0x378, 0x37f, "parallel" },
	{ 0xcf8, 0xcff, "pci" },
};

const char *port_device(uint16_t port)
{
	for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++)
		if (port >= devices[i].first && port <= devices[i].last)
			return devices[i].name;
	return "other";
}

const char *mmio_device(uint32_t page)
{
	if (page >= 0xa0 && page <= 0xbf)
		return "vga";
	if (page == 0xfec00 || page == 0xfee00)
		return "apic";
	return "other";
}

const char *mmio_name(uint32_t page)
{
	if (page >= 0xa0 && page <= 0xaf)
		return "vga graphics";
	if (page >= 0xb0 && page <= 0xb7)
		return "monochrome text";
	if (page >= 0xb8 && page <= 0xbf)
		return "vga text";
	if (page == 0xfec00)
		return "io apic";
	if (page == 0xfee00)
		return "local apic";
	return "";
}

/* SDM vol. 3A, table 6-1 */
static const char *const exceptions[32] = {
	[0] = "#DE divide error", [1] = "#DB debug",          [2] = "NMI",
	[3] = "#BP breakpoint",   [4] = "#OF overflow",       [5] = "#BR bound",
	[6] = "#UD undefined",    [7] = "#NM no fpu",         [8] = "#DF double fault",
	[10] = "#TS bad tss",     [11] = "#NP not present",   [12] = "#SS stack",
	[13] = "#GP protection",  [14] = "#PF page fault",    [16] = "#MF x87",
	[17] = "#AC alignment",   [18] = "#MC machine check", [19] = "#XM simd",
};

const char *exception_name(uint8_t vector)
{
	return vector < 32 && exceptions[vector] ? exceptions[vector] : "";
}
