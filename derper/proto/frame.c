// SPDX-License-Identifier: BSD-3-Clause
#include "proto/frame.h"

#include <string.h>

static const uint8_t server_key_magic[8] = {0x44, 0x45, 0x52, 0x50, 0xf0, 0x9f, 0x94, 0x91};

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_u32(uint8_t *p, uint32_t n)
{
    p[0] = (uint8_t)(n >> 24);
    p[1] = (uint8_t)(n >> 16);
    p[2] = (uint8_t)(n >> 8);
    p[3] = (uint8_t)n;
}

bool frame_parse_header(const uint8_t *buf, size_t len, struct frame_header *out)
{
    if (len < FRAME_HEADER_BYTES)
        return false;
    out->type = buf[0];
    out->payload_bytes = get_u32(buf + 1);
    return true;
}

void frame_put_header(uint8_t out[static FRAME_HEADER_BYTES], uint8_t type, uint32_t payload_bytes)
{
    out[0] = type;
    put_u32(out + 1, payload_bytes);
}

void frame_send_to_recv(uint8_t *frame, const struct key *source)
{
    frame[0] = FRAME_RECV_PACKET;
    memcpy(frame + FRAME_HEADER_BYTES, source->bytes, KEY_BYTES);
}

void frame_put_server_key(uint8_t out[static FRAME_SERVER_KEY_BYTES], const struct key *server)
{
    frame_put_header(out, FRAME_SERVER_KEY, FRAME_SERVER_KEY_BYTES - FRAME_HEADER_BYTES);
    memcpy(out + FRAME_HEADER_BYTES, server_key_magic, sizeof server_key_magic);
    memcpy(out + FRAME_HEADER_BYTES + sizeof server_key_magic, server->bytes, KEY_BYTES);
}

void frame_put_keep_alive(uint8_t out[static FRAME_KEEP_ALIVE_BYTES])
{
    frame_put_header(out, FRAME_KEEP_ALIVE, 0);
}

void frame_put_peer_gone(uint8_t out[static FRAME_PEER_GONE_BYTES], const struct key *peer,
                         enum peer_gone_reason reason)
{
    frame_put_header(out, FRAME_PEER_GONE, FRAME_PEER_GONE_BYTES - FRAME_HEADER_BYTES);
    memcpy(out + FRAME_HEADER_BYTES, peer->bytes, KEY_BYTES);
    out[FRAME_HEADER_BYTES + KEY_BYTES] = (uint8_t)reason;
}

void frame_put_pong(uint8_t out[static FRAME_PONG_BYTES],
                    const uint8_t echoed[static FRAME_PING_BYTES])
{
    frame_put_header(out, FRAME_PONG, FRAME_PING_BYTES);
    memcpy(out + FRAME_HEADER_BYTES, echoed, FRAME_PING_BYTES);
}

void frame_put_restarting(uint8_t out[static FRAME_RESTARTING_BYTES], uint32_t reconnect_in_ms,
                          uint32_t try_for_ms)
{
    frame_put_header(out, FRAME_RESTARTING, FRAME_RESTARTING_BYTES - FRAME_HEADER_BYTES);
    put_u32(out + FRAME_HEADER_BYTES, reconnect_in_ms);
    put_u32(out + FRAME_HEADER_BYTES + 4, try_for_ms);
}
