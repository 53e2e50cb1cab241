/*
 * emul.h - one handler a privileged or sensitive instruction, in the guest's own terms (virtual view).
 *
 * trap/ calls emul_run() with the decoded instruction after ring_leave(). The handler does what the instruction would have done on the
 * guest's processor, including raising the guest's exceptions (vcpu_raise*), advances rip, and fills in the event's operands.
 * icount and virtual time are trap's business.
 */
#ifndef RINGSIDE_VMM_EMUL_EMUL_H
#define RINGSIDE_VMM_EMUL_EMUL_H

#include "vmm/cpu/vcpu.h"
#include "vmm/event.h"
#include "vmm/vm.h"

struct emul_ctx {
	struct vcpu *c;
	const struct insn *in;
	const struct vm_input *input;
	struct event *ev; /* icount, rip, op, vcpl, rcpl, size are filled; set kind, addr, value, error, blob, flags */
	uint8_t *blob;    /* buffer of EMUL_BLOB_MAX bytes for ev->blob */
	uint64_t device_cycles; /* add host cycles spent inside `input` here when `timed` */
	bool timed;
	bool halt;               /* out: HLT executed */
	uint64_t iterations;     /* out: iterations done by INS/OUTS (for icount), else 1 */
	uint64_t max_iterations; /* in: at most so many (budget), >= 1 */
	bool finished;           /* out: false when rip must stay on a rep instruction that is not done */
};
#define EMUL_BLOB_MAX 4096

/* True when (op, class) has a handler. */
bool emul_has(enum op op);
void emul_run(struct emul_ctx *x);
/* Does emulating it look at no more of the segment registers than bases and limits, leave them, the CPL, paging and the mode alone, ask no device anything but the
 * time, and go on with the next instruction? */
bool emul_is_light(enum op op);

/* Fixed processor model. */
#define CPU_MODEL_NAME "ringside-p6"
void cpuid_model(uint32_t leaf, uint32_t out[4]); /* eax, ebx, ecx, edx; without OS-dependent bits */

#endif
