/*
 * perf.c - see perf.h.
 */
#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "tools/perf.h"

const char *const perf_layer_names[PERF_LAYERS] = { "guest", "vmm", "device", "log" };

static const struct {
	const char *name, *source;
	uint32_t type;
	uint64_t config;
} table[PERF_COUNTERS] = {
	{ "cycles", "hardware", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES },
	{ "instructions", "hardware", PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS },
	{ "cache-misses", "hardware", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES },
	{ "branch-misses", "hardware", PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_MISSES },
	{ "page-faults", "software", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS },
	{ "context-switches", "software", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES },
	{ "task-clock-ns", "software", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK },
};

int perf_open(uint32_t type, uint64_t config, int group, unsigned flags)
{
	struct perf_event_attr attr = { .type = type, .size = sizeof(attr), .config = config };

	attr.exclude_kernel = (flags & PERF_OPEN_USER) != 0;
	attr.exclude_hv = 1;
	attr.read_format = flags & PERF_OPEN_GROUP ? PERF_FORMAT_GROUP : 0;
	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, group, PERF_FLAG_FD_CLOEXEC);
}

/* What stands in for the kernel's counter where perf_event_open is shut altogether. */
static bool usage_value(const char *name, uint64_t *value)
{
	struct rusage u;
	struct timespec t;

	if (getrusage(RUSAGE_THREAD, &u) || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t))
		return false;
	if (!strcmp(name, "page-faults"))
		*value = (uint64_t)(u.ru_minflt + u.ru_majflt);
	else if (!strcmp(name, "context-switches"))
		*value = (uint64_t)(u.ru_nvcsw + u.ru_nivcsw);
	else if (!strcmp(name, "task-clock-ns"))
		*value = (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
	else
		return false;
	return true;
}

static int paranoid(void)
{
	FILE *f = fopen("/proc/sys/kernel/perf_event_paranoid", "re");
	int level = 0;

	if (!f)
		return -1;
	if (fscanf(f, "%d", &level) != 1)
		level = -1;
	fclose(f);
	return level;
}

static void explain(struct perf_counter *c, int error)
{
	if (error == EACCES || error == EPERM)
		snprintf(c->why, sizeof(c->why),
		         "not permitted (kernel.perf_event_paranoid is %d, or a container forbids it)", paranoid());
	else if (error == ENOENT || error == EOPNOTSUPP || error == ENODEV)
		snprintf(c->why, sizeof(c->why), "this host has no such counter (a virtual machine?)");
	else
		snprintf(c->why, sizeof(c->why), "%s", strerror(error));
}

static bool is_hardware(int i)
{
	return table[i].type == PERF_TYPE_HARDWARE;
}

/* The first open counter of the same kind before this one; -1 none: it will lead. */
static int leader_of(const struct perf *p, int i)
{
	for (int k = 0; k < i; k++)
		if (p->counters[k].fd >= 0 && is_hardware(k) == is_hardware(i))
			return k;
	return -1;
}

static void map_counter(struct perf_counter *c)
{
	void *page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED, c->fd, 0);

	c->page = page == MAP_FAILED ? NULL : page;
	c->user_read = c->page && c->page->cap_user_rdpmc && c->page->index;
}

static unsigned how(const struct perf *p)
{
	return PERF_OPEN_GROUP | (p->user_only ? PERF_OPEN_USER : 0);
}

static void start_counter(struct perf *p, int i)
{
	struct perf_counter *c = &p->counters[i];
	int leader = leader_of(p, i), group = leader < 0 ? -1 : p->counters[leader].fd;

	c->name = table[i].name;
	c->source = table[i].source;
	c->fd = perf_open(table[i].type, table[i].config, group, how(p));
	if (c->fd < 0 && !p->user_only && (errno == EACCES || errno == EPERM)) {
		p->user_only = true;
		c->fd = perf_open(table[i].type, table[i].config, group, how(p));
	}
	if (c->fd >= 0 && is_hardware(i))
		map_counter(c);
	if (c->fd >= 0)
		return;
	explain(c, errno);
	c->source = usage_value(c->name, &c->last) ? "getrusage" : NULL;
}

/*
 * As perf_event_open(2) describes it: the kernel may move the counter meanwhile, then it is read again. False when it is not on the unit
 * at the moment.
 */
static bool read_in_user_space(const struct perf_counter *c, uint64_t *value)
{
	const volatile struct perf_event_mmap_page *page = c->page;
	uint32_t lock, index;

	do {
		lock = page->lock;
		__asm__ volatile("" ::: "memory");
		index = page->index;
		if (!page->cap_user_rdpmc || !index)
			return false;
		*value = (uint64_t)page->offset;
		*value += (uint64_t)((int64_t)((uint64_t)__rdpmc((int)index - 1) << (64 - page->pmc_width)) >>
		                     (64 - page->pmc_width));
		__asm__ volatile("" ::: "memory");
	} while (page->lock != lock);
	return true;
}

/* All of a group by one system call: how many, then their values in the order in which they were opened. */
static void read_group(const struct perf *p, int leader, uint64_t now[PERF_COUNTERS])
{
	uint64_t values[1 + PERF_COUNTERS];
	size_t at = 1;

	if (read(p->counters[leader].fd, values, sizeof(values)) < (ssize_t)sizeof(*values))
		return;
	for (int i = leader; i < PERF_COUNTERS && at <= values[0]; i++)
		if (p->counters[i].fd >= 0 && is_hardware(i) == is_hardware(leader))
			now[i] = values[at++];
}

static bool group_in_user_space(const struct perf *p, int leader, uint64_t now[PERF_COUNTERS])
{
	for (int i = leader; i < PERF_COUNTERS; i++) {
		const struct perf_counter *c = &p->counters[i];

		if (c->fd < 0 || is_hardware(i) != is_hardware(leader))
			continue;
		if (!c->user_read || !read_in_user_space(c, &now[i]))
			return false;
	}
	return true;
}

static void read_all(const struct perf *p, uint64_t now[PERF_COUNTERS])
{
	for (int i = 0; i < PERF_COUNTERS; i++) {
		const struct perf_counter *c = &p->counters[i];

		if (c->fd < 0 && c->source)
			usage_value(c->name, &now[i]);
		else if (c->fd >= 0 && leader_of(p, i) < 0 && !group_in_user_space(p, i, now))
			read_group(p, i, now);
	}
}

static void account(struct perf *p)
{
	uint64_t now[PERF_COUNTERS];

	for (int i = 0; i < PERF_COUNTERS; i++)
		now[i] = p->counters[i].last;
	read_all(p, now);
	for (int i = 0; i < PERF_COUNTERS; i++) {
		struct perf_counter *c = &p->counters[i];

		if (now[i] > c->last)
			c->layer[p->now] += now[i] - c->last;
		c->last = now[i];
	}
}

enum perf_layer perf_enter(struct perf *p, enum perf_layer layer)
{
	enum perf_layer before = p->now;

	if (layer != before) {
		account(p);
		p->now = layer;
		p->reads++;
	}
	return before;
}

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

#define READS_TIMED 1000

void perf_start(struct perf *p)
{
	uint64_t begin;

	memset(p, 0, sizeof(*p));
	p->now = PERF_VMM;
	for (int i = 0; i < PERF_COUNTERS; i++)
		p->counters[i].fd = -1;
	for (int i = 0; i < PERF_COUNTERS; i++)
		start_counter(p, i);
	begin = monotonic_ns();
	for (int i = 0; i < READS_TIMED; i++)
		account(p);
	p->read_ns = (monotonic_ns() - begin) / READS_TIMED;
	for (int i = 0; i < PERF_COUNTERS; i++)
		memset(p->counters[i].layer, 0, sizeof(p->counters[i].layer));
}

void perf_stop(struct perf *p)
{
	account(p);
	for (int i = 0; i < PERF_COUNTERS; i++) {
		struct perf_counter *c = &p->counters[i];

		for (int k = 0; k < PERF_LAYERS; k++)
			c->value += c->layer[k];
		if (c->page)
			munmap(c->page, (size_t)sysconf(_SC_PAGESIZE));
		c->page = NULL;
		if (c->fd >= 0)
			close(c->fd);
	}
}

void perf_print(FILE *out, const struct perf *p)
{
	fprintf(out, "  %-17s %16s", "", "all");
	for (int k = 0; k < PERF_LAYERS; k++)
		fprintf(out, " %14s", perf_layer_names[k]);
	fputc('\n', out);
	for (int i = 0; i < PERF_COUNTERS; i++) {
		const struct perf_counter *c = &p->counters[i];

		if (!c->source) {
			fprintf(out, "  %-17s %16s  unavailable: %s\n", c->name, "-", c->why);
			continue;
		}
		fprintf(out, "  %-17s %16llu", c->name, (unsigned long long)c->value);
		for (int k = 0; k < PERF_LAYERS; k++)
			fprintf(out, " %14llu", (unsigned long long)c->layer[k]);
		fprintf(out, "  %s%s%s\n", c->source, c->user_read ? ", read in user space" : "",
		        p->user_only && c->fd >= 0 ? ", user mode only" : "");
	}
	fprintf(out, "  read at %llu changes of layer, %llu ns each: about %.3f s of the run\n",
	        (unsigned long long)p->reads, (unsigned long long)p->read_ns,
	        (double)p->reads * (double)p->read_ns / 1e9);
}
