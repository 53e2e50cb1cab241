/*
 * error.c - messages for a person, and the names of the reasons a run ends.
 */
#include <stdarg.h>
#include <stdio.h>

#include "vmm/vm.h"

int vm_fail(struct vm_error *err, int code, const char *fmt, ...)
{
	va_list args;

	if (err) {
		va_start(args, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, args);
		va_end(args);
	}
	return code;
}

static const char *const stop_names[STOP_REASON_MAX] = {
	[STOP_NONE] = "none",
	[STOP_POWEROFF] = "power off",
	[STOP_RESET] = "reset",
	[STOP_TRIPLE_FAULT] = "triple fault",
	[STOP_DEBUG_EXIT] = "debug exit",
	[STOP_LIMIT] = "limit",
	[STOP_IDLE] = "idle",
	[STOP_GUEST_ERROR] = "guest error",
	[STOP_OBSERVER] = "stopped by observer",
	[STOP_TRACE_END] = "end of trace",
	[STOP_INTERRUPTED] = "interrupted",
};

const char *vm_stop_name(enum vm_stop_reason reason)
{
	return (unsigned)reason < STOP_REASON_MAX ? stop_names[reason] : NULL;
}

const char *vm_engine_name(enum engine_kind engine)
{
	return engine == ENGINE_TRANSLATE ? "translate" : "interp";
}

const char *vm_trap_name(enum trap_kind trap)
{
	return trap == TRAP_FAULT ? "fault" : "call";
}
