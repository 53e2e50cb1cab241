/*
 * linux.c - a Linux bzImage by its 32-bit boot protocol (Documentation/arch/x86/boot.rst, zero-page.rst).
 *
 * Guest memory at the entry
 *
 *     0x00000400  BIOS data area: first serial port, end of low memory
 *     0x00090000  zero page (struct boot_params), ESI
 *     0x00091000  descriptor table
 *     0x00092000  command line
 *     0x00100000  protected-mode kernel, which unpacks itself up to `runtime_end`
 *        high     initrd, page aligned, as high as the kernel allows
 *
 * The setup code (real mode) is not run: the zero page says what it would have found out.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/load/boot.h"

#define ZERO_PAGE 0x90000u
#define BOOT_GDT 0x91000u
#define CMDLINE 0x92000u
#define CMDLINE_ROOM 0x8000u
#define KERNEL HIGH_START

#define BDA_COM1 0x400u
#define BDA_EBDA 0x40eu /* segment */
#define BDA_LOW_KIB 0x413u

/* Setup header, offsets in the file and in the zero page alike */
#define HDR 0x1f1u
#define HDR_SETUP_SECTS 0x1f1
#define HDR_SYSSIZE 0x1f4 /* in 16 bytes; 32 bits since 2.04 */
#define HDR_BOOT_FLAG 0x1fe
#define HDR_JUMP_LEN 0x201
#define HDR_MAGIC 0x202
#define HDR_VERSION 0x206
#define HDR_KERNEL_VERSION 0x20e /* offset of a string, less 0x200 */
#define HDR_TYPE_OF_LOADER 0x210
#define HDR_LOADFLAGS 0x211
#define HDR_CODE32_START 0x214
#define HDR_RAMDISK_IMAGE 0x218
#define HDR_RAMDISK_SIZE 0x21c
#define HDR_CMD_LINE_PTR 0x228
#define HDR_INITRD_ADDR_MAX 0x22c /* 2.03 */
#define HDR_ALIGNMENT 0x230       /* 2.05 */
#define HDR_RELOCATABLE 0x234     /* 2.05 */
#define HDR_XLOADFLAGS 0x236      /* 2.12 */
#define HDR_CMDLINE_SIZE 0x238    /* 2.06 */
#define HDR_PREF_ADDRESS 0x258    /* 2.10, 64 bits */
#define HDR_INIT_SIZE 0x260       /* 2.10 */
#define HDR_MAX 0x290u            /* where the zero page has something else */
#define LOADED_HIGH 0x01
#define XLF_KERNEL_64 0x01
#define LOADER_UNDEFINED 0xff

/* Zero page */
#define ZP_SCREEN 0x000
#define ZP_EXT_MEM_K 0x002
#define ZP_ALT_MEM_K 0x1e0
#define ZP_E820_ENTRIES 0x1e8
#define ZP_E820_TABLE 0x2d0
#define E820_SIZE 20

struct linux_plan {
	unsigned version;
	uint64_t kernel_off, kernel_len; /* protected-mode part, in the file */
	uint64_t runtime_end;            /* the unpacked kernel needs RAM up to here */
	uint64_t initrd_max;             /* highest address an initrd's last byte may have */
	uint64_t cmdline_max;            /* without the terminator */
	uint64_t initrd;                 /* chosen address, 0 none */
};

static uint64_t u64(const uint8_t *p)
{
	return boot_u32(p) | (uint64_t)boot_u32(p + 4) << 32;
}

bool linux_is(const struct guest_image *image)
{
	return image->kernel_len >= HDR_MAGIC + 4 && boot_u16(image->kernel + HDR_BOOT_FLAG) == 0xaa55 &&
	       !memcmp(image->kernel + HDR_MAGIC, "HdrS", 4);
}

/* A header field by version: 0 where the protocol does not have it yet. */
static uint32_t field(const struct linux_plan *plan, const uint8_t *k, unsigned since, unsigned off)
{
	return plan->version >= since ? boot_u32(k + off) : 0;
}

static int check_header(struct linux_plan *plan, const struct guest_image *image, struct vm_error *err)
{
	const uint8_t *k = image->kernel;
	uint64_t syssize;

	if (image->kernel_len < HDR_MAX)
		return vm_fail(err, -EINVAL, "kernel: a bzImage cut off in its setup header, after %zu bytes",
		               image->kernel_len);
	plan->version = boot_u16(k + HDR_VERSION);
	if (plan->version < 0x0202)
		return vm_fail(err, -EINVAL, "kernel: Linux boot protocol %u.%02u is too old: 2.02 is the least",
		               plan->version >> 8, plan->version & 0xff);
	if (!(k[HDR_LOADFLAGS] & LOADED_HIGH))
		return vm_fail(err, -EINVAL, "kernel: a zImage that loads low; only bzImage is known");
	if (plan->version >= 0x020c && (boot_u16(k + HDR_XLOADFLAGS) & XLF_KERNEL_64))
		return vm_fail(err, -EINVAL,
		               "kernel: a 64-bit Linux; this machine is 32-bit (take an i386 or i686 kernel)");
	plan->kernel_off = ((k[HDR_SETUP_SECTS] ? k[HDR_SETUP_SECTS] : 4) + 1) * 512u;
	if (plan->kernel_off >= image->kernel_len)
		return vm_fail(err, -EINVAL,
		               "kernel: a bzImage cut off in its setup code: %zu bytes, but the kernel begins at %llu",
		               image->kernel_len, (unsigned long long)plan->kernel_off);
	plan->kernel_len = image->kernel_len - plan->kernel_off;
	syssize = (uint64_t)field(plan, k, 0x0204, HDR_SYSSIZE) * 16;
	if (syssize >= plan->kernel_len + 16) /* the last paragraph may be incomplete */
		return vm_fail(err, -EINVAL, "kernel: truncated: %llu bytes of kernel, but its header says %llu",
		               (unsigned long long)plan->kernel_len, (unsigned long long)syssize);
	return 0;
}

/* The load address as a relocatable kernel aligns it. */
static uint64_t relocated(const struct linux_plan *plan, const uint8_t *k)
{
	uint64_t align = field(plan, k, 0x0205, HDR_ALIGNMENT);

	if (plan->version < 0x0205 || !k[HDR_RELOCATABLE] || !align || (align & (align - 1)))
		return KERNEL;
	return (KERNEL + align - 1) & ~(align - 1);
}

/* Where the kernel ends up after unpacking: at its preferred address, or above its load address when that is higher. */
static int check_memory(struct linux_plan *plan, const struct ram *ram, const uint8_t *k, struct vm_error *err)
{
	uint64_t need = KERNEL + plan->kernel_len;

	if (plan->version >= 0x020a) {
		uint64_t start = u64(k + HDR_PREF_ADDRESS), size = boot_u32(k + HDR_INIT_SIZE);

		if (start > UINT32_MAX)
			return vm_fail(err, -EINVAL, "kernel: preferred address 0x%llx is above 4 GiB",
			               (unsigned long long)start);
		if (start < relocated(plan, k))
			start = relocated(plan, k);
		if (start + size > need)
			need = start + size;
	}
	plan->runtime_end = boot_page_up(need);
	return plan->runtime_end <= ram->size ? 0 : boot_too_little_memory(ram, "kernel", plan->runtime_end, err);
}

static int place_initrd(struct linux_plan *plan, const struct ram *ram, const struct guest_image *image,
                        struct vm_error *err)
{
	uint64_t end = ram->size, len = image->initrd_len;

	if (!image->initrd || !len)
		return 0;
	if (end > plan->initrd_max + 1)
		end = plan->initrd_max + 1;
	if (end >= len && ((end - len) & PAGE_MASK) >= plan->runtime_end) {
		plan->initrd = (end - len) & PAGE_MASK;
		return 0;
	}
	if (plan->runtime_end + boot_page_up(len) > plan->initrd_max + 1)
		return vm_fail(err, -EINVAL,
		               "initrd: %zu bytes do not fit below 0x%llx, the highest address this kernel allows",
		               image->initrd_len, (unsigned long long)plan->initrd_max);
	return boot_too_little_memory(ram, "initrd", plan->runtime_end + boot_page_up(len), err);
}

static int make_plan(struct linux_plan *plan, const struct ram *ram, const struct guest_image *image, struct vm_error *err)
{
	const uint8_t *k = image->kernel;
	size_t cmdline = image->cmdline ? strlen(image->cmdline) : 0;
	int rc = check_header(plan, image, err);

	if (!rc)
		rc = check_memory(plan, ram, k, err);
	if (rc)
		return rc;
	plan->initrd_max = plan->version >= 0x0203 ? boot_u32(k + HDR_INITRD_ADDR_MAX) : 0x37ffffff;
	plan->cmdline_max = plan->version >= 0x0206 ? boot_u32(k + HDR_CMDLINE_SIZE) : 255;
	if (plan->cmdline_max > CMDLINE_ROOM - 1)
		plan->cmdline_max = CMDLINE_ROOM - 1;
	if (cmdline > plan->cmdline_max)
		return vm_fail(err, -EINVAL, "command line: %zu characters, but this kernel takes %llu", cmdline,
		               (unsigned long long)plan->cmdline_max);
	if (image->module_count)
		return vm_fail(err, -EINVAL, "module: Linux takes an initrd, not modules");
	return place_initrd(plan, ram, image, err);
}

static void put(uint8_t *zp, unsigned off, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		zp[off + i] = (uint8_t)(value >> (8 * i));
}

/* VGA text, mode 3: 80 columns, 25 lines of 16-line characters, cursor top left. */
static void put_screen(uint8_t *zp)
{
	put(zp, ZP_SCREEN + 0x06, 3, 1);  /* orig_video_mode */
	put(zp, ZP_SCREEN + 0x07, 80, 1); /* orig_video_cols */
	put(zp, ZP_SCREEN + 0x0e, 25, 1); /* orig_video_lines */
	put(zp, ZP_SCREEN + 0x0f, 1, 1);  /* orig_video_isVGA */
	put(zp, ZP_SCREEN + 0x10, 16, 2); /* orig_video_points */
}

static void put_memory(uint8_t *zp, const struct ram *ram)
{
	uint64_t high_k = (ram->size - HIGH_START) >> 10;
	struct map_entry map[MAP_ENTRIES];

	put(zp, ZP_EXT_MEM_K, high_k > 0xffff ? 0xffff : high_k, 2);
	put(zp, ZP_ALT_MEM_K, high_k, 4);
	boot_memory_map(ram, map);
	put(zp, ZP_E820_ENTRIES, MAP_ENTRIES, 1);
	for (unsigned i = 0; i < MAP_ENTRIES; i++) {
		put(zp, ZP_E820_TABLE + i * E820_SIZE, map[i].start, 8);
		put(zp, ZP_E820_TABLE + i * E820_SIZE + 8, map[i].size, 8);
		put(zp, ZP_E820_TABLE + i * E820_SIZE + 16, map[i].type, 4);
	}
}

static void put_header(uint8_t *zp, const struct linux_plan *plan, const struct guest_image *image)
{
	unsigned end = HDR_MAGIC + image->kernel[HDR_JUMP_LEN];

	if (end > HDR_MAX)
		end = HDR_MAX;
	if (end > HDR)
		memcpy(zp + HDR, image->kernel + HDR, end - HDR);
	put(zp, HDR_TYPE_OF_LOADER, LOADER_UNDEFINED, 1);
	put(zp, HDR_CODE32_START, KERNEL, 4);
	put(zp, HDR_CMD_LINE_PTR, CMDLINE, 4);
	put(zp, HDR_RAMDISK_IMAGE, plan->initrd, 4);
	put(zp, HDR_RAMDISK_SIZE, plan->initrd ? image->initrd_len : 0, 4);
}

static void write_low_memory(struct ram *ram, const struct linux_plan *plan, const struct guest_image *image)
{
	static const uint16_t com1 = 0x3f8, ebda = LOW_END >> 4, low_kib = LOW_END >> 10;
	uint8_t zp[PAGE_SIZE] = { 0 };

	put_screen(zp);
	put_memory(zp, ram);
	put_header(zp, plan, image);
	ram_write(ram, ZERO_PAGE, zp, sizeof(zp));
	ram_write(ram, BDA_COM1, &com1, sizeof(com1));
	ram_write(ram, BDA_EBDA, &ebda, sizeof(ebda));
	ram_write(ram, BDA_LOW_KIB, &low_kib, sizeof(low_kib));
	if (image->cmdline)
		ram_write(ram, CMDLINE, image->cmdline, strlen(image->cmdline) + 1);
}

/* The kernel's own version string, if its pointer is good; printable part only. */
static void describe(struct guest_info *info, const struct linux_plan *plan, const struct guest_image *image)
{
	unsigned at = boot_u16(image->kernel + HDR_KERNEL_VERSION), n = 0;
	char name[64] = "";

	for (at = at ? at + 0x200 : 0; at && at < plan->kernel_off && n < sizeof(name) - 1; at++) {
		uint8_t ch = image->kernel[at];

		if (ch <= ' ' || ch > '~')
			break;
		name[n++] = (char)ch;
	}
	name[n] = '\0';
	snprintf(info->description, sizeof(info->description), "Linux %s, boot protocol %u.%02u",
	         n ? name : "(no version)", plan->version >> 8, plan->version & 0xff);
}

int linux_load(struct vcpu *c, const struct guest_image *image, struct guest_info *info, struct vm_error *err)
{
	struct linux_plan plan = { 0 };
	struct ram *ram = c->mmu.ram;
	int rc = make_plan(&plan, ram, image, err);

	if (rc)
		return rc;
	ram_write(ram, KERNEL, image->kernel + plan.kernel_off, plan.kernel_len);
	if (plan.initrd)
		ram_write(ram, plan.initrd, image->initrd, image->initrd_len);
	write_low_memory(ram, &plan, image);
	boot_enter(c, BOOT_GDT, KERNEL);
	c->gpr[R_SI] = ZERO_PAGE;
	info->kind = GUEST_LINUX;
	info->entry = info->load = KERNEL;
	info->load_end = (uint32_t)(KERNEL + plan.kernel_len);
	describe(info, &plan, image);
	return 0;
}
