/*
 * hostile-mmio - device memory, ROM space and nothing at all, in every size and by every instruction that touches memory; stacks, tables, frames and TSS there.
 */
#include "guest.h"

GUEST("hostile-mmio");

enum { ROUNDS = 6000, SLOT = 0x100 };

static u32 odd_place(void)
{
	switch (rnd() % 6) {
	case 0: return 0xa0000 + rnd() % 0x20000;
	case 1: return 0xc0000 + rnd() % 0x40000;
	case 2: return 0xa0000 - rnd() % 16; /* over the edge */
	case 3: return 0xc0000 - rnd() % 16;
	case 4: return (32u << 20) - rnd() % 16; /* the end of RAM, where the checks give it so much */
	default: return 0x40000000 + rnd() % 0xb0000000;
	}
}

static bool sets_stack(u32 code)
{
	return *(u16 *)code == 0xfc89; /* mov %edi, %esp */
}

static void instructions(void)
{
	const u32 codes[] = {
		CODE("movb (%esi), %al; movb %al, (%edi)"),
		CODE("mov (%esi), %ax; mov %ax, (%edi)"),
		CODE("mov (%esi), %eax; mov %eax, (%edi)"),
		CODE("addl %eax, (%edi)"),
		CODE("xchg %eax, (%edi)"),
		CODE("lock cmpxchg %ebx, (%edi)"),
		CODE("lock cmpxchg8b (%edi)"),
		CODE("lock xadd %eax, (%edi)"),
		CODE("push (%esi); pop (%edi)"),
		CODE("btsl %ebx, (%edi)"),
		CODE("sete (%edi)"),
		CODE("shll $3, (%edi)"),
		CODE("movsb"),
		CODE("movsl"),
		CODE("rep movsb"),
		CODE("rep movsl"),
		CODE("rep stosw"),
		CODE("repe cmpsb"),
		CODE("repne scasb"),
		CODE("fldt (%esi); fstpt (%edi)"),
		CODE("fildll (%esi); fistpll (%edi)"),
		CODE("fbld (%esi); fbstp (%edi)"),
		CODE("fnsave (%edi); frstor (%esi)"),
		CODE("fnstenv (%edi); fldenv (%esi)"),
		CODE("and $-16, %edi; fxsave (%edi)"),
		CODE("and $-16, %esi; fxrstor (%esi)"),
		CODE("movq (%esi), %mm0; movq %mm0, (%edi); emms"),
		CODE("movups (%esi), %xmm0; movups %xmm0, (%edi)"),
		CODE("and $-16, %edi; movntps %xmm0, (%edi)"),
		CODE("mov %edi, %esp; push %eax; pop %ebx"),
		CODE("mov %edi, %esp; pusha; popa"),
		CODE("mov %edi, %esp; call 1f; 1: ret"),
		CODE("mov %edi, %esp; enter $16, $4; leave"),
		CODE("sgdt (%edi)"),
		CODE("sidt (%edi)"),
		CODE("lgs (%esi), %eax"),
		CODE("bound %eax, (%esi)"),
		CODE("ljmp *(%esi)"),
		CODE("lcall *(%esi)"),
		CODE("jmp *(%esi)"),
		CODE("call *(%esi)"),
		CODE("xlat"),
		CODE("mov %cs, (%edi)"),
		CODE("str (%edi)"),
		CODE("lar (%esi), %eax; lsl (%esi), %eax; verr (%esi)"),
		CODE("prefetcht0 (%esi); invlpg (%edi)"),
		CODE("ldmxcsr (%esi)"),
		CODE("stmxcsr (%edi)"),
		CODE("insl"),
		CODE("outsl"),
		CODE("rep insb"),
		CODE("maskmovq %mm0, %mm1; emms"),
		CODE("fldcw (%esi); fnstcw (%edi); fnstsw (%edi)"),
	};
	u32 done = 0;

	for (u32 i = 0; i < ROUNDS; i++) {
		struct ctx c;

		asm_volatile("fninit");
		/* with the stack there only at level 3: the runtime needs its own */
		ctx_init(&c, rnd() % 4 && !sets_stack(codes[i % COUNT(codes)]) ? 0 : 3, codes[i % COUNT(codes)]);
		c.esi = odd_place();
		c.edi = odd_place();
		c.ebx = rnd() % 4 ? rnd() % 1000 : odd_place();
		c.ecx = rnd() % 300;
		c.edx = 0x80;
		if (c.cs & 3)
			c.eflags |= F_IOPL;
		c.eflags |= F_IF;
		watchdog();
		cpu_run(&c);
		pic_mask(0xffff);
		done += c.vector == DONE;
	}
	print("%u of %u ended well\n", done, ROUNDS);
}

static void frames(void)
{
	static const u32 places[] = { 0xb8000, 0xa0010, 0xc0008, 0x90000000, 0xfffffff0, 0xa0004 };
	struct ctx c;

	for (unsigned i = 0; i < COUNT(places); i++) {
		/* handlers of ring 1 with their stack there; the runtime's own stays good */
		idt_set(0x71, gate(SEL_C1, CODE("pop %eax; push %eax; iret"), A_P | A_INT32 | A_DPL(3)));
		main_tss.t.esp1 = places[i];
		run_at(&c, 3, CODE("int $0x71; int $0x71"));
		gdt_set(SLOT, gate(SEL_C1, CODE("lret"), A_P | A_CALL32 | A_DPL(3) | GATE_COUNT(31)));
		ctx_init(&c, 3, CODE("lcall $0x103, $0"));
		c.esp = places[i] + 64;
		cpu_run(&c);
		/* returns whose frame is there */
		ctx_init(&c, 0, CODE("iret"));
		c.esp = places[i];
		main_tss.t.esp1 = stack_top(1);
		ctx_init(&c, 3, CODE("iret"));
		c.esp = places[i];
		cpu_run(&c);
		/* a task there: saved to, loaded from */
		gdt_set(SLOT, desc(places[i], 0x67, A_P | A_TSS32));
		run_at(&c, 0, CODE("ljmp $0x100, $0"));
		load_tables();
		/* an LDT there */
		gdt_set(SLOT, desc(places[i], 0xff, A_P | A_LDT));
		asm_volatile("lldt %w0" : : "r"(SLOT));
		run_at(&c, 0, CODE("mov $0x0c, %eax; mov %ax, %fs; lsl %eax, %ebx"));
		asm_volatile("lldt %w0" : : "r"(0));
	}
	idt_default(0x71);
}

static void paged(void)
{
	paging_identity();
	map_page(0x40000000, 0xb8000 | P_P | P_W | P_U);
	map_page(0x40001000, 0x00800000 | P_P | P_W | P_U);
	map_page(0x40002000, 0x90000000 | P_P | P_W | P_U);
	page_dir[0x200] = 0xa0000 | P_P | P_W | P_U; /* a page table in device memory */
	page_dir[0x201] = 0xfffff000 | P_P | P_W | P_U;
	paging_on();
	for (u32 i = 0; i < 64; i++) {
		struct ctx c;

		((volatile u32 *)0xa0000)[i] = 0x00800000 | P_P | P_W | P_U;
		ctx_init(&c, 3, i & 1 ? CODE("movl $1, (%esi); addl $1, (%edi)") : CODE("rep movsb"));
		c.esi = i & 2 ? 0x40000ffe : 0x80000000 + i * 4096;
		c.edi = i & 4 ? 0x40001ffe : 0x80400000 + i * 4096;
		c.ecx = 20;
		cpu_run(&c);
	}
	paging_off();
}

void guest_main(void)
{
	test("hostile: noise in device memory");
	rnd_seed(0x5eed0005);
	double_fault_ends_run = true;
	set_cr4(get_cr4() | CR4_OSFXSR);
	fill_with_int3();
	instructions();
	test("hostile: frames, tasks and tables in device memory");
	frames();
	test("hostile: pages of device memory");
	paged();
	test("hostile: IDT in device memory, then the ring-0 stack");
	{
		struct table_ptr table = { 0x7ff, 0xb8000 };

		memcpy((void *)0xb8000, idt, sizeof(idt));
		asm_volatile("lidt %0; int $0x70" : : "m"(table));
		asm_volatile("mov %0, %%esp; int $0x70; push %%eax; ud2" : : "r"(0xb8000));
	}
}
