/*
 * io.c - who may use ports and CLI/STI: CPL against IOPL, then the I/O permission bitmap of the TSS.
 */
#include "guest.h"
#include "priv.h"

enum { PORT = 0x80 }; /* DMA page registers and the POST code: harmless */

static u32 port_code(unsigned i)
{
	switch (i) {
	case 0: return CODE("inb %dx, %al");
	case 1: return CODE("outb %al, %dx");
	case 2: return CODE("inw %dx, %ax");
	case 3: return CODE("outw %ax, %dx");
	case 4: return CODE("inl %dx, %eax");
	case 5: return CODE("outl %eax, %dx");
	case 6: return CODE("inb $0x80, %al");
	case 7: return CODE("outb %al, $0x80");
	case 8: return CODE("insb");
	default: return CODE("outsb");
	}
}

enum { PORT_CODES = 10 };
static const char *const port_names[PORT_CODES] = { "inb dx",  "outb dx", "inw dx",   "outw dx", "inl dx",
	                                            "outl dx", "inb imm", "outb imm", "insb",    "outsb" };
static const u8 port_width[PORT_CODES] = { 1, 1, 2, 2, 4, 4, 1, 1, 1, 1 };

static void run_port(struct ctx *c, unsigned cpl, unsigned iopl, u32 code, u16 port)
{
	static u8 buffer[16];

	ctx_init(c, cpl, code);
	c->edx = port;
	c->esi = c->edi = (u32)buffer;
	c->eflags = F_FIXED | iopl << 12;
	cpu_run(c);
}

static void by_iopl(void)
{
	struct ctx c;
	u32 cli_code = CODE("cli; pushf; pop %eax"), sti_code = CODE("sti; pushf; pop %eax");

	for (unsigned cpl = 0; cpl < 4; cpl++) {
		for (unsigned iopl = 0; iopl < 4; iopl++) {
			bool allowed = cpl <= iopl;

			for (unsigned i = 0; i < PORT_CODES; i++) {
				u32 code = port_code(i);

				test("cpl%u iopl%u %s", cpl, iopl, port_names[i]);
				run_port(&c, cpl, iopl, code, PORT);
				if (allowed)
					FINE(&c);
				else
					FAULT(&c, GP, 0, code);
			}
			test("cpl%u iopl%u cli", cpl, iopl);
			ctx_init(&c, cpl, cli_code);
			c.eflags = F_FIXED | F_IF | iopl << 12;
			cpu_run(&c);
			if (allowed) {
				FINE(&c);
				EQ(c.eax & (F_IF | F_IOPL), iopl << 12);
				EQ(c.eflags & F_IF, 0);
			} else {
				FAULT(&c, GP, 0, cli_code);
				EQ(c.eflags & F_IF, F_IF);
			}
			test("cpl%u iopl%u sti", cpl, iopl);
			ctx_init(&c, cpl, sti_code);
			c.eflags = F_FIXED | iopl << 12;
			cpu_run(&c);
			if (allowed) {
				FINE(&c);
				EQ(c.eax & (F_IF | F_IOPL), F_IF | iopl << 12);
				EQ(c.eflags & F_IF, F_IF);
			} else {
				FAULT(&c, GP, 0, sti_code);
				EQ(c.eflags & F_IF, 0);
			}
		}
	}
}

static void deny(u16 port)
{
	main_tss.bitmap[port >> 3] |= 1u << (port & 7);
}

static void allow(u16 port)
{
	main_tss.bitmap[port >> 3] &= ~(1u << (port & 7));
}

static void bitmap(void)
{
	struct ctx c;

	io_bitmap(true);
	/* Ports 0x80..0x83 are open but for one of them at a time. */
	for (unsigned closed = 0; closed <= 4; closed++) {
		for (u16 p = PORT; p < PORT + 4; p++)
			allow(p);
		if (closed < 4)
			deny(PORT + closed);
		for (unsigned i = 0; i < PORT_CODES; i++) {
			u32 code = port_code(i);

			for (unsigned cpl = 1; cpl < 4; cpl++) {
				test("cpl%u bitmap closed at %u %s", cpl, closed, port_names[i]);
				run_port(&c, cpl, 0, code, PORT);
				if (closed >= port_width[i])
					FINE(&c);
				else
					FAULT(&c, GP, 0, code);
			}
		}
	}
	test("bitmap does not open cli");
	run_at(&c, 3, CODE("cli"));
	EQ(c.vector, GP);
	for (u16 p = PORT; p < PORT + 4; p++)
		deny(p);
	io_bitmap(false);
}

static void straddling(void)
{
	struct ctx c;
	u32 code = CODE("inw %dx, %ax");

	test("a word over two bitmap bytes");
	io_bitmap(true);
	allow(0x87);
	allow(0x88);
	run_port(&c, 3, 0, code, 0x87);
	FINE(&c);
	deny(0x88);
	run_port(&c, 3, 0, code, 0x87);
	FAULT(&c, GP, 0, code);
	deny(0x87);
	io_bitmap(false);
}

/* The processor always reads two bytes of the bitmap; both must be within the TSS limit. */
static void limit(void)
{
	struct ctx c;
	u32 code = CODE("inb %dx, %al"), end = offsetof(struct main_tss, bitmap) + (PORT >> 3);

	allow(PORT);
	io_bitmap(true);
	for (int cut = -1; cut <= 1; cut++) {
		test("bitmap cut by the TSS limit, %u bytes there", cut + 1);
		gdt_set(SEL_TSS, desc((u32)&main_tss, end + cut, A_P | A_TSS32));
		asm_volatile("ltr %w0" : : "r"(SEL_TSS));
		run_port(&c, 3, 0, code, PORT);
		if (cut == 1)
			FINE(&c);
		else
			FAULT(&c, GP, 0, code);
	}
	deny(PORT);
	io_bitmap(false);
	load_tables();
}

void priv_io(void)
{
	by_iopl();
	bitmap();
	straddling();
	limit();
}
