// SPDX-License-Identifier: BSD-3-Clause
#include "server/go_duration.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define MS INT64_C(1000000)
#define S INT64_C(1000000000)

static const struct {
    const char *text;
    int64_t ns;
} durations[] = {
    {"0", 0},
    {"+0", 0},
    {"-0", 0},
    {"0s", 0},
    {"5s", 5 * S},
    {"10m0s", 600 * S},
    {"1h15m30.918s", 4530 * S + 918 * MS},
    {"300ms", 300 * MS},
    {"1.5h", 5400 * S},
    {"-1s", -S},
    {"-.5s", -S / 2},
    {"+2s", 2 * S},
    {"1.s", S},
    {".25s", 250 * MS},
    {"12us", 12000},
    {"12\xc2\xb5s", 12000},
    {"12\xce\xbcs", 12000},
    {"7ns", 7},
    {"0.3ns", 0},
    {"0.000000001s", 1},
    {"1s1s", 2 * S},
    {"1s1h", 3601 * S},
    {"0.3333333333333333333h", 1200 * S},
    {"0.9223372036854775807h", INT64_C(3320413933267)},
    {"0.830103483285477580700h", INT64_C(2988372539827)},
    {"9223372036854775807ns", INT64_MAX},
    {"-9223372036854775808ns", INT64_MIN},
    {"-2562047h47m16.854775808s", INT64_MIN},
};

static const char *const bad_durations[] = {
    "",
    "3",
    "-",
    "s",
    ".",
    "-.",
    ".s",
    "+.s",
    "1d",
    "1 s",
    "1s ",
    " 1s",
    "1e3s",
    "--1s",
    "1min",
    "1S",
    "1m 2s",
    "00",
    "1.2.3s",
    "0x1s",
    "1\xc2s",
    "9223372036854775808ns",
    "9223372036854775.808us",
    "3000000h",
    "-9223372036854775809ns",
    "99999999999999999999999s",
    "1s-1s",
};

static void test_durations(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(durations); i++) {
        int64_t ns = 42;

        print_message("%s\n", durations[i].text);
        assert_true(duration_parse(durations[i].text, &ns));
        assert_int_equal(ns, durations[i].ns);
    }
}

static void test_bad_durations(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_durations); i++) {
        int64_t ns = 42;

        print_message("\"%s\"\n", bad_durations[i]);
        assert_false(duration_parse(bad_durations[i], &ns));
        assert_int_equal(ns, 42);
    }
}

static void test_milliseconds_round_up(void **state)
{
    (void)state;
    assert_int_equal(duration_ms_up(0), 0);
    assert_int_equal(duration_ms_up(1), 1);
    assert_int_equal(duration_ms_up(MS), 1);
    assert_int_equal(duration_ms_up(MS + 1), 2);
    assert_int_equal(duration_ms_up(INT64_MAX), INT64_MAX / MS + 1);
}

static const struct {
    const char *text;
    int64_t value;
} ints[] = {
    {"0", 0},
    {"-0", 0},
    {"7", 7},
    {"+7", 7},
    {"-1", -1},
    {"0x50", 80},
    {"0X50", 80},
    {"0xfF", 255},
    {"0b101", 5},
    {"0B1", 1},
    {"0o17", 15},
    {"0O17", 15},
    {"017", 15},
    {"-0x1", -1},
    {"1_000", 1000},
    {"0x_5_0", 80},
    {"0_7", 7},
    {"0b_1", 1},
    {"00", 0},
    {"9223372036854775807", INT64_MAX},
    {"-9223372036854775808", INT64_MIN},
    {"0x7fffffffffffffff", INT64_MAX},
};

static const char *const bad_ints[] = {
    "",
    "-",
    "+",
    "x",
    "0x",
    "0b",
    "0o",
    "0b2",
    "0o8",
    "08",
    "1.0",
    "1e3",
    " 1",
    "1 ",
    "--1",
    "_1",
    "1_",
    "1__0",
    "0x1_",
    "0x__1",
    "0_",
    "a",
    "0xg",
    "1,0",
    "0_x1",
    "-_1",
    "0x_",
    "9223372036854775808",
    "-9223372036854775809",
    "99999999999999999999999",
};

static void test_ints(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(ints); i++) {
        int64_t value = 42;

        print_message("%s\n", ints[i].text);
        assert_true(go_int_parse(ints[i].text, &value));
        assert_int_equal(value, ints[i].value);
    }
    for (size_t i = 0; i < COUNT(bad_ints); i++) {
        int64_t value = 42;

        print_message("\"%s\"\n", bad_ints[i]);
        assert_false(go_int_parse(bad_ints[i], &value));
        assert_int_equal(value, 42);
    }
}

static const struct {
    const char *text;
    double value;
} floats[] = {
    {"0", 0},          {"1.5", 1.5},       {".5", 0.5},
    {"5.", 5},         {"1e3", 1000},      {"1E-1", 0.1},
    {"-2", -2},        {"+2", 2},          {"1_000.5", 1000.5},
    {"0x1p4", 16},     {"0x1.8p1", 3},     {"0X_1P-1", 0.5},
    {"inf", INFINITY}, {"+Inf", INFINITY}, {"-INFINITY", -INFINITY},
};

static const char *const bad_floats[] = {
    "",   "-",    ".",    "e1", "1e", "1e+", "0x1",   "0x",   "nan",  "NaN", "1..2",
    "1_", "_1.0", "1_e3", " 1", "1 ", "1f",  "1e999", "infi", "0xp1", "1,5", "1p3",
};

static void test_floats(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(floats); i++) {
        double value = 42;

        print_message("%s\n", floats[i].text);
        assert_true(go_float_parse(floats[i].text, &value));
        assert_true(value == floats[i].value);
    }
    for (size_t i = 0; i < COUNT(bad_floats); i++) {
        double value = 42;

        print_message("\"%s\"\n", bad_floats[i]);
        assert_false(go_float_parse(bad_floats[i], &value));
        assert_true(value == 42);
    }
}

static void test_bools(void **state)
{
    static const char *const yes[] = {"1", "t", "T", "true", "True", "TRUE"};
    static const char *const no[] = {"0", "f", "F", "false", "False", "FALSE"};
    static const char *const bad[] = {"", "yes", "on", "off", "tRUE", "2", "true "};
    bool value;

    (void)state;
    for (size_t i = 0; i < COUNT(yes); i++) {
        assert_true(go_bool_parse(yes[i], &value));
        assert_true(value);
        assert_true(go_bool_parse(no[i], &value));
        assert_false(value);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(go_bool_parse(bad[i], &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_bad_durations),
        cmocka_unit_test(test_milliseconds_round_up),
        cmocka_unit_test(test_ints),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_bools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
