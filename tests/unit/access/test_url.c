// SPDX-License-Identifier: BSD-3-Clause
#include "access/url.h"

#include "../support/loopback.h"

#include <string.h>

static const struct {
    const char *from, *to;
    long status;
    bool complete, followed;
} redirects[] = {
    {"http://a/", "http://b/", 307, true, true},
    {"http://a/", "http://b/", 308, true, true},
    {"http://a/", "https://b/", 307, true, true},
    {"https://a/", "https://b/", 307, true, true},
    {"https://a/", "http://b/", 307, true, false}, // anybody on the way could have answered there
    {"https://a/", "http://b/", 308, true, false},
    {"http://a/", "http://b/", 303, true, false}, // would be a GET
    {"http://a/", "http://b/", 301, true, false},
    {"http://a/", "http://b/", 200, true, false},
    {"http://a/", "http://b/", 307, false, false},
    {"http://a/", "", 307, true, false},
    {"http://a/", "file:///etc/passwd", 307, true, false},
    {"http://a/", "ftp://b/", 307, true, false},
};

static void test_follow(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(redirects); i++) {
        struct fetch_request request = {.body = "asked"};
        struct fetch_result result = {.complete = redirects[i].complete,
                                      .status = redirects[i].status};
        bool followed;

        strcpy(request.url, redirects[i].from);
        strcpy(result.redirect, redirects[i].to);
        followed = url_follow(&request, &result);
        if (followed != redirects[i].followed)
            fail_msg("row %zu", i);
        assert_string_equal(request.url, followed ? redirects[i].to : redirects[i].from);
        assert_string_equal(request.body, "asked");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
