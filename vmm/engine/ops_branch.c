/*
 * ops_branch.c - near control flow: Jcc, JCXZ, LOOPcc, JMP, CALL, RET.
 *
 * All of these end a trace. A target beyond the limit of CS raises #GP(0) before anything has changed, so every
 * handler checks it first. Forms for a 32-bit operand size and stack are apart from the general ones, because they
 * are what kernels are made of. Bound by interp_bind_int(); far transfers are in ops_system.c.
 */
#include "vmm/engine/ops.h"

static __attribute__((noinline, cold)) void bad_target(struct vcpu *c, const struct insn *ip)
{
	BEGIN;
	vcpu_raise_error(c, VEC_GP, 0);
}

#define JUMP(target)                                                                                                   \
	do {                                                                                                           \
		uint32_t to = (target);                                                                                \
		if (unlikely(to > c->seg[SEG_CS].limit))                                                               \
			return bad_target(c, ip);                                                                      \
		END(to);                                                                                               \
	} while (0)

#define RELATIVE_32 (NEXT_RIP(c, ip) + ip->imm)
#define RELATIVE_16 ((NEXT_RIP(c, ip) + ip->imm) & 0xffff)

/* ---- Jcc ---- */

#define JCC(cc, condition)                                                                                             \
	INSN(j##cc##_32)                                                                                               \
	{                                                                                                              \
		if (condition)                                                                                         \
			JUMP(RELATIVE_32);                                                                             \
		END(NEXT_RIP(c, ip));                                                                                  \
	}                                                                                                              \
	INSN(j##cc##_16)                                                                                               \
	{                                                                                                              \
		if (condition)                                                                                         \
			JUMP(RELATIVE_16);                                                                             \
		END(NEXT_RIP(c, ip));                                                                                  \
	}
CONDITIONS(JCC)
#define JCC_ROW(cc, condition) { j##cc##_16, j##cc##_32 },
static insn_fn *const jcc[16][2] = { CONDITIONS(JCC_ROW) };

/* ---- LOOP, LOOPE, LOOPNE, JCXZ: the counter is by address size, and moves only when the jump can be made ---- */

static inline uint32_t counter(const struct vcpu *c, const struct insn *ip)
{
	return ip->asize == 4 ? GPR32(c, 8 * R_CX) : GPR16(c, 8 * R_CX);
}

static inline void set_counter(struct vcpu *c, const struct insn *ip, uint32_t v)
{
	if (ip->asize == 4)
		GPR32(c, 8 * R_CX) = v;
	else
		GPR16(c, 8 * R_CX) = (uint16_t)v;
}

static inline uint32_t relative_target(const struct vcpu *c, const struct insn *ip)
{
	return ip->opsize == 4 ? RELATIVE_32 : RELATIVE_16;
}

#define LOOP(name, condition)                                                                                          \
	INSN(name)                                                                                                     \
	{                                                                                                              \
		uint32_t left = counter(c, ip) - 1, target = relative_target(c, ip);                                   \
		bool taken = (ip->asize == 4 ? left : left & 0xffff) != 0 && (condition);                              \
		if (unlikely(taken && target > c->seg[SEG_CS].limit))                                                  \
			return bad_target(c, ip);                                                                      \
		set_counter(c, ip, left);                                                                              \
		END(taken ? target : NEXT_RIP(c, ip));                                                                 \
	}
LOOP(loop, true)
LOOP(loope, flag_zf(c))
LOOP(loopne, !flag_zf(c))

INSN(jcxz)
{
	if (counter(c, ip) == 0)
		JUMP(relative_target(c, ip));
	END(NEXT_RIP(c, ip));
}

/* ---- JMP ---- */

INSN(jmp_i_32)
{
	JUMP(RELATIVE_32);
}
INSN(jmp_i_16)
{
	JUMP(RELATIVE_16);
}
INSN(jmp_r_32)
{
	JUMP(GPR32(c, ip->rm));
}
INSN(jmp_r_16)
{
	JUMP(GPR16(c, ip->rm));
}

INSN(jmp_m_32)
{
	BEGIN;
	JUMP(mem_read32(c, ip->seg, insn_ea(c, ip)));
}

INSN(jmp_m_16)
{
	BEGIN;
	JUMP(mem_read16(c, ip->seg, insn_ea(c, ip)));
}

/* ---- CALL ---- */

static void call_to(struct vcpu *c, const struct insn *ip, uint32_t target)
{
	uint32_t sp = stack_pointer(c) - ip->opsize;

	BEGIN;
	if (target > c->seg[SEG_CS].limit)
		vcpu_raise_error(c, VEC_GP, 0);
	stack_write(c, sp, ip->opsize, NEXT_RIP(c, ip));
	set_stack_pointer(c, sp);
	END(target);
}

INSN(call_i)
{
	call_to(c, ip, relative_target(c, ip));
}

INSN(call_r)
{
	call_to(c, ip, ip->opsize == 4 ? GPR32(c, ip->rm) : GPR16(c, ip->rm));
}

INSN(call_m)
{
	uint32_t ea = insn_ea(c, ip);

	BEGIN;
	call_to(c, ip, ip->opsize == 4 ? mem_read32(c, ip->seg, ea) : mem_read16(c, ip->seg, ea));
}

/* Operand and stack 32 bits wide. */
#define CALL_32(name, TARGET)                                                                                          \
	INSN(name##_32)                                                                                                \
	{                                                                                                              \
		uint32_t sp = GPR32(c, 8 * R_SP) - 4, next = NEXT_RIP(c, ip), target = (TARGET);                       \
		void *p = fast_write32(c, SEG_SS, sp);                                                                 \
		if (unlikely(!p || target > c->seg[SEG_CS].limit))                                                     \
			return name(c, ip);                                                                            \
		st32(p, next);                                                                                         \
		GPR32(c, 8 * R_SP) = sp;                                                                               \
		END(target);                                                                                           \
	}
CALL_32(call_i, next + ip->imm)
CALL_32(call_r, GPR32(c, ip->rm))

INSN(call_m_32)
{
	const void *from = fast_read32(c, ip->seg, insn_ea(c, ip));
	uint32_t sp = GPR32(c, 8 * R_SP) - 4, target;
	void *p = fast_write32(c, SEG_SS, sp);

	if (unlikely(!p || !from))
		return call_m(c, ip);
	target = ld32(from);
	if (unlikely(target > c->seg[SEG_CS].limit))
		return bad_target(c, ip);
	st32(p, NEXT_RIP(c, ip));
	GPR32(c, 8 * R_SP) = sp;
	END(target);
}

/* ---- RET, RET n (imm is 0 without one) ---- */

INSN(ret)
{
	uint32_t sp = stack_pointer(c), target;

	BEGIN;
	target = stack_read(c, sp, ip->opsize);
	if (target > c->seg[SEG_CS].limit)
		vcpu_raise_error(c, VEC_GP, 0);
	set_stack_pointer(c, sp + ip->opsize + ip->imm);
	END(target);
}

INSN(ret_32)
{
	uint32_t sp = GPR32(c, 8 * R_SP), target;
	const void *p = fast_read32(c, SEG_SS, sp);

	if (unlikely(!p))
		return ret(c, ip);
	target = ld32(p);
	if (unlikely(target > c->seg[SEG_CS].limit))
		return bad_target(c, ip);
	GPR32(c, 8 * R_SP) = sp + 4 + ip->imm;
	END(target);
}

/* ---- binding ---- */

static insn_fn *bind_jmp(const struct insn *in, bool wide)
{
	if (in->form == FORM_I)
		return wide ? jmp_i_32 : jmp_i_16;
	if (in->form == FORM_R)
		return wide ? jmp_r_32 : jmp_r_16;
	return wide ? jmp_m_32 : jmp_m_16;
}

static insn_fn *bind_call(const struct insn *in, bool wide)
{
	if (in->form == FORM_I)
		return wide ? call_i_32 : call_i;
	if (in->form == FORM_R)
		return wide ? call_r_32 : call_r;
	return wide ? call_m_32 : call_m;
}

insn_fn *bind_branch(const struct insn *in, unsigned mode)
{
	bool wide = in->opsize == 4, wide_stack = wide && (mode & MODE_SS32);

	if (in->op >= OP_JO && in->op <= OP_JNLE)
		return jcc[in->op - OP_JO][wide];
	switch (in->op) {
	case OP_JCXZ: return jcxz;
	case OP_LOOP: return loop;
	case OP_LOOPE: return loope;
	case OP_LOOPNE: return loopne;
	case OP_JMP: return bind_jmp(in, wide);
	case OP_CALL: return bind_call(in, wide_stack);
	case OP_RET: return wide_stack ? ret_32 : ret;
	default: return NULL;
	}
}
