// SPDX-License-Identifier: BSD-3-Clause
//
// A growing queue of bytes: appended at the end, consumed at the start.
#ifndef LOAD_BUFFER_H
#define LOAD_BUFFER_H

#include <stddef.h>
#include <stdint.h>

// 0 .. start: consumed -- start .. end: waiting -- end .. capacity: free
struct buffer {
    uint8_t *data; // NULL until the first reservation
    size_t start, end, capacity;
};

static inline size_t buffer_len(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

// The first waiting byte, or NULL before the first reservation. Valid until the next one.
static inline uint8_t *buffer_head(const struct buffer *buffer)
{
    return buffer->data ? buffer->data + buffer->start : NULL;
}

// Room for `size` bytes behind the waiting ones; what was written there is taken by buffer_commit.
uint8_t *buffer_reserve(struct buffer *buffer, size_t size);
void buffer_commit(struct buffer *buffer, size_t size);

void buffer_append(struct buffer *buffer, const void *bytes, size_t size);
void buffer_consume(struct buffer *buffer, size_t size);
void buffer_deinit(struct buffer *buffer);

#endif
