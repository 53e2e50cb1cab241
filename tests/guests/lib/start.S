/*
 * start.S - Multiboot 1 header, the first instructions, the entry of every vector, and cpu_run().
 *
 * cpu_run() and trap_entry are one mechanism: the first saves where it was and leaves by IRET to the code under test; the second finds it again, whatever
 * happened in between. The offsets are those of struct ctx and struct trap_frame in guest.h.
 */
#define SEL_D0 0x10

#define MAGIC 0x1badb002
#define FLAGS 0x00000003

	.section .multiboot, "a"
	.align 4
	.long MAGIC, FLAGS, -(MAGIC + FLAGS)

	.text
	.globl _start
	.type _start, @function
_start:
	cli
	cld
	mov $boot_stack_top, %esp
	push $0
	popf
	push %ebx
	push %eax
	call guest_start
1:	cli
	hlt
	jmp 1b
	.size _start, . - _start

/* ---- entries: 256 of them, 16 bytes apart ---- */

	.altmacro
	.macro ENTRY vector
	.align 16
	.if (\vector == 8) || ((\vector >= 10) && (\vector <= 14)) || (\vector == 17)
	.else
	push $0xeeeeeeee
	.endif
	push $\vector
	jmp trap_entry
	.endm
	.align 16
	.globl trap_entries
trap_entries:
	.set i, 0
	.rept 256
	ENTRY %i
	.set i, i + 1
	.endr
	.noaltmacro

	.type trap_entry, @function
trap_entry:
	pusha
	push %ds
	push %es
	push %fs
	push %gs
	mov %ss, %eax
	mov $SEL_D0, %ecx
	mov %ecx, %ds
	mov %ecx, %es
	cld
	cmp %ecx, %eax
	jne other_stack
	mov %esp, %ebx
on_flat_stack:
	/* EAX: SS at entry, EBX: linear address of the frame */
	push %eax
	push %ebx
	call trap_c
	add $8, %esp
	/* back to what was interrupted */
	pop %gs
	pop %fs
	pop %es
	pop %ds
	popa
	add $8, %esp
	iret
	.size trap_entry, . - trap_entry

/* The code under test ran at CPL 0 on a stack that is not flat: find its linear address, go on over it. There is no way back from here (trap_c knows). */
other_stack:
	push %eax
	call segment_base
	pop %ecx
	mov %esp, %ebx
	lar %cx, %edx
	test $0x400000, %edx
	jnz 1f
	movzx %bx, %ebx
1:	add %eax, %ebx
	mov %ecx, %eax
	mov $SEL_D0, %ecx
	mov %ecx, %ss
	mov %ebx, %esp
	jmp on_flat_stack

/* EAX: selector in the GDT; gives its base in EAX; uses EDX */
segment_base:
	push %ecx
	movzx %ax, %ecx
	and $0xfff8, %ecx
	movzwl gdt+2(%ecx), %eax
	movzbl gdt+4(%ecx), %edx
	shl $16, %edx
	or %edx, %eax
	movzbl gdt+7(%ecx), %edx
	shl $24, %edx
	or %edx, %eax
	pop %ecx
	ret

/* u32 cpu_run(struct ctx *c). It returns where it was called from as a function does, at a RET of its own: debuggers look for that. */
	.globl cpu_run
	.type cpu_run, @function
cpu_run:
	push %ebx
	push %esi
	push %edi
	push %ebp
	pushf
	mov 24(%esp), %edx
	push run_ctx
	push run_esp
	mov %edx, run_ctx
	mov %esp, run_esp
	mov %esp, main_tss + 4
	testl $0x20000, 52(%edx)
	jnz .Lenter_v86
	testl $3, 48(%edx)
	jz .Lenter_cpl0
	push 60(%edx)
	push 56(%edx)
	jmp .Lenter
.Lover:
	pop run_esp
	pop run_ctx
	popf
	pop %ebp
	pop %edi
	pop %esi
	pop %ebx
	cld
	ret
.Lenter_v86:
	push 28(%edx)
	push 32(%edx)
	push 40(%edx)
	push 36(%edx)
	push 60(%edx)
	push 56(%edx)
	push 52(%edx)
	push 48(%edx)
	push 44(%edx)
	call load_gprs
	jmp iret_to_code
.Lenter_cpl0:
	mov 60(%edx), %ss
	mov 56(%edx), %esp
.Lenter:
	push 52(%edx)
	push 48(%edx)
	push 44(%edx)
	push 40(%edx)
	mov 28(%edx), %gs
	mov 32(%edx), %fs
	mov 36(%edx), %es
	call load_gprs
	pop %ds
	.globl iret_to_code
iret_to_code:
	iret
	.size cpu_run, . - cpu_run

load_gprs:
	mov 0(%edx), %edi
	mov 4(%edx), %esi
	mov 8(%edx), %ebp
	mov 12(%edx), %ebx
	mov 20(%edx), %ecx
	mov 24(%edx), %eax
	mov 16(%edx), %edx
	ret

/* Where trap_c ends a run: never returns to its caller. _Noreturn void run_over(u32 vector) */
	.globl run_over
	.type run_over, @function
run_over:
	mov 4(%esp), %eax
	mov run_esp, %esp
	jmp .Lover
	.size run_over, . - run_over

	.bss
	.globl run_ctx, run_esp
	.align 4
run_ctx: .skip 4
run_esp: .skip 4
	.align 16
	.skip 32768
	.globl boot_stack_top
boot_stack_top:

	.section .note.GNU-stack, "", @progbits
