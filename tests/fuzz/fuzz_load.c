/*
 * fuzz_load.c - libFuzzer target for the guest loaders.
 *
 * Input: byte 0 chooses memory size, extras and base image; with base "raw" the rest is the kernel, otherwise the
 * rest is a list of patches (offset 16 bits, length 8 bits, bytes) to a sound image, so that the fuzzer need not
 * find a magic number first.
 */
#include <stdlib.h>

#include "tests/unit/synthetic_guest.h"
#include "vmm/bug.h"
#include "vmm/cpu/vcpu.h"
#include "vmm/load/load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t patch(struct synthetic *s, const uint8_t *data, size_t size)
{
	while (size >= 4) {
		size_t off = (size_t)(data[0] | data[1] << 8) % s->len, n = data[2];

		data += 3;
		size -= 3;
		n = n < size ? n : size;
		n = n < s->len - off ? n : s->len - off;
		memcpy(s->bytes + off, data, n);
		data += n;
		size -= n;
	}
	return s->len;
}

/* The kernel in an allocation of its exact size, so that the sanitizer sees the first byte too far. */
static uint8_t *make_kernel(unsigned base, const uint8_t *data, size_t size, size_t *len)
{
	static void (*const make[])(struct synthetic *) = { NULL, synthetic_linux, synthetic_elf, synthetic_flat };
	struct synthetic s;
	uint8_t *kernel;

	if (base)
		make[base](&s);
	*len = base ? patch(&s, data, size) : size;
	kernel = malloc(*len ? *len : 1);
	BUG_ON(!kernel);
	memcpy(kernel, base ? s.bytes : data, *len);
	return kernel;
}

static void check_loaded(const struct vcpu *c, const struct guest_info *info, uint64_t memory)
{
	BUG_ON(info->load >= info->load_end || info->load_end > memory);
	BUG_ON(info->entry < info->load || info->entry >= info->load_end || c->rip != info->entry);
	BUG_ON(memchr(info->description, 0, sizeof(info->description)) == NULL);
	BUG_ON(c->gdtr.base + c->gdtr.limit >= memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guest_image image = { .cmdline = "a=b c" };
	struct guest_info info;
	struct vm_error err = { "" };
	struct ram ram;
	struct vcpu *c = aligned_alloc(64, (sizeof(*c) + 63) & ~63ul);
	uint64_t memory;
	uint8_t *kernel;

	if (!c || size < 1) {
		free(c);
		return 0;
	}
	memset(c, 0, sizeof(*c));
	memory = (uint64_t)(2 + (data[0] >> 5)) << 20;
	BUG_ON(ram_init(&ram, memory) || mmu_init(&c->mmu, &ram, false));
	vcpu_reset(c);
	image.kernel = kernel = make_kernel(data[0] & 3, data + 1, size - 1, &image.kernel_len);
	if (data[0] & 4) {
		image.initrd = kernel;
		image.initrd_len = image.kernel_len;
	}
	if (data[0] & 8) {
		image.module_count = 2;
		image.modules[0] = (struct guest_module){ "one", kernel, image.kernel_len };
		image.modules[1] = (struct guest_module){ "two", kernel, image.kernel_len };
	}
	if (guest_load(c, &image, &info, &err) == 0)
		check_loaded(c, &info, memory);
	else
		BUG_ON(!err.text[0] || ram_digest(&ram));
	free(kernel);
	mmu_free(&c->mmu);
	ram_free(&ram);
	free(c);
	return 0;
}
