// SPDX-License-Identifier: BSD-3-Clause
#include "relay/slots.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

#define SLOTS_MIN 64

struct slot {
    struct client *client; // NULL: free
    uint32_t generation;   // of the present or the last tenant
    uint32_t next_free;    // as `free` in struct slots
};

// A slot that nobody has had yet. What lies behind it is not touched, so it costs no memory.
static uint32_t take_fresh(struct slots *slots)
{
    if (slots->used == slots->capacity) {
        slots->capacity = slots->capacity ? slots->capacity * 2 : SLOTS_MIN;
        slots->slots = memory_resize(slots->slots, slots->capacity * sizeof *slots->slots);
    }
    slots->slots[slots->used] = (struct slot){0};
    return slots->used++;
}

static uint32_t take_free(struct slots *slots)
{
    const uint32_t i = slots->free - 1;

    slots->free = slots->slots[i].next_free;
    return i;
}

struct client_handle slots_take(struct slots *slots, uint16_t worker, struct client *client)
{
    const uint32_t i = slots->free ? take_free(slots) : take_fresh(slots);
    struct slot *slot = &slots->slots[i];

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
    slots->free = handle->slot + 1;
}

struct client *slots_find(const struct slots *slots, const struct client_handle *handle)
{
    const struct slot *slot;

    if (handle->slot >= slots->used)
        return NULL;
    slot = &slots->slots[handle->slot];
    return slot->generation == handle->generation ? slot->client : NULL;
}

void slots_deinit(struct slots *slots)
{
    free(slots->slots);
    *slots = (struct slots){0};
}
