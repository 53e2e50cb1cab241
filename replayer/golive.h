/*
 * golive.h - bring a VM and its devices to a moment of a trace, from where they can run on live.
 *
 * Memory and registers come from the checkpoint before the moment; so do the devices, which from there are fed every access that the trace
 * logged, and what came in from outside. They answer nothing yet: what they would have answered is compared with what the trace says, so that
 * devices which are not those of the recording are found out, not run on with.
 *
 * Called by whoever then swaps the plugs: `ringside record --from`.
 */
#ifndef RINGSIDE_REPLAYER_GOLIVE_H
#define RINGSIDE_REPLAYER_GOLIVE_H

#include "recorder/trace.h"
#include "vmm/dev/machine.h"

struct golive_result {
	uint64_t icount, event; /* where it is: next event of the trace */
	uint64_t events_left;   /* of the trace, after that */
	uint64_t inputs_left;   /* outside inputs among them: they will not come again */
	uint64_t input_bytes_left;
};

/*
 * vm: fresh, made with the trace's configuration (limit and engine may differ). machine: fresh, made for that VM, its console silent meanwhile.
 * Afterwards the VM's plugs are gone, and its TLB is empty, as in a VM restored from a checkpoint 0 that is made of it now.
 * -ERANGE: no moment of the trace. -ENOTSUP: no devices' state to begin from. -EBADMSG: trace broken, diverging, or of other devices.
 */
int golive(struct trace_reader *reader, uint64_t icount, struct vm *vm, struct machine *machine,
           struct golive_result *out, struct vm_error *err);

#endif
