/* internal.h - between the files of the runtime; guests include guest.h. */
#ifndef GUEST_INTERNAL_H
#define GUEST_INTERNAL_H

#include "guest.h"

extern struct ctx *run_ctx;
extern u32 run_esp;
extern u8 trap_entries[];
_Noreturn void run_over(u32 vector);
void trap_c(struct trap_frame *f, u32 ss);
void guest_start(u32 magic, const u32 *info);
void print_char(char c);
void double_fault_task(void); /* makes it anew, with the CR3 in force */

#endif
