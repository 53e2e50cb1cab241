/*
 * vcpu.h - the virtual processor's state.
 *
 * One struct, two views of it. Between ring_enter() and ring_leave() (ring/ring.h) it is the REAL view: what the processor underneath
 * runs with, CPL 1 or 3, IF = 1, IOPL = 0, filtered descriptors. Outside, it is the VIRTUAL view: what the guest believes. Engines only
 * ever see the real view, emulators only the virtual one, and no other function converts.
 *
 * Members are ordered by heat: what every guest instruction touches comes first.
 */
#ifndef RINGSIDE_VMM_CPU_VCPU_H
#define RINGSIDE_VMM_CPU_VCPU_H

#include <setjmp.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/bug.h"
#include "vmm/decode/insn.h"
#include "vmm/mem/mmu.h"
#include "vmm/meter.h"

enum { R_AX, R_CX, R_DX, R_BX, R_SP, R_BP, R_SI, R_DI };

/* EFLAGS, SDM vol. 1 3.4.3 */
#define FL_CF (1u << 0)
#define FL_FIXED (1u << 1)
#define FL_PF (1u << 2)
#define FL_AF (1u << 4)
#define FL_ZF (1u << 6)
#define FL_SF (1u << 7)
#define FL_TF (1u << 8)
#define FL_IF (1u << 9)
#define FL_DF (1u << 10)
#define FL_OF (1u << 11)
#define FL_IOPL (3u << 12)
#define FL_IOPL_SHIFT 12
#define FL_NT (1u << 14)
#define FL_RF (1u << 16)
#define FL_VM (1u << 17)
#define FL_AC (1u << 18)
#define FL_VIF (1u << 19)
#define FL_VIP (1u << 20)
#define FL_ID (1u << 21)
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)
/* what POPF and IRET may change at CPL 0 in this model (no VME: VIF and VIP stay 0) */
#define FL_WRITABLE (FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_AC | FL_ID)

/* Control registers, SDM vol. 3A 2.5 */
#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR0_WP (1u << 16)
#define CR0_AM (1u << 18)
#define CR0_NW (1u << 29)
#define CR0_CD (1u << 30)
#define CR0_PG (1u << 31)
#define CR0_VALID (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)
#define CR4_TSD (1u << 2)
#define CR4_DE (1u << 3)
#define CR4_PSE (1u << 4)
#define CR4_PGE (1u << 7)
#define CR4_PCE (1u << 8)
#define CR4_OSFXSR (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_VALID (CR4_TSD | CR4_DE | CR4_PSE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT)

/* Exception vectors, SDM vol. 3A 6.3.1 */
enum {
	VEC_DE = 0,
	VEC_DB,
	VEC_NMI,
	VEC_BP,
	VEC_OF,
	VEC_BR,
	VEC_UD,
	VEC_NM,
	VEC_DF,
	VEC_TS = 10,
	VEC_NP,
	VEC_SS,
	VEC_GP,
	VEC_PF,
	VEC_MF = 16,
	VEC_AC,
	VEC_MC,
	VEC_XM
};

/* segment.attr: descriptor bits 8..15 and 20..23 (SDM vol. 3A 3.4.5) */
#define SEG_TYPE 0x000fu
#define SEG_ACCESSED 0x0001u
#define SEG_WRITABLE 0x0002u /* data; code: readable */
#define SEG_EXPAND 0x0004u   /* data: expand down; code: conforming */
#define SEG_CODE 0x0008u
#define SEG_S 0x0010u /* code or data, not system */
#define SEG_DPL 0x0060u
#define SEG_DPL_SHIFT 5
#define SEG_P 0x0080u
#define SEG_DB 0x4000u /* descriptor bit 22: D or B */
#define SEG_G 0x8000u

/*
 * A segment register with its hidden part. rlimit and wlimit make the inline check one compare: an access of `size` bytes
 * at offset `off` is fine when off + size <= limit, in 64 bits. They are 0 (never fine) for null, unreadable or unwritable, and
 * expand-down segments, which the slow path judges.
 */
struct segment {
	uint64_t base;
	uint64_t rlimit, wlimit;
	uint32_t limit; /* in bytes, granularity applied */
	uint16_t sel;
	uint16_t attr;       /* in force in the present view; 0 = null segment */
	uint16_t guest_attr; /* as in the guest's own descriptor */
	uint16_t guest_sel;  /* meaningful in the real view of CS and SS: the selector the guest believes in */
};

struct table_reg {
	uint32_t base;
	uint16_t limit;
};

/* Lazy arithmetic flags. PF, ZF, SF follow from `result` (sign-extended to 32 bits); `aux` is the vector of carries out of each bit of the
 * operation, moved so that bit 31 is CF and bit 30 is the carry into the sign bit (OF = 31 ^ 30); bit 3 is AF. Values that no operation
 * gives (POPF) are encoded with the two correction bytes: aux bits 8..15 are xored into the byte PF is computed from, and aux bit 16 is xored into SF. */
struct lazy_flags {
	uint32_t result;
	uint32_t aux;
};
#define LF_PDB_SHIFT 8
#define LF_SFD (1u << 16)

/* x87, MMX and SSE state in FXSAVE layout (SDM vol. 1 10.5.1): guest values only, never host addresses. */
struct fpu_state {
	alignas(16) uint8_t fx[512];
	bool live; /* x87/MMX registers are in the host's unit, fx is stale (engine-internal; always false outside an engine) */
};

/* Why an engine came back. */
enum exit_reason {
	EXIT_BUDGET, /* the budget is used up, or the engine had a reason to look around */
	EXIT_EXCEPTION, /* a processor exception: vector, error, cr2. Precise: rip is the faulting instruction (traps: the next one) */
	EXIT_SENSITIVE, /* a caught sensitive instruction: insn; rip is its start, nothing done */
	EXIT_SOFTINT,   /* INT n, INT3, INTO (taken), INT1: insn; rip is its start */
	EXIT_MMIO,  /* the instruction at rip touches memory that is not RAM; nothing done. Run it with engine_step() */
	EXIT_DEBUG, /* a debugger's breakpoint is at rip (vmm/debug.h); nothing done */
	EXIT_WATCH, /* engine-internal, as the next: the instruction touches bytes that a debugger watches; nothing done. Step it */
	EXIT_CODE_WRITE, /* engine-internal, never leaves engine_run(): the instruction writes bytes that hold decoded code; nothing done. Step it */
};

struct vm_exit {
	enum exit_reason reason;
	uint8_t vector;
	bool has_error;
	bool trap; /* EXIT_EXCEPTION: reported after the instruction (single-step, data breakpoint) */
	uint32_t error;
	uint64_t cr2;
	bool has_insn;    /* false when the fetch itself failed */
	struct insn insn; /* a copy; handlers may outlive their trace */
};

struct trace;
struct engine;
struct leak_audit;
struct watchlist;

enum emulated {
	EMULATED_NOT,     /* nothing is done: leave */
	EMULATED_LIGHTLY, /* nothing that a block relies on is changed but by generation: the next instruction is next */
	EMULATED_FULLY,   /* anything may have changed */
};

/* What the slow paths call for memory that is not RAM, while mmu.stepping. */
struct vcpu_hooks {
	void *self;
	uint64_t (*mmio_read)(void *self, uint64_t gpa, unsigned size);
	void (*mmio_write)(void *self, uint64_t gpa, unsigned size, uint64_t value);
	void (*leak)(void *self, const struct insn *ip); /* policy `leak`: a lie was told at ip */
	/* An instruction that the engine would leave for, in the middle of its run, with precise state: emulate it at once. Afterwards the view is the real one again, and
	 * icount_end says how far to go on: not at all when it is icount. May unwind in the virtual view, to the end of the run. NULL: leave for all. */
	enum emulated (*emulate)(void *self, const struct insn *in);
};

struct vcpu {
	/* hot */
	uint64_t gpr[17]; /* [16] is always zero (GPR_ZERO) */
	uint64_t rip;     /* inside an engine: start of the running trace; outside: exact */
	struct lazy_flags lf;
	uint32_t eflags;       /* all but the arithmetic flags; FL_FIXED set */
	uint8_t cpl;           /* in the present view */
	uint8_t mode;          /* MODE_* key; real view only */
	const struct insn *ip; /* inside an engine: the instruction being executed */
	uint64_t icount;       /* inside an engine: at the start of the running trace; outside: exact */
	struct trace *trace;
	uint64_t icount_end; /* inside an engine: where the budget ends (rep strings look) */
	jmp_buf *unwind;     /* where vcpu_raise() lands */
	struct segment seg[SEG_COUNT];
	struct mmu mmu;

	/* control state: always the guest's own values */
	uint32_t cr0, cr2, cr3, cr4;
	uint32_t dr[8];
	struct table_reg gdtr, idtr;
	struct segment ldtr, tr;
	uint64_t msr_sysenter_cs, msr_sysenter_esp, msr_sysenter_eip;
	uint64_t tsc_offset; /* guest's TSC = input's + offset */
	struct fpu_state fpu;

	/* what the real view hides */
	struct {
		uint8_t cpl;     /* virtual CPL */
		uint32_t eflags; /* virtual IF, IOPL, VM */
	} virt;
	bool real_view;        /* between ring_enter and ring_leave */
	uint8_t ring0_becomes; /* 1 (model 0/1/3) or 3 (model 0/3/3) */
	bool leak_policy;
	/* Emulated by the engine itself, as long as nobody observes: allowed, none_waits (no interrupt does, for when IF is set) and cost (what a fault adds to virtual
	 * time, in instructions) are the VMM's word; count is how many there were that it has not added to its clock. */
#define UNSEEN_COST_MAX 4096u
	struct {
		bool allowed, none_waits;
		uint16_t cost;
		uint64_t count;
	} unseen;
	uint64_t inhibit_icount; /* no external interrupt at this icount (after STI, MOV SS, POP SS); UINT64_MAX none */
	uint32_t db_pending;     /* DR6 bits of data breakpoints hit by the present instruction */
	uint64_t leaks;

	struct vm_exit exit;     /* filled by vcpu_raise() and engines */
	struct watchlist *watch; /* what a debugger looks for (cpu/watch.h); NULL nothing */
	const uint64_t *cuts; /* where traces must end, by the low 12 bits of addresses: outlives the points; NULL nowhere */
	struct vcpu_hooks hooks;
	struct meter meter;
};

/* Narrow views of wider storage: exempt from strict aliasing. */
typedef uint64_t __attribute__((may_alias)) alias64_t;
typedef uint32_t __attribute__((may_alias)) alias32_t;
typedef uint16_t __attribute__((may_alias)) alias16_t;
#define GPR32(c, offset) (*(alias32_t *)((char *)(c)->gpr + (offset)))
#define GPR16(c, offset) (*(alias16_t *)((char *)(c)->gpr + (offset)))
#define GPR8(c, offset) (*(uint8_t *)((char *)(c)->gpr + (offset)))

/* Real mode in the guest's eyes (either view). */
static inline bool vcpu_real_mode(const struct vcpu *c)
{
	return !(c->cr0 & CR0_PE);
}

/* Virtual-8086 mode or real mode: segments are sel << 4. Virtual view. */
static inline bool vcpu_vm86(const struct vcpu *c)
{
	return (c->eflags & FL_VM) != 0;
}

/* Raise an exception: fills c->exit (EXIT_EXCEPTION, insn from c->ip when has_insn) and jumps to c->unwind. Used by engines (which turn it into an exit)
 * and by emulators (trap/ reflects it). The architectural state must be as before the instruction. */
_Noreturn void vcpu_raise(struct vcpu *c, unsigned vector); /* no error code */
_Noreturn void vcpu_raise_error(struct vcpu *c, unsigned vector, uint32_t error);
_Noreturn void vcpu_raise_pf(struct vcpu *c, const struct mmu_fault *fault);

/* Power-on state as a boot loader leaves nothing: real mode at f000:fff0, P6 reset values (SDM vol. 3A table 9-1). */
void vcpu_reset(struct vcpu *c);

/* Arithmetic flags as EFLAGS bits, and back. cpu/flags.h has the inline single-flag readers. */
uint32_t vcpu_get_eflags(const struct vcpu *c);       /* all bits, present view */
void vcpu_set_eflags(struct vcpu *c, uint32_t value); /* all bits, present view, FL_FIXED forced */

#endif
