// SPDX-License-Identifier: BSD-3-Clause
#include "base/prefix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <arpa/inet.h>
#include <cmocka.h>
#include <string.h>

static bool parse(struct prefix *out, const char *text)
{
    return prefix_from_text(out, text, strlen(text));
}

static bool holds(const char *range, const char *address)
{
    struct prefix prefix;
    struct in6_addr ip;

    assert_true(parse(&prefix, range));
    assert_int_equal(inet_pton(AF_INET6, address, &ip), 1);
    return prefixes_contain(&prefix, 1, &ip);
}

static void test_text(void **state)
{
    static const char *const bad[] = {
        "",
        "/",
        "10.0.0.0",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0/8",
        "::/129",
        "10.0.0.0/-1",
        "10.0.0.0/08",
        "10.0.0.0/8 ",
        " 10.0.0.0/8",
        "10.0.0.0/8/8",
        "::/0000001",
        "example/8",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff/64"};
    struct prefix prefix;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (parse(&prefix, bad[i]))
            fail_msg("taken: %s", bad[i]);
    assert_true(prefix_from_text(&prefix, "10.1.2.3/32,x", 11));
    assert_int_equal(prefix.bits, 32);
    assert_true(parse(&prefix, "0:0:0:0:0:ffff:192.168.100.100/128"));
    assert_int_equal(prefix.family, AF_INET6);
}

static void test_address(void **state)
{
    struct prefix prefix;

    (void)state;
    assert_true(prefix_from_address(&prefix, "192.0.2.1"));
    assert_int_equal(prefix.bits, 32);
    assert_true(prefix_from_address(&prefix, "2001:db8::1"));
    assert_int_equal(prefix.bits, 128);
    assert_false(prefix_from_address(&prefix, "192.0.2.1/32"));
}

static void test_contains(void **state)
{
    (void)state;
    assert_true(holds("10.0.0.0/8", "::ffff:10.255.0.1"));
    assert_false(holds("10.0.0.0/8", "::ffff:11.0.0.1"));
    assert_true(holds("100.64.0.0/10", "::ffff:100.127.255.255"));
    assert_false(holds("100.64.0.0/10", "::ffff:100.128.0.0"));
    assert_true(holds("192.0.2.1/32", "::ffff:192.0.2.1"));
    assert_false(holds("192.0.2.1/32", "::ffff:192.0.2.0"));
    assert_true(holds("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(holds("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(holds("0.0.0.0/0", "::ffff:255.255.255.255"));
    assert_true(holds("::/0", "2001:db8::1"));
}

static void test_families_apart(void **state)
{
    (void)state;
    assert_false(holds("0.0.0.0/0", "2001:db8::1"));
    assert_false(holds("::/0", "::ffff:192.0.2.1"));
    assert_false(holds("::ffff:0:0/95", "::ffff:192.0.2.1"));
}

// As people copy them from the logs of other programs.
static void test_mapped(void **state)
{
    (void)state;
    assert_true(holds("::ffff:0:0/96", "::ffff:192.0.2.1"));
    assert_false(holds("::ffff:0:0/96", "2001:db8::1"));
    assert_true(holds("::ffff:10.0.0.0/104", "::ffff:10.255.0.1"));
    assert_false(holds("::ffff:10.0.0.0/104", "::ffff:11.0.0.1"));
    assert_true(holds("::ffff:192.0.2.1/128", "::ffff:192.0.2.1"));
    assert_false(holds("::ffff:192.0.2.1/128", "::ffff:192.0.2.0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),     cmocka_unit_test(test_address),
        cmocka_unit_test(test_contains), cmocka_unit_test(test_families_apart),
        cmocka_unit_test(test_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
