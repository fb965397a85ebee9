// SPDX-License-Identifier: BSD-3-Clause
//
// A whole relay, and clients that take less than they get.
#include "../support/rig.h"

#include "relay/outgoing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

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
    // Those of a write that had blocked count when that has come through.
    WAIT(SUM(rig, relay.packets_sent) == got + (int64_t)COUNT(slow));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_late_reader),
        cmocka_unit_test(test_steady_slow_reader),
        cmocka_unit_test(test_many_slow_readers),
        cmocka_unit_test(test_write_timeout),
        cmocka_unit_test(test_slow_but_steady),
        cmocka_unit_test(test_reset_while_flooded),
        cmocka_unit_test(test_a_flood_pushes_out_nobody_else),
        cmocka_unit_test(test_stop_with_a_slow_reader),
    };
    return cmocka_run_group_tests(tests, rig_setup, NULL);
}
