/*
 * user.h - the demo's ring-3 side: system call numbers, the two ways to make one, and the programs.
 */
#ifndef DEMO_USER_H
#define DEMO_USER_H

#include <stdint.h>

enum { SYS_WRITE = 1, SYS_EXIT, SYS_SLEEP, SYS_TICKS, SYS_YIELD };

static inline uint32_t call_int80(uint32_t number, uint32_t a, uint32_t b)
{
	__asm__ volatile("int $0x80" : "+a"(number) : "b"(a), "S"(b) : "memory");
	return number;
}

/* The kernel returns to EDX with the stack of ECX. */
static inline uint32_t call_sysenter(uint32_t number, uint32_t a, uint32_t b)
{
	__asm__ volatile("mov %%esp, %%ecx; mov $1f, %%edx; sysenter; 1:"
	                 : "+a"(number)
	                 : "b"(a), "S"(b)
	                 : "ecx", "edx", "memory");
	return number;
}

/* A line under construction. */
struct line {
	unsigned len;
	char text[100];
};

static inline void line_char(struct line *l, char c)
{
	if (l->len < sizeof(l->text))
		l->text[l->len++] = c;
}

static inline void line_text(struct line *l, const char *s)
{
	while (*s)
		line_char(l, *s++);
}

static inline void line_number(struct line *l, uint32_t value, unsigned base)
{
	char digits[12];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (n)
		line_char(l, digits[--n]);
}

_Noreturn void sieve_main(void);
_Noreturn void crc_main(void);
_Noreturn void mandel_main(void);
_Noreturn void rogue_main(void);

#endif
