/*
 * io.c - IN, OUT, INS, OUTS. The only way from the guest to a device's port: VM input (vm.h).
 *
 * The guest's right to the port is its own: CPL <= IOPL, else the I/O bitmap of its own TSS (SDM vol. 1 19.5). Memory is checked before the port is touched: a
 * device read cannot be taken back. A `rep` is one event, of at most max_iterations elements; one that meets a fault ends
 * before the faulting element with what it has done, and faults when it is run again.
 */
#include "vmm/emul/handlers.h"

#include <string.h>
#include <x86intrin.h>

#include "vmm/cpu/far.h"

static void require_port(struct vcpu *c, uint16_t port, unsigned size)
{
	if (!io_permitted(c, port, size))
		vcpu_raise_error(c, VEC_GP, 0);
}

static uint32_t port_read(struct emul_ctx *x, uint16_t port, unsigned size)
{
	uint64_t begin = x->timed ? __rdtsc() : 0;
	uint32_t value = x->input->pio_read(x->input->self, port, size);

	if (x->timed)
		x->device_cycles += __rdtsc() - begin;
	return value;
}

static void port_write(struct emul_ctx *x, uint16_t port, unsigned size, uint32_t value)
{
	uint64_t begin = x->timed ? __rdtsc() : 0;

	x->input->pio_write(x->input->self, port, size, value);
	if (x->timed)
		x->device_cycles += __rdtsc() - begin;
}

/* DR7 breakpoints on ports (R/W = 2, with CR4.DE), SDM vol. 3B 17.2.4. */
static void note_io_breakpoint(struct vcpu *c, uint16_t port, unsigned size)
{
	static const uint8_t lengths[4] = { 1, 2, 8, 4 };

	if (!(c->cr4 & CR4_DE))
		return;
	for (unsigned n = 0; n < 4; n++) {
		unsigned len = lengths[c->dr[7] >> (18 + 4 * n) & 3];
		uint32_t base = c->dr[n] & ~(len - 1);

		if ((c->dr[7] >> (2 * n) & 3) && (c->dr[7] >> (16 + 4 * n) & 3) == 2 && port < base + len &&
		    base < port + size)
			c->db_pending |= 1u << n;
	}
}

static uint16_t operand_port(const struct emul_ctx *x)
{
	return x->in->flags & IF_DX ? (uint16_t)x->c->gpr[R_DX] : (uint8_t)x->in->imm;
}

static void set_accumulator(struct vcpu *c, unsigned size, uint32_t value)
{
	if (size == 1)
		GPR8(c, 8 * R_AX) = (uint8_t)value;
	else if (size == 2)
		GPR16(c, 8 * R_AX) = (uint16_t)value;
	else
		GPR32(c, 8 * R_AX) = value;
}

static uint32_t size_mask(unsigned size)
{
	return size == 4 ? 0xffffffffu : (1u << 8 * size) - 1;
}

static void set_event(struct emul_ctx *x, uint16_t port, uint64_t value, bool write)
{
	x->ev->kind = EV_PIO;
	x->ev->addr = port;
	x->ev->value = value;
	x->ev->size = x->in->opsize;
	x->ev->flags |= write ? EVF_WRITE : 0;
}

void emul_in(struct emul_ctx *x)
{
	uint16_t port = operand_port(x);
	unsigned size = x->in->opsize;
	uint32_t value;

	require_port(x->c, port, size);
	value = port_read(x, port, size) & size_mask(size);
	note_io_breakpoint(x->c, port, size);
	set_accumulator(x->c, size, value);
	set_event(x, port, value, false);
	emul_advance(x);
}

void emul_out(struct emul_ctx *x)
{
	uint16_t port = operand_port(x);
	unsigned size = x->in->opsize;
	uint32_t value = (uint32_t)x->c->gpr[R_AX] & size_mask(size);

	require_port(x->c, port, size);
	port_write(x, port, size, value);
	note_io_breakpoint(x->c, port, size);
	set_event(x, port, value, true);
	emul_advance(x);
}

/* ---- strings ---- */

static uint32_t index_mask(const struct insn *in)
{
	return in->asize == 4 ? 0xffffffffu : 0xffffu;
}

static uint32_t index_get(const struct emul_ctx *x, unsigned reg)
{
	return (uint32_t)x->c->gpr[reg] & index_mask(x->in);
}

static void index_set(struct emul_ctx *x, unsigned reg, uint32_t value)
{
	uint32_t mask = index_mask(x->in);

	x->c->gpr[reg] = ((uint32_t)x->c->gpr[reg] & ~mask) | (value & mask);
}

static void mem_write_element(struct vcpu *c, uint32_t off, unsigned size, uint32_t value)
{
	if (size == 1)
		mem_write8(c, SEG_ES, off, (uint8_t)value);
	else if (size == 2)
		mem_write16(c, SEG_ES, off, (uint16_t)value);
	else
		mem_write32(c, SEG_ES, off, value);
}

static uint32_t mem_read_element(struct vcpu *c, unsigned seg, uint32_t off, unsigned size)
{
	return size == 1 ? mem_read8(c, seg, off) : size == 2 ? mem_read16(c, seg, off) : mem_read32(c, seg, off);
}

/* One element; whatever raises does so before the port is touched. */
static void ins_element(struct emul_ctx *x, uint16_t port, uint8_t *data)
{
	unsigned size = x->in->opsize;
	uint32_t off = index_get(x, R_DI), value;

	mem_check_write(x->c, SEG_ES, off, size);
	value = port_read(x, port, size) & size_mask(size);
	memcpy(data, &value, size); /* little-endian host */
	mem_write_element(x->c, off, size, value);
}

static void outs_element(struct emul_ctx *x, uint16_t port, uint8_t *data)
{
	unsigned size = x->in->opsize;
	uint32_t value = mem_read_element(x->c, x->in->seg, index_get(x, R_SI), size);

	memcpy(data, &value, size);
	port_write(x, port, size, value);
}

typedef void element_fn(struct emul_ctx *x, uint16_t port, uint8_t *data);

/* Elements one event may hold: what is asked, the budget allows, and the blob takes; one when single-stepping. */
static uint64_t elements_now(const struct emul_ctx *x, uint64_t wanted)
{
	uint64_t n = wanted;

	if (n && (x->c->eflags & FL_TF))
		n = 1;
	if (n > x->max_iterations)
		n = x->max_iterations;
	if (n > EMUL_BLOB_MAX / x->in->opsize)
		n = EMUL_BLOB_MAX / x->in->opsize;
	return n;
}

/* Runs elements until `limit`, a debug breakpoint, or a fault after the first; returns how many were done. */
static uint64_t run_elements(struct emul_ctx *x, uint64_t limit, uint16_t port, unsigned reg, element_fn *element)
{
	struct vcpu *c = x->c;
	uint32_t step = c->eflags & FL_DF ? 0u - x->in->opsize : x->in->opsize;
	bool rep = x->in->flags & (IF_REP | IF_REPNE);
	jmp_buf *outer = c->unwind, landing;
	volatile uint64_t done = 0;

	c->unwind = &landing;
	if (!_setjmp(landing)) {
		while (done < limit && !c->db_pending) {
			element(x, port, x->blob + done * x->in->opsize);
			note_io_breakpoint(c, port, x->in->opsize);
			index_set(x, reg, index_get(x, reg) + step);
			if (rep)
				index_set(x, R_CX, index_get(x, R_CX) - 1);
			done++;
		}
	} else if (!done) {
		c->unwind = outer;
		longjmp(*outer, 1);
	}
	c->unwind = outer;
	return done;
}

static void string_io(struct emul_ctx *x, unsigned reg, element_fn *element, bool write)
{
	uint16_t port = (uint16_t)x->c->gpr[R_DX];
	bool rep = x->in->flags & (IF_REP | IF_REPNE);
	uint64_t wanted = rep ? index_get(x, R_CX) : 1, done;

	require_port(x->c, port, x->in->opsize);
	done = run_elements(x, elements_now(x, wanted), port, reg, element);
	set_event(x, port, done, write);
	x->ev->blob = x->blob;
	x->ev->blob_len = (uint32_t)(done * x->in->opsize);
	x->iterations = done ? done : 1;
	x->finished = done == wanted;
	if (x->finished)
		emul_advance(x);
}

void emul_ins(struct emul_ctx *x)
{
	string_io(x, R_DI, ins_element, false);
}

void emul_outs(struct emul_ctx *x)
{
	string_io(x, R_SI, outs_element, true);
}
