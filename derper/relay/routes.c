// SPDX-License-Identifier: BSD-3-Clause
#include "relay/routes.h"

#include "base/memory.h"

#include <stdlib.h>

// Fresh memory of this size is not touched before it is used: an idle worker does not pay for it.
void routes_init(struct routes *routes)
{
    *routes = (struct routes){.entries = memory_zeroed(ROUTES_MAX * sizeof *routes->entries)};
}

void routes_deinit(struct routes *routes)
{
    free(routes->entries);
}

static bool is_of(const struct route *route, const struct client_handle *from,
                  const struct key *destination)
{
    return route->from_slot == from->slot && route->from_generation == from->generation &&
           key_equal(&route->destination, destination);
}

// The first of the places that a route may be in. The hash is keyed, so strangers cannot choose it.
static struct route *places_of(const struct routes *routes, const struct client_handle *from,
                               uint64_t hash)
{
    const uint64_t mixed = hash + from->slot * UINT64_C(0x9e3779b97f4a7c15);

    return &routes->entries[(mixed >> 32) % (ROUTES_MAX / ROUTES_WAYS) * ROUTES_WAYS];
}

struct route *routes_find(const struct routes *routes, const struct client_handle *from,
                          const struct key *destination, uint16_t *last, uint64_t *hash)
{
    struct route *route = &routes->entries[*last % ROUTES_MAX];

    if (is_of(route, from, destination)) {
        *hash = route->hash;
        return route;
    }
    *hash = key_hash(destination);
    route = places_of(routes, from, *hash);
    for (size_t i = 0; i < ROUTES_WAYS; i++, route++) {
        if (route->hash == *hash && is_of(route, from, destination)) {
            *last = (uint16_t)(route - routes->entries);
            return route;
        }
    }
    return NULL;
}

struct route *routes_add(struct routes *routes, const struct client_handle *from,
                         const struct key *destination, uint16_t *last, uint64_t hash)
{
    struct route *places = places_of(routes, from, hash);
    size_t i = 0;

    while (i < ROUTES_WAYS && places[i].from_generation != 0)
        i++;
    if (i == ROUTES_WAYS)
        i = routes->turn++ % ROUTES_WAYS;
    places[i] = (struct route){.destination = *destination,
                               .hash = hash,
                               .from_slot = from->slot,
                               .from_generation = from->generation};
    *last = (uint16_t)(&places[i] - routes->entries);
    return &places[i];
}
