/*
 * synthetic_guest.h - small kernel images made up from nothing, for the loaders' unit test and fuzz target. Their code is filler.
 */
#ifndef RINGSIDE_TESTS_UNIT_SYNTHETIC_GUEST_H
#define RINGSIDE_TESTS_UNIT_SYNTHETIC_GUEST_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SYNTHETIC_MAX 32768

struct synthetic {
	uint8_t bytes[SYNTHETIC_MAX];
	size_t len;
};

static inline void synthetic_put(struct synthetic *s, size_t off, uint64_t value, unsigned size)
{
	memcpy(s->bytes + off, &value, size);
}

/* A bzImage of protocol 2.15: two setup sectors, 4096 bytes of kernel, prefers 1 MiB, needs 1 MiB to unpack. */
static inline void synthetic_linux(struct synthetic *s)
{
	memset(s, 0, sizeof(*s));
	s->len = 3 * 512 + 4096;
	for (size_t i = 3 * 512; i < s->len; i++)
		s->bytes[i] = (uint8_t)(i * 13 + 1);
	synthetic_put(s, 0x1f1, 2, 1);         /* setup_sects */
	synthetic_put(s, 0x1f4, 4096 / 16, 4); /* syssize */
	synthetic_put(s, 0x1fe, 0xaa55, 2);
	synthetic_put(s, 0x200, 0x6aeb, 2); /* jmp: header ends at 0x26c */
	memcpy(s->bytes + 0x202, "HdrS", 4);
	synthetic_put(s, 0x206, 0x020f, 2);
	synthetic_put(s, 0x20e, 0x300, 2); /* kernel_version at 0x500 */
	memcpy(s->bytes + 0x500, "6.1.0-test (nobody@nowhere)", 28);
	synthetic_put(s, 0x211, 0x01, 1); /* LOADED_HIGH */
	synthetic_put(s, 0x214, 0x100000, 4);
	synthetic_put(s, 0x22c, 0x7fffffff, 4); /* initrd_addr_max */
	synthetic_put(s, 0x230, 0x100000, 4);   /* kernel_alignment */
	synthetic_put(s, 0x234, 1, 1);          /* relocatable */
	synthetic_put(s, 0x238, 2047, 4);       /* cmdline_size */
	synthetic_put(s, 0x258, 0x100000, 8);   /* pref_address */
	synthetic_put(s, 0x260, 0x100000, 4);   /* init_size */
}

#define SYNTHETIC_ELF_HEADER 0x100u /* where the Multiboot header is in the files below */

static inline void synthetic_multiboot_header(struct synthetic *s, uint32_t flags)
{
	synthetic_put(s, SYNTHETIC_ELF_HEADER, 0x1badb002, 4);
	synthetic_put(s, SYNTHETIC_ELF_HEADER + 4, flags, 4);
	synthetic_put(s, SYNTHETIC_ELF_HEADER + 8, 0u - 0x1badb002u - flags, 4);
}

/* A Multiboot ELF of a higher-half kernel: text at 1 MiB (linked at 0xc0100000), data and bss at 1 MiB + 0x2000. */
static inline void synthetic_elf(struct synthetic *s)
{
	Elf32_Ehdr eh = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_version = EV_CURRENT,
		.e_entry = 0xc0100010,
		.e_phoff = sizeof(Elf32_Ehdr),
		.e_ehsize = sizeof(Elf32_Ehdr),
		.e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = 2,
	};
	Elf32_Phdr ph[2] = {
		{ .p_type = PT_LOAD,
		  .p_offset = 0,
		  .p_vaddr = 0xc0100000,
		  .p_paddr = 0x100000,
		  .p_filesz = 0x1000,
		  .p_memsz = 0x1000 },
		{ .p_type = PT_LOAD,
		  .p_offset = 0x1000,
		  .p_vaddr = 0xc0102000,
		  .p_paddr = 0x102000,
		  .p_filesz = 0x800,
		  .p_memsz = 0x3000 },
	};

	memset(s, 0, sizeof(*s));
	s->len = 0x1800;
	for (size_t i = 0; i < s->len; i++)
		s->bytes[i] = (uint8_t)(i * 7 + 3);
	memcpy(s->bytes, &eh, sizeof(eh));
	memcpy(s->bytes + sizeof(eh), ph, sizeof(ph));
	synthetic_multiboot_header(s, 0x3);
}

/* A flat Multiboot file: the whole file at 2 MiB - 0x4000, bss of 0x1000 behind it. */
static inline void synthetic_flat(struct synthetic *s)
{
	const uint32_t load = 0x1fc000;

	memset(s, 0, sizeof(*s));
	s->len = 0x1000;
	for (size_t i = 0; i < s->len; i++)
		s->bytes[i] = (uint8_t)(i * 5 + 9);
	synthetic_multiboot_header(s, 0x10003);
	synthetic_put(s, SYNTHETIC_ELF_HEADER + 12, load + SYNTHETIC_ELF_HEADER, 4);
	synthetic_put(s, SYNTHETIC_ELF_HEADER + 16, load, 4);
	synthetic_put(s, SYNTHETIC_ELF_HEADER + 20, 0, 4);
	synthetic_put(s, SYNTHETIC_ELF_HEADER + 24, load + 0x2000, 4);
	synthetic_put(s, SYNTHETIC_ELF_HEADER + 28, load + 0x20, 4);
}

#endif
