// SPDX-License-Identifier: BSD-3-Clause
//
// Frames that wait for one client: whole frames, back to back in chunks, so that a chunk is sealed
// as it stands. Bounded in packets and in bytes of the chunks, filled or not; the oldest is dropped
// first. One thread.
//
//   chunk:  [ sent or dropped | frame | frame | frame |     free     ]
//             0 ............... start ............... end .......... capacity
#ifndef DERPER_RELAY_QUEUE_H
#define DERPER_RELAY_QUEUE_H

#include "io/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHUNK_SMALL_BYTES 2048
#define CHUNK_LARGE_BYTES 16384            // one full TLS record
#define CHUNK_POOL_MAX_BYTES (1024 * 1024) // a worker's spare chunks
#define CHUNK_SPAN_MS 100                  // between the first and the last frame in one

struct chunk {
    struct chunk *next; // in a queue, behind the last one is the first
    uint32_t start, end, capacity;
    uint32_t frames;
    uint64_t since_ms; // when its first frame came, about so once frames in front are dropped
    uint64_t until_ms; // when its last one came
    uint8_t data[];
};

// A worker's spare chunks: what a client has used goes back here.
struct chunk_pool {
    struct chunk *small, *large;
    size_t bytes;
    size_t queued_bytes; // of the chunks that are in queues, filled or not
    size_t taken_bytes;  // of the chunks that were taken since the owner has set this to 0
};

void chunk_pool_deinit(struct chunk_pool *pool);

struct queue {
    struct chunk *last; // NULL: empty
    uint32_t frames;
    uint32_t bytes; // of its chunks, filled or not
};

static inline bool queue_empty(const struct queue *queue)
{
    return queue->frames == 0;
}

// The oldest chunk; NULL when there is none.
static inline struct chunk *queue_first(const struct queue *queue)
{
    return queue->last ? queue->last->next : NULL;
}

// The chunk behind this one; NULL when it is the last.
static inline struct chunk *queue_next(const struct queue *queue, const struct chunk *chunk)
{
    return chunk != queue->last ? chunk->next : NULL;
}

// How long the oldest frame has waited; 0 when there is none.
static inline uint64_t queue_waited_ms(const struct queue *queue, uint64_t now_ms)
{
    return queue->last ? now_ms - queue_first(queue)->since_ms : 0;
}

// By how much `bytes` grows when a frame of `len` bytes is appended now; 0 when the last chunk
// takes it.
size_t queue_growth(const struct queue *queue, uint64_t now_ms, size_t len);

// Appends one whole frame, given in two parts, either of which may be empty.
void queue_append(struct queue *queue, struct chunk_pool *pool, uint64_t now_ms, const uint8_t *a,
                  size_t a_len, const uint8_t *b, size_t b_len);

// Removes the oldest frame of a queue that is not empty. Returns the bytes of its payload.
size_t queue_drop_oldest(struct queue *queue, struct chunk_pool *pool);

// Adds the chunks from the first on to `pieces` until there are `max_pieces`, or the next one,
// unless it is the very first, would exceed `max_bytes` in all. `*used` and `*bytes` count on.
// Returns false when a chunk was left out.
bool queue_pieces(const struct queue *queue, struct stream_buf *pieces, size_t max_pieces,
                  size_t *used, size_t max_bytes, size_t *bytes);

// What a chunk held, told to the caller of queue_release.
typedef void (*queue_released_cb)(const struct chunk *chunk, void *data);

// Frees the `count` chunks at the front, as given out by queue_pieces.
void queue_release(struct queue *queue, struct chunk_pool *pool, size_t count,
                   queue_released_cb released, void *data);

// Frees everything.
void queue_clear(struct queue *queue, struct chunk_pool *pool);

#endif
