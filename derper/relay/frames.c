// SPDX-License-Identifier: BSD-3-Clause
#include "relay/frames.h"

#include "base/clock.h"
#include "relay/admission.h"
#include "relay/forward.h"
#include "relay/membership.h"
#include "relay/outgoing.h"

#include <sodium.h>

#define HOME_MOVE_AFTER_MS 5000 // a change of preference sooner belongs to the arrival

static enum reader_verdict stop(struct client *client, enum client_end end)
{
    client->end = (uint8_t)end;
    return READER_STOP;
}

static enum reader_verdict within(struct client *client, uint32_t n, uint32_t least, uint32_t most)
{
    return n >= least && n <= most ? READER_TAKE : stop(client, CLIENT_END_BAD_FRAME);
}

static enum reader_verdict on_header(void *owner, const struct frame_header *header)
{
    struct client *client = owner;
    const uint32_t n = header->payload_bytes;

    if (client->state == CLIENT_LOGIN)
        return header->type == FRAME_CLIENT_INFO
                   ? within(client, n, LOGIN_CLIENT_INFO_MIN_BYTES, FRAME_CLIENT_INFO_MAX_BYTES)
                   : stop(client, CLIENT_END_BAD_FRAME);
    switch (header->type) {
    case FRAME_SEND_PACKET:
        return within(client, n, FRAME_SEND_MIN_BYTES, FRAME_SEND_MAX_BYTES);
    case FRAME_NOTE_PREFERRED:
        return within(client, n, 1, 1);
    case FRAME_PING:
        return within(client, n, FRAME_PING_BYTES, FRAME_PING_MAX_BYTES);
    case FRAME_FORWARD_PACKET: // these three are for mesh peers
    case FRAME_WATCH_CONNS:
    case FRAME_CLOSE_PEER:
        return stop(client, CLIENT_END_NOT_MESH);
    default:
        count(&client->worker->counters.unknown_frames);
        return READER_SKIP;
    }
}

static bool on_client_info(struct client *client, const uint8_t *payload, size_t len)
{
    struct login login;
    bool go_on = member_open(client, payload, len, &login);

    if (go_on && client->worker->relay->config.admission) {
        admission_begin(client, &login);
        go_on = false;
    } else if (go_on) {
        go_on = member_join(client, &login);
    }
    sodium_memzero(&login, sizeof login);
    return go_on;
}

static void on_note_preferred(struct client *client, bool home)
{
    struct relay_counters *counters = &client->worker->counters;

    if (home == client->home)
        return;
    client->home = home;
    counter_add(&counters->home_connections, home ? 1 : -1);
    if (clock_ms() - client->since_ms > HOME_MOVE_AFTER_MS)
        count(home ? &counters->home_moves_in : &counters->home_moves_out);
}

static bool on_frame(void *owner, uint8_t *frame, size_t len)
{
    struct client *client = owner;
    const uint8_t *payload = frame + FRAME_HEADER_BYTES;

    if (client->state == CLIENT_LOGIN)
        return on_client_info(client, payload, len - FRAME_HEADER_BYTES);
    // The last writer of several connections is the one that receives.
    if (client->dup)
        client->dup =
            directory_touch(&client->worker->relay->directory, &client->key, &client->handle);
    switch (frame[0]) {
    case FRAME_SEND_PACKET:
        forward_packet(client, frame, len);
        break;
    case FRAME_NOTE_PREFERRED:
        on_note_preferred(client, payload[0] != 0);
        break;
    case FRAME_PING:
        count(&client->worker->counters.got_ping);
        outgoing_pong(client, payload);
        break;
    }
    return true;
}

const struct frame_reader_callbacks frames_callbacks = {
    .on_header = on_header,
    .on_frame = on_frame,
};
