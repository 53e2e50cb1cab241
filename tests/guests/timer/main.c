/*
 * timer - interrupts from the 8254 and the clock chip through the two 8259s: delivery by IF, after STI, POPF, IRET; HLT; masks, priorities, end of interrupt;
 * counters and modes; code at every CPL interrupted without losing anything.
 */
#include "guest.h"

GUEST("timer");

enum {
	PIC1 = 0x20,
	PIC2 = 0xa0,
	PIT = 0x40,
	PIT_MODE = 0x43,
	PIT_HZ = 1193182,
	IRQ_TIMER = 0,
	IRQ_RTC = 8,
	ALL_MASKED = 0xffff
};
enum { ONLY_TIMER = 0xfffe, TIMER_AND_RTC = 0xfefa, ONLY_RTC = 0xfefb }; /* the clock chip comes through line 2 */

static volatile u32 ticks, rtc_ticks;

static void pit_program(u8 mode, u16 count)
{
	outb(PIT_MODE, 0x30 | mode << 1);
	outb(PIT, count & 0xff);
	outb(PIT, count >> 8);
}

static u16 pit_read(void)
{
	u16 low;

	outb(PIT_MODE, 0);
	low = inb(PIT);
	return low | inb(PIT) << 8;
}

static u16 irr(void)
{
	outb(PIC1, 0x0a);
	outb(PIC2, 0x0a);
	return inb(PIC1) | inb(PIC2) << 8;
}

static u16 isr(void)
{
	outb(PIC1, 0x0b);
	outb(PIC2, 0x0b);
	return inb(PIC1) | inb(PIC2) << 8;
}

static u8 cmos(u8 index)
{
	outb(0x70, index);
	return inb(0x71);
}

static void set_cmos(u8 index, u8 value)
{
	outb(0x70, index);
	outb(0x71, value);
}

/* Interrupts off, only the timer unmasked or nothing: waits until its request is latched. */
static bool wait_request(unsigned line)
{
	for (u32 i = 0; i < 50000000; i++)
		if (irr() & 1u << line)
			return true;
	return false;
}

/* Leaves one timer interrupt pending, whatever was before. */
static void one_pending(void)
{
	cli();
	pic_init(ALL_MASKED);
	pit_program(0, 100); /* once */
	TRUE(wait_request(IRQ_TIMER));
	pic_mask(ONLY_TIMER);
}

static bool count_tick(struct trap_frame *f)
{
	(void)f;
	ticks++;
	pic_eoi(IRQ_TIMER);
	return true;
}

static bool count_rtc(struct trap_frame *f)
{
	(void)f;
	rtc_ticks++;
	cmos(0x0c);
	pic_eoi(IRQ_RTC);
	return true;
}

/* Where exactly a pending interrupt is taken. */
static void recognition(void)
{
	u32 code, stack;
	struct ctx c;

	test("pending interrupt is not taken with IF clear");
	one_pending();
	run_at(&c, 0, CODE("nop; nop; nop"));
	FINE(&c);
	EQ(irr() & 1, 1);
	test("IRET that sets IF: taken before the next instruction");
	code = CODE("nop; nop");
	for (unsigned cpl = 0; cpl < 4; cpl++) {
		one_pending();
		ctx_init(&c, cpl, code);
		c.eflags = F_FIXED | F_IF | F_CF;
		cpu_run(&c);
		FAULT(&c, IRQ0, NO_ERROR, code);
		EQ(c.cs, sel_code(cpl));
		EQ(c.eflags & ~F_RF, F_FIXED | F_IF | F_CF);
		EQ(isr() & 1, 1);
		EQ(irr() & 1, 0);
	}
	test("STI: taken after the next instruction");
	one_pending();
	code = CODE("sti; nop; nop; nop");
	run_at(&c, 0, code);
	FAULT(&c, IRQ0, NO_ERROR, code + 2);
	test("STI; CLI: not taken");
	one_pending();
	run_at(&c, 0, CODE("sti; cli; nop; nop"));
	FINE(&c);
	EQ(irr() & 1, 1);
	test("STI with IF already set gives no shadow");
	one_pending();
	code = CODE("sti; nop; sti; nop; nop");
	run_at(&c, 0, code);
	FAULT(&c, IRQ0, NO_ERROR, code + 2);
	test("POPF that sets IF: taken before the next instruction");
	one_pending();
	code = CODE("push $0x202; popf; nop; nop");
	run_at(&c, 0, code);
	FAULT(&c, IRQ0, NO_ERROR, code + 6);
	test("STI; HLT: the halt is over at once");
	one_pending();
	code = CODE("sti; hlt; nop");
	run_at(&c, 0, code);
	FAULT(&c, IRQ0, NO_ERROR, code + 2);
	test("STI by level 3 with IOPL 3");
	one_pending();
	code = CODE("sti; nop; nop");
	ctx_init(&c, 3, code);
	c.eflags = F_FIXED | F_IOPL;
	cpu_run(&c);
	FAULT(&c, IRQ0, NO_ERROR, code + 2);
	EQ(c.cs, SEL_C3 | 3);
	test("IRQ in virtual-8086 mode");
	memset((void *)0x20000, 0x90, 16);
	one_pending();
	ctx_init(&c, 3, 0);
	c.cs = 0x2000;
	c.ss = 0x3000;
	c.esp = 0x1000;
	c.eflags = F_FIXED | F_VM | F_IF;
	cpu_run(&c);
	EQ(c.vector, IRQ0);
	EQ(c.eip, 0);
	EQ(c.eflags & (F_VM | F_IF), F_VM | F_IF);
	test("unmasking a pending interrupt with IF set");
	known("tcg", "taken after the translated block");
	one_pending();
	pic_mask(ALL_MASKED);
	code = CODE("out %al, $0x21; nop; nop; nop; nop; nop; nop; nop; nop");
	ctx_init(&c, 0, code);
	c.eax = 0xfe;
	c.eflags = F_FIXED | F_IF;
	cpu_run(&c);
	EQ(c.vector, IRQ0);
	TRUE(c.eip >= code + 2 && c.eip <= code + 10);
	test("an interrupt pushes no error code and clears IF");
	one_pending();
	ctx_init(&c, 3, CODE("nop"));
	c.eflags = F_FIXED | F_IF;
	stack = c.esp;
	cpu_run(&c);
	EQ(c.frame[3], stack);
	EQ(c.handler_eflags & F_IF, 0);
	pic_init(ALL_MASKED);
}

static void halting(void)
{
	struct ctx c;
	u32 code = CODE("hlt; nop");

	test("HLT waits for the timer");
	pic_init(ALL_MASKED);
	pit_program(0, 20000);
	pic_mask(ONLY_TIMER);
	ctx_init(&c, 0, code);
	c.eflags = F_FIXED | F_IF;
	cpu_run(&c);
	FAULT(&c, IRQ0, NO_ERROR, code + 1);
	pic_init(ALL_MASKED);
	test("a hundred ticks of 1 ms");
	on_trap(IRQ0, count_tick);
	ticks = 0;
	pit_program(2, PIT_HZ / 1000);
	pic_mask(ONLY_TIMER);
	while (ticks < 100)
		asm_volatile("sti; hlt; cli" : : : "memory");
	EQ(ticks, 100);
	pic_init(ALL_MASKED);
	on_trap(IRQ0, NULL);
}

static void masks_and_priorities(void)
{
	struct ctx c;

	test("a masked interrupt stays pending");
	one_pending();
	pic_mask(ALL_MASKED);
	ctx_init(&c, 0, CODE("nop; nop; nop; nop"));
	c.eflags = F_FIXED | F_IF;
	cpu_run(&c);
	FINE(&c);
	EQ(irr() & 1, 1);
	test("mask registers read back");
	pic_mask(0x5aa5);
	EQ(inb(PIC1 + 1), 0xa5);
	EQ(inb(PIC2 + 1), 0x5a);
	pic_mask(ALL_MASKED);
	test("clock chip and timer pending: the timer comes first");
	pic_init(ALL_MASKED);
	set_cmos(0x0a, 0x26); /* 1024 Hz */
	set_cmos(0x0b, 0x42); /* periodic interrupt, 24 hours */
	cmos(0x0c);
	TRUE(wait_request(IRQ_RTC));
	pit_program(0, 100);
	TRUE(wait_request(IRQ_TIMER));
	pic_mask(TIMER_AND_RTC);
	ctx_init(&c, 3, CODE("nop"));
	c.eflags = F_FIXED | F_IF;
	cpu_run(&c);
	EQ(c.vector, IRQ0 + IRQ_TIMER);
	EQ(isr(), 0x0001);
	test("an interrupt in service holds back those below it");
	ctx_init(&c, 3, CODE("nop; nop; nop"));
	c.eflags = F_FIXED | F_IF;
	cpu_run(&c);
	FINE(&c);
	test("end of interrupt lets the next one through");
	pic_eoi(IRQ_TIMER);
	EQ(isr(), 0);
	ctx_init(&c, 3, CODE("nop"));
	c.eflags = F_FIXED | F_IF;
	cpu_run(&c);
	EQ(c.vector, IRQ0 + IRQ_RTC);
	EQ(isr(), 0x0104);
	test("a higher one interrupts a lower one in service");
	pit_program(0, 100);
	TRUE(wait_request(IRQ_TIMER));
	ctx_init(&c, 3, CODE("nop"));
	c.eflags = F_FIXED | F_IF;
	cpu_run(&c);
	EQ(c.vector, IRQ0 + IRQ_TIMER);
	EQ(isr(), 0x0105);
	test("end of interrupt takes the highest in service; specific ones their own");
	outb(PIC1, 0x20);
	EQ(isr(), 0x0104);
	outb(PIC2, 0x60);
	EQ(isr(), 0x0004);
	outb(PIC1, 0x62);
	EQ(isr(), 0);
	test("automatic end of interrupt");
	pic_init(ALL_MASKED);
	outb(PIC1, 0x11);
	outb(PIC1 + 1, IRQ0);
	outb(PIC1 + 1, 4);
	outb(PIC1 + 1, 3);
	outb(PIC1 + 1, 0xff);
	pit_program(0, 100);
	TRUE(wait_request(IRQ_TIMER));
	outb(PIC1 + 1, 0xfe);
	ctx_init(&c, 0, CODE("nop"));
	c.eflags = F_FIXED | F_IF;
	cpu_run(&c);
	EQ(c.vector, IRQ0);
	EQ(isr() & 0xff, 0);
	test("other vectors");
	outb(PIC1, 0x11);
	outb(PIC1 + 1, 0x58);
	outb(PIC1 + 1, 4);
	outb(PIC1 + 1, 1);
	outb(PIC1 + 1, 0xff);
	pit_program(0, 100);
	TRUE(wait_request(IRQ_TIMER));
	outb(PIC1 + 1, 0xfe);
	ctx_init(&c, 0, CODE("nop"));
	c.eflags = F_FIXED | F_IF;
	cpu_run(&c);
	EQ(c.vector, 0x58);
	set_cmos(0x0b, 0x02);
	cmos(0x0c);
	pic_init(ALL_MASKED);
}

static void counters(void)
{
	u16 a, b;
	bool down = true, output;

	test("the counter counts down and reloads");
	pit_program(2, 0);
	a = pit_read();
	for (unsigned i = 0; i < 20; i++) {
		b = pit_read();
		if (b > a && a > 1000)
			down = false;
		a = b;
	}
	TRUE(down);
	test("a latched count stays until it is read");
	outb(PIT_MODE, 0);
	for (volatile unsigned i = 0; i < 1000; i++)
		;
	outb(PIT_MODE, 0); /* ignored */
	a = inb(PIT);
	a |= inb(PIT) << 8;
	b = pit_read();
	NE(a, b);
	test("read-back of the status");
	pit_program(3, 0x1234);
	outb(PIT_MODE, 0xe2); /* status of counter 0 */
	EQ(inb(PIT) & 0x3f, 0x36);
	test("mode 0 fires once");
	pic_init(ALL_MASKED);
	pit_program(0, 100);
	TRUE(wait_request(IRQ_TIMER));
	on_trap(IRQ0, count_tick);
	ticks = 0;
	pic_mask(ONLY_TIMER);
	sti();
	for (volatile unsigned i = 0; i < 100000; i++)
		;
	cli();
	EQ(ticks, 1);
	on_trap(IRQ0, NULL);
	test("counter 2 and port 0x61");
	outb(0x61, 0);
	outb(PIT_MODE, 0xb0); /* mode 0: OUT goes high at the end */
	outb(PIT + 2, 200);
	outb(PIT + 2, 0);
	outb(0x61, 1); /* gate */
	output = false;
	for (u32 i = 0; i < 10000000 && !output; i++)
		output = inb(0x61) & 0x20;
	TRUE(output);
	EQ(inb(0x61) & 3, 1);
	outb(0x61, 0);
	pic_init(ALL_MASKED);
}

static void clock_chip(void)
{
	u32 first;

	test("periodic interrupts of the clock chip");
	on_trap(IRQ0 + IRQ_RTC, count_rtc);
	rtc_ticks = 0;
	set_cmos(0x0a, 0x26);
	set_cmos(0x0b, 0x42);
	cmos(0x0c);
	pic_mask(ONLY_RTC);
	while (rtc_ticks < 16)
		asm_volatile("sti; hlt; cli" : : : "memory");
	EQ(rtc_ticks, 16);
	test("seconds go on");
	first = cmos(0);
	for (unsigned i = 0; i < 1100; i++)
		asm_volatile("sti; hlt; cli" : : : "memory");
	NE(cmos(0), first);
	test("without reading register C there is no next interrupt");
	set_cmos(0x0b, 0x02);
	cmos(0x0c);
	pic_init(ALL_MASKED);
	on_trap(IRQ0 + IRQ_RTC, NULL);
	set_cmos(0x0b, 0x42);
	TRUE(wait_request(IRQ_RTC));
	EQ(cmos(0x0c) & 0xc0, 0xc0);
	EQ(cmos(0x0c) & 0xc0, 0);
	set_cmos(0x0b, 0x02);
	cmos(0x0c);
	pic_init(ALL_MASKED);
}

/* A long computation at each CPL, interrupted often, must come out as if it were alone. */
static void transparent(void)
{
	u32 code = CODE("xor %eax, %eax; mov $300000, %ecx; 1: add %ecx, %eax; rol $3, %eax; xor $0x5a5a, %eax; adc "
	                "$7, %eax; push %eax; pop %edx; loop 1b");
	u32 want = 0;
	struct ctx c;

	run_at(&c, 0, code);
	want = c.eax;
	for (unsigned cpl = 0; cpl < 4; cpl++) {
		test("cpl%u code interrupted many times", cpl);
		known("tcg", "as many as the host's clock allows");
		on_trap(IRQ0, count_tick);
		ticks = 0;
		pic_init(ALL_MASKED);
		pit_program(2, 120);
		pic_mask(ONLY_TIMER);
		ctx_init(&c, cpl, code);
		c.eflags = F_FIXED | F_IF;
		c.edi = 0x12345678;
		cpu_run(&c);
		pic_mask(ALL_MASKED);
		FINE(&c);
		EQ(c.eax, want);
		EQ(c.ecx, 0);
		EQ(c.edi, 0x12345678);
		EQ(c.esp, stack_top(cpl));
		TRUE(ticks > 2);
		on_trap(IRQ0, NULL);
		pic_init(ALL_MASKED);
	}
}

void guest_main(void)
{
	recognition();
	halting();
	masks_and_priorities();
	counters();
	clock_chip();
	transparent();
	paging_identity();
	paging_on();
	recognition();
	transparent();
}
