/*
 * calibrate.c - see calibrate.h. Each constant is measured on its own many times; a few runs before warm what it touches.
 */
#include <errno.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "profiler/stats.h"
#include "tools/calibrate.h"
#include "tools/perf.h"
#include "vmm/engine/codebuf.h"
#include "vmm/engine/hardfault.h"

#define WARM 8
#define COPY_SMALL 4096u
#define COPY_LARGE 65536u
#define CODE_BYTES 4096u

/* What the measured things need. */
struct bench {
	struct codebuf code;
	struct hardfaults faults;
	bool can_fault;
	uint8_t *from, *to;
	int perf_fd;
	struct perf_event_mmap_page *perf_page; /* NULL: counters cannot be read in user space */
};

/* ---- one measurement each: cycles ---- */

static uint64_t time_counter(struct bench *b)
{
	uint64_t begin = __rdtsc();

	(void)b;
	return __rdtsc() - begin;
}

static uint64_t time_clock(struct bench *b)
{
	uint64_t begin = __rdtsc();
	struct timespec now;

	(void)b;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return __rdtsc() - begin;
}

static uint64_t time_syscall(struct bench *b)
{
	uint64_t begin = __rdtsc();

	(void)b;
	syscall(SYS_getppid);
	return __rdtsc() - begin;
}

static void fault(const struct bench *b)
{
	((void (*)(void))(uintptr_t)b->code.exec)();
}

static uint64_t time_fault(struct bench *b)
{
	uint64_t begin = __rdtsc();

	fault(b);
	return __rdtsc() - begin;
}

static uint64_t time_fault_in(struct bench *b)
{
	uint64_t begin = __rdtsc();

	fault(b);
	return b->faults.entered - begin;
}

static uint64_t time_fault_out(struct bench *b)
{
	fault(b);
	return __rdtsc() - b->faults.entered;
}

static uint64_t time_copy_small(struct bench *b)
{
	uint64_t begin = __rdtsc();

	memcpy(b->to, b->from, COPY_SMALL);
	__asm__ volatile("" : : "r"(b->to) : "memory");
	return __rdtsc() - begin;
}

static uint64_t time_copy_large(struct bench *b)
{
	uint64_t begin = __rdtsc();

	memcpy(b->to, b->from, COPY_LARGE);
	__asm__ volatile("" : : "r"(b->to) : "memory");
	return __rdtsc() - begin;
}

static uint64_t time_perf_syscall(struct bench *b)
{
	uint64_t begin = __rdtsc(), value;

	if (read(b->perf_fd, &value, sizeof(value)) != sizeof(value))
		return 0;
	return __rdtsc() - begin;
}

static uint64_t time_perf_user(struct bench *b)
{
	uint32_t index = b->perf_page->index;
	uint64_t begin = __rdtsc();

	if (index)
		(void)__rdpmc((int)index - 1);
	return __rdtsc() - begin;
}

/* ---- what is measured ---- */

enum need { NEED_NOTHING, NEED_FAULT, NEED_PERF, NEED_PERF_USER };
static const struct {
	const char *key, *title;
	uint64_t (*time)(struct bench *b);
	enum need need;
} constants[] = {
	{ "counter_read", "counter read (RDTSC)", time_counter, NEED_NOTHING },
	{ "clock_read", "clock read", time_clock, NEED_NOTHING },
	{ "system_call", "system call", time_syscall, NEED_NOTHING },
	{ "fault_round_trip", "fault round trip", time_fault, NEED_FAULT },
	{ "fault_to_handler", "  #GP to SIGSEGV handler", time_fault_in, NEED_FAULT },
	{ "handler_to_code", "  handler back to code", time_fault_out, NEED_FAULT },
	{ "perf_read", "perf read (system call)", time_perf_syscall, NEED_PERF },
	{ "perf_read_user", "perf read (user space)", time_perf_user, NEED_PERF_USER },
	{ "copy_4k", "memory copy, 4 KiB", time_copy_small, NEED_NOTHING },
	{ "copy_64k", "memory copy, 64 KiB", time_copy_large, NEED_NOTHING },
};
_Static_assert(sizeof(constants) / sizeof(*constants) <= CALIBRATED_MAX, "room for all");

static void prepare_perf(struct bench *b)
{
	void *page;

	b->perf_fd = perf_open(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES, -1, PERF_OPEN_USER);
	if (b->perf_fd < 0) {
		b->perf_fd = perf_open(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK, -1, PERF_OPEN_USER);
		return;
	}
	page = mmap(NULL, (size_t)getpagesize(), PROT_READ, MAP_SHARED, b->perf_fd, 0);
	if (page == MAP_FAILED)
		return;
	b->perf_page = page;
	if (!b->perf_page->cap_user_rdpmc || !b->perf_page->index) {
		munmap(page, (size_t)getpagesize());
		b->perf_page = NULL;
	}
}

/* The instruction, UD2 in case that the host permits it, and a RET at the landing. */
static bool prepare_fault(struct bench *b, unsigned op)
{
	const struct insn in = { .op = (uint16_t)op, .opsize = 1, .flags = IF_DX };
	uint32_t at = (uint32_t)(uintptr_t)b->code.exec;
	unsigned len = hardfault_code(&in, b->code.write);

	if (!len)
		return false;
	memcpy(b->code.write + len, "\x0f\x0b\xc3", 3);
	b->faults.count = 0;
	hardfault_add(&b->faults, (struct hardfault_place){ .at = at, .landing = at + len + 2, .len = (uint16_t)len });
	return true;
}

static bool open_faults(struct bench *b)
{
	if (codebuf_create(&b->code, CODE_BYTES))
		return false;
	if (!hardfault_create(&b->faults))
		return true;
	codebuf_destroy(&b->code);
	return false;
}

static void close_bench(struct bench *b)
{
	if (b->can_fault) {
		hardfault_destroy(&b->faults);
		codebuf_destroy(&b->code);
	}
	if (b->perf_page)
		munmap(b->perf_page, (size_t)getpagesize());
	if (b->perf_fd >= 0)
		close(b->perf_fd);
	free(b->from);
	free(b->to);
}

static int open_bench(struct bench *b, unsigned what)
{
	*b = (struct bench){ .perf_fd = -1 };
	b->from = malloc(COPY_LARGE);
	b->to = malloc(COPY_LARGE);
	b->can_fault = (what & CALIBRATE_FAULTS) && open_faults(b);
	if (what & CALIBRATE_PERF)
		prepare_perf(b);
	if (!b->from || !b->to) {
		close_bench(b);
		return -ENOMEM;
	}
	memset(b->from, 1, COPY_LARGE);
	if (b->can_fault)
		b->can_fault = prepare_fault(b, OP_HLT);
	return 0;
}

/* ---- measuring ---- */

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void measure(struct bench *b, uint64_t (*time)(struct bench *b), uint32_t *room, struct calibrated *out)
{
	struct hardfaults *outer = hardfault_enter(b->can_fault ? &b->faults : NULL);

	for (unsigned i = 0; i < WARM; i++)
		time(b);
	for (unsigned i = 0; i < out->samples; i++) {
		uint64_t cycles = time(b);

		room[i] = cycles < UINT32_MAX ? (uint32_t)cycles : UINT32_MAX;
	}
	hardfault_leave(outer);
	qsort(room, out->samples, sizeof(*room), compare_u32);
	out->min = room[0];
	out->p25 = stats_percentile(room, out->samples, 25);
	out->median = stats_percentile(room, out->samples, 50);
	out->p75 = stats_percentile(room, out->samples, 75);
	out->p95 = stats_percentile(room, out->samples, 95);
	out->max = room[out->samples - 1];
}

static const char *missing(const struct bench *b, enum need need)
{
	if (need == NEED_FAULT && !b->can_fault)
		return "no memory for code that faults";
	if (need == NEED_PERF && b->perf_fd < 0)
		return "perf_event_open is not permitted or has no counter here";
	if (need == NEED_PERF_USER && !b->perf_page)
		return "this host has no hardware counter, or does not let user space read it";
	return NULL;
}

int calibrate(struct calibration *out, unsigned samples, unsigned what)
{
	uint32_t *room = malloc(samples * sizeof(*room));
	struct bench b;

	memset(out, 0, sizeof(*out));
	if (!room || open_bench(&b, what)) {
		free(room);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < sizeof(constants) / sizeof(*constants); i++) {
		struct calibrated *one = &out->list[out->count++];

		*one = (struct calibrated){ .key = constants[i].key, .title = constants[i].title, .samples = samples };
		one->why = missing(&b, constants[i].need);
		if (!one->why)
			measure(&b, constants[i].time, room, one);
	}
	close_bench(&b);
	free(room);
	return 0;
}

bool calibrate_fault(struct calibrated *out, unsigned op, unsigned samples)
{
	uint32_t *room = malloc(samples * sizeof(*room));
	struct bench b;
	bool faults;

	*out = (struct calibrated){ .key = op_name((enum op)op), .title = op_name((enum op)op), .samples = samples };
	if (!room || open_bench(&b, CALIBRATE_FAULTS)) {
		free(room);
		return false;
	}
	faults = b.can_fault && prepare_fault(&b, op);
	if (faults)
		measure(&b, time_fault, room, out);
	close_bench(&b);
	free(room);
	return faults;
}

void calibrate_meta(struct trace_meta *meta, unsigned samples, unsigned what)
{
	struct calibration c;

	meta->host_cost_count = 0;
	if (calibrate(&c, samples, what))
		return;
	for (unsigned i = 0; i < c.count; i++) {
		const struct calibrated *one = &c.list[i];
		struct trace_host_cost *to = &meta->host_costs[meta->host_cost_count];

		if (one->why)
			continue;
		*to = (struct trace_host_cost){
			.min = one->min, .median = one->median, .p95 = one->p95, .samples = one->samples
		};
		strncpy(to->name, one->key, sizeof(to->name) - 1);
		meta->host_cost_count++;
	}
}
