/* What the operating system says about memory. */
#ifndef QAIO_CLI_MEMORY_H
#define QAIO_CLI_MEMORY_H

#include <stdint.h>

uint64_t memory_resident_bytes(void);  /* of this process; 0 where it is not known */
uint64_t memory_available_bytes(void); /* that new work can have without swapping, the cgroup's limit considered */

#endif
