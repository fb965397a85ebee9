// SPDX-License-Identifier: BSD-3-Clause
//
// Where a packet goes: to a client of this worker, or as a message to another's.
#ifndef DERPER_RELAY_FORWARD_H
#define DERPER_RELAY_FORWARD_H

#include "relay/state.h"

// A whole SendPacket frame of `client`, which is rewritten in place into what its destination gets.
void forward_packet(struct client *client, uint8_t *frame, size_t len);

// The key of this hash has got packets from `peer`, whose last connection has ended.
void forward_peer_gone(struct worker *worker, uint64_t hash, const struct key *peer);

// The key of that client is connected more than once now.
void forward_duplicate(struct worker *worker, const struct client_handle *handle);

// Does what a message of another worker says.
void forward_deliver(struct worker *worker, const struct message *message);

#endif
