/*
 * event.c - names of event kinds and phases.
 *
 * They appear in reports, JSON and dumps, so they never change; a new kind appends one.
 */
#include "vmm/event.h"

static const char *const kind_names[EV_KIND_MAX] = {
	[EV_FAULT] = "fault",         [EV_SENSITIVE] = "sensitive",   [EV_PIO] = "pio", [EV_MMIO] = "mmio",
	[EV_EXCEPTION] = "exception", [EV_INTERRUPT] = "interrupt",   [EV_DMA] = "dma", [EV_INPUT] = "input",
	[EV_MARKER] = "marker",       [EV_CHECKPOINT] = "checkpoint", [EV_END] = "end", [EV_LEAK] = "leak",
	[EV_CHANGE] = "change",
};

static const char *const phase_names[PH_MAX] = {
	[PH_GUEST] = "guest", [PH_DECODE] = "decode",   [PH_TLB] = "tlb",         [PH_VIEW] = "view",
	[PH_FAULT] = "fault", [PH_CALLOUT] = "callout", [PH_ENTRY] = "entry",     [PH_EMULATE] = "emulate",
	[PH_LOG] = "log",     [PH_DEVICE] = "device",   [PH_REFLECT] = "reflect",
};

const char *event_kind_name(enum event_kind kind)
{
	return (unsigned)kind < EV_KIND_MAX ? kind_names[kind] : NULL;
}

const char *event_phase_name(enum event_phase phase)
{
	return (unsigned)phase < PH_MAX ? phase_names[phase] : NULL;
}
