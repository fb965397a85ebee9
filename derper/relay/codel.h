// SPDX-License-Identifier: BSD-3-Clause
//
// Controlled delay (RFC 8289): when to drop the oldest packet of a queue so that TCP slows down
// before the queue is long. A burst may wait; only a queue that has been long for a whole interval
// loses packets, one at first, then more often until it is short.
#ifndef DERPER_RELAY_CODEL_H
#define DERPER_RELAY_CODEL_H

#include <stdbool.h>
#include <stdint.h>

// Longer than RFC 8289's 5 and 100 ms: the client's connection is TCP, whose slow start and repairs
// hold packets up for some round trips, and a packet lost then is lost for nothing.
#define CODEL_TARGET_MS 50
#define CODEL_INTERVAL_MS 300

// SHORT --waited TARGET--> LONG --for an INTERVAL--> DROPPING; each --waited less--> SHORT
enum codel_state { CODEL_SHORT, CODEL_LONG, CODEL_DROPPING }; // the first by zeroed memory

struct codel {
    uint32_t next_ms; // low bits of the clock: when the next drop is due, or the last one was
    uint16_t drops;   // since the queue is long
    uint8_t state;    // enum codel_state
};

// To be asked before packets are taken from the queue, again after each drop, with the time that
// the oldest one has waited (0 for an empty queue). True: that one is to be dropped.
bool codel_drops(struct codel *codel, uint64_t now_ms, uint64_t waited_ms);

#endif
