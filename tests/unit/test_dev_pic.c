/*
 * test_dev_pic.c - the two 8259A: initialization, priorities, every kind of EOI, the modes, the cascade.
 */
#include "tests/unit/dev_rig.h"

/* Vectors 0x20, 0x28; all inputs open. */
static void program(struct rig *r, uint8_t icw4_master, uint8_t icw4_slave)
{
	rig_init(r);
	out8(r, 0x20, 0x11);
	out8(r, 0x21, 0x20);
	out8(r, 0x21, 0x04);
	out8(r, 0x21, icw4_master);
	out8(r, 0xa0, 0x11);
	out8(r, 0xa1, 0x28);
	out8(r, 0xa1, 0x02);
	out8(r, 0xa1, icw4_slave);
}

static void pulse(struct rig *r, unsigned irq)
{
	pic_set_irq(&r->pic, irq, false);
	pic_set_irq(&r->pic, irq, true);
}

static uint8_t isr(struct rig *r, uint16_t port)
{
	out8(r, port, 0x0b);
	return in8(r, port);
}

static uint8_t irr(struct rig *r, uint16_t port)
{
	out8(r, port, 0x0a);
	return in8(r, port);
}

static void test_reset_state(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	assert_int_equal(in8(&r, 0x21), 0xff);
	assert_int_equal(in8(&r, 0xa1), 0xff);
	pulse(&r, 0);
	assert_false(pic_pending(&r.pic));
	out8(&r, 0x21, 0xfe);
	assert_true(pic_pending(&r.pic));
	assert_int_equal(pic_ack(&r.pic), 0x08);
}

static void test_icw_sequence(void **state)
{
	struct rig r;

	(void)state;
	program(&r, 1, 1);
	assert_int_equal(in8(&r, 0x21), 0); /* ICW1 clears the mask, ICW2..4 do not set it */
	out8(&r, 0x21, 0xa5);
	assert_int_equal(in8(&r, 0x21), 0xa5);
	/* Single, no ICW4: only ICW2 follows. */
	out8(&r, 0x20, 0x12);
	out8(&r, 0x21, 0x47);
	out8(&r, 0x21, 0xf0);
	assert_int_equal(in8(&r, 0x21), 0xf0);
	pulse(&r, 14);
	assert_int_equal(pic_ack(&r.pic), 0x42); /* low bits of ICW2 come from the input; the slave is not asked */
	pic_set_irq(&r.pic, 14, false);
	/* ICW1 forgets edges: the input must rise again. */
	pulse(&r, 1);
	out8(&r, 0x20, 0x11);
	out8(&r, 0x21, 0x20);
	out8(&r, 0x21, 0x04);
	out8(&r, 0x21, 0x01);
	assert_false(pic_pending(&r.pic));
	pulse(&r, 1);
	assert_int_equal(pic_ack(&r.pic), 0x21);
}

static void test_priority_and_eoi(void **state)
{
	struct rig r;

	(void)state;
	program(&r, 1, 1);
	pulse(&r, 5);
	pulse(&r, 3);
	assert_int_equal(irr(&r, 0x20), 0x28);
	assert_int_equal(pic_ack(&r.pic), 0x23);
	assert_int_equal(isr(&r, 0x20), 0x08);
	assert_int_equal(irr(&r, 0x20), 0x20);
	assert_false(pic_pending(&r.pic)); /* 5 waits behind 3 */
	pulse(&r, 0);
	assert_int_equal(pic_ack(&r.pic), 0x20); /* 0 goes before */
	assert_int_equal(isr(&r, 0x20), 0x09);
	out8(&r, 0x20, 0x20); /* ends 0, the highest */
	assert_int_equal(isr(&r, 0x20), 0x08);
	out8(&r, 0x20, 0x63); /* specific: 3 */
	assert_int_equal(isr(&r, 0x20), 0x00);
	assert_int_equal(pic_ack(&r.pic), 0x25);
	out8(&r, 0x20, 0x64); /* specific EOI of another one does nothing */
	assert_int_equal(isr(&r, 0x20), 0x20);
}

static void test_edge_and_level(void **state)
{
	struct rig r;

	(void)state;
	program(&r, 1, 1);
	pulse(&r, 5);
	assert_int_equal(pic_ack(&r.pic), 0x25);
	out8(&r, 0x20, 0x20);
	assert_false(pic_pending(&r.pic)); /* still high, but no new edge */
	pic_set_irq(&r.pic, 6, true);
	pic_set_irq(&r.pic, 6, false);
	assert_false(pic_pending(&r.pic)); /* must stay high until acknowledged */

	out8(&r, 0x4d0, 0xff);
	out8(&r, 0x4d1, 0xff);
	assert_int_equal(in8(&r, 0x4d0), 0xf8);
	assert_int_equal(in8(&r, 0x4d1), 0xde);
	assert_true(pic_pending(&r.pic)); /* 5 is high */
	assert_int_equal(pic_ack(&r.pic), 0x25);
	out8(&r, 0x20, 0x20);
	assert_int_equal(pic_ack(&r.pic), 0x25); /* again, for it is level triggered now */
	pic_set_irq(&r.pic, 5, false);
	out8(&r, 0x20, 0x20);
	assert_false(pic_pending(&r.pic));
}

static void test_cascade(void **state)
{
	struct rig r;

	(void)state;
	program(&r, 1, 1);
	pulse(&r, 14);
	assert_int_equal(irr(&r, 0x20), 0x04);
	assert_int_equal(pic_ack(&r.pic), 0x2e);
	assert_int_equal(isr(&r, 0x20), 0x04);
	assert_int_equal(isr(&r, 0xa0), 0x40);
	pulse(&r, 8); /* higher within the slave, but the master holds its input 2 in service */
	assert_false(pic_pending(&r.pic));
	pulse(&r, 1); /* above the cascade */
	assert_int_equal(pic_ack(&r.pic), 0x21);
	out8(&r, 0x20, 0x20);
	out8(&r, 0xa0, 0x20);
	assert_false(pic_pending(&r.pic));
	out8(&r, 0x20, 0x20);
	assert_int_equal(pic_ack(&r.pic), 0x28);
	/* Both at once: one after the other, by priority. */
	out8(&r, 0xa0, 0x20);
	out8(&r, 0x20, 0x20);
	pulse(&r, 15);
	pulse(&r, 9);
	assert_int_equal(pic_ack(&r.pic), 0x29);
	out8(&r, 0xa0, 0x20);
	out8(&r, 0x20, 0x20);
	assert_int_equal(pic_ack(&r.pic), 0x2f);
}

static void test_special_fully_nested(void **state)
{
	struct rig r;

	(void)state;
	program(&r, 0x11, 1);
	pulse(&r, 14);
	assert_int_equal(pic_ack(&r.pic), 0x2e);
	pulse(&r, 8);
	assert_int_equal(pic_ack(&r.pic), 0x28); /* a higher one of the same slave comes through */
	pulse(&r, 15);
	assert_false(pic_pending(&r.pic));
}

static void test_auto_eoi(void **state)
{
	struct rig r;

	(void)state;
	program(&r, 0x03, 0x03);
	pulse(&r, 4);
	assert_int_equal(pic_ack(&r.pic), 0x24);
	assert_int_equal(isr(&r, 0x20), 0);
	out8(&r, 0x20, 0x80); /* rotate in automatic EOI */
	pulse(&r, 0);
	pulse(&r, 1);
	assert_int_equal(pic_ack(&r.pic), 0x20); /* 0 is lowest now, 1 highest */
	pulse(&r, 0);
	assert_int_equal(pic_ack(&r.pic), 0x21);
	assert_int_equal(pic_ack(&r.pic), 0x20);
	out8(&r, 0x20, 0x00); /* no longer: 1 stays highest */
	for (int i = 0; i < 2; i++) {
		pulse(&r, 0);
		pulse(&r, 1);
		assert_int_equal(pic_ack(&r.pic), 0x21);
	}
	assert_int_equal(pic_ack(&r.pic), 0x20);
}

static void test_rotation(void **state)
{
	struct rig r;

	(void)state;
	program(&r, 1, 1);
	out8(&r, 0x20, 0xc4); /* set priority: 4 lowest, 5 highest */
	pulse(&r, 4);
	pulse(&r, 3);
	pulse(&r, 5);
	assert_int_equal(pic_ack(&r.pic), 0x25);
	out8(&r, 0x20, 0xa0); /* rotate on non-specific EOI: 5 lowest, 6 highest */
	assert_int_equal(isr(&r, 0x20), 0);
	assert_int_equal(pic_ack(&r.pic), 0x23); /* 6 7 0 1 2 3 4 5 */
	pulse(&r, 5);
	out8(&r, 0x20, 0xe3); /* rotate on specific EOI: 3 lowest, 4 highest */
	assert_int_equal(pic_ack(&r.pic), 0x24);
	out8(&r, 0x20, 0x40); /* no operation */
	assert_int_equal(isr(&r, 0x20), 0x10);
	out8(&r, 0x20, 0x20);
	assert_int_equal(pic_ack(&r.pic), 0x25);
}

static void test_special_mask(void **state)
{
	struct rig r;

	(void)state;
	program(&r, 1, 1);
	pulse(&r, 3);
	assert_int_equal(pic_ack(&r.pic), 0x23);
	pulse(&r, 6);
	assert_false(pic_pending(&r.pic));
	out8(&r, 0x21, 0x08);
	out8(&r, 0x20, 0x68); /* special mask mode: the masked 3 holds nobody back */
	assert_int_equal(pic_ack(&r.pic), 0x26);
	out8(&r, 0x20, 0x20); /* ends 6: masked ones do not count for a non-specific EOI */
	assert_int_equal(isr(&r, 0x20), 0x08);
	out8(&r, 0x20, 0x48);
	pulse(&r, 6);
	assert_false(pic_pending(&r.pic));
}

static void test_poll_command(void **state)
{
	struct rig r;

	(void)state;
	program(&r, 1, 1);
	out8(&r, 0x20, 0x0c);
	assert_int_equal(in8(&r, 0x20) & 0x80, 0);
	pulse(&r, 5);
	out8(&r, 0x20, 0x0c);
	assert_int_equal(in8(&r, 0x20), 0x85);
	assert_int_equal(isr(&r, 0x20), 0x20); /* the read acknowledged */
	out8(&r, 0x20, 0x20);
	pulse(&r, 12);
	out8(&r, 0x20, 0x0c);
	assert_int_equal(in8(&r, 0x21), 0x82); /* any read will do */
	out8(&r, 0xa0, 0x0c);
	assert_int_equal(in8(&r, 0xa0), 0x84);
	assert_int_equal(in8(&r, 0x21), 0x00); /* one read only: the mask again */
}

static void test_spurious(void **state)
{
	struct rig r;

	(void)state;
	program(&r, 1, 1);
	assert_int_equal(pic_ack(&r.pic), 0x27);
	assert_int_equal(isr(&r, 0x20), 0);
}

static void test_would_deliver(void **state)
{
	struct rig r;

	(void)state;
	program(&r, 1, 1);
	assert_true(pic_would_deliver(&r.pic, 0));
	assert_true(pic_would_deliver(&r.pic, 8));
	out8(&r, 0x21, 0x01);
	assert_false(pic_would_deliver(&r.pic, 0));
	out8(&r, 0x21, 0x04);
	assert_false(pic_would_deliver(&r.pic, 8));
	out8(&r, 0x21, 0x00);
	pulse(&r, 0);
	pic_ack(&r.pic);
	assert_false(pic_would_deliver(&r.pic, 0));
	assert_false(pic_would_deliver(&r.pic, 8));
	out8(&r, 0x20, 0x20);
	assert_true(pic_would_deliver(&r.pic, 8));
	assert_false(pic_pending(&r.pic)); /* asking changed nothing */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reset_state),      cmocka_unit_test(test_icw_sequence),
		cmocka_unit_test(test_priority_and_eoi), cmocka_unit_test(test_edge_and_level),
		cmocka_unit_test(test_cascade),          cmocka_unit_test(test_special_fully_nested),
		cmocka_unit_test(test_auto_eoi),         cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_special_mask),     cmocka_unit_test(test_poll_command),
		cmocka_unit_test(test_spurious),         cmocka_unit_test(test_would_deliver),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
