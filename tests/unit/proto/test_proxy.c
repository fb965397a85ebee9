// SPDX-License-Identifier: BSD-3-Clause
//
// PROXY protocol headers as proxies write them, and as they must not be. Version 2's bytes are
// written out by hand here.
#include "proto/proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_BYTES 12
#define FIXED_BYTES 16
#define V2_REST_MAX 216
#define TLS_HELLO "\x16\x03\x01\x02\x00"
#define TLS_HELLO_BYTES 5

static void assert_peer(const struct proxy_header *header, const char *address, uint16_t port)
{
    struct in6_addr expected;

    assert_int_equal(inet_pton(AF_INET6, address, &expected), 1);
    assert_true(header->has_peer);
    assert_memory_equal(&header->address, &expected, sizeof expected);
    assert_int_equal(header->port, port);
}

static enum proxy_result parse_text(const char *text, struct proxy_header *out)
{
    return proxy_parse((const uint8_t *)text, strlen(text), out);
}

static void test_v1(void **state)
{
    static const char tcp4[] = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
    static const char tcp6[] = "PROXY TCP6 2001:db8::7 2001:db8::1 65535 0\r\n";
    struct proxy_header header;

    (void)state;
    assert_int_equal(parse_text(tcp4, &header), PROXY_OK);
    assert_int_equal(header.bytes, sizeof tcp4 - 1);
    assert_peer(&header, "::ffff:192.0.2.7", 56324);
    assert_int_equal(parse_text(tcp6, &header), PROXY_OK);
    assert_peer(&header, "2001:db8::7", 65535);
}

static void test_v1_unknown(void **state)
{
    struct proxy_header header;

    (void)state;
    assert_int_equal(parse_text("PROXY UNKNOWN\r\n" TLS_HELLO, &header), PROXY_OK);
    assert_false(header.has_peer);
    assert_false(header.own);
    assert_int_equal(header.bytes, 15);
    assert_int_equal(parse_text("PROXY UNKNOWN ffff::1 what ever 0 0\r\n", &header), PROXY_OK);
    assert_false(header.has_peer);
}

static void test_v1_longest(void **state)
{
    char line[PROXY_V1_MAX_BYTES + 2];
    struct proxy_header header;

    (void)state;
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    memcpy(line + PROXY_V1_MAX_BYTES - 2, "\r\n", 2);
    assert_int_equal(proxy_parse((uint8_t *)line, PROXY_V1_MAX_BYTES, &header), PROXY_OK);
    memcpy(line + PROXY_V1_MAX_BYTES - 2, "x\r\n", 3);
    assert_int_equal(proxy_parse((uint8_t *)line, PROXY_V1_MAX_BYTES - 1, &header), PROXY_MORE);
    assert_int_equal(header.bytes, PROXY_V1_MAX_BYTES);
    assert_int_equal(proxy_parse((uint8_t *)line, sizeof line, &header), PROXY_BAD);
}

static void test_v1_bad(void **state)
{
    static const char *const bad[] = {
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 1\r\n",
        "PROXY TCP4 192.0.2.7  56324 443\r\n",
        "PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 99999999999999999999\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 056 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 5x 443\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n",
        "PROXY TCP4 192.0.2.7 localhost 56324 443\r\n",
        "PROXY TCP4 192.0.2.700 198.51.100.1 56324 443\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 56324 443\r\n",
        "PROXY UDP4 192.0.2.7 198.51.100.1 56324 443\r\n",
        "PROXY TCP4\r\n",
        "PROXY \r\n",
        "proxy TCP4 192.0.2.7 198.51.100.1 56324 443\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        TLS_HELLO,
    };
    static const char nul[] = "PROXY UNKNOWN\0TCP4\r\n";
    struct proxy_header header;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (parse_text(bad[i], &header) != PROXY_BAD)
            fail_msg("taken: %s", bad[i]);
        assert_false(header.has_peer);
    }
    assert_int_equal(proxy_parse((const uint8_t *)nul, sizeof nul - 1, &header), PROXY_BAD);
}

// A version 2 header of `len` bytes after the fixed part, and the beginning of TLS behind it.
static size_t put_v2(uint8_t *out, uint8_t version_command, uint8_t kind, const void *rest,
                     size_t len)
{
    memcpy(out, SIGNATURE, SIGNATURE_BYTES);
    out[12] = version_command;
    out[13] = kind;
    out[14] = (uint8_t)(len >> 8);
    out[15] = (uint8_t)len;
    memcpy(out + FIXED_BYTES, rest, len);
    memcpy(out + FIXED_BYTES + len, TLS_HELLO, TLS_HELLO_BYTES);
    return FIXED_BYTES + len;
}

static const uint8_t tcp4[12] = {192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb};
static const uint8_t tcp6[36] = {0x20, 0x01, 0x0d,     0xb8,        [15] = 7, [16] = 0x20, 0x01,
                                 0x0d, 0xb8, [31] = 1, [32] = 0xdc, 0x04,     0x01,        0xbb};

static void test_v2(void **state)
{
    uint8_t data[FIXED_BYTES + sizeof tcp6 + TLS_HELLO_BYTES];
    struct proxy_header header;
    size_t len;

    (void)state;
    len = put_v2(data, 0x21, 0x11, tcp4, sizeof tcp4);
    assert_int_equal(proxy_parse(data, len + TLS_HELLO_BYTES, &header), PROXY_OK);
    assert_int_equal(header.bytes, len);
    assert_peer(&header, "::ffff:192.0.2.7", 56324);
    len = put_v2(data, 0x21, 0x21, tcp6, sizeof tcp6);
    assert_int_equal(proxy_parse(data, len + TLS_HELLO_BYTES, &header), PROXY_OK);
    assert_int_equal(header.bytes, len);
    assert_peer(&header, "2001:db8::7", 56324);
}

static void test_v2_with_tlvs(void **state)
{
    uint8_t rest[sizeof tcp4 + 300] = {0}, data[FIXED_BYTES + sizeof rest + TLS_HELLO_BYTES];
    struct proxy_header header;
    size_t len;

    (void)state;
    memcpy(rest, tcp4, sizeof tcp4);
    len = put_v2(data, 0x21, 0x11, rest, sizeof rest);
    assert_int_equal(proxy_parse(data, len - 1, &header), PROXY_MORE);
    assert_int_equal(header.bytes, len);
    assert_int_equal(proxy_parse(data, len, &header), PROXY_OK);
    assert_int_equal(header.bytes, len);
    assert_peer(&header, "::ffff:192.0.2.7", 56324);
}

// The connection is the proxy's own, or of a kind that has no address for us.
static void test_v2_without_peer(void **state)
{
    static const struct {
        uint8_t version_command, kind;
        size_t len;
    } cases[] = {{0x20, 0x00, 0},   {0x20, 0x11, 12}, {0x20, 0xff, 0}, {0x21, 0x00, 0},
                 {0x21, 0x31, 216}, {0x21, 0x12, 12}, {0x21, 0x10, 12}};
    uint8_t rest[V2_REST_MAX] = {1}, data[FIXED_BYTES + sizeof rest + TLS_HELLO_BYTES];
    struct proxy_header header;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const size_t len =
            put_v2(data, cases[i].version_command, cases[i].kind, rest, cases[i].len);

        assert_int_equal(proxy_parse(data, len, &header), PROXY_OK);
        assert_int_equal(header.bytes, len);
        assert_false(header.has_peer);
        assert_int_equal(header.own, cases[i].version_command == 0x20);
    }
}

static void test_v2_bad(void **state)
{
    static const struct {
        uint8_t version_command, kind;
        size_t len;
    } cases[] = {{0x11, 0x11, 12}, {0x31, 0x11, 12},  {0x22, 0x11, 12}, {0x21, 0x11, 11},
                 {0x21, 0x21, 35}, {0x21, 0x31, 215}, {0x21, 0x41, 12}, {0x21, 0x13, 12}};
    uint8_t rest[V2_REST_MAX] = {1}, data[FIXED_BYTES + sizeof rest + TLS_HELLO_BYTES];
    struct proxy_header header;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_v2(data, cases[i].version_command, cases[i].kind, rest, cases[i].len);
        assert_int_equal(proxy_parse(data, FIXED_BYTES, &header), PROXY_BAD);
    }
}

static void test_v2_longest(void **state)
{
    static uint8_t rest[PROXY_HEADER_MAX_BYTES - FIXED_BYTES + 1];
    static uint8_t data[FIXED_BYTES + sizeof rest + TLS_HELLO_BYTES];
    struct proxy_header header;

    (void)state;
    put_v2(data, 0x21, 0x11, rest, sizeof rest - 1);
    assert_int_equal(proxy_parse(data, FIXED_BYTES, &header), PROXY_MORE);
    assert_int_equal(header.bytes, PROXY_HEADER_MAX_BYTES);
    put_v2(data, 0x21, 0x11, rest, sizeof rest);
    assert_int_equal(proxy_parse(data, FIXED_BYTES, &header), PROXY_BAD);
}

// Byte by byte, each beginning asks for more, and never for more than there is.
static void test_beginnings(void **state)
{
    static const char v1[] = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
    uint8_t v2[FIXED_BYTES + sizeof tcp6 + TLS_HELLO_BYTES];
    const size_t v2_len = put_v2(v2, 0x21, 0x21, tcp6, sizeof tcp6);
    struct proxy_header header;

    (void)state;
    for (size_t len = 0; len < sizeof v1 - 1; len++) {
        assert_int_equal(proxy_parse((const uint8_t *)v1, len, &header), PROXY_MORE);
        assert_int_equal(header.bytes, len + 1);
    }
    for (size_t len = 0; len < v2_len; len++) {
        assert_int_equal(proxy_parse(v2, len, &header), PROXY_MORE);
        assert_in_range(header.bytes, len + 1, v2_len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v1),
        cmocka_unit_test(test_v1_unknown),
        cmocka_unit_test(test_v1_longest),
        cmocka_unit_test(test_v1_bad),
        cmocka_unit_test(test_v2),
        cmocka_unit_test(test_v2_with_tlvs),
        cmocka_unit_test(test_v2_without_peer),
        cmocka_unit_test(test_v2_bad),
        cmocka_unit_test(test_v2_longest),
        cmocka_unit_test(test_beginnings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
