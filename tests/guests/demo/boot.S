/* boot.S - Multiboot 1 header and the first instructions: a stack, then C. */
#define MAGIC 0x1badb002
#define FLAGS 0x00000003 /* page-aligned modules, memory information */

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
	xor %ebp, %ebp
	push %ebx
	push %eax
	call kernel_main
1:	cli
	hlt
	jmp 1b
	.size _start, . - _start

	.bss
	.align 16
	.skip 16384
	.globl boot_stack_top
boot_stack_top:

	.section .note.GNU-stack, "", @progbits
