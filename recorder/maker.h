/*
 * maker.h - who made the processor that a trace was recorded on, and whether this host's is by the same.
 *
 * Guest code runs nearly unchanged on the host's processor. Flags that the manuals leave undefined are mostly what that one makes of them: OF after a
 * shift by more than one, all but one or two after MUL, DIV, BT and BSF. Makers differ in them, and a guest that lets one show (it pushes its flags,
 * say) runs differently on another's. Many do not, so nothing is refused for it; but who sees a replay diverge has to know.
 *
 * Called by whoever fills a trace's header, opens a trace to run it again, or tells of a divergence.
 */
#ifndef RINGSIDE_RECORDER_MAKER_H
#define RINGSIDE_RECORDER_MAKER_H

#include "recorder/trace.h"

/* "GenuineIntel", "AuthenticAMD": printable, and fits trace_meta.host_maker. */
void host_cpu_maker(char *out, size_t size);

#define MAKER_DOUBT_MAX 192
/* Is the trace's maker known, and another than this host's? Then `doubt` says so, why that matters, and what helps, on one line without a
 * full stop. Otherwise it is "". */
bool maker_doubt(const struct trace_meta *meta, char doubt[MAKER_DOUBT_MAX]);

#endif
