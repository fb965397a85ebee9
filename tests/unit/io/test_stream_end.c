// SPDX-License-Identifier: BSD-3-Clause
//
// The ends of streams: the peer's, ours, and closing inside of callbacks.
#include "io/stream.h"

#include "../support/stream_rig.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

// --- ends

static void peer_ends_in_order(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    far_send(rig, far, "last", 4);
    if (far->ssl)
        SSL_shutdown(far->ssl);
    far_flush(rig, far);
    if (!far->ssl)
        shutdown(far->fd, SHUT_WR);
    WAIT(rig, side->ends == 1);
    assert_int_equal(side->end, STREAM_END_EOF);
    assert_memory_equal(side->got, "last", 4);
    WAIT(rig, far->eof);
    assert_int_equal(far->close_notify, far->ssl != NULL);
}

static void test_peer_ends_in_order(void **state)
{
    (void)state;
    with_each(peer_ends_in_order, true);
}

// As Tailscale's Rust client does.
static void peer_ends_without_goodbye(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    far_send(rig, far, "last", 4);
    shutdown(far->fd, SHUT_WR);
    WAIT(rig, side->ends == 1);
    assert_int_equal(side->end, STREAM_END_EOF);
    assert_int_equal(side->got_len, 4);
    settle(rig);
    assert_int_equal(side->ends, 1);
}

static void test_peer_ends_without_goodbye(void **state)
{
    (void)state;
    with_each(peer_ends_without_goodbye, true);
}

static void peer_leaves_during_handshake(struct rig *rig)
{
    const struct counter *closed = &rig->io.counters.tls_failures[TLS_FAILURE_CLOSED];
    struct far *far = rig_connect_raw(rig, 0, 0);

    SSL_do_handshake(far->ssl);
    far_flush(rig, far);
    assert_int_equal(counter_read(closed), 0);
    shutdown(far->fd, SHUT_RDWR);
    WAIT(rig, rig->sides[0].ends == 1);
    assert_int_equal(counter_read(closed), 1);
    far = rig_connect(rig, 1, 0);
    shutdown(far->fd, SHUT_RDWR);
    WAIT(rig, rig->sides[1].ends == 1);
    assert_int_equal(counter_read(closed), 1); // that one was behind it
}

static void test_peer_leaves_during_handshake(void **state)
{
    (void)state;
    with_each(peer_leaves_during_handshake, false);
}

static void peer_resets(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);

    rig->sides[0].keep_at_end = true;
    loopback_reset(far->fd);
    far->fd = -1;
    WAIT(rig, rig->sides[0].ends == 1);
    assert_int_equal(rig->sides[0].end, STREAM_END_RESET);
    side_expect_peer(&rig->sides[0], "127.0.0.1"); // for the log
}

static void test_peer_resets(void **state)
{
    (void)state;
    with_each(peer_resets, true);
}

static void peer_resets_while_blocked(struct rig *rig)
{
    uint8_t *data = noise(IO_WRITE_PLAIN_BYTES);
    struct far *far = rig_connect(rig, 0, SMALL_BUFFER);
    struct side *side = &rig->sides[0];

    assert_int_equal(side_write(side, data, IO_WRITE_PLAIN_BYTES), 0);
    assert_true(stream_blocked(side->stream));
    loopback_reset(far->fd);
    far->fd = -1;
    WAIT(rig, side->ends == 1);
    assert_int_equal(side->end, STREAM_END_RESET);
    assert_int_equal(side->drained, 0);
    settle(rig);
    assert_int_equal(side->ends, 1);
    free(data);
}

static void test_peer_resets_while_blocked(void **state)
{
    (void)state;
    with_each(peer_resets_while_blocked, true);
}

// What was not read waits in the socket, in its order, and the end waits behind it.
static void throttled_reads_nothing(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    stream_establish(side->stream);
    far_send(rig, far, "one", 3);
    WAIT(rig, side->got_len == 3);
    stream_throttle(side->stream);
    far_send(rig, far, "two", 3);
    shutdown(far->fd, SHUT_WR);
    settle(rig);
    assert_int_equal(side->got_len, 3);
    assert_int_equal(side->ends, 0);
    assert_int_equal(uv_backend_timeout(&rig->loop), -1);
    assert_int_equal(side_write(side, "back", 4), 0); // writing goes on
    WAIT(rig, far->got_len == 4);
    stream_resume(side->stream);
    WAIT(rig, side->ends == 1);
    assert_int_equal(side->end, STREAM_END_EOF);
    assert_int_equal(side->got_len, 6);
    assert_memory_equal(side->got, "onetwo", 6);
}

static void test_throttled_reads_nothing(void **state)
{
    (void)state;
    with_each(throttled_reads_nothing, true);
}

static void throttled_hears_of_a_reset(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    stream_establish(side->stream);
    stream_throttle(side->stream);
    far_send(rig, far, "unread", 6);
    loopback_reset(far->fd);
    far->fd = -1;
    WAIT(rig, side->ends == 1);
    assert_int_equal(side->end, STREAM_END_RESET);
    assert_int_equal(side->got_len, 0);
}

static void test_throttled_hears_of_a_reset(void **state)
{
    (void)state;
    with_each(throttled_hears_of_a_reset, true);
}

// After the peer's half-close nothing is polled, so that its end does not wake the loop again and
// again: a reset that follows is heard of only when it is read again.
static void reset_after_half_close(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    stream_establish(side->stream);
    stream_throttle(side->stream);
    shutdown(far->fd, SHUT_WR);
    settle(rig);
    loopback_reset(far->fd);
    far->fd = -1;
    settle(rig);
    assert_int_equal(side->ends, 0);
    stream_resume(side->stream);
    WAIT(rig, side->ends == 1);
}

static void test_reset_after_half_close(void **state)
{
    (void)state;
    with_each(reset_after_half_close, true);
}

// The end of a paused one does not wait for what it has sent.
static void paused_hears_of_the_end(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    stream_establish(side->stream);
    stream_pause(side->stream);
    far_send(rig, far, "unread", 6);
    settle(rig);
    assert_int_equal(side->ends, 0);
    shutdown(far->fd, SHUT_WR);
    WAIT(rig, side->ends == 1);
    assert_int_equal(side->end, STREAM_END_EOF);
    assert_int_equal(side->got_len, 0);
}

static void test_paused_hears_of_the_end(void **state)
{
    (void)state;
    with_each(paused_hears_of_the_end, true);
}

static void close_while_throttled(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);

    stream_establish(rig->sides[0].stream);
    stream_throttle(rig->sides[0].stream);
    far_send(rig, far, "unread", 6);
    close_side(&rig->sides[0]);
    WAIT(rig, far->eof || far->reset);
    assert_int_equal(rig->sides[0].ends, 0);
}

static void test_close_while_throttled(void **state)
{
    (void)state;
    with_each(close_while_throttled, true);
}

static void our_close_says_goodbye(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);

    assert_int_equal(side_write(&rig->sides[0], "bye", 3), 0);
    stream_close(rig->sides[0].stream);
    stream_close(rig->sides[0].stream); // idempotent
    rig->sides[0].stream = NULL;
    WAIT(rig, far->eof);
    assert_memory_equal(far->got, "bye", 3);
    assert_int_equal(far->close_notify, far->ssl != NULL);
    assert_int_equal(rig->sides[0].ends, 0);
}

static void test_our_close_says_goodbye(void **state)
{
    (void)state;
    with_each(our_close_says_goodbye, true);
}

// After our half-close the peer may speak on.
static void shutdown_then_close(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    assert_int_equal(side_write(side, "bye", 3), 0);
    stream_shutdown(side->stream);
    stream_shutdown(side->stream); // once is enough
    WAIT(rig, far->eof);
    assert_int_equal(far->got_len, 3);
    assert_int_equal(far->close_notify, far->ssl != NULL);
    far_send(rig, far, "still here", 10);
    WAIT(rig, side->got_len == 10);
    close_side(side);
    settle(rig);
    assert_int_equal(side->ends, 0);
}

static void test_shutdown_then_close(void **state)
{
    (void)state;
    with_each(shutdown_then_close, true);
}

static void shutdown_of_slow_reader(struct rig *rig)
{
    uint8_t *data = noise(IO_WRITE_PLAIN_BYTES);
    struct far *far = rig_connect(rig, 0, SMALL_BUFFER);
    struct side *side = &rig->sides[0];

    assert_int_equal(side_write(side, data, IO_WRITE_PLAIN_BYTES), 0);
    WAIT(rig, side->drained == 1);
    stream_shutdown(side->stream);
    WAIT(rig, far->eof);
    assert_int_equal(far->got_len, IO_WRITE_PLAIN_BYTES);
    assert_memory_equal(far->got, data, IO_WRITE_PLAIN_BYTES);
    assert_int_equal(far->close_notify, far->ssl != NULL);
    free(data);
}

static void test_shutdown_of_slow_reader(void **state)
{
    (void)state;
    with_each(shutdown_of_slow_reader, true);
}

// --- closing inside callbacks

static void close_in_on_ready(struct rig *rig)
{
    static uint8_t sealed[SEALED_MAX_BYTES];
    struct far *far = rig_connect_raw(rig, 0, 0);
    size_t len;

    rig->sides[0].on_ready = close_side;
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
    len += far_seal(far, "more", 4, sealed + len);
    far_send_raw(rig, far, sealed, len);
    WAIT(rig, far->eof || far->reset);
    assert_int_equal(rig->sides[0].ready, 1);
    assert_int_equal(rig->sides[0].data + rig->sides[0].ends, 0);
}

static void test_close_in_on_ready(void **state)
{
    (void)state;
    with_each(close_in_on_ready, false);
}

static bool close_on_data(struct side *side, const uint8_t *data, size_t len)
{
    (void)data, (void)len;
    close_side(side);
    return false;
}

static void close_in_on_data(struct rig *rig)
{
    uint8_t *data = noise(600000);
    struct far *far = rig_connect(rig, 0, 0);

    rig->sides[0].on_data = close_on_data;
    far_send(rig, far, data, 600000);
    WAIT(rig, far->eof || far->reset);
    assert_int_equal(rig->sides[0].data, 1);
    assert_int_equal(rig->sides[0].ends, 0);
    free(data);
}

static void test_close_in_on_data(void **state)
{
    (void)state;
    with_each(close_in_on_data, true);
}

static bool close_other_on_data(struct side *side, const uint8_t *data, size_t len)
{
    (void)data, (void)len;
    if (side->other->stream)
        close_side(side->other);
    return true;
}

static void close_another_in_on_data(struct rig *rig)
{
    uint8_t *data = noise(600000);
    struct far *first = rig_connect(rig, 0, 0), *second = rig_connect(rig, 1, 0);

    rig->sides[0].on_data = close_other_on_data;
    far_send(rig, first, data, 600000);
    WAIT(rig, rig->sides[0].got_len == 600000 && second->eof);
    assert_memory_equal(rig->sides[0].got, data, 600000);
    assert_int_equal(second->close_notify, second->ssl != NULL);
    free(data);
}

static void test_close_another_in_on_data(void **state)
{
    (void)state;
    with_each(close_another_in_on_data, true);
}

static void close_in_on_drained(struct rig *rig)
{
    uint8_t *data = noise(IO_WRITE_PLAIN_BYTES);
    struct far *far = rig_connect(rig, 0, SMALL_BUFFER);
    struct side *side = &rig->sides[0];

    side->on_drained = close_side;
    assert_int_equal(side_write(side, data, IO_WRITE_PLAIN_BYTES), 0);
    assert_true(stream_blocked(side->stream));
    WAIT(rig, far->eof);
    assert_int_equal(far->got_len, IO_WRITE_PLAIN_BYTES);
    assert_int_equal(far->close_notify, far->ssl != NULL);
    free(data);
}

static void test_close_in_on_drained(void **state)
{
    (void)state;
    with_each(close_in_on_drained, true);
}

static void close_while_blocked(struct rig *rig)
{
    uint8_t *data = noise(IO_WRITE_PLAIN_BYTES);
    struct side *side = &rig->sides[0];

    rig_connect(rig, 0, SMALL_BUFFER);
    assert_int_equal(side_write(side, data, IO_WRITE_PLAIN_BYTES), 0);
    assert_true(stream_blocked(side->stream));
    close_side(side);
    settle(rig);
    assert_int_equal(side->drained + side->ends, 0);
    free(data);
}

static void test_close_while_blocked(void **state)
{
    (void)state;
    with_each(close_while_blocked, true);
}

static void close_during_handshake(struct rig *rig)
{
    struct far *far = rig_connect_raw(rig, 0, 0);

    far_send_raw(rig, far, "\x16\x03\x01", 3);
    close_side(&rig->sides[0]);
    WAIT(rig, far->eof || far->reset);
    assert_int_equal(far->got_len, 0);
}

static void test_close_during_handshake(void **state)
{
    (void)state;
    with_each(close_during_handshake, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peer_ends_in_order),
        cmocka_unit_test(test_peer_ends_without_goodbye),
        cmocka_unit_test(test_peer_leaves_during_handshake),
        cmocka_unit_test(test_peer_resets),
        cmocka_unit_test(test_peer_resets_while_blocked),
        cmocka_unit_test(test_throttled_reads_nothing),
        cmocka_unit_test(test_throttled_hears_of_a_reset),
        cmocka_unit_test(test_reset_after_half_close),
        cmocka_unit_test(test_paused_hears_of_the_end),
        cmocka_unit_test(test_close_while_throttled),
        cmocka_unit_test(test_our_close_says_goodbye),
        cmocka_unit_test(test_shutdown_then_close),
        cmocka_unit_test(test_shutdown_of_slow_reader),
        cmocka_unit_test(test_close_in_on_ready),
        cmocka_unit_test(test_close_in_on_data),
        cmocka_unit_test(test_close_another_in_on_data),
        cmocka_unit_test(test_close_in_on_drained),
        cmocka_unit_test(test_close_while_blocked),
        cmocka_unit_test(test_close_during_handshake),
    };
    return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
