// SPDX-License-Identifier: BSD-3-Clause
//
// The two boxes of a login: ClientInfo, which the server opens, and ServerInfo, which it seals.
// NaCl crypto_box (X25519, XSalsa20, Poly1305), nonce in front. Wire page, section 2, "Login".
#ifndef DERPER_PROTO_LOGIN_H
#define DERPER_PROTO_LOGIN_H

#include "base/key.h"
#include "proto/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOGIN_NONCE_BYTES 24
#define LOGIN_CLIENT_INFO_MIN_BYTES (KEY_BYTES + LOGIN_NONCE_BYTES)
#define LOGIN_SERVER_INFO_MAX_BYTES 256 // whole frame

struct client_info {
    struct key key;
    struct key mesh_key; // meaningful when has_mesh_key
    bool has_mesh_key;
    bool can_ack_pings; // only Go's clients say so; they understand Health and Restarting
    bool is_prober;
};

// Tells clients how much they may send; 0 = no limit, nothing is said.
struct server_limits {
    uint64_t bytes_per_second;
    uint64_t burst_bytes;
};

enum login_result {
    LOGIN_OK,
    LOGIN_BAD_LENGTH,
    LOGIN_ZERO_KEY,
    LOGIN_BOX_NOT_OPENED,
    LOGIN_BAD_JSON,
    LOGIN_BAD_MESH_KEY,
    LOGIN_TOO_MANY, // the key has as many connections as one may have; the caller's finding
};

// A few words for log lines and counters, with underscores for spaces.
const char *login_result_name(enum login_result result);

// Opens the payload of a ClientInfo frame (at most FRAME_CLIENT_INFO_MAX_BYTES). `shared` receives
// the box's shared key, good for login_put_server_info; the caller wipes it.
enum login_result login_open_client_info(const struct key_pair *server, const uint8_t *payload,
                                         size_t len, struct client_info *out,
                                         uint8_t shared[static KEY_BYTES]);

// The same shared key, for a ServerInfo later on. False for a client's key that has none.
bool login_shared_key(const struct key_pair *server, const struct key *client,
                      uint8_t shared[static KEY_BYTES]);

// Writes a whole ServerInfo frame. Returns its size.
size_t login_put_server_info(uint8_t out[static LOGIN_SERVER_INFO_MAX_BYTES],
                             const uint8_t shared[static KEY_BYTES],
                             const struct server_limits *limits);

#endif
