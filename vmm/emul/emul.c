/*
 * emul.c - which handler emulates which instruction. See emul.h.
 */
#include "vmm/emul/handlers.h"

#include "vmm/cpu/far_internal.h"

static emul_fn *const table[OP_FPU_BASE] = {
	[OP_PUSHF] = emul_pushf,
	[OP_POPF] = emul_popf,
	[OP_CLI] = emul_cli,
	[OP_STI] = emul_sti,
	[OP_IRET] = emul_iret,
	[OP_IN] = emul_in,
	[OP_OUT] = emul_out,
	[OP_INS] = emul_ins,
	[OP_OUTS] = emul_outs,
	[OP_MOV_CR] = emul_mov_cr,
	[OP_MOV_R_CR] = emul_mov_r_cr,
	[OP_MOV_DR] = emul_mov_dr,
	[OP_MOV_R_DR] = emul_mov_r_dr,
	[OP_CLTS] = emul_clts,
	[OP_LMSW] = emul_lmsw,
	[OP_SMSW] = emul_smsw,
	[OP_LGDT] = emul_lgdt,
	[OP_LIDT] = emul_lidt,
	[OP_LLDT] = emul_lldt,
	[OP_LTR] = emul_ltr,
	[OP_SGDT] = emul_sgdt,
	[OP_SIDT] = emul_sidt,
	[OP_SLDT] = emul_sldt,
	[OP_STR] = emul_str,
	[OP_MOV_SREG] = emul_mov_sreg,
	[OP_MOV_R_SREG] = emul_mov_r_sreg,
	[OP_PUSH_SREG] = emul_push_sreg,
	[OP_POP_SREG] = emul_pop_sreg,
	[OP_LES] = emul_load_pointer,
	[OP_LDS] = emul_load_pointer,
	[OP_LSS] = emul_load_pointer,
	[OP_LFS] = emul_load_pointer,
	[OP_LGS] = emul_load_pointer,
	[OP_CALL_FAR] = emul_call_far,
	[OP_JMP_FAR] = emul_jmp_far,
	[OP_RET_FAR] = emul_ret_far,
	[OP_LAR] = emul_lar,
	[OP_LSL] = emul_lsl,
	[OP_VERR] = emul_verr,
	[OP_VERW] = emul_verw,
	[OP_CPUID] = emul_cpuid,
	[OP_RDMSR] = emul_rdmsr,
	[OP_WRMSR] = emul_wrmsr,
	[OP_RDTSC] = emul_rdtsc,
	[OP_RDPMC] = emul_rdpmc,
	[OP_HLT] = emul_hlt,
	[OP_INVD] = emul_cache,
	[OP_WBINVD] = emul_cache,
	[OP_INVLPG] = emul_invlpg,
	[OP_SYSENTER] = emul_sysenter,
	[OP_SYSEXIT] = emul_sysexit,
};

bool emul_has(enum op op)
{
	return op < OP_FPU_BASE && table[op];
}

bool emul_is_light(enum op op)
{
	switch (op) {
	case OP_CLI:
	case OP_STI:
	case OP_PUSHF:
	case OP_POPF:
	case OP_RDTSC:
	case OP_VERR:
	case OP_VERW:
	case OP_MOV_R_CR: return true;
	default: return false;
	}
}

void emul_run(struct emul_ctx *x)
{
	BUG_ON(x->c->real_view || !emul_has(x->in->op));
	cpu_sync_context(x->c);
	x->halt = false;
	x->iterations = 1;
	x->finished = true;
	table[x->in->op](x);
}
