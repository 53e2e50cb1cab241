/*
 * xlate_fpu.c - emit x87 and SSE2 instructions: the guest's own, once their state is in the host's unit.
 *
 * Where x87 state is, struct frame says (x87_ok). XMM registers of the guest are the host's xmm0 to xmm7 as long as translated code runs: thunks load and save
 * them (xlate_thunk.c), and xmm8 is a temporary.
 *
 * Called by xlate_insn.c.
 */
#include <stddef.h>

#include "vmm/engine/fpu.h"
#include "vmm/engine/ops.h"
#include "vmm/engine/xlate_gen.h"

/* ---- x87: the guest's own instruction, once its state is in the host's unit ---- */

static void gen_require_x87(struct gen *g)
{
	if (!g->x87_known)
		gen_require(g, offsetof(struct frame, x87_ok));
	g->x87_known = true;
}

static void gen_note(struct gen *g, unsigned frame_offset)
{
	emit_rm(&g->e, 4, 0xc7, 0, at_frame(g, frame_offset));
	emit_u32(&g->e, gen_site(g));
}

/* FST, FSTP, FIST, FISTP by escape byte and opcode extension (SDM vol. 2 A.5) */
static bool x87_stores(unsigned esc, unsigned reg)
{
	return (esc & 1) && (reg == 2 || reg == 3 || (esc == 7 && reg == 7));
}

static bool gen_x87_memory(struct gen *g, const struct insn *in)
{
	unsigned esc = in->imm2 >> 8 & 7, reg = in->imm2 >> 3 & 7;
	bool write = x87_stores(esc, reg);
	struct operand m;

	if ((in->opsize != 2 && in->opsize != 4 && in->opsize != 8) || !segment_known(in, write) || in->seg >= SEG_FS)
		return false;
	gen_require_x87(g);
	m = gen_memory(g, in, in->opsize, write);
	emit_rm(&g->e, 4, 0xd8 + esc, reg, m);
	gen_note(g, offsetof(struct frame, x87_last));
	gen_note(g, offsetof(struct frame, x87_last_mem));
	emit_rm(&g->e, 4, 0x89, gen_ea(g, in), at_frame(g, offsetof(struct frame, x87_last_ea)));
	return true;
}

/* What the guest loaded, which is not what the host's unit has. */
static bool gen_fnstcw(struct gen *g, const struct insn *in)
{
	struct operand m;

	if (!segment_known(in, true) || in->seg >= SEG_FS)
		return false;
	gen_require_x87(g);
	m = gen_memory(g, in, 2, true);
	emit_rm(&g->e, 8, 0x8b, R9, at_frame(g, offsetof(struct frame, c)));
	emit_rm(&g->e, 2, 0x8b, R9, at_base(R9, (int32_t)(offsetof(struct vcpu, fpu) + FX_FCW)));
	emit_rm(&g->e, 2, 0x89, R9, m);
	return true;
}

static bool gen_x87(struct gen *g, const struct insn *in)
{
	if (in->op == OP_FNSTCW)
		return gen_fnstcw(g, in);
	if (in->op == OP_FNSTSW && !(in->flags & IF_MEM)) {
		gen_require_x87(g);
		emit_bytes(&g->e, "\xdf\xe0", 2);
		return true;
	}
	if (in->op == OP_FWAIT) {
		gen_require_x87(g);
		return true;
	}
	if (fpu_bind_state(in) || !fpu_bind_x87(in))
		return false;
	if ((in->imm2 & 0xc0) != 0xc0)
		return gen_x87_memory(g, in);
	gen_require_x87(g);
	emit_u8(&g->e, 0xd8 | (in->imm2 >> 8 & 7));
	emit_u8(&g->e, in->imm2 & 0xff);
	gen_note(g, offsetof(struct frame, x87_last));
	return true;
}

/* ---- SSE2: integers and moves ---- */

enum { STEP_16 = 2 /* emit_rm() puts the prefix 66 */ };

static void gen_require_sse(struct gen *g)
{
	if (!g->sse_known)
		gen_require(g, offsetof(struct frame, sse_ok));
	g->sse_known = true;
}

static unsigned xmm_host(unsigned offset)
{
	return offset / 16;
}

/* 66 0F xx /r, by op - OP_PACKSSWB; 0 none */
static const uint8_t vec_opcodes[] = {
#define VEC(op, opcode) [OP_##op - OP_PACKSSWB] = opcode
	VEC(PACKSSWB, 0x63),   VEC(PACKSSDW, 0x6b),   VEC(PACKUSWB, 0x67),  VEC(PUNPCKLBW, 0x60), VEC(PUNPCKLWD, 0x61),
	VEC(PUNPCKLDQ, 0x62),  VEC(PUNPCKLQDQ, 0x6c), VEC(PUNPCKHBW, 0x68), VEC(PUNPCKHWD, 0x69), VEC(PUNPCKHDQ, 0x6a),
	VEC(PUNPCKHQDQ, 0x6d), VEC(PADDB, 0xfc),      VEC(PADDW, 0xfd),     VEC(PADDD, 0xfe),     VEC(PADDQ, 0xd4),
	VEC(PADDSB, 0xec),     VEC(PADDSW, 0xed),     VEC(PADDUSB, 0xdc),   VEC(PADDUSW, 0xdd),   VEC(PSUBB, 0xf8),
	VEC(PSUBW, 0xf9),      VEC(PSUBD, 0xfa),      VEC(PSUBQ, 0xfb),     VEC(PSUBSB, 0xe8),    VEC(PSUBSW, 0xe9),
	VEC(PSUBUSB, 0xd8),    VEC(PSUBUSW, 0xd9),    VEC(PMULLW, 0xd5),    VEC(PMULHW, 0xe5),    VEC(PMULHUW, 0xe4),
	VEC(PMULUDQ, 0xf4),    VEC(PMADDWD, 0xf5),    VEC(PAVGB, 0xe0),     VEC(PAVGW, 0xe3),     VEC(PSADBW, 0xf6),
	VEC(PMINUB, 0xda),     VEC(PMAXUB, 0xde),     VEC(PMINSW, 0xea),    VEC(PMAXSW, 0xee),    VEC(PCMPEQB, 0x74),
	VEC(PCMPEQW, 0x75),    VEC(PCMPEQD, 0x76),    VEC(PCMPGTB, 0x64),   VEC(PCMPGTW, 0x65),   VEC(PCMPGTD, 0x66),
	VEC(PAND, 0xdb),       VEC(PANDN, 0xdf),      VEC(POR, 0xeb),       VEC(PXOR, 0xef),
#undef VEC
};

static unsigned vec_opcode(const struct insn *in)
{
	unsigned i = (unsigned)in->op - OP_PACKSSWB;

	if (in->op == OP_PSHUFD)
		return 0x70;
	return in->op >= OP_PACKSSWB && i < sizeof(vec_opcodes) ? vec_opcodes[i] : 0;
}

static bool kinds_are(const struct insn *in, unsigned dst, unsigned src)
{
	return in->imm2 == VEC_KIND(dst, src);
}

/* 16 bytes of memory, aligned or the handler's to judge. */
static struct operand gen_memory_16(struct gen *g, const struct insn *in, bool write, bool aligned)
{
	return aligned ? gen_at(g, gen_ea(g, in), 16, write, true) : gen_memory(g, in, 16, write);
}

static bool gen_vec_arith(struct gen *g, const struct insn *in, unsigned opcode)
{
	bool memory = in->form == FORM_RM;

	if (!(in->form == FORM_RR && kinds_are(in, VEC_XMM, VEC_XMM)) &&
	    !(memory && kinds_are(in, VEC_XMM, VEC_NONE) && segment_known(in, false) && in->seg < SEG_FS))
		return false;
	gen_require_sse(g);
	if (memory)
		emit_rm(&g->e, STEP_16, 0x0f00 | opcode, xmm_host(in->reg), gen_memory_16(g, in, false, true));
	else
		emit_rr(&g->e, STEP_16, 0x0f00 | opcode, xmm_host(in->rm), xmm_host(in->reg));
	if (in->op == OP_PSHUFD)
		emit_u8(&g->e, in->imm);
	return true;
}

/* All 16 bytes: MOVDQA, MOVDQU and kin. */
static bool gen_vec_move(struct gen *g, const struct insn *in, bool aligned)
{
	bool write = in->form == FORM_MR;
	struct operand m;

	if (in->form == FORM_RR && kinds_are(in, VEC_XMM, VEC_XMM)) {
		gen_require_sse(g);
		emit_rr(&g->e, STEP_16, 0x0f6f, xmm_host(in->rm), xmm_host(in->reg));
		return true;
	}
	if ((in->form != FORM_RM && !write) || !segment_known(in, write) || in->seg >= SEG_FS)
		return false;
	gen_require_sse(g);
	m = gen_memory_16(g, in, write, aligned);
	if (!(aligned && m.window)) /* MOVDQU; else MOVDQA, which has the host look at the alignment */
		emit_u8(&g->e, 0xf3);
	emit_rm(&g->e, aligned && m.window ? STEP_16 : 4, write ? 0x0f7f : 0x0f6f, xmm_host(in->reg), m);
	return true;
}

static bool gen_movd(struct gen *g, const struct insn *in)
{
	bool write = in->form == FORM_MR;

	if (in->form == FORM_RR && kinds_are(in, VEC_XMM, VEC_GPR)) {
		gen_require_sse(g);
		emit_rr(&g->e, STEP_16, 0x0f6e, xmm_host(in->rm), host(in->reg));
		return true;
	}
	if (in->form == FORM_RR && kinds_are(in, VEC_GPR, VEC_XMM)) {
		gen_require_sse(g);
		emit_rr(&g->e, STEP_16, 0x0f7e, xmm_host(in->reg), host(in->rm));
		return true;
	}
	if (!segment_known(in, write) || in->seg >= SEG_FS ||
	    !(write ? kinds_are(in, VEC_NONE, VEC_XMM) : in->form == FORM_RM && kinds_are(in, VEC_XMM, VEC_NONE)))
		return false;
	gen_require_sse(g);
	emit_rm(&g->e, STEP_16, write ? 0x0f7e : 0x0f6e, xmm_host(in->reg), gen_memory(g, in, 4, write));
	return true;
}

static bool gen_pmovmskb(struct gen *g, const struct insn *in)
{
	if (in->form != FORM_RR || !kinds_are(in, VEC_GPR, VEC_XMM))
		return false;
	gen_require_sse(g);
	emit_rr(&g->e, STEP_16, 0x0fd7, host(in->rm), xmm_host(in->reg));
	return true;
}

static bool gen_vec(struct gen *g, const struct insn *in)
{
	unsigned opcode = vec_opcode(in);

	if (opcode)
		return gen_vec_arith(g, in, opcode);
	switch (in->op) {
	case OP_MOVDQA:
	case OP_MOVAPS:
	case OP_MOVAPD: return gen_vec_move(g, in, true);
	case OP_MOVDQU:
	case OP_MOVUPS:
	case OP_MOVUPD: return gen_vec_move(g, in, false);
	case OP_MOVD: return gen_movd(g, in);
	case OP_PMOVMSKB: return gen_pmovmskb(g, in);
	default: return false;
	}
}

bool gen_fpu(struct gen *g, const struct insn *in)
{
	return in->op >= OP_MOVD ? gen_vec(g, in) : gen_x87(g, in);
}
