/*
 * mem.c - what the inline accessors of mem.h leave over: odd segments, page walks, page crossers, alignment
 * checking, MMIO, code pages, watchpoints.
 *
 * The order of one access
 *   1. segment: #GP(0), #SS(0)
 *   2. alignment: #AC(0)
 *   3. page: #PF. A crosser's first page is probed, its second translated, and then its first: the first fault is
 *      the one told, and a fault on either leaves no mark on the other
 *   4. memory that is not RAM, and writes over decoded code: a running trace stops here with EXIT_MMIO or
 *      EXIT_CODE_WRITE, with nothing done but accessed and dirty bits; the engine steps that one instruction again,
 *      and then (or during emulation) goes on
 *   5. watchpoints are noted in db_pending; the bytes move
 *
 * Nothing here keeps a host pointer beyond the call. Callers: engines (real view), emulators, far.c, segment.c
 * (virtual view too).
 */
#include "vmm/cpu/mem.h"

#include "vmm/cpu/watch.h"

#define SPAN_PARTS 2

/* A linear range, at most two pages of it, translated. */
struct span {
	uint64_t gpa[SPAN_PARTS];
	unsigned len[SPAN_PARTS];
	unsigned parts;
};

/* ---- segments ---- */

static _Noreturn void limit_fault(struct vcpu *c, unsigned seg)
{
	vcpu_raise_error(c, seg == SEG_SS ? VEC_SS : VEC_GP, 0);
}

/* SDM vol. 3A 5.3. No access may wrap around the end of a segment, a flat one included. */
static bool limit_allows(const struct segment *s, uint32_t off, unsigned len)
{
	uint64_t last = (uint64_t)off + len - 1;

	if ((s->attr & (SEG_CODE | SEG_EXPAND)) != SEG_EXPAND)
		return last <= s->limit;
	return off > s->limit && last <= (s->attr & SEG_DB ? 0xffffffffu : 0xffffu);
}

/* SDM vol. 3A 5.5. Real and virtual-8086 mode do not look at the type. */
static bool type_allows(const struct vcpu *c, const struct segment *s, bool write)
{
	if (vcpu_real_mode(c) || (c->eflags & FL_VM))
		return true;
	if (s->attr & SEG_CODE)
		return !write && (s->attr & SEG_WRITABLE);
	return !write || (s->attr & SEG_WRITABLE);
}

static void check_segment(struct vcpu *c, unsigned seg, uint32_t off, unsigned len, bool write)
{
	const struct segment *s = &c->seg[seg];

	if (unlikely(!(s->attr & SEG_P) || !type_allows(c, s, write) || !limit_allows(s, off, len)))
		limit_fault(c, seg);
}

/* ---- alignment ---- */

/* SDM vol. 3A table 6-7; the odd sizes are 48-bit pointers, 80-bit reals, and FPU save areas of 16- and 32-bit form. */
static unsigned natural_alignment(unsigned len)
{
	switch (len) {
	case 1: return 1;
	case 2:
	case 14:
	case 94: return 2;
	case 8:
	case 10: return 8;
	case 16:
	case 512: return 16;
	default: return 4;
	}
}

static void check_alignment(struct vcpu *c, uint32_t lin, unsigned len)
{
	if (unlikely(c->mmu.all_slow) && (lin & (natural_alignment(len) - 1)))
		vcpu_raise_error(c, VEC_AC, 0);
}

/* ---- translation ---- */

/* May MMIO and code be touched now? Not by a running trace. */
static bool may_touch_all(const struct vcpu *c)
{
	return c->mmu.stepping || !c->real_view;
}

/* Leave the running trace: its instruction is done again, alone. */
static _Noreturn void leave_trace(struct vcpu *c, enum exit_reason reason)
{
	BUG_ON(!c->unwind);
	c->db_pending = 0;
	watch_forget(c);
	c->exit.reason = reason;
	c->exit.has_error = c->exit.trap = false;
	c->exit.has_insn = c->ip != NULL;
	if (c->ip)
		c->exit.insn = *c->ip;
	meter_exit(&c->meter);
	longjmp(*c->unwind, 1);
}

static uint64_t translate_part(struct vcpu *c, uint32_t lin, enum mmu_access access, enum mmu_context ctx)
{
	struct mmu_fault fault;
	uint64_t gpa;
	int rc;

	if (may_touch_all(c))
		rc = mmu_translate(&c->mmu, lin, access, ctx, &gpa, &fault);
	else
		rc = mmu_translate_running(&c->mmu, lin, access, ctx, &gpa, &fault);
	if (unlikely(rc == MMU_HITS_CODE))
		leave_trace(c, EXIT_CODE_WRITE);
	if (unlikely(rc))
		vcpu_raise_pf(c, &fault);
	return gpa;
}

static void probe_part(struct vcpu *c, uint32_t lin, enum mmu_access access, enum mmu_context ctx)
{
	struct mmu_fault fault;

	if (mmu_probe(&c->mmu, lin, access, ctx, &fault))
		vcpu_raise_pf(c, &fault);
}

static void check_touch(struct vcpu *c, uint64_t gpa, unsigned len, enum mmu_access access)
{
	if (may_touch_all(c))
		return;
	if (!ram_has(c->mmu.ram, gpa))
		leave_trace(c, EXIT_MMIO);
	if (access == MMU_WRITE && ram_holds_code(c->mmu.ram, gpa, len))
		leave_trace(c, EXIT_CODE_WRITE);
}

/* Steps 3 and 4. len: 1..4096 */
static void span_open(struct vcpu *c, struct span *s, uint32_t lin, unsigned len, enum mmu_access access,
                      enum mmu_context ctx)
{
	unsigned room = PAGE_SIZE - (lin & (PAGE_SIZE - 1));

	s->parts = 1;
	s->len[0] = len;
	if (unlikely(len > room)) {
		s->parts = 2;
		s->len[0] = room;
		s->len[1] = len - room;
		probe_part(c, lin, access, ctx);
		s->gpa[1] = translate_part(c, lin + room, access, ctx); /* wraps at 4 GiB */
	}
	s->gpa[0] = translate_part(c, lin, access, ctx);
	for (unsigned i = 0; i < s->parts; i++)
		check_touch(c, s->gpa[i], s->len[i], access);
	if (unlikely(c->watch) && !c->watch->open && !may_touch_all(c) && watch_wants(c, lin, len, access == MMU_WRITE))
		leave_trace(c, EXIT_WATCH);
}

/* ---- watchpoints, SDM vol. 3B 17.2.4, 17.2.5 ---- */

#define DR7_ENABLED(dr7, n) (((dr7) >> (2 * (n))) & 3)
#define DR7_RW(dr7, n) (((dr7) >> (16 + 4 * (n))) & 3)
#define DR7_LEN(dr7, n) (((dr7) >> (18 + 4 * (n))) & 3)
enum { DR7_RW_EXEC = 0, DR7_RW_WRITE = 1, DR7_RW_IO = 2, DR7_RW_ACCESS = 3 };

static bool data_breakpoint(uint32_t dr7, unsigned n)
{
	return DR7_ENABLED(dr7, n) && (DR7_RW(dr7, n) == DR7_RW_WRITE || DR7_RW(dr7, n) == DR7_RW_ACCESS);
}

/* Encoding 2 (8 bytes) is undefined before long mode: it watches 8. */
static unsigned breakpoint_len(uint32_t dr7, unsigned n)
{
	static const uint8_t lengths[4] = { 1, 2, 8, 4 };

	return lengths[DR7_LEN(dr7, n)];
}

static uint32_t breakpoint_base(const struct vcpu *c, unsigned n)
{
	return c->dr[n] & ~(breakpoint_len(c->dr[7], n) - 1);
}

static void match_watch(struct vcpu *c, uint32_t lin, unsigned len, bool write)
{
	for (unsigned n = 0; n < 4; n++) {
		uint32_t base = breakpoint_base(c, n);

		if (!data_breakpoint(c->dr[7], n) || (!write && DR7_RW(c->dr[7], n) == DR7_RW_WRITE))
			continue;
		if (base - lin < len || lin - base < breakpoint_len(c->dr[7], n)) /* differences modulo 4 GiB */
			c->db_pending |= 1u << n;
	}
}

/* The debugger's come first: the guest's know nothing of them. */
static void note_watch(struct vcpu *c, uint32_t lin, unsigned len, bool write)
{
	watch_note(c, lin, len, write);
	if (unlikely(c->mmu.watch_count))
		match_watch(c, lin, len, write);
}

void vcpu_update_watch(struct vcpu *c)
{
	uint32_t pages[4];
	unsigned count = 0;

	for (unsigned n = 0; n < 4; n++) {
		if (data_breakpoint(c->dr[7], n))
			pages[count++] = breakpoint_base(c, n) & (uint32_t)PAGE_MASK;
	}
	if (count || c->mmu.watch_count)
		mmu_set_watch(&c->mmu, pages, count);
}

/* ---- bytes ---- */

static uint64_t mmio_read(struct vcpu *c, uint64_t gpa, unsigned size)
{
	return c->hooks.mmio_read ? c->hooks.mmio_read(c->hooks.self, gpa, size) : ~0ull;
}

static void mmio_write(struct vcpu *c, uint64_t gpa, unsigned size, uint64_t value)
{
	if (c->hooks.mmio_write)
		c->hooks.mmio_write(c->hooks.self, gpa, size, value);
}

/* The largest access a bus does at once with so many bytes left; a page crosser goes byte by byte. */
static unsigned mmio_grain(const struct span *s, unsigned left)
{
	if (s->parts > 1 || left == 1)
		return 1;
	return left >= 8 ? 8 : left >= 4 ? 4 : 2;
}

static void mmio_read_part(struct vcpu *c, const struct span *s, unsigned part, uint8_t *out)
{
	for (unsigned done = 0, n; done < s->len[part]; done += n) {
		uint64_t v;

		n = mmio_grain(s, s->len[part] - done);
		v = mmio_read(c, s->gpa[part] + done, n);
		memcpy(out + done, &v, n);
	}
}

static void mmio_write_part(struct vcpu *c, const struct span *s, unsigned part, const uint8_t *in)
{
	for (unsigned done = 0, n; done < s->len[part]; done += n) {
		uint64_t v = 0;

		n = mmio_grain(s, s->len[part] - done);
		memcpy(&v, in + done, n);
		mmio_write(c, s->gpa[part] + done, n, v);
	}
}

static void span_read(struct vcpu *c, const struct span *s, void *buf)
{
	uint8_t *out = buf;

	for (unsigned i = 0; i < s->parts; out += s->len[i], i++) {
		if (likely(ram_has(c->mmu.ram, s->gpa[i])))
			memcpy(out, c->mmu.ram->host + s->gpa[i], s->len[i]);
		else
			mmio_read_part(c, s, i, out);
	}
}

static void span_write(struct vcpu *c, const struct span *s, const void *buf)
{
	const uint8_t *in = buf;

	for (unsigned i = 0; i < s->parts; in += s->len[i], i++) {
		if (likely(ram_has(c->mmu.ram, s->gpa[i])))
			ram_write(c->mmu.ram, s->gpa[i], in, s->len[i]);
		else
			mmio_write_part(c, s, i, in);
	}
}

/* ---- accesses through a segment ---- */

/* Everything up to moving bytes. Returns the linear address. */
static uint32_t open_access(struct vcpu *c, struct span *s, unsigned seg, uint32_t off, unsigned len,
                            enum mmu_access access)
{
	uint32_t lin = mem_linear(c, seg, off);

	check_segment(c, seg, off, len, access == MMU_WRITE);
	check_alignment(c, lin, len);
	span_open(c, s, lin, len, access, c->mmu.context);
	return lin;
}

uint64_t mem_read_slow(struct vcpu *c, unsigned seg, uint32_t off, unsigned size)
{
	struct span s;
	uint32_t lin = open_access(c, &s, seg, off, size, MMU_READ);
	uint64_t v = 0;

	BUG_ON(size > sizeof(v));
	note_watch(c, lin, size, false);
	span_read(c, &s, &v);
	return v;
}

void mem_write_slow(struct vcpu *c, unsigned seg, uint32_t off, unsigned size, uint64_t value)
{
	struct span s;
	uint32_t lin = open_access(c, &s, seg, off, size, MMU_WRITE);

	BUG_ON(size > sizeof(value));
	note_watch(c, lin, size, true);
	span_write(c, &s, &value);
}

void mem_check_write(struct vcpu *c, unsigned seg, uint32_t off, unsigned size)
{
	struct span s;

	open_access(c, &s, seg, off, size, MMU_WRITE);
}

void mem_check_read(struct vcpu *c, unsigned seg, uint32_t off, unsigned size)
{
	struct span s;

	open_access(c, &s, seg, off, size, MMU_READ);
}

void mem_read_bytes(struct vcpu *c, unsigned seg, uint32_t off, void *buf, unsigned len)
{
	struct span s;
	uint32_t lin;

	BUG_ON(len > 512);
	if (!len)
		return;
	lin = open_access(c, &s, seg, off, len, MMU_READ);
	note_watch(c, lin, len, false);
	span_read(c, &s, buf);
}

void mem_write_bytes(struct vcpu *c, unsigned seg, uint32_t off, const void *buf, unsigned len)
{
	struct span s;
	uint32_t lin;

	BUG_ON(len > 512);
	if (!len)
		return;
	lin = open_access(c, &s, seg, off, len, MMU_WRITE);
	note_watch(c, lin, len, true);
	span_write(c, &s, buf);
}

/* ---- accesses by the processor itself ---- */

uint64_t mem_sys_read(struct vcpu *c, uint32_t lin, unsigned size)
{
	const struct tlb_entry *e = &c->mmu.fast[MMU_SUPERVISOR][mmu_index(lin)];
	uint64_t v = 0;
	struct span s;

	BUG_ON(size > sizeof(v));
	if (likely(e->read == (((uint64_t)lin + size - 1) & PAGE_MASK))) {
		memcpy(&v, (const void *)(lin + e->addend), size);
		return v;
	}
	span_open(c, &s, lin, size, MMU_READ, MMU_SUPERVISOR);
	watch_note(c, lin, size, false);
	span_read(c, &s, &v);
	return v;
}

void mem_sys_write(struct vcpu *c, uint32_t lin, unsigned size, uint64_t value)
{
	const struct tlb_entry *e = &c->mmu.fast[MMU_SUPERVISOR][mmu_index(lin)];
	struct span s;

	BUG_ON(size > sizeof(value));
	if (likely(e->write == (((uint64_t)lin + size - 1) & PAGE_MASK))) {
		memcpy((void *)(lin + e->addend), &value, size);
		return;
	}
	span_open(c, &s, lin, size, MMU_WRITE, MMU_SUPERVISOR);
	watch_note(c, lin, size, true);
	span_write(c, &s, &value);
}

void mem_sys_check(struct vcpu *c, uint32_t lin, unsigned len, bool write)
{
	enum mmu_access access = write ? MMU_WRITE : MMU_READ;
	unsigned done, part;

	BUG_ON(len > 8192);
	for (done = 0; done < len; done += part) { /* all faults first, then the marks */
		part = PAGE_SIZE - ((lin + done) & (PAGE_SIZE - 1));
		probe_part(c, lin + done, access, MMU_SUPERVISOR);
	}
	for (done = 0; done < len; done += part) {
		struct span s;

		part = PAGE_SIZE - ((lin + done) & (PAGE_SIZE - 1));
		if (part > len - done)
			part = len - done;
		span_open(c, &s, lin + done, part, access, MMU_SUPERVISOR);
	}
}
