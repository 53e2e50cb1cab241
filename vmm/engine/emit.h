/*
 * emit.h - encode x86-64 instructions into a buffer: what the translator needs of them, and no more.
 *
 * Never knows what a guest is. A full buffer swallows what does not fit and says so in `full`; whoever emits asks for room first. Called by xlate*.c.
 */
#ifndef RINGSIDE_VMM_ENGINE_EMIT_H
#define RINGSIDE_VMM_ENGINE_EMIT_H

#include <stdbool.h>
#include <stdint.h>

enum host_reg { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NO_REG };
/* Byte operands beyond the low bytes of those: only in instructions without a REX prefix. */
enum { BYTE_AH = 20, BYTE_CH, BYTE_DH, BYTE_BH };

struct emit {
	uint8_t *bytes; /* writable view */
	uint32_t code;  /* address of bytes[0] where it is executed: below 2 GiB */
	uint32_t at, size;
	bool full;
};

/* [base + index * 2^scale + disp]; window: 32 bits of that, and the base of GS added */
struct operand {
	uint8_t base, index; /* enum host_reg or NO_REG; index is never RSP */
	uint8_t scale;
	bool window;
	int32_t disp;
};

static inline struct operand at_base(unsigned base, int32_t disp)
{
	return (struct operand){ .base = (uint8_t)base, .index = NO_REG, .disp = disp };
}

static inline struct operand at_index(unsigned base, unsigned index, unsigned scale, int32_t disp)
{
	return (struct operand){ .base = (uint8_t)base, .index = (uint8_t)index, .scale = (uint8_t)scale, .disp = disp };
}

static inline struct operand in_window(struct operand m)
{
	m.window = true;
	return m;
}

static inline uint32_t emit_here(const struct emit *e)
{
	return e->code + e->at;
}

void emit_bytes(struct emit *e, const char *bytes, unsigned n);
void emit_u8(struct emit *e, unsigned v);
void emit_u32(struct emit *e, uint32_t v);
void emit_u64(struct emit *e, uint64_t v);

/* opcode: one byte, or 0x0fXX. size 1, 2, 4, 8: operand size; 1 makes both operands bytes. reg: register, or opcode extension. */
void emit_rr(struct emit *e, unsigned size, unsigned opcode, unsigned reg, unsigned rm);
void emit_rm(struct emit *e, unsigned size, unsigned opcode, unsigned reg, struct operand rm);
/* MOVZX, MOVSX from a byte register into 2 or 4 bytes. */
void emit_extend_byte(struct emit *e, unsigned size, unsigned opcode, unsigned reg, unsigned byte);

static inline void emit_mov(struct emit *e, unsigned dst, unsigned src) /* 32 bits */
{
	emit_rr(e, 4, 0x8b, dst, src);
}

void emit_mov_imm(struct emit *e, unsigned dst, uint32_t imm); /* 32 bits */
void emit_imm(struct emit *e, unsigned size, uint32_t imm);    /* an immediate operand of 1, 2 or 4 bytes */

/* BMI2: these change no flags. wide: 64 bits */
void emit_shrx(struct emit *e, bool wide, unsigned dst, unsigned src, unsigned count);
void emit_rorx(struct emit *e, unsigned dst, unsigned src, unsigned count);
void emit_pext(struct emit *e, unsigned dst, unsigned src, unsigned mask); /* 64 bits */

/* Jumps. The forms with a target reach it by 32 bits; the forms without return what emit_land() needs. */
void emit_jmp(struct emit *e, uint32_t target);
void emit_call(struct emit *e, uint32_t target);
void emit_jmp_reg(struct emit *e, unsigned reg);
void emit_call_reg(struct emit *e, unsigned reg);
uint32_t emit_jrcxz(struct emit *e);     /* 8 bits */
uint32_t emit_jmp_short(struct emit *e); /* 8 bits */
uint32_t emit_jcc(struct emit *e, unsigned cc);
uint32_t emit_jmp_near(struct emit *e);
uint32_t emit_call_near(struct emit *e);
void emit_land8(struct emit *e, uint32_t jump); /* the jump comes here */
void emit_land32(struct emit *e, uint32_t jump);
void emit_aim32(struct emit *e, uint32_t jump, uint32_t target);

#endif
