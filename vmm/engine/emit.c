/*
 * emit.c - see emit.h. Encodings: SDM vol. 2 chapter 2.
 */
#include "vmm/engine/emit.h"

#include <string.h>

#include "vmm/bug.h"

enum { REX = 0x40, REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8 };
enum { PREFIX_16 = 0x66, PREFIX_GS = 0x65, PREFIX_ADDRESS_32 = 0x67 };

void emit_bytes(struct emit *e, const char *bytes, unsigned n)
{
	if (e->at + n > e->size) {
		e->full = true;
		return;
	}
	memcpy(e->bytes + e->at, bytes, n);
	e->at += n;
}

void emit_u8(struct emit *e, unsigned v)
{
	char b = (char)v;

	emit_bytes(e, &b, 1);
}

void emit_u32(struct emit *e, uint32_t v)
{
	emit_bytes(e, (const char *)&v, sizeof(v));
}

void emit_u64(struct emit *e, uint64_t v)
{
	emit_bytes(e, (const char *)&v, sizeof(v));
}

static bool high_byte(unsigned reg)
{
	return reg >= BYTE_AH;
}

static void emit_opcode(struct emit *e, unsigned opcode)
{
	if (opcode > 0xff)
		emit_u8(e, opcode >> 8);
	emit_u8(e, opcode & 0xff);
}

/* Prefixes and opcode; `high` when an operand is AH..BH, which no REX may accompany. */
static void emit_head(struct emit *e, unsigned size, unsigned opcode, unsigned rex, bool high)
{
	if (size == 2)
		emit_u8(e, PREFIX_16);
	if (size == 8)
		rex |= REX_W;
	BUG_ON(rex && high);
	if (rex)
		emit_u8(e, REX | rex);
	emit_opcode(e, opcode);
}

static unsigned rex_bit(unsigned reg, unsigned bit)
{
	return reg >= R8 && reg < NO_REG ? bit : 0;
}

void emit_rr(struct emit *e, unsigned size, unsigned opcode, unsigned reg, unsigned rm)
{
	emit_head(e, size, opcode, rex_bit(reg, REX_R) | rex_bit(rm, REX_B), high_byte(reg) || high_byte(rm));
	emit_u8(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static void emit_modrm(struct emit *e, unsigned reg, const struct operand *m)
{
	bool based = m->base != NO_REG, sib = m->index != NO_REG || !based || (m->base & 7) == RSP;
	bool small = m->disp >= -128 && m->disp <= 127;
	unsigned mod = !based ? 0 : m->disp == 0 && (m->base & 7) != RBP ? 0 : small ? 1 : 2;

	emit_u8(e, mod << 6 | (reg & 7) << 3 | (sib ? 4u : m->base & 7u));
	if (sib)
		emit_u8(e, (unsigned)m->scale << 6 | (m->index == NO_REG ? 4u : m->index & 7u) << 3 |
		                   (based ? m->base & 7u : 5u));
	if (mod == 1)
		emit_u8(e, (unsigned)m->disp);
	else if (mod == 2 || !based)
		emit_u32(e, (uint32_t)m->disp);
}

void emit_rm(struct emit *e, unsigned size, unsigned opcode, unsigned reg, struct operand rm)
{
	unsigned rex = rex_bit(reg, REX_R) | rex_bit(rm.index, REX_X) | rex_bit(rm.base, REX_B);

	BUG_ON(rm.index == RSP);
	if (rm.window) {
		emit_u8(e, PREFIX_GS);
		emit_u8(e, PREFIX_ADDRESS_32);
	}
	emit_head(e, size, opcode, rex, high_byte(reg));
	emit_modrm(e, reg, &rm);
}

void emit_extend_byte(struct emit *e, unsigned size, unsigned opcode, unsigned reg, unsigned byte)
{
	emit_rr(e, size, opcode, reg, byte);
}

void emit_mov_imm(struct emit *e, unsigned dst, uint32_t imm)
{
	if (dst >= R8)
		emit_u8(e, REX | REX_B);
	emit_u8(e, 0xb8 | (dst & 7));
	emit_u32(e, imm);
}

void emit_imm(struct emit *e, unsigned size, uint32_t imm)
{
	emit_bytes(e, (const char *)&imm, size);
}

/* Three-byte VEX, no second source when vvvv is 0. map 2: 0f38, 3: 0f3a; pp 2: f3, 3: f2 */
static void emit_vex(struct emit *e, bool wide, unsigned map, unsigned pp, unsigned opcode, unsigned reg, unsigned vvvv,
                     unsigned rm)
{
	emit_u8(e, 0xc4);
	emit_u8(e, (reg >= R8 ? 0 : 0x80u) | 0x40u | (rm >= R8 ? 0 : 0x20u) | map);
	emit_u8(e, (wide ? 0x80u : 0) | (~vvvv & 15u) << 3 | pp);
	emit_u8(e, opcode);
	emit_u8(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

void emit_shrx(struct emit *e, bool wide, unsigned dst, unsigned src, unsigned count)
{
	emit_vex(e, wide, 2, 3, 0xf7, dst, count, src);
}

void emit_rorx(struct emit *e, unsigned dst, unsigned src, unsigned count)
{
	emit_vex(e, false, 3, 3, 0xf0, dst, 0, src);
	emit_u8(e, count);
}

void emit_pext(struct emit *e, unsigned dst, unsigned src, unsigned mask)
{
	emit_vex(e, true, 2, 2, 0xf5, dst, src, mask);
}

static void emit_rel32(struct emit *e, uint32_t target)
{
	emit_u32(e, target - (emit_here(e) + 4));
}

void emit_jmp(struct emit *e, uint32_t target)
{
	emit_u8(e, 0xe9);
	emit_rel32(e, target);
}

void emit_call(struct emit *e, uint32_t target)
{
	emit_u8(e, 0xe8);
	emit_rel32(e, target);
}

void emit_jmp_reg(struct emit *e, unsigned reg)
{
	emit_rr(e, 4, 0xff, 4, reg);
}

void emit_call_reg(struct emit *e, unsigned reg)
{
	emit_rr(e, 4, 0xff, 2, reg);
}

static uint32_t emit_short(struct emit *e, unsigned opcode)
{
	emit_u8(e, opcode);
	emit_u8(e, 0);
	return e->at - 1;
}

uint32_t emit_jrcxz(struct emit *e)
{
	return emit_short(e, 0xe3);
}

uint32_t emit_jmp_short(struct emit *e)
{
	return emit_short(e, 0xeb);
}

uint32_t emit_jcc(struct emit *e, unsigned cc)
{
	emit_u8(e, 0x0f);
	emit_u8(e, 0x80 | cc);
	emit_u32(e, 0);
	return e->at - 4;
}

static uint32_t emit_near(struct emit *e, unsigned opcode)
{
	emit_u8(e, opcode);
	emit_u32(e, 0);
	return e->at - 4;
}

uint32_t emit_jmp_near(struct emit *e)
{
	return emit_near(e, 0xe9);
}

uint32_t emit_call_near(struct emit *e)
{
	return emit_near(e, 0xe8);
}

void emit_land8(struct emit *e, uint32_t jump)
{
	uint32_t distance = e->at - (jump + 1);

	if (e->full)
		return;
	BUG_ON(distance > 127);
	e->bytes[jump] = (uint8_t)distance;
}

void emit_aim32(struct emit *e, uint32_t jump, uint32_t target)
{
	uint32_t rel = target - (e->code + jump + 4);

	if (!e->full)
		memcpy(e->bytes + jump, &rel, sizeof(rel));
}

void emit_land32(struct emit *e, uint32_t jump)
{
	emit_aim32(e, jump, emit_here(e));
}
