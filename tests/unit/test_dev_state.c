/*
 * test_dev_state.c - the devices' saved state: what was saved is there again, and no bytes, however wrong, make a device do what it must not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/dev/machine.h"

struct rig {
	struct clock clock;
	struct machine *machine;
	struct vm_input in;
};

static void rig_open(struct rig *r)
{
	struct machine_config config = { .clock = &r->clock, .memory = 64 << 20, .rtc_epoch = 946684800, .serial_fd = -1 };
	struct vm_error err;

	r->clock = (struct clock){ .ns_per_insn = 1 };
	assert_int_equal(machine_create(&r->machine, &config, &err), 0);
	machine_input(r->machine, &r->in);
}

/* Everything a guest can do, for a while, with time passing. The answers' sum. */
static uint64_t exercise(struct rig *r, uint64_t *random, unsigned times)
{
	static const uint16_t ports[] = { 0x20,  0x21,  0xa0,  0xa1,  0x40,  0x41,  0x42,  0x43,  0x61, 0x70,
		                          0x71,  0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x60,  0x64, 0x3c0,
		                          0x3c1, 0x3c5, 0x3c7, 0x3c8, 0x3c9, 0x3d4, 0x3d5, 0x3da, 0x4d0 };
	uint64_t sum = 0;

	for (unsigned i = 0; i < times; i++) {
		uint16_t port;
		struct vm_turn turn;
		struct vm_now now;

		*random = *random * 6364136223846793005ull + 1442695040888963407ull;
		port = ports[(*random >> 33) % (sizeof(ports) / sizeof(ports[0]))];
		r->clock.idle_ns += (*random >> 40) % 100000;
		if (*random >> 63)
			r->in.pio_write(r->in.self, port, 1, (uint8_t)(*random >> 20));
		else
			sum = sum * 31 + r->in.pio_read(r->in.self, port, 1);
		now = (struct vm_now){ .icount = 0, .vns = clock_now(&r->clock), .can_interrupt = *random >> 62 & 1 };
		r->in.poll(r->in.self, &now, &turn);
		sum = sum * 31 + (uint64_t)turn.vector + turn.stop;
		if ((*random >> 50 & 31) == 0) {
			r->in.idle(r->in.self, &now);
			r->clock.idle_ns %= 1ull << 61;
		}
	}
	return sum;
}

static void saved_is_there_again(void **state)
{
	uint8_t a[MACHINE_STATE_MAX], b[MACHINE_STATE_MAX];
	uint64_t random = 7, first, second;
	struct rig one, two;
	struct vm_error err;
	size_t len;

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		rig_open(&one);
		rig_open(&two);
		exercise(&one, &random, 400);
		len = machine_save(one.machine, a);
		two.clock = one.clock;
		assert_int_equal(machine_load(two.machine, a, len, &err), 0);
		assert_int_equal(machine_save(two.machine, b), len);
		assert_memory_equal(a, b, len);
		first = second = random;
		assert_int_equal(exercise(&one, &first, 400), exercise(&two, &second, 400));
		machine_destroy(one.machine);
		machine_destroy(two.machine);
	}
}

static void wrong_bytes_do_no_harm(void **state)
{
	uint8_t good[MACHINE_STATE_MAX], bad[MACHINE_STATE_MAX];
	uint64_t random = 99;
	unsigned accepted = 0;
	struct vm_error err;
	struct rig r;
	size_t len;

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		rig_open(&r);
		exercise(&r, &random, 20);
		len = machine_save(r.machine, good);
		memcpy(bad, good, len);
		for (unsigned n = 0; n < 1 + i % 4; n++) {
			size_t at;

			random = random * 6364136223846793005ull + 1442695040888963407ull;
			at = (random >> 33) %
			     (random >> 63 ? len : 700); /* most of it is the screen: look at the rest more often */
			bad[at] = (uint8_t)(random >> 20);
		}
		if (!machine_load(r.machine, bad, len, &err)) {
			accepted++;
			exercise(&r, &random, 200);
		} else {
			uint8_t now[MACHINE_STATE_MAX];

			assert_int_equal(machine_save(r.machine, now), len); /* refused: unchanged */
			assert_memory_equal(now, good, len);
		}
		assert_int_not_equal(machine_load(r.machine, good, len - 1, &err), 0);
		assert_int_not_equal(machine_load(r.machine, good, i % 8, &err), 0);
		machine_destroy(r.machine);
	}
	assert_in_range(accepted, 1, 2999);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(saved_is_there_again),
		                            cmocka_unit_test(wrong_bytes_do_no_harm) };

	return cmocka_run_group_tests_name("dev_state", tests, NULL, NULL);
}
