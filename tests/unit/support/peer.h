// SPDX-License-Identifier: BSD-3-Clause
//
// A DERP client on a blocking socket, as far as tests of the relay need one (wire page, sections 1
// and 2). Everything asserts; a relay that is silent for PEER_PATIENCE_S fails the test.
#ifndef TEST_SUPPORT_PEER_H
#define TEST_SUPPORT_PEER_H

#include "base/key.h"
#include "proto/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEER_PATIENCE_S 20
#define PEER_FRAME_MAX_BYTES (FRAME_SEND_MAX_BYTES + 64)

struct peer {
    int fd;
    struct key_pair key;
    struct key server;
    char server_info[160]; // its JSON
    uint8_t type;          // of the frame that peer_receive has read
    size_t len;            // of its payload
    uint8_t payload[PEER_FRAME_MAX_BYTES];
};

// Connects only. `receive_bytes` bounds the receive buffer, 0 = the system's.
void peer_connect(struct peer *peer, uint16_t port, int receive_bytes);

void peer_send_bytes(const struct peer *peer, const void *bytes, size_t len);
void peer_send_request(const struct peer *peer);
// Reads the ServerKey frame.
void peer_receive_server_key(struct peer *peer);
// Writes a whole ClientInfo frame with this JSON. Returns its size.
size_t peer_put_client_info(const struct peer *peer, const char *json, uint8_t *out);
// Reads the ServerInfo frame and opens it.
void peer_receive_server_info(struct peer *peer);

// All of this; a fresh key when `key` is NULL.
void peer_login(struct peer *peer, uint16_t port, const struct key_pair *key);

size_t peer_put_packet(uint8_t *out, const struct key *to, const void *packet, size_t len);
void peer_send_packet(const struct peer *peer, const struct key *to, const void *packet,
                      size_t len);

// The next frame. False when the relay has ended the connection.
bool peer_receive(struct peer *peer);
// The next frame, which must be a packet of `from` with these bytes.
void peer_expect_packet(struct peer *peer, const struct key *from, const void *packet, size_t len);
void peer_expect_gone(struct peer *peer, const struct key *who, enum peer_gone_reason reason);
// A ping comes back, and nothing before it: what was sent earlier has been handled.
void peer_expect_nothing(struct peer *peer);
void peer_expect_end(struct peer *peer);

void peer_close(struct peer *peer);

#endif
