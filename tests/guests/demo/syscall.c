/*
 * syscall.c - what ring 3 may ask for: number in EAX, arguments in EBX, ESI, EDI, result in EAX. The same by INT 0x80 and by SYSENTER.
 */
#include "kernel.h"
#include "user/user.h"

static uint32_t sys_write(uint32_t address, uint32_t len)
{
	if (len > 4096 || !paging_user_range(address, len))
		return -1u;
	serial_write((const char *)address, len);
	return len;
}

void syscall(struct frame *f)
{
	current->syscalls++;
	switch (f->eax) {
	case SYS_WRITE: f->eax = sys_write(f->ebx, f->esi); break;
	case SYS_EXIT: sched_exit(f->ebx);
	case SYS_SLEEP:
		f->eax = 0;
		sched_sleep(f->ebx);
		break;
	case SYS_TICKS: f->eax = timer_ticks; break;
	case SYS_YIELD:
		f->eax = 0;
		sched_yield();
		break;
	default: f->eax = -1u;
	}
}
