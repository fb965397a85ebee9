// SPDX-License-Identifier: BSD-3-Clause
//
// The clients of a fleet two by two, 0 and 1, 2 and 3, …: each can send its neighbour a packet.
#ifndef LOAD_NEIGHBOURS_H
#define LOAD_NEIGHBOURS_H

#include "fleet.h"

#include <stdbool.h>
#include <stddef.h>

static inline struct conn *neighbours_of(const struct fleet *fleet, size_t i)
{
    return &fleet->conns[i ^ 1];
}

// Both must be READY.
void neighbours_send(const struct fleet *fleet, size_t i, size_t payload_bytes);

// True when a RecvPacket that client `i` got is its neighbour's packet, whole.
bool neighbours_check(const struct frame_header *header, const uint8_t *frame, size_t i,
                      size_t payload_bytes);

#endif
