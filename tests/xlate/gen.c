/*
 * gen.c - see gen.h.
 *
 * Instructions are drawn from a table of opcode forms, so that all of the integer set comes up and most of it works: memory operands are mostly based on
 * registers that point into the data pages, which programs seldom change. Branches go to the starts of instructions of the same program.
 */
#include "tests/xlate/gen.h"

#include <stdbool.h>
#include <string.h>

uint64_t random_next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

struct maker {
	struct program *p;
	uint64_t state;
	uint32_t start[256]; /* offsets of instructions */
	uint32_t count;
	struct {
		uint32_t at;
		uint8_t size;
	} branch[256];
	uint32_t branches;
	bool floating, vector; /* mostly x87; mostly SSE2 */
};

static uint32_t below(struct maker *m, uint32_t n)
{
	return (uint32_t)(random_next(&m->state) % n);
}

static bool chance(struct maker *m, unsigned percent)
{
	return below(m, 100) < percent;
}

enum form_kind { PLAIN, MODRM, REG_ONLY, MEM_ONLY, BRANCH8, BRANCH32, IN_OPCODE };
enum { EXT_ANY = 8, NO_BYTES = 0, IMM8 = 1, IMM16 = 2, IMM_SIZE = 3 };

struct form {
	uint8_t first, last; /* opcodes */
	uint8_t map_0f;
	uint8_t kind;
	uint8_t ext_first, ext_last;
	uint8_t imm;
	uint8_t weight;
};

static const struct form forms[] = {
	{ 0x00, 0x03, 0, MODRM, 0, 7, 0, 4 },
	{ 0x08, 0x0b, 0, MODRM, 0, 7, 0, 4 },
	{ 0x10, 0x13, 0, MODRM, 0, 7, 0, 4 },
	{ 0x18, 0x1b, 0, MODRM, 0, 7, 0, 4 },
	{ 0x20, 0x23, 0, MODRM, 0, 7, 0, 4 },
	{ 0x28, 0x2b, 0, MODRM, 0, 7, 0, 4 },
	{ 0x30, 0x33, 0, MODRM, 0, 7, 0, 4 },
	{ 0x38, 0x3b, 0, MODRM, 0, 7, 0, 4 },
	{ 0x80, 0x80, 0, MODRM, 0, 7, IMM8, 5 },
	{ 0x81, 0x81, 0, MODRM, 0, 7, IMM_SIZE, 5 },
	{ 0x83, 0x83, 0, MODRM, 0, 7, IMM8, 6 },
	{ 0x84, 0x85, 0, MODRM, 0, 7, 0, 4 },
	{ 0x86, 0x87, 0, MODRM, 0, 7, 0, 3 },
	{ 0x88, 0x8b, 0, MODRM, 0, 7, 0, 14 },
	{ 0x8d, 0x8d, 0, MEM_ONLY, 0, 7, 0, 4 },
	{ 0xa8, 0xa8, 0, PLAIN, 0, 0, IMM8, 1 },
	{ 0xa9, 0xa9, 0, PLAIN, 0, 0, IMM_SIZE, 1 },
	{ 0x04, 0x04, 0, PLAIN, 0, 0, IMM8, 1 },
	{ 0x05, 0x05, 0, PLAIN, 0, 0, IMM_SIZE, 1 },
	{ 0x3d, 0x3d, 0, PLAIN, 0, 0, IMM_SIZE, 1 },
	{ 0xb0, 0xb7, 0, IN_OPCODE, 0, 0, IMM8, 2 },
	{ 0xb8, 0xbf, 0, IN_OPCODE, 0, 0, IMM_SIZE, 2 },
	{ 0xc6, 0xc6, 0, MODRM, 0, 0, IMM8, 3 },
	{ 0xc7, 0xc7, 0, MODRM, 0, 0, IMM_SIZE, 3 },
	{ 0x40, 0x4f, 0, IN_OPCODE, 0, 0, 0, 4 },
	{ 0xfe, 0xff, 0, MODRM, 0, 1, 0, 3 },
	{ 0xf6, 0xf6, 0, MODRM, 0, 0, IMM8, 2 },
	{ 0xf7, 0xf7, 0, MODRM, 0, 0, IMM_SIZE, 2 },
	{ 0xf6, 0xf7, 0, MODRM, 2, 5, 0, 6 },
	{ 0xf6, 0xf7, 0, MODRM, 6, 7, 0, 2 },
	{ 0xc0, 0xc1, 0, MODRM, 0, 7, IMM8, 6 },
	{ 0xd0, 0xd3, 0, MODRM, 0, 7, 0, 8 },
	{ 0xa4, 0xa4, 1, MODRM, 0, 7, IMM8, 2 },
	{ 0xa5, 0xa5, 1, MODRM, 0, 7, 0, 1 },
	{ 0xac, 0xac, 1, MODRM, 0, 7, IMM8, 2 },
	{ 0xad, 0xad, 1, MODRM, 0, 7, 0, 1 },
	{ 0x69, 0x69, 0, MODRM, 0, 7, IMM_SIZE, 2 },
	{ 0x6b, 0x6b, 0, MODRM, 0, 7, IMM8, 2 },
	{ 0xaf, 0xaf, 1, MODRM, 0, 7, 0, 3 },
	{ 0xa3, 0xa3, 1, MODRM, 0, 7, 0, 2 },
	{ 0xab, 0xab, 1, MODRM, 0, 7, 0, 1 },
	{ 0xb3, 0xb3, 1, MODRM, 0, 7, 0, 1 },
	{ 0xbb, 0xbb, 1, MODRM, 0, 7, 0, 1 },
	{ 0xba, 0xba, 1, MODRM, 4, 7, IMM8, 3 },
	{ 0xbc, 0xbd, 1, MODRM, 0, 7, 0, 3 },
	{ 0xb0, 0xb1, 1, MODRM, 0, 7, 0, 2 },
	{ 0xc0, 0xc1, 1, MODRM, 0, 7, 0, 2 },
	{ 0xc7, 0xc7, 1, MEM_ONLY, 1, 1, 0, 1 },
	{ 0xc8, 0xcf, 1, IN_OPCODE, 0, 0, 0, 2 },
	{ 0x98, 0x99, 0, PLAIN, 0, 0, 0, 2 },
	{ 0x9e, 0x9f, 0, PLAIN, 0, 0, 0, 2 },
	{ 0xf8, 0xf9, 0, PLAIN, 0, 0, 0, 2 },
	{ 0xf5, 0xf5, 0, PLAIN, 0, 0, 0, 1 },
	{ 0x90, 0x97, 0, IN_OPCODE, 0, 0, 0, 2 },
	{ 0x40, 0x4f, 1, MODRM, 0, 7, 0, 5 },
	{ 0x90, 0x9f, 1, MODRM, 0, 0, 0, 5 },
	{ 0xb6, 0xb7, 1, MODRM, 0, 7, 0, 4 },
	{ 0xbe, 0xbf, 1, MODRM, 0, 7, 0, 4 },
	{ 0x50, 0x57, 0, IN_OPCODE, 0, 0, 0, 5 },
	{ 0x58, 0x5b, 0, IN_OPCODE, 0, 0, 0, 4 },
	{ 0x5c, 0x5f, 0, IN_OPCODE, 0, 0, 0, 1 },
	{ 0x6a, 0x6a, 0, PLAIN, 0, 0, IMM8, 2 },
	{ 0x68, 0x68, 0, PLAIN, 0, 0, IMM_SIZE, 2 },
	{ 0xff, 0xff, 0, MODRM, 6, 6, 0, 3 },
	{ 0x8f, 0x8f, 0, MODRM, 0, 0, 0, 1 },
	{ 0xc9, 0xc9, 0, PLAIN, 0, 0, 0, 1 },
	{ 0x60, 0x61, 0, PLAIN, 0, 0, 0, 1 },
	{ 0xa4, 0xa7, 0, PLAIN, 0, 0, 0, 2 },
	{ 0xaa, 0xaf, 0, PLAIN, 0, 0, 0, 2 },
	{ 0xd7, 0xd7, 0, PLAIN, 0, 0, 0, 1 },
	{ 0x27, 0x27, 0, PLAIN, 0, 0, 0, 1 },
	{ 0x37, 0x37, 0, PLAIN, 0, 0, 0, 1 },
	{ 0xd4, 0xd5, 0, PLAIN, 0, 0, IMM8, 1 },
	{ 0xfc, 0xfd, 0, PLAIN, 0, 0, 0, 1 },
	{ 0xc8, 0xc8, 0, PLAIN, 0, 0, IMM16 | 16, 1 },
	{ 0x70, 0x7f, 0, BRANCH8, 0, 0, 0, 16 },
	{ 0x80, 0x8f, 1, BRANCH32, 0, 0, 0, 8 },
	{ 0xe0, 0xe3, 0, BRANCH8, 0, 0, 0, 4 },
	{ 0xeb, 0xeb, 0, BRANCH8, 0, 0, 0, 2 },
	{ 0xe8, 0xe9, 0, BRANCH32, 0, 0, 0, 4 },
	{ 0xc3, 0xc3, 0, PLAIN, 0, 0, 0, 3 },
	{ 0xc2, 0xc2, 0, PLAIN, 0, 0, IMM16, 1 },
	{ 0xff, 0xff, 0, MODRM, 2, 2, 0, 1 },
	{ 0xff, 0xff, 0, MODRM, 4, 4, 0, 1 },
	{ 0x06, 0x06, 0, PLAIN, 0, 0, 0, 1 },
	{ 0x8c, 0x8c, 0, MODRM, 0, 5, 0, 1 },
	{ 0xa0, 0xa3, 0, PLAIN, 0, 0, IMM_SIZE | 32, 2 },
	{ 0xcd, 0xcd, 0, PLAIN, 0, 0, IMM8, 1 },
	{ 0xfa, 0xfb, 0, PLAIN, 0, 0, 0, 1 },
	{ 0x9c, 0x9d, 0, PLAIN, 0, 0, 0, 1 },
	/* x87 */
	{ 0xd8, 0xdf, 0, MODRM, 0, 7, 0, 10 },
	{ 0x9b, 0x9b, 0, PLAIN, 0, 0, 0, 1 },
	/* MMX, SSE; prefixes choose among them */
	{ 0x10, 0x17, 1, MODRM, 0, 7, 0, 3 },
	{ 0x28, 0x2f, 1, MODRM, 0, 7, 0, 4 },
	{ 0x51, 0x5f, 1, MODRM, 0, 7, 0, 6 },
	{ 0x60, 0x6f, 1, MODRM, 0, 7, 0, 5 },
	{ 0x74, 0x76, 1, MODRM, 0, 7, 0, 2 },
	{ 0x70, 0x70, 1, MODRM, 0, 7, IMM8, 2 },
	{ 0x7e, 0x7f, 1, MODRM, 0, 7, 0, 3 },
	{ 0xd1, 0xff, 1, MODRM, 0, 7, 0, 5 },
	{ 0xc6, 0xc6, 1, MODRM, 0, 7, IMM8, 1 },
	{ 0x77, 0x77, 1, PLAIN, 0, 0, 0, 1 },
	{ 0xae, 0xae, 1, MEM_ONLY, 2, 3, 0, 1 },
};

static void put(struct maker *m, unsigned b)
{
	m->p->code[m->p->len++] = (uint8_t)b;
}

static void put_bytes(struct maker *m, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		put(m, (unsigned)(v >> (8 * i)) & 0xff);
}

/* Registers 3 to 7 hold addresses: EBX, ESP, EBP, ESI, EDI. */
static void put_memory(struct maker *m, unsigned reg)
{
	static const uint8_t bases[] = { 3, 4, 5, 6, 7, 3, 5, 6 };
	unsigned base = chance(m, 95) ? bases[below(m, 8)] : below(m, 8), kind = below(m, 10);
	unsigned mod = kind < 2 && base != 5 ? 0 : kind < 8 ? 1 : 2;
	bool sib = base == 4 || chance(m, 20);

	if (chance(m, 3)) { /* absolute */
		put(m, reg << 3 | 5);
		put_bytes(m, XP_DATA + below(m, XP_DATA_SIZE + 16) - 8, 4);
		return;
	}
	if (chance(m, 2))
		base = below(m, 8);
	sib |= base == 4;
	if (base == 5 && mod == 0)
		mod = 1;
	put(m, mod << 6 | reg << 3 | (sib ? 4 : base));
	if (sib)
		put(m, (chance(m, 85) ? 4u << 3 : below(m, 256) & ~7u) | base);
	if (mod == 1)
		put(m, chance(m, 70) ? below(m, 256) & ~3u : below(m, 256));
	else if (mod == 2)
		put_bytes(m, below(m, 0x800) - 0x400, 4);
}

static const struct form vector_forms[] = {
	{ 0x60, 0x6f, 1, MODRM, 0, 7, 0, 1 },    { 0x74, 0x76, 1, MODRM, 0, 7, 0, 1 },
	{ 0x70, 0x70, 1, MODRM, 0, 7, IMM8, 1 }, { 0x7e, 0x7f, 1, MODRM, 0, 7, 0, 1 },
	{ 0xd1, 0xff, 1, MODRM, 0, 7, 0, 1 },    { 0x28, 0x29, 1, MODRM, 0, 7, 0, 1 },
	{ 0x10, 0x11, 1, MODRM, 0, 7, 0, 1 },    { 0xd7, 0xd7, 1, MODRM, 0, 7, 0, 1 },
};

static const struct form x87_form = { 0xd8, 0xdf, 0, MODRM, 0, 7, 0, 1 };

static const struct form *pick_form(struct maker *m)
{
	unsigned total = 0, n, i;

	if (m->floating && chance(m, 60))
		return &x87_form;
	if (m->vector && chance(m, 60))
		return &vector_forms[below(m, sizeof(vector_forms) / sizeof(*vector_forms))];

	for (i = 0; i < sizeof(forms) / sizeof(*forms); i++)
		total += forms[i].weight;
	n = below(m, total);
	for (i = 0; n >= forms[i].weight; i++)
		n -= forms[i].weight;
	return &forms[i];
}

static void put_branch(struct maker *m, unsigned size)
{
	m->branch[m->branches].at = m->p->len;
	m->branch[m->branches].size = (uint8_t)size;
	m->branches++;
	put_bytes(m, 0, size);
}

/* MOV ECX: most counts are small, a few reach over pages. */
static void put_count(struct maker *m)
{
	unsigned count = chance(m, 50) ? below(m, 8) : below(m, 5000);

	put(m, 0xb9);
	for (unsigned i = 0; i < 4; i++)
		put(m, count >> (8 * i) & 0xff);
}

static void put_insn(struct maker *m)
{
	const struct form *f = pick_form(m);
	bool word = false;
	unsigned reg = f->ext_first + below(m, f->ext_last - f->ext_first + 1u);

	m->start[m->count++] = m->p->len;
	if (f->kind != BRANCH8 && f->kind != BRANCH32 && f->kind != PLAIN)
		word = chance(m, m->vector && f->map_0f ? 75 : f->map_0f ? 30 : 12);
	else if (f->first == 0xa4 || f->first == 0xaa)
		word = chance(m, 20);
	if (word)
		put(m, 0x66);
	if (f->map_0f && chance(m, 12))
		put(m, chance(m, 50) ? 0xf2 : 0xf3);
	if ((f->first == 0xa4 || f->first == 0xaa) && !f->map_0f && chance(m, 40)) {
		if (!word && chance(m, 60))
			put_count(m);
		put(m, chance(m, 50) ? 0xf2 : 0xf3);
	}
	if (chance(m, 6))
		put(m, (const uint8_t[]){ 0x64, 0x65, 0x3e, 0x2e, 0x36 }[below(m, 5)]);
	if (chance(m, 1))
		put(m, (const uint8_t[]){ 0x67, 0xf0 }[below(m, 2)]);
	if (f->map_0f)
		put(m, 0x0f);
	put(m, f->first + below(m, f->last - f->first + 1u));
	if (f->kind == MODRM || f->kind == MEM_ONLY || f->kind == REG_ONLY) {
		/* what is changed is seldom a register that holds an address */
		unsigned rm = chance(m, 85) ? below(m, 3) : below(m, 8);

		if (f->ext_last == 7 && f->ext_first == 0 && f->first != 0x80 && f->first != 0x81 && f->first != 0x83 &&
		    f->first != 0xc0 && f->first != 0xd0 && f->first != 0xd8)
			reg = chance(m, 80) ? below(m, 3) : below(m, 8);
		if (f->kind == MEM_ONLY || (f->kind == MODRM && chance(m, 55)))
			put_memory(m, reg);
		else
			put(m, 0xc0 | reg << 3 | rm);
	}
	if (f->kind == BRANCH8)
		put_branch(m, 1);
	else if (f->kind == BRANCH32)
		put_branch(m, 4);
	if (f->imm == (IMM16 | 16)) { /* ENTER */
		put_bytes(m, below(m, 64), 2);
		put(m, chance(m, 70) ? 0 : below(m, 4));
	} else if (f->imm == (IMM_SIZE | 32)) { /* moffs */
		put_bytes(m, XP_DATA + below(m, XP_DATA_SIZE), 4);
	} else if (f->imm) {
		put_bytes(m, f->first == 0xc2 ? below(m, 16) : random_next(&m->state),
		          f->imm == IMM_SIZE ? (word ? 2 : 4) : f->imm);
	}
}

static void aim_branches(struct maker *m)
{
	for (uint32_t i = 0; i < m->branches; i++) {
		uint32_t at = m->branch[i].at, size = m->branch[i].size, end = at + size;
		int32_t rel = 0;

		for (unsigned tries = 0; tries < 8; tries++) {
			rel = (int32_t)(m->start[below(m, m->count)] - end);
			if (size == 4 || (rel >= -128 && rel <= 127))
				break;
			rel = 0;
		}
		memcpy(m->p->code + at, &rel, size);
	}
}

static uint32_t data_address(struct maker *m)
{
	uint32_t a = XP_DATA + below(m, XP_DATA_SIZE);

	if (chance(m, 4))
		return XP_CODE + below(m, XP_CODE_SIZE); /* code that changes itself */
	if (chance(m, 30))
		a = XP_DATA + 0x1000 + below(m, 64) - 32; /* page crossers */
	return chance(m, 75) ? a & ~3u : a;
}

void program_make(struct program *p, uint64_t seed)
{
	struct maker m = { .p = p, .state = seed * 0x2545f4914f6cdd1dull + 1 };
	unsigned n = 4 + below(&m, chance(&m, 10) ? 100 : 24);

	memset(p, 0, sizeof(*p));
	m.floating = chance(&m, 15);
	m.vector = chance(&m, 15);
	while (m.count < n && p->len < XP_MAX - 32)
		put_insn(&m);
	m.start[m.count++] = p->len;
	aim_branches(&m);
	put(&m, 0xcc);
	p->start = XP_CODE + (chance(&m, 30) ? 0x1000 - below(&m, p->len < 40 ? p->len : 40) : below(&m, 64));
	for (unsigned i = 0; i < 8; i++)
		p->gpr[i] = i < 3 ? (chance(&m, 40) ? below(&m, 64) : (uint32_t)random_next(&m.state)) : data_address(&m);
	if (chance(&m, 90))
		p->gpr[4] = XP_DATA + 0x800 + (below(&m, 0x1000) & ~3u);
	p->eflags = (uint32_t)random_next(&m.state) & 0x8d5; /* arithmetic flags */
	if (chance(&m, 10))
		p->eflags |= 0x400;
	for (unsigned i = 0; i < 160 + 128; i++)
		p->fx[i] = i < 32 ? 0 : (uint8_t)random_next(&m.state);
	p->fx[0] = 0x7f;
	p->fx[1] = 3;
	p->fx[4] = chance(&m, 50) ? 0xff : 0;
	p->fx[25] = 0x1f;
	p->fx[24] = 0x80;
	p->fx[28] = 0xff;
	p->fx[29] = 0xff;
	for (unsigned i = 0; i < 8; i++) {
		memset(p->fx + 32 + 16 * i + 10, 0, 6);
		p->fx[32 + 16 * i + 9] = 0x3f + (uint8_t)below(&m, 2);
		p->fx[32 + 16 * i + 7] |= 0x80;
	}
	p->fs_base = chance(&m, 60) ? below(&m, 8) * 16 : below(&m, 64);
	p->gs_limit = chance(&m, 50) ? 0xffffffff : XP_DATA + 0x1500;
	p->data_seed = random_next(&m.state);
	p->insns = chance(&m, 80) ? 40 + below(&m, 200) : below(&m, 2000);
}
