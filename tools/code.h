/*
 * code.h - the guest's code at an address, as text: from the memory of a trace's last checkpoint, without running anything.
 *
 * Code that is not mapped then, or has changed since, is not told: the caller says which instruction it expects.
 */
#ifndef RINGSIDE_TOOLS_CODE_H
#define RINGSIDE_TOOLS_CODE_H

#include "recorder/trace.h"

struct code;

/* The reader must stay open only for this call. On error *out is NULL. Free with code_close (NULL is fine). */
int code_open(struct code **out, struct trace_reader *r, struct vm_error *err);
void code_close(struct code *c);
/* False where there is no such instruction: one whose mnemonic begins as `expected` does. */
bool code_text(void *code, uint64_t address, const char *expected, char *out, size_t size);

#endif
