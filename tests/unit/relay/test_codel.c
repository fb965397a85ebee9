// SPDX-License-Identifier: BSD-3-Clause
#include "relay/codel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define LONG_MS (CODEL_TARGET_MS + 1)

// Asks once a millisecond from `*now_ms` on. Returns the drops.
static unsigned run(struct codel *codel, uint64_t *now_ms, unsigned for_ms, uint64_t waited_ms)
{
    unsigned drops = 0;

    for (unsigned i = 0; i < for_ms; i++, ++*now_ms)
        while (codel_drops(codel, *now_ms, waited_ms))
            drops++;
    return drops;
}

static void test_short_queue_loses_nothing(void **state)
{
    struct codel codel = {0};
    uint64_t now_ms = 1000;

    (void)state;
    assert_int_equal(run(&codel, &now_ms, 10 * CODEL_INTERVAL_MS, CODEL_TARGET_MS - 1), 0);
}

// Also when many bursts follow each other, as long as the queue is short once in an interval.
static void test_bursts_lose_nothing(void **state)
{
    struct codel codel = {0};
    uint64_t now_ms = 1000;

    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(run(&codel, &now_ms, CODEL_INTERVAL_MS - 1, 500), 0);
        assert_int_equal(run(&codel, &now_ms, 1, 0), 0);
    }
}

// One drop after an interval, the second an interval later, then more and more often.
static void test_long_queue_loses_more_and_more(void **state)
{
    struct codel codel = {0};
    uint64_t now_ms = 1000;
    unsigned before = 0;

    (void)state;
    assert_int_equal(run(&codel, &now_ms, CODEL_INTERVAL_MS, LONG_MS), 0);
    assert_int_equal(run(&codel, &now_ms, 1, LONG_MS), 1);
    assert_int_equal(run(&codel, &now_ms, CODEL_INTERVAL_MS - 1, LONG_MS), 0);
    assert_int_equal(run(&codel, &now_ms, 1, LONG_MS), 1);
    for (int i = 0; i < 5; i++) {
        const unsigned drops = run(&codel, &now_ms, 4 * CODEL_INTERVAL_MS, LONG_MS);

        assert_true(drops > before);
        before = drops;
    }
}

static void test_rate_of_drops_is_bounded(void **state)
{
    struct codel codel = {0};
    uint64_t now_ms = 1000;
    unsigned drops;

    (void)state;
    run(&codel, &now_ms, 3000 * CODEL_INTERVAL_MS, LONG_MS);
    drops = run(&codel, &now_ms, 10 * CODEL_INTERVAL_MS, LONG_MS);
    assert_in_range(drops, 300, 350); // the square root of 1,024 in each interval
}

// Soon after, it goes on nearly where it was; later it begins anew.
static void test_remembers_for_a_while(void **state)
{
    static const struct {
        unsigned pause_ms, least, most;
    } cases[] = {
        {10, 15, 25},
        {8 * CODEL_INTERVAL_MS - 2, 15, 25},
        {8 * CODEL_INTERVAL_MS + 10, 1, 4},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct codel codel = {0};
        uint64_t now_ms = UINT32_MAX - 20 * CODEL_INTERVAL_MS; // the low bits begin anew on the way

        run(&codel, &now_ms, 20 * CODEL_INTERVAL_MS, LONG_MS);
        assert_int_equal(run(&codel, &now_ms, cases[i].pause_ms, 0), 0);
        assert_int_equal(run(&codel, &now_ms, CODEL_INTERVAL_MS, LONG_MS), 0);
        assert_in_range(run(&codel, &now_ms, 2 * CODEL_INTERVAL_MS, LONG_MS), cases[i].least,
                        cases[i].most);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_queue_loses_nothing),
        cmocka_unit_test(test_bursts_lose_nothing),
        cmocka_unit_test(test_long_queue_loses_more_and_more),
        cmocka_unit_test(test_rate_of_drops_is_bounded),
        cmocka_unit_test(test_remembers_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
