// SPDX-License-Identifier: BSD-3-Clause
//
// What a stream keeps of a TLS record that has not come whole: counted from its first byte to its
// end, once the stream is established, and marked to be found when it does not end.
#include "io/stream.h"

#include "../support/stream_rig.h"

#include <string.h>

#define RECORD 16000
#define MOST (17 * 1024) // that a record takes

static uint8_t sealed[SEALED_MAX_BYTES];

static size_t held(const struct rig *rig)
{
    size_t sum = 0;

    for (int i = 0; i < SIDES; i++)
        if (rig->sides[i].stream)
            sum += stream_held_bytes(rig->sides[i].stream);
    assert_int_equal(sum, rig->io.held_bytes);
    return sum;
}

static void send_part(struct rig *rig, const uint8_t *bytes, size_t len)
{
    far_send_raw(rig, &rig->fars[0], bytes, len);
    settle(rig);
}

static size_t seal_data(struct far *far, size_t len)
{
    static const uint8_t data[RECORD];

    return far_seal(far, data, len, sealed);
}

// In every state of a record; one alone at a time, whole ones before and behind.
static void counted_until_it_ends(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];
    size_t len = seal_data(far, RECORD), got = RECORD;

    stream_establish(side->stream);
    assert_int_equal(held(rig), 0);
    send_part(rig, sealed, len);
    assert_int_equal(side->got_len, got);
    assert_int_equal(held(rig), 0);
    for (size_t first = 1; first < len; first = first < 8 ? first + 1 : first * 3) {
        len = seal_data(far, RECORD);
        send_part(rig, sealed, first);
        assert_in_range(held(rig), first, MOST);
        send_part(rig, sealed + first, len - first - 1);
        assert_in_range(held(rig), len - 1, MOST);
        assert_int_equal(side->got_len, got);
        send_part(rig, sealed + len - 1, 1);
        got += RECORD;
        assert_int_equal(side->got_len, got);
        assert_int_equal(held(rig), 0);
    }
    len = seal_data(far, RECORD);
    len += far_seal(far, "next", 4, sealed + len);
    send_part(rig, sealed, len - 3); // data, and the beginning of more
    assert_int_equal(side->got_len, got + RECORD);
    assert_in_range(held(rig), 1, MOST);
    close_side(side); // with what it holds
    assert_int_equal(held(rig), 0);
}

static void test_counted_until_it_ends(void **state)
{
    (void)state;
    with_each(counted_until_it_ends, false);
}

// Newcomers are bounded by their number.
static void counted_from_the_login_on(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];
    const size_t len = seal_data(far, RECORD);

    send_part(rig, sealed, len - 1);
    assert_int_equal(held(rig), 0);
    stream_establish(side->stream);
    assert_in_range(held(rig), len - 1, MOST);
    send_part(rig, sealed + len - 1, 1);
    assert_int_equal(side->got_len, RECORD);
    assert_int_equal(held(rig), 0);
}

static void closed_before_the_login(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    const size_t len = seal_data(far, RECORD);

    send_part(rig, sealed, len - 1);
    close_side(&rig->sides[0]);
    assert_int_equal(held(rig), 0);
}

static void test_newcomers(void **state)
{
    (void)state;
    with_each(counted_from_the_login_on, false);
    with_each(closed_before_the_login, false);
}

static void marked_until_it_ends(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct stream *stream = rig->sides[0].stream;
    size_t len;

    stream_establish(stream);
    assert_false(stream_mark_record(stream));
    assert_false(stream_mark_record(stream)); // there is none
    for (int i = 0; i < 3; i++) {
        len = seal_data(far, RECORD);
        send_part(rig, sealed, len / 2);
        assert_false(stream_mark_record(stream));
        send_part(rig, sealed + len / 2, len - len / 2);
    }
    len = seal_data(far, RECORD);
    send_part(rig, sealed, len / 2);
    assert_false(stream_mark_record(stream));
    send_part(rig, sealed + len / 2, len - len / 2 - 1);
    assert_true(stream_mark_record(stream));
    send_part(rig, sealed + len - 1, 1); // it ends, and another one begins with the next
    len = seal_data(far, RECORD);
    send_part(rig, sealed, 5);
    assert_false(stream_mark_record(stream));
    assert_true(stream_mark_record(stream));
}

static void test_marked_until_it_ends(void **state)
{
    (void)state;
    with_each(marked_until_it_ends, false);
}

static int heard; // on_held

static bool on_data(struct stream *stream, uint8_t *data, size_t len)
{
    (void)stream, (void)data, (void)len;
    return true;
}

static bool on_held(struct stream *stream)
{
    struct side *side = stream_owner(stream);

    assert_true(stream_held_bytes(stream) > 0);
    heard++;
    close_side(side);
    return false;
}

static void owner_hears_and_closes(struct rig *rig)
{
    static const struct stream_callbacks callbacks = {.on_data = on_data, .on_held = on_held};
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];
    size_t len;

    heard = 0;
    stream_set_owner(side->stream, &callbacks, side);
    len = seal_data(far, RECORD);
    send_part(rig, sealed, len / 2);
    assert_int_equal(heard, 0);
    stream_establish(side->stream);
    send_part(rig, sealed + len / 2, len - len / 2);
    assert_int_equal(heard, 0);
    len = seal_data(far, RECORD);
    len += far_seal(far, "next", 4, sealed + len);
    send_part(rig, sealed, len - 1);
    assert_int_equal(heard, 1);
    assert_null(side->stream);
    assert_int_equal(held(rig), 0);
}

static void test_owner_hears_and_closes(void **state)
{
    (void)state;
    with_each(owner_hears_and_closes, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counted_until_it_ends),
        cmocka_unit_test(test_newcomers),
        cmocka_unit_test(test_marked_until_it_ends),
        cmocka_unit_test(test_owner_hears_and_closes),
    };
    return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
