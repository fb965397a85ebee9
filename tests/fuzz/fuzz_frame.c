// SPDX-License-Identifier: BSD-3-Clause
//
// A stream of frames as a server that knows no state would walk it, with the pure codecs alone.
// Each frame is looked at in a copy of exactly its size, and what is written must read back.
#include "proto/disco.h"
#include "proto/frame.h"

#include <stdlib.h>

static void demand(bool held)
{
    if (!held)
        abort();
}

static uint8_t *copy_of(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    demand(copy != NULL);
    if (len > 0)
        memcpy(copy, bytes, len);
    return copy;
}

// `frame` is whole, its payload's length is that of a SendPacket.
static void check_send(uint8_t *frame, size_t len)
{
    uint8_t *before = copy_of(frame, len);
    uint8_t *packet =
        copy_of(frame + FRAME_HEADER_BYTES + KEY_BYTES, len - FRAME_HEADER_BYTES - KEY_BYTES);
    const size_t packet_len = len - FRAME_HEADER_BYTES - KEY_BYTES;
    struct frame_header header;
    struct key source;

    memset(&source, 0xa5, sizeof source);
    if (disco_looks_like(packet, packet_len))
        demand(packet_len >= DISCO_MIN_BYTES && packet[0] == 'T' && packet[1] == 'S');
    frame_send_to_recv(frame, &source);
    demand(frame_parse_header(frame, len, &header) && header.type == FRAME_RECV_PACKET);
    demand(header.payload_bytes == len - FRAME_HEADER_BYTES);
    demand(memcmp(frame + FRAME_HEADER_BYTES, source.bytes, KEY_BYTES) == 0);
    demand(memcmp(frame + len - packet_len, before + len - packet_len, packet_len) == 0);
    free(packet);
    free(before);
}

static void check_ping(const uint8_t *payload)
{
    uint8_t pong[FRAME_PONG_BYTES];
    struct frame_header header;

    frame_put_pong(pong, payload);
    demand(frame_parse_header(pong, sizeof pong, &header) && header.type == FRAME_PONG);
    demand(header.payload_bytes == FRAME_PING_BYTES);
    demand(memcmp(pong + FRAME_HEADER_BYTES, payload, FRAME_PING_BYTES) == 0);
}

// A frame that we write as well: the same fields give the same bytes.
static void check_written_alike(const uint8_t *frame, size_t len)
{
    uint8_t out[FRAME_SERVER_KEY_BYTES];
    const uint8_t *payload = frame + FRAME_HEADER_BYTES;
    struct key key;

    if (frame[0] == FRAME_KEEP_ALIVE && len == FRAME_KEEP_ALIVE_BYTES) {
        frame_put_keep_alive(out);
    } else if (frame[0] == FRAME_PEER_GONE && len == FRAME_PEER_GONE_BYTES) {
        memcpy(key.bytes, payload, KEY_BYTES);
        frame_put_peer_gone(out, &key, (enum peer_gone_reason)payload[KEY_BYTES]);
    } else if (frame[0] == FRAME_RESTARTING && len == FRAME_RESTARTING_BYTES) {
        const uint32_t in = (uint32_t)payload[0] << 24 | (uint32_t)payload[1] << 16 |
                            (uint32_t)payload[2] << 8 | payload[3];
        const uint32_t try_for = (uint32_t)payload[4] << 24 | (uint32_t)payload[5] << 16 |
                                 (uint32_t)payload[6] << 8 | payload[7];
        frame_put_restarting(out, in, try_for);
    } else if (frame[0] == FRAME_SERVER_KEY && len == FRAME_SERVER_KEY_BYTES &&
               memcmp(payload, "DERP\xf0\x9f\x94\x91", 8) == 0) {
        memcpy(key.bytes, payload + 8, KEY_BYTES);
        frame_put_server_key(out, &key);
    } else {
        return;
    }
    demand(memcmp(out, frame, len) == 0);
}

static void check_frame(const uint8_t *bytes, size_t len)
{
    const size_t payload_len = len - FRAME_HEADER_BYTES;
    uint8_t *frame = copy_of(bytes, len);

    check_written_alike(frame, len);
    if (frame[0] == FRAME_SEND_PACKET && payload_len >= FRAME_SEND_MIN_BYTES &&
        payload_len <= FRAME_SEND_MAX_BYTES)
        check_send(frame, len);
    else if (frame[0] == FRAME_PING && payload_len >= FRAME_PING_BYTES &&
             payload_len <= FRAME_PING_MAX_BYTES)
        check_ping(frame + FRAME_HEADER_BYTES);
    free(frame);
}

// Reads a header from a copy of exactly `len` bytes, at most a header's worth.
static bool read_header(const uint8_t *bytes, size_t len, struct frame_header *header)
{
    const size_t n = len < FRAME_HEADER_BYTES ? len : FRAME_HEADER_BYTES;
    uint8_t *exact = copy_of(bytes, n), again[FRAME_HEADER_BYTES];
    const bool whole = frame_parse_header(exact, n, header);

    demand(whole == (len >= FRAME_HEADER_BYTES));
    if (whole) {
        frame_put_header(again, header->type, header->payload_bytes);
        demand(memcmp(again, exact, FRAME_HEADER_BYTES) == 0);
    }
    free(exact);
    return whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame_header header;

    while (read_header(data, size, &header) && header.payload_bytes <= size - FRAME_HEADER_BYTES) {
        const size_t len = FRAME_HEADER_BYTES + header.payload_bytes;

        check_frame(data, len);
        data += len;
        size -= len;
    }
    return 0;
}
