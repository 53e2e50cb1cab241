/*
 * far.h - control transfers that change CS, in the guest's own terms (virtual view): gates, privilege changes, task switches.
 *
 * All raise guest exceptions by vcpu_raise*() with nothing done that the architecture forbids. next_eip is the return offset. opsize 2 or 4.
 */
#ifndef RINGSIDE_VMM_CPU_FAR_H
#define RINGSIDE_VMM_CPU_FAR_H

#include "vmm/cpu/vcpu.h"

void far_jmp(struct vcpu *c, uint16_t sel, uint32_t off, unsigned opsize, uint32_t next_eip);
void far_call(struct vcpu *c, uint16_t sel, uint32_t off, unsigned opsize, uint32_t next_eip);
void far_ret(struct vcpu *c, unsigned opsize, unsigned release); /* release: immediate of RETF n */
void far_iret(struct vcpu *c, unsigned opsize,
              uint32_t next_eip); /* real mode, V86 (IOPL 3), protected, to V86, nested task */

/* The same in the REAL view, as the processor underneath would: only what needs no privilege change (plain code segments of the filtered table at the same CPL; any in V86).
 * Everything else raises the exception a real processor raises there (#GP, #NP); trap/ then decides. Engines call these. */
void far_jmp_native(struct vcpu *c, uint16_t sel, uint32_t off, unsigned opsize);
void far_call_native(struct vcpu *c, uint16_t sel, uint32_t off, unsigned opsize, uint32_t next_eip);
void far_ret_native(struct vcpu *c, unsigned opsize, unsigned release);
void far_iret_native(struct vcpu *c, unsigned opsize);

/* Deliver an exception or interrupt through the guest's IDT or IVT (virtual view). */
enum intr_type {
	INTR_EXTERNAL,
	INTR_EXCEPTION,
	INTR_SOFT /* INT n, INT3, INTO: DPL checked */,
	INTR_PRIV_SOFT /* INT1 */
};
struct intr {
	uint8_t vector;
	enum intr_type type;
	bool has_error;
	uint32_t error;
	uint32_t next_eip; /* return address: faulting instruction for faults, the next for traps, software and external interrupts */
};
/* One attempt: may raise a further exception (vcpu_raise*, with the EXT bit set as SDM vol. 3A 6.13 says). trap/ turns that into double and triple faults. */
void intr_deliver(struct vcpu *c, const struct intr *in);

/* Hardware task switch (SDM vol. 3A 7.3). */
enum task_source { TASK_JMP, TASK_CALL, TASK_INTR, TASK_IRET };
void task_switch(struct vcpu *c, uint16_t tss_sel, enum task_source source, uint32_t next_eip, bool has_error,
                 uint32_t error);

/* Stack pointer for inner ring `cpl` from the current TSS; raises #TS. */
void tss_stack(struct vcpu *c, unsigned cpl, uint16_t *ss, uint32_t *esp);
/* I/O permission bitmap: may this port range be accessed by the guest at its CPL/IOPL? (virtual view; may raise #PF) */
bool io_permitted(struct vcpu *c, uint16_t port, unsigned size);

#endif
