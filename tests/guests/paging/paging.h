/* paging.h - the parts of the `paging` guest. */
#ifndef PAGING_H
#define PAGING_H

#include "guest.h"

/* Two neighbouring pages far from the identity map, and the frames behind them. */
enum { PAGE_A = 0x40000000, PAGE_B = 0x40001000, FRAME_A = 0x00800000, FRAME_B = 0x00900000, ALL = P_P | P_W | P_U };

static inline u32 *entry_of(u32 address) /* of a mapped table */
{
	return pte(address);
}

static inline void set_entry(u32 address, u32 value)
{
	map_page(address, value);
	invlpg(address);
}

void paging_rights(void);   /* U/S, R/W, WP at every CPL; error codes; accessed and dirty bits */
void paging_big(void);      /* 4 MiB pages, PSE */
void paging_tlb(void);      /* what INVLPG, CR3, CR4.PGE, CR0 must make visible */
void paging_straddle(void); /* accesses and instructions over a page boundary, and over 4 GiB */
void paging_implicit(void); /* the processor's own accesses to GDT, IDT, TSS; self-mapping; aliases */

#endif
