/*
 * perf.c - see perf.h.
 */
#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tools/perf.h"

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

static int open_counter(uint32_t type, uint64_t config, bool user_only)
{
	struct perf_event_attr attr = { .type = type, .size = sizeof(attr), .config = config };

	attr.exclude_kernel = user_only;
	attr.exclude_hv = 1;
	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
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

static void start_counter(struct perf *p, int i)
{
	struct perf_counter *c = &p->counters[i];

	c->name = table[i].name;
	c->source = table[i].source;
	c->fd = open_counter(table[i].type, table[i].config, p->user_only);
	if (c->fd < 0 && !p->user_only && (errno == EACCES || errno == EPERM)) {
		p->user_only = true;
		c->fd = open_counter(table[i].type, table[i].config, true);
	}
	if (c->fd >= 0)
		return;
	explain(c, errno);
	c->source = usage_value(c->name, &c->value) ? "getrusage" : NULL;
}

void perf_start(struct perf *p)
{
	memset(p, 0, sizeof(*p));
	for (int i = 0; i < PERF_COUNTERS; i++)
		start_counter(p, i);
}

void perf_stop(struct perf *p)
{
	for (int i = 0; i < PERF_COUNTERS; i++) {
		struct perf_counter *c = &p->counters[i];
		uint64_t now = 0;

		if (c->fd >= 0) {
			if (read(c->fd, &c->value, sizeof(c->value)) != sizeof(c->value))
				c->source = NULL;
			close(c->fd);
		} else if (c->source && usage_value(c->name, &now)) {
			c->value = now - c->value;
		}
	}
}

void perf_print(FILE *out, const struct perf *p)
{
	for (int i = 0; i < PERF_COUNTERS; i++) {
		const struct perf_counter *c = &p->counters[i];

		if (c->source)
			fprintf(out, "  %-17s %16llu  %s%s\n", c->name, (unsigned long long)c->value, c->source,
			        p->user_only && c->fd >= 0 ? ", user mode only" : "");
		else
			fprintf(out, "  %-17s %16s  unavailable: %s\n", c->name, "-", c->why);
	}
}
