/*
 * fpu_state.c - x87, MMX and SSE state as a whole: moving it into and out of the host's unit, and the instructions that save, load and
 * reset it. See fpu.h for the invariants.
 *
 * A guest's image is never given to the host as it is: x87_load() builds one in which all exceptions are masked, ES is clear and MXCSR is ours.
 * Nothing read back from the host but registers, tags and status flags is kept.
 */
#include "vmm/engine/fpu.h"

#define HOST_MXCSR 0x1f80u

struct fx_image {
	alignas(16) uint8_t b[FX_SIZE];
};

static inline uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

static inline uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static inline void put16(uint8_t *p, uint32_t v)
{
	memcpy(p, &(uint16_t){ (uint16_t)v }, 2);
}

static inline void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
}

/* ---- the host's unit ---- */

/* FXRSTOR loads XMM registers too: what the image holds there is lost, and so is what the compiler had there. */
static void host_fxrstor(const struct fx_image *image)
{
	__asm__ volatile("fxrstor64 %0"
	                 :
	                 : "m"(*image)
	                 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
	                   "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory");
}

void x87_load(struct vcpu *c)
{
	struct fx_image image = { { 0 } };

	memcpy(image.b + FX_ST, c->fpu.fx + FX_ST, FX_XMM - FX_ST);
	put16(image.b + FX_FCW, FX16(c, FX_FCW) | FCW_MASKS);
	put16(image.b + FX_FSW, FX16(c, FX_FSW) & ~(FSW_ES | FSW_B));
	image.b[FX_FTW] = c->fpu.fx[FX_FTW];
	put32(image.b + FX_MXCSR, HOST_MXCSR);
	host_fxrstor(&image);
	c->fpu.live = true;
}

static void host_fldcw(uint16_t fcw)
{
	__asm__ volatile("fldcw %0" : : "m"(fcw));
}

static uint16_t host_fnstsw(void)
{
	uint16_t fsw;

	__asm__ volatile("fnstsw %0" : "=a"(fsw));
	return fsw;
}

/* Exceptions flagged already stay masked: the host would fault for them at once. They are pending only while CR0.NE = 0. */
void x87_unmask(struct vcpu *c)
{
	host_fldcw((uint16_t)(FX16(c, FX_FCW) | (host_fnstsw() & FSW_EXCEPTIONS)));
}

unsigned x87_remask(struct vcpu *c)
{
	uint16_t masked = FX16(c, FX_FCW) | FCW_MASKS;
	struct fx_image image;
	unsigned raised;

	if (likely(!(host_fnstsw() & FSW_ES))) {
		host_fldcw(masked);
		return 0;
	}
	__asm__ volatile("fxsave64 %0" : "=m"(image));
	raised = get16(image.b + FX_FSW) & ~get16(image.b + FX_FCW) & FSW_EXCEPTIONS;
	put16(image.b + FX_FSW, get16(image.b + FX_FSW) & ~(FSW_ES | FSW_B));
	put16(image.b + FX_FCW, masked);
	host_fxrstor(&image);
	return raised;
}

static unsigned with_summary(const struct vcpu *c, unsigned fsw)
{
	fsw &= ~(FSW_ES | FSW_B);
	return fsw & ~(unsigned)FX16(c, FX_FCW) & FSW_EXCEPTIONS ? fsw | FSW_ES | FSW_B : fsw;
}

unsigned x87_status(struct vcpu *c)
{
	return with_summary(c, c->fpu.live ? host_fnstsw() : FX16(c, FX_FSW));
}

/* The unit is left as the psABI wants to find it. */
void fpu_sync(struct vcpu *c)
{
	struct fx_image image;

	if (!c->fpu.live)
		return;
	__asm__ volatile("fxsave64 %0\n\tfninit" : "=m"(image));
	c->fpu.live = false;
	FX16(c, FX_FSW) = (uint16_t)with_summary(c, get16(image.b + FX_FSW));
	c->fpu.fx[FX_FTW] = image.b[FX_FTW];
	for (unsigned i = 0; i < 8; i++)
		memcpy(c->fpu.fx + FX_ST + 16 * i, image.b + FX_ST + 16 * i, 10);
}

/* ---- the image ---- */

void x87_set_top(struct vcpu *c, unsigned top)
{
	unsigned old = (FX16(c, FX_FSW) & FSW_TOP) >> FSW_TOP_SHIFT;
	uint8_t physical[8][16];

	if (old != top) {
		for (unsigned i = 0; i < 8; i++)
			memcpy(physical[(old + i) & 7], c->fpu.fx + FX_ST + 16 * i, 16);
		for (unsigned i = 0; i < 8; i++)
			memcpy(c->fpu.fx + FX_ST + 16 * i, physical[(top + i) & 7], 16);
	}
	FX16(c, FX_FSW) = (uint16_t)((FX16(c, FX_FSW) & ~FSW_TOP) | top << FSW_TOP_SHIFT);
}

void mmx_switch(struct vcpu *c)
{
	fpu_sync(c);
	x87_set_top(c, 0);
	c->fpu.fx[FX_FTW] = 0xff;
}

static void set_control(struct vcpu *c, unsigned fcw)
{
	FX16(c, FX_FCW) = (uint16_t)((fcw & FCW_WRITABLE) | FCW_FIXED);
	if (c->fpu.live)
		host_fldcw(FX16(c, FX_FCW) | FCW_MASKS);
	else
		FX16(c, FX_FSW) = (uint16_t)with_summary(c, FX16(c, FX_FSW));
}

/* SDM vol. 1 8.1.7: 0 valid, 1 zero, 2 special (NaN, infinity, denormal, unnormal). */
static unsigned tag_of(const uint8_t *st)
{
	unsigned exponent = get16(st + 8) & 0x7fff;
	bool integer_bit = st[7] & 0x80;

	if (exponent == 0 && get32(st) == 0 && get32(st + 4) == 0)
		return 1;
	return exponent == 0 || exponent == 0x7fff || !integer_bit ? 2 : 0;
}

static unsigned full_tags(const struct vcpu *c)
{
	unsigned top = (FX16(c, FX_FSW) & FSW_TOP) >> FSW_TOP_SHIFT, tags = 0;

	for (unsigned r = 0; r < 8; r++) {
		bool valid = c->fpu.fx[FX_FTW] >> r & 1;

		tags |= (valid ? tag_of(c->fpu.fx + FX_ST + 16 * ((r - top) & 7)) : 3u) << (2 * r);
	}
	return tags;
}

static uint8_t short_tags(unsigned tags)
{
	unsigned valid = 0;

	for (unsigned r = 0; r < 8; r++)
		valid |= ((tags >> (2 * r) & 3) != 3) << r;
	return (uint8_t)valid;
}

static void image_init(struct vcpu *c)
{
	x87_set_top(c, 0);
	FX16(c, FX_FCW) = FCW_DEFAULT;
	FX16(c, FX_FSW) = 0;
	FX16(c, FX_FTW) = 0;
	FX16(c, FX_FOP) = 0;
	FX32(c, FX_FIP) = FX32(c, FX_FDP) = 0;
	FX16(c, FX_FCS) = FX16(c, FX_FDS) = 0;
}

/* ---- FNSTENV, FLDENV, FNSAVE, FRSTOR: SDM vol. 1 figures 8-9 to 8-12 ---- */

static bool real_format(const struct vcpu *c)
{
	return c->mode & MODE_VM;
}

static void env32_store(const struct vcpu *c, uint8_t *env)
{
	uint32_t fip = FX32(c, FX_FIP), fdp = FX32(c, FX_FDP), fop = FX16(c, FX_FOP);

	put32(env, 0xffff0000u | FX16(c, FX_FCW));
	put32(env + 4, 0xffff0000u | FX16(c, FX_FSW));
	put32(env + 8, 0xffff0000u | full_tags(c));
	if (real_format(c)) {
		fip += FX16(c, FX_FCS) * 16u;
		fdp += FX16(c, FX_FDS) * 16u;
		put32(env + 12, 0xffff0000u | (fip & 0xffff));
		put32(env + 16, (fip >> 16) << 12 | fop);
		put32(env + 20, 0xffff0000u | (fdp & 0xffff));
		put32(env + 24, (fdp >> 16) << 12);
		return;
	}
	put32(env + 12, fip);
	put32(env + 16, fop << 16 | FX16(c, FX_FCS));
	put32(env + 20, fdp);
	put32(env + 24, 0xffff0000u | FX16(c, FX_FDS));
}

static void env16_store(const struct vcpu *c, uint8_t *env)
{
	uint32_t fip = FX32(c, FX_FIP), fdp = FX32(c, FX_FDP);

	put16(env, FX16(c, FX_FCW));
	put16(env + 2, FX16(c, FX_FSW));
	put16(env + 4, full_tags(c));
	if (real_format(c)) {
		fip += FX16(c, FX_FCS) * 16u;
		fdp += FX16(c, FX_FDS) * 16u;
	}
	put16(env + 6, fip);
	put16(env + 8, real_format(c) ? (fip >> 16) << 12 | FX16(c, FX_FOP) : FX16(c, FX_FCS));
	put16(env + 10, fdp);
	put16(env + 12, real_format(c) ? (fdp >> 16) << 12 : FX16(c, FX_FDS));
}

static void env_store(const struct vcpu *c, uint8_t *env, unsigned size)
{
	if (size == 28)
		env32_store(c, env);
	else
		env16_store(c, env);
}

static void env32_load(struct vcpu *c, const uint8_t *env)
{
	if (real_format(c)) {
		FX32(c, FX_FIP) = (get32(env + 12) & 0xffff) | (get32(env + 16) >> 12 & 0xffff) << 16;
		FX32(c, FX_FDP) = (get32(env + 20) & 0xffff) | (get32(env + 24) >> 12 & 0xffff) << 16;
		FX16(c, FX_FOP) = get16(env + 16) & 0x7ff;
		FX16(c, FX_FCS) = FX16(c, FX_FDS) = 0;
		return;
	}
	FX32(c, FX_FIP) = get32(env + 12);
	FX16(c, FX_FCS) = get16(env + 16);
	FX16(c, FX_FOP) = get16(env + 18) & 0x7ff;
	FX32(c, FX_FDP) = get32(env + 20);
	FX16(c, FX_FDS) = get16(env + 24);
}

static void env16_load(struct vcpu *c, const uint8_t *env)
{
	if (real_format(c)) {
		FX32(c, FX_FIP) = get16(env + 6) | (get16(env + 8) >> 12) << 16;
		FX32(c, FX_FDP) = get16(env + 10) | (get16(env + 12) >> 12) << 16;
		FX16(c, FX_FOP) = get16(env + 8) & 0x7ff;
		FX16(c, FX_FCS) = FX16(c, FX_FDS) = 0;
		return;
	}
	FX32(c, FX_FIP) = get16(env + 6);
	FX16(c, FX_FCS) = get16(env + 8);
	FX32(c, FX_FDP) = get16(env + 10);
	FX16(c, FX_FDS) = get16(env + 12);
	FX16(c, FX_FOP) = 0;
}

/* Not live. Registers keep their places; a new TOP renames them. */
static void env_load(struct vcpu *c, const uint8_t *env, unsigned size)
{
	unsigned step = size == 28 ? 4 : 2, fsw = get16(env + step);

	x87_set_top(c, (fsw & FSW_TOP) >> FSW_TOP_SHIFT);
	FX16(c, FX_FSW) = (uint16_t)fsw;
	FX16(c, FX_FTW) = short_tags(get16(env + 2 * step));
	set_control(c, get16(env)); /* derives ES and B of the new FSW */
	if (size == 28)
		env32_load(c, env);
	else
		env16_load(c, env);
}

static unsigned env_size(const struct insn *ip)
{
	return ip->opsize == 28 || ip->opsize == 108 ? 28 : 14;
}

INSN(op_fnstenv)
{
	unsigned size = env_size(ip);
	uint8_t env[28];

	BEGIN;
	x87_check_nm(c);
	fpu_sync(c);
	env_store(c, env, size);
	mem_write_bytes(c, ip->seg, insn_ea(c, ip), env, size);
	set_control(c, FX16(c, FX_FCW) | FCW_MASKS);
	NEXT;
}

INSN(op_fldenv)
{
	unsigned size = env_size(ip);
	uint8_t env[28];

	BEGIN;
	x87_check(c);
	mem_read_bytes(c, ip->seg, insn_ea(c, ip), env, size);
	fpu_sync(c);
	env_load(c, env, size);
	NEXT;
}

INSN(op_fnsave)
{
	unsigned size = env_size(ip);
	uint8_t image[108];

	BEGIN;
	x87_check_nm(c);
	fpu_sync(c);
	env_store(c, image, size);
	for (unsigned i = 0; i < 8; i++)
		memcpy(image + size + 10 * i, c->fpu.fx + FX_ST + 16 * i, 10);
	mem_write_bytes(c, ip->seg, insn_ea(c, ip), image, size + 80);
	image_init(c);
	NEXT;
}

INSN(op_frstor)
{
	unsigned size = env_size(ip);
	uint8_t image[108];

	BEGIN;
	x87_check(c);
	mem_read_bytes(c, ip->seg, insn_ea(c, ip), image, size + 80);
	fpu_sync(c);
	env_load(c, image, size);
	for (unsigned i = 0; i < 8; i++)
		memcpy(c->fpu.fx + FX_ST + 16 * i, image + size + 10 * i, 10);
	NEXT;
}

/* ---- FXSAVE, FXRSTOR: with XMM registers and MXCSR whatever CR4.OSFXSR (SDM vol. 2 leaves that to the processor) ---- */

static uint32_t fx_ea(struct vcpu *c, const struct insn *ip)
{
	uint32_t ea = insn_ea(c, ip);

	if (misaligned16(c, ip, ea))
		vcpu_raise_error(c, VEC_GP, 0);
	return ea;
}

/* Bytes 288 to 511 are not written in 32-bit modes. */
INSN(op_fxsave)
{
	uint32_t ea;

	BEGIN;
	x87_check_nm(c);
	ea = fx_ea(c, ip);
	mem_check_write(c, ip->seg, ea, 16);
	mem_check_write(c, ip->seg, ea + FX_SIZE - 16, 16);
	fpu_sync(c);
	FX32(c, FX_MXCSR_MASK) = MXCSR_VALID;
	mem_write_bytes(c, ip->seg, ea, c->fpu.fx, FX_END);
	NEXT;
}

static void image_load(struct vcpu *c, const uint8_t *image)
{
	c->fpu.live = false;
	memcpy(c->fpu.fx, image, FX_END);
	c->fpu.fx[FX_FTW + 1] = 0;
	FX16(c, FX_FOP) &= 0x7ff;
	FX16(c, FX_FCS + 2) = FX16(c, FX_FDS + 2) = 0;
	FX32(c, FX_MXCSR_MASK) = MXCSR_VALID;
	for (unsigned i = 0; i < 8; i++)
		memset(c->fpu.fx + FX_ST + 16 * i + 10, 0, 6);
	set_control(c, FX16(c, FX_FCW));
}

INSN(op_fxrstor)
{
	struct fx_image image;

	BEGIN;
	x87_check_nm(c);
	mem_read_bytes(c, ip->seg, fx_ea(c, ip), image.b, FX_SIZE);
	if (get32(image.b + FX_MXCSR) & ~MXCSR_VALID)
		vcpu_raise_error(c, VEC_GP, 0);
	fpu_sync(c);
	image_load(c, image.b);
	NEXT;
}

/* ---- control ---- */

INSN(op_fninit)
{
	BEGIN;
	x87_check_nm(c);
	fpu_sync(c);
	image_init(c);
	NEXT;
}

INSN(op_fnclex)
{
	BEGIN;
	x87_check_nm(c);
	if (c->fpu.live)
		__asm__ volatile("fnclex");
	else
		FX16(c, FX_FSW) &= (uint16_t) ~(FSW_EXCEPTIONS | FSW_SF | FSW_ES | FSW_B);
	NEXT;
}

INSN(op_fldcw)
{
	unsigned fcw;

	BEGIN;
	x87_check(c);
	fcw = mem_read16(c, ip->seg, insn_ea(c, ip));
	set_control(c, fcw);
	NEXT;
}

INSN(op_fnstcw)
{
	BEGIN;
	x87_check_nm(c);
	mem_write16(c, ip->seg, insn_ea(c, ip), FX16(c, FX_FCW));
	NEXT;
}

INSN(op_fnstsw)
{
	BEGIN;
	x87_check_nm(c);
	if (ip->flags & IF_MEM)
		mem_write16(c, ip->seg, insn_ea(c, ip), (uint16_t)x87_status(c));
	else
		GPR16(c, R_AX * 8) = (uint16_t)x87_status(c);
	NEXT;
}

INSN(op_fwait)
{
	BEGIN;
	if ((c->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		vcpu_raise(c, VEC_NM);
	x87_check_pending(c);
	NEXT;
}

/* FENI, FDISI, FSETPM: of the 8087 and 80287, nothing since. */
INSN(op_nop87)
{
	BEGIN;
	x87_check_nm(c);
	NEXT;
}

INSN(op_emms)
{
	BEGIN;
	mmx_check(c);
	mmx_switch(c);
	c->fpu.fx[FX_FTW] = 0;
	NEXT;
}

INSN(op_ldmxcsr)
{
	uint32_t mxcsr;

	BEGIN;
	sse_check(c);
	mxcsr = mem_read32(c, ip->seg, insn_ea(c, ip));
	if (mxcsr & ~MXCSR_VALID)
		vcpu_raise_error(c, VEC_GP, 0);
	FX32(c, FX_MXCSR) = mxcsr;
	NEXT;
}

INSN(op_stmxcsr)
{
	BEGIN;
	sse_check(c);
	mem_write32(c, ip->seg, insn_ea(c, ip), FX32(c, FX_MXCSR));
	NEXT;
}

/* ---- caches and ordering: nothing to do, but CLFLUSH faults like a read of its byte ---- */

INSN(op_nothing)
{
	NEXT;
}

INSN(op_clflush)
{
	BEGIN;
	mem_check_read(c, ip->seg, insn_ea(c, ip), 1);
	NEXT;
}

static const struct {
	uint16_t op;
	insn_fn *fn;
} state_ops[] = {
	{ OP_FNSTENV, op_fnstenv },    { OP_FLDENV, op_fldenv },       { OP_FNSAVE, op_fnsave },
	{ OP_FRSTOR, op_frstor },      { OP_FXSAVE, op_fxsave },       { OP_FXRSTOR, op_fxrstor },
	{ OP_FNINIT, op_fninit },      { OP_FNCLEX, op_fnclex },       { OP_FLDCW, op_fldcw },
	{ OP_FNSTCW, op_fnstcw },      { OP_FNSTSW, op_fnstsw },       { OP_FWAIT, op_fwait },
	{ OP_FENI8087_NOP, op_nop87 }, { OP_FDISI8087_NOP, op_nop87 }, { OP_FSETPM287_NOP, op_nop87 },
	{ OP_EMMS, op_emms },          { OP_LDMXCSR, op_ldmxcsr },     { OP_STMXCSR, op_stmxcsr },
	{ OP_PREFETCH, op_nothing },   { OP_FENCE, op_nothing },       { OP_CLFLUSH, op_clflush },
};

insn_fn *fpu_bind_state(const struct insn *in)
{
	for (unsigned i = 0; i < sizeof(state_ops) / sizeof(*state_ops); i++)
		if (state_ops[i].op == in->op)
			return state_ops[i].fn;
	return NULL;
}

insn_fn *interp_bind_fpu(const struct insn *in, unsigned mode)
{
	insn_fn *fn = fpu_bind_state(in);

	(void)mode; /* formats that depend on it look at c->mode */
	if (!fn)
		fn = fpu_bind_x87(in);
	if (!fn)
		fn = fpu_bind_vec(in);
	return fn ? fn : fpu_bind_sse(in);
}
