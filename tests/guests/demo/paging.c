/*
 * paging.c - address spaces. The kernel's 16 MiB are four global 4 MiB pages, the same in each space; user pages come one at a time, when they are
 * first touched: from the program's image (copied), or zeroed.
 */
#include "kernel.h"

enum { P = 1, RW = 2, US = 4, PS = 0x80, G = 0x100, FRAMES_END = 16 << 20, KERNEL_PDES = 4 };
enum { PF_PRESENT = 1, PF_USER = 4 };

/* from demo.ld: where the user programs lie in memory and where they are to be seen */
extern const uint8_t user_image[];
extern uint8_t user_start[], user_image_end[], user_end[], kernel_end[];

static uint32_t kernel_dir[1024] __attribute__((aligned(4096)));
static uint32_t free_list; /* frames linked through their first word */
static unsigned free_frames;

static void frame_free(uint32_t frame)
{
	*(uint32_t *)frame = free_list;
	free_list = frame;
	free_frames++;
}

static uint32_t frame_alloc(void)
{
	uint32_t frame = free_list;

	if (!frame)
		return 0;
	free_list = *(uint32_t *)frame;
	free_frames--;
	__builtin_memset((void *)frame, 0, PAGE_SIZE);
	return frame;
}

unsigned paging_free_frames(void)
{
	return free_frames;
}

void paging_init(void)
{
	uint32_t cr4;

	for (uint32_t i = 0; i < KERNEL_PDES; i++)
		kernel_dir[i] = i << 22 | G | PS | RW | P;
	for (uint32_t frame = FRAMES_END - PAGE_SIZE; frame >= (uint32_t)kernel_end; frame -= PAGE_SIZE)
		frame_free(frame);
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | 0x690)); /* PSE, PGE, OSFXSR, OSXMMEXCPT */
	__asm__ volatile("mov %0, %%cr3" : : "r"(kernel_dir) : "memory");
	write_cr0((read_cr0() & ~4u) | 0x80010022u); /* PG, WP, NE, MP; not EM */
}

uint32_t paging_kernel_space(void)
{
	return (uint32_t)kernel_dir;
}

uint32_t paging_new_space(void)
{
	uint32_t dir = frame_alloc();

	if (dir)
		__builtin_memcpy((void *)dir, kernel_dir, KERNEL_PDES * sizeof(kernel_dir[0]));
	return dir;
}

void paging_free_space(uint32_t cr3)
{
	uint32_t *dir = (uint32_t *)cr3;

	for (unsigned i = KERNEL_PDES; i < 1024; i++) {
		uint32_t *table = (uint32_t *)(dir[i] & ~0xfffu);

		if (!(dir[i] & P))
			continue;
		for (unsigned j = 0; j < 1024; j++)
			if (table[j] & P)
				frame_free(table[j] & ~0xfffu);
		frame_free((uint32_t)table);
	}
	frame_free(cr3);
}

static bool user_address(uint32_t address)
{
	return (address >= USER_BASE && address < (uint32_t)user_end) ||
	       (address >= STACK_TOP - STACK_PAGES * PAGE_SIZE && address < STACK_TOP);
}

bool paging_user_range(uint32_t address, uint32_t len)
{
	return address + len >= address && user_address(address) && (len == 0 || user_address(address + len - 1));
}

static bool map(uint32_t cr3, uint32_t address, uint32_t frame)
{
	uint32_t *pde = (uint32_t *)cr3 + (address >> 22);

	if (!(*pde & P)) {
		uint32_t table = frame_alloc();

		if (!table)
			return false;
		*pde = table | US | RW | P;
	}
	((uint32_t *)(*pde & ~0xfffu))[address >> 12 & 1023] = frame | US | RW | P;
	return true;
}

/* A page that is not there yet: true when it is now. */
bool paging_demand(struct task *t, uint32_t address, uint32_t error)
{
	uint32_t page = address & ~0xfffu, image_len = user_image_end - user_start, offset = page - USER_BASE, frame;

	if (!t || (error & PF_PRESENT) || !user_address(address))
		return false;
	frame = frame_alloc();
	if (!frame || !map(t->cr3, page, frame))
		return false;
	if (page < STACK_TOP - STACK_PAGES * PAGE_SIZE && offset < image_len)
		__builtin_memcpy((void *)frame, user_image + offset,
		                 image_len - offset < PAGE_SIZE ? image_len - offset : PAGE_SIZE);
	t->faults++;
	t->pages++;
	return true;
}
