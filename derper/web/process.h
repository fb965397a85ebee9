// SPDX-License-Identifier: BSD-3-Clause
//
// What the system says of this process.
#ifndef DERPER_WEB_PROCESS_H
#define DERPER_WEB_PROCESS_H

#include <stdint.h>

// Open descriptors; 0 when /proc does not tell.
int64_t process_descriptors(void);

// Resident memory; 0 when /proc does not tell.
int64_t process_memory_bytes(void);

#endif
