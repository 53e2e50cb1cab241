/*
 * test_decode.c - bytes to compact instructions: fields of every family, prefixes, lengths, what is #UD in this
 * model, and that no bytes at all make the decoder fall over.
 *
 * A row says what one encoding must decode to, in the notation of show(): name, form, operand size, registers by
 * number (h: the high byte; x: reg and rm as they are where they are no general registers), memory as
 * [segment:base+index*scale+disp], a for 16-bit addresses, immediates, flags. Rows come from the manual's opcode
 * tables (SDM vol. 2, appendix A), not from the decoder.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/decode/insn.h"

#define M32 (MODE_CS32 | MODE_SS32)
#define M16 0

/* ---- notation ---- */

static const char *const form_names[] = {
	[FORM_NONE] = "none", [FORM_RR] = "rr", [FORM_RM] = "rm", [FORM_MR] = "mr", [FORM_RI] = "ri",
	[FORM_MI] = "mi",     [FORM_R] = "r",   [FORM_M] = "m",   [FORM_I] = "i",
};
static const char *const segment_names[SEG_COUNT] = { "es", "cs", "ss", "ds", "fs", "gs" };

struct text {
	char s[160];
	size_t n;
};

static void __attribute__((format(printf, 2, 3))) put(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t->n += (size_t)vsnprintf(t->s + t->n, sizeof(t->s) - t->n, fmt, ap);
	va_end(ap);
}

static void put_slot(struct text *t, const char *prefix, unsigned slot)
{
	if (slot == GPR_ZERO)
		put(t, "%s-", prefix);
	else
		put(t, "%s%u%s", prefix, slot / 8, slot % 8 ? "h" : "");
}

static void put_registers(struct text *t, const struct insn *in, bool plain)
{
	bool has_reg = in->form == FORM_RR || in->form == FORM_RM || in->form == FORM_MR;
	bool has_rm = in->form == FORM_RR || in->form == FORM_RI || in->form == FORM_R;

	if (plain && (has_reg || has_rm)) {
		put(t, " x%u,%u", in->rm, in->reg);
		return;
	}
	if (has_rm)
		put_slot(t, " rm", in->rm);
	if (has_reg)
		put_slot(t, " reg", in->reg);
}

static void put_flags(struct text *t, unsigned flags)
{
	static const struct {
		unsigned flag;
		const char *name;
	} names[] = {
		{ IF_REP, "rep" },     { IF_REPNE, "repne" }, { IF_LOCK, "lock" }, { IF_CL, "cl" },
		{ IF_MOFFS, "moffs" }, { IF_DX, "dx" },       { IF_ENDS, "ends" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (flags & names[i].flag)
			put(t, " %s", names[i].name);
}

/* Registers outside vcpu.gpr: their numbering is per class. */
static bool plain_registers(const struct insn *in)
{
	return in->op >= OP_FPU_BASE || (in->op >= OP_MOV_CR && in->op <= OP_MOV_R_DR) || in->op == OP_MOV_SREG ||
	       in->op == OP_MOV_R_SREG || in->op == OP_PUSH_SREG || in->op == OP_POP_SREG;
}

static const char *show(const struct insn *in, struct text *t)
{
	*t = (struct text){ .n = 0 };
	put(t, "%s %s %u", op_name(in->op), form_names[in->form], in->opsize);
	put_registers(t, in, plain_registers(in));
	if (in->flags & IF_MEM) {
		put(t, " [%s:", segment_names[in->seg]);
		put_slot(t, "", in->base);
		put_slot(t, "+", in->index);
		put(t, "*%u+%x]", 1u << in->scale, in->disp);
	} else if (in->seg != SEG_DS) {
		put(t, " %s", segment_names[in->seg]);
	}
	if (in->asize == 2)
		put(t, " a");
	if (in->imm)
		put(t, " i%x", in->imm);
	if (in->imm2)
		put(t, " j%x", in->imm2);
	put_flags(t, in->flags);
	return t->s;
}

static unsigned parse_bytes(const char *hex, uint8_t bytes[16])
{
	unsigned n = 0, value;
	int used;

	while (n < 15 && sscanf(hex, "%2x%n", &value, &used) == 1) {
		bytes[n++] = (uint8_t)value;
		hex += used;
	}
	return n;
}

struct row {
	const char *bytes, *expect;
};

static void check_row(const struct row *row, unsigned mode)
{
	uint8_t bytes[16] = { 0 };
	unsigned n = parse_bytes(row->bytes, bytes);
	struct insn in;
	struct text t;

	if (insn_decode(&in, bytes, n, mode, 7) != (int)n)
		fail_msg("%s: length %d, not %u", row->bytes, insn_decode(&in, bytes, n, mode, 7), n);
	if (strcmp(show(&in, &t), row->expect))
		fail_msg("%s: %s, not %s", row->bytes, t.s, row->expect);
	assert_int_equal(in.len, n);
	assert_int_equal(in.off, 7);
	for (unsigned avail = 1; avail < n; avail++) /* every prefix of an instruction asks for more */
		assert_int_equal(insn_decode(&in, bytes, avail, mode, 0), 0);
}

#define CHECK_ROWS(rows, mode)                                                                                         \
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)                                                    \
	check_row(&(rows)[i], mode)

static const struct row moves[] = {
	{ "88 c1", "mov rr 1 rm1 reg0" },
	{ "88 e9", "mov rr 1 rm1 reg1h" },
	{ "89 c8", "mov rr 4 rm0 reg1" },
	{ "8b c1", "mov rr 4 rm0 reg1" },
	{ "66 89 d8", "mov rr 2 rm0 reg3" },
	{ "8a 06", "mov rm 1 reg0 [ds:6+-*1+0]" },
	{ "8b 4d fc", "mov rm 4 reg1 [ss:5+-*1+fffffffc]" },
	{ "89 8d 00 01 00 00", "mov mr 4 reg1 [ss:5+-*1+100]" },
	{ "8b 04 8d 00 00 00 80", "mov rm 4 reg0 [ds:-+1*4+80000000]" },
	{ "8b 44 24 08", "mov rm 4 reg0 [ss:4+-*1+8]" },
	{ "8b 04 24", "mov rm 4 reg0 [ss:4+-*1+0]" },
	{ "89 44 b3 f0", "mov mr 4 reg0 [ds:3+6*4+fffffff0]" },
	{ "8b 05 78 56 34 12", "mov rm 4 reg0 [ds:-+-*1+12345678]" },
	{ "67 8b 47 02", "mov rm 4 reg0 [ds:3+-*1+2] a" },
	{ "67 8b 07", "mov rm 4 reg0 [ds:3+-*1+0] a" },
	{ "67 8b 1e 34 12", "mov rm 4 reg3 [ds:-+-*1+1234] a" },
	{ "b8 78 56 34 12", "mov ri 4 rm0 i12345678" },
	{ "b4 ff", "mov ri 1 rm0h iffffffff" },
	{ "66 bb 34 12", "mov ri 2 rm3 i1234" },
	{ "c6 07 80", "mov mi 1 [ds:7+-*1+0] iffffff80" },
	{ "66 c7 07 34 12", "mov mi 2 [ds:7+-*1+0] i1234" },
	{ "c7 45 f8 ff ff ff ff", "mov mi 4 [ss:5+-*1+fffffff8] iffffffff" },
	{ "a0 44 33 22 11", "mov rm 1 reg0 [ds:-+-*1+11223344] moffs" },
	{ "a1 44 33 22 11", "mov rm 4 reg0 [ds:-+-*1+11223344] moffs" },
	{ "a2 44 33 22 11", "mov mr 1 reg0 [ds:-+-*1+11223344] moffs" },
	{ "66 a3 44 33 22 11", "mov mr 2 reg0 [ds:-+-*1+11223344] moffs" },
	{ "67 a1 22 11", "mov rm 4 reg0 [ds:-+-*1+1122] a moffs" },
	{ "64 a1 00 00 00 00", "mov rm 4 reg0 [fs:-+-*1+0] moffs" },
	{ "3e 8b 45 00", "mov rm 4 reg0 [ds:5+-*1+0]" },
	{ "26 8b 00", "mov rm 4 reg0 [es:0+-*1+0]" },
	{ "2e 8b 00", "mov rm 4 reg0 [cs:0+-*1+0]" },
	{ "36 8b 00", "mov rm 4 reg0 [ss:0+-*1+0]" },
	{ "65 8b 00", "mov rm 4 reg0 [gs:0+-*1+0]" },
	{ "26 64 8b 00", "mov rm 4 reg0 [fs:0+-*1+0]" },
	{ "0f b6 c1", "movzx rr 4 rm0 reg1 j1" },
	{ "0f b6 c4", "movzx rr 4 rm0 reg0h j1" },
	{ "0f b7 01", "movzx rm 4 reg0 [ds:1+-*1+0] j2" },
	{ "66 0f b6 c1", "movzx rr 2 rm0 reg1 j1" },
	{ "0f be 45 ff", "movsx rm 4 reg0 [ss:5+-*1+ffffffff] j1" },
	{ "0f bf c8", "movsx rr 4 rm1 reg0 j2" },
	{ "66 0f bf c8", "movsx rr 2 rm1 reg0 j2" },
	{ "87 d9", "xchg rr 4 rm1 reg3" },
	{ "86 e0", "xchg rr 1 rm0 reg0h" },
	{ "87 0b", "xchg mr 4 reg1 [ds:3+-*1+0]" },
	{ "91", "xchg rr 4 rm1 reg0" },
	{ "66 97", "xchg rr 2 rm7 reg0" },
	{ "8d 44 8d 10", "lea rm 4 reg0 [ss:5+1*4+10]" },
	{ "8d 04 25 40 00 00 00", "lea rm 4 reg0 [ds:-+-*1+40]" },
	{ "66 8d 03", "lea rm 2 reg0 [ds:3+-*1+0]" },
	{ "67 8d 00", "lea rm 4 reg0 [ds:3+6*1+0] a" },
	{ "0f 40 c1", "cmovo rr 4 rm0 reg1" },
	{ "0f 4f 02", "cmovnle rm 4 reg0 [ds:2+-*1+0]" },
	{ "66 0f 44 c1", "cmovz rr 2 rm0 reg1" },
	{ "0f 94 c4", "setz r 1 rm0h" },
	{ "0f 9f 45 00", "setnle m 1 [ss:5+-*1+0]" },
	{ "0f c9", "bswap r 4 rm1" },
	{ "98", "cbw none 4" },
	{ "66 98", "cbw none 2" },
	{ "99", "cwd none 4" },
	{ "66 99", "cwd none 2" },
	{ "9f", "lahf none 4" },
	{ "9e", "sahf none 4" },
	{ "d7", "xlat none 1" },
	{ "65 67 d7", "xlat none 1 gs a" },
};

static const struct row arithmetic[] = {
	{ "00 c8", "add rr 1 rm0 reg1" },
	{ "01 08", "add mr 4 reg1 [ds:0+-*1+0]" },
	{ "02 08", "add rm 1 reg1 [ds:0+-*1+0]" },
	{ "03 c8", "add rr 4 rm1 reg0" },
	{ "04 80", "add ri 1 rm0 iffffff80" },
	{ "05 80 00 00 80", "add ri 4 rm0 i80000080" },
	{ "66 05 34 12", "add ri 2 rm0 i1234" },
	{ "0c 7f", "or ri 1 rm0 i7f" },
	{ "80 d0 ff", "adc ri 1 rm0 iffffffff" },
	{ "80 e4 0f", "and ri 1 rm0h if" },
	{ "81 18 44 33 22 11", "sbb mi 4 [ds:0+-*1+0] i11223344" },
	{ "83 e0 f0", "and ri 4 rm0 ifffffff0" },
	{ "66 83 28 ff", "sub mi 2 [ds:0+-*1+0] iffffffff" },
	{ "83 f0 01", "xor ri 4 rm0 i1" },
	{ "82 f8 01", "cmp ri 1 rm0 i1" },
	{ "39 d8", "cmp rr 4 rm0 reg3" },
	{ "3b 03", "cmp rm 4 reg0 [ds:3+-*1+0]" },
	{ "85 c0", "test rr 4 rm0 reg0" },
	{ "84 20", "test mr 1 reg0h [ds:0+-*1+0]" },
	{ "a8 80", "test ri 1 rm0 iffffff80" },
	{ "a9 00 00 01 00", "test ri 4 rm0 i10000" },
	{ "f6 c4 01", "test ri 1 rm0h i1" },
	{ "f7 00 11 00 00 00", "test mi 4 [ds:0+-*1+0] i11" },
	{ "40", "inc r 4 rm0" },
	{ "4f", "dec r 4 rm7" },
	{ "66 41", "inc r 2 rm1" },
	{ "fe c0", "inc r 1 rm0" },
	{ "ff 0b", "dec m 4 [ds:3+-*1+0]" },
	{ "f7 d8", "neg r 4 rm0" },
	{ "f6 17", "not m 1 [ds:7+-*1+0]" },
	{ "f0 01 08", "add mr 4 reg1 [ds:0+-*1+0] lock" },
	{ "f0 ff 03", "inc m 4 [ds:3+-*1+0] lock" },
	{ "f0 0f b1 0b", "cmpxchg mr 4 reg1 [ds:3+-*1+0] lock" },
	{ "f0 0f c7 0f", "cmpxchg8b m 8 [ds:7+-*1+0] lock" },
	{ "0f b0 d1", "cmpxchg rr 1 rm1 reg2" },
	{ "0f c1 c8", "xadd rr 4 rm0 reg1" },
	{ "0f c0 23", "xadd mr 1 reg0h [ds:3+-*1+0]" },
	{ "f7 e3", "mul r 4 rm3" },
	{ "f6 ee", "imul r 1 rm2h" },
	{ "0f af c1", "imul2 rr 4 rm0 reg1" },
	{ "66 0f af 03", "imul2 rm 2 reg0 [ds:3+-*1+0]" },
	{ "6b c1 ff", "imul3 rr 4 rm0 reg1 iffffffff" },
	{ "69 03 00 01 00 00", "imul3 rm 4 reg0 [ds:3+-*1+0] i100" },
	{ "66 69 c1 34 12", "imul3 rr 2 rm0 reg1 i1234" },
	{ "f7 f1", "div r 4 rm1" },
	{ "f6 3f", "idiv m 1 [ds:7+-*1+0]" },
};

static const struct row shifts[] = {
	{ "d0 e0", "shl ri 1 rm0 i1" },
	{ "d1 f8", "sar ri 4 rm0 i1" },
	{ "c0 c8 07", "ror ri 1 rm0 i7" },
	{ "66 c1 d0 1f", "rcl ri 2 rm0 i1f" },
	{ "d2 e4", "shl r 1 rm0h cl" },
	{ "d3 23", "shl m 4 [ds:3+-*1+0] cl" },
	{ "66 d3 1b", "rcr m 2 [ds:3+-*1+0] cl" },
	{ "c1 2b 04", "shr mi 4 [ds:3+-*1+0] i4" },
	{ "d0 f1", "shl ri 1 rm1 i1" },
	{ "0f a4 d8 05", "shld rr 4 rm0 reg3 i5" },
	{ "0f a5 d8", "shld rr 4 rm0 reg3 cl" },
	{ "66 0f ac 18 11", "shrd mr 2 reg3 [ds:0+-*1+0] i11" },
	{ "0f ad 18", "shrd mr 4 reg3 [ds:0+-*1+0] cl" },
};

static const struct row bits[] = {
	{ "0f a3 c8", "bt rr 4 rm0 reg1" },
	{ "0f ab 08", "bts mr 4 reg1 [ds:0+-*1+0]" },
	{ "0f ba 20 1f", "bt mi 4 [ds:0+-*1+0] i1f" },
	{ "0f ba f8 09", "btc ri 4 rm0 i9" },
	{ "66 0f ba 30 03", "btr mi 2 [ds:0+-*1+0] i3" },
	{ "0f bc c1", "bsf rr 4 rm0 reg1" },
	{ "f3 0f bc c1", "bsf rr 4 rm0 reg1" },
	{ "0f bd 03", "bsr rm 4 reg0 [ds:3+-*1+0]" },
	{ "f3 0f bd c1", "bsr rr 4 rm0 reg1" },
};

static const struct row odd_ones[] = {
	{ "27", "daa none 4" },
	{ "37", "aaa none 4" },
	{ "d4 0a", "aam i 4 ia" },
	{ "d5 10", "aad i 4 i10" },
	{ "d6", "salc none 4" },
	{ "62 03", "bound rm 4 reg0 [ds:3+-*1+0]" },
	{ "66 62 0b", "bound rm 2 reg1 [ds:3+-*1+0]" },
	{ "63 c8", "arpl rr 2 rm0 reg1" },
	{ "63 0a", "arpl mr 2 reg1 [ds:2+-*1+0]" },
	{ "f5", "cmc none 4" },
	{ "f8", "clc none 4" },
	{ "f9", "stc none 4" },
	{ "fc", "cld none 4" },
	{ "fd", "std none 4" },
};

static const struct row nops[] = {
	{ "90", "nop none 4" },
	{ "f3 90", "nop none 4" },
	{ "66 90", "nop none 2" },
	{ "0f 1f 44 00 00", "nop mr 4 reg0 [ds:0+0*1+0]" },
	{ "66 2e 0f 1f 84 00 00 00 00 00", "nop mr 2 reg0 [cs:0+0*1+0]" },
	{ "f3 0f 1e fa", "nop rr 4 rm2 reg7" },
	{ "0f 18 01", "prefetch m 1 [ds:1+-*1+0]" },
	{ "0f 18 20", "nop m 4 [ds:0+-*1+0]" },
	{ "0f 19 00", "nop mr 4 reg0 [ds:0+-*1+0]" },
	{ "0f 1a 00", "nop m 4 [ds:0+-*1+0]" },
	{ "0f 1b c0", "nop r 4 rm0" },
	{ "0f 1c 00", "nop mr 4 reg0 [ds:0+-*1+0]" },
	{ "0f 0d 08", "nop m 4 [ds:0+-*1+0]" },
};

static const struct row branches[] = {
	{ "74 fe", "jz i 4 ifffffffe ends" },
	{ "0f 85 00 01 00 00", "jnz i 4 i100 ends" },
	{ "66 74 10", "jz i 2 i10 ends" },
	{ "66 0f 8f fe ff", "jnle i 2 ifffffffe ends" },
	{ "e3 05", "jcxz i 4 i5 ends" },
	{ "67 e3 05", "jcxz i 4 a i5 ends" },
	{ "e2 fb", "loop i 4 ifffffffb ends" },
	{ "e1 fb", "loope i 4 ifffffffb ends" },
	{ "e0 fb", "loopne i 4 ifffffffb ends" },
	{ "66 67 e2 fb", "loop i 2 a ifffffffb ends" },
	{ "eb 10", "jmp i 4 i10 ends" },
	{ "e9 fb ff ff ff", "jmp i 4 ifffffffb ends" },
	{ "66 e9 10 00", "jmp i 2 i10 ends" },
	{ "e8 00 00 00 00", "call i 4 ends" },
	{ "66 e8 00 80", "call i 2 iffff8000 ends" },
	{ "ff d0", "call r 4 rm0 ends" },
	{ "ff 12", "call m 4 [ds:2+-*1+0] ends" },
	{ "66 ff d2", "call r 2 rm2 ends" },
	{ "ff e1", "jmp r 4 rm1 ends" },
	{ "ff 24 85 00 10 00 00", "jmp m 4 [ds:-+0*4+1000] ends" },
	{ "c3", "ret none 4 ends" },
	{ "c2 08 00", "ret i 4 i8 ends" },
	{ "66 c3", "ret none 2 ends" },
};

static const struct row stack[] = {
	{ "50", "push r 4 rm0" },
	{ "5c", "pop r 4 rm4" },
	{ "66 53", "push r 2 rm3" },
	{ "ff 30", "push m 4 [ds:0+-*1+0]" },
	{ "ff f1", "push r 4 rm1" },
	{ "6a ff", "push i 4 iffffffff" },
	{ "66 6a 80", "push i 2 iffffff80" },
	{ "68 44 33 22 11", "push i 4 i11223344" },
	{ "66 68 22 11", "push i 2 i1122" },
	{ "8f 44 24 04", "pop m 4 [ss:4+-*1+4]" },
	{ "8f c1", "pop r 4 rm1" },
	{ "60", "pusha none 4" },
	{ "66 60", "pusha none 2" },
	{ "61", "popa none 4" },
	{ "c8 10 00 01", "enter i 4 i10 j1" },
	{ "c8 34 12 ff", "enter i 4 i1234 j1f" },
	{ "c9", "leave none 4" },
	{ "66 c9", "leave none 2" },
};

static const struct row strings[] = {
	{ "a4", "movs none 1" },
	{ "a5", "movs none 4" },
	{ "66 a5", "movs none 2" },
	{ "f3 a5", "movs none 4 rep ends" },
	{ "f2 a4", "movs none 1 repne ends" },
	{ "f3 64 a4", "movs none 1 fs rep ends" },
	{ "67 a5", "movs none 4 a" },
	{ "a6", "cmps none 1" },
	{ "f3 a6", "cmps none 1 rep ends" },
	{ "f2 a7", "cmps none 4 repne ends" },
	{ "aa", "stos none 1" },
	{ "f3 ab", "stos none 4 rep ends" },
	{ "ad", "lods none 4" },
	{ "f3 66 ad", "lods none 2 rep ends" },
	{ "ae", "scas none 1" },
	{ "f2 ae", "scas none 1 repne ends" },
	{ "f3 af", "scas none 4 rep ends" },
};

static const struct row system[] = {
	{ "f4", "hlt none 4 ends" },
	{ "0f 01 10", "lgdt m 4 [ds:0+-*1+0] ends" },
	{ "66 0f 01 18", "lidt m 2 [ds:0+-*1+0] ends" },
	{ "0f 00 10", "lldt m 2 [ds:0+-*1+0] ends" },
	{ "0f 00 d9", "ltr r 2 rm1 ends" },
	{ "0f 01 f0", "lmsw r 2 rm0 ends" },
	{ "0f 06", "clts none 4 ends" },
	{ "0f 22 c0", "mov cr rr 4 x0,0 ends" },
	{ "0f 20 d9", "mov from cr rr 4 x8,3 ends" },
	{ "66 0f 22 e0", "mov cr rr 4 x0,4 ends" },
	{ "0f 23 f8", "mov dr rr 4 x0,7 ends" },
	{ "0f 21 c7", "mov from dr rr 4 x56,0 ends" },
	{ "0f 08", "invd none 4 ends" },
	{ "0f 09", "wbinvd none 4 ends" },
	{ "0f 01 38", "invlpg m 1 [ds:0+-*1+0] ends" },
	{ "0f 32", "rdmsr none 4 ends" },
	{ "0f 30", "wrmsr none 4 ends" },
	{ "0f 35", "sysexit none 4 ends" },
	{ "0f 31", "rdtsc none 4 ends" },
	{ "0f 33", "rdpmc none 4 ends" },
	{ "0f 34", "sysenter none 4 ends" },
	{ "fa", "cli none 4 ends" },
	{ "fb", "sti none 4 ends" },
	{ "e4 60", "in i 1 i60 ends" },
	{ "e5 ff", "in i 4 iff ends" },
	{ "ec", "in none 1 dx ends" },
	{ "66 ed", "in none 2 dx ends" },
	{ "e6 80", "out i 1 i80 ends" },
	{ "ee", "out none 1 dx ends" },
	{ "ef", "out none 4 dx ends" },
	{ "6c", "ins none 1 ends" },
	{ "f3 6d", "ins none 4 rep ends" },
	{ "66 6d", "ins none 2 ends" },
	{ "6e", "outs none 1 ends" },
	{ "f3 65 6f", "outs none 4 gs rep ends" },
	{ "0f 01 00", "sgdt m 4 [ds:0+-*1+0] ends" },
	{ "0f 01 0b", "sidt m 4 [ds:3+-*1+0] ends" },
	{ "0f 00 00", "sldt m 2 [ds:0+-*1+0] ends" },
	{ "66 0f 00 c1", "sldt r 2 rm1 ends" },
	{ "0f 00 c9", "str r 4 rm1 ends" },
	{ "0f 01 e0", "smsw r 4 rm0 ends" },
	{ "0f 01 21", "smsw m 2 [ds:1+-*1+0] ends" },
	{ "0f a2", "cpuid none 4 ends" },
	{ "0f 02 c1", "lar rr 4 rm0 reg1 ends" },
	{ "0f 02 03", "lar rm 4 reg0 [ds:3+-*1+0] ends" },
	{ "66 0f 03 c8", "lsl rr 2 rm1 reg0 ends" },
	{ "0f 00 e0", "verr r 2 rm0 ends" },
	{ "0f 00 29", "verw m 2 [ds:1+-*1+0] ends" },
	{ "9c", "pushf none 4 ends" },
	{ "66 9c", "pushf none 2 ends" },
	{ "9d", "popf none 4 ends" },
	{ "cf", "iret none 4 ends" },
	{ "66 cf", "iret none 2 ends" },
	{ "8c c8", "mov from sreg rr 4 x0,1 ends" },
	{ "66 8c d0", "mov from sreg rr 2 x0,2 ends" },
	{ "8c d8", "mov from sreg rr 4 x0,3" },
	{ "8c 18", "mov from sreg mr 2 x0,3 [ds:0+-*1+0]" },
	{ "0e", "push sreg r 4 x1,1 ends" },
	{ "16", "push sreg r 4 x2,2 ends" },
	{ "06", "push sreg r 4 x0,0" },
	{ "0f a0", "push sreg r 4 x4,4" },
	{ "66 0f a8", "push sreg r 2 x5,5" },
	{ "9a 44 33 22 11 08 00", "call far i 4 i11223344 j8 ends" },
	{ "66 9a 22 11 08 00", "call far i 2 i1122 j8 ends" },
	{ "ea 00 00 00 00 10 00", "jmp far i 4 j10 ends" },
	{ "ff 1b", "call far m 4 [ds:3+-*1+0] ends" },
	{ "66 ff 2b", "jmp far m 2 [ds:3+-*1+0] ends" },
	{ "cb", "ret far none 4 ends" },
	{ "ca 04 00", "ret far i 4 i4 ends" },
	{ "8e d8", "mov sreg rr 2 x0,3" },
	{ "8e d0", "mov sreg rr 2 x0,2 ends" },
	{ "8e 20", "mov sreg rm 2 x0,4 [ds:0+-*1+0]" },
	{ "1f", "pop sreg r 4 x3,3" },
	{ "17", "pop sreg r 4 x2,2 ends" },
	{ "0f a1", "pop sreg r 4 x4,4" },
	{ "c4 03", "les rm 4 reg0 [ds:3+-*1+0]" },
	{ "c5 03", "lds rm 4 reg0 [ds:3+-*1+0]" },
	{ "0f b2 0b", "lss rm 4 reg1 [ds:3+-*1+0] ends" },
	{ "0f b4 03", "lfs rm 4 reg0 [ds:3+-*1+0]" },
	{ "66 0f b5 03", "lgs rm 2 reg0 [ds:3+-*1+0]" },
	{ "cd 80", "int i 4 i80 ends" },
	{ "cc", "int3 none 4 ends" },
	{ "ce", "into none 4 ends" },
	{ "f1", "int1 none 4 ends" },
};

static const struct row fpu[] = {
	{ "d9 00", "fld m 4 [ds:0+-*1+0] j100" },
	{ "dd 00", "fld m 8 [ds:0+-*1+0] j500" },
	{ "db 28", "fld m 10 [ds:0+-*1+0] j328" },
	{ "d8 c3", "fadd rr 0 x0,3 jc3" },
	{ "dc c3", "fadd rr 0 x3,0 j4c3" },
	{ "d9 c2", "fld r 0 x2,0 j1c2" },
	{ "dd db", "fstp r 0 x3,0 j5db" },
	{ "df e0", "fnstsw r 0 x0,0 j7e0" },
	{ "d9 28", "fldcw m 2 [ds:0+-*1+0] j128" },
	{ "d9 30", "fnstenv m 28 [ds:0+-*1+0] j130" },
	{ "66 d9 30", "fnstenv m 14 [ds:0+-*1+0] j130" },
	{ "dd 30", "fnsave m 108 [ds:0+-*1+0] j530" },
	{ "0f ae 00", "fxsave m 0 [ds:0+-*1+0]" },
	{ "0f ae 10", "ldmxcsr m 4 [ds:0+-*1+0]" },
	{ "0f 77", "emms none 0" },
	{ "0f ae e8", "fence none 0" },
	{ "0f ae 38", "clflush m 64 [ds:0+-*1+0]" },
	{ "0f 6f c1", "movq rr 0 x0,8 j22" },
	{ "0f 6f 07", "movq rm 8 x0,0 [ds:7+-*1+0] j2" },
	{ "0f 7f 07", "movq mr 8 x0,0 [ds:7+-*1+0] j20" },
	{ "66 0f 6f d3", "movdqa rr 0 x32,48 j33" },
	{ "0f 28 c8", "movaps rr 0 x16,0 j33" },
	{ "0f 10 03", "movups rm 16 x0,0 [ds:3+-*1+0] j3" },
	{ "0f 29 0b", "movaps mr 16 x0,16 [ds:3+-*1+0] j30" },
	{ "f3 0f 10 c1", "movss rr 0 x0,16 j33" },
	{ "f2 0f 10 c1", "movsd rr 0 x0,16 j33" },
	{ "f2 0f 11 03", "movsd mr 8 x0,0 [ds:3+-*1+0] j30" },
	{ "f2 0f c2 c1 02", "cmpsd rr 0 x0,16 i2 j33" },
	{ "f3 0f 2a c1", "cvtsi2ss rr 0 x0,8 j13" },
	{ "f2 0f 2c c1", "cvttsd2si rr 0 x0,16 j31" },
	{ "0f c6 c1 1b", "shufps rr 0 x0,16 i1b j33" },
	{ "66 0f 70 c1 e4", "pshufd rr 0 x0,16 ie4 j33" },
	{ "0f c4 c1 02", "pinsrw rr 0 x0,8 i2 j12" },
	{ "0f c5 c1 03", "pextrw rr 0 x0,8 i3 j21" },
	{ "66 0f d7 c1", "pmovmskb rr 0 x0,16 j31" },
	{ "0f 50 c1", "movmskps rr 0 x0,16 j31" },
	{ "0f 6e c1", "movd rr 0 x0,8 j12" },
	{ "66 0f 7e 0b", "movd mr 4 x0,16 [ds:3+-*1+0] j30" },
	{ "0f f7 c1", "maskmovq rr 0 x0,8 j22" },
	{ "64 0f f7 c1", "maskmovq rr 0 x0,8 fs j22" },
	{ "0f c3 0b", "movnti mr 4 x0,8 [ds:3+-*1+0] j10" },
	{ "0f 72 d1 05", "psrld ri 0 x8,0 i5 j2" },
};

/* The same bytes mean other sizes in 16-bit code. */
static const struct row code16[] = {
	{ "89 c8", "mov rr 2 rm0 reg1 a" },
	{ "66 89 c8", "mov rr 4 rm0 reg1 a" },
	{ "8b 00", "mov rm 2 reg0 [ds:3+6*1+0] a" },
	{ "8b 01", "mov rm 2 reg0 [ds:3+7*1+0] a" },
	{ "8b 02", "mov rm 2 reg0 [ss:5+6*1+0] a" },
	{ "8b 03", "mov rm 2 reg0 [ss:5+7*1+0] a" },
	{ "8b 04", "mov rm 2 reg0 [ds:6+-*1+0] a" },
	{ "8b 05", "mov rm 2 reg0 [ds:7+-*1+0] a" },
	{ "8b 46 fe", "mov rm 2 reg0 [ss:5+-*1+fffffffe] a" },
	{ "8b 07", "mov rm 2 reg0 [ds:3+-*1+0] a" },
	{ "8b 06 34 12", "mov rm 2 reg0 [ds:-+-*1+1234] a" },
	{ "8b 87 00 80", "mov rm 2 reg0 [ds:3+-*1+ffff8000] a" },
	{ "67 8b 04 8d 10 00 00 00", "mov rm 2 reg0 [ds:-+1*4+10]" },
	{ "67 66 8b 00", "mov rm 4 reg0 [ds:0+-*1+0]" },
	{ "a1 34 12", "mov rm 2 reg0 [ds:-+-*1+1234] a moffs" },
	{ "05 34 12", "add ri 2 rm0 a i1234" },
	{ "66 05 78 56 34 12", "add ri 4 rm0 a i12345678" },
	{ "c3", "ret none 2 a ends" },
	{ "66 c3", "ret none 4 a ends" },
	{ "e8 fd ff", "call i 2 a ifffffffd ends" },
	{ "66 e8 00 00 00 00", "call i 4 a ends" },
	{ "74 fe", "jz i 2 a ifffffffe ends" },
	{ "e3 00", "jcxz i 2 a ends" },
	{ "67 e2 00", "loop i 2 ends" },
	{ "9a 00 00 00 f0", "call far i 2 a jf000 ends" },
	{ "66 ea 00 00 00 00 08 00", "jmp far i 4 a j8 ends" },
	{ "60", "pusha none 2 a" },
	{ "66 60", "pusha none 4 a" },
	{ "68 34 12", "push i 2 a i1234" },
	{ "6a ff", "push i 2 a iffffffff" },
	{ "0f 01 16 00 10", "lgdt m 2 [ds:-+-*1+1000] a ends" },
	{ "0f 01 e0", "smsw r 2 rm0 a ends" },
	{ "0f 22 c0", "mov cr rr 4 x0,0 a ends" },
	{ "0f b6 c1", "movzx rr 2 rm0 reg1 a j1" },
	{ "f3 a5", "movs none 2 a rep ends" },
	{ "f3 66 a5", "movs none 4 a rep ends" },
	{ "67 f3 ab", "stos none 2 rep ends" },
	{ "c8 04 00 00", "enter i 2 a i4" },
	{ "cf", "iret none 2 a ends" },
	{ "9c", "pushf none 2 a ends" },
	{ "c4 1e 00 00", "les rm 2 reg3 [ds:-+-*1+0] a" },
	{ "f7 e3", "mul r 2 rm3 a" },
	{ "c1 e0 02", "shl ri 2 rm0 a i2" },
};

/* Later inventions, holes in the opcode map, forms that do not exist, LOCK where it is not allowed. */
static const char *const undefined[] = {
	"0f 0b",
	"0f b9 c0",
	"0f ff c0",
	"0f 05",
	"0f 07",
	"0f aa",
	"0f 0f c0 90",
	"0f 0e",
	"0f 04",
	"0f 0a",
	"0f 0c",
	"0f 24 c0",
	"0f 26 c0",
	"0f 36",
	"0f 37",
	"0f 39",
	"0f 3b",
	"0f a6 c0",
	"0f a7 c0",
	"0f 7a c0",
	"0f 78 c0",
	"0f 79 c0",
	"0f 01 c1",
	"0f 01 c8",
	"0f 01 c9",
	"0f 01 d0",
	"0f 01 d8",
	"0f 01 f9",
	"0f c7 f0",
	"0f c7 f8",
	"0f c7 30",
	"f3 0f c7 30",
	"f3 0f b8 c1",
	"0f b8 00 00 00 00",
	"0f 38 f0 00",
	"0f 38 00 c1",
	"66 0f 38 10 c1",
	"66 0f 3a 0f c1 01",
	"66 0f 3a 15 c1 02",
	"f2 0f 38 f0 c1",
	"c5 f8 28 c1",
	"c4 e2 71 f7 c0",
	"62 f1 7c 48 28 c1",
	"8f e9 78 80 c0",
	"f2 0f d0 c1",
	"f2 0f f0 03",
	"f3 0f 12 c1",
	"66 0f 7c c1",
	"dd 08",
	"db 08",
	"df 08",
	"0f ae 20",
	"0f ae 28",
	"0f ae 30",
	"66 0f ae 38",
	"66 0f ae 30",
	"f3 0f ae c0",
	"0f 0d c0",
	"8e c8",
	"8e f0",
	"8c f0",
	"8c f8",
	"0f 20 c8",
	"0f 22 e8",
	"0f 20 f8",
	"f0 0f 20 c0",
	"f0 89 00",
	"f0 01 c0",
	"f0 39 08",
	"f0 a4",
	"f0 90",
	"f0 0f a3 08",
	"f0 0f af 01",
	"f0 84 08",
	"f0 8d 00",
	"f0 c3",
	"fe d0",
	"ff f8",
	"c6 c8 05",
	"c7 08 00 00 00 00",
	"8d c0",
	"0f b2 c1",
	"0f b4 c1",
	"ff d8",
	"ff e8",
	"0f 00 f0",
	"0f 00 f8",
	"0f 01 d1",
	"0f c7 c8",
	"0f c3 c1",
	"0f 71 c0 01",
	"0f 2b c1",
	"0f 17 c1",
	"d9 d1",
	"d9 e2",
	"de d8",
	"0f ba c0 01",
	"8f 08",
	"8f c8",
	"c5 c0",
	"62 c0",
};

/* Defined in protected mode alone. */
static const char *const not_in_vm86[] = {
	"63 c8", "0f 02 c1", "0f 03 c1", "0f 00 c0", "0f 00 c8", "0f 00 d0", "0f 00 d8", "0f 00 e0", "0f 00 e8",
};

static void test_moves(void **state)
{
	(void)state;
	CHECK_ROWS(moves, M32);
}

static void test_arithmetic(void **state)
{
	(void)state;
	CHECK_ROWS(arithmetic, M32);
}

static void test_shifts(void **state)
{
	(void)state;
	CHECK_ROWS(shifts, M32);
}

static void test_bits(void **state)
{
	(void)state;
	CHECK_ROWS(bits, M32);
}

static void test_odd_ones(void **state)
{
	(void)state;
	CHECK_ROWS(odd_ones, M32);
}

static void test_nops(void **state)
{
	(void)state;
	CHECK_ROWS(nops, M32);
}

static void test_branches(void **state)
{
	(void)state;
	CHECK_ROWS(branches, M32);
}

static void test_stack(void **state)
{
	(void)state;
	CHECK_ROWS(stack, M32);
}

static void test_strings(void **state)
{
	(void)state;
	CHECK_ROWS(strings, M32);
}

static void test_system(void **state)
{
	(void)state;
	CHECK_ROWS(system, M32);
}

static void test_fpu(void **state)
{
	(void)state;
	CHECK_ROWS(fpu, M32);
}

static void test_16_bit_code(void **state)
{
	(void)state;
	CHECK_ROWS(code16, M16);
	CHECK_ROWS(code16, MODE_SS32); /* the stack's width changes no field */
	CHECK_ROWS(moves, MODE_CS32);
	CHECK_ROWS(stack, MODE_CS32);
}

static void check_undefined(const char *hex, unsigned mode)
{
	uint8_t bytes[16] = { 0 };
	unsigned n = parse_bytes(hex, bytes);
	struct insn in;

	if (insn_decode(&in, bytes, n, mode, 3) != -1)
		fail_msg("%s is not #UD", hex);
	assert_int_equal(in.op, OP_UD);
	assert_int_equal(in.flags, IF_ENDS);
	assert_int_equal(in.off, 3);
	assert_in_range(in.len, 1, n);
}

static void test_undefined(void **state)
{
	static const uint8_t les_register[] = { 0x66, 0xc4, 0xc0 };
	struct insn in;

	(void)state;
	assert_int_equal(insn_decode(&in, les_register, 2, M32, 0), 0);
	assert_int_equal(insn_decode(&in, les_register, 3, M32, 0), -1); /* not a VEX prefix that wants more */
	for (size_t i = 0; i < sizeof(undefined) / sizeof(undefined[0]); i++) {
		check_undefined(undefined[i], M32);
		check_undefined(undefined[i], M16);
	}
}

static void test_protected_mode_only(void **state)
{
	uint8_t bytes[16];
	struct insn in;

	(void)state;
	for (size_t i = 0; i < sizeof(not_in_vm86) / sizeof(not_in_vm86[0]); i++) {
		unsigned n = parse_bytes(not_in_vm86[i], bytes);

		assert_int_equal(insn_decode(&in, bytes, n, M16, 0), n);
		check_undefined(not_in_vm86[i], M16 | MODE_VM);
	}
}

/* Fifteen bytes are an instruction's limit (#GP), whatever the sixteenth is. */
static void test_too_long(void **state)
{
	uint8_t bytes[15];
	struct insn in;

	(void)state;
	memset(bytes, 0x66, sizeof(bytes));
	assert_int_equal(insn_decode(&in, bytes, 15, M32, 0), -2);
	assert_int_equal(in.len, 15);
	assert_int_equal(in.op, OP_UD);
	bytes[14] = 0x90;
	assert_int_equal(insn_decode(&in, bytes, 15, M32, 0), 15);
	assert_int_equal(in.op, OP_NOP);
	bytes[13] = 0x05; /* an immediate that would end behind the limit */
	bytes[14] = 0x05;
	assert_int_equal(insn_decode(&in, bytes, 15, M32, 0), -2);
	assert_int_equal(insn_decode(&in, bytes, 14, M32, 0), -2);
}

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static void check_sound(const struct insn *in, int len, unsigned avail)
{
	assert_in_range(in->len, 1, avail);
	assert_true(in->op > OP_NONE && in->op < OP_MAX && op_name(in->op));
	assert_true(len == in->len || ((len == -1 || len == -2) && in->op == OP_UD));
	assert_true(in->form <= FORM_I && in->seg < SEG_COUNT && in->scale < 4);
	assert_true(in->base <= GPR_ZERO && in->index <= GPR_ZERO && in->reg < GPR_ZERO && in->rm < GPR_ZERO);
	if (len > 0)
		assert_true(in->asize == 2 || in->asize == 4);
	if (op_class(in->op) != CLASS_NONE && op_class(in->op) != CLASS_SEG && op_class(in->op) != CLASS_SENS_CPL0)
		assert_true(in->flags & IF_ENDS);
}

/* No bytes crash it; a result depends on the instruction's own bytes only, and less than all of them is not enough. */
static void test_random_bytes(void **state)
{
	static const unsigned modes[] = { M32, M16, MODE_CS32, MODE_SS32, M16 | MODE_VM };
	uint64_t s = 0x9e3779b97f4a7c15;

	(void)state;
	for (unsigned i = 0; i < 300000; i++) {
		uint64_t random[2] = { next_random(&s), next_random(&s) };
		unsigned mode = modes[i % 5], avail = 1 + (unsigned)(random[1] >> 56) % 15;
		struct insn in, again;
		uint8_t bytes[16];
		int len;

		memcpy(bytes, random, sizeof(bytes));
		if (i & 1)
			bytes[0] = 0x0f;
		len = insn_decode(&in, bytes, avail, mode, 0);
		if (len == 0)
			continue;
		check_sound(&in, len, avail);
		if (len < 0)
			continue;
		memset(bytes + len, (int)i, sizeof(bytes) - (size_t)len);
		assert_int_equal(insn_decode(&again, bytes, 15, mode, 0), len);
		assert_memory_equal(&in, &again, sizeof(in));
		assert_int_equal(insn_decode(&again, bytes, (unsigned)len, mode, 0), len);
		if (len > 1)
			assert_int_equal(insn_decode(&again, bytes, (unsigned)len - 1, mode, 0), 0);
	}
}

static void test_names(void **state)
{
	unsigned names = 0;

	(void)state;
	assert_null(op_name(OP_NONE));
	assert_null(op_name(OP_MAX));
	assert_null(op_name((enum op)(OP_FPU_BASE)));
	assert_string_equal(op_name(OP_HLT), "hlt");
	assert_string_equal(op_name(OP_MOV_CR), "mov cr");
	assert_string_equal(op_name(OP_MOVS), "movs");
	assert_string_equal(op_name(OP_MOVSD_SSE), "movsd");
	for (unsigned op = 1; op < OP_MAX; op++) {
		const char *name = op_name((enum op)op);

		names += name != NULL;
		for (; name && *name; name++)
			assert_false(*name >= 'A' && *name <= 'Z');
	}
	assert_true(names > 400);
	assert_int_equal(op_class(OP_HLT), CLASS_CPL0);
	assert_int_equal(op_class(OP_POPF), CLASS_SENS_FLAGS);
	assert_int_equal(op_class(OP_MOV), CLASS_NONE);
	assert_int_equal(op_class(OP_FADD), CLASS_NONE);
}

static void test_format(void **state)
{
	static const uint8_t call[] = { 0xe8, 0xfb, 0xff, 0xff, 0xff }, bad[] = { 0x0f, 0xff };
	char text[64];

	(void)state;
	insn_format(text, sizeof(text), call, sizeof(call), M32, 0x1000);
	assert_string_equal(text, "call 0x00001000");
	insn_format(text, sizeof(text), bad, sizeof(bad), M32, 0);
	assert_string_equal(text, "(bad)");
	insn_format(text, 4, call, sizeof(call), M32, 0); /* too small a buffer is no reason to write past it */
	assert_true(strlen(text) < 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moves),     cmocka_unit_test(test_arithmetic),
		cmocka_unit_test(test_shifts),    cmocka_unit_test(test_bits),
		cmocka_unit_test(test_odd_ones),  cmocka_unit_test(test_nops),
		cmocka_unit_test(test_branches),  cmocka_unit_test(test_stack),
		cmocka_unit_test(test_strings),   cmocka_unit_test(test_system),
		cmocka_unit_test(test_fpu),       cmocka_unit_test(test_16_bit_code),
		cmocka_unit_test(test_undefined), cmocka_unit_test(test_protected_mode_only),
		cmocka_unit_test(test_too_long),  cmocka_unit_test(test_random_bytes),
		cmocka_unit_test(test_names),     cmocka_unit_test(test_format),
	};

	return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
