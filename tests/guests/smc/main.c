/*
 * smc - code that changes code: the next instruction, the same instruction stream, across pages, on other pages, by every kind of write, through aliases, with data
 * beside it, in user mode, 16-bit and virtual-8086 code. Every change must be seen by the next execution (a jump lies between where the manual wants one).
 */
#include "smc.h"

GUEST("smc");

/* Three pages of code that is written while it runs. */
static u8 arena[3 * 4096] ALIGNED(4096);

enum { MOV_EAX = 0xb8, RET = 0xc3, NOP = 0x90, INT = 0xcd };

static void emit(u8 **at, u8 byte)
{
	*(*at)++ = byte;
}

static void emit32(u8 **at, u32 value)
{
	memcpy(*at, &value, 4);
	*at += 4;
}

/* mov $value, %eax; ret */
static void make_function(u8 *at, u32 value)
{
	emit(&at, MOV_EAX);
	emit32(&at, value);
	emit(&at, RET);
}

static u32 call(const void *at)
{
	u32 value;

	asm_volatile("call *%1" : "=a"(value) : "r"(at) : "ecx", "edx", "memory");
	return value;
}

static void rewritten_functions(void)
{
	u32 bad = 0;

	test("a function rewritten a thousand times");
	for (u32 i = 0; i < 1000; i++) {
		make_function(arena + 64, i * 2654435761u);
		bad += call(arena + 64) != i * 2654435761u;
	}
	EQ(bad, 0);
	test("an operand rewritten, one byte at a time");
	make_function(arena + 64, 0);
	for (u32 i = 0; i < 1000; i++) {
		arena[64 + 1 + i % 4] = i;
		bad += call(arena + 64) != *(u32 *)(arena + 65);
	}
	EQ(bad, 0);
	test("many functions, made, called, moved");
	for (u32 round = 0; round < 8; round++) {
		for (u32 i = 0; i < 500; i++)
			make_function(arena + 16 * i, i ^ round);
		for (u32 i = 0; i < 500; i++)
			bad += call(arena + 16 * ((i * 7) % 500)) != (((i * 7) % 500) ^ round);
		memcpy(arena, arena + 16, 16 * 499);
		for (u32 i = 0; i < 499; i++)
			bad += call(arena + 16 * i) != ((i + 1) ^ round);
	}
	EQ(bad, 0);
}

static void next_instruction(void)
{
	u32 sum = 0;
	struct ctx c;

	for (int i = 1; i <= 200; i++)
		sum += (signed char)i; /* what an 8-bit operand means */

	test("the next instruction is changed");
	ctx_init(&c, 0, CODE("movb $0x42, 1f+1; 1: mov $0x11, %al; mov %al, %bl; movb $0x11, 1b+1"));
	cpu_run(&c);
	FINE(&c);
	EQ(c.ebx & 0xff, 0x42);
	test("the next instruction becomes another one");
	ctx_init(&c, 0, CODE("xor %eax, %eax; movw $0x4043, 1f; 1: nop; nop; movw $0x9090, 1b")); /* inc %ebx; inc %eax */
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, 1);
	EQ(c.ebx, 0xbbbbbbbc);
	test("an instruction some way ahead, in a loop, at every level");
	for (unsigned cpl = 0; cpl < 4; cpl++) {
		ctx_init(&c,
		         cpl, CODE("xor %eax, %eax; mov $200, %ecx; 2: mov %cl, 1f+2; nop; nop; nop; nop; 1: add $0x7f, %eax; loop 2b"));
		cpu_run(&c);
		FINE(&c);
		EQ(c.eax, sum);
	}
	test("an instruction behind, in a loop");
	ctx_init(&c,
	         0, CODE("xor %eax, %eax; movl $0, 1f+1; mov $100, %ecx; 1: add $0x11111111, %eax; mov %ecx, %edx; mov %edx, 1b+1; loop 1b"));
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, 100 * 101 / 2 - 1);
	test("a jump is redirected");
	ctx_init(&c, 0,
	         CODE("mov $0, %eax; movb $2, 1f+1; 1: jmp 2f; 3: inc %eax; inc %eax; 2: inc %eax; movb $2b-3b, 1b+1"));
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, 1 + 0);
}

/* Every way to write memory, aimed at the operand of the function. */
static void kinds_of_write(void)
{
	const struct {
		const char *name;
		u32 code;
		u32 want; /* operand afterwards, was 0x01010101 */
	} items[] = {
		{ "mov dword", CODE("movl $0x11223344, (%esi)"), 0x11223344 },
		{ "mov word", CODE("movw $0x3344, (%esi)"), 0x01013344 },
		{ "mov byte", CODE("movb $0x44, 3(%esi)"), 0x44010101 },
		{ "add", CODE("addl $5, (%esi)"), 0x01010106 },
		{ "inc", CODE("incw 2(%esi)"), 0x01020101 },
		{ "neg", CODE("negl (%esi)"), 0xfefefeff },
		{ "shl", CODE("shll $4, (%esi)"), 0x10101010 },
		{ "xchg", CODE("mov $0x99, %eax; xchg %eax, (%esi)"), 0x99 },
		{ "cmpxchg", CODE("mov $0x01010101, %eax; mov $0x55, %ebx; cmpxchg %ebx, (%esi)"), 0x55 },
		{ "cmpxchg8b",
		  CODE("mov (%esi), %eax; mov 4(%esi), %edx; mov $0x77, %ebx; mov %edx, %ecx; cmpxchg8b (%esi)"), 0x77 },
		{ "xadd", CODE("mov $3, %eax; lock xadd %eax, (%esi)"), 0x01010104 },
		{ "bts", CODE("btsl $31, (%esi)"), 0x81010101 },
		{ "setcc", CODE("cmp %eax, %eax; setne 1(%esi)"), 0x01010001 },
		{ "push", CODE("mov %esp, %ebx; lea 4(%esi), %esp; push $0x1234; mov %ebx, %esp"), 0x1234 },
		{ "pop to memory", CODE("push $0x4321; pop (%esi)"), 0x4321 },
		{ "call", CODE("mov %esp, %ebx; lea 4(%esi), %esp; call 1f; 1: mov %ebx, %esp; movl $0x888, (%esi)"),
		  0x888 },
		{ "stosl", CODE("mov %esi, %edi; mov $0x616161, %eax; stosl"), 0x616161 },
		{ "rep stosb", CODE("mov %esi, %edi; mov $4, %ecx; mov $0x3c, %al; rep stosb"), 0x3c3c3c3c },
		{ "rep movsb", CODE("push $0x0badf00d; mov %esi, %edi; mov %esp, %esi; mov $4, %ecx; rep movsb; pop %eax"),
		  0x0badf00d },
		{ "movsl", CODE("push $0x600dcafe; mov %esi, %edi; mov %esp, %esi; movsl; pop %eax"), 0x600dcafe },
		{ "fistpl", CODE("push $0x1357; fildl (%esp); fistpl (%esi); pop %eax"), 0x1357 },
		{ "fsts", CODE("fld1; fstps (%esi)"), 0x3f800000 },
		{ "movd mmx", CODE("mov $0x2468, %eax; movd %eax, %mm0; movd %mm0, (%esi); emms"), 0x2468 },
		{ "movss", CODE("mov $0x369, %eax; push %eax; movss (%esp), %xmm0; movss %xmm0, (%esi); pop %eax"),
		  0x369 },
		{ "sgdt", CODE("sgdt (%esi)"), 0 },
		{ "smsw", CODE("smsw (%esi)"), 0 },
		{ "fnstcw", CODE("fninit; fnstcw (%esi)"), 0x0101037f },
		{ "mov segment", CODE("mov %ds, (%esi)"), 0x01010000 | SEL_D0 },
		{ "insb", CODE("mov %esi, %edi; mov $0x3ff, %dx; mov $0x5a, %al; out %al, %dx; insb"), 0x0101015a },
	};
	struct ctx c;

	set_cr4(get_cr4() | CR4_OSFXSR);
	asm_volatile("clts; fninit");
	for (unsigned i = 0; i < COUNT(items); i++) {
		u32 want = items[i].want;

		test("code written by %s", items[i].name);
		make_function(arena + 0x100, 0x01010101);
		EQ(call(arena + 0x100), 0x01010101);
		ctx_init(&c, 0, items[i].code);
		c.esi = (u32)arena + 0x101;
		cpu_run(&c);
		FINE(&c);
		if (!want)
			want = *(volatile u32 *)(arena + 0x101);
		else
			EQ(*(volatile u32 *)(arena + 0x101), want);
		arena[0x105] = RET; /* wide writes reach it */
		EQ(call(arena + 0x100), want);
		NE(want, 0x01010101);
	}
	set_cr4(get_cr4() & ~CR4_OSFXSR);
}

/* Code and the data it works on share a page and even a cache line. */
static void data_beside_code(void)
{
	u8 *at = arena + 0x200;
	u32 *counter = (u32 *)(arena + 0x240);

	test("a counter beside the code");
	/* mov $100000, %ecx; 1: incl counter; loop 1b; mov counter, %eax; ret */
	emit(&at, 0xb9);
	emit32(&at, 100000);
	emit(&at, 0xff);
	emit(&at, 0x05);
	emit32(&at, (u32)counter);
	emit(&at, 0xe2);
	emit(&at, 0xf8);
	emit(&at, 0xa1);
	emit32(&at, (u32)counter);
	emit(&at, RET);
	*counter = 0;
	EQ(call(arena + 0x200), 100000);
	test("a counter in the middle of the code");
	at = arena + 0x300;
	/* jmp over; counter: .long 0; over: mov $5000, %ecx; 1: incl counter; loop 1b; mov counter, %eax; ret */
	counter = (u32 *)(arena + 0x302);
	*counter = 0;
	emit(&at, 0xeb);
	emit(&at, 4);
	at += 4;
	emit(&at, 0xb9);
	emit32(&at, 5000);
	emit(&at, 0xff);
	emit(&at, 0x05);
	emit32(&at, (u32)counter);
	emit(&at, 0xe2);
	emit(&at, 0xf8);
	emit(&at, 0xa1);
	emit32(&at, (u32)counter);
	emit(&at, RET);
	EQ(call(arena + 0x300), 5000);
	test("a stack beside the code");
	{
		struct ctx c;

		memcpy(arena + 0x400,
		       (void *)(u32)CODE(
		               "mov $3000, %ecx; xor %eax, %eax; 1: push %ecx; add (%esp), %eax; pop %edx; loop 1b"),
		       48);
		ctx_init(&c, 3, (u32)arena + 0x400);
		c.esp = (u32)arena + 0x480;
		cpu_run(&c);
		FINE(&c);
		EQ(c.eax, 3000u * 3001 / 2);
	}
}

/* An instruction that lies in two pages, changed in either. */
static void across_pages(void)
{
	u32 bad = 0;

	for (u32 before = 1; before < 6; before++) {
		u8 *at = arena + 4096 - before;

		test("instruction %u bytes before a page boundary", before);
		make_function(at, 0);
		for (u32 i = 1; i < 200; i++) {
			u32 value = i * 0x01010101;

			if (i & 1)
				memcpy(at + 1, &value, 4);
			else
				value = (*(volatile u32 *)(at + 1) & 0x00ffffff) | i << 24, at[4] = i;
			bad += call(at) != value;
		}
		EQ(bad, 0);
	}
	test("a block that runs into a page that is rewritten");
	memset(arena + 4096 - 64, NOP, 128);
	make_function(arena + 4096 + 8, 7);
	EQ(call(arena + 4096 - 32), 7);
	make_function(arena + 4096 + 8, 8);
	EQ(call(arena + 4096 - 32), 8);
	make_function(arena + 4096 - 16, 9);
	EQ(call(arena + 4096 - 32), 9);
}

static void string_over_code(void)
{
	struct ctx c;
	static u8 saved[64];

	test("rep stosb over the code that follows it");
	/* The stores write NOPs over the INCs after the instruction itself. */
	u32 code = CODE("mov $1f, %edi; mov $4, %ecx; mov $0x90, %al; xor %ebx, %ebx; rep stosb; 1: inc %ebx; inc "
	                "%ebx; inc %ebx; inc %ebx; inc %ebx");
	run_at(&c, 0, code);
	FINE(&c);
	EQ(c.ebx, 1);
	EQ(c.ecx, 0);
	test("rep movsb of a function over one that ran");
	make_function(arena + 0x500, 1);
	make_function(arena + 0x520, 2);
	EQ(call(arena + 0x500), 1);
	memcpy(saved, arena + 0x520, 6);
	memcpy(arena + 0x500, saved, 6);
	EQ(call(arena + 0x500), 2);
	test("rep movsl over three pages of code");
	for (u32 i = 0; i < 700; i++)
		make_function(arena + 16 * i, i);
	for (u32 i = 0; i < 700; i += 50)
		EQ(call(arena + 16 * i), i);
	{
		u32 count = (sizeof(arena) - 160) / 4, from = (u32)arena + 160, to = (u32)arena;

		asm_volatile("rep movsl" : "+c"(count), "+S"(from), "+D"(to) : : "memory");
	}
	for (u32 i = 0; i < 690; i += 30)
		EQ(call(arena + 16 * i), i + 10);
}

static void aliases(void)
{
	u32 alias = 0x40000000, bad = 0;

	test("code written through another page of the same frame");
	map_page(alias, (u32)arena | P_P | P_W | P_U);
	map_page(alias + 4096, ((u32)arena + 4096) | P_P | P_W | P_U);
	invlpg(alias);
	invlpg(alias + 4096);
	for (u32 i = 0; i < 300; i++) {
		make_function((u8 *)alias + 0x600, i);
		asm_volatile("jmp 1f; 1: cpuid" : : "a"(0) : "ebx", "ecx", "edx", "memory");
		bad += call(arena + 0x600) != i;
		make_function(arena + 0x600, ~i);
		asm_volatile("jmp 1f; 1: cpuid" : : "a"(0) : "ebx", "ecx", "edx", "memory");
		bad += call((u8 *)alias + 0x600) != ~i;
	}
	EQ(bad, 0);
	test("code run at one address, then at another");
	make_function(arena + 0x700, 5);
	EQ(call((u8 *)alias + 0x700), 5);
	EQ(call(arena + 0x700), 5);
	arena[0x701] = 6;
	asm_volatile("cpuid" : : "a"(0) : "ebx", "ecx", "edx", "memory");
	EQ(call((u8 *)alias + 0x700), 6);
	EQ(call(arena + 0x700), 6);
	test("another frame under the same address");
	make_function(arena + 0x800, 1);
	make_function(arena + 4096 + 0x800, 2);
	for (u32 i = 0; i < 50; i++) {
		map_page(alias, ((u32)arena + (i & 1) * 4096) | P_P | P_W | P_U);
		invlpg(alias);
		bad += call((u8 *)alias + 0x800) != 1 + (i & 1);
	}
	EQ(bad, 0);
	test("a store whose walk takes the code's own page to another frame: the next instruction is there");
	bad = 0;
	for (u32 frame = 0; frame < 2; frame++) {
		u8 *at = arena + frame * 4096 + 0xa00;

		make_function(arena + frame * 4096 + 0xb00, 0);
		emit(&at, 0xa3); /* mov %eax, alias + 0xc00 */
		emit32(&at, alias + 0xc00);
		make_function(at, 1 + frame);
	}
	for (u32 i = 0; i < 60; i++) {
		map_page(alias, (u32)arena | P_P | P_W | P_U);
		invlpg(alias);
		call((u8 *)alias + 0xb00);
		map_page(alias, ((u32)arena + 4096) | P_P | P_W | P_U); /* no INVLPG: the store finds it */
		*(u32 *)(arena + 4096 + 0xc00) = i;
		bad += call((u8 *)alias + 0xa00) != 2 || *(u32 *)(arena + 4096 + 0xc00) == i;
	}
	EQ(bad, 0);
	map_page(alias, (u32)arena | P_P | P_W | P_U);
	invlpg(alias);
	test("a page table beside code");
	{
		/* the directory entry points to a table in the arena's page, whose accessed bits the walk sets while code of that page runs */
		u32 *table = (u32 *)(arena + 8192), bad_calls = 0;

		memset(table, 0, 4096);
		make_function(arena + 8192 + 0x800, 0x33);
		table[0] = (u32)arena | P_P | P_W | P_U;
		page_dir[0x50000000u >> 22] = (u32)table | P_P | P_W | P_U;
		for (u32 i = 0; i < 100; i++) {
			table[0] &= ~(P_A | P_D);
			invlpg(0x50000000);
			*(volatile u32 *)0x50000000 = i;
			bad_calls += call(arena + 8192 + 0x800) != 0x33 || (table[0] & (P_A | P_D)) != (P_A | P_D);
		}
		EQ(bad_calls, 0);
		page_dir[0x50000000u >> 22] = 0;
		set_cr3(get_cr3());
	}
	test("descriptors beside code: the accessed bit");
	{
		u64 *table = (u64 *)(arena + 0x900);
		u32 selector = 0x0c, bad_calls = 0;

		gdt_set(SEL_LDT, desc((u32)table, 31, A_P | A_LDT));
		asm_volatile("lldt %w0" : : "r"(SEL_LDT));
		make_function(arena + 0x940, 0x44);
		for (u32 i = 0; i < 50; i++) {
			table[1] = desc(0, 0xfffff, A_FLAT_DATA(0));
			asm_volatile("mov %0, %%fs" : : "r"(selector));
			bad_calls += call(arena + 0x940) != 0x44 || !(table[1] >> 40 & 1);
		}
		EQ(bad_calls, 0);
		asm_volatile("mov %0, %%fs; lldt %w1" : : "r"(SEL_D0), "r"(0));
	}
}

static void other_modes(void)
{
	struct ctx c;

	test("virtual-8086 code changes itself");
	{
		static const u8 bytes[] = {
			0x31, 0xc0,                   /* 0  xor %ax, %ax */
			0xb9, 100,  0,                /* 2  mov $100, %cx */
			0x2e, 0x88, 0x0e, 0x0e, 0x00, /* 5  mov %cl, %cs:0x0e */
			0xeb, 0x00,                   /* 10 jmp 12 */
			0x83, 0xc0, 0x7f,             /* 12 add $0x7f, %ax: the operand is at 0x0e */
			0xe2, 0xf4,                   /* 15 loop 5 */
			0xcd, 0x70,                   /* 17 int $0x70 */
		};

		memcpy((void *)0x20000, bytes, sizeof(bytes));
		ctx_init(&c, 3, 0);
		c.cs = 0x2000;
		c.ss = 0x3000;
		c.esp = 0x1000;
		c.eflags = F_FIXED | F_VM | F_IOPL;
		cpu_run(&c);
		FINE(&c);
		EQ(c.eax & 0xffff, 5050);
		test("16-bit code changes itself");
		gdt_set(0x100, desc(0x20000, 0xffff, A_P | A_CODE | A_RW));
		gdt_set(0x108, desc(0x20000, 0xffff, A_P | A_DATA | A_RW));
		memcpy((void *)0x20000, bytes, sizeof(bytes));
		*(volatile u8 *)0x20005 = 0x3e; /* ds: */
		ctx_init(&c, 0, 0);
		c.cs = 0x100;
		c.ds = 0x108;
		cpu_run(&c);
		FINE(&c);
		EQ(c.eax & 0xffff, 5050);
	}
	test("the same bytes as 16-bit and as 32-bit code");
	{
		static const u8 bytes[] = {
			0xb8, 0x34, 0x12, 0xcd, 0x70, 0xcd, 0x70
		}; /* mov $0x1234, %ax; int $0x70 or mov $0x70cd1234, %eax; int $0x70 */

		memcpy((void *)0x20000, bytes, sizeof(bytes));
		for (u32 i = 0; i < 6; i++) {
			ctx_init(&c, 0, i & 1 ? 0 : 0x20000);
			c.cs = i & 1 ? 0x100 : SEL_C0;
			cpu_run(&c);
			FINE(&c);
			EQ(c.eax, i & 1 ? 0xaaaa1234 : 0x70cd1234);
		}
	}
	test("user code written by the kernel, and the other way round");
	for (u32 i = 0; i < 20; i++) {
		u8 *at = arena + 0xa00;

		emit(&at, MOV_EAX);
		emit32(&at, i);
		emit(&at, INT);
		emit(&at, DONE);
		run_at(&c, 3, (u32)arena + 0xa00);
		EQ(c.eax, i);
		ctx_init(&c, 3, CODE("movb $0x77, 1(%esi)"));
		c.esi = (u32)arena + 0xa00;
		cpu_run(&c);
		run_at(&c, 0, (u32)arena + 0xa00);
		EQ(c.eax, 0x77);
	}
}

void guest_main(void)
{
	for (unsigned paged = 0; paged < 2; paged++) {
		if (paged) {
			paging_identity();
			paging_on();
		}
		rewritten_functions();
		next_instruction();
		kinds_of_write();
		data_beside_code();
		across_pages();
		string_over_code();
		other_modes();
		code_elsewhere(paged);
	}
	aliases();
}
