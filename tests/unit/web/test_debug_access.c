// SPDX-License-Identifier: BSD-3-Clause
#include "web/debug_access.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define TEXT(literal)               \
    {                               \
        literal, sizeof literal - 1 \
    }

// "1.2.3.4" or "2001:db8::1" as stream_peer tells it.
static struct sockaddr_in6 address_of(const char *text)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    char mapped[INET6_ADDRSTRLEN];

    snprintf(mapped, sizeof mapped, strchr(text, ':') ? "%s" : "::ffff:%s", text);
    assert_int_equal(inet_pton(AF_INET6, mapped, &address.sin6_addr), 1);
    return address;
}

static struct prefix prefix_of(const char *text, unsigned bits)
{
    struct prefix prefix = {.family = strchr(text, ':') ? AF_INET6 : AF_INET, .bits = bits};

    assert_int_equal(inet_pton(prefix.family, text, prefix.address), 1);
    return prefix;
}

static const struct {
    const char *address;
    bool by_default, by_prefixes;
} addresses[] = {
    {"127.0.0.1", true, true},
    {"127.255.255.255", true, true},
    {"126.255.255.255", false, false},
    {"128.0.0.0", false, false},
    {"::1", true, true},
    {"::2", false, false},
    {"::", false, false},
    {"100.63.255.255", false, false},
    {"100.64.0.0", true, true},
    {"100.100.100.100", true, true},
    {"100.127.255.255", true, true},
    {"100.128.0.0", false, false},
    {"fd7a:115c:a1e0::", true, true},
    {"fd7a:115c:a1e0:ffff:ffff:ffff:ffff:ffff", true, true},
    {"fd7a:115c:a1e1::", false, false},
    {"fd7a:115c:a1df:ffff::", false, false},
    {"10.0.0.1", false, false},
    {"192.168.1.1", false, false},
    // One address, 198.51.100.7; 203.0.113.16/28; 2001:db8:40::/42
    {"198.51.100.7", false, true},
    {"198.51.100.6", false, false},
    {"203.0.113.15", false, false},
    {"203.0.113.16", false, true},
    {"203.0.113.31", false, true},
    {"203.0.113.32", false, false},
    {"2001:db8:3f:ffff::", false, false},
    {"2001:db8:40::", false, true},
    {"2001:db8:7f:ffff::", false, true},
    {"2001:db8:80::", false, false},
    // IPv6 addresses whose last bytes look like an IPv4 prefix, and the other way round.
    {"2001::198.51.100.7", false, false},
    {"::198.51.100.7", false, false},
    {"32.1.13.184", false, false},
};

static bool allowed(const struct debug_rule *rule, const char *address,
                    const struct http_request *request)
{
    const struct sockaddr_in6 peer = address_of(address);

    return debug_access_allowed(rule, request, &peer);
}

static void test_addresses(void **state)
{
    const struct prefix prefixes[] = {
        prefix_of("198.51.100.7", 32),
        prefix_of("203.0.113.19", 28), // bits behind the prefix do not count
        prefix_of("2001:db8:40::1", 42),
    };
    const struct debug_rule none = {0};
    const struct debug_rule some = {.prefixes = prefixes, .prefix_count = COUNT(prefixes)};
    const struct http_request get = {.method = "GET", .get = true}, post = {.method = "POST"};
    const struct http_request forwarded = {.get = true, .forwarded_for = TEXT("127.0.0.1")};
    const struct http_request forwarded_empty = {.get = true, .forwarded_for = TEXT("")};

    (void)state;
    for (size_t i = 0; i < COUNT(addresses); i++) {
        print_message("%s\n", addresses[i].address);
        assert_int_equal(allowed(&none, addresses[i].address, &get), addresses[i].by_default);
        assert_int_equal(allowed(&some, addresses[i].address, &get), addresses[i].by_prefixes);
        assert_int_equal(allowed(&some, addresses[i].address, &post), addresses[i].by_prefixes);
        assert_false(allowed(&some, addresses[i].address, &forwarded));
        assert_false(allowed(&some, addresses[i].address, &forwarded_empty));
    }
}

static void test_whole_families(void **state)
{
    const struct prefix v4 = prefix_of("0.0.0.0", 0), v6 = prefix_of("::", 0);
    const struct debug_rule rule4 = {.prefixes = &v4, .prefix_count = 1};
    const struct debug_rule rule6 = {.prefixes = &v6, .prefix_count = 1};
    const struct http_request get = {.get = true};

    (void)state;
    assert_true(allowed(&rule4, "8.8.8.8", &get));
    assert_false(allowed(&rule4, "2001:db8::1", &get));
    assert_true(allowed(&rule6, "2001:db8::1", &get));
    assert_false(allowed(&rule6, "8.8.8.8", &get));
}

static char key_path[] = "/tmp/debug-key-XXXXXX";

static void write_key(const char *text, size_t len)
{
    FILE *file = fopen(key_path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    fclose(file);
}

static bool key_opens(const char *query, bool get, bool forwarded)
{
    const struct debug_rule rule = {.key_path = key_path};
    const struct http_request request = {
        .get = get,
        .head = !get,
        .query = {query, query ? strlen(query) : 0},
        .forwarded_for = {forwarded ? "192.0.2.1" : NULL, forwarded ? 9 : 0},
    };

    return allowed(&rule, "192.0.2.1", &request);
}

static const struct {
    const char *query;
    bool opens;
} queries[] = {
    {NULL, false},
    {"", false},
    {"debugkey", false},
    {"debugkey=", false},
    {"debugkey=open sesame+%", false},
    {"debugkey=open+sesame%2B%25", true},
    {"debugkey=open%20sesame%2b%25", true},
    {"x=y&debugkey=open+sesame%2B%25&z", true},
    {"&&debugkey=open+sesame%2B%25", true},
    {"debugkey=wrong&debugkey=open+sesame%2B%25", false}, // the first one counts
    {"xdebugkey=open+sesame%2B%25", false},
    {"debugkeyx=open+sesame%2B%25", false},
    {"DEBUGKEY=open+sesame%2B%25", false},
    {"debugkey=open+sesame%2B%2", false},
    {"debugkey=open+sesame%2B%", false},
    {"debugkey=open+sesame%2B%zz", false},
    {"debugkey=open+sesame%2B%25+", false},
    {"debugkey=open+sesame%2B", false},
    {"debugkey=open+sesame%2B%25x", false},
    {"debugkey=\n open sesame+%\n", false},
};

static void test_key(void **state)
{
    static const char *const contents[] = {"open sesame+%", "open sesame+%\n",
                                           "\r\n\t open sesame+% \v\f\r\n"};

    (void)state;
    for (size_t c = 0; c < COUNT(contents); c++) {
        write_key(contents[c], strlen(contents[c]));
        for (size_t i = 0; i < COUNT(queries); i++) {
            print_message("%s\n", queries[i].query ? queries[i].query : "none");
            assert_int_equal(key_opens(queries[i].query, true, false), queries[i].opens);
            assert_int_equal(key_opens(queries[i].query, true, true), queries[i].opens);
            assert_false(key_opens(queries[i].query, false, false));
        }
    }
}

static void test_odd_key_files(void **state)
{
    char query[DEBUG_KEY_MAX_BYTES + 32];
    char text[DEBUG_KEY_MAX_BYTES + 2];

    (void)state;
    write_key("", 0);
    assert_false(key_opens("debugkey=", true, false));
    write_key(" \n ", 3);
    assert_false(key_opens("debugkey=", true, false));
    assert_false(key_opens("debugkey=+", true, false));
    write_key("a\0b", 3);
    assert_false(key_opens("debugkey=a", true, false));
    assert_true(key_opens("debugkey=a%00b", true, false));

    memset(text, 'k', sizeof text);
    for (size_t len = DEBUG_KEY_MAX_BYTES - 1; len <= DEBUG_KEY_MAX_BYTES + 1; len++) {
        write_key(text, len);
        snprintf(query, sizeof query, "debugkey=%.*s", (int)len, text);
        assert_int_equal(key_opens(query, true, false), len <= DEBUG_KEY_MAX_BYTES);
    }
    unlink(key_path);
    assert_false(key_opens("debugkey=a", true, false));
}

static void test_no_key_file(void **state)
{
    const struct debug_rule none = {.key_path = NULL}, empty = {.key_path = ""};
    const struct debug_rule folder = {.key_path = "/tmp"};
    const struct http_request request = {.get = true, .query = TEXT("debugkey=a")};

    (void)state;
    assert_false(allowed(&none, "192.0.2.1", &request));
    assert_false(allowed(&empty, "192.0.2.1", &request));
    assert_false(allowed(&folder, "192.0.2.1", &request));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),   cmocka_unit_test(test_whole_families),
        cmocka_unit_test(test_key),         cmocka_unit_test(test_odd_key_files),
        cmocka_unit_test(test_no_key_file),
    };
    const int fd = mkstemp(key_path);

    if (fd < 0)
        return 1;
    close(fd);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
