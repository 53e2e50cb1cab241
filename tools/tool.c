/*
 * tool.c - see tool.h.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "recorder/maker.h"
#include "tools/tool.h"

#define TSC_MEASURED_NS 5000000u /* two moments lie within 50 ns: 20 parts in a million */

int tool_error(int status, const char *fmt, ...)
{
	va_list args;

	fputs("ringside: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return status;
}

int tool_fail(int code, const struct vm_error *err)
{
	static const int host[] = { ENOMEM, ENOSPC, EIO, EMFILE, ENFILE, EAGAIN, EDQUOT, EFBIG, EROFS, EINTR, EBUSY };

	for (size_t i = 0; i < sizeof(host) / sizeof(*host); i++)
		if (code == -host[i])
			return tool_error(TOOL_HOST, "%s", err->text);
	return tool_error(TOOL_BAD_INPUT, "%s", err->text);
}

static bool parse_scaled(const char *text, uint64_t base, uint64_t *out)
{
	static const char suffixes[] = "KMG";
	unsigned long long value;
	uint64_t scale = 1;
	const char *at;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno)
		return false;
	if (*end) {
		at = strchr(suffixes, *end >= 'a' ? *end - 'a' + 'A' : *end);
		if (!at || end[1])
			return false;
		for (long i = 0; i <= at - suffixes; i++)
			scale *= base;
	}
	return !__builtin_mul_overflow(value, scale, out);
}

bool tool_parse_size(const char *text, uint64_t *out)
{
	return parse_scaled(text, 1024, out);
}

bool tool_parse_count(const char *text, uint64_t *out)
{
	return parse_scaled(text, 1000, out);
}

int tool_open_replay(struct trace_reader **out, const char *path, struct vm_error *err)
{
	char doubt[MAKER_DOUBT_MAX];
	int rc = trace_reader_open(out, path, err);

	if (!rc && maker_doubt(trace_reader_meta(*out), doubt))
		tool_error(0, "%s: may diverge here: %s", path, doubt);
	return rc;
}

int tool_stop_status(const struct vm_stop *stop)
{
	switch (stop->reason) {
	case STOP_NONE:
	case STOP_POWEROFF:
	case STOP_RESET:
	case STOP_LIMIT:
	case STOP_TRACE_END: return TOOL_OK;
	case STOP_DEBUG_EXIT: return (int)(stop->code & 255);
	case STOP_INTERRUPTED: return TOOL_INTERRUPTED;
	default: return TOOL_GUEST_FAILED;
	}
}

/* ---- progress ------------------------------------------------------------------------------------------------ */

#define PROGRESS_NS 200000000ull

void progress_begin(struct progress *p, const char *what)
{
	p->what = what;
	p->on = isatty(STDERR_FILENO);
	p->next_ns = p->on ? host_now_ns() + PROGRESS_NS : 0;
}

void progress_show(void *self, double done)
{
	struct progress *p = self;
	uint64_t now;

	if (!p->on)
		return;
	now = host_now_ns();
	if (now < p->next_ns)
		return;
	p->next_ns = now + PROGRESS_NS;
	fprintf(stderr, "\r%s %3.0f %%", p->what, done * 100);
	fflush(stderr);
}

bool progress_due(const struct progress *p)
{
	return p->on && host_now_ns() >= p->next_ns;
}

void progress_text(struct progress *p, const char *text)
{
	p->next_ns = host_now_ns() + PROGRESS_NS;
	fprintf(stderr, "\r%s %s\033[K", p->what, text);
	fflush(stderr);
}

void progress_end(struct progress *p)
{
	if (p->on)
		fputs("\r\033[K", stderr);
	p->on = false;
}

/* ---- host ------------------------------------------------------------------------------------------------------ */

uint64_t host_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

uint64_t host_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* Of a few tries, the one with the least time between the two readings of the cycle counter. */
struct host_moment host_moment(void)
{
	struct host_moment m = { 0, 0 };
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 10; i++) {
		uint64_t before = __rdtsc(), now = host_now_ns(), took = __rdtsc() - before;

		if (took >= least)
			continue;
		least = took;
		m = (struct host_moment){ before + took / 2, now };
	}
	return m;
}

uint64_t host_tsc_hz(const struct host_moment *since)
{
	uint64_t passed = host_now_ns() - since->ns;
	struct host_moment m;

	if (passed < TSC_MEASURED_NS)
		nanosleep(&(struct timespec){ 0, (long)(TSC_MEASURED_NS - passed) }, NULL);
	m = host_moment();
	return m.ns > since->ns ? (uint64_t)((double)(m.cycles - since->cycles) * 1e9 / (double)(m.ns - since->ns)) : 0;
}

/* By the processor's own brand string (SDM vol. 2A, CPUID, leaves 0x80000002 to 0x80000004): /proc/cpuinfo has the same, but measures every processor's
 * present frequency first, for milliseconds. */
void host_cpu_name(char *out, size_t size)
{
	unsigned regs[3][4];
	char brand[sizeof(regs) + 1] = "";
	size_t len;

	for (unsigned i = 0; i < 3; i++)
		if (!__get_cpuid(0x80000002 + i, &regs[i][0], &regs[i][1], &regs[i][2], &regs[i][3])) {
			snprintf(out, size, "unknown");
			return;
		}
	memcpy(brand, regs, sizeof(regs));
	for (len = strlen(brand); len && brand[len - 1] == ' '; len--)
		brand[len - 1] = 0;
	snprintf(out, size, "%s", brand + strspn(brand, " "));
}
