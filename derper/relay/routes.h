// SPDX-License-Identifier: BSD-3-Clause
//
// Where the packets of a worker's clients went last: the ones that follow need no lock. A cache of
// a fixed size for all clients of the worker, so an idle client has no part in it, and one that
// speaks with many takes no memory. One thread.
#ifndef DERPER_RELAY_ROUTES_H
#define DERPER_RELAY_ROUTES_H

#include "relay/counters.h"
#include "relay/directory.h"

#define ROUTES_MAX 4096 // of one worker. A packet whose route was pushed out takes the lock again
#define ROUTES_WAYS 4   // places that a route may be in

struct route {
    struct key destination;
    uint64_t hash;                       // of destination
    uint32_t from_slot, from_generation; // the sender; generation 0: a free place
    struct client_handle handle;         // of the destination
    uint32_t epoch;                      // the directory's for `hash` when `handle` was found
    uint32_t taken; // forward.c's: the destination's inbox, when what follows began
    uint32_t flow_bytes[PACKET_KINDS]; // put into it since
    uint16_t flow_packets[PACKET_KINDS];
};

struct routes {
    struct route *entries;
    unsigned turn; // whose turn it is to be pushed out
};

void routes_init(struct routes *routes);
void routes_deinit(struct routes *routes);

// NULL when not remembered. `*last` is the sender's: where the route is that it used last, at first
// anything. `*hash` receives key_hash(destination).
struct route *routes_find(const struct routes *routes, const struct client_handle *from,
                          const struct key *destination, uint16_t *last, uint64_t *hash);

// A place for a route that is not remembered yet, which has all but `handle` and `epoch`. Stays
// until the next one is added.
struct route *routes_add(struct routes *routes, const struct client_handle *from,
                         const struct key *destination, uint16_t *last, uint64_t hash);

#endif
