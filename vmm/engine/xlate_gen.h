/*
 * xlate_gen.h - what the parts that emit code share: xlate_block.c blocks, xlate_flow.c ways between them, xlate_insn.c instructions, xlate_mem.c accesses.
 *
 * Host registers inside translated code
 *
 *     rax rdx rbx rbp rsi rdi   the guest's of the same name         upper halves always 0
 *     r12, r13                  the guest's ECX, ESP
 *     rcx r8 r9                 temporaries; rcx because JRCXZ, the branch that leaves flags alone, tests it
 *     r10                       what to add to an address in the block's first span (xlate_mem.c)
 *     r14                       10, a shift count
 *     r11                       budget: minus the instructions left after the present block, minus 1
 *     xmm0..xmm7                the guest's
 *     r15                       FLAT_READ of the context, + 12: the shift instructions look at the low bits of a count only, so it is the count 12, too
 *     rsp                       the calls the guest has not returned from (struct calls)
 *     EFLAGS                    arithmetic flags: the guest's
 */
#ifndef RINGSIDE_VMM_ENGINE_XLATE_GEN_H
#define RINGSIDE_VMM_ENGINE_XLATE_GEN_H

#include "vmm/emul/emul.h"
#include "vmm/engine/emit.h"
#include "vmm/engine/hardfault.h"
#include "vmm/engine/ops.h"
#include "vmm/engine/xlate.h"

enum { GUEST_CX = R12, GUEST_SP = R13, SPAN_HOME = R10, SHIFT_10 = R14, SHIFT_12 = R15 };
enum { FLAT_BIAS = 12, SPANS = 8 };
enum { PAGES = 4096 }; /* of code, each with 16 KiB of entries */
#define FLAT_AT(ctx, part)                                                                                             \
	((int32_t)((int64_t)(part) - (int64_t)FLAT_READ(ctx) - FLAT_BIAS)) /* displacement from r15 */

/* What translated code finds at fixed addresses below 2 GiB. */
struct frame {
	struct vcpu *c;
	struct xlate *x;
	uint64_t tmp;
	uint64_t window;         /* address of the window, if there is one */
	uint64_t host_sp;        /* stack of whoever runs translated code */
	uint64_t calls_sp;       /* rsp of translated code, while other code runs */
	uint64_t span[SPANS];    /* what to add to an address in a span; [0] is r10 */
	uint64_t fs_ok, fs_base; /* ok: 4 GiB readable and writable from an aligned base; else 0 */
	uint64_t gs_ok, gs_base;
	uint64_t fs_window, gs_window; /* host address of the segment's base in the window; where all is shut, unless ok */
	uint64_t forwards;             /* DF is clear */
	uint64_t x87_ok;               /* x87 state is in the host's unit, all exceptions masked, no #NM */
	uint64_t sse_ok;               /* SSE instructions neither #UD nor #NM */
	uint32_t x87_last;     /* site of the last x87 instruction that ran inline, and of the last with memory: */
	uint32_t x87_last_mem; /* 0 none since c->fpu.fx was told (note_x87()) */
	uint32_t x87_last_ea;
	uint32_t flags, flag_if; /* the guest's EFLAGS but for IF and arithmetic flags; IF (xlate_priv.c) */
	uint64_t none_waits;     /* no interrupt does: vcpu.unseen.none_waits */
	uint64_t unseen;         /* privileged instructions that ran inline since settle_unseen() */
	uint64_t sti_unseen;     /* of those, up to the latest STI that set IF; 0 none did */
	uint64_t sti_budget;     /* and r11 less the instructions of the block left from it on */
	uint64_t stamp;          /* host cycles before the latest instruction that is meant to fault */
};

/*
 * The stack of translated code. A guest's CALL is also one of the host's, and so its RET, which the processor then predicts. It has return addresses of the host's,
 * a word each: of code that first looks whether that is where the guest returns to (gen_landing()). At the bottom is a call that nobody made, whose code looks the
 * address up. What is on the stack holds as long as translations do (check_calls()).
 */
enum { CALL_SIZE = 8, SLICE = 1 << 18, CALLS_SIZE = 3 * SLICE * CALL_SIZE };
struct calls {
	uint64_t words[CALLS_SIZE / 8];
	uint64_t sp;         /* frame.calls_sp, while the other context's are used */
	uint32_t generation; /* cache_generation() that they hold for, and mode; 0 none */
	uint8_t mode;
};

/* Mapped below 2 GiB. */
struct low {
	struct calls calls[2];   /* by context */
	uint32_t present[PAGES]; /* by page of code: FLAT_JUMP has its table of entries */
	struct frame frame;
};

/* An instruction that may be left to the interpreter's handler. Addresses of code and sites have 32 bits. */
struct site {
	struct insn in;
	uint32_t rip;
	uint32_t resume;          /* code after it; unused when it ends a block */
	uint32_t block;           /* address of its block's first instruction */
	uint16_t left;            /* instructions of the block from this one on */
	uint16_t class;           /* enum op_class */
	bool emulated;            /* interp_is_emulated() */
	int16_t owed, still_owed; /* struct gen.owed before it and after it */
};

/* Shared pieces of generated code. */
enum thunk {
	THUNK_CALLOUT, /* rcx: address of a site */
	THUNK_FAULT,   /* the same, after a fault of the host's processor */
	THUNK_MEMORY,  /* rcx: address of a jump and a site */
	THUNK_WINDOW,  /* rcx: address of a site and of the instruction's code, which found the window shut */
	THUNK_HEAD,    /* rcx: address of rip, n: the budget does not cover the block */
	THUNK_CAREFUL, /* rcx: address of a site; uncharged from it on; the jump before is to be aimed */
	THUNK_CROSS, /* rcx: address of rip: the next page is not known to be what it was for the instruction across its end */
	THUNK_LINK,   /* rcx: address of the target rip and the address of the jump to be aimed */
	THUNK_MISS,   /* r8d: target rip */
	THUNK_ABSENT, /* the same, to be jumped to */
	THUNK_RETURN, /* r8d: target rip, not where the last call came from; by context */
	THUNK_FIRST_CHECK = THUNK_RETURN + 2, /* misaligned accesses: by context, kind, size */
	THUNKS = THUNK_FIRST_CHECK + 2 * 2 * 4
};

/* A branch to the cold part of a block, whose target has not been emitted: a JRCXZ, or, in `far`, a Jcc. */
enum pending_kind {
	PENDING_ACCESS,
	PENDING_SITE,
	PENDING_DIVIDE,
	PENDING_CAREFUL,
	PENDING_CROSS,
	PENDING_GOTO,
	PENDING_CALL,
	PENDING_RETURN
};
struct pending {
	uint32_t jump, hop; /* where its 8-bit, later its 32-bit displacement is */
	uint32_t back;      /* PENDING_ACCESS: address after the jump; PENDING_CALL: where the guest's return leads */
	uint32_t site;
	uint32_t target; /* PENDING_GOTO, PENDING_CALL: guest code to go to */
	uint8_t kind, size, write, address;
	uint8_t left; /* charged instructions that it does not run */
	int16_t owed; /* struct gen.owed */
	bool aside;   /* the branch is in the block's cold part, too */
};

enum { BLOCK_MAX_INSNS = 96, PENDING_MAX = 3 * BLOCK_MAX_INSNS + 2 };

/* A jump out of the block that waits for the block's end. refund: instructions charged that it does not run */
struct goto_stub {
	uint32_t jump, target;
	unsigned refund;
	bool near; /* code at the target may be jumped to directly */
	bool rare;
};

/* Code of an instruction that may fault on the host: offset and length; landing 0: the window's, to be made */
struct touch {
	uint32_t at, len, site, landing;
};

/* An instruction of the block, and where it is. returns: of a RET whose CALL is in the block, where to; else 0. rare: of a Jcc, the way out */
struct step {
	const struct insn *in;
	uint32_t rip, returns;
	bool rare;
	bool thunk; /* MOV and RET of a function that loads its return address: that is `returns` */
};

/* Another page that the block has instructions of, or jumps into. */
struct foreign {
	struct page *page;
	const uint32_t *entries;
	uint32_t lin, presence; /* linear address; address of the word that is 0 unless the page is there */
	bool present;           /* it was seen to be the page there, and nothing since can have changed that */
	bool used;              /* the block is good only while the page's code is */
};
enum { FOREIGN_MAX = 6 };

/* An access that may share its check with others: `offset` from the value that names the group. */
struct access {
	uint8_t k, size, span; /* k: step; span: NO_SPAN when it is checked alone */
	bool write, may_open;  /* may_open: no check of its instruction comes before this one */
	uint16_t group;
	int32_t offset;
};
enum { NO_SPAN = 0xff };

struct span {
	int32_t low, high;          /* offsets of the first and last byte */
	uint8_t count, write, home; /* home: index into frame.span */
	bool open;                  /* in this pass its check was emitted */
};

/* What a general register holds: a value nobody knows, plus an offset. */
struct value {
	uint16_t group;
	uint32_t delta;
};

struct gen {
	struct emit e;
	struct emit hot, cold; /* what e was before, and is in, gen_end() */
	bool ending, aside;    /* in gen_end(); e is the cold part */
	struct xlate *x;
	struct step step[BLOCK_MAX_INSNS];
	unsigned n;
	const uint32_t *entries; /* of the page: code by offset */
	const uint32_t *thunk;
	uint32_t frame; /* address */
	uint32_t rip;   /* of the block */
	unsigned k;     /* present instruction, and its address: */
	uint32_t at;
	enum mmu_context context;
	uint32_t site; /* of the present instruction; 0 not yet made */
	uint32_t code; /* of the block */
	struct pending pending[PENDING_MAX];
	unsigned pendings, hopped;                         /* the first `hopped` have a hop */
	struct pending far[PENDING_MAX + BLOCK_MAX_INSNS]; /* by their `hop` */
	unsigned fars;
	struct goto_stub stub[BLOCK_MAX_INSNS + 2];
	unsigned stubs;
	bool surveying; /* nothing is emitted: what does the block access? */
	bool careful;   /* each access has a check of its own */
	bool windowed;  /* accesses have none, but go through the window */
	bool crosses;   /* its first instruction lies across the page's end: foreign[0] */
	struct foreign foreign[FOREIGN_MAX];
	unsigned foreigns;
	uint32_t dead; /* where its head is to jump once it is dead; 0: it dies with its own page only */
	bool touching; /* the present instruction has such an access */
	struct touch touch[BLOCK_MAX_INSNS];
	unsigned touches;
	struct access access[2 * BLOCK_MAX_INSNS];
	unsigned accesses;
	struct span span[2 * BLOCK_MAX_INSNS];
	struct value value[8];
	uint16_t groups;
	bool x87_known; /* x87_ok was seen to hold, and nothing since can have changed it */
	bool sse_known;
	int16_t owed; /* windowed: the guest's ESP is so much more than r13: several PUSHes and POPs move r13 once */
	bool segment_known[2]; /* FS, GS: fs_ok, gs_ok */
};

/* Before a block: where its budget is too small, and in the last 4 bytes its number of instructions. */
enum { HEAD_ROOM = 9, JUMP_LENGTH = 5 };
enum {
	TO_THUNK = 10,
	TO_LINK = TO_THUNK + 8,
	GOTO_ROOM = 40 /* of gen_goto() */,
	ENTER_ROOM = 24 /* of gen_enter_page() */
};

static inline bool same_page(const struct gen *g, uint32_t target)
{
	return (target ^ g->rip) >> PAGE_SHIFT == 0;
}

static inline bool is_fpu(const struct insn *in)
{
	return in->op >= OP_FPU_BASE;
}

/* Emulated in the middle of the block, which goes on after it (xlate.c, emulate_site()). */
static inline bool stays_in_block(const struct insn *in)
{
	return emul_is_light((enum op)in->op) && interp_is_emulated(in);
}

/* xlate_block.c */
uint32_t gen_site(struct gen *g);
void gen_pend(struct gen *g, struct pending p);
void gen_pend_far(struct gen *g, struct pending p);
void gen_require(struct gen *g, size_t frame_offset); /* leave the instruction when that word of the frame is 0 */
/* Before so much code: will the first JRCXZ that waits still reach a hop after it? Those behind are further apart than hops are long. */
void gen_keep_reach(struct gen *g, unsigned room);

/* xlate_flow.c */
struct lookup {
	uint32_t no_page, no_entry, known;
};
struct lookup emit_lookup(struct emit *e, unsigned ctx); /* rcx becomes the code of r8d, and is used before emit_absent() */
void emit_absent(struct emit *e, const struct lookup *l, uint32_t absent);
void emit_to_thunk(struct emit *e, uint32_t thunk); /* TO_THUNK bytes */
/* To THUNK_LINK, for code at `target` that the jump at `jump` is then aimed at; TO_LINK bytes */
void emit_to_link(struct emit *e, uint32_t link, uint32_t target, uint32_t jump);
void gen_refund(struct gen *g, unsigned insns); /* that were charged and do not run */
void gen_exit(struct gen *g, struct goto_stub *s);
void gen_rare_exit(struct gen *g, const struct goto_stub *s);
void gen_link(struct gen *g, const struct goto_stub *s);
/* The page of an address outside the block's own, or NULL: the way there is looked up each time. */
struct foreign *foreign_at(struct gen *g, uint32_t rip);
struct foreign *foreign_add(struct gen *g, struct page *p); /* the same; p may be NULL */
/* The next instruction, of another page: is that the page it was made from? */
void gen_enter_page(struct gen *g, uint32_t rip);
void gen_pending_goto(struct gen *g, const struct pending *p); /* PENDING_GOTO, PENDING_CALL, PENDING_RETURN */
void gen_goto(struct gen *g, uint32_t target);                 /* the block ends here */
void gen_goto_if(struct gen *g, unsigned cc, uint32_t target);
void gen_lookup(struct gen *g); /* the same; r8d: target */
void gen_return(struct gen *g); /* the same, to where it was called from as far as the guest returns there */
/* The same; next: where it will return to. gen_call_lookup: r8d: target */
void gen_call_to(struct gen *g, uint32_t target, uint32_t next);
void gen_call_lookup(struct gen *g, uint32_t next);

/* xlate_mem.c */
bool segment_known(const struct insn *in, bool write);
struct operand guest_operand(const struct gen *g, const struct insn *in);
unsigned gen_ea(struct gen *g,
                const struct insn *in); /* effective address: the register that holds it, R8 or the guest's own base */
/* What the address in a register leads to, checked or through the window, or the instruction is left; may use rcx. through_segment: no wrap at the segment's end is excluded, so
 * only aligned accesses stay. */
struct operand gen_at(struct gen *g, unsigned address, unsigned size, bool write, bool through_segment);
struct operand gen_through_window(struct gen *g, struct operand m); /* m: guest linear address */
/* The same operand, with its address in `reg`. */
struct operand gen_pin(struct gen *g, unsigned reg, struct operand m);
struct operand gen_memory(struct gen *g, const struct insn *in, unsigned size, bool write); /* the memory operand, checked */
/* 4 bytes at a general register (R_SP, R_BP) and a small displacement, checked; may use r8 */
struct operand gen_stack(struct gen *g, unsigned reg, int32_t disp, bool write);
void gen_settle(struct gen *g); /* nothing is owed to r13 any more */
void survey_begin(struct gen *g);
void survey_insn(struct gen *g, const struct insn *in, bool inlined); /* after it was "emitted" */
void survey_end(struct gen *g);

/* xlate_insn.c: emit one instruction, all of it or, when false, nothing. */
bool gen_insn(struct gen *g, const struct insn *in);
bool gen_fpu(struct gen *g, const struct insn *in);        /* the same; xlate_fpu.c */
bool gen_privileged(struct gen *g, const struct insn *in); /* the same; xlate_priv.c */

/* insn.reg, rm, base, index are byte offsets into vcpu.gpr. */
static inline unsigned host(unsigned offset)
{
	static const uint8_t host_of[8] = { RAX, GUEST_CX, RDX, RBX, GUEST_SP, RBP, RSI, RDI };

	return offset == GPR_ZERO ? NO_REG : host_of[(offset >> 3) & 7];
}

static inline struct operand presence(const struct foreign *f)
{
	return at_index(NO_REG, NO_REG, 0, (int32_t)f->presence);
}

static inline struct operand at_frame(const struct gen *g, size_t offset)
{
	return at_index(NO_REG, NO_REG, 0, (int32_t)(g->frame + offset));
}

#endif
