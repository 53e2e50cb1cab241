/*
 * stack.c - the stack frames of far transfers and interrupts.
 *
 * A frame is collected, checked as a whole, and then written, so that a transfer that faults half way has pushed nothing. Pushes to the
 * present stack go through SS like any other; pushes to the stack of a ring being entered are supervisor accesses by
 * linear address, because neither SS nor the CPL has changed yet. Called by far.c, gate.c, iret.c, intr.c and task.c only.
 */
#include <string.h>

#include "vmm/cpu/far_internal.h"
#include "vmm/cpu/mem.h"

static uint32_t stack_size_mask(const struct segment *ss)
{
	return ss->attr & SEG_DB ? 0xffffffffu : 0xffffu;
}

void stack_current(const struct vcpu *c, struct stack *st)
{
	st->ss = c->seg[SEG_SS];
	st->esp = (uint32_t)c->gpr[R_SP];
	st->inner = false;
}

void stack_inner(struct vcpu *c, unsigned cpl, uint32_t ext, struct stack *st)
{
	struct descriptor d;
	unsigned vector;
	uint16_t sel;

	tss_stack_ext(c, cpl, ext, &sel, &st->esp);
	far_read_descriptor(c, sel, VEC_TS, ext, &d);
	vector = segment_judge(SEG_SS, d.attr, sel, cpl);
	if (vector)
		vcpu_raise_error(c, vector == VEC_SS ? VEC_SS : VEC_TS, sel_error(sel) | ext);
	descriptor_set_accessed(c, &d);
	segment_set(&st->ss, sel, d.base, d.limit, d.attr, d.attr);
	st->inner = true;
}

/* Do [off, off + len) lie inside a data segment? Expand-down: above the limit (SDM vol. 3A 5.3). */
static bool segment_holds(const struct segment *s, uint32_t off, unsigned len)
{
	uint64_t last = (uint64_t)off + len - 1;

	if (!(s->attr & SEG_S) || s->attr & SEG_CODE || !(s->attr & SEG_WRITABLE))
		return false;
	if (s->attr & SEG_EXPAND)
		return off > s->limit && last <= stack_size_mask(s);
	return last <= s->limit;
}

static void check_piece(struct vcpu *c, const struct stack *st, uint32_t off, unsigned len, uint32_t ss_error)
{
	if (!segment_holds(&st->ss, off, len))
		vcpu_raise_error(c, VEC_SS, ss_error);
	if (st->inner)
		mem_sys_check(c, (uint32_t)(st->ss.base + off), len, true);
	else if (len <= 4) /* longer ones are the whole frame: mem_write_bytes() checks that itself */
		mem_check_write(c, SEG_SS, off, len);
}

static void write_piece(struct vcpu *c, const struct stack *st, uint32_t off, const void *data, unsigned len)
{
	const uint8_t *p = data;
	uint16_t v;

	if (!st->inner) {
		mem_write_bytes(c, SEG_SS, off, data, len);
		return;
	}
	for (unsigned i = 0; i < len; i += 2) {
		memcpy(&v, p + i, 2);
		mem_sys_write(c, (uint32_t)(st->ss.base + off + i), 2, v);
	}
}

/* As it will lie in memory: last push lowest. Returns its length in bytes. */
static unsigned frame_bytes(const struct frame *f, uint8_t *out)
{
	for (unsigned i = 0; i < f->count; i++)
		memcpy(out + (f->count - 1 - i) * f->size, &f->value[i], f->size); /* little-endian host */
	return f->count * f->size;
}

void stack_push(struct vcpu *c, struct stack *st, const struct frame *f, uint32_t ss_error)
{
	uint8_t bytes[sizeof(f->value)];
	unsigned len = frame_bytes(f, bytes);
	uint32_t mask = stack_size_mask(&st->ss);
	uint32_t low = (st->esp - len) & mask;
	bool whole = (st->esp & mask) >= len && !c->mmu.all_slow;
	unsigned piece =
	        whole ? len : f->size; /* one by one where the frame wraps, or each push has its alignment checked */

	for (unsigned i = 0; i < len; i += piece)
		check_piece(c, st, (low + i) & mask, piece, ss_error);
	for (unsigned i = 0; i < len; i += piece)
		write_piece(c, st, (low + i) & mask, bytes + i, piece);
	st->esp = (st->esp & ~mask) | low;
}

void stack_commit(struct vcpu *c, const struct stack *st)
{
	if (st->inner)
		c->seg[SEG_SS] = st->ss;
	c->gpr[R_SP] = st->esp;
}

uint32_t stack_peek(struct vcpu *c, unsigned i, unsigned size, unsigned skip)
{
	uint32_t off = ((uint32_t)c->gpr[R_SP] + skip + i * size) & stack_mask(c);

	return size == 2 ? mem_read16(c, SEG_SS, off) : mem_read32(c, SEG_SS, off);
}

void stack_release(struct vcpu *c, uint32_t bytes)
{
	uint32_t mask = stack_mask(c), esp = (uint32_t)c->gpr[R_SP];

	c->gpr[R_SP] = (esp & ~mask) | ((esp + bytes) & mask);
}
