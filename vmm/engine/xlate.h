/*
 * xlate.h - the translator: hot traces become host code that is nearly the guest's own.
 *
 * An addition to the interpreter's run loop, not a second one: interp.c asks xlate_run() whether translated code can go on from here, and interprets
 * the next trace when not.
 */
#ifndef RINGSIDE_VMM_ENGINE_XLATE_H
#define RINGSIDE_VMM_ENGINE_XLATE_H

#include "vmm/engine/cache.h"

struct xlate;

bool xlate_possible(void); /* the host's processor has what translated code needs */
int xlate_create(struct xlate **out,
                 struct cache *cache); /* -ENOMEM; -ENOTSUP when the host's processor lacks what the code needs */
void xlate_destroy(struct xlate *x);
/* Run translated code from CS:RIP, where cache_lookup() found t. False when nothing was run: t is to be interpreted. Otherwise state is
 * precise, and there may be budget left. Faults and exits leave by c->unwind. */
bool xlate_run(struct xlate *x, struct trace *t);
/* Instructions of the block that would run, or of t. */
unsigned xlate_length(struct xlate *x, struct trace *t);
void xlate_leave_out(struct xlate *x, uint32_t eip);       /* see engine.h */
void xlate_set_code_room(struct xlate *x, uint32_t bytes); /* see engine.h */
void xlate_set_hot(struct xlate *x, unsigned executions);
/* From here on privileged instructions really fault (hardfault.h); before anything was run. 0 or a negative errno */
int xlate_set_hard(struct xlate *x);
/* User code goes through the window from the first; blocks made before stay as they are. For tests. */
void xlate_always_window(struct xlate *x);
/* Its faults, for hardfault_enter() around xlate_run(); NULL: there are none to come. */
struct hardfaults *xlate_hardfaults(struct xlate *x);
/* For the statistics. */
uint64_t xlate_blocks(const struct xlate *x);
uint64_t xlate_flushes(const struct xlate *x);

#endif
