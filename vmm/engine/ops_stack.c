/*
 * ops_stack.c - PUSH, POP, PUSHA, POPA, ENTER, LEAVE.
 *
 * The stack pointer moves after the memory access, so a fault leaves it. What touches several slots checks them all
 * first. Forms with `_32` are for a 32-bit operand size and stack; the others take both from the instruction and from
 * SS. Bound by interp_bind_int(). PUSHF, POPF and segment registers are in ops_system.c.
 */
#include "vmm/engine/ops.h"

#define ESP GPR32(c, 8 * R_SP)

/* ---- PUSH ---- */

static void push_value(struct vcpu *c, const struct insn *ip, uint32_t v)
{
	uint32_t sp = stack_pointer(c) - ip->opsize;

	BEGIN;
	stack_write(c, sp, ip->opsize, v);
	set_stack_pointer(c, sp);
	NEXT;
}

INSN(push_r)
{
	return push_value(c, ip, GPR32(c, ip->rm)); /* 16 bits of it when so many are pushed */
}

INSN(push_i)
{
	return push_value(c, ip, ip->imm);
}

INSN(push_m)
{
	uint32_t ea = insn_ea(c, ip), sp = stack_pointer(c) - ip->opsize, v;

	BEGIN;
	if (unlikely(c->mmu.stepping)) { /* the source may be a device, which must be read once */
		mem_check_read(c, ip->seg, ea, ip->opsize);
		mem_check_write(c, SEG_SS, sp & stack_mask(c), ip->opsize);
	}
	v = ip->opsize == 4 ? mem_read32(c, ip->seg, ea) : mem_read16(c, ip->seg, ea);
	return push_value(c, ip, v);
}

#define PUSH_32(name, value)                                                                                           \
	INSN(name##_32)                                                                                                \
	{                                                                                                              \
		uint32_t sp = ESP - 4;                                                                                 \
		void *p = fast_write32(c, SEG_SS, sp);                                                                 \
		if (unlikely(!p))                                                                                      \
			return name(c, ip);                                                                            \
		st32(p, value);                                                                                        \
		ESP = sp;                                                                                              \
		NEXT;                                                                                                  \
	}
PUSH_32(push_r, GPR32(c, ip->rm))
PUSH_32(push_i, ip->imm)

INSN(push_m_32)
{
	const void *from = fast_read32(c, ip->seg, insn_ea(c, ip));
	uint32_t sp = ESP - 4;
	void *p = fast_write32(c, SEG_SS, sp);

	if (unlikely(!p || !from))
		return push_m(c, ip);
	st32(p, ld32(from));
	ESP = sp;
	NEXT;
}

/* ---- POP ---- */

INSN(pop_r)
{
	uint32_t sp = stack_pointer(c), v;

	BEGIN;
	v = stack_read(c, sp, ip->opsize);
	set_stack_pointer(c, sp + ip->opsize);
	if (ip->opsize == 4)
		GPR32(c, ip->rm) = v; /* POP ESP: the value wins */
	else
		GPR16(c, ip->rm) = (uint16_t)v;
	NEXT;
}

INSN(pop_r_32)
{
	uint32_t sp = ESP;
	const void *p = fast_read32(c, SEG_SS, sp);

	if (unlikely(!p))
		return pop_r(c, ip);
	ESP = sp + 4;
	GPR32(c, ip->rm) = ld32(p);
	NEXT;
}

/* An address based on ESP is computed after ESP has moved. */
INSN(pop_m)
{
	uint32_t mask = stack_mask(c), sp = stack_pointer(c), ea = insn_ea(c, ip), moved, v;

	BEGIN;
	moved = (ESP & ~mask) | ((sp + ip->opsize) & mask);
	if (ip->base == 8 * R_SP)
		ea += moved - ESP;
	if (unlikely(c->mmu.stepping)) {
		mem_check_read(c, SEG_SS, sp, ip->opsize);
		mem_check_write(c, ip->seg, ea, ip->opsize);
	}
	v = stack_read(c, sp, ip->opsize);
	if (ip->opsize == 4)
		mem_write32(c, ip->seg, ea, v);
	else
		mem_write16(c, ip->seg, ea, (uint16_t)v);
	ESP = moved;
	NEXT;
}

/* ---- PUSHA, POPA ---- */

enum { SAVED_REGISTERS = 8 };

INSN(pusha)
{
	uint32_t sp = stack_pointer(c), mask = stack_mask(c);

	BEGIN;
	for (unsigned i = 1; i <= SAVED_REGISTERS; i++)
		mem_check_write(c, SEG_SS, (sp - i * ip->opsize) & mask, ip->opsize);
	for (unsigned i = 0; i < SAVED_REGISTERS; i++) /* in the order of their numbers; ESP as it was */
		stack_write(c, sp - (i + 1) * ip->opsize, ip->opsize, GPR32(c, 8 * i));
	set_stack_pointer(c, sp - SAVED_REGISTERS * ip->opsize);
	NEXT;
}

INSN(popa)
{
	uint32_t sp = stack_pointer(c), v[SAVED_REGISTERS];

	BEGIN;
	for (unsigned i = 0; i < SAVED_REGISTERS; i++)
		v[i] = stack_read(c, sp + i * ip->opsize, ip->opsize);
	for (unsigned i = 0; i < SAVED_REGISTERS; i++) {
		unsigned reg = 8 * (SAVED_REGISTERS - 1 - i);

		if (reg == 8 * R_SP)
			continue;
		if (ip->opsize == 4)
			GPR32(c, reg) = v[i];
		else
			GPR16(c, reg) = (uint16_t)v[i];
	}
	set_stack_pointer(c, sp + SAVED_REGISTERS * ip->opsize);
	NEXT;
}

/* ---- ENTER, LEAVE ---- */

/* Everything ENTER is going to touch, in its order: the old frame pointer, the display, the new frame's end. */
static void enter_check(struct vcpu *c, const struct insn *ip, uint32_t sp, uint32_t end)
{
	uint32_t mask = stack_mask(c), bp = GPR32(c, 8 * R_BP), slot = sp;

	mem_check_write(c, SEG_SS, (slot -= ip->opsize) & mask, ip->opsize);
	for (unsigned level = 1; level < ip->imm2; level++) {
		mem_check_read(c, SEG_SS, (bp - level * ip->opsize) & mask, ip->opsize);
		mem_check_write(c, SEG_SS, (slot -= ip->opsize) & mask, ip->opsize);
	}
	if (ip->imm2)
		mem_check_write(c, SEG_SS, (slot - ip->opsize) & mask, ip->opsize);
	mem_check_write(c, SEG_SS, end & mask, ip->opsize);
}

INSN(enter)
{
	uint32_t sp = stack_pointer(c), bp = GPR32(c, 8 * R_BP), slots = ip->imm2 ? ip->imm2 + 1u : 1;
	uint32_t frame = sp - ip->opsize, end = sp - slots * ip->opsize - ip->imm, slot = frame;

	BEGIN;
	enter_check(c, ip, sp, end);
	stack_write(c, slot, ip->opsize, bp);
	for (unsigned level = 1; level < ip->imm2; level++)
		stack_write(c, slot -= ip->opsize, ip->opsize, stack_read(c, bp - level * ip->opsize, ip->opsize));
	if (ip->imm2)
		stack_write(c, slot - ip->opsize, ip->opsize, (ESP & ~stack_mask(c)) | (frame & stack_mask(c)));
	if (ip->opsize == 4)
		GPR32(c, 8 * R_BP) = (ESP & ~stack_mask(c)) | (frame & stack_mask(c));
	else
		GPR16(c, 8 * R_BP) = (uint16_t)frame;
	set_stack_pointer(c, end);
	NEXT;
}

INSN(leave)
{
	uint32_t sp = GPR32(c, 8 * R_BP) & stack_mask(c), v;

	BEGIN;
	v = stack_read(c, sp, ip->opsize);
	set_stack_pointer(c, sp + ip->opsize);
	if (ip->opsize == 4)
		GPR32(c, 8 * R_BP) = v;
	else
		GPR16(c, 8 * R_BP) = (uint16_t)v;
	NEXT;
}

INSN(leave_32)
{
	uint32_t sp = GPR32(c, 8 * R_BP);
	const void *p = fast_read32(c, SEG_SS, sp);

	if (unlikely(!p))
		return leave(c, ip);
	GPR32(c, 8 * R_BP) = ld32(p);
	ESP = sp + 4;
	NEXT;
}

/* ---- binding ---- */

static insn_fn *bind_push(const struct insn *in, bool wide)
{
	if (in->form == FORM_R)
		return wide ? push_r_32 : push_r;
	if (in->form == FORM_I)
		return wide ? push_i_32 : push_i;
	return wide ? push_m_32 : push_m;
}

insn_fn *bind_stack(const struct insn *in, unsigned mode)
{
	bool wide = in->opsize == 4 && (mode & MODE_SS32);

	switch (in->op) {
	case OP_PUSH: return bind_push(in, wide);
	case OP_POP:
		if (in->form == FORM_M)
			return pop_m;
		return wide ? pop_r_32 : pop_r;
	case OP_PUSHA: return pusha;
	case OP_POPA: return popa;
	case OP_ENTER: return enter;
	case OP_LEAVE: return wide ? leave_32 : leave;
	default: return NULL;
	}
}
