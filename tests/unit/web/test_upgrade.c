// SPDX-License-Identifier: BSD-3-Clause
//
// What is asked of /derp, and of the captive portal check.
#include "web/captive.h"
#include "web/upgrade.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct http_text text_of(const char *text)
{
    return (struct http_text){text, text ? strlen(text) : 0};
}

static const struct {
    const char *upgrade, *protocol; // NULL: absent
    enum upgrade wanted;
} upgrades[] = {
    {NULL, NULL, UPGRADE_NONE},
    {"", NULL, UPGRADE_NONE},
    {"DERP", NULL, UPGRADE_DERP},
    {"derp", NULL, UPGRADE_DERP},
    {"dErP", "derp", UPGRADE_DERP},
    {"websocket", NULL, UPGRADE_DERP},
    {"WebSocket", "", UPGRADE_DERP},
    {"websocket", "chat", UPGRADE_DERP},
    {"websocket", "derp2, xderp,,", UPGRADE_DERP},
    {"websocket", "DERP", UPGRADE_DERP},
    {"websocket", "derp", UPGRADE_WEBSOCKET},
    {"WEBSOCKET", "derp", UPGRADE_WEBSOCKET},
    {"websocket", "chat,derp", UPGRADE_WEBSOCKET},
    {"websocket", " \tderp\t , chat", UPGRADE_WEBSOCKET},
    {"websocket", ",,derp", UPGRADE_WEBSOCKET},
    {"h2c", NULL, UPGRADE_OTHER},
    {"DERP2", NULL, UPGRADE_OTHER},
    {"DER", NULL, UPGRADE_OTHER},
    {"DERP, h2c", NULL, UPGRADE_OTHER},
};

static void test_upgrades(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(upgrades); i++) {
        const struct http_request request = {
            .upgrade = text_of(upgrades[i].upgrade),
            .websocket_protocol = text_of(upgrades[i].protocol),
        };

        print_message("%s\n", upgrades[i].upgrade ? upgrades[i].upgrade : "none");
        assert_int_equal(upgrade_wanted(&request), upgrades[i].wanted);
    }
}

static void test_fast_start(void **state)
{
    static const struct {
        const char *value;
        bool fast;
    } values[] = {{NULL, false}, {"", false},   {"1", true},
                  {"0", false},  {"11", false}, {"true", false}};

    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) {
        const struct http_request request = {.fast_start = text_of(values[i].value)};

        assert_int_equal(upgrade_fast_start(&request), values[i].fast);
    }
}

static void test_preface(void **state)
{
    static const char expected[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                   "Upgrade: DERP\r\n"
                                   "Connection: Upgrade\r\n"
                                   "Derp-Version: 2\r\n"
                                   "Derp-Public-Key: "
                                   "abababababababababababababababab"
                                   "abababababababababababababababab\r\n\r\n";
    char out[UPGRADE_PREFACE_MAX_BYTES];
    struct key key;

    (void)state;
    memset(&key, 0xab, sizeof key);
    assert_int_equal(upgrade_preface(&key, out), sizeof expected - 1);
    assert_memory_equal(out, expected, sizeof expected - 1);
}

static void test_challenges(void **state)
{
    static const struct {
        const char *challenge;
        bool valid;
    } challenges[] = {
        {NULL, false},        {"", false},      {"a", true},         {"azAZ09.-_:", true},
        {"ts_1.2.3.4", true}, {"a b", false},   {"a,b", false},      {"a/b", false},
        {"<x>", false},       {"a%20b", false}, {"\xc3\xa4", false}, {"a\tb", false},
    };
    char text[CAPTIVE_CHALLENGE_MAX_BYTES + 2];

    (void)state;
    for (size_t i = 0; i < COUNT(challenges); i++) {
        const struct http_text challenge = text_of(challenges[i].challenge);

        assert_int_equal(captive_challenge_valid(&challenge), challenges[i].valid);
    }
    memset(text, 'x', sizeof text);
    for (size_t len = 1; len <= sizeof text; len++)
        assert_int_equal(captive_challenge_valid(&(struct http_text){text, len}),
                         len <= CAPTIVE_CHALLENGE_MAX_BYTES);
    assert_false(captive_challenge_valid(&(struct http_text){"a\0b", 3}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upgrades),
        cmocka_unit_test(test_fast_start),
        cmocka_unit_test(test_preface),
        cmocka_unit_test(test_challenges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
