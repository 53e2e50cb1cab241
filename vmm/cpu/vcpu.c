/*
 * vcpu.c - raising exceptions, reset, EFLAGS. See vcpu.h.
 *
 * vcpu_raise*() only says what happened and unwinds: it never changes architectural state. CR2 and the guest's stack
 * are delivery's business (trap/).
 */
#include "vmm/cpu/vcpu.h"

#include <string.h>

#include "vmm/cpu/flags.h"
#include "vmm/cpu/mem.h"
#include "vmm/cpu/segment.h"
#include "vmm/cpu/watch.h"

static _Noreturn void raise(struct vcpu *c, unsigned vector, bool has_error, uint32_t error, uint64_t cr2)
{
	struct vm_exit *x = &c->exit;

	BUG_ON(!c->unwind || vector > 31);
	c->db_pending = 0; /* an instruction that faults hits no data breakpoint */
	watch_forget(c);
	x->reason = EXIT_EXCEPTION;
	x->vector = (uint8_t)vector;
	x->has_error = has_error;
	x->error = error;
	x->trap = false;
	x->cr2 = cr2;
	x->has_insn = c->real_view && c->ip;
	if (x->has_insn)
		x->insn = *c->ip;
	meter_exit(&c->meter);
	longjmp(*c->unwind, 1);
}

void vcpu_raise(struct vcpu *c, unsigned vector)
{
	raise(c, vector, false, 0, 0);
}

void vcpu_raise_error(struct vcpu *c, unsigned vector, uint32_t error)
{
	raise(c, vector, true, error, 0);
}

void vcpu_raise_pf(struct vcpu *c, const struct mmu_fault *fault)
{
	raise(c, VEC_PF, true, fault->error, fault->cr2);
}

/* After RESET, SDM vol. 3A table 9-1; the FPU as FNINIT leaves it. */
#define RESET_CR0 (CR0_CD | CR0_NW | CR0_ET)
#define RESET_CS 0xf000
#define RESET_CS_BASE 0xffff0000u
#define RESET_IP 0xfff0
#define RESET_DR6 0xffff0ff0u
#define RESET_DR7 0x00000400u
#define RESET_LIMIT 0xffffu
#define RESET_DATA (SEG_P | SEG_S | SEG_WRITABLE | SEG_ACCESSED) /* CS too: real mode writes through it */
#define RESET_LDT (SEG_P | 0x2)
#define RESET_TSS (SEG_P | 0xb)
#define FX_FCW 0 /* FXSAVE offsets, SDM vol. 1 table 10-2 */
#define FX_MXCSR 24
#define FCW_INIT 0x037f
#define MXCSR_INIT 0x1f80

static void reset_fpu(struct fpu_state *f)
{
	uint16_t fcw = FCW_INIT;
	uint32_t mxcsr = MXCSR_INIT;

	memset(f, 0, sizeof(*f)); /* abridged tag word 0: all empty */
	memcpy(f->fx + FX_FCW, &fcw, sizeof(fcw));
	memcpy(f->fx + FX_MXCSR, &mxcsr, sizeof(mxcsr));
}

static void reset_segments(struct vcpu *c)
{
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_set(&c->seg[i], 0, 0, RESET_LIMIT, RESET_DATA, RESET_DATA);
	segment_set(&c->seg[SEG_CS], RESET_CS, RESET_CS_BASE, RESET_LIMIT, RESET_DATA, RESET_DATA);
	segment_set(&c->ldtr, 0, 0, RESET_LIMIT, RESET_LDT, RESET_LDT);
	segment_set(&c->tr, 0, 0, RESET_LIMIT, RESET_TSS, RESET_TSS);
	c->gdtr = c->idtr = (struct table_reg){ .base = 0, .limit = RESET_LIMIT };
}

static void reset_paging(struct vcpu *c)
{
	if (!c->mmu.store) /* not initialised: a test's processor without memory */
		return;
	mmu_set_paging(&c->mmu, c->cr0, c->cr3, c->cr4, false);
	mmu_flush_all(&c->mmu);
	mmu_set_context(&c->mmu, MMU_SUPERVISOR);
	vcpu_update_watch(c);
}

void vcpu_reset(struct vcpu *c)
{
	BUG_ON(c->real_view);
	memset(c->gpr, 0, sizeof(c->gpr));
	c->rip = RESET_IP;
	c->cpl = 0;
	c->cr0 = RESET_CR0;
	c->cr2 = c->cr3 = c->cr4 = 0;
	memset(c->dr, 0, sizeof(c->dr));
	c->dr[6] = RESET_DR6;
	c->dr[7] = RESET_DR7;
	c->msr_sysenter_cs = c->msr_sysenter_esp = c->msr_sysenter_eip = 0;
	c->tsc_offset = 0;
	c->inhibit_icount = UINT64_MAX;
	c->db_pending = 0;
	reset_segments(c);
	reset_fpu(&c->fpu);
	vcpu_set_eflags(c, FL_FIXED);
	reset_paging(c);
}

uint32_t vcpu_get_eflags(const struct vcpu *c)
{
	return (c->eflags & ~FL_ARITH) | FL_FIXED | flags_arith(c);
}

void vcpu_set_eflags(struct vcpu *c, uint32_t value)
{
	c->eflags = (value & ~FL_ARITH) | FL_FIXED;
	flags_set_arith(c, value);
	vcpu_update_align(c);
}
