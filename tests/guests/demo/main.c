/*
 * main.c - bring the machine up, run four programs in ring 3, say what it took, switch the machine off.
 */
#include "kernel.h"
#include "user/user.h"

enum { MULTIBOOT_MAGIC = 0x2badb002, HZ = 1000, ACPI_PM1A_CNT = 0x604, DEBUG_EXIT = 0xf4 };

void kernel_main(uint32_t magic, const void *info);

static void power_off(bool good)
{
	serial_flush();
	if (good)
		outw(ACPI_PM1A_CNT, 0x2000);
	outb(DEBUG_EXIT, good ? 0x10 : 0x11);
	for (;;)
		__asm__ volatile("cli; hlt");
}

static bool report(void)
{
	static const uint32_t expected[] = { 0, 0, 0, 128 + 14 };
	bool good = true;

	for (unsigned i = 0; i < 4; i++) {
		const struct task *t = &tasks[i];

		print("demo: %s exit %u, %u page faults, %u system calls, %s FPU\n", t->name, t->exit_code, t->faults,
		      t->syscalls, t->fpu_used ? "uses the" : "no");
		good = good && t->exit_code == expected[i];
	}
	print("demo: %u timer ticks, %u task switches, %u FPU switches\n", timer_ticks, sched_switches,
	      sched_fpu_switches);
	return good;
}

void kernel_main(uint32_t magic, const void *info)
{
	unsigned frames;
	bool good;

	(void)info;
	desc_init();
	serial_init();
	pic_init();
	paging_init();
	timer_init(HZ);
	print("demo: a small kernel, %s by Multiboot\n", magic == MULTIBOOT_MAGIC ? "loaded" : "NOT loaded");
	frames = paging_free_frames();
	sched_spawn("sieve", sieve_main);
	sched_spawn("crc", crc_main);
	sched_spawn("mandel", mandel_main);
	sched_spawn("rogue", rogue_main);
	sched_run();
	good = report();
	for (unsigned i = 0; i < 4; i++)
		paging_free_space(tasks[i].cr3);
	good = good && frames == paging_free_frames() && sched_fpu_switches > 1 && timer_ticks > 10;
	print("demo: %s\n", good ? "done" : "FAILED");
	power_off(good);
}
