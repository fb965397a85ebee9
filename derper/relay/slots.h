// SPDX-License-Identifier: BSD-3-Clause
//
// A worker's clients by number: how others name a client without holding a pointer to it. One
// thread.
#ifndef DERPER_RELAY_SLOTS_H
#define DERPER_RELAY_SLOTS_H

#include "relay/directory.h"

struct client;
struct slot;

// All zero at the start.
struct slots {
    struct slot *slots;
    uint32_t capacity;
    uint32_t used; // slots that somebody has or has had
    uint32_t free; // head of the list of free ones among them, counted from 1; 0 = none
};

struct client_handle slots_take(struct slots *slots, uint16_t worker, struct client *client);
void slots_give_back(struct slots *slots, const struct client_handle *handle);

// NULL when that tenant has gone.
struct client *slots_find(const struct slots *slots, const struct client_handle *handle);

// Also when clients are left: no handle finds one any more.
void slots_deinit(struct slots *slots);

#endif
