// SPDX-License-Identifier: BSD-3-Clause
#include "histogram.h"

#define SUB_BITS 6
#define SUB_BUCKETS (1u << SUB_BITS)

// Values below 2 * SUB_BUCKETS have a bucket each; above, each power of two has SUB_BUCKETS.
static size_t bucket_of(uint64_t ns)
{
    int shift;

    if (ns < 2 * SUB_BUCKETS)
        return (size_t)ns;
    shift = 63 - __builtin_clzll(ns) - SUB_BITS;
    return (size_t)shift * SUB_BUCKETS + (size_t)(ns >> shift);
}

static uint64_t upper_edge(size_t bucket)
{
    size_t shift;

    if (bucket < 2 * SUB_BUCKETS)
        return bucket;
    shift = bucket / SUB_BUCKETS - 1;
    return (((uint64_t)bucket - shift * SUB_BUCKETS + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t ns, uint64_t times)
{
    histogram->buckets[bucket_of(ns)] += times;
    histogram->count += times;
    if (ns > histogram->max_ns)
        histogram->max_ns = ns;
}

uint64_t histogram_at(const struct histogram *histogram, double share)
{
    const double wanted = share * (double)histogram->count;
    uint64_t below = 0;

    if (histogram->count == 0)
        return 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        below += histogram->buckets[i];
        if (below > 0 && (double)below >= wanted) {
            const uint64_t edge = upper_edge(i);
            return edge < histogram->max_ns ? edge : histogram->max_ns;
        }
    }
    return histogram->max_ns;
}

static double microseconds(uint64_t ns)
{
    return (double)ns / 1000;
}

json_t *histogram_json(const struct histogram *histogram)
{
    if (histogram->count == 0)
        return json_null();
    return json_pack("{s:f,s:f,s:f,s:f}", "p50", microseconds(histogram_at(histogram, 0.5)), "p99",
                     microseconds(histogram_at(histogram, 0.99)), "p99.9",
                     microseconds(histogram_at(histogram, 0.999)), "max",
                     microseconds(histogram->max_ns));
}
