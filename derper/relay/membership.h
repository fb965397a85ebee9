// SPDX-License-Identifier: BSD-3-Clause
//
// Becoming a client of the relay, and ceasing to be one.
#ifndef DERPER_RELAY_MEMBERSHIP_H
#define DERPER_RELAY_MEMBERSHIP_H

#include "relay/state.h"

// Opens the payload of ClientInfo. The caller wipes `login`.
enum login_result member_open(const struct client *client, const uint8_t *payload, size_t len,
                              struct login *login);

// On LOGIN_OK the client is registered, and only then gets ServerInfo, so that a packet sent right
// after the login is never lost.
enum login_result member_join(struct client *client, const struct login *login);

// Tells a client that is up what its limits are now.
void member_tell_limits(struct client *client);

// Unregisters a client that is up. When it was the key's last connection, those who got packets
// from it are told.
void member_leave(struct client *client);

#endif
