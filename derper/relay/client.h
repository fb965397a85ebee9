// SPDX-License-Identifier: BSD-3-Clause
//
// The life of one DERP connection, from the upgrade to its end. A client that stops amid a frame,
// or amid a record of TLS, is closed when its second keep-alive from then is due (60 to 130 s), and
// before that when too much waits on the worker and it holds more than its part. One that stops
// amid a frame that is skipped holds nothing and stays, like any that is silent, as long as its TCP
// connection.
#ifndef DERPER_RELAY_CLIENT_H
#define DERPER_RELAY_CLIENT_H

#include "relay/state.h"

#define LOGIN_LIMIT_MS 10000
#define FLUSH_EARLY_BYTES (256 * 1024)
#define KEEP_ALIVE_MS 60000
#define KEEP_ALIVE_JITTER_MS 5000 // a fixed time from 0 to this is added for each connection

// Takes over the stream; sends `preface` and the ServerKey frame and waits for ClientInfo. Closes
// it when as much waits as may.
void client_start(struct worker *worker, struct stream *stream, const char *preface,
                  size_t preface_len, bool not_ideal);

// Clients that are up are asked about within that time, each at a moment of its own.
void clients_recheck(struct worker *worker, uint32_t within_ms);

// Whoever holds more than a part of what may wait gives way, first by packets, then by its
// connection, until too much no longer waits. May close any client; there must be one.
void clients_relieve(struct worker *worker);

// The only way out. Unregisters, tells peers, closes the stream and frees the client.
void client_close(struct client *client, enum client_end end);

// The answer to what was asked about the client. May close it.
void client_admit(struct client *client, enum admission_verdict verdict);

// At the end of a loop turn: sends what waits, for all clients. May close any.
void clients_flush(struct worker *worker);

// Amid a turn: the same, if the turn has filled FLUSH_EARLY_BYTES of chunks. Thousands of clients
// may get something in one turn. What waits for them stays within the cache, and their chunks are
// used again for the next ones, instead of being freed between what lives long, where no page of
// them could go back to the system.
void clients_flush_early(struct worker *worker);

// The relay stops: tells the client if it understands. It is closed as soon as nothing waits for
// it.
void client_drain(struct client *client);

#endif
