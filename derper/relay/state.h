// SPDX-License-Identifier: BSD-3-Clause
//
// A worker and its client: the two structs that the files of this room work on. From the ground up:
//
//   partial     the packets of a write that the socket has taken in part
//   outgoing    what waits for a client, and writing it
//   forward     where a packet goes; messages from other workers
//   membership  logging in, and leaving
//   admission   asking whether a client may log in, and whether it may stay
//   frames      what each frame of a client does
//   throttle    how fast a client may send
//   client      the life of a client
//   worker      the loop around them
//
// Used within this room only; others go through relay.h.
#ifndef DERPER_RELAY_STATE_H
#define DERPER_RELAY_STATE_H

#include "base/bucket.h"
#include "base/list.h"
#include "base/pool.h"
#include "io/context.h"
#include "io/stream.h"
#include "proto/reader.h"
#include "relay/codel.h"
#include "relay/counters.h"
#include "relay/inbox.h"
#include "relay/queue.h"
#include "relay/routes.h"
#include "relay/sent_to.h"
#include "relay/shared.h"
#include "relay/slots.h"

#include <assert.h>
#include <uv.h>

// RUNNING --stop--> DRAINING --no client left, or DRAIN_LIMIT_MS--> ENDED
enum worker_state { WORKER_RUNNING, WORKER_DRAINING, WORKER_ENDED };

struct worker {
    struct relay *relay;
    size_t index;
    enum worker_state state;
    uv_thread_t thread;
    uv_loop_t loop;
    int wake_fd;           // an eventfd: inbox or tasks. Others write to it, until they have ended
    uv_poll_t wake;        // of wake_fd
    uv_prepare_t turn_end; // runs before the loop sleeps
    uv_timer_t tick;       // for the wheel: set for its earliest timer
    uint64_t tick_ms;      // and when that is, while it is set; not later than it need be
    struct wheel_timer drain;
    struct io_context io;
    struct worker_listener *listeners;

    struct slots slots;  // clients that are logged in
    struct list clients; // all of them
    size_t client_count;
    struct server_limits limits; // of each client
    struct pool client_pool;
    struct list dirty; // with something to send, or doomed
    struct chunk_pool chunks;
    struct routes routes;
    size_t kept_bytes; // memory that keeps what clients have sent: of all, client_kept_bytes
    struct relay_counters counters;

    struct outbox *outboxes; // one for each worker; our own stays empty
    struct batch_pool batches;
    struct inbox inbox;
    pthread_mutex_t task_lock;
    struct task *_Atomic tasks; // read without the lock: is there any?
    struct task *last_task;
};

// LOGIN --member_join--> UP; where clients are asked about, LOGIN --admission_begin--> ASKING
// (reading is paused) --allowed--> UP; any --client_close--> freed.
enum client_state { CLIENT_LOGIN, CLIENT_ASKING, CLIENT_UP }; // the first by zeroed memory

// What a ClientInfo has said, and what it takes to answer it: secrets, wiped after use.
struct login {
    struct client_info info;
    uint8_t shared[KEY_BYTES];
};

struct asking {
    struct login login;
    size_t len;
    uint8_t *kept; // frames behind ClientInfo; apart, so that what is secret never moves
};

// An idle client is this, its stream and whom it has sent to: what grows here is paid a hundred
// thousand times.
struct client {
    struct worker *worker;
    struct stream *stream;
    struct list node;         // in worker->clients
    struct list dirty;        // in worker->dirty
    struct wheel_timer timer; // login limit; then keep-alives, or the limit of a blocked write
    struct key key;
    struct client_handle handle; // all zero until it is asked about, or up
    uint32_t keep_alive_ms;      // low bits of the clock: when the next one is due
    uint32_t recheck_at_ms;      // the same, of the next question whether it may stay, if any
    uint32_t dropped;            // packets for this client
    struct asking *asking;       // while ASKING
    struct frame_reader reader;
    struct queue control;
    struct queue packets[PACKET_KINDS];
    struct sent_to *sent_to;
    struct bucket not_here;
    struct bucket sent;            // bytes, while there are limits
    uv_timer_t *throttle_timer;    // while it is not read, as it has sent too much
    struct partial_write *partial; // partial.c's: what a blocked write holds
    uint64_t since_ms;             // upgrade
    struct codel codel;            // of packets[PACKET_OTHER]
    uint32_t unacked_before; // sealed bytes that waited when the limit of a blocked write began
    uint32_t write_end_ms;   // low bits of the clock: when that limit ends
    uint16_t jitter_ms;
    uint16_t last_route;   // as routes_find wants it
    uint8_t end : 5;       // enum client_end: why nothing more is read from it
    uint8_t lagging : 1;   // a write has blocked since nothing waited
    uint8_t state : 2;     // enum client_state
    uint8_t asked : 1;     // an answer is awaited
    uint8_t rechecked : 1; // recheck_at_ms holds
    uint8_t dup : 1;       // the key may be connected more than once
    uint8_t home : 1;      // NotePreferred
    uint8_t not_ideal : 1; // Ideal-Node
    uint8_t can_ack_pings : 1;
    uint8_t pong_pending : 1;
    uint8_t hint_is_old : 1; // the limits are others than it was told
    uint8_t watched : 1;     // the limit of a blocked write runs
    uint8_t doomed : 1;      // a write failed: closed at the end of the turn
};

_Static_assert(CLIENT_ENDS <= 1 << 5, "the bits of client.end");
_Static_assert(sizeof(struct client) <= 280, "paid a hundred thousand times; look for holes first");

static inline void client_set_state(struct client *client, enum client_state to)
{
    assert(client->state < to);
    client->state = (uint8_t)to;
}

// Memory that keeps what the client has sent: a frame that has not come whole, and what waits until
// it is admitted.
static inline size_t client_kept_bytes(const struct client *client)
{
    const struct asking *asking = client->asking;

    return client->reader.held_bytes + (asking ? sizeof *asking + asking->len : 0);
}

static inline void count(struct counter *counter)
{
    counter_add(counter, 1);
}

#endif
