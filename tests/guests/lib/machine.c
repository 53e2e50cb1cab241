/*
 * machine.c - 8259s, identity paging, and what the compiler wants of libc.
 */
#include "guest.h"
#include "internal.h"

enum { PIC1 = 0x20, PIC2 = 0xa0, TABLES = 16 };

u32 page_dir[1024] ALIGNED(4096);
static u32 tables[TABLES][1024] ALIGNED(4096);
static unsigned tables_used;

void pic_mask(u16 mask)
{
	outb(PIC1 + 1, mask & 0xff);
	outb(PIC2 + 1, mask >> 8);
}

void pic_init(u16 mask)
{
	outb(PIC1, 0x11);
	outb(PIC2, 0x11);
	outb(PIC1 + 1, IRQ0);
	outb(PIC2 + 1, IRQ0 + 8);
	outb(PIC1 + 1, 4);
	outb(PIC2 + 1, 2);
	outb(PIC1 + 1, 1);
	outb(PIC2 + 1, 1);
	pic_mask(mask);
}

void pic_eoi(unsigned irq)
{
	if (irq >= 8)
		outb(PIC2, 0x20);
	outb(PIC1, 0x20);
}

u32 memory_top;

void fill_with_int3(void)
{
	extern u8 guest_end[];
	u32 start = ((u32)guest_end + 0xfff) & ~0xfffu, end = memory_top < 64u << 20 ? memory_top : 64u << 20;

	if (end > start)
		memset((void *)start, 0xcc, end - start);
	memset((void *)0x1000, 0xcc, 0x9e000);
	memset((void *)0xa0000, 0xcc, 0x20000);
}

static bool bark(struct trap_frame *f)
{
	(void)f;
	return false;
}

void watchdog(void)
{
	on_trap(IRQ0, bark);
	pic_init(0xfffe);
	outb(0x43, 0x30);
	outb(0x40, 0xa9);
	outb(0x40, 0x04);
}

void map_page(u32 address, u32 entry)
{
	u32 *pde = &page_dir[address >> 22];

	if (!(*pde & P_P) || (*pde & P_PS)) {
		memset(tables[tables_used], 0, sizeof(tables[0]));
		*pde = (u32)tables[tables_used++] | P_U | P_W | P_P;
	}
	((u32 *)(*pde & ~0xfffu))[address >> 12 & 1023] = entry;
}

void paging_identity(void)
{
	tables_used = 0;
	memset(page_dir, 0, sizeof(page_dir));
	for (u32 address = 0; address < 16u << 20; address += 4096)
		map_page(address, address | P_U | P_W | P_P);
}

u32 *pte(u32 address)
{
	return &((u32 *)(page_dir[address >> 22] & ~0xfffu))[address >> 12 & 1023];
}

void paging_on(void)
{
	set_cr3((u32)page_dir);
	set_cr0(get_cr0() | CR0_PG);
	double_fault_task();
}

void paging_off(void)
{
	set_cr0(get_cr0() & ~CR0_PG);
	set_cr3(0);
	double_fault_task();
}

void *memcpy(void *to, const void *from, size_t n)
{
	void *at = to;

	asm_volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
	return to;
}

void *memset(void *to, int c, size_t n)
{
	void *at = to;

	asm_volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(c) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	for (size_t i = 0; i < n; i++)
		if (x[i] != y[i])
			return x[i] - y[i];
	return 0;
}
