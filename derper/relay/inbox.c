// SPDX-License-Identifier: BSD-3-Clause
#include "relay/inbox.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_BYTES 16384
#define ALIGN(n) (((n) + 7) & ~(size_t)7)

static struct batch *batch_new(struct batch_pool *pool, size_t need)
{
    const size_t capacity = need > BATCH_BYTES ? need : BATCH_BYTES;
    struct batch *batch = pool->head;

    if (batch && capacity == BATCH_BYTES) {
        pool->head = batch->next;
        pool->count--;
    } else {
        batch = memory_get(sizeof *batch + capacity);
    }
    batch->next = NULL;
    batch->len = 0;
    batch->capacity = capacity;
    return batch;
}

void outbox_append(struct outbox *outbox, struct batch_pool *pool, const struct client_handle *to,
                   enum message_type type, const uint8_t *body, size_t len)
{
    const size_t need = ALIGN(sizeof(struct message) + len);
    struct batch *batch = outbox->tail;
    struct message *message;

    if (!batch || batch->capacity - batch->len < need) {
        batch = batch_new(pool, need);
        if (outbox->tail)
            outbox->tail->next = batch;
        else
            outbox->head = batch;
        outbox->tail = batch;
    }
    message = (struct message *)(batch->data + batch->len);
    *message = (struct message){.to = *to, .type = type, .len = (uint32_t)len};
    if (len > 0)
        memcpy(message + 1, body, len);
    batch->len += need;
    outbox->bytes += need;
}

void inbox_init(struct inbox *inbox)
{
    memset(inbox, 0, sizeof *inbox);
    pthread_mutex_init(&inbox->lock, NULL);
}

void inbox_close(struct inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    inbox->closed = true;
    batch_free_all(inbox->head);
    inbox->head = inbox->tail = NULL;
    pthread_mutex_unlock(&inbox->lock);
}

void inbox_deinit(struct inbox *inbox)
{
    batch_free_all(inbox->head);
    pthread_mutex_destroy(&inbox->lock);
}

bool inbox_receive(struct inbox *inbox, struct outbox *outbox)
{
    struct batch *refused = NULL;
    bool was_empty;

    pthread_mutex_lock(&inbox->lock);
    was_empty = !inbox->head && !inbox->closed;
    if (inbox->closed) {
        refused = outbox->head;
    } else {
        if (inbox->tail)
            inbox->tail->next = outbox->head;
        else
            inbox->head = outbox->head;
        inbox->tail = outbox->tail;
        atomic_fetch_add_explicit(&inbox->bytes, outbox->bytes, memory_order_relaxed);
    }
    pthread_mutex_unlock(&inbox->lock);
    *outbox = (struct outbox){0};
    batch_free_all(refused);
    return was_empty;
}

struct batch *inbox_take(struct inbox *inbox)
{
    struct batch *batch;

    pthread_mutex_lock(&inbox->lock);
    batch = inbox->head;
    inbox->head = inbox->tail = NULL;
    atomic_store_explicit(&inbox->bytes, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&inbox->taken, 1, memory_order_relaxed);
    pthread_mutex_unlock(&inbox->lock);
    return batch;
}

const struct message *batch_next(const struct batch *batch, size_t *offset)
{
    const struct message *message;

    if (*offset >= batch->len)
        return NULL;
    message = (const struct message *)(batch->data + *offset);
    *offset += ALIGN(sizeof *message + message->len);
    return message;
}

void batch_free_all(struct batch *batch)
{
    while (batch) {
        struct batch *next = batch->next;

        free(batch);
        batch = next;
    }
}

void batch_pool_put(struct batch_pool *pool, struct batch *batch)
{
    while (batch) {
        struct batch *next = batch->next;

        if (batch->capacity == BATCH_BYTES && pool->count < BATCH_POOL_MAX) {
            batch->next = pool->head;
            pool->head = batch;
            pool->count++;
        } else {
            free(batch);
        }
        batch = next;
    }
}
