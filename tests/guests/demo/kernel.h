/*
 * kernel.h - the demo kernel's own interfaces.
 *
 * A small but whole kernel: it is what `make demo` records, replays and profiles, so each file shows one thing that a real kernel does in ring 0.
 * It must run on any PC with a Pentium III class processor, 16 MiB of memory, 8259, 8254 and 16550; it must never depend on its VMM.
 */
#ifndef DEMO_KERNEL_H
#define DEMO_KERNEL_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Selectors. SYSENTER and SYSEXIT want the four code and data segments in this order. */
enum { SEL_KCODE = 0x08, SEL_KDATA = 0x10, SEL_UCODE = 0x1b, SEL_UDATA = 0x23, SEL_TSS = 0x28 };

#define EFL_IF 0x200u
#define CR0_TS 0x8u

#define USER_BASE 0x40000000u /* programs and their data */
#define USER_LIMIT 0x60000000u
#define STACK_TOP 0x7ffff000u /* every task's stack, each in its own address space */
#define STACK_PAGES 16u
#define PAGE_SIZE 4096u

/* What the trap entry leaves on the kernel stack: the order of entry.S. */
struct frame {
	uint32_t es, ds;
	uint32_t edi, esi, ebp, unused_esp, ebx, edx, ecx, eax;
	uint32_t vector, error;
	uint32_t eip, cs, eflags, esp, ss; /* esp and ss only when from ring 3 */
};

enum task_state { TASK_FREE, TASK_READY, TASK_SLEEPING, TASK_DEAD };

struct task {
	alignas(16) uint8_t fpu[512]; /* FXSAVE image */
	uint32_t ksp;                 /* saved kernel stack pointer */
	uint32_t kstack_top;
	uint32_t cr3;
	uint32_t wake_tick;
	uint32_t exit_code;
	uint32_t faults, syscalls, ticks, pages;
	bool fpu_used;
	enum task_state state;
	const char *name;
};

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void wrmsr(uint32_t msr, uint32_t low)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"(low), "d"(0));
}

static inline uint32_t read_cr0(void)
{
	uint32_t value;

	__asm__ volatile("mov %%cr0, %0" : "=r"(value));
	return value;
}

static inline void write_cr0(uint32_t value)
{
	__asm__ volatile("mov %0, %%cr0" : : "r"(value) : "memory");
}

static inline uint32_t irq_save(void)
{
	uint32_t flags;

	__asm__ volatile("pushf; pop %0; cli" : "=r"(flags) : : "memory");
	return flags;
}

static inline void irq_restore(uint32_t flags)
{
	__asm__ volatile("push %0; popf" : : "r"(flags) : "memory", "cc");
}

/* desc.c: GDT, IDT, TSS */
void desc_init(void);
void desc_set_kernel_stack(uint32_t esp0); /* for interrupts and for SYSENTER */

/* serial.c: COM1 with transmit interrupts */
void serial_init(void);
void serial_irq(void);
void serial_write(const char *s, size_t len);
void serial_flush(void);
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* %s %u %x %c */

/* timer.c: 8259A and 8254 */
void pic_init(void);
void pic_eoi(unsigned irq);
void timer_init(unsigned hz);
extern volatile uint32_t timer_ticks;

/* paging.c */
void paging_init(void);
uint32_t paging_kernel_space(void); /* the CR3 without a user part */
uint32_t paging_new_space(void);    /* gives a CR3; kernel part shared, user part empty */
bool paging_demand(struct task *t, uint32_t address, uint32_t error);
void paging_free_space(uint32_t cr3); /* not the one in use */
bool paging_user_range(uint32_t address, uint32_t len);
unsigned paging_free_frames(void);

/* sched.c */
extern struct task tasks[];
extern struct task *current;
struct task *sched_spawn(const char *name, void (*entry)(void));
void sched_tick(bool in_user);
void sched_yield(void);
void sched_sleep(uint32_t ticks);
_Noreturn void sched_exit(uint32_t code);
void sched_run(void);       /* round robin until the last task is dead */
void sched_fpu_fault(void); /* #NM: this task wants the FPU */
extern unsigned sched_switches, sched_fpu_switches;

/* syscall.c */
void syscall(struct frame *f);

/* entry.S */
void trap_return(void);
void sysenter_entry(void);
void switch_stacks(uint32_t *save, uint32_t load);
extern const uint32_t trap_stubs[];
#define TRAP_STUBS 49u /* exceptions 0..31, interrupts 32..47, and the system call */
#define VEC_SYSCALL 0x80u

/* trap.c */
void trap(struct frame *f);

#endif
