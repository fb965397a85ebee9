// SPDX-License-Identifier: BSD-3-Clause
//
// The pairs of a relay run: records sealed before it begins, written as they fall due, and what
// arrives at the other end, checked and counted.
#ifndef LOAD_FLOWS_H
#define LOAD_FLOWS_H

#include "fleet.h"
#include "histogram.h"

#include <stdbool.h>
#include <stdint.h>

// Sender and receiver of one pair. Frames of one pair have the same size.
struct flow {
    struct flows *all;
    uint32_t number;
    struct conn *from, *to;
    uint8_t *sealed;      // frames_each * frame_bytes
    uint64_t *written_ns; // by sequence number: just before the kernel took the whole frame
    uint8_t *seen;        // by sequence number
    uint64_t released;    // frames that may be written
    uint64_t written;     // whole frames that the kernel took
    uint64_t written_bytes;
    uint64_t next_sequence; // one above the highest that arrived
};

struct flows {
    struct flow *flow;
    uint8_t *sealed; // of all flows, one behind the other
    uint64_t count, frames_each, burst, payload_bytes, frame_bytes;
    uint64_t interval_ns_x1024; // between bursts of all flows; 0: as fast as possible
    uint64_t warm_each;         // the first frames of each flow, which are not counted
    uint64_t start_ns;

    uint64_t written, delivered;                 // all frames
    uint64_t counted_written, counted_delivered; // of the counted ones
    uint64_t held_back;                          // frames that found their connection's buffer full
    uint64_t corrupt, duplicates, reordered, strangers;
    uint64_t last_arrival_ns;
    size_t blocked; // flows with frames that the kernel did not take
    const char *failure;
    struct histogram latency;      // from the write
    struct histogram latency_plan; // from the planned time in the payload
};

// When burst `n` of all flows is due, since the start.
static inline uint64_t flows_due_ns(const struct flows *flows, uint64_t n)
{
    return (uint64_t)((unsigned __int128)n * flows->interval_ns_x1024 >> 10);
}

// Bytes of memory that flows_prepare will take.
uint64_t flows_memory(const struct flows *flows, bool tls);

// Takes the fleet's connections two by two, and seals everything. From here on nothing else may be
// sent on the senders' connections. False when memory cannot be had.
bool flows_prepare(struct flows *flows, struct fleet *fleet);
void flows_deinit(struct flows *flows);

// Lets one more burst go on a flow, and writes.
void flow_release(struct flow *flow);

// Writes what flows that were blocked still owe.
void flows_retry(struct flows *flows);

// Takes what arrived. False after a failure.
bool flows_poll(struct flows *flows, struct fleet *fleet, int timeout_ms);

#endif
