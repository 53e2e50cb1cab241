/*
 * trap.c - what the kernel does about each exception, interrupt and system call. Called by entry.S with interrupts off.
 */
#include "kernel.h"

enum { VEC_NM = 7, VEC_PF = 14, VEC_IRQ = 32, IRQ_TIMER = 0, IRQ_COM1 = 4 };

static uint32_t read_cr2(void)
{
	uint32_t value;

	__asm__ volatile("mov %%cr2, %0" : "=r"(value));
	return value;
}

static void irq(unsigned line, bool in_user)
{
	pic_eoi(line);
	if (line == IRQ_TIMER)
		sched_tick(in_user);
	else if (line == IRQ_COM1)
		serial_irq();
}

static void exception(const struct frame *f)
{
	uint32_t cr2 = read_cr2();

	if (f->vector == VEC_PF && paging_demand(current, cr2, f->error))
		return;
	if ((f->cs & 3) == 3) {
		print("[%s] killed: exception %u error %x at %x address %x\n", current->name, f->vector, f->error,
		      f->eip, cr2);
		sched_exit(128 + f->vector);
	}
	print("kernel: exception %u error %x at %x address %x\n", f->vector, f->error, f->eip, cr2);
	serial_flush();
	outb(0xf4, 0x11);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void trap(struct frame *f)
{
	if (f->vector == VEC_SYSCALL)
		syscall(f);
	else if (f->vector >= VEC_IRQ)
		irq(f->vector - VEC_IRQ, (f->cs & 3) == 3);
	else if (f->vector == VEC_NM)
		sched_fpu_fault();
	else
		exception(f);
}
