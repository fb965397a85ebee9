// SPDX-License-Identifier: BSD-3-Clause
#include "base/bucket.h"

#define NS_PER_SECOND 1e9

bool bucket_take(struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns)
{
    const double token_ns = NS_PER_SECOND / rate->per_second;

    if (bucket->full_ns < now_ns)
        bucket->full_ns = now_ns;
    if ((double)(bucket->full_ns - now_ns) > (rate->burst - 1) * token_ns)
        return false;
    bucket->full_ns += (uint64_t)token_ns;
    return true;
}
