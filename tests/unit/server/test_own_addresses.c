// SPDX-License-Identifier: BSD-3-Clause
#include "server/own_addresses.h"

#include "base/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct {
    const char *text;
    bool public;
} cases[] = {
    {"1.1.1.1", true},
    {"8.8.8.8", true},
    {"9.255.255.255", true},
    {"11.0.0.0", true},
    {"100.63.255.255", true},
    {"100.128.0.0", true},
    {"172.15.0.1", true},
    {"172.32.0.1", true},
    {"223.255.255.255", true},
    {"0.0.0.0", false},
    {"10.0.0.1", false},
    {"100.64.0.1", false},
    {"100.127.255.255", false},
    {"127.0.0.1", false},
    {"169.254.169.254", false},
    {"172.16.0.1", false},
    {"172.31.255.255", false},
    {"192.168.1.1", false},
    {"192.0.2.1", false},
    {"198.51.100.1", false},
    {"203.0.113.1", false},
    {"224.0.0.1", false},
    {"255.255.255.255", false},
    {"2a01:4f8::1", true},
    {"2001:4860::1", true},
    {"3fff:ffff::1", true},
    {"2001:db8::1", false},
    {"::1", false},
    {"::", false},
    {"fe80::1", false},
    {"fd7a:115c:a1e0::1", false},
    {"ff02::1", false},
    {"64:ff9b::1", false},
};

static void test_public(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct in6_addr address;

        print_message("%s\n", cases[i].text);
        assert_true(address_from_text(&address, cases[i].text));
        assert_int_equal(own_address_public(&address), cases[i].public);
    }
}

static void test_of_this_machine(void **state)
{
    char all[4][INET6_ADDRSTRLEN];
    const size_t count = own_addresses(all, 4);

    (void)state;
    assert_true(count <= 4);
    for (size_t i = 0; i < count; i++) {
        struct in6_addr address;

        assert_true(address_from_text(&address, all[i]));
        assert_true(own_address_public(&address));
    }
    assert_int_equal(own_addresses(all, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_public),
        cmocka_unit_test(test_of_this_machine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
