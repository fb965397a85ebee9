// SPDX-License-Identifier: BSD-3-Clause
//
// The client's half of a DERP login: seals ClientInfo, opens ServerInfo. Wire page, section 2.
#ifndef LOAD_CLIENT_LOGIN_H
#define LOAD_CLIENT_LOGIN_H

#include "base/key.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLIENT_INFO_FRAME_MAX_BYTES 256

// The key in a ServerKey payload. False when the magic is wrong or bytes are missing.
bool client_login_server_key(const uint8_t *payload, size_t len, struct key *out);

// Writes a whole ClientInfo frame. Returns its size.
size_t client_login_put_info(uint8_t out[static CLIENT_INFO_FRAME_MAX_BYTES],
                             const struct key_pair *client, const struct key *server);

// True when the payload of a ServerInfo opens.
bool client_login_open_info(const uint8_t *payload, size_t len, const struct key_pair *client,
                            const struct key *server);

#endif
