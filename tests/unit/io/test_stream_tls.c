// SPDX-License-Identifier: BSD-3-Clause
//
// Faults and key updates of TLS streams.
#include "io/stream.h"

#include "../support/stream_rig.h"
#include "io/engine.h"

#include <stdlib.h>
#include <string.h>

#define GOODBYE "\x17\x03\x03\x00\x20noise that is no record at all..."

static bool answer(struct side *side, const uint8_t *data, size_t len)
{
    (void)data, (void)len;
    if (side->other->stream && !stream_blocked(side->other->stream))
        assert_int_equal(side_write(side->other, "to another", 10), 0);
    if (!stream_blocked(side->stream) && side_write(side, "answer", 6) < 0) {
        close_side(side);
        return false;
    }
    return true;
}

// A good record and a bad one in one segment: the good one counts, its owner may write to any
// stream from there, and the alert goes to the one that it is meant for.
static void fault_behind_data(struct rig *rig)
{
    static uint8_t sealed[SEALED_MAX_BYTES];
    struct far *first = rig_connect(rig, 0, 0), *second = rig_connect(rig, 1, 0);
    struct side *side = &rig->sides[0];
    size_t len = far_seal(first, "question", 8, sealed);

    memcpy(sealed + len, GOODBYE, sizeof GOODBYE - 1);
    side->on_data = answer;
    far_send_raw(rig, first, sealed, len + sizeof GOODBYE - 1);
    WAIT(rig, second->got_len == 10 && (first->eof || first->reset));
    assert_memory_equal(second->got, "to another", 10);
    assert_false(second->failed);
    assert_true(first->failed); // it has got the alert
    assert_memory_equal(side->got, "question", 8);
    assert_true(side->ends == 0 || side->end == STREAM_END_TLS);
    assert_int_equal(counter_read(&rig->io.counters.tls_record_faults), 1);
}

static void test_fault_behind_data(void **state)
{
    (void)state;
    with_each(fault_behind_data, false);
}

static bool silent(struct side *side, const uint8_t *data, size_t len)
{
    (void)side, (void)data, (void)len;
    return true;
}

static void fault_alone(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    side->on_data = silent;
    far_send_raw(rig, far, GOODBYE, sizeof GOODBYE - 1);
    WAIT(rig, side->ends == 1 && (far->eof || far->reset));
    assert_int_equal(side->end, STREAM_END_TLS);
    assert_true(far->failed);
    assert_int_equal(counter_read(&rig->io.counters.tls_record_faults), 1);
}

static void test_fault_alone(void **state)
{
    (void)state;
    with_each(fault_alone, false);
}

static void handshake_failure_is_told_and_counted(struct rig *rig)
{
    struct far *far = rig_connect_raw(rig, 0, 0);

    far_send_raw(rig, far, "GET / HTTP/1.1\r\n\r\n", 18);
    WAIT(rig, rig->sides[0].ends == 1);
    assert_int_equal(rig->sides[0].end, STREAM_END_TLS);
    assert_int_equal(rig->sides[0].ready, 0);
    assert_int_equal(counter_read(&rig->io.counters.tls_failures[TLS_FAILURE_NOT_TLS]), 1);
}

static void test_handshake_failure_is_told_and_counted(void **state)
{
    (void)state;
    with_each(handshake_failure_is_told_and_counted, false);
}

static size_t seal_key_update(struct far *far, uint8_t *out)
{
    assert_int_equal(SSL_key_update(far->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(far->ssl), 1);
    return far_sealed(far, out);
}

// Data, the request, data under the new keys, our answer, goodbye: all in one segment.
static void key_update_between_data(struct rig *rig)
{
    static uint8_t sealed[SEALED_MAX_BYTES];
    size_t len;

    struct far *far = rig_connect(rig, 0, 0), *other = rig_connect(rig, 1, 0);

    rig->sides[0].on_data = answer;
    len = far_seal(far, "one", 3, sealed);
    len += seal_key_update(far, sealed + len);
    len += far_seal(far, "two", 3, sealed + len);
    SSL_shutdown(far->ssl);
    len += far_sealed(far, sealed + len);
    far_send_raw(rig, far, sealed, len);
    WAIT(rig, far->eof && other->got_len >= 10);
    assert_int_equal(rig->sides[0].end, STREAM_END_EOF);
    assert_memory_equal(rig->sides[0].got, "onetwo", 6);
    assert_true(far->got_len >= 6);
    assert_memory_equal(far->got, "answer", 6);
    assert_false(far->failed || other->failed);
}

static void test_key_update_between_data(void **state)
{
    (void)state;
    with_tls13(key_update_between_data);
}

static void send_key_update(struct rig *rig, struct far *far)
{
    uint8_t sealed[1024];

    far_send_raw(rig, far, sealed, seal_key_update(far, sealed));
}

// The peer asks for new keys again and again while data flows both ways.
static void key_updates_while_data_flows(struct rig *rig)
{
    uint8_t *data = noise(30000);
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    flow_start(side, 40);
    for (int i = 0; i < 30; i++) {
        send_key_update(rig, far);
        far_send(rig, far, data + i * 1000, 1000);
        pump(rig);
    }
    flow_expect(rig, side, far, 40);
    WAIT(rig, side->got_len == 30000);
    assert_memory_equal(side->got, data, 30000);
    assert_false(far->failed);
    assert_int_equal(side->ends, 0);
    free(data);
}

static void test_key_updates_while_data_flows(void **state)
{
    (void)state;
    with_tls13(key_updates_while_data_flows);
}

// A slow reader's request is answered in its place, behind what waits for the socket.
static void key_update_of_a_slow_reader(struct rig *rig)
{
    uint8_t *data = noise(IO_WRITE_PLAIN_BYTES);
    struct far *far = rig_connect(rig, 0, SMALL_BUFFER);
    struct side *side = &rig->sides[0];

    assert_int_equal(side_write(side, data, IO_WRITE_PLAIN_BYTES), 0);
    assert_true(stream_blocked(side->stream));
    send_key_update(rig, far);
    far_send(rig, far, "abc", 3);
    for (int i = 0; side->got_len < 3; i++)
        turn(rig);
    assert_int_equal(side->ends, 0);
    WAIT(rig, side->drained == 1);
    assert_int_equal(side_write(side, "def", 3), 0);
    WAIT(rig, far->got_len == IO_WRITE_PLAIN_BYTES + 3);
    assert_memory_equal(far->got, data, IO_WRITE_PLAIN_BYTES);
    assert_memory_equal(far->got + IO_WRITE_PLAIN_BYTES, "def", 3);
    settle(rig);
    assert_int_equal(side->drained, 1);
    free(data);
}

static void test_key_update_of_a_slow_reader(void **state)
{
    (void)state;
    with_tls13(key_update_of_a_slow_reader);
}

// One that asks without end and never reads, data between: OpenSSL answers each request; the
// detached engine owes it one answer in front of the next data, however often it asks (RFC 8446,
// section 4.6.3). Both cut it off when it has asked too often. Meanwhile the owner may write.
static void key_updates_without_reading(struct rig *rig)
{
    uint8_t sealed[4096];
    struct far *far = rig_connect(rig, 0, SMALL_BUFFER);
    struct side *side = &rig->sides[0];
    const uint64_t until = clock_ms() + PATIENCE_MS;
    int asked = 0;

    side->on_data = answer;
    while (side->ends == 0) {
        size_t len = seal_key_update(far, sealed);

        len += far_seal(far, "a", 1, sealed + len);
        far_send_raw(rig, far, sealed, len);
        turn(rig);
        asked++;
        assert_true(clock_ms() < until);
        assert_true(side->ends ||
                    side->stream->answers <= (rig->io.detach ? 0 : STREAM_ANSWERS_MAX));
    }
    assert_in_range(asked, 33, 33 + PATIENCE_MS / 1000);
    assert_int_equal(side->end, STREAM_END_TLS);
    assert_int_equal(counter_read(&rig->io.counters.tls_record_faults), 1);
}

// A full socket keeps few answers.
static void key_updates_behind_a_full_socket(struct rig *rig)
{
    const int most = rig->io.detach ? 32 : STREAM_ANSWERS_MAX;
    uint8_t *data = noise(IO_WRITE_PLAIN_BYTES);
    struct far *far = rig_connect(rig, 0, SMALL_BUFFER);
    struct side *side = &rig->sides[0];
    int asked = 0;

    assert_int_equal(side_write(side, data, IO_WRITE_PLAIN_BYTES), 0);
    while (side->ends == 0 && asked < 2 * most) {
        send_key_update(rig, far);
        turn(rig);
        asked++;
    }
    assert_in_range(asked, most + 1, most + 3);
    assert_int_equal(side->end, rig->io.detach ? STREAM_END_TLS : STREAM_END_RESET);
    free(data);
}

static void test_key_updates_behind_a_full_socket(void **state)
{
    (void)state;
    with_tls13(key_updates_behind_a_full_socket);
}

static void test_key_updates_without_reading(void **state)
{
    (void)state;
    with_tls13(key_updates_without_reading);
}

// Nothing but KeyUpdates, which cost us far more than their bytes: either engine ends it soon.
static void key_updates_without_data(struct rig *rig)
{
    uint8_t sealed[4096];
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];
    size_t sent = 0;

    while (side->ends == 0 && sent < 256 * 1024) {
        size_t len = 0;

        for (int i = 0; i < 20; i++) {
            assert_int_equal(SSL_key_update(far->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
            assert_int_equal(SSL_do_handshake(far->ssl), 1);
            len += far_sealed(far, sealed + len);
        }
        far_send_raw(rig, far, sealed, len);
        sent += len;
        turn(rig);
    }
    assert_int_equal(side->end, STREAM_END_TLS);
    assert_true(sent < 40 * 1024);
    assert_int_equal(counter_read(&rig->io.counters.tls_record_faults), 1);
}

static void test_key_updates_without_data(void **state)
{
    (void)state;
    with_tls13(key_updates_without_data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_behind_data),
        cmocka_unit_test(test_fault_alone),
        cmocka_unit_test(test_handshake_failure_is_told_and_counted),
        cmocka_unit_test(test_key_update_between_data),
        cmocka_unit_test(test_key_updates_while_data_flows),
        cmocka_unit_test(test_key_update_of_a_slow_reader),
        cmocka_unit_test(test_key_updates_behind_a_full_socket),
        cmocka_unit_test(test_key_updates_without_reading),
        cmocka_unit_test(test_key_updates_without_data),
    };
    return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
