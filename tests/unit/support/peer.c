// SPDX-License-Identifier: BSD-3-Clause
#include "peer.h"

#include "loopback.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CLIENT_INFO "{\"version\":2,\"CanAckPings\":true}"

static const char request[] = "GET /derp HTTP/1.1\r\nHost: relay\r\nUpgrade: DERP\r\n\r\n";
static const uint8_t magic[] = {0x44, 0x45, 0x52, 0x50, 0xf0, 0x9f, 0x94, 0x91};

void peer_connect(struct peer *peer, uint16_t port, int receive_bytes)
{
    const struct timeval patience = {.tv_sec = PEER_PATIENCE_S};

    peer->fd = loopback_connect(port, receive_bytes);
    assert_int_equal(setsockopt(peer->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
}

void peer_send_bytes(const struct peer *peer, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    while (len > 0) {
        const ssize_t n = send(peer->fd, at, len, MSG_NOSIGNAL);

        assert_true(n > 0);
        at += n;
        len -= (size_t)n;
    }
}

void peer_send_request(const struct peer *peer)
{
    peer_send_bytes(peer, request, sizeof request - 1);
}

// False at the end of the connection.
static bool receive_bytes(struct peer *peer, uint8_t *out, size_t len)
{
    while (len > 0) {
        const ssize_t n = recv(peer->fd, out, len, 0);

        if (n < 0)
            assert_int_equal(errno, ECONNRESET);
        if (n <= 0)
            return false;
        out += n;
        len -= (size_t)n;
    }
    return true;
}

bool peer_receive(struct peer *peer)
{
    uint8_t bytes[FRAME_HEADER_BYTES];
    struct frame_header header;

    if (!receive_bytes(peer, bytes, sizeof bytes))
        return false;
    frame_parse_header(bytes, sizeof bytes, &header);
    peer->type = header.type;
    peer->len = header.payload_bytes;
    assert_true(peer->len <= sizeof peer->payload);
    return receive_bytes(peer, peer->payload, peer->len);
}

void peer_receive_server_key(struct peer *peer)
{
    assert_true(peer_receive(peer));
    assert_int_equal(peer->type, FRAME_SERVER_KEY);
    assert_int_equal(peer->len, sizeof magic + KEY_BYTES);
    assert_memory_equal(peer->payload, magic, sizeof magic);
    memcpy(peer->server.bytes, peer->payload + sizeof magic, KEY_BYTES);
}

size_t peer_put_client_info(const struct peer *peer, const char *json, uint8_t *out)
{
    uint8_t *nonce = out + FRAME_HEADER_BYTES + KEY_BYTES;
    const size_t len = KEY_BYTES + crypto_box_NONCEBYTES + crypto_box_MACBYTES + strlen(json);

    frame_put_header(out, FRAME_CLIENT_INFO, (uint32_t)len);
    memcpy(out + FRAME_HEADER_BYTES, peer->key.public.bytes, KEY_BYTES);
    randombytes_buf(nonce, crypto_box_NONCEBYTES);
    assert_int_equal(crypto_box_easy(nonce + crypto_box_NONCEBYTES, (const uint8_t *)json,
                                     strlen(json), nonce, peer->server.bytes,
                                     peer->key.private.bytes),
                     0);
    return FRAME_HEADER_BYTES + len;
}

void peer_receive_server_info(struct peer *peer)
{
    static const char beginning[] = "{\"version\":2";
    const size_t around = crypto_box_NONCEBYTES + crypto_box_MACBYTES;

    assert_true(peer_receive(peer));
    assert_int_equal(peer->type, FRAME_SERVER_INFO);
    assert_in_range(peer->len, around + 1, around + sizeof peer->server_info - 1);
    assert_int_equal(crypto_box_open_easy((uint8_t *)peer->server_info,
                                          peer->payload + crypto_box_NONCEBYTES,
                                          peer->len - crypto_box_NONCEBYTES, peer->payload,
                                          peer->server.bytes, peer->key.private.bytes),
                     0);
    peer->server_info[peer->len - around] = '\0';
    assert_memory_equal(peer->server_info, beginning, sizeof beginning - 1);
}

void peer_login(struct peer *peer, uint16_t port, const struct key_pair *key)
{
    uint8_t frame[512];

    if (key)
        peer->key = *key;
    else
        key_pair_generate(&peer->key);
    peer_connect(peer, port, 0);
    peer_send_request(peer);
    peer_receive_server_key(peer);
    peer_send_bytes(peer, frame, peer_put_client_info(peer, CLIENT_INFO, frame));
    peer_receive_server_info(peer);
}

size_t peer_put_packet(uint8_t *out, const struct key *to, const void *packet, size_t len)
{
    frame_put_header(out, FRAME_SEND_PACKET, (uint32_t)(KEY_BYTES + len));
    memcpy(out + FRAME_HEADER_BYTES, to->bytes, KEY_BYTES);
    memcpy(out + FRAME_HEADER_BYTES + KEY_BYTES, packet, len);
    return FRAME_HEADER_BYTES + KEY_BYTES + len;
}

void peer_send_packet(const struct peer *peer, const struct key *to, const void *packet, size_t len)
{
    uint8_t frame[PEER_FRAME_MAX_BYTES];

    peer_send_bytes(peer, frame, peer_put_packet(frame, to, packet, len));
}

void peer_expect_packet(struct peer *peer, const struct key *from, const void *packet, size_t len)
{
    assert_true(peer_receive(peer));
    assert_int_equal(peer->type, FRAME_RECV_PACKET);
    assert_int_equal(peer->len, KEY_BYTES + len);
    assert_memory_equal(peer->payload, from->bytes, KEY_BYTES);
    assert_memory_equal(peer->payload + KEY_BYTES, packet, len);
}

void peer_expect_gone(struct peer *peer, const struct key *who, enum peer_gone_reason reason)
{
    assert_true(peer_receive(peer));
    assert_int_equal(peer->type, FRAME_PEER_GONE);
    assert_int_equal(peer->len, KEY_BYTES + 1);
    assert_memory_equal(peer->payload, who->bytes, KEY_BYTES);
    assert_int_equal(peer->payload[KEY_BYTES], reason);
}

void peer_expect_nothing(struct peer *peer)
{
    uint8_t ping[FRAME_HEADER_BYTES + FRAME_PING_BYTES];

    frame_put_header(ping, FRAME_PING, FRAME_PING_BYTES);
    randombytes_buf(ping + FRAME_HEADER_BYTES, FRAME_PING_BYTES);
    peer_send_bytes(peer, ping, sizeof ping);
    assert_true(peer_receive(peer));
    assert_int_equal(peer->type, FRAME_PONG);
    assert_int_equal(peer->len, FRAME_PING_BYTES);
    assert_memory_equal(peer->payload, ping + FRAME_HEADER_BYTES, FRAME_PING_BYTES);
}

void peer_expect_end(struct peer *peer)
{
    assert_false(peer_receive(peer));
}

void peer_close(struct peer *peer)
{
    close(peer->fd);
}
