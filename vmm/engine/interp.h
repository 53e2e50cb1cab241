/*
 * interp.h - what the interpreter's handler files share.
 *
 * A trace is a run of decoded instructions from one page, in memory order, ended by one that may go elsewhere (IF_ENDS) or by a pseudo
 * instruction. Each instruction's handler does its work and tail-calls the next one's:
 *
 *     INSN(op_inc_r32) { ... NEXT; }
 *
 * Rules a handler keeps
 *  1. c->rip and c->icount are those of the trace's start while it runs; the present instruction is c->ip (set before anything that can
 *     fault or look: BEGIN does it), its address is c->rip + ip->off.
 *  2. All that can fault comes before anything is changed: vcpu_raise*() and the mem_* functions do not return.
 *  3. Memory goes through cpu/mem.h only.
 *  4. A handler with IF_ENDS leaves by END(target): sets c->rip to the next instruction and returns. c->icount is advanced by the run loop, by the
 *     number of instructions in the trace; rep strings add their iterations less one themselves (see ops_string.c).
 *  5. Registers written 32 bits wide are zero-extended only in that the upper half is never read in 32-bit guests; it stays 0.
 */
#ifndef RINGSIDE_VMM_ENGINE_INTERP_H
#define RINGSIDE_VMM_ENGINE_INTERP_H

#include "vmm/cpu/flags.h"
#include "vmm/cpu/mem.h"
#include "vmm/engine/engine.h"

#define INSN(name)                                                                                                     \
	static void name(struct vcpu *c, const struct insn *ip);                                                       \
	static void name(struct vcpu *c, const struct insn *ip)
#define BEGIN (c->ip = ip)
#define NEXT return ip[1].fn(c, ip + 1)
#define NEXT_RIP(c, ip) ((uint32_t)((c)->rip + (ip)->off + (ip)->len))
#define END(target)                                                                                                    \
	do {                                                                                                           \
		c->rip = (target);                                                                                     \
		return;                                                                                                \
	} while (0)

/* Choose the handler for a decoded instruction in a mode (MODE_* key); NULL when it is not this file's. */
insn_fn *interp_bind_int(const struct insn *in, unsigned mode); /* ops_*.c: integer, control flow, strings, system */
insn_fn *interp_bind_fpu(const struct insn *in, unsigned mode); /* fpu_*.c: x87, MMX, SSE, SSE2 */
/* Save live x87 state into c->fpu.fx (engine exit). Cheap when nothing is live. */
void fpu_sync(struct vcpu *c);

#endif
