/*
 * cpu_fixture.h - a processor with 1 MiB of RAM and a usual set of descriptors, without engine and VM, for the tests of vmm/cpu/ and vmm/emul/.
 *
 * It starts in protected mode, ring 0, paging off. FAULTS() runs a statement that must raise, and checks that nothing but
 * accessed bits in the descriptor tables has changed.
 */
#ifndef RINGSIDE_TESTS_UNIT_CPU_FIXTURE_H
#define RINGSIDE_TESTS_UNIT_CPU_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/cpu/far.h"
#include "vmm/cpu/mem.h"
#include "vmm/cpu/segment.h"
#include "vmm/ring/ring.h"

#define MEMORY (1u << 20)
#define GDT 0x1000u
#define GDT_LIMIT 0xffu
#define LDT 0x1800u
#define IDT 0x2000u
#define TSS_A 0x3000u /* 32-bit, current */
#define TSS_B 0x3100u /* 32-bit */
#define TSS_C 0x3200u /* 16-bit */
#define TABLES_END 0x4000u
#define STACK0 0x8000u
#define STACK1 0x9000u
#define STACK3 0xa000u
#define STACK_B 0xb000u
#define PAGE_DIR 0x10000u
#define PAGE_TABLE 0x11000u

/* Selectors. All flat unless said otherwise. */
enum {
	CODE0 = 0x08,
	DATA0 = 0x10,
	CODE3 = 0x18,
	DATA3 = 0x20,
	TSSA = 0x28,
	TSSB = 0x30,
	TSSC = 0x38,
	LDTSEL = 0x40,
	CONF0 = 0x48,
	CODE1 = 0x50,
	DATA1 = 0x58,
	CODE16 = 0x60 /* base 0x20000, 64 KiB */,
	DATA16 = 0x68,
	CODE_NP = 0x70,
	DATA_NP = 0x78,
	READONLY3 = 0x80,
	EXECONLY0 = 0x88,
	CONF3 = 0x90,
	SMALL0 = 0x98 /* code, limit 0xfff */,
	GATE = 0xa0, /* each test's own */
	DATA_TINY1 = 0xa8 /* ring 1 stack, limit 0xf */,
	DATA_DOWN0 = 0xb0 /* expand-down above 0x7fff */,
	OUTSIDE = 0x100,
};

struct machine {
	struct vcpu c;
	struct ram ram;
	jmp_buf unwind;
	struct vcpu *before;
	uint8_t *memory_before;
};

static inline void put(struct machine *t, uint32_t at, unsigned size, uint64_t v)
{
	ram_write(&t->ram, at, &v, size);
	mmu_flush_all(&t->c.mmu);
}

static inline uint32_t get(struct machine *t, uint32_t at, unsigned size)
{
	uint32_t v = 0;

	ram_read(&t->ram, at, &v, size);
	return v;
}

static inline void put_descriptor(struct machine *t, uint32_t at, uint32_t base, uint32_t limit, uint16_t attr)
{
	put(t, at, 4, (limit & 0xffff) | base << 16);
	put(t, at + 4, 4, (base >> 16 & 0xff) | (uint32_t)attr << 8 | (limit & 0xf0000) | (base & 0xff000000u));
}

static inline void put_gate(struct machine *t, uint32_t at, unsigned type, unsigned dpl, uint16_t sel, uint32_t off,
                            unsigned params)
{
	put(t, at, 4, (off & 0xffff) | (uint32_t)sel << 16);
	put(t, at + 4, 4, (off & 0xffff0000u) | 0x8000 | dpl << 13 | type << 8 | params);
}

static inline uint8_t access_byte(struct machine *t, uint16_t sel)
{
	return (uint8_t)get(t, GDT + (sel & 0xfff8u) + 5, 1);
}

static inline void put_tables(struct machine *t)
{
	static const struct {
		uint16_t sel;
		uint32_t base, limit;
		uint16_t attr;
	} rows[] = {
		{ CODE0, 0, 0xfffff, 0xc09a },     { DATA0, 0, 0xfffff, 0xc092 },
		{ CODE3, 0, 0xfffff, 0xc0fa },     { DATA3, 0, 0xfffff, 0xc0f2 },
		{ TSSA, TSS_A, 0xff, 0x008b },     { TSSB, TSS_B, 0xff, 0x0089 },
		{ TSSC, TSS_C, 0x2b, 0x0081 },     { LDTSEL, LDT, 0x1f, 0x0082 },
		{ CONF0, 0, 0xfffff, 0xc09e },     { CODE1, 0, 0xfffff, 0xc0ba },
		{ DATA1, 0, 0xfffff, 0xc0b2 },     { CODE16, 0x20000, 0xffff, 0x009a },
		{ DATA16, 0, 0xffff, 0x0092 },     { CODE_NP, 0, 0xfffff, 0xc01a },
		{ DATA_NP, 0, 0xfffff, 0xc012 },   { READONLY3, 0, 0xfffff, 0xc0f0 },
		{ EXECONLY0, 0, 0xfffff, 0xc098 }, { CONF3, 0, 0xfffff, 0xc0fe },
		{ SMALL0, 0, 0xfff, 0x409a },      { DATA_TINY1, STACK1, 0xf, 0x40b2 },
		{ DATA_DOWN0, 0, 0x7fff, 0x4096 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		put_descriptor(t, GDT + rows[i].sel, rows[i].base, rows[i].limit, rows[i].attr);
	put(t, TSS_A + 4, 4, STACK0);
	put(t, TSS_A + 8, 4, DATA0);
	put(t, TSS_A + 12, 4, STACK1);
	put(t, TSS_A + 16, 4, DATA1 | 1);
	put(t, TSS_A + 0x66, 2, 0x68);
}

/* The machine's selectors of a ring, and that ring's stack. */
static inline void set_ring(struct machine *t, unsigned cpl)
{
	static const uint16_t code[] = { CODE0, CODE1, 0, CODE3 }, data[] = { DATA0, DATA1, 0, DATA3 };
	struct vcpu *c = &t->c;
	uint16_t dpl = (uint16_t)(cpl << SEG_DPL_SHIFT);

	c->cpl = (uint8_t)cpl;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_set(&c->seg[i], (uint16_t)(data[cpl] | cpl), 0, 0xffffffff, 0xc093 | dpl, 0xc093 | dpl);
	segment_set(&c->seg[SEG_CS], (uint16_t)(code[cpl] | cpl), 0, 0xffffffff, 0xc09b | dpl, 0xc09b | dpl);
	c->gpr[R_SP] = cpl == 0 ? 0x7000 : STACK3;
	mmu_set_context(&c->mmu, cpl == 3 ? MMU_USER : MMU_SUPERVISOR);
}

/* Virtual-8086 mode: CS 0x1000, data 0x2000, SS:SP 0x3000:0x0100. */
static inline void set_vm86(struct machine *t, unsigned iopl)
{
	struct vcpu *c = &t->c;

	vcpu_set_eflags(c, FL_FIXED | FL_VM | FL_IF | iopl << FL_IOPL_SHIFT);
	c->cpl = 3;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_load_vm86(c, i, i == SEG_CS ? 0x1000 : i == SEG_SS ? 0x3000 : (uint16_t)(0x2000 + i));
	c->gpr[R_SP] = 0x100;
	mmu_set_context(&c->mmu, MMU_USER);
}

static inline void set_real(struct machine *t)
{
	struct vcpu *c = &t->c;

	c->cr0 &= ~CR0_PE;
	c->cpl = 0;
	vcpu_set_eflags(c, FL_FIXED | FL_IF);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_set(&c->seg[i], 0x2000, 0x20000, 0xffff, 0x93, 0x93);
	segment_load_vm86(c, SEG_SS, 0x3000);
	segment_load_vm86(c, SEG_CS, 0x1000);
	c->gpr[R_SP] = 0x100;
	c->idtr = (struct table_reg){ .base = 0, .limit = 0x3ff };
}

/* 4 KiB pages, identity, all user and writable. */
static inline void set_paging(struct machine *t)
{
	struct vcpu *c = &t->c;

	put(t, PAGE_DIR, 4, PAGE_TABLE | 7);
	for (uint32_t i = 0; i < MEMORY / 4096; i++)
		put(t, PAGE_TABLE + 4 * i, 4, i << 12 | 7);
	c->cr0 |= CR0_PG | CR0_WP;
	c->cr3 = PAGE_DIR;
	mmu_set_paging(&c->mmu, c->cr0, c->cr3, c->cr4, true);
}

static inline void set_page(struct machine *t, uint32_t lin, uint32_t bits)
{
	put(t, PAGE_TABLE + 4 * (lin >> 12), 4, (lin & ~0xfffu) | bits);
}

static inline int setup(void **state)
{
	struct machine *t = aligned_alloc(64, (sizeof(*t) + 63) & ~63ul);

	if (!t)
		return -1;
	memset(t, 0, sizeof(*t));
	assert_int_equal(ram_init(&t->ram, MEMORY), 0);
	assert_int_equal(mmu_init(&t->c.mmu, &t->ram, false), 0);
	t->c.unwind = &t->unwind;
	vcpu_reset(&t->c);
	t->c.ring0_becomes = 1;
	t->c.cr0 = CR0_PE | CR0_ET;
	mmu_set_paging(&t->c.mmu, t->c.cr0, 0, 0, false);
	t->c.gdtr = (struct table_reg){ .base = GDT, .limit = GDT_LIMIT };
	t->c.idtr = (struct table_reg){ .base = IDT, .limit = 0x7ff };
	put_tables(t);
	segment_set(&t->c.ldtr, 0, 0, 0, 0, 0);
	segment_set(&t->c.tr, TSSA, TSS_A, 0xff, 0x8b, 0x8b);
	set_ring(t, 0);
	t->c.rip = 0x5000;
	t->before = malloc(sizeof(*t->before));
	t->memory_before = malloc(MEMORY);
	*state = t;
	return t->before && t->memory_before ? 0 : -1;
}

static inline int teardown(void **state)
{
	struct machine *t = *state;

	free(t->before);
	free(t->memory_before);
	mmu_free(&t->c.mmu);
	ram_free(&t->ram);
	free(t);
	return 0;
}

static inline void remember(struct machine *t)
{
	memcpy(t->before, &t->c, sizeof(t->c));
	memcpy(t->memory_before, t->ram.host, MEMORY);
}

/* Architectural state as remembered? CR2 and the exit itself belong to delivery. */
static inline void assert_unchanged(struct machine *t, const char *file, int line)
{
	const struct vcpu *a = t->before, *b = &t->c;
	bool same = !memcmp(a->gpr, b->gpr, sizeof(a->gpr)) && a->rip == b->rip &&
	            !memcmp(a->seg, b->seg, sizeof(a->seg)) && vcpu_get_eflags(a) == vcpu_get_eflags(b) &&
	            a->cpl == b->cpl && a->cr0 == b->cr0 && a->cr3 == b->cr3 && a->cr4 == b->cr4 &&
	            !memcmp(&a->gdtr, &b->gdtr, 2 * sizeof(a->gdtr)) && !memcmp(&a->ldtr, &b->ldtr, sizeof(a->ldtr)) &&
	            !memcmp(&a->tr, &b->tr, sizeof(a->tr)) && a->inhibit_icount == b->inhibit_icount;

	if (!same || memcmp(t->memory_before + TABLES_END, t->ram.host + TABLES_END, PAGE_DIR - TABLES_END) ||
	    memcmp(t->memory_before + 0x20000, t->ram.host + 0x20000, MEMORY - 0x20000))
		fail_msg("%s:%d: a fault changed state", file, line);
}

static inline void assert_raised(struct machine *t, unsigned vector, int64_t error, const char *file, int line)
{
	const struct vm_exit *x = &t->c.exit;
	int64_t got = x->has_error ? (int64_t)x->error : -1;

	if (x->vector != vector || got != error)
		fail_msg("%s:%d: raised %u(%lld), expected %u(%lld)", file, line, x->vector, (long long)got, vector,
		         (long long)error);
}

/* `statement` raises exception `vec` with error code `err` (-1: none) and changes nothing. */
#define NO_ERROR (-1)
#define FAULTS_ANYHOW(t, vec, err, statement)                                                                          \
	do {                                                                                                           \
		remember(t);                                                                                           \
		(t)->c.unwind = &(t)->unwind;                                                                          \
		if (!_setjmp((t)->unwind)) {                                                                           \
			statement;                                                                                     \
			fail_msg("%s:%d: did not raise %u", __FILE__, __LINE__, (unsigned)(vec));                      \
		}                                                                                                      \
		assert_raised(t, vec, err, __FILE__, __LINE__);                                                        \
	} while (0)
#define FAULTS(t, vec, err, statement)                                                                                 \
	do {                                                                                                           \
		FAULTS_ANYHOW(t, vec, err, statement);                                                                 \
		assert_unchanged(t, __FILE__, __LINE__);                                                               \
	} while (0)
/* `statement` raises nothing. */
#define WORKS(t, statement)                                                                                            \
	do {                                                                                                           \
		(t)->c.unwind = &(t)->unwind;                                                                          \
		if (_setjmp((t)->unwind))                                                                              \
			fail_msg("%s:%d: raised %u(%#x)", __FILE__, __LINE__, (t)->c.exit.vector, (t)->c.exit.error);  \
		statement;                                                                                             \
	} while (0)

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static inline uint32_t esp(const struct machine *t)
{
	return (uint32_t)t->c.gpr[R_SP];
}

/* Element i of the stack, flat. */
static inline uint32_t stacked(struct machine *t, unsigned i)
{
	return get(t, esp(t) + 4 * i, 4);
}

#endif
