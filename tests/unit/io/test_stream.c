// SPDX-License-Identifier: BSD-3-Clause
//
// Bytes in and out of streams, each case with every engine.
#include "io/stream.h"

#include "../support/stream_rig.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// --- bytes

static void bytes_at_once(struct rig *rig)
{
    const size_t len = 700000;
    uint8_t *data = noise(len);
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    far_send(rig, far, data, len);
    WAIT(rig, side->got_len == len);
    assert_memory_equal(side->got, data, len);
    assert_int_equal(side->ready, rig->version ? 1 : 0);
    assert_int_equal(stream_tls_version(side->stream), rig->version);
    free(data);
}

static void test_bytes_at_once(void **state)
{
    (void)state;
    with_each(bytes_at_once, true);
}

static void send_one_by_one(struct rig *rig, struct far *far, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        far_send_raw(rig, far, bytes + i, 1);
}

static void bytes_one_by_one(struct rig *rig)
{
    static uint8_t sealed[SEALED_MAX_BYTES];
    uint8_t *data = noise(300);
    struct far *far = rig_connect_raw(rig, 0, 0);
    struct side *side = &rig->sides[0];

    while (far->ssl && !(side->ready && SSL_is_init_finished(far->ssl))) {
        SSL_do_handshake(far->ssl);
        ERR_clear_error();
        send_one_by_one(rig, far, sealed, far_sealed(far, sealed));
        far_receive(far, SIZE_MAX);
        turn(rig);
    }
    send_one_by_one(rig, far, sealed, far_seal(far, data, 300, sealed));
    WAIT(rig, side->got_len == 300);
    assert_memory_equal(side->got, data, 300);
    free(data);
}

static void test_bytes_one_by_one(void **state)
{
    (void)state;
    with_each(bytes_one_by_one, true);
}

// The handshake's last flight and the first data in one segment.
static void data_behind_handshake(struct rig *rig)
{
    static uint8_t sealed[SEALED_MAX_BYTES];
    struct far *far = rig_connect_raw(rig, 0, 0);
    struct side *side = &rig->sides[0];
    size_t len;

    while (!SSL_is_init_finished(far->ssl)) {
        SSL_do_handshake(far->ssl);
        ERR_clear_error();
        if (!SSL_is_init_finished(far->ssl)) {
            far_flush(rig, far);
            far_receive(far, SIZE_MAX);
            turn(rig);
        }
    }
    len = far_sealed(far, sealed);
    len += far_seal(far, "early", 5, sealed + len);
    far_send_raw(rig, far, sealed, len);
    WAIT(rig, side->got_len == 5);
    assert_memory_equal(side->got, "early", 5);
    assert_int_equal(side->ready, 1);
}

static void test_data_behind_handshake(void **state)
{
    (void)state;
    with_each(data_behind_handshake, false);
}

static void addresses(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct sockaddr_in here;
    struct sockaddr_in6 peer;
    socklen_t len = sizeof here;
    const uint8_t mapped[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1};

    getsockname(far->fd, (struct sockaddr *)&here, &len);
    stream_peer(rig->sides[0].stream, &peer);
    assert_memory_equal(&peer.sin6_addr, mapped, sizeof mapped);
    side_expect_peer(&rig->sides[0], "127.0.0.1");
    assert_int_equal(peer.sin6_port, here.sin_port);
}

static void test_addresses(void **state)
{
    (void)state;
    with_each(addresses, true);
}

static void ipv6_address(struct rig *rig)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    struct side *side = &rig->sides[0];
    socklen_t len = sizeof address;
    const int listening = socket(AF_INET6, SOCK_STREAM, 0), far = socket(AF_INET6, SOCK_STREAM, 0);

    assert_int_equal(bind(listening, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(connect(far, (struct sockaddr *)&address, len), 0);
    side->keep_at_end = true;
    side_accept(rig, side, accept4(listening, NULL, NULL, SOCK_NONBLOCK), false);
    side_expect_peer(side, "::1");
    loopback_reset(far);
    WAIT(rig, side->ends == 1);
    side_expect_peer(side, "::1");
    close(listening);
}

static void test_ipv6_address(void **state)
{
    (void)state;
    with_one(&no_tls, ipv6_address);
}

// --- writing

static void many_pieces(struct rig *rig)
{
    uint8_t *data = noise(IO_WRITE_PLAIN_BYTES);
    struct stream_buf pieces[STREAM_PIECES_MAX];
    const size_t each = IO_WRITE_PLAIN_BYTES / STREAM_PIECES_MAX;
    struct far *far = rig_connect(rig, 0, 0);

    for (size_t i = 0; i < STREAM_PIECES_MAX; i++)
        pieces[i] = (struct stream_buf){data + i * each, each};
    assert_int_equal(stream_write(rig->sides[0].stream, pieces, STREAM_PIECES_MAX), 0);
    WAIT(rig, far->got_len == IO_WRITE_PLAIN_BYTES && !stream_blocked(rig->sides[0].stream));
    assert_memory_equal(far->got, data, IO_WRITE_PLAIN_BYTES);
    assert_int_equal(stream_write(rig->sides[0].stream, pieces, 0), 0);
    pieces[0].len = 0;
    assert_int_equal(stream_write(rig->sides[0].stream, pieces, 1), 0);
    settle(rig);
    assert_int_equal(far->got_len, IO_WRITE_PLAIN_BYTES);
    free(data);
}

static void test_many_pieces(void **state)
{
    (void)state;
    with_each(many_pieces, true);
}

static void blocks_and_drains(struct rig *rig)
{
    uint8_t *data = noise(IO_WRITE_PLAIN_BYTES);
    struct far *far = rig_connect(rig, 0, SMALL_BUFFER);
    struct side *side = &rig->sides[0];
    size_t before;

    assert_int_equal(side_write(side, data, IO_WRITE_PLAIN_BYTES), 0);
    assert_true(stream_blocked(side->stream));
    turn(rig);
    assert_int_equal(side->drained, 0);
    for (int i = 0; i < 5; i++) {
        const uint64_t until = clock_ms() + PATIENCE_MS;

        before = stream_unsent_bytes(side->stream);
        assert_true(before > 0 && before < IO_WRITE_BYTES);
        while (stream_unsent_bytes(side->stream) == before) {
            far_receive(far, 2048);
            turn(rig);
            assert_true(clock_ms() < until);
        }
        assert_true(stream_unsent_bytes(side->stream) < before);
    }
    WAIT(rig, far->got_len == IO_WRITE_PLAIN_BYTES && side->drained);
    assert_memory_equal(far->got, data, IO_WRITE_PLAIN_BYTES);
    assert_int_equal(side->drained, 1);
    assert_int_equal(stream_unsent_bytes(side->stream), 0);
    free(data);
}

static void test_blocks_and_drains(void **state)
{
    (void)state;
    with_each(blocks_and_drains, true);
}

// What the kernel had taken comes; the rest goes with the close.
static void untaken_at_close(struct rig *rig)
{
    const size_t len = IO_WRITE_PLAIN_BYTES;
    uint8_t *data = noise(len);
    struct far *far = rig_connect(rig, 0, SMALL_BUFFER);
    struct side *side = &rig->sides[0];
    size_t taken;

    assert_int_equal(stream_untaken_bytes(side->stream, len), 0);
    assert_int_equal(side_write(side, data, len), 0);
    assert_in_range(stream_untaken_bytes(side->stream, len), 1, len);
    far_receive(far, 20000);
    for (int i = 0; i < 10; i++)
        turn(rig);
    taken = len - stream_untaken_bytes(side->stream, len);
    close_side(side);
    WAIT(rig, far->eof);
    if (rig->version)
        assert_in_range(far->got_len, taken - (taken < 16384 ? taken : 16384), taken);
    else
        assert_int_equal(far->got_len, taken);
    free(data);
}

static void test_untaken_at_close(void **state)
{
    (void)state;
    with_each(untaken_at_close, true);
}

static void writes_in_on_drained(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);

    flow_start(&rig->sides[0], 10);
    flow_expect(rig, &rig->sides[0], far, 10);
}

static void test_writes_in_on_drained(void **state)
{
    (void)state;
    with_each(writes_in_on_drained, true);
}

// Answers on the other stream with what came, in the midst of the first one's read.
static bool copy_to_other(struct side *side, const uint8_t *data, size_t len)
{
    const struct stream_buf piece = {data, len};

    if (!stream_blocked(side->other->stream))
        assert_int_equal(stream_write(side->other->stream, &piece, 1), 0);
    return true;
}

static void writes_to_another(struct rig *rig)
{
    uint8_t *data = noise(200000);
    struct far *first = rig_connect(rig, 0, 0), *second = rig_connect(rig, 1, 0);

    rig->sides[0].on_data = copy_to_other;
    rig->sides[1].on_data = copy_to_other;
    for (size_t at = 0; at < 200000; at += 20000) {
        far_send(rig, first, data + at, 20000);
        far_send(rig, second, data + at, 10000);
        WAIT(rig, second->got_len == at + 20000 && first->got_len == at / 2 + 10000 &&
                      !stream_blocked(rig->sides[0].stream) &&
                      !stream_blocked(rig->sides[1].stream));
    }
    assert_memory_equal(second->got, data, 200000);
    assert_memory_equal(first->got, data, 10000);
    free(data);
}

static void test_writes_to_another(void **state)
{
    (void)state;
    with_each(writes_to_another, true);
}

static void write_to_a_peer_that_left(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    loopback_reset(far->fd);
    far->fd = -1;
    assert_true(side_write(side, "abc", 3) < 0);
    assert_false(stream_blocked(side->stream));
    WAIT(rig, side->ends == 1);
}

static void test_write_to_a_peer_that_left(void **state)
{
    (void)state;
    with_each(write_to_a_peer_that_left, true);
}

// --- owners

static int second_owner_got;

static bool second_owner_on_data(struct stream *stream, uint8_t *data, size_t len)
{
    (void)data;
    assert_ptr_equal(stream_owner(stream), &second_owner_got);
    second_owner_got += (int)len;
    return true;
}

static void second_owner(struct rig *rig)
{
    static const struct stream_callbacks second = {.on_data = second_owner_on_data};
    struct far *far = rig_connect(rig, 0, 0);

    second_owner_got = 0;
    far_send(rig, far, "one", 3);
    WAIT(rig, rig->sides[0].got_len == 3);
    stream_set_owner(rig->sides[0].stream, &second, &second_owner_got);
    far_send(rig, far, "three", 5);
    WAIT(rig, second_owner_got == 5);
    assert_int_equal(rig->sides[0].got_len, 3);
}

static void test_second_owner(void **state)
{
    (void)state;
    with_each(second_owner, true);
}

static void tls_without_context_is_refused(struct rig *rig)
{
    struct far *far;

    io_context_set_tls(&rig->io, NULL);
    far = rig_connect_raw(rig, 0, 0);
    SSL_do_handshake(far->ssl);
    WAIT(rig, far->eof || far->reset);
    assert_int_equal(rig->sides[0].ends, 1);
    assert_int_equal(rig->sides[0].end, STREAM_END_TLS);
    assert_int_equal(counter_read(&rig->io.counters.tls_failures[TLS_FAILURE_OTHER]), 1);
    assert_int_equal(counter_read(&rig->io.counters.plain_accepted), 0);
}

static void test_tls_without_context_is_refused(void **state)
{
    (void)state;
    with_one(&openssl_tls13, tls_without_context_is_refused);
}

static void counters(struct rig *rig)
{
    const struct io_counters *c = &rig->io.counters;
    const int version = rig->version;

    rig_connect(rig, 0, 0);
    rig_connect(rig, 1, 0);
    close_side(&rig->sides[0]);
    settle(rig);
    assert_int_equal(counter_read(&c->tls_accepted), version ? 2 : 0);
    assert_int_equal(counter_read(&c->plain_accepted), version ? 0 : 2);
    assert_int_equal(counter_read(&c->streams), 1);
    assert_int_equal(atomic_load(&rig->budget.used), 1);
    assert_int_equal(counter_read(&c->tls12_handshakes), version == TLS1_2_VERSION ? 2 : 0);
    assert_int_equal(counter_read(&c->tls13_handshakes), version == TLS1_3_VERSION ? 2 : 0);
    assert_int_equal(counter_read(&c->tls12_active), version == TLS1_2_VERSION ? 1 : 0);
    assert_int_equal(counter_read(&c->tls13_active), version == TLS1_3_VERSION ? 1 : 0);
}

static void test_counters(void **state)
{
    (void)state;
    with_each(counters, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_at_once),
        cmocka_unit_test(test_bytes_one_by_one),
        cmocka_unit_test(test_data_behind_handshake),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_ipv6_address),
        cmocka_unit_test(test_many_pieces),
        cmocka_unit_test(test_blocks_and_drains),
        cmocka_unit_test(test_untaken_at_close),
        cmocka_unit_test(test_writes_in_on_drained),
        cmocka_unit_test(test_writes_to_another),
        cmocka_unit_test(test_write_to_a_peer_that_left),
        cmocka_unit_test(test_second_owner),
        cmocka_unit_test(test_tls_without_context_is_refused),
        cmocka_unit_test(test_counters),
    };
    return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
