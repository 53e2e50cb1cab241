/*
 * sched.c - tasks, round robin. A task switch changes the address space, the kernel stack, and marks the FPU as somebody else's: its registers are only
 * moved when the next task really uses them (#NM).
 */
#include "kernel.h"

enum { TASKS = 8, KSTACK = 4096, SLICE = 2 };

struct task tasks[TASKS];
struct task *current;
unsigned sched_switches, sched_fpu_switches;
volatile uint32_t timer_ticks;

static alignas(16) uint8_t kstacks[TASKS][KSTACK];
static struct task idle = { .name = "idle" };
static struct task *fpu_owner;
static unsigned slice;

struct task *sched_spawn(const char *name, void (*entry)(void))
{
	for (unsigned i = 0; i < TASKS; i++) {
		struct task *t = &tasks[i];
		struct frame *f = (struct frame *)(kstacks[i] + KSTACK) - 1;
		uint32_t *stack = (uint32_t *)f;

		if (t->state != TASK_FREE)
			continue;
		t->name = name;
		t->cr3 = paging_new_space();
		t->kstack_top = (uint32_t)(kstacks[i] + KSTACK);
		*f = (struct frame){ .es = SEL_UDATA,
			             .ds = SEL_UDATA,
			             .eip = (uint32_t)entry,
			             .cs = SEL_UCODE,
			             .eflags = EFL_IF | 2,
			             .esp = STACK_TOP - 16,
			             .ss = SEL_UDATA };
		*--stack = (uint32_t)trap_return;
		t->ksp = (uint32_t)(stack - 4); /* what switch_stacks pops */
		t->state = TASK_READY;
		return t;
	}
	return NULL;
}

static struct task *pick(void)
{
	unsigned at = current == &idle ? 0 : (unsigned)(current - tasks);

	for (unsigned i = 1; i <= TASKS; i++) {
		struct task *t = &tasks[(at + i) % TASKS];

		if (t->state == TASK_SLEEPING && (int32_t)(timer_ticks - t->wake_tick) >= 0)
			t->state = TASK_READY;
		if (t->state == TASK_READY)
			return t;
	}
	return &idle;
}

/* Interrupts are off. */
static void reschedule(void)
{
	struct task *old = current, *next = pick();

	slice = 0;
	if (next == old)
		return;
	sched_switches++;
	current = next;
	if (next != &idle)
		desc_set_kernel_stack(next->kstack_top);
	__asm__ volatile("mov %0, %%cr3" : : "r"(next->cr3) : "memory");
	write_cr0(fpu_owner == next ? read_cr0() & ~CR0_TS : read_cr0() | CR0_TS);
	switch_stacks(&old->ksp, next->ksp);
}

void sched_fpu_fault(void)
{
	__asm__ volatile("clts");
	if (fpu_owner == current)
		return;
	sched_fpu_switches++;
	if (fpu_owner)
		__asm__ volatile("fxsave %0" : "=m"(fpu_owner->fpu));
	if (current->fpu_used)
		__asm__ volatile("fxrstor %0" : : "m"(current->fpu));
	else
		__asm__ volatile("fninit");
	current->fpu_used = true;
	fpu_owner = current;
}

/* Only user code and the idle loop are preempted: the kernel's own paths are short. */
void sched_tick(bool in_user)
{
	timer_ticks++;
	current->ticks++;
	if ((in_user && ++slice >= SLICE) || current == &idle)
		reschedule();
}

void sched_yield(void)
{
	uint32_t flags = irq_save();

	reschedule();
	irq_restore(flags);
}

void sched_sleep(uint32_t ticks)
{
	current->wake_tick = timer_ticks + ticks;
	current->state = TASK_SLEEPING;
	sched_yield();
}

void sched_exit(uint32_t code)
{
	irq_save();
	current->exit_code = code;
	current->state = TASK_DEAD;
	if (fpu_owner == current)
		fpu_owner = NULL;
	reschedule();
	__builtin_unreachable();
}

static bool all_dead(void)
{
	for (unsigned i = 0; i < TASKS; i++)
		if (tasks[i].state == TASK_READY || tasks[i].state == TASK_SLEEPING)
			return false;
	return true;
}

void sched_run(void)
{
	current = &idle;
	idle.cr3 = paging_kernel_space();
	irq_save();
	while (!all_dead()) {
		reschedule();
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	}
}
