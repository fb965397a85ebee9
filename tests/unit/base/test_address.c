// SPDX-License-Identifier: BSD-3-Clause
#include "base/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <cmocka.h>
#include <string.h>

static const struct {
    const char *text, *address; // NULL: none
} texts[] = {
    {"192.0.2.1", "::ffff:192.0.2.1"},
    {"0.0.0.0", "::ffff:0.0.0.0"},
    {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
    {"2001:db8::1", "2001:db8::1"},
    {"::", "::"},
    {"", NULL},
    {"192.0.2", NULL},
    {"192.0.2.1:443", NULL},
    {"192.0.2.01", NULL},
    {"[2001:db8::1]", NULL},
    {"fe80::1%lo", NULL},
    {"2001:db8::1 ", NULL},
};

static void test_from_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct in6_addr address, wanted;

        memset(&address, 0x55, sizeof address);
        memset(&wanted, 0x55, sizeof wanted);
        if (texts[i].address)
            assert_int_equal(inet_pton(AF_INET6, texts[i].address, &wanted), 1);
        assert_int_equal(address_from_text(&address, texts[i].text), texts[i].address != NULL);
        assert_memory_equal(&address, &wanted, sizeof address);
    }
}

static void test_map(void **state)
{
    struct in6_addr address;
    struct in_addr ipv4;

    (void)state;
    memset(&address, 0x55, sizeof address);
    assert_int_equal(inet_pton(AF_INET, "203.0.113.7", &ipv4), 1);
    address_map(&address, &ipv4);
    assert_true(IN6_IS_ADDR_V4MAPPED(&address));
    assert_memory_equal(address.s6_addr + 12, &ipv4, sizeof ipv4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_text),
        cmocka_unit_test(test_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
