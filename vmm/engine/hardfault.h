/*
 * hardfault.h - translated code that really faults: host #GP or #PF -> SIGSEGV -> back into the translator.
 *
 * Two kinds of places. An instruction that goes through a window (vmm/mem/window.h) faults where that is shut. And under `--trap fault` a privileged instruction of the guest stays in translated code, which runs at the host's CPL 3, as itself or as another of its kind:
 *
 *     at:       in al, dx                 #GP; the host's kernel makes it a SIGSEGV; the handler looks `at` up and sends the thread on to
 *               ud2                       (a host that permits the instruction is not run on)
 *     landing:  call thunk                the place where a call-out begins: same state, same way on
 *
 * An access's landing is of the same kind; which address it was, and whether it was to be written, is in the table then.
 *
 * The handler touches nothing but a thread's own table and the interrupted context, so whatever the signal interrupted is safe. A SIGSEGV that is not
 * such a fault is handed to who had the signal before, which is the default action unless a sanitizer came first.
 *
 * Threads: a table belongs to one thread at a time, between hardfault_enter() and hardfault_leave(), which nest. Called by interp.c and xlate.c.
 */
#ifndef RINGSIDE_VMM_ENGINE_HARDFAULT_H
#define RINGSIDE_VMM_ENGINE_HARDFAULT_H

#include "vmm/decode/insn.h"

#define HARDFAULT_NO_ADDRESS UINT64_MAX /* not a page fault */

/* Code that may fault, of one instruction of the guest. */
struct hardfault_place {
	uint32_t at, landing;
	uint16_t len;
	bool access; /* through the window; else privileged */
};

struct hardfaults {
	struct hardfault_place *place; /* ascending */
	uint32_t count;
	const uint8_t *window; /* WINDOW_SIZE bytes, and what an operand reaches beyond; NULL: none */
	uint64_t taken;        /* of privileged instructions */
	uint64_t entered;      /* host cycles at which the handler of the latest was entered */
	uint64_t address;      /* of the latest access, in the window, or HARDFAULT_NO_ADDRESS; and was it a write? */
	bool write;
};

int hardfault_create(struct hardfaults *f); /* -ENOMEM */
void hardfault_destroy(struct hardfaults *f);
bool hardfault_has_room(const struct hardfaults *f, unsigned n);
/* Above all that are there, and apart from them; BUG without room */
void hardfault_add(struct hardfaults *f, struct hardfault_place place);

/* From here on faults of this thread are looked up in f (NULL: they are nobody's), and the base of GS is its window; returns whose they were, for
 * hardfault_leave(). */
struct hardfaults *hardfault_enter(struct hardfaults *f);
void hardfault_leave(struct hardfaults *outer);

/* How an instruction is made to fault. */
enum hardfault_kind {
	HARDFAULT_NONE,     /* not privileged: nothing to make */
	HARDFAULT_SELF,     /* faults itself */
	HARDFAULT_STAND_IN, /* another instruction of its kind faults in its place */
	HARDFAULT_CALLOUT,  /* stays a call-out */
};
struct hardfault_rule {
	enum op op;
	enum hardfault_kind kind;
	const char *why;
};
/* Every instruction of ring/table.c, in its order of op. */
extern const struct hardfault_rule hardfault_rules[];
extern const unsigned hardfault_rule_count;

#define HARDFAULT_CODE_MAX 4
/* 64-bit code that faults in place of `in`; returns its length, 0 when it stays a call-out. */
unsigned hardfault_code(const struct insn *in, uint8_t code[HARDFAULT_CODE_MAX]);

#endif
