/*
 * gen.c - test cases: which instructions there are, and values worth running them on.
 *
 * The list of forms is found, not written: every prefix, opcode and ModRM.reg is offered to the decoder, and what it accepts is kept if a user program
 * may run it and its whole effect is on registers, flags and the two data pages. Left out: what enters the kernel (INT, SYSENTER, CPUID and others with
 * a class of their own), loads segment registers, reads time, or means something else on later processors (F3 BSF is TZCNT there).
 * A privileged instruction stays in: user code gets #GP from it here and there.
 *
 * Addresses are the one thing that is not left to chance: a native run must not touch the helper's own memory. A memory operand's base register or displacement
 * is computed from the address wanted, and a case is drawn again when some implicit address (stack, strings, bit offsets) could be anywhere.
 */
#include "tests/hostjudge/gen.h"

#include <stdlib.h>
#include <string.h>

#define EFLAGS_ARITH 0x8d5u
#define EFLAGS_DF 0x400u
#define ANY_REG 8

const char *const gen_class_names[GEN_CLASSES] = { "integer", "control", "string",    "privileged", "x87",
	                                           "mmx",     "sse",     "sse float", "undefined",  "sequence" };

/* One form: all ModRM bytes that share its opcode and, when that matters, its reg field. */
struct entry {
	uint8_t prefix; /* 0, 66, F2, F3 */
	bool map_0f, has_modrm, memory;
	uint8_t opcode, reg; /* reg ANY_REG: any */
	uint8_t class;
};

struct gen {
	struct entry *entries; /* sorted by class */
	unsigned count;
	unsigned first[GEN_CLASSES + 1];
	unsigned total_weight;
	bool only_sequences;
};

/* How often a class is drawn; undefined ones come by themselves. */
static const unsigned weights[GEN_CLASSES] = {
	[GEN_INTEGER] = 36, [GEN_CONTROL] = 4, [GEN_STRING] = 4,     [GEN_PRIVILEGED] = 2, [GEN_X87] = 18,
	[GEN_MMX] = 6,      [GEN_SSE] = 7,     [GEN_SSE_FLOAT] = 11, [GEN_SEQUENCE] = 12,
};

/* ---- random numbers: splitmix64 ---- */

struct rng {
	uint64_t state;
};

static uint64_t rnd(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static unsigned below(struct rng *r, unsigned n)
{
	return (unsigned)((rnd(r) >> 32) * n >> 32);
}

static bool chance(struct rng *r, unsigned percent)
{
	return below(r, 100) < percent;
}

#define PICK(r, table) ((table)[below(r, sizeof(table) / sizeof(*(table)))])

/* ---- values ---- */

static const uint32_t integers[] = {
	0,          1,          2,          3,          7,          8,          9,          10,         15,
	16,         17,         31,         32,         33,         63,         64,         99,         100,
	0x7f,       0x80,       0x81,       0xff,       0x100,      0x7fff,     0x8000,     0x8001,     0xffff,
	0x10000,    0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff, 0xffffff80, 0xffff8000, 0xffff7fff,
	0x55555555, 0xaaaaaaaa, 0x01234567, 0x99999999, 0x9a9a9a9a, 0x0f0f0f0f,
};

static const uint32_t floats[] = {
	0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x40000000, 0x3f000000, 0x40490fdb, 0x7f800000, 0xff800000,
	0x7fc00000, 0xffc00000, 0x7f800001, 0xff812345, 0x7fa00000, 0x7fffffff, 0x00000001, 0x80000001, 0x007fffff,
	0x807fffff, 0x00400000, 0x00800000, 0x80800000, 0x00800001, 0x7f7fffff, 0xff7fffff, 0x7e800000, 0x7f000000,
	0x4effffff, 0x4f000000, 0xcf000000, 0xcf000001, 0x4f7fffff, 0x4b000001, 0x3effffff, 0x3f800001, 0x3f7fffff,
	0x3fc00000, 0x40200000, 0x1fffffff, 0x20000000, 0x5f000000, 0x5effffff, 0xdf000000,
};

static const uint64_t doubles[] = {
	0x0000000000000000, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x4000000000000000,
	0x3fe0000000000000, 0x400921fb54442d18, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000,
	0xfff8000000000000, 0x7ff0000000000001, 0xfff7ffffffffffff, 0x7fffffffffffffff, 0x0000000000000001,
	0x8000000000000001, 0x000fffffffffffff, 0x0010000000000000, 0x8010000000000000, 0x7fefffffffffffff,
	0xffefffffffffffff, 0x41dfffffffc00000, 0x41e0000000000000, 0xc1e0000000000000, 0xc1e0000000200000,
	0x41dfffffffe00000, 0x43e0000000000000, 0xc3e0000000000000, 0x36a0000000000000, 0x3690000000000000,
	0x3810000000000000, 0x380fffffffffffff, 0x47efffffe0000000, 0x47effffff0000000, 0x47f0000000000000,
	0x3ff0000000000001, 0x3fefffffffffffff, 0x3ff8000000000000, 0x4004000000000000, 0x40e0000000000000,
	0xc0e0002000000000, 0x1ff0000000000000, 0x5fe0000000000000, 0x3ca0000000000000, 0x4340000000000001,
};

struct extended {
	uint64_t fraction;
	uint16_t sign_exponent;
};

static const struct extended extendeds[] = {
	{ 0, 0 },
	{ 0, 0x8000 }, /* zeros */
	{ 1ull << 63, 0x3fff },
	{ 1ull << 63, 0xbfff }, /* 1, -1 */
	{ 1ull << 63, 0x4000 },
	{ 1ull << 63, 0x3ffe },
	{ 0xc000000000000000, 0x3fff },
	{ 0xc90fdaa22168c235, 0x4000 },
	{ 0xc90fdaa22168c235, 0xbffe },
	{ 0xb504f333f9de6484, 0x3ffe },
	{ 1ull << 63, 0x7fff },
	{ 1ull << 63, 0xffff }, /* infinities */
	{ 0xc000000000000000, 0x7fff },
	{ 0xc000000000000000, 0xffff },
	{ 0xc123456789abcdef, 0x7fff }, /* quiet */
	{ 0x8000000000000001, 0x7fff },
	{ 0xbfffffffffffffff, 0xffff }, /* signalling */
	{ 1, 0 },
	{ 0x7fffffffffffffff, 0x8000 },
	{ 0x4000000000000000, 0 }, /* denormal */
	{ 1ull << 63, 0 },
	{ 0xffffffffffffffff, 0x8000 }, /* pseudo-denormal */
	{ 0x4000000000000000, 0x3fff },
	{ 0, 0x4000 },
	{ 1, 0xbfff }, /* unnormal */
	{ 0, 0x7fff },
	{ 0x4000000000000000, 0xffff }, /* pseudo-infinity, pseudo-NaN */
	{ 1ull << 63, 1 },
	{ 0xffffffffffffffff, 0x7ffe },
	{ 0xffffffffffffffff, 0xfffe },
	{ 1ull << 63, 0x7ffe },
	{ 1ull << 63, 0x3c01 },
	{ 1ull << 63, 0x3f81 },
	{ 0xffffffffffffffff, 0x3f80 },
	{ 0xffffff8000000000, 0x407e },
	{ 1ull << 63, 0x43ff },
	{ 0xfffe000000000000, 0x400d },
	{ 1ull << 63, 0x400e },
	{ 1ull << 63, 0xc00e },
	{ 0xffff000000000000, 0x400d },
	{ 0xfffffffe00000000, 0x401d },
	{ 1ull << 63, 0x401e },
	{ 1ull << 63, 0xc01e },
	{ 0xffffffff00000000, 0x401d },
	{ 0xffffffffffffffff, 0x403d },
	{ 1ull << 63, 0x403e },
	{ 1ull << 63, 0xc03e },
	{ 0xfffffffffffffffe, 0x403d },
	{ 0xde0b6b3a763fffff, 0x403a },
	{ 0xde0b6b3a76400000, 0x403a }, /* around 10^18 - 1, the largest BCD */
	{ 0x8000000000000001, 0x3fff },
	{ 0xffffffffffffffff, 0x3ffe },
	{ 1ull << 63, 0x3fdf },
	{ 0x9a209a84fbcff799, 0x3ffd },
	{ 1ull << 63, 0x3fc0 },
	{ 0xa000000000000000, 0x4001 },
	{ 0xc350000000000000, 0x400e },
	{ 1ull << 63, 0x600d },
	{ 1ull << 63, 0x1fff },
};

static uint32_t integer(struct rng *r)
{
	switch (below(r, 8)) {
	case 0: return (uint32_t)rnd(r);
	case 1: return below(r, 64);
	case 2: return (uint32_t)rnd(r) & 0xff;
	case 3: return (uint32_t)rnd(r) & 0xffff;
	case 4: return 1u << below(r, 32);
	default: return PICK(r, integers);
	}
}

static uint32_t single(struct rng *r)
{
	if (chance(r, 60))
		return PICK(r, floats) ^ (uint32_t)(chance(r, 15) ? 1u << below(r, 32) : 0);
	if (chance(r, 70)) /* near 1, so that sums round and cancel */
		return ((uint32_t)rnd(r) & 0x807fffff) | (120u + below(r, 16)) << 23;
	return (uint32_t)rnd(r);
}

static uint64_t twice(struct rng *r)
{
	if (chance(r, 60))
		return PICK(r, doubles) ^ (chance(r, 15) ? 1ull << below(r, 64) : 0);
	if (chance(r, 70))
		return (rnd(r) & 0x800fffffffffffffull) | (uint64_t)(1015 + below(r, 50)) << 52;
	return rnd(r);
}

static struct extended extended(struct rng *r)
{
	struct extended e = PICK(r, extendeds);

	if (chance(r, 35))
		e = (struct extended){ rnd(r) | 1ull << 63,
			               (uint16_t)((rnd(r) & 0x8000) | (0x3fff - 40 + below(r, 100))) };
	else if (chance(r, 10))
		e = (struct extended){ rnd(r), (uint16_t)rnd(r) };
	else if (chance(r, 10))
		e.fraction ^= 1ull << below(r, 64);
	return e;
}

/* ---- which instructions ---- */

static bool is_implicit_stack(unsigned op)
{
	switch (op) {
	case OP_PUSH:
	case OP_POP:
	case OP_PUSHA:
	case OP_POPA:
	case OP_PUSHF:
	case OP_POPF:
	case OP_ENTER:
	case OP_LEAVE:
	case OP_CALL:
	case OP_RET:
	case OP_PUSH_SREG: return true;
	default: return false;
	}
}

static bool usable_op(const struct insn *in, uint8_t prefix)
{
	enum op_class class = op_class(in->op);

	if (prefix == 0xf3 && (in->op == OP_BSF || in->op == OP_BSR))
		return false;
	if ((prefix == 0xf2 || prefix == 0xf3) && (in->op == OP_LOOPE || in->op == OP_LOOPNE))
		return false; /* on AMD's, the prefix chooses the condition */
	if (class == CLASS_NONE || class == CLASS_CPL0 || class == CLASS_IOPL || class == CLASS_IO)
		return true;
	return in->op == OP_PUSHF || in->op == OP_POPF || in->op == OP_MOV_R_SREG || in->op == OP_PUSH_SREG;
}

static unsigned put_opcode(uint8_t *b, const struct entry *e)
{
	unsigned n = 0;

	if (e->prefix)
		b[n++] = e->prefix;
	if (e->map_0f)
		b[n++] = 0x0f;
	b[n++] = e->opcode;
	return n;
}

/* The op this form decodes to, OP_NONE if it does not. */
static unsigned probe(const struct entry *e, unsigned reg, unsigned rm, struct insn *in)
{
	uint8_t bytes[16] = { 0 };
	unsigned n = put_opcode(bytes, e);

	bytes[n++] = (uint8_t)((e->memory ? 0 : 0xc0) | reg << 3 | rm);
	if (insn_decode(in, bytes, 15, GEN_MODE, 0) <= 0 || !usable_op(in, e->prefix))
		return OP_NONE;
	return in->op;
}

static bool is_prefix_byte(const struct entry *e)
{
	static const uint8_t prefixes[] = { 0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3 };

	return !e->map_0f && memchr(prefixes, e->opcode, sizeof(prefixes));
}

/* Does the byte behind the opcode matter? Those with ModRM have a register or memory operand that changes with it. */
static bool has_modrm(struct entry e)
{
	struct insn a, b;
	unsigned memory, registers;

	e.memory = true;
	memory = probe(&e, 0, 0, &a);
	if (memory == OP_NONE) {
		for (unsigned reg = 1; reg < 8 && memory == OP_NONE; reg++)
			memory = probe(&e, reg, 0, &a);
	}
	e.memory = false;
	registers = probe(&e, 0, 0, &b);
	if (memory == OP_NONE)
		return !e.map_0f ? e.opcode >= 0xd8 && e.opcode <= 0xdf : e.opcode < 0x80 || e.opcode > 0x8f;
	return (a.flags & IF_MEM) && !(a.flags & IF_MOFFS) && (registers == OP_NONE || !(b.flags & IF_MEM));
}

static bool wanted(unsigned op, const char *only)
{
	return op != OP_NONE && (!only || !strcmp(op_name((enum op)op), only));
}

static bool is_string(unsigned op)
{
	return op >= OP_MOVS && op <= OP_SCAS;
}

static enum gen_class classify(const struct insn *in)
{
	unsigned op = in->op;

	if (op == OP_UD)
		return GEN_UNDEFINED;
	if (op_class((enum op)op) == CLASS_CPL0 || op_class((enum op)op) == CLASS_IOPL ||
	    op_class((enum op)op) == CLASS_IO)
		return GEN_PRIVILEGED;
	if ((op >= OP_FLD && op <= OP_FSETPM287_NOP) || op == OP_FXSAVE || op == OP_FXRSTOR)
		return GEN_X87;
	if (op == OP_LDMXCSR || op == OP_STMXCSR)
		return GEN_SSE;
	if (op == OP_EMMS)
		return GEN_MMX;
	if (op >= OP_FPU_BASE) {
		if (op >= OP_ADDPS)
			return GEN_SSE_FLOAT;
		return (in->imm2 & 15) == VEC_MMX || in->imm2 >> 4 == VEC_MMX ? GEN_MMX : GEN_SSE;
	}
	if (is_string(op))
		return GEN_STRING;
	return op >= OP_JO && op <= OP_RET ? GEN_CONTROL : GEN_INTEGER;
}

static void add(struct gen *g, const struct entry *e, unsigned reg)
{
	struct entry *new = &g->entries[g->count++];
	struct insn in;

	*new = *e;
	for (unsigned rm = 0; rm < 8 && probe(e, reg, rm, &in) == OP_NONE; rm++)
		;
	new->class = (uint8_t)classify(&in);
}

static void add_modrm_forms(struct gen *g, struct entry e, const char *only)
{
	unsigned ops[8], first = OP_NONE, sample = 0;
	struct insn in;
	bool same = true;
	bool x87 = !e.map_0f && e.opcode >= 0xd8 && e.opcode <= 0xdf;

	for (unsigned reg = 0; reg < 8; reg++) {
		ops[reg] = probe(&e, reg, 0, &in);
		for (unsigned rm = 1; x87 && !e.memory && rm < 8 && ops[reg] == OP_NONE; rm++)
			ops[reg] = probe(&e, reg, rm, &in);
		if (ops[reg] == OP_NONE)
			continue;
		same = same && (first == OP_NONE || ops[reg] == first);
		first = ops[reg];
		sample = reg;
	}
	e.has_modrm = true;
	e.reg = ANY_REG;
	if (same && !x87 && first != OP_NONE) {
		if (wanted(first, only))
			add(g, &e, sample);
		return;
	}
	for (unsigned reg = 0; reg < 8; reg++) {
		e.reg = (uint8_t)reg;
		if (wanted(ops[reg], only) || (x87 && !e.memory && ops[reg] != OP_NONE && !only))
			add(g, &e, reg);
	}
}

static void add_opcode(struct gen *g, struct entry e, const char *only)
{
	struct insn in;

	if (is_prefix_byte(&e))
		return;
	if (!has_modrm(e)) {
		if (wanted(probe(&e, 0, 0, &in), only))
			add(g, &e, 0);
		return;
	}
	for (unsigned memory = 0; memory < 2; memory++) {
		e.memory = memory;
		add_modrm_forms(g, e, only);
	}
}

static int by_class(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->class != y->class ? x->class - y->class : memcmp(x, y, sizeof(*x));
}

static bool drawn(const struct gen *g, unsigned class)
{
	return class == GEN_SEQUENCE ? g->first[GEN_CLASSES] > 0 : g->first[class] < g->first[class + 1];
}

/* Sequences are made of all forms, so only when there are all. */
static void sort_by_class(struct gen *g, bool sequences)
{
	unsigned n = 0;

	qsort(g->entries, g->count, sizeof(*g->entries), by_class);
	for (unsigned class = 0; class < GEN_CLASSES; class ++) {
		g->first[class] = n;
		while (n < g->count && g->entries[n].class == class)
			n++;
	}
	g->first[GEN_CLASSES] = sequences ? n : 0;
	for (unsigned class = 0; class < GEN_CLASSES; class ++)
		g->total_weight += drawn(g, class) ? weights[class] : 0;
}

struct gen *gen_create(const char *only)
{
	static const uint8_t prefixes[] = { 0, 0x66, 0xf2, 0xf3 };
	struct gen *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->entries = calloc(4 * 2 * 256 * 16, sizeof(*g->entries));
	for (unsigned p = 0; g->entries && p < 4; p++)
		for (unsigned map = 0; map < 2; map++)
			for (unsigned opcode = 0; opcode < 256; opcode++)
				add_opcode(g,
				           (struct entry){
				                   .prefix = prefixes[p], .map_0f = map, .opcode = (uint8_t)opcode },
				           only);
	if (!g->count) {
		gen_free(g);
		return NULL;
	}
	sort_by_class(g, !only);
	return g;
}

void gen_only_sequences(struct gen *g)
{
	g->only_sequences = true;
}

void gen_free(struct gen *g)
{
	if (g)
		free(g->entries);
	free(g);
}

unsigned gen_entries(const struct gen *g)
{
	return g->count;
}

/* ---- instruction bytes ---- */

static unsigned put_decoration(struct rng *r, uint8_t *b, const struct entry *e)
{
	static const uint8_t segments[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	unsigned n = 0;

	if (chance(r, 10))
		b[n++] = 0x67;
	if (chance(r, 20))
		b[n++] = PICK(r, segments);
	if (chance(r, e->memory ? 4 : 1))
		b[n++] = 0xf0;
	return n;
}

/* Any addressing form, 32-bit; with 0x67 the same bytes mean a 16-bit one. The tail is random and serves as SIB, displacement and immediate. */
static unsigned make_bytes(struct rng *r, const struct entry *e, uint8_t b[16])
{
	unsigned n = put_decoration(r, b, e);

	n += put_opcode(b + n, e);
	if (e->has_modrm) {
		unsigned reg = e->reg == ANY_REG ? below(r, 8) : e->reg;
		unsigned mod = e->memory ? below(r, 3) : 3;

		b[n++] = (uint8_t)(mod << 6 | reg << 3 | below(r, 8));
	}
	while (n < 16)
		b[n++] = chance(r, 50) ? (uint8_t)rnd(r) : (uint8_t)integer(r);
	return n;
}

static bool only_lock_is_wrong(const uint8_t *b, struct insn *in)
{
	uint8_t without[16] = { 0 };
	unsigned n = 0;
	bool lock = false;

	for (unsigned i = 0; i < 15; i++) {
		if (b[i] == 0xf0 && i < 3 && !lock)
			lock = true;
		else
			without[n++] = b[i];
	}
	if (!lock || insn_decode(in, without, 15, GEN_MODE, 0) <= 0 || !usable_op(in, 0))
		return false;
	if (in->op == OP_MOV_CR || in->op == OP_MOV_R_CR)
		return false; /* CR8 on AMD's */
	in->len++;
	in->op = OP_UD;
	in->flags = 0;
	in->form = FORM_NONE;
	return true;
}

/* ---- state ---- */

static void random_state(struct rng *r, struct hj_state *s)
{
	uint64_t *q = (uint64_t *)(void *)s->data;

	for (unsigned i = 0; i < HJ_DATA_SIZE / 8; i++)
		q[i] = rnd(r);
	for (unsigned i = 0; i < 8; i++)
		s->gpr[i] = chance(r, 25) ? HJ_DATA + 0x800 + below(r, 0x1000) : integer(r);
	s->gpr[4] = HJ_DATA + 0x400 + (below(r, 0x1800) & (chance(r, 80) ? ~3u : ~0u));
	s->eflags = (uint32_t)rnd(r) & (EFLAGS_ARITH | EFLAGS_DF);
	s->segment[HJ_FS] = HJ_SEG_BASED;
	s->segment[HJ_GS] = chance(r, 60) ? HJ_SEG_DOWN : HJ_SEG_READONLY;
	if (chance(r, 5))
		s->segment[HJ_DS] = HJ_SEG_BASED;
	if (chance(r, 5))
		s->segment[HJ_ES] = HJ_SEG_BASED;
	if (chance(r, 4)) {
		s->segment[HJ_SS] = HJ_SEG_BASED;
		s->gpr[4] -= HJ_DATA;
	}
	s->eip = HJ_CODE + 0x400 + (below(r, 0x800) & ~15u) + (chance(r, 20) ? below(r, 12) : 0);
}

static void put16(uint8_t *p, unsigned v)
{
	memcpy(p, &(uint16_t){ (uint16_t)v }, 2);
}

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
}

static unsigned fcw_value(struct rng *r)
{
	unsigned fcw = 0x40 | (unsigned)(rnd(r) & 0x0f00);

	if (chance(r, 10))
		fcw |= 0x1000;
	return fcw | (chance(r, 65) ? 0x3f : (unsigned)rnd(r) & 0x3f);
}

static unsigned fsw_value(struct rng *r, unsigned fcw)
{
	unsigned fsw = (unsigned)rnd(r) & (chance(r, 50) ? 0x4700 : 0x7f00);

	if (chance(r, 50))
		fsw |= (unsigned)rnd(r) & 0x7f & (chance(r, 85) ? fcw | 0x40 : 0x7f); /* mostly none pending */
	return fsw & ~fcw & 0x3f ? fsw | 0x8080 : fsw;
}

static unsigned mxcsr_value(struct rng *r)
{
	unsigned mxcsr = (unsigned)rnd(r) & 0x6000;

	mxcsr |= chance(r, 70) ? 0x1f80 : (unsigned)rnd(r) & 0x1f80;
	if (chance(r, 25))
		mxcsr |= (unsigned)rnd(r) & 0x8040;
	if (chance(r, 30))
		mxcsr |= (unsigned)rnd(r) & 0x3f;
	return mxcsr;
}

static void put_extended(struct rng *r, uint8_t *p)
{
	struct extended e = extended(r);

	memcpy(p, &e.fraction, 8);
	put16(p + 8, e.sign_exponent);
}

static void random_xmm(struct rng *r, uint8_t *p, unsigned kind)
{
	for (unsigned i = 0; i < 16; i += 4)
		put32(p + i, kind == 0 ? single(r) : integer(r));
	for (unsigned i = 0; kind == 1 && i < 16; i += 8)
		memcpy(p + i, &(uint64_t){ twice(r) }, 8);
}

static unsigned float_kind(const struct insn *in)
{
	const char *name = op_name((enum op)in->op);
	size_t n = name ? strlen(name) : 0;

	if (n > 2 && name[0] != 'p' && (!strcmp(name + n - 2, "ps") || !strcmp(name + n - 2, "ss")))
		return 0;
	if (n > 2 && name[0] != 'p' && (!strcmp(name + n - 2, "pd") || !strcmp(name + n - 2, "sd")))
		return 1;
	if (n > 3 && !strncmp(name, "cvt", 3))
		return !!strstr(name, "pd2") || !!strstr(name, "sd2")                      ? 1
		       : strstr(name, "dq2") || strstr(name, "pi2") || strstr(name, "si2") ? 2
		                                                                           : 0;
	return 2;
}

static void random_fx(struct rng *r, const struct insn *in, uint8_t *fx)
{
	unsigned fcw = fcw_value(r), fsw = fsw_value(r, fcw), kind;

	memset(fx, 0, 512);
	put16(fx, fcw);
	put16(fx + 2, fsw);
	fx[4] = chance(r, 70) ? 0xff : (uint8_t)rnd(r);
	put32(fx + 24, mxcsr_value(r));
	put32(fx + 28, 0xffff);
	for (unsigned i = 0; i < 8; i++)
		put_extended(r, fx + 32 + 16 * i);
	kind = float_kind(in);
	if (kind == 0 && !strncmp(op_name((enum op)in->op), "cvtsd", 5))
		kind = 1;
	for (unsigned i = 0; i < 8; i++)
		random_xmm(r, fx + 160 + 16 * i, chance(r, 85) ? kind : below(r, 3));
}

/* ---- memory operands ---- */

static bool wants_alignment(const struct insn *in)
{
	return in->op >= OP_FPU_BASE || in->op == OP_FXSAVE || in->op == OP_FXRSTOR;
}

/* A linear address for an operand: mostly well inside, sometimes across the page boundary, at the very end, or where nothing is. */
static uint32_t target(struct rng *r, const struct insn *in)
{
	unsigned dice = below(r, 100);
	uint32_t a = HJ_DATA + 0x800 + below(r, 0xe00);

	if (wants_alignment(in) && chance(r, 88))
		a &= ~15u;
	if (dice < 80)
		return a;
	if (dice < 88)
		return HJ_DATA + 0x1000 - below(r, 20);
	if (dice < 95)
		return HJ_DATA + HJ_DATA_SIZE - below(r, 24);
	if (dice < 98)
		return HJ_DATA - below(r, 16);
	return HJ_CODE + 0x10000 + below(r, 0x80000);
}

static uint32_t *gpr_at(struct hj_state *s, unsigned offset)
{
	return offset == GPR_ZERO ? NULL : &s->gpr[offset / 8];
}

static uint32_t effective(const struct hj_state *s, const struct insn *in)
{
	uint32_t ea = in->disp;

	if (in->base != GPR_ZERO)
		ea += s->gpr[in->base / 8];
	if (in->index != GPR_ZERO)
		ea += s->gpr[in->index / 8] << in->scale;
	return in->asize == 4 ? ea : ea & 0xffff;
}

/* Where the displacement is in the bytes: the only place whose value is in->disp and which moves it. */
static int displacement_at(const struct hj_case *k, const struct insn *in)
{
	unsigned size = in->asize;

	for (int at = (int)in->len - (int)size; at > 0; at--) {
		uint8_t changed[HJ_CODE_MAX];
		struct insn other;

		memcpy(changed, k->code, sizeof(changed));
		changed[at] ^= 0x5a;
		changed[at + (int)size - 1] ^= 0xa5;
		if (insn_decode(&other, changed, 15, GEN_MODE, 0) != in->len || other.op != in->op || other.imm != in->imm)
			continue;
		if ((other.disp ^ in->disp) == (size == 4 ? 0xa500005au : 0xffffa55au) ||
		    (other.disp ^ in->disp) == 0xa55a)
			return at;
	}
	return -1;
}

/* Make the operand's address `linear`, by a register or the displacement. */
static void aim(struct hj_case *k, struct insn *in, uint32_t linear)
{
	struct hj_state *s = &k->in;
	uint32_t delta = linear - hj_segment_base(s, in->seg) - effective(s, in);
	uint32_t *base = gpr_at(s, in->base), *index = gpr_at(s, in->index);
	int at;

	if (base && base != index) {
		*base += delta;
	} else if (index && in->scale == 0 && !base) {
		*index += delta;
	} else {
		at = displacement_at(k, in);
		if (at < 0)
			return;
		if (in->asize == 4)
			put32(k->code + at, in->disp + delta);
		else
			put16(k->code + at, in->disp + delta);
		insn_decode(in, k->code, 15, GEN_MODE, 0);
	}
}

static uint8_t *data_at(struct hj_case *k, uint32_t linear, unsigned size)
{
	if (linear - HJ_DATA > HJ_DATA_SIZE - size)
		return NULL;
	return k->in.data + (linear - HJ_DATA);
}

static uint32_t operand_linear(const struct hj_state *s, const struct insn *in)
{
	return hj_segment_base(s, in->seg) + effective(s, in);
}

static uint32_t code_address(struct rng *r)
{
	return HJ_CODE + 0x100 + below(r, 0xe00);
}

static void put_bcd(struct rng *r, uint8_t *p)
{
	for (unsigned i = 0; i < 9; i++)
		p[i] = (uint8_t)(below(r, 10) | below(r, 10) << 4);
	p[9] = chance(r, 50) ? 0x80 : 0;
}

static void fill_x87_operand(struct rng *r, const struct insn *in, uint8_t *p)
{
	bool is_int = in->op == OP_FILD || (op_name((enum op)in->op)[1] == 'i');

	switch (in->opsize) {
	case 2: put16(p, in->op == OP_FLDCW ? fcw_value(r) : integer(r)); break;
	case 4: put32(p, is_int ? integer(r) : single(r)); break;
	case 8:
		if (is_int) {
			put32(p, integer(r));
			put32(p + 4, integer(r));
		} else {
			memcpy(p, &(uint64_t){ twice(r) }, 8);
		}
		break;
	case 10:
		if (in->op == OP_FBLD && chance(r, 80))
			put_bcd(r, p);
		else
			put_extended(r, p);
		break;
	default: break;
	}
}

static void fill_env(struct rng *r, const struct insn *in, uint8_t *p)
{
	unsigned fcw = fcw_value(r), step = in->opsize == 28 || in->opsize == 108 ? 4 : 2;

	put16(p, fcw);
	put16(p + step, fsw_value(r, fcw) & (chance(r, 80) ? 0xffff : 0x7f7f));
	for (unsigned i = 0; in->op == OP_FRSTOR && i < 8; i++)
		put_extended(r, p + 7 * step + 10 * i);
}

static void fill_fxrstor(struct rng *r, const struct insn *in, uint8_t *p)
{
	random_fx(r, in, p);
	for (unsigned i = 0; i < 8; i++)
		put_extended(r, p + 32 + 16 * i);
	if (chance(r, 5))
		p[24 + 2 + below(r, 2)] = 1; /* reserved MXCSR bits */
	if (chance(r, 10))
		put16(p, (unsigned)rnd(r));
	if (chance(r, 10))
		put16(p + 2, (unsigned)rnd(r));
}

static void fill_operand(struct rng *r, const struct insn *in, uint8_t *p, unsigned room)
{
	unsigned kind = float_kind(in);

	if (in->op == OP_FXRSTOR && room >= 512) {
		fill_fxrstor(r, in, p);
	} else if ((in->op == OP_FLDENV || in->op == OP_FRSTOR) && room >= 108) {
		fill_env(r, in, p);
	} else if (in->op == OP_LDMXCSR && room >= 4) {
		put32(p, chance(r, 90) ? mxcsr_value(r) : (uint32_t)rnd(r));
	} else if (in->op >= OP_FLD && in->op <= OP_FSETPM287_NOP) {
		if (room >= 16)
			fill_x87_operand(r, in, p);
	} else if (in->op >= OP_FPU_BASE && room >= 16) {
		if (in->op == OP_CVTSD2SS)
			kind = 1;
		random_xmm(r, p, kind);
	} else if (room >= 8) {
		put32(p, integer(r));
		put32(p + 4, integer(r));
	}
}

/* ---- what single instructions need ---- */

static unsigned rel_target_room(struct rng *r, const struct hj_case *k, const struct insn *in)
{
	return code_address(r) - (k->in.eip + in->len);
}

/* A relative branch with a 16- or 32-bit displacement: into the code page. It is at the end of the instruction. */
static void aim_branch(struct rng *r, struct hj_case *k, struct insn *in)
{
	unsigned size = in->opsize == 2 ? 2 : 4;
	uint8_t *at = k->code + in->len - size, opcode;

	if (in->len <= size)
		return;
	opcode = at[-1];
	if (opcode != 0xe8 && opcode != 0xe9 &&
	    !(opcode >= 0x80 && opcode <= 0x8f && in->len >= size + 2 && at[-2] == 0x0f))
		return;
	if (size == 4)
		put32(at, rel_target_room(r, k, in));
	else
		put16(at, rel_target_room(r, k, in));
	insn_decode(in, k->code, 15, GEN_MODE, 0);
}

static void prepare_indirect(struct rng *r, struct hj_case *k, const struct insn *in)
{
	uint8_t *p;

	if (in->form == FORM_R) {
		if (in->rm != 4 * 8 || in->op == OP_JMP)
			k->in.gpr[in->rm / 8] = code_address(r);
	} else if (in->form == FORM_M) {
		p = data_at(k, operand_linear(&k->in, in), 4);
		if (p)
			put32(p, code_address(r));
	}
}

static uint32_t stack_linear(const struct hj_state *s)
{
	return hj_segment_base(s, HJ_SS) + s->gpr[4];
}

static void prepare_stack(struct rng *r, struct hj_case *k, const struct insn *in)
{
	struct hj_state *s = &k->in;
	uint32_t sp = stack_linear(s);
	uint8_t *p;

	if (in->op == OP_RET || in->op == OP_POPF) {
		p = data_at(k, sp, 4);
		if (p)
			put32(p, in->op == OP_RET ? code_address(r) : (uint32_t)rnd(r) & (EFLAGS_ARITH | EFLAGS_DF));
	}
	if (in->op == OP_LEAVE || in->op == OP_ENTER)
		s->gpr[5] = s->gpr[4] + below(r, 0x200) - 0x80;
}

static void prepare_string(struct rng *r, struct hj_case *k, const struct insn *in)
{
	struct hj_state *s = &k->in;
	bool small = in->asize == 2;

	if (small) { /* 16-bit addresses reach the data only through a base */
		s->segment[HJ_DS] = s->segment[HJ_ES] = HJ_SEG_BASED;
	}
	s->gpr[6] = target(r, in) - hj_segment_base(s, in->seg);
	s->gpr[7] = target(r, in) - hj_segment_base(s, HJ_ES);
	s->gpr[1] = below(r, chance(r, 80) ? 9 : 60);
	if (small && chance(r, 50)) {
		s->gpr[1] |= 0x50000;
		s->gpr[6] |= 0x70000;
		s->gpr[7] |= 0x90000;
	}
	if (chance(r, 40)) /* equal memory, for CMPS and SCAS to go on */
		memset(s->data + 0x700, (int)(s->gpr[0] & 0xff), 0x1000);
}

static void prepare_bits(struct rng *r, struct hj_case *k, const struct insn *in)
{
	uint32_t *bit;

	if (in->form != FORM_MR)
		return;
	bit = &k->in.gpr[in->reg / 8];
	if (in->reg == in->base || in->reg == in->index)
		return;
	*bit = chance(r, 70) ? below(r, 64) : (uint32_t)((int32_t)(rnd(r) & 0x3fff) - 0x2000);
}

static bool is_bit_op(unsigned op)
{
	return op == OP_BT || op == OP_BTS || op == OP_BTR || op == OP_BTC;
}

/* Divisors and dividends that mostly fit. */
static void prepare_division(struct rng *r, struct hj_case *k, const struct insn *in)
{
	struct hj_state *s = &k->in;

	if (chance(r, 70))
		s->gpr[2] = chance(r, 50) ? 0 : (uint32_t)((int32_t)s->gpr[0] >> 31);
	if (in->opsize == 1 && chance(r, 70))
		s->gpr[0] &= 0xfff;
}

static void prepare_compare_exchange(struct rng *r, struct hj_case *k, const struct insn *in)
{
	struct hj_state *s = &k->in;
	uint8_t *p = in->flags & IF_MEM ? data_at(k, operand_linear(s, in), 8) : NULL;

	if (p && chance(r, 50)) {
		memcpy(p, &s->gpr[0], 4);
		memcpy(p + 4, &s->gpr[2], 4);
	}
}

/* Processors differ in whether bytes that are masked out can fault: where they could, all bytes are stored. */
static void prepare_masked_store(struct rng *r, struct hj_case *k, const struct insn *in)
{
	struct hj_state *s = &k->in;
	unsigned top = (s->fx[3] >> 3) & 7;
	uint8_t *mask = in->op == OP_MASKMOVDQU ? s->fx + 160 + in->reg : s->fx + 32 + 16 * ((in->reg / 8 - top) & 7);
	uint32_t linear;

	s->gpr[7] = target(r, in) - hj_segment_base(s, in->seg);
	linear = hj_segment_base(s, in->seg) + (in->asize == 4 ? s->gpr[7] : s->gpr[7] & 0xffff);
	for (unsigned i = 0; i < (in->op == OP_MASKMOVDQU ? 16 : 8); i++)
		mask[i] = (uint8_t)(rnd(r) | (data_at(k, linear, 16) ? 0 : 0x80));
}

static void prepare(struct rng *r, struct hj_case *k, struct insn *in)
{
	struct hj_state *s = &k->in;

	if (is_string(in->op))
		prepare_string(r, k, in);
	if (is_bit_op(in->op))
		prepare_bits(r, k, in);
	if (in->op == OP_DIV || in->op == OP_IDIV)
		prepare_division(r, k, in);
	if (in->op == OP_XLAT)
		s->gpr[3] = target(r, in) - hj_segment_base(s, in->seg);
	if (in->op == OP_MASKMOVQ || in->op == OP_MASKMOVDQU)
		prepare_masked_store(r, k, in);
	if ((in->flags & IF_MEM) && in->op != OP_LEA && in->op != OP_NOP) {
		uint32_t linear = target(r, in);
		uint8_t *p;

		aim(k, in, linear);
		linear = operand_linear(s, in);
		p = data_at(k, linear, 8);
		if (p)
			fill_operand(r, in, p, HJ_DATA + HJ_DATA_SIZE - linear);
	}
	if (is_implicit_stack(in->op))
		prepare_stack(r, k, in);
	if (in->op == OP_JMP || in->op == OP_CALL)
		prepare_indirect(r, k, in);
	if (in->form == FORM_I && ((in->op >= OP_JO && in->op <= OP_JNLE) || in->op == OP_JMP || in->op == OP_CALL))
		aim_branch(r, k, in);
	if (in->op == OP_CMPXCHG || in->op == OP_CMPXCHG8B)
		prepare_compare_exchange(r, k, in);
}

/* ---- is it safe to run on the host? ---- */

static bool safe_range(uint32_t linear, uint32_t before, uint32_t after)
{
	return linear >= before && linear < HJ_SAFE_END - after;
}

/* Where the processor goes; 0 when it faults before it knows. */
static uint32_t jump_target(const struct hj_case *k, const struct insn *in)
{
	uint32_t to, linear;

	if (in->form == FORM_I && in->op != OP_RET) {
		to = k->in.eip + in->len + in->imm;
	} else if (in->form == FORM_R) {
		to = k->in.gpr[in->rm / 8];
	} else {
		linear = in->op == OP_RET ? stack_linear(&k->in) : operand_linear(&k->in, in);
		if (linear - HJ_DATA > HJ_DATA_SIZE - 4)
			return 0;
		memcpy(&to, k->in.data + (linear - HJ_DATA), 4);
	}
	return in->opsize == 2 ? to & 0xffff : to;
}

/* Into the code page, but not into the instruction itself, which could go on for ever; or where nothing is. */
static bool safe_jump(const struct hj_case *k, const struct insn *in)
{
	uint32_t to;

	if (in->op < OP_JO || in->op > OP_RET)
		return true;
	to = jump_target(k, in);
	return to < HJ_SAFE_END && to - k->in.eip >= in->len && to - HJ_DATA >= HJ_DATA_SIZE;
}

static bool safe(const struct hj_case *k, const struct insn *in)
{
	const struct hj_state *s = &k->in;
	uint32_t sp = stack_linear(s), wrap = in->asize == 4 ? ~0u : 0xffffu;

	if (is_implicit_stack(in->op) && !safe_range(sp, 0x400, 0x10400))
		return false;
	if ((in->op == OP_LEAVE || in->op == OP_ENTER) && !safe_range(hj_segment_base(s, HJ_SS) + s->gpr[5], 0x400, 0x400))
		return false;
	if ((in->flags & IF_MEM) && in->op != OP_LEA && in->op != OP_NOP && in->op != OP_PREFETCH &&
	    !safe_range(operand_linear(s, in), 0x800, 0x800))
		return false;
	if (is_bit_op(in->op) && in->form == FORM_MR && s->gpr[in->reg / 8] + 0x10000 > 0x20000 && in->opsize == 4)
		return false;
	if (in->op == OP_POP && in->form == FORM_M && in->base == 4 * 8 &&
	    !safe_range(operand_linear(s, in), 0x1000, 0x1000))
		return false;
	if (in->op == OP_XLAT && !safe_range(hj_segment_base(s, in->seg) + (s->gpr[3] & wrap), 0, 0x200))
		return false;
	if ((in->op == OP_MASKMOVQ || in->op == OP_MASKMOVDQU) &&
	    !safe_range(hj_segment_base(s, in->seg) + (s->gpr[7] & wrap), 0x10, 0x20))
		return false;
	if (is_string(in->op) && (!safe_range(hj_segment_base(s, in->seg) + (s->gpr[6] & wrap), 0x400, 0x400) ||
	                          !safe_range(hj_segment_base(s, HJ_ES) + (s->gpr[7] & wrap), 0x400, 0x400) ||
	                          ((in->flags & (IF_REP | IF_REPNE)) && (s->gpr[1] & wrap) > 64)))
		return false;
	return safe_jump(k, in);
}

/* ---- the case ---- */

static enum gen_class draw_class(const struct gen *g, struct rng *r)
{
	unsigned class, dice = below(r, g->total_weight);

	if (g->only_sequences)
		return GEN_SEQUENCE;

	for (class = 0; class < GEN_CLASSES; class ++) {
		if (!drawn(g, class))
			continue;
		if (dice < weights[class])
			break;
		dice -= weights[class];
	}
	return (enum gen_class) class;
}

static const struct entry *draw(const struct gen *g, struct rng *r, enum gen_class class)
{
	return &g->entries[g->first[class] + below(r, g->first[class + 1] - g->first[class])];
}

static bool make_one(const struct gen *g, struct rng *r, enum gen_class class, struct hj_case *k, struct insn *in)
{
	const struct entry *e = draw(g, r, class);
	int len;

	make_bytes(r, e, k->code);
	len = insn_decode(in, k->code, 15, GEN_MODE, 0);
	if (len <= 0) {
		if (!only_lock_is_wrong(k->code, in))
			return false;
	} else if (!usable_op(in, e->prefix)) {
		return false;
	}
	random_state(r, &k->in);
	random_fx(r, in, k->in.fx);
	if (in->op != OP_UD)
		prepare(r, k, in);
	k->len = in->len;
	k->branches = in->op >= OP_JO && in->op <= OP_RET;
	memset(k->code + k->len, 0, sizeof(k->code) - k->len);
	return safe(k, in);
}

/* No memory, explicit or not, and nothing in which makers of processors differ. */
static bool fits_sequence(const struct insn *in)
{
	switch (in->op) {
	case OP_AAA: /* what follows would go by flags that are undefined */
	case OP_AAS:
	case OP_DAA:
	case OP_DAS:
	case OP_XLAT:
	case OP_MASKMOVQ:
	case OP_MASKMOVDQU:
	case OP_BOUND:
	case OP_UD:
	case OP_RCPPS:
	case OP_RCPSS:
	case OP_RSQRTPS:
	case OP_RSQRTSS:
	case OP_FCOMI:
	case OP_FCOMIP:
	case OP_FUCOMI:
	case OP_FUCOMIP: return false;
	default:
		return (!(in->flags & IF_MEM) || in->op == OP_LEA) && !is_implicit_stack(in->op) &&
		       !is_string(in->op) && !(in->op >= OP_JO && in->op <= OP_RET);
	}
}

/* A load, a store or both, at an address that is mostly in the data pages: below LOOP_COUNTER. */
enum { LOOP_COUNTER = HJ_DATA_SIZE - 16, LOOP_BYTES = 9, MEMORY_BYTES = 6, SKIP_BYTES = 2 };

static void put32le(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

static unsigned put_memory(struct rng *r, uint8_t *p)
{
	static const uint8_t opcodes[] = { 0x01, 0x03, 0x09, 0x0b, 0x11, 0x13, 0x19, 0x1b, 0x21, 0x23, 0x29,
		                           0x2b, 0x31, 0x33, 0x39, 0x3b, 0x85, 0x87, 0x88, 0x89, 0x8a, 0x8b };
	uint32_t address = HJ_DATA + below(r, LOOP_COUNTER - 4);

	if (chance(r, 20))
		address = HJ_DATA + 0x1000 - below(r, 4); /* crosses pages, or nearly */
	else if (chance(r, 3))
		address = HJ_DATA - 1 - below(r, 4); /* is not there */
	p[0] = PICK(r, opcodes);
	p[1] = (uint8_t)(below(r, 8) << 3 | 5);
	put32le(p + 2, address);
	return MEMORY_BYTES;
}

static unsigned put_register_only(const struct gen *g, struct rng *r, const uint8_t *mix, uint8_t *p, struct insn *in)
{
	uint8_t bytes[16];
	const struct entry *e;

	do {
		e = draw(g, r, (enum gen_class)mix[below(r, 2)]);
		make_bytes(r, e, bytes);
	} while (insn_decode(in, bytes, 15, GEN_MODE, 0) <= 0 || !usable_op(in, e->prefix) || !fits_sequence(in));
	memcpy(p, bytes, in->len);
	return in->len;
}

/* Around what there is: SUB dword [counter], 1; JNZ back. */
static unsigned put_loop(uint8_t *code, unsigned n)
{
	code[n] = 0x83;
	code[n + 1] = 0x2d;
	put32le(code + n + 2, HJ_DATA + LOOP_COUNTER);
	code[n + 6] = 1;
	code[n + 7] = 0x75;
	code[n + 8] = (uint8_t) - (int)(n + LOOP_BYTES);
	return n + LOOP_BYTES;
}

/* What one instruction leaves for the next: lazy flags, x87 registers in the host's unit or not, pending exceptions. */
static bool make_sequence(const struct gen *g, struct rng *r, struct hj_case *k, struct insn *in)
{
	static const uint8_t mixes[][2] = {
		{ GEN_INTEGER, GEN_INTEGER }, { GEN_INTEGER, GEN_INTEGER },
		{ GEN_X87, GEN_X87 },         { GEN_X87, GEN_X87 },
		{ GEN_X87, GEN_MMX },         { GEN_MMX, GEN_SSE },
		{ GEN_X87, GEN_SSE_FLOAT },   { GEN_SSE_FLOAT, GEN_SSE_FLOAT },
		{ GEN_SSE_FLOAT, GEN_MMX },   { GEN_X87, GEN_INTEGER },
	};
	const uint8_t *mix = PICK(r, mixes);
	unsigned n = 0, wanted = 2 + below(r, 14), skip = 0, left = 0;
	bool plain = chance(r, 25), loops = !plain && chance(r, 30);

	for (unsigned i = 0; i < wanted && n < HJ_CODE_MAX - 15 - LOOP_BYTES; i++) {
		if (!plain && !left && chance(r, 20)) {
			k->code[n] = (uint8_t)(0x70 | below(r, 16)); /* Jcc */
			n += SKIP_BYTES;
			skip = n;
			left = 1 + below(r, 3);
			continue;
		}
		if (!plain && chance(r, 25))
			n += put_memory(r, k->code + n);
		else
			n += put_register_only(g, r, mix, k->code + n, in);
		if (left && --left == 0)
			k->code[skip - 1] = (uint8_t)(n - skip);
	}
	if (left)
		k->code[skip - 1] = (uint8_t)(n - skip);
	if (loops)
		n = put_loop(k->code, n);
	k->len = n;
	k->branches = false; /* but to its own instructions, and its end */
	random_state(r, &k->in);
	random_fx(r, in, k->in.fx);
	if (loops)
		put32le(k->in.data + LOOP_COUNTER, 1 + below(r, 5));
	*in = (struct insn){ .op = OP_NONE };
	return true;
}

enum gen_class gen_case(const struct gen *g, uint64_t seed, uint64_t index, struct hj_case *k, struct insn *in)
{
	struct rng r = { .state = index };
	enum gen_class class;
	bool good;

	r.state = rnd(&r) ^ seed;
	r.state = rnd(&r);
	class = draw_class(g, &r);
	do {
		memset(k, 0, offsetof(struct hj_case, in.data));
		memset(k->code, 0, sizeof(k->code));
		good = class == GEN_SEQUENCE ? make_sequence(g, &r, k, in) : make_one(g, &r, class, k, in);
	} while (!good);
	return class == GEN_SEQUENCE ? class : classify(in);
}
