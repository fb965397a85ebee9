// SPDX-License-Identifier: BSD-3-Clause
#include "base/bucket.h"

#define NS_PER_SECOND 1e9
#define AGES_NS 0x1p61 // 73 years: keeps the sum of two times within 64 bits

static uint64_t time_of(double tokens, const struct bucket_rate *rate)
{
    const double ns = tokens * NS_PER_SECOND / rate->per_second;

    return ns < AGES_NS ? (uint64_t)ns : (uint64_t)AGES_NS;
}

static uint64_t latest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

// When a bucket is full again after one token more; 0 when it has none.
static uint64_t after_one(uint64_t full_ns, const struct bucket_rate *rate, uint64_t now_ns)
{
    const uint64_t from_ns = latest(full_ns, now_ns);

    if (rate->burst < 1 || from_ns - now_ns > time_of(rate->burst - 1, rate))
        return 0;
    return from_ns + time_of(1, rate);
}

bool bucket_take(struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns)
{
    const uint64_t full_ns = after_one(bucket->full_ns, rate, now_ns);

    if (full_ns > 0)
        bucket->full_ns = full_ns;
    return full_ns > 0;
}

bool bucket_take_shared(struct shared_bucket *bucket, const struct bucket_rate *rate,
                        uint64_t now_ns)
{
    uint64_t before_ns = atomic_load_explicit(&bucket->full_ns, memory_order_relaxed);
    uint64_t full_ns;

    do {
        full_ns = after_one(before_ns, rate, now_ns);
        if (full_ns == 0)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&bucket->full_ns, &before_ns, full_ns,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

uint64_t bucket_charge(struct bucket *bucket, const struct bucket_rate *rate, uint64_t tokens,
                       uint64_t now_ns)
{
    const uint64_t held_ns = time_of(rate->burst, rate);

    bucket->full_ns = latest(bucket->full_ns, now_ns) + time_of((double)tokens, rate);
    return bucket->full_ns - now_ns > held_ns ? bucket->full_ns - now_ns - held_ns : 0;
}
