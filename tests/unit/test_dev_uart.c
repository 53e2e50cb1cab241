/*
 * test_dev_uart.c - the 16550A: identification, interrupts in order, FIFO, loopback, flow control.
 */
#include "tests/unit/dev_rig.h"
#include "vmm/dev/uart.h"

#define COM1 0x3f8

struct uart_rig {
	struct rig r;
	struct uart uart;
	char sent[64];
	size_t n;
};

static void sent(void *self, uint8_t byte)
{
	struct uart_rig *u = self;

	u->sent[u->n++ % 63] = (char)byte;
}

static void open_rig(struct uart_rig *u)
{
	memset(u, 0, sizeof(*u));
	rig_init(&u->r);
	uart_init(&u->uart, &u->r.pic, sent, u);
	uart_attach(&u->uart, &u->r.bus);
}

static uint8_t get(struct uart_rig *u, unsigned reg)
{
	return in8(&u->r, (uint16_t)(COM1 + reg));
}

static void put(struct uart_rig *u, unsigned reg, uint8_t value)
{
	out8(&u->r, (uint16_t)(COM1 + reg), value);
}

static void receive(struct uart_rig *u, const char *text)
{
	uart_receive(&u->uart, (const uint8_t *)text, strlen(text));
}

static bool irq(struct uart_rig *u)
{
	return rig_line(&u->r, 4);
}

static void test_registers(void **state)
{
	struct uart_rig u;

	(void)state;
	open_rig(&u);
	assert_int_equal(get(&u, 5), 0x60);
	assert_int_equal(get(&u, 2), 0x01);
	put(&u, 7, 0x5a);
	assert_int_equal(get(&u, 7), 0x5a);
	put(&u, 1, 0xff);
	assert_int_equal(get(&u, 1), 0x0f);
	put(&u, 1, 0);
	put(&u, 4, 0xff);
	assert_int_equal(get(&u, 4), 0x1f);
	put(&u, 3, 0x83);
	put(&u, 0, 0x34);
	put(&u, 1, 0x12);
	assert_int_equal(get(&u, 0), 0x34);
	assert_int_equal(get(&u, 1), 0x12);
	put(&u, 3, 0x03);
	assert_int_equal(get(&u, 1), 0);
	assert_int_equal(u.n, 0); /* the divisor is not sent */
}

static void test_fifo_identification(void **state)
{
	struct uart_rig u;

	(void)state;
	open_rig(&u);
	put(&u, 2, 0x01);
	assert_int_equal(get(&u, 2) & 0xc0, 0xc0); /* 16550A */
	put(&u, 2, 0x21);
	assert_int_equal(get(&u, 2) & 0x20, 0); /* and not a 16750 */
	put(&u, 2, 0x00);
	assert_int_equal(get(&u, 2) & 0xc0, 0);
}

static void test_transmit(void **state)
{
	struct uart_rig u;

	(void)state;
	open_rig(&u);
	put(&u, 0, 'h');
	put(&u, 0, 'i');
	assert_string_equal(u.sent, "hi");
	assert_int_equal(get(&u, 5), 0x60);
}

static void test_thre_interrupt(void **state)
{
	struct uart_rig u;

	(void)state;
	open_rig(&u);
	put(&u, 4, 0x08);
	assert_false(irq(&u));
	put(&u, 1, 0x02);
	assert_true(irq(&u)); /* enabling it while the register is empty raises it */
	assert_int_equal(get(&u, 2), 0x02);
	assert_false(irq(&u)); /* reading IIR cleared it */
	assert_int_equal(get(&u, 2), 0x01);
	put(&u, 0, 'x');
	assert_true(irq(&u));
	u.r.pic.chip[0].irr = 0;
	put(&u, 0, 'y'); /* without IIR read: each write makes a new edge */
	assert_int_equal(u.r.pic.chip[0].irr, 0x10);
	put(&u, 1, 0x00);
	assert_false(irq(&u));
	get(&u, 2);
	put(&u, 1, 0x02); /* the test Linux makes */
	assert_int_equal(get(&u, 2), 0x02);
}

static void test_out2_gates(void **state)
{
	struct uart_rig u;

	(void)state;
	open_rig(&u);
	put(&u, 1, 0x02);
	assert_false(irq(&u));
	assert_int_equal(get(&u, 2), 0x02); /* pending in the chip all the same */
	put(&u, 0, 'x');
	put(&u, 4, 0x08);
	assert_true(irq(&u));
	put(&u, 4, 0x18);
	assert_false(irq(&u));
}

static void test_receive_without_fifo(void **state)
{
	struct uart_rig u;

	(void)state;
	open_rig(&u);
	put(&u, 4, 0x0b);
	put(&u, 1, 0x01);
	assert_int_equal(uart_room(&u.uart), 1);
	receive(&u, "a");
	assert_true(irq(&u));
	assert_int_equal(uart_room(&u.uart), 0);
	assert_int_equal(get(&u, 2), 0x04);
	assert_int_equal(get(&u, 5), 0x61);
	assert_int_equal(get(&u, 0), 'a');
	assert_false(irq(&u));
	assert_int_equal(get(&u, 5), 0x60);
	receive(&u, "bc"); /* overrun: the newer stays */
	assert_int_equal(get(&u, 5), 0x63);
	assert_int_equal(get(&u, 5), 0x61); /* reading cleared the error */
	assert_int_equal(get(&u, 0), 'c');
}

static void test_fifo_trigger_and_timeout(void **state)
{
	struct uart_rig u;

	(void)state;
	open_rig(&u);
	put(&u, 4, 0x0b);
	put(&u, 2, 0x81); /* trigger at 8 */
	put(&u, 1, 0x01);
	receive(&u, "1234567");
	assert_int_equal(get(&u, 2), 0xcc); /* below the trigger: character timeout */
	assert_true(irq(&u));
	receive(&u, "8");
	assert_int_equal(get(&u, 2), 0xc4);
	receive(&u, "9abcdefgh"); /* one too many */
	assert_int_equal(get(&u, 5) & 0x03, 0x03);
	for (const char *c = "123456789abcdefg"; *c; c++)
		assert_int_equal(get(&u, 0), *c);
	assert_int_equal(get(&u, 2), 0xc1);
	assert_false(irq(&u));
	receive(&u, "xyz");
	put(&u, 2, 0x83); /* clears */
	assert_int_equal(get(&u, 5), 0x60);
	receive(&u, "xyz");
	put(&u, 2, 0x00); /* so does switching the FIFO off */
	assert_int_equal(get(&u, 5), 0x60);
}

static void test_priorities(void **state)
{
	struct uart_rig u;

	(void)state;
	open_rig(&u);
	put(&u, 2, 0x01);
	put(&u, 4, 0x10);
	put(&u, 4, 0x1b); /* loopback: CTS, DSR and DCD change */
	put(&u, 1, 0x0f);
	for (int i = 0; i < 17; i++)
		put(&u, 0, (uint8_t)i);
	assert_int_equal(u.n, 0); /* nothing leaves in loopback */
	assert_int_equal(get(&u, 2), 0xc6);
	assert_int_equal(get(&u, 5) & 0x02, 0x02);
	assert_int_equal(get(&u, 2), 0xc4);
	for (int i = 0; i < 16; i++)
		assert_int_equal(get(&u, 0), i);
	assert_int_equal(get(&u, 2), 0xc2);
	assert_int_equal(get(&u, 2), 0xc0);
	assert_int_equal(get(&u, 6) & 0x0b, 0x0b);
	assert_int_equal(get(&u, 2), 0xc1);
}

static void test_modem_lines(void **state)
{
	struct uart_rig u;

	(void)state;
	open_rig(&u);
	assert_int_equal(get(&u, 6), 0xb0); /* a terminal is there */
	put(&u, 4, 0x1a);
	assert_int_equal(get(&u, 6) & 0xf0, 0x90); /* the test Linux makes */
	put(&u, 4, 0x14);
	assert_int_equal(get(&u, 6) & 0xf4, 0x40); /* RI rose: no delta */
	put(&u, 4, 0x10);
	assert_int_equal(get(&u, 6), 0x04); /* RI fell */
}

static void test_flow_control(void **state)
{
	struct uart_rig u;

	(void)state;
	open_rig(&u);
	assert_false(uart_listening(&u.uart));
	put(&u, 4, 0x02);
	assert_true(uart_listening(&u.uart));
	put(&u, 4, 0x00);
	put(&u, 1, 0x01);
	assert_true(uart_listening(&u.uart));
	put(&u, 1, 0x00);
	for (int i = 0; i < 63; i++)
		get(&u, 5);
	assert_false(uart_listening(&u.uart));
	get(&u, 5);
	assert_true(uart_listening(&u.uart)); /* nobody polls so long to send */
	put(&u, 0, 'x');
	assert_false(uart_listening(&u.uart));
	put(&u, 4, 0x12);
	assert_int_equal(uart_room(&u.uart), 0); /* loopback: the wire is cut */
}

static void test_can_wake(void **state)
{
	struct uart_rig u;

	(void)state;
	open_rig(&u);
	assert_false(uart_can_wake(&u.uart));
	put(&u, 1, 0x01);
	assert_false(uart_can_wake(&u.uart));
	put(&u, 4, 0x08);
	assert_true(uart_can_wake(&u.uart));
	receive(&u, "x");
	assert_false(uart_can_wake(&u.uart)); /* the line is high already */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_fifo_identification),
		cmocka_unit_test(test_transmit),
		cmocka_unit_test(test_thre_interrupt),
		cmocka_unit_test(test_out2_gates),
		cmocka_unit_test(test_receive_without_fifo),
		cmocka_unit_test(test_fifo_trigger_and_timeout),
		cmocka_unit_test(test_priorities),
		cmocka_unit_test(test_modem_lines),
		cmocka_unit_test(test_flow_control),
		cmocka_unit_test(test_can_wake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
