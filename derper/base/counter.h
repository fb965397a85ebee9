// SPDX-License-Identifier: BSD-3-Clause
//
// A number that one thread changes and any thread may read: plain loads and stores, so that
// counting on the path of a packet costs no locked instruction.
#ifndef DERPER_BASE_COUNTER_H
#define DERPER_BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

struct counter {
    _Atomic int64_t value;
};

// Only the owning thread may call this.
static inline void counter_add(struct counter *c, int64_t n)
{
    const int64_t old = atomic_load_explicit(&c->value, memory_order_relaxed);

    atomic_store_explicit(&c->value, old + n, memory_order_relaxed);
}

// The same for a gauge.
static inline void counter_set(struct counter *c, int64_t n)
{
    atomic_store_explicit(&c->value, n, memory_order_relaxed);
}

static inline int64_t counter_read(const struct counter *c)
{
    return atomic_load_explicit(&c->value, memory_order_relaxed);
}

#endif
