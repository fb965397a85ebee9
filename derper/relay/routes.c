// SPDX-License-Identifier: BSD-3-Clause
#include "relay/routes.h"

#include "base/memory.h"

#include <stdlib.h>

void routes_init(struct routes *routes)
{
    *routes = (struct routes){.last = NULL};
    table_init(&routes->table, offsetof(struct route, destination));
}

static void free_route(void *route, void *data)
{
    (void)data;
    free(route);
}

void routes_deinit(struct routes *routes)
{
    table_each(&routes->table, free_route, NULL);
    table_deinit(&routes->table);
    routes->last = NULL;
}

struct route *routes_find(struct routes *routes, const struct key *destination, uint64_t *hash)
{
    struct route *route = routes->last;

    if (route && key_equal(&route->destination, destination)) {
        *hash = route->hash;
        return route;
    }
    *hash = key_hash(destination);
    route = table_find_hashed(&routes->table, destination, *hash);
    if (route)
        routes->last = route;
    return route;
}

bool routes_add(struct routes *routes, const struct key *destination, uint64_t hash,
                const struct client_handle *handle, uint32_t epoch)
{
    struct route *route;

    if (routes->table.count >= ROUTES_MAX)
        return false;
    route = memory_get(sizeof *route);
    *route = (struct route){
        .destination = *destination, .hash = hash, .handle = *handle, .epoch = epoch};
    table_insert(&routes->table, route);
    routes->last = route;
    return true;
}

void routes_forget(struct routes *routes, struct route *route)
{
    if (routes->last == route)
        routes->last = NULL;
    table_remove(&routes->table, &route->destination);
    free(route);
}

struct sweep {
    struct table kept;
    bool (*keep)(const struct route *route, void *data);
    void *data;
};

static void sweep_one(void *route, void *data)
{
    struct sweep *sweep = data;

    if (sweep->keep(route, sweep->data))
        table_insert(&sweep->kept, route);
    else
        free(route);
}

void routes_sweep(struct routes *routes, bool (*keep)(const struct route *route, void *data),
                  void *data)
{
    struct sweep sweep = {.keep = keep, .data = data};

    table_init(&sweep.kept, offsetof(struct route, destination));
    table_each(&routes->table, sweep_one, &sweep);
    table_deinit(&routes->table);
    routes->table = sweep.kept;
    routes->last = NULL;
}

static void merge_one(void *value, void *data)
{
    const struct route *route = value;
    struct routes *into = data;

    if (!table_find_hashed(&into->table, &route->destination, route->hash))
        routes_add(into, &route->destination, route->hash, &route->handle, route->epoch);
}

void routes_merge(struct routes *into, struct routes *from)
{
    table_each(&from->table, merge_one, into);
    routes_deinit(from);
    free(from);
}

void routes_each(const struct routes *routes, void (*each)(void *route, void *data), void *data)
{
    table_each(&routes->table, each, data);
}
