/*
 * desc.c - descriptor tables of the runtime, and how guests change them.
 */
#include "guest.h"
#include "internal.h"

u64 gdt[GDT_SLOTS] ALIGNED(16);
u64 idt[256] ALIGNED(16);
struct main_tss main_tss ALIGNED(4096);
static struct tss df_tss;
bool double_fault_ends_run;
static u8 df_stack[4096] ALIGNED(16);

u16 sel_code(unsigned cpl)
{
	static const u16 sel[] = { SEL_C0, SEL_C1 | 1, SEL_C2 | 2, SEL_C3 | 3 };

	return sel[cpl];
}

u16 sel_data(unsigned cpl)
{
	static const u16 sel[] = { SEL_D0, SEL_D1 | 1, SEL_D2 | 2, SEL_D3 | 3 };

	return sel[cpl];
}

u64 desc(u32 base, u32 limit, u32 attr)
{
	u32 high = (base >> 16 & 0xff) | (attr & 0xff) << 8 | (limit & 0xf0000) | (attr & 0xf000) << 8 |
	           (base & 0xff000000);

	return (u64)high << 32 | (base << 16 | (limit & 0xffff));
}

u64 gate(u16 sel, u32 offset, u32 attr)
{
	u32 high = (offset & 0xffff0000) | (attr & 0xff) << 8 | (attr >> 8 & 0x1f);

	return (u64)high << 32 | ((u32)sel << 16 | (offset & 0xffff));
}

u16 gdt_set(u16 sel, u64 descriptor)
{
	gdt[sel >> 3] = descriptor;
	return sel;
}

void idt_set(unsigned vector, u64 g)
{
	idt[vector] = g;
}

void idt_default(unsigned vector)
{
	bool open = vector == DONE || vector == BP || vector == OF;

	idt_set(vector, gate(SEL_C0, (u32)trap_entries + 16 * vector, A_P | A_INT32 | A_DPL(open ? 3 : 0)));
}

void idt_dpl(unsigned vector, unsigned dpl)
{
	idt_set(vector, gate(SEL_C0, (u32)trap_entries + 16 * vector, A_P | A_INT32 | A_DPL(dpl)));
}

void io_bitmap(bool on)
{
	main_tss.t.iomap = on ? offsetof(struct main_tss, bitmap) : 0xffff;
}

/* A double fault: whatever the stack was, this is a task with one of its own. Ends the guest, or the run. */
static void df_entry(void)
{
	if (double_fault_ends_run && run_esp) {
		set_eflags(F_FIXED); /* not nested any more */
		double_fault_task();
		load_tables();
		asm_volatile("clts");
		run_ctx->vector = DF;
		run_ctx->error = 0;
		run_ctx->cr2 = get_cr2();
		run_over(DF);
	}
	test("unexpected double fault");
	print("eip %x esp %x cr2 %x\n", main_tss.t.eip, main_tss.t.esp, get_cr2());
	EQ(DF, DONE);
	finish();
}

void double_fault_task(void)
{
	df_tss = (struct tss){ .cr3 = get_cr3(),
		               .eip = (u32)df_entry,
		               .eflags = F_FIXED,
		               .esp = (u32)(df_stack + sizeof(df_stack) - 16),
		               .es = SEL_D0,
		               .cs = SEL_C0,
		               .ss = SEL_D0,
		               .ds = SEL_D0,
		               .iomap = 0xffff };
	gdt_set(SEL_TSS_DF, desc((u32)&df_tss, sizeof(df_tss) - 1, A_P | A_TSS32));
}

void load_tables(void)
{
	struct table_ptr g = { sizeof(gdt) - 1, (u32)gdt }, i = { sizeof(idt) - 1, (u32)idt };

	gdt_set(SEL_TSS, desc((u32)&main_tss, sizeof(main_tss) - 1, A_P | A_TSS32));
	asm_volatile("lgdt %0; lidt %1; ljmp %2, $1f; 1:" : : "m"(g), "m"(i), "i"(SEL_C0) : "memory");
	asm_volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss; mov %0, %%fs; mov %0, %%gs" : : "r"(SEL_D0));
	asm_volatile("lldt %w0; ltr %w1" : : "r"(0), "r"(SEL_TSS));
}

void desc_init(void)
{
	for (unsigned cpl = 0; cpl < 4; cpl++) {
		gdt_set(sel_code(cpl) & ~7, desc(0, 0xfffff, A_FLAT_CODE(cpl)));
		gdt_set(sel_data(cpl) & ~7, desc(0, 0xfffff, A_FLAT_DATA(cpl)));
	}
	memset(&main_tss, 0xff, sizeof(main_tss));
	memset(&main_tss.t, 0, sizeof(main_tss.t));
	main_tss.t.ss0 = SEL_D0;
	main_tss.t.ss1 = SEL_D1 | 1;
	main_tss.t.esp1 = stack_top(1);
	main_tss.t.ss2 = SEL_D2 | 2;
	main_tss.t.esp2 = stack_top(2);
	io_bitmap(false);
	double_fault_task();
	for (unsigned i = 0; i < 256; i++)
		idt_default(i);
	idt_set(DF, gate(SEL_TSS_DF, 0, A_P | A_TASK));
	load_tables();
}
