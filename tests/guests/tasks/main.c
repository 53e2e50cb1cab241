/*
 * tasks - hardware task switches: by JMP, CALL, interrupt and IRET, of 32 and 16 bits; busy bits, back links, NT, CR0.TS, CR3, LDT; the T flag;
 * and what goes wrong before and during a switch.
 *
 * The code under test runs in the main task at CPL 0; other tasks show their registers in `seen` and go back, or end by INT 0x70 as themselves.
 */
#include "guest.h"

GUEST("tasks");

enum { T32 = 0x100, T16 = 0x108, TLDT = 0x110, GATE = 0x118, BAD = 0x120, VECTOR = 0x71 };

struct tss16 {
	u16 link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};

static struct tss t32 ALIGNED(16);
static struct tss16 t16 ALIGNED(16);
static u8 stack32[4096] ALIGNED(16), stack16[512] ALIGNED(16);
static u64 ldt[4] ALIGNED(8);

static u32 type_of(u16 sel)
{
	return gdt[sel >> 3] >> 40 & 0xff;
}

static u16 task_register(void)
{
	u16 tr;

	asm_volatile("str %0" : "=m"(tr));
	return tr;
}

static void reset_tasks(u32 code)
{
	t32 = (struct tss){ .cr3 = get_cr3(),
		            .eip = code,
		            .eflags = F_FIXED | F_CF,
		            .eax = 0xa1,
		            .ecx = 0xc1,
		            .edx = 0xd1,
		            .ebx = 0xb1,
		            .esp = (u32)(stack32 + sizeof(stack32) - 64),
		            .ebp = 0xb2,
		            .esi = 0x51,
		            .edi = 0xd2,
		            .es = SEL_D3 | 3,
		            .cs = SEL_C0,
		            .ss = SEL_D0,
		            .ds = SEL_D0,
		            .fs = SEL_D1 | 1,
		            .gs = 0,
		            .ldt = TLDT,
		            .iomap = 0xffff,
		            .ss0 = SEL_D0,
		            .esp0 = (u32)(stack32 + 2048) };
	ldt[1] = desc(0, 0x7777, A_P | A_DATA | A_RW);
	gdt_set(TLDT, desc((u32)ldt, sizeof(ldt) - 1, A_P | A_LDT));
	gdt_set(T32, desc((u32)&t32, sizeof(t32) - 1, A_P | A_TSS32));
	load_tables(); /* TR is the main task, not nested */
}

/* Ends in task 32: its view. */
static void check_new_task(const struct ctx *c, u16 link, bool nested)
{
	FINE(c);
	EQ(c->eax, 0xa1);
	EQ(c->ecx, 0xc1);
	EQ(c->edx, 0xd1);
	EQ(c->ebx, 0xb1);
	EQ(c->ebp, 0xb2);
	EQ(c->esi, 0x51);
	EQ(c->edi, 0xd2);
	EQ(c->es, SEL_D3 | 3);
	EQ(c->fs, SEL_D1 | 1);
	EQ(c->gs, 0);
	EQ(c->esp, (u32)(stack32 + sizeof(stack32) - 64));
	EQ(c->eflags & (F_CF | F_NT), F_CF | (nested ? F_NT : 0));
	EQ(task_register(), T32);
	EQ(type_of(T32), A_P | A_BUSY32);
	EQ(type_of(SEL_TSS), nested ? A_P | A_BUSY32 : A_P | A_TSS32);
	if (nested)
		EQ(t32.link & 0xffff, link);
	EQ(get_cr0() & CR0_TS, CR0_TS);
}

/* The main task's state was saved where it left. */
static void check_saved(u32 eip, u32 esp, u32 eflags)
{
	EQ(main_tss.t.eip, eip);
	EQ(main_tss.t.esp, esp);
	EQ(main_tss.t.eflags, eflags);
	EQ(main_tss.t.eax, 0xaaaaaaaa);
	EQ(main_tss.t.ecx, 0xcccccccc);
	EQ(main_tss.t.ebx, 0xbbbbbbbb);
	EQ(main_tss.t.esi, 0x51515151);
	EQ(main_tss.t.cs & 0xffff, SEL_C0);
	EQ(main_tss.t.ss & 0xffff, SEL_D0);
	EQ(main_tss.t.ds & 0xffff, SEL_D0);
}

static void there(void)
{
	const struct {
		const char *name;
		u32 code, len;
		bool nested;
	} ways[] = {
		{ "jmp to a TSS", CODE("ljmp $0x100, $0"), 7, false },
		{ "call of a TSS", CODE("lcall $0x100, $0"), 7, true },
		{ "jmp to a task gate", CODE("ljmp $0x118, $0"), 7, false },
		{ "call of a task gate", CODE("lcall $0x118, $0"), 7, true },
		{ "int through a task gate", CODE("int $0x71"), 2, true },
	};
	u32 show = CODE("nop");
	struct ctx c;

	for (unsigned i = 0; i < COUNT(ways); i++) {
		u32 limit = 0;

		test("%s", ways[i].name);
		reset_tasks(show);
		gdt_set(GATE, gate(T32, 0, A_P | A_TASK));
		idt_set(VECTOR, gate(T32, 0, A_P | A_TASK));
		asm_volatile("clts");
		ctx_init(&c, 0, ways[i].code);
		c.eflags = F_FIXED | F_SF | F_IOPL;
		cpu_run(&c);
		check_new_task(&c, SEL_TSS, ways[i].nested);
		check_saved(ways[i].code + ways[i].len, stack_top(0), F_FIXED | F_SF | F_IOPL);
		asm_volatile("lsl %1, %0" : "+r"(limit) : "r"(0x0c)); /* its LDT is in force */
		EQ(limit, 0x7777);
		asm_volatile("clts");
	}
	reset_tasks(show);
}

static void nested(void)
{
	u32 work = CODE("mov %eax, %edi; 1: add $1, %ebx; pushf; pop %esi; iret; jmp 1b");
	struct ctx c;

	test("call of a task and iret back");
	reset_tasks(work);
	ctx_init(&c, 0, CODE("lcall $0x100, $0; pushf; pop %ecx; str %edx"));
	c.eflags = F_FIXED | F_ZF;
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, 0xaaaaaaaa);
	EQ(c.ebx, 0xbbbbbbbb);
	EQ(c.ecx, F_FIXED | F_ZF);
	EQ(c.edx, SEL_TSS);
	EQ(t32.edi, 0xa1);
	EQ(t32.ebx, 0xb2);
	EQ(t32.esi & F_NT, F_NT);
	EQ(t32.eflags & F_NT, 0);
	EQ(type_of(T32), A_P | A_TSS32);
	EQ(type_of(SEL_TSS), A_P | A_BUSY32);
	EQ(t32.link & 0xffff, SEL_TSS);
	test("the task goes on where it was");
	ctx_init(&c, 0, CODE("lcall $0x100, $0; lcall $0x100, $0"));
	cpu_run(&c);
	FINE(&c);
	EQ(t32.ebx, 0xb4);
	test("int through a task gate at level 3 and iret back");
	reset_tasks(work);
	idt_set(VECTOR, gate(T32, 0, A_P | A_TASK | A_DPL(3)));
	ctx_init(&c, 3, CODE("int $0x71; mov %cs, %eax; mov %ss, %ecx"));
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, SEL_C3 | 3);
	EQ(c.ecx, SEL_D3 | 3);
	EQ(c.esp, stack_top(3));
	EQ(t32.ebx, 0xb2);
}

/* An exception with an error code through a task gate pushes it on the new task's stack. */
static void exception_by_task(void)
{
	u32 work = CODE("pop %ebx; mov %esp, %ecx; iret"), code = CODE("mov %ax, %es; nop"), hlt = CODE("hlt; nop");
	struct ctx c;

	test("#GP through a task gate");
	reset_tasks(CODE("pop %ebx; mov %esp, %ecx; str %edx"));
	idt_set(GP, gate(T32, 0, A_P | A_TASK));
	ctx_init(&c, 0, code);
	c.eax = 0xfff8;
	cpu_run(&c);
	FINE(&c);
	EQ(c.ebx, 0xfff8);
	EQ(c.ecx, (u32)(stack32 + sizeof(stack32) - 64));
	EQ(c.edx, T32);
	EQ(main_tss.t.eip, code);
	EQ(main_tss.t.eax, 0xfff8);
	test("#GP of level 3 through a task gate, mended and resumed");
	reset_tasks(work);
	idt_set(GP, gate(T32, 0, A_P | A_TASK));
	t32.eip = CODE("pop %ebx; addl $1, main_tss+32; iret");
	ctx_init(&c, 3, hlt);
	cpu_run(&c);
	FINE(&c);
	EQ(t32.ebx, 0);
	EQ(c.cs, SEL_C3 | 3);
	idt_default(GP);
	reset_tasks(work);
}

/* The double fault task of the runtime's kind: the state at the fault is in the main TSS. */
static void double_fault(void)
{
	u32 code = CODE("push %eax"), hlt = CODE("hlt");
	struct ctx c;

	test("stack fault at CPL 0 becomes a double fault in its own task");
	if (!cannot("tcg", "segments are not checked on use")) {
		reset_tasks(CODE("pop %ebx; str %edx"));
		idt_set(DF, gate(T32, 0, A_P | A_TASK));
		gdt_set(BAD, desc((u32)stack16, 0xff, A_P | A_DATA | A_RW | A_DB));
		ctx_init(&c, 0, CODE("mov %edi, %ss; mov $0x2000, %esp; push %eax"));
		code = c.eip + 7;
		c.edi = BAD;
		cpu_run(&c);
		FINE(&c);
		EQ(c.ebx, 0);
		EQ(c.edx, T32);
		EQ(main_tss.t.eip, code);
		EQ(main_tss.t.esp, 0x2000);
		EQ(main_tss.t.ss & 0xffff, BAD);
	}
	test("bad ring-0 stack for a fault at CPL 3: #TS, then #DF in its own task");
	reset_tasks(CODE("pop %ebx; str %edx"));
	idt_set(DF, gate(T32, 0, A_P | A_TASK));
	ctx_init(&c, 3, hlt);
	main_tss.t.ss0 = SEL_D1;
	cpu_run(&c);
	main_tss.t.ss0 = SEL_D0;
	FINE(&c);
	EQ(c.ebx, 0);
	EQ(c.edx, T32);
	EQ(main_tss.t.eip, hlt);
	EQ(main_tss.t.cs & 0xffff, SEL_C3 | 3);
	idt_set(DF, gate(SEL_TSS_DF, 0, A_P | A_TASK));
	reset_tasks(hlt);
}

/* Faults that leave the old task running: checked before the switch. */
static void refused(void)
{
	const struct {
		const char *name;
		u64 tss;
		unsigned cpl;
		u32 vector, error;
	} items[] = {
		{ "busy", desc((u32)&t32, 0x67, A_P | A_BUSY32), 0, GP, T32 },
		{ "absent", desc((u32)&t32, 0x67, A_TSS32), 0, NP, T32 },
		{ "of DPL 0 for level 3", desc((u32)&t32, 0x67, A_P | A_TSS32), 3, GP, T32 },
		{ "too short", desc((u32)&t32, 0x66, A_P | A_TSS32), 0, TS, T32 },
	};
	u32 call = CODE("lcall $0x100, $0"), jump = CODE("ljmp $0x100, $0");
	struct ctx c;

	for (unsigned i = 0; i < COUNT(items); i++) {
		test("task switch to a TSS that is %s", items[i].name);
		reset_tasks(call);
		gdt_set(T32, items[i].tss);
		run_at(&c, items[i].cpl, call);
		FAULT(&c, items[i].vector, items[i].error, call);
		EQ(task_register(), SEL_TSS);
		EQ(type_of(SEL_TSS), A_P | A_BUSY32);
		gdt_set(T32, items[i].tss);
		run_at(&c, items[i].cpl, jump);
		FAULT(&c, items[i].vector, items[i].error, jump);
		EQ(task_register(), SEL_TSS);
		EQ(type_of(SEL_TSS), A_P | A_BUSY32);
	}
	test("task switch at level 3 to a TSS of DPL 3");
	reset_tasks(CODE("str %eax"));
	gdt_set(T32, desc((u32)&t32, 0x67, A_P | A_TSS32 | A_DPL(3)));
	ctx_init(&c, 3, CODE("lcall $0x103, $0"));
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax & ~3, T32);
	EQ(c.cs, SEL_C0);
	test("iret with NT and a back link that is not busy");
	reset_tasks(call);
	main_tss.t.link = T32;
	ctx_init(&c, 0, CODE("pushf; orl $0x4000, (%esp); popf; iret"));
	cpu_run(&c);
	FAULT(&c, TS, T32, c.eip);
	EQ(task_register(), SEL_TSS);
	EQ(c.eflags & F_NT, F_NT);
	test("iret with NT and a null back link");
	main_tss.t.link = 0;
	ctx_init(&c, 0, CODE("pushf; orl $0x4000, (%esp); popf; iret"));
	cpu_run(&c);
	EQ(c.vector, TS);
	EQ(c.error, 0);
	test("iret at level 3 with NT");
	reset_tasks(CODE("str %eax"));
	gdt_set(T32, desc((u32)&t32, 0x67, A_P | A_BUSY32));
	main_tss.t.link = T32;
	run_at(&c, 3, CODE("pushf; orl $0x4000, (%esp); popf; iret"));
	FINE(&c);
	EQ(c.eax, T32);
	EQ(type_of(SEL_TSS), A_P | A_TSS32);
	EQ(main_tss.t.eflags & F_NT, 0);
	main_tss.t.link = 0;
	reset_tasks(call);
}

/* Faults found when the new task's registers are loaded: they belong to the new task. */
static void in_the_new_task(void)
{
	const struct {
		const char *name;
		size_t field;
		u16 value;
		u32 vector, error;
	} items[] = {
		{ "bad LDT", offsetof(struct tss, ldt), SEL_D0, TS, SEL_D0 },
		{ "null CS", offsetof(struct tss, cs), 0, TS, 0 },
		{ "CS that is data", offsetof(struct tss, cs), SEL_D0, TS, SEL_D0 },
		{ "absent CS", offsetof(struct tss, cs), BAD, NP, BAD },
		{ "null SS", offsetof(struct tss, ss), 0, TS, 0 },
		{ "SS of another level", offsetof(struct tss, ss), SEL_D1 | 1, TS, SEL_D1 },
		{ "SS that is code", offsetof(struct tss, ss), SEL_C0, TS, SEL_C0 },
		{ "absent SS", offsetof(struct tss, ss), BAD + 8, SS, BAD + 8 },
		{ "DS beyond the GDT", offsetof(struct tss, ds), 0xfff8, TS, 0xfff8 },
		{ "absent ES", offsetof(struct tss, es), BAD + 8, NP, BAD + 8 },
		{ "GS that is a TSS", offsetof(struct tss, gs), T32, TS, T32 },
	};
	u32 call = CODE("lcall $0x100, $0"), code = CODE("nop");
	struct ctx c;

	for (unsigned i = 0; i < COUNT(items); i++) {
		test("new task with %s", items[i].name);
		known("tcg", "the fault belongs to the old task, an absent SS gives another vector");
		reset_tasks(code);
		gdt_set(BAD, desc(0, 0xfffff, A_FLAT_CODE(0) & ~A_P));
		gdt_set(BAD + 8, desc(0, 0xfffff, A_FLAT_DATA(0) & ~A_P));
		/* The handler is a task too: the new task may have no stack yet. */
		*(u16 *)((u8 *)&t32 + items[i].field) = items[i].value;
		{
			static struct tss handler;

			memcpy(&handler, &t32, sizeof(handler));
			handler.cs = SEL_C0;
			handler.ss = handler.ds = handler.es = SEL_D0;
			handler.fs = handler.gs = handler.ldt = 0;
			handler.eip = CODE("pop %ebx; mov main_tss+32, %ecx; str %edx");
			handler.esp = (u32)(stack32 + 1024);
			gdt_set(GATE, desc((u32)&handler, sizeof(handler) - 1, A_P | A_TSS32));
			idt_set(items[i].vector, gate(GATE, 0, A_P | A_TASK));
			idt_set(DF, gate(GATE, 0, A_P | A_TASK));
			run_at(&c, 0, call);
			FINE(&c);
			EQ(c.ebx, items[i].error);
			EQ(c.edx, GATE);
			EQ(c.ecx, call + 7);
			EQ(handler.link & 0xffff, T32);
			EQ(t32.eip, code);
			EQ(type_of(T32), A_P | A_BUSY32);
		}
		idt_default(items[i].vector);
		idt_set(DF, gate(SEL_TSS_DF, 0, A_P | A_TASK));
	}
	reset_tasks(code);
}

static void trap_flag(void)
{
	u32 code = CODE("nop");
	struct ctx c;

	test("T flag: #DB before the new task's first instruction");
	known("tcg", "the T flag is not implemented");
	reset_tasks(code);
	t32.trap = 1;
	set_dr6(0xffff0ff0);
	run_at(&c, 0, CODE("lcall $0x100, $0"));
	FAULT(&c, DB, NO_ERROR, code);
	EQ(get_dr6() & 0xe00f, 0x8000);
	set_dr6(0xffff0ff0);
	reset_tasks(code);
}

static void task16(void)
{
	struct ctx c;
	u32 code;

	test("16-bit task: there and back");
	code = CODE("mov %eax, %esi; iret") /* as 16-bit code: mov %ax, %si */;
	reset_tasks(code);
	memset(&t16, 0, sizeof(t16));
	gdt_set(BAD, desc(code, 0xffff, A_FLAT_CODE(0)));
	gdt_set(T16, desc((u32)&t16, sizeof(t16) - 1, A_P | A_TSS16));
	gdt_set(BAD + 8, desc((u32)stack16, sizeof(stack16) - 1, A_P | A_DATA | A_RW));
	t16.ip = 0;
	t16.flags = F_FIXED | F_SF;
	t16.ax = 0x1616;
	t16.sp = 0x100;
	t16.cs = BAD;
	t16.ss = BAD + 8;
	t16.ds = SEL_D0;
	ctx_init(&c, 0, CODE("lcall $0x108, $0; str %edx"));
	cpu_run(&c);
	FINE(&c);
	EQ(c.edx, SEL_TSS);
	EQ(c.eax, 0xaaaaaaaa);
	EQ(t16.si, 0x1616);
	EQ(t16.link, SEL_TSS);
	EQ(type_of(T16), A_P | A_TSS16);
	EQ(t16.flags & F_NT, 0);
	reset_tasks(code);
}

static void with_paging(void)
{
	static u32 other_dir[1024] ALIGNED(4096);
	u32 code = CODE("mov %cr3, %eax");
	struct ctx c;

	test("task switch loads CR3");
	memcpy(other_dir, page_dir, sizeof(other_dir));
	reset_tasks(code);
	t32.cr3 = (u32)other_dir;
	run_at(&c, 0, CODE("lcall $0x100, $0"));
	FINE(&c);
	EQ(c.eax, (u32)other_dir);
	EQ(get_cr3(), (u32)other_dir);
	set_cr3((u32)page_dir);
	reset_tasks(code);
	test("CR3 in the old TSS is not written");
	EQ(main_tss.t.cr3, (u32)page_dir);
}

static void all(void)
{
	there();
	nested();
	exception_by_task();
	double_fault();
	refused();
	in_the_new_task();
	trap_flag();
	task16();
}

void guest_main(void)
{
	all();
	paging_identity();
	paging_on();
	main_tss.t.cr3 = get_cr3(); /* the processor does not save it */
	all();
	with_paging();
}
