/*
 * step - single-step through every kind of instruction, privileged and sensitive ones too; debug registers: code and data breakpoints, RF, GD.
 */
#include "guest.h"

GUEST("step");

enum { MAX = 64, B0 = 1, BD = 0x2000, BS = 0x4000, VECTOR = 0x71, DR6_CLEAR = 0xffff0ff0 };

static u32 seen[MAX], seen_dr6[MAX], seen_ecx[MAX], count;
static bool resume_flag;

/* #DB: note where, go on. */
static bool note(struct trap_frame *f)
{
	if (count < MAX) {
		seen[count] = f->eip;
		seen_dr6[count] = get_dr6();
		seen_ecx[count] = f->ecx;
	}
	count++;
	set_dr6(DR6_CLEAR);
	if (resume_flag)
		f->eflags |= F_RF;
	return count < 4 * MAX;
}

struct walk {
	const char *name;
	u32 code;
	unsigned cpls;  /* bit n: at CPL n */
	u8 offsets[24]; /* where each trap is reported; 0xff ends */
};

#define ANY 0xf

static void walk(const struct walk *w, unsigned cpl, u32 iopl)
{
	struct ctx c;
	u32 n = 0;

	test("cpl%u step %s", cpl, w->name);
	known("tcg", "STI holds the trap back");
	on_trap(DB, note);
	count = 0;
	resume_flag = false;
	set_dr6(DR6_CLEAR);
	ctx_init(&c, cpl, w->code);
	c.eflags = F_FIXED | F_TF | iopl;
	c.ebx = stack_top(cpl) - 256;
	c.ecx = 3;
	c.edx = 0x80;
	c.esi = c.edi = stack_top(cpl) - 512;
	cpu_run(&c);
	on_trap(DB, NULL);
	FINE(&c);
	while (w->offsets[n] != 0xff)
		n++;
	EQ(count, n);
	for (u32 i = 0; i < n && i < count; i++) {
		EQ(seen[i] - w->code, w->offsets[i]);
		EQ(seen_dr6[i] & 0xe00f, BS);
	}
}

static void walks(void)
{
	const struct walk items[] = {
		{ "plain instructions",
		  CODE("nop; mov %eax, %ebp; push %eax; pop %eax; lea (%ebx), %eax"),
		  ANY,
		  { 1, 3, 4, 5, 7, 0xff } },
		{ "jumps and calls",
		  CODE("jmp 1f; nop; 1: call 2f; jmp 3f; 2: ret; 3: loop 4f; nop; 4: nop"),
		  ANY,
		  { 3, 10, 8, 11, 14, 15, 0xff } },
		{ "rep movsb", CODE("rep movsb; nop"), ANY, { 0, 0, 2, 3, 0xff } },
		{ "rep stosl with ECX 0", CODE("xor %ecx, %ecx; rep stosl; nop"), ANY, { 2, 4, 5, 0xff } },
		{ "mov ss holds the trap back", CODE("mov %ss, %eax; mov %eax, %ss; nop; nop"), ANY, { 2, 5, 6, 0xff } },
		{ "pop ss holds the trap back", CODE("push %ss; pop %ss; nop; nop"), ANY, { 1, 3, 4, 0xff } },
		{ "pushf shows TF",
		  CODE("pushf; pop %eax; test $1, %ah; jnz 1f; ud2; 1: nop"),
		  ANY,
		  { 1, 2, 5, 9, 10, 0xff } },
		{ "popf clears TF", CODE("push $2; popf; nop; nop"), ANY, { 2, 3, 0xff } },
		{ "cpuid, rdtsc", CODE("xor %eax, %eax; cpuid; rdtsc; nop"), ANY, { 2, 4, 6, 7, 0xff } },
		{ "far jump, segments",
		  CODE("mov %ds, %eax; mov %eax, %es; push %cs; push $1f; lret; 1: nop"),
		  ANY,
		  { 2, 4, 5, 10, 11, 12, 0xff } },
		{ "sgdt, sldt, smsw, str",
		  CODE("sgdt (%ebx); sldt %eax; smsw %eax; str %eax; nop"),
		  ANY,
		  { 3, 6, 9, 12, 13, 0xff } },
		{ "lar, lsl, verr",
		  CODE("mov $0x20, %eax; lar %eax, %ebp; lsl %eax, %ebp; verr %ax; nop"),
		  ANY,
		  { 5, 8, 11, 14, 15, 0xff } },
		{ "x87", CODE("fninit; fld1; fldz; faddp; fnstsw %ax; nop"), ANY, { 2, 4, 6, 8, 10, 11, 0xff } },
		{ "cli, sti, in, out",
		  CODE("cli; sti; cli; in $0x80, %al; out %al, %dx; nop"),
		  ANY,
		  { 1, 2, 3, 5, 6, 7, 0xff } },
		{ "privileged instructions",
		  CODE("mov %cr0, %eax; mov %eax, %cr0; mov %cr3, %eax; clts; invlpg (%ebx); nop"),
		  1,
		  { 3, 6, 9, 11, 14, 15, 0xff } },
		{ "lgdt, lidt, lldt",
		  CODE("sgdt (%ebx); lgdt (%ebx); sidt (%ebx); lidt (%ebx); xor %edx, %edx; lldt %dx; nop"),
		  1,
		  { 3, 6, 9, 12, 14, 17, 18, 0xff } },
		{ "iret to the same level", CODE("pushf; push %cs; push $1f; iret; 1: nop"), ANY, { 1, 2, 7, 8, 9, 0xff } },
		{ "bound, into, xlat",
		  CODE("movl $0, (%ebx); movl $9, 4(%ebx); bound %ecx, (%ebx); into; xlat; nop"),
		  ANY,
		  { 6, 13, 15, 16, 17, 18, 0xff } },
		{ "rep insb", CODE("rep insb; nop"), ANY, { 0, 0, 2, 3, 0xff } },
		{ "mov to and from debug registers", CODE("mov %dr7, %eax; mov %eax, %dr7; nop"), 1, { 3, 6, 7, 0xff } },
		{ "rdmsr, wrmsr", CODE("mov $0x175, %ecx; rdmsr; wrmsr; nop"), 1, { 5, 7, 9, 10, 0xff } },
	};

	asm_volatile("clts");
	for (unsigned i = 0; i < COUNT(items); i++)
		for (unsigned cpl = 0; cpl < 4; cpl++)
			if (items[i].cpls >> cpl & 1)
				walk(&items[i], cpl, F_IOPL);
	asm_volatile("clts");
}

static void odd_ones(void)
{
	u32 code, handler, fault;
	struct ctx c;

	on_trap(DB, note);
	resume_flag = false;
	for (unsigned cpl = 0; cpl < 4; cpl++) {
		test("cpl%u INT n enters the handler without TF, and comes back with it", cpl);
		handler = CODE("pushf; pop %edx; nop; iret");
		code = CODE("nop; int $0x71; nop; nop");
		idt_set(VECTOR, gate(SEL_C0, handler, A_P | A_INT32 | A_DPL(3)));
		count = 0;
		set_dr6(DR6_CLEAR);
		ctx_init(&c, cpl, code);
		c.eflags = F_FIXED | F_TF;
		cpu_run(&c);
		FINE(&c);
		EQ(c.edx & F_TF, 0);
		EQ(count, 3);
		EQ(seen[0], code + 1);
		EQ(seen[1], code + 4); /* after the NOP that follows INT: the IRET itself ran without TF */
		EQ(seen[2], code + 5);
		test("cpl%u popf that sets TF traps after the next instruction", cpl);
		code = CODE("push $0x102; popf; nop; nop; push $2; popf; nop");
		count = 0;
		ctx_init(&c, cpl, code);
		cpu_run(&c);
		FINE(&c);
		EQ(count, 4);
		EQ(seen[0], code + 7);
		EQ(seen[1], code + 8);
		EQ(seen[3], code + 11);
		test("cpl%u a fault is not followed by a trap", cpl);
		fault = CODE("nop; ud2");
		count = 0;
		ctx_init(&c, cpl, fault);
		c.eflags = F_FIXED | F_TF;
		cpu_run(&c);
		FAULT(&c, UD, NO_ERROR, fault + 1);
		EQ(count, 1);
		EQ(c.eflags & F_TF, F_TF);
	}
	test("iret that sets TF traps after the next instruction");
	code = CODE("pushf; orl $0x100, (%esp); push %cs; push $1f; iret; 1: nop; nop; push $2; popf");
	count = 0;
	run_at(&c, 0, code);
	FINE(&c);
	EQ(count, 4);
	test("rep: a trap after each element");
	code = CODE("rep stosb");
	count = 0;
	ctx_init(&c, 3, code);
	c.eflags = F_FIXED | F_TF;
	c.ecx = 5;
	c.edi = stack_top(3) - 512;
	cpu_run(&c);
	EQ(count, 5);
	for (u32 i = 0; i < 5; i++) {
		EQ(seen_ecx[i], 4 - i);
		EQ(seen[i], code + (i == 4 ? 2 : 0));
	}
	idt_default(VECTOR);
	test("sysenter keeps TF");
	known("tcg", "no trap on the way in");
	handler = CODE("nop; nop");
	wrmsr(0x174, SEL_C0);
	wrmsr(0x175, stack_top(0) - 64);
	wrmsr(0x176, handler);
	count = 0;
	ctx_init(&c, 3, CODE("sysenter"));
	c.eflags = F_FIXED | F_TF;
	cpu_run(&c);
	wrmsr(0x174, 0);
	FINE(&c);
	EQ(count, 3);
	EQ(seen[0], handler);
	on_trap(DB, NULL);
}

/* ---- debug registers ---- */

static void set_breakpoint(unsigned n, u32 address, u32 type, u32 length, bool global)
{
	u32 dr7 = get_dr7() & ~(3u << 2 * n | 0xfu << (16 + 4 * n));

	switch (n) {
	case 0: asm_volatile("mov %0, %%dr0" : : "r"(address)); break;
	case 1: asm_volatile("mov %0, %%dr1" : : "r"(address)); break;
	case 2: asm_volatile("mov %0, %%dr2" : : "r"(address)); break;
	default: asm_volatile("mov %0, %%dr3" : : "r"(address));
	}
	set_dr7(dr7 | 1u << (2 * n + global) | (type | (length - 1) << 2) << (16 + 4 * n));
}

static void no_breakpoints(void)
{
	set_dr7(0);
	/* a disabled breakpoint whose address matches may show in DR6 all the same */
	asm_volatile("mov %0, %%dr0; mov %0, %%dr1; mov %0, %%dr2; mov %0, %%dr3" : : "r"(0));
	set_dr6(DR6_CLEAR);
}

static void code_breakpoints(void)
{
	struct ctx c;
	u32 code;

	for (unsigned cpl = 0; cpl < 4; cpl++) {
		for (unsigned n = 0; n < 4; n++) {
			test("cpl%u code breakpoint %u", cpl, n);
			code = CODE("nop; inc %eax; inc %ebx");
			no_breakpoints();
			set_breakpoint(n, code + 1, 0, 1, n & 1);
			run_at(&c, cpl, code);
			FAULT(&c, DB, NO_ERROR, code + 1);
			EQ(c.eax, 0xaaaaaaaa);
			EQ(get_dr6() & 0xe00f, B0 << n);
			test("cpl%u RF skips breakpoint %u once", cpl, n);
			set_dr6(DR6_CLEAR);
			c.eflags |= F_RF;
			cpu_run(&c);
			FINE(&c);
			EQ(c.eax, 0xaaaaaaab);
			EQ(c.ebx, 0xbbbbbbbc);
			EQ(get_dr6() & 0xf, 0);
		}
	}
	test("a breakpoint in a loop, each time");
	no_breakpoints();
	code = CODE("mov $5, %ecx; 1: nop; loop 1b");
	set_breakpoint(0, code + 5, 0, 1, false);
	on_trap(DB, note);
	resume_flag = true;
	count = 0;
	run_at(&c, 3, code);
	on_trap(DB, NULL);
	FINE(&c);
	EQ(count, 5);
	EQ(seen_ecx[4], 1);
	test("a disabled breakpoint");
	no_breakpoints();
	asm_volatile("mov %0, %%dr0" : : "r"(code + 5));
	run_at(&c, 3, code);
	FINE(&c);
	test("a breakpoint on a privileged instruction comes before it");
	no_breakpoints();
	code = CODE("nop; hlt");
	set_breakpoint(2, code + 1, 0, 1, false);
	run_at(&c, 3, code);
	FAULT(&c, DB, NO_ERROR, code + 1);
	c.eflags |= F_RF;
	cpu_run(&c);
	FAULT(&c, GP, 0, code + 1);
	test("a breakpoint on rep is hit once");
	known("tcg", "RF does not outlive an element");
	no_breakpoints();
	code = CODE("nop; rep stosb; nop");
	set_breakpoint(1, code + 1, 0, 1, false);
	on_trap(DB, note);
	count = 0;
	ctx_init(&c, 0, code);
	c.ecx = 10;
	c.edi = stack_top(1) - 64;
	cpu_run(&c);
	on_trap(DB, NULL);
	FINE(&c);
	EQ(count, 1);
	EQ(c.ecx, 0);
	test("a breakpoint on the second byte of an instruction is not hit");
	no_breakpoints();
	code = CODE("nop; mov $5, %eax; nop");
	set_breakpoint(1, code + 2, 0, 1, false);
	run_at(&c, 0, code);
	FINE(&c);
	no_breakpoints();
}

static u32 target[16] ALIGNED(32);

static void data_breakpoints(void)
{
	const struct {
		const char *name;
		u32 code;
		u32 length; /* of the instruction */
		u32 offset, size;
		bool writes, reads;
	} items[] = {
		{ "byte write at 0", CODE("movb $1, (%esi)"), 3, 0, 1, true, false },
		{ "byte write at 3", CODE("movb $1, 3(%esi)"), 4, 3, 1, true, false },
		{ "byte write at 4", CODE("movb $1, 4(%esi)"), 4, 4, 1, true, false },
		{ "word write at 3", CODE("movw $1, 3(%esi)"), 6, 3, 2, true, false },
		{ "dword write at -3", CODE("movl $1, -3(%esi)"), 7, -3, 4, true, false },
		{ "dword write at -4", CODE("movl $1, -4(%esi)"), 7, -4, 4, true, false },
		{ "dword read at 0", CODE("mov (%esi), %eax"), 2, 0, 4, false, true },
		{ "byte read at 1", CODE("mov 1(%esi), %al"), 3, 1, 1, false, true },
		{ "dword add at 2", CODE("addl $1, 2(%esi)"), 4, 2, 4, true, true },
		{ "qword read at -4", CODE("fildll -4(%esi)"), 3, -4, 8, false, true },
	};
	static const u32 lengths[] = { 1, 2, 4 };
	struct ctx c;

	asm_volatile("fninit");
	for (unsigned i = 0; i < COUNT(items); i++) {
		for (unsigned j = 0; j < COUNT(lengths); j++) {
			for (u32 type = 1; type <= 3; type += 2) {
				int last = (int)items[i].offset + (int)items[i].size;
				bool overlaps = (int)items[i].offset < (int)lengths[j] && last > 0;
				bool hit = overlaps && (items[i].writes || (type == 3 && items[i].reads));

				test("data breakpoint of %u bytes, type %u, %s", lengths[j], type, items[i].name);
				known("tcg", "hit by neighbours in the same aligned eight bytes");
				no_breakpoints();
				set_breakpoint(1, (u32)&target[4], type, lengths[j], false);
				ctx_init(&c, i & 1 ? 3 : 0, items[i].code);
				c.esi = (u32)&target[4];
				cpu_run(&c);
				if (hit) {
					FAULT(&c, DB, NO_ERROR, items[i].code + items[i].length); /* a trap: after */
					EQ(get_dr6() & 0xe00f, B0 << 1);
					EQ(c.eflags & F_RF, 0);
				} else {
					FINE(&c);
				}
				no_breakpoints();
				asm_volatile("fninit");
			}
		}
	}
	test("data breakpoint: push, call, string, exchange");
	{
		const u32 codes[] = { CODE("lea 4(%esi), %esp; push %eax; nop"), CODE("mov %esi, %edi; stosl; nop"),
			              CODE("xchg %eax, (%esi); nop"), CODE("sgdt (%esi); nop") };

		for (unsigned i = 0; i < COUNT(codes); i++) {
			no_breakpoints();
			set_breakpoint(3, (u32)&target[4], 1, 4, true);
			ctx_init(&c, 3, codes[i]);
			c.esi = (u32)&target[4];
			cpu_run(&c);
			EQ(c.vector, DB);
			EQ(get_dr6() & 0xe00f, B0 << 3);
			TRUE(c.eip > codes[i] && c.eip <= codes[i] + 5);
		}
	}
	test("data breakpoint in rep stosb: after that element");
	no_breakpoints();
	set_breakpoint(0, (u32)&target[5], 1, 1, false);
	{
		u32 code = CODE("rep stosb; nop");

		ctx_init(&c, 3, code);
		c.edi = (u32)target;
		c.ecx = 40;
		cpu_run(&c);
		EQ(c.vector, DB);
		EQ(c.eip, code);
		EQ(c.edi, (u32)target + 21);
		EQ(c.ecx, 19);
		set_dr6(DR6_CLEAR);
		cpu_run(&c);
		FINE(&c);
		EQ(c.ecx, 0);
	}
	test("single-step and a data breakpoint together");
	no_breakpoints();
	set_breakpoint(2, (u32)&target[4], 1, 4, false);
	ctx_init(&c, 3, CODE("movl $5, (%esi); nop"));
	c.esi = (u32)&target[4];
	c.eflags |= F_TF;
	cpu_run(&c);
	EQ(c.vector, DB);
	EQ(get_dr6() & 0xe00f, BS | B0 << 2);
	test("the kernel's own writes do hit");
	no_breakpoints();
	on_trap(DB, note);
	resume_flag = false;
	count = 0;
	set_breakpoint(0, (u32)&target[4], 1, 4, true);
	((volatile u32 *)target)[4] = 7;
	((volatile u32 *)target)[5] = 7;
	EQ(((volatile u32 *)target)[4], 7);
	no_breakpoints();
	on_trap(DB, NULL);
	EQ(count, 1);
	test("a write that faults does not hit");
	no_breakpoints();
	set_breakpoint(0, 0x40000000, 3, 4, false);
	if (get_cr0() & CR0_PG) {
		u32 code = CODE("mov %eax, (%esi)");

		ctx_init(&c, 3, code);
		c.esi = 0x40000000;
		cpu_run(&c);
		FAULT(&c, PF, PF_W | PF_U, code);
		EQ(get_dr6() & 0xf, 0);
	}
	no_breakpoints();
}

static void general_detect(void)
{
	const u32 codes[] = { CODE("mov %dr0, %eax"), CODE("mov %eax, %dr3"), CODE("mov %dr6, %eax"),
		              CODE("mov %eax, %dr7") };
	struct ctx c;

	for (unsigned i = 0; i < COUNT(codes); i++) {
		test("general detect %u", i);
		known("tcg", "not implemented");
		no_breakpoints();
		set_dr7(0x2000);
		run_at(&c, 0, codes[i]);
		FAULT(&c, DB, NO_ERROR, codes[i]);
		EQ(c.eax, 0xaaaaaaaa);
		EQ(get_dr7() & 0x2000, 0); /* cleared, so that the handler may */
		EQ(get_dr6() & BD, BD);
		no_breakpoints();
	}
	test("a detected write is done when it is repeated");
	known("tcg", "not implemented");
	set_dr7(0x2000);
	on_trap(DB, note);
	resume_flag = false;
	count = 0;
	set_dr7(0);
	on_trap(DB, NULL);
	EQ(count, 1);
	no_breakpoints();
}

static void io_breakpoints(void)
{
	u32 in = CODE("in %dx, %al; nop"), out = CODE("out %al, %dx; nop");
	struct ctx c;

	test("I/O breakpoint");
	set_cr4(get_cr4() | CR4_DE);
	no_breakpoints();
	set_breakpoint(0, 0x80, 2, 1, false);
	ctx_init(&c, 0, in);
	c.edx = 0x80;
	cpu_run(&c);
	FAULT(&c, DB, NO_ERROR, in + 1);
	EQ(get_dr6() & 0xe00f, B0);
	set_dr6(DR6_CLEAR);
	ctx_init(&c, 0, out);
	c.edx = 0x80;
	cpu_run(&c);
	FAULT(&c, DB, NO_ERROR, out + 1);
	set_dr6(DR6_CLEAR);
	ctx_init(&c, 0, out);
	c.edx = 0x81;
	cpu_run(&c);
	FINE(&c);
	no_breakpoints();
	set_cr4(get_cr4() & ~CR4_DE);
}

static void task_switch(void)
{
	static struct tss task ALIGNED(16);
	struct ctx c;

	test("a task switch clears the local enables");
	no_breakpoints();
	task = (struct tss){ .cr3 = get_cr3(),
		             .eip = CODE("mov %dr7, %eax"),
		             .eflags = F_FIXED,
		             .esp = stack_top(1),
		             .cs = SEL_C0,
		             .ss = SEL_D0,
		             .ds = SEL_D0,
		             .iomap = 0xffff };
	gdt_set(0x100, desc((u32)&task, sizeof(task) - 1, A_P | A_TSS32));
	set_breakpoint(0, 0x12345678, 1, 4, false);
	set_breakpoint(1, 0x12345678, 1, 4, true);
	run_at(&c, 0, CODE("ljmp $0x100, $0"));
	FINE(&c);
	EQ(c.eax & 0xff, 0x08);
	no_breakpoints();
	load_tables();
}

void guest_main(void)
{
	for (unsigned paged = 0; paged < 2; paged++) {
		if (paged) {
			paging_identity();
			paging_on();
			main_tss.t.cr3 = get_cr3();
		}
		walks();
		odd_ones();
		code_breakpoints();
		data_breakpoints();
		io_breakpoints();
		task_switch();
		general_detect();
	}
}
