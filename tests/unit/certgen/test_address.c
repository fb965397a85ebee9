// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/address.h"

#include "certgen/error.h"
#include "material.h"

#include <string.h>

static const struct {
    const char *text;
    size_t len; // 0: no address
    uint8_t bytes[16];
} cases[] = {
    {"203.0.113.1", 4, {203, 0, 113, 1}},
    {"0.0.0.0", 4, {0}},
    {"::ffff:203.0.113.1", 4, {203, 0, 113, 1}},
    {"::1", 16, {[15] = 1}},
    {"2001:DB8::a", 16, {0x20, 0x01, 0x0d, 0xb8, [15] = 0x0a}},
    {"", 0},
    {"203.0.113", 0},
    {"203.0.113.256", 0},
    {" 203.0.113.1", 0},
    {"203.0.113.1:443", 0},
    {"[::1]", 0},
    {"fe80::1%eth0", 0},
    {"a.example", 0},
};

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct cert_address address;

        print_message("\"%s\"\n", cases[i].text);
        assert_int_equal(cert_address_parse(cases[i].text, &address), cases[i].len > 0);
        if (cases[i].len == 0)
            continue;
        assert_int_equal(address.len, cases[i].len);
        assert_memory_equal(address.bytes, cases[i].bytes, address.len);
    }
}

static const struct {
    const char *given, *canonical;
} spellings[] = {
    {"2001:db8::1", "2001:db8::1"},  {"2001:DB8:0::1", "2001:db8::1"},
    {"::ffff:10.0.0.1", "10.0.0.1"}, {"::FFFF:a00:2", "10.0.0.2"},
    {"0:0:0:0:0:0:0:2", "::2"},      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
    {"203.0.113.1", "203.0.113.1"},  {"DERP.Example", "derp.example"},
};

static void test_one_spelling(void **state)
{
    char error[CERT_ERROR_BYTES] = "", out[COUNT(spellings)][CERT_NAME_BYTES];

    (void)state;
    for (size_t i = 0; i < COUNT(spellings); i++) {
        assert_true(cert_names_canonical(out, &spellings[i].given, 1, error, sizeof error));
        assert_string_equal(out[0], spellings[i].canonical);
    }
}

static void test_twice(void **state)
{
    static const char *const twice[][2] = {
        {"::1", "0:0::1"}, {"::ffff:10.0.0.1", "10.0.0.1"}, {"a.example", "A.example"}};
    char error[CERT_ERROR_BYTES] = "", out[2][CERT_NAME_BYTES], label[CERT_NAME_BYTES + 1];
    const char *long_name = label;

    (void)state;
    for (size_t i = 0; i < COUNT(twice); i++) {
        assert_false(cert_names_canonical(out, twice[i], 2, error, sizeof error));
        assert_sentence(error, (const char *[]){twice[i][1], "there twice", NULL});
    }
    memset(label, 'a', sizeof label);
    label[CERT_NAME_BYTES] = '\0';
    assert_false(cert_names_canonical(out, &long_name, 1, error, sizeof error));
    assert_non_null(strstr(error, "longer than a name"));
    label[CERT_NAME_BYTES - 1] = '\0';
    assert_true(cert_names_canonical(out, &long_name, 1, error, sizeof error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_one_spelling),
        cmocka_unit_test(test_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
