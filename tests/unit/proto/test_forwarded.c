// SPDX-License-Identifier: BSD-3-Clause
#include "proto/forwarded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <arpa/inet.h>
#include <cmocka.h>
#include <string.h>

// The client's address as text, with 10.0.0.0/8 and 2001:db8::/32 as proxies; "-" when there is
// none.
static const char *client(const char *field)
{
    static char text[INET6_ADDRSTRLEN];
    struct prefix proxies[2];
    struct in6_addr address;

    assert_true(prefix_from_text(&proxies[0], "10.0.0.0/8", 10));
    assert_true(prefix_from_text(&proxies[1], "2001:db8::/32", 13));
    memset(&address, 0xee, sizeof address);
    if (!forwarded_client(field, strlen(field), proxies, 2, &address)) {
        assert_int_equal(address.s6_addr[7], 0xee); // untouched
        return "-";
    }
    return inet_ntop(AF_INET6, &address, text, sizeof text);
}

static void test_one(void **state)
{
    (void)state;
    assert_string_equal(client("192.0.2.1"), "::ffff:192.0.2.1");
    assert_string_equal(client(" \t192.0.2.1 "), "::ffff:192.0.2.1");
    assert_string_equal(client("2001:db9::1"), "2001:db9::1");
    assert_string_equal(client("::ffff:192.0.2.1"), "::ffff:192.0.2.1");
    assert_string_equal(client("192.0.2.1:4711"), "::ffff:192.0.2.1");
    assert_string_equal(client("[2001:db9::1]"), "2001:db9::1");
    assert_string_equal(client("[2001:db9::1]:4711"), "2001:db9::1");
}

// What stands in front of the first address that is no proxy's may be made up.
static void test_last_that_is_no_proxy(void **state)
{
    (void)state;
    assert_string_equal(client("127.0.0.1, 192.0.2.1"), "::ffff:192.0.2.1");
    assert_string_equal(client("127.0.0.1,192.0.2.1,10.1.1.1 ,  2001:db8::7"), "::ffff:192.0.2.1");
    assert_string_equal(client("nonsense, 192.0.2.1"), "::ffff:192.0.2.1");
}

static void test_none(void **state)
{
    static const char *const none[] = {
        "",
        " ",
        "unknown",
        "10.0.0.1",
        "10.0.0.1, 10.0.0.2",
        "192.0.2.1,",
        "192.0.2.1, unknown",
        "192.0.2.1, , 10.0.0.1",
        "[2001:db9::1",
        "[]",
        "[2001:db9::1]x",
        "192.0.2.1.5",
        "192.0.2.1 192.0.2.2",
        ":4711",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff"};

    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        if (strcmp(client(none[i]), "-") != 0)
            fail_msg("taken: %s", none[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one),
        cmocka_unit_test(test_last_that_is_no_proxy),
        cmocka_unit_test(test_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
