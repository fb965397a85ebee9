// SPDX-License-Identifier: BSD-3-Clause
#include "base/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>

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

static const struct bucket_rate bytes = {.per_second = 1000, .burst = 500};

static void test_charge(void **state)
{
    struct bucket bucket = {0};
    const uint64_t start_ns = 7 * SECOND;

    (void)state;
    assert_int_equal(bucket_charge(&bucket, &bytes, 500, start_ns), 0); // the burst
    assert_int_equal(bucket_charge(&bucket, &bytes, 100, start_ns), 100 * MS);
    assert_int_equal(bucket_charge(&bucket, &bytes, 0, start_ns + 60 * MS), 40 * MS);
    assert_int_equal(bucket_charge(&bucket, &bytes, 30, start_ns + 60 * MS), 70 * MS);
    assert_int_equal(bucket_charge(&bucket, &bytes, 0, start_ns + 130 * MS), 0);
    assert_int_equal(bucket_charge(&bucket, &bytes, 1, start_ns + 130 * MS), MS);
    assert_int_equal(bucket_charge(&bucket, &bytes, 501, start_ns + 3600 * SECOND), MS);
}

// Whoever waits for as long as it is told, and a bit longer each time, still has the rate.
static void test_charge_keeps_the_rate(void **state)
{
    struct bucket bucket = {0};
    uint64_t now_ns = SECOND, taken = 0;

    (void)state;
    while (now_ns < 101 * SECOND) {
        const uint64_t wait_ns = bucket_charge(&bucket, &bytes, 130, now_ns);

        taken += 130;
        now_ns += wait_ns > 0 ? wait_ns + 20 * MS : 0;
    }
    assert_in_range(taken, 100 * 1000, 100 * 1000 + 500 + 130 + 20);
}

#define THREADS 4
#define TRIES 20000

static struct shared_bucket shared;

static void *take_many(void *data)
{
    static const struct bucket_rate rate = {.per_second = 0.01, .burst = 30000};
    unsigned *granted = data;

    for (int i = 0; i < TRIES; i++)
        *granted += bucket_take_shared(&shared, &rate, SECOND);
    return NULL;
}

static void test_shared_by_threads(void **state)
{
    pthread_t threads[THREADS];
    unsigned granted[THREADS] = {0}, all = 0;

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &granted[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        all += granted[i];
    }
    assert_int_equal(all, 30000);
}

static void test_shared_is_as_the_other(void **state)
{
    const struct bucket_rate rate = {.per_second = 7, .burst = 3};
    struct shared_bucket one = {0};
    struct bucket other = {0};

    (void)state;
    for (uint64_t ms = 0; ms <= 10 * 1000; ms++)
        assert_int_equal(bucket_take_shared(&one, &rate, ms * MS),
                         bucket_take(&other, &rate, ms * MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_long_run_keeps_the_rate),
        cmocka_unit_test(test_charge),
        cmocka_unit_test(test_charge_keeps_the_rate),
        cmocka_unit_test(test_shared_by_threads),
        cmocka_unit_test(test_shared_is_as_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
