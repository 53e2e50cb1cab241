/*
 * real - real mode, entered from protected mode: interrupts through the table at 0 and elsewhere, segmentation, flags, far transfers, 32-bit prefixes,
 * exceptions, what is undefined there; "unreal" limits of 4 GiB; and back to protected mode after each.
 */
#include "real.h"

GUEST("real");

static u8 *linear(u32 seg, u32 offset)
{
	return (u8 *)(seg * 16 + offset);
}

static u16 *u16_at(u32 seg, u32 offset)
{
	return (u16 *)linear(seg, offset);
}

static u32 *u32_at(u32 seg, u32 offset)
{
	return (u32 *)linear(seg, offset);
}

static void install(void)
{
	memcpy((void *)REAL_BASE, real_start, real_end - real_start);
	for (u32 i = 0; i < 256; i++)
		*u32_at(0, i * 4) = REAL_SEG << 16 | (real_stubs + 6 * i - real_start);
	gdt_set(SEL_REAL_CODE, desc(REAL_BASE, 0xffff, A_P | A_CODE | A_RW));
	gdt_set(SEL_REAL_DATA, desc(0, 0xffff, A_P | A_DATA | A_RW));
}

static void set_selector(u16 sel)
{
	*u16_at(REAL_SEG, (u8 *)&real_data_selector - real_start) = sel;
}

static void init(struct real_ctx *c, struct code16 code)
{
	memcpy(linear(CODE_SEG, 0), code.at, code.len);
	*c = (struct real_ctx){ .edi = 0xd1d1d1d1,
		                .esi = 0x51515151,
		                .ebp = 0xb9b9b9b9,
		                .ebx = 0xbbbbbbbb,
		                .edx = 0xdddddddd,
		                .ecx = 0xcccccccc,
		                .eax = 0xaaaaaaaa,
		                .esp = 0x1000,
		                .es = DATA_SEG + 0x10,
		                .ds = DATA_SEG,
		                .fs = 0x3020,
		                .gs = 0x3030,
		                .ss = STACK_SEG,
		                .cs = CODE_SEG,
		                .flags = F_FIXED,
		                .idt_limit = 0x3ff };
}

static void go(struct real_ctx *c)
{
	struct real_ctx *image = (struct real_ctx *)linear(REAL_SEG, real_ctx_image - real_start);

	c->vector = 0;
	*image = *c;
	real_switch();
	*c = *image;
	c->vector -= 0x1000;
}

static void run(struct real_ctx *c, struct code16 code)
{
	init(c, code);
	go(c);
}

#define RUN(c, text) run(c, CODE16(text))
#define ENDED(c) EQ((c)->vector, DONE)

static void fault_at(const struct real_ctx *c, u32 vector, u32 ip, int line)
{
	check(c->vector, vector, true, "vector", line);
	check(c->cs, CODE_SEG, true, "cs", line);
	check(c->ip, ip, true, "ip", line);
}
#define RFAULT(c, vector, ip) fault_at(c, vector, ip, __LINE__)

static void entering(void)
{
	struct real_ctx c;

	test("real mode and back");
	RUN(&c, "mov %cs, %ax; mov %ds, %bx; mov %ss, %cx; mov %cr0, %edx; smsw %si");
	ENDED(&c);
	EQ(c.eax & 0xffff, CODE_SEG);
	EQ(c.ebx & 0xffff, DATA_SEG);
	EQ(c.ecx & 0xffff, STACK_SEG);
	EQ(c.edx & CR0_PE, 0);
	EQ(c.esi & CR0_PE, 0);
	EQ(c.esp, 0x1000);
	EQ(get_cr0() & CR0_PE, CR0_PE);
	test("registers are carried over");
	EQ(c.edi, 0xd1d1d1d1);
	EQ(c.ebp, 0xb9b9b9b9);
	EQ(c.es, DATA_SEG + 0x10);
	EQ(c.fs, 0x3020);
	EQ(c.gs, 0x3030);
}

static void flags(void)
{
	struct real_ctx c;

	test("cli, sti, pushf");
	RUN(&c, "sti; pushf; pop %ax; cli; pushf; pop %bx");
	ENDED(&c);
	EQ(c.eax & 0xffff, F_FIXED | F_IF);
	EQ(c.ebx & 0xffff, F_FIXED);
	test("popf sets everything, IOPL and NT too");
	RUN(&c, "pushw $0x7ed7; popf; pushf; pop %ax; pushw $2; popf; pushf; pop %bx");
	ENDED(&c);
	EQ(c.eax & 0xffff, 0x7ed7);
	EQ(c.ebx & 0xffff, F_FIXED);
	test("IOPL does not stop cli in real mode");
	RUN(&c, "pushw $0x0202; popf; cli; pushf; pop %ax; in $0x80, %al");
	ENDED(&c);
	test("pushfl and popfl");
	RUN(&c, "pushl $0x00240202; popfl; pushfl; pop %eax; cli; pushl $0x00020002; popfl; pushfl; pop %ebx");
	ENDED(&c);
	EQ(c.eax, 0x00240202);
	EQ(c.ebx, F_FIXED);
	test("int clears IF and TF, pushes the old, iret brings it back");
	*u32_at(0, 0x60 * 4) = (CODE_SEG + 0x100) << 16;
	memcpy(linear(CODE_SEG + 0x100, 0), "\x9c\x58\xcf", 3); /* pushf; pop %ax; iret */
	RUN(&c, "sti; stc; int $0x60; pushf; pop %bx; cli");
	ENDED(&c);
	EQ(c.eax & (F_IF | F_TF | F_CF), F_CF);
	EQ(c.ebx & (F_IF | F_CF), F_IF | F_CF);
	EQ(c.esp, 0x1000);
	*u32_at(0, 0x60 * 4) = REAL_SEG << 16 | (real_stubs + 6 * 0x60 - real_start);
	test("frame of an interrupt");
	init(&c, CODE16("nop; int $0x61"));
	c.flags = F_FIXED | F_IF | F_CF;
	go(&c);
	EQ(c.vector, 0x61);
	EQ(c.ip, 3);
	EQ(c.cs, CODE_SEG);
	EQ(c.flags, F_FIXED | F_IF | F_CF);
	EQ(c.esp, 0x1000);
	EQ(*u16_at(STACK_SEG, 0xffe), F_FIXED | F_IF | F_CF);
	EQ(*u16_at(STACK_SEG, 0xffc), CODE_SEG);
	EQ(*u16_at(STACK_SEG, 0xffa), 3);
}

static void segments(void)
{
	struct real_ctx c;

	test("segments are 16 times the selector");
	*u32_at(DATA_SEG, 0x1234) = 0x55667788;
	RUN(&c, "mov 0x1234, %eax; mov $0x3123, %cx; mov %cx, %gs; mov %gs:4, %edx; movw $0x9988, %gs:6");
	ENDED(&c);
	EQ(c.eax, 0x55667788);
	EQ(c.edx, 0x55667788);
	EQ(c.gs, 0x3123);
	EQ(*u32_at(DATA_SEG, 0x1234), 0x99887788);
	test("addresses beyond 1 MiB");
	RUN(&c, "mov $0xffff, %ax; mov %ax, %ds; mov 0x10, %ebx; mov 0x14, %ecx");
	ENDED(&c);
	EQ(c.ebx, *u32_at(0x10000, 0));
	EQ(c.ecx, *u32_at(0x10000, 4));
	test("an access over the end of a segment");
	known("tcg", "segments are not checked on use");
	RUN(&c, "mov 0xffff, %ax");
	RFAULT(&c, GP, 0);
	EQ(c.eax, 0xaaaaaaaa);
	RUN(&c, "mov %eax, 0xfffd");
	RFAULT(&c, GP, 0);
	RUN(&c, "mov $0xffff, %bp; mov (%bp), %ax");
	RFAULT(&c, SS, 3);
	RUN(&c, "mov $0x10000, %ebx; mov (%ebx), %al");
	RFAULT(&c, GP, 6);
	test("the last byte and word of a segment");
	RUN(&c, "mov 0xffff, %al; mov 0xfffe, %ax; mov 0xfffc, %eax");
	ENDED(&c);
	test("offsets of 16 bits wrap");
	*linear(DATA_SEG, 0x10) = 0x42;
	RUN(&c, "mov $0xfff8, %bx; mov $0x18, %si; mov (%bx,%si), %al; mov 0x18(%bx), %ah");
	ENDED(&c);
	EQ(c.eax & 0xffff, 0x4242);
	test("string instructions wrap SI and DI");
	memset(linear(DATA_SEG, 0xfffc), 7, 4);
	memset(linear(DATA_SEG, 0), 9, 4);
	RUN(&c, "push %ds; pop %es; mov $0xfffe, %si; mov $0x100, %di; mov $4, %cx; rep movsb");
	ENDED(&c);
	EQ(c.esi, 0x51510002);
	EQ(c.edi, 0xd1d10104);
	EQ(c.ecx, 0xcccc0000);
	EQ(*u32_at(DATA_SEG, 0x100), 0x09090707);
	test("the stack wraps");
	RUN(&c, "mov $2, %sp; push $0x1111; push $0x2222; mov %sp, %ax; pop %bx; pop %cx; mov $0x1000, %sp");
	ENDED(&c);
	EQ(c.eax & 0xffff, 0xfffe);
	EQ(c.ebx & 0xffff, 0x2222);
	EQ(c.ecx & 0xffff, 0x1111);
	test("far pointers, push and pop of segments");
	*u32_at(DATA_SEG, 0x20) = 0x4321abcd;
	RUN(&c, "les 0x20, %bx; push %es; pop %fs; mov %fs, %ax; push $0x7777; pop %gs; push %cs; pop %cx");
	ENDED(&c);
	EQ(c.ebx & 0xffff, 0xabcd);
	EQ(c.eax & 0xffff, 0x4321);
	EQ(c.gs, 0x7777);
	EQ(c.ecx & 0xffff, CODE_SEG);
}

static void transfers(void)
{
	struct real_ctx c;

	test("far call, jump and return");
	/* mov %cs, %ax; mov %sp, %bp; mov (%bp), %si; mov 2(%bp), %di; lret */
	memcpy(linear(0x2800, 0x100), "\x8c\xc8\x89\xe5\x8b\x76\x00\x8b\x7e\x02\xcb", 11);
	RUN(&c, "lcall $0x2800, $0x100; mov %cs, %bx; mov %sp, %cx");
	ENDED(&c);
	EQ(c.eax & 0xffff, 0x2800);
	EQ(c.ebx & 0xffff, CODE_SEG);
	EQ(c.ecx & 0xffff, 0x1000);
	EQ(c.edi & 0xffff, CODE_SEG);
	EQ(c.esi & 0xffff, 5);
	memcpy(linear(0x2800, 0x100), "\x8c\xc8\xca\x04\x00", 5); /* mov %cs, %ax; lret $4 */
	*u32_at(DATA_SEG, 0x40) = 0x28000100;
	RUN(&c, "push $1; push $2; lcall *0x40; mov %sp, %cx");
	ENDED(&c);
	EQ(c.ecx & 0xffff, 0x1000);
	memcpy(linear(0x2800, 0x100), "\x8c\xc8\xcd\x70", 4); /* mov %cs, %ax; int $0x70 */
	RUN(&c, "ljmp $0x2800, $0x100");
	ENDED(&c);
	EQ(c.cs, 0x2800);
	EQ(c.eax & 0xffff, 0x2800);
	test("32-bit far call and return");
	/* mov %cs, %ax; mov %sp, %bp; mov (%bp), %esi; mov 4(%bp), %di; lretl */
	memcpy(linear(0x2800, 0x100), "\x8c\xc8\x89\xe5\x66\x8b\x76\x00\x8b\x7e\x04\x66\xcb", 13);
	RUN(&c, "lcalll $0x2800, $0x100; mov %sp, %cx");
	ENDED(&c);
	EQ(c.ecx & 0xffff, 0x1000);
	EQ(c.esi, 8);
	EQ(c.edi & 0xffff, CODE_SEG);
	test("near jumps truncate IP to 16 bits");
	RUN(&c, "call 1f; 1: pop %ax; mov $0x1234, %bx");
	ENDED(&c);
	EQ(c.eax & 0xffff, 3);
	test("near jump of 32 bits beyond the limit");
	known("tcg", "segments are not checked on use");
	if (!cannot("tcg", "would run somewhere")) {
		RUN(&c, "mov $0x12345, %eax; jmp *%eax");
		RFAULT(&c, GP, 6);
	}
	test("iretl");
	RUN(&c, "pushl $0x00040003; pushl $0x2000; call 1f; 1: pop %ax; movzwl %ax, %eax; add $15, %eax; push %eax; "
	        "iretl; int3; int3; pushfl; pop %ebx");
	ENDED(&c);
	EQ(c.ebx, F_FIXED | F_CF | F_AC);
	EQ(c.esp, 0x1000);
}

static void exceptions(void)
{
	struct real_ctx c;

	test("exceptions push no error code");
	RUN(&c, "xor %bx, %bx; div %bx");
	RFAULT(&c, DE, 2);
	EQ(c.esp, 0x1000);
	RUN(&c, "ud2");
	RFAULT(&c, UD, 0);
	RUN(&c, "int3");
	RFAULT(&c, BP, 1);
	*u32_at(DATA_SEG, 0) = 0x00090005;
	RUN(&c, "xor %bx, %bx; mov $4, %ax; bound %ax, (%bx)");
	RFAULT(&c, BR, 5);
	init(&c, CODE16("into"));
	c.flags = F_FIXED | F_OF;
	go(&c);
	RFAULT(&c, OF, 1);
	init(&c, CODE16("nop; nop"));
	c.flags = F_FIXED | F_TF;
	go(&c);
	RFAULT(&c, DB, 1);
	set_dr6(0xffff0ff0);
	test("instructions that do not exist in real mode");
	RUN(&c, "lldt %ax");
	RFAULT(&c, UD, 0);
	RUN(&c, "ltr %ax");
	RFAULT(&c, UD, 0);
	RUN(&c, "sldt %ax");
	RFAULT(&c, UD, 0);
	RUN(&c, "str %ax");
	RFAULT(&c, UD, 0);
	RUN(&c, "lar %ax, %bx");
	RFAULT(&c, UD, 0);
	RUN(&c, "lsl %ax, %bx");
	RFAULT(&c, UD, 0);
	RUN(&c, "verr %ax");
	RFAULT(&c, UD, 0);
	RUN(&c, "verw %ax");
	RFAULT(&c, UD, 0);
	RUN(&c, "arpl %ax, %bx");
	RFAULT(&c, UD, 0);
	test("sysenter in real mode");
	known("tcg", "not checked");
	wrmsr(0x174, SEL_C0);
	if (!cannot("tcg", "would enter")) {
		RUN(&c, "sysenter");
		RFAULT(&c, GP, 0);
		RUN(&c, "sysexit");
		RFAULT(&c, GP, 0);
	}
	wrmsr(0x174, 0);
	test("privileged instructions are allowed");
	RUN(&c, "mov %cr0, %eax; mov %eax, %cr0; mov %cr3, %eax; mov %dr7, %eax; sgdtl 0; sidtl 8; lgdtl 0; clts; "
	        "wbinvd; rdtsc; cpuid; smsw %ax; lmsw %ax");
	ENDED(&c);
	EQ(*u16_at(DATA_SEG, 0), GDT_SLOTS * 8 - 1);
	EQ(*u32_at(DATA_SEG, 2), (u32)gdt);
	EQ(*u16_at(DATA_SEG, 8), 0x3ff);
	EQ(*u32_at(DATA_SEG, 10), 0);
}

/* The interrupt table is where IDTR says, in real mode too. */
static void other_table(void)
{
	struct real_ctx c;

	test("interrupt table elsewhere");
	memcpy((void *)0x50000, (void *)0, 0x400);
	*u32_at(0x5000, 0x62 * 4) = (REAL_SEG << 16) | (real_stubs + 6 * 0x99 - real_start);
	init(&c, CODE16("int $0x62"));
	c.idt_base = 0x50000;
	go(&c);
	EQ(c.vector, 0x99);
	test("vector beyond the table's limit");
	known("tcg", "the limit is not checked in real mode");
	init(&c, CODE16("int $0x62"));
	c.idt_limit = 0x62 * 4 + 2;
	go(&c);
	RFAULT(&c, GP, 0);
	init(&c, CODE16("int $0x62"));
	c.idt_limit = 0x62 * 4 + 3;
	go(&c);
	EQ(c.vector, 0x62);
	test("lidt in real mode");
	*u16_at(DATA_SEG, 0x80) = 0x3ff;
	*u32_at(DATA_SEG, 0x82) = 0x50000;
	RUN(&c, "lidtl 0x80; int $0x62");
	EQ(c.vector, 0x99);
}

/* Limits loaded in protected mode stay when real mode is entered, and when a selector is loaded there. */
static void unreal(void)
{
	static u32 far_word ALIGNED(4) = 0x13571357;
	struct real_ctx c;

	set_selector(SEL_D0);
	test("4 GiB limits");
	init(&c, CODE16("xor %ax, %ax; mov %ax, %ds; mov (%esi), %ebx; movl $0x24682468, (%esi); mov %ds, %cx; mov "
	                "$0x10, %ax; mov %ax, %ds; mov -0x100(%esi), %edx"));
	c.esi = (u32)&far_word;
	far_word = 0x13571357;
	go(&c);
	ENDED(&c);
	EQ(c.ebx, 0x13571357);
	EQ(far_word, 0x24682468);
	EQ(c.ecx & 0xffff, 0);
	EQ(c.edx, *u32_at(0, (u32)&far_word));
	test("4 GiB limits: string instructions and a word at 64 KiB");
	init(&c, CODE16("xor %ax, %ax; mov %ax, %ds; mov %ax, %es; mov $16, %ecx; addr32 rep movsb; mov $0xffff, %ebx; "
	                "addr32 mov (%ebx), %ax"));
	memset(linear(0x6000, 0), 0, 16);
	c.esi = (u32) "sixteen letters!";
	c.edi = 0x60000;
	go(&c);
	ENDED(&c);
	TRUE(memcmp((void *)0x60000, "sixteen letters!", 16) == 0);
	EQ(c.edi, 0x60010);
	EQ(c.eax & 0xffff, *u16_at(0, 0xffff));
	test("the stack keeps its 64 KiB");
	known("tcg", "segments are not checked on use");
	init(&c, CODE16("mov $0x10000, %ebp; mov (%ebp), %al"));
	go(&c);
	RFAULT(&c, SS, 6);
	set_selector(SEL_REAL_DATA);
	test("64 KiB again");
	known("tcg", "segments are not checked on use");
	init(&c, CODE16("mov $0x10000, %ebx; mov (%ebx), %al"));
	go(&c);
	RFAULT(&c, GP, 6);
}

/* A program: sorts words, calls a service by INT, uses strings, counts with 32 bits. */
static void program(void)
{
	struct real_ctx c;

	test("a program");
	for (unsigned i = 0; i < 64; i++)
		*u16_at(DATA_SEG, 0x200 + 2 * i) = (i * 7919) & 0x7fff;
	*u32_at(0, 0x60 * 4) = (CODE_SEG + 0x100) << 16;
	memcpy(linear(CODE_SEG + 0x100, 0), "\x66\x01\xd8\xcf", 4); /* add %ebx, %eax; iret */
	RUN(&c,
	    "mov $63, %dx; 1: mov $0x200, %si; mov %dx, %cx; 2: lodsw; cmp (%si), %ax; jbe 3f; xchg (%si), %ax; mov "
	    "%ax, -2(%si); 3: loop 2b; dec %dx; jnz 1b;"
	    "xor %eax, %eax; mov $0x200, %si; mov $64, %cx; 4: movzwl (%si), %ebx; int $0x60; add $2, %si; loop 4b");
	ENDED(&c);
	{
		u32 sum = 0;
		bool sorted = true;

		for (unsigned i = 0; i < 64; i++) {
			sum += (i * 7919) & 0x7fff;
			if (i && *u16_at(DATA_SEG, 0x200 + 2 * i) < *u16_at(DATA_SEG, 0x1fe + 2 * i))
				sorted = false;
		}
		EQ(c.eax, sum);
		TRUE(sorted);
	}
	*u32_at(0, 0x60 * 4) = REAL_SEG << 16 | (real_stubs + 6 * 0x60 - real_start);
}

void guest_main(void)
{
	install();
	set_selector(SEL_REAL_DATA);
	entering();
	flags();
	segments();
	transfers();
	exceptions();
	other_table();
	unreal();
	program();
	test("protected mode still works");
	{
		struct ctx c;
		u32 code = CODE("hlt");

		run_at(&c, 3, code);
		FAULT(&c, GP, 0, code);
	}
}
