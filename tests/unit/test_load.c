/*
 * test_load.c - guest loaders: what good images leave in memory and registers, and that bad ones are refused with a word why.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/synthetic_guest.h"
#include "vmm/cpu/vcpu.h"
#include "vmm/load/load.h"

#define MEMORY (4u << 20)

struct rig {
	struct vcpu c;
	struct ram ram;
	struct synthetic kernel;
	struct guest_image image;
	struct guest_info info;
	struct vm_error err;
};

static void start(struct rig *r, uint64_t memory)
{
	assert_int_equal(ram_init(&r->ram, memory), 0);
	assert_int_equal(mmu_init(&r->c.mmu, &r->ram, false), 0);
	vcpu_reset(&r->c);
}

static void stop(struct rig *r)
{
	mmu_free(&r->c.mmu);
	ram_free(&r->ram);
}

static int setup(void **state)
{
	struct rig *r = aligned_alloc(64, (sizeof(*r) + 63) & ~63ul);

	if (!r)
		return -1;
	memset(r, 0, sizeof(*r));
	start(r, MEMORY);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	stop(r);
	free(r);
	return 0;
}

static int load(struct rig *r)
{
	r->image.kernel = r->kernel.bytes;
	r->image.kernel_len = r->kernel.len;
	memset(&r->err, 0, sizeof(r->err));
	return guest_load(&r->c, &r->image, &r->info, &r->err);
}

static void reload(struct rig *r, uint64_t memory)
{
	stop(r);
	start(r, memory);
}

#define REFUSED(r, code, word)                                                                                         \
	do {                                                                                                           \
		assert_int_equal(load(r), code);                                                                       \
		if (!strstr((r)->err.text, word))                                                                      \
			fail_msg("\"%s\" does not say \"%s\"", (r)->err.text, word);                                   \
		assert_int_equal(ram_digest(&(r)->ram), 0); /* nothing was written */                                  \
	} while (0)

static uint32_t look(struct rig *r, uint64_t gpa)
{
	uint32_t v;

	ram_read(&r->ram, gpa, &v, 4);
	return v;
}

static uint8_t look8(struct rig *r, uint64_t gpa)
{
	return (uint8_t)look(r, gpa);
}

static void assert_text(struct rig *r, uint64_t gpa, const char *text)
{
	char buf[256];

	ram_read(&r->ram, gpa, buf, strlen(text) + 1);
	assert_string_equal(buf, text);
}

static void assert_entry_state(struct rig *r, uint32_t entry)
{
	struct vcpu *c = &r->c;

	assert_int_equal(c->rip, entry);
	assert_int_equal(r->info.entry, entry);
	assert_int_equal(c->cr0 & (CR0_PE | CR0_PG), CR0_PE);
	assert_int_equal(c->cpl, 0);
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED);
	assert_int_equal(c->seg[SEG_CS].sel, 0x10);
	assert_true(c->seg[SEG_CS].attr & SEG_CODE);
	assert_true(c->seg[SEG_CS].attr & SEG_DB);
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		assert_int_equal(c->seg[i].base, 0);
		assert_int_equal(c->seg[i].limit, 0xffffffff);
		assert_int_equal(c->seg[i].rlimit, 1ull << 32);
		assert_int_equal(c->seg[i].attr, c->seg[i].guest_attr);
		assert_true(i == SEG_CS || c->seg[i].sel == 0x18);
		assert_true(i == SEG_CS || c->seg[i].wlimit == 1ull << 32);
		/* the table the registers were loaded from says the same */
		assert_int_equal(look(r, c->gdtr.base + c->seg[i].sel), 0x0000ffff);
		assert_int_equal(look(r, c->gdtr.base + c->seg[i].sel + 4) >> 8 & 0xf0ff, c->seg[i].attr);
	}
	assert_true(c->gdtr.limit >= 0x1f);
}

/* ---- Linux ---- */

static void linux_image(void **state)
{
	struct rig *r = *state;
	uint8_t kernel[4096];
	uint64_t e820[4][2];

	synthetic_linux(&r->kernel);
	r->image.cmdline = "console=ttyS0 quiet";
	assert_int_equal(load(r), 0);
	assert_entry_state(r, 0x100000);
	assert_int_equal(r->info.kind, GUEST_LINUX);
	assert_string_equal(r->info.description, "Linux 6.1.0-test, boot protocol 2.15");
	assert_int_equal(r->info.load_end, 0x101000);
	assert_int_equal(r->c.gpr[R_SI], 0x90000);
	assert_int_equal(r->c.gpr[R_BX] | r->c.gpr[R_BP] | r->c.gpr[R_DI], 0);
	ram_read(&r->ram, 0x100000, kernel, sizeof(kernel));
	assert_memory_equal(kernel, r->kernel.bytes + 3 * 512, 4096);
	/* zero page */
	assert_int_equal(look(r, 0x90202), 0x53726448);
	assert_int_equal(look8(r, 0x90210), 0xff);
	assert_int_equal(look(r, 0x90214), 0x100000);
	assert_int_equal(look(r, 0x90218), 0);
	assert_int_equal(look(r, 0x9021c), 0);
	assert_text(r, look(r, 0x90228), "console=ttyS0 quiet");
	assert_int_equal(look(r, 0x90260), 0x100000); /* the header was copied to its end, */
	assert_int_equal(look(r, 0x9026c), 0);        /* and not further */
	assert_int_equal(look8(r, 0x901ef), 0);       /* sentinel */
	assert_int_equal(look8(r, 0x90006), 3);
	assert_int_equal(look8(r, 0x90007), 80);
	assert_int_equal(look8(r, 0x9000e), 25);
	assert_int_equal(look8(r, 0x9000f), 1);
	assert_int_equal(look(r, 0x90002) & 0xffff, 3072);
	assert_int_equal(look(r, 0x901e0), 3072);
	assert_int_equal(look8(r, 0x901e8), 4);
	for (unsigned i = 0; i < 4; i++)
		ram_read(&r->ram, 0x902d0 + i * 20, e820[i], 16);
	assert_int_equal(e820[0][0], 0);
	assert_int_equal(e820[0][1], 0x9fc00);
	assert_int_equal(look(r, 0x902d0 + 16), 1);
	assert_int_equal(e820[1][0], 0x9fc00);
	assert_int_equal(look(r, 0x902d0 + 36), 2);
	assert_int_equal(e820[2][0], 0xf0000);
	assert_int_equal(e820[2][1], 0x10000);
	assert_int_equal(e820[3][0], 0x100000);
	assert_int_equal(e820[3][1], MEMORY - 0x100000);
	assert_int_equal(look(r, 0x413) & 0xffff, 639);
}

static void linux_initrd(void **state)
{
	struct rig *r = *state;
	uint8_t *initrd = malloc(0x180001);

	assert_non_null(initrd);
	memset(initrd, 0x5a, 0x180001);
	synthetic_linux(&r->kernel);
	r->image.initrd = initrd;
	r->image.initrd_len = 5000;
	assert_int_equal(load(r), 0);
	assert_int_equal(look(r, 0x90218), MEMORY - 0x2000); /* as high as can be, page aligned */
	assert_int_equal(look(r, 0x9021c), 5000);
	assert_int_equal(look(r, MEMORY - 0x2000 + 4996), 0x5a5a5a5a);
	assert_int_equal(look8(r, MEMORY - 0x2000 + 5000), 0);

	reload(r, MEMORY);
	synthetic_put(&r->kernel, 0x22c, 0x2fffff, 4); /* no higher than 3 MiB */
	assert_int_equal(load(r), 0);
	assert_int_equal(look(r, 0x90218), 0x2fe000);

	reload(r, MEMORY);
	r->image.initrd_len = 0x100000; /* exactly between the kernel's end and that */
	assert_int_equal(load(r), 0);
	assert_int_equal(look(r, 0x90218), 0x200000);

	reload(r, MEMORY);
	r->image.initrd_len = 0x100001;
	REFUSED(r, -EINVAL, "initrd: 1048577 bytes do not fit below 0x2fffff");
	synthetic_put(&r->kernel, 0x22c, 0x7fffffff, 4);
	reload(r, 3u << 20);
	REFUSED(r, -ENOSPC, "initrd: too little memory: it needs at least 4 MiB, the guest has 3 MiB");
	reload(r, MEMORY);
	assert_int_equal(load(r), 0);
	assert_int_equal(look(r, 0x90218), MEMORY - 0x101000);
	free(initrd);
}

static void linux_old_protocols(void **state)
{
	struct rig *r = *state;
	char line[300];

	synthetic_linux(&r->kernel);
	synthetic_put(&r->kernel, 0x206, 0x0202, 2);
	synthetic_put(&r->kernel, 0x1f1, 0, 1);          /* 0 means 4 setup sectors */
	synthetic_put(&r->kernel, 0x1f4, 0xffffffff, 4); /* 16 bits then, and not ours to check */
	memset(line, 'x', sizeof(line));
	line[255] = '\0';
	r->image.cmdline = line;
	assert_int_equal(load(r), 0);
	assert_int_equal(r->info.load_end, 0x100000 + 4096 - 2 * 512);
	reload(r, MEMORY);
	line[255] = 'x';
	line[256] = '\0';
	REFUSED(r, -EINVAL, "command line: 256 characters, but this kernel takes 255");
	synthetic_put(&r->kernel, 0x206, 0x0201, 2);
	REFUSED(r, -EINVAL, "protocol 2.01 is too old");
}

static void linux_refused(void **state)
{
	static const struct {
		unsigned off, size;
		uint64_t value;
		int rc;
		const char *say;
	} cases[] = {
		{ 0x211, 1, 0x80, -EINVAL, "zImage" },
		{ 0x236, 2, 0x01, -EINVAL, "64-bit Linux" },
		{ 0x1f1, 1, 200, -EINVAL, "cut off in its setup code" },
		{ 0x1f4, 4, 4096 / 16 + 1, -EINVAL, "truncated: 4096 bytes of kernel, but its header says 4112" },
		{ 0x1f4, 4, 0xffffffff, -EINVAL, "truncated" },
		{ 0x260, 4, 0x400000, -ENOSPC, "kernel: too little memory: it needs at least 5 MiB, the guest has 4 MiB" },
		{ 0x260, 4, 0xffffffff, -ENOSPC, "too little memory" },
		{ 0x258, 8, 0x1000000, -ENOSPC, "at least 17 MiB" },
		{ 0x258, 8, 0xffffffffffffffff, -EINVAL, "above 4 GiB" },
		{ 0x230, 4, 0x1000000, -ENOSPC, "at least 17 MiB" }, /* its alignment takes it there */
		{ 0x238, 4, 3, -EINVAL, "command line: 5 characters" },
	};
	struct rig *r = *state;

	r->image.cmdline = "12345";
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		synthetic_linux(&r->kernel);
		synthetic_put(&r->kernel, cases[i].off, cases[i].value, cases[i].size);
		REFUSED(r, cases[i].rc, cases[i].say);
	}
	synthetic_linux(&r->kernel);
	r->image.module_count = 1;
	REFUSED(r, -EINVAL, "not modules");
}

/* Every length: refused until the kernel is whole. Under a sanitizer, or by the guard of an exact allocation, overreads show. */
static void truncated_images(void **state)
{
	static void (*const make[])(struct synthetic *) = { synthetic_linux, synthetic_elf, synthetic_flat };
	struct rig *r = *state;

	for (unsigned kind = 0; kind < 3; kind++) {
		make[kind](&r->kernel);
		for (size_t len = 1; len < r->kernel.len; len += len < 0x700 ? 1 : 97) {
			uint8_t *exact = malloc(len);
			int rc;

			assert_non_null(exact);
			memcpy(exact, r->kernel.bytes, len);
			r->image.kernel = exact;
			r->image.kernel_len = len;
			rc = guest_load(&r->c, &r->image, &r->info, &r->err);
			free(exact);
			if (kind < 2 ? len + 15 < r->kernel.len : len < 0x120) {
				assert_int_equal(rc, -EINVAL);
				assert_int_equal(strncmp(r->err.text, "kernel: ", 8), 0);
			}
		}
	}
}

/* ---- Multiboot ---- */

static void multiboot_elf(void **state)
{
	struct rig *r = *state;
	uint8_t buf[0x1000];
	uint32_t mbi, mods, mmap;

	synthetic_elf(&r->kernel);
	r->image.cmdline = "kernel arg";
	r->image.module_count = 2;
	r->image.modules[0] = (struct guest_module){ "init one", (const uint8_t *)"FIRST", 5 };
	r->image.modules[1] = (struct guest_module){ NULL, (const uint8_t *)"SECOND", 6 };
	assert_int_equal(load(r), 0);
	assert_entry_state(r, 0x100010);
	assert_int_equal(r->info.kind, GUEST_MULTIBOOT);
	assert_int_equal(r->info.load, 0x100000);
	assert_int_equal(r->info.load_end, 0x105000);
	assert_string_equal(r->info.note, "");
	assert_int_equal(r->c.gpr[R_AX], 0x2badb002);
	ram_read(&r->ram, 0x100000, buf, 0x1000);
	assert_memory_equal(buf, r->kernel.bytes, 0x1000);
	ram_read(&r->ram, 0x102000, buf, 0x1000);
	assert_memory_equal(buf, r->kernel.bytes + 0x1000, 0x800);
	for (unsigned i = 0x800; i < 0x1000; i++)
		assert_int_equal(buf[i], 0);
	mbi = (uint32_t)r->c.gpr[R_BX];
	assert_int_equal(look(r, mbi), 1 | 4 | 8 | 64 | 512);
	assert_int_equal(look(r, mbi + 4), 639);
	assert_int_equal(look(r, mbi + 8), 3072);
	assert_text(r, look(r, mbi + 16), "kernel arg");
	assert_text(r, look(r, mbi + 64), "Ringside");
	assert_int_equal(look(r, mbi + 20), 2);
	mods = look(r, mbi + 24);
	assert_int_equal(look(r, mods), 0x105000);
	assert_int_equal(look(r, mods + 4), 0x105005);
	assert_text(r, look(r, mods + 8), "init one");
	assert_int_equal(look(r, mods + 16), 0x106000);
	assert_int_equal(look(r, mods + 20), 0x106006);
	assert_text(r, look(r, mods + 24), "");
	assert_int_equal(look(r, 0x106000), 0x4f434553);
	mmap = look(r, mbi + 48);
	assert_int_equal(look(r, mbi + 44), 4 * 24);
	assert_int_equal(look(r, mmap), 20);
	assert_int_equal(look(r, mmap + 3 * 24 + 4), 0x100000);
	assert_int_equal(look(r, mmap + 3 * 24 + 12), MEMORY - 0x100000);
	assert_int_equal(look(r, mmap + 3 * 24 + 20), 1);
	assert_int_equal(look(r, mmap + 1 * 24 + 20), 2);
}

static void multiboot_flat(void **state)
{
	struct rig *r = *state;
	uint8_t buf[0x1000];

	synthetic_flat(&r->kernel);
	assert_int_equal(load(r), 0);
	assert_entry_state(r, 0x1fc020);
	ram_read(&r->ram, 0x1fc000, buf, 0x1000);
	assert_memory_equal(buf, r->kernel.bytes, 0x1000);
	assert_int_equal(r->info.load_end, 0x1fe000);
	reload(r, MEMORY);
	synthetic_put(&r->kernel, SYNTHETIC_ELF_HEADER + 16, 0x1fc080, 4); /* its start is within the file */
	synthetic_put(&r->kernel, SYNTHETIC_ELF_HEADER + 20, 0x1fc200, 4);
	synthetic_put(&r->kernel, SYNTHETIC_ELF_HEADER + 28, 0x1fc084, 4);
	assert_int_equal(load(r), 0);
	ram_read(&r->ram, 0x1fc080, buf, 0x200);
	assert_memory_equal(buf, r->kernel.bytes + 0x80, 0x180);
	assert_int_equal(buf[0x180], 0);
}

/* A kernel that fills low memory: the information goes above the modules. */
static void multiboot_block_avoids_kernel(void **state)
{
	struct rig *r = *state;

	synthetic_elf(&r->kernel);
	synthetic_put(&r->kernel, sizeof(Elf32_Ehdr) + sizeof(Elf32_Phdr) + offsetof(Elf32_Phdr, p_paddr), 0x8000, 4);
	synthetic_put(&r->kernel, sizeof(Elf32_Ehdr) + sizeof(Elf32_Phdr) + offsetof(Elf32_Phdr, p_memsz), 0x98000, 4);
	r->image.module_count = 1;
	r->image.modules[0] = (struct guest_module){ "m", (const uint8_t *)"x", 1 };
	assert_int_equal(load(r), 0);
	assert_int_equal(r->c.gpr[R_BX] & ~0xfffull, 0x102000);
	assert_int_equal(look8(r, 0x101000), 'x');
	assert_entry_state(r, 0x100010);
}

static void multiboot_video(void **state)
{
	struct rig *r = *state;

	synthetic_elf(&r->kernel);
	synthetic_multiboot_header(&r->kernel, 0x7);
	synthetic_put(&r->kernel, SYNTHETIC_ELF_HEADER + 32, 0, 4);
	synthetic_put(&r->kernel, SYNTHETIC_ELF_HEADER + 36, 1024, 4);
	synthetic_put(&r->kernel, SYNTHETIC_ELF_HEADER + 40, 768, 4);
	synthetic_put(&r->kernel, SYNTHETIC_ELF_HEADER + 44, 32, 4);
	assert_int_equal(load(r), 0);
	assert_non_null(strstr(r->info.note, "1024x768 graphics of 32 bits"));
	synthetic_put(&r->kernel, SYNTHETIC_ELF_HEADER + 32, 1, 4);
	assert_int_equal(load(r), 0);
	assert_string_equal(r->info.note, "");
}

#define EH(field) offsetof(Elf32_Ehdr, field)
#define PH(n, field) (sizeof(Elf32_Ehdr) + (n) * sizeof(Elf32_Phdr) + offsetof(Elf32_Phdr, field))

static void multiboot_refused(void **state)
{
	static const struct {
		unsigned off, size;
		uint64_t value;
		int rc;
		const char *say;
	} elf[] = {
		{ EI_CLASS, 1, ELFCLASS64, -EINVAL, "not 32-bit i386" },
		{ EI_DATA, 1, ELFDATA2MSB, -EINVAL, "not 32-bit i386" },
		{ EH(e_machine), 2, EM_ARM, -EINVAL, "not 32-bit i386" },
		{ EH(e_type), 2, ET_REL, -EINVAL, "not a linked executable" },
		{ EH(e_phentsize), 2, 31, -EINVAL, "program headers" },
		{ EH(e_phnum), 2, 0, -EINVAL, "program headers" },
		{ EH(e_phnum), 2, 0xffff, -EINVAL, "truncated: its program headers" },
		{ EH(e_phoff), 4, 0xfffffff0, -EINVAL, "truncated: its program headers" },
		{ EH(e_entry), 4, 0x5000, -EINVAL, "entry 0x5000 is in none" },
		{ EH(e_entry), 4, 0xc0101000, -EINVAL, "in none of its segments" },
		{ PH(0, p_filesz), 4, 0x1001, -EINVAL, "more bytes in the file than in memory" },
		{ PH(1, p_offset), 4, 0x1001, -EINVAL, "truncated: program header 1 wants 6145 bytes" },
		{ PH(1, p_offset), 4, 0xfffffff0, -EINVAL, "truncated" },
		{ PH(1, p_memsz), 4, 0x10000000, -ENOSPC, "too little memory: it needs at least 258 MiB" },
		{ PH(1, p_memsz), 4, 0xffffffff, -EINVAL, "is not in RAM" },
		{ PH(1, p_paddr), 4, 0x9f000, -EINVAL, "is not in RAM" },
		{ PH(1, p_paddr), 4, 0xbf000, -EINVAL, "is not in RAM" },
		{ PH(1, p_paddr), 4, 0x100fff, -EINVAL, "overlaps another" },
		{ PH(1, p_paddr), 4, 0xfffff000, -EINVAL, "is not in RAM" },
		{ SYNTHETIC_ELF_HEADER + 8, 4, 5, -EINVAL, "without a Multiboot header" },
	};
	static const struct {
		unsigned off;
		uint32_t value;
		const char *say;
	} flat[] = {
		{ 16, 0x1fbfff, "before the file's" },   { 16, 0x200000, "before the file's" },
		{ 20, 0x1fd001, "truncated" },           { 20, 0x1fb000, "truncated" },
		{ 20, 0xffffffff, "truncated" },         { 24, 0x1fc800, "bss ends before" },
		{ 24, 0xffffffff, "too little memory" }, { 28, 0, "entry 0x0 is in none" },
	};
	struct rig *r = *state;

	for (unsigned i = 0; i < sizeof(elf) / sizeof(elf[0]); i++) {
		synthetic_elf(&r->kernel);
		synthetic_put(&r->kernel, elf[i].off, elf[i].value, elf[i].size);
		REFUSED(r, elf[i].rc, elf[i].say);
	}
	for (unsigned i = 0; i < sizeof(flat) / sizeof(flat[0]); i++) {
		synthetic_flat(&r->kernel);
		synthetic_put(&r->kernel, SYNTHETIC_ELF_HEADER + flat[i].off, flat[i].value, 4);
		REFUSED(r, strstr(flat[i].say, "too little") ? -ENOSPC : -EINVAL, flat[i].say);
	}
	synthetic_elf(&r->kernel);
	synthetic_multiboot_header(&r->kernel, 0x0b);
	REFUSED(r, -EINVAL, "requires Multiboot features 0x8");
	synthetic_elf(&r->kernel);
	r->kernel.bytes[0] = 0;
	REFUSED(r, -EINVAL, "not an ELF");
}

static void multiboot_extras_refused(void **state)
{
	struct rig *r = *state;
	char *line = malloc(5000);

	assert_non_null(line);
	memset(line, 'x', 4999);
	line[4999] = '\0';
	synthetic_elf(&r->kernel);
	r->image.initrd = r->kernel.bytes;
	r->image.initrd_len = 10;
	REFUSED(r, -EINVAL, "initrd: only Linux");
	r->image.initrd = NULL;
	r->image.cmdline = line;
	REFUSED(r, -EINVAL, "command line: longer than 4095");
	r->image.cmdline = NULL;
	r->image.module_count = GUEST_MODULES_MAX;
	for (unsigned i = 0; i < GUEST_MODULES_MAX; i++)
		r->image.modules[i] = (struct guest_module){ line, NULL, 0 };
	REFUSED(r, -EINVAL, "module 0: its name is longer");
	line[4095] = '\0';
	assert_int_equal(load(r), 0); /* the largest block there can be */
	assert_text(r, look(r, r->c.gpr[R_BX] + 16), "");
	reload(r, MEMORY);
	r->image.modules[7].data = r->kernel.bytes;
	r->image.modules[7].len = SIZE_MAX / 4;
	REFUSED(r, -ENOSPC, "modules: too little memory");
	free(line);
}

static void not_recognised(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *say;
	} cases[] = {
		{ "\x1f\x8b\x08", 3, "gzip" },
		{ "\xfd"
		  "7zXZ",
		  6, "xz" },
		{ "\x7f"
		  "ELF\x02\x01",
		  6, "64-bit ELF" },
		{ "\x7f"
		  "ELF\x01\x01",
		  6, "without a Multiboot header" },
		{ "!<arch>\n", 8, "archive" },
		{ "070701", 6, "cpio" },
		{ "hello", 5, "only 5 bytes" },
	};
	struct rig *r = *state;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memcpy(r->kernel.bytes, cases[i].bytes, cases[i].len);
		r->kernel.len = cases[i].len;
		REFUSED(r, -EINVAL, cases[i].say);
		REFUSED(r, -EINVAL, "kernel: not a bzImage or Multiboot ELF: ");
	}
	r->kernel.len = 0;
	REFUSED(r, -EINVAL, "empty");
	memset(r->kernel.bytes, 0x90, SYNTHETIC_MAX);
	r->kernel.len = SYNTHETIC_MAX;
	REFUSED(r, -EINVAL, "no \"HdrS\" at 0x202");
	synthetic_linux(&r->kernel);
	reload(r, 1u << 20);
	REFUSED(r, -ENOSPC, "at least 2 MiB");
}

/* Random damage: whatever comes, no access outside image or RAM, and a refusal has a message and writes nothing. */
static void mutated_images(void **state)
{
	static void (*const make[])(struct synthetic *) = { synthetic_linux, synthetic_elf, synthetic_flat };
	static const uint32_t spice[] = { 0,          1,       0x7fffffff, 0x80000000, 0xffffffff,
		                          0xfffff000, 0x9fc00, 0xa0000,    0x100000,   MEMORY };
	struct rig *r = *state;
	uint64_t seed = 99;
	unsigned loaded = 0;

	for (unsigned i = 0; i < 6000; i++) {
		make[i % 3](&r->kernel);
		for (unsigned n = 0; n < 1 + i % 4; n++) {
			unsigned off, base = i % 3 == 0 ? 0x1f0 : n & 1 || i % 3 == 2 ? SYNTHETIC_ELF_HEADER : 0;

			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			off = base + (unsigned)(seed >> 33) % 0x80;
			synthetic_put(&r->kernel, off, seed >> 60 < 8 ? spice[(seed >> 20) % 10] : seed >> 8,
			              seed >> 63 ? 4 : 1);
		}
		if (load(r) == 0) {
			loaded++;
			assert_true(r->c.rip < MEMORY);
			assert_true(r->info.load_end <= MEMORY);
			reload(r, MEMORY);
		} else {
			assert_true(strlen(r->err.text) > 10);
			assert_int_equal(ram_digest(&r->ram), 0);
		}
	}
	assert_in_range(loaded, 100, 5900);
}

/* ---- files ---- */

static void files(void **state)
{
	char path[] = "/tmp/ringside-test-load-XXXXXX", fifo[sizeof(path) + 5];
	struct vm_error err;
	uint8_t *data;
	size_t len;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(guest_file_read("kernel", path, 100, &data, &len, &err), -EINVAL);
	assert_non_null(strstr(err.text, "empty"));
	assert_int_equal(write(fd, "0123456789", 10), 10);
	close(fd);
	assert_int_equal(guest_file_read("kernel", path, 10, &data, &len, &err), 0);
	assert_int_equal(len, 10);
	assert_memory_equal(data, "0123456789", 10);
	free(data);
	assert_int_equal(guest_file_read("kernel", path, 9, &data, &len, &err), -EFBIG);
	assert_null(data);
	assert_non_null(strstr(err.text, "10 bytes, but 9 is the most"));
	assert_int_equal(guest_file_read("initrd", "/tmp", 9, &data, &len, &err), -EINVAL);
	assert_int_equal(strncmp(err.text, "initrd: /tmp: not a regular file", 32), 0);
	unlink(path);
	assert_int_equal(guest_file_read("kernel", path, 9, &data, &len, &err), -ENOENT);
	assert_non_null(strstr(err.text, "No such file"));
	snprintf(fifo, sizeof(fifo), "%s.fifo", path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(guest_file_read("kernel", fifo, 9, &data, &len, &err), -EINVAL); /* and does not wait */
	unlink(fifo);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(linux_image),
		TEST(linux_initrd),
		TEST(linux_old_protocols),
		TEST(linux_refused),
		TEST(truncated_images),
		TEST(multiboot_elf),
		TEST(multiboot_flat),
		TEST(multiboot_block_avoids_kernel),
		TEST(multiboot_video),
		TEST(multiboot_refused),
		TEST(multiboot_extras_refused),
		TEST(not_recognised),
		TEST(mutated_images),
		cmocka_unit_test(files),
	};

	return cmocka_run_group_tests_name("load", tests, NULL, NULL);
}
