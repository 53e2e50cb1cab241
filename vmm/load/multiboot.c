/*
 * multiboot.c - a Multiboot 1 kernel (Multiboot Specification 0.6.96): an ELF32 for i386, or a flat file whose
 * header says where it goes.
 *
 * Guest memory at the entry
 *
 *     where it says   kernel segments, bss zeroed
 *     above them      modules, page aligned, from 1 MiB on
 *     low, or above   one block of whole pages: information structure (EBX), memory map, module list, strings,
 *     descriptor table
 *
 * Plan first, then write: nothing is written unless everything fits.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/load/boot.h"

#define HEADER_MAGIC 0x1badb002u
#define ENTRY_MAGIC 0x2badb002u
#define HEADER_WITHIN 8192u /* bytes of the file that may contain the header */
#define FLAG_ALIGN (1u << 0)
#define FLAG_MEMORY (1u << 1)
#define FLAG_VIDEO (1u << 2)
#define FLAG_ADDRESSES (1u << 16)
#define FLAGS_REQUIRED 0x0000ffffu
#define FLAGS_KNOWN (FLAG_ALIGN | FLAG_MEMORY | FLAG_VIDEO)

/* Header fields, from its start */
#define H_FLAGS 4
#define H_CHECKSUM 8
#define H_HEADER_ADDR 12
#define H_LOAD_ADDR 16
#define H_LOAD_END 20
#define H_BSS_END 24
#define H_ENTRY 28
#define H_MODE 32
#define H_WIDTH 36
#define H_HEIGHT 40
#define H_DEPTH 44

/* Information structure */
#define I_FLAGS 0
#define I_MEM_LOWER 4
#define I_MEM_UPPER 8
#define I_CMDLINE 16
#define I_MODS_COUNT 20
#define I_MODS_ADDR 24
#define I_MMAP_LENGTH 44
#define I_MMAP_ADDR 48
#define I_LOADER_NAME 64
#define I_SIZE 128u /* 116 by the specification, padded */
#define MBI_MEM (1u << 0)
#define MBI_CMDLINE (1u << 2)
#define MBI_MODS (1u << 3)
#define MBI_MMAP (1u << 6)
#define MBI_LOADER_NAME (1u << 9)
#define MMAP_ENTRY 24u
#define MOD_ENTRY 16u

#define SEGMENTS_MAX 64u
#define STRING_MAX 4096u /* command line and module names, with terminator */
#define LOADER_NAME "Ringside"
#define LOW_BLOCK 0x10000u /* look for room for the block from here */

struct piece { /* [start, file_end) is copied from the file, [file_end, end) is zero */
	uint64_t off, start, file_end, end, virt;
};

struct multiboot_plan {
	uint32_t header, flags;
	struct piece pieces[SEGMENTS_MAX];
	unsigned count;
	uint64_t start, end; /* hull of the pieces */
	uint32_t entry;
	uint64_t modules[GUEST_MODULES_MAX];
	uint64_t modules_end;
	uint64_t block, block_size;
};

/* ---- recognise ---- */

static bool find_header(const struct guest_image *image, uint32_t *at)
{
	uint64_t end = image->kernel_len < HEADER_WITHIN ? image->kernel_len : HEADER_WITHIN;

	for (uint32_t off = 0; off + 12 <= end; off += 4) {
		const uint8_t *h = image->kernel + off;

		if (boot_u32(h) == HEADER_MAGIC && boot_u32(h) + boot_u32(h + H_FLAGS) + boot_u32(h + H_CHECKSUM) == 0) {
			*at = off;
			return true;
		}
	}
	return false;
}

bool multiboot_is(const struct guest_image *image)
{
	uint32_t at;

	return find_header(image, &at);
}

/* ---- where the kernel goes ---- */

static bool clear_of_kernel(const struct multiboot_plan *plan, uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < plan->count; i++) {
		if (start < plan->pieces[i].end && plan->pieces[i].start < end)
			return false;
	}
	return true;
}

static int add_piece(struct multiboot_plan *plan, const struct ram *ram, const struct piece *p, struct vm_error *err)
{
	if (p->start >= VGA_START && p->end > ram->size && p->end <= UINT32_MAX)
		return boot_too_little_memory(ram, "kernel", p->end, err);
	if (!boot_range_is_ram(ram, p->start, p->end))
		return vm_fail(err, -EINVAL, "kernel: its segment 0x%llx..0x%llx is not in RAM",
		               (unsigned long long)p->start, (unsigned long long)p->end);
	if (!clear_of_kernel(plan, p->start, p->end))
		return vm_fail(err, -EINVAL, "kernel: its segment 0x%llx..0x%llx overlaps another",
		               (unsigned long long)p->start, (unsigned long long)p->end);
	if (plan->count == SEGMENTS_MAX)
		return vm_fail(err, -EINVAL, "kernel: more than %u segments", SEGMENTS_MAX);
	plan->start = plan->count && plan->start < p->start ? plan->start : p->start;
	plan->end = plan->end > p->end ? plan->end : p->end;
	plan->pieces[plan->count++] = *p;
	return 0;
}

/* The address fields of the header: a flat image, whatever the file's format. */
static int plan_flat(struct multiboot_plan *plan, const struct ram *ram, const struct guest_image *image,
                     uint32_t *entry, struct vm_error *err)
{
	const uint8_t *h = image->kernel + plan->header;
	uint32_t header_addr = boot_u32(h + H_HEADER_ADDR), load = boot_u32(h + H_LOAD_ADDR);
	uint32_t load_end = boot_u32(h + H_LOAD_END), bss_end = boot_u32(h + H_BSS_END);
	struct piece p = { .start = load, .virt = load };

	if (load > header_addr || header_addr - load > plan->header)
		return vm_fail(err, -EINVAL, "kernel: Multiboot addresses place its start before the file's");
	p.off = plan->header - (header_addr - load);
	p.file_end = load_end ? load_end : load + (image->kernel_len - p.off);
	if (p.file_end < load || !boot_inside(p.off, p.file_end - load, image->kernel_len))
		return vm_fail(err, -EINVAL, "kernel: truncated: its Multiboot addresses want %llu bytes of file",
		               (unsigned long long)(p.off + (p.file_end - load)));
	p.end = bss_end ? bss_end : p.file_end;
	*entry = boot_u32(h + H_ENTRY);
	if (p.end < p.file_end)
		return vm_fail(err, -EINVAL, "kernel: its Multiboot bss ends before its data");
	return add_piece(plan, ram, &p, err);
}

static int check_elf(const struct guest_image *image, Elf32_Ehdr *eh, struct vm_error *err)
{
	if (image->kernel_len < sizeof(*eh) || memcmp(image->kernel, ELFMAG, SELFMAG))
		return vm_fail(err, -EINVAL, "kernel: a Multiboot header without addresses in a file that is not an ELF");
	memcpy(eh, image->kernel, sizeof(*eh));
	if (eh->e_ident[EI_CLASS] != ELFCLASS32 || eh->e_ident[EI_DATA] != ELFDATA2LSB || eh->e_machine != EM_386)
		return vm_fail(err, -EINVAL, "kernel: a Multiboot ELF, but not 32-bit i386");
	if (eh->e_type != ET_EXEC)
		return vm_fail(err, -EINVAL, "kernel: a Multiboot ELF, but not a linked executable");
	if (eh->e_phentsize != sizeof(Elf32_Phdr) || eh->e_phnum == 0)
		return vm_fail(err, -EINVAL, "kernel: a Multiboot ELF without program headers that can be read");
	if (!boot_inside(eh->e_phoff, (uint64_t)eh->e_phnum * sizeof(Elf32_Phdr), image->kernel_len))
		return vm_fail(err, -EINVAL, "kernel: truncated: its program headers are outside the file");
	return 0;
}

/* The entry is a virtual address in the kernels that separate the two, a physical one in those that link their start
 * low. */
static int find_entry(struct multiboot_plan *plan, uint32_t entry, struct vm_error *err)
{
	for (unsigned i = 0; i < plan->count; i++) {
		const struct piece *p = &plan->pieces[i];

		if (entry >= p->virt && entry - p->virt < p->end - p->start) {
			plan->entry = (uint32_t)(entry - p->virt + p->start);
			return 0;
		}
	}
	for (unsigned i = 0; i < plan->count; i++) {
		if (entry >= plan->pieces[i].start && entry < plan->pieces[i].end) {
			plan->entry = entry;
			return 0;
		}
	}
	return vm_fail(err, -EINVAL, "kernel: its entry 0x%x is in none of its segments", entry);
}

static int plan_elf(struct multiboot_plan *plan, const struct ram *ram, const struct guest_image *image,
                    uint32_t *entry, struct vm_error *err)
{
	Elf32_Ehdr eh;
	int rc = check_elf(image, &eh, err);

	for (unsigned i = 0; !rc && i < eh.e_phnum; i++) {
		struct piece p;
		Elf32_Phdr ph;

		memcpy(&ph, image->kernel + eh.e_phoff + i * sizeof(ph), sizeof(ph));
		if (ph.p_type != PT_LOAD || ph.p_memsz == 0)
			continue;
		if (ph.p_filesz > ph.p_memsz)
			return vm_fail(err, -EINVAL,
			               "kernel: program header %u has more bytes in the file than in memory", i);
		if (!boot_inside(ph.p_offset, ph.p_filesz, image->kernel_len))
			return vm_fail(err, -EINVAL,
			               "kernel: truncated: program header %u wants %llu bytes of file, there are %zu",
			               i, (unsigned long long)ph.p_offset + ph.p_filesz, image->kernel_len);
		p = (struct piece){ .off = ph.p_offset, .start = ph.p_paddr, .virt = ph.p_vaddr };
		p.file_end = p.start + ph.p_filesz;
		p.end = p.start + ph.p_memsz;
		rc = add_piece(plan, ram, &p, err);
	}
	if (!rc && !plan->count)
		rc = vm_fail(err, -EINVAL, "kernel: a Multiboot ELF with nothing to load");
	if (!rc)
		*entry = eh.e_entry;
	return rc;
}

/* ---- what goes beside it ---- */

static size_t string_size(const char *s)
{
	return s ? strlen(s) + 1 : 1;
}

static int check_strings(const struct guest_image *image, struct vm_error *err)
{
	if (string_size(image->cmdline) > STRING_MAX)
		return vm_fail(err, -EINVAL, "command line: longer than %u characters", STRING_MAX - 1);
	for (unsigned i = 0; i < image->module_count; i++) {
		if (string_size(image->modules[i].name) > STRING_MAX)
			return vm_fail(err, -EINVAL, "module %u: its name is longer than %u characters", i,
			               STRING_MAX - 1);
	}
	return 0;
}

static int place_modules(struct multiboot_plan *plan, const struct ram *ram, const struct guest_image *image,
                         struct vm_error *err)
{
	uint64_t at = boot_page_up(plan->end > HIGH_START ? plan->end : HIGH_START);

	for (unsigned i = 0; i < image->module_count; i++) {
		plan->modules[i] = at;
		at = boot_page_up(at + image->modules[i].len);
	}
	plan->modules_end = at;
	return at <= ram->size || !image->module_count ? 0 : boot_too_little_memory(ram, "modules", at, err);
}

static int place_block(struct multiboot_plan *plan, const struct ram *ram, const struct guest_image *image,
                       struct vm_error *err)
{
	uint64_t size = BOOT_GDT_SIZE + I_SIZE + MAP_ENTRIES * MMAP_ENTRY + image->module_count * MOD_ENTRY +
	                string_size(image->cmdline) + sizeof(LOADER_NAME);

	for (unsigned i = 0; i < image->module_count; i++)
		size += string_size(image->modules[i].name);
	plan->block_size = boot_page_up(size);
	for (uint64_t at = LOW_BLOCK; at + plan->block_size <= (LOW_END & PAGE_MASK); at += PAGE_SIZE) {
		plan->block = at;
		if (clear_of_kernel(plan, at, at + plan->block_size))
			return 0;
	}
	plan->block = plan->modules_end;
	if (plan->block + plan->block_size > ram->size)
		return boot_too_little_memory(ram, "kernel", plan->block + plan->block_size, err);
	return 0;
}

static int make_plan(struct multiboot_plan *plan, const struct ram *ram, const struct guest_image *image,
                     struct vm_error *err)
{
	uint32_t flags, entry = 0;
	int rc;

	BUG_ON(!find_header(image, &plan->header));
	plan->flags = flags = boot_u32(image->kernel + plan->header + H_FLAGS);
	if (flags & FLAGS_REQUIRED & ~FLAGS_KNOWN)
		return vm_fail(err, -EINVAL, "kernel: it requires Multiboot features 0x%x, which are not known",
		               flags & FLAGS_REQUIRED & ~FLAGS_KNOWN);
	if (!boot_inside(plan->header,
	                 flags & FLAG_VIDEO       ? 48
	                 : flags & FLAG_ADDRESSES ? 32
	                                          : 12,
	                 image->kernel_len < HEADER_WITHIN ? image->kernel_len : HEADER_WITHIN))
		return vm_fail(err, -EINVAL, "kernel: its Multiboot header is cut off");
	if (image->initrd)
		return vm_fail(err, -EINVAL, "initrd: only Linux takes one; give a Multiboot kernel a module");
	rc = flags & FLAG_ADDRESSES ? plan_flat(plan, ram, image, &entry, err) : plan_elf(plan, ram, image, &entry, err);
	if (!rc)
		rc = find_entry(plan, entry, err);
	if (!rc)
		rc = check_strings(image, err);
	if (!rc)
		rc = place_modules(plan, ram, image, err);
	return rc ? rc : place_block(plan, ram, image, err);
}

/* ---- writing ---- */

static void put32(struct ram *ram, uint64_t gpa, uint64_t value)
{
	uint32_t v = (uint32_t)value;

	ram_write(ram, gpa, &v, sizeof(v));
}

/* Appends a string to the block; returns its address. */
static uint64_t put_string(struct ram *ram, uint64_t *at, const char *s)
{
	uint64_t here = *at;

	ram_write(ram, here, s ? s : "", string_size(s));
	*at += string_size(s);
	return here;
}

/* What follows a piece's bytes is zero already: RAM is fresh, and pieces do not overlap. */
static void write_pieces(struct ram *ram, const struct multiboot_plan *plan, const struct guest_image *image)
{
	for (unsigned i = 0; i < plan->count; i++) {
		const struct piece *p = &plan->pieces[i];

		ram_write(ram, p->start, image->kernel + p->off, p->file_end - p->start);
	}
}

static uint64_t write_mmap(struct ram *ram, uint64_t at)
{
	struct map_entry map[MAP_ENTRIES];

	boot_memory_map(ram, map);
	for (unsigned i = 0; i < MAP_ENTRIES; i++, at += MMAP_ENTRY) {
		put32(ram, at, MMAP_ENTRY - 4); /* the entry's size, without this field */
		ram_write(ram, at + 4, &map[i].start, 8);
		ram_write(ram, at + 12, &map[i].size, 8);
		put32(ram, at + 20, map[i].type);
	}
	return at;
}

static void write_modules(struct ram *ram, const struct multiboot_plan *plan, const struct guest_image *image,
                          uint64_t list, uint64_t *strings)
{
	for (unsigned i = 0; i < image->module_count; i++) {
		const struct guest_module *m = &image->modules[i];

		if (m->len)
			ram_write(ram, plan->modules[i], m->data, m->len);
		put32(ram, list + i * MOD_ENTRY, plan->modules[i]);
		put32(ram, list + i * MOD_ENTRY + 4, plan->modules[i] + m->len);
		put32(ram, list + i * MOD_ENTRY + 8, put_string(ram, strings, m->name));
		put32(ram, list + i * MOD_ENTRY + 12, 0);
	}
}

/* Descriptor table, information structure, memory map, module list, strings. Returns the structure's address. */
static uint64_t write_block(struct ram *ram, const struct multiboot_plan *plan, const struct guest_image *image)
{
	uint64_t mbi = plan->block + BOOT_GDT_SIZE, mmap = mbi + I_SIZE, mods = write_mmap(ram, mmap);
	uint64_t strings = mods + image->module_count * MOD_ENTRY;

	put32(ram, mbi + I_FLAGS, MBI_MEM | MBI_CMDLINE | MBI_MODS | MBI_MMAP | MBI_LOADER_NAME);
	put32(ram, mbi + I_MEM_LOWER, LOW_END >> 10);
	put32(ram, mbi + I_MEM_UPPER, (ram->size - HIGH_START) >> 10);
	put32(ram, mbi + I_CMDLINE, put_string(ram, &strings, image->cmdline));
	put32(ram, mbi + I_LOADER_NAME, put_string(ram, &strings, LOADER_NAME));
	put32(ram, mbi + I_MMAP_LENGTH, MAP_ENTRIES * MMAP_ENTRY);
	put32(ram, mbi + I_MMAP_ADDR, mmap);
	put32(ram, mbi + I_MODS_COUNT, image->module_count);
	put32(ram, mbi + I_MODS_ADDR, mods);
	write_modules(ram, plan, image, mods, &strings);
	BUG_ON(strings > plan->block + plan->block_size);
	return mbi;
}

/* mode 1 is text, and a text mode is what there is. */
static void note_video(struct guest_info *info, const struct multiboot_plan *plan, const struct guest_image *image)
{
	const uint8_t *h = image->kernel + plan->header;

	if (!(plan->flags & FLAG_VIDEO) || boot_u32(h + H_MODE) == 1)
		return;
	snprintf(info->note, sizeof(info->note), "the kernel would like %ux%u graphics of %u bits; there is text, 80x25",
	         boot_u32(h + H_WIDTH), boot_u32(h + H_HEIGHT), boot_u32(h + H_DEPTH));
}

int multiboot_load(struct vcpu *c, const struct guest_image *image, struct guest_info *info, struct vm_error *err)
{
	struct multiboot_plan plan = { 0 };
	uint64_t mbi;
	int rc = make_plan(&plan, c->mmu.ram, image, err);

	if (rc)
		return rc;
	write_pieces(c->mmu.ram, &plan, image);
	mbi = write_block(c->mmu.ram, &plan, image);
	boot_enter(c, (uint32_t)plan.block, plan.entry);
	c->gpr[R_AX] = ENTRY_MAGIC;
	c->gpr[R_BX] = mbi;
	info->kind = GUEST_MULTIBOOT;
	info->entry = plan.entry;
	info->load = (uint32_t)plan.start;
	info->load_end = (uint32_t)plan.end;
	snprintf(info->description, sizeof(info->description), "Multiboot %s, %u segment%s",
	         plan.flags & FLAG_ADDRESSES ? "flat image" : "ELF", plan.count, plan.count == 1 ? "" : "s");
	note_video(info, &plan, image);
	return 0;
}
