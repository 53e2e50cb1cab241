/*
 * fpu_x87.c - x87 arithmetic, on the host's own unit. Bound through fpu_bind_x87(); whole-state and control instructions are in fpu_state.c.
 *
 * An x87 instruction is two bytes, and its only ties to the rest of the processor are a memory operand and, for a few, flags. So the host
 * runs the guest's own encoding, from one of three tables of thunks indexed by FOP (ESC opcode and ModRM):
 *
 *     register form                 .byte esc, modrm; ret
 *     register form and EFLAGS      the same between popf and pushf                (FCMOVcc, FCOMI)
 *     memory form                   .byte esc, /reg with [rdi]; ret               the operand is always a copy in the VMM's own memory
 *
 * Which encodings exist is said here too, by bitmaps: a thunk that is no instruction must never be called.
 *
 * Memory faults come before the thunk: sources are read first, destinations checked first. With all exceptions masked (nearly always) the
 * thunk runs as is; otherwise x87_unmask() and x87_remask() are put around it.
 */
#include "vmm/engine/fpu.h"

typedef void thunk_fn(void);
typedef uint64_t flags_thunk_fn(uint64_t flags);
typedef void mem_thunk_fn(void *operand);

extern const uint8_t x87_reg_thunks[512][4] __attribute__((visibility("hidden")));
extern const uint8_t x87_flags_thunks[512][8] __attribute__((visibility("hidden")));
extern const uint8_t x87_mem_thunks[64][4] __attribute__((visibility("hidden")));

__asm__(".pushsection .text\n"
        ".p2align 4\n"
        ".hidden x87_reg_thunks\n"
        ".globl x87_reg_thunks\n"
        "x87_reg_thunks:\n"
        ".set n, 0\n"
        ".rept 512\n"
        ".byte 0xd8 + (n / 64), 0xc0 + (n % 64), 0xc3, 0xcc\n"
        ".set n, n + 1\n"
        ".endr\n"
        ".hidden x87_flags_thunks\n"
        ".globl x87_flags_thunks\n"
        "x87_flags_thunks:\n"
        ".set n, 0\n"
        ".rept 512\n"
        ".byte 0x57, 0x9d, 0xd8 + (n / 64), 0xc0 + (n % 64), 0x9c, 0x58, 0xc3, 0xcc\n" /* push rdi; popf; ...; pushf; pop rax; ret */
        ".set n, n + 1\n"
        ".endr\n"
        ".hidden x87_mem_thunks\n"
        ".globl x87_mem_thunks\n"
        "x87_mem_thunks:\n"
        ".set n, 0\n"
        ".rept 64\n"
        ".byte 0xd8 + (n / 8), 0x07 + (n % 8) * 8, 0xc3, 0xcc\n"
        ".set n, n + 1\n"
        ".endr\n"
        ".popsection\n");

#define FOP_ESC(fop) ((fop) >> 8 & 7u)
#define FOP_REG(fop) ((fop) >> 3 & 7u)

static inline unsigned reg_index(const struct insn *ip)
{
	return FOP_ESC(ip->imm2) * 64 + (ip->imm2 & 63u);
}

static inline mem_thunk_fn *mem_thunk(const struct insn *ip)
{
	return (mem_thunk_fn *)(uintptr_t)x87_mem_thunks[FOP_ESC(ip->imm2) * 8 + FOP_REG(ip->imm2)];
}

static inline void make_live(struct vcpu *c)
{
	if (unlikely(!c->fpu.live))
		x87_load(c);
}

/* Last instruction and operand pointers as FNSTENV shows them (SDM vol. 1 8.1.8), in the guest's own terms: CS and SS as the guest knows them. */
static inline void note(struct vcpu *c, const struct insn *ip)
{
	FX16(c, FX_FOP) = ip->imm2;
	FX32(c, FX_FIP) = (uint32_t)(c->rip + ip->off);
	FX16(c, FX_FCS) = c->seg[SEG_CS].guest_sel;
}

static inline void note_mem(struct vcpu *c, const struct insn *ip, uint32_t ea)
{
	const struct segment *s = &c->seg[ip->seg];

	note(c, ip);
	FX32(c, FX_FDP) = ea;
	FX16(c, FX_FDS) = ip->seg == SEG_CS || ip->seg == SEG_SS ? s->guest_sel : s->sel;
}

/* ---- register forms ---- */

INSN(x87_reg)
{
	thunk_fn *thunk = (thunk_fn *)(uintptr_t)x87_reg_thunks[reg_index(ip)];

	BEGIN;
	x87_check(c);
	make_live(c);
	note(c, ip);
	if (likely(x87_all_masked(c))) {
		thunk();
	} else {
		x87_unmask(c);
		thunk();
		x87_remask(c);
	}
	NEXT;
}

/* An unmasked #IA leaves the flags alone (SDM vol. 2, FCOMI). */
INSN(x87_flags)
{
	flags_thunk_fn *thunk = (flags_thunk_fn *)(uintptr_t)x87_flags_thunks[reg_index(ip)];
	uint32_t before = flags_arith(c), after;

	BEGIN;
	x87_check(c);
	make_live(c);
	note(c, ip);
	if (likely(x87_all_masked(c))) {
		after = (uint32_t)thunk(before);
	} else {
		x87_unmask(c);
		after = (uint32_t)thunk(before);
		if (x87_remask(c) & FSW_IE)
			after = before;
	}
	flags_set_arith(c, after);
	NEXT;
}

/* ---- memory forms ---- */

static inline void run_mem(struct vcpu *c, const struct insn *ip, void *operand)
{
	if (likely(x87_all_masked(c))) {
		mem_thunk(ip)(operand);
		return;
	}
	x87_unmask(c);
	mem_thunk(ip)(operand);
	x87_remask(c);
}

/* FADD m32, FLD m64, FILD m16, FCOM m64, ... */
#define X87_SOURCE(bits)                                                                                               \
	INSN(x87_source##bits)                                                                                         \
	{                                                                                                              \
		uint32_t ea = insn_ea(c, ip);                                                                          \
		uint##bits##_t operand;                                                                                \
                                                                                                                       \
		BEGIN;                                                                                                 \
		x87_check(c);                                                                                          \
		operand = mem_read##bits(c, ip->seg, ea);                                                              \
		make_live(c);                                                                                          \
		note_mem(c, ip, ea);                                                                                   \
		run_mem(c, ip, &operand);                                                                              \
		NEXT;                                                                                                  \
	}
X87_SOURCE(16)
X87_SOURCE(32)
X87_SOURCE(64)

INSN(x87_source80)
{
	uint32_t ea = insn_ea(c, ip);
	uint8_t operand[10];

	BEGIN;
	x87_check(c);
	mem_read_bytes(c, ip->seg, ea, operand, sizeof(operand));
	make_live(c);
	note_mem(c, ip, ea);
	run_mem(c, ip, operand);
	NEXT;
}

/* Run a store into `operand`. False when an unmasked exception kept it from being done: all but inexact do. */
static inline bool store_done(struct vcpu *c, const struct insn *ip, void *operand)
{
	if (likely(x87_all_masked(c))) {
		mem_thunk(ip)(operand);
		return true;
	}
	x87_unmask(c);
	mem_thunk(ip)(operand);
	return !(x87_remask(c) & FSW_EXCEPTIONS & ~FSW_PE);
}

static inline void *writable(struct vcpu *c, const struct insn *ip, uint32_t ea, unsigned size)
{
	if (likely((uint64_t)ea + size <= c->seg[ip->seg].wlimit))
		return mmu_fast_write(&c->mmu, mem_linear(c, ip->seg, ea), size);
	return NULL;
}

/* FST m64, FISTP m32, FBSTP, ...: no write may fault once the thunk has popped. */
#define X87_STORE(bits, bytes)                                                                                         \
	INSN(x87_store##bits)                                                                                          \
	{                                                                                                              \
		uint32_t ea = insn_ea(c, ip);                                                                          \
		uint8_t operand[bytes];                                                                                \
		void *p;                                                                                               \
                                                                                                                       \
		BEGIN;                                                                                                 \
		x87_check(c);                                                                                          \
		p = writable(c, ip, ea, bytes);                                                                        \
		if (unlikely(!p))                                                                                      \
			mem_check_write(c, ip->seg, ea, bytes);                                                        \
		make_live(c);                                                                                          \
		note_mem(c, ip, ea);                                                                                   \
		if (likely(store_done(c, ip, operand))) {                                                              \
			if (likely(p != NULL))                                                                         \
				memcpy(p, operand, bytes);                                                             \
			else                                                                                           \
				mem_write_bytes(c, ip->seg, ea, operand, bytes);                                       \
		}                                                                                                      \
		NEXT;                                                                                                  \
	}
X87_STORE(16, 2)
X87_STORE(32, 4)
X87_STORE(64, 8)
X87_STORE(80, 10)

/* ---- which encodings there are (SDM vol. 2 A.5; FISTTP is SSE3 and absent) ---- */

#define BITS(from, to) ((~0ull >> (63 - (to))) & (~0ull << (from)))

/* Bit i: ModRM 0xc0 + i is an instruction that runs as it is. */
static const uint64_t plain_forms[8] = {
	BITS(0, 63),
	BITS(0, 16) | BITS(24, 33) | BITS(36, 37) | BITS(40, 46) | BITS(48, 63),
	BITS(41, 41),
	0,
	BITS(0, 63),
	BITS(0, 47),
	BITS(0, 23) | BITS(25, 25) | BITS(32, 63),
	BITS(0, 31),
};

/* The same for those that read or write EFLAGS. */
static const uint64_t flags_forms[8] = { [2] = BITS(0, 31), [3] = BITS(0, 31) | BITS(40, 55), [7] = BITS(40, 55) };

static insn_fn *const mem_forms[8][8] = {
	[0] = { x87_source32, x87_source32, x87_source32, x87_source32, x87_source32, x87_source32, x87_source32,
	        x87_source32 },
	[1] = { x87_source32, NULL, x87_store32, x87_store32, NULL, NULL, NULL, NULL },
	[2] = { x87_source32, x87_source32, x87_source32, x87_source32, x87_source32, x87_source32, x87_source32,
	        x87_source32 },
	[3] = { x87_source32, NULL, x87_store32, x87_store32, NULL, x87_source80, NULL, x87_store80 },
	[4] = { x87_source64, x87_source64, x87_source64, x87_source64, x87_source64, x87_source64, x87_source64,
	        x87_source64 },
	[5] = { x87_source64, NULL, x87_store64, x87_store64, NULL, NULL, NULL, NULL },
	[6] = { x87_source16, x87_source16, x87_source16, x87_source16, x87_source16, x87_source16, x87_source16,
	        x87_source16 },
	[7] = { x87_source16, NULL, x87_store16, x87_store16, x87_source80, x87_source64, x87_store80, x87_store64 },
};

insn_fn *fpu_bind_x87(const struct insn *in)
{
	unsigned esc = FOP_ESC(in->imm2);
	uint64_t bit = 1ull << (in->imm2 & 63);

	if (in->op < OP_FLD || in->op > OP_FSETPM287_NOP)
		return NULL;
	if ((in->imm2 & 0xc0) != 0xc0)
		return in->flags & IF_MEM ? mem_forms[esc][FOP_REG(in->imm2)] : NULL;
	if (flags_forms[esc] & bit)
		return x87_flags;
	return plain_forms[esc] & bit ? x87_reg : NULL;
}
