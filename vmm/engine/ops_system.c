/*
 * ops_system.c - what deprivileging is about: privileged, sensitive, segment and software-interrupt instructions in
 * the real view.
 *
 *   privileged       the real CPL, IOPL and TSD say no: a real #GP(0), always. trap/ emulates.
 *   sensitive        caught (EXIT_SENSITIVE, nothing done) when the mode key says so; otherwise they run here as the
 *                    bare processor would run them under the VMM's tables, and when the guest is told or tells a lie
 *                    under policy `leak`, hooks.leak hears of it
 *   segment loads    run, through the filtered descriptors
 *   INT n and kin    EXIT_SOFTINT: the interrupt table is the VMM's
 *
 * Never looks at what the guest believes but to find out whether a lie was told. Bound by interp_bind_int().
 */
#include "vmm/cpu/far.h"
#include "vmm/cpu/segment.h"
#include "vmm/emul/emul.h"
#include "vmm/engine/ops.h"
#include "vmm/ring/ring.h"

/* What SGDT, SIDT, SLDT and STR show of the VMM: its tables live above everything a guest maps, its GDT is full, its
 * IDT has 256 gates, its LDTR is null and its TSS is the first descriptor. */
#define VMM_GDT_BASE 0xffc00000u
#define VMM_GDT_LIMIT 0xffffu
#define VMM_IDT_BASE 0xffc10000u
#define VMM_IDT_LIMIT 0x07ffu
#define VMM_LDTR 0x0000u
#define VMM_TR 0x0008u

#define DESC_ATTR_LOW_SHIFT 8 /* segment.attr bits 0..7 in the descriptor's high half */
#define DESC_ATTR_MASK 0x00f0ff00u

_Noreturn void interp_exit(struct vcpu *c, const struct insn *ip, enum exit_reason reason)
{
	c->ip = ip;
	c->exit = (struct vm_exit){ .reason = reason, .has_insn = true, .insn = *ip };
	meter_exit(&c->meter);
	longjmp(*c->unwind, 1);
}

/* ---- privileged: the checks of a processor at the real CPL ---- */

static unsigned iopl(const struct vcpu *c)
{
	return (c->eflags & FL_IOPL) >> FL_IOPL_SHIFT;
}

/* HLT, LGDT, MOV CR, ...; RDTSC and RDPMC because the real CR4 has TSD set and PCE clear. */
INSN(needs_cpl0)
{
	BEGIN;
	if (c->cpl != 0)
		vcpu_raise_error(c, VEC_GP, 0);
	BUG_ON(true);
}

/* The real IA32_SYSENTER_CS is 0. */
INSN(sysenter)
{
	BEGIN;
	vcpu_raise_error(c, VEC_GP, 0);
}

/* CLI, STI, and port accesses: the VMM's TSS has no I/O bitmap. */
INSN(needs_iopl)
{
	BEGIN;
	if (c->cpl > iopl(c))
		vcpu_raise_error(c, VEC_GP, 0);
	BUG_ON(true);
}

/* ---- software interrupts ---- */

INSN(int_n)
{
	BEGIN;
	if ((c->eflags & FL_VM) && iopl(c) < 3)
		vcpu_raise_error(c, VEC_GP, 0);
	interp_exit(c, ip, EXIT_SOFTINT);
}

INSN(int3_int1)
{
	interp_exit(c, ip, EXIT_SOFTINT);
}

INSN(into)
{
	if (flag_of(c))
		interp_exit(c, ip, EXIT_SOFTINT);
	END(NEXT_RIP(c, ip));
}

/* ---- sensitive, caught ---- */

INSN(caught)
{
	interp_exit(c, ip, EXIT_SENSITIVE);
}

/* ---- sensitive, bare ---- */

static void lied(struct vcpu *c, const struct insn *ip)
{
	if (c->leak_policy && c->hooks.leak)
		c->hooks.leak(c->hooks.self, ip);
}

/* By an instruction that went elsewhere: told where it is. from: c->rip before. */
static void lied_at(struct vcpu *c, const struct insn *ip, uint64_t from)
{
	uint64_t to = c->rip;

	c->rip = from;
	lied(c, ip);
	c->rip = to;
}

/* SGDT and SIDT store the whole base whatever the operand size, as all 32-bit processors do. */
static void store_table(struct vcpu *c, const struct insn *ip, uint32_t base, uint16_t limit,
                        const struct table_reg *guest)
{
	uint8_t image[6];

	BEGIN;
	memcpy(image, &limit, 2);
	memcpy(image + 2, &base, 4);
	mem_write_bytes(c, ip->seg, insn_ea(c, ip), image, sizeof(image));
	if (guest->base != base || guest->limit != limit)
		lied(c, ip);
	END(NEXT_RIP(c, ip));
}

INSN(sgdt)
{
	store_table(c, ip, VMM_GDT_BASE, VMM_GDT_LIMIT, &c->gdtr);
}

INSN(sidt)
{
	store_table(c, ip, VMM_IDT_BASE, VMM_IDT_LIMIT, &c->idtr);
}

/* A selector or machine status word to a register (by operand size) or to 16 bits of memory. */
static void store_word(struct vcpu *c, const struct insn *ip, uint32_t v)
{
	BEGIN;
	if (ip->flags & IF_MEM)
		mem_write16(c, ip->seg, insn_ea(c, ip), (uint16_t)v);
	else if (ip->opsize == 4)
		GPR32(c, ip->rm) = v;
	else
		GPR16(c, ip->rm) = (uint16_t)v;
}

INSN(sldt)
{
	store_word(c, ip, VMM_LDTR);
	if (c->ldtr.sel != VMM_LDTR)
		lied(c, ip);
	END(NEXT_RIP(c, ip));
}

INSN(str)
{
	store_word(c, ip, VMM_TR);
	if (c->tr.sel != VMM_TR)
		lied(c, ip);
	END(NEXT_RIP(c, ip));
}

/* The real CR0 has PE set always; otherwise the VMM lends the guest's bits. A 32-bit register gets all of it. */
INSN(smsw)
{
	store_word(c, ip, c->cr0 | CR0_PE);
	if (!(c->cr0 & CR0_PE))
		lied(c, ip);
	END(NEXT_RIP(c, ip));
}

/* Never a lie: the processor underneath is the model. */
INSN(cpuid)
{
	uint32_t out[4];

	cpuid_model(GPR32(c, 8 * R_AX), out);
	GPR32(c, 8 * R_AX) = out[0];
	GPR32(c, 8 * R_BX) = out[1];
	GPR32(c, 8 * R_CX) = out[2];
	GPR32(c, 8 * R_DX) = out[3];
	END(NEXT_RIP(c, ip));
}

/* ---- LAR, LSL, VERR, VERW ---- */

/* Types of system descriptors that LAR and LSL accept, a bit each (SDM vol. 2, LAR table 3-53 and LSL table 3-54). */
#define TYPES_LAR 0x1a3eu /* TSS 1 3 9 11, LDT 2, call gate 4 12, task gate 5 */
#define TYPES_LSL 0x0a0eu /* TSS 1 3 9 11, LDT 2 */

/* May code at `cpl` see a segment through `sel`? Conforming code: always. */
static bool visible(uint16_t attr, uint16_t sel, unsigned cpl)
{
	unsigned dpl = (attr & SEG_DPL) >> SEG_DPL_SHIFT;
	bool conforming = (attr & (SEG_S | SEG_CODE | SEG_EXPAND)) == (SEG_S | SEG_CODE | SEG_EXPAND);

	return conforming || (cpl <= dpl && (sel & 3u) <= dpl);
}

static bool judge(unsigned op, uint16_t attr, uint16_t sel, unsigned cpl)
{
	if (!visible(attr, sel, cpl))
		return false;
	switch (op) {
	case OP_LAR: return (attr & SEG_S) || (TYPES_LAR >> (attr & SEG_TYPE)) & 1;
	case OP_LSL: return (attr & SEG_S) || (TYPES_LSL >> (attr & SEG_TYPE)) & 1;
	case OP_VERR: /* data, or readable code */
		return (attr & SEG_S) && (!(attr & SEG_CODE) || (attr & SEG_WRITABLE));
	default: /* VERW: writable data */ return (attr & SEG_S) && !(attr & SEG_CODE) && (attr & SEG_WRITABLE);
	}
}

static uint16_t selector_operand(struct vcpu *c, const struct insn *ip)
{
	if (ip->flags & IF_MEM)
		return mem_read16(c, ip->seg, insn_ea(c, ip));
	return GPR16(c, ip->op == OP_LAR || ip->op == OP_LSL ? ip->reg : ip->rm);
}

/* The descriptor's high half as the real table shows it. */
static uint32_t shown_high(const struct descriptor *d, uint16_t attr)
{
	return (d->hi & ~DESC_ATTR_MASK) | (uint32_t)(attr & 0xff) << DESC_ATTR_LOW_SHIFT |
	       (uint32_t)(attr & 0xf000) << DESC_ATTR_LOW_SHIFT;
}

INSN(query)
{
	bool wide = ip->opsize == 4, ok, truth;
	uint16_t sel, shown = 0;
	struct descriptor d;
	unsigned dst;
	uint32_t v;

	BEGIN;
	dst = ip->flags & IF_MEM ? ip->reg : ip->rm;
	sel = selector_operand(c, ip);
	ok = (sel & ~3) && descriptor_read(c, sel, &d);
	truth = ok && judge(ip->op, d.attr, sel, c->virt.cpl);
	if (ok) {
		shown = ring_filter_attr(c, d.attr);
		ok = judge(ip->op, shown, sel, c->cpl);
	}
	if (ok && (ip->op == OP_LAR || ip->op == OP_LSL)) {
		v = ip->op == OP_LSL ? d.limit : shown_high(&d, shown) & (wide ? 0x00ffff00 : 0xff00);
		if (wide)
			GPR32(c, dst) = v;
		else
			GPR16(c, dst) = (uint16_t)v;
	}
	flags_set_arith(c, (flags_arith(c) & ~FL_ZF) | (ok ? FL_ZF : 0));
	if (ok != truth || (ok && ip->op == OP_LAR && shown != d.attr))
		lied(c, ip);
	END(NEXT_RIP(c, ip));
}

/* ---- PUSHF, POPF, IRET ---- */

INSN(pushf)
{
	uint32_t sp = stack_pointer(c) - ip->opsize;

	BEGIN;
	if ((c->eflags & FL_VM) && iopl(c) < 3)
		vcpu_raise_error(c, VEC_GP, 0);
	stack_write(c, sp, ip->opsize, vcpu_get_eflags(c) & ~(FL_VM | FL_RF));
	set_stack_pointer(c, sp);
	if ((c->eflags ^ c->virt.eflags) & (FL_IF | FL_IOPL))
		lied(c, ip);
	END(NEXT_RIP(c, ip));
}

/* What the guest's own processor would have let it change of IF and IOPL. */
static uint32_t virtually_writable(const struct vcpu *c)
{
	unsigned viopl = (c->virt.eflags & FL_IOPL) >> FL_IOPL_SHIFT;

	return (c->virt.cpl == 0 ? FL_IOPL : 0) | (c->virt.cpl <= viopl ? FL_IF : 0);
}

INSN(popf)
{
	uint32_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT, sp = stack_pointer(c), v;

	BEGIN;
	if ((c->eflags & FL_VM) && iopl(c) < 3)
		vcpu_raise_error(c, VEC_GP, 0);
	if (ip->opsize == 4)
		mask |= FL_AC | FL_ID;
	if (c->cpl <= iopl(c))
		mask |= FL_IF;
	v = stack_read(c, sp, ip->opsize);
	set_stack_pointer(c, sp + ip->opsize);
	vcpu_set_eflags(c, (vcpu_get_eflags(c) & ~(mask | FL_RF)) | (v & mask));
	if ((v ^ c->virt.eflags) & virtually_writable(c))
		lied(c, ip);
	END(NEXT_RIP(c, ip));
}

INSN(iret)
{
	uint64_t from = c->rip;

	BEGIN;
	if ((c->eflags & FL_VM) && iopl(c) < 3)
		vcpu_raise_error(c, VEC_GP, 0);
	far_iret_native(c, ip->opsize);
	if (virtually_writable(c) || c->virt.cpl != c->cpl)
		lied_at(c, ip, from);
}

/* ---- segment registers: CS and SS show their real RPL ---- */

static void lied_about(struct vcpu *c, const struct insn *ip, unsigned seg)
{
	if ((seg == SEG_CS || seg == SEG_SS) && c->seg[seg].sel != c->seg[seg].guest_sel)
		lied(c, ip);
}

INSN(mov_r_sreg)
{
	store_word(c, ip, c->seg[ip->reg].sel);
	lied_about(c, ip, ip->reg);
	NEXT;
}

INSN(push_sreg)
{
	uint32_t sp = stack_pointer(c) - ip->opsize;

	BEGIN;
	stack_write(c, sp, ip->opsize, c->seg[ip->reg].sel);
	set_stack_pointer(c, sp);
	lied_about(c, ip, ip->reg);
	NEXT;
}

INSN(mov_sreg)
{
	BEGIN;
	segment_load(c, ip->reg, ip->flags & IF_MEM ? mem_read16(c, ip->seg, insn_ea(c, ip)) : GPR16(c, ip->rm));
	NEXT;
}

INSN(pop_sreg)
{
	uint32_t mask = stack_mask(c), sp = stack_pointer(c); /* of the old SS */

	BEGIN;
	segment_load(c, ip->reg, (uint16_t)stack_read(c, sp, ip->opsize));
	GPR32(c, 8 * R_SP) = (GPR32(c, 8 * R_SP) & ~mask) | ((sp + ip->opsize) & mask);
	NEXT;
}

/* No interrupt or debug trap between a load of SS and the instruction after it (SDM vol. 3A 6.8.3); LSS has no such
 * shadow. */
INSN(mov_ss)
{
	BEGIN;
	segment_load(c, SEG_SS, ip->flags & IF_MEM ? mem_read16(c, ip->seg, insn_ea(c, ip)) : GPR16(c, ip->rm));
	c->inhibit_icount = present_icount(c, ip) + 1;
	END(NEXT_RIP(c, ip));
}

INSN(pop_ss)
{
	uint32_t mask = stack_mask(c), sp = stack_pointer(c);

	BEGIN;
	segment_load(c, SEG_SS, (uint16_t)stack_read(c, sp, ip->opsize));
	GPR32(c, 8 * R_SP) = (GPR32(c, 8 * R_SP) & ~mask) | ((sp + ip->opsize) & mask);
	c->inhibit_icount = present_icount(c, ip) + 1;
	END(NEXT_RIP(c, ip));
}

/* LES, LDS, LSS, LFS, LGS: offset, then selector, in memory. */
static void load_far_pointer(struct vcpu *c, const struct insn *ip, unsigned seg)
{
	uint8_t image[6] = { 0 };
	uint32_t off = 0;

	BEGIN;
	mem_read_bytes(c, ip->seg, insn_ea(c, ip), image, ip->opsize + 2u);
	memcpy(&off, image, ip->opsize);
	segment_load(c, seg, ld16(image + ip->opsize));
	if (ip->opsize == 4)
		GPR32(c, ip->reg) = off;
	else
		GPR16(c, ip->reg) = (uint16_t)off;
}

#define LOAD_FAR(name, seg)                                                                                            \
	INSN(name)                                                                                                     \
	{                                                                                                              \
		load_far_pointer(c, ip, seg);                                                                          \
		NEXT;                                                                                                  \
	}
LOAD_FAR(les, SEG_ES)
LOAD_FAR(lds, SEG_DS)
LOAD_FAR(lfs, SEG_FS)
LOAD_FAR(lgs, SEG_GS)
INSN(lss)
{
	load_far_pointer(c, ip, SEG_SS);
	END(NEXT_RIP(c, ip));
}

/* ---- far transfers; far_*_native() set c->rip ---- */

struct far_pointer {
	uint16_t sel;
	uint32_t off;
};

static struct far_pointer far_operand(struct vcpu *c, const struct insn *ip)
{
	struct far_pointer p = { .sel = ip->imm2, .off = ip->imm };
	uint8_t image[6];

	if (ip->flags & IF_MEM) {
		mem_read_bytes(c, ip->seg, insn_ea(c, ip), image, ip->opsize + 2u);
		p.off = ip->opsize == 4 ? ld32(image) : ld16(image);
		p.sel = ld16(image + ip->opsize);
	}
	return p;
}

INSN(jmp_far)
{
	struct far_pointer p;

	BEGIN;
	p = far_operand(c, ip);
	far_jmp_native(c, p.sel, p.off, ip->opsize);
}

INSN(call_far)
{
	bool lie = c->seg[SEG_CS].sel != c->seg[SEG_CS].guest_sel;
	uint64_t from = c->rip;
	struct far_pointer p;

	BEGIN;
	p = far_operand(c, ip);
	far_call_native(c, p.sel, p.off, ip->opsize, NEXT_RIP(c, ip));
	if (lie)
		lied_at(c, ip, from);
}

INSN(ret_far)
{
	uint64_t from = c->rip;

	BEGIN;
	far_ret_native(c, ip->opsize, ip->imm);
	if (c->virt.cpl != c->cpl && !(c->eflags & FL_VM))
		lied_at(c, ip, from);
}

/* ---- binding ---- */

bool interp_is_emulated(const struct insn *in)
{
	return in->fn == caught || in->fn == needs_cpl0 || in->fn == needs_iopl || in->fn == sysenter;
}

static insn_fn *const bare[OP_FPU_BASE] = {
	[OP_SGDT] = sgdt,
	[OP_SIDT] = sidt,
	[OP_SLDT] = sldt,
	[OP_STR] = str,
	[OP_SMSW] = smsw,
	[OP_CPUID] = cpuid,
	[OP_LAR] = query,
	[OP_LSL] = query,
	[OP_VERR] = query,
	[OP_VERW] = query,
	[OP_PUSHF] = pushf,
	[OP_POPF] = popf,
	[OP_IRET] = iret,
	[OP_MOV_R_SREG] = mov_r_sreg,
	[OP_PUSH_SREG] = push_sreg,
	[OP_CALL_FAR] = call_far,
	[OP_JMP_FAR] = jmp_far,
	[OP_RET_FAR] = ret_far,
	[OP_MOV_SREG] = mov_sreg,
	[OP_POP_SREG] = pop_sreg,
	[OP_LES] = les,
	[OP_LDS] = lds,
	[OP_LSS] = lss,
	[OP_LFS] = lfs,
	[OP_LGS] = lgs,
	[OP_INT] = int_n,
	[OP_INT3] = int3_int1,
	[OP_INT1] = int3_int1,
	[OP_INTO] = into,
};

/*
 * In V86 PUSHF, POPF and IRET fault by themselves and selectors have no RPL, so only what shows tables and CR0 is
 * caught there. DS, ES, FS, GS keep the RPL the guest gave them (ring.c), so reading them is harmless at any CPL.
 */
static bool is_caught(const struct insn *in, enum op_class class, unsigned mode)
{
	switch (class) {
	case CLASS_SENS_ANY: return mode & MODE_CATCH_ANY;
	case CLASS_SENS_FLAGS: return (mode & MODE_CATCH_FLAGS) && !(mode & MODE_VM);
	case CLASS_SENS_CPL0:
		if ((in->op == OP_MOV_R_SREG || in->op == OP_PUSH_SREG) && in->reg != SEG_CS && in->reg != SEG_SS)
			return false;
		return (mode & MODE_CATCH_CPL0) && !(mode & MODE_VM);
	default: return false;
	}
}

insn_fn *bind_system(const struct insn *in, unsigned mode)
{
	enum op_class class = op_class(in->op);

	switch (class) {
	case CLASS_NONE: return NULL;
	case CLASS_CPL0:
	case CLASS_TSD: return needs_cpl0;
	case CLASS_SYSENTER: return sysenter;
	case CLASS_IOPL:
	case CLASS_IO: return needs_iopl;
	case CLASS_SEG:
		if (in->reg == SEG_SS && in->op == OP_MOV_SREG)
			return mov_ss;
		if (in->reg == SEG_SS && in->op == OP_POP_SREG)
			return pop_ss;
		return bare[in->op];
	default: return is_caught(in, class, mode) ? caught : bare[in->op];
	}
}
