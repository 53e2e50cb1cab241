/*
 * msr.h - the model-specific registers of the processor model. The TSC (MSR_TSC) is not among them: it needs the VM's input, see emul/msr.c.
 */
#ifndef RINGSIDE_VMM_CPU_MSR_H
#define RINGSIDE_VMM_CPU_MSR_H

#include "vmm/cpu/vcpu.h"

#define MSR_TSC 0x10u

/* False when the register does not exist, or cannot be written, or not to this value: #GP(0). */
bool msr_read(const struct vcpu *c, uint32_t number, uint64_t *value);
bool msr_write(struct vcpu *c, uint32_t number, uint64_t value);

#endif
