/*
 * test.c - cases, checks, the console, the end. The protocol is in tests/guests/README.md.
 */
#include <stdarg.h>

#include "guest.h"
#include "internal.h"

enum { COM1 = 0x3f8, DEBUG_EXIT = 0xf4, EXIT_GOOD = 0x10, EXIT_BAD = 0x11 };

static char cmdline[256]; /* a copy: guests use low memory, where the loader may have put it */
const char *guest_cmdline = cmdline;
static char case_name[100];
static const char *known_why;
static unsigned cases, checks, failed_checks, failed_cases, known_cases, failed_before;
static bool known_hit;
static u32 seed = 1;

static u8 stacks[4][8192] ALIGNED(16);

u32 stack_top(unsigned cpl)
{
	return (u32)(stacks[cpl] + sizeof(stacks[cpl]) - 256);
}

void rnd_seed(u32 value)
{
	seed = value ? value : 1;
}

u32 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

/* ---- console ---- */

void print_char(char c)
{
	for (unsigned i = 0; i < 100000 && !(inb(COM1 + 5) & 0x20); i++)
		;
	outb(COM1, c);
}

typedef void put_char(char c, void *self);

static void format_number(put_char *put, void *self, u32 value, unsigned base)
{
	char digits[12];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (n)
		put(digits[--n], self);
}

static void format(put_char *put, void *self, const char *fmt, va_list args)
{
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put(*fmt, self);
			continue;
		}
		switch (*++fmt) {
		case 's':
			for (const char *s = va_arg(args, const char *); *s; s++)
				put(*s, self);
			break;
		case 'c': put((char)va_arg(args, int), self); break;
		case 'x':
			put('0', self);
			put('x', self);
			format_number(put, self, va_arg(args, u32), 16);
			break;
		default: format_number(put, self, va_arg(args, u32), 10);
		}
	}
}

static void put_serial(char c, void *self)
{
	(void)self;
	print_char(c);
}

void print(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	format(put_serial, NULL, fmt, args);
	va_end(args);
}

/* ---- cases and checks ---- */

static void close_case(void)
{
	if (!cases)
		return;
	if (failed_checks != failed_before)
		failed_cases++;
	else if (known_hit)
		known_cases++;
	else
		print("PASS %s\n", case_name);
}

static void put_name(char c, void *self)
{
	unsigned *at = self;

	if (*at < sizeof(case_name) - 1)
		case_name[(*at)++] = c;
	case_name[*at] = 0;
}

void test(const char *fmt, ...)
{
	va_list args;
	unsigned at = 0;

	close_case();
	cases++;
	failed_before = failed_checks;
	known_why = NULL;
	known_hit = false;
	va_start(args, fmt);
	format(put_name, &at, fmt, args);
	va_end(args);
}

static bool word_at(const char *s, const char *word)
{
	while (*word)
		if (*s++ != *word++)
			return false;
	return !*s || *s == ' ';
}

bool on_emulator(const char *word)
{
	for (const char *s = guest_cmdline; *s; s++)
		if ((s == guest_cmdline || s[-1] == ' ') && word_at(s, word))
			return true;
	return false;
}

void known(const char *emulator, const char *why)
{
	if (on_emulator(emulator))
		known_why = why;
}

bool cannot(const char *emulator, const char *why)
{
	if (!on_emulator(emulator))
		return false;
	known_hit = true;
	print("KNOWN %s: %s (not tried)\n", case_name, why);
	return true;
}

bool check(u32 got, u32 want, bool equal, const char *what, int line)
{
	checks++;
	if ((got == want) == equal)
		return true;
	if (known_why) {
		if (!known_hit)
			print("KNOWN %s: %s (%s: expected %s%x got %x at line %u)\n", case_name, known_why, what,
			      equal ? "" : "not ", want, got, line);
		known_hit = true;
		return false;
	}
	failed_checks++;
	print("FAIL %s: %s: expected %s%x got %x at line %u\n", case_name, what, equal ? "" : "not ", want, got, line);
	return false;
}

bool check_fault(const struct ctx *c, u32 vector, u32 error, u32 eip, int line)
{
	return check(c->vector, vector, true, "vector", line) & check(c->error, error, true, "error code", line) &
	       check(c->eip, eip, true, "pushed eip", line);
}

void finish(void)
{
	close_case();
	print("%s %s: %u cases, %u checks, %u failed", failed_checks ? "FAILED" : "DONE", guest_name, cases, checks,
	      failed_checks);
	if (known_cases)
		print(", %u known of this emulator", known_cases);
	print("\n");
	while (!(inb(COM1 + 5) & 0x40))
		;
	outb(DEBUG_EXIT, failed_checks ? EXIT_BAD : EXIT_GOOD);
	for (;;)
		asm_volatile("cli; hlt");
}

/* ---- running ---- */

void ctx_init(struct ctx *c, unsigned cpl, u32 eip)
{
	*c = (struct ctx){ .edi = 0xd1d1d1d1,
		           .esi = 0x51515151,
		           .ebp = 0xb9b9b9b9,
		           .ebx = 0xbbbbbbbb,
		           .edx = 0xdddddddd,
		           .ecx = 0xcccccccc,
		           .eax = 0xaaaaaaaa,
		           .eflags = F_FIXED,
		           .eip = eip,
		           .esp = stack_top(cpl) };
	c->cs = sel_code(cpl);
	c->ss = c->ds = c->es = c->fs = c->gs = sel_data(cpl);
}

u32 run_at(struct ctx *c, unsigned cpl, u32 eip)
{
	ctx_init(c, cpl, eip);
	return cpu_run(c);
}

void guest_start(u32 magic, const u32 *info)
{
	unsigned at = 0;

	outb(COM1 + 1, 0);
	outb(COM1 + 3, 0x80);
	outb(COM1, 1);
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 3);
	outb(COM1 + 2, 7);
	desc_init();
	pic_init(0xffff);
	if (magic == 0x2badb002 && (info[0] & 4))
		for (const char *from = (const char *)info[4]; *from && at < sizeof(cmdline) - 1;)
			cmdline[at++] = *from++;
	memory_top = magic == 0x2badb002 && (info[0] & 1) ? 0x100000 + info[2] * 1024 : 0x1000000;
	print("guest %s: %s\n", guest_name, guest_cmdline);
	test("loaded by Multiboot");
	EQ(magic, 0x2badb002);
	guest_main();
	finish();
}
