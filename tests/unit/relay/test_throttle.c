// SPDX-License-Identifier: BSD-3-Clause
//
// A whole relay that limits what its clients send.
#include "relay/throttle.h"

#include "../support/rig.h"
#include "relay/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define REFILL_US 300000 // for the burst to be there again, or enough of it
#define PACKET_BYTES 10000
#define FRAME_BYTES (FRAME_HEADER_BYTES + KEY_BYTES + PACKET_BYTES)
#define BURST_BYTES 100000
#define RATE_BYTES 400000
#define READ_BYTES 65536 // that a client may be ahead

static const struct server_limits limits = {RATE_BYTES, BURST_BYTES}, none;
// Nothing is dropped for want of room while the receiver is slow.
static const struct relay_config roomy = {.queue_bytes = 16 * 1024 * 1024};
static const struct server_limits hardly_any = {1, BURST_BYTES};

struct sender {
    pthread_t thread;
    const struct peer *peer;
    const struct key *to;
    uint32_t packets;
};

static void *send_all(void *data)
{
    const struct sender *sender = data;
    uint8_t packet[PACKET_BYTES] = {0};

    for (uint32_t i = 0; i < sender->packets; i++) {
        memcpy(packet, &i, sizeof i);
        peer_send_packet(sender->peer, sender->to, packet, sizeof packet);
    }
    return NULL;
}

// As fast as the socket takes it.
static void start_sending(struct sender *sender, const struct peer *from, const struct peer *to,
                          uint32_t packets)
{
    *sender = (struct sender){.peer = from, .to = &to->key.public, .packets = packets};
    assert_int_equal(pthread_create(&sender->thread, NULL, send_all, sender), 0);
}

static void expect_number(struct peer *peer, uint32_t expected)
{
    uint32_t number;

    assert_true(peer_receive(peer));
    while (peer->type == FRAME_KEEP_ALIVE)
        assert_true(peer_receive(peer));
    assert_int_equal(peer->type, FRAME_RECV_PACKET);
    assert_int_equal(peer->len, KEY_BYTES + PACKET_BYTES);
    memcpy(&number, peer->payload + KEY_BYTES, sizeof number);
    assert_int_equal(number, expected);
}

// Nothing is lost and nothing overtakes; returns the milliseconds that it took.
static uint64_t receive_all(struct peer *peer, uint32_t packets)
{
    const uint64_t start_ms = clock_ms();

    for (uint32_t i = 0; i < packets; i++)
        expect_number(peer, i);
    return clock_ms() - start_ms;
}

static uint64_t pass(struct peer *from, struct peer *to, uint32_t packets)
{
    struct sender sender;
    uint64_t took_ms;

    start_sending(&sender, from, to, packets);
    took_ms = receive_all(to, packets);
    pthread_join(sender.thread, NULL);
    return took_ms;
}

// A busy machine may spoil a pass: as many as it takes for one that is quick enough, but not many.
static uint64_t quickest(struct peer *from, struct peer *to, uint32_t packets, uint64_t enough_ms)
{
    uint64_t took_ms = pass(from, to, packets);

    for (int i = 0; i < 4 && took_ms > enough_ms; i++) {
        usleep(REFILL_US);
        took_ms = pass(from, to, packets);
    }
    return took_ms;
}

// The limits are there once the workers have heard of them.
static void set_limits(struct rig *rig, const struct server_limits *wanted)
{
    relay_set_limits(&rig->relay, wanted);
    for (size_t i = 0; i < rig->relay.config.workers; i++) {
        struct peer *peer = peer_new(rig, i, NULL);

        peer_free(peer);
    }
}

static void held_to_the_rate(struct rig *rig)
{
    struct peer *a = peer_new(rig, 0, NULL), *b = peer_new(rig, 1, NULL);
    const uint32_t packets = 120;
    const double owed = (double)packets * FRAME_BYTES - BURST_BYTES - FRAME_BYTES;
    uint64_t took_ms;

    assert_true(quickest(a, b, packets, 500) <= 500);
    set_limits(rig, &limits);
    took_ms = quickest(a, b, packets, (uint64_t)(1.1 * 1000 * owed / RATE_BYTES + 50));
    print_message("%u packets took %llu ms\n", packets, (unsigned long long)took_ms);
    assert_true((double)took_ms >= 1000 * (owed - READ_BYTES) / RATE_BYTES);
    assert_true((double)took_ms <= 1.1 * 1000 * owed / RATE_BYTES + 50);
    assert_true(SUM(rig, relay.rate_pauses) > 0);
    usleep(REFILL_US);
    assert_true(quickest(a, b, 9, 200) <= 200); // the burst is there again, or enough of it
    peer_free(a);
    peer_free(b);
}

static void test_held_to_the_rate(void **state)
{
    (void)state;
    with_each(held_to_the_rate, &roomy);
}

// Who is paused is read again, and lives by the new limits.
static void reload_while_paused(struct rig *rig)
{
    struct peer *a = peer_new(rig, 0, NULL), *b = peer_new(rig, 1, NULL);
    const int64_t before = SUM(rig, relay.rate_pauses);
    const uint32_t packets = 100;
    struct sender sender;
    uint64_t start_ms;

    set_limits(rig, &hardly_any);
    start_sending(&sender, a, b, packets);
    WAIT(SUM(rig, relay.rate_pauses) > before);
    set_limits(rig, &none);
    start_ms = clock_ms();
    receive_all(b, packets);
    pthread_join(sender.thread, NULL);
    assert_true(clock_ms() - start_ms < 5000);
    peer_free(a);
    peer_free(b);
}

static void test_reload_while_paused(void **state)
{
    (void)state;
    with_each(reload_while_paused, &roomy);
}

// Nor does who owes for hours by the old limits owe by the new ones.
static void reload_in_debt(struct rig *rig)
{
    struct peer *a = peer_new(rig, 0, NULL), *b = peer_new(rig, 1, NULL);
    const int64_t before = SUM(rig, relay.rate_pauses);
    const uint32_t packets = 40;
    struct sender sender;
    uint64_t start_ms;

    set_limits(rig, &hardly_any);
    start_sending(&sender, a, b, packets);
    WAIT(SUM(rig, relay.rate_pauses) > before);
    set_limits(rig, &limits);
    start_ms = clock_ms();
    receive_all(b, packets);
    pthread_join(sender.thread, NULL);
    assert_true(clock_ms() - start_ms < 3000);
    peer_free(a);
    peer_free(b);
    set_limits(rig, &none);
}

static void test_reload_in_debt(void **state)
{
    (void)state;
    with_each(reload_in_debt, &roomy);
}

// What others send to a paused client, and the relay's answers to what came before, go on.
static void paused_client_is_written_to(struct rig *rig)
{
    struct peer *a = peer_new(rig, 0, NULL), *b = peer_new(rig, 1, NULL);

    set_limits(rig, &hardly_any);
    for (int i = 0; i < 11; i++)
        peer_send_packet(a, &b->key.public, (uint8_t[PACKET_BYTES]){0}, PACKET_BYTES);
    WAIT(SUM(rig, relay.rate_pauses) == 1);
    peer_send_packet(b, &a->key.public, "to the paused one", 17);
    peer_expect_packet(a, &b->key.public, "to the paused one", 17);
    set_limits(rig, &none);
    peer_free(a);
    peer_free(b);
}

static void test_paused_client_is_written_to(void **state)
{
    (void)state;
    with_each(paused_client_is_written_to, &roomy);
}

static void send_over_limit(struct rig *rig, struct peer *from, struct peer *to)
{
    const int64_t before = SUM(rig, relay.rate_pauses);
    uint8_t packet[PACKET_BYTES] = {0};

    for (int i = 0; i < 20; i++)
        peer_send_packet(from, &to->key.public, packet, sizeof packet);
    WAIT(SUM(rig, relay.rate_pauses) > before);
}

// A half-closed client has its packets relayed before it is let go.
static void half_close_while_paused(struct rig *rig)
{
    struct peer *a = peer_new(rig, 0, NULL), *b = peer_new(rig, 1, NULL);
    struct sender sender;

    set_limits(rig, &limits);
    start_sending(&sender, a, b, 40);
    pthread_join(sender.thread, NULL);
    shutdown(a->fd, SHUT_WR);
    receive_all(b, 40);
    peer_expect_end(a);
    peer_expect_gone(b, &a->key.public, PEER_GONE_DISCONNECTED);
    assert_true(SUM(rig, relay.rate_pauses) > 0);
    peer_free(a);
    peer_free(b);
    set_limits(rig, &none);
}

static void test_half_close_while_paused(void **state)
{
    (void)state;
    with_each(half_close_while_paused, &roomy);
}

static void reset_while_paused(struct rig *rig)
{
    struct peer *a = peer_new(rig, 0, NULL), *b = peer_new(rig, 1, NULL);

    set_limits(rig, &hardly_any);
    send_over_limit(rig, a, b);
    loopback_reset(a->fd);
    free(a);
    WAIT(SUM(rig, relay.client_ends[CLIENT_END_RESET]) == 1);
    peer_free(b);
}

static void test_reset_while_paused(void **state)
{
    (void)state;
    with_each(reset_while_paused, &roomy);
}

// rig_stop, which follows, closes the rest while it is paused, and demands that the loops end.
static void stop_while_paused(struct rig *rig)
{
    struct peer *a = peer_new(rig, 0, NULL), *b = peer_new(rig, 1, NULL);

    set_limits(rig, &hardly_any);
    send_over_limit(rig, a, b);
    free(a);
    free(b);
    rig->descriptors += 2;
}

static void test_stop_while_paused(void **state)
{
    (void)state;
    with_each(stop_while_paused, &roomy);
}

static void told_at_login(struct rig *rig)
{
    struct peer *before = peer_new(rig, 0, NULL), *after;

    assert_string_equal(before->server_info, "{\"version\":2}");
    set_limits(rig, &limits);
    after = peer_new(rig, 1, NULL);
    assert_string_equal(after->server_info, "{\"version\":2,\"TokenBucketBytesPerSecond\":400000,"
                                            "\"TokenBucketBytesBurst\":100000}");
    assert_int_equal(snapshot(rig).bytes_per_second, RATE_BYTES);
    assert_int_equal(snapshot(rig).burst_bytes, BURST_BYTES);
    peer_free(before);
    peer_free(after);
}

static void test_told_at_login(void **state)
{
    (void)state;
    with_each(told_at_login, &roomy);
}

// One that stays within its limits is never paused.
static void within_the_limits(struct rig *rig)
{
    struct peer *a = peer_new(rig, 0, NULL), *b = peer_new(rig, 1, NULL);
    uint8_t packet[PACKET_BYTES] = {0};

    set_limits(rig, &limits);
    for (int i = 0; i < 9; i++) {
        peer_send_packet(a, &b->key.public, packet, sizeof packet);
        peer_expect_packet(b, &a->key.public, packet, sizeof packet);
    }
    assert_int_equal(SUM(rig, relay.rate_pauses), 0);
    peer_free(a);
    peer_free(b);
}

static void test_within_the_limits(void **state)
{
    (void)state;
    with_each(within_the_limits, &roomy);
}

struct charging {
    struct task task;
    uint64_t due_ms[2];
    _Atomic bool over;
};

static void charge_twice(struct worker *worker, struct task *task)
{
    struct charging *charging = (struct charging *)task;
    struct client *client = list_entry(worker->clients.next, struct client, node);

    throttle_charge(client, BURST_BYTES + RATE_BYTES);
    charging->due_ms[0] = uv_timer_get_due_in(client->throttle_timer);
    throttle_charge(client, 2 * RATE_BYTES);
    charging->due_ms[1] = uv_timer_get_due_in(client->throttle_timer);
    charging->over = true;
}

// One read may come in several pieces: the pause is for all of them.
static void test_each_piece_prolongs_the_pause(void **state)
{
    static struct rig rig;
    static struct charging charging;
    struct peer *peer;

    (void)state;
    rig_start(&rig, 1, &roomy);
    set_limits(&rig, &limits);
    peer = peer_new(&rig, 0, NULL);
    WAIT(SUM(&rig, relay.connections) == 1); // the one that set_limits had is gone
    charging.task.run = charge_twice;
    worker_post(rig.relay.workers[0], &charging.task);
    WAIT(charging.over);
    assert_in_range(charging.due_ms[0], 900, 1101);
    assert_in_range(charging.due_ms[1], 2900, 3101);
    assert_int_equal(SUM(&rig, relay.rate_pauses), 1);
    peer_free(peer);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_to_the_rate),
        cmocka_unit_test(test_reload_while_paused),
        cmocka_unit_test(test_reload_in_debt),
        cmocka_unit_test(test_paused_client_is_written_to),
        cmocka_unit_test(test_half_close_while_paused),
        cmocka_unit_test(test_reset_while_paused),
        cmocka_unit_test(test_stop_while_paused),
        cmocka_unit_test(test_told_at_login),
        cmocka_unit_test(test_within_the_limits),
        cmocka_unit_test(test_each_piece_prolongs_the_pause),
    };
    return cmocka_run_group_tests(tests, rig_setup, NULL);
}
