/*
 * count - each kind of event a known number of times at a known place, for the profiler's tests: a symbol count_WHAT_N stands on an instruction that
 * executes N times in the whole run. tests/check/17-views.sh reads the numbers from the names.
 *
 * Twelve NOPs before and in each loop where it matters keep one place's events from being close to another's.
 */
#include "guest.h"

GUEST("count");

#define APART "nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop\n"
#define PLACE(what, n) ".globl count_" what "_" #n "\n.type count_" what "_" #n ", @function\ncount_" what "_" #n ":\n"
#define LOOP(n, body)                                                                                                  \
	asm_volatile(APART "movl $" #n ", %%esi\n7733:\n" body "decl %%esi\njnz 7733b\n" APART                         \
	             :                                                                                                 \
	             :                                                                                                 \
	             : "eax", "ebx", "ecx", "edx", "esi", "edi", "memory", "cc")
#define TIMES(what, n, insn) LOOP(n, PLACE(what, n) insn "\n")

#ifndef PLANTED /* an instruction more, that a comparison has to find (tests/planted/) */
#define PLANTED ""
#endif

static struct table_ptr scratch __attribute__((used));
static u32 word __attribute__((used));

static void privileged(void)
{
	TIMES("cli", 7, "cli");
	asm_volatile(PLANTED);
	LOOP(5, PLACE("sti", 5) "sti\nnop\n" APART PLACE("cliagain", 5) "cli\n" APART);
	TIMES("clts", 3, "clts");
	TIMES("readcr0", 17, "movl %%cr0, %%eax");
	TIMES("readcr4", 9, "movl %%cr4, %%eax");
	LOOP(4, "movl %%cr0, %%eax\n" APART PLACE("writecr0", 4) "movl %%eax, %%cr0\n" APART);
	TIMES("readdr7", 6, "movl %%dr7, %%eax");
	LOOP(2, PLACE("wbinvd", 2) "wbinvd\n" APART);
	TIMES("invlpg", 8, "invlpg word");
	TIMES("rdtsc", 29, "rdtsc");
	LOOP(31, "movl $0, %%eax\n" PLACE("cpuid0", 31) "cpuid\n" APART);
	LOOP(12, "movl $1, %%eax\n" PLACE("cpuid1", 12) "cpuid\n" APART);
	LOOP(37, "movl $0x10, %%ecx\n" PLACE("rdmsr", 37) "rdmsr\n" APART);
	TIMES("in", 11, "inb $0x80, %%al");
	TIMES("out", 13, "outb %%al, $0x80");
}

static void sensitive(void)
{
	TIMES("sgdt", 43, "sgdt scratch");
	TIMES("sidt", 10, "sidt scratch");
	TIMES("smsw", 47, "smsw %%eax");
	TIMES("str", 14, "str %%ax");
	LOOP(41, PLACE("pushf", 41) "pushf\n" APART PLACE("popf", 41) "popf\n" APART);
}

/* in and out back to back, then far from the next round */
static void pairs(void)
{
	LOOP(53, PLACE("pairin", 53) "inb $0x80, %%al\n" PLACE("pairout", 53) "outb %%al, $0x80\n" APART);
}

/* chains of five */
static void clusters(void)
{
	LOOP(20,
	     PLACE("head",
	           20) "inb $0x84, %%al\ninb $0x84, %%al\ninb $0x84, %%al\ninb $0x84, %%al\ninb $0x84, %%al\n" APART);
}

static void processes(void)
{
	set_cr3(0x5000);
	LOOP(19, PLACE("first", 19) "inb $0x80, %%al\n");
	set_cr3(0x6000);
	LOOP(23, PLACE("second", 23) "inb $0x80, %%al\n");
	set_cr3(0);
}

static void exceptions(void)
{
	struct ctx c;

	test("exceptions from ring 3");
	for (unsigned i = 0; i < 6; i++) {
		run_at(&c, 3, CODE(PLACE("hlt3", 6) "hlt"));
		EQ(c.vector, GP);
	}
}

/* Three functions with frame pointers, one inside the other. */
#define FRAMED(name, body)                                                                                             \
	".globl " name "\n.type " name ", @function\n" name ":\npushl %ebp\nmovl %esp, %ebp\n" body "popl %ebp\nret\n"
__asm__(".text\n" FRAMED("chain_outer", "call chain_middle\nnop\n") FRAMED("chain_middle", "call chain_inner\nnop\n")
                FRAMED("chain_inner", PLACE("chained", 15) "inb $0x88, %al\n"));
void chain_outer(void);

static void callers(void)
{
	for (unsigned i = 0; i < 15; i++)
		chain_outer();
}

static void between_marks(void)
{
	print("mark one\n");
	TIMES("marked", 61, "inb $0x80, %%al");
	print("mark two\n");
	TIMES("after", 62, "inb $0x80, %%al");
	print("mark three\n");
}

void guest_main(void)
{
	pic_init(0xffff);
	privileged();
	sensitive();
	pairs();
	clusters();
	processes();
	exceptions();
	callers();
	between_marks();
}
