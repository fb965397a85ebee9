// SPDX-License-Identifier: BSD-3-Clause
//
// DERP frames on the wire: type (1 byte), payload length (4 bytes, big endian, without these 5),
// payload. Pure codec: no I/O, no allocation, no state. Wire page, section 2.
#ifndef DERPER_PROTO_FRAME_H
#define DERPER_PROTO_FRAME_H

#include "base/key.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DERP_VERSION 2

#define FRAME_HEADER_BYTES 5
#define FRAME_PACKET_MAX_BYTES 65536
#define FRAME_SEND_MIN_BYTES KEY_BYTES // payload of a SendPacket: key, then packet
#define FRAME_SEND_MAX_BYTES (KEY_BYTES + FRAME_PACKET_MAX_BYTES)
#define FRAME_PING_BYTES 8
#define FRAME_PING_MAX_BYTES 1000 // accepted; only the first 8 are echoed
#define FRAME_CLIENT_INFO_MAX_BYTES 4096

// Whole frames of fixed size, header included.
#define FRAME_SERVER_KEY_BYTES (FRAME_HEADER_BYTES + 8 + KEY_BYTES)
#define FRAME_KEEP_ALIVE_BYTES FRAME_HEADER_BYTES
#define FRAME_PEER_GONE_BYTES (FRAME_HEADER_BYTES + KEY_BYTES + 1)
#define FRAME_PONG_BYTES (FRAME_HEADER_BYTES + FRAME_PING_BYTES)
#define FRAME_RESTARTING_BYTES (FRAME_HEADER_BYTES + 8)

enum frame_type {
    FRAME_SERVER_KEY = 0x01,
    FRAME_CLIENT_INFO = 0x02,
    FRAME_SERVER_INFO = 0x03,
    FRAME_SEND_PACKET = 0x04,
    FRAME_RECV_PACKET = 0x05,
    FRAME_KEEP_ALIVE = 0x06,
    FRAME_NOTE_PREFERRED = 0x07,
    FRAME_PEER_GONE = 0x08,
    FRAME_PEER_PRESENT = 0x09,
    FRAME_FORWARD_PACKET = 0x0a,
    FRAME_WATCH_CONNS = 0x10,
    FRAME_CLOSE_PEER = 0x11,
    FRAME_PING = 0x12,
    FRAME_PONG = 0x13,
    FRAME_HEALTH = 0x14,
    FRAME_RESTARTING = 0x15,
};

enum peer_gone_reason {
    PEER_GONE_DISCONNECTED = 0,
    PEER_GONE_NOT_HERE = 1,
};

struct frame_header {
    uint8_t type; // an enum frame_type, or one that we do not know and skip
    uint32_t payload_bytes;
};

// Reads the header at the start of `buf`. False when fewer than FRAME_HEADER_BYTES are there yet.
// Whether type and length are acceptable depends on the connection's state: that is the caller's
// question.
bool frame_parse_header(const uint8_t *buf, size_t len, struct frame_header *out);

void frame_put_header(uint8_t out[static FRAME_HEADER_BYTES], uint8_t type, uint32_t payload_bytes);

// Turns a whole SendPacket frame into the RecvPacket frame that its destination gets: same bytes,
// other type and key.
void frame_send_to_recv(uint8_t *frame, const struct key *source);

// Each writes a whole frame of the size in its signature.
void frame_put_server_key(uint8_t out[static FRAME_SERVER_KEY_BYTES], const struct key *server);
void frame_put_keep_alive(uint8_t out[static FRAME_KEEP_ALIVE_BYTES]);
void frame_put_peer_gone(uint8_t out[static FRAME_PEER_GONE_BYTES], const struct key *peer,
                         enum peer_gone_reason reason);
void frame_put_pong(uint8_t out[static FRAME_PONG_BYTES],
                    const uint8_t echoed[static FRAME_PING_BYTES]);
void frame_put_restarting(uint8_t out[static FRAME_RESTARTING_BYTES], uint32_t reconnect_in_ms,
                          uint32_t try_for_ms);

#endif
