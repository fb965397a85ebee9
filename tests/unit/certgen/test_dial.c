// SPDX-License-Identifier: BSD-3-Clause
//
// What is behind a target is asked in tests/e2e/test_certgen.py.
#include "certgen/dial.h"

#include "certgen/error.h"
#include "material.h"

#include <string.h>

static void test_targets(void **state)
{
    static const struct {
        const char *text, *host, *port; // host NULL: none
    } cases[] = {
        {"a.example", "a.example", "443"},
        {"a.example:8443", "a.example", "8443"},
        {"203.0.113.1", "203.0.113.1", "443"},
        {"203.0.113.1:65535", "203.0.113.1", "65535"},
        {"2001:db8::1", "2001:db8::1", "443"},
        {"::1", "::1", "443"},
        {"[2001:db8::1]", "2001:db8::1", "443"},
        {"[2001:db8::1]:1", "2001:db8::1", "1"},
        {"", NULL, NULL},
        {":443", NULL, NULL},
        {"a:", NULL, NULL},
        {"a:0", NULL, NULL},
        {"a:65536", NULL, NULL},
        {"a:4294967739", NULL, NULL},
        {"a:-1", NULL, NULL},
        {"a:+1", NULL, NULL},
        {"a:443x", NULL, NULL},
        {"a:1:2", NULL, NULL},
        {"[", NULL, NULL},
        {"[]", NULL, NULL},
        {"[]:443", NULL, NULL},
        {"[a.example]:443", NULL, NULL},
        {"[::1", NULL, NULL},
        {"[::1]443", NULL, NULL},
        {"[::1]:", NULL, NULL},
        {"::1]:443", NULL, NULL},
        {"a b", NULL, NULL},
        {"a\n", NULL, NULL},
        {"a\xff", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char error[CERT_ERROR_BYTES];
        struct cert_target target;
        const bool ok = cert_target_parse(&target, cases[i].text, error, sizeof error);

        print_message("%s\n", cases[i].text);
        assert_int_equal(ok, cases[i].host != NULL);
        if (!ok)
            continue;
        assert_string_equal(target.host, cases[i].host);
        assert_string_equal(target.port, cases[i].port);
    }
}

static void test_long_targets(void **state)
{
    char text[300], error[CERT_ERROR_BYTES];
    struct cert_target target;

    (void)state;
    for (size_t len = 250; len < sizeof text; len++) {
        memset(text, 'a', sizeof text);
        text[len] = '\0';
        assert_int_equal(cert_target_parse(&target, text, error, sizeof error),
                         len <= CERT_HOST_CHARS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_long_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
