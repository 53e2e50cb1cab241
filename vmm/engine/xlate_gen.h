/*
 * xlate_gen.h - what the translator's two halves share: xlate.c manages blocks, xlate_insn.c emits instructions.
 *
 * Host registers inside translated code
 *
 *     rax rdx rbx rbp rsi rdi   the guest's of the same name         upper halves always 0
 *     r12, r13                  the guest's ECX, ESP
 *     rcx r8 r9                 temporaries; rcx because JRCXZ, the branch that leaves flags alone, tests it
 *     r10, r14                  12 and 10: shift counts
 *     r11                       budget: minus the instructions left after the present block, minus 1
 *     r15                       mmu.flat
 *     rsp                       struct frame
 *     EFLAGS                    arithmetic flags: the guest's
 */
#ifndef RINGSIDE_VMM_ENGINE_XLATE_GEN_H
#define RINGSIDE_VMM_ENGINE_XLATE_GEN_H

#include "vmm/engine/emit.h"
#include "vmm/engine/hardfault.h"
#include "vmm/engine/xlate.h"

enum { GUEST_CX = R12, GUEST_SP = R13 };

/* What [rsp] is in translated code. */
struct frame {
	struct vcpu *c;
	struct xlate *x;
	uint64_t tmp;
	uint64_t fs_ok, fs_base; /* ok: 4 GiB readable and writable from an aligned base; else 0 */
	uint64_t gs_ok, gs_base;
	uint64_t forwards;     /* DF is clear */
	uint64_t x87_ok;       /* x87 state is in the host's unit, all exceptions masked, no #NM */
	uint64_t sse_ok;       /* SSE instructions neither #UD nor #NM */
	uint32_t x87_last;     /* site of the last x87 instruction that ran inline, and of the last with memory: */
	uint32_t x87_last_mem; /* 0 none since c->fpu.fx was told (note_x87()) */
	uint32_t x87_last_ea;
	uint64_t stamp; /* host cycles before the latest instruction that is meant to fault */
};

/* An instruction that may be left to the interpreter's handler. Addresses of code and sites have 32 bits. */
struct site {
	struct insn in;
	uint32_t rip;
	uint32_t resume; /* code after it; unused when it ends a block */
	uint16_t left;   /* instructions of the block from this one on */
	uint16_t class;  /* enum op_class */
};

/* Shared pieces of generated code. */
enum thunk {
	THUNK_CALLOUT,     /* site behind the call */
	THUNK_FAULT,       /* the same, after a fault of the host's processor */
	THUNK_MEMORY,      /* a jump and a site behind the call */
	THUNK_HEAD,        /* rip, n behind the call: the budget does not cover the block */
	THUNK_LINK,        /* target rip, place of the jump behind the call */
	THUNK_MISS,        /* r8d: target rip */
	THUNK_FIRST_CHECK, /* misaligned accesses: by context, kind, size */
	THUNKS = THUNK_FIRST_CHECK + 2 * 2 * 4
};

/* A branch to the cold part of a block, whose target has not been emitted: a JRCXZ, or, in `far`, a Jcc. */
enum pending_kind { PENDING_HEAD, PENDING_ACCESS, PENDING_SITE, PENDING_DIVIDE };
struct pending {
	uint32_t jump, hop; /* where its 8-bit, later its 32-bit displacement is */
	uint32_t back;      /* PENDING_ACCESS: address after the jump */
	uint32_t site;
	uint8_t kind, size, write, address;
};
enum { PENDING_MAX = 2 * TRACE_MAX_INSNS + 2 };

/* A jump to guest code of the same page. */
struct goto_stub {
	uint32_t jump, target;
};

struct gen {
	struct emit e;
	struct xlate *x;
	const struct trace *t;
	const uint32_t *entries; /* of the page: code by offset */
	const uint32_t *thunk;
	uint32_t rip; /* of the block */
	unsigned k;   /* present instruction */
	enum mmu_context context;
	uint32_t site; /* of the present instruction; 0 not yet made */
	uint32_t code; /* of the block */
	struct pending pending[PENDING_MAX];
	unsigned pendings, hopped;       /* the first `hopped` have a hop */
	struct pending far[PENDING_MAX]; /* by their `hop` */
	unsigned fars;
	struct goto_stub stub[2];
	unsigned stubs;
	bool x87_known; /* x87_ok was seen to hold, and nothing since can have changed it */
	bool sse_known;
};

/* xlate.c */
uint32_t gen_site(struct gen *g);
void gen_pend(struct gen *g, struct pending p);
void gen_pend_far(struct gen *g, struct pending p);
void gen_goto(struct gen *g, uint32_t target); /* the block ends here */
void gen_goto_if(struct gen *g, unsigned cc, uint32_t target);
void gen_lookup(struct gen *g); /* the same; r8d: target */

/* xlate_insn.c: emit one instruction, all of it or, when false, nothing. */
bool gen_insn(struct gen *g, const struct insn *in);

#endif
