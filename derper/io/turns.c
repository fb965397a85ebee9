// SPDX-License-Identifier: BSD-3-Clause
#include "io/turns.h"

#include "base/memory.h"
#include "io/engine.h"

#include <stdlib.h>
#include <string.h>
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
    turns->first = turns->end = turns->capacity = 0;
    uv_close((uv_handle_t *)turns->idle, on_idle_closed);
    turns->idle = NULL;
}

static struct stream *take_first(struct turns *turns)
{
    struct stream *stream = turns->waiting[turns->first++];

    if (turns->first == turns->end)
        end_of_line(turns);
    return stream;
}

static void on_idle(uv_idle_t *idle)
{
    struct turns *turns = idle->data;

    for (int n = 0; n < TURN_HANDSHAKES_MAX && turns->waiting; n++) {
        struct stream *stream = take_first(turns);

        if (stream)
            stream_resume(stream);
    }
}

static void start_line(struct turns *turns, uv_loop_t *loop)
{
    turns->idle = memory_get(sizeof *turns->idle);
    uv_idle_init(loop, turns->idle);
    turns->idle->data = turns;
    uv_idle_start(turns->idle, on_idle);
}

// For one more at the end: those that are gone leave their places first.
static void make_room(struct turns *turns)
{
    if (turns->end < turns->capacity)
        return;
    if (turns->first > turns->capacity / 2) {
        turns->end -= turns->first;
        memmove(turns->waiting, turns->waiting + turns->first, turns->end * sizeof *turns->waiting);
        turns->first = 0;
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
    turns->waiting[turns->end++] = stream;
    counter_add(&stream->io->counters.handshakes_delayed, 1);
    return false;
}

void turns_forget(struct stream *stream)
{
    struct turns *turns = &stream->io->turns;
    bool any = false;

    for (size_t i = turns->first; i < turns->end; i++) {
        if (turns->waiting[i] == stream)
            turns->waiting[i] = NULL;
        any = any || turns->waiting[i];
    }
    if (!any)
        end_of_line(turns);
}
