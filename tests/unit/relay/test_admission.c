// SPDX-License-Identifier: BSD-3-Clause
//
// Clients that are asked about: the test is who is asked, and answers when it likes.
#include "relay/relay.h"

#include "../support/loopback.h"
#include "../support/peer.h"
#include "base/clock.h"
#include "relay/admission.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENT_INFO "{\"version\":2,\"CanAckPings\":true}"
#define PATIENCE_MS 10000
#define RECHECK_MS 300
#define STALL_MS 4000 // that a busy machine may add
#define CROWD 8

struct desk {
    struct admission admission;
    pthread_mutex_t lock;
    struct client_handle last, last_cancelled, asked_about[2 * CROWD];
    uint64_t asked_ms[2 * CROWD];
    struct key key;
    char address[INET6_ADDRSTRLEN];
    int asked, cancelled;
};

static struct relay relay;
static uint16_t port;

static void on_ask(void *data, const struct client_handle *client, const struct key *key,
                   const char *address)
{
    struct desk *desk = data;

    pthread_mutex_lock(&desk->lock);
    desk->last = *client;
    desk->asked_about[desk->asked % (2 * CROWD)] = *client;
    desk->asked_ms[desk->asked % (2 * CROWD)] = clock_ms();
    desk->key = *key;
    strcpy(desk->address, address);
    desk->asked++;
    pthread_mutex_unlock(&desk->lock);
}

static void on_cancel(void *data, const struct client_handle *client)
{
    struct desk *desk = data;

    pthread_mutex_lock(&desk->lock);
    desk->last_cancelled = *client;
    desk->cancelled++;
    pthread_mutex_unlock(&desk->lock);
}

static struct desk desk = {{&desk, on_ask, on_cancel}, .lock = PTHREAD_MUTEX_INITIALIZER};

static void upgrade(struct http_conn *conn, const struct http_request *request)
{
    (void)request;
    relay_accept_client(&relay, http_take_stream(conn), "", 0, false);
}

static void start(uint32_t recheck_ms)
{
    static const struct http_service service = {.handler = upgrade};
    struct relay_config config = {.workers = 1,
                                  .connections_max = 10,
                                  .queue_packets = 16,
                                  .queue_bytes = RELAY_QUEUE_BYTES_DEFAULT,
                                  .waiting_bytes = RELAY_WAITING_BYTES_DEFAULT,
                                  .admission = &desk.admission,
                                  .recheck_ms = recheck_ms};

    desk.asked = desk.cancelled = 0;
    key_pair_generate(&config.key);
    assert_int_equal(relay_start(&relay, &config), 0);
    relay_listen(&relay, 0, loopback_bind(&port, 0), &(struct relay_port){.service = &service});
}

static int read_locked(const int *number)
{
    int value;

    pthread_mutex_lock(&desk.lock);
    value = *number;
    pthread_mutex_unlock(&desk.lock);
    return value;
}

static void await(const int *number, int least)
{
    const uint64_t until_ms = clock_ms() + PATIENCE_MS;

    while (read_locked(number) < least) {
        assert_true(clock_ms() < until_ms);
        usleep(1000);
    }
}

static int64_t ends(enum client_end end)
{
    struct worker_snapshot snapshot;

    relay_worker_snapshot(&relay, 0, &snapshot);
    return counter_read(&snapshot.relay.client_ends[end]);
}

static void answer(enum admission_verdict verdict)
{
    relay_admit(&relay, &desk.last, verdict);
}

// Up to ClientInfo, behind which `more` is sent in one write.
static struct peer *knock(const void *more, size_t len)
{
    struct peer *peer = malloc(sizeof *peer);
    const int asked = read_locked(&desk.asked);
    uint8_t *frames = malloc(512 + len);
    size_t n;

    key_pair_generate(&peer->key);
    peer_connect(peer, port, 0);
    peer_send_request(peer);
    peer_receive_server_key(peer);
    n = peer_put_client_info(peer, CLIENT_INFO, frames);
    if (len > 0)
        memcpy(frames + n, more, len);
    peer_send_bytes(peer, frames, n + len);
    free(frames);
    await(&desk.asked, asked + 1);
    assert_true(key_equal(&desk.key, &peer->key.public));
    assert_string_equal(desk.address, "127.0.0.1");
    return peer;
}

static void leave(struct peer *peer)
{
    peer_close(peer);
    free(peer);
}

static void test_verdicts(void **state)
{
    struct peer *peer;

    (void)state;
    start(0);
    peer = knock(NULL, 0);
    answer(ADMISSION_ALLOWED);
    peer_receive_server_info(peer);
    peer_expect_nothing(peer);
    leave(peer);
    for (int i = 0; i < 2; i++) {
        peer = knock(NULL, 0);
        answer(i ? ADMISSION_REFUSED : ADMISSION_UNANSWERED);
        peer_expect_end(peer);
        assert_int_equal(ends(CLIENT_END_NOT_ADMITTED), i + 1);
        leave(peer);
    }
    relay_stop(&relay);
    assert_int_equal(desk.cancelled, 0);
}

// What is sent behind ClientInfo is served once the client is in, in order, and also what comes
// later while it waits.
static void test_frames_behind(void **state)
{
    uint8_t frames[3 * 600];
    struct peer *peer, *other;
    size_t len;

    (void)state;
    start(0);
    other = knock(NULL, 0);
    answer(ADMISSION_ALLOWED);
    peer_receive_server_info(other);
    len = peer_put_packet(frames, &other->key.public, "one", 3);
    len += peer_put_packet(frames + len, &other->key.public, "two", 3);
    len += peer_put_packet(frames + len, &other->key.public, "three", 5);
    peer = knock(frames, len - 20); // the last in two pieces
    peer_send_bytes(peer, frames + len - 20, 20);
    usleep(50000);
    peer_expect_nothing(other);
    answer(ADMISSION_ALLOWED);
    peer_receive_server_info(peer);
    peer_expect_packet(other, &peer->key.public, "one", 3);
    peer_expect_packet(other, &peer->key.public, "two", 3);
    peer_expect_packet(other, &peer->key.public, "three", 5);
    leave(peer);
    leave(other);
    relay_stop(&relay);
}

#define MANY 15
#define LARGE 8000

// A member that comes back has more waiting than is kept: nothing of it is lost, whether it was
// sent with ClientInfo or while the question is open.
static void test_much_behind(void **state)
{
    static uint8_t frames[MANY * (LARGE + 64)], payload[LARGE];
    struct peer *peer, *other;
    size_t len = 0, first = 0;

    (void)state;
    start(0);
    other = knock(NULL, 0);
    answer(ADMISSION_ALLOWED);
    peer_receive_server_info(other);
    for (uint8_t i = 0; i < MANY; i++) {
        memset(payload, i, sizeof payload);
        len += peer_put_packet(frames + len, &other->key.public, payload, sizeof payload);
        if (len <= 60 * 1024)
            first = len;
    }
    assert_true(first > ADMISSION_KEPT_MAX_BYTES);
    peer = knock(frames, first);
    peer_send_bytes(peer, frames + first, len - first);
    usleep(50000);
    peer_expect_nothing(other);
    answer(ADMISSION_ALLOWED);
    peer_receive_server_info(peer);
    for (uint8_t i = 0; i < MANY; i++) {
        memset(payload, i, sizeof payload);
        peer_expect_packet(other, &peer->key.public, payload, sizeof payload);
    }
    leave(peer);
    leave(other);
    relay_stop(&relay);
}

// What comes later than ClientInfo is not read before the verdict, and takes no memory here.
static void test_much_behind_is_not_read(void **state)
{
    static const uint8_t packet[LARGE];
    struct worker_snapshot snapshot;
    struct peer *peer, *other;

    (void)state;
    start(0);
    other = knock(NULL, 0);
    answer(ADMISSION_ALLOWED);
    peer_receive_server_info(other);
    peer = knock(NULL, 0);
    for (int i = 0; i < MANY; i++)
        peer_send_packet(peer, &other->key.public, packet, sizeof packet);
    usleep(50000);
    relay_worker_snapshot(&relay, 0, &snapshot);
    assert_true(counter_read(&snapshot.relay.waiting_bytes) < LARGE);
    answer(ADMISSION_ALLOWED);
    peer_receive_server_info(peer);
    for (int i = 0; i < MANY; i++)
        peer_expect_packet(other, &peer->key.public, packet, sizeof packet);
    leave(peer);
    leave(other);
    relay_stop(&relay);
}

// What came behind ClientInfo is charged, too.
static void test_frames_behind_are_charged(void **state)
{
    static uint8_t frame[16 * 1024];
    const struct server_limits limits = {10 * sizeof frame, sizeof frame / 2};
    struct worker_snapshot snapshot;
    struct peer *peer;

    (void)state;
    start(0);
    relay_set_limits(&relay, &limits);
    frame_put_header(frame, 0x7f, sizeof frame - FRAME_HEADER_BYTES);
    peer = knock(frame, sizeof frame);
    answer(ADMISSION_ALLOWED);
    peer_receive_server_info(peer);
    peer_expect_nothing(peer);
    relay_worker_snapshot(&relay, 0, &snapshot);
    assert_true(counter_read(&snapshot.relay.rate_pauses) > 0);
    leave(peer);
    relay_stop(&relay);
}

// Nothing behind a verdict: whoever comes late asks for nobody.
static void test_goes_while_asked(void **state)
{
    struct peer *peer;

    (void)state;
    start(0);
    leave(knock(NULL, 0));
    await(&desk.cancelled, 1);
    assert_true(client_handle_equal(&desk.last_cancelled, &desk.last));
    answer(ADMISSION_ALLOWED); // for a slot that has had its time
    peer = knock(NULL, 0);
    relay_stop(&relay); // with one that is asked about
    assert_int_equal(desk.cancelled, 2);
    assert_true(client_handle_equal(&desk.last_cancelled, &desk.last));
    peer_expect_end(peer);
    leave(peer);
}

static void test_recheck(void **state)
{
    struct peer *peer;
    uint64_t begun_ms;

    (void)state;
    start(RECHECK_MS);
    peer = knock(NULL, 0);
    answer(ADMISSION_ALLOWED);
    peer_receive_server_info(peer);
    begun_ms = clock_ms();
    await(&desk.asked, 2);
    assert_true(clock_ms() - begun_ms < 2 * RECHECK_MS + STALL_MS);
    usleep(2 * RECHECK_MS * 1000);
    assert_int_equal(read_locked(&desk.asked), 2); // one question at a time
    answer(ADMISSION_ALLOWED);
    await(&desk.asked, 3);
    answer(ADMISSION_UNANSWERED);
    await(&desk.asked, 4);
    peer_expect_nothing(peer);
    answer(ADMISSION_REFUSED);
    peer_expect_end(peer);
    assert_int_equal(ends(CLIENT_END_WITHDRAWN), 1);
    leave(peer);
    relay_stop(&relay);
    assert_int_equal(desk.cancelled, 0);
}

// Lets a crowd in at one time.
static void enter_together(struct peer *peers[static CROWD])
{
    for (size_t i = 0; i < CROWD; i++)
        peers[i] = knock(NULL, 0);
    for (size_t i = 0; i < CROWD; i++)
        relay_admit(&relay, &desk.asked_about[i], ADMISSION_ALLOWED);
    for (size_t i = 0; i < CROWD; i++)
        peer_receive_server_info(peers[i]);
}

// All are asked about once more, and not at one time: eight moments of a second lie within a tenth
// of it once in ten million times.
static void assert_asked_one_by_one(uint64_t begun_ms)
{
    uint64_t first_ms, last_ms;

    await(&desk.asked, 2 * CROWD);
    first_ms = desk.asked_ms[CROWD];
    last_ms = desk.asked_ms[2 * CROWD - 1];
    assert_true(first_ms >= begun_ms && last_ms - begun_ms < 1000 + STALL_MS);
    assert_true(last_ms - first_ms >= 100);
}

static void leave_together(struct peer *peers[static CROWD])
{
    for (size_t i = 0; i < CROWD; i++) {
        relay_admit(&relay, &desk.asked_about[CROWD + i], ADMISSION_ALLOWED);
        leave(peers[i]);
    }
    relay_stop(&relay);
    assert_int_equal(desk.asked, 2 * CROWD);
}

static void test_recheck_of_a_crowd(void **state)
{
    struct peer *peers[CROWD];

    (void)state;
    start(1000);
    enter_together(peers);
    assert_asked_one_by_one(clock_ms());
    leave_together(peers);
}

// Where nobody is asked about again by and by.
static void test_recall(void **state)
{
    struct peer *peers[CROWD];
    uint64_t begun_ms;

    (void)state;
    start(0);
    enter_together(peers);
    usleep(50000);
    assert_int_equal(read_locked(&desk.asked), CROWD);
    begun_ms = clock_ms();
    relay_recheck(&relay, 1000);
    assert_asked_one_by_one(begun_ms);
    leave_together(peers);
}

// Who is up to be asked about later is asked about sooner, and who would be sooner, no later.
static void test_recall_before_recheck(void **state)
{
    struct peer *peer;
    uint64_t begun_ms;

    (void)state;
    start(3600 * 1000);
    peer = knock(NULL, 0);
    answer(ADMISSION_ALLOWED);
    peer_receive_server_info(peer);
    begun_ms = clock_ms();
    relay_recheck(&relay, 300);
    relay_recheck(&relay, 3600 * 1000);
    await(&desk.asked, 2);
    assert_true(clock_ms() - begun_ms < 300 + STALL_MS);
    answer(ADMISSION_REFUSED);
    peer_expect_end(peer);
    assert_int_equal(ends(CLIENT_END_WITHDRAWN), 1);
    leave(peer);
    relay_stop(&relay);
}

// Whoever is asked is stuck.
static void test_limit(void **state)
{
    const uint64_t begun_ms = clock_ms();
    struct peer *peer;

    (void)state;
    start(0);
    peer = knock(NULL, 0);
    peer_expect_end(peer);
    assert_in_range(clock_ms() - begun_ms, ADMISSION_LIMIT_MS - 200, ADMISSION_LIMIT_MS + STALL_MS);
    await(&desk.cancelled, 1);
    assert_int_equal(ends(CLIENT_END_NO_VERDICT), 1);
    leave(peer);
    relay_stop(&relay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_frames_behind),
        cmocka_unit_test(test_much_behind),
        cmocka_unit_test(test_much_behind_is_not_read),
        cmocka_unit_test(test_frames_behind_are_charged),
        cmocka_unit_test(test_goes_while_asked),
        cmocka_unit_test(test_recheck),
        cmocka_unit_test(test_recheck_of_a_crowd),
        cmocka_unit_test(test_recall),
        cmocka_unit_test(test_recall_before_recheck),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
