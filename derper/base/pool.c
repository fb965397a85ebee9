// SPDX-License-Identifier: BSD-3-Clause
#include "base/pool.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 8

// Under AddressSanitizer each object is one of the heap, so that it sees what is used too late.
#ifdef __SANITIZE_ADDRESS__
#define POOLED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOLED 0
#endif
#endif
#ifndef POOLED
#define POOLED 1
#endif

struct pool_object {
    struct pool_object *next;
};

struct pool_slab {
    struct pool_slab *next;
    uint8_t data[POOL_SLAB_BYTES - sizeof(void *)];
};

static void *take_fresh(struct pool *pool, size_t bytes)
{
    struct pool_slab *slab;
    void *object;

    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (pool->fresh_bytes < bytes) {
        slab = memory_get(sizeof *slab);
        slab->next = pool->slabs;
        pool->slabs = slab;
        pool->fresh = slab->data;
        pool->fresh_bytes = sizeof slab->data;
    }
    object = pool->fresh;
    pool->fresh += bytes;
    pool->fresh_bytes -= bytes;
    return object;
}

void *pool_get(struct pool *pool, size_t bytes)
{
    struct pool_object *object = pool->free;

    if (!POOLED)
        return memory_zeroed(bytes);
    if (object)
        pool->free = object->next;
    else
        object = take_fresh(pool, bytes);
    return memset(object, 0, bytes);
}

void pool_put(struct pool *pool, void *object)
{
    struct pool_object *returned = object;

    if (!POOLED) {
        free(object);
        return;
    }
    returned->next = pool->free;
    pool->free = returned;
}

void pool_deinit(struct pool *pool)
{
    while (pool->slabs) {
        struct pool_slab *next = pool->slabs->next;

        free(pool->slabs);
        pool->slabs = next;
    }
    *pool = (struct pool){0};
}
