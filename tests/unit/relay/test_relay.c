// SPDX-License-Identifier: BSD-3-Clause
//
// A whole relay: what it does for its clients.
#include "../support/rig.h"

#include "../support/identity.h"
#include "proto/disco.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

// --- relaying

#define PEERS 8

// Everyone to everyone, over all workers.
static void relays(struct rig *rig)
{
    struct peer *peers[PEERS];
    char text[32];
    int64_t ended = 0;

    for (size_t i = 0; i < PEERS; i++)
        peers[i] = peer_new(rig, i, NULL);
    for (size_t i = 0; i < PEERS; i++) {
        for (size_t j = 0; j < PEERS; j++) {
            const int len = snprintf(text, sizeof text, "from %zu to %zu", i, j);

            peer_send_packet(peers[i], &peers[j]->key.public, text, (size_t)len);
            peer_expect_packet(peers[j], &peers[i]->key.public, text, (size_t)len);
        }
    }
    assert_int_equal(SUM(rig, relay.packets_received), PEERS * PEERS);
    WAIT(SUM(rig, relay.packets_sent) == PEERS * PEERS);
    assert_int_equal(SUM(rig, relay.packets_received_kind[PACKET_OTHER]), PEERS * PEERS);
    assert_int_equal(SUM(rig, relay.bytes_received), SUM(rig, relay.bytes_sent));
    assert_int_equal(SUM(rig, relay.connections), PEERS);
    assert_int_equal(SUM(rig, relay.logins_pending), 0);
    assert_int_equal(snapshot(rig).clients, PEERS);
    for (size_t i = 0; i < PEERS; i++)
        peer_free(peers[i]);
    WAIT(SUM(rig, relay.connections) == 0 && snapshot(rig).clients == 0);
    for (int end = 0; end < CLIENT_ENDS; end++)
        ended += SUM(rig, relay.client_ends[end]);
    assert_int_equal(ended, PEERS);
}

static void test_relays(void **state)
{
    (void)state;
    with_each(relays, &defaults);
}

// A burst of packets of all sizes keeps its order.
static void sizes_in_order(struct rig *rig)
{
    static const size_t sizes[] = {0,    1,     61,    1280,  2048 - 37, 2049 - 37,
                                   9000, 16347, 16348, 32000, 65535,     65536};
    static uint8_t packet[FRAME_PACKET_MAX_BYTES];
    struct peer *from = peer_new(rig, 0, NULL), *to = peer_new(rig, 1, NULL);

    for (size_t round = 0; round < 5; round++) {
        for (size_t i = 0; i < COUNT(sizes); i++) {
            memset(packet, (int)i + 1, sizeof packet);
            peer_send_packet(from, &to->key.public, packet, sizes[i]);
        }
        for (size_t i = 0; i < COUNT(sizes); i++) {
            memset(packet, (int)i + 1, sizeof packet);
            peer_expect_packet(to, &from->key.public, packet, sizes[i]);
        }
    }
    peer_expect_nothing(to);
    peer_free(from);
    peer_free(to);
}

static void test_sizes_in_order(void **state)
{
    (void)state;
    with_each(sizes_in_order, &defaults);
}

// Login and packets, each byte in a segment of its own; unknown frames are skipped among them.
static void bytes_one_by_one(struct rig *rig)
{
    struct peer *to = peer_new(rig, 1, NULL), *from = malloc(sizeof *from);
    uint8_t bytes[2048];
    size_t len;

    key_pair_generate(&from->key);
    from->server = to->server;
    peer_connect(from, port_of(rig, 0), 0);
    peer_send_request(from);
    len = peer_put_client_info(from, "{\"version\":2}", bytes);
    frame_put_header(bytes + len, 0x7f, 0);
    frame_put_header(bytes + len + FRAME_HEADER_BYTES, 0x7e, 300);
    len += FRAME_HEADER_BYTES * 2 + 300;
    len += peer_put_packet(bytes + len, &to->key.public, "slow", 4);
    for (size_t i = 0; i < len; i++)
        peer_send_bytes(from, bytes + i, 1);
    peer_receive_server_key(from);
    peer_receive_server_info(from);
    peer_expect_packet(to, &from->key.public, "slow", 4);
    assert_int_equal(SUM(rig, relay.unknown_frames), 2);
    peer_free(from);
    peer_free(to);
}

static void test_bytes_one_by_one(void **state)
{
    (void)state;
    with_each(bytes_one_by_one, &defaults);
}

// Request, login and the first packet in one segment, as a fast start allows; the answer's preface
// comes first.
static void all_at_once(struct rig *rig)
{
    static const char request[] =
        "GET /derp HTTP/1.1\r\nHost: relay\r\nUpgrade: DERP\r\nIdeal-Node: a\r\n\r\n";
    struct peer *to = peer_new(rig, 1, NULL), *from = malloc(sizeof *from);
    uint8_t bytes[2048], preface[sizeof PREFACE - 1];
    size_t len = sizeof request - 1;

    rig->preface = true;
    key_pair_generate(&from->key);
    from->server = to->server;
    memcpy(bytes, request, len);
    len += peer_put_client_info(from, "{\"version\":2}", bytes + len);
    len += peer_put_packet(bytes + len, &to->key.public, "fast", 4);
    peer_connect(from, port_of(rig, 0), 0);
    peer_send_bytes(from, bytes, len);
    assert_int_equal(recv(from->fd, preface, sizeof preface, MSG_WAITALL), sizeof preface);
    assert_memory_equal(preface, PREFACE, sizeof preface);
    peer_receive_server_key(from);
    peer_receive_server_info(from);
    peer_expect_packet(to, &from->key.public, "fast", 4);
    assert_int_equal(SUM(rig, relay.notideal_connections), 1);
    peer_free(from);
    WAIT(SUM(rig, relay.notideal_connections) == 0);
    peer_free(to);
}

static void test_all_at_once(void **state)
{
    (void)state;
    with_each(all_at_once, &defaults);
}

static void pings_and_home(struct rig *rig)
{
    struct peer *peer = peer_new(rig, 0, NULL);
    uint8_t frame[FRAME_HEADER_BYTES + FRAME_PING_MAX_BYTES] = {0};

    peer_expect_nothing(peer);
    frame_put_header(frame, FRAME_PING, FRAME_PING_MAX_BYTES);
    memcpy(frame + FRAME_HEADER_BYTES, "12345678", 8);
    peer_send_bytes(peer, frame, sizeof frame);
    assert_true(peer_receive(peer));
    assert_int_equal(peer->type, FRAME_PONG);
    assert_int_equal(peer->len, 8);
    assert_memory_equal(peer->payload, "12345678", 8);
    for (int home = 1; home >= 0; home--) {
        frame_put_header(frame, FRAME_NOTE_PREFERRED, 1);
        frame[FRAME_HEADER_BYTES] = (uint8_t)home;
        peer_send_bytes(peer, frame, FRAME_HEADER_BYTES + 1);
        peer_send_bytes(peer, frame, FRAME_HEADER_BYTES + 1); // says nothing new
        peer_expect_nothing(peer);
        assert_int_equal(SUM(rig, relay.home_connections), home);
    }
    frame[FRAME_HEADER_BYTES] = 1;
    peer_send_bytes(peer, frame, FRAME_HEADER_BYTES + 1);
    peer_expect_nothing(peer);
    peer_free(peer);
    WAIT(SUM(rig, relay.connections) == 0);
    assert_int_equal(SUM(rig, relay.home_connections), 0);
    assert_int_equal(SUM(rig, relay.got_ping), 5);
    assert_int_equal(SUM(rig, relay.sent_pong), 5);
}

static void test_pings_and_home(void **state)
{
    (void)state;
    with_each(pings_and_home, &defaults);
}

// --- peers that are gone

static void peer_gone(struct rig *rig)
{
    struct peer *leaver = peer_new(rig, 0, NULL);
    struct peer *told = peer_new(rig, 1, NULL), *stranger = peer_new(rig, 2, NULL);

    for (int i = 0; i < 2; i++) {
        struct key_pair same = leaver->key;

        peer_send_packet(leaver, &told->key.public, "hello", 5);
        peer_expect_packet(told, &leaver->key.public, "hello", 5);
        // Receiving alone is no reason to be told.
        peer_send_packet(stranger, &leaver->key.public, "hello", 5);
        peer_expect_packet(leaver, &stranger->key.public, "hello", 5);
        peer_free(leaver);
        peer_expect_gone(told, &same.public, PEER_GONE_DISCONNECTED);
        peer_expect_nothing(told);
        peer_expect_nothing(stranger);
        leaver = peer_new(rig, 3, &same); // it comes back, and leaves again
    }
    assert_int_equal(SUM(rig, relay.peer_gone_disconnected_frames), 2);
    peer_free(leaver);
    peer_free(told);
    peer_free(stranger);
}

static void test_peer_gone(void **state)
{
    (void)state;
    with_each(peer_gone, &defaults);
}

// A peer leaves, and is back on another worker before the message that it has left has been handed
// over: its first worker is kept from that. Who knows it is not told that it is gone, but when it
// has left for good, also if it has sent nothing since.
static void back_elsewhere(struct rig *rig, size_t worker, bool sends)
{
    struct peer *leaver = peer_new(rig, 0, NULL), *told = peer_new(rig, 1, NULL), *after;
    struct peer *idler = malloc(sizeof *idler);
    const struct key_pair same = leaver->key;
    bool early;

    expect_at(leaver, told, "hello");
    peer_connect(idler, port_of(rig, 0), 0);
    peer_expect_nothing(leaver);
    stall(rig, 0);
    peer_free(leaver);
    peer_send_bytes(idler, STALL_REQUEST, strlen(STALL_REQUEST)); // right behind
    WAIT(snapshot(rig).clients == 1);
    leaver = peer_new(rig, worker, &same);
    if (sends)
        peer_send_packet(leaver, &told->key.public, "back", 4);
    after = peer_new(rig, 0, NULL); // when the stall is over
    peer_send_packet(after, &told->key.public, "then", 4);
    assert_true(peer_receive(told));
    early = told->type == FRAME_PEER_GONE; // a test that was too slow: it was told in time
    if (early)
        assert_true(peer_receive(told));
    assert_int_equal(told->type, FRAME_RECV_PACKET);
    assert_memory_equal(told->payload + KEY_BYTES, sends ? "back" : "then", 4);
    if (sends)
        peer_expect_packet(told, &after->key.public, "then", 4);
    expect_at(told, leaver, "behind what is known of it");
    peer_free(leaver);
    if (sends || !early)
        peer_expect_gone(told, &same.public, PEER_GONE_DISCONNECTED);
    peer_expect_nothing(told);
    peer_free(told);
    peer_free(after);
    peer_free(idler);
    WAIT(SUM(rig, io.streams) == 0);
}

static void test_back_on_another_worker(void **state)
{
    static struct rig rig;

    (void)state;
    rig_start(&rig, 3, &defaults);
    for (size_t i = 0; i < 4; i++)
        back_elsewhere(&rig, 1 + i / 2, i % 2 == 0);
    rig_stop(&rig);
}

static void not_here(struct rig *rig)
{
    static uint8_t disco[DISCO_MIN_BYTES] = {0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac};
    struct peer *peer = peer_new(rig, 0, NULL);
    struct key_pair nobody;

    key_pair_generate(&nobody);
    peer_send_packet(peer, &nobody.public, "data", 4); // silence
    peer_expect_nothing(peer);
    for (int i = 0; i < 20; i++)
        peer_send_packet(peer, &nobody.public, disco, sizeof disco);
    for (int i = 0; i < 3; i++)
        peer_expect_gone(peer, &nobody.public, PEER_GONE_NOT_HERE);
    WAIT(SUM(rig, relay.packets_dropped[DROP_UNKNOWN_DEST][PACKET_DISCO]) == 20);
    assert_int_equal(SUM(rig, relay.peer_gone_not_here_frames) + SUM(rig, relay.peer_gone_limited),
                     20);
    assert_true(SUM(rig, relay.peer_gone_limited) > 0);
    assert_int_equal(SUM(rig, relay.packets_dropped[DROP_UNKNOWN_DEST][PACKET_OTHER]), 1);
    assert_int_equal(SUM(rig, relay.bytes_dropped[DROP_UNKNOWN_DEST][PACKET_OTHER]), 4);
    peer_free(peer);
}

static void test_not_here(void **state)
{
    (void)state;
    with_each(not_here, &defaults);
}

// --- the same key more than once

static void duplicates(struct rig *rig)
{
    struct key_pair key;
    struct peer *sender = peer_new(rig, 0, NULL);
    struct peer *first, *second, *third;

    key_pair_generate(&key);
    first = peer_new(rig, 0, &key);
    expect_at(sender, first, "alone");
    second = peer_new(rig, 1, &key);
    expect_at(sender, second, "the newest");
    third = peer_new(rig, 2, &key);
    expect_at(sender, third, "the newest again");
    assert_int_equal(snapshot(rig).clients, 2);
    assert_int_equal(snapshot(rig).dup_client_keys, 1);
    assert_int_equal(snapshot(rig).dup_client_conns, 3);
    assert_int_equal(snapshot(rig).dup_client_total, 2);
    peer_expect_nothing(first); // a ping, so it is the last writer now
    expect_at(sender, first, "the last writer");
    peer_free(first);
    WAIT(snapshot(rig).dup_client_conns == 2);
    expect_at(sender, third, "the newest that is left");
    peer_expect_nothing(second);
    expect_at(sender, second, "the last writer again");
    peer_free(third);
    WAIT(snapshot(rig).dup_client_conns == 0);
    expect_at(sender, second, "alone again");
    assert_int_equal(snapshot(rig).dup_client_keys, 0);
    peer_expect_nothing(sender);
    peer_free(second);
    WAIT(snapshot(rig).clients == 1);
    peer_free(sender);
}

static void test_duplicates(void **state)
{
    (void)state;
    with_each(duplicates, &defaults);
}

// Who got packets from any of them is told when the last one has left, and only then.
static void duplicates_gone(struct rig *rig)
{
    struct key_pair key;
    struct peer *first, *second, *third;
    struct peer *a = peer_new(rig, 0, NULL), *b = peer_new(rig, 1, NULL);

    key_pair_generate(&key);
    first = peer_new(rig, 0, &key);
    second = peer_new(rig, 1, &key);
    third = peer_new(rig, 2, &key);
    peer_send_packet(first, &a->key.public, "1", 1);
    peer_expect_packet(a, &key.public, "1", 1);
    peer_send_packet(second, &a->key.public, "2", 1);
    peer_expect_packet(a, &key.public, "2", 1);
    peer_send_packet(second, &b->key.public, "3", 1);
    peer_expect_packet(b, &key.public, "3", 1);
    peer_free(first);
    WAIT(snapshot(rig).dup_client_conns == 2);
    peer_free(second);
    WAIT(snapshot(rig).dup_client_conns == 0);
    peer_expect_nothing(a);
    peer_expect_nothing(b);
    peer_free(third);
    peer_expect_gone(a, &key.public, PEER_GONE_DISCONNECTED);
    peer_expect_gone(b, &key.public, PEER_GONE_DISCONNECTED);
    peer_expect_nothing(a);
    peer_free(a);
    peer_free(b);
}

static void test_duplicates_gone(void **state)
{
    (void)state;
    with_each(duplicates_gone, &defaults);
}

// --- TLS

static bool far_read(SSL *ssl, void *out, size_t len)
{
    uint8_t *at = out;
    size_t n;

    while (len > 0) {
        if (SSL_read_ex(ssl, at, len, &n) != 1)
            return false;
        at += n;
        len -= n;
    }
    return true;
}

// Keys by the hand of both sides, certificates by the relay: frames pass through TLS and back, and
// a new certificate serves new connections.
static void test_tls(void **state)
{
    static struct rig rig;
    static const char request[] = "GET /derp HTTP/1.1\r\nHost: relay\r\nUpgrade: DERP\r\n\r\n";
    struct identity identities[2];
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
    uint16_t port;

    (void)state;
    rig_start(&rig, 2, &defaults);
    relay_listen(&rig.relay, 1, loopback_bind(&port, 0),
                 &(struct relay_port){.service = &rig.service, .tls = true});
    for (int i = 0; i < 2; i++) {
        uint8_t frame[FRAME_SERVER_KEY_BYTES], expected[FRAME_SERVER_KEY_BYTES];
        SSL_CTX *ctx;
        SSL *ssl;
        X509 *seen;
        int fd;

        identity_make(&identities[i], "EC", "relay", NULL);
        ctx = identity_context(&identities[i]);
        relay_set_tls(&rig.relay, 1, ctx);
        SSL_CTX_free(ctx);
        fd = loopback_connect(port, 0);
        ssl = SSL_new(client_ctx);
        SSL_set_fd(ssl, fd);
        assert_int_equal(SSL_connect(ssl), 1);
        seen = SSL_get1_peer_certificate(ssl);
        assert_int_equal(X509_cmp(seen, identities[i].cert), 0);
        X509_free(seen);
        assert_int_equal(SSL_write(ssl, request, sizeof request - 1), sizeof request - 1);
        assert_true(far_read(ssl, frame, sizeof frame));
        frame_put_server_key(expected, &rig.relay.config.key.public);
        assert_memory_equal(frame, expected, sizeof frame);
        WAIT(SUM(&rig, io.tls13_active) == 1);
        SSL_shutdown(ssl);
        SSL_free(ssl);
        close(fd);
        WAIT(SUM(&rig, io.tls13_active) == 0);
        identity_free(&identities[i]);
    }
    SSL_CTX_free(client_ctx);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relays),
        cmocka_unit_test(test_sizes_in_order),
        cmocka_unit_test(test_bytes_one_by_one),
        cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_pings_and_home),
        cmocka_unit_test(test_peer_gone),
        cmocka_unit_test(test_not_here),
        cmocka_unit_test(test_back_on_another_worker),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_duplicates_gone),
        cmocka_unit_test(test_tls),
    };
    return cmocka_run_group_tests(tests, rig_setup, NULL);
}
