/*
 * fuzz_decode.c - libFuzzer target for the instruction decoder.
 *
 * Input: byte 0 chooses the mode, the rest are instruction bytes, decoded one after the other as a trace would be.
 * Nothing may crash, and what comes out must be sound enough that an engine can index with it.
 */
#include <stdlib.h>
#include <string.h>

#include "vmm/bug.h"
#include "vmm/decode/insn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct insn *in, int len, unsigned avail)
{
	BUG_ON(in->len < 1 || in->len > avail);
	BUG_ON(len > 0 ? len != in->len : in->op != OP_UD || !(in->flags & IF_ENDS));
	BUG_ON(in->op == OP_NONE || in->op >= OP_MAX || !op_name(in->op));
	BUG_ON(in->form > FORM_I || in->seg >= SEG_COUNT || in->scale > 3);
	BUG_ON(in->base > GPR_ZERO || in->index > GPR_ZERO || in->reg >= GPR_ZERO || in->rm >= GPR_ZERO);
	BUG_ON(len > 0 && in->asize != 2 && in->asize != 4);
}

/* An allocation of exactly `avail` bytes, so that the sanitizer sees the first byte too far. */
static int decode_exactly(const uint8_t *data, unsigned avail, unsigned mode, struct insn *in)
{
	uint8_t *bytes = malloc(avail);
	char text[96];
	int len;

	BUG_ON(!bytes);
	memcpy(bytes, data, avail);
	len = insn_decode(in, bytes, avail, mode, 0);
	insn_format(text, sizeof(text), bytes, avail, mode, 0x1000);
	free(bytes);
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned mode = size ? data[0] & (MODE_CS32 | MODE_SS32 | MODE_VM) : 0;
	size_t pos = 1;

	while (pos < size) {
		unsigned avail = size - pos < 15 ? (unsigned)(size - pos) : 15;
		struct insn in;
		int len = decode_exactly(data + pos, avail, mode, &in);

		if (len == 0) {
			BUG_ON(avail == 15);
			break;
		}
		check(&in, len, avail);
		pos += in.len;
	}
	return 0;
}
