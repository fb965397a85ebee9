// SPDX-License-Identifier: BSD-3-Clause
#include "io/turns.h"

#include "base/memory.h"
#include "io/engine.h"

#include <stdlib.h>
#include <uv.h>

#define WAITING_MIN 64

static bool take_share(struct turns *turns, const uv_loop_t *loop)
{
    const uint64_t now_ms = uv_now(loop);

    if (turns->now_ms != now_ms) {
        turns->now_ms = now_ms;
        turns->handshakes = 0;
    }
    return turns->handshakes++ < TURN_HANDSHAKES_MAX;
}

static void on_idle_closed(uv_handle_t *handle)
{
    free(handle);
}

static void end_of_line(struct turns *turns)
{
    free(turns->waiting);
    turns->waiting = NULL;
    turns->first = turns->end = turns->capacity = turns->count = 0;
    uv_close((uv_handle_t *)turns->idle, on_idle_closed);
    turns->idle = NULL;
}

static struct stream *take_first(struct turns *turns)
{
    struct stream *stream;

    while (!turns->waiting[turns->first])
        turns->first++;
    stream = turns->waiting[turns->first++];
    if (--turns->count == 0)
        end_of_line(turns);
    return stream;
}

static void on_idle(uv_idle_t *idle)
{
    struct turns *turns = idle->data;

    for (int n = 0; n < TURN_HANDSHAKES_MAX && turns->waiting; n++)
        stream_resume(take_first(turns));
}

static void start_line(struct turns *turns, uv_loop_t *loop)
{
    turns->idle = memory_get(sizeof *turns->idle);
    uv_idle_init(loop, turns->idle);
    turns->idle->data = turns;
    uv_idle_start(turns->idle, on_idle);
}

static void put_last(struct turns *turns, struct stream *stream)
{
    stream->place = (uint32_t)turns->end;
    turns->waiting[turns->end++] = stream;
}

// Those that wait move up to the front.
static void close_gaps(struct turns *turns)
{
    const size_t first = turns->first, end = turns->end;

    turns->first = turns->end = 0;
    for (size_t i = first; i < end; i++)
        if (turns->waiting[i])
            put_last(turns, turns->waiting[i]);
}

// For one more at the end: what is free is used first, if that is half of it.
static void make_room(struct turns *turns)
{
    if (turns->end < turns->capacity)
        return;
    if (turns->count < turns->capacity / 2) {
        close_gaps(turns);
        return;
    }
    turns->capacity = turns->capacity ? 2 * turns->capacity : WAITING_MIN;
    turns->waiting = memory_resize(turns->waiting, turns->capacity * sizeof *turns->waiting);
}

bool turns_may_read(struct stream *stream)
{
    struct turns *turns = &stream->io->turns;

    if (!turns->waiting && take_share(turns, stream->io->loop))
        return true;
    if (!turns->waiting)
        start_line(turns, stream->io->loop);
    make_room(turns);
    put_last(turns, stream);
    turns->count++;
    counter_add(&stream->io->counters.handshakes_delayed, 1);
    return false;
}

void turns_forget(struct stream *stream)
{
    struct turns *turns = &stream->io->turns;

    turns->waiting[stream->place] = NULL;
    if (--turns->count == 0)
        end_of_line(turns);
}
