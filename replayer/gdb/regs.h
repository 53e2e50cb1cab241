/*
 * regs.h - the registers that gdb sees, from one table: target description, order, sizes, values.
 *
 * The guest's view (virtual state) throughout; the real CPL, CS and SS are registers of their own at the end, with the rest of the system state and
 * `icount`. eip is the guest's own, an offset in CS; memory addresses are linear.
 */
#ifndef RINGSIDE_REPLAYER_GDB_REGS_H
#define RINGSIDE_REPLAYER_GDB_REGS_H

#include "replayer/gdb/text.h"
#include "vmm/cpu/vcpu.h"

#define GDB_REG_MAX 16 /* bytes */
#define GDB_REG_ESP 4
#define GDB_REG_EBP 5
#define GDB_REG_EIP 8

unsigned gdb_regs_count(void);
/* Little-endian value into `out`, which has room for GDB_REG_MAX; returns its length; 0 when there is no such register. */
unsigned gdb_regs_read(const struct vcpu *c, unsigned number, uint8_t *out);
/* Changes it. GDB_REG_FIXED when it is not to be changed and this is another value: icount, the real view, and in protected mode whatever
 * comes from descriptors. Whether the guest can bear the new value is not judged here. */
enum gdb_reg_change { GDB_REG_DONE, GDB_REG_NONE, GDB_REG_LENGTH, GDB_REG_FIXED };
enum gdb_reg_change gdb_regs_write(struct vcpu *c, unsigned number, const uint8_t *value, size_t len);
const char *gdb_regs_name(unsigned number); /* NULL when there is no such register */
/* All of target.xml. */
void gdb_regs_describe(struct gdb_text *out);

/* What the virtual state is converted to while it runs (ring/ring.h). */
unsigned gdb_real_cpl(const struct vcpu *c);

#endif
