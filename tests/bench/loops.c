/*
 * loops.c - three loops around what a kernel does for a program: `loops calls|forks|faults COUNT`.
 *
 * An i386 program without a C library, so that host and guest run the very same instructions: system calls go where the kernel says (AT_SYSINFO), as they do
 * from any libc. Built for tools/bench-user.sh, which runs it natively and as a guest's process.
 */
#include <stdint.h>

enum { SYS_EXIT = 1, SYS_FORK = 2, SYS_GETPPID = 64, SYS_MUNMAP = 91, SYS_WAIT4 = 114, SYS_MMAP2 = 192 };
enum { AT_NULL = 0, AT_SYSINFO = 32 };
enum { PROT_READ_WRITE = 3, MAP_PRIVATE_ANONYMOUS = 0x22, PAGE = 4096, PAGES = 256 };

static uintptr_t entry; /* the kernel's own; 0: INT 80h */

static long call6(long number, long a, long b, long c, long d, long e)
{
	long result;

	if (entry)
		__asm__ volatile("push %%ebp; xor %%ebp, %%ebp; call *%1; pop %%ebp"
		                 : "=a"(result)
		                 : "m"(entry), "0"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
		                 : "memory");
	else
		__asm__ volatile("push %%ebp; xor %%ebp, %%ebp; int $0x80; pop %%ebp"
		                 : "=a"(result)
		                 : "0"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
		                 : "memory");
	return result;
}

static void quit(int status)
{
	for (;;)
		call6(SYS_EXIT, status, 0, 0, 0, 0);
}

static void calls(unsigned n)
{
	while (n--) {
		if (call6(SYS_GETPPID, 0, 0, 0, 0, 0) < 0)
			quit(1);
	}
}

static void forks(unsigned n)
{
	while (n--) {
		long child = call6(SYS_FORK, 0, 0, 0, 0, 0);

		if (child == 0)
			quit(0);
		if (child < 0 || call6(SYS_WAIT4, child, 0, 0, 0, 0) != child)
			quit(1);
	}
}

/* n pages are touched for the first time. */
static void faults(unsigned n)
{
	for (; n >= PAGES; n -= PAGES) {
		long at = call6(SYS_MMAP2, 0, PAGES * PAGE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1);

		if ((unsigned long)at > -4096ul)
			quit(1);
		for (unsigned i = 0; i < PAGES; i++)
			*(volatile char *)(at + (long)i * PAGE) = 1;
		call6(SYS_MUNMAP, at, PAGES * PAGE, 0, 0, 0);
	}
}

static unsigned number(const char *s)
{
	unsigned n = 0;

	for (; *s >= '0' && *s <= '9'; s++)
		n = n * 10 + (unsigned)(*s - '0');
	return n;
}

/* sp: argc, argv[], NULL, envp[], NULL, auxv[] */
__attribute__((used, regparm(1), noreturn)) static void begin(uintptr_t *sp)
{
	unsigned argc = sp[0];
	char **argv = (char **)(sp + 1), **p = argv + argc + 1;
	const uintptr_t *aux;

	while (*p)
		p++;
	for (aux = (const uintptr_t *)(p + 1); aux[0] != AT_NULL; aux += 2) {
		if (aux[0] == AT_SYSINFO)
			entry = aux[1];
	}
	if (argc != 3)
		quit(2);
	switch (argv[1][0] << 8 | argv[1][1]) {
	case 'c' << 8 | 'a': calls(number(argv[2])); break;
	case 'f' << 8 | 'o': forks(number(argv[2])); break;
	case 'f' << 8 | 'a': faults(number(argv[2])); break;
	default: quit(2);
	}
	quit(0);
	__builtin_unreachable();
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %esp, %eax\n\tand $-16, %esp\n\tcall begin\n");
