// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/rfc3339.h"

#include "material.h"

static void test_times(void **state)
{
    static const struct {
        const char *text;
        time_t expected;
    } times[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-01-03T00:00:00Z", 1767398400},
        {"2026-01-03T00:00:00.999999999Z", 1767398400},
        {"2026-01-03T02:00:00+02:00", 1767398400},
        {"2026-01-02T18:30:00.5-05:30", 1767398400},
        {"2024-02-29T23:59:60z", 1709251200},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(times); i++) {
        time_t out = -1;

        if (!rfc3339_parse(times[i].text, &out) || out != times[i].expected)
            fail_msg("%s: %lld", times[i].text, (long long)out);
    }
}

static void test_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "2026-01-03",
        "2026-01-03 00:00:00Z",
        "2026-01-03T00:00:00",
        "2026-01-03T00:00:00.Z",
        "2026-01-03T00:00:00Zx",
        "2026-01-03T00:00:00+2:00",
        "2026-01-03T00:00:00+02:00:00",
        "2026-01-03T00:00:00+24:00",
        "2026-00-03T00:00:00Z",
        "2026-13-03T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-01-03T24:00:00Z",
        "-026-01-03T00:00:00Z",
        "2026-01-03T0 :00:00Z",
    };
    time_t out;

    (void)state;
    assert_false(rfc3339_parse(NULL, &out));
    for (size_t i = 0; i < COUNT(texts); i++)
        if (rfc3339_parse(texts[i], &out))
            fail_msg("\"%s\" is taken", texts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
