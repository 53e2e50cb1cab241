/*
 * boot.h - what the loaders share: a bounded view of the image, guest RAM in little pieces, and the processor's
 * state at the entry. Only vmm/load/ includes it.
 */
#ifndef RINGSIDE_VMM_LOAD_BOOT_H
#define RINGSIDE_VMM_LOAD_BOOT_H

#include "vmm/cpu/vcpu.h"
#include "vmm/load/load.h"

#define LOW_END 0x9fc00u /* conventional memory ends; up to 0xa0000 a BIOS keeps its extended data */
#define VGA_START 0xa0000u
#define BIOS_START 0xf0000u
#define HIGH_START 0x100000u

/* Memory map entry types, the same numbers in e820 and Multiboot */
enum { MAP_RAM = 1, MAP_RESERVED = 2 };
struct map_entry {
	uint64_t start, size;
	uint32_t type;
};
#define MAP_ENTRIES 4
/* The machine's memory map: low RAM, two reserved pieces, high RAM. */
void boot_memory_map(const struct ram *ram, struct map_entry map[MAP_ENTRIES]);

/* Little-endian reads from the image; the caller has checked that the bytes are there. */
uint16_t boot_u16(const uint8_t *p);
uint32_t boot_u32(const uint8_t *p);
/* Is [off, off+len) inside an image of `size` bytes? */
bool boot_inside(uint64_t off, uint64_t len, uint64_t size);

/* May [start, end) hold a kernel: RAM, and clear of VGA memory? */
bool boot_range_is_ram(const struct ram *ram, uint64_t start, uint64_t end);
int boot_too_little_memory(const struct ram *ram, const char *what, uint64_t need, struct vm_error *err);

static inline uint64_t boot_page_up(uint64_t v)
{
	return (v + PAGE_SIZE - 1) & PAGE_MASK;
}

#define BOOT_GDT_SIZE 32u
/* Put a descriptor table with flat code (0x10) and data (0x18) at `gdt`, and set the processor to enter at `entry` in
 * protected mode. */
void boot_enter(struct vcpu *c, uint32_t gdt, uint32_t entry);

/* The recognisers and loaders. is(): looks at content only. */
bool linux_is(const struct guest_image *image);
int linux_load(struct vcpu *c, const struct guest_image *image, struct guest_info *info, struct vm_error *err);
bool multiboot_is(const struct guest_image *image);
int multiboot_load(struct vcpu *c, const struct guest_image *image, struct guest_info *info, struct vm_error *err);

#endif
