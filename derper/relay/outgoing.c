// SPDX-License-Identifier: BSD-3-Clause
#include "relay/outgoing.h"

#include "base/clock.h"
#include "relay/partial.h"

#define RESTART_RECONNECT_MS 500 // told to clients when the relay stops
#define RESTART_TRY_FOR_MS 30000

static const struct bucket_rate not_here_rate = {NOT_HERE_PER_SECOND, NOT_HERE_BURST};

void outgoing_mark(struct client *client)
{
    if (list_empty(&client->dirty))
        list_append(&client->worker->dirty, &client->dirty);
}

void outgoing_count_drop(struct worker *worker, enum drop_reason reason, enum packet_kind kind,
                         size_t bytes)
{
    count(&worker->counters.packets_dropped[reason][kind]);
    counter_add(&worker->counters.bytes_dropped[reason][kind], (int64_t)bytes);
}

static void drop_oldest(struct client *client, enum packet_kind kind, enum drop_reason reason)
{
    struct worker *worker = client->worker;
    const size_t payload = queue_drop_oldest(&client->packets[kind], &worker->chunks);

    client->dropped++;
    outgoing_count_drop(worker, reason, kind, payload - KEY_BYTES);
}

size_t outgoing_part_bytes(const struct worker *worker)
{
    return outgoing_level_bytes(worker, WAITING_SHARED) / worker->client_count;
}

// What cannot be dropped: control frames, what the socket has not taken, what it has sent itself.
static size_t fixed_bytes(const struct client *client)
{
    return client->control.bytes + stream_held_bytes(client->stream) + client_kept_bytes(client);
}

size_t outgoing_held_bytes(const struct client *client)
{
    return fixed_bytes(client) + client->packets[PACKET_DISCO].bytes +
           client->packets[PACKET_OTHER].bytes;
}

static bool below_limit(const struct worker *worker, size_t growth)
{
    return outgoing_waiting_bytes(worker) + growth <= outgoing_level_bytes(worker, WAITING_FULL);
}

static size_t growth_of(const struct client *client, const struct queue *queue, size_t len)
{
    return queue_growth(queue, uv_now(&client->worker->loop), len);
}

static bool control_fits(const struct client *client, size_t len)
{
    const size_t growth = growth_of(client, &client->control, len);

    return client->control.bytes + growth <= CONTROL_MAX_BYTES &&
           below_limit(client->worker, growth);
}

bool outgoing_control(struct client *client, const uint8_t *a, size_t a_len, const uint8_t *b,
                      size_t b_len)
{
    // Many peers may leave in one turn: what the socket takes is written before anything is lost.
    if (!control_fits(client, a_len + b_len))
        outgoing_write(client);
    if (!control_fits(client, a_len + b_len)) {
        count(&client->worker->counters.control_dropped);
        return false;
    }
    queue_append(&client->control, &client->worker->chunks, uv_now(&client->worker->loop), a, a_len,
                 b, b_len);
    outgoing_mark(client);
    return true;
}

void outgoing_keep_alive(struct client *client)
{
    uint8_t frame[FRAME_KEEP_ALIVE_BYTES];

    frame_put_keep_alive(frame);
    outgoing_control(client, frame, sizeof frame, NULL, 0);
}

void outgoing_restarting(struct client *client)
{
    uint8_t frame[FRAME_RESTARTING_BYTES];

    frame_put_restarting(frame, RESTART_RECONNECT_MS, RESTART_TRY_FOR_MS);
    outgoing_control(client, frame, sizeof frame, NULL, 0);
}

void outgoing_peer_gone(struct client *client, const struct key *peer)
{
    uint8_t frame[FRAME_PEER_GONE_BYTES];

    frame_put_peer_gone(frame, peer, PEER_GONE_DISCONNECTED);
    if (outgoing_control(client, frame, sizeof frame, NULL, 0))
        count(&client->worker->counters.peer_gone_disconnected_frames);
}

void outgoing_not_here(struct client *client, const struct key *peer)
{
    uint8_t frame[FRAME_PEER_GONE_BYTES];

    if (!bucket_take(&client->not_here, &not_here_rate, clock_ns())) {
        count(&client->worker->counters.peer_gone_limited);
        return;
    }
    frame_put_peer_gone(frame, peer, PEER_GONE_NOT_HERE);
    if (outgoing_control(client, frame, sizeof frame, NULL, 0))
        count(&client->worker->counters.peer_gone_not_here_frames);
}

void outgoing_pong(struct client *client, const uint8_t echoed[static FRAME_PING_BYTES])
{
    uint8_t frame[FRAME_PONG_BYTES];

    if (client->pong_pending)
        return;
    frame_put_pong(frame, echoed);
    if (!outgoing_control(client, frame, sizeof frame, NULL, 0))
        return;
    client->pong_pending = 1;
    count(&client->worker->counters.sent_pong);
}

bool outgoing_empty(const struct client *client)
{
    return queue_empty(&client->control) && queue_empty(&client->packets[PACKET_DISCO]) &&
           queue_empty(&client->packets[PACKET_OTHER]);
}

static uint32_t frames_waiting(const struct client *client)
{
    return client->control.frames + client->packets[PACKET_DISCO].frames +
           client->packets[PACKET_OTHER].frames;
}

static void count_waited(const struct chunk *chunk, void *data)
{
    struct worker *worker = data;
    struct relay_counters *counters = &worker->counters;

    counter_add(&counters->queue_ms_sum, (int64_t)(uv_now(&worker->loop) - chunk->since_ms));
    count(&counters->queue_samples);
}

static void count_packets_sent(const struct chunk *chunk, void *data)
{
    struct worker *worker = data;
    struct relay_counters *counters = &worker->counters;

    counter_add(&counters->packets_sent, chunk->frames);
    counter_add(&counters->bytes_sent,
                chunk->end - chunk->start -
                    (int64_t)chunk->frames * (FRAME_HEADER_BYTES + KEY_BYTES));
    count_waited(chunk, data);
}

static void count_nothing(const struct chunk *chunk, void *data)
{
    (void)chunk, (void)data;
}

static void count_write(struct relay_counters *counters, uint32_t frames)
{
    static const uint32_t bounds[] = WRITE_FRAMES_BOUNDS;
    size_t i = 0;

    while (i < WRITE_FRAMES_BUCKETS - 1 && frames > bounds[i])
        i++;
    count(&counters->write_frames[i]);
    counter_add(&counters->write_frames_sum, frames);
}

// What one write takes, in the order of the queues, and how many chunks of each that is.
struct selection {
    struct stream_buf pieces[STREAM_PIECES_MAX];
    size_t count, bytes;
    size_t of_queue[1 + PACKET_KINDS];
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

// When too much waits, half of a client's part is left for what can still be dropped.
static size_t write_max_bytes(const struct client *client)
{
    if (outgoing_reaches(client->worker, WAITING_SHARED))
        return least(WRITE_LAGGING_BYTES, outgoing_part_bytes(client->worker) / 2);
    return client->lagging ? WRITE_LAGGING_BYTES : IO_WRITE_PLAIN_BYTES;
}

static void select_pieces(const struct client *client, struct selection *selection)
{
    const size_t max_bytes = write_max_bytes(client);
    const struct queue *queues[] = {&client->control, &client->packets[PACKET_DISCO],
                                    &client->packets[PACKET_OTHER]};
    bool all = true;

    selection->count = selection->bytes = 0;
    for (int i = 0; i < 1 + PACKET_KINDS; i++) {
        const size_t before = selection->count;

        all = all && queue_pieces(queues[i], selection->pieces, STREAM_PIECES_MAX,
                                  &selection->count, max_bytes, &selection->bytes);
        selection->of_queue[i] = selection->count - before;
    }
}

static void release_pieces(struct client *client, const struct selection *selection)
{
    struct worker *worker = client->worker;
    const uint32_t before = frames_waiting(client);
    const bool partial = stream_blocked(client->stream);

    if (partial)
        partial_keep(client, selection->pieces, selection->of_queue, selection->bytes);
    queue_release(&client->control, &worker->chunks, selection->of_queue[0], count_nothing, NULL);
    for (int kind = 0; kind < PACKET_KINDS; kind++)
        queue_release(&client->packets[kind], &worker->chunks, selection->of_queue[1 + kind],
                      partial ? count_waited : count_packets_sent, worker);
    count_write(&worker->counters, before - frames_waiting(client));
    if (queue_empty(&client->control))
        client->pong_pending = 0;
}

static void drop_late(struct client *client)
{
    const uint64_t now_ms = uv_now(&client->worker->loop);
    const struct queue *other = &client->packets[PACKET_OTHER];

    for (int kind = 0; kind < PACKET_KINDS; kind++)
        while (queue_waited_ms(&client->packets[kind], now_ms) > QUEUE_AGE_MAX_MS)
            drop_oldest(client, (enum packet_kind)kind, DROP_QUEUE_AGE);
    // One packet alone is no queue.
    while (
        codel_drops(&client->codel, now_ms, other->frames > 1 ? queue_waited_ms(other, now_ms) : 0))
        drop_oldest(client, PACKET_OTHER, DROP_QUEUE_CODEL);
}

static void write_once(struct client *client)
{
    struct selection selection;

    select_pieces(client, &selection);
    if (stream_write(client->stream, selection.pieces, selection.count) < 0) {
        client->doomed = 1;
        outgoing_mark(client);
        return;
    }
    release_pieces(client, &selection);
}

bool outgoing_write(struct client *client)
{
    if (!stream_blocked(client->stream)) {
        partial_sent(client);
        drop_late(client);
    }
    while (!client->doomed && !outgoing_empty(client) && !stream_blocked(client->stream))
        write_once(client);
    client->lagging = stream_blocked(client->stream);
    return !client->doomed;
}

// What each of a client's queues may hold now.
static size_t queue_max_bytes(const struct client *client)
{
    const struct worker *worker = client->worker;
    const struct relay_config *config = &worker->relay->config;
    size_t part, fixed;

    if (!outgoing_reaches(worker, WAITING_SHARED))
        return config->queue_bytes;
    part = outgoing_part_bytes(worker);
    fixed = fixed_bytes(client);
    return fixed < part ? least((part - fixed) / PACKET_KINDS, config->queue_bytes) : 0;
}

static bool fits(const struct client *client, const struct queue *queue, size_t len)
{
    const size_t growth = growth_of(client, queue, len);

    return queue->frames < client->worker->relay->config.queue_packets &&
           queue->bytes + growth <= queue_max_bytes(client) && below_limit(client->worker, growth);
}

// A packet that is larger than a queue may be gets through all the same: when too much waits, to a
// client for which nothing waits.
static bool may_exceed(const struct client *client, const struct queue *queue, size_t len)
{
    const struct worker *worker = client->worker;

    return below_limit(worker, growth_of(client, queue, len)) &&
           (!outgoing_reaches(worker, WAITING_SHARED) ||
            (outgoing_empty(client) && !stream_blocked(client->stream)));
}

// Drops the oldest until there is room for a packet. False when there is none.
static bool make_room(struct client *client, enum packet_kind kind, size_t len)
{
    const struct queue *queue = &client->packets[kind];

    while (!fits(client, queue, len)) {
        if (queue_empty(queue))
            return may_exceed(client, queue, len);
        drop_oldest(client, kind,
                    outgoing_reaches(client->worker, WAITING_SHARED) ? DROP_QUEUE_MEMORY
                                                                     : DROP_QUEUE_HEAD);
    }
    return true;
}

void outgoing_packet(struct client *client, enum packet_kind kind, const uint8_t *frame, size_t len)
{
    struct worker *worker = client->worker;
    struct queue *queue = &client->packets[kind];

    // A burst within one turn is written before it fills a queue that only a slow reader should
    // fill. What then waits in a blocked stream is watched from the end of the turn on.
    if (!fits(client, queue, len) || queue->bytes + len > IO_WRITE_PLAIN_BYTES) {
        outgoing_write(client);
        if (!make_room(client, kind, len)) {
            client->dropped++;
            outgoing_count_drop(worker, DROP_QUEUE_MEMORY, kind,
                                len - FRAME_HEADER_BYTES - KEY_BYTES);
            return;
        }
    }
    queue_append(queue, &worker->chunks, uv_now(&worker->loop), frame, len, NULL, 0);
    outgoing_mark(client);
}

void outgoing_trim(struct client *client)
{
    for (int kind = 0; kind < PACKET_KINDS; kind++) {
        const struct queue *queue = &client->packets[kind];

        while (!queue_empty(queue) && queue->bytes > queue_max_bytes(client))
            drop_oldest(client, (enum packet_kind)kind, DROP_QUEUE_MEMORY);
    }
}

void outgoing_discard(struct client *client, enum drop_reason reason)
{
    struct chunk_pool *pool = &client->worker->chunks;

    partial_lost(client, reason);
    for (int kind = 0; kind < PACKET_KINDS; kind++) {
        while (!queue_empty(&client->packets[kind]))
            drop_oldest(client, (enum packet_kind)kind, reason);
    }
    queue_clear(&client->control, pool);
}
