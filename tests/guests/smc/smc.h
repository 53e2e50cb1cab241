#ifndef SMC_H
#define SMC_H

#include "guest.h"

void code_elsewhere(bool paged); /* elsewhere.c */

#endif
