// SPDX-License-Identifier: BSD-3-Clause
#include "relay/client.h"

#include "base/clock.h"
#include "base/log.h"
#include "relay/admission.h"
#include "relay/frames.h"
#include "relay/membership.h"
#include "relay/outgoing.h"
#include "relay/throttle.h"

#include <sodium.h>
#include <stdio.h>

static struct log_limit write_timeout_log = LOG_LIMIT_INIT;
static struct log_limit memory_log = LOG_LIMIT_INIT;
static struct log_limit fault_log = LOG_LIMIT_INIT;

static void sample_rtt(struct client *client)
{
    static const uint32_t bounds_ms[RTT_BUCKETS - 1] = {10, 20, 50, 100, 150, 250, 500};
    uint32_t rtt_us;
    size_t i = 0;

    if (!stream_rtt_us(client->stream, &rtt_us))
        return;
    while (i < RTT_BUCKETS - 1 && rtt_us > bounds_ms[i] * 1000)
        i++;
    count(&client->worker->counters.tcp_rtt[i]);
}

static uint64_t left_ms(uint32_t deadline_ms)
{
    const int32_t left = (int32_t)(deadline_ms - (uint32_t)clock_ms());

    return left > 0 ? (uint64_t)left : 0;
}

static uint32_t sooner(uint32_t a_ms, uint32_t b_ms)
{
    return (int32_t)(a_ms - b_ms) < 0 ? a_ms : b_ms;
}

// The timer of a client that is up: for its next keep-alive, the limit of its write, or the next
// question whether it may stay, whatever is soonest.
static void await_next(struct client *client)
{
    uint32_t due_ms = client->keep_alive_ms;

    if (client->watched)
        due_ms = sooner(due_ms, client->write_end_ms);
    if (client->rechecked)
        due_ms = sooner(due_ms, client->recheck_at_ms);
    io_context_arm(&client->worker->io, &client->timer, left_ms(due_ms));
}

static void set_keep_alive(struct client *client)
{
    client->keep_alive_ms = (uint32_t)clock_ms() + KEEP_ALIVE_MS + client->jitter_ms;
    await_next(client);
}

// The limit of a blocked write runs for a client that takes nothing.
static void set_watched(struct client *client, bool watched)
{
    const uint64_t limit_ms = client->worker->relay->config.write_timeout_ms;

    client->watched = watched;
    if (watched) {
        client->unacked_before = (uint32_t)stream_unacked_bytes(client->stream);
        client->write_end_ms =
            (uint32_t)clock_ms() + (uint32_t)(limit_ms < INT32_MAX ? limit_ms : INT32_MAX);
    }
    await_next(client);
}

// A write has blocked or has come through.
static void watch_progress(struct client *client)
{
    const bool blocked = stream_blocked(client->stream);

    if (blocked != client->watched && client->state == CLIENT_UP &&
        client->worker->relay->config.write_timeout_ms > 0)
        set_watched(client, blocked);
}

// Whether a frame, or a record of TLS, has not ended since the last keep-alive.
static bool is_stalled(struct client *client)
{
    const bool by_frame = frame_reader_mark(&client->reader);

    return stream_mark_record(client->stream) || by_frame;
}

// False when the client is closed: what does not end within two of them ends it, unless it is we
// who do not read it. (Not for ever: what has begun ends with its last byte, all of a frame is paid
// for, and of a record nothing before its end, so no pauses delay this by more than one read and
// one frame take at the client's rate.) A client whose write is blocked has enough to read.
static bool keep_alive(struct client *client)
{
    if (!client->throttle_timer && is_stalled(client)) {
        client_close(client, CLIENT_END_FRAME_TIMEOUT);
        return false;
    }
    if (!client->watched) {
        if (client->hint_is_old && member_tell_limits(client))
            client->hint_is_old = 0;
        outgoing_keep_alive(client);
        sample_rtt(client);
    }
    set_keep_alive(client);
    return true;
}

// The same: the limit of its write is over, and begins anew if it has taken something.
static bool check_progress(struct client *client)
{
    if (stream_unacked_bytes(client->stream) >= client->unacked_before) {
        client_close(client, CLIENT_END_WRITE_TIMEOUT);
        return false;
    }
    set_watched(client, true);
    return true;
}

static void on_timer_up(struct client *client)
{
    if (client->rechecked && left_ms(client->recheck_at_ms) == 0)
        admission_recheck(client);
    if (client->watched && left_ms(client->write_end_ms) == 0 && !check_progress(client))
        return;
    if (left_ms(client->keep_alive_ms) == 0 && !keep_alive(client))
        return;
    await_next(client); // also when the wheel's horizon was nearer
}

static void on_timer(struct wheel_timer *timer)
{
    struct client *client = list_entry(timer, struct client, timer);

    if (client->state == CLIENT_UP)
        on_timer_up(client);
    else
        client_close(client, client->state == CLIENT_ASKING ? CLIENT_END_NO_VERDICT
                                                            : CLIENT_END_LOGIN_TIMEOUT);
}

static bool may_go(const struct client *client)
{
    return client->worker->state == WORKER_DRAINING && outgoing_empty(client) &&
           !stream_blocked(client->stream);
}

// May close the client.
static void client_flush(struct client *client)
{
    if (!outgoing_write(client)) {
        client_close(client, CLIENT_END_WRITE_ERROR);
        return;
    }
    watch_progress(client);
    if (may_go(client))
        client_close(client, CLIENT_END_SHUTDOWN);
}

void clients_flush(struct worker *worker)
{
    struct list dirty;

    worker->chunks.taken_bytes = 0;
    // What becomes dirty meanwhile is sent as well; a blocked client does not become so by being
    // flushed.
    while (!list_empty(&worker->dirty)) {
        list_take(&dirty, &worker->dirty);
        while (!list_empty(&dirty)) {
            struct client *client = list_entry(dirty.next, struct client, dirty);

            list_unlink(&client->dirty);
            client_flush(client);
        }
    }
}

void clients_flush_early(struct worker *worker)
{
    if (worker->chunks.taken_bytes >= FLUSH_EARLY_BYTES)
        clients_flush(worker);
}

static void on_drained(struct stream *stream)
{
    struct client *client = stream_owner(stream);

    watch_progress(client);
    outgoing_mark(client);
}

static void log_open(const struct client *client)
{
    char key[KEY_SHORT_CHARS + 1], address[INET6_ADDRSTRLEN];

    if (!log_wanted(LOG_DEBUG))
        return;
    key_short(&client->key, key);
    stream_peer_text(client->stream, address);
    log_debug("client %s connected from %s, worker %zu%s", key, address, client->worker->index,
              client->dup ? ", a duplicate" : "");
}

// Those that came together are asked about one by one.
static void plan_recheck(struct client *client, uint32_t within_ms)
{
    const uint32_t at_ms = (uint32_t)clock_ms() + 1 + randombytes_uniform(within_ms);

    client->recheck_at_ms = client->rechecked ? sooner(client->recheck_at_ms, at_ms) : at_ms;
    client->rechecked = 1;
}

void clients_recheck(struct worker *worker, uint32_t within_ms)
{
    for (struct list *node = worker->clients.next; node != &worker->clients; node = node->next) {
        struct client *client = list_entry(node, struct client, node);

        if (client->state != CLIENT_UP)
            continue;
        plan_recheck(client, within_ms);
        await_next(client);
    }
}

// It is up from now on, and lives by its keep-alives.
static void client_enter(struct client *client)
{
    const struct relay_config *config = &client->worker->relay->config;

    stream_establish(client->stream);
    client->jitter_ms = (uint16_t)randombytes_uniform(KEEP_ALIVE_JITTER_MS + 1);
    if (config->admission && config->recheck_ms > 0)
        plan_recheck(client, config->recheck_ms);
    set_keep_alive(client);
    log_open(client);
}

// What is kept of the data, of a frame that has not come whole, counts as waiting. False when the
// client has stopped the reader.
static bool read_frames(struct client *client, uint8_t *data, size_t len)
{
    const size_t before = client->reader.held_bytes;
    const bool go_on = frame_reader_feed(&client->reader, &frames_callbacks, client, data, len);

    client->worker->kept_bytes += client->reader.held_bytes - before;
    return go_on;
}

// False: the client is closed.
static bool feed(struct client *client, uint8_t *data, size_t len)
{
    if (read_frames(client, data, len))
        return true;
    client_close(client, (enum client_end)client->end);
    return false;
}

// The same for one that logs in: the reader goes on when it is up, and stops when it is asked
// about.
static bool feed_login(struct client *client, uint8_t *data, size_t len)
{
    const bool go_on = read_frames(client, data, len);
    const size_t left = client->reader.left;

    if (client->state == CLIENT_ASKING) {
        admission_keep(client, data + len - left, left);
        return true;
    }
    if (!go_on)
        client_close(client, (enum client_end)client->end);
    else if (client->state == CLIENT_UP)
        client_enter(client);
    return go_on;
}

static bool take(struct client *client, uint8_t *data, size_t len)
{
    switch ((enum client_state)client->state) {
    case CLIENT_LOGIN:
        return feed_login(client, data, len);
    case CLIENT_ASKING:
        admission_keep(client, data, len);
        return true;
    case CLIENT_UP:
        return feed(client, data, len);
    }
    return false;
}

// Thousands may send half frames or half records in one turn: its end would be too late. May close
// any client.
static void relieve_when_full(struct worker *worker)
{
    if (outgoing_reaches(worker, WAITING_FULL))
        clients_relieve(worker);
}

// `len` bytes have been read, and served or kept. The same.
static void account(struct client *client, size_t len)
{
    struct worker *worker = client->worker;

    if (throttle_applies(client))
        throttle_charge(client, len);
    if (client_kept_bytes(client) > 0)
        relieve_when_full(worker);
    clients_flush_early(worker);
}

static bool on_data(struct stream *stream, uint8_t *data, size_t len)
{
    struct client *client = stream_owner(stream);

    if (!take(client, data, len))
        return false;
    account(client, len);
    return !stream_closed(stream);
}

static void admit(struct client *client)
{
    struct asking *asking = admission_end(client);

    if (!member_join(client, &asking->login)) {
        client_close(client, (enum client_end)client->end);
    } else {
        client_enter(client);
        stream_resume(client->stream);
        if (feed(client, asking->kept, asking->len))
            account(client, asking->len);
    }
    admission_free(asking);
}

void client_admit(struct client *client, enum admission_verdict verdict)
{
    client->asked = false;
    if (client->state == CLIENT_UP) {
        if (verdict == ADMISSION_REFUSED)
            client_close(client, CLIENT_END_WITHDRAWN);
    } else if (verdict == ADMISSION_ALLOWED) {
        admit(client);
    } else {
        client_close(client, CLIENT_END_NOT_ADMITTED);
    }
}

static bool on_held(struct stream *stream)
{
    const struct client *client = stream_owner(stream);

    relieve_when_full(client->worker);
    return !stream_closed(stream);
}

static void on_end(struct stream *stream, enum stream_end why)
{
    static const enum client_end ends[] = {
        [STREAM_END_EOF] = CLIENT_END_EOF,
        [STREAM_END_RESET] = CLIENT_END_RESET,
        [STREAM_END_TLS] = CLIENT_END_TLS,
        [STREAM_END_CROWDED_OUT] = CLIENT_END_CROWDED_OUT,
    };
    client_close(stream_owner(stream), ends[why]);
}

static const struct stream_callbacks callbacks = {
    .on_data = on_data,
    .on_drained = on_drained,
    .on_end = on_end,
    .on_held = on_held,
};

void client_start(struct worker *worker, struct stream *stream, const char *preface,
                  size_t preface_len, bool not_ideal)
{
    struct client *client = pool_get(&worker->client_pool, sizeof *client);
    uint8_t frame[FRAME_SERVER_KEY_BYTES];

    client->worker = worker;
    client->stream = stream;
    client->not_ideal = not_ideal;
    client->since_ms = clock_ms();
    list_init(&client->node);
    list_append(&worker->clients, &client->node);
    worker->client_count++;
    list_init(&client->dirty);
    wheel_timer_init(&client->timer, on_timer);
    stream_set_owner(stream, &callbacks, client);
    io_context_arm(&worker->io, &client->timer, LOGIN_LIMIT_MS);
    count(&worker->counters.accepts);
    count(&worker->counters.logins_pending);
    // The HTTP answer leaves in one write with the first frame.
    frame_put_server_key(frame, &worker->relay->config.key.public);
    if (!outgoing_control(client, (const uint8_t *)preface, preface_len, frame, sizeof frame))
        client_close(client, CLIENT_END_MEMORY);
}

static void log_close(const struct client *client, enum client_end end)
{
    const unsigned long long age_s =
        (unsigned long long)(clock_ms() - client->since_ms) / MS_PER_SECOND;
    char key[32] = "(not logged in)";

    if (client->state == CLIENT_UP)
        key_short(&client->key, key);
    if (end == CLIENT_END_WRITE_TIMEOUT)
        log_limited(&write_timeout_log,
                    "client %s took nothing for the write timeout and was closed after %llu s; "
                    "%llu packets for it were dropped",
                    key, age_s, (unsigned long long)client->dropped);
    else if (end == CLIENT_END_MEMORY)
        log_limited(&memory_log,
                    "client %s was closed after %llu s, as too much waited on its worker; "
                    "%llu packets for it were dropped",
                    key, age_s, (unsigned long long)client->dropped);
    else if (end == CLIENT_END_BAD_FRAME || end == CLIENT_END_NOT_MESH)
        log_limited(&fault_log, "client %s was closed after %llu s: %s", key, age_s,
                    client_end_name(end));
    else
        log_debug("client %s left after %llu s: %s; %llu packets for it were dropped", key, age_s,
                  client_end_name(end), (unsigned long long)client->dropped);
}

void client_close(struct client *client, enum client_end end)
{
    struct worker *worker = client->worker;
    const bool broken = end == CLIENT_END_WRITE_ERROR || end == CLIENT_END_WRITE_TIMEOUT;

    outgoing_discard(client, broken ? DROP_WRITE_ERROR : DROP_GONE_DISCONNECTED);
    log_close(client, end);
    count(&worker->counters.client_ends[end]);
    if (end == CLIENT_END_WRITE_TIMEOUT)
        count(&worker->counters.write_timeouts);
    list_unlink(&client->node);
    worker->client_count--;
    list_unlink(&client->dirty);
    wheel_disarm(&worker->io.wheel, &client->timer);
    throttle_forget(client);
    admission_free(admission_end(client));
    if (client->state == CLIENT_UP) {
        member_leave(client);
    } else {
        counter_add(&worker->counters.logins_pending, -1);
        if (client->handle.generation)
            slots_give_back(&worker->slots, &client->handle);
    }
    stream_close(client->stream);
    sent_to_free(client->sent_to);
    worker->kept_bytes -= client->reader.held_bytes;
    frame_reader_deinit(&client->reader);
    pool_put(&worker->client_pool, client);
}

void client_drain(struct client *client)
{
    if (client->state == CLIENT_UP && client->can_ack_pings)
        outgoing_restarting(client);
    outgoing_mark(client);
}

// All parts together are not too much. The newest come first, as floods come at once and leave
// soon.
static void relieve(struct worker *worker, bool by_closing)
{
    const size_t part = outgoing_part_bytes(worker);
    struct list *node = worker->clients.prev;

    while (node != &worker->clients && outgoing_reaches(worker, WAITING_SHARED)) {
        struct client *client = list_entry(node, struct client, node);

        node = node->prev;
        if (outgoing_held_bytes(client) <= part)
            continue;
        if (by_closing)
            client_close(client, CLIENT_END_MEMORY);
        else
            outgoing_trim(client);
    }
}

void clients_relieve(struct worker *worker)
{
    relieve(worker, false);
    relieve(worker, true);
}
