/*
 * native.c - the operations of tests/guests/nano that a program may do on the bare host, in cycles: `native` prints NAME CYCLES a line.
 *
 * What the host's kernel does with them is part of the figure, as it is the guest kernel's in the guest: a division by zero is a SIGFPE whose
 * handler skips the instruction, a page fault a SIGSEGV likewise, a change of a page's entry an mprotect(), a privileged instruction (`fault`) a #GP that
 * becomes a SIGSEGV. Each is the least of several rounds, less an empty loop.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <x86intrin.h>

#define ROUNDS 15
#define TIMES 2000u
#define PAGE_BYTES 4096u

static uint8_t *page, *hole;

#define LOOP(body)                                                                                                     \
	for (uint32_t n_ = TIMES; n_; n_--)                                                                            \
	__asm__ volatile(body : : "b"(hole) : "rax", "rcx", "rdx", "memory", "cc")

/* Both kinds of faulting instruction are as long as `skip` says. */
static volatile int skip;
static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += skip;
}

static void op_empty(void)
{
	LOOP("");
}

static void op_callret(void)
{
	LOOP("sub $128, %%rsp\n call 7f\n jmp 8f\n7: ret\n8: add $128, %%rsp");
}

static void op_syscall(void)
{
	for (uint32_t n = TIMES; n; n--)
		syscall(SYS_getppid);
}

static void op_pgfault(void)
{
	skip = 2;
	LOOP("movl (%%rbx), %%eax");
}

static void op_divzero(void)
{
	skip = 2;
	LOOP("xorl %%ecx, %%ecx\n divl %%ecx");
}

static void op_fault(void)
{
	skip = 1;
	LOOP("hlt");
}

static void op_ptemod(void)
{
	for (uint32_t n = TIMES; n; n--) {
		mprotect(page, PAGE_BYTES, n & 1 ? PROT_READ | PROT_WRITE : PROT_READ);
		(void)*(volatile uint8_t *)page;
	}
}

static void op_cpuid(void)
{
	for (uint32_t n = TIMES; n; n--)
		__asm__ volatile("cpuid" : : "a"(0) : "rbx", "rcx", "rdx");
}

static void op_rdtsc(void)
{
	LOOP("rdtsc");
}

static void op_pushfpopf(void)
{
	LOOP("sub $128, %%rsp\n pushf\n popf\n add $128, %%rsp");
}

static double cycles(void (*run)(void))
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t begin = __rdtsc(), took;

		run();
		took = __rdtsc() - begin;
		least = took < least ? took : least;
	}
	return (double)least / TIMES;
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} ops[] = {
		{ "syscall", op_syscall }, { "callret", op_callret },     { "pgfault", op_pgfault },
		{ "divzero", op_divzero }, { "ptemod", op_ptemod },       { "cpuid", op_cpuid },
		{ "rdtsc", op_rdtsc },     { "pushfpopf", op_pushfpopf }, { "fault", op_fault },
	};
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	double empty;

	page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	hole = mmap(NULL, PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED || hole == MAP_FAILED || sigaction(SIGSEGV, &action, NULL) ||
	    sigaction(SIGFPE, &action, NULL))
		return 1;
	*page = 1;
	empty = cycles(op_empty);
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		double took = cycles(ops[i].run);

		printf("%s %.1f\n", ops[i].name, took > empty ? took - empty : 0);
	}
	return 0;
}
