/*
 * v86 - virtual-8086 mode: what IOPL 3 allows and less traps, segments of 64 KiB, I/O by the bitmap alone, entering by IRET and by task switch, the frame with
 * all segments; and a small monitor that runs a real-mode program the way real ones do.
 */
#include "guest.h"

GUEST("v86");

enum { CODE_SEG = 0x1000, DATA_SEG = 0x2000, STACK_SEG = 0x3000, SP0 = 0x1000, TASK = 0x100, VECTOR = 0x71 };
enum { IOPL3 = F_IOPL };

static u8 *linear(u32 seg, u32 offset)
{
	return (u8 *)(seg * 16 + offset);
}

static void prepare(struct ctx *c, struct code16 code, u32 flags)
{
	memcpy(linear(CODE_SEG, 0), code.at, code.len);
	ctx_init(c, 3, 0);
	c->cs = CODE_SEG;
	c->ds = DATA_SEG;
	c->es = DATA_SEG + 0x10;
	c->fs = 0x2020;
	c->gs = 0x2030;
	c->ss = STACK_SEG;
	c->esp = SP0;
	c->eflags = F_FIXED | F_VM | flags;
}

static void run(struct ctx *c, struct code16 code, u32 flags)
{
	prepare(c, code, flags);
	cpu_run(c);
}

#define RUN(c, text, flags) run(c, CODE16(text), flags)

static bool nulls_seen;

static bool handler_segments(struct trap_frame *f)
{
	nulls_seen = ((f->ds | f->es | f->fs | f->gs) & 0xffff) == 0; /* upper halves are undefined */
	return false;
}

static void entering(void)
{
	struct ctx c;

	test("iret enters, INT leaves with all segments on the stack");
	prepare(&c, CODE16("mov %cs, %ax; mov %ss, %bx; mov %ds, %cx; mov %es, %dx; mov %fs, %si; mov %gs, %di"),
	        IOPL3 | F_CF);
	on_trap(DONE, handler_segments);
	nulls_seen = false;
	cpu_run(&c);
	on_trap(DONE, NULL);
	FINE(&c);
	TRUE(nulls_seen);
	EQ(c.eax & 0xffff, CODE_SEG);
	EQ(c.ebx & 0xffff, STACK_SEG);
	EQ(c.ecx & 0xffff, DATA_SEG);
	EQ(c.edx & 0xffff, DATA_SEG + 0x10);
	EQ(c.esi & 0xffff, 0x2020);
	EQ(c.edi & 0xffff, 0x2030);
	EQ(c.eflags, F_FIXED | F_VM | IOPL3 | F_CF);
	EQ(c.frame_esp, main_tss.t.esp0 - 36);
	EQ(c.frame[1] & 0xffff, CODE_SEG);
	EQ(c.frame[2], F_FIXED | F_VM | IOPL3 | F_CF);
	EQ(c.frame[3], SP0);
	EQ(c.frame[4] & 0xffff, STACK_SEG);
	EQ(c.frame[5] & 0xffff, DATA_SEG + 0x10);
	EQ(c.frame[6] & 0xffff, DATA_SEG);
	EQ(c.frame[7] & 0xffff, 0x2020);
	EQ(c.frame[8] & 0xffff, 0x2030);
	EQ(c.handler_eflags & F_VM, 0);
	test("POPF and IRET at CPL 3 do not set VM");
	known("tcg", "IRET does");
	ctx_init(&c,
	         3, CODE("push $0x20002; popf; pushf; pop %eax; push $0x20002; push %cs; push $1f; iret; 1: pushf; pop %ebx"));
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax & F_VM, 0);
	EQ(c.ebx & F_VM, 0);
}

static void by_iopl(void)
{
	struct ctx c;
	const struct {
		const char *name;
		struct code16 code;
	} items[] = {
		{ "cli", CODE16("cli") },       { "sti", CODE16("sti") },     { "pushf", CODE16("pushf") },
		{ "pushfl", CODE16("pushfl") }, { "popf", CODE16("popf") },   { "popfl", CODE16("popfl") },
		{ "iret", CODE16("iret") },     { "iretl", CODE16("iretl") }, { "int n", CODE16("int $0x71") },
	};

	for (u32 iopl = 0; iopl < 3; iopl++) {
		for (unsigned i = 0; i < COUNT(items); i++) {
			test("iopl%u %s", iopl, items[i].name);
			run(&c, items[i].code, iopl << 12 | F_IF | F_ZF);
			FAULT(&c, GP, 0, 0);
			EQ(c.cs, CODE_SEG);
			EQ(c.esp, SP0);
			EQ(c.eflags & ~F_RF, F_FIXED | F_VM | iopl << 12 | F_IF | F_ZF);
		}
		test("iopl%u int3, into, bound are not concerned", iopl);
		RUN(&c, "int3", iopl << 12);
		FAULT(&c, BP, NO_ERROR, 1);
		RUN(&c, "into", iopl << 12 | F_OF);
		FAULT(&c, OF, NO_ERROR, 1);
		*(u32 *)linear(DATA_SEG, 0) = 0x00090005;
		RUN(&c, "xor %bx, %bx; bound %ax, (%bx)", iopl << 12);
		FAULT(&c, BR, NO_ERROR, 2);
	}
	test("iopl3 cli, sti, pushf");
	RUN(&c, "pushf; pop %ax; cli; pushf; pop %bx; sti; pushf; pop %cx", IOPL3 | F_IF);
	FINE(&c);
	EQ(c.eax & 0xffff, F_FIXED | IOPL3 | F_IF);
	EQ(c.ebx & 0xffff, F_FIXED | IOPL3);
	EQ(c.ecx & 0xffff, F_FIXED | IOPL3 | F_IF);
	test("iopl3 pushfl shows neither VM nor RF");
	RUN(&c, "pushfl; pop %eax", IOPL3 | F_AC);
	FINE(&c);
	EQ(c.eax, F_FIXED | IOPL3 | F_AC);
	test("iopl3 popf changes IF, not IOPL or VM");
	RUN(&c, "pushw $0x0ad7; popf; pushf; pop %ax; pushl $0x00240002; popfl; pushfl; pop %ebx", IOPL3);
	FINE(&c);
	EQ(c.eax & 0xffff, IOPL3 | (0x0ad7 & 0x4fd7) | F_IF);
	EQ(c.ebx, F_FIXED | IOPL3 | F_AC | F_ID);
	EQ(c.eflags & (F_VM | F_IOPL), F_VM | IOPL3);
	test("iopl3 iret within virtual-8086 mode");
	RUN(&c, "pushw $0x0203; push %cs; call 1f; 1: pop %ax; add $8, %ax; push %ax; iret; hlt; hlt; mov %cs, %bx",
	    IOPL3);
	FINE(&c);
	EQ(c.ebx & 0xffff, CODE_SEG);
	EQ(c.eflags, F_FIXED | F_VM | IOPL3 | F_IF | F_CF);
}

static void software_interrupts(void)
{
	struct ctx c;

	test("iopl3 int n through a gate of DPL 0");
	RUN(&c, "int $0x72", IOPL3);
	FAULT(&c, GP, 0x72 * 8 + 2, 0);
	test("iopl3 int n to a handler of level 3");
	idt_set(VECTOR, gate(SEL_C3, 0x1000, A_P | A_INT32 | A_DPL(3)));
	RUN(&c, "int $0x71", IOPL3);
	FAULT(&c, GP, SEL_C3, 0);
	test("iopl3 int n to a conforming handler");
	gdt_set(TASK, desc(0, 0xfffff, A_FLAT_CODE(0) | A_CONF));
	idt_set(VECTOR, gate(TASK, 0x1000, A_P | A_INT32 | A_DPL(3)));
	RUN(&c, "int $0x71", IOPL3);
	FAULT(&c, GP, TASK, 0);
	test("iopl3 int n through a trap gate keeps IF");
	idt_set(VECTOR, gate(SEL_C0, CODE("pushf; pop %ebx; mov 8(%esp), %ecx"), A_P | A_TRAP32 | A_DPL(3)));
	RUN(&c, "int $0x71", IOPL3 | F_IF);
	FINE(&c);
	EQ(c.ebx & (F_IF | F_VM), F_IF);
	EQ(c.ecx & (F_IF | F_VM), F_IF | F_VM);
	EQ(c.cs, SEL_C0);
	test("handler returns to virtual-8086 mode by iret");
	idt_set(VECTOR,
	        gate(SEL_C0, CODE("mov $0x10, %ebx; mov %ebx, %ds; mov %ebx, %fs; iret"), A_P | A_INT32 | A_DPL(3)));
	RUN(&c, "int $0x71; mov %ds, %ax; mov %fs, %cx; mov %gs, %dx", IOPL3);
	FINE(&c);
	EQ(c.eax & 0xffff, DATA_SEG);
	EQ(c.ecx & 0xffff, 0x2020);
	EQ(c.edx & 0xffff, 0x2030);
	EQ(c.esp, SP0);
	EQ(c.eflags & F_VM, F_VM);
	idt_default(VECTOR);
}

/* Privileged instructions are #GP(0), those that need selectors are #UD. */
static void privileged(void)
{
	const struct {
		const char *name;
		struct code16 code;
		u32 vector;
	} items[] = {
		{ "hlt", CODE16("hlt"), GP },
		{ "clts", CODE16("clts"), GP },
		{ "lgdt", CODE16("lgdt 0"), GP },
		{ "lidt", CODE16("lidt 0"), GP },
		{ "lmsw", CODE16("lmsw %ax"), GP },
		{ "mov cr0", CODE16("mov %cr0, %eax"), GP },
		{ "mov to cr3", CODE16("mov %eax, %cr3"), GP },
		{ "mov dr7", CODE16("mov %dr7, %eax"), GP },
		{ "invlpg", CODE16("invlpg (%bx)"), GP },
		{ "wbinvd", CODE16("wbinvd"), GP },
		{ "rdmsr", CODE16("rdmsr"), GP },
		{ "wrmsr", CODE16("wrmsr"), GP },
		{ "sysexit", CODE16("sysexit"), GP },
		{ "lldt", CODE16("lldt %ax"), UD },
		{ "ltr", CODE16("ltr %ax"), UD },
		{ "sldt", CODE16("sldt %ax"), UD },
		{ "str", CODE16("str %ax"), UD },
		{ "lar", CODE16("lar %ax, %bx"), UD },
		{ "lsl", CODE16("lsl %ax, %bx"), UD },
		{ "verr", CODE16("verr %ax"), UD },
		{ "verw", CODE16("verw %ax"), UD },
		{ "arpl", CODE16("arpl %ax, %bx"), UD },
	};
	struct ctx c;

	for (u32 iopl = 0; iopl < 4; iopl += 3) {
		for (unsigned i = 0; i < COUNT(items); i++) {
			test("iopl%u %s", iopl, items[i].name);
			run(&c, items[i].code, iopl << 12);
			FAULT(&c, items[i].vector, items[i].vector == GP ? 0 : NO_ERROR, 0);
			EQ(c.eax, 0xaaaaaaaa);
		}
	}
	test("sgdt, sidt, smsw work and show the truth");
	memset(linear(DATA_SEG, 0), 0, 64);
	RUN(&c, "sgdtl 0; sidtl 8; smsw %cx", IOPL3);
	FINE(&c);
	EQ(*(u16 *)linear(DATA_SEG, 0), sizeof(gdt) - 1);
	EQ(*(u32 *)linear(DATA_SEG, 2), (u32)gdt);
	EQ(*(u32 *)linear(DATA_SEG, 10), (u32)idt);
	EQ(c.ecx & 0xffff, get_cr0() & 0xffff);
	test("rdtsc obeys CR4.TSD");
	RUN(&c, "rdtsc", IOPL3);
	FINE(&c);
	set_cr4(get_cr4() | CR4_TSD);
	RUN(&c, "rdtsc", IOPL3);
	set_cr4(get_cr4() & ~CR4_TSD);
	FAULT(&c, GP, 0, 0);
}

/* In virtual-8086 mode IOPL does not matter for ports: only the bitmap does. */
static void ports(void)
{
	struct ctx c;

	for (u32 iopl = 0; iopl < 4; iopl += 3) {
		test("iopl%u ports without a bitmap", iopl);
		RUN(&c, "in $0x80, %al", iopl << 12);
		FAULT(&c, GP, 0, 0);
		RUN(&c, "mov $0x80, %dx; out %ax, %dx", iopl << 12);
		FAULT(&c, GP, 0, 3);
		test("iopl%u ports with a bitmap", iopl);
		io_bitmap(true);
		main_tss.bitmap[0x10] = 0xfe; /* port 0x80 alone */
		RUN(&c, "in $0x80, %al; out %al, $0x80; nop", iopl << 12 | F_IOPL);
		FINE(&c);
		RUN(&c, "mov $0x80, %dx; in %dx, %ax", iopl << 12);
		FAULT(&c, GP, 0, 3);
		RUN(&c, "in $0x81, %al", iopl << 12);
		FAULT(&c, GP, 0, 0);
		RUN(&c, "mov $0x80, %dx; xor %di, %di; insb; insb", iopl << 12 | F_IOPL);
		FINE(&c);
		EQ(c.edi & 0xffff, 2);
		main_tss.bitmap[0x10] = 0xff;
		io_bitmap(false);
	}
}

static void segments(void)
{
	struct ctx c;

	test("segments are 16 times the selector, 64 KiB long");
	*(u32 *)linear(DATA_SEG, 0x1234) = 0x55667788;
	*(u32 *)linear(0x2020, 0xfffc) = 0x99aabbcc;
	RUN(&c, "mov 0x1234, %eax; mov %fs:0xfffc, %ebx; mov $0x2123, %cx; mov %cx, %gs; mov %gs:4, %edx", IOPL3);
	FINE(&c);
	EQ(c.eax, 0x55667788);
	EQ(c.ebx, 0x99aabbcc);
	EQ(c.edx, 0x55667788);
	EQ(c.gs, 0x2123);
	test("an access over the end of a segment");
	known("tcg", "segments are not checked on use");
	RUN(&c, "mov 0xffff, %ax", IOPL3);
	FAULT(&c, GP, 0, 0);
	RUN(&c, "mov 0xfffd, %eax", IOPL3);
	FAULT(&c, GP, 0, 0);
	RUN(&c, "mov $0xffff, %bp; mov (%bp), %ax", IOPL3);
	FAULT(&c, SS, 0, 3);
	test("a 32-bit address beyond 64 KiB");
	known("tcg", "segments are not checked on use");
	RUN(&c, "mov $0x10000, %ebx; mov (%ebx), %al", IOPL3);
	FAULT(&c, GP, 0, 6);
	test("32-bit operands and addresses below 64 KiB");
	RUN(&c, "mov $0x1234, %ebx; mov (%ebx), %eax; add $0x11111111, %eax; mov %eax, 4(%ebx)", IOPL3);
	FINE(&c);
	EQ(*(u32 *)linear(DATA_SEG, 0x1238), 0x66778899);
	test("offsets of 16 bits wrap");
	*(u8 *)linear(DATA_SEG, 0x10) = 0x42;
	RUN(&c, "mov $0xfff8, %bx; mov $0x18, %si; mov (%bx,%si), %al; mov 0x18(%bx), %ah", IOPL3);
	FINE(&c);
	EQ(c.eax & 0xffff, 0x4242);
	test("addresses beyond 1 MiB");
	RUN(&c, "mov $0xffff, %ax; mov %ax, %ds; mov 0x10, %ebx", IOPL3);
	FINE(&c);
	EQ(c.ebx, *(u32 *)0x100000);
	test("the stack wraps");
	RUN(&c, "mov $2, %sp; push $0x1111; push $0x2222; mov %sp, %ax; pop %bx; pop %cx; mov $0x1000, %sp", IOPL3);
	FINE(&c);
	EQ(c.eax & 0xffff, 0xfffe);
	EQ(c.ebx & 0xffff, 0x2222);
	EQ(c.ecx & 0xffff, 0x1111);
	memcpy(linear(0x1800, 0x100), "\x8c\xc8\xcb", 3); /* mov %cs, %ax; lret */
	test("far call and return");
	RUN(&c, "lcall $0x1800, $0x100; mov %cs, %bx; mov %sp, %cx", IOPL3);
	FINE(&c);
	EQ(c.eax & 0xffff, 0x1800);
	EQ(c.ebx & 0xffff, CODE_SEG);
	EQ(c.ecx & 0xffff, SP0);
	test("far pointers");
	*(u32 *)linear(DATA_SEG, 0x20) = 0x4321abcd;
	RUN(&c, "les 0x20, %bx; mov %es, %ax; lss 0x24, %sp; mov %ss, %cx", IOPL3);
	FINE(&c);
	EQ(c.ebx & 0xffff, 0xabcd);
	EQ(c.eax & 0xffff, 0x4321);
}

static void exceptions(void)
{
	struct ctx c;

	test("exceptions of instructions");
	RUN(&c, "xor %bx, %bx; div %bx", IOPL3);
	FAULT(&c, DE, NO_ERROR, 2);
	EQ(c.eflags & F_VM, F_VM);
	RUN(&c, "ud2", 0);
	FAULT(&c, UD, NO_ERROR, 0);
	test("single step");
	RUN(&c, "nop; nop", F_TF);
	FAULT(&c, DB, NO_ERROR, 1);
	EQ(get_dr6() & 0x4000, 0x4000);
	EQ(c.eflags & (F_TF | F_VM), F_TF | F_VM);
	set_dr6(0xffff0ff0);
}

static void by_task(void)
{
	static struct tss task ALIGNED(16);
	static u8 stack[1024] ALIGNED(16);
	struct code16 code = CODE16("mov %ds, %ax; mov %ss, %bx; mov %sp, %cx");
	struct ctx c;

	test("task switch into virtual-8086 mode");
	memcpy(linear(CODE_SEG, 0), code.at, code.len);
	task = (struct tss){ .cr3 = get_cr3(),
		             .eip = 0,
		             .cs = CODE_SEG,
		             .ss = STACK_SEG,
		             .esp = 0x800,
		             .ds = DATA_SEG,
		             .es = 0x2222,
		             .fs = 1,
		             .gs = 0xffff,
		             .eflags = F_FIXED | F_VM | IOPL3,
		             .ss0 = SEL_D0,
		             .esp0 = (u32)(stack + sizeof(stack)),
		             .iomap = 0xffff };
	gdt_set(TASK, desc((u32)&task, sizeof(task) - 1, A_P | A_TSS32));
	run_at(&c, 0, CODE("lcall $0x100, $0"));
	FINE(&c);
	EQ(c.eax & 0xffff, DATA_SEG);
	EQ(c.ebx & 0xffff, STACK_SEG);
	EQ(c.ecx & 0xffff, 0x800);
	EQ(c.es, 0x2222);
	EQ(c.gs, 0xffff);
	EQ(c.eflags & (F_VM | F_NT), F_VM | F_NT);
	load_tables();
	test("INT of virtual-8086 mode through a task gate and back");
	task = (struct tss){ .cr3 = get_cr3(),
		             .cs = SEL_C0,
		             .ss = SEL_D0,
		             .ds = SEL_D0,
		             .es = SEL_D0,
		             .eflags = F_FIXED,
		             .esp = (u32)(stack + sizeof(stack)),
		             .eip = CODE("addw $1, main_tss+40; iret"),
		             .iomap = 0xffff };
	gdt_set(TASK, desc((u32)&task, sizeof(task) - 1, A_P | A_TSS32));
	idt_set(VECTOR, gate(TASK, 0, A_P | A_TASK | A_DPL(3)));
	RUN(&c, "mov $5, %ax; int $0x71; mov %ds, %bx", IOPL3);
	FINE(&c);
	EQ(c.eax & 0xffff, 6);
	EQ(c.ebx & 0xffff, DATA_SEG);
	EQ(main_tss.t.eflags & F_VM, F_VM);
	EQ(main_tss.t.ds & 0xffff, DATA_SEG);
	idt_default(VECTOR);
	load_tables();
}

/* ---- a monitor: runs 16-bit code at IOPL 0, doing for it what the interrupt table at 0 says ---- */

static bool monitor_if;
static unsigned monitor_traps;

static void push16(struct trap_frame *f, u16 value)
{
	f->esp = (f->esp - 2) & 0xffff;
	*(u16 *)linear(f->ss, f->esp) = value;
}

static u16 pop16(struct trap_frame *f)
{
	u16 value = *(u16 *)linear(f->ss, f->esp);

	f->esp = (f->esp + 2) & 0xffff;
	return value;
}

static void reflect(struct trap_frame *f, u8 vector)
{
	push16(f, (f->eflags & ~F_IF) | (monitor_if ? F_IF : 0));
	push16(f, f->cs);
	push16(f, f->eip);
	monitor_if = false;
	f->eip = *(u16 *)(vector * 4u);
	f->cs = *(u16 *)(vector * 4u + 2);
}

static void set_flags(struct trap_frame *f, u16 value)
{
	monitor_if = value & F_IF;
	f->eflags = F_VM | F_FIXED | (value & 0x0dd5);
}

static bool monitor(struct trap_frame *f)
{
	const u8 *at = linear(f->cs, f->eip);

	if (!(f->eflags & F_VM))
		return false;
	monitor_traps++;
	switch (*at) {
	case 0xfa: /* cli */
	case 0xfb: /* sti */
		monitor_if = *at & 1;
		f->eip++;
		return true;
	case 0x9c: /* pushf */
		push16(f, (f->eflags & ~F_IF) | (monitor_if ? F_IF : 0));
		f->eip++;
		return true;
	case 0x9d: /* popf */
		set_flags(f, pop16(f));
		f->eip++;
		return true;
	case 0xcf: /* iret */
		f->eip = pop16(f);
		f->cs = pop16(f);
		set_flags(f, pop16(f));
		return true;
	case 0xcd: /* int n */
		if (at[1] == DONE)
			return false;
		f->eip += 2;
		reflect(f, at[1]);
		return true;
	}
	return false;
}

static void monitored(void)
{
	/* a service that adds BX to AX and sets the caller's CF */
	struct code16 service = CODE16("push %bp; mov %sp, %bp; orw $1, 6(%bp); pop %bp; add %bx, %ax; iret");
	struct ctx c;
	u32 old = *(volatile u32 *)linear(0, 0x21 * 4);

	test("a monitor runs real-mode code at IOPL 0");
	memcpy(linear(0x1900, 0), service.at, service.len);
	*(volatile u32 *)linear(0, 0x21 * 4) = 0x19000000;
	monitor_if = false;
	monitor_traps = 0;
	on_trap(GP, monitor);
	RUN(&c, "xor %ax, %ax; mov $3, %bx; mov $100, %cx; sti; 1: clc; int $0x21; jnc 2f; loop 1b; pushf; pop %dx; cli; pushf; pop %si; 2: nop",
	    0);
	on_trap(GP, NULL);
	EQ(c.vector, GP); /* the INT 0x70 at the end, which the monitor leaves to us */
	EQ(c.eax & 0xffff, 300);
	EQ(c.ecx & 0xffff, 0);
	EQ(c.edx & (F_IF | F_CF), F_IF | F_CF);
	EQ(c.esi & F_IF, 0);
	EQ(monitor_traps, 100 + 100 + 5);
	*(volatile u32 *)linear(0, 0x21 * 4) = old;
}

static void with_paging(void)
{
	struct ctx c;
	u32 page = DATA_SEG * 16 + 0x5000;

	test("virtual-8086 mode is user mode to paging");
	*pte(page) &= ~P_U;
	invlpg(page);
	RUN(&c, "mov 0x5000, %al", IOPL3);
	FAULT(&c, PF, PF_P | PF_U, 0);
	EQ(c.cr2, page);
	RUN(&c, "mov %al, 0x5fff", IOPL3);
	FAULT(&c, PF, PF_P | PF_W | PF_U, 0);
	EQ(c.cr2, page + 0xfff);
	*pte(page) = page | P_P | P_U;
	invlpg(page);
	RUN(&c, "mov %al, 0x5000", IOPL3);
	FAULT(&c, PF, PF_P | PF_W | PF_U, 0);
	*pte(page) = page | P_P | P_W | P_U;
	invlpg(page);
	test("remapped low memory");
	*(u32 *)linear(DATA_SEG, 0x6000) = 0x600d600d;
	*pte(page) = (DATA_SEG * 16 + 0x6000) | P_P | P_W | P_U;
	invlpg(page);
	RUN(&c, "mov 0x5000, %eax", IOPL3);
	EQ(c.eax, 0x600d600d);
	*pte(page) = page | P_P | P_W | P_U;
	invlpg(page);
}

static void all(void)
{
	entering();
	by_iopl();
	software_interrupts();
	privileged();
	ports();
	segments();
	exceptions();
	by_task();
	monitored();
}

void guest_main(void)
{
	all();
	paging_identity();
	paging_on();
	main_tss.t.cr3 = get_cr3();
	all();
	with_paging();
}
