// SPDX-License-Identifier: BSD-3-Clause
//
// What the figures rest on: percentiles, and telling a right packet from a wrong one.
#include "histogram.h"
#include "payload.h"
#include "stun_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void test_percentiles(void **state)
{
    struct histogram *h = calloc(1, sizeof *h);

    (void)state;
    for (uint64_t i = 1; i <= 1000; i++)
        histogram_add(h, i * 1000, 1);
    assert_in_range(histogram_at(h, 0.5), 500000, 508000);
    assert_in_range(histogram_at(h, 0.99), 990000, 1000000);
    assert_in_range(histogram_at(h, 0.001), 1000, 1016);
    assert_int_equal(histogram_at(h, 1), 1000000);
    free(h);
}

static void test_every_size_has_a_bucket(void **state)
{
    (void)state;
    for (int bit = 0; bit < 64; bit++)
        for (int64_t around = -1; around <= 1; around++) {
            struct histogram *h = calloc(1, sizeof *h);
            const uint64_t ns = (1ULL << bit) + (uint64_t)around;

            histogram_add(h, ns, 3);
            histogram_add(h, UINT64_MAX, 1);
            assert_true(histogram_at(h, 0.5) >= ns);
            assert_true(histogram_at(h, 0.5) - ns <= ns / 64);
            assert_int_equal(h->count, 4);
            free(h);
        }
}

static void test_empty_histogram(void **state)
{
    static const struct histogram empty;
    json_t *json = histogram_json(&empty);

    (void)state;
    assert_int_equal(histogram_at(&empty, 0.5), 0);
    assert_true(json_is_null(json));
    json_decref(json);
}

static void test_payloads(void **state)
{
    static const size_t sizes[] = {PAYLOAD_MIN_BYTES, 64, 1200, PAYLOAD_MAX_BYTES};
    static uint8_t bytes[PAYLOAD_MAX_BYTES];
    const struct payload in = {.flow = 7, .sequence = 123456789, .planned_ns = 1ULL << 40};
    struct payload out;

    (void)state;
    payload_init();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        payload_put(bytes, sizes[i], &in);
        assert_true(payload_check(bytes, sizes[i], &out));
        assert_int_equal(out.flow, in.flow);
        assert_int_equal(out.sequence, in.sequence);
        assert_int_equal(out.planned_ns, in.planned_ns);
        bytes[sizes[i] - 1] ^= 1;
        assert_int_equal(payload_check(bytes, sizes[i], &out), sizes[i] == PAYLOAD_MIN_BYTES);
    }
    assert_false(payload_check(bytes, PAYLOAD_MIN_BYTES - 1, &out));
}

// The second half of one packet behind the first half of the next.
static void test_mixed_packets_are_seen(void **state)
{
    uint8_t one[1200], two[1200];
    struct payload out;

    (void)state;
    payload_init();
    payload_put(one, sizeof one, &(struct payload){.flow = 1, .sequence = 5});
    payload_put(two, sizeof two, &(struct payload){.flow = 1, .sequence = 6});
    memcpy(one + 600, two + 600, 600);
    assert_false(payload_check(one, sizeof one, &out));
}

// The fingerprint is right when Tailscale's server answers at all; this is about reading answers.
static void test_stun(void **state)
{
    uint8_t request[STUN_REQUEST_BYTES];
    uint8_t answer[] = {1,   1, 0, 12, 0x21, 0x12, 0xa4, 0x42, 'l',  'o', 'a',
                        'd', 9, 0, 0,  0,    0,    0,    0,    0,    0,   0x20,
                        0,   8, 0, 1,  0x33, 0x45, 0x5e, 0x12, 0xa4, 0x43};
    uint64_t number;

    (void)state;
    stun_request_put(request, 9);
    assert_memory_equal(request + 8, answer + 8, 12);
    assert_true(stun_request_answer(answer, sizeof answer, 0x3345 ^ 0x2112, &number));
    assert_int_equal(number, 9);
    assert_false(stun_request_answer(answer, sizeof answer, 1, &number));
    for (size_t len = 0; len < sizeof answer; len++)
        assert_false(stun_request_answer(answer, len, 0x3345 ^ 0x2112, &number));
}

static void test_stun_echo(void **state)
{
    uint8_t request[STUN_REQUEST_BYTES];
    uint64_t number;

    (void)state;
    stun_request_put(request, 9);
    assert_true(stun_request_echo(request, STUN_ECHO_BYTES, &number));
    assert_int_equal(number, 9);
    for (size_t len = 0; len <= sizeof request; len++)
        assert_int_equal(stun_request_echo(request, len, &number), len == STUN_ECHO_BYTES);
    for (size_t i = 0; i < STUN_ECHO_BYTES; i++) {
        request[i] ^= 1;
        assert_true(!stun_request_echo(request, STUN_ECHO_BYTES, &number) || number != 9);
        request[i] ^= 1;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_every_size_has_a_bucket),
        cmocka_unit_test(test_empty_histogram),
        cmocka_unit_test(test_payloads),
        cmocka_unit_test(test_mixed_packets_are_seen),
        cmocka_unit_test(test_stun),
        cmocka_unit_test(test_stun_echo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
