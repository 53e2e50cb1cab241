/*
 * task.c - hardware tasks: the switch (SDM vol. 3A 7.3), inner stacks and the I/O permission bitmap of the current TSS. Virtual view.
 *
 * A switch has a point of no return. Before it everything that can fault in the old task is checked: the descriptor, and that both TSSs
 * and the descriptors can be accessed. After it faults belong to the new task, whose rip is already in force.
 *
 *     source      old busy   new busy   old NT saved   new NT    back link
 *     JMP         cleared    set        as is          as is     no
 *     CALL, INTR  stays      set        as is          set       to old
 *     IRET        cleared    stays      cleared        as is     no
 *
 * Called by gate.c (JMP, CALL), iret.c and intr.c.
 */
#include "vmm/cpu/far_internal.h"
#include "vmm/cpu/mem.h"

#define DR6_BT (1u << 15)
#define DR7_LOCAL 0x155u /* L0..L3 and LE: cleared by every task switch, SDM vol. 3B 17.2.4 */
#define IOMAP_FIELD 0x66
#define TSS32_MIN_LIMIT 0x67u
#define TSS16_MIN_LIMIT 0x2bu

/* Where a TSS keeps what (SDM vol. 3A figures 7-2 and 7-10). Registers and segments follow each other in encoding order. */
struct tss_layout {
	uint8_t width;     /* of a register field */
	uint8_t seg_width; /* distance of segment fields */
	uint8_t stack, eip, eflags, gpr, seg, segs, ldt;
	uint8_t saved, saved_end; /* what a switch writes */
	uint32_t min_limit;
};
static const struct tss_layout layout16 = { 2, 2, 2, 14, 16, 18, 34, 4, 42, 14, 42, TSS16_MIN_LIMIT };
static const struct tss_layout layout32 = { 4, 4, 4, 0x20, 0x24, 0x28, 0x48, 6, 0x60, 0x20, 0x60, TSS32_MIN_LIMIT };
#define TSS32_CR3 0x1c
#define TSS32_TRAP 0x64

struct tss_image {
	uint32_t cr3, eip, eflags, gpr[8];
	uint16_t seg[SEG_COUNT], ldt;
	bool trap;
};

struct task {
	const struct tss_layout *layout;
	uint32_t base;
};

struct switching {
	enum task_source source;
	uint16_t sel;
	uint32_t ext; /* EXT bit for error codes of the new task's loads */
	uint32_t saved_eip, saved_eflags;
	struct descriptor d; /* of the new TSS */
	struct task from, to;
};

static const struct tss_layout *layout_of(uint16_t attr)
{
	return attr & SYS_32 ? &layout32 : &layout16;
}

static bool nests(enum task_source source)
{
	return source == TASK_CALL || source == TASK_INTR;
}

static void judge_tss(struct vcpu *c, struct switching *s)
{
	unsigned bad = s->source == TASK_IRET ? VEC_TS : VEC_GP;
	uint32_t error = sel_error(s->sel) | s->ext;
	unsigned type;

	if (!(s->sel & ~SEL_RPL) || (s->sel & SEL_LDT) || !descriptor_read(c, s->sel, &s->d))
		vcpu_raise_error(c, bad, error);
	type = s->d.attr & (SEG_S | SEG_TYPE) & ~SYS_32;
	if (type != (s->source == TASK_IRET ? SYS_TSS16_BUSY : SYS_TSS16))
		vcpu_raise_error(c, bad, error);
	if (!(s->d.attr & SEG_P))
		vcpu_raise_error(c, VEC_NP, error);
	s->to.layout = layout_of(s->d.attr);
	s->to.base = s->d.base;
	if (s->d.limit < s->to.layout->min_limit)
		vcpu_raise_error(c, VEC_TS, error);
}

static uint32_t tr_descriptor(const struct vcpu *c)
{
	return c->gdtr.base + (c->tr.sel & ~7u);
}

/* The last faults of the old task. */
static void check_pages(struct vcpu *c, const struct switching *s)
{
	const struct tss_layout *old = s->from.layout;

	mem_sys_check(c, s->from.base + old->saved, old->saved_end - old->saved, true);
	mem_sys_check(c, s->to.base, s->to.layout->min_limit + 1, false);
	if (nests(s->source))
		mem_sys_check(c, s->to.base, 2, true);
	else
		mem_sys_check(c, tr_descriptor(c) + 5, 1, true);
	if (s->source != TASK_IRET)
		mem_sys_check(c, s->d.lin + 5, 1, true);
}

static void save_old(struct vcpu *c, const struct switching *s)
{
	const struct tss_layout *l = s->from.layout;
	uint32_t base = s->from.base;

	mem_sys_write(c, base + l->eip, l->width, s->saved_eip & offset_mask(l->width));
	mem_sys_write(c, base + l->eflags, l->width, s->saved_eflags & offset_mask(l->width));
	for (unsigned i = 0; i < 8; i++)
		mem_sys_write(c, base + l->gpr + i * l->width, l->width, (uint32_t)c->gpr[i] & offset_mask(l->width));
	for (unsigned i = 0; i < l->segs; i++)
		mem_sys_write(c, base + l->seg + i * l->seg_width, 2, c->seg[i].sel);
}

static void set_busy(struct vcpu *c, uint32_t lin, bool busy)
{
	uint8_t access = (uint8_t)mem_sys_read(c, lin + 5, 1);

	mem_sys_write(c, lin + 5, 1, busy ? access | SYS_BUSY : access & ~(unsigned)SYS_BUSY);
}

static struct tss_image read_new(struct vcpu *c, const struct task *t)
{
	const struct tss_layout *l = t->layout;
	bool wide = l == &layout32;
	struct tss_image im = {
		.eip = (uint32_t)mem_sys_read(c, t->base + l->eip, l->width),
		.eflags = (uint32_t)mem_sys_read(c, t->base + l->eflags, l->width),
		.ldt = (uint16_t)mem_sys_read(c, t->base + l->ldt, 2),
	};

	for (unsigned i = 0; i < 8; i++) /* a 16-bit TSS leaves ones in the upper halves, as processors do */
		im.gpr[i] =
		        (uint32_t)mem_sys_read(c, t->base + l->gpr + i * l->width, l->width) | (wide ? 0 : 0xffff0000u);
	for (unsigned i = 0; i < l->segs; i++)
		im.seg[i] = (uint16_t)mem_sys_read(c, t->base + l->seg + i * l->seg_width, 2);
	if (wide) {
		im.cr3 = (uint32_t)mem_sys_read(c, t->base + TSS32_CR3, 4);
		im.trap = mem_sys_read(c, t->base + TSS32_TRAP, 2) & 1;
	}
	return im;
}

/* The point of no return: TR, CR0.TS, CR3, registers; segment registers hold selectors only. */
static void commit(struct vcpu *c, const struct switching *s, const struct tss_image *im)
{
	uint32_t eflags = (im->eflags & (FL_WRITABLE | FL_RF | FL_VM)) | FL_FIXED;

	segment_set(&c->tr, s->sel, s->d.base, s->d.limit, s->d.attr | SYS_BUSY, s->d.attr | SYS_BUSY);
	c->cr0 |= CR0_TS;
	if (s->to.layout == &layout32 && (c->cr0 & CR0_PG))
		c->cr3 = im->cr3;
	mmu_set_paging(&c->mmu, c->cr0, c->cr3, c->cr4, s->to.layout == &layout32 && (c->cr0 & CR0_PG));
	c->cpl = eflags & FL_VM ? 3 : im->seg[SEG_CS] & SEL_RPL;
	vcpu_set_eflags(c, eflags | (nests(s->source) ? FL_NT : 0));
	c->rip = im->eip;
	for (unsigned i = 0; i < 8; i++)
		c->gpr[i] = im->gpr[i];
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_set(&c->seg[i], im->seg[i], 0, 0, 0, 0);
	segment_set(&c->ldtr, im->ldt, 0, 0, 0, 0);
	c->dr[7] &= ~DR7_LOCAL;
	vcpu_update_watch(c);
	cpu_sync_context(c);
}

static void load_ldt(struct vcpu *c, uint16_t sel, uint32_t ext)
{
	struct descriptor d;

	if (!(sel & ~SEL_RPL))
		return;
	if ((sel & SEL_LDT) || !descriptor_read(c, sel, &d) || (d.attr & (SEG_P | SEG_S | SEG_TYPE)) != (SEG_P | SYS_LDT))
		vcpu_raise_error(c, VEC_TS, sel_error(sel) | ext);
	segment_set(&c->ldtr, sel, d.base, d.limit, d.attr, d.attr);
}

static void load_code(struct vcpu *c, uint16_t sel, uint32_t ext)
{
	struct descriptor d;
	unsigned rpl = sel & SEL_RPL;
	bool allowed;

	far_read_descriptor(c, sel, VEC_TS, ext, &d);
	allowed = attr_conforming(d.attr) ? attr_dpl(d.attr) <= rpl : attr_dpl(d.attr) == rpl;
	if (!attr_is_code(d.attr) || !allowed)
		vcpu_raise_error(c, VEC_TS, sel_error(sel) | ext);
	if (!(d.attr & SEG_P))
		vcpu_raise_error(c, VEC_NP, sel_error(sel) | ext);
	descriptor_set_accessed(c, &d);
	far_set_code(c, sel, &d, rpl);
}

static void load_data(struct vcpu *c, unsigned seg, uint16_t sel, uint32_t ext)
{
	struct descriptor d;
	unsigned vector;

	if (!(sel & ~SEL_RPL) && seg != SEG_SS)
		return;
	far_read_descriptor(c, sel, VEC_TS, ext, &d);
	vector = segment_judge(seg, d.attr, sel, c->cpl);
	if (vector)
		vcpu_raise_error(c, vector == VEC_GP ? VEC_TS : vector, sel_error(sel) | ext);
	descriptor_set_accessed(c, &d);
	segment_set(&c->seg[seg], sel, d.base, d.limit, d.attr, d.attr);
}

/* In the new task's context: its faults report its rip. */
static void load_segments(struct vcpu *c, const struct tss_image *im, uint32_t ext)
{
	static const uint8_t data[] = { SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS };

	load_ldt(c, im->ldt, ext);
	if (c->eflags & FL_VM) {
		for (unsigned i = 0; i < SEG_COUNT; i++)
			segment_load_vm86(c, i, im->seg[i]);
	} else {
		load_code(c, im->seg[SEG_CS], ext);
		for (unsigned i = 0; i < sizeof(data); i++)
			load_data(c, data[i], im->seg[data[i]], ext);
	}
}

static void push_error(struct vcpu *c, unsigned size, uint32_t error, uint32_t ext)
{
	struct frame f = { .size = size };
	struct stack st;

	stack_current(c, &st);
	frame_add(&f, error);
	stack_push(c, &st, &f, ext);
	stack_commit(c, &st);
}

/* T bit: #DB before the first instruction of the new task. An instruction that switched has completed, so it stays pending for its
 * end; during delivery it is raised, as a benign second exception. */
static void debug_trap(struct vcpu *c, enum task_source source)
{
	if (source != TASK_INTR) {
		c->db_pending |= DR6_BT;
		return;
	}
	c->dr[6] |= DR6_BT;
	vcpu_raise(c, VEC_DB);
}

static void switch_tasks(struct vcpu *c, struct switching *s, bool has_error, uint32_t error)
{
	struct tss_image im;

	judge_tss(c, s);
	s->from.layout = layout_of(c->tr.attr);
	s->from.base = (uint32_t)c->tr.base;
	check_pages(c, s);
	save_old(c, s);
	if (!nests(s->source))
		set_busy(c, tr_descriptor(c), false);
	else
		mem_sys_write(c, s->to.base, 2, c->tr.sel);
	if (s->source != TASK_IRET)
		set_busy(c, s->d.lin, true);
	im = read_new(c, &s->to);
	commit(c, s, &im);
	load_segments(c, &im, s->ext);
	if (has_error)
		push_error(c, s->to.layout->width, error, s->ext);
	if (c->rip > c->seg[SEG_CS].limit)
		vcpu_raise_error(c, VEC_GP, s->ext);
	if (im.trap)
		debug_trap(c, s->source);
}

void task_switch(struct vcpu *c, uint16_t tss_sel, enum task_source source, uint32_t next_eip, bool has_error,
                 uint32_t error)
{
	struct switching s = {
		.source = source,
		.sel = tss_sel,
		.saved_eip = next_eip,
		.saved_eflags = vcpu_get_eflags(c) & ~(FL_RF | (source == TASK_IRET ? FL_NT : 0)),
	};

	switch_tasks(c, &s, has_error, error);
}

void task_switch_intr(struct vcpu *c, uint16_t tss_sel, const struct intr *in, uint32_t eflags_saved, uint32_t ext)
{
	struct switching s = {
		.source = TASK_INTR,
		.sel = tss_sel,
		.ext = ext,
		.saved_eip = in->next_eip,
		.saved_eflags = eflags_saved,
	};

	switch_tasks(c, &s, in->has_error, in->error);
}

void tss_stack_ext(struct vcpu *c, unsigned cpl, uint32_t ext, uint16_t *ss, uint32_t *esp)
{
	const struct tss_layout *l = layout_of(c->tr.attr);
	uint32_t slot = l->stack + cpl * 2 * l->width;
	uint32_t base = (uint32_t)c->tr.base;

	if (!c->tr.attr || slot + l->width + 1u > c->tr.limit)
		vcpu_raise_error(c, VEC_TS, sel_error(c->tr.sel) | ext);
	*esp = (uint32_t)mem_sys_read(c, base + slot, l->width);
	*ss = (uint16_t)mem_sys_read(c, base + slot + l->width, 2);
}

void tss_stack(struct vcpu *c, unsigned cpl, uint16_t *ss, uint32_t *esp)
{
	tss_stack_ext(c, cpl, 0, ss, esp);
}

/* SDM vol. 1 19.5.2. The processor reads two bytes of the bitmap always, so the one after the last must exist. */
static bool bitmap_permits(struct vcpu *c, uint16_t port, unsigned size)
{
	uint32_t base = (uint32_t)c->tr.base, at;
	uint32_t bits;

	if ((c->tr.attr & SEG_TYPE & ~SYS_BUSY) != SYS_TSS32 || c->tr.limit < TSS32_MIN_LIMIT)
		return false;
	at = (uint32_t)mem_sys_read(c, base + IOMAP_FIELD, 2) + port / 8;
	if (at + 1 > c->tr.limit)
		return false;
	bits = (uint32_t)mem_sys_read(c, base + at, 2) >> (port % 8);
	return !(bits & ((1u << size) - 1));
}

bool io_permitted(struct vcpu *c, uint16_t port, unsigned size)
{
	unsigned iopl = (c->eflags & FL_IOPL) >> FL_IOPL_SHIFT;

	if (vcpu_real_mode(c) || (!vcpu_vm86(c) && c->cpl <= iopl))
		return true;
	return bitmap_permits(c, port, size);
}
