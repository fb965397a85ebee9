// SPDX-License-Identifier: BSD-3-Clause
#include "relay/partial.h"

#include "base/memory.h"
#include "relay/outgoing.h"

#include <stdlib.h>

struct partial_write {
    size_t written; // bytes of the write, all in all
    size_t start;   // where the first packet stands in it that was not taken
    uint32_t count; // of those packets
    uint32_t disco; // so many of them are discovery packets, which come first
    uint32_t frame_bytes[];
};

static uint32_t payload_bytes(uint32_t frame_bytes)
{
    return frame_bytes - FRAME_HEADER_BYTES - KEY_BYTES;
}

static void count_sent(struct worker *worker, uint32_t frame_bytes)
{
    count(&worker->counters.packets_sent);
    counter_add(&worker->counters.bytes_sent, payload_bytes(frame_bytes));
}

static uint32_t frame_bytes_at(const struct stream_buf *piece, size_t at)
{
    struct frame_header header;

    frame_parse_header(piece->data + at, piece->len - at, &header);
    return FRAME_HEADER_BYTES + header.payload_bytes;
}

// Where one packet after the other ends in the write, and how far the kernel has taken that.
struct progress {
    size_t end, taken;
};

static bool is_taken(struct progress *progress, uint32_t frame_bytes)
{
    progress->end += frame_bytes;
    return progress->end <= progress->taken;
}

// Returns how many of the packets in `piece` are not taken; their lengths go to `out`.
static uint32_t keep_piece(struct worker *worker, const struct stream_buf *piece,
                           struct progress *progress, uint32_t *out)
{
    uint32_t n = 0;

    for (size_t at = 0; at < piece->len;) {
        const uint32_t bytes = frame_bytes_at(piece, at);

        if (is_taken(progress, bytes))
            count_sent(worker, bytes);
        else
            out[n++] = bytes;
        at += bytes;
    }
    return n;
}

void partial_keep(struct client *client, const struct stream_buf *pieces,
                  const size_t of_queue[static 1 + PACKET_KINDS], size_t written)
{
    const size_t most = client->packets[PACKET_DISCO].frames + client->packets[PACKET_OTHER].frames;
    struct partial_write *partial = memory_get(sizeof *partial + most * sizeof(uint32_t));
    struct progress progress = {.taken = written - stream_untaken_bytes(client->stream, written)};
    uint32_t n = 0;

    *partial = (struct partial_write){.written = written};
    for (size_t i = 0; i < of_queue[0]; i++)
        progress.end += (pieces++)->len;
    for (int kind = 0; kind < PACKET_KINDS; kind++) {
        for (size_t i = 0; i < of_queue[1 + kind]; i++)
            n += keep_piece(client->worker, pieces++, &progress, partial->frame_bytes + n);
        if (kind == PACKET_DISCO)
            partial->disco = n;
    }
    partial->count = n;
    partial->start = progress.end;
    for (uint32_t i = 0; i < n; i++)
        partial->start -= partial->frame_bytes[i];
    client->partial = memory_resize(partial, sizeof *partial + n * sizeof(uint32_t));
}

static void forget(struct client *client)
{
    free(client->partial);
    client->partial = NULL;
}

void partial_sent(struct client *client)
{
    const struct partial_write *partial = client->partial;

    if (!partial)
        return;
    for (uint32_t i = 0; i < partial->count; i++)
        count_sent(client->worker, partial->frame_bytes[i]);
    forget(client);
}

void partial_lost(struct client *client, enum drop_reason reason)
{
    const struct partial_write *partial = client->partial;
    struct progress progress;

    if (!partial)
        return;
    progress = (struct progress){
        .end = partial->start,
        .taken = partial->written - stream_untaken_bytes(client->stream, partial->written),
    };
    for (uint32_t i = 0; i < partial->count; i++) {
        const uint32_t bytes = partial->frame_bytes[i];

        if (is_taken(&progress, bytes)) {
            count_sent(client->worker, bytes);
            continue;
        }
        client->dropped++;
        outgoing_count_drop(client->worker, reason,
                            i < partial->disco ? PACKET_DISCO : PACKET_OTHER, payload_bytes(bytes));
    }
    forget(client);
}
