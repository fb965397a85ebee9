// SPDX-License-Identifier: BSD-3-Clause
//
// Counts of durations in buckets whose width is under 1/64 of their value.
#ifndef LOAD_HISTOGRAM_H
#define LOAD_HISTOGRAM_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS (59 * 64)

struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t count;
    uint64_t max_ns;
};

void histogram_add(struct histogram *histogram, uint64_t ns, uint64_t times);

// The least value that `share` (0..1) of all are not above, up to the width of a bucket. 0 when
// empty.
uint64_t histogram_at(const struct histogram *histogram, double share);

// {"p50": …, "p99": …, "p99.9": …, "max": …} in microseconds, or null when empty.
json_t *histogram_json(const struct histogram *histogram);

#endif
