/*
 * machine.c - the devices on their bus, and the answers to what a VM asks (vm.h, struct vm_input).
 *
 * Time is virtual. A device is brought to the moment when the guest touches any port, and in poll() when something is
 * due; in between nothing happens. Outside input alone comes from the host's time, and so is told to the VM for its
 * log.
 *
 * Invariants
 *  1. quiet_until is the vns before which poll() has nothing to do but deliver what the PIC holds: no device deadline
 *     that leads to an interrupt, no look at the serial input, no pacing is due before. 0 = look now.
 *  2. Every port access sets quiet_until to 0: whatever it changed is seen by the poll that follows the access.
 *  3. A deadline counts only if its interrupt could be delivered: an edge that the PIC would hold back changes
 *     nothing until a port access, which is seen by 2. So idle() never passes time for nothing, and says so when
 *     nothing can come.
 *
 * Must never: block, but in idle() and for pacing; let virtual time run beyond VNS_END.
 */
#include "vmm/dev/machine.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmm/bug.h"
#include "vmm/dev/machine_internal.h"

#define NEVER UINT64_MAX
#define NS_PER_S 1000000000ull
#define SERIAL_INTERVAL_NS 1000000ull /* virtual time between two looks at the serial input */
#define PACE_INTERVAL_NS 1000000ull   /* virtual time between two looks at the host's clock */

/* ---- devices, all of them ---- */

static void send_to(struct machine *m, enum vm_stream stream, uint8_t byte)
{
	if (m->config.console)
		m->config.console(m->config.console_self, stream, &byte, 1);
}

static void serial_sent(void *self, uint8_t byte)
{
	send_to(self, STREAM_SERIAL, byte);
}

static void debug_sent(void *self, uint8_t byte)
{
	send_to(self, STREAM_DEBUG, byte);
}

static void add_devices(struct machine *m)
{
	const struct clock *clock = m->config.clock;

	pic_init(&m->pic);
	pit_init(&m->pit, clock, &m->pic);
	rtc_init(&m->rtc, clock, &m->pic, m->config.memory, m->config.rtc_epoch);
	uart_init(&m->uart, &m->pic, serial_sent, m);
	sysctl_init(&m->sysctl, debug_sent, m);
	i8042_init(&m->i8042, &m->pic, &m->sysctl);
	vga_init(&m->vga, clock);

	pic_attach(&m->pic, &m->bus);
	pit_attach(&m->pit, &m->bus);
	rtc_attach(&m->rtc, &m->bus);
	uart_attach(&m->uart, &m->bus);
	sysctl_attach(&m->sysctl, &m->bus);
	i8042_attach(&m->i8042, &m->bus);
	vga_attach(&m->vga, &m->bus);
}

static void advance(struct machine *m, uint64_t vns)
{
	pit_advance(&m->pit, vns);
	rtc_advance(&m->rtc, vns);
}

/* ---- accesses ---- */

static uint32_t machine_pio_read(void *self, uint16_t port, unsigned size)
{
	struct machine *m = self;

	advance(m, clock_now(m->config.clock));
	m->quiet_until = 0;
	return bus_port_read(&m->bus, port, size);
}

static void machine_pio_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	struct machine *m = self;

	advance(m, clock_now(m->config.clock));
	m->quiet_until = 0;
	bus_port_write(&m->bus, port, size, value);
}

static uint64_t machine_mmio_read(void *self, uint64_t gpa, unsigned size)
{
	struct machine *m = self;

	return bus_memory_read(&m->bus, gpa, size);
}

static void machine_mmio_write(void *self, uint64_t gpa, unsigned size, uint64_t value)
{
	struct machine *m = self;

	bus_memory_write(&m->bus, gpa, size, value);
}

static uint64_t machine_tsc(void *self)
{
	struct machine *m = self;

	return clock_now(m->config.clock);
}

/* ---- the host's time ---- */

static uint64_t host_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* The host's time on the scale of virtual time. The two agree at the first question. */
static uint64_t wall_vns(struct machine *m, uint64_t vns)
{
	uint64_t now = host_ns();

	if (!m->wall_known) {
		m->wall_zero = now - vns;
		m->wall_known = true;
	}
	return now - m->wall_zero;
}

/* Wait for input on fd (-1: none), at most ns (NEVER: no limit). Signals end the wait. */
static bool wait_input(int fd, uint64_t ns)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct timespec t = { .tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S) };

	return ppoll(&p, 1, ns == NEVER ? NULL : &t, NULL) > 0;
}

static void throttle(struct machine *m, uint64_t vns)
{
	uint64_t wall;

	if (!m->config.pace || vns < m->pace_due)
		return;
	wall = wall_vns(m, vns);
	if (vns > wall)
		wait_input(-1, vns - wall);
	m->pace_due = vns + PACE_INTERVAL_NS;
}

/* ---- serial input ---- */

static bool serial_wanted(const struct machine *m)
{
	return m->config.serial_fd >= 0 && !m->serial_ended && uart_listening(&m->uart) && uart_room(&m->uart);
}

static ssize_t read_serial(struct machine *m, size_t room)
{
	ssize_t n;

	if (!wait_input(m->config.serial_fd, 0))
		return 0;
	n = read(m->config.serial_fd, m->input, room < sizeof(m->input) ? room : sizeof(m->input));
	if (n > 0)
		return n;
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		m->serial_ended = true;
	return 0;
}

/* True when bytes came in: they are in the UART and in the turn. */
static bool serial_turn(struct machine *m, uint64_t vns, struct vm_turn *turn)
{
	ssize_t n;

	if (!serial_wanted(m) || vns < m->serial_due)
		return false;
	m->serial_due = vns + SERIAL_INTERVAL_NS;
	n = read_serial(m, uart_room(&m->uart));
	if (n <= 0)
		return false;
	uart_receive(&m->uart, m->input, (size_t)n);
	turn->input = m->input;
	turn->input_len = (uint32_t)n;
	return true;
}

/* ---- what comes next ---- */

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The vns at which a timer interrupts next; NEVER. */
static uint64_t timer_deadline(const struct machine *m)
{
	uint64_t next = NEVER;

	if (pic_would_deliver(&m->pic, 0))
		next = pit_deadline(&m->pit);
	if (pic_would_deliver(&m->pic, RTC_IRQ))
		next = min64(next, rtc_deadline(&m->rtc));
	return next;
}

static uint64_t next_look(const struct machine *m)
{
	uint64_t next = timer_deadline(m);

	if (serial_wanted(m))
		next = min64(next, m->serial_due);
	if (m->config.pace)
		next = min64(next, m->pace_due);
	return next;
}

static uint64_t deadline_icount(const struct machine *m, const struct vm_now *now)
{
	if (m->quiet_until == NEVER)
		return NEVER;
	return clock_icount_at(m->config.clock, now->icount, m->quiet_until);
}

static void stop_turn(const struct machine *m, struct vm_turn *turn)
{
	turn->stop = (enum vm_stop_reason)m->sysctl.s.stop;
	turn->stop_code = m->sysctl.s.stop_code;
	turn->stop_message = m->sysctl.s.stop_message;
}

/* Everything poll() may have to do. Where it brings something, quiet_until stays 0, and the next poll looks again. */
static void look(struct machine *m, const struct vm_now *now, struct vm_turn *turn)
{
	m->quiet_until = 0;
	advance(m, now->vns);
	if (m->sysctl.s.stop != STOP_NONE) {
		stop_turn(m, turn);
		return;
	}
	throttle(m, now->vns);
	if (serial_turn(m, now->vns, turn))
		return;
	if (now->can_interrupt && pic_pending(&m->pic)) {
		turn->vector = pic_ack(&m->pic);
		return;
	}
	m->quiet_until = next_look(m);
}

static void machine_poll(void *self, const struct vm_now *now, struct vm_turn *turn)
{
	struct machine *m = self;

	*turn = (struct vm_turn){ .vector = -1 };
	if (unlikely(now->vns >= m->quiet_until || (now->can_interrupt && pic_pending(&m->pic))))
		look(m, now, turn);
	turn->deadline = deadline_icount(m, now);
	turn->quiet_until = m->quiet_until;
}

/* ---- idle ---- */

static bool serial_can_wake(const struct machine *m)
{
	return serial_wanted(m) && uart_can_wake(&m->uart) && pic_would_deliver(&m->pic, UART_IRQ);
}

static uint64_t idle_max(const struct machine *m)
{
	return m->config.idle_max_ns ? m->config.idle_max_ns : NEVER;
}

/* Let the host's time pass too: until the target, or until input comes. Virtual time follows. */
static void idle_paced(struct machine *m, uint64_t vns, uint64_t target)
{
	uint64_t wall = wall_vns(m, vns), reached = target;
	int fd = serial_wanted(m) ? m->config.serial_fd : -1;

	if (wall < target) {
		wait_input(fd, min64(target == NEVER ? NEVER : target - wall, idle_max(m)));
		reached = min64(target, wall_vns(m, vns));
	}
	if (reached > vns)
		m->config.clock->idle_ns += reached - vns;
	m->serial_due = 0;
}

static void idle_until(struct machine *m, uint64_t vns, uint64_t target)
{
	if (m->config.pace) {
		idle_paced(m, vns, target);
	} else if (target == NEVER) {
		wait_input(m->config.serial_fd, idle_max(m));
		m->serial_due = 0;
	} else if (target > vns) {
		m->config.clock->idle_ns += target - vns;
	}
}

static bool machine_idle(void *self, const struct vm_now *now)
{
	struct machine *m = self;
	uint64_t target;

	advance(m, now->vns);
	if (pic_pending(&m->pic) || m->sysctl.s.stop != STOP_NONE)
		return true;
	target = timer_deadline(m);
	if (target > VNS_END)
		target = NEVER;
	if (target == NEVER && !serial_can_wake(m))
		return false;
	idle_until(m, now->vns, target);
	m->quiet_until = 0;
	return true;
}

/* ---- told instead of read ---- */

int machine_acknowledge(struct machine *m)
{
	advance(m, clock_now(m->config.clock));
	m->quiet_until = 0;
	return pic_pending(&m->pic) ? pic_ack(&m->pic) : -1;
}

void machine_receive(struct machine *m, const uint8_t *bytes, size_t len)
{
	advance(m, clock_now(m->config.clock));
	uart_receive(&m->uart, bytes, len);
	m->quiet_until = 0;
}

/* ---- the public face ---- */

int machine_create(struct machine **out, const struct machine_config *config, struct vm_error *err)
{
	struct machine *m;

	BUG_ON(!config->clock);
	*out = NULL;
	if (config->rtc_epoch < 0 || config->rtc_epoch > RTC_EPOCH_MAX)
		return vm_fail(err, -EINVAL, "machine: the clock's start, %lld s, is not between the years 1970 and 9999",
		               (long long)config->rtc_epoch);
	m = calloc(1, sizeof(*m));
	if (!m)
		return vm_fail(err, -ENOMEM, "machine: out of memory");
	m->config = *config;
	add_devices(m);
	*out = m;
	return 0;
}

void machine_destroy(struct machine *m)
{
	free(m);
}

static size_t save_plug(void *self, uint8_t *buf, size_t room)
{
	return room < MACHINE_STATE_MAX ? 0 : machine_save(self, buf);
}

void machine_input(struct machine *m, struct vm_input *out)
{
	*out = (struct vm_input){
		.self = m,
		.pio_read = machine_pio_read,
		.pio_write = machine_pio_write,
		.mmio_read = machine_mmio_read,
		.mmio_write = machine_mmio_write,
		.tsc = machine_tsc,
		.poll = machine_poll,
		.idle = machine_idle,
		.save = save_plug,
	};
}
