/*
 * hardfault.c - see hardfault.h.
 *
 * Not every instruction can fault as itself where this runs. The rules below say for each what happens and why; the kinds are the answer to one question:
 * what would the host's processor and kernel do with it at CPL 3, in 64-bit mode, whatever they are and however they are set up?
 */
#include "vmm/engine/hardfault.h"

#include <asm/prctl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <x86intrin.h>

#include "vmm/bug.h"
#include "vmm/mem/window.h"

#define PLACES_MAX (1u << 19)
#define TRAP_GP 13
#define TRAP_PF 14
#define PF_W 2                      /* SDM vol. 3A 4.7 */
#define ALTERNATE_STACK (64u << 10) /* more than any processor's state takes */

/* ---- rules ---- */

const struct hardfault_rule hardfault_rules[] = {
#define SELF(op, why)                                                                                                  \
	{                                                                                                              \
		OP_##op, HARDFAULT_SELF, why                                                                           \
	}
#define STAND_IN(op, why)                                                                                              \
	{                                                                                                              \
		OP_##op, HARDFAULT_STAND_IN, why                                                                       \
	}
#define CALLOUT(op, why)                                                                                               \
	{                                                                                                              \
		OP_##op, HARDFAULT_CALLOUT, why                                                                        \
	}
	SELF(HLT, "#GP at CPL 3"),
	SELF(LGDT, "#GP at CPL 3, before its operand is read"),
	SELF(LIDT, "#GP at CPL 3, before its operand is read"),
	SELF(LLDT, "#GP at CPL 3"),
	SELF(LTR, "#GP at CPL 3"),
	SELF(LMSW, "#GP at CPL 3"),
	SELF(CLTS, "#GP at CPL 3"),
	SELF(MOV_CR, "#GP at CPL 3"),
	SELF(MOV_R_CR, "#GP at CPL 3"),
	SELF(MOV_DR, "#GP at CPL 3; DR6 and DR7 stand in for DR4 and DR5, which are #UD under the host's CR4.DE"),
	SELF(MOV_R_DR, "#GP at CPL 3; DR6 and DR7 stand in for DR4 and DR5"),
	SELF(INVD, "#GP at CPL 3"),
	SELF(WBINVD, "#GP at CPL 3"),
	SELF(INVLPG, "#GP at CPL 3"),
	SELF(RDMSR, "#GP at CPL 3"),
	SELF(WRMSR, "#GP at CPL 3"),
	STAND_IN(SYSEXIT, "HLT: some processors have no SYSEXIT in 64-bit mode and raise #UD"),
	STAND_IN(RDTSC, "HLT: TSD, if the host set it, would also stop the VMM's own stamps"),
	STAND_IN(RDPMC, "HLT: the host may permit it, CR4.PCE"),
	STAND_IN(SYSENTER, "HLT: SYSENTER would call the host's kernel"),
	SELF(CLI, "#GP at CPL 3, IOPL 0"),
	SELF(STI, "#GP at CPL 3, IOPL 0"),
	SELF(IN, "#GP at CPL 3, IOPL 0: the process has no port"),
	SELF(OUT, "#GP at CPL 3, IOPL 0: the process has no port"),
	STAND_IN(INS, "IN: INS with a count of 0 would not fault, and its memory is the guest's"),
	STAND_IN(OUTS, "OUT: OUTS with a count of 0 would not fault, and its memory is the guest's"),
	CALLOUT(SGDT, "does not fault; under UMIP the host's kernel answers in its own way"),
	CALLOUT(SIDT, "does not fault; under UMIP the host's kernel answers in its own way"),
	CALLOUT(SLDT, "does not fault; under UMIP the host's kernel answers in its own way"),
	CALLOUT(STR, "does not fault; under UMIP the host's kernel answers in its own way"),
	CALLOUT(SMSW, "does not fault; under UMIP the host's kernel answers in its own way"),
	CALLOUT(CPUID, "does not fault; CPUID faulting is not on every host and would stop the VMM's own"),
	CALLOUT(LAR, "does not fault"),
	CALLOUT(LSL, "does not fault"),
	CALLOUT(VERR, "does not fault"),
	CALLOUT(VERW, "does not fault"),
	CALLOUT(PUSHF, "does not fault"),
	CALLOUT(POPF, "does not fault"),
	CALLOUT(IRET, "does not fault by itself"),
	CALLOUT(MOV_R_SREG, "does not fault"),
	CALLOUT(PUSH_SREG, "does not fault; #UD in 64-bit mode for CS, SS, DS, ES"),
	CALLOUT(CALL_FAR, "would go through the host's tables"),
	CALLOUT(JMP_FAR, "would go through the host's tables"),
	CALLOUT(RET_FAR, "would go through the host's tables"),
	CALLOUT(MOV_SREG, "would load from the host's tables"),
	CALLOUT(POP_SREG, "would load from the host's tables"),
	CALLOUT(LES, "would load from the host's tables"),
	CALLOUT(LDS, "would load from the host's tables"),
	CALLOUT(LSS, "would load from the host's tables"),
	CALLOUT(LFS, "would load from the host's tables"),
	CALLOUT(LGS, "would load from the host's tables"),
	CALLOUT(INT, "would call the host's kernel, or reach it as another signal"),
	CALLOUT(INT3, "would reach the host's kernel as another signal"),
	CALLOUT(INTO, "#UD in 64-bit mode"),
	CALLOUT(INT1, "would reach the host's kernel as another signal"),
#undef SELF
#undef STAND_IN
#undef CALLOUT
};
const unsigned hardfault_rule_count = sizeof(hardfault_rules) / sizeof(hardfault_rules[0]);

enum extra { EXTRA_NONE, EXTRA_NUMBER /* of the register, in ModRM.reg */, EXTRA_PORT /* byte or not, DX or not */ };

/* What is emitted, by op; registers and memory operands do not matter to a privilege check, so they are RAX and the stack. */
static const struct {
	uint8_t len, extra, bytes[HARDFAULT_CODE_MAX];
} codes[OP_FPU_BASE] = {
	[OP_HLT] = { 1, EXTRA_NONE, { 0xf4 } },
	[OP_LGDT] = { 4, EXTRA_NONE, { 0x0f, 0x01, 0x14, 0x24 } },
	[OP_LIDT] = { 4, EXTRA_NONE, { 0x0f, 0x01, 0x1c, 0x24 } },
	[OP_LLDT] = { 3, EXTRA_NONE, { 0x0f, 0x00, 0xd0 } },
	[OP_LTR] = { 3, EXTRA_NONE, { 0x0f, 0x00, 0xd8 } },
	[OP_LMSW] = { 3, EXTRA_NONE, { 0x0f, 0x01, 0xf0 } },
	[OP_CLTS] = { 2, EXTRA_NONE, { 0x0f, 0x06 } },
	[OP_MOV_CR] = { 3, EXTRA_NUMBER, { 0x0f, 0x22, 0xc0 } },
	[OP_MOV_R_CR] = { 3, EXTRA_NUMBER, { 0x0f, 0x20, 0xc0 } },
	[OP_MOV_DR] = { 3, EXTRA_NUMBER, { 0x0f, 0x23, 0xc0 } },
	[OP_MOV_R_DR] = { 3, EXTRA_NUMBER, { 0x0f, 0x21, 0xc0 } },
	[OP_INVD] = { 2, EXTRA_NONE, { 0x0f, 0x08 } },
	[OP_WBINVD] = { 2, EXTRA_NONE, { 0x0f, 0x09 } },
	[OP_INVLPG] = { 4, EXTRA_NONE, { 0x0f, 0x01, 0x3c, 0x24 } },
	[OP_RDMSR] = { 2, EXTRA_NONE, { 0x0f, 0x32 } },
	[OP_WRMSR] = { 2, EXTRA_NONE, { 0x0f, 0x30 } },
	[OP_SYSEXIT] = { 1, EXTRA_NONE, { 0xf4 } },
	[OP_RDTSC] = { 1, EXTRA_NONE, { 0xf4 } },
	[OP_RDPMC] = { 1, EXTRA_NONE, { 0xf4 } },
	[OP_SYSENTER] = { 1, EXTRA_NONE, { 0xf4 } },
	[OP_CLI] = { 1, EXTRA_NONE, { 0xfa } },
	[OP_STI] = { 1, EXTRA_NONE, { 0xfb } },
	[OP_IN] = { 1, EXTRA_PORT, { 0xe4 } },
	[OP_OUT] = { 1, EXTRA_PORT, { 0xe6 } },
	[OP_INS] = { 1, EXTRA_NONE, { 0xec } },
	[OP_OUTS] = { 1, EXTRA_NONE, { 0xee } },
};

enum { PORT_WIDE = 1, PORT_DX = 8, FIRST_ALIAS = 4, LAST_ALIAS = 5, ALIAS_DISTANCE = 2 };

static unsigned port_code(const struct insn *in, uint8_t *code)
{
	unsigned len = 0, opcode = code[0] + (in->opsize > 1 ? PORT_WIDE : 0) + (in->flags & IF_DX ? PORT_DX : 0);

	if (in->opsize == 2)
		code[len++] = 0x66;
	code[len++] = (uint8_t)opcode;
	if (!(in->flags & IF_DX))
		code[len++] = (uint8_t)in->imm;
	return len;
}

unsigned hardfault_code(const struct insn *in, uint8_t code[HARDFAULT_CODE_MAX])
{
	unsigned number = in->reg;

	if (in->op >= OP_FPU_BASE || !codes[in->op].len)
		return 0;
	memcpy(code, codes[in->op].bytes, HARDFAULT_CODE_MAX);
	switch (codes[in->op].extra) {
	case EXTRA_PORT: return port_code(in, code);
	case EXTRA_NUMBER:
		if ((in->op == OP_MOV_DR || in->op == OP_MOV_R_DR) && number >= FIRST_ALIAS && number <= LAST_ALIAS)
			number += ALIAS_DISTANCE;
		code[2] |= (uint8_t)((number & 7) << 3);
		break;
	default: break;
	}
	return codes[in->op].len;
}

/* ---- the table ---- */

void hardfault_destroy(struct hardfaults *f)
{
	free(f->place);
	memset(f, 0, sizeof(*f));
}

bool hardfault_has_room(const struct hardfaults *f, unsigned n)
{
	return f->count + n <= PLACES_MAX;
}

static uint64_t end_of(const struct hardfault_place *p)
{
	return (uint64_t)p->at + p->len;
}

void hardfault_add(struct hardfaults *f, struct hardfault_place place)
{
	BUG_ON(!hardfault_has_room(f, 1) || (f->count && end_of(&f->place[f->count - 1]) > place.at));
	f->place[f->count++] = place;
}

/* NULL: nothing that may fault is there. */
static const struct hardfault_place *place_of(const struct hardfaults *f, uint64_t rip)
{
	uint32_t low = 0, high = f->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct hardfault_place *p = &f->place[middle];

		if (rip < p->at)
			high = middle;
		else if (rip < end_of(p))
			return p;
		else
			low = middle + 1;
	}
	return NULL;
}

/* Was it such a fault as is expected there? Note what it was. */
static bool expected(struct hardfaults *f, const struct hardfault_place *p, unsigned trap, unsigned error,
                     uint64_t address)
{
	if (!p->access)
		return trap == TRAP_GP;
	f->address = HARDFAULT_NO_ADDRESS;
	f->write = trap == TRAP_PF && (error & PF_W);
	if (trap == TRAP_GP)
		return true;
	if (trap != TRAP_PF || address - ((uintptr_t)f->window - WINDOW_GUARD) >= WINDOW_SIZE + 2 * WINDOW_GUARD)
		return false;
	f->address = address - (uintptr_t)f->window;
	return true;
}

/* ---- the signal: of the process, so this is the one state that no VM owns ---- */

static _Thread_local struct hardfaults *present;
static _Thread_local bool stack_ready;
static struct sigaction before;
static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;

/* Not ours. Returning runs the instruction again, which faults again; a signal that was sent is sent again. */
static void pass_on(int signal_number, siginfo_t *info, void *context)
{
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(signal_number, info, context);
		return;
	}
	if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(signal_number);
		return;
	}
	signal(signal_number, SIG_DFL);
	if (info->si_code <= 0)
		raise(signal_number);
}

static void on_signal(int signal_number, siginfo_t *info, void *context)
{
	uint64_t now = __rdtsc();
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	const struct hardfault_place *place = present ? place_of(present, (uint64_t)regs[REG_RIP]) : NULL;

	if (!place ||
	    !expected(present, place, (unsigned)regs[REG_TRAPNO], (unsigned)regs[REG_ERR], (uint64_t)regs[REG_CR2])) {
		pass_on(signal_number, info, context);
		return;
	}
	present->taken += !place->access;
	present->entered = now;
	regs[REG_RIP] = place->landing;
}

/* Whoever took the signal since the last time comes after us again. */
static void install(void)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	struct sigaction present_one;

	sigemptyset(&action.sa_mask);
	pthread_mutex_lock(&installing);
	BUG_ON(sigaction(SIGSEGV, NULL, &present_one));
	if (!(present_one.sa_flags & SA_SIGINFO) || present_one.sa_sigaction != on_signal) {
		before = present_one;
		BUG_ON(sigaction(SIGSEGV, &action, NULL));
	}
	pthread_mutex_unlock(&installing);
}

/* A thread's alternate stack, unless it has one. */
static void prepare_stack(void)
{
	static _Thread_local uint8_t room[ALTERNATE_STACK];
	stack_t stack = { .ss_sp = room, .ss_size = sizeof(room) }, present_one;

	if (!sigaltstack(NULL, &present_one) && (present_one.ss_flags & SS_DISABLE))
		BUG_ON(sigaltstack(&stack, NULL));
	stack_ready = true;
}

int hardfault_create(struct hardfaults *f)
{
	memset(f, 0, sizeof(*f));
	f->place = malloc(PLACES_MAX * sizeof(*f->place));
	if (!f->place)
		return -ENOMEM;
	install();
	return 0;
}

/* Nothing else in a 64-bit process uses GS. */
static void choose(struct hardfaults *f)
{
	static _Thread_local const uint8_t *gs;

	present = f;
	if (!f || !f->window || f->window == gs)
		return;
	gs = f->window;
	BUG_ON(syscall(SYS_arch_prctl, ARCH_SET_GS, gs));
}

struct hardfaults *hardfault_enter(struct hardfaults *f)
{
	struct hardfaults *outer = present;

	if (f && !stack_ready)
		prepare_stack();
	choose(f);
	return outer;
}

void hardfault_leave(struct hardfaults *outer)
{
	choose(outer);
}
