// SPDX-License-Identifier: BSD-3-Clause
#include "relay/queue.h"

#include "base/memory.h"
#include "proto/frame.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct chunk **pool_list(struct chunk_pool *pool, size_t capacity)
{
    if (capacity == CHUNK_SMALL_BYTES)
        return &pool->small;
    return capacity == CHUNK_LARGE_BYTES ? &pool->large : NULL;
}

static struct chunk *chunk_get(struct chunk_pool *pool, size_t capacity)
{
    struct chunk **list = pool_list(pool, capacity);
    struct chunk *chunk = list ? *list : NULL;

    if (chunk) {
        *list = chunk->next;
        pool->bytes -= capacity;
    } else {
        chunk = memory_get(sizeof *chunk + capacity);
    }
    pool->queued_bytes += capacity;
    pool->taken_bytes += capacity;
    chunk->start = chunk->end = chunk->frames = 0;
    chunk->capacity = (uint32_t)capacity;
    return chunk;
}

static void chunk_put(struct chunk_pool *pool, struct chunk *chunk)
{
    struct chunk **list = pool_list(pool, chunk->capacity);

    pool->queued_bytes -= chunk->capacity;
    if (!list || pool->bytes + chunk->capacity > CHUNK_POOL_MAX_BYTES) {
        free(chunk);
        return;
    }
    chunk->next = *list;
    *list = chunk;
    pool->bytes += chunk->capacity;
}

static void free_list(struct chunk *chunk)
{
    while (chunk) {
        struct chunk *next = chunk->next;

        free(chunk);
        chunk = next;
    }
}

void chunk_pool_deinit(struct chunk_pool *pool)
{
    free_list(pool->small);
    free_list(pool->large);
    *pool = (struct chunk_pool){0};
}

static bool is_old(const struct chunk *chunk, uint64_t now_ms)
{
    return now_ms - chunk->since_ms > CHUNK_SPAN_MS;
}

// A client that gets one frame now and then costs small chunks; one with a backlog gets whole
// records.
size_t queue_growth(const struct queue *queue, uint64_t now_ms, size_t len)
{
    const struct chunk *last = queue->last;
    const bool seldom = !last || is_old(last, now_ms);

    if (!seldom && last->capacity - last->end >= len)
        return 0;
    if (len > CHUNK_LARGE_BYTES)
        return len;
    return seldom && len <= CHUNK_SMALL_BYTES ? CHUNK_SMALL_BYTES : CHUNK_LARGE_BYTES;
}

static void put_last(struct queue *queue, struct chunk *chunk)
{
    queue->bytes += chunk->capacity;
    if (queue->last) {
        chunk->next = queue->last->next;
        queue->last->next = chunk;
    } else {
        chunk->next = chunk;
    }
    queue->last = chunk;
}

void queue_append(struct queue *queue, struct chunk_pool *pool, uint64_t now_ms, const uint8_t *a,
                  size_t a_len, const uint8_t *b, size_t b_len)
{
    const size_t len = a_len + b_len, growth = queue_growth(queue, now_ms, len);
    struct chunk *chunk = queue->last;

    if (growth > 0) {
        chunk = chunk_get(pool, growth);
        chunk->since_ms = now_ms;
        put_last(queue, chunk);
    }
    if (a_len > 0)
        memcpy(chunk->data + chunk->end, a, a_len);
    if (b_len > 0)
        memcpy(chunk->data + chunk->end + a_len, b, b_len);
    chunk->end += (uint32_t)len;
    chunk->until_ms = now_ms;
    chunk->frames++;
    queue->frames++;
}

static void drop_first(struct queue *queue, struct chunk_pool *pool)
{
    struct chunk *chunk = queue_first(queue);

    if (chunk == queue->last)
        queue->last = NULL;
    else
        queue->last->next = chunk->next;
    queue->bytes -= chunk->capacity;
    chunk_put(pool, chunk);
}

size_t queue_drop_oldest(struct queue *queue, struct chunk_pool *pool)
{
    struct chunk *chunk = queue_first(queue);
    struct frame_header header;

    assert(chunk && chunk->frames > 0);
    frame_parse_header(chunk->data + chunk->start, chunk->end - chunk->start, &header);
    chunk->start += FRAME_HEADER_BYTES + header.payload_bytes;
    chunk->frames--;
    // As if they had come evenly: the last one's time is right again, and the error in between
    // stays below the span of a chunk.
    if (chunk->frames > 0)
        chunk->since_ms += (chunk->until_ms - chunk->since_ms) / chunk->frames;
    queue->frames--;
    if (chunk->frames == 0)
        drop_first(queue, pool);
    return header.payload_bytes;
}

bool queue_pieces(const struct queue *queue, struct stream_buf *pieces, size_t max_pieces,
                  size_t *used, size_t max_bytes, size_t *bytes)
{
    for (const struct chunk *chunk = queue_first(queue); chunk; chunk = queue_next(queue, chunk)) {
        const size_t len = chunk->end - chunk->start;

        if (*used == max_pieces || (*used > 0 && *bytes + len > max_bytes))
            return false;
        pieces[(*used)++] = (struct stream_buf){chunk->data + chunk->start, len};
        *bytes += len;
    }
    return true;
}

void queue_release(struct queue *queue, struct chunk_pool *pool, size_t count,
                   queue_released_cb released, void *data)
{
    while (count-- > 0) {
        const struct chunk *chunk = queue_first(queue);

        queue->frames -= chunk->frames;
        released(chunk, data);
        drop_first(queue, pool);
    }
}

void queue_clear(struct queue *queue, struct chunk_pool *pool)
{
    while (queue->last)
        drop_first(queue, pool);
    *queue = (struct queue){0};
}
