/*
 * trap.c - what happened: fills the ctx of the running cpu_run(), or tells a handler. Called by start.S for each vector.
 */
#include "guest.h"
#include "internal.h"

static trap_handler *handlers[256];

void on_trap(unsigned vector, trap_handler *handler)
{
	handlers[vector] = handler;
}

static void copy_registers(struct ctx *c, const struct trap_frame *f)
{
	c->edi = f->edi;
	c->esi = f->esi;
	c->ebp = f->ebp;
	c->ebx = f->ebx;
	c->edx = f->edx;
	c->ecx = f->ecx;
	c->eax = f->eax;
	c->eip = f->eip;
	c->cs = f->cs;
	c->eflags = f->eflags;
	c->gs = f->eflags & F_VM ? f->v_gs : f->gs & 0xffff;
	c->fs = f->eflags & F_VM ? f->v_fs : f->fs & 0xffff;
	c->es = f->eflags & F_VM ? f->v_es : f->es & 0xffff;
	c->ds = f->eflags & F_VM ? f->v_ds : f->ds & 0xffff;
}

static _Noreturn void nobody_waits(const struct trap_frame *f)
{
	test("unexpected trap");
	print("vector %x error %x at %x:%x eflags %x cr2 %x\n", f->vector, f->error, f->cs, f->eip, f->eflags, get_cr2());
	EQ(f->vector, DONE);
	finish();
}

void trap_c(struct trap_frame *f, u32 ss)
{
	struct ctx *c = run_ctx;
	bool has_error = f->error != NO_ERROR, flat = ss == SEL_D0;
	const u32 *pushed = has_error ? &f->error : &f->eip;

	if (flat && f->vector < 256 && handlers[f->vector] && handlers[f->vector](f))
		return;
	if (!run_esp)
		nobody_waits(f);
	copy_registers(c, f);
	c->vector = f->vector;
	c->error = f->error;
	c->cr2 = get_cr2();
	c->handler_ss = ss;
	asm_volatile("mov %%cs, %0" : "=r"(c->handler_cs));
	c->handler_eflags = get_eflags();
	c->frame_esp = (u32)pushed;
	memcpy(c->frame, pushed, sizeof(c->frame));
	if ((f->cs & 3) || (f->eflags & F_VM)) {
		c->esp = f->esp;
		c->ss = f->ss;
	} else {
		c->esp = (u32)pushed + (has_error ? 16 : 12);
		c->ss = ss;
	}
	run_over(f->vector);
}
