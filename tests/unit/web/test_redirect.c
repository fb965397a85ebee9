// SPDX-License-Identifier: BSD-3-Clause
#include "web/redirect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct redirect_rule usual = {
    .hostname = "derp.example.com", .http_port = 80, .https_port = 443};
static const struct redirect_rule odd = {
    .hostname = "2001:db8::1", .http_port = 8080, .https_port = 8443};
static const struct redirect_rule nameless = {.hostname = "", .http_port = 80, .https_port = 443};

static const struct {
    const struct redirect_rule *rule;
    const char *host, *path, *query; // NULL: absent
    const char *target;              // NULL: refused
} cases[] = {
    {&usual, "a.example", "/", NULL, "https://a.example/"},
    {&usual, "a.example", "/b/c", "d=e&f", "https://a.example/b/c?d=e&f"},
    {&usual, "a.example", "/", "", "https://a.example/?"},
    {&usual, "a.example", "", NULL, "https://a.example/"},
    {&usual, "a.example", "", "x", "https://a.example/?x"},
    {&usual, "A_b-c.Example.", "/", NULL, "https://A_b-c.Example./"},
    {&usual, "1.2.3.4", "/", NULL, "https://1.2.3.4/"},
    {&usual, "[2001:db8::7]", "/", NULL, "https://[2001:db8::7]/"},
    {&usual, "[::ffff:1.2.3.4]:80", "/", NULL, "https://[::ffff:1.2.3.4]/"},

    // Ports: our own HTTP port and 80 become the https port, others are kept.
    {&usual, "a:80", "/", NULL, "https://a/"},
    {&usual, "a:", "/", NULL, "https://a/"},
    {&usual, "a:443", "/", NULL, "https://a/"},
    {&usual, "a:8080", "/", NULL, "https://a:8080/"},
    {&usual, "a:0080", "/", NULL, "https://a/"},
    {&usual, "[::1]:8080", "/", NULL, "https://[::1]:8080/"},
    {&odd, "a", "/", NULL, "https://a:8443/"},
    {&odd, "a:80", "/", NULL, "https://a:8443/"},
    {&odd, "a:8080", "/", NULL, "https://a:8443/"},
    {&odd, "a:443", "/", NULL, "https://a/"},
    {&odd, "a:65535", "/", NULL, "https://a:65535/"},
    {&odd, "[::1]:8080", "/x", NULL, "https://[::1]:8443/x"},

    // No host: ours.
    {&usual, NULL, "/x", NULL, "https://derp.example.com/x"},
    {&usual, "", "/x", NULL, "https://derp.example.com/x"},
    {&odd, NULL, "/x", NULL, "https://[2001:db8::1]:8443/x"},
    {&nameless, NULL, "/x", NULL, NULL},

    // No good hosts.
    {&usual, "a:0", "/", NULL, NULL},
    {&usual, "a:65536", "/", NULL, NULL},
    {&usual, "a:999999", "/", NULL, NULL},
    {&usual, "a:-1", "/", NULL, NULL},
    {&usual, "a:8x", "/", NULL, NULL},
    {&usual, "a:80:80", "/", NULL, NULL},
    {&usual, ":80", "/", NULL, NULL},
    {&usual, "a/b", "/", NULL, NULL},
    {&usual, "a b", "/", NULL, NULL},
    {&usual, "user@a", "/", NULL, NULL},
    {&usual, "a\"", "/", NULL, NULL},
    {&usual, "<script>", "/", NULL, NULL},
    {&usual, "a\tb", "/", NULL, NULL},
    {&usual, "a%0d", "/", NULL, NULL},
    {&usual, "\xc3\xa4.example", "/", NULL, NULL},
    {&usual, "[]", "/", NULL, NULL},
    {&usual, "[::1", "/", NULL, NULL},
    {&usual, "::1", "/", NULL, NULL},
    {&usual, "[::1]x", "/", NULL, NULL},
    {&usual, "[a.example]", "/", NULL, "https://[a.example]/"}, // goes nowhere, harms nobody
    {&usual, "[::1%25eth0]", "/", NULL, NULL},

    // Targets.
    {&usual, "a", "//evil.example/x", NULL, "https://a//evil.example/x"},
    {&usual, "a", "/%0d%0aSet-Cookie:%20a", NULL, "https://a/%0d%0aSet-Cookie:%20a"},
    {&usual, "a", "/<\"'`{|}^\\>", NULL, "https://a/%3C%22'%60%7B%7C%7D%5E%5C%3E"},
    {&usual, "a", "/\xc3\xa4\x7f\x01", "\xff", "https://a/%C3%A4%7F%01?%FF"},
    {&usual, "a", "*", NULL, NULL},
    {&usual, "a", "b:443", NULL, NULL},
};

static struct http_text text_of(const char *text)
{
    return (struct http_text){text, text ? strlen(text) : 0};
}

static void test_targets(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct http_request request = {.host = text_of(cases[i].host),
                                             .path = text_of(cases[i].path),
                                             .query = text_of(cases[i].query)};
        char out[REDIRECT_MAX_BYTES];
        bool good;

        print_message("%s %s\n", cases[i].host ? cases[i].host : "none", cases[i].path);
        good = redirect_target(cases[i].rule, &request, out);
        assert_int_equal(good, cases[i].target != NULL);
        if (good)
            assert_string_equal(out, cases[i].target);
    }
}

// Hosts and paths of every length: whole or refused, never cut.
static void test_lengths(void **state)
{
    char host[512], path[HTTP_TARGET_MAX_BYTES];

    (void)state;
    memset(host, 'h', sizeof host);
    memset(path, '"', sizeof path); // three bytes each in the target
    path[0] = '/';
    for (size_t len = 1; len < sizeof host; len++) {
        const struct http_request request = {.host = {host, len}, .path = {"/", 1}};
        char out[REDIRECT_MAX_BYTES];

        assert_int_equal(redirect_target(&usual, &request, out), len <= 255);
        if (len <= 255)
            assert_int_equal(strlen(out), strlen("https://") + len + 1);
    }
    for (size_t len = 1; len <= sizeof path; len++) {
        const struct http_request request = {.host = {"a", 1}, .path = {path, len}};
        const size_t needed = strlen("https://a/") + 3 * (len - 1);
        char out[REDIRECT_MAX_BYTES];

        assert_int_equal(redirect_target(&usual, &request, out), needed < REDIRECT_MAX_BYTES);
        if (needed < REDIRECT_MAX_BYTES)
            assert_int_equal(strlen(out), needed);
    }
}

static void test_nul_is_no_host(void **state)
{
    const struct http_request request = {.host = {"a\0b", 3}, .path = {"/", 1}};
    char out[REDIRECT_MAX_BYTES];

    (void)state;
    assert_false(redirect_target(&usual, &request, out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_nul_is_no_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
