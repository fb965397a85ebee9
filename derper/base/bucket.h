// SPDX-License-Identifier: BSD-3-Clause
//
// Token bucket: `per_second` tokens flow in, at most `burst` are held.
#ifndef DERPER_BASE_BUCKET_H
#define DERPER_BASE_BUCKET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

// All zero, and so full, at the start.
struct bucket {
    uint64_t full_ns; // when it is, or was, full again: each token taken puts that off
};

// The same for several threads.
struct shared_bucket {
    _Atomic uint64_t full_ns;
};

struct bucket_rate {
    double per_second; // above 0
    double burst;
};

// Takes one token if there is one. `now_ns` must not go back between calls.
bool bucket_take(struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns);

// The same from any thread, whose clocks may differ.
bool bucket_take_shared(struct shared_bucket *bucket, const struct bucket_rate *rate,
                        uint64_t now_ns);

// Takes `tokens`, also those that are not there yet. Returns for how long it then owes some.
uint64_t bucket_charge(struct bucket *bucket, const struct bucket_rate *rate, uint64_t tokens,
                       uint64_t now_ns);

#endif
