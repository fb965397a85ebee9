// SPDX-License-Identifier: BSD-3-Clause
//
// How many CPUs this process may use: its affinity, and the quota of its control group.
#ifndef DERPER_SERVER_CPUS_H
#define DERPER_SERVER_CPUS_H

#include <stddef.h>

// At least 1. A fraction of a CPU counts as one.
size_t cpus_usable(void);

// The same from the text of a cgroup v2 cpu.max file ("max 100000", "150000 100000"); 0 = no limit
// said.
size_t cpus_from_quota(const char *text);

#endif
