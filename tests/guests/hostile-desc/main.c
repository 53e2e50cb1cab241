/*
 * hostile-desc - wild descriptors: random GDT, LDT and IDT entries, used in every way from every level, with accesses through whatever could be loaded.
 * The runtime's own slots stay good for most of it, so that faults come back here; at the end they do not.
 */
#include "guest.h"

GUEST("hostile-desc");

enum { ROUNDS = 6000, FIRST_SLOT = 16 };

static u64 ldt[64] ALIGNED(8);

static u64 random_descriptor(void)
{
	u64 d = (u64)rnd() << 32 | rnd();

	switch (rnd() % 4) {
	case 0: /* present, any type, low base */
		return (d & 0x00ffe0000001ffffull) | 1ull << 47 | (u64)(rnd() & 0x7f) << 40;
	case 1: /* flat, any type and level */ return 0x00cf00000000ffffull | 1ull << 47 | (u64)(rnd() & 0x7f) << 40;
	case 2: /* a gate to a good segment, any offset */
		return (d & 0xffff60000000ffffull) | 1ull << 47 | (u64)(rnd() % 16) << 40 |
		       (u64)(rnd() % 12 * 8 + rnd() % 4) << 16;
	default: return d;
	}
}

static u16 random_selector(void)
{
	return rnd() % 3 ? rnd() % (GDT_SLOTS * 8) : rnd() % 512 | 4;
}

static void shuffle(void)
{
	for (unsigned i = FIRST_SLOT; i < GDT_SLOTS; i++)
		gdt[i] = random_descriptor();
	for (unsigned i = 0; i < 64; i++)
		ldt[i] = random_descriptor();
	for (unsigned i = 0x80; i < 256; i++)
		idt[i] = random_descriptor();
}

void guest_main(void)
{
	const u32 codes[] = {
		CODE("mov %ax, %ds; mov (%esi), %ebx; mov %ebx, (%esi); mov (%edi), %cl"),
		CODE("mov %ax, %es; rep movsb"),
		CODE("mov %ax, %fs; mov %fs:(%esi), %ebx; mov %ebx, %fs:(%edi)"),
		CODE("mov %ax, %gs; addl $1, %gs:(%edi); fs lodsb"),
		CODE("mov %ax, %ss; push %eax; pop %ebx"),
		CODE("push %eax; pop %ss; mov %edx, %esp; push %ebx"),
		CODE("lcall *(%ebp)"),
		CODE("ljmp *(%ebp)"),
		CODE("push %eax; push %edi; lret"),
		CODE("push %eax; push %edi; lret $8"),
		CODE("pushf; push %eax; push %edi; iret"),
		CODE("lar %eax, %ebx; lsl %eax, %ecx; verr %ax; verw %ax; arpl %ax, %bx"),
		CODE("lldt %ax"),
		CODE("lss (%ebp), %esp; push %eax"),
		CODE("lds (%ebp), %esi; mov (%esi), %al"),
		CODE("int $0x80"),
		CODE("int $0x93"),
		CODE("int $0xfe"),
		CODE("push %eax; push %edx; pushf; push %eax; push %edi; iret"),
		CODE("push %eax; pop %fs; movups %fs:(%esi), %xmm0; fxsave %fs:(%edi)"),
	};
	u32 faults[32] = { 0 }, others = 0;

	test("hostile: random descriptors");
	rnd_seed(0x5eed0001);
	set_cr4(get_cr4() | CR4_OSFXSR);
	gdt_set(SEL_LDT, desc((u32)ldt, sizeof(ldt) - 1, A_P | A_LDT));
	double_fault_ends_run = true;
	for (u32 i = 0; i < ROUNDS; i++) {
		u32 pointer[2] = { rnd(), random_selector() };
		struct ctx c;

		if (i % 50 == 0)
			shuffle();
		load_tables();
		asm_volatile("lldt %w0" : : "r"(SEL_LDT));
		watchdog();
		ctx_init(&c, rnd() % 4, codes[rnd() % COUNT(codes)]);
		c.eax = random_selector();
		c.esi = rnd() % 4 ? stack_top(3) - 64 - rnd() % 1024 : rnd();
		c.edi = rnd() % 4 ? stack_top(2) - 64 - rnd() % 1024 : rnd();
		c.edx = stack_top(1) - 128;
		c.ecx = rnd() % 64;
		c.ebp = (u32)pointer;
		c.eflags = F_FIXED | (rnd() & (F_CF | F_DF | F_IOPL | F_AC)) | F_IF;
		cpu_run(&c);
		pic_mask(0xffff);
		if (c.vector < 32)
			faults[c.vector]++;
		else
			others++;
	}
	print("faults: #TS %u #NP %u #SS %u #GP %u #UD %u others %u\n", faults[TS], faults[NP], faults[SS], faults[GP],
	      faults[UD], others);
	TRUE(faults[GP] > 100);
	test("hostile: no good descriptor is left");
	for (unsigned i = 1; i < GDT_SLOTS; i++)
		gdt[i] = random_descriptor();
	for (unsigned i = 0; i < 256; i++)
		idt[i] = random_descriptor();
	asm_volatile("mov %0, %%ds; int $0x80; mov %0, %%ss; push %0; lcall $0x1230, $0x100000; hlt"
	             :
	             : "r"(rnd() % 2048));
}
