// SPDX-License-Identifier: BSD-3-Clause
#include "relay/frames.h"

#include "base/clock.h"
#include "base/memory.h"
#include "proto/disco.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#define PARTIAL_START_BYTES 2048

// A frame that has not come whole. Grows with what comes, so that a length alone costs nothing.
struct partial {
    size_t len, capacity;
    uint8_t data[];
};

void frames_count_drop(struct worker *worker, enum drop_reason reason, enum packet_kind kind,
                       size_t bytes)
{
    counter_add(&worker->counters.packets_dropped[reason][kind], 1);
    counter_add(&worker->counters.bytes_dropped[reason][kind], (int64_t)bytes);
}

static enum message_type message_of(enum packet_kind kind)
{
    return kind == PACKET_DISCO ? MESSAGE_PACKET_DISCO : MESSAGE_PACKET_OTHER;
}

// `frame` is a whole RecvPacket frame.
static void send_to(struct worker *worker, const struct client_handle *to, enum packet_kind kind,
                    const uint8_t *frame, size_t len)
{
    if (to->worker == worker->index) {
        struct client *destination = worker_client(worker, to);

        if (destination)
            client_send_packet(destination, kind, frame, len);
        else
            frames_count_drop(worker, DROP_GONE_DISCONNECTED, kind,
                              len - FRAME_HEADER_BYTES - KEY_BYTES);
        return;
    }

    const struct inbox *inbox = &worker->relay->workers[to->worker]->inbox;
    struct outbox *outbox = &worker->outboxes[to->worker];

    if (inbox_has_room(inbox, outbox))
        outbox_append(outbox, to, message_of(kind), frame, len);
    else
        frames_count_drop(worker, DROP_QUEUE_TAIL, kind, len - FRAME_HEADER_BYTES - KEY_BYTES);
}

// Where packets for `destination` go now. False when it is not connected.
static bool find_destination(struct client *client, const struct key *destination,
                             struct client_handle *out)
{
    struct directory *directory = &client->worker->relay->directory;
    uint64_t hash;
    uint32_t epoch;
    struct route *route = routes_find(&client->routes, destination, &hash);

    if (route && route->epoch == directory_epoch(directory, hash)) {
        *out = route->handle;
        return true;
    }
    if (!directory_find(directory, destination, hash, out, &epoch))
        return false;
    if (route) {
        route->handle = *out;
        route->epoch = epoch;
    } else if (!routes_add(&client->routes, destination, hash, out, epoch)) {
        counter_add(&client->worker->counters.routes_full, 1);
    }
    return true;
}

static bool on_send_packet(struct client *client, uint8_t *frame, size_t len)
{
    struct relay_counters *counters = &client->worker->counters;
    const uint8_t *packet = frame + FRAME_HEADER_BYTES + KEY_BYTES;
    const size_t packet_len = len - FRAME_HEADER_BYTES - KEY_BYTES;
    const enum packet_kind kind =
        disco_looks_like(packet, packet_len) ? PACKET_DISCO : PACKET_OTHER;
    struct client_handle to;
    struct key destination;

    counter_add(&counters->packets_received, 1);
    counter_add(&counters->bytes_received, (int64_t)packet_len);
    counter_add(&counters->packets_received_kind[kind], 1);
    memcpy(destination.bytes, frame + FRAME_HEADER_BYTES, KEY_BYTES);
    if (!find_destination(client, &destination, &to)) {
        frames_count_drop(client->worker, DROP_UNKNOWN_DEST, kind, packet_len);
        if (kind == PACKET_DISCO)
            client_send_not_here(client, &destination);
        return true;
    }
    frame_send_to_recv(frame, &client->key);
    send_to(client->worker, &to, kind, frame, len);
    return true;
}

static bool on_note_preferred(struct client *client, const uint8_t *frame)
{
    struct relay_counters *counters = &client->worker->counters;
    const bool home = frame[FRAME_HEADER_BYTES] != 0;

    if (home == client->home)
        return true;
    client->home = home;
    counter_add(&counters->home_connections, home ? 1 : -1);
    if (clock_ms() - client->since_ms > HOME_MOVE_AFTER_MS)
        counter_add(home ? &counters->home_moves_in : &counters->home_moves_out, 1);
    return true;
}

static bool on_ping(struct client *client, const uint8_t *frame)
{
    counter_add(&client->worker->counters.got_ping, 1);
    client_send_pong(client, frame + FRAME_HEADER_BYTES);
    return true;
}

// A whole frame of a type that check_header takes. False when the client is gone.
static bool on_frame(struct client *client, uint8_t *frame, size_t len)
{
    if (!client->up)
        return client_login(client, frame + FRAME_HEADER_BYTES, len - FRAME_HEADER_BYTES);
    if (client->dup)
        client->dup =
            directory_touch(&client->worker->relay->directory, &client->key, &client->handle);
    switch (frame[0]) {
    case FRAME_SEND_PACKET:
        return on_send_packet(client, frame, len);
    case FRAME_NOTE_PREFERRED:
        return on_note_preferred(client, frame);
    default:
        return on_ping(client, frame);
    }
}

enum verdict { VERDICT_TAKE, VERDICT_SKIP, VERDICT_BAD, VERDICT_NOT_MESH };

static enum verdict within(uint32_t n, uint32_t least, uint32_t most)
{
    return n >= least && n <= most ? VERDICT_TAKE : VERDICT_BAD;
}

static enum verdict check_header(const struct client *client, const struct frame_header *header)
{
    const uint32_t n = header->payload_bytes;

    if (!client->up)
        return header->type == FRAME_CLIENT_INFO
                   ? within(n, LOGIN_CLIENT_INFO_MIN_BYTES, FRAME_CLIENT_INFO_MAX_BYTES)
                   : VERDICT_BAD;
    switch (header->type) {
    case FRAME_SEND_PACKET:
        return within(n, FRAME_SEND_MIN_BYTES, FRAME_SEND_MAX_BYTES);
    case FRAME_NOTE_PREFERRED:
        return within(n, 1, 1);
    case FRAME_PING:
        return within(n, FRAME_PING_BYTES, FRAME_PING_MAX_BYTES);
    case FRAME_FORWARD_PACKET:
    case FRAME_WATCH_CONNS:
    case FRAME_CLOSE_PEER:
        return VERDICT_NOT_MESH;
    default:
        return VERDICT_SKIP;
    }
}

// True when the frame of this header is to be read whole; false when it is skipped or, with *gone,
// the client is closed.
static bool accept_header(struct client *client, const struct frame_header *header, bool *gone)
{
    *gone = false;
    switch (check_header(client, header)) {
    case VERDICT_TAKE:
        return true;
    case VERDICT_SKIP:
        counter_add(&client->worker->counters.unknown_frames, 1);
        client->skip = header->payload_bytes;
        return false;
    case VERDICT_BAD:
        client_close(client, CLIENT_END_BAD_FRAME);
        break;
    case VERDICT_NOT_MESH:
        client_close(client, CLIENT_END_NOT_MESH);
        break;
    }
    *gone = true;
    return false;
}

static void partial_append(struct client *client, const uint8_t *data, size_t len)
{
    struct partial *partial = client->partial;
    const size_t have = partial ? partial->len : 0;

    if (!partial || have + len > partial->capacity) {
        const size_t capacity =
            have + len > PARTIAL_START_BYTES ? (have + len) * 2 : PARTIAL_START_BYTES;

        partial = memory_resize(partial, sizeof *partial + capacity);
        partial->capacity = capacity;
        client->partial = partial;
    }
    memcpy(partial->data + have, data, len);
    partial->len = have + len;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

// Goes on with the frame that was begun earlier. Returns the bytes used; *gone when the client is
// closed.
static size_t continue_partial(struct client *client, uint8_t *data, size_t len, bool *gone)
{
    size_t used = 0;
    struct frame_header header;
    struct partial *whole;

    *gone = false;
    if (client->partial->len < FRAME_HEADER_BYTES) {
        used = least(FRAME_HEADER_BYTES - client->partial->len, len);
        partial_append(client, data, used);
        if (!frame_parse_header(client->partial->data, client->partial->len, &header))
            return used;
        if (!accept_header(client, &header, gone)) {
            if (!*gone) {
                free(client->partial);
                client->partial = NULL;
            }
            return used;
        }
    }
    frame_parse_header(client->partial->data, client->partial->len, &header);

    const size_t missing = FRAME_HEADER_BYTES + header.payload_bytes - client->partial->len;
    const size_t n = least(missing, len - used);

    partial_append(client, data + used, n);
    used += n;
    if (n < missing)
        return used;
    whole = client->partial;
    client->partial = NULL;
    *gone = !on_frame(client, whole->data, whole->len);
    free(whole);
    return used;
}

// A frame that starts at `data`. Returns the bytes used; *gone when the client is closed.
static size_t read_frame(struct client *client, uint8_t *data, size_t len, bool *gone)
{
    struct frame_header header;

    *gone = false;
    if (!frame_parse_header(data, len, &header)) {
        partial_append(client, data, len);
        return len;
    }
    if (!accept_header(client, &header, gone))
        return FRAME_HEADER_BYTES;

    const size_t whole = FRAME_HEADER_BYTES + (size_t)header.payload_bytes;

    if (len < whole) {
        partial_append(client, data, len);
        return len;
    }
    *gone = !on_frame(client, data, whole);
    return whole;
}

bool frames_read(struct stream *stream, uint8_t *data, size_t len)
{
    struct client *client = stream->owner;
    bool gone = false;

    while (len > 0 && !gone) {
        size_t used;

        if (client->skip > 0) {
            used = least(client->skip, len);
            client->skip -= (uint32_t)used;
        } else if (client->partial) {
            used = continue_partial(client, data, len, &gone);
        } else {
            used = read_frame(client, data, len, &gone);
        }
        data += used;
        len -= used;
    }
    return !gone;
}

void frames_tell_peer_gone(struct worker *worker, const struct key *destination, uint64_t hash,
                           const struct key *peer)
{
    struct client_handle to;
    uint32_t epoch;

    if (!directory_find(&worker->relay->directory, destination, hash, &to, &epoch))
        return;
    if (to.worker == worker->index) {
        struct client *client = worker_client(worker, &to);

        if (client)
            client_send_peer_gone(client, peer);
        return;
    }
    outbox_append(&worker->outboxes[to.worker], &to, MESSAGE_PEER_GONE, peer->bytes, KEY_BYTES);
}

void frames_tell_duplicate(struct worker *worker, const struct client_handle *handle)
{
    if (handle->worker == worker->index) {
        struct client *client = worker_client(worker, handle);

        if (client)
            client->dup = 1;
        return;
    }
    outbox_append(&worker->outboxes[handle->worker], handle, MESSAGE_DUPLICATE, NULL, 0);
}

void frames_deliver(struct worker *worker, const struct message *message)
{
    struct client *client = worker_client(worker, &message->to);
    const enum packet_kind kind =
        message->type == MESSAGE_PACKET_DISCO ? PACKET_DISCO : PACKET_OTHER;
    struct key peer;

    switch ((enum message_type)message->type) {
    case MESSAGE_PACKET_DISCO:
    case MESSAGE_PACKET_OTHER:
        counter_add(&worker->counters.inbox_packets, 1);
        if (client)
            client_send_packet(client, kind, message_body(message), message->len);
        else
            frames_count_drop(worker, DROP_GONE_DISCONNECTED, kind,
                              message->len - FRAME_HEADER_BYTES - KEY_BYTES);
        break;
    case MESSAGE_PEER_GONE:
        memcpy(peer.bytes, message_body(message), KEY_BYTES);
        if (client)
            client_send_peer_gone(client, &peer);
        break;
    case MESSAGE_DUPLICATE:
        if (client)
            client->dup = 1;
        break;
    }
}

void client_sample_rtt(struct client *client)
{
    static const uint32_t bounds_ms[RTT_BUCKETS - 1] = {10, 20, 50, 100, 150, 250, 500};
    struct tcp_info info;
    socklen_t len = sizeof info;
    uv_os_fd_t fd;
    size_t i = 0;

    if (uv_fileno((uv_handle_t *)&client->stream->tcp, &fd) != 0 ||
        getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return;
    while (i < RTT_BUCKETS - 1 && info.tcpi_rtt > bounds_ms[i] * 1000)
        i++;
    counter_add(&client->worker->counters.tcp_rtt[i], 1);
}
