/*
 * msr.c - RDMSR, WRMSR, RDTSC, RDPMC. Which registers exist is cpu/msr.c's business; time is the VM input's.
 */
#include "vmm/emul/handlers.h"

#include "vmm/cpu/msr.h"

/* Not a device's time: to read the clock twice for it would take longer than it does. */
static uint64_t input_tsc(const struct emul_ctx *x)
{
	return x->input->tsc(x->input->self);
}

static void set_edx_eax(struct vcpu *c, uint64_t value)
{
	c->gpr[R_AX] = (uint32_t)value;
	c->gpr[R_DX] = (uint32_t)(value >> 32);
}

void emul_rdmsr(struct emul_ctx *x)
{
	struct vcpu *c = x->c;
	uint32_t number = (uint32_t)c->gpr[R_CX];
	uint64_t value;

	emul_require_cpl0(c);
	if (number == MSR_TSC)
		value = input_tsc(x) + c->tsc_offset;
	else if (!msr_read(c, number, &value))
		vcpu_raise_error(c, VEC_GP, 0);
	set_edx_eax(c, value);
	x->ev->addr = number;
	x->ev->value = value;
	emul_advance(x);
}

/* On this model only the low half of the TSC can be written; the high half becomes 0 (SDM vol. 3B 17.17.3). */
void emul_wrmsr(struct emul_ctx *x)
{
	struct vcpu *c = x->c;
	uint32_t number = (uint32_t)c->gpr[R_CX];
	uint64_t value = c->gpr[R_DX] << 32 | (uint32_t)c->gpr[R_AX];

	emul_require_cpl0(c);
	if (number == MSR_TSC)
		c->tsc_offset = (uint32_t)value - input_tsc(x);
	else if (!msr_write(c, number, value))
		vcpu_raise_error(c, VEC_GP, 0);
	x->ev->addr = number;
	x->ev->value = value;
	emul_advance(x);
}

void emul_rdtsc(struct emul_ctx *x)
{
	struct vcpu *c = x->c;
	uint64_t value;

	if ((c->cr4 & CR4_TSD) && c->cpl != 0)
		vcpu_raise_error(c, VEC_GP, 0);
	value = input_tsc(x) + c->tsc_offset;
	set_edx_eax(c, value);
	x->ev->value = value;
	emul_advance(x);
}

/* The model has no performance counters: every counter number is one too high. */
void emul_rdpmc(struct emul_ctx *x)
{
	vcpu_raise_error(x->c, VEC_GP, 0);
}
