/*
 * mandel.c - user programs: the Mandelbrot set in x87 arithmetic, so that the kernel must share the FPU; and a rogue that reads kernel memory.
 */
#include "user.h"

enum { WIDTH = 76, HEIGHT = 24, DEPTH = 1500 };

static unsigned escape(double cr, double ci)
{
	double r = 0, i = 0;

	for (unsigned n = 0; n < DEPTH; n++) {
		double r2 = r * r, i2 = i * i;

		if (r2 + i2 > 4)
			return n;
		i = 2 * r * i + ci;
		r = r2 - i2 + cr;
	}
	return DEPTH;
}

void mandel_main(void)
{
	unsigned inside = 0;

	for (int y = 0; y < HEIGHT; y++) {
		struct line l = { 0 };

		line_text(&l, "[mandel] ");
		for (int x = 0; x < WIDTH; x++) {
			unsigned n = escape(x * (3.0 / WIDTH) - 2.2, y * (2.4 / HEIGHT) - 1.2);

			inside += n == DEPTH;
			line_char(&l, n == DEPTH ? '#' : " .,:;-=+*%@"[n > 10 ? 10 : n]);
		}
		line_char(&l, '\n');
		call_int80(SYS_WRITE, (uint32_t)l.text, l.len);
	}
	{
		struct line l = { 0 };

		line_text(&l, "[mandel] ");
		line_number(&l, inside, 10);
		line_text(&l, " points inside\n");
		call_int80(SYS_WRITE, (uint32_t)l.text, l.len);
	}
	call_sysenter(SYS_EXIT, inside < 300 || inside > 500, 0);
	__builtin_unreachable();
}

void rogue_main(void)
{
	call_int80(SYS_SLEEP, 3, 0);
	(void)*(volatile uint32_t *)0x100000;
	call_int80(SYS_EXIT, 0, 0);
	__builtin_unreachable();
}
