/*
 * hostile-wrap - addresses that wrap: segments whose base and offset run over 4 GiB, descriptor tables, TSS and stacks at the very top, accesses across the end
 * of RAM, counts of 4 Gi.
 */
#include "guest.h"

GUEST("hostile-wrap");

enum { ROUNDS = 3000, SLOT = 0x100 };

static u32 edge(void)
{
	static const u32 edges[] = { 0,         0x1000,     0xa0000,    0xc0000,    0x100000,
		                     32u << 20, 256u << 20, 0x80000000, 0xfec00000, 0xfffff000 };

	return edges[rnd() % COUNT(edges)] + (int)(rnd() % 33) - 16;
}

static bool in_guest(u32 address)
{
	return address >= 0x0ff000 && address < 0x00a00000;
}

static void accesses(void)
{
	const u32 codes[] = { CODE("mov %fs:(%esi), %eax"),
		              CODE("movw %fs:(%esi), %ax; movb %fs:(%esi), %al"),
		              CODE("fldt %fs:(%esi); fstp %st"),
		              CODE("movups %fs:(%esi), %xmm0"),
		              CODE("fs lodsl"),
		              CODE("lgs %fs:(%esi), %ebx"),
		              CODE("bound %ebx, %fs:(%esi)"),
		              CODE("btl %ebx, %fs:(%esi)"),
		              CODE("fxrstor %fs:(%esi)"),
		              CODE("mov %edi, %fs:(%esi)"),
		              CODE("fs; sgdt (%esi)"),
		              CODE("fnsave %fs:(%esi)"),
		              CODE("cmpxchg8b %fs:(%esi)"),
		              CODE("btsl %ebx, %fs:(%esi)") };
	u32 i, faults = 0;

	for (i = 0; i < ROUNDS; i++) {
		unsigned n = rnd() % COUNT(codes);
		u32 base = rnd() % 3 ? edge() : 0, offset = edge() - (rnd() % 2 ? base : 0);
		struct ctx c;

		if (n >= 9 && (in_guest(base + offset - 512) || in_guest(base + offset + 512) || in_guest(base + offset)))
			continue; /* writes stay away from this program */
		gdt_set(SLOT,
		        desc(base, rnd(), A_P | A_DATA | A_RW | A_DPL(3) | A_DB | (rnd() & A_G) | (rnd() & A_EXPAND)));
		ctx_init(&c, rnd() % 2 * 3, codes[n]);
		c.fs = SLOT | 3;
		c.esi = offset;
		c.ebx = n == 13 ? rnd() % 64 : rnd();
		cpu_run(&c);
		faults += c.vector != DONE;
	}
	print("%u accesses, %u faults\n", ROUNDS, faults);
}

static void stacks(void)
{
	const u32 codes[] = { CODE("push %eax; pop %ebx"),
		              CODE("pusha; popa"),
		              CODE("call 1f; 1: ret"),
		              CODE("enter $0xfff0, $31"),
		              CODE("pushf; popf"),
		              CODE("push %ds; pop %ds"),
		              CODE("leave") };
	struct ctx c;

	for (u32 i = 0; i < 500; i++) {
		ctx_init(&c, 3, codes[rnd() % COUNT(codes)]);
		c.esp = edge();
		if (in_guest(c.esp) || in_guest(c.esp - 0x20000))
			continue;
		c.ebp = rnd() % 2 ? edge() : c.esp;
		cpu_run(&c);
	}
}

static void tables(void)
{
	static const u32 bases[] = { 0xffffffff, 0xfffffff8, 0xfffffffc, 0xfffff800,
		                     0x80000000, 0xa0000,    0xbfffc,    0x1fffffe };
	u32 code = CODE("mov %ax, %gs");
	struct ctx c;

	for (unsigned i = 0; i < COUNT(bases); i++) {
		/* an LDT at the edge, so that the GDT stays good */
		gdt_set(SEL_LDT, desc(bases[i], 0xffff, A_P | A_LDT));
		asm_volatile("lldt %w0" : : "r"(SEL_LDT));
		for (u32 sel = 4; sel < 64; sel += 8) {
			ctx_init(&c, 0, code);
			c.eax = sel;
			cpu_run(&c);
			run_at(&c, 0, CODE("lcall $0x0c, $0"));
		}
		/* a TSS there: its ring-1 stack and its bitmap are read by level 3 code */
		gdt_set(SLOT, desc(bases[i], 0xfffff, A_P | A_TSS32));
		asm_volatile("lldt %w0" : : "r"(0));
		idt_set(0x71, gate(SEL_C1, 0x1000, A_P | A_INT32 | A_DPL(3)));
		run_at(&c, 0, CODE("mov $0x100, %eax; ltr %ax; mov $0x48, %eax; andb $0xfd, gdt+0x4d; ltr %ax"));
		idt_default(0x71);
		run_at(&c, 0, CODE("ljmp $0x100, $0"));
		load_tables();
	}
}

static void long_counts(void)
{
	u32 code = CODE("rep stosb");
	struct ctx c;

	/* 2 Mi elements outside RAM, over the top and into low memory that nobody needs */
	gdt_set(SLOT, desc(0xffe00000, 0xfffff, A_FLAT_DATA(3)));
	ctx_init(&c, 3, code);
	c.es = SLOT | 3;
	c.edi = 0;
	c.ecx = 0x200000 + 0x500;
	cpu_run(&c);
	ctx_init(&c, 3, CODE("rep movsl"));
	c.es = SLOT | 3;
	c.esi = 0xfffffff0;
	c.edi = 0x1ff000;
	c.ecx = 100;
	c.eflags = F_FIXED | F_DF;
	cpu_run(&c);
}

void guest_main(void)
{
	test("hostile: addresses that wrap");
	rnd_seed(0x5eed0003);
	double_fault_ends_run = true;
	set_cr4(get_cr4() | CR4_OSFXSR);
	asm_volatile("fninit");
	accesses();
	stacks();
	tables();
	long_counts();
	test("hostile: GDT and IDT over the top");
	{
		struct table_ptr top = { 0xffff, 0xfffffffa };

		asm_volatile("lgdt %0; mov %1, %%fs; lidt %0; int3" : : "m"(top), "r"(0x18));
	}
}
