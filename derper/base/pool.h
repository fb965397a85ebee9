// SPDX-License-Identifier: BSD-3-Clause
//
// Objects of one size that live long, in slabs of their own. From the heap they would lie between
// the many short-lived allocations of a handshake, each page of which is kept by the one object
// that stays, and each would have a header. What is put back is used again; the slabs stay until
// the end. One thread.
#ifndef DERPER_BASE_POOL_H
#define DERPER_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#define POOL_SLAB_BYTES (64 * 1024)

// All zero at the start.
struct pool {
    struct pool_object *free;
    struct pool_slab *slabs; // all of them
    uint8_t *fresh;          // what nobody has had yet of the first
    size_t fresh_bytes;
};

// A zeroed object, aligned for pointers and 64-bit numbers. `bytes` is the same in all calls for
// one pool, and far below POOL_SLAB_BYTES.
void *pool_get(struct pool *pool, size_t bytes);

void pool_put(struct pool *pool, void *object);

// Everything must be put back.
void pool_deinit(struct pool *pool);

#endif
