/*
 * hostile-exceptions - exceptions without end: repaired by nobody, nested, in their own handlers, until the stack is gone.
 */
#include "guest.h"

GUEST("hostile-exceptions");

static u32 count;

static bool again(struct trap_frame *f)
{
	(void)f;
	return ++count < 20000;
}

void guest_main(void)
{
	const u32 codes[] = { CODE("ud2"),      CODE("hlt"),       CODE("mov %ax, %ss"),
		              CODE("div %edi"), CODE("int $0x50"), CODE("movl $0, 0x50000000") };
	static const u32 vectors[] = { UD, GP, GP, DE, GP, PF };
	struct ctx c;

	test("hostile: the same fault again and again");
	paging_identity();
	paging_on();
	for (unsigned i = 0; i < COUNT(codes); i++) {
		count = 0;
		on_trap(vectors[i], again);
		ctx_init(&c, 3, codes[i]);
		c.eax = 0xfffb;
		c.edi = 0;
		cpu_run(&c);
		on_trap(vectors[i], NULL);
		EQ(c.vector, vectors[i]);
	}
	test("hostile: single-step without end");
	count = 0;
	on_trap(DB, again);
	ctx_init(&c, 3, CODE("1: jmp 1b"));
	c.eflags |= F_TF;
	cpu_run(&c);
	EQ(c.vector, DB);
	test("hostile: a handler that faults in itself");
	/* #UD's handler is UD2 at CPL 0: frames eat memory downwards until the IDT, the code, or page 0 is gone */
	idt_set(UD, gate(SEL_C0, codes[0], A_P | A_TRAP32));
	asm_volatile("ud2");
}
