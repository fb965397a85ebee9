// SPDX-License-Identifier: BSD-3-Clause
//
// How fast clients may send (--rate-config). What a read has brought is passed on whole and then
// charged; a client that owes for it is not read until it has made up for that, so that it waits in
// TCP and nothing is kept here or lost. It may be one read (64 KiB) ahead of its burst.
#ifndef DERPER_RELAY_THROTTLE_H
#define DERPER_RELAY_THROTTLE_H

#include "relay/state.h"

// The limits hold from now on, for clients that are connected as well: each starts anew with its
// burst, and those that understand it are told with their next keep-alive.
void throttle_set_limits(struct worker *worker, const struct server_limits *limits);

// For clients with limits: `bytes` of plaintext were read. May pause the client's reading, or make
// its pause longer.
void throttle_charge(struct client *client, size_t bytes);

// What a client was paused with is freed, also when it is closed; it is not read by that. Harmless
// when it is not paused.
void throttle_forget(struct client *client);

// (Mesh peers, when there are any, have none.)
static inline bool throttle_applies(const struct client *client)
{
    return client->worker->limits.bytes_per_second > 0 && client->state == CLIENT_UP;
}

#endif
