/*
 * code.c - see code.h.
 */
#include "tools/code.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cpu/vcpu.h"
#include "vmm/decode/insn.h"

#define INSN_BYTES 15
#define ALIKE 3u /* letters: what one calls pushf another calls pushfd */

struct code {
	struct vm *vm;
};

int code_open(struct code **out, struct trace_reader *r, struct vm_error *err)
{
	struct code *c = calloc(1, sizeof(*c));
	int rc;

	*out = NULL;
	if (!c)
		return vm_fail(err, -ENOMEM, "out of memory");
	rc = vm_create(&c->vm, &trace_reader_meta(r)->config, err);
	rc = rc ? rc : trace_reader_restore_at(r, trace_checkpoint_count(r) - 1, c->vm, NULL, NULL, err);
	if (rc)
		code_close(c);
	else
		*out = c;
	return rc;
}

void code_close(struct code *c)
{
	if (!c)
		return;
	vm_destroy(c->vm);
	free(c);
}

static unsigned read_code(struct vcpu *v, uint64_t address, uint8_t bytes[INSN_BYTES])
{
	unsigned n = 0;
	uint64_t gpa;

	for (; n < INSN_BYTES && address + n <= UINT32_MAX; n++) {
		if (mmu_peek(&v->mmu, address + n, &gpa) || !ram_has(v->mmu.ram, gpa))
			break;
		ram_read(v->mmu.ram, gpa, bytes + n, 1);
	}
	return n;
}

bool code_text(void *code, uint64_t address, const char *expected, char *out, size_t size)
{
	const struct code *c = code;
	uint8_t bytes[INSN_BYTES];
	unsigned n = read_code(vm_vcpu(c->vm), address, bytes);

	if (!n)
		return false;
	insn_format(out, size, bytes, n, MODE_CS32 | MODE_SS32, address);
	return !strncmp(out, expected, strlen(expected) < ALIKE ? strlen(expected) : ALIKE);
}
