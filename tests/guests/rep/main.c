/*
 * rep - string instructions: against a byte-by-byte model in C; interrupted midway by the timer, page faults, segment limits and single-step, with exact ECX, ESI
 * and EDI, and resumed; 16-bit addressing; ports.
 */
#include "guest.h"

GUEST("rep");

enum { PAGE = 0x40000000, FRAME = 0x00800000, PAGES = 8, ALL = P_P | P_W | P_U };

static u8 a[8192 + 64] ALIGNED(4096), b[8192 + 64] ALIGNED(4096), shadow[8192 + 64];

enum kind { MOVS, STOS, LODS, CMPS, SCAS };

struct string {
	const char *name;
	enum kind kind;
	u32 size;
	bool repne;
	u32 code;
};

static u32 load(const u8 *at, u32 size)
{
	u32 value = 0;

	memcpy(&value, at, size);
	return value;
}

/* What the instruction must do, one element after the other. */
static void model(const struct string *s, struct ctx *c, u8 *ram_of_di)
{
	u32 mask = s->size == 4 ? ~0u : (1u << s->size * 8) - 1;
	int step = c->eflags & F_DF ? -(int)s->size : (int)s->size;

	while (c->ecx) {
		u32 x, y, difference;
		bool equal;

		c->ecx--;
		switch (s->kind) {
		case MOVS:
			memcpy(ram_of_di + c->edi - (u32)b, (void *)c->esi, s->size);
			c->esi += step;
			c->edi += step;
			continue;
		case STOS:
			memcpy(ram_of_di + c->edi - (u32)b, &c->eax, s->size);
			c->edi += step;
			continue;
		case LODS:
			c->eax = (c->eax & ~mask) | load((void *)c->esi, s->size);
			c->esi += step;
			continue;
		case CMPS:
			x = load((void *)c->esi, s->size);
			y = load((void *)c->edi, s->size);
			c->esi += step;
			c->edi += step;
			break;
		default:
			x = c->eax & mask;
			y = load((void *)c->edi, s->size);
			c->edi += step;
		}
		difference = (x - y) & mask;
		equal = x == y;
		c->eflags &= ~(F_CF | F_ZF | F_SF);
		c->eflags |= (x < y ? F_CF : 0) | (equal ? F_ZF : 0) | (difference >> (s->size * 8 - 1) ? F_SF : 0);
		if (equal == s->repne)
			break;
	}
}

static void against_model(const struct string *s)
{
	static const u32 counts[] = { 0, 1, 2, 3, 7, 8, 100, 1000 };

	for (unsigned df = 0; df < 2; df++) {
		test("%s DF %u", s->name, df);
		for (unsigned i = 0; i < COUNT(counts); i++) {
			struct ctx c, want;
			u32 offset = df ? 4096 + i % 4 : 16 + i % 4;

			for (u32 j = 0; j < sizeof(a); j++)
				a[j] = b[j] = j >> 3;
			if (s->kind == CMPS || s->kind == SCAS) {
				memset(a, 0x11, sizeof(a));
				memset(b, s->repne ? 0x22 : 0x11, sizeof(b));
				b[offset + (df ? -1 : 1) * 23 * (int)s->size] = s->repne ? 0x11 : 0x22;
				b[offset + (df ? -1 : 1) * 23 * (int)s->size + s->size - 1] = s->repne ? 0x11 : 0x22;
				for (u32 j = 1; j < s->size; j++)
					b[offset + (df ? -1 : 1) * 23 * (int)s->size + j] = s->repne ? 0x11 : 0x22;
			}
			ctx_init(&c, i & 1 ? 3 : 0, s->code);
			c.esi = (u32)a + offset;
			c.edi = (u32)b + offset;
			c.ecx = counts[i];
			c.eax = 0x11111111;
			c.eflags = F_FIXED | F_CF | (df ? F_DF : 0);
			want = c;
			memcpy(shadow, b, sizeof(b));
			model(s, &want, shadow);
			cpu_run(&c);
			FINE(&c);
			EQ(c.ecx, want.ecx);
			EQ(c.esi, want.esi);
			EQ(c.edi, want.edi);
			EQ(c.eax, want.eax);
			EQ(c.eflags & (F_CF | F_ZF | F_SF | F_DF), want.eflags & (F_CF | F_ZF | F_SF | F_DF));
			TRUE(memcmp(b, shadow, sizeof(b)) == 0);
		}
	}
}

static void models(void)
{
	const struct string strings[] = {
		{ "rep movsb", MOVS, 1, false, CODE("rep movsb") },
		{ "rep movsw", MOVS, 2, false, CODE("rep movsw") },
		{ "rep movsl", MOVS, 4, false, CODE("rep movsl") },
		{ "repne movsb", MOVS, 1, false, CODE("repne movsb") },
		{ "rep stosb", STOS, 1, false, CODE("rep stosb") },
		{ "rep stosw", STOS, 2, false, CODE("rep stosw") },
		{ "rep stosl", STOS, 4, false, CODE("rep stosl") },
		{ "rep lodsb", LODS, 1, false, CODE("rep lodsb") },
		{ "rep lodsl", LODS, 4, false, CODE("rep lodsl") },
		{ "repe cmpsb", CMPS, 1, false, CODE("repe cmpsb") },
		{ "repe cmpsw", CMPS, 2, false, CODE("repe cmpsw") },
		{ "repe cmpsl", CMPS, 4, false, CODE("repe cmpsl") },
		{ "repne cmpsb", CMPS, 1, true, CODE("repne cmpsb") },
		{ "repne cmpsl", CMPS, 4, true, CODE("repne cmpsl") },
		{ "repe scasb", SCAS, 1, false, CODE("repe scasb") },
		{ "repe scasw", SCAS, 2, false, CODE("repe scasw") },
		{ "repne scasb", SCAS, 1, true, CODE("repne scasb") },
		{ "repne scasw", SCAS, 2, true, CODE("repne scasw") },
		{ "repne scasl", SCAS, 4, true, CODE("repne scasl") },
	};

	for (unsigned i = 0; i < COUNT(strings); i++)
		against_model(&strings[i]);
	test("overlapping rep movs repeats a pattern");
	{
		struct ctx c;

		a[0] = 'x';
		a[1] = 'y';
		ctx_init(&c, 0, CODE("rep movsb"));
		c.esi = (u32)a;
		c.edi = (u32)a + 2;
		c.ecx = 1000;
		cpu_run(&c);
		for (u32 i = 0; i < 1002; i++)
			if (a[i] != (i & 1 ? 'y' : 'x')) {
				EQ(i, 1002);
				break;
			}
		ctx_init(&c, 0, CODE("rep movsl"));
		memcpy(a, "0123456789", 10);
		c.esi = (u32)a;
		c.edi = (u32)a + 1;
		c.ecx = 3;
		cpu_run(&c);
		TRUE(a[1] == '0' && a[4] == '3');
	}
}

/* A rep that runs into a missing page stops there with exact registers, and goes on when the page is there. */
static void page_faults(void)
{
	const struct {
		const char *name;
		u32 code;
		u32 size;
		bool source, write;
	} items[] = {
		{ "rep movsb to a missing page", CODE("rep movsb"), 1, false, true },
		{ "rep movsl to a missing page", CODE("rep movsl"), 4, false, true },
		{ "rep movsb from a missing page", CODE("rep movsb"), 1, true, false },
		{ "rep movsw from a missing page", CODE("rep movsw"), 2, true, false },
		{ "rep stosl to a missing page", CODE("rep stosl"), 4, false, true },
		{ "rep lodsb from a missing page", CODE("rep lodsb"), 1, true, false },
		{ "repe scasb in a missing page", CODE("repe scasb"), 1, false, false },
		{ "repe cmpsl in a missing page", CODE("repe cmpsl"), 4, false, false },
		{ "rep insb to a missing page", CODE("rep insb"), 1, false, true },
		{ "rep outsb from a missing page", CODE("rep outsb"), 1, true, false },
	};
	struct ctx c;

	for (unsigned i = 0; i < COUNT(items); i++) {
		for (u32 before = 0; before < 12; before += items[i].size) {
			for (unsigned df = 0; df < 2; df++) {
				u32 size = items[i].size, done = before / size, boundary = PAGE + 4096, start, want;
				bool port = i >= COUNT(items) - 2;

				test("%s after %u elements, DF %u", items[i].name, done, df);
				map_page(PAGE, FRAME | ALL);
				map_page(PAGE + 4096, (FRAME + 4096) | ALL);
				invlpg(PAGE);
				invlpg(PAGE + 4096);
				memset((void *)PAGE, 0, 8192);
				memset(a, 0, sizeof(a));
				/* DF 0 runs up into the second page, DF 1 down into the first */
				map_page(df ? PAGE : PAGE + 4096, 0);
				invlpg(df ? PAGE : PAGE + 4096);
				start = df ? boundary + before - size
				           : boundary - before; /* then the first element beyond faults */
				ctx_init(&c, port ? 0 : 3, items[i].code);
				c.esi = items[i].source ? start : (u32)a + 4096;
				c.edi = items[i].source ? (u32)a + 4096 : start;
				c.ecx = done + 5;
				c.eax = 0;
				c.edx = 0x80;
				c.eflags = F_FIXED | (df ? F_DF : 0);
				cpu_run(&c);
				FAULT(&c, PF, (items[i].write ? PF_W : 0) | (port ? 0 : PF_U), items[i].code);
				EQ(c.ecx, 5);
				want = df ? start - done * size : start + done * size;
				EQ(items[i].source ? c.esi : c.edi, want);
				EQ(c.cr2, want);
				map_page(df ? PAGE : PAGE + 4096, (df ? FRAME : FRAME + 4096) | ALL);
				c.eip = items[i].code;
				c.eflags &= ~F_RF;
				cpu_run(&c);
				FINE(&c);
				EQ(c.ecx, 0);
				EQ(items[i].source ? c.esi : c.edi,
				   df ? start - (done + 5) * size : start + (done + 5) * size);
			}
		}
	}
	test("a count of 0 touches nothing");
	ctx_init(&c, 3, CODE("rep movsb; rep stosl; repe cmpsb; repne scasb; rep lodsb"));
	c.ecx = 0;
	c.esi = c.edi = 0x7fff0000;
	cpu_run(&c);
	FINE(&c);
	EQ(c.esi, 0x7fff0000);
	EQ(c.edi, 0x7fff0000);
	test("no rep: one element, ECX unused");
	map_page(PAGE + 4096, 0);
	invlpg(PAGE + 4096);
	{
		u32 code = CODE("movsl");

		ctx_init(&c, 3, code);
		c.esi = (u32)a;
		c.edi = PAGE + 4096;
		cpu_run(&c);
		FAULT(&c, PF, PF_W | PF_U, code);
		EQ(c.esi, (u32)a);
		EQ(c.ecx, 0xcccccccc);
	}
	test("an element over the boundary");
	map_page(PAGE, FRAME | ALL);
	invlpg(PAGE);
	memset((void *)(PAGE + 4080), 0x5a, 16);
	{
		u32 code = CODE("rep stosl");

		ctx_init(&c, 3, code);
		c.edi = PAGE + 4096 - 10;
		c.ecx = 9;
		c.eax = 0;
		cpu_run(&c);
		FAULT(&c, PF, PF_W | PF_U, code);
		EQ(c.ecx, 7);
		EQ(c.edi, PAGE + 4096 - 2);
		EQ(c.cr2, PAGE + 4096);
		EQ(*(volatile u16 *)(PAGE + 4096 - 2), 0x5a5a);
		EQ(*(volatile u32 *)(PAGE + 4096 - 6), 0);
	}
}

static u32 demand_faults;

static bool demand_page(struct trap_frame *f)
{
	u32 address = get_cr2();

	if (address < PAGE || address >= PAGE + PAGES * 4096 || (f->error & PF_P))
		return false;
	demand_faults++;
	map_page(address & ~0xfffu, (FRAME + ((address - PAGE) & ~0xfffu)) | ALL);
	return true;
}

static void demand_paging(void)
{
	struct ctx c;

	test("rep over pages that come on demand");
	for (u32 i = 0; i < PAGES; i++) {
		map_page(PAGE + i * 4096, 0);
		invlpg(PAGE + i * 4096);
	}
	on_trap(PF, demand_page);
	demand_faults = 0;
	ctx_init(&c, 3,
	         CODE("rep stosl; mov %edx, %esi; mov $8191, %ecx; xor %ebx, %ebx; 1: lodsl; add %eax, %ebx; loop 1b"));
	c.edi = c.edx = PAGE + 2;
	c.ecx = 8191;
	c.eax = 3;
	cpu_run(&c);
	on_trap(PF, NULL);
	FINE(&c);
	EQ(c.ebx, 3 * 8191);
	EQ(demand_faults, PAGES);
}

static u32 ticks, midway, bad_eip, rep_start;

static bool tick(struct trap_frame *f)
{
	ticks++;
	if (f->ecx && f->eip == rep_start)
		midway++;
	else if (f->ecx && f->eip > rep_start && f->eip < rep_start + 2)
		bad_eip++;
	/* up to here exactly as many elements were moved as ECX says */
	pic_eoi(0);
	return true;
}

static void timer(void)
{
	u32 code = CODE("rep movsb"), count = 4 << 20;
	struct ctx c;

	test("rep interrupted by the timer midway");
	rep_start = code;
	for (u32 i = 0; i < count; i += 4)
		*(volatile u32 *)(FRAME + i) = 0;
	for (unsigned cpl = 0; cpl < 4; cpl += 3) {
		on_trap(IRQ0, tick);
		ticks = midway = bad_eip = 0;
		outb(0x43, 0x34);
		outb(0x40, 0x80);
		outb(0x40, 0);
		pic_init(0xfffe);
		ctx_init(&c, cpl, code);
		c.eflags = F_FIXED | F_IF;
		*(volatile u8 *)FRAME = 0x5c;
		c.esi = FRAME;
		c.edi = FRAME + 1; /* overlapping: the byte travels, so that a lost or doubled iteration shows */
		c.ecx = count - 1;
		cpu_run(&c);
		pic_init(0xffff);
		on_trap(IRQ0, NULL);
		FINE(&c);
		EQ(c.ecx, 0);
		EQ(c.esi, FRAME + count - 1);
		EQ(c.edi, FRAME + count);
		EQ(*(volatile u8 *)(FRAME + count - 1), 0x5c);
		EQ(bad_eip, 0);
		TRUE(ticks > 0);
		known("tcg", "interrupts come between blocks only");
		TRUE(midway > 0);
	}
	test("an interrupt midway sees consistent registers");
	on_trap(IRQ0, NULL);
	outb(0x43, 0x30); /* once, soon */
	outb(0x40, 0x00);
	outb(0x40, 0x02);
	pic_init(0xfffe);
	code = CODE("rep stosb");
	for (u32 i = 0; i < 2; i++) {
		memset((void *)FRAME, 0, 4096);
		ctx_init(&c, 3, code);
		c.eflags = F_FIXED | F_IF;
		c.edi = FRAME;
		c.eax = 0x77;
		c.ecx = count;
		cpu_run(&c);
		if (c.vector == IRQ0 && c.ecx && c.eip == code) {
			EQ(c.edi, FRAME + count - c.ecx);
			if (c.ecx < count)
				EQ(*(volatile u8 *)(c.edi - 1), 0x77);
			EQ(c.eip, code);
		}
		pic_init(0xffff);
	}
}

static void limits(void)
{
	u32 code = CODE("rep stosl"), from = CODE("rep fs movsb");
	struct ctx c;

	test("a segment limit reached midway");
	if (cannot("tcg", "segments are not checked on use"))
		return;
	gdt_set(0x100, desc((u32)a, 0x102, A_P | A_DATA | A_RW | A_DB | A_DPL(3)));
	ctx_init(&c, 3, code);
	c.es = 0x103;
	c.edi = 0xf0;
	c.ecx = 100;
	cpu_run(&c);
	FAULT(&c, GP, 0, code);
	EQ(c.ecx, 96);
	EQ(c.edi, 0x100);
	ctx_init(&c, 3, from);
	c.fs = 0x103;
	c.esi = 0xf8;
	c.edi = (u32)b;
	c.ecx = 100;
	cpu_run(&c);
	FAULT(&c, GP, 0, from);
	EQ(c.ecx, 100 - 11);
	EQ(c.esi, 0x103);
	EQ(c.edi, (u32)b + 11);
}

static void addressing16(void)
{
	struct ctx c;

	test("16-bit addressing uses CX, SI, DI and wraps them");
	gdt_set(0x100, desc(0x20000, 0xffff, A_P | A_DATA | A_RW | A_DPL(3)));
	memset((void *)0x20000, 0x11, 0x10000);
	*(volatile u8 *)0x2fffe = 1;
	*(volatile u8 *)0x2ffff = 2;
	*(volatile u8 *)0x20000 = 3;
	*(volatile u8 *)0x20001 = 4;
	ctx_init(&c, 3, CODE("addr16 rep movsb"));
	c.ds = c.es = 0x103;
	c.esi = 0x1234fffe;
	c.edi = 0x5678fff0;
	c.ecx = 0x9abc0004;
	cpu_run(&c);
	FINE(&c);
	EQ(c.esi, 0x12340002);
	EQ(c.edi, 0x5678fff4);
	EQ(c.ecx, 0x9abc0000);
	EQ(*(volatile u32 *)0x2fff0, 0x04030201);
	test("addr16 with CX 0 and upper ECX set");
	ctx_init(&c, 3, CODE("addr16 rep stosb; addr16 loop 1f; 1: jcxz 2f; nop; 2:"));
	c.es = 0x103;
	c.ecx = 0x00050000;
	cpu_run(&c);
	FINE(&c);
	EQ(c.ecx, 0x0005ffff);
}

static void ports(void)
{
	u32 code = CODE("rep outsb");
	struct ctx c;

	test("rep ins and outs");
	outb(0x3ff, 0x5a); /* a scratch register */
	memset(a, 0, 64);
	ctx_init(&c, 0, CODE("rep insb"));
	c.edx = 0x3ff;
	c.edi = (u32)a + 1;
	c.ecx = 20;
	cpu_run(&c);
	FINE(&c);
	EQ(c.edi, (u32)a + 21);
	EQ(c.ecx, 0);
	EQ(a[0], 0);
	EQ(a[1], 0x5a);
	EQ(a[20], 0x5a);
	EQ(a[21], 0);
	for (u32 i = 0; i < 8; i++)
		a[i] = 0x30 + i;
	ctx_init(&c, 0, code);
	c.edx = 0x3ff;
	c.esi = (u32)a + 7;
	c.ecx = 8;
	c.eflags = F_FIXED | F_DF;
	cpu_run(&c);
	FINE(&c);
	EQ(c.esi, (u32)a - 1);
	EQ(inb(0x3ff), 0x30);
	test("rep outs refused at level 3");
	ctx_init(&c, 3, code);
	c.edx = 0x3ff;
	c.esi = (u32)a;
	c.ecx = 8;
	cpu_run(&c);
	FAULT(&c, GP, 0, code);
	EQ(c.ecx, 8);
	EQ(c.esi, (u32)a);
	test("insb over code");
	{
		static u8 function[] = { 0xb0, 0x11, 0xcd, 0x70 }; /* mov $0x11, %al; int $0x70 */

		run_at(&c, 0, (u32)function);
		EQ(c.eax & 0xff, 0x11);
		outb(0x3ff, 0x77);
		ctx_init(&c, 0, CODE("rep insb"));
		c.edx = 0x3ff;
		c.edi = (u32)function + 1;
		c.ecx = 1;
		cpu_run(&c);
		run_at(&c, 0, (u32)function);
		EQ(c.eax & 0xff, 0x77);
	}
}

static void other_prefixes(void)
{
	struct ctx c;

	test("rep before other instructions is ignored");
	ctx_init(&c, 3, CODE(".byte 0xf3, 0x90, 0xf3; inc %eax; call 1f; jmp 2f; 1: .byte 0xf3, 0xc3; 2: nop"));
	c.ecx = 3;
	c.eax = 0;
	cpu_run(&c);
	FINE(&c);
	EQ(c.eax, 1);
	EQ(c.ecx, 3);
}

void guest_main(void)
{
	models();
	limits();
	addressing16();
	ports();
	other_prefixes();
	timer();
	paging_identity();
	paging_on();
	models();
	page_faults();
	demand_paging();
	timer();
}
