/*
 * hostile-ports - every port, read and written in every size, with values that devices may not like; strings from and to ports. Ports that end the machine
 * come last.
 */
#include "guest.h"

GUEST("hostile-ports");

static bool ends_machine(u32 port)
{
	return (port >= 0xf4 - 3 && port < 0xf8) || (port >= 0x600 && port < 0x610) ||
	       (port >= 0xcf6 && port < 0xcfc) || (port >= 0x61 && port <= 0x64) || (port >= 0x8f && port <= 0x92) ||
	       (port >= 0xb000 && port < 0xb010) || port == 0x501;
}

static void reads(void)
{
	u32 sum = 0;

	for (u32 port = 0; port < 0x10000; port++)
		sum += inb(port) + inw(port) + inl(port);
	print("sum of all ports %x\n", sum);
}

static void writes(void)
{
	for (u32 port = 0; port < 0x10000; port++) {
		if (ends_machine(port) || (port >= 0x3f5 && port < 0x400))
			continue;
		outb(port, rnd());
		if (port % 16 == 0) {
			outw(port, rnd());
			outl(port, rnd());
		}
	}
}

/* Devices that exist get much more. */
static void devices(void)
{
	static const u16 ports[] = { 0x20,  0x21,  0xa0,  0xa1,  0x40,  0x41,  0x42,  0x43,  0x60,  0x70,
		                     0x71,  0x61,  0x80,  0xe9,  0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe,
		                     0x3ff, 0x3f8, 0xcf8, 0x4d0, 0x4d1, 0x3d4, 0x3d5, 0x2f8, 0x3c0 };

	for (u32 i = 0; i < 20000; i++) {
		u16 port = ports[rnd() % COUNT(ports)];

		if (port == 0xe9 && rnd() % 16)
			continue; /* a console too: little */
		if (rnd() % 2)
			outb(port, rnd());
		else
			inb(port);
		if (port == 0x3f8)
			outb(0x3fb, 3);
	}
}

static void strings(void)
{
	static u8 buffer[512];
	const u32 codes[] = { CODE("rep insb"),  CODE("rep insw"), CODE("rep insl"), CODE("rep outsb"),
		              CODE("rep outsl"), CODE("insl"),     CODE("outsw") };
	struct ctx c;

	for (u32 i = 0; i < 500; i++) {
		ctx_init(&c, 0, codes[rnd() % COUNT(codes)]);
		c.edx = rnd() & 0xffff;
		c.ecx = rnd() % 100;
		c.esi = c.edi = rnd() % 4 ? (u32)buffer : 0xa0000 + rnd() % 0x60000;
		if (ends_machine(c.edx) || (c.edx >= 0x3f5 && c.edx < 0x400) || c.edx == 0xe9)
			continue;
		cpu_run(&c);
	}
}

void guest_main(void)
{
	test("hostile: noise on all ports");
	rnd_seed(0x5eed0004);
	cli();
	reads();
	writes();
	devices();
	strings();
	pic_init(0xffff);
	outb(0x3fb, 3);
	outb(0x3f9, 0);
	outb(0x3fc, 3);
	outb(0x3fa, 7);
	print("still here\n");
	test("hostile: keyboard controller, resets");
	for (u32 i = 0; i < 300; i++) {
		u8 command = rnd();

		if (command < 0xf0)
			outb(0x64, command);
		inb(0x60);
		inb(0x64);
		outb(0x60, rnd() | 1);
	}
	outl(0xcf8, 0x80000000);
	inl(0xcfc);
	outb(0x92, 0);
	outb(0x92, 2);
	print("still here\n");
	outb(0xcf9, rnd());
	outb(0xcf9, 0x0e);
	finish();
}
