/*
 * desc.c - the processor's tables: GDT, IDT and the one TSS, which is there only for its ring-0 stack.
 */
#include "kernel.h"

enum { MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP = 0x175, MSR_SYSENTER_EIP = 0x176 };

struct tss {
	uint32_t link, esp0, ss0, rest[22];
	uint16_t trap, iomap;
};

struct table {
	uint16_t limit;
	uint32_t base;
} __attribute__((packed));

static uint64_t gdt[6];
static uint64_t idt[256];
static struct tss tss;

static uint64_t segment(uint32_t base, uint32_t limit, uint32_t attr)
{
	uint64_t low = (limit & 0xffffu) | (uint64_t)(base & 0xffffffu) << 16;

	return low | (uint64_t)(attr | ((limit >> 8) & 0xf00u)) << 40 | (uint64_t)(base >> 24) << 56;
}

static uint64_t interrupt_gate(uint32_t offset, unsigned dpl)
{
	return (offset & 0xffffu) | SEL_KCODE << 16 | (uint64_t)((offset & 0xffff0000u) | 0x8e00u | dpl << 13) << 32;
}

void desc_init(void)
{
	struct table gdtr = { sizeof(gdt) - 1, (uint32_t)gdt }, idtr = { sizeof(idt) - 1, (uint32_t)idt };

	gdt[1] = segment(0, 0xfffff, 0xc09b);
	gdt[2] = segment(0, 0xfffff, 0xc093);
	gdt[3] = segment(0, 0xfffff, 0xc0fb);
	gdt[4] = segment(0, 0xfffff, 0xc0f3);
	gdt[5] = segment((uint32_t)&tss, sizeof(tss) - 1, 0x0089);
	for (unsigned i = 0; i < TRAP_STUBS - 1; i++)
		idt[i] = interrupt_gate(trap_stubs[i], 0);
	idt[VEC_SYSCALL] = interrupt_gate(trap_stubs[TRAP_STUBS - 1], 3);
	tss.ss0 = SEL_KDATA;
	tss.iomap = sizeof(tss);
	__asm__ volatile("lgdt %0; lidt %1; ljmp %2, $1f; 1:" : : "m"(gdtr), "m"(idtr), "i"(SEL_KCODE) : "memory");
	__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss" : : "r"(SEL_KDATA));
	__asm__ volatile("mov %0, %%fs; mov %0, %%gs" : : "r"(0));
	__asm__ volatile("lldt %w0; ltr %w1" : : "r"(0), "r"(SEL_TSS));
	wrmsr(MSR_SYSENTER_CS, SEL_KCODE);
	wrmsr(MSR_SYSENTER_EIP, (uint32_t)sysenter_entry);
}

void desc_set_kernel_stack(uint32_t esp0)
{
	tss.esp0 = esp0;
	wrmsr(MSR_SYSENTER_ESP, esp0);
}
