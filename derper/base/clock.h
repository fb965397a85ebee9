// SPDX-License-Identifier: BSD-3-Clause
//
// Monotonic time, the only clock that bounds and timers use.
#ifndef DERPER_BASE_CLOCK_H
#define DERPER_BASE_CLOCK_H

#include <stdint.h>

#define MS_PER_SECOND 1000
#define NS_PER_MS 1000000

// Nanoseconds since an arbitrary start; never goes back.
uint64_t clock_ns(void);

static inline uint64_t clock_ms(void)
{
    return clock_ns() / NS_PER_MS;
}

#endif
