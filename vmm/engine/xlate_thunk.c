/*
 * xlate_thunk.c - the pieces of generated code that all blocks share: the way in and out, calls of C handlers, checks of misaligned accesses, returns that nobody foresaw.
 *
 * Called by xlate.c, once.
 */
#include <stddef.h>

#include "vmm/engine/fpu.h"
#include "vmm/engine/xlate_state.h"

static const uint8_t guest_regs[8] = { RAX, GUEST_CX, RDX, RBX, GUEST_SP, RBP, RSI, RDI };

static int32_t gpr_offset(unsigned i)
{
	return (int32_t)(offsetof(struct vcpu, gpr) + 8 * i);
}

/* MOVAPS: the guest's XMM registers, from or to the vcpu that `base` has */
static void gen_xmm(struct emit *e, unsigned base, bool save)
{
	for (unsigned i = 0; i < 8; i++)
		emit_rm(e, 4, save ? 0x0f29 : 0x0f28, i,
		        at_base(base, (int32_t)(offsetof(struct vcpu, fpu) + FX_XMM + 16 * i)));
}

/* rdi: vcpu, rsi: xlate, ecx: code */
static void gen_reload(struct emit *e)
{
	gen_xmm(e, RDI, false);
	emit_rm(e, 8, 0x8b, RAX, at_base(RSI, offsetof(struct xlate, frame)));
	emit_rm(e, 8, 0x8b, RSP, at_base(RAX, offsetof(struct frame, calls_sp)));
	emit_rm(e, 8, 0x8b, R15, at_base(RSI, offsetof(struct xlate, flat)));
	emit_rm(e, 8, 0x8b, R11, at_base(RSI, offsetof(struct xlate, budget)));
	emit_rm(e, 8, 0x8b, SPAN_HOME, at_base(RSI, offsetof(struct xlate, span)));
	emit_mov_imm(e, SHIFT_10, 10);
	emit_rm(e, 4, 0x8b, RAX, at_base(RSI, offsetof(struct xlate, flags)));
	emit_bytes(e, "\x04\x7f\x9e", 3); /* add al, 0x7f; sahf */
	for (unsigned i = 0; i < 8; i++)  /* EDI last: it is the vcpu */
		emit_rm(e, 4, 0x8b, guest_regs[i], at_base(RDI, gpr_offset(i)));
	emit_jmp_reg(e, RCX);
}

static const uint8_t saved_regs[6] = { RBX, RBP, R12, R13, R14, R15 };

/* void enter(vcpu, xlate, code); returns where reload begins */
static uint32_t gen_enter(struct emit *e)
{
	uint32_t reload;

	for (unsigned i = 0; i < 6; i++) {
		if (saved_regs[i] >= R8)
			emit_u8(e, 0x41);
		emit_u8(e, 0x50 | (saved_regs[i] & 7));
	}
	emit_bytes(e, "\x48\x83\xec\x08", 4); /* sub rsp, 8: aligned for whom thunks call */
	emit_rm(e, 8, 0x8b, RAX, at_base(RSI, offsetof(struct xlate, frame)));
	emit_rm(e, 8, 0x89, RSP, at_base(RAX, offsetof(struct frame, host_sp)));
	emit_mov(e, RCX, RDX);
	reload = emit_here(e);
	gen_reload(e);
	return reload;
}

static void gen_leave(struct emit *e)
{
	emit_bytes(e, "\x48\x83\xc4\x08", 4); /* add rsp, 8 */
	for (unsigned i = 6; i-- > 0;) {
		if (saved_regs[i] >= R8)
			emit_u8(e, 0x41);
		emit_u8(e, 0x58 | (saved_regs[i] & 7));
	}
	emit_u8(e, 0xc3);
}

static uint32_t gen_thunk(struct emit *e, handler_fn *fn, uint32_t frame, uint32_t reload, uint32_t leave)
{
	struct operand c = at_index(NO_REG, NO_REG, 0, (int32_t)(frame + offsetof(struct frame, c)));
	struct operand x = at_index(NO_REG, NO_REG, 0, (int32_t)(frame + offsetof(struct frame, x)));
	struct operand host_sp = at_index(NO_REG, NO_REG, 0, (int32_t)(frame + offsetof(struct frame, host_sp)));
	struct operand calls_sp = at_index(NO_REG, NO_REG, 0, (int32_t)(frame + offsetof(struct frame, calls_sp)));
	uint32_t start = emit_here(e);

	emit_rm(e, 8, 0x89, RSP, calls_sp);
	emit_rm(e, 8, 0x8b, RSP, host_sp);
	emit_rm(e, 8, 0x8b, R9, c);
	for (unsigned i = 0; i < 8; i++)
		emit_rm(e, 4, 0x89, guest_regs[i], at_base(R9, gpr_offset(i)));
	gen_xmm(e, R9, true);
	emit_bytes(e, "\x0f\x90\xc0\x9f", 4); /* seto al; lahf */
	emit_bytes(e, "\x0f\xb7\xc0", 3);     /* movzx eax, ax */
	emit_rm(e, 8, 0x8b, RDI, x);
	emit_rm(e, 4, 0x89, RAX, at_base(RDI, offsetof(struct xlate, flags)));
	emit_rm(e, 8, 0x89, SPAN_HOME, at_base(RDI, offsetof(struct xlate, span)));
	emit_rr(e, 8, 0x8b, RSI, RCX);
	emit_mov(e, RDX, R8);
	emit_rr(e, 8, 0x8b, RCX, R11);
	emit_bytes(e, "\x48\xb8", 2); /* mov rax, imm64 */
	emit_u64(e, (uintptr_t)fn);
	emit_bytes(e, "\xff\xd0", 2);         /* call rax */
	emit_bytes(e, "\x89\xc1\x85\xc0", 4); /* mov ecx, eax; test eax, eax */
	emit_aim32(e, emit_jcc(e, 4), leave);
	emit_rm(e, 8, 0x8b, RDI, c);
	emit_rm(e, 8, 0x8b, RSI, x);
	emit_jmp(e, reload);
	return start;
}

/* Called with a misaligned or unknown address in r8d: returns with rcx as the table would have it when the access stays in its page; else
 * goes on as THUNK_MEMORY. mask = page of the last byte - page of the first - 1: all ones, or 0. */
static uint32_t gen_check_thunk(struct emit *e, unsigned ctx, uint64_t part, unsigned size, uint32_t memory)
{
	uint32_t start = emit_here(e), bad;

	emit_shrx(e, false, R9, R8, SHIFT_12);
	emit_rm(e, 8, 0x8b, RCX, at_index(R15, R9, 3, FLAT_AT(ctx, part)));
	emit_bytes(e, "\x49\xf7\xd1", 3); /* not r9 */
	emit_bytes(e, "\x41\x50", 2);     /* push r8 */
	emit_rm(e, 8, 0x8d, R8, at_base(R8, (int32_t)size - 1));
	emit_shrx(e, true, R8, R8, SHIFT_12);
	emit_rm(e, 8, 0x8d, R9, at_index(R9, R8, 0, 0));
	emit_bytes(e, "\x41\x58", 2); /* pop r8 */
	emit_pext(e, RCX, RCX, R9);
	bad = emit_jrcxz(e);
	emit_u8(e, 0xc3);
	emit_land8(e, bad);
	emit_u8(e, 0x59); /* pop rcx */
	emit_jmp(e, memory);
	return start;
}

/* The guest returned to r8d, which the calls did not foresee: they are given up. */
static uint32_t gen_return_thunk(struct xlate *x, struct emit *e, unsigned ctx)
{
	uint32_t start = emit_here(e);
	struct lookup l;

	emit_mov_imm(e, RSP, (uint32_t)calls_bottom(&x->low->calls[ctx]));
	l = emit_lookup(e, ctx);
	emit_jmp_reg(e, RCX);
	emit_absent(e, &l, x->thunk[THUNK_ABSENT]);
	return start;
}

void gen_thunks(struct xlate *x, handler_fn *const handlers[THUNK_ABSENT])
{
	struct emit e = { .bytes = x->buf.write, .code = (uint32_t)(uintptr_t)x->buf.exec, .size = 16384 };
	uint32_t reload;

	emit_u32(&e, 0xcccccccc); /* no code at offset 0 */
	x->leave = emit_here(&e);
	gen_leave(&e);
	x->enter = emit_here(&e);
	reload = gen_enter(&e);
	for (unsigned i = 0; i < THUNK_ABSENT; i++)
		x->thunk[i] = gen_thunk(&e, handlers[i], (uint32_t)(uintptr_t)x->frame, reload, x->leave);
	x->thunk[THUNK_ABSENT] = emit_here(&e);
	emit_to_thunk(&e, x->thunk[THUNK_MISS]);
	for (unsigned ctx = 0; ctx < 2; ctx++)
		x->thunk[THUNK_RETURN + ctx] = gen_return_thunk(x, &e, ctx);
	for (unsigned i = 0; i < 16; i++) {
		unsigned ctx = i >> 3, write = (i >> 2) & 1, size = 2u << (i & 3);
		uint64_t part = write ? FLAT_WRITE(ctx) : FLAT_READ(ctx);

		x->thunk[THUNK_FIRST_CHECK + i] = gen_check_thunk(&e, ctx, part, size, x->thunk[THUNK_MEMORY]);
	}
	BUG_ON(e.full);
	x->code_start = x->code_at = (e.at + 63) & ~63u;
	x->cold_at = COLD_START;
}
