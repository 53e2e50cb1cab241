/*
 * load.h - how a guest gets in: a kernel image that somebody read, placed into RAM with what its boot protocol
 * promises, and the processor set to its entry.
 *
 * Two protocols, told apart by content: Linux bzImage (32-bit boot protocol, Documentation/arch/x86/boot.rst) and
 * Multiboot 1 (ELF32, or any flat file with the address fields). Images are hostile: every offset and size is
 * checked before use, and what does not fit is refused with a message that begins with the part it is about
 * ("kernel: ", "initrd: ", "module NAME: ", ...).
 */
#ifndef RINGSIDE_VMM_LOAD_LOAD_H
#define RINGSIDE_VMM_LOAD_LOAD_H

#include "vmm/vm.h"

struct vcpu;

#define GUEST_MODULES_MAX 16
#define GUEST_FILE_MAX (1ull << 30) /* a sensible `max` for guest_file_read() */

struct guest_module {
	const char *name; /* the module's command line, as Multiboot hands it over; NULL = "" */
	const uint8_t *data;
	size_t len; /* may be 0 */
};

/* All borrowed for the call. */
struct guest_image {
	const uint8_t *kernel;
	size_t kernel_len;
	const uint8_t *initrd; /* Linux only; NULL = none */
	size_t initrd_len;
	const char *cmdline;                            /* NULL = "" */
	struct guest_module modules[GUEST_MODULES_MAX]; /* Multiboot only */
	unsigned module_count;
};

enum guest_kind { GUEST_LINUX = 1, GUEST_MULTIBOOT };

struct guest_info {
	enum guest_kind kind;
	uint32_t entry;          /* physical address of the first instruction */
	uint32_t load, load_end; /* RAM that the kernel's own bytes took, [load, load_end) */
	char description[128];   /* one line for a person: "Linux 6.1.0-18-686 ..., protocol 2.15"; printable ASCII */
	char note[128];          /* something the guest asked for and does not get; "" when nothing */
};

/*
 * Writes guest RAM (c->mmu.ram, fresh and zeroed) and sets c, which is as vcpu_reset() left it, in the virtual view:
 * flat 32-bit segments, CR0.PE, no paging, interrupts off. Nothing is written unless everything fits.
 * -EINVAL: the image is bad, or of no known kind. -ENOSPC: the guest has too little memory; the message says how
 * much it needs. info may be NULL.
 */
int guest_load(struct vcpu *c, const struct guest_image *image, struct guest_info *info, struct vm_error *err);

/* Read a whole file of at most max bytes into memory that the caller frees with free(). `what` begins the message
 * ("kernel").
 * Negative errno: as open() and read(); -EFBIG: more than max; -EINVAL: empty, or not a file; -ENOMEM. */
int guest_file_read(const char *what, const char *path, uint64_t max, uint8_t **data, size_t *len, struct vm_error *err);

#endif
