/* sens.h - the parts of the `sens` guest, each at every CPL, with paging off and on. */
#ifndef SENS_H
#define SENS_H

#include "guest.h"

void sens_flags(unsigned cpl);       /* PUSHF, POPF, IRET to the same level */
void sens_readers(unsigned cpl);     /* MOV and PUSH of segment registers; SGDT, SIDT, SLDT, STR, SMSW */
void sens_descriptors(unsigned cpl); /* LAR, LSL, VERR, VERW, ARPL, and loads of segment registers */
void sens_transfers(unsigned cpl);   /* far JMP, CALL, RET, IRET between levels */

#endif
