/*
 * class.c - how deprivileging meets each instruction, from ops.def. ring/table.c gives the reasons.
 */
#include "vmm/decode/insn.h"

static const uint8_t classes[OP_MAX] = {
#define OP(name, class) [OP_##name] = CLASS_##class,
#include "vmm/decode/ops.def"
#include "vmm/decode/ops_fpu.def"
#undef OP
};

enum op_class op_class(enum op op)
{
	return (unsigned)op < OP_MAX ? (enum op_class)classes[op] : CLASS_NONE;
}
