/* gates.h - the parts of the `gates` guest. */
#ifndef GATES_H
#define GATES_H

#include "guest.h"

void gates_call(void);      /* call gates: levels, parameters, stack switch, return */
void gates_wrong(void);     /* call gates that must fault */
void gates_interrupt(void); /* interrupt and trap gates, 16 and 32 bits, to every level, and IRET back */

#endif
