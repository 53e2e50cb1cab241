/*
 * table.c - the audit table: every instruction that ring 1 does not run as the guest's ring 0 would, and why.
 *
 * Popek and Goldberg (1974) call an instruction sensitive when it shows or changes the machine's real state, and a machine virtualizable when all sensitive
 * instructions are privileged. On x86 they are not: the second part of this table is the hole. The classes are those of decode/insn.h;
 * decode/ops.def assigns them, this says why (SDM vol. 2, each instruction's "Protected Mode Exceptions").
 */
#include "vmm/ring/ring.h"

const struct ring_rule ring_rules[] = {
	/* fault by themselves */
	{ OP_HLT, "stops the processor; #GP(0) unless CPL 0" },
	{ OP_LGDT, "loads GDTR, which is the VMM's; #GP(0) unless CPL 0" },
	{ OP_LIDT, "loads IDTR, which is the VMM's; #GP(0) unless CPL 0" },
	{ OP_LLDT, "loads LDTR; #GP(0) unless CPL 0" },
	{ OP_LTR, "loads TR; #GP(0) unless CPL 0" },
	{ OP_LMSW, "writes CR0; #GP(0) unless CPL 0" },
	{ OP_CLTS, "writes CR0.TS; #GP(0) unless CPL 0" },
	{ OP_MOV_CR, "writes a control register; #GP(0) unless CPL 0" },
	{ OP_MOV_R_CR, "reads a control register; #GP(0) unless CPL 0" },
	{ OP_MOV_DR, "writes a debug register; #GP(0) unless CPL 0" },
	{ OP_MOV_R_DR, "reads a debug register; #GP(0) unless CPL 0" },
	{ OP_INVD, "drops caches; #GP(0) unless CPL 0" },
	{ OP_WBINVD, "writes back caches; #GP(0) unless CPL 0" },
	{ OP_INVLPG, "drops a translation; #GP(0) unless CPL 0" },
	{ OP_RDMSR, "reads a model-specific register; #GP(0) unless CPL 0" },
	{ OP_WRMSR, "writes a model-specific register; #GP(0) unless CPL 0" },
	{ OP_SYSEXIT, "leaves for ring 3; #GP(0) unless CPL 0" },
	{ OP_RDTSC, "shows host time; #GP(0) because the real CR4.TSD is 1" },
	{ OP_RDPMC, "shows host counters; #GP(0) because the real CR4.PCE is 0" },
	{ OP_SYSENTER, "enters ring 0; #GP(0) because the real IA32_SYSENTER_CS is 0" },
	{ OP_CLI, "clears IF; #GP(0) because the real IOPL 0 is below the real CPL" },
	{ OP_STI, "sets IF; #GP(0) because the real IOPL 0 is below the real CPL" },
	{ OP_IN, "reads a device; #GP(0): CPL above IOPL and the VMM's TSS permits no port" },
	{ OP_OUT, "writes a device; #GP(0) as IN" },
	{ OP_INS, "reads a device; #GP(0) as IN" },
	{ OP_OUTS, "writes a device; #GP(0) as IN" },
	/* the hole: do not fault */
	{ OP_SGDT, "shows the VMM's GDTR at any CPL (no UMIP)" },
	{ OP_SIDT, "shows the VMM's IDTR at any CPL" },
	{ OP_SLDT, "shows the VMM's LDTR at any CPL" },
	{ OP_STR, "shows the VMM's TR at any CPL" },
	{ OP_SMSW, "shows the real CR0 at any CPL" },
	{ OP_CPUID, "shows the host's processor at any CPL" },
	{ OP_LAR, "shows the filtered descriptor table at any CPL" },
	{ OP_LSL, "shows the filtered descriptor table at any CPL" },
	{ OP_VERR, "judges by the filtered descriptor table and the real CPL" },
	{ OP_VERW, "judges by the filtered descriptor table and the real CPL" },
	{ OP_PUSHF, "shows the real IF and IOPL" },
	{ OP_POPF, "silently leaves IF and IOPL alone when CPL is above IOPL" },
	{ OP_IRET, "silently leaves IF and IOPL alone; checks RPL against the real CPL" },
	{ OP_MOV_R_SREG, "shows RPL 1 in CS and SS" },
	{ OP_PUSH_SREG, "shows RPL 1 in CS and SS" },
	{ OP_CALL_FAR, "pushes CS with RPL 1; call gates are not present" },
	{ OP_JMP_FAR, "checks against the real CPL; gates and task segments are not present" },
	{ OP_RET_FAR, "checks the popped RPL against the real CPL" },
	/* loads: native when the filtered table says yes, else a fault that is emulated */
	{ OP_MOV_SREG, "SS with RPL 0 is #GP at real CPL 1; others load filtered descriptors" },
	{ OP_POP_SREG, "as MOV to a segment register" },
	{ OP_LES, "as MOV to a segment register" },
	{ OP_LDS, "as MOV to a segment register" },
	{ OP_LSS, "as MOV to SS" },
	{ OP_LFS, "as MOV to a segment register" },
	{ OP_LGS, "as MOV to a segment register" },
	/* arrive at the VMM's interrupt table */
	{ OP_INT, "goes through IDTR, which is the VMM's" },
	{ OP_INT3, "goes through IDTR, which is the VMM's" },
	{ OP_INTO, "goes through IDTR, which is the VMM's" },
	{ OP_INT1, "goes through IDTR, which is the VMM's" },
};
const unsigned ring_rule_count = sizeof(ring_rules) / sizeof(ring_rules[0]);
