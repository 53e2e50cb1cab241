/* exc.h - the parts of the `exc` guest. */
#ifndef EXC_H
#define EXC_H

#include "guest.h"

void exc_vectors(unsigned cpl); /* every exception that an instruction can raise by itself */
void exc_fpu(unsigned cpl);     /* #NM, #MF, #XM */
void exc_segments(void);        /* #GP and #SS of segment limits and rights */
void exc_delivery(void);        /* what the handler starts with; #DF, #NP, #TS, #GP of delivery itself */

#endif
