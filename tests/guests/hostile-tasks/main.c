/*
 * hostile-tasks - task switches to garbage: random TSS contents, TSS anywhere, links in circles.
 */
#include "guest.h"

GUEST("hostile-tasks");

enum { ROUNDS = 2000, SLOT = 0x100 };

static struct tss tasks[4] ALIGNED(16);

static void randomize(struct tss *t)
{
	u32 *words = (u32 *)t;
	u16 *selectors[] = { (u16 *)&t->es, (u16 *)&t->cs, (u16 *)&t->ss,  (u16 *)&t->ds,
		             (u16 *)&t->fs, (u16 *)&t->gs, (u16 *)&t->ldt, (u16 *)&t->link };

	for (unsigned i = 0; i < sizeof(*t) / 4; i++)
		words[i] = rnd();
	t->cr3 = get_cr3();
	for (unsigned i = 0; i < COUNT(selectors); i++)
		if (rnd() % 8)
			*selectors[i] = rnd() % 14 * 8 | rnd() % 4;
	if (rnd() % 2) { /* one that may work */
		unsigned cpl = rnd() % 4;

		t->cs = sel_code(cpl);
		t->ss = sel_data(cpl);
		t->ds = t->es = t->fs = t->gs = t->ldt = 0;
		t->eip = CODE("nop");
		t->esp = stack_top(cpl);
		t->eflags &= F_CF | F_IOPL | F_DF | F_AC;
		t->ss0 = SEL_D0;
		t->esp0 = stack_top(0);
	}
}

void guest_main(void)
{
	const u32 codes[] = { CODE("ljmp $0x103, $0"), CODE("lcall $0x103, $0"), CODE("int $0x71"),
		              CODE("pushf; orl $0x4000, (%esp); popf; iret") };
	u32 vectors[256] = { 0 };

	test("hostile: garbage tasks");
	rnd_seed(0x5eed0006);
	double_fault_ends_run = true;
	for (u32 i = 0; i < ROUNDS; i++) {
		unsigned n = rnd() % 4;
		struct ctx c;

		for (unsigned j = 0; j < 4; j++) {
			u32 base = rnd() % 8 ? (u32)&tasks[j] : rnd() % 2 ? rnd() : 0xa0000 + rnd() % 0x20000;

			randomize(&tasks[j]);
			/* the slots are LDT, tasks of any type, of any limit */
			gdt_set(SLOT + 8 * j, desc(base, rnd() % 8 ? 0x67 : rnd() % 0x100,
			                           A_P | A_DPL(3) | (rnd() % 4 ? A_TSS32 : rnd() % 16)));
		}
		main_tss.t.link = rnd() % 2 ? SLOT + 8 * (rnd() % 4) : rnd();
		load_tables();
		watchdog();
		idt_set(0x71, gate(SLOT + 8 * n, 0, A_P | A_TASK | A_DPL(3)));
		run_at(&c, rnd() % 4, codes[rnd() % COUNT(codes)]);
		pic_mask(0xffff);
		vectors[c.vector & 0xff]++;
	}
	load_tables();
	print("#DF %u #TS %u #NP %u #SS %u #GP %u #DB %u fine %u\n", vectors[DF], vectors[TS], vectors[NP], vectors[SS],
	      vectors[GP], vectors[DB], vectors[DONE]);
	test("hostile: a task that is its own link");
	tasks[0] = (struct tss){ .link = SLOT,
		                 .cs = SEL_C0,
		                 .ss = SEL_D0,
		                 .ds = SEL_D0,
		                 .esp = stack_top(1),
		                 .eflags = F_FIXED | F_NT,
		                 .eip = CODE("iret") };
	gdt_set(SLOT, desc((u32)&tasks[0], 0x67, A_P | A_TSS32));
	asm_volatile("ljmp %0, $0" : : "i"(SLOT));
	finish();
}
