/* Ctrl-C and SIGTERM as something a loop asks about. */
#ifndef QAIO_CLI_INTERRUPT_H
#define QAIO_CLI_INTERRUPT_H

/* From now on SIGINT and SIGTERM are counted instead of ending the process; reads they interrupt return early. */
void interrupt_catch(void);
int interrupt_count(void);
void interrupt_clear(void); /* forgets SIGINT, not SIGTERM */

#endif
