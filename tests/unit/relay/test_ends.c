// SPDX-License-Identifier: BSD-3-Clause
//
// A whole relay: how connections end, by the relay, the client, or both at once.
#include "../support/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

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

// --- stopping

static void test_stop_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
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
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        stop_under_load(worker_counts[i], 5);
        stop_under_load(worker_counts[i], 500);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_frames), cmocka_unit_test(test_bad_logins),
        cmocka_unit_test(test_resets),     cmocka_unit_test(test_stop_at_once),
        cmocka_unit_test(test_stop_tells), cmocka_unit_test(test_stop_under_load),
    };
    return cmocka_run_group_tests(tests, rig_setup, NULL);
}
