/*
 * watch.h - what a debugger outside the guest looks for: instructions at addresses, accesses to memory. The guest never notices.
 *
 * How the two are found without stepping the guest instruction by instruction
 *  - exec:  engines end their traces before an instruction whose address is, in its low 12 bits, that of a point (watch_cuts(): code is found by
 *           physical address, so every alias must be cut), and ask watch_ask() where a trace begins.
 *  - data:  pages with points on them are kept out of the fast TLB (mmu_set_debug_watch()). A running trace that touches a point's bytes leaves
 *           before it has done anything (EXIT_WATCH); its instruction is then stepped alone, and notes what it touched. Emulation notes at once.
 *
 * A note belongs to the instruction or the delivery in progress: an exception forgets it, vm.c takes it when that is complete.
 * The processor's own setting of accessed and dirty bits in page tables is not an access here, nor are instruction fetches.
 * Called by cpu/mem.c, engines, and the public face, vmm/debug.c.
 */
#ifndef RINGSIDE_VMM_CPU_WATCH_H
#define RINGSIDE_VMM_CPU_WATCH_H

#include "vmm/cpu/vcpu.h"

#define WATCH_POINTS_MAX 64
#define WATCH_LEN_MAX 4096u
#define WATCH_ON_READ 1u
#define WATCH_ON_WRITE 2u
#define WATCH_ON_EXEC 4u

struct watch_point {
	uint32_t lin, len;
	uint8_t on;     /* WATCH_ON_* */
	bool any_space; /* otherwise only while CR3 == cr3 */
	uint32_t cr3;
};

struct watch_note {
	bool valid;
	unsigned point;
	uint32_t lin;   /* first byte touched, or the instruction's address */
	bool by_change; /* not by the guest: vm_change() */
};

struct watchlist {
	struct watch_point point[WATCH_POINTS_MAX];
	unsigned count;
	bool has_exec, has_data;
	bool open;                     /* one instruction is stepped alone: data points are noted, not left for */
	bool passing;                  /* the points of the very next instruction are passed over */
	uint64_t cuts[PAGE_SIZE / 64]; /* low 12 bits of exec points, those of former ones included */
	struct watch_note noted;       /* by what is in progress */
	struct watch_note hit;         /* by what is complete */
};

/* Asked where a trace begins. STOP: a point's instruction is about to be executed, and is the hit now. ALONE: it is, and is passed over: the
 * engine runs one instruction, or one iteration, and asks again. Consumes `passing`. */
enum watch_verdict { WATCH_GO_ON, WATCH_STOP, WATCH_ALONE };
enum watch_verdict watch_ask(struct vcpu *c);
/* Does [lin, lin+len) touch a data point? */
bool watch_wants(const struct vcpu *c, uint32_t lin, unsigned len, bool write);
void watch_note_slow(struct vcpu *c, uint32_t lin, unsigned len, bool write);

/* Physical bytes, within a page, were changed from outside: data points that look at them through the present page tables are hit now. Where the
 * instruction that ended here touched one too, this was later and is what is told. */
void watch_changed(struct vcpu *c, uint64_t gpa, uint32_t len);

/* Must a trace end before the instruction at lin? Also when nothing is watched now: decoded code stays. */
static inline bool watch_cuts(const struct vcpu *c, uint32_t lin)
{
	return unlikely(c->cuts) && (c->cuts[(lin & (PAGE_SIZE - 1)) / 64] >> (lin % 64) & 1);
}

/* An access happens. */
static inline void watch_note(struct vcpu *c, uint32_t lin, unsigned len, bool write)
{
	if (unlikely(c->watch))
		watch_note_slow(c, lin, len, write);
}

/* What is in progress raised an exception: it touched nothing. */
static inline void watch_forget(struct vcpu *c)
{
	if (unlikely(c->watch))
		c->watch->noted.valid = false;
}

/* What was in progress is complete. The first hit stands. */
static inline void watch_commit(struct vcpu *c)
{
	if (likely(!c->watch) || !c->watch->noted.valid)
		return;
	if (!c->watch->hit.valid)
		c->watch->hit = c->watch->noted;
	c->watch->noted.valid = false;
}

#endif
