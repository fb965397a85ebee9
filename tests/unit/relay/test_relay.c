// SPDX-License-Identifier: BSD-3-Clause
//
// A whole relay with real workers on loopback. Each worker listens on a port of its own, so that a
// test chooses the worker of each client. Clients live in the test's thread and block.
#include "relay/relay.h"

#include "../support/identity.h"
#include "../support/loopback.h"
#include "../support/peer.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/tls.h"
#include "proto/disco.h"
#include "relay/outgoing.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORKERS_MAX 4
#define PATIENCE_MS 20000
#define SMALL_BUFFER 4096
#define STALL_US 300000
#define PREFACE "HTTP/1.1 101 Switching Protocols\r\n\r\n"

static const size_t worker_counts[] = {1, 2, 4};

struct rig {
    struct relay relay;
    struct http_service service;
    bool preface;
    uint16_t ports[WORKERS_MAX];
    size_t descriptors;
};

static void upgrade(struct http_conn *conn, const struct http_request *request)
{
    struct rig *rig = http_data(conn);
    const char *preface = rig->preface ? PREFACE : "";

    if (http_text_is(&request->path, "/stall")) {
        usleep(STALL_US);
        http_respond(conn, &(struct http_response){.status = 204});
        return;
    }
    relay_accept_client(&rig->relay, http_take_stream(conn), preface, strlen(preface),
                        request->ideal_node.data != NULL);
}

// Zeros in `config` mean what a relay has by default.
static void rig_start(struct rig *rig, size_t workers, const struct relay_config *wanted)
{
    struct relay_config config = *wanted;

    memset(rig, 0, sizeof *rig);
    rig->descriptors = descriptors_open();
    rig->service = (struct http_service){.handler = upgrade, .data = rig};
    key_pair_generate(&config.key);
    config.workers = workers;
    config.connections_max = 1000;
    config.queue_packets = config.queue_packets ? config.queue_packets : 1024;
    config.queue_bytes = config.queue_bytes ? config.queue_bytes : RELAY_QUEUE_BYTES_DEFAULT;
    config.waiting_bytes =
        config.waiting_bytes ? config.waiting_bytes : RELAY_WAITING_BYTES_DEFAULT;
    assert_int_equal(relay_start(&rig->relay, &config), 0);
    for (size_t i = 0; i < workers; i++)
        relay_listen(&rig->relay, i, loopback_bind(&rig->ports[i], SMALL_BUFFER), false,
                     &rig->service);
    key_pair_wipe(&config.key);
}

static void rig_stop(struct rig *rig)
{
    const struct key_pair wiped = {.public = {{0}}};

    relay_stop(&rig->relay); // asserts that the directory is empty and that the loops close
    assert_memory_equal(&rig->relay.config.key.private, &wiped.private, sizeof wiped.private);
    assert_int_equal(rig->relay.directory.keys, 0);
    assert_int_equal(rig->relay.directory.dup_conns, 0);
    assert_int_equal(atomic_load(&rig->relay.budget.used), 0);
    assert_int_equal(descriptors_open(), rig->descriptors);
}

static const struct relay_config defaults;

// A counter or gauge of all workers together.
#define SUM(rig, field)                                               \
    ({                                                                \
        int64_t sum_ = 0;                                             \
        for (size_t i_ = 0; i_ < (rig)->relay.config.workers; i_++) { \
            struct worker_snapshot snapshot_;                         \
            relay_worker_snapshot(&(rig)->relay, i_, &snapshot_);     \
            sum_ += counter_read(&snapshot_.field);                   \
        }                                                             \
        sum_;                                                         \
    })

#define WAIT(condition)                                   \
    do {                                                  \
        const uint64_t until_ = clock_ms() + PATIENCE_MS; \
        while (!(condition)) {                            \
            assert_true(clock_ms() < until_);             \
            usleep(1000);                                 \
        }                                                 \
    } while (0)

static struct relay_snapshot snapshot(struct rig *rig)
{
    struct relay_snapshot out;

    relay_snapshot(&rig->relay, &out);
    return out;
}

typedef void (*scenario)(struct rig *rig);

static void with_each(scenario run, const struct relay_config *config)
{
    for (size_t i = 0; i < COUNT(worker_counts); i++) {
        static struct rig rig;

        print_message("%zu workers\n", worker_counts[i]);
        rig_start(&rig, worker_counts[i], config);
        run(&rig);
        rig_stop(&rig);
    }
}

static uint16_t port_of(const struct rig *rig, size_t i)
{
    return rig->ports[i % rig->relay.config.workers];
}

static struct peer *peer_new(struct rig *rig, size_t worker, const struct key_pair *key)
{
    struct peer *peer = malloc(sizeof *peer);

    peer_login(peer, port_of(rig, worker), key);
    return peer;
}

static void peer_free(struct peer *peer)
{
    peer_close(peer);
    free(peer);
}

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

static void expect_at(struct peer *sender, struct peer *at, const char *text)
{
    peer_send_packet(sender, &at->key.public, text, strlen(text));
    peer_expect_packet(at, &sender->key.public, text, strlen(text));
}

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

// --- slow readers

static struct peer *slow_peer_new(struct rig *rig, size_t worker)
{
    struct peer *peer = malloc(sizeof *peer);
    uint8_t frame[512];

    key_pair_generate(&peer->key);
    peer_connect(peer, port_of(rig, worker), SMALL_BUFFER);
    peer_send_request(peer);
    peer_receive_server_key(peer);
    peer_send_bytes(peer, frame, peer_put_client_info(peer, "{\"version\":2}", frame));
    peer_receive_server_info(peer);
    return peer;
}

#define NUMBERED_BYTES 1200

static void send_number(struct peer *from, struct peer *to, uint32_t number)
{
    uint8_t packet[NUMBERED_BYTES] = {0};

    memcpy(packet, &number, sizeof number);
    peer_send_packet(from, &to->key.public, packet, sizeof packet);
}

static void send_numbered(struct peer *from, struct peer *to, uint32_t count)
{
    for (uint32_t i = 1; i <= count; i++)
        send_number(from, to, i);
}

// Also what a flow had too much of on its way to another worker, and what was too late on a busy
// machine.
static int64_t dropped_as_too_many(struct rig *rig)
{
    return SUM(rig, relay.packets_dropped[DROP_QUEUE_HEAD][PACKET_OTHER]) +
           SUM(rig, relay.packets_dropped[DROP_QUEUE_TAIL][PACKET_OTHER]) +
           SUM(rig, relay.packets_dropped[DROP_QUEUE_CODEL][PACKET_OTHER]) +
           SUM(rig, relay.packets_dropped[DROP_QUEUE_AGE][PACKET_OTHER]) +
           SUM(rig, relay.packets_dropped[DROP_QUEUE_MEMORY][PACKET_OTHER]);
}

// The next one, which must be behind `before`.
static uint32_t receive_number(struct peer *peer, uint32_t before)
{
    uint32_t number;

    assert_true(peer_receive(peer));
    assert_int_equal(peer->type, FRAME_RECV_PACKET);
    assert_int_equal(peer->len, KEY_BYTES + NUMBERED_BYTES);
    memcpy(&number, peer->payload + KEY_BYTES, sizeof number);
    assert_true(number > before);
    return number;
}

// Reads up to packet `last`. Returns how many came, in rising order.
static uint32_t receive_numbered(struct peer *peer, uint32_t last)
{
    uint32_t number = 0, n = 0;

    for (; number < last; n++)
        number = receive_number(peer, number);
    return n;
}

#define FLOOD 3000u

// The sender is never held up, the oldest packets go, the newest come.
static void slow_reader(struct rig *rig)
{
    struct peer *from = peer_new(rig, 0, NULL), *slow = slow_peer_new(rig, 1);
    struct peer *other = peer_new(rig, 1, NULL);
    uint32_t got;
    int64_t dropped;

    send_numbered(from, slow, FLOOD);
    expect_at(from, other, "not held up");
    WAIT(SUM(rig, relay.packets_received) == FLOOD + 1);
    send_number(from, slow, FLOOD + 1);
    WAIT(SUM(rig, relay.packets_received) == FLOOD + 2);
    got = receive_numbered(slow, FLOOD + 1);
    dropped = dropped_as_too_many(rig);
    assert_true(SUM(rig, relay.packets_dropped[DROP_QUEUE_HEAD][PACKET_OTHER]) > 0);
    assert_int_equal(SUM(rig, relay.bytes_dropped[DROP_QUEUE_HEAD][PACKET_OTHER]) +
                         SUM(rig, relay.bytes_dropped[DROP_QUEUE_TAIL][PACKET_OTHER]) +
                         SUM(rig, relay.bytes_dropped[DROP_QUEUE_CODEL][PACKET_OTHER]) +
                         SUM(rig, relay.bytes_dropped[DROP_QUEUE_AGE][PACKET_OTHER]),
                     dropped * NUMBERED_BYTES);
    assert_int_equal(got + dropped, FLOOD + 1);
    peer_expect_nothing(slow);
    WAIT(SUM(rig, relay.packets_sent) == got + 1);
    peer_free(from);
    peer_free(slow);
    peer_free(other);
}

static void test_slow_reader(void **state)
{
    static const struct relay_config by_packets = {.queue_packets = 16};
    static const struct relay_config by_bytes = {.queue_bytes = 20000};

    (void)state;
    with_each(slow_reader, &by_packets);
    with_each(slow_reader, &by_bytes);
}

#define SOME 400u // more than sockets and one write take

// Who reads on after a while gets what is new, not what is old.
static void late_reader(struct rig *rig)
{
    struct peer *from = peer_new(rig, 0, NULL), *slow = slow_peer_new(rig, 1);
    uint32_t got;

    send_numbered(from, slow, SOME);
    WAIT(SUM(rig, relay.packets_received) == SOME);
    usleep((QUEUE_AGE_MAX_MS + CHUNK_SPAN_MS) * 1000);
    send_number(from, slow, SOME + 1);
    WAIT(SUM(rig, relay.packets_received) == SOME + 1);
    got = receive_numbered(slow, SOME + 1);
    WAIT(SUM(rig, relay.packets_sent) == got);
    assert_in_range(SUM(rig, relay.packets_dropped[DROP_QUEUE_AGE][PACKET_OTHER]), SOME / 4, SOME);
    assert_int_equal(got + dropped_as_too_many(rig), SOME + 1);
    peer_free(from);
    peer_free(slow);
}

static void test_late_reader(void **state)
{
    (void)state;
    with_each(late_reader, &defaults);
}

// Who reads on all the time, but too slowly, loses single packets before they are old.
static void steady_slow_reader(struct rig *rig)
{
    struct peer *from = peer_new(rig, 0, NULL), *slow = slow_peer_new(rig, 1);
    uint32_t number = 0, got = 0;

    send_numbered(from, slow, SOME);
    for (; number < SOME; got++) {
        number = receive_number(slow, number);
        usleep(2000);
    }
    assert_in_range(SUM(rig, relay.packets_dropped[DROP_QUEUE_CODEL][PACKET_OTHER]), 1, SOME / 4);
    assert_int_equal(got + dropped_as_too_many(rig), SOME);
    peer_free(from);
    peer_free(slow);
}

static void test_steady_slow_reader(void **state)
{
    (void)state;
    with_each(steady_slow_reader, &defaults);
}

// One packet from each that has something to read. Returns how many.
static uint32_t receive_from_each(struct peer *const *peers, size_t count)
{
    struct pollfd sockets[64];
    uint32_t got = 0;

    assert_true(count <= COUNT(sockets));
    for (size_t i = 0; i < count; i++)
        sockets[i] = (struct pollfd){.fd = peers[i]->fd, .events = POLLIN};
    if (poll(sockets, count, 10) <= 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (sockets[i].revents) {
            receive_number(peers[i], 0);
            got++;
        }
    }
    return got;
}

// Too many slow readers for the memory of a worker: packets that they do not read are dropped, but
// nobody is closed for it, and who reads loses nothing.
static void many_slow_readers(struct rig *rig)
{
    struct peer *from = peer_new(rig, 0, NULL), *reads = peer_new(rig, 1, NULL), *slow[24];
    int64_t got;

    for (size_t i = 0; i < COUNT(slow); i++)
        slow[i] = slow_peer_new(rig, 1);
    for (size_t i = 0; i < COUNT(slow); i++) {
        send_numbered(from, slow[i], SOME);
        expect_at(from, reads, "read at once");
    }
    WAIT(SUM(rig, relay.packets_received) == COUNT(slow) * (SOME + 1));
    assert_true(SUM(rig, relay.packets_dropped[DROP_QUEUE_MEMORY][PACKET_OTHER]) > 0);
    assert_true(dropped_as_too_many(rig) > (int64_t)(COUNT(slow) * SOME / 2));
    for (got = 0; got + dropped_as_too_many(rig) < (int64_t)(COUNT(slow) * SOME);)
        got += receive_from_each(slow, COUNT(slow));
    assert_int_equal(SUM(rig, relay.client_ends[CLIENT_END_MEMORY]), 0);
    assert_int_equal(SUM(rig, relay.packets_sent), got + COUNT(slow));
    for (size_t i = 0; i < COUNT(slow); i++)
        peer_free(slow[i]);
    peer_free(from);
    peer_free(reads);
}

static void test_many_slow_readers(void **state)
{
    static const struct relay_config config = {.waiting_bytes = 2 * 1024 * 1024};

    (void)state;
    with_each(many_slow_readers, &config);
}

static void write_timeout(struct rig *rig)
{
    struct peer *from = peer_new(rig, 0, NULL), *slow = slow_peer_new(rig, 1);
    const uint64_t start_ms = clock_ms();

    send_numbered(from, slow, FLOOD);
    WAIT(SUM(rig, relay.write_timeouts) == 1);
    assert_true(clock_ms() - start_ms >= 300);
    assert_int_equal(SUM(rig, relay.client_ends[CLIENT_END_WRITE_TIMEOUT]), 1);
    assert_true(SUM(rig, relay.packets_dropped[DROP_WRITE_ERROR][PACKET_OTHER]) > 0);
    WAIT(snapshot(rig).clients == 1);
    peer_expect_nothing(from); // the slow one has sent nothing, so nobody is told
    peer_free(from);
    peer_free(slow);
}

static void test_write_timeout(void **state)
{
    static const struct relay_config config = {.write_timeout_ms = 300};

    (void)state;
    with_each(write_timeout, &config);
}

// Who reads slowly but steadily is not cut off.
static void slow_but_steady(struct rig *rig)
{
    struct peer *from = peer_new(rig, 0, NULL), *slow = slow_peer_new(rig, 1);
    const uint64_t until = clock_ms() + 1200;
    uint8_t bytes[512];

    send_numbered(from, slow, FLOOD);
    while (clock_ms() < until) {
        assert_true(recv(slow->fd, bytes, sizeof bytes, 0) > 0);
        send_number(from, slow, FLOOD + 1); // what waits from before is too old at the end
        usleep(2000);
    }
    assert_int_equal(SUM(rig, relay.write_timeouts), 0);
    assert_int_equal(SUM(rig, relay.connections), 2);
    peer_free(from);
    loopback_reset(slow->fd);
    free(slow);
}

static void test_slow_but_steady(void **state)
{
    static const struct relay_config config = {.write_timeout_ms = 300};

    (void)state;
    with_each(slow_but_steady, &config);
}

// --- refusals

static const struct {
    const char *name;
    uint8_t type;
    uint32_t length, sent;
} bad_frames[] = {
    {"SendPacket without a key", FRAME_SEND_PACKET, KEY_BYTES - 1, 0},
    {"SendPacket that is too long", FRAME_SEND_PACKET, FRAME_SEND_MAX_BYTES + 1, 0},
    {"SendPacket of 4 GiB", FRAME_SEND_PACKET, UINT32_MAX, 100},
    {"short ping", FRAME_PING, FRAME_PING_BYTES - 1, 7},
    {"long ping", FRAME_PING, FRAME_PING_MAX_BYTES + 1, 0},
    {"NotePreferred without a byte", FRAME_NOTE_PREFERRED, 0, 0},
    {"NotePreferred of two bytes", FRAME_NOTE_PREFERRED, 2, 2},
    {"ForwardPacket", FRAME_FORWARD_PACKET, 100, 100},
    {"WatchConns", FRAME_WATCH_CONNS, 0, 0},
    {"ClosePeer", FRAME_CLOSE_PEER, KEY_BYTES, KEY_BYTES},
};

static void bad_frame(struct rig *rig, struct peer *peer, size_t i, size_t split)
{
    uint8_t bytes[FRAME_HEADER_BYTES + 100] = {0};
    const size_t len = FRAME_HEADER_BYTES + bad_frames[i].sent;

    frame_put_header(bytes, bad_frames[i].type, bad_frames[i].length);
    peer_send_bytes(peer, bytes, split);
    if (split > 0)
        WAIT(SUM(rig, io.streams) == 1);
    peer_send_bytes(peer, bytes + split, len - split);
    peer_expect_end(peer);
}

static void test_bad_frames(void **state)
{
    static struct rig rig;

    (void)state;
    rig_start(&rig, 1, &defaults);
    for (size_t i = 0; i < COUNT(bad_frames); i++) {
        for (size_t split = 0; split < FRAME_HEADER_BYTES; split += 3) {
            struct peer *peer = peer_new(&rig, 0, NULL);

            print_message("%s\n", bad_frames[i].name);
            bad_frame(&rig, peer, i, split);
            peer_free(peer);
            WAIT(SUM(&rig, io.streams) == 0);
        }
    }
    assert_int_equal(SUM(&rig, relay.client_ends[CLIENT_END_BAD_FRAME]), 14);
    assert_int_equal(SUM(&rig, relay.client_ends[CLIENT_END_NOT_MESH]), 6);
    rig_stop(&rig);
}

static const struct {
    const char *name, *json;
    enum login_result result;
} bad_logins[] = {
    {"no JSON", "hello", LOGIN_BAD_JSON},
    {"JSON and more", "{\"version\":2}{}", LOGIN_BAD_JSON},
    {"mesh key that is none", "{\"meshKey\":\"abc\"}", LOGIN_BAD_MESH_KEY},
};

static struct peer *before_login(struct rig *rig, size_t worker)
{
    struct peer *peer = malloc(sizeof *peer);

    key_pair_generate(&peer->key);
    peer_connect(peer, port_of(rig, worker), 0);
    peer_send_request(peer);
    peer_receive_server_key(peer);
    return peer;
}

static void send_and_expect_end(struct peer *peer, const void *bytes, size_t len)
{
    peer_send_bytes(peer, bytes, len);
    peer_expect_end(peer);
    peer_free(peer);
}

static void test_bad_logins(void **state)
{
    static struct rig rig;
    uint8_t frame[FRAME_CLIENT_INFO_MAX_BYTES];
    struct peer *peer;
    size_t len;

    (void)state;
    rig_start(&rig, 1, &defaults);
    for (size_t i = 0; i < COUNT(bad_logins); i++) {
        print_message("%s\n", bad_logins[i].name);
        peer = before_login(&rig, 0);
        len = peer_put_client_info(peer, bad_logins[i].json, frame);
        send_and_expect_end(peer, frame, len);
        WAIT(SUM(&rig, relay.login_refused[bad_logins[i].result]) > 0);
    }
    peer = before_login(&rig, 0);
    len = peer_put_client_info(peer, "{}", frame);
    frame[len - 1] ^= 1;
    send_and_expect_end(peer, frame, len);
    WAIT(SUM(&rig, relay.login_refused[LOGIN_BOX_NOT_OPENED]) == 1);
    peer = before_login(&rig, 0);
    len = peer_put_client_info(peer, "{}", frame);
    memset(frame + FRAME_HEADER_BYTES, 0, KEY_BYTES);
    send_and_expect_end(peer, frame, len);
    WAIT(SUM(&rig, relay.login_refused[LOGIN_ZERO_KEY]) == 1);
    frame_put_header(frame, FRAME_CLIENT_INFO, 55);
    send_and_expect_end(before_login(&rig, 0), frame, FRAME_HEADER_BYTES);
    frame_put_header(frame, FRAME_CLIENT_INFO, FRAME_CLIENT_INFO_MAX_BYTES + 1);
    send_and_expect_end(before_login(&rig, 0), frame, FRAME_HEADER_BYTES);
    frame_put_header(frame, FRAME_PING, 8);
    send_and_expect_end(before_login(&rig, 0), frame, FRAME_HEADER_BYTES);
    WAIT(SUM(&rig, relay.client_ends[CLIENT_END_BAD_FRAME]) == 3);
    assert_int_equal(SUM(&rig, relay.client_ends[CLIENT_END_LOGIN_REFUSED]), 5);
    assert_int_equal(SUM(&rig, relay.logins_pending), 0);
    assert_int_equal(snapshot(&rig).clients, 0);
    rig_stop(&rig);
}

// --- resets

enum stage {
    STAGE_CONNECTED,
    STAGE_IN_REQUEST,
    STAGE_UPGRADED,
    STAGE_IN_CLIENT_INFO,
    STAGE_INFO_SENT,
    STAGE_LOGGED_IN,
    STAGE_IN_HEADER,
    STAGE_IN_PACKET,
    STAGE_SENT,
    STAGES
};

static void go_to(struct rig *rig, struct peer *peer, size_t worker, enum stage stage)
{
    uint8_t frame[512];
    size_t len;

    key_pair_generate(&peer->key);
    peer_connect(peer, port_of(rig, worker), 0);
    if (stage == STAGE_IN_REQUEST)
        peer_send_bytes(peer, "GET /derp HT", 12);
    if (stage <= STAGE_IN_REQUEST)
        return;
    peer_send_request(peer);
    peer_receive_server_key(peer);
    len = peer_put_client_info(peer, "{\"version\":2}", frame);
    if (stage == STAGE_UPGRADED)
        return;
    peer_send_bytes(peer, frame, stage == STAGE_IN_CLIENT_INFO ? len / 2 : len);
    if (stage <= STAGE_INFO_SENT)
        return;
    peer_receive_server_info(peer);
}

static void send_part(struct peer *peer, const struct key *to, enum stage stage)
{
    uint8_t frame[512];
    const size_t len = peer_put_packet(frame, to, "123", 3);

    if (stage >= STAGE_IN_HEADER)
        peer_send_bytes(peer, frame,
                        stage == STAGE_IN_HEADER   ? 3
                        : stage == STAGE_IN_PACKET ? len - 2
                                                   : len);
}

static void resets(struct rig *rig)
{
    struct peer *witness = peer_new(rig, 0, NULL), *peer = malloc(sizeof *peer);

    for (int i = 0; i < 4 * STAGES; i++) {
        const enum stage stage = (enum stage)(i % STAGES);

        go_to(rig, peer, (size_t)i, stage);
        send_part(peer, &witness->key.public, stage);
        if (stage == STAGE_SENT)
            peer_expect_packet(witness, &peer->key.public, "123", 3);
        loopback_reset(peer->fd);
        if (stage == STAGE_SENT)
            peer_expect_gone(witness, &peer->key.public, PEER_GONE_DISCONNECTED);
    }
    WAIT(SUM(rig, io.streams) == 1 && snapshot(rig).clients == 1);
    assert_int_equal(SUM(rig, relay.connections), 1);
    assert_int_equal(SUM(rig, relay.logins_pending), 0);
    peer_expect_nothing(witness);
    peer_free(witness);
    free(peer);
}

static void test_resets(void **state)
{
    (void)state;
    with_each(resets, &defaults);
}

static void reset_while_flooded(struct rig *rig)
{
    struct peer *from = peer_new(rig, 0, NULL), *slow = slow_peer_new(rig, 1);

    send_numbered(from, slow, 500);
    loopback_reset(slow->fd);
    send_numbered(from, slow, 500);
    WAIT(snapshot(rig).clients == 1);
    peer_expect_nothing(from);
    WAIT(SUM(rig, relay.packets_received) == 1000);
    // Each packet was sent, or dropped for one reason.
    WAIT(SUM(rig, relay.packets_sent) + SUM(rig, relay.packets_dropped[0][PACKET_OTHER]) +
             SUM(rig, relay.packets_dropped[DROP_GONE_DISCONNECTED][PACKET_OTHER]) +
             SUM(rig, relay.packets_dropped[DROP_QUEUE_HEAD][PACKET_OTHER]) +
             SUM(rig, relay.packets_dropped[DROP_QUEUE_TAIL][PACKET_OTHER]) +
             SUM(rig, relay.packets_dropped[DROP_WRITE_ERROR][PACKET_OTHER]) ==
         1000);
    peer_free(from);
    free(slow);
}

static void test_reset_while_flooded(void **state)
{
    (void)state;
    with_each(reset_while_flooded, &defaults);
}

// --- stopping

static void test_stop_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(worker_counts); i++) {
        static struct rig rig;

        rig_start(&rig, worker_counts[i], &defaults);
        rig_stop(&rig);
    }
}

// Who understands Restarting is told; what waits in the queues still comes; nobody is told that
// peers are gone.
static void test_stop_tells(void **state)
{
    static const struct key_pair *const no_key;
    static struct rig rig;
    struct peer *knows, *old, *pending;
    uint8_t frame[512];

    (void)state;
    rig_start(&rig, 2, &defaults);
    knows = peer_new(&rig, 0, no_key);
    old = malloc(sizeof *old);
    key_pair_generate(&old->key);
    peer_connect(old, rig.ports[1], 0);
    peer_send_request(old);
    peer_receive_server_key(old);
    peer_send_bytes(old, frame, peer_put_client_info(old, "{\"can_ack_pings\":true}", frame));
    peer_receive_server_info(old);
    pending = before_login(&rig, 1);
    peer_send_packet(knows, &old->key.public, "last", 4);
    peer_expect_packet(old, &knows->key.public, "last", 4);
    peer_send_packet(old, &knows->key.public, "words", 5);
    peer_expect_packet(knows, &old->key.public, "words", 5);
    rig.descriptors += 3;
    rig_stop(&rig);
    assert_true(peer_receive(knows));
    assert_int_equal(knows->type, FRAME_RESTARTING);
    assert_int_equal(knows->len, 8);
    peer_expect_end(knows);
    peer_expect_end(old);
    peer_expect_end(pending);
    peer_free(knows);
    peer_free(old);
    peer_free(pending);
}

struct talker {
    struct rig *rig;
    size_t index;
    struct peer *peer;
    const struct key *others;
    size_t count;
    atomic_bool *quit;
};

// Sends to everyone and reads what comes until the relay ends the connection.
static void *talk(void *data)
{
    struct talker *talker = data;
    struct peer *peer = talker->peer;
    uint8_t frame[1400], drain[16384];
    unsigned seed = (unsigned)talker->index;

    for (;;) {
        const struct key *to = &talker->others[(size_t)rand_r(&seed) % talker->count];
        const uint8_t packet[1000] = {0};
        const size_t len = peer_put_packet(frame, to, packet, (size_t)rand_r(&seed) % 1000);
        ssize_t n;

        if (send(peer->fd, frame, len, MSG_NOSIGNAL) < 0)
            break;
        while ((n = recv(peer->fd, drain, sizeof drain, MSG_DONTWAIT)) > 0)
            ;
        if (n == 0 || errno != EAGAIN)
            break;
    }
    return NULL;
}

// Connects and leaves again and again while the relay goes.
static void *come_and_go(void *data)
{
    struct talker *talker = data;
    unsigned seed = 77;

    while (!atomic_load(talker->quit)) {
        struct peer *peer = talker->peer;

        go_to(talker->rig, peer, (size_t)rand_r(&seed), (enum stage)(rand_r(&seed) % STAGES));
        loopback_reset(peer->fd);
    }
    return NULL;
}

#define TALKERS 6

static void stop_under_load(size_t workers, unsigned after_ms)
{
    static struct rig rig;
    struct talker talkers[TALKERS], visitor;
    struct key keys[TALKERS];
    pthread_t threads[TALKERS], visiting;
    atomic_bool quit = false;

    rig_start(&rig, workers, &defaults);
    for (size_t i = 0; i < TALKERS; i++) {
        talkers[i] = (struct talker){.index = i, .others = keys, .count = TALKERS};
        // The last two are one key, twice.
        talkers[i].peer = peer_new(&rig, i, i == TALKERS - 1 ? &talkers[i - 1].peer->key : NULL);
        keys[i] = talkers[i].peer->key.public;
    }
    visitor = (struct talker){.rig = &rig, .peer = malloc(sizeof(struct peer)), .quit = &quit};
    for (size_t i = 0; i < TALKERS; i++)
        pthread_create(&threads[i], NULL, talk, &talkers[i]);
    pthread_create(&visiting, NULL, come_and_go, &visitor);
    usleep(after_ms * 1000);
    atomic_store(&quit, true);
    pthread_join(visiting, NULL);
    relay_stop(&rig.relay);
    for (size_t i = 0; i < TALKERS; i++) {
        pthread_join(threads[i], NULL);
        peer_free(talkers[i].peer);
    }
    free(visitor.peer);
    assert_int_equal(rig.relay.directory.keys, 0);
    assert_int_equal(rig.relay.directory.dup_keys, 0);
    assert_int_equal(rig.relay.directory.dup_conns, 0);
    assert_int_equal(atomic_load(&rig.relay.budget.used), 0);
    assert_int_equal(descriptors_open(), rig.descriptors);
}

static void test_stop_under_load(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(worker_counts); i++) {
        stop_under_load(worker_counts[i], 5);
        stop_under_load(worker_counts[i], 500);
    }
}

// The worker does nothing else for STALL_US.
static void stall(const struct rig *rig, size_t worker)
{
    static const char request[] = "GET /stall HTTP/1.1\r\nHost: a\r\n\r\n";
    struct peer *peer = malloc(sizeof *peer);

    peer_connect(peer, port_of(rig, worker), 0);
    peer_send_bytes(peer, request, sizeof request - 1);
    usleep(STALL_US / 2);
    peer_close(peer);
    free(peer);
}

// A flood from one worker to another that is far behind: others on the same way lose nothing.
struct flooder {
    struct peer *peer;
    const struct key *to[4];
    atomic_bool *stop;
};

static void *flood(void *data)
{
    const struct flooder *flooder = data;
    static const uint8_t packet[1000];
    uint8_t frames[16384];
    size_t len = 0;

    for (size_t i = 0; len + 1100 <= sizeof frames; i++)
        len += peer_put_packet(frames + len, flooder->to[i % COUNT(flooder->to)], packet,
                               sizeof packet);
    while (!atomic_load(flooder->stop))
        peer_send_bytes(flooder->peer, frames, len);
    return NULL;
}

static void test_a_flood_pushes_out_nobody_else(void **state)
{
    static struct rig rig;
    struct peer *stuck[COUNT(((struct flooder *)0)->to)], *from, *to;
    struct flooder flooders[2] = {{0}};
    pthread_t threads[COUNT(flooders)];
    atomic_bool stop = false;

    (void)state;
    rig_start(&rig, 2, &defaults);
    from = peer_new(&rig, 0, NULL);
    to = peer_new(&rig, 1, NULL);
    for (size_t i = 0; i < COUNT(stuck); i++)
        stuck[i] = slow_peer_new(&rig, 1);
    for (size_t i = 0; i < COUNT(flooders); i++) {
        flooders[i].peer = peer_new(&rig, 0, NULL);
        flooders[i].stop = &stop;
        for (size_t k = 0; k < COUNT(stuck); k++)
            flooders[i].to[k] = &stuck[k]->key.public;
        pthread_create(&threads[i], NULL, flood, &flooders[i]);
    }
    for (int i = 0; i < 5; i++) {
        stall(&rig, 1);
        expect_at(from, to, "in spite of the flood");
    }
    assert_true(SUM(&rig, relay.packets_dropped[DROP_QUEUE_TAIL][PACKET_OTHER]) > 0);
    atomic_store(&stop, true);
    for (size_t i = 0; i < COUNT(flooders); i++) {
        pthread_join(threads[i], NULL);
        peer_free(flooders[i].peer);
    }
    for (size_t i = 0; i < COUNT(stuck); i++)
        peer_free(stuck[i]);
    peer_free(from);
    peer_free(to);
    rig_stop(&rig);
}

// A reader that takes nothing holds up the stop for a bounded time only.
static void test_stop_with_a_slow_reader(void **state)
{
    static struct rig rig;
    struct peer *from, *slow;
    uint64_t start_ms;

    (void)state;
    rig_start(&rig, 2, &defaults);
    from = peer_new(&rig, 0, NULL);
    slow = slow_peer_new(&rig, 1);
    send_numbered(from, slow, 1000);
    peer_expect_nothing(from);
    start_ms = clock_ms();
    rig.descriptors += 2;
    rig_stop(&rig);
    assert_true(clock_ms() - start_ms < 10000);
    peer_free(from);
    peer_free(slow);
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
    relay_listen(&rig.relay, 1, loopback_bind(&port, 0), true, &rig.service);
    for (int i = 0; i < 2; i++) {
        uint8_t frame[FRAME_SERVER_KEY_BYTES], expected[FRAME_SERVER_KEY_BYTES];
        SSL_CTX *ctx;
        SSL *ssl;
        X509 *seen;
        int fd;

        identity_make(&identities[i], "EC", "relay", NULL);
        ctx = tls_context_new(
            &(struct tls_identity){.leaf = identities[i].cert, .key = identities[i].key});
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

static int group_setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); // as the program does
    return sodium_init() < 0;
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
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_duplicates_gone),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_late_reader),
        cmocka_unit_test(test_steady_slow_reader),
        cmocka_unit_test(test_many_slow_readers),
        cmocka_unit_test(test_write_timeout),
        cmocka_unit_test(test_slow_but_steady),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_bad_logins),
        cmocka_unit_test(test_resets),
        cmocka_unit_test(test_reset_while_flooded),
        cmocka_unit_test(test_stop_at_once),
        cmocka_unit_test(test_stop_tells),
        cmocka_unit_test(test_a_flood_pushes_out_nobody_else),
        cmocka_unit_test(test_stop_under_load),
        cmocka_unit_test(test_stop_with_a_slow_reader),
        cmocka_unit_test(test_tls),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
