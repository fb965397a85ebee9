// SPDX-License-Identifier: BSD-3-Clause
//
// What waits for a client, and writing it: control frames before packets, discovery before the
// rest. One client makes wait at most its queues (config.queue_bytes each), CONTROL_MAX_BYTES and
// one write (IO_WRITE_BYTES); when much waits on the worker (see enum waiting_level), its part of
// that, or one packet, and control frames. What is kept of what clients have sent, half frames and
// half records of TLS, counts with that.
// Putting something in never closes the client; a write that fails dooms it, and its closing
// is client.c's.
#ifndef DERPER_RELAY_OUTGOING_H
#define DERPER_RELAY_OUTGOING_H

#include "relay/state.h"

// Control frames that wait for one client; more are dropped and counted.
#define CONTROL_MAX_BYTES (256 * 1024)
// A packet that has waited longer is not sent any more. Against what does not slow down when CoDel
// drops; TCP gets there only when the client's connection stalls.
#define QUEUE_AGE_MAX_MS 1000
// One write to a client that takes less than it gets: what the socket does not take of it can no
// longer be dropped.
#define WRITE_LAGGING_BYTES (32 * 1024)
#define NOT_HERE_PER_SECOND 1 // PeerGone(not here) frames to one sender
#define NOT_HERE_BURST 3

// The client's turn comes at the end of the loop turn.
void outgoing_mark(struct client *client);

// A whole frame, in two parts (`b_len` may be 0). False when there is no room, and it is lost.
bool outgoing_control(struct client *client, const uint8_t *a, size_t a_len, const uint8_t *b,
                      size_t b_len);

// A whole RecvPacket frame; the oldest of that kind go when the queue is full. When too much waits
// on the worker, they go when the client would hold more than its part, and the new one as well if
// that is not enough, unless nothing waits for the client.
void outgoing_packet(struct client *client, enum packet_kind kind, const uint8_t *frame,
                     size_t len);

// A peer that this client got packets from has gone.
void outgoing_peer_gone(struct client *client, const struct key *peer);

// A peer that this client has sent to is not here. Limited.
void outgoing_not_here(struct client *client, const struct key *peer);

// One at a time: while one waits, further pings are ignored.
void outgoing_pong(struct client *client, const uint8_t echoed[static FRAME_PING_BYTES]);

void outgoing_keep_alive(struct client *client);
void outgoing_restarting(struct client *client);

// Sends what waits, as far as the socket takes it, and drops what has waited too long. False when
// the client is doomed.
bool outgoing_write(struct client *client);

bool outgoing_empty(const struct client *client);

// Memory that waits on the worker: in queues, for sockets, and of what clients have sent and is
// kept. Never more than twice config.waiting_bytes, what sealing adds (3 % at most), and the record
// and the frame that are being read; beside that stand the lengths that partial.c keeps, 4 bytes
// for a packet that a socket has not taken, and what connections hold that are not logged in, which
// are bounded by their number (turns.h) and their answers (http.h).
static inline size_t outgoing_waiting_bytes(const struct worker *worker)
{
    return worker->chunks.queued_bytes + worker->io.held_bytes + worker->kept_bytes;
}

// What is done when so much waits on the worker. Each level goes on with those below it.
enum waiting_level {
    WAITING_SHARED,   // no client gets more than its part of config.waiting_bytes
    WAITING_RELIEVED, // those with more lose packets, and then their connections
    WAITING_FULL,     // nothing more is taken
};

static inline size_t outgoing_level_bytes(const struct worker *worker, enum waiting_level level)
{
    static const unsigned percent[] = {
        [WAITING_SHARED] = 100,
        [WAITING_RELIEVED] = 150,
        [WAITING_FULL] = 200,
    };
    return worker->relay->config.waiting_bytes * percent[level] / 100;
}

static inline bool outgoing_reaches(const struct worker *worker, enum waiting_level level)
{
    return outgoing_waiting_bytes(worker) >= outgoing_level_bytes(worker, level);
}

// A client's part of config.waiting_bytes. There must be a client.
size_t outgoing_part_bytes(const struct worker *worker);

// Memory that waits for this client, or keeps what it has sent.
size_t outgoing_held_bytes(const struct client *client);

// Drops the oldest packets as far as the client holds more than its part. What its socket has not
// taken stays, as do control frames and what it has sent.
void outgoing_trim(struct client *client);

// Everything that waits is lost, for this reason.
void outgoing_discard(struct client *client, enum drop_reason reason);

// A packet of `bytes` was lost on its way to whomever.
void outgoing_count_drop(struct worker *worker, enum drop_reason reason, enum packet_kind kind,
                         size_t bytes);

#endif
