// SPDX-License-Identifier: BSD-3-Clause
#include "buffer.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY_BYTES 2048

static void compact(struct buffer *buffer)
{
    if (buffer->start == 0)
        return;
    memmove(buffer->data, buffer_head(buffer), buffer_len(buffer));
    buffer->end -= buffer->start;
    buffer->start = 0;
}

uint8_t *buffer_reserve(struct buffer *buffer, size_t size)
{
    size_t capacity = buffer->capacity ? buffer->capacity : FIRST_CAPACITY_BYTES;

    if (buffer->capacity - buffer->end >= size && buffer->data)
        return buffer->data + buffer->end;
    compact(buffer);
    while (capacity - buffer->end < size)
        capacity *= 2;
    if (capacity != buffer->capacity || !buffer->data) {
        buffer->data = memory_resize(buffer->data, capacity);
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->end;
}

void buffer_commit(struct buffer *buffer, size_t size)
{
    assert(buffer->capacity - buffer->end >= size);
    buffer->end += size;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t size)
{
    if (size == 0)
        return;
    memcpy(buffer_reserve(buffer, size), bytes, size);
    buffer_commit(buffer, size);
}

void buffer_consume(struct buffer *buffer, size_t size)
{
    assert(buffer_len(buffer) >= size);
    buffer->start += size;
    if (buffer->start == buffer->end)
        buffer->start = buffer->end = 0;
}

void buffer_deinit(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}
