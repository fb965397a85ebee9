// SPDX-License-Identifier: BSD-3-Clause
#include "base/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

static const struct {
    const char *name;
    struct bucket_rate rate;
    struct {
        uint64_t at_ns;
        unsigned tries, granted;
    } steps[4];
} cases[] = {
    {"full at the start", {1, 3}, {{0, 5, 3}}},
    {"one a second", {1, 3}, {{0, 3, 3}, {SECOND - 1, 1, 0}, {SECOND, 2, 1}, {2 * SECOND, 2, 1}}},
    {"refused tries cost nothing", {1, 1}, {{0, 100, 1}, {SECOND, 100, 1}, {2 * SECOND, 100, 1}}},
    {"never above the burst", {10, 3}, {{0, 3, 3}, {3600 * SECOND, 9, 3}}},
    {"fast flow", {1000, 1}, {{0, 2, 1}, {MS, 2, 1}, {2 * MS - 1, 1, 0}, {2 * MS, 2, 1}}},
    {"parts of a token add up", {1, 1}, {{0, 1, 1}, {SECOND / 2, 1, 0}, {SECOND, 1, 1}}},
    {"a token an hour", {1.0 / 3600, 2}, {{0, 3, 2}, {3599 * SECOND, 1, 0}, {3600 * SECOND, 2, 1}}},
    {"burst below one token", {5, 0.5}, {{0, 1, 0}, {1000 * SECOND, 1, 0}}},
    {"unused for an age", {1, 3}, {{0, 3, 3}, {UINT64_MAX / 2, 4, 3}}},
};

static void check_steps(size_t c, uint64_t start_ns)
{
    struct bucket bucket = {0};

    for (size_t s = 0; s < 4; s++) {
        unsigned granted = 0;

        for (unsigned i = 0; i < cases[c].steps[s].tries; i++)
            granted += bucket_take(&bucket, &cases[c].rate, start_ns + cases[c].steps[s].at_ns);
        assert_int_equal(granted, cases[c].steps[s].granted);
    }
}

static void test_steps(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        print_message("%s\n", cases[c].name);
        check_steps(c, 0);
        check_steps(c, UINT64_MAX / 4);
    }
}

// Polled every millisecond for 100 s: the burst, and then the rate, within one token.
static void test_long_run_keeps_the_rate(void **state)
{
    const struct bucket_rate rate = {.per_second = 7, .burst = 3};
    struct bucket bucket = {0};
    int granted = 0;

    (void)state;
    for (uint64_t ms = 0; ms <= 100 * 1000; ms++)
        granted += bucket_take(&bucket, &rate, 5 + ms * MS);
    assert_in_range(granted, 702, 703);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_long_run_keeps_the_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
