/*
 * entry.S - every way into the kernel and out of it: exceptions, interrupts, INT 0x80, SYSENTER; and the switch from one kernel stack to another.
 * All of them build a struct frame (kernel.h), so that the C code does not care how it was entered.
 */
#define SEL_KDATA 0x10
#define SEL_UCODE 0x1b
#define SEL_UDATA 0x23

	.text

	.macro STUB vector
	.align 8
stub_\vector:
	.if (\vector == 8) || ((\vector >= 10) && (\vector <= 14)) || (\vector == 17)
	.else
	push $0
	.endif
	push $\vector
	jmp trap_common
	.endm

	.altmacro
	.macro STUBS vector
	STUB \vector
	.endm
	.set i, 0
	.rept 48
	STUBS %i
	.set i, i + 1
	.endr
	STUBS 128

	.macro STUB_ADDRESS vector
	.long stub_\vector
	.endm
	.section .rodata
	.align 4
	.globl trap_stubs
trap_stubs:
	.set i, 0
	.rept 48
	STUB_ADDRESS %i
	.set i, i + 1
	.endr
	STUB_ADDRESS 128
	.noaltmacro

	.text
	.type trap_common, @function
trap_common:
	pusha
	push %ds
	push %es
	mov $SEL_KDATA, %eax
	mov %eax, %ds
	mov %eax, %es
	cld
	push %esp
	call trap
	add $4, %esp
	.globl trap_return
trap_return:
	pop %es
	pop %ds
	popa
	add $8, %esp
	iret
	.size trap_common, . - trap_common

/*
 * SYSENTER arrives with ESP from the MSR, interrupts off, and nothing saved; our convention is that the caller left its stack pointer in ECX
 * and its return address in EDX, which is where SYSEXIT wants them.
 */
	.globl sysenter_entry
	.type sysenter_entry, @function
sysenter_entry:
	push $SEL_UDATA
	push %ecx
	pushf
	orl $0x200, (%esp)
	push $SEL_UCODE
	push %edx
	push $0
	push $0x80
	pusha
	push %ds
	push %es
	mov $SEL_KDATA, %eax
	mov %eax, %ds
	mov %eax, %es
	cld
	push %esp
	call trap
	add $4, %esp
	pop %es
	pop %ds
	popa
	add $8, %esp
	mov (%esp), %edx
	mov 12(%esp), %ecx
	sti
	sysexit
	.size sysenter_entry, . - sysenter_entry

/* void switch_stacks(uint32_t *save, uint32_t load) */
	.globl switch_stacks
	.type switch_stacks, @function
switch_stacks:
	mov 4(%esp), %eax
	mov 8(%esp), %edx
	push %ebp
	push %ebx
	push %esi
	push %edi
	mov %esp, (%eax)
	mov %edx, %esp
	pop %edi
	pop %esi
	pop %ebx
	pop %ebp
	ret
	.size switch_stacks, . - switch_stacks

	.section .note.GNU-stack, "", @progbits
