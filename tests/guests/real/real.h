/* real.h - running code in real mode: see switch.S. */
#ifndef REAL_H
#define REAL_H

#include "guest.h"

/* Everything of switch.S is copied to REAL_BASE and runs there, as segment REAL_SEG. */
enum {
	REAL_BASE = 0x10000,
	REAL_SEG = 0x1000,
	CODE_SEG = 0x2000,
	DATA_SEG = 0x3000,
	STACK_SEG = 0x4000,
	SEL_REAL_CODE = 0x200,
	SEL_REAL_DATA = 0x208
};

/* In and out of a run in real mode; offsets are known to switch.S. */
struct real_ctx {
	u32 edi, esi, ebp, ebx, edx, ecx, eax, esp;
	u16 es, ds, fs, gs, ss, cs, ip, flags;
	u16 vector; /* out */
	u16 idt_limit;
	u32 idt_base;
} __attribute__((packed));

extern u8 real_start[], real_end[], real_stubs[], real_ctx_image[];
extern u16 real_data_selector; /* loaded into DS, ES, FS and GS before protected mode is left: their limits stay */
void real_switch(void);        /* runs what is in the ctx at REAL_BASE until its next interrupt of any kind */

#endif
