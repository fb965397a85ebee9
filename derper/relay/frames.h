// SPDX-License-Identifier: BSD-3-Clause
//
// What the frames of a client do: finding their borders in what was read, and forwarding. Used
// within this room only.
#ifndef DERPER_RELAY_FRAMES_H
#define DERPER_RELAY_FRAMES_H

#include "relay/client.h"

// The stream's on_data: reads frames in place, keeps what is not whole yet.
bool frames_read(struct stream *stream, uint8_t *data, size_t len);

void frames_count_drop(struct worker *worker, enum drop_reason reason, enum packet_kind kind,
                       size_t bytes);

// `destination` has got packets from `peer`, whose last connection has ended.
void frames_tell_peer_gone(struct worker *worker, const struct key *destination, uint64_t hash,
                           const struct key *peer);

// The key of that client is connected more than once now.
void frames_tell_duplicate(struct worker *worker, const struct client_handle *handle);

// Handles what another worker has sent.
void frames_deliver(struct worker *worker, const struct message *message);

// client.c's, for frames.c:
bool client_login(struct client *client, const uint8_t *payload, size_t len);
void client_send_not_here(struct client *client, const struct key *peer);
void client_send_pong(struct client *client, const uint8_t echoed[static FRAME_PING_BYTES]);
void client_sample_rtt(struct client *client);

#endif
