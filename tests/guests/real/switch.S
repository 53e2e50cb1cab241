/*
 * switch.S - from protected mode to real mode and back, as the manual says it (SDM vol. 3A 9.9): through 16-bit segments with 64 KiB limits.
 *
 * real_switch() is cpu_run() for real mode: loads all registers, goes by IRET, and the entry of every vector in the interrupt table comes back here. The part
 * from real_start to real_end is copied to 0x10000; addresses in it are relative to real_start.
 */
#define SEL_C0 0x08
#define SEL_D0 0x10
#define SEL_REAL_CODE 0x200
#define REAL_BASE 0x10000
#define REAL_SEG 0x1000
#define OFF(label) ((label) - real_start)

	.text
	.globl real_switch
	.type real_switch, @function
real_switch:
	pusha
	pushf
	mov %esp, saved_esp
	sidt saved_idt
	lidt REAL_BASE + OFF(real_ctx_image) + 50
	ljmp $SEL_REAL_CODE, $OFF(to_real)
	.globl real_back
real_back:
	mov $SEL_D0, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %fs
	mov %eax, %gs
	mov %eax, %ss
	mov saved_esp, %esp
	lidt saved_idt
	popf
	popa
	ret
	.size real_switch, . - real_switch

	.bss
	.align 4
saved_esp: .skip 4
saved_idt: .skip 8

	.section .snippets, "ax"
	.align 16
	.globl real_start, real_end, real_stubs, real_ctx_image, real_data_selector
	.code16
real_start:
to_real:
	mov %cs:OFF(real_data_selector), %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %fs
	mov %ax, %gs
	mov $SEL_REAL_CODE + 8, %ax
	mov %ax, %ss
	mov %cr0, %eax
	and $~1, %al
	mov %eax, %cr0
	ljmp $REAL_SEG, $OFF(in_real)
in_real:
	mov %cs:OFF(real_ctx_image) + 32, %es
	mov %cs:OFF(real_ctx_image) + 36, %fs
	mov %cs:OFF(real_ctx_image) + 38, %gs
	mov %cs:OFF(real_ctx_image) + 40, %ss
	mov %cs:OFF(real_ctx_image) + 28, %esp
	pushw %cs:OFF(real_ctx_image) + 46
	pushw %cs:OFF(real_ctx_image) + 42
	pushw %cs:OFF(real_ctx_image) + 44
	mov %cs:OFF(real_ctx_image) + 34, %ds
	mov %cs:OFF(real_ctx_image) + 0, %edi
	mov %cs:OFF(real_ctx_image) + 4, %esi
	mov %cs:OFF(real_ctx_image) + 8, %ebp
	mov %cs:OFF(real_ctx_image) + 12, %ebx
	mov %cs:OFF(real_ctx_image) + 16, %edx
	mov %cs:OFF(real_ctx_image) + 20, %ecx
	mov %cs:OFF(real_ctx_image) + 24, %eax
	iret

	/* 256 entries of 6 bytes */
	.altmacro
	.macro STUB vector
	pushw $\vector + 0x1000 /* so that it is not a byte */
	.byte 0xe9
	.word from_real - . - 2
	.endm
real_stubs:
	.set i, 0
	.rept 256
	STUB %i
	.set i, i + 1
	.endr
	.noaltmacro

from_real:
	mov %edi, %cs:OFF(real_ctx_image) + 0
	mov %esi, %cs:OFF(real_ctx_image) + 4
	mov %ebp, %cs:OFF(real_ctx_image) + 8
	mov %ebx, %cs:OFF(real_ctx_image) + 12
	mov %edx, %cs:OFF(real_ctx_image) + 16
	mov %ecx, %cs:OFF(real_ctx_image) + 20
	mov %eax, %cs:OFF(real_ctx_image) + 24
	mov %es, %cs:OFF(real_ctx_image) + 32
	mov %ds, %cs:OFF(real_ctx_image) + 34
	mov %fs, %cs:OFF(real_ctx_image) + 36
	mov %gs, %cs:OFF(real_ctx_image) + 38
	mov %ss, %cs:OFF(real_ctx_image) + 40
	popw %cs:OFF(real_ctx_image) + 48
	popw %cs:OFF(real_ctx_image) + 44
	popw %cs:OFF(real_ctx_image) + 42
	popw %cs:OFF(real_ctx_image) + 46
	mov %esp, %cs:OFF(real_ctx_image) + 28
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $SEL_C0, $real_back

	.align 4
real_data_selector: .word 0
	.align 4
real_ctx_image: .skip 64
real_end:
	.code32

	.section .note.GNU-stack, "", @progbits
