// SPDX-License-Identifier: BSD-3-Clause
//
// A limit of blocked writes beyond the horizon of the timer wheel. The test has its own clock, so
// that it need not wait.
#include "relay/relay.h"

#include "../support/loopback.h"
#include "../support/peer.h"
#include "base/clock.h"
#include "relay/state.h"
#include "relay/worker.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SMALL_BUFFER 4096
#define PACKETS 500
#define PACKET_BYTES 1200
#define HORIZON_MS ((uint64_t)WHEEL_TICK_MS * WHEEL_SLOTS)
#define LIMIT_MS (HORIZON_MS * 3)
#define PATIENCE_TRIES 10000
#define BEGINNINGS_MAX 20 // of the limit: buffers are small

static _Atomic uint64_t ahead_ms;

uint64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec + ahead_ms * NS_PER_MS;
}

static struct relay relay;
static uint16_t port;

static void upgrade(struct http_conn *conn, const struct http_request *request)
{
    (void)request;
    relay_accept_client(&relay, http_take_stream(conn), NULL, 0, false);
}

#define READ(counter)                                 \
    ({                                                \
        struct worker_snapshot snapshot_;             \
        relay_worker_snapshot(&relay, 0, &snapshot_); \
        counter_read(&snapshot_.relay.counter);       \
    })

#define WAIT(condition)                    \
    for (int i_ = 0; !(condition); i_++) { \
        assert_true(i_ < PATIENCE_TRIES);  \
        usleep(1000);                      \
    }

static atomic_int wheel_runs;
static _Atomic uint32_t blocked_bytes; // of the blocked write, when its limit began

static void run_wheel(struct worker *worker, struct task *task)
{
    free(task);
    wheel_run(&worker->io.wheel, clock_ms());
    for (struct list *node = worker->clients.next; node != &worker->clients; node = node->next) {
        const struct client *client = list_entry(node, struct client, node);

        if (client->watched)
            blocked_bytes = client->unacked_before;
    }
    wheel_runs++;
}

static void let_pass(uint64_t ms)
{
    struct task *task = malloc(sizeof *task);
    const int before = wheel_runs;

    ahead_ms += ms;
    task->run = run_wheel;
    worker_post(relay.workers[0], task);
    WAIT(wheel_runs > before);
}

static void login_slowly(struct peer *peer)
{
    uint8_t frame[512];

    key_pair_generate(&peer->key);
    peer_connect(peer, port, SMALL_BUFFER);
    peer_send_request(peer);
    peer_receive_server_key(peer);
    peer_send_bytes(peer, frame, peer_put_client_info(peer, "{\"version\":2}", frame));
    peer_receive_server_info(peer);
}

// False when the limit began anew, which it does for bytes that are taken late, as on a machine
// that has much to do, and for nothing else.
static bool limit_ends_it(void)
{
    const uint32_t blocked = blocked_bytes;
    const int64_t sent = READ(bytes_sent);

    for (uint64_t passed_ms = 0; passed_ms + HORIZON_MS < LIMIT_MS; passed_ms += HORIZON_MS)
        let_pass(HORIZON_MS);
    assert_int_equal(READ(write_timeouts), 0);
    assert_int_equal(READ(connections), 2);
    let_pass(HORIZON_MS + WHEEL_TICK_MS);
    if (READ(write_timeouts) == 1)
        return true;
    assert_true(blocked_bytes != blocked || READ(bytes_sent) != sent);
    return false;
}

// What the kernel has taken still comes: that was sent, and everything else was dropped.
static void assert_counts_are_true(struct peer *slow)
{
    uint8_t bytes[4096];
    size_t got = 0, packets;
    ssize_t n;

    while ((n = recv(slow->fd, bytes, sizeof bytes, 0)) > 0)
        got += (size_t)n;
    assert_int_equal(n, 0);
    packets = got / (FRAME_HEADER_BYTES + KEY_BYTES + PACKET_BYTES);
    assert_int_equal(READ(packets_sent), packets);
    assert_int_equal(READ(bytes_sent), packets * PACKET_BYTES);
    assert_true(READ(packets_dropped[DROP_WRITE_ERROR][PACKET_OTHER]) > 16); // not the queue alone
    assert_int_equal(READ(packets_dropped[DROP_QUEUE_HEAD][PACKET_OTHER]) +
                         READ(packets_dropped[DROP_QUEUE_CODEL][PACKET_OTHER]) +
                         READ(packets_dropped[DROP_QUEUE_AGE][PACKET_OTHER]) +
                         READ(packets_dropped[DROP_WRITE_ERROR][PACKET_OTHER]),
                     PACKETS - packets);
}

static void test_limit_beyond_the_horizon(void **state)
{
    static const struct http_service service = {.handler = upgrade};
    static const uint8_t packet[PACKET_BYTES];
    static struct peer from, slow;
    struct relay_config config = {.workers = 1,
                                  .connections_max = 10,
                                  .queue_packets = 16,
                                  .queue_bytes = RELAY_QUEUE_BYTES_DEFAULT,
                                  .waiting_bytes = RELAY_WAITING_BYTES_DEFAULT,
                                  .write_timeout_ms = LIMIT_MS};

    (void)state;
    key_pair_generate(&config.key);
    assert_int_equal(relay_start(&relay, &config), 0);
    relay_listen(&relay, 0, loopback_bind(&port, SMALL_BUFFER),
                 &(struct relay_port){.service = &service});
    login_slowly(&slow);
    peer_login(&from, port, NULL);
    for (int i = 0; i < PACKETS; i++)
        peer_send_packet(&from, &slow.key.public, packet, sizeof packet);
    WAIT(READ(packets_dropped[DROP_QUEUE_HEAD][PACKET_OTHER]) > 0); // so it is blocked
    let_pass(0);
    for (int i = 0; !limit_ends_it(); i++)
        assert_true(i < BEGINNINGS_MAX);
    WAIT(READ(connections) == 1);
    assert_counts_are_true(&slow);
    peer_close(&from);
    close(slow.fd);
    relay_stop(&relay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit_beyond_the_horizon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
