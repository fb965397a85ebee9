// SPDX-License-Identifier: BSD-3-Clause
//
// Token bucket: `per_second` tokens flow in, at most `burst` are held.
#ifndef DERPER_BASE_BUCKET_H
#define DERPER_BASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
    double tokens;
    uint64_t updated_ns;
};

struct bucket_rate {
    double per_second;
    double burst;
};

// Full at the start.
void bucket_init(struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns);

// Takes one token if there is one. `now_ns` must not go back between calls.
bool bucket_take(struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns);

#endif
