/*
 * rights.c - who may read, write and execute a page, against a model of the manual (SDM vol. 3A 4.6); CR2 and the error code; accessed and dirty bits.
 */
#include "paging.h"

enum access { READ, WRITE, FETCH, ACCESSES };

static const char *const access_names[] = { "read", "write", "fetch" };

static bool permitted(unsigned cpl, u32 pde, u32 entry, bool wp, enum access how)
{
	u32 both = pde & entry;

	if (cpl == 3)
		return (both & P_U) && (how != WRITE || (both & P_W));
	return how != WRITE || !wp || (both & P_W);
}

static u32 code_for(enum access how)
{
	static u32 code[ACCESSES];

	if (!code[READ]) {
		code[READ] = CODE("mov (%esi), %eax");
		code[WRITE] = CODE("mov %eax, (%esi)");
		code[FETCH] = CODE("jmp *%esi");
	}
	return code[how];
}

static void matrix_case(unsigned cpl, u32 pde_bits, u32 pte_bits, bool wp)
{
	u32 *pde = &page_dir[PAGE_A >> 22], table;

	set_entry(PAGE_A, FRAME_A | P_P | pte_bits);
	table = *pde & ~0xfffu;
	for (enum access how = READ; how < ACCESSES; how++) {
		u32 code = code_for(how), address = PAGE_A + 0x123;
		struct ctx c;

		*pde = table | P_P | pde_bits;
		*entry_of(PAGE_A) = FRAME_A | P_P | pte_bits;
		set_cr3((u32)page_dir);
		set_cr2(0);
		*(volatile u16 *)(FRAME_A + 0x123) = 0x70cd; /* int $0x70, for fetches */
		ctx_init(&c, cpl, code);
		c.esi = address;
		cpu_run(&c);
		if (permitted(cpl, pde_bits, pte_bits, wp, how)) {
			FINE(&c);
			EQ(*entry_of(PAGE_A) & (P_A | P_D), how == WRITE ? P_A | P_D : P_A);
			EQ(*pde & P_A, P_A);
			EQ(*pde & P_D, 0);
		} else {
			FAULT(&c, PF, PF_P | (how == WRITE ? PF_W : 0) | (cpl == 3 ? PF_U : 0),
			      how == FETCH ? address : code);
			EQ(c.cr2, address);
			EQ(*entry_of(PAGE_A) & P_D, 0);
		}
	}
	*pde = table | ALL;
}

static void matrix(void)
{
	static const u32 bits[] = { 0, P_W, P_U, P_W | P_U };
	u32 cr0 = get_cr0();

	for (unsigned wp = 0; wp < 2; wp++) {
		for (unsigned cpl = 0; cpl < 4; cpl++) {
			for (unsigned i = 0; i < 16; i++) {
				test("cpl%u wp%u pde %x pte %x", cpl, wp, bits[i / 4], bits[i % 4]);
				set_cr0(wp ? cr0 | CR0_WP : cr0 & ~CR0_WP);
				matrix_case(cpl, bits[i / 4], bits[i % 4], wp);
			}
		}
	}
	set_cr0(cr0);
}

static void absent(void)
{
	u32 *pde = &page_dir[PAGE_A >> 22], saved;
	struct ctx c;

	set_entry(PAGE_A, FRAME_A | ALL);
	saved = *pde;
	for (unsigned level = 0; level < 2; level++) {
		for (unsigned cpl = 0; cpl < 4; cpl++) {
			for (enum access how = READ; how < ACCESSES; how++) {
				u32 code = code_for(how), address = PAGE_A + 0xabc;

				test("cpl%u %s of an absent %s", cpl, access_names[how], level ? "table" : "page");
				*pde = level ? saved & ~P_P : saved;
				*entry_of(PAGE_A) = level ? FRAME_A | ALL : (FRAME_A | ALL) & ~P_P;
				set_cr3((u32)page_dir);
				ctx_init(&c, cpl, code);
				c.esi = address;
				cpu_run(&c);
				FAULT(&c, PF, (how == WRITE ? PF_W : 0) | (cpl == 3 ? PF_U : 0),
				      how == FETCH ? address : code);
				EQ(c.cr2, address);
				*pde = saved;
				EQ(*entry_of(PAGE_A) & (P_A | P_D), 0);
			}
		}
	}
	set_cr3((u32)page_dir);
}

/* Which instructions set the dirty bit, and that others do not. */
static void dirty(void)
{
	const struct {
		const char *name;
		u32 code;
		u32 bits;
	} items[] = {
		{ "cmp", CODE("cmpl $0, (%esi)"), P_A },
		{ "test", CODE("testl $1, (%esi)"), P_A },
		{ "add", CODE("addl $0, (%esi)"), P_A | P_D },
		{ "xchg", CODE("xchg %eax, (%esi)"), P_A | P_D },
		{ "bt", CODE("btl $0, (%esi)"), P_A },
		{ "bts", CODE("btsl $0, (%esi)"), P_A | P_D },
		{ "push", CODE("mov %esp, %ebx; lea 8(%esi), %esp; push %eax; mov %ebx, %esp"), P_A | P_D },
		{ "pop", CODE("mov %esp, %ebx; mov %esi, %esp; pop %eax; mov %ebx, %esp"), P_A },
		{ "lodsb", CODE("lodsb"), P_A },
		{ "stosb", CODE("mov %esi, %edi; stosb"), P_A | P_D },
		{ "rep stosb of 0 bytes", CODE("mov %esi, %edi; xor %ecx, %ecx; rep stosb"), 0 },
		{ "sgdt", CODE("sgdt (%esi)"), P_A | P_D },
		{ "fld", CODE("fldl (%esi); fstp %st"), P_A },
		{ "fst", CODE("fld1; fstpl (%esi)"), P_A | P_D },
		{ "cmpxchg, equal", CODE("xor %eax, %eax; cmpxchg %eax, (%esi)"), P_A | P_D },
		{ "cmpxchg, different", CODE("mov $1, %eax; cmpxchg %eax, (%esi)"), P_A | P_D },
		{ "invlpg", CODE("invlpg (%esi)"), 0 },
		{ "lea", CODE("lea (%esi), %eax"), 0 },
	};
	struct ctx c;

	asm_volatile("fninit");
	for (unsigned i = 0; i < COUNT(items); i++) {
		test("accessed and dirty by %s", items[i].name);
		set_entry(PAGE_A, FRAME_A | ALL);
		memset((void *)FRAME_A, 0, 64);
		ctx_init(&c, 0, items[i].code);
		c.esi = PAGE_A;
		cpu_run(&c);
		FINE(&c);
		EQ(*entry_of(PAGE_A) & (P_A | P_D), items[i].bits);
	}
	test("bits come back after they are cleared and invalidated");
	set_entry(PAGE_A, FRAME_A | ALL);
	for (unsigned i = 0; i < 3; i++) {
		*(volatile u32 *)PAGE_A = 1;
		EQ(*entry_of(PAGE_A) & (P_A | P_D), P_A | P_D);
		*entry_of(PAGE_A) &= ~(P_A | P_D);
		invlpg(PAGE_A);
		(void)*(volatile u32 *)PAGE_A;
		EQ(*entry_of(PAGE_A) & (P_A | P_D), P_A);
	}
	test("a read-modify-write to a read-only page faults as a write");
	set_entry(PAGE_A, FRAME_A | P_P | P_U);
	{
		const u32 codes[] = { CODE("addl $0, (%esi)"), CODE("btsl $0, (%esi)"), CODE("xchg %eax, (%esi)"),
			              CODE("incb (%esi)"), CODE("push %cs; pop (%esi)") + 1 };

		for (unsigned i = 0; i < COUNT(codes); i++) {
			ctx_init(&c, 3, codes[i]);
			c.esi = PAGE_A + 8;
			cpu_run(&c);
			FAULT(&c, PF, PF_P | PF_W | PF_U, codes[i]);
			EQ(c.cr2, PAGE_A + 8);
			EQ(c.eax, 0xaaaaaaaa);
			EQ(c.esp, stack_top(3));
		}
	}
	test("cmpxchg of a read-only page faults even when different");
	{
		u32 code = CODE("cmpxchg %ebx, (%esi)");

		ctx_init(&c, 3, code);
		c.esi = PAGE_A;
		cpu_run(&c);
		FAULT(&c, PF, PF_P | PF_W | PF_U, code);
		EQ(c.eax, 0xaaaaaaaa);
	}
	test("other bits of an entry are left alone");
	set_entry(PAGE_A, FRAME_A | ALL | 0xe00 | P_PCD | P_PWT);
	*(volatile u32 *)PAGE_A = 1;
	EQ(*entry_of(PAGE_A), FRAME_A | ALL | 0xe00 | P_PCD | P_PWT | P_A | P_D);
}

void paging_rights(void)
{
	matrix();
	absent();
	dirty();
}
