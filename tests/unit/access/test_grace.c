// SPDX-License-Identifier: BSD-3-Clause
#include "access/grace.h"

#include "../support/loopback.h"

#include <string.h>

#define SPAN_MS 1000

static struct key key_of(uint32_t n)
{
    struct key key = {{0}};

    memcpy(key.bytes, &n, sizeof n);
    return key;
}

static void test_span(void **state)
{
    const struct key a = key_of(1), b = key_of(2);
    struct grace grace;

    (void)state;
    grace_init(&grace, SPAN_MS);
    assert_int_equal(grace_sources(&grace, &a, 0), 0);
    grace_note(&grace, &a, 5, 100);
    grace_note(&grace, &b, 2, 200);
    assert_int_equal(grace_sources(&grace, &a, 1099), 5);
    assert_int_equal(grace_sources(&grace, &a, 1100), 0);
    assert_int_equal(grace_sources(&grace, &b, 1199), 2);
    grace_note(&grace, &b, 1, 1199);
    assert_int_equal(grace_sources(&grace, &b, 2198), 1);
    grace_forget(&grace, &b);
    grace_forget(&grace, &b);
    assert_int_equal(grace_sources(&grace, &b, 2198), 0);
    assert_int_equal(grace.table.count, 0);
    grace_deinit(&grace);
}

static void test_withdraw(void **state)
{
    const struct key a = key_of(1), b = key_of(2);
    struct grace grace;

    (void)state;
    grace_init(&grace, SPAN_MS);
    grace_note(&grace, &a, 5, 100);
    grace_withdraw(&grace, &a, 3);
    grace_withdraw(&grace, &b, 1);
    assert_int_equal(grace_sources(&grace, &a, 100), 4);
    grace_withdraw(&grace, &a, 4);
    assert_int_equal(grace_sources(&grace, &a, 100), 0);
    assert_int_equal(grace.table.count, 0);
    grace_deinit(&grace);
}

static void test_none(void **state)
{
    const struct key a = key_of(1);
    struct grace grace;

    (void)state;
    grace_init(&grace, 0);
    grace_note(&grace, &a, 1, 100);
    assert_int_equal(grace_sources(&grace, &a, 100), 0);
    grace_deinit(&grace);
}

static void test_bound(void **state)
{
    struct grace grace;
    struct key key;

    (void)state;
    grace_init(&grace, SPAN_MS);
    for (uint32_t i = 0; i < GRACE_ENTRIES_MAX + 10; i++) {
        key = key_of(i);
        assert_int_equal(grace_note(&grace, &key, 1, 100), i >= GRACE_ENTRIES_MAX);
    }
    assert_false(grace_note(&grace, &key, 1, 100));
    assert_int_equal(grace.table.count, GRACE_ENTRIES_MAX);
    key = key_of(9);
    assert_int_equal(grace_sources(&grace, &key, 100), 0);
    key = key_of(10);
    assert_int_equal(grace_sources(&grace, &key, 100), 1);
    grace_deinit(&grace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_span),
        cmocka_unit_test(test_withdraw),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
