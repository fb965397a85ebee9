// SPDX-License-Identifier: BSD-3-Clause
//
// The destinations that one client has sent to, and where each was found last: the packets that
// follow need no lock, and those who received something learn when the client is gone. One thread
// at a time.
#ifndef DERPER_RELAY_ROUTES_H
#define DERPER_RELAY_ROUTES_H

#include "relay/counters.h"
#include "relay/directory.h"

// Destinations remembered for one client. A node speaks with a few hundred peers at a time; those
// that have left are swept out when the limit is hit, at most every ROUTES_SWEEP_MS.
#define ROUTES_MAX 4096
#define ROUTES_SWEEP_MS 10000

struct route {
    struct key destination;
    uint64_t hash; // of destination
    struct client_handle handle;
    uint32_t epoch; // of the directory's shard when `handle` was found
    uint32_t taken; // forward.c's: the destination's inbox, when what follows began
    uint32_t flow_bytes[PACKET_KINDS]; // put into it since
    uint16_t flow_packets[PACKET_KINDS];
};

// All zero at the start: no memory until something is remembered. A route stays where it is until
// the next one is added, forgotten or swept.
struct routes {
    struct route *entries; // open addressing
    uint64_t swept_ms;     // the owner's: when it swept last
    uint16_t capacity;     // power of two, or 0
    uint16_t count;
    uint16_t last; // the entry that was used last, as far as there is any
};

void routes_deinit(struct routes *routes);

// NULL when not remembered.
struct route *routes_find(struct routes *routes, const struct key *destination, uint64_t *hash);

// Remembers a destination that is not remembered yet. NULL when there are ROUTES_MAX.
struct route *routes_add(struct routes *routes, const struct key *destination, uint64_t hash,
                         const struct client_handle *handle, uint32_t epoch);

// Forgets a destination that is remembered.
void routes_forget(struct routes *routes, struct route *route);

// Forgets every destination that `keep` says no to.
void routes_sweep(struct routes *routes, bool (*keep)(const struct route *route, void *data),
                  void *data);

// Moves what `from` holds into `into`, as far as there is room, and frees `from` (a heap object).
void routes_merge(struct routes *into, struct routes *from);

void routes_each(const struct routes *routes, void (*each)(const struct route *route, void *data),
                 void *data);

#endif
