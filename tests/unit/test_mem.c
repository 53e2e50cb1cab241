/*
 * test_mem.c - guest memory: RAM and its books, page walk and TLB, segment and page checks of accesses, reset and
 * EFLAGS.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "vmm/cpu/mem.h"
#include "vmm/cpu/segment.h"
#include "vmm/digest.h"

#define MEMORY (8u << 20)
#define PD 0x10000u /* page directory */
#define PT(n) (0x11000u + (n)*0x1000u)
#define P 0x01u
#define W 0x02u
#define U 0x04u
#define A 0x20u
#define D 0x40u
#define PS 0x80u
#define G 0x100u
#define FLAT_DATA (SEG_P | SEG_S | SEG_WRITABLE | SEG_ACCESSED | SEG_DB | SEG_G)

struct machine {
	struct vcpu c; /* first: test functions get the machine, helpers the vcpu */
	struct ram ram;
	jmp_buf unwind;
	struct {
		uint64_t gpa;
		unsigned len;
	} code_write;
	unsigned code_writes;
	struct {
		uint64_t gpa, value;
		unsigned size;
		bool write;
	} mmio[64];
	unsigned mmios;
};

static uint64_t on_mmio_read(void *self, uint64_t gpa, unsigned size)
{
	struct machine *t = self;

	assert_in_range(t->mmios, 0, 63);
	t->mmio[t->mmios].gpa = gpa;
	t->mmio[t->mmios].write = false;
	t->mmio[t->mmios++].size = size;
	return 0x1122334455667788ull;
}

static void on_mmio_write(void *self, uint64_t gpa, unsigned size, uint64_t value)
{
	struct machine *t = self;

	assert_in_range(t->mmios, 0, 63);
	t->mmio[t->mmios].gpa = gpa;
	t->mmio[t->mmios].value = value;
	t->mmio[t->mmios].write = true;
	t->mmio[t->mmios++].size = size;
}

static void on_code_written(void *self, uint64_t gpa, unsigned len)
{
	struct machine *t = self;

	t->code_write.gpa = gpa;
	t->code_write.len = len;
	t->code_writes++;
	ram_clear_code(&t->ram, gpa & PAGE_MASK);
}

static int setup_views(void **state, bool split)
{
	struct machine *t = aligned_alloc(64, (sizeof(*t) + 63) & ~63ul);

	if (!t)
		return -1;
	memset(t, 0, sizeof(*t));
	assert_int_equal(ram_init(&t->ram, MEMORY), 0);
	assert_int_equal(mmu_init(&t->c.mmu, &t->ram, split), 0);
	t->ram.code_written = on_code_written;
	t->ram.code_written_self = t;
	t->c.hooks = (struct vcpu_hooks){ .self = t, .mmio_read = on_mmio_read, .mmio_write = on_mmio_write };
	t->c.unwind = &t->unwind;
	vcpu_reset(&t->c);
	t->c.cr0 = CR0_PE;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_set(&t->c.seg[i], 8, 0, 0xffffffff, FLAT_DATA, FLAT_DATA);
	*state = t;
	return 0;
}

static int setup(void **state)
{
	return setup_views(state, false);
}

static int setup_split(void **state)
{
	return setup_views(state, true);
}

static int teardown(void **state)
{
	struct machine *t = *state;

	mmu_free(&t->c.mmu);
	ram_free(&t->ram);
	free(t);
	return 0;
}

/* ---- helpers ---- */

static void poke(struct machine *t, uint32_t gpa, uint32_t v)
{
	ram_write(&t->ram, gpa, &v, 4);
}

static uint32_t look(struct machine *t, uint32_t gpa)
{
	uint32_t v;

	ram_read(&t->ram, gpa, &v, 4);
	return v;
}

static void map(struct machine *t, uint32_t lin, uint32_t gpa, uint32_t bits)
{
	poke(t, PD + (lin >> 22) * 4, PT(lin >> 22 & 15) | P | W | U);
	poke(t, PT(lin >> 22 & 15) + (lin >> 12 & 1023) * 4, gpa | bits);
}

static uint32_t pte(struct machine *t, uint32_t lin)
{
	return look(t, PT(lin >> 22 & 15) + (lin >> 12 & 1023) * 4);
}

static uint32_t pde(struct machine *t, uint32_t lin)
{
	return look(t, PD + (lin >> 22) * 4);
}

static void set_paging(struct machine *t, uint32_t cr0, uint32_t cr4)
{
	t->c.cr0 = CR0_PE | CR0_PG | cr0;
	t->c.cr3 = PD;
	t->c.cr4 = cr4;
	mmu_set_paging(&t->c.mmu, t->c.cr0, t->c.cr3, t->c.cr4, true);
}

#define OK 0x10000u
/* Error code of the fault, or OK. */
static uint32_t try_translate(struct machine *t, uint32_t lin, enum mmu_access access, enum mmu_context ctx, uint64_t *gpa)
{
	struct mmu_fault fault = { 0 }, probe = { 0 };
	uint64_t dummy;
	int expected = mmu_probe(&t->c.mmu, lin, access, ctx, &probe);
	int rc = mmu_translate(&t->c.mmu, lin, access, ctx, gpa ? gpa : &dummy, &fault);

	assert_int_equal(rc, expected);
	if (!rc)
		return OK;
	assert_int_equal(fault.cr2, lin);
	assert_int_equal(probe.cr2, lin);
	assert_int_equal(probe.error, fault.error);
	return fault.error;
}

/* Runs a statement; yields what it raised: vector, or EXIT code + 0x100, or -1 for nothing. */
#define RAISED(t, ...)                                                                                                 \
	({                                                                                                             \
		volatile int raised_ = -1;                                                                             \
		if (!setjmp((t)->unwind)) {                                                                            \
			__VA_ARGS__;                                                                                   \
		} else {                                                                                               \
			raised_ = (t)->c.exit.reason == EXIT_EXCEPTION ? (t)->c.exit.vector                            \
			                                               : 0x100 + (int)(t)->c.exit.reason;              \
		}                                                                                                      \
		raised_;                                                                                               \
	})

/* ---- RAM ---- */

static void ram_any_range_is_safe(void **state)
{
	struct machine *t = *state;
	uint8_t buf[0x3000], ones[0x3000];

	memset(ones, 0xff, sizeof(ones));
	ram_read(&t->ram, 0, buf, sizeof(buf));
	for (unsigned i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 0);
	ram_read(&t->ram, 0xa0000, buf, sizeof(buf));
	assert_memory_equal(buf, ones, sizeof(buf));
	memset(buf, 0x55, sizeof(buf));
	ram_write(&t->ram, 0x9ff00, buf, 0x200);
	ram_write(&t->ram, 0xbff00, buf, 0x200);
	ram_write(&t->ram, MEMORY - 16, buf, sizeof(buf));
	ram_write(&t->ram, UINT64_MAX - 15, buf, sizeof(buf)); /* does not wrap to 0 */
	assert_int_equal(look(t, 0x9fffc), 0x55555555);
	assert_int_equal(look(t, 0xa0000), 0xffffffff);
	assert_int_equal(look(t, 0xc0000), 0x55555555);
	assert_int_equal(look(t, 0), 0);
	assert_int_equal(t->ram.host[0xa0000], 0);
	ram_read(&t->ram, MEMORY - 8, buf, 16);
	assert_int_equal(buf[7], 0x55);
	assert_int_equal(buf[8], 0xff);
	ram_read(&t->ram, UINT64_MAX - 7, buf, 64);
	assert_memory_equal(buf, ones, 64);
}

static void ram_sizes(void **state)
{
	struct ram r;

	(void)state;
	assert_int_equal(ram_init(&r, 0), -22);
	assert_int_equal(ram_init(&r, 4097), -22);
	assert_int_equal(ram_init(&r, 1ull << 62), -12);
	ram_free(&r);
}

static void digest_is_of_content_and_place(void **state)
{
	struct machine *t = *state;
	uint64_t zero = ram_digest(&t->ram), one, other;

	assert_int_equal(zero, 0);
	poke(t, 0x5000, 7);
	one = ram_digest(&t->ram);
	assert_int_not_equal(one, zero);
	poke(t, 0x5000, 0);
	poke(t, 0x6000, 7);
	other = ram_digest(&t->ram);
	assert_int_not_equal(other, one);
	poke(t, 0x5000, 7);
	poke(t, 0x6000, 0);
	assert_int_equal(ram_digest(&t->ram), one);
	t->ram.host[0x8000] = 1; /* written directly */
	ram_mark_all_dirty(&t->ram);
	assert_int_equal(t->ram.dirty[8], RAM_DIRTY_ALL);
	assert_int_equal(t->ram.dirty[9], 0); /* not touched: nothing to see */
	assert_int_not_equal(ram_digest(&t->ram), one);
	poke(t, 0x8000, 0);
	assert_int_equal(ram_digest(&t->ram), one);
	poke(t, MEMORY - 4, 1); /* the last page counts */
	assert_int_not_equal(ram_digest(&t->ram), one);
	poke(t, MEMORY - 4, 0);
	assert_int_equal(ram_digest(&t->ram), one);
	poke(t, 0x5ffc, 1); /* a page with zeros in front */
	poke(t, 0x5000, 0);
	assert_int_not_equal(ram_digest(&t->ram), 0);
}

/* Written, zero again, digested before or not: what may hold something is told, and nothing that cannot. */
static void used_pages_are_known_unread(void **state)
{
	uint64_t page[MEMORY >> PAGE_SHIFT];
	struct machine *t = *state;

	ram_digest(&t->ram);
	assert_int_equal(ram_used(&t->ram, page), 0);
	poke(t, 0x5000, 7);
	poke(t, MEMORY - 4, 7);
	poke(t, 0x6000, 0);
	assert_int_equal(ram_used(&t->ram, page), 3);
	ram_digest(&t->ram);
	assert_int_equal(ram_used(&t->ram, page), 2);
	assert_int_equal(page[0], 5);
	assert_int_equal(page[1], (MEMORY >> PAGE_SHIFT) - 1);
	poke(t, 0x5000, 0);
	assert_int_equal(ram_used(&t->ram, page), 2);
	ram_digest(&t->ram);
	assert_int_equal(ram_used(&t->ram, page), 1);
}

static void digest_values_are_fixed(void **state)
{
	static const uint8_t empty128[16] = { 0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
		                              0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f };
	struct digest128 d = digest128(NULL, 0);

	(void)state;
	assert_int_equal(digest64(NULL, 0, 0), 0x2d06800538d394c2ull); /* XXH3's published values for no bytes */
	assert_memory_equal(d.bytes, empty128, 16);
}

static void code_chunks(void **state)
{
	struct machine *t = *state;

	assert_true(ram_mark_code(&t->ram, 0x3010, 100)); /* chunks 0 and 1 */
	assert_false(ram_mark_code(&t->ram, 0x3fff, 1));
	assert_true(ram_holds_code(&t->ram, 0x3000, 1));
	assert_true(ram_holds_code(&t->ram, 0x307f, 1));
	assert_false(ram_holds_code(&t->ram, 0x3080, 0xf40));
	assert_true(ram_holds_code(&t->ram, 0x3080, 0xf41));
	assert_true(ram_holds_code(&t->ram, 0x3000, 0x1000));
	assert_false(ram_holds_code(&t->ram, 0x4000, 0x1000));
	assert_false(ram_mark_code(&t->ram, 0xa0000, 4));
	assert_false(ram_mark_code(&t->ram, MEMORY, 4));
	poke(t, 0x3100, 1);
	assert_int_equal(t->code_writes, 0);
	poke(t, 0x307e, 1);
	assert_int_equal(t->code_writes, 1);
	assert_int_equal(t->code_write.gpa, 0x307e);
	assert_false(ram_holds_code(&t->ram, 0x3000, 0x1000));
}

/* ---- the walk ---- */

static void identity_without_paging(void **state)
{
	struct machine *t = *state;
	uint64_t gpa;

	assert_int_equal(try_translate(t, 0xfee00123, MMU_WRITE, MMU_USER, &gpa), OK);
	assert_int_equal(gpa, 0xfee00123);
	assert_null(mmu_fast_read(&t->c.mmu, 0xfee00000, 4));
	assert_int_equal(try_translate(t, 0x5123, MMU_READ, MMU_SUPERVISOR, &gpa), OK);
	assert_ptr_equal(mmu_fast_read(&t->c.mmu, 0x5123, 4), t->ram.host + 0x5123);
	assert_null(mmu_fast_read(&t->c.mmu, 0x5ffd, 4));
	assert_null(mmu_fast_write(&t->c.mmu, 0x5123, 4)); /* not dirty yet */
	assert_int_equal(try_translate(t, 0x5123, MMU_WRITE, MMU_SUPERVISOR, &gpa), OK);
	assert_ptr_equal(mmu_fast_write(&t->c.mmu, 0x5123, 4), t->ram.host + 0x5123);
	assert_int_equal(t->c.mmu.fills, 0);
}

static void accessed_and_dirty(void **state)
{
	struct machine *t = *state;
	uint64_t gpa;

	map(t, 0x00405000, 0x50000, P | W | U);
	set_paging(t, 0, 0);
	assert_int_equal(try_translate(t, 0x405678, MMU_READ, MMU_USER, &gpa), OK);
	assert_int_equal(gpa, 0x50678);
	assert_int_equal(pte(t, 0x405000), 0x50000 | P | W | U | A);
	assert_int_equal(pde(t, 0x405000), PT(1) | P | W | U | A);
	assert_null(mmu_fast_write(&t->c.mmu, 0x405000, 4));
	poke(t, PT(1) + 5 * 4, 0x50000 | P | W | U); /* without INVLPG: the stored translation goes on */
	assert_int_equal(try_translate(t, 0x405678, MMU_READ, MMU_USER, &gpa), OK);
	assert_int_equal(pte(t, 0x405000), 0x50000 | P | W | U);
	assert_int_equal(try_translate(t, 0x405678, MMU_WRITE, MMU_USER, &gpa), OK); /* first write walks again */
	assert_int_equal(pte(t, 0x405000), 0x50000 | P | W | U | A | D);
	poke(t, PT(1) + 5 * 4, 0);
	assert_int_equal(try_translate(t, 0x405678, MMU_WRITE, MMU_USER, &gpa), OK);
	assert_int_equal(pte(t, 0x405000), 0);
	assert_int_equal(t->c.mmu.fills, 2);
}

static void fault_codes(void **state)
{
	static const struct {
		uint32_t pde, pte, cr0, cr4;
		enum mmu_access access;
		enum mmu_context ctx;
		uint32_t want;
	} cases[] = {
		{ 0, 0, 0, 0, MMU_READ, MMU_SUPERVISOR, 0 },
		{ 0, 0, 0, 0, MMU_WRITE, MMU_USER, 6 },
		{ P | W | U, W | U, 0, 0, MMU_READ, MMU_USER, 4 },
		{ P | W | U, W | U, 0, 0, MMU_EXEC, MMU_USER, 4 }, /* no NX: fetches look like reads */
		{ P | W, P | W | U, 0, 0, MMU_READ, MMU_USER, 5 },
		{ P | W | U, P | W, 0, 0, MMU_WRITE, MMU_USER, 7 },
		{ P | U, P | W | U, 0, 0, MMU_WRITE, MMU_USER, 7 },
		{ P | W | U, P | U, 0, 0, MMU_WRITE, MMU_USER, 7 },
		{ P | W | U, P | U, 0, 0, MMU_READ, MMU_USER, OK },
		{ P | W | U, P | U, 0, 0, MMU_WRITE, MMU_SUPERVISOR, OK },
		{ P, P, 0, 0, MMU_WRITE, MMU_SUPERVISOR, OK },
		{ P | W | U, P | U, CR0_WP, 0, MMU_WRITE, MMU_SUPERVISOR, 3 },
		{ P | U, P | W | U, CR0_WP, 0, MMU_WRITE, MMU_SUPERVISOR, 3 },
		{ P | W, P | W, CR0_WP, 0, MMU_WRITE, MMU_SUPERVISOR, OK },
		{ P | W | PS, P | W, 0, 0, MMU_WRITE, MMU_SUPERVISOR, OK }, /* PS without CR4.PSE is ignored */
		{ P | W | PS | 0x2000, 0, 0, CR4_PSE, MMU_READ, MMU_SUPERVISOR, 9 },
		{ P | W | PS | 0x200000, 0, 0, CR4_PSE, MMU_WRITE, MMU_USER, 0xf },
		{ P | W | PS | 0x1000, 0, 0, CR4_PSE, MMU_READ, MMU_SUPERVISOR, OK }, /* bit 12 is PAT */
		{ P | PS, 0, 0, CR4_PSE, MMU_READ, MMU_USER, 5 },
		{ P | PS | U, 0, CR0_WP, CR4_PSE, MMU_WRITE, MMU_SUPERVISOR, 3 },
	};
	struct machine *t = *state;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t base = cases[i].pde & PS && cases[i].cr4 ? 0x400000 : PT(2);

		poke(t, PD + 2 * 4, base | cases[i].pde);
		poke(t, PT(2) + 3 * 4, 0x50000 | cases[i].pte);
		set_paging(t, cases[i].cr0, cases[i].cr4);
		assert_int_equal(try_translate(t, 0x803010, cases[i].access, cases[i].ctx, NULL), cases[i].want);
		if (cases[i].want == OK)
			continue;
		assert_int_equal(pde(t, 0x803010), base | cases[i].pde); /* a fault leaves no mark */
		assert_int_equal(look(t, PT(2) + 3 * 4), 0x50000 | cases[i].pte);
	}
}

static void tables_outside_ram_read_all_ones(void **state)
{
	struct machine *t = *state;
	uint64_t gpa;

	t->c.cr3 = 0xf0000000;
	mmu_set_paging(&t->c.mmu, CR0_PG | CR0_PE, 0xf0000000, 0, true);
	assert_int_equal(try_translate(t, 0x1234, MMU_WRITE, MMU_USER, &gpa), OK);
	assert_int_equal(gpa, 0xfffff234);
	mmu_set_paging(&t->c.mmu, CR0_PG | CR0_PE, 0xa0000, CR4_PSE, true);
	assert_int_equal(try_translate(t, 0x1234, MMU_WRITE, MMU_USER, &gpa), 0xf);
	poke(t, PD, 0xfffff000 | P | W | U);
	mmu_set_paging(&t->c.mmu, CR0_PG | CR0_PE, PD | 0xfff, 0, true); /* low bits of CR3 are not address */
	assert_int_equal(try_translate(t, 0x1234, MMU_WRITE, MMU_USER, &gpa), OK);
}

static void self_mapped_tables(void **state)
{
	struct machine *t = *state;
	uint64_t gpa;

	poke(t, PD + 1023 * 4, PD | P | W);
	set_paging(t, 0, 0);
	assert_int_equal(try_translate(t, 0xfffff000, MMU_WRITE, MMU_SUPERVISOR, &gpa), OK);
	assert_int_equal(gpa, PD);
	assert_int_equal(look(t, PD + 1023 * 4), PD | P | W | A | D);
}

static void big_pages(void **state)
{
	struct machine *t = *state;
	uint64_t gpa;

	poke(t, PD + 4, 0x00400000 | P | W | U | PS);
	set_paging(t, 0, CR4_PSE);
	assert_int_equal(try_translate(t, 0x7ff123, MMU_READ, MMU_USER, &gpa), OK);
	assert_int_equal(gpa, 0x7ff123);
	assert_int_equal(look(t, PD + 4), 0x00400000 | P | W | U | PS | A);
	assert_int_equal(try_translate(t, 0x401000, MMU_WRITE, MMU_USER, &gpa), OK);
	assert_int_equal(look(t, PD + 4), 0x00400000 | P | W | U | PS | A | D);
	poke(t, PD + 4, 0);
	assert_int_equal(try_translate(t, 0x678000, MMU_WRITE, MMU_USER, &gpa), OK); /* one translation covers it all */
	assert_int_equal(gpa, 0x678000);
	mmu_set_context(&t->c.mmu, MMU_USER);
	assert_non_null(mmu_fast_write(&t->c.mmu, 0x678000, 4));
	mmu_invlpg(&t->c.mmu, 0x400000); /* and one INVLPG takes it all */
	assert_null(mmu_fast_write(&t->c.mmu, 0x678000, 4));
	assert_int_equal(try_translate(t, 0x678000, MMU_READ, MMU_USER, &gpa), 4);
	assert_int_equal(mmu_peek(&t->c.mmu, 0x678000, &gpa), -1);
}

static void a_small_page_becomes_big(void **state)
{
	struct machine *t = *state;
	uint64_t gpa;

	map(t, 0x405000, 0x50000, P | U);
	map(t, 0x406000, 0x51000, P | U);
	set_paging(t, 0, CR4_PSE);
	assert_int_equal(try_translate(t, 0x405000, MMU_READ, MMU_USER, NULL), OK);
	assert_int_equal(try_translate(t, 0x406000, MMU_READ, MMU_USER, NULL), OK);
	poke(t, PD + 4, 0x00400000 | P | W | U | PS); /* without a flush */
	assert_int_equal(try_translate(t, 0x405000, MMU_WRITE, MMU_USER, &gpa), OK);
	assert_int_equal(gpa, 0x405000);
	assert_int_equal(try_translate(t, 0x405000, MMU_READ, MMU_USER, &gpa), OK);
	assert_int_equal(gpa, 0x405000);
	assert_int_equal(try_translate(t, 0x406000, MMU_READ, MMU_USER, &gpa), OK);
	assert_int_equal(gpa, 0x51000); /* nothing said that this one goes */
	assert_int_equal(try_translate(t, 0x407000, MMU_WRITE, MMU_USER, &gpa), OK);
	assert_int_equal(gpa, 0x407000);
	mmu_invlpg(&t->c.mmu, 0x406000);
	assert_int_equal(try_translate(t, 0x406000, MMU_READ, MMU_USER, &gpa), OK);
	assert_int_equal(gpa, 0x406000);
}

static void peek_has_no_effects(void **state)
{
	struct machine *t = *state;
	uint64_t gpa;

	map(t, 0x405000, 0x50000, P);
	poke(t, PD + 8, 0x00400000 | P | PS);
	set_paging(t, 0, CR4_PSE);
	assert_int_equal(mmu_peek(&t->c.mmu, 0x405432, &gpa), 0);
	assert_int_equal(gpa, 0x50432);
	assert_int_equal(mmu_peek(&t->c.mmu, 0xabcdef, &gpa), 0);
	assert_int_equal(gpa, 0x6bcdef);
	assert_int_equal(pte(t, 0x405000), 0x50000 | P);
	assert_int_equal(t->c.mmu.fills, 0);
}

static void cr3_load_keeps_global(void **state)
{
	struct machine *t = *state;
	uint64_t flushes;
	uint32_t generation;

	map(t, 0x405000, 0x50000, P | W | G);
	map(t, 0x406000, 0x51000, P | W);
	set_paging(t, 0, CR4_PGE);
	try_translate(t, 0x405000, MMU_READ, MMU_SUPERVISOR, NULL);
	try_translate(t, 0x406000, MMU_READ, MMU_SUPERVISOR, NULL);
	poke(t, PD + 4, 0);
	flushes = t->c.mmu.flushes;
	generation = t->c.mmu.generation;
	mmu_set_paging(&t->c.mmu, t->c.cr0, t->c.cr3, t->c.cr4, false);
	assert_int_equal(t->c.mmu.generation, generation);
	assert_int_equal(try_translate(t, 0x406000, MMU_READ, MMU_SUPERVISOR, NULL), OK);
	mmu_set_paging(&t->c.mmu, t->c.cr0, t->c.cr3, t->c.cr4, true);
	assert_int_not_equal(t->c.mmu.generation, generation);
	assert_int_equal(t->c.mmu.flushes, flushes + 1);
	assert_non_null(mmu_fast_read(&t->c.mmu, 0x405000, 4));
	assert_null(mmu_fast_read(&t->c.mmu, 0x406000, 4));
	assert_int_equal(try_translate(t, 0x405000, MMU_READ, MMU_SUPERVISOR, NULL), OK);
	assert_int_equal(try_translate(t, 0x406000, MMU_READ, MMU_SUPERVISOR, NULL), 0);
	mmu_set_paging(&t->c.mmu, t->c.cr0, t->c.cr3, 0, false); /* PGE off: global ones go too */
	assert_int_equal(try_translate(t, 0x405000, MMU_READ, MMU_SUPERVISOR, NULL), 0);
	assert_null(mmu_fast_read(&t->c.mmu, 0x405000, 4));
}

static void rewalk_before_fault(void **state)
{
	struct machine *t = *state;
	uint32_t generation;
	uint64_t gpa;

	map(t, 0x405000, 0x50000, P | U);
	set_paging(t, 0, 0);
	assert_int_equal(try_translate(t, 0x405000, MMU_READ, MMU_USER, NULL), OK);
	map(t, 0x405000, 0x51000, P | W | U);
	assert_int_equal(try_translate(t, 0x405000, MMU_READ, MMU_USER, &gpa), OK);
	assert_int_equal(gpa, 0x50000);
	generation = t->c.mmu.generation;
	assert_int_equal(try_translate(t, 0x405000, MMU_WRITE, MMU_USER, &gpa), OK);
	assert_int_equal(gpa, 0x51000);
	assert_int_not_equal(t->c.mmu.generation, generation); /* the frame is another */
	assert_int_equal(try_translate(t, 0x405000, MMU_READ, MMU_SUPERVISOR, &gpa), OK);
	assert_int_equal(gpa, 0x51000);
}

static void contexts_are_cheap(void **state)
{
	struct machine *t = *state;
	uint32_t generation;

	map(t, 0x405000, 0x50000, P | W | U);
	set_paging(t, 0, 0);
	try_translate(t, 0x405000, MMU_READ, MMU_SUPERVISOR, NULL);
	generation = t->c.mmu.generation;
	mmu_set_context(&t->c.mmu, MMU_USER);
	assert_null(mmu_fast_read(&t->c.mmu, 0x405000, 4));
	try_translate(t, 0x405000, MMU_READ, MMU_USER, NULL);
	mmu_set_context(&t->c.mmu, MMU_SUPERVISOR);
	assert_non_null(mmu_fast_read(&t->c.mmu, 0x405000, 4));
	assert_int_equal(t->c.mmu.generation, generation);
	assert_int_equal(t->c.mmu.fills, 1);
	assert_int_equal(t->c.mmu.view_switches, 0);
}

static void split_views_empty_the_entered(void **state)
{
	struct machine *t = *state;

	map(t, 0x405000, 0x50000, P | W | U);
	set_paging(t, 0, 0);
	try_translate(t, 0x405000, MMU_READ, MMU_SUPERVISOR, NULL);
	mmu_set_context(&t->c.mmu, MMU_USER);
	mmu_set_context(&t->c.mmu, MMU_USER);
	mmu_set_context(&t->c.mmu, MMU_SUPERVISOR);
	assert_null(mmu_fast_read(&t->c.mmu, 0x405000, 4));
	assert_int_equal(t->c.mmu.view_switches, 2);
	poke(t, PT(1) + 5 * 4, 0);
	assert_int_equal(try_translate(t, 0x405000, MMU_READ, MMU_SUPERVISOR, NULL), OK); /* the store remembers */
}

static void write_tags_go(void **state)
{
	struct machine *t = *state;
	struct mmu *m = &t->c.mmu;

	map(t, 0x405000, 0x50000, P | W | U);
	map(t, 0x805000, 0x50000, P | W | U); /* an alias with the same fast index */
	map(t, 0x806000, 0x50000, P | W | U);
	set_paging(t, 0, 0);
	try_translate(t, 0x405000, MMU_WRITE, MMU_USER, NULL);
	try_translate(t, 0x806000, MMU_WRITE, MMU_SUPERVISOR, NULL);
	assert_non_null(mmu_fast_write(m, 0x806000, 4));
	assert_true(ram_mark_code(&t->ram, 0x50040, 4));
	mmu_forget_writes(m, 0x50000);
	assert_null(mmu_fast_write(m, 0x806000, 4));
	assert_non_null(mmu_fast_read(m, 0x806000, 4));
	try_translate(t, 0x806000, MMU_WRITE, MMU_SUPERVISOR, NULL);
	assert_null(mmu_fast_write(m, 0x806000, 4));
	mmu_set_context(m, MMU_USER);
	assert_null(mmu_fast_write(m, 0x405000, 4));
	ram_clear_code(&t->ram, 0x50000);
	try_translate(t, 0x405000, MMU_WRITE, MMU_USER, NULL);
	assert_non_null(mmu_fast_write(m, 0x405000, 4));
	ram_digest(&t->ram);
	assert_null(mmu_fast_write(m, 0x405000, 4));
	assert_non_null(mmu_fast_read(m, 0x405000, 4));
	assert_int_equal(t->ram.dirty[0x50] & RAM_DIRTY_DIGEST, 0);
	try_translate(t, 0x405000, MMU_WRITE, MMU_USER, NULL);
	assert_non_null(mmu_fast_write(m, 0x405000, 4));
	assert_int_equal(t->ram.dirty[0x50], RAM_DIRTY_ALL);
}

/* ---- the window ---- */

static enum window_state seen(struct machine *t, uint32_t lin)
{
	return window_of(&t->c.mmu.window, lin);
}

/* Through the page tables and, as far as that goes, into the window. */
static enum window_state reach(struct machine *t, uint32_t lin, enum mmu_access access)
{
	uint64_t gpa;

	assert_int_equal(try_translate(t, lin, access, MMU_USER, &gpa), OK);
	mmu_window_open(&t->c.mmu, lin, false);
	return seen(t, lin);
}

static void window_permits_what_the_table_does(void **state)
{
	struct machine *t = *state;
	struct mmu *m = &t->c.mmu;
	uint64_t gpa;

	assert_int_equal(mmu_flat_create(m), 0);
	assert_int_equal(mmu_window_create(m), 0);
	map(t, 0x00405000, 0x50000, P | W | U);
	map(t, 0x00406000, 0x51000, P | W);
	map(t, 0x00407000, 0x52000, P | U);
	map(t, 0x00408000, 0xa0000, P | W | U);
	set_paging(t, 0, 0);
	assert_false(mmu_window_open(m, 0x405000, false)); /* no translation yet */
	assert_int_equal(reach(t, 0x405000, MMU_READ), WINDOW_READ);
	assert_false(mmu_window_open(m, 0x405000, true)); /* the dirty bit is not set yet */
	assert_int_equal(reach(t, 0x405000, MMU_WRITE), WINDOW_WRITE);
	poke(t, 0x50010, 0x12345678);
	assert_int_equal(*(uint32_t *)(void *)(m->window.base + 0x405010), 0x12345678);
	*(uint32_t *)(void *)(m->window.base + 0x405010) = 7;
	assert_int_equal(look(t, 0x50010), 7);
	assert_int_equal(try_translate(t, 0x406000, MMU_WRITE, MMU_SUPERVISOR, &gpa), OK);
	assert_false(mmu_window_open(m, 0x406000, false)); /* not for the user */
	assert_int_equal(reach(t, 0x407000, MMU_READ), WINDOW_READ);
	assert_int_equal(reach(t, 0x408000, MMU_WRITE), WINDOW_SHUT); /* VGA's */
}

static void window_shuts(void **state)
{
	struct machine *t = *state;
	struct mmu *m = &t->c.mmu;
	const uint32_t watch = 0x405000;

	assert_int_equal(mmu_flat_create(m), 0);
	assert_int_equal(mmu_window_create(m), 0);
	map(t, 0x00405000, 0x50000, P | W | U);
	map(t, 0x00407000, 0x52000, P | W | U | G);
	set_paging(t, 0, CR4_PGE);
	assert_int_equal(reach(t, 0x405000, MMU_WRITE), WINDOW_WRITE);
	assert_int_equal(reach(t, 0x407000, MMU_WRITE), WINDOW_WRITE);
	mmu_invlpg(m, 0x405123);
	assert_int_equal(seen(t, 0x405000), WINDOW_SHUT);
	assert_int_equal(seen(t, 0x407000), WINDOW_WRITE);
	assert_int_equal(reach(t, 0x405000, MMU_WRITE), WINDOW_WRITE);
	mmu_set_paging(m, m->cr0, m->cr3, m->cr4, true);
	assert_int_equal(seen(t, 0x405000), WINDOW_SHUT);
	assert_int_equal(reach(t, 0x405000, MMU_WRITE), WINDOW_WRITE);
	ram_mark_code(&t->ram, 0x50000, 1);
	mmu_forget_writes(m, 0x50000);
	assert_int_equal(seen(t, 0x405000), WINDOW_SHUT);
	assert_int_equal(reach(t, 0x405000, MMU_READ), WINDOW_READ);
	ram_clear_code(&t->ram, 0x50000);
	assert_int_equal(reach(t, 0x405000, MMU_WRITE), WINDOW_WRITE);
	ram_digest(&t->ram); /* wants to hear of the next write */
	assert_int_not_equal(seen(t, 0x405000), WINDOW_WRITE);
	assert_int_equal(reach(t, 0x405000, MMU_WRITE), WINDOW_WRITE);
	mmu_set_debug_watch(m, &watch, 1);
	assert_int_equal(seen(t, 0x405000), WINDOW_SHUT);
	assert_int_equal(reach(t, 0x405000, MMU_WRITE), WINDOW_SHUT);
	mmu_set_debug_watch(m, NULL, 0);
	assert_int_equal(reach(t, 0x405000, MMU_WRITE), WINDOW_WRITE);
	map(t, 0x00405000, 0x53000, P | W | U);
	assert_int_equal(seen(t, 0x405000), WINDOW_WRITE); /* as the TLB has it, until it is told */
	mmu_invlpg(m, 0x405000);
	poke(t, 0x53000, 9);
	assert_int_equal(reach(t, 0x405000, MMU_READ), WINDOW_READ);
	assert_int_equal(*(uint32_t *)(void *)(m->window.base + 0x405000), 9);
}

static void marks_over_code(void **state)
{
	struct machine *t = *state;
	struct mmu_fault fault;
	uint64_t gpa;

	map(t, 0x405000, 0x50000, P | W | U);
	set_paging(t, 0, 0);
	ram_mark_code(&t->ram, PT(1) + 5 * 4, 4);
	assert_int_equal(mmu_translate_running(&t->c.mmu, 0x405000, MMU_READ, MMU_USER, &gpa, &fault), MMU_HITS_CODE);
	assert_int_equal(pde(t, 0x405000), PT(1) | P | W | U);
	assert_int_equal(pte(t, 0x405000), 0x50000 | P | W | U);
	assert_int_equal(t->code_writes, 0);
	assert_int_equal(mmu_translate(&t->c.mmu, 0x405000, MMU_READ, MMU_USER, &gpa, &fault), 0);
	assert_int_equal(t->code_writes, 1);
	assert_int_equal(pte(t, 0x405000), 0x50000 | P | W | U | A);
	ram_mark_code(&t->ram, PT(1), 64);
	ram_mark_code(&t->ram, PD, 64);
	mmu_flush_all(&t->c.mmu); /* all bits are set already: nothing to write */
	assert_int_equal(mmu_translate_running(&t->c.mmu, 0x405000, MMU_READ, MMU_USER, &gpa, &fault), 0);
}

/*
 * The whole against a model that is too simple to be wrong: for a few linear pages, chosen to share fast indexes, it
 * keeps what was last translated. Random page tables, accesses and flushes; every answer, every fast hit and every
 * accessed and dirty bit must agree.
 */
struct model_page {
	bool valid, global, dirty, w, u;
	uint32_t frame;
};
#define MODEL_DIRS 4
#define MODEL_PAGES 6

static uint32_t rnd(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*seed >> 33);
}

static bool model_permits(const struct mmu *m, bool w, bool u, enum mmu_access access, enum mmu_context ctx)
{
	if (ctx == MMU_USER && !u)
		return false;
	return access != MMU_WRITE || w || (ctx == MMU_SUPERVISOR && !(m->cr0 & CR0_WP));
}

static void model_access(struct machine *t, struct model_page (*model)[MODEL_PAGES], unsigned d, unsigned p,
                         enum mmu_access access, enum mmu_context ctx)
{
	struct mmu *m = &t->c.mmu;
	struct model_page *e = &model[d][p];
	uint32_t lin = d << 22 | p << 12, was_pde = pde(t, lin), was_pte = look(t, PT(d) + p * 4);
	uint32_t bits = access == MMU_WRITE ? A | D : A, want, got;
	uint64_t gpa = 0;
	void *fast;

	mmu_set_context(m, ctx);
	fast = access == MMU_WRITE ? mmu_fast_write(m, lin, 4) : access == MMU_READ ? mmu_fast_read(m, lin, 4) : NULL;
	if (fast) {
		assert_true(e->valid && model_permits(m, e->w, e->u, access, ctx) && (access != MMU_WRITE || e->dirty));
		assert_ptr_equal(fast, t->ram.host + e->frame);
		if (access == MMU_WRITE)
			assert_true(t->ram.dirty[e->frame >> 12] && !t->ram.code[e->frame >> 12]);
	}
	if (!e->valid || !model_permits(m, e->w, e->u, access, ctx) || (access == MMU_WRITE && !e->dirty)) {
		bool w = was_pde & was_pte & W, u = was_pde & was_pte & U;

		want = (was_pde & was_pte & P) | (access == MMU_WRITE ? 2 : 0) | (ctx == MMU_USER ? 4 : 0);
		if ((was_pde & was_pte & P) && model_permits(m, w, u, access, ctx)) {
			want = OK;
			*e = (struct model_page){ true,
				                  (was_pte & G) && (m->cr4 & CR4_PGE),
				                  ((was_pte | bits) & D) != 0,
				                  w,
				                  u,
				                  was_pte & ~0xfffu };
			was_pde |= A;
			was_pte |= bits;
		}
	} else {
		want = OK;
	}
	got = try_translate(t, lin, access, ctx, &gpa);
	assert_int_equal(got, want);
	if (want == OK)
		assert_int_equal(gpa, e->frame);
	assert_int_equal(pde(t, lin), was_pde);
	assert_int_equal(look(t, PT(d) + p * 4), was_pte);
}

static void model_forget(struct model_page (*model)[MODEL_PAGES], bool global)
{
	for (unsigned d = 0; d < MODEL_DIRS; d++)
		for (unsigned p = 0; p < MODEL_PAGES; p++)
			model[d][p].valid = model[d][p].valid && model[d][p].global && !global;
}

static void like_the_model(void **state)
{
	struct machine *t = *state;
	struct model_page model[MODEL_DIRS][MODEL_PAGES] = { 0 };
	uint64_t seed = 12345;

	set_paging(t, 0, CR4_PGE);
	for (unsigned i = 0; i < 1000000; i++) {
		unsigned d = rnd(&seed) % MODEL_DIRS, p = rnd(&seed) % MODEL_PAGES, what = rnd(&seed) % 64;
		uint32_t bits = rnd(&seed);

		if (what < 8) {
			poke(t, PT(d) + p * 4,
			     (0x40000 + (bits >> 12) % 3 * 0x1000) | (bits & (P | W | U | A | D | G)) | (bits >> 31));
		} else if (what < 10) {
			poke(t, PD + d * 4, PT(d) | (bits & (P | W | U | A)) | (bits >> 31));
		} else if (what < 12) {
			mmu_invlpg(&t->c.mmu, (uint64_t)(d << 22 | p << 12 | (bits & 0xfff)));
			model[d][p].valid = false;
		} else if (what == 12) {
			mmu_set_paging(&t->c.mmu, t->c.mmu.cr0, PD, t->c.mmu.cr4, true);
			model_forget(model, !(t->c.mmu.cr4 & CR4_PGE));
		} else if (what == 13 && bits % 8 == 0) {
			mmu_set_paging(&t->c.mmu, t->c.mmu.cr0, PD, t->c.mmu.cr4 ^ CR4_PGE, false);
			model_forget(model, true);
		} else if (what == 14 && bits % 8 == 0) {
			mmu_set_paging(&t->c.mmu, t->c.mmu.cr0 ^ CR0_WP, PD, t->c.mmu.cr4, false);
			model_forget(model, true);
		} else if (what == 15) {
			if (bits % 4 == 0)
				ram_digest(&t->ram);
			else if (ram_mark_code(&t->ram, 0x40000 + bits % 3 * 0x1000, 4))
				mmu_forget_writes(&t->c.mmu, 0x40000 + bits % 3 * 0x1000);
		} else if (what == 16) {
			ram_clear_code(&t->ram, 0x40000 + bits % 3 * 0x1000);
		} else {
			model_access(t, model, d, p, bits % 3, bits >> 8 & 1);
		}
	}
}

/* ---- accesses through segments ---- */

/* Loops must not live across setjmp(). */
static __attribute__((noinline)) int raised_by_read(struct machine *t, unsigned seg, uint32_t off, unsigned size)
{
	return RAISED(t, mem_read_slow(&t->c, seg, off, size));
}

static __attribute__((noinline)) int raised_by_write(struct machine *t, unsigned seg, uint32_t off, unsigned size)
{
	return RAISED(t, mem_write_slow(&t->c, seg, off, size, 0));
}

static __attribute__((noinline)) int raised_by_check(struct machine *t, unsigned seg, uint32_t off, unsigned size)
{
	return RAISED(t, mem_check_write(&t->c, seg, off, size));
}

static void segment_limits(void **state)
{
	static const struct {
		uint16_t attr;
		uint32_t limit, off;
		unsigned size;
		bool read, write;
	} cases[] = {
		{ FLAT_DATA, 0xfff, 0xffc, 4, true, true },
		{ FLAT_DATA, 0xfff, 0xffd, 4, false, false },
		{ FLAT_DATA, 0xfff, 0x1000, 1, false, false },
		{ FLAT_DATA, 0xffffffff, 0xfffffffc, 4, true, true },
		{ FLAT_DATA, 0xffffffff, 0xfffffffd, 4, false, false },
		{ FLAT_DATA, 0, 0, 1, true, true },
		{ FLAT_DATA, 0, 0, 2, false, false },
		{ FLAT_DATA & ~SEG_WRITABLE, 0xfff, 0, 4, true, false },
		{ FLAT_DATA | SEG_CODE, 0xfff, 0, 4, true, false },
		{ (FLAT_DATA | SEG_CODE) & ~SEG_WRITABLE, 0xfff, 0, 4, false, false },
		{ FLAT_DATA | SEG_CODE | SEG_EXPAND, 0xfff, 0, 4, true, false },
		{ FLAT_DATA | SEG_EXPAND, 0xfff, 0x1000, 4, true, true },
		{ FLAT_DATA | SEG_EXPAND, 0xfff, 0xfff, 4, false, false },
		{ FLAT_DATA | SEG_EXPAND, 0xfff, 0xfffffffc, 4, true, true },
		{ FLAT_DATA | SEG_EXPAND, 0xfff, 0xfffffffd, 4, false, false },
		{ FLAT_DATA | SEG_EXPAND, 0xffffffff, 0, 1, false, false },
		{ (FLAT_DATA | SEG_EXPAND) & ~SEG_DB, 0xfff, 0xfffc, 4, true, true },
		{ (FLAT_DATA | SEG_EXPAND) & ~SEG_DB, 0xfff, 0xfffd, 4, false, false },
		{ (FLAT_DATA | SEG_EXPAND) & ~SEG_DB, 0xfff, 0x10000, 1, false, false },
		{ 0, 0xffffffff, 0, 1, false, false },
	};
	struct machine *t = *state;

	for (unsigned view = 0; view < 2; view++) {
		t->c.real_view = view;
		t->c.mmu.stepping = true; /* the top of the address space is not RAM */
		for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			for (unsigned seg = SEG_SS; seg <= SEG_DS; seg++) {
				int bad = seg == SEG_SS ? VEC_SS : VEC_GP;

				segment_set(&t->c.seg[seg], 8, 0, cases[i].limit, cases[i].attr, cases[i].attr);
				t->mmios = 0;
				assert_int_equal(raised_by_read(t, seg, cases[i].off, cases[i].size),
				                 cases[i].read ? -1 : bad);
				assert_int_equal(raised_by_write(t, seg, cases[i].off, cases[i].size),
				                 cases[i].write ? -1 : bad);
				assert_int_equal(raised_by_check(t, seg, cases[i].off, cases[i].size),
				                 cases[i].write ? -1 : bad);
				if (cases[i].read || cases[i].write)
					continue;
				assert_true(t->c.exit.has_error);
				assert_int_equal(t->c.exit.error, 0);
			}
		}
	}
	t->c.cr0 = 0; /* real mode writes through anything */
	segment_set(&t->c.seg[SEG_DS], 8, 0x5000, 0xffff, SEG_P | SEG_S | SEG_CODE, 0);
	assert_int_equal(RAISED(t, mem_write_slow(&t->c, SEG_DS, 0x10, 4, 5)), -1);
	assert_int_equal(look(t, 0x5010), 5);
	assert_int_equal(RAISED(t, mem_write_slow(&t->c, SEG_DS, 0xfffd, 4, 5)), VEC_GP);
	t->c.real_view = false;
}

static void inline_and_slow_agree(void **state)
{
	struct machine *t = *state;
	uint8_t bytes[512];

	for (unsigned i = 0; i < 2; i++) { /* slow, then fast */
		mem_write32(&t->c, SEG_DS, 0x5ffe, 0x44332211);
		mem_write64(&t->c, SEG_DS, 0x6010, 0x8877665544332211ull);
		assert_int_equal(mem_read16(&t->c, SEG_DS, 0x6000), 0x4433);
		assert_int_equal(mem_read8(&t->c, SEG_SS, 0x6017), 0x88);
		assert_int_equal(mem_read64(&t->c, SEG_ES, 0x6010), 0x8877665544332211ull);
		assert_int_equal(mem_read32(&t->c, SEG_DS, 0x5ffe), 0x44332211);
	}
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	mem_write_bytes(&t->c, SEG_DS, 0x7f01, bytes, sizeof(bytes));
	memset(bytes, 0, sizeof(bytes));
	mem_read_bytes(&t->c, SEG_DS, 0x7f01, bytes, sizeof(bytes));
	for (unsigned i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], (uint8_t)(i * 7));
	assert_non_null(mem_rmw32(&t->c, SEG_DS, 0x6010));
	assert_null(mem_rmw32(&t->c, SEG_DS, 0x6fff));
	segment_set(&t->c.seg[SEG_DS], 8, 0xfffff000, 0xffffffff, FLAT_DATA, FLAT_DATA);
	mem_write32(&t->c, SEG_DS, 0x1100, 0xabcd); /* base + offset wraps */
	assert_int_equal(look(t, 0x100), 0xabcd);
}

static void crosser_checks_both_pages_first(void **state)
{
	struct machine *t = *state;

	map(t, 0x405000, 0x50000, P | W | U);
	map(t, 0x406000, 0x51000, W | U);
	set_paging(t, 0, 0);
	poke(t, 0x50ffc, 0x11111111);
	assert_int_equal(RAISED(t, mem_write32(&t->c, SEG_DS, 0x405ffe, 0xffffffff)), VEC_PF);
	assert_int_equal(t->c.exit.cr2, 0x406000);
	assert_int_equal(t->c.exit.error, 2);
	assert_int_equal(look(t, 0x50ffc), 0x11111111);
	assert_int_equal(pte(t, 0x405000), 0x50000 | P | W | U);
	assert_int_equal(t->c.cr2, 0);
	assert_int_equal(RAISED(t, mem_read32(&t->c, SEG_DS, 0x405ffe)), VEC_PF);
	assert_int_equal(t->c.exit.error, 0);
	assert_int_equal(RAISED(t, mem_check_write(&t->c, SEG_DS, 0x405ffe, 4)), VEC_PF);
	map(t, 0x405000, 0x50000, W | U);
	assert_int_equal(RAISED(t, mem_read32(&t->c, SEG_DS, 0x405ffe)), VEC_PF);
	assert_int_equal(t->c.exit.cr2, 0x405ffe); /* both fault: the first is told */
	map(t, 0x405000, 0x50000, P | W | U);
	map(t, 0x406000, 0x51000, P | W | U);
	assert_int_equal(RAISED(t, mem_write32(&t->c, SEG_DS, 0x405ffe, 0xaabbccdd)), -1);
	assert_int_equal(look(t, 0x50ffc), 0xccdd1111);
	assert_int_equal(look(t, 0x51000), 0x0000aabb);
	assert_int_equal(pte(t, 0x406000), 0x51000 | P | W | U | A | D);
}

static void linear_wraps_at_4_gib(void **state)
{
	struct machine *t = *state;

	map(t, 0xfffff000, 0x50000, P | W | U);
	map(t, 0x00000000, 0x51000, P | W | U);
	poke(t, PT(15) + 1023 * 4, 0x50000 | P | W | U);
	set_paging(t, 0, 0);
	segment_set(&t->c.seg[SEG_DS], 8, 0xfffffff0, 0xffff, FLAT_DATA, FLAT_DATA);
	assert_int_equal(RAISED(t, mem_write32(&t->c, SEG_DS, 0xe, 0xaabbccdd)), -1);
	assert_int_equal(look(t, 0x50ffc), 0xccdd0000);
	assert_int_equal(look(t, 0x51000), 0x0000aabb);
	assert_int_equal(mem_read32(&t->c, SEG_DS, 0xe), 0xaabbccdd);
	assert_int_equal(mem_sys_read(&t->c, 0xfffffffe, 4), 0xaabbccdd);
}

static void mmio_leaves_a_running_trace(void **state)
{
	struct machine *t = *state;
	struct insn in = { .op = OP_NOP, .len = 3 };
	uint8_t buf[16];

	t->c.real_view = true;
	t->c.ip = &in;
	t->c.db_pending = 1; /* of a first operand: its access is done again */
	assert_int_equal(RAISED(t, mem_read32(&t->c, SEG_DS, 0xb8000)), 0x100 + EXIT_MMIO);
	assert_int_equal(t->c.db_pending, 0);
	assert_true(t->c.exit.has_insn);
	assert_int_equal(t->c.exit.insn.len, 3);
	assert_int_equal(RAISED(t, mem_write8(&t->c, SEG_DS, 0xfee00000, 1)), 0x100 + EXIT_MMIO);
	assert_int_equal(RAISED(t, mem_check_write(&t->c, SEG_DS, 0x9fffe, 4)), 0x100 + EXIT_MMIO);
	assert_int_equal(t->mmios, 0);
	t->c.mmu.stepping = true;
	assert_int_equal(mem_read32(&t->c, SEG_DS, 0xb8000), 0x55667788);
	mem_write16(&t->c, SEG_DS, 0xb8002, 0x1234);
	assert_int_equal(t->mmios, 2);
	assert_true(t->mmio[0].gpa == 0xb8000 && t->mmio[0].size == 4 && !t->mmio[0].write);
	assert_true(t->mmio[1].gpa == 0xb8002 && t->mmio[1].size == 2 && t->mmio[1].write && t->mmio[1].value == 0x1234);
	t->c.mmu.stepping = t->c.real_view = false;
	t->mmios = 0;
	mem_write32(&t->c, SEG_DS, 0x9fffe, 0x44332211); /* emulation; RAM, then VGA, byte by byte */
	assert_int_equal(look(t, 0x9fffc), 0x22110000);
	assert_int_equal(t->mmios, 2);
	assert_true(t->mmio[0].gpa == 0xa0000 && t->mmio[0].size == 1 && t->mmio[0].value == 0x33);
	assert_true(t->mmio[1].gpa == 0xa0001 && t->mmio[1].value == 0x44);
	t->mmios = 0;
	mem_read_bytes(&t->c, SEG_DS, 0xb8000, buf, 15);
	assert_int_equal(t->mmios, 4); /* 8 + 4 + 2 + 1 */
}

static void code_write_leaves_a_running_trace(void **state)
{
	struct machine *t = *state;

	t->c.real_view = true;
	mem_write32(&t->c, SEG_DS, 0x5000, 1);
	assert_true(ram_mark_code(&t->ram, 0x5000, 10));
	mmu_forget_writes(&t->c.mmu, 0x5000);
	assert_int_equal(RAISED(t, mem_write32(&t->c, SEG_DS, 0x503d, 2)), 0x100 + EXIT_CODE_WRITE);
	assert_int_equal(RAISED(t, mem_write32(&t->c, SEG_DS, 0x4ffe, 2)), 0x100 + EXIT_CODE_WRITE);
	assert_int_equal(RAISED(t, mem_sys_write(&t->c, 0x503d, 4, 2)), 0x100 + EXIT_CODE_WRITE);
	assert_int_equal(RAISED(t, mem_write32(&t->c, SEG_DS, 0x5040, 2)), -1); /* the same page, no code */
	assert_int_equal(RAISED(t, mem_read_slow(&t->c, SEG_DS, 0x5000, 4)), -1);
	assert_int_equal(t->code_writes, 0);
	t->c.mmu.stepping = true;
	assert_int_equal(RAISED(t, mem_write32(&t->c, SEG_DS, 0x503d, 2)), -1);
	assert_int_equal(t->code_writes, 1);
	t->c.real_view = false;
	/* a page walk that has to set accessed bits in "code" */
	map(t, 0x405000, 0x50000, P | W | U);
	set_paging(t, 0, 0);
	ram_mark_code(&t->ram, PT(1), 64);
	t->c.real_view = true;
	t->c.mmu.stepping = false;
	assert_int_equal(RAISED(t, mem_read32(&t->c, SEG_DS, 0x405000)), 0x100 + EXIT_CODE_WRITE);
	t->c.mmu.stepping = true;
	assert_int_equal(RAISED(t, mem_read32(&t->c, SEG_DS, 0x405000)), -1);
	assert_int_equal(t->code_writes, 2);
	t->c.real_view = false;
}

static void alignment_checking(void **state)
{
	struct machine *t = *state;
	uint8_t buf[32];

	mem_write32(&t->c, SEG_DS, 0x5000, 1);
	t->c.cr0 |= CR0_AM;
	vcpu_set_eflags(&t->c, FL_AC);
	assert_int_equal(RAISED(t, mem_read32(&t->c, SEG_DS, 0x5001)), -1); /* CPL 0 */
	t->c.cpl = 3;
	vcpu_update_align(&t->c);
	assert_int_equal(RAISED(t, mem_read32(&t->c, SEG_DS, 0x5001)), VEC_AC);
	assert_true(t->c.exit.has_error && t->c.exit.error == 0);
	assert_int_equal(RAISED(t, mem_read32(&t->c, SEG_DS, 0x5004)), -1);
	assert_int_equal(RAISED(t, mem_read16(&t->c, SEG_DS, 0x5001)), VEC_AC);
	assert_int_equal(RAISED(t, mem_write64(&t->c, SEG_DS, 0x5004, 0)), VEC_AC);
	assert_int_equal(RAISED(t, mem_read8(&t->c, SEG_DS, 0x5001)), -1);
	assert_int_equal(RAISED(t, mem_read_bytes(&t->c, SEG_DS, 0x5004, buf, 6)), -1);
	assert_int_equal(RAISED(t, mem_read_bytes(&t->c, SEG_DS, 0x5002, buf, 6)), VEC_AC);
	assert_int_equal(RAISED(t, mem_sys_read(&t->c, 0x5001, 4)), -1);
	assert_null(mem_rmw32(&t->c, SEG_DS, 0x5000));
	vcpu_set_eflags(&t->c, 0);
	assert_int_equal(RAISED(t, mem_read32(&t->c, SEG_DS, 0x5001)), -1);
	assert_non_null(mem_rmw32(&t->c, SEG_DS, 0x5000));
	vcpu_set_eflags(&t->c, FL_AC);
	t->c.real_view = true; /* the guest's CPL counts, not the real one */
	t->c.virt.cpl = 0;
	vcpu_update_align(&t->c);
	assert_int_equal(RAISED(t, mem_read32(&t->c, SEG_DS, 0x5001)), -1);
	t->c.real_view = false;
}

static void watchpoints(void **state)
{
	struct machine *t = *state;

	mem_write32(&t->c, SEG_DS, 0x5000, 1);
	t->c.dr[0] = 0x5011; /* write, 4 bytes: aligned down to 0x5010 */
	t->c.dr[1] = 0x5002; /* read or write, 2 bytes */
	t->c.dr[2] = 0x5020; /* execute: not ours */
	t->c.dr[3] = 0x5030; /* not enabled */
	t->c.dr[7] = 0x400 | 1 << 0 | 1 << 3 | 1 << 4 | 0xdu << 16 | 0x7u << 20 | 0x0u << 24 | 0xfu << 28;
	vcpu_update_watch(&t->c);
	assert_int_equal(t->c.mmu.watch_count, 2);
	mem_read32(&t->c, SEG_DS, 0x5010);
	mem_write32(&t->c, SEG_DS, 0x500c, 1);
	mem_write32(&t->c, SEG_DS, 0x5020, 1);
	mem_write32(&t->c, SEG_DS, 0x5030, 1);
	mem_read16(&t->c, SEG_DS, 0x5000);
	assert_int_equal(t->c.db_pending, 0);
	assert_null(mmu_fast_read(&t->c.mmu, 0x5000, 1));
	mem_check_write(&t->c, SEG_DS, 0x5010, 4);
	assert_int_equal(t->c.db_pending, 0);
	mem_write8(&t->c, SEG_DS, 0x5013, 1);
	assert_int_equal(t->c.db_pending, 1);
	t->c.db_pending = 0;
	mem_read64(&t->c, SEG_DS, 0x4ffb); /* crosses into the watched page, ends one byte into it at 0x5002 */
	assert_int_equal(t->c.db_pending, 2);
	assert_int_equal(RAISED(t, vcpu_raise(&t->c, VEC_UD)), VEC_UD);
	assert_int_equal(t->c.db_pending, 0);
	t->c.dr[7] = 0x400;
	vcpu_update_watch(&t->c);
	mem_write8(&t->c, SEG_DS, 0x5013, 1);
	assert_int_equal(t->c.db_pending, 0);
	assert_non_null(mmu_fast_write(&t->c.mmu, 0x5013, 1));
}

static void system_accesses(void **state)
{
	struct machine *t = *state;

	map(t, 0x405000, 0x50000, P | W); /* supervisor only */
	map(t, 0x406000, 0x51000, P);
	map(t, 0x407000, 0x52000, 0);
	set_paging(t, CR0_WP, 0);
	t->c.cpl = 3;
	mmu_set_context(&t->c.mmu, MMU_USER);
	assert_int_equal(RAISED(t, mem_read32(&t->c, SEG_DS, 0x405000)), VEC_PF);
	assert_int_equal(t->c.exit.error, 5);
	for (unsigned i = 0; i < 2; i++) {
		mem_sys_write(&t->c, 0x405ff0, 8, 0x1122334455667788ull);
		assert_int_equal(mem_sys_read(&t->c, 0x405ff2, 2), 0x5566);
		assert_int_equal(t->c.mmu.context, MMU_USER);
	}
	assert_int_equal(RAISED(t, mem_read32(&t->c, SEG_DS, 0x405000)), VEC_PF); /* not let in by what the system filled */
	assert_int_equal(RAISED(t, mem_sys_write(&t->c, 0x406000, 4, 0)), VEC_PF);
	assert_int_equal(t->c.exit.error, 3);
	assert_int_equal(RAISED(t, mem_sys_check(&t->c, 0x405000, 0x2000, false)), -1);
	assert_int_equal(RAISED(t, mem_sys_check(&t->c, 0x405000, 0x1000, true)), -1);
	map(t, 0x405000, 0x50000, P | W);
	mmu_flush_all(&t->c.mmu);
	assert_int_equal(RAISED(t, mem_sys_check(&t->c, 0x405800, 0x1001, true)), VEC_PF);
	assert_int_equal(t->c.exit.cr2, 0x406000);
	assert_int_equal(pte(t, 0x405000), 0x50000 | P | W);
	assert_int_equal(RAISED(t, mem_sys_check(&t->c, 0x406fff, 2, false)), VEC_PF);
	assert_int_equal(t->c.exit.cr2, 0x407000);
	assert_int_equal(RAISED(t, mem_sys_check(&t->c, 0x406fff, 1, false)), -1);
	assert_int_equal(RAISED(t, mem_sys_check(&t->c, 0x407000, 0, false)), -1);
}

/* ---- vcpu.c ---- */

static void reset_state(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;
	uint16_t fcw;
	uint32_t mxcsr;

	c->gpr[R_BX] = 5;
	c->cpl = 3;
	c->icount = 77;
	vcpu_reset(c);
	assert_int_equal(c->rip, 0xfff0);
	assert_int_equal(c->seg[SEG_CS].base, 0xffff0000);
	assert_int_equal(c->seg[SEG_CS].sel, 0xf000);
	assert_int_equal(c->seg[SEG_DS].limit, 0xffff);
	assert_int_equal(c->seg[SEG_DS].rlimit, 0x10000);
	assert_int_equal(c->cr0, 0x60000010);
	assert_int_equal(c->gpr[R_BX] | c->cpl | c->cr3 | c->cr4, 0);
	assert_int_equal(vcpu_get_eflags(c), 2);
	assert_int_equal(c->dr[6], 0xffff0ff0);
	assert_int_equal(c->dr[7], 0x400);
	assert_int_equal(c->gdtr.limit, 0xffff);
	assert_int_equal(c->icount, 77); /* the run's clock, not the processor's */
	memcpy(&fcw, c->fpu.fx, 2);
	memcpy(&mxcsr, c->fpu.fx + 24, 4);
	assert_int_equal(fcw, 0x37f);
	assert_int_equal(mxcsr, 0x1f80);
}

static void eflags_round_trip(void **state)
{
	struct machine *t = *state;

	for (unsigned i = 0; i < 1u << 12; i++) {
		uint32_t v = (i & 0xfff) | FL_FIXED | (i & 1 ? FL_ID | FL_NT : 0);

		vcpu_set_eflags(&t->c, v);
		assert_int_equal(vcpu_get_eflags(&t->c), v);
		assert_int_equal(t->c.eflags & FL_ARITH, 0);
	}
}

static void raise_fills_exit(void **state)
{
	struct machine *t = *state;
	struct insn in = { .op = OP_HLT, .len = 1 };

	t->c.ip = &in;
	assert_int_equal(RAISED(t, vcpu_raise_error(&t->c, VEC_NP, 0x18)), VEC_NP);
	assert_false(t->c.exit.has_insn); /* c->ip is the engine's, and this is emulation */
	assert_int_equal(t->c.exit.error, 0x18);
	t->c.real_view = true;
	assert_int_equal(RAISED(t, vcpu_raise(&t->c, VEC_DE)), VEC_DE);
	assert_true(t->c.exit.has_insn);
	assert_int_equal(t->c.exit.insn.op, OP_HLT);
	assert_false(t->c.exit.has_error);
	assert_false(t->c.exit.trap);
	t->c.real_view = false;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ram_any_range_is_safe),
		TEST(ram_sizes),
		TEST(digest_is_of_content_and_place),
		TEST(used_pages_are_known_unread),
		TEST(digest_values_are_fixed),
		TEST(code_chunks),
		TEST(identity_without_paging),
		TEST(accessed_and_dirty),
		TEST(fault_codes),
		TEST(tables_outside_ram_read_all_ones),
		TEST(self_mapped_tables),
		TEST(big_pages),
		TEST(a_small_page_becomes_big),
		TEST(peek_has_no_effects),
		TEST(cr3_load_keeps_global),
		TEST(rewalk_before_fault),
		TEST(contexts_are_cheap),
		cmocka_unit_test_setup_teardown(split_views_empty_the_entered, setup_split, teardown),
		TEST(write_tags_go),
		TEST(marks_over_code),
		TEST(window_permits_what_the_table_does),
		TEST(window_shuts),
		TEST(like_the_model),
		cmocka_unit_test_setup_teardown(like_the_model, setup_split, teardown),
		TEST(segment_limits),
		TEST(inline_and_slow_agree),
		TEST(crosser_checks_both_pages_first),
		TEST(linear_wraps_at_4_gib),
		TEST(mmio_leaves_a_running_trace),
		TEST(code_write_leaves_a_running_trace),
		TEST(alignment_checking),
		TEST(watchpoints),
		TEST(system_accesses),
		TEST(reset_state),
		TEST(eflags_round_trip),
		TEST(raise_fills_exit),
	};

	return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
