/*
 * load.c - recognise a kernel, call its loader; and what loaders share (boot.h). See load.h.
 */
#include <errno.h>
#include <string.h>

#include "vmm/cpu/segment.h"
#include "vmm/load/boot.h"

/* What people hand over by mistake: the first bytes, and what to say. */
static const struct {
	const char *magic;
	unsigned len;
	const char *say;
} mistakes[] = {
	{ "\x1f\x8b", 2, "it is gzip-compressed: unpack it first" },
	{ "\xfd"
	  "7zXZ",
	  5, "it is xz-compressed: unpack it first" },
	{ "\x28\xb5\x2f\xfd", 4, "it is zstd-compressed: unpack it first" },
	{ "\x7f"
	  "ELF\x02",
	  5, "it is a 64-bit ELF; this machine is 32-bit" },
	{ "\x7f"
	  "ELF",
	  4, "it is an ELF file without a Multiboot header in its first 8 KiB" },
	{ "!<arch>", 7, "it is an archive or a package: unpack it first" },
	{ "070701", 6, "it is a cpio archive: an initrd?" },
};

static int not_recognised(const struct guest_image *image, struct vm_error *err)
{
	for (unsigned i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		if (image->kernel_len >= mistakes[i].len && !memcmp(image->kernel, mistakes[i].magic, mistakes[i].len))
			return vm_fail(err, -EINVAL, "kernel: not a bzImage or Multiboot ELF: %s", mistakes[i].say);
	}
	if (image->kernel_len < 1024)
		return vm_fail(err, -EINVAL, "kernel: not a bzImage or Multiboot ELF: only %zu bytes", image->kernel_len);
	return vm_fail(err, -EINVAL,
	               "kernel: not a bzImage or Multiboot ELF: no \"HdrS\" at 0x202, no Multiboot header in "
	               "the first 8 KiB");
}

int guest_load(struct vcpu *c, const struct guest_image *image, struct guest_info *info, struct vm_error *err)
{
	struct guest_info unused;

	BUG_ON(c->real_view || !c->mmu.ram || image->module_count > GUEST_MODULES_MAX);
	if (!info)
		info = &unused;
	memset(info, 0, sizeof(*info));
	if (!image->kernel || image->kernel_len == 0)
		return vm_fail(err, -EINVAL, "kernel: the file is empty");
	if (c->mmu.ram->size < VM_MEMORY_MIN)
		return boot_too_little_memory(c->mmu.ram, "kernel", VM_MEMORY_MIN, err);
	if (linux_is(image))
		return linux_load(c, image, info, err);
	if (multiboot_is(image))
		return multiboot_load(c, image, info, err);
	return not_recognised(image, err);
}

/* ---- shared ---- */

void boot_memory_map(const struct ram *ram, struct map_entry map[MAP_ENTRIES])
{
	map[0] = (struct map_entry){ 0, LOW_END, MAP_RAM };
	map[1] = (struct map_entry){ LOW_END, VGA_START - LOW_END, MAP_RESERVED };
	map[2] = (struct map_entry){ BIOS_START, HIGH_START - BIOS_START, MAP_RESERVED };
	map[3] = (struct map_entry){ HIGH_START, ram->size - HIGH_START, MAP_RAM };
}

uint16_t boot_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t boot_u32(const uint8_t *p)
{
	return boot_u16(p) | (uint32_t)boot_u16(p + 2) << 16;
}

bool boot_inside(uint64_t off, uint64_t len, uint64_t size)
{
	return len <= size && off <= size - len;
}

bool boot_range_is_ram(const struct ram *ram, uint64_t start, uint64_t end)
{
	return start <= end && end <= ram->size && (end <= VGA_START || start >= 0xc0000);
}

int boot_too_little_memory(const struct ram *ram, const char *what, uint64_t need, struct vm_error *err)
{
	return vm_fail(err, -ENOSPC, "%s: too little memory: it needs at least %llu MiB, the guest has %llu MiB", what,
	               (unsigned long long)(need + (1u << 20) - 1) >> 20, (unsigned long long)ram->size >> 20);
}

#define BOOT_CS 0x10
#define BOOT_DS 0x18
#define FLAT (SEG_P | SEG_S | SEG_DB | SEG_G | SEG_ACCESSED | SEG_WRITABLE)

void boot_enter(struct vcpu *c, uint32_t gdt, uint32_t entry)
{
	static const uint64_t table[BOOT_GDT_SIZE / 8] = { 0, 0, 0x00cf9b000000ffffull, 0x00cf93000000ffffull };
	static const uint8_t data[] = { SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS };

	ram_write(c->mmu.ram, gdt, table, sizeof(table));
	c->gdtr = (struct table_reg){ .base = gdt, .limit = sizeof(table) - 1 };
	c->idtr = (struct table_reg){ .base = 0, .limit = 0 };
	segment_set(&c->seg[SEG_CS], BOOT_CS, 0, 0xffffffff, FLAT | SEG_CODE, FLAT | SEG_CODE);
	for (unsigned i = 0; i < sizeof(data); i++)
		segment_set(&c->seg[data[i]], BOOT_DS, 0, 0xffffffff, FLAT, FLAT);
	memset(c->gpr, 0, sizeof(c->gpr));
	c->rip = entry;
	c->cpl = 0;
	vcpu_set_eflags(c, FL_FIXED);
	c->cr0 = CR0_PE | CR0_ET;
	c->cr3 = c->cr4 = 0;
	mmu_set_paging(&c->mmu, c->cr0, c->cr3, c->cr4, false);
}
