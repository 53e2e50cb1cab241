/*
 * test_emul.c - the emulation handlers, from instruction bytes: who may run them, what they do, what the event says.
 */
#include "cpu_fixture.h"

#include "vmm/emul/emul.h"

#define DATA 0x6000u /* where EBX points */

static struct {
	struct emul_ctx x;
	struct event ev;
	struct insn in;
	uint8_t blob[EMUL_BLOB_MAX];
	uint16_t port;
	unsigned size, reads, writes;
	uint32_t written[64], next;
	uint64_t tsc, budget;
} bench;

static uint32_t pio_read(void *self, uint16_t port, unsigned size)
{
	(void)self;
	bench.port = port;
	bench.size = size;
	bench.reads++;
	return bench.next++;
}

static void pio_write(void *self, uint16_t port, unsigned size, uint32_t value)
{
	(void)self;
	bench.port = port;
	bench.size = size;
	bench.written[bench.writes++ % 64] = value;
}

static uint64_t tsc(void *self)
{
	(void)self;
	return bench.tsc;
}

static const struct vm_input input = { .pio_read = pio_read, .pio_write = pio_write, .tsc = tsc };

static unsigned mode_of(const struct vcpu *c)
{
	return (c->seg[SEG_CS].attr & SEG_DB ? MODE_CS32 : 0) | (c->seg[SEG_SS].attr & SEG_DB ? MODE_SS32 : 0);
}

static void run(struct machine *t, const uint8_t *bytes, unsigned len)
{
	uint8_t padded[15] = { 0 };

	memcpy(padded, bytes, len);
	assert_int_equal(insn_decode(&bench.in, padded, 15, mode_of(&t->c), 0), len);
	bench.ev = (struct event){ .icount = 1000, .kind = EV_FAULT, .size = bench.in.opsize };
	bench.x = (struct emul_ctx){ .c = &t->c,
		                     .in = &bench.in,
		                     .input = &input,
		                     .ev = &bench.ev,
		                     .blob = bench.blob,
		                     .max_iterations = bench.budget };
	assert_true(emul_has(bench.in.op));
	emul_run(&bench.x);
}

#define RUN(t, ...) run(t, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))
#define RUNS(t, ...) WORKS(t, RUN(t, __VA_ARGS__))
#define RAISES(t, vec, err, ...) FAULTS(t, vec, err, RUN(t, __VA_ARGS__))

static int setup_emul(void **state)
{
	struct machine *t;

	memset(&bench, 0, sizeof(bench));
	bench.budget = UINT64_MAX;
	if (setup(state))
		return -1;
	t = *state;
	t->c.gpr[R_BX] = DATA;
	return 0;
}

static void flags_at_cpl0(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	vcpu_set_eflags(c, FL_IF | FL_CF | FL_RF | FL_ID);
	RUNS(t, 0x9c); /* pushf */
	assert_int_equal(stacked(t, 0), FL_FIXED | FL_IF | FL_CF | FL_ID);
	assert_int_equal(bench.ev.value, FL_FIXED | FL_IF | FL_CF | FL_ID);
	assert_int_equal(c->rip, 0x5001);
	put(t, esp(t), 4, FL_IOPL | FL_NT | FL_AC | FL_VM | FL_TF | FL_ZF);
	RUNS(t, 0x9d); /* popf */
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_IOPL | FL_NT | FL_AC | FL_TF | FL_ZF);
	assert_int_equal(esp(t), 0x7000);
	put(t, 0x7000, 2, FL_IF);
	RUNS(t, 0x66, 0x9d);
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_AC | FL_IF);
	RUNS(t, 0xfa); /* cli */
	assert_false(c->eflags & FL_IF);
	assert_int_equal(c->inhibit_icount, UINT64_MAX);
	RUNS(t, 0xfb); /* sti */
	assert_true(c->eflags & FL_IF);
	assert_int_equal(c->inhibit_icount, 1001);
	c->inhibit_icount = UINT64_MAX;
	RUNS(t, 0xfb); /* IF was set already: no shadow */
	assert_int_equal(c->inhibit_icount, UINT64_MAX);
}

static void flags_at_cpl3(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	set_ring(t, 3);
	vcpu_set_eflags(c, FL_IF);
	put(t, esp(t), 4, FL_IOPL | FL_CF);
	RUNS(t, 0x9d);
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_IF | FL_CF);
	RAISES(t, VEC_GP, 0, 0xfa);
	RAISES(t, VEC_GP, 0, 0xfb);
	c->eflags |= FL_IOPL;
	put(t, esp(t), 4, 0);
	RUNS(t, 0x9d);
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_IOPL);
	RUNS(t, 0xfb);
}

static void flags_in_vm86(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	set_vm86(t, 0);
	RAISES(t, VEC_GP, 0, 0x9c);
	RAISES(t, VEC_GP, 0, 0x9d);
	RAISES(t, VEC_GP, 0, 0xfa);
	RAISES(t, VEC_GP, 0, 0xcf);
	c->eflags |= FL_IOPL;
	RUNS(t, 0x9c);
	assert_int_equal(get(t, 0x300fe, 2), FL_FIXED | FL_IF | FL_IOPL);
	put(t, 0x300fe, 2, 0);
	RUNS(t, 0x9d);
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_VM | FL_IOPL);
	RUNS(t, 0xfb);
	assert_true(c->eflags & FL_IF);
}

static void popf_stack_fault(void **state)
{
	struct machine *t = *state;

	segment_set(&t->c.seg[SEG_SS], DATA0, 0, 0x7002, 0x4093, 0x4093);
	RAISES(t, VEC_SS, 0, 0x9d);
	t->c.gpr[R_SP] = 0x7004;
	RAISES(t, VEC_SS, 0, 0x9c);
}

static void ports(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	bench.next = 0x11223344;
	c->gpr[R_AX] = 0xaabbccdd;
	RUNS(t, 0xe4, 0x60); /* in al, 0x60 */
	assert_int_equal(c->gpr[R_AX], 0xaabbcc44);
	assert_int_equal(bench.ev.kind, EV_PIO);
	assert_int_equal(bench.ev.addr, 0x60);
	assert_int_equal(bench.ev.value, 0x44);
	assert_int_equal(bench.ev.flags, 0);
	c->gpr[R_DX] = 0xffff03f8;
	RUNS(t, 0x66, 0xed); /* in ax, dx */
	assert_int_equal(c->gpr[R_AX], 0xaabb3345);
	RUNS(t, 0xef); /* out dx, eax */
	assert_int_equal(bench.port, 0x3f8);
	assert_int_equal(bench.written[0], 0xaabb3345);
	assert_int_equal(bench.ev.flags, EVF_WRITE);
	RUNS(t, 0xe6, 0x80);
	assert_int_equal(bench.written[1], 0x45);
	set_ring(t, 3);
	RUNS(t, 0xe4, 0x60); /* the bitmap permits it */
	bench.reads = 2;
	c->tr.limit = 0x67;
	RAISES(t, VEC_GP, 0, 0xe4, 0x60);
	RAISES(t, VEC_GP, 0, 0xef);
	assert_int_equal(bench.reads, 2);
	set_vm86(t, 3);
	RAISES(t, VEC_GP, 0, 0xe4, 0x60);
}

static void ins_and_outs(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	c->gpr[R_DX] = 0x1f0;
	c->gpr[R_DI] = DATA;
	c->gpr[R_CX] = 5;
	bench.next = 0x100;
	bench.budget = 3;
	RUNS(t, 0xf3, 0x66, 0x6d); /* rep insw */
	assert_false(bench.x.finished);
	assert_int_equal(bench.x.iterations, 3);
	assert_int_equal(bench.ev.value, 3);
	assert_int_equal(bench.ev.blob_len, 6);
	assert_int_equal(c->rip, 0x5000);
	assert_int_equal(c->gpr[R_CX], 2);
	assert_int_equal(c->gpr[R_DI], DATA + 6);
	RUNS(t, 0xf3, 0x66, 0x6d);
	assert_true(bench.x.finished);
	assert_int_equal(c->rip, 0x5003);
	assert_int_equal(get(t, DATA + 8, 2), 0x104);
	RUNS(t, 0xf3, 0x66, 0x6d); /* nothing left to do */
	assert_int_equal(bench.x.iterations, 1);
	assert_int_equal(bench.ev.value, 0);
	assert_true(bench.x.finished);
	c->gpr[R_SI] = DATA + 8;
	c->eflags |= FL_DF;
	RUNS(t, 0x66, 0x6f); /* outsw */
	assert_int_equal(bench.written[0], 0x104);
	assert_int_equal(c->gpr[R_SI], DATA + 6);
	assert_int_equal(memcmp(bench.ev.blob, "\x04\x01", 2), 0);
}

/* A fault in the middle: what was read from the device is in memory, and nothing more was read. */
static void ins_faults_midway(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	set_paging(t);
	set_page(t, 0x7000, 0);
	c->gpr[R_DX] = 0x1f0;
	c->gpr[R_DI] = 0x6ff8;
	c->gpr[R_CX] = 10;
	RUNS(t, 0xf3, 0x6d);
	assert_false(bench.x.finished);
	assert_int_equal(bench.x.iterations, 2);
	assert_int_equal(bench.reads, 2);
	assert_int_equal(c->gpr[R_CX], 8);
	RAISES(t, VEC_PF, 2, 0xf3, 0x6d);
	assert_int_equal(bench.reads, 2);
	set_page(t, 0x6000, 0);
	c->gpr[R_SI] = 0x6ff0;
	RAISES(t, VEC_PF, 0, 0x6f);
	assert_int_equal(bench.writes, 0);
}

static void ins_blob_and_wrap(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	c->gpr[R_DI] = 0x20000;
	c->gpr[R_CX] = 5000;
	RUNS(t, 0xf3, 0x6d);
	assert_int_equal(bench.ev.blob_len, EMUL_BLOB_MAX);
	assert_int_equal(bench.x.iterations, EMUL_BLOB_MAX / 4);
	assert_int_equal(c->gpr[R_CX], 5000 - EMUL_BLOB_MAX / 4);
	c->gpr[R_DI] = 0x1234ffff;
	c->gpr[R_CX] = 0x56780002;
	RUNS(t, 0x67, 0xf3, 0x6c); /* 16-bit addresses: DI wraps, CX counts */
	assert_true(bench.x.finished);
	assert_int_equal(c->gpr[R_DI], 0x12340001);
	assert_int_equal(c->gpr[R_CX], 0x56780000);
	c->eflags |= FL_TF;
	c->gpr[R_CX] = 2;
	RUNS(t, 0xf3, 0x6d); /* single-step: one element a time */
	assert_int_equal(bench.x.iterations, 1);
	assert_false(bench.x.finished);
}

static void string_sizes(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	bench.next = 0xa1b2c3d4;
	c->gpr[R_DI] = c->gpr[R_SI] = DATA;
	RUNS(t, 0x6d); /* insd */
	assert_int_equal(get(t, DATA, 4), 0xa1b2c3d4);
	RUNS(t, 0x6f); /* outsd */
	assert_int_equal(bench.written[0], 0xa1b2c3d4);
	c->gpr[R_DI] = c->gpr[R_SI] = DATA;
	c->eflags |= FL_DF;
	RUNS(t, 0x6c); /* insb */
	assert_int_equal(get(t, DATA, 4), 0xa1b2c3d5);
	assert_int_equal(c->gpr[R_DI], DATA - 1);
	RUNS(t, 0x6e); /* outsb */
	assert_int_equal(bench.written[1], 0xd5);
}

/* DR3 watches ports 0x60..0x61; a breakpoint ends a rep at its element. */
static void io_breakpoints(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	c->dr[3] = 0x61; /* aligned to its length */
	c->dr[7] = 0x400 | 2u << 6 | 2u << 28 | 1u << 30;
	RUNS(t, 0xe4, 0x60);
	assert_int_equal(c->db_pending, 0); /* CR4.DE is off */
	c->cr4 |= CR4_DE;
	RUNS(t, 0xe4, 0x62);
	RUNS(t, 0x66, 0xe5, 0x5e);
	assert_int_equal(c->db_pending, 0);
	RUNS(t, 0xe4, 0x61);
	assert_int_equal(c->db_pending, 8);
	c->db_pending = 0;
	RUNS(t, 0x66, 0xe5, 0x5f); /* overlaps */
	assert_int_equal(c->db_pending, 8);
	c->db_pending = 0;
	c->gpr[R_DX] = 0x60;
	c->gpr[R_CX] = 3;
	c->gpr[R_SI] = DATA;
	RUNS(t, 0xf3, 0x6e);
	assert_int_equal(bench.x.iterations, 1);
	assert_false(bench.x.finished);
	c->dr[7] = 0x400 | 2u << 6 | 1u << 28 | 1u << 30; /* a data breakpoint is none on ports */
	c->db_pending = 0;
	RUNS(t, 0xe4, 0x60);
	assert_int_equal(c->db_pending, 0);
}

static void control_registers(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	c->gpr[R_AX] = CR0_PE | CR0_TS | CR0_WP | 0x40;
	RUNS(t, 0x0f, 0x22, 0xc0); /* mov cr0, eax */
	assert_int_equal(c->cr0, CR0_PE | CR0_TS | CR0_WP | CR0_ET);
	assert_int_equal(bench.ev.addr, 0);
	assert_int_equal(bench.ev.value, CR0_PE | CR0_TS | CR0_WP | 0x40);
	RUNS(t, 0x0f, 0x20, 0xc1); /* mov ecx, cr0 */
	assert_int_equal(c->gpr[R_CX], c->cr0);
	c->gpr[R_AX] = CR0_PG;
	RAISES(t, VEC_GP, 0, 0x0f, 0x22, 0xc0);
	c->gpr[R_AX] = CR0_PE | CR0_NW;
	RAISES(t, VEC_GP, 0, 0x0f, 0x22, 0xc0);
	c->gpr[R_AX] = 0x12345018;
	RUNS(t, 0x0f, 0x22, 0xd8);
	assert_int_equal(c->cr3, 0x12345018);
	assert_int_equal(c->mmu.cr3, 0x12345018);
	c->gpr[R_AX] = CR4_VALID;
	RUNS(t, 0x0f, 0x22, 0xe0);
	c->gpr[R_AX] = 1 << 5; /* PAE: not in this model */
	RAISES(t, VEC_GP, 0, 0x0f, 0x22, 0xe0);
	RUNS(t, 0x0f, 0x06); /* clts */
	assert_false(c->cr0 & CR0_TS);
	c->gpr[R_AX] = CR0_TS | 0x40;
	RUNS(t, 0x0f, 0x01, 0xf0); /* lmsw ax: PE stays */
	assert_int_equal(c->cr0, CR0_PE | CR0_TS | CR0_WP | CR0_ET);
	RUNS(t, 0x0f, 0x01, 0x23); /* smsw [ebx] */
	assert_int_equal(get(t, DATA, 4), CR0_PE | CR0_TS | CR0_ET);
	set_ring(t, 3);
	RAISES(t, VEC_GP, 0, 0x0f, 0x22, 0xc0);
	RAISES(t, VEC_GP, 0, 0x0f, 0x20, 0xc0);
	RAISES(t, VEC_GP, 0, 0x0f, 0x06);
	RAISES(t, VEC_GP, 0, 0x0f, 0x01, 0xf0);
	RUNS(t, 0x0f, 0x01, 0xe0); /* smsw eax: anybody */
	assert_int_equal(c->gpr[R_AX], CR0_PE | CR0_TS | CR0_WP | CR0_ET);
}

static void protection_on_and_off(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	c->gpr[R_AX] = 0;
	RUNS(t, 0x0f, 0x22, 0xc0);
	assert_true(vcpu_real_mode(c));
	assert_int_equal(c->seg[SEG_DS].limit, 0xffffffff);
	assert_int_equal(c->cpl, 0);
	c->gpr[R_AX] = 1;
	RUNS(t, 0x0f, 0x01, 0xf0); /* lmsw */
	assert_false(vcpu_real_mode(c));
	assert_int_equal(c->seg[SEG_CS].sel, CODE0);
}

static void debug_registers(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	c->gpr[R_AX] = 0xffffffff;
	RUNS(t, 0x0f, 0x23, 0xe8); /* mov dr5, eax: dr7 */
	assert_int_equal(c->dr[7], 0xffff27ff);
	FAULTS(t, VEC_DB, NO_ERROR, RUN(t, 0x0f, 0x21, 0xc0)); /* GD */
	assert_true(c->dr[6] & (1u << 13));
	c->dr[7] = 0x400;
	c->gpr[R_AX] = 0;
	RUNS(t, 0x0f, 0x23, 0xf0);
	assert_int_equal(c->dr[6], 0xffff0ff0);
	c->gpr[R_AX] = 0x1234;
	RUNS(t, 0x0f, 0x23, 0xd8);
	RUNS(t, 0x0f, 0x21, 0xd9);
	assert_int_equal(c->gpr[R_CX], 0x1234);
	c->cr4 |= CR4_DE;
	RAISES(t, VEC_UD, NO_ERROR, 0x0f, 0x21, 0xe0);
	set_ring(t, 3);
	RAISES(t, VEC_GP, 0, 0x0f, 0x21, 0xc0);
}

static void tables(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	put(t, DATA, 2, 0x1ff);
	put(t, DATA + 2, 4, 0xfedcba98);
	RUNS(t, 0x0f, 0x01, 0x1b); /* lidt [ebx] */
	assert_int_equal(c->idtr.base, 0xfedcba98);
	assert_int_equal(c->idtr.limit, 0x1ff);
	RUNS(t, 0x66, 0x0f, 0x01, 0x1b);
	assert_int_equal(c->idtr.base, 0x00dcba98);
	RUNS(t, 0x0f, 0x01, 0x03); /* sgdt */
	assert_int_equal(get(t, DATA, 2), GDT_LIMIT);
	assert_int_equal(get(t, DATA + 2, 4), GDT);
	c->gpr[R_AX] = LDTSEL;
	RUNS(t, 0x0f, 0x00, 0xd0); /* lldt ax */
	assert_int_equal(c->ldtr.base, LDT);
	c->gpr[R_AX] = 0;
	RUNS(t, 0x0f, 0x00, 0xd0);
	assert_int_equal(c->ldtr.attr, 0);
	c->gpr[R_AX] = TSSB;
	RAISES(t, VEC_GP, TSSB, 0x0f, 0x00, 0xd0);
	RUNS(t, 0x0f, 0x00, 0xd8); /* ltr ax */
	assert_int_equal(access_byte(t, TSSB), 0x8b);
	assert_int_equal(c->tr.attr, 0x8b);
	RAISES(t, VEC_GP, TSSB, 0x0f, 0x00, 0xd8); /* busy now */
	c->gpr[R_AX] = 0;
	RAISES(t, VEC_GP, 0, 0x0f, 0x00, 0xd8);
	put(t, GDT + LDTSEL + 5, 1, 2);
	c->gpr[R_AX] = LDTSEL;
	RAISES(t, VEC_NP, LDTSEL, 0x0f, 0x00, 0xd0);
	c->gpr[R_AX] = 0xffffffff;
	RUNS(t, 0x0f, 0x00, 0xc8); /* str eax */
	assert_int_equal(c->gpr[R_AX], TSSB);
	set_ring(t, 3);
	RAISES(t, VEC_GP, 0, 0x0f, 0x01, 0x1b);
	RAISES(t, VEC_GP, 0, 0x0f, 0x00, 0xd0);
	RUNS(t, 0x0f, 0x01, 0x0b); /* sidt: anybody */
	set_vm86(t, 3);
	RAISES(t, VEC_UD, NO_ERROR, 0x0f, 0x00, 0xd0);
	RAISES(t, VEC_UD, NO_ERROR, 0x0f, 0x00, 0xc8);
}

static void segments(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	c->gpr[R_AX] = DATA0;
	RUNS(t, 0x8e, 0xd0); /* mov ss, ax */
	assert_int_equal(c->inhibit_icount, 1001);
	assert_int_equal(c->seg[SEG_SS].sel, DATA0);
	assert_int_equal(c->rip, 0x5002);
	RUNS(t, 0x8c, 0xc8); /* mov eax, cs */
	assert_int_equal(c->gpr[R_AX], CODE0);
	RUNS(t, 0x0e); /* push cs */
	assert_int_equal(stacked(t, 0), CODE0);
	RAISES(t, VEC_GP, CODE0, 0x17); /* pop ss */
	RUNS(t, 0x0f, 0xa1);            /* pop fs: readable code */
	assert_int_equal(c->seg[SEG_FS].sel, CODE0);
	assert_int_equal(esp(t), 0x7000);
	put(t, DATA, 4, 0xdeadbeef);
	put(t, DATA + 4, 2, DATA0);
	c->inhibit_icount = UINT64_MAX;
	RUNS(t, 0x0f, 0xb2, 0x23); /* lss esp, [ebx] */
	assert_int_equal(c->gpr[R_SP], 0xdeadbeef);
	assert_int_equal(c->inhibit_icount, UINT64_MAX); /* unlike MOV SS */
	put(t, DATA + 4, 2, DATA_NP);
	RAISES(t, VEC_NP, DATA_NP, 0xc4, 0x03); /* les eax, [ebx] */
	RAISES(t, VEC_SS, DATA_NP, 0x0f, 0xb2, 0x03);
}

/* POP SS: the pointer moves by the old stack's width. */
static void pop_ss_changes_width(void **state)
{
	struct machine *t = *state;

	put(t, 0x7000, 4, DATA16);
	t->c.gpr[R_SP] = 0x7000;
	RUNS(t, 0x17);
	assert_int_equal(esp(t), 0x7004);
	assert_int_equal(t->c.seg[SEG_SS].attr & SEG_DB, 0);
}

static void far_transfers(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	RUNS(t, 0x9a, 0x78, 0x56, 0x34, 0x12, CODE0, 0); /* call far */
	assert_int_equal(c->rip, 0x12345678);
	assert_int_equal(stacked(t, 0), 0x5007);
	assert_int_equal(bench.ev.addr, CODE0);
	assert_int_equal(bench.ev.value, 0x12345678);
	RUNS(t, 0xca, 0x08, 0x00); /* retf 8 */
	assert_int_equal(c->rip, 0x5007);
	assert_int_equal(esp(t), 0x7008);
	put(t, DATA, 4, 0x100);
	put(t, DATA + 4, 2, CODE16);
	RUNS(t, 0xff, 0x2b); /* jmp far [ebx] */
	assert_int_equal(c->seg[SEG_CS].sel, CODE16);
	assert_int_equal(bench.ev.addr, CODE16);
	c->gpr[R_SP] = 0x7000;
	put(t, 0x7000, 4, 0x6000);
	put(t, 0x7004, 4, CODE0);
	put(t, 0x7008, 4, FL_IF);
	RUNS(t, 0x66, 0xcf); /* iretd in 16-bit code */
	assert_int_equal(bench.ev.value, 0x6000);
	assert_int_equal(bench.ev.addr, CODE0);
}

static bool zf(const struct machine *t)
{
	return vcpu_get_eflags(&t->c) & FL_ZF;
}

static void queries(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	vcpu_set_eflags(c, FL_CF | FL_OF | FL_SF | FL_PF | FL_AF);
	c->gpr[R_CX] = CODE0;
	RUNS(t, 0x0f, 0x02, 0xc1); /* lar eax, cx */
	assert_true(zf(t));
	assert_int_equal(c->gpr[R_AX], 0x00cf9a00);
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_CF | FL_OF | FL_SF | FL_PF | FL_AF | FL_ZF);
	RUNS(t, 0x66, 0x0f, 0x02, 0xd1); /* lar dx, cx */
	assert_int_equal(c->gpr[R_DX] & 0xffff, 0x9a00);
	RUNS(t, 0x0f, 0x03, 0xc1); /* lsl eax, cx */
	assert_int_equal(c->gpr[R_AX], 0xffffffff);
	put_gate(t, GDT + GATE, 12, 0, CODE0, 0, 0);
	c->gpr[R_CX] = GATE;
	RUNS(t, 0x0f, 0x03, 0xc1); /* a gate has no limit */
	assert_false(zf(t));
	assert_int_equal(c->gpr[R_AX], 0xffffffff);
	RUNS(t, 0x0f, 0x02, 0xc1);
	assert_true(zf(t));
	put(t, DATA, 2, DATA16);
	RUNS(t, 0x0f, 0x03, 0x13); /* lsl edx, [ebx] */
	assert_int_equal(c->gpr[R_DX], 0xffff);
	c->gpr[R_CX] = OUTSIDE;
	RUNS(t, 0x0f, 0x00, 0xe1); /* verr cx */
	assert_false(zf(t));
	c->gpr[R_CX] = READONLY3;
	RUNS(t, 0x0f, 0x00, 0xe1);
	assert_true(zf(t));
	RUNS(t, 0x0f, 0x00, 0xe9); /* verw cx */
	assert_false(zf(t));
	set_ring(t, 3);
	c->gpr[R_CX] = DATA0;
	RUNS(t, 0x0f, 0x00, 0xe1);
	assert_false(zf(t));
	c->gpr[R_CX] = CONF0 | 3;
	RUNS(t, 0x0f, 0x00, 0xe1);
	assert_true(zf(t));
}

static void cpuid_is_the_model(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;
	char name[49] = "";
	uint32_t out[4], beyond[4];

	c->gpr[R_AX] = 0;
	RUNS(t, 0x0f, 0xa2);
	assert_int_equal(c->gpr[R_AX], 2);
	memcpy(name, &c->gpr[R_BX], 4);
	memcpy(name + 4, &c->gpr[R_DX], 4);
	memcpy(name + 8, &c->gpr[R_CX], 4);
	assert_string_equal(name, "GenuineIntel");
	cpuid_model(1, out);
	assert_int_equal(out[0], 0x695);
	assert_int_equal(out[2], 0);
	assert_int_equal(out[3], 0x0788a93d);
	for (unsigned i = 0; i < 3; i++) {
		cpuid_model(0x80000002 + i, out);
		memcpy(name + 16 * i, out, 16);
	}
	assert_memory_equal(name, "Ringside P6 ", 12);
	cpuid_model(2, out);
	cpuid_model(0x40000000, beyond);
	assert_memory_equal(out, beyond, sizeof(out));
	cpuid_model(0x80000005, beyond);
	assert_memory_equal(out, beyond, sizeof(out));
}

static void model_specific_registers(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	c->gpr[R_CX] = 0x175;
	c->gpr[R_AX] = 0xc0de;
	RUNS(t, 0x0f, 0x30); /* wrmsr */
	assert_int_equal(c->msr_sysenter_esp, 0xc0de);
	c->gpr[R_AX] = 0;
	c->gpr[R_DX] = 1;
	RUNS(t, 0x0f, 0x32); /* rdmsr */
	assert_int_equal(c->gpr[R_AX], 0xc0de);
	assert_int_equal(c->gpr[R_DX], 0);
	assert_int_equal(bench.ev.addr, 0x175);
	c->gpr[R_CX] = 0x1b; /* no local APIC */
	RAISES(t, VEC_GP, 0, 0x0f, 0x32);
	RAISES(t, VEC_GP, 0, 0x0f, 0x30);
	c->gpr[R_CX] = 0x17;
	RUNS(t, 0x0f, 0x32);
	RAISES(t, VEC_GP, 0, 0x0f, 0x30);
	c->gpr[R_CX] = 0x8b;
	RUNS(t, 0x0f, 0x30);
	RUNS(t, 0x0f, 0x32);
	assert_int_equal(c->gpr[R_DX], 0);
	set_ring(t, 3);
	RAISES(t, VEC_GP, 0, 0x0f, 0x32);
}

static void time_stamps(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	bench.tsc = 0x100000005;
	RUNS(t, 0x0f, 0x31);
	assert_int_equal(c->gpr[R_DX], 1);
	assert_int_equal(bench.ev.value, 0x100000005);
	c->gpr[R_CX] = 0x10;
	c->gpr[R_AX] = 0x1000;
	c->gpr[R_DX] = 0x77;
	RUNS(t, 0x0f, 0x30); /* the high half cannot be written */
	bench.tsc += 4;
	RUNS(t, 0x0f, 0x31);
	assert_int_equal(bench.ev.value, 0x1004);
	set_ring(t, 3);
	RUNS(t, 0x0f, 0x31);
	c->cr4 |= CR4_TSD;
	RAISES(t, VEC_GP, 0, 0x0f, 0x31);
	RAISES(t, VEC_GP, 0, 0x0f, 0x33);
}

static void halting_and_caches(void **state)
{
	struct machine *t = *state;

	RUNS(t, 0xf4);
	assert_true(bench.x.halt);
	assert_int_equal(t->c.rip, 0x5001);
	RUNS(t, 0x0f, 0x09);
	assert_false(bench.x.halt);
	RUNS(t, 0x0f, 0x01, 0x7b, 0x10); /* invlpg [ebx+16] */
	assert_int_equal(bench.ev.addr, DATA + 16);
	set_ring(t, 3);
	RAISES(t, VEC_GP, 0, 0xf4);
	RAISES(t, VEC_GP, 0, 0x0f, 0x08);
	RAISES(t, VEC_GP, 0, 0x0f, 0x01, 0x3b);
}

static void fast_calls(void **state)
{
	struct machine *t = *state;
	struct vcpu *c = &t->c;

	set_ring(t, 3);
	RAISES(t, VEC_GP, 0, 0x0f, 0x34); /* IA32_SYSENTER_CS is 0 */
	c->msr_sysenter_cs = CODE0 | 3;
	c->msr_sysenter_esp = 0x8000;
	c->msr_sysenter_eip = 0xc0001000;
	RAISES(t, VEC_GP, 0, 0x0f, 0x35); /* SYSEXIT is for ring 0 */
	vcpu_set_eflags(c, FL_IF | FL_RF | FL_CF);
	RUNS(t, 0x0f, 0x34);
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->rip, 0xc0001000);
	assert_int_equal(esp(t), 0x8000);
	assert_int_equal(c->seg[SEG_CS].sel, CODE0);
	assert_int_equal(c->seg[SEG_SS].sel, CODE0 + 8);
	assert_int_equal(vcpu_get_eflags(c), FL_FIXED | FL_CF);
	c->gpr[R_CX] = 0xbfff0000;
	c->gpr[R_DX] = 0x08048000;
	RUNS(t, 0x0f, 0x35);
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->seg[SEG_CS].sel, (CODE0 + 16) | 3);
	assert_int_equal(c->seg[SEG_SS].sel, (CODE0 + 24) | 3);
	assert_int_equal(c->seg[SEG_SS].attr, 0xc0f3);
	assert_int_equal(esp(t), 0xbfff0000);
	assert_int_equal(c->rip, 0x08048000);
}

static void every_class_has_a_handler(void **state)
{
	(void)state;
	for (unsigned op = OP_NONE + 1; op < OP_FPU_BASE; op++) {
		enum op_class class = op_name(op) ? op_class(op) : CLASS_NONE;

		assert_int_equal(emul_has(op), class != CLASS_NONE && class != CLASS_SOFTINT);
	}
	assert_false(emul_has(OP_FPU_BASE + 1));
}

#define EMUL_TEST(name) cmocka_unit_test_setup_teardown(name, setup_emul, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EMUL_TEST(flags_at_cpl0),
		EMUL_TEST(flags_at_cpl3),
		EMUL_TEST(flags_in_vm86),
		EMUL_TEST(popf_stack_fault),
		EMUL_TEST(ports),
		EMUL_TEST(ins_and_outs),
		EMUL_TEST(ins_faults_midway),
		EMUL_TEST(ins_blob_and_wrap),
		EMUL_TEST(string_sizes),
		EMUL_TEST(io_breakpoints),
		EMUL_TEST(control_registers),
		EMUL_TEST(protection_on_and_off),
		EMUL_TEST(debug_registers),
		EMUL_TEST(tables),
		EMUL_TEST(segments),
		EMUL_TEST(pop_ss_changes_width),
		EMUL_TEST(far_transfers),
		EMUL_TEST(queries),
		EMUL_TEST(cpuid_is_the_model),
		EMUL_TEST(model_specific_registers),
		EMUL_TEST(time_stamps),
		EMUL_TEST(halting_and_caches),
		EMUL_TEST(fast_calls),
		EMUL_TEST(every_class_has_a_handler),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
