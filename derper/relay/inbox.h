// SPDX-License-Identifier: BSD-3-Clause
//
// Messages between workers. A worker collects what it has for another in an outbox of its own and
// hands it over once per loop turn; the receiver takes all that has come at once. Order between two
// workers is kept.
#ifndef DERPER_RELAY_INBOX_H
#define DERPER_RELAY_INBOX_H

#include "relay/directory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes that may wait for one worker. Beyond that, senders drop (DROP_QUEUE_TAIL) the packets of
// flows, a flow being what one sender has for one destination, that have more than their share
// since the inbox was taken last; so a flood does not push out anybody else. Beyond twice as many,
// they drop every packet. Each sending worker may be one outbox above for a turn.
#define INBOX_MAX_BYTES (8 * 1024 * 1024)
#define INBOX_FLOW_PACKETS 256 // the share of one flow and kind of packet
#define INBOX_FLOW_BYTES (256 * 1024)

enum message_type {
    MESSAGE_PACKET_DISCO, // body: a whole RecvPacket frame
    MESSAGE_PACKET_OTHER,
    MESSAGE_PEER_GONE, // body: the key of the peer that has left
    MESSAGE_SENT_TO,   // body: the hash of a key that the client's key has sent to
    MESSAGE_DUPLICATE, // the client's key is connected more than once now; no body. Never lost, and
                       // at most one for each time that a second connection of a key logs in
};

struct message {
    struct client_handle to;
    uint32_t type; // enum message_type
    uint32_t len;  // of the body, which follows
};

struct batch {
    struct batch *next;
    size_t len, capacity;
    uint8_t data[] __attribute__((aligned(8)));
};

// A worker's spare batches. Those that it has received and emptied are what it fills next, as
// memory that one thread allocates and another one frees takes locks inside malloc.
struct batch_pool {
    struct batch *head;
    size_t count;
};
#define BATCH_POOL_MAX 8

// What a worker has for one other.
struct outbox {
    struct batch *head, *tail;
    size_t bytes;
};

struct inbox {
    pthread_mutex_t lock;
    struct batch *head, *tail;
    _Atomic size_t bytes;
    _Atomic uint32_t taken; // how often all was taken
    bool closed;
} __attribute__((aligned(128)));

void outbox_append(struct outbox *outbox, struct batch_pool *pool, const struct client_handle *to,
                   enum message_type type, const uint8_t *body, size_t len);

void inbox_init(struct inbox *inbox);

// Refuses what comes from now on, and frees what is there.
void inbox_close(struct inbox *inbox);
void inbox_deinit(struct inbox *inbox);

// Bytes that wait, or will with the outbox: a hint without a lock.
static inline size_t inbox_bytes(const struct inbox *inbox, const struct outbox *outbox)
{
    return atomic_load_explicit(&inbox->bytes, memory_order_relaxed) + outbox->bytes;
}

// Changes when the inbox was taken: what was counted for a flow before is gone then.
static inline uint32_t inbox_taken(const struct inbox *inbox)
{
    return atomic_load_explicit(&inbox->taken, memory_order_relaxed);
}

// Moves everything over; the outbox must not be empty. True when the inbox was empty before, so its
// worker has to be woken.
bool inbox_receive(struct inbox *inbox, struct outbox *outbox);

// Takes everything that is there; the caller gives the batches to batch_pool_put or batch_free_all.
struct batch *inbox_take(struct inbox *inbox);

// The message at `*offset`, or NULL at the end; moves on.
const struct message *batch_next(const struct batch *batch, size_t *offset);

static inline const uint8_t *message_body(const struct message *message)
{
    return (const uint8_t *)(message + 1);
}

void batch_free_all(struct batch *batch);

// Takes a list of batches: frees those of unusual size, and what is too much.
void batch_pool_put(struct batch_pool *pool, struct batch *batch);

#endif
