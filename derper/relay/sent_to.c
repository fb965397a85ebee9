// SPDX-License-Identifier: BSD-3-Clause
#include "relay/sent_to.h"

#include "base/memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 2 // with the header in malloc's second smallest block

// Of all sets. Changes when one grows or shrinks, which it does seldom.
static _Atomic size_t all_bytes;

static size_t size_of(size_t capacity)
{
    return sizeof(struct sent_to) + capacity * sizeof(uint64_t);
}

static struct sent_to *resize(struct sent_to *set, size_t capacity)
{
    const size_t old = set ? size_of(set->capacity) : 0;
    struct sent_to *resized = memory_resize(set, size_of(capacity));

    if (!set)
        *resized = (struct sent_to){0};
    resized->capacity = (uint16_t)capacity;
    atomic_fetch_add_explicit(&all_bytes, size_of(capacity) - old, memory_order_relaxed);
    return resized;
}

void sent_to_free(struct sent_to *set)
{
    if (set)
        atomic_fetch_sub_explicit(&all_bytes, size_of(set->capacity), memory_order_relaxed);
    free(set);
}

// Where the hash stands or belongs.
static size_t place_of(const struct sent_to *set, uint64_t hash)
{
    size_t low = 0, high = set->count;

    while (low < high) {
        const size_t middle = (low + high) / 2;

        if (set->hashes[middle] < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void sweep(struct sent_to *set, sent_to_keep keep, void *data)
{
    size_t kept = 0;

    for (size_t i = 0; i < set->count; i++)
        if (keep(set->hashes[i], data))
            set->hashes[kept++] = set->hashes[i];
    set->count = (uint16_t)kept;
}

static size_t limit_now(void)
{
    return atomic_load_explicit(&all_bytes, memory_order_relaxed) < SENT_TO_ALL_BYTES ? SENT_TO_MAX
                                                                                      : SENT_TO_FEW;
}

static size_t next_capacity(size_t capacity, size_t limit)
{
    const size_t next = 2 * capacity + 2; // with the header a power of two

    return next < limit ? next : limit;
}

// Grows a full set unless half of it had left, so that each look at one that is remembered is paid
// for by one that was added.
static struct sent_to *make_room(struct sent_to *set, uint64_t now_ms, sent_to_keep keep,
                                 void *data)
{
    const size_t limit = limit_now();
    const bool may_grow = set->capacity < limit;

    if (!may_grow && (uint32_t)now_ms - set->swept_ms < SENT_TO_SWEEP_MS)
        return set;
    set->swept_ms = (uint32_t)now_ms;
    sweep(set, keep, data);
    if (may_grow && set->count > set->capacity / 2)
        return resize(set, next_capacity(set->capacity, limit));
    return set;
}

bool sent_to_add(struct sent_to **set, uint64_t hash, uint64_t now_ms, sent_to_keep keep,
                 void *data)
{
    struct sent_to *to = *set ? *set : resize(NULL, CAPACITY_MIN);
    size_t i = place_of(to, hash);

    *set = to;
    if (i < to->count && to->hashes[i] == hash)
        return true;
    if (to->count == to->capacity) {
        *set = to = make_room(to, now_ms, keep, data);
        if (to->count == to->capacity)
            return false;
        i = place_of(to, hash);
    }
    memmove(&to->hashes[i + 1], &to->hashes[i], (to->count - i) * sizeof to->hashes[0]);
    to->hashes[i] = hash;
    to->count++;
    return true;
}

struct sent_to *sent_to_merge(struct sent_to *a, struct sent_to *b)
{
    struct sent_to *both;
    size_t i = 0, j = 0;

    if (!a || !b)
        return a ? a : b;
    both = resize(NULL, a->count + b->count < SENT_TO_MAX ? a->count + b->count : SENT_TO_MAX);
    while (both->count < both->capacity && (i < a->count || j < b->count)) {
        const bool from_a = j == b->count || (i < a->count && a->hashes[i] <= b->hashes[j]);
        const uint64_t hash = from_a ? a->hashes[i++] : b->hashes[j++];

        if (both->count == 0 || both->hashes[both->count - 1] != hash)
            both->hashes[both->count++] = hash;
    }
    sent_to_free(a);
    sent_to_free(b);
    return both;
}
