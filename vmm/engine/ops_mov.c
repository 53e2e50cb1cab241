/*
 * ops_mov.c - data movement: MOV, MOVZX, MOVSX, XCHG, LEA, CMOVcc, SETcc, BSWAP, CBW, CWD, LAHF, SAHF, XLAT.
 *
 * Bound by interp_bind_int(). No handler here sets flags but SAHF. See ops.h for the three handlers of a memory form.
 */
#include "vmm/engine/ops.h"

/* ---- MOV ---- */

#define MOV(bits)                                                                                                      \
	INSN(mov##bits##_rr)                                                                                           \
	{                                                                                                              \
		REG(bits, ip->rm) = REG(bits, ip->reg);                                                                \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(mov##bits##_ri)                                                                                           \
	{                                                                                                              \
		REG(bits, ip->rm) = (UINT(bits))ip->imm;                                                               \
		NEXT;                                                                                                  \
	}                                                                                                              \
	READER(mov##bits##_rm, bits, REG(bits, ip->reg) = v)                                                           \
	WRITER(mov##bits##_mr, bits, REG(bits, ip->reg))                                                               \
	WRITER(mov##bits##_mi, bits, ip->imm)
MOV(8)
MOV(16)
MOV(32)

#define MOV_SLOTS(n)                                                                                                   \
	{                                                                                                              \
		[SLOT_RR] = n##_rr, [SLOT_RI] = n##_ri, SLOTS_RM(n), SLOTS_MR(n), SLOTS_MI(n)                          \
	}
static row mov_row = { MOV_SLOTS(mov8), MOV_SLOTS(mov16), MOV_SLOTS(mov32) };

/* ---- MOVZX, MOVSX: from, to ---- */

#define EXTEND(name, from, to, type)                                                                                   \
	INSN(name##_rr)                                                                                                \
	{                                                                                                              \
		REG(to, ip->rm) = (UINT(to))(type)REG(from, ip->reg);                                                  \
		NEXT;                                                                                                  \
	}                                                                                                              \
	READER(name##_rm, from, REG(to, ip->reg) = (UINT(to))(type)v)
EXTEND(movzx8_16, 8, 16, uint8_t)
EXTEND(movzx8_32, 8, 32, uint8_t)
EXTEND(movzx16_32, 16, 32, uint16_t)
EXTEND(movsx8_16, 8, 16, int8_t)
EXTEND(movsx8_32, 8, 32, int8_t)
EXTEND(movsx16_32, 16, 32, int16_t)
/* MOVZX r16, r/m16 exists and is a plain move: mov16. */

#define EXTEND_SLOTS(n)                                                                                                \
	{                                                                                                              \
		[SLOT_RR] = n##_rr, SLOTS_RM(n)                                                                        \
	}
static row movzx8_row = { [SIZE_16] = EXTEND_SLOTS(movzx8_16), [SIZE_32] = EXTEND_SLOTS(movzx8_32) };
static row movsx8_row = { [SIZE_16] = EXTEND_SLOTS(movsx8_16), [SIZE_32] = EXTEND_SLOTS(movsx8_32) };
static row movzx16_row = { [SIZE_16] = EXTEND_SLOTS(mov16), [SIZE_32] = EXTEND_SLOTS(movzx16_32) };
static row movsx16_row = { [SIZE_16] = EXTEND_SLOTS(mov16), [SIZE_32] = EXTEND_SLOTS(movsx16_32) };

/* ---- LEA ---- */

INSN(lea32_rm_s)
{
	GPR32(c, ip->reg) = ea_s(c, ip);
	NEXT;
}
INSN(lea32_rm_g)
{
	GPR32(c, ip->reg) = ea_g(c, ip);
	NEXT;
}
INSN(lea16_rm_s)
{
	GPR16(c, ip->reg) = (uint16_t)ea_s(c, ip);
	NEXT;
}
INSN(lea16_rm_g)
{
	GPR16(c, ip->reg) = (uint16_t)ea_g(c, ip);
	NEXT;
}
static row lea_row = { [SIZE_16] = { SLOTS_RM(lea16) }, [SIZE_32] = { SLOTS_RM(lea32) } };

/* ---- XCHG: always locked on hardware, which one processor does not see ---- */

#define XCHG_FAST(bits, shape)                                                                                         \
	INSN(xchg##bits##_mr_##shape)                                                                                  \
	{                                                                                                              \
		void *p = mem_rmw##bits(c, ip->seg, ea_##shape(c, ip));                                                \
		UINT(bits) v;                                                                                          \
		if (unlikely(!p))                                                                                      \
			return xchg##bits##_mr_slow(c, ip);                                                            \
		v = ld##bits(p);                                                                                       \
		st##bits(p, REG(bits, ip->reg));                                                                       \
		REG(bits, ip->reg) = v;                                                                                \
		NEXT;                                                                                                  \
	}
#define XCHG(bits)                                                                                                     \
	INSN(xchg##bits##_rr)                                                                                          \
	{                                                                                                              \
		UINT(bits) v = REG(bits, ip->rm);                                                                      \
		REG(bits, ip->rm) = REG(bits, ip->reg);                                                                \
		REG(bits, ip->reg) = v;                                                                                \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(xchg##bits##_mr_slow)                                                                                     \
	{                                                                                                              \
		uint32_t ea = insn_ea(c, ip);                                                                          \
		UINT(bits) v;                                                                                          \
		BEGIN;                                                                                                 \
		mem_check_write(c, ip->seg, ea, bits / 8);                                                             \
		v = mem_read##bits(c, ip->seg, ea);                                                                    \
		mem_write##bits(c, ip->seg, ea, REG(bits, ip->reg));                                                   \
		REG(bits, ip->reg) = v;                                                                                \
		NEXT;                                                                                                  \
	}                                                                                                              \
	XCHG_FAST(bits, s)                                                                                             \
	XCHG_FAST(bits, g)
XCHG(8)
XCHG(16)
XCHG(32)
#define XCHG_SLOTS(n)                                                                                                  \
	{                                                                                                              \
		[SLOT_RR] = n##_rr, SLOTS_MR(n)                                                                        \
	}
static row xchg_row = { XCHG_SLOTS(xchg8), XCHG_SLOTS(xchg16), XCHG_SLOTS(xchg32) };

/* ---- CMOVcc (reads memory whatever the condition), SETcc ---- */

#define CONDITIONAL(cc, condition)                                                                                     \
	INSN(cmov##cc##16_rr)                                                                                          \
	{                                                                                                              \
		if (condition)                                                                                         \
			GPR16(c, ip->rm) = GPR16(c, ip->reg);                                                          \
		NEXT;                                                                                                  \
	}                                                                                                              \
	INSN(cmov##cc##32_rr)                                                                                          \
	{                                                                                                              \
		if (condition)                                                                                         \
			GPR32(c, ip->rm) = GPR32(c, ip->reg);                                                          \
		NEXT;                                                                                                  \
	}                                                                                                              \
	READER(cmov##cc##16_rm, 16, if (condition) GPR16(c, ip->reg) = v)                                              \
	READER(cmov##cc##32_rm, 32, if (condition) GPR32(c, ip->reg) = v)                                              \
	INSN(set##cc##_r)                                                                                              \
	{                                                                                                              \
		GPR8(c, ip->rm) = (condition);                                                                         \
		NEXT;                                                                                                  \
	}                                                                                                              \
	WRITER(set##cc##_m, 8, condition)
CONDITIONS(CONDITIONAL)

#define CMOV_ROW(cc, condition) { [SIZE_16] = EXTEND_SLOTS(cmov##cc##16), [SIZE_32] = EXTEND_SLOTS(cmov##cc##32) },
#define SET_ROW(cc, condition) { [SIZE_8] = { [SLOT_R] = set##cc##_r, SLOTS_M(set##cc) } },
static row cmov_rows[16] = { CONDITIONS(CMOV_ROW) };
static row set_rows[16] = { CONDITIONS(SET_ROW) };

/* ---- the rest ---- */

INSN(bswap32)
{
	GPR32(c, ip->rm) = __builtin_bswap32(GPR32(c, ip->rm));
	NEXT;
}

/* Undefined by the manual: what the host does. */
INSN(bswap16)
{
	uint32_t v = GPR32(c, ip->rm);

	__asm__(".byte 0x66, 0x0f, 0xc8" : "+a"(v)); /* bswap ax */
	GPR32(c, ip->rm) = v;
	NEXT;
}

INSN(cbw)
{
	GPR16(c, 0) = (uint16_t)(int8_t)GPR8(c, 0);
	NEXT;
}
INSN(cwde)
{
	GPR32(c, 0) = (uint32_t)(int16_t)GPR16(c, 0);
	NEXT;
}
INSN(cwd)
{
	GPR16(c, 8 * R_DX) = (uint16_t)((int16_t)GPR16(c, 0) >> 15);
	NEXT;
}
INSN(cdq)
{
	GPR32(c, 8 * R_DX) = (uint32_t)((int32_t)GPR32(c, 0) >> 31);
	NEXT;
}

INSN(lahf)
{
	GPR8(c, 1) = (uint8_t)((host_flags(c) >> 8) | FL_FIXED);
	NEXT;
}
INSN(sahf)
{
	set_flags_from_host(c, (uint32_t)GPR8(c, 1) << 8 | flag_of(c));
	NEXT;
}

INSN(xlat)
{
	uint32_t ea = GPR32(c, 8 * R_BX) + GPR8(c, 0);

	BEGIN;
	GPR8(c, 0) = mem_read8(c, ip->seg, ip->asize == 4 ? ea : ea & 0xffff);
	NEXT;
}

static insn_fn *bind_extend(const struct insn *in)
{
	unsigned size = insn_size(in), slot = insn_slot(in);

	if (in->op == OP_MOVZX)
		return in->imm2 == 1 ? movzx8_row[size][slot] : movzx16_row[size][slot];
	return in->imm2 == 1 ? movsx8_row[size][slot] : movsx16_row[size][slot];
}

insn_fn *bind_mov(const struct insn *in, unsigned mode)
{
	unsigned size = insn_size(in), slot = insn_slot(in);

	(void)mode;
	if (in->op >= OP_CMOVO && in->op <= OP_CMOVNLE)
		return cmov_rows[in->op - OP_CMOVO][size][slot];
	if (in->op >= OP_SETO && in->op <= OP_SETNLE)
		return set_rows[in->op - OP_SETO][SIZE_8][slot];
	switch (in->op) {
	case OP_MOV: return mov_row[size][slot];
	case OP_MOVZX:
	case OP_MOVSX: return bind_extend(in);
	case OP_LEA: return lea_row[size][slot];
	case OP_XCHG: return xchg_row[size][slot];
	case OP_BSWAP: return size == SIZE_32 ? bswap32 : bswap16;
	case OP_CBW: return size == SIZE_32 ? cwde : cbw;
	case OP_CWD: return size == SIZE_32 ? cdq : cwd;
	case OP_LAHF: return lahf;
	case OP_SAHF: return sahf;
	case OP_XLAT: return xlat;
	default: return NULL;
	}
}
