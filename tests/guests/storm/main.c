/*
 * storm - as many events as the command line asks for (events=N, a few by default), at 576 places: for measuring what reads traces.
 */
#include "guest.h"

GUEST("storm");

#define PLACES 576 /* nine a repetition */
#define EVENTS_DEFAULT 5760

static u32 events_asked(void)
{
	u32 n = 0;

	for (const char *s = guest_cmdline; *s; s++) {
		static const char name[] = "events=";
		u32 i = 0;

		while (name[i] && s[i] == name[i])
			i++;
		if (name[i])
			continue;
		for (s += i; *s >= '0' && *s <= '9'; s++)
			n = n * 10 + (u32)(*s - '0');
		return n;
	}
	return EVENTS_DEFAULT;
}

static void round_of_events(void)
{
	asm_volatile(".rept 64\n"
	             "cli\n"
	             "rdtsc\n"
	             "pushf\n"
	             "inb $0x80, %%al\n"
	             "movl %%cr0, %%ecx\n"
	             "clts\n"
	             "popf\n"
	             "outb %%al, $0x80\n"
	             "smsw %%ecx\n"
	             ".endr"
	             :
	             :
	             : "eax", "ecx", "edx", "memory", "cc");
}

void guest_main(void)
{
	u32 rounds = (events_asked() + PLACES - 1) / PLACES;

	pic_init(0xffff);
	test("every round ends");
	for (u32 i = 0; i < rounds; i++)
		round_of_events();
	TRUE(rounds > 0);
}
