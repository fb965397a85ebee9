// SPDX-License-Identifier: BSD-3-Clause
#include "access/refusal_log.h"

#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct refusal_log refusals;
static char more[REFUSAL_LOG_MORE_BYTES];

static bool due(uint8_t key, uint64_t now_ms)
{
    return refusal_log_due(&refusals, &(struct key){{key}}, now_ms, more);
}

static int reset(void **state)
{
    (void)state;
    refusals = (struct refusal_log){0};
    return 0;
}

// A client that is refused comes again and again: it leaves the others their lines.
static void test_each_key_once(void **state)
{
    (void)state;
    for (uint8_t key = 1; key <= REFUSAL_LOG_KEYS; key++) {
        assert_true(due(key, key));
        assert_string_equal(more, key == 1 ? "" : " (and 3 more since the last such line)");
        for (int i = 0; i < 3; i++)
            assert_false(due(key, key));
    }
}

static void test_bound(void **state)
{
    (void)state;
    for (uint8_t key = 1; key <= 200; key++)
        assert_int_equal(due(key, 1), key <= REFUSAL_LOG_KEYS);
    assert_false(due(1, LOG_LIMIT_PERIOD_MS));
    assert_true(due(1, LOG_LIMIT_PERIOD_MS + 1));
    assert_string_equal(more, " (and 191 more since the last such line)");
    assert_true(due(2, LOG_LIMIT_PERIOD_MS + 1));
    assert_string_equal(more, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_each_key_once, reset),
        cmocka_unit_test_setup(test_bound, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
