// SPDX-License-Identifier: BSD-3-Clause
//
// Becoming a client of the relay, and ceasing to be one.
#ifndef DERPER_RELAY_MEMBERSHIP_H
#define DERPER_RELAY_MEMBERSHIP_H

#include "relay/state.h"

// When one of these two returns false, the client is to be closed for client->end.

// Opens the payload of ClientInfo. The caller wipes `login`, whatever this returns.
bool member_open(struct client *client, const uint8_t *payload, size_t len, struct login *login);

// The client is registered, and only then gets ServerInfo, so that a packet sent right after the
// login is never lost. (It may be up when this returns false.)
bool member_join(struct client *client, const struct login *login);

// Tells a client that is up what its limits are now. False when there is no room for that.
bool member_tell_limits(struct client *client);

// Unregisters a client that is up. When it was the key's last connection, those who got packets
// from it are told.
void member_leave(struct client *client);

#endif
