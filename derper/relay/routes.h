// SPDX-License-Identifier: BSD-3-Clause
//
// The destinations that one client has sent to, and where each was found last: the packets that
// follow need no lock, and those who received something learn when the client is gone. One thread
// at a time.
#ifndef DERPER_RELAY_ROUTES_H
#define DERPER_RELAY_ROUTES_H

#include "relay/directory.h"

// Destinations remembered for one client. A node speaks with a few hundred peers at most.
#define ROUTES_MAX 4096

struct route {
    struct key destination;
    uint64_t hash; // of destination
    struct client_handle handle;
    uint32_t epoch; // of the directory's shard when `handle` was found
};

struct routes {
    struct table table;
    struct route *last; // the one used last
};

void routes_init(struct routes *routes);
void routes_deinit(struct routes *routes);

// NULL when not remembered.
struct route *routes_find(struct routes *routes, const struct key *destination, uint64_t *hash);

// Remembers a destination that is not remembered yet. False when there are ROUTES_MAX.
bool routes_add(struct routes *routes, const struct key *destination, uint64_t hash,
                const struct client_handle *handle, uint32_t epoch);

// Moves what `from` holds into `into`, as far as there is room, and frees `from` (a heap object).
void routes_merge(struct routes *into, struct routes *from);

void routes_each(const struct routes *routes, void (*each)(void *route, void *data), void *data);

#endif
