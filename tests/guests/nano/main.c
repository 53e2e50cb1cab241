/*
 * nano - one operation over and over, for measuring what it costs: op=NAME n=TIMES on the command line. Without them every operation a few times,
 * and a check that each did what it is meant to do.
 *
 * The operations are those of Adams and Agesen (A Comparison of Software and Hardware Techniques for x86 Virtualization, 2006) and the loops of
 * kvm-unit-tests' vmexit that a processor of this model can do; tools/bench-nano.sh says which cannot be, and why. Each is one loop of the same
 * form, so that op=empty and op=empty3 (at CPL 3) are what has to be taken off.
 */
#include "guest.h"

GUEST("nano");

#define TIMES_DEFAULT 10
#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define SYSCALL_VECTOR 0x80
#define HOLE 0x700000u /* linear address of a page that is not present */
#define PAGE 0x701000u /* one that is, whose entry is changed */

#define LOOP(body)                                                                                                     \
	do {                                                                                                           \
		u32 n_ = n;                                                                                            \
		asm_volatile("7733:\n" body "\ndecl %0\njnz 7733b"                                                     \
		             : "+S"(n_)                                                                                \
		             :                                                                                         \
		             : "eax", "ebx", "ecx", "edx", "edi", "memory", "cc");                                     \
	} while (0)

static u32 traps __attribute__((used)); /* counted by the handlers below when checking */
static struct table_ptr table __attribute__((used));
static u32 entry_kept __attribute__((used));

/* Handlers as short as they can be: an exception's goes on behind its instruction, which is two bytes long. */
__asm__(".text\n"
        "on_divide: addl $2, (%esp)\n incl traps\n iret\n"
        "on_page_fault: addl $4, %esp\n addl $2, (%esp)\n incl traps\n iret\n"
        "on_syscall: incl traps\n iret\n"
        "on_sysenter: incl traps\n sysexit\n"
        "called: ret\n");
extern u8 on_divide[], on_page_fault[], on_syscall[], on_sysenter[];

/* ---- operations ---- */

static void op_empty(u32 n)
{
	LOOP("");
}

static void op_callret(u32 n)
{
	LOOP("call called");
}

static void op_in(u32 n)
{
	LOOP("inb $0x80, %%al");
}

static void op_inl(u32 n)
{
	LOOP("movw $0x510, %%dx\ninl %%dx, %%eax");
}

static void op_in_pic(u32 n)
{
	LOOP("inb $0x21, %%al");
}

static void op_out_pic(u32 n)
{
	LOOP("movb $0xff, %%al\noutb %%al, $0x21");
}

static void op_out(u32 n)
{
	LOOP("outb %%al, $0x80");
}

static void op_cr0_write(u32 n)
{
	LOOP("movl %%cr0, %%eax\nmovl %%eax, %%cr0");
}

static void op_cr0_read(u32 n)
{
	LOOP("movl %%cr0, %%eax");
}

static void op_cr3_write(u32 n)
{
	LOOP("movl %%cr3, %%eax\nmovl %%eax, %%cr3");
}

static void op_invlpg(u32 n)
{
	LOOP("invlpg table");
}

static void op_cpuid(u32 n)
{
	LOOP("xorl %%eax, %%eax\ncpuid");
}

static void op_rdtsc(u32 n)
{
	LOOP("rdtsc");
}

static void op_rdmsr(u32 n)
{
	LOOP("movl $0x175, %%ecx\nrdmsr");
}

static void op_wrmsr(u32 n)
{
	LOOP("movl $0x175, %%ecx\nxorl %%eax, %%eax\nxorl %%edx, %%edx\nwrmsr");
}

static void op_cli_sti(u32 n)
{
	LOOP("sti\ncli");
}

static void op_pushf_popf(u32 n)
{
	LOOP("pushf\npopf");
}

static void op_sgdt(u32 n)
{
	LOOP("sgdt table");
}

static void op_divzero(u32 n)
{
	idt_set(DE, gate(SEL_C0, (u32)on_divide, A_P | A_INT32));
	LOOP("xorl %%ecx, %%ecx\ndivl %%ecx");
	idt_default(DE);
}

static void op_pgfault(u32 n)
{
	paging_identity();
	*pte(HOLE) = 0;
	paging_on();
	idt_set(PF, gate(SEL_C0, (u32)on_page_fault, A_P | A_INT32));
	LOOP("movl $0x700000, %%ebx\nmovl (%%ebx), %%eax");
	idt_default(PF);
	paging_off();
}

/* What a kernel does to protect a page: the entry, the translation, and then the page is used. */
static void op_ptemod(u32 n)
{
	u32 *entry;

	paging_identity();
	entry = pte(PAGE);
	entry_kept = (u32)entry;
	paging_on();
	LOOP("movl entry_kept, %%ebx\nxorl $0x40, (%%ebx)\ninvlpg 0x701000\nmovl 0x701000, %%eax");
	paging_off();
}

/* The entry alone, as the paper has it: a write to memory that is a page table. */
static void op_ptewrite(u32 n)
{
	paging_identity();
	entry_kept = (u32)pte(PAGE);
	paging_on();
	LOOP("movl entry_kept, %%ebx\nxorl $0x40, (%%ebx)");
	paging_off();
}

/* ---- the same, from CPL 3 ---- */

static void run3(u32 n, u32 code)
{
	struct ctx c;

	ctx_init(&c, 3, code);
	c.esi = n;
	cpu_run(&c);
	FINE(&c);
}

static void op_empty3(u32 n)
{
	run3(n, CODE("1: decl %esi\njnz 1b"));
}

static void op_syscall(u32 n)
{
	idt_set(SYSCALL_VECTOR, gate(SEL_C0, (u32)on_syscall, A_P | A_DPL(3) | A_INT32));
	run3(n, CODE("1: int $0x80\ndecl %esi\njnz 1b"));
	idt_default(SYSCALL_VECTOR);
}

/* SYSEXIT wants four descriptors one after the other: code 0, data 0, code 3, data 3. The runtime's are. */
static void op_sysenter(u32 n)
{
	wrmsr(MSR_SYSENTER_CS, SEL_C0);
	wrmsr(MSR_SYSENTER_ESP, stack_top(0));
	wrmsr(MSR_SYSENTER_EIP, (u32)on_sysenter);
	run3(n, CODE("1: movl $2f, %edx\nmovl %esp, %ecx\nsysenter\n2: decl %esi\njnz 1b"));
	wrmsr(MSR_SYSENTER_CS, 0);
}

/* ---- which ---- */

static const struct op {
	const char *name;
	void (*run)(u32 n);
	bool traps; /* through one of the handlers above, once each time */
} ops[] = {
	{ "empty", op_empty, false },
	{ "empty3", op_empty3, false },
	{ "syscall", op_syscall, true },
	{ "sysenter", op_sysenter, true },
	{ "in", op_in, false },
	{ "out", op_out, false },
	{ "cr0write", op_cr0_write, false },
	{ "cr0read", op_cr0_read, false },
	{ "cr3write", op_cr3_write, false },
	{ "callret", op_callret, false },
	{ "pgfault", op_pgfault, true },
	{ "divzero", op_divzero, true },
	{ "ptemod", op_ptemod, false },
	{ "ptewrite", op_ptewrite, false },
	{ "cpuid", op_cpuid, false },
	{ "inl", op_inl, false },
	{ "inpic", op_in_pic, false },
	{ "outpic", op_out_pic, false },
	{ "rdmsr", op_rdmsr, false },
	{ "wrmsr", op_wrmsr, false },
	{ "invlpg", op_invlpg, false },
	{ "rdtsc", op_rdtsc, false },
	{ "clisti", op_cli_sti, false },
	{ "pushfpopf", op_pushf_popf, false },
	{ "sgdt", op_sgdt, false },
};

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return !*a && (!*b || *b == ' ');
}

/* What is behind "name=" on the command line; NULL when it is not there. */
static const char *word(const char *name)
{
	for (const char *s = guest_cmdline; *s; s++) {
		u32 i = 0;

		while (name[i] && s[i] == name[i])
			i++;
		if (!name[i] && s[i] == '=')
			return s + i + 1;
	}
	return NULL;
}

static u32 times(void)
{
	const char *s = word("n");
	u32 n = 0;

	for (; s && *s >= '0' && *s <= '9'; s++)
		n = n * 10 + (u32)(*s - '0');
	return n ? n : TIMES_DEFAULT;
}

void guest_main(void)
{
	const char *name = word("op");
	u32 n = times(), done = 0;

	pic_init(0xffff);
	for (u32 i = 0; i < COUNT(ops); i++) {
		if (name && !same(ops[i].name, name))
			continue;
		test("%s", ops[i].name);
		traps = 0;
		ops[i].run(n);
		EQ(traps, ops[i].traps ? n : 0);
		done++;
	}
	test("there is such an operation");
	TRUE(done);
}
