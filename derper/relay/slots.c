// SPDX-License-Identifier: BSD-3-Clause
#include "relay/slots.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

#define SLOTS_MIN 64

struct slot {
    struct client *client; // NULL: free
    uint32_t generation;   // of the present or the last tenant
    uint32_t next_free;
};

static void grow(struct slots *slots)
{
    const uint32_t old = slots->count;

    slots->count = old ? old * 2 : SLOTS_MIN;
    slots->slots = memory_resize(slots->slots, slots->count * sizeof *slots->slots);
    for (uint32_t i = old; i < slots->count; i++)
        slots->slots[i] = (struct slot){.next_free = i + 1};
    slots->free = old;
}

struct client_handle slots_take(struct slots *slots, uint16_t worker, struct client *client)
{
    struct slot *slot;
    uint32_t i;

    if (slots->free == slots->count)
        grow(slots);
    i = slots->free;
    slot = &slots->slots[i];
    slots->free = slot->next_free;
    slot->client = client;
    if (++slot->generation == 0) // 0 is nobody's
        slot->generation = 1;
    return (struct client_handle){.slot = i, .generation = slot->generation, .worker = worker};
}

void slots_give_back(struct slots *slots, const struct client_handle *handle)
{
    struct slot *slot = &slots->slots[handle->slot];

    assert(slot->client && slot->generation == handle->generation);
    slot->client = NULL;
    slot->next_free = slots->free;
    slots->free = handle->slot;
}

struct client *slots_find(const struct slots *slots, const struct client_handle *handle)
{
    const struct slot *slot;

    if (handle->slot >= slots->count)
        return NULL;
    slot = &slots->slots[handle->slot];
    return slot->generation == handle->generation ? slot->client : NULL;
}

void slots_deinit(struct slots *slots)
{
    free(slots->slots);
    *slots = (struct slots){0};
}
