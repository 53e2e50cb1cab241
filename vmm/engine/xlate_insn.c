/*
 * xlate_insn.c - one guest instruction as host code.
 *
 * Each emitter decides first whether the form is one it knows (else it returns false, having emitted nothing, and the instruction is called out), then
 * emits checks, then the work. Between a check and the end of the instruction nothing of the guest's state changes before the last check, and no host
 * instruction changes flags but the one that does it for the guest (xlate.c, invariant 5).
 *
 * Called by xlate.c.
 */
#include <stddef.h>

#include "vmm/engine/fpu.h"
#include "vmm/engine/xlate_gen.h"

static bool is_cx(unsigned offset)
{
	return offset >> 3 == R_CX;
}

static bool is_high(unsigned offset)
{
	return offset & 1;
}

/* Byte registers while ECX is in rcx, so that no REX is needed. */
static unsigned byte_of(unsigned offset)
{
	return is_high(offset) ? BYTE_AH + (offset >> 3) : offset >> 3;
}

/* A byte register alone: where it is, but for CH, which is nowhere unless ECX is in rcx. */
static unsigned byte_reg(unsigned offset)
{
	return is_high(offset) ? byte_of(offset) : host(offset);
}

static bool is_ch(unsigned offset)
{
	return is_cx(offset) && is_high(offset);
}

/* ---- the block ---- */

static uint32_t rip_after(const struct gen *g, const struct insn *in)
{
	return g->at + in->len;
}

/* Is there more of the block behind the present instruction, and from which address? */
static bool goes_on(const struct gen *g, uint32_t *rip)
{
	if (g->k + 1 == g->n)
		return false;
	*rip = g->step[g->k + 1].rip;
	return true;
}

/* ---- memory ---- */

/* The same for an instruction with AH..BH: no register of the operand may need a REX. */
static struct operand gen_memory_plain(struct gen *g, const struct insn *in, unsigned size, bool write)
{
	return gen_pin(g, RCX, gen_memory(g, in, size, write));
}

/* A byte register next to a memory operand: low bytes anywhere, high ones but CH. */
static bool byte_beside_memory(unsigned offset)
{
	return !(is_high(offset) && is_cx(offset));
}

/* op reg, mem with a register operand of insn.opsize; opcode is for bytes, the next one for words. */
static void gen_with_memory(struct gen *g, const struct insn *in, unsigned opcode, unsigned reg, bool write)
{
	if (in->opsize != 1)
		emit_rm(&g->e, in->opsize, opcode + 1, host(reg), gen_memory(g, in, in->opsize, write));
	else if (is_high(reg))
		emit_rm(&g->e, 1, opcode, byte_of(reg), gen_memory_plain(g, in, 1, write));
	else
		emit_rm(&g->e, 1, opcode, host(reg), gen_memory(g, in, 1, write));
}

static bool with_memory_ok(const struct insn *in, unsigned reg, bool write)
{
	return segment_known(in, write) && (in->opsize != 1 || byte_beside_memory(reg));
}

/* ---- registers ---- */

static void gen_cx_in(struct gen *g)
{
	emit_mov(&g->e, RCX, GUEST_CX);
}

static void gen_cx_out(struct gen *g)
{
	emit_mov(&g->e, GUEST_CX, RCX);
}

/* op rm, reg; opcode as above. changes: bits, 1 rm, 2 reg */
static void gen_rr(struct gen *g, const struct insn *in, unsigned opcode, unsigned changes)
{
	bool cx = is_cx(in->rm) || is_cx(in->reg), high = is_high(in->rm) || is_high(in->reg);

	if (in->opsize != 1) {
		emit_rr(&g->e, in->opsize, opcode + 1, host(in->reg), host(in->rm));
		return;
	}
	if (!high) {
		emit_rr(&g->e, 1, opcode, host(in->reg), host(in->rm));
		return;
	}
	if (cx)
		gen_cx_in(g);
	emit_rr(&g->e, 1, opcode, byte_of(in->reg), byte_of(in->rm));
	if (((changes & 1) && is_cx(in->rm)) || ((changes & 2) && is_cx(in->reg)))
		gen_cx_out(g);
}

/* op rm with an opcode extension; opcode as above. An immediate follows. */
static void gen_r(struct gen *g, const struct insn *in, unsigned opcode, unsigned extension)
{
	if (in->opsize != 1) {
		emit_rr(&g->e, in->opsize, opcode + 1, extension, host(in->rm));
		return;
	}
	emit_rr(&g->e, 1, opcode, extension, byte_reg(in->rm));
}

static void gen_ch_in(struct gen *g, const struct insn *in)
{
	if (in->opsize == 1 && is_ch(in->rm))
		gen_cx_in(g);
}

static void gen_ch_out(struct gen *g, const struct insn *in)
{
	if (in->opsize == 1 && is_ch(in->rm))
		gen_cx_out(g);
}

/* ---- MOV and kin ---- */

static bool gen_mov(struct gen *g, const struct insn *in)
{
	switch (in->form) {
	case FORM_RR: gen_rr(g, in, 0x88, 1); return true;
	case FORM_RI:
		if (in->opsize == 4) {
			emit_mov_imm(&g->e, host(in->rm), in->imm);
			return true;
		}
		gen_ch_in(g, in);
		gen_r(g, in, 0xc6, 0);
		emit_imm(&g->e, in->opsize, in->imm);
		gen_ch_out(g, in);
		return true;
	case FORM_RM:
		if (!with_memory_ok(in, in->reg, false))
			return false;
		gen_with_memory(g, in, 0x8a, in->reg, false);
		return true;
	case FORM_MR:
		if (!with_memory_ok(in, in->reg, true))
			return false;
		gen_with_memory(g, in, 0x88, in->reg, true);
		return true;
	case FORM_MI:
		if (!segment_known(in, true))
			return false;
		emit_rm(&g->e, in->opsize, in->opsize == 1 ? 0xc6 : 0xc7, 0, gen_memory(g, in, in->opsize, true));
		emit_imm(&g->e, in->opsize, in->imm);
		return true;
	default: return false;
	}
}

static bool gen_extend(struct gen *g, const struct insn *in)
{
	unsigned opcode = (in->op == OP_MOVZX ? 0x0fb6 : 0x0fbe) + (in->imm2 == 2), dst;

	if (in->imm2 == 2 && in->opsize == 2)
		return false;
	if (in->form == FORM_RM) {
		if (!segment_known(in, false))
			return false;
		emit_rm(&g->e, in->opsize, opcode, host(in->reg), gen_memory(g, in, in->imm2, false));
		return true;
	}
	if (in->form != FORM_RR)
		return false;
	dst = host(in->rm);
	if (in->imm2 == 2) {
		emit_rr(&g->e, in->opsize, opcode, dst, host(in->reg));
	} else if (!is_high(in->reg)) {
		emit_rr(&g->e, in->opsize, opcode, dst, host(in->reg));
	} else if (in->opsize == 2 && dst >= R8) {
		return false;
	} else {
		if (is_cx(in->reg))
			gen_cx_in(g);
		emit_rr(&g->e, in->opsize, opcode, dst >= R8 ? RCX : dst, byte_of(in->reg));
		if (dst >= R8)
			emit_mov(&g->e, dst, RCX);
	}
	return true;
}

static bool gen_lea(struct gen *g, const struct insn *in)
{
	if (in->asize != 4 || in->form != FORM_RM)
		return false;
	emit_rm(&g->e, in->opsize, 0x8d, host(in->reg), guest_operand(g, in));
	return true;
}

static bool gen_xchg(struct gen *g, const struct insn *in)
{
	struct operand m;

	if (in->form == FORM_RR) {
		gen_rr(g, in, 0x86, 3);
		return true;
	}
	if (in->form != FORM_MR || in->opsize == 1 || !segment_known(in, true))
		return false;
	m = gen_memory(g, in, in->opsize, true);
	emit_rm(&g->e, in->opsize, 0x8b, R9, m);
	emit_rm(&g->e, in->opsize, 0x89, host(in->reg), m);
	emit_rr(&g->e, in->opsize, 0x8b, host(in->reg), R9);
	return true;
}

static bool gen_cmov(struct gen *g, const struct insn *in)
{
	unsigned opcode = 0x0f40 + (unsigned)(in->op - OP_CMOVO);

	if (in->form == FORM_RR) {
		emit_rr(&g->e, in->opsize, opcode, host(in->rm), host(in->reg));
		return true;
	}
	if (in->form != FORM_RM || !segment_known(in, false))
		return false;
	emit_rm(&g->e, in->opsize, opcode, host(in->reg), gen_memory(g, in, in->opsize, false));
	return true;
}

static bool gen_setcc(struct gen *g, const struct insn *in)
{
	unsigned opcode = 0x0f90 + (unsigned)(in->op - OP_SETO);

	if (in->form == FORM_R) {
		if (is_ch(in->rm))
			gen_cx_in(g);
		emit_rr(&g->e, 1, opcode, 0, byte_reg(in->rm));
		if (is_ch(in->rm))
			gen_cx_out(g);
		return true;
	}
	if (in->form != FORM_M || !segment_known(in, true))
		return false;
	emit_rm(&g->e, 1, opcode, 0, gen_memory(g, in, 1, true));
	return true;
}

/* ---- stack: 32-bit operands only ---- */

static struct operand gen_push_slot(struct gen *g)
{
	return gen_stack(g, R_SP, -4, true);
}

static void gen_move_sp(struct gen *g, int by)
{
	g->owed = (int16_t)(g->owed + by);
	if (!g->windowed)
		gen_settle(g);
}

static void gen_push_done(struct gen *g)
{
	gen_move_sp(g, -4);
}

static void gen_push_imm(struct gen *g, uint32_t imm)
{
	emit_rm(&g->e, 4, 0xc7, 0, gen_push_slot(g));
	emit_u32(&g->e, imm);
	gen_push_done(g);
}

/* r9 is kept while another access is checked; the window has no checks. */
static void gen_keep(struct gen *g)
{
	if (!g->windowed)
		emit_rm(&g->e, 4, 0x89, R9, at_frame(g, offsetof(struct frame, tmp)));
}

static void gen_take(struct gen *g)
{
	if (!g->windowed)
		emit_rm(&g->e, 4, 0x8b, R9, at_frame(g, offsetof(struct frame, tmp)));
}

static void gen_push_memory(struct gen *g, const struct insn *in)
{
	struct operand slot;

	emit_rm(&g->e, 4, 0x8b, R9, gen_memory(g, in, 4, false));
	gen_keep(g);
	slot = gen_push_slot(g);
	gen_take(g);
	emit_rm(&g->e, 4, 0x89, R9, slot);
	gen_push_done(g);
}

/* Of CS and SS it is sensitive: it would show the real RPL. */
static bool gen_push_sreg(struct gen *g, const struct insn *in)
{
	struct operand slot;

	if (in->opsize != 4 || in->reg == SEG_CS || in->reg == SEG_SS)
		return false;
	slot = gen_push_slot(g);
	emit_rm(&g->e, 8, 0x8b, R9, at_frame(g, offsetof(struct frame, c)));
	emit_rm(&g->e, 4, 0x0fb7, R9, at_base(R9, (int32_t)offsetof(struct vcpu, seg[in->reg].sel))); /* movzx */
	emit_rm(&g->e, 4, 0x89, R9, slot);
	gen_push_done(g);
	return true;
}

static bool gen_push(struct gen *g, const struct insn *in)
{
	if (in->opsize != 4)
		return false;
	switch (in->form) {
	case FORM_R:
		emit_rm(&g->e, 4, 0x89, host(in->rm), gen_push_slot(g));
		gen_push_done(g);
		return true;
	case FORM_I: gen_push_imm(g, in->imm); return true;
	case FORM_M:
		if (!segment_known(in, false))
			return false;
		gen_push_memory(g, in);
		return true;
	default: return false;
	}
}

static bool gen_pop(struct gen *g, const struct insn *in)
{
	if (in->opsize != 4 || in->form != FORM_R)
		return false;
	emit_rm(&g->e, 4, 0x8b, host(in->rm), gen_stack(g, R_SP, 0, false));
	if (host(in->rm) != GUEST_SP)
		gen_move_sp(g, 4);
	return true;
}

static bool gen_leave_insn(struct gen *g, const struct insn *in)
{
	if (in->opsize != 4)
		return false;
	emit_rm(&g->e, 4, 0x8b, R9, gen_stack(g, R_BP, 0, false));
	emit_rm(&g->e, 4, 0x8d, GUEST_SP, at_base(RBP, 4));
	emit_mov(&g->e, RBP, R9);
	return true;
}

/* ---- arithmetic ---- */

static void gen_alu_imm(struct gen *g, const struct insn *in, unsigned extension, const struct operand *m)
{
	bool byte = in->opsize == 1, small = (int32_t)in->imm >= -128 && (int32_t)in->imm <= 127;
	unsigned opcode = byte ? 0x80 : small ? 0x83 : 0x81;

	if (m)
		emit_rm(&g->e, in->opsize, opcode, extension, *m);
	else
		emit_rr(&g->e, in->opsize, opcode, extension, byte ? byte_reg(in->rm) : host(in->rm));
	emit_imm(&g->e, byte || small ? 1 : in->opsize, in->imm);
}

static bool gen_alu(struct gen *g, const struct insn *in)
{
	unsigned n = (unsigned)(in->op - OP_ADD), opcode = n * 8;
	bool keeps = in->op != OP_CMP;
	struct operand m;

	switch (in->form) {
	case FORM_RR: gen_rr(g, in, opcode, keeps); return true;
	case FORM_RI:
		gen_ch_in(g, in);
		gen_alu_imm(g, in, n, NULL);
		if (keeps)
			gen_ch_out(g, in);
		return true;
	case FORM_RM:
		if (!with_memory_ok(in, in->reg, false))
			return false;
		gen_with_memory(g, in, opcode + 2, in->reg, false);
		return true;
	case FORM_MR:
		if (!with_memory_ok(in, in->reg, keeps))
			return false;
		gen_with_memory(g, in, opcode, in->reg, keeps);
		return true;
	case FORM_MI:
		if (!segment_known(in, keeps))
			return false;
		m = gen_memory(g, in, in->opsize, keeps);
		gen_alu_imm(g, in, n, &m);
		return true;
	default: return false;
	}
}

static bool gen_test(struct gen *g, const struct insn *in)
{
	switch (in->form) {
	case FORM_RR: gen_rr(g, in, 0x84, 0); return true;
	case FORM_RI:
		gen_ch_in(g, in);
		gen_r(g, in, 0xf6, 0);
		emit_imm(&g->e, in->opsize, in->imm);
		return true;
	case FORM_RM:
	case FORM_MR:
		if (!with_memory_ok(in, in->reg, false))
			return false;
		gen_with_memory(g, in, 0x84, in->reg, false);
		return true;
	case FORM_MI:
		if (!segment_known(in, false))
			return false;
		emit_rm(&g->e, in->opsize, in->opsize == 1 ? 0xf6 : 0xf7, 0, gen_memory(g, in, in->opsize, false));
		emit_imm(&g->e, in->opsize, in->imm);
		return true;
	default: return false;
	}
}

/* One operand that is changed, or only read: opcode and extension. */
static bool gen_unary(struct gen *g, const struct insn *in, unsigned opcode, unsigned extension, bool changes)
{
	if (in->form == FORM_R) {
		gen_ch_in(g, in);
		gen_r(g, in, opcode, extension);
		if (changes)
			gen_ch_out(g, in);
		return true;
	}
	if (in->form != FORM_M || !segment_known(in, changes))
		return false;
	emit_rm(&g->e, in->opsize, opcode + (in->opsize != 1), extension, gen_memory(g, in, in->opsize, changes));
	return true;
}

static bool gen_shift(struct gen *g, const struct insn *in)
{
	unsigned n = (unsigned)(in->op - OP_ROL), extension = n == 6 ? 7 : n, word = in->opsize != 1;
	struct operand m;

	switch (in->form) {
	case FORM_RI:
		gen_ch_in(g, in);
		gen_r(g, in, 0xc0, extension);
		emit_u8(&g->e, in->imm);
		gen_ch_out(g, in);
		return true;
	case FORM_R:
		gen_cx_in(g);
		gen_r(g, in, 0xd2, extension);
		gen_ch_out(g, in);
		return true;
	case FORM_MI:
		if (!segment_known(in, true))
			return false;
		emit_rm(&g->e, in->opsize, 0xc0 + word, extension, gen_memory(g, in, in->opsize, true));
		emit_u8(&g->e, in->imm);
		return true;
	case FORM_M:
		if (!segment_known(in, true))
			return false;
		m = gen_pin(g, R9, gen_memory(g, in, in->opsize, true));
		gen_cx_in(g);
		emit_rm(&g->e, in->opsize, 0xd2 + word, extension, m);
		return true;
	default: return false;
	}
}

static bool gen_double_shift(struct gen *g, const struct insn *in)
{
	bool by_cl = in->flags & IF_CL;
	unsigned opcode = (in->op == OP_SHLD ? 0x0fa4 : 0x0fac) + by_cl;

	if (in->form != FORM_RR)
		return false;
	if (by_cl)
		gen_cx_in(g);
	emit_rr(&g->e, in->opsize, opcode, host(in->reg), host(in->rm));
	if (!by_cl)
		emit_u8(&g->e, in->imm);
	return true;
}

static bool gen_imul(struct gen *g, const struct insn *in)
{
	bool three = in->op == OP_IMUL3;
	unsigned opcode = three ? 0x69 : 0x0faf;

	if (in->form == FORM_RR)
		emit_rr(&g->e, in->opsize, opcode, host(in->rm), host(in->reg));
	else if (in->form == FORM_RM && segment_known(in, false))
		emit_rm(&g->e, in->opsize, opcode, host(in->reg), gen_memory(g, in, in->opsize, false));
	else
		return false;
	if (three)
		emit_imm(&g->e, in->opsize, in->imm);
	return true;
}

/* 32 bits: #DE is found out before, with the flags kept in ecx and EAX in the frame. IDIV: only dividends of 32 bits, and divisors other than 0 and -1. */
static bool gen_divide(struct gen *g, const struct insn *in)
{
	struct emit *e = &g->e;
	bool is_signed = in->op == OP_IDIV;
	uint32_t bad[2] = { 0, 0 };

	if (in->opsize != 4 ||
	    (in->form != FORM_R && (in->form != FORM_M || !segment_known(in, false) || in->seg >= SEG_FS)))
		return false;
	if (in->form == FORM_R)
		emit_mov(e, R9, host(in->rm));
	else
		emit_rm(e, 4, 0x8b, R9, gen_memory(g, in, 4, false));
	emit_rm(e, 4, 0x89, RAX, at_frame(g, offsetof(struct frame, tmp)));
	emit_bytes(e, "\x0f\x90\xc0\x9f", 4); /* seto al; lahf */
	emit_mov(e, RCX, RAX);
	if (is_signed) {
		emit_rm(e, 4, 0x8b, R8, at_frame(g, offsetof(struct frame, tmp)));
		emit_bytes(e, "\x41\xc1\xf8\x1f\x41\x39\xd0", 7); /* sar r8d, 31; cmp r8d, edx */
		bad[0] = emit_jcc(e, 5);
		emit_rm(e, 4, 0x8d, R8, at_base(R9, 1));
		emit_bytes(e, "\x41\x83\xf8\x01", 4); /* cmp r8d, 1 */
		bad[1] = emit_jcc(e, 6);
	} else {
		emit_bytes(e, "\x44\x39\xca", 3); /* cmp edx, r9d */
		bad[0] = emit_jcc(e, 3);
	}
	emit_mov(e, RAX, RCX);
	emit_bytes(e, "\x04\x7f\x9e", 3); /* add al, 0x7f; sahf */
	emit_rm(e, 4, 0x8b, RAX, at_frame(g, offsetof(struct frame, tmp)));
	emit_rr(e, 4, 0xf7, is_signed ? 7 : 6, R9);
	for (unsigned i = 0; i < 1u + is_signed; i++)
		gen_pend_far(g, (struct pending){ .kind = PENDING_DIVIDE, .hop = bad[i], .site = gen_site(g) });
	return true;
}

static bool gen_bit_test(struct gen *g, const struct insn *in)
{
	static const uint8_t opcodes[4] = { 0xa3, 0xab, 0xb3, 0xbb };
	unsigned n = (unsigned)(in->op - OP_BT);

	if (in->form == FORM_RR) {
		emit_rr(&g->e, in->opsize, 0x0f00 | opcodes[n], host(in->reg), host(in->rm));
		return true;
	}
	if (in->form == FORM_RI)
		emit_rr(&g->e, in->opsize, 0x0fba, 4 + n, host(in->rm));
	else if (in->form == FORM_MI && segment_known(in, n != 0))
		emit_rm(&g->e, in->opsize, 0x0fba, 4 + n, gen_memory(g, in, in->opsize, n != 0));
	else
		return false;
	emit_u8(&g->e, in->imm);
	return true;
}

static bool gen_scan(struct gen *g, const struct insn *in)
{
	unsigned opcode = in->op == OP_BSF ? 0x0fbc : 0x0fbd;

	if (in->form == FORM_RR)
		emit_rr(&g->e, in->opsize, opcode, host(in->rm), host(in->reg));
	else if (in->form == FORM_RM && segment_known(in, false))
		emit_rm(&g->e, in->opsize, opcode, host(in->reg), gen_memory(g, in, in->opsize, false));
	else
		return false;
	return true;
}

static bool gen_exchanging(struct gen *g, const struct insn *in)
{
	unsigned opcode = in->op == OP_XADD ? 0x0fc0 : 0x0fb0;

	if (in->form == FORM_RR && in->opsize != 1) {
		emit_rr(&g->e, in->opsize, opcode + 1, host(in->reg), host(in->rm));
		return true;
	}
	if (in->form != FORM_MR || !with_memory_ok(in, in->reg, true))
		return false;
	gen_with_memory(g, in, opcode, in->reg, true);
	return true;
}

/* ---- strings, one element, upwards ---- */

static void gen_step(struct gen *g, unsigned reg, unsigned size)
{
	emit_rm(&g->e, 4, 0x8d, reg, at_base(reg, (int32_t)size));
}

/* opcode is for bytes, the next one for words */
static void gen_element(struct gen *g, const struct insn *in, unsigned opcode, unsigned reg, struct operand m)
{
	emit_rm(&g->e, in->opsize, opcode + (in->opsize != 1), reg, m);
}

/* Of a repeated string instruction: leave it unless all of [address, + ECX * size) lies in one page that permits it; else rcx is what to add. */
static void gen_check_all(struct gen *g, unsigned address, unsigned scale, bool write)
{
	struct emit *e = &g->e;
	unsigned ctx = (unsigned)g->context;

	gen_keep_reach(g, 60);
	emit_shrx(e, false, R8, address, SHIFT_12);
	emit_rm(e, 4, 0x8d, R9, at_index(address, GUEST_CX, scale, -1));
	emit_shrx(e, false, R9, R9, SHIFT_12);
	emit_rm(e, 8, 0x8d, R9, at_index(R8, R9, 0, 0));
	emit_rm(e, 8, 0x8b, RCX, at_index(R15, R9, 3, FLAT_AT(ctx, write ? FLAT_SPAN_WRITE(ctx) : FLAT_SPAN_READ(ctx))));
	gen_pend(g, (struct pending){ .kind = PENDING_SITE, .site = gen_site(g), .jump = emit_jrcxz(e) });
}

/* Of a count that is not 0: below 1024 elements, so that they lie on two pages at most (gen_check_all() tells one from two, not from three), and
 * covered by the budget, one instruction each. */
static void gen_check_count(struct gen *g)
{
	struct emit *e = &g->e;
	uint32_t small;

	emit_shrx(e, false, RCX, GUEST_CX, SHIFT_10);
	small = emit_jrcxz(e);
	gen_pend_far(g, (struct pending){ .kind = PENDING_SITE, .site = gen_site(g), .hop = emit_jmp_near(e) });
	emit_land8(e, small);
	emit_rm(e, 8, 0x8d, RCX, at_index(R11, GUEST_CX, 0, -1));
	emit_shrx(e, true, RCX, RCX, SHIFT_12);
	gen_pend(g, (struct pending){ .kind = PENDING_SITE, .site = gen_site(g), .jump = emit_jrcxz(e) });
}

/* reg becomes 32 bits of itself minus what r8 or r9 was. */
static void gen_take_back(struct gen *g, unsigned reg, unsigned added)
{
	emit_rr(&g->e, 8, 0xf7, 2, added); /* not */
	emit_rm(&g->e, 4, 0x8d, reg, at_index(reg, added, 0, 1));
}

/* Through the window, too, once it is seen to be open: a fault in the middle would be one too late. r8 and r9 become what to add to EDI and ESI. */
static void gen_open_both(struct gen *g, bool source)
{
	struct emit *e = &g->e;

	emit_rm(e, 1, 0x8a, R9, gen_through_window(g, at_base(RDI, 0)));
	emit_rm(e, 1, 0x88, R9, gen_through_window(g, at_base(RDI, 0)));
	if (source)
		emit_rm(e, 1, 0x8a, R9, gen_through_window(g, at_base(RSI, 0)));
	emit_rm(e, 8, 0x8b, R8, at_frame(g, offsetof(struct frame, window)));
	emit_rr(e, 8, 0x8b, R9, R8);
}

/* REP MOVS, REP STOS, upwards, within a page: the host's own, on host addresses. */
static bool gen_repeated(struct gen *g, const struct insn *in)
{
	unsigned scale = (unsigned)__builtin_ctz(in->opsize), opcode = in->op == OP_MOVS ? 0xa4 : 0xaa;
	struct emit *e = &g->e;
	uint32_t none, some, inside;

	gen_require(g, offsetof(struct frame, forwards));
	gen_cx_in(g);
	none = emit_jrcxz(e);
	some = emit_jmp_short(e);
	emit_land8(e, none);
	none = emit_jmp_near(e);
	emit_land8(e, some);
	gen_check_count(g);
	if (in->op == OP_MOVS) {
		gen_check_all(g, RSI, scale, false);
		emit_rm(e, 8, 0x89, RCX, at_frame(g, offsetof(struct frame, tmp)));
	}
	gen_check_all(g, RDI, scale, true);
	gen_keep_reach(g, 100);
	if (g->windowed) {
		gen_open_both(g, in->op == OP_MOVS);
	} else {
		emit_rr(e, 8, 0x8b, R8, RCX);
		emit_rm(e, 8, 0x8b, R9, at_frame(g, offsetof(struct frame, tmp)));
	}
	emit_rm(e, 8, 0x8d, R11, at_index(R11, GUEST_CX, 0, -1));
	emit_rm(e, 8, 0x8d, RDI, at_index(RDI, R8, 0, 0));
	if (in->op == OP_MOVS)
		emit_rm(e, 8, 0x8d, RSI, at_index(RSI, R9, 0, 0));
	gen_cx_in(g);
	if (in->opsize == 2)
		emit_u8(e, 0x66);
	emit_u8(e, 0xf3);
	emit_u8(e, opcode + (in->opsize != 1));
	gen_cx_out(g);
	gen_take_back(g, RDI, R8);
	if (in->op == OP_MOVS)
		gen_take_back(g, RSI, R9);
	emit_land32(e, none);
	if (!goes_on(g, &inside))
		gen_goto(g, rip_after(g, in));
	return true;
}

static bool gen_string(struct gen *g, const struct insn *in)
{
	struct operand tmp = at_frame(g, offsetof(struct frame, tmp));
	bool source = in->op != OP_STOS && in->op != OP_SCAS;
	unsigned size = in->opsize;
	struct operand m;

	if (in->asize != 4 || (source && in->seg >= SEG_FS))
		return false;
	if (in->flags & (IF_REP | IF_REPNE))
		return (in->op == OP_MOVS || in->op == OP_STOS) && gen_repeated(g, in);
	gen_require(g, offsetof(struct frame, forwards));
	switch (in->op) {
	case OP_MOVS:
		gen_element(g, in, 0x8a, R9, gen_at(g, RSI, size, false, false));
		gen_keep(g);
		m = gen_at(g, RDI, size, true, false);
		gen_take(g);
		gen_element(g, in, 0x88, R9, m);
		break;
	case OP_CMPS:
		gen_element(g, in, 0x8a, R9, gen_at(g, RDI, size, false, false));
		gen_element(g, in, 0x88, R9, tmp);
		m = gen_at(g, RSI, size, false, false);
		gen_element(g, in, 0x8a, R9, m);
		gen_element(g, in, 0x3a, R9, tmp);
		break;
	case OP_STOS: gen_element(g, in, 0x88, RAX, gen_at(g, RDI, size, true, false)); break;
	case OP_LODS: gen_element(g, in, 0x8a, RAX, gen_at(g, RSI, size, false, false)); break;
	default: /* SCAS */ gen_element(g, in, 0x3a, RAX, gen_at(g, RDI, size, false, false));
	}
	if (source)
		gen_step(g, RSI, size);
	if (in->op != OP_LODS)
		gen_step(g, RDI, size);
	return true;
}

/* CLD, where it changes nothing. */
static bool gen_cld(struct gen *g)
{
	gen_require(g, offsetof(struct frame, forwards));
	return true;
}

/* ---- the ends of blocks ---- */

static bool gen_jcc(struct gen *g, const struct insn *in)
{
	unsigned cc = (unsigned)(in->op - OP_JO);
	uint32_t next = rip_after(g, in), target = next + in->imm, inside;

	if (in->opsize != 4)
		return false;
	if (goes_on(g, &inside)) {
		if (inside == next)
			gen_goto_if(g, cc, target);
		else
			gen_goto_if(g, cc ^ 1, next);
		return true;
	}
	gen_goto_if(g, cc, target);
	gen_goto(g, next);
	return true;
}

/* Over a JRCXZ: out where ECX is 0, on where it is not. */
static bool gen_counted(struct gen *g, const struct insn *in)
{
	uint32_t zero, target = rip_after(g, in) + in->imm;
	bool loop = in->op == OP_LOOP;
	uint32_t next = rip_after(g, in);

	if (in->opsize != 4 || in->asize != 4 || ((target ^ g->rip) | (next ^ g->rip)) >> PAGE_SHIFT)
		return false;
	if (loop)
		emit_rm(&g->e, 4, 0x8d, GUEST_CX, at_base(GUEST_CX, -1));
	gen_cx_in(g);
	zero = emit_jrcxz(&g->e);
	gen_goto(g, loop ? target : next);
	emit_land8(&g->e, zero);
	gen_goto(g, loop ? next : target);
	return true;
}

static bool gen_jmp(struct gen *g, const struct insn *in)
{
	uint32_t inside;

	if (in->opsize != 4)
		return false;
	if (in->form == FORM_I) {
		if (!goes_on(g, &inside))
			gen_goto(g, rip_after(g, in) + in->imm);
		return true;
	}
	if (in->form == FORM_R)
		emit_mov(&g->e, R8, host(in->rm));
	else if (segment_known(in, false))
		emit_rm(&g->e, 4, 0x8b, R8, gen_memory(g, in, 4, false));
	else
		return false;
	gen_lookup(g);
	return true;
}

enum { RET_MAX = 4096 };

static bool gen_call(struct gen *g, const struct insn *in)
{
	uint32_t inside;

	if (in->opsize != 4)
		return false;
	if (in->form == FORM_I) {
		gen_push_imm(g, rip_after(g, in));
		if (goes_on(g, &inside))
			return true;
		gen_settle(g);
		gen_call_to(g, rip_after(g, in) + in->imm, rip_after(g, in));
		return true;
	}
	if (in->form == FORM_R)
		emit_mov(&g->e, R9, host(in->rm));
	else if (segment_known(in, false) && in->seg < SEG_FS)
		emit_rm(&g->e, 4, 0x8b, R9, gen_memory(g, in, 4, false));
	else
		return false;
	gen_keep(g);
	gen_push_imm(g, rip_after(g, in));
	gen_settle(g);
	gen_take(g);
	emit_mov(&g->e, R8, R9);
	gen_call_lookup(g, rip_after(g, in));
	return true;
}

/* RET of a function that the block went through. Where it does not return to, the block is left. */
static void gen_ret_inside(struct gen *g, uint32_t returns)
{
	struct emit *e = &g->e;
	uint32_t same, inside;

	emit_rm(e, 4, 0x8d, RCX, at_base(R8, -(int32_t)returns));
	same = emit_jrcxz(e);
	gen_pend_far(g, (struct pending){
	                        .kind = PENDING_RETURN,
	                        .left = (uint8_t)(g->n - g->k - 1),
	                        .owed = g->owed,
	                        .hop = emit_jmp_near(e),
	                });
	emit_land8(e, same);
	if (goes_on(g, &inside))
		return;
	gen_settle(g);
	gen_goto(g, returns);
}

static bool gen_ret(struct gen *g, const struct insn *in)
{
	uint32_t returns = g->step[g->k].returns;

	if (in->opsize != 4 || in->imm > RET_MAX)
		return false;
	emit_rm(&g->e, 4, 0x8b, R8, gen_stack(g, R_SP, 0, false));
	gen_move_sp(g, 4 + (int)in->imm);
	if (returns) {
		gen_ret_inside(g, returns);
		return true;
	}
	gen_settle(g);
	gen_return(g);
	return true;
}

/* `call` of a function that is MOV r32, [ESP] and RET: both are known without a look at the stack. That the CALL's own store went inline says
 * that nobody watches that word. */
static bool gen_thunk_step(struct gen *g, const struct insn *in)
{
	uint32_t inside;

	if (in->op == OP_MOV) {
		emit_mov_imm(&g->e, host(in->reg), g->step[g->k].returns);
		return true;
	}
	gen_move_sp(g, 4);
	if (!goes_on(g, &inside)) {
		gen_settle(g);
		gen_goto(g, g->step[g->k].returns);
	}
	return true;
}

/* ---- all ---- */

static void gen_sized(struct emit *e, const struct insn *in, unsigned opcode)
{
	if (in->opsize == 2)
		emit_u8(e, 0x66);
	emit_u8(e, opcode);
}

static bool gen_short(struct gen *g, const struct insn *in)
{
	struct emit *e = &g->e;

	switch (in->op) {
	case OP_CBW: gen_sized(e, in, 0x98); return true;
	case OP_CWD: gen_sized(e, in, 0x99); return true;
	case OP_LAHF: emit_u8(e, 0x9f); return true;
	case OP_SAHF: emit_u8(e, 0x9e); return true;
	case OP_CLC: emit_u8(e, 0xf8); return true;
	case OP_STC: emit_u8(e, 0xf9); return true;
	case OP_CMC: emit_u8(e, 0xf5); return true;
	case OP_NOP:
	case OP_PREFETCH:
	case OP_FENCE: return true;
	default: return false;
	}
}

static bool gen_bswap(struct gen *g, const struct insn *in)
{
	unsigned reg = host(in->rm);

	if (in->opsize != 4)
		return false;
	if (reg >= R8)
		emit_u8(&g->e, 0x41);
	emit_u8(&g->e, 0x0f);
	emit_u8(&g->e, 0xc8 | (reg & 7));
	return true;
}

static bool gen_by_op(struct gen *g, const struct insn *in)
{
	switch (in->op) {
	case OP_MOV: return gen_mov(g, in);
	case OP_MOVZX:
	case OP_MOVSX: return gen_extend(g, in);
	case OP_LEA: return gen_lea(g, in);
	case OP_XCHG: return gen_xchg(g, in);
	case OP_PUSH: return gen_push(g, in);
	case OP_PUSH_SREG: return gen_push_sreg(g, in);
	case OP_POP: return gen_pop(g, in);
	case OP_LEAVE: return gen_leave_insn(g, in);
	case OP_TEST: return gen_test(g, in);
	case OP_INC: return gen_unary(g, in, 0xfe, 0, true);
	case OP_DEC: return gen_unary(g, in, 0xfe, 1, true);
	case OP_NOT: return gen_unary(g, in, 0xf6, 2, true);
	case OP_NEG: return gen_unary(g, in, 0xf6, 3, true);
	case OP_MUL: return gen_unary(g, in, 0xf6, 4, false);
	case OP_IMUL: return gen_unary(g, in, 0xf6, 5, false);
	case OP_IMUL2:
	case OP_IMUL3: return gen_imul(g, in);
	case OP_DIV:
	case OP_IDIV: return gen_divide(g, in);
	case OP_SHLD:
	case OP_SHRD: return gen_double_shift(g, in);
	case OP_BSF:
	case OP_BSR: return gen_scan(g, in);
	case OP_XADD:
	case OP_CMPXCHG: return gen_exchanging(g, in);
	case OP_BSWAP: return gen_bswap(g, in);
	case OP_MOVS:
	case OP_CMPS:
	case OP_STOS:
	case OP_LODS:
	case OP_SCAS: return gen_string(g, in);
	case OP_CLD: return gen_cld(g);
	case OP_CLI:
	case OP_STI:
	case OP_PUSHF:
	case OP_POPF: return gen_privileged(g, in);
	case OP_JCXZ:
	case OP_LOOP: return gen_counted(g, in);
	case OP_JMP: return gen_jmp(g, in);
	case OP_CALL: return gen_call(g, in);
	case OP_RET: return gen_ret(g, in);
	default: return gen_short(g, in);
	}
}

bool gen_insn(struct gen *g, const struct insn *in)
{
	if (g->step[g->k].thunk)
		return gen_thunk_step(g, in);
	if (is_fpu(in))
		return gen_fpu(g, in);
	if (in->op >= OP_ADD && in->op <= OP_CMP)
		return gen_alu(g, in);
	if (in->op >= OP_ROL && in->op <= OP_SAR)
		return gen_shift(g, in);
	if (in->op >= OP_BT && in->op <= OP_BTC)
		return gen_bit_test(g, in);
	if (in->op >= OP_CMOVO && in->op <= OP_CMOVNLE)
		return gen_cmov(g, in);
	if (in->op >= OP_SETO && in->op <= OP_SETNLE)
		return gen_setcc(g, in);
	if (in->op >= OP_JO && in->op <= OP_JNLE)
		return gen_jcc(g, in);
	return gen_by_op(g, in);
}
