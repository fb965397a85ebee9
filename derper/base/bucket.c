// SPDX-License-Identifier: BSD-3-Clause
#include "base/bucket.h"

void bucket_init(struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns)
{
    bucket->tokens = rate->burst;
    bucket->updated_ns = now_ns;
}

bool bucket_take(struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns)
{
    bucket->tokens += (double)(now_ns - bucket->updated_ns) * rate->per_second / 1e9;
    bucket->updated_ns = now_ns;
    if (bucket->tokens > rate->burst)
        bucket->tokens = rate->burst;
    if (bucket->tokens < 1)
        return false;
    bucket->tokens -= 1;
    return true;
}
