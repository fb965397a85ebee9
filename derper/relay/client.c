// SPDX-License-Identifier: BSD-3-Clause
//
// The life of a client: start, login, timers, writing, end. What its frames do is in frames.c.
#include "relay/client.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "relay/frames.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define RESTART_RECONNECT_MS 500 // told to clients when the relay stops
#define RESTART_TRY_FOR_MS 30000

static struct log_limit write_timeout_log = LOG_LIMIT_INIT;
static struct log_limit fault_log = LOG_LIMIT_INIT;

static void count(struct counter *counter)
{
    counter_add(counter, 1);
}

static void mark_dirty(struct client *client)
{
    if (list_empty(&client->dirty))
        list_append(&client->worker->dirty, &client->dirty);
}

static void send_control(struct client *client, const uint8_t *frame, size_t len)
{
    if (client->control.bytes + len > CONTROL_MAX_BYTES) {
        count(&client->worker->counters.control_dropped);
        return;
    }
    queue_append(&client->control, &client->worker->chunks, clock_ms(), frame, len, NULL, 0);
    mark_dirty(client);
}

static void on_keep_alive(struct wheel_timer *timer)
{
    struct client *client = list_entry(timer, struct client, keep_alive);
    uint8_t frame[FRAME_KEEP_ALIVE_BYTES];

    frame_put_keep_alive(frame);
    send_control(client, frame, sizeof frame);
    client_sample_rtt(client);
    io_context_arm(&client->worker->io, timer, KEEP_ALIVE_MS + client->jitter_ms);
}

// A write that has blocked: progress renews the limit.
static void on_write_limit(struct client *client)
{
    const struct relay_config *config = &client->worker->relay->config;
    const size_t unsent = stream_unsent_bytes(client->stream);

    if (!stream_blocked(client->stream))
        return;
    if (unsent < client->unsent_before) {
        client->unsent_before = (uint32_t)unsent;
        io_context_arm(&client->worker->io, &client->deadline, config->write_timeout_ms);
        return;
    }
    client_close(client, CLIENT_END_WRITE_TIMEOUT);
}

static void on_deadline(struct wheel_timer *timer)
{
    struct client *client = list_entry(timer, struct client, deadline);

    if (client->up)
        on_write_limit(client);
    else
        client_close(client, CLIENT_END_LOGIN_TIMEOUT);
}

// Blocked, or no longer: while logging in, the login's own limit runs on.
static void watch_progress(struct client *client)
{
    const uint64_t limit_ms = client->worker->relay->config.write_timeout_ms;

    if (!client->up)
        return;
    wheel_disarm(&client->worker->io.wheel, &client->deadline);
    if (!stream_blocked(client->stream) || limit_ms == 0)
        return;
    client->unsent_before = (uint32_t)stream_unsent_bytes(client->stream);
    io_context_arm(&client->worker->io, &client->deadline, limit_ms);
}

static bool nothing_waits(const struct client *client)
{
    return queue_empty(&client->control) && queue_empty(&client->packets[PACKET_DISCO]) &&
           queue_empty(&client->packets[PACKET_OTHER]);
}

static void count_written(const struct chunk *chunk, void *data)
{
    struct worker *worker = data;

    counter_add(&worker->counters.packets_sent, chunk->frames);
    counter_add(&worker->counters.bytes_sent,
                chunk->end - chunk->start -
                    (int64_t)chunk->frames * (FRAME_HEADER_BYTES + KEY_BYTES));
    counter_add(&worker->counters.queue_ms_sum, (int64_t)(clock_ms() - chunk->since_ms));
    count(&worker->counters.queue_samples);
}

static void count_nothing(const struct chunk *chunk, void *data)
{
    (void)chunk, (void)data;
}

static void count_frames_of_write(struct relay_counters *counters, uint32_t frames)
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

static void select_pieces(const struct client *client, struct selection *selection)
{
    const struct queue *queues[] = {&client->control, &client->packets[PACKET_DISCO],
                                    &client->packets[PACKET_OTHER]};
    bool all = true;

    *selection = (struct selection){.count = 0};
    for (int i = 0; i < 1 + PACKET_KINDS && all; i++) {
        const size_t before = selection->count;

        all = queue_pieces(queues[i], selection->pieces, STREAM_PIECES_MAX, &selection->count,
                           IO_WRITE_PLAIN_BYTES, &selection->bytes);
        selection->of_queue[i] = selection->count - before;
    }
}

static void release_pieces(struct client *client, const struct selection *selection)
{
    struct worker *worker = client->worker;
    const uint32_t before = client->control.frames + client->packets[PACKET_DISCO].frames +
                            client->packets[PACKET_OTHER].frames;
    uint32_t after;

    queue_release(&client->control, &worker->chunks, selection->of_queue[0], count_nothing, NULL);
    for (int kind = 0; kind < PACKET_KINDS; kind++)
        queue_release(&client->packets[kind], &worker->chunks, selection->of_queue[1 + kind],
                      count_written, worker);
    after = client->control.frames + client->packets[PACKET_DISCO].frames +
            client->packets[PACKET_OTHER].frames;
    count_frames_of_write(&worker->counters, before - after);
    if (queue_empty(&client->control))
        client->pong_pending = 0;
}

// One write. False when it failed: the client is doomed.
static bool write_some(struct client *client)
{
    struct selection selection;

    select_pieces(client, &selection);
    if (stream_write(client->stream, selection.pieces, selection.count) < 0) {
        client->doomed = 1;
        mark_dirty(client);
        return false;
    }
    release_pieces(client, &selection);
    if (stream_blocked(client->stream))
        watch_progress(client);
    return true;
}

static bool drained(const struct client *client)
{
    return client->worker->state == WORKER_DRAINING && nothing_waits(client) &&
           !stream_blocked(client->stream);
}

void client_flush(struct client *client)
{
    if (client->doomed) {
        client_close(client, CLIENT_END_WRITE_ERROR);
        return;
    }
    while (!nothing_waits(client) && !stream_blocked(client->stream)) {
        if (!write_some(client))
            return;
    }
    if (drained(client))
        client_close(client, CLIENT_END_SHUTDOWN);
}

static void on_drained(struct stream *stream)
{
    struct client *client = stream->owner;

    watch_progress(client);
    mark_dirty(client);
}

static void count_drop(struct client *client, enum drop_reason reason, enum packet_kind kind,
                       size_t bytes)
{
    client->dropped++;
    frames_count_drop(client->worker, reason, kind, bytes);
}

void client_send_packet(struct client *client, enum packet_kind kind, const uint8_t *frame,
                        size_t len)
{
    struct worker *worker = client->worker;
    const struct relay_config *config = &worker->relay->config;
    struct queue *queue = &client->packets[kind];

    // A burst within one turn is written before it overflows what only a slow reader should
    // overflow.
    if ((queue->frames >= config->queue_packets || queue->bytes + len > config->queue_bytes ||
         queue->bytes + len > IO_WRITE_PLAIN_BYTES) &&
        !stream_blocked(client->stream) && !client->doomed && !nothing_waits(client))
        write_some(client);
    while (!queue_empty(queue) &&
           (queue->frames >= config->queue_packets || queue->bytes + len > config->queue_bytes)) {
        const size_t payload = queue_drop_oldest(queue, &worker->chunks);

        count_drop(client, DROP_QUEUE_HEAD, kind, payload - KEY_BYTES);
    }
    queue_append(queue, &worker->chunks, uv_now(&worker->loop), frame, len, NULL, 0);
    mark_dirty(client);
}

void client_send_peer_gone(struct client *client, const struct key *peer)
{
    uint8_t frame[FRAME_PEER_GONE_BYTES];

    frame_put_peer_gone(frame, peer, PEER_GONE_DISCONNECTED);
    send_control(client, frame, sizeof frame);
    count(&client->worker->counters.peer_gone_disconnected_frames);
}

void client_send_not_here(struct client *client, const struct key *peer)
{
    static const struct bucket_rate rate = {NOT_HERE_PER_SECOND, NOT_HERE_BURST};
    uint8_t frame[FRAME_PEER_GONE_BYTES];

    if (!bucket_take(&client->not_here, &rate, clock_ns())) {
        count(&client->worker->counters.peer_gone_limited);
        return;
    }
    frame_put_peer_gone(frame, peer, PEER_GONE_NOT_HERE);
    send_control(client, frame, sizeof frame);
    count(&client->worker->counters.peer_gone_not_here_frames);
}

void client_send_pong(struct client *client, const uint8_t echoed[static FRAME_PING_BYTES])
{
    uint8_t frame[FRAME_PONG_BYTES];

    if (client->pong_pending)
        return;
    client->pong_pending = 1;
    frame_put_pong(frame, echoed);
    send_control(client, frame, sizeof frame);
    count(&client->worker->counters.sent_pong);
}

static void log_open(const struct client *client)
{
    char key[KEY_SHORT_CHARS + 1], text[INET6_ADDRSTRLEN] = "?";
    struct sockaddr_in6 peer;

    key_short(&client->key, key);
    stream_peer(client->stream, &peer);
    inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof text);
    log_debug("client %s connected from [%s]:%d, worker %zu%s", key, text, ntohs(peer.sin6_port),
              client->worker->index, client->dup ? ", a duplicate" : "");
}

static void register_client(struct client *client)
{
    struct worker *worker = client->worker;
    struct client_handle first;

    client->handle = worker_take_slot(worker, client);
    client->up = 1;
    client->dup = directory_add(&worker->relay->directory, &client->key, &client->handle, &first);
    if (first.generation)
        frames_tell_duplicate(worker, &first);
    count(&worker->counters.connections);
    counter_add(&worker->counters.logins_pending, -1);
    counter_add(&worker->counters.notideal_connections, client->not_ideal);
}

// The payload of the ClientInfo frame. False when the client is gone.
bool client_login(struct client *client, const uint8_t *payload, size_t len)
{
    struct worker *worker = client->worker;
    const struct relay_config *config = &worker->relay->config;
    uint8_t shared[KEY_BYTES], frame[LOGIN_SERVER_INFO_MAX_BYTES];
    struct client_info info = {0};
    const enum login_result result =
        login_open_client_info(&config->key, payload, len, &info, shared);

    if (result != LOGIN_OK) {
        sodium_memzero(shared, sizeof shared);
        count(&worker->counters.login_refused[result]);
        log_limited(&fault_log, "a login was refused: %s", login_result_name(result));
        client_close(client, CLIENT_END_LOGIN_REFUSED);
        return false;
    }
    client->key = info.key;
    client->can_ack_pings = info.can_ack_pings;
    wheel_disarm(&worker->io.wheel, &client->deadline);
    register_client(client);
    send_control(client, frame, login_put_server_info(frame, shared, &config->limits));
    sodium_memzero(shared, sizeof shared);
    client->jitter_ms = (uint16_t)randombytes_uniform(KEEP_ALIVE_JITTER_MS);
    io_context_arm(&worker->io, &client->keep_alive, KEEP_ALIVE_MS + client->jitter_ms);
    bucket_init(&client->not_here, &(struct bucket_rate){NOT_HERE_PER_SECOND, NOT_HERE_BURST},
                clock_ns());
    log_open(client);
    return true;
}

static void on_end(struct stream *stream, enum stream_end why)
{
    static const enum client_end ends[] = {
        [STREAM_END_EOF] = CLIENT_END_EOF,
        [STREAM_END_RESET] = CLIENT_END_RESET,
        [STREAM_END_TLS] = CLIENT_END_TLS,
    };
    client_close(stream->owner, ends[why]);
}

static void on_ready(struct stream *stream)
{
    (void)stream;
}

static const struct stream_callbacks callbacks = {
    .on_ready = on_ready,
    .on_data = frames_read,
    .on_drained = on_drained,
    .on_end = on_end,
};

void client_start(struct worker *worker, struct stream *stream, const char *preface,
                  size_t preface_len, bool not_ideal)
{
    struct client *client = memory_zeroed(sizeof *client);
    uint8_t frame[FRAME_SERVER_KEY_BYTES];

    client->worker = worker;
    client->stream = stream;
    client->not_ideal = not_ideal;
    client->since_ms = clock_ms();
    list_init(&client->dirty);
    list_init(&client->node);
    list_append(&worker->clients, &client->node);
    wheel_timer_init(&client->keep_alive, on_keep_alive);
    wheel_timer_init(&client->deadline, on_deadline);
    routes_init(&client->routes);
    stream_set_owner(stream, &callbacks, client);
    io_context_arm(&worker->io, &client->deadline, LOGIN_LIMIT_MS);
    count(&worker->counters.accepts);
    count(&worker->counters.logins_pending);
    frame_put_server_key(frame, &worker->relay->config.key.public);
    // The HTTP answer goes in front as part of the first "frame".
    queue_append(&client->control, &worker->chunks, client->since_ms, (const uint8_t *)preface,
                 preface_len, frame, sizeof frame);
    mark_dirty(client);
}

static void *merge_routes(void *old, void *new)
{
    if (!old)
        return new;
    routes_merge(old, new);
    return old;
}

static void tell_gone(void *value, void *data)
{
    const struct route *route = value;
    struct client *client = data;

    frames_tell_peer_gone(client->worker, &route->destination, route->hash, &client->key);
}

// While other connections of the key are left, what this one has sent to is theirs to remember.
static void unregister_client(struct client *client)
{
    struct worker *worker = client->worker;
    struct routes *mine = memory_get(sizeof *mine);
    void *kept = NULL;
    bool last;

    *mine = client->routes;
    routes_init(&client->routes);
    worker_free_slot(worker, &client->handle);
    last = directory_remove(&worker->relay->directory, &client->key, &client->handle, mine,
                            merge_routes, &kept);
    if (!last)
        return;
    mine = merge_routes(kept, mine);
    if (!atomic_load_explicit(&worker->relay->stopping, memory_order_relaxed))
        routes_each(mine, tell_gone, client);
    routes_deinit(mine);
    free(mine);
}

static void count_left(struct client *client)
{
    struct relay_counters *counters = &client->worker->counters;

    if (!client->up) {
        counter_add(&counters->logins_pending, -1);
        return;
    }
    counter_add(&counters->connections, -1);
    counter_add(&counters->home_connections, -(int64_t)client->home);
    counter_add(&counters->notideal_connections, -(int64_t)client->not_ideal);
}

static void log_close(const struct client *client, enum client_end end)
{
    char key[32] = "(not logged in)";
    const unsigned long long age_s =
        (unsigned long long)(clock_ms() - client->since_ms) / MS_PER_SECOND;

    if (client->up)
        key_short(&client->key, key);
    if (end == CLIENT_END_WRITE_TIMEOUT)
        log_limited(&write_timeout_log,
                    "client %s took nothing for the write timeout and was closed after %llu s, "
                    "%llu packets for it were dropped",
                    key, age_s, (unsigned long long)client->dropped);
    else if (end == CLIENT_END_BAD_FRAME || end == CLIENT_END_NOT_MESH)
        log_limited(&fault_log, "client %s was closed after %llu s: %s", key, age_s,
                    client_end_name(end));
    else
        log_debug("client %s left after %llu s: %s, %llu packets for it were dropped", key, age_s,
                  client_end_name(end), (unsigned long long)client->dropped);
}

// Packets that still wait are lost with the connection.
static void drop_queued(struct client *client, enum client_end end)
{
    const enum drop_reason reason = end == CLIENT_END_WRITE_ERROR || end == CLIENT_END_WRITE_TIMEOUT
                                        ? DROP_WRITE_ERROR
                                        : DROP_GONE_DISCONNECTED;
    struct chunk_pool *pool = &client->worker->chunks;

    for (int kind = 0; kind < PACKET_KINDS; kind++) {
        while (!queue_empty(&client->packets[kind])) {
            const size_t payload = queue_drop_oldest(&client->packets[kind], pool);

            count_drop(client, reason, (enum packet_kind)kind, payload - KEY_BYTES);
        }
    }
    queue_clear(&client->control, pool);
}

void client_close(struct client *client, enum client_end end)
{
    struct worker *worker = client->worker;

    drop_queued(client, end);
    log_close(client, end);
    count(&worker->counters.client_ends[end]);
    if (end == CLIENT_END_WRITE_TIMEOUT)
        count(&worker->counters.write_timeouts);
    count_left(client);
    list_unlink(&client->node);
    list_unlink(&client->dirty);
    wheel_disarm(&worker->io.wheel, &client->keep_alive);
    wheel_disarm(&worker->io.wheel, &client->deadline);
    if (client->up)
        unregister_client(client);
    stream_close(client->stream);
    routes_deinit(&client->routes);
    free(client->partial);
    free(client);
}

void client_drain(struct client *client)
{
    uint8_t frame[FRAME_RESTARTING_BYTES];

    stream_set_reading(client->stream, false);
    if (client->up && client->can_ack_pings) {
        frame_put_restarting(frame, RESTART_RECONNECT_MS, RESTART_TRY_FOR_MS);
        send_control(client, frame, sizeof frame);
    }
    mark_dirty(client);
}
