/* priv.h - the parts of the `priv` guest. Each is run with paging off and on. */
#ifndef PRIV_H
#define PRIV_H

void priv_levels(void);  /* privileged instructions at CPL 1, 2, 3 */
void priv_control(void); /* control and debug registers at CPL 0 */
void priv_tables(void);  /* GDTR, IDTR, LDTR, TR at CPL 0 */
void priv_msr(void);     /* MSRs, TSC, CPUID, SYSENTER and SYSEXIT */
void priv_io(void);      /* IOPL and the I/O permission bitmap */

#endif
