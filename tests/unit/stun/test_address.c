// SPDX-License-Identifier: BSD-3-Clause
#include "stun/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static const struct {
    const char *text;
    const char *unmapped; // NULL when the same
    bool ipv6;
    bool private;
} addresses[] = {
    {"10.0.0.0", NULL, false, true},
    {"10.255.255.255", NULL, false, true},
    {"9.255.255.255", NULL, false, false},
    {"11.0.0.0", NULL, false, false},
    {"172.15.255.255", NULL, false, false},
    {"172.16.0.0", NULL, false, true},
    {"172.17.0.1", NULL, false, true},
    {"172.31.255.255", NULL, false, true},
    {"172.32.0.0", NULL, false, false},
    {"192.167.255.255", NULL, false, false},
    {"192.168.0.1", NULL, false, true},
    {"192.169.0.0", NULL, false, false},
    {"169.254.1.1", NULL, false, true},
    {"169.253.255.255", NULL, false, false},
    {"127.0.0.1", NULL, false, false},
    {"100.64.0.1", NULL, false, false},
    {"100.127.255.255", NULL, false, false},
    {"203.0.113.7", NULL, false, false},
    {"0.0.0.0", NULL, false, false},
    {"255.255.255.255", NULL, false, false},
    {"::ffff:172.17.0.1", "172.17.0.1", false, true},
    {"::ffff:203.0.113.7", "203.0.113.7", false, false},
    {"::", NULL, true, false},
    {"::1", NULL, true, false},
    {"fe80::1", NULL, true, true},
    {"febf::1", NULL, true, true},
    {"fec0::1", NULL, true, false},
    {"fc00::1", NULL, true, true},
    {"fd00:dead::1", NULL, true, true},
    {"fe00::1", NULL, true, false},
    {"fd7a:115c:a1e0::1", NULL, true, false},
    {"fd7a:115c:a1e1::1", NULL, true, true},
    {"2001:db8::1", NULL, true, false},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL, true, false},
};

static const struct sockaddr *parse(struct sockaddr_storage *out, const char *text, uint16_t port)
{
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &in6->sin6_addr), 1);
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
    }
    return (const struct sockaddr *)out;
}

static void test_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        struct sockaddr_storage storage;
        struct stun_address address;
        char text[STUN_ADDRESS_TEXT_CHARS + 1];

        print_message("%s\n", addresses[i].text);
        assert_true(stun_address_from(&address, parse(&storage, addresses[i].text, 54321)));
        assert_int_equal(address.port, 54321);
        assert_int_equal(address.ipv6, addresses[i].ipv6);
        assert_int_equal(stun_address_private(&address), addresses[i].private);
        stun_address_text(&address, text);
        assert_string_equal(text,
                            addresses[i].unmapped ? addresses[i].unmapped : addresses[i].text);
    }
}

static void test_other_families(void **state)
{
    const struct sockaddr_storage unix_socket = {.ss_family = AF_UNIX};
    struct stun_address address = {.port = 7};

    (void)state;
    assert_false(stun_address_from(&address, (const struct sockaddr *)&unix_socket));
    assert_int_equal(address.port, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_other_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
