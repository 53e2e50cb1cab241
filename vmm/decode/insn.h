/*
 * insn.h - the compact instruction: what the decoder makes and every engine and emulator reads.
 *
 * 32 bytes, so that two share a cache line. Registers are byte offsets into vcpu.gpr (so AH is 1, ESP is 32), which makes one expression
 * serve every size: *(uint8_t *)((char *)vcpu->gpr + insn->rm). An absent base or index is the offset of the zero slot.
 */
#ifndef RINGSIDE_VMM_DECODE_INSN_H
#define RINGSIDE_VMM_DECODE_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum op {
	OP_NONE = 0,
#define OP(name, class) OP_##name,
#include "vmm/decode/ops.def"
	OP_FPU_BASE = 0x200, /* both lists can grow without renumbering the other */
#include "vmm/decode/ops_fpu.def"
#undef OP
	OP_MAX
};

/* How deprivileging meets an instruction. */
enum op_class {
	CLASS_NONE,     /* harmless at any ring */
	CLASS_CPL0,     /* #GP(0) unless real CPL is 0: always a fault */
	CLASS_TSD,      /* RDTSC, RDPMC: real CR4.TSD = 1, PCE = 0: always a fault */
	CLASS_SYSENTER, /* real SYSENTER_CS is 0: always a fault */
	CLASS_IOPL, /* faults when real CPL > real IOPL (0): always; the guest's right to it is virtual CPL <= virtual IOPL */
	CLASS_IO,       /* as IOPL, and the I/O bitmap of the TSS; the VMM's TSS has none */
	CLASS_SENS_ANY, /* reads hidden state and never faults: caught at every CPL */
	CLASS_SENS_FLAGS, /* PUSHF, POPF, IRET: caught unless virtual CPL is 3, virtual IOPL 0 and virtual IF 1; in V86 they fault instead */
	CLASS_SENS_CPL0, /* shows or checks the RPL of CS or SS: caught when virtual CPL is 0 */
	CLASS_SEG,       /* loads a segment register: runs natively, or faults because of the descriptor filter */
	CLASS_SOFTINT,   /* always arrives at the VMM */
};

/* Operand forms. dst comes first in the name. */
enum insn_form {
	FORM_NONE, /* no explicit operand */
	FORM_RR,   /* dst register rm, src register reg (whatever the encoding's direction was) */
	FORM_RM,   /* dst register reg, src memory */
	FORM_MR,   /* dst memory, src register reg */
	FORM_RI,   /* dst register rm, imm */
	FORM_MI,   /* dst memory, imm */
	FORM_R,    /* one register operand: rm */
	FORM_M,    /* one memory operand */
	FORM_I,    /* one immediate or relative target: imm */
};

/* insn.flags */
enum {
	IF_REP = 1 << 0,   /* F3: REP, REPE */
	IF_REPNE = 1 << 1, /* F2 */
	IF_LOCK = 1 << 2,
	IF_MEM = 1 << 3, /* has an explicit memory operand: base, index, scale, disp, seg, asize are valid */
	IF_CL = 1 << 4,  /* shift or rotate count is CL (forms R, M; SHLD/SHRD: RR, MR) */
	IF_MOFFS = 1 << 5,
	IF_DX = 1 << 6, /* IN, OUT: the port is DX, not imm */
	IF_ENDS = 1 << 7, /* ends a trace: may change rip, the mode, or must be alone with the icount (rep strings, exits) */
};

struct vcpu;
struct insn;
typedef void insn_fn(struct vcpu *c, const struct insn *ip);

struct insn {
	insn_fn *fn;   /* the interpreter's handler; other engines ignore it */
	uint32_t imm;  /* immediate, sign-extended to 32 bits; relative branches: see below; far pointer: offset */
	uint32_t disp; /* displacement, sign-extended (16-bit addressing: the sum is masked to 16 bits) */
	uint16_t op;   /* enum op */
	uint16_t imm2; /* far pointer: selector; ENTER: level; MOVZX/MOVSX: source size in bytes; x87, MMX, SSE: below */
	uint8_t off;   /* start, in bytes from the start of its trace */
	uint8_t len;   /* 1..15 */
	uint8_t form;  /* enum insn_form */
	uint8_t flags; /* IF_* */
	uint8_t reg,
	        rm; /* byte offsets into vcpu.gpr; MMX: 8 * index; XMM: 16 * index; x87 ST(i): i; SREG: index; CR, DR: number */
	uint8_t base, index; /* byte offsets into vcpu.gpr, GPR_ZERO when absent */
	uint8_t scale;       /* shift, 0..3 */
	uint8_t seg; /* segment register index of the memory operand (overrides applied); implicit DS for string sources, XLAT */
	uint8_t opsize; /* operand size in bytes: 1, 2, 4; MMX, SSE, x87: size of the memory operand, 0 none */
	uint8_t asize;  /* address size in bytes: 2 or 4 */
};
_Static_assert(sizeof(struct insn) == 32, "two instructions a cache line");

/*
 * Relative branches (Jcc, LOOP, JMP, CALL with FORM_I): imm is the sign-extended displacement as encoded; the target is
 * rip + off + len + imm, masked to opsize. PUSH/POP/CALL/RET/...: opsize is the operand size.
 * MOV_CR, MOV_DR (to): reg = number, rm = source gpr. MOV_R_CR, MOV_R_DR: reg = number, rm = destination gpr.
 * MOV_SREG: reg = segment index, source is rm (FORM_RR) or memory (FORM_RM). MOV_R_SREG: reg = segment index, destination rm (FORM_RR,
 * opsize 2 or 4) or memory (FORM_MR, 2 bytes). PUSH_SREG, POP_SREG: reg = segment index.
 * LES etc.: reg = gpr, memory source. IN: port imm or DX, data AL/AX/EAX by opsize; INS, OUTS, strings: opsize.
 * x87: imm2 = FOP, the low 3 bits of the opcode byte and the ModRM byte, (opcode & 7) << 8 | modrm (0 for FWAIT): handlers are chosen by it, so
 * register operands and form need not be right. opsize: size of the memory operand (FNSTENV 14 or 28, FNSAVE 94 or 108; FXSAVE: 0 or any).
 * MMX, SSE: imm2 = VEC_KIND(kind of dst, kind of src), because offset and memory size alone do not tell MM2 from XMM1. One explicit operand: dst.
 * Three (PSHUFD, SHUFPS, CMPPS, PINSRW, PEXTRW): RR or RM, and imm. Shifts by imm: RI. MOVMSKPS, PMOVMSKB, PEXTRW, CVTSS2SI: gpr is dst.
 * CMOVcc: RR or RM. SETcc: R or M. XCHG: RR or MR. IMUL: one operand; IMUL2: RR, RM (dst reg in RM; rm in RR); IMUL3: as IMUL2 with imm.
 */

enum {
	GPR_ZERO = 16 * 8, /* offset of the slot that is always zero */
};
enum { VEC_NONE /* memory, or no operand */, VEC_GPR, VEC_MMX, VEC_XMM };
#define VEC_KIND(dst, src) ((dst) | (src) << 4)
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };

/* What the decoder must know of the mode. Also the key under which engines cache what they decoded. */
enum {
	MODE_CS32 = 1 << 0,        /* CS.D: 32-bit default operand and address size */
	MODE_SS32 = 1 << 1,        /* SS.B: stack pointer is ESP */
	MODE_VM = 1 << 2,          /* real EFLAGS.VM: virtual-8086 or real mode */
	MODE_USER = 1 << 3,        /* paging checks as user */
	MODE_CATCH_ANY = 1 << 4,   /* catch CLASS_SENS_ANY */
	MODE_CATCH_FLAGS = 1 << 5, /* catch CLASS_SENS_FLAGS */
	MODE_CATCH_CPL0 = 1 << 6,  /* catch CLASS_SENS_CPL0 */
	MODE_KEYS = 1 << 7
};

/* Decode one instruction of at most `avail` (1..15) bytes. `off` is stored in out->off. Fills everything but fn.
 *   > 0  length
 *     0  needs more bytes than avail (and avail < 15)
 *    -1  not an instruction of this model: #UD. out->op is OP_UD, out->len a best guess (>= 1)
 *    -2  longer than 15 bytes: #GP(0) */
int insn_decode(struct insn *out, const uint8_t *bytes, unsigned avail, unsigned mode, unsigned off);

/* Lower-case name as in reports ("mov cr", "hlt"); NULL for an invalid op. Stable. */
const char *op_name(enum op op);
enum op_class op_class(enum op op);
/* INS and OUTS */
static inline bool op_is_string_io(enum op op)
{
	return op == OP_INS || op == OP_OUTS;
}

/* One that would not fault by itself: CLASS_SENS_* */
static inline bool op_is_sensitive(enum op op)
{
	enum op_class class = op_class(op);

	return class >= CLASS_SENS_ANY && class <= CLASS_SENS_CPL0;
}
/* Disassemble for a person, Intel or AT&T as Zydis formats it; addr is only for relative targets. */
void insn_format(char *buf, size_t size, const uint8_t *bytes, unsigned avail, unsigned mode, uint64_t addr);

#endif
