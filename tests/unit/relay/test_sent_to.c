// SPDX-License-Identifier: BSD-3-Clause
#include "relay/sent_to.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define MODEL 200
#define FULL_BYTES (sizeof(struct sent_to) + SENT_TO_MAX * sizeof(uint64_t))

static size_t asked;

static bool keep_all(uint64_t hash, void *data)
{
    (void)hash, (void)data;
    asked++;
    return true;
}

static bool keep_even(uint64_t hash, void *data)
{
    (void)data;
    asked++;
    return hash % 2 == 0;
}

static bool add(struct sent_to **set, uint64_t hash)
{
    return sent_to_add(set, hash, 0, keep_all, NULL);
}

static bool holds(const struct sent_to *set, uint64_t hash)
{
    for (size_t i = 0; set && i < set->count; i++)
        if (set->hashes[i] == hash)
            return true;
    return false;
}

static void check_shape(const struct sent_to *set)
{
    assert_true(set->count <= set->capacity && set->capacity <= SENT_TO_MAX);
    for (size_t i = 1; i < set->count; i++)
        assert_true(set->hashes[i - 1] < set->hashes[i]);
}

static struct sent_to *range(uint64_t from, uint64_t to)
{
    struct sent_to *set = NULL;

    while (from < to)
        assert_true(add(&set, from++));
    return set;
}

static void test_against_model(void **state)
{
    (void)state;
    srand(1);
    for (int round = 0; round < 50; round++) {
        struct sent_to *set = NULL;
        bool in[MODEL] = {false};
        size_t count = 0;

        for (int n = 0; n < 2 * MODEL; n++) {
            const uint64_t i = (uint64_t)rand() % MODEL;

            assert_int_equal(holds(set, i), in[i]);
            assert_true(add(&set, i));
            count += !in[i];
            in[i] = true;
            check_shape(set);
            assert_int_equal(set->count, count);
        }
        for (uint64_t i = 0; i < MODEL; i++)
            assert_int_equal(holds(set, i), in[i]);
        sent_to_free(set);
    }
}

static void test_edges(void **state)
{
    struct sent_to *set = NULL;

    (void)state;
    assert_true(add(&set, UINT64_MAX));
    assert_true(add(&set, 0));
    assert_true(holds(set, 0) && holds(set, UINT64_MAX));
    assert_int_equal(set->count, 2);
    assert_int_equal(set->capacity, 2); // most clients speak with few
    sent_to_free(set);
    sent_to_free(NULL);
}

static void test_bound(void **state)
{
    struct sent_to *set = range(0, SENT_TO_MAX);

    (void)state;
    assert_false(add(&set, SENT_TO_MAX));
    assert_true(add(&set, 7)); // is there
    assert_int_equal(set->count, SENT_TO_MAX);
    assert_int_equal(set->capacity, SENT_TO_MAX);
    sent_to_free(set);
}

// Those that have left make room before memory grows, and at the limit now and then.
static void test_sweep(void **state)
{
    struct sent_to *set = NULL;
    uint64_t now_ms = UINT32_MAX - 5u; // the low bits pass zero

    (void)state;
    for (uint64_t n = 0; n < 1000; n++)
        assert_true(sent_to_add(&set, 2 * n + 1, now_ms, keep_even, NULL));
    assert_true(set->capacity <= 6);
    sent_to_free(set);

    set = range(0, SENT_TO_MAX);
    assert_false(sent_to_add(&set, SENT_TO_MAX, now_ms, keep_all, NULL));
    asked = 0;
    now_ms += SENT_TO_SWEEP_MS - 1;
    assert_false(sent_to_add(&set, SENT_TO_MAX, now_ms, keep_even, NULL));
    assert_int_equal(asked, 0);
    now_ms++;
    assert_true(sent_to_add(&set, SENT_TO_MAX, now_ms, keep_even, NULL));
    assert_int_equal(asked, SENT_TO_MAX);
    assert_int_equal(set->count, SENT_TO_MAX / 2 + 1);
    for (uint64_t n = 0; n <= SENT_TO_MAX; n++)
        assert_int_equal(holds(set, n), n % 2 == 0);
    check_shape(set);
    sent_to_free(set);
}

// Each look at a remembered one is paid for by few that were added.
static void test_sweeps_are_few(void **state)
{
    struct sent_to *set = NULL;

    (void)state;
    asked = 0;
    for (uint64_t n = 0; n < SENT_TO_MAX; n++)
        add(&set, n);
    assert_true(asked <= 2 * SENT_TO_MAX);
    sent_to_free(set);
}

static void test_merge(void **state)
{
    static const struct {
        uint32_t from, to, other_from, other_to, count;
    } cases[] = {
        {0, 0, 0, 0, 0},
        {0, 10, 0, 0, 10},
        {0, 0, 0, 10, 10},
        {0, 10, 10, 20, 20},
        {10, 20, 0, 10, 20},
        {0, 10, 5, 20, 20},
        {0, 10, 0, 10, 10},
        {0, SENT_TO_MAX, 5, 10, SENT_TO_MAX},
        {0, SENT_TO_MAX, SENT_TO_MAX, SENT_TO_MAX + 10, SENT_TO_MAX},
        {0, SENT_TO_MAX - 3, SENT_TO_MAX, 2 * SENT_TO_MAX, SENT_TO_MAX},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sent_to *both = sent_to_merge(range(cases[i].from, cases[i].to),
                                             range(cases[i].other_from, cases[i].other_to));

        assert_int_equal(both ? both->count : 0, cases[i].count);
        if (both)
            check_shape(both);
        for (uint32_t n = 0; n < cases[i].count; n++)
            assert_true(holds(both, n) || cases[i].count == SENT_TO_MAX);
        sent_to_free(both);
    }
}

// Beyond what all may take together, those that have many keep them, and others get few; until
// somebody goes.
static void test_all_together(void **state)
{
    static struct sent_to *sets[SENT_TO_ALL_BYTES / FULL_BYTES + 1];
    const size_t count = sizeof sets / sizeof sets[0];
    struct sent_to *late = NULL;

    (void)state;
    for (size_t i = 0; i < count; i++)
        sets[i] = range(0, SENT_TO_MAX);
    for (uint64_t n = 0; n < 2 * SENT_TO_FEW; n++)
        assert_int_equal(add(&late, n), n < SENT_TO_FEW);
    assert_int_equal(late->capacity, SENT_TO_FEW);
    assert_true(add(&sets[0], SENT_TO_MAX - 1));
    for (size_t i = 0; i < count; i++)
        sent_to_free(sets[i]);
    assert_true(add(&late, SENT_TO_FEW));
    assert_int_equal(late->count, SENT_TO_FEW + 1);
    sent_to_free(late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),  cmocka_unit_test(test_edges),
        cmocka_unit_test(test_bound),          cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_sweeps_are_few), cmocka_unit_test(test_merge),
        cmocka_unit_test(test_all_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
