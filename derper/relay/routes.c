// SPDX-License-Identifier: BSD-3-Clause
#include "relay/routes.h"

#include "base/memory.h"

#include <stdlib.h>

#define FILLED_TO_THE_LAST 4 // a table up to this capacity: most clients speak with few

static bool in_use(const struct route *route)
{
    return route->handle.generation != 0;
}

void routes_deinit(struct routes *routes)
{
    free(routes->entries);
    *routes = (struct routes){.swept_ms = routes->swept_ms};
}

static struct route *look_up(const struct routes *routes, const struct key *destination,
                             uint64_t hash)
{
    for (size_t n = 0; n < routes->capacity; n++) {
        struct route *route = &routes->entries[(hash + n) & (routes->capacity - 1u)];

        if (!in_use(route))
            return NULL;
        if (route->hash == hash && key_equal(&route->destination, destination))
            return route;
    }
    return NULL;
}

struct route *routes_find(struct routes *routes, const struct key *destination, uint64_t *hash)
{
    struct route *route = routes->count > 0 ? &routes->entries[routes->last] : NULL;

    if (route && in_use(route) && key_equal(&route->destination, destination)) {
        *hash = route->hash;
        return route;
    }
    *hash = key_hash(destination);
    route = look_up(routes, destination, *hash);
    if (route)
        routes->last = (uint16_t)(route - routes->entries);
    return route;
}

static void resize(struct routes *routes, size_t capacity);

// A copy of `from`, which is not there yet.
static struct route *insert(struct routes *routes, const struct route *from)
{
    const size_t capacity = routes->capacity;
    size_t i;

    if (routes->count == (capacity > FILLED_TO_THE_LAST ? capacity / 4 * 3 : capacity))
        resize(routes, capacity ? capacity * 2 : 1);
    for (i = from->hash; in_use(&routes->entries[i & (routes->capacity - 1u)]); i++)
        ;
    routes->last = (uint16_t)(i & (routes->capacity - 1u));
    routes->entries[routes->last] = *from;
    routes->count++;
    return &routes->entries[routes->last];
}

static void resize(struct routes *routes, size_t capacity)
{
    const struct routes old = *routes;

    *routes = (struct routes){.entries = memory_zeroed(capacity * sizeof *routes->entries),
                              .capacity = (uint16_t)capacity,
                              .swept_ms = old.swept_ms};
    for (size_t i = 0; i < old.capacity; i++)
        if (in_use(&old.entries[i]))
            insert(routes, &old.entries[i]);
    free(old.entries);
}

struct route *routes_add(struct routes *routes, const struct key *destination, uint64_t hash,
                         const struct client_handle *handle, uint32_t epoch)
{
    if (routes->count >= ROUTES_MAX)
        return NULL;
    return insert(
        routes, &(struct route){
                    .destination = *destination, .hash = hash, .handle = *handle, .epoch = epoch});
}

// Closes the hole behind it: each follower that may move nearer to its own place does.
void routes_forget(struct routes *routes, struct route *route)
{
    const size_t mask = routes->capacity - 1u;
    size_t i = (size_t)(route - routes->entries);

    routes->count--;
    route->handle.generation = 0;
    for (size_t j = (i + 1) & mask; in_use(&routes->entries[j]); j = (j + 1) & mask) {
        struct route *follower = &routes->entries[j];

        if (((j - follower->hash) & mask) >= ((j - i) & mask)) {
            routes->entries[i] = *follower;
            follower->handle.generation = 0;
            i = j;
        }
    }
}

void routes_sweep(struct routes *routes, bool (*keep)(const struct route *route, void *data),
                  void *data)
{
    struct routes kept = {.swept_ms = routes->swept_ms};

    for (size_t i = 0; i < routes->capacity; i++)
        if (in_use(&routes->entries[i]) && keep(&routes->entries[i], data))
            insert(&kept, &routes->entries[i]);
    routes_deinit(routes);
    *routes = kept;
}

void routes_merge(struct routes *into, struct routes *from)
{
    for (size_t i = 0; i < from->capacity && into->count < ROUTES_MAX; i++) {
        const struct route *route = &from->entries[i];

        if (in_use(route) && !look_up(into, &route->destination, route->hash))
            insert(into, route);
    }
    routes_deinit(from);
    free(from);
}

void routes_each(const struct routes *routes, void (*each)(const struct route *route, void *data),
                 void *data)
{
    for (size_t i = 0; i < routes->capacity; i++)
        if (in_use(&routes->entries[i]))
            each(&routes->entries[i], data);
}
