// SPDX-License-Identifier: BSD-3-Clause
#include "relay/forward.h"

#include "proto/disco.h"
#include "relay/outgoing.h"

#include <string.h>

#define PACKET_OFFSET (FRAME_HEADER_BYTES + KEY_BYTES) // of a packet in its frame

static const enum message_type message_types[PACKET_KINDS] = {
    [PACKET_DISCO] = MESSAGE_PACKET_DISCO,
    [PACKET_OTHER] = MESSAGE_PACKET_OTHER,
};

static void deliver_packet(struct worker *worker, const struct client_handle *to,
                           enum packet_kind kind, const uint8_t *frame, size_t len)
{
    struct client *client = slots_find(&worker->slots, to);

    if (client)
        outgoing_packet(client, kind, frame, len);
    else
        outgoing_count_drop(worker, DROP_GONE_DISCONNECTED, kind, len - PACKET_OFFSET);
}

// Counts a packet to its flow as long as that has no more than its share in the inbox. Flows beyond
// the remembered ones have none.
static bool within_share(struct route *route, enum packet_kind kind, const struct inbox *inbox,
                         size_t len)
{
    if (!route)
        return false;
    if (route->taken != inbox_taken(inbox)) {
        route->taken = inbox_taken(inbox);
        memset(route->flow_bytes, 0, sizeof route->flow_bytes);
        memset(route->flow_packets, 0, sizeof route->flow_packets);
    }
    if (route->flow_packets[kind] == INBOX_FLOW_PACKETS ||
        route->flow_bytes[kind] + len > INBOX_FLOW_BYTES)
        return false;
    route->flow_packets[kind]++;
    route->flow_bytes[kind] += (uint32_t)len;
    return true;
}

static void send_away(struct worker *worker, struct route *route, const struct client_handle *to,
                      enum packet_kind kind, const uint8_t *frame, size_t len)
{
    struct outbox *outbox = &worker->outboxes[to->worker];
    const struct inbox *inbox = &worker->relay->workers[to->worker]->inbox;
    const bool share = within_share(route, kind, inbox, len);

    if (inbox_bytes(inbox, outbox) < (share ? 2 * INBOX_MAX_BYTES : INBOX_MAX_BYTES))
        outbox_append(outbox, &worker->batches, to, message_types[kind], frame, len);
    else
        outgoing_count_drop(worker, DROP_QUEUE_TAIL, kind, len - PACKET_OFFSET);
}

static bool is_here(uint64_t hash, void *data)
{
    struct client_handle handle;

    return directory_find_hash(data, hash, &handle);
}

// Whom the client has sent to is told when it has gone. False when there are too many.
static bool note_sent_to(struct client *client, uint64_t hash)
{
    struct worker *worker = client->worker;

    if (sent_to_add(&client->sent_to, hash, uv_now(&worker->loop), is_here,
                    &worker->relay->directory))
        return true;
    count(&worker->counters.sent_to_full);
    return false;
}

// Where packets for `destination` go now. False when it is not connected.
static bool find_destination(struct client *client, const struct key *destination,
                             struct client_handle *out, struct route **found)
{
    struct directory *directory = &client->worker->relay->directory;
    struct routes *routes = &client->worker->routes;
    const struct client_handle *from = &client->handle;
    uint64_t hash;
    uint32_t epoch;
    struct route *route = routes_find(routes, from, destination, &client->last_route, &hash);

    *found = route;
    if (route && route->epoch == directory_epoch(directory, hash)) {
        *out = route->handle;
        return true;
    }
    if (!directory_find(directory, destination, hash, out, &epoch))
        return false;
    // Anew each time, as it may have been away and forgotten.
    if (!note_sent_to(client, hash)) {
        *found = NULL;
        return true;
    }
    if (!route)
        *found = route = routes_add(routes, from, destination, &client->last_route, hash);
    route->handle = *out;
    route->epoch = epoch;
    return true;
}

void forward_packet(struct client *client, uint8_t *frame, size_t len)
{
    struct relay_counters *counters = &client->worker->counters;
    const size_t packet_len = len - PACKET_OFFSET;
    const enum packet_kind kind =
        disco_looks_like(frame + PACKET_OFFSET, packet_len) ? PACKET_DISCO : PACKET_OTHER;
    struct client_handle to;
    struct key destination;
    struct route *route;

    count(&counters->packets_received);
    count(&counters->packets_received_kind[kind]);
    counter_add(&counters->bytes_received, (int64_t)packet_len);
    memcpy(destination.bytes, frame + FRAME_HEADER_BYTES, KEY_BYTES);
    if (find_destination(client, &destination, &to, &route)) {
        frame_send_to_recv(frame, &client->key);
        if (to.worker == client->worker->index)
            deliver_packet(client->worker, &to, kind, frame, len);
        else
            send_away(client->worker, route, &to, kind, frame, len);
        return;
    }
    outgoing_count_drop(client->worker, DROP_UNKNOWN_DEST, kind, packet_len);
    if (kind == PACKET_DISCO)
        outgoing_not_here(client, &destination);
}

// Lost when the inbox is as full as packets may make it: thousands may leave in one turn, each of
// whom has sent to thousands.
static void send_news(struct worker *worker, const struct client_handle *to, enum message_type type,
                      const uint8_t *body, size_t len)
{
    struct outbox *outbox = &worker->outboxes[to->worker];

    if (inbox_bytes(&worker->relay->workers[to->worker]->inbox, outbox) < 2 * INBOX_MAX_BYTES)
        outbox_append(outbox, &worker->batches, to, type, body, len);
    else
        count(&worker->counters.control_dropped);
}

void forward_peer_gone(struct worker *worker, uint64_t hash, const struct key *peer)
{
    struct client_handle to;
    struct client *client;

    if (!directory_find_hash(&worker->relay->directory, hash, &to))
        return;
    if (to.worker != worker->index) {
        send_news(worker, &to, MESSAGE_PEER_GONE, peer->bytes, KEY_BYTES);
        return;
    }
    client = slots_find(&worker->slots, &to);
    if (client)
        outgoing_peer_gone(client, peer);
}

static void mark_duplicate(struct worker *worker, const struct client_handle *handle)
{
    struct client *client = slots_find(&worker->slots, handle);

    if (client)
        client->dup = 1;
}

void forward_duplicate(struct worker *worker, const struct client_handle *handle)
{
    if (handle->worker == worker->index)
        mark_duplicate(worker, handle);
    else
        outbox_append(&worker->outboxes[handle->worker], &worker->batches, handle,
                      MESSAGE_DUPLICATE, NULL, 0);
}

static void deliver_sent_to(struct worker *worker, const struct client_handle *to, uint64_t hash)
{
    struct client *client = slots_find(&worker->slots, to);

    if (client)
        note_sent_to(client, hash);
}

// A peer that has come back meanwhile, to another worker, may have sent packets that came before
// this message. It is not gone then, and its new connection remembers this client.
static void deliver_peer_gone(struct worker *worker, const struct message *message)
{
    struct client *client = slots_find(&worker->slots, &message->to);
    struct client_handle back;
    struct key peer;
    uint64_t hash;

    if (!client)
        return;
    memcpy(peer.bytes, message_body(message), KEY_BYTES);
    if (!directory_find_hash(&worker->relay->directory, key_hash(&peer), &back)) {
        outgoing_peer_gone(client, &peer);
        return;
    }
    hash = key_hash(&client->key);
    if (back.worker == worker->index)
        deliver_sent_to(worker, &back, hash);
    else
        send_news(worker, &back, MESSAGE_SENT_TO, (const uint8_t *)&hash, sizeof hash);
}

void forward_deliver(struct worker *worker, const struct message *message)
{
    uint64_t hash;

    switch ((enum message_type)message->type) {
    case MESSAGE_PACKET_DISCO:
    case MESSAGE_PACKET_OTHER:
        count(&worker->counters.inbox_packets);
        deliver_packet(worker, &message->to,
                       message->type == MESSAGE_PACKET_DISCO ? PACKET_DISCO : PACKET_OTHER,
                       message_body(message), message->len);
        break;
    case MESSAGE_PEER_GONE:
        deliver_peer_gone(worker, message);
        break;
    case MESSAGE_SENT_TO:
        memcpy(&hash, message_body(message), sizeof hash);
        deliver_sent_to(worker, &message->to, hash);
        break;
    case MESSAGE_DUPLICATE:
        mark_duplicate(worker, &message->to);
        break;
    }
}
