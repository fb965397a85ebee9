// SPDX-License-Identifier: BSD-3-Clause
//
// Whether a client may connect, asked of somebody who takes his time: server/ lends this room the
// functions, as it must not know access/. A client is asked about when its ClientInfo has been
// opened, and again while it stays. Until it is admitted nothing more is read from it, and what the
// read with its ClientInfo has brought besides is kept: clients reconnect with packets that wait.
#ifndef DERPER_RELAY_ADMISSION_H
#define DERPER_RELAY_ADMISSION_H

#include "relay/state.h"

// Whoever is asked has a limit of 5 s of his own; this is for when he is stuck.
#define ADMISSION_LIMIT_MS 7000
// What one read of a newcomer brings at most, and the TLS record that it ends.
#define ADMISSION_KEPT_MAX_BYTES (IO_NEWCOMER_READ_BYTES + 16 * 1024)

// ClientInfo is good: asks, and the client is ASKING from now on.
void admission_begin(struct client *client, const struct login *login);

// What was read after ClientInfo waits for the verdict: ADMISSION_KEPT_MAX_BYTES in all at most, as
// nothing more is read.
void admission_keep(struct client *client, const uint8_t *data, size_t len);

// The client is admitted, or closed: asking ends, and what was kept is the caller's, for
// admission_free. NULL when the client was not ASKING.
struct asking *admission_end(struct client *client);

// Wipes it first. NULL is harmless.
void admission_free(struct asking *asking);

// A client that is up is asked about again.
void admission_recheck(struct client *client);

#endif
