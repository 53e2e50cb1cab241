/*
 * decode.c - from bytes to the compact instruction (insn.h). The only file that includes the decoder library.
 *
 * The library knows every x86 there is; this file narrows it to the P6-class model. What the model lacks, later
 * extensions that took over old encodings included, is #UD, and what the library calls one instruction is split where
 * it is several machines to us (MOV to CR). A wrong answer here is a wrong answer in every engine and emulator, so
 * nothing is guessed: an operand shape that is not understood stops the program (BUG_ON) instead of passing for
 * another.
 *
 * Never executes, never touches guest memory, keeps no state: any thread may call it. Called by the engines (building
 * traces), trap/ and the profiler (looking at one instruction).
 */
#include <string.h>

#include <Zydis/Zydis.h>

#include "vmm/bug.h"
#include "vmm/decode/insn.h"

/*
 * Names in ops.def and ops_fpu.def that are no mnemonics of the library get numbers behind its last, so that one
 * table serves both lists. split_mnemonic() and the aliases below say when they apply.
 */
enum {
	ZYDIS_MNEMONIC_BEHIND_LAST = ZYDIS_MNEMONIC_MAX_VALUE,
	ZYDIS_MNEMONIC_MOV_CR,
	ZYDIS_MNEMONIC_MOV_R_CR,
	ZYDIS_MNEMONIC_MOV_DR,
	ZYDIS_MNEMONIC_MOV_R_DR,
	ZYDIS_MNEMONIC_MOV_SREG,
	ZYDIS_MNEMONIC_MOV_R_SREG,
	ZYDIS_MNEMONIC_PUSH_SREG,
	ZYDIS_MNEMONIC_POP_SREG,
	ZYDIS_MNEMONIC_CALL_FAR,
	ZYDIS_MNEMONIC_JMP_FAR,
	ZYDIS_MNEMONIC_RET_FAR,
	ZYDIS_MNEMONIC_IMUL2,
	ZYDIS_MNEMONIC_IMUL3,
	ZYDIS_MNEMONIC_INS,
	ZYDIS_MNEMONIC_OUTS,
	ZYDIS_MNEMONIC_MOVS,
	ZYDIS_MNEMONIC_CMPS,
	ZYDIS_MNEMONIC_STOS,
	ZYDIS_MNEMONIC_LODS,
	ZYDIS_MNEMONIC_SCAS,
	ZYDIS_MNEMONIC_UD,
	ZYDIS_MNEMONIC_FENCE,
	ZYDIS_MNEMONIC_MOVSD_SSE,
	ZYDIS_MNEMONIC_CMPSD_SSE,
	MNEMONICS
};

#define ALIAS(mnemonic, op) [ZYDIS_MNEMONIC_##mnemonic] = OP_##op
static const uint16_t op_of_mnemonic[MNEMONICS] = {
#define OP(name, class) [ZYDIS_MNEMONIC_##name] = OP_##name,
#include "vmm/decode/ops.def"
#include "vmm/decode/ops_fpu.def"
#undef OP
	ALIAS(CWDE, CBW),
	ALIAS(CDQ, CWD),
	ALIAS(JECXZ, JCXZ),
	ALIAS(IRETD, IRET),
	ALIAS(PUSHAD, PUSHA),
	ALIAS(POPAD, POPA),
	ALIAS(PUSHFD, PUSHF),
	ALIAS(POPFD, POPF),
	ALIAS(INSB, INS),
	ALIAS(INSW, INS),
	ALIAS(INSD, INS),
	ALIAS(OUTSB, OUTS),
	ALIAS(OUTSW, OUTS),
	ALIAS(OUTSD, OUTS),
	ALIAS(MOVSB, MOVS),
	ALIAS(MOVSW, MOVS),
	ALIAS(MOVSD, MOVS),
	ALIAS(CMPSB, CMPS),
	ALIAS(CMPSW, CMPS),
	ALIAS(CMPSD, CMPS),
	ALIAS(STOSB, STOS),
	ALIAS(STOSW, STOS),
	ALIAS(STOSD, STOS),
	ALIAS(LODSB, LODS),
	ALIAS(LODSW, LODS),
	ALIAS(LODSD, LODS),
	ALIAS(SCASB, SCAS),
	ALIAS(SCASW, SCAS),
	ALIAS(SCASD, SCAS),
	ALIAS(PAUSE, NOP),
	ALIAS(PREFETCHW, NOP),
	ALIAS(PREFETCHNTA, PREFETCH),
	ALIAS(PREFETCHT0, PREFETCH),
	ALIAS(PREFETCHT1, PREFETCH),
	ALIAS(PREFETCHT2, PREFETCH),
	ALIAS(LFENCE, FENCE),
	ALIAS(SFENCE, FENCE),
	ALIAS(MFENCE, FENCE),
	ALIAS(UD0, UD),
	ALIAS(UD1, UD),
	ALIAS(UD2, UD),
};
#undef ALIAS

/* The way back, for names; 0 (invalid) where the name is our own. */
static const uint16_t mnemonic_of_op[OP_MAX] = {
#define OP(name, class) [OP_##name] = ZYDIS_MNEMONIC_##name,
#include "vmm/decode/ops.def"
#include "vmm/decode/ops_fpu.def"
#undef OP
};

static const char *const own_names[MNEMONICS - ZYDIS_MNEMONIC_BEHIND_LAST] = {
#define NAME(mnemonic, text) [ZYDIS_MNEMONIC_##mnemonic - ZYDIS_MNEMONIC_BEHIND_LAST] = text
	NAME(MOV_CR, "mov cr"),
	NAME(MOV_R_CR, "mov from cr"),
	NAME(MOV_DR, "mov dr"),
	NAME(MOV_R_DR, "mov from dr"),
	NAME(MOV_SREG, "mov sreg"),
	NAME(MOV_R_SREG, "mov from sreg"),
	NAME(PUSH_SREG, "push sreg"),
	NAME(POP_SREG, "pop sreg"),
	NAME(CALL_FAR, "call far"),
	NAME(JMP_FAR, "jmp far"),
	NAME(RET_FAR, "ret far"),
	NAME(IMUL2, "imul2"),
	NAME(IMUL3, "imul3"),
	NAME(INS, "ins"),
	NAME(OUTS, "outs"),
	NAME(MOVS, "movs"),
	NAME(CMPS, "cmps"),
	NAME(STOS, "stos"),
	NAME(LODS, "lods"),
	NAME(SCAS, "scas"),
	NAME(UD, "ud"),
	NAME(FENCE, "fence"),
	NAME(MOVSD_SSE, "movsd"),
	NAME(CMPSD_SSE, "cmpsd"),
#undef NAME
};

/* Instruction sets of the model: up to Pentium III and SSE2. A mnemonic that is in the list above but of another set
 * (PEXTRW to memory) is #UD. */
static const uint8_t isa_set_known[ZYDIS_ISA_SET_MAX_VALUE + 1] = {
	[ZYDIS_ISA_SET_I86] = 1,          [ZYDIS_ISA_SET_I186] = 1,         [ZYDIS_ISA_SET_I286PROTECTED] = 1,
	[ZYDIS_ISA_SET_I286REAL] = 1,     [ZYDIS_ISA_SET_I386] = 1,         [ZYDIS_ISA_SET_I486] = 1,
	[ZYDIS_ISA_SET_I486REAL] = 1,     [ZYDIS_ISA_SET_PENTIUMREAL] = 1,  [ZYDIS_ISA_SET_PENTIUMMMX] = 1,
	[ZYDIS_ISA_SET_PPRO] = 1,         [ZYDIS_ISA_SET_CMOV] = 1,         [ZYDIS_ISA_SET_FCMOV] = 1,
	[ZYDIS_ISA_SET_FAT_NOP] = 1,      [ZYDIS_ISA_SET_PREFETCH_NOP] = 1, [ZYDIS_ISA_SET_PAUSE] = 1,
	[ZYDIS_ISA_SET_RDPMC] = 1,        [ZYDIS_ISA_SET_LAHF] = 1,         [ZYDIS_ISA_SET_X87] = 1,
	[ZYDIS_ISA_SET_FXSAVE] = 1,       [ZYDIS_ISA_SET_CLFSH] = 1,        [ZYDIS_ISA_SET_SSE] = 1,
	[ZYDIS_ISA_SET_SSE2] = 1,         [ZYDIS_ISA_SET_SSE2MMX] = 1,      [ZYDIS_ISA_SET_SSEMXCSR] = 1,
	[ZYDIS_ISA_SET_SSE_PREFETCH] = 1,
};

/*
 * By MODE_CS32 | MODE_SS32. Every decoder mode that gives an old encoding a new meaning is off: F3 BSF is BSF, F3 BSR
 * is BSR, 0F 1A, 0F 1B, 0F 1C and 0F 1E are NOP. Real mode needs no decoder of its own: what it lacks is in
 * not_in_vm86[].
 */
static const ZydisDecoder decoders[4] = {
	[0] = { ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16, { 0 } },
	[MODE_CS32] = { ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_16, { 0 } },
	[MODE_SS32] = { ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_32, { 0 } },
	[MODE_CS32 | MODE_SS32] = { ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32, { 0 } },
};

/* #UD in real and virtual-8086 mode (SDM vol. 3A 20.1.3). */
static const uint8_t not_in_vm86[OP_FPU_BASE] = {
	[OP_ARPL] = 1, [OP_LAR] = 1, [OP_LSL] = 1,  [OP_VERR] = 1, [OP_VERW] = 1,
	[OP_SLDT] = 1, [OP_STR] = 1, [OP_LLDT] = 1, [OP_LTR] = 1,
};

/* Operand sizes that the instruction fixes, or that are not what the library calls the operand width. 0: the
 * library's. */
static const uint8_t fixed_opsize[OP_FPU_BASE] = {
	[OP_MOV_CR] = 4, [OP_MOV_R_CR] = 4, [OP_MOV_DR] = 4,    [OP_MOV_R_DR] = 4, [OP_MOV_SREG] = 2,
	[OP_LLDT] = 2,   [OP_LTR] = 2,      [OP_LMSW] = 2,      [OP_VERR] = 2,     [OP_VERW] = 2,
	[OP_ARPL] = 2,   [OP_XLAT] = 1,     [OP_CMPXCHG8B] = 8, [OP_INVLPG] = 1,
};

/* Register classes: first, how many, distance of two in struct insn's numbering. */
static const struct {
	uint16_t first, count;
	uint8_t stride, bias;
} register_classes[] = {
	{ ZYDIS_REGISTER_EAX, 8, 8, 0 },  { ZYDIS_REGISTER_AX, 8, 8, 0 },         { ZYDIS_REGISTER_AL, 4, 8, 0 },
	{ ZYDIS_REGISTER_AH, 4, 8, 1 },   { ZYDIS_REGISTER_XMM0, 8, 16, 0 },      { ZYDIS_REGISTER_MM0, 8, 8, 0 },
	{ ZYDIS_REGISTER_ST0, 8, 1, 0 },  { ZYDIS_REGISTER_ES, SEG_COUNT, 1, 0 }, { ZYDIS_REGISTER_CR0, 16, 1, 0 },
	{ ZYDIS_REGISTER_DR0, 16, 1, 0 },
};

/* The library's result for one instruction. */
struct raw {
	ZydisDecodedInstruction in;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT_VISIBLE];
	unsigned operands; /* visible ones */
};

static bool is_register(const ZydisDecodedOperand *o, ZydisRegister first, unsigned count)
{
	return o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->reg.value >= first && o->reg.value < first + count;
}

static bool is_segment(const ZydisDecodedOperand *o)
{
	return is_register(o, ZYDIS_REGISTER_ES, SEG_COUNT);
}

static uint8_t register_slot(ZydisRegister r)
{
	for (size_t i = 0; i < sizeof(register_classes) / sizeof(register_classes[0]); i++) {
		unsigned n = (unsigned)r - register_classes[i].first;

		if (n < register_classes[i].count)
			return (uint8_t)(n * register_classes[i].stride + register_classes[i].bias);
	}
	BUG_ON("register outside the model");
	return 0;
}

static unsigned split_mov(const struct raw *r)
{
	const ZydisDecodedOperand *dst = &r->op[0], *src = &r->op[1];

	if (is_segment(dst))
		return ZYDIS_MNEMONIC_MOV_SREG;
	if (is_segment(src))
		return ZYDIS_MNEMONIC_MOV_R_SREG;
	if (is_register(dst, ZYDIS_REGISTER_CR0, 16))
		return ZYDIS_MNEMONIC_MOV_CR;
	if (is_register(src, ZYDIS_REGISTER_CR0, 16))
		return ZYDIS_MNEMONIC_MOV_R_CR;
	if (is_register(dst, ZYDIS_REGISTER_DR0, 16))
		return ZYDIS_MNEMONIC_MOV_DR;
	if (is_register(src, ZYDIS_REGISTER_DR0, 16))
		return ZYDIS_MNEMONIC_MOV_R_DR;
	return ZYDIS_MNEMONIC_MOV;
}

/* Where one mnemonic is several instructions of ours. */
static unsigned split_mnemonic(const struct raw *r)
{
	bool far = r->in.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;

	switch (r->in.mnemonic) {
	case ZYDIS_MNEMONIC_MOV: return split_mov(r);
	case ZYDIS_MNEMONIC_PUSH: return is_segment(&r->op[0]) ? ZYDIS_MNEMONIC_PUSH_SREG : ZYDIS_MNEMONIC_PUSH;
	case ZYDIS_MNEMONIC_POP: return is_segment(&r->op[0]) ? ZYDIS_MNEMONIC_POP_SREG : ZYDIS_MNEMONIC_POP;
	case ZYDIS_MNEMONIC_CALL: return far ? ZYDIS_MNEMONIC_CALL_FAR : ZYDIS_MNEMONIC_CALL;
	case ZYDIS_MNEMONIC_JMP: return far ? ZYDIS_MNEMONIC_JMP_FAR : ZYDIS_MNEMONIC_JMP;
	case ZYDIS_MNEMONIC_RET: return far ? ZYDIS_MNEMONIC_RET_FAR : ZYDIS_MNEMONIC_RET;
	case ZYDIS_MNEMONIC_IMUL:
		return r->operands == 1   ? ZYDIS_MNEMONIC_IMUL
		       : r->operands == 2 ? ZYDIS_MNEMONIC_IMUL2
		                          : ZYDIS_MNEMONIC_IMUL3;
	case ZYDIS_MNEMONIC_MOVSD: /* the string instructions' operands are all hidden */
		return r->operands ? ZYDIS_MNEMONIC_MOVSD_SSE : ZYDIS_MNEMONIC_MOVSD;
	case ZYDIS_MNEMONIC_CMPSD: return r->operands ? ZYDIS_MNEMONIC_CMPSD_SSE : ZYDIS_MNEMONIC_CMPSD;
	default: return r->in.mnemonic;
	}
}

static void set_memory(struct insn *out, const ZydisDecodedOperandMem *m)
{
	static const uint8_t shift[9] = { [2] = 1, [4] = 2, [8] = 3 };

	out->flags |= IF_MEM;
	out->seg = (uint8_t)(m->segment - ZYDIS_REGISTER_ES);
	out->disp = (uint32_t)m->disp.value;
	if (m->base != ZYDIS_REGISTER_NONE)
		out->base = register_slot(m->base);
	if (m->index != ZYDIS_REGISTER_NONE) {
		out->index = register_slot(m->index);
		out->scale = shift[m->scale];
	}
}

/* Segment of an implicit memory operand (strings, XLAT, MASKMOVQ). */
static uint8_t implicit_segment(ZydisInstructionAttributes attributes)
{
	static const struct {
		ZydisInstructionAttributes attribute;
		uint8_t seg;
	} overrides[] = {
		{ ZYDIS_ATTRIB_HAS_SEGMENT_CS, SEG_CS }, { ZYDIS_ATTRIB_HAS_SEGMENT_SS, SEG_SS },
		{ ZYDIS_ATTRIB_HAS_SEGMENT_DS, SEG_DS }, { ZYDIS_ATTRIB_HAS_SEGMENT_ES, SEG_ES },
		{ ZYDIS_ATTRIB_HAS_SEGMENT_FS, SEG_FS }, { ZYDIS_ATTRIB_HAS_SEGMENT_GS, SEG_GS },
	};

	for (size_t i = 0; i < sizeof(overrides) / sizeof(overrides[0]); i++)
		if (attributes & overrides[i].attribute)
			return overrides[i].seg;
	return SEG_DS;
}

static bool is_shift(unsigned op)
{
	return op >= OP_ROL && op <= OP_SHRD;
}

static void set_two_operands(struct insn *out, const ZydisDecodedOperand *dst, const ZydisDecodedOperand *src)
{
	bool to_special = out->op == OP_MOV_SREG || out->op == OP_MOV_CR || out->op == OP_MOV_DR;

	if (dst->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		out->form = FORM_MR;
		set_memory(out, &dst->mem);
		out->reg = register_slot(src->reg.value);
	} else if (src->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		out->form = FORM_RM;
		set_memory(out, &src->mem);
		out->reg = register_slot(dst->reg.value);
	} else {
		out->form = FORM_RR;
		out->rm = register_slot(to_special ? src->reg.value : dst->reg.value);
		out->reg = register_slot(to_special ? dst->reg.value : src->reg.value);
	}
}

static void set_one_operand(struct insn *out, const ZydisDecodedOperand *o, bool has_imm)
{
	if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		out->form = has_imm ? FORM_MI : FORM_M;
		set_memory(out, &o->mem);
	} else {
		out->form = has_imm ? FORM_RI : FORM_R;
		out->rm = register_slot(o->reg.value);
		if (is_segment(o))
			out->reg = out->rm;
	}
}

/* IN, OUT: the data register is implied by opsize, the port is all there is to say. */
static void set_port(struct insn *out, const struct raw *r)
{
	const ZydisDecodedOperand *port = &r->op[out->op == OP_IN ? 1 : 0];

	if (port->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		out->form = FORM_I;
		out->imm = (uint32_t)port->imm.value.u;
	} else {
		out->flags |= IF_DX;
	}
}

static void set_operands(struct insn *out, const struct raw *r)
{
	unsigned n = r->operands;
	const ZydisDecodedOperand *last = n ? &r->op[n - 1] : NULL;
	bool has_imm = false;

	if (out->op == OP_IN || out->op == OP_OUT) {
		set_port(out, r);
		return;
	}
	if (out->op == OP_ENTER) {
		out->form = FORM_I;
		out->imm = (uint32_t)r->op[0].imm.value.u;
		out->imm2 = (uint16_t)(r->op[1].imm.value.u & 31);
		return;
	}
	if (n && last->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		out->imm = (uint32_t)last->imm.value.u;
		has_imm = true;
		n--;
	} else if (n && last->type == ZYDIS_OPERAND_TYPE_POINTER) {
		out->imm = last->ptr.offset;
		out->imm2 = last->ptr.segment;
		has_imm = true;
		n--;
	} else if (n >= 2 && is_shift(out->op)) {
		out->flags |= IF_CL;
		n--;
	}
	BUG_ON(n > 2);
	if (n == 2)
		set_two_operands(out, &r->op[0], &r->op[1]);
	else if (n == 1)
		set_one_operand(out, &r->op[0], has_imm);
	else
		out->form = has_imm ? FORM_I : FORM_NONE;
}

static uint8_t operand_size(const struct insn *out, const struct raw *r)
{
	if (out->op >= OP_FPU_BASE || (out->op >= OP_FXSAVE && out->op <= OP_CLFLUSH)) {
		for (unsigned i = 0; i < r->operands; i++)
			if (r->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
				return r->op[i].size / 8 <= 255 ? (uint8_t)(r->op[i].size / 8) : 0;
		return 0;
	}
	if (fixed_opsize[out->op])
		return fixed_opsize[out->op];
	if ((out->op == OP_MOV_R_SREG && out->form == FORM_MR) ||
	    ((out->op == OP_SLDT || out->op == OP_STR || out->op == OP_SMSW) && out->form == FORM_M))
		return 2; /* to memory: 16 bits whatever the operand size */
	return r->in.operand_width / 8;
}

static bool shows_hidden_rpl(const struct insn *in)
{
	return (in->op != OP_MOV_R_SREG && in->op != OP_PUSH_SREG) || in->reg == SEG_CS || in->reg == SEG_SS;
}

static bool ends_trace(const struct insn *in)
{
	enum op_class class = op_class(in->op);

	if (class == CLASS_SEG)
		return in->op == OP_LSS || ((in->op == OP_MOV_SREG || in->op == OP_POP_SREG) && in->reg == SEG_SS);
	if (class != CLASS_NONE)
		return shows_hidden_rpl(in);
	if (in->op >= OP_MOVS && in->op <= OP_SCAS)
		return in->flags & (IF_REP | IF_REPNE);
	return in->op == OP_UD || (in->op >= OP_JO && in->op <= OP_RET);
}

static uint8_t prefix_flags(ZydisInstructionAttributes attributes)
{
	bool rep = attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE);
	bool repne = attributes & ZYDIS_ATTRIB_HAS_REPNE, lock = attributes & ZYDIS_ATTRIB_HAS_LOCK;

	return (rep ? IF_REP : 0) | (repne ? IF_REPNE : 0) | (lock ? IF_LOCK : 0);
}

/* What decodes, but is not in the model, or not there in this mode. */
static bool undefined(const struct insn *out, const struct raw *r, unsigned mode)
{
	if (out->op == OP_NONE || out->op == OP_UD || !isa_set_known[r->in.meta.isa_set])
		return true;
	if (r->in.meta.isa_set == ZYDIS_ISA_SET_PREFETCH_NOP && !(out->flags & IF_MEM))
		return true;
	if ((mode & MODE_VM) && out->op < OP_FPU_BASE && not_in_vm86[out->op])
		return true;
	if (out->op == OP_MOV_CR || out->op == OP_MOV_R_CR)
		return out->reg > 4 || out->reg == 1 || (out->flags & IF_LOCK);
	if (out->op == OP_MOV_DR || out->op == OP_MOV_R_DR)
		return out->reg > 7;
	return out->op == OP_MOV_SREG && out->reg == SEG_CS;
}

/* ESC opcodes: the x87's. */
static bool is_escape(const ZydisDecodedInstruction *in)
{
	return in->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (in->opcode & 0xf8) == 0xd8;
}

static uint16_t x87_fop(const ZydisDecodedInstruction *in)
{
	return (uint16_t)((in->opcode & 7) << 8 | in->raw.modrm.mod << 6 | in->raw.modrm.reg << 3 | in->raw.modrm.rm);
}

static unsigned vector_kind(const ZydisDecodedOperand *o)
{
	if (is_register(o, ZYDIS_REGISTER_MM0, 8))
		return VEC_MMX;
	if (is_register(o, ZYDIS_REGISTER_XMM0, 8))
		return VEC_XMM;
	return o->type == ZYDIS_OPERAND_TYPE_REGISTER ? VEC_GPR : VEC_NONE;
}

static uint16_t vector_kinds(const struct raw *r)
{
	unsigned dst = r->operands > 0 ? vector_kind(&r->op[0]) : VEC_NONE;
	unsigned src = r->operands > 1 ? vector_kind(&r->op[1]) : VEC_NONE;

	return (uint16_t)VEC_KIND(dst, src);
}

static int set_undefined(struct insn *out, unsigned len, unsigned avail, int result)
{
	out->op = OP_UD;
	out->len = (uint8_t)(len < 1 ? 1 : len > avail ? avail : len);
	out->form = FORM_NONE;
	out->flags = IF_ENDS;
	return result;
}

/*
 * Later prefixes (VEX, EVEX, XOP) in the place of forms of LES, LDS, BOUND and POP that do not exist. Found out here,
 * because the library would ask for the bytes after them. Returns the length up to the second byte, or 0.
 */
static unsigned new_prefix(const uint8_t *bytes, unsigned avail)
{
	static const uint8_t legacy[256] = {
		[0x26] = 1, [0x2e] = 1, [0x36] = 1, [0x3e] = 1, [0x64] = 1, [0x65] = 1,
		[0x66] = 1, [0x67] = 1, [0xf0] = 1, [0xf2] = 1, [0xf3] = 1,
	};
	unsigned n = 0;

	while (n < avail && legacy[bytes[n]])
		n++;
	if (n + 1 >= avail)
		return 0;
	if (bytes[n] == 0x8f)
		return bytes[n + 1] & 0x38 ? n + 2 : 0; /* reg other than 0 */
	if (bytes[n] == 0x62 || bytes[n] == 0xc4 || bytes[n] == 0xc5)
		return bytes[n + 1] >= 0xc0 ? n + 2 : 0; /* register instead of memory */
	return 0;
}

/* Bytes to the library's view. 0, or what insn_decode() returns. */
static int decode_raw(struct raw *r, ZydisDecoderContext *context, const uint8_t *bytes, unsigned avail, unsigned mode)
{
	const ZydisDecoder *d = &decoders[mode & (MODE_CS32 | MODE_SS32)];
	ZyanStatus status;

	r->in.length = (ZyanU8)new_prefix(bytes, avail);
	if (r->in.length)
		return -1;
	status = ZydisDecoderDecodeInstruction(d, context, bytes, avail, &r->in);
	if (status == ZYDIS_STATUS_NO_MORE_DATA)
		return 0;
	if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
		return -2;
	if (ZYAN_FAILED(status) || r->in.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return -1;
	r->operands = r->in.operand_count_visible;
	status = ZydisDecoderDecodeOperands(d, context, &r->in, r->op, (ZyanU8)r->operands);
	return ZYAN_FAILED(status) ? -1 : 1;
}

int insn_decode(struct insn *out, const uint8_t *bytes, unsigned avail, unsigned mode, unsigned off)
{
	ZydisDecoderContext context;
	struct raw r;
	int rc;

	BUG_ON(avail < 1 || avail > 15);
	*out = (struct insn){ .off = (uint8_t)off, .base = GPR_ZERO, .index = GPR_ZERO, .seg = SEG_DS };
	rc = decode_raw(&r, &context, bytes, avail, mode);
	if (rc == 0)
		return 0;
	if (rc < 0)
		return set_undefined(out, rc == -2 ? 15 : r.in.length, avail, rc);
	out->op = op_of_mnemonic[split_mnemonic(&r)];
	if (out->op == OP_NONE || out->op == OP_UD || !isa_set_known[r.in.meta.isa_set])
		return set_undefined(out, r.in.length, avail, -1);
	out->len = r.in.length;
	out->asize = r.in.address_width / 8;
	out->flags = prefix_flags(r.in.attributes);
	out->seg = implicit_segment(r.in.attributes);
	set_operands(out, &r);
	out->opsize = operand_size(out, &r);
	if (undefined(out, &r, mode))
		return set_undefined(out, r.in.length, avail, -1);
	if (out->op == OP_MOVZX || out->op == OP_MOVSX)
		out->imm2 = r.op[1].size / 8;
	if (out->op >= OP_FPU_BASE)
		out->imm2 = is_escape(&r.in) ? x87_fop(&r.in) : vector_kinds(&r);
	if (out->op == OP_MOV && r.in.opcode >= 0xa0 && r.in.opcode <= 0xa3)
		out->flags |= IF_MOFFS;
	if (ends_trace(out))
		out->flags |= IF_ENDS;
	return out->len;
}

const char *op_name(enum op op)
{
	unsigned mnemonic = (unsigned)op < OP_MAX ? mnemonic_of_op[op] : 0;

	if (!mnemonic)
		return NULL;
	if (mnemonic > ZYDIS_MNEMONIC_MAX_VALUE)
		return own_names[mnemonic - ZYDIS_MNEMONIC_BEHIND_LAST];
	return ZydisMnemonicGetString((ZydisMnemonic)mnemonic);
}

void insn_format(char *buf, size_t size, const uint8_t *bytes, unsigned avail, unsigned mode, uint64_t addr)
{
	ZydisDecoderContext context;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction in;
	ZydisFormatter formatter;
	const ZydisDecoder *d = &decoders[mode & (MODE_CS32 | MODE_SS32)];

	if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(d, &context, bytes, avail, &in)) ||
	    ZYAN_FAILED(ZydisDecoderDecodeOperands(d, &context, &in, operands, in.operand_count)) ||
	    ZYAN_FAILED(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) ||
	    ZYAN_FAILED(ZydisFormatterFormatInstruction(&formatter, &in, operands, in.operand_count_visible, buf, size,
	                                                addr, NULL)))
		snprintf(buf, size, "(bad)");
}
