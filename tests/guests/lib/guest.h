/*
 * guest.h - the runtime shared by the self-checking guests.
 *
 * What a guest is made of:
 *  - test("cpl3 hlt") opens a case; EQ, NE, TRUE and the fault_*() helpers check; the next test() or finish() prints PASS for a case in which no check failed.
 *  - cpu_run() runs a piece of code (see CODE) with every register given, at any CPL or in virtual-8086 mode, until its next exception, interrupt
 *    or software interrupt, and gives back every register, the vector, the error code, CR2 and the raw frame. Nothing of the guest is lost by a fault, so
 *    a fault is an ordinary result that a test looks at.
 *  - known("tcg", why) marks a case in which an emulator named on the guest's command line is known to differ from the manual.
 *
 * Everything runs at CPL 0 with flat segments, interrupts off and paging off unless the guest changes that. Nothing here may depend on the VMM.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define ALIGNED(n) __attribute__((aligned(n)))
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define asm_volatile __asm__ volatile

/* ---- exceptions and flags ------------------------------------------------------------------------------------------------------------- */

enum {
	DE,
	DB,
	NMI,
	BP,
	OF,
	BR,
	UD,
	NM,
	DF,
	TS = 10,
	NP,
	SS,
	GP,
	PF,
	MF = 16,
	AC,
	MC,
	XM,
	IRQ0 = 0x20, /* the 8259s are programmed to vectors 0x20..0x2f */
	DONE = 0x70  /* how a piece of CODE ends: INT 0x70, a DPL 3 gate */
};

enum {
	F_CF = 1,
	F_FIXED = 2,
	F_PF = 4,
	F_AF = 0x10,
	F_ZF = 0x40,
	F_SF = 0x80,
	F_TF = 0x100,
	F_IF = 0x200,
	F_DF = 0x400,
	F_OF = 0x800,
	F_IOPL = 0x3000,
	F_NT = 0x4000,
	F_RF = 0x10000,
	F_VM = 0x20000,
	F_AC = 0x40000,
	F_ID = 0x200000
};

enum { PF_P = 1, PF_W = 2, PF_U = 4 }; /* page-fault error code */

enum {
	CR0_PE = 1,
	CR0_MP = 2,
	CR0_EM = 4,
	CR0_TS = 8,
	CR0_ET = 0x10,
	CR0_NE = 0x20,
	CR0_WP = 0x10000,
	CR0_AM = 0x40000
};
#define CR0_PG 0x80000000u
enum {
	CR4_TSD = 4,
	CR4_DE = 8,
	CR4_PSE = 0x10,
	CR4_PGE = 0x80,
	CR4_PCE = 0x100,
	CR4_OSFXSR = 0x200,
	CR4_OSXMMEXCPT = 0x400
};

/* ---- segments ------------------------------------------------------------------------------------------------------------------------- */

/* GDT slots that the runtime fills; FREE and above belong to the guest. */
enum {
	SEL_C0 = 0x08,
	SEL_D0 = 0x10,
	SEL_C3 = 0x18,
	SEL_D3 = 0x20,
	SEL_C1 = 0x28,
	SEL_D1 = 0x30,
	SEL_C2 = 0x38,
	SEL_D2 = 0x40,
	SEL_TSS = 0x48,
	SEL_TSS_DF = 0x50,
	SEL_LDT = 0x58,
	SEL_FREE = 0x60,
	GDT_SLOTS = 256
};

/* Descriptor bits 40..55 as one number: access byte, and flags in bits 12..15. */
enum {
	A_P = 0x80,
	A_S = 0x10,
	A_CODE = 0x18,
	A_DATA = 0x10,
	A_RW = 2,
	A_EXPAND = 4,
	A_CONF = 4,
	A_ACCESSED = 1,
	A_DB = 0x4000,
	A_G = 0x8000,
	A_AVL = 0x1000,
	A_TSS16 = 1,
	A_LDT = 2,
	A_BUSY16 = 3,
	A_CALL16 = 4,
	A_TASK = 5,
	A_INT16 = 6,
	A_TRAP16 = 7,
	A_TSS32 = 9,
	A_BUSY32 = 11,
	A_CALL32 = 12,
	A_INT32 = 14,
	A_TRAP32 = 15
};
#define A_DPL(n) ((n) << 5)
#define A_FLAT_CODE(dpl) (A_P | A_CODE | A_RW | A_DPL(dpl) | A_DB | A_G)
#define A_FLAT_DATA(dpl) (A_P | A_DATA | A_RW | A_DPL(dpl) | A_DB | A_G)

extern u64 gdt[GDT_SLOTS], idt[256];

u16 sel_code(unsigned cpl); /* flat segments with RPL = CPL */
u16 sel_data(unsigned cpl);
/* limit is in bytes, or in pages with A_G */
u64 desc(u32 base, u32 limit, u32 attr);
u64 gate(u16 sel, u32 offset, u32 attr); /* attr: A_P | A_DPL(n) | A_CALL32 ..., bits 8..12 hold the count: see GATE_COUNT */
#define GATE_COUNT(n) ((n) << 8)
/* Puts a descriptor in a slot and gives back its selector with this RPL. */
u16 gdt_set(u16 sel, u64 descriptor);
void idt_set(unsigned vector, u64 g);
void idt_default(unsigned vector); /* back to the runtime's stub, DPL 0 interrupt gate */
void idt_dpl(unsigned vector, unsigned dpl);
void desc_init(void);

struct ALIGNED(4) tss {
	u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
	u32 es, cs, ss, ds, fs, gs, ldt;
	u16 trap, iomap;
};
/* The task everything runs in; its I/O bitmap covers all ports and denies them all; iomap starts beyond the limit (no bitmap). */
struct main_tss {
	struct tss t;
	u8 bitmap[8193];
};
extern struct main_tss main_tss;
void io_bitmap(bool on);

struct table_ptr {
	u16 limit;
	u32 base;
} __attribute__((packed));
extern bool double_fault_ends_run; /* a double fault, which has a task of its own, then ends cpu_run() like any other exception */
void load_tables(void);            /* LGDT, LIDT, LLDT 0, LTR, segment registers: the runtime's own */

/* ---- running code --------------------------------------------------------------------------------------------------------------------- */

/*
 * In: registers to start with (eflags.VM for virtual-8086). Out: registers at the next trap, what it was, and what the processor pushed.
 */
struct ctx {
	u32 edi, esi, ebp, ebx, edx, ecx, eax;
	u32 gs, fs, es, ds;
	u32 eip, cs, eflags, esp, ss;
	/* out only */
	u32 vector, error, cr2;
	u32 frame_esp;  /* ESP as the handler was entered: address of the last dword pushed */
	u32 handler_ss; /* SS as the handler was entered */
	u32 handler_cs;
	u32 handler_eflags;
	u32 frame[11]; /* the dwords there, error code first where there is one */
};
#define NO_ERROR 0xeeeeeeeeu /* ctx.error when the vector has none */

/* Registers get distinct values, segments are flat for this CPL, EFLAGS is 2, the stack is stack_top(cpl). */
void ctx_init(struct ctx *c, unsigned cpl, u32 eip);
u32 stack_top(unsigned cpl);
u32 cpu_run(struct ctx *c);                       /* gives the vector */
u32 run_at(struct ctx *c, unsigned cpl, u32 eip); /* ctx_init and cpu_run */
extern u8 iret_to_code[]; /* the IRET by which cpu_run() enters the code: where its faults are reported */

/*
 * A piece of 32-bit code out of line, ended by INT 0x70; gives its address. Operands are not possible: use registers of the ctx.
 * (A statement of its own without operands, so that % stands for itself; the next one finds its label. GCC keeps volatile statements in order.)
 */
#define CODE(text) CODE_RAW(text "\n int $0x70")
#define CODE_RAW(text)                                                                                                 \
	({                                                                                                             \
		u32 code_at_;                                                                                          \
		asm_volatile(".pushsection .snippets, \"ax\"\n7711:\n" text "\n ud2\n.popsection");                    \
		asm_volatile("movl $7711b, %0" : "=r"(code_at_));                                                      \
		code_at_;                                                                                              \
	})
/* 16-bit code, with its length, to be copied to low memory or run through a segment based at it. */
struct code16 {
	const u8 *at;
	u32 len;
};
#define CODE16(text)                                                                                                   \
	({                                                                                                             \
		struct code16 code_;                                                                                   \
		asm_volatile(".pushsection .snippets, \"ax\"\n7711: .code16\n" text                                    \
		             "\n int $0x70\n7712: .code32\n.popsection");                                              \
		asm_volatile("movl $7711b, %0\n movl $7712b-7711b, %1" : "=r"(code_.at), "=r"(code_.len));             \
		code_;                                                                                                 \
	})

/* A handler that wants to see a trap first: true = resume what was interrupted, with the frame as it then is; false = end cpu_run(). */
struct trap_frame {
	u32 gs, fs, es, ds, edi, esi, ebp, esp_, ebx, edx, ecx, eax, vector, error, eip, cs, eflags, esp, ss, v_es,
	        v_ds, v_fs, v_gs;
};
typedef bool trap_handler(struct trap_frame *f);
void on_trap(unsigned vector, trap_handler *handler); /* NULL: none */

/* ---- checks --------------------------------------------------------------------------------------------------------------------------- */

void test(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void known(const char *emulator, const char *why); /* applies to the case opened last */
bool on_emulator(const char *word);                /* is this word on the command line? */
bool cannot(const char *emulator,
            const char *why); /* the same for a case that would not even come back: skip it when true */
bool check(u32 got, u32 want, bool equal, const char *what, int line);
#define EQ(got, want) check((u32)(got), (u32)(want), true, #got, __LINE__)
#define NE(got, other) check((u32)(got), (u32)(other), false, #got, __LINE__)
#define TRUE(cond) check((cond) ? 1 : 0, 1, true, #cond, __LINE__)

/* The run ended by this exception at this address. error NO_ERROR: the vector has none. */
bool check_fault(const struct ctx *c, u32 vector, u32 error, u32 eip, int line);
#define FAULT(c, vector, error, eip) check_fault(c, vector, error, eip, __LINE__)
#define FINE(c) check((c)->vector, DONE, true, "ended by", __LINE__)

_Noreturn void finish(void);
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* %s %u %d %x %c */
void guest_main(void);
extern const char *guest_cmdline;
extern const char guest_name[]; /* each guest defines it */
#define GUEST(name) const char guest_name[] = name

/* Small pseudo-random generator with a fixed seed. */
u32 rnd(void);
void rnd_seed(u32 seed);

/* ---- machine -------------------------------------------------------------------------------------------------------------------------- */

static inline void outb(u16 port, u8 v)
{
	asm_volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}
static inline void outw(u16 port, u16 v)
{
	asm_volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}
static inline void outl(u16 port, u32 v)
{
	asm_volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}
static inline u8 inb(u16 port)
{
	u8 v;
	asm_volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline u16 inw(u16 port)
{
	u16 v;
	asm_volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline u32 inl(u16 port)
{
	u32 v;
	asm_volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline u32 get_cr0(void)
{
	u32 v;
	asm_volatile("mov %%cr0, %0" : "=r"(v));
	return v;
}
static inline u32 get_cr2(void)
{
	u32 v;
	asm_volatile("mov %%cr2, %0" : "=r"(v));
	return v;
}
static inline u32 get_cr3(void)
{
	u32 v;
	asm_volatile("mov %%cr3, %0" : "=r"(v));
	return v;
}
static inline u32 get_cr4(void)
{
	u32 v;
	asm_volatile("mov %%cr4, %0" : "=r"(v));
	return v;
}
static inline void set_cr0(u32 v)
{
	asm_volatile("mov %0, %%cr0" : : "r"(v) : "memory");
}
static inline void set_cr2(u32 v)
{
	asm_volatile("mov %0, %%cr2" : : "r"(v) : "memory");
}
static inline void set_cr3(u32 v)
{
	asm_volatile("mov %0, %%cr3" : : "r"(v) : "memory");
}
static inline void set_cr4(u32 v)
{
	asm_volatile("mov %0, %%cr4" : : "r"(v) : "memory");
}
static inline void invlpg(u32 a)
{
	asm_volatile("invlpg (%0)" : : "r"(a) : "memory");
}
static inline u32 get_dr6(void)
{
	u32 v;
	asm_volatile("mov %%dr6, %0" : "=r"(v));
	return v;
}
static inline u32 get_dr7(void)
{
	u32 v;
	asm_volatile("mov %%dr7, %0" : "=r"(v));
	return v;
}
static inline void set_dr6(u32 v)
{
	asm_volatile("mov %0, %%dr6" : : "r"(v));
}
static inline void set_dr7(u32 v)
{
	asm_volatile("mov %0, %%dr7" : : "r"(v));
}
static inline u32 get_eflags(void)
{
	u32 v;
	asm_volatile("pushf; pop %0" : "=r"(v));
	return v;
}
static inline void set_eflags(u32 v)
{
	asm_volatile("push %0; popf" : : "r"(v) : "cc", "memory");
}
static inline void sti(void)
{
	asm_volatile("sti" : : : "memory");
}
static inline void cli(void)
{
	asm_volatile("cli" : : : "memory");
}
static inline u64 rdtsc(void)
{
	u64 v;
	asm_volatile("rdtsc" : "=A"(v));
	return v;
}
static inline u64 rdmsr(u32 n)
{
	u64 v;
	asm_volatile("rdmsr" : "=A"(v) : "c"(n));
	return v;
}
static inline void wrmsr(u32 n, u64 v)
{
	asm_volatile("wrmsr" : : "c"(n), "A"(v));
}

void pic_init(u16 mask); /* vectors 0x20..0x2f; bit n of mask set: line n is off */
void pic_mask(u16 mask);
void pic_eoi(unsigned irq);
/* Ends the next cpu_run(), which must have IF set, after about a millisecond by IRQ0. Call again for each. */
void watchdog(void);
extern u32 memory_top; /* end of RAM as the loader said */
/* INT3 in all memory that nobody uses (up to 64 MiB, low memory and VGA too): where wild jumps land, they end. */
void fill_with_int3(void);

/* ---- paging --------------------------------------------------------------------------------------------------------------------------- */

enum { P_P = 1, P_W = 2, P_U = 4, P_PWT = 8, P_PCD = 0x10, P_A = 0x20, P_D = 0x40, P_PS = 0x80, P_G = 0x100 };
extern u32 page_dir[1024];
/* Identity map of the first 16 MiB in 4 KiB pages, user and writable, A and D clear; not switched on. */
void paging_identity(void);
void paging_on(void); /* CR3 and CR0.PG */
void paging_off(void);
u32 *pte(u32 address);                 /* in that identity map, address below 16 MiB; does not flush */
void map_page(u32 address, u32 entry); /* any address: makes a page table when needed */

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
