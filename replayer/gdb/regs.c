/*
 * regs.c - see regs.h. The order of the first 41 registers, and the names of the first two features, are gdb's (its manual, "Standard Target Features").
 */
#include "replayer/gdb/regs.h"

#include <string.h>

#include "vmm/cpu/segment.h"

/* FXSAVE layout, SDM vol. 1 table 10-2 */
enum {
	FX_FCW = 0,
	FX_FSW = 2,
	FX_FTW = 4,
	FX_FOP = 6,
	FX_FIP = 8,
	FX_FCS = 12,
	FX_FDP = 16,
	FX_FDS = 20,
	FX_MXCSR = 24,
	FX_ST0 = 32,
	FX_XMM0 = 160
};

typedef void get_fn(const struct vcpu *c, unsigned arg, uint8_t *out);
typedef bool set_fn(struct vcpu *c, unsigned arg, const uint8_t *value); /* false: not here, not now */

struct reg {
	const char *name, *type, *group;
	get_fn *get;
	unsigned arg;
	unsigned bytes;
	set_fn *set; /* NULL: never */
};

static void put32(uint8_t *out, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		out[i] = (uint8_t)(v >> 8 * i);
}

static void put64(uint8_t *out, uint64_t v)
{
	put32(out, (uint32_t)v);
	put32(out + 4, (uint32_t)(v >> 32));
}

static uint32_t take32(const uint8_t *in)
{
	return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

unsigned gdb_real_cpl(const struct vcpu *c)
{
	if (vcpu_real_mode(c) || vcpu_vm86(c))
		return 3;
	return c->cpl == 0 ? c->ring0_becomes : c->cpl;
}

/* ---- values ------------------------------------------------------------------------------------------------ */

static void get_gpr(const struct vcpu *c, unsigned i, uint8_t *out)
{
	put32(out, (uint32_t)c->gpr[i]);
}

static void get_eip(const struct vcpu *c, unsigned arg, uint8_t *out)
{
	(void)arg;
	put32(out, (uint32_t)c->rip);
}

static void get_eflags(const struct vcpu *c, unsigned arg, uint8_t *out)
{
	(void)arg;
	put32(out, vcpu_get_eflags(c));
}

static void get_sel(const struct vcpu *c, unsigned i, uint8_t *out)
{
	put32(out, c->seg[i].sel);
}

static void get_base(const struct vcpu *c, unsigned i, uint8_t *out)
{
	put32(out, (uint32_t)c->seg[i].base);
}

/* ST(0) comes first in FXSAVE, as gdb wants it. */
static void get_st(const struct vcpu *c, unsigned i, uint8_t *out)
{
	memcpy(out, c->fpu.fx + FX_ST0 + 16 * i, 10);
}

static void get_xmm(const struct vcpu *c, unsigned i, uint8_t *out)
{
	memcpy(out, c->fpu.fx + FX_XMM0 + 16 * i, 16);
}

static void get_fx16(const struct vcpu *c, unsigned at, uint8_t *out)
{
	put32(out, (uint32_t)(c->fpu.fx[at] | c->fpu.fx[at + 1] << 8));
}

static void get_fx32(const struct vcpu *c, unsigned at, uint8_t *out)
{
	memcpy(out, c->fpu.fx + at, 4);
}

/* Two bits of the full tag word for one register that is not empty (SDM vol. 1 8.1.7). */
static unsigned tag_of(const uint8_t st[10])
{
	unsigned exponent = (unsigned)(st[8] | (st[9] & 0x7f) << 8);
	uint64_t mantissa;

	memcpy(&mantissa, st, sizeof(mantissa));
	if (exponent == 0)
		return mantissa ? 2 : 1;
	return exponent == 0x7fff || !(mantissa >> 63) ? 2 : 0;
}

static void get_ftag(const struct vcpu *c, unsigned arg, uint8_t *out)
{
	unsigned top = c->fpu.fx[FX_FSW + 1] >> 3 & 7, tags = 0;

	(void)arg;
	for (unsigned physical = 0; physical < 8; physical++) {
		bool used = c->fpu.fx[FX_FTW] >> physical & 1;

		tags |= (used ? tag_of(c->fpu.fx + FX_ST0 + 16 * ((physical - top) & 7)) : 3) << 2 * physical;
	}
	put32(out, tags);
}

enum {
	CR0,
	CR2,
	CR3,
	CR4,
	GDTR_BASE,
	GDTR_LIMIT,
	IDTR_BASE,
	IDTR_LIMIT,
	LDTR,
	TR,
	EFER,
	REAL_CS,
	REAL_SS,
	REAL_CPL,
	CPL
};

static uint32_t real_selector(const struct vcpu *c, const struct segment *s)
{
	bool deprivileged = c->cpl == 0 && !vcpu_real_mode(c) && !vcpu_vm86(c) && s->attr;

	return s->sel | (deprivileged ? c->ring0_becomes : 0u);
}

static void get_system(const struct vcpu *c, unsigned which, uint8_t *out)
{
	const uint32_t value[] = {
		[CR0] = c->cr0,
		[CR2] = c->cr2,
		[CR3] = c->cr3,
		[CR4] = c->cr4,
		[GDTR_BASE] = c->gdtr.base,
		[GDTR_LIMIT] = c->gdtr.limit,
		[IDTR_BASE] = c->idtr.base,
		[IDTR_LIMIT] = c->idtr.limit,
		[LDTR] = c->ldtr.sel,
		[TR] = c->tr.sel,
		[EFER] = 0, /* this processor has none: long mode and NX are not there */
		[REAL_CS] = real_selector(c, &c->seg[SEG_CS]),
		[REAL_SS] = real_selector(c, &c->seg[SEG_SS]),
		[REAL_CPL] = gdb_real_cpl(c),
		[CPL] = c->cpl,
	};

	put32(out, value[which]);
}

static void get_icount(const struct vcpu *c, unsigned arg, uint8_t *out)
{
	(void)arg;
	put64(out, c->icount);
}

/* ---- changes ------------------------------------------------------------------------------------------------ */

static bool set_gpr(struct vcpu *c, unsigned i, const uint8_t *value)
{
	c->gpr[i] = take32(value);
	return true;
}

static bool set_eip(struct vcpu *c, unsigned arg, const uint8_t *value)
{
	(void)arg;
	c->rip = take32(value);
	return true;
}

/* Another mode would be another CPL and other segments. */
static bool set_eflags(struct vcpu *c, unsigned arg, const uint8_t *value)
{
	uint32_t flags = take32(value);

	(void)arg;
	if ((flags ^ vcpu_get_eflags(c)) & FL_VM)
		return false;
	vcpu_set_eflags(c, flags & (FL_WRITABLE | FL_RF | FL_VM));
	return true;
}

/* Where a selector is all there is to a segment. */
static bool set_sel(struct vcpu *c, unsigned i, const uint8_t *value)
{
	uint32_t sel = take32(value);
	struct segment *s = &c->seg[i];

	if (sel > UINT16_MAX || !(vcpu_real_mode(c) || vcpu_vm86(c)))
		return false;
	segment_set(s, (uint16_t)sel, sel << 4, s->limit, s->attr, s->guest_attr);
	return true;
}

static bool set_st(struct vcpu *c, unsigned i, const uint8_t *value)
{
	memcpy(c->fpu.fx + FX_ST0 + 16 * i, value, 10);
	return true;
}

static bool set_xmm(struct vcpu *c, unsigned i, const uint8_t *value)
{
	memcpy(c->fpu.fx + FX_XMM0 + 16 * i, value, 16);
	return true;
}

static bool set_fx16(struct vcpu *c, unsigned at, const uint8_t *value)
{
	memcpy(c->fpu.fx + at, value, 2);
	return true;
}

static bool set_fx32(struct vcpu *c, unsigned at, const uint8_t *value)
{
	memcpy(c->fpu.fx + at, value, 4);
	return true;
}

/* Of the full tag word only which are empty is kept. */
static bool set_ftag(struct vcpu *c, unsigned arg, const uint8_t *value)
{
	uint32_t tags = take32(value);
	unsigned used = 0;

	(void)arg;
	for (unsigned i = 0; i < 8; i++)
		used |= (unsigned)((tags >> 2 * i & 3) != 3) << i;
	c->fpu.fx[FX_FTW] = (uint8_t)used;
	return true;
}

static bool set_system(struct vcpu *c, unsigned which, const uint8_t *value)
{
	uint32_t v = take32(value);

	switch (which) {
	case CR0:
		if ((v ^ c->cr0) & CR0_PE)
			return false; /* another mode: other segments */
		c->cr0 = v;
		return true;
	case CR2: c->cr2 = v; return true;
	case CR3: c->cr3 = v; return true;
	case CR4: c->cr4 = v; return true;
	case GDTR_BASE: c->gdtr.base = v; return true;
	case GDTR_LIMIT: c->gdtr.limit = (uint16_t)v; return v <= UINT16_MAX;
	case IDTR_BASE: c->idtr.base = v; return true;
	case IDTR_LIMIT: c->idtr.limit = (uint16_t)v; return v <= UINT16_MAX;
	default: return false;
	}
}

/* ---- the table --------------------------------------------------------------------------------------------- */

#define GPR(n, i)                                                                                                      \
	{                                                                                                              \
		n, "int", NULL, get_gpr, i, 4, set_gpr                                                                 \
	}
#define SEL(n, i)                                                                                                      \
	{                                                                                                              \
		n, "int32", NULL, get_sel, i, 4, set_sel                                                               \
	}
#define ST(n, i)                                                                                                       \
	{                                                                                                              \
		n, "i387_ext", NULL, get_st, i, 10, set_st                                                             \
	}
#define FX(n, fn, at)                                                                                                  \
	{                                                                                                              \
		n, "int", "float", get_##fn, at, 4, set_##fn                                                           \
	}
#define XMM(n, i)                                                                                                      \
	{                                                                                                              \
		n, "vec128", NULL, get_xmm, i, 16, set_xmm                                                             \
	}
#define SYS(n, w)                                                                                                      \
	{                                                                                                              \
		n, "uint32", "system", get_system, w, 4, set_system                                                    \
	}
#define BASE(n, i)                                                                                                     \
	{                                                                                                              \
		n, "uint32", "system", get_base, i, 4, NULL                                                            \
	}

static const struct reg core[] = {
	GPR("eax", R_AX),
	GPR("ecx", R_CX),
	GPR("edx", R_DX),
	GPR("ebx", R_BX),
	{ "esp", "data_ptr", NULL, get_gpr, R_SP, 4, set_gpr },
	{ "ebp", "data_ptr", NULL, get_gpr, R_BP, 4, set_gpr },
	GPR("esi", R_SI),
	GPR("edi", R_DI),
	{ "eip", "code_ptr", NULL, get_eip, 0, 4, set_eip },
	{ "eflags", "i386_eflags", NULL, get_eflags, 0, 4, set_eflags },
	SEL("cs", SEG_CS),
	SEL("ss", SEG_SS),
	SEL("ds", SEG_DS),
	SEL("es", SEG_ES),
	SEL("fs", SEG_FS),
	SEL("gs", SEG_GS),
	ST("st0", 0),
	ST("st1", 1),
	ST("st2", 2),
	ST("st3", 3),
	ST("st4", 4),
	ST("st5", 5),
	ST("st6", 6),
	ST("st7", 7),
	FX("fctrl", fx16, FX_FCW),
	FX("fstat", fx16, FX_FSW),
	FX("ftag", ftag, 0),
	FX("fiseg", fx16, FX_FCS),
	FX("fioff", fx32, FX_FIP),
	FX("foseg", fx16, FX_FDS),
	FX("fooff", fx32, FX_FDP),
	FX("fop", fx16, FX_FOP),
};

static const struct reg sse[] = {
	XMM("xmm0", 0), XMM("xmm1", 1), XMM("xmm2", 2),
	XMM("xmm3", 3), XMM("xmm4", 4), XMM("xmm5", 5),
	XMM("xmm6", 6), XMM("xmm7", 7), { "mxcsr", "i386_mxcsr", "vector", get_fx32, FX_MXCSR, 4, set_fx32 },
};

static const struct reg system_regs[] = {
	{ "icount", "uint64", "system", get_icount, 0, 8, NULL },
	SYS("cpl", CPL),
	SYS("real_cpl", REAL_CPL),
	SYS("real_cs", REAL_CS),
	SYS("real_ss", REAL_SS),
	SYS("cr0", CR0),
	SYS("cr2", CR2),
	SYS("cr3", CR3),
	SYS("cr4", CR4),
	SYS("efer", EFER),
	SYS("gdtr_base", GDTR_BASE),
	SYS("gdtr_limit", GDTR_LIMIT),
	SYS("idtr_base", IDTR_BASE),
	SYS("idtr_limit", IDTR_LIMIT),
	SYS("ldtr", LDTR),
	SYS("tr", TR),
	BASE("cs_base", SEG_CS),
	BASE("ss_base", SEG_SS),
	BASE("ds_base", SEG_DS),
	BASE("es_base", SEG_ES),
	BASE("fs_base", SEG_FS),
	BASE("gs_base", SEG_GS),
};

static const char core_types[] = "<flags id=\"i386_eflags\" size=\"4\"><field name=\"CF\" start=\"0\" "
                                 "end=\"0\"/><field name=\"\" start=\"1\" end=\"1\"/>"
                                 "<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" "
                                 "end=\"4\"/><field name=\"ZF\" start=\"6\" end=\"6\"/>"
                                 "<field name=\"SF\" start=\"7\" end=\"7\"/><field name=\"TF\" start=\"8\" "
                                 "end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
                                 "<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" "
                                 "end=\"11\"/><field name=\"IOPL\" start=\"12\" end=\"13\"/>"
                                 "<field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" "
                                 "end=\"16\"/><field name=\"VM\" start=\"17\" end=\"17\"/>"
                                 "<field name=\"AC\" start=\"18\" end=\"18\"/><field name=\"VIF\" start=\"19\" "
                                 "end=\"19\"/><field name=\"VIP\" start=\"20\" end=\"20\"/>"
                                 "<field name=\"ID\" start=\"21\" end=\"21\"/></flags>";

static const char sse_types[] =
        "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
        "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
        "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
        "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
        "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" "
        "type=\"v4i32\"/>"
        "<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" type=\"uint128\"/></union>"
        "<flags id=\"i386_mxcsr\" size=\"4\"><field name=\"IE\" start=\"0\" end=\"0\"/><field name=\"DE\" start=\"1\" "
        "end=\"1\"/>"
        "<field name=\"ZE\" start=\"2\" end=\"2\"/><field name=\"OE\" start=\"3\" end=\"3\"/><field name=\"UE\" "
        "start=\"4\" end=\"4\"/>"
        "<field name=\"PE\" start=\"5\" end=\"5\"/><field name=\"DAZ\" start=\"6\" end=\"6\"/><field name=\"IM\" "
        "start=\"7\" end=\"7\"/>"
        "<field name=\"DM\" start=\"8\" end=\"8\"/><field name=\"ZM\" start=\"9\" end=\"9\"/><field name=\"OM\" "
        "start=\"10\" end=\"10\"/>"
        "<field name=\"UM\" start=\"11\" end=\"11\"/><field name=\"PM\" start=\"12\" end=\"12\"/><field name=\"FZ\" "
        "start=\"15\" end=\"15\"/></flags>";

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
static const struct feature {
	const char *name, *types;
	const struct reg *regs;
	size_t count;
} features[] = {
	{ "org.gnu.gdb.i386.core", core_types, core, COUNT(core) },
	{ "org.gnu.gdb.i386.sse", sse_types, sse, COUNT(sse) },
	{ "org.ringside.system", "", system_regs, COUNT(system_regs) },
};

unsigned gdb_regs_count(void)
{
	size_t n = 0;

	for (size_t i = 0; i < COUNT(features); i++)
		n += features[i].count;
	return (unsigned)n;
}

static const struct reg *find_reg(unsigned number)
{
	for (size_t i = 0; i < COUNT(features); number -= (unsigned)features[i++].count)
		if (number < features[i].count)
			return &features[i].regs[number];
	return NULL;
}

const char *gdb_regs_name(unsigned number)
{
	const struct reg *r = find_reg(number);

	return r ? r->name : NULL;
}

unsigned gdb_regs_read(const struct vcpu *c, unsigned number, uint8_t *out)
{
	const struct reg *r = find_reg(number);

	if (!r)
		return 0;
	r->get(c, r->arg, out);
	return r->bytes;
}

enum gdb_reg_change gdb_regs_write(struct vcpu *c, unsigned number, const uint8_t *value, size_t len)
{
	const struct reg *r = find_reg(number);
	uint8_t now[GDB_REG_MAX];

	if (!r)
		return GDB_REG_NONE;
	if (len != r->bytes)
		return GDB_REG_LENGTH;
	r->get(c, r->arg, now);
	if (!memcmp(now, value, len))
		return GDB_REG_DONE;
	return r->set && r->set(c, r->arg, value) ? GDB_REG_DONE : GDB_REG_FIXED;
}

static void describe_reg(struct gdb_text *out, const struct reg *r)
{
	gdb_text_put(out, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"", r->name, 8 * r->bytes, r->type);
	if (r->group)
		gdb_text_put(out, " group=\"%s\"", r->group);
	gdb_text_put(out, "/>");
}

void gdb_regs_describe(struct gdb_text *out)
{
	gdb_text_put(out, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM "
	                  "\"gdb-target.dtd\"><target><architecture>i386</architecture>"
	                  "<osabi>none</osabi>");
	for (size_t i = 0; i < COUNT(features); i++) {
		gdb_text_put(out, "<feature name=\"%s\">", features[i].name);
		gdb_text_add(out, features[i].types, strlen(features[i].types));
		for (size_t k = 0; k < features[i].count; k++)
			describe_reg(out, &features[i].regs[k]);
		gdb_text_put(out, "</feature>");
	}
	gdb_text_put(out, "</target>");
}
