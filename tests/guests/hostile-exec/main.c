/*
 * hostile-exec - code in device memory, in ROM space, outside RAM, over their edges, at the top of the address space; in all modes.
 */
#include "guest.h"

GUEST("hostile-exec");

void guest_main(void)
{
	static const u32 places[] = { 0xa0000,    0xb8000,    0xbffff,    0xbfffe,    0x9ffff,   0x9fffc,    0xc0000,
		                      0xf0000,    0xfffff,    0x1ffffff,  0x1fffffe,  0x2000000, 0x10000000, 0x40000000,
		                      0x80000000, 0xfee00000, 0xfffffff0, 0xfffffffe, 0xffffffff };
	static const u8 code[] = { 0x90, 0x40, 0xb8, 0x78, 0x56, 0x34, 0x12, 0xcd, 0x70 };
	u32 ended = 0;
	struct ctx c;

	test("hostile: code where there is no RAM");
	for (unsigned i = 0; i < COUNT(places); i++) {
		for (unsigned cpl = 0; cpl < 4; cpl += 3) {
			memcpy((void *)0xb8000, code, sizeof(code));
			if (places[i] < 0x40000000)
				memcpy((void *)places[i], code, sizeof(code));
			/* all ones are an undefined instruction; zeros add to (EAX), which is somewhere harmless */
			ctx_init(&c, cpl, places[i]);
			c.eax = 0x90000000;
			c.eflags |= F_IF;
			watchdog();
			cpu_run(&c);
			pic_mask(0xffff);
			ended++;
		}
	}
	for (u32 segment = 0x9fff; segment < 0xffff; segment += 0x0fff) {
		ctx_init(&c, 3, segment & 0xf);
		c.cs = segment;
		c.ss = 0x3000;
		c.esp = 0x1000;
		c.eax = 0;
		c.ebx = c.esi = 0x8000;
		c.ds = 0x3000;
		c.eflags = F_FIXED | F_VM | F_IOPL;
		c.eflags |= F_IF;
		watchdog();
		cpu_run(&c);
		pic_mask(0xffff);
		ended++;
	}
	print("%u ended\n", ended);
	test("hostile: single-step there");
	ctx_init(&c, 0, 0xb8000);
	c.eflags |= F_TF;
	cpu_run(&c);
	test("hostile: into the void at CPL 0, with no way back");
	{
		struct table_ptr nothing = { 0, 0 };

		asm_volatile("lidt %0; jmp *%1" : : "m"(nothing), "r"(0xb0000000));
	}
}
