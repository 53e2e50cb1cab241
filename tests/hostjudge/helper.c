/*
 * helper.c - the host processor's side of the judge: runs each case natively, as 32-bit user code. Started by judge.c, never by hand.
 *
 * run_case() loads a case's whole state and jumps to its instruction. What follows there is a jump to the end stub, which stores the state, or INT3
 * where that would not do: behind a branch, and when DS or SS are odd segments. A fault or INT3 arrives as a signal, whose frame holds the
 * state; returning from it goes on behind run_case() as the end stub would.
 *
 * No libc: FS and GS belong to the cases. File descriptors 3 and 4 are the pipe from and to the judge, 5 is the shared memory.
 */
#include <asm/ldt.h>
#include <asm/sigcontext.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <asm/ucontext.h>
#include <asm/unistd.h>
#include <linux/mman.h>
#include <stdbool.h>

#include "tests/hostjudge/case.h"

#define FD_IN 3
#define FD_OUT 4
#define FD_SHARED 5
#define SS_AUTODISARM_FLAG (1u << 31) /* the guest's ESP may be anything */
#define FIXED_FLAGS 0x202u            /* bit 1 and IF: user code always runs with interrupts on */
#define HANG_MICROSECONDS 2000000

static struct hj_shared *const shared = (struct hj_shared *)HJ_SHARED;
static uint8_t signal_stack[65536] __attribute__((aligned(64)));
static struct hj_case *present;

/* Read and written by the stubs; on the way in through CS, because DS may be anything. */
struct {
	uint32_t gpr[8];
	uint32_t eip, eflags;
	uint32_t es, ss, ds, fs, gs;
	uint32_t own_esp;
} start __attribute__((used));
struct {
	uint32_t gpr[8];
	uint32_t eflags;
} end __attribute__((used));
uint8_t start_fx[512] __attribute__((aligned(16), used));
uint8_t end_fx[512] __attribute__((aligned(16), used));

void start_stub(void);
extern const uint8_t end_stub[], resume_stub[], restorer_stub[];

__asm__(".text\n"
        ".globl start_stub, end_stub, resume_stub, restorer_stub, _start\n"
        "start_stub:\n"
        "	push %ebx\n"
        "	push %esi\n"
        "	push %edi\n"
        "	push %ebp\n"
        "	mov %esp, start+60\n"
        "	fxrstor start_fx\n"
        "	push start+36\n"
        "	popf\n"
        "	mov start+40, %es\n"
        "	mov start+52, %fs\n"
        "	mov start+56, %gs\n"
        "	mov start+44, %ss\n"
        "	mov start+16, %esp\n"
        "	mov start+48, %ds\n"
        "	mov %cs:start+0, %eax\n"
        "	mov %cs:start+4, %ecx\n"
        "	mov %cs:start+8, %edx\n"
        "	mov %cs:start+12, %ebx\n"
        "	mov %cs:start+20, %ebp\n"
        "	mov %cs:start+24, %esi\n"
        "	mov %cs:start+28, %edi\n"
        "	jmp *%cs:start+32\n"
        "end_stub:\n"
        "	mov %eax, end+0\n"
        "	mov %ecx, end+4\n"
        "	mov %edx, end+8\n"
        "	mov %ebx, end+12\n"
        "	mov %esp, end+16\n"
        "	mov %ebp, end+20\n"
        "	mov %esi, end+24\n"
        "	mov %edi, end+28\n"
        "	mov start+60, %esp\n"
        "	pushf\n"
        "	pop end+32\n"
        "	fxsave end_fx\n"
        "resume_stub:\n" /* flat segments and our stack; nothing else is known */
        "	cld\n"
        "	push %ds\n"
        "	pop %es\n"
        "	pop %ebp\n"
        "	pop %edi\n"
        "	pop %esi\n"
        "	pop %ebx\n"
        "	ret\n"
        "restorer_stub:\n"
        "	mov $173, %eax\n" /* rt_sigreturn */
        "	int $0x80\n"
        "_start:\n"
        "	and $-16, %esp\n"
        "	call helper_main\n");

static long call(long n, long a, long b, long c, long d, long e)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "0"(n), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
	return r;
}

static long map(uint32_t address, uint32_t size, int prot, int flags, int fd)
{
	struct {
		uint32_t address, size, prot, flags, fd, offset;
	} args = { address, size, (uint32_t)prot, (uint32_t)flags, (uint32_t)fd, 0 };

	return call(__NR_mmap, (long)&args, 0, 0, 0, 0);
}

static _Noreturn void leave(int status)
{
	for (;;)
		call(__NR_exit_group, status, 0, 0, 0, 0);
}

static void copy(void *to, const void *from, uint32_t n)
{
	__asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"((uint32_t){ n / 4 }) : : "memory");
}

/* compilers may call these */
void *memcpy(void *to, const void *from, __SIZE_TYPE__ n);
void *memset(void *to, int value, __SIZE_TYPE__ n);

void *memcpy(void *to, const void *from, __SIZE_TYPE__ n)
{
	void *result = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return result;
}

void *memset(void *to, int value, __SIZE_TYPE__ n)
{
	void *result = to;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
	return result;
}

static void arm_timer(long microseconds)
{
	struct {
		long interval_s, interval_us, value_s, value_us;
	} timer = { 0, 0, microseconds / 1000000, microseconds % 1000000 };

	call(__NR_setitimer, 0, (long)&timer, 0, 0, 0);
}

static void on_signal(int sig, struct siginfo *info, struct ucontext *uc)
{
	struct sigcontext *sc = (struct sigcontext *)&uc->uc_mcontext;
	const uint32_t gpr[8] = { sc->eax, sc->ecx, sc->edx, sc->ebx, sc->esp, sc->ebp, sc->esi, sc->edi };
	struct hj_state *out = &present->out;

	(void)info;
	copy(out->gpr, gpr, sizeof(gpr));
	out->eip = sc->eip;
	out->eflags = sc->eflags;
	copy(out->fx, (const uint8_t *)sc->fpstate + __builtin_offsetof(struct _fpstate_32, _fxsr_env), sizeof(out->fx));
	present->signal = (uint32_t)sig;
	present->vector = sc->trapno;
	present->error = sc->err;
	present->cr2 = sc->cr2;
	sc->eip = (uint32_t)resume_stub;
	sc->esp = start.own_esp;
	sc->eflags = FIXED_FLAGS;
	sc->cs = shared->cs_selector;
	sc->ss = sc->ds = sc->es = shared->selector[HJ_SEG_FLAT];
	if (sig == SIGALRM)
		arm_timer(HANG_MICROSECONDS);
}

/* As if INT3 had been there. */
static void save_direct(struct hj_case *k)
{
	copy(k->out.gpr, end.gpr, sizeof(end.gpr));
	k->out.eip = k->in.eip + k->len + 1;
	k->out.eflags = end.eflags;
	copy(k->out.fx, end_fx, sizeof(end_fx));
	k->vector = 3;
}

static void put_jump(uint8_t *at, const uint8_t *to)
{
	uint32_t distance = (uint32_t)to - ((uint32_t)at + 5);

	at[0] = 0xe9;
	memcpy(at + 1, &distance, 4);
}

static void run_case(struct hj_case *k)
{
	const struct hj_state *in = &k->in;
	bool direct = !k->branches && in->segment[HJ_DS] == HJ_SEG_FLAT && in->segment[HJ_SS] == HJ_SEG_FLAT;
	uint8_t *code = (uint8_t *)in->eip;

	present = k;
	k->signal = 0;
	k->vector = ~0u;
	memcpy(code, k->code, k->len);
	if (direct)
		put_jump(code + k->len, end_stub);
	copy((void *)HJ_DATA, in->data, HJ_DATA_SIZE);
	copy(start_fx, in->fx, sizeof(start_fx));
	copy(start.gpr, in->gpr, sizeof(start.gpr));
	start.eip = in->eip;
	start.eflags = in->eflags | FIXED_FLAGS;
	start.es = shared->selector[in->segment[HJ_ES]];
	start.ss = shared->selector[in->segment[HJ_SS]];
	start.ds = shared->selector[in->segment[HJ_DS]];
	start.fs = shared->selector[in->segment[HJ_FS]];
	start.gs = shared->selector[in->segment[HJ_GS]];
	start_stub();
	if (k->vector == ~0u)
		save_direct(k);
	copy(k->out.data, (const void *)HJ_DATA, HJ_DATA_SIZE);
	memset(code, 0xcc, k->len + 5);
}

/* Hand the finished batch back and wait for another. */
static void next_batch(void)
{
	char c = 0;

	arm_timer(0);
	if (call(__NR_write, FD_OUT, (long)&c, 1, 0, 0) != 1 || call(__NR_read, FD_IN, (long)&c, 1, 0, 0) != 1)
		leave(1);
	arm_timer(HANG_MICROSECONDS);
}

static uint16_t make_segment(const struct user_desc *wanted)
{
	struct user_desc d = *wanted;

	d.entry_number = (unsigned)-1;
	if (call(__NR_set_thread_area, (long)&d, 0, 0, 0, 0) < 0)
		leave(3);
	return (uint16_t)(d.entry_number * 8 + 3);
}

static void make_segments(void)
{
	uint16_t cs, ds;

	__asm__("mov %%cs, %0\n\tmov %%ds, %1" : "=r"(cs), "=r"(ds));
	shared->cs_selector = cs;
	shared->selector[HJ_SEG_FLAT] = ds;
	shared->selector[HJ_SEG_BASED] =
	        make_segment(&(struct user_desc){ .base_addr = HJ_DATA, .limit = HJ_DATA_SIZE - 1, .seg_32bit = 1 });
	shared->selector[HJ_SEG_DOWN] =
	        make_segment(&(struct user_desc){ .base_addr = HJ_DATA, .limit = 0xfff, .seg_32bit = 1, .contents = 1 });
	shared->selector[HJ_SEG_READONLY] = make_segment(
	        &(struct user_desc){ .limit = 0xfffff, .limit_in_pages = 1, .seg_32bit = 1, .read_exec_only = 1 });
}

static void catch_signals(void)
{
	static const uint8_t signals[] = { SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM };
	stack_t stack = { .ss_sp = signal_stack, .ss_flags = (int)SS_AUTODISARM_FLAG, .ss_size = sizeof(signal_stack) };
	struct {
		void *handler;
		unsigned long flags;
		const void *restorer;
		unsigned long long mask;
	} action = { (void *)on_signal, SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTORER, restorer_stub,
		     1ull << (SIGALRM - 1) };

	if (call(__NR_sigaltstack, (long)&stack, 0, 0, 0, 0) < 0)
		leave(3);
	for (unsigned i = 0; i < sizeof(signals); i++)
		if (call(__NR_rt_sigaction, signals[i], (long)&action, 0, 8, 0) < 0)
			leave(3);
}

void helper_main(void);
void helper_main(void)
{
	if (map(HJ_SHARED, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, FD_SHARED) != (long)HJ_SHARED ||
	    map(HJ_CODE, HJ_CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
	        -1) != (long)HJ_CODE ||
	    map(HJ_DATA, HJ_DATA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1) !=
	            (long)HJ_DATA)
		leave(3);
	memset((void *)HJ_CODE, 0xcc, HJ_CODE_SIZE);
	make_segments();
	catch_signals();
	shared->ready = 1;
	for (next_batch(); shared->count; next_batch())
		for (uint32_t i = 0; i < shared->count; i++)
			run_case(&shared->cases[i]);
	leave(0);
}
