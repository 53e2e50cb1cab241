/*
 * guest_files.h - the files a guest is made of: read, remembered for the trace's header, handed to the loader.
 */
#ifndef RINGSIDE_TOOLS_GUEST_FILES_H
#define RINGSIDE_TOOLS_GUEST_FILES_H

#include "recorder/trace.h"
#include "tools/options.h"

/* Read GUEST, initrd and modules, load them into the fresh VM. 0, or a negative errno with a message. Nothing stays open or allocated. */
int guest_files_load(struct vm *vm, const struct machine_options *m, const char *guest,
                     struct trace_meta_file files[TRACE_MAX_FILES], uint32_t *file_count, struct vm_error *err);

#endif
