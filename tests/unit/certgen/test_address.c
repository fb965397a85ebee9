// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/address.h"

#include "material.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
